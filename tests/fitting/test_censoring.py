"""The distribution of limits behind a catalog, and simulated values that fall beyond them."""

import numpy as np
import pytest
from scipy.stats import norm

from mixpipe.assess.censoring import UpperLimits, censored


def test_kaplan_meier_by_hand():
    """Limits at 1 (twice) and 3; values at 0.5, 2 and 4.

    Of the 5 rows that are known to have a limit of at most 3 one has it there, and of the 3 with at most 1 two have it
    there: P(L < 3) = 4/5, P(L < 1) = 4/5 * 1/3.
    """
    x = np.array([1.0, 4.0, 3.0, 0.5, 1.0, 2.0])
    limits = UpperLimits(x, np.array([1, 0, 1, 0, 1, 0], dtype=bool), np.ones(6))
    assert limits.at.tolist() == [1.0, 3.0]
    np.testing.assert_allclose(limits.below, [4 / 15, 4 / 5, 1.0])
    twice = UpperLimits(x[:5], np.array([1, 0, 1, 0, 1], dtype=bool), np.array([1.0, 1.0, 1.0, 2.0, 1.0]))
    # Now 5 have at most 3, and 4 at most 1.
    np.testing.assert_allclose(twice.below, [4 / 5 * 2 / 4, 4 / 5, 1.0])


def test_a_limit_never_contradicts_its_row():
    rng = np.random.default_rng(1)
    x = rng.standard_normal(200)
    limited = rng.random(200) < 0.4
    drawn = UpperLimits(x, limited, np.ones(200)).draw(rng)
    np.testing.assert_array_equal(drawn[limited], x[limited])
    assert np.all(drawn[~limited] <= x[~limited])


def test_limits_that_are_not_seen_are_recovered():
    """20,000 rows: shares are known to 0.0035."""
    rng = np.random.default_rng(2)
    limit, value = rng.normal(0.4, 0.7, 20_000), rng.standard_normal(20_000)
    hidden = value < limit
    drawn = UpperLimits(np.where(hidden, limit, value), hidden, np.ones(20_000)).draw(rng)
    for at in (-0.5, 0.0, 0.5, 1.0, 2.0):
        assert np.mean(drawn <= at) == pytest.approx(norm.cdf(at, 0.4, 0.7), abs=0.02)


def test_simulated_catalogs_have_as_many_limits_on_either_side():
    rng = np.random.default_rng(3)
    n = 20_000
    low, high, value = rng.normal(-1.0, 0.3, n), rng.normal(1.2, 0.3, n), rng.standard_normal(n)
    flags = np.where(value < low, -1, np.where(value > high, 1, 0)).astype(np.int8)
    x = np.where(flags < 0, low, np.where(flags > 0, high, value))
    again, kinds = censored(rng.standard_normal(n), x, flags, np.ones(n), rng)
    for kind in (-1, 0, 1):
        # Shares of 0.17 and 0.12 are known to 0.003 in each of the two.
        assert np.mean(kinds == kind) == pytest.approx(np.mean(flags == kind), abs=0.015)
        assert np.mean(again[kinds == kind]) == pytest.approx(np.mean(x[flags == kind]), abs=0.03)
    same, none = censored(value, x, np.zeros(n, dtype=np.int8), np.ones(n), rng)
    assert not none.any() and np.array_equal(same, value)
