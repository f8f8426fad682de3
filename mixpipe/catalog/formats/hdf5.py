"""HDF5 tables: a compound dataset, a group with one dataset per column, or a table of vaex or pandas."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
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
        frame = find_frame(file, source)
        if frame is not None:
            return {name: unit_text(frame.units.get(name)) for name in source.choose(list(frame.read), None)}
        return _columns(source, find(file, source))


def blocks(source: Source, names: Sequence[str] | None, rows: int) -> Iterator[Table]:
    """Read these columns, or all, in blocks of rows."""
    with source.open() as stream, h5py.File(stream, "r") as file:
        frame = find_frame(file, source)
        if frame is not None:
            yield from _frame_blocks(source, frame, names, rows)
            return
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
                # An array of one element is a number.
                if values.ndim > 1 and math.prod(values.shape[1:]) == 1:
                    values = values.reshape(len(values))
                if isinstance(node, h5py.Group):
                    values = _by_convention(values, node[name])
                if name + _MASK in masks:
                    values = np.ma.MaskedArray(values.data, mask=np.asarray(stored[name + _MASK], dtype=bool))
                table.add_column(as_column(name, values, units[name]), copy=False)
            yield table


def _by_convention(stored: np.ma.MaskedArray, dataset: h5py.Dataset) -> np.ma.MaskedArray:
    """Values as the attributes of netCDF say: which of the stored ones are missing, then a factor and an offset."""
    values = stored
    for key in ("_FillValue", "missing_value"):
        if stored.dtype.kind in "iuf" and key in dataset.attrs:
            missing = np.isin(stored.data, np.atleast_1d(dataset.attrs[key]).astype(stored.dtype))
            values = np.ma.MaskedArray(values.data, mask=np.ma.getmaskarray(values) | missing)
    factor, offset = (dataset.attrs.get(key) for key in ("scale_factor", "add_offset"))
    if factor is not None:
        values = values * np.float64(np.ravel(factor)[0])
    return values if offset is None else values + np.float64(np.ravel(offset)[0])


@dataclass(frozen=True)
class Frame:
    """A table whose columns lie in datasets of another shape: how each is read, its units, and the number of rows."""

    read: dict[str, Callable[[int, int], Any]]
    units: dict[str, str | None]
    n_rows: int


def find_frame(file: h5py.File, source: Source) -> Frame | None:
    """A table that vaex or pandas wrote: the one that `path_in_file` names, or the only one; None if there is none."""
    found = {}
    for path in ("/", *_paths(file)):
        node = file[path]
        if not _is_group(node):
            continue
        if path.rpartition("/")[2] == "columns" and _has_data(node):
            found[path] = _vaex
        elif _attribute(node, "pandas_type") == "frame_table":
            found[path] = _pandas_table
        elif _attribute(node, "pandas_type") == "frame":
            found[path] = _pandas_fixed
    wanted = None if source.path_in_file is None else source.path_in_file.strip("/")
    for path, kind in found.items():
        if wanted in (path, path.removesuffix("/columns")) or (wanted is None and len(found) == 1):
            return kind(file[path])
    return None


def _frame_blocks(source: Source, frame: Frame, names: Sequence[str] | None, rows: int) -> Iterator[Table]:
    wanted = source.choose(list(frame.read), names)
    for start, stop in row_ranges(frame.n_rows, rows, 8 * len(wanted)):
        yield Table(
            [as_column(name, frame.read[name](start, stop), frame.units.get(name)) for name in wanted], copy=False
        )


def _has_data(group: h5py.Group) -> bool:
    """Whether all members are groups with data, as vaex writes columns."""
    return len(group) > 0 and all(_is_group(item) and "data" in item for item in group.values())


def _is_group(node: Any) -> bool:
    return isinstance(node, h5py.Group)


def _attribute(node: h5py.Group | h5py.Dataset, name: str) -> str:
    value = node.attrs.get(name, "")
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _vaex(group: h5py.Group) -> Frame:
    """Groups with the data of a column each; texts are bytes one after the other, with the ends of each."""

    def reader(item: h5py.Group) -> Callable[[int, int], Any]:
        data, ends, mask, known = (item.get(part) for part in ("data", "indices", "mask", "null_bitmap"))

        def texts(start: int, stop: int) -> Any:
            bounds = ends[start : stop + 1] - ends[0]
            joined = data[bounds[0] : bounds[-1]].tobytes()
            cuts = (bounds - bounds[0]).tolist()
            return np.array([joined[a:b].decode(errors="replace") for a, b in itertools.pairwise(cuts)], dtype=np.str_)

        def values(start: int, stop: int) -> Any:
            stored = np.ma.MaskedArray(data[start:stop])
            if mask is not None:
                stored[mask[start:stop].astype(bool)] = np.ma.masked
            if known is not None:
                # As Arrow has it, one bit a row, which is set where there is a value.
                bits = np.unpackbits(known[start // 8 : -(-stop // 8)], bitorder="little")
                stored[bits[start % 8 :][: len(stored)] == 0] = np.ma.masked
            return stored

        return values if ends is None else texts

    sizes = {name: len(item.get("indices", item["data"])) - ("indices" in item) for name, item in group.items()}
    return Frame(
        {name: reader(item) for name, item in group.items()},
        {name: _attribute_unit(item) for name, item in group.items()},
        max(sizes.values(), default=0),
    )


# Names of columns, which pandas pickles; they are never unpickled, since that may run code.
_PICKLED_NAME = re.compile(r"V([^\n]*)\n")


def _pandas_table(group: h5py.Group) -> Frame:
    """A compound dataset whose fields are the index and blocks of columns of one type."""
    table = group["table"]
    read: dict[str, Callable[[int, int], Any]] = {}
    for field in table.dtype.names:
        names = _PICKLED_NAME.findall(_attribute(table, f"{field}_kind"))
        block = table.dtype[field].shape
        for k, name in enumerate(names if block else [field]):
            read[name] = partial(_of_block, table, field, k if block else None)
    return Frame(read, {}, len(table))


def _of_block(table: h5py.Dataset, field: str, k: int | None, start: int, stop: int) -> Any:
    values = table.fields(field)[start:stop]
    return values if k is None else values[:, k]


def _pandas_fixed(group: h5py.Group) -> Frame:
    """Blocks of columns of one type, with their names; those of text are pickled, and left out."""
    read: dict[str, Callable[[int, int], Any]] = {}
    for name in group:
        if name.endswith("_values") and group[name].ndim == 2 and group[name].dtype.kind in "biuf":
            for k, item in enumerate(group[name.replace("_values", "_items")][:]):
                read[item.decode(errors="replace")] = partial(_of_columns, group[name], k)
    return Frame(read, {}, len(group["axis1"]))


def _of_columns(values: h5py.Dataset, k: int, start: int, stop: int) -> Any:
    return values[start:stop, k]


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
