"""A parameter that is held fixed while the likelihood is maximised over the others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from mixpipe.base.arrays import Array

# Component weights are raised to at least this, which keeps their logarithms finite; such a component contains no data.
WEIGHT_FLOOR = 1e-100
_Mixture = TypeVar("_Mixture", bound=Any)


@dataclass(frozen=True)
class Held:
    """The parameter that is held, and its value; `part` is the name of an array of the mixture."""

    part: str
    component: int
    value: float

    def put(self, mixture: _Mixture) -> _Mixture:
        """The mixture with the parameter at its held value; other weights keep their proportions."""
        values = getattr(mixture, self.part).copy()
        if self.part == "weights":
            rest = np.arange(values.size) != self.component
            values[rest] = np.maximum(values[rest] * (1.0 - self.value) / values[rest].sum(), WEIGHT_FLOOR)
        values[self.component] = max(self.value, WEIGHT_FLOOR) if self.part == "weights" else self.value
        return replace(mixture, **{self.part: values})


def at_held_weight(
    gradient: Array, hessian: Array, logs: NDArray[np.intp], weights: Array, component: int, n_data: float
) -> tuple[Array, Array]:
    """Transform derivatives by ln w_k to ones by a_k, where ``w_k = (1 - w) softmax(a)_k`` for all but the held weight
    w.

    Parameters
    ----------
    gradient, hessian : ndarray, shape (n_params,) and (n_params, n_params)
        Derivatives of the log-likelihood.
    logs : ndarray of int, shape (n_components,)
        Indices of the ln w among the parameters.
    weights : ndarray, shape (n_components,)
    component : int
        Index of the component whose weight is held.
    n_data : float
    """
    rest = np.delete(logs, component)
    share = np.delete(weights, component)
    share /= share.sum()
    total = gradient[rest].sum()
    chain = np.eye(gradient.size)
    chain[np.ix_(rest, rest)] -= share
    gradient, hessian = chain.T @ gradient, chain.T @ hessian @ chain
    # The last term gives curvature to the direction in which all a_k grow equally, along which nothing changes.
    hessian[np.ix_(rest, rest)] -= total * (np.diag(share) - np.outer(share, share))
    hessian[np.ix_(rest, rest)] -= n_data * np.outer(share, share)
    return gradient, hessian
