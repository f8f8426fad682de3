"""The array type, read-only arrays, and what values look like."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

# The central 90 % of values that call for a logarithm extend over this many decades, and are as skewed as this.
_DECADES, _SKEWED = 1.0, 0.5


def frozen(values: ArrayLike) -> Array:
    """A read-only float64 copy, so that changing an array that was passed in or returned cannot alter a result."""
    array = np.array(values, dtype=np.float64, copy=True, order="C")
    array.flags.writeable = False
    return array


def describe_decades(x: ArrayLike) -> str:
    """Say that positive values extend over decades and are far less skewed in the logarithm; empty if they are not.

    >>> describe_decades(10.0 ** np.linspace(-1.0, 3.0, 99))
    'values are positive, skewed, and extend over 4 decades'
    >>> describe_decades(np.linspace(1.0, 100.0, 99))
    ''
    """
    values = np.asarray(x, dtype=np.float64)
    if not (values.size and values.min() > 0.0):
        return ""
    decades = np.log10(np.quantile(values, (0.0, 0.05, 0.5, 0.95, 1.0)))
    skewed, left = (
        (high + low - 2.0 * middle) / max(high - low, np.finfo(np.float64).tiny)
        for low, middle, high in (10.0 ** decades[1:4], decades[1:4])
    )
    if decades[3] - decades[1] < _DECADES or skewed < _SKEWED or abs(left) > 0.5 * skewed:
        return ""
    return f"values are positive, skewed, and extend over {decades[4] - decades[0]:.2g} decades"
