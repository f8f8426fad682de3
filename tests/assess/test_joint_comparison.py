"""Two fits of several columns compared: influence of rows, the test for one population, matching, verdicts."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import chi2, kstest

from benchmarks import joint_comparison as benchmark
from mixpipe.assess.comparison import joint_influence
from mixpipe.assess.comparison.compare import judge_release
from mixpipe.assess.comparison.influence import Common, NoInfluence, covariance_of_differences
from mixpipe.assess.comparison.joint import (
    JointFitted,
    compare_joint_fits,
    joint_total_variation,
    match_joint_components,
    parameter_test,
)
from mixpipe.assess.comparison.joint_influence import JointInfluence
from mixpipe.assess.comparison.verdict import CONCLUSION_CHANGED, SHARPENED, SHIFTED, UNCHANGED
from mixpipe.assess.joint_quality import parameters_of
from mixpipe.fitting.choose import fit_mixture
from mixpipe.model.joint.cells import JointCells
from mixpipe.model.joint.mixture import JointMixture
from mixpipe.model.joint.results import JointFit
from tests.campaign import mostly_study

ONE = JointMixture([1.0], [[1.0, -2.0]], [[[2.0, 0.6], [0.6, 1.0]]], ("a", "b"))
TWO = benchmark.TWO
NONE = Common(np.arange(0), np.arange(0))


def cells_of(x, err=None, **options) -> JointCells:
    return JointCells.from_rows(x, err, names=("a", "b"), **options)


def fitted(cells: JointCells, start: JointMixture, structure: str = "full", **changes) -> JointFitted:
    fit = fit_mixture(cells, n_components=start.n_components, start=start, structure=structure, n_threads=1)
    size = fit.n_components
    known = {
        "fit": fit,
        "cells": cells,
        "component": fit.mixture.responsibilities(cells.x, cov=cells.cov).argmax(axis=1),
        "selection": [(size, fit.bic), (size - 1, fit.bic + 20.0), (size + 1, fit.bic + 8.0)],
    }
    return JointFitted(**(known | changes))


def sample(mixture: JointMixture, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    err = 0.4 * np.exp(0.3 * rng.standard_normal((n, 2)))
    return mixture.sample(n, rng) + err * rng.standard_normal((n, 2)), err


def values_of(fit: JointFit) -> np.ndarray:
    """The parameters of all components in turn."""
    return np.array(
        [
            getattr(fit.mixture, part)[(j, *place)]
            for j in range(fit.n_components)
            for _, part, place in parameters_of(fit.names)
        ]
    )


def uncertainties_of(fit: JointFit) -> np.ndarray:
    return np.array(
        [
            getattr(fit.uncertainties, part)[(j, *place)]
            for j in range(fit.n_components)
            for _, part, place in parameters_of(fit.names)
        ]
    )


# ----- influence


def test_influence_of_one_component_is_that_of_means_and_covariances():
    x, _ = sample(ONE, 400, 1)
    fit = fitted(cells_of(x, 0.5), ONE)
    found = JointInfluence(fit.fit, fit.cells).of(slice(None))
    # Maximum likelihood with equal errors is the mean and the covariance of the sample less the errors.
    off = x - x.mean(axis=0)
    total = off.T @ off / 400
    v = total - 0.25 * np.eye(2)
    np.testing.assert_allclose(fit.fit.mixture.covariances[0], v, rtol=1e-4)
    change = (off[:, :, None] * off[:, None, :] - total) / 400
    sigmas = np.sqrt(np.diag(v))
    corr = v[0, 1] / (sigmas[0] * sigmas[1])
    expected = [
        np.zeros(400),
        off[:, 0] / 400,
        change[:, 0, 0] / (2 * sigmas[0]),
        off[:, 1] / 400,
        change[:, 1, 1] / (2 * sigmas[1]),
        change[:, 0, 1] / (sigmas[0] * sigmas[1])
        - 0.5 * corr * (change[:, 0, 0] / v[0, 0] + change[:, 1, 1] / v[1, 1]),
    ]
    # The climb ends within 1e-3 nats of the maximum, here within 1e-8.
    np.testing.assert_allclose(found, np.transpose(expected), atol=1e-6)


def test_covariance_of_all_rows_is_that_of_the_fit():
    fit = fitted(cells_of(*sample(TWO, 600, 2)), TWO)
    influence = JointInfluence(fit.fit, fit.cells)
    found = np.sqrt(np.diag(influence.covariance(fit.cells.weights)))
    # Computed by other code from the same Hessian.
    np.testing.assert_allclose(found, uncertainties_of(fit.fit), rtol=1e-6)
    expected = JointInfluence(fit.fit, fit.cells, expected=True).covariance(fit.cells.weights)
    # Observed and expected information differ by the scatter of 600 rows, of which 240 are in a component.
    np.testing.assert_allclose(np.sqrt(np.diag(expected)), found, rtol=0.2)


def test_rows_vary_as_their_errors_and_gaps_let_them():
    x, err = sample(TWO, 20_000, 3)
    x[::4, 1] = np.nan
    fit = fitted(cells_of(x, err), TWO)
    influence = JointInfluence(fit.fit, fit.cells)
    whole = np.diag(influence.covariance(fit.cells.weights))
    for some in (np.isnan(x[:, 1]), err[:, 0] < 0.4):
        expected = np.sum(influence.of(np.flatnonzero(some)) ** 2, axis=0)
        found = np.diag(influence.covariance(some.astype(float)))
        # Squares of some 5,000 rows; of all of the variance, simulated rows know a share to 1 to 2 per cent.
        assert np.all(np.abs(found - expected) < 0.1 * expected + 0.02 * whole)


def test_influence_predicts_what_appended_rows_do():
    x, err = sample(TWO, 3000, 4)
    before = fitted(cells_of(x, err), TWO)
    more = np.array([[-1.0, 2.0], [4.0, np.nan], [np.nan, 3.0]])
    for row in more:
        cells = cells_of(np.vstack([x, row]), np.vstack([err, [0.3, 0.3]]))
        after = fitted(cells, before.fit.mixture)
        predicted = JointInfluence(before.fit, cells_of(row[None], [[0.3, 0.3]]), expected=False)
        # Terms of second order are smaller by some 1 / (rows in a component), times leverages of a few.
        change = values_of(after.fit) - values_of(before.fit)
        effect = predicted.of(slice(None))[0]
        np.testing.assert_allclose(change, effect, atol=0.02 * np.abs(effect).max())


@pytest.mark.parametrize("n_common", [0, 150, 300])
def test_covariance_of_differences(n_common):
    x, _ = sample(ONE, 600, 5)
    y = np.concatenate([x[:n_common], x[300:]])
    old, new = (fitted(cells_of(rows, 0.5), ONE) for rows in (x[:300], y))
    common = Common(np.arange(n_common), np.arange(n_common))
    found = covariance_of_differences(
        JointInfluence(old.fit, old.cells), JointInfluence(new.fit, new.cells), [(0, 0)], common
    )
    expected = x.var(axis=0) * (1 / 300 + 1 / len(y) - 2 * n_common / (300 * len(y)))
    # Sample variances of 300 rows scatter by sqrt(2 / 300) = 8 %.
    np.testing.assert_allclose(np.diag(found)[[1, 3]], expected, rtol=0.25)
    if n_common == 0:
        alone = uncertainties_of(old.fit) ** 2 + uncertainties_of(new.fit) ** 2
        np.testing.assert_allclose(np.diag(found), alone, rtol=1e-6)


def test_what_cannot_change_is_left_out():
    rng = np.random.default_rng(6)
    along = rng.standard_normal(500)
    x = np.column_stack([along, 2.0 * along]) + 0.1 * rng.standard_normal((500, 2))
    # The scatter across is smaller than the errors.
    fit = fitted(cells_of(x, 0.12), ONE)
    assert fit.fit.boundary.tolist() == [True]
    influence = JointInfluence(fit.fit, fit.cells)
    names = [name for name, _, _ in parameters_of(("a", "b"))]
    # The weight of the only component, and a correlation of one.
    assert [name for name, free in zip(names, influence.free, strict=True) if not free] == ["weight", "corr_a_b"]
    compared = compare_joint_fits(fit, fit, Common(np.arange(500), np.arange(500)))
    assert (compared.verdict, compared.pvalue) == (UNCHANGED, 1.0)
    assert sum("no width in 1 direction" in note for note in compared.notes) == 2


def test_fits_without_a_covariance_have_no_influence():
    fit = fitted(cells_of(*sample(ONE, 60, 7)), ONE)
    unknown = np.full_like(fit.fit.covariance, np.nan)
    with pytest.raises(NoInfluence):
        JointInfluence(replace(fit.fit, covariance=unknown), fit.cells)
    bare = replace(fit, fit=replace(fit.fit, covariance=unknown))
    compared = compare_joint_fits(bare, bare, Common(np.arange(60), np.arange(60)))
    assert "influence of common rows is not known" in compared.notes[0]


@pytest.mark.parametrize("structure", ["diagonal", "spherical", "equal"])
def test_structures_are_respected(structure):
    x, err = sample(TWO, 400, 8)
    y, more = sample(TWO, 400, 9)
    old, new = (fitted(cells_of(*rows), TWO, structure) for rows in ((x, err), (y, more)))
    influence = JointInfluence(new.fit, new.cells, expected=True)
    free = dict(zip([name for name, _, _ in parameters_of(("a", "b"))] * 2, influence.free, strict=True))
    assert free["corr_a_b"] == (structure == "equal")
    compared = compare_joint_fits(old, new, NONE)
    assert 0.0 < compared.pvalue <= 1.0
    assert len(compared.differences) == 12


def test_importance_weights_have_an_information_of_their_own():
    x, err = sample(TWO, 400, 10)
    plain = fitted(cells_of(x, err), TWO)
    weighted = fitted(cells_of(x, err, weights=np.ones(400), weight_kind="importance"), TWO)
    found = JointInfluence(weighted.fit, weighted.cells)
    expected = JointInfluence(plain.fit, plain.cells, expected=True)
    # Equal weights; the directions are spanned by other vectors.
    np.testing.assert_allclose(
        found.of(np.arange(400)), expected.of(np.arange(400)), atol=0.02 * np.abs(expected.of(np.arange(400))).max()
    )
    compared = compare_joint_fits(weighted, weighted, Common(np.arange(400), np.arange(400)))
    assert compared.pvalue == 1.0


# ----- the test for one population


def test_pvalue_of_one_gaussian_in_closed_form():
    """Rao's test of means and covariance of one Gaussian without errors."""
    rng = np.random.default_rng(11)
    samples = [rng.multivariate_normal([0.0, 0.0], ONE.covariances[0], size=n) for n in (300, 500)]
    samples[1] += [0.7, 0.0]
    floor = 1e-3
    old, new = (fitted(cells_of(x, sigma_floor=floor), ONE) for x in samples)
    both = np.concatenate(samples)
    off = both - both.mean(axis=0)
    inverse = np.linalg.inv(off.T @ off / 800)
    shift = samples[1].mean(axis=0) - samples[0].mean(axis=0)
    moments = [(x - both.mean(axis=0)).T @ (x - both.mean(axis=0)) / len(x) for x in samples]
    other = inverse @ (moments[1] - moments[0])
    statistic = (shift @ inverse @ shift + 0.5 * np.trace(other @ other)) / (1 / 300 + 1 / 500)
    by_mean = shift / np.sqrt(np.diag(off.T @ off / 800) * (1 / 300 + 1 / 500))
    expected = min(chi2.sf(statistic, 5), 5 * 2.0 * ndtr(-np.abs(by_mean).max()))
    # Beyond the draws it is Bonferroni's bound for two tests. An information from 20,000 simulated rows is good to 1 to
    # 2 per cent, and so is the logarithm.
    found = compare_joint_fits(old, new, NONE).pvalue
    assert expected < 1e-8
    assert math.log(0.5 * found) == pytest.approx(math.log(expected), rel=0.05)


