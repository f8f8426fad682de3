"""Exponential components that start at mean - sigma; convolved with errors, exponentially modified Gaussians."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import erfcx, log_ndtr

from mixpipe.base.arrays import Array
from mixpipe.model.families import gaussian
from mixpipe.model.families.family import Family, moments_of_rows, of_rows
from mixpipe.model.families.normal import LOG_SQRT_2PI, log1mexp, mills, tail_integral, tail_moments
from mixpipe.model.families.quadrature import legendre

# Mills' ratios at both ends of a short step nearly cancel, whereas a quadrature of the derivative with 16 nodes is
# exact to rounding up to this score; above it, one minus the probability above is accurate.
_SHORT, _SCORE, _NODES = 0.5, 6.0, 16


def log_tail(score: Array, rate: Array) -> Array:
    """Log of ``exp(rate^2 / 2 - rate score) Phi(score - rate)``, computed without cancellation."""
    u = rate - score
    near = -0.5 * score**2 + np.log(0.5 * erfcx(np.maximum(u, 0.0) / math.sqrt(2.0)))
    return np.where(u > 0.0, near, rate * (0.5 * rate - score) + log_ndtr(-u))


def _scaled(x: Array, err: Array, mean: float, sigma: float) -> tuple[Array, Array]:
    """Offset from the start of the exponential, and its rate, in units of the error."""
    return (x - mean + sigma) / err, err / sigma


def logpdf(x: Array, err: Array, mean: float, sigma: float, shape: float | None) -> Array:
    """Log density of observed values."""
    return log_tail(*_scaled(x, err, mean, sigma)) - math.log(sigma)


def slopes(x: ArrayLike, err: Any, mean: float, sigma: float, shape: float | None = None) -> Array:
    """Log density and its derivatives, as `Family.slopes`; errors must be neither zero nor far larger than sigma.

    With the tail T of the offset u from the start and the rate l = 1 / sigma, and with the density g of the error e at
    u, ``dT / du = g - l T`` and ``dT / dl = (l e^2 - u) T - e^2 g``. All is in units of sigma here.
    """
    score, rate = _scaled(np.asarray(x), np.asarray(err), mean, sigma)
    tail = log_tail(score, rate)
    ratio = np.exp(-0.5 * score**2 - LOG_SQRT_2PI - tail) / rate
    square, offset = rate**2, rate * score
    # Derivatives of ln T by the offset and by the rate, and the second ones.
    by_offset = ratio - 1.0
    by_rate = square - offset - square * ratio
    offset_2 = ratio * (1.0 - ratio - offset / square)
    mixed = -1.0 - ratio * by_rate
    rate_2 = square * (1.0 + ratio * by_rate)
    along = offset_2 - mixed
    return np.stack(
        [
            tail - math.log(sigma),
            -by_offset / sigma,
            by_offset - 1.0 - by_rate,
            offset_2 / sigma**2,
            -along / sigma,
            along + by_offset - mixed + rate_2 + by_rate,
        ]
    )


def plain_logpdf(x: Array, err: Array, mean: float, sigma: float, shape: float | None) -> Array:
    """Log density of true values."""
    offset = (x - mean + sigma) / sigma
    return np.where(offset >= 0.0, -offset - math.log(sigma), -np.inf)


def logsf(x: Array, err: Array, mean: float, sigma: float, shape: float | None) -> Array:
    """Log probability of an observed value above."""
    score, rate = _scaled(x, err, mean, sigma)
    return np.logaddexp(log_ndtr(-score), log_tail(score, rate))


def plain_logsf(x: Array, err: Array, mean: float, sigma: float, shape: float | None) -> Array:
    """Log probability of a true value above."""
    return -np.maximum((x - mean + sigma) / sigma, 0.0)


def logcdf(x: Array, err: Array, mean: float, sigma: float, shape: float | None) -> Array:
    """Log probability of an observed value below: phi(score) [R(-score) - R(rate - score)], where R is Mills' ratio."""
    score, rate = _scaled(x, err, mean, sigma)
    out = log1mexp(np.minimum(np.logaddexp(log_ndtr(-score), log_tail(score, rate)), 0.0))
    short = (rate < _SHORT * (1.0 + np.maximum(-score, 0.0))) & (score < _SCORE)
    lower = (score <= 0.0) & ~short
    u = -score[lower]
    out[lower] = -0.5 * u * u - LOG_SQRT_2PI + np.log(mills(u) - mills(u + rate[lower]))
    if short.any():
        nodes, weights = legendre(_NODES)
        steps = -score[short, None] + rate[short, None] * nodes
        mean_slope = np.log((tail_integral(1, steps) * weights).sum(axis=1))
        out[short] = -0.5 * score[short] ** 2 - LOG_SQRT_2PI + np.log(rate[short]) + mean_slope
    return out


def plain_logcdf(x: Array, err: Array, mean: float, sigma: float, shape: float | None) -> Array:
    """Log probability of a true value below."""
    return log1mexp(plain_logsf(x, err, mean, sigma, shape))


def posterior(x: Array, err: Array, mean: float, sigma: float, shape: float | None) -> tuple[Array, Array]:
    """Mean and variance of the true value, which is a normal variate truncated from below."""
    score, rate = _scaled(x, err, mean, sigma)
    excess, variance = tail_moments(rate - score)
    return mean - sigma + err * excess, err**2 * variance


def sample(n: int, mean: float, sigma: float, shape: float | None, rng: np.random.Generator) -> Array:
    """Draw true values."""
    return mean - sigma + sigma * rng.standard_exponential(n)


EXPONENTIAL = Family(
    name="exponential",
    shape_name=None,
    shape_bounds=(0.0, 0.0),
    shape_starts=(),
    positive=False,
    logpdf=of_rows(logpdf, plain_logpdf, gaussian.logpdf),
    logcdf=of_rows(logcdf, plain_logcdf, gaussian.logcdf),
    logsf=of_rows(logsf, plain_logsf, gaussian.logsf),
    posterior=moments_of_rows(posterior, gaussian.posterior),
    sample=sample,
    has_edge=True,
    slopes=slopes,
)
