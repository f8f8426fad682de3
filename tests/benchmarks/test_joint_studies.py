"""The studies of several columns, at tiny sizes."""

import numpy as np

from benchmarks import joint_studies
from tests.campaign import campaign


@campaign
def test_studies_and_their_page(monkeypatch):
    monkeypatch.setattr(joint_studies, "CLUSTERS", ())
    result = {
        "coverage": [joint_studies.coverage(2, 150, 0.1, 3)],
        "clusters": list(joint_studies.clusters()),
        "hard": [joint_studies.hard(3, 2)],
        "n_starts": 2,
        "blocks": joint_studies.blocks(2_000),
        "chosen": [joint_studies.chosen(2, 200, 1)],
    }
    assert 0.0 <= result["coverage"][0]["means"] <= 100.0
    assert result["hard"][0]["short"] < 0.01
    assert result["chosen"][0]["right"] == 1
    text = joint_studies.page(result)
    assert "1 of 1" in text
    assert result["blocks"]["converged"]
    assert "2,000 rows of three columns" in text
    result["hard"][0]["short"] = 0.5
    result["clusters"] = [{"pair": "A and B", "n_rows": 9, "n_chosen": 2, "delta_bic": 0.0, "right": 100.0}]
    assert "| 0.50 |" in joint_studies.page(result)
    assert "A and B" in joint_studies.page(result)


def test_errors_have_the_covariances_that_are_given():
    rng = np.random.default_rng(1)
    truth = joint_studies.random_mixture(2, 1, 0.0, rng)
    x, cov = joint_studies.noisy(truth, 20_000, 0.5, 0.02, rng)
    expected = truth.covariances[0] + cov.mean(axis=0)
    assert np.allclose(np.cov(x.T), expected, atol=0.03)
