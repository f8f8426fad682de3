"""Few points that replace many rows: for the search, and for repeated climbs from a fitted mixture."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace

import numpy as np

from mixpipe.fitting.general.likelihood import GeneralLikelihood, Point
from mixpipe.model.cell_blocks import LARGE_PIECE_ROWS, CellBlocks, CellSurvey
from mixpipe.model.cells import Cells
from mixpipe.model.families import Family
from mixpipe.model.families.noisy import by_quadrature
from mixpipe.model.regimes import (
    COARSE_POINTS,
    GENERAL_ROWS,
    GENERAL_SEARCH_ROWS,
    QUADRATURE_ROWS,
    QUADRATURE_SEARCH_ROWS,
)

# Width that the points resolve, as a fraction of that of the narrowest component.
_BASE = 0.5
_N_QUANTILES, _N_VALUES, _WIDTHS = 400, 61, 3.0
# Width that the sketch for a search resolves, as a fraction of the range of the central 80 % of the values, and width
# of its boxes in total widths.
_SKETCH = (1 / 64, 0.5)
_SKETCH_QUADRATURE = (1 / 8, 2.0)
# For values over decades: the width that the sketch resolves as a fraction of a value, and the share of the values that
# may be smaller than the lowest octave.
_SKETCH_OCTAVE = (1 / 16, 1.0)
_FEW = 0.001
# Boxes of a sketch with too many points are joined up to so many times.
_MOST_JOINED = 8


def likelihood_like(cells: Cells, point: Point, n_threads: int = 1, prior_rows: float = 0.0) -> GeneralLikelihood:
    """The likelihood of these cells for mixtures of the same families as `point`, and the prior if there is one."""
    smooth = any(family.has_edge for family in point.families)
    return GeneralLikelihood(cells, smooth=smooth, prior_rows=prior_rows, n_threads=n_threads)


def are_few(cells: Cells, point: Point) -> bool:
    """Whether the rows are few enough to need no sketch."""
    slow = any(by_quadrature(family, cells.errors) for family in point.families)
    return len(cells) <= (QUADRATURE_ROWS if slow else GENERAL_ROWS)


def sampled(cells: Cells, most: int) -> Cells:
    """Some of the rows, evenly spaced in the order of their values, which count for all.

    They stand for rows that have no sketch.
    """
    cells = cells[cells.weights > 0.0].merged()
    if len(cells) <= most:
        return cells
    arrays = {} if cells.noise is None else cells.noise.arrays
    keys = [array if array.ndim == 1 else array[:, 0] for array in arrays.values()]
    order = np.lexsort((cells.weights, *keys, cells.x))
    chosen = cells[order[np.linspace(0, len(cells) - 1, most).round().astype(np.intp)]]
    return replace(chosen, weights=chosen.weights * (cells.n_data / chosen.n_data))


def base_for(cells: Cells, point: Point) -> float:
    """The width that a sketch must resolve for a mixture: half the observed width of its narrowest component.

    The width of a component is that of the Gaussian with the same peak density, and the width of an edge is that of the
    errors.
    """
    return _base_for(likelihood_like(cells, point), point)


def _base_for(likelihood: GeneralLikelihood, point: Point) -> float:
    err = likelihood.typical_err
    quantiles = np.quantile(likelihood.x, (np.arange(_N_QUANTILES) + 0.5) / _N_QUANTILES)
    widths = [err] if err > 0.0 and any(family.has_edge for family in point.families) else []
    for family, fixed, mean, sigma, shape in zip(
        point.families, point.fixed, point.means, point.sigmas, point.shapes, strict=True
    ):
        if not fixed:
            around = mean + math.hypot(sigma, err) * np.linspace(-_WIDTHS, _WIDTHS, _N_VALUES)
            x = np.concatenate([quantiles, around])
            peak = float(np.max(family.logpdf(x, np.full(x.size, err), mean, sigma, shape)))
            widths.append(math.exp(-peak) / math.sqrt(2.0 * math.pi))
    return _BASE * max(min(widths), likelihood.floor)


def few_points(cells: Cells, point: Point) -> Cells:
    """Points that represent the rows for climbs near a mixture, or the rows themselves if they are few."""
    if are_few(cells, point) or cells.noise is not None:
        return cells
    points = cells.sketched(base_for(cells, point), within=True)
    return points if len(points) < 0.5 * len(cells) else cells


def are_few_for_search(cells: Cells, families: Collection[Family]) -> bool:
    """Whether the rows are few enough to be searched themselves."""
    return len(cells) <= most_for_search(cells, families)


def most_for_search(cells: Cells, families: Collection[Family]) -> int:
    """Largest number of rows that are searched themselves."""
    slow = any(by_quadrature(family, cells.errors) for family in families)
    return QUADRATURE_SEARCH_ROWS if slow else GENERAL_SEARCH_ROWS


def search_points(rows: CellBlocks, families: Collection[Family]) -> tuple[Cells, bool]:
    """Points that stand for the rows in a search, and whether they are a sketch of them.

    Without a sketch they are some of the rows, evenly spaced in the order of the values of a sample, which count for
    all.
    """
    survey = rows.survey
    most = most_for_search(survey.sample, families)
    if not has_sketch(survey.sample):
        return sampled(for_all(survey), most), False
    low, high = quantiles(survey.sample, (0.1, 0.9))
    base, fineness = _SKETCH if most == GENERAL_SEARCH_ROWS else _SKETCH_QUADRATURE
    base *= (high - low) or (survey.high - survey.low) or 1.0
    if any(family.positive or family.name == "power_law" for family in families) and survey.high > 0.0:
        return _sketched(rows, _octaves(survey), *_SKETCH_OCTAVE), True
    return _sketched(rows, None, base, fineness), True


def has_sketch(cells: Cells) -> bool:
    """Whether the points of a sketch can stand for cells of this kind: they have a value and one error each."""
    of_interval = cells.window is None or cells.window.is_interval
    return cells.noise is None and cells.edges is None and cells.memberships is None and of_interval


def sketch_for(rows: CellBlocks, point: Point) -> Cells | None:
    """Points that represent the rows for climbs near a mixture; None if rows of this kind have no sketch."""
    if not has_sketch(rows.survey.sample):
        return None
    return _sketched(rows, None, _base_for(likelihood_like(rows.survey.sample, point), point), 0.5)


def quantiles(cells: Cells, shares: tuple[float, ...]) -> list[float]:
    """Quantiles of the values, each of which is one of them."""
    order = np.argsort(cells.x, kind="stable")
    below = np.cumsum(cells.weights[order])
    at = np.searchsorted(below, np.array(shares) * below[-1])
    return [float(value) for value in cells.x[order][np.minimum(at, order.size - 1)]]


def for_all(survey: CellSurvey) -> Cells:
    """The sample, with weights that sum to the number of all rows."""
    sample = survey.sample
    return replace(sample, weights=sample.weights * (survey.n_data / sample.n_data))


def _octaves(survey: CellSurvey) -> tuple[int, int]:
    """The lowest octave of positive values that has many rows, and the highest."""
    positive = survey.sample[survey.sample.x > 0.0] if np.any(survey.sample.x > 0.0) else None
    lowest = survey.high if positive is None else quantiles(positive, (_FEW,))[0]
    return math.floor(math.log2(lowest)), math.floor(math.log2(survey.high))


def _sketched(rows: CellBlocks, octaves: tuple[int, int] | None, base: float, fineness: float) -> Cells:
    """Points of a sketch in one pass over the rows; with octaves, `base` is a fraction of the values.

    Limits have sketches of their own. Values below the lowest octave, or negative ones, belong to that.
    """
    from mixpipe.model.sketch import Grid, Sketch, weight_unit

    survey = rows.survey
    # Positions are measured from one of the values, so that the boxes resolve as much as double precision does.
    anchor, unit = quantiles(survey.sample, (0.5,))[0], weight_unit(survey.n_data)

    def task(cells: Cells) -> dict[tuple[int, int], Sketch]:
        kind = np.zeros(len(cells), np.int8) if cells.limits is None else cells.limits
        octave = np.zeros(len(cells), np.int64)
        if octaves is not None:
            octave = np.floor(np.log2(np.maximum(cells.x, 2.0 ** octaves[0]))).astype(np.int64)
            octave = np.clip(octave, *octaves)
        found = {}
        for key in {(int(one), int(other)) for one, other in np.unique(np.stack([kind, octave]), axis=1).T}:
            some = (kind == key[0]) & (octave == key[1])
            grid = Grid(base if octaves is None else base * 2.0 ** key[1], fineness, anchor, weight_unit=unit)
            found[key] = Sketch.of(grid, cells.x[some], cells.err[some], cells.weights[some])
        return found

    sketches: dict[tuple[int, int], Sketch] = {}
    for found in rows.each(task, LARGE_PIECE_ROWS):
        for key, sketch in found.items():
            sketches[key] = sketches[key] + sketch if key in sketches else sketch
    joined_bins, joined_boxes = 4, 0
    while True:
        parts = [(key[0], *sketches[key].points(joined_boxes, joined_bins)) for key in sorted(sketches)]
        n_points = sum(part[1].size for part in parts)
        if n_points <= max(COARSE_POINTS, survey.n_rows / 2) or joined_boxes > _MOST_JOINED:
            break
        joined_boxes += 1
    x, err, weights = (np.concatenate([part[k] for part in parts]) for k in (1, 2, 3))
    limits = np.concatenate([np.full(part[1].size, part[0], np.int8) for part in parts])
    sample = survey.sample
    # No point lies outside the range of the values, where a background or the window may end.
    x = np.clip(x, survey.low, survey.high)
    return Cells(x, err, weights, sample.resolution, limits, sample.window, sample.weight_kind)