def test_pvalues_are_uniform_if_differences_are_normal():
    rng = np.random.default_rng(12)
    half = rng.standard_normal((6, 6))
    covariance = half @ half.T
    spread = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(spread, spread)
    draws = rng.multivariate_normal(np.zeros(6), correlation, size=(150 + 9_999))
    found = [
        joint_influence._pvalue(np.vstack([draws[k], draws[150:]]), correlation, is_normal=True) for k in range(150)
    ]
    assert kstest(found, "uniform").pvalue > 0.01


def test_the_test_does_not_depend_on_the_order_of_rows():
    x, err = sample(TWO, 240, 13)
    order = np.random.default_rng(14).permutation(240)
    place = np.empty(240, dtype=int)
    place[order] = np.arange(240)
    old = fitted(cells_of(x[:200], err[:200]), TWO)
    straight, shuffled = (fitted(cells_of(x[rows], err[rows]), TWO) for rows in (np.arange(240), order))
    common = np.arange(200)
    expected = compare_joint_fits(old, straight, Common(common, common)).pvalue
    # Sums in another order: no draw, or one, changes sides.
    assert compare_joint_fits(old, shuffled, Common(common, place[:200])).pvalue == pytest.approx(expected, abs=1.1e-4)


def test_one_revised_row_cannot_be_improbable():
    x, err = sample(TWO, 300, 15)
    y = x.copy()
    y[0] += 0.5
    every = Common(np.arange(300), np.arange(300))
    old, new = (fitted(cells_of(values, err), TWO) for values in (x, y))
    compared = compare_joint_fits(old, new, every)
    assert (compared.verdict, compared.rows.n_revised) == (UNCHANGED, 1)
    assert "only 1 of the common rows revised" in compared.notes[0]
    # The difference d is what the row does, and its covariance at least d d': chi^2 is 1 at most.
    assert compared.pvalue > 0.1


