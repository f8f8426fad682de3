"""Integral transforms of rows of several columns, and how far they are from uniform.

They do not depend on how mixtures are fitted, so that figures can be drawn without that.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtr, ndtr

from mixpipe.base.arrays import Array
from mixpipe.model.joint.mixture import JointMixture

# Names of what is compared beside the columns.
AXIS, DISTANCE = "principal axis", "distance"
# Bins of the transforms: the statistics are exact to this width, and add up over blocks.
_N_BINS = 1 << 16
_BLOCK = 1 << 17


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
