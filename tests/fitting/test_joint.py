"""Mixtures of several columns: the kernels against the oracle, and fits against facts that they do not contain."""

import numpy as np
import pandas as pd
import pytest
from astropy import units as u
from astropy.table import QTable, Table
from scipy.stats import multivariate_normal, norm

import mixpipe
from mixpipe.assess.joint import bootstrap_columns
from mixpipe.fitting.joint import certificate
from mixpipe.fitting.joint.ascent import Ascent, ascend, em_step
from mixpipe.fitting.joint.choose import choose_from_blocks
from mixpipe.fitting.joint.engine import JointEngine
from mixpipe.fitting.joint.likelihood import Likelihood
from mixpipe.fitting.joint.stream import StreamLikelihood
from mixpipe.fitting.joint_problem import JointProblem
from mixpipe.model.joint.blocks import Blocks, Parameters, lower_triangle, unpack
from mixpipe.model.joint.cells import JointCells
from mixpipe.model.joint.inputs import as_joint_cells, has_columns
from mixpipe.model.joint.mixture import JointMixture
from tests import joint_reference as oracle
from tests.campaign import campaign
from tests.fitting.test_joint_reference import draw, random_covariances, random_mixture

# The published line in each band (slope, ordinate at logW20 = 2.5) and the highest log-likelihood of galaxies with the
# magnitude; see test_joint_reference.
TULLY_FISHER = {
    "B": (-8.04, -19.77, 5.0454),
    "V": (-8.86, -20.33, 9.2780),
    "R": (-8.79, -20.64, 8.9312),
    "I": (-9.26, -21.12, 7.2742),
    "H": (-11.03, -21.73, 4.9927),
}


def dense(x, S, n_dims):
    """Rows of the oracle as arrays with nan, for complete rows and rows with missing values."""
    return np.asarray(x, dtype=float).reshape(-1, n_dims), np.asarray(S)


def pack(matrices):
    """Lower triangles, row by row, along the last axis."""
    return matrices[..., *lower_triangle(matrices.shape[-1])]


def with_gaps(rng, x, share=0.3):
    """The same rows with values missing, at least one of each row kept."""
    gaps = rng.random(x.shape) < share
    gaps[np.arange(len(x)), rng.integers(x.shape[1], size=len(x))] = False
    return np.where(gaps, np.nan, x)


def problem(n_dims, n_components, n, seed, kind):
    """x, cov and projections as mixpipe takes them, x, S and R as the oracle does, and a mixture."""
    rng = np.random.default_rng(seed)
    mixture = random_mixture(rng, n_components, n_dims)
    x, S, _ = draw(n, mixture, seed + 1)
    x, S = np.array(x), np.array(S) * 10.0 ** rng.uniform(-4.5, 4.5, n)[:, None, None]
    if kind == "complete":
        return (x, S, None), (x, S, None), mixture
    if kind == "missing":
        x = with_gaps(rng, x)
        return (x, S, None), oracle.from_missing(x, S), mixture
    n_values = max(1, n_dims - 1)
    R = rng.normal(size=(n, n_values, n_dims))
    y = np.einsum("nvd,nd->nv", R, x)
    noise = S[:, :n_values, :n_values]
    return (y, noise, R), (y, noise, R), mixture


def sums_of(rows, mixture, counts=None, n_threads=1):
    x, cov, R = rows
    counts = np.ones(len(x)) if counts is None else counts
    return Blocks(x, cov, counts, R, n_threads=n_threads).sums(Parameters(*map(np.asarray, mixture)))


# d = 7 is served by loops, as projections are.
@pytest.mark.parametrize("kind", ["complete", "missing", "projected"])
@pytest.mark.parametrize("n_dims", [1, 2, 3, 4, 5, 6, 7])
def test_pass_equals_the_oracle(n_dims, kind):
    rows, slow, mixture = problem(n_dims, 3, 150, 10 * n_dims, kind)
    counts = np.random.default_rng(1).integers(1, 4, 150).astype(float)
    found = sums_of(rows, mixture, counts)
    slopes = oracle.gradient(*slow, *mixture, counts)
    scale = max(1.0, abs(oracle.loglik(*slow, *mixture, counts)))
    assert found.loglik == pytest.approx(oracle.loglik(*slow, *mixture, counts), abs=1e-12 * scale)
    assert found.q == pytest.approx(np.asarray(mixture.weights) * slopes.weights, rel=1e-11)
    for mine, other in ((found.slopes, slopes.means), (found.curls, 2.0 * slopes.covariances)):
        # A sum over rows with noise over nine decades is as accurate as its largest term.
        assert np.abs(mine - other).max() < 1e-12 * max(1.0, np.abs(other).max()) * 150


@pytest.mark.parametrize("kind", ["complete", "missing", "projected"])
@pytest.mark.parametrize("n_dims", [1, 2, 3, 4, 5, 6])
def test_step_equals_the_literal_step_of_extreme_deconvolution(n_dims, kind):
    rows, slow, mixture = problem(n_dims, 2, 120, 7 * n_dims, kind)
    at = Parameters(*map(np.asarray, mixture))
    mine = em_step(at, sums_of(rows, mixture), "full", np.zeros(n_dims))
    other = oracle.em_step(*slow, *mixture)
    assert mine.weights == pytest.approx(other.weights, rel=1e-13)
    assert np.abs(mine.means - other.means).max() < 1e-13 * np.abs(other.means).max() * 10
    assert np.abs(mine.covariances - other.covariances).max() < 1e-13 * np.abs(other.covariances).max() * 10


@pytest.mark.parametrize("kind", ["complete", "missing", "projected"])
def test_derivatives_equal_differences(kind):
    rows, _, mixture = problem(3, 2, 300, 5, kind)
    cells = JointCells.from_rows(
        rows[0], cov=rows[1] * 0.0 + 0.3 * np.eye(rows[0].shape[1]), projections=rows[2], sigma_floor=0
    )
    likelihood = Likelihood(cells)
    start = likelihood.scaling.parameters(JointMixture(*mixture))

    def at(theta):
        parts = theta.reshape(2, -1)
        return Parameters(np.exp(parts[:, 0]), parts[:, 1:4], unpack(parts[:, 4:], 3))

    def gradient(theta):
        sums = likelihood.sums(at(theta))
        halves = np.where(np.equal(*np.tril_indices(3)), 0.5, 1.0)
        return np.concatenate([sums.q[:, None], sums.slopes, halves * pack(sums.curls)], axis=1).ravel()

    theta = np.concatenate([np.log(start.weights)[:, None], start.means, pack(start.covariances)], axis=1).ravel()
    steps = 1e-6 * np.eye(theta.size)
    by_values = [(likelihood.sums(at(theta + s)).loglik - likelihood.sums(at(theta - s)).loglik) / 2e-6 for s in steps]
    by_slopes = [(gradient(theta + s) - gradient(theta - s)) / 2e-6 for s in steps]
    assert np.abs(gradient(theta) - by_values).max() < 1e-6 * np.abs(by_values).max()
    curvature = likelihood.curvature(start).reshape(theta.size, theta.size)
    assert np.abs(curvature - by_slopes).max() < 1e-6 * np.abs(curvature).max()


