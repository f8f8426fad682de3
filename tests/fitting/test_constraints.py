"""Mixtures of which something is given, shared or known, against likelihoods written out for each and SciPy."""

import math
from functools import partial

import numpy as np
import pytest
from scipy.optimize import approx_fprime, minimize
from scipy.special import logsumexp

import mixpipe
from mixpipe.assess.assessment import problem_of
from mixpipe.assess.bootstrap import bootstrap
from mixpipe.assess.profile import profile_intervals
from mixpipe.assess.simulation import likelihood_ratio_test, quality_pvalues
from mixpipe.model.cells import Cells
from mixpipe.model.constraints import Constraint, Constraints, as_constraints, satisfied
from mixpipe.model.memberships import as_memberships
from mixpipe.model.mixture import Mixture
from tests.campaign import campaign, mostly_study, study

pytestmark = pytest.mark.filterwarnings("error")


def catalog(n=400, seed=0, weight=0.3, means=(0.0, 4.0), sigmas=(1.0, 1.0)):
    """Values, errors, and which of two populations each row is of."""
    rng = np.random.default_rng(seed)
    second = rng.random(n) >= weight
    true = np.where(second, rng.normal(means[1], sigmas[1], n), rng.normal(means[0], sigmas[0], n))
    err = rng.lognormal(math.log(0.4), 0.4, n)
    return true + err * rng.normal(size=n), err, second.astype(int)


def loglik(x, err, weights, means, sigmas, priors=1.0):
    """Written from the definition: the mixture convolved with the errors."""
    total = np.square(sigmas) + np.square(err)[:, None]
    logs = -0.5 * (x[:, None] - np.asarray(means)) ** 2 / total - 0.5 * np.log(2.0 * math.pi * total)
    with np.errstate(divide="ignore"):
        return float(logsumexp(logs + np.log(weights * np.asarray(priors)), axis=1).sum())


# For each kind: the options, a map from free parameters to (weights, means, sigmas), and a start.
KINDS = {
    "a mean": (
        dict(fixed={"means": [0.0, None]}),
        lambda t: ([t[0], 1 - t[0]], [0.0, t[1]], [t[2], t[3]]),
        [0.3, 4.0, 1.0, 1.0],
    ),
    "a weight and a sigma": (
        dict(fixed={"weights": [0.35], "sigmas": [None, 0.9]}),
        lambda t: ([0.35, 0.65], [t[0], t[1]], [t[2], 0.9]),
        [0.0, 4.0, 1.0],
    ),
    "two weights of three": (
        dict(fixed={"weights": [0.2, 0.3, None]}),
        lambda t: ([0.2, 0.3, 0.5], t[:3], t[3:]),
        [0.0, 3.5, 4.5, 1.0, 1.0, 1.0],
    ),
    "one sigma for all": (
        dict(equal_sigmas=True),
        lambda t: ([t[0], 1 - t[0]], [t[1], t[2]], [t[3], t[3]]),
        [0.3, 0.0, 4.0, 1.0],
    ),
    "sigmas in a ratio": (
        dict(tied={"sigmas": [1.0, 1.5]}),
        lambda t: ([t[0], 1 - t[0]], [t[1], t[2]], [t[3], 1.5 * t[3]]),
        [0.7, 4.0, 0.0, 0.8],
    ),
    "weights in a ratio": (
        dict(tied={"weights": [1.0, 2.0]}),
        lambda t: ([1 / 3, 2 / 3], [t[0], t[1]], [t[2], t[3]]),
        [0.0, 4.0, 1.0, 1.0],
    ),
    "weights in a ratio beside a given one": (
        dict(fixed={"weights": [0.25, None, None]}, tied={"weights": [None, 1.0, 2.0]}),
        lambda t: ([0.25, 0.25, 0.5], t[:3], t[3:]),
        [0.0, 3.0, 4.5, 1.0, 1.0, 1.0],
    ),
    "means in a ratio": (
        dict(tied={"means": [1.0, 2.0]}),
        lambda t: ([t[0], 1 - t[0]], [t[1], 2 * t[1]], [t[2], t[3]]),
        [0.3, 2.0, 1.5, 1.0],
    ),
    "a component known from elsewhere": (
        dict(known=[{"mean": 0.1, "sigma": 1.1}]),
        lambda t: ([t[0], 1 - t[0]], [0.1, t[1]], [1.1, t[2]]),
        [0.3, 4.0, 1.0],
    ),
    "a spike": (
        dict(known=[{"mean": 0.0, "sigma": 0.0, "weight": 0.1}]),
        lambda t: ([0.1, 0.9], [0.0, t[0]], [0.0, t[1]]),
        [3.0, 2.0],
    ),
}


