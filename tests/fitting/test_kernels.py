"""The polynomial exp and log against `math`, one by one and in loops that the compiler vectorises."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest
from numba import njit
from scipy.optimize import brentq

from mixpipe.fitting.kernels import passes
from mixpipe.fitting.kernels.newton import trust_region
from mixpipe.fitting.kernels.passes import fast_exp, fast_log
from tests import reference as ref
from tests.campaign import campaign

# Both helpers round some five times after the polynomial: 2 units in the last place is what is promised by
# "about 2e-16", one more is allowed for the rounding of `math` itself.
MAX_ULP = 3.0

# The kernels call the helpers with these sets of flags only; neither may delete the rounding by a magic number.
LOOPS = {"plain": {}, "contract": {"fastmath": {"contract"}}}


@njit
def one_exp(x):
    return fast_exp(x)


@njit
def one_log(x):
    return fast_log(x)


def loops(flags):
    @njit(**flags)
    def exp_loop(x, out):
        for i in range(x.size):
            out[i] = fast_exp(x[i])

    @njit(**flags)
    def log_loop(x, out):
        for i in range(x.size):
            out[i] = fast_log(x[i])

    return exp_loop, log_loop


@pytest.fixture(scope="module", params=sorted(LOOPS))
def compiled(request):
    return loops(LOOPS[request.param])


def ulp_error(got, expected):
    return np.abs(got - expected) / np.spacing(np.abs(expected))


def exp_arguments():
    rng = np.random.default_rng(1)
    ln2 = math.log(2.0)
    halfway = (np.arange(-1021, 1023) + 0.5) * ln2  # where the integer part changes
    return np.concatenate(
        [
            rng.uniform(-708.0, 709.0, 100_000),
            rng.uniform(-1.0, 1.0, 50_000),
            10.0 ** rng.uniform(-300, 0, 10_000) * rng.choice([-1, 1], 10_000),
            halfway,
            np.nextafter(halfway, np.inf),
            np.nextafter(halfway, -np.inf),
            np.arange(-708.0, 710.0),
            [0.0, -0.0, 709.0, -708.0],
        ]
    )


def log_arguments():
    rng = np.random.default_rng(2)
    powers = 2.0 ** np.arange(-1022, 1024)
    edges = np.concatenate([powers, np.sqrt(2.0) * powers[:-1]])  # where the exponent part changes
    return np.concatenate(
        [
            10.0 ** rng.uniform(-307.6, 308.2, 100_000),
            rng.uniform(0.5, 2.0, 50_000),
            1.0 + 10.0 ** rng.uniform(-16, -1, 10_000) * rng.choice([-1, 1], 10_000),
            edges,
            np.nextafter(edges[1:], np.inf),
            np.nextafter(edges[1:], 1.0),
            [np.finfo(float).tiny, np.finfo(float).max],
        ]
    )


def test_exp_over_its_whole_range(compiled):
    x = exp_arguments()
    got = np.empty_like(x)
    compiled[0](x, got)
    assert ulp_error(got, np.array([math.exp(v) for v in x])).max() <= MAX_ULP


def test_log_over_all_normal_numbers(compiled):
    x = log_arguments()
    got = np.empty_like(x)
    compiled[1](x, got)
    expected = np.array([math.log(v) for v in x])
    one = expected == 0.0
    assert np.all(got[one] == 0.0)
    assert ulp_error(got[~one], expected[~one]).max() <= MAX_ULP


@pytest.mark.parametrize("n", [1, 2, 3, 5, 7, 8, 9, 31, 257])
def test_vector_body_and_remainder_of_a_loop_agree_with_single_calls(compiled, n):
    x = np.random.default_rng(n).uniform(-40.0, 40.0, n)
    exp_got, log_got = np.empty(n), np.empty(n)
    compiled[0](x, exp_got)
    compiled[1](np.abs(x) + 0.01, log_got)
    single_exp = np.array([one_exp(v) for v in x])
    single_log = np.array([one_log(v) for v in np.abs(x) + 0.01])
    # A fused multiply-add in one of the two may round once where the other rounds twice.
    assert ulp_error(exp_got, single_exp).max() <= 1.0
    assert ulp_error(log_got, single_log).max() <= 1.0


def test_exp_is_clipped_outside_its_range_and_stays_finite():
    for x, end in ((-1e300, -708.0), (-709.0, -708.0), (710.0, 709.0), (1e300, 709.0), (math.inf, 709.0)):
        assert one_exp(x) == one_exp(end)
        assert math.isfinite(one_exp(x))
        assert one_exp(x) > 0.0


def test_exp_undoes_log():
    x = np.geomspace(1e-300, 1e300, 1001)
    # An error of one unit in ln x, at most 691, is 1.1e-13 in x.
    np.testing.assert_allclose([one_exp(one_log(v)) for v in x], x, rtol=2.5e-13)


# The quadratic model within the trust region


def best_gain(hessian, gradient, radius):
    """The largest value of the model, by a root search for the shift in its eigenbasis (Moré & Sorensen 1983)."""
    curvature, basis = np.linalg.eigh(-hessian)
    g = basis.T @ gradient
    if curvature[0] > 0.0 and np.linalg.norm(g / curvature) <= radius:
        shift = 0.0
    else:
        low = max(0.0, -curvature[0])
        shift = low + brentq(
            lambda extra: np.linalg.norm(g / (curvature + low + extra)) / radius - 1.0,
            1e-13 * (low + 1.0),
            np.linalg.norm(g) / radius + 1.0,
            xtol=1e-16,
            rtol=1e-14,
        )
    p = g / (curvature + shift)
    return g @ p - 0.5 * p @ (curvature * p)


def models():
    """Definite, indefinite and ill-conditioned Hessians, with radii that bind or do not."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        basis, _ = np.linalg.qr(rng.standard_normal((5, 5)))
        curvature = 10.0 ** rng.uniform(-3, 3, 5) * (1.0 if seed % 3 == 0 else rng.choice([-1.0, 1.0], 5))
        hessian = -(basis * curvature) @ basis.T
        for radius in (1e-3, 0.3, 4.0):
            yield 0.5 * (hessian + hessian.T), rng.standard_normal(5), radius