@pytest.mark.parametrize("structure", ["full", "diagonal", "spherical", "equal"])
def test_coordinates_have_these_derivatives(structure):
    from mixpipe.fitting.joint.chart import Chart
    from mixpipe.fitting.joint.structure import project

    rows, _, mixture = problem(3, 2, 200, 6, "missing")
    cells = JointCells.from_rows(rows[0], cov=np.tile(0.2 * np.eye(3), (200, 1, 1)), sigma_floor=0.1)
    likelihood = Likelihood(cells)
    start = likelihood.scaling.parameters(JointMixture(*mixture))
    floor = np.full(3, likelihood.floor.max())
    start = Parameters(start.weights, start.means, project(start.covariances, start.weights, structure, floor))
    chart = Chart(start, likelihood.n_data, structure, floor, likelihood.noise)
    theta = np.random.default_rng(2).normal(0.0, 0.3, chart.n_coordinates)

    def value(t):
        return likelihood.sums(chart.point(t)).loglik

    def slope(t):
        return chart.gradient(t, chart.point(t), likelihood.sums(chart.point(t)))

    assert chart.point(np.zeros(theta.size)).covariances == pytest.approx(start.covariances, rel=1e-10)
    steps = 1e-4 * np.eye(theta.size)
    gradient = slope(theta)
    assert gradient == pytest.approx([(value(theta + s) - value(theta - s)) / 2e-4 for s in steps], abs=2e-5)
    at = chart.point(theta)
    hessian = chart.hessian(theta, at, likelihood.sums(at), likelihood.curvature(at))
    by_slopes = np.array([(slope(theta + s) - slope(theta - s)) / 2e-4 for s in steps])
    assert np.abs(hessian - by_slopes).max() < 1e-6 * np.abs(hessian).max()


def test_bits_depend_neither_on_threads_nor_on_the_order_of_rows():
    rows, _, mixture = problem(3, 4, 9000, 11, "missing")
    one, two = sums_of(rows, mixture), sums_of(rows, mixture, n_threads=2)
    assert one.loglik == two.loglik
    assert np.array_equal(one.slopes, two.slopes)
    assert np.array_equal(one.curls, two.curls)
    x, cov = rows[0], np.tile(0.1 * np.eye(3), (9000, 1, 1))
    first = mixpipe.fit_mixture(x[:900], cov=cov[:900], n_components=2, n_threads=1)
    second = mixpipe.fit_mixture(x[:900][::-1], cov=cov[:900], n_components=2, n_threads=2)
    assert first.loglik == second.loglik
    assert np.array_equal(first.mixture.covariances, second.mixture.covariances)


def test_one_column_equals_the_engine_for_one_column():
    rng = np.random.default_rng(4)
    x = np.concatenate([rng.normal(0, 1, 300), rng.normal(6, 2, 200)])
    err = rng.uniform(0.1, 1.0, 500)
    x += err * rng.normal(size=500)
    jointly = mixpipe.fit_mixture(x[:, None], err[:, None], n_components=2)
    alone = mixpipe.fit_mixture(x, err, n_components=2)
    assert jointly.loglik == pytest.approx(alone.loglik, abs=1e-9)
    assert jointly.mixture.sigmas[:, 0] == pytest.approx(alone.mixture.sigmas, rel=1e-6)
    assert jointly.uncertainties.means[:, 0] == pytest.approx(alone.uncertainties.means, rel=1e-5)
    assert jointly.uncertainties.sigmas[:, 0] == pytest.approx(alone.uncertainties.sigmas, rel=1e-5)
    assert jointly.uncertainties.weights == pytest.approx(alone.uncertainties.weights, rel=1e-5)
    assert jointly.n_params == alone.n_params
    assert jointly.entropy == pytest.approx(alone.entropy, rel=1e-4)


def test_one_component_with_equal_errors_is_sample_mean_and_covariance():
    rng = np.random.default_rng(5)
    x = rng.multivariate_normal([1.0, -2.0], [[2.0, 0.7], [0.7, 1.0]], 400)
    noise = np.array([[0.3, 0.1], [0.1, 0.2]])
    fit = mixpipe.fit_mixture(x, cov=noise, n_components=1)
    spread = np.cov(x.T, bias=True)
    assert fit.converged
    assert fit.mixture.means[0] == pytest.approx(x.mean(axis=0), abs=1e-9)
    assert fit.mixture.covariances[0] == pytest.approx(spread - noise, abs=1e-7)
    # Their well-known uncertainties.
    assert fit.uncertainties.means[0] == pytest.approx(np.sqrt(np.diag(spread) / 400), rel=1e-6)
    variance = (spread[0, 0] * spread[1, 1] + spread[0, 1] ** 2) / 400
    assert fit.uncertainties.covariances[0, 0, 1] == pytest.approx(np.sqrt(variance), rel=1e-6)
    assert fit.n_params == 5


