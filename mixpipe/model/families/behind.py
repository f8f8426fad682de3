"""Quadrature over the true value within one component: behind a limit, or with errors that are not Gaussian."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

from mixpipe.base.arrays import Array
from mixpipe.model.families.family import Family
from mixpipe.model.families.normal import LOG_SQRT_2PI, tail_moments
from mixpipe.model.families.quadrature import CUTOFF, legendre
from mixpipe.model.noise import Noise, TwoSided

# Log of what the observation of each row says of true values of shape (n_rows, n_values).
LogObservation = Callable[[Array, NDArray[np.intp]], Array]

# Numbers of rows, and of rows times panels, that are computed at a time.
_ROWS, _PANELS = 1 << 11, 1 << 15
_NODES = 12
# Edges of the panels, in widths: around the mean, where some families have kinks, around the limit, and far out for
# tails.
_NEAR_MEAN = np.array([0.02, 0.1, 0.3, 0.6, 1.0, 1.3, math.sqrt(3.0), 3.0, 6.0])
_NEAR_LIMIT = 4.0 ** np.arange(-6, 2)
_FAR = 4.0 ** np.arange(2, 24)
_BETWEEN = np.linspace(0.0, 1.0, 17)
# Edges beside a value, in units of the error on that side.
_NEAR_VALUE = np.array([0.0, 0.1, 0.3, 0.7, 1.2, 2.0, 3.0, 4.5, 6.5, 9.0])
_NEAR_ZERO = 4.0 ** np.arange(-12, 1)


def behind_limit(
    family: Family, x: Array, err: Array | Noise, mean: float, sigma: float, shape: float, side: int
) -> tuple[Array, Array]:
    """Mean and variance of the true value where the observed one is below (-1) or above (1) `x`.

    Parameters
    ----------
    family : Family
        Family of the component.
    x : ndarray, shape (n_rows,)
        Limits.
    err : ndarray or Noise, shape (n_rows,)
        Their one-sigma errors.
    mean, sigma, shape : float
        Parameters of the component.
    side : int
        -1 for upper limits, 1 for lower limits.

    Examples
    --------
    The lower half of a normal distribution:

    >>> from mixpipe.model.families import FAMILIES
    >>> below, variance = behind_limit(FAMILIES["gaussian"], np.zeros(1), np.zeros(1), 0.0, 1.0, math.nan, -1)
    >>> round(float(below[0]), 6), round(float(variance[0]), 6)
    (-0.797885, 0.36338)
    """
    if sigma == 0.0:
        return np.full(x.shape, mean), np.zeros(x.shape)
    if family.name == "gaussian" and not isinstance(err, Noise):
        # The observed value is normal, truncated at the limit. The true value is a fraction of it plus an independent
        # rest.
        total = np.hypot(sigma, err)
        excess, variance = tail_moments(side * (x - mean) / total)
        centre = side * (x - mean) + total * excess
        part = (sigma / total) ** 2
        return mean + side * part * centre, part * err**2 + (part * total) ** 2 * variance
    blocks = [slice(start, start + _ROWS) for start in range(0, x.size, _ROWS)]
    found = [_by_panels(family, x[rows], err[rows], (mean, sigma, shape), side) for rows in blocks]
    centre, variance = np.concatenate(found, axis=1) if found else np.empty((2, 0))
    # A power-law tail this heavy has no second moment.
    if family.name == "student_t" and shape <= 2.0:
        variance = np.full(x.shape, np.inf)
    return centre, variance


def _by_panels(
    family: Family, x: Array, err: Array | Noise, parameters: tuple[float, float, float], side: int
) -> Array:
    """Mean and variance of the true values beyond limits, from panels near the mean and the limit and between them."""
    mean, sigma, _ = parameters
    typical = err.typical if isinstance(err, Noise) else err
    total = np.hypot(sigma, typical)[:, None]
    limit = x[:, None]
    edges = [
        _near_mean(mean, sigma, x.size),
        limit + total * np.concatenate([-_NEAR_LIMIT, [0.0], _NEAR_LIMIT]),
        limit + (mean - limit) * _BETWEEN,
        limit + side * total * _FAR,
        mean + total * np.concatenate([-_FAR, _FAR]),
    ]
    if isinstance(err, TwoSided):
        edges += [limit - err.lower[:, None] * _NEAR_VALUE, limit + err.upper[:, None] * _NEAR_VALUE]
    grid = _sorted_edges(family, edges, mean)
    exact = typical[:, None] == 0.0
    # Without an error the true value cannot lie beyond the limit.
    grid = np.where(exact, np.maximum(grid, limit) if side > 0 else np.minimum(grid, limit), grid)

    def log_allowed(z: Array, rows: NDArray[np.intp]) -> Array:
        allowed = np.zeros(z.shape)
        noisy = typical[rows] > 0.0
        if isinstance(err, Noise):
            allowed[noisy] = err[rows[noisy], None].log_beyond(side, z[noisy], x[rows[noisy], None])
        else:
            allowed[noisy] = log_ndtr(side * (z[noisy] - x[rows[noisy], None]) / err[rows[noisy], None])
        return allowed

    return _integrals(family, grid, parameters, log_allowed, total)[1]


def with_two_sides(
    family: Family, x: Array, noise: TwoSided, mean: float, sigma: float, shape: float, beyond: int = 0
) -> tuple[Array, Array]:
    """Log density of values with errors of two sides, and mean and variance of the true values, by quadrature.

    Parameters
    ----------
    family, mean, sigma, shape
        The component; `sigma` > 0.
    x : ndarray, shape (n_rows,)
        Observed values.
    noise : TwoSided
        Their errors, of which one side at least is > 0.
    beyond : int
        -1 or 1 for the log probability of an observed value below or above x in place of the density.

    Returns
    -------
    log_density : ndarray, shape (n_rows,)
    moments : ndarray, shape (2, n_rows)
    """
    parameters = mean, sigma, shape
    blocks = [slice(start, start + _ROWS) for start in range(0, x.size, _ROWS)]
    found = [_with_two_sides(family, x[rows], noise[rows], parameters, beyond) for rows in blocks]
    logs, moments = zip(*found, strict=True) if found else ([np.empty(0)], [np.empty((2, 0))])
    return np.concatenate(logs), np.concatenate(moments, axis=1)


def _with_two_sides(
    family: Family, x: Array, noise: TwoSided, parameters: tuple[float, float, float], beyond: int
) -> tuple[Array, Array]:
    mean, sigma, _ = parameters
    value, lower, upper = x[:, None], noise.lower[:, None], noise.upper[:, None]
    total = np.hypot(sigma, noise.typical)[:, None]
    edges = [
        _near_mean(mean, sigma, x.size),
        value - lower * _NEAR_VALUE,
        value + upper * _NEAR_VALUE,
        value + (mean - value) * _BETWEEN,
        mean + total * np.concatenate([-_FAR, _FAR]),
        np.broadcast_to(mean + sigma * np.concatenate([-_FAR, _FAR]), (x.size, 2 * _FAR.size)),
    ]
    grid = _sorted_edges(family, edges, mean)
    norm = math.log(2.0) - LOG_SQRT_2PI - np.log(lower + upper)

    def log_seen(z: Array, rows: NDArray[np.intp]) -> Array:
        if beyond:
            return noise[rows, None].log_beyond(beyond, z, value[rows])
        away = z - value[rows]
        side = np.where(away > 0.0, upper[rows], lower[rows])
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return norm[rows] - 0.5 * np.where(away == 0.0, 0.0, away / side) ** 2

    return _integrals(family, grid, parameters, log_seen, total)


def _near_mean(mean: float, sigma: float, n_rows: int) -> Array:
    near = mean + sigma * np.concatenate([-_NEAR_MEAN, [0.0], _NEAR_MEAN])
    return np.broadcast_to(near, (n_rows, near.size))


def _sorted_edges(family: Family, edges: list[Array], mean: float) -> Array:
    """The edges of the panels of each row in order, none of them where the family has no values."""
    if family.positive:
        edges = [*edges, np.broadcast_to(mean * _NEAR_ZERO, (len(edges[0]), _NEAR_ZERO.size))]
    grid = np.sort(np.concatenate(edges, axis=1), axis=1)
    return np.maximum(grid, 0.0) if family.positive else grid


def _integrals(
    family: Family, grid: Array, parameters: tuple[float, float, float], log_seen: LogObservation, total: Array
) -> tuple[Array, Array]:
    """Log of the integral of the density times what was observed, and mean and variance of the true value.

    Gauss-Legendre quadrature on the panels in which there is any density.
    """
    mean = parameters[0]
    n_rows = len(grid)

    def log_density(z: Array, rows: NDArray[np.intp]) -> Array:
        return family.logpdf(z, 0.0, *parameters) + log_seen(z, rows)

    every = np.arange(n_rows)
    low, high = grid[:, :-1], grid[:, 1:]
    with np.errstate(divide="ignore"):
        inside = log_density(0.5 * (low + high), every) + np.log(high - low)
        ends = log_density(grid, every)
    heights = np.maximum(inside, np.maximum(ends[:, :-1], ends[:, 1:]) + np.log(np.maximum(high - low, 1e-300)))
    top = heights.max(axis=1, keepdims=True)
    # Tails are kept as far as they contribute to the second moment.
    reach = np.maximum(np.abs(low - mean), np.abs(high - mean)) / total
    kept = (high > low) & (heights > top - CUTOFF - 2.0 * np.log1p(reach))
    rows, panels = np.nonzero(kept)
    nodes, weights = legendre(_NODES)
    sums = np.zeros((3, n_rows))
    # All panels of a row are summed together.
    after = np.searchsorted(rows, every, side="right")
    first = 0
    while first < rows.size:
        last = int(max(after[rows[first]], after[np.searchsorted(after, first + _PANELS, side="right") - 1]))
        row, panel = rows[first:last], panels[first:last]
        first = last
        start, width = low[row, panel], high[row, panel] - low[row, panel]
        z = start[:, None] + width[:, None] * nodes
        mass = width[:, None] * weights * np.exp(log_density(z, row) - top[row])
        offset = z - mean
        for k in range(3):
            sums[k] += np.bincount(row, (mass * offset**k).sum(axis=1), n_rows)
    with np.errstate(divide="ignore", invalid="ignore"):
        centre = sums[1] / sums[0]
        moments = np.stack([mean + centre, np.maximum(sums[2] / sums[0] - centre**2, 0.0)])
        return np.log(sums[0]) + top[:, 0], moments
