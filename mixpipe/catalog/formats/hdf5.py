"""HDF5 tables: a compound dataset, a group with one dataset per column, or a table of vaex or pandas."""

from __future__ import annotations

import contextlib
import importlib
import itertools
import math
import pickletools
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import h5py
import numpy as np
from astropy.table import Table
from astropy.table.meta import get_header_from_yaml

from mixpipe.base.presentation import plural
from mixpipe.catalog.formats.arrays import as_column, decoded, is_number, row_ranges, unit_text
from mixpipe.catalog.source import Source

# It adds filters of compression to h5py where it is installed.
with contextlib.suppress(ImportError):
    importlib.import_module("hdf5plugin")

# Astropy stores the mask of a column x as a column x.mask, and the description of a dataset in a dataset next to it.
_MASK = ".mask"
_DESCRIPTION = ".__table_column_meta__"


# Where NetCDF has written no number, it leaves this one.
_NETCDF_FILL = 9.969209968386869e36


def columns(source: Source) -> dict[str, str | None]:
    """Names and units, from the attributes; of all columns, also those that are read only by name, or refused."""
    with _opened(source) as file:
        frame = find_frame(file, source)
        if frame is not None:
            return {name: unit_text(frame.units.get(name)) for name in (*frame.read, *frame.refused)}
        return _columns(source, find(file, source))


def blocks(source: Source, names: Sequence[str] | None, rows: int) -> Iterator[Table]:
    """Read these columns, or all, in blocks of rows."""
    with _opened(source) as file:
        frame = find_frame(file, source)
        if frame is not None:
            yield from _frame_blocks(source, frame, names, rows)
            return
        node = find(file, source)
        units = _columns(source, node)
        refused = {name: what for name in units if (what := _other_kind(node, name))}
        wanted = _choose(source, [name for name in units if name not in refused], refused, names)
        if names is None:
            wanted = _of_usual_length(node, wanted)
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
                if isinstance(node, h5py.Group):
                    values = _as_times(by_convention(values, node[name]), _type_said(node[name]))
                if name + _MASK in masks:
                    values = np.ma.MaskedArray(values.data, mask=np.asarray(stored[name + _MASK], dtype=bool))
                table.add_column(as_column(name, values, units[name]), copy=False)
            yield table


@contextlib.contextmanager
def _opened(source: Source) -> Iterator[h5py.File]:
    """The file; where it cannot be read for want of a filter of compression, the error says so."""
    with source.open() as stream, h5py.File(stream, "r") as file:
        try:
            yield file
        except OSError as error:
            for path in _paths(file):
                missing = _missing_filter(file[path])
                if missing is not None:
                    raise source.error(
                        f"{path!r} is compressed by {missing}, a filter that is not installed",
                        "the filters of HDF5, as `ptrepack --complib zlib` or `h5repack -f GZIP=5` writes them, or "
                        "`pip install hdf5plugin`, which has more",
                    ) from error
            raise


def _missing_filter(node: h5py.Group | h5py.Dataset) -> str | None:
    """The name of a filter without which a dataset cannot be read, if it is not there."""
    if _is_group(node):
        return None
    settings = node.id.get_create_plist()
    for k in range(settings.get_nfilters()):
        number, _, _, name = settings.get_filter(k)
        if not h5py.h5z.filter_avail(number):
            return name.decode(errors="replace") or f"filter {number}"
    return None


def _choose(
    source: Source, available: Sequence[str], refused: dict[str, str], names: Sequence[str] | None
) -> tuple[str, ...]:
    """The names to read; of those that cannot be read, and are left out of all columns, what they are."""
    for name in names or ():
        if name in refused:
            raise source.error(f"column {name!r} holds {refused[name]}", "numbers or text")
    return source.choose(available, names)


