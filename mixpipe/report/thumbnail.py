"""The small picture of each column in the overview: an SVG of a few hundred bytes within the page."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import ArrayLike

from mixpipe.model.results import Array
from mixpipe.report.drawing import COMPONENT_COLOURS, shown_bins, shown_height
from mixpipe.report.entries import DensityEntry, Entry, JointEntry, ReportEntry
from mixpipe.report.traces import simplified

# Size in units of the picture, which has whole numbers for coordinates, and the tolerance of its curves.
_WIDTH, _HEIGHT, _TOLERANCE = 240, 80, 0.7
# Ellipses are drawn this far from the mean, in sigma.
_RADIUS = 2.0


def thumbnail(entry: Entry) -> Markup:
    """Data and mixture of a column, or the first pair of columns of a joint fit; nothing where there is no fit."""
    shapes = ""
    if isinstance(entry, ReportEntry) and entry.curves is not None:
        shapes = _column(entry, entry.curves)
    elif isinstance(entry, JointEntry) and entry.curves is not None:
        shapes = _pair(entry, entry.curves)
    elif isinstance(entry, DensityEntry) and entry.examples:
        shapes = _density(next((one for one in entry.examples if one["which"] == "median"), entry.examples[0]))
    if not shapes:
        return Markup("")
    # The words of the row say the same.
    head = f'<svg class="thumb" viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none" aria-hidden="true">'
    return Markup(f"{head}{shapes}</svg>")  # noqa: S704  # numbers alone


def _column(entry: ReportEntry, curves: Mapping[str, Any]) -> str:
    """The histogram, the components, and the mixture as observed."""
    density, observed = (np.asarray(curves[name], dtype=np.float64) for name in ("density", "observed"))
    edges = np.asarray(curves["edges"], dtype=np.float64)
    tallest = shown_bins(density, np.diff(np.log(edges) if curves["log"] else edges))
    top = 1.05 * shown_height(tallest, float(max(observed.max(initial=0.0), np.max(curves["intrinsic"], initial=0.0))))
    scale = _Scale(curves["range"], top, log=curves["log"])
    shapes = [f'<path class="data" d="{scale.area(np.repeat(edges, 2)[1:-1], np.repeat(density, 2))}"/>']
    means, weights = (entry.components[name].to_numpy(dtype=np.float64) for name in ("mean", "weight"))
    for j, part in enumerate(curves["parts"]):
        look = f"c{j % len(COMPONENT_COLOURS)}"
        if part is not None:
            path = scale.area(curves["x"], np.asarray(part, dtype=np.float64))
            shapes.append(f'<path class="part {look}" d="{path}"/>')
        elif curves["range"][0] <= means[j] <= curves["range"][1]:
            # Too narrow to have a visible width; its height shows the weight.
            shapes.append(f'<path class="spike {look}" d="{scale.spike(means[j], 0.15 + 0.8 * weights[j])}"/>')
    if observed.any():
        shapes.append(f'<path class="line" d="{scale.line(curves["x"], observed)}"/>')
    return "".join(shapes)


def _density(example: Mapping[str, Any]) -> str:
    """A tabulated density, and its mixture."""
    density, mixture = (np.asarray(example[name], dtype=np.float64) for name in ("density", "mixture"))
    top = 1.05 * max(np.nanmax(density, initial=0.0), mixture.max(initial=0.0)) or 1.0
    scale = _Scale((example["grid"][0], example["grid"][-1]), top)
    area, line = scale.area(example["grid"], np.nan_to_num(density)), scale.line(example["fine"], mixture)
    return f'<path class="data" d="{area}"/><path class="line" d="{line}"/>'


def _pair(entry: JointEntry, curves: Mapping[str, Any]) -> str:
    """The components in the first two columns, as ellipses."""
    (left, right), (low, high) = (column["range"] for column in curves["columns"][:2])
    per_unit = np.array([_WIDTH / (right - left), -_HEIGHT / (high - low)])
    mixture = entry.fit.mixture
    shapes = []
    for j in range(mixture.n_components):
        x, y = (mixture.means[j, :2] - (left, high)) * per_unit
        values, vectors = np.linalg.eigh(mixture.covariances[j, :2, :2] * np.outer(per_unit, per_unit))
        short, long = _RADIUS * np.sqrt(np.maximum(values, 0.0))
        angle = math.degrees(math.atan2(vectors[1, 1], vectors[0, 1]))
        radii = f'rx="{max(long, 1.0):.0f}" ry="{max(short, 1.0):.0f}"'
        place = f'transform="translate({x:.0f} {y:.0f}) rotate({angle:.0f})"'
        shapes.append(f'<ellipse class="part c{j % len(COMPONENT_COLOURS)}" {radii} {place}/>')
    return "".join(shapes)


class _Scale:
    """Paths of curves in whole units of the picture."""

    def __init__(self, ends: ArrayLike, top: float, *, log: bool = False) -> None:
        self._low, self._high = np.log(ends) if log else np.asarray(ends, dtype=np.float64)
        self._top, self._log = top, log

    def _points(self, x: ArrayLike, y: Array) -> Array:
        x = np.asarray(x, dtype=np.float64)
        across = ((np.log(x) if self._log else x) - self._low) / (self._high - self._low) * _WIDTH
        down = (1.0 - np.clip(np.nan_to_num(y) / self._top, 0.0, 1.0)) * _HEIGHT
        inside = (across >= 0.0) & (across <= _WIDTH)
        if np.count_nonzero(inside) < 2:
            return np.empty((0, 2), dtype=np.int64)
        across, down = across[inside], down[inside]
        # A histogram has two heights at one place.
        steps = np.diff(across) <= 0.0
        few = np.arange(across.size) if steps.any() else simplified(across, down, _TOLERANCE)
        return np.stack([across[few], down[few]], axis=1).round().astype(np.int64)

    def spike(self, x: float, height: float) -> str:
        """A vertical line of this height, as a fraction of the picture's."""
        across = ((math.log(x) if self._log else x) - self._low) / (self._high - self._low) * _WIDTH
        return f"M{across:.0f} {_HEIGHT}V{(1.0 - height) * _HEIGHT:.0f}"

    def line(self, x: ArrayLike, y: Array) -> str:
        """A curve as the data of an SVG path."""
        points = self._points(x, y)
        return "M" + "L".join(f"{across} {down}" for across, down in points.tolist()) if len(points) else ""

    def area(self, x: ArrayLike, y: Array) -> str:
        """The area below a curve; nothing of it where it is not seen."""
        points = self._points(x, y)
        above = np.pad(points[:, 1] < _HEIGHT, 1)
        # A point and both of its neighbours.
        points = points[above[:-2] | above[1:-1] | above[2:]]
        if not len(points):
            return ""
        inner = "L".join(f"{across} {down}" for across, down in points.tolist())
        return f"M{points[0, 0]} {_HEIGHT}L{inner}V{_HEIGHT}Z"
