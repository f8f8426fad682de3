"""Tabulated densities that are cut or noisy, and constrained least squares for them by SciPy.

The peer minimises what mixpipe minimises, from several starts, most of them random: the squared differences of the
densities, or of the mean densities in bins, and the difference of the means. The shares of the truncated components are
a softmax, so that they are positive and sum to one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import least_squares
from scipy.special import ndtr
from scipy.stats import norm

from benchmarks.measure import table
from mixpipe.fitting.tabulated.fit import CLOSE_ENOUGH, fit_densities

TITLE = "Tabulated densities that are cut or noisy"
N_HISTOGRAMS, N_CUT = 200, 2_000
# The largest number of components, and starts of the peer.
MAX_COMPONENTS, N_STARTS = 6, 4

# Weight of the difference of the means, in units of the table's standard deviation.
_MEAN_WEIGHT = 50.0
# Bounds on the logarithms of ratios of shares.
_LOG_RATIO = 14.0
_MAX_EVALUATIONS = 150


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
    """Shares of the truncated components, their parameters, the minimum, and the largest difference of the
    distributions."""

    shares: np.ndarray
    means: np.ndarray
    sigmas: np.ndarray
    square: float
    ks: float


def _model(problem: Problem, shares: np.ndarray, means: np.ndarray, sigmas: np.ndarray) -> tuple[np.ndarray, ...]:
    """Density of the truncated mixture, as the table has it, and its cumulative distribution."""
    below = ndtr((problem.points[:, None] - means) / sigmas)
    inside = np.maximum(below[-1] - below[0], 1e-300)
    cdf = (below - below[0]) / inside @ shares
    if problem.is_histogram:
        return np.diff(cdf) / problem.widths, cdf
    return norm.pdf(problem.points[:, None], means, sigmas) / inside @ shares, cdf


def _means(problem: Problem, means: np.ndarray, sigmas: np.ndarray) -> np.ndarray:
    """Means of the truncated components."""
    ends = (problem.points[[0, -1], None] - means) / sigmas
    low, high = norm.pdf(ends) / np.maximum(np.diff(ndtr(ends), axis=0), 1e-300)
    return means + sigmas * (low - high)


def solve(
    problem: Problem, n_components: int, n_starts: int, rng: np.random.Generator, below: Solution | None
) -> Solution:
    """The best of several fits with a number of components, some of them from the fit with one fewer.

    The first one that reaches the tolerance is enough.
    """
    x, widths, density, cdf = problem.x, problem.widths, problem.density, problem.cdf
    length, step = np.ptp(problem.points), np.diff(problem.points).min()
    mean, std = problem.moments
    lever = _MEAN_WEIGHT * np.sqrt(widths @ density**2) / std
    size = n_components

    def parameters(variables: np.ndarray) -> tuple[np.ndarray, ...]:
        logits = np.append(variables[: size - 1], 0.0)
        shares = np.exp(logits - logits.max())
        return shares / shares.sum(), variables[size - 1 : 2 * size - 1], np.exp(variables[2 * size - 1 :])

    def residuals(variables: np.ndarray) -> np.ndarray:
        shares, means, sigmas = parameters(variables)
        model, _ = _model(problem, shares, means, sigmas)
        found = shares @ _means(problem, means, sigmas) if problem.is_histogram else widths @ (x * model)
        rest = np.append(np.sqrt(widths) * (model - density), lever * (found - mean))
        return np.nan_to_num(rest, nan=1e3, posinf=1e3, neginf=-1e3)

    low = np.repeat([-_LOG_RATIO, problem.points[0] - 0.5 * length, np.log(step / 3.0)], [size - 1, size, size])
    high = np.repeat([_LOG_RATIO, problem.points[-1] + 0.5 * length, np.log(length)], [size - 1, size, size])
    best: Solution | None = None
    for start in _starts(problem, size, n_starts, rng, below, std):
        inner = np.clip(start, low + 1e-9, high - 1e-9)
        found = least_squares(residuals, inner, bounds=(low, high), x_scale="jac", max_nfev=_MAX_EVALUATIONS)
        shares, means, sigmas = parameters(found.x)
        ks = float(np.abs(_model(problem, shares, means, sigmas)[1] - cdf).max())
        if best is None or ks < CLOSE_ENOUGH or 2.0 * found.cost < best.square:
            best = Solution(shares, means, sigmas, 2.0 * found.cost, ks)
        if ks < CLOSE_ENOUGH:
            break
    if best is None:
        raise ValueError("no start")
    return best


def _starts(
    problem: Problem, size: int, n_starts: int, rng: np.random.Generator, below: Solution | None, std: float
) -> Iterator[np.ndarray]:
    places = np.interp((np.arange(size) + 0.5) / size, problem.cdf, problem.points)
    yield np.concatenate([np.zeros(size - 1), places, np.full(size, np.log(std / size))])
    if below is not None:
        for j in range(size - 1):
            shares, means, sigmas = (np.append(a, a[j]) for a in (below.shares, below.means, below.sigmas))
            shares[[j, -1]] *= 0.5
            means[[j, -1]] += np.array([-0.7, 0.7]) * sigmas[j]
            sigmas[[j, -1]] *= 0.7
            shares = np.maximum(shares, 1e-6)
            yield np.concatenate([np.log(shares[:-1] / shares[-1]), means, np.log(sigmas)])
    for _ in range(n_starts - 1):
        places = np.interp(rng.uniform(size=size), problem.cdf, problem.points)
        widths = np.log(std * rng.uniform(0.1, 1.0, size))
        yield np.concatenate([rng.normal(size=size - 1), places, widths])


def fewest(
    problem: Problem, max_components: int, n_starts: int = N_STARTS, seed: int = 0
) -> tuple[int, list[Solution]]:
    """The smallest number of components that reaches the tolerance, 0 if none does, and the fits up to it."""
    rng = np.random.default_rng(0)
    fits: list[Solution] = []
    for size in range(1, max_components + 1):
        fits.append(solve(problem, size, n_starts, rng, fits[-1] if fits else None))
        if fits[-1].ks < CLOSE_ENOUGH:
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
            f"Is the tolerance of {CLOSE_ENOUGH:g} reached, and with how many components, up to {MAX_COMPONENTS}? The "
            "peer is scipy's `least_squares` with positive shares that sum to one, truncation at the ends of the grid "
            f"and the mean of the table, from {N_STARTS} starts and from splits of the fit with one component fewer. "
            "The shift is the difference of the means of table and mixture, in standard deviations, which 99 % "
            "do not exceed; that of PDFs contains the error of the trapezium rule. "
            "The last column counts the steps from M to M + 1 components at which the squared error of mixpipe rises.",
            table(head, rows),
        ]
    )
