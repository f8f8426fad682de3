"""The first rows of catalog files, as `mixpipe init` looks at them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import MaskedColumn, Table

from mixpipe.base.errors import MixpipeError, excerpt
from mixpipe.catalog.densities import DensityFile, open_densities
from mixpipe.catalog.files import folder_files
from mixpipe.catalog.formats.arrays import is_missing_word, is_number
from mixpipe.catalog.light import as_astropy
from mixpipe.catalog.limits import split_limits
from mixpipe.catalog.reading import read_blocks
from mixpipe.catalog.sentinels import Numbers
from mixpipe.catalog.source import Source

# Enough to tell errors from bounds.
SAMPLE_ROWS = 100_000


@dataclass(frozen=True)
class FitsTables:
    """The tables of a FITS file: the one to read, None for the first, and places of columns in the others by length."""

    hdu: int | str | None
    others: Sequence[int | str]
    columns: Mapping[int, Sequence[str]]


def find_tables(file: Path) -> FitsTables:
    """Choose among the tables of a file: that with the most columns, if it has more than one row.

    Raises
    ------
    CatalogError
        For a file that cannot be read.
    """
    source = Source(folder_files(file)[0]).resolved()
    if source.format != "fits":
        return FitsTables(None, (), {})
    with source.parsing(), fits.open(file, memmap=True) as hdus:
        tables = {i: hdu for i, hdu in enumerate(hdus) if isinstance(hdu, fits.BinTableHDU | fits.TableHDU)}
        if len(tables) < 2:
            return FitsTables(None, (), {})
        named = [hdu.name.upper() for hdu in hdus]
        labels = {
            i: hdu.name if hdu.name and not hdu.name.isdecimal() and named.count(hdu.name.upper()) == 1 else i
            for i, hdu in tables.items()
        }
        # A single row is about the file.
        widest = max(tables, key=lambda i: (tables[i].header["NAXIS2"] > 1, len(tables[i].columns)))
        columns: dict[int, list[str]] = {}
        for i, hdu in tables.items():
            if i != widest:
                columns.setdefault(hdu.header["NAXIS2"], []).extend(f"{labels[i]}:{name}" for name in hdu.columns.names)
        others = [label for i, label in labels.items() if i != widest]
        return FitsTables(None if widest == min(tables) else labels[widest], others, columns)


# Fewer rows than this are no histogram.
FEWEST_BINS = 5


def first_rows(file: Path, **reading: Any) -> Table:
    """Some rows of a file, all columns; `reading` as for `read_blocks`.

    Raises
    ------
    CatalogError
        For a file that cannot be read.
    """
    return as_astropy(next(read_blocks(file, rows=SAMPLE_ROWS, **reading)))


def as_numbers(column: MaskedColumn, *, with_text: bool = False) -> Numbers | None:
    """Numbers of a column, limits such as `<0.5` among them, NaN where one is missing; None for anything else.

    `with_text` takes text among the numbers for missing ones, too.

    >>> as_numbers(MaskedColumn(["1.5", "<0.5", "?"], mask=[False, False, True])).tolist()
    [1.5, 0.5, nan]
    """
    values, missing = column.data.data, np.ma.getmaskarray(column)
    if values.ndim > 1 or values.dtype.kind not in "iufU":
        return None
    if values.dtype.kind == "U":
        missing = missing | is_missing_word(values)
        values = split_limits(values)[0]
        if with_text:
            missing = missing | np.array([not is_number(text) for text in values.tolist()], dtype=bool)
        known = values[~missing]
        if not known.size or not all(map(is_number, known)):
            return None
        values = np.where(missing, "nan", values)
    return np.where(missing, np.nan, values.astype(np.float64))


# A number with something beside it, such as a sign for per cent, a unit, a doubt, or a comma for the point.
_NEARLY_NUMBER = re.compile(r"[-+~(]?\d[\d.,'\u00b1 ]*(?:[eE][-+]?\d+)?\s*\S{0,5}")
# Share of a column's cells that are nearly numbers if it is a column of numbers.
_MOSTLY_NUMBERS = 0.5


def describe_text(column: MaskedColumn) -> str | None:
    """The cells that keep a column of numbers from being one, in words; None for other columns.

    >>> describe_text(MaskedColumn(["1.5", "see note", "2.5"]))
    "'see note' in row 2, text in 1 of 3 rows"
    """
    if column.ndim > 1 or column.dtype.kind != "U":
        return None
    values = column.data.data
    texts = [text.strip() for text in split_limits(values)[0].tolist()]
    known = np.flatnonzero(~(np.ma.getmaskarray(column) | is_missing_word(values))).tolist()
    bad = [row for row in known if not is_number(texts[row])]
    nearly = sum(is_number(texts[row]) or _NEARLY_NUMBER.fullmatch(texts[row]) is not None for row in known)
    if not bad or nearly < _MOSTLY_NUMBERS * len(known):
        return None
    first = excerpt(repr(texts[bad[0]]), 30)
    return f"{first} in row {bad[0] + 1}, text in {len(bad):,} of {len(column):,} rows"


# Columns with the edges and the centres of bins, as in Z_LOW, Z_MID, Z_HIGH.
_BINS = re.compile(r"(?P<stem>.*?)[\s_.-]?(?P<part>low|mid|high)", re.IGNORECASE)


def _bins(table: Table) -> Iterator[tuple[str, str, str]]:
    """Lower edge, centre and upper edge of adjacent bins, of which each row is one."""
    parts: dict[str, dict[str, str]] = {}
    for name in table.colnames:
        if found := _BINS.fullmatch(name):
            parts.setdefault(found["stem"].casefold(), {})[found["part"].casefold()] = name
    for names in parts.values():
        if len(names) == 3:
            low, mid, high = (as_numbers(table[names[part]]) for part in ("low", "mid", "high"))
            if low is None or mid is None or high is None or len(table) < FEWEST_BINS:
                continue
            if np.all(low < mid) and np.all(mid < high) and np.all(np.diff(mid) > 0.0):
                yield names["low"], names["mid"], names["high"]


def find_densities(file: Path, table: Table, tables: FitsTables) -> Iterator[tuple[str, str, DensityFile]]:
    """Columns with an array a row that are densities, or that are one density each, with where their grid is."""
    grid = next(_bins(table), None)
    if grid is not None:
        for name in table.colnames:
            numbers = as_numbers(table[name]) if name not in grid else None
            if numbers is not None and np.all(numbers >= 0.0) and np.any(numbers % 1.0):
                with contextlib.suppress(MixpipeError):
                    yield name, grid[1], open_densities(file, name, grid[1], hdu=tables.hdu)
        return
    arrays = [name for name in table.colnames if table[name].ndim == 2 and table[name].dtype.kind == "f"]
    for name in arrays:
        size = table[name].shape[1]
        same = [other for other in arrays if other != name and table[other].shape[1] == size]
        for grid in (*tables.columns.get(size, ()), *same):
            try:
                yield name, grid, open_densities(file, name, grid, hdu=tables.hdu)
                break
            except MixpipeError:
                # Not increasing, not the same in each row: no grid.
                continue
