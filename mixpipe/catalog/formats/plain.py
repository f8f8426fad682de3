"""Small tables of plain numbers, read without pandas, whose import takes longer than the fit of such a table.

Only text that leaves no room for interpretation is read here, and pandas reads all other text. The numbers are the
same: both round a number of at most 15 digits correctly.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np

from mixpipe.catalog.formats.arrays import MISSING_WORDS

_NUMBER = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)")
_LONGEST = 15
_MISSING = {word.encode() for word in MISSING_WORDS}
# Characters that may quote, break or end a cell or a line.
_SPECIAL = re.compile(rb'["\0\r\v\f]')


def read_plain(
    lines: Iterable[bytes], delimiter: str, n_fields: int, indices: Sequence[int]
) -> list[np.ma.MaskedArray] | None:
    """Columns of int64 or float64 numbers; None if any cell is not plain, or if there are no rows.

    Parameters
    ----------
    lines : iterable of bytes
        The rows.
    delimiter : str
        One character; a blank stands for any white space.
    n_fields : int
        Number of fields that each row must have.
    indices : sequence of int
        Indices of the columns to read.
    """
    mark = None if delimiter == " " else delimiter.encode()
    rows = []
    for line in lines:
        text = line.removesuffix(b"\n").removesuffix(b"\r")
        fields = text.split(mark)
        if not text.strip() or len(fields) != n_fields or _SPECIAL.search(text):
            return None
        rows.append([fields[index] for index in indices])
    columns = []
    for cells in zip(*rows, strict=True):
        column = _column(cells)
        if column is None:
            return None
        columns.append(column)
    return columns or None


def _column(cells: Sequence[bytes]) -> np.ma.MaskedArray | None:
    missing = [cell in _MISSING for cell in cells]
    numbers = [b"0" if is_missing else cell for cell, is_missing in zip(cells, missing, strict=True)]
    if not all(len(cell) <= _LONGEST and _NUMBER.fullmatch(cell) for cell in numbers):
        return None
    if any(b"." in cell for cell in numbers):
        return np.ma.MaskedArray([float(cell) for cell in numbers], mask=missing, dtype=np.float64)
    return np.ma.MaskedArray([int(cell) for cell in numbers], mask=missing, dtype=np.int64)
