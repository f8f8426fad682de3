"""Catalogs drawn from a mixture of any family, with the errors and within the bounds of the data, fitted again."""

from __future__ import annotations

import numpy as np

from mixpipe.arrays import Array
from mixpipe.general.likelihood import Likelihood, Point
from mixpipe.general.search import ascend
from mixpipe.mixture import Mixture
from mixpipe.model import Cells

# A refit ends when a step promises less than this (nats): far below what moves a statistic of the quality.
_GAIN = 1e-2
# Rounds of drawing again the values that fall outside the bounds, at the most.
_MAX_ROUNDS = 10_000


def draw_catalog(mixture: Mixture, err: Array, weights: Array, like: Cells, rng: np.random.Generator) -> Cells:
    """Values with these errors and weights, and of the resolution and within the bounds of some cells.

    Raises
    ------
    ValueError
        If the mixture has next to nothing between the bounds.
    """
    low, high = like.truncated or (-np.inf, np.inf)
    x: Array = np.empty(err.size)
    waiting = np.arange(err.size)
    for _ in range(_MAX_ROUNDS):
        values = mixture.sample(waiting.size, rng) + err[waiting] * rng.standard_normal(waiting.size)
        inside = (values >= low) & (values <= high)
        x[waiting[inside]] = values[inside]
        waiting = waiting[~inside]
        if not waiting.size:
            return Cells(x, err, weights, like.resolution, None, like.truncated)
    raise ValueError("the mixture has next to nothing between the bounds")


def fitted_again(mixture: Mixture, catalog: Cells) -> Mixture:
    """The maximum of the likelihood of a catalog, climbed from the mixture that it was drawn from."""
    likelihood = Likelihood(catalog, smooth=any(name == "exponential" for name in mixture.families))
    return ascend(likelihood, Point.of(mixture), gain=_GAIN).point.mixture()
