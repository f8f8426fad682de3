"""Limits in catalogs: how they are marked, what they become, and that fits and tables know of them."""

import csv
import json
import math
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy import units as u
from astropy.table import MaskedColumn, Table
from click.testing import CliRunner
from scipy import stats

from mixpipe import cli
from mixpipe.base.errors import CatalogError
from mixpipe.catalog.columns import prepare_column
from mixpipe.catalog.limits import split_limits
from mixpipe.catalog.reading import read_catalog
from mixpipe.catalog.required import required_columns
from mixpipe.config.settings import ColumnSettings

NAN = float("nan")


def prepare(columns, where=None, **settings):
    return prepare_column(Table(columns), ColumnSettings("m", "x", **settings), where=where)


def run(*args):
    return CliRunner().invoke(cli.main, [str(arg) for arg in args], prog_name="mixpipe")


def write(path, **columns):
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


@pytest.mark.parametrize(
    ("text", "number", "limit"),
    [
        ("<0.0017", "0.0017", -1),
        ("> 5", "5", 1),
        ("≤3", "3", -1),
        ("≥ 3e4", "3e4", 1),
        ("<=2.5", "2.5", -1),
        (">= -1", "-1", 1),
        ("  <  7 ", "7", -1),
        ("4.2", "4.2", 0),
        ("-4.2", "-4.2", 0),
        ("", "", 0),
    ],
)
def test_a_sign_before_a_number_is_a_limit(text, number, limit):
    texts, limits = split_limits(np.array([text]))
    assert (texts[0].strip(), int(limits[0])) == (number, limit)


def test_texts_become_limits_with_the_median_error_of_the_values():
    data = prepare({"x": ["0.3", "<0.0017", "> 5", "", "≤3"], "e": [0.1, NAN, NAN, 0.1, 0.4]}, error="e")
    assert data.x.tolist() == [0.3, 0.0017, 5.0, 3.0]
    assert data.limits.tolist() == [0, -1, 1, -1]
    # The only value with an error has 0.1.
    assert data.err.tolist() == [0.1, 0.1, 0.1, 0.4]
    assert (data.n_upper_limits, data.n_lower_limits) == (2, 1)
    assert data.dropped["missing_value"] == 1
    assert data.dropped["missing_error"] == 0
    np.testing.assert_array_equal(data.cells().limits, [0, -1, 1, -1])


def test_a_value_still_needs_its_error():
    data = prepare({"x": ["0.3", "<1"], "e": [NAN, NAN]}, error="e")
    assert data.dropped["missing_error"] == 1
    assert data.limits.tolist() == [-1]


def test_limits_take_the_error_floor_scale_and_negative_errors_are_bad_for_them_too():
    data = prepare({"x": ["<1", "<2", "3"], "e": [NAN, -1.0, 0.4]}, error="e", error_floor=0.3, error_scale=0.5)
    assert data.dropped["bad_error"] == 1
    # A limit without error has that of the one value.
    np.testing.assert_allclose(data.err, np.full(2, math.hypot(0.2, 0.3)), rtol=1e-15)


def test_the_error_of_a_limit_does_not_depend_on_rows_that_are_cut():
    columns = {
        "x": ["<1", "2", "3", "4", "5", ""],
        "e": [NAN, 0.1, 0.3, 0.9, 0.8, 0.7],
        "k": ["a", "a", "a", "b", "b", "a"],
    }
    cut = prepare(columns, "k == 'a'", error="e")
    alone = prepare({name: values[:3] for name, values in columns.items()}, error="e")
    assert cut.err.tolist() == alone.err.tolist() == [0.2, 0.1, 0.3]


