"""Parquet files, of which the required columns are read in blocks of rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from astropy.table.meta import get_header_from_yaml

from mixpipe.catalog.formats.arrays import as_masked, decoded, unit_text
from mixpipe.catalog.light import LightTable
from mixpipe.catalog.source import Source

# Astropy stores the mask of a column x as a column x.mask, here and in HDF5.
MASK = ".mask"

_BUFFER = 1 << 20
_FEW_BLOCKS = 8


def columns(source: Source) -> dict[str, str | None]:
    """Names and units, from the footer."""
    with source.open() as stream, pq.ParquetFile(stream) as file:
        return _columns(file.schema_arrow, source.choose(file.schema_arrow.names, None))


def blocks(source: Source, names: Sequence[str] | None, rows: int) -> Iterator[LightTable]:
    """Read these columns, or all, in blocks of rows."""
    # With a buffer, row groups are not read as a whole.
    with source.open() as stream, pq.ParquetFile(stream, buffer_size=_BUFFER) as file:
        available = source.choose(file.schema_arrow.names, names)
        units = _columns(file.schema_arrow, available)
        wanted = source.choose(list(units), names)
        masks = [name + MASK for name in wanted if name + MASK in file.schema_arrow.names]
        # Names are matched here, since pyarrow would interpret a dot in a name as a path and include siblings.
        for data in _tables(file, [*wanted, *masks], rows):
            columns = {}
            for name in wanted:
                values = to_masked(data.column(name))
                if name + MASK in masks:
                    values.mask |= to_masked(data.column(name + MASK)).filled(True).astype(bool)
                columns[name] = as_masked(values)
            yield LightTable(columns, {name: units[name] for name in wanted})


def _tables(file: pq.ParquetFile, names: Sequence[str], rows: int) -> Iterator[pa.Table]:
    if file.metadata.num_rows <= rows:
        yield file.read(columns=names)
        return
    # A reader keeps everything that it has read until it is finished, so that it is given only a few row groups at a
    # time.
    groups: list[int] = []
    n_rows = 0
    for group in range(file.num_row_groups):
        groups.append(group)
        n_rows += file.metadata.row_group(group).num_rows
        if n_rows >= _FEW_BLOCKS * rows or group == file.num_row_groups - 1:
            for batch in file.iter_batches(rows, row_groups=groups, columns=names):
                yield pa.Table.from_batches([batch])
            groups, n_rows = [], 0


def to_masked(column: pa.ChunkedArray) -> np.ma.MaskedArray:
    """A masked array with nulls masked; long integers stay exact, and data are not copied if possible."""
    if pa.types.is_fixed_size_list(column.type) and column.type.list_size == 1 and not column.null_count:
        # An array of one element is a number.
        column = pc.list_flatten(column)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_decimal(column.type):
        # Convert by way of text, since the direct cast of PyArrow is wrong in the last digit.
        column = column.cast(pa.string()).cast(pa.float64())
    if pa.types.is_null(column.type):
        return np.ma.masked_all(len(column))
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        # A block of a text column that contains only nulls is text, too.
        filled = pc.fill_null(column, "") if column.null_count else column
        return np.ma.MaskedArray(filled.to_numpy().astype(np.str_), mask=_nulls(column))
    if pa.types.is_floating(column.type):
        filled = pc.fill_null(column, pa.scalar(np.nan, type=column.type)) if column.null_count else column
        return np.ma.MaskedArray(filled.to_numpy(), mask=_nulls(column))
    if pa.types.is_boolean(column.type) or pa.types.is_integer(column.type):
        filled = pc.fill_null(column, pa.scalar(0, type=pa.int8()).cast(column.type)) if column.null_count else column
        return np.ma.MaskedArray(filled.to_numpy(), mask=_nulls(column))
    return np.ma.MaskedArray(column.to_numpy(), mask=_nulls(column))


def _nulls(column: pa.ChunkedArray) -> Any:
    return column.is_null().to_numpy() if column.null_count else np.ma.nomask


def _columns(schema: pa.Schema, names: Sequence[str]) -> dict[str, str | None]:
    described = _described_units(schema.metadata or {})
    return {
        name: unit_text(_field_unit(schema.field(name)) or described.get(name))
        for name in names
        if not (name.endswith(MASK) and name.removesuffix(MASK) in names)
    }


def _field_unit(field: pa.Field) -> str | None:
    metadata = field.metadata or {}
    return next((decoded(metadata[key]) for key in (b"unit", b"units") if key in metadata), None)


def _described_units(metadata: dict[bytes, bytes]) -> dict[str, str]:
    """Units from the description that Astropy stores in the metadata of the file."""
    text = metadata.get(b"table_meta_yaml")
    header = get_header_from_yaml(text.decode().splitlines()) if text else {}
    return {column["name"]: str(column["unit"]) for column in header.get("datatype", ()) if "unit" in column}
