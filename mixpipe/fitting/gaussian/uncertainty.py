"""Standard errors of a fit from the observed information."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mixpipe.fitting.gaussian.likelihood import Likelihood, Params
from mixpipe.model.results import Array, Uncertainties

# A component with fewer rows than this counts as empty.
_NO_ROWS = 1e-6


def information_uncertainties(
    likelihood: Likelihood,
    params: Params,
    hessian: Array,
    boundary: NDArray[np.bool_],
    products: Array | None = None,
) -> tuple[Uncertainties, Array]:
    """One-sigma uncertainties, and the covariance that they are from, by the inverse of the negative Hessian.

    For weights that do not count rows, the covariance is A^-1 B A^-1, where A is the negative Hessian and B is the sum
    of products of the scores with squared weights (Huber 1967).

    A sigma at its lower bound has no two-sided uncertainty: it is held fixed, and its uncertainty is nan. All
    uncertainties are nan if the likelihood is flat in some direction.

    Parameters
    ----------
    likelihood : Likelihood
        Data.
    params : Params
        Parameters at the maximum, in scaled units.
    hessian : ndarray, shape (3 n_components, 3 n_components)
        Second derivatives at the maximum, as in `mixpipe.fitting.gaussian.likelihood.Derivatives`.
    boundary : ndarray of bool, shape (n_components,)
        Whether the sigma of each component is at its lower bound.
    products : ndarray, shape (3 n_components, 3 n_components), or None
        The matrix B, for weights that do not count rows.

    Returns
    -------
    uncertainties : Uncertainties
        Uncertainties in the units of the data and in the order of `params`.
    covariance : ndarray, shape (n_components, 3, n_components, 3)
        Covariance of (weight, mean, sigma) of each component, likewise; nan for what is held fixed or unknown.
    """
    size = params.n_components
    unknown = Uncertainties.unknown(size), np.full((size, 3, size, 3), np.nan)
    free = np.ones((size, 3), dtype=bool)
    free[boundary, 2] = False
    # A component without data has no uncertainties, and does not affect those of the others.
    free[params.weights * likelihood.n_data < _NO_ROWS] = False
    indices = np.flatnonzero(free)
    information = -hessian[np.ix_(indices, indices)]
    # In units in which the diagonal is one, a curvature at the level of rounding means that the data do not constrain
    # the direction.
    diagonal = np.diag(information)
    if not (np.all(np.isfinite(information)) and np.all(diagonal > 0.0)):
        return unknown
    units = np.sqrt(diagonal)
    curvature, basis = np.linalg.eigh(information / np.outer(units, units))
    if not curvature[0] > 1e-10:
        return unknown
    covariance = (basis / curvature) @ basis.T / np.outer(units, units)
    if products is not None:
        covariance = covariance @ products[np.ix_(indices, indices)] @ covariance
    variances = np.full(3 * size, np.nan)
    variances[indices] = np.diag(covariance)
    ln_weight, mean, square = variances.reshape(size, 3).T
    # The term of the Hessian that constrains the sum of the weights adds 1 / n_data to the variance of each ln w.
    held = 1.0 / likelihood.n_data if products is None else 0.0
    ln_weight = np.maximum(ln_weight - held, 0.0) if size > 1 else np.zeros(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        sigma = np.sqrt(square) / (2.0 * np.sqrt(params.variances))
        by_square = likelihood.scale / (2.0 * np.sqrt(params.variances))
    sigma[boundary] = np.nan
    found = Uncertainties(
        params.weights * np.sqrt(ln_weight), likelihood.scale * np.sqrt(mean), likelihood.scale * sigma
    )
    full = np.full((3 * size, 3 * size), np.nan)
    full[np.ix_(indices, indices)] = covariance
    # That term also adds to the covariance of each pair of ln w. The weight of a single component does not vary.
    full[::3, ::3] -= held
    slopes = np.stack([params.weights if size > 1 else np.zeros(1), np.full(size, likelihood.scale), by_square], axis=1)
    slopes[boundary, 2] = np.nan
    with np.errstate(over="ignore", invalid="ignore"):
        full *= np.outer(slopes, slopes)
    return found, full.reshape(size, 3, size, 3)
