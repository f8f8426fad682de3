"""The search for components of every family: no worse than many random restarts, or than a climb from the truth."""

import numpy as np
import pytest

import mixpipe
from mixpipe.fitting.general.likelihood import GeneralLikelihood, Point
from mixpipe.fitting.general.search import ascend_general
from mixpipe.fitting.general.seeds import gaussian_seeds
from mixpipe.model.cells import Cells
from mixpipe.model.families import FAMILIES
from mixpipe.model.mixture import Mixture
from tests.campaign import campaign, mostly_campaign, mostly_study, mostly_study_pairs

TRUTHS = {
    "exponential": Mixture([0.3, 0.3, 0.4], [0.0, 4.0, 9.0], [1.0, 1.5, 0.7], ("exponential",) * 3),
    "laplace": Mixture([0.3, 0.3, 0.4], [0.0, 3.0, 7.0], [1.0, 0.6, 2.0], ("laplace",) * 3),
    "lognormal": Mixture([0.3, 0.3, 0.4], [1.0, 6.0, 40.0], [0.8, 5.0, 30.0], ("lognormal",) * 3),
    "skew_normal": Mixture([0.3, 0.3, 0.4], [0.0, 3.0, 8.0], [1.0, 0.7, 1.5], ("skew_normal",) * 3, [4.0, -3.0, 2.0]),
    "student_t": Mixture([0.3, 0.3, 0.4], [0.0, 4.0, 9.0], [1.0, 0.5, 1.0], ("student_t",) * 3, [3.0, 4.0, 3.0]),
}


