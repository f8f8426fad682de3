"""Files as people have them: each kind in two spellings, read as an expert reads it, or refused or doubted in words."""

import gzip
import re

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import Table

from mixpipe.base.errors import CatalogError, ConfigError
from mixpipe.catalog import read_catalog
from mixpipe.catalog.columns import prepare_column
from mixpipe.catalog.densities import open_densities
from mixpipe.catalog.files import expand_files
from mixpipe.catalog.joint import prepare_joint
from mixpipe.catalog.reading import list_columns, read_blocks
from mixpipe.catalog.store import read_columns, write_blocks
from mixpipe.config.settings import ColumnSettings, JointSettings

NAMES = [f"S{i:03d}" for i in range(12)]
MASS = np.array([9.077, 9.036, 8.764, 5.064, 4.406, 8.547, 4.902, 8.149, 9.339, 4.338, 4.603, 5.323])
ERROR = np.array([0.182, 0.128, 0.187, 0.057, 0.055, 0.053, 0.087, 0.087, 0.078, 0.135, 0.056, 0.139])


def rows(separator=" ", **changed):
    """Lines of name, mass and error; `changed` gives other texts for a mass, as ``r3="..."``."""
    masses = [changed.get(f"r{i}", f"{mass:.3f}") for i, mass in enumerate(MASS)]
    return [
        separator.join((name, mass, f"{error:.3f}")) for name, mass, error in zip(NAMES, masses, ERROR, strict=True)
    ]


def write(path, *lines, encoding="utf-8"):
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text("\n".join(lines) + "\n", encoding=encoding)
    return path


def doubts(table):
    return [text for file in table.meta["files"] for text in file.get("doubts", ())]


def is_right(table, mass="mass", error="e_mass"):
    np.testing.assert_allclose(np.asarray(table[mass], dtype=float), MASS, rtol=1e-6)
    np.testing.assert_allclose(np.asarray(table[error], dtype=float), ERROR, rtol=1e-6)
    return True


# Machine-readable tables


DESCRIPTION = [
    "Byte-by-byte Description of file: table1.dat",
    "-" * 80,
    "   Bytes Format Units   Label   Explanations",
    "-" * 80,
    "   1-  4 A4     ---     Name    Star name",
    "   6- 11 F6.3   dex     FeH     {mark} Metallicity",
    "  13- 17 F5.3   dex     e_FeH   ? Error",
    "-" * 80,
]


def described(mark, word="Byte-by-byte"):
    return [line.format(mark=mark).replace("Byte-by-byte", word) for line in DESCRIPTION]


def fixed(null):
    """Rows of fixed width, of which two have the mark of a missing value."""
    cells = [null if i in (0, 9) else f"{mass - 4.0:6.3f}" for i, mass in enumerate(MASS)]
    return [f"{name} {cell:>6} {error:5.3f}" for name, cell, error in zip(NAMES, cells, ERROR, strict=True)]


@pytest.mark.parametrize(
    ("mark", "null"),
    [
        ("?=-9.99+", "-9.99"),
        ("?=-9.99;", "-9.99"),
        ("?+=-9.99", "-9.99"),
        ("[-3/1]?=-9.99-", "-9.99"),
        ("?=-99", "-99.00"),
        ("?=-1", "-1.000"),
        ("?=-99.", "-99"),
        ("? = -9.99", "-9.99"),
        ("?=-9.99?", "-9.99"),
        ("[-3/1]?=-9*", "-9"),
        ("*?=-9.99", "-9.99"),
        ("(1)?=-9.99", "-9.99"),
        ('?="--"', "--"),
        ("(null=-9.9)", "-9.90"),
        ("Iron ?=-9.99", "-9.99"),
    ],
)
def test_marks_of_missing_values_are_numbers(tmp_path, mark, null):
    table = read_catalog(write(tmp_path / "mrt.txt", "Title: T", *described(mark), *fixed(null)))
    assert np.flatnonzero(table["FeH"].mask).tolist() == [0, 9]
    np.testing.assert_allclose(table["FeH"].compressed(), np.delete(MASS, [0, 9]) - 4.0, atol=1e-9)
    assert str(table["FeH"].unit) == "dex"


@pytest.mark.parametrize("word", ["...", "---", "--", "....", "-"])
@pytest.mark.parametrize("mark", ["", "?", "?=-9.99"])
def test_dots_and_dashes_in_machine_readable_tables_are_missing(tmp_path, mark, word):
    lines = fixed(word)
    lines[4] = lines[4].replace(f"{MASS[4] - 4.0:6.3f}", "      ")
    table = read_catalog(write(tmp_path / "mrt.txt", "Title: T", *described(mark), *lines))
    assert np.flatnonzero(table["FeH"].mask).tolist() == [0, 4, 9]
    assert table["FeH"].dtype == np.float64


def test_a_mark_of_missing_values_in_the_next_line_of_the_explanation(tmp_path):
    lines = described("")
    lines.insert(6, " " * 32 + "?=-9.99 in units of the Sun")
    table = read_catalog(write(tmp_path / "mrt.txt", "Title: T", *lines, *fixed("-9.99")))
    assert np.flatnonzero(table["FeH"].mask).tolist() == [0, 9]
    assert not table["e_FeH"].mask.any()


IPAC = ["|Name|FeH   |e_FeH|", "|char|double|real |", "|    |dex   |dex  |", "|null|-9.99 |null |"]


@pytest.mark.parametrize("word", ["******", "1.2:"])
@pytest.mark.parametrize("head", [["Title: T", *described("?=-9.99")], IPAC], ids=["mrt", "ipac"])
def test_text_among_numbers_matters_only_in_columns_that_are_used(tmp_path, head, word):
    lines = [line if head is not IPAC else f" {line}" for line in fixed("-9.990")]
    lines[4] = lines[4].replace(f"{MASS[4] - 4.0:6.3f}", f"{word:>6}")
    path = write(tmp_path / ("t.tbl" if head is IPAC else "t.txt"), *head, *lines)
    np.testing.assert_allclose(read_catalog(path)["e_FeH"], ERROR, rtol=1e-6)
    assert len(prepare_column(read_catalog(path), ColumnSettings("e", "e_FeH"))) == 12
    said = "column 'FeH' has text in 1 of 12 rows, the first is " + repr(word) + " in row 5"
    with pytest.raises(CatalogError, match=re.escape(said)):
        prepare_column(read_catalog(path), ColumnSettings("m", "FeH"))
    # The mark of missing values is one as before.
    used = prepare_column(read_catalog(path, missing=[word]), ColumnSettings("m", "FeH"))
    np.testing.assert_allclose(used.x, np.delete(MASS, [0, 4, 9]) - 4.0, atol=1e-9)


