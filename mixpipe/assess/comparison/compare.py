"""The comparison of two fits: which components match, which parameters differ and how significantly, and a verdict."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from mixpipe.assess.comparison.influence import Common, Influence, NoInfluence, covariance_of_differences
from mixpipe.assess.comparison.pooled import GAIN, PooledTest, pooled_test
from mixpipe.assess.comparison.verdict import (
    ColumnTest,
    Difference,
    Judgement,
    adjusted_pvalues,
    bonferroni_pvalue,
    decide,
)
from mixpipe.fitting.contract import Demands
from mixpipe.fitting.engine import engine_for
from mixpipe.model.cells import Cells
from mixpipe.model.mixture import Mixture
from mixpipe.model.results import Array, FitResult

if TYPE_CHECKING:
    import pandas as pd

# Bhattacharyya distance above which two components are different populations. It is that of two components of equal
# width that are 2 widths apart, or of two of which one is five times as wide as the other.
PRICE = 0.5
# Mixtures whose means lie more than this many times the larger of their widths apart are hardly of one quantity.
_ABSURD = 10.0
# If fewer rows than this are revised, the sum of their effects is not normally distributed.
FEW_REVISED = 10

PARAMETERS = ("weight", "mean", "sigma")
# Keys of `summary_row`.
SUMMARY_COLUMNS = (
    "verdict",
    "evidence",
    "threshold",
    "shifted",
    "hints",
    "n_components_old",
    "n_components_new",
    "delta_bic",
    "delta_bic_old",
    "gain",
    "distance",
    "significance",
    "pvalue",
    "pvalue_release",
    "n_columns",
    "n_old",
    "n_new",
    "n_common",
    "n_added",
    "n_dropped",
    "n_revised",
    "n_moved",
    "note",
)


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fit with its rows.

    Parameters
    ----------
    fit : FitResult
        The fit.
    cells : Cells
        One cell per row.
    component : ndarray of int, shape (n_rows,)
        The component to which each row most probably belongs, counted from 0.
    selection : sequence of (int, float)
        Number of components and BIC of each fit that was considered for the choice.
    sigma_upper : ndarray, shape (n_components,)
        Upper limits of the sigmas on the boundary; nan for other sigmas.
    error_scale : float
        Factor by which the errors of the cells have been multiplied.
    """

    fit: FitResult
    cells: Cells
    component: NDArray[np.intp]
    selection: Sequence[tuple[int, float]]
    sigma_upper: Array
    error_scale: float = 1.0

    def bic_of(self, n_components: int) -> float:
        """The lowest BIC with this number of components; nan if it was not considered."""
        return bic_of(self.selection, n_components)


def bic_of(selection: Iterable[tuple[int, float]], n_components: int) -> float:
    """The lowest BIC with this number of components; nan if it was not considered."""
    return min((bic for size, bic in selection if size == n_components), default=math.nan)


@dataclass(frozen=True)
class Rows:
    """Numbers of rows in the fits, in common, and changed; nan for numbers that are unknown without keys."""

    n_old: int
    n_new: int
    n_common: float = math.nan
    n_added: float = math.nan
    n_dropped: float = math.nan
    n_revised: float = math.nan
    n_moved: float = math.nan


