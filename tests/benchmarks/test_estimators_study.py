"""The study of the estimators: what is kept of its runs, and that its page shows the numbers that are stored."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import estimators
from benchmarks.estimators_study import CASES, summary
from mixpipe.model.mixture import Mixture


def _run(mean: float, unc: float, loglik: float) -> dict:
    """An estimate of the mixture below that is wrong in the first mean alone."""
    values = np.array([[0.5, 0.5], [mean, 3.0], [1.0, 1.0]])
    return {
        "values": values,
        "unc": np.array([[np.nan, np.nan], [unc, np.nan], [np.nan, np.nan]]),
        "loglik": loglik,
        "found": mean < 0.3,
        "degenerate": False,
        "seconds": 2.0,
    }


def test_summary_of_three_catalogs() -> None:
    truth = Mixture([0.5, 0.5], [0.0, 3.0], [1.0, 1.0])
    runs = [_run(mean, 0.1, -10.0) for mean in (0.0, 0.1, 0.6)]
    found = summary(truth, runs, [_run(0.0, 0.1, -8.0)] * 3)
    assert found["bias"][1] == [0.1, 0.0]
    # Quantiles 0.16 and 0.84 lie 0.32 and 1.68 steps from the smallest of three: 0.032, and 0.1 + 0.68 * 0.5 = 0.44.
    assert found["scatter"][1][0] == pytest.approx((0.44 - 0.032) / 2, rel=1e-4)  # five digits are kept
    # Pulls 0, 1 and 6.
    assert found["pull"] == pytest.approx(np.sqrt(37 / 3), rel=1e-4)
    assert found["within"] == pytest.approx(1 / 3, rel=1e-4)
    # Four of the five free parameters have no uncertainty.
    assert found["without_uncertainty"] == pytest.approx(0.8)
    assert (found["near"], found["not_found"]) == pytest.approx((2 / 3, 1 / 3), rel=1e-4)
    assert (found["deficit"], found["seconds"]) == (2.0, 2.0)


def test_contaminants_and_unequal_errors_are_as_stated() -> None:
    contaminated, unequal = (
        next(case for case in CASES if case.kind == kind and case.n_data == 10_000)
        for kind in ("contaminated", "unequal errors")
    )
    x, err = contaminated.catalog([1])
    assert err is None
    # Contaminants lie between -15 and 18; six sigmas from the components, outside of -6 to 7.2, there are 60 % of them.
    outside = np.mean((x < -6.0) | (x > 7.2))
    assert outside == pytest.approx(0.05 * (1.0 - 13.2 / 33.0), abs=5 * np.sqrt(0.03 / x.size))  # sampling
    x, err = unequal.catalog([1])
    # Where hardly anything of the other component is: beyond its 0.999 quantiles in value.
    assert np.median(err[x < -2.5]) < np.median(err[x > 4.0])


def test_page_shows_what_is_stored(root: Path) -> None:
    run = json.loads(estimators.MEASURED.read_text(encoding="utf-8"))
    text = (root / "docs" / "estimators.md").read_text(encoding="utf-8")
    assert estimators.written(text, run) == text
