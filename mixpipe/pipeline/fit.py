"""One column of one release: mixtures of 1, 2, ... components, and the tables of the chosen one."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table

from mixpipe import tables
from mixpipe.catalog import read_columns
from mixpipe.columns import ColumnData, prepare_column, required_columns
from mixpipe.model import Selection
from mixpipe.pipeline.plan import FitPlan, check_data, data_hash, open_fit_plan
from mixpipe.provenance import versions
from mixpipe.quality import Quality, assess
from mixpipe.selection import choose_n_components


def fit_column(
    plan: str,
    columns: str,
    components: str,
    selection: str,
    estimators: str,
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
    components, selection, estimators, members, fit : str
        Files to write: three CSV tables, the Parquet file with one row per used catalog row, and fit.json.
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

    cells = data.cells()
    start = time.perf_counter()
    chosen = choose_n_components(
        cells, max_components=todo.column.max_components, criterion=todo.criterion, n_threads=threads
    )
    seconds = time.perf_counter() - start
    best = chosen.best
    print(f"{best.n_components} components by {chosen.criterion} in {seconds:.1f} s", *best.warnings, sep="\n")
    outputs = {
        "components": components,
        "selection": selection,
        "estimators": estimators,
        "members": members,
        "fit": fit,
    }
    paths = {name: Path(path) for name, path in outputs.items()}
    write_fit(paths, todo, table, data, chosen, assess(best.mixture, cells), seconds)


def write_fit(
    paths: Mapping[str, Path],
    plan: FitPlan,
    table: Table,
    data: ColumnData,
    selection: Selection,
    quality: Quality,
    seconds: float,
    options: Mapping[str, Any] | None = None,
) -> None:
    """Write the tables of a fit, and last fit.json, which says what it was made from.

    Parameters
    ----------
    paths : mapping of str to Path
        Files to write: ``components``, ``selection``, ``estimators``, ``members`` and ``fit``.
    plan : FitPlan
        What was to be done.
    table : astropy.table.Table
        The rows of the catalog, with the plan's key; ``meta["files"]`` has the SHA-256 of each file.
    data : ColumnData
        The rows that were fitted.
    selection : Selection
        All fits.
    quality : Quality
        Of the selected one.
    seconds : float
        How long the search took.
    options : mapping, optional
        What was given on the command line, for fit.json.
    """
    best = selection.best
    label, labels = ("row", data.rows) if plan.key is None else (plan.key, np.ma.asarray(table[plan.key])[data.rows])
    tables.write_csv(tables.components_table(best, data.unit), paths["components"])
    tables.write_csv(selection.table(), paths["selection"])
    tables.write_csv(tables.estimators_table([(best, best.loglik, seconds)]), paths["estimators"])
    tables.write_members(paths["members"], best.mixture, data.cells(), label, labels)
    account = {
        "column": plan.column.name,
        "n_read": data.n_read,
        "n_used": len(data),
        "dropped": dict(data.dropped),
        "unit": data.unit,
        "value": plan.column.value,
        "error": plan.column.error,
        "files": table.meta["files"],
    }
    document = {
        "catalog": plan.catalog,
        "release": plan.release,
        "column": plan.column.name,
        **tables.fit_document(selection, quality, data.unit),
        "account": account,
        "plan": asdict(plan),
        **({} if options is None else {"options": dict(options)}),
        "versions": versions(),
    }
    tables.write_json(document, paths["fit"])
