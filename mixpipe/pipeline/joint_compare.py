"""Two fits of several columns, as files: each joint fit of a release against the one before, or any two of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from matplotlib.figure import Figure

from mixpipe.assess.comparison.compare import Comparison
from mixpipe.assess.comparison.influence import Common
from mixpipe.assess.comparison.joint import JointFitted
from mixpipe.assess.comparison.joint import compare_joint_fits as compare_fits
from mixpipe.base.arrays import Array
from mixpipe.base.errors import CatalogError, ConfigError
from mixpipe.catalog.formats.arrays import parse_unit
from mixpipe.model.joint.blocks import lower_triangle
from mixpipe.model.joint.cells import JointCells, content_hash
from mixpipe.model.joint.mixture import JointMixture
from mixpipe.model.joint.results import JointFit, JointUncertainties
from mixpipe.pipeline.compare import (
    Compared,
    Kind,
    Stored,
    column_name,
    common_rows,
    compare_all,
    conversion,
    release_name,
    releases_label,
    untransformed,
)
from mixpipe.report.figures.joint_overlay import JointPanel, draw_joint_overlay
from mixpipe.report.figures.look import DEFAULT, NO_LOOKS, NONE_SET, Look
from mixpipe.results.joint_tables import read_joint_fit, read_rows
from mixpipe.results.provenance import check_code
from mixpipe.results.record import JointRecord, open_joint_fit


@dataclass(frozen=True, eq=False)
class StoredJointFit(Stored):
    """A fit of several columns as its files have it; see `Stored`."""

    record: JointRecord
    fitted: JointFitted

    def unit_of(self, parameter: str) -> str:
        """Unit of a parameter of the components: of means and sigmas that of their column."""
        units = zip(self.record.names, self.record.units, strict=True)
        return {f"{word}_{name}": unit or "" for name, unit in units for word in ("mean", "sigma")}.get(parameter, "")


def compare_joint_fits(
    code: str,
    old: Sequence[str],
    new: Sequence[str],
    components: str,
    summary: str,
    overlay: Sequence[str],
    looks: str = NO_LOOKS,
) -> None:
    """Compare joint fits, each with that of the same name in the release before.

    Parameters
    ----------
    code : str
        Hash of the stage's code when the job was planned.
    old, new : sequence of str
        fit.json of each joint fit in both releases, in the same order; members.parquet stands beside each.
    components, summary : str
        CSV tables to write.
    overlay : sequence of str
        Figures to write: PNG, SVG and PDF.
    looks : str
        What is set for the figures; see `Run.looks`.
    """
    check_code("joint_compare", code)
    compare_all(JOINTS, old, new, Path(components), Path(summary), list(map(Path, overlay)), looks)


def read_stored_joint(path: str | Path) -> StoredJointFit:
    """A joint fit from its fit.json, or from the folder that holds it.

    Raises
    ------
    CatalogError
        For what is no joint fit.
    """
    file, record = open_joint_fit(path)
    members = file.with_name("members.parquet")
    fit = read_joint_fit(record, file)
    try:
        x, cov, weights = read_rows(members, record.names)
        cells = JointCells.from_rows(
            x,
            cov=cov,
            weights=weights,
            weight_kind=record.account.weight_kind or "auto",
            names=record.names,
            sigma_floor=[resolution.floor for resolution in fit.resolutions],
        )
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise CatalogError(
            f"the rows of the fit cannot be read ({error})", f"in {members}", "members.parquet of the fit beside it"
        ) from error
    if len(cells) != len(x) or not math.isclose(cells.n_data, fit.n_data, rel_tol=1e-9):
        raise CatalogError(
            f"{cells.n_data:g} rows for a fit to {fit.n_data:g}", f"in {members}", "members.parquet of the same fit"
        )
    component = fit.mixture.responsibilities(cells.x, cov=cells.cov).argmax(axis=1)
    selection = [(row.n_components, math.nan if row.bic is None else row.bic) for row in record.selection]
    return StoredJointFit(file, record, JointFitted(fit, cells, component, selection))


def compare_stored_joint(old: StoredJointFit, new: StoredJointFit) -> Comparison:
    """Compare two joint fits, the old one in the units of the new one.

    Raises
    ------
    ConfigError
        For fits of other columns, units that do not convert into each other, or other transforms.
    """
    converted, notes = _in_units_of(old, new)
    structures = old.record.structure, new.record.structure
    if structures[0] != structures[1]:
        notes.append(f"covariances are {structures[0]} in the old fit, {structures[1]} in the new one")
    common, remarks = common_rows(old, new)
    if common is None:
        common, remarks = (
            _rows_of_equal_contents(converted.cells, new.fitted.cells),
            ["rows without a common key are known by their contents: revised rows count as dropped and added"],
        )
    return compare_fits(converted, new.fitted, common, [*notes, *remarks])


def _rows_of_equal_contents(old: JointCells, new: JointCells) -> Common:
    """Rows with the same values and errors, the first of several with the first."""
    frames = []
    for cells in (old, new):
        key = content_hash(cells.x, cells.cov, np.ones(len(cells)))
        frame = pd.DataFrame({"key": key, "place": np.arange(len(cells))})
        frames.append(frame.assign(occurrence=frame.groupby("key", sort=False).cumcount()))
    joined = frames[0].merge(frames[1], on=["key", "occurrence"], suffixes=("_old", "_new"))
    return Common(joined["place_old"].to_numpy(), joined["place_new"].to_numpy())


def _transforms(record: JointRecord) -> list[str]:
    """The transform of each column; combinations of columns have none of their own."""
    settings = record.settings
    if settings.get("linear") is not None:
        return ["none"] * len(record.names)
    return [column.get("transform", "none") for column in settings["columns"]]


def _in_units_of(old: StoredJointFit, new: StoredJointFit) -> tuple[JointFitted, list[str]]:
    """The old fit in the units of the new one, and remarks."""
    where = f"in {old.path} and {new.path}"
    names = old.record.names, new.record.names
    if names[0] != names[1]:
        there, here = (", ".join(each) for each in names)
        raise ConfigError(f"columns {there} there, {here} here", where, "the same columns in the same order")
    factors, shifts, lacking = [], [], []
    sides = [zip(_transforms(each.record), each.record.units, strict=True) for each in (old, new)]
    for name, (transform, there), (other, here) in zip(names[1], *sides, strict=True):
        if transform != other:
            raise ConfigError(f"transform {transform} of {name} there, {other} here", where, "the same transforms")
        before, after = (parse_unit(untransformed(unit, transform)) for unit in (there, here))
        lacking += [name] * ((before is None) != (after is None))
        known = before is not None and after is not None and before != after
        factor, shift = conversion(before, after, transform, where) if known else (1.0, 0.0)
        factors.append(factor)
        shifts.append(shift)
    notes = [f"one of the fits has no unit of {', '.join(lacking)}: taken for that of the other"] if lacking else []
    if set(factors) == {1.0} and set(shifts) == {0.0}:
        return old.fitted, notes
    return _scaled(old.fitted, np.array(factors), np.array(shifts)), notes


def _scaled(fitted: JointFitted, factors: Array, shifts: Array) -> JointFitted:
    """A fit and its rows in other units: each column times its factor, plus its shift."""
    fit, cells = fitted.fit, fitted.cells
    squares = factors[:, None] * factors
    jacobian = float(cells.weights @ ~np.isnan(cells.x) @ np.log(factors))
    row, column = lower_triangle(factors.size)
    by_parameter = np.tile(np.concatenate([[1.0], factors, squares[row, column]]), fit.n_components)
    mixture, unc = fit.mixture, fit.uncertainties
    # A null direction gives the width of a linear combination of the columns.
    directions = [part / factors for part in fit.null_directions]
    lengths = [np.linalg.norm(part, axis=1) for part in directions]
    scaled: JointFit = replace(
        fit,
        mixture=JointMixture(
            mixture.weights, mixture.means * factors + shifts, mixture.covariances * squares, mixture.names
        ),
        loglik=fit.loglik - jacobian,
        uncertainties=JointUncertainties(
            unc.weights, unc.means * factors, unc.sigmas * factors, unc.correlations, unc.covariances * squares
        ),
        covariance=fit.covariance * by_parameter[:, None] * by_parameter if fit.covariance.size else fit.covariance,
        null_directions=tuple(part / size[:, None] for part, size in zip(directions, lengths, strict=True)),
        null_limits=tuple(part / size for part, size in zip(fit.null_limits, lengths, strict=True)),
        resolutions=tuple(one.scaled(factor) for one, factor in zip(fit.resolutions, factors.tolist(), strict=True)),
    )
    rows = replace(cells, x=cells.x * factors + shifts, cov=cells.cov * squares, resolutions=scaled.resolutions)
    selection = [(size, bic + 2.0 * jacobian) for size, bic in fitted.selection]
    return replace(fitted, fit=scaled, cells=rows, selection=selection)


def draw_joint_comparison(compared: Sequence[Compared], looks: Mapping[str, Look] = NONE_SET) -> Figure:
    """The figure of comparisons; see `mixpipe.pipeline.compare.write_comparison`."""
    panels = [
        JointPanel(
            column_name(old, new),
            tuple(looks.get(name, DEFAULT).label or name for name in new.record.names),
            tuple(new.record.units),
            (release_name(old), release_name(new)),
            comparison,
            new.fitted.cells.x,
        )
        for old, new, comparison in compared
    ]
    return draw_joint_overlay(panels, label=releases_label(*compared[0][:2]))


JOINTS = Kind(read_stored_joint, compare_stored_joint, draw_joint_comparison)
