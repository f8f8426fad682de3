"""Two fits compared: influence of rows, matching, distance, verdicts, and whether significances are what they say."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import chi2, false_discovery_control

from benchmarks import comparison as benchmark
from mixpipe.assess.comparison.compare import Fitted, compare_fits, judge_release, match_components, total_variation
from mixpipe.assess.comparison.influence import Common, Influence, NoInfluence, covariance_of_differences
from mixpipe.assess.comparison.verdict import (
    CONCLUSION_CHANGED,
    SHARPENED,
    SHIFTED,
    UNCHANGED,
    ColumnTest,
    Difference,
    Judgement,
    adjusted_pvalues,
    decide,
)
from mixpipe.fitting.choose import fit_mixture
from mixpipe.model.cells import Cells
from mixpipe.model.mixture import Mixture
from mixpipe.model.results import FitResult, Uncertainties
from tests.campaign import mostly_study, study

THREE = Mixture([0.5, 0.3, 0.2], [0.0, 4.0, 8.5], [1.0, 0.7, 1.2])
NONE = Common(np.arange(0), np.arange(0))


def sample(mixture: Mixture, n: int, seed: int, spread: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    err = 0.4 * np.exp(spread * rng.standard_normal(n))
    return mixture.sample(n, rng) + err * rng.standard_normal(n), err


def fitted(cells: Cells, start: Mixture, **changes) -> Fitted:
    fit = fit_mixture(cells, n_components=start.n_components, start=start, n_threads=1)
    size = fit.n_components
    known = {
        "fit": fit,
        "cells": cells,
        "component": fit.mixture.responsibilities(cells.x, cells.err).argmax(axis=1),
        "selection": [(size, fit.bic), (size - 1, fit.bic + 20.0), (size + 1, fit.bic + 8.0)],
        "sigma_upper": np.full(size, np.nan),
    }
    return Fitted(**(known | changes))


def bare(means, sigmas=None, weights=None, unc=0.1, **rest) -> FitResult:
    """A fit of which only the mixture and one size of uncertainty are given."""
    size = len(means)
    mixture = Mixture(weights or np.full(size, 1.0 / size), means, sigmas or np.ones(size))
    return FitResult(
        mixture,
        "em",
        0.0,
        0.0,
        100.0,
        3 * size - 1,
        True,
        uncertainties=Uncertainties(*np.full((3, size), unc)),
        **rest,
    )


# ----- influence


def test_influence_of_one_component_is_that_of_mean_and_variance():
    x, _ = sample(Mixture([1.0], [3.0], [2.0]), 500, 1)
    err = 0.7
    cells = Cells.from_rows(x, err)
    fit = fit_mixture(cells, n_components=1)
    influence = Influence(fit, cells)
    found = influence.of_rows(cells.x, cells.err)
    mean, variance = x.mean(), x.var()
    # Maximum likelihood with equal errors is the mean and the variance of the sample less err**2.
    sigma = math.sqrt(variance - err**2)
    np.testing.assert_allclose(found[:, 1], (x - mean) / 500, atol=1e-9)
    np.testing.assert_allclose(found[:, 2], ((x - mean) ** 2 - variance) / 500 / (2 * sigma), atol=1e-9)
    np.testing.assert_array_equal(found[:, 0], 0.0)
    # Mean and variance of a Gaussian sample are independent.
    expected = np.diag([0.0, variance / 500, (2 * variance**2 / 500) / (2 * sigma) ** 2])
    np.testing.assert_allclose(influence.covariance(cells.weights), expected, rtol=1e-5, atol=1e-9)
    half = np.where(np.arange(500) < 250, 1.0, 0.0)
    # The expectation by the trapezium rule is exact to 1e-6, see mixpipe.assess.comparison.influence.
    np.testing.assert_allclose(influence.covariance(half), expected / 2, rtol=1e-5, atol=1e-9)


def test_information_is_that_of_the_fit():
    x, err = sample(THREE, 3000, 2)
    cells = Cells.from_rows(x, err)
    fit = fit_mixture(cells, n_components=3, start=THREE)
    variance = np.diag(Influence(fit, cells).covariance(cells.weights)).reshape(3, 3)
    unc = fit.uncertainties
    # Computed by other code, from the same Hessian.
    np.testing.assert_allclose(np.sqrt(variance), np.transpose([unc.weights, unc.means, unc.sigmas]), rtol=1e-4)


@pytest.mark.parametrize("precise", [True, False])
def test_rows_vary_as_their_errors_let_them(precise):
    """The share of the precise rows in the variance, from the expectation and from the rows themselves."""
    mixture = Mixture([0.7, 0.3], [0.0, 1.5], [1.5, 0.1])
    x, err = sample(mixture, 40_000, 14, spread=1.0)
    cells = Cells.from_rows(x, err)
    influence = Influence(fit_mixture(cells, n_components=2, start=mixture), cells)
    some = (err < 0.4) == precise
    expected = np.sum(influence.of_rows(x[some], err[some]) ** 2, axis=0)
    # 20,000 squares, few of which are of the narrow component and within its reach: 2 to 3 per cent.
    np.testing.assert_allclose(np.diag(influence.covariance(some.astype(float))), expected, rtol=0.1)


def test_influence_predicts_what_an_appended_row_does():
    x, err = sample(THREE, 4000, 3)
    before = fit_mixture(Cells.from_rows(x, err), n_components=3, start=THREE)
    influence = Influence(before, Cells.from_rows(x, err))
    for value in (-2.0, 2.5, 9.0):
        after = fit_mixture(
            Cells.from_rows(np.append(x, value), np.append(err, 0.3)), n_components=3, start=before.mixture
        )
        change = np.transpose(
            [getattr(after.mixture, n) - getattr(before.mixture, n) for n in ("weights", "means", "sigmas")]
        )
        predicted = influence.of_rows(np.array([value]), np.array([0.3])).reshape(3, 3)
        # Terms of second order are smaller by some 1 / (rows in a component), 1/800 here, times leverages of a few.
        np.testing.assert_allclose(change, predicted, atol=0.02 * np.abs(predicted).max())


def test_blocks_of_rows_change_nothing(monkeypatch):
    x, err = sample(THREE, 500, 4)
    cells = Cells.from_rows(x, err)
    fit = fit_mixture(cells, n_components=3, start=THREE)
    common = Common(np.arange(400), np.arange(50, 450))

    def covariance():
        influence = Influence(fit, cells)
        return covariance_of_differences(influence, influence, [(0, 0), (1, 1), (2, 2)], common)

    whole = covariance()
    monkeypatch.setattr("mixpipe.assess.comparison.influence._BLOCK", 7)
    # Sums in another order; covariances may cancel.
    np.testing.assert_allclose(covariance(), whole, rtol=1e-9, atol=1e-9 * np.abs(whole).max())


@pytest.mark.parametrize("n_common", [0, 300, 600])
def test_joint_uncertainty_of_a_mean(n_common):
    x, _ = sample(Mixture([1.0], [0.0], [2.0]), 1200, 5)
    y = np.concatenate([x[:n_common], x[600:]])
    old, new = (fitted(Cells.from_rows(rows, 0.5), Mixture([1.0], [0.0], [2.0])) for rows in (x[:600], y))
    common = Common(np.arange(n_common), np.arange(n_common))
    compared = compare_fits(old, new, common)
    joint = next(each.joint_unc for each in compared.differences if each.parameter == "mean")
    variance = x.var()
    expected = variance * (1 / 600 + 1 / len(y) - 2 * n_common / (600 * len(y)))
    # Sample variances of 600 rows scatter by sqrt(2 / 600) = 6 %, the uncertainty by half of that.
    assert joint == pytest.approx(math.sqrt(expected), rel=0.1)
    if n_common == 0:
        assert joint == pytest.approx(
            math.hypot(old.fit.uncertainties.means[0], new.fit.uncertainties.means[0]), rel=1e-5
        )


def test_a_row_of_weight_two_is_two_rows():
    x, err = sample(THREE, 400, 6)
    y, more = sample(THREE, 400, 7)
    weights = np.where(np.arange(400) % 3 == 0, 2.0, 1.0)
    twice = np.repeat(np.arange(400), weights.astype(int))
    kept = np.arange(200)
    one = compare_fits(
        fitted(Cells.from_rows(x, err, weights), THREE),
        fitted(Cells.from_rows(np.r_[x[:200], y], np.r_[err[:200], more], np.r_[weights[:200], weights]), THREE),
        Common(kept, kept),
    )
    size = np.count_nonzero(twice < 200)
    places = np.arange(size)
    two = compare_fits(
        fitted(Cells.from_rows(x[twice], err[twice]), THREE),
        fitted(Cells.from_rows(np.r_[x[twice][:size], y[twice]], np.r_[err[twice][:size], more[twice]]), THREE),
        Common(places, places),
    )
    found, expected = ([each.joint_unc for each in compared.differences] for compared in (one, two))
    # The groups of similar errors are not quite the same.
    np.testing.assert_allclose(found, expected, rtol=1e-2)


# ----- the test for one population


@pytest.mark.parametrize("shift", [0.0, 0.25, 0.4, 1.5])
@pytest.mark.parametrize("common", [NONE, None])
def test_pvalue_of_one_gaussian_in_closed_form(shift, common):
    """Scores of mean and variance of one Gaussian without errors are independent."""
    rng = np.random.default_rng(15)
    samples = [rng.normal(0.0, 2.0, 300), rng.normal(shift, 2.0 + 0.2 * shift, 500)]
    old, new = (fitted(Cells.from_rows(x), Mixture([1.0], [0.0], [2.0])) for x in samples)
    both = np.concatenate(samples)
    mean, variance, size = both.mean(), both.var(), 1 / 300 + 1 / 500
    by_mean = (samples[1].mean() - samples[0].mean()) / math.sqrt(variance * size)
    squares = [((x - mean) ** 2).mean() for x in samples]
    by_variance = (squares[1] - squares[0]) / math.sqrt(2.0 * variance**2 * size)
    together, largest = chi2.sf(by_mean**2 + by_variance**2, 2), 2.0 * ndtr(-max(abs(by_mean), abs(by_variance)))
    # Bonferroni's bounds for two parameters, and for the better of two tests. Maxima are reached to 1e-6 uncertainties,
    # of which the largest difference has nine.
    expected = min(1.0, 2.0 * min(together, 2.0 * largest))
    assert compare_fits(old, new, common).pvalue == pytest.approx(expected, rel=1e-4)


def test_a_population_that_five_rows_would_show_is_not_missed_for_sure():
    """None of 400 rows against 5 or 40 of 400 in a population of its own: Fisher's exact test gives 0.06 and 1e-13."""
    rng = np.random.default_rng(17)
    one = rng.normal(0.0, 1.0, 400)
    old = fitted(Cells.from_rows(one, 0.1), Mixture([1.0], [0.0], [1.0]))
    found = []
    for n_far in (5, 40):
        x = np.r_[rng.normal(0.0, 1.0, 400 - n_far), rng.normal(12.0, 0.5, n_far)]
        start = Mixture([1.0 - n_far / 400, n_far / 400], [0.0, 12.0], [1.0, 0.5])
        found.append(compare_fits(old, fitted(Cells.from_rows(x, 0.1), start), NONE))
    assert [each.verdict for each in found] == [SHARPENED, CONCLUSION_CHANGED]
    assert found[0].pvalue > 0.05
    assert found[1].pvalue < 1e-6
    assert "compatible with one population" in found[0].notes[-1]


