"""The command `mixpipe compare`: two fits side by side."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

import mixpipe
from mixpipe.assess.comparison.compare import Comparison, differences_table, summary_row
from mixpipe.assess.comparison.verdict import Difference
from mixpipe.base.errors import ConfigError
from mixpipe.base.files import json_text
from mixpipe.base.presentation import measured
from mixpipe.cli.display import say
from mixpipe.cli.outputs import check_folder, check_picture
from mixpipe.pipeline.compare import COLUMNS, Stored, write_comparison
from mixpipe.pipeline.joint_compare import JOINTS
from mixpipe.report.figures import PICTURE_FORMATS, save_figure
from mixpipe.results.record import JointRecord, open_mixture


def compare_files(fit_old: str, fit_new: str, *, as_json: bool, figure: str | None, out: str | None) -> None:
    """Compare two fits, print the result, and write what is asked for.

    Parameters
    ----------
    fit_old, fit_new : str
        The fits: a fit.json, or the folder of a fit.
    as_json : bool
        Print one JSON object instead of a table for people.
    figure : str or None
        Picture of the two fits to write.
    out : str or None
        Folder to write the tables and the figure into.

    Raises
    ------
    MixpipeError
        For what the user can mend.
    """
    picture = check_picture(figure) if figure is not None else None
    folder = check_folder(out, "--out") if out is not None else None
    # The new fit says what is compared; an old one of another kind is refused.
    kind = JOINTS if isinstance(open_mixture(fit_new)[1], JointRecord) else COLUMNS
    old, new = kind.read(fit_old), kind.read(fit_new)
    comparison = kind.compare(old, new)
    compared = [(old, new, comparison)]
    try:
        if picture is not None:
            save_figure(kind.draw(compared), picture)
        if folder is not None:
            overlay = [folder / f"overlay{ending}" for ending in PICTURE_FORMATS]
            write_comparison(kind, compared, folder / "components.csv", folder / "summary.csv", overlay)
    except OSError as error:
        raise ConfigError(f"{error.strerror}", f"in {error.filename}", "a place that can be written") from error
    if as_json:
        # A pipe may not take more than ASCII.
        print(json_text(_document(old, new, comparison), ensure_ascii=True))
    else:
        _show(old, new, comparison, [path for path in (picture, folder) if path is not None])


def _document(old: Stored, new: Stored, comparison: Comparison) -> dict[str, Any]:
    summary = summary_row(comparison)
    del summary["note"]
    table = differences_table(comparison.differences, comparison.judgement.findings).astype(object)
    return {
        "old": str(old.path),
        "new": str(new.path),
        "unit": new.unit,
        **summary,
        "components": table.where(table.notna(), None).to_dict("records"),
        "notes": list(comparison.notes),
        "version": mixpipe.__version__,
    }


def _show(old: Stored, new: Stored, comparison: Comparison, written: list[Path]) -> None:
    rows = comparison.rows
    unit = f" [{new.unit}]" if new.unit else ""
    judgement = comparison.judgement
    say(f"{old.label} → {new.label}{unit}: {judgement.verdict} ({judgement.basis})")
    if judgement.shifted:
        say(f"shifted: {judgement.shifted}")
    if judgement.hints:
        say(f"hints, which are not significant by themselves: {judgement.hints}")
    known = math.isfinite(rows.n_common)
    what = (
        f"{rows.n_common:,.0f} in both, {rows.n_added:,.0f} added, {rows.n_dropped:,.0f} dropped; of those in both "
        f"{rows.n_revised:,.0f} revised, {rows.n_moved:,.0f} in another component"
    )
    say(f"{rows.n_old:,} → {rows.n_new:,} rows" + (f": {what}" if known else ""))
    sizes = f"{comparison.old.n_components} → {comparison.new.n_components} components"
    if comparison.old.n_components != comparison.new.n_components and math.isfinite(comparison.delta_bic):
        sizes += f", which the new data prefer by {comparison.delta_bic:.1f} in BIC"
    say(f"{sizes}; total variation distance of the densities {comparison.distance:.3f}")
    print()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, header_style="", show_edge=False)
    for name in ("", "", "old", "new", "difference", "significance"):
        table.add_column(name, justify="right" if name else "left")
    table.add_column("")
    for each, finding in zip(comparison.differences, judgement.findings, strict=True):
        table.add_row(*_cells(each), finding)
    Console().print(table)
    print()
    for note in comparison.notes:
        say(f"note: {note}")
    for path in written:
        say(f"written: {path}")


def _cells(each: Difference) -> tuple[str, ...]:
    """A row of the table."""
    matched = each.status == "matched"
    lone = f"{each.component_old or each.component_new} {each.status}"
    name = f"{each.component_old} → {each.component_new}" if matched else lone
    old = _value(each.old, each.old_unc, each.old_upper)
    new = _value(each.new, each.new_unc, each.new_upper)
    difference = measured(each.difference, each.joint_unc) if matched else ""
    significance = f"{each.significance:+.1f}" if math.isfinite(each.significance) else ""
    return name if each.parameter == "weight" else "", each.parameter, old, new, difference, significance


def _value(value: float, unc: float, upper: float) -> str:
    if math.isnan(value):
        return ""
    return f"< {upper:.3g} (95 %)" if math.isfinite(upper) else measured(value, unc)
