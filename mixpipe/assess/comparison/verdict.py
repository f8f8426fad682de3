"""The verdict on the differences of two fits, one of four, by the table in docs/comparison.md."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from mixpipe.base.presentation import typeset

CONCLUSION_CHANGED, SHIFTED, SHARPENED, UNCHANGED = "conclusion changed", "shifted", "sharpened", "unchanged"
# In order from the largest change to none.
VERDICTS = (CONCLUSION_CHANGED, SHIFTED, SHARPENED, UNCHANGED)
# The verdict on a column that has no fit in one of the releases.
NOT_COMPARED = "not compared"

# A difference in BIC above this is strong evidence (Kass & Raftery 1995).
_EVIDENCE = 6.0
# Probability that a column whose population is the same is called changed, that any column of a release is if all
# populations are the same, and that Holm's procedure names any parameter without a change.
_LEVEL = 0.05
# Single differences of more than this many joint uncertainties are hints.
_HINT = 2.0
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

    @property
    def pvalue(self) -> float:
        """Two-sided probability of the significance."""
        return float(2.0 * ndtr(-abs(self.significance)))

    @property
    def label(self) -> str:
        """Parameter, component and significance in a few words; the component is that of the new fit."""
        return f"{self.parameter} {self.component_new} ({self.significance:+.1f}σ)"


@dataclass(frozen=True)
class ColumnTest:
    """The test of a column for one population in both releases.

    Parameters
    ----------
    pvalue : float
        Probability of differences as improbable as these if the population is the same; nan if it is not known.
    pvalue_release : float
        The p-value adjusted for all columns that were compared, which decides; that of the column if it is alone.
    n_columns : int
        Number of these columns.
    noun : str
        What they are called.
    """

    pvalue: float
    pvalue_release: float
    n_columns: int = 1
    noun: str = "columns"

    @property
    def is_known(self) -> bool:
        """Whether there is a p-value."""
        return math.isfinite(self.pvalue_release)

    @property
    def rejects(self) -> bool:
        """Whether the population has changed."""
        return self.pvalue_release <= _LEVEL

    def __str__(self) -> str:
        """The p-values in words."""
        if not self.is_known:
            return "no p-value"
        of_release = _chance(self.pvalue_release).removeprefix("= ")
        over = f" ({of_release} over {self.n_columns} {self.noun})" if self.n_columns > 1 else ""
        return f"p {_chance(self.pvalue)}{over}"


def _chance(pvalue: float) -> str:
    """A p-value, or a bound where nothing but its smallness is known.

    >>> _chance(0.0012), _chance(0.0)
    ('= 0.0012', '< 1e-99')
    """
    return f"= {pvalue:.2g}" if pvalue >= 1e-99 else "< 1e-99"


@dataclass(frozen=True)
class Judgement:
    """What is concluded from the differences of two fits.

    Parameters
    ----------
    verdict : str
        One of `VERDICTS`.
    criteria : tuple of (str, str)
        The evidence on which the verdict rests, in words and numbers, each with its threshold.
    findings : tuple of str
        Of each difference ``shifted``, ``hint``, or nothing.
    shifted : str
        Parameters that are shifted, or ``together`` if only all of them together are.
    hints : str
        Differences of more than two joint uncertainties that are not shifts.
    notes : tuple of str
        Remarks on the verdict.
    """

    verdict: str
    criteria: tuple[tuple[str, str], ...]
    findings: tuple[str, ...]
    shifted: str
    hints: str
    notes: tuple[str, ...]

    @property
    def evidence(self) -> str:
        """All that the verdict rests on."""
        return "; ".join(evidence for evidence, _ in self.criteria)

    @property
    def threshold(self) -> str:
        """The threshold of each piece of evidence."""
        return "; ".join(threshold for _, threshold in self.criteria)

    @property
    def basis(self) -> str:
        """Evidence and thresholds side by side."""
        return basis(self.evidence, self.threshold)


def basis(evidence: str, threshold: str) -> str:
    """Each piece of evidence beside its threshold; nothing where there is none.

    >>> basis("p = 0.003; evidence -6.5 in BIC", "0.05; 6")
    'p = 0.003, threshold 0.05; evidence −6.5 in BIC, threshold 6'
    """
    pairs = zip(evidence.split("; "), threshold.split("; "), strict=True)
    return "; ".join(typeset(f"{each}, threshold {bound}") for each, bound in pairs if each)


def decide(
    size_old: int,
    size_new: int,
    n_matched: int,
    delta_bic: float,
    differences: Sequence[Difference],
    test: ColumnTest,
    unc_ratio: float = math.nan,
) -> Judgement:
    """The verdict on a column, by the table in docs/comparison.md.

    Parameters
    ----------
    size_old, size_new : int
        Numbers of components.
    n_matched : int
        Number of components that are in both fits.
    delta_bic : float
        See `Comparison`; nan if it is not known.
    differences : sequence of Difference
        Of all parameters.
    test : ColumnTest
        The test for one population.
    unc_ratio : float
        See `mixpipe.assess.comparison.pooled.PooledTest`; nan if it is not known.
    """
    resized = size_old != size_new
    unmatched = n_matched < min(size_old, size_new)
    other_components = unmatched or (resized and not delta_bic < _EVIDENCE)
    criteria = [(str(test), f"{_LEVEL:g}")] if test.is_known else []
    if resized and math.isfinite(delta_bic):
        criteria.append((f"evidence {delta_bic:.1f} in BIC", f"{_EVIDENCE:g}"))
    notes = _notes_on_components(size_old, size_new, unmatched, delta_bic, test)
    verdict, named = UNCHANGED, None
    if test.rejects or not test.is_known:
        named = _named(differences) if test.rejects else None
        if other_components:
            verdict = CONCLUSION_CHANGED
        elif test.rejects:
            verdict = SHIFTED
            notes += _notes_on_shifts(differences, named or set())
    if verdict == UNCHANGED:
        ratio = max(_ratio_of_uncertainties(differences), unc_ratio if math.isfinite(unc_ratio) else 0.0)
        if resized:
            more = size_new > size_old and delta_bic >= _EVIDENCE and not unmatched
            verdict = SHARPENED if more else UNCHANGED
        elif not unmatched and ratio <= _SHARPER:
            verdict = SHARPENED
            criteria.append((f"uncertainties {ratio:.2f} of the old ones", f"{_SHARPER:g}"))
    findings = tuple(
        "shifted" if named and place in named else "hint" if abs(each.significance) > _HINT else ""
        for place, each in enumerate(differences)
    )
    shifted, hints = (
        ", ".join(each.label for each, finding in zip(differences, findings, strict=True) if finding == word)
        for word in ("shifted", "hint")
    )
    return Judgement(
        verdict=verdict,
        criteria=tuple(criteria) or (("no p-value", f"{_LEVEL:g}"),),
        findings=findings,
        shifted=shifted or ("together" if verdict == SHIFTED else ""),
        hints=hints,
        notes=tuple(notes),
    )


def _notes_on_components(
    size_old: int, size_new: int, unmatched: bool, delta_bic: float, test: ColumnTest
) -> list[str]:
    notes = []
    change = f"M went from {size_old} to {size_new}"
    if size_old != size_new:
        if math.isnan(delta_bic):
            notes.append(f"{change}; the fits do not say with what evidence")
        elif delta_bic < _EVIDENCE:
            notes.append(
                f"{change}, which the new data prefer by {delta_bic:.1f} in BIC only ({_EVIDENCE:g} is evidence)"
            )
        elif test.is_known and not test.rejects:
            notes.append(f"{change}, but the rows of both releases are compatible with one population")
    elif unmatched and test.is_known and not test.rejects:
        notes.append("components have no counterpart, but the rows of both releases are compatible with one population")
    if not test.is_known and (unmatched or size_old != size_new):
        notes.append("judged by the components alone: the rate of false alarms is not known")
    return notes


def _notes_on_shifts(differences: Sequence[Difference], named: set[int]) -> list[str]:
    notes = []
    if not named:
        notes.append("no difference is significant by itself, but all are together")
    judged = [each for each in differences if each.status == "matched" and math.isfinite(each.significance)]
    if judged and all(abs(each.difference) <= each.old_unc for each in judged):
        notes.append("none of the differences is larger than the old uncertainty")
    return notes


def _ratio_of_uncertainties(differences: Sequence[Difference]) -> float:
    """Geometric mean of the ratios of new to old uncertainties; infinite if there are none."""
    ratios = [each.new_unc / each.old_unc for each in differences if each.old_unc > 0.0 and each.new_unc > 0.0]
    return float(np.exp(np.mean(np.log(ratios)))) if ratios else math.inf


def _named(differences: Sequence[Difference]) -> set[int]:
    """Places of the differences that Holm's step-down procedure (1979) finds."""
    tested = sorted((each.pvalue, place) for place, each in enumerate(differences) if math.isfinite(each.significance))
    named: set[int] = set()
    for rank, (pvalue, place) in enumerate(tested):
        if pvalue > _LEVEL / (len(tested) - rank):
            break
        named.add(place)
    return named


