"""HDF5: a compound dataset, or a group with one dataset per column."""

from __future__ import annotations

from collections.abc import Sequence

import h5py
import numpy as np
from astropy.table import Table
from astropy.table.meta import get_header_from_yaml

from mixpipe.catalog.arrays import as_column, unit_text
from mixpipe.catalog.source import Source

# Astropy stores the mask of a column x as a column x.mask, and describes a dataset in one beside it.
_MASK = ".mask"
_DESCRIPTION = ".__table_column_meta__"


def columns(source: Source) -> dict[str, str | None]:
    """Names and units, from the attributes."""
    with source.open() as stream, h5py.File(stream, "r") as file:
        return _columns(source, find(file, source))


def read(source: Source, names: Sequence[str] | None) -> Table:
    """These columns, or all."""
    with source.open() as stream, h5py.File(stream, "r") as file:
        node = find(file, source)
        units = _columns(source, node)
        table = Table()
        for name in source.choose(list(units), names):
            values = np.ma.MaskedArray(node[name][...] if isinstance(node, h5py.Group) else node[name])
            if name + _MASK in _names(node):
                mask = np.asarray(node[name + _MASK], dtype=bool)
                values = np.ma.MaskedArray(values.data, mask=mask)
            column = as_column(name, values, units[name])
            if len(table.colnames) and len(column) != len(table):
                raise source.error(
                    f"column {name!r} has {len(column)} rows", f"{len(table)} as in column {table.colnames[0]!r}"
                )
            table[name] = column
        return table


def find(file: h5py.File, source: Source) -> h5py.Dataset | h5py.Group:
    """The table that `path_in_file` names, or the only one there is."""
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
    """Columns of a compound dataset, or datasets in a group that are columns."""
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


def _attribute_unit(dataset: h5py.Dataset) -> str | None:
    unit = next((dataset.attrs[key] for key in ("unit", "units") if key in dataset.attrs), None)
    return unit.decode() if isinstance(unit, bytes) else unit


def _described_units(node: h5py.Dataset | h5py.Group) -> dict[str, str]:
    """Units that Astropy describes in a dataset beside this one."""
    description = node.name + _DESCRIPTION
    if description not in node.file:
        return {}
    header = get_header_from_yaml([line.decode() for line in node.file[description][:]])
    return {column["name"]: str(column["unit"]) for column in header["datatype"] if "unit" in column}
