"""What the values of a catalog can resolve: the narrowest component that is not its grain.

The likelihood has maxima that describe the rounding of a catalog, or a few of its rows, and not the sky: k rows that
lie within d of each other gain about k ln(k / (N d p)) nats as a component of their own, and the closest k of N rows
lie d ~ N^(-k / (k - 1)) apart by chance. The information criteria, which presume regular maxima, prefer such
components. Groups of about 2 + ln N rows and more do not gain by chance: a total width that holds as many is a floor
that leaves nothing to be found but what is there. Errors that are larger than this floor need no other one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from mixpipe.base.arrays import Array

# A comb of components of total width c steps on a grid of values has a density that is higher at the values by
# 2 exp(-2 pi^2 c^2): with this c it gains less than a nat on a million rows, with a tenth less it does on 10^5.
_STEPS = 0.6
# Values are on a grid where those with many ties hold at least this share of the rows, with so many rows each; three
# such values, if they hold nearly all.
_TIED_SHARE = 0.5
_TIED_ROWS = 3.0
_FEW_VALUES, _NEARLY_ALL = 3, 0.8
# Values have many ties if they have at least this part of those of the values with the most.
_TIED_PART = 0.05
# Of the rows at tied values, this share has neighbours at the smallest distance if there is one step, and this share
# has some that are no farther away than the step if there are several.
_COMMON_QUANTILE = 0.7
_STEP_QUANTILE = 0.9

# Fewer equal rows than this are chance; and so are those that are no more than twice as frequent as pairs of
# rows that lie 1, 2, ... steps apart.
_REPEATED = 5.0
_MANY_MORE = 2.0
_NEIGHBOURS = 8

# Of a grid with so many gaps or more, half of the gaps differ from the next by less than this in their logarithm.
_REGULAR_GAPS, _REGULAR = 4, 0.45
# A step below this part of what values resolve without one means nothing.
_FINE = 0.2
# Different values are looked at in blocks of at least so many, at most so many blocks; a block is on a grid if this
# share of its values is, where a tenth would be by chance, and all values are if this share of the rows is in such
# blocks.
_BLOCK_VALUES, _MOST_BLOCKS = 12, 40
_MOST_OF_BLOCK, _SOME_ROWS = 0.9, 0.1
# A grid is even if all values are multiples of its step to this part of it.
_EVEN = 1e-3


@dataclass(frozen=True)
class Resolution:
    """The lower bound on the sigmas, and where it comes from; lengths are in the unit of the values.

    Parameters
    ----------
    floor : float
        Lower bound on every sigma: ``sqrt(max(0, grain^2 - smallest_error^2))``.
    cause : str
        ``grid``, ``crowding``, ``given`` (by the user), ``errors`` (no floor, since every error is at least the grain)
        or ``none`` (nothing is known).
    grain : float
        Smallest total width that the values resolve.
    step : float
        Step of the grid that the values lie on; 0 where there is none.
    smallest_error : float
        Smallest error of a value.
    n_rows : float
        Rows whose errors are smaller than the grain, while there is a floor.
    first : int
        Position of the first of them among the rows, from 0; -1 where there is none or it is not known.
    n_repeated : float
        Rows that repeat another one exactly, value and error, more often than rounding explains.
    """

    floor: float = 0.0
    cause: str = "none"
    grain: float = 0.0
    step: float = 0.0
    smallest_error: float = 0.0
    n_rows: float = 0.0
    first: int = -1
    n_repeated: float = 0.0

    def scaled(self, factor: float) -> Resolution:
        """The same in another unit."""
        lengths = {name: factor * getattr(self, name) for name in ("floor", "grain", "step", "smallest_error")}
        return replace(self, **lengths)

    def note(self, row: str = "") -> str:
        """The floor and its cause in plain words; empty where there is no floor.

        Parameters
        ----------
        row : str
            What to call the first of the rows, such as ``row 17``; its position by default.

        Examples
        --------
        >>> print(find_resolution(np.repeat([1.0, 1.5, 2.0, 3.0], [20, 90, 80, 30]), 0.01).note())
        sigmas below 0.3 are not resolved: values are multiples of 0.5 but errors are as small as 0.01 (smaller than 0.3
        in 220 rows, the first is row 1)
        """
        if self.floor == 0.0:
            return ""
        text = f"sigmas below {self.floor:.3g} are not resolved"
        if self.cause == "given":
            return f"{text}: this sigma_floor was asked for"
        errors = f"errors are as small as {self.smallest_error:.3g}" if self.smallest_error else "errors are zero"
        if self.cause == "grid":
            text += f": values are multiples of {self.step:.3g} but {errors}"
        else:
            text += f": rows lie as close together by chance, but {errors}"
        first = row or (f"row {self.first + 1}" if self.first >= 0 else "")
        where = f", the first is {first}" if first else ""
        return f"{text} (smaller than {self.grain:.3g} in {self.n_rows:,.6g} rows{where})"


# Where nothing is known of the values, or nothing has to be.
NO_RESOLUTION = Resolution()


def find_resolution(
    x: ArrayLike, err: ArrayLike, counts: ArrayLike | None = None, smallest_error: float | None = None
) -> Resolution:
    """What some values with errors resolve.

    Parameters
    ----------
    x : array_like, shape (n_rows,)
        Values.
    err : array_like, shape (n_rows,) or float
        Their errors.
    counts : array_like, shape (n_rows,), or None
        Rows that each value stands for; one each by default.
    smallest_error : float or None
        The smallest error of all rows, where these are a sample of them.
    """
    values = np.ascontiguousarray(x, dtype=np.float64)
    errors = np.broadcast_to(np.asarray(err, dtype=np.float64), values.shape)
    times = np.ones(values.size) if counts is None else np.asarray(counts, dtype=np.float64)
    used = times > 0.0
    if not used.any():
        return NO_RESOLUTION
    smallest = float(errors[used].min()) if smallest_error is None else smallest_error
    grain, step, repeated = _find_grain(values[used], errors[used], times[used])
    floor = math.sqrt(max((grain - smallest) * (grain + smallest), 0.0))
    if floor == 0.0:
        return Resolution(0.0, "errors", grain, step, smallest, n_repeated=repeated)
    small = used & (errors < grain)
    cause = "grid" if step and grain == _STEPS * step else "crowding"
    first = int(np.argmax(small)) if small.any() else -1
    return Resolution(floor, cause, grain, step, smallest, float(times[small].sum()), first, repeated)


def find_grain(x: Array, counts: Array) -> tuple[float, float]:
    """The smallest total width that values resolve, and the step of their grid, 0 if they are on none.

    Values on a grid, which most of them share with others, resolve 0.6 of its step. And values resolve, on a grid or
    not, the standard deviation of a uniform density over the narrowest interval that holds some ``2 + ln N`` of them,
    those that are equal counted once or spread over their step.

    Examples
    --------
    >>> find_grain(np.array([1.0, 1.5, 2.0, 3.0]), np.array([20.0, 90.0, 80.0, 30.0]))
    (0.3, 0.5)
    """
    return _find_grain(x, np.zeros(x.size), counts)[:2]


def _find_grain(x: Array, err: Array, counts: Array) -> tuple[float, float, float]:
    """Grain, step, and the rows that repeat others for another reason than rounding."""
    distinct, ties = _tied(x, counts)
    noise = 8.0 * np.finfo(np.float64).eps * max(abs(distinct[0]), abs(distinct[-1]))
    if distinct.size < 2:
        return float(abs(distinct[0]) or 1.0) * float(np.finfo(np.float64).eps), 0.0, 0.0
    group = _group(float(ties.sum()))
    apart = min(group, distinct.size) - 1
    spans = distinct[apart:] - distinct[: distinct.size - apart]
    crowd = float(spans[spans > noise].min(initial=distinct[-1] - distinct[0])) / math.sqrt(12.0)
    step, repeated = _find_step(distinct, ties), 0.0
    if step == 0.0:
        decimal = _find_decimal_step(distinct, ties, noise)
        if ties.sum() > distinct.size:
            repeated = count_repeated(x, err, counts, decimal)
        step = 0.0 if repeated else decimal
    # A step far below what the values resolve by themselves means nothing.
    if step <= max(noise, _FINE * crowd):
        return max(crowd, noise), 0.0, repeated
    return max(_STEPS * step, _spread_crowd(distinct, ties, step, group), noise), step, repeated


def _tied(x: Array, counts: Array) -> tuple[Array, Array]:
    """Different values, and the rows with each."""
    if np.all(counts == 1.0):
        distinct, times = np.unique(x, return_counts=True)
        return distinct, times.astype(np.float64)
    distinct, inverse = np.unique(x, return_inverse=True)
    return distinct, np.bincount(inverse, counts).astype(np.float64)


def _spread_crowd(distinct: Array, ties: Array, step: float, group: int) -> float:
    """Standard deviation of a uniform density over the narrowest interval of a group of rows.

    Rows with one value stand for some that were spread over the step.
    """
    low, high = rounded_from(distinct, step)
    after = np.cumsum(ties)
    ranks = np.stack([after - ties, after], axis=1).ravel()
    edges = np.stack([low, high], axis=1).ravel()
    begins = np.concatenate([ranks, ranks - (group - 1)])
    begins = begins[(begins >= 0.0) & (begins <= ranks[-1] - (group - 1))]
    spans = np.interp(begins + (group - 1), ranks, edges) - np.interp(begins, ranks, edges)
    return float(spans.min(initial=edges[-1] - edges[0])) / math.sqrt(12.0)


def _find_decimal_step(distinct: Array, ties: Array, noise: float) -> float:
    """The step of values that were rounded to decimal places, or to significant digits; 0 if there is none.

    Neighbouring values are taken together: where nearly all are multiples of a power of ten, that is their step. The
    step of all is the largest one that holds for a tenth of the rows.
    """
    n_blocks = min(distinct.size // _BLOCK_VALUES, _MOST_BLOCKS)
    if n_blocks == 0:
        return 0.0
    block = np.arange(distinct.size) * n_blocks // distinct.size
    sizes, held = np.bincount(block), np.bincount(block, ties)
    extent = distinct[-1] - distinct[0]
    for power in range(math.floor(math.log10(extent)), math.floor(math.log10(max(noise, extent * 1e-9))), -1):
        step = 10.0**power
        with np.errstate(over="ignore"):
            multiples = distinct / step
        nearest = np.rint(multiples)
        # Different values near one multiple are not on the grid.
        on_grid = np.append(True, np.diff(nearest) > 0.0) & (np.abs(multiples - nearest) <= _EVEN + noise / step)
        shares = np.bincount(block, on_grid, minlength=n_blocks)
        if held[shares >= _MOST_OF_BLOCK * sizes].sum() >= _SOME_ROWS * held.sum():
            return step
    return 0.0


def _group(n_rows: float) -> int:
    """Rows that do not lie close together by chance: 2 + ln N, but at most half of a few, which may be two groups."""
    return max(min(math.ceil(2.0 + math.log(max(n_rows, 1.0))), math.ceil(0.5 * n_rows)), 2)


def _find_step(distinct: Array, ties: Array) -> float:
    """Distance between neighbouring values with many ties; 0 where few rows have any.

    It need not be the same everywhere: rounded values may have been transformed, and values rounded to so many digits
    have a step for each decade. It is the smallest one where seven tenths of the rows have it, and else as large as it
    is for nine tenths of them.
    """
    by_ties = np.argsort(ties, kind="stable")
    rows = np.cumsum(ties[by_ties])
    many = float(ties[by_ties][np.searchsorted(rows, 0.95 * rows[-1])])
    tied = (ties >= _TIED_PART * many) & (ties >= 2.0)
    heavy, weights = distinct[tied], ties[tied]
    # A few values with many ties among others may be populations of their own.
    share = _TIED_SHARE if heavy.size > _FEW_VALUES else _NEARLY_ALL
    if heavy.size < _FEW_VALUES or weights.sum() < share * rows[-1] or weights.mean() < _TIED_ROWS:
        return 0.0
    gaps = np.diff(heavy)
    # Values that are repeated for another reason lie at random: of two gaps in a row one is three times as large.
    if gaps.size >= _REGULAR_GAPS and np.median(np.abs(np.diff(np.log(gaps)))) > _REGULAR:
        return 0.0
    nearest = np.minimum(np.append(gaps, np.inf), np.append(np.inf, gaps))
    order = np.argsort(nearest, kind="stable")
    reached = np.cumsum(weights[order])
    common = nearest[order][np.searchsorted(reached, _COMMON_QUANTILE * reached[-1])]
    if common <= (1.0 + 1e-3) * gaps.min() + 8.0 * np.finfo(np.float64).eps * max(abs(distinct[0]), abs(distinct[-1])):
        return float(gaps.min())
    return float(nearest[order][np.searchsorted(reached, _STEP_QUANTILE * reached[-1])])


def rounded_from(distinct: Array, step: float) -> tuple[Array, Array]:
    """The ends of the intervals that values on a grid have been rounded from.

    >>> rounded_from(np.array([0.0, 1.0, 4.0]), 1.0)
    (array([-0.5,  0.5,  3.5]), array([0.5, 1.5, 4.5]))
    """
    middles = 0.5 * (distinct[1:] + distinct[:-1])
    low = np.maximum(distinct - 0.5 * step, np.append(-np.inf, middles))
    return low, np.minimum(distinct + 0.5 * step, np.append(middles, np.inf))


def rounded(values: Array, distinct: Array, step: float) -> Array:
    """Values rounded as those of a catalog are: to its grid if that is even, else to the nearest of its values.

    >>> rounded(np.array([0.4, 2.2, 7.6]), np.array([0.0, 1.0, 2.0, 4.0]), 1.0)
    array([0., 2., 8.])
    """
    multiples = (distinct - distinct[0]) / step
    if np.all(np.abs(multiples - np.rint(multiples)) <= _EVEN):
        return np.asarray(distinct[0] + step * np.rint((values - distinct[0]) / step))
    middles = 0.5 * (distinct[1:] + distinct[:-1])
    nearest = distinct[np.searchsorted(middles, values)]
    outside = (values < distinct[0] - step) | (values > distinct[-1] + step)
    return np.where(outside, values, nearest)


def count_repeated(x: Array, err: Array, counts: Array, step: float = 0.0) -> float:
    """Rows that are equal to an earlier one in value and error, if these are more than rounding explains.

    Values that were rounded to a step are about as often equal as they are one, or two, or three steps apart, but for
    the order of a pair.

    Parameters
    ----------
    x, err, counts : ndarray, shape (n_rows,)
        Values, errors, and the rows that each stands for.
    step : float
        Of the values, where it is known; that of all of them by default.

    Examples
    --------
    >>> x = np.random.default_rng(1).normal(size=300)
    >>> count_repeated(np.repeat(x, 2), np.zeros(600), np.ones(600))
    300.0
    >>> count_repeated(x.round(2), np.zeros(300), np.ones(300))
    0.0
    """
    order = np.lexsort((x, err))
    values, errors, times = x[order], err[order], counts[order]
    new = np.append(True, (np.diff(values) != 0.0) | (np.diff(errors) != 0.0))
    starts = np.flatnonzero(new)
    times = np.add.reduceat(times, starts)
    repeated = float(times.sum()) - starts.size
    if repeated < _REPEATED:
        return 0.0
    values, errors = values[starts], errors[starts]
    pairs = float(np.sum(times * (times - 1.0))) / 2.0
    step = max(step, _lattice(np.unique(values)))
    if step > 0.0:
        # Pairs of one error that are up to some steps apart: the rows of each error follow one another, far apart.
        place = (values - values.min()) / step
        place += np.searchsorted(np.unique(errors), errors) * (place.max() + 2.0 * _NEIGHBOURS)
        after = np.append(0.0, np.cumsum(times))
        last = np.searchsorted(place, place + _NEIGHBOURS + 0.5, side="right")
        apart = float(np.sum(times * (after[last] - after[1:])))
        if pairs <= _MANY_MORE * 0.5 * apart / _NEIGHBOURS + _REPEATED:
            return 0.0
    return repeated


def _lattice(distinct: Array) -> float:
    """The step that all values are multiples of, from one of them on; 0 if there is none."""
    if distinct.size < 3:
        return 0.0
    gaps = np.diff(distinct)
    noise = 8.0 * np.finfo(np.float64).eps * max(abs(distinct[0]), abs(distinct[-1]))
    step = float(gaps[gaps > noise].min(initial=np.inf))
    multiples = gaps / step
    whole = np.all(np.abs(multiples - np.rint(multiples)) <= 1e-3 + noise / step)
    return step if np.isfinite(step) and whole else 0.0