def test_pvalue_does_not_depend_on_the_order_of_rows():
    x, err = sample(THREE, 440, 18)
    order = np.random.default_rng(19).permutation(440)
    place = np.empty(440, dtype=int)
    place[order] = np.arange(440)
    old = fitted(Cells.from_rows(x[:400], err[:400]), THREE)
    straight, shuffled = (fitted(Cells.from_rows(x[rows], err[rows]), THREE) for rows in (np.arange(440), order))
    common = np.arange(400)
    expected = compare_fits(old, straight, Common(common, common)).pvalue
    # Sums in another order: no draw, or one, changes sides.
    assert compare_fits(old, shuffled, Common(common, place[:400])).pvalue == pytest.approx(expected, abs=1.1e-4)


def test_pvalue_of_rows_with_weights_is_that_of_as_many_rows():
    x, err = sample(THREE, 400, 20)
    y, more = sample(Mixture(THREE.weights, THREE.means + np.array([0.2, 0.0, 0.0]), THREE.sigmas), 400, 21)
    weights = np.where(np.arange(400) % 2 == 0, 2.0, 1.0)
    twice = np.repeat(np.arange(400), weights.astype(int))
    one = compare_fits(
        *(fitted(Cells.from_rows(values, errors, weights), THREE) for values, errors in ((x, err), (y, more))), NONE
    )
    two = compare_fits(
        *(fitted(Cells.from_rows(values[twice], errors[twice]), THREE) for values, errors in ((x, err), (y, more))),
        NONE,
    )
    # The groups of similar errors are not quite the same: 1 % of a difference of two to three uncertainties.
    assert one.pvalue == pytest.approx(two.pvalue, rel=0.1)


