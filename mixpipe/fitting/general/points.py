"""Few points in place of many rows, where a mixture that has been fitted is climbed again and again."""

from __future__ import annotations

import math

import numpy as np

from mixpipe.fitting.general.likelihood import Likelihood, Point
from mixpipe.model.cells import Cells

# Up to this many rows they are taken as they are.
_ROWS, _ROWS_QUADRATURE = 4000, 1000
# Part of the narrowest component that the points resolve.
_BASE = 0.5
_N_QUANTILES, _N_VALUES, _WIDTHS = 400, 61, 3.0


def likelihood_like(cells: Cells, point: Point, n_threads: int = 1) -> Likelihood:
    """The likelihood of some cells for mixtures of these families."""
    smooth = any(family.has_edge for family in point.families)
    return Likelihood(cells, smooth=smooth, n_threads=n_threads)


def are_few(cells: Cells, point: Point) -> bool:
    """Whether there are so few rows that they need no sketch."""
    slow = any(family.by_quadrature for family in point.families)
    return len(cells) <= (_ROWS_QUADRATURE if slow else _ROWS)


def base_for(cells: Cells, point: Point) -> float:
    """The width that a sketch has to resolve for a mixture: half of its narrowest component as it is observed.

    A component is as narrow as the Gaussian with the same peak, and an edge as narrow as the errors.
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
    """Points that stand for the rows in the neighbourhood of a mixture; the rows where they are few."""
    if are_few(cells, point):
        return cells
    points = cells.sketched(base_for(cells, point), within=True)
    return points if len(points) < 0.5 * len(cells) else cells
