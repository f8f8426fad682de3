"""Bootstrap: uncertainties by resampling rows.

Each draw has a random stream of its own, so that no number depends on the order or the threads in which draws are done.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from mixpipe.assess.intervals import Intervals, check_level
from mixpipe.base.threads import available_threads
from mixpipe.fitting.gaussian.em import CONVERGED_GAIN, ascend
from mixpipe.fitting.gaussian.fits import SEARCH_ROWS
from mixpipe.fitting.gaussian.likelihood import Likelihood, Params
from mixpipe.fitting.general.likelihood import Point, log_shape
from mixpipe.fitting.general.points import are_few, base_for, likelihood_like, sketched
from mixpipe.fitting.general.search import ascend as ascend_general
from mixpipe.model.cells import Cells
from mixpipe.model.families import FAMILIES
from mixpipe.model.mixture import Mixture
from mixpipe.model.results import Array, FitResult, Uncertainties

# Draws are climbed until a step promises less than this (nats): 0.014 standard errors from the maximum.
GAIN = 1e-4
# Resampling sketches: their points resolve this fraction of the narrowest component as it is observed.
_BASE = 0.5
# Row weights within this factor share a sketch.
_WEIGHT_CLASS = math.sqrt(2.0)
_T = TypeVar("_T")


@dataclass(frozen=True, eq=False)
class Draws:
    """Mixtures fitted to resampled rows.

    Parameters
    ----------
    mixture : Mixture
        The fit of the rows themselves.
    weights, means, sigmas, shapes : ndarray, shape (n_draws, n_components)
        Parameters of each draw; components in the order of `mixture`, whatever their means. Nan for what is not
        fitted: shapes that a family does not have, and the range of a background.
    n_unconverged : int
        Draws that did not converge; they are among the others, where they ended.
    """

    mixture: Mixture
    weights: Array
    means: Array
    sigmas: Array
    shapes: Array
    n_unconverged: int

    def uncertainties(self) -> Uncertainties:
        """Standard deviations of the draws.

        A sigma on the boundary gets one, too: how far from it the resampled rows put it.
        """
        weights, means, sigmas, shapes = (
            np.std(part, axis=0, ddof=1) for part in (self.weights, self.means, self.sigmas, self.shapes)
        )
        # Those of a positive shape are skewed: relative to the estimate, as they scatter in their logarithm.
        for j, name in enumerate(self.mixture.families):
            if log_shape(FAMILIES[name]):
                shapes[j] = self.mixture.shapes[j] * np.std(np.log(self.shapes[:, j]), ddof=1)
        return Uncertainties(weights, means, sigmas, shapes)

    def intervals(self, level: float = 0.68) -> Intervals:
        """Bias-corrected percentiles of the draws (Efron 1981).

        Plain percentiles where half of the draws are below the estimate. Where more are, the estimate itself is likely
        to be below the truth by as much, and both ends move up: resampled sigmas are on average smaller than the one
        that was fitted, as that one is smaller than the true one.

        Parameters
        ----------
        level : float
            Probability of each interval.
        """
        z = check_level(level) * np.array([-1.0, 1.0])
        return Intervals(
            *(
                np.stack([_percentiles(draws, value, z) for draws, value in zip(part.T, estimate, strict=True)], axis=1)
                for part, estimate in (
                    (self.weights, self.mixture.weights),
                    (self.means, self.mixture.means),
                    (self.sigmas, self.mixture.sigmas),
                    (self.shapes, self.mixture.shapes),
                )
            )
        )


def _percentiles(draws: Array, estimate: float, z: Array) -> Array:
    """Bias-corrected percentiles for some normal quantiles."""
    if np.isnan(draws).any():
        return np.full(z.size, np.nan)
    # Draws equal to the estimate, such as a sigma of zero, are half below it. Of none or all below half a draw is the
    # other side.
    below = np.mean(draws < estimate) + 0.5 * np.mean(draws == estimate)
    bias = ndtri(np.clip(below, 0.5 / draws.size, 1.0 - 0.5 / draws.size))
    return np.asarray(np.quantile(draws, ndtr(2.0 * bias + z), method="weibull"))


def repeat(task: Callable[[np.random.Generator], _T], n_draws: int, seed: int, n_threads: int | None) -> list[_T]:
    """The outcomes of a task done `n_draws` times, each with a random stream of its own."""
    if n_draws < 1:
        raise ValueError(f"n_draws must be at least 1, found {n_draws}")
    streams = [np.random.default_rng(stream) for stream in np.random.SeedSequence(seed).spawn(n_draws)]
    n_threads = n_threads or available_threads()
    if n_threads == 1:
        return [task(stream) for stream in streams]
    with ThreadPoolExecutor(n_threads) as pool:
        return list(pool.map(task, streams))


@dataclass(frozen=True, eq=False)
class _Resampled:
    """What is drawn from: points, the rows that each stands for, and the weight of each of those rows."""

    points: Cells
    counts: Array
    row_weights: Array


def _resampled(cells: Cells, fit: FitResult) -> _Resampled:
    cells = cells[cells.weights > 0]
    counted = cells.weight_kind == "counts"
    base = _base(cells, fit)
    if base is not None:
        classes = np.zeros(len(cells)) if counted else np.floor(np.log(cells.weights) / math.log(_WEIGHT_CLASS))
        found = []
        for label in np.unique(classes):
            own = cells[classes == label]
            sketch = sketched(own, base)
            # With this weight for each the sum of squared weights, and so the scatter of a draw, is that of the rows.
            row_weight = 1.0 if counted else float(np.sum(own.weights**2) / np.sum(own.weights))
            found.append(_Resampled(sketch, sketch.weights / row_weight, np.full(len(sketch), row_weight)))
        if sum(len(part.points) for part in found) < 0.5 * len(cells):
            return _Resampled(
                sum((part.points for part in found[1:]), found[0].points),
                np.concatenate([part.counts for part in found]),
                np.concatenate([part.row_weights for part in found]),
            )
    ones = np.ones(len(cells))
    return _Resampled(cells, cells.weights, ones) if counted else _Resampled(cells, ones, cells.weights)


def _base(cells: Cells, fit: FitResult) -> float | None:
    """What a sketch of the rows has to resolve; None where there are so few that none is needed."""
    if not _is_plain(cells, fit):
        point = Point.of(fit.mixture)
        return None if are_few(cells, point) else base_for(cells, point)
    if len(cells) <= SEARCH_ROWS:
        return None
    likelihood = Likelihood(cells)
    total = likelihood.derivatives(likelihood.scaled(fit.mixture)).total_var
    return _BASE * likelihood.scale * math.sqrt(float(total.min()))


def _is_plain(cells: Cells, fit: FitResult) -> bool:
    """Whether the fast likelihood serves."""
    return cells.are_values and fit.mixture.is_gaussian


def matched(reference: Params, params: Params, total_var: Array) -> list[int]:
    """For each component of a mixture the index of the component of another one that corresponds to it.

    The pairs have the smallest sum of squared differences in weight, mean and sigma, each in units of its uncertainty
    for a component that stands alone: ``w (1 - w)``, ``T / w`` and ``T / 2 w``, over the number of rows.

    Parameters
    ----------
    reference, params : Params
        Two mixtures with one number of components, in one unit.
    total_var : ndarray, shape (n_components,)
        Observed variances T of the components of `reference`.
    """
    from scipy.optimize import linear_sum_assignment

    w, v = reference.weights[:, None], total_var[:, None]
    shifts = (reference.means[:, None] - params.means) ** 2
    shifts += 2.0 * (np.sqrt(reference.variances)[:, None] - np.sqrt(params.variances)) ** 2
    changes = (w - params.weights) ** 2 / np.maximum(w * (1.0 - w), np.finfo(np.float64).tiny)
    return linear_sum_assignment(w * shifts / v + changes)[1].tolist()


def bootstrap(cells: Cells, fit: FitResult, n_draws: int, seed: int, *, n_threads: int | None = None) -> Draws:
    """Fit the mixture again to rows that are drawn with replacement (Efron 1979).

    Weights that are whole numbers count rows: a draw is multinomial, as if each of the rows were there by itself. With
    other weights, as many rows as there are are drawn, and keep their weights. Limits are rows like others. Above
    20,000 rows (4000 where components are not Gaussian, rows are limits or a sample is truncated; 1000 where the
    convolution of a family is a quadrature) the points of a sketch are drawn in place of the rows that they stand for,
    so that a draw costs the same for any number of rows. Each draw is climbed from the fit, not searched for its
    highest maximum.

    Parameters
    ----------
    cells : Cells
        The data that were fitted.
    fit : FitResult
        Their fit.
    n_draws : int
        How often.
    seed : int
        Seed of the random streams.
    n_threads : int or None
        Threads; all cores by default. The result does not depend on it.

    Returns
    -------
    Draws

    Raises
    ------
    ValueError
        For no draws.

    Examples
    --------
    >>> from mixpipe.fitting.choose import fit_mixture
    >>> cells = Cells.from_rows(np.linspace(-1.0, 1.0, 100), err=0.1)
    >>> unc = bootstrap(cells, fit_mixture(cells), n_draws=400, seed=1).uncertainties()
    >>> bool(abs(unc.means[0] - cells.x.std() / 10.0) < 0.01)
    True
    """
    rows = _resampled(cells, fit)
    n_rows, shares = round(float(rows.counts.sum())), rows.counts / rows.counts.sum()
    climb = (_climb_gaussian if _is_plain(cells, fit) else _climb_general)(rows.points, fit)
    found = repeat(lambda rng: climb(rng.multinomial(n_rows, shares) * rows.row_weights), n_draws, seed, n_threads)
    weights, means, sigmas, shapes = np.stack([params for params, _ in found], axis=1)
    n_unconverged = sum(not converged for _, converged in found)
    return Draws(fit.mixture, weights, means, sigmas, shapes, n_unconverged)


# From the weights of the points to the parameters, shape (4, n_components), and whether the climb has converged.
_Climb = Callable[[Array], tuple[Array, bool]]


def _climb_gaussian(points: Cells, fit: FitResult) -> _Climb:
    likelihood = Likelihood(points, 1)
    start = likelihood.scaled(fit.mixture)
    floor = (fit.sigma_floor / likelihood.scale) ** 2
    total_var = likelihood.derivatives(start).total_var
    equal_sigmas = fit.has_equal_sigmas

    def climb(weights: Array) -> tuple[Array, bool]:
        drawn = Likelihood(Cells(points.x, points.err, weights), 1, like=likelihood)
        ascent = ascend(drawn, start, floor, equal_sigmas=equal_sigmas, gain=GAIN, n_em=0)
        params = ascent.params
        means = likelihood.centre + likelihood.scale * params.means
        sigmas = likelihood.scale * np.sqrt(params.variances)
        parts = np.stack([params.weights, means, sigmas, np.full(means.size, np.nan)])
        return parts[:, matched(start, params, total_var)], ascent.converged

    return climb


def _climb_general(points: Cells, fit: FitResult) -> _Climb:
    start = Point.of(fit.mixture)
    likelihood = likelihood_like(points, start)
    free = ~np.array(start.fixed)
    reference = _params(start, free)
    total_var = np.hypot(start.sigmas, likelihood.typical_err)[free] ** 2
    # At the floor a width is none where every row has an error, as in the fit.
    none = likelihood.none

    def climb(weights: Array) -> tuple[Array, bool]:
        ascent = ascend_general(likelihood.reweighted(weights), start, gain=GAIN)
        point = ascent.point
        order = np.arange(free.size)
        order[free] = order[free][matched(reference, _params(point, free), total_var)]
        sigmas = np.where(point.sigmas <= none, 0.0, point.sigmas)
        parts = np.stack([point.weights, point.means, sigmas, point.shapes])
        parts[1:3, ~free] = np.nan
        return parts[:, order], ascent.remaining_gain < CONVERGED_GAIN

    return climb


def _params(point: Point, free: NDArray[np.bool_]) -> Params:
    """The components that may move."""
    return Params(point.weights[free], point.means[free], point.sigmas[free] ** 2)