def test_one_revised_row_cannot_be_improbable():
    x, err = sample(THREE, 600, 16)
    y = x.copy()
    y[0] += 0.5
    old, new = (fitted(Cells.from_rows(values, err), THREE) for values in (x, y))
    compared = compare_fits(old, new, Common(np.arange(600), np.arange(600)))
    # The difference d is what the row does, and its covariance at least d d': chi^2 is 1 at most, of one parameter.
    assert compared.pvalue > 2 * ndtr(-1.0)
    # Nothing differs at all.
    assert compare_fits(old, old, Common(np.arange(600), np.arange(600))).pvalue == 1.0


# ----- matching and distance


@pytest.mark.parametrize(
    "old, new, pairs",
    [
        (([0, 10], [1, 1]), ([0.1, 10.1], [1, 1]), [(0, 0), (1, 1)]),
        (([0, 10], [1, 1]), ([0, 5, 10], [1, 1, 1]), [(0, 0), (1, 2)]),
        (([0, 5, 10], [1, 1, 1]), ([5], [1]), [(1, 0)]),
        (([0, 0.1], [1, 8]), ([-0.1, 0], [8, 1]), [(0, 1), (1, 0)]),
        (([0], [1]), ([20], [1]), []),
        (([0, 3], [0, 0]), ([0.05, 3], [0, 0]), [(0, 0), (1, 1)]),
    ],
    ids=["same", "appeared", "vanished", "one inside the other", "elsewhere", "no widths, but uncertain means"],
)
def test_matching(old, new, pairs):
    assert match_components(bare(*old), bare(*new)) == pairs


