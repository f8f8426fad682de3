"""Where the rows of a release went: per column, how many were read, used, and dropped for each reason."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mixpipe.base.files import MARK_IN_PARQUET
from mixpipe.results.provenance import check_code
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
    documents = [json.loads(Path(fit).read_text(encoding="utf-8")) for fit in fits]
    accounts = [document["account"] for document in documents]
    reasons = dict.fromkeys(reason for account in accounts for reason in account["dropped"])
    rows = [
        {
            "column": account["column"],
            "n_read": account["n_read"],
            "n_used": account["n_used"],
            **{f"dropped_{reason}": account["dropped"].get(reason, 0) for reason in reasons},
            "n_upper_limits": account.get("n_upper_limits", 0),
            "n_lower_limits": account.get("n_lower_limits", 0),
            "normalisation": account.get("normalisation", ""),  # of tabulated densities
            "unit": account["unit"] or "",
            "value": _words(account["value"]),
            "error": _words(account["error"]),
            "files": _words([entry["path"] for entry in account["files"]]),
            "sha256": _words([entry["sha256"] for entry in account["files"]]),
            "weight_kind": account.get("weight_kind") or "",
            "n_effective": account.get("n_effective", account["n_used"]),
            **_resolution(document.get("resolution")),
            **status_columns(document),
        }
        for document, account in zip(documents, accounts, strict=True)
    ]
    write_csv(pd.DataFrame(rows), Path(table))


def _is_marked(file: Path) -> bool:
    try:
        return MARK_IN_PARQUET.encode() in (pq.read_metadata(file).metadata or {})
    except (OSError, pa.ArrowException):
        return False


def _resolution(found: dict[str, Any] | None) -> dict[str, Any]:
    """Rows with errors smaller than the grain of the values, while there is a floor, and rows that repeat others."""
    found = found or {"n_rows": 0, "first_row": None, "n_repeated": 0}
    return {
        "n_below_grain": found["n_rows"],
        "first_below_grain": found["first_row"] or "",
        "n_repeated": found["n_repeated"],
    }


def _words(value: object) -> str:
    """A list with ``; `` between its entries, one value as it is, nothing as ``none``."""
    return "; ".join(map(str, value)) if isinstance(value, list) else "none" if value is None else str(value)
