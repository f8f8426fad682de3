"""The estimator that fits the density of a column: its parts against other libraries, its results against the truth."""

import itertools
import math
import time

import numpy as np
import pytest
from astropy import units as u
from astropy.stats import bayesian_blocks as astropy_blocks
from scipy.stats import norm

from mixpipe.fitting.histogram.binning import METHODS, Sorted, bayesian_blocks, error_groups, histogram
from mixpipe.fitting.histogram.fit import fit_histogram
from mixpipe.fitting.histogram.projection import Projection, bin_integrals, simplex_weights
from mixpipe.model.cells import Cells
from mixpipe.model.mixture import Mixture
from tests.campaign import mostly_campaign

each_method = pytest.mark.parametrize("method", METHODS)
TWO = Mixture([0.6, 0.4], [0.0, 4.0], [1.0, 0.5])


def draw(truth, n, seed, median_err=0.0):
    """Values and errors, lognormal with the given median."""
    rng = np.random.default_rng(seed)
    err = median_err * np.exp(0.4 * rng.standard_normal(n))
    return truth.sample(n, rng) + err * rng.standard_normal(n), err


def vector(fit):
    return np.concatenate([fit.mixture.weights[:-1], fit.mixture.means, fit.mixture.sigmas])


def uncertainty(fit):
    return np.concatenate([fit.uncertainties.weights[:-1], fit.uncertainties.means, fit.uncertainties.sigmas])


# Parts


def test_bin_integrals_are_differences_of_the_normal_cdf():
    edges = np.array([-2.0, -0.5, 0.3, 4.0])
    means, sigmas = np.array([0.1, 1.5]), np.array([0.7, 0.0])
    errs, probability = np.array([0.2, 0.9]), np.array([0.3, 0.7])
    got, _, _ = bin_integrals(edges, means, sigmas**2, errs**2, probability)
    bounds = np.concatenate([[-np.inf], edges, [np.inf]])
    expected = [
        [
            sum(p * np.diff(norm(m, math.hypot(s, e)).cdf(bounds))[k] for e, p in zip(errs, probability, strict=True))
            for m, s in zip(means, sigmas, strict=True)
        ]
        for k in range(bounds.size - 1)
    ]
    # Differences of numbers of order one, rounded at 1e-16.
    np.testing.assert_allclose(got, expected, atol=1e-15)
    np.testing.assert_allclose(got.sum(axis=0), 1.0, atol=1e-15)


def test_derivatives_of_bin_integrals_against_differences():
    edges = np.linspace(-2, 3, 9)
    means, variances = np.array([0.1, 1.5]), np.array([0.5, 0.2])
    groups = np.array([0.04, 0.8]), np.array([0.3, 0.7])
    _, d_mean, d_variance = bin_integrals(edges, means, variances, *groups)
    step = 1e-5
    for derivative, up, down in (
        (d_mean, (means + step, variances), (means - step, variances)),
        (d_variance, (means, variances + step), (means, variances - step)),
    ):
        numeric = (bin_integrals(edges, *up, *groups)[0] - bin_integrals(edges, *down, *groups)[0]) / (2 * step)
        # Central differences: rounding 1e-16 / 1e-5 and truncation step^2 times a third derivative of order 10.
        np.testing.assert_allclose(derivative, numeric, atol=5e-9)


@pytest.mark.parametrize("spread", [0.4, 1.0])
def test_error_groups_average_like_all_errors(spread):
    err = 0.4 * np.exp(spread * np.random.default_rng(1).standard_normal(20_000))
    variances, probability = error_groups(err**2, np.ones(err.size), 1e-4)
    assert variances.size <= 64
    assert probability.sum() == pytest.approx(1.0, abs=1e-12)
    assert probability @ variances == pytest.approx(np.mean(err**2), rel=1e-12)
    edges = np.linspace(-3, 3, 25)
    args = edges, np.array([0.2]), np.array([0.09])
    every = bin_integrals(*args, err**2, np.full(err.size, 1 / err.size))[0]
    # A tenth of the sampling error of a share of 0.05 at N = 20,000 (1.5e-3).
    np.testing.assert_allclose(bin_integrals(*args, variances, probability)[0], every, atol=1.5e-4)