def test_weights_that_are_counts_equal_repeated_rows_and_importance_has_no_scale():
    rows, _, _ = problem(2, 2, 150, 21, "missing")
    x, cov = rows[0], np.tile(0.1 * np.eye(2), (150, 1, 1))
    counts = np.random.default_rng(5).integers(1, 4, 150)
    counted = mixpipe.fit_mixture(x, cov=cov, n_components=2, weights=counts, sigma_floor=0)
    repeated = mixpipe.fit_mixture(
        np.repeat(x, counts, axis=0), cov=np.repeat(cov, counts, axis=0), n_components=2, sigma_floor=0
    )
    assert counted.loglik == pytest.approx(repeated.loglik, abs=1e-8)
    assert counted.bic == pytest.approx(repeated.bic, abs=1e-7)
    # Climbs end within 1e-9 nats of the maximum, some 3e-5 uncertainties from it.
    assert counted.uncertainties.means == pytest.approx(repeated.uncertainties.means, rel=1e-5)
    shares = np.random.default_rng(6).uniform(0.2, 1.0, 150)
    one, other = (
        mixpipe.fit_mixture(x, cov=cov, n_components=2, weights=factor * shares, sigma_floor=0) for factor in (1.0, 7.3)
    )
    assert one.n_data == pytest.approx(shares.sum() ** 2 / np.sum(shares**2))
    assert one.bic == pytest.approx(other.bic, abs=1e-6)
    assert one.uncertainties.means == pytest.approx(other.uncertainties.means, rel=1e-5)


def test_weights_of_rows_without_values_say_nothing():
    rng = np.random.default_rng(7)
    x, weights = rng.normal(size=(100, 2)), rng.uniform(1.0, 2.0, 100)
    more, heavy = np.vstack([x, np.full((3, 2), np.nan)]), np.append(weights, [1000.0, 2000.5, 5.0])
    one = mixpipe.fit_mixture(x, 0.1, n_components=1, weights=weights)
    other = mixpipe.fit_mixture(more, 0.1, n_components=1, weights=heavy)
    assert other.n_data == pytest.approx(weights.sum() ** 2 / np.sum(weights**2)) == one.n_data
    assert other.loglik == pytest.approx(one.loglik, abs=1e-9)
    whole = np.where(np.arange(103) < 100, 2.0, 0.5)
    assert mixpipe.fit_mixture(more, 0.1, n_components=1, weights=whole).n_data == 200.0
    with pytest.raises(ValueError, match=r"no whole numbers, the first at index 2 \(1\.5\)"):
        mixpipe.fit_mixture(
            [[np.nan, np.nan], [1.0, 2.0], [2.0, 3.0]], 0.1, n_components=1, weights=[1, 1, 1.5], weight_kind="counts"
        )


def test_errors_in_another_order_than_the_values_are_refused():
    values = pd.DataFrame({"a": [1.0, 2.0, 4.0], "b": [3.0, 1.0, 2.0]})
    with pytest.raises(ValueError, match="err has the columns b, a; expected the order of x, a, b"):
        mixpipe.fit_mixture(values, pd.DataFrame({"b": [0.1] * 3, "a": [0.2] * 3}), n_components=1)


def test_uncertainties_of_importance_weights_are_those_of_the_sandwich():
    # Of a weighted mean the sandwich is sum c^2 (x - m)^2 / (sum c)^2.
    rng = np.random.default_rng(7)
    x = rng.normal(size=(500, 2))
    c = rng.uniform(0.1, 3.0, 500)
    fit = mixpipe.fit_mixture(x, n_components=1, weights=c)
    mean = c @ x / c.sum()
    expected = np.sqrt(c**2 @ (x - mean) ** 2) / c.sum()
    assert fit.uncertainties.means[0] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("n_dims", "n_components", "n"),
    [(2, 3, 400), *(pytest.param(*each, marks=campaign) for each in [(3, 3, 500), (5, 2, 400)])],
)
def test_search_finds_what_an_independent_optimiser_finds(n_dims, n_components, n):
    rng = np.random.default_rng(31 + n_dims)
    truth = random_mixture(rng, n_components, n_dims)
    x, S, _ = draw(n, truth, 8)
    fit = mixpipe.fit_mixture(np.array(x), cov=np.array(S), n_components=n_components, sigma_floor=0)
    best, _ = oracle.fit_by_optimiser(x, S, None, n_components, 8, np.random.default_rng(9))
    assert fit.converged
    assert fit.loglik > best - 0.01


def galaxies(columns):
    table = pd.read_csv("config/demo/tully_fisher_2000.csv")
    return table[columns], table[[f"e_{name}" for name in columns]]


def line(mean, covariance):
    long_axis = np.linalg.eigh(covariance)[1][:, -1]
    slope = long_axis[1] / long_axis[0]
    return slope, mean[1] + slope * (2.5 - mean[0])


@pytest.mark.parametrize("band", TULLY_FISHER)
def test_tully_fisher_relation(band):
    x, err = galaxies(["logW20", band])
    complete = x.notna().all(axis=1)
    cells = JointCells.from_rows(x[complete], err[complete], names=list(x), sigma_floor=0)
    fit = JointEngine().fits(JointProblem(cells), 1).results()[0]
    slope, ordinate = line(fit.mixture.means[0], fit.mixture.covariances[0])
    expected_slope, expected_ordinate, loglik = TULLY_FISHER[band]
    assert slope == pytest.approx(expected_slope, abs=0.02)
    assert ordinate == pytest.approx(expected_ordinate, abs=0.01)
    assert fit.loglik == pytest.approx(loglik, abs=5.1e-5)
    assert fit.converged
    # From the moments of the rows.
    likelihood = Likelihood(cells)
    scaled = likelihood.scaling.rows(cells)[0]
    start = Parameters(np.ones(1), scaled.mean(axis=0)[None], np.cov(scaled.T)[None])
    assert ascend(likelihood, start, n_em=2).converged
    assert likelihood.n_passes <= 20
    if band == "B":
        assert fit.rank.tolist() == [2]
        assert not fit.boundary.any()
        assert fit.n_params_by_rank == fit.n_params == 5
        return
    assert fit.rank.tolist() == [1]
    assert fit.n_params_by_rank == 4
    direction = fit.null_directions[0][0]
    assert np.linalg.norm(direction) == pytest.approx(1.0)
    assert direction @ fit.mixture.covariances[0] @ direction == pytest.approx(0.0, abs=1e-12)
    assert np.isnan(fit.uncertainties.correlations[0, 0, 1])
    assert np.isfinite(fit.uncertainties.sigmas).all()
    assert "no width in 1 direction" in fit.warnings[0]


