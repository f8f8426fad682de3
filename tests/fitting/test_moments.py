"""Moments of the true values, and mixtures from them: against closed forms, exact moments, and simulations."""

import math

import numpy as np
import pytest

from mixpipe.fitting.moments.fit import fit_moments
from mixpipe.fitting.moments.pearson import pearson_roots
from mixpipe.fitting.moments.statistics import Moments, mixture_moments
from mixpipe.model.cells import Cells
from mixpipe.model.mixture import Mixture
from tests import reference as ref

PEARSON = Mixture([0.4, 0.6], [-1.5, 2.0], [0.8, 1.2])
THREE = Mixture([0.3, 0.45, 0.25], [-4.0, 0.0, 3.0], [0.6, 1.2, 0.4])


def exact(mixture, order):
    """The moments of a mixture, by the oracle."""
    return Moments.from_raw(ref.mixture_moments(mixture.weights, mixture.means, mixture.sigmas, order))


def draw(mixture, n, rng, median=0.4, spread=0.5):
    """Values and lognormal errors."""
    err = median * np.exp(spread * rng.standard_normal(n))
    return mixture.sample(n, rng) + err * rng.standard_normal(n), err


def assert_same(got, expected, tolerance):
    np.testing.assert_allclose(got.weights, expected.weights, atol=tolerance)
    np.testing.assert_allclose(got.means, expected.means, atol=tolerance)
    np.testing.assert_allclose(got.sigmas, expected.sigmas, atol=tolerance)


# The value type


@pytest.mark.parametrize("weighted", [False, True])
def test_moments_equal_the_oracle(weighted):
    rng = np.random.default_rng(1)
    x, err = draw(PEARSON, 200, rng)
    weights = rng.uniform(0.0, 2.0, 200) if weighted else None
    moments = Moments.of(Cells.from_rows(x, err, weights), 6)
    # Sums of 200 terms that cancel to a few per cent: some hundred roundings.
    np.testing.assert_allclose(moments.raw, ref.intrinsic_moments(x, err, 6, weights), rtol=1e-12, atol=1e-12)


def test_central_moments_by_hand():
    # z = 0 (three times) and 4: mean 1, offsets -1, -1, -1, 3.
    moments = Moments.of(Cells.from_rows([0.0, 0.0, 0.0, 4.0]), 4)
    np.testing.assert_allclose(moments.central, [0.0, 3.0, 6.0, 21.0], atol=1e-14)  # rounding
    np.testing.assert_allclose(moments.about(2.0, 2.0), [-0.5, 1.0, -0.5, 1.0], atol=1e-14)
    standard = moments.standardised()
    assert standard.scale == pytest.approx(math.sqrt(3.0), rel=1e-15)
    np.testing.assert_allclose(standard.values, [0.0, 1.0, 6.0 / 3.0**1.5, 21.0 / 9.0], atol=1e-14)


def test_unbiased_where_errors_are_twice_the_widths():
    truth = Mixture([0.5, 0.5], [-1.0, 1.5], [0.5, 0.3])
    rng = np.random.default_rng(2)
    x, err = draw(truth, 400_000, rng, median=0.8, spread=0.3)
    moments = Moments.of(Cells.from_rows(x, err), 5)
    expected = ref.mixture_moments(truth.weights, truth.means, truth.sigmas, 5)
    errors = np.sqrt(np.diag(moments.covariance()))
    # Five estimates in units of their sampling error: beyond 4 once in 3000 simulations.
    assert np.all(np.abs(moments.raw - expected) < 4.0 * errors)
    naive = np.array([np.mean(x**k) for k in range(1, 6)])
    assert np.all(np.abs(naive - expected)[1:] > 20.0 * errors[1:])


def test_covariance_is_that_of_repeated_samples():
    rng = np.random.default_rng(3)
    samples = [Moments.of(Cells.from_rows(*draw(PEARSON, 500, rng)), 4) for _ in range(2000)]
    seen = np.cov([s.raw for s in samples], rowvar=False)
    stated = np.mean([s.covariance() for s in samples], axis=0)
    units = np.sqrt(np.outer(np.diag(stated), np.diag(stated)))
    # A sample variance from 2000 draws is good to sqrt(2 / 2000) = 3.2 per cent; heavier tails of E z^4: twice that.
    np.testing.assert_allclose(seen / units, stated / units, atol=4 * 0.035)


