"""The comparison of two fits of several columns; see `mixpipe.assess.comparison.compare` for one column.

The result is a `Comparison`. Its parameters are weight, mean_A and sigma_A of each column A, and corr_A_B of each pair.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from mixpipe.assess.comparison.compare import (
    FEW_REVISED,
    PRICE,
    Comparison,
    Rows,
    bic_of,
    lie_absurdly_apart,
)
from mixpipe.assess.comparison.influence import Common, NoInfluence, covariance_of_differences
from mixpipe.assess.comparison.joint_influence import JointInfluence, joint_pooled_test, wald_pvalue
from mixpipe.assess.comparison.pooled import GAIN, PooledTest
from mixpipe.assess.comparison.verdict import ColumnTest, Difference
from mixpipe.assess.joint_quality import parameters_of
from mixpipe.base.arrays import Array
from mixpipe.base.presentation import plural
from mixpipe.model.joint.cells import JointCells
from mixpipe.model.joint.mixture import JointMixture
from mixpipe.model.joint.results import JointFit

_NONE = Common(np.empty(0, dtype=np.intp), np.empty(0, dtype=np.intp))
# Points from which the distance of two densities is computed: to 0.002, or 1 per cent of a small one.
_POINTS = 20_000
# A direction is that of a column if this part of its squared length, in units of the columns' widths, lies along it.
_ALIGNED = 0.99
# No component is narrower than this in units of the widths of the columns, so that all densities are finite.
_THIN = 1e-7


@dataclass(frozen=True, eq=False)
class JointFitted:
    """A fit of several columns with its rows.

    Parameters
    ----------
    fit : JointFit
    cells : JointCells
    component : ndarray of int, shape (n_rows,)
        The component to which each row most probably belongs, counted from 0.
    selection : sequence of (int, float)
        Number of components and BIC of each fit that was considered for the choice.
    """

    fit: JointFit
    cells: JointCells
    component: NDArray[np.intp]
    selection: Sequence[tuple[int, float]]


def compare_joint_fits(
    old: JointFitted, new: JointFitted, common: Common | None, notes: Iterable[str] = ()
) -> Comparison:
    """Compare two fits of the same columns.

    Parameters
    ----------
    old, new : JointFitted
        The fits, in the same units.
    common : Common or None
        Rows that the fits have in common. None if these are not known, in which case the fits are taken as independent.
    notes : iterable of str
        Notes that come first.
    """
    found = list(notes)
    if any(
        lie_absurdly_apart(old.fit.mixture.marginal(name), new.fit.mixture.marginal(name)) for name in new.fit.names
    ):
        found.append("the two mixtures have nothing in common: are these the same quantities, in the same units?")
    pairs = match_joint_components(old.fit, new.fit)
    revised = _revised(old.cells, new.cells, common or _NONE)
    covariance, remarks = _covariance(old, new, pairs, common)
    found += remarks
    differences = _differences(old.fit, new.fit, pairs, np.sqrt(np.diagonal(covariance)))
    test, remarks = _test(old, new, common or _NONE, revised, differences, covariance)
    found += [*remarks, *_remarks_on_widths(old.fit, new.fit)]
    if 0 < revised.sum() < FEW_REVISED:
        found.append(f"only {revised.sum()} of the common rows revised: what they change has rough significances")
    sizes = old.fit.n_components, new.fit.n_components
    delta_bic, delta_bic_old = (
        bic_of(each.selection, sizes[0]) - bic_of(each.selection, sizes[1]) for each in (new, old)
    )
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
        distance=joint_total_variation(_resolved(old.fit), _resolved(new.fit)),
        test=ColumnTest(test.pvalue, test.pvalue, noun="joint fits"),
        unc_ratio=test.unc_ratio,
        rows=_account(old, new, pairs, common, revised),
        remarks=tuple(found),
    )


def match_joint_components(old: JointFit, new: JointFit) -> list[tuple[int, int]]:
    """Pairs of components, counted from 0, that are the same population in both fits.

    As `mixpipe.assess.comparison.compare.match_components`, with the Bhattacharyya distance of Gaussians in several
    columns. The covariance of the difference of the means is added to those of both components, and what a width that
    was found to be zero may be to its own.

    Examples
    --------
    >>> shapes = [np.eye(2), np.eye(2)]
    >>> mixtures = [JointMixture([0.5, 0.5], [[0.0, 0.0], [x, 9.0]], shapes) for x in (1.0, 9.0)]
    >>> match_joint_components(*(JointFit(mixture, "em", 0.0, 0.0, 9.0, 5, True) for mixture in mixtures))
    [(0, 0)]
    """
    first, second = ((fit.mixture.means, _resolved(fit).covariances, _covariances_of_means(fit)) for fit in (old, new))
    distance = np.empty((old.n_components, new.n_components))
    for j in range(old.n_components):
        for k in range(new.n_components):
            uncertain = first[2][j] + second[2][k]
            before, after = first[1][j] + uncertain, second[1][k] + uncertain
            offset, middle = first[0][j] - second[0][k], 0.5 * (before + after)
            logs = [np.linalg.slogdet(part)[1] for part in (middle, before, after)]
            distance[j, k] = 0.125 * offset @ np.linalg.solve(middle, offset) + 0.5 * logs[0] - 0.25 * sum(logs[1:])
    found = zip(*linear_sum_assignment(np.minimum(distance, PRICE)), strict=True)
    return [(int(j), int(k)) for j, k in found if distance[j, k] < PRICE]


def _spreads(mixture: JointMixture) -> Array:
    """Width of the whole mixture in each column; 1 for a width of zero."""
    spread = np.sqrt(mixture.weights @ (mixture.sigmas**2 + (mixture.means - mixture.weights @ mixture.means) ** 2))
    return np.where(spread > 0.0, spread, 1.0)


def _covariances_of_means(fit: JointFit) -> Array:
    """Covariances of the means; those of singular components are in their shapes already."""
    found = np.zeros_like(fit.mixture.covariances)
    for j in range(fit.n_components):
        if not fit.boundary[j]:
            places = [fit.parameter_names.index(f"mean_{j + 1}_{name}") for name in fit.names if fit.parameter_names]
            found[j] += np.nan_to_num(fit.covariance[np.ix_(places, places)]) if places else 0.0
    return found


def _resolved(fit: JointFit) -> JointMixture:
    """The mixture with finite densities: singular components are as wide as their widths of zero may be."""
    mixture = fit.mixture
    spreads = _spreads(mixture)
    covariances = mixture.covariances + np.diag((_THIN * spreads) ** 2)
    for j in np.flatnonzero(fit.boundary):
        covariances[j] += np.diag(np.nan_to_num(fit.uncertainties.means[j]) ** 2)
        for direction, limit in zip(fit.null_directions[j], fit.null_limits[j], strict=True):
            # The vector whose component along the direction is 1, at right angles in units of the columns' widths.
            along = spreads**2 * direction / np.sum((spreads * direction) ** 2)
            # Half of an upper limit at 95 % is about one sigma.
            covariances[j] += (0.5 * limit if np.isfinite(limit) else 0.0) ** 2 * np.outer(along, along)
    return JointMixture(mixture.weights, mixture.means, covariances, mixture.names)


def joint_total_variation(first: JointMixture, second: JointMixture) -> float:
    """Total variation distance of two densities, from points that are drawn from both (the same ones in each run).

    Examples
    --------
    For unit Gaussians whose means differ by two, it is 2 Phi(1) - 1 = 0.683:

    >>> one, two = (JointMixture([1.0], [[mean, 0.0]], [np.eye(2)]) for mean in (0.0, 2.0))
    >>> round(joint_total_variation(one, two), 2), joint_total_variation(one, one)
    (0.68, 0.0)
    """
    rng = np.random.default_rng(0)
    points = np.concatenate([mixture.sample(_POINTS // 2, rng) for mixture in (first, second)])
    logs = np.stack([mixture.logpdf(points) for mixture in (first, second)])
    # |f - g| / (f + g) = |tanh((ln f - ln g) / 2)|, averaged over (f + g) / 2.
    return float(np.mean(np.abs(np.tanh(0.5 * (logs[0] - logs[1])))))


def _revised(old: JointCells, new: JointCells, common: Common) -> NDArray[np.bool_]:
    """Whether the values or the errors of each common row have changed, by more than a conversion of units does."""
    found = np.zeros(common.old.size, dtype=bool)
    for before, after in ((old.x, new.x), (old.cov, new.cov)):
        same = np.isclose(before[common.old], after[common.new], rtol=1e-9, atol=0.0, equal_nan=True)
        found |= ~same.all(axis=tuple(range(1, same.ndim)))
    return found


def _covariance(
    old: JointFitted, new: JointFitted, pairs: list[tuple[int, int]], common: Common | None
) -> tuple[Array, list[str]]:
    """Covariance of the differences of all parameters of matched components, and remarks; nan where it is not known."""
    alone = [
        np.concatenate([_uncertainties(fit, pair[side]) for pair in pairs] or [np.empty(0)])
        for side, fit in enumerate((old.fit, new.fit))
    ]
    total, remarks = np.diag(alone[0] ** 2 + alone[1] ** 2), []
    if common is None:
        remarks.append("which rows are in both is not known: the fits are treated as independent")
    try:
        sides = JointInfluence(old.fit, old.cells), JointInfluence(new.fit, new.cells)
        found = covariance_of_differences(*sides, pairs, common or _NONE) if pairs else total
    except NoInfluence:
        if common is not None and common.old.size:
            remarks.append("the influence of common rows is not known: the fits are treated as independent")
        return total, remarks
    missed = [max(fit.remaining_gain, GAIN) for fit in (old.fit, new.fit)]
    # A fit that is g nats below its maximum is off by sqrt(2 g) uncertainties.
    excess = 2.0 * np.nan_to_num(missed[0] * alone[0] ** 2 + missed[1] * alone[1] ** 2)
    unknown = ~np.isfinite(np.diagonal(total))
    found = found + np.diag(excess)
    found[unknown, :] = found[:, unknown] = np.nan
    return found, remarks


def _uncertainties(fit: JointFit, index: int) -> Array:
    """Uncertainties of the parameters of a component; nan for widths of zero."""
    limits = _limits(fit, index)
    found = []
    for _, part, where in parameters_of(fit.names):
        unc = float(getattr(fit.uncertainties, part)[(index, *where)])
        found.append(math.nan if part == "sigmas" and where[0] in limits else unc)
    return np.array(found)


def _limits(fit: JointFit, index: int) -> dict[int, float]:
    """Upper limits (95 %) of the widths of a component in the columns along which it has none."""
    spreads = _spreads(fit.mixture)
    found = {}
    directions, limits = (part[index] if part else () for part in (fit.null_directions, fit.null_limits))
    for direction, limit in zip(directions, limits, strict=True):
        parts = (direction * spreads) ** 2
        column = int(np.argmax(parts))
        if parts[column] > _ALIGNED * parts.sum():
            found[column] = float(limit / abs(direction[column]))
    return found


def _differences(old: JointFit, new: JointFit, pairs: Sequence[tuple[int, int]], joint: Array) -> list[Difference]:
    names = list(parameters_of(new.names))
    uncs = joint.reshape(len(pairs), len(names))
    matched = {j: (k, place) for place, (j, k) in enumerate(pairs)}
    found = []
    for j in range(old.n_components):
        before = _values(old, j, "old")
        if j not in matched:
            found += [Difference("vanished", j + 1, 0, names[place][0], **part) for place, part in enumerate(before)]
            continue
        k, place = matched[j]
        for name, one, two, unc in zip(names, before, _values(new, k, "new"), uncs[place].tolist(), strict=True):
            found.append(Difference("matched", j + 1, k + 1, name[0], **one, **two, joint_unc=unc))
    for k in sorted(set(range(new.n_components)) - {k for _, k in pairs}):
        found += [
            Difference("appeared", 0, k + 1, names[place][0], **part)
            for place, part in enumerate(_values(new, k, "new"))
        ]
    return found


def _values(fit: JointFit, index: int, side: str) -> list[dict[str, float]]:
    """Value, uncertainty and upper limit of each parameter of a component."""
    limits, uncs = _limits(fit, index), _uncertainties(fit, index).tolist()
    return [
        {
            side: float(getattr(fit.mixture, part)[(index, *where)]),
            f"{side}_unc": unc,
            f"{side}_upper": limits.get(where[0], math.nan) if part == "sigmas" else math.nan,
        }
        for (_, part, where), unc in zip(parameters_of(fit.names), uncs, strict=True)
    ]


def _test(
    old: JointFitted,
    new: JointFitted,
    common: Common,
    revised: NDArray[np.bool_],
    differences: Sequence[Difference],
    covariance: Array,
) -> tuple[PooledTest, list[str]]:
    """The test for one population, and remarks; by the differences of the fits if there is no fit to both releases."""
    try:
        return joint_pooled_test((old.fit, new.fit), (old.cells, new.cells), common, revised), []
    except NoInfluence as error:
        reason = str(error)
        if any(each.status != "matched" for each in differences):
            return PooledTest(math.nan, math.nan), [f"no test for one population: {reason}"]
    values = np.array([each.difference for each in differences])
    remark = f"tested by the differences of the parameters, whose p-values are somewhat too small: {reason}"
    return PooledTest(wald_pvalue(values, covariance), math.nan), [remark]


def parameter_test(old: JointFitted, new: JointFitted, common: Common) -> float:
    """Probability of differences of the parameters as large as these if the population is the same, by chi-squared.

    It is nan unless both fits have the same number of components, all with a counterpart. The score test of
    `compare_joint_fits` is calibrated better; this one decides only where there is no fit to both releases.
    """
    pairs = match_joint_components(old.fit, new.fit)
    if not len(pairs) == old.fit.n_components == new.fit.n_components:
        return math.nan
    covariance, _ = _covariance(old, new, pairs, common)
    differences = _differences(old.fit, new.fit, pairs, np.sqrt(np.diagonal(covariance)))
    return wald_pvalue(np.array([each.difference for each in differences]), covariance)


def _remarks_on_widths(old: JointFit, new: JointFit) -> list[str]:
    found = []
    for word, fit in (("old", old), ("new", new)):
        for j in np.flatnonzero(fit.boundary).tolist():
            n_flat = fit.mixture.n_dims - int(fit.rank[j])
            found.append(
                f"component {j + 1} of the {word} fit has no width in {plural(n_flat, 'direction')}, along which "
                "nothing is tested: see null_limits"
            )
    return found


def _account(
    old: JointFitted,
    new: JointFitted,
    pairs: Sequence[tuple[int, int]],
    common: Common | None,
    revised: NDArray[np.bool_],
) -> Rows:
    n_old, n_new = len(old.cells), len(new.cells)
    if common is None:
        return Rows(n_old, n_new)
    n_common = common.old.size
    same = np.full(old.fit.n_components, -1)
    for j, k in pairs:
        same[j] = k
    n_moved = int(np.count_nonzero(same[old.component[common.old]] != new.component[common.new]))
    return Rows(n_old, n_new, n_common, n_new - n_common, n_old - n_common, int(revised.sum()), n_moved)


def _loglik(mixture: JointMixture, cells: JointCells) -> float:
    return float(cells.weights @ mixture.logpdf(cells.x, cov=cells.cov))