def test_upper_limit_of_a_width_of_none_is_where_the_likelihood_has_fallen():
    x, err = galaxies(["logW20", "R"])
    fit = mixpipe.fit_mixture(x, err, n_components=1, sigma_floor=0)
    direction, limit = fit.null_directions[0][0], fit.null_limits[0][0]
    likelihood = Likelihood(JointCells.from_rows(x, err, sigma_floor=0))
    wider = fit.mixture.covariances + limit**2 * np.outer(direction, direction)
    drop = (
        fit.loglik
        - likelihood.sums(
            likelihood.scaling.parameters(JointMixture([1.0], fit.mixture.means, wider, fit.names))
        ).loglik
    )
    # 1.3527 nats with all else refitted; more where nothing else follows.
    assert 1.35 < drop < 3.0


def test_tully_fisher_relation_of_all_bands_with_missing_magnitudes():
    x, err = galaxies(["logW20", *TULLY_FISHER])
    fit = mixpipe.fit_mixture(x, err, n_components=1, sigma_floor=0)
    # Found by the oracle as well.
    assert fit.loglik == pytest.approx(54.73905, abs=1e-4)
    assert fit.names == ("logW20", "B", "V", "R", "I", "H")
    errors = {"B": (0.63, 0.11), "V": (0.57, 0.08), "R": (0.50, 0.07), "I": (0.57, 0.07), "H": (0.75, 0.07)}
    for band, (slope_error, ordinate_error) in errors.items():
        pair = fit.mixture.marginal(["logW20", band])
        slope, ordinate = line(pair.means[0], pair.covariances[0])
        assert slope == pytest.approx(TULLY_FISHER[band][0], abs=slope_error)
        assert ordinate == pytest.approx(TULLY_FISHER[band][1], abs=ordinate_error)
    # The galaxy without a magnitude in H has a posterior of it, from the others.
    lacking = x[x["H"].isna()]
    assert len(lacking) == 1
    errors = err.loc[lacking.index].fillna(0.0).to_numpy()
    means, covs = fit.mixture.posterior(lacking.to_numpy(), errors)
    assert -26.0 < means[0, 5] < -18.0
    assert 0.0 < covs[0, 5, 5] < fit.mixture.covariances[0, 5, 5]


@pytest.mark.parametrize(("structure", "n_params"), [("full", 19), ("diagonal", 13), ("spherical", 9), ("equal", 13)])
def test_structures(structure, n_params):
    rng = np.random.default_rng(12)
    x = np.concatenate([rng.normal(0, 1, (200, 3)) * [1, 2, 1], rng.normal([7, 0, 0], 1, (200, 3))])
    fit = mixpipe.fit_mixture(x, 0.3, n_components=2, structure=structure)
    covs = fit.mixture.covariances
    assert fit.converged
    off = covs * (1.0 - np.eye(3))
    if structure == "diagonal":
        assert not off.any()
        # Separated: those of each half, but for the share of the errors.
        assert covs[0, 1, 1] == pytest.approx(x[:200, 1].var() - 0.09, rel=0.02)
    elif structure == "spherical":
        assert not off.any()
        assert covs[:, 0, 0] == pytest.approx(covs[:, 2, 2])
    elif structure == "equal":
        assert covs[0] == pytest.approx(covs[1])
        assert off.any()
    assert fit.n_params == n_params
    assert np.isfinite(fit.uncertainties.means).all()


def test_more_freedom_is_more_likely():
    rng = np.random.default_rng(13)
    x = rng.multivariate_normal([0, 0], [[1, 0.5], [0.5, 2]], 300)
    values = {
        s: mixpipe.fit_mixture(x, 0.2, n_components=2, structure=s).loglik
        for s in ("full", "diagonal", "equal", "spherical")
    }
    assert values["full"] >= values["equal"] - 1e-6
    assert values["full"] >= values["diagonal"] - 1e-6 >= values["spherical"] - 2e-6


def test_choice_of_the_number_of_components():
    rng = np.random.default_rng(14)
    x = np.concatenate([rng.normal([0, 0, 0], 1, (300, 3)), rng.normal([5, 2, 0], [1, 0.3, 1], (200, 3))])
    noise = random_covariances(rng, 500, 3, 0.4)
    x += np.array([rng.multivariate_normal(np.zeros(3), S) for S in noise])
    selection = mixpipe.choose_n_components(x, cov=noise, max_components=4)
    assert selection.best.n_components == 2
    logliks = [fit.loglik for fit in selection.fits]
    assert logliks == sorted(logliks)
    table = selection.table()
    assert table.n_params.tolist() == [9, 19, 29, 39]
    assert table.selected.tolist() == [False, True, False, False]
    # The fit for a number of components is that of the choice.
    assert mixpipe.fit_mixture(x, cov=noise, n_components=2).loglik == selection.best.loglik


def test_bound_on_the_log_likelihood_of_two_columns():
    rng = np.random.default_rng(15)
    x = np.concatenate([rng.normal(0, 1, (30, 2)), rng.normal(4, 0.5, (20, 2))])
    noise = random_covariances(rng, 50, 2, 0.8)
    selection = mixpipe.choose_n_components(x, cov=noise, max_components=5)
    # It exceeds every mixture, one of many components included.
    assert selection.loglik_bound > max(fit.loglik for fit in selection.fits)
    many = oracle.Mixture(np.full(50, 0.02), x, np.zeros((50, 2, 2)))
    for _ in range(5):
        many = oracle.em_step(x, noise, None, *many)
        assert oracle.loglik(x, noise, None, *many) < selection.loglik_bound


def test_highest_value_of_the_gradient_function_is_found_by_branch_and_bound():
    rng = np.random.default_rng(15)
    x, noise = rng.normal(0, 1, (80, 2)), random_covariances(rng, 80, 2, 0.8)
    height = rng.normal(size=80)
    inverse = np.linalg.inv(noise)
    bound = certificate._highest(x, inverse, height)
    axis = np.linspace(-4.0, 4.0, 401)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    highest = certificate._at(x, inverse, height, grid).max()
    assert highest <= bound <= 1.01 * highest


def test_bound_holds_where_error_ellipses_cross_outside_the_values():
    def ellipse(angle):
        axes = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        return axes @ np.diag([100.0**2, 0.05**2]) @ axes.T

    tilt = 0.5 / 30.0
    x = np.array([[0.0, 0.0], [0.0, 1.0], [0.0, 10.0], [0.0, 11.0]])
    cov = np.array([ellipse(tilt), ellipse(-tilt), ellipse(-tilt), ellipse(tilt)])
    selection = mixpipe.choose_n_components(x, cov=cov, max_components=1, sigma_floor=0)
    crossings = JointMixture([0.5, 0.5], [[30.0, 0.5], [-30.0, 10.5]], np.zeros((2, 2, 2)))
    assert crossings.logpdf(x, cov=cov).sum() < selection.loglik_bound


