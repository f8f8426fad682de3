"""How values were rounded: the intervals in which they lay before, and what of this can be found from them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mixpipe.base.arrays import Array
from mixpipe.model.resolution import find_grain, find_lattice, tied_values

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
# A step holds about one of so many rows; among rounded values, those without a step have intervals of this part of it.
_MOST_ROWS, _UNROUNDED = 1000, 0.01
# Values have so many steps at most; all are multiples of one by chance with a probability of exp(-_SURE).
_MOST_STEPS, _SURE = 6, 5.0
# Rows beside a multiple from which on its nearest neighbours tell the density, and the farthest place that else does.
_MANY_BESIDE, _FARTHEST = 20.0, 10
# Of rows beside multiples, the next neighbours have so many times those farther away if populations are narrow.
_NARROW = 8.0
# The rise from the next neighbours to a multiple is uncertain by this part of it.
_EXTRAPOLATED = 0.1
# Places on either side that tell the density.
_AROUND = 3
# All are multiples of one of two by chance with a probability of exp(-_COVERED).
_COVERED = 8.0
_LARGEST, _UP, _TINY = 2.0**52, 1e-6, float(np.finfo(np.float64).tiny)
# Values with at least so many rows tell whether a grid is uneven, if there are so many of them, and no more than this
# part of the rows is elsewhere: this part of the distances between them leaves out multiples of a step, and this part
# of the pairs of distances is as long as others of so many nearby, or changes by this part of a distance to the next.
_MANY_TIES, _LEAST_VALUES, _FEW_OTHERS, _LEFT_OUT, _MOST_ALIKE, _NEARBY, _DRIFT = 5.0, 5, 0.2, 0.4, 0.9, 3, 0.15
# Distances of more than so many common ones lie between populations.
_BETWEEN = 2.5
# A grid is even whose values differ by less than this part of a step, or whose differences are those of printing.
_SAME, _HALF, _LINES = 1e-3, 0.51, 3
# So many rows with the same error have shares of their own.
_MANY_EQUAL = 50
# Steps to the shares of rows with each step; multiples of the golden ratio divide every part of a sequence evenly.
_EM_STEPS, _GOLDEN = 300, (5.0**0.5 - 1.0) / 2.0
# Multiples of a step to which some of the rows may have been rounded; from `_WIDE` on, two neighbours on either side of
# a multiple say how many rows it would have, and else one. Their excess is above the first of `_HEAPED` standard
# deviations, and above the second without the multiple that has most; `_FURTHER` beside other such steps. Thirds,
# sixths and twelfths are printed with two digits.
_WIDE = 5
_HEAPS = (2, 3, 4, 5, 6, 25 / 3, 10, 12, 15, 50 / 3, 20, 25, 30, 100 / 3, 50, 60, 100, 200, 250, 500, 1000)
_HEAPED, _FURTHER, _SEVERAL = (4.0, 3.0), (3.0, 2.0), 2.5
_MEANT = re.compile(r"\s*(\d+)\s*digits?\s*(?:,\s*step\s+(\S+)\s*)?")

# Largest error of values after a transform and back, as a fraction of their range.
_LOST = 1e-9

_Transform = Callable[[Array], Array]


@dataclass(frozen=True)
class Rounding:
    """How values were rounded: to multiples of a step, to a number of significant digits, or to the coarser of both.

    Whole numbers with two digits are 3, 48 and 120.

    Parameters
    ----------
    step : float
        Least distance of neighbouring values; 0 if that is only what the digits make it.
    digits : int
        Number of significant digits; 0 if all values have the same step.
    """

    step: float = 0.0
    digits: int = 0

    @classmethod
    def of(cls, given: object) -> Rounding:
        """The rounding that a user describes: a step, or a text such as ``2 digits`` or ``2 digits, step 1``.

        Raises
        ------
        ValueError
            For anything else.

        Examples
        --------
        >>> Rounding.of(0.1), Rounding.of("2 digits"), Rounding.of("2 digits, step 1")
        (Rounding(step=0.1, digits=0), Rounding(step=0.0, digits=2), Rounding(step=1.0, digits=2))
        """
        match = _MEANT.fullmatch(given) if isinstance(given, str) else None
        digits = int(match[1]) if match else 0
        if match and match[2] is None and 0 < digits < 16:
            return cls(digits=digits)
        try:
            step = float(match[2] if match else given)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            step = math.nan
        if isinstance(given, bool) or not 0.0 < step < math.inf or (match and not 0 < digits < 16):
            raise ValueError(
                f"rounding {given!r}: expected auto, none, a step > 0, or digits such as '2 digits' or "
                "'2 digits, step 1'"
            )
        return cls(step, digits)

    def __str__(self) -> str:
        if not self.digits:
            return f"multiples of one step of {self.step:g}"
        return f"rounded to {self.digits} digits" + (f" with a step of at least {self.step:g}" if self.step else "")

    def ends(self, values: Array) -> tuple[Array, Array]:
        """The ends of the intervals that are rounded to these values, which need not be checked.

        Numbers just below a power of ten have a digit more behind the point than those above it.

        Examples
        --------
        >>> Rounding(digits=2).ends(np.array([9.9, 10.0, 11.0]))
        (array([ 9.85,  9.95, 10.5 ]), array([ 9.95, 10.5 , 11.5 ]))
        """
        if not self.digits:
            return values - 0.5 * self.step, values + 0.5 * self.step
        sizes = np.abs(values)
        unit = self._units(sizes)
        least = np.rint(sizes / unit) <= 10 ** (self.digits - 1)
        # Where the step is the coarser of both, it is so on either side.
        inner = sizes - np.maximum(np.where(least, 0.05, 0.5) * unit, 0.5 * self.step)
        outer = sizes + np.maximum(0.5 * unit, 0.5 * self.step)
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
        if not self.digits:
            # The grid may be offset: most of the values say where it is.
            unit = np.full(values.shape, self.step)
            multiples = values / self.step
            phases, times = np.unique(np.round(multiples % 1.0, 3) % 1.0, return_counts=True)
            multiples = multiples - phases[np.argmax(times)]
        else:
            unit = self.units(values)
            multiples = np.where((values != 0.0) | (self.step > 0.0), values / unit, 0.5)
        nearest = np.rint(multiples)
        _, first, place = np.unique(values, return_index=True, return_inverse=True)
        _, group, times = np.unique((nearest * unit)[first], return_inverse=True, return_counts=True)
        return np.asarray((np.abs(multiples - nearest) > _EVEN) | (times[group] > _SPELLINGS)[place])

    def units(self, values: Array) -> Array:
        """The step of each value: the same for all, or the unit of its last digit if that is larger."""
        if not self.digits:
            return np.full(values.shape, self.step)
        return np.maximum(self._units(np.abs(values)), self.step)

    def _units(self, sizes: Array) -> Array:
        """The unit of the last digit of numbers >= 0, which zero only has if there is no step."""
        exponents = np.floor(np.log10(np.where(sizes > 0.0, sizes, 1.0)) + 1e-12)
        units = np.asarray(10.0 ** (exponents - (self.digits - 1)))
        return np.where(sizes > 0.0, units, self.step) if self.step else units


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


def find_intervals(x: Array, counts: Array, err: Array | None = None) -> tuple[Array, Array] | None:
    """The ends of the intervals from which values were rounded; None unless the step of every value is found.

    Values may have one step, several, or a number of significant digits; they may be logarithms of such numbers. Those
    that have no step, beside others that do, have intervals too narrow to matter.

    Parameters
    ----------
    x : ndarray, shape (n_rows,)
        Values.
    counts : ndarray, shape (n_rows,)
        Number of rows that each stands for.
    err : ndarray, shape (n_rows,), or None
        Errors of the values. Equal values may have intervals of several steps, by the order of their errors.

    Examples
    --------
    >>> find_intervals(np.array([1.0, 1.5, 2.0, 3.0]), np.array([20.0, 90.0, 80.0, 30.0]))
    (array([0.75, 1.25, 1.75, 2.75]), array([1.25, 1.75, 2.25, 3.25]))
    >>> find_intervals(np.array([1.0, 1.2, 1.5, 2.7]), np.ones(4)) is None
    True
    """
    if x.size == 0:
        return None
    is_whole = np.array_equal(x, np.rint(x))
    found: dict[_Transform, Rounding | None] = {}
    # Only where no transform puts all on grids, some of the values may have no step.
    for mixed, (undo, redo) in (*((False, each) for each in _TRANSFORMS), (True, _TRANSFORMS[0])):
        # Whole numbers are no logarithms but of powers of ten, which say nothing of their digits.
        if is_whole and redo is not _identity:
            continue
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            values = undo(x)
            lost = np.abs(redo(values) - x)
        # Powers of numbers that are no logarithms overflow, or lose their digits.
        if not np.all(lost < _LOST * float(np.ptp(x))):
            continue
        if undo not in found:
            found[undo] = _find(values, counts)
        ends = _ends(values, counts, np.zeros(x.size) if err is None else err, found[undo], mixed=mixed)
        if ends is not None and (redo is _identity or np.all(ends[0] > 0.0)):
            return redo(ends[0]), redo(ends[1])
    return None


def _ends(
    values: Array, counts: Array, err: Array, rounding: Rounding | None, *, mixed: bool
) -> tuple[Array, Array] | None:
    """The ends of the intervals of values, of which some may have no step if they are `mixed`."""
    if rounding is not None and rounding.digits:
        return rounding.ends(values)
    step, own = (rounding.step,) * 2 if rounding is not None else _finest(values, mixed=mixed)
    if own and _is_uneven(*tied_values(values, counts), own):
        return _between_neighbours(values, counts, own)
    # Values on a grid that is offset are no multiples of anything.
    offset = rounding is not None and not _at_multiples(values[:1], step, step)[0]
    coarser = _coarser(values, counts, step) if step and not offset else []
    # Rows may crowd near multiples of which they are none.
    coarser = [unit for unit in coarser if np.count_nonzero(_at_multiples(values, unit, own)) >= _FEW]
    # A step of all values has been looked for before.
    if rounding is None and (not coarser or any(_at_multiples(values, unit, own).all() for unit in coarser)):
        return None
    units = np.array([own, *sorted(coarser)])
    width = units[_divided(values, counts, err, units)] if coarser else units
    return values - 0.5 * width, values + 0.5 * width


def _is_uneven(distinct: Array, ties: Array, step: float) -> bool:
    """Whether values with many ties are on a grid of another unit, and all are multiples of the step only as printed.

    Minutes of arc are 0.02, 0.03, 0.05 and 0.07 degrees: most distances leave out multiples of the step, and any two of
    them are together about as long as those nearby, to within one step. Those of several steps are not. Long distances
    are between populations.
    """
    distinct, others = distinct[ties >= _MANY_TIES], float(ties[ties < _MANY_TIES].sum())
    if distinct.size < _LEAST_VALUES or others > _FEW_OTHERS * ties.sum():
        return False
    offset = (distinct - distinct[0]) / step
    if np.abs(np.rint(offset) - offset).max() > _SAME:
        return True
    gaps = np.diff(np.rint(offset))
    gaps = gaps[gaps <= _BETWEEN * np.median(gaps)]
    pairs = gaps[1:] + gaps[:-1]
    change = _DRIFT * float(np.median(gaps))
    alike = np.concatenate([np.abs(pairs[k:] - pairs[:-k]) <= 1.0 + k * change for k in range(1, _NEARBY + 1)])
    return bool(np.mean(gaps > 1.0) >= _LEFT_OUT and np.mean(alike) >= _MOST_ALIKE)


def _between_neighbours(values: Array, counts: Array, step: float) -> tuple[Array, Array]:
    """Intervals that end half-way between neighbouring values, or between those of the even grid that they print."""
    distinct, ties = tied_values(values, counts)
    place = np.searchsorted(distinct, values)
    gaps, between = np.diff(distinct), np.diff(distinct[ties >= _MANY_TIES])
    common = float(between[between <= 2.0 * np.median(between)].mean())
    number = np.append(0.0, np.cumsum(np.maximum(np.rint(gaps / common), 1.0)))
    for _ in range(_LINES):
        slope, start = np.polyfit(number, distinct, 1)
        number = np.rint((distinct - start) / slope)
    printed = start + slope * number
    # A step that is not of the last digits is that of the grid.
    digit = step if step < 0.5 * slope else find_lattice(distinct) or 2.0 * _EVEN * common
    if np.all(np.diff(number) > 0.0) and np.abs(printed - distinct).max() <= _HALF * digit:
        return (printed - 0.5 * slope)[place], (printed + 0.5 * slope)[place]
    near = np.where(gaps < 1.5 * common, gaps, common)
    below, above = np.append(common, near), np.append(near, common)
    return values - 0.5 * below[place], values + 0.5 * above[place]


def _divided(values: Array, counts: Array, err: Array, units: Array) -> NDArray[np.intp]:
    """The step of each row among those that it may have, of which `units` are the finest and its coarser ones.

    Where several are possible, as many rows have each as its share among all rows says, or among those with the same
    error if they are many: values from elsewhere may have none. Which ones is not known: rows in the order of their
    values and errors are divided evenly. A value that stands for several rows has the coarsest.
    """
    possible = np.stack([np.ones(values.size, bool), *(_at_multiples(values, unit, units[0]) for unit in units[1:])])
    kinds, kind = np.unique(possible, axis=1, return_inverse=True)
    kind = kind.ravel()
    found = units.size - 1 - np.argmax(possible[::-1], axis=0)
    if np.any(counts > 1.0):
        return found
    _, error, times = np.unique(err, return_inverse=True, return_counts=True)
    error = np.where(times[error] >= _MANY_EQUAL, error, times.size)
    order = np.lexsort((err, values))
    for one in np.unique(error):
        # The densities of values of each step are those of all rows times the share and the step.
        rows, shares = np.bincount(kind[error == one], minlength=kinds.shape[1]), np.full(units.size, 1.0 / units.size)
        for _ in range(_EM_STEPS):
            parts = kinds * (shares * units)[:, None]
            # Of these rows, none may be of a kind whose only step has no share.
            parts /= np.maximum(parts.sum(axis=0), _TINY)
            shares = parts @ rows / rows.sum()
        for k in range(rows.size):
            own = order[(kind[order] == k) & (error[order] == one)]
            found[own] = np.searchsorted(
                np.cumsum(parts[:-1, k]), (np.arange(own.size) + 0.5) * _GOLDEN % 1.0, side="right"
            )
    return found


def _find(values: Array, counts: Array) -> Rounding | None:
    step = find_grain(values, counts)[1]
    if step == 0.0 and not has_digits(values):
        return None
    values, place = np.unique(values, return_inverse=True)
    if values.size < _FEW:
        return None
    ties = np.bincount(place, counts)
    if step > 0.0 and not Rounding(step).misfits(values).any():
        return _to_digits(values, ties, step) or Rounding(step)
    for digits in range(1, (_MOST_DIGITS if step > 0.0 else _EVIDENT_DIGITS) + 1):
        if not Rounding(digits=digits).misfits(values).any():
            units = Rounding(digits=digits).units(values)
            if float(np.ptp(units)) == 0.0:
                return Rounding(float(units[0]))
            if np.unique(np.rint(np.abs(values) / units)).size < _FEW:
                # Powers of ten say nothing of their digits.
                return None
            fewer = np.zeros(values.size, bool) if digits == 1 else ~Rounding(digits=digits - 1).misfits(values)
            if ties[~fewer].sum() < _ALL_DIGITS * ties.sum():
                return None
            # Small values may have fewer digits, as whole numbers do.
            least = find_lattice(values)
            finer = units[units < 0.5 * least]
            sure = np.log(least / finer).sum() > _SURE if finer.size else False
            return Rounding(least if sure else 0.0, digits)
    return None


def _to_digits(values: Array, ties: NDArray[np.generic], step: float) -> Rounding | None:
    """A number of significant digits, where values above a power of ten have a coarser step than those below it."""
    if np.abs(np.rint(values / step) - values / step).max() > _EVEN:
        return None
    digits = round(math.log10(float(np.abs(values).max()) / step)) + 1
    for fewer in range(1, digits):
        rounding = Rounding(digits=fewer)
        units = rounding.units(values)
        if np.any(units[values != 0.0] < 0.5 * step) or not values.all():
            # Small values have no more digits than the step gives them.
            rounding = Rounding(step, fewer)
        coarse = units > 1.5 * step
        # By chance, one row in ten would be a multiple of ten steps.
        if np.count_nonzero(coarse) > 1 and ties[coarse].sum() > _FEW and not rounding.misfits(values).any():
            return rounding
    return None


def _finest(values: Array, *, mixed: bool) -> tuple[float, float]:
    """A step in which coarser ones can be told, and that of values that are no multiples of these; 0 if there is none.

    The step is that of all values if they have one, and that of which there is about one row in each if it is finer.
    Values that have none, among others, are as good as not rounded.
    """
    distinct = np.unique(values)
    low, high = np.quantile(values, (0.1, 0.9))
    if not high > low:
        return 0.0, 0.0
    least = math.floor(math.log10((high - low) / min(values.size, _MOST_ROWS)))
    for power in range(math.floor(math.log10(float(np.ptp(values)))), least - _MOST_DIGITS, -1):
        step = 10.0**power
        # The first values show most of the steps that are none.
        if all(np.all(np.abs(np.rint(part / step) - part / step) < _EVEN) for part in (distinct[:100], distinct)):
            multiples = np.rint(distinct / step)
            if np.abs(multiples).max() < _LARGEST:
                common = int(np.gcd.reduce(multiples.astype(np.int64)))
                step *= common if distinct.size * math.log(common) > _SURE else 1
            return max(step, 10.0**least), step
    step = find_lattice(distinct)
    if step > _UNROUNDED * 10.0**least:
        return step, step
    return (10.0**least, _UNROUNDED * 10.0**least) if mixed else (0.0, 0.0)


def _coarser(values: Array, counts: Array, step: float) -> list[float]:
    """Steps, coarser than that of all, to which some of the rows were rounded, such as whole numbers among tenths."""
    # Larger values have no steps in double precision.
    near = np.abs(values) < _LARGEST * step
    # Halves all go up, since values of a finer step would else be more at even numbers.
    numbers, place = np.unique(np.floor(values[near] / step + (0.5 + _UP)).astype(np.int64), return_inverse=True)
    ties = np.bincount(place, counts[near]).astype(np.float64)
    candidates = _covering(numbers) + _candidates(numbers, ties.copy())
    return [times * step for times in _needed(numbers, ties, candidates)]


def _covering(numbers: NDArray[np.int64]) -> list[float]:
    """Two multiples of the step of one of which all numbers are multiples, other than by chance; empty if none are.

    >>> _covering(np.array([2, 4, 5, 6, 8, 10, 12, 14, 15, 16, 18, 20, 22, 24, 25, 26, 28, 35]))
    [2, 5]
    """
    multiples = [_are_multiples(numbers, times) for times in _HEAPS]
    best, found = _COVERED, list[float]()
    for i, j in combinations(range(len(_HEAPS)), 2):
        own = np.count_nonzero(multiples[i] & ~multiples[j]), np.count_nonzero(multiples[j] & ~multiples[i])
        if min(own) > 1 and np.all(multiples[i] | multiples[j]):
            shares = 1.0 / _HEAPS[i], 1.0 / _HEAPS[j]
            chance = -numbers.size * math.log(sum(shares) - shares[0] * shares[1])
            if chance > best:
                best, found = chance, [_HEAPS[i], _HEAPS[j]]
    return found


def _candidates(numbers: NDArray[np.int64], ties: Array) -> list[float]:
    """Multiples of the step that have more rows than their neighbours; `ties` become what is left without these."""
    free, found = np.ones(numbers.size, dtype=bool), list[float]()
    while len(found) < _MOST_STEPS and (times := _heaped(numbers, ties, _FURTHER if found else _HEAPED, found)):
        at = _are_multiples(numbers, times)
        found.append(times)
        if times == round(times):
            # Among its multiples, there may be a step that is coarser still.
            found += [times * each for each in _candidates(numbers[at] // round(times), ties[at])]
        ties[at] = _beside(numbers, ties, numbers[at], times)[0]
        free &= ~at
        # Those that are left may all be multiples of another.
        common = int(np.gcd.reduce(numbers[free])) if free.any() else 1
        if common > 1 and np.count_nonzero(free) * math.log(common) > _SURE:
            return [*found, common]
    return found


def _heaped(numbers: NDArray[np.int64], ties: Array, least: tuple[float, float], known: list[float]) -> float:
    """A multiple of the step, beside those known, to which some of the rows were rounded; 0 if there is none.

    Its multiples have more rows than their neighbours, and by more than chance, even without the one that has most:
    by this, it is the most significant.
    """
    best, found = least[1], 0.0
    for times in _HEAPS:
        # Also multiples without rows, beside those that have some.
        near = np.concatenate([np.floor(numbers / times), np.ceil(numbers / times)])
        near = near[np.abs(near * times - np.tile(numbers, 2)) < 2.5]
        at = np.rint(times * np.unique(near)).astype(np.int64)
        for each in known:
            at = at[~_are_multiples(at, each)]
        rows, (beside, noise) = _ties_at(numbers, ties, at), _beside(numbers, ties, at, times)
        if np.count_nonzero(rows) < _FEW:
            continue
        more, elsewhere = _excess(rows, beside, noise)
        if more > least[0] and elsewhere > best:
            best, found = elsewhere, times
    return found


def _excess(ties: Array, beside: Array, noise: ArrayLike) -> tuple[float, float]:
    """Rows above those that are expected, in standard deviations, and the same without the largest difference.

    The expected numbers have the variance of as many rows times the `noise`.
    """
    more = ties - beside
    kept = np.arange(more.size) != np.argmax(more)
    variance = (1.0 + np.asarray(noise)) * np.maximum(beside, 0.25)
    return float(more.sum() / math.sqrt(variance.sum())), float(more[kept].sum() / math.sqrt(variance[kept].sum()))


def _needed(numbers: NDArray[np.int64], ties: Array, candidates: list[float]) -> list[float]:
    """Those of some multiples of the step that others do not explain: rows at 10 may be those of 2 and of 5."""
    kept = sorted(set(candidates))
    for times in reversed(kept):
        others = [each for each in kept if each != times]
        at = np.rint(times * np.unique(np.rint(numbers / times))).astype(np.int64)
        for coarser in (each for each in others if each > times):
            # Rows at its multiples are explained by it.
            at = at[~_are_multiples(at, coarser)]
        rows = _ties_at(numbers, ties, at)
        if np.count_nonzero(rows) < _FEW:
            kept.remove(times)
            continue
        if others:
            beside, noise = _explained(numbers, ties, at, times, others), np.full(at.size, 0.5)
        else:
            beside, noise = _beside(numbers, ties, at, times)
        more, elsewhere = _excess(rows, beside, noise)
        # Where others are between its multiples, these are too far apart for the density: two may be populations.
        above = np.maximum(rows - beside, 0.0)
        # So may two beside which few rows lie, at multiples of the only step.
        few = times >= _WIDE and beside[np.argmax(above)] < 0.25 * _MANY_BESIDE
        apart = any(each < times for each in others) if others else few
        is_wide = apart and above.sum() ** 2 < _SEVERAL * (above @ above)
        least = _FURTHER if others else _HEAPED
        if not (more > least[0] and elsewhere > least[1]) or is_wide:
            kept.remove(times)
    return kept


def _explained(
    numbers: NDArray[np.int64], ties: Array, at: NDArray[np.int64], times: float, others: list[float]
) -> Array:
    """The number of rows at multiples by the nearest places that are multiples of the same other steps.

    If there are none, those of each of these steps are added.
    """
    beside = np.zeros(at.size)
    if not others:
        return _nearest(numbers, ties, at, times, {})
    own = np.stack([_are_multiples(at, each) for each in others])
    for wanted in np.unique(own, axis=1).T:
        rows = np.all(own == wanted[:, None], axis=0)
        found = _nearest(numbers, ties, at[rows], times, dict(zip(others, wanted, strict=True)))
        if np.isnan(found).any():
            found = np.zeros(np.count_nonzero(rows))
            for one in np.array(others)[wanted]:
                alone = {each: bool(_are_multiples(np.rint(one), each)) for each in others}
                found += np.nan_to_num(_nearest(numbers, ties, at[rows], times, alone))
        beside[rows] = found
    return beside


def _nearest(
    numbers: NDArray[np.int64], ties: Array, at: NDArray[np.int64], times: float, wanted: dict[float, bool]
) -> Array:
    """Mean number of rows at the nearest places on both sides that are multiples of other steps or not, as is wanted;
    nan if there are none.
    """
    sides = []
    for sign in (-1, 1):
        rows = np.full(at.size, np.nan)
        for shift in range(1, math.ceil(2 * max([times, *wanted])) + 1):
            there = at + sign * shift
            fits = np.isnan(rows) & ~_are_multiples(there, times)
            for each, is_multiple in wanted.items():
                fits &= _are_multiples(there, each) == is_multiple
            # In proportion to the density, if there are rows that have the finest step.
            here, beside = (_plain(numbers, ties, each[fits], [times, *wanted]) for each in (at, there))
            known = (here > 0.0) & (beside > 0.0)
            ratio = np.divide(here, beside, out=np.ones(here.size), where=known)
            rows[fits] = ratio * _ties_at(numbers, ties, there[fits])
            if not np.isnan(rows).any():
                break
        sides.append(rows)
    return np.asarray(0.5 * (sides[0] + sides[1]))


def _plain(numbers: NDArray[np.int64], ties: Array, at: NDArray[np.int64], steps: list[float]) -> Array:
    """Mean number of rows at the places around some that are multiples of none of the steps; 0 if there are none."""
    rows, found = np.zeros(at.size), np.zeros(at.size)
    for shift in (*range(-_AROUND, 0), *range(1, _AROUND + 1)):
        there = at + shift
        plain = ~np.any([_are_multiples(there, each) for each in steps], axis=0)
        rows += np.where(plain, _ties_at(numbers, ties, there), 0.0)
        found += plain
    return np.divide(rows, found, out=rows, where=found > 0.0)


def _around(numbers: NDArray[np.int64], ties: Array, at: NDArray[np.int64], shifts: Iterable[int]) -> Array:
    """Rows at the places on either side of some, one row of the array for each shift."""
    return np.stack([_ties_at(numbers, ties, at + sign * shift) for shift in shifts for sign in (-1, 1)])


def _beside(numbers: NDArray[np.int64], ties: Array, at: NDArray[np.int64], times: float) -> tuple[Array, Array]:
    """The number of rows that multiples of a step would have by their neighbours, and its variance in units of itself.

    The logarithms of two neighbours on either side say it, where these have many rows: those of a Gaussian lie on a
    parabola, however narrow it is. Where they have few, the mean of all up to the middle between two multiples is more
    certain. Where nearly none are farther than the next neighbours, populations may be so narrow that any number is
    possible. Rows may be weights, which scatter more than numbers do.
    """
    # Two steps from a multiple of two steps there is another.
    shifts, shares = ((1, 3), [9.0, -1.0]) if times == 2 else ((1, 2), [4.0, -1.0])
    near = _around(numbers, ties, at, shifts)
    few = near.sum(axis=0) < _MANY_BESIDE
    known = np.maximum(near, 0.5)
    share = np.repeat(shares, 2) / (2.0 * sum(shares))
    beside = np.exp(share @ np.log(known))
    rise = np.log(beside) - np.log(known[:2]).mean(axis=0)
    noise = beside * (share**2 @ (1.0 / known) + (_EXTRAPOLATED * rise) ** 2)
    rows, next_to, farther = _ties_at(numbers, ties, at), near[:2].sum(axis=0), near[2:].sum(axis=0)
    narrow = ~few & (farther == 0.0)
    peaks = few & (rows > 0.0)
    if next_to[peaks].sum() >= _NARROW * max(farther[peaks].sum(), 1.0):
        narrow |= few
    if few.any():
        reach = range(1, min(math.ceil(0.5 * times) - 1, _FARTHEST) + 1) if times >= _WIDE else (1,)
        near = _around(numbers, ties, at[few], reach)
        beside[few] = near.mean(axis=0)
        scatter = np.var(near, axis=0, ddof=1).sum() / max(float(near.mean(axis=0).sum()), 0.25)
        noise[few] = max(scatter, 1.0) * (1.0 + 1.0 / len(near)) - 1.0 if times >= _WIDE else 0.5
    return np.where(narrow, np.maximum(beside, rows), beside), noise


def _are_multiples(numbers: NDArray[Any], times: float) -> NDArray[np.bool_]:
    """Which whole numbers are multiples of a number of steps, or of thirds as they are printed."""
    return np.asarray(numbers == np.rint(np.rint(numbers / times) * times))


def _at_multiples(values: Array, unit: float, step: float) -> NDArray[np.bool_]:
    """Which values are whole multiples of a unit, to within a fraction of the step, or as thirds are printed."""
    times = unit / step
    within = _EVEN if abs(times - round(times)) < _EVEN / times else 0.5 + _EVEN
    return np.asarray(np.abs(np.rint(values / unit) * unit - values) < within * step)


def _ties_at(numbers: NDArray[np.int64], ties: Array, wanted: NDArray[np.int64]) -> Array:
    at = np.minimum(np.searchsorted(numbers, wanted), numbers.size - 1)
    return np.where(numbers[at] == wanted, ties[at], 0.0)
