"""Probabilities between two bounds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

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
    upper = family.logcdf(high, err, mean, sigma, shape)
    if np.ndim(low) == 0 and low == -math.inf:
        return upper
    lower = family.logcdf(low, err, mean, sigma, shape)
    # The difference is taken in the tail where the probabilities are small, so that it keeps its digits.
    above_low, above_high = (family.logsf(bound, err, mean, sigma, shape) for bound in (low, high))
    with np.errstate(divide="ignore", invalid="ignore"):
        from_below = upper + np.log1p(-np.exp(np.minimum(lower - upper, 0.0)))
        from_above = above_low + np.log1p(-np.exp(np.minimum(above_high - above_low, 0.0)))
    between = np.where(lower < above_high, from_below, from_above)
    # Where both probabilities are zero, so is their difference.
    return np.where(np.isnan(between), -np.inf, between)
