"""Several columns of one release jointly: mixtures of 1, 2, ... components, and the tables of the chosen one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from mixpipe.assess.joint import bootstrap_columns, likelihood_ratio_of_columns
from mixpipe.assess.joint_quality import assess_columns, intervals_of_columns
from mixpipe.assess.joint_transforms import JointQuality, Transforms
from mixpipe.base.errors import ConfigError, MixpipeError, is_lasting, on_one_line
from mixpipe.base.presentation import plural
from mixpipe.catalog.doubts import file_doubts, repeated_keys
from mixpipe.catalog.joint import JointAccount, JointData, JointReader
from mixpipe.catalog.release import StoredRelease
from mixpipe.catalog.required import required_columns
from mixpipe.fitting.choose import choose_n_components, fit_mixture
from mixpipe.fitting.joint.choose import choose_from_blocks
from mixpipe.model.joint.results import JointFit
from mixpipe.model.regimes import MEMORY_ROWS
from mixpipe.model.results import Selection
from mixpipe.pipeline.failure import record_failure, write_no_rows
from mixpipe.pipeline.plan.texts import JOINT_FILES, JointPlan, open_joint_plan
from mixpipe.results import joint_tables, tables
from mixpipe.results.provenance import COMMAND, versions
from mixpipe.results.record import (
    AccountRecord,
    IntervalRow,
    JointQualityRecord,
    JointRecord,
    PatternRecord,
    SourceFile,
)

if TYPE_CHECKING:
    from astropy.table import Table

    from mixpipe.model.joint.cells import JointCells

# Up to this many rows catalogs are drawn and fitted again for p-values, bootstrap and tests.
_SIMULATED_ROWS = 20_000


def fit_joint(
    plan: str,
    columns: Sequence[str],
    components: str,
    selection: str,
    intervals: str,
    covariance: str,
    members: str,
    fit: str,
    threads: int = 1,
) -> None:
    """Fit several columns jointly and write the tables.

    Parameters
    ----------
    plan : str
        Text of a `JointPlan`.
    columns : sequence of str
        Parquet files with the columns of the fit, from `ingest_release`.
    components, selection, intervals, covariance, members, fit : str
        Files to write: four CSV tables, the Parquet file with one row per used catalog row, and fit.json.
    threads : int
        Threads; the result does not depend on it.

    If nothing can be fitted the tables have no rows, and fit.json says why.

    Raises
    ------
    PassingError
        If the release's files are not those of the plan.
    """
    todo = open_joint_plan(plan)
    place = f"in catalog {todo.catalog}, release {todo.release}, joint fit {todo.column.name}"
    release = StoredRelease(list(map(Path, columns)), dict(todo.files), place.removeprefix("in "))
    needed = required_columns([todo.column], todo.where, todo.key)
    files = [SourceFile(**{name: file[name] for name in ("path", "n_rows", "sha256")}) for file in release.files]
    written = (components, selection, intervals, covariance, members, fit)
    paths = dict(zip(JOINT_FILES, map(Path, written), strict=True))
    try:
        fitted = fit_columns_of(lambda: release.blocks(needed), todo, place=place, threads=threads, tell=_tell(place))
    except MixpipeError as error:
        if not is_lasting(error):
            raise
        print(on_one_line(error))
        write_failed_joint(paths, todo, files, error)
        return
    best = fitted.fit
    print(f"{plural(best.n_components, 'component')} by {todo.criterion}", *best.warnings, sep="\n")
    write_joint(paths, todo, files, fitted, os.environ.get(COMMAND))


def _tell(place: str) -> Callable[[JointAccount], None]:
    def tell(account: JointAccount) -> None:
        print(f"{place}: {account.n_read} rows read, {account.n_used} used, dropped: {account.dropped_counts()}")
        for names, number in account.patterns.items():
            print(f"{number} rows with {', '.join(names)}", flush=True)

    return tell


@dataclass(frozen=True, eq=False)
class FittedColumns:
    """A joint fit and its rows.

    Parameters
    ----------
    selection : Selection
        The fits that it was chosen from.
    fit : JointFit
        The chosen one.
    quality : list of JointQuality
    intervals : list of dict
        Rows of intervals.csv.
    likelihood_ratio : LikelihoodRatio or None
    account : JointAccount
    blocks : callable
        Each call reads the rows that were used; see `JointReader.blocks`.
    """

    selection: Selection
    fit: JointFit
    quality: Sequence[JointQuality]
    intervals: Sequence[Mapping[str, Any]]
    likelihood_ratio: Any
    account: JointAccount
    blocks: Callable[[], Iterable[tuple[Table, JointData, int]]]


def fit_columns_of(
    read: Callable[[], Iterator[Table]],
    plan: JointPlan,
    *,
    place: str,
    n_components: int | None = None,
    threads: int | None = None,
    tell: Callable[[JointAccount], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> FittedColumns:
    """Fit columns of a table that is read in blocks; a long one is read several times and not held in memory.

    Parameters
    ----------
    read : callable
        Each call reads all rows, as tables with the `required_columns`.
    plan : JointPlan
    place : str
        Which fit this is, for error messages.
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
    settings, effort = plan.column, plan.effort
    reader = JointReader(read, settings, plan.where, plan.catalog, plan.release, place)
    if tell is not None:
        reader.tell = tell
    held = _held(reader)
    options: dict[str, Any] = {"structure": settings.structure, "n_threads": threads}
    if n_components is None:
        options |= {"criterion": plan.criterion, "progress": progress}
        options["max_components"] = settings.max_components
    ratio, draws = None, None
    if held is None:
        selection = choose_from_blocks(
            lambda: (data.cells("counts", resolve=False) for _, data, _ in reader.blocks() if len(data)),
            n_components=n_components,
            **options,
        )
        fit = _joint(selection.best)
        transforms = Transforms(fit.mixture)
        for _, data, _ in reader.blocks():
            transforms.add(data.x, data.cov, data.weights)
        quality = transforms.quality()
    else:
        n_used = reader.known.n_used
        if n_components is not None and n_components > n_used:
            raise ConfigError(f"{n_components} components for {n_used} rows", place, "at most one for each row")
        cells = _cells_of(held, reader.known.found_kind)
        if n_components is None:
            options["max_components"] = min(settings.max_components, n_used)
            selection = choose_n_components(cells, **options)
        else:
            selection = Selection((fit_mixture(cells, n_components=n_components, **options),), plan.criterion)
        fit = _joint(selection.best)
        few = len(cells) <= _SIMULATED_ROWS
        quality = assess_columns(fit, cells, effort.quality_draws if few else 0, effort.seed, threads)
        if effort.bootstrap and few:
            draws = bootstrap_columns(cells, fit, effort.bootstrap, effort.seed, n_threads=threads)
            fit = replace(fit, uncertainties=draws.uncertainties())
        if effort.likelihood_ratio and few:
            ratio = likelihood_ratio_of_columns(
                cells,
                fit.n_components,
                structure=settings.structure,
                n_draws=effort.likelihood_ratio,
                seed=effort.seed,
                n_threads=threads,
            )
    account = reader.known
    used = [(table, data.rows) for table, data, _ in held or []]
    warnings = [*account.doubts(), *repeated_keys(used, plan.key), *file_doubts(reader.files)]
    if not (held is not None and account.n_used <= _SIMULATED_ROWS) and (effort.bootstrap or effort.likelihood_ratio):
        warnings.append(f"no bootstrap and no likelihood_ratio with more than {_SIMULATED_ROWS:,} rows")
    fit = replace(fit, warnings=(*fit.warnings, *warnings))
    rows = list(intervals_of_columns(fit, draws))
    blocks: Callable[[], Iterable[tuple[Table, JointData, int]]] = reader.blocks if held is None else lambda: held
    return FittedColumns(selection, fit, quality, rows, ratio, account, blocks)


