"""Student's t with location `mean` and scale `sigma`: Gaussians of variance sigma^2 / lambda, lambda ~ Gamma(dof / 2).

The integral over y = ln(lambda) is computed by the trapezoid rule. Its integrand falls exponentially on the left and
double exponentially on the right; it may have two peaks where a row can be explained both by its error and by the tail.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, log_ndtr

from mixpipe.base.arrays import Array
from mixpipe.model.families import gaussian
from mixpipe.model.families.family import Family, moments_of_rows, of_rows
from mixpipe.model.families.normal import LOG_SQRT_2PI, log1mexp
from mixpipe.model.families.quadrature import CUTOFF, LogIntegrand, log_integral, moments

# With a = (dof + 1) / 2 and no measurement error, the relative error of a step h is 2 |Gamma(a + 2 pi i / h) /
# Gamma(a)|, below 2e-14 for h = _STEP / sqrt(a + _SMALL) at any a > 0. Measurement errors only make the integrand
# smoother.
_STEP, _SMALL = 0.68, 5.0


def _log_gamma_norm(a: float) -> float:
    """``a ln(a) - a - ln Gamma(a)``, computed by Stirling's series where the terms would cancel."""
    if a < 15.0:
        return a * math.log(a) - a - float(gammaln(a))
    series = (1.0 - (1.0 / 30.0 - (1.0 / 105.0 - 1.0 / 140.0 / a**2) / a**2) / a**2) / (12.0 * a)
    return 0.5 * math.log(a / (2.0 * math.pi)) - series


def _reach(rate: float) -> float:
    """A U with ``rate (U + exp(-U) - 1) >= CUTOFF``, from ``U + exp(-U) - 1 >= U^2 / (2 + U)``."""
    q = CUTOFF / rate
    return 0.5 * (q + math.sqrt(q * q + 8.0 * q))


def _window(offset: Array, err: Array, sigma: float, dof: float) -> tuple[Array, Array, Array]:
    """Interval in y that contains the integrand down to exp(-CUTOFF) of its peak, and the step.

    With f the intrinsic fraction of the variance T, the slope of the log integrand of the density is
    ``dof (1 - e^y) / 2 + f (1 - offset^2 / T) / 2``, and ``f offset^2 / T`` is at most ``e^y offset^2 / sigma^2`` and
    at most ``offset^2 / (4 err^2)``; each of these bounds the peaks from below.
    """
    low = -np.log1p((offset / sigma) ** 2 / dof) - _reach(0.5 * dof)
    pull = np.divide(offset, 2.0 * err, out=np.full_like(offset, np.inf), where=err > 0.0) ** 2 / dof
    weak = pull < 0.5
    low[weak] = np.maximum(low[weak], np.log1p(-pull[weak]) - _reach(0.25 * dof))
    q = CUTOFF / (0.5 * (dof + 1.0))
    high = math.log1p(1.0 / dof) + min(math.sqrt(2.0 * q), math.log(2.0 * q + 4.0))
    step = _STEP / math.sqrt(0.5 * (dof + 1.0) + _SMALL)
    return low, np.full_like(low, high), np.full_like(low, step)


def _log_gamma(y: Array, dof: float) -> Array:
    """Log density, up to a constant, of y, the logarithm of a gamma variate of mean 1."""
    return 0.5 * dof * (y - np.expm1(y))


def _total_var(y: Array, err: Array, sigma: float) -> Array:
    return sigma**2 * np.exp(-y) + err[:, None] ** 2


def _log_density(offset: Array, err: Array, sigma: float, dof: float) -> LogIntegrand:
    def log_integrand(rows: NDArray[np.intp], y: Array) -> Array:
        total = _total_var(y, err[rows], sigma)
        return _log_gamma(y, dof) - 0.5 * (np.log(total) + offset[rows, None] ** 2 / total)

    return log_integrand


def logpdf(x: Array, err: Array, mean: float, sigma: float, shape: float) -> Array:
    """Log density of observed values."""
    offset = x - mean
    log_density = log_integral(_log_density(offset, err, sigma, shape), *_window(offset, err, sigma, shape))
    return log_density + _log_gamma_norm(0.5 * shape) - LOG_SQRT_2PI


def plain_logpdf(x: Array, err: Array, mean: float, sigma: float, shape: float) -> Array:
    """Log density of true values."""
    half = 0.5 * shape
    norm = _log_gamma_norm(half) - _log_gamma_norm(half + 0.5) + (half + 0.5) * math.log1p(0.5 / half) - 0.5
    return norm - LOG_SQRT_2PI - math.log(sigma) - (half + 0.5) * np.log1p(((x - mean) / sigma) ** 2 / shape)


def _log_beyond(offset: Array, err: Array, sigma: float, dof: float) -> Array:
    """Log probability of an observed value farther out."""

    def log_integrand(rows: NDArray[np.intp], y: Array) -> Array:
        return _log_gamma(y, dof) + log_ndtr(-np.abs(offset[rows, None]) / np.sqrt(_total_var(y, err[rows], sigma)))

    return log_integral(log_integrand, *_window(offset, err, sigma, dof)) + _log_gamma_norm(0.5 * dof)


def logcdf(x: Array, err: Array, mean: float, sigma: float, shape: float) -> Array:
    """Log probability of an observed value below."""
    beyond = _log_beyond(x - mean, err, sigma, shape)
    return np.where(x <= mean, beyond, log1mexp(np.minimum(beyond, 0.0)))


def logsf(x: Array, err: Array, mean: float, sigma: float, shape: float) -> Array:
    """Log probability of an observed value above."""
    return logcdf(-x, err, -mean, sigma, shape)


def posterior(x: Array, err: Array, mean: float, sigma: float, shape: float) -> tuple[Array, Array]:
    """Mean and variance of the true value, computed from those of the intrinsic fraction of the variance."""
    offset = x - mean

    def fraction(rows: NDArray[np.intp], y: Array) -> Array:
        intrinsic = sigma**2 * np.exp(-y)
        return intrinsic / (intrinsic + err[rows, None] ** 2)

    window = _window(offset, err, sigma, shape)
    shrink, spread = moments(_log_density(offset, err, sigma, shape), fraction, *window)
    return mean + shrink * offset, shrink * err**2 + spread * offset**2


def sample(n: int, mean: float, sigma: float, shape: float | None, rng: np.random.Generator) -> Array:
    """Draw true values."""
    return mean + sigma * rng.standard_t(1.0 if shape is None else shape, n)


STUDENT_T = Family(
    name="student_t",
    shape_name="dof",
    shape_bounds=(1.0, 1000.0),
    shape_starts=(3.0, 20.0),
    positive=False,
    logpdf=of_rows(logpdf, plain_logpdf, gaussian.logpdf),
    logcdf=of_rows(logcdf, logcdf, gaussian.logcdf),
    logsf=of_rows(logsf, logsf, gaussian.logsf),
    posterior=moments_of_rows(posterior, gaussian.posterior),
    sample=sample,
    by_quadrature=True,
)
