"""The value types that pass between the stages: frozen, validated, with read-only arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp, ndtr

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]
CRITERIA = ("bic", "aic", "icl")

# Criteria that differ by less are equal: far below what matters, far above rounding.
_EQUAL = 1e-6
_LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)


def _frozen(values: ArrayLike) -> Array:
    """A read-only float64 copy, so that nothing handed in or out can change a result."""
    array = np.array(values, dtype=np.float64, copy=True, order="C")
    array.flags.writeable = False
    return array


def bic(loglik: float, n_params: int, n_data: float) -> float:
    """Bayesian information criterion, ``n_params ln(n_data) - 2 loglik`` (Schwarz 1978).

    >>> round(bic(-203.1792, 8, 82), 3)
    441.612
    """
    return n_params * math.log(n_data) - 2.0 * loglik


def aic(loglik: float, n_params: int) -> float:
    """Akaike information criterion, ``2 n_params - 2 loglik`` (Akaike 1974).

    >>> aic(-10.0, 2)
    24.0
    """
    return 2.0 * n_params - 2.0 * loglik


def icl(loglik: float, n_params: int, n_data: float, entropy: float) -> float:
    """Integrated completed likelihood, BIC plus twice the entropy of the responsibilities.

    Biernacki, Celeux & Govaert (2000). `entropy` is ``-sum_ij q_ij ln q_ij`` >= 0.

    >>> icl(-10.0, 2, 1, 3.0)
    26.0
    """
    return bic(loglik, n_params, n_data) + 2.0 * entropy


@dataclass(frozen=True, eq=False)
class Cells:
    """Weighted values with errors: rows of a catalog, or points that stand for many rows.

    Parameters
    ----------
    x : array_like, shape (n_cells,)
        Values.
    err : array_like, shape (n_cells,)
        One-sigma Gaussian errors, >= 0, in the unit of `x`.
    weights : array_like, shape (n_cells,)
        Rows that each cell stands for, >= 0; their sum is `n_data`.
    resolution : float
        Smallest width that the values with zero error can resolve, in the unit of `x`; 0 where every error
        is positive.

    Raises
    ------
    ValueError
        For arrays of unequal length, no positive weight, or values that are not finite.
    """

    x: Array
    err: Array
    weights: Array
    resolution: float = 0.0

    def __post_init__(self) -> None:
        for name in ("x", "err", "weights"):
            object.__setattr__(self, name, _frozen(getattr(self, name)))
        if not (self.x.ndim == 1 and self.x.shape == self.err.shape == self.weights.shape):
            raise ValueError(
                f"x, err and weights must be one-dimensional and of one length, "
                f"found shapes {self.x.shape}, {self.err.shape}, {self.weights.shape}"
            )
        for name, smallest in (("x", -np.inf), ("err", 0.0), ("weights", 0.0)):
            array = getattr(self, name)
            bad = np.flatnonzero(~(np.isfinite(array) & (array >= smallest)))
            if bad.size:
                wanted = "finite values" if name == "x" else "finite values >= 0"
                raise ValueError(
                    f"{name} has {bad.size} bad values, the first at index {bad[0]} ({array[bad[0]]}); expected "
                    f"{wanted}"
                )
        if not self.weights.sum() > 0:
            raise ValueError("no data: expected at least one value with a positive weight")

    @classmethod
    def from_rows(cls, x: ArrayLike, err: ArrayLike | None = None, weights: ArrayLike | None = None) -> Cells:
        """One cell per row.

        Parameters
        ----------
        x : array_like, shape (n_data,)
            Values.
        err : array_like, shape (n_data,), float or None
            One-sigma errors; a scalar means equal errors, None no errors.
        weights : array_like, shape (n_data,), or None
            Row weights, one each if None. Rows of weight zero count for nothing.

        Examples
        --------
        >>> Cells.from_rows([1.0, 2.0], err=0.1).n_data
        2.0
        """
        values = np.atleast_1d(np.asarray(x, dtype=np.float64))

        def like_values(given: ArrayLike | None, default: float) -> Array:
            array = np.asarray(default if given is None else given, dtype=np.float64)
            # Arrays of another length are left to the check of the class, which names them.
            return np.broadcast_to(array, values.shape) if array.size == 1 else array

        rows = cls(values, like_values(err, 0.0), like_values(weights, 1.0))
        exact = (rows.err == 0.0) & (rows.weights > 0.0)
        return replace(rows, resolution=resolution(rows.x[exact])) if exact.any() else rows

    @classmethod
    def from_histogram(cls, edges: ArrayLike, counts: ArrayLike) -> Cells:
        """One cell per bin of a histogram.

        A bin of width h is a measurement at its centre with an error of ``h / sqrt(12)``, the standard
        deviation of a uniform density over the bin; for a normal density this is Sheppard's correction.

        Parameters
        ----------
        edges : array_like, shape (n_bins + 1,)
            Increasing bin edges.
        counts : array_like, shape (n_bins,)
            Rows in each bin.

        Examples
        --------
        >>> Cells.from_histogram([0, 1, 2], [3, 4]).n_data
        7.0
        """
        bounds = np.asarray(edges, dtype=np.float64)
        if bounds.ndim != 1 or bounds.size != np.size(counts) + 1 or not np.all(np.diff(bounds) > 0):
            raise ValueError("edges must increase and be one more than counts")
        return cls(0.5 * (bounds[1:] + bounds[:-1]), np.diff(bounds) / math.sqrt(12.0), np.asarray(counts))

    @classmethod
    def sketch(
        cls,
        x: ArrayLike,
        err: ArrayLike | None = None,
        weights: ArrayLike | None = None,
        *,
        base: float,
        fineness: float = 0.5,
    ) -> Cells:
        """Few weighted points that stand for many rows.

        Rows are sorted into cells by error (three or four steps an octave) and value, and the rows of a cell are
        replaced by at most four points with the same means, variances and covariance of ``x`` and ``err**2``. Sums of
        smooth functions over the points equal those over the rows to third order in the width of the cells.

        Parameters
        ----------
        x, err, weights
            As in `from_rows`.
        base : float
            Smallest total width that has to be resolved, in the unit of `x`.
        fineness : float
            Largest width of a cell in units of the total width ``hypot(base, err)``.

        Examples
        --------
        >>> x = np.linspace(-1, 1, 10_000)
        >>> sketch = Cells.sketch(x, 0.3, base=0.1)
        >>> len(sketch), round(sketch.n_data)
        (33, 10000)
        """
        return cls.from_rows(x, err, weights).sketched(base, fineness)

    def sketched(self, base: float, fineness: float = 0.5) -> Cells:
        """The sketch of these cells; see `sketch`."""
        from mixpipe.kernels import sketching

        if not (np.isfinite(base) and base > 0 and np.isfinite(fineness) and fineness > 0):
            raise ValueError(f"base and fineness must be positive, found {base} and {fineness}")
        # Steps in the error go with those in the value: at half a total width, a quarter of an octave.
        grid = float(base), float(fineness), 4 if fineness < 1.0 else 3
        # Measured from a value among them, so that the cells resolve what doubles do.
        anchor = float(self.x[np.argmin(np.abs(self.x - np.mean(self.x)))])
        keys, sums = sketching.sketch_rows(self.x - anchor, self.err, self.weights, *grid)
        points = sketching.cell_points(keys, sums, *grid)
        return Cells(anchor + points[0], points[1], points[2], self.resolution)

    def __add__(self, other: Cells) -> Cells:
        """The cells of both."""
        return Cells(
            np.concatenate([self.x, other.x]),
            np.concatenate([self.err, other.err]),
            np.concatenate([self.weights, other.weights]),
            max(self.resolution, other.resolution),
        )

    @property
    def n_data(self) -> float:
        """Number of rows that the cells stand for: the sum of the weights."""
        return float(self.weights.sum())

    def __len__(self) -> int:
        return self.x.size


def resolution(x: ArrayLike) -> float:
    """Smallest component width that exact values can resolve, in the unit of `x`.

    The largest of three scales. For values rounded to a step h it is h: a comb of components of width s = c h has a
    density at the rounded values that is higher by a factor ``1 + 2 exp(-2 pi^2 c^2)`` than the smooth density they
    come from, 0.08 nats for each row at c = 0.4 but 5e-9 at c = 1, so that rounding cannot make spikes pay. Where only
    some of the values are rounded, it is the gap between neighbouring values with many ties. And it is
    the standard deviation of a uniform density over the closest group of ``2 + ln(n)`` values: fewer rows can lie
    close together by chance alone.

    Examples
    --------
    >>> round(resolution([0.1, 0.3, 0.3, 0.4, 0.9, 0.4, 0.3, 0.3]), 4)
    0.1
    """
    ordered = np.sort(np.asarray(x, dtype=np.float64))
    distinct, ties = np.unique(ordered, return_counts=True)
    if distinct.size < 2:
        return float((abs(ordered[0]) or 1.0) * np.finfo(np.float64).eps)
    gaps = np.diff(distinct)
    noise = 8.0 * np.finfo(np.float64).eps * max(abs(distinct[0]), abs(distinct[-1]))
    step = float(gaps[gaps > noise].min(initial=np.inf))
    multiples = gaps / step
    rounded = bool(np.isfinite(step)) and bool(np.all(np.abs(multiples - np.rint(multiples)) <= 1e-3 + noise / step))
    lattice = step if rounded and distinct.size > 2 else 0.0
    group = min(math.ceil(2.0 + math.log(ordered.size)), ordered.size)
    spans = ordered[group - 1 :] - ordered[: ordered.size - group + 1]
    closest = float(spans[spans > noise].min(initial=np.inf))
    crowd = closest / math.sqrt(12.0) if np.isfinite(closest) else 0.0
    return max(lattice, _tied_gap(distinct, ties), crowd, noise)


def _tied_gap(distinct: Array, ties: NDArray[np.int_]) -> float:
    """Gap between neighbouring values with many ties; 0 where less than a twentieth of the rows have any."""
    by_ties = np.argsort(ties, kind="stable")
    rows = np.cumsum(ties[by_ties])
    many = float(ties[by_ties][np.searchsorted(rows, 0.95 * rows[-1])])
    heavy = distinct[ties >= max(0.25 * many, 2.0)]
    # Two or three values with many ties may be populations of their own. A low quantile, not the smallest gap: a value
    # off the lattice may have many ties by chance.
    return float(np.quantile(np.diff(heavy), 0.1)) if many >= 3 and heavy.size > 3 else 0.0


def _normalised(log_joint: Array) -> Array:
    """Responsibilities from ln(w_j N_j); a value on point masses belongs to these alone."""
    infinite = log_joint == np.inf
    if infinite.any():
        log_joint = np.where(infinite.any(axis=-1, keepdims=True), np.where(infinite, 0.0, -np.inf), log_joint)
    return np.asarray(np.exp(log_joint - logsumexp(log_joint, axis=-1, keepdims=True)))


@dataclass(frozen=True, eq=False)
class Mixture:
    """A one-dimensional Gaussian mixture of the true values, measurement errors taken out.

    Components are sorted by mean on construction.

    Parameters
    ----------
    weights : array_like, shape (n_components,)
        Fractions >= 0 that sum to one.
    means : array_like, shape (n_components,)
        Component means.
    sigmas : array_like, shape (n_components,)
        Intrinsic widths >= 0, in the unit of the means. Zero is a component without intrinsic scatter.

    Raises
    ------
    ValueError
        For unequal lengths, negative widths, or weights that do not sum to one within 1e-6.

    Examples
    --------
    >>> mixture = Mixture([0.8, 0.2], [15.0, 20.0], [1.0, 1.0])
    >>> round(float(mixture.pdf(15.0)), 6)
    0.319154
    """

    weights: Array
    means: Array
    sigmas: Array

    def __post_init__(self) -> None:
        weights, means, sigmas = (
            np.atleast_1d(np.asarray(a, dtype=np.float64)) for a in (self.weights, self.means, self.sigmas)
        )
        if not (weights.ndim == 1 and weights.shape == means.shape == sigmas.shape and weights.size > 0):
            raise ValueError("weights, means and sigmas must be one-dimensional and of one length")
        if not (np.all(np.isfinite(means)) and np.all(np.isfinite(sigmas)) and np.all(sigmas >= 0)):
            raise ValueError("means must be finite and sigmas finite and >= 0")
        if not (np.all(weights >= 0) and abs(weights.sum() - 1.0) < 1e-6):
            raise ValueError(f"weights must be >= 0 and sum to one, found a sum of {weights.sum()}")
        order = np.lexsort((sigmas, means))
        object.__setattr__(self, "weights", _frozen(weights[order] / weights.sum()))
        object.__setattr__(self, "means", _frozen(means[order]))
        object.__setattr__(self, "sigmas", _frozen(sigmas[order]))

    def __repr__(self) -> str:
        with np.printoptions(precision=3, suppress=True, floatmode="maxprec"):
            return f"Mixture(weights={self.weights}, means={self.means}, sigmas={self.sigmas})"

    @property
    def n_components(self) -> int:
        """Number of components, M."""
        return self.weights.size

    def _log_joint(self, x: ArrayLike, err: ArrayLike) -> tuple[Array, Array, Array]:
        """ln(w_j N(x | m_j, T_j)), total variance and offset, each with a last axis of components."""
        values, errors = np.broadcast_arrays(np.asarray(x, dtype=np.float64), np.asarray(err, dtype=np.float64))
        total_var = self.sigmas**2 + errors[..., None] ** 2
        offset = values[..., None] - self.means
        with np.errstate(divide="ignore", invalid="ignore"):
            log_joint = np.log(self.weights) - 0.5 * offset**2 / total_var - 0.5 * np.log(total_var) - _LOG_SQRT_2PI
        # A component of zero width seen without error: a point mass, infinite at its mean and nothing elsewhere.
        point = total_var == 0.0
        if point.any():
            log_joint = np.where(point, np.where(offset == 0.0, np.inf, -np.inf), log_joint)
        return log_joint, total_var, offset

    def logpdf(self, x: ArrayLike, err: ArrayLike = 0.0) -> Array:
        """Natural log of the density of observed values: the mixture convolved with Gaussian errors.

        Parameters
        ----------
        x : array_like
            Observed values.
        err : array_like
            One-sigma errors, broadcast against `x`; 0 gives the intrinsic density.
        """
        return np.asarray(logsumexp(self._log_joint(x, err)[0], axis=-1))

    def pdf(self, x: ArrayLike, err: ArrayLike = 0.0) -> Array:
        """Density of observed values; see `logpdf`."""
        return np.exp(self.logpdf(x, err))

    def _scores(self, x: ArrayLike, err: ArrayLike) -> Array:
        """(x - m_j) / sqrt(T_j), with a last axis of components."""
        values, errors = np.broadcast_arrays(np.asarray(x, dtype=np.float64), np.asarray(err, dtype=np.float64))
        total = np.sqrt(self.sigmas**2 + errors[..., None] ** 2)
        offset = values[..., None] - self.means
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(total > 0.0, offset / total, np.where(offset >= 0.0, np.inf, -np.inf))

    def cdf(self, x: ArrayLike, err: ArrayLike = 0.0) -> Array:
        """Probability of an observed value below `x`; see `logpdf` for the arguments."""
        return np.asarray(ndtr(self._scores(x, err)) @ self.weights)

    def sf(self, x: ArrayLike, err: ArrayLike = 0.0) -> Array:
        """Probability of an observed value above `x`: ``1 - cdf``, exact in the upper tail."""
        return np.asarray(ndtr(-self._scores(x, err)) @ self.weights)

    def responsibilities(self, x: ArrayLike, err: ArrayLike = 0.0) -> Array:
        """Probability that each value belongs to each component, given its own error.

        Returns
        -------
        ndarray, shape (..., n_components)
            Sums to one over the last axis.

        Examples
        --------
        >>> Mixture([0.5, 0.5], [0.0, 4.0], [1.0, 1.0]).responsibilities(2.0)
        array([0.5, 0.5])
        """
        return _normalised(self._log_joint(x, err)[0])

    def posterior(self, x: ArrayLike, err: ArrayLike) -> tuple[Array, Array]:
        """Mean and standard deviation of the true value behind each observed one.

        Bovy, Hogg & Roweis (2011), equations 23 to 25: within component j the true value is normal with mean
        ``m_j + s_j^2 (x - m_j) / T_j`` and variance ``s_j^2 err^2 / T_j``.

        Returns
        -------
        true_mean, true_unc : ndarray
            Of the broadcast shape of `x` and `err`.

        Examples
        --------
        >>> mean, unc = Mixture([1.0], [0.0], [1.0]).posterior(2.0, 1.0)
        >>> float(mean), round(float(unc), 6)
        (1.0, 0.707107)
        """
        log_joint, total_var, offset = self._log_joint(x, err)
        resp = _normalised(log_joint)
        shrink = np.divide(self.sigmas**2, total_var, out=np.ones_like(total_var), where=total_var > 0.0)
        centres = self.means + shrink * offset
        spread = shrink * np.asarray(err, dtype=np.float64)[..., None] ** 2
        mean = np.sum(resp * centres, axis=-1)
        variance = np.sum(resp * (spread + (centres - mean[..., None]) ** 2), axis=-1)
        return np.asarray(mean), np.sqrt(variance)

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        """Draw `n` true values.

        Parameters
        ----------
        n : int
            How many.
        rng : numpy.random.Generator
            Source of randomness.
        """
        component = rng.choice(self.n_components, size=n, p=self.weights)
        return self.means[component] + self.sigmas[component] * rng.standard_normal(n)


@dataclass(frozen=True, eq=False)
class Uncertainties:
    """One-sigma uncertainties of a mixture's parameters, each of shape (n_components,); nan where there is none."""

    weights: Array
    means: Array
    sigmas: Array

    def __post_init__(self) -> None:
        for name in ("weights", "means", "sigmas"):
            object.__setattr__(self, name, _frozen(getattr(self, name)))

    @classmethod
    def unknown(cls, n_components: int) -> Uncertainties:
        """All nan."""
        return cls(*np.full((3, n_components), np.nan))