@dataclass(frozen=True, eq=False)
class Comparison:
    """The comparison of two fits.

    Parameters
    ----------
    old, new : FitResult
        The fits, in the same unit.
    pairs : tuple of (int, int)
        Matched components, counted from 0.
    differences : tuple of Difference
        Differences of all parameters.
    delta_bic : float
        BIC of the new data with the old number of components, minus that with the new one; 0 where they are equal.
    delta_bic_old : float
        The same for the old data; negative if they favoured the old number.
    gain : float
        Log-likelihood of the new data under the new mixture, minus that under the old one.
    distance : float
        Total variation distance of the intrinsic densities, 0 to 1.
    test : ColumnTest
        The test for one population; without a p-value if the fits do not allow one.
    unc_ratio : float
        Ratio of new to old uncertainties that the rows give one mixture; see `PooledTest`.
    rows : Rows
        Changes of the rows.
    remarks : tuple of str
        Remarks on the differences for readers of the result.
    """

    old: FitResult
    new: FitResult
    pairs: tuple[tuple[int, int], ...]
    differences: tuple[Difference, ...]
    delta_bic: float
    delta_bic_old: float
    gain: float
    distance: float
    test: ColumnTest
    unc_ratio: float
    rows: Rows
    remarks: tuple[str, ...]

    @cached_property
    def judgement(self) -> Judgement:
        """The verdict and all that it rests on."""
        return decide(
            self.old.n_components,
            self.new.n_components,
            len(self.pairs),
            self.delta_bic,
            self.differences,
            self.test,
            self.unc_ratio,
        )

    @property
    def verdict(self) -> str:
        """One of `VERDICTS`."""
        return self.judgement.verdict

    @property
    def pvalue(self) -> float:
        """Probability of differences as improbable as these if the population is the same; nan if it is not known."""
        return self.test.pvalue

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks for readers of the result."""
        return (*self.remarks, *self.judgement.notes)

    @property
    def vanished(self) -> list[int]:
        """Components of the old fit that have no match in the new one, counted from 0."""
        return sorted(set(range(self.old.n_components)) - {j for j, _ in self.pairs})

    @property
    def appeared(self) -> list[int]:
        """Components of the new fit that have no match in the old one, counted from 0."""
        return sorted(set(range(self.new.n_components)) - {k for _, k in self.pairs})

    @property
    def largest(self) -> Difference | None:
        """The most significant difference."""
        finite = [each for each in self.differences if math.isfinite(each.significance)]
        return max(finite, key=lambda each: abs(each.significance), default=None)


def compare_fits(old: Fitted, new: Fitted, common: Common | None, notes: Iterable[str] = ()) -> Comparison:
    """Compare two fits.

    Parameters
    ----------
    old, new : Fitted
        The fits, in the same unit.
    common : Common or None
        Rows that the fits have in common. None if these are not known, in which case the fits are taken as independent.
    notes : iterable of str
        Notes that come first.
    """
    found = list(notes)
    if lie_absurdly_apart(_resolved(old.fit), _resolved(new.fit)):
        found.append("the two mixtures have nothing in common: are these the same quantity, in the same unit?")
    pairs = match_components(old.fit, new.fit, (old.sigma_upper, new.sigma_upper))
    joint, remarks = _joint_uncertainties(old, new, pairs, common)
    found += remarks
    differences = _differences(old, new, pairs, joint)
    test = _test(old, new, common, differences)
    rows = _account(old, new, pairs, common)
    if 0 < rows.n_revised < FEW_REVISED:
        found.append(f"only {rows.n_revised:g} of the common rows revised: what they change has rough significances")
    size_old, size_new = old.fit.n_components, new.fit.n_components
    delta_bic, delta_bic_old = (each.bic_of(size_old) - each.bic_of(size_new) for each in (new, old))
    gain = math.nan
    if "samples" in (old.fit.error_model, new.fit.error_model):
        found.append(
            "rows are samples of posteriors: the log-likelihood of the new rows under the old fit is not known"
        )
    else:
        with np.errstate(all="ignore"):
            gain = _loglik(new.fit.mixture, new.cells) - _loglik(old.fit.mixture, new.cells)
    return Comparison(
        old=old.fit,
        new=new.fit,
        pairs=tuple(pairs),
        differences=tuple(differences),
        delta_bic=delta_bic,
        delta_bic_old=delta_bic_old,
        gain=gain,
        distance=total_variation(_resolved(old.fit), _resolved(new.fit)),
        test=ColumnTest(test.pvalue, test.pvalue),
        unc_ratio=test.unc_ratio,
        rows=rows,
        remarks=tuple(found),
    )


def judge_release(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons of all columns of two releases, with verdicts at one false discovery rate over the columns.

    Parameters
    ----------
    comparisons : sequence of Comparison
        One for each column that is compared.
    """
    adjusted = adjusted_pvalues([each.pvalue for each in comparisons])
    n_columns = sum(map(math.isfinite, adjusted))
    return [
        replace(each, test=replace(each.test, pvalue_release=pvalue, n_columns=n_columns))
        for each, pvalue in zip(comparisons, adjusted, strict=True)
    ]


