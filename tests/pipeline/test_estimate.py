"""One column with all estimators: what stands beside the likelihood, and starts that the search may have missed."""

from dataclasses import replace

import numpy as np
import pytest

from mixpipe.assess.effort import Effort
from mixpipe.base.errors import CatalogError
from mixpipe.config.settings import ColumnSettings
from mixpipe.fitting.choose import fit_mixture
from mixpipe.model.cells import Cells
from mixpipe.model.mixture import Mixture
from mixpipe.model.results import Selection
from mixpipe.pipeline import estimate
from mixpipe.pipeline.estimate import estimate_column

TRUTH = Mixture([0.6, 0.4], [0.0, 5.0], [1.0, 0.7])


def cells(n: int = 2000) -> Cells:
    rng = np.random.default_rng(8)
    err = rng.uniform(0.1, 0.5, n)
    return Cells.from_rows(TRUTH.sample(n, rng) + err * rng.standard_normal(n), err)


def settings(**keys) -> ColumnSettings:
    return ColumnSettings("x", "x", max_components=3, **keys)


def test_all_estimators_stand_side_by_side():
    outcome = estimate_column(cells(), settings(estimators=("em", "moments", "density")), "bic", Effort(), place="here")
    assert [each.fit.estimator for each in outcome.estimates] == ["em", "moments", "density"]
    assert outcome.fit.n_components == 2
    for each in outcome.estimates:
        assert each.fit.n_components == 2
        # Statistical error of some 0.03, more for the moments.
        np.testing.assert_allclose(each.fit.mixture.means, TRUTH.means, atol=0.3)
        # Nothing is likelier than the maximum of the likelihood.
        assert each.fit.loglik <= outcome.fit.loglik + 1e-6


def test_a_maximum_that_the_search_missed_is_found_from_another_estimate(monkeypatch):
    data = cells()
    right = fit_mixture(data, n_components=2)
    # A stand-in for a lower maximum: from most starts the ascent reaches the highest.
    poor = replace(right, mixture=Mixture([0.5, 0.5], [1.0, 3.0], [2.0, 2.0]), loglik=right.loglik - 10.0)
    monkeypatch.setattr(estimate, "choose_n_components", lambda *args, **options: Selection((poor,), "bic"))
    outcome = estimate_column(data, settings(estimators=("em", "density")), "bic", Effort(), place="here")
    assert outcome.fit.loglik == pytest.approx(right.loglik, abs=1e-6)
    assert "from the estimate by density" in outcome.fit.warnings[-1]
    assert outcome.selection.best is outcome.fit


def test_one_of_the_others_alone_chooses_by_its_likelihood():
    outcome = estimate_column(cells(), settings(estimators=("density",)), "bic", Effort(), place="here")
    assert outcome.fit.estimator == "density" and outcome.fit.n_components == 2
    with pytest.raises(CatalogError, match="estimator density with limits"):
        estimate_column(
            cells(), settings(estimators=("density",), families=("laplace",)), "bic", Effort(), place="here"
        )