def test_components_that_are_hardly_determined_differ_from_none():
    loose = bare([-1, 4], [0, 0], unc=20.0, boundary=np.array([True, True]))
    assert match_components(loose, bare([-0.1, 3.9], [0.9, 0.8])) == [(0, 0), (1, 1)]
    # Their widths may be what the limits allow, and no more.
    edge = bare([0], [0], unc=0.01, boundary=np.array([True]))
    limits = (np.array([1.5]), np.array([math.nan]))
    assert match_components(edge, bare([0.1], [0.9]), limits) == [(0, 0)]
    assert match_components(edge, bare([0.1], [9.0]), limits) == []
    # A limit that does not exist says nothing.
    none = (np.array([np.inf]), np.array([math.nan]))
    assert match_components(edge, edge, none) == [(0, 0)]


def test_total_variation_in_closed_form():
    one = Mixture([1.0], [0.0], [1.0])
    assert total_variation(one, one) == 0.0
    assert total_variation(one, Mixture([1.0], [100.0], [1.0])) == pytest.approx(1.0, abs=1e-12)
    # Gaussians of widths 1 and 2 cross at +- sqrt(8 ln 2 / 3); cells of the grid at the crossing are off by their size.
    crossing = math.sqrt(8.0 * math.log(2.0) / 3.0)
    expected = 2.0 * (ndtr(crossing) - ndtr(crossing / 2.0))
    assert total_variation(one, Mixture([1.0], [0.0], [2.0])) == pytest.approx(expected, abs=1e-4)
    heavy, light = (Mixture([w, 1.0 - w], [0.0, 1000.0], [1.0, 1e-3]) for w in (0.7, 0.4))
    assert total_variation(heavy, light) == pytest.approx(0.3, abs=1e-9)
    assert total_variation(light, heavy) == total_variation(heavy, light)
    uniform = Mixture([1.0], [0.5], [1.0 / math.sqrt(12.0)], ("uniform",))
    shifted = Mixture([1.0], [0.75], [1.0 / math.sqrt(12.0)], ("uniform",))
    assert total_variation(uniform, shifted) == pytest.approx(0.25, abs=1e-3)


# ----- verdicts


def difference(significance, joint_unc=1.0, old_unc=1.0, new_unc=1.0, parameter="mean"):
    return Difference(
        "matched", 1, 1, parameter, 0.0, old_unc, new=significance * joint_unc, new_unc=new_unc, joint_unc=joint_unc
    )


CALM = [difference(0.5), difference(-1.5)]
SAME, OTHER = ColumnTest(0.3, 0.3), ColumnTest(0.001, 0.02, 20)
UNKNOWN = ColumnTest(math.nan, math.nan)


@pytest.mark.parametrize(
    "sizes, n_matched, delta_bic, test, verdict",
    [
        ((2, 2), 2, 0.0, SAME, UNCHANGED),
        ((2, 2), 2, 0.0, OTHER, SHIFTED),
        ((2, 2), 2, 0.0, ColumnTest(0.05, 0.05), SHIFTED),
        # What decides is the probability over all columns.
        ((2, 2), 2, 0.0, ColumnTest(0.01, 0.06, 6), UNCHANGED),
        ((2, 2), 2, 0.0, UNKNOWN, UNCHANGED),
        # Other components are a change only if the population has changed.
        ((2, 3), 2, 6.1, OTHER, CONCLUSION_CHANGED),
        ((2, 3), 2, 5.9, OTHER, SHIFTED),
        ((3, 2), 2, math.nan, OTHER, CONCLUSION_CHANGED),
        ((2, 2), 1, 0.0, OTHER, CONCLUSION_CHANGED),
        ((2, 3), 1, 0.5, OTHER, CONCLUSION_CHANGED),
        # The same population with more components than the old rows showed.
        ((2, 3), 2, 6.1, SAME, SHARPENED),
        ((2, 3), 2, 5.9, SAME, UNCHANGED),
        ((3, 2), 2, 6.1, SAME, UNCHANGED),
        ((2, 2), 1, 0.0, SAME, UNCHANGED),
        # Without a p-value the components are all that there is.
        ((2, 3), 2, 6.1, UNKNOWN, CONCLUSION_CHANGED),
        ((2, 3), 2, 5.9, UNKNOWN, UNCHANGED),
        ((2, 2), 1, 0.0, UNKNOWN, CONCLUSION_CHANGED),
    ],
)
def test_verdict(sizes, n_matched, delta_bic, test, verdict):
    assert decide(*sizes, n_matched, delta_bic, CALM, test).verdict == verdict


