"""The columnar file in which a release is stored once, so that later jobs read only the columns that they need."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from astropy.table import MaskedColumn, Table

from mixpipe.base.errors import CatalogError
from mixpipe.base.files import MARK_IN_PARQUET, write_file
from mixpipe.catalog.files import place
from mixpipe.catalog.formats.arrays import as_column, parse_unit, unit_text
from mixpipe.catalog.formats.parquet import to_masked
from mixpipe.catalog.source import Source

# Rows that are written and read at a time, whatever the sizes of the blocks that are passed in.
GROUP_ROWS = 1 << 18

# Key of the field metadata that says why a column cannot be stored, in which case the column has no values.
_REFUSED = b"refused"

# Rows to be written to the file, and a description of their origin for error messages.
_Part = tuple[pa.Table, str]


def write_blocks(
    blocks: Iterable[Table],
    path: str | Path,
    files: Mapping[str, Mapping[str, object]] | None = None,
    arrays: Collection[str] = (),
) -> None:
    """Write tables, one after the other, to a Parquet file, whole or not at all.

    Only some of the rows are in memory at a time. The bytes of the file depend on the rows, but not on their division
    into blocks.

    Parameters
    ----------
    blocks : iterable of astropy.table.Table
        At least one table. All tables have the same columns, with one number, truth value or text per row. Masked, NaN
        and blank cells become null. ``meta["files"]`` is kept, with the numbers of rows of all blocks of a file added
        up.
    path : str or Path
        The file to write.
    files : mapping, optional
        Further information to store about a file, by its path: ``{"a.fits": {"sha256": "..."}}``.
    arrays : collection of str
        Columns that may have several numbers per row, as many in each.

    Another column that has several values per row, contains text in one block and numbers in another, or changes
    its unit is written without values. Reading it raises an error that says what is wrong with it; the other
    columns are not affected.
    """
    entries: list[dict[str, Any]] = []
    parts = _parts(blocks, entries, arrays)
    first = next(parts, None)
    if first is None:
        raise ValueError("blocks must be at least one table")

    def meta() -> dict[str, str]:
        listed = [{**entry, **(files or {}).get(entry["path"], {})} for entry in entries]
        return {MARK_IN_PARQUET: json.dumps({"files": listed}, sort_keys=True)}

    write_file(Path(path), lambda file: _write(file, first[0].schema, itertools.chain([first], parts), meta))


def read_columns(path: str | Path, columns: Sequence[str] | None = None) -> Table:
    """Read a table that `write_blocks` wrote.

    Parameters
    ----------
    path : str or Path
        The file.
    columns : sequence of str, optional
        The columns to read; all if None.

    Returns
    -------
    astropy.table.Table
        Masked columns as they were written, with ``meta["files"]``.
    """
    check_stored(path, columns or stored_columns(path))
    with _opened(path) as (source, file, files):
        table = _to_table(file.read(columns=source.choose(file.schema_arrow.names, columns)))
    table.meta = {"files": files}
    return table


def stored_blocks(
    path: str | Path, columns: Sequence[str] | None = None, *, start: int = 0, stop: int | None = None
) -> Iterator[Table]:
    """Read a table that `write_blocks` wrote, in blocks of rows.

    Parameters
    ----------
    path : str or Path
        The file.
    columns : sequence of str, optional
        The columns to read; all if None.
    start, stop : int, optional
        Rows to read; all by default.

    Yields
    ------
    astropy.table.Table
        The next `GROUP_ROWS` rows, or fewer in the first and last block; a table without rows gives one empty block.
        Floating-point numbers are NaN where they are masked, and their arrays are read-only if none is masked.
        ``meta["files"]`` says which rows of which files these are: `n_rows` rows after the first `first_row` rows.
    """
    check_stored(path, columns or stored_columns(path))
    with _opened(path) as (source, file, files):
        names = source.choose(file.schema_arrow.names, columns)
        last = file.metadata.num_rows if stop is None else stop
        if start >= last:
            table = _to_table(file.schema_arrow.empty_table().select(names))
            table.meta = {"files": _files_of(files, start, start)}
            yield table
        n_before = 0
        for group in range(file.num_row_groups):
            n_rows = file.metadata.row_group(group).num_rows
            first, end = max(start - n_before, 0), min(last - n_before, n_rows)
            if first < end:
                table = _to_table(file.read_row_group(group, columns=names).slice(first, end - first))
                table.meta = {"files": _files_of(files, n_before + first, n_before + end)}
                yield table
            n_before += n_rows


def stored_files(path: str | Path) -> list[dict[str, Any]]:
    """Information about the original files of the rows, from the footer of a file that `write_blocks` wrote."""
    with _opened(path) as (_, _, files):
        return files


def stored_columns(path: str | Path) -> tuple[str, ...]:
    """Names of the columns in a file that `write_blocks` wrote, from its footer; none if it cannot be read."""
    try:
        return tuple(pq.read_schema(path).names)
    except (OSError, pa.ArrowException):
        return ()


def _parts(blocks: Iterable[Table], entries: list[dict[str, Any]], arrays: Collection[str]) -> Iterator[_Part]:
    """The rows of each block, whose files are added to the entries."""
    for block in blocks:
        for entry in block.meta.get("files", []):
            if not entries or entries[-1]["path"] != entry["path"]:
                entries.append({**{key: entry[key] for key in entry if key != "first_row"}, "n_rows": 0})
            entries[-1]["n_rows"] += entry["n_rows"]
            # What was found in the blocks so far.
            entries[-1] |= {key: entry[key] for key in ("doubts", "repeated") if key in entry}
        yield _to_arrow(block, arrays), place(block)


def _to_arrow(block: Table, with_arrays: Collection[str]) -> pa.Table:
    arrays, fields = [], []
    for name in block.colnames:
        stored = block[name]
        if name in with_arrays and stored.ndim > 1:
            rows = np.ma.filled(np.ma.asarray(stored, dtype=np.float64), np.nan)
            rows = rows.reshape(len(block), math.prod(stored.shape[1:]))
            arrays.append(pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1]))
            unit = unit_text(parse_unit(stored.unit))
            fields.append(pa.field(name, arrays[-1].type, metadata={"unit": unit} if unit else None))
            continue
        if name in with_arrays and stored.dtype.kind == "O":
            lists: list[Any] = [
                [] if row is None else np.asarray(row, dtype=np.float64) for row in np.ma.getdata(stored)
            ]
            arrays.append(pa.array(lists, pa.list_(pa.float64())))
            fields.append(pa.field(name, arrays[-1].type))
            continue
        error = _no_number(block, name)
        if error is not None:
            arrays.append(pa.nulls(len(block)))
            fields.append(_refused(name, error))
            continue
        column = as_column(name, stored, stored.unit)
        mask = column.mask
        # Rows without values have the null type, so that the other rows determine the type.
        array = pa.nulls(len(column)) if mask.all() else pa.array(column.data.data, mask=mask if mask.any() else None)
        unit = unit_text(column.unit)
        arrays.append(array)
        fields.append(pa.field(name, array.type, metadata={"unit": unit} if unit else None))
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _write(file: Path, schema: pa.Schema, parts: Iterator[_Part], meta: Callable[[], dict[str, str]]) -> None:
    """Write groups of rows. If a part requires wider types, the file is rewritten with the rows before it."""
    waiting: list[pa.Table] = []
    n_waiting = 0
    texts = [field.name for field in schema if pa.types.is_string(field.type)]
    # Measurements hardly compress, so that neither compression nor statistics are worth their time.
    with pq.ParquetWriter(file, schema, compression="none", use_dictionary=texts, write_statistics=False) as writer:
        for part in parts:
            wider = _wider(schema, *part)
            if wider != schema:
                break
            waiting.append(_conformed(part[0], schema))
            n_waiting += part[0].num_rows
            if n_waiting >= GROUP_ROWS:
                waiting = [_write_groups(writer, waiting, GROUP_ROWS)]
                n_waiting = waiting[0].num_rows
        else:
            _write_groups(writer, waiting, 1)
            # Only now are all files known.
            writer.add_key_value_metadata(meta())
            return
    before = itertools.chain(_groups(file), waiting)
    rest = itertools.chain(((table, "") for table in before), [part], parts)
    write_file(file, lambda again: _write(again, wider, rest, meta))


def _write_groups(writer: pq.ParquetWriter, tables: Sequence[pa.Table], fewest: int) -> pa.Table:
    """Write groups as long as there are enough rows for one; returns the remaining rows."""
    rows = pa.concat_tables(tables)
    while rows.num_rows >= fewest:
        # Combining the chunks removes the boundaries between blocks, which would affect the bytes.
        writer.write_table(rows.slice(0, GROUP_ROWS).combine_chunks(), row_group_size=GROUP_ROWS)
        rows = rows.slice(GROUP_ROWS)
    return rows


def _groups(file: Path) -> Iterator[pa.Table]:
    with pq.ParquetFile(file) as written:
        for group in range(written.num_row_groups):
            yield written.read_row_group(group)


def _wider(schema: pa.Schema, table: pa.Table, where: str) -> pa.Schema:
    """The schema widened such that it can also represent this table."""
    if table.schema.equals(schema, check_metadata=True):
        return schema
    if table.schema.names != schema.names:
        raise ValueError(f"blocks must have the same columns, not {table.schema.names} after {schema.names}")
    fields = []
    for before, field in zip(schema, table.schema, strict=True):
        refused = next((each for each in (before, field) if _is_refused(each)), None)
        units = [(each.metadata or {}).get(b"unit", b"none").decode() for each in (field, before)]
        kinds = [_kind(each.type) for each in (field, before)]
        if refused is not None:
            fields.append(refused)
        elif units[0] != units[1]:
            what = f"column {field.name!r} has the unit {units[0]}"
            fields.append(_refused(field.name, CatalogError(what, where, f"{units[1]} as in the rows before")))
        elif "nothing" not in kinds and kinds[0] != kinds[1]:
            what = f"column {field.name!r} holds {kinds[0]}"
            fields.append(_refused(field.name, CatalogError(what, where, f"{kinds[1]} as in the rows before")))
        else:
            fields.append(before.with_type(_common(before.type, field.type)))
    return pa.schema(fields)


def _refused(name: str, error: CatalogError) -> pa.Field:
    return pa.field(name, pa.null(), metadata={_REFUSED: json.dumps(error.args)})


def _is_refused(field: pa.Field) -> bool:
    return _REFUSED in (field.metadata or {})


def _conformed(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The rows converted to the types of the schema, without the values of columns that are refused."""
    for number, field in enumerate(schema):
        if _is_refused(field):
            table = table.set_column(number, field, pa.nulls(table.num_rows))
        elif pa.types.is_uint64(field.type) and pa.types.is_signed_integer(table.schema.field(number).type):
            least = pc.min(table.column(number)).as_py()
            if least is not None and least < 0:
                what = f"column {field.name!r} has {least} beside numbers beyond {2**63 - 1}"
                raise CatalogError(what, "in one of the files", "whole numbers of one type")
    return table.cast(schema, safe=False)