def _joint(fit: Any) -> JointFit:
    if not isinstance(fit, JointFit):
        raise TypeError("a fit of one column")
    return fit


def _held(reader: JointReader) -> list[tuple[Table, JointData, int]] | None:
    """All blocks, if their rows fit into memory; weights that do not count rows need that."""
    most = None if reader.settings.weight is not None else MEMORY_ROWS
    held: list[tuple[Table, JointData, int]] = []
    n_rows = 0
    for block in reader.blocks():
        held.append(block)
        n_rows += len(block[1])
        if most is not None and n_rows > most:
            return None
    return held


def _cells_of(blocks: Sequence[tuple[Table, JointData, int]], kind: str) -> JointCells:
    parts = [data for _, data, _ in blocks]
    whole = replace(
        parts[0],
        x=np.concatenate([part.x for part in parts]),
        cov=np.concatenate([part.cov for part in parts]),
        weights=np.concatenate([part.weights for part in parts]),
    )
    return whole.cells(kind)


def write_joint(
    paths: Mapping[str, Path],
    plan: JointPlan,
    files: Sequence[SourceFile],
    fitted: FittedColumns,
    command: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> None:
    """Write the tables of a joint fit, and last fit.json.

    Parameters
    ----------
    paths : mapping of str to Path
        Files to write, by their names in `JOINT_FILES`; what is left out is not written.
    plan, files, command, options
        As in `mixpipe.pipeline.fit.write_fit`.
    fitted : FittedColumns
    """
    import pandas as pd

    written = {
        "components": joint_tables.components_frame(fitted.fit, fitted.account.units),
        "selection": fitted.selection.table(),
        "intervals": pd.DataFrame(fitted.intervals),
        "covariance": tables.covariance_table(fitted.fit),
    }
    for name, frame in written.items():
        if name in paths:
            tables.write_csv(frame, paths[name])
    label = plan.key or "row"
    if "members" in paths:
        rows = (
            joint_tables.member_rows(fitted.fit.mixture, data, labels, label, fitted.account.weighted)
            for labels, data in _labelled(fitted, plan)
        )
        joint_tables.write_parquet(paths["members"], rows)
    record_joint(plan, files, fitted, command, options).write(paths["fit"])


def _labelled(fitted: FittedColumns, plan: JointPlan) -> Iterator[tuple[Any, JointData]]:
    """The used rows with what names them: their key, or their number in the release."""
    for table, data, n_before in fitted.blocks():
        labels = data.rows + n_before if plan.key is None else np.ma.asarray(table[plan.key])[data.rows]
        if len(data):
            yield labels, data


def record_joint(
    plan: JointPlan,
    files: Sequence[SourceFile],
    fitted: FittedColumns,
    command: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> JointRecord:
    """The record of a joint fit; the arguments are those of `write_joint`."""
    fit, account = fitted.fit, fitted.account
    return joint_tables.make_joint_record(
        fitted.selection,
        fit,
        catalog=plan.catalog,
        release=plan.release,
        column=plan.column.name,
        units=account.units,
        quality=tuple(JointQualityRecord(**asdict(one)) for one in fitted.quality),
        intervals=tuple(IntervalRow(**row) for row in fitted.intervals),
        likelihood_ratio=None if fitted.likelihood_ratio is None else asdict(fitted.likelihood_ratio),
        patterns=tuple(PatternRecord(columns=names, n_rows=number) for names, number in account.patterns.items()),
        unusable={name: dict(found) for name, found in account.unusable.items()},
        account=AccountRecord(
            column=plan.column.name,
            n_read=account.n_read,
            n_used=account.n_used,
            dropped=dict(account.dropped),
            weight_kind=account.found_kind if account.weighted else None,
            n_effective=fit.n_data,
            unit=None,
            value=tuple(column.value for column in plan.column.columns),
            error=tuple(_error(column.error) for column in plan.column.columns),
            files=tuple(files),
        ),
        plan=asdict(plan),
        command=command,
        options=None if options is None else dict(options),
        versions=versions(),
    )


def _error(error: Any) -> Any:
    return "/".join(error) if isinstance(error, tuple) else "none" if error is None else error


def write_failed_joint(
    paths: Mapping[str, Path], plan: JointPlan, files: Sequence[SourceFile], error: MixpipeError
) -> None:
    """Write the files of a joint fit without a fit: tables without rows, and a fit.json that says why."""
    import pandas as pd

    firsts = dict.fromkeys(("components", "selection", "intervals"), "component") | {"covariance": "parameter"}
    for name, first in firsts.items():
        if name in paths:
            tables.write_csv(pd.DataFrame(columns=[first]), paths[name])
    if "members" in paths:
        write_no_rows(paths["members"], plan.key, {f"value_{column}": pa.float64() for column in plan.column.names})
    record_failure(plan, files, error, {}, plan.criterion).write(paths["fit"])
