"""The global search: published fits, other optimisers, and the symmetries of the problem."""

import numpy as np
import pandas as pd
import pytest
from sklearn.mixture import GaussianMixture

import mixpipe
from mixpipe.fitting.gaussian.likelihood import Likelihood, Params
from mixpipe.fitting.gaussian.search import Search, doubled, merged, moments_start, removed, splits
from mixpipe.model.cells import Cells
from mixpipe.model.mixture import Mixture
from tests import reference as ref
from tests.campaign import mostly_campaign


def draw(n, mixture, rng, error=0.4):
    """Values and lognormal errors with the given median."""
    err = error * np.exp(0.5 * rng.standard_normal(n))
    return mixture.sample(n, rng) + err * rng.standard_normal(n), err


# Published fits


def test_galaxy_velocities(catalogs):
    """Roeder (1990); the maxima as in the literature on these 82 values."""
    x = pd.read_csv(catalogs / "reference/galaxies.csv").x
    selection = mixpipe.choose_n_components(x, max_components=4)
    third, fourth = selection.fits[2:]
    assert third.loglik == pytest.approx(-203.1792, abs=1e-4)
    assert third.bic == pytest.approx(441.6122, abs=2e-4)
    assert fourth.bic <= 443.3814 + 2e-4
    assert selection.best.n_components == 3


def test_overlapping_components_with_and_without_errors(catalogs):
    data = pd.read_csv(catalogs / "reference/overlap_1e4.csv")
    fit = mixpipe.fit_mixture(data.x, data.e, 3)
    assert fit.loglik == pytest.approx(-19830.2065771302, abs=1e-6)
    # Where 1e-9 nats are left, parameters are within 4.5e-5 of their errors, which are below 0.5 here.
    np.testing.assert_allclose(fit.mixture.weights, [0.37704907, 0.47608288, 0.14686805], atol=2e-5)
    np.testing.assert_allclose(fit.mixture.means, [-0.74584240, -0.13888994, 2.99472873], atol=2e-5)
    np.testing.assert_allclose(fit.mixture.sigmas, [1.64633623, 1.02230561, 0.45980696], atol=2e-5)
    assert mixpipe.fit_mixture(data.x, None, 3).loglik == pytest.approx(-19894.29671228, abs=1e-6)


def test_old_faithful_with_equal_widths(catalogs):
    x = pd.read_csv(catalogs / "reference/faithful_waiting.csv").x
    fit = mixpipe.fit_mixture(x, None, 2, equal_sigmas=True)
    assert fit.loglik == pytest.approx(-1034.002, abs=5e-4)
    assert fit.mixture.weights[0] == pytest.approx(0.3608498, abs=2e-6)
    np.testing.assert_allclose(fit.mixture.means, [54.61364, 80.09031], atol=3e-5)
    np.testing.assert_allclose(fit.mixture.sigmas, 5.869089, atol=2e-5)


@pytest.mark.parametrize("release", ["2018", "2024"])
def test_neutron_stars_are_two_populations(catalogs, release):
    data = pd.read_csv(catalogs / f"neutron_stars/{release}.csv")
    err = 0.5 * (data.mass_err_up.abs() + data.mass_err_lo.abs())
    selection = mixpipe.choose_n_components(data.mass, err, max_components=5)
    assert selection.best.n_components == 2
    if release == "2018":
        mixture = selection.best.mixture
        np.testing.assert_allclose(mixture.weights, [0.72, 0.28], atol=0.005)  # as printed
        np.testing.assert_allclose(mixture.means, [1.346, 1.782], atol=0.0006)
        np.testing.assert_allclose(mixture.sigmas, [0.078, 0.144], atol=0.0006)
        plain = mixpipe.fit_mixture(data.mass, None, 2).mixture
        assert plain.means[1] == pytest.approx(1.625, abs=0.0006)
        assert plain.sigmas[1] == pytest.approx(0.300, abs=0.0006)
        assert plain.weights[1] == pytest.approx(0.58, abs=0.006)


# Against other optimisers


