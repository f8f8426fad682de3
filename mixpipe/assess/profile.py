"""Intervals and limits from the profile likelihood, in which one parameter is held and the others are maximised over.

If the likelihood is skewed because there are few rows, so are these intervals, and the interval of a parameter at the
edge of its range ends there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import ndtri

from mixpipe.assess.intervals import Intervals, check_level
from mixpipe.fitting.contract import Demands
from mixpipe.fitting.engine import engine_for
from mixpipe.model.cells import Cells
from mixpipe.model.families import FAMILIES
from mixpipe.model.results import FitResult

# Precision of the ends of an interval, as a fraction of their distance from the estimate.
_PRECISION = 1e-4
# Number of doublings of the distance from the estimate after which the likelihood counts as flat.
_MAX_DOUBLINGS = 60


class _Profile:
    """The decrease of the log-likelihood from a fit when one parameter is held and the others are maximised over."""

    def __init__(self, cells: Cells, fit: FitResult) -> None:
        self.maxima = engine_for(Demands.of(cells, fit.mixture)).held(cells, fit)
        self.mixture = fit.mixture

    def root(self, part: str, component: int) -> Callable[[float], float]:
        """The square root of twice the decrease, as a function of the value at which the parameter is held."""
        near: Any = None

        def value(held_at: float) -> float:
            nonlocal near
            # Climb both from the fit and from the last maximum, since either may lead to a lower maximum.
            starts = (None,) if near is None else (None, near)
            found = [self.maxima.climb(part, component, held_at, start) for start in starts]
            loglik, near = max(found, key=lambda pair: pair[0])
            return math.sqrt(max(2.0 * (self.maxima.loglik - loglik), 0.0))

        return value

    def ends(self, part: str, component: int, target: float) -> tuple[float, float]:
        """The values on either side of the estimate at which the root is `target`, or the edges of the range."""
        if not self.is_fitted(part, component):
            return math.nan, math.nan
        if part == "weights":
            if self.mixture.n_components == 1:
                return 1.0, 1.0
            n_data, estimate = self.maxima.n_data, float(self.maxima.weights[component])
            step = target * math.sqrt(max(estimate * (1.0 - estimate), 1.0 / n_data) / n_data)
            lowest, highest = 0.0, 1.0
        else:
            estimate, step, lowest, highest = self.maxima.span(part, component, target)
        root = self.root(part, component)
        return _end(root, estimate, -step, lowest, target), _end(root, estimate, step, highest, target)

    def is_fitted(self, part: str, component: int) -> bool:
        """Whether a component has this parameter and it was fitted, unlike the given range of a background."""
        family = self.mixture.families[component]
        if part == "shapes":
            return FAMILIES[family].shape_name is not None
        return part == "weights" or family != "uniform"


def _end(root: Callable[[float], float], estimate: float, step: float, edge: float, target: float) -> float:
    """The value at which the root reaches the target, found in growing steps from the estimate, or the edge."""
    from scipy.optimize import brentq

    inside = estimate
    for _ in range(_MAX_DOUBLINGS):
        outside = estimate + step
        if (outside - edge) * step >= 0.0:
            outside = edge
        if root(outside) >= target:
            precision = _PRECISION * abs(outside - estimate)
            return float(brentq(lambda value: root(value) - target, inside, outside, xtol=precision))
        if outside == edge:
            return edge
        inside, step = outside, 2.0 * step
    return math.copysign(math.inf, step)


def profile_intervals(cells: Cells, fit: FitResult, level: float = 0.68) -> Intervals:
    """Likelihood-ratio intervals of all parameters.

    An interval contains the values at which twice the log-likelihood, maximised over all other parameters, is below its
    maximum by less than the quantile of chi-squared with one degree of freedom. It ends at a weight of 0 or 1, or at a
    sigma of 0 (or the floor), if these are not excluded. It ends at infinity if the likelihood never falls so far, as
    for the mean of a component whose weight may be zero. If components are not Gaussian, rows are limits or the sample
    is truncated, many rows are represented by the points of a sketch, as in `mixpipe.assess.bootstrap.bootstrap`.

    Parameters
    ----------
    cells : Cells
        The data that were fitted.
    fit : FitResult
        Their fit.
    level : float
        Probability of the interval.

    Returns
    -------
    Intervals
        Intervals in the order of the components of `fit`.

    Raises
    ------
    ValueError
        For a fit with equal sigmas, or a level that is not between 0 and 1.

    Examples
    --------
    >>> from mixpipe.fitting.choose import fit_mixture
    >>> cells = Cells.from_rows([1.0, 2.0, 4.0, 7.0, 11.0], err=0.5)
    >>> profile_intervals(cells, fit_mixture(cells)).means.ravel().round(2)
    array([3.3, 6.7])
    """
    target = check_level(level)
    profile = _Profile(cells, fit)
    return Intervals(
        *(
            np.array([profile.ends(part, j, target) for j in range(fit.n_components)]).T
            for part in ("weights", "means", "sigmas", "shapes")
        )
    )


def sigma_upper_limit(cells: Cells, fit: FitResult, component: int, level: float = 0.95) -> float:
    """One-sided upper limit of a sigma, for components whose best sigma is zero or indistinguishable from it.

    The limit is the sigma above the estimate at which twice the log-likelihood, maximised over all other parameters,
    has fallen by the square of the normal quantile of `level` (2.706 for 95 %). The statistic of a parameter at its
    boundary is zero half of the time and chi-squared with one degree of freedom otherwise (Self & Liang 1987), so that
    the limit holds with probability `level` if the sigma is resolved, and with a higher probability if it is not.

    Parameters
    ----------
    cells : Cells
        The data that were fitted.
    fit : FitResult
        Their fit.
    component : int
        Index of the component, counted from 0.
    level : float
        Probability that the true sigma is below the limit; at least 0.5.

    Returns
    -------
    float
        The limit, in the unit of the data.

    Raises
    ------
    ValueError
        As for `profile_intervals`, and for a component that the fit does not have or a level below 0.5.

    Examples
    --------
    >>> from mixpipe.fitting.choose import fit_mixture
    >>> cells = Cells.from_rows([1.0, 1.1, 0.9, 1.05, 0.95], err=0.1)
    >>> fit = fit_mixture(cells)
    >>> fit.mixture.sigmas, round(sigma_upper_limit(cells, fit, 0), 2)
    (array([0.]), 0.11)
    """
    if not 0.5 <= level < 1.0:
        raise ValueError(f"level must be at least 0.5 and below 1, found {level}")
    if not 0 <= component < fit.n_components:
        raise ValueError(f"component must be 0 to {fit.n_components - 1}, found {component}")
    profile = _Profile(cells, fit)
    return profile.ends("sigmas", component, float(ndtri(level)))[1]