def test_rounded_values_are_one_population():
    rng = np.random.default_rng(16)
    x = np.round(rng.normal(0, 1, (800, 2)) * 5) / 5
    selection = mixpipe.choose_n_components(x, err=0.01, max_components=4)
    assert selection.best.n_components == 1
    assert "multiples of 0.2" in " ".join(selection.best.warnings)


def test_tiny_errors_are_one_population():
    rng = np.random.default_rng(17)
    err = 10.0 ** rng.uniform(-8, 0, (400, 2))
    x = rng.normal(0, 1, (400, 2)) + err * rng.normal(size=(400, 2))
    assert mixpipe.choose_n_components(x, err, max_components=4).best.n_components == 1


def test_tables_data_frames_and_units():
    rng = np.random.default_rng(18)
    x = np.concatenate([rng.normal(0, 1, (100, 2)), rng.normal(6, 1, (100, 2))])
    plain = mixpipe.fit_mixture(x, 0.2, n_components=2)
    frame = pd.DataFrame({"a": x[:, 0], "b": x[:, 1]})
    errors = pd.DataFrame({"e_a": np.full(200, 0.2), "e_b": np.full(200, 0.2)})
    framed = mixpipe.fit_mixture(frame, errors, n_components=2)
    assert framed.names == ("a", "b")
    assert framed.loglik == plain.loglik
    table = QTable({"pm": x[:, 0] * u.mas / u.yr, "plx": x[:, 1] * u.mas})
    noise = QTable({"e_pm": np.full(200, 200.0) * u.uas / u.yr, "e_plx": np.full(200, 0.2) * u.mas})
    fit = mixpipe.fit_mixture(table, noise, n_components=2)
    assert fit.loglik == pytest.approx(plain.loglik, abs=1e-8)
    found = fit.to_table()
    assert found["mean_pm"].unit == u.mas / u.yr
    assert found["sigma_plx"].to_value(u.uas)[0] == pytest.approx(1000.0 * fit.mixture.sigmas[0, 1])
    assert found["corr_pm_plx_unc"][0] == fit.uncertainties.correlations[0, 0, 1]
    assert "plx [mas]" in repr(fit)
    masked = Table({"a": np.ma.masked_greater(x[:, 0], 7.0), "b": x[:, 1]})
    assert mixpipe.fit_mixture(masked, 0.2, n_components=2).n_data == 200
    with pytest.raises(ValueError, match="cannot be converted"):
        mixpipe.fit_mixture(table, QTable({"a": noise["e_plx"], "b": noise["e_plx"]}), n_components=1)


def test_rows_that_cannot_be_used_are_counted():
    x = np.random.default_rng(19).normal(size=(50, 2))
    x[3] = np.nan
    cov = np.tile(np.eye(2), (50, 1, 1))
    cov[5] = [[1.0, 2.0], [2.0, 1.0]]
    cov[6, 0, 0] = np.nan
    # What belongs to a missing value is not used.
    x[7, 0] = np.nan
    cov[7, 0] = np.nan
    fit = mixpipe.fit_mixture(x, cov=cov, n_components=1)
    assert fit.dropped == {
        "no value in any column": 1,
        "error that is missing or not finite": 1,
        "errors without a valid covariance": 1,
    }
    assert fit.n_data == 47
    assert fit.warnings[0] == "1 row left out: no value in any column"


def test_infinite_errors_are_missing_values():
    rng = np.random.default_rng(20)
    x, err = rng.normal(size=(80, 2)), np.full((80, 2), 0.3)
    err[:20, 0] = np.inf
    gaps = np.where(np.isinf(err), np.nan, x)
    assert mixpipe.fit_mixture(x, err, n_components=1).loglik == mixpipe.fit_mixture(gaps, 0.3, n_components=1).loglik


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"err": -0.1}, "err must be >= 0; 20 are negative, the first in row 0, column 0"),
        ({"err": [[0.1, 0.1, 0.1]]}, r"err must have shape \(10, 2\)"),
        ({"err": 0.1, "cov": np.eye(2)}, "err and cov were given"),
        ({"cov": np.eye(3)}, r"cov must have shape \(10, 2, 2\)"),
        ({"weights": [1.0]}, r"weights must have shape \(10,\)"),
        ({"limits": np.zeros(10)}, "limits is for one column, but x has several"),
        ({"family": "lognormal"}, "family is for one column"),
        ({"equal_sigmas": True}, "use structure='equal'"),
        ({"structure": "round"}, "unknown structure 'round'"),
        ({"sigma_floor": -1.0}, "sigma_floor must be finite"),
    ],
)
def test_errors_say_what_was_expected(options, message):
    x = np.random.default_rng(21).normal(size=(10, 2))
    with pytest.raises(ValueError, match=message):
        mixpipe.fit_mixture(x, n_components=1, **options)


def test_infinite_values_are_refused_by_name():
    with pytest.raises(ValueError, match="column b must be finite or nan; 1 values are infinite, the first in row 1"):
        mixpipe.fit_mixture(pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [1.0, np.inf, 2.0]}), n_components=1)


def test_options_of_several_columns_are_refused_for_one():
    with pytest.raises(ValueError, match="cov is for several columns"):
        mixpipe.fit_mixture([1.0, 2.0, 3.0], cov=np.eye(3), n_components=1)
    with pytest.raises(ValueError, match="structure is for several columns"):
        mixpipe.choose_n_components([1.0, 2.0, 3.0], structure="diagonal")


def test_what_counts_as_several_columns():
    assert has_columns([[1.0, 2.0], [3.0, 4.0]])
    assert has_columns(np.zeros((3, 1)))
    assert has_columns(np.zeros(3, dtype=[("a", float), ("b", float)]))
    assert not has_columns([1.0 * u.m, 2.0 * u.m])
    assert not has_columns(pd.Series([1.0, 2.0]))
    assert not has_columns([1.0, 2.0])


