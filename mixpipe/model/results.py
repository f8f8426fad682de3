"""Results: a fit, its uncertainties, and the choice among fits; frozen, with read-only arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mixpipe.base.arrays import Array, frozen
from mixpipe.base.presentation import as_html, as_text, describe_dropped, measured, plural
from mixpipe.model.criteria import CRITERIA, aic, bic, icl
from mixpipe.model.mixture import Mixture
from mixpipe.model.resolution import NO_RESOLUTION, Resolution

if TYPE_CHECKING:
    import pandas as pd

# Criteria that differ by less than this count as equal: it is far below what matters and far above rounding.
_EQUAL = 1e-6


@dataclass(frozen=True, eq=False)
class Uncertainties:
    """One-sigma uncertainties of a mixture's parameters, each of shape (n_components,); nan where unknown."""

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
        """Unknown uncertainties, all of them nan."""
        return cls(*np.full((3, n_components), np.nan))


def _columns(parameters: Mixture | Uncertainties) -> tuple[Array, Array, Array, Array]:
    return parameters.weights, parameters.means, parameters.sigmas, parameters.shapes


@dataclass(frozen=True, eq=False)
class FitResult:
    """A mixture fitted to a column, with the diagnostics needed to judge it.

    Parameters
    ----------
    mixture : Mixture
        The fitted mixture.
    estimator : str
        ``em``, ``moments`` or ``density``.
    loglik : float
        Natural logarithm of the likelihood, summed over all rows.
    entropy : float
        ``-sum_ij q_ij ln q_ij`` of the responsibilities, for `icl`.
    n_data : float
        Number of rows, or the sum of their weights.
    n_params : int
        Number of free parameters.
    converged : bool
        Whether the remaining gain is below the tolerance.
    remaining_gain : float
        Gain in total log-likelihood, in nats, that a further Newton step is predicted to bring.
    n_passes : int
        Number of passes over the data.
    sigma_floor : float
        Lower bound that was imposed on the sigmas, in the unit of the means.
    boundary : array_like of bool, shape (n_components,)
        Whether the sigma of each component is at the floor.
    resolution : Resolution
        The floor, its cause, and the rows concerned.
    effective_rows : array_like, shape (n_components,)
        Effective number of rows that determine the mean and width of each component: ``(sum a)^2 / sum a^2`` with
        ``a_i = q_ij / T_ij``; nan where it was not computed.
    occam : float
        Nats that are subtracted from the log-likelihood when the number of components is chosen, for components that
        rest on fewer than three effective rows, are hardly wider than the grain, or have rows with larger importance
        weights than others; see `mixpipe.fitting.admissible`.
    has_equal_sigmas : bool
        Whether one width was fitted for all components.
    gradient_max : float
        Maximum of the gradient function, in nats, by which no mixture can exceed the log-likelihood of this one; nan
        where it was not computed.
    exact : bool
        Whether this is the maximum of the likelihood of all rows rather than of a sketch of them.
    uncertainties : Uncertainties
        One-sigma uncertainties.
    warnings : tuple of str
        What readers of the result need to know.
    unit : astropy.units.UnitBase or None
        Unit of means and sigmas, which is that of the values; None if they had none.
    error_scale, error_scale_unc : float
        Factor of all errors, and its uncertainty if it was fitted.
    prior_rows : float
        Number of rows that a prior gave each component.
    log_prior : float
        The logarithm of that prior at the fit, which the search maximises together with `loglik`; 0 without one.
    truncated : tuple of float or None
        The ends of the grid of a tabulated density, at which the mixture is truncated; None for a fit to values.
    error_model : str
        How the errors were taken to be distributed: ``none``, ``symmetric``, ``two_sided``, ``student_t`` or
        ``samples``; empty where that is not known.
    error_dof : float or None
        Degrees of freedom of the errors, for ``student_t``.
    weight_kind : str
        Whether the weights were taken as ``counts`` or for their ``importance``; empty where that is not known.
    dropped : dict of str to int
        Rows that were left out, by reason.
    covariance : array_like, shape (n_parameters, n_parameters)
        Covariance of the parameters named in `parameter_names`, in the units of the data. Its diagonal has the squares
        of `uncertainties`. All weights are included, so that their rows sum to zero. Rows and columns are nan for what
        is held fixed, is at a boundary, or has no uncertainty.
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
    truncated: tuple[float, float] | None = None
    error_scale: float = 1.0
    error_scale_unc: float = math.nan
    prior_rows: float = 0.0
    log_prior: float = 0.0
    error_model: str = ""
    error_dof: float | None = None
    weight_kind: str = ""
    dropped: dict[str, int] = field(default_factory=dict)
    covariance: Array = field(default_factory=lambda: np.empty((0, 0)))

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
        square = (len(self.parameter_names),) * 2
        covariance = self.covariance if np.size(self.covariance) else np.full(square, np.nan)
        if np.shape(covariance) != square:
            raise ValueError(f"covariance must have shape {square}, found {np.shape(covariance)}")
        object.__setattr__(self, "covariance", frozen(covariance))

    @property
    def n_components(self) -> int:
        """Number of components, M."""
        return self.mixture.n_components

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Parameters of `covariance`: ``weight_1``, ..., ``mean_1``, ..., ``sigma_1``, ..., then any ``shape_1``."""
        numbers = range(1, self.n_components + 1)
        names = [f"{name}_{j}" for name in ("weight", "mean", "sigma") for j in numbers]
        shaped = np.flatnonzero(np.isfinite(self.mixture.shapes)) + 1
        return (*names, *(f"shape_{j}" for j in shaped))

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
        """The same fit, of values that have this unit."""
        return replace(self, unit=unit)

    def with_warning(self, text: str) -> FitResult:
        """The same fit with one more warning."""
        return replace(self, warnings=(*self.warnings, text))

    def with_rows(self, **known: Any) -> FitResult:
        """The same fit with what is known of its rows: error_model, error_dof, error_scale, weight_kind and dropped."""
        return replace(self, **known)

    def responsibilities(self, x: Any, err: Any = None) -> Array:
        """Probability that each value belongs to each component, given its own error.

        Parameters
        ----------
        x, err
            Values and errors as for `mixpipe.fit_mixture`, of the rows that were fitted or of others; those with units
            are converted to that of the fit. The errors are distributed as they were in the fit, and multiplied by its
            `error_scale`.

        Returns
        -------
        ndarray, shape (..., n_components)
            Probabilities, which sum to one over the last axis.

        Raises
        ------
        ValueError
            For values that are missing, and for units that cannot be converted.

        Examples
        --------
        >>> import mixpipe
        >>> fit = mixpipe.fit_mixture([1.2, 0.9, 1.1, 4.8, 5.3], err=0.1, n_components=2)
        >>> fit.responsibilities([1.3, 6.0], 0.1).round(3).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
        """
        from mixpipe.model.inputs import as_measured

        values, errors = as_measured(x, err, self.unit, self.error_model, self.error_dof, self.error_scale)
        return self.mixture.responsibilities(values, errors)

    def predict(self, x: Any, err: Any = None) -> NDArray[np.intp]:
        """The most probable component of each value, counted from 0, as in ``fit.mixture.means``.

        Parameters
        ----------
        x, err
            As in `responsibilities`.

        Examples
        --------
        >>> import mixpipe
        >>> fit = mixpipe.fit_mixture([1.2, 0.9, 1.1, 4.8, 5.3], err=0.1, n_components=2)
        >>> fit.predict([1.3, 6.0], 0.1)
        array([0, 1])
        """
        return np.asarray(np.argmax(self.responsibilities(x, err), axis=-1))

    def to_table(self) -> Any:
        """The components as an `astropy.table.QTable`, with uncertainties and units.

        Examples
        --------
        >>> import mixpipe
        >>> fit = mixpipe.fit_mixture([1.2, 0.9, 1.1, 4.8, 5.3], err=0.1, n_components=2)
        >>> fit.to_table()["mean"].round(2).tolist(), fit.to_table()["mean_unc"].round(2).tolist()
        ([1.07, 5.05], [0.07, 0.18])
        """
        # Imported through public names: tables stand above this module, and fits do not depend on their code.
        import mixpipe

        return mixpipe.components_table(self)

    def to_latex(self, layout: str = "tabular") -> str:
        """The components as a table of LaTeX; see `mixpipe.latex_table`.

        Parameters
        ----------
        layout : str
            ``tabular``, with the rules of the package booktabs; or ``deluxetable`` of AASTeX.
        """
        import mixpipe

        return str(mixpipe.latex_table(self, layout))

    def methods(self, markup: str = "text") -> str:
        """How the fit was made, as the paragraph of a paper; see `mixpipe.describe_methods`.

        Parameters
        ----------
        markup : str
            ``text``; ``latex``, with the commands of natbib for citations; or ``bibtex`` for the entries that these
            cite.
        """
        import mixpipe

        return str(mixpipe.describe_methods(self, markup))

    def summary(self) -> str:
        """The fit in plain text: components, criteria, and what is known of errors and rows.

        Examples
        --------
        >>> import mixpipe
        >>> x = [0.7, 0.9, 1.0, 1.2, 1.3, 4.6, 4.9, 5.1, 5.4]
        >>> print(mixpipe.fit_mixture(x, err=0.2, n_components=2).summary())
        2 components by em, N = 9, log-likelihood -6.30, BIC 23.59, converged
                weight           mean        sigma
        1  0.56 ± 0.17  1.020 ± 0.095  0.07 ± 0.19
        2  0.44 ± 0.17    5.00 ± 0.15  0.21 ± 0.14
        5 free parameters, AIC 22.61, ICL 23.59
        errors: symmetric
        """
        return "\n".join([repr(self), *self._facts()])

    def _facts(self) -> list[str]:
        """What is known beside the components: criteria, and errors."""
        numbers = ", ".join(f"{name.upper()} {getattr(self, name):.2f}" for name in ("aic", "icl"))
        lines = [f"{plural(self.n_params, 'free parameter')}, {numbers}"]
        if self.error_model:
            dof = "" if self.error_dof is None else f" with {self.error_dof:g} degrees of freedom"
            lines.append(f"errors: {self.error_model.replace('_', ' ')}{dof}")
        return lines

    def plot(
        self,
        x: Any = None,
        err: Any = None,
        weights: Any = None,
        *,
        label: str = "x",
        ax: Any = None,
        limits: Any = None,
        truncated: Any = None,
        detection: Any = None,
    ) -> Any:
        """Draw the data, the mixture as observed and the mixture with the errors removed.

        Parameters
        ----------
        x, err, weights
            The data that were fitted, which a fit does not keep. Without them, only the mixture is drawn.
        label : str
            Name of the values, for the title and the axis.
        ax : matplotlib.axes.Axes or None
            Axes to draw into, for a figure of several panels; by default a figure of its own.
        limits, truncated, detection
            As they were for the fit.

        Returns
        -------
        matplotlib.figure.Figure
            Notebooks show it; `savefig` writes it to a file.
        """
        import mixpipe

        rows = {"limits": limits, "truncated": truncated, "detection": detection}
        return mixpipe.plot_fit(self, x, err, weights, label=label, ax=ax, **rows)

    def bimodality(self, x: Any, err: Any = None, weights: Any = None, *, n_draws: int = 0, seed: int = 1) -> Any:
        """Evidence for two populations rather than one, of a fit with two components.

        Parameters
        ----------
        x, err, weights
            The data that were fitted, which a fit does not keep.
        n_draws : int
            Number of simulated catalogs for the p-value of the likelihood ratio; nan without any.
        seed : int
            Seed of the random streams.

        Returns
        -------
        mixpipe.model.bimodality.Bimodality

        Raises
        ------
        ValueError
            For a fit with another number of components.
        """
        import mixpipe

        return mixpipe.bimodality(self, x, err, weights, n_draws=n_draws, seed=seed)

    def __repr__(self) -> str:
        return as_text(*self.presented())

    def _repr_html_(self) -> str:
        return as_html(*self.presented())

    def presented(self) -> tuple[str, list[tuple[str, ...]], list[str]]:
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
            remarks.append(self.mixture.constraints[j].text)
            rows.append((str(j + 1), weight, mean, sigma, *[shape] * shaped, ", ".join(filter(None, remarks))))
        notes = [f"warning: {warning}" for warning in self.warnings]
        if self.dropped:
            notes.insert(0, f"left out: {describe_dropped(self.dropped)}")
        if self.error_scale != 1.0:
            notes.insert(0, f"all errors are multiplied by {measured(self.error_scale, self.error_scale_unc)}")
        return title, rows, notes


