"""Conversion of what users pass in as several columns: arrays, data frames, tables, quantities."""

from __future__ import annotations

from typing import Any

import numpy as np

from mixpipe.base.arrays import Array
from mixpipe.model.inputs import linear_unit, plain, unit_of
from mixpipe.model.joint.cells import JointCells


def has_columns(x: Any) -> bool:
    """Whether something is data of several columns: rows of values, a data frame, a table, or `JointCells`."""
    return isinstance(x, JointCells) or _column_names(x) is not None or getattr(x, "ndim", None) == 2 or _is_nested(x)


def _is_nested(x: Any) -> bool:
    # Quantities without a dimension are arrays, too.
    return isinstance(x, (list, tuple)) and len(x) > 0 and np.ndim(x[0]) == 1


def _is_frame(x: Any) -> bool:
    """Whether something is a data frame of pandas. Tables of Astropy have an `iloc`, too."""
    return hasattr(x, "iloc") and not hasattr(x, "colnames") and getattr(x, "ndim", 0) == 2


def _column_names(x: Any) -> list[str] | None:
    """Names of the columns of a data frame or a table."""
    if _is_frame(x):
        return [str(name) for name in x.columns]
    names = getattr(x, "colnames", None)
    if names is None:
        names = getattr(getattr(x, "dtype", None), "names", None)
    return None if names is None else [str(name) for name in names]


def as_joint_cells(
    x: Any,
    err: Any = None,
    cov: Any = None,
    weights: Any = None,
    *,
    weight_kind: str = "auto",
    names: Any = None,
    projections: Any = None,
    sigma_floor: Any = None,
) -> tuple[JointCells, tuple[Any, ...]]:
    """Rows of several columns, and the units of the columns.

    Parameters
    ----------
    x : array_like of shape (n_data, n_dims), pandas.DataFrame, astropy.table.Table, Quantity, or JointCells
        Values; nan, a mask or a missing value of pandas where one is missing. Columns of a table may have units.
    err : like `x`, or scalar or of shape (n_dims,), or None
        One-sigma errors; columns with units are converted to those of the values, in the order of the columns.
    cov : array_like, shape (n_data, n_dims, n_dims), or None
        Covariances of the errors, in the units of the values unless they have a unit of their own.
    weights, weight_kind, names, projections, sigma_floor
        As in `JointCells.from_rows`.

    Raises
    ------
    ValueError
        For shapes or units that do not fit, and as `JointCells.from_rows`.
    """
    if isinstance(x, JointCells):
        if any(given is not None for given in (err, cov, weights, names, projections, sigma_floor)):
            raise ValueError("cells carry their own errors, weights, names and floors: these must be None")
        return x, (None,) * x.n_dims
    values, units, found = _table(x)
    if _is_frame(x):
        for name, given in (("err", err), ("weights", weights)):
            if hasattr(given, "index") and hasattr(given, "iloc") and not x.index.equals(given.index):
                raise ValueError(f"x and {name} have rows with other labels; expected rows of one table, in its order")
    errors = None if err is None else _errors(err, units, found)
    cells = JointCells.from_rows(
        values,
        errors,
        None if cov is None else _covariances(cov, units),
        None if weights is None else plain(weights),
        weight_kind=weight_kind,
        names=names if names is not None else found,
        projections=projections,
        sigma_floor=None if sigma_floor is None else _floors(sigma_floor, units),
    )
    return cells, units if projections is None else (None,) * cells.n_dims


def rows_for(
    columns: tuple[str, ...], x: Any, err: Any = None, cov: Any = None
) -> tuple[Array, Array | None, Array | None]:
    """Values, errors and covariances of rows as arrays, for a mixture of some columns.

    Parameters
    ----------
    columns : tuple of str
        Names of the columns of the mixture.
    x, err, cov
        As in `as_joint_cells`.

    Raises
    ------
    ValueError
        For another number of columns, or the same ones in another order.
    """
    values, units, names = _table(x)
    if values.shape[1] != len(columns):
        raise ValueError(f"x must have shape (n, {len(columns)}), for {', '.join(columns)}; found {values.shape}")
    if names is not None and names != list(columns) and sorted(names) == sorted(columns):
        raise ValueError(f"x has the columns {', '.join(names)}; expected the order {', '.join(columns)}")
    errors = None if err is None else _errors(err, units, names)
    return values, errors, None if cov is None else _covariances(cov, units)


