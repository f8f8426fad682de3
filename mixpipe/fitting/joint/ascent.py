"""The way to a maximum of the likelihood: EM, then L-BFGS in the metric of EM, then Newton steps."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from enum import Enum, auto

import numpy as np

from mixpipe.base.arrays import Array
from mixpipe.fitting.joint.chart import Chart
from mixpipe.fitting.joint.likelihood import WEIGHT_FLOOR, Passes
from mixpipe.fitting.joint.structure import null_axes, project
from mixpipe.fitting.kernels import steps
from mixpipe.model.joint.blocks import Parameters, Sums

N_EM = 20
# Gain in nats that a further step may promise at convergence, and that at which Newton steps begin.
TOLERANCE = 1e-3
_NEWTON_GAIN = 0.02
_LEAST_GAIN = 1e-6
# Gain in nats below which steps of the search end.
SEARCH_GAIN = 1e-2
# Gain in nats below which the polishing ends.
_POLISHED = 1e-9
_MEMORY = 30
_MAX_PASSES = 3000
_MAX_ROUNDS = 25
_MAX_NEWTON = 12
# Beyond this number of parameters there is no Hessian: its inverse would take longer than all else.
MAX_CURVED = 400
# Steps on all rows with one curvature after a search on some, such curvatures, and the promise at which steps end.
_MAX_FINISHING, _MAX_METRICS, _POLISHED_ON_ALL = 60, 3, 1e-5
# A climb is given up if, after some steps, so many times what it promises would not bring it to the best.
_LEAST_STEPS, _HOPE = 4, 50.0
# Coordinates are renewed where a component has changed by more than so many of its widths since they were chosen. A
# direction that loses its width changes by 1, and would be opened again.
_FAR = 3.0
# Largest change of a component in one step, in units of its width.
_LONGEST = 1.0
_ARMIJO = 1e-4
_MAX_HALVINGS = 25
# Newton steps that gain more than this part of what the last one promised are too slow.
_SLOW = 0.1
# Curvature above this, in units in which that of an isolated component is -1, is a way up and no rounding.
_FLAT = 1e-7
# Least curvature in a metric, in the same units.
_LEAST_CURVATURE = 1e-4
# Parts of the variance below which a direction is tried without any width, and the loss in nats that this may bring.
_COLLAPSED, _NO_LOSS = 1e-6, 1e-5
# Variances with which directions without any are opened, in units in which the columns have variances near 1.
_OPENINGS = (1e-6, 1e-4, 1e-2, 0.3)


@dataclass(frozen=True, eq=False)
class Ascent:
    """Where an ascent ended.

    Parameters
    ----------
    at : Parameters
    sums : Sums
        The pass there.
    converged : bool
        Whether there is no way up and a Newton step would gain less than the tolerance.
    remaining_gain : float
        The gain in nats that a Newton step promises.
    """

    at: Parameters
    sums: Sums
    converged: bool = False
    remaining_gain: float = math.nan

    @property
    def loglik(self) -> float:
        """The log-likelihood."""
        return self.sums.loglik


def em_step(at: Parameters, sums: Sums, structure: str, floor: Array) -> Parameters:
    """One step of extreme deconvolution (Bovy, Hogg & Roweis 2011, equation 16) from the sums of a pass."""
    given = at.weights, np.ascontiguousarray(at.means), np.ascontiguousarray(at.covariances)
    weights, means, covs, exceeds = steps.em_step(*given, sums.q, sums.slopes, sums.curls, floor, WEIGHT_FLOOR)
    if not (exceeds and structure == "full"):
        covs = project(covs, weights, structure, floor)
    return Parameters(weights, means, covs)


def run_em(
    likelihood: Passes, at: Parameters, n_steps: int, structure: str = "full", sums: Sums | None = None
) -> Ascent:
    """EM steps, and the sums at their end; `sums` are those at the start, if they are known."""
    sums = sums or likelihood.sums(at)
    for _ in range(n_steps):
        at = em_step(at, sums, structure, likelihood.floor)
        sums = likelihood.sums(at)
    return Ascent(at, sums)


class Climb:
    """L-BFGS in the coordinates of one chart, one step at a time."""

    def __init__(self, likelihood: Passes, start: Ascent, structure: str, *, is_sample: bool = False) -> None:
        self._likelihood = likelihood
        self._metric: tuple[Array, Array] | None = None
        self.chart = Chart(start.at, likelihood.n_data, structure, likelihood.floor, likelihood.noise)
        self.theta = np.zeros(self.chart.n_coordinates)
        self.at, self.sums = start.at, start.sums
        if not self.chart.is_exact:
            # The origin differs from the start where that is singular.
            self.at = self.chart.point(self.theta)
        if is_sample or not self.chart.is_exact:
            self.sums = likelihood.sums(self.at)
        self.gradient = self.chart.gradient(self.theta, self.at, self.sums)
        self._steps, self._changes = np.empty((2, _MEMORY, self.theta.size))
        self._products, self._n_pairs = np.empty(_MEMORY), 0
        self.promised = math.inf

    @property
    def ascent(self) -> Ascent:
        """The present point."""
        return Ascent(self.at, self.sums)

    def _direction(self) -> Array:
        pairs = self._steps, self._changes, self._products, self._n_pairs
        direction, shares = steps.reduced(self.gradient, *pairs)
        if self._metric is not None:
            axes, roots = self._metric
            direction = axes @ ((axes.T @ direction) / roots)
        elif self._n_pairs:
            last = (self._n_pairs - 1) % _MEMORY
            direction *= self._products[last] / (self._changes[last] @ self._changes[last])
        steps.extended(direction, shares, *pairs)
        return np.asarray(direction)

    def _remember(self, step: Array, change: Array) -> None:
        """Keep a step and the change of the gradient along it for the directions that follow."""
        product = float(step @ change)
        if product > 1e-10 * float(step @ step):
            k = self._n_pairs % _MEMORY
            self._steps[k], self._changes[k], self._products[k] = step, change, product
            self._n_pairs += 1

    def use_metric(self, hessian: Array) -> None:
        """Take the first guess of the curvature from a Hessian, such as that of a sample of the rows."""
        self._n_pairs = 0
        roots, axes = np.linalg.eigh(hessian)
        self._metric = axes, np.maximum(np.abs(roots), _LEAST_CURVATURE)

    def step(self) -> bool:
        """One step up; False if none was found."""
        direction = self._direction()
        slope = float(self.gradient @ direction)
        if not slope > 0.0:
            self._n_pairs = 0
            direction, slope = self.gradient.copy(), float(self.gradient @ self.gradient)
        self.promised = 0.5 * slope
        if not self.move(direction, slope):
            if not self._n_pairs:
                return False
            self._n_pairs = 0
            return self.move(self.gradient.copy(), float(self.gradient @ self.gradient))
        return True

    def move(self, direction: Array, slope: float) -> bool:
        """Go along a direction as far as the log-likelihood rises; False if it does not."""
        length = self.chart.length(direction)
        share = min(1.0, _LONGEST / length) if length > 0.0 else 1.0
        for _ in range(_MAX_HALVINGS):
            theta = self.theta + share * direction
            at = self.chart.point(theta)
            sums = self._likelihood.sums(at)
            gain = sums.loglik - self.sums.loglik
            if gain >= _ARMIJO * share * slope or (gain > 0.0 and share * slope < 1e-8):
                gradient = self.chart.gradient(theta, at, sums)
                self._remember(share * direction, self.gradient - gradient)
                self.theta, self.at, self.sums, self.gradient = theta, at, sums, gradient
                return True
            if share * slope < 1e-9:
                return False
            # The maximum of the parabola through both values and the slope.
            drop = share * slope - gain
            best = 0.5 * share * slope / drop if math.isfinite(drop) and drop > 0.0 else 0.1
            share *= min(max(best, 0.1), 0.5)
        return False

    def hessian(self) -> Array:
        """The Hessian in the coordinates of the chart."""
        return self.chart.hessian(self.theta, self.at, self.sums, self._likelihood.curvature(self.at))


def ascend(
    likelihood: Passes,
    start: Parameters,
    *,
    structure: str = "full",
    n_em: int = N_EM,
    n_steps: int | None = None,
    max_passes: int = _MAX_PASSES,
    sums: Sums | None = None,
) -> Ascent:
    """The maximum that is reached from a start.

    Parameters
    ----------
    likelihood : Passes
    start : Parameters
    structure : str
    n_em : int
        EM steps before the others.
    n_steps : int or None
        End after so many steps of L-BFGS, without Newton steps, for the search.
    max_passes : int
        End after about as many passes.
    sums : Sums or None
        The sums at the start, if they are known.
    """
    last = likelihood.n_passes + max_passes
    ascent = run_em(likelihood, start, n_em, structure, sums)
    if not math.isfinite(ascent.loglik):
        return ascent
    if n_steps is not None:
        return _quasi_newton(Climb(likelihood, ascent, structure), n_steps, SEARCH_GAIN)
    climb = Climb(likelihood, _opened(likelihood, ascent, structure), structure)
    for round_ in range(_MAX_ROUNDS):
        # Where Newton steps have failed, the next come closer before they are tried again.
        least_gain = max(_NEWTON_GAIN * 0.1**round_, _LEAST_GAIN)
        _quasi_newton(climb, last - likelihood.n_passes, least_gain)
        end, gain = _finish(climb)
        if climb.sums.loglik >= ascent.loglik or end is End.MAXIMUM:
            ascent = climb.ascent
        if end is End.MAXIMUM or likelihood.n_passes >= last:
            ascent = _without_width(likelihood, ascent, structure)
            return Ascent(ascent.at, ascent.sums, end is End.MAXIMUM and gain < TOLERANCE, gain)
        is_far = climb.chart.length(climb.theta) > _FAR and climb.sums.loglik >= ascent.loglik
        if end is End.LOST or is_far:
            climb = Climb(likelihood, ascent, structure)
    return Ascent(ascent.at, ascent.sums, False, gain)


def finish_from(searched: Passes, likelihood: Passes, ascent: Ascent, structure: str) -> Ascent:
    """The maximum over all rows, from that over a sample of them, whose curvature serves for the steps.

    Parameters
    ----------
    searched, likelihood : Passes
        Of the sample, and of all rows.
    ascent : Ascent
        The maximum over the sample.
    """
    end = Ascent(ascent.at, likelihood.sums(ascent.at))
    for _ in range(_MAX_METRICS):
        climb = follow(searched, likelihood, end, structure, _MAX_FINISHING, _POLISHED_ON_ALL)
        end = _without_width(likelihood, climb.ascent, structure)
        if climb.promised < _POLISHED_ON_ALL:
            break
    if climb.promised >= TOLERANCE or _ways_out(likelihood, end.at, end.sums):
        return ascend(likelihood, end.at, structure=structure, n_em=0, sums=end.sums)
    return Ascent(end.at, end.sums, True, climb.promised)


class _Spent(Exception):
    """No more passes are allowed."""


class _Budget:
    """Rows that may be passed over so many times."""

    def __init__(self, rows: Passes, n_passes: int) -> None:
        self._rows, self._left = rows, n_passes
        self.n_data, self.floor, self.noise = rows.n_data, rows.floor, rows.noise
        self.n_passes = rows.n_passes

    def sums(self, at: Parameters) -> Sums:
        if not self._left:
            raise _Spent
        self._left -= 1
        return self._rows.sums(at)

    def curvature(self, at: Parameters) -> Array:
        return self._rows.curvature(at)


def approach(searched: Passes, likelihood: Passes, ascent: Ascent, structure: str, n_passes: int) -> Ascent:
    """As `finish_from` with a few passes, of which the first is for the start; they need not suffice."""
    start = Climb(_Budget(likelihood, n_passes), ascent, structure, is_sample=True)
    climb = _with_metric(searched, start, likelihood.n_data)
    with contextlib.suppress(_Spent):
        _quasi_newton(climb, n_passes, _POLISHED_ON_ALL)
    end = climb.ascent
    is_maximum = climb.promised < TOLERANCE and not _ways_out(likelihood, end.at, end.sums)
    return Ascent(end.at, end.sums, is_maximum, climb.promised)


def follow(
    searched: Passes,
    likelihood: Passes,
    ascent: Ascent,
    structure: str,
    n_steps: int,
    least_gain: float,
    goal: float = -math.inf,
) -> Climb:
    """Steps of L-BFGS that begin with the curvature of a sample of the rows.

    Parameters
    ----------
    searched, likelihood : Passes
        Of the sample, and of the rows of the ascent.
    ascent : Ascent
        The start.
    structure : str
    n_steps : int
        Largest number of steps.
    least_gain : float
        Gain in nats below which steps end.
    goal : float
        Steps end, too, where they promise too little to come to this log-likelihood.
    """
    climb = _with_metric(searched, Climb(likelihood, ascent, structure), likelihood.n_data)
    _quasi_newton(climb, n_steps, least_gain, goal)
    return climb


def _with_metric(searched: Passes, climb: Climb, n_data: float) -> Climb:
    """The same climb with the curvature of a sample of the rows to begin with."""
    if climb.chart.n_coordinates <= MAX_CURVED:
        near = searched.sums(climb.at)
        hessian = climb.chart.hessian(climb.theta, climb.at, near, searched.curvature(climb.at))
        climb.use_metric(n_data / searched.n_data * hessian)
    return climb


def _ways_out(likelihood: Passes, at: Parameters, sums: Sums) -> list[tuple[int, Array]]:
    """Components and directions without width along which the log-likelihood rises."""
    found = []
    is_null, axes, _ = null_axes(at.covariances, likelihood.floor, likelihood.noise, _COLLAPSED)
    for j in np.flatnonzero(is_null.any(axis=1)):
        null = np.linalg.qr(axes[j][:, is_null[j]])[0]
        slopes, turns = np.linalg.eigh(null.T @ sums.curls[j] @ null)
        if slopes[-1] > 0.0:
            found.append((int(j), null @ turns[:, -1]))
    return found


def _opened(likelihood: Passes, ascent: Ascent, structure: str) -> Ascent:
    """The same mixture with a width where it has none and the log-likelihood rises with one; EM would not give any."""
    for j, direction in _ways_out(likelihood, ascent.at, ascent.sums):
        for variance in _OPENINGS:
            covs = ascent.at.covariances.copy()
            covs[j] += variance * np.outer(direction, direction)
            covs = project(covs, ascent.at.weights, structure, likelihood.floor)
            at = Parameters(ascent.at.weights, ascent.at.means, covs)
            sums = likelihood.sums(at)
            if sums.loglik > ascent.loglik:
                ascent = Ascent(at, sums)
    return ascent


def _quasi_newton(climb: Climb, n_steps: int, least_gain: float, goal: float = -math.inf) -> Ascent:
    """Steps until they promise less than a gain, or too little to come to a goal."""
    for k in range(n_steps):
        before = climb.sums.loglik
        if not climb.step() or (climb.promised < least_gain and climb.sums.loglik - before < least_gain):
            break
        if k >= _LEAST_STEPS and climb.sums.loglik + _HOPE * climb.promised < goal:
            break
    return climb.ascent


class End(Enum):
    """How Newton steps end: at a maximum, where the curvature changes too fast for them, or without getting closer."""

    MAXIMUM = auto()
    CURVED = auto()
    LOST = auto()


def _finish(climb: Climb) -> tuple[End, float]:
    """Newton steps to the maximum: how they end, and the gain that a further step promises."""
    gain = math.inf
    if climb.chart.n_coordinates > MAX_CURVED:
        return End.MAXIMUM if climb.promised < TOLERANCE else End.LOST, climb.promised
    for _ in range(_MAX_NEWTON):
        hessian = climb.hessian()
        roots, axes = np.linalg.eigh(hessian)
        slopes = axes.T @ climb.gradient
        # The curvature may be that of a sample of the rows, and positive where it is negative for all of them.
        steep = np.abs(roots) > _FLAT
        step = axes[:, steep] @ (slopes[steep] / np.abs(roots[steep]))
        slope = float(step @ climb.gradient)
        if roots[-1] > _FLAT and _leave_saddle(climb, axes[:, -1]):
            climb.use_metric(hessian)
            return End.CURVED, 0.5 * slope
        if slope > 0.0 and 0.5 * slope > 2.0 * gain:
            return End.LOST, 0.5 * slope
        if 0.5 * slope > max(_SLOW * gain, TOLERANCE * _SLOW):
            # Along a bent ridge L-BFGS is faster, if it knows this curvature.
            climb.use_metric(hessian)
            return End.CURVED, 0.5 * slope
        gain = 0.5 * slope
        if gain < _POLISHED:
            return End.MAXIMUM, gain
        if not climb.move(step, slope):
            break
    return End.MAXIMUM if gain < TOLERANCE else End.LOST, gain


def _leave_saddle(climb: Climb, axis: Array) -> bool:
    """Go along a direction of positive curvature; False if there is no way up."""
    towards = axis if axis @ climb.gradient >= 0.0 else -axis
    reach = _LONGEST / max(climb.chart.length(towards), 1e-12)
    start = climb.theta, climb.at, climb.sums, climb.gradient
    best = start
    for sign in (1.0, -1.0):
        for share in (0.3, 0.1, 0.03, 0.01):
            theta = start[0] + sign * share * reach * towards
            at = climb.chart.point(theta)
            sums = climb._likelihood.sums(at)
            if sums.loglik > best[2].loglik:
                best = theta, at, sums, climb.chart.gradient(theta, at, sums)
                break
    climb.theta, climb.at, climb.sums, climb.gradient = best
    return best[2].loglik > start[2].loglik + _NO_LOSS


def _without_width(likelihood: Passes, ascent: Ascent, structure: str) -> Ascent:
    """The same maximum with directions of almost no width at exactly none, if the log-likelihood is the same."""
    is_null, _, halves = null_axes(ascent.at.covariances, likelihood.floor, likelihood.noise, _COLLAPSED)
    # A sphere is flat in all directions or in none.
    changed = is_null.all(axis=1) if structure == "spherical" else is_null.any(axis=1)
    if not changed.any():
        return ascent
    covs = ascent.at.covariances.copy()
    covs[changed] = (halves @ np.swapaxes(halves, 1, 2))[changed] + np.diag(likelihood.floor)
    at = Parameters(ascent.at.weights, ascent.at.means, covs)
    sums = likelihood.sums(at)
    return ascent if sums.loglik < ascent.loglik - _NO_LOSS else Ascent(at, sums)