def test_covariance_of_the_mean_and_square_in_closed_form():
    # x = +-1 and +-3: var(x) = 5, var(x^2) = 41 - 25, no covariance; four rows.
    moments = Moments.of(Cells.from_rows([-3.0, -1.0, 1.0, 3.0]), 2)
    np.testing.assert_allclose(moments.covariance(), [[1.25, 0.0], [0.0, 4.0]], atol=1e-14)
    # Halved units; about another centre E (z - 1)^2 = E z^2 - 2 E z + 1 has the variance 4 + 4 * 1.25.
    np.testing.assert_allclose(moments.covariance(0.0, 2.0), [[0.3125, 0.0], [0.0, 0.25]], atol=1e-14)
    assert moments.covariance(1.0)[1, 1] == pytest.approx(9.0)


def test_merging_equals_one_pass():
    x, err = draw(PEARSON, 20_000, np.random.default_rng(4))
    whole = Moments.of(Cells.from_rows(x, err), 6, 0.5, 2.0)
    parts = [Moments.of(Cells.from_rows(x[k::3], err[k::3]), 6, 0.5, 2.0) for k in range(3)]
    merged = parts[0] + parts[1] + parts[2]
    assert merged.n_data == whole.n_data == 20_000
    # Sums of 20,000 terms in another order: rounding.
    np.testing.assert_allclose(merged.raw, whole.raw, rtol=1e-12)
    np.testing.assert_allclose(merged.covariance(), whole.covariance(), rtol=1e-11)


def test_moments_that_do_not_merge():
    cells = Cells.from_rows([1.0, 2.0, 4.0])
    moments = Moments.of(cells, 2, 0.0, 1.0)
    for other in (Moments.of(cells, 2, 1.0, 1.0), Moments.of(cells, 2, 0.0, 2.0), Moments.of(cells, 3, 0.0, 1.0)):
        with pytest.raises(ValueError, match="same centre, scale, order and width"):
            moments + other
    with pytest.raises(ValueError, match="without covariance"):
        moments + Moments.from_raw([1.0, 2.0])


def test_given_moments():
    moments = Moments.from_raw([1.0, 5.0, 13.0])
    np.testing.assert_allclose(moments.central, [0.0, 4.0, 0.0], atol=1e-14)
    assert not moments.has_covariance
    assert np.all(np.isnan(moments.covariance()))
    with pytest.raises(ValueError, match="finite"):
        Moments.from_raw([1.0, math.nan])


def test_moments_of_rows_of_weight_zero_count_for_nothing():
    some = Moments.of(Cells.from_rows([1.0, 2.0, 1e200], weights=[1.0, 3.0, 0.0]), 4)
    np.testing.assert_allclose(some.raw, [7 / 4, 13 / 4, 25 / 4, 49 / 4], rtol=1e-14)


def test_moments_far_from_zero_keep_their_precision():
    rng = np.random.default_rng(5)
    u = np.round(PEARSON.sample(1000, rng) * 1024.0) / 1024.0
    near, far = (Moments.of(Cells.from_rows(a + u * b), 6) for a, b in ((0.0, 1.0), (2.0**21, 2.0**-20)))
    # The far values are exact multiples of 2^-30 below 2^22: nothing is lost but by the sums.
    np.testing.assert_allclose(far.standardised().values, near.standardised().values, atol=1e-11)


def test_mixture_moments_and_their_derivatives():
    weights, means, variances = THREE.weights, THREE.means, THREE.sigmas**2
    got, jacobian = mixture_moments(weights, means, variances, 7)
    np.testing.assert_allclose(got, ref.mixture_moments(weights, means, THREE.sigmas, 7), rtol=1e-13)
    step = 1e-5
    point = np.array([weights, means, variances])
    for row in range(3):
        for j in range(3):
            up, down = point.copy(), point.copy()
            up[row, j] += step
            down[row, j] -= step
            slope = (mixture_moments(*up, 7)[0] - mixture_moments(*down, 7)[0]) / (2.0 * step)
            # Central differences: step^2 times a third derivative some hundred times larger, and rounding / step.
            np.testing.assert_allclose(jacobian[:, row, j], slope, rtol=1e-6, atol=1e-6)


# One component