@pytest.mark.parametrize("place", [4, 11])
def test_letters_under_the_bars_of_a_head_are_refused(tmp_path, place):
    lines = [f" {line}" for line in fixed("-9.990")]
    head = [line[: place + 1] + " " + line[place + 1 :] for line in IPAC]
    with pytest.raises(CatalogError, match=f"line 5 has '[-.0-9]' under a bar of the head, at place {place + 3}"):
        read_catalog(write(tmp_path / "t.tbl", *head, *lines))


@pytest.mark.parametrize("word", ["Byte-per-byte", "BYTE-BY-BYTE"])
def test_descriptions_in_other_words(tmp_path, word):
    table = read_catalog(write(tmp_path / "old.txt", "Title: T", *described("?=-9.99", word), *fixed("-9.99")))
    assert (len(table), table["FeH"].mask.sum()) == (12, 2)


@pytest.mark.parametrize("pattern", ["table1.dat", "table*.dat"])
def test_a_readme_beside_the_rows(tmp_path, pattern):
    other = [line.replace("table1.dat", "other.dat") for line in described("")]
    lines = [line.replace("table1.dat", pattern) for line in described("?=-9.99")]
    write(tmp_path / "ReadMe", "J/ApJ/1/1  A catalog", *other, "", *lines)
    table = read_catalog(write(tmp_path / "table1.dat", *fixed("-9.99")))
    assert table.colnames == ["Name", "FeH", "e_FeH"]
    assert (len(table), table["FeH"].mask.sum()) == (12, 2)


@pytest.mark.parametrize("name", ["README", "readme.txt"])
def test_a_readme_that_is_spelled_otherwise_and_states_more_rows(tmp_path, name):
    summary = ["File Summary:", "ReadMe       80    .  This file", "table1.dat   17   {n}  Stars", ""]
    for stated, said in (
        (12, []),
        (40, [f"{tmp_path}/table1.dat: 12 rows, but the ReadMe states 40: is the file whole?"]),
    ):
        lines = [line.format(n=stated) for line in summary]
        write(tmp_path / name, *lines, *described("?=-9.99"))
        table = read_catalog(write(tmp_path / "table1.dat", *fixed("-9.99")))
        assert (table["FeH"].mask.sum(), doubts(table)) == (2, said)


def test_rows_beside_their_columns_and_behind_a_hash_are_doubted(tmp_path):
    head = ["Title: T", *described("")]
    lines = fixed("1.0")
    assert doubts(read_catalog(write(tmp_path / "t.txt", *head, *lines, "-" * 80))) == []
    lines[3], lines[5], lines[7] = f" {lines[3]}", f" {lines[5]}", f"#{lines[7][1:]}"
    shifted, marked = doubts(read_catalog(write(tmp_path / "t.txt", *head, *lines)))
    assert "2 rows with text between the columns of the description, the first in line 13: are they shifted?" in shifted
    assert "1 row beginning with #, the first in line 17, used like the others" in marked


def test_two_tables_in_one_file_are_refused(tmp_path):
    path = write(tmp_path / "two.txt", "Title: T", *described(""), *fixed("1.0"), *described(""), *fixed("1.0"))
    with pytest.raises(CatalogError, match="the file describes 2 tables"):
        read_catalog(path)


# Text


@pytest.mark.parametrize("separator", [" ", ",", "\t"])
def test_rows_that_are_struck_out_are_counted(tmp_path, separator):
    lines = rows(separator)
    lines[4] = "#" + lines[4]
    table = read_catalog(write(tmp_path / "t.dat", separator.join(("name", "mass", "e_mass")), *lines))
    assert table["name"].tolist() == [name for i, name in enumerate(NAMES) if i != 4]
    (said,) = doubts(table)
    assert "1 row left out as commented out with #, the first in line 6" in said
    # In blocks, too, and said once.
    blocks = list(read_blocks(tmp_path / "t.dat", rows=5))
    assert sum(map(len, blocks)) == 11
    assert doubts(blocks[0]) == [said]


def test_names_that_begin_with_a_hash_are_rows(tmp_path):
    lines = ["#" + line for line in rows(",")]
    table = read_catalog(write(tmp_path / "t.csv", "name,mass,e_mass", *lines))
    assert table["name"][0] == "#S000"
    assert is_right(table)


@pytest.mark.parametrize(("separator", "name"), [(",", "d1.csv"), (" ", "d1.dat")])
def test_a_table_without_a_header_is_refused(tmp_path, separator, name):
    with pytest.raises(CatalogError, match="no header line: the first line looks like a row, 'S000"):
        read_catalog(write(tmp_path / name, *rows(separator)))


def test_names_that_are_numbers_are_doubted(tmp_path):
    table = read_catalog(write(tmp_path / "t.csv", "name,2000,2001", "a,1.5,2.5", "b,3.5,4.5"))
    assert table.colnames == ["name", "2000", "2001"]
    assert "the names of 2 columns are numbers, the first is '2000': is this a row?" in doubts(table)[0]


@pytest.mark.parametrize(
    "comments",
    [
        ["# name mass e_mass", "#"],
        ["# name mass e_mass", "# S000 .. S011, by hand"],
        ["# My stars", "# name, mass, e_mass"],
        ["## name mass e_mass"],
        ["#name\tmass\te_mass", "#"],
    ],
)
def test_names_in_a_comment_that_is_not_the_last(tmp_path, comments):
    table = read_catalog(write(tmp_path / "c.dat", *comments, *rows()))
    assert table.colnames == ["name", "mass", "e_mass"]
    assert is_right(table)


def test_a_comment_with_units_below_the_names(tmp_path):
    for units in ("# - Msun Msun", "# -- [Msun] [Msun]"):
        table = read_catalog(write(tmp_path / "c.dat", "# name mass e_mass", units, *rows()))
        assert table.colnames == ["name", "mass", "e_mass"]
        assert str(table["mass"].unit) == "solMass"


def test_columns_that_are_numbered_in_comments(tmp_path):
    plain = ["# 1 name", "# 2 mass", "# 3 e_mass"]
    table = read_catalog(write(tmp_path / "c.dat", *plain, *rows()))
    assert table.colnames == ["name", "mass", "e_mass"]
    sextractor = [
        "#   1 NUMBER      Running object number",
        "#   2 MAG_APER    Magnitudes in apertures    [mag]",
        "#   4 FLAGS       Extraction flags",
    ]
    lines = [f"{i} {mass:.3f} {error:.3f} 0" for i, (mass, error) in enumerate(zip(MASS, ERROR, strict=True))]
    table = read_catalog(write(tmp_path / "s.cat", *sextractor, *lines))
    assert table.colnames == ["NUMBER", "MAG_APER", "MAG_APER_1", "FLAGS"]
    assert is_right(table, "MAG_APER", "MAG_APER_1")
    assert str(table["MAG_APER"].unit) == "mag"


