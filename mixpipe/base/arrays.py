"""The array type, read-only arrays, what values look like, and the edges of bins."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

# The central 90 % of values that call for a logarithm extend over this many decades, and are as skewed as this.
_DECADES, _SKEWED = 1.0, 0.5
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


def hash_rows(columns: Sequence[Array]) -> NDArray[np.uint64]:
    """A hash of the contents of each row of some columns of equal length.

    >>> first, second, third = hash_rows([np.array([0.0, 1.0, -0.0]), np.array([2.0, 2.0, 2.0])])
    >>> bool(first == third), bool(first == second)
    (True, False)
    """
    state = np.full(len(columns[0]), 0x9E3779B97F4A7C15, dtype=np.uint64)
    for column in columns:
        # Adding zero turns -0 into 0; all nan are one.
        bits = np.where(np.isnan(column), np.nan, column + 0.0).view(np.uint64)
        # The finaliser of splitmix64 (Steele, Lea & Flood 2014).
        state = (state ^ bits) + np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state ^= state >> np.uint64(31)
    return state


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


def joined_bins(intervals: Array, counts: Array) -> Array:
    """Bins for a picture, one for each of some intervals, with as many as the picture can show.

    A bin is at least half as wide as by the rule of Freedman & Diaconis (1981), and contains whole intervals.

    Examples
    --------
    >>> joined_bins(np.array([[0.0, 1.0], [1.0, 1.1], [1.1, 1.2], [1.2, 2.2]]), np.array([9.0, 1.0, 1.0, 9.0])).tolist()
    [[0.0, 1.0], [1.0, 2.2], [1.0, 2.2], [1.0, 2.2]]

    Intervals may lie within others.

    >>> joined_bins(np.array([[0.5, 1.5], [1.0, 1.1], [1.5, 2.5], [2.0, 2.1]]), np.ones(4)).tolist()
    [[0.5, 1.5], [0.5, 1.5], [1.5, 2.5], [1.5, 2.5]]
    """
    middles = intervals.mean(axis=1)
    order = np.argsort(middles, kind="stable")
    below = np.cumsum(counts[order])
    quartiles = middles[order][np.searchsorted(below, np.array([0.25, 0.75]) * below[-1])]
    least = float(np.diff(quartiles)[0]) / float(below[-1]) ** (1.0 / 3.0)
    ends = np.unique(intervals)
    # No bin ends within a wide interval, to within rounding.
    widths = np.diff(intervals, axis=1).ravel()
    wide = np.unique(intervals[widths > 0.5 * widths.max()], axis=0)
    reach = np.append(-np.inf, wide[:, 1])[np.searchsorted(wide[:, 0], ends, side="left")]
    ends = ends[reach <= ends + 1e-9 * float(np.ptp(ends))]
    kept = [float(ends[0])]
    for end in ends[1:].tolist():
        if end - kept[-1] >= least:
            kept.append(end)
    # What remains belongs to the last bin.
    kept = [*kept[: max(len(kept) - 1, 1)], float(ends[-1])]
    k = np.clip(np.searchsorted(kept, middles, side="right") - 1, 0, len(kept) - 2)
    return np.stack([np.array(kept)[k], np.array(kept)[k + 1]], axis=1)


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
