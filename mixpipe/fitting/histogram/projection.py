"""Least squares between observed and expected shares of bins, with the component weights eliminated."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtr

from mixpipe.fitting.histogram.binning import Binned
from mixpipe.model.results import Array

# Number of rows added to the expected number in a bin for its variance, which limits the influence of a row where none
# is expected.
_LEAST_ROWS = 0.03


def bin_integrals(
    edges: Array, means: Array, variances: Array, group_var: Array, group_prob: Array
) -> tuple[Array, Array, Array]:
    """Share of each component that lies in each bin, averaged over the errors, and its derivatives.

    Parameters
    ----------
    edges : ndarray, shape (n_bins - 1,)
        Inner edges; the outermost bins are infinite.
    means, variances : ndarray, shape (n_components,)
        Intrinsic parameters.
    group_var, group_prob : ndarray, shape (n_groups,)
        Error variances and their probabilities.

    Returns
    -------
    shares, d_mean, d_variance : ndarray, shape (n_bins, n_components)
    """
    total = variances[:, None] + group_var
    score = (edges[:, None, None] - means[:, None]) / np.sqrt(total)
    bell = np.exp(-0.5 * score * score)
    below = ndtr(score) @ group_prob
    slope = -np.einsum("kjg,jg->kj", bell, group_prob / np.sqrt(2.0 * np.pi * total))
    bend = -np.einsum("kjg,kjg,jg->kj", bell, score, group_prob / (np.sqrt(8.0 * np.pi) * total))
    return (
        np.diff(below, axis=0, prepend=0.0, append=1.0),
        np.diff(slope, axis=0, prepend=0.0, append=0.0),
        np.diff(bend, axis=0, prepend=0.0, append=0.0),
    )


@dataclass(frozen=True, eq=False)
class Projection:
    """The weighted least squares with the component weights eliminated.

    The variables are the means and then ``u = ln(s^2 + softening) / 2`` of each component: widths far below that of a
    bin or the errors are then irrelevant, and a width of zero has a finite u.

    Parameters
    ----------
    binned : Binned
        The observed shares.
    group_var, group_prob : ndarray, shape (n_groups,)
        Error variances and their probabilities.
    root_precision : ndarray, shape (n_bins,)
        Square roots of the weights of the residuals.
    softening : float
        Constant in the definition of u above.
    n_data : float
        Number of rows.
    """

    binned: Binned
    group_var: Array
    group_prob: Array
    root_precision: Array
    softening: float
    n_data: float

    def misfit(self, fit: Solution) -> float:
        """Negative log-likelihood of the shares, by which fits with different precisions are compared."""
        rows = self.n_data * fit.expected + _LEAST_ROWS
        return -self.n_data * float(self.binned.shares @ np.log(rows))

    def reweighted(self, expected: Array) -> Projection:
        """The same projection with the precisions of these expected shares."""
        return replace(self, root_precision=np.sqrt(self.n_data / (expected + _LEAST_ROWS / self.n_data)))

    def variances(self, u: Array) -> Array:
        """Variances s^2 that belong to u."""
        return np.asarray(np.maximum(np.exp(2.0 * u) - self.softening, 0.0))

    def variables(self, means: Array, variances: Array) -> Array:
        """The variables of these components."""
        return np.concatenate([means, 0.5 * np.log(variances + self.softening)])

    def integrals(self, variables: Array) -> tuple[Array, Array, Array]:
        """The `bin_integrals` of the components convolved with errors and kernel; derivatives are by mean and by u."""
        means, u = np.split(variables, 2)
        variances = self.variances(u)
        shares, d_mean, d_variance = bin_integrals(
            self.binned.edges, means, variances, self.group_var + self.binned.blur, self.group_prob
        )
        return shares, d_mean, d_variance * 2.0 * (variances + self.softening)

    def solve(self, variables: Array) -> Solution:
        """The best weights for given means and widths, with the residuals and their exact Jacobian.

        Because the weights sum to one, the residuals are a combination ``C w`` of those of single components, and the
        minimum of ``|C w|^2 + (sum w - 1)^2`` over w >= 0 is at a multiple of the required w.
        """
        shares, d_mean, d_u = self.integrals(variables)
        scale = self.root_precision[:, None]
        columns = scale * (shares - self.binned.shares[:, None])
        weights = simplex_weights(columns)
        support = np.flatnonzero(weights)
        # Directions in which the weights can change: from each component to the heaviest.
        heaviest = int(np.argmax(weights[support]))
        basis = np.delete(np.eye(support.size), heaviest, axis=1)
        basis[heaviest] = -1.0
        q, r = np.linalg.qr(columns[:, support] @ basis)
        inverse = np.linalg.pinv(r, rcond=1e-12)
        # Remove the rounding errors that the active set left along the free directions.
        trial = weights.copy()
        trial[support] -= basis @ (inverse @ (q.T @ (columns @ weights)))
        if trial.min() >= 0.0:
            weights = trial
        residuals = columns @ weights
        # The weights change with the variables, too (Golub & Pereyra 1973). Components without weight do not
        # contribute.
        jacobian = np.zeros((residuals.size, variables.size))
        for row, j in enumerate(support):
            for index, derivative in ((j, d_mean[:, j]), (weights.size + j, d_u[:, j])):
                column = scale[:, 0] * derivative
                own = weights[j] * column
                jacobian[:, index] = own - q @ (q.T @ own + inverse.T @ basis[row] * (column @ residuals))
        return Solution(variables, weights, shares @ weights, residuals, jacobian)


@dataclass(frozen=True, eq=False)
class Solution:
    """Weights, residuals and Jacobian of a `Projection` at some means and widths."""

    variables: Array
    weights: Array
    expected: Array
    residuals: Array
    jacobian: Array

    @property
    def loss(self) -> float:
        """Half of the sum of squares."""
        return 0.5 * float(self.residuals @ self.residuals)


def simplex_weights(columns: Array) -> Array:
    """The w >= 0 with sum one that minimises ``|columns @ w|``."""
    from scipy.optimize import nnls

    n_columns = columns.shape[1]
    if n_columns == 1:
        return np.ones(1)
    norms = np.sqrt((columns * columns).sum(axis=0))
    unit = float(norms.min())
    if unit == 0.0:
        return (np.arange(n_columns) == np.argmin(norms)).astype(np.float64)
    target = np.zeros(columns.shape[0] + 1)
    target[-1] = 1.0
    try:
        solution, _ = nnls(np.vstack([columns / unit, np.ones(n_columns)]), target, maxiter=100 * n_columns)
    except RuntimeError:  # Columns that are equal but for rounding can send the active set round in circles.
        solution = (np.arange(n_columns) == np.argmin(norms)).astype(np.float64)
    return np.asarray(solution / solution.sum())


def descend(
    problem: Projection, start: Solution, lower: Array, upper: Array, n_steps: int, enough: float
) -> tuple[Solution, float]:
    """Levenberg-Marquardt descent within bounds; also returns half the predicted gain of another Gauss-Newton step."""
    here, damping, promised = start, 1e-3, np.inf
    for _ in range(n_steps):
        gradient = here.jacobian.T @ here.residuals
        held = ((here.variables <= lower) & (gradient > 0.0)) | ((here.variables >= upper) & (gradient < 0.0))
        normal = here.jacobian.T @ here.jacobian
        diagonal = np.diag(normal)
        free = np.flatnonzero(~held & (diagonal > 1e-14 * diagonal.max(initial=1e-300)))
        if not free.size:
            return here, 0.0
        inner, slope, unit = normal[np.ix_(free, free)], gradient[free], np.diag(diagonal[free])
        promised = 0.5 * float(slope @ np.linalg.solve(inner + 1e-9 * unit, slope))
        if promised < max(enough, 1e-13 * here.loss):
            break
        step = np.zeros(here.variables.size)
        step[free] = np.linalg.solve(inner + damping * unit, -slope)
        # A width with little effect may have a very long step, which must not shorten the steps of the others.
        step[step.size // 2 :] = np.clip(step[step.size // 2 :], -1.0, 1.0)
        trial = problem.solve(np.clip(here.variables + step, lower, upper))
        if trial.loss < here.loss:
            moved = trial.variables - here.variables
            model = -(gradient @ moved + 0.5 * moved @ normal @ moved)
            damping *= 0.2 if here.loss - trial.loss > 0.5 * model else 1.0
            here = trial
        else:
            damping *= 8.0
            if damping > 1e12:
                break
    return here, promised
