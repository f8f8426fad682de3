"""A mixture fitted to the density of a column: least squares between observed and expected shares of bins.

The observed shares are those of a histogram, of Bayesian blocks, or of a kernel density. The expected ones are
integrals over the same bins of the components convolved with the errors that the catalog has.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import nnls
from scipy.special import ndtr

from mixpipe.likelihood import Likelihood
from mixpipe.model import Array, Cells, FitResult, Mixture, Uncertainties

METHODS = ("histogram", "blocks", "kernel")

# A fit is converged when a further step promises less than this, in units of chi-square / 2, which are those of the
# log-likelihood; the descent goes on until it promises `_NEGLIGIBLE`.
_CONVERGED = 1e-3
_NEGLIGIBLE = 1e-8
_MAX_STEPS = 200
# Rows that are added to the expected number of a bin for its variance: limits what a row in an empty place can do.
_LEAST_ROWS = 0.03
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
# Starts that are tried for each fit with one component less, the steps of their race, and how many fits are kept.
_N_RACE = 10
_RACE_STEPS = 6
_N_KEPT = 3
# Fits with the variances that the fit before expects.
_N_REWEIGHTED = 4
# Means and widths at which a new component is looked for.
_N_MEANS = 64
_N_WIDTHS = 7
# A component that holds fewer rows than this is named in the warnings.
_FEW_ROWS = 3.0


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
class _Sorted:
    """Distinct values in ascending order, the rows of each, and the rows below each (one more, the last is all)."""

    x: Array
    counts: Array
    below: Array

    @classmethod
    def of(cls, x: Array, counts: Array) -> _Sorted:
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


def _regular_edges(data: _Sorted, step: float, margin: int) -> Array:
    """Edges of bins of equal width where there are data, with `margin` bins around; one bin for each empty stretch."""
    anchor = data.quantile(0.5)
    index = np.floor((data.x - anchor) / step + 0.5)
    occupied = index[np.diff(index, prepend=-np.inf) > 0.0]
    kept = np.unique(occupied[:, None] + np.arange(-margin, margin + 1))
    edges = anchor + (np.unique(np.concatenate([kept, kept + 1.0])) - 0.5) * step
    return _adapted(data, edges)


def _adapted(data: _Sorted, edges: Array) -> Array:
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


def histogram(data: _Sorted, fallback: float) -> Binned:
    """Shares of bins of the width of Freedman & Diaconis (1981), but no narrower than the step of rounded values."""
    n_data = max(data.below[-1], 1.0)
    step = max(2.0 * data.spread() * n_data ** (-1.0 / 3.0), data.gap()) or fallback
    edges = _regular_edges(data, step, 1)
    shares = data.shares(edges)
    return Binned(edges, shares, np.diag(shares) - np.outer(shares, shares))


def kernel_density(data: _Sorted, fallback: float) -> Binned:
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


def blocks(data: _Sorted, fallback: float) -> Binned:
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
    edges = _adapted(data, np.concatenate([*pieces, ends[-1:]]))
    shares = data.shares(edges)
    return Binned(edges, shares, np.diag(shares) - np.outer(shares, shares))


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


def bin_integrals(
    edges: Array, means: Array, variances: Array, group_var: Array, group_prob: Array
) -> tuple[Array, Array, Array]:
    """Share of each bin in each component, averaged over the errors, and its derivatives.

    Parameters
    ----------
    edges : ndarray, shape (n_bins - 1,)
        Inner edges; the outermost bins are infinite.
    means, variances : ndarray, shape (n_components,)
        Intrinsic parameters.
    group_var, group_prob : ndarray, shape (n_groups,)
        Error variances and their probabilities.

    Returns
    -------
    shares, d_mean, d_variance : ndarray, shape (n_bins, n_components)
    """
    total = variances[:, None] + group_var
    score = (edges[:, None, None] - means[:, None]) / np.sqrt(total)
    bell = np.exp(-0.5 * score * score)
    below = ndtr(score) @ group_prob
    slope = -np.einsum("kjg,jg->kj", bell, group_prob / np.sqrt(2.0 * np.pi * total))
    bend = -np.einsum("kjg,kjg,jg->kj", bell, score, group_prob / (np.sqrt(8.0 * np.pi) * total))
    return (
        np.diff(below, axis=0, prepend=0.0, append=1.0),
        np.diff(slope, axis=0, prepend=0.0, append=0.0),
        np.diff(bend, axis=0, prepend=0.0, append=0.0),
    )


@dataclass(frozen=True, eq=False)
class Projection:
    """The weighted least squares with the component weights eliminated.

    The variables are the means and then ``u = ln(s^2 + softening) / 2`` of each component: widths far below a bin or
    the errors do not matter, and zero is a finite value of u.

    Parameters
    ----------
    binned : Binned
        The observed shares.
    group_var, group_prob : ndarray, shape (n_groups,)
        Error variances and their probabilities.
    root_precision : ndarray, shape (n_bins,)
        Square roots of the weights of the residuals.
    softening : float
        See above.
    n_data : float
        Number of rows.
    """

    binned: Binned
    group_var: Array
    group_prob: Array
    root_precision: Array
    softening: float
    n_data: float

    def misfit(self, fit: _Solution) -> float:
        """Negative log-likelihood of the shares: what fits with different precisions are compared by."""
        rows = self.n_data * fit.expected + _LEAST_ROWS
        return -self.n_data * float(self.binned.shares @ np.log(rows))

    def reweighted(self, expected: Array) -> Projection:
        """With the precisions of these expected shares."""
        return replace(self, root_precision=np.sqrt(self.n_data / (expected + _LEAST_ROWS / self.n_data)))

    def variances(self, u: Array) -> Array:
        """s^2 of u."""
        return np.asarray(np.maximum(np.exp(2.0 * u) - self.softening, 0.0))

    def variables(self, means: Array, variances: Array) -> Array:
        """The variables of these components."""
        return np.concatenate([means, 0.5 * np.log(variances + self.softening)])

    def integrals(self, variables: Array) -> tuple[Array, Array, Array]:
        """`bin_integrals` of the components, convolved with errors and kernel; derivatives by mean and by u."""
        means, u = np.split(variables, 2)
        variances = self.variances(u)
        shares, d_mean, d_variance = bin_integrals(
            self.binned.edges, means, variances, self.group_var + self.binned.blur, self.group_prob
        )
        return shares, d_mean, d_variance * 2.0 * (variances + self.softening)

    def solve(self, variables: Array) -> _Solution:
        """The best weights for given means and widths, the residuals and their exact Jacobian.

        Weights sum to one, so that the residuals are a combination ``C w`` of those of single components, and
        ``|C w|^2 + (sum w - 1)^2`` over w >= 0 has its minimum at a multiple of the wanted w.
        """
        shares, d_mean, d_u = self.integrals(variables)
        scale = self.root_precision[:, None]
        columns = scale * (shares - self.binned.shares[:, None])
        weights = simplex_weights(columns)
        support = np.flatnonzero(weights)
        # Directions in which the weights can move: from each component to the heaviest.
        heaviest = int(np.argmax(weights[support]))
        basis = np.delete(np.eye(support.size), heaviest, axis=1)
        basis[heaviest] = -1.0
        q, r = np.linalg.qr(columns[:, support] @ basis)
        inverse = np.linalg.pinv(r, rcond=1e-12)
        # Polished: what the active set left, by rounding, along the free directions.
        trial = weights.copy()
        trial[support] -= basis @ (inverse @ (q.T @ (columns @ weights)))
        if trial.min() >= 0.0:
            weights = trial
        residuals = columns @ weights
        # Golub & Pereyra (1973): the weights move, too. Components without weight have no part in it.
        jacobian = np.zeros((residuals.size, variables.size))
        for row, j in enumerate(support):
            for index, derivative in ((j, d_mean[:, j]), (weights.size + j, d_u[:, j])):
                column = scale[:, 0] * derivative
                own = weights[j] * column
                jacobian[:, index] = own - q @ (q.T @ own + inverse.T @ basis[row] * (column @ residuals))
        return _Solution(variables, weights, shares @ weights, residuals, jacobian)


@dataclass(frozen=True, eq=False)
class _Solution:
    """Weights, residuals and Jacobian of a `Projection` at some means and widths."""

    variables: Array
    weights: Array
    expected: Array
    residuals: Array
    jacobian: Array

    @property
    def loss(self) -> float:
        """Half of the sum of squares."""
        return 0.5 * float(self.residuals @ self.residuals)


def simplex_weights(columns: Array) -> Array:
    """The w >= 0 with sum one for which ``|columns @ w|`` is smallest."""
    n_columns = columns.shape[1]
    if n_columns == 1:
        return np.ones(1)
    norms = np.sqrt((columns * columns).sum(axis=0))
    unit = float(norms.min())
    if unit == 0.0:
        return (np.arange(n_columns) == np.argmin(norms)).astype(np.float64)
    target = np.zeros(columns.shape[0] + 1)
    target[-1] = 1.0
    try:
        found, _ = nnls(np.vstack([columns / unit, np.ones(n_columns)]), target, maxiter=100 * n_columns)
    except RuntimeError:  # Columns that are equal but for rounding can send the active set round in circles.
        found = (np.arange(n_columns) == np.argmin(norms)).astype(np.float64)
    return np.asarray(found / found.sum())


def _descend(
    problem: Projection, start: _Solution, lower: Array, upper: Array, n_steps: int, enough: float
) -> tuple[_Solution, float]:
    """Levenberg-Marquardt steps within bounds; also half of what a further Gauss-Newton step promises."""
    here, damping, promised = start, 1e-3, np.inf
    for _ in range(n_steps):
        gradient = here.jacobian.T @ here.residuals
        held = ((here.variables <= lower) & (gradient > 0.0)) | ((here.variables >= upper) & (gradient < 0.0))
        normal = here.jacobian.T @ here.jacobian
        diagonal = np.diag(normal)
        free = np.flatnonzero(~held & (diagonal > 1e-14 * diagonal.max(initial=1e-300)))
        if not free.size:
            return here, 0.0
        inner, slope, unit = normal[np.ix_(free, free)], gradient[free], np.diag(diagonal[free])
        promised = 0.5 * float(slope @ np.linalg.solve(inner + 1e-9 * unit, slope))
        if promised < max(enough, 1e-13 * here.loss):
            break
        step = np.zeros(here.variables.size)
        step[free] = np.linalg.solve(inner + damping * unit, -slope)
        # A width that hardly matters wants to go far; it must not shorten the steps of the others.
        step[step.size // 2 :] = np.clip(step[step.size // 2 :], -1.0, 1.0)
        trial = problem.solve(np.clip(here.variables + step, lower, upper))
        if trial.loss < here.loss:
            moved = trial.variables - here.variables
            model = -(gradient @ moved + 0.5 * moved @ normal @ moved)
            damping *= 0.2 if here.loss - trial.loss > 0.5 * model else 1.0
            here = trial
        else:
            damping *= 8.0
            if damping > 1e12:
                break
    return here, promised


@dataclass(frozen=True, eq=False)
class _Search:
    """From one component to many, without random numbers."""

    problem: Projection
    lower_var: float
    centre: float
    variance: float

    def bounds(self, n_components: int) -> tuple[Array, Array]:
        edges = self.problem.binned.edges
        low, high = float(edges[0]), float(edges[-1])
        return tuple(
            self.problem.variables(np.full(n_components, mean), np.full(n_components, variance))
            for mean, variance in ((low, self.lower_var), (high, (high - low) ** 2 + self.lower_var))
        )  # type: ignore[return-value]

    def refine(self, starts: list[Array]) -> list[_Solution]:
        """The best different fits from these starts: all are looked at, some race, the leaders arrive."""
        lower, upper = self.bounds(starts[0].size // 2)
        looked = sorted((self.problem.solve(np.clip(s, lower, upper)) for s in starts), key=self.problem.misfit)
        raced = [_descend(self.problem, fit, lower, upper, _RACE_STEPS, _CONVERGED)[0] for fit in looked[:_N_RACE]]
        kept: list[_Solution] = []
        for fit in sorted(raced, key=self.problem.misfit):
            if len(kept) == _N_KEPT:
                break
            arrived = _descend(self.problem, fit, lower, upper, _MAX_STEPS, _CONVERGED)[0]
            if all(abs(arrived.loss - other.loss) > 0.1 for other in kept):
                kept.append(arrived)
        return sorted(kept, key=self.problem.misfit)

    def run(self, n_components: int) -> list[_Solution]:
        """The best fits with so many components."""
        means, variances = self.candidates()
        # One typical error is good enough for a start.
        seen = variances + self.problem.softening + self.problem.binned.blur
        shares = bin_integrals(self.problem.binned.edges, means, seen, np.zeros(1), np.ones(1))[0]
        kept = self.refine([self.problem.variables(np.array([self.centre]), np.array([self.variance]))])
        for _ in range(1, n_components):
            starts = []
            for fit in kept:
                starts += self.insertions(fit, shares, means, variances) + self.splits(fit)
            kept = self.refine(starts)
        return kept

    def candidates(self) -> tuple[Array, Array]:
        """Components to insert: widths in equal ratios, and means where the bins are."""
        edges = self.problem.binned.edges
        centres = 0.5 * (edges[1:] + edges[:-1])
        # By number of bins, not by distance: narrow bins are where the rows are.
        means = np.unique(centres[np.linspace(0, centres.size - 1, _N_MEANS).astype(int)])
        narrowest = max(self.problem.binned.width**2 / 12.0, self.lower_var)
        variances = np.geomspace(max(self.variance, narrowest), narrowest, _N_WIDTHS)
        return np.tile(means, _N_WIDTHS), np.repeat(variances, means.size)

    def insertions(self, fit: _Solution, shares: Array, means: Array, variances: Array) -> list[Array]:
        """The candidate of each width that improves the fit most, along the line towards it."""
        scale = self.problem.reweighted(fit.expected).root_precision
        residuals = scale * (fit.expected - self.problem.binned.shares)
        towards = scale[:, None] * (shares - fit.expected[:, None])
        slope = np.minimum(residuals @ towards, 0.0)
        gain = slope**2 / np.maximum((towards * towards).sum(axis=0), 1e-300)
        best = gain.reshape(_N_WIDTHS, -1).argmax(axis=1) + np.arange(_N_WIDTHS) * (gain.size // _N_WIDTHS)
        old_means, u = np.split(fit.variables, 2)
        old = self.problem.variances(u)
        return [
            self.problem.variables(np.append(old_means, means[index]), np.append(old, variances[index]))
            for index in best
        ]

    def splits(self, fit: _Solution) -> list[Array]:
        """Each component as two side by side, and as a narrow one within a wide one."""
        means, u = np.split(fit.variables, 2)
        old = self.problem.variances(u)
        starts = []
        for j in np.flatnonzero(fit.weights):
            half = math.sqrt(old[j] + self.problem.softening)
            for offset, shrunk, other in ((0.8 * half, 0.4, 0.4), (0.0, 0.3, 2.0)):
                centres, widths = np.append(means, means[j] + offset), np.append(old, other * old[j])
                centres[j] -= offset
                widths[j] *= shrunk
                starts.append(self.problem.variables(centres, widths))
        return starts


def fit_column_density(
    x: ArrayLike | Cells,
    err: ArrayLike | None = None,
    n_components: int = 1,
    *,
    weights: ArrayLike | None = None,
    method: str = "histogram",
) -> FitResult:
    """Gaussian mixture whose density, convolved with the errors, is closest to the observed one.

    The sum of squared differences between observed and expected shares of bins, each divided by its variance, is
    minimised over means, widths and weights. The variances are those that the fit before expects, with a small part of
    a row added, so that there is a limit to what a row in an empty place can do. Errors are taken to be independent of
    the true values.

    Parameters
    ----------
    x : array_like, shape (n_data,), or Cells
        Values.
    err : array_like, shape (n_data,), float or None
        One-sigma errors in the unit of `x`; a scalar means equal errors, None no errors.
    n_components : int
        Number of components, M.
    weights : array_like, shape (n_data,), or None
        Row weights.
    method : str
        The observed density: ``histogram`` with bins after Freedman & Diaconis, Bayesian ``blocks``, or a Gaussian
        ``kernel`` whose variance is added to the components'.

    Returns
    -------
    FitResult
        With the log-likelihood of this mixture for the rows themselves. Sigmas have a lower bound where bins are
        wider than the errors.

    Raises
    ------
    ValueError
        For values that are not finite, negative errors, no components or an unknown method.

    Examples
    --------
    >>> from scipy.special import ndtri
    >>> quantiles = ndtri((np.arange(5000) + 0.5) / 5000)  # of a standard normal
    >>> fit_column_density(np.concatenate([1.0 + quantiles, 9.0 + quantiles]), 0.6, n_components=2).mixture
    Mixture(weights=[0.5 0.5], means=[1. 9.], sigmas=[0.8 0.8])
    """
    if isinstance(x, Cells):
        if err is not None or weights is not None:
            raise ValueError("cells carry their own errors and weights: err and weights must be None")
        cells = x
    else:
        cells = Cells.from_rows(x, err, weights)
    if isinstance(n_components, bool) or n_components != int(n_components) or n_components < 1:
        raise ValueError(f"n_components must be a whole number >= 1, found {n_components!r}")
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}: expected one of {', '.join(METHODS)}")
    likelihood = Likelihood(cells)
    data = _Sorted.of(likelihood.x, likelihood.counts)
    exact_width = cells.resolution / likelihood.scale
    typical_err = math.sqrt(float(np.median(likelihood.var)))
    observe = {"histogram": histogram, "blocks": blocks, "kernel": kernel_density}[method]
    # The width of bins where all values are equal: any that the errors or the digits of the value resolve.
    binned = observe(data, typical_err or math.sqrt(12.0) * (exact_width or 1.0))
    # What bins do not resolve, most errors have to.
    smallest_var = float(np.quantile(likelihood.var, 0.1))
    floor_var = max(exact_width**2, binned.width**2 / 12.0 - smallest_var, 0.0)
    fit, problem, promised = _minimise(likelihood, binned, floor_var, int(n_components))
    return _result(likelihood, fit, problem, floor_var, promised)


def _minimise(
    likelihood: Likelihood, binned: Binned, floor_var: float, n_components: int
) -> tuple[_Solution, Projection, float]:
    """Search with variances from the smoothed shares, then each of the best fits again with its own."""
    n_data = likelihood.n_data
    softening = binned.width**2 / 12.0
    groups = error_groups(likelihood.var, likelihood.counts, softening)
    padded = np.pad(binned.shares, 1, mode="edge")
    smooth = 0.25 * (padded[:-2] + 2.0 * padded[1:-1] + padded[2:])
    typical_var = float(np.median(likelihood.var))
    softening += typical_var
    problem = Projection(binned, *groups, np.sqrt(n_data / (smooth + 1.0 / n_data)), softening, n_data)
    mean = float(likelihood.counts @ likelihood.x) / n_data
    spread = float(likelihood.counts @ (likelihood.x - mean) ** 2) / n_data
    variance = max(spread - typical_var, 0.1 * spread, floor_var)
    search = _Search(problem, floor_var, mean, variance)
    bounds = search.bounds(n_components)
    arrived = []
    for fit in search.run(n_components):
        for _ in range(_N_REWEIGHTED):
            problem = problem.reweighted(fit.expected)
            fit, promised = _descend(problem, problem.solve(fit.variables), *bounds, _MAX_STEPS, _NEGLIGIBLE)
        arrived.append((fit, problem, promised))
    return min(arrived, key=lambda found: problem.misfit(found[0]))


def _uncertainties(
    problem: Projection, fit: _Solution, sigmas: Array, boundary: NDArray[np.bool_], n_data: float
) -> tuple[Array, Array, Array]:
    """One-sigma uncertainties of weights, means and sigmas: the covariance of the shares carried to the parameters.

    ``A^-1 J' V S V J A^-1`` with ``A = J' V J``, S the covariance of the shares and V the weights of the fit.
    """
    size = fit.weights.size
    nothing = tuple(np.full((3, size), np.nan))
    shares, d_mean, d_u = problem.integrals(fit.variables)
    used = np.flatnonzero(fit.weights)
    wide = np.flatnonzero((fit.weights > 0.0) & ~boundary)
    basis = np.delete(np.eye(used.size), 0, axis=1)
    basis[0] = -1.0
    # d/ds = d/du s / (s^2 + softening)
    d_sigma = d_u[:, wide] * sigmas[wide] / (sigmas[wide] ** 2 + problem.softening)
    jacobian = np.hstack([shares[:, used] @ basis, d_mean[:, used] * fit.weights[used], d_sigma * fit.weights[wide]])
    scaled = problem.root_precision[:, None] * jacobian
    normal = scaled.T @ scaled
    unit = np.sqrt(np.diag(normal))
    if not np.all(unit > 0.0):
        return nothing  # type: ignore[return-value]
    curvature, vectors = np.linalg.eigh(normal / np.outer(unit, unit))
    if curvature[0] < 1e-10:
        return nothing  # type: ignore[return-value]
    inverse = (vectors / curvature) @ vectors.T / np.outer(unit, unit)
    influence = inverse @ (scaled * problem.root_precision[:, None]).T
    covariance = influence @ problem.binned.covariance @ influence.T / n_data
    variances = np.maximum(np.diag(covariance), 0.0)
    first, last = used.size - 1, 2 * used.size - 1
    unc = np.full((3, size), np.nan)
    weight_covariance = basis @ covariance[:first, :first] @ basis.T
    unc[0, used] = np.sqrt(np.maximum(np.diag(weight_covariance), 0.0))
    unc[1, used] = np.sqrt(variances[first:last])
    unc[2, wide] = np.sqrt(variances[last:])
    return unc[0], unc[1], unc[2]


def _result(
    likelihood: Likelihood, fit: _Solution, problem: Projection, floor_var: float, promised: float
) -> FitResult:
    """The fit in the units of the data, with its log-likelihood, uncertainties and warnings."""
    means, u = np.split(fit.variables, 2)
    variances = problem.variances(u)
    boundary = variances <= floor_var + 1e-9 * problem.softening
    variances = np.where(boundary, floor_var, variances)
    sigmas = np.sqrt(variances)
    mixture = Mixture(fit.weights, likelihood.centre + likelihood.scale * means, likelihood.scale * sigmas)
    order = np.lexsort((likelihood.scale * sigmas, likelihood.centre + likelihood.scale * means))
    size, n_data, n_params = fit.weights.size, likelihood.n_data, 3 * fit.weights.size - 1
    _, loglik, entropy = likelihood.logpdf(likelihood.scaled(mixture))
    unc = _uncertainties(problem, fit, sigmas, boundary, n_data)
    sigma_floor = math.sqrt(floor_var) * likelihood.scale
    warnings = []
    if promised >= _CONVERGED:
        warnings.append(f"not converged: chi-square / 2 would fall by {promised:.2g} (converged: {_CONVERGED:g})")
    if n_data < n_params:
        warnings.append(f"{n_params} parameters for {n_data:g} rows")
    n_bins = problem.binned.shares.size
    if n_bins - 1 < n_params:
        warnings.append(f"{n_params} parameters for {n_bins} bins: the fit is not determined")
    if sigma_floor > 0.0 and boundary.any():
        warnings.append(
            f"{int(boundary.sum())} of {size} sigmas at the floor of {sigma_floor:.4g}, "
            f"the smallest width that the bins resolve"
        )
    ordered = fit.weights[order]
    for text, flags in (
        ("no weight", ordered == 0.0),
        (f"fewer than {_FEW_ROWS:g} rows", (ordered > 0.0) & (ordered * n_data < _FEW_ROWS)),
    ):
        if flags.any():
            warnings.append(f"{text} in component {', '.join(str(j + 1) for j in np.flatnonzero(flags))}")
    return FitResult(
        mixture=mixture,
        estimator="density",
        loglik=loglik,
        entropy=entropy,
        n_data=n_data,
        n_params=n_params,
        converged=promised < _CONVERGED,
        n_passes=likelihood.n_passes,
        sigma_floor=sigma_floor,
        boundary=boundary[order],
        uncertainties=Uncertainties(unc[0][order], likelihood.scale * unc[1][order], likelihood.scale * unc[2][order]),
        warnings=tuple(warnings),
    )
