"""Maximum likelihood from a given start: EM steps by name, and the Newton ascent that finishes them.

Plain EM needs thousands of passes where components overlap and does not arrive where a sigma is zero. `ascend` takes
few EM steps and then climbs by a trust-region Newton method with the exact Hessian until the gain that remains is
negligible in units of the total log-likelihood.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from mixpipe.fitting.gains import CONVERGED_GAIN
from mixpipe.fitting.gaussian.likelihood import Climbable, Derivatives, Likelihood, Params
from mixpipe.fitting.held import WEIGHT_FLOOR
from mixpipe.fitting.kernels import newton, passes
from mixpipe.model.results import Array

# Where the ascent stops trying: parameters are then within some 1e-4 of a standard error of the maximum.
NEGLIGIBLE_GAIN = 1e-9
# Newton steps, and EM steps, after which a fit gives up and says so.
MAX_NEWTON_STEPS = 200
MAX_EM_STEPS = 100_000
# Largest step of the ascent, in units of ln w, total widths for the means, and ln of the total width.
_MAX_RADIUS = 4.0
# A component with less than this many rows stays where it is.
_NO_DATA = 1e-200
# A variance that is this part of a component's total variance above its bound is at the bound if the log-likelihood
# there is no lower than this (nats): steps towards a maximum at the bound get shorter and shorter.
_ALMOST = 1e-4
_SAME_HEIGHT = 1e-6
# Relative rounding error of a sum over cells; gains below it times the log-likelihood cannot be seen.
_ROUNDING = 1e-15


@dataclass(frozen=True, eq=False)
class Ascent:
    """Where an ascent ended, in scaled units."""

    params: Params
    loglik: float
    remaining_gain: float
    # Second derivatives there, as `Derivatives` has them; None where they were not looked at.
    hessian: Array | None = None
    # Entropy of the responsibilities; None where it has to be computed.
    entropy: float | None = None
    # Products of the rows' scores, where they are not minus the Hessian on average: see `likelihood.score_products`.
    products: Array | None = None
    # Nats that count against the fit where fits are compared; see `mixpipe.fitting.admissible`.
    occam: float = 0.0

    @property
    def score(self) -> float:
        """The log-likelihood, less what irregular components owe to their few rows."""
        return self.loglik - self.occam

    @property
    def converged(self) -> bool:
        """Whether less than `CONVERGED_GAIN` is left."""
        return self.remaining_gain < CONVERGED_GAIN


def _weights(q: Array) -> Array:
    weights = np.maximum(q / q.sum(), WEIGHT_FLOOR)
    return np.asarray(weights / weights.sum())


def step_xd(likelihood: Climbable, params: Params, floor: float) -> tuple[Params, float]:
    """One EM step with the true values as missing data (extreme deconvolution; Bovy, Hogg & Roweis 2011, eq. 16)."""
    s = likelihood.sums(params)
    v, q = params.variances, np.maximum(s.q, _NO_DATA)
    shift = v * s.q_d / q
    # sum q (b - shift)^2 + sum q B with b = v d / T and B = v e^2 / T, in terms of the sums of the pass.
    variances = v * v * s.q_dd / q - shift**2 + v * (1.0 - v * s.q_inv / q)
    return Params(_weights(s.q), params.means + shift, np.maximum(variances, floor)), s.loglik


def step_fixed_point(likelihood: Likelihood, params: Params, floor: float) -> tuple[Params, float]:
    """One step with the component labels alone as missing data, the variance by one fixed-point iteration."""
    deriv = likelihood.component_sums(params)
    q, q_inv, q_d, q_dd, q_inv2, q_d_inv = deriv.sums.T[:6]
    q_inv = np.maximum(q_inv, _NO_DATA)
    shift = q_d / q_inv
    # The offsets are taken from the new means: sum q (d - shift)^2 / T^2.
    dispersion = q_dd - 2.0 * shift * q_d_inv + shift**2 * q_inv2
    moved = np.where(q > _NO_DATA, params.variances * dispersion / q_inv, params.variances)
    variances = np.maximum(moved, floor)
    return Params(_weights(q), params.means + shift, variances), deriv.loglik


def step_exact(likelihood: Likelihood, params: Params, floor: float) -> tuple[Params, float]:
    """One EM step with the component labels alone as missing data, the variances by an exact root search."""
    s = likelihood.sums(params)
    means = params.means + s.q_d / np.maximum(s.q_inv, _NO_DATA)
    variances = np.empty_like(means)
    passes.exact_variances(
        likelihood.x,
        likelihood.var,
        likelihood.counts,
        params.weights,
        params.means,
        params.variances,
        means,
        floor,
        variances,
    )
    return Params(_weights(s.q), means, np.where(s.q > _NO_DATA, variances, params.variances)), s.loglik


EM_STEPS: dict[str, Callable[[Likelihood, Params, float], tuple[Params, float]]] = {
    "exact": step_exact,
    "fixed_point": step_fixed_point,
    "xd": step_xd,
}


def iterate(likelihood: Likelihood, start: Params, floor: float, m_step: str, max_steps: int = MAX_EM_STEPS) -> Ascent:
    """Plain EM by one of `EM_STEPS` until the gain that remains is below `CONVERGED_GAIN` nats.

    For comparison with other codes; `ascend` arrives at the same maximum in a fraction of the passes.
    """
    step = EM_STEPS[m_step]
    # The steps cannot leave a width of zero.
    lift = 1e-6 * float(likelihood.counts @ likelihood.var) / likelihood.n_data
    params = Params(start.weights, start.means, np.maximum(start.variances, max(floor, lift)))
    check = 16
    gain = np.inf
    for n_steps in range(1, max_steps + 1):
        params, _ = step(likelihood, params, floor)
        if n_steps == check:
            # The remaining gain costs a Hessian; it is looked at after 16, 32, 64, ... steps.
            gain = _newton_step(likelihood.derivatives(params), params, floor, _MAX_RADIUS, False).gain
            check *= 2
            if gain < CONVERGED_GAIN:
                break
    else:
        gain = _newton_step(likelihood.derivatives(params), params, floor, _MAX_RADIUS, False).gain
    return Ascent(params, likelihood.sums(params).loglik, gain)


@dataclass(frozen=True, eq=False)
class _Step:
    """A trust-region step: where it leads, what the quadratic model promises, and its length."""

    params: Params
    gain: float
    length: float


def _newton_step(deriv: Derivatives, params: Params, floor: float, radius: float, equal_sigmas: bool) -> _Step:
    """The best step within the trust region; see `mixpipe.fitting.kernels.newton` for its variables."""
    weights, means, variances, gain, length = newton.newton_step(
        deriv.gradient,
        deriv.hessian,
        deriv.total_var,
        params.weights,
        params.means,
        params.variances,
        floor,
        radius,
        equal_sigmas,
    )
    return _Step(Params(np.maximum(weights, WEIGHT_FLOOR), means, variances), gain, length)


def ascend(
    likelihood: Climbable,
    start: Params,
    floor: float,
    *,
    equal_sigmas: bool = False,
    gain: float = NEGLIGIBLE_GAIN,
    n_em: int = 2,
    max_steps: int = MAX_NEWTON_STEPS,
    hessian: Array | None = None,
    trusted: float = 0.0,
) -> Ascent:
    """Climb from a start to the local maximum.

    Parameters
    ----------
    likelihood : Likelihood, or another with the same derivatives
        Data.
    start : Params
        Where to begin, in scaled units.
    floor : float
        Lower bound on the variances, in scaled units.
    equal_sigmas : bool
        Give all components one width.
    gain : float
        Stop when a further step promises less, in nats of total log-likelihood.
    n_em : int
        EM steps before the first Newton step.
    max_steps : int
        Newton steps at the most.
    hessian : ndarray or None
        A good approximation of the second derivatives, to be used in every step in place of the exact ones.
    trusted : float
        A step that promises less than this, in nats, is the last one, and is taken without looking where it leads.
    """
    params = Params(start.weights, start.means, np.maximum(start.variances, floor))
    for _ in range(n_em):
        params, _ = step_xd(likelihood, params, floor)
    if equal_sigmas:
        params = Params(params.weights, params.means, np.full(params.n_components, params.weights @ params.variances))
    deriv = likelihood.derivatives(params, hessian)
    radius = 1.0
    promised = np.inf
    for _ in range(max_steps):
        step = _newton_step(deriv, params, floor, radius, equal_sigmas)
        step = replace(
            step, params=replace(step.params, variances=np.minimum(step.params.variances, likelihood.ceiling))
        )
        # A face of the bounds on which nothing is gained says nothing: look again in a smaller region.
        promised = step.gain if step.gain >= 0.0 else np.inf
        # A short radius hides what is left: the promise counts where the region does not bind.
        if promised < max(gain, _ROUNDING * abs(deriv.loglik)) and (radius >= 0.5 or step.length < 0.9 * radius):
            break
        if promised < trusted and radius >= 0.5 and step.length < 0.9 * radius:
            return Ascent(step.params, deriv.loglik + promised, promised, deriv.hessian)
        trial = likelihood.derivatives(step.params, hessian)
        achieved = trial.loglik - deriv.loglik
        ratio = achieved / promised if 0.0 < promised < np.inf else 0.0
        if ratio < 0.25:
            radius = 0.25 * min(step.length, radius)
        elif ratio > 0.75 and step.length > 0.8 * radius:
            radius = min(2.0 * radius, _MAX_RADIUS)
        if achieved > 0.0:
            params, deriv = step.params, trial
        elif radius < 1e-8:
            break
    if radius < 0.5:
        promised = abs(_newton_step(deriv, params, floor, 1.0, equal_sigmas).gain)
    low = (params.variances > floor) & (params.variances - floor < _ALMOST * deriv.total_var)
    if low.any() and not equal_sigmas:
        lowered = replace(params, variances=np.where(low, floor, params.variances))
        there = likelihood.derivatives(lowered, hessian)
        if there.loglik > deriv.loglik - _SAME_HEIGHT:
            params, deriv = lowered, there
    return Ascent(params, deriv.loglik, promised, deriv.hessian)
