"""Cells, heads and names that libraries read otherwise than they are meant: each kind in two spellings."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.table import Table

from mixpipe.base.errors import CatalogError
from mixpipe.catalog import read_catalog
from mixpipe.catalog.columns import prepare_column
from mixpipe.cli import main
from mixpipe.config.settings import ColumnSettings
from tests.catalog.test_files_people_have import DESCRIPTION, ERROR, MASS, NAMES, doubts, is_right, rows, write


def votable_file(path, datatype="double", **changed):
    cells = [changed.get(f"r{i}", f"{mass:.3f}") for i, mass in enumerate(MASS)]
    body = "\n".join(
        f"<TR><TD>{name}</TD><TD>{cell}</TD><TD>{error}</TD></TR>"
        for name, cell, error in zip(NAMES, cells, ERROR, strict=True)
    )
    return write(
        path,
        '<?xml version="1.0"?><VOTABLE version="1.3"><RESOURCE><TABLE>',
        '<FIELD name="name" datatype="char" arraysize="*"/>',
        f'<FIELD name="mass" datatype="{datatype}"/><FIELD name="e_mass" datatype="double"/>',
        f"<DATA><TABLEDATA>\n{body}\n</TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>",
    )


@pytest.mark.parametrize("cell", ["1,234", "&lt;5.1", "5.1 +/- .1", "5,1"])
def test_text_in_a_numeric_field_of_a_votable_is_refused_where_it_is_asked_for(tmp_path, cell):
    """Astropy takes such a cell as missing."""
    path = votable_file(tmp_path / "t.vot", r4=cell)
    with pytest.raises(CatalogError, match=r"of column 'mass' in line 9 is no number"):
        read_catalog(path, columns=["mass", "e_mass"])
    # Other columns are read, and whoever looks at the file is told.
    assert len(read_catalog(path, columns=["name", "e_mass"])) == len(MASS)
    assert any("of column 'mass' in line 9 is no number" in text for text in doubts(read_catalog(path)))


@pytest.mark.parametrize("word", ["null", "NaN", "", "--"])
def test_words_for_missing_values_in_a_votable_are_missing_values(tmp_path, word):
    table = read_catalog(votable_file(tmp_path / "t.vot", r4=word), columns=["mass", "e_mass"])
    assert table["mass"].mask.tolist() == [i == 4 for i in range(len(MASS))]
    assert not doubts(table)


@pytest.mark.parametrize("spell", [lambda text: f"{text}D+00", lambda text: f" {text}d0"])
def test_double_precision_of_fortran_in_a_votable_file(tmp_path, spell):
    assert is_right(read_catalog(votable_file(tmp_path / "t.vot", r3=spell("5.064"), r5=spell("8.547"))))


@pytest.mark.parametrize(("datatype", "cell"), [("unsignedByte", "312"), ("short", "50950"), ("int", "3000000000")])
def test_integers_beyond_the_range_of_a_votable_field_are_refused(tmp_path, datatype, cell):
    """Astropy replaces them by the end of the range."""
    path = votable_file(tmp_path / "t.vot", datatype, **{f"r{i}": str(i) for i in range(11)}, r11=cell)
    with pytest.raises(CatalogError, match=rf"the cell '{cell}' of column 'mass' in line 16 is beyond the range"):
        read_catalog(path, columns=["mass", "e_mass"])


@pytest.mark.parametrize(
    ("environment", "head", "foot"),
    [
        ("tabular", [r"name & mass & e_mass \\", r"\hline"], []),
        (
            "deluxetable",
            [r"\tablehead{\colhead{name} & \colhead{mass} & \colhead{e_mass}}", r"\startdata"],
            [r"\enddata"],
        ),
    ],
)
def test_two_tables_in_a_latex_file_are_refused(tmp_path, environment, head, foot):
    data = [" & ".join(row.split()) + r" \\" for row in rows()]
    head = [f"\\begin{{{environment}}}{{ccc}}", *head]
    foot = [*foot, f"\\end{{{environment}}}"]
    assert len(read_catalog(write(tmp_path / "one.tex", *head, *data, *foot))) == len(MASS)
    # One that is commented out is none.
    struck = (f"% {line}" for line in (head[0], foot[-1]))
    assert len(read_catalog(write(tmp_path / "struck.tex", *head, *data, *foot, *struck))) == len(MASS)
    with pytest.raises(CatalogError, match="the file has 2 tables"):
        read_catalog(write(tmp_path / "two.tex", *head, *data[:6], *foot, "", *head, *data[6:], *foot))


def test_marks_of_notes_in_names_of_latex(tmp_path):
    lines = [
        r"\begin{deluxetable}{ccc}",
        r"\tablehead{\colhead{name} & \colhead{mass\tablenotemark{a}} & \colhead{e_mass\tablenotemark{b}}}",
        r"\startdata",
        *(" & ".join(row.split()) + r" \\" for row in rows()),
        r"\enddata",
        r"\end{deluxetable}",
    ]
    assert is_right(read_catalog(write(tmp_path / "t.tex", *lines)))


IPAC = ["|name |  mass |e_mass|", "|char | double|double|"]


def ipac_rows():
    return [f" {name} {mass:7.3f} {error:6.3f}" for name, mass, error in zip(NAMES, MASS, ERROR, strict=True)]


def test_ipac_rows_behind_a_backslash_are_counted_and_a_second_head_is_refused(tmp_path):
    struck = [f"\\{line[1:]}" if i in (3, 7) else line for i, line in enumerate(ipac_rows())]
    path = write(tmp_path / "t.tbl", "\\fixlen = T", *IPAC, *struck, "\\ a comment with words")
    table = read_catalog(path)
    assert len(table) == len(MASS) - 2
    assert any("2 rows left out as commented out with \\, the first in line 7" in text for text in doubts(table))
    joined = write(tmp_path / "u.tbl", *IPAC, *ipac_rows()[:6], *IPAC, *ipac_rows()[6:])
    with pytest.raises(CatalogError, match="a second head in line 9"):
        read_catalog(joined)


def test_double_precision_of_fortran_where_columns_have_places(tmp_path):
    head = ["|name |    mass    |e_mass|", "|char |   double   |double|"]
    lines = [
        f" {name}   {mass / 10:.4f}D+01 {error:6.3f}" for name, mass, error in zip(NAMES, MASS, ERROR, strict=True)
    ]
    assert is_right(read_catalog(write(tmp_path / "t.tbl", *head, *lines)))
    described = [line.format(mark="").replace("F6.3", "E10.4") for line in DESCRIPTION]
    described[4:7] = [
        "   1-  4 A4     ---     Name    Star name",
        "   6- 15 E10.4  dex     mass    Metallicity",
        "  17- 21 F5.3   dex     e_mass  Error",
    ]
    lines = [f"{name} {mass / 10:.4f}D+01 {error:.3f}" for name, mass, error in zip(NAMES, MASS, ERROR, strict=True)]
    assert is_right(read_catalog(write(tmp_path / "t.dat", *described, *lines)))


def test_several_hdus_of_one_name(tmp_path):
    parts = [fits.BinTableHDU(Table({"mass": MASS + k, "e_mass": ERROR}), name="OBJECTS", ver=k + 1) for k in range(3)]
    head = fits.BinTableHDU(Table({"Field Header Card": ["a", "b", "c"]}), name="IMHEAD")
    path = tmp_path / "mosaic.fits"
    fits.HDUList([fits.PrimaryHDU(), head, *parts]).writeto(path)
    table = read_catalog(path, columns=["mass", "e_mass"], hdu="OBJECTS")
    assert is_right(table)
    assert any("HDU 2 is read, the first of 3 called OBJECTS: HDU 2 (OBJECTS,1)" in text for text in doubts(table))
    second = read_catalog(path, columns=["mass"], hdu="objects, 2")
    np.testing.assert_allclose(second["mass"], MASS + 1.0)
    assert not doubts(second)
    with pytest.raises(CatalogError, match="no HDU OBJECTS,4"):
        read_catalog(path, columns=["mass"], hdu="OBJECTS,4")
    # The first table has other columns.
    with pytest.raises(CatalogError, match=r"no column 'mass' in HDU 1.* HDU 2 \(OBJECTS\)"):
        read_catalog(path, columns=["mass"])


@pytest.mark.parametrize(
    ("value", "error", "factor"),
    [("plx [mas]", "e_plx [uas]", 1e3), ("x (mag)", "x_err (mmag)", 1e3), ("x [mmag]", "e_x [mag]", 1e-3),
     ("Radialgeschw. [km/s]", "Fehler [m/s]", 1e3), ("Größe [mm]", "Größe_err. (um)", 1e3),
     ("mass [Msun]", "e_mass [Msun]", 1.0), ("mass [Msun]", "e_mass", 1.0), ("[Fe/H]", "e_[Fe/H]", 1.0),
     ("speed (note)", "e_speed [pc]", 1.0)],
)  # fmt: skip
@pytest.mark.parametrize("unit", [None, "as named"])
def test_units_in_the_names_of_value_and_error(tmp_path, value, error, factor, unit):
    """A unit behind a name counts where the file has no other, as far as both names have one."""
    path = tmp_path / "t.csv"
    pd.DataFrame({value: MASS, error: factor * ERROR}).to_csv(path, index=False)
    label = {"plx [mas]": "mas", "x (mag)": "mag", "x [mmag]": "mmag"}.get(value) if unit else None
    data = prepare_column(read_catalog(path), ColumnSettings(name="x", value=value, error=error, unit=label))
    np.testing.assert_allclose(data.x, MASS)
    np.testing.assert_allclose(data.err, ERROR)


def test_units_in_names_that_do_not_agree_are_refused(tmp_path):
    path = tmp_path / "t.csv"
    pd.DataFrame({"plx [mas]": MASS, "e_plx [km/s]": ERROR}).to_csv(path, index=False)
    with pytest.raises(
        CatalogError, match=r"column 'e_plx \[km/s\]' has the unit km / s, which cannot be converted to mas"
    ):
        prepare_column(read_catalog(path), ColumnSettings(name="x", value="plx [mas]", error="e_plx [km/s]"))


@pytest.mark.parametrize("every", [True, False])
def test_points_where_the_decimal_mark_is_a_comma_are_refused(tmp_path, every):
    """They may be those of thousands."""
    masses = [f"{mass:.3f}" if every or i == 5 else f"{mass:.3f}".replace(".", ",") for i, mass in enumerate(MASS)]
    path = write(tmp_path / "t.csv", "name;mass", *map(";".join, zip(NAMES, masses, strict=True)))
    row, cell = (1, "9.077") if every else (6, "8.547")
    with pytest.raises(CatalogError, match=f"column 'mass' has '{cell}' in row {row}, with a point"):
        read_catalog(path, columns=["mass"], decimal=",")
    # Texts may have points.
    named = write(
        tmp_path / "u.csv", "name;mass", *(f"HD 1.{i};{mass}".replace(".", ",", 0) for i, mass in enumerate("12"))
    )
    assert list(read_catalog(named, columns=["name"], decimal=",")["name"]) == ["HD 1.0", "HD 1.1"]


@pytest.mark.parametrize(
    ("cells", "is_doubted"),
    [
        (["1,234", "999", "12,345", "7"], True),
        (["-1,234", "NA", "2,345", "12"], True),
        (["1,234", "0,999", "12,345", "7"], False),
        (["1,234", "2,345"], False),
        (["1,234", "999,5", "7"], False),
        (["1,5", "2", "3,25"], False),
    ],
)
def test_commas_that_look_like_marks_of_thousands_are_doubted(tmp_path, cells, is_doubted):
    path = write(tmp_path / "t.csv", "name;mass", *(f"S;{cell}" for cell in cells))
    table = read_catalog(path, decimal=",")
    assert any("column 'mass' look like thousands, such as" in text for text in doubts(table)) == is_doubted
    assert table["mass"][0] == float(cells[0].replace(",", "."))


@pytest.mark.parametrize(
    ("lines", "kind"),
    [(["| name | mass |", "|------|-----:|", "| a | 1 |"], "Markdown"),
     (["| name | mass |", "|------+-----|", "| a | 1 |"], "Org"),
     (["+------+------+", "| name | mass |", "+------+------+", "| a    |  1   |"], "drawn borders"),
     (["====  ====", "name  mass", "====  ====", "a     1"], "reStructuredText"),
     (["READ SERR 2", "1 5.1 0.1", "2 5.2 0.2"], "QDP"), (["! light curve", "", "read terr 1", "1 2 3 4"], "QDP"),
     (["<table>", "<tr><td>1</td></tr>", "</table>"], "HTML")],
)  # fmt: skip
def test_drawn_tables_are_called_by_their_name(tmp_path, lines, kind):
    with pytest.raises(CatalogError, match=kind):
        read_catalog(write(tmp_path / "t.txt", *lines))


def test_lists_of_one_number_are_numbers(tmp_path):
    cells = pa.FixedSizeListArray.from_arrays(pa.array(MASS), 1)
    pq.write_table(pa.table({"mass": cells, "e_mass": ERROR}), tmp_path / "t.parquet")
    assert is_right(read_catalog(tmp_path / "t.parquet"))
    one = votable_file(tmp_path / "t.vot")
    one.write_text(
        one.read_text().replace('name="mass" datatype="double"', 'name="mass" datatype="double" arraysize="1"')
    )
    assert is_right(read_catalog(one))


@pytest.mark.parametrize("mark", ["?=-9.99[2.5/9.5]", "?=-9.99 [2.5/9.5]"])
def test_marks_of_missing_values_in_front_of_limits(tmp_path, mark):
    lines = [line.format(mark=mark) for line in DESCRIPTION]
    body = [f"{name} {'-9.990' if i == 2 else f'{mass:6.3f}'}  {error:.3f}" for i, (name, mass, error) in
            enumerate(zip(NAMES, MASS, ERROR, strict=True))]  # fmt: skip
    table = read_catalog(write(tmp_path / "t.dat", *lines, *body))
    assert table["FeH"].mask.tolist() == [i == 2 for i in range(len(MASS))]


def test_names_of_latex_that_differ_by_a_mark_of_a_note_remain_two(tmp_path):
    lines = [
        r"\begin{deluxetable}{ccc}",
        r"\tablehead{\colhead{name} & \colhead{mass\tablenotemark{a}} & \colhead{mass\tablenotemark{b}}}",
        r"\startdata",
        *(" & ".join(row.split()) + r" \\" for row in rows()),
        r"\enddata",
        r"\end{deluxetable}",
    ]
    table = read_catalog(write(tmp_path / "t.tex", *lines))
    assert len(table.colnames) == 3
    assert is_right(table, *table.colnames[1:])


def test_many_empty_cells_of_a_votable_are_missing_values_without_a_word(tmp_path):
    path = votable_file(tmp_path / "t.vot", "int", **{f"r{i}": "" if i % 2 else str(i) for i in range(len(MASS))})
    table = read_catalog(path, columns=["mass"])
    assert table["mass"].mask.tolist() == [bool(i % 2) for i in range(len(MASS))]
    assert not doubts(table)


@pytest.mark.parametrize("blank", ["", "    ", "\t", "\x1a"])
@pytest.mark.parametrize("place", [0, 5, 12])
def test_blank_lines_of_machine_readable_tables_are_no_rows(tmp_path, blank, place):
    lines = [line.format(mark="?") for line in DESCRIPTION]
    # A row without a mass is one.
    body = [f"{name} {'' if i == 2 else mass:>6}  {error:.3f}" for i, (name, mass, error) in
            enumerate(zip(NAMES, MASS, ERROR, strict=True))]  # fmt: skip
    body.insert(place, blank)
    table = read_catalog(write(tmp_path / "t.dat", *lines, *body))
    assert list(table["Name"]) == NAMES
    assert table["FeH"].mask.tolist() == [i == 2 for i in range(len(MASS))]
    assert not doubts(table)


@pytest.mark.parametrize("null", ["-99", "-99.0", "-9.9E1"])
@pytest.mark.parametrize("cell", ["  -99", "-99.0", " -99.", "-9.9E+01", "-99.00"])
def test_nulls_of_fits_tables_in_ascii_are_numbers(tmp_path, null, cell):
    columns = [
        fits.Column("mass", "F8.3", array=MASS, ascii=True, null=null),
        # Among texts, a mark is a text.
        fits.Column("name", "A5", array=np.array(["-99.0", *NAMES[1:]]), ascii=True, null="-99"),
    ]
    path = tmp_path / "t.fits"
    fits.TableHDU.from_columns(columns).writeto(path)
    path.write_bytes(path.read_bytes().replace(b"   8.764", cell.rjust(8).encode()))
    table = read_catalog(path)
    assert table["mass"].mask.tolist() == [i == 2 for i in range(len(MASS))]
    np.testing.assert_allclose(np.delete(table["mass"].data.data, 2), np.delete(MASS, 2))
    assert not np.any(np.ma.getmaskarray(table["name"]))


def repeated_names(path):
    """A table with the columns x, mass, x and e_mass."""
    if path.suffix == ".fits":
        columns = {"x": MASS, "mass": MASS, "y": MASS, "e_mass": ERROR}
        fits.table_to_hdu(Table(columns)).writeto(path)
        path.write_bytes(path.read_bytes().replace(b"= 'y  ", b"= 'x  "))
    elif path.suffix == ".vot":
        Table({"x": MASS, "mass": MASS, "y": MASS, "e_mass": ERROR}).write(path, format="votable")
        path.write_text(path.read_text().replace('name="y"', 'name="x"'))
    elif path.suffix == ".parquet":
        arrays = [pa.array(values) for values in (MASS, MASS, MASS, ERROR)]
        pq.write_table(pa.Table.from_arrays(arrays, names=["x", "mass", "x", "e_mass"]), path)
    else:
        cells = zip(MASS, MASS, MASS, ERROR, strict=True)
        write(path, "x,mass,x,e_mass", *(",".join(map(str, row)) for row in cells))
    return path


@pytest.mark.parametrize("suffix", [".fits", ".vot", ".parquet", ".csv"])
def test_a_name_of_two_columns_is_refused_only_where_it_is_used(tmp_path, suffix, capsys):
    path = repeated_names(tmp_path / f"t{suffix}")
    table = read_catalog(path, columns=["e_mass", "mass"])
    assert table.colnames == ["e_mass", "mass"]
    assert is_right(table)
    assert not doubts(table)
    with pytest.raises(CatalogError, match="the header names column 'x' twice"):
        read_catalog(path, columns=["mass", "x"])
    with pytest.raises(CatalogError, match="no column 'z'"):
        read_catalog(path, columns=["z"])
    # All columns are those with a name of their own, and whoever looks at the file is told.
    every = read_catalog(path)
    assert every.colnames == ["mass", "e_mass"]
    assert any("1 name of several columns, 'x': these columns are left out" in text for text in doubts(every))
    with pytest.raises(SystemExit):
        main(["init", str(path)])
    said = capsys.readouterr().out
    assert "mass: {error: e_mass" in said
    assert "1 name of several columns, 'x'" in said


@pytest.mark.parametrize("error", ["e_x", "x_err"])
def test_init_does_not_fit_the_errors_of_a_name_of_two_columns(tmp_path, error, capsys):
    path = write(
        tmp_path / "t.csv", f"x,{error},x,y", *(f"1,{e},2,{mass}" for e, mass in zip(ERROR, MASS, strict=True))
    )
    with pytest.raises(SystemExit):
        main(["init", str(path)])
    said = capsys.readouterr().out
    assert " y: {}" in said
    assert f"about other columns: {error} (error of x)" in said
    assert f"{error}: {{" not in said


@pytest.mark.parametrize(
    ("value", "error", "factor"),
    [("flux_Jy", "flux_err_mJy", 1e3), ("flux_mJy", "flux_err_Jy", 1e-3), ("flux_Jy", "flux_mJy_err", 1e3),
     ("plx_mas", "e_plx_uas", 1e3), ("plx_mas", "plx_muas_err", 1e3), ("rv_kms", "rv_err_m/s", 1e3),
     ("flux_mJy", "flux_err_mJy", 1.0), ("flux_mJy", "flux_err", 1.0), ("flux_mJy", "flux_mJy_err", 1.0),
     ("P_s", "P_err_ms", 1e3), ("mass_Msun", "e_mass", 1.0), ("flux_g", "flux_err_u", 1.0),
     ("x_min", "x_err_s", 1.0), ("mass_Msun", "mass_err_g", 1.0)],
)  # fmt: skip
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_units_that_end_names(tmp_path, value, error, factor, suffix):
    path = tmp_path / f"t{suffix}"
    frame = pd.DataFrame({value: MASS, error: factor * ERROR})
    frame.to_csv(path, index=False) if suffix == ".csv" else frame.to_parquet(path)
    data = prepare_column(read_catalog(path), ColumnSettings(name="x", value=value, error=error))
    np.testing.assert_allclose(data.x, MASS)
    np.testing.assert_allclose(data.err, ERROR)


@pytest.mark.parametrize(("name", "unit", "factor"), [("flux_mJy", "Jy", 1e-3), ("plx [uas]", "mas", 1e-3),
                                                      ("x (mag)", "mmag", 1e3), ("flux_mJy", "km/s", 1.0)])  # fmt: skip
def test_a_unit_other_than_that_in_the_name_converts(tmp_path, name, unit, factor):
    """If it measures something else, it is only a label."""
    path = tmp_path / "t.csv"
    pd.DataFrame({name: MASS, "e": ERROR}).to_csv(path, index=False)
    settings = ColumnSettings(name="x", value=name, error="e", unit=unit)
    data = prepare_column(read_catalog(path), settings)
    np.testing.assert_allclose(data.x, factor * MASS)
    np.testing.assert_allclose(data.err, factor * ERROR)
    # The unit of the file is not that of the name, says who knows.
    given = prepare_column(read_catalog(path), ColumnSettings(name="x", value=name, unit=unit, file_unit=unit))
    np.testing.assert_allclose(given.x, MASS)


def test_inverse_variances_and_limits_in_the_units_of_their_names(tmp_path):
    path = tmp_path / "t.csv"
    upper = np.where(np.arange(12) < 3, 1e3 * MASS, np.nan)
    frame = {
        "flux_Jy": np.where(np.arange(12) < 3, np.nan, MASS),
        "flux_mJy_ivar": 1e-6 / ERROR**2,
        "flux_ul_mJy": upper,
    }
    pd.DataFrame(frame).to_csv(path, index=False)
    settings = ColumnSettings(
        name="x", value="flux_Jy", error="flux_mJy_ivar", error_kind="ivar", upper_limit="flux_ul_mJy"
    )
    data = prepare_column(read_catalog(path), settings)
    np.testing.assert_allclose(data.x, MASS)
    np.testing.assert_allclose(data.err, ERROR)
    assert data.n_upper_limits == 3


@pytest.mark.parametrize(("value", "error"), [("flux_Jy", "flux_err_mJy"), ("plx_mas", "e_plx_uas")])
def test_init_pairs_values_and_errors_in_several_units(tmp_path, value, error, capsys):
    path = tmp_path / "t.csv"
    pd.DataFrame({value: MASS, error: 1e3 * ERROR}).to_csv(path, index=False)
    with pytest.raises(SystemExit):
        main(["init", str(path)])
    said = capsys.readouterr().out
    unit, other = value.split("_")[1], error.split("_")[2]
    assert f"{value}: {{error: {error}, unit: {unit}}}" in said
    assert f"median error 0.087; errors in {other} by their names, converted" in said


@pytest.mark.parametrize(
    "cells",
    [
        ["1,234", "12,345"],
        ["1,234.5", "2,345.6"],
        ["1.234,5", "2.345,6"],
        ["1'234.5", "2'345.6"],
        ["1\u2019234", "2\u2019345"],
        ["1 234.5", "1 234 567"],
    ],
)
def test_marks_of_thousands_are_refused_with_what_to_do(tmp_path, cells):
    path = write(tmp_path / "t.csv", "name;mass", *(f"S;{cell}" for cell in cells))
    with pytest.raises(CatalogError) as error:
        prepare_column(read_catalog(path), ColumnSettings(name="mass", value="mass"))
    # A single comma may also be a point.
    comma = "numbers; `decimal` for a comma, unless it is a mark of thousands"
    assert error.value.expected == (comma if cells[0] == "1,234" else "numbers without marks of thousands")


def ascii_table(path, form, cells):
    """A FITS table in ASCII with these texts as masses."""
    blank = np.zeros(len(cells), dtype=int if form[0] == "I" else float)
    columns = [
        fits.Column("mass", form, array=blank, ascii=True),
        fits.Column("e_mass", "E10.3", array=ERROR, ascii=True),
    ]
    fits.TableHDU.from_columns(columns).writeto(path)
    with fits.open(path) as hdus:
        place, width = hdus[1].fileinfo()["datLoc"], hdus[1].header["NAXIS1"]
    content = bytearray(path.read_bytes())
    for row, cell in enumerate(cells):
        start = place + row * width
        content[start : start + len(cell)] = cell.encode()
    path.write_bytes(bytes(content))
    return path


@pytest.mark.parametrize(("form", "factor"), [("F10.3", 1e3), ("E10.1", 10)])
def test_points_that_the_format_of_a_fits_table_in_ascii_implies_are_doubted(tmp_path, form, factor):
    path = ascii_table(tmp_path / "t.fits", form, [f"{factor * mass:10.0f}" for mass in MASS])
    assert any(f"though its format {form} may mean that" in text for text in doubts(read_catalog(path)))
    plain = ascii_table(tmp_path / "u.fits", form, [f"{mass:10.3f}" for mass in MASS])
    assert not doubts(read_catalog(plain))
    assert not doubts(read_catalog(ascii_table(tmp_path / "v.fits", "I10", [f"{i:10d}" for i in range(len(MASS))])))


@pytest.mark.parametrize("cell", ["**********", " 0.876+01 ", "     8 764"])
def test_text_in_numbers_of_a_fits_table_in_ascii_is_refused_with_its_column(tmp_path, cell):
    cells = [cell if i == 2 else f"{mass:10.3f}" for i, mass in enumerate(MASS)]
    with pytest.raises(CatalogError, match=r"column 'mass' has '.*' in its format F10.3"):
        read_catalog(ascii_table(tmp_path / "t.fits", "F10.3", cells))


@pytest.mark.parametrize(("key", "value"), [("TNULL1", "'-99'"), ("TNULL1", "-99.0"), ("TNULL1", "-99"),
                                            ("TSCAL1", "'1.0'"), ("TZERO1", "'0'")])  # fmt: skip
def test_numbers_of_a_fits_header_that_are_texts(tmp_path, key, value):
    """Astropy leaves them out."""
    path = tmp_path / "t.fits"
    cells = np.where(np.arange(12) == 3, -99, np.arange(12))
    fits.BinTableHDU(Table({"n": cells, "mass": MASS, "e_mass": ERROR})).writeto(path)
    card = f"{key:8}= {value:>20}".ljust(80)
    path.write_bytes(path.read_bytes().replace(b"END".ljust(80) + b" " * 80, card.encode() + b"END".ljust(80), 2))
    with fits.open(path) as hdus:
        assert key in hdus[1].header
    table = read_catalog(path)
    assert is_right(table)
    assert table["n"].tolist() == [None if i == 3 and key == "TNULL1" else n for i, n in enumerate(cells.tolist())]


@pytest.mark.parametrize("width", [20, 15])
def test_rows_of_a_fits_table_that_are_wider_than_their_columns_are_refused(tmp_path, width):
    path = tmp_path / "t.fits"
    fits.BinTableHDU(Table({"mass": MASS, "e_mass": ERROR})).writeto(path)
    cards = [f"NAXIS1  = {n:>20}".encode() for n in (16, width)]
    path.write_bytes(path.read_bytes().replace(*cards))
    with pytest.raises(CatalogError, match=f"rows have {width} bytes, and their columns 16"):
        read_catalog(path)


@pytest.mark.parametrize("cell", ["4_406", "4_4e1"])
@pytest.mark.parametrize("form", ["ecsv", "ipac", "mrt", "votable", "latex"])
def test_underscores_in_numbers_are_refused_in_all_formats(tmp_path, form, cell):
    """Python takes them for numbers, and so does Astropy; in names they are nothing."""
    path = tmp_path / "t.txt"
    names = [f"{name}x" for name in NAMES]
    Table({"name": names, "mass": MASS, "e_mass": ERROR}).write(
        path, format=form if form == "votable" else f"ascii.{form}"
    )
    text = path.read_text()
    named = write(tmp_path / "named.txt", text.replace("S003x", "12_33"))
    assert is_right(read_catalog(named, columns=["mass", "e_mass"]))
    assert read_catalog(named)["name"][3] == "12_33"
    path.write_text(text.replace("4.406", cell))
    with pytest.raises(CatalogError, match=r"column 'mass' has '\d_\w+' in row 5, .*numbers without underscores"):
        read_catalog(path, columns=["name", "mass"])
    assert len(read_catalog(path, columns=["e_mass"])) == len(MASS)
    assert any("column 'mass' has" in text for text in doubts(read_catalog(path)))


def fixed_rows(name):
    return [f"{name if i == 5 else NAMES[i]} {mass:6.3f} {ERROR[i]:6.3f}" for i, mass in enumerate(MASS)]


@pytest.mark.parametrize(
    ("name", "encoding", "form"),
    [
        ("S\u00e905", "utf-8", "mrt"),
        ("S\u00e905", "latin-1", "mrt"),
        ("S\u00e95", "utf-8", "mrt"),
        ("\u2606Z", "utf-8", "mrt"),
        ("S\u00e905", "utf-8", "ipac"),
        ("S\u00e905", "latin-1", "ipac"),
    ],
)
def test_letters_of_several_bytes_where_columns_have_places(tmp_path, name, encoding, form):
    """Places are those of letters or of bytes."""
    head = [line.format(mark="") for line in DESCRIPTION] if form == "mrt" else [
        "|name| mass |e_mass|", "|char|double|double|"
    ]  # fmt: skip
    lines = fixed_rows(name) if form == "mrt" else [f" {line}" for line in fixed_rows(name)]
    if form == "mrt":
        head[6] = head[6].replace("13- 17 F5.3", "13- 18 F6.3")
    table = read_catalog(write(tmp_path / "t.dat", *head, *lines, encoding=encoding))
    assert is_right(table, table.colnames[1], table.colnames[2])
    assert str(table.columns[0][5]).replace(" ", "") == name


@pytest.mark.parametrize("blank", ["", "null"])
def test_blank_cells_of_ipac_tables_are_missing_values(tmp_path, blank):
    lines = ipac_rows()
    lines[4] = lines[4].replace("  4.406", f"{blank:>7}")
    table = read_catalog(write(tmp_path / "t.tbl", *IPAC, *lines))
    assert table["mass"].mask.tolist() == [i == 4 for i in range(len(MASS))]


@pytest.mark.parametrize("element", ["BINARY", "BINARY2", 'FITS extnum="1"'])
@pytest.mark.parametrize("place", ["http://localhost:9/rows", "file:///dev/null"])
def test_rows_of_a_votable_that_are_elsewhere_are_refused(tmp_path, element, place):
    path = votable_file(tmp_path / "t.vot")
    rows_there = f'<{element}>\n<STREAM href="{place}"/></{element.split()[0]}>'
    text = path.read_text()
    start, end = text.index("<TABLEDATA>"), text.index("</TABLEDATA>") + len("</TABLEDATA>")
    path.write_text(text[:start] + rows_there + text[end:])
    with pytest.raises(CatalogError, match="the rows of the table are in another place"):
        read_catalog(path)
