"""An independent maximum of the likelihood: plain NumPy and SciPy, many starts, rows or bins.

Written from the formulas of the method, not from the package: L-BFGS-B with analytic gradients over the logarithms of
the weights, the means and the logarithms of the sigmas, each in units of its own uncertainty, after some steps of
expectation maximisation. Nothing here is fast.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_ndtr, logsumexp

Array = np.ndarray
LN_2PI = math.log(2.0 * math.pi)
# Fewer effective rows than three do not make a population. Three rows of equal errors, far from all others, are three
# but for rounding and the tails of the other components.
MIN_ROWS = 2.99
# A round of the optimiser that gains less (nats) is the last.
GAINED = 1e-7


@dataclass(frozen=True, eq=False)
class Maximum:
    """Where the optimiser came to rest, in the unit of the data."""

    loglik: float
    weights: Array
    means: Array
    sigmas: Array
    n_rows: Array

    @property
    def admissible(self) -> bool:
        """Whether every component rests on enough rows."""
        return bool(np.all(self.n_rows >= MIN_ROWS))


class Rows:
    """Values with Gaussian errors, and how often each occurs.

    Parameters
    ----------
    x, err : array_like
        Values and errors.
    counts : array_like or None
        Rows that each stands for.
    """

    def __init__(self, x: Array, err: Array | float | None = None, counts: Array | None = None) -> None:
        x = np.asarray(x, dtype=float)
        err = np.broadcast_to(np.asarray(0.0 if err is None else err, dtype=float), x.shape)
        counts = np.ones(x.shape) if counts is None else np.asarray(counts, dtype=float)
        pairs, inverse = np.unique(np.stack([x, err]), axis=1, return_inverse=True)
        total = np.bincount(np.ravel(inverse), counts)
        kept = total > 0
        self.x, self.err, self.counts = pairs[0][kept], pairs[1][kept], total[kept]
        order = np.argsort(self.x, kind="stable")
        # Differences from a value among them are exact or nearly so, whatever the offset.
        self.shift = float(self.x[order[self.x.size // 2]])
        spread = np.quantile(self.x, 0.84) - np.quantile(self.x, 0.16)
        self.scale = float(spread or np.ptp(self.x) or self.err.max() or 1.0)
        self.z = (self.x - self.shift) / self.scale
        self.e2 = (self.err / self.scale) ** 2
        self.n = float(self.counts.sum())
        self.constant = -self.n * math.log(self.scale)
        positive = self.err[self.err > 0.0]
        # Widths below this are as good as zero.
        self.smallest = 1e-4 * float(positive.min()) / self.scale if positive.size else 0.0

    def terms(self, weights: Array, means: Array, variances: Array) -> tuple[Array, Array, Array]:
        """ln (w_j N) by component and row, T and d, all in scaled units."""
        total = variances[:, None] + self.e2
        d = self.z - means[:, None]
        with np.errstate(divide="ignore"):
            log_weights = np.log(weights)
        return log_weights[:, None] - 0.5 * (d * d / total + np.log(total) + LN_2PI), total, d

    def log_terms(self, weights: Array, means: Array, variances: Array) -> Array:
        """ln (w_j N) by component and row, in scaled units."""
        return self.terms(weights, means, variances)[0]

    def value_and_gradient(self, log_weights: Array, means: Array, log_sigmas: Array) -> tuple[float, Array]:
        """The log-likelihood (without its constant) and its derivatives by softmax arguments, means and ln sigma."""
        variances = np.exp(2.0 * log_sigmas)
        weights = np.exp(log_weights - logsumexp(log_weights))
        terms, total, d = self.terms(weights, means, variances)
        q, log_p = _normalised(terms)
        cq = self.counts * q
        by_weight = cq.sum(axis=1) - self.n * weights
        by_mean = (cq * d / total).sum(axis=1)
        by_sigma = (cq * (d * d / total - 1.0) / total).sum(axis=1) * variances
        return float(self.counts @ log_p), np.concatenate([by_weight, by_mean, by_sigma])

    def step(self, weights: Array, means: Array, variances: Array, floor: float) -> tuple[Array, Array, Array]:
        """One step of expectation maximisation, with the true values missing too."""
        terms, total, d = self.terms(weights, means, variances)
        q, _ = _normalised(terms)
        cq = self.counts * q
        mass = np.maximum(cq.sum(axis=1), 1e-300)
        shrunk = variances[:, None] * d / total
        moved = (cq * shrunk).sum(axis=1) / mass
        within = variances[:, None] * self.e2 / total
        new = (cq * ((shrunk - moved[:, None]) ** 2 + within)).sum(axis=1) / mass
        return np.maximum(mass / self.n, 1e-12), means + moved, np.maximum(new, max(floor, self.smallest) ** 2)

    def units(self, weights: Array, means: Array, variances: Array) -> Array:
        """About one uncertainty of each parameter."""
        terms, total, _ = self.terms(weights, means, variances)
        q, _ = _normalised(terms)
        cq = self.counts * q
        by_weight = 1.0 / np.sqrt(np.maximum(self.n * weights, 1.0))
        by_mean = 1.0 / np.sqrt(np.maximum((cq / total).sum(axis=1), 1e-12))
        information = 2.0 * (cq * (variances[:, None] / total) ** 2).sum(axis=1)
        return np.concatenate([by_weight, by_mean, 1.0 / np.sqrt(np.maximum(information, 1.0))])

    def effective_rows(self, weights: Array, means: Array, variances: Array) -> Array:
        """Rows that the mean of each component rests on."""
        q, _ = _normalised(self.log_terms(weights, means, variances))
        log_a = np.log(np.maximum(q, 1e-300)) - np.log(variances[:, None] + self.e2)
        log_c = np.log(self.counts)
        return np.exp(2.0 * logsumexp(log_a + log_c, axis=1) - logsumexp(2.0 * log_a + log_c, axis=1))


class Intervals:
    """Intervals that hold the observed values, whose errors are Gaussian, and how often each occurs.

    Parameters
    ----------
    low, high, err : array_like
        The ends of the intervals, and the errors.
    counts : array_like or None
        Rows that each stands for.
    """

    smallest_part = 1e-3

    def __init__(self, low: Array, high: Array, err: Array | float = 0.0, counts: Array | None = None) -> None:
        low, high = np.asarray(low, dtype=float), np.asarray(high, dtype=float)
        err = np.broadcast_to(np.asarray(err, dtype=float), low.shape)
        counts = np.ones(low.shape) if counts is None else np.asarray(counts, dtype=float)
        same, inverse = np.unique(np.stack([low, high, err]), axis=1, return_inverse=True)
        total = np.bincount(np.ravel(inverse), counts)
        (low, high, err), self.counts = same[:, total > 0], total[total > 0]
        self.n = float(self.counts.sum())
        # Differences from a value among them are exact or nearly so, whatever the offset.
        self.shift = float(low[np.argsort(low, kind="stable")[low.size // 2]])
        spread = np.quantile(low, 0.84) - np.quantile(low, 0.16)
        self.scale = float(spread or np.ptp(low) or (high - low).max())
        self.low, self.high = (low - self.shift) / self.scale, (high - self.shift) / self.scale
        self.z, self.widths = 0.5 * (self.low + self.high), (high - low) / self.scale
        self.noise2 = (err / self.scale) ** 2
        # For the starts and the effective rows, intervals are measurements with the error of their width.
        self.e2 = self.noise2 + self.widths**2 / 12.0
        self.constant = -float(self.counts @ np.log(high - low))
        self.smallest = self.smallest_part * math.sqrt(float(self.e2.min()))

    def value_and_gradient(self, log_weights: Array, means: Array, log_sigmas: Array) -> tuple[float, Array]:
        """As that of `Rows`."""
        variances = np.exp(2.0 * log_sigmas)
        weights = np.exp(log_weights - logsumexp(log_weights))
        below, above, total = self._ends(means, variances)
        log_mass = log_interval(below, above, self.widths / total)
        with np.errstate(divide="ignore"):
            q, log_p = _normalised(np.log(weights)[:, None] + log_mass)
        at_low, at_high = (np.exp(np.clip(-0.5 * (z * z + LN_2PI) - log_mass, -700.0, 300.0)) for z in (below, above))
        # Where the interval is narrow, the derivatives are those of the density in its middle.
        middle, narrow = 0.5 * (below + above), _are_narrow(below, above)
        by_mean = np.where(narrow, middle, at_low - at_high) / total
        by_total = np.where(narrow, middle**2 - 1.0, at_low * below - at_high * above)
        cq = self.counts * q
        by_sigma = (cq * by_total * variances[:, None] / total**2).sum(axis=1)
        by_weight = cq.sum(axis=1) - self.n * weights
        return float(self.counts @ log_p), np.concatenate([by_weight, (cq * by_mean).sum(axis=1), by_sigma])

    def _ends(self, means: Array, variances: Array) -> tuple[Array, Array, Array]:
        """The ends of the intervals in units of the widths of the components, and these."""
        total = np.sqrt(np.maximum(variances[:, None] + self.noise2, 1e-24))
        return (self.low - means[:, None]) / total, (self.high - means[:, None]) / total, total

    def log_terms(self, weights: Array, means: Array, variances: Array) -> Array:
        """As that of `Rows`."""
        below, above, total = self._ends(means, variances)
        with np.errstate(divide="ignore"):
            return np.log(weights)[:, None] + log_interval(below, above, self.widths / total)

    terms = Rows.terms
    step = Rows.step
    units = Rows.units
    effective_rows = Rows.effective_rows


class Bins(Intervals):
    """Counts in the bins of a histogram; the likelihood is multinomial, of integrals of the mixture over the bins."""

    def __init__(self, edges: Array, counts: Array) -> None:
        super().__init__(edges[:-1], edges[1:], 0.0, counts)
        self.constant = 0.0

    def effective_rows(self, weights: Array, means: Array, variances: Array) -> Array:
        """All are admitted: the likelihood is bounded."""
        return np.full(weights.shape, np.inf)


def _are_narrow(low: Array, high: Array) -> Array:
    """Whether the density hardly changes between two ends, so that a difference of Phi has lost digits."""
    return (high - low) * np.maximum(1.0, np.maximum(np.abs(low), np.abs(high))) < 1e-4


def log_interval(low: Array, high: Array, width: Array) -> Array:
    """ln (Phi(high) - Phi(low)), in either tail; the width may be known better than the difference of the ends."""
    mirrored = low > 0.0
    lower, upper = np.where(mirrored, -high, low), np.where(mirrored, -low, high)
    log_upper = log_ndtr(upper)
    middle = 0.5 * (low + high)
    # The density in the middle, and how it curves.
    curvature = np.clip(width**2 * (middle**2 - 1.0) / 24.0, -0.5, 0.5)
    density = np.log(width) - 0.5 * (middle**2 + LN_2PI) + np.log1p(curvature)
    with np.errstate(divide="ignore"):
        mass = log_upper + np.log1p(-np.exp(np.minimum(log_ndtr(lower) - log_upper, 0.0)))
    return np.maximum(np.where(_are_narrow(low, high), density, mass), -1e5)


def _normalised(terms: Array) -> tuple[Array, Array]:
    """Responsibilities and ln p."""
    top = terms.max(axis=0)
    q = np.exp(terms - top)
    total = q.sum(axis=0)
    return q / total, top + np.log(total)


def _log_p(data: Rows | Intervals, weights: Array, means: Array, sigmas: Array) -> Array:
    """ln p of the rows under a mixture given in the unit of the data, but for the constant."""
    means, variances = (np.asarray(means) - data.shift) / data.scale, (np.asarray(sigmas) / data.scale) ** 2
    return _normalised(data.log_terms(np.asarray(weights), means, variances))[1]


def loglik(data: Rows | Intervals, weights: Array, means: Array, sigmas: Array) -> float:
    """The log-likelihood of a mixture given in the unit of the data."""
    return float(data.counts @ _log_p(data, weights, means, sigmas)) + data.constant


def size_of_terms(data: Rows | Intervals, weights: Array, means: Array, sigmas: Array) -> float:
    """The sum of the absolute values of the rows' ln p, which rounding is relative to."""
    return float(data.counts @ np.abs(_log_p(data, weights, means, sigmas) + data.constant / data.n))


