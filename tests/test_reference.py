"""The oracle against facts that it does not contain: finite differences, closed forms, published fits."""

import csv
import math
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.polynomial.hermite_e import hermegauss

from tests import reference as ref

OVERLAP = (
    [0.37704907, 0.47608288, 0.14686805],
    [-0.74584240, -0.13888994, 2.99472873],
    [1.64633623, 1.02230561, 0.45980696],
)
PAIR = ([0.6, 0.4], [0.0, 4.0], [1.0, 0.5])
TRIPLE = ([0.3, 0.5, 0.2], [-1.0, 0.5, 3.0], [1.5, 0.7, 0.2])


def em_conditional(*args: object, **kwargs: object) -> ref.Parameters:
    return ref.em_exact(*args, joint=False, **kwargs)


EM_STEPS = [ref.em_exact, em_conditional, ref.em_fixed_point, ref.em_xd]


def draw(n: int, mixture: ref.Parameters, seed: int, error: float | None = None) -> tuple[list[float], list[float]]:
    """Noisy values of a mixture; errors lognormal with median 0.4 or all equal."""
    source = random.Random(seed)
    components = source.choices(range(len(mixture[0])), mixture[0], k=n)
    err = [0.4 * math.exp(0.5 * source.gauss(0, 1)) if error is None else error for _ in range(n)]
    x = [source.gauss(mixture[1][j], mixture[2][j]) + source.gauss(0, e) for j, e in zip(components, err, strict=True)]
    return x, err


def normal_pdf(x: float, mean: float, variance: float) -> float:
    return math.exp(-((x - mean) ** 2) / (2 * variance)) / math.sqrt(2 * math.pi * variance)


def flat(mixture: ref.Parameters) -> list[float]:
    return [value for part in mixture for value in part]


def log_form(mixture: ref.Parameters) -> tuple[list[float], list[float], list[float]]:
    """(alpha, m, v) of the derivatives."""
    w, m, s = mixture
    return [math.log(wj) for wj in w], list(m), [sj * sj for sj in s]


def half_decrement(gradient: list[float], hessian: list[list[float]], tie: np.ndarray | None = None) -> float:
    """Nats that a Newton step promises, near a maximum; `tie` maps the free parameters to all."""
    tie = np.eye(len(gradient)) if tie is None else tie
    g = tie.T @ np.array(gradient)
    curvature = -tie.T @ np.array(hessian) @ tie
    assert np.linalg.eigvalsh(curvature).min() > 0
    return 0.5 * float(g @ np.linalg.solve(curvature, g))


def converge(
    step: Callable[..., ref.Parameters], x: list[float], err: list[float], mixture: ref.Parameters
) -> ref.Parameters:
    for _ in range(3000):
        new = step(x, err, *mixture)
        change = max(abs(a - b) for a, b in zip(flat(new), flat(mixture), strict=True))
        mixture = new
        if change < 1e-11:
            return mixture
    raise AssertionError("no convergence")


def column(path: Path, name: str) -> list[float]:
    with open(path, newline="", encoding="utf-8") as file:
        return [float(row[name]) for row in csv.DictReader(file)]


# Likelihood, responsibilities, entropy, criteria


def test_loglik_of_one_component_is_the_sum_of_log_normals() -> None:
    expected = math.log(normal_pdf(1.0, 0.5, 4.25)) + 3 * math.log(normal_pdf(-2.0, 0.5, 5.0))
    assert ref.loglik([1, -2], [0.5, 1], [1], [0.5], [2], [1, 3]) == pytest.approx(expected, rel=1e-14)


def test_loglik_sums_weighted_densities() -> None:
    expected = math.log(0.6 * normal_pdf(1.5, 0, 1.09) + 0.4 * normal_pdf(1.5, 4, 0.34))
    assert ref.loglik([1.5], [0.3], *PAIR) == pytest.approx(expected, rel=1e-14)