def test_tables_of_vizier_have_units_and_dashes(tmp_path):
    head = ["#", "#   VizieR Astronomical Server", "#Column\tmass\t(F6.3)\tMass", "name\tmass\te_mass"]
    for units, dashes in ((" \tMsun\tMsun", "----\t------\t-----"), ("\tMsun\tMsun", "-\t-\t-")):
        table = read_catalog(write(tmp_path / "v.tsv", *head, units, dashes, *rows("\t")))
        assert is_right(table)
        assert str(table["mass"].unit) == "solMass"
        assert list_columns(tmp_path / "v.tsv")["e_mass"] == "solMass"


@pytest.mark.parametrize("types", ["4S\t6N\t6N", "S\tN\tN"])
def test_rdb_has_a_line_of_types(tmp_path, types):
    table = read_catalog(write(tmp_path / "a.rdb", "# RDB", "name\tmass\te_mass", types, *rows("\t")))
    assert is_right(table)


def test_fitres_of_snana(tmp_path):
    lines = [f"SN: {line}" for line in rows()]
    for head in (["NVAR: 3", "VARNAMES: CID mass e_mass"], ["VARNAMES:  CID mass e_mass"]):
        table = read_catalog(write(tmp_path / "a.FITRES", *head, *lines))
        assert is_right(table)


@pytest.mark.parametrize("word", ["...", "--", " N/A ", "---", "INDEF", "…"])
def test_words_for_a_missing_value_among_numbers(tmp_path, word):
    table = read_catalog(write(tmp_path / "t.csv", "name,mass,e_mass", *rows(",", r3=word)))
    assert np.flatnonzero(table["mass"].mask).tolist() == [3]
    assert table["mass"].dtype == np.float64


def test_words_for_a_missing_value_beside_limits_and_in_text_columns(tmp_path):
    settings = ColumnSettings("m", "mass", "e_mass")
    limits = write(tmp_path / "t.csv", "name,mass,e_mass", *rows(",", r3="...", r5="<9.5"))
    texts = [f"{mass:.3f}" if i != 3 else "N/A" for i, mass in enumerate(MASS)]
    Table({"mass": texts, "e_mass": ERROR}).write(tmp_path / "t.fits")
    for path, n_limits in ((limits, 1), (tmp_path / "t.fits", 0)):
        data = prepare_column(read_catalog(path), settings)
        assert (len(data), data.dropped["missing_value"], data.n_upper_limits) == (11, 1, n_limits)


@pytest.mark.parametrize("text", ["5.064D+00", " 5.064 ", "0.5064d1"])
def test_numbers_in_other_spellings(tmp_path, text):
    assert is_right(read_catalog(write(tmp_path / "t.csv", "name,mass,e_mass", *rows(",", r3=text))))
    blocks = list(read_blocks(tmp_path / "t.csv", rows=5))
    assert is_right(Table({name: np.ma.concatenate([part[name] for part in blocks]) for name in ("mass", "e_mass")}))


def test_names_that_look_like_exponents_are_names(tmp_path):
    names = [f"{i}D{i + 3}" for i in range(1, 10)]
    table = read_catalog(write(tmp_path / "t.csv", "id,mass", *(f"{name},{i}.5" for i, name in enumerate(names))))
    assert table["id"].tolist() == names


def test_text_among_numbers_is_named_with_its_row(tmp_path):
    table = read_catalog(write(tmp_path / "t.csv", "name,mass,e_mass", *rows(",", r3="see note")))
    with pytest.raises(CatalogError, match=r"column 'mass' has text in 1 of 12 rows, the first is 'see note' in row 4"):
        prepare_column(table, ColumnSettings("mass", "mass", "e_mass"))


@pytest.mark.parametrize("name", ["Mass, in Msun", "Masse [M☉]"])
def test_tables_of_spreadsheets(tmp_path, name):
    header = f"name;{name};e_mass"
    marked = write(tmp_path / "a.csv", header, *rows(";"), encoding="utf-8-sig")
    assert is_right(read_catalog(marked), name)
    told = write(tmp_path / "b.csv", "sep=;", header, *rows(";"))
    assert is_right(read_catalog(told), name)
    commas = write(tmp_path / "c.csv", header, *(line.replace(".", ",") for line in rows(";")))
    assert is_right(read_catalog(commas, decimal=","), name)
    with pytest.raises(CatalogError, match=r"'9,077' in row 1, .* expected numbers; `decimal` for a comma"):
        prepare_column(read_catalog(commas), ColumnSettings("m", name))


# VOTable


def votable(status=None, prefix="", start=""):
    info = "" if status is None else f'<{prefix}INFO name="QUERY_STATUS" value="{status}">why</{prefix}INFO>'
    body = "".join(
        f"<{prefix}TR><{prefix}TD>{mass}</{prefix}TD><{prefix}TD>{error}</{prefix}TD></{prefix}TR>"
        for mass, error in zip(MASS, ERROR, strict=True)
    )
    space = f"xmlns{':' + prefix[:-1] if prefix else ''}"
    fields = "".join(f'<{prefix}FIELD name="{name}" datatype="double"/>' for name in ("mass", "e_mass"))
    return (
        f'<?xml version="1.0"?>{start}<{prefix}VOTABLE version="1.3" {space}="http://www.ivoa.net/xml/VOTable/v1.3">'
        f'<{prefix}RESOURCE type="results"><{prefix}INFO name="QUERY_STATUS" value="OK"/><{prefix}TABLE>{fields}'
        f"<{prefix}DATA><{prefix}TABLEDATA>{body}</{prefix}TABLEDATA></{prefix}DATA></{prefix}TABLE>{info}"
        f"</{prefix}RESOURCE></{prefix}VOTABLE>"
    )


def test_a_query_that_was_cut_short_is_doubted_and_one_that_failed_is_refused(tmp_path):
    assert doubts(read_catalog(write(tmp_path / "whole.vot", votable()))) == []
    table = read_catalog(write(tmp_path / "short.vot", votable("OVERFLOW")))
    assert is_right(table)
    assert "the table is cut short: the query reached its limit of rows (OVERFLOW) (why)" in doubts(table)[0]
    with pytest.raises(CatalogError, match=r"the query ended with status ERROR \(why\)"):
        read_catalog(write(tmp_path / "failed.vot", votable("ERROR")))


