"""Maximum likelihood from a given start: the EM steps by name, and the Newton ascent.

Plain EM needs thousands of passes where components overlap, and does not converge to a sigma of zero. `ascend` takes a
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

# The ascent stops at this remaining gain; the parameters are then within about 1e-4 standard errors of the maximum.
NEGLIGIBLE_GAIN = 1e-9
# Number of Newton steps, and of EM steps, after which a fit ends without convergence.
MAX_NEWTON_STEPS = 200
MAX_EM_STEPS = 100_000
# Largest step of the ascent, in units of ln w, total widths for the means, and ln of the total width.
_MAX_RADIUS = 4.0
# A component that contains fewer rows than this is not moved.
_NO_DATA = 1e-200
# A variance whose distance from its bound is below _ALMOST of the component's total variance is set to the bound if
# this lowers the log-likelihood by no more than _SAME_HEIGHT nats, because steps towards a maximum at the bound become
# ever shorter.
_ALMOST = 1e-4
_SAME_HEIGHT = 1e-6
# Relative rounding error of a sum over cells; gains below this fraction of the log-likelihood cannot be detected.
_ROUNDING = 1e-15


@dataclass(frozen=True, eq=False)
class Ascent:
    """The end of an ascent, in scaled units."""

    params: Params
    loglik: float
    remaining_gain: float
    # Second derivatives, as in `Derivatives`; None if they were not computed.
    hessian: Array | None = None
    # Entropy of the responsibilities; None if it has yet to be computed.
    entropy: float | None = None
    # Sum of products of the rows' scores, if its expectation is not minus the Hessian; see `likelihood.score_products`.
    products: Array | None = None
    # Penalty, in nats, for the comparison of fits; see `mixpipe.fitting.admissible`.
    occam: float = 0.0
    # Further penalty, for the choice of the number of components, that is due to importance weights.
    uneven: float = 0.0
    # Sums over the rows, as in `Likelihood.held_sums`, if their squared weights are not those of the points.
    held: Array | None = None
    # Lower bound on the effective number of rows of every component; 0 where none is known.
    fewest: float = 0.0

    @property
    def score(self) -> float:
        """The log-likelihood minus the penalty on irregular components."""
        return self.loglik - self.occam

    @property
    def converged(self) -> bool:
        """Whether the remaining gain is below `CONVERGED_GAIN`."""
        return self.remaining_gain < CONVERGED_GAIN


def _weights(q: Array) -> Array:
    weights = np.maximum(q / q.sum(), WEIGHT_FLOOR)
    return np.asarray(weights / weights.sum())


def step_xd(likelihood: Climbable, params: Params, floor: float) -> tuple[Params, float]:
    """One EM step with the true values as missing data (extreme deconvolution; Bovy, Hogg & Roweis 2011, eq. 16)."""
    s = likelihood.sums(params)
    v, q = params.variances, np.maximum(s.q, _NO_DATA)
    shift = v * s.q_d / q
    # This is (sum q (b - shift)^2 + sum q B) / sum q with b = v d / T and B = v e^2 / T, in terms of the sums of the
    # pass.
    variances = v * v * s.q_dd / q - shift**2 + v * (1.0 - v * s.q_inv / q)
    return Params(_weights(s.q), params.means + shift, np.maximum(variances, floor)), s.loglik


def step_fixed_point(likelihood: Likelihood, params: Params, floor: float) -> tuple[Params, float]:
    """One EM step with only the component labels as missing data, and the variances by one fixed-point iteration."""
    deriv = likelihood.component_sums(params)
    q, q_inv, q_d, q_dd, q_inv2, q_d_inv = deriv.sums.T[:6]
    q_inv = np.maximum(q_inv, _NO_DATA)
    shift = q_d / q_inv
    # The offsets are measured from the new means: sum q (d - shift)^2 / T^2.
    dispersion = q_dd - 2.0 * shift * q_d_inv + shift**2 * q_inv2
    moved = np.where(q > _NO_DATA, params.variances * dispersion / q_inv, params.variances)
    variances = np.maximum(moved, floor)
    return Params(_weights(q), params.means + shift, variances), deriv.loglik


def step_exact(likelihood: Likelihood, params: Params, floor: float) -> tuple[Params, float]:
    """One EM step with only the component labels as missing data, and the variances by an exact root search."""
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
    """Plain EM by one of `EM_STEPS` until the remaining gain is below `CONVERGED_GAIN` nats.

    This serves for comparison with other codes; `ascend` reaches the same maximum in a fraction of the passes.
    """
    step = EM_STEPS[m_step]
    # EM steps cannot move away from a width of zero.
    lift = 1e-6 * float(likelihood.counts @ likelihood.var) / likelihood.n_data
    params = Params(start.weights, start.means, np.maximum(start.variances, max(floor, lift)))
    check = 16
    gain = np.inf
    for n_steps in range(1, max_steps + 1):
        params, _ = step(likelihood, params, floor)
        if n_steps == check:
            # Computing the remaining gain requires a Hessian, so that it is checked only after 16, 32, 64, ... steps.
            gain = _newton_step(likelihood.derivatives(params), params, floor, _MAX_RADIUS).gain
            check *= 2
            if gain < CONVERGED_GAIN:
                break
    else:
        gain = _newton_step(likelihood.derivatives(params), params, floor, _MAX_RADIUS).gain
    last = likelihood.derivatives(params)
    return Ascent(params, last.loglik, gain, last.hessian)


@dataclass(frozen=True, eq=False)
class _Step:
    """A trust-region step: its end point, the gain predicted by the quadratic model, and its length."""

    params: Params
    gain: float
    length: float


def _newton_step(deriv: Derivatives, params: Params, floor: float, radius: float, ceiling: float = np.inf) -> _Step:
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
    )
    return _Step(Params(np.maximum(weights, WEIGHT_FLOOR), means, np.minimum(variances, ceiling)), gain, length)


def ascend(
    likelihood: Climbable,
    start: Params,
    floor: float,
    *,
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
        Mixture from which to climb, in scaled units.
    floor : float
        Lower bound on the variances, in scaled units.
    gain : float
        Stop when the predicted gain of a further step is smaller, in nats of total log-likelihood.
    n_em : int
        Number of EM steps before the first Newton step.
    max_steps : int
        Largest number of Newton steps.
    hessian : ndarray or None
        A good approximation of the second derivatives, which is used in every step instead of the exact ones.
    trusted : float
        A step whose predicted gain is below this, in nats, is the last one, and is taken without evaluating the
        likelihood at its end.
    """
    params = Params(start.weights, start.means, np.maximum(start.variances, floor))
    for _ in range(n_em):
        params, _ = step_xd(likelihood, params, floor)
    deriv = likelihood.derivatives(params, hessian)
    radius = 1.0
    promised = np.inf
    for _ in range(max_steps):
        step = _newton_step(deriv, params, floor, radius, likelihood.ceiling)
        # A face of the bounds on which nothing is gained is inconclusive; try again in a smaller region.
        promised = step.gain if step.gain >= 0.0 else np.inf
        # A small radius hides the remaining gain, so that the prediction counts only if the region does not limit the
        # step.
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
        promised = abs(_newton_step(deriv, params, floor, 1.0).gain)
    low = (params.variances > floor) & (params.variances - floor < _ALMOST * deriv.total_var)
    if low.any():
        lowered = replace(params, variances=np.where(low, floor, params.variances))
        at_floor = likelihood.derivatives(lowered, hessian)
        if at_floor.loglik > deriv.loglik - _SAME_HEIGHT:
            params, deriv = lowered, at_floor
    return Ascent(params, deriv.loglik, promised, deriv.hessian, fewest=deriv.fewest)
