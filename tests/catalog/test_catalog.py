"""Every format gives the same table; errors name file and column."""

import gzip
import os
import stat
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import MaskedColumn, QTable, Table
from astropy.utils.masked import Masked

from mixpipe.base.errors import CatalogError, ConfigError
from mixpipe.catalog.files import expand_files
from mixpipe.catalog.reading import list_columns, read_catalog
from mixpipe.catalog.store import read_columns, write_blocks

# Beyond 2**53, where double precision loses the last digits.
LONG = 4295806720123456789


def example() -> Table:
    return Table(
        {
            "id": np.array([LONG, LONG + 1, LONG + 2]),
            "name": ["alpha one", "NA", "gamma"],
            "mass": MaskedColumn([1.5, 0.0, -3.25], mask=[False, True, False], unit="Msun"),
        }
    )


def gzipped(path: Path) -> Path:
    target = path.with_name(path.name + ".gz")
    target.write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    return target


def write_text(path: Path, delimiter: str) -> Path:
    text = f'id,name,mass\n{LONG},"alpha one",1.5\n{LONG + 1},NA,\n{LONG + 2},gamma,-3.25\n'
    path.write_text(text.replace(",", delimiter))
    return path


def make(kind: str, folder: Path) -> tuple[Path, dict]:
    """The example in a format, and what `read_catalog` has to be told."""
    table = example()
    if kind in ("fits", "fits.gz"):
        path = folder / f"t.{kind}"
        table.write(path)
        return path, {}
    if kind in ("csv", "tsv", "csv.gz"):
        path = write_text(folder / f"t.{kind.removesuffix('.gz')}", "\t" if kind == "tsv" else ",")
        return (gzipped(path) if kind.endswith("gz") else path), {}
    if kind == "semicolons":
        return write_text(folder / "t.dat", ";"), {}
    if kind == "ecsv.gz":
        table.write(folder / "t.ecsv")
        return gzipped(folder / "t.ecsv"), {}
    if kind in ("ecsv", "mrt"):
        path = folder / f"t.{kind}"
        table.write(path, format=f"ascii.{kind}")
        return path, {}
    if kind in ("votable", "votable.gz"):
        table.write(folder / "t.vot", format="votable")
        return (gzipped(folder / "t.vot") if kind.endswith("gz") else folder / "t.vot"), {}
    if kind == "parquet (astropy)":
        table.write(folder / "t.parquet")
        return folder / "t.parquet", {}
    if kind == "parquet (pandas)":
        table.to_pandas().to_parquet(folder / "t.parquet")
        return folder / "t.parquet", {}
    if kind == "hdf5 (astropy)":
        table["name"] = table["name"].astype("S")
        table.write(folder / "t.h5", path="group/data", serialize_meta=True)
        return folder / "t.h5", {"path_in_file": "group/data"}
    assert kind == "hdf5 (group)"
    with h5py.File(folder / "t.h5", "w") as file:
        file["tables/id"] = table["id"]
        file["tables/name"] = [str(name) for name in table["name"]]
        file["tables/mass"] = table["mass"].filled(np.nan)
        file["tables/mass"].attrs["units"] = "Msun"
    return folder / "t.h5", {}


WITH_UNITS = [
    "fits",
    "fits.gz",
    "ecsv",
    "ecsv.gz",
    "mrt",
    "votable",
    "votable.gz",
    "parquet (astropy)",
    "hdf5 (astropy)",
    "hdf5 (group)",
]
WITHOUT_UNITS = ["csv", "csv.gz", "tsv", "semicolons", "parquet (pandas)"]


