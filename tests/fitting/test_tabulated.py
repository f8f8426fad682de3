"""Mixtures fitted to tabulated densities: exact recovery, choice, rejects, and the pieces of the kernel."""

import math

import numpy as np
import pytest
from astropy.io import fits
from numba import njit
from scipy.integrate import trapezoid
from scipy.optimize import nnls
from scipy.stats import norm

from mixpipe.fitting.kernels import grids
from mixpipe.fitting.tabulated.fit import CLOSE_ENOUGH, STATUS, discrepancy, fit_densities, fit_density
from mixpipe.model.mixture import Mixture

# Marron & Wand (1992), Annals of Statistics 20, 712, table 1: (weight, mean, sigma) of each component.
MARRON_WAND = {
    1: [(1, 0, 1)],
    2: [(1 / 5, 0, 1), (1 / 5, 1 / 2, 2 / 3), (3 / 5, 13 / 12, 5 / 9)],
    3: [(1 / 8, 3 * ((2 / 3) ** k - 1), (2 / 3) ** k) for k in range(8)],
    4: [(2 / 3, 0, 1), (1 / 3, 0, 1 / 10)],
    5: [(1 / 10, 0, 1), (9 / 10, 0, 1 / 10)],
    6: [(1 / 2, -1, 2 / 3), (1 / 2, 1, 2 / 3)],
    7: [(1 / 2, -3 / 2, 1 / 2), (1 / 2, 3 / 2, 1 / 2)],
    8: [(3 / 4, 0, 1), (1 / 4, 3 / 2, 1 / 3)],
    9: [(9 / 20, -6 / 5, 3 / 5), (9 / 20, 6 / 5, 3 / 5), (1 / 10, 0, 1 / 4)],
    10: [(1 / 2, 0, 1)] + [(1 / 10, k / 2 - 1, 1 / 10) for k in range(5)],
    11: [(49 / 100, -1, 2 / 3), (49 / 100, 1, 2 / 3)] + [(1 / 350, (k - 3) / 2, 1 / 100) for k in range(7)],
    12: [(1 / 2, 0, 1)] + [(2.0 ** (1 - k) / 31, k + 1 / 2, 2.0**-k / 10) for k in range(-2, 3)],
    13: [(46 / 100, 2 * k - 1, 2 / 3) for k in range(2)]
    + [(1 / 300, -k / 2, 1 / 100) for k in (1, 2, 3)]
    + [(7 / 300, k / 2, 7 / 100) for k in (1, 2, 3)],
    14: [(2.0 ** (5 - k) / 63, (65 - 96 / 2**k) / 21, 32 / 63 / 2**k) for k in range(6)],
    15: [(2 / 7, (12 * k - 15) / 7, 2 / 7) for k in range(3)] + [(1 / 21, 2 * k / 7, 1 / 21) for k in (8, 9, 10)],
}

TWO = Mixture([0.8, 0.2], [15.0, 20.0], [1.0, 1.0])
THIRDS = np.arange(75) / 3.0


def scaled(grid):
    """Grid, cell widths and steps as the kernel takes them."""
    t = np.asarray(grid, dtype=np.float64)
    gaps = np.diff(t)
    widths = 0.5 * (np.append(gaps, 0.0) + np.insert(gaps, 0, 0.0))
    return t, widths, np.concatenate([gaps[:1], widths[1:-1], gaps[-1:]])


def assert_same(mixture, truth, rtol):
    for name in ("weights", "means", "sigmas"):
        np.testing.assert_allclose(getattr(mixture, name), getattr(truth, name), rtol=rtol, err_msg=name)


def photoz(n, seed=5, n_components=3):
    """Random mixtures within [0, 3] and their densities on 200 points."""
    rng = np.random.default_rng(seed)
    t = np.linspace(0.0, 3.0, 200)
    weights = rng.dirichlet(np.full(n_components, 4.0), n)
    means = rng.uniform(0.6, 2.4, (n, n_components))
    sigmas = rng.uniform(0.04, 0.15, (n, n_components))
    truth = [Mixture(*parts) for parts in zip(weights, means, sigmas, strict=True)]
    return t, truth, np.array([mixture.pdf(t) for mixture in truth])


