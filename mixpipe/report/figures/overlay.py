"""The figure that compares two fits of each column: data, intrinsic densities and components, old and new."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from mixpipe.assess.comparison.compare import Comparison
from mixpipe.assess.comparison.verdict import VERDICTS
from mixpipe.base.arrays import joined_bins
from mixpipe.base.presentation import plural
from mixpipe.model.cells import Cells
from mixpipe.model.mixture import Mixture
from mixpipe.model.results import Array, FitResult
from mixpipe.report.drawing import COMPONENT_COLOURS, shown_bins, shown_height
from mixpipe.report.figures.fit import drawn_rows
from mixpipe.report.figures.look import DEFAULT, Look
from mixpipe.report.figures.mixture import density_label, mark_peaks, name_enlarged, peaks_key
from mixpipe.report.figures.quality import BAND_COLOUR
from mixpipe.report.figures.scene import Scene
from mixpipe.report.figures.style import MODEL_COLOUR, NOTE_COLOUR, finish, name_axis, new_figure, style
from mixpipe.report.typesetting import wrap

# Colour and line style of the old or the new fit.
_Style = tuple[str, Literal["--", "-"]]
_OLD: _Style = (COMPONENT_COLOURS[0], "--")
_NEW: _Style = (COMPONENT_COLOURS[1], "-")
_MOST = 6
# Up to this many panels are placed in a single column.
_ONE_COLUMN = 3
# Heights of the old and of the new components in their strip.
_LEVELS = (1.0, 0.0)
# Largest number of lines of these remarks in the strip, and the height of a line.
_LINES, _LINE = 3, 0.9
# Ends of the strip without remarks, and the distance in inches from the old components to the new ones.
_TOP, _LOWEST, _UNIT = 1.6, 0.8, 0.17
# Heights, in inches, of the densities of a column that is alone, of one among others, and of the text around them.
_ALONE, _MAIN, _LABELS = 1.75, 1.4, 0.72
# The same of the differences in units of their uncertainties, and their rows: the parameters, from the top.
_CHANGES = 0.5
_PARAMETERS = {"weight": "weight", "mean": "mean", "sigma": "σ"}
# Differences beyond this many uncertainties are on a logarithmic scale, unless all are below the other number.
_EVEN, _FAR = 5.0, 12.0
# Longer names of releases do not fit beside the means.
_LONGEST_NAME = 9
# Numbers of characters of remarks, and of headings, that fit across a panel of full width and of half width.
_REMARK_WIDTHS, _HEADING_WIDTHS = (72, 32), (76, 34)


@dataclass(frozen=True, eq=False)
class Panel:
    """One column of the catalog in the figure.

    Parameters
    ----------
    label : str
        Name of the column.
    unit : str or None
        Unit of the column.
    names : tuple of (str, str)
        Names of the old and the new fit.
    comparison : Comparison
        The comparison of the two fits.
    old, new : Cells
        The rows of each fit, in the same unit.
    look : Look
        What is not left to the data.
    """

    label: str
    unit: str | None
    names: tuple[str, str]
    comparison: Comparison
    old: Cells
    new: Cells
    look: Look = DEFAULT

    @property
    def change(self) -> tuple[int, float]:
        """Sort key, which is smallest for the most changed column."""
        return VERDICTS.index(self.comparison.verdict), -self.comparison.distance


def draw_overlay(panels: Sequence[Panel], *, label: str) -> Figure:
    """Draw two fits of each column on top of each other.

    Parameters
    ----------
    panels : sequence of Panel
        Columns; if there are more than six, those that changed most are drawn.
    label : str
        Title.
    """
    shown = list(panels)
    notes = "curves: errors taken out; below: means with uncertainties, same populations joined; numbers: components"
    if len(shown) > _MOST:
        most = sorted(range(len(shown)), key=lambda index: panels[index].change)[:_MOST]
        shown = [panels[index] for index in sorted(most)]
        notes = f"the {_MOST} of {len(panels)} columns that changed most · {notes}"
    n_columns = 1 if len(shown) <= _ONE_COLUMN else 2
    n_rows = math.ceil(len(shown) / n_columns)
    with style():
        figure = new_figure(n_rows)
        # Narrow components are enlarged on the right, where there is room.
        parts = [_enlarged(panel) if n_columns == 1 else None for panel in shown]
        beside = {"width_ratios": [2.9, 1.0]} if any(parts) else {}
        grid = figure.add_gridspec(3 * n_rows, n_columns + bool(beside), **beside)
        n_lines = [0] * n_rows
        for index, panel in enumerate(shown):
            row, column = divmod(index, n_columns)
            axes = figure.add_subplot(grid[3 * row, column])
            strip = figure.add_subplot(grid[3 * row + 1, column], sharex=axes)
            n_lines[row] = max(n_lines[row], _draw_panel(axes, strip, panel, narrow=n_columns > 1))
            _draw_changes(figure.add_subplot(grid[3 * row + 2, column]), panel.comparison)
            part = parts[index]
            if part is not None:
                enlarged = figure.add_subplot(grid[3 * row, 1])
                _draw_densities(enlarged, panel, part[0])
                name_enlarged(enlarged, part[0][1], float(np.ptp(axes.get_xlim())), part[1])
        main = _ALONE if len(shown) == 1 else _MAIN
        heights = [(main, _UNIT * (_TOP + _LOWEST + _LINE * number), _CHANGES) for number in n_lines]
        grid.set_height_ratios([height for three in heights for height in three])
        figure.set_figheight(sum(sum(three) + _LABELS for three in heights))
        return finish(figure, label, notes, [*_legend(shown[0].names), *peaks_key(figure.axes)], columns=2)


def _legend(names: tuple[str, str]) -> list[Artist]:
    handles: list[Artist] = []
    for name, (colour, dashes) in zip(names, (_OLD, _NEW), strict=True):
        text = wrap(name, 24, 1)
        handles.append(Patch(facecolor=colour, alpha=0.25, label=f"data {text}"))
        handles.append(Line2D([], [], color=colour, linestyle=dashes, label=f"mixture {text}, and components"))
    return handles


def _scenes(panel: Panel) -> tuple[Scene, Scene]:
    """The old and the new rows on a common axis."""
    comparison = panel.comparison
    old = _scene(comparison.old.mixture, panel.old, panel.look)
    return _common(old, _scene(comparison.new.mixture, panel.new, panel.look))


def _enlarged(panel: Panel) -> tuple[tuple[Scene, Scene], list[int]] | None:
    """The part of the range with the heaviest component of the new fit that is too narrow for the whole to show."""
    scenes = _scenes(panel)
    old, new = panel.comparison.old.mixture, panel.comparison.new.mixture
    parts = scenes[1].enlarged(new)
    if not parts:
        return None
    part, members = max(parts, key=lambda each: float(new.weights[each[1]].sum()))
    # A component that has moved away is shown, too.
    near = old.means[np.abs(old.means - 0.5 * (part.low + part.high)) < 10.0 * part.width]
    margin = 0.5 * part.width
    low, high = min(part.low, *(near - margin)), max(part.high, *(near + margin))
    if high - low > 0.3 * scenes[1].width:
        return None
    return (replace(scenes[0], low=low, high=high, log=False), replace(part, low=low, high=high)), members


def _draw_panel(axes: Axes, strip: Axes, panel: Panel, *, narrow: bool) -> int:
    """Draw a column; returns the number of lines of the remarks in its strip."""
    scenes = _scenes(panel)
    _draw_densities(axes, panel, scenes)
    axes.tick_params(labelbottom=False)
    axes.set_ylabel(density_label(panel.unit, scenes[0]), parse_math=False)
    heading = _heading(panel, _HEADING_WIDTHS[narrow])
    axes.set_title(heading, loc="left", fontsize=7.0, linespacing=1.3, parse_math=False)
    name_axis(strip, panel.label, panel.unit, panel.look, 30 if narrow else 58)
    names = panel.names if max(map(len, panel.names)) <= _LONGEST_NAME else ("old", "new")
    return _draw_strip(strip, panel.comparison, scenes[0], names, _REMARK_WIDTHS[narrow])


def _draw_densities(axes: Axes, panel: Panel, scenes: tuple[Scene, Scene]) -> None:
    """Draw the data and the mixtures of both fits."""
    heights, curves = [], []
    fits = (panel.comparison.old, panel.comparison.new)
    # Both releases use the bins of the larger one.
    edges = max(scenes, key=lambda each: each.x.size).edges(fits[1].mixture)
    for fit, scene, (colour, dashes) in zip(fits, scenes, (_OLD, _NEW), strict=True):
        histogram = scene.density(scene.counts(edges) + scene.expected_limits(fit.mixture, edges), edges)
        axes.stairs(histogram, edges, fill=True, color=colour, alpha=0.18, linewidth=0.0)
        axes.stairs(histogram, edges, color=colour, alpha=0.5, linewidth=0.5)
        points = scene.grid(fit.mixture)
        parts = _components(fit.mixture, points, scene)
        for part in parts:
            axes.plot(points, part, color=colour, linestyle=dashes, linewidth=0.6, alpha=0.8)
        total = np.sum(parts, axis=0)
        axes.plot(points, total, color=colour, linestyle=dashes, linewidth=1.4)
        heights.append(shown_bins(histogram, scene.widths(edges)))
        curves += [(points, part) for part in (*parts, total)]
    axes.set_ylim(0.0, 1.06 * shown_height(max(heights), max(float(curve.max()) for _, curve in curves)))
    scenes[0].frame(axes)
    mark_peaks(axes, scenes[0], curves)


def _draw_changes(axes: Axes, comparison: Comparison) -> None:
    """Draw the difference of each parameter in units of its uncertainty, however small on the axis of the column."""
    words = list(_PARAMETERS.values())[::-1]
    found = [
        (list(_PARAMETERS)[::-1].index(each.parameter), each.significance, each.component_new)
        for each in comparison.differences
        if each.parameter in _PARAMETERS and math.isfinite(each.significance)
    ]
    axes.axvspan(-1.96, 1.96, color=BAND_COLOUR, alpha=0.3, linewidth=0.0)
    axes.axvline(0.0, color=MODEL_COLOUR, linewidth=0.5)
    largest = max((abs(size) for _, size, _ in found), default=0.0)
    reach = 1.25 * max(largest, 4.0)
    if largest > _FAR:
        reach = 3.0 * largest
        axes.set_xscale("symlog", linthresh=_EVEN, linscale=1.0)
        decades = range(1, math.floor(math.log10(reach)) + 1)
        marks = [10.0**power for power in decades][-3:]
        ticks = [-mark for mark in reversed(marks)] + [0.0, *marks]
        axes.set_xticks(ticks, [f"{tick:g}".replace("-", "−") for tick in ticks])
        axes.minorticks_off()
    axes.set_xlim(-reach, reach)
    for row in range(len(words)):
        axes.axhline(row, color=NOTE_COLOUR, linewidth=0.3, zorder=0)
        points = sorted((size, index) for at, size, index in found if at == row)
        axes.plot([size for size, _ in points], [row] * len(points), "o", color=MODEL_COLOUR, markersize=3.0)
        places = [
            float(axes.transData.transform((size, 0.0))[0] / axes.get_window_extent().width) for size, _ in points
        ]
        for place, (size, index) in zip(places, points, strict=True):
            # Points on each other have no name, since it would be that of one of them.
            if comparison.new.n_components > 1 and sum(abs(place - other) < 0.04 for other in places) == 1:
                axes.annotate(
                    str(index),
                    (size, row),
                    xytext=(4, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=6.5,
                    color=NOTE_COLOUR,
                )
    axes.set_ylim(-0.7, len(words) - 0.3)
    axes.set_yticks(range(len(words)), words)
    axes.tick_params(axis="y", length=0.0, labelsize=6.5)
    axes.spines["left"].set_visible(False)
    text = "no parameter is comparable" if not found else "difference / its uncertainty"
    axes.set_xlabel(text, fontsize=7.0)


def _scene(mixture: Mixture, cells: Cells, look: Look) -> Scene:
    weights = None if np.all(cells.weights == 1.0) else cells.weights
    rows, share = drawn_rows(mixture, (cells.x, cells.errors, weights), cells.window)
    bins = joined_bins(cells.edges, cells.weights) if cells.are_rounded and cells.edges is not None else cells.edges
    return Scene.of(mixture, *rows, share, cells.window, bins, cells.limits, look)


def _common(old: Scene, new: Scene) -> tuple[Scene, Scene]:
    """Both scenes on a common axis, which is logarithmic if both are."""
    place: dict[str, Any] = {"low": min(old.low, new.low), "high": max(old.high, new.high), "log": old.log and new.log}
    return replace(old, **place), replace(new, **place)


def _heading(panel: Panel, width: int) -> str:
    """The verdict with its evidence, and on a second line what has changed in numbers."""
    comparison, rows = panel.comparison, panel.comparison.rows
    name = wrap(f"{panel.label}: {comparison.verdict}", width)
    parts = [
        f"M {comparison.old.n_components} → {comparison.new.n_components}",
        f"distance {comparison.distance:.2g}",
        f"{rows.n_old:,} → {plural(rows.n_new, 'row')}",
    ]
    if math.isfinite(rows.n_common):
        parts[2] = f"rows +{rows.n_added:,.0f} −{rows.n_dropped:,.0f}"
        parts += [f"{rows.n_revised:,.0f} revised"] * (rows.n_revised > 0)
    basis, numbers = wrap(comparison.judgement.basis, width, 3), wrap(" · ".join(parts), width, 2)
    return f"{name}\n{basis}\n{numbers}"


def _components(mixture: Mixture, points: Array, scene: Scene) -> list[Array]:
    """Weighted densities, none of them narrower than the figure can show."""
    narrow = mixture.sigmas <= scene.finest(mixture.means)
    blur = np.where(narrow[:, None], 2.0 * scene.finest(points), 0.0)
    densities = [mixture.component(j).pdf(points, blur[j]) for j in range(mixture.n_components)]
    return list(mixture.weights[:, None] * densities * scene.stretch(points))


def _draw_strip(strip: Axes, comparison: Comparison, scene: Scene, names: tuple[str, str], width: int) -> int:
    """Draw the means of the components, old above new, and below them remarks on significant changes.

    `names` are those of both fits, and `width` is the number of characters that fit across. Returns the number of
    lines of remarks.
    """
    remarks = []
    for j, k in comparison.pairs:
        means = (float(comparison.old.mixture.means[j]), float(comparison.new.mixture.means[k]))
        largest, finding = max(
            (
                (each, finding)
                for each, finding in zip(comparison.differences, comparison.judgement.findings, strict=True)
                if (each.component_old, each.component_new) == (j + 1, k + 1) and finding
            ),
            key=lambda pair: abs(pair[0].significance),
            default=(None, ""),
        )
        strip.plot(means, _LEVELS, color=NOTE_COLOUR, linewidth=1.6 if finding == "shifted" else 0.6, zorder=1)
        if largest is not None:
            text = f"{finding}: {largest.parameter} {largest.significance:+.1f}σ".replace("-", "−")
            remarks.append((abs(largest.significance), means[1], text))
    for fit, level, colour, lone, word in (
        (comparison.old, _LEVELS[0], _OLD[0], comparison.vanished, "vanished"),
        (comparison.new, _LEVELS[1], _NEW[0], comparison.appeared, "appeared"),
    ):
        _draw_means(strip, fit, level, colour, lone, scene)
        remarks += [(math.inf, float(fit.mixture.means[index]), word) for index in lone]
    n_lines = _write_remarks(strip, sorted(remarks, reverse=True), scene, width)
    strip.set_ylim(-_LOWEST - _LINE * n_lines, _TOP)
    strip.set_yticks(_LEVELS, names, parse_math=False)
    strip.tick_params(axis="y", length=0.0)
    strip.spines["left"].set_visible(False)
    return n_lines


def _write_remarks(strip: Axes, remarks: Sequence[tuple[float, float, str]], scene: Scene, width: int) -> int:
    """Write remarks below their positions, on separate lines where they would overlap; returns the number of lines.

    Remarks that do not fit are omitted; these are the last ones, which matter least.
    """
    taken: list[list[tuple[float, float]]] = [[] for _ in range(_LINES)]
    for _, mean, text in remarks:
        half = 0.5 * (len(text) + 1) / width
        place = float(scene.place(np.clip(mean, scene.low, scene.high)))
        centre = min(max(place, half), 1.0 - half)
        for line, spans in enumerate(taken):
            if all(abs(centre - other) >= half + other_half for other, other_half in spans):
                spans.append((centre, half))
                height = -0.6 - _LINE * (line + 0.5)
                strip.text(
                    centre,
                    height,
                    text,
                    ha="center",
                    va="center",
                    transform=strip.get_yaxis_transform(),
                    color=NOTE_COLOUR,
                    fontsize=6.5,
                    parse_math=False,
                )
                break
    return sum(map(bool, taken))


def _draw_means(strip: Axes, fit: FitResult, level: float, colour: str, lone: Sequence[int], scene: Scene) -> None:
    for index, (mean, unc, weight) in enumerate(
        zip(fit.mixture.means, fit.uncertainties.means, fit.mixture.weights, strict=True)
    ):
        if not scene.low <= mean <= scene.high:
            continue
        strip.errorbar(
            [mean],
            [level],
            xerr=None if not np.isfinite(unc) else [unc],
            fmt="o",
            color=colour,
            markerfacecolor="white" if index in lone else colour,
            markersize=2.5 + 4.0 * math.sqrt(weight),
            capsize=2.0,
            linewidth=0.9,
        )
