"""Intervals and limits from the profile likelihood, in which one parameter is held and the others are maximised over.

If the likelihood is skewed because there are few rows, so are these intervals, and the interval of a parameter at the
edge of its range ends there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from scipy.special import chdtri, ndtr, ndtri, stdtrit

from mixpipe.assess.intervals import Intervals, check_level
from mixpipe.assess.roots import bracketed_root
from mixpipe.fitting.contract import Demands
from mixpipe.fitting.engine import engine_for
from mixpipe.model.cells import Cells
from mixpipe.model.families import FAMILIES
from mixpipe.model.results import Array, FitResult

# Precision of the ends of an interval, as a fraction of their distance from the estimate.
_PRECISION = 1e-4
# Number of doublings of the distance from the estimate after which the likelihood counts as flat.
_MAX_DOUBLINGS = 60
# Components that rest on more rows are treated as if they rested on infinitely many, and those on fewer as on three.
_MANY, _FEWEST = 1e5, 3.0


class Profile:
    """The decrease of the log-likelihood from a fit when one parameter is held and the others are maximised over.

    The parameters are those of `profile_intervals`.
    """

    def __init__(self, cells: Cells, fit: FitResult, calibrated: bool = True) -> None:
        self.maxima = engine_for(Demands.of_fit(cells, fit)).held(cells, fit)
        self.mixture = fit.mixture
        self.worth = worth_in_rows(cells, fit) if calibrated else np.full(fit.n_components, math.inf)

    def root(self, part: str, component: int) -> Callable[[float], float]:
        """The square root of twice the decrease, as a function of the value at which the parameter is held."""
        near: Any = None

        # A search for an end evaluates the same value again, and has to find the same root, whatever came between.
        @cache
        def value(held_at: float) -> float:
            nonlocal near
            # Climb both from the fit and from the last maximum, since either may lead to a lower maximum.
            starts = (None,) if near is None else (None, near)
            found = [self.maxima.climb(part, component, held_at, start) for start in starts]
            loglik, near = max(found, key=lambda pair: pair[0])
            return math.sqrt(max(2.0 * (self.maxima.loglik - loglik), 0.0))

        return value

    def ends(self, part: str, component: int, tail: float) -> tuple[float, float]:
        """The values below and above the estimate beyond which the true one lies with the probability `tail` each.

        They are the edges of the range if these are not excluded.
        """
        if not self.is_fitted(part, component):
            return math.nan, math.nan
        below, above = root_targets(part, float(self.worth[component]), tail)
        if part == "weights":
            rules = self.mixture.constraints
            fitted = [not rule.is_given("weights") for rule in rules]
            rest = 1.0 - float(np.sum(self.maxima.weights[~np.array(fitted)]))
            # Weights that are tied move together.
            tie = rules[component].tie("weights")
            ties = [rule.tie("weights") for rule in rules]
            group = [own for own in ties if own and tie and own[0] == tie[0]]
            share = 1.0 if tie is None else tie[1] / sum(ratio for _, ratio in group)
            if sum(fitted) == max(len(group), 1):
                return rest * share, rest * share
            n_data, estimate = self.maxima.n_data, float(self.maxima.weights[component])
            step = below * math.sqrt(max(estimate * (1.0 - estimate), 1.0 / n_data) / n_data)
            lowest, highest = 0.0, rest * share
        else:
            estimate, step, lowest, highest = self.maxima.span(part, component, max(below, above))
        root = self.root(part, component)
        return _end(root, estimate, -step, lowest, below), _end(root, estimate, step, highest, above)

    def intervals(self, level: float) -> Intervals:
        """The intervals of all parameters; see `profile_intervals`."""
        tail = float(ndtr(-check_level(level)))
        return Intervals(
            *(
                np.array([self.ends(part, j, tail) for j in range(self.mixture.n_components)]).T
                for part in ("weights", "means", "sigmas", "shapes")
            )
        )

    def upper_limit(self, component: int, level: float = 0.95) -> float:
        """The upper limit of a sigma; see `sigma_upper_limit`."""
        return self.ends("sigmas", component, 1.0 - level)[1]

    def is_fitted(self, part: str, component: int) -> bool:
        """Whether a component has this parameter and it was fitted, unlike the given range of a background."""
        family = self.mixture.families[component]
        if self.mixture.constraints[component].is_given(part):
            return False
        if part == "shapes":
            return FAMILIES[family].shape_name is not None
        return part == "weights" or family != "uniform"


def worth_in_rows(cells: Cells, fit: FitResult) -> Array:
    """Number of rows of a single Gaussian component without errors that would determine each sigma as well.

    This is ``T^4 / (2 sigma^2 u^2)``, where u is the uncertainty of sigma and T the width with which the component is
    observed, ``T^2 = sigma^2 + <err^2>`` with the mean over its rows; but at most the number of its rows, w N, which is
    also taken if u is unknown.

    Examples
    --------
    >>> from mixpipe.fitting.choose import fit_mixture
    >>> cells = Cells.from_rows([1.0, 2.0, 4.0, 7.0, 11.0], err=0.5)
    >>> worth_in_rows(cells, fit_mixture(cells, n_components=1)).round(2)
    array([5.])
    """
    mixture = fit.mixture
    n_rows = np.maximum(mixture.weights * fit.n_data, 0.0)
    worth = n_rows
    if set(mixture.families) == {"gaussian"}:
        shares = mixture.responsibilities(cells.x, cells.errors).T * cells.weights
        squared = mixture.sigmas**2 + shares @ cells.err**2 / np.maximum(shares.sum(axis=1), np.finfo(np.float64).tiny)
        with np.errstate(divide="ignore", invalid="ignore"):
            worth = squared**2 / (2.0 * (mixture.sigmas * fit.uncertainties.sigmas) ** 2)
    return np.where(worth < n_rows, worth, n_rows)


def root_targets(part: str, n_rows: float, tail: float) -> tuple[float, float]:
    """Roots at the lower and upper end of an interval, beyond each of which the truth lies with the probability `tail`.

    For many rows these are normal quantiles. For the mean and sigma of a component that rests on n rows they are those
    of a single Gaussian without errors, for which they are exact: with a quantile t of Student's distribution for
    n - 1 degrees of freedom, the root at the end of the interval of the mean is ``sqrt(n ln(1 + t^2 / (n - 1)))``; with
    a quantile q of chi-squared, that of sigma is ``sqrt(q - n - n ln(q / n))``.

    Examples
    --------
    >>> [round(root, 3) for root in root_targets("means", 10.0, 0.025)]
    [2.122, 2.122]
    >>> [round(root, 3) for root in root_targets("sigmas", 10.0, 0.025)]
    [1.61, 2.407]
    >>> [round(root, 3) for root in root_targets("sigmas", 1e9, 0.025)]
    [1.96, 1.96]
    """
    normal = float(ndtri(1.0 - tail))
    if part not in ("means", "sigmas") or not n_rows < _MANY:
        return normal, normal
    n = max(n_rows, _FEWEST)
    if part == "means":
        root = math.sqrt(n * math.log1p(float(stdtrit(n - 1.0, tail)) ** 2 / (n - 1.0)))
        return root, root
    quantiles = np.array([chdtri(n - 1.0, tail), chdtri(n - 1.0, 1.0 - tail)])
    # A sigma as small as the lower end makes the sum of squares large beside it.
    lower, upper = np.sqrt(np.maximum(quantiles - n - n * np.log(quantiles / n), 0.0)) * np.sign(quantiles - n)
    return max(float(lower), 0.0), max(-float(upper), 0.0)


def _end(root: Callable[[float], float], estimate: float, step: float, edge: float, target: float) -> float:
    """The value at which the root reaches the target, found in growing steps from the estimate, or the edge."""
    if target == 0.0:
        return estimate
    inside = estimate
    for _ in range(_MAX_DOUBLINGS):
        outside = estimate + step
        if (outside - edge) * step >= 0.0:
            outside = edge
        if root(outside) >= target:
            precision = _PRECISION * abs(outside - estimate)
            return bracketed_root(lambda value: root(value) - target, inside, outside, precision)
        if outside == edge:
            return edge
        inside, step = outside, 2.0 * step
    return math.copysign(math.inf, step)


def profile_intervals(cells: Cells, fit: FitResult, level: float = 0.68, *, calibrated: bool = True) -> Intervals:
    """Likelihood-ratio intervals of all parameters.

    An interval contains the values at which twice the log-likelihood, maximised over all other parameters, is below its
    maximum by less than a bound. The bounds are the squares of `root_targets`, which allow for few rows; or, unless
    `calibrated`, the quantile of chi-squared with one degree of freedom, which is their limit for many rows. An
    interval ends at a weight of 0 or 1, or at a sigma of 0 (or the floor), if these are not excluded. It ends at
    infinity if the likelihood never falls so far, as for the mean of a component whose weight may be zero. If
    components are not Gaussian, rows are limits or the sample is truncated, many rows are represented by the points of
    a sketch, as in `mixpipe.assess.bootstrap.bootstrap`.

    Parameters
    ----------
    cells : Cells
        The data that were fitted.
    fit : FitResult
        Their fit.
    level : float
        Probability of the interval.
    calibrated : bool
        Whether to allow for components that rest on few rows.

    Returns
    -------
    Intervals
        Intervals in the order of the components of `fit`.

    Raises
    ------
    ValueError
        For a level that is not between 0 and 1.

    Examples
    --------
    >>> from mixpipe.fitting.choose import fit_mixture
    >>> cells = Cells.from_rows([1.0, 2.0, 4.0, 7.0, 11.0], err=0.5)
    >>> profile_intervals(cells, fit_mixture(cells, n_components=1)).means.ravel().round(2)
    array([2.94, 7.06])
    """
    check_level(level)
    return Profile(cells, fit, calibrated).intervals(level)


def sigma_upper_limit(
    cells: Cells, fit: FitResult, component: int, level: float = 0.95, *, calibrated: bool = True
) -> float:
    """One-sided upper limit of a sigma, for components whose best sigma is zero or indistinguishable from it.

    The limit is the sigma above the estimate at which twice the log-likelihood, maximised over all other parameters,
    has fallen by the square of the normal quantile of `level` (2.706 for 95 %), or by more if the component rests on
    few rows (`root_targets`). The statistic of a parameter at its boundary is zero half of the time and chi-squared
    with one degree of freedom otherwise (Self & Liang 1987), so that the limit holds with probability `level` if the
    sigma is resolved, and with a higher probability if it is not. It is conditional on the number and the families of
    the components and on the stated errors: it is too low if these are too large.

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
    calibrated : bool
        As in `profile_intervals`.

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
    >>> fit = fit_mixture(cells, n_components=1)
    >>> fit.mixture.sigmas, round(sigma_upper_limit(cells, fit, 0), 2)
    (array([0.]), 0.18)
    """
    if not 0.5 <= level < 1.0:
        raise ValueError(f"level must be at least 0.5 and below 1, found {level}")
    if not 0 <= component < fit.n_components:
        raise ValueError(f"component must be 0 to {fit.n_components - 1}, found {component}")
    return Profile(cells, fit, calibrated).upper_limit(component, level)
