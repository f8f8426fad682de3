"""The empirical process of a fitted mixture for many rows, which describes the deviations of data from a correct model.

At the true parameters, the distribution function F of the probability integral transform u of N rows is t plus a
Brownian bridge divided by sqrt(N). At fitted parameters, the part that the parameters have absorbed is missing: the
covariance is min(s, t) - s t - g(s) g(t) / I, where g are the derivatives of the distribution function by the
parameters, averaged over the rows at the same t, and I is the information of a row (Durbin 1973). If the sample has a
window, distribution function and information are those of the values that are seen.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from scipy.special import expit, logsumexp

from mixpipe.assess.catalogs import draw_catalog
from mixpipe.assess.quality import interval_transforms
from mixpipe.fitting.general.directions import allowed_directions
from mixpipe.fitting.general.likelihood import GeneralLikelihood, Point, places
from mixpipe.model.cells import Cells
from mixpipe.model.mixture import Mixture
from mixpipe.model.noise import Noise, raised
from mixpipe.model.results import Array, FitResult

# Rows are sorted by error into this many bins to a factor of two, with which the quantiles of the statistics are
# accurate to 0.3 %. Errors below a fraction of the largest are not distinguished.
_BINS = 4
_SMALLEST_ERROR = 1e-4
# Functions of a value are tabulated on a grid on which the logit of no component's distribution function changes by
# more than _LOGIT_STEP per step, out to _GRID_LOGIT. The search for this grid starts with values that are evenly spaced
# in arsinh of the distance from the mean.
_LOGIT_STEP, _GRID_LOGIT = 0.1, 14.0
_N_FIRST, _FARTHEST = 49, 12.0
_MAX_ROUNDS = 40
# Probabilities are evenly spaced in their logit, up to this; the part of the integral beyond it has a mean of 2e-5, in
# units of the whole.
_LARGEST_LOGIT = 11.5
_N_PROBABILITIES = 240
# Step of the finite differences, in the units of `GeneralLikelihood.units`.
_STEP = 2e-4
# Components with fewer rows than this count as empty, and their parameters as fixed.
_NO_ROWS = 1e-3
# Directions with less information than this (the largest is of order one) are omitted, since nothing is fitted along
# them.
_NO_INFORMATION = 1e-10
# Fraction of the fit between the bounds of a sample below which the sample counts as a far tail.
_SMALL_SHARE = 1e-3
# Largest number of rows that are simulated for the covariance.
_MOST_ROWS = 20_000


def limit_statistics(fit: FitResult, cells: Cells, n_draws: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Kolmogorov-Smirnov and Anderson-Darling statistics of a correct model with fitted parameters, for many rows.

    Sigmas on the boundary, shapes at their bounds and empty components are taken as fixed. With row weights, the
    scatter of the rows depends on the squared weights, and errors may be correlated with weights. If rows are limits or
    have windows of their own, if errors are not symmetric Gaussians, if the window has holes or probabilities of
    detection, or if the sample is the far tail of the fit, the covariance is that of 20,000 simulated rows.

    Parameters
    ----------
    fit : FitResult
        A fit.
    cells : Cells
        The rows that were fitted.
    n_draws : int
        Number of draws of each statistic.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    ks, ad : ndarray, shape (n_draws,)
        Statistics on the scale of `mixpipe.assess.quality.assess`.
    """
    point = Point.of(fit.mixture)
    columns = _free_columns(fit, point)
    logits = np.linspace(-_LARGEST_LOGIT, _LARGEST_LOGIT, _N_PROBABILITIES)
    t = expit(logits)
    if any(family.has_edge for family in point.families):
        floor = cells.resolution.floor
        errors = raised(cells.errors, floor)
        noise = errors if isinstance(errors, Noise) else None
        cells = replace(cells, err=np.where(cells.err > 0.0, cells.err, floor), noise=noise)
    simple = cells.noise is None and cells.limits is None and (cells.window is None or cells.window.is_interval)
    if not simple or share_inside(fit.mixture, cells) < _SMALL_SHARE:
        covariance, scatter = _of_simulated_rows(fit.mixture, point, columns, cells, t, rng)
    else:
        covariance, scatter = _of_error_bins(point, columns, cells, logits)
    return _statistics(covariance, scatter, logits[1] - logits[0], float(cells.weights.sum()), n_draws, rng)


