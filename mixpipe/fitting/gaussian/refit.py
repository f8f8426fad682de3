"""Refits of a Gaussian fit: to resampled rows, and to catalogs that were drawn from the fit."""

from __future__ import annotations

import numpy as np

from mixpipe.base.arrays import Array
from mixpipe.fitting.gains import RESAMPLED_GAIN
from mixpipe.fitting.gaussian.em import Ascent, ascend
from mixpipe.fitting.gaussian.likelihood import Likelihood, Params
from mixpipe.fitting.matched import matched
from mixpipe.model.cells import Cells
from mixpipe.model.mixture import Mixture
from mixpipe.model.results import FitResult


class GaussianRefit:
    """See `mixpipe.fitting.contract.Refit`."""

    def __init__(self, cells: Cells, fit: FitResult) -> None:
        self.cells, self.fit = cells, fit
        self.likelihood = Likelihood(cells, 1)
        self.start = self.likelihood.scaled(fit.mixture)
        self.total_var = self.likelihood.derivatives(self.start).total_var

    def reweighted(self, weights: Array) -> tuple[Array, bool]:
        """The parameters of the fit with other row weights, and whether the climb converged."""
        likelihood, start = self.likelihood, self.start
        ascent = self._climb(Likelihood(Cells(self.cells.x, self.cells.err, weights), 1, like=likelihood), start)
        params = ascent.params
        means = likelihood.centre + likelihood.scale * params.means
        sigmas = likelihood.scale * np.sqrt(params.variances)
        parts = np.stack([params.weights, means, sigmas, np.full(means.size, np.nan)])
        return parts[:, matched(_triple(start), _triple(params), self.total_var)], ascent.converged

    def again(self, catalog: Cells) -> Mixture:
        """The maximum of the likelihood of a catalog that is reached from the fit."""
        likelihood = Likelihood(catalog, 1)
        return likelihood.mixture(self._climb(likelihood, likelihood.scaled(self.fit.mixture)).params)

    def _climb(self, likelihood: Likelihood, start: Params) -> Ascent:
        floor = (self.fit.sigma_floor / likelihood.scale) ** 2
        return ascend(likelihood, start, floor, gain=RESAMPLED_GAIN, n_em=0)


def _triple(params: Params) -> tuple[Array, Array, Array]:
    return params.weights, params.means, np.sqrt(params.variances)