def test_a_row_a_million_sigma_away_stays_finite() -> None:
    value = ref.loglik([0.0, 1e6], [0.0, 0.0], [0.5, 0.5], [0.0, 1.0], [1.0, 1.0])
    nearest = math.log(0.5) - 0.5 * (1e6 - 1) ** 2 - 0.5 * math.log(2 * math.pi)
    assert value == pytest.approx(nearest + ref.loglik([0.0], [0.0], [0.5, 0.5], [0.0, 1.0], [1.0, 1.0]), rel=1e-14)
    assert ref.responsibilities([1e6], [0.0], [0.5, 0.5], [0.0, 1.0], [1.0, 1.0]) == [[0.0, 1.0]]


def test_a_component_without_width_on_an_exact_row_is_refused() -> None:
    with pytest.raises(ValueError, match="infinite"):
        ref.loglik([1.0], [0.0], [0.5, 0.5], [0.0, 1.0], [1.0, 0.0])


def test_responsibilities_follow_from_the_density_ratio() -> None:
    # Equal widths and weights: the log odds are linear, (m2 - m1) (x - midpoint) / T.
    (row,) = ref.responsibilities([2.5], [0.6], [0.5, 0.5], [0.0, 4.0], [0.8, 0.8])
    assert row[1] == pytest.approx(1 / (1 + math.exp(-4 * 0.5)), rel=1e-13)
    assert sum(row) == pytest.approx(1, abs=1e-15)


def test_entropy_of_undecided_and_of_certain_rows() -> None:
    assert ref.entropy([2.0], [0.3], [0.5, 0.5], [0, 4], [1, 1], [7]) == pytest.approx(7 * math.log(2), rel=1e-14)
    assert ref.entropy([0.0], [0.3], [0.5, 0.5], [0, 400], [1, 1]) == 0.0


def test_criteria() -> None:
    found = ref.criteria(-203.1792, 5.0, 8, 82)
    assert found["bic"] == pytest.approx(441.6122, abs=1e-4)
    assert found["aic"] == pytest.approx(422.3584, abs=1e-9)
    assert found["icl"] == pytest.approx(451.6122, abs=1e-4)


def test_row_weights_are_repetitions() -> None:
    x, err = draw(12, PAIR, 1)
    counts = [1 + i % 3 for i in range(12)]
    many = [[v for v, c in zip(values, counts, strict=True) for _ in range(c)] for values in (x, err)]
    parameters = log_form(PAIR)
    assert ref.loglik(x, err, *PAIR, counts) == pytest.approx(ref.loglik(*many, *PAIR), rel=1e-14)
    assert ref.entropy(x, err, *PAIR, counts) == pytest.approx(ref.entropy(*many, *PAIR), rel=1e-13)
    for one, other in zip(
        ref.gradient_and_hessian(x, err, *parameters, counts),
        ref.gradient_and_hessian(*many, *parameters),
        strict=True,
    ):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-11)
    for step in EM_STEPS:
        assert flat(step(x, err, *PAIR, row_weights=counts)) == pytest.approx(flat(step(*many, *PAIR)), rel=1e-11)
    assert flat(ref.em_plain(x, *PAIR, counts)) == pytest.approx(flat(ref.em_plain(many[0], *PAIR)), rel=1e-12)
    assert ref.intrinsic_moments(x, err, 5, counts) == pytest.approx(ref.intrinsic_moments(*many, 5), rel=1e-12)
    assert ref.gradient_function(x, err, *PAIR, 1, 1, counts) == pytest.approx(
        ref.gradient_function(*many, *PAIR, 1, 1), rel=1e-12
    )


# Derivatives