def test_start_is_climbed_from():
    rng = np.random.default_rng(22)
    x = np.concatenate([rng.normal(0, 1, (100, 2)), rng.normal(6, 1, (100, 2))])
    start = JointMixture([0.5, 0.5], [[0, 0], [5, 5]], np.tile(np.eye(2), (2, 1, 1)))
    fit = mixpipe.fit_mixture(x, 0.1, start=start)
    assert fit.loglik == pytest.approx(mixpipe.fit_mixture(x, 0.1, n_components=2).loglik, abs=1e-6)
    with pytest.raises(ValueError, match="start has the columns x0, x1; expected a, b"):
        mixpipe.fit_mixture(pd.DataFrame(x, columns=["a", "b"]), 0.1, start=start)


def test_an_empty_direction_is_opened_where_the_likelihood_rises():
    # EM cannot leave a singular covariance, and a start may have one.
    rng = np.random.default_rng(23)
    x = rng.normal(size=(300, 2)) * [1.0, 2.0]
    flat = JointMixture([1.0], [[0.0, 0.0]], [[[1.0, 0.0], [0.0, 0.0]]])
    fit = mixpipe.fit_mixture(x, 0.3, start=flat)
    assert fit.rank.tolist() == [2]
    assert fit.mixture.covariances[0] == pytest.approx(np.cov(x.T, bias=True) - 0.09 * np.eye(2), abs=1e-6)


def test_many_rows_are_finished_on_all_of_them(monkeypatch):
    from mixpipe.fitting.joint import engine

    rng = np.random.default_rng(24)
    x = np.concatenate([rng.normal(0, 1, (2400, 2)), rng.normal(4, 1, (1600, 2))])
    whole = mixpipe.choose_n_components(x, 0.3, max_components=3)
    monkeypatch.setattr(engine, "JOINT_SEARCH_ROWS", 1500)
    sampled = mixpipe.choose_n_components(x, 0.3, max_components=3)
    assert [fit.converged for fit in sampled.fits] == [True] * 3
    assert sampled.fits[1].loglik == pytest.approx(whole.fits[1].loglik, abs=1e-3)
    assert sampled.best.n_components == 2


def test_ascent_reports_where_it_is():
    cells = JointCells.from_rows(np.random.default_rng(25).normal(size=(100, 2)), err=0.1)
    likelihood = Likelihood(cells)
    start = Parameters(np.ones(1), np.zeros((1, 2)), np.eye(2)[None])
    end = ascend(likelihood, start)
    assert isinstance(end, Ascent)
    assert end.loglik == likelihood.sums(end.at).loglik
    assert end.remaining_gain < 1e-3


def test_rows_in_blocks_are_fitted_like_rows_in_memory(monkeypatch):
    from mixpipe.fitting.joint import engine

    rng = np.random.default_rng(26)
    x = np.concatenate([rng.normal(0, 1, (1500, 2)), rng.normal(4, 1, (1000, 2))])
    x[::9, 0] = np.nan
    order = rng.permutation(2500)
    shards = [JointCells.from_rows(x[part], err=0.3, names=["a", "b"]) for part in np.array_split(order, 4)]
    monkeypatch.setattr(engine, "JOINT_SEARCH_ROWS", 800)
    found = JointEngine().fits_of_blocks(lambda: iter(shards), 3)
    whole = mixpipe.choose_n_components(pd.DataFrame(x, columns=["a", "b"]), 0.3, max_components=3)
    fits = found.results()
    # What cannot be chosen any more is not climbed to the end, and says so.
    assert [fit.converged for fit in fits[:2]] == [True] * 2
    assert fits[2].converged or any("not converged" in warning for warning in fits[2].warnings)
    assert fits[1].loglik <= fits[2].loglik < whole.fits[2].loglik + 1e-3
    for fit, other in zip(fits[:2], whole.fits[:2], strict=True):
        assert fit.loglik == pytest.approx(other.loglik, abs=1e-3)
        assert fit.n_data == 2500
        # The curvature is that of 800 rows.
        assert fit.uncertainties.means == pytest.approx(other.uncertainties.means, rel=0.15)
        assert fit.entropy == pytest.approx(other.entropy, abs=1.0)
        assert fit.effective_rows == pytest.approx(other.effective_rows, rel=1e-2)
    # No bit depends on the order of the blocks.
    again = JointEngine().fits_of_blocks(lambda: iter(shards[::-1]), 2).results()[1]
    assert again.loglik == fits[1].loglik
    assert np.array_equal(again.mixture.covariances, fits[1].mixture.covariances)


@pytest.mark.parametrize("structure", ["full", "diagonal", "equal", "spherical"])
@pytest.mark.parametrize("width", [0.0, 1e-8, 1e-4, 3.0])
def test_errors_that_explain_all_scatter_leave_no_width_and_the_mean_of_the_rows(structure, width):
    # Equal errors, larger than the scatter: the covariance is zero, and the mean that of the rows.
    x = np.random.default_rng(1).normal(0.0, 0.05, (100, 3))
    start = JointMixture([1.0], [[0.1, -0.1, 0.0]], [width**2 * np.eye(3)])
    fit = mixpipe.fit_mixture(x, 0.1, start=start, structure=structure, sigma_floor=0)
    assert fit.converged
    assert fit.loglik == pytest.approx(norm.logpdf(x, x.mean(axis=0), 0.1).sum(), abs=1e-5)
    assert fit.mixture.means[0] == pytest.approx(x.mean(axis=0), abs=1e-4)
    assert (fit.rank.tolist(), fit.mixture.sigmas.max()) == ([0], 0.0)
    assert fit.uncertainties.means == pytest.approx(np.full((1, 3), 0.01), rel=1e-6)


@pytest.mark.parametrize("width", [0.0, 1e-12, 1e-6])
def test_a_start_without_width_reaches_the_maximum(width):
    rng = np.random.default_rng(5)
    x = rng.multivariate_normal([3.0, 1.0], [[1.04, 0.2], [0.2, 0.29]], 150)
    fit = mixpipe.fit_mixture(x, 0.2, start=JointMixture([1.0], [[0.0, 0.0]], [width * np.eye(2)]), sigma_floor=0)
    assert fit.converged
    # With equal errors, the covariance is that of the rows less that of the errors.
    assert fit.mixture.means[0] == pytest.approx(x.mean(axis=0), abs=1e-5)
    assert fit.mixture.covariances[0] == pytest.approx(np.cov(x.T, bias=True) - 0.04 * np.eye(2), abs=1e-5)


