"""What fits answer in Python, rows that lack something, and words that are written with capitals."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from astropy import units as u
from astropy.table import MaskedColumn, Table
from matplotlib.figure import Figure
from scipy.optimize import minimize
from scipy.special import logsumexp
from scipy.stats import norm

import mixpipe
from mixpipe.assess.bootstrap import bootstrap
from mixpipe.assess.profile import profile_intervals
from mixpipe.fitting.doubts import doubts_about
from mixpipe.model.memberships import as_memberships
from mixpipe.model.noise import HeavyTailed
from mixpipe.model.results import FitResult, Selection

RNG = np.random.default_rng(5)
ERR = RNG.uniform(0.2, 0.6, 80)
X = np.where(np.arange(80) % 3 > 0, RNG.normal(0.0, 1.0, 80), RNG.normal(6.0, 0.8, 80)) + ERR * RNG.normal(size=80)


@pytest.fixture(scope="module")
def fit():
    return mixpipe.fit_mixture(X, ERR, n_components=2)


def by_hand(mixture, x, err):
    """w_j N(x | m_j, s_j^2 + e^2), normalised."""
    total = np.hypot(mixture.sigmas, np.reshape(err, (-1, 1)))
    parts = mixture.weights * norm.pdf(np.reshape(x, (-1, 1)), mixture.means, total)
    return parts / parts.sum(axis=1, keepdims=True)


def test_responsibilities_are_those_of_the_formula(fit):
    expected = by_hand(fit.mixture, X, ERR)
    np.testing.assert_allclose(fit.responsibilities(X, ERR), expected, rtol=1e-12, atol=1e-300)
    assert fit.predict(X, ERR).tolist() == expected.argmax(axis=1).tolist()
    assert fit.predict([0.0, 6.0]).tolist() == [0, 1]
    # One value is a number, and a row that says nothing has the weights.
    assert fit.responsibilities(3.0, 0.1).shape == (2,)
    np.testing.assert_allclose(fit.responsibilities([9.0], [np.inf])[0], fit.mixture.weights)


def test_errors_are_taken_as_the_fit_has_taken_them(fit):
    pair = [0.5 * ERR, 1.5 * ERR]
    symmetric = mixpipe.fit_mixture(X, pair, n_components=2, error_model="symmetric")
    np.testing.assert_allclose(symmetric.responsibilities(X, pair), by_hand(symmetric.mixture, X, ERR), rtol=1e-12)
    sided = mixpipe.fit_mixture(X, pair, n_components=2)
    assert sided.error_model == "two_sided"
    expected = sided.mixture.responsibilities(X, np.stack(pair))
    np.testing.assert_allclose(sided.responsibilities(X, tuple(pair)), expected, rtol=1e-12)
    assert np.abs(expected - by_hand(sided.mixture, X, ERR)).max() > 1e-3
    tails = mixpipe.fit_mixture(X, ERR, n_components=2, error_model="student_t", error_dof=3)
    assert (tails.error_model, tails.error_dof) == ("student_t", 3.0)
    expected = tails.mixture.responsibilities(X, HeavyTailed(ERR, 3.0))
    np.testing.assert_allclose(tails.responsibilities(X, ERR), expected, rtol=1e-12)
    scaled = mixpipe.fit_mixture(X, ERR / 2, n_components=2, error_scale=2.0)
    np.testing.assert_allclose(scaled.mixture.means, fit.mixture.means, rtol=1e-12)
    np.testing.assert_allclose(scaled.responsibilities(X, ERR / 2), fit.responsibilities(X, ERR), rtol=1e-9)
    assert mixpipe.fit_mixture(X, n_components=1).error_model == "none"


def test_units_are_converted_and_missing_values_refused(fit):
    in_mas = mixpipe.fit_mixture(X * u.mas, ERR * u.mas, n_components=2)
    expected = fit.responsibilities(X, ERR)
    np.testing.assert_allclose(in_mas.responsibilities(1e3 * X * u.uas, 1e3 * ERR * u.uas), expected, rtol=1e-9)
    with pytest.raises(ValueError, match="x is in s, which cannot be converted to mas"):
        in_mas.responsibilities(X * u.s, ERR * u.s)
    with pytest.raises(ValueError, match="x has 2 missing values, the first at index 1"):
        fit.predict([0.0, np.nan, np.nan], 0.1)
    with pytest.raises(ValueError, match="err has 1 missing values, the first at index 0"):
        fit.responsibilities([0.0, 1.0], [np.nan, 0.1])


def test_several_columns_answer_in_their_units():
    table = np.column_stack([X, X + RNG.normal(size=80)])
    err = np.column_stack([ERR, ERR])
    x = Table({"a": table[:, 0] * u.mas, "b": table[:, 1] * u.km}, copy=False)
    errors = Table({"a": err[:, 0] * u.mas, "b": err[:, 1] * u.km})
    fit = mixpipe.fit_mixture(x, errors, n_components=2)
    expected = fit.mixture.responsibilities(table, err)
    np.testing.assert_allclose(fit.responsibilities(x, errors), expected, rtol=1e-12)
    other = Table({"a": 1e3 * table[:, 0] * u.uas, "b": 1e3 * table[:, 1] * u.m})
    others = Table({"a": 1e3 * err[:, 0] * u.uas, "b": 1e3 * err[:, 1] * u.m})
    np.testing.assert_allclose(fit.responsibilities(other, others), expected, rtol=1e-9)
    assert fit.predict(other, others).tolist() == expected.argmax(axis=1).tolist()
    wrong = Table({"a": table[:, 0] * u.s, "b": table[:, 1] * u.km})
    with pytest.raises(ValueError, match="a is in s, which cannot be converted to mas"):
        fit.predict(wrong)


LACKING = [3, 10, 11]


def lacking(kind):
    """Values, two of which are missing, and errors, one of which is, in the types that people have."""
    x, err = X.copy(), ERR.copy()
    x[LACKING[:2]], err[LACKING[2]] = np.nan, np.nan
    if kind == "series":
        return pd.Series(x, index=np.arange(80) + 7), pd.Series(err, index=np.arange(80) + 7)
    if kind == "list":
        return [None if np.isnan(value) else value for value in x], err.tolist()
    if kind == "masked":
        return MaskedColumn(X, mask=np.isnan(x)), MaskedColumn(ERR, mask=np.isnan(err))
    if kind == "quantity":
        return x * u.mas, 1e3 * err * u.uas
    return x, err


@pytest.mark.parametrize("kind", ["array", "series", "list", "masked", "quantity"])
def test_rows_that_lack_something_are_left_out_on_request(kind):
    x, err = lacking(kind)
    rest = np.delete(np.arange(80), LACKING)
    expected = mixpipe.fit_mixture(X[rest], ERR[rest], n_components=2)
    fit = mixpipe.fit_mixture(x, err, n_components=2, missing="drop")
    np.testing.assert_allclose(fit.mixture.means, expected.mixture.means, rtol=1e-9 if kind == "quantity" else 0)
    assert fit.n_data == 77
    assert fit.dropped == {"missing_value": 2, "missing_error": 1}
    assert "left out: 2 rows (missing value), 1 row (missing error)" in fit.summary()
    assert "left out were 2 rows (missing value), 1 row (missing error)" in fit.methods()
    with pytest.raises(ValueError, match=r"finite|nan|missing"):
        mixpipe.fit_mixture(x, err, n_components=2)


def test_what_belongs_to_the_rows_goes_with_them():
    x, err = lacking("array")
    rest = np.delete(np.arange(80), LACKING)
    weights = RNG.integers(1, 4, 80).astype(float)
    weights[20] = np.nan
    labels = np.where(X > 3.0, "far", "")
    low = np.full(80, -9.0)
    low[rest[-1]] = -8.0
    rest = rest[rest != 20]
    options = {"n_components": 2, "start": {"means": [0.0, 6.0], "sigmas": [1.0, 1.0]}}
    got = mixpipe.fit_mixture(
        x,
        [err, 1.2 * err],
        weights=weights,
        membership=labels,
        truncated=(low, None),
        missing="drop",
        **options,
    )
    expected = mixpipe.fit_mixture(
        X[rest],
        [ERR[rest], 1.2 * ERR[rest]],
        weights=weights[rest],
        membership=labels[rest],
        truncated=(low[rest], None),
        **options,
    )
    assert got.loglik == expected.loglik
    assert got.dropped == {"missing_value": 2, "missing_error": 1, "missing_weight": 1}
    limits = np.where(np.arange(80) % 9 == 0, -1, 0)
    got = mixpipe.choose_n_components(x, err, limits=limits, max_components=2, missing="drop")
    rest = np.delete(np.arange(80), LACKING)
    expected = mixpipe.choose_n_components(X[rest], ERR[rest], limits=limits[rest], max_components=2)
    assert [fit.loglik for fit in got.fits] == [fit.loglik for fit in expected.fits]
    assert got.best.dropped == {"missing_value": 2, "missing_error": 1}


def test_other_ways_with_missing_rows_are_refused():
    with pytest.raises(ValueError, match="missing is 'ignore', expected error or drop"):
        mixpipe.fit_mixture(X, ERR, n_components=1, missing="ignore")
    with pytest.raises(ValueError, match="missing is for one column"):
        mixpipe.fit_mixture(np.column_stack([X, X]), 0.1, n_components=1, missing="drop")
    # These errors fit to the rows that are left, but not to those that were given.
    with pytest.raises(ValueError, match="x has 3 values, but what belongs to them has 2"):
        mixpipe.fit_mixture([1.0, np.nan, 2.0], [0.1, 0.2], n_components=1, missing="drop")


def test_capitals_are_letters():
    plain = mixpipe.choose_n_components(X, ERR, max_components=2, criterion="aic", background="uniform")
    capital = mixpipe.choose_n_components(X, ERR, max_components=2, criterion="AIC", background="Uniform")
    assert [fit.loglik for fit in capital.fits] == [fit.loglik for fit in plain.fits]
    assert capital.criterion == "aic"
    fit = mixpipe.fit_mixture(X, ERR, n_components=1, family="Laplace", weight_kind="AUTO", error_model="Symmetric")
    assert fit.mixture.family == "laplace"
    joint = mixpipe.fit_mixture(np.column_stack([X, X]), 0.1, n_components=1, structure="Diagonal")
    assert joint.structure == "diagonal"


def test_figures_are_drawn_into_axes(fit):
    figure, axes = plt.subplots(1, 2)
    assert fit.plot(X, ERR, label="mass", ax=axes[0]) is figure
    assert fit.plot(ax=axes[1]) is figure
    assert all(len(axis.get_lines()) >= 2 for axis in axes)
    assert axes[0].get_xlabel() == "mass"
    assert axes[1].get_legend() is not None
    plt.close(figure)
    joint = mixpipe.fit_mixture(np.column_stack([X, X]), 0.1, n_components=1)
    with pytest.raises(ValueError, match="panels of its own"):
        joint.plot(ax=axes[0])
    picture = mixpipe.choose_n_components(X, ERR, max_components=2).plot(label="mass")
    assert isinstance(picture, Figure)


@pytest.mark.parametrize("start", [{"means": [0.0, 5.0], "sigmas": [0.1, 0.1]}, [0, 0, 0, 1, 1, 1]])
def test_a_start_says_how_many_components_there_are(start):
    x = [0.0, 0.1, 0.2, 5.0, 5.1, 5.3]
    found = mixpipe.fit_mixture(x, 0.1, start=start)
    assert found.loglik == pytest.approx(mixpipe.fit_mixture(x, 0.1, n_components=2).loglik, abs=1e-6)
    with pytest.raises(ValueError, match="expected a Mixture, a mapping"):
        mixpipe.fit_mixture(x, 0.1, start=0.5)


@pytest.mark.parametrize("option", [{"error_scale": float("1.0")}, {"error_scale": 1}, {"known": []}, {"fixed": {}}])
def test_options_that_ask_for_nothing_are_no_options_of_one_column(option):
    x = np.random.default_rng(0).normal(size=(30, 2))
    assert mixpipe.fit_mixture(x, 0.1, n_components=1, **option).n_components == 1


def test_doubts_about_a_choice_are_said_once_and_name_the_penalty():
    rng = np.random.default_rng(3)
    z = np.concatenate([rng.normal(0.0, 1.0, 30), rng.normal(2.7, 1.0, 30)])
    start = mixpipe.Mixture([0.4, 0.3, 0.3], [-1.0, 1.0, 3.0], [0.5, 0.5, 0.5])
    best = mixpipe.choose_n_components(z, 0.2, max_components=2, start=start).best
    assert sum("largest number tried" in text for text in best.warnings) == 1
    one = FitResult(mixpipe.Mixture([1.0], [0.0], [1.0]), "em", -100.0, 0.0, 100.0, 2, True)
    two = FitResult(mixpipe.Mixture([0.5, 0.5], [0.0, 3.0], [1.0, 1.0]), "em", -90.0, 0.0, 100.0, 5, True, occam=3.5)
    assert two.bic < one.bic
    assert doubts_about(Selection((one, two)), None, 5) == (
        "BIC of 2 components, penalties included, is only 0.82 higher",
    )


TWO_GROUPS = np.concatenate([RNG.normal(0.0, 1.0, 60), RNG.normal(6.0, 1.0, 40)])


@pytest.mark.parametrize("dtype", [object, "string"])
def test_memberships_in_a_series(dtype):
    labels = ["a", None] * 50
    series = pd.Series(labels, dtype=dtype)
    priors, names = as_memberships(series, 100)
    assert names == ("a",)
    np.testing.assert_array_equal(priors, as_memberships(labels, 100)[0])
    np.testing.assert_array_equal(as_memberships(series.to_numpy(), 100)[0], priors)
    assert as_memberships(pd.Series([2, None, 10], dtype="Int64"), 3)[1] == ("2", "10")
    assert as_memberships(["\u00b2", "b"], 2)[1] == ("b", "\u00b2")


def test_bimodality_in_another_unit():
    z = RNG.normal(0.0, 1.0, 200).round(1)
    fit = mixpipe.fit_mixture(z * u.km, 0.02 * u.km, n_components=2)
    ratios = [fit.bimodality(factor * z * unit, 0.02 * factor * unit, n_draws=0).likelihood_ratio
              for factor, unit in ((1.0, u.km), (1000.0, u.m))]  # fmt: skip
    assert ratios[1] == pytest.approx(ratios[0], abs=1e-6)


def test_bimodality_takes_the_weights_and_the_floor_of_the_fit():
    weights = np.r_[np.full(60, 2.0), np.full(40, 3.0)]
    fit = mixpipe.fit_mixture(TWO_GROUPS, 0.2, weights=weights, weight_kind="importance", n_components=2)
    one = mixpipe.fit_mixture(TWO_GROUPS, 0.2, weights=weights, weight_kind="importance", n_components=1)
    found = fit.bimodality(TWO_GROUPS, 0.2, weights, n_draws=0)
    assert found.likelihood_ratio == pytest.approx(2.0 * (fit.loglik - one.loglik), abs=1e-6)
    wide = mixpipe.fit_mixture(TWO_GROUPS, n_components=2, sigma_floor=2.0)
    one = mixpipe.fit_mixture(TWO_GROUPS, n_components=1, sigma_floor=2.0)
    ratio = wide.bimodality(TWO_GROUPS, n_draws=0).likelihood_ratio
    assert ratio == pytest.approx(2.0 * (wide.loglik - one.loglik), abs=1e-6)


def test_the_test_of_bimodality_is_for_one_family():
    fit = mixpipe.fit_mixture(TWO_GROUPS, 0.2, n_components=2, mixed=("laplace", "gaussian"))
    if len(set(fit.mixture.families)) == 1:
        fit = fit.with_rows(mixture=replace(fit.mixture, families=("laplace", "gaussian")))
    assert np.isnan(fit.bimodality(TWO_GROUPS, 0.2, n_draws=3).likelihood_ratio_pvalue)


def test_degrees_of_freedom_are_finite():
    with pytest.raises(ValueError, match="expected a finite number >= 1"):
        mixpipe.fit_mixture(X, ERR, n_components=1, error_model="student_t", error_dof=np.inf)


def test_profiles_of_tied_weights():
    cells = mixpipe.Cells.from_rows(TWO_GROUPS, 0.2)
    both = mixpipe.fit_mixture(cells, n_components=2, tied={"weights": [1, 1]})
    np.testing.assert_allclose(profile_intervals(cells, both).weights, 0.5)
    three = mixpipe.fit_mixture(cells, n_components=3, tied={"weights": [1, 1, None]})
    tied = [rule.tie("weights") is not None for rule in three.mixture.constraints]
    assert profile_intervals(cells, three).weights[1, tied].max() <= 0.5


def test_a_prior_is_that_of_profiles_and_bootstrap_too():
    x = np.concatenate([RNG.normal(0.0, 0.2, 30), RNG.normal(5.0, 0.2, 30)])
    cells = mixpipe.Cells.from_rows(x, 0.1)
    fit = mixpipe.fit_mixture(cells, n_components=2, prior={"min_rows": 5})
    low, high = profile_intervals(cells, fit).sigmas
    assert np.all((low < fit.mixture.sigmas) & (fit.mixture.sigmas < high))
    drawn = bootstrap(cells, fit, 100, seed=1)
    np.testing.assert_allclose(np.nanmedian(drawn.sigmas, axis=0), fit.mixture.sigmas, rtol=0.1)


def with_prior(x, err, n_rows, weights, means, sigmas):
    """The log-likelihood and the logarithm of the conjugate prior, in which each component has some rows more."""
    total = np.hypot(sigmas, err)
    loglik = norm.logpdf(x[:, None], means, total) + np.log(weights)
    spread = np.var(x) / len(means) ** 2
    return logsumexp(loglik, axis=1).sum(), n_rows * np.sum(np.log(weights) - np.log(total) - 0.5 * spread / total**2)


def test_with_a_prior_every_number_of_components_has_its_own_maximum():
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.normal(0.0, 1.0, 40), rng.normal(2.0, 0.3, 10)])
    found = mixpipe.choose_n_components(x, 0.1, max_components=3, prior={"min_rows": 5})
    for m, fit in enumerate(found.fits, start=1):
        mixture = fit.mixture
        by_hand = with_prior(x, 0.1, 5.0, mixture.weights, mixture.means, mixture.sigmas)
        assert (fit.loglik, fit.log_prior) == pytest.approx(by_hand, abs=1e-6)

        def lost(point, m=m):
            weights = np.exp(point[:m]) / np.exp(point[:m]).sum()
            return -sum(with_prior(x, 0.1, 5.0, weights, point[m : 2 * m], np.exp(point[2 * m :])))

        starts = [np.concatenate([np.zeros(m), rng.choice(x, m), np.log(rng.uniform(0.2, 1.5, m))]) for _ in range(20)]
        best = min(minimize(lost, start).fun for start in starts)
        assert fit.loglik + fit.log_prior == pytest.approx(-best, abs=1e-3)
    plain = mixpipe.fit_mixture(x, 0.1, n_components=2).mixture
    again = mixpipe.choose_n_components(x, 0.1, max_components=3, prior={"min_rows": 5}, start=plain)
    assert not any("missed" in text for fit in again.fits for text in fit.warnings)


def test_a_prior_that_changes_what_has_no_uncertainty_says_so():
    warnings = mixpipe.fit_mixture(TWO_GROUPS[:40], 0.2, n_components=2, prior={"min_rows": 20}).warnings
    assert not any("more than 0 uncertainties" in text for text in warnings)


def test_no_width_is_excluded_of_the_tail_of_a_component():
    x = np.random.default_rng(1).normal(0.0, 1.0, 60)[:40]
    cells = mixpipe.Cells.from_rows(x[x > 0.0], 0.2, truncated=(0.0, None))
    fit = mixpipe.fit_mixture(cells, n_components=1)
    found = profile_intervals(cells, fit, 0.95)
    assert found.sigmas[1, 0] == np.inf
    assert found.means[0, 0] == -np.inf
