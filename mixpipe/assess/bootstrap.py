"""The bootstrap: uncertainties by resampling rows.

Each draw has a separate random stream, so that no result depends on the order or the threads in which the draws are
computed.
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
from mixpipe.model.covariance import agreeing, parameter_uncertainties, parameters_in_use
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
        The fit to the original rows.
    weights, means, sigmas, shapes : ndarray, shape (n_draws, n_components)
        Parameters of each draw, with the components in the order of `mixture`, whatever their means. Nan for parameters
        that are not fitted: shapes that a family does not have, and the range of a background.
    n_unconverged : int
        Number of draws that did not converge; their parameters are included as they were when the climb ended.
    """

    mixture: Mixture
    weights: Array
    means: Array
    sigmas: Array
    shapes: Array
    n_unconverged: int

    def uncertainties(self) -> Uncertainties:
        """Standard deviations of the draws.

        A sigma on the boundary has a standard deviation, too, which measures how far the resampled rows move it from
        the boundary.
        """
        weights, means, sigmas, shapes = (
            np.std(part, axis=0, ddof=1) for part in (self.weights, self.means, self.sigmas, self.shapes)
        )
        # Draws of a positive shape are skewed; their scatter is measured in the logarithm, relative to the estimate.
        for j, name in enumerate(self.mixture.families):
            if FAMILIES[name].log_shape:
                shapes[j] = self.mixture.shapes[j] * np.std(np.log(self.shapes[:, j]), ddof=1)
        return Uncertainties(weights, means, sigmas, shapes)

    def covariance(self) -> Array:
        """Covariance of the parameters over the draws, whose diagonal has the squares of `uncertainties`."""
        shapes = self.shapes.copy()
        for j, name in enumerate(self.mixture.families):
            if FAMILIES[name].log_shape:
                shapes[:, j] = self.mixture.shapes[j] * np.log(self.shapes[:, j])
        draws = np.hstack([self.weights, self.means, self.sigmas, shapes])[:, parameters_in_use(self.mixture)]
        return agreeing(np.cov(draws, rowvar=False), parameter_uncertainties(self.mixture, self.uncertainties()))

    def intervals(self, level: float = 0.68) -> Intervals:
        """Bias-corrected percentiles of the draws (Efron 1981).

        These are plain percentiles if half of the draws lie below the estimate. If more draws do, the estimate itself
        is likely to lie below the true value by a similar amount, and both ends move up. Resampled sigmas, for example,
        are on average smaller than the fitted one, just as the fitted one is smaller than the true one.

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
    """Bias-corrected percentiles that correspond to the normal quantiles `z`."""
    if np.isnan(draws).any():
        return np.full(z.size, np.nan)
    # Half of the draws that equal the estimate, such as a sigma of zero, count as below it. If no draw or every draw
    # lies below, half a draw is moved to the other side.
    below = np.mean(draws < estimate) + 0.5 * np.mean(draws == estimate)
    bias = ndtri(np.clip(below, 0.5 / draws.size, 1.0 - 0.5 / draws.size))
    return np.asarray(np.quantile(draws, ndtr(2.0 * bias + z), method="weibull"))


def repeat(task: Callable[[np.random.Generator], _T], n_draws: int, seed: int, n_threads: int | None) -> list[_T]:
    """The results of `n_draws` runs of a task, each with a separate random stream."""
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
    """The population of the draws: points, the rows that each represents, and the weight of each of these rows."""

    points: Cells
    counts: Array
    row_weights: Array


def _resampled(cells: Cells, fit: FitResult) -> _Resampled:
    cells = cells[cells.weights > 0]
    counted = cells.weight_kind == "counts"
    base = engine_for(Demands.of_fit(cells, fit)).resolved_width(cells, fit)
    if base is not None:
        classes = np.zeros(len(cells)) if counted else np.floor(np.log(cells.weights) / math.log(_WEIGHT_CLASS))
        found = []
        for label in np.unique(classes):
            own = cells[classes == label]
            sketch = own.sketched(base, within=True)
            # With this weight for each row, the sum of squared weights, and so the scatter of a draw, equals that of
            # the rows.
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
    """Refit the mixture to rows that are drawn with replacement (Efron 1979).

    Weights that are counts represent rows: a draw is multinomial, as if each of these rows were listed separately. With
    other weights, as many rows are drawn as the data have, and the rows keep their weights. Limits are treated like
    other rows. Above 20,000 rows, the points of a sketch are drawn instead of the rows that they represent, so that the
    cost of a draw does not depend on the number of rows. This threshold is 4000 rows if components are not Gaussian,
    rows are limits or the sample is truncated, and 1000 if the convolution of a family requires a quadrature. For each
    draw, the likelihood is climbed from the fit rather than searched for its highest maximum.

    Parameters
    ----------
    cells : Cells
        The data that were fitted.
    fit : FitResult
        The fit to these data.
    n_draws : int
        Number of draws.
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
        If `n_draws` is not positive.

    Examples
    --------
    >>> from mixpipe.fitting.choose import fit_mixture
    >>> cells = Cells.from_rows(np.linspace(-1.0, 1.0, 100), err=0.1)
    >>> unc = bootstrap(cells, fit_mixture(cells, n_components=1), n_draws=400, seed=1).uncertainties()
    >>> bool(abs(unc.means[0] - cells.x.std() / 10.0) < 0.01)
    True
    """
    rows = _resampled(cells, fit)
    n_rows, shares = round(float(rows.counts.sum())), rows.counts / rows.counts.sum()
    refit = engine_for(Demands.of_fit(cells, fit)).refit(rows.points, fit)
    found = repeat(
        lambda rng: refit.reweighted(rng.multinomial(n_rows, shares) * rows.row_weights), n_draws, seed, n_threads
    )
    weights, means, sigmas, shapes = np.stack([params for params, _ in found], axis=1)
    n_unconverged = sum(not converged for _, converged in found)
    return Draws(fit.mixture, weights, means, sigmas, shapes, n_unconverged)