def test_one_component_in_closed_form():
    x, err = np.array([1.0, 2.0, 4.0, 9.0]), np.array([0.5, 1.0, 0.1, 2.0])
    fit = fit_moments(x, err, by_precision=False)
    variance = np.var(x) - np.mean(err**2)
    assert fit.mixture.means[0] == pytest.approx(4.0, rel=1e-15)
    assert fit.mixture.sigmas[0] == pytest.approx(math.sqrt(variance), rel=1e-14)
    assert fit.uncertainties.means[0] == pytest.approx(np.std(x) / 2.0, rel=1e-14)
    squares = (x - 4.0) ** 2 - err**2
    assert fit.uncertainties.sigmas[0] == pytest.approx(np.std(squares) / 2.0 / 2.0 / math.sqrt(variance), rel=1e-13)
    assert fit.converged
    assert not fit.boundary[0]
    assert fit.estimator == "moments"
    assert fit.n_params == 2
    assert fit.loglik == pytest.approx(ref.loglik(x, err, [1.0], [4.0], [math.sqrt(variance)]), rel=1e-12)


def test_scatter_below_the_errors_is_sigma_zero():
    fit = fit_moments([1.0, 1.1, 0.9], 0.5)
    assert fit.mixture.sigmas[0] == 0.0
    assert fit.boundary[0]
    assert np.isnan(fit.uncertainties.sigmas[0])
    assert fit.loglik == pytest.approx(ref.loglik([1.0, 1.1, 0.9], [0.5] * 3, [1.0], [1.0], [0.0]), rel=1e-12)
    assert any("sigma 0" in w for w in fit.warnings)


@pytest.mark.parametrize("err", [None, 0.3])
@pytest.mark.parametrize("n_components", [1, 2, 3])
@pytest.mark.parametrize("equal_sigmas", [False, True])
def test_equal_values_have_sigma_zero(err, n_components, equal_sigmas):
    fit = fit_moments(np.full(20, 7.0), err, n_components, equal_sigmas=equal_sigmas)
    assert fit.mixture.means.tolist() == [7.0]
    assert fit.mixture.sigmas.tolist() == [0.0]
    assert fit.boundary.tolist() == [True]
    assert np.isfinite(fit.loglik)
    assert fit.converged == (n_components == 1)


# Two components


def test_the_five_moments_of_the_literature():
    moments = Moments.from_raw(
        [3.033243007556774, 35.429816643767715, 378.3815897586502, 4697.59347129467, 60793.208071695706]
    )
    first, second = pearson_roots(moments)
    # The roots are given to eight decimals.
    assert first.p == pytest.approx(-20.10136885, abs=5e-9)
    assert second.p == pytest.approx(-8.95175787, abs=5e-9)
    assert first.admissible
    np.testing.assert_allclose(first.means, [-0.0964001259983833, 9.45613788320574], rtol=1e-9)
    np.testing.assert_allclose(np.sqrt(first.variances), [1.93947261516827, 3.31424965505908], rtol=1e-9)
    assert first.weights[0] == pytest.approx(0.672375746577542, rel=1e-9)
    assert not second.admissible
    assert second.reason == "variance negative"
    fit = fit_moments(moments, n_components=2)
    assert fit.converged
    np.testing.assert_array_equal(fit.mixture.means, first.means)
    assert np.isnan(fit.loglik)
    assert np.all(np.isnan(fit.uncertainties.means))


def test_every_root_has_the_five_moments():
    for moments in (exact(PEARSON, 5), exact(Mixture([0.9, 0.1], [0.0, 1.0], [1.0, 3.0]), 5)):
        roots = pearson_roots(moments)
        assert any(root.admissible for root in roots)
        for root in roots:
            model = mixture_moments(root.weights, root.means, root.variances, 5)[0]
            # Also those with a negative variance. Rounding of a polynomial of ninth degree, after a Newton step.
            np.testing.assert_allclose(model, moments.raw, rtol=1e-10, atol=1e-10)
            assert root.p == pytest.approx(np.prod(root.means - moments.mean), rel=1e-8)
            assert root.admissible == bool(np.all(root.variances >= 0.0))