def test_gradient_and_hessian_agree_with_finite_differences() -> None:
    x, err = draw(40, TRIPLE, 2)
    counts = [0.5 + 0.1 * (i % 7) for i in range(40)]
    # Weights that do not sum to one: the Lagrangian term must be right away from its constraint too.
    theta = [a + shift for a, shift in zip(log_form(TRIPLE)[0], (0.3, -0.1, 0.2), strict=True)]
    theta += log_form(TRIPLE)[1] + log_form(TRIPLE)[2]

    def value(t: list[float]) -> float:
        return ref.lagrangian(x, err, t[:3], t[3:6], t[6:], counts)

    def slope(t: list[float]) -> list[float]:
        return ref.gradient_and_hessian(x, err, t[:3], t[3:6], t[6:], counts)[0]

    gradient, hessian = ref.gradient_and_hessian(x, err, theta[:3], theta[3:6], theta[6:], counts)
    for k in range(9):
        h = 1e-4 if k < 6 else 1e-3 * theta[k]
        up, down = ([*theta[:k], theta[k] + sign * h, *theta[k + 1 :]] for sign in (1, -1))
        assert gradient[k] == pytest.approx((value(up) - value(down)) / (2 * h), rel=2e-6, abs=1e-6)
        numeric = [(a - b) / (2 * h) for a, b in zip(slope(up), slope(down), strict=True)]
        assert hessian[k] == pytest.approx(numeric, rel=1e-5, abs=1e-4)
    np.testing.assert_allclose(hessian, np.transpose(hessian), rtol=1e-13)


def test_derivatives_of_one_component_in_closed_form() -> None:
    gradient, hessian = ref.gradient_and_hessian([1.0, 3.0], [0.0, 0.0], [0.0], [2.0], [2.0])
    assert gradient == pytest.approx([0, 0, 0.5 * (2 / 4 - 2 / 2)], abs=1e-15)
    # d2/dv2 = N / (2 v^2) - sum d^2 / v^3; weights: -N exp(alpha).
    np.testing.assert_allclose(hessian, [[-2, 0, 0], [0, -1, 0], [0, 0, 2 / 8 - 2 / 8]], atol=1e-15)


def test_gradient_function_is_the_slope_towards_a_new_component() -> None:
    x, err = draw(30, PAIR, 3)
    w, m, s = PAIR
    h = 1e-5
    up, down = (ref.loglik(x, err, [wj * (1 - t) for wj in w] + [abs(t)], [*m, 2.0], [*s, 0.3]) for t in (h, 2 * h))
    start = ref.loglik(x, err, *PAIR)
    one_sided = (4 * up - down - 3 * start) / (2 * h)
    assert ref.gradient_function(x, err, *PAIR, 2.0, 0.3) == pytest.approx(one_sided, rel=1e-6)


def test_gradient_function_averages_to_zero_and_vanishes_at_a_fixed_point() -> None:
    x, err = draw(60, PAIR, 4)
    slopes = [ref.gradient_function(x, err, *PAIR, mj, sj) for mj, sj in zip(*PAIR[1:], strict=True)]
    assert PAIR[0][0] * slopes[0] + PAIR[0][1] * slopes[1] == pytest.approx(0, abs=1e-11)
    assert abs(slopes[0]) > 0.1
    fit = converge(ref.em_exact, x, err, PAIR)
    assert [ref.gradient_function(x, err, *fit, mj, sj) for mj, sj in zip(*fit[1:], strict=True)] == pytest.approx(
        [0, 0], abs=1e-8
    )


# Expectation maximisation


def test_without_errors_every_variant_is_the_textbook_step() -> None:
    x, _ = draw(50, PAIR, 5)
    start = ([0.5, 0.5], [0.5, 3.0], [1.2, 0.8])
    expected = flat(ref.em_plain(x, *start))
    for step in EM_STEPS:
        assert flat(step(x, [0.0] * 50, *start)) == pytest.approx(expected, rel=1e-9)


def test_one_component_without_errors_is_mean_and_standard_deviation() -> None:
    _, m, s = ref.em_plain([1.0, 2.0, 6.0], [1.0], [9.0], [5.0])
    assert (m, s) == ([pytest.approx(3.0)], [pytest.approx(math.sqrt(14 / 3))])


def test_one_component_with_equal_errors_takes_one_exact_step() -> None:
    w, m, s = ref.em_exact([1.0, 2.0, 6.0], [1.5] * 3, [1.0], [9.0], [5.0])
    assert (w, m) == ([1.0], [pytest.approx(3.0)])
    assert s == [pytest.approx(math.sqrt(14 / 3 - 2.25), rel=1e-12)]


