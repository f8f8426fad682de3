"""Catalogs drawn from a mixture of any family, with the errors, limits and window of the data."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtri_exp

from mixpipe.assess.censoring import censored
from mixpipe.base.arrays import Array
from mixpipe.model.cells import Cells, with_kind
from mixpipe.model.families import FAMILIES, log_between
from mixpipe.model.mixture import Mixture
from mixpipe.model.noise import Noise, draw_noise
from mixpipe.model.resolution import rounded
from mixpipe.model.window import Window

# Values whose weights are larger than others by more than the inverse of this are drawn as if they were not.
_LEAST_SAMPLED = 0.01
# Intervals of one step differ in width by less than this.
_NARROWER = 0.9
# Largest number of rounds in which values that are not seen are drawn again.
_MAX_ROUNDS = 10_000


def draw_catalog(mixture: Mixture, like: Cells, rng: np.random.Generator) -> Cells:
    """Draw a catalog with the errors, weights, resolution, limits and window of given cells.

    Values that are not seen through the window are drawn again; limits are drawn as described in
    `mixpipe.assess.censoring`. Importance weights that depend on the values do so in the drawn catalog: where they are
    large, few of the values that the mixture has were sampled. If the data were rounded to a grid, the drawn values
    are, too; where the likelihood is that of the intervals, each row that is counted is a cell. Bins get the counts of
    the same total number of rows.

    Raises
    ------
    ValueError
        If almost no value of the mixture is seen.
    """
    if like.are_rounded and like.edges is not None:
        return _draw_rounded(mixture, like, like.edges, rng)
    if like.edges is not None:
        return _draw_bins(mixture, like, rng)
    window, err, step = like.window, like.errors, like.resolution.step
    sampled = _Sampled.of(like) if like.weight_kind == "importance" and like.limits is None else None
    distinct = np.unique(like.x) if step > 0.0 else like.x
    x: Array = np.empty(len(like))
    waiting = np.arange(len(like))
    for _ in range(_MAX_ROUNDS):
        own = None if window is None else window[waiting]
        plain = mixture.is_gaussian and like.memberships is None
        if own is not None and plain and not isinstance(err, Noise):
            values, bound = _draw_seen(mixture, own, err[waiting], rng)
        else:
            priors = None if like.memberships is None else like.memberships[waiting]
            values = mixture.sample(waiting.size, rng, priors) + draw_noise(err[waiting], rng)
            bound = np.ones(waiting.size)
        seen = np.ones(waiting.size, dtype=bool)
        if own is not None and own.points.size:
            seen = rng.random(waiting.size) * bound < own.probability(values)
        if sampled is not None:
            seen &= rng.random(waiting.size) < sampled.probability(values)
        if step > 0.0:
            values = rounded(values, distinct, step)
        if own is not None:
            seen &= own.probability(values) > 0.0
        x[waiting[seen]] = values[seen]
        waiting = waiting[~seen]
        if not waiting.size:
            break
    else:
        raise ValueError("the mixture has next to nothing between the bounds, or where values are detected")
    limits = None
    if like.limits is not None:
        x, limits = censored(x, like.x, like.limits, like.weights, rng)
    if sampled is None:
        return replace(like, x=x, limits=limits)
    weights = like.weights * sampled.mean(x) / sampled.mean(like.x)
    # Weights of repeated rows sum to more than the effective number of rows.
    scale = float(np.sum(like.weights**2) / np.sum(like.weights))
    return replace(like, x=x, weights=scale * with_kind(weights, "importance")[0])


@dataclass(frozen=True, eq=False)
class _Sampled:
    """The mean importance weight as a function of the value, whose inverse says how completely values were sampled.

    Parameters
    ----------
    values, means : ndarray
        Different values in order, and the mean weight of the rows around each.
    """

    values: Array
    means: Array

    @classmethod
    def of(cls, cells: Cells) -> _Sampled:
        used = np.flatnonzero(cells.weights > 0.0)
        order = used[np.argsort(cells.x[used], kind="stable")]
        # The more the weights of neighbours differ, the more of them are averaged.
        logs = np.log(cells.weights[order])
        spread = float(logs.var())
        scatter = 0.5 * float(np.mean(np.diff(logs) ** 2)) / spread if spread > 0.0 else 0.0
        half = round(0.5 * math.sqrt(order.size * min(scatter, 1.0)))
        total = np.append(0.0, np.cumsum(cells.weights[order]))
        first = np.maximum(np.arange(order.size) - half, 0)
        last = np.minimum(np.arange(order.size) + half + 1, order.size)
        values, places = np.unique(cells.x[order], return_index=True)
        return cls(values, ((total[last] - total[first]) / (last - first))[places])

    def mean(self, x: Array) -> Array:
        """The mean weight of rows with these values."""
        return np.asarray(np.exp(np.interp(x, self.values, np.log(self.means))))

    def probability(self, x: Array) -> Array:
        """The probability, up to a factor, that such values were sampled."""
        least = max(float(self.means.min()), _LEAST_SAMPLED * float(self.means.max()))
        return np.asarray(np.minimum(least / self.mean(x), 1.0))


def _draw_seen(mixture: Mixture, window: Window, err: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Draw observed values in the pieces of a window, be they ever so far in the tail of the mixture.

    In each piece, its values are drawn as if all were detected with the larger of the probabilities at its ends, which
    is returned beside them.
    """
    total = np.hypot(mixture.sigmas, err[:, None])
    total = np.where(total > 0.0, total, np.finfo(np.float64).tiny)
    log_weights = np.log(np.maximum(mixture.weights, np.finfo(np.float64).tiny))
    # The second axis runs over the components of each piece, one piece after the other.
    sides: list[tuple[Any, ...]] = []
    for piece in window.pieces:
        low, high, most = (
            np.broadcast_to(np.asarray(part, dtype=np.float64)[..., None], total.shape)
            for part in (piece.low, piece.high, np.maximum(piece.at_low, piece.at_high))
        )
        ends = (low - mixture.means) / total, (high - mixture.means) / total
        # In the upper tail, probabilities are those of the reflected values, which keep their digits.
        upper = ends[0] > -ends[1]
        left, right = np.where(upper, -ends[1], ends[0]), np.where(upper, -ends[0], ends[1])
        below, inside = log_ndtr(left), log_ndtr(right)
        inside = inside + np.log1p(-np.exp(np.minimum(below - inside, -np.finfo(np.float64).eps)))
        with np.errstate(divide="ignore"):
            share = np.where(low < high, log_weights + inside + np.log(most), -np.inf)
        sides.append((share, upper, left, right, below, inside, low, high, most))
    shares, upper, left, right, below, inside, low, high, most = (
        np.concatenate(part, axis=1) for part in zip(*sides, strict=True)
    )
    cumulative = np.cumsum(np.exp(shares - shares.max(axis=1, keepdims=True)), axis=1)
    rows = np.arange(err.size)
    chosen = np.argmax(cumulative >= rng.random((err.size, 1)) * cumulative[:, -1:], axis=1)
    at = rows, chosen
    z = ndtri_exp(np.minimum(np.logaddexp(below[at], inside[at] + np.log1p(-rng.random(err.size))), 0.0))
    z = np.clip(z, left[at], right[at])
    j = chosen % mixture.n_components
    values = mixture.means[j] + total[rows, j] * np.where(upper[at], -z, z)
    return np.clip(values, low[at], high[at]), most[at]


