"""The empirical process of a fitted mixture for many rows: how far the data may lie from a model that is right.

The distribution function F of the probability integral transform u of N rows, at the true parameters, is t plus a
Brownian bridge over sqrt(N). At fitted parameters the bridge loses what the parameters have taken up: its covariance
is min(s, t) - s t less g(s) g(t) / I, with g the derivatives of the distribution function by the parameters, averaged
over the rows at the same t, and I the information of a row (Durbin 1973).
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import expit, ndtr

from mixpipe.model import Array, Cells, FitResult, Mixture

# Rows are sorted by error, so many bins to a factor of two; errors below this fraction of the largest are alike.
_BINS = 8
_SMALLEST_ERROR = 1e-4
# Densities are tabulated at values so many to a component, out to this many of its widths.
_N_VALUES = 161
_WIDTHS = 9.0
# Probabilities are spaced evenly in their logit, up to this; the mean of the integral beyond it is 2e-5 of one.
_LARGEST_LOGIT = 11.5
_N_PROBABILITIES = 240
# Directions with less information than this (the largest being of order one) are left out: nothing is fitted there.
_NO_INFORMATION = 1e-10


def limit_statistics(fit: FitResult, cells: Cells, n_draws: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Kolmogorov-Smirnov and Anderson-Darling statistics that a right model gives for many rows, parameters fitted.

    Sigmas on the boundary are taken as fixed. With row weights the rows' scatter is that of their squares, and the
    errors may go with the weights. One pass sorts the rows by error; the rest does not depend on their number.

    Parameters
    ----------
    fit : FitResult
        A fit.
    cells : Cells
        The rows that were fitted. Weights that are whole numbers count rows.
    n_draws : int
        How many of each.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    ks, ad : ndarray, shape (n_draws,)
        On the scale of `mixpipe.quality.assess`.
    """
    err, first, second = _error_bins(cells)
    logits = np.linspace(-_LARGEST_LOGIT, _LARGEST_LOGIT, _N_PROBABILITIES)
    # Sums over rows of g and I: with the weights, which the fit sees, and with their squares, which scatter.
    size = 3 * fit.n_components
    g1, g2 = np.zeros((2, logits.size, size))
    info1, info2 = np.zeros((2, size, size))
    for e, a, b in zip(err, first, second, strict=True):
        g, info = _derivatives(fit.mixture, float(e), logits)
        g1 += a * g
        g2 += b * g
        info1 += a * info
        info2 += b * info
    columns = _free_columns(fit)
    g1, g2, info1, info2 = g1 @ columns, g2 @ columns, columns.T @ info1 @ columns, columns.T @ info2 @ columns
    response = g1 @ _inverse(info1)
    t = expit(logits)
    scatter = second.sum()
    crossed = response @ g2.T
    covariance = scatter * (np.minimum(t[:, None], t) - t[:, None] * t) - crossed - crossed.T
    covariance += response @ info2 @ response.T
    return _statistics(covariance, scatter, t, logits[1] - logits[0], first.sum(), n_draws, rng)


def _error_bins(cells: Cells) -> tuple[Array, Array, Array]:
    """Typical errors, and for each the sum of the weights and of their squares over the rows like it."""
    err, weights = cells.err, cells.weights
    squares = weights if np.all(weights % 1.0 == 0.0) else weights**2
    largest = float(err.max())
    if largest == 0.0:
        return np.zeros(1), weights.sum(keepdims=True), squares.sum(keepdims=True)
    label = np.floor(-_BINS * np.log2(np.maximum(err / largest, _SMALLEST_ERROR))).astype(np.int64)
    first, second, var = (np.bincount(label, part).astype(np.float64) for part in (weights, squares, weights * err**2))
    filled = first > 0.0
    return np.sqrt(var[filled] / first[filled]), first[filled], second[filled]


def _free_columns(fit: FitResult) -> Array:
    """From (ln w, m, s^2) of all components to the parameters that were fitted, shape (3 n_components, n_free)."""
    size = fit.n_components
    columns = np.eye(3 * size)
    variances = np.flatnonzero(~fit.boundary) + 2 * size
    shared = columns[:, variances]
    if fit.has_equal_sigmas:
        shared = shared.sum(axis=1, keepdims=True)
    # The derivatives by ln w are those at fixed sum of the weights: any one of them follows from the others.
    return np.hstack([columns[:, 1:size], columns[:, size : 2 * size], shared])


def _derivatives(mixture: Mixture, err: float, logits: Array) -> tuple[Array, Array]:
    """Derivatives of the distribution function at some probabilities, and the information of a row with this error.

    Returns
    -------
    g : ndarray, shape (n_logits, 3 n_components)
    information : ndarray, shape (3 n_components, 3 n_components)
    """
    w, total = mixture.weights, mixture.sigmas**2 + err**2
    widths = np.sqrt(total)
    x = np.unique(mixture.means[:, None] + widths[:, None] * np.linspace(-_WIDTHS, _WIDTHS, _N_VALUES))[:, None]
    z = (x - mixture.means) / widths
    density = w * np.exp(-0.5 * z * z) / (math.sqrt(2.0 * math.pi) * widths)
    below, above = w * ndtr(z), w * ndtr(-z)
    cdf, sf = below.sum(axis=1), above.sum(axis=1)
    pdf = density.sum(axis=1, keepdims=True)
    slopes = np.hstack([below - w * cdf[:, None], -density, -0.5 * density * z / widths])
    q = density / pdf
    scores = np.hstack([q - w, q * z / widths, 0.5 * q * (z * z - 1.0) / total])
    steps = np.diff(x[:, 0])
    mass = pdf[:, 0] * 0.5 * (np.append(steps, 0.0) + np.append(0.0, steps))
    tiny = np.finfo(np.float64).tiny
    at = np.log(np.maximum(cdf, tiny)) - np.log(np.maximum(sf, tiny))
    g = np.stack([np.interp(logits, at, slope) for slope in slopes.T], axis=1)
    return g, (scores * mass[:, None]).T @ scores


def _inverse(information: Array) -> Array:
    """The inverse, zero along directions without information."""
    units = np.sqrt(np.maximum(np.diag(information), np.finfo(np.float64).tiny))
    values, basis = np.linalg.eigh(information / np.outer(units, units))
    basis = basis[:, values > _NO_INFORMATION]
    inverse = (basis / values[values > _NO_INFORMATION]) @ basis.T
    return inverse / np.outer(units, units)


def _statistics(
    covariance: Array, scatter: float, t: Array, step: float, n_data: float, n_draws: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Suprema and integrals of Gaussian processes with this covariance at t."""
    values, basis = np.linalg.eigh(covariance)
    factor = basis * np.sqrt(np.maximum(values, 0.0))
    process = rng.standard_normal((n_draws, t.size)) @ factor.T
    # dt / (t (1 - t)) is the differential of the logit.
    ad = np.sum(process**2, axis=1) * step / n_data
    process = np.pad(process, ((0, 0), (1, 1)))
    left, right = process[:, :-1], process[:, 1:]
    # Between two points it is a Brownian bridge, whose largest value has a closed form (Doob).
    variance = scatter * np.diff(t, prepend=0.0, append=1.0)
    ks = np.zeros(n_draws)
    for sign in (-1.0, 1.0):
        excess = np.sqrt((right - left) ** 2 + 2.0 * variance * rng.standard_exponential(left.shape))
        ks = np.maximum(ks, np.max(0.5 * (sign * (left + right) + excess), axis=1))
    return ks / n_data, ad