@dataclass(frozen=True, eq=False)
class _Point:
    """Parameters in scaled units: softmax arguments, means, ln sigmas."""

    log_weights: Array
    means: Array
    log_sigmas: Array

    @property
    def weights(self) -> Array:
        return np.exp(self.log_weights - logsumexp(self.log_weights))

    @property
    def variances(self) -> Array:
        return np.exp(2.0 * self.log_sigmas)

    @classmethod
    def of(cls, weights: Array, means: Array, variances: Array) -> _Point:
        return cls(np.log(np.maximum(weights, 1e-12)), np.asarray(means, float), 0.5 * np.log(variances))


def _climb(
    data: Rows | Intervals, start: _Point, floor: float, n_steps: int, equal_sigmas: bool = False
) -> tuple[_Point, float]:
    """One run of L-BFGS-B in units of the uncertainties at its start."""
    m = start.means.size
    units = data.units(start.weights, start.means, start.variances)
    bottom = math.log(max(floor, data.smallest))
    log_sigmas = np.maximum(start.log_sigmas, bottom)
    origin = np.concatenate([start.log_weights, start.means, log_sigmas])
    if equal_sigmas:
        units = units[: 2 * m + 1]
        origin = np.concatenate([origin[: 2 * m], [log_sigmas.mean()]])

    def parts(u: Array) -> tuple[Array, Array, Array]:
        theta = origin + units * u
        sigmas = theta[2 * m :]
        return theta[:m], theta[m : 2 * m], np.repeat(sigmas, m) if equal_sigmas else sigmas

    def negative(u: Array) -> tuple[float, Array]:
        value, gradient = data.value_and_gradient(*parts(u))
        if equal_sigmas:
            gradient = np.concatenate([gradient[: 2 * m], [gradient[2 * m :].sum()]])
        return -value, -gradient * units

    bounds = [(None, None)] * (2 * m) + [
        ((bottom - o) / w, (max(10.0, bottom + 1.0) - o) / w)
        for o, w in zip(origin[2 * m :], units[2 * m :], strict=True)
    ]
    bounds[:m] = [((-40.0 - o) / w, None) for o, w in zip(origin[:m], units[:m], strict=True)]
    found = minimize(
        negative,
        np.zeros(origin.size),
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": n_steps, "maxfun": 4 * n_steps, "ftol": 1e-15, "gtol": 1e-7, "maxcor": 20},
    )
    a, means, sigmas = parts(found.x)
    return _Point(a - logsumexp(a), means, np.array(sigmas)), -float(found.fun)


