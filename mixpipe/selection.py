"""The public fits: a mixture with a given number of components, and the choice of that number."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from mixpipe.engine import best_fits
from mixpipe.estimators.em import CONVERGED_GAIN, EM_STEPS, Ascent, ascend, iterate
from mixpipe.likelihood import Likelihood
from mixpipe.model import CRITERIA, Array, Cells, FitResult, Mixture, Selection, Uncertainties
from mixpipe.uncertainty import information_uncertainties

# A criterion that is higher by less than this hardly speaks against a number of components (Kass & Raftery 1995).
_CLOSE_CHOICE = 2.0
# A component that holds fewer rows than this is named in the warnings.
_FEW_ROWS = 3.0


def as_cells(x: Any, err: Any = None, weights: Any = None) -> Cells:
    """Cells from what users hold: arrays, pandas series, Astropy columns or quantities, or cells.

    Errors that carry a unit are converted to the unit of the values.

    Raises
    ------
    ValueError
        For cells together with `err` or `weights`, missing values, or a unit on the errors alone.
    """
    if isinstance(x, Cells):
        if err is not None or weights is not None:
            raise ValueError("cells carry their own errors and weights: err and weights must be None")
        return x
    unit = _unit(x)
    if unit is None and _unit(err) is not None:
        raise ValueError(f"err has the unit {_unit(err)} but x has none")
    return Cells.from_rows(
        _plain(x), None if err is None else _plain(err, unit), None if weights is None else _plain(weights)
    )


def _unit(values: Any) -> Any:
    """The Astropy unit that values carry; attributes of pandas series may be labels of their rows."""
    return None if hasattr(values, "iloc") else getattr(values, "unit", None)


def _plain(values: Any, unit: Any = None) -> Array:
    """A float64 array, converted to `unit` if the values carry one; masked values become nan, which `Cells` refuses."""
    if hasattr(values, "iloc"):
        return np.asarray(values.to_numpy(dtype=np.float64, na_value=np.nan))
    array = np.array(getattr(values, "unmasked", values), dtype=np.float64)
    if unit is not None and _unit(values) is not None:
        array *= _unit(values).to(unit)
    mask = getattr(values, "mask", None)
    if mask is not None:
        array[np.broadcast_to(mask, array.shape)] = np.nan
    return array


def fit_mixture(
    x: Any,
    err: Any = None,
    n_components: int = 1,
    *,
    weights: Any = None,
    start: Mixture | None = None,
    algorithm: str = "newton",
    equal_sigmas: bool = False,
    sigma_floor: float | None = None,
    n_threads: int | None = None,
) -> FitResult:
    """Maximum-likelihood Gaussian mixture of values with per-row errors.

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
    start : Mixture or None
        Climb from here instead of searching for the global maximum.
    algorithm : str
        ``newton``, or plain EM from `start` with the M-step ``exact``, ``fixed_point`` or ``xd``.
    equal_sigmas : bool
        Give all components one width.
    sigma_floor : float or None
        Lower bound on the sigmas, in the unit of `x`. By default 0 where every error is positive, and
        `mixpipe.model.resolution` of the rows without error otherwise.
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
    n_components = _check_count("n_components", n_components)
    cells, likelihood, floor = _prepare(x, err, weights, sigma_floor, n_threads)
    if algorithm != "newton" and (algorithm not in EM_STEPS or start is None or equal_sigmas):
        raise ValueError(
            f"algorithm {algorithm!r}: expected 'newton', or one of {', '.join(EM_STEPS)} with a start "
            f"and without equal_sigmas"
        )
    if start is None:
        ascent = best_fits(cells, likelihood, floor, n_components, equal_sigmas=equal_sigmas).ascents[-1]
    elif start.n_components != n_components:
        raise ValueError(f"start has {start.n_components} components, n_components is {n_components}")
    elif algorithm == "newton":
        ascent = ascend(likelihood, likelihood.scaled(start), floor, equal_sigmas=equal_sigmas)
    else:
        ascent = iterate(likelihood, likelihood.scaled(start), floor, algorithm)
    return _result(likelihood, ascent, floor, equal_sigmas)