@pytest.mark.parametrize(
    "new_uncs, unc_ratio, verdict",
    [
        ((0.7, 0.8), 0.75, SHARPENED),
        ((0.7, 1.2), 0.75, UNCHANGED),
        # Uncertainties that are smaller by chance, since the rows are as many and as precise as before.
        ((0.7, 0.8), 1.0, UNCHANGED),
        ((0.7, 0.8), math.nan, SHARPENED),
        ((math.nan, math.nan), 0.75, UNCHANGED),
    ],
)
def test_sharpened(new_uncs, unc_ratio, verdict):
    differences = [difference(1.0, new_unc=new_unc) for new_unc in new_uncs]
    judgement = decide(1, 1, 1, 0.0, differences, SAME, unc_ratio)
    assert judgement.verdict == verdict
    if verdict == SHARPENED:
        assert judgement.threshold == "0.05; 0.8"


def judged(significances, test=OTHER) -> Judgement:
    return decide(2, 2, 2, 0.0, [difference(each) for each in significances], test)


@pytest.mark.parametrize(
    "significances, findings",
    [
        # Holm's bounds for three: 5 % / 3, / 2 and / 1, or 2.394, 2.241 and 1.960 joint uncertainties.
        ((2.38, 2.3, 2.0), ("hint", "hint", "")),
        ((-2.41, 2.23, 2.0), ("shifted", "hint", "")),
        ((2.41, -2.25, 1.95), ("shifted", "shifted", "")),
        ((1.97, 2.25, 2.41), ("shifted", "shifted", "shifted")),
        ((9.0, 0.1, math.nan), ("shifted", "", "")),
    ],
)
def test_parameters_are_named_by_holms_procedure(significances, findings):
    found = judged(significances)
    assert found.verdict == SHIFTED
    assert found.findings == findings
    assert found.shifted.count("mean") == findings.count("shifted")
    assert ("together" in found.shifted) == ("shifted" not in findings)
    # In a column that has not changed all of these are hints.
    calm = judged(significances, SAME)
    assert calm.findings == tuple("hint" if abs(each) > 2.0 else "" for each in significances)
    assert (calm.shifted, calm.hints.count("mean")) == ("", calm.findings.count("hint"))


def test_verdicts_state_their_evidence_and_its_threshold():
    assert judged((1.0,), SAME).basis == "p = 0.3, threshold 0.05"
    assert judged((1.0,)).basis == "p = 0.001 (0.02 over 20 columns), threshold 0.05"
    more = decide(2, 3, 2, 6.5, CALM, SAME)
    assert (more.evidence, more.threshold) == ("p = 0.3; evidence 6.5 in BIC", "0.05; 6")
    assert more.basis == "p = 0.3, threshold 0.05; evidence 6.5 in BIC, threshold 6"
    assert decide(2, 3, 2, 6.5, CALM, UNKNOWN).basis == "evidence 6.5 in BIC, threshold 6"
    assert judged((1.0,), UNKNOWN).basis == "no p-value, threshold 0.05"
    assert judged((-2.5, 0.0), SAME).hints == "mean 1 (-2.5σ)"


@pytest.mark.parametrize(
    "judgement, word",
    [
        (decide(2, 3, 2, 5.9, CALM, SAME), "5.9 in BIC"),
        (decide(2, 3, 2, math.nan, CALM, OTHER), "evidence"),
        (decide(2, 3, 2, 9.0, CALM, SAME), "compatible with one population"),
        (decide(2, 2, 1, 0.0, CALM, SAME), "compatible with one population"),
        (decide(2, 3, 2, 9.0, CALM, UNKNOWN), "false alarms is not known"),
        (decide(1, 1, 1, 0.0, [difference(4.0, joint_unc=0.1)], OTHER), "none of the differences is larger"),
        (decide(1, 1, 1, 0.0, [difference(1.9), difference(1.9)], OTHER), "all are together"),
    ],
)
def test_verdicts_that_need_a_word_have_it(judgement, word):
    assert [word in note for note in judgement.notes] == [True]


def test_pvalues_are_adjusted_for_the_false_discovery_rate():
    pvalues = np.random.default_rng(22).random(30) ** 3
    expected = false_discovery_control(pvalues)
    np.testing.assert_allclose(adjusted_pvalues(pvalues.tolist()), expected, rtol=1e-12)
    # By hand: of four, 4/1 of the first, 4/2 of the second and 4/3 of the third, none above those that follow.
    assert adjusted_pvalues([0.5, 0.01, 0.04, 0.012]) == pytest.approx([0.5, 0.024, 4 / 3 * 0.04, 0.024])
    assert adjusted_pvalues([]) == []
    assert np.isnan(adjusted_pvalues([math.nan])[0])


