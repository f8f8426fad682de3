"""Bins and rounded values that are too few for the parameters of a mixture.

Expected values are closed forms, or SciPy's optimisers on likelihoods written out here.
"""

import math

import numpy as np
import pytest
from scipy.optimize import minimize, minimize_scalar
from scipy.stats import norm

import mixpipe
from mixpipe.fitting.choose import choose_from_rows
from mixpipe.model.cells import Cells
from mixpipe.model.rows import Rows

FLAT = "others fit as well"


def histogram(counts):
    return Cells.from_histogram(np.arange(len(counts) + 1.0), counts)


def said(fit):
    return [text for text in fit.warnings if FLAT in text]


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ([50, 50], "2 filled bins determine 1 number, but 1 component has 2 free parameters"),
        ([0, 80, 20, 0], "2 filled bins determine 1 number, but 1 component has 2 free parameters"),
        ([0, 50, 0], "1 filled bin determines no number, but 1 component has 2 free parameters"),
    ],
)
def test_one_component_in_too_few_bins_lies_on_a_line(counts, words):
    n = np.array(counts)
    shares = n[n > 0] / n.sum()
    # No distribution has a higher likelihood than the shares of the bins themselves.
    highest = float(n[n > 0] @ np.log(shares))
    # Narrow components at the edge between two bins have it, whatever their width.
    first = int(np.flatnonzero(n)[0])
    for sigma in (0.01, 0.1):
        mean = first + 0.5 if shares.size == 1 else first + 1.0 - sigma * norm.ppf(shares[0])
        inside = np.diff(norm.cdf(np.arange(n.size + 1.0), mean, sigma))[n > 0]
        assert float(n[n > 0] @ np.log(inside)) == pytest.approx(highest, abs=1e-3)
    for fit in (
        mixpipe.fit_mixture(histogram(counts), n_components=1),
        mixpipe.choose_n_components(histogram(counts), max_components=3).best,
    ):
        assert fit.n_components == 1 and fit.loglik == pytest.approx(highest, abs=1e-3)
        assert said(fit) == [f"{words}: {FLAT}; use narrower bins, or give some of the parameters"]


def test_a_given_width_leaves_as_many_parameters_as_are_determined():
    fit = mixpipe.fit_mixture(histogram([80, 20]), n_components=1, fixed={"sigmas": [0.3]})

    def minus_loglik(mean):
        return -float(np.array([80, 20]) @ np.log(np.diff(norm.cdf([0.0, 1.0, 2.0], mean, 0.3))))

    best = minimize_scalar(minus_loglik, bounds=(0.5, 1.0), method="bounded", options={"xatol": 1e-10})
    assert fit.mixture.means[0] == pytest.approx(best.x, abs=1e-6) and not said(fit)
    assert np.isfinite(fit.uncertainties.means[0])


@pytest.mark.parametrize("n_bins", [3, 4, 5, 6, 12])
def test_two_components_need_six_filled_bins_to_be_determined(n_bins):
    """The expected counts of two normals; three bins to one of them determine three of its numbers."""
    edges = np.linspace(0.0, 12.0, n_bins + 1)
    shares = 0.5 * np.diff(norm.cdf(edges[:, None], [3.0, 9.0], [1.0, 1.0]).sum(axis=1))
    counts = np.round(2000.0 * shares)
    filled = int(np.count_nonzero(counts))

    def minus_loglik(p):
        return -float(counts @ np.log(np.diff(norm.cdf(edges, p[0], math.exp(p[1])))))

    # The best of one, and the truth; no mixture exceeds the shares of the bins themselves.
    one = -minimize(minus_loglik, [6.0, 1.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-9}).fun
    truth, highest = float(counts @ np.log(shares)), float(counts @ np.log(counts / counts.sum()))
    log_n = math.log(counts.sum())
    assert 5.0 * log_n - 2.0 * truth < min(2.0 * log_n - 2.0 * one, 8.0 * log_n - 2.0 * highest)
    selection = mixpipe.choose_n_components(Cells.from_histogram(edges, counts), max_components=3)
    assert filled == n_bins and selection.best.n_components == 2
    assert truth - 1e-6 <= selection.best.loglik <= highest + 1e-6
    asked = mixpipe.fit_mixture(Cells.from_histogram(edges, counts), n_components=2)
    assert bool(said(selection.best)) == bool(said(asked)) == (filled < 6)
    assert asked.loglik == pytest.approx(selection.best.loglik, abs=1e-3)
    if filled < 6:
        assert said(asked)[0].startswith(
            f"{filled} filled bins determine {filled - 1} numbers, but 2 components have 5 free parameters"
        )
    else:
        np.testing.assert_allclose(selection.best.mixture.means, [3.0, 9.0], atol=0.1)


def test_two_different_values_are_no_two_populations_if_they_are_rounded():
    x = np.repeat([0.0, 1.0], 50)
    best = mixpipe.choose_n_components(x, max_components=3, rounding=1.0).best
    assert best.n_components == 1 and best.mixture.means[0] == pytest.approx(0.5, abs=1e-3)
    assert said(best)[0] == (
        "2 different values determine 1 number, but 1 component has 2 free parameters: others fit as well; use values "
        "with more digits, or give some of the parameters"
    )


def test_two_different_values_that_may_not_be_rounded_are_said():
    best = mixpipe.choose_n_components(np.repeat([0.0, 1.0], 50), max_components=3).best
    assert best.n_components == 2
    assert said(best)[0].startswith("2 different values determine 1 number, but 2 components have 5 free parameters")


@pytest.mark.parametrize("rounding", [None, 1.0])
def test_few_different_values_are_as_many_populations_as_their_counts_need(rounding):
    # With a floor, each of the values would be a population.
    counts = [30_000, 50_000, 20_000, 40_000]
    best = mixpipe.choose_n_components(np.repeat(np.arange(4.0), counts), max_components=5, rounding=rounding).best
    assert best.n_components == 2 and "4 different values determine 3 numbers" in said(best)[0]
    shares = np.array(counts) / 140_000.0
    assert best.loglik == pytest.approx(float(counts @ np.log(shares)), abs=0.01)


def test_few_different_values_of_many_rows_that_are_read_in_blocks():
    x = np.repeat([0.0, 1.0, 2.0, 3.0], [30_000, 50_000, 20_000, 40_000])
    selection, _ = choose_from_rows(Rows.of(Cells.from_rows(x)), max_components=3)
    assert selection.best.n_components == 1
    assert "4 different values determine 3 numbers, but " in said(selection.best)[0]


def test_values_that_are_not_rounded_determine_any_number():
    rng = np.random.default_rng(1)
    for x, err in ((np.array([1.0, 1.3, 9.0, 9.1]), None), (rng.normal(size=30).round(), rng.uniform(0.5, 1.0, 30))):
        selection = mixpipe.choose_n_components(x, err, max_components=2)
        assert not any(said(fit) for fit in selection.fits)


def test_the_table_says_what_is_not_determined():
    x = np.repeat([0.0, 1.0, 2.0, 3.0], [300, 500, 200, 400])
    selection, _ = choose_from_rows(Rows.of(Cells.from_rows(x)), max_components=2)
    assert [row[-1] for row in selection.presented()[1][1:]] == ["selected", "not determined"]
