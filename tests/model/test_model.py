"""Mixtures, cells and results: against brute-force integration, closed forms, and what the types promise."""

import dataclasses
import math

import numpy as np
import pytest
from astropy.stats import akaike_info_criterion, bayesian_info_criterion
from scipy.special import xlogy
from scipy.stats import norm

import mixpipe
from mixpipe.model.cells import Cells
from mixpipe.model.criteria import aic, bic, icl
from mixpipe.model.mixture import Mixture
from mixpipe.model.resolution import find_grain, find_resolution
from mixpipe.model.results import FitResult, Selection, Uncertainties
from tests import reference as ref

MIXTURES = {
    "two": Mixture([0.6, 0.4], [0.0, 4.0], [1.0, 0.5]),
    "a width of zero": Mixture([0.3, 0.5, 0.2], [-1.0, 0.5, 3.0], [1.5, 0.0, 0.2]),
}
each_mixture = pytest.mark.parametrize("mixture", MIXTURES.values(), ids=MIXTURES.keys())
# Simpson's rule with 80 panels per width: truncation far below this.
INTEGRATION = 1e-9


def parameters(mixture):
    return mixture.weights.tolist(), mixture.means.tolist(), mixture.sigmas.tolist()


@each_mixture
def test_pdf_and_cdf_are_the_integrals_over_the_true_value(mixture):
    x, err = np.array([-2.0, 0.4, 2.0, 3.3]), np.array([0.3, 0.8, 0.01, 2.0])
    pdf = [ref.observed_pdf(xi, ei, *parameters(mixture)) for xi, ei in zip(x, err, strict=True)]
    cdf = [ref.observed_cdf(xi, ei, *parameters(mixture)) for xi, ei in zip(x, err, strict=True)]
    np.testing.assert_allclose(mixture.pdf(x, err), pdf, rtol=INTEGRATION)
    np.testing.assert_allclose(mixture.cdf(x, err), cdf, rtol=INTEGRATION)
    np.testing.assert_allclose(mixture.logpdf(x, err), np.log(pdf), atol=INTEGRATION)
    np.testing.assert_allclose(mixture.sf(x, err), 1.0 - np.array(cdf), atol=INTEGRATION)


@each_mixture
def test_posterior_is_the_integral_over_the_true_value(mixture):
    x, err = np.array([-2.0, 0.4, 2.0, 3.3]), np.array([0.3, 0.8, 0.05, 2.0])
    mean, unc = mixture.posterior(x, err)
    expected_mean, expected_unc = ref.true_posterior(x.tolist(), err.tolist(), *parameters(mixture))
    np.testing.assert_allclose(mean, expected_mean, rtol=INTEGRATION, atol=INTEGRATION)
    np.testing.assert_allclose(unc, expected_unc, rtol=1e-7)


@each_mixture
def test_responsibilities_equal_the_oracle_and_sum_to_one(mixture):
    x, err = np.array([-2.0, 0.4, 2.0, 1e6]), np.array([0.3, 0.8, 0.05, 1.0])
    resp = mixture.responsibilities(x, err)
    expected = ref.responsibilities(x.tolist(), err.tolist(), *parameters(mixture))
    # The row at 1e6 sigma has exponents of 5e11: round-off of 1e-4 in them leaves 0 and 1 as they are.
    np.testing.assert_allclose(resp, expected, atol=1e-13)
    np.testing.assert_allclose(resp.sum(axis=-1), 1.0, rtol=1e-14)


def test_an_exact_value_is_its_own_posterior():
    mean, unc = MIXTURES["two"].posterior([0.3, 2.0], 0.0)
    np.testing.assert_allclose(mean, [0.3, 2.0], rtol=1e-14)
    np.testing.assert_allclose(unc, 0.0, atol=1e-7)  # the square root of a round-off of 1e-16


def test_density_without_errors_and_scalars():
    mixture = MIXTURES["two"]
    expected = 0.6 * norm.pdf(1.0) + 0.4 * norm.pdf(1.0, 4.0, 0.5)
    assert float(mixture.pdf(1.0)) == pytest.approx(expected, rel=1e-14)
    assert mixture.pdf(1.0).shape == ()
    assert mixture.responsibilities(np.zeros((2, 3)), 0.1).shape == (2, 3, 2)
    assert mixture.pdf([0.0, 1.0], [[0.1], [0.2], [0.3]]).shape == (3, 2)