def lie_absurdly_apart(old: Mixture, new: Mixture) -> bool:
    """Whether the mixtures lie so far apart that they are hardly of one quantity."""
    (mean_old, width_old), (mean_new, width_new) = (_mean_and_width(each) for each in (old, new))
    return abs(mean_new - mean_old) > _ABSURD * max(width_old, width_new)


def _mean_and_width(mixture: Mixture) -> tuple[float, float]:
    mean = float(mixture.weights @ mixture.means)
    return mean, math.sqrt(mixture.weights @ (mixture.sigmas**2 + (mixture.means - mean) ** 2))


def _test(old: Fitted, new: Fitted, common: Common | None, differences: Sequence[Difference]) -> PooledTest:
    """The test for one population; by Bonferroni's bound if the response of a fit to its rows is not known."""
    none = np.empty(0, dtype=np.intp)
    try:
        return pooled_test((old.fit, new.fit), (old.cells, new.cells), common or Common(none, none))
    except NoInfluence:
        matched = all(each.status == "matched" for each in differences)
        return PooledTest(bonferroni_pvalue(differences) if matched else math.nan, math.nan)


def match_components(
    old: FitResult, new: FitResult, sigma_upper: tuple[Array | float, Array | float] = (math.nan, math.nan)
) -> list[tuple[int, int]]:
    """Pairs of components, counted from 0, that are the same population in both fits.

    The pairs have the smallest sum of Bhattacharyya distances between Gaussians that have the means and widths of the
    components, where the uncertainty of the difference of the means is added to both widths. Components whose distance
    exceeds a threshold are not paired.

    Parameters
    ----------
    old, new : FitResult
        The fits, in the same unit.
    sigma_upper : tuple of (ndarray, ndarray)
        Upper limits of the sigmas on the boundary, of which half is added to the widths; nan for other sigmas.

    Examples
    --------
    >>> mixtures = [Mixture([0.5, 0.5], means, [1.0, 1.0]) for means in ([0.0, 9.0], [0.5, 4.0])]
    >>> match_components(*(FitResult(mixture, "em", 0.0, 0.0, 9.0, 5, True) for mixture in mixtures))
    [(0, 0)]
    """
    # Half of an upper limit at 95 % is about one sigma.
    first, second = (
        fit.mixture.sigmas**2 + np.where(fit.boundary & np.isfinite(limits), 0.5 * np.asarray(limits), 0.0) ** 2
        for fit, limits in zip((old, new), sigma_upper, strict=True)
    )
    uncertain = [np.nan_to_num(fit.uncertainties.means) ** 2 for fit in (old, new)]
    both = uncertain[0][:, None] + uncertain[1]
    first, second = first[:, None] + both, second + both
    offset = (old.mixture.means[:, None] - new.mixture.means) ** 2
    total = first + second
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = 0.25 * offset / total + 0.5 * np.log(0.5 * total / np.sqrt(first * second))
    # Components of zero width whose means have no uncertainty are the same only if they coincide.
    distance = np.where((total == 0.0) & (offset == 0.0), 0.0, np.nan_to_num(distance, nan=np.inf))
    # With distances capped at the threshold, the best assignment is also the best of those that may leave components
    # unmatched.
    found = zip(*linear_sum_assignment(np.minimum(distance, PRICE)), strict=True)
    return [(int(j), int(k)) for j, k in found if distance[j, k] < PRICE]


