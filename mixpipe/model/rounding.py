"""How values were rounded: the intervals in which they lay before, and what of this can be found from them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mixpipe.base.arrays import Array
from mixpipe.model.resolution import find_grain

# A value is a multiple of a step to within this fraction of the step, which may itself have been rounded.
_EVEN = 0.05
# No more values than this differ and are the same multiple, by the rounding of doubles or of singles.
_SPELLINGS = 3
# Values have a number of digits if at least this share of the rows has no fewer: of a tenth, the last is zero.
_ALL_DIGITS = 0.7
_MOST_DIGITS = 6
# So few digits are seen in the first values, even where these do not have one step.
_EVIDENT_DIGITS, _LOOKED_AT = 3, 1000
# Fewer rows or multiples than this are no evidence for a coarser step.
_FEW = 3
# Multiples of a step to which some of the rows may have been rounded; from `_WIDE` on, two neighbours on either side of
# a multiple say how many rows it would have, and else one. Their excess is above `_HEAPED` standard deviations, and
# above `_HEAPED_ELSEWHERE` without the multiple that has most.
_HEAPS, _WIDE = (2, 3, 4, 5, 6, 10, 12, 15, 20, 25, 30, 50, 60, 100), 5
_HEAPED, _HEAPED_ELSEWHERE = 4.0, 3.0
_MEANT = re.compile(r"\s*(\d+)\s*digits?\s*")

_Transform = Callable[[Array], Array]


@dataclass(frozen=True)
class Rounding:
    """How values were rounded: to multiples of a step, or to a number of significant digits.

    Parameters
    ----------
    step : float
        Distance of neighbouring values; 0 if the values have a number of digits.
    digits : int
        Number of significant digits; 0 if the values have a step.
    """

    step: float = 0.0
    digits: int = 0

    @classmethod
    def of(cls, given: object) -> Rounding:
        """The rounding that a user describes: a step, or a text such as ``2 digits``.

        Raises
        ------
        ValueError
            For anything else.

        Examples
        --------
        >>> Rounding.of(0.1), Rounding.of("2 digits")
        (Rounding(step=0.1, digits=0), Rounding(step=0.0, digits=2))
        """
        if isinstance(given, str) and (match := _MEANT.fullmatch(given)) and 0 < int(match[1]) < 16:
            return cls(digits=int(match[1]))
        try:
            step = float(given)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            step = math.nan
        if isinstance(given, bool) or not 0.0 < step < math.inf:
            raise ValueError(f"rounding {given!r}: expected auto, none, a step > 0, or digits such as '2 digits'")
        return cls(step)

    def ends(self, values: Array) -> tuple[Array, Array]:
        """The ends of the intervals that are rounded to these values, which need not be checked.

        Numbers just below a power of ten have a digit more behind the point than those above it.

        Examples
        --------
        >>> Rounding(digits=2).ends(np.array([9.9, 10.0, 11.0]))
        (array([ 9.85,  9.95, 10.5 ]), array([ 9.95, 10.5 , 11.5 ]))
        """
        if self.step:
            return values - 0.5 * self.step, values + 0.5 * self.step
        sizes = np.abs(values)
        unit = self._units(sizes)
        least = np.rint(sizes / unit) <= 10 ** (self.digits - 1)
        inner, outer = sizes - np.where(least, 0.05, 0.5) * unit, sizes + 0.5 * unit
        return np.where(values < 0.0, -outer, inner), np.where(values < 0.0, -inner, outer)

    def misfits(self, values: Array) -> NDArray[np.bool_]:
        """Which of the values cannot have been rounded like this: those off the multiples, and many that differ but are
        near the same.

        Examples
        --------
        >>> Rounding(0.5).misfits(np.array([0.25, 0.75, 1.25, 1.3])).tolist()
        [False, False, False, True]
        >>> Rounding(digits=2).misfits(np.array([100.0, 100.01, 100.02, 100.03, 120.0])).tolist()
        [True, True, True, True, False]
        """
        if self.step:
            # The grid may be offset: most of the values say where it is.
            unit = np.full(values.shape, self.step)
            multiples = values / self.step
            phases, times = np.unique(np.round(multiples % 1.0, 3) % 1.0, return_counts=True)
            multiples = multiples - phases[np.argmax(times)]
        else:
            unit = self._units(np.abs(values))
            multiples = np.where(values != 0.0, values / unit, 0.5)
        nearest = np.rint(multiples)
        _, first, place = np.unique(values, return_index=True, return_inverse=True)
        _, group, times = np.unique((nearest * unit)[first], return_inverse=True, return_counts=True)
        return np.asarray((np.abs(multiples - nearest) > _EVEN) | (times[group] > _SPELLINGS)[place])

    def units(self, values: Array) -> Array:
        """The step of each value: the same for all, or the unit of its last digit."""
        return np.full(values.shape, self.step) if self.step else self._units(np.abs(values))

    def _units(self, sizes: Array) -> Array:
        """The unit of the last digit of numbers >= 0."""
        exponents = np.floor(np.log10(np.where(sizes > 0.0, sizes, 1.0)) + 1e-12)
        return np.asarray(10.0 ** (exponents - (self.digits - 1)))


def _identity(values: Array) -> Array:
    return values


def _decimal_power(values: Array) -> Array:
    return np.asarray(10.0**values)


# Values that are logarithms may have been rounded before: how to undo and to take them.
_TRANSFORMS: tuple[tuple[_Transform, _Transform], ...] = (
    (_identity, _identity),
    (_decimal_power, np.log10),
    (np.exp, np.log),
)


def has_digits(x: Array) -> bool:
    """Whether the first values have at most three significant digits, and are not all different.

    >>> has_digits(np.array([9.9, 9.9, 12.0])), has_digits(np.array([9.9, 9.9, 12.25]))
    (True, False)
    """
    first = x[:_LOOKED_AT]
    return np.unique(first).size < first.size and not Rounding(digits=_EVIDENT_DIGITS).misfits(first).any()


def find_intervals(x: Array, counts: Array) -> tuple[Array, Array] | None:
    """The ends of the intervals from which values were rounded; None unless all are on one grid.

    The grid may have one step, or a number of significant digits; the values may be logarithms of those on the grid.

    Parameters
    ----------
    x : ndarray, shape (n_rows,)
        Values.
    counts : ndarray, shape (n_rows,)
        Number of rows that each stands for.

    Examples
    --------
    >>> find_intervals(np.array([1.0, 1.5, 2.0, 3.0]), np.array([20.0, 90.0, 80.0, 30.0]))
    (array([0.75, 1.25, 1.75, 2.75]), array([1.25, 1.75, 2.25, 3.25]))
    >>> find_intervals(np.array([1.0, 1.5, 2.0, 3.1]), np.array([20.0, 90.0, 80.0, 30.0])) is None
    True
    """
    if x.size == 0:
        return None
    for undo, redo in _TRANSFORMS:
        with np.errstate(over="ignore", invalid="ignore"):
            values = undo(x)
        # Powers of numbers that are no logarithms overflow, or lose all digits.
        if not np.all(np.isfinite(values)) or float(np.ptp(values)) == 0.0:
            continue
        rounding = _find(values, counts)
        if rounding is None:
            continue
        low, high = rounding.ends(values)
        coarser = _heaped(values, counts, rounding.step) if rounding.step else 0.0
        if coarser:
            # Some of the rows at its multiples were rounded to these, and which ones is not known.
            rows = _at_multiples(values, coarser, rounding.step)
            low[rows], high[rows] = Rounding(coarser).ends(values[rows])
        if redo is _identity or np.all(low > 0.0):
            return redo(low), redo(high)
    return None


def _find(values: Array, counts: Array) -> Rounding | None:
    step = find_grain(values, counts)[1]
    if step == 0.0 and not has_digits(values):
        return None
    values, place = np.unique(values, return_inverse=True)
    ties = np.bincount(place, counts)
    if step > 0.0 and not Rounding(step).misfits(values).any():
        return _to_digits(values, ties, step) or Rounding(step)
    for digits in range(1, (_MOST_DIGITS if step > 0.0 else _EVIDENT_DIGITS) + 1):
        if not Rounding(digits=digits).misfits(values).any():
            fewer = np.zeros(values.size, bool) if digits == 1 else ~Rounding(digits=digits - 1).misfits(values)
            return Rounding(digits=digits) if ties[~fewer].sum() >= _ALL_DIGITS * ties.sum() else None
    return None


def _to_digits(values: Array, ties: NDArray[np.generic], step: float) -> Rounding | None:
    """A number of significant digits, where values above a power of ten have a coarser step than those below it."""
    digits = round(math.log10(float(np.abs(values).max()) / step)) + 1
    for fewer in range(max(digits - 1, 1), 0, -1):
        rounding = Rounding(digits=fewer)
        units = rounding.units(values)
        coarse = units > 1.5 * step
        if rounding.misfits(values).any() or np.any(units[values != 0.0] < 0.5 * step):
            # Small values that have no more digits than large ones were not rounded to digits.
            break
        # By chance, one row in ten would be a multiple of ten steps.
        if np.count_nonzero(coarse) > 1 and ties[coarse].sum() > _FEW:
            return rounding
    return None


def _heaped(values: Array, counts: Array, step: float) -> float:
    """A multiple of the step to which some of the rows were rounded, such as whole numbers among tenths; 0 if none is.

    Its multiples have more rows than their neighbours, and by more than chance, even without the one that has most.
    """
    phase = values[0] % step
    places, place = np.unique(np.rint((values - phase) / step).astype(np.int64), return_inverse=True)
    ties = np.bincount(place, counts)
    best, found = _HEAPED, 0.0
    for times in _HEAPS:
        unit = times * step
        # Whole multiples of the coarser step, wherever the finer one begins.
        is_multiple = _at_multiples(places * step + phase, unit, step)
        if np.count_nonzero(is_multiple) < _FEW:
            continue
        # What the neighbours say; where there are two on either side, without the curvature of the density.
        shares = {1: 0.5} if times < _WIDE else {1: 2.0 / 3.0, 2: -1.0 / 6.0}
        beside = np.zeros(np.count_nonzero(is_multiple))
        for shift, share in shares.items():
            for sign in (-1, 1):
                beside += share * _ties_at(places, ties, places[is_multiple] + sign * shift)
        beside = np.maximum(beside, 0.0)
        more = ties[is_multiple] - beside
        kept = np.arange(more.size) != np.argmax(more)
        variance = (1.0 + 2.0 * sum(share**2 for share in shares.values())) * np.maximum(beside, 0.25)
        significance = float(more.sum() / math.sqrt(variance.sum()))
        without = float(more[kept].sum() / math.sqrt(variance[kept].sum()))
        if significance > best and without > _HEAPED_ELSEWHERE:
            best, found = significance, unit
    return found


def _at_multiples(values: Array, unit: float, step: float) -> NDArray[np.bool_]:
    """Which values are whole multiples of a unit, to within a fraction of the step."""
    return np.asarray(np.abs(np.rint(values / unit) * unit - values) < _EVEN * step)


def _ties_at(places: NDArray[np.int64], ties: NDArray[np.generic], wanted: NDArray[np.int64]) -> Array:
    at = np.minimum(np.searchsorted(places, wanted), places.size - 1)
    return np.where(places[at] == wanted, np.asarray(ties, dtype=np.float64)[at], 0.0)