def test_weldons_crabs(catalogs):
    table = np.genfromtxt(catalogs / "reference" / "crabs.csv", delimiter=",", names=True)
    fit = fit_moments(table["class"], n_components=2, weights=table["count"])
    # Pearson's solution, without Sheppard's corrections, to the decimals that are given: eight, and five.
    np.testing.assert_allclose(fit.mixture.weights, [0.42405884, 0.57594116], atol=5.1e-9)
    np.testing.assert_allclose(fit.mixture.means, [13.39801, 19.30311], atol=5.1e-6)
    np.testing.assert_allclose(fit.mixture.sigmas, [4.51164, 3.10942], atol=5.1e-6)
    assert fit.converged
    assert fit.n_data == 1000
    # His second solution is named.
    assert [w for w in fit.warnings if "2 mixtures" in w]


def test_sheppards_corrections_change_the_widths_alone(catalogs):
    table = np.genfromtxt(catalogs / "reference" / "crabs.csv", delimiter=",", names=True)
    bare = fit_moments(table["class"], n_components=2, weights=table["count"]).mixture
    edges = np.append(table["class"] - 0.5, table["class"][-1] + 0.5)
    bins = fit_moments(Cells.from_histogram(edges, table["count"]), n_components=2).mixture
    # The nonic is made of cumulants, to which a normal error adds nothing beyond the second.
    np.testing.assert_allclose(bins.means, bare.means, rtol=1e-9)
    np.testing.assert_allclose(bins.sigmas**2, bare.sigmas**2 - 1.0 / 12.0, rtol=1e-8)


@pytest.mark.parametrize(
    "truth",
    [
        Mixture([0.5, 0.5], [-2.0, 2.0], [1.0, 1.0]),
        Mixture([0.5, 0.5], [-2.0, 2.0 + 1e-5], [1.0, 1.0]),
        Mixture([0.7, 0.3], [1.0, 1.0], [0.5, 2.0]),
        Mixture([0.7, 0.3], [1.0, 1.0 + 1e-3], [0.5, 2.0]),
        Mixture([0.5, 0.5], [-1.0, 3.0], [0.0, 0.0]),
        Mixture([0.2, 0.8], [0.0, 3.0], [0.0, 1.0]),
        PEARSON,
    ],
    ids=["symmetric", "nearly", "one mean", "nearly one mean", "points", "one point", "general"],
)
def test_two_components_from_exact_moments(truth):
    fit = fit_moments(exact(truth, 6), n_components=2)
    assert fit.converged
    # Rounding of the moments, 1e-16, over a difference of means or a third cumulant of 1e-3 where there is one.
    assert_same(fit.mixture, truth, 1e-7)


@pytest.mark.parametrize(
    "truth",
    [Mixture([0.5, 0.5], [-2.0, 2.0], [1.0, 1.0]), Mixture([0.6, 0.4], [1.0, 1.0], [1.0, 3.0])],
    ids=["two means", "one mean"],
)
def test_symmetric_samples_are_recovered(truth):
    fit = fit_moments(*draw(truth, 50_000, np.random.default_rng(6), median=0.2), 2)
    assert fit.converged
    # With one mean the order of the components is open.
    order = np.argsort(fit.mixture.sigmas) if truth.means[0] == truth.means[1] else [0, 1]
    for name in ("weights", "means", "sigmas"):
        unc = getattr(fit.uncertainties, name)[order]
        # Some per cent at N = 50,000, and within four standard errors (six numbers).
        assert np.all(unc < 0.15)
        assert np.all(np.abs(getattr(fit.mixture, name)[order] - getattr(truth, name)) < 4.0 * unc)


def test_the_sixth_moment_chooses_without_data():
    truth = Mixture([0.42405884, 0.57594116], [13.39801, 19.30311], [4.51164, 3.10942])
    assert sum(root.admissible for root in pearson_roots(exact(truth, 5))) == 2
    fit = fit_moments(exact(truth, 6), n_components=2)
    # Moments about zero of values near 17 lose five digits.
    assert_same(fit.mixture, truth, 1e-6)
    assert any("highest moment" in w for w in fit.warnings)
    assert any("no sixth moment" in w for w in fit_moments(exact(truth, 5), n_components=2).warnings)


def test_no_admissible_root():
    # A flat-topped body and far values on both sides: three groups.
    x = np.concatenate([np.linspace(-1.0, 1.0, 300), [-9.0, -9.0, 9.5]])
    moments = Moments.of(Cells.from_rows(x), 6)
    assert not any(root.admissible for root in pearson_roots(moments))
    fit = fit_moments(x, n_components=2)
    assert not fit.converged
    assert fit.n_components == 2
    assert np.isfinite(fit.loglik)
    assert any("no admissible root" in w for w in fit.warnings)