def maximum(objective, start):
    """The highest of several climbs by SciPy from near a start, on the free parameters."""
    rng = np.random.default_rng(1)

    def cost(t):
        with np.errstate(all="ignore"):
            value = -objective(t)
        return value if math.isfinite(value) else 1e10

    found = []
    for scale in (0.0, 0.05, 0.1, 0.2):
        t = np.array(start) * (1.0 + scale * rng.normal(size=len(start)))
        for _ in range(3):
            t = minimize(cost, t, method="Nelder-Mead", options={"maxiter": 4000, "xatol": 1e-7, "fatol": 1e-9}).x
        found.append((-cost(t), t))
    return max(found, key=lambda pair: pair[0])


@pytest.mark.parametrize("kind", KINDS)
def test_the_maximum_is_that_of_the_constrained_likelihood(kind):
    options, mixture_of, start = KINDS[kind]
    x, err, _ = catalog()
    size = len(mixture_of(start)[0])
    fit = mixpipe.fit_mixture(x, err, size, **options)
    best, at = maximum(lambda t: loglik(x, err, *mixture_of(t)), start)
    assert fit.converged
    assert fit.n_params == len(start)
    assert fit.loglik == pytest.approx(best, abs=1e-5) or fit.loglik > best
    # The mixture satisfies the constraints: it is that of some free parameters.
    assert loglik(x, err, fit.mixture.weights, fit.mixture.means, fit.mixture.sigmas) == pytest.approx(
        fit.loglik, abs=1e-8
    )
    if abs(fit.loglik - best) < 1e-5:
        weights, means, sigmas = (np.array(part) for part in mixture_of(at))
        order = np.argsort(means)
        assert fit.mixture.weights == pytest.approx(weights[order], abs=2e-4)
        assert fit.mixture.means == pytest.approx(means[order], abs=2e-3)
        assert fit.mixture.sigmas == pytest.approx(np.abs(sigmas[order]), abs=2e-3)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if len(KINDS[kind][2]) <= 4])
def test_uncertainties_are_those_of_the_free_parameters(kind):
    options, mixture_of, start = KINDS[kind]
    x, err, _ = catalog()
    fit = mixpipe.fit_mixture(x, err, 2, **options)
    _, at = maximum(lambda t: loglik(x, err, *mixture_of(t)), start)

    def parameters(t):
        return np.concatenate([np.asarray(part, dtype=float) for part in mixture_of(t)])

    def gradient(t):
        return approx_fprime(t, lambda u: loglik(x, err, *mixture_of(u)), 1e-5)

    steps = 1e-3 * np.eye(len(at))
    hessian = np.array([(gradient(at + step) - gradient(at - step)) / 2e-3 for step in steps])
    chain = np.array([(parameters(at + step) - parameters(at - step)) / 2e-3 for step in steps]).T
    expected = np.sqrt(np.diag(chain @ np.linalg.inv(-0.5 * (hessian + hessian.T)) @ chain.T)).reshape(3, 2)
    expected = expected[:, np.argsort(mixture_of(at)[1])]
    unc = fit.uncertainties
    for found, wanted, part in zip(
        (unc.weights, unc.means, unc.sigmas), expected, ("weights", "means", "sigmas"), strict=True
    ):
        given = np.array([rule.is_given(part) for rule in fit.mixture.constraints])
        moves = ~given & (wanted > 1e-9)
        assert np.isnan(found[given]).all()
        assert found[moves] == pytest.approx(wanted[moves], rel=0.02)


def test_constraints_of_a_maximum_cost_nothing():
    x, err, _ = catalog()
    free = mixpipe.fit_mixture(x, err, 2)
    part = {name: list(getattr(free.mixture, name)) for name in ("weights", "means", "sigmas")}
    for name, values in part.items():
        fit = mixpipe.fit_mixture(x, err, 2, fixed={name: values})
        assert fit.loglik == pytest.approx(free.loglik, abs=1e-6)
    everything = mixpipe.fit_mixture(x, err, 2, fixed=part)
    assert everything.loglik == pytest.approx(free.loglik, abs=1e-8)
    assert everything.n_params == 0
    assert np.isnan(everything.uncertainties.means).all()


