"""The numbers behind the figures of a fit: bins, curves, residuals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mixpipe.model.estimate import Estimate
from mixpipe.model.mixture import Mixture
from mixpipe.model.noise import Noise
from mixpipe.model.results import FitResult
from mixpipe.model.window import Window
from mixpipe.report.figures.fit import drawn_rows
from mixpipe.report.figures.look import DEFAULT, Look
from mixpipe.report.figures.mixture import heading, resolved_components
from mixpipe.report.figures.quality import histogram_residual, integral_transform, transform_histogram
from mixpipe.report.figures.scene import Scene


def fit_curves(
    fit: FitResult,
    estimates: Sequence[Estimate],
    x: ArrayLike,
    err: ArrayLike | Noise | None,
    weights: ArrayLike | None = None,
    *,
    limits: ArrayLike | None = None,
    window: Window | None = None,
    bins: ArrayLike | None = None,
    look: Look = DEFAULT,
) -> dict[str, Any]:
    """The content of the figures of a fit, as arrays.

    Parameters
    ----------
    fit, estimates, x, err, weights, limits, window, bins, look
        As in `fit_figures`.

    Returns
    -------
    dict
        ``note``: N, M, and what is not shown; the ``label`` that was set, or None; ``range`` of the picture, and
        whether its axis is logarithmic, ``log``: densities are then per decade; ``edges``, ``counts`` and ``density``
        of the histogram; ``limits``, the density of the rows with limits on top of it, where the mixture expects their
        values, None if there are none; ``in_bins``, the density of the mixture in each bin if these are the data and
        wider than a component, otherwise None; ``x``, and for each of these points: ``observed`` and ``intrinsic``, the
        density of the mixture as observed and with the errors removed, ``parts``, the intrinsic density of each
        component (None if it is too narrow to draw), ``classes``, the probability of each component for a row with the
        ``median_err``, and ``estimators``, the density as observed by each of the other estimators; ``pit``: ``edges``
        and ``ratio``, rows over those expected, of the integral transform, and ``band``, which holds 95 % of the ratios
        of a right fit; ``residual`` of each bin in sigma.
    """
    mixture = fit.mixture
    rows, share = drawn_rows(mixture, (x, err, weights), window)
    scene = Scene.of(mixture, *rows, share, window, bins, limits, look)
    edges = scene.edges(mixture)
    grid = scene.grid(mixture)
    broad, seen = resolved_components(mixture, scene)
    intrinsic = scene.intrinsic(mixture, grid)
    transform = integral_transform(fit, scene)
    ratio, transform_edges, band = transform_histogram(transform, scene)
    return {
        "note": heading(fit, scene),
        "label": look.label,
        "range": [scene.low, scene.high],
        "log": scene.log,
        "edges": edges,
        "counts": scene.counts(edges),
        "density": scene.histogram(edges),
        "limits": None if scene.limits is None else scene.density(scene.expected_limits(mixture, edges), edges),
        "in_bins": scene.in_bins(mixture, edges),
        "x": grid,
        "observed": _observed(mixture, seen, scene, grid),
        "intrinsic": intrinsic[broad].sum(axis=0),
        "parts": [intrinsic[j] if j in broad else None for j in range(fit.n_components)],
        "median_err": scene.median_err,
        "classes": mixture.responsibilities(grid, np.hypot(scene.median_err, 0.3 * scene.finest(grid))).T,
        "estimators": {
            each.name: _observed(each.mixture, resolved_components(each.mixture, scene)[1], scene, grid)
            for each in estimates
            if each.name != fit.estimator
        },
        "pit": {"edges": transform_edges, "ratio": ratio, "band": band},
        "residual": histogram_residual(fit, scene, edges),
    }


def _observed(mixture: Mixture, seen: list[int], scene: Scene, grid: np.ndarray) -> np.ndarray:
    return np.asarray(scene.observed(mixture, grid)[seen].sum(axis=0))
