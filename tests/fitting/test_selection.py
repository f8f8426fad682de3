"""The public fits: inputs of all kinds, degenerate data, and what the result says about itself."""

import math

import numpy as np
import pandas as pd
import pytest
from astropy import units as u
from astropy.table import Column, MaskedColumn
from astropy.utils.masked import Masked

import mixpipe
from mixpipe.fitting.choose import as_cells
from mixpipe.model.cells import Cells
from mixpipe.model.mixture import Mixture
from tests import reference as ref
from tests.campaign import campaign

X, ERR = [1.0, 2.0, 4.0], [0.1, 0.2, 0.3]
SEVERAL_COMPONENTS = (1, 2, 3, 5)


# Inputs


@pytest.mark.parametrize(
    ("x", "err"),
    [
        (X, ERR),
        (tuple(X), np.array(ERR)),
        (np.array(X, dtype=np.float32).astype(">f8"), np.array(ERR)),
        (pd.Series(X, index=[7, 8, 9]), pd.Series(ERR)),
        (pd.Series(X, dtype="Float64"), ERR),
        (Column(X), Column(ERR)),
        (Column(X, unit="m"), Column(ERR, unit="m")),
        (Column(X, unit="m"), Column([10.0, 20.0, 30.0], unit="cm")),
        (MaskedColumn(X, unit="m"), MaskedColumn([10.0, 20.0, 30.0], unit="cm")),
        (Column(X, unit="m"), [10.0, 20.0, 30.0] * u.cm),
        (X * u.m, [10.0, 20.0, 30.0] * u.cm),
        (np.ma.array(X), np.ma.array(ERR)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_all_kinds_of_input_give_the_same_cells(x, err):
    cells = as_cells(x, err)
    np.testing.assert_allclose(cells.x, X, rtol=1e-15)
    np.testing.assert_allclose(cells.err, ERR, rtol=1e-15)
    assert cells.n_data == 3.0


def test_scalar_errors_are_equal_errors_and_none_is_no_error():
    np.testing.assert_array_equal(as_cells(X, 0.5).err, [0.5, 0.5, 0.5])
    np.testing.assert_allclose(as_cells(X * u.m, 50 * u.cm).err, 0.5)
    np.testing.assert_array_equal(as_cells(X).err, 0.0)


def test_masked_values_are_refused():
    for x in (
        np.ma.array(X, mask=[0, 1, 0]),
        MaskedColumn(X, mask=[0, 1, 0]),
        MaskedColumn(X, mask=[0, 1, 0], unit="m"),
    ):
        with pytest.raises(ValueError, match="x has 1 bad values, the first at index 1"):
            as_cells(x, 0.1)
    with pytest.raises(ValueError, match="err has 1 bad values, the first at index 1"):
        as_cells(X, MaskedColumn(ERR, mask=[0, 1, 0]))
    with pytest.raises(ValueError, match="x has 1 bad values"):
        as_cells(pd.Series([1.0, None], dtype="Float64"), 0.1)


@pytest.mark.parametrize(
    ("x", "err"),
    [
        (Column(X, unit="m"), MaskedColumn(ERR, mask=[0, 1, 0], unit="m")),
        (Masked(X * u.m, mask=[False, True, False]), ERR * u.m),
        (Masked(X, mask=[False, True, False]), ERR),
        (X * u.m, Masked(ERR * u.m, mask=[False, True, False])),
    ],
    ids=["masked err with a unit", "masked quantity", "Masked array", "masked err quantity"],
)
def test_masked_values_with_units_are_refused(x, err):
    with pytest.raises(ValueError, match="1 bad values, the first at index 1"):
        as_cells(x, err)


def test_labels_of_a_series_do_not_matter():
    np.testing.assert_array_equal(as_cells(pd.Series(X, index=["mean", "value", "unit"]), ERR).x, X)


def test_series_in_another_order_are_refused():
    x, err = pd.Series(X), pd.Series(ERR)
    for name in ("err", "weights"):
        with pytest.raises(ValueError, match=f"x and {name} are series with the same labels in another order"):
            as_cells(x, **{name: err[::-1]})
    np.testing.assert_array_equal(as_cells(x[::-1], err[::-1]).err, ERR[::-1])


def test_errors_of_logarithms_are_differences():
    for unit, difference in ((u.Unit("dex(solMass)"), u.dex), (u.ABmag, u.mag)):
        for err in (Column(ERR, unit=unit), Column(ERR, unit=difference)):
            np.testing.assert_array_equal(as_cells(Column(X, unit=unit), err).err, ERR)
    with pytest.raises(ValueError, match="err is in m, which cannot be converted to mag"):
        as_cells(Column(X, unit=u.ABmag), ERR * u.m)


def test_units_that_do_not_go_together_are_refused():
    with pytest.raises(ValueError, match="err is in s, which cannot be converted to m"):
        as_cells(X * u.m, ERR * u.s)
    with pytest.raises(ValueError, match="x is in m but err has no unit"):
        as_cells(X * u.m, ERR)
    with pytest.raises(ValueError, match="err has the unit m but x has none"):
        as_cells(X, ERR * u.m)


def test_cells_bring_their_own_errors():
    cells = Cells.from_rows(X, ERR)
    assert as_cells(cells) is cells
    with pytest.raises(ValueError, match="cells carry their own errors"):
        as_cells(cells, 0.1)
    with pytest.raises(ValueError, match="cells carry their own errors"):
        as_cells(cells, weights=[1, 1, 1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_components": 0}, "n_components must be a whole number >= 1, found 0"),
        ({"n_components": 1.5}, "n_components must be a whole number"),
        ({"n_components": True}, "n_components must be a whole number"),
        ({"algorithm": "magic"}, "expected 'newton', or one of exact, fixed_point, xd"),
        ({"algorithm": "xd"}, "with a start"),
        (
            {"algorithm": "xd", "start": Mixture([1], [0], [1]), "equal_sigmas": True},
            "without constraints",
        ),
        ({"n_components": 2, "start": Mixture([1], [0], [1])}, "start has 1 components, n_components is 2"),
        ({"sigma_floor": -1.0}, "sigma_floor must be finite and >= 0"),
        ({"sigma_floor": math.nan}, "sigma_floor must be finite and >= 0"),
        ({"err": None, "sigma_floor": 0.0}, "> 0 where an error is zero"),
        ({"err": [0.1, -0.2, 0.3]}, "err has 1 bad values, the first at index 1"),
        ({"weights": [1.0, -1.0, 1.0]}, "weights has 1 bad values, the first at index 1"),
        ({"x": []}, "no data"),
        ({"truncated": (0.0,)}, r"^truncated must be two increasing numbers, found \(0.0,\)$"),
        ({"truncated": (0.0, 5.0, 9.0)}, "^truncated must be two increasing numbers"),
        ({"truncated": 5.0}, "^truncated must be two increasing numbers, found 5.0$"),
        ({"truncated": ("low", "high")}, "^truncated must be two increasing numbers"),
        ({"truncated": (9.0, 0.0)}, "^truncated must be two increasing numbers"),
        ({"family": "laplace", "start": Mixture([1], [0], [1])}, "family 'laplace' with a start of gaussian"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        mixpipe.fit_mixture(**{"x": X, "err": 0.1, "n_components": 1, **options})


def test_a_number_of_components_is_required_unless_a_start_has_it():
    with pytest.raises(TypeError, match="needs n_components, a number of components; choose_n_components chooses it"):
        mixpipe.fit_mixture(X, 0.1)
    start = Mixture([0.5, 0.5], [1.5, 4.0], [0.5, 0.5])
    assert mixpipe.fit_mixture(X, 0.1, start=start).n_components == 2


def test_an_open_bound_may_be_none():
    fit = mixpipe.fit_mixture(X, 0.1, 1, truncated=(0.0, None))
    assert fit.loglik == mixpipe.fit_mixture(X, 0.1, 1, truncated=(0.0, math.inf)).loglik


def test_impossible_selections_are_refused():
    with pytest.raises(ValueError, match="expected one of bic, aic, icl"):
        mixpipe.choose_n_components(X, 0.1, criterion="dic")
    with pytest.raises(ValueError, match="max_components must be a whole number"):
        mixpipe.choose_n_components(X, 0.1, max_components=0)


def test_number_of_components_may_be_a_numpy_integer():
    assert mixpipe.fit_mixture(X, 0.1, np.int64(2)).n_components == 2


def test_number_of_components_may_be_a_whole_float_or_is_refused_with_its_name():
    assert mixpipe.fit_mixture(X, 0.1, 2.0).n_components == 2


@pytest.mark.parametrize("count", ["two", math.nan])
def test_a_number_of_components_that_is_none_is_refused_by_name(count):
    with pytest.raises(ValueError, match="n_components must be a whole number"):
        mixpipe.fit_mixture(X, 0.1, count)


def test_a_row_of_weight_zero_needs_no_floor():
    fit = mixpipe.fit_mixture(X, [0.1, 0.1, 0.0], n_components=1, weights=[1.0, 1.0, 0.0], sigma_floor=0.0)
    assert fit.mixture.means[0] == pytest.approx(1.5)


# What a result says


@pytest.fixture(scope="module")
def two():
    rng = np.random.default_rng(1)
    truth = Mixture([0.6, 0.4], [0.0, 3.0], [1.0, 0.7])
    err = 0.4 * np.exp(0.5 * rng.standard_normal(300))
    return truth.sample(300, rng) + err * rng.standard_normal(300), err


def test_numbers_of_a_fit_are_those_of_its_mixture(two):
    x, err = two
    weights = np.random.default_rng(2).uniform(0.5, 2.0, 300)
    for selected in mixpipe.choose_n_components(x, err, weights=weights, max_components=3).fits:
        m = selected.mixture
        # Weights that are no whole numbers sum to the number of rows that they are worth.
        n = math.fsum(weights) ** 2 / math.fsum(weights**2)
        shares = n / math.fsum(weights) * weights
        args = (x.tolist(), err.tolist(), m.weights.tolist(), m.means.tolist(), m.sigmas.tolist(), shares.tolist())
        loglik, entropy = ref.loglik(*args), ref.entropy(*args)
        # Parameters are converted to the units of the data and back: some 1e-15, at a maximum of second order.
        assert selected.loglik == pytest.approx(loglik, rel=1e-11)
        assert selected.entropy == pytest.approx(entropy, rel=1e-9, abs=1e-9)
        assert selected.n_data == pytest.approx(n, rel=1e-13)
        assert selected.n_params == 3 * selected.n_components - 1
        expected = ref.criteria(loglik, entropy, selected.n_params, n)
        for name, value in expected.items():
            assert getattr(selected, name) == pytest.approx(value, rel=1e-10)
        assert selected.converged
        assert selected.estimator == "em"
        assert selected.n_passes > 0


def test_criterion_is_handed_on(two):
    for criterion in ("bic", "aic", "icl"):
        selection = mixpipe.choose_n_components(*two, max_components=3, criterion=criterion)
        values = [getattr(fit, criterion) for fit in selection.fits]
        assert selection.criterion == criterion
        assert selection.best is selection.fits[int(np.argmin(values))]


def test_row_weights_of_two_double_the_data(two):
    x, err = two
    weighted = mixpipe.fit_mixture(x, err, 2, weights=np.full(300, 2.0))
    doubled = mixpipe.fit_mixture(np.tile(x, 2), np.tile(err, 2), 2)
    assert weighted.n_data == doubled.n_data == 600.0
    assert weighted.loglik == pytest.approx(doubled.loglik, abs=1e-7)
    assert weighted.bic == pytest.approx(doubled.bic, abs=1e-6)
    np.testing.assert_allclose(weighted.mixture.means, doubled.mixture.means, atol=1e-5)
    np.testing.assert_allclose(weighted.uncertainties.means, doubled.uncertainties.means, rtol=1e-3)


def test_sigma_floor_is_kept_stated_and_flagged(two):
    fit = mixpipe.fit_mixture(*two, 2, sigma_floor=0.9)
    assert fit.sigma_floor == pytest.approx(0.9)
    assert np.all(fit.mixture.sigmas >= 0.9 * (1 - 1e-12))
    assert fit.boundary.any()
    np.testing.assert_allclose(fit.mixture.sigmas[fit.boundary], 0.9)
    assert any("floor of 0.9" in warning for warning in fit.warnings)


def test_few_rows_in_a_component_are_a_warning():
    x = np.append(np.linspace(-1, 1, 30), 50.0)
    fit = mixpipe.fit_mixture(x, 0.1, 2)
    assert fit.mixture.means[1] == pytest.approx(50.0, abs=0.01)
    assert any("fewer than 3 rows in component 2" in warning for warning in fit.warnings)


# Degenerate data


def is_sound(fit):
    m = fit.mixture
    assert np.all(np.isfinite([m.weights, m.means, m.sigmas]))
    assert math.isfinite(fit.loglik)
    assert math.isfinite(fit.entropy)
    return True


@pytest.mark.parametrize("n_components", SEVERAL_COMPONENTS)
@pytest.mark.parametrize("err", [None, 0.1])
@pytest.mark.parametrize(
    "x",
    [[1.0], [1.0, 1.0], [1.0, 2.0], [1.0, 2.0, 4.0], [3.0] * 20, [1e-30, 2e-30, 5e-30], [1e12, 1e12 + 1, 1e12 + 5]],
    ids=["one", "two equal", "two", "three", "all equal", "tiny", "huge"],
)
def test_small_and_degenerate_data_are_fitted(x, err, n_components):
    fit = mixpipe.fit_mixture(x, err, n_components)
    assert is_sound(fit)
    assert fit.n_components == n_components
    if n_components == 1:
        assert fit.mixture.means[0] == pytest.approx(np.mean(x), rel=1e-6)


def test_zeros_without_errors_are_fitted():
    fit = mixpipe.fit_mixture([0.0, 0.0, 0.0], n_components=1)
    assert is_sound(fit)
    assert fit.mixture.means[0] == 0.0


def test_all_values_equal_with_errors_is_one_point():
    selection = mixpipe.choose_n_components([3.0] * 20, 0.5, max_components=3)
    assert selection.best.n_components == 1
    fit = selection.best
    assert (fit.mixture.means[0], fit.mixture.sigmas[0]) == (3.0, 0.0)
    assert fit.loglik == pytest.approx(-20 * math.log(0.5 * math.sqrt(2 * math.pi)))
    # More components gain nothing.
    assert [other.loglik for other in selection.fits] == pytest.approx([fit.loglik] * 3, abs=1e-9)


@pytest.mark.parametrize("n_components", [3, 5])
def test_a_component_for_each_value_is_a_maximum_that_is_not_preferred(n_components):
    x, err = np.array([0.0, 10.0, 30.0]), 0.1
    means = np.append(x, np.full(n_components - 3, 20.0))
    start = Mixture(np.full(n_components, 1.0 / n_components), means, np.full(n_components, 0.1))
    points = mixpipe.fit_mixture(x, err, n_components, start=start, sigma_floor=0.0)
    # Three points, a third of the rows each: 3 (ln 1/3 - ln(0.1 sqrt(2 pi))). More components gain nothing more.
    assert points.loglik == pytest.approx(3 * math.log(1 / 3 / (err * math.sqrt(2 * math.pi))), abs=1e-6)
    # Each rests on one row, which confines it to T = 0.01 of the variance of the data: ln(spread / T) nats each, and
    # the price of a component again.
    if n_components == 3:
        np.testing.assert_allclose(points.effective_rows, 1.0, rtol=1e-6)
        assert points.occam == pytest.approx(3 * (math.log((x.var() + err**2) / err**2) + 1.5 * math.log(3)), rel=1e-6)
    # One component counted several times loses less: x has the total variance x.var() in it.
    fit = mixpipe.fit_mixture(x, err, n_components, sigma_floor=0.0)
    assert fit.loglik == pytest.approx(-1.5 * (math.log(2 * math.pi * x.var()) + 1.0), abs=1e-6)
    assert fit.loglik > points.loglik - points.occam
    np.testing.assert_allclose(fit.mixture.means, x.mean(), rtol=1e-4)


def test_a_few_exact_ties_do_not_make_a_spike():
    """Two of 200 exact values happen to be equal: the likelihood is unbounded there, the fit must not be."""
    x = np.random.default_rng(3).standard_normal(200)
    x[1] = x[0]
    selection = mixpipe.choose_n_components(x, max_components=5)
    assert selection.best.n_components == 1
    assert selection.best.mixture.sigmas[0] == pytest.approx(x.std(), rel=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_rounding_to_a_tenth_of_the_width_makes_no_spikes(seed):
    x = np.round(np.random.default_rng(seed).standard_normal(500), 1)
    selection = mixpipe.choose_n_components(x, max_components=6)
    assert selection.best.n_components == 1
    # No component of any fit is narrower than a uniform density over the rounding interval.
    assert min(fit.mixture.sigmas.min() for fit in selection.fits) > 0.1 / math.sqrt(12.0)


@campaign
def test_rounding_to_half_the_width_makes_no_comb():
    x = np.round(np.random.default_rng(0).normal(0.0, 2.0, 2000))
    assert mixpipe.choose_n_components(x, max_components=6).best.n_components == 1


def test_half_of_the_rows_without_error():
    rng = np.random.default_rng(4)
    err = np.where(np.arange(300) % 2, 0.0, 0.5)
    x = Mixture([0.5, 0.5], [0.0, 6.0], [1.0, 0.5]).sample(300, rng) + err * rng.standard_normal(300)
    fit = mixpipe.choose_n_components(x, err, max_components=4).best
    assert fit.n_components == 2
    assert fit.sigma_floor > 0.0
    assert not fit.boundary.any()
    assert np.all(np.abs(fit.mixture.sigmas - [1.0, 0.5]) < 4 * fit.uncertainties.sigmas)


def test_errors_over_nine_decades():
    rng = np.random.default_rng(5)
    err = 10.0 ** rng.uniform(-7.0, 2.0, 500)
    x = rng.normal(10.0, 1.0, 500) + err * rng.standard_normal(500)
    fit = mixpipe.fit_mixture(x, err, n_components=1)
    assert fit.converged
    assert abs(fit.mixture.means[0] - 10.0) < 4 * fit.uncertainties.means[0]
    assert abs(fit.mixture.sigmas[0] - 1.0) < 4 * fit.uncertainties.sigmas[0]


def test_one_row_at_a_million_sigma():
    rng = np.random.default_rng(6)
    x = np.append(rng.normal(0.0, 1.0, 200), 1e6)
    one = mixpipe.fit_mixture(x, 0.5, 1)
    assert is_sound(one)
    two = mixpipe.fit_mixture(x, 0.5, 2)
    np.testing.assert_allclose(two.mixture.means, [x[:200].mean(), 1e6], atol=1e-4)
    np.testing.assert_allclose(two.mixture.weights, [200 / 201, 1 / 201], rtol=1e-6)
    assert two.mixture.sigmas[0] == pytest.approx(math.sqrt(x[:200].var() - 0.25), rel=1e-4)


def test_a_start_at_a_spike_does_not_replace_a_regular_maximum():
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.normal(0.0, 1.0, 60), rng.normal(5.0, 1.0, 60), [24.0]])
    start = {"weights": [120 / 121, 1 / 121], "means": [x[:-1].mean(), 24.0], "sigmas": [x[:-1].std(), 0.01]}
    without, found = (mixpipe.choose_n_components(x, 0.05, max_components=2, start=each) for each in (None, start))
    np.testing.assert_array_equal(found.best.mixture.means, without.best.mixture.means)
    assert not any("missed" in text for text in found.best.warnings)


@pytest.mark.parametrize(("err", "weight"), [(np.inf, 1), (0.3, 0)])
def test_rows_that_do_not_count_set_no_range(err, weight):
    rng = np.random.default_rng(2)
    x = np.concatenate([rng.normal(0.0, 1.0, 150), rng.normal(4.0, 0.7, 100)])
    without = mixpipe.fit_mixture(x, 0.3, 3, background="uniform")
    errors, weights = np.append(np.full(250, 0.3), err), np.append(np.ones(250), weight)
    found = mixpipe.fit_mixture(np.append(x, 1e4), errors, 3, weights=weights, background="uniform")
    assert found.loglik == pytest.approx(without.loglik, abs=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"background": (-5.0, 8.0)}, "a start without a uniform component"),
        ({"mixed": ("laplace", "student_t")}, "mixed: a start of gaussian"),
        ({"n_threads": -1}, "n_threads must be a whole number >= 1"),
    ],
)
def test_options_that_a_start_does_not_have_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        mixpipe.fit_mixture(X, ERR, 2, start={"means": [0, 4], "sigmas": [1, 1]}, **options)


def test_options_have_the_unit_of_the_values_or_their_own():
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.normal(0.0, 1.0, 100), rng.normal(5.0, 1.0, 100)])
    values, err = x * u.km / u.s, 300.0 * u.m / u.s
    start = {"means": [0.0, 5.0], "sigmas": [1.0, 1.0]}
    own = {part: 1e3 * np.array(numbers) * u.m / u.s for part, numbers in start.items()}
    errors = np.full(200, 0.3)
    for plain, given in (
        ({"start": start}, {"start": own}),
        ({"sigma_floor": 1.2}, {"sigma_floor": 1200.0 * u.m / u.s}),
        ({"known": [{"mean": 0.5}]}, {"known": [{"mean": 500.0 * u.m / u.s}]}),
        ({"background": (-9.0, 9.0)}, {"background": (-9.0 * u.km / u.s, 9000.0 * u.m / u.s)}),
    ):
        expected, found = (
            mixpipe.fit_mixture(x, errors, 2, **plain),
            mixpipe.fit_mixture(values, np.full(200, err.value) * err.unit, 2, **given),
        )
        np.testing.assert_allclose(found.mixture.means, expected.mixture.means, atol=1e-9)
    with pytest.raises(ValueError, match="sigma_floor is in s, but x is in km / s"):
        mixpipe.fit_mixture(values, None, 2, sigma_floor=1.0 * u.s)