def test_logpdf_and_sf_are_exact_far_out():
    mixture = Mixture([1.0], [0.0], [1.0])
    assert float(mixture.logpdf(100.0)) == pytest.approx(-5000.0 - 0.5 * math.log(2 * math.pi))
    assert float(mixture.sf(30.0)) == pytest.approx(norm.sf(30.0))


def test_a_component_without_width_is_a_step_without_errors():
    mixture = Mixture([0.25, 0.75], [0.0, 3.0], [0.0, 1.0])
    below, at = mixture.cdf([np.nextafter(0.0, -1.0), 0.0])
    assert at - below == pytest.approx(0.25, abs=1e-12)
    assert mixture.pdf(0.0) == np.inf
    assert float(mixture.pdf(0.5)) == pytest.approx(0.75 * norm.pdf(0.5, 3.0, 1.0))


def test_an_exact_value_at_a_component_without_width_belongs_to_it():
    mixture = Mixture([0.5, 0.5], [0.0, 3.0], [0.0, 1.0])
    np.testing.assert_array_equal(mixture.responsibilities(0.0), [1.0, 0.0])
    mean, unc = mixture.posterior(0.0, 0.0)
    assert (float(mean), float(unc)) == (0.0, 0.0)


def test_sample_has_the_moments_and_the_distribution_of_the_mixture():
    mixture = MIXTURES["two"]
    n = 100_000
    sample = mixture.sample(n, np.random.default_rng(5))
    moments = ref.mixture_moments(*parameters(mixture), 4)
    sd = [math.sqrt(ref.mixture_moments(*parameters(mixture), 2 * k)[-1] - moments[k - 1] ** 2) for k in (1, 2)]
    # Four standard errors of the sampled moments.
    assert abs(sample.mean() - moments[0]) < 4 * sd[0] / math.sqrt(n)
    assert abs((sample**2).mean() - moments[1]) < 4 * sd[1] / math.sqrt(n)
    u = np.sort(mixture.cdf(sample))
    assert np.abs(u - np.arange(1, n + 1) / n).max() < 2.2 / math.sqrt(n)  # Kolmogorov: p = 1e-4
    np.testing.assert_array_equal(sample, mixture.sample(n, np.random.default_rng(5)))


def test_components_are_sorted_and_weights_normalised():
    mixture = Mixture([0.3, 0.5, 0.2000001], [3.0, 1.0, 1.0], [1.0, 2.0, 0.5])
    np.testing.assert_array_equal(mixture.means, [1.0, 1.0, 3.0])
    np.testing.assert_array_equal(mixture.sigmas, [0.5, 2.0, 1.0])
    assert mixture.weights.sum() == pytest.approx(1.0, rel=1e-15)
    assert mixture.n_components == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0.5, 0.5], [0.0], [1.0]), "one length"),
        (([0.5, 0.6], [0.0, 1.0], [1.0, 1.0]), "sum to one"),
        (([1.5, -0.5], [0.0, 1.0], [1.0, 1.0]), ">= 0"),
        (([1.0], [np.nan], [1.0]), "finite"),
        (([1.0], [0.0], [-1.0]), ">= 0"),
        (([], [], []), "one length"),
    ],
)
def test_impossible_mixtures_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Mixture(*arguments)


# Cells


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0, np.nan],), "x has 1 bad values, the first at index 1"),
        (([1.0, np.inf, 2.0], 0.1), "x has 1 bad values, the first at index 1"),
        (([1.0, 2.0], [0.1, -0.1]), "err has 1 bad values, the first at index 1"),
        (([1.0, 2.0], [np.nan, 0.1]), "err has 1 bad values, the first at index 0"),
        (([1.0, 2.0], 0.1, [1.0, -1.0]), "weights has 1 bad values"),
        (([1.0, 2.0], 0.1, [0.0, 0.0]), "no data"),
        (([],), "no data"),
        (([[1.0, 2.0]],), "one-dimensional"),
    ],
)
def test_impossible_cells_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Cells.from_rows(*arguments)


def test_infinite_values_without_errors_are_refused_without_a_warning():
    with pytest.raises(ValueError, match="x has 1 bad values, the first at index 1"):
        Cells.from_rows([1.0, np.inf, 2.0])