def test_the_fit_has_the_unit_of_the_values():
    x = np.linspace(0.0, 1.0, 50) * u.km
    assert fit_histogram(x, 100.0 * u.m, 1).unit == u.km
    assert fit_histogram(x.value, 0.1, 1).unit is None


def test_few_different_errors_are_kept():
    err = np.repeat([0.1, 0.3, 2.0], [5, 3, 2])
    variances, probability = error_groups(err**2, np.ones(10), 1e-3)
    np.testing.assert_allclose(variances, [0.01, 0.09, 4.0], rtol=1e-12)
    np.testing.assert_allclose(probability, [0.5, 0.3, 0.2], rtol=1e-12)


def test_simplex_weights_beat_all_others_on_a_grid():
    rng = np.random.default_rng(3)
    inside_found = False
    for _ in range(20):
        columns = rng.standard_normal((12, 3)) + 0.5
        got = simplex_weights(columns)
        assert got.min() >= 0.0
        assert got.sum() == pytest.approx(1.0, abs=1e-14)
        inside_found |= bool(got.min() > 0.0)
        best = min(
            np.linalg.norm(columns @ [a, b, 1.0 - a - b])
            for a in np.linspace(0, 1, 41)
            for b in np.linspace(0, 1, 41)
            if a + b <= 1.0
        )
        assert np.linalg.norm(columns @ got) <= best + 1e-12
    assert inside_found


@pytest.mark.parametrize("empty", [False, True])
def test_jacobian_of_the_projection_against_differences(empty):
    x, err = draw(TWO, 2000, 5, 0.3)
    binned = histogram(Sorted.of(x, np.ones(x.size)), 1.0)
    n_bins = binned.shares.size
    scale = np.random.default_rng(2).uniform(5.0, 50.0, n_bins)
    problem = Projection(binned, *error_groups(err**2, np.ones(x.size), 0.01), scale, 0.05, float(x.size))
    # The fourth is not wanted where the others have too much already.
    size = 4 if empty else 3
    means, variances = np.array([0.4, 3.5, 4.4, 1.5])[:size], np.array([0.8, 0.3, 0.1, 0.7])[:size]
    variables = problem.variables(means, variances)
    here = problem.solve(variables)
    assert (here.weights == 0.0).any() == empty
    step = 1e-5
    for k in range(variables.size):
        shift = step * np.eye(variables.size)[k]
        numeric = (problem.solve(variables + shift).residuals - problem.solve(variables - shift).residuals) / (2 * step)
        # Residuals of order one: truncation step^2 and rounding through the solved weights 1e-14 / 1e-5.
        np.testing.assert_allclose(here.jacobian[:, k], numeric, atol=2e-7 * max(1.0, np.abs(here.jacobian).max()))


# Bayesian blocks


def brute_force(x):
    """Scargle et al. (2013) by looking at all partitions."""
    edges = np.concatenate([x[:1], 0.5 * (x[1:] + x[:-1]), x[-1:]])
    price = 4.0 - math.log(73.53 * 0.05 * x.size**-0.478)

    def total(cuts):
        counts, lengths = np.diff(cuts), np.diff(edges[list(cuts)])
        return sum(n * math.log(n / t) for n, t in zip(counts, lengths, strict=True)) - price * counts.size

    inner = range(1, x.size)
    partitions = ((0, *cuts, x.size) for n in range(4) for cuts in itertools.combinations(inner, n))
    return edges[list(max(partitions, key=total))]


def test_blocks_are_the_best_of_all_partitions():
    rng = np.random.default_rng(4)
    # At most three changes are enumerated; three densities have two.
    x = np.sort(np.concatenate([rng.uniform(0, 10, 6), rng.uniform(10, 10.2, 12), rng.uniform(10.2, 25, 6)]))
    expected = brute_force(x)
    assert expected.size > 2
    np.testing.assert_array_equal(bayesian_blocks(x, np.ones(x.size)), expected)


def test_blocks_equal_those_of_astropy():
    x = np.sort(draw(TWO, 600, 7)[0])
    np.testing.assert_allclose(bayesian_blocks(x, np.ones(600)), astropy_blocks(x, p0=0.05), rtol=1e-12)


def test_more_values_than_cells():
    x = np.sort(np.random.default_rng(8).uniform(size=9000) ** 2)
    edges = bayesian_blocks(x, np.ones(x.size))
    assert (edges[0], edges[-1]) == (x[0], x[-1])
    assert np.all(np.diff(edges) > 0)


