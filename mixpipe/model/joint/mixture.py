"""A mixture of several columns that describes the true values, and what it implies for observed values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mixpipe.base.arrays import Array, frozen
from mixpipe.base.presentation import as_html
from mixpipe.model.joint.blocks import Blocks, Parameters, Slots, unpack
from mixpipe.model.joint.cells import are_covariances, error_covariances
from mixpipe.model.joint.inputs import rows_for
from mixpipe.model.mixture import Mixture

# An eigenvalue of a covariance below minus this part of the largest is no rounding.
_INDEFINITE = 1e-9


@dataclass(frozen=True, eq=False)
class JointMixture:
    """A mixture of Gaussian components in several columns, with the measurement errors removed.

    Components are sorted by their means in the first column on construction.

    Parameters
    ----------
    weights : array_like, shape (n_components,)
        Fractions >= 0 that sum to one.
    means : array_like, shape (n_components, n_dims)
        Component means.
    covariances : array_like, shape (n_components, n_dims, n_dims)
        Intrinsic covariances, symmetric and positive semidefinite.
    names : sequence of str
        Names of the columns; x0, x1, ... by default.

    Raises
    ------
    ValueError
        For shapes that do not fit, matrices that are no covariances, or weights that do not sum to one within 1e-6.

    Examples
    --------
    >>> mixture = JointMixture([1.0], [[0.0, 1.0]], [[[1.0, 0.5], [0.5, 1.0]]], ["a", "b"])
    >>> mixture.sigmas, mixture.correlations[0, 0, 1]
    (array([[1., 1.]]), np.float64(0.5))
    >>> mixture.condition({"a": 2.0}).means
    array([[2.]])
    """

    weights: Array
    means: Array
    covariances: Array
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        weights = np.atleast_1d(np.asarray(self.weights, dtype=np.float64))
        means = np.asarray(self.means, dtype=np.float64)
        covs = np.asarray(self.covariances, dtype=np.float64)
        if means.ndim != 2 or weights.shape != means.shape[:1] or covs.shape != (*means.shape, means.shape[1]):
            raise ValueError(
                "expected weights of shape (n_components,), means (n_components, n_dims) and covariances "
                f"(n_components, n_dims, n_dims), found {weights.shape}, {means.shape} and {covs.shape}"
            )
        if not (np.all(np.isfinite(means)) and np.all(np.isfinite(covs))):
            raise ValueError("means and covariances must be finite")
        if not (np.all(weights >= 0.0) and abs(weights.sum() - 1.0) < 1e-6):
            raise ValueError(f"weights must be >= 0 and sum to one, found a sum of {weights.sum()}")
        covs = 0.5 * (covs + np.swapaxes(covs, 1, 2))
        scale = np.sqrt(np.maximum(np.diagonal(covs, axis1=1, axis2=2), 0.0))
        scale = np.where(scale > 0.0, scale, 1.0)
        roots = np.linalg.eigvalsh(covs / (scale[:, :, None] * scale[:, None, :]))
        bad = np.flatnonzero(roots[:, 0] < -_INDEFINITE * np.maximum(roots[:, -1], 1.0))
        if bad.size:
            raise ValueError(f"covariances[{bad[0]}] has a negative eigenvalue; expected a covariance")
        names = tuple(map(str, self.names)) or tuple(f"x{k}" for k in range(means.shape[1]))
        if len(names) != means.shape[1] or len(set(names)) != len(names):
            raise ValueError(f"names must be {means.shape[1]} different names, found {names}")
        order = np.lexsort(means.T[::-1])
        object.__setattr__(self, "weights", frozen(weights[order] / weights.sum()))
        object.__setattr__(self, "means", frozen(means[order]))
        object.__setattr__(self, "covariances", frozen(covs[order]))
        object.__setattr__(self, "names", names)

    @property
    def n_components(self) -> int:
        """Number of components, M."""
        return self.weights.size

    @property
    def n_dims(self) -> int:
        """Number of columns, d."""
        return self.means.shape[1]

    @property
    def family(self) -> str:
        """The family of the components."""
        return "gaussian"

    @property
    def families(self) -> tuple[str, ...]:
        """The families of the components."""
        return ("gaussian",) * self.n_components

    @property
    def is_gaussian(self) -> bool:
        """Whether all components are Gaussian."""
        return True

    @property
    def sigmas(self) -> Array:
        """Intrinsic widths of the components in each column, shape (n_components, n_dims)."""
        return np.sqrt(np.maximum(np.diagonal(self.covariances, axis1=1, axis2=2), 0.0))

    @property
    def correlations(self) -> Array:
        """Intrinsic correlations, shape (n_components, n_dims, n_dims); nan where a width is zero."""
        sigmas = self.sigmas
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(self.covariances / (sigmas[:, :, None] * sigmas[:, None, :]))

    def __repr__(self) -> str:
        with np.printoptions(precision=3, suppress=True, floatmode="maxprec"):
            return (
                f"JointMixture(names={self.names}, weights={self.weights}, means={self.means.tolist()!r}, "
                f"sigmas={self.sigmas.tolist()!r})"
            )

    def _repr_html_(self) -> str:
        rows: list[tuple[str, ...]] = [("", "weight", *self.names)]
        for j, weight in enumerate(self.weights):
            cells = (f"{m:.5g}, sigma {s:.5g}" for m, s in zip(self.means[j], self.sigmas[j], strict=True))
            rows.append((str(j + 1), f"{weight:.5g}", *cells))
        return as_html(f"mixture of {self.n_dims} columns", rows)

    # What follows from it.

    def logpdf(self, x: ArrayLike, err: ArrayLike | None = None, cov: ArrayLike | None = None) -> Array:
        """Natural log of the density of observed rows: the mixture convolved with Gaussian errors.

        Parameters
        ----------
        x : array_like, shape (n, n_dims)
            Observed values; nan where one is missing, which gives the marginal density of the others.
        err : array_like, shape (n, n_dims) or scalar, or None
            One-sigma errors without correlations.
        cov : array_like, shape (n, n_dims, n_dims), or None
            Covariances of the errors, instead of `err`; without either, the intrinsic density.

        Returns
        -------
        ndarray, shape (n,)
            0 for a row without any value.
        """
        values, covs = self._rows(x, err, cov)
        found = np.zeros(len(values))
        for _, batch in self._slots(values, covs):
            found[batch.members] = batch.logs.ravel()[: batch.members.size]
        return found

    def pdf(self, x: ArrayLike, err: ArrayLike | None = None, cov: ArrayLike | None = None) -> Array:
        """Density of observed rows; see `logpdf`."""
        return np.exp(self.logpdf(x, err, cov))

    def responsibilities(self, x: ArrayLike, err: ArrayLike | None = None, cov: ArrayLike | None = None) -> Array:
        """Probability that each row belongs to each component, shape (n, n_components).

        See `logpdf` for the arguments. A row without any value has the weights of the components.
        """
        values, covs = self._rows(x, err, cov)
        found = np.tile(self.weights, (len(values), 1))
        for _, batch in self._slots(values, covs):
            found[batch.members] = _by_row(batch.numbers[:, :, 0], batch)
        return found

    def posterior(
        self, x: ArrayLike, err: ArrayLike | None = None, cov: ArrayLike | None = None
    ) -> tuple[Array, Array]:
        """Mean and covariance of the true values behind each row, those of missing values included.

        Within component j they are ``m_j + V_j u`` and ``V_j - V_j P V_j`` with ``P = R' T^-1 R`` and
        ``u = R' T^-1 (x - R m_j)`` (Bovy, Hogg & Roweis 2011, equations 10 and 14).

        Parameters
        ----------
        x, err, cov
            As in `logpdf`.

        Returns
        -------
        means : ndarray, shape (n, n_dims)
        covariances : ndarray, shape (n, n_dims, n_dims)

        Examples
        --------
        >>> mixture = JointMixture([1.0], [[0.0, 0.0]], [[[1.0, 0.8], [0.8, 1.0]]])
        >>> means, covariances = mixture.posterior([[1.0, np.nan]], err=0.0)
        >>> means.round(6), covariances.round(6)
        (array([[1. , 0.8]]), array([[[0.  , 0.  ],
                [0.  , 0.36]]]))
        """
        values, covs = self._rows(x, err, cov)
        middle = self.weights @ self.means
        away = self.means - middle
        means = np.tile(middle, (len(values), 1))
        spread = np.einsum("j,jab->ab", self.weights, self.covariances + away[:, :, None] * away[:, None, :])
        covariances = np.tile(spread, (len(values), 1, 1))
        for columns, batch in self._slots(values, covs):
            n_seen = columns.size
            resp = _by_row(batch.numbers[:, :, 0], batch)
            u = _by_row(batch.numbers[:, :, 2 : 2 + n_seen], batch)
            inner = _by_row(batch.numbers[:, :, 2 + n_seen :], batch)
            precision = u[..., :, None] * u[..., None, :] - unpack(inner, n_seen)
            towards = self.covariances[:, :, columns]
            centres = self.means + np.einsum("jab,njb->nja", towards, u)
            within = self.covariances - np.einsum("jab,njbc,jdc->njad", towards, precision, towards)
            mean = np.einsum("nj,nja->na", resp, centres)
            offset = centres - mean[:, None]
            means[batch.members] = mean
            covariances[batch.members] = np.einsum(
                "nj,njab->nab", resp, within + offset[..., :, None] * offset[..., None, :]
            )
        return means, covariances

    def _rows(self, x: ArrayLike, err: ArrayLike | None, cov: ArrayLike | None) -> tuple[Array, Array]:
        values, errors, matrices = rows_for(self.names, x, err, cov)
        covs = error_covariances(errors, matrices, *values.shape)
        values[np.isposinf(np.diagonal(covs, axis1=1, axis2=2))] = np.nan
        missing = np.isnan(values)
        bad = np.flatnonzero(np.any(~np.isfinite(covs) & ~(missing[:, :, None] | missing[:, None, :]), axis=(1, 2)))
        if bad.size:
            raise ValueError(f"the errors of {bad.size} rows are not finite, the first of them row {bad[0]}")
        covs = np.where(missing[:, :, None] | missing[:, None, :], 0.0, covs)
        bad = np.flatnonzero(~are_covariances(covs))
        if bad.size:
            raise ValueError(f"cov of {bad.size} rows is no covariance, the first of them row {bad[0]}")
        return values, covs

    def _slots(self, values: Array, covs: Array) -> Any:
        """Batches of rows, each with the columns that are observed in them."""
        centre = self.means.mean(axis=0)
        at = Parameters(np.maximum(self.weights, 1e-300), self.means - centre, np.array(self.covariances))
        for group in Blocks(values - centre, covs, np.ones(len(values))).groups:
            for batch in group.slots(at):
                yield group.columns, batch

    # Other mixtures.

    def _columns(self, names: Sequence[str]) -> list[int]:
        unknown = [name for name in names if name not in self.names]
        if unknown:
            raise ValueError(f"no column {unknown[0]!r}: expected some of {', '.join(self.names)}")
        return [self.names.index(name) for name in names]

    def marginal(self, names: str | Sequence[str]) -> Any:
        """The mixture of some of the columns.

        Parameters
        ----------
        names : str or sequence of str
            A name gives a `Mixture` of one column, a sequence a `JointMixture` of its columns, in this order.
        """
        if isinstance(names, str):
            k = self._columns([names])[0]
            return Mixture(self.weights, self.means[:, k], self.sigmas[:, k])
        columns = self._columns(names)
        if not columns or len(set(columns)) != len(columns):
            raise ValueError(f"expected at least one of the columns, each once; found {list(names)}")
        covs = self.covariances[:, columns][:, :, columns]
        return JointMixture(self.weights, self.means[:, columns], covs, tuple(names))

    def condition(self, given: Mapping[str, float], err: Mapping[str, float] | None = None) -> JointMixture:
        """The mixture of the other columns for objects with given values.

        Parameters
        ----------
        given : mapping of str to float
            Values of some of the columns.
        err : mapping of str to float, or None
            One-sigma errors of these values; 0 by default, for true values.

        Returns
        -------
        JointMixture
            Of the columns that are not given, with the weights of the components for these values.

        Raises
        ------
        ValueError
            For columns that do not exist, none or all of them, or values and errors that are not finite.
        """
        known = self._columns(list(given))
        others = [k for k in range(self.n_dims) if k not in known]
        if not (known and others):
            raise ValueError("expected values of some of the columns, and not of all")
        values = np.array([float(given[self.names[k]]) for k in known])
        unknown = set(err or {}) - set(given)
        if unknown:
            raise ValueError(f"an error of {min(unknown)!r}, for which no value is given")
        noise = np.array([float((err or {}).get(self.names[k], 0.0)) for k in known])
        for k, value, sigma in zip(known, values, noise, strict=True):
            if not np.isfinite(value):
                raise ValueError(f"the value of {self.names[k]!r} is {value}; expected a finite number")
            if not 0.0 <= sigma < np.inf:
                raise ValueError(f"the error of {self.names[k]!r} is {sigma}; expected a finite number >= 0")
        row = np.full(self.n_dims, np.nan)
        row[known] = values
        errors = np.zeros(self.n_dims)
        errors[known] = noise
        resp = self.responsibilities(row[None], errors[None])[0]
        means, covs = [], []
        for mean, cov in zip(self.means, self.covariances, strict=True):
            total = cov[np.ix_(known, known)] + np.diag(noise**2)
            gain = np.linalg.lstsq(total, cov[np.ix_(known, others)], rcond=1e-12)[0].T
            means.append(mean[others] + gain @ (values - mean[known]))
            left = cov[np.ix_(others, others)] - gain @ cov[np.ix_(known, others)]
            roots, axes = np.linalg.eigh(0.5 * (left + left.T))
            covs.append((axes * np.maximum(roots, 0.0)) @ axes.T)
        return JointMixture(resp, np.array(means), np.array(covs), tuple(self.names[k] for k in others))

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        """Draw the true values of `n` objects, shape (n, n_dims)."""
        component = rng.choice(self.n_components, size=n, p=self.weights)
        draws = rng.standard_normal((n, self.n_dims))
        return np.asarray(self.means[component] + np.einsum("nab,nb->na", factors(self.covariances)[component], draws))

    def to_table(self, units: Mapping[str, Any] | None = None) -> Any:
        """The components as an `astropy.table.Table`: weight, mean_A, sigma_A for each column, corr_A_B for each pair.

        Parameters
        ----------
        units : mapping of str to unit, or None
            Units of the columns.
        """
        # Imported through the package: tables of Astropy stand above this module.
        import mixpipe

        return mixpipe.components_table(self, units=units)


def _by_row(numbers: Array, batch: Slots) -> Array:
    """Numbers of shape (n_blocks, n_components, ..., width) with the rows as the first axis."""
    rows = np.moveaxis(numbers, -1, 1)
    return rows.reshape(-1, *rows.shape[2:])[: batch.members.size]


def factors(covs: Array) -> Array:
    """Matrices F with F F' equal to each covariance, which may be singular, to the precision of each column."""
    widths = np.sqrt(np.maximum(np.diagonal(covs, axis1=-2, axis2=-1), 0.0))
    scale = np.where(widths > 0.0, widths, 1.0)
    roots, axes = np.linalg.eigh(covs / (scale[..., :, None] * scale[..., None, :]))
    return np.asarray(scale[..., :, None] * axes * np.sqrt(np.maximum(roots, 0.0))[..., None, :])