@pytest.mark.parametrize("overlap", mostly_study(benchmark.OVERLAPS))
def test_false_verdicts_are_as_rare_as_they_should_be(overlap):
    found = benchmark.unchanged("2 columns", overlap, 150)
    # 5 % of 150 are 7.5, with a standard deviation of 2.7.
    assert found["score"] <= 16


# ----- matching and distance


def bare(means, covariances=None, **rest) -> JointFit:
    size = len(means)
    covariances = np.tile(np.eye(2), (size, 1, 1)) if covariances is None else covariances
    return JointFit(JointMixture(np.full(size, 1 / size), means, covariances), "em", 0.0, 0.0, 100.0, 5, True, **rest)


@pytest.mark.parametrize(
    "old, new, pairs",
    [
        (bare([[0, 0], [5, 5]]), bare([[0.1, 0], [5, 5.1]]), [(0, 0), (1, 1)]),
        (bare([[0, 0], [5, 5]]), bare([[0, 0], [2, 9], [5, 5]]), [(0, 0), (1, 2)]),
        (bare([[0, 0], [2, 9], [5, 5]]), bare([[2, 9]]), [(1, 0)]),
        # Two widths apart in both columns together, not in either of them.
        (bare([[0, 0]]), bare([[1.5, 1.5]]), []),
        (bare([[0, 0]]), bare([[1.3, 1.3]]), [(0, 0)]),
        # The same widths with the opposite correlation.
        (bare([[0, 0]], [[[1, 0.95], [0.95, 1]]]), bare([[0, 0]], [[[1, -0.95], [-0.95, 1]]]), []),
    ],
    ids=["same", "appeared", "vanished", "apart", "near", "turned"],
)
def test_matching(old, new, pairs):
    assert match_joint_components(old, new) == pairs