def by_convention(stored: np.ma.MaskedArray, dataset: h5py.Dataset) -> np.ma.MaskedArray:
    """Numbers as the attributes of netCDF say: with or without sign, which are missing, then a factor and an offset."""
    if stored.dtype.kind not in "iuf":
        return stored
    values = stored
    marks = _numbers(dataset, "_FillValue") + _numbers(dataset, "missing_value")
    bounds = _numbers(dataset, "valid_range")
    low, high = (
        (bounds[:1], bounds[1:]) if len(bounds) == 2 else (_numbers(dataset, f"valid_{k}") for k in ("min", "max"))
    )
    kind = {"true": "u", "false": "i"}.get(_attribute(dataset, "_Unsigned").lower(), stored.dtype.kind)
    if stored.dtype.kind in "iu" and kind != stored.dtype.kind:
        values = stored.view(stored.dtype.str.replace(stored.dtype.kind, kind))
        # The attributes have the type of what is stored, too.
        marks, low, high = (
            [_same_bits(number, stored.dtype, values.dtype) for number in x] for x in (marks, low, high)
        )
    if kind == "f":
        top = float(np.finfo(values.dtype).max)
        marks = [mark for mark in (*marks, _NETCDF_FILL) if abs(mark) <= top or math.isinf(mark)]
    else:
        limits = np.iinfo(values.dtype)
        marks = [int(mark) for mark in marks if limits.min <= mark <= limits.max and mark == int(mark)]
    missing = np.ma.getmaskarray(stored) | np.isin(values.data, np.array(marks, dtype=values.dtype))
    scaled = values.data
    for factor in _numbers(dataset, "scale_factor")[:1]:
        scaled = scaled * np.float64(factor)
    for offset in _numbers(dataset, "add_offset")[:1]:
        scaled = scaled + np.float64(offset)
    # Bounds are those of the stored numbers; with a point, beside packed whole numbers, those of the result.
    of_result = kind != "f" and any(isinstance(bound, float) for bound in (*low, *high))
    bounded = scaled if of_result else values.data
    for bound in low:
        missing |= bounded < bound
    for bound in high:
        missing |= bounded > bound
    return np.ma.MaskedArray(scaled, mask=missing)


def _same_bits(number: Any, of: np.dtype, to: np.dtype) -> Any:
    """A whole number of one type as the same bits in the other; what is none of the first is one of the other."""
    if not np.iinfo(of).min <= number <= np.iinfo(of).max:
        return number
    least = int(np.iinfo(to).min)
    return (number - least) % (1 << 8 * to.itemsize) + least


def _numbers(dataset: h5py.Dataset, key: str) -> list[Any]:
    """The numbers of an attribute, also where they are written as text; other texts are none."""
    values = np.ravel(dataset.attrs.get(key, [])).tolist()
    texts = [value.decode(errors="replace") if isinstance(value, bytes) else value for value in values]
    return [float(text) if isinstance(text, str) else text for text in texts if is_number(str(text))]


_TIME = re.compile(r"(datetime64|timedelta64)(?:\[(\w+))?")


def _type_said(dataset: h5py.Dataset) -> str:
    """What vaex or pandas calls the type of a dataset."""
    return next(filter(None, (_attribute(dataset, key) for key in ("dtype", "value_type", "kind"))), "")


def _as_times(values: Any, said: str) -> Any:
    """Whole numbers as the times that they are according to the text of their type; other values unchanged."""
    found = _TIME.match(said)
    if found is None or values.dtype.kind not in "iu":
        return values
    return values.astype(f"{found[1]}[{found[2] or 'ns'}]")


@dataclass(frozen=True)
class Frame:
    """A table whose columns lie in datasets of another shape.

    How each is read, its units, the number of rows, and what the columns hold that cannot be read.
    """

    read: dict[str, Callable[[int, int], Any]]
    units: dict[str, str | None]
    n_rows: int
    refused: dict[str, str] = field(default_factory=dict)


def find_frame(file: h5py.File, source: Source) -> Frame | None:
    """A table that vaex or pandas wrote: the one that `path_in_file` names, or the only one; None if there is none."""
    found: dict[str, Callable[[Source, h5py.Group], Frame]] = {}
    for path in ("/", *_paths(file)):
        node = file[path]
        if not _is_group(node):
            continue
        kind = _attribute(node, "pandas_type")
        if path.rpartition("/")[2] == "columns" and _has_data(node):
            found[path] = _vaex
        # The categories of a column are a series, too.
        elif kind == "frame_table" or (kind == "series_table" and not path.endswith("/meta")):
            found[path] = _pandas_table
        elif kind == "frame":
            found[path] = _pandas_fixed
    wanted = None if source.path_in_file is None else source.path_in_file.strip("/")
    if wanted is None and len(found) > 1:
        listed = ", ".join(path.removesuffix("/columns") for path in found)
        raise source.error(f"the file has {len(found)} tables", f"one of {listed} as path inside the file")
    for path, reader in found.items():
        if wanted in (None, path, path.removesuffix("/columns"), f"{path}/table"):
            return reader(source, file[path])
    return None


