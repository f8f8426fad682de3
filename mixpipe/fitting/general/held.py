"""The maximum of the general likelihood with one parameter held, for profiles."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from mixpipe.fitting.gains import PROFILE_GAIN
from mixpipe.fitting.general.likelihood import Point
from mixpipe.fitting.general.points import few_points, likelihood_like
from mixpipe.fitting.general.search import ascend_general
from mixpipe.model.cells import Cells
from mixpipe.model.mixture import Mixture

# The mean of a positive family cannot be zero; its intervals end at this fraction of the estimate.
_SMALLEST_MEAN = 1e-6


class GeneralMaxima:
    """Maxima with one parameter held; see `mixpipe.fitting.contract.HeldMaxima`.

    Parameters
    ----------
    cells : Cells
        The data; if they are many, they are replaced by the points of a sketch.
    mixture : Mixture
        Mixture fitted to the data.
    prior_rows : float
        Number of rows that a prior gave each component.
    """

    def __init__(self, cells: Cells, mixture: Mixture, prior_rows: float = 0.0) -> None:
        point = Point.of(mixture)
        self.likelihood = likelihood_like(few_points(cells, point), point, prior_rows=prior_rows)
        fit = ascend_general(self.likelihood, point, gain=PROFILE_GAIN)
        self.point, self.loglik = fit.point, fit.loglik
        self.n_data, self.weights = self.likelihood.n_data, fit.point.weights

    def climb(self, part: str, component: int, value: float, near: Point | None) -> tuple[float, Point]:
        """Log-likelihood and location of the maximum reached from the start `near`, or from the fit if None."""
        if part == "sigmas":
            value = max(value, self.likelihood.floor)
        point = near or self.point
        tie = self.point.constraints[component].tie(part)
        # Parameters that are tied are held together.
        rules = [
            rule.holding(part, value)
            if j == component
            else rule.holding(part, value * own[1] / tie[1])
            if tie is not None and (own := rule.tie(part)) is not None and own[0] == tie[0]
            else rule
            for j, rule in enumerate(self.point.constraints)
        ]
        ascent = ascend_general(self.likelihood, replace(point, constraints=tuple(rules)), gain=PROFILE_GAIN)
        low, high = self.likelihood.bounds_of_means()
        if np.any((ascent.point.means <= low) | (ascent.point.means >= high)):
            # The sample is the tail of a component, and the likelihood may still rise beyond.
            return self.loglik, ascent.point
        return ascent.loglik, ascent.point

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
