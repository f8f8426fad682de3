"""How well a mixture of several columns describes the rows, and intervals of its parameters."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtr, expit, logit, ndtr

from mixpipe.assess.bootstrap import repeat
from mixpipe.assess.intervals import check_level
from mixpipe.assess.joint import JointDraws, draw_rows
from mixpipe.assess.simulation import p_value
from mixpipe.base.arrays import Array
from mixpipe.fitting.engine import engine_for_columns
from mixpipe.fitting.joint_problem import JointProblem
from mixpipe.model.joint.cells import JointCells
from mixpipe.model.joint.mixture import JointMixture
from mixpipe.model.joint.results import JointFit

# Names of what is compared beside the columns.
AXIS, DISTANCE = "principal axis", "distance"
# Bins of the transforms: the statistics are exact to this width, and add up over blocks.
_N_BINS = 1 << 16
_BLOCK = 1 << 17
LEVELS = (0.68, 0.95)


@dataclass(frozen=True)
class JointQuality:
    """Kolmogorov-Smirnov statistic of one projection of the rows.

    Parameters
    ----------
    name : str
        A column, ``principal axis``, or ``distance``, the Mahalanobis distance from the components.
    n_rows : int
        Rows that have it.
    ks, ks_pvalue : float
        The statistic, and its p-value by simulation; nan without.
    """

    name: str
    n_rows: int
    ks: float
    ks_pvalue: float = math.nan


class Transforms:
    """Distributions of the probability integral transforms of rows, uniform if the mixture is right.

    Each column has the transform by its marginal, for the errors of the row; so has the principal axis of the whole
    mixture, for rows that have all columns. Mahalanobis distances from component j are chi-squared; each counts with
    the probability that the row belongs to j.

    Parameters
    ----------
    mixture : JointMixture
    """

    def __init__(self, mixture: JointMixture) -> None:
        self.mixture = mixture
        self.names = (*mixture.names, AXIS, DISTANCE)
        self.counts = np.zeros((len(self.names), _N_BINS))
        self.n_rows = np.zeros(len(self.names), dtype=np.int64)

    def add(self, x: Array, cov: Array, weights: Array) -> None:
        """Add rows; nan where a value is missing."""
        for start in range(0, len(x), _BLOCK):
            part = slice(start, start + _BLOCK)
            for k, (u, counts, rows) in enumerate(self._transforms(x[part], cov[part], weights[part])):
                places = np.minimum((np.nan_to_num(u) * _N_BINS).astype(np.int64), _N_BINS - 1)
                self.counts[k] += np.bincount(places, counts, _N_BINS)
                self.n_rows[k] += rows

    def quality(self) -> list[JointQuality]:
        """The statistics of all rows so far."""
        edges = np.arange(1, _N_BINS + 1) / _N_BINS
        found = []
        for name, counts, n_rows in zip(self.names, self.counts, self.n_rows.tolist(), strict=True):
            total = counts.sum()
            ks = float(np.max(np.abs(np.cumsum(counts) / total - edges))) if total > 0.0 else math.nan
            found.append(JointQuality(name, n_rows, ks))
        return found

    def _transforms(self, x: Array, cov: Array, weights: Array) -> Iterator[tuple[Array, Array, int]]:
        mixture = self.mixture
        n_dims = mixture.n_dims
        for a in range(n_dims):
            seen = ~np.isnan(x[:, a])
            yield (
                _transform(
                    mixture.weights, mixture.means[:, a], mixture.covariances[:, a, a], x[seen, a], cov[seen, a, a]
                ),
                weights[seen],
                int(seen.sum()),
            )
        whole = ~np.isnan(x).any(axis=1)
        axis = principal_axis(mixture)
        along = np.einsum("a,nab,b->n", axis, cov[whole], axis)
        variances = np.einsum("a,jab,b->j", axis, mixture.covariances, axis)
        yield (
            _transform(mixture.weights, mixture.means @ axis, variances, x[whole] @ axis, along),
            weights[whole],
            int(whole.sum()),
        )
        shares = mixture.responsibilities(x, cov=cov) * weights[:, None]
        u = np.zeros_like(shares)
        for have, rows in patterns(x):
            for j in range(mixture.n_components):
                total = mixture.covariances[j][np.ix_(have, have)] + cov[np.ix_(rows, have, have)]
                off = x[np.ix_(rows, have)] - mixture.means[j, have]
                u[rows, j] = chdtr(have.size, np.einsum("na,na->n", off, _solved(total, off)))
        yield u.ravel(), shares.ravel(), len(x)


def _solved(matrices: Array, vectors: Array) -> Array:
    """The matrices' inverses times the vectors; pseudoinverses if one is singular."""
    try:
        return np.asarray(np.linalg.solve(matrices, vectors[:, :, None])[:, :, 0])
    except np.linalg.LinAlgError:
        return np.asarray(np.einsum("nab,nb->na", np.linalg.pinv(matrices, hermitian=True), vectors))