@dataclass(frozen=True, eq=False)
class FitResult:
    """A mixture fitted to a column, with what is needed to judge it.

    Parameters
    ----------
    mixture : Mixture
        The fitted mixture.
    estimator : str
        ``em``, ``moments`` or ``density``.
    loglik : float
        Natural log-likelihood, summed over all rows.
    entropy : float
        ``-sum_ij q_ij ln q_ij`` of the responsibilities, for `icl`.
    n_data : float
        Number of rows, or the sum of their weights.
    n_params : int
        Number of free parameters.
    converged : bool
        Whether the gain that remains is below the tolerance.
    remaining_gain : float
        Nats of total log-likelihood that a further Newton step promises.
    n_passes : int
        Passes over the data.
    sigma_floor : float
        Lower bound that was put on the sigmas, in the unit of the means.
    boundary : array_like of bool, shape (n_components,)
        Components whose sigma is at the floor.
    gradient_max : float
        Maximum of the gradient function, in nats: no mixture is better by more. Nan where it was not looked for.
    uncertainties : Uncertainties
        One-sigma uncertainties.
    warnings : tuple of str
        What a reader of the result has to know.
    """

    mixture: Mixture
    estimator: str
    loglik: float
    entropy: float
    n_data: float
    n_params: int
    converged: bool
    remaining_gain: float = math.nan
    n_passes: int = 0
    sigma_floor: float = 0.0
    gradient_max: float = math.nan
    boundary: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=bool))
    uncertainties: Uncertainties = field(default_factory=lambda: Uncertainties.unknown(0))
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        size = self.mixture.n_components
        flags = np.array(self.boundary, dtype=bool, copy=True) if np.size(self.boundary) else np.zeros(size, dtype=bool)
        if flags.shape != (size,):
            raise ValueError(f"boundary must have one flag for each of {size} components, found shape {flags.shape}")
        flags.flags.writeable = False
        object.__setattr__(self, "boundary", flags)
        if self.uncertainties.weights.size == 0:
            object.__setattr__(self, "uncertainties", Uncertainties.unknown(size))

    @property
    def n_components(self) -> int:
        """Number of components, M."""
        return self.mixture.n_components

    @property
    def bic(self) -> float:
        """Bayesian information criterion; lower is better."""
        return bic(self.loglik, self.n_params, self.n_data)

    @property
    def aic(self) -> float:
        """Akaike information criterion; lower is better."""
        return aic(self.loglik, self.n_params)

    @property
    def icl(self) -> float:
        """Integrated completed likelihood; lower is better."""
        return icl(self.loglik, self.n_params, self.n_data, self.entropy)


