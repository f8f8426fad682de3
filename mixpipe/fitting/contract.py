"""What a problem is, and what every engine does: the contract that `mixpipe.fitting.engine` chooses by."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from mixpipe.base.arrays import Array
from mixpipe.model.cells import Cells
from mixpipe.model.mixture import Mixture
from mixpipe.model.results import FitResult
from mixpipe.model.rows import Rows, Survey

# A maximum: the mixture, and its log-likelihood.
Maximum = tuple[Mixture, float]


@dataclass(frozen=True)
class Demands:
    """What an engine has to be able to do: known before any data are read.

    The defaults are what every engine and estimator can do: Gaussian components, and nothing but values.

    Parameters
    ----------
    families : tuple of str
        Families of the components, each once; ``uniform`` is a background.
    values_only : bool
        Whether there are no limits, no bounds of the sample and no bins.
    """

    families: tuple[str, ...] = ("gaussian",)
    values_only: bool = True

    @classmethod
    def of(cls, cells: Cells, mixture: Mixture) -> Demands:
        """Those of a mixture that describes some cells."""
        return cls(tuple(dict.fromkeys(mixture.families)), cells.are_values)


@dataclass(frozen=True, eq=False)
class Problem:
    """What is to be fitted.

    Parameters
    ----------
    cells : Cells
        The data.
    family : str
        Of the components.
    background : tuple of (float, float) or None
        Range of a uniform component beside them, which counts as one of the components.
    equal_sigmas : bool
        Whether all components have one width.
    n_threads : int or None
        Threads; all cores by default. No number depends on them.
    """

    cells: Cells
    family: str = "gaussian"
    background: tuple[float, float] | None = None
    equal_sigmas: bool = False
    n_threads: int | None = None

    @property
    def demands(self) -> Demands:
        """What its engine has to be able to do."""
        background = () if self.background is None else ("uniform",)
        return Demands((self.family, *background), self.cells.are_values)


@dataclass(frozen=True)
class SketchUse:
    """A sketch, and what it leaves out.

    Parameters
    ----------
    n_cells, n_points : int
        Its size.
    base : float
        Smallest total width that it resolves, in the unit of the data.
    resolved : bool
        Whether the narrowest component of the chosen fit is wider than that.
    loglik_error : float
        By how much the log-likelihood of the chosen fit on the sketch differs from that on the rows, in nats. Where
        the rows were not looked at, from that on wider cells, which is more.
    shift : float
        The largest distance of a parameter between these two maxima, in standard errors, and somewhat more.
    """

    n_cells: int
    n_points: int
    base: float
    resolved: bool
    loglik_error: float
    shift: float


class Fits:
    """The best fit for each number of components, in increasing order, and what is known beside.

    Attributes
    ----------
    maxima : list of (Mixture, float)
        Mixtures with their log-likelihoods: cheaper than whole results.
    loglik_bound, bound_sigma : float
        No mixture whose sigmas are at least `bound_sigma` has a higher log-likelihood than `loglik_bound`; nan where
        no bound is known.
    finished : list of bool
        Which fits are maxima over all rows; the others are those of a sketch.
    sketch : SketchUse or None
        What is known of the sketch, where one was used.
    points : Cells or None
        Its points.
    survey : Survey or None
        What is known of the rows.
    """

    maxima: list[Maximum]
    loglik_bound: float = math.nan
    bound_sigma: float = math.nan
    finished: list[bool]
    sketch: SketchUse | None = None
    points: Cells | None = None
    survey: Survey | None = None

    def results(self) -> list[FitResult]:
        """The fits with uncertainties and warnings."""
        raise NotImplementedError


class StreamFits(Fits):
    """The same of rows that need not fit into memory."""

    def points_loglik(self, mixture: Mixture) -> float:
        """Log-likelihood of the points of the sketch."""
        raise NotImplementedError

    def climb(self, rows: Rows, start: Mixture) -> FitResult:
        """The maximum over the rows that a start leads to, near a maximum over the points of their sketch."""
        raise NotImplementedError


class HeldMaxima(Protocol):
    """Maxima with one parameter held, all in the units of the data.

    `part` is the name of an array of the mixture. A maximum comes with where it lies, in whatever way the engine says
    it: a start for the next.
    """

    loglik: float
    n_data: float
    weights: Array

    def climb(self, part: str, component: int, value: float, near: Any | None) -> tuple[float, Any]:
        """The log-likelihood of the maximum found from a start, the fit if None, and where it lies."""

    def span(self, part: str, component: int, target: float) -> tuple[float, float, float, float]:
        """Of a parameter other than a weight the estimate, a step, and the lowest and highest values.

        The step has the size of the interval of a component that stands alone.
        """


class Refit(Protocol):
    """The fit done again, climbed from where it is: of resampled rows, and of simulated catalogs."""

    def reweighted(self, weights: Array) -> tuple[Array, bool]:
        """The parameters under other weights, and whether the climb has converged.

        Parameters are weights, means, sigmas and shapes, shape (4, n_components), matched to the components of the
        fit; nan for what is not fitted.
        """

    def again(self, catalog: Cells) -> Mixture:
        """The maximum of the likelihood of a catalog that was drawn from the fit."""


class Engine(Protocol):
    """Maximum likelihood of one kind of problem. Everything else asks here, and nobody asks which engine it is.

    Attributes
    ----------
    algorithms : tuple of str
        Ways to climb, the default first.
    reads_blocks : bool
        Whether the data need not fit into memory: see `fits_of_rows`.
    """

    algorithms: tuple[str, ...]
    reads_blocks: bool

    def accepts(self, demands: Demands) -> bool:
        """Whether problems of this kind are its."""

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
            Largest number of components, a background among them.
        last : int
            How many fits are wanted, those with most components; 0 for all, to choose among them.
        criterion : str
            What will choose.
        progress : callable or None
            Called with a number of components whenever that fit has been found.
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
        """The same of rows that need not fit into memory; not `exact`: all numbers are those of a sketch."""

    def climb(self, problem: Problem, start: Mixture, algorithm: str) -> FitResult:
        """The maximum that a start leads to."""

    def loglik(self, cells: Cells, mixture: Mixture) -> float:
        """Log-likelihood of a mixture."""

    def held(self, cells: Cells, fit: FitResult) -> HeldMaxima:
        """Maxima with one parameter held, for profiles."""

    def resolved_width(self, cells: Cells, fit: FitResult) -> float | None:
        """The width that a sketch has to resolve to stand for the rows; None where these are so few as to need none."""

    def refit(self, cells: Cells, fit: FitResult) -> Refit:
        """The fit done again on other weights of these cells, and on catalogs like them."""
