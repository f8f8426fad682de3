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
from scipy.special import ndtr, ndtri

from mixpipe.assess.intervals import Intervals, check_level
from mixpipe.base.threads import available_threads
from mixpipe.fitting.contract import Demands
from mixpipe.fitting.engine import engine_for
from mixpipe.model.cells import Cells
from mixpipe.model.families import FAMILIES
from mixpipe.model.mixture import Mixture
from mixpipe.model.results import Array, FitResult, Uncertainties

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
            if FAMILIES[name].log_shape:
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
    base = engine_for(Demands.of(cells, fit.mixture)).resolved_width(cells, fit)
    if base is not None:
        classes = np.zeros(len(cells)) if counted else np.floor(np.log(cells.weights) / math.log(_WEIGHT_CLASS))
        found = []
        for label in np.unique(classes):
            own = cells[classes == label]
            sketch = own.sketched(base, within=True)
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
    refit = engine_for(Demands.of(cells, fit.mixture)).refit(rows.points, fit)
    found = repeat(
        lambda rng: refit.reweighted(rng.multinomial(n_rows, shares) * rows.row_weights), n_draws, seed, n_threads
    )
    weights, means, sigmas, shapes = np.stack([params for params, _ in found], axis=1)
    n_unconverged = sum(not converged for _, converged in found)
    return Draws(fit.mixture, weights, means, sigmas, shapes, n_unconverged)
