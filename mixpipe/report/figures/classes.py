"""The figure of membership: the component to which a value belongs."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from numpy.typing import ArrayLike

from mixpipe.model.noise import Noise
from mixpipe.model.results import Array, FitResult
from mixpipe.model.window import Window
from mixpipe.report.drawing import shown_bins
from mixpipe.report.figures.look import DEFAULT, Look
from mixpipe.report.figures.mixture import (
    component_key,
    component_texts,
    draw_histogram,
    draw_rows,
    heading,
)
from mixpipe.report.figures.scene import Scene
from mixpipe.report.figures.style import component_style, finish, name_axis, new_figure, style
from mixpipe.report.typesetting import short, value_unit

_FAINT = 1e-3  # probabilities too small to see
_ROOM = 0.02  # the width that the number of a component needs, as a part of that of the figure


def draw_classes(
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
    """Draw the probability of each component against the value, for a row with the median error.

    Parameters
    ----------
    fit : FitResult
        The fit to draw.
    x, err, weights : array_like
        The data that were fitted: values, one-sigma errors (a scalar or None as in `fit_mixture`) and row weights.
    label : str
        Title, ``catalog / release / column``; its last part names the axis.
    unit : str or None
        Unit of `x`.
    share, window, bins, limits, look
        As in `draw_mixture`.

    Returns
    -------
    matplotlib.figure.Figure
        Stacked areas, with the data below them; a line above the data if there is one component.
    """
    scene = Scene.of(fit.mixture, x, err, weights, share, window, bins, limits, look)
    mixture = fit.mixture
    grid = scene.grid(mixture)
    typical = scene.median_err
    resp = mixture.responsibilities(grid, np.hypot(typical, 0.3 * scene.finest(grid)))
    with style():
        figure = new_figure(2.5)
        axes, lower = figure.subplots(2, 1, sharex=True, height_ratios=[5, 1] if fit.n_components > 1 else [1, 2])
        styles = [component_style(j) for j in range(fit.n_components)]
        upper = np.cumsum(resp, axis=1)
        handles: list[Artist] = component_key(fit, unit)
        texts = component_texts(fit, scene, unit)
        for j, ((colour, _, hatch), text) in enumerate(zip(styles, texts, strict=True)):
            if fit.n_components == 1:
                axes.axhline(1.0, color=colour, linewidth=1.5)
                handles.append(Line2D([], [], color=colour, linewidth=1.5, label=text))
                break
            filled: dict[str, Any] = {"facecolor": colour, "edgecolor": "white", "hatch": hatch, "alpha": 0.75}
            present = np.convolve(resp[:, j] > _FAINT, np.ones(3), "same") > 0.0
            axes.fill_between(
                grid, upper[:, j] - resp[:, j], upper[:, j], where=present.tolist(), linewidth=0.0, **filled
            )
            _draw_number(axes, scene, grid, (upper[:, j] - resp[:, j], upper[:, j]), j)
            handles.append(Patch(label=text, **filled))
        axes.set_ylim(0.0, 1.0 if fit.n_components > 1 else 1.1)
        axes.set_ylabel("probability")
        edges = scene.edges(mixture)
        # Bins need not have the same width.
        widths = scene.widths(edges)
        heights = scene.counts(edges) / widths
        tallest = shown_bins(heights, widths)
        draw_histogram(lower, heights, edges)
        below = draw_rows(lower, scene, -0.22 * tallest)
        lower.set_ylim(-0.45 * tallest if below else 0.0, 1.1 * tallest)
        lower.set_yticks([])
        lower.set_ylabel("rows")
        scene.frame(lower)
        name_axis(lower, label, unit, look)
        error = f"with the median error ±{short(typical)}{value_unit(unit)}"
        row = error if typical > 0.0 else "without error"
        said = f" · for a row {row}" if fit.n_components > 1 else " · every row belongs to the one component"
        return finish(figure, label, heading(fit, scene) + said, components=handles)


def _draw_number(axes: Axes, scene: Scene, grid: Array, ends: tuple[Array, Array], j: int) -> None:
    """Write the number of a component into its area, at the middle of where it is likeliest, if there is room."""
    heights = ends[1] - ends[0]
    wide = np.flatnonzero(heights > 0.7 * heights.max())
    runs = np.split(wide, np.flatnonzero(np.diff(wide) > 1) + 1)
    places = [scene.place(grid[[run[0], run[-1]]]) for run in runs if run.size]
    first, last = max(places, key=lambda pair: float(pair[1] - pair[0]), default=(0.0, 0.0))
    if last - first < _ROOM or heights.max() < 0.2:
        return
    middle = scene.at(0.5 * (first + last))
    height = 0.5 * float(np.interp(middle, grid, ends[0]) + np.interp(middle, grid, ends[1]))
    text = axes.text(float(middle), height, str(j + 1), ha="center", va="center", fontsize=7, fontweight="bold")
    text.set_path_effects([withStroke(linewidth=2.0, foreground="white")])
