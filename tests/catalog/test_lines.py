"""Lines of delimited text that are not what they seem: read as an expert reads them, or doubted or refused in words."""

import gzip

import numpy as np
import pytest
from astropy.table import Table

from mixpipe.base.errors import CatalogError
from mixpipe.catalog import read_catalog
from mixpipe.catalog.columns import prepare_column
from mixpipe.catalog.light import as_astropy
from mixpipe.catalog.reading import read_blocks
from mixpipe.config.settings import ColumnSettings
from tests.catalog.test_files_people_have import ERROR, MASS, NAMES, doubts, is_right, rows, write

HEADER = "name,mass,e_mass"


@pytest.mark.parametrize(
    "form",
    [
        "# {k}: {name}",
        "# {k}. {name}",
        "# ({k}) {name}",
        "# Column {k}: {name}",
        "# col{k} = {name}",
        "#COL{k} - {name}",
    ],
)
def test_columns_that_are_numbered_by_hand(tmp_path, form):
    head = [form.format(k=k, name=name) for k, name in enumerate(("name", "mass [Msun]", "e_mass [Msun]"), start=1)]
    table = read_catalog(write(tmp_path / "t.dat", "# My stars", *head, *rows()))
    assert table.colnames == ["name", "mass", "e_mass"]
    assert is_right(table)
    assert str(table["mass"].unit) == "solMass"


@pytest.mark.parametrize("mark", ["%", "!", "//", ";", "\\", "%%", "#!"])
def test_names_behind_another_mark(tmp_path, mark):
    table = read_catalog(write(tmp_path / "t.dat", f"{mark} name mass e_mass", *rows()))
    assert table.colnames == ["name", "mass", "e_mass"]
    assert is_right(table)
    assert doubts(table) == []


def test_words_of_an_explanation_are_no_names(tmp_path):
    with pytest.raises(CatalogError, match="no header line: the first line looks like a row"):
        read_catalog(write(tmp_path / "t.dat", "# mass = M", "# column 3: errors", *rows()))


@pytest.mark.parametrize("separator", [" ", ","])
def test_rows_behind_several_hashes_and_right_below_the_names(tmp_path, separator):
    lines = rows(separator)
    lines[0], lines[4] = f"# {lines[0]}", f"## {lines[4]}"
    table = read_catalog(write(tmp_path / "t.dat", f"# {separator.join(('name', 'mass', 'e_mass'))}", *lines))
    assert table["name"].tolist() == [name for i, name in enumerate(NAMES) if i not in (0, 4)]
    assert doubts(table) == [f"{tmp_path}/t.dat: 2 rows left out as commented out with #, the first in line 2"]


def test_numbers_of_columns_and_names_again_are_not_rows(tmp_path):
    lines = rows()
    table = read_catalog(
        write(tmp_path / "t.dat", "# name mass e_mass", "# 1 2 3", *lines[:6], "# name mass e_mass", *lines[6:])
    )
    assert is_right(table)
    assert doubts(table) == []


@pytest.mark.parametrize("mark", ["%", "!", "//", ";", "--"])
def test_rows_behind_another_mark_are_doubted(tmp_path, mark):
    lines = rows(",")
    lines[3], lines[7] = mark + lines[3], mark + lines[7]
    path = write(tmp_path / "t.csv", HEADER, *lines)
    table = read_catalog(path)
    assert len(table) == len(MASS)
    (said,) = doubts(table)
    assert f"2 rows beginning with {mark}, the first in line 5, used like the others" in said
    assert "`comment` leaves them out" in said
    told = read_catalog(path, comment=mark)
    assert (len(told), doubts(told)) == (len(MASS) - 2, [])


def test_two_dashes_alone_and_negative_numbers_strike_nothing_out(tmp_path):
    lines = rows(",")
    lines[3], lines[7] = lines[3].replace(NAMES[3], "--"), lines[7].replace(NAMES[7], "-7")
    assert doubts(read_catalog(write(tmp_path / "t.csv", HEADER, *lines))) == []