def choose_n_components(
    x: Any,
    err: Any = None,
    *,
    weights: Any = None,
    max_components: int = 10,
    criterion: str = "bic",
    sigma_floor: float | None = None,
    n_threads: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Selection:
    """Fit 1, 2, ... components and choose their number by an information criterion.

    Parameters
    ----------
    x, err, weights, sigma_floor, n_threads
        As in `fit_mixture`.
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
    max_components = _check_count("max_components", max_components)
    if criterion not in CRITERIA:
        raise ValueError(f"unknown criterion {criterion!r}: expected one of {', '.join(CRITERIA)}")
    cells, likelihood, floor = _prepare(x, err, weights, sigma_floor, n_threads)
    found = best_fits(cells, likelihood, floor, max_components, criterion=criterion, certified=True, progress=progress)
    certificate = found.certificate
    fits = tuple(
        _result(likelihood, ascent, floor, False, slope)
        for ascent, slope in zip(found.ascents, certificate.gradient_max, strict=True)
    )
    selection = Selection(fits, criterion, certificate.loglik_bound, certificate.bound_sigma)
    doubts = _doubts(selection)
    fits = tuple(replace(fit, warnings=fit.warnings + doubts) if fit is selection.best else fit for fit in fits)
    return Selection(fits, criterion, certificate.loglik_bound, certificate.bound_sigma)


def _doubts(selection: Selection) -> tuple[str, ...]:
    """What speaks against the choice of the number of components."""
    best, criterion = selection.best, selection.criterion
    doubts = []
    for fit in selection.fits:
        above = getattr(fit, criterion) - getattr(best, criterion)
        if fit is not best and above < _CLOSE_CHOICE and best.n_data >= fit.n_params:
            doubts.append(f"{criterion.upper()} of {fit.n_components} components is only {above:.2g} higher")
    if best.n_components == len(selection.fits) > 1:
        doubts.append(f"the choice is the largest number tried: raise max_components above {best.n_components}")
    return tuple(doubts)


def _check_count(name: str, value: Any) -> int:
    try:
        count = int(value)
    except (TypeError, ValueError):
        count = 0
    if isinstance(value, bool) or count != value or count < 1:
        raise ValueError(f"{name} must be a whole number >= 1, found {value!r}")
    return count


def _prepare(
    x: Any, err: Any, weights: Any, sigma_floor: float | None, n_threads: int | None
) -> tuple[Cells, Likelihood, float]:
    """Cells, their likelihood, and the lower bound on the variances in its scaled units."""
    cells = as_cells(x, err, weights)
    if sigma_floor is None:
        sigma_floor = cells.resolution
    elif not (
        np.isfinite(sigma_floor) and sigma_floor >= 0 and (sigma_floor > 0 or cells.err[cells.weights > 0].min() > 0)
    ):
        raise ValueError(f"sigma_floor must be finite and >= 0, and > 0 where an error is zero, found {sigma_floor}")
    likelihood = Likelihood(cells, n_threads)
    return cells, likelihood, (sigma_floor / likelihood.scale) ** 2


def _result(
    likelihood: Likelihood, ascent: Ascent, floor: float, equal_sigmas: bool, gradient_max: float = math.nan
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
        uncertainties = information_uncertainties(likelihood, params, ascent.hessian, boundary)
    sigma_floor = float(np.sqrt(floor)) * likelihood.scale
    warnings = []
    if not ascent.converged:
        warnings.append(f"not converged: {ascent.remaining_gain:.2g} nats remain (converged: {CONVERGED_GAIN:g})")
    if sigma_floor > 0 and boundary.any():
        warnings.append(
            f"{int(boundary.sum())} of {size} sigmas at the floor of {sigma_floor:.4g}, "
            f"the smallest width that values without errors resolve"
        )
    n_params = 2 * size if equal_sigmas else 3 * size - 1
    if likelihood.n_data < n_params:
        warnings.append(f"{n_params} parameters for {likelihood.n_data:g} rows")
    few = np.flatnonzero(params.weights[order] * likelihood.n_data < _FEW_ROWS)
    if few.size:
        warnings.append(f"fewer than {_FEW_ROWS:g} rows in component {', '.join(str(j + 1) for j in few)}")
    return FitResult(
        mixture=likelihood.mixture(params),
        estimator="em",
        loglik=float(ascent.loglik),
        entropy=entropy,
        n_data=likelihood.n_data,
        n_params=n_params,
        converged=ascent.converged,
        remaining_gain=float(ascent.remaining_gain),
        n_passes=likelihood.n_passes,
        sigma_floor=sigma_floor,
        gradient_max=gradient_max,
        boundary=boundary[order],
        uncertainties=Uncertainties(
            uncertainties.weights[order], uncertainties.means[order], uncertainties.sigmas[order]
        ),
        warnings=tuple(warnings),
    )