def test_n_data_is_the_sum_of_the_row_weights():
    cells = Cells(np.array([1.0, 2.0, 3.0]), np.full(3, 0.1), np.array([0.5, 2.0, 0.0]))
    assert cells.n_data == 2.5
    assert len(cells) == 3
    assert mixpipe.fit_mixture(cells, n_components=1).n_data == 2.5


@pytest.mark.parametrize("scale", [1.0, 1e-3, 7.0])
def test_weights_that_are_no_counts_sum_to_the_rows_that_they_are_worth(scale):
    given = scale * np.array([0.5, 2.0, 0.0, 0.5])
    cells = Cells.from_rows([1.0, 2.0, 3.0, 4.0], 0.1, given, weight_kind="importance")
    # Kish (1965): (sum w)^2 / sum w^2 = 9 / 4.5.
    assert cells.weight_kind == "importance"
    assert cells.n_data == pytest.approx(2.0, rel=1e-14)
    np.testing.assert_allclose(cells.weights, np.array([0.5, 2.0, 0.0, 0.5]) * 2.0 / 3.0, rtol=1e-14)
    np.testing.assert_array_equal(cells.squared_weights, cells.weights**2)


def test_the_kind_of_weights_is_told_from_them_and_can_be_said():
    x = [1.0, 2.0, 3.0]
    for weights in (None, [1.0, 2.0, 0.0], [5, 5, 5]):
        cells = Cells.from_rows(x, 0.1, weights)
        assert cells.weight_kind == "counts"
        np.testing.assert_array_equal(cells.weights, np.ones(3) if weights is None else weights)
    assert Cells.from_rows(x, 0.1, [1.0, 2.5, 1.0]).weight_kind == "importance"
    # (1 + 2 + 3)^2 / (1 + 4 + 9) rows.
    assert Cells.from_rows(x, 0.1, [1, 2, 3], weight_kind="importance").n_data == pytest.approx(36.0 / 14.0)
    with pytest.raises(ValueError, match=r"no whole numbers, the first at index 1 \(2\.5\)"):
        Cells.from_rows(x, 0.1, [1.0, 2.5, 1.0], weight_kind="counts")
    with pytest.raises(ValueError, match="unknown weight_kind 'rows': expected one of auto, counts, importance"):
        Cells.from_rows(x, 0.1, weight_kind="rows")


def test_rows_with_infinite_errors_count_for_nothing():
    cells = Cells.from_rows([1.0, 2.0, 300.0], [0.1, 0.2, np.inf])
    assert (cells.n_data, cells.n_uninformative) == (2.0, 1)
    np.testing.assert_array_equal(cells.weights, [1.0, 1.0, 0.0])


def test_histogram_of_a_normal_recovers_its_width():
    """The counts are a million times the probabilities of the bins: the maximum is the normal itself."""
    edges = 0.3 + np.arange(-12.0, 13.0)
    shares = np.diff(norm.cdf(edges))
    cells = Cells.from_histogram(edges, 1e6 * shares)
    fit = mixpipe.fit_mixture(cells, n_components=1)
    # Where 1e-6 nats are left, parameters are within 1.4e-3 of their errors, which are 1.1e-3 and less.
    assert fit.mixture.sigmas[0] == pytest.approx(1.0, abs=2e-6)
    assert fit.mixture.means[0] == pytest.approx(0.0, abs=2e-6)
    assert fit.loglik == pytest.approx(1e6 * xlogy(shares, shares).sum(), abs=1e-5)
    np.testing.assert_array_equal(cells.err, 0.0)
    np.testing.assert_array_equal(cells.edges, np.stack([edges[:-1], edges[1:]], axis=1))


@pytest.mark.parametrize("edges", [[0.0, 1.0], [0.0, 2.0, 1.0], [0.0, 1.0, 1.0]])
def test_histograms_need_increasing_edges(edges):
    with pytest.raises(ValueError, match="edges must increase"):
        Cells.from_histogram(edges, [1.0, 2.0])