@pytest.mark.parametrize(
    ("separator", "second"),
    [
        (",", "id,period,e_period"),
        (",", "id,period"),
        (",", "id,period,e_period,n"),
        (" ", "id period e_period"),
        ("\t", "id\tperiod\te_period"),
    ],
)
@pytest.mark.parametrize("blank", [[""], ["", ""], ["", "# Table 2"]])
def test_a_second_table_is_refused_with_its_line(tmp_path, separator, second, blank):
    first = [separator.join(("name", "mass", "e_mass")), *rows(separator)]
    below = [separator.join(("P1", "10.5", "0.5", "4")[: len(second.split(separator))])] * 5
    with pytest.raises(CatalogError) as error:
        read_catalog(write(tmp_path / "t.dat", *first, *blank, second, *below))
    assert error.value.what == (
        f"a second table begins in line {len(first) + len(blank) + 1}, below a blank line, with the header {second!r}"
    )
    assert error.value.expected == "one table in a file; save each in a file of its own"


def test_a_second_header_right_below_the_rows_that_begins_like_the_first(tmp_path):
    with pytest.raises(CatalogError, match="a second table begins in line 14 with the header 'name,period,e_period'"):
        read_catalog(write(tmp_path / "t.csv", HEADER, *rows(","), "name,period,e_period", "P1,10.5,0.5"))


def test_a_second_table_below_a_line_of_commas(tmp_path):
    with pytest.raises(CatalogError, match="a second table begins in line 15"):
        read_catalog(write(tmp_path / "t.csv", HEADER, *rows(","), ",,", "id,period,e_period", "P1,10.5,0.5"))


@pytest.mark.parametrize("word", ["1", "*"])
def test_an_empty_row_among_rows_is_one_of_missing_values(tmp_path, word):
    lines = ["x,y,n", "1,2,a", "3,4,b", ",,", f"{word},{word},c", "5,6,d"]
    table = read_catalog(write(tmp_path / "t.csv", *lines))
    assert not doubts(table)
    assert len(table) == 5
    assert np.ma.getmaskarray(table["n"]).tolist() == [False, False, True, False, False]


@pytest.mark.parametrize("blank", [[], [""]])
def test_headers_of_files_that_were_joined_are_left_out(tmp_path, blank):
    lines = rows(",")
    path = write(tmp_path / "t.csv", HEADER, *lines[:5], *blank, HEADER, *lines[5:])
    table = read_catalog(path)
    assert is_right(table)
    (said,) = doubts(table)
    assert f"the header is repeated in 1 line, the first in line {7 + len(blank)}: were files joined?" in said
    blocks = list(read_blocks(path, rows=4))
    assert sum(map(len, blocks)) == len(MASS)
    assert doubts(blocks[0]) == [said]


def test_rows_below_a_blank_line_are_doubted(tmp_path):
    lines = rows(",")
    table = read_catalog(write(tmp_path / "t.csv", HEADER, *lines[:5], "", *lines[5:], "", ""))
    assert is_right(table)
    assert doubts(table) == [
        f"{tmp_path}/t.csv: rows follow 1 blank line, the first in line 7: is that another table? If so, save it in "
        "another file"
    ]


def test_a_row_of_missing_values_below_a_blank_line_is_no_header(tmp_path):
    table = read_catalog(write(tmp_path / "t.csv", HEADER, *rows(","), "", "S012,--,...", "S013,<3.5,"))
    assert len(table) == len(MASS) + 2


@pytest.mark.parametrize("last", ["S012,5", "S012", "S012,5.5"])
def test_a_file_that_ends_within_a_row_is_doubted(tmp_path, last):
    table = read_catalog(write(tmp_path / "t.csv", HEADER, *rows(","), last))
    assert np.flatnonzero(table["e_mass"].mask).tolist() == [12]
    (said,) = doubts(table)
    assert "1 row with fewer fields than the header, the first in line 14: is the file cut short?" in said


def test_files_without_delimiters_at_the_end_of_rows_are_not_doubted(tmp_path):
    lines = [f"{line}," for line in rows(",")]
    lines[::2] = [f"{line}seen" for line in lines[::2]]
    lines[1::2] = [line.removesuffix(",") for line in lines[1::2]]
    table = read_catalog(write(tmp_path / "t.csv", f"{HEADER},remark", *lines, "S012,5.500,0.100,"))
    assert doubts(table) == []


