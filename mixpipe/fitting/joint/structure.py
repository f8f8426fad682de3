"""The structures that intrinsic covariances may have, and their numbers of parameters."""

from __future__ import annotations

import numpy as np

from mixpipe.base.arrays import Array
from mixpipe.model.kernels.joint import packed

# Eigenvalues of a correlation matrix above this are not negative but for rounding.
_ROUNDING = -1e-14


def n_params(n_components: int, n_dims: int, structure: str = "full") -> int:
    """Number of free parameters: weights that sum to one, means, and covariances.

    >>> [n_params(2, 3, structure) for structure in ("full", "diagonal", "spherical", "equal")]
    [19, 13, 9, 13]
    """
    shapes = {"full": n_components * packed(n_dims), "diagonal": n_components * n_dims, "spherical": n_components}
    return n_components - 1 + n_components * n_dims + shapes.get(structure, packed(n_dims))


def project(covariances: Array, weights: Array, structure: str, floor: Array) -> Array:
    """Covariances of a structure that are no smaller than a floor in any direction.

    Parameters
    ----------
    covariances : ndarray, shape (n_components, n_dims, n_dims)
    weights : ndarray, shape (n_components,)
    structure : str
    floor : ndarray, shape (n_dims,)
        Squares of the smallest widths.
    """
    n_dims = floor.size
    if structure == "equal":
        mean = np.einsum("j,jab->ab", weights, covariances) / weights.sum()
        covariances = np.broadcast_to(mean, covariances.shape)
    excess = covariances - np.diag(floor)
    if structure in ("diagonal", "spherical"):
        diagonal = np.maximum(np.diagonal(excess, axis1=1, axis2=2), 0.0)
        if structure == "spherical":
            # The floors of the columns are equal.
            diagonal = np.broadcast_to(
                np.maximum(np.diagonal(excess, axis1=1, axis2=2).mean(axis=1, keepdims=True), 0.0), diagonal.shape
            )
        found = np.zeros_like(excess)
        found[:, np.arange(n_dims), np.arange(n_dims)] = diagonal
        return found + np.diag(floor)
    if not np.all(np.isfinite(excess)):
        return np.array(covariances)
    if not floor.any():
        return _semidefinite(covariances)
    roots, axes = np.linalg.eigh(excess)
    if roots.min() >= 0.0:
        return np.array(covariances)
    return np.asarray((axes * np.maximum(roots, 0.0)[:, None, :]) @ np.swapaxes(axes, 1, 2) + np.diag(floor))


def _semidefinite(covariances: Array) -> Array:
    """Covariances without negative eigenvalues.

    A step of extreme deconvolution gives none but by rounding, which matters if some rows lie very far from all others.
    """
    scale = np.sqrt(np.maximum(np.abs(np.diagonal(covariances, axis1=1, axis2=2)), 1e-30))
    units = scale[:, :, None] * scale[:, None, :]
    roots, axes = np.linalg.eigh(covariances / units)
    bad = roots[:, 0] < _ROUNDING
    found = np.array(covariances)
    found[bad] = ((axes * np.maximum(roots, 0.0)[:, None, :]) @ np.swapaxes(axes, 1, 2) * units)[bad]
    return found


def total_widths(covariances: Array, noise: Array) -> Array:
    """Widths of components in each column, with typical variances of the errors: the units in which a width is none."""
    return np.asarray(np.sqrt(np.maximum(np.diagonal(covariances, axis1=-2, axis2=-1) + noise, 1e-12)))
