"""What is counted about the rows of a column, because a referee would ask."""

import numpy as np
import pytest
from astropy.table import Table

from mixpipe.base.arrays import describe_decades
from mixpipe.catalog.columns import prepare_column
from mixpipe.catalog.doubts import Doubt, describe_doubts, describe_keys
from mixpipe.cli.display import describe_rows
from mixpipe.config.settings import ColumnSettings


def notes(table, **keys):
    data = prepare_column(table, ColumnSettings("m", "m", **keys))
    return list(describe_doubts(data.account.doubts, len(data))), list(describe_rows(data))


def test_one_sided_errors_that_differ_strongly_are_counted():
    table = Table({"m": np.arange(6.0), "up": [0.1, 0.3, 0.2, 0.5, np.nan, 0.1], "lo": [0.1, 0.1, 0.2, 0.2, 0.1, 0.2]})
    (said,), all_notes = notes(table, error=("up", "lo"))
    assert said.startswith(
        "the upper and the lower error differ by more than a factor of 2 in 2 of 5 rows, the first is row 2: "
    )
    assert said in all_notes
    assert notes(table, error="lo")[0] == []


@pytest.mark.parametrize("transform", ["log10", "ln"])
def test_large_relative_errors_under_a_logarithm_are_counted(transform):
    table = Table({"m": [1.0, 2.0, 10.0, -1.0, 4.0], "e": [0.31, 0.5, 3.1, 1.0, 1.1]})
    (said,), all_notes = notes(table, error="e", transform=transform)
    assert said.startswith("errors are above 30 % of the value in 2 of 4 rows, the first is row 1: ")
    assert said in all_notes
    assert notes(table, error="e")[0] == []


def test_doubts_add_up_over_blocks_and_few_are_not_worth_a_word():
    both = Doubt(0, "") + Doubt(3, "row 7") + Doubt(2, "row 9")
    assert both == Doubt(5, "row 7")
    assert list(describe_doubts({"uneven_errors": both}, 300)) == []
    assert len(list(describe_doubts({"uneven_errors": both}, 200))) == 1


def test_keys_that_repeat_are_counted():
    keys = np.ma.array(["a", "b", "a", "c", "c", "x"], mask=[0, 0, 0, 0, 0, 1])
    repeated, missing = describe_keys(keys, "name")
    assert repeated.startswith("key 'name' is the same in several rows: 4 of 6 rows, the first is 'a': ")
    assert missing == "key 'name' is missing in 1 of 6 rows"
    assert list(describe_keys(np.arange(9), "number")) == []


@pytest.mark.parametrize(
    ("x", "suits"),
    [
        (10.0 ** np.random.default_rng(1).normal(1.0, 0.6, 500), True),
        (np.random.default_rng(2).normal(10.0, 1.0, 500), False),
        (np.random.default_rng(3).uniform(0.0, 1.0, 500), False),
        (np.append(-1.0, 10.0 ** np.linspace(0.0, 5.0, 500)), False),
        (1e4 + 10.0 ** np.linspace(0.0, 3.0, 500), False),
        (np.array([]), False),
    ],
)
def test_values_that_call_for_a_logarithm(x, suits):
    assert bool(describe_decades(x)) == suits
