"""The influence of each row on an estimate: the linear response of the parameters of a fit to its rows.

Near its maximum, a fit is a sum of contributions of its rows, ``theta_hat - theta = sum_i A^-1 psi_i`` with the scores
psi and the information A. This determines the covariance of two fits that have rows in common; see docs/comparison.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cholesky, null_space, solve_triangular

from mixpipe.fitting.contract import Demands
from mixpipe.model.cells import Cells
from mixpipe.model.families.noisy import gaussian_slopes
from mixpipe.model.noise import Noise, draw_noise
from mixpipe.model.results import Array, FitResult

# Rows that are computed at a time, which limits the memory to some tens of MB for ten components.
_BLOCK = 1 << 14
# Number of errors for which the expected scores are computed; rows are sorted into as many groups.
_ERRORS = 64
# Abscissae of the expectation for each component, in units of its total width. The trapezium rule is accurate to 1e-6
# for smooth functions, and to 1e-3 if a narrower component causes a bend between two abscissae.
_NODES = np.linspace(-8.0, 8.0, 161)


class NoInfluence(ValueError):
    """Raised if the response of a fit to its rows is not known."""


class Response(Protocol):
    """The response of the parameters of a fit to its rows, in one column or several.

    Parameters
    ----------
    cells : Cells or JointCells
        The rows.
    n_parameters : int
        Number of parameters of a component; those of all components in turn are the parameters of the fit.
    """

    cells: Any
    n_parameters: int

    def of(self, rows: NDArray[np.intp] | slice) -> Array:
        """The change of the parameters that each of these rows causes, shape (n_rows, n_components n_parameters)."""

    def of_drawn(self, rows: NDArray[np.intp], n: int, rng: np.random.Generator) -> Array:
        """The same for `n` rows that are drawn from the mixture, each with the errors of one of these rows."""

    def covariance(self, counts: Array) -> Array:
        """Covariance of the parameters due to the sampling of a subset of rows."""


def has_response(fit: FitResult, cells: Cells) -> bool:
    """Whether the response of a fit to its rows is known.

    It is for Gaussian components whose parameters are free, fitted to values and their stated errors by maximum
    likelihood without a prior.
    """
    plain = replace(Demands.of(cells, fit.mixture), gaussian_errors=True) == Demands()
    scaled = fit.error_scale != 1.0 or not math.isnan(fit.error_scale_unc)
    special = fit.has_equal_sigmas or scaled or fit.prior_rows > 0.0 or fit.error_model == "samples"
    return plain and fit.estimator == "em" and not special


class Influence:
    """The response of the parameters of a maximum-likelihood fit to its rows.

    The parameters are those of `parameters`: (weight, mean, sigma) of each component in turn. Sigmas on the boundary
    are held fixed, so that no row changes them.

    Parameters
    ----------
    fit : FitResult
        A fit with Gaussian components.
    cells : Cells
        The rows of the fit, which must be values without limits or truncation.
    expected : bool
        Use the information that rows with these errors are expected to have under the fit, instead of the observed one;
        the rows need not be those of the fit then.

    Raises
    ------
    NoInfluence
        If the fit is not of this kind, or its likelihood is flat in some direction.
    """

    n_parameters = 3

    def __init__(self, fit: FitResult, cells: Cells, *, expected: bool = False) -> None:
        if not has_response(fit, cells):
            raise NoInfluence("available for Gaussian components fitted to values by maximum likelihood only")
        self.mixture, self.cells = fit.mixture, cells
        # Information and scores are computed in units in which they are of order one.
        self._unit = np.hypot(fit.mixture.sigmas, np.median(cells.err))
        self._unit[self._unit == 0.0] = 1.0
        free = np.ones((fit.n_components, 3), dtype=bool)
        free[fit.boundary, 2] = False
        # Constraints: changes must preserve the sum of the weights, and the sigmas on the boundary.
        kept = np.zeros((1 + int((~free).sum()), free.size))
        kept[0, ::3] = fit.mixture.weights
        kept[np.arange(1, len(kept)), np.flatnonzero(~free)] = 1.0
        self._basis = null_space(kept)
        try:
            self._root = (
                self._expected_root
                if expected
                else cholesky(self._basis.T @ self._information() @ self._basis, lower=True)
            )
        except LinAlgError as error:
            raise NoInfluence("the likelihood is flat in some direction") from error
        # Convert from (ln w, m / unit, s^2 / unit^2) to (w, m, s).
        with np.errstate(divide="ignore"):
            by_sigma = np.where(free[:, 2], self._unit**2 / (2.0 * fit.mixture.sigmas), 0.0)
        self._jacobian = np.stack([fit.mixture.weights, self._unit, by_sigma], axis=1).ravel()

    def of_rows(self, x: Array, err: Array | Noise) -> Array:
        """The change of the parameters that each row causes, shape (n_rows, 3 n_components)."""
        scores = self._scores(x, err).reshape(len(x), -1) @ self._basis
        inner = solve_triangular(self._root, scores.T, lower=True)
        return self._outer(inner).T

    def of(self, rows: NDArray[np.intp] | slice) -> Array:
        """The change of the parameters that each of these rows of the fit causes."""
        return self.of_rows(self.cells.x[rows], self.cells.errors[rows])

    def of_drawn(self, rows: NDArray[np.intp], n: int, rng: np.random.Generator) -> Array:
        """The same for `n` rows that are drawn from the mixture, each with the error of one of these rows."""
        err: Array | Noise
        if self.cells.noise is None:
            err = rng.choice(np.sort(self.cells.err[rows]), n)
        else:
            noise = self.cells.noise[rows]
            order = np.lexsort([*noise.arrays.values()])
            err = noise[order[rng.integers(order.size, size=n)]]
        return self.of_rows(self.mixture.sample(n, rng) + draw_noise(err, rng), err)

    def covariance(self, counts: Array) -> Array:
        """Covariance of the parameters due to the sampling of a subset of rows, shape (3 n_components, 3 n_components).

        The rows vary as the mixture implies, each with its own error. Their information is taken as the observed one
        times their share of the expected information; all rows together have all of it.

        Parameters
        ----------
        counts : ndarray, shape (n_rows,)
            Number of times that each row counts, at most its weight; for weights that do not count rows, the squared
            weights.
        """
        if not counts.any():
            return np.zeros((self._jacobian.size,) * 2)
        if self.cells.weight_kind == "counts" and np.array_equal(counts, self.cells.weights):
            change = self._outer(np.eye(self._basis.shape[1]))
        else:
            half = solve_triangular(self._expected_root, self._expected(counts), lower=True)
            share = solve_triangular(self._expected_root, half.T, lower=True)
            size, basis = np.linalg.eigh(0.5 * (share + share.T))
            change = self._outer(basis * np.sqrt(np.maximum(size, 0.0)))
        return change @ change.T

    def _outer(self, inner: Array) -> Array:
        """Transform to the parameters from standard coordinates, in which the information is the unit matrix."""
        return self._jacobian[:, None] * (self._basis @ solve_triangular(self._root.T, inner, lower=False))

    def _scores(self, x: Array, err: Array | Noise) -> Array:
        """Derivatives of ln p at each row with respect to (ln w, m / unit, s^2 / unit^2), shape (n_rows, M, 3)."""
        resp, slopes, _ = self._terms(x, err)
        scores = resp[..., None] * slopes
        scores[..., 0] -= self.mixture.weights
        return scores

    def _terms(self, x: Array, err: Array | Noise) -> tuple[Array, Array, Array]:
        """Responsibilities, slopes of the log density of a component, and its curvatures, shape (n_rows, M, 3) each.

        The slopes are those with respect to (ln w, m / unit, s^2 / unit^2); the curvatures are those of the mean twice,
        the mean and the width, and the width twice.
        """
        resp = self.mixture.responsibilities(x, err)
        if isinstance(err, Noise):
            return resp, *self._noisy_terms(x, err)
        inverse = self._unit**2 / (self.mixture.sigmas**2 + err[:, None] ** 2)
        offset = (x[:, None] - self.mixture.means) / self._unit
        slopes = np.stack(
            [np.ones_like(offset), offset * inverse, 0.5 * ((offset * inverse) ** 2 - inverse)],
            axis=-1,
        )
        curvatures = [-inverse, -slopes[..., 1] * inverse, -inverse * (2.0 * slopes[..., 2] + 0.5 * inverse)]
        return resp, slopes, np.stack(curvatures, axis=-1)

    def _noisy_terms(self, x: Array, noise: Noise) -> tuple[Array, Array]:
        """Slopes and curvatures for errors that are not symmetric Gaussians; see `_terms`."""
        slopes, curvatures = [], []
        for mean, sigma, unit in zip(self.mixture.means, self.mixture.sigmas, self._unit, strict=True):
            _, by_mean, by_width, twice, crossed, width_twice = gaussian_slopes(x, noise, mean, sigma)
            # A width of zero is on the boundary and held fixed.
            scale = 2.0 * sigma**2 if sigma > 0.0 else np.inf
            by_square, crossed, square_twice = (
                by_width / scale,
                crossed / scale,
                (width_twice - 2.0 * by_width) / scale**2,
            )
            slopes.append(np.stack([np.ones_like(x), by_mean * unit, by_square * unit**2], axis=-1))
            curvatures.append(np.stack([twice * unit**2, crossed * unit**3, square_twice * unit**4], axis=-1))
        return np.stack(slopes, axis=1), np.stack(curvatures, axis=1)

    def _information(self) -> Array:
        """The negative Hessian of the log-likelihood, without its term for the sum of the weights."""
        size = self.mixture.n_components
        total = np.zeros((3 * size, 3 * size))
        own = np.zeros((size, 3, 3))
        for start in range(0, len(self.cells), _BLOCK):
            part = slice(start, start + _BLOCK)
            counts = self.cells.weights[part]
            resp, slopes, curvatures = self._terms(self.cells.x[part], self.cells.errors[part])
            scores = (resp[..., None] * slopes).reshape(len(counts), -1)
            total += (scores * counts[:, None]).T @ scores
            weighted = counts[:, None] * resp
            own += np.einsum("nj,njk,njl->jkl", weighted, slopes, slopes)
            twice = np.sum(weighted[..., None] * curvatures, axis=0)
            for a, b, k in ((1, 1, 0), (1, 2, 1), (2, 1, 1), (2, 2, 2)):
                own[:, a, b] += twice[:, k]
        # The multiplier of the constraint that the weights sum to one is the number of rows.
        own[:, 0, 0] -= self.cells.n_data * self.mixture.weights
        for j in range(size):
            total[3 * j : 3 * j + 3, 3 * j : 3 * j + 3] -= own[j]
        return total

    @cached_property
    def _groups(self) -> NDArray[np.intp]:
        """The group of each row; rows of a group have similar errors."""
        edges = np.unique(np.quantile(self.cells.err, np.linspace(0.0, 1.0, _ERRORS + 1)[1:-1], method="lower"))
        return np.searchsorted(edges, self.cells.err, side="left")

    @cached_property
    def _group_errors(self) -> Array | Noise:
        """Root mean square of the errors of each group."""
        counts = np.bincount(self._groups)

        def typical(array: Array) -> Array:
            return np.asarray(np.sqrt(np.bincount(self._groups, array**2) / np.maximum(counts, 1)))

        errors = self.cells.errors
        return errors.mapped(typical) if isinstance(errors, Noise) else typical(errors)

    @cached_property
    def _expected_root(self) -> Array:
        return cholesky(self._expected(self.cells.weights), lower=True)

    def _expected(self, counts: Array) -> Array:
        """Expected information of `counts` of each of the rows."""
        total = np.zeros((self._basis.shape[1],) * 2)
        by_group = np.bincount(self._groups, counts, minlength=self._group_errors.shape[0]).tolist()
        for count, outer in zip(by_group, self._outer_products, strict=True):
            total += count * outer
        return total

    @cached_property
    def _outer_products(self) -> list[Array]:
        """Mean outer product of the scores of a row, for each of the group errors."""
        at_once = max(1, _BLOCK // (_NODES.size * self.mixture.n_components))
        errors = self._group_errors
        parts = (self._outer_products_of(errors[k : k + at_once]) for k in range(0, errors.shape[0], at_once))
        return [product for part in parts for product in part]

    def _outer_products_of(self, errors: Array | Noise) -> list[Array]:
        widths = errors.widths if isinstance(errors, Noise) else (errors,)
        totals = np.concatenate([np.hypot(self.mixture.sigmas, width[:, None]) for width in widths], axis=1)
        means = np.tile(self.mixture.means, len(widths))
        grids = [np.unique(means[:, None] + total[:, None] * _NODES) for total in totals]
        nodes, sizes = np.concatenate(grids), [grid.size for grid in grids]
        err: Array | Noise
        if isinstance(errors, Noise):
            err = errors.mapped(lambda array: np.repeat(array, sizes))
        else:
            err = np.repeat(errors, sizes)
        density = self.mixture.pdf(nodes, err)
        scores = self._scores(nodes, err).reshape(nodes.size, -1) @ self._basis
        products, start = [], 0
        for grid in grids:
            part = slice(start, start := start + grid.size)
            shares = density[part] * np.gradient(grid)
            products.append((scores[part] * (shares / shares.sum())[:, None]).T @ scores[part])
        return products


@dataclass(frozen=True, eq=False)
class Common:
    """Rows that two fits have in common.

    Parameters
    ----------
    old, new : ndarray of int, shape (n_common,)
        Indices of these rows among the rows of each fit.
    """

    old: NDArray[np.intp]
    new: NDArray[np.intp]

    def revised(self, old: Cells, new: Cells, scales: tuple[float, float] = (1.0, 1.0)) -> NDArray[np.bool_]:
        """Whether the value or the error of each of these rows has changed, by more than a conversion of units does.

        The errors of the cells are `scales` times the stated ones.
        """
        before, after = _stated(old, scales[0])[self.old], _stated(new, scales[1])[self.new]
        if before.shape != after.shape:
            return np.ones(self.old.size, dtype=bool)
        return ~np.all(np.isclose(before, after, rtol=1e-9, atol=0.0), axis=1)


def _stated(cells: Cells, scale: float) -> Array:
    """Values and errors, one row for each; symmetric errors are two equal sides."""
    sides = [cells.err] if cells.noise is None else [*cells.noise.arrays.values()]
    return np.column_stack([cells.x, *(side / scale for side in (sides * 2 if len(sides) == 1 else sides))])


def covariance_of_differences(old: Response, new: Response, pairs: list[tuple[int, int]], common: Common) -> Array:
    """Covariance of the differences of the parameters of matched components.

    A row of weight c counts as c rows, or as one row whose scores are c times as large, according to the kind of the
    weights. Rows of only one fit are independent of the other fit. The effect of a common row on the difference is the
    difference of its effects on the two fits, where its values in both fits have their actual correlation.

    Parameters
    ----------
    old, new : Response
        Those of the two fits.
    pairs : list of (int, int)
        Matched components of the old and the new fit.
    common : Common
        Rows that are in both fits.

    Returns
    -------
    ndarray, shape (k n_pairs, k n_pairs)
        Covariance of the differences in the k parameters of each pair in turn: (weight, mean, sigma) in one column.

    Raises
    ------
    NoInfluence
        If the weights of one of them count rows, and those of the other do not.
    """
    k = old.n_parameters
    first, second = ((k * np.array([pair[side] for pair in pairs])[:, None] + np.arange(k)).ravel() for side in (0, 1))
    c_old, c_new = old.cells.weights[common.old], new.cells.weights[common.new]
    kinds = {side.cells.weight_kind for side in (old, new) if np.any(side.cells.weights != 1.0)}
    if len(kinds) > 1:
        raise NoInfluence("available for weights of one kind only")
    counted = kinds <= {"counts"}
    # Effects on the two fits of this number of each of the common rows.
    counts = np.minimum(c_old, c_new) if counted else np.ones(c_old.size)
    by_old, by_new = (np.ones(c_old.size),) * 2 if counted else (c_old, c_new)
    total = np.zeros((first.size, first.size))
    for one, places, rows in ((old, first, common.old), (new, second, common.new)):
        left = one.cells.squared_weights.copy()
        left[rows] -= counts if counted else left[rows]
        total += one.covariance(left)[np.ix_(places, places)]
    for start in range(0, counts.size, _BLOCK):
        part = slice(start, start + _BLOCK)
        before, after = common.old[part], common.new[part]
        change = by_new[part, None] * new.of(after)[:, second]
        change -= by_old[part, None] * old.of(before)[:, first]
        total += (counts[part, None] * change).T @ change
    return total
