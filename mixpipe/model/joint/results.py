"""A fit of several columns and its uncertainties."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixpipe.base.arrays import Array, frozen
from mixpipe.base.presentation import measured
from mixpipe.model.joint.inputs import rows_in_units
from mixpipe.model.joint.mixture import JointMixture
from mixpipe.model.resolution import Resolution
from mixpipe.model.results import FitResult


@dataclass(frozen=True, eq=False)
class JointUncertainties:
    """One-sigma uncertainties; nan where there are none.

    Parameters
    ----------
    weights : ndarray, shape (n_components,)
    means, sigmas : ndarray, shape (n_components, n_dims)
    correlations, covariances : ndarray, shape (n_components, n_dims, n_dims)
    """

    weights: Array
    means: Array
    sigmas: Array
    correlations: Array
    covariances: Array

    def __post_init__(self) -> None:
        for name in ("weights", "means", "sigmas", "correlations", "covariances"):
            object.__setattr__(self, name, frozen(getattr(self, name)))

    def reordered(self, order: NDArray[np.intp]) -> JointUncertainties:
        """The same for components in another order."""
        return JointUncertainties(
            self.weights[order],
            self.means[order],
            self.sigmas[order],
            self.correlations[order],
            self.covariances[order],
        )

    @classmethod
    def unknown(cls, n_components: int, n_dims: int) -> JointUncertainties:
        """Unknown uncertainties, all of them nan."""
        shape = (n_components, n_dims)
        return cls(np.full(n_components, np.nan), *np.full((2, *shape), np.nan), *np.full((2, *shape, n_dims), np.nan))


@dataclass(frozen=True, eq=False, repr=False)
class JointFit(FitResult):
    """A mixture fitted to several columns jointly.

    It has the attributes of a `FitResult`; those that are listed here differ or are added.

    Parameters
    ----------
    mixture : JointMixture
    uncertainties : JointUncertainties
        From the curvature of the log-likelihood; for a singular covariance, along the singular ones.
    boundary : ndarray of bool, shape (n_components,)
        Whether the covariance of a component is singular, or at the floor in some direction.
    structure : str
        ``full``, ``diagonal``, ``spherical`` or ``equal``.
    rank : ndarray of int, shape (n_components,)
        Number of directions in which a component has a width, or more than that of the floor.
    null_directions : tuple of ndarray, shape (n_dims - rank, n_dims) each
        Unit vectors, in the units of the columns, along which a component has no width.
    null_limits : tuple of ndarray, shape (n_dims - rank,) each
        Upper limits at 95 % of the widths along them.
    n_params_by_rank : int
        Number of free parameters if a covariance of rank r counts r (2 d - r + 1) / 2; `n_params`, which BIC uses,
        counts it in full.
    covariance : ndarray, shape (n, n)
        Covariance of the parameters named in `parameter_names`.
    parameter_names : tuple of str
        ``weight_1``, ``mean_1_A`` and ``cov_1_A_B``, with components counted from 1.
    resolutions : tuple of Resolution
        The floor of each column and its cause.
    dropped : dict of str to int
        Rows that were left out, by reason.
    units : tuple
        Units of the columns; None for those without.
    """

    mixture: JointMixture  # type: ignore[assignment]
    uncertainties: JointUncertainties = None  # type: ignore[assignment]
    structure: str = "full"
    rank: NDArray[np.intp] = field(default_factory=lambda: np.zeros(0, dtype=np.intp))
    null_directions: tuple[Array, ...] = ()
    null_limits: tuple[Array, ...] = ()
    n_params_by_rank: int = 0
    parameter_names: tuple[str, ...] = ()  # type: ignore[assignment]
    resolutions: tuple[Resolution, ...] = ()
    dropped: dict[str, int] = field(default_factory=dict)
    units: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        if self.uncertainties is None:
            unknown = JointUncertainties.unknown(self.mixture.n_components, self.mixture.n_dims)
            object.__setattr__(self, "uncertainties", unknown)
        super().__post_init__()
        object.__setattr__(self, "units", tuple(self.units) or (None,) * self.mixture.n_dims)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return self.mixture.names

    def responsibilities(self, x: Any, err: Any = None, cov: Any = None) -> Array:
        """Probability that each row belongs to each component, given its own errors.

        Parameters
        ----------
        x, err, cov
            Rows as for `mixpipe.fit_mixture`, those that were fitted or others, in the columns of the fit; columns with
            units are converted to those of the fit. A row without any value has the weights of the components.

        Returns
        -------
        ndarray, shape (n, n_components)
            Probabilities, which sum to one over the last axis.
        """
        return self.mixture.responsibilities(*rows_in_units(self.names, self.units, x, err, cov))

    def predict(self, x: Any, err: Any = None, cov: Any = None) -> NDArray[np.intp]:
        """The most probable component of each row, counted from 0; see `responsibilities`."""
        return np.asarray(np.argmax(self.responsibilities(x, err, cov), axis=-1))

    def plot(  # type: ignore[override]
        self,
        x: Any = None,
        err: Any = None,
        weights: Any = None,
        *,
        label: str = "",
        ax: Any = None,
        cov: Any = None,
    ) -> Any:
        """Draw every pair of columns with the ellipses of the components, and every column with its marginal mixture.

        Parameters
        ----------
        x, err, weights
            The data that were fitted, which a fit does not keep. Without them, only the mixture is drawn.
        label : str
            Title; by default the names of the columns.
        ax : None
            A figure of several columns has panels of its own.
        cov : array_like, shape (n_data, n_dims, n_dims), or None
            Covariances of the errors, instead of `err`.

        Returns
        -------
        matplotlib.figure.Figure
            Notebooks show it; `savefig` writes it to a file.
        """
        import mixpipe

        return mixpipe.plot_fit(self, x, err, weights, label=label or ", ".join(self.names), ax=ax, cov=cov)

    def presented(self) -> tuple[str, list[tuple[str, ...]], list[str]]:
        """Title, table and notes."""
        mixture, unc = self.mixture, self.uncertainties
        count = f"{self.n_components} component{'s' if self.n_components > 1 else ''}"
        state = "converged" if self.converged else "NOT CONVERGED"
        title = f"{count} in {mixture.n_dims} columns, N = {self.n_data:g}, log-likelihood {self.loglik:.2f}, "
        title += f"BIC {self.bic:.2f}, {state}"
        units = ["" if unit is None else f" [{unit}]" for unit in self.units]
        rows: list[tuple[str, ...]] = [("", "weight", "column", "mean", "sigma", "correlations", "")]
        for j in range(self.n_components):
            for a, name in enumerate(self.names):
                pairs = (
                    f"{self.names[b]}: {measured(mixture.correlations[j, a, b], unc.correlations[j, a, b])}"
                    for b in range(a + 1, mixture.n_dims)
                )
                first = (str(j + 1), measured(mixture.weights[j], unc.weights[j])) if a == 0 else ("", "")
                rank = f"rank {self.rank[j]}" if a == 0 and self.boundary[j] else ""
                mean = measured(mixture.means[j, a], unc.means[j, a])
                sigma = measured(mixture.sigmas[j, a], unc.sigmas[j, a])
                rows.append((*first, name + units[a], mean, sigma, ", ".join(pairs), rank))
        return title, rows, [f"warning: {warning}" for warning in self.warnings]
