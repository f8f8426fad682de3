"""Gaussian components, whose observed values are Gaussian with the total variance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

from mixpipe.base.arrays import Array
from mixpipe.model.families.family import Family, moments_of_rows, of_rows
from mixpipe.model.families.normal import LOG_SQRT_2PI


def logpdf(x: Array, err: Array, mean: float, sigma: float, shape: float | None) -> Array:
    """Log density; that of a point mass observed without error is infinite at its mean, and -infinite elsewhere."""
    total = np.hypot(sigma, err)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        log_density = -0.5 * ((x - mean) / total) ** 2 - np.log(total) - LOG_SQRT_2PI
    return np.where(total > 0.0, log_density, np.where(x == mean, np.inf, -np.inf))


def slopes(x: Array, err: Array, mean: float, sigma: float) -> Array:
    """Log density and its derivatives, as `Family.slopes`, shape (6, n_rows); the total width must not be zero."""
    total_var = sigma**2 + err**2
    score, part = (x - mean) / total_var, sigma**2 / total_var
    squared = score**2 * total_var
    return np.stack(
        [
            -0.5 * (squared + np.log(total_var)) - LOG_SQRT_2PI,
            score,
            part * (squared - 1.0),
            -1.0 / total_var,
            -2.0 * part * score,
            part * (2.0 * (squared - 1.0) - part * (4.0 * squared - 2.0)),
        ]
    )


def logcdf(x: Array, err: Array, mean: float, sigma: float, shape: float | None) -> Array:
    """Log probability of an observed value below."""
    return _log_probability(x - mean, np.hypot(sigma, err), x >= mean)


def logsf(x: Array, err: Array, mean: float, sigma: float, shape: float | None) -> Array:
    """Log probability of an observed value above."""
    return _log_probability(mean - x, np.hypot(sigma, err), x < mean)


def _log_probability(offset: Array, total: Array, inside: NDArray[np.bool_]) -> Array:
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        score = offset / total
    return log_ndtr(np.where(total > 0.0, score, np.where(inside, np.inf, -np.inf)))


def posterior(x: Array, err: Array, mean: float, sigma: float, shape: float | None) -> tuple[Array, Array]:
    """Mean and variance of the true value (Bovy, Hogg & Roweis 2011)."""
    total = np.hypot(sigma, err)
    shrink = np.divide(sigma, total, out=np.zeros_like(total), where=total > 0.0)
    return mean + shrink**2 * (x - mean), (shrink * err) ** 2


def sample(n: int, mean: float, sigma: float, shape: float | None, rng: np.random.Generator) -> Array:
    """Draw true values."""
    return mean + sigma * rng.standard_normal(n)


GAUSSIAN = Family(
    name="gaussian",
    shape_name=None,
    shape_bounds=(0.0, 0.0),
    shape_starts=(),
    positive=False,
    logpdf=of_rows(logpdf, logpdf, logpdf),
    logcdf=of_rows(logcdf, logcdf, logcdf),
    logsf=of_rows(logsf, logsf, logsf),
    posterior=moments_of_rows(posterior, posterior),
    sample=sample,
)