def _frame_blocks(source: Source, frame: Frame, names: Sequence[str] | None, rows: int) -> Iterator[Table]:
    wanted = _choose(source, list(frame.read), frame.refused, names)
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
    return _bytes(node, name).decode(errors="replace")


def _bytes(node: h5py.Group | h5py.Dataset, name: str) -> bytes:
    value = node.attrs.get(name, b"")
    return value if isinstance(value, bytes) else b"" if isinstance(value, h5py.Empty) else str(value).encode()


def _vaex(source: Source, group: h5py.Group) -> Frame:
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
            return _as_times(stored, _type_said(data))

        return values if ends is None else texts

    sizes = {name: len(item.get("indices", item["data"])) - ("indices" in item) for name, item in group.items()}
    return Frame(
        {name: reader(item) for name, item in group.items()},
        {name: _attribute_unit(item) for name, item in group.items()},
        max(sizes.values(), default=0),
    )


# Texts and numbers in a pickle.
_PLAIN = ("UNICODE", "STRING", "INT", "LONG", "FLOAT")


def _pickled_names(pickled: bytes) -> list[str]:
    r"""Names of columns, which pandas pickles: a list of texts and numbers, none if there is anything else in it.

    The steps of the pickle are listed, and none is taken, since that may run code.

    >>> _pickled_names(b"(lp0\nVx\np1\naI0\nag1\na."), _pickled_names(b"(lp0\n(Vg\np1\nVx\np2\ntp3\na.")
    (['x', '0', 'x'], [])
    """
    names: list[str] = []
    kept: dict[Any, Any] = {}
    last: Any = None
    try:
        steps = [(step.name, value) for step, value, _ in pickletools.genops(pickled)]
    except ValueError:
        return []
    if [name for name, _ in steps[:2]] != ["MARK", "LIST"]:
        return []
    for step, value in steps[2:-1]:
        if step in _PLAIN:
            last = value
        elif step == "PUT":
            kept[value] = last
        elif step == "GET":
            last = kept.get(value)
        elif step == "APPEND" and last is not None:
            names.append(str(last))
            last = None
        else:
            return []
    return names


def _no_names(source: Source, group: h5py.Group) -> Exception:
    return source.error(
        f"names of columns in {group.name!r} are no plain text, such as those of several levels",
        "a text for each column, as of `df.columns = [str(c) for c in df.columns]` in pandas",
    )


def _pandas_table(source: Source, group: h5py.Group) -> Frame:
    """A compound dataset whose fields are the index and blocks of columns of one type."""
    table = group.get("table")
    if table is None:
        raise source.error(f"pandas has not finished the table {group.name!r}", "a table with rows")
    names: list[str] = []
    read: dict[str, Callable[[int, int], Any]] = {}
    refused: dict[str, str] = {}
    for part in table.dtype.names:
        block = table.dtype[part].shape
        of_part = _pickled_names(_bytes(table, f"{part}_kind")) if block else [part]
        if block and block != (len(of_part),):
            raise _no_names(source, group)
        names += of_part
        meaning = _meaning(source, group, table, part)
        for k, name in enumerate(of_part):
            # A column called index stands before the index of the rows.
            if isinstance(meaning, str):
                refused[name] = meaning
                read.pop(name, None)
            else:
                read[name] = partial(_of_block, table, part, k if block else None, meaning)
                refused.pop(name, None)
    available = names[1:] if "index" in names[1:] else names
    source.choose(available, available)
    return Frame(read, {}, len(table), refused)


def _meaning(source: Source, group: h5py.Group, table: h5py.Dataset, part: str) -> Callable[[Any], Any] | str:
    """What turns the stored values of a part of a table into its values; or what they are, if they cannot be read."""
    said = _attribute(table, f"{part}_dtype") or _attribute(table, f"{part}_kind")
    kind = table.dtype[part].base.kind
    if _attribute(table, f"{part}_meta") == "category":
        categories = group.get(f"meta/{part}/meta/table")
        if categories is None or not len(categories) or "values" not in categories.dtype.names:
            return "codes of categories that are not listed in the file"
        listed = _as_times(categories["values"], _attribute(categories, "values_dtype"))
        return partial(_of_categories, source, part, listed)
    if kind == "S":
        # Since pandas 3.1, each column may have its own text for missing values.
        own = bool(group.attrs.get("data_col_nan_rep", False))
        mark = _bytes(table, f"{part}_nan_rep") if own else _bytes(group, "nan_rep")
        return partial(_of_texts, b"nan" if mark == b"N." and not own else mark)
    if said == "bool":
        return partial(np.asarray, dtype=bool)
    if kind in "iuf" and not _TIME.match(said) and not re.match(r"u?int|float|bool|\(l|$", said):
        return f"{said} in the codes of pandas"
    return partial(_as_times, said=said)