class TestFormats:
    @pytest.mark.parametrize("kind", WITH_UNITS + WITHOUT_UNITS)
    def test_same_table_from_every_format(self, kind: str, tmp_path: Path) -> None:
        path, told = make(kind, tmp_path)
        table = read_catalog(path, **told)
        assert table.colnames == ["id", "name", "mass"] or kind == "hdf5 (group)"
        assert table["id"].tolist() == [LONG, LONG + 1, LONG + 2]
        assert table["name"].tolist() == ["alpha one", "NA", "gamma"]
        assert table["name"].dtype.kind == "U"
        assert table["mass"].tolist() == [1.5, None, -3.25]
        assert table["mass"].dtype == np.float64
        unit = None if kind in WITHOUT_UNITS else "solMass"
        assert (table["mass"].unit and str(table["mass"].unit)) == unit
        assert table.meta["files"] == [{"path": str(path), "n_rows": 3}]
        listed = list_columns(path, **told)
        assert listed == {"id": None, "name": None, "mass": unit}

    @pytest.mark.parametrize("kind", WITH_UNITS + WITHOUT_UNITS)
    def test_only_wanted_columns_in_the_order_asked_for(self, kind: str, tmp_path: Path) -> None:
        path, told = make(kind, tmp_path)
        table = read_catalog(path, ["mass", "id", "mass"], **told)
        assert table.colnames == ["mass", "id"]
        assert table["mass"].mask.tolist() == [False, True, False]
        with pytest.raises(CatalogError, match=r"no column 'mas'.*t\.\w+.*'mass'\?"):
            read_catalog(path, ["id", "mas"], **told)

    @pytest.mark.parametrize("kind", ["fits", "ecsv", "mrt", "votable", "parquet (pandas)", "hdf5 (group)"])
    def test_content_is_believed_more_than_the_extension(self, kind: str, tmp_path: Path) -> None:
        path, _ = make(kind, tmp_path)
        assert "mass" in read_catalog(path.rename(tmp_path / "download")).colnames
        assert "mass" in read_catalog((tmp_path / "download").rename(tmp_path / "t.csv")).colnames


class TestFits:
    def test_nulls_scales_and_byte_order(self, tmp_path: Path) -> None:
        layout = [("a", ">i4"), ("b", ">i2"), ("c", "S1")]
        stored = np.array([(10, 7, b"T"), (-9, 8, b"F"), (30, -1, b"\0")], dtype=layout)
        header = fits.Header({"TNULL1": -9, "TSCAL1": 0.5, "TZERO1": 100.0, "TUNIT1": "mas yr-1", "TNULL2": -1})
        hdu = fits.BinTableHDU(stored)
        hdu.writeto(tmp_path / "t.fits")
        with fits.open(tmp_path / "t.fits", mode="update") as hdus:
            hdus[1].header["TFORM3"] = "L"
            hdus[1].header.update(header)
        table = read_catalog(tmp_path / "t.fits")
        assert table["a"].tolist() == [105.0, None, 115.0]
        assert table["a"].unit == "mas / yr"
        assert table["b"].tolist() == [7, 8, None]
        assert table["c"].tolist() == [True, False, None]
        assert all(column.dtype.isnative for column in table.itercols())

    @staticmethod
    def scaled(path: Path, stored: np.ndarray, **header: float) -> Table:
        """A column x as stored, beside one of truth values, read as TSCAL1, TZERO1 and TNULL1 say."""
        table = np.zeros(len(stored), dtype=[("x", stored.dtype.newbyteorder(">")), ("flag", "S1")])
        table["x"], table["flag"] = stored, b"T"
        fits.BinTableHDU(table).writeto(path)
        with fits.open(path, mode="update") as hdus:
            hdus[1].header["TFORM2"] = "L"
            hdus[1].header.update(header)
        alone = read_catalog(path, ["x"])
        assert alone["x"].tolist() == read_catalog(path)["x"].tolist()
        return alone

    def test_long_integers_with_a_scale(self, tmp_path: Path) -> None:
        stored = np.array([1, -9, 2**40], dtype=np.int64)
        table = self.scaled(tmp_path / "t.fits", stored, TSCAL1=0.25, TZERO1=100.0, TNULL1=-9)
        assert table["x"].tolist() == [100.25, None, 100.0 + 2**38]

    @pytest.mark.parametrize("bits", [16, 32, 64])
    @pytest.mark.parametrize("kind", [int, float])
    def test_unsigned_integers(self, bits: int, kind: type, tmp_path: Path) -> None:
        """The offset in the header is a number with or without a decimal point."""
        half = 1 << (bits - 1)
        stored = np.array([-half, 5 - half, 0, half - 1], dtype=f"i{bits // 8}")
        table = self.scaled(tmp_path / "t.fits", stored, TZERO1=kind(half), TSCAL1=1)
        assert table["x"].tolist() == [0, 5, half, 2 * half - 1]

    def test_nulls_among_unsigned_integers(self, tmp_path: Path) -> None:
        """As the standard has it, a mark among what is stored, and as Astropy has it, among the numbers."""
        stored = np.array([-32768, 5], dtype=np.int16)
        table = self.scaled(tmp_path / "standard.fits", stored, TZERO1=32768, TNULL1=-32768)
        assert table["x"].tolist() == [None, 32773]
        for kind in (np.uint16, np.uint32, np.uint64):
            path = tmp_path / f"{kind.__name__}.fits"
            Table({"x": MaskedColumn(np.array([7, 8, 9], dtype=kind), mask=[False, True, False])}).write(path)
            assert read_catalog(path)["x"].tolist() == [7, None, 9]

    def test_text_that_is_not_ascii(self, tmp_path: Path) -> None:
        spelled = [("Andr\u00e9".encode(),), ("Andr\u00e9".encode("latin-1"),)]
        names = np.array(spelled, dtype=[("n", "S8")])
        fits.BinTableHDU(names).writeto(tmp_path / "t.fits")
        table = read_catalog(tmp_path / "t.fits")
        assert table["n"].tolist() == ["Andr\u00e9", "Andr\\xe9"]

    def test_blank_cells_of_an_ascii_table_are_missing(self, tmp_path: Path) -> None:
        path = tmp_path / "t.fits"
        columns = [fits.Column("x", "F8.3", array=[1.0, 2.0]), fits.Column("n", "I4", array=[5, 77])]
        fits.TableHDU.from_columns(columns).writeto(path)
        path.write_bytes(path.read_bytes().replace(b"   2.000  77", b"            "))
        table = read_catalog(path)
        assert table["x"].tolist() == [1.0, None]
        assert table["n"].tolist() == [5, None]

    def test_several_hdus(self, tmp_path: Path) -> None:
        path = tmp_path / "t.fits"
        tables = [fits.BinTableHDU(Table({name: [1.0]}).as_array(), name=name) for name in ("FIRST", "SECOND")]
        fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.zeros((2, 2)), name="IMAGE"), *tables]).writeto(path)
        assert read_catalog(path).colnames == ["FIRST"]
        for hdu in (3, "3", "SECOND", "second"):
            assert read_catalog(path, hdu=hdu).colnames == ["SECOND"]
        with pytest.raises(CatalogError, match=r"no HDU 9.*2 \(FIRST\), 3 \(SECOND\)"):
            read_catalog(path, hdu=9)
        with pytest.raises(CatalogError, match="HDU IMAGE has no table"):
            read_catalog(path, hdu="IMAGE")

    def test_no_table_at_all(self, tmp_path: Path) -> None:
        fits.PrimaryHDU(np.zeros((2, 2))).writeto(tmp_path / "t.fits")
        with pytest.raises(CatalogError, match="no HDU has a table"):
            read_catalog(tmp_path / "t.fits")