def _draw_bins(mixture: Mixture, like: Cells, rng: np.random.Generator) -> Cells:
    """Draw the same total number of rows into these bins."""
    bounds = tuple(np.asarray(like.edges).T)
    components = zip(mixture.weights, mixture.families, mixture.means, mixture.sigmas, mixture.shapes, strict=True)
    shares = np.zeros(len(like))
    for weight, family, *own in components:
        shares += weight * np.exp(log_between(FAMILIES[family], bounds, like.err, *own))
    return replace(like, weights=rng.multinomial(round(like.n_data), shares / shares.sum()).astype(np.float64))


def _draw_rounded(mixture: Mixture, like: Cells, edges: Array, rng: np.random.Generator) -> Cells:
    """Draw rows and round them to the intervals of the data."""
    counted = like.weight_kind == "counts"
    rows = np.repeat(np.arange(len(like)), np.rint(like.weights).astype(np.intp) if counted else 1)
    priors = None if like.memberships is None else like.memberships[rows]
    values = mixture.sample(rows.size, rng, priors) + draw_noise(like.err[rows], rng)
    drawn = like[rows]
    # Each row has the step of that in the data.
    levels = _levels(edges)
    low, high = np.empty(rows.size), np.empty(rows.size)
    for level in range(int(levels.max()) + 1):
        own = levels[rows] == level
        low[own], high[own] = intervals_of(values[own], edges[levels == level])
    ends = np.stack([low, high], axis=1)
    return replace(drawn, x=0.5 * (low + high), edges=ends, weights=np.ones(rows.size) if counted else drawn.weights)


