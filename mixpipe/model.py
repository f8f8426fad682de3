"""The value types that pass between the stages: frozen, validated, with read-only arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mixpipe.arrays import Array, frozen
from mixpipe.mixture import Mixture
from mixpipe.presentation import as_html, as_text, measured

if TYPE_CHECKING:
    import pandas as pd

CRITERIA = ("bic", "aic", "icl")

# Part of the range of the central 80 % of the values that a sketch resolves.
_DEFAULT_BASE = 1 / 256
# Criteria that differ by less are equal: far below what matters, far above rounding.
_EQUAL = 1e-6


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
    limits : array_like of int, shape (n_cells,), or None
        -1 where `x` is an upper limit, 1 where it is a lower limit, 0 where it is a value; None if all are values.
    truncated : tuple of (float, float) or None
        Bounds that observed values had to lie between to be in the sample, infinite on an open side.

    Raises
    ------
    ValueError
        For arrays of unequal length, no positive weight, values that are not finite, or values outside the window.
    """

    x: Array
    err: Array
    weights: Array
    resolution: float = 0.0
    limits: NDArray[np.int8] | None = None
    truncated: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        for name in ("x", "err", "weights"):
            object.__setattr__(self, name, frozen(getattr(self, name)))
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
        self._check_limits()
        self._check_window()

    def _check_limits(self) -> None:
        if self.limits is None:
            return
        limits = np.array(self.limits, dtype=np.int8)
        if limits.shape != self.x.shape or not np.array_equal(limits, self.limits) or np.any(abs(limits) > 1):
            raise ValueError("limits must be -1, 0 or 1, one for each value")
        limits.flags.writeable = False
        object.__setattr__(self, "limits", limits if limits.any() else None)

    def _check_window(self) -> None:
        if self.truncated is None:
            return
        low, high = (float(bound) for bound in self.truncated)
        object.__setattr__(self, "truncated", (low, high))
        if self.limits is not None:
            raise ValueError("limits and a window together: expected one of them")
        if not low < high:
            raise ValueError(f"the window must be two increasing bounds, found {self.truncated}")
        outside = np.count_nonzero((self.x < low) | (self.x > high))
        if outside:
            raise ValueError(f"{outside} values lie outside the window from {low} to {high}")

    @property
    def are_values(self) -> bool:
        """Whether every cell is a value, and of a sample without bounds."""
        return self.limits is None and self.truncated is None

    @classmethod
    def from_rows(
        cls,
        x: ArrayLike,
        err: ArrayLike | None = None,
        weights: ArrayLike | None = None,
        *,
        limits: ArrayLike | None = None,
        truncated: tuple[float, float] | None = None,
    ) -> Cells:
        """One cell per row.

        Parameters
        ----------
        x : array_like, shape (n_data,)
            Values.
        err : array_like, shape (n_data,), float or None
            One-sigma errors; a scalar means equal errors, None no errors.
        weights : array_like, shape (n_data,), or None
            Row weights, one each if None. Rows of weight zero count for nothing.
        limits, truncated
            As in `Cells`.

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

        flags = None if limits is None else np.asarray(limits)
        rows = cls(values, like_values(err, 0.0), like_values(weights, 1.0), 0.0, flags, truncated)
        exact = (rows.err == 0.0) & (rows.weights > 0.0)
        if rows.limits is not None:
            exact &= rows.limits == 0
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
        base: float | None = None,
        fineness: float = 0.5,
    ) -> Cells:
        """Few weighted points that stand for many rows.

        Rows are sorted into cells by error (four steps an octave) and value, and the rows of a cell are
        replaced by at most four points with the same means, variances and covariance of ``x`` and ``err**2``. Sums of
        smooth functions over the points equal those over the rows to third order in the width of the cells.

        Parameters
        ----------
        x, err, weights
            As in `from_rows`.
        base : float or None
            Smallest total width that has to be resolved, in the unit of `x`; 1/256 of the range of the central 80 % of
            the values by default.
        fineness : float
            Largest width of a cell in units of the total width ``hypot(base, err)``.

        Examples
        --------
        >>> x = np.linspace(-1, 1, 10_000)
        >>> sketch = Cells.sketch(x, 0.3, base=0.1)
        >>> len(sketch), round(sketch.n_data)
        (33, 10000)
        """
        rows = cls.from_rows(x, err, weights)
        if base is None:
            low, high = np.quantile(rows.x, (0.1, 0.9))
            base = float(high - low or np.ptp(rows.x) or 1.0) * _DEFAULT_BASE
        return rows.sketched(base, fineness)

    def sketched(self, base: float, fineness: float = 0.5) -> Cells:
        """The sketch of these cells; see `sketch`."""
        if self.limits is not None and np.any(self.limits != self.limits[0]):
            present = np.unique(self.limits[self.weights > 0.0])
            kinds = [self.of_kind(kind).sketched(base, fineness) for kind in present]
            return reduce(add, kinds)
        # Numba takes a quarter of a second to import, which tables and figures need not wait for.
        from mixpipe.sketch import Grid, Sketch

        # Measured from a value among them, so that the cells resolve what doubles do.
        anchor = float(self.x[np.argmin(np.abs(self.x - np.mean(self.x)))])
        grid = Grid(float(base), float(fineness), anchor)
        x, err, weights = Sketch.of(grid, self.x, self.err, self.weights).points(joined_bins=4)
        if self.truncated is not None:
            x = np.clip(x, *self.truncated)
        limits = None if self.limits is None else np.full(x.size, self.limits[0])
        return Cells(x, err, weights, self.resolution, limits, self.truncated)

    def of_kind(self, kind: int) -> Cells:
        """The cells whose limit is `kind`; see `Cells`."""
        flags = np.zeros(len(self), dtype=np.int8) if self.limits is None else self.limits
        return self[flags == kind]

    def __getitem__(self, some: slice | NDArray[np.bool_]) -> Cells:
        """Some of the cells."""
        limits = None if self.limits is None else self.limits[some]
        return Cells(self.x[some], self.err[some], self.weights[some], self.resolution, limits, self.truncated)

    def __add__(self, other: Cells) -> Cells:
        """The cells of both."""
        if self.truncated != other.truncated:
            raise ValueError(f"the cells have different windows, {self.truncated} and {other.truncated}")
        limits = None
        if self.limits is not None or other.limits is not None:
            flags = [np.zeros(len(cells), np.int8) if cells.limits is None else cells.limits for cells in (self, other)]
            limits = np.concatenate(flags)
        return Cells(
            np.concatenate([self.x, other.x]),
            np.concatenate([self.err, other.err]),
            np.concatenate([self.weights, other.weights]),
            max(self.resolution, other.resolution),
            limits,
            self.truncated,
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


@dataclass(frozen=True, eq=False)
class Uncertainties:
    """One-sigma uncertainties of a mixture's parameters, each of shape (n_components,); nan where there is none."""

    weights: Array
    means: Array
    sigmas: Array
    shapes: Array = field(default_factory=lambda: np.empty(0))

    def __post_init__(self) -> None:
        if not np.size(self.shapes):
            object.__setattr__(self, "shapes", np.full(np.size(self.weights), np.nan))
        for name in ("weights", "means", "sigmas", "shapes"):
            object.__setattr__(self, name, frozen(getattr(self, name)))

    @classmethod
    def unknown(cls, n_components: int) -> Uncertainties:
        """All nan."""
        return cls(*np.full((3, n_components), np.nan))