def test_one_component_whose_scatter_is_noise_has_zero_width() -> None:
    x, err = [0.0, 0.3, -0.2], [1.0, 2.0, 0.5]
    weighted = (0.3 / 4 - 0.2 * 4) / (1 + 1 / 4 + 4)
    assert ref.em_exact(x, err, [1.0], [0.1], [1.0]) == ([1.0], [pytest.approx(weighted, rel=1e-13)], [0.0])
    gradient, _ = ref.gradient_and_hessian(x, err, [0.0], [weighted], [0.0])
    assert gradient[1] == pytest.approx(0, abs=1e-13)
    assert gradient[2] < 0
    assert ref.em_exact(x, err, [1.0], [0.1], [1.0], sigma_floor=0.2)[2] == [pytest.approx(0.2, rel=1e-15)]


@pytest.mark.parametrize(("crowd", "expect_zero"), [(8, False), (14, True)])
def test_exact_width_is_the_highest_of_several_maxima(crowd: int, expect_zero: bool) -> None:
    # A crowd of precise rows at the mean wants no width, two imprecise rows far off want much.
    x, err, q = [0.0] * crowd + [-10.0, 10.0], [0.001] * crowd + [1.0, 1.0], [1.0] * (crowd + 2)

    def value(v: float) -> float:
        return sum(math.log(normal_pdf(xi, 0, v + ei * ei)) for xi, ei in zip(x, err, strict=True))

    best = ref.best_variance(x, err, q, 0.0)
    scan = [0.0] + [10 ** (k / 50) for k in range(-400, 150)]
    assert max(map(value, scan)) <= value(best) + 1e-12
    assert (best == 0.0) is expect_zero
    assert value(18.0 if not expect_zero else 12.0) > value(0.1)


def test_exact_step_maximises_the_expected_loglik() -> None:
    x, err = draw(80, TRIPLE, 6)
    start = ([0.4, 0.3, 0.3], [-0.5, 0.3, 2.5], [1.0, 1.0, 0.5])
    q = ref.responsibilities(x, err, *start)

    def expected(j: int, mean: float, sigma: float) -> float:
        return sum(
            qi[j] * math.log(normal_pdf(xi, mean, sigma**2 + ei**2)) for xi, ei, qi in zip(x, err, q, strict=True)
        )

    w, m, s = ref.em_exact(x, err, *start)
    conditional = em_conditional(x, err, *start)
    assert w == pytest.approx([sum(qi[j] for qi in q) / 80 for j in range(3)], rel=1e-14)
    for j in range(3):
        best = expected(j, m[j], s[j])
        assert best >= expected(j, conditional[1][j], conditional[2][j])
        h = 1e-4
        assert expected(j, m[j] + h, s[j]) == pytest.approx(expected(j, m[j] - h, s[j]), abs=1e-8)
        assert expected(j, m[j], s[j] + h) == pytest.approx(expected(j, m[j], s[j] - h), abs=1e-8)
        mean, sigma = conditional[1][j], conditional[2][j]
        assert expected(j, mean, sigma + h) == pytest.approx(expected(j, mean, sigma - h), abs=1e-8)
        assert max(expected(j, m[j] + h, s[j]), expected(j, m[j], s[j] + h)) < best


@pytest.mark.parametrize("step", EM_STEPS)
@pytest.mark.parametrize("error", [None, 0.8])
def test_loglik_never_falls(step: Callable[..., ref.Parameters], error: float | None) -> None:
    x, err = draw(60, TRIPLE, 7, error)
    mixture = ([0.2, 0.3, 0.5], [-3.0, 0.0, 1.0], [0.3, 2.0, 1.0])
    values = [ref.loglik(x, err, *mixture)]
    for _ in range(12):
        mixture = step(x, err, *mixture)
        values.append(ref.loglik(x, err, *mixture))
    assert min(np.diff(values)) > -1e-11
    assert values[-1] > values[0] + 1
    assert sum(mixture[0]) == pytest.approx(1, abs=1e-14)


