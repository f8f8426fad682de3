"""The figure that compares the estimators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from mixpipe.base.presentation import count
from mixpipe.model.estimate import Estimate
from mixpipe.model.noise import Noise
from mixpipe.model.window import Window
from mixpipe.report.drawing import COMPONENT_COLOURS, shown_bins, shown_height
from mixpipe.report.figures.look import DEFAULT, Look
from mixpipe.report.figures.mixture import Curve, density_label, draw_histogram, mark_peaks, peaks_key
from mixpipe.report.figures.scene import Scene
from mixpipe.report.figures.style import finish, name_axis, new_figure, style
from mixpipe.report.typesetting import short

_DASHES: tuple[Literal["-", "--", ":"], ...] = ("-", "--", ":")


def draw_estimators(
    estimates: Sequence[Estimate],
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
    """Draw a histogram of the data and the observed mixture of each estimator, with the means of the components and
    their uncertainties below.

    Parameters
    ----------
    estimates : sequence of Estimate
        What the estimators find, the reference first.
    x, err, weights, label, unit, share, window, bins, limits, look
        As in `mixpipe.report.figures.draw_mixture`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    scene = Scene.of(estimates[0].mixture, x, err, weights, share, window, bins, limits, look)
    with style():
        figure = new_figure(2.6 + 0.22 * len(estimates))
        axes, strip = figure.subplots(2, 1, sharex=True, height_ratios=[11, 1.3 * len(estimates)])
        edges = scene.edges(estimates[0].mixture)
        histogram = scene.density(scene.counts(edges) + scene.expected_limits(estimates[0].mixture, edges), edges)
        handles: list[Artist] = [draw_histogram(axes, histogram, edges)]
        tallest = 0.0
        curves: list[Curve] = []
        for row, (name, mixture, loglik, unc) in enumerate(estimates):
            colour, dashes = COMPONENT_COLOURS[row % len(COMPONENT_COLOURS)], _DASHES[row % len(_DASHES)]
            grid = scene.grid(mixture)
            observed = scene.observed(mixture, grid).sum(axis=0)
            tallest = max(tallest, float(observed.max()))
            axes.plot(grid, observed, color=colour, linestyle=dashes, linewidth=1.3)
            curves.append((grid, observed))
            below = estimates[0].loglik - loglik
            word = "lower" if below >= 0 else "higher"
            text = name if row == 0 else f"{name}: log-likelihood {short(abs(below))} {word}"
            handles.append(Line2D([], [], color=colour, linestyle=dashes, label=text))
            strip.errorbar(
                mixture.means,
                np.full(mixture.n_components, -row),
                xerr=np.nan_to_num(unc) if unc.size else None,
                fmt="o",
                color=colour,
                markersize=3.0,
                capsize=2.5,
                linewidth=1.0,
            )
        top = shown_bins(histogram, scene.widths(edges))
        axes.set_ylim(0.0, 1.08 * shown_height(top, tallest) or 1.0)
        mark_peaks(axes, scene, curves)
        axes.set_ylabel(density_label(unit, scene), parse_math=False)
        strip.set_yticks(-np.arange(len(estimates)), [each.name for each in estimates])
        strip.set_ylim(-len(estimates) + 0.4, 0.6)
        scene.frame(strip)
        name_axis(strip, label, unit, look)
        notes = f"N = {count(scene.n_data)} · below: mean of each component"
        if any(np.any(each.means_unc > 0.0) for each in estimates):
            notes += ", with its uncertainty"
        return finish(figure, label, notes, handles + peaks_key(figure.axes), columns=2)