def test_trust_region_step_is_inside_and_promises_no_more_than_there_is():
    for hessian, gradient, radius in models():
        p = trust_region(hessian, gradient, radius)
        gain = gradient @ p + 0.5 * p @ hessian @ p
        assert np.linalg.norm(p) <= radius * (1.0 + 1e-9)
        assert 0.0 < gain <= best_gain(hessian, gradient, radius) * (1.0 + 1e-9)


def test_trust_region_step_takes_most_of_what_there_is():
    for hessian, gradient, radius in models():
        p = trust_region(hessian, gradient, radius)
        assert gradient @ p + 0.5 * p @ hessian @ p >= 0.9 * best_gain(hessian, gradient, radius)


def test_trust_region_leaves_a_saddle_without_gradient():
    hessian = np.diag([2.0, -1.0, -3.0])  # rises along the first axis, along which the gradient is nothing
    p = trust_region(hessian, np.array([0.0, 0.5, 0.0]), 1.0)
    # Along the axis of the saddle the shift is 2: the second variable is at 0.5 / (1 + 2), the first fills the radius.
    assert p[1] == pytest.approx(0.5 / 3.0)
    assert abs(p[0]) == pytest.approx(math.sqrt(1.0 - 1.0 / 36.0))
    assert p[2] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("size", [1, 2, 3, 8, 30])
def test_trust_region_step_in_any_number_of_variables(size):
    rng = np.random.default_rng(size)
    for _ in range(20):
        half = rng.standard_normal((size, size))
        hessian, gradient = -(half + half.T), rng.standard_normal(size)
        p = trust_region(hessian, gradient, 0.5)
        assert np.linalg.norm(p) <= 0.5 * (1.0 + 1e-9)
        # The shift is known to 1e-3, and so is the length of the step: at most twice that is lost of the gain.
        best = best_gain(hessian, gradient, 0.5)
        assert 0.998 * best <= gradient @ p + 0.5 * p @ hessian @ p <= best * (1.0 + 1e-9)


