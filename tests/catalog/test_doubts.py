"""What is counted about the rows of a column, because a referee would ask."""

import numpy as np
import pytest
from astropy.table import Table

from mixpipe.base.arrays import describe_decades
from mixpipe.base.errors import CatalogError
from mixpipe.catalog.columns import prepare_column
from mixpipe.catalog.doubts import Doubt, describe_doubts, describe_keys
from mixpipe.cli.display import describe_rows
from mixpipe.config.settings import ColumnSettings


def notes(table, **keys):
    data = prepare_column(table, ColumnSettings("m", "m", **keys))
    return list(describe_doubts(data.account.doubts, len(data))), list(describe_rows(data))


def test_one_sided_errors_that_differ_strongly_are_counted():
    table = Table({"m": np.arange(6.0), "up": [0.1, 0.3, 0.2, 0.5, np.nan, 0.1], "lo": [0.1, 0.1, 0.2, 0.2, 0.1, 0.2]})
    assert notes(table, error=("up", "lo"))[0] == []
    (said,), all_notes = notes(table, error=("up", "lo"), error_model="symmetric")
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


VALUES = np.array([9.077, 9.036, 8.764, 5.064, 4.406, 8.547, 4.902, 8.149, 9.339, 4.338, 4.603, 5.323])


def with_cells(numbers, **cells):
    """Numbers of which some are others, as ``_3=-999.0``."""
    numbers = numbers.copy()
    for name, number in cells.items():
        numbers[int(name[1:])] = number
    return numbers


@pytest.mark.parametrize(
    ("values", "errors", "said"),
    [
        ({"_3": -999.0, "_5": -999.0}, {}, "in 2 of 12 rows, the first is row 4 (-999 in m)"),
        ({"_3": -99.0}, {}, "in 1 of 12 rows, the first is row 4 (-99 in m)"),
        ({"_3": -9.0}, {}, "in 1 of 12 rows, the first is row 4 (-9 in m)"),
        ({}, {"_2": 99.99}, "in 1 of 12 rows, the first is row 3 (99.99 in e)"),
        ({"_3": 99.0}, {"_3": 99.0, "_4": 99.0}, "in 2 of 12 rows, the first is row 4 (99 in m, 99 in e)"),
    ],
)
def test_numbers_that_may_stand_for_missing_ones_are_counted(values, errors, said):
    table = Table({"m": with_cells(VALUES, **values), "e": with_cells(VALUES / 50.0, **errors)})
    (doubt,), all_notes = notes(table, error="e")
    assert doubt.startswith(f"numbers that may stand for missing ones {said}: ")
    assert "`missing` leaves them out" in doubt
    assert doubt in all_notes


@pytest.mark.parametrize("mark", [-10.0, 0.0, 1000.0, 88.88])
def test_any_number_that_repeats_far_from_others_that_do_not(mark):
    many = np.append(VALUES, VALUES + 0.111)
    (doubt,), _ = notes(Table({"m": np.append(many, [mark] * 3)}))
    assert f"in 3 of 27 rows, the first is row 25 ({mark:g} in m)" in doubt
    assert notes(Table({"m": np.append(many, [4.2] * 3)}))[0] == []


@pytest.mark.parametrize(("scale", "mark"), [(10.0, -10.0), (10.0, 1000.0), (1.0, 0.0), (1.0, 99.9)])
def test_a_number_that_repeats_far_from_rounded_ones(scale, mark):
    rounded = np.round(scale * np.append(VALUES, VALUES), 0 if scale > 1.0 else 1)
    (doubt,), _ = notes(Table({"m": np.append(rounded, [mark] * 3)}))
    assert f"in 3 of 27 rows, the first is row 25 ({mark:g} in m)" in doubt
    assert notes(Table({"m": np.append(rounded, [rounded.max()] * 3)}))[0] == []


def test_numbers_as_they_stand_in_the_file_and_only_of_rows_that_are_used():
    table = Table({"m": with_cells(VALUES, _3=-99.0, _4=-99.0), "kind": ["a", *"b" * 11]})
    table["m"].unit = "km"
    assert "(-99 in m)" in notes(table, unit="m")[0][0]
    data = prepare_column(table, ColumnSettings("m", "m"), where="m > 0")
    assert list(describe_doubts(data.account.doubts, len(data))) == []


def test_values_that_may_be_right_are_not_doubted():
    for numbers in (
        with_cells(VALUES, _3=12.0),
        with_cells(VALUES, _3=9.9, _4=9.9),
        np.arange(90.0, 102.0),
        VALUES[:1],
    ):
        assert notes(Table({"m": numbers}))[0] == []


def test_doubts_of_blocks_without_and_with_suspects_add_up():
    table = Table({"m": np.append(VALUES, with_cells(VALUES, _3=-99.0, _4=-99.0))})
    accounts = [prepare_column(part, ColumnSettings("m", "m")).account for part in (table[:12], table[12:])]
    both = accounts[0] + accounts[1]
    assert both.doubts["sentinels"].count == 2
    assert (accounts[1] + accounts[0]).doubts["sentinels"].count == 2


