"""The maximum of the Gaussian likelihood with one parameter held, for profiles."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from mixpipe.base.arrays import Array
from mixpipe.fitting.gains import PROFILE_GAIN
from mixpipe.fitting.gaussian.em import ascend
from mixpipe.fitting.gaussian.likelihood import Derivatives, Likelihood, Params
from mixpipe.fitting.held import Held, at_held_weight
from mixpipe.model.cells import Cells
from mixpipe.model.results import FitResult


class _HeldLikelihood(Likelihood):
    """A likelihood with one parameter held, for `ascend`: its gradient along that parameter is zero."""

    def __init__(self, likelihood: Likelihood, held: Held) -> None:
        vars(self).update(vars(likelihood))
        self.held = held

    def derivatives(self, params: Params, hessian: Array | None = None) -> Derivatives:
        """As `Likelihood.derivatives`, for the mixture with the parameter held."""
        params = self.held.put(params)
        deriv = super().derivatives(params, hessian)
        gradient, curvature = deriv.gradient.copy(), deriv.hessian.copy()
        if self.held.part == "weights":
            # `Derivatives` includes the constraint on all weights; remove it to obtain those of the likelihood alone.
            logs = np.arange(0, 3 * params.n_components, 3)
            gradient[logs] += self.n_data * params.weights
            curvature[logs, logs] += self.n_data * params.weights
            gradient, curvature = at_held_weight(
                gradient, curvature, logs, params.weights, self.held.component, self.n_data
            )
        k = 3 * self.held.component + ("weights", "means", "variances").index(self.held.part)
        # Decouple the held parameter and give it the curvature of an ordinary one, so that the step along it is zero.
        unit = (1.0, deriv.total_var[self.held.component], deriv.total_var[self.held.component] ** 2)[k % 3]
        gradient[k], curvature[k, :], curvature[:, k] = 0.0, 0.0, 0.0
        curvature[k, k] = -self.n_data / unit
        return replace(deriv, gradient=gradient, hessian=curvature)


class GaussianMaxima:
    """Maxima with one parameter held; see `mixpipe.fitting.contract.HeldMaxima`."""

    def __init__(self, cells: Cells, fit: FitResult) -> None:
        self.likelihood = Likelihood(cells)
        self.floor = (fit.sigma_floor / self.likelihood.scale) ** 2
        self.fit = ascend(self.likelihood, self.likelihood.scaled(fit.mixture), self.floor, n_em=0)
        self.loglik, self.n_data, self.weights = self.fit.loglik, self.likelihood.n_data, self.fit.params.weights

    def climb(self, part: str, component: int, value: float, near: Params | None) -> tuple[float, Params]:
        """Log-likelihood and location of the maximum reached from the start `near`, or from the fit if None."""
        scale = self.likelihood.scale
        if part == "means":
            held = Held(part, component, (value - self.likelihood.centre) / scale)
        elif part == "sigmas":
            held = Held("variances", component, (value / scale) ** 2)
        else:
            held = Held(part, component, value)
        likelihood = _HeldLikelihood(self.likelihood, held)
        ascent = ascend(likelihood, held.put(near or self.fit.params), self.floor, gain=PROFILE_GAIN, n_em=0)
        return ascent.loglik, held.put(ascent.params)

    def span(self, part: str, component: int, target: float) -> tuple[float, float, float, float]:
        """The estimate of a mean or sigma, a step as large as its interval, and its lowest and highest values."""
        params, scale = self.fit.params, self.likelihood.scale
        total = self.likelihood.derivatives(params).total_var[component]
        rows = max(self.n_data * self.weights[component], 1.0)
        if part == "means":
            step = scale * target * math.sqrt(total / rows)
            return self.likelihood.centre + scale * params.means[component], step, -math.inf, math.inf
        variance = params.variances[component]
        step = scale * (math.sqrt(variance + target * total * math.sqrt(2.0 / rows)) - math.sqrt(variance))
        return (
            scale * math.sqrt(variance),
            step,
            scale * math.sqrt(self.floor),
            scale * math.sqrt(self.likelihood.ceiling),
        )
