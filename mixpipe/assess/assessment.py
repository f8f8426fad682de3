"""Diagnostics of the chosen fit: quality with p-values, intervals, and the test of one more component."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from mixpipe.assess.bootstrap import bootstrap
from mixpipe.assess.effort import Effort
from mixpipe.assess.empirical import share_inside
from mixpipe.assess.intervals import Intervals
from mixpipe.assess.profile import Profile, worth_in_rows
from mixpipe.assess.quality import REJECTED, Quality, assess, describe_distance
from mixpipe.assess.simulation import LikelihoodRatio, likelihood_ratio_test, quality_pvalues
from mixpipe.base.arrays import Array, describe_decades
from mixpipe.base.presentation import chance
from mixpipe.fitting.contract import Problem
from mixpipe.model.cells import Cells
from mixpipe.model.constraints import Constraints
from mixpipe.model.covariance import agreeing, parameter_uncertainties
from mixpipe.model.families import FAMILIES
from mixpipe.model.noise import Samples
from mixpipe.model.regimes import FEW_ROWS, FINISHED_ROWS, PROFILED_ROWS
from mixpipe.model.results import FitResult

if TYPE_CHECKING:
    import pandas as pd

LEVELS = (0.68, 0.95)
_PARAMETERS = (("weight", "weights"), ("mean", "means"), ("sigma", "sigmas"), ("shape", "shapes"))
# Methods of the intervals, the preferred first: the profile allows for few rows.
_METHODS = ("profile", "bootstrap", "information")
# Errors are unlike if their medians differ by this factor and their mean logarithms by this many standard errors, in
# components with enough rows.
_UNLIKE, _BEYOND_CHANCE, _ENOUGH_ROWS = 1.3, 4.0, 10.0
_SCRAMBLE = np.int64(0x1E3779B97F4A7C15)
# A sigma within this many uncertainties of zero has an upper limit.
_NEAR_ZERO = 2.0
# A sample that is less than this fraction of the population says little about the rest.
_SMALL_SHARE = 0.2


@dataclass(frozen=True, eq=False)
class Assessment:
    """A fit with its diagnostics.

    Parameters
    ----------
    fit : FitResult
        The fit, with bootstrap uncertainties if they were requested, and with warnings about its quality.
    quality : Quality
        Distances between data and mixture.
    interval_rows : tuple of dict
        The rows of the table `intervals`.
    sigma_upper : ndarray, shape (n_components,)
        95 % upper limit of each sigma on the boundary or within two uncertainties of zero; nan for the others.
    worth : ndarray, shape (n_components,)
        Number of rows on which each component rests; see `mixpipe.assess.profile.worth_in_rows`.
    likelihood_ratio : LikelihoodRatio or None
        The test against one more component.
    """

    fit: FitResult
    quality: Quality
    interval_rows: tuple[dict[str, object], ...]
    sigma_upper: Array = field(default_factory=lambda: np.empty(0))
    worth: Array = field(default_factory=lambda: np.empty(0))
    likelihood_ratio: LikelihoodRatio | None = None

    @property
    def intervals(self) -> pd.DataFrame:
        """Intervals as a table with columns method, component, parameter, estimate, level, lower, upper, preferred."""
        import pandas as pd

        return pd.DataFrame(list(self.interval_rows))


def assess_fit(
    cells: Cells,
    fit: FitResult,
    effort: Effort,
    n_threads: int | None = None,
    *,
    quality: Quality | None = None,
    sample: Cells | None = None,
    with_limits: bool = True,
) -> Assessment:
    """Compute the diagnostics of a fit that `effort` requests.

    Parameters
    ----------
    cells : Cells
        The data that were fitted, or points that represent them.
    fit : FitResult
        The fit to these data.
    effort : Effort
        The diagnostics to compute.
    n_threads : int or None
        Number of threads; all cores by default. The result does not depend on it.
    quality : Quality or None
        The quality, if `cells` are points for rows that are not in memory; see `mixpipe.assess.pass_quality`. No
        catalogs are then simulated.
    sample : Cells or None
        Some of these rows.
    with_limits : bool
        Whether the cells stand for all rows, so that upper limits of sigmas can be computed from them.

    Examples
    --------
    >>> from mixpipe.fitting.choose import fit_mixture
    >>> cells = Cells.from_rows([1.0, 1.2, 0.7, 1.1, 0.9], err=0.5)
    >>> found = assess_fit(cells, fit_mixture(cells, n_components=1), Effort(quality_draws=99))
    >>> found.fit.boundary, found.sigma_upper.round(2)
    (array([ True]), array([0.75]))
    """
    in_memory = quality is None
    if quality is None:
        quality = _quality(cells, fit, effort, n_threads)
    parts = list(
        _rows(
            "information",
            fit,
            [Intervals.from_uncertainties(fit.mixture, fit.uncertainties, level) for level in LEVELS],
        )
    )
    upper = np.full(fit.n_components, np.nan)
    movable = np.array([name != "uniform" for name in fit.mixture.families])
    ratio = None
    warnings = [*fit.warnings, *_beyond_bounds(cells, fit)]
    warnings += _rejection(quality, effort.quality_draws, cells)
    warnings += _unlike_errors(cells if sample is None else sample, fit)
    with np.errstate(invalid="ignore"):
        near_zero = fit.boundary | (fit.mixture.sigmas < _NEAR_ZERO * fit.uncertainties.sigmas)
    # For many rows, only the profiles would need it, and are not computed.
    worth = worth_in_rows(cells, fit) if len(cells) <= PROFILED_ROWS else fit.mixture.weights * fit.n_data
    few = bool(np.any(worth[movable] < FEW_ROWS)) and len(cells) <= PROFILED_ROWS
    is_profiled = effort.profile is True or (effort.profile == "auto" and few)
    limited = np.flatnonzero(near_zero & movable)
    if limited.size and not with_limits:
        names = ", ".join(str(j + 1) for j in limited)
        warnings.append(
            f"no upper limit of the sigma of component {names}: rows of this kind are not held in memory and have no "
            "sketch that stands for them; `where` can select fewer rows"
        )
    elif limited.size or is_profiled:
        profile = Profile(cells, fit)
        for j in limited:
            upper[j] = profile.upper_limit(int(j))
        if is_profiled:
            parts += _rows("profile", fit, [profile.intervals(level) for level in LEVELS])
    if effort.bootstrap:
        draws = bootstrap(cells, fit, effort.bootstrap, effort.seed, n_threads=n_threads)
        parts += _rows("bootstrap", fit, [draws.intervals(level) for level in LEVELS])
        unc = draws.uncertainties()
        unc = replace(unc, sigmas=np.where(fit.boundary, np.nan, unc.sigmas))
        covariance = agreeing(draws.covariance(), parameter_uncertainties(fit.mixture, unc))
        fit = replace(fit, uncertainties=unc, covariance=covariance)
        if draws.n_unconverged:
            warnings.append(f"{draws.n_unconverged} of {effort.bootstrap} bootstrap draws did not converge")
    simulable = not isinstance(cells.noise, Samples)
    if effort.likelihood_ratio and not simulable:
        warnings.append("no likelihood_ratio: catalogs cannot be simulated from samples of posteriors")
    elif effort.likelihood_ratio and not in_memory:
        warnings.append("no likelihood_ratio: it simulates catalogs, which takes too long for so many rows")
    elif effort.likelihood_ratio:
        problem = problem_of(cells, fit)
        ratio = likelihood_ratio_test(
            cells,
            fit.n_components,
            family=problem.family,
            background=problem.background,
            constraints=problem.constraints,
            mixed=problem.mixed,
            n_draws=effort.likelihood_ratio,
            seed=effort.seed,
            n_threads=n_threads,
        )
        if ratio.p_value <= REJECTED:
            warnings.append(
                "one component more is better than chance allows: "
                f"likelihood-ratio test p {chance(ratio.p_value, ratio.n_draws)}"
            )
    best = next(name for name in _METHODS if any(row["method"] == name for row in parts))
    rows = tuple({**row, "preferred": row["method"] == best} for row in parts)
    return Assessment(replace(fit, warnings=tuple(warnings)), quality, rows, upper, worth, ratio)


def _quality(cells: Cells, fit: FitResult, effort: Effort, n_threads: int | None) -> Quality:
    """Statistics, which need large arrays, and their p-values, which need small ones, computed concurrently."""
    if isinstance(cells.noise, Samples):
        return Quality(math.nan, math.nan, math.nan)
    with ThreadPoolExecutor(1) as pool:
        quality = pool.submit(assess, fit.mixture, cells)
        if not effort.quality_draws:
            return quality.result()
        ks, ad = quality_pvalues(
            fit, cells, effort.quality_draws, effort.seed, observed=quality.result, n_threads=n_threads
        )
        return replace(quality.result(), ks_pvalue=ks, ad_pvalue=ad)


def problem_of(cells: Cells, fit: FitResult) -> Problem:
    """The problem of which a fit is a solution: families, constraints, and the background if there is one."""
    mixture = fit.mixture
    slots = Constraints.of(mixture.families, mixture.constraints)
    known = [slot.family for slot in slots.slots]
    others = [name for name in mixture.families if name != "uniform" and name not in known]
    families = tuple(dict.fromkeys(others or [name for name in mixture.families if name != "uniform"]))
    background = None
    for j, name in enumerate(mixture.families):
        if name == "uniform" and mixture.constraints[j].is_free:
            half = math.sqrt(3.0) * mixture.sigmas[j]
            background = float(mixture.means[j] - half), float(mixture.means[j] + half)
    return Problem(cells, families[0], background, slots, families if len(families) > 1 else ())


def _beyond_bounds(cells: Cells, fit: FitResult) -> Iterator[str]:
    """Warnings about the part of the population that the window of a sample does not show."""
    window = cells.window
    if window is None:
        return
    share = share_inside(fit.mixture, cells)
    if share < _SMALL_SHARE:
        lies = "lies between the bounds" if window.is_interval else "is seen"
        yield f"only {100.0 * share:.2g} % of the fitted population {lies}: the rest is extrapolated"
    outside = [j for j, mean in enumerate(fit.mixture.means) if not window.may_see(mean)]
    if outside:
        names = ", ".join(str(j + 1) for j in outside)
        yield f"beyond the bounds of the sample: the mean of component {names}, seen by its tail alone"


def _unlike_errors(cells: Cells, fit: FitResult) -> Iterator[str]:
    """A warning if errors differ between components, although the likelihood takes them as independent of the values.

    The difference of the mean logarithms of the errors has to be clear, beyond chance, and one of the medians, too.
    """
    known = cells.err > 0.0
    if fit.n_components == 1 or not known.any() or cells.edges is not None:
        return
    rows = cells[known]
    if len(rows) > FINISHED_ROWS:
        # Some rows suffice for medians; which ones, their contents say, and not their order.
        scrambled = (rows.x.view(np.int64) * _SCRAMBLE) >> 32 & 0xFFFF
        rows = rows[scrambled < 0x10000 * FINISHED_ROWS // len(rows)]
    shares = fit.mixture.responsibilities(rows.x, rows.errors, rows.limits).T * rows.weights
    log_err = np.log(rows.err)
    n_rows = np.maximum(shares.sum(axis=1), np.finfo(np.float64).tiny)
    mean = shares @ log_err / n_rows
    variance = (shares @ log_err**2 / n_rows - mean**2) / n_rows
    order = np.argsort(rows.err)
    below = np.cumsum(shares[:, order], axis=1)
    medians = rows.err[order][[int(np.searchsorted(each, 0.5 * each[-1])) for each in below]]
    usable = np.flatnonzero(n_rows >= _ENOUGH_ROWS)
    if usable.size < 2:
        return
    low, high = usable[np.argmin(medians[usable])], usable[np.argmax(medians[usable])]
    beyond = mean[high] - mean[low] > _BEYOND_CHANCE * math.sqrt(max(variance[high] + variance[low], 0.0))
    if medians[high] > _UNLIKE * medians[low] and beyond:
        yield (
            f"errors differ between components: their median is {medians[low]:.2g} in component {low + 1} and "
            f"{medians[high]:.2g} in component {high + 1}, but the fit takes errors as independent of the values: "
            "check the weights with a cut in the error"
        )


def _rejection(quality: Quality, n_draws: int, cells: Cells) -> Iterator[str]:
    """A warning that the mixture does not describe the data, with advice."""
    name, value = min(
        ("Kolmogorov-Smirnov", quality.ks_pvalue), ("Anderson-Darling", quality.ad_pvalue), key=lambda entry: entry[1]
    )
    if quality.verdict == "rejected":
        yield (
            f"the mixture does not describe the data ({name} p {chance(value, n_draws)}; "
            f"{describe_distance(quality.ks, quality.verdict)}): try more components, other families, a background, or "
            "a floor for errors that are too small"
            + (f", or transform log10: {decades}" if (decades := describe_decades(cells.x)) else "")
        )


def _rows(method: str, fit: FitResult, intervals: list[Intervals]) -> Iterator[dict[str, object]]:
    """One row for each component, parameter and level; shapes are included only if a family has one."""
    for j in range(fit.n_components):
        for parameter, part in _PARAMETERS:
            if parameter == "shape" and FAMILIES[fit.mixture.families[j]].shape_name is None:
                continue
            for level, ends in zip(LEVELS, intervals, strict=True):
                low, high = getattr(ends, part)[:, j]
                yield {
                    "method": method,
                    "component": j + 1,
                    "parameter": parameter,
                    "estimate": getattr(fit.mixture, part)[j],
                    "level": level,
                    "lower": low,
                    "upper": high,
                }
