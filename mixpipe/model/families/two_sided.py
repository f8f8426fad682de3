"""Components observed with errors of two sides; see `mixpipe.model.noise.TwoSided`.

The true value lies above or below the observed one. The density of observed values is a sum of these two pieces, each
an ordinary convolution with a Gaussian, restricted to one side. For Gaussian and uniform components the pieces have
closed forms.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import log_ndtr, ndtr, owens_t

from mixpipe.base.arrays import Array
from mixpipe.model.families import uniform
from mixpipe.model.families.normal import LOG_SQRT_2PI, log1mexp, tail_moments
from mixpipe.model.noise import TwoSided

_SQRT_3 = math.sqrt(3.0)
# Below this probability the closed form has lost digits to cancellation, and the tail is integrated instead.
_TAIL = 1e-6
_TAIL_NODES, _TAIL_WEIGHTS = np.polynomial.laguerre.laggauss(48)


def log_noise_below(t: Array, lower: Array, upper: Array) -> Array:
    """Log probability that an observed value exceeds the true one by less than `t`."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        below = np.log(2.0 * upper / (lower + upper)) + log_ndtr(np.where(upper > 0.0, t / upper, -np.inf))
        above = np.log(2.0 * lower / (lower + upper)) + log_ndtr(np.where(lower > 0.0, -t / lower, -np.inf))
    exact = (lower == 0.0) & (upper == 0.0)
    return np.where(exact, np.where(t >= 0.0, 0.0, -np.inf), np.where(t < 0.0, below, log1mexp(np.minimum(above, 0.0))))


class _Pieces:
    """A Gaussian component, and the two pieces of the density of observed values, each of shape (2, n_rows).

    The first piece is that of true values above the observed one. In both, the offset is that of the mean from the
    observed value, in the direction of the piece.
    """

    def __init__(self, x: Array, noise: TwoSided, mean: float, sigma: float) -> None:
        self.sigma = sigma
        self.sides = np.stack([noise.upper, noise.lower])
        self.offset = np.stack([mean - x, x - mean])
        self.total = np.hypot(sigma, self.sides)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            # The distance of the peak of the product from the observed value, in units of its width.
            self.inside = np.where(self.offset == 0.0, 0.0, self.offset * self.sides / (sigma * self.total))
            logs = np.log(2.0 * self.sides / self.sides.sum(axis=0)) - np.log(self.total) - LOG_SQRT_2PI
            self.logs = logs - 0.5 * (self.offset / self.total) ** 2 + log_ndtr(self.inside)
        self.logs = np.where(self.sides > 0.0, self.logs, -np.inf)

    @property
    def log_density(self) -> Array:
        """Log density of the observed values."""
        return np.asarray(np.logaddexp(*self.logs))

    @property
    def shares(self) -> Array:
        """Probability that the true value belongs to each piece."""
        top = self.logs.max(axis=0)
        parts = np.exp(self.logs - np.where(np.isfinite(top), top, 0.0))
        return parts / np.maximum(parts.sum(axis=0), np.finfo(np.float64).tiny)


def logpdf(x: Array, noise: TwoSided, mean: float, sigma: float, shape: float | None = None) -> Array:
    """Log density of observed values of a Gaussian component."""
    return _Pieces(x, noise, mean, sigma).log_density


