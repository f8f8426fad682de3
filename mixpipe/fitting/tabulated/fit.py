"""Gaussian mixtures for densities that are tabulated on a grid, individually and in batches.

The fits are least squares in the density, with the weights eliminated, and need no starting guess and no random
numbers. There are two levels of effort: `fit_density` searches longer, and `fit_densities` is for millions of
photometric-redshift PDFs.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mixpipe.base.threads import available_threads
from mixpipe.fitting.kernels import grids
from mixpipe.model.criteria import n_params
from mixpipe.model.inputs import with_unit_of
from mixpipe.model.mixture import Mixture
from mixpipe.model.results import Array, FitResult

# A row gets the fewest components whose cumulative distribution differs nowhere by more than this, so that the
# probability of any interval is wrong by at most twice as much, 0.04.
CLOSE_ENOUGH = 0.02
STATUS = ("ok", "negative", "all zero", "not finite")

# A sum or an integral this close to one is taken as one.
_UNITY = 0.01
# Number of rows that a thread fits at a time.
_CHUNK = 256
# The three parameters of a component need as many points.
_POINTS_PER_COMPONENT = 3


@dataclass(frozen=True, eq=False)
class DensityTable:
    """Mixtures fitted to the rows of a table of densities, as read-only arrays.

    Parameters
    ----------
    n_components : ndarray of int, shape (n,)
        Number of components of each row; 0 where the row was rejected.
    weights, means, sigmas : ndarray, shape (n, max_components)
        Components of each row, sorted by mean; nan beyond their number.
    mass : ndarray, shape (n,)
        Sum of the fitted weights before normalisation, for a density of integral one. It is far from one if the grid
        does not contain the whole density.
    l2 : ndarray, shape (n,)
        Integrated squared error; see `discrepancy`.
    ks : ndarray, shape (n,)
        Largest difference of the cumulative distributions; see `discrepancy`.
    converged : ndarray of bool, shape (n,)
        Whether a further step would change the fit by less than 1 % of its residual.
    status : ndarray of int, shape (n,)
        Index into ``("ok", "negative", "all zero", "not finite")``.
    normalisation : str
        Normalisation of most of the densities: ``integral`` 1, ``sum`` 1 or ``neither``.
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
        """The mixture of a row.

        Raises
        ------
        ValueError
            If the row was rejected.
        """
        if self.status[row] != grids.OK:
            raise ValueError(f"row {row} was rejected: its density is {STATUS[self.status[row]]}")
        n = self.n_components[row]
        return Mixture(self.weights[row, :n], self.means[row, :n], self.sigmas[row, :n])


@dataclass(frozen=True, eq=False)
class _Grid:
    """A grid in units of about half its length, relative to its middle."""

    t: Array
    widths: Array
    steps: Array
    centre: float
    scale: float

    @classmethod
    def of(cls, grid: ArrayLike, n_components: int) -> _Grid:
        values = np.asarray(grid, dtype=np.float64)
        if values.ndim != 1 or not np.all(np.isfinite(values)):
            raise ValueError("grid must be one-dimensional and finite")
        if not (isinstance(n_components, int | np.integer) and n_components >= 1):
            raise ValueError(f"the number of components must be an integer >= 1, found {n_components!r}")
        if values.size < _POINTS_PER_COMPONENT * n_components:
            raise ValueError(
                f"grid has {values.size} points; expected at least {_POINTS_PER_COMPONENT} for each of {n_components} "
                "components"
            )
        bad = np.flatnonzero(~(np.diff(values) > 0.0))
        if bad.size:
            raise ValueError(f"grid must increase, found {values[bad[0]]} before {values[bad[0] + 1]}")
        centre = 0.5 * values[0] + 0.5 * values[-1]
        # The scale is a power of two, so that nothing is rounded.
        scale = 2.0 ** np.round(np.log2(0.5 * values[-1] - 0.5 * values[0]))
        t = (values - centre) / scale
        gaps = np.diff(t)
        if not np.all(gaps > 0.0):
            raise ValueError("grid points are too close to each other for double precision")
        widths = 0.5 * (np.append(gaps, 0.0) + np.insert(gaps, 0, 0.0))
        steps = widths.copy()
        steps[0], steps[-1] = gaps[0], gaps[-1]
        return cls(t, widths, steps, float(centre), float(scale))

    def fit(self, densities: Array, n_components: int, enough: float, thorough: bool) -> dict[str, Array]:
        """Call the kernel, and convert the result to the unit of the grid; `densities` is a contiguous table."""
        n = len(densities)
        fits, numbers = np.full((n, 3, n_components), np.nan), np.full((n, 6), np.nan)
        codes = np.zeros((n, 3), dtype=np.int64)
        grids.fit_rows(self.t, self.widths, self.steps, densities, n_components, enough, thorough, fits, numbers, codes)
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
        if known and 2 * np.count_nonzero(np.abs(values - 1.0) <= _UNITY) > known:
            return name
    return "neither"


