"""Results: a fit, its uncertainties, and the choice among fits; frozen, with read-only arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mixpipe.base.arrays import Array, frozen
from mixpipe.base.presentation import as_html, as_text, measured
from mixpipe.model.criteria import CRITERIA, aic, bic, icl
from mixpipe.model.mixture import Mixture
from mixpipe.model.resolution import NO_RESOLUTION, Resolution

if TYPE_CHECKING:
    import pandas as pd

# Criteria that differ by less are equal: far below what matters, far above rounding.
_EQUAL = 1e-6


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
    resolution : Resolution
        The floor, what causes it, and the rows concerned.
    effective_rows : array_like, shape (n_components,)
        Rows that the mean and width of each component rest on: ``(sum a)^2 / sum a^2`` with ``a_i = q_ij / T_ij``. Nan
        where they were not counted.
    occam : float
        Nats that the choice of the number of components takes off the log-likelihood, for components that rest on
        fewer than three effective rows or are hardly wider than the grain; see `mixpipe.fitting.admissible`.
    has_equal_sigmas : bool
        Whether one width was fitted for all components.
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
    resolution: Resolution = NO_RESOLUTION
    effective_rows: Array = field(default_factory=lambda: np.empty(0))
    occam: float = 0.0
    has_equal_sigmas: bool = False

    def __post_init__(self) -> None:
        size = self.mixture.n_components
        rows = self.effective_rows if np.size(self.effective_rows) else np.full(size, np.nan)
        object.__setattr__(self, "effective_rows", frozen(rows))
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

    def with_unit(self, unit: Any) -> FitResult:
        """The same fit of values that have this unit."""
        return replace(self, unit=unit)

    def with_warning(self, text: str) -> FitResult:
        """The same fit with one warning more."""
        return replace(self, warnings=(*self.warnings, text))

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
        """The fit with the lowest criterion, see `judged`; the smallest one if several are equal but for rounding."""
        lowest = min(self.judged(fit) for fit in self.fits)
        equal = [fit for fit in self.fits if self.judged(fit) <= lowest + _EQUAL]
        return min(equal, key=lambda fit: fit.n_components)

    def judged(self, fit: FitResult) -> float:
        """What the choice compares: the criterion, which presumes regular maxima, and twice the nats of `occam`."""
        return float(getattr(fit, self.criterion)) + 2.0 * fit.occam

    def with_unit(self, unit: Any) -> Selection:
        """The same fits of values that have this unit."""
        return replace(self, fits=tuple(fit.with_unit(unit) for fit in self.fits))

    def with_warning(self, text: str) -> Selection:
        """The same fits, the best one with one warning more."""
        best = self.best
        return replace(self, fits=tuple(fit.with_warning(text) if fit is best else fit for fit in self.fits))

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
            if fit.occam > 0.0:
                remarks.append(f"judged at {self.judged(fit):.2f}" if fit.occam < math.inf else "no maximum")
            rows.append((str(fit.n_components), *numbers, ", ".join(remarks)))
        return f"number of components by {self.criterion.upper()}", rows

    def table(self) -> pd.DataFrame:
        """One row per number of components.

        Returns
        -------
        pandas.DataFrame
            n_components, n_params, loglik, bic, aic, icl, delta_bic, converged, selected, gradient_max, loglik_bound,
            bound_sigma, family, bic_weight: the relative weight in BIC, its share of exp(-delta_bic / 2); exact:
            whether the fit is that of all rows or of a sketch; occam: nats that the choice takes off the
            log-likelihood for components on a few rows or on the grain of the values.
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
                "occam": fit.occam,
            }
            for fit, share in zip(self.fits, shares, strict=True)
        ]