def test_there_is_no_floor_where_all_errors_are_larger_than_the_grain():
    # Two of three values lie within 1 of each other at the least: the grain is 1 / sqrt 12 = 0.289.
    for err in (0.3, [0.3, 0.0, 0.3]):
        resolution = Cells.from_rows([1.0, 4.0, 2.0], err, [1.0, 0.0, 1.0]).resolution
        assert (resolution.floor, resolution.cause) == (0.0, "errors")
        assert resolution.grain == pytest.approx(1.0 / math.sqrt(12.0))
    for err in (0.2, [0.4, 0.2, 0.4], 0.0):
        resolution = Cells.from_rows([1.0, 4.0, 2.0], err).resolution
        smallest = np.min(err)
        assert resolution.cause == "crowding"
        assert resolution.floor == pytest.approx(math.sqrt(1.0 / 12.0 - smallest**2))
        assert resolution.smallest_error == smallest


@pytest.mark.parametrize("step", [0.1, 1.0, 2.0**-10])
def test_resolution_of_rounded_values_follows_the_step(step):
    x = np.rint(np.random.default_rng(1).normal(0, 8, 500)) * step
    grain, found = find_grain(x, np.ones(500))
    assert found == pytest.approx(step)
    assert grain == pytest.approx(0.6 * step)
    for share in (0.0, 0.01, 0.3, 0.599):
        resolution = find_resolution(x, share * step)
        assert resolution.cause == "grid"
        assert resolution.floor == pytest.approx(step * math.sqrt(0.6**2 - share**2))
    assert find_resolution(x, 0.601 * step).floor == 0.0


def test_resolution_scales_with_the_values():
    x = np.random.default_rng(2).standard_normal(200)
    one, other = find_resolution(x, 1e-3), find_resolution(1e6 * x, 1e3)
    assert other.floor == pytest.approx(1e6 * one.floor, rel=1e-9)
    assert other.grain == pytest.approx(1e6 * one.grain, rel=1e-9)
    # 8 = 2 + ln 200, rounded up, of 200 normal values lie within some 8 / (200 * 0.4) = 0.1 by the density at the
    # centre, and within less by chance.
    assert 0.01 / math.sqrt(12.0) < one.grain < 0.1 / math.sqrt(12.0)


# Immutability


def test_results_cannot_be_changed_through_their_arrays_or_fields():
    fit = mixpipe.fit_mixture([1.0, 1.2, 5.0, 5.3], 0.1, 2)
    cells = Cells.from_rows([1.0, 2.0], 0.1)
    arrays = [fit.mixture.weights, fit.mixture.means, fit.mixture.sigmas, fit.boundary, cells.x, cells.err]
    arrays += [cells.weights, fit.uncertainties.weights, fit.uncertainties.means, fit.uncertainties.sigmas]
    for array in arrays:
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 7
    for value, name in ((fit, "loglik"), (fit.mixture, "means"), (cells, "x"), (Selection((fit,)), "fits")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, name, None)


def test_inputs_are_copied_and_not_modified():
    x, err, weights = np.array([5.0, 1.0, 3.0]), np.array([0.1, 0.2, 0.3]), np.array([1.0, 2.0, 3.0])
    kept = [v.copy() for v in (x, err, weights)]
    cells = Cells.from_rows(x, err, weights)
    mixpipe.fit_mixture(x, err, 2, weights=weights)
    mixpipe.choose_n_components(x, err, weights=weights, max_components=2)
    for value, before in zip((x, err, weights), kept, strict=True):
        np.testing.assert_array_equal(value, before)
        assert value.flags.writeable
    x[0] = 99.0
    assert cells.x[0] == 5.0
    means = np.array([0.0, 1.0])
    mixture = Mixture([0.5, 0.5], means, [1.0, 1.0])
    means[0] = 99.0
    assert mixture.means[0] == 0.0


# Criteria and results


def test_criteria_equal_those_of_astropy():
    for loglik, k, n in ((-203.1792, 8, 500), (1234.5, 2, 10_000)):
        assert bic(loglik, k, n) == pytest.approx(bayesian_info_criterion(loglik, k, n), rel=1e-14)
        # Above 40 rows per parameter Astropy applies no small-sample correction.
        assert aic(loglik, k) == pytest.approx(akaike_info_criterion(loglik, k, n), rel=1e-14)


def test_icl_adds_twice_the_entropy():
    expected = ref.criteria(-100.0, 3.5, 5, 200.0)
    assert icl(-100.0, 5, 200.0, 3.5) == pytest.approx(expected["icl"], rel=1e-14)
    assert icl(-100.0, 5, 200.0, 0.0) == bic(-100.0, 5, 200.0)


