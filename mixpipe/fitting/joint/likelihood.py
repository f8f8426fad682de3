"""The likelihood of a mixture of several columns: a thin layer around the kernels, in shifted and scaled units."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mixpipe.base.arrays import Array
from mixpipe.model.joint.blocks import Blocks, Group, Parameters, Slots, Sums, halves, lower_triangle, parameter_places
from mixpipe.model.joint.cells import JointCells
from mixpipe.model.joint.mixture import JointMixture
from mixpipe.model.kernels import joint

# The median, and the values one standard deviation of a normal distribution from it.
_QUANTILES = (0.15866, 0.5, 0.84134)
# No weight falls below this: a component without rows stays.
WEIGHT_FLOOR = 1e-300


@dataclass(frozen=True, eq=False)
class Scaling:
    """The shift and scale of each column; scales are powers of two, so that scaling is exact.

    Parameters
    ----------
    centre, scale : ndarray, shape (n_dims,)
    """

    centre: Array
    scale: Array

    @classmethod
    def of(cls, cells: JointCells, *, common: bool = False) -> Scaling:
        """Centre and scale of the columns of some rows; with projections, of their least-squares solution.

        Parameters
        ----------
        cells : JointCells
        common : bool
            Give all columns the same scale.
        """
        found = cls._of_projections(cells) if cells.projections is not None else cls._of_columns(cells)
        return cls(found.centre, np.full_like(found.scale, found.scale.max())) if common else found

    @classmethod
    def _of_projections(cls, cells: JointCells) -> Scaling:
        x, weights = cells.x, cells.weights
        project = np.asarray(cells.projections)
        normal = np.einsum("n,nka,nkb->ab", weights, project, project)
        right = np.einsum("n,nka,nk->a", weights, project, x)
        centre = np.linalg.lstsq(normal, right, rcond=None)[0]
        lengths = np.einsum("n,nka->a", weights, project**2) / weights.sum()
        spread = float(np.sum(weights[:, None] * (x - project @ centre) ** 2) / weights.sum())
        return cls(centre, _powers(np.sqrt(spread / np.maximum(lengths, 1e-300))))

    @classmethod
    def _of_columns(cls, cells: JointCells) -> Scaling:
        x, weights = cells.x, cells.weights
        seen = ~np.isnan(x)
        share = weights[:, None] * seen
        total = np.maximum(share.sum(axis=0), 1e-300)
        low, centre, high = np.zeros((3, x.shape[1]))
        for a in np.flatnonzero(seen.any(axis=0)):
            low[a], centre[a], high[a] = _quantiles(x[seen[:, a], a], weights[seen[:, a]])
        # Rows far from all others do not count, unless nearly all are equal.
        spread = (share * (np.where(seen, x, centre) - centre) ** 2).sum(axis=0) / total
        noise = (share * np.diagonal(cells.cov, axis1=1, axis2=2)).sum(axis=0) / total
        widths = np.where(high > low, 0.5 * (high - low), np.sqrt(spread + noise))
        # A constant column without errors is as wide as its floor.
        return cls(centre, _powers(np.maximum(widths, cells.floors)))

    def rows(self, cells: JointCells) -> tuple[Array, Array, Array | None]:
        """Values, covariances and projections in scaled units; rows with projections keep the units of their values."""
        if cells.projections is not None:
            return cells.x - cells.projections @ self.centre, np.array(cells.cov), cells.projections * self.scale
        scale = self.scale
        return (cells.x - self.centre) / scale, cells.cov / (scale[:, None] * scale), None

    def log_jacobian(self, cells: JointCells) -> float:
        """What is to be added to the log-likelihood of scaled values."""
        if cells.projections is not None:
            return 0.0
        seen = cells.weights @ ~np.isnan(cells.x)
        return -float(seen @ np.log(self.scale))

    def parameters(self, mixture: JointMixture) -> Parameters:
        """A mixture in scaled units."""
        return Parameters(
            np.maximum(mixture.weights, WEIGHT_FLOOR),
            (mixture.means - self.centre) / self.scale,
            mixture.covariances / (self.scale[:, None] * self.scale),
        )

    def mixture(self, at: Parameters, names: tuple[str, ...]) -> JointMixture:
        """A mixture in the units of the data."""
        means = self.centre + self.scale * at.means
        return JointMixture(at.weights, means, at.covariances * (self.scale[:, None] * self.scale), names)


def _quantiles(values: Array, weights: Array) -> Array:
    """Values at which the sum of the weights of those below reaches `_QUANTILES` of all, as if rows were repeated."""
    order = np.argsort(values)
    sums = np.cumsum(weights[order])
    return np.asarray(values[order][np.searchsorted(sums, np.array(_QUANTILES) * sums[-1])])


def _powers(widths: Array) -> Array:
    """Powers of two near some widths; 1 for a width of zero."""
    usable = np.isfinite(widths) & (widths > 0.0)
    return np.where(usable, 2.0 ** np.round(np.log2(np.where(usable, widths, 1.0))), 1.0)


def _typical_noise(cells: JointCells) -> Array:
    """Harmonic mean of the variances of the errors in each column; 0 where an error is zero, and with projections."""
    if cells.projections is not None:
        return np.zeros(cells.n_dims)
    share = cells.weights[:, None] * ~np.isnan(cells.x)
    variances = np.diagonal(cells.cov, axis1=1, axis2=2)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        precision = np.where(share > 0.0, share / variances, 0.0).sum(axis=0) / share.sum(axis=0)
        noise = 1.0 / precision
    return np.where(np.isfinite(noise), noise, 0.0)


class Passes(Protocol):
    """What an ascent needs of a likelihood, of rows in memory or in blocks from a file."""

    n_data: float
    n_passes: int
    floor: Array
    noise: Array

    def sums(self, at: Parameters) -> Sums:
        """One pass: the log-likelihood and the sums of a step."""

    def curvature(self, at: Parameters) -> Array:
        """One pass: the Hessian; see `Likelihood.curvature`."""


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """What a pass over the rows says of a fit beside its parameters, with c the weights and q the responsibilities.

    Parameters
    ----------
    entropy : float
        ``-sum_ij c_i q_ij ln q_ij``.
    first, second : ndarray, shape (n_components,)
        Sums of c q, and of c q^2, or c^2 q^2 for importance weights.
    squared : ndarray, shape (n_components,)
        Sums of c^2 q.
    precision, seen : ndarray, shape (n_components, n_dims)
        Sums of c q times the diagonal of R' T^-1 R, and of c q of the rows in which a column is observed.
    products : ndarray, shape (n_components, k, n_components, k)
        Sums of products of the scores of ln p in the parameters of `Likelihood.curvature`, times squared weights.
    """

    entropy: float
    first: Array
    second: Array
    squared: Array
    precision: Array
    seen: Array
    products: Array

    @property
    def effective_rows(self) -> Array:
        """``(sum c q)^2 / sum c q^2`` of each component."""
        return np.divide(self.first**2, self.second, out=np.zeros_like(self.first), where=self.second > 0.0)

    @property
    def total_vars(self) -> Array:
        """Typical total variance of the rows of each component in each column, from the mean of T^-1."""
        return np.divide(self.seen, self.precision, out=np.full_like(self.seen, np.inf), where=self.precision > 0.0)


class Likelihood:
    """Log-likelihood and derivatives of mixtures for rows in memory.

    Parameters
    ----------
    cells : JointCells
        The rows.
    scaling : Scaling or None
        Units of the parameters; by default those of these rows.
    n_threads : int or None
        Number of threads; all cores by default. No number depends on it.
    """

    def __init__(self, cells: JointCells, scaling: Scaling | None = None, n_threads: int | None = None) -> None:
        self.cells = cells
        self.scaling = Scaling.of(cells) if scaling is None else scaling
        x, cov, projections = self.scaling.rows(cells)
        self.blocks = Blocks(x, cov, cells.weights, projections, n_threads=n_threads)
        self.n_data = cells.n_data
        self.n_dims = cells.n_dims
        self.floor = (cells.floors / self.scaling.scale) ** 2
        self.noise = _typical_noise(cells) / self.scaling.scale**2
        self.log_jacobian = self.scaling.log_jacobian(cells)
        self.n_passes = 0

    def sums(self, at: Parameters) -> Sums:
        """One pass: the log-likelihood, in the units of the data, and the sums of a step."""
        self.n_passes += 1
        found = self.blocks.sums(at)
        return Sums(found.loglik + self.log_jacobian, found.q, found.slopes, found.curls)

    def batches(self, at: Parameters) -> Iterator[tuple[Group, Slots]]:
        """The numbers of each row, in batches."""
        for group in self.blocks.groups:
            for batch in group.slots(at):
                yield group, batch

    def curvature(self, at: Parameters) -> Array:
        """One pass: the Hessian in (ln w, m, V) of each component, shape (M, k, M, k).

        V is given by its lower triangle, k is 1 + d + d (d + 1) / 2, and the ln w are not constrained. For each row it
        is ``sum_j q_j (H_j + s_j s_j') - s s'`` with s_j the score and H_j the Hessian of ln N_j, s the score of ln p.
        """
        self.n_passes += 1
        size, k = at.n_components, 1 + at.n_dims + joint.packed(at.n_dims)
        found = np.zeros((size, k, size, k))
        for group in self.blocks.groups:
            parts = self.blocks.map_batches(group, at, _curvature_sums)
            total = next(parts)
            for part in parts:
                for sums, others in zip(total, part, strict=True):
                    sums += others
            _hessian_of(group, total, at.n_dims, found)
        return found

    def curvature_of_sample(self, at: Parameters, most: int) -> Array:
        """As `curvature`, from the first rows if they are more than `most`."""
        if len(self.cells) <= most:
            return self.curvature(at)
        part = Likelihood(self.cells.subset(np.arange(most)), self.scaling, self.blocks.n_threads)
        return part.curvature(at) * (self.n_data / part.n_data)

    def diagnosis(self, at: Parameters, *, with_products: bool = False) -> Diagnosis:
        """What a pass says of a fit beside its parameters."""
        is_counts = self.cells.weight_kind == "counts"
        size, k = at.n_components, 1 + at.n_dims + joint.packed(at.n_dims)
        entropy = 0.0
        first, second, squared = np.zeros((3, size))
        products = np.zeros((size, k, size, k))
        precision, seen = np.zeros((2, size, at.n_dims))
        for group, batch in self.batches(at):
            shares = batch.numbers[:, :, 0]
            weights = batch.weights[:, None]
            q = np.divide(shares, weights, out=np.zeros_like(shares), where=weights > 0.0)
            logs = np.log(np.where(q > 0.0, q, 1.0))
            entropy -= float(np.sum(shares * logs))
            first += shares.sum(axis=(0, 2))
            second += np.sum(shares * q if is_counts else shares**2, axis=(0, 2))
            squared += np.sum(shares * weights, axis=(0, 2))
            if with_products:
                _add_products(products, group, at, batch)
            u = batch.numbers[:, :, 2 : 2 + group.n_dims]
            diagonal = 2 + group.n_dims + np.cumsum(np.arange(1, group.n_dims + 1)) - 1
            precision[:, group.columns] += np.sum(
                shares[:, :, None] * (u**2 - batch.numbers[:, :, diagonal]), axis=(0, 3)
            )
            seen[:, group.columns] += shares.sum(axis=(0, 2))[:, None]
        return Diagnosis(entropy, first, second, squared, precision, seen, products)


def _scores(group: Group, block: Array) -> Array:
    """Scores of ln(w_j N_ij) in (ln w, m, V), shape (n_components, k, width)."""
    scores = block[:, 1:].copy()
    scores[:, 0] = 1.0
    scores[:, 1 + group.n_dims :] *= halves(group.n_dims)[:, None]
    return scores


def _add_products(products: Array, group: Group, at: Parameters, batch: Slots) -> None:
    """Add the products of the scores of ln p, each times the weight of its row."""
    indices, size = parameter_places(group.columns, at.n_dims), at.n_components
    total = np.zeros((size * indices.size, size * indices.size))
    for block, weights in zip(batch.numbers, batch.weights, strict=True):
        scores = _scores(group, block) * block[:, :1]
        # The weights of the components sum to one.
        scores[:, 0] -= at.weights[:, None] * weights
        scores = scores.reshape(-1, weights.size)
        joint.products(scores, (weights > 0.0).astype(np.float64), total)
    total = _mirrored(total)
    products[np.ix_(np.arange(size), indices, np.arange(size), indices)] += total.reshape(size, indices.size, size, -1)


def _mirrored(lower: Array) -> Array:
    return np.tril(lower) + np.tril(lower, -1).T


def _curvature_sums(group: Group, batch: Slots) -> tuple[Array, Array, Array]:
    """Sums over a batch; see `mixpipe.model.kernels.joint.curvature_sums`."""
    _, size, n_slots, _ = batch.numbers.shape
    n_scores, n_triangle = n_slots - 1, joint.packed(group.n_dims)
    crossed = np.zeros((size * n_scores, size * n_scores))
    own = np.zeros((size, n_scores, n_scores))
    curved = np.zeros((size, n_triangle, 1 + group.n_dims + 2 * n_triangle))
    joint.curvature_sums(batch.numbers, np.ascontiguousarray(batch.weights), group.n_dims, crossed, own, curved)
    return crossed, own, curved


def _hessian_of(group: Group, sums: tuple[Array, Array, Array], n_dims: int, out: Array) -> None:
    """Add the Hessian of the rows of a group."""
    crossed, own, curved = sums
    indices, size = parameter_places(group.columns, n_dims), out.shape[0]
    part = -_mirrored(crossed).reshape(size, indices.size, size, indices.size)
    for j in range(size):
        part[j, :, j, :] += _mirrored(own[j]) + _own_hessian(curved[j], group.n_dims)
    out[np.ix_(np.arange(size), indices, np.arange(size), indices)] += part


def _own_hessian(curved: Array, n_dims: int) -> Array:
    """Sum of c q times the Hessian of ln N in (ln w, m, V), from sums of c q P times (1, u, u u', P)."""
    row, column = lower_triangle(n_dims)
    where = np.empty((n_dims, n_dims), dtype=int)
    where[row, column] = where[column, row] = np.arange(row.size)
    factors = halves(n_dims)
    p = curved[:, 0]
    pu = curved[:, 1 : 1 + n_dims]
    puu = curved[:, 1 + n_dims : 1 + n_dims + row.size]
    pp = curved[:, 1 + n_dims + row.size :]
    found = np.zeros((1 + n_dims + row.size,) * 2)
    found[1 : 1 + n_dims, 1 : 1 + n_dims] = -p[where]
    a = np.arange(n_dims)
    mixed = -factors * (pu[where[a[:, None], row], column] + pu[where[a[:, None], column], row])
    found[1 : 1 + n_dims, 1 + n_dims :] = mixed
    found[1 + n_dims :, 1 : 1 + n_dims] = mixed.T
    r, c = row[:, None], column[:, None]
    s, t = row[None, :], column[None, :]
    found[1 + n_dims :, 1 + n_dims :] = (
        factors[:, None]
        * factors
        * (
            -puu[where[r, s], where[t, c]]
            - puu[where[r, t], where[s, c]]
            - puu[where[c, s], where[t, r]]
            - puu[where[c, t], where[s, r]]
            + pp[where[r, s], where[t, c]]
            + pp[where[r, t], where[s, c]]
        )
    )
    return found