def fit_density(grid: ArrayLike, density: ArrayLike, n_components: int) -> FitResult:
    """Fit a Gaussian mixture to a density that is tabulated on a grid, by least squares and without a starting guess.

    The density is divided by its integral (trapezium rule), and the weights of the result sum to one. Means stay within
    the grid. No sigma is below a third of the grid step at its mean, since a narrower component would rest on a single
    point.

    Parameters
    ----------
    grid : array_like, shape (n_grid,)
        Increasing abscissae; steps may differ.
    density : array_like, shape (n_grid,)
        Densities >= 0 in any normalisation.
    n_components : int
        Number of components. Fewer are returned, with a warning, if further ones do not lower the squared error.

    Returns
    -------
    FitResult
        `loglik` is the expected log-likelihood of one object, which is the integral of the density times the log of the
        mixture. `n_passes` counts evaluations; entropy and uncertainties are unknown. The warnings report the
        normalisation of the density.

    Raises
    ------
    ValueError
        For a density with negative values, without positive values, or with values that are not finite; a grid that
        does not increase or has fewer than three points per component; and lengths that differ.

    Examples
    --------
    >>> t = np.arange(75) / 3
    >>> fit = fit_density(t, Mixture([0.8, 0.2], [15.0, 20.0], [1.0, 1.0]).pdf(t), 2)
    >>> fit.mixture.means.round(6).tolist()
    [15.0, 20.0]
    """
    scaled = _Grid.of(grid, n_components)
    values = _density(scaled, density)
    fit = {name: value[0] for name, value in scaled.fit(values[None], n_components, 0.0, True).items()}
    size = int(fit["n_components"])
    mixture = Mixture(*(fit[part][:size] for part in ("weights", "means", "sigmas")))
    shares = scaled.widths * (values / values.max())
    seen = shares > 0.0
    loglik = float(shares[seen] / shares.sum() @ mixture.logpdf(np.asarray(grid, dtype=np.float64)[seen]))
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
        warnings=_warnings(fit, n_components),
    )
    return with_unit_of(grid, result)


def _warnings(fit: dict[str, Any], n_components: int) -> tuple[str, ...]:
    normalisation = _normalisation(fit["sum"][None], fit["integral"][None])
    texts = [
        {
            "integral": "the density integrates to 1",
            "sum": f"the density sums to 1 and integrates to {fit['integral']:.4g}, by which it was divided",
            "neither": f"the density sums to {fit['sum']:.4g} and integrates to {fit['integral']:.4g}, by which it "
            "was divided",
        }[normalisation]
    ]
    if abs(fit["mass"] - 1.0) > _UNITY:
        texts.append(
            f"the fitted weights summed to {fit['mass']:.4g} and were divided by it: the mixture does not have the "
            "integral that the density has on its grid"
        )
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
    """The differences between a mixture and a tabulated density that is divided by its integral.

    Parameters
    ----------
    mixture : Mixture
        The mixture.
    grid, density : array_like, shape (n_grid,)
        As in `fit_density`.

    Returns
    -------
    l2 : float
        Integral of the squared difference over the grid, by the trapezium rule.
    ks : float
        Largest difference of the cumulative distributions at the points of the grid.

    Raises
    ------
    ValueError
        As `fit_density`.
    """
    scaled = _Grid.of(grid, 1)
    values = _density(scaled, density)
    values = values / values.max()
    values /= scaled.widths @ values
    t = np.asarray(grid, dtype=np.float64)
    l2 = float(scaled.widths @ (values - scaled.scale * mixture.pdf(t)) ** 2) / scaled.scale
    cdf = np.append(0.0, np.cumsum(0.5 * np.diff(scaled.t) * (values[1:] + values[:-1])))
    return l2, float(np.max(np.abs(mixture.cdf(t) - cdf)))


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
    """Fit a Gaussian mixture to each row of a table of densities on a common grid.

    Parameters
    ----------
    grid : array_like, shape (n_grid,)
        Increasing abscissae; steps may differ.
    densities : array_like, shape (n, n_grid)
        Densities >= 0; each is divided by its integral. The table is converted piece by piece, so that it may be a
        memory map.
    n_components : int or None
        Number of components of each row; fewer if further ones do not lower the squared error. If None, it is chosen
        for each row: the smallest number for which `ks` is below `tolerance`, or else the one with the smallest `ks` up
        to `max_components`.
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
        One entry for each row; the `status` of a row that cannot be fitted says why.

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
        return scaled.fit(rows, most, enough, False)

    pieces = [scaled.fit(np.empty((0, scaled.t.size)), most, enough, False)]
    with ThreadPoolExecutor(n_threads or available_threads()) as pool:
        for piece in pool.map(fit, range(0, n, _CHUNK)):
            pieces.append(piece)
            if progress is not None:
                progress(min((len(pieces) - 1) * _CHUNK, n), n)
    columns: dict[str, Any] = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
    normalisation = _normalisation(columns.pop("sum"), columns.pop("integral"))
    del columns["n_passes"]
    return DensityTable(**columns, normalisation=normalisation)
