"""Upper and lower limits in a catalog's columns: written as `<0.0017`, marked by a flag, or in separate columns."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mixpipe.base.presentation import plural
from mixpipe.catalog.formats.arrays import as_masked, is_number

UPPER, VALUE, LOWER = -1, 0, 1

_SIGNS = {"<": UPPER, "≤": UPPER, ">": LOWER, "≥": LOWER}
# Values of flag columns. Numbers are those of the NASA Exoplanet Archive: 1 marks an upper limit, -1 a lower limit; in
# Python, and in the results, they are the reverse, as above.
_FLAGS = {
    **_SIGNS,
    **dict.fromkeys(("1", "u", "ul", "upper", "true", "t", "<="), UPPER),
    **dict.fromkeys(("-1", "l", "ll", "lower", ">="), LOWER),
    **dict.fromkeys(("0", "", "=", "~", "false", "f"), VALUE),
}
EXPECTED_FLAGS = "< or 1 for an upper limit, > or -1 for a lower limit, 0 or blank for a value"


def split_limits(texts: NDArray[np.str_]) -> tuple[NDArray[np.str_], NDArray[np.int8]]:
    """Remove the sign of a limit from texts, and return which limit each of them is.

    Examples
    --------
    >>> texts, limits = split_limits(np.array(["0.3", "<0.0017", "> 5"]))
    >>> texts.tolist(), limits.tolist()
    (['0.3', '0.0017', '5'], [0, -1, 1])
    """
    stripped = np.strings.strip(texts)
    limits = np.zeros(texts.shape, dtype=np.int8)
    for sign, limit in _SIGNS.items():
        found = np.strings.startswith(stripped, sign)
        limits[found] = limit
        stripped = np.where(found, np.strings.lstrip(np.strings.lstrip(stripped, sign), "= "), stripped)
    return stripped, limits


def read_flags(column: ArrayLike, name: str, refuse: Callable[[str, str], Exception]) -> NDArray[np.int8]:
    """Read limits from a column of flags; a missing flag means a value.

    A flag of 1 marks an upper limit, which is -1 among the limits that are returned, and -1 a lower limit, which is 1.

    Parameters
    ----------
    column : array_like
        Texts, numbers or truth values.
    name : str
        Name of the column.
    refuse : callable
        Function that makes the error to raise from what was found and what was expected.
    """
    flags = as_masked(column)
    values, missing = flags.data, np.ma.getmaskarray(flags)
    limits = np.zeros(len(values), dtype=np.int8)
    for value in np.unique(values[~missing]):
        text = f"{value:g}" if values.dtype.kind in "iuf" and is_number(str(value)) else str(value).strip().lower()
        if text not in _FLAGS:
            rows = plural(int(np.count_nonzero((values == value) & ~missing)), "row")
            raise refuse(f"column {name!r} has the flag {str(value)!r} in {rows}", EXPECTED_FLAGS)
        limits[(values == value) & ~missing] = _FLAGS[text]
    return limits
