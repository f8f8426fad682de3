"""Small tables of plain numbers are read as pandas reads them, and everything else by pandas itself."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixpipe.catalog.columns import prepare_column
from mixpipe.catalog.formats import text
from mixpipe.catalog.formats.plain import read_plain
from mixpipe.catalog.light import LightTable, as_astropy
from mixpipe.catalog.reading import read_blocks, read_catalog
from mixpipe.config.settings import ColumnSettings

WHOLE = st.integers(-(10**14), 10**14).map(str)
DECIMAL = st.from_regex(r"[+-]?([0-9]{1,6}\.[0-9]{0,7}|\.[0-9]{1,12})", fullmatch=True)
MISSING = st.sampled_from(["", "nan", "NULL", "--", "\u2014"])
ODD = st.sampled_from(
    [" 1", "1 ", "1e3", "1D3", "inf", "True", "x", '"7"', "12345678901234567890", "0.12345678901234567"]
)


@st.composite
def tables(draw):
    """Rows of three columns, of which the first is always there."""
    kinds = [draw(st.sampled_from([WHOLE, DECIMAL, WHOLE | MISSING, DECIMAL | MISSING, WHOLE | DECIMAL])) for _ in "bc"]
    if draw(st.booleans()):
        kinds[draw(st.integers(0, 1))] |= ODD
    return draw(st.lists(st.tuples(WHOLE, *kinds), min_size=1, max_size=6))


def read_both(path, monkeypatch, **options):
    with monkeypatch.context() as patch:
        patch.setattr(text, "_plain", lambda *args: None)
        expected = read_catalog(path, **options)
    return read_catalog(path, **options), expected


def assert_equal(found, expected):
    assert found.colnames == expected.colnames
    for name in expected.colnames:
        one, other = found[name], expected[name]
        assert (one.dtype, one.unit) == (other.dtype, other.unit)
        assert np.ma.getmaskarray(one).tolist() == np.ma.getmaskarray(other).tolist()
        assert np.ma.filled(one, 0).tobytes() == np.ma.filled(other, 0).tobytes()


@settings(max_examples=60, deadline=None)
@given(tables(), st.sampled_from([",", "\t", ";"]))
def test_the_numbers_are_those_of_pandas(tmp_path_factory, rows, delimiter):
    path = tmp_path_factory.mktemp("plain") / "table.csv"
    path.write_text("\n".join(delimiter.join(fields) for fields in [("a", "b", "c"), *rows]) + "\n")
    with pytest.MonkeyPatch.context() as monkeypatch:
        assert_equal(*read_both(path, monkeypatch))


@pytest.mark.parametrize(
    "content",
    [
        b"a b\n1 2.5\n 3  nan\n",
        b"a,b\r\n1,2.5\r\n3,nan\r\n",
        b"# a comment\na,b\n1,2\n# another\n3,4\n",
        b"a,b\n1,2\n3,4",
        b"a,b\n-0,-0.0\n+5,5.\n",
        b"name,b\n\xc3\xa9,2.5\nx y,.5\n",
    ],
)
def test_plain_text_does_not_take_pandas(tmp_path, monkeypatch, content):
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    columns = ["b"]
    expected = read_both(path, monkeypatch, columns=columns)[1]
    monkeypatch.setattr(text, "_parse", lambda *args: pytest.fail("pandas was asked"))
    assert_equal(read_catalog(path, columns), expected)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"1\n", "too few fields"),
        (b"1,2,3\n", "too many fields"),
        (b"\n", "blank"),
        (b'1,"2"\n', "quotes"),
        (b"1, 2\n", "blanks"),
        (b"1,2\r3\n", "a carriage return inside"),
        (b"1,1e5\n", "an exponent"),
        (b"1,1234567890.123456\n", "more digits than are exact"),
        (b"1,inf\n", "a word"),
        (b"1,1_5\n", "an underscore"),
    ],
)
def test_all_other_text_is_left_to_pandas(line, why):
    assert read_plain([b"1,2\n", b"3,4\n"], ",", 2, [0, 1]) is not None
    assert read_plain([b"1,2\n", line, b"3,4\n"], ",", 2, [0, 1]) is None, why
    assert read_plain([], ",", 2, [0, 1]) is None


@pytest.mark.parametrize(
    "settings",
    [
        {"value": "x", "error": "e"},
        {"value": "n", "error": ("hi", "lo")},
        {"value": "x", "error": "n", "error_kind": "variance", "weight": "e"},
        {"value": "x", "limit_flag": "flag", "error": 0.1},
        {"value": "x", "error": "e_percent", "transform": "log10"},
        {"value": "x", "unit": "Msun", "error": 0.2, "membership": "flag"},
        {"value": "hi", "truncated": ("lo", np.inf), "error": "e"},
    ],
)
def test_a_light_table_serves_as_an_astropy_table(tmp_path, settings):
    path = tmp_path / "table.csv"
    rows = ["1.5,0.1,4,.2,-.1,0,3", "2.5,,5,.1,-.2,1,4", ",0.3,6,.3,-.1,-1,5", "4.5,0.2,,.3,-.4,0,", "9.5,.1,7,1,-1,,2"]
    path.write_text("\n".join(["x,e,n,hi,lo,flag,e_percent", *rows]) + "\n")
    (plain,) = read_blocks(path)
    whole = as_astropy(plain)
    assert isinstance(plain, LightTable)
    assert not isinstance(whole, LightTable)
    assert (len(plain), plain.colnames) == (5, whole.colnames)
    entry = ColumnSettings("a", **settings)
    found, expected = (prepare_column(table, entry, where="n < 7 or x > 1") for table in (plain, whole))
    assert 2 <= len(found) < 5
    for name in ("x", "err", "weights", "rows", "limits"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert found.account.dropped == expected.account.dropped
    assert (found.unit, found.row_name(1)) == (expected.unit, expected.row_name(1))


def test_settings_that_respell_cells_are_left_to_pandas(tmp_path, monkeypatch):
    path = tmp_path / "table.csv"
    path.write_text("a;b\n1;2,5\n3;-\n")
    found, expected = read_both(path, monkeypatch, decimal=",")
    assert found["b"].tolist() == expected["b"].tolist() == [2.5, None]
    path.write_text("a;b\n1;2.5\n3;-99\n")
    found, expected = read_both(path, monkeypatch, missing=("-99",))
    assert found["b"].tolist() == expected["b"].tolist() == [2.5, None]


def test_more_rows_than_a_block_are_left_to_pandas(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("a\n" + "1\n" * 5)
    assert [len(table) for table in read_blocks(path, rows=2)] == [2, 2, 1]
    assert [len(table) for table in read_blocks(path, rows=5)] == [5]


def test_large_files_are_left_to_pandas(tmp_path, monkeypatch):
    path = tmp_path / "table.csv"
    path.write_text("a\n" + "1\n" * (text._SMALL // 2))
    monkeypatch.setattr(text, "read_plain", lambda *args: pytest.fail("read line by line"))
    assert len(read_catalog(path)) == text._SMALL // 2
