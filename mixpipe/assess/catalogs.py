"""Catalogs drawn from a mixture of any family, with the errors, limits and bounds of the data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mixpipe.assess.censoring import censored
from mixpipe.base.arrays import Array
from mixpipe.model.cells import Cells
from mixpipe.model.families import FAMILIES, log_between
from mixpipe.model.mixture import Mixture
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
    err, step = like.err, like.resolution.step
    distinct = np.unique(like.x) if step > 0.0 else like.x
    x: Array = np.empty(err.size)
    waiting = np.arange(err.size)
    for _ in range(_MAX_ROUNDS):
        values = mixture.sample(waiting.size, rng) + err[waiting] * rng.standard_normal(waiting.size)
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


def _draw_bins(mixture: Mixture, like: Cells, rng: np.random.Generator) -> Cells:
    """Draw the same total number of rows into these bins."""
    bounds = tuple(np.asarray(like.edges).T)
    components = zip(mixture.weights, mixture.families, mixture.means, mixture.sigmas, mixture.shapes, strict=True)
    shares = np.zeros(len(like))
    for weight, family, *own in components:
        shares += weight * np.exp(log_between(FAMILIES[family], bounds, like.err, *own))
    return replace(like, weights=rng.multinomial(round(like.n_data), shares / shares.sum()).astype(np.float64))
