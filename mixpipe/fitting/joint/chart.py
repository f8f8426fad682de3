"""Coordinates around a mixture in which steps of extreme deconvolution have unit length.

``ln w = ln w0 + alpha / r``, ``m = m0 + C mu / r`` and ``V = F + C E E' C'`` with ``E = I + eps / r`` lower
triangular, ``V0 = F + C C'`` and ``r = sqrt(n w0)``; a diagonal element of eps counts 1 / sqrt 2. The gradient in these
coordinates is the step of extreme deconvolution. A singular V, or one at its floor F, is reached where a diagonal
element of E is 0. The mean of a component that is much narrower than the errors in some direction has the factor of
V + S instead of C, with S typical errors, and C is opened to a part of them: a step of extreme deconvolution would not
move the component there.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mixpipe.base.arrays import Array
from mixpipe.fitting.joint.likelihood import WEIGHT_FLOOR
from mixpipe.fitting.joint.structure import relative_roots
from mixpipe.fitting.kernels import steps
from mixpipe.model.joint.blocks import Parameters, Sums, lower_triangle

# Part of the total variance, with that of the floor and of the errors, below which these determine the metric;
# directions are then opened to it.
_NARROW = 1e-4
# Where neither is known, a direction in which a component has no width is opened to this part of its width elsewhere.
_OPENED = 1e-3
# Least eigenvalue of a correlation matrix; those that are smaller are rounding.
_LEAST_ROOT = 1e-12
# Least share of the rows in the scale of a coordinate.
_LEAST_ROWS = 1e-3


def _raised(matrices: Array, units: Array, least: float, structure: str) -> Array:
    """Lower triangular factors of matrices whose eigenvalues, in units of others, are raised to a least one."""
    if structure in ("diagonal", "spherical"):
        own, unit = (np.diagonal(part, axis1=1, axis2=2) for part in (matrices, units))
        unit = unit.min(axis=1, keepdims=True) if structure == "spherical" else unit
        return _diagonal(np.sqrt(np.maximum(own, least * unit)))
    roots, _, duals = relative_roots(matrices, units)
    halves = duals * np.sqrt(np.maximum(roots, least))[:, None, :]
    lower = np.swapaxes(np.linalg.qr(np.swapaxes(halves, 1, 2))[1], 1, 2)
    signs = np.where(np.diagonal(lower, axis1=1, axis2=2) < 0.0, -1.0, 1.0)
    return np.ascontiguousarray(lower * signs[:, None, :])


def _diagonal(variances: Array) -> Array:
    """Diagonal matrices."""
    return np.asarray(variances[:, :, None] * np.eye(variances.shape[1]))


def _perpendicular(unit: Array) -> Array:
    """Orthonormal columns perpendicular to a unit vector without negative elements: those of a reflection of axes."""
    mirror = unit.copy()
    mirror[0] += 1.0
    return np.asarray(np.eye(unit.size)[:, 1:] - np.outer(mirror, mirror[1:]) / mirror[0])


class Chart:
    """The coordinates around one mixture.

    Parameters
    ----------
    at : Parameters
        The mixture at the origin; where it is singular, the origin is a mixture nearby that is not.
    n_data : float
        Number of rows.
    structure : str
        One of `mixpipe.fitting.joint.structure.STRUCTURES`.
    floor : ndarray, shape (n_dims,)
        Squares of the smallest widths.
    noise : ndarray, shape (n_dims,)
        Typical variances of the errors; 0 where they are not known.
    """

    def __init__(self, at: Parameters, n_data: float, structure: str, floor: Array, noise: Array) -> None:
        self.n_data, self._floor = n_data, floor
        self._lower = lower_triangle(at.n_dims)
        self._on_diagonal = self._lower[0] == self._lower[1]
        self._log_weights = np.log(np.maximum(at.weights, WEIGHT_FLOOR))
        self._means = np.ascontiguousarray(at.means)
        self._roots = np.sqrt(np.maximum(n_data * at.weights, _LEAST_ROWS))
        # Whether the origin is the mixture itself.
        self.is_exact = True
        self._factors, self._mean_factors = self._factored(at.covariances, structure, noise)
        self._basis = self._free(at.weights, structure)
        self.n_coordinates = self._basis.shape[1]

    @property
    def _size(self) -> int:
        return self._log_weights.size

    @property
    def _n_dims(self) -> int:
        return self._means.shape[1]

    def _factored(self, covariances: Array, structure: str, noise: Array) -> tuple[Array, Array]:
        """Factors of V - F, and those for the means; where V - F is narrow they are of part of V + S, and of V + S."""
        excess = covariances - np.diag(self._floor)
        variances = np.maximum(np.diagonal(covariances, axis1=1, axis2=2), 1e-12)
        least = self._floor + noise
        is_known = bool(np.all(least > 0.0))
        # V - F is at least a part k of V + S where it is at least k / (1 - k) of F + S.
        bound = np.maximum(2.0 * _NARROW * least, _LEAST_ROOT * variances) if is_known else _OPENED**2 * variances
        is_wide = steps.exceed(np.ascontiguousarray(excess), bound)
        factors = np.zeros_like(covariances)
        factors[is_wide] = np.linalg.cholesky(excess[is_wide])
        mean_factors = factors.copy()
        narrow = ~is_wide
        if narrow.any():
            self.is_exact = False
            units = covariances[narrow] + np.diag(noise) if is_known else _diagonal(variances[narrow])
            share = _NARROW if is_known else _OPENED**2
            factors[narrow] = _raised(excess[narrow], units, share, structure)
            mean_factors[narrow] = _raised(units, units, 1.0, structure) if is_known else factors[narrow]
        return factors, mean_factors

    def _free(self, weights: Array, structure: str) -> Array:
        """Orthonormal columns that span the coordinates that are free."""
        size, n_dims, n_triangle = self._size, self._n_dims, self._on_diagonal.size
        # Logits are free but for a common constant.
        shares = np.sqrt(weights / weights.sum())
        logits = _perpendicular(shares)
        shapes: Any = np.eye(size * n_triangle)
        if structure == "diagonal":
            shapes = np.kron(np.eye(size), np.eye(n_triangle)[:, self._on_diagonal])
        elif structure == "spherical":
            shapes = np.kron(np.eye(size), self._on_diagonal[:, None] / np.sqrt(n_dims))
        elif structure == "equal":
            shapes = np.kron(shares[:, None], np.eye(n_triangle))
        parts = [logits, np.eye(size * n_dims), shapes]
        basis = np.zeros((sum(part.shape[0] for part in parts), sum(part.shape[1] for part in parts)))
        row = column = 0
        for part in parts:
            basis[row : row + part.shape[0], column : column + part.shape[1]] = part
            row, column = row + part.shape[0], column + part.shape[1]
        return basis

    def _shapes(self, theta: Array) -> Array:
        """The matrices E."""
        size, n_dims = self._size, self._n_dims
        eps = (self._basis @ theta)[size * (1 + n_dims) :].reshape(size, -1) / self._roots[:, None]
        shapes = np.zeros((size, n_dims, n_dims))
        shapes[:, self._lower[0], self._lower[1]] = np.where(self._on_diagonal, 1.0 + eps * np.sqrt(0.5), eps)
        return shapes

    def point(self, theta: Array) -> Parameters:
        """The mixture at a point."""
        origin = self._log_weights, self._means, self._roots
        factors = self._mean_factors, self._factors
        return Parameters(*steps.place(self._basis @ theta, *origin, *factors, self._floor, WEIGHT_FLOOR))

    def locate(self, at: Parameters) -> Array:
        """The coordinates of a mixture with the weights and means of the origin, which may be singular."""
        excess = at.covariances - np.diag(self._floor)
        scale = np.sqrt(np.maximum(np.diagonal(at.covariances, axis1=1, axis2=2), 1e-12))
        roots, axes = np.linalg.eigh(excess / (scale[:, :, None] * scale[:, None, :]))
        halves = scale[:, :, None] * axes * np.sqrt(np.maximum(roots, 0.0))[:, None, :]
        # A lower triangular factor L of V - F, from V - F = B B' and B' = Q L'.
        lower = np.swapaxes(np.linalg.qr(np.swapaxes(halves, 1, 2))[1], 1, 2)
        signs = np.where(np.diagonal(lower, axis1=1, axis2=2) < 0.0, -1.0, 1.0)
        shapes = np.linalg.solve(self._factors, lower * signs[:, None, :]) - np.eye(self._n_dims)
        eps = shapes[:, self._lower[0], self._lower[1]] * self._roots[:, None]
        eps = np.where(self._on_diagonal, eps * np.sqrt(2.0), eps)
        full = np.concatenate([np.zeros(self._size * (1 + self._n_dims)), eps.ravel()])
        return np.asarray(full @ self._basis)

    def length(self, step: Array) -> float:
        """The largest change of a component: of its mean or its shape in units of its width, or of its ln w."""
        return float(steps.length(self._basis @ step, self._roots, self._n_dims))

    def gradient(self, theta: Array, at: Parameters, sums: Sums) -> Array:
        """Gradient of the log-likelihood from the sums of a pass."""
        given = at.weights, sums.q, sums.slopes, sums.curls, self._roots, self._mean_factors, self._factors
        return np.asarray(steps.slope(self._basis @ theta, *given) @ self._basis)

    def jacobian(self, theta: Array) -> Array:
        """Derivatives of (ln w, m, V) of each component by the coordinates, shape (M, k, n_coordinates).

        The ln w are those before their normalisation.
        """
        size, n_dims, n_triangle = self._size, self._n_dims, self._on_diagonal.size
        full = np.zeros((size, 1 + n_dims + n_triangle, self._basis.shape[0]))
        row, column = self._lower
        shapes = self._shapes(theta)
        for j in range(size):
            root, factor = self._roots[j], self._factors[j]
            full[j, 0, j] = 1.0 / root
            means = slice(size + j * n_dims, size + (j + 1) * n_dims)
            full[j, 1 : 1 + n_dims, means] = self._mean_factors[j] / root
            half = factor @ shapes[j]
            at = size * (1 + n_dims) + j * n_triangle
            for k in range(n_triangle):
                # dV = C (dE E' + E dE') C' with one element of E.
                change = np.outer(factor[:, row[k]], half[:, column[k]])
                change = (change + change.T) / (root * (np.sqrt(2.0) if self._on_diagonal[k] else 1.0))
                full[j, 1 + n_dims :, at + k] = change[row, column]
        return np.asarray(full @ self._basis)

    def hessian(self, theta: Array, at: Parameters, sums: Sums, curvature: Array) -> Array:
        """Hessian of the log-likelihood, from that in (ln w, m, V) and the sums of a pass."""
        size, n_dims = self._size, self._n_dims
        natural = curvature.copy()
        total = sums.q.sum()
        natural[:, 0, :, 0] -= total * (np.diag(at.weights) - np.outer(at.weights, at.weights))
        k = natural.shape[1]
        jacobian = self.jacobian(theta).reshape(size * k, -1)
        found = jacobian.T @ natural.reshape(size * k, size * k) @ jacobian
        # V is quadratic in E: the second derivative by two elements of a column is that of the gradient in V.
        row, column = self._lower
        factors = np.where(self._on_diagonal, np.sqrt(0.5), 1.0)
        second = np.zeros((self._basis.shape[0],) * 2)
        inner = np.swapaxes(self._factors, 1, 2) @ sums.curls @ self._factors
        same = column[:, None] == column[None, :]
        for j in range(size):
            at_j = size * (1 + n_dims) + j * row.size
            block = np.where(same, inner[j][row[:, None], row[None, :]], 0.0)
            second[at_j : at_j + row.size, at_j : at_j + row.size] = (
                block * factors[:, None] * factors / self._roots[j] ** 2
            )
        return np.asarray(found + self._basis.T @ second @ self._basis)
