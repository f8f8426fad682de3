"""Observed densities as shares of bins: histograms, Bayesian blocks and kernel densities; and groups of errors."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from mixpipe.base.arrays import Array

# If there are more bins than this, those with the fewest rows are merged; a smooth density needs fewer.
_MAX_BINS = 512
# Largest number of cells whose boundaries may become edges of Bayesian blocks; the cost of the search is its square.
_MAX_BLOCK_CELLS = 2000
# Probability of a spurious change point in data without any (Scargle et al. 2013).
_FALSE_ALARM = 0.05
# Points per bandwidth to which a kernel density assigns the rows; their spacing adds 0.1 % to the kernel's variance.
_KERNEL_POINTS = 8
# Number of groups of errors, each represented by two points, with which the expected shares are accurate to about 1e-5.
_N_GROUPS = 16


@dataclass(frozen=True, eq=False)
class Binned:
    """Observed shares of bins, in the units of the caller.

    Parameters
    ----------
    edges : ndarray, shape (n_bins - 1,)
        Inner edges; the first and the last bin extend to infinity.
    shares : ndarray, shape (n_bins,)
        Fraction of the rows in each bin.
    covariance : ndarray, shape (n_bins, n_bins)
        Covariance of the shares, times the number of rows.
    blur : float
        Variance of the kernel with which the data were smoothed.
    """

    edges: Array
    shares: Array
    covariance: Array
    blur: float = 0.0

    @property
    def width(self) -> float:
        """Width of the narrowest bin."""
        return float(np.diff(self.edges).min())


@dataclass(frozen=True, eq=False)
class Sorted:
    """Distinct values in ascending order, the rows of each, and the rows below each, with the total appended."""

    x: Array
    counts: Array
    below: Array

    @classmethod
    def of(cls, x: Array, counts: Array) -> Sorted:
        """Sort values in any order, with the rows of each."""
        if np.all(counts == counts[0]):
            ordered = np.sort(x)
            below = np.concatenate([[0.0], np.cumsum(np.full(x.size, counts[0]))])
        else:
            order = np.argsort(x, kind="stable")
            ordered = x[order]
            below = np.concatenate([[0.0], np.cumsum(counts[order])])
        new = np.concatenate([[True], np.diff(ordered) > 0.0, [True]])
        below = below[new]
        return cls(ordered[new[:-1]], np.diff(below), below)

    def quantile(self, share: float) -> float:
        """Middle of the values that have `share` of the rows below them; the same if the axis is reversed."""
        rank = share * self.below[-1]
        first = np.searchsorted(self.below[1:], rank * (1.0 - 1e-12))
        last = np.searchsorted(self.below[1:], rank * (1.0 + 1e-12), side="right")
        return 0.5 * float(self.x[first] + self.x[min(last, self.x.size - 1)])

    def shares(self, edges: Array) -> Array:
        """Fraction of the rows between successive edges, and beyond the first and the last."""
        below = self.below[np.searchsorted(self.x, edges)]
        return np.diff(below, prepend=0.0, append=self.below[-1]) / self.below[-1]

    def spread(self) -> float:
        """Interquartile range of one group of values; 0 if there is only one value.

        Separate groups widen the interquartile range of the whole, but not the shortest interval with a quarter of the
        rows, which for a normal density is shorter by a factor of 2.117.
        """
        quarter = 0.25 * self.below[-1]
        last = np.searchsorted(self.below, self.below[:-1] + quarter * (1.0 - 1e-12)) - 1
        inside = last < self.x.size
        shortest = float((self.x[last[inside]] - self.x[inside]).min())
        ranges = (self.quantile(0.75) - self.quantile(0.25), 2.117 * shortest)
        positive = [width for width in ranges if width > 0.0]
        if positive:
            return min(positive)
        mean = float(self.counts @ self.x) / self.below[-1]
        return 1.349 * math.sqrt(float(self.counts @ (self.x - mean) ** 2) / self.below[-1])

    def gap(self) -> float:
        """Distance from a typical row to the next distinct value, which is the step of rounded values."""
        if self.x.size < 2:
            return 0.0
        gaps = np.diff(self.x)
        wider = np.maximum(np.concatenate([gaps[:1], gaps]), np.concatenate([gaps, gaps[-1:]]))
        if np.all(self.counts == self.counts[0]):
            return float(np.median(wider))
        order = np.argsort(wider, kind="stable")
        middle = np.searchsorted(np.cumsum(self.counts[order]), 0.5 * self.below[-1])
        return float(wider[order[min(middle, order.size - 1)]])


def _first_of_groups(amounts: Array, n_groups: int) -> NDArray[np.intp]:
    """Index of the first item of each group, such that groups contain about equal amounts."""
    total = float(amounts.sum())
    group = np.floor((np.cumsum(amounts) - amounts) * (n_groups / total))
    return np.flatnonzero(np.diff(group, prepend=-1.0))


def _regular_edges(data: Sorted, step: float, margin: int) -> Array:
    """Edges of equal bins where there are data, with `margin` bins around them; each empty stretch is one bin."""
    anchor = data.quantile(0.5)
    index = np.floor((data.x - anchor) / step + 0.5)
    occupied = index[np.diff(index, prepend=-np.inf) > 0.0]
    kept = np.unique(occupied[:, None] + np.arange(-margin, margin + 1))
    edges = anchor + (np.unique(np.concatenate([kept, kept + 1.0])) - 0.5) * step
    return _adapted(data, edges)


def _adapted(data: Sorted, edges: Array) -> Array:
    """The edges, moved away from rounded values and reduced in number if there are too many.

    An edge between neighbouring values is moved half-way between them, so that a bin contains what was rounded to the
    values inside.
    """
    widths = np.diff(edges)
    narrower = np.minimum(np.append(widths, widths[-1]), np.insert(widths, 0, widths[0]))
    right = np.searchsorted(data.x, edges)
    between = np.flatnonzero((right > 0) & (right < data.x.size))
    low, high = data.x[right[between] - 1], data.x[right[between]]
    near = high - low <= 1.5 * narrower[between]
    moved = edges.copy()
    moved[between[near]] = 0.5 * (low + high)[near]
    moved = np.unique(moved)
    if moved.size > _MAX_BINS:
        inner = data.shares(moved)[1:-1]
        moved = np.concatenate([moved[_first_of_groups(inner, _MAX_BINS)], moved[-1:]])
    return moved


def _counted(data: Sorted, edges: Array) -> Binned:
    """The shares of bins, with the covariance of multinomial counts."""
    shares = data.shares(edges)
    return Binned(edges, shares, np.diag(shares) - np.outer(shares, shares))


def histogram(data: Sorted, fallback: float) -> Binned:
    """Shares of bins of the width of Freedman & Diaconis (1981), but no narrower than the step of rounded values."""
    n_data = max(data.below[-1], 1.0)
    step = max(2.0 * data.spread() * n_data ** (-1.0 / 3.0), data.gap()) or fallback
    return _counted(data, _regular_edges(data, step, 1))


def kernel_density(data: Sorted, fallback: float) -> Binned:
    """Shares of bins of a kernel density with the bandwidth of Silverman (1986), which is also the bin width."""
    n_data = max(data.below[-1], 1.0)
    bandwidth = max(0.9 * data.spread() / 1.349 * n_data ** (-1.0 / 5.0), data.gap()) or fallback
    edges = _regular_edges(data, bandwidth, 4)
    fine = np.floor((data.x - data.x[0]) * (_KERNEL_POINTS / bandwidth))
    first = np.flatnonzero(np.diff(fine, prepend=-1.0))
    counts = np.add.reduceat(data.counts, first)
    if first.size > _KERNEL_POINTS * _MAX_BINS:
        first = first[_first_of_groups(counts, _KERNEL_POINTS * _MAX_BINS)]
        counts = np.add.reduceat(data.counts, first)
    points = np.add.reduceat(data.counts * data.x, first) / counts
    probability = counts / data.below[-1]
    smooth = np.diff(ndtr((edges[:, None] - points) / bandwidth), axis=0, prepend=0.0, append=1.0)
    shares = smooth @ probability
    return Binned(edges, shares, (smooth * probability) @ smooth.T - np.outer(shares, shares), bandwidth**2)


def blocks(data: Sorted, fallback: float) -> Binned:
    """Shares of the blocks of `bayesian_blocks`, each divided by the rule of Freedman & Diaconis.

    Within a block the density is constant, so that the number of bins given by the rule is the cube root of its rows.
    """
    if data.x.size < 2:
        return histogram(data, fallback)
    ends = bayesian_blocks(data.x, data.counts)
    # The outermost values lie inside the bins.
    ends[0] -= 0.5 * (data.x[1] - data.x[0])
    ends[-1] += 0.5 * (data.x[-1] - data.x[-2])
    widths, rows = np.diff(ends), data.shares(ends)[1:-1] * data.below[-1]
    parts = np.maximum(np.floor(np.minimum(np.cbrt(rows), widths / data.gap())), 1.0).astype(int)
    pieces = [low + width * np.arange(n) / n for low, width, n in zip(ends, widths, parts, strict=False)]
    return _counted(data, _adapted(data, np.concatenate([*pieces, ends[-1:]])))


METHODS: dict[str, Callable[[Sorted, float], Binned]] = {
    "histogram": histogram,
    "blocks": blocks,
    "kernel": kernel_density,
}


def bayesian_blocks(x: ArrayLike, counts: ArrayLike) -> Array:
    """Edges of the most probable piecewise constant density of these values.

    The edges are found by the dynamic programme of Scargle et al. (2013) for events, with the fitness of their equation
    19 and the prior of equation 21. More than 2000 values are first grouped into 2000 cells with about equal numbers of
    rows.

    Parameters
    ----------
    x : array_like, shape (n_values,)
        Two or more distinct values in ascending order.
    counts : array_like, shape (n_values,)
        Number of rows at each value.

    Returns
    -------
    ndarray, shape (n_blocks + 1,)

    Examples
    --------
    >>> bayesian_blocks(np.concatenate([np.arange(0, 100, 10.0), np.arange(100, 110, 0.1)]), np.ones(110))
    array([  0.  , 100.05, 109.9 ])
    """
    values, rows = np.asarray(x, dtype=np.float64), np.asarray(counts, dtype=np.float64)
    edges = np.concatenate([values[:1], 0.5 * (values[1:] + values[:-1]), values[-1:]])
    if rows.size > _MAX_BLOCK_CELLS:
        first = _first_of_groups(rows, _MAX_BLOCK_CELLS)
        edges, rows = np.concatenate([edges[first], edges[-1:]]), np.add.reduceat(rows, first)
    below = np.concatenate([[0.0], np.cumsum(rows)])
    price = 4.0 - math.log(73.53 * _FALSE_ALARM * max(below[-1], 1.0) ** -0.478)
    best = np.zeros(rows.size + 1)
    start = np.zeros(rows.size + 1, dtype=np.intp)
    for end in range(1, rows.size + 1):
        inside = below[end] - below[:end]
        total = best[:end] + inside * np.log(inside / (edges[end] - edges[:end])) - price
        start[end] = np.argmax(total)
        best[end] = total[start[end]]
    chosen = [rows.size]
    while chosen[-1] > 0:
        chosen.append(int(start[chosen[-1]]))
    return np.asarray(edges[chosen[::-1]])


def error_groups(var: Array, counts: Array, softening: float, n_groups: int = _N_GROUPS) -> tuple[Array, Array]:
    """A few error variances that represent all: two for each group of similar errors.

    They preserve the mean and variance of the squared errors in the group, so that the averages of smooth functions are
    exact to third order in its width.

    Parameters
    ----------
    var, counts : ndarray, shape (n_data,)
        Squared errors, and the number of rows with each.
    softening : float
        Variance below which errors need not be distinguished.
    n_groups : int
        Largest number of groups.

    Returns
    -------
    variances, probabilities : ndarray
    """
    level = np.log(var + softening)
    low, high = float(level.min()), float(level.max())
    if low == high:
        return var[:1], np.ones(1)
    n_fine = 64 * n_groups
    fine = np.minimum((level - low) * (n_fine / (high - low)), n_fine - 1.0).astype(np.intp)
    rows = np.bincount(fine, counts, n_fine)
    used = rows > 0.0
    rows, position = rows[used], np.flatnonzero(used) / n_fine
    means = np.bincount(fine, counts * var, n_fine)[used] / rows
    # Half of the groups divide the rows and half divide the sizes of the errors, so that both the bulk and the tails
    # are resolved.
    rank = (np.cumsum(rows) - 0.5 * rows) / rows.sum()
    group = np.floor(0.5 * (rank + position) * n_groups) if rows.size > n_groups else np.arange(rows.size)
    first = np.flatnonzero(np.diff(group, prepend=-1.0))
    sizes = np.diff(np.append(first, rows.size))
    total = np.add.reduceat(rows, first)
    centres = np.add.reduceat(rows * means, first) / total
    squares = np.add.reduceat(rows * (means - np.repeat(centres, sizes)) ** 2, first) / total
    # A skewed group can have a spread larger than its mean, but variances must stay positive.
    spread = np.minimum(np.sqrt(squares), 0.9 * centres)
    wide = spread > 0.0
    nodes = np.concatenate([centres[~wide], (centres - spread)[wide], (centres + spread)[wide]])
    shares = np.concatenate([total[~wide], 0.5 * total[wide], 0.5 * total[wide]]) / total.sum()
    return nodes, shares
