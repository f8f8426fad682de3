"""Two normal components from five or six moments: Pearson's nonic."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mixpipe.fitting.gaussian.likelihood import Params
from mixpipe.fitting.moments.denoising import quadrature
from mixpipe.fitting.moments.statistics import ROUNDING, Moments, Standardised, mixture_moments
from mixpipe.model.results import Array

# Roots of the nonic whose imaginary parts are below this fraction count as real, since double roots lose half of the
# digits.
_REAL = 1e-6
# Given moments count as those of a symmetric density if v3 and v5, in units of the standard deviation, are below
# _SYMMETRIC, which allows for rounding. Sampled moments do if v3 and v5 are zero within a number of standard errors.
_SYMMETRIC = 1e-7
_SYMMETRIC_ERRORS = 2.0


@dataclass(frozen=True, eq=False)
class Root:
    """A solution of Pearson's equations, with the components sorted by mean.

    Parameters
    ----------
    p : float
        Product of the offsets of the two component means from the overall mean; zero for equal means.
    weights, means, variances : ndarray, shape (2,)
        The components that have the given first five moments.
    admissible : bool
        Whether the components form a valid mixture.
    reason : str
        Reason why they do not; empty if they do.
    """

    p: float
    weights: Array
    means: Array
    variances: Array
    admissible: bool
    reason: str


def pearson_roots(moments: Moments) -> list[Root]:
    """All pairs of normal components that have the given first five moments, without a starting guess.

    The product p of the offsets of the two means from the overall mean is a real negative root of a polynomial of ninth
    degree, whose coefficients depend on the third to fifth cumulants, and all parameters follow from it (Pearson 1894).
    If the density is symmetric, at least within the sampling errors, and more peaked than a normal one, the two means
    may be equal; then p = 0, and the widths follow from the even moments up to the sixth.

    Parameters
    ----------
    moments : Moments
        Moments of order 5 at least; order 6 for the pair with equal means.

    Returns
    -------
    list of Root
        Solutions in the unit of the data, in order of p. Empty if the variance is not positive.

    Examples
    --------
    >>> [root] = [r for r in pearson_roots(Moments.from_raw([0.0, 5.0, 0.0, 43.0, 0.0])) if r.admissible]
    >>> root.means
    array([-2.,  2.])
    """
    if moments.order < 5:
        raise ValueError(f"two components need the moments up to order 5, found order {moments.order}")
    scaled = moments.standardised(6)
    if not scaled.values[1] > 0.0:
        return []
    return [
        Root(
            p * scaled.scale**2,
            params.weights,
            scaled.centre + scaled.scale * params.means,
            scaled.scale**2 * params.variances,
            not reason,
            reason,
        )
        for p, params, reason in pairs(scaled)
    ]


def pairs(scaled: Standardised) -> list[tuple[float, Params, str]]:
    """All roots in scaled units: p, the components in order of their means, and why they are not a mixture, if so."""
    found = [(float(p), *_pair(float(p), scaled.values)) for p in _nonic_roots(scaled.values)]
    if (peaked := _equal_means(scaled)) is not None:
        found.append((0.0, peaked, ""))
    return found


def _nonic_roots(values: Array) -> Array:
    """Real negative roots of the nonic for moments of mean 0 and variance 1."""
    v3, v4, v5 = values[2:5]
    l4, l5 = 9.0 - 3.0 * v4, 30.0 * v3 - 3.0 * v5
    nonic = np.array(
        [
            24.0,
            0.0,
            -28.0 * l4,
            36.0 * v3**2,
            -(24.0 * v3 * l5 - 10.0 * l4**2),
            -(148.0 * v3**2 * l4 + 2.0 * l5**2),
            288.0 * v3**4 - 12.0 * l4 * l5 * v3 - l4**3,
            24.0 * v3**3 * l5 - 7.0 * v3**2 * l4**2,
            32.0 * v3**4 * l4,
            -24.0 * v3**6,
        ]
    )
    roots = np.roots(nonic)
    # Roots at zero belong to symmetric moments, which are the subject of `_equal_means`.
    real = np.sort(roots.real[(np.abs(roots.imag) <= _REAL * np.abs(roots)) & (roots.real < -ROUNDING)])
    # The two halves of a double root are a single solution.
    return np.asarray(real[np.diff(real, append=np.inf) > 2.0 * _REAL * np.abs(real)])


def _pair(p: float, values: Array) -> tuple[Params, str]:
    """The two components that belong to a root, and why they are not a mixture, if so."""
    v3, v4, v5 = values[2:5]
    l4, l5 = 9.0 - 3.0 * v4, 30.0 * v3 - 3.0 * v5
    # Pearson's rational expression for p times the sum of the offsets.
    below = 4.0 * v3**2 - l4 * p + 2.0 * p**3
    if abs(below) <= _REAL * (4.0 * v3**2 + abs(l4 * p) + 2.0 * abs(p) ** 3):
        return Params(*np.full((3, 2), np.nan)), "means not real"
    total = (2.0 * v3**3 - 2.0 * v3 * l4 * p - l5 * p**2 - 8.0 * v3 * p**3) / below / p
    half = 0.5 * math.sqrt(total**2 - 4.0 * p)
    offsets = np.array([0.5 * total - half, 0.5 * total + half])
    # The variances are linear in the offsets; v2 and v3 determine the line.
    params = Params(
        np.array([offsets[1], -offsets[0]]) / (2.0 * half), offsets, 1.0 + p - (v3 / p + total) / 3.0 * offsets
    )
    params = _polished(params, values)
    variances = np.where(np.abs(params.variances) < ROUNDING, 0.0, params.variances)
    params = Params(params.weights, params.means, variances)
    if not np.all((params.weights >= 0.0) & (params.weights <= 1.0)):
        return params, "weight outside 0 to 1"
    if np.any(variances < 0.0):
        return params, "variance negative"
    return params, ""


def _polished(params: Params, values: Array) -> Params:
    """A Newton step on the five moment equations, which removes the rounding of the nonic; used only if it helps."""
    model, jacobian = mixture_moments(params.weights, params.means, params.variances, 5)
    matrix = np.column_stack([jacobian[:, 0, 0] - jacobian[:, 0, 1], jacobian[:, 1], jacobian[:, 2]])
    try:
        step = np.linalg.solve(matrix, values[:5] - model)
    except np.linalg.LinAlgError:
        return params
    moved = Params(
        params.weights + step[0] * np.array([1.0, -1.0]), params.means + step[1:3], params.variances + step[3:]
    )
    better = mixture_moments(moved.weights, moved.means, moved.variances, 5)[0]
    return moved if np.sum((better - values[:5]) ** 2) < np.sum((model - values[:5]) ** 2) else params


def _equal_means(scaled: Standardised) -> Params | None:
    """Two components with equal means; their variances have a two-point distribution of moments v2, v4 / 3, v6 / 15."""
    if scaled.order < 6:
        return None
    odd = np.abs(scaled.values[[2, 4]])
    errors = np.sqrt(np.diag(scaled.covariance)[[2, 4]])
    if np.any(odd > (_SYMMETRIC_ERRORS * errors if scaled.sampled else _SYMMETRIC)):
        return None
    pair = quadrature(np.concatenate([[1.0], scaled.values[[1, 3, 5]] / [1.0, 3.0, 15.0]]), 2)
    if pair is None or np.any(pair[0] < 0.0):
        return None
    return Params(pair[1], np.zeros(2), pair[0])
