"""A fit of the general likelihood done again: on resampled rows, and on catalogs that were drawn from it."""

from __future__ import annotations

import numpy as np

from mixpipe.base.arrays import Array
from mixpipe.fitting.gains import CONVERGED_GAIN, RESAMPLED_GAIN
from mixpipe.fitting.general.likelihood import Point
from mixpipe.fitting.general.points import likelihood_like
from mixpipe.fitting.general.search import ascend
from mixpipe.fitting.matched import matched
from mixpipe.model.cells import Cells
from mixpipe.model.mixture import Mixture
from mixpipe.model.results import FitResult

# A refit of a catalog ends when a step promises less than this (nats): far below what moves a statistic of the quality.
_CATALOG_GAIN = 1e-2


class GeneralRefit:
    """See `mixpipe.fitting.contract.Refit`."""

    def __init__(self, cells: Cells, fit: FitResult) -> None:
        self.start = Point.of(fit.mixture)
        self.likelihood = likelihood_like(cells, self.start)
        self.free = ~np.array(self.start.fixed)
        self.total_var = np.hypot(self.start.sigmas, self.likelihood.typical_err)[self.free] ** 2

    def reweighted(self, weights: Array) -> tuple[Array, bool]:
        """The parameters under other weights, and whether the climb has converged."""
        ascent = ascend(self.likelihood.reweighted(weights), self.start, gain=RESAMPLED_GAIN)
        point, free = ascent.point, self.free
        order = np.arange(free.size)
        order[free] = order[free][matched(self._moving(self.start), self._moving(point), self.total_var)]
        # At the floor a width is none where every row has an error, as in the fit.
        sigmas = np.where(point.sigmas <= self.likelihood.none, 0.0, point.sigmas)
        parts = np.stack([point.weights, point.means, sigmas, point.shapes])
        parts[1:3, ~free] = np.nan
        return parts[:, order], ascent.remaining_gain < CONVERGED_GAIN

    def again(self, catalog: Cells) -> Mixture:
        """The maximum of the likelihood of a catalog, climbed from the fit."""
        return ascend(likelihood_like(catalog, self.start), self.start, gain=_CATALOG_GAIN).point.mixture()

    def _moving(self, point: Point) -> tuple[Array, Array, Array]:
        """Weights, means and sigmas of the components that may move."""
        return point.weights[self.free], point.means[self.free], point.sigmas[self.free]
