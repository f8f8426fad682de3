"""The figure of a fit's quality, which compares the distribution of the rows with the mixture."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

# scipy.stats also has beta and binomial quantiles, but importing it takes as long as drawing two figures.
from scipy.special import bdtr, bdtrik, betaincinv, ndtr, ndtri

from mixpipe.model.noise import Noise
from mixpipe.model.resolution import rounded_from
from mixpipe.model.results import Array, FitResult
from mixpipe.model.window import Window
from mixpipe.report.figures.look import DEFAULT, Look
from mixpipe.report.figures.mixture import heading
from mixpipe.report.figures.scene import Scene, spread
from mixpipe.report.figures.style import BEYOND_COLOUR, DATA_FILL, MODEL_COLOUR, finish, name_axis, new_figure, style

_BAND = (0.025, 0.975)
BAND_COLOUR = "#56B4E9"
_BLOCK = 1 << 16  # rows per block of the PIT, which takes n_components numbers per row
_QQ_POINTS = 300
_LOWEST, _HIGHEST = 4.0, 8.0  # sigma: residuals are shown at least and at most this far


def draw_quality(
    fit: FitResult,
    x: ArrayLike,
    err: ArrayLike | Noise | None,
    weights: ArrayLike | None = None,
    *,
    label: str,
    unit: str | None = None,
    share: float = 1.0,
    window: Window | None = None,
    bins: ArrayLike | None = None,
    limits: ArrayLike | None = None,
    look: Look = DEFAULT,
) -> Figure:
    """Draw the probability integral transform, its quantiles, and the residual of the histogram.

    The transform of a row is ``fit.mixture.cdf(x, err)``, which is uniform between 0 and 1 if the fit is correct.
    Weights are taken as numbers of rows.

    Parameters
    ----------
    fit : FitResult
        The fit to draw.
    x, err, weights : array_like
        The data that were fitted: values, one-sigma errors and row weights; errors may be a scalar or None.
    label : str
        Title, ``catalog / release / column``; its last part names the axis.
    unit : str or None
        Unit of `x`.
    share : float
        As in `draw_mixture`.
    window : Window or None
        The window of the sample; the transform is then conditional on the values that are seen.
    bins : array_like, shape (n_bins, 2), or None
        Edges of the bins if the data are a histogram. The transform is then known at the edges, and the rows of a bin
        are spread evenly between its values at both edges.
    limits : array_like of int or None
        For each row, whether `x` is a value (0), an upper limit (-1) or a lower limit (1). The transform of a value
        below a limit lies between 0 and that of the limit, over which its row is spread evenly; in the residual it is
        where the fit expects it. Both leave a right fit flat, and scatter less than values.
    look : Look
        What is not left to the data.

    Returns
    -------
    matplotlib.figure.Figure
        Three panels; bands contain 95 % of the outcomes of a correct fit, for each bin or quantile individually.
    """
    scene = Scene.of(fit.mixture, x, err, weights, share, window, bins, limits, look)
    transform = integral_transform(fit, scene)
    with style():
        figure = new_figure(4.0)
        grid = figure.add_gridspec(2, 2)
        _draw_histogram(figure.add_subplot(grid[0, 0]), transform, scene)
        beyond = _draw_quantiles(figure.add_subplot(grid[0, 1]), transform, scene)
        residual = figure.add_subplot(grid[1, :])
        beyond |= _draw_residual(residual, fit, scene)
        name_axis(residual, label, unit, look)
        notes = f"{heading(fit, scene)} · blue: {'95 %' if scene.limits is None else '95 % or more'} of correct fits"
        return finish(figure, label, notes + (" · triangles: off the frame" if beyond else ""))


def integral_transform(fit: FitResult, scene: Scene) -> Array:
    """The probability integral transform of each row, conditional on values that are seen.

    For bins it is the transform of their edges, for values that were rounded to a grid that of the ends of the
    intervals from which they were rounded, and for limits what is on the side of the values; its shape is then
    (n_rows, 2).
    """
    if scene.bins is not None:
        return np.asarray(fit.mixture.cdf(scene.bins, scene.err[:, None]))
    if fit.resolution.step == 0.0:
        transform = _transformed(fit, scene, scene.x)
        if scene.limits is None:
            return transform
        ends = np.stack([transform, transform], axis=1)
    else:
        distinct, inverse = np.unique(scene.x, return_inverse=True)
        sides = rounded_from(distinct, fit.resolution.step)
        ends = np.stack([_transformed(fit, scene, side[inverse]) for side in sides], axis=1)
    if scene.limits is not None:
        ends[scene.limits < 0, 0], ends[scene.limits > 0, 1] = 0.0, 1.0
    return ends


def _transformed(fit: FitResult, scene: Scene, x: Array) -> Array:
    """The transform of other values with the errors of the rows."""
    transform = np.empty(x.size)
    for start in range(0, transform.size, _BLOCK):
        rows = slice(start, start + _BLOCK)
        if scene.window is None:
            transform[rows] = 1.0 - fit.mixture.sf(x[rows], scene.errors[rows])
        else:
            transform[rows] = scene.window[rows].below(fit.mixture, x[rows], scene.errors[rows])
    return transform.clip(0.0, 1.0, out=transform)


def transform_histogram(transform: Array, scene: Scene) -> tuple[Array, Array, tuple[float, float]]:
    """Ratio of observed to expected rows in each bin of the transform, the edges, and the band of a correct fit."""
    n_rows = scene.n_data
    n_bins = int(min(max(n_rows / 8.0, 4.0), 40.0))
    if transform.ndim == 1:
        counts, edges = np.histogram(transform, n_bins, (0.0, 1.0), weights=scene.weights)
    else:
        edges = np.linspace(0.0, 1.0, n_bins + 1)
        counts = spread(scene.weights, transform, edges)
    return counts / (n_rows / n_bins), edges, ratio_band(n_rows, n_bins)


def ratio_band(n_rows: float, n_bins: int) -> tuple[float, float]:
    """The band that contains 95 % of the ratios of observed to expected rows of a correct fit, in each of the bins."""
    low, high = (binomial_quantile(q, round(n_rows), 1.0 / n_bins) / (n_rows / n_bins) for q in _BAND)
    return low, high


def binomial_quantile(q: float, n: int, p: float) -> int:
    """The smallest number k of n for which the probability of at most k successes is at least q.

    >>> binomial_quantile(0.5, 4, 0.5), binomial_quantile(0.025, 4, 0.25), binomial_quantile(0.975, 4, 0.25)
    (2, 0, 3)
    """
    k = max(math.ceil(np.nan_to_num(bdtrik(q, n, p))), 0)
    return k - 1 if k and bdtr(k - 1, n, p) >= q else k


def _draw_histogram(axes: Axes, transform: Array, scene: Scene) -> None:
    draw_ratio(axes, *transform_histogram(transform, scene))
    axes.set_title("integral transform (PIT)", loc="left")
    axes.set_xlabel("PIT")
    axes.set_ylabel("rows / expected")


def draw_ratio(axes: Axes, ratio: Array, edges: Array, band: tuple[float, float]) -> None:
    """Draw the ratio of observed to expected rows in bins of a transform, and the band of a correct fit."""
    low, high = band
    axes.axhspan(low, high, color=BAND_COLOUR, alpha=0.3, linewidth=0.0)
    axes.axhline(1.0, color=MODEL_COLOUR, linewidth=0.6)
    axes.stairs(ratio, edges, color=MODEL_COLOUR, linewidth=0.9)
    axes.set_xlim(0.0, 1.0)
    top = max(float(ratio.max()), high)
    spread = max(top - 1.0, 1.0 - float(ratio.min()), 1.0 - low)
    axes.set_ylim(max(0.0, 1.0 - 1.5 * spread), 1.0 + 1.5 * spread)


def _draw_quantiles(axes: Axes, transform: Array, scene: Scene) -> bool:
    """Draw thinned normal scores of the ordered transform against uniform ones; returns whether any is cut off."""
    n_rows = scene.n_data
    if scene.bins is None and scene.limits is None and transform.ndim == 2:
        transform = transform.mean(axis=1)
    if scene.limits is not None:
        # Number of rows below each of some transforms.
        edge = -float(ndtri(min(0.5 / n_rows, 0.4)))
        ordered = ndtr(np.linspace(-edge - 1.0, edge + 1.0, _QQ_POINTS))
        position = np.cumsum(spread(scene.weights, transform, np.array([0.0, *ordered, 1.0])))[:-1] / n_rows
        inner = (position > 0.5 / n_rows) & (position < 1.0 - 0.5 / n_rows)
        ordered, position = _middles_of_steps(ordered[inner], position[inner], 0.01 / n_rows)
    elif scene.bins is not None:
        # Number of rows below the upper edge of each bin.
        order = np.argsort(transform[:, 1], kind="stable")
        ordered, position = transform[order, 1], np.cumsum(scene.weights[order]) / n_rows
        # Of the rows in a bin, the last.
        ends = np.append(np.diff(ordered) > 0.0, True)
        ordered, position = ordered[ends], position[ends]
        inner = position < 1.0 - 0.5 / n_rows
        ordered, position = (part[inner] if inner.any() else part for part in (ordered, position))
    elif scene.equal:
        ranks = _thinned_ranks(transform.size)
        ordered = np.partition(transform, ranks)[ranks]
        position = (ranks + 0.5) / transform.size
    else:
        order = np.argsort(transform, kind="stable")
        shares = scene.weights[order]
        middle = (np.cumsum(shares) - 0.5 * shares) / n_rows
        chosen = np.unique(
            np.searchsorted(middle, (_thinned_ranks(order.size) + 0.5) / order.size).clip(0, order.size - 1)
        )
        ordered, position = transform[order[chosen]], middle[chosen]
    expected, observed = (ndtri(np.clip(part, 1e-15, 1.0 - 1e-15)) for part in (position, ordered))
    limit = float(np.abs(expected).max()) + 0.8
    edge = -float(ndtri(min(0.5 / n_rows, 0.4)))
    line = np.linspace(-edge, edge, 200)
    rank = np.maximum(ndtr(line) * n_rows + 0.5, 0.5)
    low, high = (ndtri(betaincinv(rank, np.maximum(n_rows + 1.0 - rank, 0.5), q)) for q in _BAND)
    axes.fill_between(line, low, high, color=BAND_COLOUR, alpha=0.3, linewidth=0.0)
    axes.plot([-limit, limit], [-limit, limit], color=MODEL_COLOUR, linewidth=0.6)
    axes.set(xlim=(-limit, limit), ylim=(-limit, limit))
    axes.set_title("normal scores of the PIT", loc="left")
    axes.set_xlabel("expected")
    axes.set_ylabel("observed")
    return _draw_clipped(axes, expected, observed, limit, "o")


def _middles_of_steps(ordered: Array, position: Array, least: float) -> tuple[Array, Array]:
    """Of points between which no row lies, so that `position` rises by less than `least`, the one in the middle.

    >>> _middles_of_steps(np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.2, 0.2, 0.2, 0.5]), 0.01)
    (array([0.2, 0.4]), array([0.2, 0.5]))
    """
    starts = np.flatnonzero(np.diff(position, prepend=-1.0) > least)
    middles = (starts + np.append(starts[1:], position.size) - 1) // 2
    return ordered[middles], position[middles]


def _thinned_ranks(size: int) -> np.ndarray:
    """At most _QQ_POINTS ranks of 0 .. size - 1, including first and last, evenly spaced in the normal score."""
    if size <= _QQ_POINTS:
        return np.arange(size)
    edge = -ndtri(0.5 / size)
    return np.unique(np.clip((ndtr(np.linspace(-edge, edge, _QQ_POINTS)) * size).astype(int), 0, size - 1))


def histogram_residual(fit: FitResult, scene: Scene, edges: Array) -> Array:
    """Signed root of the deviance of each bin: like (rows - expected) / sqrt(expected), but also valid for few rows."""
    observed = scene.counts(edges) + scene.expected_limits(fit.mixture, edges)
    shares = scene.observed_shares(fit.mixture, edges) / scene.share
    expected = scene.n_data * np.maximum(shares, 1e-300)
    ratio = np.log(np.where(observed > 0.0, observed / expected, 1.0))
    deviance = np.maximum(2.0 * (observed * ratio - (observed - expected)), 0.0)
    return np.asarray(np.sign(observed - expected) * np.sqrt(deviance))


def _draw_residual(axes: Axes, fit: FitResult, scene: Scene) -> bool:
    """Draw the signed root deviance of the bins; returns whether any is off the frame."""
    edges = scene.edges(fit.mixture)
    residual = histogram_residual(fit, scene, edges)
    limit = float(np.clip(1.15 * np.abs(residual).max(initial=0.0), _LOWEST, _HIGHEST))
    axes.axhspan(-1.96, 1.96, color=BAND_COLOUR, alpha=0.3, linewidth=0.0)
    axes.axhline(0.0, color=MODEL_COLOUR, linewidth=0.6)
    axes.stairs(np.clip(residual, -limit, limit), edges, baseline=0.0, fill=True, color=DATA_FILL)
    scene.frame(axes)
    axes.set_ylim(-limit, limit)
    axes.set_title("residual of the histogram", loc="left")
    axes.set_ylabel("data − fit [σ]")
    return _draw_clipped(axes, scene.middles(edges), residual, limit, ".")


def _draw_clipped(axes: Axes, x: Array, y: Array, limit: float, marker: str) -> bool:
    """Draw points within the limits, and triangles at the frame for those beyond; returns whether there are any."""
    inside = np.abs(y) <= limit
    size = 2.0 if marker == "o" else 4.0
    axes.plot(x[inside], y[inside], marker, color=MODEL_COLOUR, markersize=size, markeredgewidth=0.0)
    for beyond, shape, edge in ((y > limit, "^", limit), (y < -limit, "v", -limit)):
        if beyond.any():
            height = np.full(np.count_nonzero(beyond), 0.95 * edge)
            axes.plot(x[beyond], height, shape, color=BEYOND_COLOUR, markersize=4, markeredgewidth=0.0)
    return not inside.all()
