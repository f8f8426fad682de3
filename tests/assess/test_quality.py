"""Goodness of fit against scipy and the textbook sums."""

import math

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import kstest, norm

import mixpipe
from mixpipe.assess.catalogs import draw_catalog
from mixpipe.assess.effort import Effort
from mixpipe.assess.kernels import transforms
from mixpipe.assess.pass_quality import assess_rows, statistics_of_rows
from mixpipe.assess.quality import assess, pit
from mixpipe.assess.simulation import quality_pvalues
from mixpipe.model.cells import Cells
from mixpipe.model.mixture import Mixture
from mixpipe.model.rows import Rows
from tests.campaign import mostly_study_pairs, study

TRUTH = Mixture([0.6, 0.4], [0.0, 4.0], [1.0, 0.7])
WRONG = Mixture([1.0], [1.0], [1.5])


def data(n=300, seed=1):
    rng = np.random.default_rng(seed)
    err = 0.4 * np.exp(0.5 * rng.standard_normal(n))
    return TRUTH.sample(n, rng) + err * rng.standard_normal(n), err


def anderson_darling(u):
    """-N - sum (2 i - 1) (ln u_i + ln(1 - u_{N + 1 - i})) / N, with u in rising order (Anderson & Darling 1954)."""
    u = sorted(u)
    n = len(u)
    terms = [(2 * i + 1) * (math.log(u[i]) + math.log1p(-u[n - 1 - i])) for i in range(n)]
    return -n - math.fsum(terms) / n


@pytest.mark.parametrize("mixture", [TRUTH, WRONG], ids=["right", "wrong"])
@pytest.mark.parametrize("n", [1, 2, 300])
def test_statistics_equal_scipy_and_the_textbook(mixture, n):
    cells = Cells.from_rows(*data(n))
    u = pit(mixture, cells)
    quality = assess(mixture, cells)
    assert quality.ks == pytest.approx(kstest(u, "uniform").statistic, rel=1e-12)
    assert quality.ad == pytest.approx(anderson_darling(u), rel=1e-9)


def test_pit_is_uniform_for_the_true_model_with_per_row_errors():
    u = pit(TRUTH, Cells.from_rows(*data(20_000, 2)))
    assert kstest(u, "uniform").pvalue > 1e-3
    x, err = data(20_000, 2)
    assert kstest(pit(TRUTH, Cells.from_rows(x, 0 * err)), "uniform").pvalue < 1e-3  # errors do matter


def test_a_weight_of_two_is_the_row_twice():
    x, err = data()
    weighted = assess(WRONG, Cells.from_rows(x, err, np.full(300, 2.0)))
    doubled = assess(WRONG, Cells.from_rows(np.tile(x, 2), np.tile(err, 2)))
    assert weighted.ks == pytest.approx(doubled.ks, rel=1e-12)
    assert weighted.ad == pytest.approx(doubled.ad, rel=1e-9)


def test_unequal_weights_are_repetitions_and_zero_is_absence():
    x, err = data(60)
    counts = np.random.default_rng(3).integers(0, 4, 60)
    weighted = assess(WRONG, Cells.from_rows(x, err, counts))
    repeated = assess(WRONG, Cells.from_rows(np.repeat(x, counts), np.repeat(err, counts)))
    assert weighted.ks == pytest.approx(repeated.ks, rel=1e-12)
    assert weighted.ad == pytest.approx(repeated.ad, rel=1e-9)


def test_order_of_rows_does_not_matter():
    x, err = data()
    order = np.random.default_rng(4).permutation(300)
    first, second = assess(WRONG, Cells.from_rows(x, err)), assess(WRONG, Cells.from_rows(x[order], err[order]))
    assert first.ks == pytest.approx(second.ks, rel=1e-12)
    assert first.ad == pytest.approx(second.ad, rel=1e-9)


def test_a_row_far_out_leaves_everything_finite():
    x, err = data()
    for far in (1e6, -1e6):
        quality = assess(TRUTH, Cells.from_rows(np.append(x, far), np.append(err, 0.1)))
        assert np.isfinite([quality.ks, quality.ad]).all()


