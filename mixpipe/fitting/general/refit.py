"""Refits of the general likelihood: to resampled rows, and to catalogs that were drawn from a fit."""

from __future__ import annotations

import numpy as np

from mixpipe.base.arrays import Array
from mixpipe.fitting.gains import CONVERGED_GAIN, RESAMPLED_GAIN
from mixpipe.fitting.general.likelihood import Point
from mixpipe.fitting.general.points import likelihood_like
from mixpipe.fitting.general.search import ascend_general
from mixpipe.fitting.matched import matched
from mixpipe.model.cells import Cells
from mixpipe.model.constraints import EQUAL, PARTS
from mixpipe.model.mixture import Mixture
from mixpipe.model.results import FitResult

# A refit to a catalog ends when the predicted gain of a step is below this (nats), which is far too little to affect a
# statistic of the quality.
_CATALOG_GAIN = 1e-2


class GeneralRefit:
    """See `mixpipe.fitting.contract.Refit`."""

    def __init__(self, cells: Cells, fit: FitResult) -> None:
        self.start = Point.of(fit.mixture)
        self.prior_rows = fit.prior_rows
        self.likelihood = likelihood_like(cells, self.start, prior_rows=self.prior_rows)
        self.fixed = np.array(self.start.fixed)
        # Components of which something is known cannot be mistaken for others.
        free = [rule.is_free or rule == EQUAL for rule in self.start.constraints]
        self.free = np.array(free) & ~self.fixed
        self.total_var = np.hypot(self.start.sigmas, self.likelihood.typical_err)[self.free] ** 2

    def reweighted(self, weights: Array) -> tuple[Array, bool]:
        """The parameters of the fit with other row weights, and whether the climb converged."""
        ascent = ascend_general(self.likelihood.reweighted(weights), self.start, gain=RESAMPLED_GAIN)
        point, free = ascent.point, self.free
        order = np.arange(free.size)
        order[free] = order[free][matched(self._moving(self.start), self._moving(point), self.total_var)]
        # As in the fit, a width at the floor counts as zero if every row has an error.
        sigmas = np.where(point.sigmas <= self.likelihood.none, 0.0, point.sigmas)
        parts = np.stack([point.weights, point.means, sigmas, point.shapes])
        parts[1:3, self.fixed] = np.nan
        for k, part in enumerate(PARTS):
            parts[k, [rule.is_given(part) for rule in self.start.constraints]] = np.nan
        return parts[:, order], ascent.remaining_gain < CONVERGED_GAIN

    def again(self, catalog: Cells) -> Mixture:
        """The maximum of the likelihood of a catalog that is reached from the fit."""
        likelihood = likelihood_like(catalog.merged(), self.start, prior_rows=self.prior_rows)
        return ascend_general(likelihood, self.start, gain=_CATALOG_GAIN).point.mixture()

    def _moving(self, point: Point) -> tuple[Array, Array, Array]:
        """Weights, means and sigmas of the components that are not fixed."""
        return point.weights[self.free], point.means[self.free], point.sigmas[self.free]