def test_rows_drawn_again_move_a_component_without_width():
    rng = np.random.default_rng(1)
    x = np.column_stack([rng.normal(0.0, 1.0, 100), rng.normal(0.0, 0.05, 100)])
    first = mixpipe.fit_mixture(x, 0.1, n_components=1, sigma_floor=0)
    assert (first.rank.tolist(), first.boundary.tolist()) == ([1], [True])
    again = x[rng.integers(0, 100, 100)]
    climbed = mixpipe.fit_mixture(again, 0.1, start=first.mixture, sigma_floor=0)
    searched = mixpipe.fit_mixture(again, 0.1, n_components=1, sigma_floor=0)
    # Both are maxima to the 1e-5 nats that the removal of a width may cost.
    assert climbed.loglik == pytest.approx(searched.loglik, abs=2e-5)


def test_bootstrap_of_a_component_without_any_width():
    x = np.random.default_rng(1).normal(0.0, 0.05, (100, 2))
    cells = JointCells.from_rows(x, 0.1, sigma_floor=0)
    fit = mixpipe.fit_mixture(cells, n_components=1)
    draws = bootstrap_columns(cells, fit, n_draws=60, seed=1, n_threads=1)
    means = [mixture.means[0] for mixture in draws.mixtures]
    # 60 draws know a standard deviation to 9 per cent.
    assert np.std(means, axis=0) == pytest.approx(x.std(axis=0) / 10.0, rel=0.3)


@pytest.mark.parametrize("away", [[1e4, -1e4], [1e6, -1e6], [1e6, 0.0]])
def test_a_row_very_far_from_all_others_is_a_component(away):
    # Equal errors of 0.3: the others have the covariance of the rows in closed form, the far one its errors alone.
    rng = np.random.default_rng(0)
    x = np.vstack([away, rng.normal(size=(59, 2))])
    total = np.cov(x[1:].T, bias=True)
    others = multivariate_normal.logpdf(x[1:], x[1:].mean(axis=0), total).sum() + 59 * np.log(59 / 60)
    fit = mixpipe.fit_mixture(x, 0.3, n_components=2, sigma_floor=0)
    assert fit.converged
    assert fit.loglik == pytest.approx(others + 2 * norm.logpdf(0.0, 0.0, 0.3) - np.log(60), abs=1e-4)
    assert fit.mixture.covariances[0] == pytest.approx(total - 0.09 * np.eye(2), abs=1e-5)


def test_errors_with_a_correlation_of_one_need_a_floor():
    # Both values and errors lie on the diagonal: the likelihood has no bound without a floor.
    x = np.random.default_rng(0).normal(size=(30, 1)) * [1.0, 1.0]
    cov = np.full((2, 2), 0.09)
    with pytest.raises(ValueError, match="sigma_floor must be > 0 where an error is zero, as in 30 rows of x0"):
        mixpipe.fit_mixture(x, cov=cov, n_components=1, sigma_floor=0)
    fit = mixpipe.fit_mixture(x, cov=cov, n_components=1)
    exact = mixpipe.fit_mixture(x, n_components=1)
    assert [one.floor for one in fit.resolutions] == [one.floor for one in exact.resolutions]
    assert fit.converged and np.all(fit.mixture.sigmas > 0.0)
    # Without one of the values, or with other correlations, nothing is singular.
    some = np.where(np.arange(30)[:, None] % 2 == [0, 1], np.nan, x)
    assert mixpipe.fit_mixture(some, cov=cov, n_components=1).resolutions[0].floor == 0.0
    assert mixpipe.fit_mixture(x, cov=[[0.09, 0.0899], [0.0899, 0.09]], n_components=1).resolutions[0].floor == 0.0


def test_units_of_errors_covariances_and_floors_are_converted():
    x = np.random.default_rng(1).normal(size=(40, 2))
    plain = mixpipe.fit_mixture(x, [0.3, 0.2], n_components=1, sigma_floor=[0.5, 1.5])
    for errors in (
        {"err": [300.0, 200.0] * u.m},
        {"err": np.tile([300.0, 200.0], (40, 1)) * u.m},
        {"cov": np.diag([9e4, 4e4]) * u.m**2},
        {"cov": np.tile(np.diag([9e4, 4e4]), (40, 1, 1)) * u.m**2},
    ):
        fit = mixpipe.fit_mixture(x * u.km, n_components=1, sigma_floor=[500.0, 1500.0] * u.m, **errors)
        assert fit.loglik == pytest.approx(plain.loglik, abs=1e-9)
        assert fit.mixture.covariances == pytest.approx(plain.mixture.covariances, rel=1e-9)
    # One error for each of two columns is none for each of two rows.
    two = mixpipe.JointCells.from_rows(x[:2], [0.3, 0.2])
    assert np.array_equal(as_joint_cells(x[:2] * u.km, [0.3, 0.2] * u.km)[0].cov, two.cov)
    with pytest.raises(ValueError, match="cov is in s2, which cannot be converted to km2"):
        mixpipe.fit_mixture(x * u.km, cov=np.eye(2) * u.s**2, n_components=1)
    with pytest.raises(ValueError, match="cov has the unit km2 but its column of x has none"):
        mixpipe.fit_mixture(x, cov=np.eye(2) * u.km**2, n_components=1)


def test_columns_of_which_the_rows_say_nothing_are_refused():
    x = np.random.default_rng(1).normal(size=(30, 2))
    gap = pd.DataFrame({"a": x[:, 0], "b": np.nan})
    with pytest.raises(ValueError, match="column b has no value in any of the rows that can be used"):
        mixpipe.fit_mixture(gap, 0.1, n_components=1)
    with pytest.raises(ValueError, match="column b has no value in any of the rows that can be used"):
        mixpipe.choose_n_components(gap, 0.1, max_components=2)
    seen = {"x0": [[[1.0, 0.0]]], "combination": [[[1.0, 2.0]]]}
    with pytest.raises(ValueError, match="projections are zero for column x1 in all rows"):
        mixpipe.fit_mixture(x[:, :1], 0.1, n_components=1, projections=np.tile(seen["x0"], (30, 1, 1)))
    with pytest.raises(ValueError, match="leave out the same combination of columns"):
        mixpipe.fit_mixture(x[:, :1], 0.1, n_components=1, projections=np.tile(seen["combination"], (30, 1, 1)))