def slopes(x: Array, noise: TwoSided, mean: float, sigma: float) -> Array:
    """Log density of a Gaussian component and its derivatives, as `Family.slopes`, shape (6, n_rows); for sigma > 0."""
    pieces = _Pieces(x, noise, mean, sigma)
    share, total_var, inside = pieces.shares, pieces.total**2, pieces.inside
    away = np.array([[1.0], [-1.0]])
    score = -away * pieces.offset / total_var
    part = sigma**2 / total_var
    # Derivatives of ln Phi with respect to its argument, and of the argument with respect to mean and ln sigma.
    with np.errstate(over="ignore"):
        slope = np.exp(-0.5 * inside**2 - LOG_SQRT_2PI - log_ndtr(inside))
    bend = -slope * (inside + slope)
    by_mean = away * pieces.sides / (sigma * pieces.total)
    by_width = -(1.0 + part) * inside
    twice = ((1.0 + part) ** 2 - 2.0 * part * (1.0 - part)) * inside
    squared = score**2 * total_var
    first = np.stack([score + slope * by_mean, part * (squared - 1.0) + slope * by_width])
    mean_mean = -1.0 / total_var + bend * by_mean**2
    crossed = -2.0 * part * score + bend * by_mean * by_width - slope * (1.0 + part) * by_mean
    width_width = part * (2.0 * (squared - 1.0) - part * (4.0 * squared - 2.0)) + bend * by_width**2 + slope * twice
    # The pieces of a zero share may have slopes without bounds.
    first, second = (
        np.where(share > 0.0, array, 0.0) for array in (first, np.stack([mean_mean, crossed, width_width]))
    )
    mean_1, width_1 = np.sum(share * first, axis=1)
    mean_2, mixed, width_2 = np.sum(
        share * (second + np.stack([first[0] ** 2, first[0] * first[1], first[1] ** 2])), axis=1
    )
    return np.stack(
        [
            pieces.log_density,
            mean_1,
            width_1,
            mean_2 - mean_1**2,
            mixed - mean_1 * width_1,
            width_2 - width_1**2,
        ]
    )


def posterior(x: Array, noise: TwoSided, mean: float, sigma: float, shape: float | None = None) -> tuple[Array, Array]:
    """Mean and variance of the true value: of a normal variate that is truncated at x in each of the two pieces."""
    if sigma == 0.0:
        return np.full(x.shape, mean), np.zeros(x.shape)
    pieces = _Pieces(x, noise, mean, sigma)
    width = sigma * pieces.sides / pieces.total
    excess, variance = tail_moments(-pieces.inside)
    excess, variance = width * excess, width**2 * variance
    shares = pieces.shares
    away = shares[0] * excess[0] - shares[1] * excess[1]
    spread = np.sum(shares * (variance + (excess * np.array([[1.0], [-1.0]]) - away) ** 2), axis=0)
    return x + away, spread


def logcdf(x: Array, noise: TwoSided, mean: float, sigma: float, shape: float | None = None) -> Array:
    """Log probability of an observed value below, of a Gaussian component.

    The probability that the true value is on one side of x and the observed one on the other is that of a wedge of the
    plane, which Owen's function T gives.
    """
    if sigma == 0.0:
        return log_noise_below(x - mean, noise.lower, noise.upper)
    pieces = _Pieces(x, noise, mean, sigma)
    score, inner = -pieces.offset / pieces.total, -pieces.offset / sigma
    wedge = 0.5 * (ndtr(score) - ndtr(inner)) + owens_t(score, pieces.sides / sigma)
    crossing = 2.0 * pieces.sides / pieces.sides.sum(axis=0) * wedge
    probability = np.clip(ndtr(inner[0]) + crossing[0] - crossing[1], 0.0, 1.0)
    with np.errstate(divide="ignore"):
        out = np.asarray(np.log(probability))
    tail = probability < _TAIL
    if tail.any():
        out[tail] = _log_lower_tail(x[tail], noise[tail], mean, sigma)
    return out


def _log_lower_tail(x: Array, noise: TwoSided, mean: float, sigma: float) -> Array:
    """Log of the integral of the density below x, which falls almost exponentially."""
    log_density, slope = slopes(x, noise, mean, sigma)[:2]
    rate = -slope
    at = x[:, None] - _TAIL_NODES / rate[:, None]
    fall = logpdf(at, noise[:, None], mean, sigma) - log_density[:, None] + _TAIL_NODES
    return log_density - np.log(rate) + np.log((np.exp(fall) * _TAIL_WEIGHTS).sum(axis=1))


