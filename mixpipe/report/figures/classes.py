"""The figure of membership: the component to which a value belongs."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import ArrayLike

from mixpipe.model.noise import Noise
from mixpipe.model.results import FitResult
from mixpipe.model.window import Window
from mixpipe.report.figures.mixture import draw_histogram, draw_rug, heading, parameters
from mixpipe.report.figures.scene import Scene
from mixpipe.report.figures.style import axis_label, component_style, finish, new_figure, short, style

_FAINT = 1e-3  # probabilities too small to see


def draw_classes(
    fit: FitResult,
    x: ArrayLike,
    err: ArrayLike | Noise | None,
    *,
    label: str,
    unit: str | None,
    share: float = 1.0,
    window: Window | None = None,
    bins: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> Figure:
    """Draw the probability of each component against the value, for a row with the median error.

    Parameters
    ----------
    fit : FitResult
        The fit to draw.
    x, err : array_like
        The data that were fitted: values and one-sigma errors (a scalar or None as in `fit_mixture`).
    label : str
        Title, ``catalog / release / column``; its last part names the axis.
    unit : str or None
        Unit of `x`.
    share, window, bins
        As in `draw_mixture`.
    weights : array_like or None
        Number of rows in each bin; not needed for data that are rows.

    Returns
    -------
    matplotlib.figure.Figure
        Stacked areas, with the data below them.
    """
    scene = Scene.of(fit.mixture, x, err, weights, share, window, bins)
    mixture = fit.mixture
    grid = scene.grid(mixture)
    typical = scene.median_err
    resp = mixture.responsibilities(grid, np.hypot(typical, 0.3 * scene.finest(grid)))
    with style():
        figure = new_figure(2.5)
        axes, lower = figure.subplots(2, 1, sharex=True, height_ratios=[5, 1])
        styles = [component_style(j) for j in range(fit.n_components)]
        upper = np.cumsum(resp, axis=1)
        handles = []
        for j, (colour, _, hatch) in enumerate(styles):
            look: dict[str, Any] = {"facecolor": colour, "edgecolor": "white", "hatch": hatch, "alpha": 0.75}
            present = np.convolve(resp[:, j] > _FAINT, np.ones(3), "same") > 0.0
            axes.fill_between(
                grid, upper[:, j] - resp[:, j], upper[:, j], where=present.tolist(), linewidth=0.0, **look
            )
            handles.append(Patch(label=f"{j + 1}: {parameters(fit, j, scene)}", **look))
        axes.set_ylim(0.0, 1.0)
        axes.set_ylabel("probability")
        edges = scene.edges(mixture)
        counts = scene.counts(edges)
        tallest = max(float(counts.max(initial=0.0)), 1.0)
        draw_histogram(lower, counts, edges)
        if scene.drawn_singly:
            draw_rug(lower, scene, -0.22 * tallest)
        lower.set_ylim(-0.45 * tallest if scene.drawn_singly else 0.0, 1.1 * tallest)
        lower.set_yticks([])
        lower.set_ylabel("rows")
        scene.frame(lower)
        lower.set_xlabel(axis_label(label, unit), parse_math=False)
        row = f"with the median error ±{short(typical)}" if typical > 0.0 else "without error"
        return finish(figure, label, f"{heading(fit, scene)} · for a row {row}", handles, columns=3)