def patterns(x: Array) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """The columns that rows have, and the rows that have just these."""
    kinds, which = np.unique(~np.isnan(x), axis=0, return_inverse=True)
    for k, kind in enumerate(kinds):
        yield np.flatnonzero(kind), np.flatnonzero(np.ravel(which) == k)


def principal_axis(mixture: JointMixture) -> Array:
    """The direction in which the whole mixture is widest, with each column in units of its width."""
    mean = mixture.weights @ mixture.means
    off = mixture.means - mean
    total = np.einsum("j,jab->ab", mixture.weights, mixture.covariances + off[:, :, None] * off[:, None, :])
    scale = np.sqrt(np.diagonal(total))
    scale = np.where(scale > 0.0, scale, 1.0)
    axis = np.linalg.eigh(total / (scale[:, None] * scale))[1][:, -1] / scale
    return np.asarray(axis * np.sign(axis[np.argmax(np.abs(axis * scale))]))


def _transform(weights: Array, means: Array, variances: Array, x: Array, noise: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        z = (x[:, None] - means) / np.sqrt(variances + noise[:, None])
    return np.asarray(ndtr(z) @ weights)


def assess_columns(
    fit: JointFit, cells: JointCells, n_draws: int, seed: int, n_threads: int | None = None
) -> list[JointQuality]:
    """The quality of a fit on rows in memory, with p-values from catalogs that are drawn and fitted again.

    Parameters
    ----------
    fit : JointFit
    cells : JointCells
        Its rows.
    n_draws : int
        Catalogs; 0 for no p-values.
    seed : int
    n_threads : int or None
        No result depends on it.
    """

    def statistics(mixture: JointMixture, rows: JointCells) -> list[JointQuality]:
        transforms = Transforms(mixture)
        transforms.add(rows.x, rows.cov, rows.weights)
        return transforms.quality()

    observed = statistics(fit.mixture, cells)
    if not n_draws:
        return observed
    engine, problem = engine_for_columns(), JointProblem(cells, fit.structure, 1)

    def draw(rng: np.random.Generator) -> list[float]:
        catalog = JointProblem(draw_rows(fit.mixture, problem.cells, rng), fit.structure, 1)
        return [one.ks for one in statistics(engine.refit(catalog, fit)[0], catalog.cells)]

    simulated = np.array(repeat(draw, n_draws, seed, n_threads))
    return [
        JointQuality(one.name, one.n_rows, one.ks, p_value(one.ks, simulated[:, k])) for k, one in enumerate(observed)
    ]


def intervals_of_columns(fit: JointFit, draws: JointDraws | None = None) -> Iterator[dict[str, object]]:
    """Rows of intervals.csv: normal intervals of logit w, the means, ln sigma and artanh of the correlations.

    With bootstrap draws these come first, as percentiles. Parameters are called weight, mean_A, sigma_A and corr_A_B.
    """
    mixture = fit.mixture
    names = mixture.names
    for method in ("bootstrap", "information"):
        if method == "bootstrap" and draws is None:
            continue
        for j in range(mixture.n_components):
            for parameter, part, place in parameters_of(names):
                estimate = float(getattr(mixture, part)[(j, *place)])
                for level in LEVELS:
                    if method == "bootstrap" and draws is not None:
                        low, high = (float(end[(j, *place)]) for end in draws.intervals(part, level))
                    else:
                        unc = float(getattr(fit.uncertainties, part)[(j, *place)])
                        low, high = _normal(part, estimate, unc * check_level(level))
                    yield {
                        "method": method,
                        "component": j + 1,
                        "parameter": parameter,
                        "estimate": estimate,
                        "level": level,
                        "lower": low,
                        "upper": high,
                        "preferred": (method == "bootstrap") == (draws is not None),
                    }


def parameters_of(names: Sequence[str]) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """The parameters of a component in columns with these names: name, attribute of the mixture, and place in it."""
    yield "weight", "weights", ()
    for a, name in enumerate(names):
        yield f"mean_{name}", "means", (a,)
        yield f"sigma_{name}", "sigmas", (a,)
    for a in range(len(names)):
        for b in range(a + 1, len(names)):
            yield f"corr_{names[a]}_{names[b]}", "correlations", (a, b)


def _normal(part: str, estimate: float, half: float) -> tuple[float, float]:
    """The ends of an interval on the scale on which the estimate is more nearly normal."""
    if part == "weights" and 0.0 < estimate < 1.0:
        steps = np.array([-half, half]) / (estimate * (1.0 - estimate))
        low, high = expit(logit(estimate) + steps).tolist()
    elif part == "sigmas" and estimate > 0.0:
        with np.errstate(over="ignore"):
            low, high = (estimate * np.exp(np.array([-half, half]) / estimate)).tolist()
    elif part == "correlations" and abs(estimate) < 1.0:
        low, high = np.tanh(np.arctanh(estimate) + np.array([-half, half]) / (1.0 - estimate**2)).tolist()
    else:
        low, high = (estimate - half, estimate + half) if part == "means" else (math.nan, math.nan)
        if half == 0.0:
            low = high = estimate
    return low, high
