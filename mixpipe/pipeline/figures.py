"""The figures of one fit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from mixpipe.base.files import write_json
from mixpipe.model.noise import noise_of
from mixpipe.report.figures import draw_failure, fit_curves, fit_figures, save_figure
from mixpipe.report.figures.look import read_look
from mixpipe.report.figures.style import styled
from mixpipe.results.provenance import check_code
from mixpipe.results.record import FailedRecord, FitRecord, load_record
from mixpipe.results.tables import (
    ERROR_COLUMNS,
    read_estimates,
    read_fit,
    read_window,
    records_table,
    window_columns,
)

# Of more rows than this every second is drawn, every third, and so on.
_MOST_ROWS = 1_000_000


def draw_figures(
    code: str,
    fit: str,
    members: str,
    mixture: Sequence[str],
    selection: Sequence[str],
    classes: Sequence[str],
    quality: Sequence[str],
    estimators: Sequence[str],
    curves: str,
    look: str = "{}",
) -> None:
    """Draw a fit.

    Parameters
    ----------
    code : str
        Hash of the stage's code when the job was planned.
    fit, members : str
        fit.json and members.parquet, from `fit_column`.
    mixture, selection, classes, quality, estimators : sequence of str
        Files to write for each figure: PNG, SVG and PDF.
    curves : str
        JSON file to write: the numbers behind the figures.
    look : str
        What is set for the figures; see `Run.look`.
    """
    check_code("figures", code)
    wanted, chosen = read_look(look)
    record = load_record(fit)
    paths = {
        "mixture": mixture,
        "selection": selection,
        "classes": classes,
        "quality": quality,
        "estimators": estimators,
    }
    if isinstance(record, FailedRecord):
        with styled(chosen):
            picture = draw_failure(str(record.error), label=record.label)
            save_figure(picture, *(path for each in paths.values() for path in each))
        write_json({}, Path(curves))
        return
    if not isinstance(record, FitRecord):
        raise TypeError(f"{fit} is of no column of values")
    result = read_fit(record, fit)
    rows = _drawn_rows(members, window_columns(record))
    x, weights = rows["value"], rows.get("weight")
    given = rows["err"] if "err_lower" not in rows else rows[["err_lower", "err_upper"]].to_numpy().T
    err = noise_of(given, x.shape, None if record.error_dof is None else "student_t", record.error_dof)
    if record.account.weight_kind == "importance" and weights is not None:
        weights = weights * (result.n_data / weights.sum())
    if weights is None and result.n_data != len(x):
        raise ValueError(f"{members} has {len(x)} rows without weights, the fit {result.n_data:g}")
    table = records_table(record.selection)
    drawn: dict[str, Any] = {
        "limits": rows.get("limit"),
        "window": read_window(record, rows),
        "bins": rows[["low", "high"]] if "low" in rows else None,
        "look": wanted,
    }
    estimates = read_estimates(record)
    with styled(chosen):
        figures = fit_figures(
            result, table, record.criterion, estimates, x, err, weights, label=record.label, unit=record.unit, **drawn
        )
        for name, figure in figures.items():
            save_figure(figure, *paths[name])
    write_json(fit_curves(result, estimates, x, err, weights, **drawn), Path(curves))


def _drawn_rows(members: str, bounds: Sequence[str]) -> pd.DataFrame:
    """Values, errors, weights, limits and bounds: of all rows, or of evenly spaced ones that count for as many."""
    file = pq.ParquetFile(members)
    named = ("value", *ERROR_COLUMNS, "low", "high", "weight", "limit", *bounds)
    wanted = [name for name in named if name in file.schema_arrow.names]
    every = -(-file.metadata.num_rows // _MOST_ROWS) or 1
    if every == 1:
        return file.read(columns=wanted).to_pandas()
    parts, n_before = [], 0
    for group in range(file.num_row_groups):
        block = file.read_row_group(group, columns=wanted)
        parts.append(block.to_pandas().iloc[-n_before % every :: every])
        n_before += block.num_rows
    rows = pd.concat(parts, ignore_index=True)
    weights = rows.get("weight", pd.Series(1.0, index=rows.index))
    return rows.assign(weight=weights * file.metadata.num_rows / len(rows))
