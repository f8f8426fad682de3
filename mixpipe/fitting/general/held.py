"""The maximum of the general likelihood with one parameter held, for profiles."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mixpipe.base.arrays import Array
from mixpipe.fitting.gaussian.likelihood import WEIGHT_FLOOR, Params
from mixpipe.fitting.general.likelihood import Expansion, Likelihood, Point, log_shape, places
from mixpipe.fitting.general.points import few_points, likelihood_like
from mixpipe.fitting.general.search import ascend
from mixpipe.model.cells import Cells
from mixpipe.model.mixture import Mixture

_Mixture = TypeVar("_Mixture", Point, Params)

# The order of a component's variables.
_PARTS = ("weights", "means", "sigmas", "shapes")
# A positive family has no mean of zero: where its intervals end, as a part of the estimate.
_SMALLEST_MEAN = 1e-6


@dataclass(frozen=True)
class Held:
    """Which parameter of which component is held, and where; `part` is the name of an array of the mixture."""

    part: str
    component: int
    value: float

    def put(self, mixture: _Mixture) -> _Mixture:
        """The mixture with the parameter there; other weights keep their proportions."""
        values = getattr(mixture, self.part).copy()
        if self.part == "weights":
            rest = np.arange(values.size) != self.component
            values[rest] = np.maximum(values[rest] * (1.0 - self.value) / values[rest].sum(), WEIGHT_FLOOR)
        values[self.component] = max(self.value, WEIGHT_FLOOR) if self.part == "weights" else self.value
        return replace(mixture, **{self.part: values})


def at_held_weight(
    gradient: Array, hessian: Array, logs: NDArray[np.intp], weights: Array, component: int, n_data: float
) -> tuple[Array, Array]:
    """From ln w_k to a_k with ``w_k = (1 - w) softmax(a)_k`` for all but the held weight w.

    Parameters
    ----------
    gradient, hessian : ndarray, shape (n_params,) and (n_params, n_params)
        Of the log-likelihood.
    logs : ndarray of int, shape (n_components,)
        Where the ln w are among the parameters.
    weights : ndarray, shape (n_components,)
    component : int
        Whose weight is held.
    n_data : float
    """
    rest = np.delete(logs, component)
    share = np.delete(weights, component)
    share /= share.sum()
    total = gradient[rest].sum()
    chain = np.eye(gradient.size)
    chain[np.ix_(rest, rest)] -= share
    gradient, hessian = chain.T @ gradient, chain.T @ hessian @ chain
    # The last term is for the direction in which all a_k grow alike, along which nothing changes.
    hessian[np.ix_(rest, rest)] -= total * (np.diag(share) - np.outer(share, share))
    hessian[np.ix_(rest, rest)] -= n_data * np.outer(share, share)
    return gradient, hessian


class HeldLikelihood(Likelihood):
    """A likelihood with one parameter held, for `ascend`: it offers no gain along that parameter."""

    def __init__(self, likelihood: Likelihood, held: Held) -> None:
        vars(self).update(vars(likelihood))
        self.held = held

    def expansion(self, point: Point, *, rough: bool = False) -> Expansion:
        """As `Likelihood.expansion`, of the mixture with the parameter held."""
        point = self.held.put(point)
        here = super().expansion(point, rough=rough)
        gradient, hessian = here.gradient.copy(), here.hessian.copy()
        logs = places(self.units(point))
        if self.held.part == "weights":
            gradient, hessian = at_held_weight(gradient, hessian, logs, point.weights, self.held.component, self.n_data)
        # A row of its own with the curvature of an ordinary parameter: the step along it is zero.
        k = logs[self.held.component] + _PARTS.index(self.held.part)
        gradient[k], hessian[k, :], hessian[:, k] = 0.0, 0.0, 0.0
        hessian[k, k] = -self.n_data
        return Expansion(here.loglik, gradient, hessian)


class HeldMaxima:
    """Maxima with one parameter held, all in the units of the data.

    Parameters
    ----------
    cells : Cells
        The data; points of a sketch are taken where they are many.
    mixture : Mixture
        Their fit.
    gain : float
        Climbs end when a step promises less than this (nats).
    """

    def __init__(self, cells: Cells, mixture: Mixture, gain: float) -> None:
        point = Point.of(mixture)
        self.likelihood = likelihood_like(few_points(cells, point), point)
        self.gain = gain
        fit = ascend(self.likelihood, point, gain=gain)
        self.point, self.loglik = fit.point, fit.loglik
        self.n_data, self.weights = self.likelihood.n_data, fit.point.weights

    def climb(self, part: str, component: int, value: float, near: Point | None) -> tuple[float, Point]:
        """The log-likelihood of the maximum found from a start, the fit if None, and where it lies."""
        if part == "sigmas":
            value = max(value, self.likelihood.floor)
        held = Held(part, component, value)
        ascent = ascend(HeldLikelihood(self.likelihood, held), held.put(near or self.point), gain=self.gain)
        return ascent.loglik, held.put(ascent.point)

    def span(self, part: str, component: int, target: float) -> tuple[float, float, float, float]:
        """Of a parameter other than a weight the estimate, a step, and the lowest and highest values.

        The step has the size of the interval of a component that stands alone.
        """
        point, family = self.point, self.point.families[component]
        total = math.hypot(point.sigmas[component], self.likelihood.typical_err)
        rows = max(self.n_data * point.weights[component], 1.0)
        estimate = float(getattr(point, part)[component])
        if part == "means":
            lowest = _SMALLEST_MEAN * estimate if family.positive else -math.inf
            return estimate, target * total / math.sqrt(rows), lowest, math.inf
        if part == "shapes":
            step = target * (estimate if log_shape(family) else 1.0) / math.sqrt(rows)
            return estimate, 3.0 * step, *family.shape_bounds
        # With an error on every row the likelihood at the floor is that of no width at all.
        lowest = 0.0 if self.likelihood.none > 0.0 else self.likelihood.floor
        if estimate <= self.likelihood.floor * (1.0 + 1e-9):
            estimate = lowest
        step = math.sqrt(estimate**2 + target * total**2 * math.sqrt(2.0 / rows)) - estimate
        return estimate, step, lowest, math.inf
