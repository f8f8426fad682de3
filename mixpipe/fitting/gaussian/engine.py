"""The engine for Gaussian components of plain values, which is fast and certified and handles any number of rows."""

from __future__ import annotations

import math
from collections.abc import Callable

from mixpipe.fitting.contract import Demands, Problem, StreamFits
from mixpipe.fitting.gaussian.em import EM_STEPS, ascend, iterate
from mixpipe.fitting.gaussian.fits import Found, best_fits, best_fits_of_rows
from mixpipe.fitting.gaussian.held import GaussianMaxima
from mixpipe.fitting.gaussian.likelihood import Likelihood
from mixpipe.fitting.gaussian.refit import GaussianRefit
from mixpipe.fitting.gaussian.results import result_of
from mixpipe.fitting.gaussian.row_likelihood import RowLikelihood
from mixpipe.fitting.general.fit import loglik_of
from mixpipe.fitting.general.likelihood import Point
from mixpipe.fitting.general.points import sketch_for
from mixpipe.model.cell_blocks import CellBlocks
from mixpipe.model.cells import Cells
from mixpipe.model.mixture import Mixture
from mixpipe.model.regimes import SEARCH_ROWS
from mixpipe.model.results import FitResult
from mixpipe.model.rows import Rows

# Width that a resampled sketch resolves, as a fraction of the observed width of the narrowest component.
_RESAMPLED_BASE = 0.5


class GaussianFits(StreamFits):
    """The fits that a search has found."""

    def __init__(self, found: Found, *, last: int = 0) -> None:
        self._found, self._last = found, last
        self.maxima = [(found.likelihood.mixture(ascent.params), ascent.loglik) for ascent in found.ascents[-last:]]
        self.loglik_bound, self.bound_sigma = found.certificate.loglik_bound, found.certificate.bound_sigma
        self.sketch, self.points, self.survey = found.sketch, found.points, found.survey

    def results(self) -> list[FitResult]:
        """The fits with uncertainties and warnings; those that are only maxima of a sketch are marked as such."""
        found = self._found
        fits = zip(found.ascents, found.certificate.gradient_max, found.finished, strict=True)
        return [
            result_of(found.likelihood, ascent, found.floor, found.resolution, slope, exact)
            for ascent, slope, exact in list(fits)[-self._last :]
        ]

    def points_loglik(self, mixture: Mixture) -> float:
        """Log-likelihood of the points of the sketch."""
        likelihood = self._found.likelihood
        return float(likelihood.logpdf(likelihood.scaled(mixture))[1])

    def climb(self, rows: Rows, start: Mixture) -> FitResult:
        """The maximum over the rows that is reached from a start near a maximum over the points of their sketch."""
        found = self._found
        if found.survey is None:
            raise ValueError("the fits were not found on a sketch")
        likelihood = RowLikelihood(rows, found.likelihood, found.survey)
        ascent = ascend(likelihood, found.likelihood.scaled(start), found.floor, n_em=0)
        found.likelihood.count_passes(likelihood.n_passes)
        return result_of(found.likelihood, ascent, found.floor, found.resolution)


class GaussianEngine:
    """See `mixpipe.fitting.contract.Engine`."""

    algorithms = ("newton", *EM_STEPS)

    def accepts(self, demands: Demands) -> bool:
        """Whether all components are Gaussian and all data are plain values."""
        return demands == Demands()

    def fits(
        self,
        problem: Problem,
        max_components: int,
        *,
        last: int = 0,
        criterion: str = "bic",
        progress: Callable[[int], None] | None = None,
    ) -> GaussianFits:
        """The best fit found for each number of components."""
        cells = problem.cells
        if isinstance(cells, CellBlocks):
            return self.fits_of_rows(
                Rows.of_cells(cells),
                max_components,
                last=last,
                sigma_floor=cells.sigma_floor,
                criterion=criterion,
                exact=cells.exact,
                progress=progress,
            )
        # Where all values are equal, the rounding of a sketch is wider than they are.
        if len(cells) <= SEARCH_ROWS or cells.x.min() == cells.x.max():
            found = best_fits(
                cells,
                Likelihood(cells, problem.n_threads),
                max_components,
                criterion=criterion,
                certified=last == 0,
                progress=progress,
            )
        else:
            found = best_fits_of_rows(
                Rows.of(cells, problem.n_threads),
                cells.resolution.floor if cells.resolution.cause == "given" else None,
                max_components,
                n_last=last,
                criterion=criterion,
                progress=progress,
            )
        return GaussianFits(found, last=last)

    def fits_of_rows(
        self,
        rows: Rows,
        max_components: int,
        *,
        last: int = 0,
        sigma_floor: float | None = None,
        criterion: str = "bic",
        exact: bool = True,
        progress: Callable[[int], None] | None = None,
    ) -> GaussianFits:
        """The best fits of rows that need not fit into memory."""
        found = best_fits_of_rows(
            rows, sigma_floor, max_components, n_last=last, criterion=criterion, exact=exact, progress=progress
        )
        return GaussianFits(found, last=last)

    def climb(self, problem: Problem, start: Mixture, algorithm: str) -> FitResult:
        """The maximum reached from a start, by Newton steps or by plain EM."""
        cells = problem.cells
        if isinstance(cells, CellBlocks):
            raise TypeError("expected rows in memory; `StreamFits.climb` climbs on others")
        likelihood = Likelihood(cells, problem.n_threads)
        resolution = cells.resolution
        floor = (resolution.floor / likelihood.scale) ** 2
        if algorithm == "newton":
            ascent = ascend(likelihood, likelihood.scaled(start), floor)
        else:
            ascent = iterate(likelihood, likelihood.scaled(start), floor, algorithm)
        return result_of(likelihood, ascent, floor, resolution)

    def loglik(self, cells: Cells | CellBlocks, mixture: Mixture) -> float:
        """Log-likelihood of a mixture, equal to the last bit to that of the other engine, to compare families."""
        return loglik_of(mixture, cells)

    def held(self, cells: Cells, fit: FitResult) -> GaussianMaxima:
        """Maxima with one parameter held."""
        return GaussianMaxima(cells, fit)

    def points_for(self, rows: CellBlocks, fit: FitResult) -> Cells | None:
        """Points that stand for the rows near a fit; None if rows of this kind have none."""
        return sketch_for(rows, Point.of(fit.mixture))

    def resolved_width(self, cells: Cells, fit: FitResult) -> float | None:
        """The width that a sketch must resolve to represent the rows."""
        if len(cells) <= SEARCH_ROWS:
            return None
        likelihood = Likelihood(cells)
        total = likelihood.derivatives(likelihood.scaled(fit.mixture)).total_var
        return _RESAMPLED_BASE * likelihood.scale * math.sqrt(float(total.min()))

    def refit(self, cells: Cells, fit: FitResult) -> GaussianRefit:
        """Refits that start from this fit."""
        return GaussianRefit(cells, fit)
