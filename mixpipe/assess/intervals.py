"""Intervals of the parameters of a mixture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.special import expit, logit, ndtri

from mixpipe.model.families import FAMILIES
from mixpipe.model.mixture import Mixture
from mixpipe.model.results import Array, Uncertainties


@dataclass(frozen=True, eq=False)
class Intervals:
    """Lower and upper ends of the intervals of a mixture's parameters.

    Parameters
    ----------
    weights, means, sigmas, shapes : ndarray, shape (2, n_components)
        Lower ends in the first row and upper ends in the second; nan where an interval is unknown.
    """

    weights: Array
    means: Array
    sigmas: Array
    shapes: Array = field(default_factory=lambda: np.empty(0))

    def __post_init__(self) -> None:
        if not np.size(self.shapes):
            object.__setattr__(self, "shapes", np.full(np.shape(self.weights), np.nan))

    @classmethod
    def from_uncertainties(cls, mixture: Mixture, unc: Uncertainties, level: float = 0.68) -> Intervals:
        """Normal intervals of the means, of logit w and of ln sigma; also of the logarithm of a positive shape.

        On these scales the estimates are more nearly normal than the parameters themselves, and the ends of the
        intervals are always possible values.

        Parameters
        ----------
        mixture : Mixture
            The estimates.
        unc : Uncertainties
            One-sigma uncertainties of the estimates.
        level : float
            Probability of the interval, between 0 and 1.

        Examples
        --------
        >>> unc = Uncertainties([0.1, 0.1], [1.0, 1.0], [0.2, np.nan])
        >>> intervals = Intervals.from_uncertainties(Mixture([0.8, 0.2], [0.0, 9.0], [1.0, 0.0]), unc)
        >>> intervals.weights.round(3)
        array([[0.682, 0.118],
               [0.882, 0.318]])
        >>> intervals.sigmas.round(3)
        array([[0.82, nan],
               [1.22, nan]])
        """
        z = np.array([[-1.0], [1.0]]) * check_level(level)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            weights = expit(logit(mixture.weights) + z * unc.weights / (mixture.weights * (1.0 - mixture.weights)))
            sigmas = mixture.sigmas * np.exp(z * unc.sigmas / mixture.sigmas)
            in_log = mixture.shapes * np.exp(z * unc.shapes / mixture.shapes)
        positive = [FAMILIES[name].shape_bounds[0] > 0.0 for name in mixture.families]
        shapes = np.where(positive, in_log, mixture.shapes + z * unc.shapes)
        certain = unc.weights == 0.0
        return cls(np.where(certain, mixture.weights, weights), mixture.means + z * unc.means, sigmas, shapes)


def of_few_rows(rows: Iterable[Mapping[str, Any]], component: int) -> dict[str, tuple[float, float]]:
    """The 95 % profile intervals of the mean and sigma of a component, from rows of intervals.csv; empty if the
    uncertainties say enough.

    >>> row = {"method": "profile", "component": 1, "parameter": "mean", "level": 0.95, "lower": 1.0, "upper": 3.0}
    >>> of_few_rows([row], 1), of_few_rows([row], 2)
    ({'mean': (1.0, 3.0)}, {})
    """
    return {
        row["parameter"]: (row["lower"], row["upper"])
        for row in rows
        if (row["method"], row["component"], row["level"]) == ("profile", component, 0.95)
        and row["parameter"] in ("mean", "sigma")
    }


def check_level(level: float) -> float:
    """Check a probability, and return the half-width, in standard deviations, of the normal interval that has it."""
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must be between 0 and 1, found {level}")
    return float(ndtri(0.5 + 0.5 * level))
