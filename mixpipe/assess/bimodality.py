"""Evidence for two populations rather than one: what is usually reported of a fit with two components."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from mixpipe.assess.kernels.dip import dip
from mixpipe.assess.simulation import LikelihoodRatio, likelihood_ratio_test, p_value
from mixpipe.base.arrays import Array
from mixpipe.fitting.choose import fit_mixture
from mixpipe.model.bimodality import DIP_DRAWS, Bimodality
from mixpipe.model.cells import Cells
from mixpipe.model.inputs import cells_of_fit
from mixpipe.model.mixture import Mixture
from mixpipe.model.noise import Samples
from mixpipe.model.results import FitResult, Selection

# Families whose `mean` and `sigma` are the mean and the standard deviation of two populations.
_WITH_MOMENTS = ("gaussian", "laplace", "exponential", "skew_normal", "lognormal")
# The most values that a uniform sample for the p-value of the dip has. For more values, the distribution of sqrt(n)
# times the dip is taken as that for so many, whose quantiles are 1 % below the limit.
_MOST_VALUES = 2000
# Dips that differ by less are equal.
_SAME_DIP = 1e-9


def bimodality(
    fit: FitResult | Selection,
    x: Any,
    err: Any = None,
    weights: Any = None,
    *,
    n_draws: int = 0,
    seed: int = 1,
    n_threads: int | None = None,
) -> Bimodality:
    """Evidence for two populations rather than one.

    Parameters
    ----------
    fit : FitResult or Selection
        A fit with two components, or a selection that has one.
    x, err, weights
        The data that were fitted, as for `mixpipe.fit_mixture`; limits and bounds are passed in `Cells`.
    n_draws : int
        Number of simulated catalogs for the p-value of the likelihood ratio; nan without any. Each of them is searched
        for the best fits with one and with two components.
    seed : int
        Seed of the random streams.
    n_threads : int or None
        Threads; all cores by default. The result does not depend on it.

    Returns
    -------
    Bimodality

    Raises
    ------
    ValueError
        If there is no fit with two components, a background not counted.

    Examples
    --------
    >>> import mixpipe
    >>> x = np.concatenate([np.linspace(-1, 1, 50) ** 3, 8 + np.linspace(-1, 1, 50) ** 3])
    >>> found = bimodality(mixpipe.fit_mixture(x, 0.2, n_components=2), x, 0.2)
    >>> found.separation > 10.0, found.dip_pvalue, found.kurtosis < -1.5
    (True, 0.001, True)
    """
    selection = fit if isinstance(fit, Selection) else Selection((fit,))
    if not isinstance(selection.best.mixture, Mixture):
        raise ValueError("the fit is of several columns; expected a fit of one column")
    cells = cells_of_fit(selection.best, x, err, weights)
    found = bimodality_of(selection, cells, n_draws=n_draws, seed=seed, n_threads=n_threads)
    if found is None:
        sizes = ", ".join(str(one.n_components) for one in selection.fits)
        raise ValueError(f"fit has {sizes} components; expected a fit with 2 components, none of them a background")
    return found


def bimodality_of(
    selection: Selection,
    cells: Cells,
    *,
    sample: Cells | None = None,
    n_draws: int = 0,
    tested: LikelihoodRatio | None = None,
    seed: int = 1,
    n_threads: int | None = None,
) -> Bimodality | None:
    """Evidence for two populations, of the best fit with two components in a selection; None if there is no such fit.

    Parameters
    ----------
    selection : Selection
        The fits. Where something is given of the components or shared by them, the likelihood ratio is that of the
        selection, if it has a fit with one component.
    cells : Cells
        The data.
    sample : Cells or None
        Some of the rows, if `cells` are points for rows that are not in memory. A fit with one component is then not
        made if the selection has none.
    n_draws, seed, n_threads
        As in `bimodality`.
    tested : LikelihoodRatio or None
        The test of one component against two, if it is known.
    """
    pairs = [
        fit
        for fit in selection.fits
        if fit.n_components == 2 and not {"uniform", "power_law"} & set(fit.mixture.families)
    ]
    if not pairs:
        return None
    two = min(pairs, key=selection.judged)
    family = two.mixture.families[0]
    one = next((fit for fit in selection.fits if fit.mixture.families == (family,)), None)
    # One component is no special case of two of which something else is known.
    free = not two.mixture.is_constrained
    if isinstance(cells.noise, Samples):
        n_draws = 0
    if one is None and sample is None and free:
        one = fit_mixture(cells, n_components=1, family=family, n_threads=n_threads)
    # The test is for components of one family.
    if tested is None and n_draws and free and len(set(two.mixture.families)) == 1:
        tested = likelihood_ratio_test(cells, 1, family=family, n_draws=n_draws, seed=seed, n_threads=n_threads)
    values = cells.as_values() if sample is None else sample
    dip, dip_pvalue = dip_test(values, seed)
    return Bimodality(
        selection.best.n_components,
        family,
        *separation(two),
        math.nan if one is None else 2.0 * (two.loglik - one.loglik),
        math.nan if tested is None else tested.p_value,
        0 if tested is None else tested.n_draws,
        dip,
        dip_pvalue,
        kurtosis(values),
        intrinsic_kurtosis(two.mixture),
        int(np.count_nonzero(values.weights > 0.0)),
    )


def separation(fit: FitResult) -> tuple[float, float]:
    """Ashman's D of a fit with two components, and its uncertainty to first order in the covariance of the fit.

    Both are nan for families without a standard deviation or with a background.
    """
    mixture = fit.mixture
    if not set(mixture.families) <= set(_WITH_MOMENTS):
        return math.nan, math.nan
    (first, second), sigmas = mixture.means, mixture.sigmas
    width = float(np.hypot(*sigmas))
    if width == 0.0:
        return math.inf, math.nan
    value = math.sqrt(2.0) * abs(float(second - first)) / width
    by_mean = math.copysign(math.sqrt(2.0) / width, second - first)
    slopes = np.array([-by_mean, by_mean, *(-value * (sigmas / width) / width)])
    places = [fit.parameter_names.index(name) for name in ("mean_1", "mean_2", "sigma_1", "sigma_2")]
    # What is given has no variance. That of a sigma of zero is unknown, but not needed.
    parts = [("means", 0), ("means", 1), ("sigmas", 0), ("sigmas", 1)]
    slopes[[mixture.constraints[j].is_given(part) for part, j in parts]] = 0.0
    used = np.flatnonzero(slopes)
    covariance = fit.covariance[np.ix_(places, places)][np.ix_(used, used)]
    with np.errstate(invalid="ignore"):
        variance = float(slopes[used] @ covariance @ slopes[used])
    return value, math.sqrt(max(variance, 0.0))


def dip_test(cells: Cells, seed: int = 1) -> tuple[float, float]:
    """Hartigan's dip of the values, and its p-value from samples of a uniform distribution (Hartigan & Hartigan 1985).

    Both are nan for limits and bins, whose values are not known. With row weights, the distribution function is
    weighted, and the samples are as large as the effective number of rows.
    """
    if not _known(cells):
        return math.nan, math.nan
    x, inverse = np.unique(cells.x, return_inverse=True)
    weights = np.bincount(inverse.ravel(), cells.weights).astype(np.float64)
    observed = _dip(x[weights > 0.0], weights[weights > 0.0])
    n_rows = max(round(cells.n_data), 1)
    size = min(n_rows, _MOST_VALUES)
    return observed, p_value((observed - _SAME_DIP) * math.sqrt(n_rows / size), _uniform_dips(size, seed))


# Columns of a catalog often have equally many values.
@lru_cache(maxsize=16)
def _uniform_dips(size: int, seed: int) -> Array:
    """The dips of samples of a uniform distribution."""
    rng = np.random.default_rng(seed)
    ones = np.ones(size)
    # Sums of exponential variables are distributed like sorted uniform values, up to a factor.
    return np.array([_dip(np.cumsum(rng.standard_exponential(size)), ones) for _ in range(DIP_DRAWS)])


def _known(cells: Cells) -> bool:
    """Whether the cells are values rather than limits or bins."""
    return cells.limits is None and cells.edges is None


def _dip(x: Array, weights: Array) -> float:
    """The dip of increasing values with weights."""
    total = np.cumsum(weights)
    high = total / total[-1]
    return float(dip(x, np.append(0.0, high[:-1]), high))


def kurtosis(cells: Cells) -> float:
    """Excess kurtosis of the values; nan for limits and bins, and if all values are equal."""
    if not _known(cells):
        return math.nan
    x = cells.x[cells.weights > 0.0]
    if np.ptp(x) == 0.0:
        return math.nan
    share = cells.weights / cells.weights.sum()
    offsets = cells.x - share @ cells.x
    squares = (offsets / _unit(offsets)) ** 2
    return _excess(float(share @ squares), float(share @ squares**2))


def intrinsic_kurtosis(mixture: Mixture) -> float:
    """Excess kurtosis of the true values of a Gaussian mixture; nan for other families."""
    if not mixture.is_gaussian:
        return math.nan
    weights = mixture.weights
    offsets = mixture.means - weights @ mixture.means
    unit = _unit(np.append(offsets, mixture.sigmas))
    squares, variances = (offsets / unit) ** 2, (mixture.sigmas / unit) ** 2
    second = weights @ (squares + variances)
    fourth = weights @ (squares**2 + 6.0 * squares * variances + 3.0 * variances**2)
    return _excess(float(second), float(fourth))


def _unit(lengths: Array) -> float:
    """The largest length, in units of which powers neither overflow nor vanish; one if all are zero."""
    return float(np.max(np.abs(lengths))) or 1.0


def _excess(second: float, fourth: float) -> float:
    """Excess kurtosis from the second and the fourth central moment."""
    return fourth / second**2 - 3.0 if second > 0.0 else math.nan
