"""Observed densities of a column as shares of bins: histograms, Bayesian blocks, kernel densities, groups of errors."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from mixpipe.base.arrays import Array

# Bins beyond this number are merged where they hold least; a smooth density needs fewer.
_MAX_BINS = 512
# Cells between which Bayesian blocks may change: their search takes the square of this.
_MAX_BLOCK_CELLS = 2000
# Chance of a change point too many in data without any (Scargle et al. 2013).
_FALSE_ALARM = 0.05
# Points in a bandwidth by which a kernel density sees the rows: their own spread is 0.1 % of the kernel's variance.
_KERNEL_POINTS = 8
# Groups of errors, two points for each: the expected shares are then exact to some 1e-5.
_N_GROUPS = 16


@dataclass(frozen=True, eq=False)
class Binned:
    """Observed shares of bins, in the units of the caller.

    Parameters
    ----------
    edges : ndarray, shape (n_bins - 1,)
        Inner edges; the first and the last bin reach to infinity.
    shares : ndarray, shape (n_bins,)
        Fraction of the rows in each bin.
    covariance : ndarray, shape (n_bins, n_bins)
        Covariance of the shares, times the number of rows.
    blur : float
        Variance of the kernel by which the data were smoothed.
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
    """Distinct values in ascending order, the rows of each, and the rows below each (one more, the last is all)."""

    x: Array
    counts: Array
    below: Array

    @classmethod
    def of(cls, x: Array, counts: Array) -> Sorted:
        """From values in any order and the rows of each."""
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
        """Middle of the values that have `share` of the rows below them; the same from either side."""
        rank = share * self.below[-1]
        first = np.searchsorted(self.below[1:], rank * (1.0 - 1e-12))
        last = np.searchsorted(self.below[1:], rank * (1.0 + 1e-12), side="right")
        return 0.5 * float(self.x[first] + self.x[min(last, self.x.size - 1)])

    def shares(self, edges: Array) -> Array:
        """Fraction of the rows between edges, and beyond the first and the last."""
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
        """Distance from a typical row to the next other value: the step of rounded values."""
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
    """Index of the first item of each group, groups holding about equal amounts."""
    total = float(amounts.sum())
    group = np.floor((np.cumsum(amounts) - amounts) * (n_groups / total))
    return np.flatnonzero(np.diff(group, prepend=-1.0))


def _regular_edges(data: Sorted, step: float, margin: int) -> Array:
    """Edges of bins of equal width where there are data, with `margin` bins around; one bin for each empty stretch."""
    anchor = data.quantile(0.5)
    index = np.floor((data.x - anchor) / step + 0.5)
    occupied = index[np.diff(index, prepend=-np.inf) > 0.0]
    kept = np.unique(occupied[:, None] + np.arange(-margin, margin + 1))
    edges = anchor + (np.unique(np.concatenate([kept, kept + 1.0])) - 0.5) * step
    return _adapted(data, edges)


def _adapted(data: Sorted, edges: Array) -> Array:
    """These edges, moved off rounded values, and not too many.

    An edge between neighbouring values lies half-way: a bin holds what was rounded to the values inside.
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
    """The shares of bins, and the covariance of multinomial counts."""
    shares = data.shares(edges)
    return Binned(edges, shares, np.diag(shares) - np.outer(shares, shares))


def histogram(data: Sorted, fallback: float) -> Binned:
    """Shares of bins of the width of Freedman & Diaconis (1981), but no narrower than the step of rounded values."""
    n_data = max(data.below[-1], 1.0)
    step = max(2.0 * data.spread() * n_data ** (-1.0 / 3.0), data.gap()) or fallback
    return _counted(data, _regular_edges(data, step, 1))


def kernel_density(data: Sorted, fallback: float) -> Binned:
    """The same for a Gaussian kernel with the bandwidth of Silverman (1986), which is also the step of the bins."""
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

    Within a block the density is constant, so that the rule gives as many bins as the cube root of its rows.
    """
    if data.x.size < 2:
        return histogram(data, fallback)
    ends = bayesian_blocks(data.x, data.counts)
    # The outermost values are inside.
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
    """Edges of the piecewise constant density that is most probable for these values.

    Scargle et al. (2013), events with the fitness of their equation 19 and the prior of equation 21, by their dynamic
    programme. More than 2000 values are first put into 2000 cells with about equal numbers of rows.

    Parameters
    ----------
    x : array_like, shape (n_values,)
        Two or more different values, ascending.
    counts : array_like, shape (n_values,)
        Rows at each.

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
    """Few error variances that stand for all: two for each group of similar errors.

    They keep mean and variance of the squared errors in the group, so that the averages of smooth functions are exact
    to third order in its width.

    Parameters
    ----------
    var, counts : ndarray, shape (n_data,)
        Squared errors and rows of each.
    softening : float
        Variance below which errors need not be told apart.
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
    # Half of the groups go by rows and half by size: neither the bulk nor the tails may be coarse.
    rank = (np.cumsum(rows) - 0.5 * rows) / rows.sum()
    group = np.floor(0.5 * (rank + position) * n_groups) if rows.size > n_groups else np.arange(rows.size)
    first = np.flatnonzero(np.diff(group, prepend=-1.0))
    sizes = np.diff(np.append(first, rows.size))
    total = np.add.reduceat(rows, first)
    centres = np.add.reduceat(rows * means, first) / total
    squares = np.add.reduceat(rows * (means - np.repeat(centres, sizes)) ** 2, first) / total
    # A skew group can have a spread above its mean; variances stay positive.
    spread = np.minimum(np.sqrt(squares), 0.9 * centres)
    wide = spread > 0.0
    nodes = np.concatenate([centres[~wide], (centres - spread)[wide], (centres + spread)[wide]])
    shares = np.concatenate([total[~wide], 0.5 * total[wide], 0.5 * total[wide]]) / total.sum()
    return nodes, shares
