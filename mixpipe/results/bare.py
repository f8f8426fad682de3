"""The record of a fit that was made in Python, with what the fit itself knows."""

from __future__ import annotations

import math
from typing import Any

from mixpipe.assess.quality import Quality
from mixpipe.model.joint.results import JointFit
from mixpipe.model.results import FitResult, Selection
from mixpipe.results.joint_tables import make_joint_record
from mixpipe.results.provenance import versions
from mixpipe.results.record import AccountRecord, FitRecord, JointRecord
from mixpipe.results.tables import make_fit_record

# What stands for the name of the column.
_VALUES = "the values"


def bare_record(fit: FitResult | Selection) -> FitRecord | JointRecord:
    """The record of a fit without a catalog: no files, no quality, no intervals, and only the errors of its settings.

    Parameters
    ----------
    fit : FitResult or Selection
        A fit, or several of which the best is meant.

    Examples
    --------
    >>> import mixpipe
    >>> record = bare_record(mixpipe.fit_mixture([1.2, 0.9, 1.1], err=0.3, n_components=1))
    >>> record.n_components, record.account.n_used, record.plan["column"]["error_model"]
    (1, 3, 'symmetric')
    """
    selection = fit if isinstance(fit, Selection) else Selection((fit,))
    best = selection.best
    n_used = round(best.n_data)
    has_errors = best.error_model not in ("", "none", "samples")
    error = "err" if has_errors or not best.error_model else None
    account = AccountRecord(
        column=_VALUES,
        n_read=n_used + sum(best.dropped.values()),
        n_used=n_used,
        dropped=dict(best.dropped),
        unit=None if best.unit is None else str(best.unit),
        value=_VALUES,
        error=error,
        weight_kind="importance" if best.weight_kind == "importance" else None,
        files=(),
    )
    settings: dict[str, Any] = {
        "transform": "none",
        "kind": "samples" if best.error_model == "samples" else "values",
        "error": error,
        "error_model": best.error_model if has_errors else None,
        "error_dof": best.error_dof,
        "error_scale": best.error_scale if math.isnan(best.error_scale_unc) else "fit",
    }
    if isinstance(best, FitResult) and best.prior_rows > 0.0:
        settings["prior"] = {"min_rows": best.prior_rows}
    common: dict[str, Any] = {"catalog": "", "release": "", "command": None, "versions": versions()}
    if isinstance(best, JointFit):
        settings = {"transform": "none", "columns": [{"error": error}]}
        plan = {"key": None, "where": None, "column": settings, "effort": {}}
        units = tuple(None if unit is None else str(unit) for unit in best.units)
        return make_joint_record(
            selection,
            best,
            column=_VALUES,
            units=units,
            quality=(),
            intervals=(),
            likelihood_ratio=None,
            patterns=(),
            unusable={},
            account=account,
            plan=plan,
            **common,
        )
    return make_fit_record(
        selection,
        Quality(math.nan, math.nan, math.nan),
        column=_VALUES,
        unit=account.unit,
        sketch=None,
        estimators=(),
        intervals=(),
        likelihood_ratio=None,
        truncated=None,
        account=account,
        plan={"key": None, "where": None, "column": settings, "effort": {}},
        **common,
    )
