"""The maximum of the general likelihood with one parameter held, for profiles."""

from __future__ import annotations

import math

from mixpipe.fitting.gains import PROFILE_GAIN
from mixpipe.fitting.general.likelihood import Expansion, Likelihood, Point, places
from mixpipe.fitting.general.points import few_points, likelihood_like
from mixpipe.fitting.general.search import ascend
from mixpipe.fitting.held import Held, at_held_weight
from mixpipe.model.cells import Cells
from mixpipe.model.mixture import Mixture

# The order of a component's variables.
_PARTS = ("weights", "means", "sigmas", "shapes")
# A positive family has no mean of zero: where its intervals end, as a part of the estimate.
_SMALLEST_MEAN = 1e-6


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


class GeneralMaxima:
    """Maxima with one parameter held; see `mixpipe.fitting.contract.HeldMaxima`.

    Parameters
    ----------
    cells : Cells
        The data; points of a sketch are taken where they are many.
    mixture : Mixture
        Their fit.
    """

    def __init__(self, cells: Cells, mixture: Mixture) -> None:
        point = Point.of(mixture)
        self.likelihood = likelihood_like(few_points(cells, point), point)
        fit = ascend(self.likelihood, point, gain=PROFILE_GAIN)
        self.point, self.loglik = fit.point, fit.loglik
        self.n_data, self.weights = self.likelihood.n_data, fit.point.weights

    def climb(self, part: str, component: int, value: float, near: Point | None) -> tuple[float, Point]:
        """The log-likelihood of the maximum found from a start, the fit if None, and where it lies."""
        if part == "sigmas":
            value = max(value, self.likelihood.floor)
        held = Held(part, component, value)
        ascent = ascend(HeldLikelihood(self.likelihood, held), held.put(near or self.point), gain=PROFILE_GAIN)
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
            step = target * (estimate if family.log_shape else 1.0) / math.sqrt(rows)
            return estimate, 3.0 * step, *family.shape_bounds
        # With an error on every row the likelihood at the floor is that of no width at all.
        lowest = 0.0 if self.likelihood.none > 0.0 else self.likelihood.floor
        if estimate <= self.likelihood.floor * (1.0 + 1e-9):
            estimate = lowest
        step = math.sqrt(estimate**2 + target * total**2 * math.sqrt(2.0 / rows)) - estimate
        return estimate, step, lowest, math.inf
