"""Where the rows of a release went: per column, how many were read, used, and dropped for each reason."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mixpipe.base.files import MARK_IN_PARQUET
from mixpipe.results.provenance import check_code
from mixpipe.results.record import FitRecord, Record, load_record
from mixpipe.results.tables import status_columns, write_csv


def account_release(code: str, fits: Sequence[str], table: str, ingest: str, ingested: Sequence[str]) -> None:
    """Write the account of one release, and remove what was read of it that no fit needs any more.

    Parameters
    ----------
    code : str
        Hash of the stage's code when the job was planned.
    fits : sequence of str
        fit.json of every column, in the order of the rows to write.
    table : str
        CSV file to write.
    ingest : str
        Folder of the files that the release was read into.
    ingested : sequence of str
        Names of those that its fits need.
    """
    check_code("account", code)
    for file in Path(ingest).glob("*.parquet"):
        if file.name not in ingested and _is_marked(file):
            file.unlink()
    records = [load_record(fit) for fit in fits]
    reasons = dict.fromkeys(reason for record in records for reason in record.account.dropped)
    write_csv(pd.DataFrame([_row(record, reasons) for record in records]), Path(table))


def _row(record: Record, reasons: Iterable[str]) -> dict[str, Any]:
    account = record.account
    return {
        "column": account.column,
        "n_read": account.n_read,
        "n_used": account.n_used,
        **{f"dropped_{reason}": account.dropped.get(reason, 0) for reason in reasons},
        "n_upper_limits": account.n_upper_limits,
        "n_lower_limits": account.n_lower_limits,
        "normalisation": account.normalisation or "",  # of tabulated densities
        "unit": account.unit or record.unit_text,
        "value": _words(account.value),
        "error": _words(account.error),
        "files": _words(tuple(file.path for file in account.files)),
        "sha256": _words(tuple(file.sha256 for file in account.files)),
        "weight_kind": account.weight_kind or "",
        "n_effective": account.n_used if account.n_effective is None else account.n_effective,
        **_resolution(record),
        **status_columns(record),
    }


def _is_marked(file: Path) -> bool:
    try:
        return MARK_IN_PARQUET.encode() in (pq.read_metadata(file).metadata or {})
    except (OSError, pa.ArrowException):
        return False


def _resolution(record: Record) -> dict[str, Any]:
    """Rows with errors smaller than the grain of the values, while there is a floor, and rows that repeat others."""
    found = record.resolution if isinstance(record, FitRecord) else None
    return {
        "n_below_grain": found.n_rows if found else 0,
        "first_below_grain": (found.first_row if found else None) or "",
        "n_repeated": found.n_repeated if found else 0,
    }


def _words(value: object) -> str:
    """Texts with ``; `` between them, one value as it is, nothing as ``none``."""
    return "; ".join(map(str, value)) if isinstance(value, tuple) else "none" if value is None else str(value)
