"""The array type, read-only arrays, and the edges of bins."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

# A sum or an integral this close to one is taken as one.
UNITY = 0.01
# Largest difference between the upper edge of a bin and the lower edge of the next, in units of its width: tables are
# printed with few digits, or stored in single precision.
_SAME_EDGE = 1e-2


def frozen(values: ArrayLike) -> Array:
    """A read-only float64 copy, so that changing an array that was passed in or returned cannot alter a result."""
    array = np.array(values, dtype=np.float64, copy=True, order="C")
    array.flags.writeable = False
    return array


def bin_edges(bins: ArrayLike) -> Array:
    """The edges of adjacent bins.

    Parameters
    ----------
    bins : array_like, shape (n, 2)
        Lower and upper edge of each bin. An upper edge may differ from the next lower one by rounding.

    Raises
    ------
    ValueError
        For bins that overlap or leave a gap.

    Examples
    --------
    >>> bin_edges([[0.0, 0.5], [0.5, 2.0]])
    array([0. , 0.5, 2. ])
    """
    low, high = np.asarray(bins, dtype=np.float64).T
    apart = np.flatnonzero(~(np.abs(low[1:] - high[:-1]) <= _SAME_EDGE * np.abs(high - low)[1:]))
    if apart.size:
        k = apart[0]
        raise ValueError(f"bins must be adjacent, found an upper edge {high[k]} before a lower edge {low[k + 1]}")
    return np.append(low, high[-1:])


def histogram_heights(edges: ArrayLike, values: ArrayLike) -> Array:
    """The densities of a histogram, divided by their integral.

    Values that sum to one, and do not integrate to one, are the shares of the bins; others are densities.

    Examples
    --------
    >>> histogram_heights([0.0, 1.0, 3.0], [0.5, 0.5]), histogram_heights([0.0, 1.0, 3.0], [2.0, 1.0])
    (array([0.5 , 0.25]), array([0.5 , 0.25]))
    """
    widths, table = np.diff(edges), np.asarray(values, dtype=np.float64)
    peak = table.max()
    heights = table / peak
    if abs(peak * heights.sum() - 1.0) <= UNITY < abs(peak * (widths @ heights) - 1.0):
        heights = heights / widths
    return np.asarray(heights / (widths @ heights))
