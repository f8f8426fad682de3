"""The whole run on one page."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mixpipe.provenance import check_code
from mixpipe.report import DensityEntry, ReportEntry, write_report
from mixpipe.tables import components_table, read_fit


def render_report(code: str, command: str, fits: Sequence[str], figures: Sequence[str], page: str) -> None:
    """Write the page.

    Parameters
    ----------
    code : str
        Hash of the stage's code when the job was planned.
    command : str
        How to repeat the run.
    fits : sequence of str
        fit.json of every fit, in the order of the page.
    figures : sequence of str
        SVG figures of the fits, each in the folder of its fit.
    page : str
        HTML file to write.
    """
    check_code("report", code)
    documents = {Path(fit).parent: json.loads(Path(fit).read_text(encoding="utf-8")) for fit in fits}
    drawn: dict[Path, dict[str, Path]] = {folder: {} for folder in documents}
    for figure in map(Path, figures):
        drawn[figure.parent][figure.stem] = figure
    entries = [_entry(document, drawn[folder]) for folder, document in documents.items()]
    write_report(page, entries, {"command": command, **_provenance(documents.values())})


def _entry(document: dict[str, Any], figures: dict[str, Path]) -> ReportEntry | DensityEntry:
    if document.get("kind") == "densities":
        return DensityEntry(
            catalog=document["catalog"],
            release=document["release"],
            column=document["column"],
            unit=document["unit"],
            n_rows={int(number): rows for number, rows in document["n_rows"].items()},
            account=document["account"],
            summary={name: document[name] for name in ("n_data", "n_components", "criterion", "ks", "l2")},
            figures=figures,
            warnings=tuple(document["warnings"]),
        )
    numbers = ("n_data", "n_components", "criterion", "loglik", "bic", "converged")
    return ReportEntry(
        catalog=document["catalog"],
        release=document["release"],
        column=document["column"],
        unit=document["unit"],
        components=components_table(
            read_fit(document),
            document["unit"],
            np.array([row["sigma_upper"] for row in document["components"]], dtype=np.float64),
        ),
        selection=pd.DataFrame(document["selection"]),
        account=document["account"],
        summary={name: document[name] for name in numbers} | document["quality"],
        figures=figures,
        warnings=tuple(document["warnings"]),
        estimators=pd.DataFrame(document["estimators"]),
    )


def _provenance(documents: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Settings, versions and input files of all fits, each once."""
    settings: dict[str, str] = {}
    versions: dict[str, str] = {}
    files: dict[str, str] = {}
    for document in documents:
        plan = document["plan"]
        given = {**plan["column"], **{name: plan.get(name) for name in ("key", "where", "criterion")}}
        del given["name"]
        settings[f"{plan['catalog']} / {document['column']}"] = ", ".join(
            f"{name} {_words(value)}" for name, value in given.items() if value is not None
        )
        versions |= document["versions"]
        files |= {file["path"]: file["sha256"] for file in document["account"]["files"]}
    inputs = [{"path": path, "sha256": digest} for path, digest in files.items()]
    return {"settings": settings, "versions": versions, "inputs": inputs}


def _words(value: object) -> str:
    return f"({', '.join(map(str, value))})" if isinstance(value, list) else str(value)