def logsf(x: Array, noise: TwoSided, mean: float, sigma: float, shape: float | None = None) -> Array:
    """Log probability of an observed value above, of a Gaussian component."""
    return logcdf(-x, noise.scaled(-1.0), -mean, sigma)


def _uniform_pieces(x: Array, noise: TwoSided, mean: float, sigma: float) -> tuple[Array, Array, Array, Array]:
    """For true values above and below x: side, middle and width of their range, and log of the weight; (2, n_rows)."""
    low, high = mean - _SQRT_3 * sigma, mean + _SQRT_3 * sigma
    sides = np.stack([noise.upper, noise.lower])
    first, last = (
        np.stack([np.maximum(low, x), np.full_like(x, low)]),
        np.stack([np.full_like(x, high), np.minimum(high, x)]),
    )
    length = np.maximum(last - first, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_weight = np.log(2.0 * sides / sides.sum(axis=0) * length / (high - low))
    usable = (length > 0.0) & (sides > 0.0)
    log_weight = np.where(usable, log_weight, -np.inf)
    middle, width = np.where(usable, 0.5 * (first + last), x), np.where(usable, length, 1.0) / (2.0 * _SQRT_3)
    return np.where(usable, sides, 1.0), middle, width, log_weight


def uniform_logpdf(x: Array, noise: TwoSided, mean: float, sigma: float, shape: float | None = None) -> Array:
    """Log density of observed values of a uniform component."""
    sides, middle, widths, log_weight = _uniform_pieces(x, noise, mean, sigma)
    logs = [
        weight + uniform.logpdf(x, side, centre, width, None)
        for weight, side, centre, width in zip(log_weight, sides, middle, widths, strict=True)
    ]
    return np.asarray(np.logaddexp(*logs))


def uniform_posterior(
    x: Array, noise: TwoSided, mean: float, sigma: float, shape: float | None = None
) -> tuple[Array, Array]:
    """Mean and variance of the true value in a uniform component."""
    sides, middle, widths, log_weight = _uniform_pieces(x, noise, mean, sigma)
    logs, means, variances = [], [], []
    for weight, side, centre, width in zip(log_weight, sides, middle, widths, strict=True):
        logs.append(weight + uniform.logpdf(x, side, centre, width, None))
        mean_of_piece, variance = uniform.posterior(x, side, centre, width, None)
        means.append(mean_of_piece)
        variances.append(variance)
    shares = np.exp(np.stack(logs) - np.maximum(np.logaddexp(*logs), -1e300))
    centres = np.stack(means)
    true_mean = np.sum(shares * centres, axis=0)
    return true_mean, np.sum(shares * (np.stack(variances) + (centres - true_mean) ** 2), axis=0)


def uniform_logcdf(x: Array, noise: TwoSided, mean: float, sigma: float, shape: float | None = None) -> Array:
    """Log probability of an observed value below, of a uniform component."""
    low, high = mean - _SQRT_3 * sigma, mean + _SQRT_3 * sigma
    lower, upper = noise.lower, noise.upper
    total = lower + upper

    def integral(t: Array) -> Array:
        """The integral of the distribution function of the noise up to t."""
        at_zero = 2.0 * upper**2 / total / math.sqrt(2.0 * math.pi)
        below = 2.0 * upper**2 / total * np.exp(uniform._log_ndtr_integral(np.minimum(t, 0.0) / upper))
        beyond = np.exp(uniform._log_ndtr_integral(-np.maximum(t, 0.0) / lower))
        missing = 2.0 * lower**2 / total * (1.0 / math.sqrt(2.0 * math.pi) - beyond)
        return np.where(t < 0.0, below, at_zero + t - missing)

    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.log(np.clip((integral(x - low) - integral(x - high)) / (high - low), 0.0, 1.0))


def uniform_logsf(x: Array, noise: TwoSided, mean: float, sigma: float, shape: float | None = None) -> Array:
    """Log probability of an observed value above, of a uniform component."""
    return uniform_logcdf(-x, noise.scaled(-1.0), -mean, sigma)
