"""Numbers that stand for a missing value in a sample of a catalog."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from mixpipe.cli.init.samples import Numbers

# Nines, a large power of ten, the ends of what integers and single precision hold.
_SENTINEL = re.compile(r"-?9+(?:\.9+)?|-?1e\+?\d\d|-32768|-?2\.147484e\+09|-?3\.402823e\+38")


# A number repeats suspiciously if it is among the last few values at an end of a column that has many values, most of
# which occur once.
_AT_END, _FEW_VALUES, _MOSTLY, _OFTEN, _OFTEN_SHARE = 3, 20, 0.8, 3, 0.01


def forget_sentinels(columns: Mapping[str, Numbers | None]) -> dict[str, list[float]]:
    """Set the sentinels of each column to NaN, in place.

    Returns
    -------
    dict
        The sentinels of each column that has some.
    """
    sentinels = {}
    for name, numbers in columns.items():
        found = find_sentinels(numbers) if numbers is not None else []
        if numbers is not None and found:
            for value in found:
                numbers[_same(numbers, value)] = np.nan
            sentinels[name] = found
    return sentinels


def common_sentinels(
    sentinels: Mapping[str, list[float]], columns: Mapping[str, Numbers | None]
) -> dict[float, list[str]]:
    """Sentinels of these columns, with the columns that have them, if no other column has them as a value.

    Parameters
    ----------
    sentinels : mapping
        As `forget_sentinels` returns it.
    columns : mapping
        The columns to which the sentinels are to apply, without their own.
    """
    found: dict[float, list[str]] = {}
    for name in columns:
        for value in sentinels.get(name, ()):
            found.setdefault(value, []).append(name)
    return {
        value: names
        for value, names in found.items()
        if not any(_is_value(value, numbers) for numbers in columns.values())
    }


def find_sentinels(numbers: Numbers) -> list[float]:
    """Values that stand for a missing one: written with nines or as a power of ten, repeated, and far from the others.

    Parameters
    ----------
    numbers : ndarray
        A sample of a column, NaN where a value is missing.

    Examples
    --------
    >>> find_sentinels(np.array([3.1, -999.0, 2.9, -999.0, 3.3]))
    [-999.0]
    >>> find_sentinels(np.array([97.0, 98.0, 99.0, 99.0, 96.0]))
    []
    """
    finite = numbers[np.isfinite(numbers)]
    values, counts = np.unique(finite, return_counts=True)
    # In single precision -99.9 is -99.9000015.
    suspects = [i for i in np.flatnonzero(counts > 1) if _SENTINEL.fullmatch(f"{values[i]:.7g}")]
    # Any round number that repeats at an end of other numbers, most of which do not repeat.
    if values.size > _FEW_VALUES and np.mean(counts == 1) > _MOSTLY:
        often = max(_OFTEN, _OFTEN_SHARE * finite.size)
        ends = [i for i in (*range(_AT_END), *range(values.size - _AT_END, values.size)) if counts[i] >= often]
        suspects = sorted({*suspects, *(i for i in ends if values[i] == round(values[i]))})
    rest = np.delete(np.arange(values.size), suspects)
    if not suspects or rest.size == 0:
        return []
    low, high = float(values[rest[0]]), float(values[rest[-1]])
    # As far from all others as half of these are from each other.
    others = finite[np.isin(finite, values[rest])]
    far = max(float(np.subtract(*np.percentile(others, [75, 25]))), 1e-3 * max(abs(low), abs(high)), 1e-300)
    return [float(f"{values[i]:.7g}") for i in suspects if values[i] < low - far or values[i] > high + far]


def _same(numbers: Numbers, value: float) -> NDArray[np.bool_]:
    """Where a number is this one, be it in single precision."""
    return np.asarray(np.isclose(numbers, value, rtol=1e-6, atol=0.0))


def _is_value(value: float, numbers: Numbers | None) -> bool:
    """Whether a number occurs among others, and not at their end."""
    if numbers is None or not _same(numbers, value).any():
        return False
    rest = numbers[np.isfinite(numbers) & ~_same(numbers, value)]
    return bool(rest.size) and bool(rest.min() < value < rest.max())