def adjusted_pvalues(pvalues: Sequence[float]) -> list[float]:
    """P-values adjusted for the false discovery rate over all of them (Benjamini & Hochberg 1995); nan is left out.

    Examples
    --------
    >>> adjusted_pvalues([0.01, 0.5, math.nan, 0.02])
    [0.03, 0.5, nan, 0.03]
    """
    known = sorted((pvalue, place) for place, pvalue in enumerate(pvalues) if math.isfinite(pvalue))
    adjusted = [math.nan] * len(pvalues)
    lowest = 1.0
    for rank, (pvalue, place) in reversed(list(enumerate(known, start=1))):
        lowest = min(lowest, pvalue * len(known) / rank)
        adjusted[place] = lowest
    return adjusted


def bonferroni_pvalue(differences: Sequence[Difference]) -> float:
    """Bonferroni's bound for the most significant difference of all parameters, whatever their covariance.

    Examples
    --------
    >>> far = Difference("matched", 1, 1, "mean", old=0.0, new=3.0, joint_unc=1.0)
    >>> near = Difference("matched", 1, 1, "sigma", old=1.0, new=1.5, joint_unc=1.0)
    >>> round(bonferroni_pvalue([far, near]), 4)
    0.0054
    """
    pvalues = [each.pvalue for each in differences if math.isfinite(each.significance)]
    return min(1.0, len(pvalues) * min(pvalues)) if pvalues else math.nan
