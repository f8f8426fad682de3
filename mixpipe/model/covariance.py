"""Covariances of all parameters of a mixture, in the order of `mixpipe.model.results.FitResult.parameter_names`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mixpipe.base.arrays import Array
from mixpipe.model.mixture import Mixture
from mixpipe.model.results import Uncertainties


def parameter_covariance(
    covariance: Array, order: NDArray[np.intp], mixture: Mixture, uncertainties: Uncertainties
) -> Array:
    """Arrange a covariance that is given by component as all weights, all means, all sigmas, and the shapes.

    Parameters
    ----------
    covariance : ndarray, shape (n_components, k, n_components, k)
        Covariance of (weight, mean, sigma), and the shape if k is 4, of each component in the units of the data.
    order : ndarray of int, shape (n_components,)
        Index of each component of `mixture` in `covariance`.
    mixture : Mixture
        The mixture.
    uncertainties : Uncertainties
        Uncertainties in the order of `mixture`.

    Returns
    -------
    ndarray, shape (n_parameters, n_parameters)
    """
    size, k = covariance.shape[:2]
    found = covariance[order][:, :, order].transpose(1, 0, 3, 2).reshape(k * size, k * size)
    used = parameters_in_use(mixture)[: k * size]
    return agreeing(found[np.ix_(used, used)], parameter_uncertainties(mixture, uncertainties))


def parameters_in_use(mixture: Mixture) -> NDArray[np.bool_]:
    """Which of all weights, means, sigmas and shapes the mixture has: only some families have a shape."""
    return np.concatenate([np.ones(3 * mixture.n_components, dtype=bool), np.isfinite(mixture.shapes)])


def parameter_uncertainties(mixture: Mixture, uncertainties: Uncertainties) -> Array:
    """The uncertainties in the order of the parameter names."""
    unc = uncertainties
    return np.concatenate([unc.weights, unc.means, unc.sigmas, unc.shapes])[parameters_in_use(mixture)]


def agreeing(covariance: Array, uncertainties: Array) -> Array:
    """The covariance, exactly symmetric and with the squares of these uncertainties on its diagonal.

    Rows and columns of parameters without an uncertainty are nan.
    """
    found = 0.5 * (covariance + covariance.T)
    unknown = np.isnan(uncertainties)
    found[unknown, :] = found[:, unknown] = np.nan
    # The square of a value above 1e154 is infinite.
    with np.errstate(over="ignore"):
        np.fill_diagonal(found, uncertainties**2)
    return found
