"""The whole run in one table."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mixpipe.results.provenance import check_code
from mixpipe.results.tables import read_verdicts, status_columns, write_csv


def summarise(code: str, fits: Sequence[str], comparisons: Sequence[str], table: str) -> None:
    """Write one row for each catalog, release and column.

    Parameters
    ----------
    code : str
        Hash of the stage's code when the job was planned.
    fits : sequence of str
        fit.json of every fit, in the order of the rows to write.
    comparisons : sequence of str
        summary.csv of each comparison of two releases.
    table : str
        CSV file to write.
    """
    check_code("summary", code)
    documents = [json.loads(Path(fit).read_text(encoding="utf-8")) for fit in fits]
    verdicts = read_verdicts(comparisons)
    write_csv(pd.DataFrame([_row(document, verdicts) for document in documents]), Path(table))


def _row(document: dict[str, Any], verdicts: dict[tuple[str, str, str], str]) -> dict[str, Any]:
    # Of tabulated densities there is a mixture for each row: no likelihood, and the median of `ks`.
    quality = document["quality"] if "quality" in document else {"ks": document.get("ks", {}).get("median")}
    return {
        "catalog": document["catalog"],
        "release": document["release"],
        "column": document["column"],
        "kind": document.get("kind", "values"),
        "unit": document["unit"] or "",
        "n_data": document["account"]["n_used"],
        "n_dropped": sum(document["account"]["dropped"].values()),
        "n_components": document["n_components"],
        "criterion": document["criterion"],
        "loglik": _number(document, "loglik"),
        "bic": _number(document, "bic"),
        "converged": document["converged"],
        "ks": _number(quality, "ks"),
        "ks_pvalue": _number(quality, "ks_pvalue"),
        "ad": _number(quality, "ad"),
        "ad_pvalue": _number(quality, "ad_pvalue"),
        "quality": quality.get("verdict", "untested"),
        "verdict": verdicts.get((document["catalog"], document["release"], document["column"]), ""),
        "warnings": "; ".join(document["warnings"]),
        "sigma_floor": _number(document, "sigma_floor"),
        "floor_cause": document.get("resolution", {}).get("cause", ""),
        **status_columns(document),
    }


def _number(numbers: dict[str, Any], name: str) -> float:
    value = numbers.get(name)
    return math.nan if value is None else value
