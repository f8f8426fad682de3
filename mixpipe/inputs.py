"""What users hold -> cells and counts, checked."""

from __future__ import annotations

from typing import Any

import numpy as np

from mixpipe.arrays import Array
from mixpipe.model import Cells


def as_cells(
    x: Any,
    err: Any = None,
    weights: Any = None,
    limits: Any = None,
    truncated: tuple[float, float] | None = None,
) -> Cells:
    """Cells from what users hold: arrays, pandas series, Astropy columns or quantities, or cells.

    Errors that carry a unit are converted to the unit of the values.

    Raises
    ------
    ValueError
        For cells together with anything else, missing values, or a unit on the errors alone.
    """
    if isinstance(x, Cells):
        if any(given is not None for given in (err, weights, limits, truncated)):
            raise ValueError("cells carry their own errors, weights, limits and bounds: these must be None")
        return x
    unit = _unit(x)
    if unit is None and _unit(err) is not None:
        raise ValueError(f"err has the unit {_unit(err)} but x has none")
    return Cells.from_rows(
        _plain(x),
        None if err is None else _plain(err, unit),
        None if weights is None else _plain(weights),
        limits=limits,
        truncated=truncated,
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


def check_count(name: str, value: Any) -> int:
    """A number of components as an integer.

    Raises
    ------
    ValueError
        For anything but a whole number of at least one.
    """
    try:
        count = int(value)
    except (TypeError, ValueError):
        count = 0
    if isinstance(value, bool) or count != value or count < 1:
        raise ValueError(f"{name} must be a whole number >= 1, found {value!r}")
    return count