@pytest.mark.parametrize("form", ["tabledata", "binary", "binary2"])
@pytest.mark.parametrize("behind", ["<RESOURCE", "</TABLE>", "</RESOURCE>"])
def test_what_a_server_says_anywhere_in_a_votable(tmp_path, form, behind):
    from astropy.io.votable import from_table

    document = from_table(Table({"mass": MASS, "e_mass": ERROR}))
    document.to_xml(str(tmp_path / "whole.vot"), tabledata_format=form)
    text = (tmp_path / "whole.vot").read_text()

    def with_info(info):
        mark = text.index(behind) + (len(behind) if behind.startswith("</") else 0)
        return write(tmp_path / "t.vot", text[:mark] + info + text[mark:])

    table = read_catalog(with_info('<INFO name="QUERY_STATUS" value="OVERFLOW"/>'))
    assert is_right(table)
    assert "the query reached its limit of rows (OVERFLOW)" in doubts(table)[0]
    (said,) = doubts(read_catalog(with_info('<INFO name="warning" value="truncated to 12 rows"/>')))
    assert "the server warned of the table: truncated to 12 rows" in said
    for error, what in (
        ("QUERY_STATUS", "the query ended with status ERROR"),
        ("Error", "the server answered with an"),
    ):
        with pytest.raises(CatalogError, match=what):
            read_catalog(with_info(f'<INFO name="{error}" value="ERROR"/>'))


def test_a_votable_with_fewer_rows_than_it_states_is_doubted(tmp_path):
    for stated, said in ((12, []), (40, [f"{tmp_path}/t.vot: 12 rows, but the table states 40: is the file whole?"])):
        text = votable().replace("<TABLE>", f'<TABLE name="t" nrows="{stated}">')
        assert doubts(read_catalog(write(tmp_path / "t.vot", text))) == said


@pytest.mark.parametrize("options", [{"prefix": "vot:"}, {"start": f"<!-- {'long ' * 1500} -->"}])
def test_votables_are_recognised_wherever_the_mark_stands(tmp_path, options):
    assert is_right(read_catalog(write(tmp_path / "a.dat", votable(**options))))


# ECSV, IPAC, LaTeX


def test_nulls_of_gaia(tmp_path):
    head = ["# %ECSV 1.0", "# ---", "# delimiter: ','", "# datatype:"]
    for name, kind in (("id", "int64"), ("mass", "float64"), ("teff", "int32"), ("flag", "bool")):
        head += ["# -", f"#   name: {name}", f"#   datatype: {kind}"]
    lines = ["id,mass,teff,flag", '1,9.5,null,"True"', "2,null,5000,null", '3,4.5,6000,"False"']
    plain = write(tmp_path / "a.csv", *head, *lines)
    packed = tmp_path / "b.csv.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    for path in (plain, packed):
        table = read_catalog(path)
        assert {name: np.flatnonzero(table[name].mask).tolist() for name in ("mass", "teff", "flag")} == {
            "mass": [1],
            "teff": [0],
            "flag": [1],
        }


def test_times_and_coordinates_leave_the_other_columns_readable(tmp_path):
    from astropy.coordinates import SkyCoord
    from astropy.time import Time

    for name, mixin in (("t", Time(np.full(12, 2459000.5), format="jd")), ("sky", SkyCoord(MASS, ERROR, unit="deg"))):
        path = tmp_path / f"{name}.ecsv"
        Table({name: mixin, "mass": MASS, "e_mass": ERROR}).write(path, format="ascii.ecsv", overwrite=True)
        table = read_catalog(path)
        assert table.colnames == ["mass", "e_mass"]
        with pytest.raises(CatalogError, match=f"column '{name}' holds {type(mixin).__name__}"):
            read_catalog(path, [name])


def test_ipac_tables(tmp_path):
    head = [
        "\\fixlen = T",
        "|name |mass   |e_mass |",
        "|char |double |double |",
        "|     |Msun   |Msun   |",
        "|null |null   |null   |",
    ]
    lines = [f" {name} {mass:7.3f} {error:7.3f} " for name, mass, error in zip(NAMES, MASS, ERROR, strict=True)]
    for start in (head, head[1:]):
        table = read_catalog(write(tmp_path / "a.tbl", *start, *lines))
        assert is_right(table)
        assert str(table["mass"].unit) == "solMass"


def test_marks_of_missing_values_in_ipac_are_numbers(tmp_path):
    head = ["|name|mass   |e_mass |", "|char|double |double |", "|    |Msun   |Msun   |", "|null|-9.9   |null   |"]
    cells = [f"{-9.9 if i in (0, 9) else mass:7.3f}" for i, mass in enumerate(MASS)]
    lines = [f" {name} {cell} {error:7.3f} " for name, cell, error in zip(NAMES, cells, ERROR, strict=True)]
    lines[4] = lines[4].replace(f"{ERROR[4]:7.3f}", "   null")
    for lines_of_head in (head, head[:3]):
        table = read_catalog(write(tmp_path / "a.tbl", *lines_of_head, *lines))
        assert np.flatnonzero(table["mass"].mask).tolist() == ([0, 9] if lines_of_head is head else [])
        assert np.flatnonzero(table["e_mass"].mask).tolist() == [4]


def test_rows_of_ecsv_and_latex_that_are_struck_out_are_counted(tmp_path):
    path = tmp_path / "t.ecsv"
    Table({"name": NAMES, "mass": MASS, "e_mass": ERROR}).write(path, format="ascii.ecsv", delimiter=",")
    lines = path.read_text().splitlines()
    write(path, *("#" + line if line.startswith("S003") else line for line in lines))
    table = read_catalog(path)
    assert len(table) == 11
    assert doubts(table)[0].endswith("1 row left out as commented out with #, the first in line 13")
    cells = zip(NAMES, MASS, strict=True)
    body = [("% " if name == "S003" else "") + rf"{name} & {mass} \\" for name, mass in cells]
    path = write(tmp_path / "t.tex", r"\begin{tabular}{lc}", r"Name & mass \\", r"\hline", *body, r"\end{tabular}")
    table = read_catalog(path)
    assert len(table) == 11
    assert doubts(table)[0].endswith("1 row left out as commented out with %, the first in line 7")


def test_a_first_row_of_numbers_in_latex_is_no_line_of_units(tmp_path):
    body = [rf"{i} & {mass} & {error} \\" for i, (mass, error) in enumerate(zip(MASS, ERROR, strict=True))]
    head = [r"\begin{tabular}{lcc}", r"n & mass & e\_mass \\", r"\hline"]
    table = read_catalog(write(tmp_path / "t.tex", *head, *body, r"\end{tabular}"))
    assert is_right(table, error=table.colnames[2])


def aastex(path, cells, head=r"\tablehead{\colhead{Name} & \colhead{mass}}"):
    body = [rf"{name} & {cell} \\" for name, cell in zip(NAMES, cells, strict=True)]
    start = [r"\begin{deluxetable}{lc}", head, r"\startdata"]
    return write(path, *start, *body, r"\enddata", r"\end{deluxetable}")