def test_trust_region_leaves_a_saddle_in_rotated_variables():
    """The direction of largest curvature is found where it is not one of the variables."""
    basis, _ = np.linalg.qr(np.random.default_rng(3).standard_normal((6, 6)))
    curvature = np.array([-2.0, -2.0 + 1e-3, 0.5, 1.0, 3.0, 7.0])
    gradient = basis @ np.array([0.0, 0.0, 0.4, -0.2, 0.1, 0.0])
    p = basis.T @ trust_region(-(basis * curvature) @ basis.T, gradient, 1.0)
    # The shift is 2, and what the other variables leave of the radius is filled along the first.
    expected = np.array([0.0, 0.4 / 2.5, -0.2 / 3.0, 0.1 / 5.0, 0.0])
    np.testing.assert_allclose(p[1:], expected, atol=1e-9)
    assert abs(p[0]) == pytest.approx(math.sqrt(1.0 - expected @ expected))


_PASSES = """
import numpy as np
from mixpipe.fitting.kernels import passes
rng = np.random.default_rng(0)
n, counts = 5000, np.ones(5000)
x, var = rng.normal(0.0, 2.0, n), rng.lognormal(-1.8, 1.0, n)
mixture = np.array([0.3, 0.5, 0.2]), np.array([-1.0, 0.0, 3.0]), np.array([1.0, 0.5, 0.2])
em, newton, outer = np.zeros((1, 13)), np.zeros((1, 28)), np.zeros((1, 9, 9))
logp, entropy, gradient = np.zeros(n), np.zeros(n), np.zeros((3, 2))
passes.em_pass(x, var, counts, *mixture, 0, 1, em)
passes.newton_pass(x, var, counts, *mixture, 0, 1, newton, outer)
passes.logpdf_pass(x, var, *mixture, 0, 1, logp, entropy)
passes.gradient_pass(x, var, counts, logp, *mixture[1:], 0, 3, gradient)
for part in (em, newton, outer, logp, entropy, gradient):
    print(part.tobytes().hex())
"""


@campaign
def test_compiled_just_now_or_loaded_from_the_cache_makes_no_difference(tmp_path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    first, second = (
        subprocess.run([sys.executable, "-c", _PASSES], env=environment, capture_output=True, text=True, check=True)
        for _ in range(2)
    )
    assert len(list(tmp_path.rglob("*.nbc"))) >= 4
    assert first.stdout == second.stdout


# Components that are absent from a cell


def test_no_term_of_a_far_component_is_subnormal():
    """Arithmetic with subnormal numbers is a hundred times slower."""
    rng = np.random.default_rng(4)
    x, var = rng.normal(0.0, 1e-6, 300), np.full(300, 1e-14)
    weights, means = np.array([0.9, 0.1 - 2e-5, 2e-5]), np.array([0.0, 0.0, 0.17])
    variances = np.array([1e-12, 1.0, 1e-8])
    n_sums = passes.N_EM + passes.N_NEWTON
    out, outer = np.empty((1, 1 + 3 * n_sums)), np.zeros((1, 9, 9))
    passes.newton_pass(x, var, np.ones(x.size), weights, means, variances, 0, 1, out, outer)
    numbers = np.abs(np.concatenate([out.ravel(), outer.ravel()]))
    assert np.all((numbers == 0.0) | (numbers >= np.finfo(np.float64).tiny))
    # The third component is 1,700 of its sigmas away from all values, where its exact share is exp(-1.4e6).
    assert not out[0, 1 + 2 * n_sums :].any()
    assert out[0, 0] == pytest.approx(
        ref.loglik(x.tolist(), np.sqrt(var).tolist(), weights.tolist(), means.tolist(), np.sqrt(variances).tolist()),
        rel=1e-13,
    )


def test_a_component_is_present_to_24_sigmas():
    """24 sigmas from its mean, on that of an equal component, its responsibility is exp(-288)."""
    x, var, counts = np.array([24.0]), np.zeros(1), np.ones(1)
    out = np.empty((1, 1 + 2 * passes.N_EM))
    half = np.full(2, 0.5)
    passes.em_pass(x, var, counts, half, np.array([0.0, 24.0]), np.ones(2), 0, 1, out)
    assert out[0, 1] == pytest.approx(math.exp(-288.0), rel=1e-12)
