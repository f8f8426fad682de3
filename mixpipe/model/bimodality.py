"""What is usually reported of two populations, as a value type."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mixpipe.base.presentation import as_html, as_text, chance, count, measured, typeset

# Components with a larger separation are clearly separated (Ashman, Bird & Zepf 1994).
CLEAR = 2.0
# Number of uniform samples from which the p-value of the dip is computed.
DIP_DRAWS = 999
# A p-value of the dip that is larger than this is no sign of a second mode.
_CHANCE = 0.05


@dataclass(frozen=True)
class Bimodality:
    """Evidence for two populations, of a fit with two components; nan where something was not computed.

    Parameters
    ----------
    n_selected : int
        Number of components that the criterion chose; the other attributes are those of the fit with two.
    family : str
        Family of the components.
    separation, separation_unc : float
        Ashman's ``D = sqrt(2) |m_1 - m_2| / sqrt(s_1^2 + s_2^2)``, with measurement errors removed, and its
        uncertainty.
    likelihood_ratio : float
        Twice the gain in log-likelihood over one component.
    likelihood_ratio_pvalue : float
        Probability of at least this gain if there is one component, from simulated catalogs.
    n_draws : int
        Number of these catalogs.
    dip : float
        Hartigan's dip of the observed values, measurement errors included.
    dip_pvalue : float
        Probability of at least this dip in a sample of a uniform distribution.
    kurtosis : float
        Excess kurtosis of the observed values, measurement errors included.
    kurtosis_intrinsic : float
        Excess kurtosis of the mixture, from which measurement errors are removed; nan unless its components are
        Gaussian.
    n_values : int
        Number of rows of which `dip` and `kurtosis` are.
    """

    n_selected: int
    family: str
    separation: float
    separation_unc: float
    likelihood_ratio: float
    likelihood_ratio_pvalue: float
    n_draws: int
    dip: float
    dip_pvalue: float
    kurtosis: float
    kurtosis_intrinsic: float
    n_values: int

    def __repr__(self) -> str:
        return as_text(*self.presented())

    def _repr_html_(self) -> str:
        return as_html(*self.presented())

    def presented(self) -> tuple[str, list[tuple[str, ...]]]:
        """Title and table: name, value, p-value and remark of each quantity."""
        distance = _number(self.separation, self.separation_unc)
        gain, p_gain = _number(self.likelihood_ratio), _chance(self.likelihood_ratio_pvalue, self.n_draws)
        dip, p_dip = _number(self.dip), _chance(self.dip_pvalue, DIP_DRAWS)
        clear = f"not above {CLEAR:g}"
        if self.separation > CLEAR:
            doubtful = self.separation - self.separation_unc < CLEAR
            clear = f"above {CLEAR:g}" + (" by less than its uncertainty" if doubtful else ": clearly separated")
        modes = ""
        if not math.isnan(self.dip_pvalue):
            modes = ": consistent with one mode" if self.dip_pvalue > _CHANCE else ": more than one mode"
        chosen = "" if self.n_selected == 2 else f" (chosen: {self.n_selected})"
        return f"two components{chosen}", [
            ("", "value", "p", ""),
            ("separation (Ashman's D)", distance, "", "" if math.isnan(self.separation) else clear),
            ("2 ln(likelihood ratio)", gain, p_gain, "two components against one"),
            ("dip", dip, p_dip, f"of {count(self.n_values)} observed values{modes}"),
            ("kurtosis", _number(self.kurtosis), "", "of the observed values"),
            ("kurtosis, errors removed", _number(self.kurtosis_intrinsic), "", "of the mixture"),
        ]


def _number(value: float, unc: float = math.nan) -> str:
    if not math.isfinite(value):
        return "–"
    if math.isfinite(unc):
        return measured(value, unc)
    return typeset(f"{value:.3g}" if abs(value) < 1000.0 else f"{value:,.0f}")


def _chance(p: float, n_draws: int) -> str:
    return "–" if math.isnan(p) else chance(p, n_draws).removeprefix("= ")
