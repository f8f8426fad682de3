"""The columnar file that a release is read into once, so that every later job reads only its columns."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.table import Table

from mixpipe.catalog import parquet
from mixpipe.catalog.arrays import unit_text
from mixpipe.catalog.source import Source
from mixpipe.errors import CatalogError
from mixpipe.files import write_file

_META = b"mixpipe"


def write_columns(table: Table, path: str | Path) -> None:
    """Write a table to a Parquet file, whole or not at all; equal tables give equal bytes.

    Parameters
    ----------
    table : astropy.table.Table
        Columns with one number, truth value or text a row; masked cells become nulls. ``meta["files"]`` is kept.
    path : str or Path
        The file to write.

    Raises
    ------
    CatalogError
        For a column with several values a row.
    """
    arrays, fields = [], []
    for name in table.colnames:
        column = table[name]
        values = np.ma.getdata(column)
        if values.ndim != 1 or values.dtype.kind == "O":
            held = f"{values[0].size} values a row" if values.ndim > 1 and len(values) else "several values a row"
            raise CatalogError(f"column {name!r} holds {held}", place(table), "one value a row")
        array = pa.array(values, mask=np.ma.getmaskarray(column))
        unit = unit_text(column.unit)
        arrays.append(array)
        fields.append(pa.field(name, array.type, metadata={"unit": unit} if unit else None))
    meta = json.dumps({"files": table.meta.get("files", [])}, sort_keys=True)
    data = pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata={_META: meta.encode()}))
    write_file(Path(path), lambda part: pq.write_table(data, part, compression="zstd"))


def read_columns(path: str | Path, columns: Sequence[str] | None = None) -> Table:
    """Read a table that `write_columns` wrote.

    Parameters
    ----------
    path : str or Path
        The file.
    columns : sequence of str, optional
        The columns to read; all if None.

    Returns
    -------
    astropy.table.Table
        As it was written, with ``meta["files"]``.
    """
    source = Source(Path(path), format="parquet").resolved()
    with source.parsing():
        table = parquet.read(source, columns)
        metadata = pq.read_schema(source.path).metadata or {}
    if _META not in metadata:
        raise source.error("the file was not written by mixpipe", "a file of columns from the ingest step")
    table.meta = json.loads(metadata[_META])
    return table


def stored_columns(path: Path) -> tuple[str, ...]:
    """Names of the columns in a file that `write_columns` wrote; none if it cannot be read."""
    try:
        return tuple(pq.read_schema(path).names)
    except (OSError, pa.ArrowException):
        return ()


def place(table: Table) -> str:
    """The file or files of a table, for error messages."""
    files = [entry["path"] for entry in table.meta.get("files", [])]
    return f"in {files[0]}" + (f" and {len(files) - 1} more" if len(files) > 1 else "") if files else "in a table"