def polished(data: Rows | Intervals, start: _Point, floor: float, equal_sigmas: bool = False) -> tuple[_Point, float]:
    """Climb, with fresh units, until nothing more is gained."""
    point, value = _climb(data, start, floor, 200, equal_sigmas)
    for _ in range(12):
        again, better = _climb(data, point, floor, 400, equal_sigmas)
        gained = better - value
        if gained > 0.0:
            point, value = again, better
        if gained < GAINED:
            break
    return point, value


def starts(data: Rows | Intervals, m: int, floor: float, n_starts: int, rng: np.random.Generator) -> list[_Point]:
    """Random mixtures: at random rows, from k-means-like clusters, from cuts of the ordered rows, at dense places."""
    share = data.counts / data.n
    order = np.argsort(data.z, kind="stable")
    z, c = data.z[order], data.counts[order]
    least = max(floor, data.smallest, 1e-9 * float(np.ptp(z) or 1.0))
    wide = max(math.sqrt(float(share @ (data.z - share @ data.z) ** 2)), least)
    core = max(0.5, least)
    found = []
    for index in range(n_starts):
        kind = index % 4
        if kind == 0:
            means = rng.choice(data.z, m, p=share)
            sigmas = np.exp(rng.uniform(math.log(max(0.02, least)), math.log(max(2.0, least)), m))
            weights = rng.dirichlet(np.ones(m))
        elif kind == 1:
            centres = [rng.choice(data.z, p=share)]
            while len(centres) < m:
                distance = np.min(np.abs(data.z[:, None] - np.array(centres)), axis=1)
                chance = data.counts * distance ** (2.0 if rng.random() < 0.5 else 1.0)
                centres.append(rng.choice(data.z, p=chance / chance.sum() if chance.sum() > 0 else share))
            weights, means, sigmas = _groups(
                z, c, np.argmin(np.abs(z[:, None] - np.array(centres)), axis=1), m, least, np.array(centres)
            )
        elif kind == 2:
            cuts = np.sort(rng.random(m - 1)) if m > 1 else np.zeros(0)
            labels = np.searchsorted(cuts, (np.cumsum(c) - 0.5 * c) / data.n)
            weights, means, sigmas = _groups(z, c, labels, m, least, rng.choice(data.z, m, p=share))
        else:
            # One to m - 1 at the densest places for a random number of rows, the rest wide.
            weights, means, sigmas = rng.dirichlet(np.ones(m)), rng.choice(data.z, m, p=share), np.full(m, core)
            sigmas[-1] = wide
            for j in range(max(1, m - 1)):
                k = int(np.exp(rng.uniform(math.log(2.5), math.log(max(3.0, 0.5 * z.size)))))
                if k < z.size:
                    widths = z[k:] - z[:-k]
                    noisy = np.log(np.maximum(widths, least)) + 0.5 * rng.standard_normal(widths.size)
                    at = int(np.argmin(noisy))
                    means[j], sigmas[j] = z[at : at + k + 1].mean(), max(0.4 * widths[at], least)
                    weights[j] = max(c[at : at + k + 1].sum() / data.n, 1.0 / data.n)
            weights = weights / weights.sum()
        found.append(_Point.of(weights, means, np.maximum(sigmas, least) ** 2))
    return found


