"""Uniform components between mean -+ sqrt(3) sigma; with errors, differences of normal distribution functions."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.special import log_ndtr, logsumexp

from mixpipe.base.arrays import Array
from mixpipe.model.families import gaussian
from mixpipe.model.families.family import Family, moments_of_rows, of_rows
from mixpipe.model.families.normal import LOG_SQRT_2PI, log1mexp, tail_integral
from mixpipe.model.families.quadrature import CUTOFF, legendre

_SQRT_3 = math.sqrt(3.0)
# Where the half-width in units of the error and the exponent across it are below _NARROW and _FLAT, the contributions
# of the two edges nearly cancel, and _FEW_NODES nodes between them are exact to rounding.
_NARROW, _FLAT, _FEW_NODES = 0.5, 5.0, 16
# This many nodes are exact to rounding for a Gaussian out to exp(-CUTOFF) on both sides.
_NODES = 48


def _log_mean(score: Array, half: Array, log_kernel: Callable, log_primitive: Callable) -> Array:
    """Log of the mean of a kernel over score -+ half, for score <= 0."""
    upper = log_primitive(score + half)
    out = upper + log1mexp(np.minimum(log_primitive(score - half) - upper, 0.0)) - np.log(2.0 * half)
    narrow = (half < _NARROW) & (-score * half < _FLAT)
    if narrow.any():
        nodes, weights = legendre(_FEW_NODES)
        at = score[narrow, None] + half[narrow, None] * (2.0 * nodes - 1.0)
        out[narrow] = logsumexp(log_kernel(at), b=weights, axis=1)
    return out


def _log_normal(s: Array) -> Array:
    return -0.5 * s * s - LOG_SQRT_2PI


def _log_ndtr_integral(s: Array) -> Array:
    """Log of the integral of the normal distribution function up to `s`, which is ``max(s, 0) + phi(s) I_1(|s|)``."""
    out = _log_normal(s) + np.log(tail_integral(1, np.abs(s)))
    above = s > 0.0
    out[above] = np.log(s[above] + np.exp(out[above]))
    return out


def logpdf(x: Array, err: Array, mean: Array | float, sigma: Array | float, shape: float | None) -> Array:
    """Log density of observed values."""
    score, half = -np.abs(x - mean) / err, _SQRT_3 * sigma / err
    return _log_mean(score, half, _log_normal, log_ndtr) - np.log(err)


def plain_logpdf(x: Array, err: Array, mean: float, sigma: float, shape: float | None) -> Array:
    """Log density of true values."""
    return np.where(np.abs(x - mean) <= _SQRT_3 * sigma, -math.log(2.0 * _SQRT_3 * sigma), -np.inf)


def logcdf(x: Array, err: Array, mean: float, sigma: float, shape: float | None) -> Array:
    """Log probability of an observed value below."""
    below = _log_mean(-np.abs(x - mean) / err, _SQRT_3 * sigma / err, log_ndtr, _log_ndtr_integral)
    return np.where(x <= mean, below, log1mexp(below))


def plain_logcdf(x: Array, err: Array, mean: float, sigma: float, shape: float | None) -> Array:
    """Log probability of a true value below."""
    offset = np.clip((x - mean) / (2.0 * _SQRT_3 * sigma), -0.5, 0.5)
    with np.errstate(divide="ignore"):
        return np.where(offset < 0.0, np.log(0.5 + offset), np.log1p(offset - 0.5))


def posterior(
    x: Array, err: Array, mean: Array | float, sigma: Array | float, shape: float | None
) -> tuple[Array, Array]:
    """Mean and variance of a normal truncated at both edges, by quadrature where it exceeds exp(-CUTOFF) x peak."""
    low, high = (mean - _SQRT_3 * sigma - x) / err, (mean + _SQRT_3 * sigma - x) / err
    peak = np.clip(0.0, low, high)
    reach = np.sqrt(peak * peak + 2.0 * CUTOFF)
    # The distance from the peak to `reach`, computed without cancellation where the peak is far out.
    excess = 2.0 * CUTOFF / (reach + np.abs(peak))
    first = np.where(peak > 0.0, peak, np.maximum(low, peak - np.where(peak < 0.0, excess, reach)))
    last = np.where(peak < 0.0, peak, np.minimum(high, peak + np.where(peak > 0.0, excess, reach)))
    nodes, weights = legendre(_NODES)
    away = (first - peak)[:, None] + (last - first)[:, None] * nodes
    mass = weights * np.exp(-away * (0.5 * away + peak[:, None]))
    mass /= mass.sum(axis=1, keepdims=True)
    centre = (mass * away).sum(axis=1)
    variance = (mass * (away - centre[:, None]) ** 2).sum(axis=1)
    return x + err * (peak + centre), err**2 * variance


def sample(n: int, mean: float, sigma: float, shape: float | None, rng: np.random.Generator) -> Array:
    """Draw true values."""
    return mean + _SQRT_3 * sigma * rng.uniform(-1.0, 1.0, n)


def _reflected(function: Callable) -> Callable:
    """The probability above, obtained from that below, since the density is symmetric."""
    return lambda x, err, mean, sigma, shape: function(-x, err, -mean, sigma, shape)


UNIFORM = Family(
    name="uniform",
    shape_name=None,
    shape_bounds=(0.0, 0.0),
    shape_starts=(),
    positive=False,
    logpdf=of_rows(logpdf, plain_logpdf, gaussian.logpdf),
    logcdf=of_rows(logcdf, plain_logcdf, gaussian.logcdf),
    logsf=of_rows(_reflected(logcdf), _reflected(plain_logcdf), gaussian.logsf),
    posterior=moments_of_rows(posterior, gaussian.posterior),
    sample=sample,
)
