"""Tables for people, on the terminal or in a file."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mixpipe.assess.intervals import of_few_rows
from mixpipe.assess.quality import REJECTED, Quality, describe_distance
from mixpipe.base.arrays import Array
from mixpipe.base.presentation import chance, count, measured, plural
from mixpipe.catalog.columns import Account, ColumnData
from mixpipe.catalog.doubts import describe_doubts
from mixpipe.catalog.joint import JointData
from mixpipe.cli.options import Request
from mixpipe.config.settings import ColumnSettings, DensitySettings, JointSettings
from mixpipe.model.families import FAMILIES
from mixpipe.model.regimes import FEW_ROWS
from mixpipe.model.results import FitResult, Selection

if TYPE_CHECKING:
    # What stands behind them is slow to import, and not all of it is used by every command.
    from mixpipe.assess.assessment import Assessment
    from mixpipe.catalog.densities import DensityFile
    from mixpipe.pipeline.densities import Counts
    from mixpipe.pipeline.estimate import Outcome
    from mixpipe.results.answer import Answer


def show_fit(
    request: Request,
    outcome: Outcome,
    data: Account,
    answer: Answer,
    written: Sequence[Path] = (),
    *,
    with_bimodality: bool = False,
) -> None:
    """Print a fit: rows, components, the choice of their number, warnings, the answer, and written files."""
    console, selection, best = Console(), outcome.selection, outcome.fit
    quality = outcome.assessment.quality
    _line(console, f"{request.file}: {describe_value(request.column)}{_in(data.unit)}", "bold")
    used = f"{plural(data.n_read, 'row')} read, {len(data):,} used{_limits(data, request.column)}"
    _line(console, f"{used}, dropped: {describe_dropped(data.dropped)}")
    if data.weighted:
        _line(console, f"{describe_weights(data, best.n_data)}")
    asked = "as asked for" if request.n_components is not None else f"chosen by {selection.criterion.upper()}"
    size = f"{best.n_components} component{'s' if best.n_components > 1 else ''}"
    console.print()
    _line(console, f"{size} ({asked}), {'converged' if best.converged else 'NOT CONVERGED'}", "bold")
    console.print(_components(best, data.unit, outcome.assessment.sigma_upper))
    for line in _few_rows(outcome.assessment):
        _line(console, line)
    if best.error_scale != 1.0:
        _line(console, f"all errors are multiplied by {measured(best.error_scale, best.error_scale_unc)}")
    resolution = best.resolution.note(outcome.first_row)
    if resolution and resolution not in best.warnings:
        _line(console, f"resolution: {resolution}")
    console.print()
    chosen = f", of which the lowest {selection.criterion.upper()} chooses" if len(selection.fits) > 1 else ""
    _line(console, f"fits with M components{chosen}:")
    console.print(_selection(selection))
    console.print()
    for line in _quality(quality, request.settings.quality_draws):
        _line(console, line)
    ratio = outcome.assessment.likelihood_ratio
    if ratio is not None:
        found = f"2 ln(likelihood ratio) {ratio.statistic:.4g}, p {chance(ratio.p_value, ratio.n_draws)}"
        _line(console, f"one component more: {found}; called for up to p = {REJECTED:g}")
    if with_bimodality:
        console.print()
        _show_bimodality(console, outcome)
    for warning in best.warnings:
        _line(console, f"warning: {with_options(warning)}", "yellow")
    show_answer(answer)
    if quality.verdict == "rejected":
        folder = next((path for path in written if path.is_dir()), None)
        picture = folder / "quality.png" if folder else "quality.png of --out DIR"
        _line(console, f"where data and mixture differ: {picture}")
    for path in written:
        _line(console, f"written: {path}")


def show_answer(answer: Answer) -> None:
    """Print what was found, in one sentence, and what it rests on."""
    console = Console()
    console.print()
    _line(console, answer.sentence, "bold")
    _line(console, answer.basis)


def _show_bimodality(console: Console, outcome: Outcome) -> None:
    """Print the evidence for two populations."""
    if outcome.bimodality is None:
        _line(console, "bimodality: there is no fit with two components and without a background")
        return
    title, rows = outcome.bimodality.presented()
    _line(console, f"bimodality, {title}:")
    table = _table(*rows[0][:-1])
    for row in rows[1:]:
        table.add_row(*map(_text, row))
    console.print(table)


def _quality(quality: Quality, n_draws: int) -> Iterator[str]:
    """The verdict on a fit, and what it is judged by."""
    limit = {"ok": f", p-values above {REJECTED:g}", "rejected": f", a p-value of {REJECTED:g} or less"}
    limit["untested"] = ""
    yield f"goodness of fit: {quality.verdict}{limit[quality.verdict]}"
    if math.isfinite(quality.ks):
        yield f"  {describe_distance(quality.ks, quality.verdict)}"
        statistics = (
            (f"Kolmogorov-Smirnov {quality.ks:.4f}", quality.ks_pvalue),
            (f"Anderson-Darling {quality.ad:.4g}", quality.ad_pvalue),
        )
        yield "  " + ", ".join(
            text if math.isnan(p_value) else f"{text} (p {chance(p_value, n_draws)})" for text, p_value in statistics
        )


def with_options(warning: str) -> str:
    """A warning that names options of the command for the settings of a configuration."""
    names = "max_components|likelihood_ratio|sigma_floor|`(?:rounding|error_kind|error_model|limit_flag|missing)`"
    return re.sub(names, lambda name: f"--{name[0].strip('`').replace('_', '-')}", warning)


def show_release(title: str, columns: Sequence[tuple[ColumnSettings, ColumnData]]) -> None:
    """Print what would be fitted of one release."""
    console = Console()
    _line(console, title, "bold")
    for column, data in columns:
        _line(console, f"  {column.name}: {describe_value(column)}{_in(data.unit)}, errors {describe_error(column)}")
        dropped = describe_dropped(data.dropped)
        used = f"{plural(len(data), 'row')} used{_limits(data, column)}"
        _line(console, f"    {used}, dropped: {dropped}; 1 to {column.max_components} components")
        for note in describe_rows(data, column.sigma_floor):
            _line(console, f"    note: {note}")
    console.print()


def show_densities(title: str, columns: Sequence[tuple[DensitySettings, DensityFile, Counts]]) -> None:
    """Print what would be fitted of the tabulated densities of one release."""
    console = Console()
    _line(console, title, "bold")
    for column, file, counts in columns:
        where = f" at {column.grid}" if isinstance(column.grid, str) else ""
        points = file.grid if file.edges is None else file.edges
        ends = f"{points[0]:g} to {points[-1]:g}{_in(file.unit)}"
        cells = "points" if file.edges is None else "bins"
        _line(console, f"  {column.name}: {column.value}, on {file.grid.size} {cells}{where}, {ends}")
        number = f"1 to {column.max_components} components, KS < {column.tolerance:g}"
        if column.n_components is not None:
            number = f"{column.n_components} component{'s' if column.n_components > 1 else ''}"
        dropped = describe_dropped(counts.dropped)
        _line(console, f"    {plural(counts.n_read, 'row')} read, dropped before fitting: {dropped}; {number}")
    console.print()


def show_joint(title: str, entries: Sequence[tuple[JointSettings, JointData]]) -> None:
    """Print what would be fitted jointly of one release."""
    console = Console()
    _line(console, title, "bold")
    for joint, data in entries:
        account = data.account
        named = ", ".join(name + _in(unit) for name, unit in zip(joint.names, account.units, strict=True))
        _line(console, f"  {joint.name}: {named}; errors {describe_joint_errors(joint)}")
        used = f"{plural(account.n_used, 'row')} used, dropped: {describe_dropped(account.dropped)}"
        structure = "" if joint.structure == "full" else f", {joint.structure} covariances"
        _line(console, f"    {used}; 1 to {joint.max_components} components{structure}")
        for names, number in account.patterns.items():
            _line(console, f"    {plural(number, 'row')} with {', '.join(names)}")
        for note in (*account.doubts(), *data.grain()):
            _line(console, f"    note: {note}")
    console.print()


def describe_joint_errors(joint: JointSettings) -> str:
    """How the errors of several columns are made, in words.

    >>> columns = ColumnSettings("u", "u", "e_u"), ColumnSettings("v", "v")
    >>> describe_joint_errors(JointSettings("j", columns, (("u", "v", 0.5),)))
    'e_u, none; correlations u-v 0.5'
    """
    if joint.covariance is not None:
        return f"by covariances {', '.join(joint.covariance)}"
    words = ", ".join(describe_error(column) for column in joint.columns)
    pairs = ", ".join(f"{first}-{second} {given}" for first, second, given in joint.correlation)
    return words + (f"; correlations {pairs}" if pairs else "")


def say(text: str, style: str = "") -> None:
    """Print a line."""
    _line(Console(), text, style)


def selection_table(selection: Selection) -> None:
    """Print the fits that were chosen from."""
    Console().print(_selection(selection))


def describe_value(column: ColumnSettings) -> str:
    """What is fitted, in words.

    >>> describe_value(ColumnSettings("mass", "m", transform="log10", weight="w"))
    'log10(m), weight w'
    """
    value = column.value
    if column.bins is not None:
        low, high, number = column.bins
        value = f"{number} in bins from {low} to {high}"
    value = value if column.transform == "none" else f"{column.transform}({value})"
    return value if column.weight is None else f"{value}, weight {column.weight}"


def describe_weights(data: Account, worth: float) -> str:
    """What the weights of the rows are, in words; the rows are worth so many of equal weight."""
    if data.are_bins:
        return f"{count(worth)} rows in {count(len(data))} bins"
    if data.found_kind == "importance":
        return (
            f"weights are importance weights, whose scale means nothing: {plural(len(data), 'row')} are worth "
            f"n_eff = {count(worth)} of equal weight"
        )
    whole = "whole numbers and taken as " if data.weight_kind == "auto" else ""
    return f"weights are {whole}counts: {plural(len(data), 'row')} stand for {count(worth)}"


def describe_rows(data: ColumnData, sigma_floor: float | None = None) -> Iterator[str]:
    """What is to be known of the rows of a column before a fit: weights, resolution, rows that repeat others."""
    account = data.account
    if account.weighted:
        yield describe_weights(account, data.worth)
    resolution, n_rows = data.resolution(sigma_floor)
    # Of values without any errors that are not rounded there is nothing to say before the fit.
    if resolution.cause != "crowding" or resolution.n_rows < n_rows or resolution.smallest_error > 0.0:
        note = resolution.note(data.row_name(resolution.first))
        if note:
            yield note
    yield from describe_doubts(account.doubts, account.n_used)
    if resolution.n_repeated:
        yield (
            f"{count(resolution.n_repeated)} of {count(n_rows)} rows repeat another row exactly: rows that are not "
            "independent, or were rounded in ways of their own, make BIC find too many populations"
        )


def describe_error(column: ColumnSettings) -> str:
    """How the errors are made, in words.

    >>> describe_error(ColumnSettings("mass", "m", ("up", "lo"), error_scale=0.608, error_floor=0.01))
    '(up, lo) x 0.608, floor 0.01'
    """
    if column.kind == "samples":
        return "samples" + (f" under the prior {column.sample_prior}" if column.sample_prior else "")
    error = column.error
    words = f"({', '.join(error)})" if isinstance(error, tuple) else "none" if error is None else str(error)
    words += f" ({column.error_kind})" if error is not None and column.error_kind != "sigma" else ""
    scale = "a fitted factor" if isinstance(column.error_scale, str) else f"{column.error_scale:g}"
    words += f" x {scale}" if error is not None and column.error_scale != 1.0 else ""
    if error is not None and column.error_model is not None:
        words += f", {column.error_model}" + (f" with {column.error_dof:g} dof" if column.error_dof else "")
    return words + (f", floor {column.error_floor:g}" if column.error_floor > 0.0 else "")


def describe_dropped(dropped: Mapping[str, int]) -> str:
    """Counts of the rows that were dropped for each reason, in words.

    >>> describe_dropped({"cut": 1200, "missing_value": 0, "bad_error": 1})
    '1,200 cut, 1 bad error'
    """
    return ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in dropped.items() if count) or "none"


def _components(fit: FitResult, unit: str | None, sigma_upper: Array) -> Table:
    table = _table("", "weight", f"mean{_in(unit)}", f"sigma{_in(unit)}")
    mixture, unc = fit.mixture, fit.uncertainties
    for j in range(fit.n_components):
        table.add_row(
            str(j + 1),
            measured(mixture.weights[j], unc.weights[j]),
            measured(mixture.means[j], unc.means[j]),
            measured(mixture.sigmas[j], unc.sigmas[j]),
            "; ".join(_remarks(fit, j, sigma_upper[j])),
        )
    return table


def _few_rows(assessment: Assessment) -> Iterator[str]:
    """Intervals of components on few rows, for which the uncertainties are too small."""
    for j, worth in enumerate(assessment.worth):
        ends = of_few_rows(assessment.interval_rows, j + 1)
        ends = {name: pair for name, pair in ends.items() if not math.isnan(pair[0])}
        if ends and worth < FEW_ROWS:
            said = ", ".join(f"{name} {low:.3g} to {high:.3g}" for name, (low, high) in ends.items())
            rows = f"some {worth:.0f} rows" if worth >= 1.5 else "hardly any row"
            yield f"95 % intervals of {j + 1}, which rests on {rows}: {said}"


def _remarks(fit: FitResult, j: int, sigma_upper: float) -> Iterator[str]:
    family, shape = fit.mixture.families[j], fit.mixture.shapes[j]
    if family != "gaussian":
        name = FAMILIES[family].shape_name
        third = "" if name is None else f", {name} {measured(shape, fit.uncertainties.shapes[j])}"
        yield family.replace("_", " ") + third
    if text := fit.mixture.constraints[j].text:
        yield text
    if math.isfinite(sigma_upper):
        yield f"sigma < {sigma_upper:.3g} (95 %)"
    elif fit.boundary[j]:
        yield "sigma at its lower bound"


def _selection(selection: Selection) -> Table:
    several = len({fit.mixture.family for fit in selection.fits}) > 1
    table = _table("M", "params", "log-likelihood", "BIC", "AIC", "ICL")
    for fit in selection.fits:
        notes = [fit.mixture.family.replace("_", " ")] * several
        notes += ["selected"] * (fit is selection.best) + ["not converged"] * (not fit.converged)
        notes += ["not determined"] * (fit.occam == math.inf)
        numbers = (f"{number:.2f}" for number in (fit.loglik, fit.bic, fit.aic, fit.icl))
        style = "bold" if fit is selection.best else None
        table.add_row(str(fit.n_components), str(fit.n_params), *numbers, ", ".join(notes), style=style)
    return table


def _table(*numbers: str) -> Table:
    """An empty table with columns for numbers, which stay on one line while there is room, and one for remarks."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, header_style="", show_edge=False)
    for name in numbers:
        table.add_column(_text(name), justify="right", overflow="fold", no_wrap=True)
    table.add_column("", overflow="fold")
    return table


def _text(text: str) -> Text:
    """Text as it is: no markup, and nothing that would steer the terminal."""
    return Text("".join(letter if letter.isprintable() else "?" for letter in text))


def _line(console: Console, text: str, style: str = "") -> None:
    line = _text(text)
    line.stylize(style)
    console.print(line, soft_wrap=True)


def _in(unit: str | None) -> str:
    return f" [{unit}]" if unit else ""


def _limits(data: Account | ColumnData, column: ColumnSettings) -> str:
    """How many of the used rows are limits, and which flags mark them."""
    flags = ("flag 1 or <", "flag -1 or >") if column.limit_flag is not None else ("", "")
    limits = [
        plural(number, f"{kind} limit") + (f" ({flag})" if flag else "")
        for number, kind, flag in zip(
            (data.n_upper_limits, data.n_lower_limits), ("upper", "lower"), flags, strict=True
        )
        if number
    ]
    return f", {' and '.join(limits)} among them" if limits else ""