# Three and more


def test_three_components_from_exact_moments():
    fit = fit_moments(exact(THREE, 9), n_components=3)
    assert fit.converged
    # Rounding times the condition of nine moments, some 1e5.
    assert_same(fit.mixture, THREE, 1e-9)


def test_three_components_from_rows():
    x, err = draw(THREE, 50_000, np.random.default_rng(7), median=0.2)
    fit = fit_moments(x, err, 3)
    assert fit.converged
    assert fit.n_params == 8
    for name in ("weights", "means"):
        unc = getattr(fit.uncertainties, name)
        assert np.all(np.abs(getattr(fit.mixture, name) - getattr(THREE, name)) < 5.0 * unc)  # sampling
    loglik = ref.loglik(x[:1000], err[:1000], fit.mixture.weights, fit.mixture.means, fit.mixture.sigmas)
    assert fit_moments(x[:1000], err[:1000], 3).n_data == 1000
    assert np.sum(fit.mixture.logpdf(x[:1000], err[:1000])) == pytest.approx(loglik, rel=1e-10)
    assert fit.loglik == pytest.approx(float(np.sum(fit.mixture.logpdf(x, err))), rel=1e-12)


def test_many_components_keep_mean_and_variance():
    # Thirty moments: the variances of their estimates differ by some thirty powers of ten.
    x, err = draw(THREE, 5000, np.random.default_rng(15))
    moments, fit = Moments.of(Cells.from_rows(x, err), 2), fit_moments(x, err, 10)
    model = ref.mixture_moments(fit.mixture.weights, fit.mixture.means, fit.mixture.sigmas, 2)
    # A compromise between thirty moments within their sampling errors.
    assert np.all(np.abs(model - moments.raw) < 5.0 * np.sqrt(np.diag(moments.covariance())))


def test_moments_of_no_mixture():
    # A kurtosis of 1.5 needs two narrow groups, and a sixth moment of 40 is far from them.
    fit = fit_moments(Moments.from_raw([0.0, 1.0, 0.0, 1.5, 0.0, 40.0, 0.0, 50.0, 0.0]), n_components=3)
    assert not fit.converged
    assert any("no mixture of 3" in w for w in fit.warnings)


# A common width


@pytest.mark.parametrize(
    "truth",
    [
        Mixture([0.4, 0.6], [-1.0, 2.0], [0.7, 0.7]),
        Mixture([0.3, 0.45, 0.25], [-3.0, 0.0, 2.0], [0.6] * 3),
        Mixture([0.2, 0.3, 0.3, 0.2], [-3.0, -1.0, 1.0, 4.0], [0.5] * 4),
    ],
    ids=["two", "three", "four"],
)
def test_common_width_from_exact_moments(truth):
    fit = fit_moments(exact(truth, 2 * truth.n_components), n_components=truth.n_components, equal_sigmas=True)
    assert fit.converged
    assert fit.n_params == 2 * truth.n_components
    assert_same(fit.mixture, truth, 1e-6)


def test_common_width_from_rows():
    truth = Mixture([0.3, 0.45, 0.25], [-3.0, 0.0, 3.0], [0.6] * 3)
    fit = fit_moments(*draw(truth, 50_000, np.random.default_rng(8), median=0.2), 3, equal_sigmas=True)
    assert fit.converged
    assert np.ptp(fit.mixture.sigmas) == 0.0
    for name in ("weights", "means", "sigmas"):
        unc = getattr(fit.uncertainties, name)
        assert np.all(unc < 0.1)
        assert np.all(np.abs(getattr(fit.mixture, name) - getattr(truth, name)) < 5.0 * unc)  # sampling


# What holds for all