def test_quotes_over_lines_hide_what_looks_odd(tmp_path):
    text = '"a note\n\n% of the kind\nname,mass,e_mass,flag"'
    lines = rows(",")
    lines[2] = lines[2].replace(NAMES[2], text)
    table = read_catalog(write(tmp_path / "t.csv", HEADER, *lines))
    assert is_right(table)
    assert doubts(table) == []


@pytest.mark.parametrize("first", ["sep=;", "SEP=;", '"sep=;"'])
def test_the_first_line_for_excel(tmp_path, first):
    assert is_right(read_catalog(write(tmp_path / "t.csv", first, HEADER.replace(",", ";"), *rows(";"))))


def test_a_tab_in_the_first_line_for_excel(tmp_path):
    assert is_right(read_catalog(write(tmp_path / "t.csv", "sep=\t", HEADER.replace(",", "\t"), *rows("\t"))))


def test_a_table_without_header_and_with_decimal_commas_is_refused(tmp_path):
    with pytest.raises(CatalogError, match="no header line: the first line looks like a row, 'S000;9,077;0,182'"):
        read_catalog(write(tmp_path / "t.csv", *(line.replace(".", ",") for line in rows(";"))))


@pytest.mark.parametrize("types", ["10S\t8.3N\t8N", "4s\t8n\t8n", "S\tN>\tN>"])
def test_types_of_rdb_in_other_spellings(tmp_path, types):
    assert is_right(read_catalog(write(tmp_path / "t.rdb", HEADER.replace(",", "\t"), types, *rows("\t"))))


def test_a_blank_line_of_units_above_the_dashes_of_vizier(tmp_path):
    table = read_catalog(write(tmp_path / "t.tsv", "name\tmass\te_mass", "", "----\t-----\t-----", *rows("\t")))
    assert is_right(table)
    assert doubts(table) == []


def test_a_comment_that_says_that_the_query_was_cut_short(tmp_path):
    head = ["#INFO\tQUERY_STATUS=OVERFLOW\ttruncated to 12 rows", "name\tmass\te_mass"]
    (said,) = doubts(read_catalog(write(tmp_path / "t.tsv", *head, *rows("\t"))))
    assert "the table is cut short: the query reached its limit of rows (OVERFLOW) (truncated to 12 rows)" in said
    with pytest.raises(CatalogError, match=r"the query ended with status ERROR \(timeout\)"):
        read_catalog(write(tmp_path / "t.tsv", "# QUERY_STATUS = ERROR timeout", *head[1:], *rows("\t")))


@pytest.mark.parametrize("word", ["----", ".....", ".", "\u2014", "none", r"\ldots", "-nan(ind)"])
def test_more_words_for_a_missing_value(tmp_path, word):
    table = read_catalog(write(tmp_path / "t.csv", HEADER, *rows(",", r3=word)))
    assert np.flatnonzero(table["mass"].mask).tolist() == [3]
    assert table["mass"].dtype == np.float64


def test_files_that_are_no_tables_are_named(tmp_path):
    with pytest.raises(CatalogError) as error:
        read_catalog(write(tmp_path / "t.csv", '[{"mass": 1.5}]', *rows(",")))
    assert error.value.what == "the file is JSON"
    assert error.value.expected.startswith("the table itself")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("separator", [",", "\t"])
@pytest.mark.parametrize("zipped", [True, False])
def test_text_in_utf_16(tmp_path, encoding, separator, zipped):
    head = "\ufeff" + separator.join(("name", "mass", "e_mass"))
    path = write(tmp_path / "t.txt", head, *rows(separator, r3="\u2026"), encoding=encoding)
    if zipped:
        path.write_bytes(gzip.compress(path.read_bytes()))
    table = read_catalog(path)
    assert table.colnames == ["name", "mass", "e_mass"]
    assert np.flatnonzero(table["mass"].mask).tolist() == [3]
    np.testing.assert_array_equal(np.delete(table["mass"].data.data, 3), np.delete(MASS, 3))


