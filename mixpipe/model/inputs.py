"""Conversion of what users pass in to cells and counts, with checks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from mixpipe.base.arrays import Array
from mixpipe.model.cells import Cells
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
        return x
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
    return Cells.from_rows(
        plain(x),
        None
        if err is None
        else np.stack([plain(side, unit) for side in sides])
        if _are_sides(err)
        else plain(err, unit),
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


def _are_sides(err: Any) -> bool:
    """Whether the errors are a list of the lower and the upper ones, each of which may have a unit or labels."""
    return isinstance(err, list | tuple) and len(err) == 2 and all(np.ndim(side) == 1 for side in err)


def _plain_bounds(truncated: Any, unit: Any) -> Any:
    """Bounds as numbers or arrays in the unit of the values; what is no pair is left for the check of the window."""
    if isinstance(truncated, list | tuple):
        return type(truncated)(
            _plain_bounds(bound, unit) if isinstance(bound, list | tuple) else _plain_number(bound, unit, "truncated")
            for bound in truncated
        )
    return truncated


def _plain_detection(detection: Any, unit: Any) -> Any:
    """Values of detection in the unit of the values, and their probabilities."""
    if isinstance(detection, list | tuple) and len(detection) == 2:
        return _plain_number(detection[0], unit, "detection"), _plain_number(detection[1], None, "detection")
    return detection


def _plain_number(given: Any, unit: Any, name: str) -> Any:
    """A number or an array without its unit, in the unit of the values; other things as they are."""
    if not (hasattr(given, "iloc") or unit_of(given) is not None or hasattr(given, "mask")):
        return given
    own = unit_of(given)
    if own is not None and (unit is None or (own != unit and not own.is_equivalent(unit))):
        raise ValueError(f"{name} is in {own}, but x is in {unit or 'no unit'}; expected one unit")
    return plain(given, unit)


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


def finished(values: Any, cells: Cells, result: Result, *remarks: str) -> Result:
    """The fit in the unit of the fitted values, if any, with remarks and a warning about rows without information."""
    result = with_unit_of(values, result)
    for remark in filter(None, remarks):
        result = result.with_warning(remark)
    if cells.n_uninformative:
        text = f"{cells.n_uninformative} rows with infinite errors say nothing and are not counted"
        result = result.with_warning(text)
    return result


def in_unit(cells: Cells, values: Any, unit: Any) -> Cells:
    """Convert the cells of values that may have a unit to another unit."""
    if unit is None or unit_of(values) is None or unit_of(values) == unit:
        return cells
    factor = unit_of(values).to(unit)
    noise = None if cells.noise is None else cells.noise.scaled(factor)
    window = None if cells.window is None else cells.window.scaled(factor)
    return replace(cells, x=factor * cells.x, err=factor * cells.err, noise=noise, window=window)


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
