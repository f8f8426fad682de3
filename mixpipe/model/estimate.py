"""What one of several estimators finds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mixpipe.base.arrays import Array
from mixpipe.model.mixture import Mixture


class Estimate(NamedTuple):
    """The mixture of an estimator.

    Parameters
    ----------
    name : str
        The estimator.
    mixture : Mixture
        What it finds.
    loglik : float
        Log-likelihood of this mixture for the data.
    means_unc : ndarray
        Uncertainties of the means; empty if none is known.
    """

    name: str
    mixture: Mixture
    loglik: float
    means_unc: Array = np.empty(0)
