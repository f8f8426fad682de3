"""The whole run on one page."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mixpipe.base.arrays import histogram_heights
from mixpipe.model.mixture import Mixture
from mixpipe.model.truncated import TruncatedMixture
from mixpipe.report.entries import DensityEntry, FailedEntry, ReleaseChange, ReportEntry, Rows
from mixpipe.report.page import write_report
from mixpipe.results.provenance import check_code
from mixpipe.results.record import AccountRecord, DensityRecord, ExampleRecord, FailedRecord, Record, load_record
from mixpipe.results.tables import components_table, describe_resolution, read_comparison, read_fit, records_table

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
    records = {Path(fit).parent: load_record(fit) for fit in fits}
    drawn: dict[Path, dict[str, Path]] = {folder: {} for folder in records}
    for figure in map(Path, figures):
        drawn[figure.parent][figure.stem] = figure
    numbers = {Path(path).parent: json.loads(Path(path).read_text(encoding="utf-8")) for path in curves}
    entries = [_entry(record, drawn[folder], numbers.get(folder)) for folder, record in records.items()]
    text = yaml.safe_dump(json.loads(config), sort_keys=False, allow_unicode=True, width=110)
    provenance = {"command": command, "config": text, **_provenance(records.values())}
    write_report(page, entries, provenance, [_change(Path(path)) for path in comparisons])


def _entry(
    record: Record, figures: dict[str, Path], curves: dict[str, Any] | None
) -> ReportEntry | DensityEntry | FailedEntry:
    shared: dict[str, Any] = {
        "catalog": record.catalog,
        "release": record.release,
        "column": record.column,
        "unit": record.unit,
        "account": _rows(record.account),
        "warnings": record.warnings,
        "settings": {name: _words(value) for name, value in record.settings.items()},
    }
    if isinstance(record, FailedRecord):
        return FailedEntry(**shared, figures={}, summary={"n_data": 0}, reason=str(record.error))
    counts = {"n_data": record.n_data, "n_components": record.n_components, "criterion": record.criterion}
    if isinstance(record, DensityRecord):
        return DensityEntry(
            **shared,
            figures=figures,
            n_rows={int(number): rows for number, rows in record.n_rows.items()},
            summary={**counts, "ks": vars(record.ks), "l2": vars(record.l2)},
            examples=tuple(_example(example, record.key or "row") for example in record.examples),
        )
    upper = [component.sigma_upper for component in record.components]
    return ReportEntry(
        **shared,
        figures=figures,
        components=components_table(read_fit(record), record.unit, np.array(upper, dtype=np.float64)),
        selection=records_table(record.selection),
        summary={
            **counts,
            "loglik": record.loglik,
            "bic": record.bic,
            "converged": record.converged,
            **vars(record.quality),
            "pvalue_floor": 1.0 / (record.quality_draws + 1) if record.quality_draws else None,
        },
        estimators=records_table(record.estimators),
        intervals=records_table(record.intervals),
        curves=curves,
        resolution=describe_resolution(record),
    )


def _rows(account: AccountRecord) -> Rows:
    return Rows(
        n_read=account.n_read,
        n_used=account.n_used,
        dropped=account.dropped,
        n_upper_limits=account.n_upper_limits,
        n_lower_limits=account.n_lower_limits,
        weight_kind=account.weight_kind,
        n_effective=account.n_effective,
        normalisation=account.normalisation,
        are_bins=isinstance(account.value, tuple),
    )


def _example(example: ExampleRecord, key: str) -> dict[str, Any]:
    grid, density = np.array(example.grid), np.array(example.density)
    if example.edges is None:
        density = density / np.trapezoid(density, grid)
    else:
        density = np.repeat(histogram_heights(example.edges, density), 2)
        grid = np.repeat(example.edges, 2)[1:-1]
    fine = np.linspace(grid[0], grid[-1], _POINTS)
    mixture = Mixture(np.array(example.weights), np.array(example.means), np.array(example.sigmas))
    return {
        "which": example.which,
        "row": f"{key} {example.row}",
        "grid": grid,
        "density": density,
        "fine": fine,
        "mixture": TruncatedMixture(mixture, *example.bounds).pdf(fine),
    }


def _change(summary: Path) -> ReleaseChange:
    table, components = read_comparison(summary)
    place = table.iloc[0]
    return ReleaseChange(
        place["catalog"], place["old"], place["new"], table, components, summary.with_name("overlay.svg")
    )


def _provenance(records: Iterable[Record]) -> dict[str, Any]:
    """Settings, versions and input files of all fits, each once."""
    settings: dict[str, dict[str, None]] = {}
    versions: dict[str, str] = {}
    files: dict[str, str] = {}
    for record in records:
        for name, value in {"criterion": record.criterion, **record.effort}.items():
            settings.setdefault(name, {})[_words(value)] = None
        versions |= record.versions
        files |= {file.path: file.sha256 for file in record.account.files}
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