def test_both_tails_count_alike():
    x, err = data()
    x = np.append(x, 12.0)
    err = np.append(err, 0.1)
    mirrored = Mixture(TRUTH.weights, -TRUTH.means, TRUTH.sigmas)
    upper = assess(TRUTH, Cells.from_rows(x, err))
    lower = assess(mirrored, Cells.from_rows(-x, err))
    assert upper.ks == pytest.approx(lower.ks, rel=1e-9)
    assert upper.ad == pytest.approx(lower.ad, rel=1e-6)


def gaussian_fit(mixture, x, err, weights=None, weight_kind="auto"):
    cells = Cells.from_rows(x, err, weights, weight_kind=weight_kind)
    return mixpipe.fit_mixture(cells, n_components=mixture.n_components, start=mixture), cells


@pytest.mark.parametrize("kind", ["plain", "rounded", "outliers", "importance"])
def test_one_pass_over_all_rows_gives_the_statistics_of_sorted_rows(kind):
    truth = Mixture([0.4, 0.6], [-1.0, 2.0], [0.5, 1.0])
    rng = np.random.default_rng(3)
    err = rng.uniform(0.1, 0.5, 20_000)
    x = truth.sample(err.size, rng) + err * rng.standard_normal(err.size)
    weights = rng.exponential(1.0, err.size) if kind == "importance" else None
    if kind == "rounded":
        x = np.round(x, 1)
    if kind == "outliers":
        x[:20] = 1e4
    fit, cells = gaussian_fit(truth, x, err, weights)
    exact = assess(fit.mixture, cells)
    found = [statistics_of_rows(fit, in_blocks(cells, size, threads)) for size, threads in ((20_000, 1), (777, 2))]
    assert found[0].ks == found[1].ks
    assert found[0].ad == found[1].ad
    # The distance is missed by what lies in a bin of the transform, at most 2e-5 wide, and by one row.
    assert found[0].ks == pytest.approx(exact.ks, abs=2e-5 + 1.0 / 20_000)
    assert found[0].ad == pytest.approx(exact.ad, rel=2e-3)


def in_blocks(cells, size, n_threads):
    """The rows in blocks, the last one first."""
    starts = range(0, len(cells), size)[::-1]

    def blocks():
        for start in starts:
            part = slice(start, start + size)
            yield cells.x[part], cells.err[part], cells.weights[part]

    return Rows(blocks, n_threads, cells.weight_kind)


@study
def test_pvalues_of_all_rows_are_uniform_where_the_mixture_is_right():
    truth = Mixture([0.4, 0.6], [-1.0, 2.0], [0.5, 1.0])
    p_values = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        err = rng.uniform(0.1, 0.5, 5000)
        fit, cells = gaussian_fit(truth, truth.sample(5000, rng) + err * rng.standard_normal(5000), err)
        found = assess_rows(fit, Rows.of(cells, 1), cells[:1000], Effort(quality_draws=199))
        p_values.append((found.ks_pvalue, found.ad_pvalue))
    # Kolmogorov's statistic of 100 uniform values exceeds 0.193 once in a thousand.
    for column in np.sort(np.array(p_values), axis=0).T:
        assert np.max(np.abs(column - (np.arange(100) + 0.5) / 100)) < 0.193


def test_all_rows_reject_what_some_of_them_do_not_see():
    rng = np.random.default_rng(1)
    x = rng.standard_t(20.0, 200_000)
    fit, cells = gaussian_fit(Mixture([1.0], [0.0], [1.0]), x, None)
    found = assess_rows(fit, Rows.of(cells), cells[:2000], Effort(quality_draws=199))
    assert found.verdict == "rejected"
    few, some = gaussian_fit(fit.mixture, x[:500], None)
    assert min(quality_pvalues(few, some)) > 0.01
    # How wrong it is, is another number: by a part in a hundred at most.
    assert found.ks < 0.01