def test_columns_of_a_release_are_judged_together():
    x, err = sample(THREE, 600, 23)
    y, more = sample(Mixture(THREE.weights, THREE.means + np.array([0.4, 0.0, 0.0]), THREE.sigmas), 600, 24)
    old, new = (fitted(Cells.from_rows(*rows), THREE) for rows in ((x, err), (y, more)))
    moved = compare_fits(old, new, NONE)
    calm = compare_fits(old, old, Common(np.arange(600), np.arange(600)))
    assert moved.verdict == SHIFTED
    assert (moved.test.n_columns, moved.test.pvalue_release) == (1, moved.pvalue)
    # Enough columns without a change that the adjusted probability is above the threshold.
    n_calm = math.ceil(0.05 / moved.pvalue)
    together = judge_release([moved, *[calm] * n_calm])
    assert together[0].test.pvalue_release == pytest.approx(moved.pvalue * (n_calm + 1))
    assert together[0].pvalue == moved.pvalue
    assert {each.verdict for each in together} == {UNCHANGED}
    far = [each.label for each in moved.differences if abs(each.significance) > 2.0]
    assert far
    assert together[0].judgement.hints == ", ".join(far)
    assert judge_release([moved, calm])[0].verdict == SHIFTED


# ----- whole comparisons


def test_a_fit_and_itself():
    x, err = sample(THREE, 600, 8)
    one = fitted(Cells.from_rows(x, err), THREE)
    compared = compare_fits(one, one, Common(np.arange(600), np.arange(600)))
    assert compared.verdict == UNCHANGED
    assert [each.significance for each in compared.differences] == [0.0] * 9
    assert (compared.gain, compared.distance, compared.delta_bic) == (0.0, 0.0, 0.0)
    rows = compared.rows
    assert (rows.n_common, rows.n_added, rows.n_dropped, rows.n_revised, rows.n_moved) == (600, 0, 0, 0, 0)
    assert compared.notes == ()


def test_another_start_is_no_difference():
    """Fits of the same rows differ by rounding, which is not significant though the rows leave no room at all."""
    x, err = sample(THREE, 600, 8)
    cells = Cells.from_rows(x, err)
    first = fitted(cells, THREE)
    second = fitted(cells, Mixture([0.4, 0.3, 0.3], [0.5, 4.5, 8.0], [1.5, 1.0, 1.0]))
    compared = compare_fits(first, second, Common(np.arange(600), np.arange(600)))
    assert compared.verdict == UNCHANGED
    assert abs(compared.largest.significance) < 1.0


def test_rows_are_counted():
    x, err = sample(THREE, 600, 9)
    y, more = x[100:].copy(), err[100:].copy()
    y[:5] += 0.1
    more[3:8] *= 1.1
    y[20:30] *= 1.0 + 1e-12  # a conversion of units
    y, more = np.append(y, 30.0), np.append(more, 0.1)
    old, new = fitted(Cells.from_rows(x, err), THREE), fitted(Cells.from_rows(y, more), THREE)
    rows = compare_fits(old, new, Common(np.arange(100, 600), np.arange(500))).rows
    assert (rows.n_old, rows.n_new, rows.n_common) == (600, 501, 500)
    assert (rows.n_added, rows.n_dropped, rows.n_revised) == (1, 100, 8)
    moved = old.component[100:] != new.component[:500]
    assert rows.n_moved == moved.sum()


def test_a_population_appears_and_vanishes():
    two = Mixture([0.6, 0.4], [0.0, 4.0], [1.0, 0.7])
    many, few = (fitted(Cells.from_rows(*sample(mixture, 900, 10)), mixture) for mixture in (THREE, two))
    compared = compare_fits(few, many, NONE)
    assert (compared.verdict, compared.appeared, compared.vanished) == (CONCLUSION_CHANGED, [2], [])
    assert compared.delta_bic == 20.0  # as the new selection has it
    appeared = [each for each in compared.differences if each.status == "appeared"]
    assert [(each.component_old, each.component_new) for each in appeared] == [(0, 3)] * 3
    assert appeared[1].new == many.fit.mixture.means[2]
    assert compare_fits(many, few, NONE).vanished == [2]
    cells = many.cells
    gain = many.fit.mixture.logpdf(cells.x, cells.err).sum() - few.fit.mixture.logpdf(cells.x, cells.err).sum()
    assert compared.gain == pytest.approx(gain, rel=1e-9)


def test_without_keys_the_fits_are_independent():
    x, err = sample(THREE, 600, 11)
    one = fitted(Cells.from_rows(x, err), THREE)
    compared = compare_fits(one, one, None)
    unc = one.fit.uncertainties
    found = [each.joint_unc for each in compared.differences]
    np.testing.assert_allclose(found, math.sqrt(2) * np.transpose([unc.weights, unc.means, unc.sigmas]).ravel())
    assert math.isnan(compared.rows.n_added)
    assert "without a key" in compared.notes[0]