def test_a_votable_in_utf_16(tmp_path):
    path = tmp_path / "t.vot"
    Table({"mass": MASS, "e_mass": ERROR}).write(path, format="votable")
    text = path.read_text().replace('encoding="utf-8"', 'encoding="UTF-16"')
    assert is_right(read_catalog(write(path, text, encoding="utf-16")))


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        (",km/s,m/s", ("km / s", "m / s")),
        ("-,[km/s],(m/s)", ("km / s", "m / s")),
        (",furlong,km", ("furlong", "km")),
        (",,m", (None, "m")),
        ("---,mag,---", ("mag", None)),
        ("None,Msun,N/A", ("solMass", None)),
        ('"","[Msun]","[]"', ("solMass", None)),
    ],
)
def test_a_line_of_units_below_the_names(tmp_path, units, expected):
    table = read_catalog(write(tmp_path / "t.csv", "name,mass,e_mass", units, *rows(",")))
    assert (
        tuple(None if column.unit is None else str(column.unit) for column in (table["mass"], table["e_mass"]))
        == expected
    )
    assert doubts(table) == [f"{tmp_path}/t.csv: line 2 has the units of the columns, and is no row"]
    assert is_right(table)


@pytest.mark.parametrize(
    ("line", "what", "unit"),
    [
        ("hms,km/s,m/s", "units", "km / s"),
        ("yyyy-mm-dd,km/s,", "units", "km / s"),
        ("string,float,float64", "types", None),
    ],
)
def test_a_line_of_units_or_types_may_have_any_word_over_text(tmp_path, line, what, unit):
    table = read_catalog(write(tmp_path / "t.csv", "name,mass,e_mass", line, *rows(",")))
    assert is_right(table)
    assert unit == (None if table["mass"].unit is None else str(table["mass"].unit))
    assert doubts(table) == [f"{tmp_path}/t.csv: line 2 has the {what} of the columns, and is no row"]


def test_the_minus_of_typesetters_is_a_sign(tmp_path):
    lines = [line.replace("-", "\u2212") for line in ("a,-1.5,2", "b,1.5,-2.5e-3", "c,\u2212,0.5")]
    table = read_catalog(write(tmp_path / "t.csv", "name,x,y", *lines))
    assert table["x"].tolist() == [-1.5, 1.5, None]
    assert table["y"].tolist() == [2.0, -2.5e-3, 0.5]


@pytest.mark.parametrize(
    ("cell", "hint"),
    [
        ("12.3±0.4", "a value with its error"),
        ("12.3 +/- 0.4", "a value with its error"),
        ("14.454(421)", "a value with its error"),
        ("2.91%", "a number with its unit"),
        ("14.454 km/s", "a number with its unit"),
        ("12:34:00.5", "an angle or a time"),
        ("1.2x10^-15", "a power of ten"),
        ("3 × 10^{-15}", "a power of ten"),
        ("x10^-15", "a power of ten"),
        ("see note", "`missing` lists texts"),
        ("1'234.5", "numbers without marks of thousands"),
    ],
)
def test_what_cells_that_are_no_numbers_look_like(tmp_path, cell, hint):
    table = read_catalog(write(tmp_path / "t.csv", "name;x", "a;1.5", f"b;{cell}", "c;2.5"))
    with pytest.raises(CatalogError) as error:
        prepare_column(table, ColumnSettings("x", "x"))
    assert hint in error.value.expected


@pytest.mark.parametrize("separator", [" ", ","])
def test_names_with_their_units_in_brackets_in_a_comment(tmp_path, separator):
    head = "# name mass [Msun] e_mass [Msun]"
    table = read_catalog(write(tmp_path / "t.dat", "# made by hand", head, *rows(separator)))
    assert is_right(table)
    assert [str(table[name].unit) for name in ("mass", "e_mass")] == ["solMass"] * 2


def test_a_line_of_units_between_white_space(tmp_path):
    table = read_catalog(write(tmp_path / "t.dat", "name mass e_mass", "--- Msun Msun", *rows()))
    assert is_right(table)
    assert str(table["mass"].unit) == "solMass"


@pytest.mark.parametrize("first", ["K,0.5,0.1", "S,,", "S,n/a,nan", "K,see note,", "m,-,--"])
def test_a_row_that_has_letters_like_units_is_a_row(tmp_path, first):
    """Texts are below its letters, or it has something else than units."""
    table = read_catalog(write(tmp_path / "t.csv", "type,mass,e_mass", first, *rows(",")))
    assert len(table) == len(MASS) + 1
    assert not doubts(table)


