"""Cells that are nearly numbers: what they look like, and what to write in their place."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mixpipe.catalog.formats.arrays import is_number

# A number with marks of thousands, perhaps with a decimal mark.
_THOUSANDS = re.compile(r"[-+]?\d{1,3}([.,'\u2019\s\u00a0\u2009\u202f])\d{3}(\1\d{3})*([.,]\d+)?")

_NUMBER = r"[-+\u2212]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
# The first form that fits a cell is what it looks like.
_FORMS = (
    (
        rf"{_NUMBER}\s*(?:±|\+/-|\+-|\\pm)\s*{_NUMBER}|{_NUMBER}\s*\(\d[\d.]*\)",
        "numbers; this looks like a value with its error, which belong into two columns",
    ),
    (r"[-+]?\d+:\d+(?::[\d.]+)?", "numbers; this looks like an angle or a time, which has to be one number"),
    (
        rf"(?:{_NUMBER}\s*)?(?:[x×*]|\\times)\s*10(?:\*\*|\^)?\s*[{{(]?[-+\u2212]?\d+[}})]?",
        "numbers; this looks like a power of ten, which is written as in 1.2e-15",
    ),
    (
        rf"{_NUMBER}\s*(?:%|[^\W\d_][\w/^*.\-]*)",
        "numbers; this looks like a number with its unit, which belongs into `unit`, not into the cells",
    ),
)
_PATTERNS = tuple((re.compile(form), expected) for form, expected in _FORMS)


def numbers_expected(cells: Sequence[str]) -> str:
    """What is expected in place of cells that are no numbers.

    Examples
    --------
    >>> numbers_expected(["1,5"])
    'numbers; `decimal` for a comma'
    >>> numbers_expected(["12.3 +/- 0.4"])
    'numbers; this looks like a value with its error, which belong into two columns'
    >>> numbers_expected(["see note"])
    'numbers; `missing` lists texts that stand for no value'
    """
    grouped = all(_THOUSANDS.fullmatch(cell) for cell in cells)
    if all(is_number(cell.replace(",", ".", 1)) for cell in cells):
        return "numbers; `decimal` for a comma" + ", unless it is a mark of thousands" * grouped
    if grouped:
        return "numbers without marks of thousands"
    missing = "numbers; `missing` lists texts that stand for no value"
    return next((expected for form, expected in _PATTERNS if form.fullmatch(cells[0].strip())), missing)
