"""The public fits: a mixture with a given number of components, and the choice of that number."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

from mixpipe.base.threads import available_threads
from mixpipe.fitting.admissible import location_nats, occam_nats
from mixpipe.fitting.gaussian.em import EM_STEPS, Ascent, ascend, iterate
from mixpipe.fitting.gaussian.fits import SEARCH_ROWS, Found, best_fits, best_fits_of_rows
from mixpipe.fitting.gaussian.likelihood import Likelihood, score_products
from mixpipe.fitting.gaussian.row_likelihood import RowLikelihood
from mixpipe.fitting.gaussian.uncertainty import information_uncertainties
from mixpipe.fitting.general.fit import best_fits as best_general_fits
from mixpipe.fitting.remarks import with_remarks
from mixpipe.model.cells import Cells
from mixpipe.model.criteria import CRITERIA
from mixpipe.model.inputs import as_cells, check_count, finished
from mixpipe.model.mixture import Mixture
from mixpipe.model.resolution import Resolution
from mixpipe.model.results import FitResult, Selection, Uncertainties
from mixpipe.model.rows import Rows

# A criterion that is higher by less than this hardly speaks against a number of components (Kass & Raftery 1995).
_CLOSE_CHOICE = 2.0


def fit_mixture(
    x: Any,
    err: Any = None,
    n_components: int = 1,
    *,
    weights: Any = None,
    weight_kind: str = "auto",
    limits: Any = None,
    truncated: tuple[float, float] | None = None,
    family: str = "gaussian",
    background: str | tuple[float, float] | None = None,
    start: Mixture | None = None,
    algorithm: str = "newton",
    equal_sigmas: bool = False,
    sigma_floor: float | None = None,
    n_threads: int | None = None,
) -> FitResult:
    """Maximum-likelihood mixture of values with per-row errors.

    Parameters
    ----------
    x : array_like, shape (n_data,), or Cells
        Values.
    err : array_like, shape (n_data,), float or None
        One-sigma errors in the unit of `x`; a scalar means equal errors, None no errors.
    n_components : int
        Number of components, M.
    weights : array_like, shape (n_data,), or None
        Row weights.
    weight_kind : str
        ``counts``, ``importance`` or ``auto``; see `mixpipe.model.cells.Cells.from_rows`.
    limits : array_like of int, shape (n_data,), or None
        -1 where `x` is an upper limit, 1 where it is a lower limit, 0 where it is a value.
    truncated : tuple of (float, float) or None
        Bounds that observed values had to lie between to be in the sample, infinite on an open side.
    family : str
        Of the components: one of `mixpipe.model.families.FAMILIES`.
    background : tuple of (float, float), "uniform" or None
        Range of a uniform component, which counts as one of the components; ``"uniform"`` is that of the values.
    start : Mixture or None
        Climb from here instead of searching for the global maximum. This and the options below are for Gaussian
        components and values without limits.
    algorithm : str
        ``newton``, or plain EM from `start` with the M-step ``exact``, ``fixed_point`` or ``xd``.
    equal_sigmas : bool
        Give all components one width.
    sigma_floor : float or None
        Lower bound on the sigmas, in the unit of `x`. By default that of `mixpipe.model.resolution.find_resolution`: 0
        where every error is larger than the grain of the values.
    n_threads : int or None
        Threads; all cores by default. The result does not depend on it.

    Returns
    -------
    FitResult

    Raises
    ------
    ValueError
        For values that are not finite, negative errors, or options that contradict each other.

    Examples
    --------
    >>> from scipy.special import ndtri
    >>> quantiles = ndtri((np.arange(500) + 0.5) / 500)  # of a standard normal
    >>> x = np.concatenate([quantiles, 9.0 + quantiles])
    >>> fit_mixture(x, 0.6, n_components=2).mixture
    Mixture(weights=[0.5 0.5], means=[0. 9.], sigmas=[0.798 0.798])
    """
    n_components = check_count("n_components", n_components)
    cells = with_floor(as_cells(x, err, weights, limits, truncated, weight_kind), sigma_floor)
    if not _is_plain(cells, family, background):
        if start is not None or algorithm != "newton" or equal_sigmas:
            raise ValueError("start, algorithm and equal_sigmas are for Gaussian components of values without limits")
        return finished(x, cells, _general(cells, family, n_components, background, n_threads)[-1])
    if algorithm != "newton" and (algorithm not in EM_STEPS or start is None or equal_sigmas):
        raise ValueError(
            f"algorithm {algorithm!r}: expected 'newton', or one of {', '.join(EM_STEPS)} with a start "
            f"and without equal_sigmas"
        )
    if start is None:
        found = _search(cells, n_components, n_threads, equal_sigmas=equal_sigmas)
        return finished(x, cells, _results(found, equal_sigmas)[-1])
    if start.n_components != n_components:
        raise ValueError(f"start has {start.n_components} components, n_components is {n_components}")
    likelihood = Likelihood(cells, n_threads)
    floor = (cells.resolution.floor / likelihood.scale) ** 2
    if algorithm == "newton":
        ascent = ascend(likelihood, likelihood.scaled(start), floor, equal_sigmas=equal_sigmas)
    else:
        ascent = iterate(likelihood, likelihood.scaled(start), floor, algorithm)
    return finished(x, cells, _result(likelihood, ascent, floor, equal_sigmas, cells.resolution))


def choose_n_components(
    x: Any,
    err: Any = None,
    *,
    weights: Any = None,
    weight_kind: str = "auto",
    limits: Any = None,
    truncated: tuple[float, float] | None = None,
    families: Sequence[str] = ("gaussian",),
    background: str | tuple[float, float] | None = None,
    max_components: int = 10,
    criterion: str = "bic",
    sigma_floor: float | None = None,
    n_threads: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Selection:
    """Fit 1, 2, ... components and choose their number by an information criterion.

    Parameters
    ----------
    x, err, weights, weight_kind, limits, truncated, background, sigma_floor, n_threads
        As in `fit_mixture`.
    families : sequence of str
        Families to choose among, all components of a mixture being of one; the criterion compares all fits. With a
        background those without it are among them.
    max_components : int
        Largest number of components to try.
    criterion : str
        ``bic``, ``aic`` or ``icl``.
    progress : callable or None
        Called with a number of components whenever that fit has been found.

    Returns
    -------
    Selection

    Raises
    ------
    ValueError
        As `fit_mixture`, and for an unknown criterion.

    Examples
    --------
    >>> x = np.concatenate([np.linspace(-1, 1, 50) ** 3, 8 + np.linspace(-1, 1, 50) ** 3])
    >>> choose_n_components(x, 0.2, max_components=3).best.n_components
    2
    """
    max_components = check_count("max_components", max_components)
    if criterion not in CRITERIA:
        raise ValueError(f"unknown criterion {criterion!r}: expected one of {', '.join(CRITERIA)}")
    if not families:
        raise ValueError("families: expected at least one")
    cells = with_floor(as_cells(x, err, weights, limits, truncated, weight_kind), sigma_floor)
    fits: list[FitResult] = []
    found = None
    # Fits without the background tell whether it is needed.
    backgrounds = (None,) if background is None else (None, background)
    for family, beside in product(dict.fromkeys(families), backgrounds):
        if not _is_plain(cells, family, beside):
            fits += _general(cells, family, max_components, beside, n_threads, progress)
            continue
        found = _search(cells, max_components, n_threads, choosing=True, criterion=criterion, progress=progress)
        fits += _results(found)
    return finished(x, cells, _selected(fits, found, criterion, max_components))


def choose_from_rows(
    rows: Rows,
    *,
    max_components: int = 10,
    n_components: int | None = None,
    criterion: str = "bic",
    sigma_floor: float | None = None,
    exact: bool = True,
    progress: Callable[[int], None] | None = None,
) -> tuple[Selection, Found]:
    """The same for rows that need not fit into memory, with Gaussian components.

    Parameters
    ----------
    rows : Rows
        The data; more than some thousand rows.
    max_components, criterion, sigma_floor, progress
        As in `choose_n_components`.
    n_components : int or None
        Fit this number of components only.
    exact : bool
        Finish the fits on the rows; otherwise all numbers are those of a sketch, and a warning says so.

    Returns
    -------
    Selection, Found
        The fits, and with them what is known of the sketch.

    Examples
    --------
    >>> from scipy.special import ndtri
    >>> quantiles = ndtri((np.arange(20_000) + 0.5) / 20_000)  # of a standard normal
    >>> x = np.concatenate([quantiles, 9.0 + quantiles])
    >>> selection, found = choose_from_rows(Rows.of(Cells.from_rows(x, 0.6)), max_components=3)
    >>> selection.best.n_components, found.sketch.n_points < 1000
    (2, True)
    """
    found = best_fits_of_rows(
        rows,
        sigma_floor,
        check_count("max_components", max_components if n_components is None else n_components),
        only_largest=n_components is not None,
        criterion=criterion,
        exact=exact,
        progress=progress,
    )
    fits = _results(found)
    if n_components is not None:
        return Selection((fits[-1],), criterion), found
    return _selected(fits, found, criterion, max_components), found


def climb_rows(rows: Rows, found: Found, start: Mixture) -> FitResult:
    """The maximum over the rows that a start leads to, near a maximum over the points of their sketch.

    Parameters
    ----------
    rows : Rows
        As in `choose_from_rows`.
    found : Found
        What it found, from a sketch.
    start : Mixture
        Where to climb from.
    """
    if found.survey is None:
        raise ValueError("the fits were not found on a sketch")
    likelihood = RowLikelihood(rows, found.likelihood, found.survey)
    ascent = ascend(likelihood, found.likelihood.scaled(start), found.floor, n_em=0)
    found.likelihood.count_passes(likelihood.n_passes)
    return _result(found.likelihood, ascent, found.floor, False, found.resolution)


def with_fit(selection: Selection, fit: FitResult, max_components: int, found: Found | None = None) -> Selection:
    """The selection with a better fit in the place of the one of its size and families, and the choice judged anew.

    Parameters
    ----------
    selection : Selection
        Of `choose_n_components` or `choose_from_rows`.
    fit : FitResult
        The better one.
    max_components : int
        Largest number of components that was tried.
    found : Found or None
        What `choose_from_rows` found.
    """
    doubts = _doubts(selection, found, max_components)
    bare = replace(selection.best, warnings=tuple(text for text in selection.best.warnings if text not in doubts))
    fits = [bare if each is selection.best else each for each in selection.fits]
    kind = (fit.n_components, fit.mixture.family)
    fits = [fit if (each.n_components, each.mixture.family) == kind else each for each in fits]
    return _judged(replace(selection, fits=tuple(fits)), found, max_components)


def _search(
    cells: Cells,
    max_components: int,
    n_threads: int | None,
    *,
    choosing: bool = False,
    criterion: str = "bic",
    equal_sigmas: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Found:
    """The best fits with Gaussian components."""
    if len(cells) <= SEARCH_ROWS:
        likelihood = Likelihood(cells, n_threads)
        return best_fits(
            cells,
            likelihood,
            max_components,
            equal_sigmas=equal_sigmas,
            criterion=criterion,
            certified=choosing,
            progress=progress,
        )
    return best_fits_of_rows(
        Rows.of(cells, n_threads),
        cells.resolution.floor if cells.resolution.cause == "given" else None,
        max_components,
        equal_sigmas=equal_sigmas,
        only_largest=not choosing,
        criterion=criterion,
        progress=progress,
    )


def _results(found: Found, equal_sigmas: bool = False) -> list[FitResult]:
    """All fits, those that are maxima over the points of a sketch alone marked as such."""
    return [
        _result(found.likelihood, ascent, found.floor, equal_sigmas, found.resolution, slope, exact)
        for ascent, slope, exact in zip(found.ascents, found.certificate.gradient_max, found.finished, strict=True)
    ]


def _selected(fits: list[FitResult], found: Found | None, criterion: str, max_components: int) -> Selection:
    """The selection, its best fit with what speaks against it."""
    bounds = (math.nan, math.nan)
    if found is not None:
        bounds = (found.certificate.loglik_bound, found.certificate.bound_sigma)
    return _judged(Selection(tuple(fits), criterion, *bounds), found, max_components)


def _judged(selection: Selection, found: Found | None, max_components: int) -> Selection:
    best, doubts = selection.best, _doubts(selection, found, max_components)
    fits = tuple(replace(fit, warnings=fit.warnings + doubts) if fit is best else fit for fit in selection.fits)
    return replace(selection, fits=fits)


def _is_plain(cells: Cells, family: str, background: str | tuple[float, float] | None) -> bool:
    """Whether the fast likelihood serves: Gaussian components, and values only."""
    return cells.are_values and family == "gaussian" and background is None


def _general(
    cells: Cells,
    family: str,
    max_components: int,
    background: str | tuple[float, float] | None,
    n_threads: int | None,
    progress: Callable[[int], None] | None = None,
) -> list[FitResult]:
    if isinstance(background, str):
        if background != "uniform":
            raise ValueError(f"background {background!r}: expected 'uniform' or two bounds")
        background = float(cells.x.min()), float(cells.x.max())
    return best_general_fits(
        cells,
        family,
        max_components,
        background=background,
        n_threads=n_threads or available_threads(),
        progress=progress,
    )


def _doubts(selection: Selection, found: Found | None, max_components: int) -> tuple[str, ...]:
    """What speaks against the choice of the number of components."""
    best, criterion = selection.best, selection.criterion
    doubts = []
    for fit in selection.fits:
        above = selection.judged(fit) - selection.judged(best)
        if fit is not best and above < _CLOSE_CHOICE and best.n_data >= fit.n_params:
            family = f" of family {fit.mixture.family}" if fit.mixture.family != best.mixture.family else ""
            doubts.append(f"{criterion.upper()} of {fit.n_components} components{family} is only {above:.2g} higher")
    if best.n_components == max_components > 1:
        doubts.append(f"the choice is the largest number tried: raise max_components above {best.n_components}")
    if found is not None and found.sketch is not None and not found.sketch.resolved:
        doubts.append(f"the narrowest component is not resolved: a sketch finer than {found.sketch.base:.3g} is wanted")
    if found is not None and not found.finished[best.n_components - 1]:
        doubts.append("parameters and log-likelihood are those of a sketch of the rows")
    return tuple(doubts)


def with_floor(cells: Cells, sigma_floor: float | None) -> Cells:
    """The cells with a lower bound on the sigmas that was asked for, if one was.

    Raises
    ------
    ValueError
        For a bound that is negative, not finite, or zero where the error of a value is zero.
    """
    if sigma_floor is None:
        return cells
    exact = (cells.err == 0.0) & (cells.weights > 0.0) & (True if cells.limits is None else cells.limits == 0)
    if not (
        math.isfinite(sigma_floor)
        and sigma_floor >= 0.0
        and (sigma_floor > 0.0 or cells.edges is not None or not exact.any())
    ):
        raise ValueError(f"sigma_floor must be finite and >= 0, and > 0 where an error is zero, found {sigma_floor}")
    return replace(cells, resolution=replace(cells.resolution, floor=float(sigma_floor), cause="given"))


def _result(
    likelihood: Likelihood,
    ascent: Ascent,
    floor: float,
    equal_sigmas: bool,
    resolution: Resolution,
    gradient_max: float = math.nan,
    exact: bool = True,
) -> FitResult:
    """The fit in the units of the data, with entropy, uncertainties and warnings."""
    params = ascent.params
    size = params.n_components
    # In the order that the mixture has, which rounding of far means may change.
    order = np.lexsort(
        (likelihood.scale * np.sqrt(params.variances), likelihood.centre + likelihood.scale * params.means)
    )
    boundary = params.variances <= floor * (1.0 + 1e-9)
    entropy = likelihood.logpdf(params)[2] if ascent.entropy is None else ascent.entropy
    if ascent.hessian is None or equal_sigmas:
        uncertainties = Uncertainties.unknown(size)
    else:
        products = ascent.products
        if likelihood.weight_kind == "importance":
            products = score_products(likelihood.squared().component_sums(params), params)
        uncertainties = information_uncertainties(likelihood, params, ascent.hessian, boundary, products)
    rows, total_var = likelihood.effective_rows(params)
    fit = FitResult(
        mixture=likelihood.mixture(params),
        estimator="em",
        loglik=float(ascent.loglik),
        entropy=entropy,
        n_data=likelihood.n_data,
        n_params=2 * size if equal_sigmas else 3 * size - 1,
        converged=ascent.converged,
        remaining_gain=float(ascent.remaining_gain),
        n_passes=likelihood.n_passes,
        sigma_floor=resolution.floor,
        gradient_max=gradient_max,
        exact=exact,
        boundary=boundary[order],
        uncertainties=Uncertainties(
            uncertainties.weights[order], uncertainties.means[order], uncertainties.sigmas[order]
        ),
        resolution=resolution,
        effective_rows=rows[order],
        occam=occam_nats(rows, total_var, likelihood.spread, likelihood.n_data)
        + location_nats(params.weights, rows, total_var, likelihood.spread, likelihood.grain),
    )
    extent = likelihood.scale * float(np.ptp(likelihood.x))
    return with_remarks(fit, extent, has_errors=bool(likelihood.var.any()))
