"""Few points that replace many rows, for repeated climbs from a fitted mixture."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from mixpipe.fitting.general.likelihood import GeneralLikelihood, Point
from mixpipe.model.cells import Cells
from mixpipe.model.families.noisy import by_quadrature
from mixpipe.model.regimes import GENERAL_ROWS, QUADRATURE_ROWS

# Width that the points resolve, as a fraction of that of the narrowest component.
_BASE = 0.5
_N_QUANTILES, _N_VALUES, _WIDTHS = 400, 61, 3.0


def likelihood_like(cells: Cells, point: Point, n_threads: int = 1) -> GeneralLikelihood:
    """The likelihood of these cells for mixtures of the same families as `point`."""
    smooth = any(family.has_edge for family in point.families)
    return GeneralLikelihood(cells, smooth=smooth, n_threads=n_threads)


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
    likelihood = likelihood_like(cells, point)
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
