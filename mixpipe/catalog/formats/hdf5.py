"""HDF5 tables: a compound dataset, or a group with one dataset per column."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import h5py
import numpy as np
from astropy.table import Table
from astropy.table.meta import get_header_from_yaml

from mixpipe.base.presentation import plural
from mixpipe.catalog.formats.arrays import as_column, row_ranges, unit_text
from mixpipe.catalog.source import Source

# Astropy stores the mask of a column x as a column x.mask, and the description of a dataset in a dataset next to it.
_MASK = ".mask"
_DESCRIPTION = ".__table_column_meta__"


def columns(source: Source) -> dict[str, str | None]:
    """Names and units, from the attributes."""
    with source.open() as stream, h5py.File(stream, "r") as file:
        return _columns(source, find(file, source))


def blocks(source: Source, names: Sequence[str] | None, rows: int) -> Iterator[Table]:
    """Read these columns, or all, in blocks of rows."""
    with source.open() as stream, h5py.File(stream, "r") as file:
        node = find(file, source)
        units = _columns(source, node)
        wanted = source.choose(list(units), names)
        masks = [name + _MASK for name in wanted if name + _MASK in _names(node)]
        for start, stop in row_ranges(_n_rows(source, node, wanted), rows, _row_bytes(node, wanted)):
            stored: Any = (
                # All columns are read in one pass over the records.
                node.fields([*wanted, *masks])[start:stop]
                if isinstance(node, h5py.Dataset)
                else {name: node[name][start:stop] for name in (*wanted, *masks)}
            )
            table = Table()
            for name in wanted:
                values = np.ma.MaskedArray(stored[name])
                if name + _MASK in masks:
                    values = np.ma.MaskedArray(values.data, mask=np.asarray(stored[name + _MASK], dtype=bool))
                table.add_column(as_column(name, values, units[name]), copy=False)
            yield table


def find(file: h5py.File, source: Source) -> h5py.Dataset | h5py.Group:
    """The table that `path_in_file` names, or the only one in the file."""
    tables = [path for path in ("/", *_paths(file)) if _is_table(file[path])]
    listed = f"one of {', '.join(tables[:20])}" if tables else "a compound dataset or a group with a dataset per column"
    if source.path_in_file is not None:
        if source.path_in_file not in file:
            raise source.error(f"nothing at {source.path_in_file!r}", f"{listed} as path inside the file")
        if not _is_table(file[source.path_in_file]):
            raise source.error(f"{source.path_in_file!r} is no table", f"{listed} as path inside the file")
        return file[source.path_in_file]
    if len(tables) != 1:
        raise source.error(f"the file has {len(tables)} tables", f"{listed} as path inside the file")
    return file[tables[0]]


def _paths(file: h5py.File) -> list[str]:
    paths: list[str] = []
    file.visit(paths.append)
    return paths


def _is_table(node: h5py.Dataset | h5py.Group) -> bool:
    if isinstance(node, h5py.Dataset):
        return node.dtype.names is not None and node.ndim == 1
    return bool(_names(node))


def _names(node: h5py.Dataset | h5py.Group) -> list[str]:
    """Columns of a compound dataset, or the datasets in a group that are columns."""
    if isinstance(node, h5py.Dataset):
        return list(node.dtype.names)
    return [
        name
        for name, item in node.items()
        if isinstance(item, h5py.Dataset)
        and item.ndim > 0
        and item.dtype.names is None
        and not name.endswith(_DESCRIPTION)
    ]


def _columns(source: Source, node: h5py.Dataset | h5py.Group) -> dict[str, str | None]:
    names = source.choose(_names(node), None)
    described = _described_units(node)
    return {
        name: unit_text(described.get(name) if isinstance(node, h5py.Dataset) else _attribute_unit(node[name]))
        for name in names
        if not (name.endswith(_MASK) and name.removesuffix(_MASK) in names)
    }


def _n_rows(source: Source, node: h5py.Dataset | h5py.Group, wanted: Sequence[str]) -> int:
    if isinstance(node, h5py.Dataset) or not wanted:
        return len(node)
    for name in wanted:
        if len(node[name]) != len(node[wanted[0]]):
            raise source.error(
                f"column {name!r} has {plural(len(node[name]), 'row')}",
                f"{len(node[wanted[0]])} as in column {wanted[0]!r}",
            )
    return len(node[wanted[0]])


def _row_bytes(node: h5py.Dataset | h5py.Group, wanted: Sequence[str]) -> int:
    """Number of bytes of a row of these columns."""
    if isinstance(node, h5py.Dataset):
        return sum(node.dtype[name].itemsize for name in wanted)
    return sum(node[name].dtype.itemsize * math.prod(node[name].shape[1:]) for name in wanted)


def _attribute_unit(dataset: h5py.Dataset) -> str | None:
    unit = next((dataset.attrs[key] for key in ("unit", "units") if key in dataset.attrs), None)
    # Some writers store only arrays.
    unit = unit.item() if isinstance(unit, np.ndarray) and unit.size == 1 else unit
    return unit.decode() if isinstance(unit, bytes) else unit


def _described_units(node: h5py.Dataset | h5py.Group) -> dict[str, str]:
    """Units from the description that Astropy stores in a dataset next to this one."""
    description = node.name + _DESCRIPTION
    if description not in node.file:
        return {}
    header = get_header_from_yaml([line.decode() for line in node.file[description][:]])
    return {column["name"]: str(column["unit"]) for column in header["datatype"] if "unit" in column}