def _groups(z: Array, c: Array, labels: Array, m: int, least: float, fallback: Array) -> tuple[Array, Array, Array]:
    """Weights, means and widths of labelled rows."""
    mass = np.bincount(labels, c, m)
    filled = mass > 0
    safe = np.where(filled, mass, 1.0)
    means = np.where(filled, np.bincount(labels, c * z, m) / safe, fallback)
    variances = np.bincount(labels, c * (z - means[labels]) ** 2, m) / safe
    weights = np.maximum(mass, 0.5)
    return weights / weights.sum(), means, np.sqrt(np.maximum(variances, least**2))


def _warmed(data: Rows | Intervals, point: _Point, floor: float, n_steps: int) -> _Point:
    """After some steps of expectation maximisation."""
    weights, means, variances = point.weights, point.means, point.variances
    for _ in range(n_steps):
        weights, means, variances = data.step(weights, means, variances, floor)
    return _Point.of(weights, means, variances)


def inserted(
    data: Rows | Intervals, base: _Point, floor: float, rng: np.random.Generator, n_starts: int
) -> list[_Point]:
    """A mixture with one more component, at a random row and of a random width, or with a component in two."""
    share = data.counts / data.n
    least = max(floor, data.smallest, 1e-6)
    found = []
    for index in range(n_starts):
        if index % 3 == 2:
            j = rng.integers(base.means.size)
            width = math.exp(base.log_sigmas[j])
            weights = np.append(base.weights, 0.5 * base.weights[j])
            weights[j] *= 0.5
            means = np.append(base.means, base.means[j] + width)
            means[j] -= width
            sigmas = np.append(np.exp(base.log_sigmas), width * rng.choice([0.3, 1.0]))
        else:
            weight = rng.choice([0.3, 0.05, 2.0 / data.n])
            weights = np.append((1.0 - weight) * base.weights, weight)
            means = np.append(base.means, rng.choice(data.z, p=share))
            sigmas = np.append(np.exp(base.log_sigmas), max(least, math.exp(rng.uniform(math.log(1e-3), 0.0))))
        found.append(_Point.of(weights, means, np.maximum(sigmas, least) ** 2))
    return found


