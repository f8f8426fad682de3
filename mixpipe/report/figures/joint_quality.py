"""The figure of the quality of a joint fit: distributions of the integral transforms of its projections."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mixpipe.assess.joint_transforms import JointQuality, Transforms
from mixpipe.base.presentation import count
from mixpipe.model.joint.results import JointFit
from mixpipe.model.results import Array
from mixpipe.report.figures.quality import draw_ratio, ratio_band
from mixpipe.report.figures.style import finish, new_figure, style
from mixpipe.report.numbers import missing, pvalue
from mixpipe.report.typesetting import wrap

_COLUMNS, _HEIGHT = 3, 1.25
# Numbers of bins, each with at least so many rows where there are more than the fewest bins.
_BINS, _ROWS = (4, 8, 16, 32), 8.0
_TITLE_WIDTH = 24


def draw_joint_quality(
    fit: JointFit,
    transforms: Transforms,
    quality: Sequence[JointQuality],
    *,
    label: str,
    floor: float | None = None,
    n_rows: float | None = None,
) -> Figure:
    """Draw the distributions of the integral transforms, which are uniform if the fit is correct.

    Parameters
    ----------
    fit : JointFit
    transforms : Transforms
        Of the rows to draw.
    quality : sequence of JointQuality
        The statistics of all rows, by name.
    label : str
        Title, ``catalog / release / fit``.
    floor : float or None
        The lowest p-value that the simulations can give.
    n_rows : float or None
        Number of rows of which those drawn are a part; None if these are all.

    Returns
    -------
    matplotlib.figure.Figure
        A panel for each column, the principal axis and the distance; bands contain 95 % of the outcomes of a correct
        fit, for each bin individually.
    """
    known = {one.name: one for one in quality}
    n_panels = len(transforms.names)
    across = 2 if n_panels == 4 else _COLUMNS
    height = math.ceil(n_panels / across)
    with style():
        figure = new_figure(_HEIGHT * height)
        panels = figure.subplots(height, across, sharex=True, squeeze=False)
        for k, axes in enumerate(panels.ravel()):
            if k >= n_panels:
                axes.set_visible(False)
                continue
            name = transforms.names[k]
            _draw_panel(axes, transforms, k)
            axes.set_xticks([0.0, 0.5, 1.0])
            # The panel below may be an empty place.
            axes.tick_params(labelsize=6.5, labelbottom=k + across >= n_panels)
            title = f"{wrap(name, _TITLE_WIDTH)}\n{_statistic(known.get(name), floor)}"
            axes.set_title(title, loc="left", fontsize=7.0, linespacing=1.25, parse_math=False)
            if k % across == 0:
                axes.set_ylabel("rows / expected", fontsize=7.0)
            if k + across >= n_panels:
                axes.set_xlabel("PIT", fontsize=7.0)
        notes = f"N = {count(fit.n_data)}, M = {fit.n_components}"
        n_drawn = int(transforms.n_rows.max(initial=0))
        if n_rows is not None and n_rows > n_drawn:
            notes += f" · {count(n_drawn)} of {count(n_rows)} rows drawn"
        notes += " · integral transform (PIT); blue: 95 % of correct fits"
        return finish(figure, label, notes)


def transform_ratio(transforms: Transforms, k: int) -> tuple[Array, Array, tuple[float, float]]:
    """Ratio of observed to expected rows in each bin of a transform, the edges, and the band of a correct fit."""
    counts = transforms.counts[k]
    n_rows = float(counts.sum())
    n_bins = max([number for number in _BINS if number * _ROWS <= n_rows], default=_BINS[0])
    ratio = counts.reshape(n_bins, -1).sum(axis=1) / (n_rows / n_bins)
    return ratio, np.linspace(0.0, 1.0, n_bins + 1), ratio_band(n_rows, n_bins)


def _draw_panel(axes: Axes, transforms: Transforms, k: int) -> None:
    if transforms.counts[k].sum() > 0.0:
        draw_ratio(axes, *transform_ratio(transforms, k))
    else:
        axes.text(0.5, 0.5, "no rows to compare", ha="center", va="center", fontsize=7, transform=axes.transAxes)
        axes.set(yticks=[], xlim=(0.0, 1.0))


def _statistic(one: JointQuality | None, floor: float | None) -> str:
    if one is None or missing(one.ks):
        return "no statistic"
    text = f"KS {one.ks:.2g}"
    return text if missing(one.ks_pvalue) else f"{text}, p {pvalue(one.ks_pvalue, floor, '= ')}"