def total_variation(first: Mixture, second: Mixture) -> float:
    """Total variation distance of two densities, ``1/2 int |f - g| dx``, by quadrature.

    This is the largest difference between the probabilities that the two densities assign to any set of values: 0 if
    they are equal, 1 if they do not overlap. The probabilities of each cell of the grid are exact.

    Examples
    --------
    For unit Gaussians whose means differ by two, it is 2 Phi(1) - 1:

    >>> round(total_variation(Mixture([1.0], [0.0], [1.0]), Mixture([1.0], [2.0], [1.0])), 5)
    0.68269
    """
    reach = np.concatenate([np.linspace(-8.0, 8.0, 641), [-np.inf, np.inf]])
    grids = []
    for mixture in (first, second):
        widths = np.where(mixture.sigmas > 0.0, mixture.sigmas, np.finfo(np.float64).tiny)
        grids.append((mixture.means[:, None] + widths[:, None] * reach).ravel())
    grid = np.unique(np.concatenate(grids))[1:-1]
    shares = [np.diff(mixture.cdf(grid), prepend=0.0, append=1.0) for mixture in (first, second)]
    return float(min(0.5 * np.abs(shares[0] - shares[1]).sum(), 1.0))


def differences_table(differences: Sequence[Difference], findings: Sequence[str]) -> pd.DataFrame:
    """A table with one row for each parameter of each component, and what was found about it; see `Judgement`."""
    import pandas as pd

    columns = {
        "status": [each.status for each in differences],
        "component_old": [each.component_old or None for each in differences],
        "component_new": [each.component_new or None for each in differences],
        "parameter": [each.parameter for each in differences],
        "old": [each.old for each in differences],
        "old_unc": [each.old_unc for each in differences],
        "new": [each.new for each in differences],
        "new_unc": [each.new_unc for each in differences],
        "difference": [each.difference for each in differences],
        "joint_unc": [each.joint_unc for each in differences],
        "significance": [each.significance for each in differences],
        "finding": findings,
        "old_upper": [each.old_upper for each in differences],
        "new_upper": [each.new_upper for each in differences],
    }
    return pd.DataFrame(columns).astype({"component_old": "Int64", "component_new": "Int64"})


def summary_row(comparison: Comparison) -> dict[str, object]:
    """The comparison as one row of a table with `SUMMARY_COLUMNS`."""
    rows, largest, judgement = comparison.rows, comparison.largest, comparison.judgement
    return {
        "verdict": judgement.verdict,
        "evidence": judgement.evidence,
        "threshold": judgement.threshold,
        "shifted": judgement.shifted,
        "hints": judgement.hints,
        "n_components_old": comparison.old.n_components,
        "n_components_new": comparison.new.n_components,
        "delta_bic": comparison.delta_bic,
        "delta_bic_old": comparison.delta_bic_old,
        "gain": comparison.gain,
        "distance": comparison.distance,
        "significance": math.nan if largest is None else abs(largest.significance),
        "pvalue": comparison.test.pvalue,
        "pvalue_release": comparison.test.pvalue_release,
        "n_columns": comparison.test.n_columns,
        "n_old": rows.n_old,
        "n_new": rows.n_new,
        "n_common": rows.n_common,
        "n_added": rows.n_added,
        "n_dropped": rows.n_dropped,
        "n_revised": rows.n_revised,
        "n_moved": rows.n_moved,
        "note": "; ".join(comparison.notes),
    }


def _resolved(fit: FitResult) -> Mixture:
    """The mixture with finite densities: components on the boundary are as wide as the uncertainty of their means."""
    mixture = fit.mixture
    widths = np.where(fit.boundary, np.hypot(mixture.sigmas, np.nan_to_num(fit.uncertainties.means)), mixture.sigmas)
    return Mixture(mixture.weights, mixture.means, widths, mixture.families, mixture.shapes)