def share_inside(mixture: Mixture, cells: Cells) -> float:
    """Fraction of the values of the mixture that are seen."""
    if cells.window is None:
        return 1.0
    return float(np.mean(cells.window.seen(mixture, cells.errors)))


def _of_error_bins(point: Point, columns: Array, cells: Cells, logits: Array) -> tuple[Array, Array]:
    """Covariance of the process at some probabilities, and its variance between them, from integrals over the values.

    One pass sorts the rows by error; the remaining cost does not depend on their number.
    """
    err, first, second = _error_bins(cells)
    window = (-math.inf, math.inf) if cells.window is None else cells.window.ends
    # Sums of g and I over the rows, with the weights, which determine the fit, and with their squares, which determine
    # the scatter.
    n_free = columns.shape[1]
    g1, g2 = np.zeros((2, logits.size, n_free))
    info1, info2 = np.zeros((2, n_free, n_free))
    for e, a, b in zip(err, first, second, strict=True):
        g, info = _derivatives(point, float(e), window, logits)
        g, info = g @ columns, columns.T @ info @ columns
        g1 += a * g
        g2 += b * g
        info1 += a * info
        info2 += b * info
    response = g1 @ _inverse(info1)
    t = expit(logits)
    scatter = second.sum()
    crossed = response @ g2.T
    covariance = scatter * (np.minimum(t[:, None], t) - t[:, None] * t) - crossed - crossed.T
    covariance += response @ info2 @ response.T
    return covariance, scatter * np.diff(t, prepend=0.0, append=1.0)


def _of_simulated_rows(
    mixture: Mixture, point: Point, columns: Array, cells: Cells, t: Array, rng: np.random.Generator
) -> tuple[Array, Array]:
    """The same from rows that are drawn from the mixture, which may be limits.

    The distribution function of a row that lies in an interval rises evenly between the transforms of its ends. What
    the parameters absorb is its regression on the scores of the rows.
    """
    sides = [cells.err] if cells.noise is None else list(cells.noise.arrays.values())
    order = np.lexsort((cells.weights, *sides, cells.x))
    some = cells[order[np.linspace(0, len(cells) - 1, min(len(cells), _MOST_ROWS)).astype(np.int64)]]
    drawn = draw_catalog(mixture, some, rng)
    scores = columns.T @ GeneralLikelihood(drawn).scores(point, slice(None))
    below, above = interval_transforms(mixture, drawn)
    risen = np.clip((t - below[:, None]) / (above - below)[:, None], 0.0, 1.0) - t
    absorbed = (scores * drawn.weights) @ scores.T
    rest = risen - scores.T @ (_inverse(absorbed) @ ((scores * drawn.weights) @ risen))
    squares = drawn.squared_weights * (cells.squared_weights.sum() / drawn.squared_weights.sum())
    steps = np.diff(rest, prepend=0.0, append=0.0, axis=1)
    return (rest.T * squares) @ rest, squares @ steps**2


def _error_bins(cells: Cells) -> tuple[Array, Array, Array]:
    """Typical errors, and for each the sums of the weights and of their squares over the rows with similar errors."""
    err, weights = cells.err, cells.weights
    squares = cells.squared_weights
    largest = float(err.max())
    if largest == 0.0:
        return np.zeros(1), weights.sum(keepdims=True), squares.sum(keepdims=True)
    label = np.floor(-_BINS * np.log2(np.maximum(err / largest, _SMALLEST_ERROR))).astype(np.int64)
    first, second, var = (np.bincount(label, part).astype(np.float64) for part in (weights, squares, weights * err**2))
    filled = first > 0.0
    return np.sqrt(var[filled] / first[filled]), first[filled], second[filled]


