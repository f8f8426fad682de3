"""The influence of each row on a fit of several columns, and the test of two releases for one population.

The scores are those in the weights, means and covariances of the components. The directions in which these can change
at all are those of the covariance of the fit: it respects the structure of the components, and where a covariance is
singular, its directions without width stay without. What is expected of the rows is averaged over simulated ones.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cholesky, solve_triangular

from mixpipe.assess.comparison.influence import Common, NoInfluence, covariance_of_differences
from mixpipe.assess.comparison.pooled import (
    DRAWS,
    GAIN,
    PooledTest,
    are_few,
    normal_draws,
    probabilities,
    rows_apart,
    simulated_steps,
    step,
)
from mixpipe.assess.joint_quality import parameters_of
from mixpipe.assess.joint_rows import draw_rows
from mixpipe.base.arrays import Array
from mixpipe.fitting.choose import fit_mixture
from mixpipe.model.joint.blocks import Blocks, Parameters, halves, lower_triangle, parameter_places
from mixpipe.model.joint.cells import JointCells, content_hash
from mixpipe.model.joint.mixture import JointMixture
from mixpipe.model.joint.results import JointFit

# Least number of simulated rows from which an information is computed, and least number for each of its directions: its
# elements are known to 1 to 2 per cent.
_SIMULATED, _BY_DIRECTION = 20_000, 200
# Largest number of rows that are simulated; of more, so many are chosen by their contents.
_MOST_SIMULATED = 100_000
_BLOCK = 1 << 13
# Eigenvalues of a correlation matrix below this part of the largest are rounding.
_ROUNDING = 1e-10
# A variance below this part of the sum of its terms, of either sign, is rounding: the parameter cannot change.
_CANCELLED = 1e-9


class JointInfluence:
    """The response of the parameters of a fit of several columns to its rows; see `Response`.

    The parameters are those of `parameters_of` for each component in turn.

    Parameters
    ----------
    fit : JointFit
    cells : JointCells
        The rows.
    expected : bool
        Use the information that these rows are expected to have under the fit, instead of the observed one of the fit;
        the rows need not be those of the fit then.

    Raises
    ------
    NoInfluence
        If the fit has no covariance of its parameters, or the rows say nothing of them.
    """

    def __init__(self, fit: JointFit, cells: JointCells, *, expected: bool = False) -> None:
        if cells.projections is not None:
            raise NoInfluence("available for values of the columns themselves only")
        self.mixture, self.cells = fit.mixture, cells
        self.n_parameters = sum(1 for _ in parameters_of(fit.names))
        self._jacobian = _jacobian(fit.mixture)
        # The columns span the directions in which parameters can change, and times their transpose are the covariance.
        self._root = _root(fit.covariance)
        # The covariance of a fit to rows with importance weights is not the inverse of an information.
        if expected or cells.weight_kind != "counts":
            sizes, axes = np.linalg.eigh(self._information)
            kept = sizes > _ROUNDING * sizes[-1]
            self._root = self._root @ (axes[:, kept] / np.sqrt(sizes[kept]))
            self._information = np.eye(int(kept.sum()))

    def of(self, rows: NDArray[np.intp] | slice) -> Array:
        """The change of the parameters that each of these rows causes."""
        return self._of_rows(self.cells.x[rows], self.cells.cov[rows])

    def of_drawn(self, rows: NDArray[np.intp], n: int, rng: np.random.Generator) -> Array:
        """The same for `n` rows that are drawn from the mixture, each with the errors and gaps of one of these rows."""
        like = self.cells.subset(rng.choice(self._by_contents(rows), n))
        return self._of_rows(draw_rows(self.mixture, like, rng).x, like.cov)

    def covariance(self, counts: Array) -> Array:
        """Covariance of the parameters due to the sampling of a subset of rows; see `Influence.covariance`."""
        if not counts.any():
            return np.zeros((len(self._jacobian),) * 2)
        change = self._jacobian @ self._root
        if not (self.cells.weight_kind == "counts" and np.array_equal(counts, self.cells.weights)):
            half = solve_triangular(self._whole, self._expected(counts), lower=True)
            share = solve_triangular(self._whole, half.T, lower=True)
            sizes, axes = np.linalg.eigh(0.5 * (share + share.T))
            change = change @ (axes * np.sqrt(np.maximum(sizes, 0.0)))
        return np.asarray(change @ change.T)

    @property
    def free(self) -> NDArray[np.bool_]:
        """Which of the parameters can change at all: not the weight of the only component, nor a width of zero."""
        spread = np.sum(self._root**2, axis=1)
        return np.diagonal(self.covariance(self.cells.weights)) > _CANCELLED * (self._jacobian**2 @ spread)

    def _of_rows(self, x: Array, cov: Array) -> Array:
        return np.asarray(self._scores(x, cov) @ (self._jacobian @ self._root).T)

    def _scores(self, x: Array, cov: Array) -> Array:
        """Derivatives of ln p at each row in the coordinates of the root."""
        mixture = self.mixture
        size, n_dims = mixture.n_components, mixture.n_dims
        centre = mixture.means.mean(axis=0)
        at = Parameters(np.maximum(mixture.weights, 1e-300), mixture.means - centre, np.array(mixture.covariances))
        found = np.zeros((len(x), size, 1 + n_dims + lower_triangle(n_dims)[0].size))
        # A row without any value has the weights as its probabilities.
        found[:, :, 0] = 1.0
        for group in Blocks(x - centre, cov, np.ones(len(x)), n_threads=1).groups:
            places = parameter_places(group.columns, n_dims)
            factors = np.concatenate([np.ones(group.n_dims), halves(group.n_dims)])
            for batch in group.slots(at):
                rows = np.moveaxis(batch.numbers, -1, 1).reshape(-1, size, group.n_slots)[: batch.members.size]
                resp = rows[:, :, :1]
                part = np.concatenate([resp / at.weights[:, None], resp * rows[:, :, 2:] * factors], axis=2)
                found[np.ix_(batch.members, np.arange(size), places)] = part
        return found.reshape(len(x), -1) @ self._root

    @cached_property
    def _information(self) -> Array:
        return self._expected(self.cells.weights)

    @cached_property
    def _whole(self) -> Array:
        try:
            return np.asarray(cholesky(self._information, lower=True))
        except LinAlgError as error:
            raise NoInfluence("the likelihood is flat in some direction") from error

    def _expected(self, counts: Array) -> Array:
        """Expected information of `counts` of each of the rows, in the coordinates of the root."""
        rows = self._by_contents(np.flatnonzero(counts))
        used = rows[:_MOST_SIMULATED]
        n_drawn = max(_SIMULATED, _BY_DIRECTION * self._root.shape[1])
        drawn = np.tile(used, -(-n_drawn // used.size))
        shares = counts[drawn] * (counts[rows].sum() / counts[drawn].sum())
        rng = np.random.default_rng(0)
        total = np.zeros((self._root.shape[1],) * 2)
        for start in range(0, drawn.size, _BLOCK):
            like = self.cells.subset(drawn[start : start + _BLOCK])
            scores = self._scores(draw_rows(self.mixture, like, rng).x, like.cov)
            total += (scores * shares[start : start + _BLOCK, None]).T @ scores
        return total

    def _by_contents(self, rows: NDArray[np.intp]) -> NDArray[np.intp]:
        """The same rows in an order in which the first of them are a sample that does not depend on their order."""
        cells = self.cells
        return rows[np.argsort(content_hash(cells.x[rows], cells.cov[rows], cells.weights[rows]), kind="stable")]


def _root(covariance: Array) -> Array:
    """A matrix that times its transpose is a covariance; what is not known of it is left out."""
    known = np.isfinite(np.diagonal(covariance))
    if not known.any():
        raise NoInfluence("the fit has no covariance of its parameters")
    covariance = np.where(known[:, None] & known, covariance, 0.0)
    spread = np.sqrt(np.maximum(np.diagonal(covariance), 0.0))
    spread = np.where(spread > 0.0, spread, 1.0)
    sizes, axes = np.linalg.eigh(covariance / (spread[:, None] * spread))
    kept = sizes > _ROUNDING * sizes[-1]
    return np.asarray(spread[:, None] * axes[:, kept] * np.sqrt(sizes[kept]))


def _jacobian(mixture: JointMixture) -> Array:
    """Derivatives of the parameters that are reported by weights, means and covariances."""
    n_dims, sigmas, correlations = mixture.n_dims, mixture.sigmas, mixture.correlations
    row, column = lower_triangle(n_dims)
    places = {(a, b): 1 + n_dims + k for k, (a, b) in enumerate(zip(row.tolist(), column.tolist(), strict=True))}
    parameters = list(parameters_of(mixture.names))
    found = np.zeros((mixture.n_components, len(parameters), mixture.n_components, 1 + n_dims + row.size))
    for j in range(mixture.n_components):
        for k, (_, part, where) in enumerate(parameters):
            slope = found[j, k, j]
            if part == "weights":
                slope[0] = 1.0
            elif part == "means":
                slope[1 + where[0]] = 1.0
            elif all(sigmas[j, a] > 0.0 for a in where):
                a, b = max(where), min(where)
                if part == "sigmas":
                    slope[places[a, a]] = 0.5 / sigmas[j, a]
                else:
                    slope[places[a, b]] = 1.0 / (sigmas[j, a] * sigmas[j, b])
                    for c in where:
                        slope[places[c, c]] = -0.5 * correlations[j, a, b] / sigmas[j, c] ** 2
    return found.reshape(mixture.n_components * len(parameters), -1)


def joint_pooled_test(
    fits: tuple[JointFit, JointFit], cells: tuple[JointCells, JointCells], common: Common, revised: NDArray[np.bool_]
) -> PooledTest:
    """Test whether two releases of several columns are samples of one population; see `pooled_test`.

    Parameters
    ----------
    fits : tuple of (JointFit, JointFit)
        The old and the new fit.
    cells : tuple of (JointCells, JointCells)
        The rows of each.
    common : Common
        Rows that both have.
    revised : ndarray of bool, shape (n_common,)
        Which of these have changed.

    Raises
    ------
    NoInfluence
        If the response of the fits to their rows is not known.
    """
    apart = rows_apart(cells, common)
    fit = _pooled_fit(fits, cells, common, revised)
    sides = old, new = JointInfluence(fit, cells[0], expected=True), JointInfluence(fit, cells[1], expected=True)
    covariance = covariance_of_differences(old, new, [(j, j) for j in range(fit.n_components)], common)
    by_release = [side.covariance(side.cells.squared_weights) for side in sides]
    # A fit that is g nats below its maximum is off by sqrt(2 g) uncertainties.
    covariance += 2.0 * max(fit.remaining_gain, GAIN) * (by_release[0] + by_release[1])
    places = np.flatnonzero(old.free & new.free)
    is_normal = not are_few(apart, cells)
    if is_normal:
        drawn = normal_draws(covariance, np.random.default_rng(0))
    else:
        drawn = simulated_steps(sides, apart, covariance)
    differences = np.vstack([(step(new) - step(old))[None], drawn])[:, places]
    sizes = np.sqrt(np.diagonal(covariance)[places])
    correlation = covariance[np.ix_(places, places)] / np.outer(sizes, sizes)
    ratios = np.diagonal(by_release[1])[places] / np.diagonal(by_release[0])[places]
    pvalue = _pvalue(differences / sizes, correlation, is_normal=is_normal)
    return PooledTest(pvalue, float(np.exp(0.5 * np.mean(np.log(ratios)))))


def _pooled_fit(
    fits: tuple[JointFit, JointFit], cells: tuple[JointCells, JointCells], common: Common, revised: NDArray[np.bool_]
) -> JointFit:
    """The maximum for the rows of both releases, to which the fit with more components leads.

    Common rows count once, and revised ones with both of their values.
    """
    old, new = cells
    if old.weight_kind != new.weight_kind:
        raise NoInfluence("available for weights of one kind only")
    added = np.ones(len(old), dtype=bool)
    added[common.old] = revised
    x, cov, weights = (
        np.concatenate([getattr(new, name), getattr(old, name)[added]]) for name in ("x", "cov", "weights")
    )
    rows = replace(new, x=x, cov=cov, weights=weights, used=np.arange(len(x)), n_data=float(weights.sum()))
    for start in sorted(fits, key=lambda fit: (fit.n_components, fit.n_data), reverse=True):
        fit = fit_mixture(
            rows, n_components=start.n_components, start=start.mixture, structure=start.structure, n_threads=1
        )
        # All rows together may have no place for a component that few rows of one release called for.
        if isinstance(fit, JointFit) and fit.mixture.weights.min() * fit.n_data >= 1.0:
            return fit
    raise NoInfluence("a component has no rows")


def _pvalue(scaled: Array, correlation: Array, *, is_normal: bool) -> float:
    """The probability of the first of these differences, which are in units of their uncertainties.

    The statistic is the smaller of two probabilities: that of chi-square of all parameters together, which sees what
    lies in a direction of its own, and that of the largest difference, which sees the change of one of many parameters.
    The p-value is the share of the other differences for which it is as small. Bonferroni's bound for the two of them
    resolves what the draws do not; it holds if the differences are normal.
    """
    found = np.minimum(*probabilities(scaled, correlation))
    n_reached = int(np.count_nonzero(found[1:] <= found[0]))
    share = (1 + n_reached) / (1 + DRAWS)
    return float(min(2.0 * found[0], share)) if is_normal or not n_reached else share


def wald_pvalue(differences: Array, covariance: Array) -> float:
    """Probability of differences as large, by chi-squared, in all directions in which they are known.

    Parameters
    ----------
    differences : ndarray, shape (n,)
        Differences of the parameters of two fits; nan where one is not known.
    covariance : ndarray, shape (n, n)
        Their covariance.

    Examples
    --------
    >>> round(wald_pvalue(np.array([1.0, 2.0, np.nan]), np.diag([1.0, 4.0, 0.0])), 4)
    0.3679
    """
    spread = np.sqrt(np.diagonal(covariance))
    places = np.flatnonzero(np.isfinite(differences) & (spread > 0.0))
    if not places.size:
        return float("nan")
    scaled = differences[places] / spread[places]
    correlation = covariance[np.ix_(places, places)] / np.outer(spread[places], spread[places])
    return float(probabilities(scaled[None], correlation)[0][0])
