"""One column of one release: mixtures of 1, 2, ... components, and the tables of the chosen one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table

from mixpipe import tables
from mixpipe.catalog import read_columns
from mixpipe.columns import ColumnData, prepare_column, required_columns
from mixpipe.pipeline.estimate import Outcome, estimate_column
from mixpipe.pipeline.plan import FitPlan, check_data, data_hash, open_fit_plan
from mixpipe.provenance import versions


def fit_column(
    plan: str,
    columns: str,
    components: str,
    selection: str,
    estimators: str,
    intervals: str,
    members: str,
    fit: str,
    threads: int = 1,
) -> None:
    """Fit a column and write its tables.

    Parameters
    ----------
    plan : str
        Text of a `FitPlan`.
    columns : str
        Parquet file with the columns of the fit, from `ingest_release`.
    components, selection, estimators, intervals, members, fit : str
        Files to write: four CSV tables, the Parquet file with one row per used catalog row, and fit.json.
    threads : int
        Threads; the result does not depend on it.

    Raises
    ------
    CatalogError
        If no row can be used, or the release's files are not those of the plan.
    """
    todo = open_fit_plan(plan)
    table = read_columns(Path(columns), required_columns([todo.column], todo.where, todo.key))
    check_data(
        f"the data of catalog {todo.catalog}, release {todo.release},",
        data_hash({entry["path"]: entry["sha256"] for entry in table.meta["files"]}),
        todo.data,
        columns,
    )
    data = prepare_column(table, todo.column, where=todo.where, catalog=todo.catalog, release=todo.release)
    place = f"in catalog {todo.catalog}, release {todo.release}, column {todo.column.name}"
    data.check_usable(place)
    print(f"{place}: {data.n_read} rows read, {len(data)} used, dropped: {data.dropped_counts()}")

    outcome = estimate_column(data.cells(), todo.column, todo.criterion, todo.effort, place=place, n_threads=threads)
    seconds = outcome.estimates[0].seconds
    best = outcome.fit
    print(f"{best.n_components} components by {todo.criterion} in {seconds:.1f} s", *best.warnings, sep="\n")
    outputs = {
        "components": components,
        "selection": selection,
        "estimators": estimators,
        "intervals": intervals,
        "members": members,
        "fit": fit,
    }
    paths = {name: Path(path) for name, path in outputs.items()}
    write_fit(paths, todo, table, data, outcome)


def write_fit(
    paths: Mapping[str, Path],
    plan: FitPlan,
    table: Table,
    data: ColumnData,
    outcome: Outcome,
    options: Mapping[str, Any] | None = None,
) -> None:
    """Write the tables of a fit, and last fit.json, which says what it was made from.

    Parameters
    ----------
    paths : mapping of str to Path
        Files to write: ``components``, ``selection``, ``estimators``, ``intervals``, ``members`` and ``fit``.
    plan : FitPlan
        What was to be done.
    table : astropy.table.Table
        The rows of the catalog, with the plan's key; ``meta["files"]`` has the SHA-256 of each file.
    data : ColumnData
        The rows that were fitted.
    outcome : Outcome
        All that is known.
    options : mapping, optional
        What was given on the command line, for fit.json.
    """
    best, cells = outcome.fit, data.cells()
    label, labels = ("row", data.rows) if plan.key is None else (plan.key, np.ma.asarray(table[plan.key])[data.rows])
    assessment = outcome.assessment
    components = tables.components_table(best, data.unit, assessment.sigma_upper)
    tables.write_csv(components, paths["components"])
    tables.write_csv(outcome.selection.table(), paths["selection"])
    estimates = [(estimate.fit, estimate.fit.loglik, estimate.seconds) for estimate in outcome.estimates]
    by_estimator = tables.estimators_table(estimates)
    tables.write_csv(by_estimator, paths["estimators"])
    tables.write_csv(assessment.intervals, paths["intervals"])
    tables.write_members(paths["members"], best.mixture, cells, label, labels)
    account = {
        "column": plan.column.name,
        "n_read": data.n_read,
        "n_used": len(data),
        "dropped": dict(data.dropped),
        "n_upper_limits": data.n_upper_limits,
        "n_lower_limits": data.n_lower_limits,
        "unit": data.unit,
        "value": plan.column.value,
        "error": plan.column.error,
        "files": table.meta["files"],
    }
    document = {
        "catalog": plan.catalog,
        "release": plan.release,
        "column": plan.column.name,
        **tables.fit_document(outcome.selection, assessment.quality, data.unit, assessment.sigma_upper),
        # Without the seconds, which are never the same twice.
        "estimators": by_estimator.drop(columns="seconds").to_dict("records"),
        "intervals": assessment.intervals.to_dict("records"),
        "likelihood_ratio": None if assessment.likelihood_ratio is None else asdict(assessment.likelihood_ratio),
        "truncated": data.truncated,
        "account": account,
        "plan": asdict(plan),
        **({} if options is None else {"options": dict(options)}),
        "versions": versions(),
    }
    tables.write_json(document, paths["fit"])