def result(size, loglik, entropy=0.0):
    mixture = Mixture(np.full(size, 1.0 / size), np.arange(size), np.ones(size))
    return FitResult(mixture, "em", loglik, entropy, n_data=100.0, n_params=3 * size - 1, converged=True)


def test_each_criterion_chooses_its_own_minimum():
    # BIC: 209.2, 213.0 and 236.8; AIC: 204, 200 and 216; ICL: 229.2, 213.0 and 236.8.
    fits = (result(1, -100.0, 10.0), result(2, -95.0), result(3, -100.0))
    assert Selection(fits, "bic").best is fits[0]
    assert Selection(fits, "aic").best is fits[1]
    assert Selection(fits, "icl").best is fits[1]


def test_selection_table_has_the_columns_of_the_interface():
    table = Selection((result(1, -100.0), result(2, -80.0), result(3, -79.0))).table()
    assert table.columns.tolist() == [
        "n_components",
        "n_params",
        "loglik",
        "bic",
        "aic",
        "icl",
        "delta_bic",
        "converged",
        "selected",
        "gradient_max",
        "loglik_bound",
        "bound_sigma",
        "family",
        "bic_weight",
        "exact",
        "occam",
    ]
    assert table.n_components.tolist() == [1, 2, 3]
    assert table.n_params.tolist() == [2, 5, 8]
    assert table.selected.tolist() == [False, True, False]
    assert table.delta_bic.tolist() == pytest.approx([40.0 - 3 * math.log(100), 0.0, 3 * math.log(100) - 2.0])


def test_what_a_choice_is_judged_by_is_shown_where_it_is_not_the_criterion():
    fits = (
        result(1, -100.0),
        dataclasses.replace(result(2, -80.0), occam=50.0),
        dataclasses.replace(result(3, -70.0), occam=math.inf),
    )
    selection = Selection(fits)
    assert selection.best is fits[0]
    assert selection.table().occam.tolist() == [0.0, 50.0, math.inf]
    _, rows = selection.presented()
    assert [row[-1] for row in rows[1:]] == ["selected", f"judged at {fits[1].bic + 100.0:.2f}", "not determined"]


def test_ties_go_to_the_smaller_model():
    small, large = result(1, -100.0), result(2, -100.0 + 1.5 * math.log(100.0))
    assert small.bic == pytest.approx(large.bic, rel=1e-15)
    equal = dataclasses.replace(large, loglik=small.loglik, n_params=small.n_params)
    assert Selection((equal, small)).best is small


def test_impossible_selections_and_results_are_refused():
    with pytest.raises(ValueError, match="expected one of bic, aic, icl"):
        Selection((result(1, 0.0),), "dic")
    with pytest.raises(ValueError, match="at least one fit"):
        Selection(())
    with pytest.raises(ValueError, match="boundary must have one flag for each of 2"):
        dataclasses.replace(result(2, 0.0), boundary=np.array([True]))


def test_unknown_uncertainties_are_nan():
    assert np.all(np.isnan(Uncertainties.unknown(3).weights))
    assert np.all(np.isnan(result(2, 0.0).uncertainties.sigmas))


def test_true_values_of_precise_rows_have_the_error_of_the_row():
    for err in (1e-3, 1e-8, 1e-12):
        assert Mixture([1.0], [0.0], [1.0]).posterior(0.3, err)[1] == pytest.approx(err, rel=1e-6)


def test_cells_add_up():
    left = Cells.from_rows([1.0, 2.0], 0.1, weights=[1.0, 3.0])
    both = left + Cells.from_rows([5.0], 0.2)
    np.testing.assert_array_equal(both.x, [1.0, 2.0, 5.0])
    np.testing.assert_array_equal(both.err, [0.1, 0.1, 0.2])
    assert both.n_data == 5.0
    assert len(left) == 2


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_errors_beyond_the_range_of_doubles_are_refused(scale):
    x, err = scale * np.arange(10.0), np.full(10, 0.3 * scale)
    err[4] = 1e60 * scale
    assert mixpipe.fit_mixture(x, err, n_components=2).converged
    err[4] = 9e99 * scale
    with pytest.raises(ValueError, match=r"err has 9e\+\d+ at index 4.* inf for a row that says nothing"):
        mixpipe.fit_mixture(x, err, n_components=2)