def test_neither_the_order_of_rows_nor_of_lists_matters():
    x, err, _ = catalog()
    fit = mixpipe.fit_mixture(x, err, 3, fixed={"means": [0.0, 4.0]})
    swapped = mixpipe.fit_mixture(x[::-1], err[::-1], 3, fixed={"means": [None, 4.0, 0.0]})
    assert swapped.loglik == pytest.approx(fit.loglik, abs=1e-6)
    assert swapped.mixture.sigmas == pytest.approx(fit.mixture.sigmas, abs=1e-3)


@pytest.mark.parametrize(("scale", "shift"), [(1e-3, 0.0), (-2.0, 50.0), (1e4, -3e4)])
def test_equivariance(scale, shift):
    x, err, _ = catalog()
    here = mixpipe.fit_mixture(x, err, 2, fixed={"means": [0.0]}, tied={"sigmas": [1.0, 2.0]})
    there = mixpipe.fit_mixture(
        scale * x + shift, abs(scale) * err, 2, fixed={"means": [shift]}, tied={"sigmas": [1.0, 2.0]}
    )
    assert there.loglik + len(x) * math.log(abs(scale)) == pytest.approx(here.loglik, abs=1e-5)


def test_the_number_of_others_is_chosen():
    x, err, _ = catalog(800)
    selection = mixpipe.choose_n_components(x, err, max_components=4, fixed={"means": [0.0]})
    assert [fit.n_components for fit in selection.fits] == [1, 2, 3, 4]
    assert selection.best.n_components == 2
    assert all(0.0 in fit.mixture.means for fit in selection.fits)
    assert np.all(np.diff([fit.loglik for fit in selection.fits]) >= -1e-6)
    beside = mixpipe.choose_n_components(
        x, err, max_components=3, known=[{"mean": 0, "sigma": 1}], background="uniform"
    )
    assert beside.best.n_components == 2


@pytest.mark.parametrize("max_components", [1, 3])
def test_equal_sigmas_are_chosen_among(max_components):
    x, err, _ = catalog(800)
    selection = mixpipe.choose_n_components(x, err, max_components=max_components, equal_sigmas=True)
    for fit in selection.fits:
        assert np.ptp(fit.mixture.sigmas) == 0.0
        assert fit.n_params == 2 * fit.n_components
        assert np.isfinite(fit.uncertainties.sigmas).all() or fit.n_components == 3
    assert selection.best.n_components == min(max_components, 2)


def test_a_given_weight_leaves_the_rest_to_another_component():
    x, err, _ = catalog()
    selection = mixpipe.choose_n_components(x, err, max_components=3, fixed={"weights": [0.3]})
    assert [fit.n_components for fit in selection.fits] == [2, 3]
    assert all(0.3 in fit.mixture.weights for fit in selection.fits)


# Known members


def test_labels_enter_by_the_weight_of_their_component():
    x, err, second = catalog()
    known = np.arange(len(x)) < 100
    labels = np.where(known, np.where(second, "young", "old"), "")
    fit = mixpipe.fit_mixture(x, err, 2, membership=labels)
    # Labels are in the order of the alphabet.
    priors = np.where(known[:, None], np.stack([second == 0, second == 1], axis=1), 1.0)
    best, at = maximum(
        lambda t: loglik(x, err, [t[0], 1 - t[0]], [t[1], t[2]], [t[3], t[4]], priors), [0.3, 0.0, 4.0, 1.0, 1.0]
    )
    assert fit.loglik == pytest.approx(best, abs=1e-5)
    assert fit.mixture.means == pytest.approx(at[1:3], abs=2e-3)
    assert [rule.label for rule in fit.mixture.constraints] == ["old", "young"]


def test_members_say_which_of_two_coinciding_populations_is_which():
    x, err, second = catalog(600, means=(0.0, 0.0), sigmas=(0.3, 3.0))
    labels = np.where(np.arange(600) < 150, np.where(second, "wide", "narrow"), None)
    fit = mixpipe.fit_mixture(x, err, 2, membership=labels)
    wide = [rule.label for rule in fit.mixture.constraints].index("wide")
    assert fit.mixture.sigmas[wide] == pytest.approx(3.0, rel=0.15)
    assert fit.mixture.weights[wide] == pytest.approx(0.7, abs=0.06)