# Recovery


@each_method
@pytest.mark.parametrize("median_err", mostly_campaign([0.0, 0.4], 0.4))
def test_recovery_within_the_stated_uncertainties(method, median_err):
    fits = [fit_histogram(*draw(TWO, 3000, seed, median_err), 2, method=method) for seed in range(12)]
    truth = np.array([0.6, 0.0, 4.0, 1.0, 0.5])
    scores = np.array([(vector(fit) - truth) / uncertainty(fit) for fit in fits])
    assert all(fit.converged for fit in fits)
    # Of 60 scores, correlated within a fit: below 4.5 each, and their mean square within a factor of two of one
    # (its standard error for 60 is 0.18).
    assert np.abs(scores).max() < 4.5
    assert 0.5 < np.mean(scores**2) < 2.0


@pytest.mark.parametrize("method", mostly_campaign(METHODS, "kernel"))
def test_errors_twice_the_widths_are_taken_out(method):
    truth = Mixture([0.5, 0.5], [0.0, 5.0], [0.5, 0.5])
    catalogs = [draw(truth, 4000, 100 + seed, 1.0) for seed in range(24)]

    def estimates(with_errors):
        # The bias without errors is so large that a few catalogs show it.
        used = catalogs if with_errors else catalogs[:6]
        return np.array([vector(fit_histogram(x, err if with_errors else None, 2, method=method)) for x, err in used])

    expected = np.array([0.5, 0.0, 5.0, 0.5, 0.5])
    for with_errors in (True, False):
        found = estimates(with_errors)
        # In units of the standard error of the mean of the catalogs. Four for five parameters; the curvature of the
        # square root that a sigma is adds a bias of var(s) / 2s.
        standard_error = found.std(axis=0, ddof=1) / math.sqrt(len(found))
        curvature = np.where(np.arange(5) < 3, 0.0, found.var(axis=0) / (2 * found.mean(axis=0)))
        offset = np.abs(found.mean(axis=0) - expected)
        if with_errors:
            assert np.all(offset < 4.0 * standard_error + curvature)
        else:
            # Blurred sigmas of some sqrt(0.5^2 + E e^2), E e^2 = exp(2 0.4^2).
            assert np.all(offset[3:] > 20.0 * standard_error[3:])


def test_sigma_is_zero_where_errors_explain_all():
    x, err = draw(Mixture([1.0], [3.0], [0.0]), 4000, 9, 1.0)
    # Half of such samples prefer a positive variance by chance; it is then within its own sampling error,
    # sd(s^2) = sqrt(2 / N) E e^2 at best.
    fit = fit_histogram(x, err, 1)
    assert fit.mixture.sigmas[0] ** 2 < 4.0 * math.sqrt(2 / 4000) * np.mean(err**2)
    low = fit_histogram(x, 1.3 * err, 1)
    assert low.mixture.sigmas[0] == 0.0
    assert low.boundary.all()
    assert np.isnan(low.uncertainties.sigmas[0])
    assert low.sigma_floor == 0.0


def test_methods_agree_on_one_column():
    x, err = draw(TWO, 5000, 10, 0.3)
    fits = [fit_histogram(x, err, 2, method=method) for method in METHODS]
    for a, b in itertools.combinations(fits, 2):
        # Of the same rows: differences are smaller than the uncertainty of either.
        assert np.all(np.abs(vector(a) - vector(b)) < np.maximum(uncertainty(a), uncertainty(b)))


def test_overlapping_components_from_no_guess(catalogs):
    x, err = np.loadtxt(catalogs / "reference" / "overlap_1e4.csv", delimiter=",", skiprows=1).T
    for method in METHODS:
        fit = fit_histogram(x, err, 3, method=method)
        # The maximum of the likelihood is -19830.207. An estimate with the same covariance falls short of it by
        # half of chi-square with 8 degrees of freedom for the difference; the bins lose which row has which error.
        assert -19830.2066 - 4.0 < fit.loglik <= -19830.2065


