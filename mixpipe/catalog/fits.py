"""FITS binary and ASCII tables, memory-mapped so that only the wanted columns are converted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import Table
from numpy.typing import NDArray

from mixpipe.catalog.arrays import as_column, unit_text
from mixpipe.catalog.source import Source


def columns(source: Source) -> dict[str, str | None]:
    """Names and units, from the header."""
    with fits.open(source.path, memmap=True) as hdus:
        table = find(hdus, source)
        source.choose(table.columns.names, None)
        return {column.name: unit_text(column.unit) for column in table.columns}


def read(source: Source, names: Sequence[str] | None) -> Table:
    """These columns, or all."""
    with fits.open(source.path, memmap=True) as hdus:
        hdu = find(hdus, source)
        wanted = source.choose(hdu.columns.names, names)
        table = Table()
        for name in wanted:
            column = hdu.columns[name]
            stored = hdu.data.view(np.ndarray)[name]
            # Nulls are marks in the stored values, before TSCAL and TZERO.
            null = _nulls(column, stored, isinstance(hdu, fits.TableHDU))
            # Text as bytes: Astropy refuses a whole column for one letter that is not ASCII.
            values = stored if stored.dtype.kind == "S" and "A" in column.format else np.asarray(hdu.data.field(name))
            if values.dtype.kind != "O" and null is not None:
                values = np.ma.MaskedArray(values, mask=np.broadcast_to(null, values.shape))
            table[name] = as_column(name, values, column.unit)
        return table


def find(hdus: fits.HDUList, source: Source) -> fits.BinTableHDU | fits.TableHDU:
    """The table that `hdu` names, by default the first one."""
    tables = [i for i, hdu in enumerate(hdus) if isinstance(hdu, fits.BinTableHDU | fits.TableHDU)]
    listed = ", ".join(f"{i} ({hdus[i].name})" if hdus[i].name else str(i) for i in tables) or "a file with a table"
    if source.hdu is None:
        if not tables:
            raise source.error("no HDU has a table", "a FITS file with a binary or ASCII table")
        return hdus[tables[0]]
    named = [i for i in range(len(hdus)) if hdus[i].name and hdus[i].name.upper() == str(source.hdu).strip().upper()]
    # A command line hands over numbers as text.
    number = int(source.hdu) if str(source.hdu).strip().isdecimal() else -1
    index = named[0] if named else number
    if not 0 <= index < len(hdus):
        raise source.error(f"no HDU {source.hdu}", f"one of {listed}")
    if index not in tables:
        raise source.error(f"HDU {source.hdu} has no table", f"one of {listed}")
    return hdus[index]


def _nulls(column: fits.Column, stored: NDArray[Any], is_ascii: bool) -> NDArray[np.bool_] | None:
    """Cells that the file marks as null, None if the format has no such mark for this column."""
    if is_ascii:
        text = np.strings.strip(stored)
        mark = str(column.null).strip().encode() if column.null is not None else b""
        return (text == b"") | (text == mark)
    if stored.dtype.kind == "i" and column.format.endswith("L"):
        return stored == 0
    if stored.dtype.kind in "iu" and isinstance(column.null, int):
        return stored == column.null
    return None
