"""Goodness of fit against scipy and the textbook sums."""

import math

import numpy as np
import pytest
from scipy.stats import kstest

from mixpipe.assess.quality import assess, assess_sample, pit
from mixpipe.model.cells import Cells
from mixpipe.model.mixture import Mixture

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


def test_pvalues_of_a_sample_are_uniform_where_the_mixture_is_right():
    """The parameters were fitted to many more rows, so that those of the sample are textbook ones."""
    truth = Mixture([0.4, 0.6], [-1.0, 2.0], [0.5, 1.0])
    p_values = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        err = rng.uniform(0.1, 0.5, 2000)
        x = truth.sample(2000, rng) + err * rng.standard_normal(2000)
        found = assess_sample(truth, Cells.from_rows(x, err))
        p_values.append((found.ks_pvalue, found.ad_pvalue))
    # Kolmogorov's statistic of 200 uniform values exceeds 0.137 once in a thousand.
    for column in np.sort(np.array(p_values), axis=0).T:
        assert np.max(np.abs(column - (np.arange(200) + 0.5) / 200)) < 0.137


def test_a_sample_rejects_what_all_rows_would():
    rng = np.random.default_rng(1)
    x = rng.standard_t(4.0, 20_000)
    assert assess_sample(Mixture([1.0], [0.0], [np.std(x)]), Cells.from_rows(x)).verdict == "rejected"


def test_rows_alike_count_as_often_as_they_are():
    """A weight of two for each of n values is worth n rows: the statistics do not pretend to know more."""
    x = np.random.default_rng(2).normal(size=3000)
    once = assess_sample(Mixture([1.0], [0.1], [1.0]), Cells.from_rows(x))
    twice = assess_sample(Mixture([1.0], [0.1], [1.0]), Cells.from_rows(x, weights=np.full(3000, 2.0)))
    assert twice.ks_pvalue == pytest.approx(once.ks_pvalue)
    assert twice.ad_pvalue == pytest.approx(once.ad_pvalue)
