"""Membership probabilities and moments of the true values for the bins of a histogram."""

from __future__ import annotations

import math

import numpy as np

from mixpipe.base.arrays import Array
from mixpipe.model.families import FAMILIES, log_between
from mixpipe.model.mixture import Mixture

# Number of points of a panel, and of doublings of the length of the first panel.
_POINTS, _DOUBLINGS = 16, 24
# Further ends of panels, in sigmas from the mean: where a uniform component ends, and the edges of other families.
_EDGES = (-math.sqrt(3.0), -1.0, 0.0, 1.0, math.sqrt(3.0))
# Bins that are computed at a time.
_BLOCK = 1 << 9


def classify_bins(mixture: Mixture, edges: Array, err: Array) -> tuple[Array, Array, Array]:
    """Membership probabilities, and mean and standard deviation of the true values, for the rows in each bin.

    Parameters
    ----------
    mixture : Mixture
        The mixture.
    edges : ndarray, shape (n_bins, 2)
        Lower and upper edge of each bin, between which the observed values lie.
    err : ndarray, shape (n_bins,)
        Errors of the observed values in each bin.

    Returns
    -------
    responsibilities : ndarray, shape (n_bins, n_components)
    true_mean, true_unc : ndarray, shape (n_bins,)

    Examples
    --------
    The upper half of a standard normal has the mean sqrt(2 / pi):

    >>> shares, mean, unc = classify_bins(Mixture([1.0], [0.0], [1.0]), np.array([[0.0, 40.0]]), np.zeros(1))
    >>> bool(np.isclose(mean[0], math.sqrt(2.0 / math.pi))), bool(np.isclose(unc[0] ** 2, 1.0 - 2.0 / math.pi))
    (True, True)
    """
    parts = [
        _classify(mixture, edges[start : start + _BLOCK], err[start : start + _BLOCK])
        for start in range(0, err.size, _BLOCK)
    ]
    resp, mean, unc = (np.concatenate(part) for part in zip(*parts, strict=True))
    return resp, mean, unc


def _classify(mixture: Mixture, edges: Array, err: Array) -> tuple[Array, Array, Array]:
    logs, means, variances = [], [], []
    for name, *own in zip(mixture.families, mixture.means, mixture.sigmas, mixture.shapes, strict=True):
        logs.append(log_between(FAMILIES[name], (edges[:, 0], edges[:, 1]), err, *own))
        mean, variance = _true_moments(name, edges, err, *own)
        means.append(mean)
        variances.append(variance)
    with np.errstate(divide="ignore"):
        joint = np.log(mixture.weights) + np.stack(logs, axis=1)
    highest = joint.max(axis=1, keepdims=True)
    # A bin that no component reaches in double precision belongs to the components in proportion to their weights.
    joint = np.where(
        np.isfinite(highest), joint - np.where(np.isfinite(highest), highest, 0.0), np.log(mixture.weights)
    )
    resp = np.exp(joint)
    resp /= resp.sum(axis=1, keepdims=True)
    centres, spread = np.stack(means, axis=1), np.stack(variances, axis=1)
    mean = np.sum(resp * centres, axis=1)
    variance = np.sum(resp * (spread + (centres - mean[:, None]) ** 2), axis=1)
    return resp, mean, np.sqrt(variance)


def _true_moments(name: str, edges: Array, err: Array, mean: float, sigma: float, shape: float) -> tuple[Array, Array]:
    """Mean and variance of the true values in one component for each bin, by quadrature over the observed values.

    The panels double in length away from the point where the density in the bin is highest; the length of the first is
    that over which the density falls by a factor of e.
    """
    family = FAMILIES[name]
    low, high = edges[:, :1], edges[:, 1:]
    total = np.hypot(sigma, err)[:, None]
    # Without errors, a component of zero width is a single point.
    width = np.where(total > 0.0, total, high - low)
    peak = np.clip(mean, low, high)
    step = width / np.maximum(np.abs(peak - mean) / width, 1.0)
    reach = step * 2.0 ** np.arange(_DOUBLINGS)
    ends = np.concatenate([low, high, peak + reach, peak - reach, mean + sigma * np.array([_EDGES] * err.size)], axis=1)
    ends = np.sort(np.clip(ends, low, high), axis=1)
    nodes, weights = np.polynomial.legendre.leggauss(_POINTS)
    half = 0.5 * np.diff(ends, axis=1)[:, :, None]
    y = 0.5 * (ends[:, 1:] + ends[:, :-1])[:, :, None] + half * nodes
    errors = np.broadcast_to(err[:, None, None], y.shape)
    with np.errstate(all="ignore"):
        log_density = family.logpdf(y.ravel(), errors.ravel(), mean, sigma, shape).reshape(y.shape)
        centre, spread = (
            part.reshape(y.shape) for part in family.posterior(y.ravel(), errors.ravel(), mean, sigma, shape)
        )
        highest = log_density.max(axis=(1, 2), keepdims=True)
        density = np.exp(log_density - np.where(np.isfinite(highest), highest, 0.0)) * half * weights
        known = density > 0.0
        mass = density.sum(axis=(1, 2))

        def average(values: Array) -> Array:
            return np.asarray(np.where(known, density * values, 0.0).sum(axis=(1, 2)) / mass)

        true_mean = average(centre)
        variance = average(spread + (centre - true_mean[:, None, None]) ** 2)
    reached = (mass > 0.0) & (total[:, 0] > 0.0) & np.isfinite(mass)
    return np.where(reached, true_mean, mean), np.where(reached, variance, 0.0)
