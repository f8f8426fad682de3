"""One column of one release: mixtures of 1, 2, ... components, and the tables of the chosen one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from mixpipe import tables
from mixpipe.catalog import StoredRelease
from mixpipe.columns import Account, ColumnData, prepare_column, required_columns
from mixpipe.model import Array, Cells
from mixpipe.pipeline.estimate import Outcome, estimate_column, estimate_stream, is_plain
from mixpipe.pipeline.plan import FitPlan, open_fit_plan
from mixpipe.provenance import versions
from mixpipe.stream import MEMORY_ROWS, ColumnStream, gathered


def fit_column(
    plan: str,
    columns: Sequence[str],
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
    columns : sequence of str
        Parquet files with the columns of the fit, from `ingest_release`.
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
    place = f"in catalog {todo.catalog}, release {todo.release}, column {todo.column.name}"
    release = StoredRelease(list(map(Path, columns)), dict(todo.files), place.removeprefix("in "))
    needed = required_columns([todo.column], todo.where, todo.key)
    fitted = fit_tables(
        lambda: release.blocks(needed),
        todo,
        place=place,
        threads=threads,
        tell=lambda account: print(
            f"{place}: {account.n_read} rows read, {account.n_used} used, dropped: {account.dropped_counts()}",
            flush=True,
        ),
    )
    best = fitted.outcome.fit
    seconds = fitted.outcome.estimates[0].seconds
    print(f"{best.n_components} components by {todo.criterion} in {seconds:.1f} s", *best.warnings, sep="\n")
    outputs = {
        "components": components,
        "selection": selection,
        "estimators": estimators,
        "intervals": intervals,
        "members": members,
        "fit": fit,
    }
    write_fit({name: Path(path) for name, path in outputs.items()}, todo, release.files, fitted)


@dataclass(frozen=True, eq=False)
class DrawnRows:
    """Rows for a figure: all that were used, or evenly spaced ones that count for as many."""

    x: Array
    err: Array
    weights: Array
    limits: NDArray[np.int8]
    weighted: bool


class Fitted:
    """The fit of a column, the account of its rows, and the rows themselves.

    Parameters
    ----------
    outcome : Outcome
        All that is known.
    account : Account
        What became of the rows.
    blocks : callable
        Each call reads the rows that were used: the table they are in, what can be used of it, and the number of rows
        in front of it.
    """

    def __init__(
        self, outcome: Outcome, account: Account, blocks: Callable[[], Iterable[tuple[Table, ColumnData, int]]]
    ) -> None:
        self.outcome, self.account, self.blocks = outcome, account, blocks

    def drawn(self) -> DrawnRows:
        """Rows for a figure, as many as fit into memory."""
        every = -(-self.account.n_used // MEMORY_ROWS) or 1
        parts, n_before = [], 0
        for _, data, _ in self.blocks():
            some = slice(-n_before % every, None, every)
            parts.append([array[some] for array in (data.x, data.err, data.weights, data.limits)])
            n_before += len(data)
        x, err, weights, limits = map(np.concatenate, zip(*parts, strict=True))
        scale = self.account.n_used / x.size if x.size else 1.0
        return DrawnRows(x, err, weights * scale, limits, self.account.weighted or every > 1)


def fit_tables(
    read: Callable[[], Iterator[Table]],
    plan: FitPlan,
    *,
    place: str,
    n_components: int | None = None,
    threads: int | None = None,
    tell: Callable[[Account], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Fitted:
    """Fit a column of a table that is read in blocks; a long one is read several times and not held in memory.

    Parameters
    ----------
    read : callable
        Each call reads all rows, as tables with the `required_columns`.
    plan : FitPlan
        What is to be done.
    place : str
        Which column this is, for error messages.
    n_components : int or None
        The number of components, None to choose it.
    threads, progress
        As in `mixpipe.selection.choose_n_components`.
    tell : callable or None
        Called with the account of the rows before the search begins.

    Raises
    ------
    CatalogError
        If no row can be used.
    """
    # Fits of other families, with limits or bounds, need all rows at once.
    table = gathered(read(), MEMORY_ROWS if is_plain(plan.column) else None)
    if table is not None:
        data = prepare_column(table, plan.column, where=plan.where, catalog=plan.catalog, release=plan.release)
        data.check_usable(place)
        if tell is not None:
            tell(data.account)
        outcome = estimate_column(
            data.cells(),
            plan.column,
            plan.criterion,
            plan.effort,
            place=place,
            n_components=n_components,
            n_threads=threads,
            progress=progress,
        )
        return Fitted(outcome, data.account, lambda: [(table, data, 0)])
    stream = ColumnStream(read, plan.column, plan.where, plan.catalog, plan.release, place, tell)
    outcome = estimate_stream(
        stream,
        plan.column,
        plan.criterion,
        plan.effort,
        place=place,
        n_components=n_components,
        n_threads=threads,
        progress=progress,
    )
    return Fitted(outcome, stream.account, stream.blocks)


def write_fit(
    paths: Mapping[str, Path],
    plan: FitPlan,
    files: Sequence[Mapping[str, Any]],
    fitted: Fitted,
    options: Mapping[str, Any] | None = None,
) -> None:
    """Write the tables of a fit, and last fit.json, which says what it was made from.

    Parameters
    ----------
    paths : mapping of str to Path
        Files to write: ``components``, ``selection``, ``estimators``, ``intervals``, ``members`` and ``fit``; what is
        left out is not written.
    plan : FitPlan
        What was to be done.
    files : sequence of mapping
        ``path``, ``n_rows`` and ``sha256`` of the files that the rows come from.
    fitted : Fitted
        The fit.
    options : mapping, optional
        What was given on the command line, for fit.json.
    """
    outcome, account = fitted.outcome, fitted.account
    best = outcome.fit
    assessment = outcome.assessment
    estimates = [(estimate.fit, estimate.fit.loglik, estimate.seconds) for estimate in outcome.estimates]
    by_estimator = tables.estimators_table(estimates)
    written = {
        "components": tables.components_table(best, account.unit, assessment.sigma_upper),
        "selection": outcome.selection.table(),
        "estimators": by_estimator,
        "intervals": assessment.intervals,
    }
    for name, frame in written.items():
        if name in paths:
            tables.write_csv(frame, paths[name])
    if "members" in paths:
        tables.write_members(
            paths["members"],
            best.mixture,
            plan.key or "row",
            _members(fitted, plan),
            weighted=account.weighted,
            limited=account.n_upper_limits + account.n_lower_limits > 0,
        )
    document = {
        "catalog": plan.catalog,
        "release": plan.release,
        "column": plan.column.name,
        **tables.fit_document(outcome.selection, assessment.quality, account.unit, assessment.sigma_upper),
        "sketch": None if outcome.sketch is None else asdict(outcome.sketch),
        # Without the seconds, which are never the same twice.
        "estimators": by_estimator.drop(columns="seconds").to_dict("records"),
        "intervals": assessment.intervals.to_dict("records"),
        "likelihood_ratio": None if assessment.likelihood_ratio is None else asdict(assessment.likelihood_ratio),
        "truncated": account.truncated,
        "account": {
            "column": plan.column.name,
            "n_read": account.n_read,
            "n_used": account.n_used,
            "dropped": dict(account.dropped),
            "n_upper_limits": account.n_upper_limits,
            "n_lower_limits": account.n_lower_limits,
            "unit": account.unit,
            "value": plan.column.value,
            "error": plan.column.error,
            "files": [dict(file) for file in files],
        },
        "plan": asdict(plan),
        **({} if options is None else {"options": dict(options)}),
        "versions": versions(),
    }
    tables.write_json(document, paths["fit"])


def _members(fitted: Fitted, plan: FitPlan) -> Iterator[tuple[np.ndarray, Cells]]:
    """The used rows with what names them: their key, or their number in the release."""
    for table, data, n_before in fitted.blocks():
        labels = data.rows + n_before if plan.key is None else np.ma.asarray(table[plan.key])[data.rows]
        if len(data):
            yield labels, Cells(data.x, data.err, data.weights, 0.0, data.limits, data.truncated)