def test_a_component_without_width_is_the_same_as_a_narrow_one():
    flat = {
        "boundary": np.array([True]),
        "rank": np.array([1]),
        "null_directions": (np.array([[0.0, 1.0]]),),
        "null_limits": (np.array([0.2]),),
    }
    old = bare([[0, 0]], [[[1, 0], [0, 0]]], **flat)
    assert match_joint_components(old, bare([[0, 0]], [[[1, 0], [0, 0.01]]])) == [(0, 0)]
    assert match_joint_components(old, bare([[0, 0]], [[[1, 0], [0, 1]]])) == []


def test_distance_in_closed_form():
    v = np.array([[2.0, 0.9], [0.9, 1.0]])
    one = JointMixture([1.0], [[0.0, 0.0]], [v])
    shift = np.array([1.0, 0.7])
    expected = 2.0 * ndtr(0.5 * math.sqrt(shift @ np.linalg.solve(v, shift))) - 1.0
    # 20,000 points, of a quantity with a standard deviation below 0.4.
    assert joint_total_variation(one, JointMixture([1.0], [shift], [v])) == pytest.approx(expected, abs=0.012)
    assert joint_total_variation(one, JointMixture([1.0], [[90.0, 0.0]], [v])) == pytest.approx(1.0, abs=1e-9)