# --- one density


def test_two_components_come_back_from_no_guess():
    fit = fit_density(THIRDS, TWO.pdf(THIRDS), 2)
    assert_same(fit.mixture, TWO, 1e-5)  # as was asked for; some 1e-7 is normal
    assert fit.converged
    assert not fit.boundary.any()
    assert (fit.estimator, fit.n_data, fit.n_params) == ("density", 1.0, 5)
    assert math.isnan(fit.entropy)
    assert np.isnan(fit.uncertainties.means).all()
    # The integral of f ln f, minus the entropy of the density, by another rule on finer points.
    fine = np.linspace(0.0, THIRDS[-1], 20001)
    assert fit.loglik == pytest.approx(trapezoid(TWO.pdf(fine) * TWO.logpdf(fine), fine), abs=1e-6)


def test_the_densities_of_marron_and_wand_have_at_most_nine_components():
    assert max(len(parts) for parts in MARRON_WAND.values()) == 9
    for number, parts in MARRON_WAND.items():
        assert sum(weight for weight, _, _ in parts) == pytest.approx(1.0, abs=1e-12), number


@pytest.mark.parametrize("number", MARRON_WAND)
def test_marron_and_wand(number):
    truth = Mixture(*zip(*MARRON_WAND[number], strict=True))
    t = np.linspace(-4.0, 4.0, 400)
    fit = fit_density(t, truth.pdf(t), truth.n_components)
    fine = np.linspace(-5.0, 5.0, 40001)
    assert trapezoid((fit.mixture.pdf(fine) - truth.pdf(fine)) ** 2, fine) < 1e-8
    assert fit.n_components == truth.n_components


def test_equivariance():
    truth = Mixture([0.3, 0.7], [-1.0, 1.5], [0.5, 1.1])
    t = np.linspace(-5.0, 6.0, 150)
    plain = fit_density(t, truth.pdf(t), 2)
    for a, b in ((1e-6, 0.0), (250.0, 4e5), (-2.0, 3.0)):
        moved = fit_density(np.sort(a * t + b), truth.pdf(np.sort(a * t + b) / a - b / a), 2)
        order = np.argsort(a * plain.mixture.means)
        # A zero-residual fit is exact to the root of its smallest sum of squares, 1e-12 of the density.
        np.testing.assert_allclose(moved.mixture.weights, plain.mixture.weights[order], rtol=1e-8)
        np.testing.assert_allclose(moved.mixture.means, a * plain.mixture.means[order] + b, atol=1e-8 * abs(a))
        np.testing.assert_allclose(moved.mixture.sigmas, abs(a) * plain.mixture.sigmas[order], rtol=1e-8)


@pytest.mark.parametrize(("factor", "word"), [(1.0, "integrates to 1"), (1.0 / 3.0, "sums to 1"), (1e300, "e+300")])
def test_any_normalisation_gives_the_same_fit_and_is_named(factor, word):
    fit = fit_density(THIRDS, factor * TWO.pdf(THIRDS), 2)
    assert_same(fit.mixture, TWO, 1e-7)
    assert word in fit.warnings[0]


def test_uneven_grid():
    rng = np.random.default_rng(3)
    t = np.sort(np.concatenate([rng.uniform(5.0, 25.0, 120), [0.0, 30.0]]))
    assert_same(fit_density(t, TWO.pdf(t), 2).mixture, TWO, 1e-5)


def test_a_density_cut_by_the_grid_is_said():
    t = np.linspace(0.0, 4.0, 100)
    fit = fit_density(t, norm.pdf(t, 0.3, 0.8), 1)
    assert_same(fit.mixture, Mixture([1.0], [0.3], [0.8]), 1e-6)
    assert fit.truncated == (0.0, 4.0)
    assert any(f"truncated at 0 and 4: without that it integrates to {1.0 / norm.cdf(0.3 / 0.8):.4g}" in text
               for text in fit.warnings)  # fmt: skip


