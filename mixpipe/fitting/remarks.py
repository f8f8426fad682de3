"""Warnings that the reader of any maximum-likelihood fit needs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mixpipe.fitting.admissible import MIN_ROWS
from mixpipe.fitting.gains import CONVERGED_GAIN
from mixpipe.model.results import FitResult

# A component that contains fewer rows than this is named in a warning.
_FEW_ROWS = 3.0
# Repeated rows have little effect if they are less than this fraction of all rows.
_REPEATED_SHARE = 0.05
# The floor is mentioned if some sigma is smaller than this many times the floor.
_NEAR_FLOOR = 2.0


def with_remarks(fit: FitResult, extent: float, *, has_errors: bool, counted: bool = True) -> FitResult:
    """The fit with warnings about convergence, the floor, components on few rows, and undetermined parameters.

    Parameters
    ----------
    fit : FitResult
        A fit.
    extent : float
        Range of the data.
    has_errors : bool
        Whether any row has an error, in which case the reader does not expect a floor due to rounding.
    counted : bool
        Whether the weights are shares of the rows; for a truncated sample they are shares of the population.
    """
    return replace(fit, warnings=(*fit.warnings, *_remarks(fit, extent, has_errors, counted)))


def _remarks(fit: FitResult, extent: float, has_errors: bool, counted: bool) -> Iterator[str]:
    # A fit that did not converge because there is no maximum has a separate warning.
    if not fit.converged and not fit.remaining_gain < CONVERGED_GAIN:
        yield f"not converged: {fit.remaining_gain:.2g} nats remain (converged: {CONVERGED_GAIN:g})"
    if fit.sigma_floor > 0.0 and fit.boundary.any():
        yield f"{int(fit.boundary.sum())} of {fit.n_components} sigmas at the floor of {fit.sigma_floor:.4g}"
    own = [name != "uniform" for name in fit.mixture.families]
    rounded = has_errors and fit.resolution.cause == "grid"
    if fit.sigma_floor > 0.0 and (rounded or np.any(fit.mixture.sigmas[own] < _NEAR_FLOOR * fit.sigma_floor)):
        yield fit.resolution.note()
    if fit.resolution.n_repeated > _REPEATED_SHARE * fit.n_data:
        yield (
            f"{fit.resolution.n_repeated:,.6g} rows repeat another row exactly: rows that are not independent, or were "
            "rounded in ways of their own, make BIC find too many populations"
        )
    if fit.n_data < fit.n_params:
        yield f"{fit.n_params} parameters for {fit.n_data:g} rows"
    few = fit.mixture.weights * fit.n_data < _FEW_ROWS
    if counted and few.any():
        yield f"fewer than {_FEW_ROWS:g} rows in component {_names(few)}"
    # Components that contain few rows have been named already.
    narrow = (fit.effective_rows < MIN_ROWS) & ~few
    if narrow.any() and fit.n_data >= _FEW_ROWS:
        numbers = ", ".join(f"{rows:.2g}" for rows in fit.effective_rows[narrow])
        yield f"mean and sigma of component {_names(narrow)} rest on {numbers} effective rows: the most precise alone"
    same = np.isclose(fit.mixture.means[1:], fit.mixture.means[:-1], rtol=1e-9, atol=1e-9 * extent) & np.isclose(
        fit.mixture.sigmas[1:], fit.mixture.sigmas[:-1], rtol=1e-6, atol=1e-9 * extent
    )
    if same.any() and extent > 0.0:
        names = _names(np.append(same, False) | np.append(False, same))
        yield f"components {names} coincide: more of them gain nothing"
    for name, uncertain in (("mean", fit.uncertainties.means), ("sigma", fit.uncertainties.sigmas)):
        with np.errstate(invalid="ignore"):
            open_ended = uncertain > extent
        if extent > 0.0 and open_ended.any():
            yield f"the {name} of component {_names(open_ended)} is uncertain by more than the range of the data"


def _names(chosen: NDArray[np.bool_]) -> str:
    """Numbers of components, counted from one."""
    return ", ".join(str(j + 1) for j in np.flatnonzero(chosen))