def _free_columns(fit: FitResult, point: Point) -> Array:
    """The matrix from the fitted variables to those of all components, shape (n_variables, n_free).

    The variables of a component are (ln w, mean, ln sigma, shape); a background has only ln w.
    """
    units = [np.ones(_n_variables(point, j)) for j in range(point.n_components)]
    starts = places(units)
    free = np.ones(sum(unit.size for unit in units), dtype=bool)
    for j, (family, start, unit) in enumerate(zip(point.families, starts, units, strict=True)):
        free[start : start + unit.size] = point.weights[j] * fit.n_data > _NO_ROWS
        if unit.size > 1:
            free[start + 2] &= not fit.boundary[j]
        if unit.size > 3:
            free[start + 3] &= point.shapes[j] not in family.shape_bounds
    if not point.weights_given.any():
        # The derivatives by ln w are those at a fixed sum of the weights, so that one of them follows from the others.
        rules = point.constraints
        heaviest = int(np.argmax(point.weights))
        shared = rules[heaviest].tie("weights")
        with_it = [j for j, rule in enumerate(rules) if shared is not None and rule.tie("weights") is not None]
        free[starts[[heaviest, *with_it]]] = False
    return allowed_directions(point, units, free)


def _n_variables(point: Point, index: int) -> int:
    return 1 if point.fixed[index] else 3 + (point.families[index].shape_name is not None)


def _derivatives(point: Point, err: float, window: tuple[float, float], logits: Array) -> tuple[Array, Array]:
    """Derivatives of the distribution function at given probabilities, and the information of a row with this error.

    Returns
    -------
    g : ndarray, shape (n_logits, n_variables)
    information : ndarray, shape (n_variables, n_variables)
    """
    # The bounds of the sample are the first and the last value.
    x = np.concatenate([[window[0]], _grid(point, err, window), [window[1]]])
    inner = GeneralLikelihood(Cells(x[1:-1], np.full(x.size - 2, err), np.ones(x.size - 2)))
    rows = slice(None)
    weights = point.weights
    below = np.stack([_share_below(point, j, x, err) for j in range(point.n_components)])
    above = np.stack([_share_below(point, j, x, err, above=True) for j in range(point.n_components)])
    cdf, sf = weights @ below, weights @ above
    log_parts = np.stack([inner.component(point, j, rows) for j in range(point.n_components)])
    log_parts += np.log(weights)[:, None]
    q = np.exp(log_parts - logsumexp(log_parts, axis=0))
    slopes, scores = [], []
    for j, unit in enumerate(inner.units(point)):
        slopes.append(weights[j] * (below[j] - cdf))
        scores.append(q[j] - weights[j])
        for axis in range(unit.size - 1):
            change = np.zeros(unit.size - 1)
            change[axis] = _STEP * unit[axis + 1]
            sides = [inner.moved(point, j, change), inner.moved(point, j, -change)]
            # The units depend on the error, but the derivatives must not.
            step = 2.0 * change.sum()
            shares = [_share_below(side, j, x, err) for side in sides]
            slopes.append(weights[j] * (shares[0] - shares[1]) / step)
            logs = [inner.component(side, j, rows) for side in sides]
            scores.append(q[j] * (logs[0] - logs[1]) / step)
    tiny = np.finfo(np.float64).tiny
    inside = max(cdf[-1] - cdf[0], tiny)
    u, rest = (cdf[1:-1] - cdf[0]) / inside, (sf[1:-1] - sf[-1]) / inside
    slope = np.stack(slopes)
    share = (slope[:, -1:] - slope[:, :1]) / inside
    slope = (slope[:, 1:-1] - slope[:, :1]) / inside - share * u
    score = np.stack(scores) - share
    at = np.log(np.maximum(u, tiny)) - np.log(np.maximum(rest, tiny))
    g = np.stack([np.interp(logits, at, row) for row in slope], axis=1)
    edges = np.concatenate([[0.0], 0.5 * (u[1:] + u[:-1]), [1.0]])
    return g, (score * np.diff(edges)) @ score.T