def _result(data: Rows | Intervals, point: _Point, value: float) -> Maximum:
    order = np.argsort(point.means)
    rows = data.effective_rows(point.weights, point.means, point.variances)
    return Maximum(
        value + data.constant,
        point.weights[order],
        data.shift + data.scale * point.means[order],
        data.scale * np.exp(point.log_sigmas[order]),
        rows[order],
    )


def scaled_point(data: Rows | Intervals, weights: Array, means: Array, sigmas: Array, floor: float) -> _Point:
    """A mixture in the unit of the data as a start of the optimiser."""
    scaled = np.maximum(np.asarray(sigmas) / data.scale, max(floor / data.scale, data.smallest))
    return _Point.of(np.asarray(weights), (np.asarray(means) - data.shift) / data.scale, scaled**2)


def maximise(
    data: Rows | Intervals,
    n_components: int,
    floor: float = 0.0,
    *,
    n_starts: int = 40,
    seed: Iterable[int] = (0,),
    known: Iterable[tuple[Array, Array, Array]] = (),
    equal_sigmas: bool = False,
    progress: Callable[[str], None] | None = None,
) -> list[Maximum]:
    """Local maxima from many starts, the highest first.

    Parameters
    ----------
    data : Rows or Intervals
    n_components : int
    floor : float
        Lower bound on the sigmas, in the unit of the data.
    n_starts : int
        Random starts; some more come from the maxima with fewer components.
    seed : iterable of int
        Of the random numbers.
    known : iterable of (weights, means, sigmas)
        Further starts, in the unit of the data.
    equal_sigmas : bool
        One width for all.
    """
    rng = np.random.default_rng([50, *seed])
    if isinstance(data, Rows) and floor <= 0.0 and np.any(data.e2 == 0.0):
        raise ValueError("the likelihood is unbounded: rows without error and no floor")
    low = floor / data.scale
    base: _Point | None = None
    points: list[tuple[_Point, float]] = []
    for m in range(1, n_components + 1):
        last = m == n_components
        # One component has one maximum, but for odd errors.
        number = (n_starts if m > 1 else 4) if last else (8 if m > 1 else 2)
        begun = starts(data, m, low, number, rng)
        if base is not None:
            begun += inserted(data, base, low, rng, number // 2 if last else 6)
        short = [_climb(data, _warmed(data, point, low, 10), low, 30, equal_sigmas) for point in begun]
        short = [(point, value) for point, value in short if np.isfinite(value)]
        points = _promising(data, short, 10 if last else 2)
        points = [polished(data, point, low, equal_sigmas) for point, _ in points]
        admitted = [item for item in points if _admitted(data, item[0])]
        base = max(admitted or points, key=lambda item: item[1])[0]
        if progress:
            progress(f"M = {m}: {max(value for _, value in points) + data.constant:.4f}")
    for weights, means, sigmas in known:
        points.append(polished(data, scaled_point(data, weights, means, sigmas, floor), low, equal_sigmas))
    found = [_result(data, point, value) for point, value in points]
    return sorted(found, key=lambda item: -item.loglik)


def _admitted(data: Rows | Intervals, point: _Point) -> bool:
    return bool(np.all(data.effective_rows(point.weights, point.means, point.variances) >= MIN_ROWS))


def _promising(data: Rows | Intervals, short: list[tuple[_Point, float]], number: int) -> list[tuple[_Point, float]]:
    """The best few after a short climb, different from each other; admissible ones first and others beside them."""
    ranked = sorted(short, key=lambda item: -item[1])
    kept: dict[bool, list[tuple[_Point, float]]] = {True: [], False: []}
    for point, value in ranked:
        group = kept[_admitted(data, point)]
        if all(abs(value - other) > 1e-4 for _, other in group):
            group.append((point, value))
    return kept[True][:number] + kept[False][: max(2, number // 3)]


def best(maxima: list[Maximum]) -> Maximum:
    """The highest admissible maximum, or the highest of all if none is admissible."""
    return next((item for item in maxima if item.admissible), maxima[0])


def remaining(data: Rows | Intervals, found: Maximum, floor: float) -> float:
    """The largest second derivative, in units of the uncertainties, where a maximum has none above zero.

    Parameters at the floor are left out, and so is the sum of the logarithms of the weights.
    """
    m = found.means.size
    point = _Point.of(found.weights, (found.means - data.shift) / data.scale, (found.sigmas / data.scale) ** 2)
    origin = np.concatenate([point.log_weights, point.means, point.log_sigmas])
    units = data.units(point.weights, point.means, point.variances)
    free = np.ones(3 * m, dtype=bool)
    free[2 * m :] = found.sigmas > 1.001 * max(floor, data.smallest * data.scale)
    step = 1e-4

    def gradient(theta: Array) -> Array:
        return data.value_and_gradient(theta[:m], theta[m : 2 * m], theta[2 * m :])[1]

    hessian = np.zeros((3 * m, 3 * m))
    for k in range(3 * m):
        shift = np.zeros(3 * m)
        shift[k] = step * units[k]
        hessian[k] = (gradient(origin + shift) - gradient(origin - shift)) * units / (2.0 * step)
    hessian = 0.5 * (hessian + hessian.T)[np.ix_(free, free)]
    return float(np.linalg.eigvalsh(hessian).max())