def check_storable(table: Table) -> None:
    """Refuse a table with a column that `write_blocks` cannot store.

    Raises
    ------
    CatalogError
        What is wrong with the first of them.
    """
    for name in table.colnames:
        error = _no_number(table, name)
        if error is not None:
            raise error


def _no_number(block: Table, name: str) -> CatalogError | None:
    """The error about a column that does not have one number, truth value or text per row; None if it does."""
    stored = block[name]
    if stored.ndim == 1 and stored.dtype.kind not in "Oc":
        return None
    held = f"{stored[0].size} values a row" if stored.ndim > 1 and len(stored) else "several values a row"
    return CatalogError(f"column {name!r} holds {held}", place(block), "one value a row")


def check_stored(path: str | Path, columns: Iterable[str]) -> None:
    """Refuse columns that `write_blocks` could not store.

    Raises
    ------
    CatalogError
        What is wrong with the first of them.
    """
    with _opened(path) as (_, file, _):
        schema = file.schema_arrow
    for name in columns:
        if name in schema.names and _is_refused(schema.field(name)):
            raise CatalogError(*json.loads(schema.field(name).metadata[_REFUSED]))


def _kind(kind: pa.DataType) -> str:
    if pa.types.is_null(kind):
        return "nothing"
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return "numbers"
    return "text" if pa.types.is_string(kind) else str(kind)