@dataclass(frozen=True, eq=False)
class Selection:
    """Fits with 1, 2, ... components, and the choice among them by a criterion.

    Parameters
    ----------
    fits : tuple of FitResult
        In order of their number of components.
    criterion : str
        ``bic``, ``aic`` or ``icl``.
    loglik_bound : float
        Upper bound on the log-likelihood of all mixtures, of any number of components, whose sigmas are at least
        `bound_sigma`; nan where it was not computed.
    bound_sigma : float
        Smallest sigma for which the bound holds, in the unit of the means: 0 or the floor for small data sets, and the
        width that the points of the sketch resolve for large ones.
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
        """The fit with the lowest criterion (see `judged`), or the smallest of those that differ only by rounding."""
        lowest = min(self.judged(fit) for fit in self.fits)
        equal = [fit for fit in self.fits if self.judged(fit) <= lowest + _EQUAL]
        return min(equal, key=lambda fit: fit.n_components)

    def judged(self, fit: FitResult) -> float:
        """The number by which fits are compared: the criterion, which presumes regular maxima, plus twice `occam`."""
        return float(getattr(fit, self.criterion)) + 2.0 * fit.occam

    def with_unit(self, unit: Any) -> Selection:
        """The same fits, of values that have this unit."""
        return replace(self, fits=tuple(fit.with_unit(unit) for fit in self.fits))

    def with_rows(self, **known: Any) -> Selection:
        """The same fits, with what is known of their rows; see `FitResult.with_rows`."""
        return replace(self, fits=tuple(fit.with_rows(**known) for fit in self.fits))

    def with_warning(self, text: str) -> Selection:
        """The same fits, with one more warning on the best."""
        best = self.best
        return replace(self, fits=tuple(fit.with_warning(text) if fit is best else fit for fit in self.fits))

    def __repr__(self) -> str:
        return f"{as_text(*self.presented())}\n\n{self.best!r}"

    def _repr_html_(self) -> str:
        return as_html(*self.presented()) + self.best._repr_html_()

    def presented(self) -> tuple[str, list[tuple[str, ...]]]:
        """Title and table."""
        best = self.best
        rows: list[tuple[str, ...]] = [("", "log-likelihood", "BIC", "AIC", "ICL", "")]
        for fit in self.fits:
            numbers = (f"{number:.2f}" for number in (fit.loglik, fit.bic, fit.aic, fit.icl))
            remarks = [fit.mixture.family] * (not fit.mixture.is_gaussian) + ["selected"] * (fit is best)
            if fit.occam > 0.0:
                remarks.append(f"judged at {self.judged(fit):.2f}" if fit.occam < math.inf else "not determined")
            rows.append((str(fit.n_components), *numbers, ", ".join(remarks)))
        return f"number of components by {self.criterion.upper()}", rows

    def plot(self, *, label: str = "") -> Any:
        """Draw the criteria above their minimum, against the number of components.

        Parameters
        ----------
        label : str
            Title.

        Returns
        -------
        matplotlib.figure.Figure
            Notebooks show it; `savefig` writes it to a file.
        """
        import mixpipe

        return mixpipe.plot_selection(self, label=label)

    def to_table(self) -> Any:
        """The rows of `table` as an `astropy.table.Table`."""
        import mixpipe

        return mixpipe.selection_table(self)

    def to_latex(self, layout: str = "tabular") -> str:
        """The fits and their criteria as a table of LaTeX; the components of one are ``selection.best.to_latex()``.

        Parameters
        ----------
        layout : str
            ``tabular``, with the rules of the package booktabs; or ``deluxetable`` of AASTeX.
        """
        import mixpipe

        return str(mixpipe.latex_table(self, layout))

    def methods(self, markup: str = "text") -> str:
        """How the best fit was made and chosen, as the paragraph of a paper; see `FitResult.methods`."""
        import mixpipe

        return str(mixpipe.describe_methods(self, markup))

    def summary(self) -> str:
        """The choice and the best fit in plain text."""
        return f"{as_text(*self.presented())}\n\n{self.best.summary()}"

    def table(self) -> pd.DataFrame:
        """One row per number of components.

        Returns
        -------
        pandas.DataFrame
            n_components, n_params, loglik, bic, aic, icl, delta_bic, converged, selected, gradient_max, loglik_bound,
            bound_sigma, family, bic_weight (the relative weight by BIC: the fit's share of the sum of exp(-delta_bic /
            2)), exact (whether the fit is that of all rows rather than of a sketch), and occam (nats that the choice
            subtracts from the log-likelihood for components that rest on a few rows, on the grain of the values, or on
            rows with large importance weights).
        """
        import pandas as pd

        return pd.DataFrame(self.records())

    def records(self) -> list[dict[str, Any]]:
        """The rows of `table` as dictionaries of plain Python values."""
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