@pytest.mark.parametrize(
    "cell",
    [
        r"\phn{}", r"\phn\phs {}", r"$\phantom{{-}}{}$", "~{}~", r"{}\,", r"{}$^a$", r"{}$^{{a,b}}$", r"${}^*$",
    ],
)  # fmt: skip
def test_blanks_and_notes_in_cells_of_latex_are_no_content(tmp_path, cell):
    lines = rows(" & ", r3=cell.format("5.064"))
    head = [r"\begin{tabular}{lrr}", r"name & mass & e_mass \\", r"\hline"]
    assert is_right(
        read_catalog(write(tmp_path / "t.tex", *head, *(rf"{line} \\" for line in lines), r"\end{tabular}"))
    )


@pytest.mark.parametrize("cell", ["5.064$^d$", "5.064$^2$", "5~064", r"5.064$\times10^{-1}$"])
def test_exponents_and_units_in_cells_of_latex_are_refused(tmp_path, cell):
    head = [r"\begin{tabular}{lrr}", r"name & mass & e_mass \\", r"\hline"]
    lines = (rf"{line} \\" for line in rows(" & ", r3=cell))
    table = read_catalog(write(tmp_path / "t.tex", *head, *lines, r"\end{tabular}"))
    with pytest.raises(CatalogError, match="in row 4"):
        prepare_column(table, ColumnSettings("m", "mass"))


def test_cells_of_latex_in_other_spellings(tmp_path):
    pairs = list(zip(MASS, ERROR, strict=True))
    notes = [rf"${mass} \pm {error}$\tablenotemark{{a}}" for mass, error in pairs]
    assert is_right(read_catalog(aastex(tmp_path / "a.tex", notes)))
    below = read_catalog(aastex(tmp_path / "b.tex", [f"${m}_{{-{e}}}^{{+{2 * e:.3f}}}$" for m, e in pairs]))
    assert is_right(below)
    np.testing.assert_allclose(below["E_mass"], 2.0 * ERROR)
    mixed = [f"${m} \\pm {e}$" if i else "$<10$" for i, (m, e) in enumerate(pairs)]
    data = prepare_column(read_catalog(aastex(tmp_path / "c.tex", mixed)), ColumnSettings("m", "mass", "e_mass"))
    assert (data.n_upper_limits, data.x[0]) == (1, 10.0)
    np.testing.assert_allclose(data.err[1:], ERROR[1:])


def test_texts_that_begin_like_limits_are_missing_values(tmp_path):
    Table({"mass": MASS, "e_mass": [f"{error}" if i != 3 else "<NA>" for i, error in enumerate(ERROR)]}).write(
        tmp_path / "t.parquet"
    )
    data = prepare_column(read_catalog(tmp_path / "t.parquet"), ColumnSettings("m", "mass", "e_mass"))
    assert (len(data), data.dropped["missing_error"]) == (11, 1)


@pytest.mark.parametrize("text", ["release 5_323 of it", "see /5_323/"])
def test_numbers_with_underscores_in_descriptions_say_nothing(tmp_path, text):
    lines = rows(" ", r11="5323")
    head = ["# %ECSV 1.0", "# ---", "# datatype:"]
    head += [f"# - {{name: {name}, datatype: {kind}, description: {text}}}" for name, kind in (
        ("name", "string"), ("mass", "float64"), ("e_mass", "float64"))]  # fmt: skip
    ecsv = read_catalog(write(tmp_path / "t.ecsv", *head, "name mass e_mass", *lines))
    mrt = read_catalog(write(tmp_path / "t.txt", f"Title: {text}", *described(""), *fixed("-9.99")))
    assert not doubts(ecsv)
    assert not doubts(mrt)
    assert prepare_column(ecsv, ColumnSettings("m", "mass")).x[11] == 5323.0


def test_a_question_in_an_explanation_is_no_mark_of_missing_values(tmp_path):
    lines = described("Is it known? =5 if so")
    table = read_catalog(write(tmp_path / "t.txt", "Title: T", *lines, *fixed(" 5.000")))
    assert not np.ma.getmaskarray(table["FeH"]).any()


@pytest.mark.parametrize("names", [("e_mass", "mass"), ("mass", "e_mass")])
def test_errors_in_cells_do_not_replace_a_column_of_latex(tmp_path, names):
    cells = {"mass": r"$5.0 \pm 0.1$", "e_mass": "7"}
    body = [rf"a{i} & {cells[names[0]]} & {cells[names[1]]} \\" for i in range(3)]
    head = [r"\begin{tabular}{ccc}", rf"name & {names[0]} & {names[1]} \\", r"\hline"]
    table = read_catalog(write(tmp_path / "t.tex", *head, *body, r"\end{tabular}"))
    assert (table["e_mass"][0], table["e_mass_2"][0], table["mass"][0]) == (7.0, 0.1, 5.0)
    assert "called e_mass_2 beside column 'e_mass'" in doubts(table)[0]


def test_units_in_a_second_line_of_the_head(tmp_path):
    head = r"\tablehead{\colhead{Name} & \colhead{mass} \\ \colhead{} & \colhead{(M$_\odot$)}}"
    table = read_catalog(aastex(tmp_path / "a.tex", [rf"${m}\pm{e}$" for m, e in zip(MASS, ERROR, strict=True)], head))
    assert is_right(table)
    assert str(table["mass"].unit) == "solMass"


@pytest.mark.parametrize("environment", ["deluxetable", "deluxetable*"])
def test_tables_of_the_aas_in_latex(tmp_path, environment):
    pairs = zip(NAMES, MASS, ERROR, strict=True)
    body = [rf"{name} & ${mass} \pm {error}$ & \nodata & ${mass}^{{+0.2}}_{{-0.1}}$ \\" for name, mass, error in pairs]
    head = r"\tablehead{\colhead{Name} & \colhead{mass} & \colhead{P} & \colhead{q}}"
    path = write(
        tmp_path / "a.tex",
        rf"\begin{{{environment}}}{{cccc}}",
        head,
        r"\startdata",
        *body,
        r"\enddata",
        rf"\end{{{environment}}}",
    )
    table = read_catalog(path)
    assert is_right(table)
    assert is_right(Table({"mass": table["q"], "e_mass": table["e_mass"]}))
    assert set(table["E_q"]) == {0.2}
    assert set(table["e_q"]) == {0.1}


# FITS