def test_all_variants_share_their_fixed_point_and_the_score_vanishes_there() -> None:
    x, err = draw(80, PAIR, 8)
    start = ([0.5, 0.5], [0.5, 3.5], [0.8, 0.8])
    fits = [converge(step, x, err, start) for step in EM_STEPS]
    for fit in fits[1:]:
        assert flat(fit) == pytest.approx(flat(fits[0]), abs=1e-7)
    gradient, hessian = ref.gradient_and_hessian(x, err, *log_form(fits[0]))
    assert gradient == pytest.approx([0] * 6, abs=1e-7)
    assert half_decrement(gradient, hessian) < 1e-12


def test_equal_errors_are_a_plain_fit_with_the_error_taken_out() -> None:
    x, err = draw(80, PAIR, 9, error=0.3)
    plain = ([0.5, 0.5], [0.5, 3.5], [0.8, 0.8])
    for _ in range(400):
        plain = ref.em_plain(x, *plain)
    limit = ref.equal_errors_limit(*plain, 0.3)
    assert ref.loglik(x, err, *limit) == pytest.approx(ref.loglik(x, [0.0] * 80, *plain), rel=1e-13)
    for step in EM_STEPS:
        assert flat(step(x, err, *limit)) == pytest.approx(flat(limit), abs=1e-9)
    assert ref.equal_errors_limit([1.0], [0.0], [0.2], 0.3) == ([1.0], [0.0], [0.0])


# True values and the observed density


def test_posterior_of_one_component_is_the_conjugate_normal() -> None:
    x, err = [2.0, -3.0, 20.0, 1.5], [1.0, 0.1, 3.0, 0.0]
    means, sds = ref.true_posterior(x, err, [1.0], [1.0], [2.0])
    for xi, ei, mean, sd in zip(x, err, means, sds, strict=True):
        assert mean == pytest.approx(1 + 4 * (xi - 1) / (4 + ei**2), rel=1e-9)
        assert sd == pytest.approx(math.sqrt(4 * ei**2 / (4 + ei**2)), rel=1e-8)


def test_posterior_of_a_mixture_from_its_components() -> None:
    w, m, s = [0.3, 0.5, 0.2], [-1.0, 0.5, 3.0], [1.5, 0.05, 0.0]
    x, err = [-0.5, 1.0, 2.2], [0.4, 0.9, 1.3]
    means, sds = ref.true_posterior(x, err, w, m, s)
    for i, (xi, ei) in enumerate(zip(x, err, strict=True)):
        parts = [wj * normal_pdf(xi, mj, sj**2 + ei**2) for wj, mj, sj in zip(w, m, s, strict=True)]
        centres = [mj + sj**2 * (xi - mj) / (sj**2 + ei**2) for mj, sj in zip(m, s, strict=True)]
        spreads = [sj**2 * ei**2 / (sj**2 + ei**2) for sj in s]
        mean = sum(p * c for p, c in zip(parts, centres, strict=True)) / sum(parts)
        variance = sum(p * (v + (c - mean) ** 2) for p, c, v in zip(parts, centres, spreads, strict=True)) / sum(parts)
        assert means[i] == pytest.approx(mean, rel=1e-8)
        assert sds[i] == pytest.approx(math.sqrt(variance), rel=1e-8)


@pytest.mark.parametrize("last_width", [0.2, 0.0])
@pytest.mark.parametrize(("x", "err"), [(0.3, 0.5), (-4.0, 0.02), (3.1, 2.0), (0.7, 0.0), (9.0, 0.0)])
def test_observed_density_and_distribution(x: float, err: float, last_width: float) -> None:
    w, m, s = TRIPLE[0], TRIPLE[1], [*TRIPLE[2][:2], last_width]
    total = [max(sj**2 + err**2, 1e-300) for sj in s]
    pdf = sum(wj * normal_pdf(x, mj, t) for wj, mj, t in zip(w, m, total, strict=True))
    cdf = sum(wj * 0.5 * math.erfc(-(x - mj) / math.sqrt(2 * t)) for wj, mj, t in zip(w, m, total, strict=True))
    assert ref.observed_pdf(x, err, w, m, s) == pytest.approx(pdf, rel=1e-8)
    assert ref.observed_cdf(x, err, w, m, s) == pytest.approx(cdf, rel=1e-8)