class TestText:
    def read(self, tmp_path: Path, text: str | bytes, columns: list[str] | None = None, **options: object) -> Table:
        path = tmp_path / "t.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_catalog(path, columns, **options)  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        "text",
        [
            "# made by hand\n\n# second line, with a comma\nx,e\n1,2\n3,4\n",
            "\ufeffx,e\r\n1,2\r\n3,4\r\n",
            "# made by hand\n# x e\n1 2\n3 4\n",
            "#x,name,e\n1,NGC 1,2\n3,NGC 2,4\n",
            "  x   e\n  1   2\n  3   4\n",
            '"x" | "e"\n1 | 2\n3 | 4\n',
            "x,e,\n1,2,\n3,4,\n",
        ],
        ids=[
            "comments",
            "bom",
            "commented header",
            "marked header",
            "white space",
            "bars",
            "delimiter at the end",
        ],
    )
    def test_headers_as_they_come(self, tmp_path: Path, text: str) -> None:
        table = self.read(tmp_path, text, ["e", "x"])
        assert table["x"].tolist() == [1, 3]
        assert table["e"].tolist() == [2, 4]

    def test_comment_lines_are_skipped_and_marks_inside_a_line_kept(self, tmp_path: Path) -> None:
        table = self.read(tmp_path, "name;x\nCyg #1;1\n// gone\nCyg //2;2\n", comment="//", delimiter=";")
        assert table["name"].tolist() == ["Cyg #1", "Cyg //2"]
        assert table["x"].tolist() == [1, 2]

    def test_long_integers_stay_exact_beside_blanks(self, tmp_path: Path) -> None:
        assert self.read(tmp_path, f"id,x\n{LONG},1\n,2\n")["id"].tolist() == [LONG, None]

    def test_numbers_are_read_to_the_last_digit(self, tmp_path: Path) -> None:
        values = np.random.default_rng(3).normal(size=500) * 10.0 ** np.arange(-250, 250)
        assert self.read(tmp_path, "x\n" + "\n".join(map(repr, values.tolist())))["x"].tolist() == values.tolist()

    def test_words_for_missing_in_numbers_but_not_in_text(self, tmp_path: Path) -> None:
        table = self.read(tmp_path, "name,x\nNA,NaN\nNone,NA\nalpha,1.5\n,\n")
        assert table["name"].tolist() == ["NA", "None", "alpha", None]
        assert table["x"].tolist() == [None, None, 1.5, None]

    def test_sentinels(self, tmp_path: Path) -> None:
        text = "a,b,c,d\n-999,-9.99,...,unknown\n1,2.5,3.5,x\n"
        table = self.read(tmp_path, text, missing=[-999, -9.99, "...", "unknown"])
        assert table["a"].tolist() == [None, 1]
        assert table["b"].tolist() == [None, 2.5]
        assert table["c"].tolist() == [None, 3.5]
        assert table["c"].dtype.kind == "f"
        assert table["d"].tolist() == [None, "x"]

    def test_a_number_as_sentinel_where_limits_make_a_column_one_of_text(self, tmp_path: Path) -> None:
        text = "x,name\n<0.1,-99.5\n-99.00,a\n-9.9e1,-99b\n-99,-\n+4.0,\n-990,x\n"
        table = self.read(tmp_path, text, missing=[-99, "-"])
        assert table["x"].tolist() == ["<0.1", None, None, None, "+4.0", "-990"]
        assert table["name"].tolist() == ["-99.5", "a", "-99b", None, None, "x"]

    def test_sentinel_in_single_precision(self, tmp_path: Path) -> None:
        Table({"x": np.array([-9.99, 1.0], dtype=np.float32)}).write(tmp_path / "t.fits")
        assert read_catalog(tmp_path / "t.fits", missing=[-9.99])["x"].mask.tolist() == [True, False]

    def test_a_column_without_any_value_is_all_missing(self, tmp_path: Path) -> None:
        table = self.read(tmp_path, "a,b\n1,\n2,\n")
        assert table["b"].mask.all()

    @pytest.mark.parametrize("columns", [None, ["x"]])
    @pytest.mark.parametrize("row", ["NGC 1, a galaxy,2,3", "NGC 1,2,3,4"])
    def test_rows_longer_than_the_header(self, tmp_path: Path, row: str, columns: list[str] | None) -> None:
        with pytest.raises(CatalogError, match=r"1 row with more fields than the header, the first is row 2"):
            self.read(tmp_path, f"name,x,e\na,1,2\n{row}\nb,1,2\n", columns)

    @pytest.mark.parametrize("word", ["nan", "NA", "..."])
    def test_a_longer_row_that_ends_with_a_word_for_missing(self, tmp_path: Path, word: str) -> None:
        with pytest.raises(CatalogError, match="1 row with more fields than the header, the first is row 2"):
            self.read(tmp_path, f"name x e\na 1 2\nNGC 1 2 {word}\n", ["x", "e"], missing=["..."])

    def test_a_blank_cell_between_white_space(self, tmp_path: Path) -> None:
        """The cells behind it would move to the left."""
        with pytest.raises(CatalogError, match="row 3 has 2 of 3 fields"):
            self.read(tmp_path, "name x   e\na    1   2\n\n'b'  1   2\nc        0.5\n", ["x"])
        with pytest.raises(CatalogError, match="row 1 has 2 of 3 fields"):
            self.read(tmp_path, 'name x   e\n"NGC 1"      2\n', ["x"])

    def test_white_space_with_quotes_and_comments(self, tmp_path: Path) -> None:
        text = '# c\nname\tx e\n"NGC 1" 1 2\n# group 2\n  ""   3\t nan \n'
        table = self.read(tmp_path, text, comment="#", delimiter="whitespace")
        assert table["name"].tolist() == ["NGC 1", None]
        assert table["x"].tolist() == [1, 3]
        assert table["e"].tolist() == [2, None]

    def test_a_first_row_longer_than_the_header(self, tmp_path: Path) -> None:
        with pytest.raises(CatalogError, match="the first is row 1"):
            self.read(tmp_path, "x,e\n1,2,3\n4,5\n")

    def test_quoted_delimiters(self, tmp_path: Path) -> None:
        assert self.read(tmp_path, 'name,"a, b"\n"x, y",2\n')["a, b"].tolist() == [2]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("x,y,x,y\n1,2,3,4\n", "names column 'x' twice"),
            ("1,2\n3,4\n", "no header line, the first line is '1,2'"),
            ("# nothing\n# here\n", "nothing but comments"),
            (b"x,y\n1,2\n\xff\xfe\x00\x00", "no known format"),
        ],
    )
    def test_what_is_no_table(self, tmp_path: Path, text: str | bytes, message: str) -> None:
        with pytest.raises(CatalogError, match=message):
            self.read(tmp_path, text)

    def test_delimiter_must_be_one_character(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="delimiter"):
            self.read(tmp_path, "x,y\n1,2\n", delimiter="[,;]")

    def test_text_that_is_not_utf8_is_kept_apart(self, tmp_path: Path) -> None:
        table = self.read(tmp_path, "name,x\nAndr\u00e9,1\nAndr\u00e8,2\n".encode("latin-1"))
        assert len(set(table["name"])) == 2
        assert table["x"].tolist() == [1, 2]


