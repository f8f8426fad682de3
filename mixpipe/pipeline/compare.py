"""Two fits, as files: each column of a release against the one before, or any two fits."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from astropy import units as u
from matplotlib.figure import Figure

from mixpipe.assess.comparison.compare import (
    SUMMARY_COLUMNS,
    Comparison,
    Fitted,
    compare_fits,
    differences_table,
    judge_release,
    summary_row,
)
from mixpipe.assess.comparison.influence import Common
from mixpipe.assess.comparison.verdict import NOT_COMPARED
from mixpipe.base.errors import CatalogError, ConfigError, MixpipeError, is_lasting
from mixpipe.catalog.formats.arrays import parse_unit
from mixpipe.model.cells import Cells
from mixpipe.model.mixture import Mixture
from mixpipe.model.results import Uncertainties
from mixpipe.model.window import Window
from mixpipe.report.figures.failure import draw_failure
from mixpipe.report.figures.look import DEFAULT, NO_LOOKS, NONE_SET, Look, read_looks
from mixpipe.report.figures.overlay import Panel, draw_overlay
from mixpipe.report.figures.style import save_figure, styled
from mixpipe.results.provenance import check_code
from mixpipe.results.record import FitRecord, JointRecord, RecordError, load_record, open_fit
from mixpipe.results.tables import ERROR_COLUMNS, read_fit, read_window, window_columns, write_csv

# What a row of the summary is about.
_PLACE = ("catalog", "old", "new", "column", "unit")


@dataclass(frozen=True, eq=False)
class Stored:
    """A fit as its files have it, of one column or of several.

    Parameters
    ----------
    path : Path
        Its fit.json; members.parquet stands beside it.
    record : FitRecord or JointRecord
        What it says.
    fitted : Fitted or JointFitted
        The fit and its rows.
    """

    path: Path
    record: FitRecord | JointRecord
    fitted: Any

    @property
    def label(self) -> str:
        """Catalog, release and column, as far as they have names."""
        return self.record.label

    @property
    def unit(self) -> str | None:
        """Unit of the values; None for those of several columns."""
        return self.record.unit

    def unit_of(self, parameter: str) -> str:
        """Unit of a parameter of the components; empty without one."""
        return "" if parameter == "weight" else self.unit or ""


@dataclass(frozen=True, eq=False)
class StoredFit(Stored):
    """A fit of one column as its files have it; see `Stored`."""

    record: FitRecord
    fitted: Fitted


# Two fits, the old one and the new one, and their comparison.
Compared = tuple[Any, Any, Comparison]


@dataclass(frozen=True)
class Kind:
    """How fits of a kind are compared: those of one column, or those of several.

    Parameters
    ----------
    read : callable
        Reads a fit from its fit.json or its folder.
    compare : callable
        Compares an old and a new fit that were read.
    draw : callable
        Draws the figure of some comparisons; the looks of their columns, by name, may follow.
    """

    read: Callable[[str | Path], Any]
    compare: Callable[[Any, Any], Comparison]
    draw: Callable[..., Figure]


def compare_releases(
    code: str,
    old: Sequence[str],
    new: Sequence[str],
    components: str,
    summary: str,
    overlay: Sequence[str],
    looks: str = NO_LOOKS,
) -> None:
    """Compare the columns of two releases and write the tables and the figure.

    Parameters
    ----------
    code : str
        Hash of the stage's code when the job was planned.
    old, new : sequence of str
        fit.json of every column of the two releases, in the same order; members.parquet stands beside each.
    components, summary : str
        CSV files to write.
    overlay : sequence of str
        Files to write for the figure: PNG, SVG and PDF.
    looks : str
        What is set for the figures of the columns; see `Run.looks`.
    """
    check_code("compare", code)
    compare_all(COLUMNS, old, new, Path(components), Path(summary), list(map(Path, overlay)), looks)


def compare_all(
    kind: Kind,
    old: Sequence[str],
    new: Sequence[str],
    components: Path,
    summary: Path,
    overlay: Sequence[Path],
    looks: str = NO_LOOKS,
) -> None:
    """Compare fits of one kind in two releases; see `compare_releases` for the arguments."""
    stored: list[tuple[Any, Any]] = []
    comparisons: list[Comparison] = []
    without: list[dict[str, str]] = []
    for path_old, path_new in zip(old, new, strict=True):
        try:
            pair = kind.read(path_old), kind.read(path_new)
            comparisons.append(kind.compare(*pair))
        except MixpipeError as error:
            # A record that cannot be used is no result: the fit has to be run again.
            if isinstance(error, RecordError) or not is_lasting(error):
                raise
            without.append(_not_compared(path_old, path_new, error.what))
            print(f"{without[-1]['column']}: {NOT_COMPARED}", error, sep="\n  ")
            continue
        stored.append(pair)
    # The verdict on a column depends on how many columns were compared.
    compared = [(*pair, each) for pair, each in zip(stored, judge_release(comparisons), strict=True)]
    for before, after, comparison in compared:
        verdict = f"{column_name(before, after)}: {comparison.verdict} ({comparison.judgement.basis})"
        print(verdict, *comparison.notes, sep="\n  ")
    write_comparison(kind, compared, components, summary, overlay, without, looks)


def _not_compared(old: str, new: str, note: str) -> dict[str, str]:
    """The row of a column that has no fit in one of the releases, or fits that are no two of a kind."""
    before, after = load_record(old), load_record(new)
    return {
        "catalog": after.catalog,
        "old": before.release,
        "new": after.release,
        "column": after.column,
        "unit": after.unit or "",
        "verdict": NOT_COMPARED,
        **dict.fromkeys(("evidence", "threshold", "shifted", "hints"), ""),
        "note": note,
    }


def write_comparison(
    kind: Kind,
    compared: Sequence[Compared],
    components: Path,
    summary: Path,
    overlay: Sequence[Path],
    without: Sequence[Mapping[str, str]] = (),
    looks: str = NO_LOOKS,
) -> None:
    """Write the tables and the figure of comparisons.

    Parameters
    ----------
    kind : Kind
        Of the fits.
    compared : sequence of (Stored, Stored, Comparison)
        The old and the new fit of each column, and what `Kind.compare` made of them.
    components, summary : Path
        CSV files to write.
    overlay : sequence of Path
        Files to write for the figure.
    without : sequence of mapping
        Rows of columns that could not be compared.
    looks : str
        What is set for the figures of the columns; see `Run.looks`.
    """
    tables, rows = [_with_place(differences_table([], []), "", [])], []
    for old, new, comparison in compared:
        column = column_name(old, new)
        table = differences_table(comparison.differences, comparison.judgement.findings)
        tables.append(_with_place(table, column, [new.unit_of(each.parameter) for each in comparison.differences]))
        place = (new.record.catalog, release_name(old), release_name(new), column, new.unit or "")
        rows.append({**dict(zip(_PLACE, place, strict=True)), **summary_row(comparison)})
    write_csv(pd.concat(tables[1:] or tables), components)
    # As objects whole numbers stay whole beside those that are missing.
    columns = [*_PLACE, *SUMMARY_COLUMNS]
    write_csv(pd.DataFrame([*rows, *without], columns=columns, dtype=object if without else None), summary)
    by_column, chosen = read_looks(looks)
    with styled(chosen):
        if compared:
            figure = kind.draw(compared, by_column)
        else:
            first, reasons = without[0], "; ".join(f"{row['column']}: {row['note']}" for row in without)
            figure = draw_failure(reasons, label=f"{first['catalog']}: {first['old']} → {first['new']}")
        save_figure(figure, *overlay)


def _with_place(table: pd.DataFrame, column: str, units: Sequence[str]) -> pd.DataFrame:
    """A table of differences with the column and the unit of each row."""
    table.insert(0, "column", column)
    table.insert(5, "unit", units)
    return table


def draw_comparison(
    compared: Sequence[tuple[StoredFit, StoredFit, Comparison]], looks: Mapping[str, Look] = NONE_SET
) -> Figure:
    """The figure of comparisons; see `write_comparison`."""
    panels = []
    for old, new, comparison in compared:
        names = (release_name(old), release_name(new))
        rows = _in_unit_of(old, new)[0].cells
        look = looks.get(new.record.column, DEFAULT)
        panels.append(Panel(column_name(old, new), new.unit, names, comparison, rows, new.fitted.cells, look))
    return draw_overlay(panels, label=releases_label(*compared[0][:2]))


def releases_label(old: Stored, new: Stored) -> str:
    """Catalog and releases of two fits."""
    catalogs = dict.fromkeys(each.record.catalog for each in (old, new))
    return f"{' → '.join(catalogs)}: {release_name(old)} → {release_name(new)}"


def compare_stored(old: StoredFit, new: StoredFit) -> Comparison:
    """Compare two fits, the old one in the unit of the new one.

    Raises
    ------
    ConfigError
        For fits that are not of the same quantity: other units, transforms or families, or columns of other names whose
        units do not say that they are alike.
    """
    _check_families(old, new)
    converted, notes = _in_unit_of(old, new)
    common, remarks = common_rows(old, new)
    return compare_fits(converted, new.fitted, common, [*notes, *remarks])


def column_name(old: Stored, new: Stored) -> str:
    """The column that is compared; both where they have different names."""
    names = (old.record.column, new.record.column)
    return names[0] if names[0] == names[1] else " → ".join(names)


def read_stored(path: str | Path) -> StoredFit:
    """A fit from its fit.json, or from the folder that holds it.

    Parameters
    ----------
    path : path
        A fit.json or its folder.

    Raises
    ------
    CatalogError
        For what is no fit.
    """
    file, record = open_fit(path)
    members = file.with_name("members.parquet")
    fit = read_fit(record, file)
    if record.plan["column"].get("kind") == "samples":
        # members.parquet has the mean and the deviation of each posterior.
        fit = replace(fit, error_model="samples")
    upper = [math.nan if each.sigma_upper is None else each.sigma_upper for each in record.components]
    selection = [(row.n_components, math.nan if row.bic is None else row.bic) for row in record.selection]
    try:
        there = pq.read_schema(members).names
        named = ("value", *ERROR_COLUMNS, "low", "high", "weight", "limit", "component", *window_columns(record))
        wanted = [name for name in named if name in there]
        rows = pq.read_table(members, columns=wanted)
        window = read_window(record, rows)
        rounded = record.resolution is not None and record.resolution.cause == "rounding"
        cells = _cells_of(rows, window, record.account.weight_kind or "auto", record.error_dof, rounded)
        component = rows["component"].to_numpy().astype(np.intp) - 1
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise CatalogError(
            f"the rows of the fit cannot be read ({error})", f"in {members}", "members.parquet of the fit beside it"
        ) from error
    if not math.isclose(cells.n_data, fit.n_data, rel_tol=1e-9):
        raise CatalogError(
            f"{cells.n_data:g} rows for a fit to {fit.n_data:g}", f"in {members}", "members.parquet of the same fit"
        )
    return StoredFit(file, record, Fitted(fit, cells, component, selection, np.array(upper), fit.error_scale))


def _cells_of(rows: pa.Table, window: Window | None, weight_kind: str, error_dof: float | None, rounded: bool) -> Cells:
    """The cells of members.parquet, of which intervals may be those from which values were rounded."""
    weights = rows["weight"].to_numpy() if "weight" in rows.column_names else None
    if rounded:
        values = Cells.from_rows(rows["value"], rows["err"], weights, weight_kind=weight_kind)
        return values.between(rows["low"].to_numpy(), rows["high"].to_numpy())
    if "low" in rows.column_names:
        edges = np.stack([rows["low"].to_numpy(), rows["high"].to_numpy()], axis=1)
        return Cells.from_histogram(edges, np.ones(len(edges)) if weights is None else weights, rows["err"].to_numpy())
    sided = "err_lower" in rows.column_names
    return Cells.from_rows(
        rows["value"],
        [rows["err_lower"], rows["err_upper"]] if sided else rows["err"],
        weights,
        error_model=None if error_dof is None else "student_t",
        error_dof=error_dof,
        limits=rows["limit"] if "limit" in rows.column_names else None,
        truncated=window,
        weight_kind=weight_kind,
    )


def release_name(stored: Stored) -> str:
    """The release, or the folder of a fit that has none."""
    return stored.record.release or stored.path.resolve().parent.name


def _in_unit_of(old: StoredFit, new: StoredFit) -> tuple[Fitted, list[str]]:
    """The old fit in the unit of the new one, and remarks."""
    units = [(each.record.transform, untransformed(each.unit, each.record.transform)) for each in (old, new)]
    if units[0][0] != units[1][0]:
        raise ConfigError(
            f"transform {units[0][0]} there, {units[1][0]} here", f"in {old.path} and {new.path}", "the same transform"
        )
    transform, text = units[0]
    before, after = (parse_unit(name) for name in (text, units[1][1]))
    where = f"in {old.path} and {new.path}"
    if old.record.column != new.record.column and (before is None or after is None):
        raise ConfigError(
            f"column {old.record.column} there, {new.record.column} here, not both with a unit",
            where,
            "the same column, or columns whose units convert into each other (key unit, option --unit)",
        )
    if before is None or after is None or before == after:
        lacking = (before is None) != (after is None)
        return old.fitted, ["one of the fits has no unit: taken for that of the other"] if lacking else []
    return in_other_unit(old.fitted, *conversion(before, after, transform, where)), []


def conversion(before: Any, after: Any, transform: str, where: str) -> tuple[float, float]:
    """The factor and the shift that convert values, or what a transform made of them, to another unit.

    Raises
    ------
    ConfigError
        For units that do not convert into each other.
    """
    try:
        if any(isinstance(unit, u.function.FunctionUnitBase) for unit in (before, after)):
            raise u.UnitConversionError
        factor = float(before.to(after))
    except (u.UnitConversionError, TypeError, AttributeError) as error:
        raise ConfigError(f"unit {before} there, {after} here", where, "units that convert into each other") from error
    if transform == "none":
        return factor, 0.0
    return 1.0, math.log10(factor) if transform == "log10" else math.log(factor)


def _check_families(old: StoredFit, new: StoredFit) -> None:
    families = [sorted(set(each.fitted.fit.mixture.families)) for each in (old, new)]
    if families[0] != families[1]:
        there, here = (" and ".join(names) for names in families)
        raise ConfigError(
            f"components of family {there} there, {here} here",
            f"in {old.path} and {new.path}",
            "fits with the same families (key families, option --family)",
        )


def untransformed(unit: str | None, transform: str) -> str | None:
    """The unit of what is transformed: of `log10(Msun)` it is Msun."""
    inner = re.fullmatch(rf"{transform}\((.*)\)", unit or "")
    return inner[1] if inner else unit


def in_other_unit(fitted: Fitted, factor: float, shift: float) -> Fitted:
    """A fit and its rows in another unit: times `factor`, plus `shift`."""
    fit, cells = fitted.fit, fitted.cells
    mixture, unc = fit.mixture, fit.uncertainties
    # Limits and bins have probabilities, and other rows a density.
    is_dense = np.full(len(cells), cells.edges is None or cells.are_rounded)
    if cells.limits is not None:
        is_dense &= cells.limits == 0
    jacobian = float(cells.weights[is_dense].sum()) * math.log(factor)
    by_parameter = np.array([factor if name.startswith(("mean", "sigma")) else 1.0 for name in fit.parameter_names])
    rules = tuple(
        replace(rule, mean=rule.mean * factor + shift, sigma=rule.sigma * factor) for rule in mixture.constraints
    )
    means, sigmas = mixture.means * factor + shift, mixture.sigmas * factor
    scaled = replace(
        fit,
        mixture=Mixture(mixture.weights, means, sigmas, mixture.families, mixture.shapes, rules),
        loglik=fit.loglik - jacobian,
        sigma_floor=fit.sigma_floor * factor,
        uncertainties=Uncertainties(unc.weights, unc.means * factor, unc.sigmas * factor, unc.shapes),
        covariance=fit.covariance * np.outer(by_parameter, by_parameter),
    )
    rows = replace(
        cells,
        x=cells.x * factor + shift,
        err=cells.err * factor,
        noise=None if cells.noise is None else cells.noise.scaled(factor),
        resolution=cells.resolution.scaled(abs(factor)),
        window=None if cells.window is None else cells.window.scaled(factor, shift),
        edges=None if cells.edges is None else cells.edges * factor + shift,
    )
    selection = [(size, bic + 2.0 * jacobian) for size, bic in fitted.selection]
    return replace(fitted, fit=scaled, cells=rows, selection=selection, sigma_upper=fitted.sigma_upper * factor)


def common_rows(old: Stored, new: Stored) -> tuple[Common | None, list[str]]:
    """Rows with the same key, the first of several with the first, and remarks; None if rows have no key.

    Row numbers are a key where both fits are of the same files.
    """
    keys = [each.record.key for each in (old, new)]
    if keys == [None, None]:
        files = [[file.sha256 for file in each.record.account.files] for each in (old, new)]
        if files[0] != files[1]:
            return None, []
        keys = ["row", "row"]
    names = [key for key in keys if key is not None]
    if len(names) < len(keys):
        return None, []
    frames = [_read_key(each, name) for each, name in zip((old, new), names, strict=True)]
    if len({pd.api.types.is_numeric_dtype(frame["key"]) for frame in frames}) > 1:
        frames = [frame.assign(key=frame["key"].astype("string")) for frame in frames]
    remarks = []
    for name, stored, frame in zip(("old", "new"), (old, new), frames, strict=True):
        lacking = len(stored.fitted.cells) - len(frame)
        repeated = int((frame["occurrence"] > 0).sum())
        remarks += [f"{lacking} {name} rows have no key"] * (lacking > 0)
        remarks += [f"{repeated} {name} rows repeat a key"] * (repeated > 0)
    joined = frames[0].merge(frames[1], on=["key", "occurrence"], suffixes=("_old", "_new"))
    return Common(joined["place_old"].to_numpy(), joined["place_new"].to_numpy()), remarks


def _read_key(stored: Stored, name: str) -> pd.DataFrame:
    """Key, how often it was there before, and place of the rows that have one."""
    members = stored.path.with_name("members.parquet")
    if name not in pq.read_schema(members).names:
        raise CatalogError(f"no column {name!r}, the key", f"in {members}", "members.parquet of the same fit")
    keys = pq.read_table(members, columns=[name])[name].to_pandas()
    if not pd.api.types.is_numeric_dtype(keys):
        keys = keys.astype("string").str.strip()
        keys = keys.mask(keys == "")
    frame = pd.DataFrame({"key": keys, "place": np.arange(len(keys))}).dropna()
    return frame.assign(occurrence=frame.groupby("key", sort=False).cumcount())


COLUMNS = Kind(read_stored, compare_stored, draw_comparison)