@pytest.mark.parametrize("separator", [",", "\t"])
def test_quotes_without_an_end_are_doubted_with_the_rows_that_they_hide(tmp_path, separator):
    lines = rows(separator)
    lines[2], lines[7] = f'"{lines[2]}', f'"{lines[7]}'
    table = read_catalog(write(tmp_path / "t.csv", separator.join(("name", "mass", "e_mass")), *lines))
    assert len(table) == 7
    (said,) = doubts(table)
    assert "5 lines within quotes, the first in line 5, that look like rows: is a quote missing?" in said


def test_rows_that_sum_up_the_others_are_doubted(tmp_path):
    table = read_catalog(write(tmp_path / "t.csv", HEADER, *rows(","), "Mean,6.874,0.106", "std,2.1,0.05"))
    (said,) = doubts(table)
    assert "2 rows called like a mean or a total, the first in line 14: used as the others" in said


@pytest.mark.parametrize("header", ["name;mass;e_mass", "name\tmass\te_mass"])
def test_a_header_with_another_delimiter_than_the_rows_is_refused(tmp_path, header):
    with pytest.raises(CatalogError, match=r"no row has the delimiter .*, which cuts the header into 3 names"):
        read_catalog(write(tmp_path / "t.csv", header, *rows(",")))


def test_marks_of_inches_are_no_quotes(tmp_path):
    lines = rows(",")
    lines[2] = lines[2].replace(NAMES[2], '5" ap')
    table = read_catalog(write(tmp_path / "t.csv", HEADER, *lines))
    assert is_right(table)
    assert doubts(table) == []


@pytest.mark.parametrize(
    ("row", "cell"), [(1, "0.9036D+01"), (10, "0.4603d1"), (2, " 8.764\u00a0"), (4, "NA "), (7, "-- ")]
)
def test_blocks_without_the_spelling_of_another_block(tmp_path, row, cell):
    """The type of a column is that of all rows; those of other blocks are plain numbers."""
    path = write(tmp_path / "t.csv", HEADER, *rows(",", **{f"r{row}": cell}))
    expected = np.where((np.arange(12) == row) & (cell in ("NA ", "-- ")), np.nan, MASS)
    for size in (3, 4, 5, 100):
        parts = [part["mass"] for part in read_blocks(path, ["mass"], rows=size)]
        np.testing.assert_allclose(np.concatenate([np.ma.filled(part, np.nan) for part in parts]), expected)


@pytest.mark.parametrize(
    ("cell", "limit"), [("<5,064", -1), ("> 5,064", 1), ("\u22645,064", -1), ("n/a", 0), ("5,064", 0)]
)
def test_limits_with_a_comma_for_the_point(tmp_path, cell, limit):
    lines = [line.replace(".", ",") for line in rows(";", r3=cell)]
    path = write(tmp_path / "t.csv", HEADER.replace(",", ";"), *lines)
    settings = ColumnSettings(name="mass", value="mass", error="e_mass")
    for size in (5, 100):
        parts = [prepare_column(as_astropy(part), settings) for part in read_blocks(path, rows=size, decimal=",")]
        x, limits = (np.concatenate([getattr(part, name) for part in parts]) for name in ("x", "limits"))
        np.testing.assert_allclose(x, np.delete(MASS, [3] if cell == "n/a" else []))
        assert limits.sum() == limit


@pytest.mark.parametrize("form", ["[{k}]{name}", "{k}:{name}", "({k}){name}", "{k}.{name}"])
def test_names_that_have_their_numbers_in_front_in_one_line(tmp_path, form):
    names = " ".join(form.format(k=k, name=name) for k, name in enumerate(("name", "mass", "e_mass"), start=1))
    for mark in ("#", "# ", "% "):
        assert is_right(read_catalog(write(tmp_path / "t.dat", f"{mark}{names}", *rows())))


@pytest.mark.parametrize("separator", [" ", ","])
def test_the_end_of_a_file_of_dos_is_no_row(tmp_path, separator):
    head = separator.join(("name", "mass", "e_mass"))
    path = write(tmp_path / "t.txt", head, *rows(separator), "\x1a")
    assert is_right(read_catalog(path))
    assert not doubts(read_catalog(path))