def test_importance_weights_count_for_their_effective_number_of_rows():
    x = np.random.default_rng(2).normal(size=6000)
    weights = np.random.default_rng(3).exponential(1.0, 6000)
    fit, cells = gaussian_fit(Mixture([1.0], [0.0], [1.0]), x, None, weights)
    whole = assess_rows(fit, Rows.of(cells), cells, Effort(quality_draws=999))
    # Some of the rows, in any units of the weights, say the same about their distribution.
    part = assess_rows(fit, Rows.of(cells), Cells.from_rows(x, None, 7.0 * weights)[::2], Effort(quality_draws=999))
    assert part.ks_pvalue == pytest.approx(whole.ks_pvalue, abs=0.08)
    assert part.ad_pvalue == pytest.approx(whole.ad_pvalue, abs=0.08)


def limited(n, rng, how):
    """Two groups with upper limits: of one survey with the same depth everywhere, or of many."""
    truth = Mixture([0.5, 0.5], [0.0, 5.0], [1.0, 0.7])
    err = rng.uniform(0.1, 0.5, n)
    x = truth.sample(n, rng) + err * rng.standard_normal(n)
    limit = np.full(n, -0.5) if how == "one depth" else rng.normal(0.0, 1.5, n)
    return Cells.from_rows(np.maximum(x, limit), err, limits=-(x < limit).astype(np.int8))


def test_statistics_with_limits_follow_the_definition():
    """A limit may lie anywhere below: the mean over the rows of its distribution functions, on a fine grid."""
    rng = np.random.default_rng(4)
    cells = limited(60, rng, "many depths")
    u = TRUTH.cdf(cells.x, cells.err)
    t = np.linspace(0.0, 1.0, 200_001)
    below = [
        np.minimum(t / own, 1.0) if flag else (t >= own).astype(float)
        for own, flag in zip(u, cells.limits, strict=True)
    ]
    assert assess(TRUTH, cells).ks == pytest.approx(np.abs(np.mean(below, axis=0) - t).max(), abs=2e-5)


@pytest.mark.parametrize(
    ("how", "n"), mostly_study_pairs(["one depth", "many depths"], [120, 6000], [], [("many depths", 120)])
)
def test_pvalues_with_limits_are_uniform(how, n):
    p_values = []
    for seed in range(40):
        cells = limited(n, np.random.default_rng([6, seed]), how)
        start = Mixture([0.5, 0.5], [0.0, 5.0], [1.0, 0.7])
        fit = mixpipe.fit_mixture(cells, n_components=2, start=start)
        p_values.append(quality_pvalues(fit, cells, n_draws=39, seed=seed))
    # Kolmogorov's statistic of 40 uniform values exceeds 0.30 once in a thousand; p-values are multiples of 1/40.
    for column in np.sort(np.array(p_values), axis=0).T:
        assert np.max(np.abs(column - 0.5 / 40 - (np.arange(40) + 0.5) / 40)) < 0.30 + 1.0 / 40


def test_a_wrong_fit_is_rejected_among_limits():
    cells = limited(300, np.random.default_rng(7), "many depths")
    assert max(quality_pvalues(mixpipe.fit_mixture(cells, n_components=1), cells, n_draws=99)) == 0.01


@pytest.mark.parametrize("n", [300, 5000])
def test_a_far_tail_is_tested(n):
    """Values beyond four widths of what they are fitted by: right, and wrong where they end too early."""
    quantiles = norm.isf(norm.sf(4.0) * (np.arange(n) + 0.5) / n)
    cells = Cells.from_rows(quantiles, truncated=(4.0, math.inf))
    fit = mixpipe.fit_mixture(cells, start=Mixture([1.0], [0.0], [1.0]))
    assert min(quality_pvalues(fit, cells, n_draws=99)) > 0.1
    wrong = Cells.from_rows(np.linspace(4.0, 5.0, n), truncated=(4.0, math.inf))
    assert max(quality_pvalues(fit, wrong, n_draws=99)) == 0.01


