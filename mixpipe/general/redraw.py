"""Catalogs drawn from a mixture of any family, as the data are: with their errors, limits and bounds; fitted again."""

from __future__ import annotations

import numpy as np

from mixpipe.arrays import Array
from mixpipe.general.censoring import censored
from mixpipe.general.likelihood import Point
from mixpipe.general.points import likelihood_like
from mixpipe.general.search import ascend
from mixpipe.mixture import Mixture
from mixpipe.model import Cells

# A refit ends when a step promises less than this (nats): far below what moves a statistic of the quality.
_GAIN = 1e-2
# Rounds of drawing again the values that fall outside the bounds, at the most.
_MAX_ROUNDS = 10_000


def draw_catalog(mixture: Mixture, like: Cells, rng: np.random.Generator) -> Cells:
    """A catalog with the errors, weights, resolution, limits and bounds of some cells.

    Values outside the bounds are drawn again; limits are those of `mixpipe.general.censoring`.

    Raises
    ------
    ValueError
        If the mixture has next to nothing between the bounds.
    """
    low, high = like.truncated or (-np.inf, np.inf)
    err = like.err
    x: Array = np.empty(err.size)
    waiting = np.arange(err.size)
    for _ in range(_MAX_ROUNDS):
        values = mixture.sample(waiting.size, rng) + err[waiting] * rng.standard_normal(waiting.size)
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
    return Cells(x, err, like.weights, like.resolution, limits, like.truncated)


def fitted_again(mixture: Mixture, catalog: Cells) -> Mixture:
    """The maximum of the likelihood of a catalog, climbed from the mixture that it was drawn from."""
    start = Point.of(mixture)
    return ascend(likelihood_like(catalog, start), start, gain=_GAIN).point.mixture()
