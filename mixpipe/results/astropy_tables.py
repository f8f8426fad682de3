"""Components, and the choice of their number, as tables of Astropy, with units."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mixpipe.base.files import write_file
from mixpipe.catalog.formats.arrays import parse_unit
from mixpipe.model.inputs import linear_unit
from mixpipe.model.joint.mixture import JointMixture
from mixpipe.model.joint.results import JointFit
from mixpipe.model.results import FitResult, Selection
from mixpipe.results.joint_tables import read_joint_fit
from mixpipe.results.record import FitRecord, JointRecord
from mixpipe.results.tables import read_fit

if TYPE_CHECKING:
    from astropy.table import QTable, Table


def components_table(
    fit: FitResult | JointMixture | FitRecord | JointRecord, units: Mapping[str, Any] | None = None
) -> QTable:
    """The components of a fit, or of a mixture of several columns, as a table.

    Parameters
    ----------
    fit : FitResult, JointMixture, FitRecord or JointRecord
        A fit or its record has uncertainties, and the units of its columns.
    units : mapping of str to unit, or None
        Units of the columns of a mixture.

    Returns
    -------
    astropy.table.QTable
        One row for each component. Of one column: component, weight, mean and sigma, each of these three followed by
        its uncertainty, boundary, the family, and shape and shape_unc if a family has one; with sigma_upper, the 95 %
        upper limit, of a record. Of several columns: component, weight, and for each column A mean_A and sigma_A, for
        each pair corr_A_B, each followed by its uncertainty if there are any, and for a fit the rank of the covariance.

    Examples
    --------
    >>> import astropy.units as u, mixpipe
    >>> fit = mixpipe.fit_mixture([7.41, 7.35, 7.52] * u.mas, [0.04, 0.05, 0.03] * u.mas, n_components=1)
    >>> table = components_table(fit)
    >>> table["mean"].to(u.uas).round(), table["mean_unc"].unit
    (<Quantity [7435.] uas>, Unit("mas"))
    >>> mixture = JointMixture([1.0], [[0.0, 1.0]], [[[1.0, 0.5], [0.5, 1.0]]], ["a", "b"])
    >>> components_table(mixture).colnames
    ['component', 'weight', 'mean_a', 'sigma_a', 'mean_b', 'sigma_b', 'corr_a_b']
    """
    if isinstance(fit, FitRecord):
        limits = [math.nan if part.sigma_upper is None else part.sigma_upper for part in fit.components]
        return _of_values(read_fit(fit).with_unit(parse_unit(fit.unit)), limits)
    if isinstance(fit, JointRecord):
        known = {name: parse_unit(unit) for name, unit in zip(fit.names, fit.units, strict=True)}
        return _of_columns(read_joint_fit(fit), {**known, **(units or {})})
    if isinstance(fit, JointFit | JointMixture):
        return _of_columns(fit, units or {})
    return _of_values(fit)


def _add(table: QTable, name: str, values: Any, uncertain: Any = None, unit: Any = None) -> None:
    """A column, followed by that of its uncertainties; the uncertainty of a magnitude is a difference."""
    table[name] = _with_unit(values, unit)
    if uncertain is not None:
        table[f"{name}_unc"] = _with_unit(uncertain, linear_unit(unit))


def _with_unit(values: Any, unit: Any) -> Any:
    """Values as a Quantity, or as a Magnitude and the like, if they have a unit."""
    return values if unit is None else values << unit


def _of_values(fit: FitResult, sigma_upper: Iterable[float] | None = None) -> QTable:
    from astropy.table import QTable

    mixture, unc, linear = fit.mixture, fit.uncertainties, linear_unit(fit.unit)
    table = QTable()
    table["component"] = np.arange(1, fit.n_components + 1)
    _add(table, "weight", mixture.weights, unc.weights)
    _add(table, "mean", mixture.means, unc.means, fit.unit)
    _add(table, "sigma", mixture.sigmas, unc.sigmas, linear)
    table["boundary"] = fit.boundary
    if sigma_upper is not None:
        table["sigma_upper"] = _with_unit(np.array(list(sigma_upper)), linear)
    table["family"] = list(mixture.families)
    if np.isfinite(mixture.shapes).any():
        _add(table, "shape", mixture.shapes, unc.shapes)
    return table


def _of_columns(fit: JointFit | JointMixture, units: Mapping[str, Any]) -> QTable:
    from astropy.table import QTable

    mixture = fit.mixture if isinstance(fit, JointFit) else fit
    unc = fit.uncertainties if isinstance(fit, JointFit) else None
    known = dict(units)
    if isinstance(fit, JointFit):
        known = {name: unit for name, unit in zip(fit.names, fit.units, strict=True) if unit is not None} | known
    table = QTable()
    table["component"] = list(range(1, mixture.n_components + 1))
    _add(table, "weight", mixture.weights, None if unc is None else unc.weights)
    for a, name in enumerate(mixture.names):
        unit = known.get(name)
        _add(table, f"mean_{name}", mixture.means[:, a], None if unc is None else unc.means[:, a], unit)
        sigmas_unc = None if unc is None else unc.sigmas[:, a]
        _add(table, f"sigma_{name}", mixture.sigmas[:, a], sigmas_unc, linear_unit(unit))
    correlations = mixture.correlations
    for a, name in enumerate(mixture.names):
        for b in range(a + 1, mixture.n_dims):
            uncertain = None if unc is None else unc.correlations[:, a, b]
            _add(table, f"corr_{name}_{mixture.names[b]}", correlations[:, a, b], uncertain)
    if isinstance(fit, JointFit):
        table["rank"] = fit.rank
    return table


def selection_table(selection: Selection) -> Table:
    """The fits with 1, 2, ... components as a table, with the columns of `Selection.table`."""
    from astropy.table import Table

    return Table(rows=selection.records())


def write_ecsv(record: FitRecord | JointRecord, path: Path) -> None:
    """Write the components as ECSV, with units, numbers in full precision, and what was fitted in the header.

    Parameters
    ----------
    record : FitRecord or JointRecord
        The record of the fit.
    path : Path
        File to write.
    """
    from astropy.table import Column, Table

    components = components_table(record)
    # A column with a unit is simpler to read for other programs than a Quantity.
    columns = [
        Column(getattr(column, "value", column), name, unit=getattr(column, "unit", None))
        for name, column in components.items()
    ]
    table = Table(columns)
    table.meta = {
        "catalog": record.catalog,
        "release": record.release,
        "column": record.column,
        "n_data": record.n_data,
        "criterion": record.criterion,
        "loglik": record.loglik,
        "bic": record.bic,
        "converged": record.converged,
        "warnings": list(record.warnings),
        "mixpipe": record.versions.get("mixpipe", ""),
    }
    write_file(path, lambda temporary: table.write(temporary, format="ascii.ecsv", overwrite=True))