@pytest.mark.parametrize(("method", "shortfall"), [("histogram", 0.5), ("blocks", 0.5), ("kernel", 0.5)])
def test_faithful_waiting_times(catalogs, method, shortfall):
    x = np.loadtxt(catalogs / "reference" / "faithful_waiting.csv", skiprows=1)
    fit = fit_histogram(x, None, 2, method=method)
    # Two free widths are at least as good as the equal ones of the maximum, -1034.002. Bins change the estimate by a
    # fraction f of its uncertainties, which costs f^2 / 2 of chi-square with 5 degrees of freedom: f < 0.45.
    assert -1034.002 - shortfall < fit.loglik < -1034.0


@pytest.mark.parametrize(("method", "shortfall"), [("histogram", 0.5), ("blocks", 16.0), ("kernel", 0.5)])
def test_galaxy_velocities(catalogs, method, shortfall):
    x = np.loadtxt(catalogs / "reference" / "galaxies.csv", skiprows=1)
    fit = fit_histogram(x, None, 3, method=method)
    # 82 rows in groups of 7, 72 and 3. Blocks, of which there are few, do not resolve the small groups: their widths
    # and the spread of the rows that EM puts into the third component are lost.
    assert -203.1793 - shortfall < fit.loglik <= -203.179


# Symmetries


@each_method
@pytest.mark.parametrize(("factor", "offset"), [(3.7, 0.0), (1e-6, 2459000.5), (-2.0, 5.0)])
def test_equivariance(method, factor, offset):
    x, err = draw(TWO, 1500, 11, 0.3)
    one = fit_histogram(x, err, 2, method=method)
    other = fit_histogram(factor * x + offset, abs(factor) * err, 2, method=method)
    order = slice(None, None, -1 if factor < 0 else 1)
    # Offsets of 2e6 leave 5e-10 / 1e-6 of the values, which moves edges half-way between values by as much; a
    # descent stops within sqrt(1e-8) of a standard error, some 1e-2, of the minimum.
    tolerance = 1e-3 if offset > 1e6 else 1e-5
    assert np.allclose(other.mixture.weights, one.mixture.weights[order], atol=tolerance)
    assert np.allclose((other.mixture.means - offset) / factor, one.mixture.means[order], atol=tolerance)
    assert np.allclose(other.mixture.sigmas / abs(factor), one.mixture.sigmas[order], atol=tolerance)
    assert np.allclose(
        other.uncertainties.means / abs(factor), one.uncertainties.means[order], rtol=max(tolerance, 1e-4)
    )


@each_method
def test_order_of_rows_does_not_matter_and_nothing_is_random(method):
    x, err = draw(TWO, 1000, 12, 0.3)
    one = fit_histogram(x, err, 2, method=method)
    assert np.array_equal(vector(one), vector(fit_histogram(x, err, 2, method=method)))
    mixed = np.random.default_rng(1).permutation(1000)
    other = fit_histogram(x[mixed], err[mixed], 2, method=method)
    # Sums in another order, and where a descent stops.
    np.testing.assert_allclose(vector(other), vector(one), atol=1e-5)


@each_method
def test_row_weights_are_repetitions(method):
    x, err = draw(TWO, 400, 13, 0.3)
    times = np.random.default_rng(3).integers(0, 4, 400)
    rows = fit_histogram(np.repeat(x, times), np.repeat(err, times), 2, method=method)
    weighted = fit_histogram(Cells.from_rows(x, err, times), n_components=2, method=method)
    assert weighted.n_data == rows.n_data == times.sum()
    assert weighted.loglik == pytest.approx(rows.loglik, abs=1e-4)
    # The quantiles of errors in the lower bound and the typical error are those of cells, which move no minimum.
    np.testing.assert_allclose(vector(weighted), vector(rows), atol=1e-4)


# The result


@each_method
def test_loglik_is_that_of_the_rows(method):
    x, err = draw(TWO, 500, 14, 0.3)
    fit = fit_histogram(x, err, 2, method=method)
    assert fit.estimator == "density"
    assert fit.n_params == 5
    assert fit.loglik == pytest.approx(fit.mixture.logpdf(x, err).sum(), rel=1e-12)
    resp = fit.mixture.responsibilities(x, err)
    assert fit.entropy == pytest.approx(-np.sum(resp * np.log(np.maximum(resp, 1e-300))), rel=1e-9)


