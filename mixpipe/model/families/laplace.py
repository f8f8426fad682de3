"""Laplace components of scale sigma / sqrt(2); with errors, two exponentially modified Gaussians back to back."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import log_ndtr

from mixpipe.base.arrays import Array
from mixpipe.model.families import gaussian
from mixpipe.model.families.exponential import log_tail
from mixpipe.model.families.family import Family, moments_of_rows, of_rows
from mixpipe.model.families.normal import LOG_SQRT_2PI, log1mexp, tail_moments

_SQRT_2 = math.sqrt(2.0)


def _log_tails(x: Array, err: Array, mean: float, sigma: float) -> tuple[Array, Array, Array, Array]:
    """|offset| and rate in units of the error, and the logs of the parts of the near and the far exponential."""
    score, rate = np.abs(x - mean) / err, _SQRT_2 * err / sigma
    return score, rate, log_tail(score, rate), log_tail(-score, rate)


def logpdf(x: Array, err: Array, mean: float, sigma: float, shape: float | None) -> Array:
    """Log density of observed values."""
    _, _, near, far = _log_tails(x, err, mean, sigma)
    return np.logaddexp(near, far) - math.log(_SQRT_2 * sigma)


def slopes(x: ArrayLike, err: Any, mean: float, sigma: float, shape: float | None = None) -> Array:
    """Log density and its derivatives, as `Family.slopes`; errors must be neither zero nor far larger than sigma.

    Of the density f of x with the rate l = sqrt(2) / sigma and an error e, whose own density at x is g,
    ``d^2 f / dx^2 = l^2 (f - g)`` and ``df / dl = f / l + l e^2 (f - g) + (x - mean) / l df / dx``.
    """
    x, err = np.asarray(x), np.asarray(err)
    score, rate, near, far = _log_tails(x, err, mean, sigma)
    total = np.logaddexp(near, far)
    # The slope in units of l f, the density of the error in units of f, and the offset in units of 1 / l.
    tilt = np.tanh(0.5 * (far - near)) * np.sign(x - mean)
    normal = 2.0 * np.exp(-0.5 * score**2 - LOG_SQRT_2PI - total) / rate
    offset, square = rate * score * np.sign(x - mean), rate**2
    by_rate = 1.0 + square * (1.0 - normal) + offset * tilt
    crossed = (2.0 + square) * tilt + offset
    twice = (1.0 + square) * by_rate - 1.0 + square * (1.0 - normal) + offset * (crossed - tilt)
    per_unit = _SQRT_2 / sigma
    return np.stack(
        [
            total - math.log(_SQRT_2 * sigma),
            -per_unit * tilt,
            -by_rate,
            per_unit**2 * (1.0 - normal - tilt**2),
            per_unit * (crossed - tilt * by_rate),
            twice + by_rate - by_rate**2,
        ]
    )


def plain_logpdf(x: Array, err: Array, mean: float, sigma: float, shape: float | None) -> Array:
    """Log density of true values."""
    return -_SQRT_2 * np.abs(x - mean) / sigma - math.log(_SQRT_2 * sigma)


def _log_beyond(x: Array, err: Array, mean: float, sigma: float, shape: float | None) -> Array:
    """Log probability of an observed value farther out than `x` on the same side: Q + (near - far) / 2."""
    score, _, near, far = _log_tails(x, err, mean, sigma)
    return np.logaddexp(log_ndtr(-score), near + log1mexp(np.minimum(far - near, 0.0)) - math.log(2.0))


def _plain_log_beyond(x: Array, err: Array, mean: float, sigma: float, shape: float | None) -> Array:
    return -_SQRT_2 * np.abs(x - mean) / sigma - math.log(2.0)


def _side(log_beyond: Callable, below: bool) -> Callable:
    """Log probability below or above, computed from that of the nearer tail."""

    def function(x: Array, err: Array, mean: float, sigma: float, shape: float | None) -> Array:
        beyond = log_beyond(x, err, mean, sigma, shape)
        return np.where((x <= mean) == below, beyond, log1mexp(beyond))

    return function


def posterior(x: Array, err: Array, mean: float, sigma: float, shape: float | None) -> tuple[Array, Array]:
    """Mean and variance of the true value: a mixture of two truncated normals, one on each side of the mean."""
    score, rate, near, far = _log_tails(x, err, mean, sigma)
    share = np.exp(near - np.logaddexp(near, far))
    near_excess, near_variance = tail_moments(rate - score)
    far_excess, far_variance = tail_moments(rate + score)
    centre = share * near_excess - (1.0 - share) * far_excess
    variance = (
        share * near_variance + (1.0 - share) * far_variance + share * (1.0 - share) * (near_excess + far_excess) ** 2
    )
    return mean + np.where(x < mean, -err, err) * centre, err**2 * variance


def sample(n: int, mean: float, sigma: float, shape: float | None, rng: np.random.Generator) -> Array:
    """Draw true values."""
    return rng.laplace(mean, sigma / _SQRT_2, n)


LAPLACE = Family(
    name="laplace",
    shape_name=None,
    shape_bounds=(0.0, 0.0),
    shape_starts=(),
    positive=False,
    logpdf=of_rows(logpdf, plain_logpdf, gaussian.logpdf),
    logcdf=of_rows(_side(_log_beyond, True), _side(_plain_log_beyond, True), gaussian.logcdf),
    logsf=of_rows(_side(_log_beyond, False), _side(_plain_log_beyond, False), gaussian.logsf),
    posterior=moments_of_rows(posterior, gaussian.posterior),
    sample=sample,
    has_cusp=True,
    slopes=slopes,
)
