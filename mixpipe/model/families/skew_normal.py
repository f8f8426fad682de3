"""Skew-normal components (Azzalini 1985): closed under the convolution with a Gaussian."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import erfcx, log_ndtr

from mixpipe.base.arrays import Array
from mixpipe.model.families import gaussian
from mixpipe.model.families.family import Family, moments_of_rows, of_rows
from mixpipe.model.families.normal import LOG_SQRT_2PI, log1mexp, tail_moments
from mixpipe.model.families.quadrature import CUTOFF, legendre

# Exact to rounding for half a Gaussian out to exp(-CUTOFF).
_NODES = 32


def _location_scale(mean: float, sigma: float, shape: float) -> tuple[float, float]:
    delta = shape / math.hypot(1.0, shape)
    scale = sigma / math.sqrt(1.0 - 2.0 / math.pi * delta**2)
    return mean - scale * delta * math.sqrt(2.0 / math.pi), scale


def _scaled(x: Array, err: Array, mean: float, sigma: float, shape: float) -> tuple[Array, Array, Array]:
    """Score, scale and skewness parameter of the observed values; their location is that of the true ones."""
    location, scale = _location_scale(mean, sigma, shape)
    total = np.hypot(scale, err)
    return (x - location) / total, total, shape * scale / np.hypot(scale, err * math.hypot(1.0, shape))


def logpdf(x: Array, err: Array, mean: float, sigma: float, shape: float) -> Array:
    """Log density of observed values."""
    score, total, skew = _scaled(x, err, mean, sigma, shape)
    return math.log(2.0) - 0.5 * score**2 - np.log(total) - LOG_SQRT_2PI + log_ndtr(skew * score)


def _log_thin_tail(h: Array, skew: Array) -> Array:
    """Log probability below -h for h >= 0 and a skew >= 0: twice the integral of phi(s) Phi(-skew s) over s > h.

    The integrand falls faster than exp(-(1 + skew^2) (s^2 - h^2) / 2), which determines the window.
    """
    steep = 1.0 + skew**2
    width = 2.0 * CUTOFF / steep / (h + np.sqrt(h * h + 2.0 * CUTOFF / steep))
    nodes, weights = legendre(_NODES)
    away = width[:, None] * nodes
    values = erfcx(skew[:, None] * (h[:, None] + away) / math.sqrt(2.0))
    values *= np.exp(-0.5 * steep[:, None] * away * (2.0 * h[:, None] + away))
    return -0.5 * steep * h * h - LOG_SQRT_2PI + np.log(width * (values * weights).sum(axis=1))


def _log_below(score: Array, skew: Array) -> Array:
    """Log probability below, computed from the tail on the side of the score."""
    h = np.abs(score)
    log_tail = _log_thin_tail(h, np.abs(skew))
    # The heavy and the light tail add up to twice a normal tail, and the heavy one is at least half of that.
    both = math.log(2.0) + log_ndtr(-h)
    log_tail = np.where((skew >= 0.0) == (score < 0.0), log_tail, both + log1mexp(np.minimum(log_tail - both, 0.0)))
    return np.where(score < 0.0, log_tail, log1mexp(np.minimum(log_tail, 0.0)))


def logcdf(x: Array, err: Array, mean: float, sigma: float, shape: float) -> Array:
    """Log probability of an observed value below."""
    score, _, skew = _scaled(x, err, mean, sigma, shape)
    return _log_below(score, skew)


def logsf(x: Array, err: Array, mean: float, sigma: float, shape: float) -> Array:
    """Log probability of an observed value above."""
    score, _, skew = _scaled(x, err, mean, sigma, shape)
    return _log_below(-score, -skew)


def posterior(x: Array, err: Array, mean: float, sigma: float, shape: float) -> tuple[Array, Array]:
    """Mean and variance of the true value, whose density is a normal density times a normal distribution function."""
    location, scale = _location_scale(mean, sigma, shape)
    total = np.hypot(scale, err)
    width = scale * err / total
    score, _, skew = _scaled(x, err, mean, sigma, shape)
    excess, variance = tail_moments(-skew * score)
    # Correlation of the true value with the variable that is truncated.
    slope = shape * width / scale
    rho = slope / np.hypot(1.0, slope)
    centre = location + (scale / total) ** 2 * (x - location)
    return centre + width * rho * (excess - skew * score), width**2 * (
        (1.0 / np.hypot(1.0, slope)) ** 2 + rho**2 * variance
    )


def sample(n: int, mean: float, sigma: float, shape: float | None, rng: np.random.Generator) -> Array:
    """Draw true values."""
    alpha = 0.0 if shape is None else shape
    location, scale = _location_scale(mean, sigma, alpha)
    half, other = np.abs(rng.standard_normal(n)), rng.standard_normal(n)
    return location + scale * (alpha * half + other) / math.hypot(1.0, alpha)


SKEW_NORMAL = Family(
    name="skew_normal",
    shape_name="skewness parameter alpha",
    shape_bounds=(-50.0, 50.0),
    shape_starts=(-3.0, 3.0),
    positive=False,
    logpdf=of_rows(logpdf, logpdf, gaussian.logpdf),
    logcdf=of_rows(logcdf, logcdf, gaussian.logcdf),
    logsf=of_rows(logsf, logsf, gaussian.logsf),
    posterior=moments_of_rows(posterior, gaussian.posterior),
    sample=sample,
)
