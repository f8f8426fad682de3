"""The calibration of the comparison of joint fits, at tiny sizes."""

import numpy as np

from benchmarks import joint_comparison as benchmark


def test_rows_have_the_errors_and_gaps_that_are_given():
    rng = np.random.default_rng(1)
    x, cov = benchmark.observed(benchmark.THREE_COLUMNS, 0.2, 4000, rng)
    # Five standard deviations of a share of 12,000.
    assert abs(np.isnan(x).mean() - 0.2) < 0.02
    assert np.all(np.isnan(x).sum(axis=1) < 3)
    err = np.sqrt(np.diagonal(cov, axis1=1, axis2=2))
    np.testing.assert_allclose(cov[:, 0, 1], 0.3 * err[:, 0] * err[:, 1])


def test_pairs_and_their_page():
    result = {
        "unchanged": [benchmark.unchanged("3 columns, a tenth missing", "half common", 2)],
        "shifted": [benchmark.shifted("2 columns", 2)],
    }
    run = result["unchanged"][0]
    assert 0.3 < run["within"] < 1.0
    assert result["shifted"][0]["called"] == 2
    text = benchmark.page(result)
    assert "| 3 columns, a tenth missing | half common | 2 |" in text
    assert "| 100 |" in text