def test_rows_of_known_membership_stay_there():
    x, err, second = catalog()
    labels = np.where(np.arange(len(x)) < 50, second, -1)
    cells = Cells.from_rows(x, err, memberships=as_memberships(labels, len(x))[0])
    fit = mixpipe.fit_mixture(cells, n_components=2)
    resp = fit.mixture.responsibilities(x, err, memberships=cells.memberships)
    assert np.all(resp[:50].argmax(axis=1) == second[:50])
    assert resp[:50].max(axis=1) == pytest.approx(1.0)
    assert resp.sum(axis=1) == pytest.approx(1.0)
    plain = fit.mixture.responsibilities(x, err)
    assert resp[50:] == pytest.approx(plain[50:])
    moments = fit.mixture.posterior(x, err, None, cells.memberships)
    assert moments[0][50:] == pytest.approx(fit.mixture.posterior(x, err)[0][50:])


def test_priors_multiply_the_weights():
    x, err, second = catalog()
    prior = np.where(second == 0, 0.8, 0.1)
    fit = mixpipe.fit_mixture(x, err, 2, membership=prior)
    best, at = maximum(
        lambda t: loglik(x, err, [t[0], 1 - t[0]], [t[1], t[2]], [t[3], t[4]], np.stack([prior, 1.0 - prior], axis=1)),
        [0.3, 0.0, 4.0, 1.0, 1.0],
    )
    assert fit.loglik == pytest.approx(best, abs=1e-5)
    assert fit.mixture.weights[0] == pytest.approx(at[0], abs=2e-4)


def test_priors_of_equal_size_say_nothing():
    x, err, _ = catalog()
    free = mixpipe.fit_mixture(x, err, 2)
    fit = mixpipe.fit_mixture(x, err, 2, membership=np.full(len(x), 0.5))
    assert fit.loglik - len(x) * math.log(0.5) == pytest.approx(free.loglik, abs=1e-5)
    assert fit.mixture.means == pytest.approx(free.mixture.means, abs=1e-4)


@pytest.mark.parametrize(
    ("given", "labels", "first"),
    [
        (["b", "a", ""], ("a", "b"), [0.0, 1.0, 0.0]),
        ([10, 9, -1], ("9", "10"), [0.0, 1.0, 0.0]),
        ([1.0, 2.0, math.nan], ("1", "2"), [1.0, 0.0, 0.0]),
        (np.ma.MaskedArray(["x", "y", "z"], [False, False, True]), ("x", "y"), [1.0, 0.0, 0.0]),
        ([b"a ", b"b", None], ("a", "b"), [1.0, 0.0, 0.0]),
        ([0.25, 1.0, math.nan], ("1",), [0.25, 0.75]),
        ([[0.2, 0.3], [1, 0], [math.nan, math.nan]], ("1", "2"), [0.2, 0.3, 0.5]),
    ],
)
def test_memberships_are_read_as_people_write_them(given, labels, first):
    priors, found = as_memberships(given, 3)
    assert found == labels
    assert priors[0] == pytest.approx(first)
    assert np.all(priors[2] == 1.0)


# What follows from a fit


def test_refits_and_profiles_keep_the_constraints():
    x, err, _ = catalog(200)
    cells = Cells.from_rows(x, err)
    fit = mixpipe.fit_mixture(cells, n_components=2, fixed={"means": [0.0]}, tied={"sigmas": [1.0, 1.0]})
    draws = bootstrap(cells, fit, 60, 1)
    assert np.isnan(draws.means[:, 0]).all()
    assert draws.sigmas[:, 0] == pytest.approx(draws.sigmas[:, 1])
    unc = draws.uncertainties()
    assert unc.sigmas[0] == pytest.approx(fit.uncertainties.sigmas[0], rel=0.3)
    assert unc.means[1] == pytest.approx(fit.uncertainties.means[1], rel=0.3)
    intervals = profile_intervals(cells, fit, 0.68, calibrated=False)
    assert np.isnan(intervals.means[:, 0]).all()
    half = 0.5 * np.diff(intervals.means[:, 1])[0]
    assert half == pytest.approx(fit.uncertainties.means[1], rel=0.1)
    half = 0.5 * np.diff(intervals.sigmas, axis=0)[0]
    assert half == pytest.approx(fit.uncertainties.sigmas, rel=0.1)
    assert half[0] == pytest.approx(half[1], rel=1e-2)
    half = 0.5 * np.diff(intervals.weights, axis=0)[0]
    assert half == pytest.approx(fit.uncertainties.weights, rel=0.1)


