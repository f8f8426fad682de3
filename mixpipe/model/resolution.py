"""The resolution of the values of a catalog: the narrowest component that is not an artefact of their grain.

The likelihood has maxima that describe the rounding of a catalog, or a few of its rows, and not the sky: k rows that
lie within d of each other, where the density is p, gain about k ln(k / (N d p)) nats when they become a separate
component, and the closest k of N rows lie d ~ N^(-k / (k - 1)) apart by chance. The information criteria, which presume
regular maxima, prefer such components. Groups of about 2 + ln N rows or more do not gain by chance, so that a total
width that contains as many rows is a floor above which only real components are found. Errors that are larger than this
width make a floor unnecessary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mixpipe.base.arrays import Array
from mixpipe.base.presentation import plural

# A comb of components of total width c steps on a grid of values has a density that is higher at the values by a
# fraction 2 exp(-2 pi^2 c^2). With this c the comb gains less than a nat on a million rows; with a c smaller by a
# tenth, only on up to 10^5 rows.
_STEPS = 0.6
# Values are on a grid if those with many ties contain at least _TIED_SHARE of the rows, with at least _TIED_ROWS rows
# each on average; no more than _FEW_VALUES such values have to contain _NEARLY_ALL rows.
_TIED_SHARE = 0.5
_TIED_ROWS = 3.0
_FEW_VALUES, _NEARLY_ALL = 3, 0.8
# A value has many ties if it has at least this fraction of the ties of the most frequent values.
_TIED_PART = 0.05
# Quantiles of the distance from tied values to their nearest neighbours, over the rows: the first equals the smallest
# gap if there is a single step; the second is taken as the step if there are several.
_COMMON_QUANTILE = 0.7
_STEP_QUANTILE = 0.9

# Repeated rows are attributed to chance if there are fewer than _REPEATED of them, or if equal pairs are no more than
# _MANY_MORE times as frequent as pairs that lie 1, 2, ..., _NEIGHBOURS steps apart.
_REPEATED = 5.0
_MANY_MORE = 2.0
_NEIGHBOURS = 8

# On a grid with at least _REGULAR_GAPS gaps, the logarithms of successive gaps differ by less than this in the median,
# or at least half of the gaps equal the smallest: others may be between populations.
_REGULAR_GAPS, _REGULAR = 4, 0.45
# A step is ignored if it is smaller than this fraction of the width that the values resolve without it.
_FINE = 0.2
# Distinct values are examined in at most _MOST_BLOCKS blocks of at least _BLOCK_VALUES values. A block is on a grid if
# at least _MOST_OF_BLOCK of its values are, where a tenth would be by chance; all values are if at least _SOME_ROWS of
# the rows are in such blocks.
_BLOCK_VALUES, _MOST_BLOCKS = 12, 40
_MOST_OF_BLOCK, _SOME_ROWS = 0.9, 0.1
# The step of an even grid that is no power of ten is taken from at least so many distinct values.
_MANY_VALUES = 480
# A grid is even if all values are multiples of its step to within this fraction of a step.
_EVEN = 1e-3
# Intervals of one width differ by less than this fraction.
_SAME_WIDTH = 1e-3
# Significant digits of the lower bound on the sigmas.
_FLOOR_DIGITS = 7
# Rounding error of a difference, relative to the values.
_ROUNDING = 8.0 * float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Resolution:
    """The lower bound on the sigmas and its cause; lengths are in the unit of the values.

    Parameters
    ----------
    floor : float
        Lower bound on every sigma: ``sqrt(max(0, grain^2 - smallest_error^2))``.
    cause : str
        ``grid``, ``crowding``, ``given`` (by the user), ``errors`` (no floor, since every error is at least the grain),
        ``rounding`` (no floor, since the likelihood is that of the intervals from which values were rounded) or
        ``none`` (nothing is known).
    grain : float
        Smallest total width that the values resolve.
    step : float
        Step of the grid that the values lie on, the largest of the intervals for ``rounding``; 0 where there is none.
    smallest_error : float
        Smallest error of a value.
    n_rows : float
        Number of rows whose errors are smaller than the grain, if there is a floor.
    first : int
        Index of the first of these rows, counted from 0; -1 if there is none or it is not known.
    n_repeated : float
        Number of rows that repeat an earlier one exactly, in value and error, if these are more than rounding explains.
    finest : float
        The smallest of the intervals for ``rounding``, or of the distances on a ``grid``, if not all are multiples of
        the step; otherwise 0.
    """

    floor: float = 0.0
    cause: str = "none"
    grain: float = 0.0
    step: float = 0.0
    smallest_error: float = 0.0
    n_rows: float = 0.0
    first: int = -1
    n_repeated: float = 0.0
    finest: float = 0.0

    def scaled(self, factor: float) -> Resolution:
        """The same resolution with its lengths multiplied by a factor, as for another unit."""
        lengths = {
            name: factor * getattr(self, name) for name in ("floor", "grain", "step", "smallest_error", "finest")
        }
        return replace(self, **lengths)

    def floored(self, floor: float) -> Resolution:
        """The same resolution with the floor that a user asks for; that of the intervals of rounded values stays so."""
        return replace(self, floor=floor, cause="rounding" if self.cause == "rounding" else "given")

    def note(self, row: str = "") -> str:
        """The floor and its cause, or the intervals of rounded values, in plain words; empty where there is neither.

        Parameters
        ----------
        row : str
            How to refer to the first of the rows, such as ``row 17``; its position by default.

        Examples
        --------
        >>> print(find_resolution(np.repeat([1.0, 1.5, 2.0, 3.0], [20, 90, 80, 30]), 0.01).note())
        sigmas below 0.3 are not resolved: values are multiples of 0.5 but errors are as small as 0.01 (smaller than 0.3
        in 220 rows, the first is row 1)
        """
        wide = f"{self.finest:.3g} to {self.step:.3g} wide" if self.finest else f"{self.step:.3g} wide"
        intervals = f"values are taken as the intervals, {wide}, from which they were rounded"
        if self.floor == 0.0:
            return intervals if self.cause == "rounding" else ""
        text = f"sigmas below {self.floor:.3g} are not resolved"
        if self.cause == "rounding":
            return f"{text}; {intervals}"
        if self.cause == "given":
            return f"{text}: this sigma_floor was asked for"
        errors = f"errors are as small as {self.smallest_error:.3g}" if self.smallest_error else "errors are zero"
        if self.cause == "grid":
            steps = "have steps of up to" if self.finest else "are multiples of"
            text += f": values {steps} {self.step:.3g} but {errors}"
        else:
            text += f": rows lie as close together by chance, but {errors}"
        first = row or (f"row {self.first + 1}" if self.first >= 0 else "")
        where = f", the first is {first}" if first else ""
        return f"{text} (smaller than {self.grain:.3g} in {plural(self.n_rows, 'row')}{where})"


# For data whose resolution is unknown or irrelevant.
NO_RESOLUTION = Resolution()


def of_intervals(widths: Array) -> Resolution:
    """The resolution of rounded values without a floor, from the widths of their intervals.

    >>> print(of_intervals(np.array([0.1, 0.5, 0.1])).note())
    values are taken as the intervals, 0.1 to 0.5 wide, from which they were rounded
    """
    finest, step = float(widths.min()), float(widths.max())
    return Resolution(cause="rounding", step=step, finest=finest if finest < (1.0 - _SAME_WIDTH) * step else 0.0)


def find_resolution(
    x: ArrayLike, err: ArrayLike, counts: ArrayLike | None = None, smallest_error: float | None = None
) -> Resolution:
    """Determine what values with errors resolve.

    Parameters
    ----------
    x : array_like, shape (n_rows,)
        Values.
    err : array_like, shape (n_rows,) or float
        One-sigma errors, in the unit of `x`.
    counts : array_like, shape (n_rows,), or None
        Number of rows that each value stands for; 1 each by default.
    smallest_error : float or None
        Smallest error of all rows, if those given are only a sample.

    Returns
    -------
    Resolution
    """
    values = np.ascontiguousarray(x, dtype=np.float64)
    errors = np.broadcast_to(np.asarray(err, dtype=np.float64), values.shape)
    times = np.ones(values.size) if counts is None else np.asarray(counts, dtype=np.float64)
    used = times > 0.0
    if not used.any():
        return NO_RESOLUTION
    smallest = float(errors[used].min()) if smallest_error is None else smallest_error
    grain, step, repeated = _find_grain(values[used], errors[used], times[used])
    # A lower bound is no measurement, and has fewer digits in all files.
    floor = float(f"{math.sqrt(max((grain - smallest) * (grain + smallest), 0.0)):.{_FLOOR_DIGITS - 1}e}")
    if floor == 0.0:
        return Resolution(0.0, "errors", grain, step, smallest, n_repeated=repeated)
    small = used & (errors < grain)
    cause = "grid" if step and grain == _STEPS * step else "crowding"
    first = int(np.argmax(small)) if small.any() else -1
    finest = _finest(values[used], step) if cause == "grid" else 0.0
    return Resolution(floor, cause, grain, step, smallest, float(times[small].sum()), first, repeated, finest)


def find_grain(x: Array, counts: Array) -> tuple[float, float]:
    """The smallest total width that values resolve, and the step of their grid, which is 0 if they are not on a grid.

    Values on a grid, most of which have ties, resolve 0.6 of its step. On a grid or not, values resolve the standard
    deviation of a uniform density over the narrowest interval that contains about ``2 + ln N`` of them, where equal
    values are counted once or are spread over the step.

    Examples
    --------
    >>> find_grain(np.array([1.0, 1.5, 2.0, 3.0]), np.array([20.0, 90.0, 80.0, 30.0]))
    (0.3, 0.5)
    """
    return _find_grain(x, np.zeros(x.size), counts)[:2]


def _find_grain(x: Array, err: Array, counts: Array) -> tuple[float, float, float]:
    """Grain, step, and the number of rows that repeat others for a reason other than rounding."""
    distinct, ties = tied_values(x, counts)
    noise = _rounding(distinct)
    if distinct.size < 2:
        return float(abs(distinct[0]) or 1.0) * float(np.finfo(np.float64).eps), 0.0, 0.0
    group = _group(float(ties.sum()))
    apart = min(group, distinct.size) - 1
    lows, highs = distinct[: distinct.size - apart], distinct[apart:]
    spans = highs - lows
    wide = spans > np.maximum(noise, _ROUNDING * np.maximum(np.abs(lows), np.abs(highs)))
    crowd = float(spans[wide].min(initial=distinct[-1] - distinct[0])) / math.sqrt(12.0)
    step, repeated = _find_step(distinct, ties), 0.0
    if step == 0.0:
        decimal = (find_lattice(distinct) if distinct.size >= _MANY_VALUES else 0.0) or _find_decimal_step(
            distinct, ties, noise
        )
        if ties.sum() > distinct.size:
            repeated = count_repeated(x, err, counts, decimal)
        step = 0.0 if repeated else decimal
    # A step far below the width that the values resolve by themselves is irrelevant.
    if step <= max(noise, _FINE * crowd):
        return max(crowd, noise), 0.0, repeated
    return max(_STEPS * step, _spread_crowd(distinct, ties, step, group), noise), step, repeated


def _rounding(distinct: Array) -> float:
    """Rounding error of differences between most of the values, of which a few may be very much larger."""
    return _ROUNDING * float(np.quantile(np.abs(distinct), 0.9, method="higher"))


def tied_values(x: Array, counts: Array) -> tuple[Array, Array]:
    """Distinct values, and the number of rows with each."""
    if np.all(counts == 1.0):
        distinct, times = np.unique(x, return_counts=True)
        return distinct, times.astype(np.float64)
    distinct, inverse = np.unique(x, return_inverse=True)
    return distinct, np.bincount(inverse, counts).astype(np.float64)


def _spread_crowd(distinct: Array, ties: Array, step: float, group: int) -> float:
    """Standard deviation of a uniform density over the narrowest interval of a group of rows.

    Rows with the same value are taken as spread evenly over the step from which they were rounded.
    """
    return _crowd_between(*rounded_from(distinct, step), ties, group)


def crowd_of_intervals(low: Array, high: Array, counts: Array) -> float:
    """The width that rounded values resolve: the standard deviation of the narrowest interval of ``2 + ln N`` rows.

    Rows are spread evenly over their intervals, some of which may lie within others.

    Examples
    --------
    >>> low = np.arange(20.0)
    >>> round(crowd_of_intervals(low, low + 1.0, np.ones(20)) * 12**0.5, 6)  # five rows, from the first to the last
    4.0
    >>> wide = np.append(low, 0.0), np.append(low + 1.0, 20.0)
    >>> round(crowd_of_intervals(*wide, np.ones(21)) * 12**0.5, 6)  # six rows, of which a unit has 1.05
    4.761905
    """
    group = _group(float(counts.sum()))
    order = np.lexsort((high, low))
    low, high, counts = low[order], high[order], counts[order]
    first = np.flatnonzero(np.append(True, (np.diff(low) > 0.0) | (np.diff(high) > 0.0)))
    begins, ends, ties = low[first], high[first], np.add.reduceat(counts, first)
    if np.any(ends[:-1] > begins[1:] + 0.5 * (ends - begins)[1:]):
        # The parts between the ends of all intervals, with what each interval has there.
        edges = np.unique([low, high])
        changes = np.bincount(np.searchsorted(edges, low), counts / (high - low), edges.size)
        changes -= np.bincount(np.searchsorted(edges, high), counts / (high - low), edges.size)
        begins, ends = edges[:-1], edges[1:]
        ties = np.maximum(np.cumsum(changes)[:-1], 0.0) * (ends - begins)
    return _crowd_between(begins, ends, ties, group)


def _crowd_between(low: Array, high: Array, ties: Array, group: int) -> float:
    """As `_spread_crowd`, for increasing intervals."""
    after = np.cumsum(ties)
    ranks = np.stack([after - ties, after], axis=1).ravel()
    edges = np.stack([low, high], axis=1).ravel()
    begins = np.concatenate([ranks, ranks - (group - 1)])
    begins = begins[(begins >= 0.0) & (begins <= ranks[-1] - (group - 1))]
    spans = np.interp(begins + (group - 1), ranks, edges) - np.interp(begins, ranks, edges)
    return float(spans.min(initial=edges[-1] - edges[0])) / math.sqrt(12.0)


def _find_decimal_step(distinct: Array, ties: Array, noise: float) -> float:
    """The step of values that were rounded to decimal places, or to significant digits; 0 if there is none.

    Values are examined in blocks of neighbours: where nearly all of a block are multiples of a power of ten, that is
    its step. The step of all values is the largest that holds for a tenth of the rows.
    """
    n_blocks = min(distinct.size // _BLOCK_VALUES, _MOST_BLOCKS)
    if n_blocks == 0:
        return 0.0
    block = np.arange(distinct.size) * n_blocks // distinct.size
    sizes, held = np.bincount(block), np.bincount(block, ties)
    # A few values far from the others say nothing about the step.
    least, low, high, most = np.quantile(distinct, (0.001, 0.1, 0.9, 0.999))
    finest = max(noise, 1e-9 * float(high - low))
    # Most steps are ruled out by the first values of each block, as many as may be off the grid, and as many again.
    few = np.arange(min(2 * math.floor((1.0 - _MOST_OF_BLOCK) * sizes.max()) + 2, sizes.min()))
    first = distinct[np.append(0, np.cumsum(sizes)[:-1])[:, None] + few]
    for power in range(math.floor(math.log10(most - least)), math.floor(math.log10(finest)), -1):
        step = 10.0**power
        tolerance = _EVEN + noise / step
        possible = few.size - _on_grid(first, step, tolerance).sum(axis=1) <= sizes - _MOST_OF_BLOCK * sizes
        if held[possible].sum() < _SOME_ROWS * held.sum():
            continue
        shares = np.bincount(block, _on_grid(distinct, step, tolerance), minlength=n_blocks)
        if held[shares >= _MOST_OF_BLOCK * sizes].sum() >= _SOME_ROWS * held.sum():
            return step
    return 0.0


def _on_grid(values: Array, step: float, tolerance: float) -> NDArray[np.bool_]:
    """Which of distinct, sorted values are multiples of a step; of several near the same multiple, at most one is."""
    with np.errstate(over="ignore"):
        multiples = values / step
    nearest = np.rint(multiples)
    first = np.ones((*values.shape[:-1], 1), dtype=bool)
    apart = np.append(first, np.diff(nearest) > 0.0, axis=-1)
    return np.asarray(apart & (np.abs(multiples - nearest) <= tolerance))


def _group(n_rows: float) -> int:
    """Size of a group that is not dense by chance: 2 + ln N, but at most half of the rows, which may be two groups."""
    return max(min(math.ceil(2.0 + math.log(max(n_rows, 1.0))), math.ceil(0.5 * n_rows)), 2)


def _find_step(distinct: Array, ties: Array) -> float:
    """Distance between neighbouring values with many ties; 0 where few rows have any.

    The distance need not be the same everywhere: rounded values may have been transformed, and values rounded to
    significant digits have a different step in each decade. The smallest distance is returned if it holds for seven
    tenths of the rows, and otherwise the distance that nine tenths of the rows do not exceed.
    """
    by_ties = np.argsort(ties, kind="stable")
    rows = np.cumsum(ties[by_ties])
    many = float(ties[by_ties][np.searchsorted(rows, 0.95 * rows[-1])])
    tied = (ties >= _TIED_PART * many) & (ties >= 2.0)
    heavy, weights = distinct[tied], ties[tied]
    # A few values with many ties among others may be separate populations.
    share = _TIED_SHARE if heavy.size > _FEW_VALUES else _NEARLY_ALL
    if heavy.size < _FEW_VALUES or weights.sum() < share * rows[-1] or weights.mean() < _TIED_ROWS:
        return 0.0
    gaps = np.diff(heavy)
    smallest = (1.0 + 1e-3) * gaps.min() + _rounding(distinct)
    # Values that are repeated for another reason lie at random: of two successive gaps, one is typically three times
    # the other.
    irregular = gaps.size >= _REGULAR_GAPS and np.median(np.abs(np.diff(np.log(gaps)))) > _REGULAR
    if irregular and 2 * np.count_nonzero(gaps <= smallest) < gaps.size:
        return 0.0
    nearest = np.minimum(np.append(gaps, np.inf), np.append(np.inf, gaps))
    order = np.argsort(nearest, kind="stable")
    reached = np.cumsum(weights[order])
    common = nearest[order][np.searchsorted(reached, _COMMON_QUANTILE * reached[-1])]
    if common <= smallest:
        return float(gaps.min())
    return float(nearest[order][np.searchsorted(reached, _STEP_QUANTILE * reached[-1])])


def _is_even(values: Array, step: float) -> bool:
    """Whether all differences of some values are multiples of a step."""
    multiples = (values - values[0]) / step
    return bool(np.all(np.abs(multiples - np.rint(multiples)) <= _EVEN))


def _finest(values: Array, step: float) -> float:
    """The smallest distance between values of which not all are multiples of a step; 0 if all are."""
    if _is_even(values, step):
        return 0.0
    distinct = np.unique(values)
    gaps = np.diff(distinct)
    return float(gaps[gaps > _rounding(distinct)].min())


def rounded_from(distinct: Array, step: float) -> tuple[Array, Array]:
    """The ends of the intervals from which values on a grid were rounded.

    >>> rounded_from(np.array([0.0, 1.0, 4.0]), 1.0)
    (array([-0.5,  0.5,  3.5]), array([0.5, 1.5, 4.5]))
    """
    middles = 0.5 * (distinct[1:] + distinct[:-1])
    low = np.maximum(distinct - 0.5 * step, np.append(-np.inf, middles))
    return low, np.minimum(distinct + 0.5 * step, np.append(middles, np.inf))


def rounded(values: Array, distinct: Array, step: float) -> Array:
    """Round values as those of a catalog are rounded: to its grid if that is even, and otherwise to the nearest of its
    values.

    >>> rounded(np.array([0.4, 2.2, 7.6]), np.array([0.0, 1.0, 2.0, 4.0]), 1.0)
    array([0., 2., 8.])
    """
    if _is_even(distinct, step):
        return np.asarray(distinct[0] + step * np.rint((values - distinct[0]) / step))
    middles = 0.5 * (distinct[1:] + distinct[:-1])
    nearest = distinct[np.searchsorted(middles, values)]
    outside = (values < distinct[0] - step) | (values > distinct[-1] + step)
    return np.where(outside, values, nearest)


def count_repeated(x: Array, err: Array, counts: Array, step: float = 0.0) -> float:
    """Number of rows that equal an earlier one in value and error, if these are more than rounding explains; otherwise
    0.

    Two values that were rounded to a step are about as often equal as they are one, two or three steps apart in either
    given direction.

    Parameters
    ----------
    x, err, counts : ndarray, shape (n_rows,)
        Values, errors, and the number of rows that each stands for.
    step : float
        Step of the values, if it is known; by default, the step that holds for all of them, if there is one.

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
    step = max(step, find_lattice(np.unique(values)))
    if step > 0.0:
        # Only pairs with equal errors count: rows with different errors are placed too far apart to be neighbours.
        position = (values - values.min()) / step
        position += np.searchsorted(np.unique(errors), errors) * (position.max() + 2.0 * _NEIGHBOURS)
        after = np.append(0.0, np.cumsum(times))
        last = np.searchsorted(position, position + _NEIGHBOURS + 0.5, side="right")
        apart = float(np.sum(times * (after[last] - after[1:])))
        if pairs <= _MANY_MORE * 0.5 * apart / _NEIGHBOURS + _REPEATED:
            return 0.0
    return repeated


def find_lattice(distinct: Array) -> float:
    """The step of which all differences between values are multiples; 0 if there is none."""
    if distinct.size < 3:
        return 0.0
    gaps = np.diff(distinct)
    noise = _rounding(distinct)
    step = float(gaps[gaps > noise].min(initial=np.inf))
    # Where there is none, the first gaps show it.
    for part in (gaps[:1000], gaps):
        multiples = part / step
        if not np.all(np.abs(multiples - np.rint(multiples)) <= 1e-3 + noise / step):
            return 0.0
    return step if np.isfinite(step) else 0.0
