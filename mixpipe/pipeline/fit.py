"""One column of one release: mixtures of 1, 2, ... components, and the tables of the chosen one."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from mixpipe import tables
from mixpipe.catalog import read_columns
from mixpipe.columns import prepare_column, required_columns
from mixpipe.errors import CatalogError
from mixpipe.pipeline.plan import check_data, data_hash, open_fit_plan
from mixpipe.provenance import versions
from mixpipe.quality import assess
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
    files = [dict(entry) for entry in table.meta["files"]]
    check_data(
        f"the data of catalog {todo.catalog}, release {todo.release},",
        data_hash({entry["path"]: entry["sha256"] for entry in files}),
        todo.data,
        columns,
    )
    data = prepare_column(table, todo.column, where=todo.where, catalog=todo.catalog, release=todo.release)
    place = f"in catalog {todo.catalog}, release {todo.release}, column {todo.column.name}"
    counts = ", ".join(f"{count} {reason}" for reason, count in data.dropped.items() if count) or "none"
    if not data.weights.sum() > 0:
        raise CatalogError(
            f"no row of {data.n_read} can be used (dropped: {counts})", place, "at least one row of positive weight"
        )
    print(f"{place}: {data.n_read} rows read, {len(data)} used, dropped: {counts}")

    cells = data.cells()
    start = time.perf_counter()
    chosen = choose_n_components(
        cells, max_components=todo.column.max_components, criterion=todo.criterion, n_threads=threads
    )
    seconds = time.perf_counter() - start
    best = chosen.best
    quality = assess(best.mixture, cells)
    print(f"{best.n_components} components by {chosen.criterion} in {seconds:.1f} s", *best.warnings, sep="\n")

    label, labels = (todo.key, np.ma.asarray(table[todo.key])) if todo.key else ("row", np.arange(data.n_read))
    tables.write_csv(tables.components_table(best, data.unit), Path(components))
    tables.write_csv(chosen.table(), Path(selection))
    tables.write_csv(tables.estimators_table([(best, best.loglik, seconds)]), Path(estimators))
    tables.write_members(Path(members), best.mixture, cells, label, labels[data.rows])
    account = {
        "column": todo.column.name,
        "n_read": data.n_read,
        "n_used": len(data),
        "dropped": dict(data.dropped),
        "unit": data.unit,
        "value": todo.column.value,
        "error": todo.column.error,
        "files": files,
    }
    document = {
        "catalog": todo.catalog,
        "release": todo.release,
        "column": todo.column.name,
        **tables.fit_document(chosen, quality, data.unit),
        "account": account,
        "plan": asdict(todo),
        "versions": versions(),
    }
    tables.write_json(document, Path(fit))