@campaign
def test_profiles_beside_a_given_weight_end_where_the_rest_does():
    x, err, _ = catalog(200)
    cells = Cells.from_rows(x, err)
    fit = mixpipe.fit_mixture(cells, n_components=3, fixed={"weights": [0.3]})
    given = int(np.flatnonzero([rule.is_given("weights") for rule in fit.mixture.constraints])[0])
    intervals = profile_intervals(cells, fit, 0.95)
    assert np.isnan(intervals.weights[:, given]).all()
    others = np.delete(intervals.weights, given, axis=1)
    assert np.all((others >= 0.0) & (others <= 0.7 + 1e-9))


def test_the_problem_of_a_fit_is_the_one_that_was_given():
    x, err, _ = catalog(200)
    cells = Cells.from_rows(x, err)
    fit = mixpipe.fit_mixture(cells, n_components=2, known=[{"family": "laplace", "mean": 0.0}])
    problem = problem_of(cells, fit)
    assert problem.family == "gaussian"
    assert [(slot.family, slot.constraint.mean) for slot in problem.constraints.slots] == [("laplace", 0.0)]


@campaign
def test_chance_beside_a_known_component():
    x, err, _ = catalog(150)
    cells = Cells.from_rows(x, err)
    constraints = as_constraints(known=[{"mean": 0.0, "sigma": 1.0}])
    more = likelihood_ratio_test(cells, 1, constraints=constraints, n_draws=19)
    assert more.p_value == 0.05
    enough = likelihood_ratio_test(cells, 2, constraints=constraints, n_draws=19)
    assert enough.p_value > 0.05


def test_quality_knows_the_members():
    rng = np.random.default_rng(8)
    prior = rng.choice([0.9, 0.1], 300)
    own = 0.3 * prior / (0.3 * prior + 0.7 * (1.0 - prior))
    err = np.full(300, 0.4)
    x = np.where(rng.random(300) < own, rng.normal(0.0, 1.0, 300), rng.normal(4.0, 1.0, 300)) + 0.4 * rng.normal(
        size=300
    )
    cells = Cells.from_rows(x, err, memberships=as_memberships(prior, 300)[0])
    assert min(quality_pvalues(mixpipe.fit_mixture(cells, n_components=2), cells, 99)) > 0.02
    # Priors of the wrong rows are noticed.
    wrong = Cells.from_rows(x, err, memberships=as_memberships(np.where(np.arange(300) % 2, 0.99, 0.01), 300)[0])
    assert min(quality_pvalues(mixpipe.fit_mixture(wrong, n_components=2), wrong, 99)) == 0.01


# Families of different kinds


def test_mixed_families_are_chosen_by_what_the_data_are():
    rng = np.random.default_rng(5)
    x = np.concatenate([rng.normal(10.0, 0.3, 300), rng.exponential(5.0, 900)])
    err = np.full(x.size, 0.1)
    selection = mixpipe.choose_n_components(x, err, max_components=3, mixed=["gaussian", "exponential"])
    assert sorted(selection.best.mixture.families) == ["exponential", "gaussian"]
    line = selection.best.mixture.families.index("gaussian")
    assert selection.best.mixture.means[line] == pytest.approx(10.0, abs=0.1)
    assert selection.best.mixture.weights[line] == pytest.approx(0.25, abs=0.03)
    alone = mixpipe.choose_n_components(x, err, max_components=3, families=["gaussian"])
    assert selection.best.bic < alone.best.bic - 20.0


def test_a_known_family_is_there_whatever_the_data_are():
    x, err, _ = catalog()
    fit = mixpipe.fit_mixture(x, err, 2, known=[{"family": "exponential"}])
    assert sorted(fit.mixture.families) == ["exponential", "gaussian"]
    assert fit.n_params == 5


# Starts


