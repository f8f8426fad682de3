"""Moments of the true value behind a limit, within one component."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

from mixpipe.base.arrays import Array
from mixpipe.model.families.family import Family
from mixpipe.model.families.normal import tail_moments
from mixpipe.model.families.quadrature import CUTOFF, legendre

# Numbers of rows, and of rows times panels, that are computed at a time.
_ROWS, _PANELS = 1 << 11, 1 << 15
_NODES = 12
# Edges of the panels, in widths: around the mean, where some families have kinks, around the limit, and far out for
# tails.
_NEAR_MEAN = np.array([0.02, 0.1, 0.3, 0.6, 1.0, 1.3, math.sqrt(3.0), 3.0, 6.0])
_NEAR_LIMIT = 4.0 ** np.arange(-6, 2)
_FAR = 4.0 ** np.arange(2, 24)
_BETWEEN = np.linspace(0.0, 1.0, 17)
_NEAR_ZERO = 4.0 ** np.arange(-12, 1)


def behind_limit(
    family: Family, x: Array, err: Array, mean: float, sigma: float, shape: float, side: int
) -> tuple[Array, Array]:
    """Mean and variance of the true value where the observed one is below (-1) or above (1) `x`.

    Parameters
    ----------
    family : Family
        Family of the component.
    x, err : ndarray, shape (n_rows,)
        Limits and their one-sigma errors.
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
    if family.name == "gaussian":
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


def _by_panels(family: Family, x: Array, err: Array, parameters: tuple[float, float, float], side: int) -> Array:
    """Gauss-Legendre quadrature on panels near the mean and the limit and between them, where there is any density."""
    mean, sigma, _ = parameters
    total = np.hypot(sigma, err)[:, None]
    near = np.concatenate([-_NEAR_MEAN, [0.0], _NEAR_MEAN])
    limit = x[:, None]
    edges = [
        np.broadcast_to(mean + sigma * near, (x.size, near.size)),
        limit + total * np.concatenate([-_NEAR_LIMIT, [0.0], _NEAR_LIMIT]),
        limit + (mean - limit) * _BETWEEN,
        limit + side * total * _FAR,
        mean + total * np.concatenate([-_FAR, _FAR]),
    ]
    if family.positive:
        edges.append(np.broadcast_to(mean * _NEAR_ZERO, (x.size, _NEAR_ZERO.size)))
    grid = np.sort(np.concatenate(edges, axis=1), axis=1)
    if family.positive:
        grid = np.maximum(grid, 0.0)
    exact = err[:, None] == 0.0
    # Without an error the true value cannot lie beyond the limit.
    grid = np.where(exact, np.maximum(grid, limit) if side > 0 else np.minimum(grid, limit), grid)

    def log_density(z: Array, rows: NDArray[np.intp]) -> Array:
        log_allowed = np.zeros(z.shape)
        noisy = err[rows] > 0.0
        log_allowed[noisy] = log_ndtr(side * (z[noisy] - x[rows[noisy], None]) / err[rows[noisy], None])
        return family.logpdf(z, 0.0, *parameters) + log_allowed

    every = np.arange(x.size)
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
    sums = np.zeros((3, x.size))
    for first in range(0, rows.size, _PANELS):
        row, panel = rows[first : first + _PANELS], panels[first : first + _PANELS]
        start, width = low[row, panel], high[row, panel] - low[row, panel]
        z = start[:, None] + width[:, None] * nodes
        mass = width[:, None] * weights * np.exp(log_density(z, row) - top[row])
        offset = z - mean
        for k in range(3):
            sums[k] += np.bincount(row, (mass * offset**k).sum(axis=1), x.size)
    with np.errstate(divide="ignore", invalid="ignore"):
        centre = sums[1] / sums[0]
        return np.stack([mean + centre, np.maximum(sums[2] / sums[0] - centre**2, 0.0)])
