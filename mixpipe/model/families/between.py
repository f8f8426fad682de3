"""Probabilities between two bounds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.special import log_ndtr

from mixpipe.base.arrays import Array
from mixpipe.model.families.family import Family
from mixpipe.model.noise import Noise


def log_between(
    family: Family, bounds: tuple[Any, Any], err: Array | Noise, mean: float, sigma: float, shape: float
) -> Array:
    """Log of the probability that a value with each row's error lies between two bounds, which may differ by row."""
    low, high = bounds
    if np.ndim(high) == 0 and high == math.inf:
        return family.logsf(low, err, mean, sigma, shape)
    if family.name == "gaussian" and not isinstance(err, Noise) and (sigma > 0.0 or np.all(np.asarray(err) > 0.0)):
        return _between_in_gaussian(low, high, np.hypot(sigma, err), mean)
    upper = sides(family, high, err, mean, sigma, shape)
    if np.ndim(low) == 0 and low == -math.inf:
        return upper[0]
    return log_difference(sides(family, low, err, mean, sigma, shape), upper)


def _between_in_gaussian(low: Any, high: Any, total: Any, mean: float) -> Array:
    """As `log_difference`, for a Gaussian of positive width, of which only one tail is computed."""
    lower, upper = (low - mean) / total, (high - mean) / total
    with np.errstate(invalid="ignore"):
        above = lower + upper > 0.0
    lower, upper = log_ndtr(np.where(above, -upper, lower)), log_ndtr(np.where(above, -lower, upper))
    with np.errstate(divide="ignore", invalid="ignore"):
        between = upper + np.log1p(-np.exp(np.minimum(lower - upper, 0.0)))
    return np.where(np.isnan(between), -np.inf, between)


def log_difference(low: tuple[Array, Array], high: tuple[Array, Array]) -> Array:
    """Log of the probability between two bounds from the `sides` of each."""
    (lower, above_low), (upper, above_high) = low, high
    # The difference is taken in the tail where the probabilities are small, so that it keeps its digits.
    with np.errstate(divide="ignore", invalid="ignore"):
        from_below = upper + np.log1p(-np.exp(np.minimum(lower - upper, 0.0)))
        from_above = above_low + np.log1p(-np.exp(np.minimum(above_high - above_low, 0.0)))
    between = np.where(lower < above_high, from_below, from_above)
    # Where both probabilities are zero, so is their difference.
    return np.where(np.isnan(between), -np.inf, between)


def sides(
    family: Family, bound: Any, err: Array | Noise, mean: float, sigma: float, shape: float
) -> tuple[Array, Array]:
    """Logs of the probabilities below and above a bound, some of which may be infinite."""
    infinite = np.isinf(bound)
    at = np.where(infinite, mean, bound) if np.any(infinite) else bound
    below, above = family.logcdf(at, err, mean, sigma, shape), family.logsf(at, err, mean, sigma, shape)
    if np.any(infinite):
        beyond = np.asarray(bound) > 0.0
        below = np.where(infinite, np.where(beyond, 0.0, -np.inf), below)
        above = np.where(infinite, np.where(beyond, -np.inf, 0.0), above)
    return below, above