def _common(first: pa.DataType, second: pa.DataType) -> pa.DataType:
    """The common NumPy type of both, one of which may be the null type."""
    if pa.types.is_null(first) or first == second:
        return second
    if pa.types.is_null(second):
        return first
    common = np.result_type(first.to_pandas_dtype(), second.to_pandas_dtype())
    # Signed and unsigned integers beyond 2^53 have no common type but that of the latter, or none.
    if common.kind == "f" and pa.types.is_integer(first) and pa.types.is_integer(second):
        return pa.uint64()
    return pa.from_numpy_dtype(common)


@contextmanager
def _opened(path: str | Path) -> Iterator[tuple[Source, pq.ParquetFile, list[dict[str, Any]]]]:
    source = Source(Path(path), format="parquet").resolved()
    with source.parsing(), pq.ParquetFile(source.path) as file:
        metadata = file.metadata.metadata or {}
        if MARK_IN_PARQUET.encode() not in metadata:
            raise source.error("the file was not written by mixpipe", "a file of columns from the ingest step")
        yield source, file, json.loads(metadata[MARK_IN_PARQUET.encode()])["files"]


def _to_table(stored: pa.Table) -> Table:
    columns = []
    for field in stored.schema:
        if pa.types.is_fixed_size_list(field.type):
            flat = stored.column(field.name).combine_chunks().flatten().to_numpy()
            unit = parse_unit((field.metadata or {}).get(b"unit", b"").decode())
            rows = flat.reshape(stored.num_rows, field.type.list_size)
            columns.append(MaskedColumn(rows, name=field.name, unit=unit))
            continue
        if pa.types.is_list(field.type):
            lists = np.empty(stored.num_rows, dtype=object)
            lists[:] = [
                np.empty(0) if row.values is None else row.values.to_numpy() for row in stored.column(field.name)
            ]
            columns.append(MaskedColumn(lists, name=field.name))
            continue
        values = to_masked(stored.column(field.name))
        unit = parse_unit((field.metadata or {}).get(b"unit", b"").decode())
        columns.append(MaskedColumn(values.data, name=field.name, mask=np.ma.getmask(values), unit=unit, copy=False))
    return Table(columns, copy=False)


def _files_of(files: Sequence[Mapping[str, Any]], start: int, stop: int) -> list[dict[str, Any]]:
    """The files from which rows `start` to `stop` come, each with its rows among these."""
    entries, n_before = [], 0
    for entry in files:
        first, last = max(start - n_before, 0), min(stop - n_before, entry["n_rows"])
        if first < last:
            entries.append({**entry, "first_row": first, "n_rows": last - first})
        n_before += entry["n_rows"]
    return entries