@pytest.mark.parametrize(("n_components", "equal_sigmas"), [(1, False), (2, False), (3, False), (2, True), (3, True)])
@pytest.mark.parametrize(("a", "b"), [(3.0, -7.0), (-0.25, 100.0), (1e-6, 2459000.5)])
def test_equivariance(n_components, equal_sigmas, a, b):
    x, err = draw(THREE, 3000, np.random.default_rng(9), median=0.3)
    here = fit_moments(x, err, n_components, equal_sigmas=equal_sigmas)
    there = fit_moments(a * x + b, abs(a) * err, n_components, equal_sigmas=equal_sigmas)
    moved = Mixture(here.mixture.weights, a * here.mixture.means + b, abs(a) * here.mixture.sigmas)
    # Values near b are rounded to 2e-16 b, in units of |a|; solutions amplify that by some 1e3.
    tolerance = 1e-6 + 1e3 * 2.2e-16 * abs(b / a)
    np.testing.assert_allclose(there.mixture.weights, moved.weights, atol=tolerance)
    np.testing.assert_allclose((there.mixture.means - moved.means) / a, 0.0, atol=tolerance)
    np.testing.assert_allclose((there.mixture.sigmas - moved.sigmas) / a, 0.0, atol=tolerance)
    assert there.converged == here.converged


def test_weights_count_as_rows():
    x, err = draw(PEARSON, 500, np.random.default_rng(10))
    counts = np.random.default_rng(11).integers(0, 4, 500)
    weighted = fit_moments(x, err, 2, weights=counts)
    repeated = fit_moments(np.repeat(x, counts), np.repeat(err, counts), 2)
    # Sums in another order, amplified by the solution.
    assert_same(weighted.mixture, repeated.mixture, 1e-9)
    np.testing.assert_allclose(weighted.uncertainties.means, repeated.uncertainties.means, rtol=1e-7)
    assert weighted.loglik == pytest.approx(repeated.loglik, rel=1e-10)


def test_units_of_the_errors_are_converted():
    units = pytest.importorskip("astropy.units")
    x, err = draw(PEARSON, 300, np.random.default_rng(14))
    plain, carried = fit_moments(x, err, 2), fit_moments(x * units.arcsec, 1000.0 * err * units.mas, 2)
    assert_same(carried.mixture, plain.mixture, 1e-9)  # rounding of the errors, amplified by the solution


def test_merged_moments_give_the_fit_of_all_rows():
    x, err = draw(PEARSON, 4000, np.random.default_rng(12))
    shards = [Moments.of(Cells.from_rows(x[k::2], err[k::2]), 6, 0.0, 2.0) for k in range(2)]
    merged, whole = fit_moments(shards[0] + shards[1], n_components=2), fit_moments(x, err, 2, by_precision=False)
    assert_same(merged.mixture, whole.mixture, 1e-9)  # rounding, amplified by the solution
    np.testing.assert_allclose(merged.uncertainties.sigmas, whole.uncertainties.sigmas, rtol=1e-7)


@pytest.mark.parametrize("n_rows", [1, 2, 4, 6])
@pytest.mark.parametrize("n_components", [2, 3, 6])
@pytest.mark.parametrize("equal_sigmas", [False, True])
def test_fewer_rows_than_moments(n_rows, n_components, equal_sigmas):
    x = np.array([0.3, 1.0, 2.5, 2.6, 7.0, 7.4])[:n_rows]
    fit = fit_moments(x, 0.1, n_components, equal_sigmas=equal_sigmas)
    needed = 2 * n_components if equal_sigmas else 3 * n_components - 1
    assert (fit.n_components < n_components) == (n_rows < needed)
    if n_rows < needed:
        assert not fit.converged
        assert any(f"{n_rows} rows" in w for w in fit.warnings)
    assert np.isfinite(fit.loglik)


def test_awkward_values():
    for x in ([0.0, 1.0] * 50, [0.0] * 99 + [1.0], [0.0] * 99 + [1e6], [*range(40), 1e12]):
        for n_components in (2, 3):
            for equal_sigmas in (False, True):
                fit = fit_moments(x, None, n_components, equal_sigmas=equal_sigmas)
                assert np.isfinite(fit.loglik)
                assert np.all(fit.mixture.sigmas >= 0.0)


def test_what_a_caller_can_do_wrong():
    with pytest.raises(ValueError, match="up to order 8"):
        fit_moments(exact(THREE, 7), n_components=3)
    with pytest.raises(ValueError, match="up to order 5"):
        pearson_roots(exact(THREE, 4))
    with pytest.raises(ValueError, match="must be None"):
        fit_moments(exact(THREE, 7), err=0.1)
    for n_components in (0, 1.5, True):
        with pytest.raises(ValueError, match="n_components"):
            fit_moments([1.0, 2.0], n_components=n_components)