@dataclass(frozen=True, eq=False)
class Selection:
    """Fits for 1, 2, ... components and the one that a criterion prefers.

    Parameters
    ----------
    fits : tuple of FitResult
        In order of their number of components.
    criterion : str
        ``bic``, ``aic`` or ``icl``.
    loglik_bound : float
        No mixture of any number of components with sigmas of at least `bound_sigma` has a higher log-likelihood. Nan
        where it was not computed.
    bound_sigma : float
        In the unit of the means: 0 or the floor for small data, and what the points resolve for large data.
    """

    fits: tuple[FitResult, ...]
    criterion: str = "bic"
    loglik_bound: float = math.nan
    bound_sigma: float = math.nan

    def __post_init__(self) -> None:
        if self.criterion not in CRITERIA:
            raise ValueError(f"unknown criterion {self.criterion!r}: expected one of {', '.join(CRITERIA)}")
        if not self.fits:
            raise ValueError("a selection needs at least one fit")

    @property
    def best(self) -> FitResult:
        """The fit with the lowest criterion; the smallest one if several are equal but for rounding."""
        lowest = min(getattr(fit, self.criterion) for fit in self.fits)
        equal = [fit for fit in self.fits if getattr(fit, self.criterion) <= lowest + _EQUAL]
        return min(equal, key=lambda fit: fit.n_components)

    def table(self) -> pd.DataFrame:
        """One row per number of components.

        Returns
        -------
        pandas.DataFrame
            n_components, n_params, loglik, bic, aic, icl, delta_bic, converged, selected, gradient_max, loglik_bound,
            bound_sigma.
        """
        import pandas as pd

        best = self.best
        lowest = min(fit.bic for fit in self.fits)
        return pd.DataFrame(
            [
                {
                    "n_components": fit.n_components,
                    "n_params": fit.n_params,
                    "loglik": fit.loglik,
                    "bic": fit.bic,
                    "aic": fit.aic,
                    "icl": fit.icl,
                    "delta_bic": fit.bic - lowest,
                    "converged": fit.converged,
                    "selected": fit is best,
                    "gradient_max": fit.gradient_max,
                    "loglik_bound": self.loglik_bound,
                    "bound_sigma": self.bound_sigma,
                }
                for fit in self.fits
            ]
        )