def test_one_component_without_errors_has_the_textbook_uncertainties():
    x = draw(Mixture([1.0], [2.0], [3.0]), 20_000, 15)[0]
    fit = fit_histogram(x, None, 1)
    # Those of maximum likelihood, s / sqrt(N) and s / sqrt(2 N): bins of 0.1 s lose less than 1 %, the rest is that
    # the covariance is from observed shares.
    assert fit.uncertainties.means[0] == pytest.approx(3.0 / math.sqrt(20_000), rel=0.03)
    assert fit.uncertainties.sigmas[0] == pytest.approx(3.0 / math.sqrt(40_000), rel=0.03)
    assert fit.uncertainties.weights[0] == 0.0


@each_method
def test_rounded_values_are_as_good_as_others(method):
    x = draw(TWO, 4000, 16)[0]
    fine, rounded = (fit_histogram(v, None, 2, method=method) for v in (x, np.round(x, 1)))
    # Rounding adds 0.1^2 / 12 to the variance, 2e-3 in the smaller sigma, a fifth of an uncertainty; no comb appears.
    assert np.all(np.abs(vector(fine) - vector(rounded)) < 0.5 * uncertainty(fine))


def test_a_far_row_changes_little():
    x = draw(TWO, 2000, 17)[0]
    one = fit_histogram(x, None, 2)
    other = fit_histogram(np.append(x, 1e6), None, 2)
    assert np.all(np.abs(vector(one) - vector(other)) < 0.2 * uncertainty(one))


@each_method
@pytest.mark.parametrize("n_components", [1, 2, 4])
@pytest.mark.parametrize(
    ("x", "err"),
    [
        ([3.0], None),
        ([3.0], 0.1),
        ([1.0, 2.0], None),
        ([1.0, 10.0, 30.0], 0.1),
        (np.full(20, 5.0), None),
        (np.full(20, 5.0), 0.2),
        (np.repeat([0.0, 1.0], 30), None),
        (np.append(np.zeros(50), np.linspace(-1, 1, 9)), None),
        (np.linspace(0, 1, 40), np.where(np.arange(40) % 2, 0.0, 0.3)),
        (np.append(np.linspace(0, 1, 40), 1e9), 0.1),
        (np.linspace(0, 1, 40), np.append(np.full(39, 0.1), 1e8)),
    ],
)
def test_awkward_data_give_a_result(method, n_components, x, err):
    fit = fit_histogram(x, err, n_components, method=method)
    assert fit.n_components == n_components
    assert np.all(np.isfinite(fit.mixture.means))
    assert np.isfinite(fit.loglik)
    assert fit.mixture.sigmas.min() >= fit.sigma_floor * (1.0 - 1e-9)
    low, high = np.min(x), np.max(x)
    if low == high:
        heaviest = np.argmax(fit.mixture.weights)
        assert fit.mixture.means[heaviest] == pytest.approx(low, abs=1e-3)
        assert fit.boundary[heaviest]
    if len(x) < fit.n_params:
        assert any("parameters for" in text for text in fit.warnings)
    if (fit.mixture.weights == 0.0).any():
        assert any("no weight in component" in text for text in fit.warnings)


def test_far_groups():
    x = np.concatenate([draw(Mixture([1.0], [m], [1.0]), n, n)[0] for m, n in ((0.0, 3000), (1e5, 1000))])
    fit = fit_histogram(x, None, 2)
    assert fit.mixture.weights == pytest.approx([0.75, 0.25], abs=1e-3)
    assert fit.mixture.means == pytest.approx([0.0, 1e5], abs=0.2)  # six standard errors of the second
    assert fit.mixture.sigmas == pytest.approx([1.0, 1.0], abs=0.15)


def test_many_rows_take_no_more_than_a_few_passes():
    x, err = draw(TWO, 1_000_000, 18, 0.3)
    start = time.perf_counter()
    fit = fit_histogram(x, err, 2)
    # Half a second on one core; ten times that for a busy machine.
    assert time.perf_counter() - start < 5.0
    assert fit.mixture.means == pytest.approx([0.0, 4.0], abs=0.01)  # five standard errors, 1e-3 each, and errors'


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_components": 0}, "n_components"),
        ({"n_components": 1.5}, "n_components"),
        ({"method": "spline"}, "unknown method 'spline'"),
        ({"err": -1.0}, "err"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        fit_histogram([1.0, 2.0, 3.0], **arguments)


def test_cells_carry_their_own_errors():
    with pytest.raises(ValueError, match="cells carry"):
        fit_histogram(Cells.from_rows([1.0, 2.0]), 0.1)
