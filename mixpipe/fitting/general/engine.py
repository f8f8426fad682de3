"""The engine for components of any family, limits, truncated samples and bins."""

from __future__ import annotations

from collections.abc import Callable

from mixpipe.base.threads import available_threads
from mixpipe.fitting.contract import Demands, Fits, Problem, StreamFits
from mixpipe.fitting.general.fit import climb, fit_family, loglik_of
from mixpipe.fitting.general.held import GeneralMaxima
from mixpipe.fitting.general.likelihood import Point
from mixpipe.fitting.general.points import are_few, base_for, sketch_for
from mixpipe.fitting.general.refit import GeneralRefit
from mixpipe.model.cell_blocks import CellBlocks
from mixpipe.model.cells import Cells
from mixpipe.model.mixture import Mixture
from mixpipe.model.results import FitResult
from mixpipe.model.rows import Rows


class _GeneralFits(Fits):
    def __init__(self, fits: list[FitResult]) -> None:
        self._fits = fits
        self.maxima = [(fit.mixture, fit.loglik) for fit in fits]

    def results(self) -> list[FitResult]:
        return self._fits


class GeneralEngine:
    """See `mixpipe.fitting.contract.Engine`."""

    algorithms: tuple[str, ...] = ("newton",)

    def accepts(self, demands: Demands) -> bool:
        """True: this engine accepts every problem."""
        return True

    def fits(
        self,
        problem: Problem,
        max_components: int,
        *,
        last: int = 0,
        criterion: str = "bic",
        progress: Callable[[int], None] | None = None,
    ) -> Fits:
        """The best fit found for each number of components."""
        fits = fit_family(
            problem.cells,
            problem.family,
            max_components,
            last=last,
            criterion=criterion,
            background=problem.background,
            constraints=problem.constraints,
            mixed=problem.mixed,
            fits_scale=problem.fits_scale,
            prior_rows=problem.prior_rows,
            n_threads=problem.n_threads or available_threads(),
            progress=progress,
        )
        return _GeneralFits(fits)

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
    ) -> StreamFits:
        """Not supported: `fits` takes `CellBlocks`, which need not fit into memory either."""
        raise ValueError("rows of any kind that need not fit into memory: expected `CellBlocks` as the cells of `fits`")

    def climb(self, problem: Problem, start: Mixture, algorithm: str) -> FitResult:
        """The maximum reached from a start."""
        n_threads = problem.n_threads or available_threads()
        return climb(problem.cells, start, problem.constraints, problem.fits_scale, problem.prior_rows, n_threads)

    def loglik(self, cells: Cells | CellBlocks, mixture: Mixture) -> float:
        """Log-likelihood of a mixture.

        Examples
        --------
        >>> cells = Cells.from_rows([0.0, 1.0], 0.5, limits=[0, -1])
        >>> round(GeneralEngine().loglik(cells, Mixture([1.0], [0.0], [1.0])), 4)
        -1.2357
        """
        return loglik_of(mixture, cells)

    def held(self, cells: Cells, fit: FitResult) -> GeneralMaxima:
        """Maxima with one parameter held."""
        return GeneralMaxima(cells, fit.mixture, fit.prior_rows)

    def points_for(self, rows: CellBlocks, fit: FitResult) -> Cells | None:
        """Points that stand for the rows near a fit; None if rows of this kind have none."""
        return sketch_for(rows, Point.of(fit.mixture))

    def resolved_width(self, cells: Cells, fit: FitResult) -> float | None:
        """The width that a sketch must resolve to represent the rows."""
        point = Point.of(fit.mixture)
        return None if are_few(cells, point) or cells.noise is not None else base_for(cells, point)

    def refit(self, cells: Cells, fit: FitResult) -> GeneralRefit:
        """Refits that start from this fit."""
        return GeneralRefit(cells, fit)