def rows_in_units(
    columns: tuple[str, ...], units: tuple[Any, ...], x: Any, err: Any = None, cov: Any = None
) -> tuple[Array, Array | None, Array | None]:
    """As `rows_for`, in the units of a fit: columns with other units are converted.

    Raises
    ------
    ValueError
        For units that cannot be converted, and as `rows_for`.
    """
    values, errors, covs = rows_for(columns, x, err, cov)
    factors = np.ones(len(columns))
    for a, (name, own, unit) in enumerate(zip(columns, _table(x)[1], units, strict=True)):
        if own is not None and unit is not None and own != unit:
            try:
                factors[a] = own.to(unit)
            except ValueError as error:
                raise ValueError(
                    f"{name} is in {own}, which cannot be converted to {unit}, its unit in the fit"
                ) from error
    return (
        values * factors,
        None if errors is None else errors * factors,
        None if covs is None else covs * np.outer(factors, factors),
    )


def _columns(x: Any) -> list[Any]:
    names = _column_names(x) or []
    return [x.iloc[:, k] for k in range(len(names))] if _is_frame(x) else [x[name] for name in names]


def _table(x: Any) -> tuple[Array, tuple[Any, ...], list[str] | None]:
    """Values, units and names of columns."""
    names = _column_names(x)
    if names is None:
        values = plain(x)
        if values.ndim != 2:
            raise ValueError(f"x must have shape (n_data, n_dims), found {values.shape}")
        return values, (unit_of(x),) * values.shape[1], None
    columns = _columns(x)
    numbers = []
    for name, column in zip(names, columns, strict=True):
        try:
            numbers.append(plain(column))
        except (TypeError, ValueError) as error:
            raise ValueError(f"column {name} is no column of numbers: {error}") from error
    return np.column_stack(numbers), tuple(unit_of(column) for column in columns), names


def _errors(err: Any, units: tuple[Any, ...], names: list[str] | None) -> Array:
    if _column_names(err) is None:
        unit = unit_of(err)
        if unit is None:
            return plain(err)
        return _by_column(err, units)
    columns = _columns(err)
    if len(columns) != len(units):
        raise ValueError(f"err has {len(columns)} columns, x has {len(units)}; expected as many")
    found = _column_names(err) or []
    if names is not None and found != names and sorted(found) == sorted(names):
        raise ValueError(f"err has the columns {', '.join(found)}; expected the order of x, {', '.join(names)}")
    return np.column_stack(
        [
            plain(column, None if unit_of(column) is None else _given(own, unit_of(column)))
            for column, own in zip(columns, units, strict=True)
        ]
    )


def _by_column(given: Any, units: tuple[Any, ...]) -> Array:
    """Numbers with a unit, one for all columns or with the columns as the last axis, in the units of these."""
    unit = unit_of(given)
    if np.ndim(given) and np.shape(given)[-1] != len(units):
        raise ValueError(f"err has the shape {np.shape(given)}, x has {len(units)} columns; expected as many")
    parts = (given[..., k] if np.ndim(given) else given for k in range(len(units)))
    return np.stack([plain(part, _given(own, unit)) for part, own in zip(parts, units, strict=True)], axis=-1)


def _floors(sigma_floor: Any, units: tuple[Any, ...]) -> Any:
    return sigma_floor if unit_of(sigma_floor) is None else _by_column(sigma_floor, units)


def _covariances(cov: Any, units: tuple[Any, ...]) -> Array:
    """Covariances, from their unit, if they have one, to those of the columns."""
    unit = unit_of(cov)
    values = np.array(getattr(cov, "value", cov), dtype=np.float64)
    if unit is None:
        return values
    for a, own in enumerate(units):
        for b, other in enumerate(units):
            target = linear_unit(_given(own, unit, "cov")) * linear_unit(_given(other, unit, "cov"))
            try:
                values[..., a, b] *= unit.to(target)
            except ValueError as error:
                raise ValueError(f"cov is in {unit}, which cannot be converted to {target}, the unit of x") from error
    return values


def _given(own: Any, unit: Any, name: str = "err") -> Any:
    if own is None:
        raise ValueError(f"{name} has the unit {linear_unit(unit)} but its column of x has none")
    return own