@pytest.mark.parametrize("options", [{}, {"fixed": {"means": [0.0]}}, {"limits": "some"}, {"family": "laplace"}])
def test_starts_lead_where_the_search_does(options):
    x, err, second = catalog()
    if "limits" in options:
        options = {"limits": np.where(np.arange(len(x)) % 7 == 0, -1, 0)}
    best = mixpipe.fit_mixture(x, err, 2, **options)
    families = [options.get("family", "gaussian")] * 2
    start = {"means": [0.5, 3.5], "sigmas": [1.0, 1.0], "families": families}
    for given in (start, Mixture([0.5, 0.5], [0.5, 3.5], [1.0, 1.0], tuple(families))):
        assert mixpipe.fit_mixture(x, err, 2, start=given, **options).loglik == pytest.approx(best.loglik, abs=1e-4)
    if "family" not in options:
        assert mixpipe.fit_mixture(x, err, 2, start=second, **options).loglik == pytest.approx(best.loglik, abs=1e-4)
        shares = np.stack([1 - second, second], axis=1).astype(float)
        assert mixpipe.fit_mixture(x, err, 2, start=shares, **options).loglik == pytest.approx(best.loglik, abs=1e-4)


def test_a_start_beside_the_choice():
    x, err, _ = catalog()
    free = mixpipe.choose_n_components(x, err, max_components=3)
    begun = mixpipe.choose_n_components(x, err, max_components=3, start={"means": [0, 4], "sigmas": [1, 1]})
    assert [fit.loglik for fit in begun.fits] == [fit.loglik for fit in free.fits]


# Mistakes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(fixed={"mean": [0]}), "unknown part 'mean', expected weights, means, sigmas or shapes"),
        (dict(fixed={"means": 0}), "expected a list with a number or None"),
        (dict(fixed={"weights": [1.5]}), "the weight of component 1 is 1.5, expected a number from 0 to 1"),
        (dict(fixed={"weights": [0.6, 0.6]}), "the given weights sum to 1.2, expected at most 1"),
        (dict(fixed={"sigmas": [-1]}), "the sigma of component 1 is -1, expected a number >= 0"),
        (dict(fixed={"means": [0, 1, 2]}), "expected at least 3 components, found 2"),
        (dict(fixed={"weights": [0.2, 0.3]}), "expected at least 3 components, found 2"),
        (dict(tied={"sigmas": [1]}), "one of the sigmas alone"),
        (dict(tied={"weights": [1, -1]}), "weights of component 2 has -1, expected a number > 0"),
        (dict(tied={"means": [0, 1]}), "means of component 1 has 0"),
        (dict(tied={"means": [1, 1]}, fixed={"means": [0]}), "both fixed and tied"),
        (dict(tied={"sigmas": [1, 1]}, equal_sigmas=True), "equal_sigmas with tied sigmas"),
        (dict(known=[{"mu": 0}]), "unknown key 'mu', expected one of family, mean"),
        (dict(known=[{"family": "uniform", "mean": 0}]), "without a range: expected low and high"),
        (dict(known=[{"family": "cauchy"}]), "cauchy"),
        (dict(membership=["a"]), "one row for each value"),
        (dict(membership=[""] * 400), "no label at all"),
        (dict(membership=np.full(400, 1.5)), "outside 0 to 1"),
        (dict(membership=np.full((400, 2), 0.75)), "sum to more than 1"),
        (dict(start={"means": [0, 1]}), "means and sigmas"),
        (dict(start={"means": [0, 1], "sigmas": [1]}), "lists of different lengths"),
        (dict(start={"mean": [0, 1]}), "unknown key 'mean'"),
        (dict(start=[0, 1]), "for each of 400 rows"),
        (dict(mixed=["gaussian", "cauchy"]), "unknown family 'cauchy'"),
    ],
)
def test_mistakes_are_named(options, message):
    x, err, _ = catalog()
    with pytest.raises(ValueError, match=message):
        mixpipe.fit_mixture(x, err, 2, **options)


def test_constraints_survive_their_description():
    for rule in (
        Constraint(),
        Constraint(mean=0.0, weight=0.5),
        Constraint(ties=(("sigmas", "all", 1.0),), members=1, label="b"),
    ):
        assert Constraint.from_dict(rule.as_dict()).as_dict() == rule.as_dict()
    mixture = Mixture([0.5, 0.5], [4.0, 0.0], [1.0, 1.0], constraints=(Constraint(mean=4.0), Constraint()))
    assert [rule.text for rule in mixture.constraints] == ["", "mean given"]
    assert Constraints.of(mixture.families, mixture.constraints).slots[0].constraint.mean == 4.0