def test_sides_of_values_in_either_tail():
    """Against SciPy; each of the two is accurate however small it is, out to the smallest normal double."""
    z = np.concatenate([np.linspace(-9.0, 9.0, 3001), np.geomspace(9.0, 37.0, 200), -np.geomspace(9.0, 37.0, 200)])
    z = np.append(z, [0.0, -0.0, 1e-300])
    below, above = np.empty((2, 256))
    weights, means, variances = np.array([0.25, 0.75]), np.array([1.0, 1.0]), np.array([4.0, 4.0])
    for start in range(0, z.size, 256):
        part = slice(start, start + 256)
        err = np.full(z.size, 1.5)
        stop = min(start + 256, z.size)
        transforms._sides(1.0 + 2.5 * z, err, 0.0, start, stop, weights, means, variances, below, above)
        np.testing.assert_allclose(below[: stop - start], ndtr(z[part]), rtol=2e-11)
        np.testing.assert_allclose(above[: stop - start], ndtr(-z[part]), rtol=2e-11)
    # A component without width has all of its probability at its mean, which counts as below.
    x, none = np.array([0.0, 1.0, 2.0]), np.zeros(3)
    transforms._sides(x, none, 0.0, 0, 3, np.ones(1), np.ones(1), np.zeros(1), below, above)
    np.testing.assert_allclose(below[:3], [0.0, 1.0, 1.0], atol=1e-300)
    np.testing.assert_allclose(above[:3], [1.0, 0.0, 0.0], atol=1e-300)


# ----- importance weights that depend on the value


def sampled(seed, n, selection):
    """Of a standard normal, the rows that were selected, with the inverse of the probability as the weight."""
    rng = np.random.default_rng([seed, n])
    x = rng.standard_normal(n)
    probability = selection(x)
    kept = rng.random(n) < probability
    return Cells.from_rows(x[kept], 0.1, 1.0 / probability[kept], weight_kind="importance")


SELECTIONS = {
    "steep": lambda x: 0.95 / (1.0 + np.exp(-3.0 * x)) + 0.02,
    "few in the tails": lambda x: np.exp(-0.5 * (x / 1.5) ** 2),
    "more in the tails": lambda x: np.clip(0.15 + 0.3 * np.abs(x), 0.0, 1.0),
}


@pytest.mark.parametrize("name", SELECTIONS)
def test_drawn_catalogs_are_selected_like_the_data(name):
    """Weighted, they are a sample of the mixture; as they are, they lie where the data do."""
    cells = sampled(1, 20_000, SELECTIONS[name])
    drawn = draw_catalog(Mixture([1.0], [0.0], [1.0]), cells, np.random.default_rng(2))
    total = math.hypot(1.0, 0.1)
    for values, weights in ((cells.x, cells.weights), (drawn.x, drawn.weights)):
        for power, expected in ((1, 0.0), (2, total**2)):
            mean = np.average(values**power, weights=weights)
            variance = np.sum(weights**2 * (values**power - expected) ** 2) / weights.sum() ** 2
            assert abs(mean - expected) < 5.0 * math.sqrt(variance)
    assert kstest(drawn.x, cells.x).pvalue > 1e-3
    # The effective number of rows varies as the sum of the squares of the weights does, in both.
    varies = math.sqrt(2.0 * np.sum(cells.weights**4)) / np.sum(cells.weights**2)
    assert drawn.n_data == pytest.approx(cells.n_data, rel=4.0 * varies)


@study
@pytest.mark.parametrize("name", SELECTIONS)
def test_few_right_fits_to_selected_samples_are_rejected(name):
    """Of a hundred, five: up to eleven by chance."""
    rejected = np.zeros(2)
    for seed in range(100):
        cells = sampled(seed, 200, SELECTIONS[name])
        fit = mixpipe.fit_mixture(cells, n_components=1, n_threads=1)
        rejected += np.array(quality_pvalues(fit, cells, n_draws=49, seed=seed, n_threads=1)) <= 0.051
    assert rejected.max() <= 12
