"""The comparisons for several columns, at tiny sizes."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from benchmarks import joint
from mixpipe.fitting.joint.ascent import ascend, run_em

SEEDS = {"mixpipe": (1,), "pygmmis": (1,), "astroML": (1,)}


def test_simulated_rows_have_the_moments_of_the_mixture_and_the_errors() -> None:
    n_data = 100_000
    truth, x, cov = joint.simulated(2, 3, n_data, 1)
    mean = truth.weights @ truth.means
    apart = truth.means - mean
    between = np.einsum("j,ja,jb->ab", truth.weights, apart, apart)
    total = between + np.einsum("j,jab->ab", truth.weights, truth.covariances) + cov.mean(axis=0)
    # Five standard errors of a mean; those of a covariance are below twice the product of the widths over sqrt(n).
    widths = np.sqrt(np.diag(total))
    assert np.all(np.abs(x.mean(axis=0) - mean) < 5 * widths / np.sqrt(n_data))
    assert np.all(np.abs(np.cov(x.T) - total) < 10 * np.outer(widths, widths) / np.sqrt(n_data))


def test_the_likelihood_is_that_of_scipy() -> None:
    truth, x, cov = joint.simulated(3, 2, 20, 1)
    likelihood = joint.likelihood_of(x, cov)
    expected = sum(
        np.log(
            sum(
                w * multivariate_normal.pdf(row, m, v + s)
                for w, m, v in zip(truth.weights, truth.means, truth.covariances, strict=True)
            )
        )
        for row, s in zip(x, cov, strict=True)
    )
    found = likelihood.sums(likelihood.scaling.parameters(truth)).loglik
    assert found == pytest.approx(expected, rel=1e-12)


def test_cost_of_a_pass_is_measured_for_all_codes() -> None:
    pytest.importorskip("sklearn")
    row = joint.pass_cost(2, 2, dict.fromkeys(joint.PASS_ROWS, 300))
    assert row["mixpipe"] > 0.0
    # A peer that is not installed leaves its error.
    assert all(isinstance(row[name], float) or "Error" in row[name] for name in joint.PASS_ROWS)


def test_passes_are_counted_to_the_maximum_that_is_reached() -> None:
    row = joint.climb(2, 2, 400, 1, max_em=60)
    _, x, cov = joint.simulated(2, 2, 400, 1)
    likelihood = joint.likelihood_of(x, cov)
    start = joint.random_start(likelihood, 2, np.random.default_rng(101))
    assert row["loglik"] == pytest.approx(ascend(likelihood, start).loglik, abs=1e-6)
    assert 1 < row["passes"] <= row["passes_in_all"]
    # Sixty passes are the start and 59 steps.
    after = run_em(likelihood, start, 59)
    assert row["em_short"] == pytest.approx(row["em_loglik"] - after.loglik, abs=1e-6)
    assert (row["em"] is None) == (row["em_short"] >= joint.ARRIVED)


def test_no_fit_lies_above_the_best_that_is_known() -> None:
    pytest.importorskip("sklearn")
    row = joint.stop(2, 2, 200, SEEDS, 3)
    values = [value for name in row["short"] for value in row["short"][name] if not isinstance(value, str)]
    assert min(values) >= 0.0
    assert row["short"]["mixpipe"][0] < joint.ARRIVED


def test_a_peer_that_fails_is_listed_with_its_error() -> None:
    def short(value: float | str) -> dict:
        return {"n_dims": 2, "from_random": 1, "n_starts": 1, "short": {"peer": [value]}, "seconds": {"peer": 2.0}}

    assert "| 2 | peer | 7 | 2 |" in joint._stop_page([short(7.0)])[1]
    assert "| 2 | peer | ImportError: none | – |" in joint._stop_page([short("ImportError: none")])[1]


def test_the_page_has_all_parts() -> None:
    pytest.importorskip("sklearn")
    rows = dict.fromkeys(joint.PASS_ROWS, 300)
    result = {
        "cost": [joint.pass_cost(2, 2, rows)],
        "climbs": [joint.climb(2, 2, 300, 1, max_em=30)],
        "stops": [joint.stop(2, 2, 200, SEEDS, 1)],
        "choices": [joint.choice(300, 2)],
    }
    text = joint.page(result)
    for words in ("One pass", "Passes to a maximum", "Where default fits stop", "Choosing M"):
        assert words in text
    assert result["choices"][0]["choices"][0] in (1, 2)