class TestHdf5:
    def test_which_table(self, tmp_path: Path) -> None:
        with h5py.File(tmp_path / "t.h5", "w") as file:
            file["a"] = np.array([(1, 2.0)], dtype=[("n", "i4"), ("x", "f8")])
            file["b/x"] = np.array([5.0])
        with pytest.raises(CatalogError, match=r"2 tables, .*one of a, b"):
            read_catalog(tmp_path / "t.h5")
        assert read_catalog(tmp_path / "t.h5", path_in_file="a")["x"].tolist() == [2.0]
        assert read_catalog(tmp_path / "t.h5", path_in_file="b")["x"].tolist() == [5.0]
        with pytest.raises(CatalogError, match="nothing at 'c'"):
            read_catalog(tmp_path / "t.h5", path_in_file="c")

    def test_a_unit_in_an_array(self, tmp_path: Path) -> None:
        with h5py.File(tmp_path / "t.h5", "w") as file:
            file["x"] = [1.0]
            file["x"].attrs["units"] = np.array([b"km/s"])
        assert list_columns(tmp_path / "t.h5") == {"x": "km / s"}

    def test_columns_of_unequal_length(self, tmp_path: Path) -> None:
        with h5py.File(tmp_path / "t.h5", "w") as file:
            file["x"], file["y"] = [1.0, 2.0], [1.0]
        assert read_catalog(tmp_path / "t.h5", ["y"])["y"].tolist() == [1.0]
        with pytest.raises(CatalogError, match=r"'y' has 1 row.*2 as in column 'x'"):
            read_catalog(tmp_path / "t.h5")


