"""The content of the figures of several columns: rows, the axis of each column, and ellipses of the components."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mixpipe.assess.joint_rows import draw_rows
from mixpipe.model.joint.cells import JointCells
from mixpipe.model.joint.mixture import JointMixture
from mixpipe.model.mixture import Mixture
from mixpipe.model.results import Array
from mixpipe.report.figures.scene import Scene

# Rows from which typical errors are derived, and rows that are drawn of a mixture without data.
_SAMPLE, _DRAWN = 20_000, 2000
_CIRCLE = np.linspace(0.0, 2.0 * np.pi, 73)
_SEED = 1


@dataclass(frozen=True, eq=False)
class JointScene:
    """A mixture of several columns with its rows, and the axis of each column.

    Parameters
    ----------
    mixture : JointMixture
    cells : JointCells
        Rows; those that the mixture implies if there are no data.
    columns : tuple of Scene
        For each column, the rows that have it, and the range in which they are drawn.
    shares : ndarray, shape (n_dims, n_components)
        Shares of the components among the rows that have each column: gaps need not be equally frequent in all of them.
    has_data : bool
    """

    mixture: JointMixture
    cells: JointCells
    columns: tuple[Scene, ...]
    shares: Array
    has_data: bool = True

    @classmethod
    def of(cls, mixture: JointMixture, cells: JointCells | None = None) -> JointScene:
        """The scene of a mixture and the rows that were fitted; without rows, some are drawn from the mixture."""
        if cells is None:
            x = mixture.sample(_DRAWN, np.random.default_rng(_SEED))
            drawn = JointCells.from_rows(x, names=mixture.names, resolve=False)
            return cls.of(mixture, drawn)._without_data()
        resp = _memberships(mixture, cells.x, cells.cov, cells.weights)
        columns, shares = [], []
        for a in range(mixture.n_dims):
            seen = ~np.isnan(cells.x[:, a])
            found = resp[seen].sum(axis=0)
            shares.append(found / found.sum() if not seen.all() and found.sum() > 0.0 else mixture.weights)
            columns.append(_column(mixture, shares[-1], cells, seen, a))
        return cls(mixture, cells, tuple(columns), np.array(shares))

    def _without_data(self) -> JointScene:
        return JointScene(self.mixture, self.cells, self.columns, self.shares, has_data=False)

    @property
    def n_dims(self) -> int:
        """Number of columns."""
        return self.mixture.n_dims

    @cached_property
    def drawn(self) -> Array:
        """Values that the mixture implies for rows with the same errors and gaps; without data, the rows themselves."""
        if not self.has_data:
            return self.cells.x
        return draw_rows(self.mixture, self.cells, np.random.default_rng(_SEED)).x

    @property
    def has_errors(self) -> bool:
        """Whether any value has an error."""
        return bool(np.any(self.cells.cov))

    def marginal(self, a: int) -> Mixture:
        """The mixture of one column, with the shares that components have among the rows with a value in it."""
        return Mixture(self.shares[a], self.mixture.means[:, a], self.mixture.sigmas[:, a])

    def component_order(self, a: int) -> NDArray[np.intp]:
        """The components in the order in which `marginal` has them, that of their means in this column."""
        return np.lexsort((self.mixture.sigmas[:, a], self.mixture.means[:, a]))

    def has_gaps(self, a: int) -> bool:
        """Whether some rows lack a column."""
        return bool(np.isnan(self.cells.x[:, a]).any())

    def outside(self) -> int:
        """Number of rows with a value outside of the picture."""
        low, high = (np.array([getattr(column, end) for column in self.columns]) for end in ("low", "high"))
        return int(np.count_nonzero(((self.cells.x < low) | (self.cells.x > high)).any(axis=1)))

    def hidden(self) -> int:
        """Number of components whose mean is outside of the picture."""
        low, high = (np.array([getattr(column, end) for column in self.columns]) for end in ("low", "high"))
        return int(np.count_nonzero(((self.mixture.means < low) | (self.mixture.means > high)).any(axis=1)))

    @cached_property
    def typical_covariances(self) -> Array:
        """For each component, the covariances of the errors that its rows typically have, shape (n_components, d, d).

        They consist of median errors and median correlations, so that single rows with huge errors do not matter.
        """
        step = -(-len(self.cells) // _SAMPLE) or 1
        x, cov, weights = (part[::step] for part in (self.cells.x, self.cells.cov, self.cells.weights))
        resp = _memberships(self.mixture, x, cov, weights)
        missing = np.isnan(x)
        err = np.sqrt(np.maximum(np.diagonal(cov, axis1=1, axis2=2), 0.0))
        found = np.zeros(self.mixture.covariances.shape)
        middle = np.array([_medians(err[:, a], resp, ~missing[:, a]) for a in range(self.n_dims)]).T
        for a in range(self.n_dims):
            found[:, a, a] = middle[:, a] ** 2
            for b in range(a):
                both = ~(missing[:, a] | missing[:, b]) & (err[:, a] > 0.0) & (err[:, b] > 0.0)
                if np.any(cov[both, a, b]):
                    ratio = np.divide(cov[:, a, b], err[:, a] * err[:, b], out=np.zeros(len(x)), where=both)
                    found[:, a, b] = _medians(ratio, resp, both) * middle[:, a] * middle[:, b]
                    found[:, b, a] = found[:, a, b]
        return found

    def ellipse(self, j: int, a: int, b: int, n_sigma: float, *, observed: bool) -> tuple[Array, Array]:
        """Points of the ellipse of a component in two columns; a line, or a point, where it has no width."""
        pair = np.ix_([a, b], [a, b])
        covariance = self.mixture.covariances[j][pair]
        if observed:
            covariance = covariance + self.typical_covariances[j][pair]
        scale = np.sqrt(np.maximum(np.diagonal(covariance), 0.0))
        unit = np.where(scale > 0.0, scale, 1.0)
        roots, axes = np.linalg.eigh(covariance / np.outer(unit, unit))
        around = n_sigma * (axes * np.sqrt(np.maximum(roots, 0.0))) @ np.array([np.cos(_CIRCLE), np.sin(_CIRCLE)])
        x, y = self.mixture.means[j, [a, b], None] + unit[:, None] * around
        return x, y


def _memberships(mixture: JointMixture, x: Array, cov: Array, weights: Array) -> Array:
    """Rows of each component; none of a row whose density is infinite, without errors on a component without width."""
    return np.nan_to_num(mixture.responsibilities(x, cov=cov)) * weights[:, None]


def _column(mixture: JointMixture, shares: Array, cells: JointCells, seen: NDArray[np.bool_], a: int) -> Scene:
    marginal = Mixture(shares, mixture.means[:, a], mixture.sigmas[:, a])
    if not seen.any():
        ends = marginal.means + np.array([[-3.0], [3.0]]) * marginal.sigmas
        return Scene.of(marginal, ends.ravel(), None, None)
    err = np.sqrt(np.maximum(cells.cov[seen, a, a], 0.0))
    weights = cells.weights[seen]
    return Scene.of(marginal, cells.x[seen, a], err, None if np.all(weights == 1.0) else weights)


def _medians(values: Array, resp: Array, rows: NDArray[np.bool_]) -> Array:
    """For each component, the median of values over some rows, weighted by the probability to belong to it."""
    if not rows.any():
        return np.zeros(resp.shape[1])
    order = np.flatnonzero(rows)[np.argsort(values[rows], kind="stable")]
    # A component without rows has the median of all.
    shares = np.cumsum(resp[order] + 1e-9 * resp[order].sum() / order.size, axis=0)
    places = [int(np.searchsorted(share, 0.5 * share[-1])) for share in shares.T]
    return np.asarray(values[order[places]])
