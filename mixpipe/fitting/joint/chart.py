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
from mixpipe.fitting.kernels import steps
from mixpipe.model.joint.blocks import Parameters, Sums, lower_triangle

# A direction in which a component has no width, or that of the floor, is opened to this part of its width elsewhere.
_OPENED = 1e-3
# Part of the total variance below which the errors determine the metric; directions are then opened to it.
_NARROW = 1e-4
# Least eigenvalue of a correlation matrix; those that are smaller are rounding.
_LEAST_ROOT = 1e-12
# Least share of the rows in the scale of a coordinate.
_LEAST_ROWS = 1e-3


def _factor(covariances: Array, scale: Array, least: Any) -> Array:
    """Lower triangular factors of covariances whose eigenvalues, in units of a scale, are raised to a least one."""
    roots, axes = np.linalg.eigh(covariances / (scale[:, :, None] * scale[:, None, :]))
    opened = (axes * np.maximum(roots, least)[:, None, :]) @ np.swapaxes(axes, 1, 2)
    return np.asarray(scale[:, :, None] * np.linalg.cholesky(opened))


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
        self._factors = self._factored(at.covariances, structure)
        self._mean_factors = self._factors.copy()
        self._widen(at.covariances, structure, noise)
        self._basis = self._free(at.weights, structure)
        self.n_coordinates = self._basis.shape[1]

    @property
    def _size(self) -> int:
        return self._log_weights.size

    @property
    def _n_dims(self) -> int:
        return self._means.shape[1]

    def _factored(self, covariances: Array, structure: str) -> Array:
        excess = covariances - np.diag(self._floor)
        if structure in ("diagonal", "spherical"):
            diagonal = np.diagonal(excess, axis1=1, axis2=2)
            total = np.diagonal(covariances, axis1=1, axis2=2)
            least = _OPENED**2 * np.maximum(total.max(axis=1, keepdims=True), 1e-12)
            self.is_exact = bool(np.all(diagonal >= least))
            widths = np.sqrt(np.maximum(diagonal, least))
            return np.asarray(widths[:, :, None] * np.eye(self._n_dims))
        scale = np.sqrt(np.maximum(np.diagonal(covariances, axis1=1, axis2=2), 1e-12))
        # No eigenvalue of a correlation matrix is larger than the number of columns.
        if steps.exceed(np.ascontiguousarray(excess), _OPENED**2 * self._n_dims * scale**2).all():
            return np.asarray(np.linalg.cholesky(excess))
        roots = np.linalg.eigvalsh(excess / (scale[:, :, None] * scale[:, None, :]))
        least = _OPENED**2 * np.maximum(roots[:, -1:], 1e-6)
        self.is_exact = bool(np.all(roots >= least))
        return _factor(excess, scale, least)

    def _widen(self, covariances: Array, structure: str, noise: Array) -> None:
        """Give components that are much narrower than the errors in some direction factors that the errors widen."""
        if not np.all(noise > 0.0):
            return
        total = covariances + np.diag(noise)
        scale = np.sqrt(np.diagonal(total, axis1=1, axis2=2))
        if steps.exceed(np.ascontiguousarray(covariances), _NARROW * scale**2).all():
            return
        narrow = np.linalg.eigvalsh(covariances / (scale[:, :, None] * scale[:, None, :]))[:, 0] < _NARROW
        if not narrow.any():
            return
        self.is_exact = False
        total, excess, scale = total[narrow], (covariances - np.diag(self._floor))[narrow], scale[narrow]
        self._mean_factors[narrow] = _factor(total, scale, _LEAST_ROOT)
        if structure in ("diagonal", "spherical"):
            least = scale.min(axis=1, keepdims=True) if structure == "spherical" else scale
            widths = np.sqrt(np.maximum(np.diagonal(excess, axis1=1, axis2=2), _NARROW * least**2))
            self._factors[narrow] = widths[:, :, None] * np.eye(self._n_dims)
        else:
            self._factors[narrow] = _factor(excess, scale, _NARROW)

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