def nats_of_few_rows(x, err, fit):
    """What is taken off where fits are compared, after a look at whether the fit knows what its choice takes off."""
    m = fit.mixture
    args = (x.tolist(), err.tolist(), m.weights.tolist(), m.means.tolist(), m.sigmas.tolist())
    nats = ref.occam(*args)
    located = ref.location_nats(*args, fit.resolution.grain) if fit.sigma_floor > 0.0 else 0.0
    assert fit.occam == pytest.approx(nats + located, rel=1e-6, abs=1e-9)
    return nats


HARD = {
    "wide and narrow, one centre": Mixture([0.5, 0.5], [0.0, 0.0], [0.5, 3.0]),
    "three in a row": Mixture([0.35, 0.5, 0.15], [-1.0, 0.0, 3.0], [1.5, 1.0, 0.5]),
    "four, two close": Mixture([0.3, 0.3, 0.2, 0.2], [-4.0, -2.5, 1.0, 5.0], [0.5, 0.4, 1.0, 0.8]),
    "a rare spike": Mixture([0.95, 0.05], [0.0, 1.0], [2.0, 0.0]),
    "a faint far tail": Mixture([0.9, 0.1], [0.0, 6.0], [1.0, 3.0]),
}


@pytest.mark.parametrize("name", HARD)
@pytest.mark.parametrize("with_errors", [True, False], ids=["errors", "no errors"])
def test_no_worse_than_many_random_restarts(name, with_errors):
    rng = np.random.default_rng(len(name))
    size = HARD[name].n_components
    x, err = draw(250, HARD[name], rng, 0.3)
    if not with_errors:
        err = np.zeros(250)
    floor = 0.0 if with_errors else 0.1
    fit = mixpipe.fit_mixture(x, err, size, sigma_floor=floor)
    # Of all maxima that with the highest likelihood less what components on a row or two owe.
    best, _ = ref.maximise(x, err, size, 30, rng, sigma_floor=floor, regular=True)
    assert fit.loglik - nats_of_few_rows(x, err, fit) >= best - 0.01


def errors_over_four_decades(n_close):
    """Forty rows, some of which are close to -3."""
    rng = np.random.default_rng(58)
    err = 10.0 ** rng.uniform(-3.0, 1.0, 40)
    x = rng.normal(0.0, 3.0, 40) + err * rng.standard_normal(40)
    x[:n_close] = -3.0 + (err * rng.standard_normal(40))[:n_close]
    return x, err