def test_columns_without_a_name_get_one(tmp_path):
    hdu = fits.BinTableHDU.from_columns([fits.Column("a", "D", array=MASS), fits.Column("b", "D", array=ERROR)])
    for missing in (("TTYPE1",), ("TTYPE1", "TTYPE2")):
        for card in missing:
            hdu.header.pop(card, None)
        stored = b"".join([fits.PrimaryHDU().header.tostring().encode(), hdu.header.tostring().encode()])
        data = np.stack([MASS, ERROR], axis=1).astype(">f8").tobytes()
        (tmp_path / "t.fits").write_bytes(stored + data + bytes(-len(data) % 2880))
        table = read_catalog(tmp_path / "t.fits")
        assert table.colnames == ["col1", "b" if len(missing) == 1 else "col2"]
        assert is_right(table, *table.colnames)


def test_arrays_of_one_element_are_numbers(tmp_path):
    columns = [
        fits.Column("mass", "PD()", array=np.array([np.array([mass]) for mass in MASS], dtype=object)),
        fits.Column("e_mass", "1D", dim="(1)", array=ERROR[:, None]),
    ]
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "t.fits")
    assert is_right(read_catalog(tmp_path / "t.fits"))


@pytest.mark.parametrize("dim", ["(12)", None])
def test_a_table_that_lies_on_its_side(tmp_path, dim):
    columns = [
        fits.Column(name, "12D", dim=dim, array=values[None]) for name, values in (("mass", MASS), ("e_mass", ERROR))
    ]
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "t.fits")
    assert is_right(read_catalog(tmp_path / "t.fits"))
    assert [len(part) for part in read_blocks(tmp_path / "t.fits", rows=5)] == [5, 5, 2]


def test_a_single_row_in_front_is_about_the_file(tmp_path):
    meta = fits.BinTableHDU.from_columns([fits.Column(f"k{i}", "D", array=[1.0]) for i in range(9)], name="META")
    catalog = fits.BinTableHDU(Table({"mass": MASS, "e_mass": ERROR}), name="CAT")
    fits.HDUList([fits.PrimaryHDU(), meta, catalog]).writeto(tmp_path / "t.fits")
    table = read_catalog(tmp_path / "t.fits")
    assert is_right(table)
    assert "HDU 2 is read, since the table in HDU 1 has a single row" in doubts(table)[0]
    assert len(read_catalog(tmp_path / "t.fits", hdu="META")) == 1


@pytest.mark.parametrize(
    ("unit", "error_unit", "kind", "expected"),
    [
        ("nanomaggies", "nanomaggies^(-2)", "ivar", "nmgy"),
        ("nanomaggy", "1/nanomaggy^2", "ivar", "nmgy"),
        ("ABmag", "mag", "sigma", "mag(AB)"),
        ("degrees", "arcseconds", "sigma", "deg"),
        ("days", "hours", "sigma", "d"),
        ("uJy", "microJy", "sigma", "uJy"),
        ("km s^-1", "km s^{-1}", "sigma", "km / s"),
        ("log(Msun)", "dex", "sigma", "dex(solMass)"),
    ],
)
def test_units_as_surveys_spell_them(unit, error_unit, kind, expected):
    table = Table({"x": MASS, "e": ERROR})
    table["x"].unit, table["e"].unit = unit, error_unit
    data = prepare_column(table, ColumnSettings("x", "x", "e", error_kind=kind))
    assert data.unit == expected
    factor = {"deg": 1.0 / 3600.0, "d": 1.0 / 24.0}.get(expected, 1.0)
    np.testing.assert_allclose(data.err, factor * (ERROR**-0.5 if kind == "ivar" else ERROR))


def test_a_unit_of_the_file_that_is_not_understood_is_overridden():
    table = Table({"x": MASS, "e": ERROR})
    table["x"].unit, table["e"].unit = "furlongs", "cubits"
    with pytest.raises(CatalogError, match="`file_unit` overrides the units of the file"):
        prepare_column(table, ColumnSettings("x", "x", "e"))
    data = prepare_column(table, ColumnSettings("x", "x", "e", unit="m", file_unit="km"))
    assert data.unit == "m"
    np.testing.assert_allclose(data.err, 1000.0 * ERROR)
    with pytest.raises(CatalogError, match="unknown file_unit 'cubits'"):
        prepare_column(table, ColumnSettings("x", "x", "e", file_unit="cubits"))


# HDF5 and folders


def test_tables_of_vaex(tmp_path):
    for path in ("/table/columns", "/stars/columns"):
        file = tmp_path / f"{path[1:3]}.hdf5"
        with h5py.File(file, "w") as store:
            for name, values in (("mass", MASS), ("e_mass", ERROR)):
                store[f"{path}/{name}/data"] = values
                store[f"{path}/{name}"].attrs["unit"] = "Msun"
            store[f"{path}/name/data"] = np.frombuffer("".join(NAMES).encode(), dtype="S1")
            store[f"{path}/name/indices"] = 4 * np.arange(13)
        table = read_catalog(file)
        assert is_right(table)
        assert table["name"].tolist() == NAMES
        assert str(table["mass"].unit) == "solMass"
        assert [len(part) for part in read_blocks(file, ["name"], rows=5)] == [5, 5, 2]


def test_tables_of_pandas(tmp_path):
    """As PyTables lays them out; names of columns are pickled there, and are not unpickled."""
    fields = np.dtype([("index", "<i8"), ("values_block_0", "<f8", (2,))])
    records = np.zeros(12, dtype=fields)
    records["values_block_0"] = np.stack([MASS, ERROR], axis=1)
    with h5py.File(tmp_path / "table.h5", "w") as store:
        store["cat/table"] = records
        store["cat"].attrs["pandas_type"] = np.bytes_(b"frame_table")
        store["cat/table"].attrs["values_block_0_kind"] = np.bytes_(b"(lp0\nVmass\np1\naVe_mass\np2\na.")
    assert is_right(read_catalog(tmp_path / "table.h5"))
    with h5py.File(tmp_path / "fixed.h5", "w") as store:
        store["cat/axis1"] = np.arange(12)
        store["cat/block0_items"] = np.array([b"mass", b"e_mass"])
        store["cat/block0_values"] = np.stack([MASS, ERROR], axis=1)
        store["cat"].attrs["pandas_type"] = np.bytes_(b"frame")
    assert is_right(read_catalog(tmp_path / "fixed.h5"))


def test_a_folder_of_parquet_is_a_catalog(tmp_path):
    frame = pd.DataFrame({"mass": MASS, "e_mass": ERROR})
    pixels = tmp_path / "hats" / "dataset" / "Norder=1" / "Dir=0"
    pixels.mkdir(parents=True)
    plain = tmp_path / "plain"
    plain.mkdir()
    for i in range(3):
        frame[4 * i : 4 * i + 4].to_parquet(pixels / f"Npix={i}.parquet")
        frame[4 * i : 4 * i + 4].to_parquet(plain / f"part{i}.parquet")
    # A sample of the rows, and metadata, are no rows.
    frame[::3].to_parquet(tmp_path / "hats" / "dataset" / "data_thumbnail.parquet")
    (tmp_path / "hats" / "dataset" / "_metadata").write_bytes(b"PAR1")
    for folder in ("hats", "hats/dataset", "plain"):
        assert is_right(read_catalog(tmp_path / folder))
        assert len(expand_files(folder, tmp_path)) == 3
    assert len(expand_files("hats/dataset/**/*.parquet", tmp_path)) == 3
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="empty is a folder without Parquet files"):
        expand_files("empty", tmp_path)


