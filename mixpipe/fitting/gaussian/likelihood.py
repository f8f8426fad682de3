"""The likelihood of a Gaussian mixture over cells: a thin layer around the kernels.

Values are shifted and scaled before any arithmetic, so that 2459000.5 +- 1e-6 is treated as accurately as 0 +- 1. The
scale is a power of two and the shift is a data value, so that both operations are exact.
"""

from __future__ import annotations

import copy
import math
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, TypeVar

import numpy as np

from mixpipe.base.threads import available_threads
from mixpipe.fitting.admissible import CLIMBING_ROWS, MIN_ROWS, count_effective, occam_nats
from mixpipe.fitting.held import WEIGHT_FLOOR
from mixpipe.fitting.kernels import bounds, newton, passes
from mixpipe.model.cells import Cells
from mixpipe.model.mixture import Mixture
from mixpipe.model.regimes import THREADED_DENSITIES
from mixpipe.model.results import Array

A = TypeVar("A")
B = TypeVar("B")

# Sums of exponentials up to this exponent are finite, and so are their squares.
_LARGEST_EXPONENT = 300.0


@dataclass(frozen=True, eq=False)
class Params:
    """A mixture in the shifted and scaled units of a `Likelihood`; each array has shape (n_components,)."""

    weights: Array
    means: Array
    variances: Array

    @property
    def n_components(self) -> int:
        """Number of components."""
        return self.means.size


@dataclass(frozen=True, eq=False)
class Sums:
    """The sums over the cells that an EM step needs; arrays of shape (n_components,)."""

    loglik: float
    q: Array
    q_inv: Array
    q_d: Array
    q_dd: Array


@dataclass(frozen=True, eq=False)
class ComponentSums:
    """Log-likelihood, sums of a Newton pass, shape (n_components, N_EM + N_NEWTON), and products of the scores."""

    loglik: float
    sums: Array
    outer: Array


@dataclass(frozen=True, eq=False)
class Derivatives:
    """Value, gradient and Hessian of the log-likelihood at one point.

    The parameters are (ln w, m, s^2) of the first component, then of the second, and so on. The constraint on the
    weights enters as ``- n_data (sum w - 1)``: the multiplier is known, the maximum is unchanged, no weight is singled
    out, and the constraint causes no null direction of the Hessian.
    """

    loglik: float
    gradient: Array
    hessian: Array
    # Typical total variance of each component: sqrt(sum q / sum(q / T^2)).
    total_var: Array
    # Lower bound on the effective number of rows of every component; 0 where none is known.
    fewest: float = 0.0


def derivatives_of(total: ComponentSums, params: Params, n_data: float, hessian: Array | None = None) -> Derivatives:
    """Value, gradient and Hessian from the sums of a pass; a known Hessian is used as it is."""
    excess = n_data * (params.weights.sum() - 1.0)
    gradient, exact_hessian, total_var, fewest = newton.derivatives(
        total.sums, total.outer, params.weights, params.variances, n_data
    )
    used = exact_hessian if hessian is None else hessian
    return Derivatives(total.loglik - excess, gradient, used, total_var, fewest)


def score_products(total: ComponentSums, params: Params) -> Array:
    """Sum of products of the scores in (ln w, m, s^2), each times the weight of its row, at a maximum.

    With squared weights it is the covariance of the sum of the scores of weighted rows.
    """
    q, q_inv, q_d, q_dd = total.sums.T[:4]
    slopes = np.stack([q, q_d, 0.5 * (q_dd - q_inv)], axis=1).ravel()
    lower = np.tril(total.outer)
    products = lower + np.tril(lower, -1).T
    # Because the weights sum to one, the score in ln w_j is q_j - w_j.
    shares = np.zeros(slopes.size)
    shares[::3] = params.weights
    crossed = np.outer(shares, slopes)
    return np.asarray(products - crossed - crossed.T + q.sum() * np.outer(shares, shares))


def _centre_and_scale(x: Array, err: Array, counts: Array) -> tuple[float, float]:
    """A value near the mean, and a power of two near the overall width."""
    centre = float(x[np.argmin(np.abs(x - np.average(x, weights=counts)))])
    with np.errstate(over="ignore", under="ignore"):
        squares = (x - centre) ** 2 + err**2
        spread = math.sqrt(float(np.average(squares, weights=counts)))
    if not 1e-150 < spread < 1e150:
        # If squares exceed the range of doubles, compute the scale in units of the largest value.
        largest = float(np.max(np.hypot(x - centre, err)))
        spread = largest and largest * math.sqrt(
            float(np.average(np.hypot((x - centre) / largest, err / largest) ** 2, weights=counts))
        )
    return centre, float(2.0 ** np.round(np.log2(spread or abs(centre) or 1.0)))


class Climbable(Protocol):
    """The methods of a likelihood that an ascent needs; see `Likelihood`."""

    ceiling: float

    def sums(self, params: Params) -> Sums:
        """One pass: the log-likelihood and the sums of an EM step."""

    def derivatives(self, params: Params, hessian: Array | None = None) -> Derivatives:
        """One pass: value, gradient and Hessian."""


