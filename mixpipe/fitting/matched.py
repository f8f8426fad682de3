"""Which components of two mixtures correspond to each other."""

from __future__ import annotations

import numpy as np

from mixpipe.base.arrays import Array

_Triple = tuple[Array, Array, Array]


def matched(reference: _Triple, other: _Triple, total_var: Array) -> list[int]:
    """For each component of one mixture, the index of the corresponding component of another.

    The pairs have the smallest sum of squared differences in weight, mean and sigma, each divided by its variance for
    an isolated component. These variances are ``w (1 - w)``, ``T / w`` and ``T / 2 w``, divided by the number of rows.

    Parameters
    ----------
    reference, other : tuple of ndarray, each of shape (n_components,)
        Weights, means and sigmas of two mixtures with the same number of components, in the same unit.
    total_var : ndarray, shape (n_components,)
        Observed variances T of the components of `reference`.
    """
    from scipy.optimize import linear_sum_assignment

    weights, means, sigmas = other
    w, v = reference[0][:, None], total_var[:, None]
    shifts = (reference[1][:, None] - means) ** 2 + 2.0 * (reference[2][:, None] - sigmas) ** 2
    changes = (w - weights) ** 2 / np.maximum(w * (1.0 - w), np.finfo(np.float64).tiny)
    return linear_sum_assignment(w * shifts / v + changes)[1].tolist()
