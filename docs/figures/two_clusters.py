"""The figure of docs/joint.md, from the examples of that chapter: ``python docs/figures/two_clusters.py``."""

from __future__ import annotations

import doctest
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import EllipseCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Ellipse

from mixpipe.base.arrays import Array
from mixpipe.report.figures.style import COMPONENT_COLOURS, DATA_COLOUR, save_figure, style

FOLDER = Path(__file__).resolve().parent
# Stars whose highest probability is lower belong to no population for certain.
_CERTAIN = 0.8
# The error ellipses of every this many stars are drawn.
_EVERY = 5
# Clusters have colours, and the field between them is grey.
_COLOURS = (COMPONENT_COLOURS[0], DATA_COLOUR, COMPONENT_COLOURS[1])
_NAMES = ("cluster 1", "field", "cluster 2")
_LABELS = {"parallax": "parallax [mas]", "pmRA": "pmRA [mas/yr]", "pmDE": "pmDE [mas/yr]"}
_LIMITS = {"parallax": (0.25, 1.15), "pmRA": (-2.7, -0.9), "pmDE": (-4.0, -2.4)}


def examples(page: Path) -> dict[str, Any]:
    """What the Python examples of a chapter have defined when all of them have run."""
    test = doctest.DocTestParser().get_doctest(page.read_text(encoding="utf-8"), {}, page.name, str(page), 0)
    flags = doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL
    failed = doctest.DocTestRunner(optionflags=flags).run(test, clear_globs=False).failed
    if failed:
        raise SystemExit(f"{failed} examples of {page.name} failed: expected what the chapter shows")
    return test.globs


def _axes_of(covariance: Array, n_sigma: float) -> tuple[Any, Any, Any]:
    """Lengths of the axes, and angles in degrees, of ellipses of covariances of two columns."""
    roots, axes = np.linalg.eigh(covariance)
    lengths = 2.0 * n_sigma * np.sqrt(np.maximum(roots, 0.0))
    return lengths[..., 1], lengths[..., 0], np.degrees(np.arctan2(axes[..., 1, 1], axes[..., 0, 1]))


def _panel(axes: Axes, found: dict[str, Any], pair: tuple[str, str]) -> None:
    mixture, members = found["choice"].best.mixture, found["members"]
    columns = [mixture.names.index(name) for name in pair]
    x = found["stars"].to_numpy()[:, columns]
    cov = found["cov"][:, columns][:, :, columns]
    likeliest = np.where(members.max(axis=1) >= _CERTAIN, members.argmax(axis=1), -1)
    colours = np.array([*_COLOURS, "#000000"])[likeliest]

    some = np.arange(0, len(x), _EVERY)
    axes.add_collection(
        EllipseCollection(
            *_axes_of(cov[some], 1.0),
            units="xy",
            offsets=x[some],
            offset_transform=axes.transData,
            facecolors="none",
            edgecolors=colours[some],
            linewidths=0.5,
            alpha=0.7,
        )
    )
    # The field first, so that it hides no member.
    for population, layer in ((1, 2), (-1, 3), (0, 4), (2, 4)):
        shown = x[likeliest == population]
        fill = "none" if population < 0 else _COLOURS[population]
        axes.scatter(*shown.T, s=9, c=fill, edgecolors="#000000" if population < 0 else "none", lw=0.5, zorder=layer)
    for j in (0, 2):
        covariance = mixture.covariances[j][np.ix_(columns, columns)]
        width, height, angle = _axes_of(covariance, 2.0)
        patch = {"fill": False, "angle": float(angle), "zorder": 5}
        centre = mixture.means[j, columns]
        axes.add_patch(Ellipse(centre, float(width), float(height), ec="white", lw=3.2, **patch))
        axes.add_patch(Ellipse(centre, float(width), float(height), ec="black", lw=1.4, **patch))
    axes.set(xlim=_LIMITS[pair[0]], ylim=_LIMITS[pair[1]], xlabel=_LABELS[pair[0]], ylabel=_LABELS[pair[1]])


def draw(found: dict[str, Any]) -> Figure:
    """The stars of the chapter near the clusters, with errors and memberships."""
    with style():
        figure = Figure(figsize=(6.6, 3.6), layout="constrained")
        FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2)
        _panel(left, found, ("pmRA", "pmDE"))
        _panel(right, found, ("parallax", "pmRA"))
        dot = {"ls": "none", "marker": "o", "ms": 3.5}
        handles = [Line2D([], [], color=c, label=name, **dot) for c, name in zip(_COLOURS, _NAMES, strict=True)]
        handles += [
            Line2D([], [], mfc="none", mec="#000000", mew=0.5, label="not certain", **dot),
            Line2D([], [], color="black", lw=1.4, label="cluster, errors removed (2 sigma)"),
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=5, columnspacing=1.6, handletextpad=0.5)
    return figure


if __name__ == "__main__":
    save_figure(draw(examples(FOLDER.parent / "joint.md")), FOLDER / "two_clusters.png")
