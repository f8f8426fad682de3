"""Tabulated densities that are cut or noisy, and constrained least squares for them by SciPy.

The peer minimises what mixpipe minimises, from many starts, most of them random: the squared differences of the
densities, or of the mean densities in bins, and the difference of the means. The shares of the truncated components are
a softmax, so that they are positive and sum to one. Means and sigmas have the bounds that mixpipe documents: a mean
lies at most one sigma outside the grid, and a sigma is at least a third of the grid step at its mean.

Both choose by one rule, each among its own fits: the fewest components with which a minimum of the squared error, not
only the lowest one, is within the tolerance.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import least_squares, nnls
from scipy.special import ndtr
from scipy.stats import norm

from benchmarks.measure import table
from mixpipe.fitting.tabulated.fit import CLOSE_ENOUGH, fit_densities

TITLE = "Tabulated densities that are cut or noisy"
N_HISTOGRAMS, N_CUT = 200, 2_000
# The largest number of components, and starts of the peer; one component has hardly more than one minimum.
MAX_COMPONENTS, N_STARTS, N_STARTS_OF_ONE = 6, 200, 4

# Weight of the difference of the means, in units of the table's standard deviation.
_MEAN_WEIGHT = 50.0
# Bounds on the logarithms of ratios of shares.
_LOG_RATIO = 14.0
_MAX_EVALUATIONS = 300
# Relative change of the squared error at which a descent ends; those that come near the tolerance go on.
_ROUGH, _FINE, _NEAR = 1e-4, 1e-10, 2.0
# Relative step of the numerical derivatives.
_STEP = 1.5e-8
# Smallest and largest sigma of the random starts, in units of the table's standard deviation.
_SIGMAS = (0.03, 1.5)


@dataclass(frozen=True, eq=False)
class Problem:
    """A tabulated density: values at points, or in the bins between them."""

    points: np.ndarray
    values: np.ndarray

    @property
    def is_histogram(self) -> bool:
        """Whether the values are those of bins."""
        return self.points.size > self.values.size

    @property
    def grid(self) -> np.ndarray:
        """The grid as mixpipe takes it."""
        return np.column_stack([self.points[:-1], self.points[1:]]) if self.is_histogram else self.points

    @property
    def x(self) -> np.ndarray:
        """Where the values are."""
        return 0.5 * (self.points[1:] + self.points[:-1]) if self.is_histogram else self.points

    @property
    def widths(self) -> np.ndarray:
        """Widths of the bins, or weights of the trapezium rule."""
        gaps = np.diff(self.points)
        return gaps if self.is_histogram else 0.5 * (np.append(gaps, 0.0) + np.insert(gaps, 0, 0.0))

    @property
    def lowest_sigmas(self) -> np.ndarray:
        """Lower bounds on the sigmas of components at `x`: a third of the width of the bin or of the grid step."""
        gaps = np.diff(self.points)
        if self.is_histogram:
            return gaps / 3.0
        return 0.5 / 3.0 * (np.append(gaps, gaps[-1]) + np.insert(gaps, 0, gaps[0]))

    @property
    def density(self) -> np.ndarray:
        """The values, divided by their integral."""
        return self.values / (self.widths @ self.values)

    @property
    def moments(self) -> tuple[float, float]:
        """Mean and standard deviation."""
        mean = float(self.widths @ (self.x * self.density))
        return mean, float(np.sqrt(self.widths @ (self.density * (self.x - mean) ** 2)))

    @property
    def cdf(self) -> np.ndarray:
        """Cumulative distribution at the points."""
        f = self.density
        steps = self.widths * f if self.is_histogram else 0.5 * np.diff(self.points) * (f[1:] + f[:-1])
        return np.append(0.0, np.cumsum(steps))


@dataclass(frozen=True, eq=False)
class Solution:
    """Shares of the truncated components, their parameters, the minimum, the largest difference of the distributions,
    and whether the descent has converged."""

    shares: np.ndarray
    means: np.ndarray
    sigmas: np.ndarray
    square: float
    ks: float
    converged: bool

    @property
    def is_within(self) -> bool:
        """Whether this is a minimum within the tolerance."""
        return self.converged and self.ks < CLOSE_ENOUGH


def _pdf(x: np.ndarray, means: np.ndarray, sigmas: np.ndarray) -> np.ndarray:
    return np.exp(-0.5 * ((x - means) / sigmas) ** 2) / (np.sqrt(2.0 * np.pi) * sigmas)


def _model(problem: Problem, shares: np.ndarray, means: np.ndarray, sigmas: np.ndarray) -> tuple[np.ndarray, ...]:
    """Density of the truncated mixture, as the table has it, and its cumulative distribution, for one set of
    parameters or for several along the first axis.
    """
    means, sigmas, points = means[..., None, :], sigmas[..., None, :], problem.points[:, None]
    below = ndtr((points - means) / sigmas)
    inside = np.maximum(below[..., -1:, :] - below[..., :1, :], 1e-300)
    cdf = np.sum((below - below[..., :1, :]) / inside * shares[..., None, :], axis=-1)
    if problem.is_histogram:
        return np.diff(cdf) / problem.widths, cdf
    return np.sum(_pdf(points, means, sigmas) / inside * shares[..., None, :], axis=-1), cdf


def _bounded(problem: Problem, means: np.ndarray, sigmas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Variables with constant bounds for means and sigmas: the distance of the mean from the middle of the grid, in
    units of half the grid and one sigma, and the logarithm of sigma.
    """
    first, last = problem.points[0], problem.points[-1]
    return (means - 0.5 * (first + last)) / (0.5 * (last - first) + sigmas), np.log(sigmas)


