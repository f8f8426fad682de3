"""The figures of one joint fit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq

from mixpipe.assess.joint_transforms import JointQuality, Transforms
from mixpipe.base.files import write_json
from mixpipe.model.joint.cells import JointCells
from mixpipe.model.mixture import Mixture
from mixpipe.report.figures import draw_failure, draw_selection, save_figure
from mixpipe.report.figures.corner import corner_heading, draw_corner
from mixpipe.report.figures.joint_curves import joint_curves
from mixpipe.report.figures.joint_quality import draw_joint_quality
from mixpipe.report.figures.joint_scene import JointScene
from mixpipe.report.figures.look import NO_LOOKS, read_looks
from mixpipe.report.figures.style import styled
from mixpipe.results.joint_tables import read_joint_fit, read_rows
from mixpipe.results.provenance import check_code
from mixpipe.results.record import FailedRecord, FitRecord, JointRecord, load_record
from mixpipe.results.tables import read_mixture, records_table

# Of more rows than this every second is drawn, every third, and so on.
_MOST_ROWS = 100_000


def draw_joint_figures(
    code: str,
    fit: str,
    members: str,
    columns: Sequence[str],
    corner: Sequence[str],
    selection: Sequence[str],
    quality: Sequence[str],
    curves: str,
    looks: str = NO_LOOKS,
) -> None:
    """Draw a joint fit.

    Parameters
    ----------
    code : str
        Hash of the stage's code when the job was planned.
    fit, members : str
        fit.json and members.parquet, from `fit_joint`.
    columns : sequence of str
        fit.json of those columns that are also fitted one by one.
    corner, selection, quality : sequence of str
        Files to write for each figure: PNG, SVG and PDF.
    curves : str
        JSON file to write: the numbers behind the figures.
    looks : str
        What is set for the figures of the catalog; see `Run.looks`.
    """
    check_code("joint_figures", code)
    by_column, chosen = read_looks(looks)
    with styled(chosen):
        record = load_record(fit)
        if isinstance(record, FailedRecord):
            save_figure(draw_failure(str(record.error), label=record.label), *corner, *selection, *quality)
            write_json({}, Path(curves))
            return
        if not isinstance(record, JointRecord):
            raise TypeError(f"{fit} is not of several columns")
        result = read_joint_fit(record, fit)
        n_members = pq.read_metadata(members).num_rows
        x, cov, weights = read_rows(members, record.names, -(-n_members // _MOST_ROWS) or 1)
        # Weights of importance count for the rows that they are worth, and rows for those that are not drawn.
        weights = weights * (record.n_data / weights.sum()) if record.account.weight_kind == "importance" else weights
        cells = JointCells.from_rows(x, cov=cov, weights=weights, names=record.names, resolve=False)
        scene = JointScene.of(result.mixture, cells)
        transforms = Transforms(result.mixture)
        transforms.add(cells.x, cells.cov, cells.weights)
        own = _own_fits(columns)
        floor = 1.0 / (record.quality_draws + 1) if record.quality_draws else None
        statistics = [
            JointQuality(one.name, one.n_rows, _number(one.ks), _number(one.ks_pvalue)) for one in record.quality
        ]
        place = {"label": record.label, "n_rows": n_members}
        save_figure(draw_corner(result, scene, own, units=record.units, looks=by_column, **place), *corner)
        save_figure(draw_selection(records_table(record.selection), record.criterion, label=record.label), *selection)
        save_figure(draw_joint_quality(result, transforms, statistics, floor=floor, **place), *quality)
        note = corner_heading(result, scene, n_members)
        write_json(joint_curves(scene, transforms, own, note, by_column), Path(curves))


def _own_fits(columns: Sequence[str]) -> dict[str, Mixture]:
    """The mixtures of the columns that were fitted one by one, by name."""
    records = [load_record(column) for column in columns]
    return {record.column: read_mixture(record.components) for record in records if isinstance(record, FitRecord)}


def _number(value: float | None) -> float:
    return math.nan if value is None else value
