"""The verdict on the differences of two fits, one of four, by the table in docs/comparison.md."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import pinvh
from scipy.special import chdtrc, ndtr

from mixpipe.model.results import Array

CONCLUSION_CHANGED, SHIFTED, SHARPENED, UNCHANGED = "conclusion changed", "shifted", "sharpened", "unchanged"
# In order from the largest change to none.
VERDICTS = (CONCLUSION_CHANGED, SHIFTED, SHARPENED, UNCHANGED)
# The verdict on a column that has no fit in one of the releases.
NOT_COMPARED = "not compared"

# A difference in BIC above this is strong evidence (Kass & Raftery 1995).
_EVIDENCE = 6.0
# Probability that a column is called shifted by chance, for each mean individually and for all parameters together.
# Means matter most: one that is shifted by 3 joint uncertainties must be detected in 85 of 100 cases, which no test of
# a lower level achieves if the mean is independent of the other parameters.
_LEVEL = 0.05
# The same probability for the other parameters individually, with Bonferroni's bound for their number.
_RARE = 0.01
# Directions in parameter space in which the variance of the difference is below this fraction of its variances are
# omitted, because the error of the linear response is larger there.
_FLAT = 1e-4
# Uncertainties are clearly smaller if they shrink by this factor, which corresponds to 1.6 times as much information.
_SHARPER = 0.8


@dataclass(frozen=True)
class Difference:
    """One parameter in both fits; nan where a fit does not have it.

    Components are counted from 1, and 0 means none. `significance` is in units of the joint uncertainty; it is
    undefined for a sigma on the boundary, for which an upper limit (95 %) is given instead.
    """

    status: str
    component_old: int
    component_new: int
    parameter: str
    old: float = math.nan
    old_unc: float = math.nan
    old_upper: float = math.nan
    new: float = math.nan
    new_unc: float = math.nan
    new_upper: float = math.nan
    joint_unc: float = math.nan

    @property
    def difference(self) -> float:
        """The new value minus the old one."""
        return self.new - self.old

    @property
    def significance(self) -> float:
        """The difference in units of its uncertainty."""
        return self.difference / self.joint_unc if self.joint_unc > 0.0 else math.nan


def decide(
    size_old: int,
    size_new: int,
    n_matched: int,
    evidence: float,
    differences: Sequence[Difference],
    pvalue: float = math.nan,
) -> tuple[str, list[str]]:
    """The verdict on a column, by the table in docs/comparison.md, with remarks about it.

    Parameters
    ----------
    size_old, size_new : int
        Numbers of components.
    n_matched : int
        Number of components that are in both fits.
    evidence : float
        See `Comparison`; nan if it is not known.
    differences : sequence of Difference
        Of all parameters.
    pvalue : float
        See `Comparison`.
    """
    if n_matched < min(size_old, size_new):
        return CONCLUSION_CHANGED, []
    if size_old != size_new:
        if evidence < _EVIDENCE:
            return UNCHANGED, [
                f"M went from {size_old} to {size_new}, which the new data prefer by {evidence:.1f} in BIC only "
                f"({_EVIDENCE:g} is evidence)"
            ]
        unknown = [f"M went from {size_old} to {size_new}; the fits do not say with what evidence"]
        return CONCLUSION_CHANGED, unknown if math.isnan(evidence) else []
    single = _significant(differences)
    together = pvalue < _LEVEL
    if any(not abs(each.difference) <= each.old_unc for each in single):
        return SHIFTED, []
    if together and any(abs(each.difference) > each.old_unc for each in differences):
        return SHIFTED, [f"no difference is significant by itself, all together are, with p = {pvalue:.2g}"]
    remarks = []
    if single or together:
        remarks.append("there are significant differences, but none is larger than the old uncertainty")
    ratios = [each.new_unc / each.old_unc for each in differences if each.old_unc > 0.0 and each.new_unc > 0.0]
    if ratios and float(np.exp(np.mean(np.log(ratios)))) <= _SHARPER:
        return SHARPENED, remarks
    return UNCHANGED, remarks


def _significant(differences: Sequence[Difference]) -> list[Difference]:
    """Differences that are rare by chance: of each mean individually, and of other parameters by Bonferroni's bound."""
    tested = [each for each in differences if math.isfinite(each.significance)]
    others = [each for each in tested if each.parameter != "mean"]
    # Because the weights sum to one, the last one is redundant.
    n_others = len(others) - any(each.parameter == "weight" for each in others)
    return [
        each
        for each in tested
        if 2.0 * ndtr(-abs(each.significance)) < (_LEVEL if each.parameter == "mean" else _RARE / n_others)
    ]


def joint_pvalue(differences: Sequence[Difference], covariance: Array) -> float:
    """Probability, from chi-square, that the differences of all parameters together are as large by chance.

    Parameters
    ----------
    differences : sequence of Difference
        Differences of all parameters; those without a significance are ignored.
    covariance : ndarray
        Covariance of the differences of matched components, in the same order.

    Returns
    -------
    float
        The probability; nan if no difference has a variance.

    Examples
    --------
    For two independent differences it is exp(-chi^2 / 2):

    >>> known = [Difference("matched", j, j, "mean", old=0.0, new=3.0, joint_unc=2.0) for j in (1, 2)]
    >>> round(joint_pvalue(known, 4.0 * np.eye(2)), 6) == round(math.exp(-(1.5**2)), 6)
    True
    """
    matched = [each for each in differences if each.status == "matched"]
    tested = [place for place, each in enumerate(matched) if math.isfinite(each.significance)]
    if not tested:
        return math.nan
    sizes = np.array([matched[place].joint_unc for place in tested])
    scaled = np.array([matched[place].significance for place in tested])
    correlation = covariance[np.ix_(tested, tested)] / np.outer(sizes, sizes)
    inverse, n_directions = pinvh(correlation, atol=_FLAT, rtol=0.0, return_rank=True)
    return float(chdtrc(n_directions, scaled @ inverse @ scaled)) if n_directions else math.nan