def _joint_uncertainties(
    old: Fitted, new: Fitted, pairs: list[tuple[int, int]], common: Common | None
) -> tuple[Array, list[str]]:
    """Uncertainties of the differences, shape (n_pairs, 3), and remarks."""
    if not pairs:
        return np.empty((0, 3)), []
    sides = zip(zip(*pairs, strict=True), (old.fit, new.fit), strict=True)
    alone = [
        np.stack([fit.uncertainties.weights, fit.uncertainties.means, fit.uncertainties.sigmas], axis=1)[list(places)]
        for places, fit in sides
    ]
    boundary = np.array([old.fit.boundary[j] or new.fit.boundary[k] for j, k in pairs])
    variance, remarks = alone[0] ** 2 + alone[1] ** 2, []
    if common is None:
        remarks.append("which rows are in both is not known without a key: the fits are treated as independent")
    elif common.old.size and (covariance := _covariance(old, new, pairs, common)) is not None:
        missed = [max(fit.remaining_gain, GAIN) for fit in (old.fit, new.fit)]
        # A fit that is g nats below its maximum is off by sqrt(2 g) uncertainties.
        excess = 2.0 * np.nan_to_num(missed[0] * alone[0] ** 2 + missed[1] * alone[1] ** 2)
        variance = np.diag(covariance).reshape(-1, 3) + excess
    elif common.old.size:
        remarks.append(
            "what common rows mean for the uncertainties is known for maximum likelihood, Gaussian components, plain "
            "values and weights of one kind only: the fits are treated as independent, and significances are too small"
        )
    variance[boundary, 2] = np.nan
    if boundary.any():
        remarks.append(f"no significance for {int(boundary.sum())} sigmas on the boundary: see their upper limits")
    return np.sqrt(variance), remarks


def _covariance(old: Fitted, new: Fitted, pairs: list[tuple[int, int]], common: Common) -> Array | None:
    try:
        before, after = (Influence(each.fit, each.cells) for each in (old, new))
        return covariance_of_differences(before, after, pairs, common)
    except NoInfluence:
        return None


def _differences(old: Fitted, new: Fitted, pairs: list[tuple[int, int]], joint: Array) -> list[Difference]:
    found = []
    matched = {j: (k, place) for place, (j, k) in enumerate(pairs)}
    for j in range(old.fit.n_components):
        k, place = matched.get(j, (None, 0))
        for column, parameter in enumerate(PARAMETERS):
            before = _values(old, j, parameter, "old")
            if k is None:
                found.append(Difference("vanished", j + 1, 0, parameter, **before))
                continue
            unc = float(joint[place, column])
            after = _values(new, k, parameter, "new")
            found.append(Difference("matched", j + 1, k + 1, parameter, **before, **after, joint_unc=unc))
    for k in sorted(set(range(new.fit.n_components)) - {k for _, k in pairs}):
        found += [Difference("appeared", 0, k + 1, name, **_values(new, k, name, "new")) for name in PARAMETERS]
    return found


def _values(fitted: Fitted, index: int, parameter: str, side: str) -> dict[str, float]:
    name = f"{parameter}s"
    upper = fitted.sigma_upper[index] if parameter == "sigma" else math.nan
    return {
        side: float(getattr(fitted.fit.mixture, name)[index]),
        f"{side}_unc": float(getattr(fitted.fit.uncertainties, name)[index]),
        f"{side}_upper": float(upper),
    }


def _account(old: Fitted, new: Fitted, pairs: list[tuple[int, int]], common: Common | None) -> Rows:
    n_old, n_new = len(old.cells), len(new.cells)
    if common is None:
        return Rows(n_old, n_new)
    n_common = common.old.size
    revised = common.revised(old.cells, new.cells, (old.error_scale, new.error_scale))
    same = np.full(old.fit.n_components, -1)
    for j, k in pairs:
        same[j] = k
    moved = same[old.component[common.old]] != new.component[common.new]
    return Rows(
        n_old, n_new, n_common, n_new - n_common, n_old - n_common, int(revised.sum()), int(np.count_nonzero(moved))
    )


def _loglik(mixture: Mixture, cells: Cells) -> float:
    return engine_for(Demands.of(cells, mixture)).loglik(cells, mixture)
