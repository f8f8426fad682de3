"""The structures that intrinsic covariances may have, and their numbers of parameters."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mixpipe.base.arrays import Array
from mixpipe.model.kernels.joint import packed

# Eigenvalues of a correlation matrix above this are not negative but for rounding.
_ROUNDING = -1e-14
# Least variance of a column, in units in which the columns have variances near 1, and least part of the variances in
# thin directions that is resolved.
_LEAST_VARIANCE, _RESOLVED = 1e-30, 1e-14
# Rounding of a sum of squares, in parts of it.
_LAST_DIGITS = 1e-15


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


def relative_roots(matrices: Array, units: Array) -> tuple[Array, Array, Array]:
    """Eigenvalues of matrices in units of others, and their axes.

    With U the units, v' M v is a root times v' U v along its axis v, and M is B diag(roots) B' with B = U V for the
    axes V, which are scaled to V' U V = 1. Thin directions of U are resolved down to 10^-14 of its diagonal.

    Parameters
    ----------
    matrices, units : ndarray, shape (n_components, n_dims, n_dims)

    Returns
    -------
    roots : ndarray, shape (n_components, n_dims)
        In increasing order.
    axes, duals : ndarray, shape (n_components, n_dims, n_dims)
        V and B, with the axes as columns.
    """
    scale = np.sqrt(np.maximum(np.diagonal(units, axis1=1, axis2=2), _LEAST_VARIANCE))
    tau, turned = np.linalg.eigh(units / (scale[:, :, None] * scale[:, None, :]))
    widths = np.sqrt(np.maximum(tau, _RESOLVED))[:, None, :]
    whiten = turned / widths
    within = matrices / (scale[:, :, None] * scale[:, None, :])
    roots, rotation = np.linalg.eigh(np.swapaxes(whiten, 1, 2) @ within @ whiten)
    return roots, whiten @ rotation / scale[:, :, None], scale[:, :, None] * ((turned * widths) @ rotation)


def null_axes(covariances: Array, floor: Array, noise: Array, share: float) -> tuple[NDArray[np.bool_], Array, Array]:
    """Directions in which components have no more than a share of their width with that of the errors.

    Parameters
    ----------
    covariances : ndarray, shape (n_components, n_dims, n_dims)
    floor, noise : ndarray, shape (n_dims,)
        Squares of the smallest widths, and typical variances of the errors.
    share : float

    Returns
    -------
    is_null : ndarray of bool, shape (n_components, n_dims)
    axes, halves : ndarray, shape (n_components, n_dims, n_dims)
        Directions as columns, and H with V - F = H H' but for the directions that are null.
    """
    units = covariances + np.diag(noise)
    roots, axes, duals = relative_roots(covariances - np.diag(floor), units)
    # What the last digits of V change along an axis, in the same units.
    scaled = axes * np.sqrt(np.diagonal(units, axis1=1, axis2=2))[:, :, None]
    rounding = _LAST_DIGITS * np.sum(scaled**2, axis=1)
    is_null = np.asarray(roots <= np.maximum(share, rounding), dtype=np.bool_)
    return is_null, axes, duals * np.sqrt(np.where(is_null, 0.0, roots))[:, None, :]