def test_a_sigma_on_the_boundary_has_no_significance():
    rng = np.random.default_rng(12)
    x = np.r_[rng.normal(0, 1, 300) * 0.9, rng.normal(8, 1.5, 300)]
    truth = Mixture([0.5, 0.5], [0.0, 8.0], [0.1, 1.0])
    cells = Cells.from_rows(x, 1.0)
    old = fitted(cells, truth, sigma_upper=np.array([0.3, np.nan]))
    assert old.fit.boundary.tolist() == [True, False]
    compared = compare_fits(old, old, Common(np.arange(600), np.arange(600)))
    by_sigma = [each for each in compared.differences if each.parameter == "sigma"]
    assert math.isnan(by_sigma[0].significance)
    assert (by_sigma[0].old_upper, by_sigma[0].new_upper) == (0.3, 0.3)
    assert by_sigma[1].significance == 0.0
    assert "1 sigmas on the boundary" in compared.notes[0]
    assert compared.distance == 0.0


@pytest.mark.parametrize("kind", ["family", "limits", "estimator"])
def test_what_has_no_influence_function_is_taken_for_independent(kind):
    x, err = sample(THREE, 300, 13)
    limits = np.where(np.arange(300) % 20 == 0, -1, 0) if kind == "limits" else None
    cells = Cells.from_rows(x, err, limits=limits)
    one = fitted(Cells.from_rows(x, err), THREE)
    family = ("laplace", "gaussian", "gaussian") if kind == "family" else ()
    mixture = Mixture(one.fit.mixture.weights, one.fit.mixture.means, one.fit.mixture.sigmas, family)
    unc = one.fit.uncertainties
    fit = FitResult(mixture, "moments" if kind == "estimator" else "em", 0.0, 0.0, 300.0, 8, True, uncertainties=unc)
    other = Fitted(fit, cells, one.component, one.selection, one.sigma_upper)
    compared = compare_fits(one, other, Common(np.arange(300), np.arange(300)))
    assert compared.differences[1].joint_unc == pytest.approx(math.sqrt(2) * unc.means[0])
    assert "treated as independent" in compared.notes[0]


def test_without_influence_functions_the_pvalue_is_a_bound():
    laplace = ("laplace", "laplace")
    cells = Cells.from_rows(sample(Mixture([0.5, 0.5], [0.0, 5.0], [1.0, 1.0]), 200, 25)[0], 0.4)

    def fit_at(means) -> Fitted:
        fit = bare(means)
        mixture = Mixture(fit.mixture.weights, fit.mixture.means, fit.mixture.sigmas, laplace[: len(means)])
        return Fitted(
            replace(fit, mixture=mixture), cells, np.zeros(200, dtype=np.intp), [], np.full(len(means), np.nan)
        )

    compared = compare_fits(fit_at([0.0, 5.0]), fit_at([0.0, 5.5]), NONE)
    # The largest of six differences: 0.5, of two uncertainties of 0.1.
    assert compared.pvalue == pytest.approx(6 * 2 * ndtr(-0.5 / math.hypot(0.1, 0.1)))
    assert (compared.verdict, compared.judgement.shifted) == (SHIFTED, "mean 2 (+3.5σ)")
    # Components without a counterpart leave nothing to compare.
    lone = compare_fits(fit_at([0.0, 5.0]), fit_at([0.0, 50.0]), NONE)
    assert math.isnan(lone.pvalue)
    assert lone.verdict == CONCLUSION_CHANGED
    assert "false alarms is not known" in lone.notes[-1]


def test_importance_weights_are_worth_their_effective_rows():
    """Weights drawn at random, whatever the values: the variance grows as the number of rows over the effective one."""
    x, err = sample(Mixture([1.0], [0.0], [1.0]), 800, 26, spread=0.0)
    weights = np.random.default_rng(27).lognormal(0.0, 0.5, 800)
    rows = [slice(0, 400), slice(400, 800)]
    weighted = [fitted(Cells.from_rows(x[k], err[k], weights[k]), Mixture([1.0], [0.0], [1.0])) for k in rows]
    compared = compare_fits(*weighted, NONE)
    variance = sum((each.cells.weights @ (each.cells.x - np.mean(x)) ** 2) / each.cells.n_data**2 for each in weighted)
    means = [np.average(each.cells.x, weights=each.cells.weights) for each in weighted]
    by_mean = next(each for each in compared.differences if each.parameter == "mean")
    # The sample variances of 400 rows are known to 7 %, the uncertainty to half of that.
    assert by_mean.significance == pytest.approx((means[1] - means[0]) / math.sqrt(variance), rel=0.15)
    assert 2.0 * ndtr(-abs(by_mean.significance)) <= compared.pvalue * 1.05


# ----- calibration: benchmarks/comparison.py on fewer pairs


@pytest.mark.parametrize("overlap", mostly_study(benchmark.OVERLAPS, campaigns=["disjoint"]))
def test_significances_are_calibrated(overlap):
    found = benchmark.calibration("two separated", 400, overlap, range(100))
    values = np.abs(found["significance"][:, 0])
    shares = np.mean(values < 1.0), np.mean(values < 2.0)
    # Three parameters, nearly independent, of 100 pairs: 2.7 and 1.2 per cent; four times that.
    assert shares[0] == pytest.approx(0.683, abs=0.108)
    assert shares[1] == pytest.approx(0.954, abs=0.048)
    # A column by itself is called changed where its p-value says so.
    n_changed = sum(verdict not in (UNCHANGED, SHARPENED) for verdict in found["verdicts"])
    assert n_changed == np.count_nonzero(found["pvalues"] <= 0.05)
    # 5 of 100: more than 14 have a probability of 1e-4.
    assert np.mean(found["pvalues"] < 0.05) <= 0.14
    # The mean of 100 numbers between 0 and 1: 0.5 +- 0.029; four times that. Bounds are higher, at most twice as high.
    assert np.mean(found["pvalues"]) > 0.5 - 0.116


