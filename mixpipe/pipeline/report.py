"""The whole run on one page."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mixpipe.assess.quality import verdict_of
from mixpipe.base.arrays import histogram_heights
from mixpipe.config.settings import ColumnSettings
from mixpipe.model.mixture import Mixture
from mixpipe.model.truncated import TruncatedMixture
from mixpipe.report.entries import DensityEntry, Entry, FailedEntry, JointEntry, ReleaseChange, ReportEntry, Rows
from mixpipe.report.page import write_report
from mixpipe.results.answer import answer, read_changes
from mixpipe.results.methods import describe_methods
from mixpipe.results.provenance import GIVEN, check_code
from mixpipe.results.record import (
    DensityRecord,
    ExampleRecord,
    FailedRecord,
    FitRecord,
    JointRecord,
    Record,
    load_record,
)
from mixpipe.results.tables import (
    components_table,
    describe_resolution,
    read_bimodality,
    read_comparison,
    read_fit,
    read_mixture,
    records_table,
)

# What is told of the columns of a joint fit where it is not the default.
_OF_COLUMNS = ("error_kind", "error_scale", "error_floor", "sigma_floor", "transform", "unit", "file_unit")

# Folder of the comparison of joint fits, in that of the columns.
_JOINT = "joint"

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
        How to repeat the run, if the environment does not have it as it was given.
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
    fitted = {(record.catalog, record.release, record.column): record for record in records.values()}
    changes = read_changes(comparisons)
    entries = [
        _entry(record, drawn[folder], numbers.get(folder), fitted, changes) for folder, record in records.items()
    ]
    text = yaml.safe_dump(json.loads(config), sort_keys=False, allow_unicode=True, width=110)
    provenance = {"command": os.environ.get(GIVEN) or command, "config": text, **_provenance(records.values())}
    write_report(page, entries, provenance, [_change(Path(path)) for path in comparisons])


def _entry(
    record: Record,
    figures: dict[str, Path],
    curves: dict[str, Any] | None,
    fitted: Mapping[tuple[str, str, str], Record],
    changes: Mapping[tuple[str, str, str], Mapping[str, Any]],
) -> Entry:
    found = answer(record, changes.get((record.catalog, record.release, record.column)))
    shared: dict[str, Any] = {
        "catalog": record.catalog,
        "release": record.release,
        "column": record.column,
        "unit": record.unit,
        "account": _rows(record),
        "warnings": record.warnings,
        "settings": _settings(record),
        "answer": (found.head, *found.parts),
        "evidence": found.evidence,
    }
    if isinstance(record, FailedRecord):
        return FailedEntry(**shared, figures={}, summary={"n_data": 0}, reason=str(record.error))
    shared["methods"] = {
        "text": describe_methods(record),
        "LaTeX": describe_methods(record, "latex"),
        "BibTeX": describe_methods(record, "bibtex"),
    }
    counts = {"n_data": record.n_data, "n_components": record.n_components, "criterion": record.criterion}
    if isinstance(record, DensityRecord):
        return DensityEntry(
            **shared,
            figures=figures,
            n_rows={int(number): rows for number, rows in record.n_rows.items()},
            summary={**counts, "ks": vars(record.ks), "l2": vars(record.l2)},
            examples=tuple(_example(example, record.key or "row") for example in record.examples),
        )
    if isinstance(record, JointRecord):
        alone = [(name, fitted.get((record.catalog, record.release, name))) for name in record.names]
        return _joint_entry(record, shared | {"figures": figures, "curves": curves or None}, dict(alone))
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
        bimodality=read_bimodality(record),
    )


def _joint_entry(record: JointRecord, shared: dict[str, Any], alone: Mapping[str, Record | None]) -> JointEntry:
    # What reads joint fits loads kernels, which other pages do not need.
    from mixpipe.assess.joint_transforms import JointQuality
    from mixpipe.results.joint_tables import read_joint_fit

    fit, worst = read_joint_fit(record), record.worst_column
    quality = tuple(
        JointQuality(one.name, one.n_rows, _number(one.ks), _number(one.ks_pvalue)) for one in record.quality
    )
    return JointEntry(
        **shared,
        selection=records_table(record.selection),
        intervals=records_table(record.intervals),
        summary={
            "n_data": record.n_data,
            "n_components": record.n_components,
            "criterion": record.criterion,
            "loglik": record.loglik,
            "bic": record.bic,
            "converged": record.converged,
            "ks": worst.ks if worst else None,
            "ks_pvalue": worst.ks_pvalue if worst else None,
            "verdict": verdict_of(record.lowest_pvalue),
            "pvalue_floor": 1.0 / (record.quality_draws + 1) if record.quality_draws else None,
        },
        fit=fit,
        units=record.units,
        quality=quality,
        patterns=tuple((pattern.columns, pattern.n_rows) for pattern in record.patterns),
        unusable=record.unusable,
        alone=tuple(
            _alone(name, unit, fit.mixture.marginal(name), own)
            for (name, own), unit in zip(alone.items(), record.units, strict=True)
            if isinstance(own, FitRecord)
        ),
    )


def _alone(name: str, unit: str | None, marginal: Mixture, own: FitRecord) -> dict[str, Any]:
    """A column of a joint fit beside its own fit."""
    mean, width = _moments(marginal)
    mean_alone, width_alone = _moments(read_mixture(own.components))
    return {
        "name": name,
        "unit": unit,
        "n_components": marginal.n_components,
        "mean": mean,
        "width": width,
        "n_components_alone": own.n_components,
        "mean_alone": mean_alone,
        "width_alone": width_alone,
    }


def _moments(mixture: Mixture) -> tuple[float, float]:
    """Mean and standard deviation of a mixture; nan of components that are not Gaussian."""
    if not mixture.is_gaussian:
        return math.nan, math.nan
    mean = float(mixture.weights @ mixture.means)
    return mean, math.sqrt(mixture.weights @ (mixture.sigmas**2 + (mixture.means - mean) ** 2))


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _settings(record: Record) -> dict[str, str]:
    """How a column was read and fitted, in words."""
    given = record.settings
    if record.kind == "joint":
        given = {
            **joint_settings(record.plan["column"]),
            **{name: given[name] for name in ("key", "where") if name in given},
        }
    return {name: _words(value) for name, value in given.items()}


def joint_settings(entry: Mapping[str, Any]) -> dict[str, Any]:
    """How several columns were read and fitted, as names and words.

    Parameters
    ----------
    entry : mapping
        A `JointSettings` as the plan of a record has it.
    """
    words: dict[str, Any] = {"columns": "; ".join(map(_column_words, entry["columns"]))}
    if entry["covariance"] is not None:
        words["covariance of the errors"] = ", ".join(entry["covariance"])
    if entry["correlation"]:
        pairs = (f"{first} and {second}: {given}" for first, second, given in entry["correlation"])
        words["correlation of the errors"] = "; ".join(pairs)
    if entry["linear"] is not None:
        names = [column["name"] for column in entry["columns"]]
        words["combinations"] = "; ".join(
            f"{name} = {_combination(coefficients, names)}" for name, coefficients in entry["linear"]
        )
    missing = {"use": "rows with some of the columns are used", "drop": "rows without all columns are left out"}
    words["missing values"] = missing[entry["missing"]]
    if entry["weight"] is not None:
        words |= {"weight": entry["weight"], "weight kind": entry["weight_kind"]}
    words |= {"structure of the covariances": entry["structure"], "max_components": entry["max_components"]}
    return words


def _column_words(column: Mapping[str, Any]) -> str:
    """A column, its errors, and what is set otherwise than by default."""
    error = column["error"]
    if isinstance(error, (list, tuple)):
        error = " / ".join(map(str, error))
    text = str(column["value"]) if error is None else f"{column['value']} ± {error}"
    text = text if column["name"] == column["value"] and error is None else f"{column['name']}: {text}"
    plain = asdict(ColumnSettings(name="", value=""))
    others = [f"{name} {_words(column[name])}" for name in _OF_COLUMNS if column[name] != plain[name]]
    return f"{text} ({', '.join(others)})" if others else text


def _combination(coefficients: Sequence[float], names: Sequence[str]) -> str:
    terms = (f"{value:+g} × {name}" for value, name in zip(coefficients, names, strict=True) if value)
    return " ".join(terms).removeprefix("+").replace("-", "−")


def _rows(record: Record) -> Rows:
    account = record.account
    return Rows(
        n_read=account.n_read,
        n_used=account.n_used,
        dropped=account.dropped,
        n_upper_limits=account.n_upper_limits,
        n_lower_limits=account.n_lower_limits,
        weight_kind=account.weight_kind,
        n_effective=account.n_effective,
        normalisation=account.normalisation,
        are_bins=isinstance(account.value, tuple) and record.kind != "joint",
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
        place["catalog"],
        place["old"],
        place["new"],
        table,
        components,
        summary.with_name("overlay.svg"),
        of_joints=summary.parent.name == _JOINT,
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