def test_parquet_types(tmp_path: Path) -> None:
    table = pa.table(
        {
            "words": pa.array(["a", None, "a"]).dictionary_encode(),
            "flag": pa.array([True, None, False]),
            "small": pa.array([1, None, 3], type=pa.int8()),
            "x": pa.array([1.5, float("nan"), None], type=pa.float32()),
            "large": pa.array(["a", "b", ""], type=pa.large_string()),
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    read = read_catalog(tmp_path / "t.parquet")
    assert read["words"].tolist() == ["a", None, "a"]
    assert read["flag"].tolist() == [True, None, False]
    assert read["small"].tolist() == [1, None, 3]
    assert read["small"].dtype == np.int8
    assert read["x"].tolist() == [1.5, None, None]
    assert read["large"].tolist() == ["a", "b", None]


def test_parquet_decimals_to_the_last_digit(tmp_path: Path) -> None:
    texts = ["2.30", "0.07", "-1234567.89", "1.10"]
    pq.write_table(pa.table({"x": pa.array([*map(Decimal, texts), None])}), tmp_path / "t.parquet")
    assert read_catalog(tmp_path / "t.parquet")["x"].tolist() == [*map(float, texts), None]


def test_quantities_of_ecsv(tmp_path: Path) -> None:
    masked = Masked([1.0, 2.0] * u.km, mask=[False, True])
    QTable({"x": [1.5, 2.5] * u.mas, "masked": masked, "mag": [20.0, 21.0] * u.ABmag}).write(tmp_path / "t.ecsv")
    table = read_catalog(tmp_path / "t.ecsv")
    assert table["x"].tolist() == [1.5, 2.5]
    assert table["masked"].tolist() == [1.0, None]
    assert list_columns(tmp_path / "t.ecsv") == {"x": "mas", "masked": "km", "mag": "mag(AB)"}


class TestVotable:
    @staticmethod
    def write(path: Path, *tables: list[int]) -> Path:
        elements = [
            f'<TABLE name="t{len(rows)}"><FIELD name="x" datatype="int"/><DATA><TABLEDATA>'
            + "".join(f"<TR><TD>{value}</TD></TR>" for value in rows)
            + "</TABLEDATA></DATA></TABLE>"
            for rows in tables
        ]
        path.write_text(f'<VOTABLE version="1.4"><RESOURCE>{"".join(elements)}</RESOURCE></VOTABLE>')
        return path

    def test_the_one_table_with_rows(self, tmp_path: Path) -> None:
        assert read_catalog(self.write(tmp_path / "t.vot", [], [3, 4]))["x"].tolist() == [3, 4]
        assert read_catalog(self.write(tmp_path / "t.vot", [3, 4], []))["x"].tolist() == [3, 4]
        assert len(read_catalog(self.write(tmp_path / "t.vot", [], []))) == 0

    def test_no_table_is_left_out_without_a_word(self, tmp_path: Path) -> None:
        with pytest.raises(CatalogError, match="the file has 2 tables with rows"):
            read_catalog(self.write(tmp_path / "t.vot", [1], [2, 3]))


def test_unit_of_a_parquet_field(tmp_path: Path) -> None:
    field = pa.field("x", pa.float64(), metadata={"unit": "km s-1"})
    pq.write_table(pa.table([pa.array([1.0])], schema=pa.schema([field])), tmp_path / "t.parquet")
    assert list_columns(tmp_path / "t.parquet") == {"x": "km / s"}


class TestShards:
    def shards(self, tmp_path: Path, *texts: str) -> list[Path]:
        for number, text in enumerate(texts):
            (tmp_path / f"s{number}.csv").write_text(text)
        return [tmp_path / f"s{number}.csv" for number in range(len(texts))]

    def test_rows_are_joined_by_name_in_order(self, tmp_path: Path) -> None:
        files = self.shards(tmp_path, "x,n\n1,a\n2,bb\n", "n,other,x\nccc,0,3.5\n", "x,n\n")
        table = read_catalog(files, ["x", "n"])
        assert table["x"].tolist() == [1.0, 2.0, 3.5]
        assert table["n"].tolist() == ["a", "bb", "ccc"]
        assert [entry["n_rows"] for entry in table.meta["files"]] == [2, 1, 0]

    def test_a_shard_without_a_value_in_a_text_column(self, tmp_path: Path) -> None:
        table = read_catalog(self.shards(tmp_path, "n,x\n,1\n", "n,x\na,2\n"))
        assert table["n"].tolist() == [None, "a"]

    def test_a_shard_that_lacks_a_column(self, tmp_path: Path) -> None:
        with pytest.raises(CatalogError, match=r"no column 'e', in release 3, file .*s1\.csv"):
            read_catalog(self.shards(tmp_path, "x,e\n1,2\n", "x\n1\n"), where_from="release 3")

    def test_text_in_one_and_numbers_in_the_other(self, tmp_path: Path) -> None:
        with pytest.raises(CatalogError, match=r"'x' holds text, in .*s1\.csv, expected numbers as in .*s0\.csv"):
            read_catalog(self.shards(tmp_path, "x\n1\n", "x\na\n"))

    def test_units_must_agree(self, tmp_path: Path) -> None:
        for name, unit in (("a.ecsv", "mas"), ("b.ecsv", "deg")):
            Table({"x": MaskedColumn([1.0], unit=unit)}).write(tmp_path / name)
        with pytest.raises(CatalogError, match=r"'x' has the unit deg, in .*b\.ecsv, expected mas"):
            read_catalog([tmp_path / "a.ecsv", tmp_path / "b.ecsv"])


class TestBadFiles:
    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("t.csv", b"", "is empty"),
            ("t.csv.gz", gzip.compress(b"", mtime=0), "is empty"),
            ("t.fits", b"<!DOCTYPE html><html>404</html>", "web page"),
            ("t.csv", b"\n <HTML><body>sign in</body></HTML>", "web page"),
            ("t.fits", b"x,y\n1,2\n", "cannot be read as fits"),
            ("t.parquet", b"PAR1 and then nothing", "cannot be read as parquet"),
            ("t.h5", b"\x89HDF\r\n\x1a\n and then nothing", "cannot be read as hdf5"),
            ("t.vot", b"<?xml version='1.0'?><VOTABLE><RESOURCE>", "cannot be read as votable"),
            ("t.ecsv", b"# %ECSV 1.0\n# ---\n# datatype:\n# - {name: x}\nx\n1\n", "cannot be read as ecsv"),
            ("t.csv.gz", gzip.compress(b"x\n" + os.urandom(400_000).hex().encode())[:-3000], "cannot be read as csv"),
        ],
    )
    def test_not_a_file_of_its_format(self, tmp_path: Path, name: str, content: bytes, message: str) -> None:
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(CatalogError, match=message) as caught:
            read_catalog(path, where_from="catalog gaia")
        assert f"in catalog gaia, file {path}" in str(caught.value)

    def test_a_file_that_ends_too_early(self, tmp_path: Path) -> None:
        Table({"x": np.arange(10_000.0)}).write(tmp_path / "t.fits")
        whole = (tmp_path / "t.fits").read_bytes()
        (tmp_path / "t.fits").write_bytes(whole[:40_000])
        with pytest.raises(CatalogError, match="cannot be read as fits"):
            read_catalog(tmp_path / "t.fits")

    def test_missing_file_and_folder(self, tmp_path: Path) -> None:
        with pytest.raises(CatalogError, match="no such file"):
            read_catalog(tmp_path / "t.csv")
        with pytest.raises(ConfigError, match="is a folder without Parquet files"):
            read_catalog(tmp_path)

    def test_unknown_format(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="unknown format 'excel'"):
            read_catalog(tmp_path / "t.csv", format="excel")


