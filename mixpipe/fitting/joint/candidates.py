"""Starts for one component more, or one fewer, from a fit: insertion, splits, merges, and clusters of the rows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mixpipe.base.arrays import Array
from mixpipe.fitting.joint.likelihood import Likelihood
from mixpipe.fitting.joint.structure import relative_roots
from mixpipe.fitting.kernels import places
from mixpipe.model.joint.blocks import Parameters

# Rows at which an insertion is tried, and intrinsic covariances that are tried there, as parts of that of the nearest
# component; those which promise most become starts.
_N_PLACES = 40
_SCALES = (0.0, 0.01, 0.0625, 0.25, 1.0)
# Least variance of a further component, in units in which the columns have variances near 1.
_LEAST_INSERTED = 1e-6
# Rows whose scatter around a place is tried there, too.
_NEIGHBOURS = (8, 30)
_N_INSERTED, _AT_ONE_PLACE = 12, 2
# Part of the variance along an axis that lies between the two halves of a split.
_BETWEEN = 0.64
_N_AXES = 3
_N_MERGED = 6
# Steps of the clustering of rows.
_LLOYD = 12
_LEAST_WIDTH = 1e-3
# Parts of the variance of all rows in components around single rows.
_AROUND = (0.05, 0.2, 0.6)


class Sample:
    """Rows on which starts are compared, with their values where they are known.

    Parameters
    ----------
    likelihood : Likelihood
        Of the sample.
    """

    def __init__(self, likelihood: Likelihood) -> None:
        self.likelihood = likelihood
        x, cov, projections = likelihood.scaling.rows(likelihood.cells)
        if projections is not None:
            # The least-squares values of each row.
            inverse = np.linalg.pinv(projections)
            noise = inverse @ cov @ np.swapaxes(inverse, 1, 2)
            x, cov = np.einsum("nab,nb->na", inverse, x), noise
        self.seen = ~np.isnan(x)
        self.weights = likelihood.cells.weights
        share = self.weights[:, None] * self.seen
        self.mean = (share * np.where(self.seen, x, 0.0)).sum(axis=0) / np.maximum(share.sum(axis=0), 1e-300)
        self.x = np.ascontiguousarray(np.where(self.seen, x, self.mean))
        self.noise = np.diagonal(cov, axis1=1, axis2=2)
        away = self.x - self.mean
        n_data = self.weights.sum()
        spread = np.einsum("n,na,nb->ab", self.weights, away, away) / n_data
        noise = np.einsum("n,na->a", self.weights, self.noise) / n_data
        self.covariance = spread + _LEAST_WIDTH * np.diag(np.maximum(np.diagonal(spread), 1e-6))
        self.intrinsic = _positive(spread - np.diag(noise), 0.05 * np.diagonal(self.covariance))

    def one(self) -> Parameters:
        """A start with one component."""
        return Parameters(np.ones(1), self.mean[None], self.intrinsic[None])

    def responsibilities(self, at: Parameters) -> tuple[Array, Array]:
        """Responsibilities, shape (n_components, n), and ln p of the rows."""
        resp, logs = np.zeros((at.n_components, len(self.x))), np.zeros(len(self.x))
        for _, batch in self.likelihood.batches(at):
            rows = batch.members.size
            weights = batch.weights.ravel()[:rows]
            shares = np.moveaxis(batch.numbers[:, :, 0], 1, 0).reshape(at.n_components, -1)[:, :rows]
            resp[:, batch.members] = shares / weights
            logs[batch.members] = batch.logs.ravel()[:rows] / weights
        return resp, logs


def _positive(matrix: Array, least: Array) -> Array:
    """Covariances with at least some variance in each direction, in units of the least variances of the columns."""
    scale = np.sqrt(least)
    roots, axes = np.linalg.eigh(matrix / (scale[:, None] * scale))
    return np.asarray((axes * np.maximum(roots, 1.0)[..., None, :]) @ axes.swapaxes(-1, -2) * (scale[:, None] * scale))


def _with(at: Parameters, mean: Array, covariance: Array, weight: float) -> Parameters:
    return Parameters(
        np.append((1.0 - weight) * at.weights, weight),
        np.vstack([at.means, mean]),
        np.concatenate([at.covariances, covariance[None]]),
    )


def inserted(sample: Sample, at: Parameters, n_starts: int = _N_INSERTED) -> list[Parameters]:
    """Starts with a component where the gradient function says that one more gains most.

    The derivative of the log-likelihood in the weight of a new component is ``sum c N(x | m, V + S) / p - n``.
    """
    resp, logs = sample.responsibilities(at)
    nearest = resp.argmax(axis=0)
    total = at.covariances + np.diag(sample.noise.mean(axis=0) + _LEAST_INSERTED)
    # The axes V of the total covariances T, with V' T V = 1.
    halves = np.swapaxes(relative_roots(total, total)[1], 1, 2)
    turned = halves @ sample.x.T
    at_rows = _places(turned, logs, nearest)
    around, scatters = _neighbourhoods(sample, turned, nearest[at_rows], at_rows)
    scaled = at.covariances[nearest[at_rows], None] * np.array(_SCALES)[:, None, None]
    means = np.concatenate([np.repeat(sample.x[at_rows], len(_SCALES), axis=0), around])
    covs = np.concatenate([scaled.reshape(-1, at.n_dims, at.n_dims), scatters])
    covs += np.diag(np.maximum(sample.likelihood.floor, _LEAST_INSERTED))
    where = np.concatenate([np.repeat(at_rows, len(_SCALES)), np.tile(at_rows, len(around) // len(at_rows))])
    # The gain with the weight at which it is largest, for each of a few weights.
    total = sample.weights.sum()
    tried = np.array([1.0 / total, 0.01, 0.05, 0.2])
    tried = tried[tried < 0.5]
    promised = sample.likelihood.blocks.promises(means, covs, logs, tried)
    best = promised.max(axis=1)
    starts: list[Parameters] = []
    taken: list[int] = []
    for k in np.argsort(-np.where(np.isfinite(best), best, -np.inf), kind="stable"):
        if taken.count(int(where[k])) == _AT_ONE_PLACE:
            continue
        taken.append(int(where[k]))
        weight = float(max(tried[promised[k].argmax()], 1.0 / total))
        starts.append(_with(at, means[k], covs[k], min(weight, 0.5)))
        if len(starts) == n_starts:
            break
    return starts


def _neighbourhoods(
    sample: Sample, turned: Array, components: NDArray[np.intp], at_rows: NDArray[np.intp]
) -> tuple[Array, Array]:
    """Means and intrinsic scatters of the rows nearest to some rows, in the metrics of their components."""
    least = 1e-4 * np.diagonal(sample.covariance)
    n_data, n_dims = sample.x.shape
    numbers = [number for number in _NEIGHBOURS if number < n_data]
    if not numbers:
        return np.zeros((0, n_dims)), np.zeros((0, n_dims, n_dims))
    order = np.argpartition(places.distances(turned, components, at_rows), numbers, axis=1)
    means, covs = [], []
    for number in numbers:
        rows = order[:, :number]
        near = sample.x[rows]
        mean = near.mean(axis=1)
        away = near - mean[:, None]
        noise = sample.noise[rows].mean(axis=1)[:, :, None] * np.eye(n_dims)
        means.append(mean)
        covs.append(_positive(away.swapaxes(1, 2) @ away / number - noise, least))
    return np.concatenate(means), np.concatenate(covs)


def without(at: Parameters, j: int) -> Parameters:
    """The mixture with a component left out."""
    kept = np.arange(at.n_components) != j
    return Parameters(at.weights[kept] / at.weights[kept].sum(), at.means[kept], at.covariances[kept])


def _places(turned: Array, logs: Array, nearest: NDArray[np.intp]) -> NDArray[np.intp]:
    """Rows far from each other in the metric of their components, the least probable first, and about as many more."""
    size = min(_N_PLACES, logs.size)
    chosen = places.far_apart(turned, nearest, int(np.argmin(logs)), size)
    # Half of the places are spread over the rows, which lie in no order.
    spread = np.arange(0, logs.size, max(1, logs.size // size))[:size]
    return np.unique(np.concatenate([chosen, spread]))


def split(at: Parameters) -> Iterator[Parameters]:
    """Starts with one component divided into two halves along one of its widest axes."""
    for j in np.argsort(-at.weights, kind="stable"):
        roots, axes = np.linalg.eigh(at.covariances[j])
        for k in range(at.n_dims - 1, max(at.n_dims - 1 - _N_AXES, -1), -1):
            if roots[k] <= 1e-6 * roots[-1] or roots[k] <= 0.0:
                continue
            step = np.sqrt(_BETWEEN * roots[k]) * axes[:, k]
            cov = at.covariances[j] - _BETWEEN * roots[k] * np.outer(axes[:, k], axes[:, k])
            means = np.vstack([at.means, at.means[j] + step])
            means[j] = at.means[j] - step
            covs = np.concatenate([at.covariances, cov[None]])
            covs[j] = cov
            weights = np.append(at.weights, 0.5 * at.weights[j])
            weights[j] *= 0.5
            yield Parameters(weights, means, covs)


def merged(at: Parameters, resp: Array, weights: Array, n_starts: int = _N_MERGED) -> Iterator[Parameters]:
    """Starts with two components joined, those whose rows are shared most first, and one with the lightest left out."""
    shared = (resp * weights) @ resp.T
    rows = np.maximum(resp @ weights, 1e-300)
    pairs = [(shared[j, k] / min(rows[j], rows[k]), j, k) for k in range(at.n_components) for j in range(k)]
    for _, j, k in sorted(pairs, key=lambda pair: -pair[0])[:n_starts]:
        yield join(at, j, k)
    if at.n_components > 2:
        yield without(at, int(at.weights.argmin()))


def join(at: Parameters, j: int, k: int) -> Parameters:
    """Two components replaced by one with their moments."""
    weight = at.weights[j] + at.weights[k]
    shares = np.array([at.weights[j], at.weights[k]]) / weight
    pair = [j, k]
    mean = shares @ at.means[pair]
    away = at.means[pair] - mean
    cov = np.einsum("s,sab->ab", shares, at.covariances[pair] + away[:, :, None] * away[:, None, :])
    kept = [i for i in range(at.n_components) if i not in pair]
    return Parameters(
        np.append(at.weights[kept], weight),
        np.vstack([at.means[kept], mean]),
        np.concatenate([at.covariances[kept], cov[None]]),
    )


def clusters(sample: Sample, n_components: int) -> Iterator[Parameters]:
    """Starts from clusters of the rows: along each column, along the first principal axis, and in all columns."""
    scale = np.sqrt(np.diagonal(sample.covariance))
    x = (sample.x - sample.mean) / scale
    _, axes = np.linalg.eigh(sample.covariance / (scale[:, None] * scale))
    lines = [*x.T, x @ axes[:, -1]]
    for line in lines:
        bounds = np.quantile(line, np.arange(1, n_components) / n_components)
        labels = np.searchsorted(bounds, line)
        yield _of_labels(sample, _lloyd(line[:, None], labels, n_components), n_components)
    for points in (x, x @ axes):
        centres = [int(np.argmax(np.sum(points**2, axis=1)))]
        distance = np.full(len(points), np.inf)
        for _ in range(n_components - 1):
            distance = np.minimum(distance, np.sum((points - points[centres[-1]]) ** 2, axis=1))
            centres.append(int(np.argmax(distance)))
        nearest = np.argmin([np.sum((points - points[k]) ** 2, axis=1) for k in centres], axis=0)
        yield _of_labels(sample, _lloyd(points, nearest, n_components), n_components)


def around_rows(sample: Sample, n_components: int, n_starts: int) -> Iterator[Parameters]:
    """Starts with components around single rows; rows lie in the order of a hash, so that they are a random choice."""
    complete = np.flatnonzero(sample.seen.all(axis=1))
    rows = complete if complete.size >= n_components else np.arange(len(sample.x))
    for k in range(min(n_starts, rows.size // n_components)):
        means = sample.x[rows[k * n_components : (k + 1) * n_components]]
        cov = sample.intrinsic * _AROUND[k % len(_AROUND)]
        yield Parameters(np.full(n_components, 1.0 / n_components), means, np.tile(cov, (n_components, 1, 1)))


def _lloyd(points: Array, labels: Array, n_clusters: int) -> Array:
    for _ in range(_LLOYD):
        counts = np.bincount(labels, minlength=n_clusters)
        sums = np.stack([np.bincount(labels, column, minlength=n_clusters) for column in points.T], axis=1)
        centres = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], points.mean(axis=0))
        labels = np.argmin([np.sum((points - centre) ** 2, axis=1) for centre in centres], axis=0)
    return labels


def _of_labels(sample: Sample, labels: Array, n_components: int) -> Parameters:
    weights, means, covs = [], [], []
    least = 0.01 * np.diagonal(sample.covariance) / n_components**2
    for j in range(n_components):
        rows = labels == j
        share = sample.weights * rows
        total = share.sum()
        if np.count_nonzero(rows) < 2:
            weights.append(1.0)
            means.append(sample.x[rows].mean(axis=0) if rows.any() else sample.mean)
            covs.append(sample.intrinsic / n_components)
            continue
        mean = share @ sample.x / total
        away = sample.x - mean
        spread = np.einsum("n,na,nb->ab", share, away, away) / total
        weights.append(total)
        means.append(mean)
        covs.append(_positive(spread - np.diag(share @ sample.noise / total), least))
    shares = np.array(weights)
    return Parameters(shares / shares.sum(), np.array(means), np.array(covs))