def hats(folder, frame, **pixels):
    """A HATS catalog with these rows in the pixels of order 1."""
    folder.mkdir(parents=True)
    (folder / "hats.properties").write_text("catalog_name=stars\n")
    (folder / "partition_info.csv").write_text("Norder,Npix\n" + "".join(f"1,{name[1:]}\n" for name in pixels))
    for name, rows_of in pixels.items():
        place = folder / "dataset" / "Norder=1" / "Dir=0" / f"Npix={name[1:]}.parquet"
        place.parent.mkdir(parents=True, exist_ok=True)
        frame[rows_of].to_parquet(place)


def test_a_hats_catalog_that_lacks_a_partition_is_refused(tmp_path):
    frame = pd.DataFrame({"mass": MASS, "e_mass": ERROR})
    hats(tmp_path / "whole", frame, _4=slice(0, 6), _17=slice(6, 12))
    assert is_right(read_catalog(tmp_path / "whole"))
    (tmp_path / "whole" / "dataset" / "Norder=1" / "Dir=0" / "Npix=17.parquet").unlink()
    with pytest.raises(
        ConfigError, match=r"whole lacks 1 of 2 partitions, the first is Norder=1, Npix=17, .* a pattern"
    ):
        read_catalog(tmp_path / "whole")
    assert len(expand_files("whole/**/*.parquet", tmp_path)) == 1


@pytest.mark.parametrize(
    "text",
    [
        '"Norder","Npix"\n1,4\n1,17\n',
        "norder, npix\n\n1, 4\n1, 17\n \n",
        "\ufeffNorder,Dir,Npix\r\n1,0,4\r\n1,0,17",
    ],
)
def test_the_list_of_partitions_of_a_hats_catalog_is_read_however_it_is_written(tmp_path, text):
    frame = pd.DataFrame({"mass": MASS, "e_mass": ERROR})
    hats(tmp_path / "whole", frame, _4=slice(0, 6), _17=slice(6, 12))
    (tmp_path / "whole" / "partition_info.csv").write_text(text, "utf-8")
    assert is_right(read_catalog(tmp_path / "whole"))
    (tmp_path / "whole" / "dataset" / "Norder=1" / "Dir=0" / "Npix=17.parquet").unlink()
    with pytest.raises(ConfigError, match=r"whole lacks 1 of 2 partitions, the first is Norder=1, Npix=17"):
        read_catalog(tmp_path / "whole")


def test_of_a_hats_collection_the_primary_catalog_is_read(tmp_path):
    frame = pd.DataFrame({"mass": MASS, "e_mass": ERROR})
    hats(tmp_path / "all" / "stars", frame, _4=slice(0, 6), _17=slice(6, 12))
    hats(tmp_path / "all" / "stars_margin", frame, _4=slice(5, 7))
    with pytest.raises(
        ConfigError, match=r"all is a folder with 2 catalogs, .*expected one of stars, stars_margin in it"
    ):
        read_catalog(tmp_path / "all")
    (tmp_path / "all" / "collection.properties").write_text("obs_collection=x\nhats_primary_table_url=stars\n")
    assert is_right(read_catalog(tmp_path / "all"))


@pytest.mark.parametrize("mark", ["_delta_log/0.json", "metadata/v1.metadata.json"])
def test_tables_with_former_versions_are_refused(tmp_path, mark):
    (tmp_path / "cat").mkdir()
    write(tmp_path / "cat" / mark, "{}")
    pd.DataFrame({"mass": MASS, "e_mass": ERROR}).to_parquet(tmp_path / "cat" / "part.parquet")
    with pytest.raises(ConfigError, match="cat is a table of Delta Lake or Iceberg"):
        read_catalog(tmp_path / "cat")


@pytest.mark.parametrize("name", ["PART.PARQUET", "part.parq", "part.pq"])
def test_names_of_parquet_files_in_a_folder(tmp_path, name):
    (tmp_path / "cat").mkdir()
    pd.DataFrame({"mass": MASS, "e_mass": ERROR}).to_parquet(tmp_path / "cat" / name)
    assert is_right(read_catalog(tmp_path / "cat"))


