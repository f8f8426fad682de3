"""Catalogs drawn from a mixture of any family, with the errors, limits and bounds of the data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.special import log_ndtr, ndtri_exp

from mixpipe.assess.censoring import censored
from mixpipe.base.arrays import Array
from mixpipe.model.cells import Cells
from mixpipe.model.families import FAMILIES, log_between
from mixpipe.model.mixture import Mixture
from mixpipe.model.noise import Noise, draw_noise
from mixpipe.model.resolution import rounded

# Largest number of rounds in which values outside the bounds are drawn again.
_MAX_ROUNDS = 10_000


def draw_catalog(mixture: Mixture, like: Cells, rng: np.random.Generator) -> Cells:
    """Draw a catalog with the errors, weights, resolution, limits and bounds of given cells.

    Values outside the bounds are drawn again; limits are drawn as described in `mixpipe.assess.censoring`. If the data
    were rounded to a grid, the drawn values are, too. Bins get the counts of the same total number of rows.

    Raises
    ------
    ValueError
        If the mixture has almost no probability between the bounds.
    """
    if like.edges is not None:
        return _draw_bins(mixture, like, rng)
    low, high = like.truncated or (-np.inf, np.inf)
    err, step = like.errors, like.resolution.step
    distinct = np.unique(like.x) if step > 0.0 else like.x
    x: Array = np.empty(len(like))
    waiting = np.arange(len(like))
    for _ in range(_MAX_ROUNDS):
        plain = mixture.is_gaussian and like.memberships is None
        if like.truncated is not None and plain and not isinstance(err, Noise):
            values = _draw_between(mixture, low, high, err[waiting], rng)
        else:
            priors = None if like.memberships is None else like.memberships[waiting]
            values = mixture.sample(waiting.size, rng, priors) + draw_noise(err[waiting], rng)
        if step > 0.0:
            values = rounded(values, distinct, step)
        inside = (values >= low) & (values <= high)
        x[waiting[inside]] = values[inside]
        waiting = waiting[~inside]
        if not waiting.size:
            break
    else:
        raise ValueError("the mixture has next to nothing between the bounds")
    limits = None
    if like.limits is not None:
        x, limits = censored(x, like.x, like.limits, like.weights, rng)
    return replace(like, x=x, limits=limits)


def _draw_between(mixture: Mixture, low: float, high: float, err: Array, rng: np.random.Generator) -> Array:
    """Draw observed values between two bounds, be they ever so far in the tail of the mixture."""
    total = np.hypot(mixture.sigmas, err[:, None])
    total = np.where(total > 0.0, total, np.finfo(np.float64).tiny)
    ends = (low - mixture.means) / total, (high - mixture.means) / total
    # In the upper tail, probabilities are those of the reflected values, which keep their digits.
    upper = ends[0] > -ends[1]
    left, right = np.where(upper, -ends[1], ends[0]), np.where(upper, -ends[0], ends[1])
    below, inside = log_ndtr(left), log_ndtr(right)
    inside += np.log1p(-np.exp(np.minimum(below - inside, -np.finfo(np.float64).eps)))
    shares = np.log(np.maximum(mixture.weights, np.finfo(np.float64).tiny)) + inside
    shares = np.cumsum(np.exp(shares - shares.max(axis=1, keepdims=True)), axis=1)
    rows = np.arange(err.size)
    j = np.argmax(shares >= rng.random((err.size, 1)) * shares[:, -1:], axis=1)
    z = ndtri_exp(np.minimum(np.logaddexp(below[rows, j], inside[rows, j] + np.log1p(-rng.random(err.size))), 0.0))
    z = np.clip(z, left[rows, j], right[rows, j])
    values = mixture.means[j] + total[rows, j] * np.where(upper[rows, j], -z, z)
    return np.clip(values, low, high)


def _draw_bins(mixture: Mixture, like: Cells, rng: np.random.Generator) -> Cells:
    """Draw the same total number of rows into these bins."""
    bounds = tuple(np.asarray(like.edges).T)
    components = zip(mixture.weights, mixture.families, mixture.means, mixture.sigmas, mixture.shapes, strict=True)
    shares = np.zeros(len(like))
    for weight, family, *own in components:
        shares += weight * np.exp(log_between(FAMILIES[family], bounds, like.err, *own))
    return replace(like, weights=rng.multinomial(round(like.n_data), shares / shares.sum()).astype(np.float64))