def test_columns_of_limits_have_units_of_their_own():
    table = Table({"x": [1.0, NAN, NAN], "up": [NAN, 2000.0, NAN], "lo": [NAN, NAN, 3.0]})
    table["x"].unit, table["up"].unit = u.Jy, u.mJy
    settings = ColumnSettings("m", "x", upper_limit="up", lower_limit="lo")
    assert prepare_column(table, settings).x.tolist() == [1.0, 2.0, 3.0]
    assert prepare_column(table, replace(settings, unit="mJy")).x.tolist() == [1000.0, 2000.0, 3000.0]
    table["up"].unit = u.K
    with pytest.raises(CatalogError, match="column 'up' has the unit K, which cannot be converted to Jy"):
        prepare_column(table, settings)


def test_upper_limits_turn_where_the_unit_turns():
    """A magnitude is -0.4 dex: what is fainter than a limit is less."""
    table = Table({"x": [5.0, 1.0, NAN, NAN], "flag": [-1, 0, 0, 0], "up": [NAN, NAN, 10.0, NAN]})
    table["lo"] = [NAN, NAN, NAN, -2.0]
    table["x"].unit, table["lo"].unit = u.mag, u.dex
    settings = ColumnSettings("m", "x", limit_flag="flag", upper_limit="up", lower_limit="lo", unit="dex")
    data = prepare_column(table, settings)
    assert data.x.tolist() == [-2.0, -0.4, -4.0, -2.0]
    # The last is a lower limit in dex already.
    assert data.limits.tolist() == [-1, 0, 1, 1]


def test_text_that_is_no_number_is_refused_with_its_row():
    with pytest.raises(CatalogError, match=r"text in 1 of 2 rows, the first is '<' in row 2"):
        prepare({"x": ["<1", "<"]})
    with pytest.raises(CatalogError, match=r"text in 1 of 2 rows, the first is 'about 3' in row 2"):
        prepare({"x": ["<1", "about 3"]})
    with pytest.raises(CatalogError, match=r"column 'e' has a limit in row 1, .* limits belong into the value column"):
        prepare({"x": [1.0, 2.0], "e": ["<0.1", "0.2"]}, error="e")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["<", ">", "", "="], [-1, 1, 0, 0]),
        (["≤", "≥", "~", " "], [-1, 1, 0, 0]),
        (["U", "l", "ul", "LL"], [-1, 1, -1, 1]),
        (["upper", "Lower", "<=", ">="], [-1, 1, -1, 1]),
        (["true", "False", "T", "f"], [-1, 0, -1, 0]),
        ([1, -1, 0, 0], [-1, 1, 0, 0]),
        ([1.0, -1.0, 0.0, NAN], [-1, 1, 0, 0]),
        (["1", "-1", "0", ""], [-1, 1, 0, 0]),
        ([True, False, False, True], [-1, 0, 0, -1]),
        (MaskedColumn([1, 0, 7, -1], mask=[0, 0, 1, 0]), [-1, 0, 0, 1]),
    ],
)
def test_every_form_of_a_flag(flags, expected):
    data = prepare({"x": [1.0, 2.0, 3.0, 4.0], "flag": flags}, limit_flag="flag")
    assert data.limits.tolist() == expected


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["<", "?", "?"], "column 'flag' has the flag '?' in 2 rows, in"),
        ([1, 2, 0], "column 'flag' has the flag '2' in 1 row, in"),
    ],
)
def test_an_unknown_flag_is_named_with_what_was_expected(flags, message):
    with pytest.raises(CatalogError) as caught:
        prepare({"x": [1.0, 2.0, 3.0], "flag": flags}, limit_flag="flag")
    assert message in str(caught.value)
    assert str(caught.value).endswith(
        "expected < or 1 for an upper limit, > or -1 for a lower limit, 0 or blank for a value"
    )


def test_a_sign_in_the_value_counts_before_the_flag():
    assert prepare({"x": ["<1", "2", "3"], "flag": ["", ">", "<"]}, limit_flag="flag").limits.tolist() == [-1, 1, -1]


