"""The figure of a fit: data, the mixture as observed, and the mixture with the errors removed."""

from __future__ import annotations

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import ArrayLike

from mixpipe.base.presentation import count, plural
from mixpipe.model.mixture import Mixture
from mixpipe.model.noise import Noise
from mixpipe.model.results import Array, FitResult
from mixpipe.model.window import Window
from mixpipe.report.drawing import shown_height
from mixpipe.report.figures.scene import Scene
from mixpipe.report.figures.style import (
    DATA_COLOUR,
    DATA_FILL,
    MODEL_COLOUR,
    NOTE_COLOUR,
    axis_label,
    component_style,
    finish,
    new_figure,
    short,
    style,
    value_text,
)

# Components narrower than this many of the finest details are drawn as arrows.
_SPIKE_PIXELS = 3.0
_FILL = 0.18  # opacity


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
        Fraction of the mixture's rows that the data are: less than one if others are limits, or were not seen.
    window : Window or None
        The window of the sample.
    bins : array_like, shape (n_bins, 2), or None
        Edges of the bins if the data are a histogram, which is then drawn as it is.

    Returns
    -------
    matplotlib.figure.Figure
        The figure. Values far from the bulk of the data are not shown, but counted in the heading.
    """
    scene = Scene.of(fit.mixture, x, err, weights, share, window, bins)
    with style():
        figure = new_figure(2.7)
        strip, axes = figure.subplots(2, 1, sharex=True, height_ratios=[1, 16])
        handles = draw_densities(axes, fit, scene)
        _draw_error_bar(strip, scene)
        scene.frame(axes)
        axes.set_xlabel(axis_label(label, unit), parse_math=False)
        axes.set_ylabel(density_label(unit, scene), parse_math=False)
        handles += [_component_entry(fit, j, scene) for j in range(fit.n_components)]
        return finish(figure, label, heading(fit, scene), handles, columns=2)


def heading(fit: FitResult, scene: Scene) -> str:
    """The line below the title: N, M, and what the figure does not show."""
    parts = [f"N = {count(fit.n_data)}, M = {fit.n_components}"]
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
    if scene is not None and scene.log:
        return "density per decade"
    if not unit:
        return "density"
    return axis_label("density", f"1/{unit}" if unit.isalnum() else f"1/({unit})")


def draw_densities(axes: Axes, fit: FitResult, scene: Scene) -> list[Artist]:
    """Draw the histogram and the mixture into axes; the entries of a legend."""
    mixture = fit.mixture
    edges = scene.edges(mixture)
    histogram = scene.histogram(edges)
    handles: list[Artist] = [draw_histogram(axes, histogram, edges)]

    grid = scene.grid(mixture)
    broad, seen = resolved_components(mixture, scene)
    intrinsic = scene.intrinsic(mixture, grid)
    total = intrinsic[broad].sum(axis=0)
    observed = scene.observed(mixture, grid)[seen].sum(axis=0)
    tallest = float(histogram.max(initial=0.0)) or 1.0
    top = 1.08 * shown_height(tallest, float(max(observed.max(), total.max())))

    for j in range(fit.n_components):
        colour, dashes, hatch = component_style(j)
        if j in broad:
            visible = intrinsic[j] > 1e-4 * top
            fill, edge = to_rgba(colour, _FILL), to_rgba(colour, 0.6)
            axes.fill_between(
                grid[visible], intrinsic[j][visible], facecolor=fill, edgecolor=edge, hatch=hatch, linewidth=0.0
            )
            axes.plot(grid[visible], intrinsic[j][visible], color=colour, linestyle=dashes, linewidth=1.0)
        else:
            _draw_spike(axes, scene, j, fit, top)
    if seen:
        axes.plot(grid, observed, color=MODEL_COLOUR, linewidth=1.3)
        text = "mixture, as observed" if len(seen) == fit.n_components else "as observed, without arrows"
        if scene.window is not None and scene.window.is_interval:
            text += " before the cut"
        handles.append(Line2D([], [], color=MODEL_COLOUR, linewidth=1.3, label=text))
    if broad and np.any(scene.err > 0.0):
        axes.plot(grid, total, color=MODEL_COLOUR, linestyle=":", linewidth=1.0)
        handles.append(Line2D([], [], color=MODEL_COLOUR, linestyle=":", label="mixture, errors removed"))
    shown = [bound for bound in scene.bounds if scene.low < bound < scene.high]
    if shown:
        axes.vlines(shown, 0.0, top, color=NOTE_COLOUR, linestyle="--", linewidth=0.8)
        handles.append(Line2D([], [], color=NOTE_COLOUR, linestyle="--", linewidth=0.8, label="bounds of the sample"))
    if scene.drawn_singly:
        draw_rug(axes, scene, -0.03 * top)
        axes.axhline(0.0, color=MODEL_COLOUR, linewidth=0.5)
    axes.set_ylim(-0.06 * top if scene.drawn_singly else 0.0, top)
    axes.set_yticks([tick for tick in axes.get_yticks() if 0.0 <= tick <= top])
    return handles


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


def draw_rug(axes: Axes, scene: Scene, height: float) -> None:
    """Draw one tick for each row."""
    rows = np.full(scene.x.size, height)
    axes.plot(scene.x, rows, "|", color=NOTE_COLOUR, markersize=4.5, markeredgewidth=0.6)


def _draw_spike(axes: Axes, scene: Scene, j: int, fit: FitResult, top: float) -> None:
    """Draw an arrow at the mean of a component too narrow to have a visible width; its height shows the weight."""
    mean, weight = float(fit.mixture.means[j]), float(fit.mixture.weights[j])
    if not scene.low <= mean <= scene.high:
        return
    colour, dashes, _ = component_style(j)
    height = (0.15 + 0.8 * weight) * top
    axes.vlines(mean, 0.0, height, color=colour, linestyle=dashes, linewidth=1.4)
    axes.plot([mean], [height], marker="^", color=colour, markersize=5)
    right = scene.place(mean) < 0.85
    axes.annotate(
        f"{weight:.2g}",
        (mean, height),
        xytext=(5 if right else -5, -1),
        textcoords="offset points",
        ha="left" if right else "right",
        va="center",
        color=colour,
        fontsize=7,
        bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.8},
    )


def _draw_error_bar(strip: Axes, scene: Scene) -> None:
    """Draw the median error to the scale of the x axis, in a separate strip above the data."""
    strip.set_ylim(-1.0, 1.0)
    strip.axis("off")
    size = scene.median_err
    transform = strip.get_yaxis_transform()
    if not np.any(scene.err > 0.0):
        strip.text(0.0, 0.0, "no measurement errors", transform=transform, va="center", fontsize=7)
        return
    text = f"median error ±{short(size)}"
    share = size / scene.width
    if scene.log:
        strip.text(0.0, 0.0, text, transform=transform, va="center", fontsize=7)
        return
    if share > 0.2:
        strip.text(0.0, 0.0, f"{text} (too wide to draw)", transform=transform, va="center", fontsize=7)
        return
    centre = scene.low + size + 0.01 * scene.width
    strip.errorbar(
        [centre], [0.0], xerr=[size], fmt="o", color=MODEL_COLOUR, markersize=2.5, capsize=2.5, linewidth=0.9
    )
    strip.text(2.0 * share + 0.035, 0.5, text, transform=strip.transAxes, va="center", fontsize=7)


def parameters(fit: FitResult, j: int, scene: Scene) -> str:
    """Mean and sigma of a component, with the digits that the figure can show."""
    mean, sigma = float(fit.mixture.means[j]), float(fit.mixture.sigmas[j])
    even = not scene.log and scene.low <= mean <= scene.high
    place = value_text(mean, scene.width) if even else short(mean)
    family = fit.mixture.families[j]
    return f"mean {place}, σ {short(sigma)}" + ("" if family == "gaussian" else f", {family.replace('_', ' ')}")


def _component_entry(fit: FitResult, j: int, scene: Scene) -> Artist:
    """A legend entry with the parameters of a component."""
    colour, dashes, hatch = component_style(j)
    text = f"{j + 1}: weight {fit.mixture.weights[j]:.3g}, {parameters(fit, j, scene)}"
    if j in resolved_components(fit.mixture, scene)[0]:
        fill = to_rgba(colour, _FILL)
        return Patch(facecolor=fill, edgecolor=colour, linestyle=dashes, linewidth=1.0, hatch=hatch, label=text)
    return Line2D([], [], color=colour, linestyle=dashes, linewidth=1.4, marker="^", label=text)