def column(name: str, seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Values and errors: of the order of a tenth of the values of a lognormal, and of the widths of the others."""
    rng = np.random.default_rng(seed)
    z = TRUTHS[name].sample(n, rng)
    err = 0.1 * np.exp(0.5 * rng.standard_normal(n)) * (np.abs(z) if name == "lognormal" else 1.0) + 1e-3
    return z + err * rng.standard_normal(n), err


def best_of_restarts(x, err, name: str, size: int, n_restarts: int, seed: int) -> float:
    """The highest maximum reached from random starts, less what irregular components owe."""
    rng = np.random.default_rng(seed)
    family = FAMILIES[name]
    likelihood = GeneralLikelihood(Cells.from_rows(x, err), smooth=family.has_edge)
    best = -np.inf
    for _ in range(n_restarts):
        means = rng.choice(x[x > 0.0] if family.positive else x, size, replace=False)
        sigmas = means * np.exp(rng.uniform(-1.5, 0.5, size)) if family.positive else None
        if sigmas is None:
            sigmas = np.std(x) * np.exp(rng.uniform(-3.0, 0.0, size))
        shapes = rng.choice(family.shape_starts, size) if family.shape_starts else np.full(size, np.nan)
        start = Point((family,) * size, (False,) * size, rng.dirichlet(np.full(size, 3.0)), means, sigmas, shapes)
        ascent = ascend_general(likelihood, start)
        best = max(best, ascent.loglik - likelihood.occam(ascent.point))
    return best


@pytest.mark.parametrize(
    ("name", "seed"),
    mostly_study_pairs(
        TRUTHS,
        range(4),
        [("exponential", 0), ("laplace", 0)],
        [("lognormal", 0), ("skew_normal", 0)],
    ),
)
def test_no_worse_than_random_restarts(name, seed):
    x, err = column(name, seed, 250)
    for size in (2, 3):
        fit = mixpipe.fit_mixture(x, err, size, family=name)
        best = best_of_restarts(x, err, name, size, 8 if seed == 0 else 30, 100 + seed)
        assert fit.loglik - fit.occam >= best - 0.01


def small_sample(kind: str, seed: int) -> tuple[object, object, np.ndarray, dict, np.random.Generator]:
    """Few rows of one to three populations, of a kind whose highest maximum is on fewer than three rows."""
    rng = np.random.default_rng(seed)
    n = int(rng.choice([40, 60, 120]))
    z = rng.normal(rng.choice([0, 2, 4], n), rng.choice([0.4, 1, 2]), n)
    err = rng.uniform(0.2, 0.8, n)
    x = z + err * rng.standard_normal(n)
    if kind == "limits":
        limit = rng.normal(0, 2, n)
        return np.maximum(x, limit), err, np.maximum(x, limit), {"limits": np.where(x < limit, -1, 0)}, rng
    elif kind == "truncated":
        return x[x > 0], err[x > 0], x[x > 0], {"truncated": (0, None)}, rng
    elif kind == "two-sided errors":
        return x, [err * rng.uniform(0.4, 3, n), err], x, {}, rng
    elif kind == "student_t errors":
        return x, err, x, {"error_model": "student_t", "error_dof": 4}, rng
    elif kind == "bins":
        edges = np.linspace(x.min() - 0.1, x.max() + 0.1, 15)
        return mixpipe.Cells.from_histogram(edges, np.histogram(x, edges)[0]), None, edges, {}, rng
    assert kind == "laplace"
    return x, err, x, {"family": kind}, rng


@pytest.mark.parametrize(
    ("kind", "seed"),
    [
        ("truncated", 54),
        ("two-sided errors", 85),
        ("laplace", 92),
        pytest.param("limits", 79, marks=campaign),
        pytest.param("student_t errors", 85, marks=campaign),
        pytest.param("bins", 79, marks=campaign),
    ],
)
def test_spikes_do_not_hide_a_regular_maximum(kind, seed):
    x, err, values, options, rng = small_sample(kind, seed)
    fit = mixpipe.fit_mixture(x, err, 2, **options)
    family = options.pop("family", "gaussian")
    regular = []
    for _ in range(12):
        means, sigmas = rng.choice(values, 2, replace=False), 0.8 * np.exp(rng.uniform(-1.5, 1.0, 2))
        climbed = mixpipe.fit_mixture(x, err, 2, start=Mixture([0.5, 0.5], means, sigmas, (family,) * 2), **options)
        if climbed.converged and climbed.occam == 0.0:
            regular.append(climbed.loglik)
    assert fit.occam == 0.0
    assert fit.loglik >= max(regular) - 0.01
    assert not any("coincide" in warning for warning in fit.warnings)


# Durations, seconds: two populations of very different widths, and one between them.
DURATIONS = Mixture([0.25, 0.15, 0.6], [0.6, 5.0, 50.0], [0.6, 4.0, 50.0], ("lognormal",) * 3)


def durations(seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Values over five decades, with errors that grow more slowly than the values, and no fewer than three digits."""
    rng = np.random.default_rng(seed)
    z = DURATIONS.sample(n, rng)
    err = np.maximum(np.round(0.05 * z**0.75 * np.exp(0.7 * rng.standard_normal(n)), 3), 0.003)
    return np.round(np.maximum(z + err * rng.standard_normal(n), 0.008), 3), err


@pytest.mark.parametrize("seed", mostly_study(range(6), campaigns=[0]))
def test_three_lognormal_components_over_decades_are_found(seed):
    x, err = durations(seed, 2037)
    fit = mixpipe.fit_mixture(x, err, 3, family="lognormal")
    from_truth = mixpipe.fit_mixture(x, err, 3, start=DURATIONS)
    assert fit.loglik >= from_truth.loglik - 1e-3
    assert fit.occam == 0.0
    # A search on a sketch of boxes of one width saw nothing of the components below one second.
    assert fit.mixture.means[0] < 2.0


@campaign
def test_many_lognormal_rows_are_searched_on_few_points_with_the_same_result():
    x, err = durations(7, 12_000)
    fit = mixpipe.fit_mixture(x, err, 2, family="lognormal")
    start = Mixture([0.4, 0.6], [2.0, 50.0], [4.0, 50.0], ("lognormal",) * 2)
    # Both stop at a remaining gain below 1e-6 nats.
    assert fit.loglik >= mixpipe.fit_mixture(x, err, 2, start=start).loglik - 1e-4


def test_seeds_of_lognormals_are_close_to_the_maximum():
    x, err = durations(8, 600)
    likelihood = GeneralLikelihood(Cells.from_rows(x, err))
    seeds = gaussian_seeds(likelihood, FAMILIES["lognormal"], 3)
    assert [len(points) > 0 for points in seeds] == [True, True, True]
    for size, points in enumerate(seeds, 1):
        assert all(point.n_components == size for point in points)
        start = float(likelihood.counts @ likelihood.log_rows(points[0]))
        # Errors of some ten per cent change a logarithm's density by a few nats in all.
        assert ascend_general(likelihood, points[0]).loglik - start < 10.0


def test_seeds_of_few_or_odd_values():
    lognormal = FAMILIES["lognormal"]
    # A single value, and rows that are all limits, have no Gaussian fit.
    for cells in (Cells.from_rows([1.0], 0.1), Cells.from_rows([1.0, 2.0], 0.1, limits=[-1, -1])):
        assert gaussian_seeds(GeneralLikelihood(cells), lognormal, 2) == [[], []]
    # Negative values with errors count as small ones.
    cells = Cells.from_rows([-1.0, 1.0, 2.0, 3.0, 30.0, 40.0], 0.5)
    points = gaussian_seeds(GeneralLikelihood(cells), lognormal, 1)[0]
    assert points
    assert all(np.all(point.means > 0.0) and np.all(np.isfinite(point.sigmas)) for point in points)


@pytest.mark.parametrize("name", mostly_campaign(["laplace", "skew_normal", "lognormal"], "laplace"))
def test_a_fit_is_the_same_alone_and_among_others(name):
    # Few rows, whose fits are improved by the way back from larger ones.
    for seed in range(2):
        x, err = column(name, [6, seed], 60)
        alone = mixpipe.fit_mixture(x, err, n_components=2, family=name)
        among = mixpipe.choose_n_components(x, err, max_components=4, families=[name])
        (two,) = (fit for fit in among.fits if fit.n_components == 2)
        assert two.loglik == alone.loglik
        np.testing.assert_array_equal(two.mixture.means, alone.mixture.means)
