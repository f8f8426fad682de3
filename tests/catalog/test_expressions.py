"""The language of row cuts: what it selects, and that nothing else passes."""

import itertools
import time

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table
from hypothesis import given
from hypothesis import strategies as st

from mixpipe.base.errors import ConfigError
from mixpipe.catalog.expressions import Expression

LONG = 4295806720123456789


@pytest.fixture(scope="module")
def table() -> Table:
    nan = float("nan")
    return Table(
        {
            "x": [-1.0, 0.0, 2.5, nan, np.inf],
            "n": MaskedColumn([1, 2, 3, 4, 5], mask=[False, False, True, False, False]),
            "kind": MaskedColumn(["DNS", "NS-WD ", "", "X-ray", "DNS"], mask=[False, False, False, True, False]),
            "raw": np.array([b"a", b"b  ", b"", b"d", b"e"]),
            "flag": MaskedColumn([True, False, True, False, True], mask=[False, False, False, False, True]),
            "single": np.array([0.1, -9.99, 1.0, 2.0, 3.0], dtype=np.float32),
            "id": np.array([LONG, LONG + 1, 3, 4, 5]),
            "[Fe/H]": [-1.0, -2.0, 0.0, 0.1, nan],
            "class": [0, 1, 2, 3, 4],
            "grösse": [1, 2, 3, 4, 5],
            "nothing": MaskedColumn(np.zeros(5), mask=True),
        }
    )


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("x > 0", [2, 4]),
        ("x >= 0", [1, 2, 4]),
        ("0 <= x < 3", [1, 2]),
        ("x == 0 or n == 4", [1, 3]),
        ("x == 0 and n == 2", [1]),
        ("x != 0", [0, 2, 4]),
        # A missing value is in neither half.
        ("not x > 0", [0, 1]),
        ("n > 2", [3, 4]),
        ("not n > 2", [0, 1]),
        ("not (n > 2 or x > 100)", [0, 1]),
        # Unknown does not spoil what the other half decides.
        ("x > 0 or n >= 1", [0, 1, 2, 3, 4]),
        ("not (x > 0 and n > 9)", [0, 1, 3, 4]),
        ("kind == 'DNS'", [0, 4]),
        ("kind != 'DNS'", [1]),
        ("kind == 'NS-WD'", [1]),
        ('kind in ["DNS", "NS-WD"]', [0, 1, 4]),
        ("kind not in ('DNS', 'X-ray')", [1]),
        ("kind < 'E'", [0, 4]),
        ("raw == 'b'", [1]),
        ("raw != '#1' and x == 0", [1]),
        ("raw in ['a', 'b   ']", [0, 1]),
        ("n in (1, -2, 4.0)", [0, 3]),
        ("n not in [1]", [1, 3, 4]),
        ("flag", [0, 2]),
        ("not flag", [1, 3]),
        ("flag == True", [0, 2]),
        ("flag and x > 0", [2]),
        ("True", [0, 1, 2, 3, 4]),
        ("False or x == 0", [1]),
        ("2 * n + 1 == 5", [1]),
        ("n % 2 == 0 and n / 2 >= 1", [1, 3]),
        ("-n ** 2 < -15", [3, 4]),
        ("n - 1 - 1 == 3", [4]),
        ("+n == 1", [0]),
        ("abs(x) == 1", [0]),
        ("sqrt(n) == 2", [3]),
        ("log10(10 * n) == 1", [0]),
        ("ln(exp(n)) < 1.5", [0]),
        # No value: neither the comparison nor its opposite.
        ("sqrt(x) >= 0", [1, 2, 4]),
        ("not sqrt(x) >= 0", []),
        ("x / 0 > 0", [2, 4]),
        ("isfinite(x)", [0, 1, 2]),
        ("not isfinite(x)", [3, 4]),
        ("not isfinite(n)", [2]),
        ("`[Fe/H]` > -1.5 and `[Fe/H]` <= 0", [0, 2]),
        ("`class` == 3 or kind == '`'", [3]),
        ("grösse == 3", [2]),
        ("kind == 'ö' or `[Fe/H]` == 0", [2]),
        # Whole numbers exactly, single precision as it was written.
        (f"id == {LONG}", [0]),
        (f"id > {LONG}", [1]),
        ("id < 99999999999999999999999", [0, 1, 2, 3, 4]),
        ("single == 0.1", [0]),
        ("single == -9.99", [1]),
        # A column without any value compares with anything, in vain.
        ("nothing == 'a' or nothing > 1", []),
        ("  x\n  > 0  ", [2, 4]),
        ("2 ** 10 ** 10 ** 10 > 1 and x == 0", [1]),
    ],
)
def test_selected_rows(table: Table, text: str, rows: list[int]) -> None:
    selected = Expression.parse(text).evaluate(table)
    assert selected.dtype == bool
    assert selected.shape == (5,)
    assert np.flatnonzero(selected).tolist() == rows


