"""Information criteria as functions of three numbers; lower is better."""

from __future__ import annotations

import math

# Criteria by which the number of components can be chosen.
CRITERIA = ("bic", "aic", "icl")


def bic(loglik: float, n_params: int, n_data: float) -> float:
    """Bayesian information criterion, ``n_params ln(n_data) - 2 loglik`` (Schwarz 1978).

    >>> round(bic(-203.1792, 8, 82), 3)
    441.612
    """
    return n_params * math.log(n_data) - 2.0 * loglik


def aic(loglik: float, n_params: int) -> float:
    """Akaike information criterion, ``2 n_params - 2 loglik`` (Akaike 1974).

    >>> aic(-10.0, 2)
    24.0
    """
    return 2.0 * n_params - 2.0 * loglik


def icl(loglik: float, n_params: int, n_data: float, entropy: float) -> float:
    """Integrated completed likelihood, BIC plus twice the entropy of the responsibilities.

    Biernacki, Celeux & Govaert (2000). `entropy` is ``-sum_ij q_ij ln q_ij`` >= 0.

    >>> icl(-10.0, 2, 1, 3.0)
    26.0
    """
    return bic(loglik, n_params, n_data) + 2.0 * entropy


def n_params(n_components: int, equal_sigmas: bool = False) -> int:
    """Number of free parameters of a Gaussian mixture: weights that sum to one, means, and separate sigmas or a common
    one.

    >>> n_params(3), n_params(3, equal_sigmas=True)
    (8, 6)
    """
    return 2 * n_components if equal_sigmas else 3 * n_components - 1
