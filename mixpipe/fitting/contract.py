"""The contract of the engines: the definition of a problem, and the methods that every engine has."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from mixpipe.base.arrays import Array
from mixpipe.model.cell_blocks import CellBlocks
from mixpipe.model.cells import Cells
from mixpipe.model.constraints import NO_CONSTRAINTS, Constraints
from mixpipe.model.mixture import Mixture
from mixpipe.model.results import FitResult
from mixpipe.model.rows import Rows, Survey

# A maximum of the likelihood: the mixture and its log-likelihood.
Maximum = tuple[Mixture, float]


@dataclass(frozen=True)
class Demands:
    """The abilities that a problem demands of an engine, which are known before any data are read.

    The defaults are what every engine and estimator can do: Gaussian components and plain values.

    Parameters
    ----------
    families : tuple of str
        Distinct families of the components; ``uniform`` is a background.
    values_only : bool
        Whether the data are plain values, without limits, truncation, bins or known members.
    gaussian_errors : bool
        Whether the errors are symmetric Gaussians.
    constrained : bool
        Whether something is given of the components or shared by them, or the errors are scaled.
    """

    families: tuple[str, ...] = ("gaussian",)
    values_only: bool = True
    gaussian_errors: bool = True
    constrained: bool = False

    @classmethod
    def of(cls, cells: Cells | CellBlocks, mixture: Mixture) -> Demands:
        """The demands of a mixture that describes these cells."""
        families = tuple(dict.fromkeys(mixture.families))
        return cls(families, cells.are_values, not cells.has_noise, mixture.is_constrained)

    @classmethod
    def of_fit(cls, cells: Cells | CellBlocks, fit: FitResult) -> Demands:
        """The demands of refits of a fit to these cells, which have the prior of the fit."""
        found = cls.of(cells, fit.mixture)
        return replace(found, constrained=found.constrained or fit.prior_rows > 0.0)


@dataclass(frozen=True, eq=False)
class Problem:
    """The data and the kind of mixture to be fitted.

    Parameters
    ----------
    cells : Cells or CellBlocks
        The data.
    family : str
        Family of the components.
    background : tuple of (float, float) or None
        Range of an additional uniform component, which counts as one of the components.
    constraints : Constraints
        What is given of the components or shared by them.
    mixed : tuple of str
        Families among which each component is chosen; empty if all are of `family`.
    fits_scale : bool
        Whether one factor of all errors is fitted, too.
    prior_rows : float
        Number of rows that each component is given beforehand.
    n_threads : int or None
        Number of threads; all cores by default. No result depends on it.
    """

    cells: Cells | CellBlocks
    family: str = "gaussian"
    background: tuple[float, float] | None = None
    constraints: Constraints = NO_CONSTRAINTS
    mixed: tuple[str, ...] = ()
    fits_scale: bool = False
    prior_rows: float = 0.0
    n_threads: int | None = None

    @property
    def demands(self) -> Demands:
        """The abilities that the problem demands of its engine."""
        background = () if self.background is None else ("uniform",)
        known = [slot.family for slot in self.constraints.slots if slot.family is not None]
        families = tuple(dict.fromkeys([*(self.mixed or (self.family,)), *known, *background]))
        special = self.constraints != NO_CONSTRAINTS or len(self.mixed) > 1 or self.fits_scale or self.prior_rows > 0.0
        return Demands(families, self.cells.are_values, not self.cells.has_noise, special)


@dataclass(frozen=True)
class SketchUse:
    """The sketch that was used, and the precision that was lost with it.

    Parameters
    ----------
    n_cells, n_points : int
        Number of cells and of points of the sketch.
    base : float
        Smallest total width that the sketch resolves, in the unit of the data.
    resolved : bool
        Whether the narrowest component of the chosen fit is resolved.
    loglik_error : float
        Difference, in nats, between the log-likelihoods of the chosen fit on the sketch and on the rows. If the fit was
        not finished on the rows, the difference from a sketch with wider cells, which is larger.
    shift : float
        Largest distance of a parameter between these two maxima, in standard errors; a slight overestimate.
    """

    n_cells: int
    n_points: int
    base: float
    resolved: bool
    loglik_error: float
    shift: float


class Fits:
    """The best fit for each number of components, in increasing order, with what else is known of the data.

    Attributes
    ----------
    maxima : list of (Mixture, float)
        Mixtures with their log-likelihoods, which are cheaper to compute than complete results.
    loglik_bound, bound_sigma : float
        No mixture whose sigmas are at least `bound_sigma` has a higher log-likelihood than `loglik_bound`; nan if no
        bound is known.
    sketch : SketchUse or None
        The precision of the sketch, if one was used.
    points : Cells or None
        The points of the sketch.
    survey : Survey or None
        Summary of the rows.
    """

    maxima: list[Maximum]
    loglik_bound: float = math.nan
    bound_sigma: float = math.nan
    sketch: SketchUse | None = None
    points: Cells | None = None
    survey: Survey | None = None

    def results(self) -> list[FitResult]:
        """The fits with uncertainties and warnings."""
        raise NotImplementedError


class StreamFits(Fits):
    """The best fits of rows that need not fit into memory."""

    def points_loglik(self, mixture: Mixture) -> float:
        """Log-likelihood of the points of the sketch."""
        raise NotImplementedError

    def climb(self, rows: Rows, start: Mixture) -> FitResult:
        """The maximum over the rows that is reached from a start near a maximum over the points of their sketch."""
        raise NotImplementedError


class HeldMaxima(Protocol):
    """Maxima of the likelihood with one parameter held, all in the units of the data.

    `part` is the name of an array of the mixture. A maximum is returned with its location, in a form that only the
    engine needs to understand, from which the next climb can start.
    """

    loglik: float
    n_data: float
    weights: Array

    def climb(self, part: str, component: int, value: float, near: Any | None) -> tuple[float, Any]:
        """Log-likelihood and location of the maximum reached from the start `near`, or from the fit if None."""

    def span(self, part: str, component: int, target: float) -> tuple[float, float, float, float]:
        """The estimate, a step, and the lowest and highest values of a parameter other than a weight.

        The step is as large as the interval of an isolated component.
        """


class Refit(Protocol):
    """Refits that climb from a fit: to resampled rows and to simulated catalogs."""

    def reweighted(self, weights: Array) -> tuple[Array, bool]:
        """The parameters of the fit with other row weights, and whether the climb converged.

        The parameters are weights, means, sigmas and shapes, an array of shape (4, n_components), matched to the
        components of the fit; nan for parameters that are not fitted.
        """

    def again(self, catalog: Cells) -> Mixture:
        """The maximum of the likelihood of a catalog that was drawn from the fit."""


class Engine(Protocol):
    """Maximum-likelihood fits of one kind of problem.

    All other code uses an engine through these methods and does not need to know which engine it is.

    Attributes
    ----------
    algorithms : tuple of str
        Names of the algorithms for climbing, the default first.
    """

    algorithms: tuple[str, ...]

    def accepts(self, demands: Demands) -> bool:
        """Whether the engine can solve problems with these demands."""

    def fits(
        self,
        problem: Problem,
        max_components: int,
        *,
        last: int = 0,
        criterion: str = "bic",
        progress: Callable[[int], None] | None = None,
    ) -> Fits:
        """The best fit found for each number of components.

        Parameters
        ----------
        problem : Problem
        max_components : int
            Largest number of components, including a background.
        last : int
            Number of fits that are wanted, those with most components; 0 for all, to choose among them.
        criterion : str
            Criterion that will choose among the fits.
        progress : callable or None
            Called with the number of components whenever a fit has been found.
        """

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
        """The best fits of rows that need not fit into memory; unless `exact`, all results are those of a sketch."""

    def climb(self, problem: Problem, start: Mixture, algorithm: str) -> FitResult:
        """The maximum reached from a start."""

    def loglik(self, cells: Cells | CellBlocks, mixture: Mixture) -> float:
        """Log-likelihood of a mixture."""

    def held(self, cells: Cells, fit: FitResult) -> HeldMaxima:
        """Maxima with one parameter held, for profiles."""

    def points_for(self, rows: CellBlocks, fit: FitResult) -> Cells | None:
        """Points that stand for the rows near a fit; None if rows of this kind have none."""

    def resolved_width(self, cells: Cells, fit: FitResult) -> float | None:
        """The width that a sketch must resolve to represent the rows; None if these are too few to need a sketch."""

    def refit(self, cells: Cells, fit: FitResult) -> Refit:
        """Refits with other weights of these cells, and to catalogs like them."""