# Of forty rows six, 2 + ln 40, are no longer close by chance.
@pytest.mark.parametrize(("n_close", "n_components"), [(4, 1), (12, 2)])
def test_a_lone_fit_finds_what_a_selection_finds_with_errors_over_four_decades(n_close, n_components):
    x, err = errors_over_four_decades(n_close)
    selection = mixpipe.choose_n_components(x, err, max_components=5)
    assert selection.best.n_components == n_components
    for fit in selection.fits:
        alone = mixpipe.fit_mixture(x, err, fit.n_components)
        assert alone.loglik == pytest.approx(fit.loglik, abs=1e-6)
        np.testing.assert_allclose(alone.mixture.means, fit.mixture.means, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("n_components", mostly_campaign([2, 3, 4], 2))
def test_no_worse_than_random_restarts_with_errors_over_four_decades(n_components):
    x, err = errors_over_four_decades(4)
    fit = mixpipe.fit_mixture(x, err, n_components)
    assert fit.sigma_floor > 0.0
    rng = np.random.default_rng(59)
    best, _ = ref.maximise(x, err, n_components, 100, rng, sigma_floor=fit.sigma_floor, regular=True)
    assert fit.loglik - nats_of_few_rows(x, err, fit) >= best - 0.01


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_scikit_learn_without_errors(seed):
    """Both run to the end from one start, on data without errors."""
    rng = np.random.default_rng(60 + seed)
    start = Mixture([0.4, 0.6], [-1.0, 4.0], [1.0, 1.0])
    x = Mixture([0.6, 0.4], [0.0, 4.0], [1.0, 0.7]).sample(400, rng)
    peer = GaussianMixture(
        2,
        tol=1e-13,
        max_iter=20_000,
        reg_covar=0.0,
        weights_init=start.weights,
        means_init=start.means[:, None],
        precisions_init=(1.0 / start.sigmas**2)[:, None, None],
    ).fit(x[:, None])
    fit = mixpipe.fit_mixture(x, None, 2, start=start)
    order = np.argsort(peer.means_[:, 0])
    assert fit.loglik == pytest.approx(400 * peer.score(x[:, None]), abs=1e-6)
    # Where 1e-9 nats are left, parameters are within 4.5e-5 of their errors, some 0.1 here.
    np.testing.assert_allclose(fit.mixture.weights, peer.weights_[order], atol=5e-6)
    np.testing.assert_allclose(fit.mixture.means, peer.means_[order, 0], atol=5e-6)
    np.testing.assert_allclose(fit.mixture.sigmas**2, peer.covariances_[order, 0, 0], atol=1e-5)


def test_one_component_without_errors_is_mean_and_standard_deviation():
    x = np.random.default_rng(61).normal(5.0, 2.0, 200)
    fit = mixpipe.fit_mixture(x, n_components=1)
    assert fit.mixture.means[0] == pytest.approx(x.mean(), abs=1e-5)
    assert fit.mixture.sigmas[0] == pytest.approx(x.std(), abs=1e-5)


# Properties of the search


@pytest.fixture(scope="module")
def overlapping():
    return draw(400, HARD["three in a row"], np.random.default_rng(62))


@pytest.fixture(scope="module")
def logliks(overlapping):
    return [fit.loglik for fit in mixpipe.choose_n_components(*overlapping, max_components=5).fits]


def test_loglik_never_falls_with_the_number_of_components(logliks):
    assert np.all(np.diff(logliks) >= 0.0)


def test_a_fit_alone_is_no_worse_than_the_same_number_in_a_selection(overlapping, logliks):
    # Fits of more components may lead back to better ones of fewer: only then is a lone fit below.
    alone = [mixpipe.fit_mixture(*overlapping, m).loglik for m in range(1, 6)]
    np.testing.assert_allclose(alone, logliks, atol=0.01)


def test_two_runs_give_the_same_bits(overlapping):
    first, second = (mixpipe.fit_mixture(*overlapping, 3) for _ in range(2))
    assert first.loglik == second.loglik
    for part in ("weights", "means", "sigmas"):
        assert getattr(first.mixture, part).tobytes() == getattr(second.mixture, part).tobytes()
        assert getattr(first.uncertainties, part).tobytes() == getattr(second.uncertainties, part).tobytes()


def test_number_of_threads_does_not_change_the_bits():
    x, err = draw(50_000, Mixture([0.6, 0.4], [0.0, 4.0], [1.0, 0.7]), np.random.default_rng(63))
    one, two = (mixpipe.fit_mixture(x, err, 2, n_threads=n) for n in (1, 2))
    assert one.loglik == two.loglik
    assert one.mixture.means.tobytes() == two.mixture.means.tobytes()
    assert one.mixture.sigmas.tobytes() == two.mixture.sigmas.tobytes()


@pytest.mark.parametrize(("scale", "shift"), [(-1.0, 0.0), (1e-6, 2459000.5), (3e8, -1e9), (0.7, 0.1), (2.0**-20, 0.0)])
def test_fit_moves_with_the_data(scale, shift, overlapping):
    """x -> a x + b; the rounding of a x + b, relative to the spread, is what the result may differ by."""
    x, err = overlapping
    moved = scale * x + shift
    noise = np.spacing(np.abs(moved).max()) / (abs(scale) * x.std())
    before = mixpipe.fit_mixture(x, err, 3)
    after = mixpipe.fit_mixture(moved, abs(scale) * err, 3)
    # The density of the moved values is smaller by |a|.
    assert after.loglik + x.size * np.log(abs(scale)) == pytest.approx(before.loglik, abs=1e-6 + 10 * x.size * noise)
    order = slice(None, None, -1 if scale < 0 else 1)
    tolerance = 1e-4 + 100 * noise  # standard errors: those that 1e-9 nats leave, and the rounding
    expected = Mixture(before.mixture.weights, scale * before.mixture.means + shift, abs(scale) * before.mixture.sigmas)
    unc = before.uncertainties
    assert np.all(np.abs(after.mixture.weights - expected.weights) < tolerance * unc.weights[order])
    assert np.all(np.abs(after.mixture.means - expected.means) < abs(scale) * tolerance * unc.means[order])
    assert np.all(np.abs(after.mixture.sigmas - expected.sigmas) < abs(scale) * tolerance * unc.sigmas[order])


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_bic_finds_the_number_of_separated_components(size):
    rng = np.random.default_rng(70 + size)
    truth = Mixture(np.full(size, 1.0 / size), 6.0 * np.arange(size), np.linspace(1.0, 0.5, size))
    x, err = draw(150 * size, truth, rng)
    selection = mixpipe.choose_n_components(x, err, max_components=size + 2)
    assert selection.best.n_components == size
    assert np.all(np.abs(selection.best.mixture.means - truth.means) < 4.5 * selection.best.uncertainties.means)


def test_a_component_of_one_percent_between_two_large_ones_is_found():
    rng = np.random.default_rng(75)
    x, err = draw(3000, Mixture([0.6, 0.01, 0.39], [0.0, 7.0, 14.0], [1.0, 0.3, 1.0]), rng, 0.2)
    mixture = mixpipe.fit_mixture(x, err, 3).mixture
    assert mixture.means[1] == pytest.approx(7.0, abs=0.4)  # 30 rows of width 0.4: five standard errors


def test_progress_is_told_of_every_number_of_components():
    seen = []
    mixpipe.choose_n_components([1.0, 2.0, 3.0, 7.0], 0.1, max_components=3, progress=seen.append)
    assert seen[:3] == [1, 2, 3]  # the search may look at one more, to come back from it


# Starts


THREE = Params(np.array([0.2, 0.5, 0.3]), np.array([3.0, 0.0, 10.0]), np.array([1.0, 4.0, 0.25]))


def moments(params):
    mean = params.weights @ params.means
    return params.weights.sum(), mean, params.weights @ (params.variances + (params.means - mean) ** 2)


def test_moments_start_is_the_closed_form_for_one_component():
    x, err = np.array([1.0, 2.0, 6.0]), np.array([0.5, 0.5, 0.5])
    likelihood = Likelihood(Cells.from_rows(x, err))
    mixture = likelihood.mixture(moments_start(likelihood))
    assert mixture.means[0] == pytest.approx(3.0)
    assert mixture.sigmas[0] ** 2 == pytest.approx(14.0 / 3.0 - 0.25)


def test_splits_keep_the_total_weight_and_the_mean():
    starts = splits(THREE)
    assert len(starts) == 6
    for start in starts:
        assert start.n_components == 4
        assert moments(start)[:2] == pytest.approx(moments(THREE)[:2])


def test_merging_keeps_the_first_two_moments_and_removing_the_total_weight():
    without, together = removed(THREE), merged(THREE)
    assert [start.n_components for start in without] == [2] * 3
    assert [start.n_components for start in together] == [2] * 2
    for start in without:
        assert start.weights.sum() == pytest.approx(1.0)
    for start in together:
        assert moments(start) == pytest.approx(moments(THREE))


def test_doubling_a_component_does_not_change_the_density():
    likelihood = Likelihood(Cells.from_rows(np.linspace(-2, 12, 50), 0.3))
    twice = doubled(THREE)
    assert twice.n_components == 4
    assert likelihood.sums(twice).loglik == pytest.approx(likelihood.sums(THREE).loglik, rel=1e-14)


def test_search_keeps_to_the_floor():
    x = np.concatenate([np.zeros(20) + 1e-3 * np.arange(20), np.linspace(5, 9, 30)])
    likelihood = Likelihood(Cells.from_rows(x))
    for ascent in Search(likelihood, 0.04).run(3):
        assert np.all(ascent.params.variances >= 0.04)