def _unbounded(problem: Problem, places: np.ndarray, widths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means and sigmas; the inverse of `_bounded`, with sigmas of at least a third of the grid step at the mean."""
    first, last = problem.points[0], problem.points[-1]
    sigmas = np.exp(widths)
    means = 0.5 * (first + last) + places * (0.5 * (last - first) + sigmas)
    return means, np.maximum(sigmas, np.interp(means, problem.x, problem.lowest_sigmas))


def _means(problem: Problem, means: np.ndarray, sigmas: np.ndarray) -> np.ndarray:
    """Means of the truncated components."""
    first, last = problem.points[0], problem.points[-1]
    inside = np.maximum(ndtr((last - means) / sigmas) - ndtr((first - means) / sigmas), 1e-300)
    return means + sigmas**2 * (_pdf(first, means, sigmas) - _pdf(last, means, sigmas)) / inside


def solve(
    problem: Problem, n_components: int, n_starts: int, rng: np.random.Generator, below: Solution | None
) -> Solution:
    """The best of several fits with a number of components, some of them from the fit with one fewer.

    The first one that has converged and is within the tolerance is enough.
    """
    x, widths, density, cdf = problem.x, problem.widths, problem.density, problem.cdf
    mean, std = problem.moments
    lever = _MEAN_WEIGHT * np.sqrt(widths @ density**2) / std
    size = n_components

    def parameters(variables: np.ndarray) -> tuple[np.ndarray, ...]:
        logits = np.concatenate([variables[..., : size - 1], np.zeros_like(variables[..., :1])], axis=-1)
        shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
        means, sigmas = _unbounded(problem, variables[..., size - 1 : 2 * size - 1], variables[..., 2 * size - 1 :])
        return shares / shares.sum(axis=-1, keepdims=True), means, sigmas

    def residuals(variables: np.ndarray) -> np.ndarray:
        shares, means, sigmas = parameters(variables)
        model, _ = _model(problem, shares, means, sigmas)
        if problem.is_histogram:
            found = np.sum(shares * _means(problem, means, sigmas), axis=-1)
        else:
            found = model @ (widths * x)
        rest = np.concatenate([np.sqrt(widths) * (model - density), lever * (found - mean)[..., None]], axis=-1)
        return np.nan_to_num(rest, nan=1e3, posinf=1e3, neginf=-1e3)

    def slopes(variables: np.ndarray) -> np.ndarray:
        """Differences in all variables at once."""
        steps = _STEP * np.maximum(1.0, np.abs(variables))
        beside = residuals(variables + np.diag(steps))
        return ((beside - residuals(variables)) / steps[:, None]).T

    widest, narrowest = np.log(np.ptp(problem.points)), np.log(problem.lowest_sigmas.min())
    low = np.repeat([-_LOG_RATIO, -1.0, narrowest], [size - 1, size, size])
    high = np.repeat([_LOG_RATIO, 1.0, widest], [size - 1, size, size])

    def descend(start: np.ndarray, accuracy: float) -> tuple[np.ndarray, Solution]:
        inner = np.clip(start, low + 1e-9, high - 1e-9)
        found = least_squares(
            residuals, inner, slopes, (low, high), x_scale="jac", ftol=accuracy, max_nfev=_MAX_EVALUATIONS
        )
        shares, means, sigmas = parameters(found.x)
        ks = float(np.abs(_model(problem, shares, means, sigmas)[1] - cdf).max())
        return found.x, Solution(shares, means, sigmas, 2.0 * found.cost, ks, bool(found.success))

    best: Solution | None = None
    for start in _starts(problem, size, n_starts, rng, below, std):
        place, solution = descend(start, _ROUGH)
        if solution.ks < _NEAR * CLOSE_ENOUGH:
            _, solution = descend(place, _FINE)
        if solution.is_within:
            # A minimum is reached from beside it, too; a descent may stop where the lower bound on sigma has a kink.
            beside = _start(problem, solution.shares, solution.means, 1.02 * solution.sigmas)
            _, solution = descend(beside, _FINE)
        if best is None or solution.is_within or solution.square < best.square:
            best = solution
        if best.is_within:
            break
    if best is None:
        raise ValueError("no start")
    return best


def _best_shares(problem: Problem, means: np.ndarray, sigmas: np.ndarray) -> np.ndarray:
    """Shares of components with these means and sigmas, by least squares without the constraint on the mean."""
    components = [_model(problem, np.ones(1), *each)[0] for each in zip(means[:, None], sigmas[:, None], strict=True)]
    roots = np.sqrt(problem.widths)
    shares, _ = nnls(roots[:, None] * np.column_stack(components), roots * problem.density)
    return np.maximum(shares / shares.sum(), 1e-3)


def _start(problem: Problem, shares: np.ndarray, means: np.ndarray, sigmas: np.ndarray) -> np.ndarray:
    shares = np.maximum(shares, 1e-6)
    return np.concatenate([np.log(shares[:-1] / shares[-1]), *_bounded(problem, means, sigmas)])


def _starts(
    problem: Problem, size: int, n_starts: int, rng: np.random.Generator, below: Solution | None, std: float
) -> Iterator[np.ndarray]:
    means = np.interp((np.arange(size) + 0.5) / size, problem.cdf, problem.points)
    yield _start(problem, np.ones(size), means, np.full(size, std / size))
    if below is not None:
        for j in range(size - 1):
            shares, means, sigmas = (np.append(a, a[j]) for a in (below.shares, below.means, below.sigmas))
            shares[[j, -1]] *= 0.5
            means[[j, -1]] += np.array([-0.7, 0.7]) * sigmas[j]
            sigmas[[j, -1]] *= 0.7
            yield _start(problem, shares, means, sigmas)
    for _ in range(n_starts - 1):
        means = np.interp(rng.uniform(size=size), problem.cdf, problem.points)
        sigmas = std * np.exp(rng.uniform(*np.log(_SIGMAS), size))
        yield _start(problem, _best_shares(problem, means, sigmas), means, sigmas)


def fewest(
    problem: Problem, max_components: int, n_starts: int = N_STARTS, seed: int = 0
) -> tuple[int, list[Solution]]:
    """The smallest number of components that reaches the tolerance, 0 if none does, and the fits up to it."""
    rng = np.random.default_rng(seed)
    fits: list[Solution] = []
    for size in range(1, max_components + 1):
        enough = n_starts if size > 1 else min(n_starts, N_STARTS_OF_ONE)
        fits.append(solve(problem, size, enough, rng, fits[-1] if fits else None))
        if fits[-1].is_within:
            return size, fits
    return 0, fits


def cut_pdfs(n: int, seed: int = 1) -> list[Problem]:
    """Densities of two Gaussians on a grid that begins within the first of them."""
    rng = np.random.default_rng(seed)
    grid = np.linspace(0.0, 3.0, 200)
    found = []
    for _ in range(n):
        means, sigmas = (rng.uniform(-0.1, 0.3), rng.uniform(0.5, 2.0)), rng.uniform(0.05, 0.3, 2)
        found.append(Problem(grid, norm.pdf(grid[:, None], means, sigmas) @ rng.dirichlet([4.0, 4.0])))
    return found


def histograms(n: int, seed: int = 1) -> list[Problem]:
    """Redshift distributions of three kinds, most of them cut, in even or uneven bins, exact or of some counts."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(n):
        low, high, n_bins = rng.choice([0.0, 0.1, 0.3]), rng.choice([1.5, 2.0, 3.0]), int(rng.integers(20, 80))
        edges = np.linspace(low, high, n_bins + 1)
        if rng.uniform() < 0.3:
            edges[1:-1] = np.sort(rng.uniform(low, high, n_bins - 1))
        x = np.linspace(low, high, 4001)
        if i % 3 == 0:
            f = x**2 * np.exp(-((x / rng.uniform(0.2, 0.6)) ** 1.5))
        elif i % 3 == 1:
            size = int(rng.integers(2, 5))
            f = norm.pdf(x[:, None], rng.uniform(low, high, size), rng.uniform(0.05, 0.3, size))
            f = f @ rng.dirichlet(np.full(size, 3.0))
        else:
            f = np.exp(-x / rng.uniform(0.2, 1.0)) * (1.0 + 0.8 * np.sin(rng.uniform(2.0, 8.0) * x))
        below = np.append(0.0, np.cumsum(0.5 * np.diff(x) * (f[1:] + f[:-1])))
        shares = np.diff(np.interp(edges, x, below)) / below[-1]
        n_rows = rng.choice([0, 300, 3_000, 100_000])
        if n_rows:
            shares = rng.multinomial(n_rows, shares / shares.sum()) / n_rows
        found.append(Problem(edges, shares / np.diff(edges)))
    return found


def compare(problems: list[Problem]) -> dict[str, Any]:
    """Where constrained least squares reaches the tolerance, and with how many components; the same of mixpipe."""
    reached, within, same, more, rises, steps = 0, 0, 0, 0, 0, 0
    ks, shifts = [], []
    for problem in problems:
        most = min(MAX_COMPONENTS, problem.values.size // 3)
        fitted = fit_densities(problem.grid, problem.values[None], max_components=most, n_threads=1)
        size, _ = fewest(problem, most)
        found = int(fitted.n_components[0])
        ks.append(float(fitted.ks[0]))
        mean, std = problem.moments
        shifts.append(abs(fitted.density(0).mean - mean) / std)
        if size:
            reached += 1
            within += ks[-1] < CLOSE_ENOUGH
            same += found == size
            more += found > size
        squares = [
            float(fit_densities(problem.grid, problem.values[None], number, n_threads=1).l2[0])
            for number in range(1, most + 1)
        ]
        noise = 1e-10 * float(problem.widths @ problem.density**2)
        steps += len(squares) - 1
        rises += int(np.count_nonzero(np.diff(squares) > noise))
    return {
        "n": len(problems), "reached": reached, "within": int(within), "same": same, "more": more,
        "fewer": reached - same - more, "ks_largest": max(ks),
        "shift_99": float(np.quantile(shifts, 0.99)), "rises": rises, "steps": steps,
    }  # fmt: skip


def measure() -> dict[str, Any]:
    """Compare histograms and cut PDFs with the peer."""
    return {"histograms": compare(histograms(N_HISTOGRAMS)), "cut": compare(cut_pdfs(N_CUT))}


def page(result: dict[str, Any]) -> str:
    """Markdown."""
    names = {"histograms": "histograms, cut, noisy or uneven", "cut": "PDFs cut within the first of two components"}
    head = [
        "",
        "densities",
        "peer within",
        "of these mixpipe",
        "same M",
        "more",
        "fewer",
        "largest KS",
        "shift",
        "error rises",
    ]
    rows = [
        [
            name,
            *(f"{result[key][part]:,}" for part in ("n", "reached", "within", "same", "more", "fewer")),
            f"{result[key]['ks_largest']:.3f}",
            f"{result[key]['shift_99']:.1e}",
            f"{result[key]['rises']} of {result[key]['steps']:,}",
        ]
        for key, name in names.items()
    ]
    return "\n\n".join(
        [
            f"Is the tolerance of {CLOSE_ENOUGH:g} reached, and with how many components, up to {MAX_COMPONENTS}? Both "
            "take the fewest components with which a minimum of the squared error, not only the lowest one, is within "
            "the tolerance. The peer is scipy's `least_squares` with positive shares that sum to one, truncation at "
            "the ends of the grid, the mean of the table, and the bounds on means and sigmas that mixpipe documents, "
            f"from {N_STARTS} starts ({N_STARTS_OF_ONE} with one component) and from splits of the fit with one "
            "component fewer. The shift is the difference of the means of table and mixture, in standard deviations, "
            "which 99 % do not exceed; that of PDFs contains the error of the trapezium rule. "
            "The last column counts the steps from M to M + 1 components at which the squared error of mixpipe rises.",
            table(head, rows),
        ]
    )
