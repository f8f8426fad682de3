"""Closed-form derivatives of Gaussian components: of densities, and of probabilities between bounds or in a window."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np

from mixpipe.base.arrays import Array
from mixpipe.model.families import FAMILIES, log_between
from mixpipe.model.families.noisy import gaussian_slopes
from mixpipe.model.noise import Noise
from mixpipe.model.window import Window

_LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)
# Logarithms of ratios are kept below this, so that neither they nor their squares overflow.
_LARGEST = 300.0
_GAUSSIAN = FAMILIES["gaussian"]


@dataclass(frozen=True, eq=False)
class Slopes:
    """Derivatives of a logarithm with respect to the mean and to ln sigma, each of shape (n_rows,)."""

    mean: Array
    width: Array
    mean_mean: Array
    mean_width: Array
    width_width: Array


def _by_log_sigma(
    by_total: Array, twice: Array, mixed: Array, total: Array, sigma: float
) -> tuple[Array, Array, Array]:
    """Convert derivatives with respect to T = sqrt(sigma^2 + err^2) to ln sigma: first, second, mixed with the mean."""
    chain = sigma**2 / total
    return by_total * chain, twice * chain**2 + by_total * chain * (2.0 - chain / total), mixed * chain


def of_density(x: Array, err: Array, mean: float, sigma: float) -> Slopes:
    """Derivatives of ln N(x | mean, T^2)."""
    total = np.hypot(sigma, err)
    score = (x - mean) / total
    width, twice, mixed = _by_log_sigma(
        (score**2 - 1.0) / total, (1.0 - 3.0 * score**2) / total**2, -2.0 * score / total**2, total, sigma
    )
    return Slopes(score / total, width, -1.0 / total**2, mixed, twice)


def of_probability(low: Array, high: Array, err: Array, mean: float, sigma: float, log_probability: Array) -> Slopes:
    """Derivatives of ln P for ``P = Phi((high - mean) / T) - Phi((low - mean) / T)``; bounds may be infinite."""
    total = np.hypot(sigma, err)
    sides = []
    for bound in (low, high):
        finite = np.isfinite(bound)
        score = (np.where(finite, bound, 0.0) - mean) / total
        with np.errstate(over="ignore", under="ignore"):
            ratio = np.exp(np.minimum(-0.5 * score**2 - _LOG_SQRT_2PI - log_probability, _LARGEST))
        sides.append((score, np.where(finite, ratio, 0.0)))
    (a, at_low), (b, at_high) = sides
    # Derivatives of P with respect to the mean and to T, divided by P.
    mean_1 = -(at_high - at_low) / total
    total_1 = -(b * at_high - a * at_low) / total
    mean_2 = total_1 / total
    mixed = -((b**2 - 1.0) * at_high - (a**2 - 1.0) * at_low) / total**2
    total_2 = (b * (2.0 - b**2) * at_high - a * (2.0 - a**2) * at_low) / total**2
    width, twice, crossed = _by_log_sigma(total_1, total_2 - total_1**2, mixed - mean_1 * total_1, total, sigma)
    return Slopes(mean_1, width, mean_2 - mean_1**2, crossed, twice)


def of_noisy_probability(
    low: Array, high: Array, noise: Noise, mean: float, sigma: float, log_probability: Array
) -> Array:
    """ln P of an observed value between two bounds, for any errors, and its derivatives as `Family.slopes` has them.

    The distribution function F of observed values obeys ``dF/dm = -p``, where p is their density, and the heat equation
    ``dF/d(sigma^2) = 1/2 d^2F/dm^2``. All derivatives are thus those of p at the bounds, which may be infinite.
    """
    mean_1 = mean_2 = mixed = mean_2_width = np.zeros(log_probability.shape)
    for sign, bound in ((-1.0, high), (1.0, low)):
        finite = np.isfinite(bound)
        log_density, by_mean, by_width, _, crossed, _ = gaussian_slopes(
            np.where(finite, bound, mean), noise, mean, sigma
        )
        with np.errstate(over="ignore", under="ignore"):
            ratio = sign * np.where(finite, np.exp(np.minimum(log_density - log_probability, 300.0)), 0.0)
        mean_1 = mean_1 + ratio
        mean_2 = mean_2 + ratio * by_mean
        mixed = mixed + ratio * by_width
        mean_2_width = mean_2_width + ratio * (crossed + by_mean * by_width)
    width_1 = sigma**2 * mean_2
    width_2 = 2.0 * width_1 + sigma**2 * mean_2_width
    return np.stack(
        [
            log_probability,
            mean_1,
            width_1,
            mean_2 - mean_1**2,
            mixed - mean_1 * width_1,
            width_2 - width_1**2,
        ]
    )


def of_window(window: Window, err: Array, mean: float, sigma: float, log_probability: Array) -> Slopes:
    """Derivatives of ln P for the probability of being seen, ``P = integral S(x) N(x | mean, T^2) dx``.

    With T held, the derivatives of P by the mean are the sums over the pieces of S of ``-[S N] + slope (Phi)``,
    ``-[S N'] - slope [N]`` and so on, where [] is the difference between the ends of a piece and N' that by the mean.
    The others follow from ``dN/dT = T d2N/dmean2``.
    """

    def at(errors: Array) -> Array:
        log_p = log_probability if errors is err else window.log_seen(_GAUSSIAN, errors, mean, sigma, math.nan)
        return np.stack(astuple(_of_pieces(window, errors, mean, sigma, log_p)))

    return Slopes(*window.between_errors(err, at))


def _of_pieces(window: Window, err: Array, mean: float, sigma: float, log_probability: Array) -> Slopes:
    piece, errors = window.together(err)
    total, log_p = np.hypot(sigma, errors), np.tile(log_probability, len(window.pieces))
    low, high = (_at_end(end, mean, total, log_p) for end in (piece.low, piece.high))
    parts, slope = piece.at_low * low - piece.at_high * high, piece.slope
    if slope.any():
        inside = log_between(_GAUSSIAN, (piece.low, piece.high), errors, mean, sigma, math.nan)
        parts[1:] -= slope * (high - low)[:3]
        parts[0] += slope * np.exp(np.minimum(inside - log_p, _LARGEST))
    by_mean = parts.reshape(4, -1, err.size).sum(axis=1)
    total = np.hypot(sigma, err)
    mean_1, mean_2, mean_3, mean_4 = by_mean
    total_1, mixed, total_2 = total * mean_2, total * mean_3, mean_2 + total**2 * mean_4
    width, twice, crossed = _by_log_sigma(total_1, total_2 - total_1**2, mixed - mean_1 * total_1, total, sigma)
    return Slopes(mean_1, width, mean_2 - mean_1**2, crossed, twice)


def _at_end(end: Any, mean: float, total: Array, log_probability: Array) -> Array:
    """N at the end of a piece and its first three derivatives with respect to the mean, divided by P."""
    finite = np.isfinite(end)
    u = (np.where(finite, end, 0.0) - mean) / total
    with np.errstate(over="ignore", under="ignore"):
        density = np.exp(np.minimum(-0.5 * u**2 - _LOG_SQRT_2PI - log_probability, _LARGEST)) / total
    density = np.where(finite, density, 0.0)
    powers = np.stack([np.ones_like(u), u / total, (u**2 - 1.0) / total**2, u * (u**2 - 3.0) / total**3])
    return np.asarray(density * powers)