class Likelihood:
    """Log-likelihood, derivatives and gradient function of mixtures on fixed cells.

    Parameters
    ----------
    cells : Cells
        The data.
    n_threads : int or None
        Number of threads; all cores by default. The results do not depend on it.
    like : Likelihood or None
        A likelihood whose shift and scale are adopted, so that parameters have the same units.
    """

    def __init__(self, cells: Cells, n_threads: int | None = None, like: Likelihood | None = None) -> None:
        used = cells.weights > 0
        rows = (cells.x, cells.err, cells.weights)
        x, err, counts = rows if used.all() else (part[used] for part in rows)
        self.weight_kind = cells.weight_kind
        self.resolution = cells.resolution
        self.centre: float
        self.scale: float
        self.centre, self.scale = (like.centre, like.scale) if like else _centre_and_scale(x, err, counts)
        self.x = (x - self.centre) / self.scale
        self.var = (err / self.scale) ** 2
        self.counts = np.array(counts)
        self.n_data = float(self.counts.sum())
        # No maximum has a component wider than this; a component without data could otherwise widen without limit.
        self.ceiling = 1e4 * float(np.ptp(self.x) ** 2 + self.var.max() + 1.0)
        # The density of x is that of the scaled value divided by the scale.
        self.log_jacobian = -self.n_data * float(np.log(self.scale))
        self.n_threads = n_threads or available_threads()
        self.workers: ThreadPoolExecutor | None = None
        self.n_chunks = -(-self.x.size // passes.CHUNK)
        self.n_passes = 0
        self._lock = threading.Lock()

    def count_passes(self, number: int = 1) -> None:
        """Count passes over the data that were made by any thread."""
        with self._lock:
            self.n_passes += number

    def scaled(self, mixture: Mixture) -> Params:
        """The mixture in scaled units."""
        return Params(
            np.maximum(mixture.weights, WEIGHT_FLOOR),
            (mixture.means - self.centre) / self.scale,
            (mixture.sigmas / self.scale) ** 2,
        )

    def mixture(self, params: Params) -> Mixture:
        """The mixture in the units of the data."""
        return Mixture(params.weights, self.centre + self.scale * params.means, self.scale * np.sqrt(params.variances))

    def together(self, first: Callable[[], A], second: Callable[[], B]) -> tuple[A, B]:
        """The results of two tasks, which run concurrently if there are threads."""
        if self.n_threads == 1:
            return first(), second()
        with ThreadPoolExecutor(1) as pool:
            ahead = pool.submit(second)
            return first(), ahead.result()

    def _run(self, task: Callable[[int, int], None], n_items: int, n_densities: int) -> None:
        """Split a range of chunks or candidates over the threads; each writes to a separate part of the output."""
        n_threads = min(self.n_threads, n_items) if n_densities > THREADED_DENSITIES else 1
        if n_threads == 1:
            task(0, n_items)
            return
        self.workers = self.workers or ThreadPoolExecutor(self.n_threads)
        bounds = np.linspace(0, n_items, n_threads + 1).astype(int).tolist()
        list(self.workers.map(task, bounds[:-1], bounds[1:]))

    def sums(self, params: Params) -> Sums:
        """One pass: the log-likelihood and the sums of an EM step."""
        (total,) = self._passed(passes.em_pass, params, (1 + passes.N_EM * params.n_components,))
        per_component = total[1:].reshape(params.n_components, passes.N_EM)
        return Sums(float(total[0]) + self.log_jacobian, *per_component.T)

    def component_sums(self, params: Params) -> ComponentSums:
        """One pass: the sums from which value, gradient and Hessian are computed."""
        size, n_sums = params.n_components, passes.N_EM + passes.N_NEWTON
        total, outer = self._passed(passes.newton_pass, params, (1 + n_sums * size,), (3 * size, 3 * size))
        return ComponentSums(float(total[0]) + self.log_jacobian, total[1:].reshape(size, n_sums), outer)

    def _passed(
        self, kernel: Callable[..., None], params: Params, *shapes: tuple[int, ...], more: tuple[Array, ...] = ()
    ) -> list[Array]:
        """One pass: the sums over all cells of what a kernel sums over each chunk; some take more columns."""
        outs = [np.empty((self.n_chunks, *shape)) for shape in shapes]
        columns = (self.x, self.var, self.counts, *more, params.weights, params.means, params.variances)
        self._run(
            lambda first, last: kernel(*columns, first, last, *outs), self.n_chunks, self.x.size * params.n_components
        )
        self.count_passes()
        # Small data have one chunk.
        return [out[0] if len(out) == 1 else out.sum(axis=0) for out in outs]

    def derivatives(self, params: Params, hessian: Array | None = None) -> Derivatives:
        """One pass: value, gradient and Hessian. See `Derivatives` for the order of the parameters.

        Passing a known approximation of the Hessian halves the work.
        """
        if hessian is not None:
            s = self.sums(params)
            gradient = np.stack([s.q - self.n_data * params.weights, s.q_d, 0.5 * (s.q_dd - s.q_inv)], axis=1).ravel()
            excess = self.n_data * (params.weights.sum() - 1.0)
            total_var = np.divide(s.q, s.q_inv, out=np.ones_like(s.q), where=s.q_inv > 0.0)
            return Derivatives(s.loglik - excess, gradient, hessian, total_var)
        return derivatives_of(self.component_sums(params), params, self.n_data)

    def logpdf(self, params: Params) -> tuple[Array, float, float]:
        """ln p of each scaled value, the log-likelihood, and the entropy of the responsibilities."""
        logp, entropy = self._log_densities(params)
        loglik = float((self.counts * logp).sum()) + self.log_jacobian
        return logp, loglik, float((self.counts * entropy).sum())

    def _log_densities(self, params: Params) -> tuple[Array, Array]:
        """One pass: ln p of each scaled value, and the entropy of its responsibilities."""
        logp, entropy = np.empty_like(self.x), np.empty_like(self.x)
        self._run(
            lambda first, last: passes.logpdf_pass(
                self.x, self.var, params.weights, params.means, params.variances, first, last, logp, entropy
            ),
            self.n_chunks,
            self.x.size * params.n_components,
        )
        self.count_passes()
        return logp, entropy

    @cached_property
    def squares(self) -> Array:
        """Squared weights of the rows, summed over the rows of each cell."""
        return self.counts if self.weight_kind == "counts" else self.counts**2

    @cached_property
    def spread(self) -> float:
        """Variance of the data, including the errors."""
        mean = float(np.sum(self.counts * self.x)) / self.n_data
        return float(np.sum(self.counts * ((self.x - mean) ** 2 + self.var))) / self.n_data

    def squared(self) -> Likelihood:
        """The likelihood of the same rows with the squares of their weights."""
        other = copy.copy(self)
        other.counts = self.squares
        return other

    def held_sums(self, params: Params) -> Array:
        """One pass: for each component, the sums over the rows of q, of a = q / T, and of a^2."""
        (sums,) = self._passed(passes.held_pass, params, (passes.N_HELD * params.n_components,), more=(self.squares,))
        return sums.reshape(-1, passes.N_HELD)

    def effective_rows(self, params: Params, held: Array | None = None) -> tuple[Array, Array]:
        """Effective number of rows of each component, ``(sum a)^2 / sum a^2``, and their typical T, by their sums."""
        shares, first, second = (self.held_sums(params) if held is None else held).T
        total_var = np.divide(shares, first, out=np.full_like(first, self.spread), where=first > 0.0)
        return count_effective(first, second), total_var

    def occam(self, params: Params, fewest: float = 0.0, *, climbing: bool = False) -> float:
        """Penalty, in nats, on components that rest on few rows; a bound on their effective numbers may save a pass."""
        if self.weight_kind == "counts" and fewest > 1.1 * MIN_ROWS:
            return 0.0
        least = CLIMBING_ROWS if climbing else MIN_ROWS
        return occam_nats(*self.effective_rows(params), self.spread, self.n_data, least)

    @property
    def grain(self) -> float:
        """Square of the grain of the values in scaled units, if errors are smaller than it."""
        return 0.0 if self.resolution.floor == 0.0 else (self.resolution.grain / self.scale) ** 2

    def gradient_function(self, logp: Array, means: Array, variances: Array) -> tuple[Array, Array]:
        """Gradient function D of candidate components, and the curvature along each.

        Adding a component with a small weight w changes the log-likelihood by ``w D - w^2 C / 2``. No mixture exceeds
        the log-likelihood by more than the largest D (Lindsay 1983).

        Returns
        -------
        gradient, curvature : ndarray, shape (n_candidates,)
        """
        out = np.empty((means.size, 2))
        self._run(
            lambda first, last: passes.gradient_pass(
                self.x, self.var, self.counts, logp, means, variances, first, last, out
            ),
            means.size,
            self.x.size * means.size,
        )
        return out[:, 0], out[:, 1]

    def bounds_of_gradient(self, logp: Array, variance: float, centres: Array, halves: Array) -> tuple[Array, Array]:
        """The gradient function of components of one variance at some means, and upper bounds in intervals about them.

        Parameters
        ----------
        logp : ndarray, shape (n_cells,)
            ln p of each value.
        variance : float
            Variance of the components.
        centres, halves : ndarray, shape (n_intervals,)
            Centre and half of the length of each interval.

        Returns
        -------
        values, bounds : ndarray, shape (n_intervals,)
            The gradient function at the centres, and its upper bounds; infinite where they exceed the range of doubles.
        """
        total = variance + self.var
        log_height = np.log(self.counts) - 0.5 * np.log(2.0 * math.pi * total) - logp
        out = np.full((centres.size, 2), np.inf)
        if log_height.max() < _LARGEST_EXPONENT:
            inv_sigma = 1.0 / np.sqrt(total)
            self._run(
                lambda first, last: bounds.interval_pass(
                    self.x, inv_sigma, log_height, centres, halves, first, last, out
                ),
                centres.size,
                self.x.size * centres.size,
            )
        return out[:, 0] - self.n_data, out[:, 1] - self.n_data