def _are_wide(edges: Array) -> NDArray[np.bool_]:
    """Which of some intervals contain the middle of a narrower one.

    >>> _are_wide(np.array([[0.5, 1.5], [1.05, 1.15], [1.5, 2.5]])).tolist()
    [True, False, False]
    """
    order = np.argsort(edges.sum(axis=1), kind="stable")
    low, high = edges[order].T
    middles, widths = 0.5 * (low + high), high - low
    # The narrowest whose middle is within each, and not at its very ends, to within rounding.
    begin, end = (np.searchsorted(middles, ends) for ends in (low + 1e-6 * widths, high - 1e-6 * widths))
    narrowest = np.minimum.reduceat(np.append(widths, np.inf), np.stack([begin, end], axis=1).ravel())[::2]
    wide = np.zeros(len(edges), dtype=bool)
    wide[order] = narrowest < _NARROWER * widths
    return wide


def _levels(edges: Array) -> NDArray[np.intp]:
    """Which step each of some intervals has, from the finest on, where rows are rounded to several.

    >>> _levels(np.array([[0.5, 1.5], [1.05, 1.15], [1.15, 1.25], [0.85, 1.35]])).tolist()
    [2, 0, 0, 1]
    """
    levels = np.zeros(len(edges), dtype=np.intp)
    while True:
        last = np.flatnonzero(levels == levels.max())
        wide = _are_wide(edges[last])
        if not wide.any() or wide.all():
            return levels
        levels[last[wide]] += 1


def intervals_of(values: Array, edges: Array) -> tuple[Array, Array]:
    """The ends of those of a set of intervals that contain the values.

    Gaps between the intervals are divided evenly into some of about the width of the narrower neighbour, and beyond all
    there are more that are as wide as the outermost.

    Examples
    --------
    >>> low, high = intervals_of(np.array([0.2, 2.7, -3.2]), np.array([[0.0, 1.0], [3.0, 4.0]]))
    >>> low.tolist(), high.tolist()
    ([0.0, 2.0, -4.0], [1.0, 3.0, -3.0])
    """
    low, high = np.unique(edges, axis=0).T
    k = np.clip(np.searchsorted(low, values, side="right") - 1, 0, low.size - 1)
    after = np.minimum(k + 1, low.size - 1)
    last = k == low.size - 1
    own, following = (high - low)[k], (high - low)[after]
    gap = np.where(last, np.inf, low[after] - high[k])
    parts = np.maximum(np.rint(gap / np.minimum(own, following)), 1.0)
    with np.errstate(invalid="ignore"):
        width = np.where(last, own, gap / parts)
    inside = (values >= low[k]) & (values < high[k])
    below = values < low[0]
    start = np.where(below, low[0], high[k])
    with np.errstate(invalid="ignore", divide="ignore"):
        size = np.where(below, (high - low)[0], width)
        begin = start + size * np.floor((values - start) / size)
    return np.where(inside, low[k], begin), np.where(inside, high[k], begin + size)