class TestExpandFiles:
    def test_globs_sort_by_number(self, tmp_path: Path) -> None:
        for number in (10, 9, 1):
            (tmp_path / f"part{number}.csv").touch()
        (tmp_path / "part0").mkdir()
        assert [file.name for file in expand_files("part*", tmp_path)] == ["part1.csv", "part9.csv", "part10.csv"]

    def test_a_list_keeps_its_order(self, tmp_path: Path) -> None:
        for name in ("a.csv", "b.csv", "c1.csv", "c2.csv"):
            (tmp_path / name).touch()
        files = expand_files(["b.csv", "c?.csv", tmp_path / "a.csv"], tmp_path)
        assert files == tuple(tmp_path / name for name in ("b.csv", "c1.csv", "c2.csv", "a.csv"))

    def test_brackets_in_a_name_and_in_the_folder(self, tmp_path: Path) -> None:
        folder = tmp_path / "run[1]"
        folder.mkdir()
        (folder / "x[2].csv").touch()
        assert expand_files("x[2].csv", folder) == (folder / "x[2].csv",)
        assert expand_files("*.csv", folder) == (folder / "x[2].csv",)

    @pytest.mark.parametrize(
        ("patterns", "message"),
        [
            ("none.csv", "no such file"),
            ("*.fits", "no file matches"),
            (".", "is a folder"),
            ([], "empty list"),
            (["a.csv", "*.csv"], "named twice"),
        ],
    )
    def test_what_is_no_file(self, tmp_path: Path, patterns: str | list[str], message: str) -> None:
        (tmp_path / "a.csv").touch()
        with pytest.raises(ConfigError, match=message):
            expand_files(patterns, tmp_path)


