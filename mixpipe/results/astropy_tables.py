"""Components as tables of Astropy, with units."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mixpipe.model.joint.mixture import JointMixture
from mixpipe.model.joint.results import JointFit

if TYPE_CHECKING:
    from astropy.table import QTable


def components_table(fit: JointFit | JointMixture, units: Mapping[str, Any] | None = None) -> QTable:
    """The components of several columns as a table.

    Parameters
    ----------
    fit : JointFit or JointMixture
        A fit has uncertainties, and the units of its columns.
    units : mapping of str to unit, or None
        Units of the columns of a mixture.

    Returns
    -------
    astropy.table.QTable
        One row for each component: component, weight, and for each column A mean_A and sigma_A, for each pair corr_A_B,
        each followed by its uncertainty if there are any, and for a fit the rank of the covariance.

    Examples
    --------
    >>> mixture = JointMixture([1.0], [[0.0, 1.0]], [[[1.0, 0.5], [0.5, 1.0]]], ["a", "b"])
    >>> components_table(mixture).colnames
    ['component', 'weight', 'mean_a', 'sigma_a', 'mean_b', 'sigma_b', 'corr_a_b']
    """
    from astropy.table import QTable
    from astropy.units import Quantity

    mixture = fit.mixture if isinstance(fit, JointFit) else fit
    unc = fit.uncertainties if isinstance(fit, JointFit) else None
    known = dict(units or {})
    if isinstance(fit, JointFit):
        known = {name: unit for name, unit in zip(fit.names, fit.units, strict=True) if unit is not None} | known
    table = QTable()
    table["component"] = list(range(1, mixture.n_components + 1))

    def add(name: str, values: Any, uncertain: Any, unit: Any = None) -> None:
        table[name] = values if unit is None else Quantity(values, unit)
        if uncertain is not None:
            # The uncertainty of a magnitude is a difference.
            linear = getattr(unit, "function_unit", unit)
            table[f"{name}_unc"] = uncertain if linear is None else Quantity(uncertain, linear)

    add("weight", mixture.weights, None if unc is None else unc.weights)
    for a, name in enumerate(mixture.names):
        unit = known.get(name)
        linear = getattr(unit, "function_unit", unit)
        add(f"mean_{name}", mixture.means[:, a], None if unc is None else unc.means[:, a], unit)
        add(f"sigma_{name}", mixture.sigmas[:, a], None if unc is None else unc.sigmas[:, a], linear)
    correlations = mixture.correlations
    for a, name in enumerate(mixture.names):
        for b in range(a + 1, mixture.n_dims):
            uncertain = None if unc is None else unc.correlations[:, a, b]
            add(f"corr_{name}_{mixture.names[b]}", correlations[:, a, b], uncertain)
    if isinstance(fit, JointFit):
        table["rank"] = fit.rank
    return table