def test_names_in_order_of_appearance() -> None:
    expression = Expression.parse("b > 1 and (`a b` in [1, 2] or abs(b - c) < d)")
    assert expression.names == ("b", "a b", "c", "d")
    assert Expression.parse("kind == '`x` y'").names == ("kind",)


def test_backquotes_and_umlauts_keep_their_positions() -> None:
    with pytest.raises(ConfigError, match=r"unknown function 'foo', at character 22 of where"):
        Expression.parse("'ü' == `größe x` and foo(1) > 2")


def test_no_rows(table: Table) -> None:
    assert Expression.parse("x > 0 and kind == 'a'").evaluate(table[:0]).shape == (0,)


def test_the_table_is_left_alone(table: Table) -> None:
    before = table.copy()
    Expression.parse("-abs(x) + n > 0 and kind == 'DNS' and not flag").evaluate(table)
    for name in table.colnames:
        np.testing.assert_array_equal(np.ma.getmaskarray(table[name]), np.ma.getmaskarray(before[name]))
        np.testing.assert_array_equal(np.ma.getdata(table[name]), np.ma.getdata(before[name]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("   ", "is empty"),
        ("mass >", "not understood, at character 7"),
        ("mass > 1 and", "not understood"),
        ("(mass > 1", r"never closed.* at character 1 "),
        ("mass = 1", "not understood"),
        ("mass > 1 # heavy\n and x > 2", "found #, at character 10 "),
        ("mass > 1; x", "not understood"),
        ("`[Fe/H] > 1", "not understood"),
        ("kind == 'DNS", "not understood"),
        ("mass > \0", "not understood"),
        ("x" * 5000, "of 5000 characters"),
        ("x > 1e3 and foo(x)", r"unknown function 'foo', at character 13 .*abs, sqrt, log10, ln, exp, isfinite"),
        ("eval('1') > 0", "unknown function 'eval'"),
        ("__import__('os').system('true') == 0", "no function"),
        ("(lambda: 1)() > 0", "no function"),
        ("abs(x)(1) > 0", "no function"),
        ("abs(x, y) > 1", "abs with 2 arguments"),
        ("abs(x=1) > 1", "abs with 1 arguments|not understood|abs with"),
        ("abs(*x) > 1", "Starred is not part"),
        ("x.__class__ == 1", "attribute"),
        ("x[0] > 1", "index"),
        ("[y for y in x] == 1", "ListComp is not part"),
        ("f'{x}' == 'a'", "f-string"),
        ("x if y else z", "if-else"),
        ("(y := 1) > 0", "NamedExpr is not part"),
        ("class == 'STAR'", "class is a word of the language; the column is `class`, in backquotes"),
        ("x > 1 & y < 2", "an operator is not part"),
        ("~flag", "an operator is not part"),
        ("x // 2 > 1", "an operator is not part"),
        ("x is None", "expected one of =="),
        ("x == None", "None is not part"),
        ("x == b'a'", "is not part"),
        ("x > 1j", "is not part"),
        ("x == ...", "is not part"),
        ("x in y", "no list after `in`"),
        ("x in 'abc'", "no list after `in`"),
        ("x in []", "no list after `in`"),
        ("x in [y]", "a name in a list"),
        ("x == [1, 2]", "a list is not part"),
        ("1 < x in [2]", "single in"),
        ("x > 1" + "0" * 400, "a number too large"),
        ("(" * 150 + "x" + ")" * 150 + " > 0 and " + "-" * 100 + "x > 0", "nested too deeply"),
        ("not " * 900 + "x", "nested too deeply|not understood"),
        ("-" * 3900 + "x > 1", "nested too deeply|not understood"),
        ("(" * 1900 + "x" + ")" * 1900 + " > 0", "nested"),
    ],
)
def test_what_is_no_condition(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        Expression.parse(text)
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind > 3", "text is compared with a number, at character 1 "),
        ("x == 'a'", "a number is compared with text, at character 1 "),
        ("x in ['a']", "a number is compared with text"),
        ("kind in [1]", "text is compared with a number"),
        ("kind + 1 > 2", "found text, at character 1 "),
        ("abs(kind) > 2", "found text, at character 5 "),
        ("(x > 1) + 1 > 2", "found a comparison"),
        ("(x > 1) == (n > 1)", "a comparison is compared"),
        ("x and n > 1", "a value stands alone, at character 1 "),
        ("not kind", "a value stands alone, at character 5 "),
        ("x + 1", "a value stands alone"),
        ("1", "a value stands alone"),
        ("X > 1", r"no column 'X', at character 1 of where: X > 1, expected one of x, n, .*\(did you mean 'x'\?\)"),
    ],
)
def test_conditions_that_do_not_fit_the_table(table: Table, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Expression.parse(text).evaluate(table)


@pytest.mark.parametrize(
    ("text", "unquoted"),
    [
        ("kind == NS", {"NS": "kind == 'NS'"}),
        ("x > 1 and kind != NS-WD", {"NS": "kind != 'NS-WD'", "WD": "kind != 'NS-WD'"}),
        ("`my kind`  ==  σ", {"σ": "`my kind`  ==  'σ'"}),
        ("x > y", {}),
        ("x == 'NS'", {}),
        ("0 < x < y", {}),
    ],
)
def test_names_that_may_be_text_without_quotes(text: str, unquoted: dict) -> None:
    assert Expression.parse(text).unquoted == unquoted


def test_text_without_quotes_is_told_from_a_misspelt_column(table: Table) -> None:
    with pytest.raises(ConfigError, match=r"no column 'DNS', .*; text needs quotes, kind == 'DNS'"):
        Expression.parse("kind == DNS").evaluate(table)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = 1", "`==` in place of `=`"),
        ("x > 1 & y < 2", "`and` in place of `&`"),
        ("x > 1 && y < 2", "`and` in place of `&&`"),
        ("x > 1 || y < 2", "`or` in place of `||`"),
        ("x > 1 OR y < 2", "`or` in place of `OR`"),
        ("!(x > 1)", "`not` in place of `!`"),
        ("x <> 1", "`!=` in place of `<>`"),
        ("x =< 1", "`<=` in place of `=<`"),
        ("x^2 > 1", "`**` in place of `^`"),
        ("kind == “NS”", "`'` in place of `“`"),
        # In quotes they are text.
        ("kind == 'a = b' or", "a condition such as"),
    ],
)
def test_what_other_languages_write_is_told(text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Expression.parse(text)
    assert caught.value.expected.startswith(expected)


def test_columns_with_several_values_a_row() -> None:
    with pytest.raises(ConfigError, match="'pdf' holds several values a row"):
        Expression.parse("pdf > 0").evaluate(Table({"pdf": np.zeros((2, 3))}))


def test_huge_powers_return_at_once(table: Table) -> None:
    start = time.perf_counter()
    Expression.parse("9 ** 9 ** 9 ** 9 > x and 999999 ** 999999 ** n > 1").evaluate(table)
    assert time.perf_counter() - start < 1.0


# The truth of every row, worked out with None for unknown as in the SQL standard.
def sql(tree: tuple | str, row: dict[str, bool | None]) -> bool | None:
    if isinstance(tree, str):
        return row[tree]
    if tree[0] == "not":
        inner = sql(tree[1], row)
        return None if inner is None else not inner
    a, b = sql(tree[1], row), sql(tree[2], row)
    decisive = tree[0] == "or"
    if decisive in (a, b):
        return decisive
    return None if None in (a, b) else not decisive


def written(tree: tuple | str) -> str:
    if isinstance(tree, str):
        return f"{tree} > 0"
    if tree[0] == "not":
        return f"not ({written(tree[1])})"
    return f"({written(tree[1])}) {tree[0]} ({written(tree[2])})"


trees = st.recursive(
    st.sampled_from(["a", "b", "c"]),
    lambda inner: st.one_of(st.tuples(st.just("not"), inner), st.tuples(st.sampled_from(["and", "or"]), inner, inner)),
    max_leaves=6,
)


@given(trees)
def test_three_valued_logic(tree: tuple | str) -> None:
    rows = [dict(zip("abc", values, strict=True)) for values in itertools.product([True, False, None], repeat=3)]
    number = {True: 1.0, False: -1.0, None: np.nan}
    table = Table({name: [number[row[name]] for row in rows] for name in "abc"})
    expected = [sql(tree, row) is True for row in rows]
    assert Expression.parse(written(tree)).evaluate(table).tolist() == expected
