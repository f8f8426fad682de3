"""The rows of a fit as a FITS table, beside the Parquet file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.io import fits
from astropy.table import Table
from numpy.typing import NDArray

from mixpipe.base.files import write_file
from mixpipe.catalog.formats.arrays import parse_unit
from mixpipe.results.provenance import check_code
from mixpipe.results.record import JointRecord, Record, load_record

# Columns in the unit of the values; the others are numbers.
_WITH_UNIT = ("value", "err", "err_lower", "err_upper", "true_mean", "true_unc")
_BLOCK = 1 << 17
_NUMBERS = {"double": ">f8", "float": ">f4", "int64": ">i8", "int32": ">i4", "int16": ">i2", "int8": ">i2"}
_FITS_RECORD = 2880


def write_fits_members(code: str, fit: str, members: str, table: str) -> None:
    """Write a FITS binary table with the columns of members.parquet, and their unit.

    Rows are copied a block at a time: memory does not grow with the catalog.

    Parameters
    ----------
    code : str
        Hash of the stage's code when the job was planned.
    fit, members : str
        fit.json and members.parquet, from `fit_column`.
    table : str
        FITS file to write.
    """
    check_code("members", code)
    record = load_record(fit)
    source = pq.ParquetFile(members)
    dtype = _record_type(source)
    empty = Table(np.empty(0, dtype=dtype.newbyteorder("=")))
    for name, given in _units(record).items():
        unit = parse_unit(given)
        if name in empty.colnames and unit is not None:
            empty[name].unit = unit
    # A header has no other letters, and a key may have any name.
    names = [name.encode("ascii", "replace").decode("ascii") for name in empty.colnames]
    empty.rename_columns(empty.colnames, names)
    extension = fits.table_to_hdu(empty)
    extension.name = "MEMBERS"
    for key, name in (("CATALOG", record.catalog), ("RELEASE", record.release), ("COLUMN", record.column)):
        extension.header[key] = name
    extension.header["NAXIS2"] = source.metadata.num_rows
    for number, name in enumerate(source.schema_arrow.names, start=1):
        if dtype[name].kind == "i" and _lacks(source, number - 1):
            extension.header[f"TNULL{number}"] = _null(dtype[name])

    def write(path: Path) -> None:
        with path.open("wb") as stream:
            stream.write(fits.PrimaryHDU().header.tostring().encode("ascii"))
            stream.write(extension.header.tostring().encode("ascii"))
            n_bytes = 0
            for batch in _batches(source):
                n_bytes += stream.write(_records(batch.to_pydict(), dtype).tobytes())
            stream.write(b"\0" * (-n_bytes % _FITS_RECORD))

    write_file(Path(table), write)


def _units(record: Record) -> dict[str, str | None]:
    """The units of the columns that have one."""
    if not isinstance(record, JointRecord):
        return dict.fromkeys(_WITH_UNIT, record.unit)
    units = dict(zip(record.names, record.units, strict=True))
    return {f"{word}_{name}": unit for word in _WITH_UNIT for name, unit in units.items()}


def _batches(source: pq.ParquetFile, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Blocks of rows; a reader keeps what it has read until it is done, so each row group has one of its own."""
    for group in range(source.num_row_groups):
        yield from source.iter_batches(_BLOCK, row_groups=[group], columns=columns)


def _record_type(source: pq.ParquetFile) -> np.dtype[np.void]:
    """The type of a row: big-endian numbers, and texts as long as the longest in bytes."""
    fields: list[tuple[str, str]] = []
    for field in source.schema_arrow:
        kind = _NUMBERS.get(str(field.type), "S")
        if kind == "S":
            longest = 1
            for batch in _batches(source, [field.name]):
                longest = max([longest, *(len(_text(value)) for value in batch.column(0).to_pylist())])
            kind = f"S{longest}"
        fields.append((field.name, kind))
    return np.dtype(fields)


def _lacks(source: pq.ParquetFile, number: int) -> bool:
    """Whether a column has missing values, or may have: without reading it."""
    metadata = source.metadata
    found = [metadata.row_group(group).column(number).statistics for group in range(metadata.num_row_groups)]
    return any(each is None or not each.has_null_count or each.null_count > 0 for each in found)


def _null(kind: np.dtype[Any]) -> int:
    """What stands for an integer that is missing: a row may have no key."""
    return int(np.iinfo(kind).min)


def _records(columns: dict[str, list[Any]], dtype: np.dtype[np.void]) -> NDArray[np.void]:
    names = dtype.names or ()
    records = np.zeros(len(columns[names[0]]), dtype=dtype)
    for name in names:
        values = columns[name]
        if dtype[name].kind == "S":
            values = [_text(value) for value in values]
        elif dtype[name].kind == "i":
            values = [_null(dtype[name]) if value is None else value for value in values]
        records[name] = values
    return records


def _text(value: Any) -> bytes:
    return b"" if value is None else str(value).encode()