def test_no_more_components_than_the_density_has():
    fit = fit_density(THIRDS, TWO.pdf(THIRDS), 4)
    assert fit.n_components == 2
    assert_same(fit.mixture, TWO, 1e-6)
    assert any("2 of 4 components" in text for text in fit.warnings)


def test_spike_on_one_point_has_the_smallest_sigma():
    t = np.linspace(0.0, 1.0, 51)
    fit = fit_density(t, np.where(np.arange(51) == 20, 1.0, 0.0), 1)
    assert fit.mixture.means[0] == pytest.approx(0.4, abs=1e-6)
    assert fit.mixture.sigmas[0] >= 0.02 / 3.0 * (1.0 - 1e-9)
    assert fit.sigma_floor == pytest.approx(0.02 / 3.0)


@pytest.mark.parametrize("shape", ["flat", "ramp", "two spikes", "noise", "tiny numbers", "three points"])
def test_awkward_densities_have_a_fit(shape):
    rng = np.random.default_rng(4)
    t = np.linspace(-1.0, 1.0, 3 if shape == "three points" else 60)
    density = {
        "flat": np.ones(60),
        "ramp": np.linspace(0.0, 1.0, 60),
        "two spikes": np.isin(np.arange(60), (0, 59)).astype(float),
        "noise": rng.uniform(size=60),
        "tiny numbers": 1e-315 * norm.pdf(t, 0.1, 0.2),
        "three points": np.array([0.0, 1.0, 0.5]),
    }[shape]
    for n_components in (1,) if t.size == 3 else (1, 2, 5):
        fit = fit_density(t, density, n_components)
        assert 1 <= fit.n_components <= n_components
        reach = fit.mixture.sigmas * (1.0 + 1e-9)
        assert np.all((fit.mixture.means >= t[0] - reach) & (fit.mixture.means <= t[-1] + reach))
        assert math.isfinite(fit.loglik)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda t, f: (t, -f), "negative"),
        (lambda t, f: (t, 0.0 * f), "zero everywhere"),
        (lambda t, f: (t, np.where(t > 1.0, np.nan, f)), "not finite"),
        (lambda t, f: (t[::-1], f), "must increase"),
        (lambda t, f: (np.round(t, 1), f), "must increase"),
        (lambda t, f: (t, f[1:]), "one length"),
        (lambda t, f: (np.append(t[:-1], np.inf), f), "finite"),
        (lambda t, f: (t[:5], f[:5]), "5 points"),
    ],
)
def test_unusable_input_is_refused(change, match):
    grid, density = change(np.linspace(0.0, 2.0, 50), np.ones(50))
    with pytest.raises(ValueError, match=match):
        fit_density(grid, density, 2)


def test_discrepancy():
    # The mean moved by d: the squared difference of two normal densities integrates to
    # (1 - exp(-d^2 / 4 s^2)) / (s sqrt(pi)), the distributions differ most half way, by 2 Phi(d / 2 s) - 1.
    t = np.linspace(-8.0, 9.0, 1701)
    l2, ks = discrepancy(Mixture([1.0], [0.5], [1.0]), t, 7.0 * norm.pdf(t))
    assert l2 == pytest.approx((1.0 - math.exp(-0.0625)) / math.sqrt(math.pi), rel=1e-9)
    # The trapezium rule at a step of 0.01 is off by 0.01^2 / 12 times the slope of the density.
    assert ks == pytest.approx(2.0 * norm.cdf(0.25) - 1.0, abs=1e-5)


# --- many densities


def test_batch_recovers_three_components():
    t, truth, densities = photoz(300)
    table = fit_densities(t, densities, 3)
    assert table.counts() == {**dict.fromkeys(STATUS, 0), "ok": 300}
    assert table.normalisation == "integral"
    found = np.array([table.mixture(i).pdf(t) for i in range(300)])
    missed = np.sum((found - densities) ** 2, axis=1) / np.sum(densities**2, axis=1)
    # The search of a batch is short: where two components are nearly one it may stop at a local minimum nearby.
    assert np.mean(missed < 1e-8) > 0.9
    assert np.mean(missed < 1e-3) > 0.99
    for i in np.flatnonzero(missed < 1e-16):
        assert_same(table.mixture(i), truth[i], 1e-3)
    assert np.mean(missed < 1e-16) > 0.8