class TestStore:
    def test_what_is_written_is_read(self, tmp_path: Path) -> None:
        table = example()
        table["flag"] = MaskedColumn([True, False, True], mask=[False, False, True])
        table["mag"] = np.array([1.1, 2.2, 3.3], dtype=np.float32)
        table.meta = {"files": [{"path": "a.fits", "n_rows": 3}], "other": object()}
        write_blocks([table], tmp_path / "t.parquet")
        read = read_columns(tmp_path / "t.parquet")
        assert read.colnames == table.colnames
        for name in table.colnames:
            assert read[name].tolist() == table[name].tolist()
            assert read[name].dtype.kind == table[name].dtype.kind
        assert read["mag"].dtype == np.float32
        assert read["mass"].unit == "solMass"
        assert read.meta == {"files": [{"path": "a.fits", "n_rows": 3}]}
        assert read_columns(tmp_path / "t.parquet", ["mass"]).colnames == ["mass"]

    def test_equal_tables_give_equal_bytes(self, tmp_path: Path) -> None:
        write_blocks([example()], tmp_path / "a.parquet")
        # What stands under a mask is no part of the table.
        other = example()
        other["mass"].mask[1] = False
        other["mass"][1] = 77.0
        other["mass"].mask[1] = True
        write_blocks([other], tmp_path / "b.parquet")
        assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()

    def test_whole_or_not_at_all(self, tmp_path: Path) -> None:
        write_blocks([example()], tmp_path / "t.parquet")
        before = (tmp_path / "t.parquet").read_bytes()

        def ending_early() -> Iterator[Table]:
            yield example()
            raise CatalogError("a file ends early", "in a.fits", "a whole one")

        with pytest.raises(CatalogError, match="ends early"):
            write_blocks(ending_early(), tmp_path / "t.parquet")
        assert (tmp_path / "t.parquet").read_bytes() == before
        assert [file.name for file in tmp_path.iterdir()] == ["t.parquet"]

    def test_a_column_that_cannot_be_stored_is_refused_where_it_is_asked_for(self, tmp_path: Path) -> None:
        write_blocks([Table({"x": [1.0, 2.0, 3.0], "pdf": np.zeros((3, 200))})], tmp_path / "t.parquet")
        assert read_columns(tmp_path / "t.parquet", ["x"])["x"].tolist() == [1.0, 2.0, 3.0]
        with pytest.raises(CatalogError, match="'pdf' holds 200 values a row"):
            read_columns(tmp_path / "t.parquet", ["pdf"])

    def test_readable_by_the_group_as_the_umask_allows(self, tmp_path: Path) -> None:
        previous = os.umask(0o022)
        try:
            write_blocks([example()], tmp_path / "t.parquet")
        finally:
            os.umask(previous)
        assert stat.S_IMODE((tmp_path / "t.parquet").stat().st_mode) == 0o644

    def test_no_rows(self, tmp_path: Path) -> None:
        write_blocks([example()[:0]], tmp_path / "t.parquet")
        assert len(read_columns(tmp_path / "t.parquet")) == 0

    def test_somebody_elses_file(self, tmp_path: Path) -> None:
        pd.DataFrame({"x": [1.0]}).to_parquet(tmp_path / "t.parquet")
        with pytest.raises(CatalogError, match="not written by mixpipe"):
            read_columns(tmp_path / "t.parquet")


