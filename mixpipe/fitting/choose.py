"""The public functions: fit a mixture with a given number of components, and choose that number."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from mixpipe.fitting.contract import Demands, Fits, Problem, StreamFits
from mixpipe.fitting.doubts import doubts_about, with_doubts
from mixpipe.fitting.engine import engine_for
from mixpipe.fitting.gaussian.em import EM_STEPS
from mixpipe.model.cells import Cells
from mixpipe.model.criteria import CRITERIA
from mixpipe.model.inputs import as_cells, check_count, finished
from mixpipe.model.joint.inputs import has_columns
from mixpipe.model.results import FitResult, Selection
from mixpipe.model.rows import Rows


def fit_mixture(
    x: Any,
    err: Any = None,
    n_components: int | None = None,
    *,
    weights: Any = None,
    weight_kind: str = "auto",
    error_model: str | None = None,
    error_dof: float | None = None,
    limits: Any = None,
    truncated: tuple[float, float] | None = None,
    family: str = "gaussian",
    background: str | tuple[float, float] | None = None,
    start: Any = None,
    algorithm: str = "newton",
    equal_sigmas: bool = False,
    sigma_floor: Any = None,
    n_threads: int | None = None,
    cov: Any = None,
    structure: str = "full",
    projections: Any = None,
) -> FitResult:
    """Fit a mixture to values with per-row errors by maximum likelihood.

    Parameters
    ----------
    x : array_like, shape (n_data,), or Cells
        Values. For several columns jointly: an array of shape (n_data, n_dims), a pandas.DataFrame, an
        astropy.table.Table or `JointCells`, with nan where a value is missing; the result is a `JointFit`.
    err : array_like, shape (n_data,) or (2, n_data), float or None
        One-sigma errors in the unit of `x`; a scalar means equal errors, None no errors. Two rows are the lower and the
        upper errors, as for error bars of Matplotlib. For several columns of shape (n_data, n_dims), or columns in the
        order of those of `x`.
    n_components : int
        Number of components, M; it has to be given, unless it is that of `start`.
    weights : array_like, shape (n_data,), or None
        Row weights.
    weight_kind : str
        ``counts``, ``importance`` or ``auto``; see `mixpipe.model.cells.Cells.from_rows`.
    error_model : str or None
        ``two_sided``, the default for lower and upper errors, ``symmetric``, or ``student_t``; see
        `mixpipe.model.cells.Cells.from_rows`.
    error_dof : float or None
        Degrees of freedom of the errors, for ``student_t`` only.
    limits : array_like of int, shape (n_data,), or None
        -1 where `x` is an upper limit, 1 where it is a lower limit, 0 where it is a value.
    truncated : tuple of (float, float) or None
        Bounds between which an observed value had to lie to enter the sample; infinite on an open side.
    family : str
        Family of the components, one of `mixpipe.model.families.FAMILIES`.
    background : tuple of (float, float), "uniform" or None
        Range of a uniform component, which counts as one of the components; ``"uniform"`` means the range of the
        values.
    start : Mixture, JointMixture or None
        Climb from this mixture instead of searching for the global maximum. Its families and the ranges of its uniform
        components are kept.
    algorithm : str
        ``newton``, or plain EM from `start` with the M-step ``exact``, ``fixed_point`` or ``xd``. Plain EM and
        `equal_sigmas` require Gaussian components and values without limits.
    equal_sigmas : bool
        Give all components the same width.
    sigma_floor : float or None
        Lower bound on the sigmas, in the unit of `x`; one for each column or for all if there are several. By default,
        that of `mixpipe.model.resolution.find_resolution`, which is 0 if every error is larger than the grain of the
        values.
    n_threads : int or None
        Number of threads; all cores by default. The result does not depend on it.
    cov : array_like, shape (n_data, n_dims, n_dims), or None
        Covariances of the errors of several columns, instead of `err`.
    structure : str
        Of the intrinsic covariances of several columns: ``full``, ``diagonal``, ``spherical``, or ``equal`` for full
        ones that are the same for all components.
    projections : array_like, shape (n_data, n_values, n_dims), or None
        The matrix that projects the true values of each row onto the `n_values` values in `x`; by default, the columns
        themselves were observed.

    Returns
    -------
    FitResult
        A `mixpipe.model.joint.results.JointFit` for several columns.

    Raises
    ------
    TypeError
        Without a number of components.
    ValueError
        For values that are not finite, negative errors, or options that contradict each other.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.special import ndtri
    >>> quantiles = ndtri((np.arange(500) + 0.5) / 500)  # of a standard normal
    >>> x = np.concatenate([quantiles, 9.0 + quantiles])
    >>> fit_mixture(x, 0.6, n_components=2).mixture
    Mixture(weights=[0.5 0.5], means=[0. 9.], sigmas=[0.798 0.798])
    """
    if n_components is None:
        if start is None:
            raise TypeError("fit_mixture needs n_components, a number of components; choose_n_components chooses it")
        n_components = start.n_components
    n_components = check_count("n_components", n_components)
    if has_columns(x):
        _check_joint(
            limits=limits,
            truncated=truncated,
            background=background,
            family=family,
            algorithm=algorithm,
            equal_sigmas=equal_sigmas,
            error_model=error_model,
            error_dof=error_dof,
        )
        from mixpipe.fitting.joint.choose import fit_columns

        return fit_columns(
            x,
            err,
            cov,
            n_components,
            weights=weights,
            weight_kind=weight_kind,
            sigma_floor=sigma_floor,
            projections=projections,
            structure=structure,
            start=start,
            n_threads=n_threads,
        )
    _check_single(cov, structure, projections)
    cells = as_cells(x, err, weights, limits, truncated, weight_kind, error_model, error_dof)
    cells = with_floor(cells, sigma_floor)
    problem = Problem(cells, family, _range_of(background, cells), equal_sigmas, n_threads)
    demands = problem.demands if start is None else Demands.of(cells, start)
    engine = engine_for(demands)
    if algorithm != "newton" and (algorithm not in engine.algorithms or start is None or equal_sigmas):
        raise ValueError(
            f"algorithm {algorithm!r}: expected 'newton', or one of {', '.join(EM_STEPS)} with a start and without "
            f"equal_sigmas, for Gaussian components of values without limits"
        )
    if start is None:
        return finished(x, cells, engine.fits(problem, n_components, last=1).results()[-1])
    if start.n_components != n_components:
        raise ValueError(f"start has {start.n_components} components, n_components is {n_components}")
    if family not in ("gaussian", *start.families):
        raise ValueError(
            f"family {family!r} with a start of {', '.join(dict.fromkeys(start.families))}: expected the same"
        )
    return finished(x, cells, engine.climb(problem, start, algorithm))


def choose_n_components(
    x: Any,
    err: Any = None,
    *,
    weights: Any = None,
    weight_kind: str = "auto",
    error_model: str | None = None,
    error_dof: float | None = None,
    limits: Any = None,
    truncated: tuple[float, float] | None = None,
    families: Sequence[str] = ("gaussian",),
    background: str | tuple[float, float] | None = None,
    max_components: int = 10,
    criterion: str = "bic",
    sigma_floor: Any = None,
    n_threads: int | None = None,
    progress: Callable[[int], None] | None = None,
    cov: Any = None,
    structure: str = "full",
    projections: Any = None,
) -> Selection:
    """Fit 1, 2, ... components and choose their number by an information criterion.

    Parameters
    ----------
    x, err, weights, weight_kind, error_model, error_dof, limits, truncated, background
        As in `fit_mixture`.
    sigma_floor, n_threads, cov, structure, projections
        As in `fit_mixture`.
    families : sequence of str
        Families among which to choose; all components of a mixture are of the same family. The criterion compares all
        fits, and with a background also those without it.
    max_components : int
        Largest number of components to try.
    criterion : str
        ``bic``, ``aic`` or ``icl``.
    progress : callable or None
        Called with the number of components whenever a fit has been found.

    Returns
    -------
    Selection

    Raises
    ------
    ValueError
        As `fit_mixture`, and for an unknown criterion.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.concatenate([np.linspace(-1, 1, 50) ** 3, 8 + np.linspace(-1, 1, 50) ** 3])
    >>> choose_n_components(x, 0.2, max_components=3).best.n_components
    2
    """
    max_components = check_count("max_components", max_components)
    if criterion not in CRITERIA:
        raise ValueError(f"unknown criterion {criterion!r}: expected one of {', '.join(CRITERIA)}")
    if not families:
        raise ValueError("families: expected at least one")
    if has_columns(x):
        _check_joint(
            limits=limits,
            truncated=truncated,
            background=background,
            family=next(iter(families)) if len(families) == 1 else tuple(families),
            error_model=error_model,
            error_dof=error_dof,
        )
        from mixpipe.fitting.joint.choose import choose_columns

        return choose_columns(
            x,
            err,
            cov,
            max_components,
            weights=weights,
            weight_kind=weight_kind,
            sigma_floor=sigma_floor,
            projections=projections,
            structure=structure,
            criterion=criterion,
            n_threads=n_threads,
            progress=progress,
        )
    _check_single(cov, structure, projections)
    cells = as_cells(x, err, weights, limits, truncated, weight_kind, error_model, error_dof)
    cells = with_floor(cells, sigma_floor)
    fits: list[FitResult] = []
    certified: Fits | None = None
    # Fits without the background show whether it is needed.
    backgrounds = (None,) if background is None else (None, _range_of(background, cells))
    for family, beside in product(dict.fromkeys(families), backgrounds):
        problem = Problem(cells, family, beside, n_threads=n_threads)
        family_fits = engine_for(problem.demands).fits(problem, max_components, criterion=criterion, progress=progress)
        fits += family_fits.results()
        if family_fits.sketch is not None or not math.isnan(family_fits.loglik_bound):
            certified = family_fits
    return finished(x, cells, select(fits, certified, criterion, max_components))


# Options of one column, and their values where they ask for nothing.
_OF_ONE_COLUMN = {
    "limits": None,
    "truncated": None,
    "background": None,
    "family": "gaussian",
    "algorithm": "newton",
    "equal_sigmas": False,
    "error_model": None,
    "error_dof": None,
}


def _check_joint(**options: Any) -> None:
    """Refuse options that several columns do not have."""
    for name, value in options.items():
        default = _OF_ONE_COLUMN[name]
        if value is not default and not (isinstance(value, str) and value == default):
            instead = "; use structure='equal'" if name == "equal_sigmas" else ""
            raise ValueError(f"{name} is for one column, but x has several; expected {default!r}{instead}")


def _check_single(cov: Any, structure: str, projections: Any) -> None:
    """Refuse options of several columns for one."""
    for name, is_given in (
        ("cov", cov is not None),
        ("structure", structure != "full"),
        ("projections", projections is not None),
    ):
        if is_given:
            raise ValueError(f"{name} is for several columns, but x has one; expected x of shape (n_data, n_dims)")


def choose_from_rows(
    rows: Rows,
    *,
    max_components: int = 10,
    n_components: int | None = None,
    criterion: str = "bic",
    sigma_floor: float | None = None,
    exact: bool = True,
    progress: Callable[[int], None] | None = None,
) -> tuple[Selection, StreamFits]:
    """Choose the number of Gaussian components for rows that need not fit into memory.

    Parameters
    ----------
    rows : Rows
        The data: more than a few thousand rows.
    max_components, criterion, sigma_floor, progress
        As in `choose_n_components`.
    n_components : int or None
        Fit this number of components only.
    exact : bool
        Whether to finish the fits on the rows; otherwise all results are those of a sketch, and a warning says so.

    Returns
    -------
    Selection, StreamFits
        The selection, and the fits with what is known of the sketch.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.special import ndtri
    >>> quantiles = ndtri((np.arange(20_000) + 0.5) / 20_000)  # of a standard normal
    >>> x = np.concatenate([quantiles, 9.0 + quantiles])
    >>> selection, found = choose_from_rows(Rows.of(Cells.from_rows(x, 0.6)), max_components=3)
    >>> selection.best.n_components, found.sketch.n_points < 1000
    (2, True)
    """
    size = check_count("max_components", max_components if n_components is None else n_components)
    stream_fits = engine_for(Demands()).fits_of_rows(
        rows,
        size,
        last=0 if n_components is None else 1,
        sigma_floor=sigma_floor,
        criterion=criterion,
        exact=exact,
        progress=progress,
    )
    fits = stream_fits.results()
    if n_components is not None:
        return Selection((fits[-1],), criterion), stream_fits
    return select(fits, stream_fits, criterion, max_components), stream_fits


def with_fit(selection: Selection, fit: FitResult, max_components: int, found: Fits | None = None) -> Selection:
    """Replace the fit of the same size and families in a selection by a better one, and choose again.

    Parameters
    ----------
    selection : Selection
        Result of `choose_n_components` or `choose_from_rows`.
    fit : FitResult
        The better fit.
    max_components : int
        Largest number of components that was tried.
    found : Fits or None
        The fits that `choose_from_rows` returned.
    """
    doubts = doubts_about(selection, found, max_components)
    bare = replace(selection.best, warnings=tuple(text for text in selection.best.warnings if text not in doubts))
    fits = [bare if other is selection.best else other for other in selection.fits]
    kind = (fit.n_components, fit.mixture.family)
    fits = [fit if (other.n_components, other.mixture.family) == kind else other for other in fits]
    return with_doubts(replace(selection, fits=tuple(fits)), found, max_components)


def select(fits: list[FitResult], engine_fits: Fits | None, criterion: str, max_components: int) -> Selection:
    """The selection, with warnings on its best fit about reasons to doubt the choice."""
    bounds = (math.nan, math.nan) if engine_fits is None else (engine_fits.loglik_bound, engine_fits.bound_sigma)
    return with_doubts(Selection(tuple(fits), criterion, *bounds), engine_fits, max_components)


def _range_of(background: str | tuple[float, float] | None, cells: Cells) -> tuple[float, float] | None:
    """The range of a background, which is that of the values if it is given as 'uniform'."""
    if not isinstance(background, str):
        return background
    if background != "uniform":
        raise ValueError(f"background {background!r}: expected 'uniform' or two bounds")
    return float(cells.x.min()), float(cells.x.max())


def with_floor(cells: Cells, sigma_floor: float | None) -> Cells:
    """The cells with the lower bound on the sigmas that the user requested, if any.

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
