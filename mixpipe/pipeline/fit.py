"""One column of one release: mixtures of 1, 2, ... components, and the tables of the chosen one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mixpipe.base.arrays import joined_bins
from mixpipe.base.errors import ConfigError, MixpipeError, is_lasting, on_one_line
from mixpipe.base.presentation import plural
from mixpipe.catalog.columns import Account, ColumnData, prepare_column
from mixpipe.catalog.doubts import describe_doubts, file_doubts, repeated_keys
from mixpipe.catalog.release import StoredRelease
from mixpipe.catalog.required import required_columns
from mixpipe.catalog.stream import ColumnStream, gathered
from mixpipe.fitting.choose import with_floor
from mixpipe.model.cells import Cells
from mixpipe.model.noise import Noise
from mixpipe.model.regimes import MEMORY_ROWS
from mixpipe.model.results import Array
from mixpipe.model.window import Window
from mixpipe.pipeline.estimate import Outcome, Start, estimate_column, estimate_stream, limited, why_in_memory
from mixpipe.pipeline.failure import write_failed_fit
from mixpipe.pipeline.plan.texts import FIT_FILES, FitPlan, open_fit_plan, recorded
from mixpipe.results import tables
from mixpipe.results.provenance import COMMAND, versions
from mixpipe.results.record import (
    AccountRecord,
    BimodalityRecord,
    EstimateRow,
    FailedRecord,
    FitRecord,
    IntervalRow,
    RecordError,
    SourceFile,
    StartComponent,
    StartRecord,
    find_record,
    load_records,
)

if TYPE_CHECKING:
    import pandas as pd
    from astropy.table import Table


def fit_column(
    plan: str,
    columns: Sequence[str],
    components: str,
    selection: str,
    estimators: str,
    intervals: str,
    covariance: str,
    bimodality: str,
    members: str,
    fit: str,
    start: Sequence[str] = (),
    threads: int = 1,
) -> None:
    """Fit a column and write its tables.

    Parameters
    ----------
    plan : str
        Text of a `FitPlan`.
    columns : sequence of str
        Parquet files with the columns of the fit, from `ingest_release`.
    components, selection, estimators, intervals, covariance, bimodality, members, fit : str
        Files to write: six CSV tables, the Parquet file with one row per used catalog row, and fit.json.
    start : sequence of str
        The file with the fit of the previous release, to climb from beside the search; none for the first release.
    threads : int
        Threads; the result does not depend on it.

    If nothing can be fitted to the column the files are those of `write_failed_fit`.

    Raises
    ------
    PassingError
        If the release's files are not those of the plan.
    """
    todo = open_fit_plan(plan)
    place = f"in catalog {todo.catalog}, release {todo.release}, column {todo.column.name}"
    release = StoredRelease(list(map(Path, columns)), dict(todo.files), place.removeprefix("in "))
    needed = required_columns([todo.column], todo.where, todo.key)
    climbed = next((read_start(path, todo.column.name) for path in start), None)
    files = [SourceFile(**{name: file[name] for name in ("path", "n_rows", "sha256")}) for file in release.files]
    written = (components, selection, estimators, intervals, covariance, bimodality, members, fit)
    paths = dict(zip(FIT_FILES, map(Path, written), strict=True))
    accounts: list[Account] = []

    def tell(account: Account) -> None:
        accounts.append(account)
        dropped = account.dropped_counts()
        print(f"{place}: {account.n_read} rows read, {account.n_used} used, dropped: {dropped}", flush=True)

    try:
        fitted = fit_tables(
            lambda: release.blocks(needed), todo, place=place, start=climbed, threads=threads, tell=tell
        )
    except MixpipeError as error:
        if not is_lasting(error):
            raise
        print(on_one_line(error))
        account = accounts[0] if accounts else None
        write_failed_fit(paths, todo, files, error, account, None if climbed is None else climbed.release)
        return
    best = fitted.outcome.fit
    print(f"{plural(best.n_components, 'component')} by {todo.criterion}", *best.warnings, sep="\n")
    for estimate in fitted.outcome.estimates:
        print(f"{estimate.fit.estimator}: {estimate.seconds:.1f} s")
    write_fit(paths, todo, files, fitted, os.environ.get(COMMAND))


def refit_column(plan: str, start: Sequence[str], fit: str, **arguments: Any) -> None:
    """As `fit_column`, but a fit that is there and as planned is left as it is: one of a job for many columns."""
    outputs = [Path(path) for name, path in arguments.items() if name in FIT_FILES] + [Path(fit)]
    record = find_record(Path(fit))
    if (
        record is not None
        and isinstance(record, FitRecord | FailedRecord)
        and record.plan == recorded(plan)
        and (record.start is None) == (not start)
        and all(path.is_file() for path in outputs)
    ):
        print(f"{fit}: as planned")
        for path in outputs:
            os.utime(path)
        return
    fit_column(plan=plan, start=start, fit=fit, **arguments)


@dataclass(frozen=True, eq=False)
class DrawnRows:
    """Rows for a figure: all that were used, or evenly spaced ones that count for as many."""

    x: Array
    err: Array | Noise
    weights: Array
    limits: NDArray[np.int8]
    weighted: bool
    edges: Array | None = None
    window: Window | None = None


class FittedColumn:
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
    start : Start or None
        What was climbed from beside the search.
    """

    def __init__(
        self,
        outcome: Outcome,
        account: Account,
        blocks: Callable[[], Iterable[tuple[Table, ColumnData, int]]],
        start: Start | None = None,
    ) -> None:
        self.outcome, self.account, self.blocks, self.start = outcome, account, blocks, start

    def drawn(self) -> DrawnRows:
        """Rows for a figure, as many as fit into memory."""
        every = -(-self.account.n_used // MEMORY_ROWS) or 1
        parts, n_before = [], 0
        noises: list[Noise] = []
        windows: list[tuple[Window, int]] = []
        for _, data, _ in self.blocks():
            some = slice(-n_before % every, None, every)
            bins = data.edges if data.intervals is None else joined_bins(data.intervals, data.weights)
            edges = np.empty((len(data), 0)) if bins is None else bins
            parts.append([array[some] for array in (data.x, data.err, data.weights, data.limits, edges)])
            # Posteriors have no observed values: what is drawn are their means and widths.
            if data.noise is not None and data.posteriors is None:
                noises.append(data.noise[some])
            if data.window is not None and parts[-1][0].size:
                windows.append((data.window[some], parts[-1][0].size))
            n_before += len(data)
        x, err, weights, limits, edges = map(np.concatenate, zip(*parts, strict=True))
        scale = self.account.n_used / x.size if x.size else 1.0
        if self.account.found_kind == "importance":
            scale = self.outcome.fit.n_data / weights.sum()
        weighted = self.account.weighted or every > 1
        noise = noises[0].joined(noises[1:]) if noises else None
        return DrawnRows(
            x,
            err if noise is None else noise,
            weights * scale,
            limits,
            weighted,
            edges if edges.size else None,
            _joined_window(windows),
        )

    @property
    def window(self) -> Window | None:
        """The window of the rows, or of those of the first block if they have bounds of their own."""
        if self.account.truncated is None:
            return None
        return next(data.window for _, data, _ in self.blocks() if len(data))


def _joined_window(windows: Sequence[tuple[Window, int]]) -> Window | None:
    """The window of the rows of some blocks, each given with their number."""
    if not windows:
        return None
    first, n_rows = windows[0]
    for window, n_more in windows[1:]:
        first, n_rows = first.joined(window, (n_rows, n_more)), n_rows + n_more
    return first


def fit_tables(
    read: Callable[[], Iterator[Table]],
    plan: FitPlan,
    *,
    place: str,
    start: Start | None = None,
    n_components: int | None = None,
    threads: int | None = None,
    tell: Callable[[Account], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> FittedColumn:
    """Fit a column of a table that is read in blocks; a long one is read several times and not held in memory.

    Parameters
    ----------
    read : callable
        Each call reads all rows, as tables with the `required_columns`.
    plan : FitPlan
        What is to be done.
    place : str
        Which column this is, for error messages.
    start : Start or None
        A fit of another release, to climb from beside the search.
    n_components : int or None
        The number of components, None to choose it.
    threads, progress
        As in `mixpipe.fitting.choose.choose_n_components`.
    tell : callable or None
        Called with the account of the rows before the search begins.

    Raises
    ------
    CatalogError
        If no row can be used.
    """
    needed = why_in_memory(plan.column)
    table = gathered(read(), None if needed else MEMORY_ROWS)
    if table is not None:
        data = prepare_column(table, plan.column, where=plan.where, catalog=plan.catalog, release=plan.release)
        if tell is not None:
            tell(data.account)
        data.check_usable(place)
        if n_components is not None and n_components > len(data):
            raise ConfigError(f"{n_components} components for {len(data)} rows", place, "at most one for each row")
        outcome = estimate_column(
            _floored(data, plan.column.sigma_floor, place),
            limited(plan.column, len(data)),
            plan.criterion,
            plan.effort,
            place=place,
            start=start,
            unit=data.account.unit,
            n_components=n_components,
            n_threads=threads,
            progress=progress,
        )
        first = data.first_below(outcome.fit.resolution.grain)
        outcome = outcome.with_first_row(data.row_name(first) if outcome.fit.resolution.floor > 0.0 else "")
        doubts = [*describe_doubts(data.account.doubts, len(data)), *repeated_keys([(table, data.rows)], plan.key)]
        doubts += file_doubts(data.files)
        if needed and len(table) > MEMORY_ROWS:
            doubts.append(
                f"all {len(table):,} rows were held in memory: {needed} cannot be read in blocks; `where` can select "
                "fewer rows"
            )
        used = data.with_scaled_errors(outcome.fit.error_scale)
        if outcome.fit.resolution.cause == "rounding" and used.intervals is None:
            used = replace(used, intervals=np.array(used.cells().rounded().edges))
        return FittedColumn(outcome.with_warnings(doubts), data.account, lambda: [(table, used, 0)], start)
    stream = ColumnStream(read, plan.column, plan.where, plan.catalog, plan.release, place, tell)
    outcome = estimate_stream(
        stream,
        plan.column,
        plan.criterion,
        plan.effort,
        place=place,
        start=start,
        n_components=n_components,
        n_threads=threads,
        progress=progress,
    )
    doubts = [*describe_doubts(stream.account.doubts, stream.account.n_used), *file_doubts(stream.files)]
    scale = outcome.fit.error_scale

    def blocks() -> Iterator[tuple[Table, ColumnData, int]]:
        for block, data, n_before in stream.blocks():
            yield block, data.with_scaled_errors(scale), n_before

    return FittedColumn(outcome.with_warnings(doubts), stream.account, blocks, start)


def _floored(data: ColumnData, sigma_floor: float | None, place: str) -> Cells:
    """The cells of a column, with the lower bound on the sigmas that was asked for."""
    data.check_floor(sigma_floor, place)
    return with_floor(data.cells(), sigma_floor)


def read_start(path: str, column: str) -> Start:
    """The fit of a column in another release, as a start: from a file of one fit.json, or of several in a row."""
    record = next((record for record in load_records(path) if record.column == column), None)
    if record is None:
        raise RecordError(f"no fit of column {column}", f"in {path}", "the fits of the release before: run them again")
    mixture = tables.read_mixture(record.components, path) if isinstance(record, FitRecord) else None
    return Start(record.release, mixture, record.unit, record.transform)


def recorded_start(record: FitRecord, file: Path) -> Start | None:
    """The start that the record in a file says has won: without it the search alone finds less."""
    start = record.start
    if start is None or not start.won:
        return None
    return Start(start.release, tables.read_mixture(start.components, file), record.unit, record.transform)


def _start_record(fitted: FittedColumn) -> StartRecord | None:
    """What is recorded of the start: the mixture only where the search alone would have found less."""
    start, gain = fitted.start, fitted.outcome.gain
    if start is None:
        return None
    mixture = start.mixture
    if gain is None or mixture is None:
        return StartRecord(release=start.release, won=False)
    parts = mixture.weights, mixture.means, mixture.sigmas, mixture.families, mixture.shapes, mixture.constraints
    components = tuple(
        StartComponent(
            weight=weight, mean=mean, sigma=sigma, family=family, shape=shape, constraint=rule.as_dict() or None
        )
        for weight, mean, sigma, family, shape, rule in zip(*parts, strict=True)
    )
    return StartRecord(release=start.release, won=True, gain=gain, components=components)


def write_fit(
    paths: Mapping[str, Path],
    plan: FitPlan,
    files: Sequence[SourceFile],
    fitted: FittedColumn,
    command: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> None:
    """Write the tables of a fit, and last fit.json, which says what it was made from.

    Parameters
    ----------
    paths : mapping of str to Path
        Files to write, by the names in `FIT_FILES`; what is left out is not written, except ``fit``.
    plan : FitPlan
        What was to be done.
    files : sequence of SourceFile
        The files that the rows come from.
    fitted : FittedColumn
        The fit.
    command : str, optional
        The command that asked for it, for fit.json.
    options : mapping, optional
        What was given on the command line, for fit.json.
    """
    outcome, account = fitted.outcome, fitted.account
    best = outcome.fit
    assessment = outcome.assessment
    written = {
        "components": tables.components_table(best, account.unit, assessment.sigma_upper),
        "selection": outcome.selection.table(),
        "estimators": _estimators(outcome),
        "intervals": assessment.intervals,
        "covariance": tables.covariance_table(best),
        "bimodality": tables.bimodality_table(outcome.bimodality),
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
            binned=account.are_bins,
            by_row=fitted.window is not None and fitted.window.by_row,
        )
    record_fit(plan, files, fitted, command, options).write(paths["fit"])


def record_fit(
    plan: FitPlan,
    files: Sequence[SourceFile],
    fitted: FittedColumn,
    command: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> FitRecord:
    """The record of a fit; the arguments are those of `write_fit`."""
    outcome, account, assessment = fitted.outcome, fitted.account, fitted.outcome.assessment
    return tables.make_fit_record(
        outcome.selection,
        assessment.quality,
        sigma_upper=assessment.sigma_upper,
        first_row=outcome.first_row,
        catalog=plan.catalog,
        release=plan.release,
        column=plan.column.name,
        unit=account.unit,
        start=_start_record(fitted),
        sketch=None if outcome.sketch is None else asdict(outcome.sketch),
        estimators=tuple(_estimate_rows(outcome)),
        intervals=tuple(IntervalRow(**dict[str, Any](row)) for row in assessment.interval_rows),
        likelihood_ratio=None if assessment.likelihood_ratio is None else asdict(assessment.likelihood_ratio),
        truncated=account.truncated,
        window=tables.window_record(fitted.window),
        bimodality=None if outcome.bimodality is None else BimodalityRecord(**asdict(outcome.bimodality)),
        account=AccountRecord(
            column=plan.column.name,
            n_read=account.n_read,
            n_used=account.n_used,
            dropped=dict(account.dropped),
            n_upper_limits=account.n_upper_limits,
            n_lower_limits=account.n_lower_limits,
            weight_kind=account.found_kind if account.weighted else None,
            n_effective=outcome.fit.n_data,
            unit=account.unit,
            value=plan.column.value if plan.column.bins is None else plan.column.bins,
            error=plan.column.error,
            files=tuple(files),
        ),
        plan=asdict(plan),
        command=command,
        options=None if options is None else dict(options),
        versions=versions(),
    )


def _estimate_rows(outcome: Outcome) -> Iterator[EstimateRow]:
    """The components as each estimator finds them, for a record. The table of them needs pandas."""
    for each in outcome.estimates:
        mixture = each.fit.mixture
        for j in range(each.fit.n_components):
            yield EstimateRow(
                estimator=each.fit.estimator,
                component=j + 1,
                weight=mixture.weights[j],
                mean=mixture.means[j],
                sigma=mixture.sigmas[j],
                loglik=each.fit.loglik,
                mean_unc=float(each.fit.uncertainties.means[j]),
            )


def _estimators(outcome: Outcome) -> pd.DataFrame:
    return tables.estimators_table([(each.fit, each.fit.loglik, each.seconds) for each in outcome.estimates])


def _members(fitted: FittedColumn, plan: FitPlan) -> Iterator[tuple[np.ndarray, Cells]]:
    """The used rows with what names them: their key, or their number in the release."""
    for table, data, n_before in fitted.blocks():
        labels = data.rows + n_before if plan.key is None else np.ma.asarray(table[plan.key])[data.rows]
        if len(data):
            yield labels, data.some_cells()
