"""Evidence for two populations: the dip by its definition, the separation and its uncertainty, kurtosis."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import linprog
from scipy.stats import kstest
from scipy.stats import kurtosis as scipy_kurtosis

import mixpipe
from mixpipe.assess.bimodality import bimodality_of, dip_test, intrinsic_kurtosis, kurtosis, separation
from mixpipe.assess.simulation import likelihood_ratio_test
from mixpipe.model.bimodality import DIP_DRAWS
from mixpipe.model.cells import Cells
from mixpipe.model.mixture import Mixture
from tests.campaign import campaign

TWO = Mixture([0.6, 0.4], [0.0, 3.0], [1.0, 0.7])


def two_groups(n, seed=1, error=0.3):
    rng = np.random.default_rng(seed)
    err = error * np.exp(0.4 * rng.standard_normal(n))
    return TWO.sample(n, rng) + err * rng.standard_normal(n), err


# ----- the dip


def dip_by_definition(x):
    """The smallest largest distance of the empirical distribution from a unimodal one, by a linear programme.

    For each value as the mode: a function that is convex below it and concave above, with a jump at it, within a
    distance of the steps. Unknowns are the function at each value, its limit from below at the mode, and the distance.
    """
    values, counts = np.unique(x, return_counts=True)
    high = np.cumsum(counts) / counts.sum()
    low = np.append(0.0, high[:-1])
    n, rows, bounds = values.size, [], []
    best = math.inf

    def at_most(bound, **terms):
        rows.append(terms)
        bounds.append(bound)

    for mode in range(n):
        rows.clear()
        bounds.clear()
        for k in range(n):
            # The function is continuous except at the mode, and so close to both ends of each other step.
            ends = ((n, low[k]), (k, high[k])) if k == mode else ((k, low[k]), (k, high[k]))
            for place, step in ends:
                at_most(step, **{str(place): 1.0, "d": -1.0})
                at_most(-step, **{str(place): -1.0, "d": -1.0})
        at_most(0.0, **{str(n): 1.0, str(mode): -1.0})
        below = [*((values[k], k) for k in range(mode)), (values[mode], n)]
        above = [(values[k], k) for k in range(mode, n)]
        for points, sign in ((below, 1.0), (above, -1.0)):
            for (_, i), (_, j) in pairwise(points):
                at_most(0.0, **{str(i): 1.0, str(j): -1.0})
            for (x0, i), (x1, j), (x2, k) in zip(points, points[1:], points[2:], strict=False):
                first, second = sign / (x1 - x0), sign / (x2 - x1)
                at_most(0.0, **{str(i): -first, str(j): first + second, str(k): -second})
        matrix = np.zeros((len(rows), n + 2))
        for row, terms in zip(matrix, rows, strict=True):
            for name, factor in terms.items():
                row[n + 1 if name == "d" else int(name)] = factor
        found = linprog(np.append(np.zeros(n + 1), 1.0), A_ub=matrix, b_ub=bounds, bounds=(0.0, 1.0))
        best = min(best, found.fun)
    return best


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("rounded", [False, True])
def test_dip_is_that_of_its_definition(seed, rounded):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(4, 13))
    x = rng.normal(size=n) + 4.0 * (rng.random(n) < 0.5)
    x = np.round(x) if rounded else x
    assert dip_test(Cells.from_rows(x))[0] == pytest.approx(dip_by_definition(x), abs=1e-9)


def test_dip_in_closed_form():
    # Two equal atoms: one is the mode, and the jump of the other is halved.
    assert dip_test(Cells.from_rows([0.0, 0.0, 1.0, 1.0]))[0] == pytest.approx(0.25, abs=1e-12)
    # Evenly spaced values are as uniform as steps can be.
    assert dip_test(Cells.from_rows(np.arange(40.0)))[0] == pytest.approx(1 / 80, abs=1e-12)
    # Two uniform groups of equal size that are far apart: F is 1/2 between them, and is cut off by the line through
    # both modes; the dip tends to 1/4.
    x = np.concatenate([np.linspace(0.0, 1.0, 2000), np.linspace(1e6, 1e6 + 1.0, 2000)])
    assert dip_test(Cells.from_rows(x))[0] == pytest.approx(0.25, abs=1e-3)


def test_dip_does_not_depend_on_scale_order_or_how_rows_are_counted():
    x, _ = two_groups(200)
    found = dip_test(Cells.from_rows(x))
    assert dip_test(Cells.from_rows(-7.0 * x[::-1] + 100.0)) == pytest.approx(found, rel=1e-9)
    twice, counted = Cells.from_rows(np.repeat(x, 2)), Cells.from_rows(x, weights=np.full(200, 2.0))
    assert dip_test(twice) == dip_test(counted)
    # Importance weights that are all equal are no weights.
    weighted = Cells.from_rows(x, weights=np.full(200, 0.3), weight_kind="importance")
    assert dip_test(weighted) == pytest.approx(found, rel=1e-9)


@pytest.mark.parametrize(("n", "n_samples"), [(50, 100), pytest.param(3000, 24, marks=campaign)])
def test_pvalues_of_the_dip_are_uniform_where_they_should_be(n, n_samples):
    """Also beyond the number of values that are simulated."""
    rng = np.random.default_rng(4)
    found = [dip_test(Cells(rng.random(n), np.zeros(n), np.ones(n)), seed)[1] for seed in range(n_samples)]
    # Uniform by the test of Kolmogorov and Smirnov; p-values are multiples of a thousandth.
    assert kstest(found, "uniform").pvalue > 0.01


def test_dip_finds_two_groups_and_none():
    rng = np.random.default_rng(5)
    apart = np.concatenate([rng.normal(0.0, 1.0, 100), rng.normal(6.0, 1.0, 100)])
    assert dip_test(Cells.from_rows(apart))[1] == 1.0 / (DIP_DRAWS + 1)
    assert dip_test(Cells.from_rows(rng.normal(size=200)))[1] > 0.2


# ----- the separation


def test_separation_is_that_of_published_parameters():
    """Alsing, Silva & Berti 2018, two components: 1.34 and 1.80 solar masses, widths 0.07 and 0.21."""
    published = math.sqrt(2.0) * (1.80 - 1.34) / math.hypot(0.07, 0.21)
    stars = pd.read_csv("config/demo/neutron_stars_2018.csv")
    x, err = stars.mass, (stars.mass_err_up + stars.mass_err_lo) / 2
    found = mixpipe.fit_mixture(x, err, 2).bimodality(x, err)
    assert abs(found.separation - published) < found.separation_unc
    assert found.separation > 2.0


def test_separation_in_closed_form():
    fit = mixpipe.fit_mixture(*two_groups(400), 2)
    (m1, m2), (s1, s2) = fit.mixture.means, fit.mixture.sigmas
    assert separation(fit)[0] == pytest.approx(math.sqrt(2.0) * (m2 - m1) / math.sqrt(s1**2 + s2**2), rel=1e-12)


def test_uncertainty_of_the_separation_is_that_of_drawn_parameters():
    """First order in the covariance: exact for small covariances, of which draws are made."""
    fit = mixpipe.fit_mixture(*two_groups(400), 2)
    small = replace(fit, covariance=1e-6 * fit.covariance)
    expected, unc = separation(small)
    place = [fit.parameter_names.index(name) for name in ("mean_1", "mean_2", "sigma_1", "sigma_2")]
    centre = np.concatenate([fit.mixture.means, fit.mixture.sigmas])
    draws = np.random.default_rng(6).multivariate_normal(centre, small.covariance[np.ix_(place, place)], 40_000)
    values = math.sqrt(2.0) * (draws[:, 1] - draws[:, 0]) / np.hypot(draws[:, 2], draws[:, 3])
    # Four standard errors of a standard deviation.
    assert unc == pytest.approx(values.std(), rel=4.0 / math.sqrt(80_000))
    assert expected == pytest.approx(values.mean(), abs=4.0 * unc / 200.0)


def test_separation_is_recovered_within_its_uncertainty():
    truth = math.sqrt(2.0) * 3.0 / math.hypot(1.0, 0.7)
    pulls = []
    for seed in range(200):
        value, unc = separation(mixpipe.fit_mixture(*two_groups(1000, seed), 2, start=TWO))
        pulls.append((value - truth) / unc)
    # Three standard errors of a share of 200, and of a mean.
    assert np.mean(np.abs(pulls) < 1.0) == pytest.approx(0.683, abs=3.0 * math.sqrt(0.683 * 0.317 / 200))
    assert np.mean(pulls) == pytest.approx(0.0, abs=3.0 / math.sqrt(200))


def test_a_sigma_of_zero_does_not_take_part_in_the_uncertainty():
    err = np.full(100, 1.0)
    x = np.concatenate([0.5 * np.linspace(-1, 1, 50), 20.0 + 3.0 * np.linspace(-1, 1, 50)])
    fit = mixpipe.fit_mixture(x, err, 2)
    assert fit.boundary.tolist() == [True, False]
    value, unc = separation(fit)
    width, variance = fit.mixture.sigmas[1], np.diag(fit.covariance)
    assert value == pytest.approx(math.sqrt(2.0) * np.diff(fit.mixture.means)[0] / width, rel=1e-12)
    # The groups are far apart, so that their parameters are independent.
    expected = (2.0 / width**2) * (variance[2] + variance[3]) + (value / width) ** 2 * variance[5]
    assert unc == pytest.approx(math.sqrt(expected), rel=1e-3)


def test_other_families_have_a_separation_if_they_have_a_standard_deviation():
    x, err = two_groups(300)
    laplace = mixpipe.fit_mixture(x, err, 2, family="laplace")
    assert laplace.bimodality(x, err).separation_unc > 0.0
    student = mixpipe.fit_mixture(x, err, 2, family="student_t")
    found = student.bimodality(x, err)
    assert math.isnan(found.separation) and found.family == "student_t"
    assert math.isnan(found.kurtosis_intrinsic) and found.likelihood_ratio > 0.0


# ----- kurtosis


@pytest.mark.parametrize("value", [3.0, 3.1, 1e-9])
def test_values_that_are_all_equal_have_no_kurtosis(value):
    weights = np.append(np.ones(7), 0.0)
    assert math.isnan(kurtosis(Cells.from_rows(np.append(np.full(7, value), 5.0), weights=weights)))


def test_kurtosis_is_that_of_scipy():
    x, _ = two_groups(300)
    assert kurtosis(Cells.from_rows(x)) == pytest.approx(scipy_kurtosis(x), rel=1e-9)
    counts = np.arange(300.0) % 3.0
    assert kurtosis(Cells.from_rows(x, weights=counts)) == pytest.approx(
        scipy_kurtosis(np.repeat(x, counts.astype(int))), rel=1e-9
    )


def test_kurtosis_of_a_mixture_in_closed_form():
    """Two equal components at -a and a: -2 a^4 / (a^2 + s^2)^2."""
    assert intrinsic_kurtosis(Mixture([0.5, 0.5], [7.0, 11.0], [1.0, 1.0])) == pytest.approx(-2.0 * 16.0 / 25.0)
    assert intrinsic_kurtosis(Mixture([1.0], [3.0], [2.0])) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("scale", [1e-120, 1e120])
def test_kurtosis_does_not_depend_on_the_scale(scale):
    x, _ = two_groups(50)
    assert kurtosis(Cells.from_rows(scale * x)) == pytest.approx(kurtosis(Cells.from_rows(x)), rel=1e-9)
    mixture = Mixture([0.5, 0.5], [-2.0 * scale, 2.0 * scale], [scale, scale])
    assert intrinsic_kurtosis(mixture) == pytest.approx(-2.0 * 16.0 / 25.0)


# ----- all together


@campaign
def test_table_of_a_selection():
    x, err = two_groups(400)
    selection = mixpipe.choose_n_components(x, err, max_components=3)
    found = mixpipe.bimodality(selection, x, err, n_draws=19, seed=3)
    one, two, _ = selection.fits
    assert found.likelihood_ratio == pytest.approx(2.0 * (two.loglik - one.loglik))
    assert (found.separation, found.separation_unc) == separation(two)
    assert (found.n_selected, found.n_values, found.family) == (selection.best.n_components, 400, "gaussian")
    tested = likelihood_ratio_test(Cells.from_rows(x, err), 1, n_draws=19, seed=3)
    assert (found.likelihood_ratio_pvalue, found.n_draws) == (tested.p_value, 19)
    assert found.likelihood_ratio == pytest.approx(tested.statistic, abs=1e-3)
    # A fit alone is compared with one component, too.
    alone = two.bimodality(x, err)
    assert alone.likelihood_ratio == pytest.approx(found.likelihood_ratio, abs=1e-6)
    assert math.isnan(alone.likelihood_ratio_pvalue)


def test_what_was_tested_is_not_tested_again():
    x, err = two_groups(100)
    cells = Cells.from_rows(x, err)
    tested = likelihood_ratio_test(cells, 1, n_draws=5)
    selection = mixpipe.choose_n_components(x, err, max_components=2)
    assert bimodality_of(selection, cells, n_draws=99, tested=tested).n_draws == 5


def test_points_of_rows_are_not_taken_for_their_values():
    x, err = two_groups(400)
    sample = Cells.from_rows(x[:150], err[:150])
    selection = mixpipe.choose_n_components(x, err, max_components=2)
    found = bimodality_of(selection, Cells.from_rows(x, err), sample=sample)
    assert (found.dip, found.dip_pvalue) == dip_test(sample)
    assert (found.kurtosis, found.n_values) == (kurtosis(sample), 150)
    without = bimodality_of(replace(selection, fits=selection.fits[1:]), Cells.from_rows(x, err), sample=sample)
    assert math.isnan(without.likelihood_ratio)


def test_limits_and_bins_have_no_dip_and_no_kurtosis():
    x, err = two_groups(200)
    limited = Cells.from_rows(x, err, limits=np.where(x < -1.0, -1, 0))
    binned = Cells.from_histogram(*np.histogram(x, 30)[::-1])
    for cells in (limited, binned):
        found = mixpipe.fit_mixture(cells, n_components=2).bimodality(cells)
        assert np.isnan([found.dip, found.dip_pvalue, found.kurtosis]).all()
        assert found.separation_unc > 0.0 and found.likelihood_ratio > 0.0


@campaign
def test_fits_without_two_populations_are_refused():
    x, err = two_groups(100)
    with pytest.raises(ValueError, match="fit has 3 components; expected a fit with 2 components"):
        mixpipe.fit_mixture(x, err, 3).bimodality(x, err)
    with pytest.raises(ValueError, match="none of them a background"):
        mixpipe.fit_mixture(x, err, 2, background="uniform").bimodality(x, err)
    columns = np.column_stack([x, x[::-1]])
    with pytest.raises(ValueError, match="several columns; expected a fit of one"):
        mixpipe.fit_mixture(columns, 0.3, 2).bimodality(columns, 0.3)


def test_units_do_not_matter():
    import astropy.units as u

    x, err = two_groups(100)
    fit = mixpipe.fit_mixture(x * u.mas, err * u.mas, 2)
    ours, theirs = (fit.bimodality(x * u.mas, err * u.mas), fit.bimodality(1e3 * x * u.uas, 1e3 * err * u.uas))
    assert theirs.dip == pytest.approx(ours.dip, rel=1e-9)
    assert theirs.likelihood_ratio == pytest.approx(ours.likelihood_ratio, abs=1e-6)


def test_it_is_shown_as_a_table():
    x, err = two_groups(100)
    found = mixpipe.fit_mixture(x, err, 2).bimodality(x, err)
    lines = repr(found).splitlines()
    assert lines[0] == "two components" and len(lines) == 7
    assert f"{found.dip:.3g}" in lines[4] and "of 100 observed values" in lines[4]
    assert "<td>two components against one</td>" in found._repr_html_()
    assert repr(replace(found, n_selected=3)).startswith("two components (chosen: 3)")