def test_missing_values_of_netcdf_and_of_arrow_in_hdf5(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as store:
        store["mass"] = np.round(1000.0 * MASS).astype("i2")
        store["mass"].attrs.update({"_FillValue": np.int16(9036), "scale_factor": 0.001, "add_offset": [2.0]})
        store["e_mass"] = ERROR[:, None]
        store["e_mass"].attrs["missing_value"] = np.array([0.182, 0.055])
    table = read_catalog(tmp_path / "a.h5")
    assert np.flatnonzero(table["mass"].mask).tolist() == [1]
    assert np.flatnonzero(table["e_mass"].mask).tolist() == [0, 4]
    np.testing.assert_allclose(table["mass"].compressed(), 2.0 + np.delete(MASS, 1))
    np.testing.assert_allclose(table["e_mass"].compressed(), np.delete(ERROR, [0, 4]))
    known = np.ones(12, dtype=bool)
    known[[1, 9]] = False
    with h5py.File(tmp_path / "b.hdf5", "w") as store:
        store["table/columns/mass/data"] = MASS
        store["table/columns/mass/null_bitmap"] = np.packbits(known, bitorder="little")
    assert np.flatnonzero(read_catalog(tmp_path / "b.hdf5")["mass"].mask).tolist() == [1, 9]
    blocks = list(read_blocks(tmp_path / "b.hdf5", rows=5))
    assert [np.flatnonzero(block["mass"].mask).tolist() for block in blocks] == [[1], [4], []]


def test_another_table_with_the_same_columns_is_named(tmp_path):
    tables = [fits.BinTableHDU(Table({"mass": MASS + k, "e_mass": ERROR}), name=f"T{k}") for k in range(2)]
    other = fits.BinTableHDU(Table({"mass": MASS}), name="REST")
    fits.HDUList([fits.PrimaryHDU(), *tables, other]).writeto(tmp_path / "t.fits")
    table = read_catalog(tmp_path / "t.fits", ["mass", "e_mass"])
    assert is_right(table)
    said = f"{tmp_path}/t.fits: HDU 1 is read; the same columns are in HDU 2 (T1), and `hdu` chooses"
    assert doubts(table) == [said]
    assert "HDU 2 (T1), HDU 3 (REST)" in doubts(read_catalog(tmp_path / "t.fits", ["mass"]))[0]
    assert doubts(read_catalog(tmp_path / "t.fits", hdu=1)) == []


def test_photometry_of_daophot(tmp_path):
    head = [
        "#K IRAF       = NOAO/IRAFV2.10EXPORT    version    %-23s",
        "#",
        "#N ID    XCENTER   YCENTER   MAG         MERR          \\",
        "#U ##    pixels    pixels    magnitudes  magnitudes    \\",
        "#F %-9d  %-10.3f   %-10.3f   %-12.3f     %-14.3f",
        "#",
    ]
    lines = [
        f"{i + 1:<9d}{10.0:<10.3f}{20.0:<10.3f}{m:<12.3f}{e:<14.3f} "
        for i, (m, e) in enumerate(zip(MASS, ERROR, strict=True))
    ]
    for start in (head, head[2:]):
        table = read_catalog(write(tmp_path / "a.mag", *start, *lines))
        assert is_right(table, "MAG", "MERR")
        assert str(table["MAG"].unit) == "mag"


# What is marked as missing, in whatever way it is stored


def test_numbers_for_missing_values_in_lists(tmp_path):
    lists = np.random.default_rng(1).normal(5.0, 0.1, (3, 20))
    lists[:, 10:] = -99.0
    Table({"s": lists}).write(tmp_path / "t.fits")
    pq.write_table(pa.table({"s": lists.tolist()}), tmp_path / "t.parquet")
    # A number is found in single precision, too.
    lists[:, 10:] = -9.99
    pq.write_table(pa.table({"s": pa.array(lists.tolist(), pa.list_(pa.float32()))}), tmp_path / "single.parquet")
    single = prepare_column(
        read_catalog(tmp_path / "single.parquet", missing=[-9.99]), ColumnSettings("m", "s", kind="samples")
    )
    np.testing.assert_allclose(single.x, lists[:, :10].mean(axis=1), rtol=1e-6)
    means = [
        prepare_column(read_catalog(tmp_path / name, missing=[-99]), ColumnSettings("m", "s", kind="samples")).x
        for name in ("t.fits", "t.parquet")
    ]
    np.testing.assert_allclose(means[0], lists[:, :10].mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(means[1], means[0], rtol=1e-12)


def test_missing_points_of_tabulated_densities(tmp_path):
    column = fits.Column("p", "3I", null=-99, array=np.array([[1, 2, 3], [4, -99, 5]]))
    fits.BinTableHDU.from_columns([column]).writeto(tmp_path / "t.fits")
    (block,) = open_densities(tmp_path / "t.fits", "p", [0.0, 1.0, 2.0]).blocks()
    np.testing.assert_array_equal(block, [[1.0, 2.0, 3.0], [4.0, np.nan, 5.0]])


def test_whole_numbers_of_two_types_in_two_files(tmp_path):
    large, middle = [2**63 + 1, 2**63 + 3], [2**62 + 3, 2**62 + 5]
    files = [write(tmp_path / f"{k}.csv", "id", *map(str, ids)) for k, ids in enumerate((large, middle))]
    assert read_catalog(files)["id"].tolist() == [*large, *middle]
    for order in (files, files[::-1]):
        write_blocks((block for file in order for block in read_blocks(file)), tmp_path / "stored.parquet")
        assert sorted(read_columns(tmp_path / "stored.parquet")["id"].tolist()) == sorted([*large, *middle])
    files[1] = write(tmp_path / "2.csv", "id", "-5", "7")
    with pytest.raises(CatalogError, match="column 'id' has negative numbers beside"):
        read_catalog(files)
    for order in (files, files[::-1]):
        with pytest.raises(CatalogError, match="column 'id' has -5 beside numbers beyond 9223372036854775807"):
            write_blocks((block for file in order for block in read_blocks(file)), tmp_path / "bad.parquet")
        assert not (tmp_path / "bad.parquet").exists()


def test_a_unit_for_the_file_is_that_of_its_limits_and_bins(tmp_path):
    table = Table({"x": [1.0, 2.0, np.nan], "xl": [np.nan, np.nan, 3.0]}, units={"x": "km", "xl": "km"})
    settings = ColumnSettings("m", "x", file_unit="m", upper_limit="xl")
    assert prepare_column(table, settings).x.tolist() == [1.0, 2.0, 3.0]
    bins = Table({"lo": [0.0, 1.0], "hi": [1.0, 2.0], "n": [3, 4]})
    data = prepare_column(bins, ColumnSettings("m", "lo", bins=("lo", "hi", "n"), file_unit="Msun"))
    assert data.edges.tolist() == [[0.0, 1.0], [1.0, 2.0]]


@pytest.mark.parametrize("more", [[], [np.nan]])
def test_a_side_without_an_end_is_a_bad_error_under_a_logarithm(more):
    table = Table({"x": [1.0, 2.0, 4.0, *more], "u": [0.1, 0.2, 0.3, *more], "l": [0.1, np.inf, 0.3, *more]})
    data = prepare_column(table, ColumnSettings("m", "x", ("u", "l"), transform="log10"))
    assert (data.rows.tolist(), data.dropped["bad_error"]) == ([0, 2], 1)


def test_limits_among_rounded_values_are_refused():
    table = Table({"x": ["1", "2", "<3"]})
    with pytest.raises(CatalogError, match="1 limits among rounded values"):
        prepare_column(table, ColumnSettings("m", "x", rounding=1.0))


def test_correlations_of_a_reversed_column_have_the_other_sign():
    table = Table({"a": [1.0, 2.0], "b": [3.0, 4.0], "ea": [0.1, 0.1], "eb": [0.1, 0.1]}, units={"a": "mag"})
    columns = (ColumnSettings("a", "a", "ea", unit="dex"), ColumnSettings("b", "b", "eb"))
    data = prepare_joint(table, JointSettings("j", columns, correlation=(("a", "b", 0.5),)))
    np.testing.assert_allclose(data.cov[:, 0, 1], -0.5 * 0.04 * 0.1)


def test_units_in_latin_1_are_read(tmp_path):
    micro = "µJy".encode("latin-1")
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file.create_dataset("flux", data=np.arange(3.0)).attrs["unit"] = np.bytes_(micro)
    schema = pa.schema([pa.field("flux", pa.float64(), metadata={b"unit": micro})])
    pq.write_table(pa.table({"flux": np.arange(3.0)}).cast(schema), tmp_path / "t.parquet")
    for name in ("t.h5", "t.parquet"):
        assert read_catalog(tmp_path / name)["flux"].unit == u.uJy
