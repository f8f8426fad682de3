"""The figure of a fit: data, the mixture as observed, and the mixture with the errors removed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import ArrayLike

from mixpipe.base.presentation import count, plural, typeset
from mixpipe.model.mixture import Mixture
from mixpipe.model.noise import Noise
from mixpipe.model.results import Array, FitResult
from mixpipe.model.window import Window
from mixpipe.report.drawing import PEAK, shown_bins, shown_height
from mixpipe.report.figures.look import DEFAULT, Look
from mixpipe.report.figures.scene import Scene
from mixpipe.report.figures.style import (
    BEYOND_COLOUR,
    DATA_COLOUR,
    DATA_FILL,
    MODEL_COLOUR,
    NOTE_COLOUR,
    component_style,
    finish,
    name_axis,
    new_figure,
    style,
)
from mixpipe.report.typesetting import compact_text, density_text, number_text, short, value_unit, wrap

# Components narrower than this many of the finest details are drawn as arrows.
_SPIKE_PIXELS = 3.0
# From this on, how much larger a part is drawn is written as a power of ten.
_MOST_TIMES = 1e5
_FILL = 0.18  # opacity
# With more components than this the legend is written in fewer characters.
_FEW_COMPONENTS = 6
# The same if a text is longer than this.
_LONGEST = 76
# Limits that are drawn as arrows; of more, as many represent all.
_ARROWS = 60
# A logarithmic axis of densities ends at this part of what a single row amounts to.
_LOWEST = 0.3
# Numbers of components are at least so far apart, as a part of the width, or in different lines.
_APART = 0.025
# Peaks are one if they are nearer to each other than this, as a part of the width.
_SAME_PEAK = 0.01
# Height of the marks of peaks beyond the frame, and what they are.
_ABOVE, _OFF_FRAME = 1.015, "peak off the frame"
Curve = tuple[Array, Array]
_SIDES = {-1: ("upper", "$\\leftarrow$"), 1: ("lower", "$\\rightarrow$")}


def draw_mixture(
    fit: FitResult,
    x: ArrayLike,
    err: ArrayLike | Noise | None,
    weights: ArrayLike | None = None,
    *,
    label: str,
    unit: str | None,
    share: float = 1.0,
    window: Window | None = None,
    bins: ArrayLike | None = None,
    limits: ArrayLike | None = None,
    look: Look = DEFAULT,
) -> Figure:
    """Draw a histogram of the data with the mixture as observed, the intrinsic mixture and its components.

    Parameters
    ----------
    fit : FitResult
        The fit to draw.
    x, err, weights : array_like
        The data that were fitted: values, one-sigma errors and row weights; errors may be a scalar or None.
    label : str
        Title, ``catalog / release / column``; its last part names the axis.
    unit : str or None
        Unit of `x`.
    share : float
        Fraction of the mixture's rows that the data are: less than one if others were not seen.
    window : Window or None
        The window of the sample.
    bins : array_like, shape (n_bins, 2), or None
        Edges of the bins if the data are a histogram, which is then drawn as it is.
    limits : array_like of int or None
        For each row, whether `x` is a value (0), an upper limit (-1) or a lower limit (1).
    look : Look
        What is not left to the data.

    Returns
    -------
    matplotlib.figure.Figure
        The figure. Values far from the bulk of the data are not shown, but counted in the heading. Rows with limits
        are added to the histogram where the mixture expects their values. Components that are too narrow for the
        picture are shown once more, enlarged.
    """
    scene = Scene.of(fit.mixture, x, err, weights, share, window, bins, limits, look)
    with style():
        enlarged = scene.enlarged(fit.mixture)
        figure = new_figure(2.7)
        grid = figure.add_gridspec(
            2, 2 if enlarged else 1, height_ratios=[1, 16], width_ratios=[2.9, 1.0] if enlarged else None
        )
        strip = figure.add_subplot(grid[0, 0])
        axes = figure.add_subplot(grid[1, 0], sharex=strip)
        handles = draw_densities(axes, fit, scene, PEAK)
        _draw_error_bar(strip, scene, unit)
        scene.frame(axes)
        name_axis(axes, label, unit, look)
        axes.set_ylabel(density_label(unit, scene), parse_math=False)
        if enlarged:
            parts = grid[:, 1].subgridspec(len(enlarged), 1)
            for place, (part, members) in enumerate(enlarged):
                _draw_enlarged(figure.add_subplot(parts[place, 0]), fit, part, members, scene)
        components = component_entries(fit, scene, unit)
        notes = heading(fit, scene)
        if enlarged:
            n_narrow = fit.n_components - len(resolved_components(fit.mixture, scene)[1])
            some = "the heaviest " if sum(len(members) for _, members in enlarged) < n_narrow else ""
            notes += f" · right: {some}narrow components, enlarged"
        return finish(figure, label, notes, handles + peaks_key(figure.axes), columns=3, components=components)


def component_entries(fit: FitResult, scene: Scene, unit: str | None) -> list[Artist]:
    """The entries of a legend for the components."""
    texts = component_texts(fit, scene, unit)
    return component_key(fit, unit) + [_component_entry(fit, j, scene, text) for j, text in enumerate(texts)]


def heading(fit: FitResult, scene: Scene) -> str:
    """The line below the title: N, M, and what the figure does not show."""
    limits = [
        f"{plural(scene.n_limits(side), f'{word} limit')}" for side, (word, _) in _SIDES.items() if scene.n_limits(side)
    ]
    n_data = f"N = {count(fit.n_data)}" + (f" ({', '.join(limits)})" if limits else "")
    parts = [f"{n_data}, M = {fit.n_components}"]
    if not fit.converged:
        parts.append("not converged")
    if scene.share < 1.0:
        parts.append(f"data: {100.0 * scene.share:.3g} % of the rows")
    left, right = scene.outside()
    if left + right:
        parts.append(f"{plural(left + right, 'row')} outside the picture ({count(left)} left, {count(right)} right)")
    means = fit.mixture.means
    hidden = int(np.count_nonzero((means < scene.low) | (means > scene.high)))
    if hidden:
        parts.append(f"{plural(hidden, 'component')} outside the picture")
    return " · ".join(parts)


def density_label(unit: str | None, scene: Scene | None = None) -> str:
    """Label of the density axis."""
    text = "density per decade" if scene is not None and scene.log else density_text(unit)
    return wrap(text, 34, 3)


def draw_densities(axes: Axes, fit: FitResult, scene: Scene, peak: float = math.inf) -> list[Artist]:
    """Draw the histogram and the mixture into axes; the entries of a legend."""
    mixture = fit.mixture
    edges = scene.edges(mixture)
    histogram = scene.histogram(edges)
    handles: list[Artist] = [draw_histogram(axes, histogram, edges)]
    total_rows = histogram
    if scene.limits is not None:
        spread = scene.density(scene.expected_limits(mixture, edges), edges)
        total_rows = histogram + spread
        handles.append(_draw_spread_limits(axes, histogram, total_rows, edges))

    grid = scene.grid(mixture)
    broad, seen = resolved_components(mixture, scene)
    intrinsic = scene.intrinsic(mixture, grid)
    total = intrinsic[broad].sum(axis=0)
    observed = scene.observed(mixture, grid)[seen].sum(axis=0)
    tallest = shown_bins(total_rows, scene.widths(edges), peak)
    top = shown_height(tallest, float(max(observed.max(), total.max())))
    top, base = (1.16 if fit.n_components > 1 else 1.08) * top, 0.0
    if scene.look.log_counts:
        base = _LOWEST * scene.share / (scene.n_data * float(scene.widths(edges).max()))
        top = max(float(total_rows.max()), float(observed.max()), float(total.max()), 10.0 * base)
        top *= (top / base) ** 0.12

    for j in range(fit.n_components):
        colour, dashes, hatch = component_style(j)
        if j in broad:
            visible = intrinsic[j] > (base if base else 1e-4 * top)
            fill, edge = to_rgba(colour, _FILL), to_rgba(colour, 0.6)
            axes.fill_between(
                grid[visible], intrinsic[j][visible], base, facecolor=fill, edgecolor=edge, hatch=hatch, linewidth=0.0
            )
            axes.plot(grid[visible], intrinsic[j][visible], color=colour, linestyle=dashes, linewidth=1.0)
        else:
            _draw_spike(axes, scene, j, fit, (base, top))
    if seen:
        axes.plot(grid, observed, color=MODEL_COLOUR, linewidth=1.3)
        text = "mixture, as observed" if len(seen) == fit.n_components else "as observed, without arrows"
        if scene.window is not None and scene.window.is_interval:
            text += " before the cut"
        handles.append(Line2D([], [], color=MODEL_COLOUR, linewidth=1.3, label=text))
    in_bins = scene.in_bins(mixture, edges)
    if in_bins is not None:
        (dots,) = axes.plot(scene.middles(edges), in_bins, "o", color=MODEL_COLOUR, markersize=4.0)
        dots.set_label("mixture, in each bin")
        handles.append(dots)
    if broad and np.any(scene.err > 0.0):
        axes.plot(grid, total, color=MODEL_COLOUR, linestyle=":", linewidth=1.0)
        handles.append(Line2D([], [], color=MODEL_COLOUR, linestyle=":", label="mixture, errors removed"))
    shown = [bound for bound in scene.bounds if scene.low < bound < scene.high]
    if shown:
        axes.vlines(shown, base, top, color=NOTE_COLOUR, linestyle="--", linewidth=0.8)
        handles.append(Line2D([], [], color=NOTE_COLOUR, linestyle="--", linewidth=0.8, label="bounds of the sample"))
    if base:
        below = False
        axes.set_yscale("log")
        draw_rows(axes, scene, base * (top / base) ** 0.025, handles)
        axes.set_ylim(base, top)
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if top < 100.0 * base else (1.0,)))
        axes.yaxis.set_minor_formatter(NullFormatter())
        if top < 100.0 * base:
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    else:
        below = draw_rows(axes, scene, -0.03 * top, handles)
        axes.set_ylim(-0.06 * top if below else 0.0, top)
        axes.set_yticks([tick for tick in axes.get_yticks() if 0.0 <= tick <= top])
    if below:
        axes.axhline(0.0, color=MODEL_COLOUR, linewidth=0.5)
    _draw_numbers(axes, scene, mixture)
    mark_peaks(axes, scene, [(grid, heights) for heights in (*intrinsic[broad], total, observed)])
    return handles


def mark_peaks(axes: Axes, scene: Scene, curves: Sequence[Curve]) -> None:
    """Draw a triangle above the frame for each peak of the curves, abscissae and heights, that lies beyond it."""
    top = axes.get_ylim()[1]
    marked: list[float] = []
    for grid, heights in curves:
        beyond = np.flatnonzero(heights > top)
        for run in np.split(beyond, np.flatnonzero(np.diff(beyond) > 1) + 1) if beyond.size else ():
            place = float(scene.place(grid[run[np.argmax(heights[run])]]))
            if all(abs(place - other) > _SAME_PEAK for other in marked):
                marked.append(place)
    if marked:
        look: dict[str, Any] = {"color": BEYOND_COLOUR, "markersize": 4, "markeredgewidth": 0.0, "clip_on": False}
        axes.plot(
            scene.at(np.array(marked)),
            np.full(len(marked), _ABOVE),
            "^",
            **look,
            label=_OFF_FRAME,
            transform=axes.get_xaxis_transform(),
        )


def peaks_key(panels: Sequence[Axes]) -> list[Artist]:
    """The entry of the legend for peaks beyond the frame, if any of the panels has some."""
    found: list[Artist] = [line for axes in panels for line in axes.lines if line.get_label() == _OFF_FRAME]
    return found[:1]


def _draw_spread_limits(axes: Axes, known: Array, both: Array, edges: Array) -> Artist:
    """Draw the rows with limits on top of the others, where the mixture expects them."""
    look: dict[str, Any] = {"facecolor": "none", "edgecolor": DATA_COLOUR, "hatch": "/////", "linewidth": 0.5}
    axes.stairs(both, edges, baseline=known, fill=True, **look)
    return Patch(**look, label="rows with limits, where the fit expects them")


def resolved_components(mixture: Mixture, scene: Scene) -> tuple[list[int], list[int]]:
    """The components that are wide enough to be drawn as curves, with the errors removed and as observed."""
    narrowest = _SPIKE_PIXELS * scene.finest(mixture.means)
    broad = np.flatnonzero(mixture.sigmas >= narrowest).tolist()
    return broad, np.flatnonzero(np.hypot(mixture.sigmas, scene.median_err) >= narrowest).tolist()


def draw_histogram(axes: Axes, heights: Array, edges: Array) -> Artist:
    """Draw the data as bars; returns their entry in the legend."""
    axes.stairs(heights, edges, fill=True, color=DATA_FILL)
    axes.stairs(heights, edges, color=DATA_COLOUR, linewidth=0.5)
    return Patch(facecolor=DATA_FILL, edgecolor=DATA_COLOUR, label="data")


def draw_rows(axes: Axes, scene: Scene, height: float, handles: list[Artist] | None = None) -> bool:
    """Draw a tick for each row if these are few, and an arrow for each limit; returns whether there are any.

    The arrows get an entry in the legend.
    """
    if scene.drawn_singly:
        x = scene.x[scene.known]
        axes.plot(x, np.full(x.size, height), "|", color=NOTE_COLOUR, markersize=4.5, markeredgewidth=0.6)
    for side, (word, arrow) in _SIDES.items() if scene.limits is not None else ():
        x = np.sort(scene.x[scene.limits == side])
        x = x[x > 0.0] if scene.log else x
        if not x.size:
            continue
        each = -(-x.size // _ARROWS)
        x = x[each // 2 :: each]
        look: dict[str, Any] = {"marker": arrow, "linestyle": "", "color": MODEL_COLOUR, "markeredgewidth": 0.0}
        # The tail of the arrow is at the limit.
        offset = 0.009 * side
        ends = scene.at(scene.place(x) + offset)
        axes.plot(ends, np.full(x.size, height), markersize=5.5, **look)
        if handles is not None:
            text = f"{word} limits" if each == 1 else f"{word} limits, an arrow for {count(each)}"
            handles.append(Line2D([], [], markersize=8.0, label=text, **look))
    return scene.drawn_singly or scene.limits is not None


def _draw_numbers(axes: Axes, scene: Scene, mixture: Mixture) -> None:
    """Write the number of each component at the top, above its mean."""
    if mixture.n_components == 1:
        return
    levels = [-np.inf, -np.inf]
    for j in range(mixture.n_components):
        place = float(scene.place(mixture.means[j])) if scene.low < mixture.means[j] < scene.high else np.nan
        level = next((level for level, last in enumerate(levels) if place - last >= _APART), None)
        if level is None:
            continue
        levels[level] = place
        text = axes.text(
            min(max(place, 0.008), 0.992),
            0.975 - 0.055 * level,
            str(j + 1),
            transform=axes.transAxes,
            ha="center",
            va="center",
            fontsize=6.5,
            fontweight="bold",
            color=component_style(j)[0],
        )
        text.set_path_effects([withStroke(linewidth=1.5, foreground="white")])


def _draw_spike(axes: Axes, scene: Scene, j: int, fit: FitResult, ends: tuple[float, float]) -> None:
    """Draw an arrow at the mean of a component too narrow to have a visible width; its height shows the weight."""
    mean, weight = float(fit.mixture.means[j]), float(fit.mixture.weights[j])
    if not scene.low <= mean <= scene.high:
        return
    colour, dashes, _ = component_style(j)
    part, (base, top) = 0.15 + 0.7 * weight, ends
    height = base * (top / base) ** part if base else part * top
    axes.vlines(mean, base, height, color=colour, linestyle=dashes, linewidth=1.4)
    axes.plot([mean], [height], marker="^", color=colour, markersize=5)


def _draw_enlarged(axes: Axes, fit: FitResult, part: Scene, members: list[int], whole: Scene) -> None:
    """Draw a small part of the range that has narrow components."""
    draw_densities(axes, fit, part)
    for text in list(axes.texts):
        text.remove()
    part.frame(axes)
    for j in members:
        colour, mean = component_style(j)[0], float(fit.mixture.means[j])
        axes.plot([mean], [1.0], "v", transform=axes.get_xaxis_transform(), color=colour, markersize=3, clip_on=False)
    name_enlarged(axes, part, whole.width, members)


def name_enlarged(axes: Axes, part: Scene, width: float, members: list[int]) -> None:
    """Say which components a small part of a range has, and how much larger it is drawn; set its ticks."""
    axes.xaxis.set_major_locator(MaxNLocator(2))
    axes.yaxis.set_major_locator(MaxNLocator(3))
    axes.tick_params(labelsize=6.5)
    for axis in (axes.xaxis, axes.yaxis):
        axis.get_offset_text().set_fontsize(6.5)
    names = ", ".join(str(j + 1) for j in members[:4]) + (" …" if len(members) > 4 else "")
    times = float(f"{width / part.width:.1g}")
    shown = count(times) if times < _MOST_TIMES else typeset(f"{times:.0e}")
    axes.set_title(f"{names}: ×{shown}", loc="left", fontsize=7.0)


def _draw_error_bar(strip: Axes, scene: Scene, unit: str | None) -> None:
    """Draw the median error to the scale of the x axis, in a separate strip above the data."""
    strip.set_ylim(-1.0, 1.0)
    strip.axis("off")
    size = scene.median_err
    transform = strip.get_yaxis_transform()
    if not np.any(scene.err > 0.0):
        strip.text(0.0, 0.0, "no measurement errors", transform=transform, va="center", fontsize=7)
        return
    text = f"median error ±{short(size)}{value_unit(unit)}"
    share = size / scene.width
    way = "wide" if share > 0.3 else "narrow" if share < 0.008 else None
    if scene.log or way:
        text += "" if scene.log else f" (too {way} to draw)"
        strip.text(0.0, 0.0, text, transform=transform, va="center", fontsize=7, parse_math=False)
        return
    centre = scene.low + size + 0.01 * scene.width
    strip.errorbar(
        [centre], [0.0], xerr=[size], fmt="o", color=MODEL_COLOUR, markersize=2.0, capsize=2.5, linewidth=0.9
    )
    strip.text(2.0 * share + 0.035, 0.5, text, transform=strip.transAxes, va="center", fontsize=7, parse_math=False)


def component_texts(fit: FitResult, scene: Scene, unit: str | None) -> list[str]:
    """Number and parameters of each component with their uncertainties, or with the digits that the figure can show.

    Those of many components are written in few characters, which `component_key` explains.
    """
    few = fit.n_components <= _FEW_COMPONENTS
    names = ("weight ", "mean ", "σ ") if few else ("", "", "")
    texts: list[str] = []
    forms = [(number_text, value_unit(unit)), (compact_text, value_unit(unit))] if few else []
    for write, suffix in [*forms, (compact_text, "")]:
        texts = []
        for j, family in enumerate(fit.mixture.families):
            numbers = _parameters(fit, j, scene, write)
            text = f"{j + 1}: {', '.join(name + number for name, number in zip(names, numbers, strict=True))}{suffix}"
            text += " at its bound" if fit.boundary[j] else ""
            texts.append(text + ("" if family == "gaussian" else f", {family.replace('_', ' ')}"))
        if max(map(len, texts)) <= _LONGEST:
            break
    return texts


def _parameters(fit: FitResult, j: int, scene: Scene, write: Callable[..., str]) -> tuple[str, str, str]:
    """Weight, mean and sigma of a component."""
    mixture, unc = fit.mixture, fit.uncertainties
    weight, mean, sigma = (float(values[j]) for values in (mixture.weights, mixture.means, mixture.sigmas))
    width = scene.width if not scene.log and scene.low <= mean <= scene.high else math.nan
    return (
        write(weight, float(unc.weights[j])) if unc.weights[j] > 0.0 else short(weight),
        write(mean, float(unc.means[j]), width),
        write(sigma, float(unc.sigmas[j])) if unc.sigmas[j] > 0.0 else short(sigma),
    )


def component_key(fit: FitResult, unit: str | None) -> list[Artist]:
    """What the texts of many components say, as an entry of the legend before them."""
    if fit.n_components <= _FEW_COMPONENTS:
        return []
    text = f"weight, mean, σ{f' [{value_unit(unit).strip()}]' if value_unit(unit) else ''}"
    known = np.any(fit.uncertainties.means > 0.0)
    return [Line2D([], [], linestyle="", label=f"{text}{' (uncertainty)' if known else ''}:")]


def _component_entry(fit: FitResult, j: int, scene: Scene, text: str) -> Artist:
    """A legend entry with the parameters of a component."""
    colour, dashes, hatch = component_style(j)
    if j in resolved_components(fit.mixture, scene)[0]:
        fill = to_rgba(colour, _FILL)
        return Patch(facecolor=fill, edgecolor=colour, linestyle=dashes, linewidth=1.0, hatch=hatch, label=text)
    return Line2D([], [], color=colour, linestyle=dashes, linewidth=1.4, marker="^", label=text)