def _of_texts(mark: bytes, values: Any) -> np.ma.MaskedArray:
    """Texts, of which one marks missing values."""
    return np.ma.MaskedArray(values, mask=values == mark)


def _of_categories(source: Source, part: str, categories: Any, codes: Any) -> np.ma.MaskedArray:
    """The categories that these codes stand for."""
    if codes.max(initial=-1) >= len(categories):
        raise source.error(f"{part!r} has the code {codes.max()}", f"one of its {len(categories)} categories")
    return np.ma.MaskedArray(categories[codes], mask=codes < 0)


def _of_block(
    table: h5py.Dataset, part: str, k: int | None, meaning: Callable[[Any], Any], start: int, stop: int
) -> Any:
    values = table.fields(part)[start:stop]
    return meaning(values if k is None else values[:, k])


def _pandas_fixed(source: Source, group: h5py.Group) -> Frame:
    """Blocks of columns of one type, with their names; those of text are pickled, and refused."""
    read: dict[str, Callable[[int, int], Any]] = {}
    refused: dict[str, str] = {}
    names: list[str] = []
    n_rows = 0
    for block in group:
        if not block.endswith("_values"):
            continue
        values, of_block = group[block], _item_names(source, group, block.replace("_values", "_items"))
        names += of_block
        if values.ndim != 2 or values.dtype.kind not in "biuf":
            refused |= dict.fromkeys(of_block, "pickled objects, such as text; pandas writes it with format='table'")
            continue
        if "shape" in values.attrs:
            # HDF5 has no arrays without elements, and pandas writes another instead.
            values = np.empty((0, len(of_block)))
        if values.shape[1] != len(of_block):
            raise _no_names(source, group)
        n_rows = len(values)
        for k, name in enumerate(of_block):
            read[name] = partial(_of_columns, values, k, _type_said(group[block]))
    source.choose(names, names)
    return Frame(read, {}, n_rows, refused)


def _item_names(source: Source, group: h5py.Group, items: str) -> list[str]:
    """Names of the columns of a block, if they are texts or numbers."""
    stored = group.get(items)
    if stored is None or stored.dtype.kind not in "Siuf" or _TIME.match(_type_said(stored)):
        raise _no_names(source, group)
    return [item.decode(errors="replace") if isinstance(item, bytes) else str(item) for item in stored[:].tolist()]


def _of_columns(values: Any, k: int, said: str, start: int, stop: int) -> Any:
    return _as_times(values[start:stop, k], said)


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
    # PyTables keeps indices of columns in such groups.
    return [path for path in paths if "/_i_" not in f"/{path}"]


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


def _other_kind(node: h5py.Dataset | h5py.Group, name: str) -> str:
    """What a column holds, if it is neither numbers nor texts."""
    kind = (node.dtype[name] if isinstance(node, h5py.Dataset) else node[name].dtype).base
    if kind.names is not None:
        return f"records of {', '.join(kind.names)}"
    if h5py.check_ref_dtype(kind) is not None:
        return "references"
    return "bytes of no known type" if kind.kind == "V" else ""


def _of_usual_length(node: h5py.Dataset | h5py.Group, names: Sequence[str]) -> tuple[str, ...]:
    """The columns that are as long as most are; all of them where no length is that of most."""
    if isinstance(node, h5py.Dataset):
        return tuple(names)
    ranked = Counter(len(node[name]) for name in names).most_common(2)
    if len(ranked) < 2 or ranked[0][1] == ranked[1][1]:
        return tuple(names)
    return tuple(name for name in names if len(node[name]) == ranked[0][0])


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
    return decoded(unit) if isinstance(unit, bytes) else unit


def _described_units(node: h5py.Dataset | h5py.Group) -> dict[str, str]:
    """Units from the description that Astropy stores in a dataset next to this one."""
    description = node.name + _DESCRIPTION
    if description not in node.file:
        return {}
    header = get_header_from_yaml([line.decode() for line in node.file[description][:]])
    return {column["name"]: str(column["unit"]) for column in header["datatype"] if "unit" in column}