# Moments


def test_hermite_identity_removes_gaussian_noise_exactly() -> None:
    # Gauss quadrature in place of noise: 8 nodes integrate polynomials up to degree 15 without error.
    nodes, node_weights = hermegauss(8)
    truth, errors = [-0.7, 0.4, 2.0], [0.5, 1.0, 0.2]
    x = [z + e * t for z, e in zip(truth, errors, strict=True) for t in nodes]
    err = [e for e in errors for _ in nodes]
    weights = [v for _ in truth for v in node_weights]
    expected = [sum(z**k for z in truth) / 3 for k in range(1, 9)]
    assert ref.intrinsic_moments(x, err, 8, weights) == pytest.approx(expected, rel=1e-11)


def test_hermite_polynomials_written_out() -> None:
    x, e = 1.7, 0.6
    assert ref.intrinsic_moments([x], [e], 6) == pytest.approx(
        [
            x,
            x**2 - e**2,
            x**3 - 3 * x * e**2,
            x**4 - 6 * x**2 * e**2 + 3 * e**4,
            x**5 - 10 * x**3 * e**2 + 15 * x * e**4,
            x**6 - 15 * x**4 * e**2 + 45 * x**2 * e**4 - 15 * e**6,
        ],
        rel=1e-13,
    )


def test_moments_of_a_mixture_reproduce_pearsons_acceptance_case() -> None:
    weight = 0.672375746577542
    found = ref.mixture_moments(
        [weight, 1 - weight], [-0.0964001259983833, 9.45613788320574], [1.93947261516827, 3.31424965505908], 5
    )
    expected = [
        3.033243007556774,
        35.429816643767715,
        378.3815897586502,
        4697.59347129467,
        60793.208071695706,
    ]
    assert found == pytest.approx(expected, rel=1e-13)


# The optimiser


def test_gradient_of_the_objective_agrees_with_finite_differences() -> None:
    x, err = (np.array(a) for a in draw(50, TRIPLE, 10))
    counts = np.linspace(0.5, 2.0, 50)
    theta = np.array([0.2, -0.3, 0.5, -1.0, 0.4, 2.5, 0.3, -0.2, -1.0])
    value, gradient = ref.objective(theta, x, err**2, counts, 3)
    w = np.exp(theta[:3]) / np.exp(theta[:3]).sum()
    assert -value * counts.sum() == pytest.approx(
        ref.loglik(x, err, w, theta[3:6], np.exp(theta[6:]), counts), rel=1e-13
    )
    for k in range(9):
        step = np.eye(9)[k] * 1e-5
        numeric = (
            ref.objective(theta + step, x, err**2, counts, 3)[0] - ref.objective(theta - step, x, err**2, counts, 3)[0]
        )
        assert gradient[k] == pytest.approx(numeric / 2e-5, rel=1e-6, abs=1e-9)


def test_maximise_one_component_in_closed_form() -> None:
    x, err = draw(40, ([1.0], [1e4], [30.0]), 11, error=5.0)
    value, (w, m, s) = ref.maximise(x, err, 1, 3, np.random.default_rng(1))
    mean = sum(x) / 40
    variance = sum((xi - mean) ** 2 for xi in x) / 40
    assert w == [1.0]
    assert m == [pytest.approx(mean, rel=1e-9)]
    assert s == [pytest.approx(math.sqrt(variance - 25), rel=1e-5)]
    assert value == pytest.approx(-20 * (math.log(2 * math.pi * variance) + 1), abs=1e-9)


def test_maximise_is_no_worse_than_em_and_reports_its_own_loglik() -> None:
    x, err = draw(80, PAIR, 8)
    value, best = ref.maximise(x, err, 2, 10, np.random.default_rng(2))
    assert value == pytest.approx(ref.loglik(x, err, *best), abs=1e-9)
    assert value >= ref.loglik(x, err, *converge(ref.em_exact, x, err, PAIR)) - 1e-8