def _share_below(point: Point, index: int, x: Array, err: float, *, above: bool = False) -> Array:
    """Probability of an observed value below (or above) `x` in one component."""
    family = point.families[index]
    function = family.logsf if above else family.logcdf
    share = np.where((x > 0.0) != above, 1.0, 0.0)
    finite = np.isfinite(x)
    share[finite] = np.exp(function(x[finite], err, point.means[index], point.sigmas[index], point.shapes[index]))
    return share


def _grid(point: Point, err: float, window: tuple[float, float]) -> Array:
    """A grid of values between which no component's distribution function changes by much."""
    parts = []
    for family, mean, sigma, shape in zip(point.families, point.means, point.sigmas, point.shapes, strict=True):
        x = mean + math.hypot(sigma, err) * np.sinh(np.linspace(-_FARTHEST, _FARTHEST, _N_FIRST))
        for _ in range(_MAX_ROUNDS):
            logit = family.logcdf(x, err, mean, sigma, shape) - family.logsf(x, err, mean, sigma, shape)
            logit = np.clip(logit, -_GRID_LOGIT, _GRID_LOGIT)
            wide = np.flatnonzero(np.diff(logit) > _LOGIT_STEP)
            if not wide.size:
                break
            x = np.sort(np.concatenate([x, 0.5 * (x[wide] + x[wide + 1])]))
        inner = np.flatnonzero(np.abs(logit) < _GRID_LOGIT)
        parts.append(x[max(inner[0] - 1, 0) : inner[-1] + 2])
    x = np.unique(np.concatenate(parts))
    if window == (-math.inf, math.inf):
        return x
    # Near a bound, the probability of lying between it and a value is proportional to their distance.
    low, high = max(window[0], x[0]), min(window[1], x[-1])
    steps = expit(np.arange(-_GRID_LOGIT, _GRID_LOGIT, _LOGIT_STEP))
    return np.unique(np.concatenate([x[(x > low) & (x < high)], low + (high - low) * steps]))


def _inverse(information: Array) -> Array:
    """The inverse of the information, zero along directions without information."""
    units = np.sqrt(np.maximum(np.diag(information), np.finfo(np.float64).tiny))
    values, basis = np.linalg.eigh(information / np.outer(units, units))
    basis = basis[:, values > _NO_INFORMATION]
    inverse = (basis / values[values > _NO_INFORMATION]) @ basis.T
    return inverse / np.outer(units, units)


def _statistics(
    covariance: Array, variance: Array, step: float, n_data: float, n_draws: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Suprema and integrals of Gaussian processes with this covariance, and with this variance from point to point."""
    values, basis = np.linalg.eigh(covariance)
    factor = basis * np.sqrt(np.maximum(values, 0.0))
    process = rng.standard_normal((n_draws, len(covariance))) @ factor.T
    # dt / (t (1 - t)) is the differential of the logit.
    ad = np.sum(process**2, axis=1) * step / n_data
    process = np.pad(process, ((0, 0), (1, 1)))
    left, right = process[:, :-1], process[:, 1:]
    # Between two points the process is a Brownian bridge, whose maximum has a distribution in closed form (Doob).
    ks = np.zeros(n_draws)
    for sign in (-1.0, 1.0):
        excess = np.sqrt((right - left) ** 2 + 2.0 * variance * rng.standard_exponential(left.shape))
        ks = np.maximum(ks, np.max(0.5 * (sign * (left + right) + excess), axis=1))
    return ks / n_data, ad
