"""Conversion of what users pass in to cells and counts, with checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from mixpipe.base.arrays import Array
from mixpipe.model.cell_blocks import CellBlocks
from mixpipe.model.cells import Cells
from mixpipe.model.noise import Noise, noise_of
from mixpipe.model.results import FitResult, Selection

Result = TypeVar("Result", FitResult, Selection)


def as_cells(
    x: Any,
    err: Any = None,
    weights: Any = None,
    limits: Any = None,
    truncated: Any = None,
    weight_kind: str = "auto",
    error_model: str | None = None,
    error_dof: float | None = None,
    memberships: Array | None = None,
    labels: tuple[str, ...] = (),
    detection: Any = None,
) -> Cells:
    """Convert what users pass in to cells: arrays, pandas series, Astropy columns or quantities, or cells.

    Errors that carry a unit are converted to the unit of the values.

    Raises
    ------
    ValueError
        For cells combined with any other argument, missing values, a unit on the errors but not on the values, errors
        whose unit cannot be converted to that of the values, errors without a unit beside a Quantity, or pandas series
        with the same labels in a different order.
    """
    if isinstance(x, Cells):
        others = (err, weights, limits, truncated, error_model, error_dof, memberships, detection)
        if any(given is not None for given in others) or weight_kind != "auto":
            raise ValueError("cells carry their own errors, weights, limits and bounds: these must be None")
        return x.with_data()
    unit = unit_of(x)
    return Cells.from_rows(
        plain(x),
        _plain_errors(x, err, weights),
        None if weights is None else plain(weights),
        limits=limits,
        truncated=_plain_bounds(truncated, unit),
        detection=_plain_detection(detection, unit),
        weight_kind=weight_kind,
        error_model=error_model,
        error_dof=error_dof,
        memberships=memberships,
        labels=labels,
    )


def _plain_errors(x: Any, err: Any, weights: Any = None) -> Array | None:
    """The errors of values as an array in the unit of the values; the errors are those of `as_cells`."""
    sides = err if _are_sides(err) else [err]
    for name, given in (*(("err", side) for side in sides), ("weights", weights)):
        if hasattr(x, "iloc") and hasattr(given, "iloc") and _is_reordered(x.index, given.index):
            raise ValueError(
                f"x and {name} are series with the same labels in another order, but values are paired by position; "
                "expected rows in the order of one table"
            )
    unit = unit_of(x)
    for side in sides:
        if unit is None and unit_of(side) is not None:
            raise ValueError(f"err has the unit {unit_of(side)} but x has none")
    if _is_quantity(x) and err is not None and any(unit_of(side) is None for side in sides):
        raise ValueError(f"x is in {unit} but err has no unit; expected errors with a unit, such as err * x.unit")
    if err is None:
        return None
    return np.stack([plain(side, unit) for side in sides]) if _are_sides(err) else plain(err, unit)


def as_measured(
    x: Any, err: Any, unit: Any = None, error_model: str = "", error_dof: float | None = None, error_scale: float = 1.0
) -> tuple[Array, Array | Noise]:
    """Values and errors for the functions of a mixture, as a fit has taken its own.

    Parameters
    ----------
    x, err
        What users pass in, as in `as_cells`.
    unit : unit or None
        Unit of the fit, to which values with another one are converted.
    error_model, error_dof, error_scale
        As in `mixpipe.model.results.FitResult`.

    Raises
    ------
    ValueError
        For missing values, and as `as_cells`.
    """
    values, errors = plain(x), _plain_errors(x, err)
    missing = np.flatnonzero(np.isnan(values))
    if missing.size:
        raise ValueError(f"x has {missing.size} missing values, the first at index {missing[0]}; expected numbers")
    missing = np.flatnonzero(np.isnan(0.0 if errors is None else errors))
    if missing.size:
        raise ValueError(f"err has {missing.size} missing values, the first at index {missing[0]}; expected numbers")
    if errors is None:
        errors = np.zeros(())
    own = unit_of(x)
    if unit is not None and own is not None and own != unit:
        try:
            factor = own.to(unit)
        except ValueError as error:
            raise ValueError(f"x is in {own}, which cannot be converted to {unit}, the unit of the fit") from error
        values, errors = values * factor, errors * factor
    model = error_model if error_model in ("symmetric", "student_t") else None
    noise = noise_of(errors, values.shape, model, error_dof)
    return values, noise.scaled(error_scale) if isinstance(noise, Noise) else noise * error_scale


def cells_of_fit(fit: FitResult, x: Any, err: Any, weights: Any, **rows: Any) -> Cells:
    """The data that were fitted, in the unit of the fit, with errors as it has taken them.

    What else there is of the rows, limits, truncated and detection, is as in `as_cells`.
    """
    if isinstance(x, Cells):
        return _as_fitted(as_cells(x, err, weights, **rows), fit)
    known = fit.error_model in ("symmetric", "student_t") and err is not None
    cells = as_cells(
        x,
        err,
        weights,
        weight_kind=fit.weight_kind or "auto",
        error_model=fit.error_model if known else None,
        error_dof=fit.error_dof if known else None,
        **rows,
    )
    return _as_fitted(in_unit(cells, x, fit.unit), fit)


def _as_fitted(cells: Cells, fit: FitResult) -> Cells:
    """The cells with the errors, the floor and the intervals of rounded values of a fit."""
    if fit.resolution.cause == "rounding" and cells.edges is None:
        cells = cells.rounded()
    if fit.resolution.cause == "given":
        cells = replace(cells, resolution=cells.resolution.floored(fit.sigma_floor))
    return cells.with_scaled_errors(fit.error_scale)


def without_missing(
    x: Any, err: Any, weights: Any, rows: Mapping[str, Any], bounds: Any = None
) -> tuple[tuple[Any, Any, Any, dict[str, Any], Any], dict[str, int]]:
    """The rows that have a value, an error and a weight.

    Parameters
    ----------
    x, err, weights
        As in `as_cells`.
    rows : mapping of str to array_like or None
        What else there is of each row.
    bounds
        Bounds as `as_cells` takes them, which are numbers or arrays with one for each row.

    Returns
    -------
    (x, err, weights, rows, bounds)
        The same for these rows.
    dropped : dict of str to int
        Numbers of those that were left out, each under the first reason that holds.

    Raises
    ------
    ValueError
        For arrays of another length than the values.

    Examples
    --------
    >>> kept, dropped = without_missing([1.0, np.nan, 3.0], [0.1, 0.1, np.nan], None, {"limits": [0, 0, 1]})
    >>> kept, dropped
    ((array([1.]), array([0.1]), None, {'limits': array([0])}, None), {'missing_value': 1, 'missing_error': 1})
    """
    lacks_value = np.isnan(plain(x))
    used = np.ones(lacks_value.shape, dtype=bool)
    dropped: dict[str, int] = {}
    sides = [plain(side) for side in (err if _are_sides(err) else [0.0 if err is None else err])]
    if sides[0].ndim == 2:
        sides = list(sides[0])
    reasons = {
        "missing_value": [lacks_value],
        "missing_error": [np.isnan(side) for side in sides],
        "missing_weight": [np.isnan(plain(0.0 if weights is None else weights))],
    }
    for reason, parts in reasons.items():
        for lacks in parts:
            _check_length(lacks, used.size)
            if np.any(used & lacks):
                dropped[reason] = dropped.get(reason, 0) + int(np.count_nonzero(used & lacks))
                used &= ~lacks
    if not dropped:
        return (x, err, weights, dict(rows), bounds), {}
    chosen = {name: _chosen(array, used) for name, array in rows.items()}
    return (_chosen(x, used), _chosen_errors(err, used), _chosen(weights, used), chosen, _within(bounds, used)), dropped


def _chosen(given: Any, used: NDArray[np.bool_]) -> Any:
    """The entries of some rows; what is one number for all stays as it is."""
    table = given if given is None or hasattr(given, "shape") else np.asarray(given)
    if np.ndim(table) == 0:
        return given
    _check_length(table, used.size)
    return given if len(table) == 1 != used.size else table[used]


def _check_length(array: Any, n_rows: int) -> None:
    """Refuse arrays that fit only to the rows that are left."""
    if np.ndim(array) and len(array) not in (1, n_rows):
        raise ValueError(
            f"x has {n_rows} values, but what belongs to them has {len(array)}; expected one for each value"
        )


def _chosen_errors(err: Any, used: NDArray[np.bool_]) -> Any:
    if _are_sides(err):
        return [_chosen(side, used) for side in err]
    return err[:, used] if np.ndim(err) == 2 and hasattr(err, "shape") else _chosen(err, used)


def _within(bounds: Any, used: NDArray[np.bool_]) -> Any:
    """The bounds of some rows: arrays in pairs, or in a list of pairs."""
    if isinstance(bounds, list | tuple):
        return type(bounds)(_within(bound, used) for bound in bounds)
    return _chosen(bounds, used) if np.ndim(bounds) == 1 else bounds


def _are_sides(err: Any) -> bool:
    """Whether the errors are a list of the lower and the upper ones, each of which may have a unit or labels."""
    return isinstance(err, list | tuple) and len(err) == 2 and all(np.ndim(side) == 1 for side in err)


def _plain_bounds(truncated: Any, unit: Any) -> Any:
    """Bounds as numbers or arrays in the unit of the values; what is no pair is left for the check of the window."""
    if isinstance(truncated, list | tuple):
        return type(truncated)(
            _plain_bounds(bound, unit) if isinstance(bound, list | tuple) else plain_number(bound, unit, "truncated")
            for bound in truncated
        )
    return truncated


def _plain_detection(detection: Any, unit: Any) -> Any:
    """Values of detection in the unit of the values, and their probabilities."""
    if isinstance(detection, list | tuple) and len(detection) == 2:
        return plain_number(detection[0], unit, "detection"), plain_number(detection[1], None, "detection")
    return detection


def plain_number(given: Any, unit: Any, name: str) -> Any:
    """A number or an array without its unit, in the unit of the values; other things as they are."""
    if not (hasattr(given, "iloc") or unit_of(given) is not None or hasattr(given, "mask")):
        return given
    own = unit_of(given)
    if own is not None and (unit is None or (own != unit and not own.is_equivalent(unit))):
        raise ValueError(f"{name} is in {own}, but x is in {unit or 'no unit'}; expected one unit")
    return plain(given, unit)


def plain_option(given: Any, unit: Any, name: str) -> Any:
    """Numbers that may have a unit, or lists and mappings of them, in the unit of the values.

    Raises
    ------
    ValueError
        For a unit that cannot be converted to that of the values.
    """
    if isinstance(given, Mapping):
        return {key: plain_option(value, unit, name) for key, value in given.items()}
    if isinstance(given, list | tuple):
        return type(given)(plain_option(value, unit, name) for value in given)
    if unit_of(given) is None:
        return given
    number = plain_number(given, unit, name)
    return number if np.ndim(number) else float(number)


def unit_of(values: Any) -> Any:
    """The Astropy unit of the values, if any. Attributes of a pandas series are ignored: they may be row labels."""
    return None if hasattr(values, "iloc") else getattr(values, "unit", None)


def _is_reordered(index: Any, other: Any) -> bool:
    """Whether two pandas indexes have the same labels in a different order."""
    return not index.equals(other) and index.sort_values().equals(other.sort_values())


def linear_unit(unit: Any) -> Any:
    """The unit of a difference: mag for mag(AB), and dex for dex(Msun)."""
    return getattr(unit, "function_unit", unit)


def _is_quantity(values: Any) -> bool:
    """Whether the values are a Quantity, beside which errors need a unit; that of a table column is only a label."""
    return unit_of(values) is not None and hasattr(values, "to_value")


def with_unit_of(values: Any, result: Result) -> Result:
    """The fit in the unit of the fitted values, if they have one."""
    unit = unit_of(values)
    return result if unit is None else result.with_unit(unit)


def finished(
    values: Any,
    cells: Cells | CellBlocks,
    result: Result,
    *remarks: str,
    dropped: Mapping[str, int] | None = None,
) -> Result:
    """The fit in the unit of the fitted values, if any, with what is known of the rows, remarks, and a warning about
    rows that carry no information.
    """
    result = with_errors_of(cells, with_unit_of(values, result)).with_rows(dropped=dict(dropped or {}))
    for remark in filter(None, remarks):
        result = result.with_warning(remark)
    if cells.n_uninformative:
        text = f"{cells.n_uninformative} rows with infinite errors say nothing and are not counted"
        result = result.with_warning(text)
    return result


def with_errors_of(cells: Cells | CellBlocks, result: Result) -> Result:
    """The fit with the error model and the kind of weights of the fitted rows."""
    if isinstance(cells, CellBlocks):
        sample, has_errors = cells.survey.sample, cells.has_errors
    else:
        sample, has_errors = cells, bool(np.any(cells.err[cells.weights > 0.0] > 0.0))
    model, dof = ("symmetric" if has_errors else "none", None) if sample.noise is None else sample.noise.model
    return result.with_rows(error_model=model, error_dof=dof, weight_kind=sample.weight_kind)


def in_unit(cells: Cells, values: Any, unit: Any) -> Cells:
    """Convert the cells of values that may have a unit to another unit."""
    if unit is None or unit_of(values) is None or unit_of(values) == unit:
        return cells
    factor = unit_of(values).to(unit)
    noise = None if cells.noise is None else cells.noise.scaled(factor)
    window = None if cells.window is None else cells.window.scaled(factor)
    edges = None if cells.edges is None else factor * cells.edges
    resolution = cells.resolution.scaled(factor)
    return replace(
        cells,
        x=factor * cells.x,
        err=factor * cells.err,
        noise=noise,
        window=window,
        edges=edges,
        resolution=resolution,
    )


def plain(values: Any, unit: Any = None) -> Array:
    """A float64 array, converted to `unit` if the values have one; masked values become nan, which `Cells` rejects."""
    if hasattr(values, "iloc"):
        return np.asarray(values.to_numpy(dtype=np.float64, na_value=np.nan))
    array = np.array(getattr(values, "unmasked", values), dtype=np.float64)
    if unit is not None and unit_of(values) is not None:
        own, target = linear_unit(unit_of(values)), linear_unit(unit)
        try:
            array *= 1.0 if own == target else own.to(target)
        except ValueError as error:
            raise ValueError(f"err is in {own}, which cannot be converted to {target}, the unit of x") from error
    mask = getattr(values, "mask", None)
    if mask is not None:
        array[np.broadcast_to(mask, array.shape)] = np.nan
    return array


def check_count(name: str, value: Any) -> int:
    """Check that a value is a number of components, and return it as an integer.

    Raises
    ------
    ValueError
        For anything but a positive whole number.
    """
    try:
        count = int(value)
    except (TypeError, ValueError):
        count = 0
    if isinstance(value, bool) or count != value or count < 1:
        raise ValueError(f"{name} must be a whole number >= 1, found {value!r}")
    return count