def test_maximise_needs_a_floor_for_exact_rows() -> None:
    with pytest.raises(ValueError, match="sigma_floor"):
        ref.maximise([1.0, 2.0, 3.0], [0.1, 0.0, 0.1], 1, 1, np.random.default_rng(1))


# Published and agreed fits of real catalogs


def test_overlapping_components(catalogs: Path) -> None:
    path = catalogs / "reference" / "overlap_1e4.csv"
    x, err = column(path, "x"), column(path, "e")
    assert ref.loglik(x, err, *OVERLAP) == pytest.approx(-19830.2065771302, abs=1e-8)
    gradient, hessian = ref.gradient_and_hessian(x, err, *log_form(OVERLAP))
    assert half_decrement(gradient, hessian) < 1e-10
    value, best = ref.maximise(x, err, 3, 4, np.random.default_rng(1))
    assert value == pytest.approx(-19830.2065771302, abs=1e-6)
    assert flat(best) == pytest.approx(flat(OVERLAP), abs=1e-4)
    bare, _ = ref.maximise(x, [0.0] * len(x), 3, 4, np.random.default_rng(1), sigma_floor=0.01)
    assert bare == pytest.approx(-19894.29671228, abs=1e-6)


def test_galaxy_velocities(catalogs: Path) -> None:
    x = column(catalogs / "reference" / "galaxies.csv", "x")
    for n_components, bic in [(3, 441.6122), (4, 443.3814)]:
        value, _ = ref.maximise(x, [0.0] * 82, n_components, 30, np.random.default_rng(1), sigma_floor=0.2)
        assert ref.criteria(value, 0.0, 3 * n_components - 1, 82)["bic"] == pytest.approx(bic, abs=2e-4)


def test_faithful_waiting_times_with_equal_widths(catalogs: Path) -> None:
    x = column(catalogs / "reference" / "faithful_waiting.csv", "x")
    mixture = ([0.3608498, 0.6391502], [54.61364, 80.09031], [5.869089, 5.869089])
    err = [0.0] * len(x)
    assert ref.loglik(x, err, *mixture) == pytest.approx(-1034.002, abs=5e-4)
    tie = np.zeros((6, 5))
    tie[:4, :4] = np.eye(4)
    tie[4:, 4] = 1.0
    assert half_decrement(*ref.gradient_and_hessian(x, err, *log_form(mixture)), tie) < 1e-8


def test_weldons_crabs_have_the_moments_of_pearsons_components(catalogs: Path) -> None:
    path = catalogs / "reference" / "crabs.csv"
    classes, counts = column(path, "class"), column(path, "count")
    found = ref.mixture_moments([0.42405884, 0.57594116], [13.39801, 19.30311], [4.51164, 3.10942], 5)
    assert found == pytest.approx(ref.intrinsic_moments(classes, [0.0] * 29, 5, counts), rel=1e-6)


def test_neutron_star_masses(catalogs: Path) -> None:
    path = catalogs / "neutron_stars" / "2018.csv"
    x, err = column(path, "mass"), column(path, "mass_err_up")
    rng = np.random.default_rng(1)
    bics = {}
    for n_components in (1, 2, 3):
        value, best = ref.maximise(x, err, n_components, 20, rng)
        bics[n_components] = ref.criteria(value, 0.0, 3 * n_components - 1, 57)["bic"]
        if n_components == 2:
            assert best[0] == pytest.approx([0.72, 0.28], abs=5e-3)
            assert flat(best)[2:] == pytest.approx([1.346, 1.782, 0.078, 0.144], abs=6e-4)
    assert min(bics, key=bics.get) == 2
    _, bare = ref.maximise(x, [0.0] * 57, 2, 20, rng, sigma_floor=0.03)
    assert [bare[0][1], bare[1][1], bare[2][1]] == pytest.approx([0.58, 1.625, 0.3], abs=6e-3)
