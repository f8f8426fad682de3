"""Gaussian mixtures for densities that are tabulated on a grid, individually and in batches.

The fits are least squares in the density, or in the integrals over the bins of a histogram, under constraints: the
mixture is truncated at the ends of the grid, its weights are >= 0 and sum to one, and it has the mean of the table. The
weights are eliminated, and no starting guess and no random numbers are needed. There are two levels of effort:
`fit_density` searches longer, and `fit_densities` is for millions of photometric-redshift PDFs.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mixpipe.base.arrays import UNITY, bin_edges, histogram_heights
from mixpipe.base.threads import available_threads
from mixpipe.fitting.kernels import grids
from mixpipe.model.criteria import n_params
from mixpipe.model.inputs import with_unit_of
from mixpipe.model.mixture import Mixture
from mixpipe.model.results import Array, FitResult
from mixpipe.model.truncated import TruncatedMixture

# A row gets the fewest components whose cumulative distribution differs nowhere by more than this, so that the
# probability of any interval is wrong by at most twice as much, 0.04.
CLOSE_ENOUGH = 0.02
# The first four are as in `row_status`; rows with the last two have a mixture.
STATUS = ("ok", "negative", "all zero", "not finite", "tolerance", "mean")

# Number of rows that a thread fits at a time.
_CHUNK = 256
# The three parameters of a component need as many points.
_POINTS_PER_COMPONENT = 3


@dataclass(frozen=True, eq=False)
class DensityTable:
    """Mixtures fitted to the rows of a table of densities, as read-only arrays.

    The fitted density is the mixture truncated at `bounds`, the ends of the grid, where its integral is one; see
    `density`. Weights, means and sigmas are those of the mixture without the truncation.

    Parameters
    ----------
    n_components : ndarray of int, shape (n,)
        Number of components of each row; 0 where the row was rejected.
    weights, means, sigmas : ndarray, shape (n, max_components)
        Components of each row, sorted by mean; nan beyond their number.
    mass : ndarray, shape (n,)
        Integral of the mixture without the truncation, if that of its part within the bounds is one. It is far from one
        if the grid does not contain the whole density.
    l2 : ndarray, shape (n,)
        Integrated squared error; see `discrepancy`.
    ks : ndarray, shape (n,)
        Largest difference of the cumulative distributions; see `discrepancy`.
    converged : ndarray of bool, shape (n,)
        Whether a further step would change the fit by less than 1 % of its residual.
    status : ndarray of int, shape (n,)
        Index into ``("ok", "negative", "all zero", "not finite", "tolerance", "mean")``. Rows that are ``negative``,
        ``all zero`` or ``not finite`` are rejected. A mixture whose `ks` is not below the tolerance has the status
        ``tolerance``, and one whose mean differs from that of the table by 0.001 of its standard deviation ``mean``.
    normalisation : str
        Normalisation of most of the densities: ``integral`` 1, ``sum`` 1 or ``neither``.
    bounds : tuple of float
        The ends of the grid.
    """

    n_components: NDArray[np.int64]
    weights: Array
    means: Array
    sigmas: Array
    mass: Array
    l2: Array
    ks: Array
    converged: NDArray[np.bool_]
    status: NDArray[np.int64]
    normalisation: str
    bounds: tuple[float, float] = (-np.inf, np.inf)

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                value.flags.writeable = False

    def __len__(self) -> int:
        return self.status.size

    def counts(self) -> dict[str, int]:
        """Number of rows with each status."""
        return dict(zip(STATUS, np.bincount(self.status, minlength=len(STATUS)).tolist(), strict=True))

    def mixture(self, row: int) -> Mixture:
        """The mixture of a row, without the truncation.

        Raises
        ------
        ValueError
            If the row was rejected.
        """
        if not self.n_components[row]:
            raise ValueError(f"row {row} was rejected: its density is {STATUS[self.status[row]]}")
        n = self.n_components[row]
        return Mixture(self.weights[row, :n], self.means[row, :n], self.sigmas[row, :n])

    def density(self, row: int) -> TruncatedMixture:
        """The fitted density of a row: its mixture, truncated at the ends of the grid.

        Raises
        ------
        ValueError
            If the row was rejected.
        """
        return TruncatedMixture(self.mixture(row), *self.bounds)


@dataclass(frozen=True, eq=False)
class _Grid:
    """A grid in units of about half its length, relative to its middle; `edges` is empty unless its cells are bins.

    `points` are where the cumulative distribution is known, in the unit of the grid: its points, or the edges of its
    bins.
    """

    points: Array
    t: Array
    edges: Array
    widths: Array
    steps: Array
    centre: float
    scale: float

    @classmethod
    def of(cls, grid: ArrayLike, n_components: int) -> _Grid:
        values = np.asarray(grid, dtype=np.float64)
        if not (values.ndim == 1 or (values.ndim == 2 and values.shape[1] == 2)) or not np.all(np.isfinite(values)):
            raise ValueError("grid must be finite and one-dimensional, or have the two edges of a bin in each row")
        if not (isinstance(n_components, int | np.integer) and n_components >= 1):
            raise ValueError(f"the number of components must be an integer >= 1, found {n_components!r}")
        if len(values) < _POINTS_PER_COMPONENT * n_components:
            raise ValueError(
                f"grid has {len(values)} points; expected at least {_POINTS_PER_COMPONENT} for each of {n_components} "
                "components"
            )
        points = values if values.ndim == 1 else bin_edges(values)
        bad = np.flatnonzero(~(np.diff(points) > 0.0))
        if bad.size:
            raise ValueError(f"grid must increase, found {points[bad[0]]} before {points[bad[0] + 1]}")
        centre = 0.5 * points[0] + 0.5 * points[-1]
        # The scale is a power of two, so that nothing is rounded.
        scale = 2.0 ** np.round(np.log2(0.5 * points[-1] - 0.5 * points[0]))
        scaled = (points - centre) / scale
        gaps = np.diff(scaled)
        if not np.all(gaps > 0.0):
            raise ValueError("grid points are too close to each other for double precision")
        if values.ndim == 2:
            return cls(points, 0.5 * (scaled[1:] + scaled[:-1]), scaled, gaps, gaps, float(centre), float(scale))
        widths = 0.5 * (np.append(gaps, 0.0) + np.insert(gaps, 0, 0.0))
        steps = widths.copy()
        steps[0], steps[-1] = gaps[0], gaps[-1]
        return cls(points, scaled, np.empty(0), widths, steps, float(centre), float(scale))

    @property
    def centres(self) -> Array:
        """The points, or the centres of the bins."""
        return np.asarray(0.5 * (self.points[1:] + self.points[:-1])) if self.edges.size else self.points

    @property
    def bounds(self) -> tuple[float, float]:
        """The ends of the grid, at which mixtures are truncated."""
        return float(self.points[0]), float(self.points[-1])

    def heights(self, values: Array) -> Array:
        """The densities of a table, divided by their integral."""
        if self.edges.size:
            return self.scale * histogram_heights(self.points, values)
        heights = values / values.max()
        return np.asarray(heights / (self.widths @ heights))

    def fit(
        self, densities: Array, n_components: int, enough: float, tolerance: float, thorough: bool
    ) -> dict[str, Array]:
        """Call the kernel, and convert the result to the unit of the grid; `densities` is a contiguous table."""
        n = len(densities)
        fits, numbers = np.full((n, 3, n_components), np.nan), np.full((n, 6), np.nan)
        codes = np.zeros((n, 3), dtype=np.int64)
        grids.fit_rows(
            self.t, self.edges, self.widths, self.steps, densities,
            n_components, enough, tolerance, thorough, fits, numbers, codes,
        )  # fmt: skip
        return {
            "weights": fits[:, 0],
            "means": self.centre + self.scale * fits[:, 1],
            "sigmas": self.scale * fits[:, 2],
            "sum": numbers[:, 0],
            "integral": numbers[:, 1] * self.scale,
            "mass": numbers[:, 2],
            "l2": numbers[:, 3] / self.scale,
            "ks": numbers[:, 4],
            "n_passes": numbers[:, 5],
            "status": codes[:, 0],
            "n_components": codes[:, 1],
            "converged": codes[:, 2] == 1,
        }


def _normalisation(total: Array, integral: Array) -> str:
    """The normalisation of most rows; rejected rows have nan."""
    known = np.count_nonzero(integral > 0.0)
    for name, values in (("integral", integral), ("sum", total)):
        if known and 2 * np.count_nonzero(np.abs(values - 1.0) <= UNITY) > known:
            return name
    return "neither"


def fit_density(grid: ArrayLike, density: ArrayLike, n_components: int) -> FitResult:
    """Fit a Gaussian mixture to a density that is tabulated on a grid, by least squares and without a starting guess.

    The table is divided by its integral (trapezium rule), and so is the mixture, which is truncated at the ends of the
    grid: the weights sum to one, and the mean is that of the table. Means lie at most one sigma outside the grid. No
    sigma is below a third of the grid step at its mean, since a narrower component would rest on a single point.

    Parameters
    ----------
    grid : array_like, shape (n_grid,) or (n_grid, 2)
        Increasing abscissae; steps may differ. Two numbers for each value are the edges of the bins of a histogram,
        whose values are compared with integrals of the mixture over the bins.
    density : array_like, shape (n_grid,)
        Densities >= 0 in any normalisation. The values of a histogram that sum to one, and do not integrate to one, are
        the shares of its bins.
    n_components : int
        Number of components. Fewer are returned, with a warning, if further ones do not lower the squared error.

    Returns
    -------
    FitResult
        `truncated` has the ends of the grid. `loglik` is the expected log-likelihood of one object, which is the
        integral of the density times the log of the truncated mixture. `n_passes` counts evaluations; entropy and
        uncertainties are unknown. The warnings report the normalisation of the density.

    Raises
    ------
    ValueError
        For a density with negative values, without positive values, or with values that are not finite; a grid that
        does not increase, has fewer than three points per component, or consists of bins that are not adjacent; and
        lengths that differ.

    Examples
    --------
    >>> t = np.arange(75) / 3
    >>> fit = fit_density(t, Mixture([0.8, 0.2], [15.0, 20.0], [1.0, 1.0]).pdf(t), 2)
    >>> fit.mixture.means.round(6).tolist()
    [15.0, 20.0]
    """
    scaled = _Grid.of(grid, n_components)
    values = _density(scaled, density)
    fit = {name: value[0] for name, value in scaled.fit(values[None], n_components, 0.0, CLOSE_ENOUGH, True).items()}
    size = int(fit["n_components"])
    mixture = Mixture(*(fit[part][:size] for part in ("weights", "means", "sigmas")))
    fitted = TruncatedMixture(mixture, *scaled.bounds)
    shares = scaled.widths * scaled.heights(values)
    seen = shares > 0.0
    loglik = float(shares[seen] @ fitted.logpdf(scaled.centres[seen]))
    floors = scaled.scale * np.array(
        [grids.lowest_sigma(scaled.t, scaled.steps, (mean - scaled.centre) / scaled.scale) for mean in mixture.means]
    )
    result = FitResult(
        mixture=mixture,
        estimator="density",
        loglik=loglik,
        entropy=np.nan,
        n_data=1.0,
        n_params=n_params(mixture.n_components),
        converged=bool(fit["converged"]),
        n_passes=int(fit["n_passes"]),
        sigma_floor=float(grids.FLOOR_STEPS * scaled.scale * scaled.steps.min()),
        boundary=mixture.sigmas <= floors * (1.0 + 1e-9),
        warnings=_warnings(fit, n_components, scaled.bounds),
        truncated=scaled.bounds,
    )
    return with_unit_of(grid, result)


def _warnings(fit: dict[str, Any], n_components: int, bounds: tuple[float, float]) -> tuple[str, ...]:
    normalisation = _normalisation(fit["sum"][None], fit["integral"][None])
    texts = [
        {
            "integral": "the density integrates to 1",
            "sum": f"the density sums to 1 and integrates to {fit['integral']:.4g}, by which it was divided",
            "neither": f"the density sums to {fit['sum']:.4g} and integrates to {fit['integral']:.4g}, by which it "
            "was divided",
        }[normalisation]
    ]
    if abs(fit["mass"] - 1.0) > UNITY:
        texts.append(
            f"the mixture is truncated at {bounds[0]:.4g} and {bounds[1]:.4g}: without that it integrates to "
            f"{fit['mass']:.4g}"
        )
    if fit["status"] != grids.OK:
        texts.append(f"the cumulative distributions differ by {fit['ks']:.2g}")
    if fit["n_components"] < n_components:
        texts.append(f"{fit['n_components']} of {n_components} components: further ones do not lower the squared error")
    if not fit["converged"]:
        texts.append("the fit has not converged")
    return tuple(texts)


def _density(scaled: _Grid, density: ArrayLike) -> Array:
    """Check a density and return it as an array."""
    values = np.ascontiguousarray(density, dtype=np.float64)
    if values.shape != scaled.t.shape:
        raise ValueError(f"grid and density must be of one length, found shapes {scaled.t.shape} and {values.shape}")
    for bad, what in ((~np.isfinite(values), "not finite"), (values < 0.0, "negative")):
        if bad.any():
            first = int(np.argmax(bad))
            raise ValueError(
                f"density has {np.count_nonzero(bad)} values that are {what}, the first at index {first} "
                f"({values[first]}); expected finite values >= 0"
            )
    if not values.any():
        raise ValueError("density is zero everywhere; expected a positive value")
    return values


def row_status(densities: Array) -> NDArray[np.int64]:
    """The `status` of each row of a table of densities, without fitting it.

    >>> row_status(np.array([[0.0, 1.0], [-1.0, 1.0], [0.0, 0.0], [np.nan, -1.0]])).tolist()
    [0, 1, 2, 3]
    """
    status = np.where(np.any(densities > 0.0, axis=1), grids.OK, grids.ALL_ZERO)
    status = np.where(np.any(densities < 0.0, axis=1), grids.NEGATIVE, status)
    return np.where(np.all(np.isfinite(densities), axis=1), status, grids.NOT_FINITE)


def discrepancy(mixture: Mixture, grid: ArrayLike, density: ArrayLike) -> tuple[float, float]:
    """The differences between a mixture, truncated at the ends of a grid, and a density that is tabulated there.

    Parameters
    ----------
    mixture : Mixture
        The mixture, without the truncation.
    grid, density : array_like
        As in `fit_density`.

    Returns
    -------
    l2 : float
        Integral of the squared difference over the grid, after both are divided by their integrals; all three by the
        trapezium rule, or as sums over the bins.
    ks : float
        Largest difference of the cumulative distributions at the points of the grid, or at the edges of the bins.

    Raises
    ------
    ValueError
        As `fit_density`.
    """
    scaled = _Grid.of(grid, 1)
    heights = scaled.heights(_density(scaled, density))
    fitted = TruncatedMixture(mixture, *scaled.bounds)
    below = fitted.cdf(scaled.points)
    if scaled.edges.size:
        model = np.diff(below) / scaled.widths
        steps = scaled.widths * heights
    else:
        model = fitted.pdf(scaled.points)
        steps = 0.5 * np.diff(scaled.t) * (heights[1:] + heights[:-1])
    model = model / (scaled.widths @ model)
    l2 = float(scaled.widths @ (heights - model) ** 2) / scaled.scale
    return l2, float(np.max(np.abs(below - np.append(0.0, np.cumsum(steps)))))


def fit_densities(
    grid: ArrayLike,
    densities: ArrayLike,
    n_components: int | None = None,
    *,
    max_components: int = 5,
    tolerance: float = CLOSE_ENOUGH,
    n_threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> DensityTable:
    """Fit a Gaussian mixture to each row of a table of densities on a common grid; see `fit_density`.

    Parameters
    ----------
    grid : array_like, shape (n_grid,) or (n_grid, 2)
        Increasing abscissae, whose steps may differ, or the two edges of each bin of a histogram.
    densities : array_like, shape (n, n_grid)
        Densities >= 0; each is divided by its integral. The table is converted piece by piece, so that it may be a
        memory map.
    n_components : int or None
        Number of components of each row; fewer if further ones do not lower the squared error. If None, it is chosen
        for each row: the smallest number for which a minimum of the squared error has a `ks` below `tolerance`. A noisy
        density has several minima, and the lowest one may follow the noise. If there is none up to `max_components`,
        it is the smallest number whose `ks` exceeds the best by less than a quarter.
    max_components : int
        Largest number of components that may be chosen.
    tolerance : float
        Largest acceptable difference of the cumulative distributions.
    n_threads : int or None
        Number of threads; all cores by default. The results do not depend on it.
    progress : callable or None
        Called as ``progress(rows_done, n)`` from time to time.

    Returns
    -------
    DensityTable
        One entry for each row, whose `status` says why it has no mixture, or what its mixture fails.

    Raises
    ------
    ValueError
        For a grid that does not increase or has fewer than three points per component, a table whose width differs from
        that of the grid, and settings out of range.

    Examples
    --------
    >>> t = np.linspace(0.0, 2.0, 101)
    >>> rows = [Mixture([1.0], [0.7], [0.1]).pdf(t), Mixture([0.5, 0.5], [0.5, 1.4], [0.1, 0.2]).pdf(t), 0.0 * t]
    >>> table = fit_densities(t, rows)
    >>> table.n_components, table.counts()["all zero"], table.normalisation
    (array([1, 2, 0]), 1, 'integral')
    """
    if not 0.0 < tolerance < 1.0:
        raise ValueError(f"tolerance must be between 0 and 1, found {tolerance}")
    if n_threads is not None and n_threads < 1:
        raise ValueError(f"n_threads must be at least 1, found {n_threads}")
    most = max_components if n_components is None else n_components
    enough = tolerance if n_components is None else 0.0
    scaled = _Grid.of(grid, most)
    # Arrays are not copied here, since a memory map is to be read piece by piece.
    table: Any = densities if hasattr(densities, "shape") else np.asarray(densities, dtype=np.float64)
    if len(table.shape) != 2 or table.shape[1] != scaled.t.size:
        raise ValueError(f"densities must have a row of {scaled.t.size} values each, found the shape {table.shape}")
    n = int(table.shape[0])

    def fit(first: int) -> dict[str, Array]:
        rows = np.ascontiguousarray(table[first : first + _CHUNK], dtype=np.float64)
        return scaled.fit(rows, most, enough, tolerance, False)

    pieces = [scaled.fit(np.empty((0, scaled.t.size)), most, enough, tolerance, False)]
    with ThreadPoolExecutor(n_threads or available_threads()) as pool:
        for piece in pool.map(fit, range(0, n, _CHUNK)):
            pieces.append(piece)
            if progress is not None:
                progress(min((len(pieces) - 1) * _CHUNK, n), n)
    columns: dict[str, Any] = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
    normalisation = _normalisation(columns.pop("sum"), columns.pop("integral"))
    del columns["n_passes"]
    return DensityTable(**columns, normalisation=normalisation, bounds=scaled.bounds)
