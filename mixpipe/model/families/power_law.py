"""Power laws on a range: density ~ z^-shape between mean -+ sqrt(3) sigma, which say the range as for a uniform one."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.special import log_ndtr

from mixpipe.base.arrays import Array
from mixpipe.model.families import gaussian
from mixpipe.model.families.family import Family, moments_of_rows, of_rows
from mixpipe.model.families.normal import LOG_SQRT_2PI
from mixpipe.model.families.quadrature import CUTOFF, legendre

_SQRT_3 = math.sqrt(3.0)
_NODES = 10
# Edges of the panels: in errors around the observed value, in parts of the logarithm of the range, and in decay lengths
# from the end of the range that is nearest to a value outside.
_AROUND = np.array([0.0, 0.7, 1.5, 2.5, 4.0, 6.0, 9.0])
_PARTS = np.linspace(0.0, 1.0, 25)
_LAYER = np.array([0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0])
_ROWS = 1 << 10

# Log of a kernel of the true values and the rows: (z, x, err) -> array of the shape of z.
_Kernel = Callable[[Array, Array, Array], Array]


def range_of(mean: float, sigma: float) -> tuple[float, float]:
    """The ends of the range, the lower of which is positive."""
    half = _SQRT_3 * sigma
    return max(mean - half, 1e-12 * (mean + half)), mean + half


def range_parameters(low: float, high: float) -> tuple[float, float]:
    """The mean and sigma that stand for a range.

    >>> [round(number, 6) for number in range_of(*range_parameters(1.0, 100.0))]
    [1.0, 100.0]
    """
    return 0.5 * (low + high), 0.5 * (high - low) / _SQRT_3


def _log_norm(low: float, high: float, index: float) -> float:
    """Log of the integral of (z / low)^-index over the range."""
    log_range, power = math.log(high / low), 1.0 - index
    exponent = power * log_range
    integral = math.expm1(exponent) / power if abs(exponent) > 1e-9 else log_range * (1.0 + 0.5 * exponent)
    return math.log(low) + math.log(integral)


def plain_logpdf(x: Array, err: Array, mean: float, sigma: float, shape: float) -> Array:
    """Log density of true values."""
    low, high = range_of(mean, sigma)
    inside = (x >= low) & (x <= high)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_density = -shape * np.log(np.where(inside, x, low) / low) - _log_norm(low, high, shape)
    return np.where(inside, log_density, -np.inf)


def _panels(x: Array, err: Array, low: float, high: float) -> Array:
    """Edges of the panels of each row, shape (n_rows, n_edges), increasing."""
    around = np.concatenate([-_AROUND[:0:-1], _AROUND])
    beyond = np.maximum(np.maximum(low - x, x - high), 0.1 * err)
    layer = (err**2 / beyond)[:, None] * _LAYER
    parts = low * (high / low) ** _PARTS
    edges = [
        x[:, None] + err[:, None] * around,
        np.broadcast_to(parts, (x.size, parts.size)),
        low + layer,
        high - layer,
    ]
    return np.sort(np.clip(np.concatenate(edges, axis=1), low, high), axis=1)


def _integrals(
    x: Array, err: Array, mean: float, sigma: float, shape: float, log_kernel: _Kernel, n_moments: int = 0
) -> Array:
    """Log of the integral of density times kernel, and moments of the true value, shape (1 + n_moments, n_rows)."""
    low, high = range_of(mean, sigma)
    log_norm = _log_norm(low, high, shape)
    nodes, weights = legendre(_NODES)
    out = np.empty((1 + n_moments, x.size))
    for first in range(0, x.size, _ROWS):
        rows = slice(first, first + _ROWS)
        edges = _panels(x[rows], err[rows], low, high)
        widths = np.diff(edges, axis=1)
        z = (edges[:, :-1, None] + widths[:, :, None] * nodes).reshape(len(edges), -1)
        mass = (widths[:, :, None] * weights).reshape(len(edges), -1)
        with np.errstate(divide="ignore"):
            logs = np.log(mass) - shape * np.log(z / low) + log_kernel(z, x[rows, None], err[rows, None])
        peak = logs.max(axis=1, keepdims=True)
        share = np.exp(np.maximum(logs - peak, -CUTOFF - 700.0))
        total = share.sum(axis=1)
        out[0, rows] = peak[:, 0] + np.log(total) - log_norm
        if n_moments:
            centre = (share * z).sum(axis=1) / total
            out[1, rows] = centre
            out[2, rows] = (share * (z - centre[:, None]) ** 2).sum(axis=1) / total
    return out


def _log_normal(z: Array, x: Array, err: Array) -> Array:
    return -0.5 * ((x - z) / err) ** 2 - np.log(err) - LOG_SQRT_2PI


def logpdf(x: Array, err: Array, mean: float, sigma: float, shape: float) -> Array:
    """Log density of observed values."""
    return _integrals(x, err, mean, sigma, shape, _log_normal)[0]


def logcdf(x: Array, err: Array, mean: float, sigma: float, shape: float) -> Array:
    """Log probability of an observed value below."""
    return np.minimum(_integrals(x, err, mean, sigma, shape, lambda z, x, err: log_ndtr((x - z) / err))[0], 0.0)


def logsf(x: Array, err: Array, mean: float, sigma: float, shape: float) -> Array:
    """Log probability of an observed value above."""
    return np.minimum(_integrals(x, err, mean, sigma, shape, lambda z, x, err: log_ndtr((z - x) / err))[0], 0.0)


def plain_logcdf(x: Array, err: Array, mean: float, sigma: float, shape: float) -> Array:
    """Log probability of a true value below."""
    low, high = range_of(mean, sigma)
    norm = _log_norm(low, high, shape)
    inside = np.clip(x, low, high)
    logs = np.array([_log_norm(low, value, shape) if value > low else -math.inf for value in inside.ravel()])
    return np.minimum(logs.reshape(inside.shape) - norm, 0.0)


def plain_logsf(x: Array, err: Array, mean: float, sigma: float, shape: float) -> Array:
    """Log probability of a true value above."""
    low, high = range_of(mean, sigma)
    norm = _log_norm(low, high, shape)
    inside = np.clip(x, low, high)
    logs = np.array(
        [
            _log_norm(value, high, shape) - shape * math.log(value / low) if value < high else -math.inf
            for value in inside.ravel()
        ]
    )
    return np.minimum(logs.reshape(inside.shape) - norm, 0.0)


def posterior(x: Array, err: Array, mean: float, sigma: float, shape: float) -> tuple[Array, Array]:
    """Mean and variance of the true value."""
    _, centre, variance = _integrals(x, err, mean, sigma, shape, _log_normal, 2)
    return centre, variance


def sample(n: int, mean: float, sigma: float, shape: float | None, rng: np.random.Generator) -> Array:
    """Draw true values."""
    low, high = range_of(mean, sigma)
    log_range, share = math.log(high / low), rng.random(n)
    power = 1.0 - (0.0 if shape is None else shape)
    exponent = power * log_range
    if abs(exponent) < 1e-9:
        return low * np.exp(share * log_range)
    # The inverse of the distribution function, from the end where the density is higher.
    if exponent < 0.0:
        return low * np.exp(np.log1p(share * math.expm1(exponent)) / power)
    return high * np.exp(np.log1p(share * math.expm1(-exponent)) / power)


POWER_LAW = Family(
    name="power_law",
    shape_name="index",
    shape_bounds=(-20.0, 20.0),
    shape_starts=(2.0,),
    positive=False,
    logpdf=of_rows(logpdf, plain_logpdf, gaussian.logpdf),
    logcdf=of_rows(logcdf, plain_logcdf, gaussian.logcdf),
    logsf=of_rows(logsf, plain_logsf, gaussian.logsf),
    posterior=moments_of_rows(posterior, gaussian.posterior),
    sample=sample,
    by_quadrature=True,
)
