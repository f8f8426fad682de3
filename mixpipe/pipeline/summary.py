"""The whole run in one table."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mixpipe.provenance import check_code
from mixpipe.tables import write_csv


def summarise(code: str, fits: Sequence[str], table: str) -> None:
    """Write one row for each catalog, release and column.

    Parameters
    ----------
    code : str
        Hash of the stage's code when the job was planned.
    fits : sequence of str
        fit.json of every fit, in the order of the rows to write.
    table : str
        CSV file to write.
    """
    check_code("summary", code)
    rows = [_row(json.loads(Path(fit).read_text(encoding="utf-8"))) for fit in fits]
    write_csv(pd.DataFrame(rows), Path(table))


def _row(document: dict[str, Any]) -> dict[str, Any]:
    numbers = {name: document[name] for name in ("loglik", "bic")} | document["quality"]
    known = {name: math.nan if value is None else value for name, value in numbers.items()}
    return {
        "catalog": document["catalog"],
        "release": document["release"],
        "column": document["column"],
        "unit": document["unit"] or "",
        "n_data": document["account"]["n_used"],
        "n_dropped": sum(document["account"]["dropped"].values()),
        "n_components": document["n_components"],
        "criterion": document["criterion"],
        "loglik": known["loglik"],
        "bic": known["bic"],
        "converged": document["converged"],
        "ks": known["ks"],
        "ks_pvalue": known["ks_pvalue"],
        "ad": known["ad"],
        "ad_pvalue": known["ad_pvalue"],
        "quality": known["verdict"],
        "warnings": "; ".join(document["warnings"]),
    }
