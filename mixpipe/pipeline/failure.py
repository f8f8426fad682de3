"""Columns that nothing can be fitted to: a record in the place of a fit, so that all others have their results."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from mixpipe.base.errors import MixpipeError
from mixpipe.base.files import write_file
from mixpipe.catalog.columns import Account
from mixpipe.pipeline.plan.texts import DensityPlan, FitPlan, JointPlan
from mixpipe.results.provenance import COMMAND, versions
from mixpipe.results.record import AccountRecord, FailedRecord, Failure, SourceFile, StartRecord
from mixpipe.results.tables import COLUMNS, write_csv

if TYPE_CHECKING:
    import pyarrow as pa

# Why rows are not used that there is no other reason for.
_REASON = "column_failed"


def write_failed_fit(
    paths: Mapping[str, Path],
    plan: FitPlan,
    files: Sequence[SourceFile],
    error: MixpipeError,
    account: Account | None,
    start: str | None,
) -> None:
    """Write the files of a fit without a fit: tables without rows, and a fit.json that says why.

    Parameters
    ----------
    paths : mapping of str to Path
        The files, by their names in `FIT_FILES`.
    plan : FitPlan
        What was to be done.
    files : sequence of SourceFile
        The files that the rows come from.
    error : MixpipeError
        Why there is no fit.
    account : Account or None
        What became of the rows, if that is known.
    start : str or None
        The release whose fit was to be climbed from.
    """
    import pandas as pd
    import pyarrow as pa

    for name, columns in COLUMNS.items():
        write_csv(pd.DataFrame(columns=list(columns)), paths[name])
    numbers = {"value": pa.float64(), "err": pa.float64(), "component": pa.int32()}
    numbers |= {"true_mean": pa.float64(), "true_unc": pa.float64()}
    write_no_rows(paths["members"], plan.key, numbers)
    dropped = {} if account is None else dict(account.dropped)
    climbed = None if start is None else StartRecord(release=start, won=False)
    record_failure(plan, files, error, dropped, plan.criterion, climbed).write(paths["fit"])


def write_no_rows(path: Path, key: str | None, columns: Mapping[str, pa.DataType]) -> None:
    """Write a Parquet file with the key of rows and these columns, without rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([("row", pa.int64()) if key is None else (key, pa.string()), *columns.items()])
    write_file(path, lambda part: pq.write_table(schema.empty_table(), part))


def record_failure(
    plan: FitPlan | DensityPlan | JointPlan,
    files: Sequence[SourceFile],
    error: MixpipeError,
    dropped: Mapping[str, int],
    criterion: str,
    start: StartRecord | None = None,
) -> FailedRecord:
    """The record of a column without a fit, whatever its kind; no row of it is used."""
    n_read = sum(file.n_rows for file in files)
    kind = {FitPlan: "values", DensityPlan: "densities", JointPlan: "joint"}[type(plan)]
    return FailedRecord(
        kind=kind,
        catalog=plan.catalog,
        release=plan.release,
        column=plan.column.name,
        failure=Failure(what=error.what, where=error.where, expected=error.expected),
        criterion=criterion,
        start=start,
        account=AccountRecord(
            column=plan.column.name,
            n_read=n_read,
            n_used=0,
            dropped={**dropped, _REASON: n_read - sum(dropped.values())},
            normalisation="" if kind == "densities" else None,
            unit=None,
            value=(
                tuple(column.value for column in plan.column.columns)
                if isinstance(plan, JointPlan)
                else plan.column.value
            ),
            error=plan.column.error if isinstance(plan, FitPlan) else None,
            files=tuple(files),
        ),
        plan=asdict(plan),
        command=os.environ.get(COMMAND),
        versions=versions(),
    )
