"""Lognormal components of mean > 0 and standard deviation sigma: ``ln z`` is normal.

With errors, the integral over ``ln z`` is computed by the trapezoid rule, with a separate window for each row.
Positions are stored as ``r = ln(z / base)``, with the observed value as base where its error is small, the error where
both are far below the median, and the median otherwise, so that neither ``z - x`` nor the prior loses digits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfcx, log_ndtr

from mixpipe.base.arrays import Array
from mixpipe.model.families import gaussian
from mixpipe.model.families.family import Family, RowFunction, moments_of_rows, of_rows, slopes_of_rows
from mixpipe.model.families.normal import LOG_SQRT_2PI, log1mexp
from mixpipe.model.families.quadrature import CUTOFF, log_integral, log_integral_and_moments, moments

_SQRT_2 = math.sqrt(2.0)
# Step in units of the width at the sharpest curvature, with a constant for the double-exponential decline in ln z.
_STEP, _DECLINE = 0.6, 20.0
# Points between the bounds on the position of the peak, from which a lower bound on its height is computed.
_N_POINTS = 16
# Margin above `top` that is always sufficient: a factor exp(9) in z, or 9 more errors.
_SLACK = 9.0
# Smaller widths of ln z are lost in the rounding of x.
_NARROWEST = 1e-12
# Windows of more than _MANY steps, as outliers have at first, are narrowed with grids of _N_NARROW points.
_MANY, _N_NARROW, _MOST_ROUNDS = 400, 64, 20


def _median_width(mean: float, sigma: float) -> tuple[float, float]:
    """Median of z and standard deviation of ln z."""
    if not mean > 0.0:
        raise ValueError(f"the mean of a lognormal must be positive, found {mean}")
    variance = math.log1p((sigma / mean) ** 2)
    return mean * math.exp(-0.5 * variance), math.sqrt(variance)


@dataclass(frozen=True)
class _Rows:
    """Rows and the integrand over ``v = ln(z / median)``, which is the product of a prior factor and an error factor.

    For the density of `x`, these are the prior density of v and the density of the error at x - z. For the probability
    below (-1) or above (1), one of them becomes a probability: either that the error is so large, given z
    (`error_side`), or, after integration by parts, that the true value lies below or above z, with the factor z from dz
    (`prior_side`).
    """

    x: Array
    err: Array
    median: float
    width: float
    prior_side: int = 0
    error_side: int = 0

    @cached_property
    def base(self) -> Array:
        reached = np.maximum(self.x, self.err)
        local = (self.x * self.width > self.err) | (reached < 0.1 * self.median)
        return np.where(local, reached, self.median)

    @cached_property
    def anchor(self) -> Array:
        return np.log(self.base / self.median)

    @cached_property
    def top(self) -> Array:
        """Largest relevant v, so that the factor z stays below about one."""
        return np.log(np.maximum(self.median, np.maximum(self.x, 0.0) + 9.0 * self.err) / self.median)

    @cached_property
    def log_limit(self) -> Array:
        """Log of the error factor at z = 0, up to a constant; an upper bound on this factor where x < 0."""
        if self.error_side:
            return np.where(self.x < 0.0, log_ndtr(-self.error_side * self.x / self.err), 0.0)
        return -0.5 * (np.minimum(self.x, 0.0) / self.err) ** 2

    def log_integrand(self, rows: NDArray[np.intp], r: Array) -> Array:
        """Log of the integrand, up to a constant."""
        base, x, err = self.base[rows, None], self.x[rows, None], self.err[rows, None]
        v = self.anchor[rows, None] + r
        score = ((base - x) + base * np.expm1(r)) / err
        log_error = log_ndtr(self.error_side * score) if self.error_side else -0.5 * score * score
        below = x[:, 0] < 0.0
        if below.any():
            # Computed relative to `log_limit`, which may be -10^20.
            start, z = -x[below] / err[below], base[below] * np.exp(r[below]) / err[below]
            log_error[below] = -(start + 0.5 * z) * z
            if self.error_side:
                log_error[below] += np.log(erfcx((start + z) / _SQRT_2) / erfcx(start / _SQRT_2))
        if self.prior_side:
            return log_error + log_ndtr(-self.prior_side / self.width * v) + v - self.top[rows, None]
        return log_error - 0.5 * (v / self.width) ** 2

    def away_from_base(self, rows: NDArray[np.intp], r: Array) -> Array:
        """True value minus the base."""
        return self.base[rows, None] * np.expm1(r)

    def score(self, rows: NDArray[np.intp], r: Array) -> Array:
        """ln(z / median) in units of the width."""
        return (self.anchor[rows, None] + r) / self.width

    def window(self) -> tuple[Array, Array, Array]:
        """Interval in r that contains the integrand down to exp(-CUTOFF) of its peak, and the step."""
        x, err, s, base = self.x, self.err, self.width, self.base
        positive, negative = np.maximum(x, 0.0), np.maximum(-x, 0.0)
        # The slope of the log integrand, and log1p(a) > W(a) for Lambert's function W, bound the peaks from below and
        # above.
        sunk = np.log1p((s / err) ** 2 * self.median * (self.median + negative))
        with np.errstate(divide="ignore"):
            at_x = np.log(positive / self.median)
        lowest = np.minimum(0.0, np.maximum(-sunk, at_x))
        highest = self.top if self.prior_side else np.maximum(at_x, 0.0)
        grid = lowest[:, None] + (highest - lowest)[:, None] * np.linspace(0.0, 1.0, _N_POINTS) - self.anchor[:, None]
        heights = self.log_integrand(np.arange(x.size), grid)
        # Neither factor may be smaller than exp(-budget), since both are at most about one.
        budget = CUTOFF - heights.max(axis=1)
        prior, noise = s * np.sqrt(2.0 * budget), err * np.sqrt(2.0 * budget)
        low = (self.top - budget if self.prior_side > 0 else -prior) - self.anchor
        high = (self.top + _SLACK if self.prior_side < 0 else prior) - self.anchor
        if self.error_side >= 0:
            low = np.maximum(low, _log_ratio(x - noise, (x - base) - noise, base))
        if self.error_side <= 0:
            beyond = np.where(x < 0.0, noise * (noise / (negative + np.hypot(negative, noise))), noise)
            high = np.minimum(high, _log_ratio(positive + beyond, (positive - base) + beyond, base))
        peak = np.take_along_axis(grid, heights.argmax(axis=1)[:, None], axis=1)[:, 0] + self.anchor
        for _ in range(_MOST_ROUNDS):
            step = self._step(peak, high)
            long = np.flatnonzero(high - low > _MANY * step)
            if long.size == 0:
                break
            low[long], high[long] = self._narrowed(long, low[long], high[long])
        return low, high, step

    def _step(self, peak: Array, high: Array) -> Array:
        """The step for a window up to `high`.

        At a peak below the median, the slope of the prior, -v / s^2, balances that of the error density, whose
        curvature is up to twice its slope there.
        """
        z = np.minimum(self.base * np.exp(high), np.maximum(self.x, 0.0))
        prior = (1.0 + 2.0 * np.maximum(-peak, 0.0)) / self.width**2
        return _STEP / np.sqrt(prior + (z / self.err) ** 2 + _DECLINE)

    def _narrowed(self, rows: NDArray[np.intp], low: Array, high: Array) -> tuple[Array, Array]:
        """The window, narrowed to the grid points next to which the integrand may come within CUTOFF of its peak.

        The integrand half a step from a peak is lower by at most curvature x step^2 / 8.
        """
        grid = np.linspace(low, high, _N_NARROW, axis=1)
        heights = self.log_integrand(rows, grid)
        x, err, z = self.x[rows], self.err[rows], self.base[rows] * np.exp(high)
        curvature = 1.0 / self.width**2 + z / err * (np.maximum(2.0 * z - x, z) / err + 1.0)
        step = grid[:, 1] - grid[:, 0]
        kept = heights >= (heights.max(axis=1) - CUTOFF - curvature * step**2 / 8.0)[:, None]
        first, last = kept.argmax(axis=1), _N_NARROW - 1 - kept[:, ::-1].argmax(axis=1)
        return np.maximum(low, low + (first - 1) * step), np.minimum(high, low + (last + 1) * step)


def _log_ratio(z: Array, difference: Array, base: Array) -> Array:
    """``ln(z / base)`` with ``difference = z - base``, accurate for z close to the base; -inf for z <= 0."""
    ratio = z / base
    out = np.log(ratio, out=np.full_like(z, -np.inf), where=ratio > 0.0)
    return np.log1p(difference / base, out=out, where=ratio > 0.5)


def logpdf(x: Array, err: Array, mean: float, sigma: float, shape: float | None) -> Array:
    """Log density of observed values."""
    median, width = _median_width(mean, sigma)
    rows = _Rows(x, err, median, width)
    constant = rows.log_limit - np.log(err) - 2.0 * LOG_SQRT_2PI - math.log(width)
    return log_integral(rows.log_integrand, *rows.window()) + constant


def slopes(x: Array, err: Array, mean: float, sigma: float, shape: float | None) -> Array:
    """Log density of observed values and its derivatives."""
    median, width = _median_width(mean, sigma)
    rows = _Rows(x, err, median, width)
    constant = rows.log_limit - np.log(err) - 2.0 * LOG_SQRT_2PI - math.log(width)
    value, moments_of_score = log_integral_and_moments(rows.log_integrand, rows.score, *rows.window())
    return _with_slopes(value + constant, moments_of_score, mean, sigma, width)


def plain_slopes(x: Array, err: Array, mean: float, sigma: float, shape: float | None) -> Array:
    """Log density of true values and its derivatives."""
    _, score, width = _log_prior(x, mean, sigma)
    value = plain_logpdf(x, err, mean, sigma, shape)
    return _with_slopes(value, np.stack([score, *np.zeros((3, x.size))]), mean, sigma, width)


def point_slopes(x: Array, err: Array, mean: float, sigma: float, shape: float | None) -> Array:
    """Log density of observed values of a component of zero width, and its derivatives."""
    score = (x - mean) / err
    none = np.zeros_like(x)
    return np.stack([gaussian.logpdf(x, err, mean, 0.0, shape), score / err, none, -1.0 / err**2, none, none])


def _with_slopes(value: Array, moments_of_score: Array, mean: float, sigma: float, width: float) -> Array:
    """The derivatives of a log density, from the moments of the score u = (ln z - ln median) / s given each row.

    The first derivatives with respect to mu = ln median and ln s are E u / s and E u^2 - 1 (Fisher's identity); the
    second ones are the mean second derivatives of the prior plus the covariance of its first ones (Louis 1982). With
    q = (sigma / mean)^2 and L = s^2 = ln(1 + q), mu is ln mean - L / 2 and ln s is ln(L) / 2.
    """
    m, c2, c3, c4 = moments_of_score
    square = m**2 + c2
    by_mu, by_log_s = m / width, square - 1.0
    mu_mu = (c2 - 1.0) / width**2
    mu_log_s = (c3 + 2.0 * m * c2 - 2.0 * m) / width
    log_s_log_s = c4 + 4.0 * m * c3 + 4.0 * m**2 * c2 - c2**2 - 2.0 * square

    q, variance = (sigma / mean) ** 2, width**2
    # Derivatives of L with respect to (mean, ln sigma).
    a, b = 2.0 * q / (1.0 + q), 4.0 * q / (1.0 + q) ** 2
    first = np.array([-a / mean, a])
    second = np.array([[(a + b) / mean**2, -b / mean], [-b / mean, b]])
    mu = np.array([1.0 / mean, 0.0]) - 0.5 * first
    mu_2 = np.array([[-1.0 / mean**2, 0.0], [0.0, 0.0]]) - 0.5 * second
    log_s = 0.5 * first / variance
    log_s_2 = 0.5 * second / variance - 2.0 * np.multiply.outer(log_s, log_s)

    def twice(i: int, j: int) -> Array:
        return (
            mu_mu * (mu[i] * mu[j])
            + mu_log_s * (mu[i] * log_s[j] + mu[j] * log_s[i])
            + log_s_log_s * (log_s[i] * log_s[j])
            + by_mu * mu_2[i, j]
            + by_log_s * log_s_2[i, j]
        )

    once = [by_mu * mu[i] + by_log_s * log_s[i] for i in (0, 1)]
    return np.stack([value, *once, twice(0, 0), twice(0, 1), twice(1, 1)])


def _log_prior(x: Array, mean: float, sigma: float) -> tuple[Array, Array, float]:
    """ln x, its score, and the standard deviation of ln z; -inf for x <= 0."""
    median, width = _median_width(mean, sigma)
    with np.errstate(divide="ignore"):
        log_x = np.log(np.maximum(x, 0.0))
        return log_x, np.log(np.maximum(x, 0.0) / median) / width, width


def plain_logpdf(x: Array, err: Array, mean: float, sigma: float, shape: float | None) -> Array:
    """Log density of true values."""
    log_x, score, width = _log_prior(x, mean, sigma)
    with np.errstate(invalid="ignore"):
        return np.where(x > 0.0, -0.5 * score**2 - log_x - LOG_SQRT_2PI - math.log(width), -np.inf)


def _log_probability(x: Array, err: Array, mean: float, sigma: float, side: int) -> Array:
    """Log probability below or above: the one on the side of x is computed directly, the other as its complement."""
    median, width = _median_width(mean, sigma)
    out = np.empty_like(x)
    for nearer, on_side in ((-1, x <= median), (1, x > median)):
        # Integrate by parts where the error is narrower than the prior, so that both factors are smooth in the narrow
        # window.
        narrow = x * width > err
        for chosen, by_parts in ((on_side & narrow, True), (on_side & ~narrow, False)):
            if chosen.any():
                direct = _log_nearer(x[chosen], err[chosen], median, width, nearer, by_parts)
                out[chosen] = direct if nearer == side else log1mexp(np.minimum(direct, 0.0))
    return out


def _log_nearer(x: Array, err: Array, median: float, width: float, side: int, by_parts: bool) -> Array:
    rows = _Rows(x, err, median, width, prior_side=side) if by_parts else _Rows(x, err, median, width, error_side=side)
    log_sum = log_integral(rows.log_integrand, *rows.window()) + rows.log_limit - LOG_SQRT_2PI
    if not by_parts:
        return log_sum - math.log(width)
    log_sum += rows.top + np.log(median / err)
    # For errors so large that z would have to be <= 0, every true value lies above.
    return np.logaddexp(log_sum, log_ndtr(-x / err)) if side > 0 else log_sum


def logcdf(x: Array, err: Array, mean: float, sigma: float, shape: float | None) -> Array:
    """Log probability of an observed value below."""
    return _log_probability(x, err, mean, sigma, -1)


def logsf(x: Array, err: Array, mean: float, sigma: float, shape: float | None) -> Array:
    """Log probability of an observed value above."""
    return _log_probability(x, err, mean, sigma, 1)


def plain_logcdf(x: Array, err: Array, mean: float, sigma: float, shape: float | None) -> Array:
    """Log probability of a true value below."""
    return log_ndtr(_log_prior(x, mean, sigma)[1])


def plain_logsf(x: Array, err: Array, mean: float, sigma: float, shape: float | None) -> Array:
    """Log probability of a true value above."""
    return log_ndtr(-_log_prior(x, mean, sigma)[1])


def posterior(x: Array, err: Array, mean: float, sigma: float, shape: float | None) -> tuple[Array, Array]:
    """Mean and variance of the true value."""
    rows = _Rows(x, err, *_median_width(mean, sigma))
    away, variance = moments(rows.log_integrand, rows.away_from_base, *rows.window())
    return rows.base + away, variance


def sample(n: int, mean: float, sigma: float, shape: float | None, rng: np.random.Generator) -> Array:
    """Draw true values."""
    median, width = _median_width(mean, sigma)
    return median * np.exp(width * rng.standard_normal(n))


def _or_gaussian(function: RowFunction, gaussian_function: RowFunction) -> RowFunction:
    """Use the Gaussian of the same mean and width where the two differ by less than the rounding of x."""

    def chosen(x: Array, err: Array, mean: float, sigma: float, shape: float | None) -> Any:
        return (gaussian_function if 0.0 < sigma < _NARROWEST * mean else function)(x, err, mean, sigma, shape)

    return chosen


LOGNORMAL = Family(
    name="lognormal",
    shape_name=None,
    shape_bounds=(0.0, 0.0),
    shape_starts=(),
    positive=True,
    logpdf=of_rows(_or_gaussian(logpdf, gaussian.logpdf), _or_gaussian(plain_logpdf, gaussian.logpdf), gaussian.logpdf),
    logcdf=of_rows(_or_gaussian(logcdf, gaussian.logcdf), _or_gaussian(plain_logcdf, gaussian.logcdf), gaussian.logcdf),
    logsf=of_rows(_or_gaussian(logsf, gaussian.logsf), _or_gaussian(plain_logsf, gaussian.logsf), gaussian.logsf),
    posterior=moments_of_rows(_or_gaussian(posterior, gaussian.posterior), gaussian.posterior),
    sample=sample,
    by_quadrature=True,
    slopes=slopes_of_rows(slopes, plain_slopes, point_slopes),
)