def test_bounds_in_place_of_errors_are_doubted():
    table = Table(
        {"m": VALUES, "hi": VALUES + 0.1, "lo": VALUES - 0.1, "up": np.full(12, 0.1), "down": np.full(12, -0.1)}
    )
    (said,), all_notes = notes(table, error=("hi", "lo"))
    assert said.startswith(
        "the value lies between the lower and the upper error in 12 of 12 rows, the first is row 1: "
    )
    assert said in all_notes
    assert notes(table, error=("up", "down"))[0] == []


@pytest.mark.parametrize("name", ["m_err_pct", "pct_err", "rel_err", "m_fracerr", "e_m [%]", "relative error"])
def test_relative_errors_by_their_name_are_doubted(name):
    table = Table({"m": VALUES, name: VALUES / 50.0})
    (said,), _ = notes(table, error=name)
    assert said.startswith("the errors are called relative or per cent, and are used as they are in 12 of 12 rows")


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("m_var", "sigma", "the errors are called variances"),
        ("var_m", "ivar", "the errors are called variances"),
        ("m_var", "variance", None),
        ("m_ivar", "sigma", "the errors are called inverse variances or weights"),
        ("m_w", "sigma", "the errors are called inverse variances or weights"),
        ("m_weight", "variance", "the errors are called inverse variances or weights"),
        ("wt_m", "ivar", None),
        ("m_err", "variance", None),
        ("e_w", "sigma", None),
        ("other_var", "sigma", None),
    ],
)
def test_errors_of_another_kind_by_their_names_are_doubted(name, kind, said):
    found = notes(Table({"m": VALUES, name: VALUES / 50.0}), error=name, error_kind=kind)[0]
    assert [text.startswith(said or "-") for text in found] == [True] * (said is not None)


@pytest.mark.parametrize(
    ("upper", "lower"), [("m_err_up", "m_err_down"), ("E_m", "e_m"), ("m_err1", "m_err2"), ("err_max_m", "err_min_m")]
)
def test_a_pair_of_errors_in_the_other_order_by_their_names_is_doubted(upper, lower):
    table = Table({"m": VALUES, upper: np.full(12, 0.15), lower: np.full(12, -0.1)})
    (said,), all_notes = notes(table, error=(lower, upper))
    assert said.startswith("the first error is called the lower, the second the upper one in 12 of 12 rows")
    assert said in all_notes
    assert notes(table, error=(upper, lower))[0] == []


@pytest.mark.parametrize(("unit", "kind"), [("Jy2", "variance"), ("1/mJy2", "ivar"), ("K", None)])
def test_the_unit_of_errors_leads_to_their_kind(unit, kind):
    table = Table({"m": VALUES, "e": VALUES / 50.0}, units={"m": "Jy", "e": unit})
    way_out = "`file_unit` overrides" if kind is None else f"`error_kind` {kind}, whose unit this is"
    with pytest.raises(CatalogError, match=way_out):
        prepare_column(table, ColumnSettings("m", "m", "e"))
    if kind is not None:
        assert notes(table, error="e", error_kind=kind)[0] == []


@pytest.mark.parametrize("name", ["m_err", "e_relation", "fraction_of_m_err", "prel"])
def test_errors_with_other_names_are_not(name):
    assert notes(Table({"m": VALUES, name: VALUES / 50.0}), error=name)[0] == []


def test_errors_in_percent_beside_values_without_a_unit_are_doubted():
    table = Table({"m": VALUES, "e": VALUES / 50.0})
    table["e"].unit = "%"
    assert len(notes(table, error="e")[0]) == 1
    table["m"].unit = "%"
    assert notes(table, error="e")[0] == []


@pytest.mark.parametrize("value", ["m", "m [kpc]"])
@pytest.mark.parametrize("error", ["e", "e [%]"])
def test_errors_in_percent_of_values_in_another_unit_are_refused(value, error):
    table = Table({value: VALUES, error: VALUES / 50.0})
    table[value].unit = "kpc" if value == "m" else None
    table[error].unit = "%" if error == "e" else None
    with pytest.raises(CatalogError, match="errors in per cent, and the values are in kpc: each has to be"):
        prepare_column(table, ColumnSettings("m", value, error))


def test_errors_that_are_the_square_roots_of_counts_are_doubted():
    counts = np.random.default_rng(1).poisson(8.0, 300).astype(float)
    roots = np.round(np.sqrt(counts), 2)
    said, all_notes = notes(Table({"m": counts, "e": roots}), error="e")
    assert said[-1].startswith("the errors are the square roots of the values, as those of counts in ")
    assert said[-1] in all_notes
    for others in ({"m": counts, "e": roots[::-1]}, {"m": counts, "e": np.zeros(300)}):
        assert not any("square roots" in text for text in notes(Table(others), error="e")[0])
