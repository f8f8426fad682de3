"""Numbers that stand for a missing value."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

# Nines, a large power of ten, the ends of what integers and single precision hold.
_SENTINEL = re.compile(r"-?9+(?:\.9+)?|-?1e\+?\d\d|-32768|-?2\.147484e\+09|-?3\.402823e\+38")

# One that occurs once has to have two nines, or to be the only negative number.
_TWO_NINES = re.compile(r"-?(?:99+(?:\.9+)?|9\.9+)")

# A number repeats suspiciously if it is among the last few values at an end of a column that has many values, most of
# which occur once.
_AT_END, _FEW_VALUES, _MOSTLY, _OFTEN, _OFTEN_SHARE = 3, 20, 0.8, 3, 0.01
# Values at either end that may be written with nines.
_FURTHEST = 20
# Largest distance between neighbours on a grid, in steps of it, with room for rounding.
_ONE_STEP = 1.01
# Values in the sample that tells how far the last few are from the others.
_SAMPLE = 1000


def find_sentinels(numbers: Numbers, *, once: bool = False) -> list[float]:
    """Values that stand for a missing one: written with nines or often the same, repeated, and far from the others.

    Parameters
    ----------
    numbers : ndarray
        A column or a sample of it, NaN where a value is missing.
    once : bool
        Whether to include those with nines that occur once and are farther from the others than these are apart, and
        any number that repeats at an end, whether or not others repeat, as rounded ones do.

    Examples
    --------
    >>> find_sentinels(np.array([3.1, -999.0, 2.9, -999.0, 3.3]))
    [-999.0]
    >>> find_sentinels(np.array([97.0, 98.0, 99.0, 99.0, 96.0]))
    []
    >>> find_sentinels(np.array([3.1, -99.0, 2.9, 3.3, 3.2]), once=True)
    [-99.0]
    """
    known = np.isfinite(numbers)
    finite = numbers if known.all() else numbers[known]
    if not _may_have_some(finite):
        return []
    values, counts = np.unique(finite, return_counts=True)
    # In single precision -99.9 is -99.9000015.
    written = [i for i in _ends(values.size, _FURTHEST) if _SENTINEL.fullmatch(f"{values[i]:.7g}")]
    suspects = [i for i in written if counts[i] > 1]
    isolated = [i for i in _ends(values.size, _AT_END) if once and counts[i] >= _OFTEN]
    single = [i for i in written if once and counts[i] == 1]
    # Any number that repeats at an end of other numbers, most of which do not repeat.
    if values.size > _FEW_VALUES and np.mean(counts == 1) > _MOSTLY:
        often = max(_OFTEN, _OFTEN_SHARE * finite.size)
        suspects = sorted({*suspects, *(i for i in _ends(values.size, _AT_END) if counts[i] >= often)})
    rest = np.delete(np.arange(values.size), sorted({*suspects, *single, *isolated}))
    if not (suspects or single or isolated) or rest.size == 0:
        return []
    low, high = _reach(values, rest)
    # As far from all others as half of these are from each other.
    others = finite[np.isin(finite, values[rest])]
    least = max(1e-3 * max(abs(low), abs(high)), 1e-300)
    far = max(float(np.subtract(*np.percentile(others, [75, 25]))), least)
    found = [i for i in suspects if values[i] < low - far or values[i] > high + far]
    if rest.size > _AT_END:
        found += [i for i in isolated if i not in found and max(low - values[i], values[i] - high) > far]
    for i in single:
        is_written = _TWO_NINES.fullmatch(f"{values[i]:.7g}") is not None or values[i] < 0.0 <= low
        if rest.size > _AT_END and is_written and max(low - values[i], values[i] - high) > max(high - low, least):
            found.append(i)
    return [float(f"{values[i]:.7g}") for i in sorted(found)]


def _reach(values: Numbers, rest: NDArray[np.int64]) -> tuple[float, float]:
    """The ends of the values that are no suspects, and of those that follow them in the same steps, as on a grid."""
    first, last = int(rest[0]), int(rest[-1])
    step = float(np.median(np.diff(values[rest]))) * _ONE_STEP if rest.size > 1 else 0.0
    while first > 0 and values[first] - values[first - 1] <= step:
        first -= 1
    while last < values.size - 1 and values[last + 1] - values[last] <= step:
        last += 1
    return float(values[first]), float(values[last])


def _ends(size: int, most: int) -> list[int]:
    """Indices of the first and of the last few of some values."""
    return sorted({*range(min(most, size)), *range(max(size - most, 0), size)})


def _may_have_some(finite: Numbers) -> bool:
    """Whether any of the last few values at either end repeats or is written with nines, without sorting all."""
    sample = np.unique(finite[:: finite.size // _SAMPLE + 1])
    if sample.size < _AT_END:
        low, high = finite, finite
    else:
        # The last few values of all are not nearer than those of the sample.
        low, high = finite[finite <= sample[_AT_END - 1]], finite[finite >= sample[-_AT_END]]
    for end, last in ((low, slice(_AT_END)), (high, slice(-_AT_END, None))):
        values, counts = (found[last] for found in np.unique(end, return_counts=True))
        if np.any(counts > 1) or any(_SENTINEL.fullmatch(f"{value:.7g}") for value in values):
            return True
    return False


def are_sentinels(numbers: Numbers, sentinels: Sequence[float]) -> NDArray[np.bool_]:
    """Where numbers are one of these sentinels."""
    found = np.zeros(numbers.size, dtype=bool)
    for value in sentinels:
        found |= _same(numbers, value)
    return found


def _same(numbers: Numbers, value: float) -> NDArray[np.bool_]:
    """Where a number is this one, be it in single precision."""
    return np.asarray(np.isclose(numbers, value, rtol=1e-6, atol=0.0))