def test_columns_of_limits_fill_rows_without_a_value():
    columns = {"x": [1.0, NAN, NAN, NAN, 5.0], "up": [9.0, 2.0, NAN, NAN, NAN], "lo": [NAN, NAN, 3.0, NAN, 0.1]}
    data = prepare(columns, upper_limit="up", lower_limit="lo")
    assert data.x.tolist() == [1.0, 2.0, 3.0, 5.0]
    assert data.limits.tolist() == [0, -1, 1, 0]
    assert data.rows.tolist() == [0, 1, 2, 4]
    assert data.dropped["missing_value"] == 1


def test_limits_are_converted_and_transformed_like_values():
    columns = {"x": ["<100", "1000", ">10"], "e": [NAN, 100.0, 1.0]}
    table = Table(columns)
    table["x"].unit = u.m
    table["e"].unit = u.m
    settings = ColumnSettings("m", "x", error="e", unit="km", transform="log10")
    data = prepare_column(table, settings)
    np.testing.assert_allclose(data.x, [-1.0, 0.0, -2.0], atol=1e-15)
    np.testing.assert_allclose(data.err, np.full(3, 0.1 / math.log(10.0)), rtol=1e-14)
    assert data.limits.tolist() == [-1, 0, 1]
    assert data.unit == "log10(km)"
    below_zero = prepare({"x": ["<-1", "2"]}, transform="ln")
    assert below_zero.dropped["not_positive"] == 1


def test_columns_that_have_to_be_read():
    settings = ColumnSettings("m", "x", limit_flag="f", upper_limit="up", lower_limit="lo")
    assert required_columns([settings]) == ("x", "f", "up", "lo")


@pytest.fixture
def censored(tmp_path):
    """A normal of mean 1 and width 2 seen with errors of 0.5, the lower third as upper limits."""
    rng = np.random.default_rng(3)
    x = rng.normal(1.0, math.hypot(2.0, 0.5), 400)
    hidden = x < 0.0
    texts = [f"<{0.0:g}" if h else f"{value:.6f}" for value, h in zip(x, hidden, strict=True)]
    flags = np.where(hidden, 1, 0)
    return write(
        tmp_path / "c.csv", m=texts, plain=np.where(hidden, 0.0, x), flag=flags, e=np.where(hidden, "", "0.5")
    ), hidden


