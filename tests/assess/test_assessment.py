"""Doubts about a fit that are said beside its numbers."""

import numpy as np
import pytest

import mixpipe
from mixpipe.assess.assessment import assess_fit
from mixpipe.assess.effort import Effort
from mixpipe.model.cells import Cells
from mixpipe.model.mixture import Mixture
from tests.campaign import campaign

TWO = Mixture([0.5, 0.5], [0.0, 6.0], [1.0, 1.0])


def said(cells, fit, start, **effort):
    warnings = assess_fit(cells, fit, Effort(profile=False, **effort)).fit.warnings
    return [text for text in warnings if text.startswith(start)]


def two_groups(ratio, n=400, seed=1):
    """Two groups, and errors that are larger in the second by a factor."""
    rng = np.random.default_rng(seed)
    second = rng.random(n) < 0.5
    err = 0.1 * np.where(second, ratio, 1.0) * np.exp(0.3 * rng.standard_normal(n))
    return Cells.from_rows(np.where(second, 6.0, 0.0) + np.hypot(err, 1.0) * rng.standard_normal(n), err)


@pytest.mark.parametrize(("ratio", "n", "warned"), [(3.0, 400, 1), (3.0, 200_000, 1), (1.0, 400, 0), (1.1, 200_000, 0)])
@campaign
def test_errors_that_differ_between_components_are_said(ratio, n, warned):
    cells = two_groups(ratio, n)
    fit = mixpipe.fit_mixture(cells, n_components=2, start=TWO)
    found = said(cells, fit, "errors differ between components")
    assert len(found) == warned
    if warned:
        # Medians of the two groups.
        first, second = (np.median(cells.err[(cells.x > 3.0) == far]) for far in (False, True))
        assert f"median is {first:.2g} in component 1 and {second:.2g} in component 2" in found[0]


def test_equal_errors_and_bins_do_not_differ():
    rng = np.random.default_rng(2)
    x = np.append(rng.normal(0.0, 1.0, 50), rng.normal(6.0, 1.0, 50))
    for cells in (Cells.from_rows(x, 0.2), Cells.from_rows(x), Cells.from_histogram(*np.histogram(x, 20)[::-1])):
        assert said(cells, mixpipe.fit_mixture(cells, n_components=2), "errors differ") == []


@pytest.mark.parametrize(("values", "advised"), [("decades", True), ("uniform", False)])
def test_a_rejected_fit_of_values_over_decades_is_told_of_the_logarithm(values, advised):
    rng = np.random.default_rng(3)
    x = 10.0 ** rng.normal(1.0, 0.7, 500) if values == "decades" else rng.uniform(1.0, 2.0, 500)
    cells = Cells.from_rows(x)
    (found,) = said(cells, mixpipe.fit_mixture(cells, n_components=1), "the mixture does not", quality_draws=99)
    assert ("transform log10" in found) == advised


def test_a_sigma_near_zero_has_an_upper_limit():
    """An observed width of 1.03 with errors of 1: the sigma is within two uncertainties of zero, but not zero."""
    x = np.random.default_rng(4).normal(size=100)
    cells = Cells.from_rows(1.03 * (x - x.mean()) / x.std(), 1.0)
    fit = mixpipe.fit_mixture(cells, n_components=1)
    assert not fit.boundary[0]
    assert fit.mixture.sigmas[0] < 2.0 * fit.uncertainties.sigmas[0]
    assert assess_fit(cells, fit, Effort()).sigma_upper[0] > fit.mixture.sigmas[0]
    far = Cells.from_rows(3.0 * cells.x, 1.0)
    assert np.isnan(assess_fit(far, mixpipe.fit_mixture(far, n_components=1), Effort()).sigma_upper[0])


@pytest.mark.parametrize(("n", "method"), [(80, "profile"), (800, "information")])
def test_the_preferred_intervals_are_those_that_hold_at_this_size(n, method):
    rng = np.random.default_rng(5)
    cells = Cells.from_rows(rng.normal(0.0, 1.0, n), 0.3)
    found = assess_fit(cells, mixpipe.fit_mixture(cells, n_components=1), Effort()).intervals
    assert set(found.method[found.preferred]) == {method}
    assert len(found[found.preferred]) == 6


@pytest.mark.parametrize("weights", [np.append(np.linspace(0.5, 1.5, 60), 0.0), np.append(np.ones(60), 0.0)])
def test_a_row_of_weight_zero_far_from_the_others_counts_for_nothing(weights):
    """Even where a part of the rows, such as a tail, or those with errors, has no other."""
    x = np.append(np.random.default_rng(1).normal(size=60), 3.9)
    for err in (np.full(61, 0.1), np.append(np.zeros(60), 0.1)):
        assessed = []
        for some in (slice(None), slice(60)):
            cells = Cells.from_rows(x[some], err[some], weights[some])
            fit = mixpipe.fit_mixture(cells, n_components=2)
            assessed.append(assess_fit(cells, fit, Effort(profile=False)))
        assert assessed[0].fit.warnings == assessed[1].fit.warnings
        assert assessed[0].quality.ks == pytest.approx(assessed[1].quality.ks)
