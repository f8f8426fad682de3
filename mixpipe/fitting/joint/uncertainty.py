"""What the curvature says of a maximum: covariances of the parameters, and limits at the boundary."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from mixpipe.base.arrays import Array
from mixpipe.fitting.joint.chart import Chart
from mixpipe.fitting.joint.likelihood import Passes, Scaling
from mixpipe.fitting.joint.structure import null_axes
from mixpipe.model.joint.blocks import Parameters, Sums, lower_triangle
from mixpipe.model.joint.results import JointUncertainties

# Drop of the log-likelihood at the upper limit of a width that is zero: half the 95 % quantile of the mixture of a
# point at 0 and chi-squared with one degree of freedom in equal parts (Self & Liang 1987).
_LIMIT_DROP = 1.3527
# Curvature smaller than this part of the largest determines nothing.
_UNDETERMINED = 1e-12
_FLAT = 1e-9
# No limit is searched beyond this variance, in units in which the columns have variances near 1.
_WIDEST = 1e6


@dataclass(frozen=True, eq=False)
class Boundary:
    """Directions without a width beyond the floor, in scaled units.

    Parameters
    ----------
    rank : ndarray of int, shape (n_components,)
    directions : tuple of ndarray, shape (d - rank, d)
    """

    rank: NDArray[np.intp]
    directions: tuple[Array, ...]


def boundary(at: Parameters, floor: Array, noise: Array) -> Boundary:
    """The rank of each covariance above the floor, and its null space."""
    is_null, axes, _ = null_axes(at.covariances, floor, noise, _FLAT)
    directions = [np.linalg.qr(own[:, null])[0].T for own, null in zip(axes, is_null, strict=True)]
    return Boundary(np.count_nonzero(~is_null, axis=1), tuple(directions))


def covariance_of(
    likelihood: Passes, at: Parameters, sums: Sums, curvature: Array, structure: str, products: Array | None
) -> Array:
    """Covariance of the natural parameters (ln w, m, V) of all components, in scaled units, shape (M k, M k).

    It is the inverse of minus the Hessian in the coordinates of a chart, brought back by their Jacobian: along a
    singular covariance it so is the covariance of those that are singular alike. With products of the scores it is the
    sandwich for importance weights.
    """
    chart = Chart(at, likelihood.n_data, structure, likelihood.floor, likelihood.noise)
    theta = chart.locate(at)
    information = -chart.hessian(theta, at, sums, curvature)
    roots, axes = np.linalg.eigh(information)
    usable = roots > _UNDETERMINED * max(roots[-1], 1.0)
    inverse = (axes[:, usable] / roots[usable]) @ axes[:, usable].T
    scores = chart.jacobian(theta).reshape(-1, theta.size)
    jacobian = scores.copy()
    # ln w after their normalisation.
    k = jacobian.shape[0] // at.n_components
    jacobian[::k] -= at.weights @ jacobian[::k]
    if products is not None:
        size = scores.shape[0]
        inverse = inverse @ (scores.T @ products.reshape(size, size) @ scores) @ inverse
    unusable = axes[:, ~usable]
    covariance = jacobian @ inverse @ jacobian.T
    if unusable.size:
        # What moves along a direction without curvature is not determined.
        open_ended = np.sum((jacobian @ unusable) ** 2, axis=1) > 1e-8 * np.maximum(np.diagonal(covariance), 1e-300)
        covariance[open_ended, :] = np.nan
        covariance[:, open_ended] = np.nan
    return np.asarray(covariance)


def uncertainties(
    at: Parameters, covariance: Array, scaling: Scaling, edge: Boundary
) -> tuple[JointUncertainties, Array]:
    """Uncertainties in the units of the data, and the covariance of (w, m, V) of all components."""
    size, n_dims = at.n_components, at.n_dims
    row, column = lower_triangle(n_dims)
    k = 1 + n_dims + row.size
    units = np.concatenate([[1.0], scaling.scale, scaling.scale[row] * scaling.scale[column]])
    factors = np.concatenate([np.concatenate([[weight], units[1:]]) for weight in at.weights])
    natural = covariance * factors[:, None] * factors
    parts = natural.reshape(size, k, size, k)
    own = np.stack([parts[j, :, j, :] for j in range(size)])
    with np.errstate(invalid="ignore"):
        spread = np.sqrt(np.diagonal(own, axis1=1, axis2=2))
    covs = at.covariances * (scaling.scale[:, None] * scaling.scale)
    sigma = np.sqrt(np.maximum(np.diagonal(covs, axis1=1, axis2=2), 0.0))
    where = np.empty((n_dims, n_dims), dtype=int)
    where[row, column] = where[column, row] = 1 + n_dims + np.arange(row.size)
    diagonal = where[np.arange(n_dims), np.arange(n_dims)]
    with np.errstate(divide="ignore", invalid="ignore"):
        sigmas = np.where(sigma > 0.0, spread[:, diagonal] / (2.0 * sigma), np.nan)
    correlations = np.full((size, n_dims, n_dims), np.nan)
    for j in range(size):
        for a in range(n_dims):
            for b in range(a):
                if not (sigma[j, a] > 0.0 and sigma[j, b] > 0.0):
                    continue
                rho = covs[j, a, b] / (sigma[j, a] * sigma[j, b])
                slope = np.zeros(k)
                slope[where[a, b]] = 1.0 / (sigma[j, a] * sigma[j, b])
                slope[diagonal[a]] -= 0.5 * rho / sigma[j, a] ** 2
                slope[diagonal[b]] -= 0.5 * rho / sigma[j, b] ** 2
                variance = slope @ own[j] @ slope
                # A correlation of 1 by a singular covariance has no uncertainty of its own.
                free = edge.rank[j] == n_dims or variance > 1e-16
                correlations[j, a, b] = correlations[j, b, a] = (
                    math.sqrt(variance) if free and variance >= 0 else np.nan
                )
    found = JointUncertainties(
        spread[:, 0] if size > 1 else np.zeros(1),
        spread[:, 1 : 1 + n_dims],
        sigmas,
        correlations,
        spread[:, where.ravel()].reshape(size, n_dims, n_dims),
    )
    return found, natural


def null_limits(
    likelihood: Passes, at: Parameters, sums: Sums, curvature: Array, edge: Boundary, structure: str
) -> list[Array]:
    """Upper limits, in scaled units, of the variances along directions without width.

    The log-likelihood falls from its maximum with the variance t along a direction. What the other parameters regain
    when they follow is taken from the curvature: ``s t + h t^2 / 2`` with the slope s <= 0 has another h with them.
    """
    chart = Chart(at, likelihood.n_data, structure, likelihood.floor, likelihood.noise)
    theta = chart.locate(at)
    jacobian = chart.jacobian(theta).reshape(-1, theta.size)
    natural = curvature.copy()
    natural[:, 0, :, 0] -= sums.q.sum() * (np.diag(at.weights) - np.outer(at.weights, at.weights))
    size, k = natural.shape[:2]
    natural = natural.reshape(size * k, size * k)
    roots, axes = np.linalg.eigh(-chart.hessian(theta, at, sums, curvature))
    usable = roots > _UNDETERMINED * max(roots[-1], 1.0)
    followers = axes[:, usable] / np.sqrt(roots[usable])
    row, column = lower_triangle(at.n_dims)
    limits = []
    for j, directions in enumerate(edge.directions):
        found = []
        for direction in directions:
            slope = 0.5 * float(direction @ sums.curls[j] @ direction)
            change = np.zeros(size * k)
            start = j * k + 1 + at.n_dims
            change[start : start + row.size] = direction[row] * direction[column]
            crossed = jacobian.T @ natural @ change
            alone = min(float(change @ natural @ change), -1e-12)
            bend = min(alone + float(np.sum((crossed @ followers) ** 2)), -1e-12)
            slope = min(slope, 0.0)

            def drop(
                t: float, j: int = j, d: Array = direction, slope: float = slope, part: float = bend / alone
            ) -> float:
                covs = at.covariances.copy()
                covs[j] += t * np.outer(d, d)
                fall = sums.loglik - likelihood.sums(Parameters(at.weights, at.means, covs)).loglik
                return -slope * t + part * (fall + slope * t) - _LIMIT_DROP

            high = 2.0 * _LIMIT_DROP / (math.sqrt(slope**2 - 2.0 * bend * _LIMIT_DROP) - slope)
            while drop(high) < 0.0 and high < _WIDEST:
                high *= 2.0
            found.append(brentq(drop, 0.0, high, rtol=1e-3) if high < _WIDEST else math.inf)
        limits.append(np.array(found))
    return limits
