"""The maximum of the general likelihood with one parameter held, for profiles."""

from __future__ import annotations

import math

from mixpipe.fitting.gains import PROFILE_GAIN
from mixpipe.fitting.general.likelihood import Expansion, GeneralLikelihood, Point, places
from mixpipe.fitting.general.points import few_points, likelihood_like
from mixpipe.fitting.general.search import ascend_general
from mixpipe.fitting.held import Held, at_held_weight
from mixpipe.model.cells import Cells
from mixpipe.model.mixture import Mixture

# The order of a component's variables.
_PARTS = ("weights", "means", "sigmas", "shapes")
# The mean of a positive family cannot be zero; its intervals end at this fraction of the estimate.
_SMALLEST_MEAN = 1e-6


class HeldGeneralLikelihood(GeneralLikelihood):
    """A likelihood with one parameter held, for `ascend_general`: its gradient along that parameter is zero."""

    def __init__(self, likelihood: GeneralLikelihood, held: Held) -> None:
        vars(self).update(vars(likelihood))
        self.held = held

    def expansion(self, point: Point, *, rough: bool = False) -> Expansion:
        """As `GeneralLikelihood.expansion`, for the mixture with the parameter held."""
        point = self.held.put(point)
        here = super().expansion(point, rough=rough)
        gradient, hessian = here.gradient.copy(), here.hessian.copy()
        logs = places(self.units(point))
        if self.held.part == "weights":
            gradient, hessian = at_held_weight(gradient, hessian, logs, point.weights, self.held.component, self.n_data)
        # Decouple the held parameter and give it the curvature of an ordinary one, so that the step along it is zero.
        k = logs[self.held.component] + _PARTS.index(self.held.part)
        gradient[k], hessian[k, :], hessian[:, k] = 0.0, 0.0, 0.0
        hessian[k, k] = -self.n_data
        return Expansion(here.loglik, gradient, hessian)


class GeneralMaxima:
    """Maxima with one parameter held; see `mixpipe.fitting.contract.HeldMaxima`.

    Parameters
    ----------
    cells : Cells
        The data; if they are many, they are replaced by the points of a sketch.
    mixture : Mixture
        Mixture fitted to the data.
    """

    def __init__(self, cells: Cells, mixture: Mixture) -> None:
        point = Point.of(mixture)
        self.likelihood = likelihood_like(few_points(cells, point), point)
        fit = ascend_general(self.likelihood, point, gain=PROFILE_GAIN)
        self.point, self.loglik = fit.point, fit.loglik
        self.n_data, self.weights = self.likelihood.n_data, fit.point.weights

    def climb(self, part: str, component: int, value: float, near: Point | None) -> tuple[float, Point]:
        """Log-likelihood and location of the maximum reached from the start `near`, or from the fit if None."""
        if part == "sigmas":
            value = max(value, self.likelihood.floor)
        held = Held(part, component, value)
        ascent = ascend_general(
            HeldGeneralLikelihood(self.likelihood, held), held.put(near or self.point), gain=PROFILE_GAIN
        )
        return ascent.loglik, held.put(ascent.point)

    def span(self, part: str, component: int, target: float) -> tuple[float, float, float, float]:
        """The estimate, a step, and the lowest and highest values of a parameter other than a weight.

        The step is as large as the interval of an isolated component.
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
        # If every row has an error, the likelihood at the floor is that of a component of zero width.
        lowest = 0.0 if self.likelihood.none > 0.0 else self.likelihood.floor
        if estimate <= self.likelihood.floor * (1.0 + 1e-9):
            estimate = lowest
        step = math.sqrt(estimate**2 + target * total**2 * math.sqrt(2.0 / rows)) - estimate
        return estimate, step, lowest, math.inf