def test_fit_knows_limits_in_a_file(censored, tmp_path):
    file, hidden = censored
    result = run("fit", file, "--value", "m", "--error", "e", "--n-components", 1, "--json", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["n_data"] == 400
    (component,) = document["components"]
    assert component["mean"] == pytest.approx(1.0, abs=4.0 * component["mean_unc"])
    assert component["sigma"] == pytest.approx(2.0, abs=4.0 * component["sigma_unc"])
    members = pq.read_table(tmp_path / "out" / "members.parquet").to_pandas()
    np.testing.assert_array_equal(members["limit"], np.where(hidden, -1, 0))
    # A limit at zero has the median error: the true value of a normal pair, given that the observed one is below zero.
    row = members[hidden].iloc[0]
    assert row["err"] == pytest.approx(np.median(members["err"][~hidden]))
    mean, square = component["mean"], component["sigma"] ** 2
    total = math.hypot(component["sigma"], row["err"])
    edge = (0.0 - mean) / total
    ratio = stats.norm.pdf(edge) / stats.norm.cdf(edge)
    assert row["true_mean"] == pytest.approx(mean - square / total * ratio, rel=1e-6)
    variance = square - (square / total) ** 2 * ratio * (ratio + edge)
    assert row["true_unc"] == pytest.approx(math.sqrt(variance), rel=1e-6)
    flagged = run(
        "fit", file, "--value", "plain", "--error", "e", "--limit-flag", "flag", "--n-components", 1, "--json"
    )
    # Values in the file have six decimals in one column and all of them in the other.
    assert json.loads(flagged.stdout)["loglik"] == pytest.approx(document["loglik"], abs=1e-3)


def test_the_table_for_people_tells_of_limits(censored):
    file, hidden = censored
    result = run("fit", file, "--value", "m", "--error", "e", "--n-components", 1)
    assert result.exit_code == 0
    assert f"{hidden.sum()} upper limits" in result.stdout


def test_an_unknown_flag_in_a_file_ends_with_status_2(tmp_path):
    file = write(tmp_path / "c.csv", m=[1, 2, 3], flag=["<", "x", ""])
    result = run("fit", file, "--value", "m", "--limit-flag", "flag")
    assert result.exit_code == 2
    assert "column 'flag' has the flag 'x' in 1 row" in result.stderr


def test_limits_in_a_truncated_sample_end_with_status_2(tmp_path):
    file = write(tmp_path / "c.csv", m=["21", "<22", "25"], e=[1, 1, 1])
    result = run("fit", file, "--value", "m", "--error", "e", "--truncated", "20,")
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("mixpipe: error: ")
    assert "limit" in result.stderr


def test_a_truncated_sample_in_a_file(tmp_path):
    rng = np.random.default_rng(4)
    x = rng.normal(0.0, math.hypot(1.0, 0.3), 3000)
    file = write(tmp_path / "c.csv", m=x)
    whole = ["fit", file, "--value", "m", "--error", "0.3", "--n-components", 1, "--json"]
    document = json.loads(run(*whole, "--truncated", "0,").stdout)
    assert document["n_data"] == np.count_nonzero(x >= 0.0)
    assert document["n_dropped"]["outside"] == np.count_nonzero(x < 0.0)
    (component,) = document["components"]
    assert component["mean"] == pytest.approx(0.0, abs=4.0 * component["mean_unc"])
    assert component["sigma"] == pytest.approx(1.0, abs=4.0 * component["sigma_unc"])
    assert component["mean_unc"] < 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--background", "uniform", "--n-components", "1"), "a background and one component"),
        (("--families", "lognormal"), "family lognormal with 1 values that are not positive"),
    ],
)
def test_what_such_a_mixture_cannot_be_ends_in_one_line(tmp_path, options, message):
    file = tmp_path / "x.csv"
    file.write_text("x\n1.0\n2.0\n1.5\n<-1\n3.0\n", encoding="utf-8")
    result = CliRunner().invoke(cli.main, ["fit", str(file), "--value", "x", *options], prog_name="mixpipe")
    assert result.exit_code == 2
    assert message in result.stderr and result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "flags", "marked"),
    [
        ("l_x", ["<", "", "", ">", "", ""], 2),
        ("xlim", [1, 0, 0, 0, -1, -1], 3),
        ("x_lim", [0, 0, 0, 0, 0, 0], None),
        ("xlim", [20.1, 20.3, 21.0, 20.0, 20.2, 20.4], None),
        ("l_y", ["<", "", "", ">", "", ""], None),
    ],
)
def test_flags_that_are_not_used_are_doubted(tmp_path, name, flags, marked):
    file = write(tmp_path / "a.csv", **{name: flags, "x": [1.0, 2.5, 2.0, 3.0, 3.7, 4.2], "e": [0.1] * 6})
    doubts = read_catalog(file, ["x", "e"]).meta["files"][0].get("doubts", [])
    expected = f"{file}: column {name!r} marks limits of 'x' in {marked} rows and is not used: `limit_flag` takes"
    assert [text.startswith(expected) for text in doubts] == [True] * (marked is not None)
    assert "doubts" not in read_catalog(file, ["x", "e", name]).meta["files"][0]


def test_the_flags_of_limits_are_named_beside_their_number(tmp_path):
    flags = [1, 0, 0, 0, -1, -1]
    file = write(tmp_path / "a.csv", flag=flags, x=[1.0, 2.5, 2.0, 3.0, 3.7, 4.2], e=[0.1] * 6)
    said = run("fit", file, "--value", "x", "--error", "e", "--limit-flag", "flag", "--n-components", "1").output
    assert "6 used, 1 upper limit (flag 1 or <) and 2 lower limits (flag -1 or >) among them" in said