def test_the_nearest_mixture_satisfies_everything():
    rng = np.random.default_rng(3)
    rules = [
        Constraint(weight=0.2, ties=(("sigmas", "a", 1.0),)),
        Constraint(mean=3.0, ties=(("sigmas", "a", 2.0), ("weights", "b", 1.0))),
        Constraint(ties=(("weights", "b", 3.0),)),
    ]
    for _ in range(20):
        parts = {"weights": rng.dirichlet(np.ones(3)), "means": rng.normal(size=3), "sigmas": rng.random(3)}
        found = satisfied(parts | {"shapes": np.full(3, np.nan)}, rules, 0.3, 1e-100)
        assert found["weights"] == pytest.approx([0.2, 0.2, 0.6])
        assert found["means"][1] == 3.0
        assert found["sigmas"][1] == pytest.approx(2.0 * found["sigmas"][0])
        assert np.all(found["sigmas"] >= 0.3 - 1e-12)


# Recovery


def recovered(n_catalogs, options_of, seed):
    """For many catalogs: deviations from the truth in units of the stated uncertainty, for each fitted parameter."""
    truth = Mixture([0.3, 0.7], [0.0, 4.0], [1.0, 1.0])
    scores = []
    for k in range(n_catalogs):
        x, err, second = catalog(300, seed=10_000 * seed + k)
        fit = mixpipe.fit_mixture(x, err, 2, n_threads=1, **options_of(second))
        parts = ("weights", "means", "sigmas")
        off = np.concatenate([getattr(fit.mixture, part) - getattr(truth, part) for part in parts])
        unc = np.concatenate([getattr(fit.uncertainties, part) for part in parts])
        # What is given is the truth, and has no uncertainty.
        given = unc == 0.0
        assert np.all(np.abs(off[given]) < 1e-12)
        scores.append(np.divide(off, unc, out=np.full(len(off), math.nan), where=~given))
    return np.array(scores)


STUDIES = {
    "a mean": lambda second: {"fixed": {"means": [0.0]}},
    "one sigma for all": lambda second: {"equal_sigmas": True},
    "weights in a ratio": lambda second: {"tied": {"weights": [3.0, 7.0]}},
    "a known component": lambda second: {"known": [{"mean": 0.0, "sigma": 1.0}]},
    "labels": lambda second: {"membership": np.where(np.arange(300) < 100, second, -1)},
    "a given weight": lambda second: {"fixed": {"weights": [0.3]}},
}


@pytest.mark.parametrize("kind", mostly_study(STUDIES, campaigns=["labels"]))
def test_the_truth_is_recovered_with_its_uncertainty(kind):
    n = 150
    scores = recovered(n, partial(STUDIES[kind]), seed=list(STUDIES).index(kind))
    fitted = np.isfinite(scores).all(axis=0)
    assert fitted.any()
    # The mean of n scores scatters by 1 / sqrt(n), here beside a bias of a tenth of the uncertainty for few rows.
    assert np.all(np.abs(scores[:, fitted].mean(axis=0)) < 4.0 / math.sqrt(n) + 0.1)
    cover = np.mean(np.abs(scores[:, fitted]) < 1.0, axis=0)
    assert np.all(np.abs(cover - 0.683) < 4.0 * math.sqrt(0.683 * 0.317 / n))


@study
def test_a_factor_of_the_errors_is_recovered_with_its_uncertainty():
    """Errors that are stated too small by a factor of 0.7, and differ much from row to row."""
    n, scores = 100, []
    for seed in range(n):
        rng = np.random.default_rng(77_000 + seed)
        first = rng.random(600) < 0.4
        err = rng.lognormal(-0.5, 0.8, 600)
        x = np.where(first, rng.normal(0.0, 1.0, 600), rng.normal(5.0, 1.0, 600)) + err * rng.normal(size=600)
        fit = mixpipe.fit_mixture(x, 0.7 * err, 2, error_scale="fit", n_threads=1)
        sigmas = (fit.mixture.sigmas - 1.0) / fit.uncertainties.sigmas
        scores.append([(fit.error_scale - 1.0 / 0.7) / fit.error_scale_unc, *sigmas])
    scores = np.array(scores)
    assert np.all(np.abs(scores.mean(axis=0)) < 4.0 / math.sqrt(n) + 0.1)
    assert np.all(np.abs(np.mean(np.abs(scores) < 1.0, axis=0) - 0.683) < 4.0 * math.sqrt(0.683 * 0.317 / n))