# Uncertainties


@pytest.mark.parametrize(
    ("truth", "n_data", "median"), [(Mixture([1.0], [2.0], [1.0]), 300, 0.8), (PEARSON, 4000, 0.3)], ids=["one", "two"]
)
def test_uncertainties_are_calibrated(truth, n_data, median):
    rng, n_draws = np.random.default_rng(13), 300
    pulls = []
    for _ in range(n_draws):
        fit = fit_moments(*draw(truth, n_data, rng, median=median), truth.n_components)
        pulls.append(
            [
                (getattr(fit.mixture, name) - getattr(truth, name)) / getattr(fit.uncertainties, name)
                for name in (("means", "sigmas") if truth.n_components == 1 else ("weights", "means", "sigmas"))
            ]
        )
    pulls = np.reshape(pulls, (n_draws, -1))
    assert np.all(np.isfinite(pulls))
    # 300 draws give a standard deviation to 1 / sqrt(600) = 0.04 and a mean to 0.06; 0.1 on top for the curvature of
    # the solution over its errors.
    assert np.all(np.abs(np.std(pulls, axis=0) - 1.0) < 3 * 0.041 + 0.1)
    assert np.all(np.abs(np.mean(pulls, axis=0)) < 3 * 0.058 + 0.1)


def test_precise_rows_count_more_with_the_covariance_of_such_means():
    rng = np.random.default_rng(31)
    x, err = draw(PEARSON, 3000, rng, median=1.0)
    weights = rng.integers(0, 3, 3000).astype(float)
    moments = Moments.of(Cells.from_rows(x, err, weights), 3, centre=0.0, scale=1.0, width=2.0)
    precision = (1.0 + (err / 2.0) ** 2) ** -1.5
    rows = np.stack([x, x**2 - err**2, x**3 - 3.0 * x * err**2])
    expected = (rows * precision * weights).sum(axis=1) / (precision * weights).sum()
    np.testing.assert_allclose(moments.raw, expected, rtol=1e-12)
    # Each row as often as its weight says, and independent: the variance of a ratio of sums.
    away = (rows - expected[:, None]) * precision
    covariance = (away * weights) @ away.T / (precision * weights).sum() ** 2
    np.testing.assert_allclose(moments.covariance(), covariance, rtol=1e-10)


def test_shards_weighted_by_precision_merge_if_the_width_is_the_same():
    x, err = draw(PEARSON, 2000, np.random.default_rng(32))
    parts = [Moments.of(Cells.from_rows(x[k::2], err[k::2]), 4, 0.0, 2.0, width=1.5) for k in range(2)]
    whole = Moments.of(Cells.from_rows(x, err), 4, 0.0, 2.0, width=1.5)
    np.testing.assert_allclose((parts[0] + parts[1]).raw, whole.raw, rtol=1e-12)
    with pytest.raises(ValueError, match="width"):
        parts[0] + Moments.of(Cells.from_rows(x, err), 4, 0.0, 2.0)


def test_errors_of_twice_the_widths_are_taken_out_of_the_estimate():
    """20 catalogs: the mean estimate is that of the truth, where that without errors is far off."""
    truth = Mixture([0.6, 0.4], [0.0, 5.0], [1.0, 0.7])
    found, ignored = [], []
    for seed in range(20):
        x, err = draw(truth, 10_000, np.random.default_rng([33, seed]), median=1.7)
        fit = fit_moments(x, err, 2)
        if fit.converged:
            found.append([fit.mixture.weights[0], *fit.mixture.means, *fit.mixture.sigmas])
        plain = fit_moments(x, n_components=2).mixture
        ignored.append([plain.weights[0], *plain.means, *plain.sigmas])
    assert len(found) >= 18
    expected = np.array([0.6, 0.0, 5.0, 1.0, 0.7])
    standard_error = np.std(found, axis=0) / np.sqrt(len(found))
    # The skewness of the estimates is a bias of second order, below half of their scatter at this size.
    allowed = 4.0 * standard_error + 0.25 * np.std(found, axis=0)
    assert np.all(np.abs(np.mean(found, axis=0) - expected) < allowed)
    assert np.all(np.abs(np.mean(ignored, axis=0) - expected)[3:] > 0.5)