@pytest.mark.parametrize("power", [-990, 990])
def test_importance_weights_have_no_scale(power):
    rng = np.random.default_rng(1)
    x, weights = rng.normal(size=(50, 2)), rng.uniform(0.5, 4.0, 50)
    fits = [
        mixpipe.fit_mixture(x, 0.1, weights=w, weight_kind="importance", n_components=1)
        for w in (weights, np.ldexp(weights, power))
    ]
    assert fits[0].loglik == fits[1].loglik
    assert np.array_equal(fits[0].uncertainties.means, fits[1].uncertainties.means)


@pytest.mark.parametrize(("n_populations", "seed"), [(1, 0), (1, 12), (2, 4)])
def test_large_importance_weights_make_no_populations(n_populations, seed):
    """As for one column: BIC alone takes the rows in the tail, with weights of up to ten, for another population."""
    n = 300
    rng = np.random.default_rng([seed, n])
    shift = (rng.random(12 * n) < 0.4) * 5.0 if n_populations == 2 else np.zeros(12 * n)
    values = np.column_stack([rng.standard_normal(12 * n) + shift, rng.standard_normal(12 * n) + 0.5 * shift])
    selection = np.clip(1.0 / (1.0 + np.exp(2.0 * (values[:, 0] - 1.0))), 0.1, 1.0)
    kept = np.flatnonzero(rng.random(12 * n) < selection)[:n]
    observed = values[kept] + 0.3 * rng.standard_normal((n, 2))
    cells = JointCells.from_rows(
        observed, np.full((n, 2), 0.3), weights=1.0 / selection[kept], weight_kind="importance"
    )
    found = mixpipe.choose_n_components(cells, max_components=3)
    assert min(found.fits, key=lambda fit: fit.bic).n_components > n_populations
    assert found.best.n_components == n_populations
    # One component holds all weights, which sum to the effective number of rows.
    assert found.fits[0].occam == 0.0
    # Each component pays for its six parameters as many times more as its rows have larger weights.
    fit = found.fits[1]
    covariances = fit.mixture.covariances + 0.09 * np.eye(2)
    densities = [multivariate_normal(*each).pdf(observed) for each in zip(fit.mixture.means, covariances, strict=True)]
    shares = fit.mixture.weights[:, None] * densities
    shares /= shares.sum(axis=0)
    excess = np.sum(shares @ cells.weights**2 / (shares @ cells.weights) - 1.0)
    assert fit.occam == pytest.approx(3.0 * np.log(fit.n_data) * excess, rel=1e-6)


def test_blocks_that_change_or_disagree_are_refused():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(60, 2))
    once = iter([JointCells.from_rows(x, 0.1, sigma_floor=0)])
    likelihood = StreamLikelihood(lambda: once, 100)
    with pytest.raises(ValueError, match="read gave blocks of 60 rows the first time and of 0 rows later"):
        likelihood.sums(likelihood.scaling.parameters(JointMixture([1.0], [[0.0, 0.0]], [np.eye(2)])))
    floors = [JointCells.from_rows(x, 0.1, sigma_floor=floor) for floor in (0.5, 0.01)]
    with pytest.raises(ValueError, match="blocks have different values of sigma_floor"):
        StreamLikelihood(lambda: iter(floors), 100)
    gap = JointCells.from_rows(np.column_stack([x[:, 0], np.full(60, np.nan)]), 0.1)
    with pytest.raises(ValueError, match="column x1 has no value"):
        choose_from_blocks(lambda: iter([gap]), max_components=1)
    with pytest.raises(ValueError, match="sigma_floor must be one number or one for each of 2 columns"):
        JointCells.from_rows(x, 0.1, sigma_floor=[1.0, 2.0, 3.0])


@pytest.mark.parametrize("value", [1.0, 0.1])
def test_a_constant_column_leaves_the_others_alone(value):
    x = np.random.default_rng(1).normal(size=(60, 1))
    alone = mixpipe.fit_mixture(x, n_components=1)
    fit = mixpipe.fit_mixture(np.column_stack([x, np.full(60, value)]), n_components=1)
    assert fit.mixture.means[0] == pytest.approx([alone.mixture.means[0, 0], value], abs=1e-12)
    for name in ("means", "sigmas"):
        expected = getattr(alone.uncertainties, name)[0, 0]
        assert getattr(fit.uncertainties, name)[0, 0] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("thickness", [1e-3, 1e-5, 1e-6])
def test_a_width_far_below_the_others_is_known_where_the_errors_are_as_small(thickness):
    # With equal errors the maximum is the sample covariance less that of the errors, whatever its condition number.
    rng = np.random.default_rng(3)
    long, thin = rng.normal(size=(2, 400)) * [[1.0], [thickness]]
    x = np.column_stack([long + thin, long - thin]) + 0.5 * thickness * rng.normal(size=(400, 2))
    fit = mixpipe.fit_mixture(x, 0.5 * thickness, n_components=1, sigma_floor=0)
    assert fit.converged
    assert (fit.rank.tolist(), fit.boundary.tolist()) == ([2], [False])
    across = np.array([1.0, -1.0]) / np.sqrt(2.0)
    expected = np.var(x @ across) - 0.25 * thickness**2
    assert across @ fit.mixture.covariances[0] @ across == pytest.approx(expected, rel=1e-2)


@pytest.mark.parametrize("err", [0.0, 1e-3, 0.3])
@pytest.mark.parametrize("away", [1e8, 1e10, 1e12, 1e15])
def test_rows_at_any_distance_are_fitted(away, err):
    x = np.random.default_rng(0).normal(size=(60, 2))
    x[0], x[1] = [away, -away], [0.3 * away, 0.0]
    selection = mixpipe.choose_n_components(x, err, max_components=2)
    for fit in selection.fits:
        assert np.isfinite(fit.loglik)
        assert np.isfinite(fit.remaining_gain)
    # Each of the far rows costs some 2 ln(away) nats if it is in a component with the near ones.
    assert selection.fits[1].loglik > selection.fits[0].loglik + 50.0


def test_projections_of_values_without_errors_need_a_floor():
    rng = np.random.default_rng(1)
    projections = rng.normal(size=(50, 1, 2))
    values = np.einsum("nvd,nd->nv", projections, rng.normal(size=(50, 2)))
    with pytest.raises(ValueError, match="an error is zero in 50 rows, the first of them row 0: with projections"):
        mixpipe.fit_mixture(values, 0.0, n_components=1, projections=projections)
    fit = mixpipe.fit_mixture(values, 0.0, n_components=1, projections=projections, sigma_floor=0.1)
    assert fit.converged