class TestRealCatalogs:
    def test_gaia_members(self, catalogs: Path) -> None:
        path = catalogs / "open_clusters" / "gaia_edr3_members.fits"
        table = read_catalog(path, ["Source", "Cluster", "Plx", "RVDR2"])
        assert len(table) == 264_194
        assert np.count_nonzero(table["Cluster"] == "Melotte_22") == 1217
        assert table["Plx"].unit == "mas"
        with fits.open(path) as hdus:
            np.testing.assert_array_equal(table["RVDR2"].mask, np.isnan(hdus[1].data["RVDR2"]))
            np.testing.assert_array_equal(table["Source"], hdus[1].data["Source"])
        assert list_columns(path)["pmRA"] == "mas / yr"

    def test_local_volume(self, catalogs: Path) -> None:
        path = catalogs / "local_volume" / "dwarf_all_v1.0.5.csv"
        table = read_catalog(path)
        frame = pd.read_csv(path)
        assert table.colnames == list(frame.columns)
        assert len(table) == 889
        for name in ("M_V", "M_V_em", "vlos_sigma"):
            np.testing.assert_array_equal(table[name].filled(np.nan), frame[name])

    def test_redshift_densities(self, catalogs: Path) -> None:
        path = catalogs / "photoz" / "cfhtlens_pdfs.fits"
        assert len(read_catalog(path)) == 200
        densities = read_catalog(path, hdu="PDF")["PDF"]
        assert densities.shape == (100, 200)
        np.testing.assert_allclose(densities.sum(axis=1), 1.0, atol=1e-3)