def test_batch_says_what_discrepancy_says():
    t, _, densities = photoz(20, n_components=5)
    table = fit_densities(t, densities, 2)
    for i in range(20):
        l2, ks = discrepancy(table.mixture(i), t, densities[i])
        assert table.l2[i] == pytest.approx(l2, rel=1e-9, abs=1e-20)
        assert table.ks[i] == pytest.approx(ks, rel=1e-9, abs=1e-14)


def test_choice_is_the_fewest_that_are_close_enough():
    t, _, densities = photoz(200)
    table = fit_densities(t, densities)
    assert np.all(table.ks < CLOSE_ENOUGH)
    assert set(table.n_components) <= {1, 2, 3}
    for n_components in (1, 2):
        fixed = fit_densities(t, densities, n_components)
        more = table.n_components > n_components
        assert more.any()
        assert np.all(fixed.ks[more] >= CLOSE_ENOUGH * (1.0 - 1e-6))
    # Nothing is close enough: the fewest that are at most a quarter farther than the closest are taken.
    strict = fit_densities(t, densities, max_components=2, tolerance=1e-12)
    one, two = (fit_densities(t, densities, n).ks for n in (1, 2))
    np.testing.assert_array_equal(strict.n_components, np.where(one <= 1.25 * np.minimum(one, two), 1, 2))
    np.testing.assert_array_equal(strict.ks, np.where(strict.n_components == 1, one, two))
    assert set(strict.status) == {STATUS.index("tolerance")}


def test_numbers_do_not_depend_on_threads_or_on_other_rows():
    t, _, densities = photoz(700)
    one, two = fit_densities(t, densities, n_threads=1), fit_densities(t, densities, n_threads=2)
    alone = fit_densities(t, densities[611:612])
    for name in ("n_components", "weights", "means", "sigmas", "mass", "l2", "ks", "converged", "status"):
        assert getattr(one, name).tobytes() == getattr(two, name).tobytes()
        np.testing.assert_array_equal(getattr(alone, name)[0], getattr(one, name)[611])


def test_rejected_rows_are_counted():
    t, _, densities = photoz(8)
    densities[1, 7] = -1e-9
    densities[2] = 0.0
    densities[3, 0] = np.nan
    densities[4, -1] = np.inf
    densities[5, 3], densities[5, 4] = np.nan, -1.0
    table = fit_densities(t, densities, 3)
    assert [STATUS[code] for code in table.status] == [
        *("ok", "negative", "all zero", "not finite", "not finite", "not finite", "ok", "ok")
    ]
    assert table.counts() == {
        "ok": 3, "negative": 1, "all zero": 1, "not finite": 3, "tolerance": 0, "mean": 0
    }  # fmt: skip
    bad = table.status != 0
    assert np.all(table.n_components[bad] == 0)
    for name in ("weights", "means", "sigmas", "mass", "l2", "ks"):
        assert np.isnan(getattr(table, name)[bad]).all()
    with pytest.raises(ValueError, match="row 2 was rejected: its density is all zero"):
        table.mixture(2)


@pytest.mark.parametrize(("factor", "found"), [(1.0, "integral"), (3.0 / 199.0, "sum"), (5.0, "neither")])
def test_normalisation_of_a_batch(factor, found):
    t, _, densities = photoz(5)
    table = fit_densities(t, (factor * densities).astype(">f4"), 3)
    assert table.normalisation == found
    np.testing.assert_allclose(table.weights.sum(axis=1), 1.0, rtol=1e-12)


