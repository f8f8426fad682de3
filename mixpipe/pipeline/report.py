"""The whole run on one page."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from mixpipe.model.mixture import Mixture
from mixpipe.report.entries import DensityEntry, FailedEntry, ReleaseChange, ReportEntry
from mixpipe.report.page import write_report
from mixpipe.results.provenance import check_code
from mixpipe.results.tables import components_table, describe_resolution, read_comparison, read_failure, read_fit

# Points of the mixture of a tabulated density.
_POINTS = 600


def render_report(
    code: str,
    command: str,
    config: str,
    fits: Sequence[str],
    figures: Sequence[str],
    curves: Sequence[str],
    comparisons: Sequence[str],
    page: str,
) -> None:
    """Write the page.

    Parameters
    ----------
    code : str
        Hash of the stage's code when the job was planned.
    command : str
        How to repeat the run.
    config : str
        The configuration, as JSON.
    fits : sequence of str
        fit.json of every fit, in the order of the page.
    figures : sequence of str
        SVG figures of the fits, each in the folder of its fit.
    curves : sequence of str
        curves.json of the fits that have it, each in the folder of its fit.
    comparisons : sequence of str
        summary.csv of each comparison of two releases; components.csv and overlay.svg stand beside it.
    page : str
        HTML file to write.
    """
    check_code("report", code)
    documents = {Path(fit).parent: _read(fit) for fit in fits}
    drawn: dict[Path, dict[str, Path]] = {folder: {} for folder in documents}
    for figure in map(Path, figures):
        drawn[figure.parent][figure.stem] = figure
    numbers = {Path(path).parent: _read(path) for path in curves}
    entries = [_entry(document, drawn[folder], numbers.get(folder)) for folder, document in documents.items()]
    text = yaml.safe_dump(json.loads(config), sort_keys=False, allow_unicode=True, width=110)
    provenance = {"command": command, "config": text, **_provenance(documents.values())}
    write_report(page, entries, provenance, [_change(Path(path)) for path in comparisons])


def _read(path: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    return document


def _entry(
    document: dict[str, Any], figures: dict[str, Path], curves: dict[str, Any] | None
) -> ReportEntry | DensityEntry | FailedEntry:
    shared: dict[str, Any] = {
        **{name: document[name] for name in ("catalog", "release", "column", "unit", "account")},
        "figures": figures,
        "warnings": tuple(document["warnings"]),
        "settings": _settings(document["plan"]),
    }
    failure = read_failure(document)
    if failure is not None:
        return FailedEntry(**{**shared, "figures": {}, "summary": {"n_data": 0}}, reason=str(failure))
    if document.get("kind") == "densities":
        return DensityEntry(
            **shared,
            n_rows={int(number): rows for number, rows in document["n_rows"].items()},
            summary={name: document[name] for name in ("n_data", "n_components", "criterion", "ks", "l2")},
            examples=tuple(_example(example, document["plan"]["key"] or "row") for example in document["examples"]),
        )
    numbers = ("n_data", "n_components", "criterion", "loglik", "bic", "converged")
    n_draws = document["plan"]["effort"]["quality_draws"]
    return ReportEntry(
        **shared,
        components=components_table(
            read_fit(document),
            document["unit"],
            np.array([row["sigma_upper"] for row in document["components"]], dtype=np.float64),
        ),
        selection=pd.DataFrame(document["selection"]),
        summary={name: document[name] for name in numbers}
        | document["quality"]
        | {"pvalue_floor": 1.0 / (n_draws + 1) if n_draws else None},
        estimators=pd.DataFrame(document["estimators"]),
        intervals=pd.DataFrame(document["intervals"]),
        curves=curves,
        resolution=describe_resolution(document),
    )


def _example(example: dict[str, Any], key: str) -> dict[str, Any]:
    grid, density = np.array(example["grid"]), np.array(example["density"])
    fine = np.linspace(grid[0], grid[-1], _POINTS)
    return {
        "which": example["which"],
        "row": f"{key} {example['row']}",
        "grid": grid,
        "density": density / np.trapezoid(density, grid),
        "fine": fine,
        "mixture": Mixture(example["weights"], example["means"], example["sigmas"]).pdf(fine),
    }


def _change(summary: Path) -> ReleaseChange:
    table, components = read_comparison(summary)
    place = table.iloc[0]
    return ReleaseChange(
        place["catalog"], place["old"], place["new"], table, components, summary.with_name("overlay.svg")
    )


def _settings(plan: dict[str, Any]) -> dict[str, str]:
    """How a column was read and fitted: what is set, beside what is the same for the whole run."""
    given = {**plan["column"], **{name: plan.get(name) for name in ("key", "where")}}
    del given["name"]
    return {name: _words(value) for name, value in given.items() if value is not None}


def _provenance(documents: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Settings, versions and input files of all fits, each once."""
    settings: dict[str, dict[str, None]] = {}
    versions: dict[str, str] = {}
    files: dict[str, str] = {}
    for document in documents:
        for name, value in {"criterion": document["criterion"], **document["plan"].get("effort", {})}.items():
            settings.setdefault(name, {})[_words(value)] = None
        versions |= document["versions"]
        files |= {file["path"]: file["sha256"] for file in document["account"]["files"]}
    inputs = [{"path": path, "sha256": digest} for path, digest in files.items()]
    return {
        "settings": {name: tuple(words) for name, words in settings.items()},
        "versions": versions,
        "inputs": inputs,
    }


def _words(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
