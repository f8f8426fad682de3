"""The whole run in one table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mixpipe.assess.quality import verdict_of
from mixpipe.results.answer import answer, read_changes
from mixpipe.results.provenance import check_code
from mixpipe.results.record import DensityRecord, FitRecord, JointRecord, Record, load_record
from mixpipe.results.tables import status_columns, write_csv


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
    changes = read_changes(comparisons)
    write_csv(pd.DataFrame([_row(load_record(fit), changes) for fit in fits]), Path(table))


def _row(record: Record, changes: Mapping[tuple[str, str, str], Mapping[str, Any]]) -> dict[str, Any]:
    change = changes.get((record.catalog, record.release, record.column))
    found = answer(record, change)
    # Of tabulated densities there is a mixture for each row: no likelihood, and the median of `ks`.
    fit = record if isinstance(record, FitRecord) else None
    quality = fit.quality if fit else None
    ks, ks_pvalue, verdict = _quality(record)
    likelihood = record if isinstance(record, FitRecord | JointRecord) else None
    return {
        "catalog": record.catalog,
        "release": record.release,
        "column": record.column,
        "kind": record.kind,
        "unit": record.unit_text,
        "n_data": record.account.n_used,
        "n_dropped": record.account.n_dropped,
        "n_components": record.n_components,
        "criterion": record.criterion,
        "loglik": _number(likelihood.loglik if likelihood else None),
        "bic": _number(likelihood.bic if likelihood else None),
        "converged": record.converged,
        "ks": _number(ks),
        "ks_pvalue": _number(ks_pvalue),
        "ad": _number(quality.ad if quality else None),
        "ad_pvalue": _number(quality.ad_pvalue if quality else None),
        "quality": verdict,
        "verdict": "" if change is None else change["verdict"],
        "warnings": "; ".join(record.warnings),
        "sigma_floor": _number(fit.sigma_floor if fit else None),
        "floor_cause": fit.resolution.cause if fit and fit.resolution else "",
        **status_columns(record),
        "answer": found.sentence,
        "basis": found.basis,
    }


def _quality(record: Record) -> tuple[float | None, float | None, str]:
    """Kolmogorov-Smirnov statistic, its p-value, and the verdict: of a joint fit those of its worst column.

    The verdict on a joint fit is by the lowest p-value of all its projections.
    """
    if isinstance(record, FitRecord):
        return record.quality.ks, record.quality.ks_pvalue, record.quality.verdict
    if isinstance(record, JointRecord):
        worst = record.worst_column
        verdict = verdict_of(record.lowest_pvalue)
        return (worst.ks, worst.ks_pvalue, verdict) if worst else (None, None, verdict)
    return record.ks.median if isinstance(record, DensityRecord) else None, None, "untested"


def _number(value: float | None) -> float:
    return math.nan if value is None else value