def test_progress_an_empty_table_and_settings():
    t, _, densities = photoz(600)
    seen = []
    table = fit_densities(t, densities, 1, progress=lambda done, n: seen.append((done, n)))
    assert seen[-1] == (600, 600)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert not table.means.flags.writeable
    empty = fit_densities(t, densities[:0])
    assert len(empty) == 0
    assert empty.weights.shape == (0, 5)
    for bad in ({"max_components": 0}, {"tolerance": 0.0}, {"n_threads": 0}, {"n_components": 67}):
        with pytest.raises(ValueError, match=r"found|points"):
            fit_densities(t, densities, **bad)
    with pytest.raises(ValueError, match="200 values"):
        fit_densities(t, densities[:, 1:])


def test_cfhtlens(catalogs):
    with fits.open(catalogs / "photoz" / "cfhtlens_pdfs.fits") as file:
        z, densities = file["GRID"].data["Z"], file["PDF"].data["PDF"]
    table = fit_densities(z, densities, max_components=5)
    assert table.normalisation == "sum"
    assert table.counts()["ok"] == len(table) == 100
    assert table.ks.max() < 0.02
    assert np.median(fit_densities(z, densities, 5).ks) < 0.002


# --- the kernel


def kernel_table(grid, density):
    """A table as the kernel takes it; `grid` has points, or the edges of bins."""
    points = np.asarray(grid, dtype=np.float64)
    is_histogram = points.size == len(density) + 1
    if is_histogram:
        t, edges, widths = 0.5 * (points[1:] + points[:-1]), points, np.diff(points)
        steps = widths
    else:
        (t, widths, steps), edges = scaled(points), np.empty(0)
    table = grids.Table(t, edges, np.sqrt(widths), steps, np.empty(t.size), np.empty(t.size), np.empty(2), False)
    status, _, _ = grids._prepare(np.asarray(density, dtype=np.float64), widths, table, np.empty(points.size))
    assert status == grids.OK
    return table


@pytest.mark.parametrize("cumulative", [False, True], ids=["densities", "cumulative"])
@pytest.mark.parametrize("is_histogram", [False, True], ids=["points", "bins"])
def test_jacobian_against_differences(is_histogram, cumulative):
    t = np.sort(np.random.default_rng(1).uniform(-1.0, 1.0, 80))
    density = norm.pdf(t, -0.3, 0.2) + 0.5 * norm.pdf(t, 0.4, 0.3) + 0.3 * np.cos(3.0 * t) ** 2
    table = kernel_table(t, density[1:] if is_histogram else density)._replace(cumulative=cumulative)
    # The last one is cut by the end of the grid.
    start = np.array([[0.0, 0.0, 0.0], [-0.35, 0.2, 0.95], [0.25, 0.2, 0.15]])
    size, active, upper = 3, np.empty(3, dtype=np.int64), np.empty((3, 3))

    def residual(shift):
        work = np.empty((4 * size + 1, table.t.size + 1))
        fit = start.copy()
        fit[1] += shift[0::2] * start[2]
        fit[2] *= np.exp(shift[1::2])
        n_active, square = grids.evaluate(table, fit, active, work, upper)
        assert n_active == size
        assert square == pytest.approx(work[-1] @ work[-1])
        return work, fit

    work, fit = residual(np.zeros(2 * size))
    gradient = np.empty(2 * size)
    grids.jacobian(table, fit, active, size, work, upper, gradient)
    analytic = work[2 * size : 4 * size].copy()
    step = 1e-4
    for a in range(2 * size):
        shift = step * (np.arange(2 * size) == a)
        # Fourth order: truncation 1e-16, rounding 1e-15 / step times the weight of the mean, 50.
        near = residual(shift)[0][-1] - residual(-shift)[0][-1]
        far = residual(2.0 * shift)[0][-1] - residual(-2.0 * shift)[0][-1]
        np.testing.assert_allclose(analytic[a], (8.0 * near - far) / (12.0 * step), atol=1e-9)
    np.testing.assert_allclose(gradient, analytic @ work[-1], atol=1e-12)