# ----- verdicts


@pytest.fixture(scope="module")
def releases():
    """An old release, one of the same population, and one with the first mean shifted by six joint errors."""
    moved = TWO.means.copy()
    moved[0, 0] += 0.6
    shifted = JointMixture(TWO.weights, moved, TWO.covariances, TWO.names)
    return [
        fitted(cells_of(*sample(mixture, 400, seed)), TWO) for mixture, seed in ((TWO, 20), (TWO, 21), (shifted, 22))
    ]


def test_what_has_not_changed_is_unchanged_and_what_has_is_named(releases):
    old, same, moved = releases
    calm, changed = (compare_joint_fits(old, new, NONE) for new in (same, moved))
    assert (calm.verdict, calm.pairs) == (UNCHANGED, ((0, 0), (1, 1)))
    assert calm.pvalue > 0.05
    assert (changed.verdict, changed.rows.n_added) == (SHIFTED, 400)
    assert changed.judgement.shifted.startswith("mean_a 1 (+")
    assert [each.parameter for each in changed.differences] == [name for name, _, _ in parameters_of(("a", "b"))] * 2
    # The other test agrees.
    assert parameter_test(old, same, NONE) > 0.05
    assert parameter_test(old, moved, NONE) < 1e-4
    assert changed.distance > calm.distance
    assert changed.gain > calm.gain > 0.0


def test_joint_fits_of_a_release_share_a_false_discovery_rate(releases):
    old, same, moved = releases
    compared = [compare_joint_fits(old, new, NONE) for new in (same, moved)]
    judged = judge_release(compared)
    assert [each.test.n_columns for each in judged] == [2, 2]
    assert judged[1].test.pvalue_release == pytest.approx(2.0 * compared[1].pvalue)
    assert "over 2 joint fits" in judged[1].judgement.evidence


def test_the_same_rows_have_not_changed(releases):
    old = releases[0]
    compared = compare_joint_fits(old, old, Common(np.arange(400), np.arange(400)))
    assert (compared.verdict, compared.pvalue, compared.distance, compared.gain) == (UNCHANGED, 1.0, 0.0, 0.0)
    assert max(abs(each.significance) for each in compared.differences) == 0.0
    unknown = compare_joint_fits(old, old, None)
    assert math.isnan(unknown.rows.n_common)
    assert "not known" in unknown.notes[0]


def test_a_further_population_changes_the_conclusion_or_sharpens_it(releases):
    x, err = sample(TWO, 400, 23)
    old, same, _ = releases
    far = np.concatenate([x[:340], sample(JointMixture([1.0], [[-3.0, 9.0]], [np.eye(2)]), 60, 24)[0]])
    three = JointMixture([0.15, 0.5, 0.35], [[-3, 9], [0, 0], [3, 2]], [np.eye(2), *TWO.covariances], TWO.names)
    new = fitted(cells_of(far, err), three)
    new = replace(new, selection=[(3, new.fit.bic), (2, new.fit.bic + 30.0)])
    compared = compare_joint_fits(old, new, NONE)
    assert (compared.verdict, compared.appeared, compared.delta_bic) == (CONCLUSION_CHANGED, [0], 30.0)
    assert sum(each.status == "appeared" for each in compared.differences) == 6
    assert math.isnan(parameter_test(old, new, NONE))
    # One component for rows of the same population is not a change, and two of them resolve it.
    single = fitted(old.cells, JointMixture([1.0], [[1.2, 0.8]], [4.0 * np.eye(2)], TWO.names))
    same = replace(same, selection=[(2, same.fit.bic), (1, same.fit.bic + 50.0)])
    compared = compare_joint_fits(single, same, NONE)
    assert (compared.verdict, compared.pvalue > 0.05) == (SHARPENED, True)
