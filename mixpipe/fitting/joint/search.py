"""The deterministic search for the best fit with 1, 2, ... components.

For each number of components starts are made from the fit with one component fewer (insertions and splits), from
clusters of the rows, and from the fit with one component more (merges). They race on a sample of the rows: all take a
few steps, the best of them some more, and so on, and the last few are followed on all rows. The fit with
M components depends on those with M - 1 and M + 1 alone, so that it is the same whatever the largest number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from mixpipe.fitting.joint.ascent import N_EM, SEARCH_GAIN, Ascent, ascend, follow, run_em
from mixpipe.fitting.joint.candidates import Sample, around_rows, clusters, inserted, merged, split, without
from mixpipe.fitting.joint.likelihood import Likelihood
from mixpipe.fitting.joint.structure import project
from mixpipe.model.joint.blocks import Parameters

# Rounds of the race: steps of each start, and starts that go on.
_FIRST, _FIRST_KEPT = 4, 20
_SECOND, _SECOND_KEPT = 8, 8
_N_KEPT = 4
# Starts around single rows.
_N_AROUND = 24
# No more of them are tried when so many have come to within so many nats of the best. A maximum that is reached from a
# fifth of the starts is found in this way with a probability of 99.6 %.
_N_MET, _MET_GAIN = 6, 0.15
# Two maxima with log-likelihoods this close are one.
_SAME = 1e-2
# Steps to the neighbourhood of a maximum, in which values this close are those of one.
_MANY_STEPS, _NEARLY = 400, 0.02
# EM steps on all rows of the search from where a start has come to on the sample.
_SETTLING = 2
# Merges and omissions, with insertions after each, that are tried at the same number of components.
_N_SWAPS, _N_LEFT_OUT, _N_SWAP_INSERTS = 2, 3, 2


@dataclass(frozen=True, eq=False)
class Finder:
    """The search on some rows.

    Parameters
    ----------
    likelihood : Likelihood
        Of the rows on which fits are finished.
    sample : Sample
        Of the rows on which starts race; the same, or some of them.
    structure : str
    """

    likelihood: Likelihood
    sample: Sample
    structure: str

    def race(
        self, starts: Iterable[Parameters], n_kept: int = _N_KEPT, others: Iterable[Parameters] = ()
    ) -> list[Parameters]:
        """The best places that starts come to on the sample, if they are still among the best after a few steps.

        Parameters
        ----------
        starts : iterable of Parameters
        n_kept : int
            Number of places.
        others : iterable of Parameters
            Starts that are not left behind; those that have not begun are left out when several have met.
        """
        trial = self.sample.likelihood
        runs = [run_em(trial, self._admitted(start), _FIRST, self.structure) for start in starts]
        for n_steps, kept in ((_SECOND, _FIRST_KEPT), (_MANY_STEPS, _SECOND_KEPT)):
            runs = [
                ascend(trial, run.at, structure=self.structure, n_em=1, n_steps=n_steps, sums=run.sums)
                for run in _distinct(runs)[:kept]
            ]
        # Starts around single rows begin low and may end high.
        runs += self._until_met(others)
        return [run.at for run in _distinct(runs, _NEARLY)[:n_kept]]

    def _until_met(self, starts: Iterable[Parameters]) -> list[Ascent]:
        """The places that starts come to on the sample, until several of them have come to the best of these."""
        runs: list[Ascent] = []
        for start in starts:
            admitted = self._admitted(start)
            runs.append(ascend(self.sample.likelihood, admitted, structure=self.structure, n_steps=_MANY_STEPS))
            best = max(run.loglik for run in runs)
            if sum(run.loglik > best - _MET_GAIN for run in runs) == _N_MET:
                break
        return runs

    def _admitted(self, at: Parameters) -> Parameters:
        covs = project(at.covariances, at.weights, self.structure, self.likelihood.floor)
        return Parameters(at.weights, at.means, covs)

    def finish(self, starts: Iterable[Parameters]) -> Ascent:
        """The best place that any of the starts comes to, near its maximum."""
        ends: list[Ascent] = []
        for start in starts:
            best = max((end.loglik for end in ends), default=-np.inf)
            ends.append(self._followed(start, best))
        ends = [end for end in ends if np.isfinite(end.loglik)]
        if not ends:
            raise ValueError(
                "no mixture has a finite log-likelihood: numbers of double precision do not resolve the errors, or the "
                "widths, beside the range of the values; expected no values so far from all others, no columns that "
                "are nearly the same, and no errors with correlations of 1"
            )
        return max(ends, key=lambda end: end.loglik)

    def _followed(self, start: Parameters, best: float) -> Ascent:
        """The place on all rows near one that a start has come to on the sample, if it may be better than the best."""
        likelihood, trial = self.likelihood, self.sample.likelihood
        if trial is likelihood or start.n_components == 1:
            n_em = N_EM if start.n_components > 1 else 2
            return ascend(likelihood, start, structure=self.structure, n_em=n_em, n_steps=_MANY_STEPS)
        settled = run_em(likelihood, start, _SETTLING, self.structure)
        return follow(trial, likelihood, settled, self.structure, _MANY_STEPS, SEARCH_GAIN, best).ascent

    def maximum(self, fit: Ascent) -> Ascent:
        """The maximum near a place."""
        return ascend(self.likelihood, fit.at, structure=self.structure, n_em=0, sums=fit.sums)

    def first(self) -> Ascent:
        """The fit with one component."""
        return self.finish([self._admitted(self.sample.one())])

    def more(self, fit: Ascent, *, with_rows: bool = True) -> Ascent:
        """The best fit with one component more."""
        size = fit.at.n_components + 1
        starts = [*inserted(self.sample, fit.at), *split(fit.at)]
        others: Iterable[Parameters] = ()
        if with_rows:
            # These do not depend on the fit.
            starts += clusters(self.sample, size)
            others = around_rows(self.sample, size, _N_AROUND)
        found = self.finish(self.race(starts, others=others))
        return self.swapped(found)

    def fewer(self, fit: Ascent) -> Ascent:
        """The best fit with one component fewer."""
        resp, _ = self.sample.responsibilities(fit.at)
        return self.finish(self.race(merged(fit.at, resp, self.sample.weights), 2))

    def swapped(self, fit: Ascent) -> Ascent:
        """The fit, or a better one with two components joined and another inserted."""
        if fit.at.n_components < 3:
            return fit
        for _ in range(fit.at.n_components):
            resp, _ = self.sample.responsibilities(fit.at)
            starts = []
            fewer = [without(fit.at, int(j)) for j in np.argsort(fit.at.weights, kind="stable")[:_N_LEFT_OUT]]
            for other in (*merged(fit.at, resp, self.sample.weights, _N_SWAPS), *fewer):
                settled = run_em(self.sample.likelihood, self._admitted(other), 2, self.structure).at
                starts += inserted(self.sample, settled, _N_SWAP_INSERTS)
            found = self.finish(self.race(starts, 1))
            if found.loglik <= fit.loglik + _SAME:
                return fit
            fit = found
        return fit


def _distinct(runs: Iterable[Ascent], least: float = 1e-6) -> list[Ascent]:
    """Runs in order of their log-likelihoods, without those that have come to the same place."""
    kept: list[Ascent] = []
    for run in sorted(runs, key=lambda run: -run.loglik):
        if not np.isfinite(run.loglik):
            continue
        if not kept or kept[-1].loglik - run.loglik > least:
            kept.append(run)
    return kept


def search(finder: Finder, max_components: int, progress: Callable[[int], None] | None = None) -> list[Ascent]:
    """The best fit found for each number of components.

    Parameters
    ----------
    finder : Finder
    max_components : int
    progress : callable or None
        Called with the number of components whenever a fit has been found.
    """
    forward = [finder.maximum(finder.first())]
    best: list[Ascent] = []
    for size in range(1, max_components + 1):
        forward.append(finder.more(forward[-1]))
        fit = forward[size - 1]
        back = finder.fewer(forward[size])
        if back.loglik > fit.loglik + _SAME:
            fit = back
        if best and best[-1].loglik > forward[size - 2].loglik:
            other = finder.more(best[-1], with_rows=False)
            fit = max(fit, other, key=lambda end: end.loglik)
        best.append(finder.maximum(fit))
        if progress is not None:
            progress(size)
    return best