def test_cumulative_residuals_are_differences_of_the_distributions():
    edges = np.sort(np.random.default_rng(2).uniform(-1.0, 1.0, 40))
    density = norm.pdf(edges[1:], 0.1, 0.4)
    table = kernel_table(edges, density)._replace(cumulative=True)
    column = np.empty(table.t.size + 1)
    grids._column(table, -0.2, 0.3, column)
    inside = norm.cdf(edges, -0.2, 0.3)
    model = (inside[1:] - inside[0]) / (inside[-1] - inside[0])
    shares = density * np.diff(edges)
    expected = np.sqrt(np.diff(edges)) * (model - np.cumsum(shares) / shares.sum())
    np.testing.assert_allclose(column[:-1], expected, atol=1e-14)


def test_spread_starts_fill_the_whole_table():
    points, size, n = np.linspace(0.0, 1.0, 11), 3, 192
    cdf = points**2
    start = np.empty((3, size))
    found = np.empty((n, 2, size))
    for number in range(1, n + 1):
        grids._spread(points, cdf, 2.0, number, start)
        found[number - 1] = start[1:]
    low, high = np.log(2.0 * np.array(grids._SPREAD_SIGMAS))
    shares = np.stack([np.interp(found[:, 0], points, cdf), (np.log(found[:, 1]) - low) / (high - low)], axis=1)
    # About a tenth of the starts lies in each tenth of each variable.
    for values in shares.reshape(n, -1).T:
        counts, _ = np.histogram(values, np.linspace(0.0, 1.0, 11))
        assert np.all(np.abs(counts / (n / 10) - 1.0) < 0.5)


@pytest.mark.parametrize("seed", range(40))
def test_weights_against_another_solver(seed):
    rng = np.random.default_rng(seed)
    size, n = int(rng.integers(1, 9)), 50
    columns = rng.normal(size=(size, n)) + (2.0 if seed % 2 else 0.0)
    if seed % 5 == 0 and size > 2:
        columns[-1] = columns[0]  # dependent
    y = rng.normal(size=n) + 1.0
    columns -= y
    weights, residual = np.empty(size), np.empty(n)
    active, basis, upper = np.empty(size, dtype=np.int64), np.empty((size, n)), np.empty((size, size))
    n_active, square = grids.project(columns, weights, active, basis, upper, residual)
    # The minimum of |sum u_j c_j|^2 + (sum u_j - 1)^2 over u >= 0 is at a multiple of the weights that sum to one.
    multiple, _ = nnls(np.vstack([columns.T, np.ones(size)]), np.append(np.zeros(n), 1.0))
    expected = multiple / multiple.sum()
    assert weights.sum() == pytest.approx(1.0, abs=1e-14) and weights.min() >= 0.0
    assert square == pytest.approx(np.sum((expected @ columns) ** 2), rel=1e-12)
    np.testing.assert_allclose(-weights @ columns, residual, atol=1e-12)
    if not (seed % 5 == 0 and size > 2):
        np.testing.assert_allclose(weights, expected, atol=1e-12)
    assert sorted(active[:n_active]) == np.flatnonzero(weights).tolist()
    used = basis[1:n_active]
    np.testing.assert_allclose(used @ used.T, np.eye(n_active - 1), atol=1e-13)


@pytest.mark.parametrize("flags", [{}, {"fastmath": {"contract"}}], ids=["plain", "contract"])
def test_exp_over_its_whole_range(flags):
    fast_exp = grids.fast_exp

    @njit(**flags)
    def loop(x, out):
        for i in range(x.size):
            out[i] = fast_exp(x[i])

    rng = np.random.default_rng(1)
    halfway = (np.arange(-1021, 1023) + 0.5) * math.log(2.0)  # where the integer part changes
    x = np.concatenate([rng.uniform(-708.0, 709.0, 50_000), rng.uniform(-1.0, 1.0, 20_000), halfway, [0.0, 709.0]])
    out = np.empty_like(x)
    loop(x, out)
    expected = np.array([math.exp(value) for value in x])
    # Two units in the last place from the polynomial, one from `math` itself.
    assert np.max(np.abs(out - expected) / np.spacing(expected)) <= 3.0
