"""The engine for Gaussian components in several columns; its methods are those of the contract of engines."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from mixpipe.fitting.gains import CONVERGED_GAIN
from mixpipe.fitting.joint.ascent import Ascent, approach, ascend, finish_from
from mixpipe.fitting.joint.candidates import Sample
from mixpipe.fitting.joint.certificate import loglik_bound
from mixpipe.fitting.joint.likelihood import Likelihood, Scaling
from mixpipe.fitting.joint.results import result_of
from mixpipe.fitting.joint.search import Finder, search
from mixpipe.fitting.joint.stream import StreamLikelihood, together
from mixpipe.fitting.joint.structure import n_params
from mixpipe.fitting.joint_problem import JointProblem, check_observed
from mixpipe.model.criteria import bic
from mixpipe.model.joint.blocks import Parameters, Sums
from mixpipe.model.joint.cells import JointCells
from mixpipe.model.joint.mixture import JointMixture
from mixpipe.model.joint.results import JointFit
from mixpipe.model.regimes import FINISHED_ROWS, JOINT_RACE_ROWS, JOINT_SEARCH_ROWS

# Passes over all rows after which a fit that will not be chosen is left as it is: to evaluate it, and for three steps.
_FEW_PASSES = 4
# Nats that such a fit may lack of the best by BIC, and still be climbed on from.
_HOPE = 10.0


def _likelihood(problem: JointProblem) -> Likelihood:
    # A sphere is one in the units of the data.
    scaling = Scaling.of(problem.cells, common=problem.structure == "spherical")
    return Likelihood(problem.cells, scaling, problem.n_threads)


@dataclass(frozen=True, eq=False)
class JointFits:
    """The best fit for each number of components, in increasing order.

    Parameters
    ----------
    likelihood : Likelihood or StreamLikelihood
    ascents : list of Ascent
    structure : str
    loglik_bound : float
        No mixture has a higher log-likelihood; nan where it is not known.
    """

    likelihood: Likelihood | StreamLikelihood
    ascents: list[Ascent]
    structure: str
    loglik_bound: float = math.nan

    @property
    def maxima(self) -> list[tuple[JointMixture, float]]:
        """Mixtures with their log-likelihoods."""
        names = self.likelihood.cells.names
        return [(self.likelihood.scaling.mixture(end.at, names), end.loglik) for end in self.ascents]

    def results(self) -> list[JointFit]:
        """The fits with uncertainties and warnings."""
        rows = self.likelihood
        if isinstance(rows, StreamLikelihood):
            tasks = [partial(_result, ascent=ascent, structure=self.structure) for ascent in self.ascents]
            return together(rows, tasks)
        return [result_of(rows, ascent, self.structure) for ascent in self.ascents]


def _result(rows: Any, ascent: Ascent, structure: str) -> JointFit:
    return result_of(rows, ascent, structure)


def _near(rows: Any, searched: Likelihood, ascent: Ascent, structure: str) -> Ascent:
    return approach(searched, rows, ascent, structure, _FEW_PASSES)


def _to_the_end(rows: Any, searched: Likelihood, ascent: Ascent, structure: str) -> Ascent:
    return finish_from(searched, rows, ascent, structure)


def _each(rows: Any, tasks: list[Callable[[Any], Ascent]]) -> list[Ascent]:
    return together(rows, tasks) if isinstance(rows, StreamLikelihood) else [task(rows) for task in tasks]


def _finished(
    searched: Likelihood, rows: Likelihood | StreamLikelihood, ascents: list[Ascent], structure: str
) -> list[Ascent]:
    """Maxima over all rows from those over some of them.

    Of many rows a climb that is still under way after a few steps, in the many flat directions of a component too many,
    ends there unless it may still be chosen.
    """

    def done(task: Callable[..., Ascent], some: list[Ascent]) -> list[Ascent]:
        return _each(rows, [partial(task, searched=searched, ascent=ascent, structure=structure) for ascent in some])

    if isinstance(rows, Likelihood) and len(rows.cells) <= FINISHED_ROWS:
        return done(_to_the_end, ascents)
    near = done(_near, ascents)
    values = [bic(end.loglik, n_params(end.at.n_components, end.at.n_dims, structure), rows.n_data) for end in near]
    open_ = [k for k, end in enumerate(near) if not end.converged and values[k] < min(values) + 2.0 * _HOPE]
    for k, end in zip(open_, done(_to_the_end, [near[k] for k in open_]), strict=True):
        near[k] = end
    for k in range(1, len(near)):
        if near[k].at.n_components == near[k - 1].at.n_components + 1 and near[k].loglik < near[k - 1].loglik:
            near[k] = _doubled(near[k - 1])
    return near


def _doubled(end: Ascent) -> Ascent:
    """The same mixture with its heaviest component split into two equal halves."""
    at, sums = end.at, end.sums
    j = int(np.argmax(at.weights))
    order = np.append(np.arange(at.n_components), j)
    share = np.where(order == j, 0.5, 1.0)
    halves = Parameters(at.weights[order] * share, at.means[order], at.covariances[order])
    rows = (sums.q[order] * share, sums.slopes[order] * share[:, None], sums.curls[order] * share[:, None, None])
    return Ascent(halves, Sums(sums.loglik, *rows), False, end.remaining_gain)


class JointEngine:
    """Maximum-likelihood fits of several columns."""

    def fits(
        self,
        problem: JointProblem,
        max_components: int,
        *,
        last: int = 0,
        progress: Callable[[int], None] | None = None,
    ) -> JointFits:
        """The best fit found for each number of components, or the last ones; see `Engine.fits`."""
        likelihood = _likelihood(problem)
        searched = _sample(likelihood, JOINT_SEARCH_ROWS)
        finder = Finder(searched, Sample(_sample(searched, JOINT_RACE_ROWS)), problem.structure)
        ascents = search(finder, max_components, progress)[-last:]
        if searched is not likelihood:
            ascents = _finished(searched, likelihood, ascents, problem.structure)
        bound = loglik_bound(likelihood, ascents[-1]) if last == 0 else math.nan
        return JointFits(likelihood, ascents, problem.structure, bound)

    def fits_of_blocks(
        self,
        read: Callable[[], Iterable[JointCells]],
        max_components: int,
        *,
        last: int = 0,
        structure: str = "full",
        n_threads: int | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> JointFits:
        """As `fits`, for rows that need not fit into memory; see `StreamLikelihood` for `read`."""
        likelihood = StreamLikelihood(read, JOINT_SEARCH_ROWS, n_threads, common=structure == "spherical")
        searched = likelihood.sample
        check_observed(searched.cells)
        finder = Finder(searched, Sample(_sample(searched, JOINT_RACE_ROWS)), structure)
        ascents = search(finder, max_components, progress)[-last:]
        if likelihood.n_rows > len(searched.cells):
            ascents = _finished(searched, likelihood, ascents, structure)
        return JointFits(likelihood, ascents, structure)

    def climb(self, problem: JointProblem, start: JointMixture) -> JointFit:
        """The maximum reached from a start."""
        likelihood = _likelihood(problem)
        return result_of(likelihood, self.ascend(problem, likelihood, start), problem.structure)

    def ascend(self, problem: JointProblem, likelihood: Likelihood, start: JointMixture) -> Ascent:
        """The maximum reached from a start, without uncertainties."""
        return ascend(likelihood, likelihood.scaling.parameters(start), structure=problem.structure, n_em=1)

    def loglik(self, cells: JointCells, mixture: JointMixture) -> float:
        """Log-likelihood of a mixture."""
        likelihood = Likelihood(cells)
        return likelihood.sums(likelihood.scaling.parameters(mixture)).loglik

    def refit(self, problem: JointProblem, fit: JointFit) -> tuple[JointMixture, bool]:
        """The maximum that is climbed to from a fit to similar rows, and whether the climb converged."""
        likelihood = _likelihood(problem)
        end = self.ascend(problem, likelihood, fit.mixture)
        return likelihood.scaling.mixture(end.at, problem.cells.names), end.remaining_gain < CONVERGED_GAIN


def _sample(likelihood: Likelihood, most: int) -> Likelihood:
    """The likelihood of some of the rows, which their contents choose; of all if they are few."""
    cells = likelihood.cells
    if len(cells) <= most:
        return likelihood
    return Likelihood(cells.subset(np.arange(most)), likelihood.scaling, likelihood.blocks.n_threads)