def _columns(parameters: Mixture | Uncertainties) -> tuple[Array, Array, Array, Array]:
    return parameters.weights, parameters.means, parameters.sigmas, parameters.shapes


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
    exact : bool
        Whether this is the maximum over all rows; otherwise it is that of a sketch of them.
    uncertainties : Uncertainties
        One-sigma uncertainties.
    warnings : tuple of str
        What a reader of the result has to know.
    unit : astropy.units.UnitBase or None
        Unit of means and sigmas, which is that of the values; None if they had none.
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
    exact: bool = True
    boundary: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=bool))
    uncertainties: Uncertainties = field(default_factory=lambda: Uncertainties.unknown(0))
    warnings: tuple[str, ...] = ()
    unit: Any = None

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
    def has_equal_sigmas(self) -> bool:
        """Whether one width was fitted for all components of a Gaussian mixture."""
        return self.n_params != 3 * self.n_components - 1

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

    def with_unit(self, unit: Any) -> FitResult:
        """The same fit of values that have this unit."""
        return replace(self, unit=unit)

    def plot(self, x: Any = None, err: Any = None, weights: Any = None, *, label: str = "x") -> Any:
        """Draw the data, the mixture as observed and the mixture with the errors removed.

        Parameters
        ----------
        x, err, weights
            What was fitted: a fit does not keep its data. Without it the mixture is drawn alone.
        label : str
            Name of the values, for the title and the axis.

        Returns
        -------
        matplotlib.figure.Figure
            Shown by a notebook; `savefig` writes it.
        """
        # By its public name: figures stand above this module, and their code is not part of what fits depend on.
        import mixpipe

        return mixpipe.plot_fit(self, x, err, weights, label=label)

    def __repr__(self) -> str:
        return as_text(*self._presented())

    def _repr_html_(self) -> str:
        return as_html(*self._presented())

    def _presented(self) -> tuple[str, list[tuple[str, ...]], list[str]]:
        """Title, table and notes."""
        count = f"{self.n_components} component{'s' if self.n_components > 1 else ''}"
        state = "converged" if self.converged else "NOT CONVERGED"
        title = f"{count} by {self.estimator}, N = {self.n_data:g}, log-likelihood {self.loglik:.2f}, "
        title += f"BIC {self.bic:.2f}, {state}"
        unit = "" if self.unit is None else f" [{self.unit}]"
        shaped = bool(np.isfinite(self.mixture.shapes).any())
        rows = [("", "weight", f"mean{unit}", f"sigma{unit}", *["shape"] * shaped, "")]
        for j, (family, *parameters) in enumerate(
            zip(self.mixture.families, *(_columns(self.mixture)), *(_columns(self.uncertainties)), strict=True)
        ):
            weight, mean, sigma, shape = (measured(*parameters[k::4]) for k in range(4))
            remarks = [family] * (family != "gaussian") + ["sigma at its lower bound"] * bool(self.boundary[j])
            rows.append((str(j + 1), weight, mean, sigma, *[shape] * shaped, ", ".join(remarks)))
        return title, rows, [f"warning: {warning}" for warning in self.warnings]


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

    def with_unit(self, unit: Any) -> Selection:
        """The same fits of values that have this unit."""
        return replace(self, fits=tuple(fit.with_unit(unit) for fit in self.fits))

    def __repr__(self) -> str:
        return f"{as_text(*self._presented())}\n\n{self.best!r}"

    def _repr_html_(self) -> str:
        return as_html(*self._presented()) + self.best._repr_html_()

    def _presented(self) -> tuple[str, list[tuple[str, ...]]]:
        """Title and table."""
        best = self.best
        rows: list[tuple[str, ...]] = [("", "log-likelihood", "BIC", "AIC", "ICL", "")]
        for fit in self.fits:
            numbers = (f"{number:.2f}" for number in (fit.loglik, fit.bic, fit.aic, fit.icl))
            remarks = [fit.mixture.family] * (not fit.mixture.is_gaussian) + ["selected"] * (fit is best)
            rows.append((str(fit.n_components), *numbers, ", ".join(remarks)))
        return f"number of components by {self.criterion.upper()}", rows

    def table(self) -> pd.DataFrame:
        """One row per number of components.

        Returns
        -------
        pandas.DataFrame
            n_components, n_params, loglik, bic, aic, icl, delta_bic, converged, selected, gradient_max, loglik_bound,
            bound_sigma, family, bic_weight: its share of exp(-delta_bic / 2), the probability of the fit among these
            in the approximation behind BIC; exact: whether the fit is that of all rows or of a sketch.
        """
        import pandas as pd

        return pd.DataFrame(self.records())

    def records(self) -> list[dict[str, Any]]:
        """The rows of `table`, as plain values."""
        best = self.best
        lowest = min(fit.bic for fit in self.fits)
        shares = np.exp(-0.5 * np.array([fit.bic - lowest for fit in self.fits]))
        shares /= shares.sum()
        return [
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
                "loglik_bound": self.loglik_bound if fit.mixture.is_gaussian else math.nan,
                "bound_sigma": self.bound_sigma if fit.mixture.is_gaussian else math.nan,
                "family": fit.mixture.family,
                "bic_weight": float(share),
                "exact": fit.exact,
            }
            for fit, share in zip(self.fits, shares, strict=True)
        ]