def test_shifts_are_found():
    """A mean shifted by 4 is called in more than 85 %: 10 of 16 or fewer have a probability of 1 %."""
    found = benchmark.power(400, 4.0, range(16))
    # The mean of 16 significances of deviation 1: 0.25, three times that.
    assert np.mean([significance for significance, _ in found]) == pytest.approx(4.0, abs=0.75)
    assert sum(verdict in benchmark.CHANGES for _, verdict in found) > 10


@study
def test_releases_without_a_change_have_no_verdict():
    """Any of 20 columns is called changed in at most 5 % of the releases: more than 6 of 40 have 3e-3."""
    found = benchmark.measure_releases(40)
    assert found["any"] <= 6


# ----- fits that are unlike


def scaled(x, err) -> Fitted:
    """A fit whose errors were scaled, with the scaled errors, as it is stored."""
    fit = fit_mixture(x, err, n_components=1, error_scale="fit", n_threads=1)
    cells = Cells.from_rows(x, err).with_scaled_errors(fit.error_scale)
    return Fitted(fit, cells, np.zeros(len(x), int), [(1, fit.bic)], np.full(1, np.nan), fit.error_scale)


def test_rows_whose_errors_were_scaled_are_not_revised():
    rng = np.random.default_rng(3)
    err = rng.choice([0.7, 1.5], 300)
    x = rng.normal(0.0, 1.0, 300) + 1.3 * err * rng.standard_normal(300)
    places = np.arange(200)
    compared = compare_fits(scaled(x[:200], err[:200]), scaled(x, err), Common(places, places))
    assert compared.rows.n_revised == 0
    # What a row changes is not known if it changes the scale, too.
    alone = np.hypot(*(fit.uncertainties.means[0] for fit in (compared.old, compared.new)))
    assert next(each for each in compared.differences if each.parameter == "mean").joint_unc == pytest.approx(alone)
    assert "treated as independent" in compared.notes[0]


def test_a_prior_has_no_known_response():
    x, err = sample(Mixture([1.0], [0.0], [1.0]), 100, 1)
    fit = fit_mixture(x, err, n_components=1, prior={"min_rows": 50}, n_threads=1)
    assert fit.prior_rows == 50.0
    with pytest.raises(NoInfluence):
        Influence(fit, Cells.from_rows(x, err))


@pytest.mark.parametrize(
    "unlike",
    [
        {"err": 0.0},
        {"err": np.where(np.arange(60) == 0, 0.0, 0.5)},
        {"error_model": "student_t", "error_dof": 5.0},
        {"error_model": "student_t", "error_dof": 3.0},
    ],
)
def test_fits_with_unlike_errors_are_compared(unlike):
    rng = np.random.default_rng(4)
    one = Mixture([1.0], [0.0], [1.0])
    for old_options in ({}, {"error_model": "student_t", "error_dof": 5.0}):
        old = fitted(Cells.from_rows(rng.standard_normal(80), **({"err": 0.5} | old_options)), one)
        new = fitted(Cells.from_rows(rng.standard_normal(60), **({"err": 0.5} | unlike)), one)
        for first, second in ((old, new), (new, old)):
            assert compare_fits(first, second, None).verdict in (UNCHANGED, SHARPENED)


def test_weights_of_two_kinds_have_no_common_rows():
    x, err = sample(Mixture([1.0], [0.0], [1.0]), 100, 5)
    y, g = sample(Mixture([1.0], [0.0], [1.0]), 100, 6)
    one = Mixture([1.0], [0.0], [1.0])
    old = fitted(Cells.from_rows(x, err, np.full(100, 4.0)), one)
    new = fitted(Cells.from_rows(y, g, np.random.default_rng(7).uniform(0.9, 1.1, 100)), one)
    compared = compare_fits(old, new, Common(np.arange(100), np.arange(100)))
    alone = np.hypot(*(each.fit.uncertainties.means[0] for each in (old, new)))
    assert next(each for each in compared.differences if each.parameter == "mean").joint_unc == pytest.approx(alone)


def test_parameters_without_uncertainties_are_not_said_to_be_within_these():
    difference = Difference("matched", 1, 1, "mean", old=0.0, new=5.0, new_unc=0.1)
    assert decide(1, 1, 1, 0.0, [difference], ColumnTest(1e-9, 1e-9)).notes == (
        "no difference is significant by itself, but all are together",
    )
