"""Catalogs in blocks of rows are the catalogs; the store does not depend on the blocks that it was written in."""

import gc
import gzip
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.table import MaskedColumn, Table

from mixpipe.base.errors import CatalogError
from mixpipe.catalog import store
from mixpipe.catalog.reading import read_blocks, read_catalog
from mixpipe.catalog.release import StoredRelease
from mixpipe.catalog.store import read_columns, stored_blocks, stored_columns, stored_files, write_blocks
from tests.campaign import campaign

N_ROWS = 23
SIZES = [1, 7, 1000]


def example() -> Table:
    """Masked cells, a whole block without a value, and texts that get longer."""
    row = np.arange(N_ROWS)
    return Table(
        {
            "id": 4295806720123456789 + row,
            "name": MaskedColumn(["s" * (1 + i // 3) for i in row], mask=(row >= 7) & (row < 14)),
            "mass": MaskedColumn(row / 7.0, mask=row % 5 == 0, unit="Msun"),
        }
    )


def in_blocks(path: Path, rows: int, columns: list[str] | None = None, **told: object) -> Table:
    """The blocks below one another, after what has to be true of each of them."""
    blocks = list(read_blocks(path, columns, rows=rows, **told))
    n_before = 0
    for block in blocks:
        assert len(block) <= rows
        assert block.meta == {"files": [{"path": str(path), "n_rows": len(block), "first_row": n_before}]}
        n_before += len(block)
    assert len(blocks) == 1 or all(len(block) for block in blocks)
    joined = Table()
    for name in blocks[0].colnames:
        parts = [block[name] for block in blocks]
        assert {part.dtype if part.dtype.kind != "U" else "text" for part in parts} == {
            parts[0].dtype if parts[0].dtype.kind != "U" else "text"
        }
        joined[name] = MaskedColumn(np.ma.concatenate([np.ma.asarray(part) for part in parts]), unit=parts[0].unit)
    return joined


def assert_same(left: Table, right: Table) -> None:
    assert left.colnames == right.colnames
    for name in left.colnames:
        assert left[name].tolist() == right[name].tolist(), name
        assert left[name].dtype == right[name].dtype, name
        assert left[name].unit == right[name].unit, name
        np.testing.assert_array_equal(left[name].mask, right[name].mask)


def write(kind: str, folder: Path) -> tuple[Path, dict]:
    """The example in a format, and what has to be told about the file."""
    table, path = example(), folder / "t"
    texts = table["name"].filled("")
    if kind == "fits.gz":
        table.write(folder / "t.fits")
        path.write_bytes(gzip.compress((folder / "t.fits").read_bytes()))
    elif kind == "parquet groups":
        data = pa.table({name: pa.array(table[name].tolist()) for name in table.colnames})
        pq.write_table(data, path, row_group_size=5)
    elif kind == "parquet dictionary":
        data = pa.table({"name": pa.array(table["name"].tolist()).dictionary_encode()})
        pq.write_table(data, path)
    elif kind == "hdf5 compound":
        layout = [("id", "i8"), ("name", "S9"), ("mass", "f4")]
        with h5py.File(path, "w") as file:
            file["t"] = np.array(list(zip(table["id"], texts, table["mass"].filled(np.nan), strict=True)), layout)
    elif kind == "hdf5 group":
        with h5py.File(path, "w") as file:
            file["id"] = table["id"]
            file["name"] = [str(text) for text in texts]
            file["mass"] = table["mass"].filled(np.nan)
            file["mass"].attrs["unit"] = "Msun"
    elif kind == "hdf5 with masks":
        table["name"] = table["name"].astype("S")
        table.write(path, format="hdf5", path="t", serialize_meta=True)
        return path, {"path_in_file": "t"}
    else:
        table.write(path, format={"csv": "ascii.csv", "ecsv": "ascii.ecsv", "mrt": "ascii.mrt"}.get(kind, kind))
    return path, {}


KINDS = [
    "fits", "fits.gz", "csv", "ecsv", "mrt", "votable", "parquet", "parquet groups", "parquet dictionary",
    "hdf5 compound", "hdf5 group", "hdf5 with masks",
]  # fmt: skip


class TestEveryFormat:
    @pytest.mark.parametrize("rows", SIZES)
    @pytest.mark.parametrize("kind", KINDS)
    def test_blocks_are_the_catalog(self, kind: str, rows: int, tmp_path: Path) -> None:
        path, told = write(kind, tmp_path)
        joined = in_blocks(path, rows, **told)
        assert_same(joined, read_catalog(path, **told))
        for name in joined.colnames:
            expected = example()[name]
            if kind == "hdf5 compound" and name == "mass":
                expected = expected.astype(np.float32)
            elif kind == "mrt" and name == "mass":
                np.testing.assert_allclose(joined[name].filled(-1.0), expected.filled(-1.0), rtol=1e-12)
                continue  # written with fewer digits
            assert joined[name].tolist() == expected.tolist()

    @pytest.mark.parametrize("kind", KINDS)
    def test_columns_in_the_order_asked_for(self, kind: str, tmp_path: Path) -> None:
        path, told = write(kind, tmp_path)
        names = ["name"] if kind == "parquet dictionary" else ["mass", "name"]
        assert_same(in_blocks(path, 7, names, **told), read_catalog(path, names, **told))
        with pytest.raises(CatalogError, match="no column 'mas'"):
            list(read_blocks(path, ["mas"], **told))

    @pytest.mark.parametrize("kind", ["fits", "csv", "ecsv", "votable", "parquet", "hdf5"])
    def test_a_table_without_rows_is_one_empty_block(self, kind: str, tmp_path: Path) -> None:
        path = tmp_path / "t"
        table = Table({"x": np.empty(0), "n": np.empty(0, dtype=np.int64)})
        formats = {"csv": "ascii.csv", "ecsv": "ascii.ecsv"}
        table.write(path, format=formats.get(kind, kind), **({"path": "t"} if kind == "hdf5" else {}))
        (block,) = read_blocks(path, ["n", "x"], rows=7)
        assert block.colnames == ["n", "x"]
        assert len(block) == 0
        assert block.meta["files"] == [{"path": str(path), "n_rows": 0, "first_row": 0}]

    def test_blocks_have_rows(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="rows must be positive"):
            next(read_blocks(tmp_path / "t.fits", rows=0))


class TestFits:
    @pytest.mark.parametrize("rows", SIZES)
    @pytest.mark.parametrize("alone", [True, False])
    def test_every_kind_of_column(self, rows: int, alone: bool, tmp_path: Path) -> None:
        """Each column as Astropy reads the whole of it, be it read alone or beside those that need conversion."""
        rng = np.random.default_rng(5)
        n = rng.integers(0, 100, N_ROWS)
        columns = [
            fits.Column("B", "B", array=n),
            fits.Column("I", "I", array=n - 50),
            fits.Column("J", "J", array=n * 10**6),
            fits.Column("K", "K", array=n * 10**15 + 1),
            fits.Column("E", "E", array=rng.normal(size=N_ROWS)),
            fits.Column("D", "D", array=rng.normal(size=N_ROWS)),
            fits.Column("L", "L", array=n > 50),
            fits.Column("X", "11X", array=rng.random((N_ROWS, 11)) > 0.5),
            fits.Column("C", "C", array=rng.normal(size=N_ROWS) + 1j),
            fits.Column("unsigned", "J", bzero=2**31, array=(n + 2**31).astype(np.uint32)),
            fits.Column("signed byte", "B", bzero=-128, array=(n - 50).astype(np.int8)),
            fits.Column("scaled", "I", array=n),
            fits.Column("vector", "4D", array=rng.normal(size=(N_ROWS, 4))),
            fits.Column("matrix", "6E", dim="(3,2)", array=rng.normal(size=(N_ROWS, 2, 3))),
            fits.Column("lists", "PD()", array=np.array([np.arange(k % 3 + 1.0) for k in n], dtype=object)),
        ]
        path = tmp_path / "t.fits"
        fits.BinTableHDU.from_columns(columns).writeto(path)
        fits.setval(path, "TSCAL12", value=0.5, ext=1)
        with fits.open(path) as hdus:
            for name in hdus[1].columns.names:
                expected = hdus[1].data[name]
                asked = [name] if alone else [name, "scaled"]
                read = in_blocks(path, rows, asked)[name]
                for cell, other in zip(read, expected, strict=True):
                    np.testing.assert_array_equal(cell, other)
                assert read.dtype == expected.dtype.newbyteorder("=")

    @pytest.mark.parametrize("rows", SIZES)
    def test_nulls_and_scales(self, rows: int, tmp_path: Path) -> None:
        stored = np.zeros(N_ROWS, dtype=[("a", ">i4"), ("b", ">i2"), ("c", "S1")])
        stored["a"] = stored["b"] = np.arange(N_ROWS)
        stored["a"][7:14] = -9
        stored["c"] = np.resize([b"T", b"F", b"\0"], N_ROWS)
        path = tmp_path / "t.fits"
        fits.BinTableHDU(stored).writeto(path)
        with fits.open(path, mode="update") as hdus:
            hdus[1].header["TFORM3"] = "L"
            hdus[1].header.update({"TNULL1": -9, "TSCAL1": 0.5, "TZERO1": 100.0, "TUNIT1": "mas yr-1", "TNULL2": 3})
        table = in_blocks(path, rows)
        assert table["a"].tolist() == [None if 7 <= i < 14 else 100.0 + 0.5 * i for i in range(N_ROWS)]
        assert table["a"].unit == "mas / yr"
        assert table["b"].tolist() == [None if i == 3 else i for i in range(N_ROWS)]
        assert table["c"].tolist() == np.resize(np.array([True, False, None]), N_ROWS).tolist()
        assert_same(table, read_catalog(path))

    @pytest.mark.parametrize("rows", SIZES)
    def test_ascii_table(self, rows: int, tmp_path: Path) -> None:
        path = tmp_path / "t.fits"
        row = np.arange(N_ROWS)
        columns = [fits.Column("x", "F8.3", array=row / 8), fits.Column("n", "I4", array=row * 100)]
        fits.TableHDU.from_columns(columns).writeto(path)
        path.write_bytes(path.read_bytes().replace(b"   1.2501000", b"            "))
        table = in_blocks(path, rows)
        assert table["x"].tolist() == [None if i == 10 else i / 8 for i in row]
        assert table["n"].tolist() == [None if i == 10 else i * 100 for i in row]

    def test_a_table_behind_others(self, tmp_path: Path) -> None:
        hdus = [fits.BinTableHDU(Table({"x": np.arange(5.0) + 10 * k}).as_array(), name=f"T{k}") for k in range(3)]
        fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(tmp_path / "t.fits")
        assert in_blocks(tmp_path / "t.fits", 2, hdu="T1")["x"].tolist() == [10.0, 11.0, 12.0, 13.0, 14.0]

    def test_a_file_that_ends_too_early(self, tmp_path: Path) -> None:
        Table({"x": np.arange(10_000.0)}).write(tmp_path / "t.fits")
        (tmp_path / "t.fits").write_bytes((tmp_path / "t.fits").read_bytes()[: 5760 + 8 * 4000 + 3])
        with pytest.raises(CatalogError, match=r"cannot be read as fits \(it ends in row 4001 of 10000\)"):
            list(read_blocks(tmp_path / "t.fits", rows=1000))


class TestText:
    def check(self, folder: Path, text: str, **told: object) -> Table:
        """What the blocks have together, the same whatever their size."""
        path = folder / "t.csv"
        path.write_text(text)
        tables = [in_blocks(path, rows, **told) for rows in SIZES]
        for table in tables:
            assert_same(table, read_catalog(path, **told))  # type: ignore[arg-type]
        return tables[0]

    @pytest.mark.parametrize(
        ("values", "expected", "kind"),
        [
            (["1", "", "3"], [1, None, 3], "i"),
            (["1", "2", "3.5"], [1.0, 2.0, 3.5], "f"),
            (["", "", "3.5"], [None, None, 3.5], "f"),
            (["007", "2.50", "x"], ["007", "2.50", "x"], "U"),
            (["NA", "", "x"], ["NA", None, "x"], "U"),
            (["x", "", "NA"], ["x", None, "NA"], "U"),
            (["", "NA", ""], [None, None, None], "i"),
            (["True", "", "False"], [True, None, False], "b"),
            (["True", "2", "3"], ["True", "2", "3"], "U"),
            # Beyond 2^53 and 2^63.
            (["4295806720123456789", "", "-1"], [4295806720123456789, None, -1], "i"),
            (["9223372036854775813", "1", "2"], [9223372036854775813, 1, 2], "u"),
            (["9223372036854775813", "1", "-2"], ["9223372036854775813", "1", "-2"], "U"),
            (["9223372036854775813", "-1", "1.5"], [9223372036854775813.0, -1.0, 1.5], "f"),
            # Twenty digits are the same number whether or not a fraction comes later.
            (["0.1", "1.7976931348623157e308", "3"], [0.1, 1.7976931348623157e308, 3.0], "f"),
        ],
    )
    def test_a_type_that_shows_late(self, values: list[str], expected: list, kind: str, tmp_path: Path) -> None:
        table = self.check(tmp_path, "x,n\n" + "".join(f"{value},{i}\n" for i, value in enumerate(values)))
        assert table["x"].tolist() == expected
        assert table["x"].dtype.kind == kind
        assert table["n"].tolist() == list(range(len(values)))

    def test_quotes_over_several_lines(self, tmp_path: Path) -> None:
        rows = "".join(f'"line {i}\nand\nmore, {i}",{i}\n' for i in range(10))
        table = self.check(tmp_path, "note,x\n" + rows)
        assert table["note"].tolist() == [f"line {i}\nand\nmore, {i}" for i in range(10)]
        assert table["x"].tolist() == list(range(10))

    def test_comments_blanks_and_short_rows(self, tmp_path: Path) -> None:
        table = self.check(tmp_path, "# by hand\nn;x\na;1\n# gone\n\nb\nc;3.5\n", comment="#", delimiter=";")
        assert table["n"].tolist() == ["a", "b", "c"]
        assert table["x"].tolist() == [1.0, None, 3.5]
        table = self.check(tmp_path, "x,n\n1,a\n2\n3,c\n")
        assert table["n"].tolist() == ["a", None, "c"]

    def test_sentinels(self, tmp_path: Path) -> None:
        table = self.check(tmp_path, "x,n\n-99,...\n1.5,a\n...,b\n", missing=[-99, "..."])
        assert table["x"].tolist() == [None, 1.5, None]
        assert table["n"].tolist() == [None, "a", "b"]

    def test_header_only(self, tmp_path: Path) -> None:
        assert len(self.check(tmp_path, "x,n\n")) == 0

    def test_long_rows_are_refused_before_the_first_block(self, tmp_path: Path) -> None:
        (tmp_path / "t.csv").write_text("x,e\n" + "1,2\n" * 20 + "1,2,3\n" + "1,2\n" + "1,2,3\n")
        with pytest.raises(CatalogError, match="2 rows with more fields than the header, the first is row 21"):
            next(read_blocks(tmp_path / "t.csv", rows=7))


def numbers(n_rows: int) -> Table:
    return Table(np.random.default_rng(7).normal(size=(n_rows, 8)), names=list("abcdefgh"))


class TestMemory:
    """Blocks of a table of 13 MB, of which whole reading takes more than 3 MB in any format."""

    n_rows, rows = 200_000, 4_000

    @pytest.mark.parametrize("kind", ["fits", "fits, scaled", pytest.param("csv", marks=campaign), "hdf5"])
    def test_only_some_rows_are_in_memory(self, kind: str, tmp_path: Path) -> None:
        path = tmp_path / "t"
        if kind == "csv":
            path.write_text("a,b\n" + "0.123456789,12345\n" * self.n_rows)
        elif kind == "hdf5":
            numbers(self.n_rows).write(path, format="hdf5", path="t")
        else:
            numbers(self.n_rows).write(path, format="fits")
            if "scaled" in kind:
                fits.setval(path, "TSCAL2", value=0.5, ext=1)
        next(read_blocks(path, ["a", "b"], rows=self.rows))  # imports
        limit = 1_500_000

        def peak(rows: int) -> int:
            tracemalloc.start()
            try:
                for _ in read_blocks(path, ["a", "b"], rows=rows):
                    pass
                return tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()

        assert peak(self.rows) < limit
        # The limit is one that a whole table does not keep.
        assert peak(self.n_rows) > 2 * limit

    def test_blocks_of_wide_tables_have_fewer_rows_in_memory(self, tmp_path: Path, monkeypatch) -> None:
        """One column of a hundred in a file of 16 MB, with a megabyte to a block."""
        monkeypatch.setattr("mixpipe.catalog.formats.arrays._BLOCK_BYTES", 1 << 20)
        path = tmp_path / "t.fits"
        Table({f"x{k}": np.arange(20_000) / (k + 7.0) for k in range(100)}).write(path)
        next(read_blocks(path, ["x3"]))  # imports
        tracemalloc.start()
        try:
            n_rows = sum(len(block) for block in read_blocks(path, ["x3"], rows=20_000))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert n_rows == 20_000
        assert peak < 3 << 20

    def test_parquet(self, tmp_path: Path) -> None:
        n_rows = 2_000_000
        pq.write_table(pa.table({"a": np.arange(n_rows) / 7.0}), tmp_path / "t.parquet", row_group_size=n_rows)

        def most(rows: int) -> int:
            before = pa.total_allocated_bytes()
            return max(pa.total_allocated_bytes() - before for _ in read_blocks(tmp_path / "t.parquet", rows=rows))

        # The column has 16 MB; it is read through a buffer of 1 MiB, with some pages of as much open.
        assert most(self.rows) < 8_000_000 < most(n_rows)

    def test_store(self, tmp_path: Path) -> None:
        gc.collect()  # what other tests have left would be freed on the way
        before, held = pa.total_allocated_bytes(), []

        def blocks() -> Iterator[Table]:
            for number in range(100):
                held.append(pa.total_allocated_bytes() - before)
                yield Table({"x": np.random.default_rng(number).normal(size=100_000)})

        write_blocks(blocks(), tmp_path / "t.parquet")
        for _ in stored_blocks(tmp_path / "t.parquet"):
            held.append(pa.total_allocated_bytes() - before)
        # The table has 80 MB, a group of its rows 2 MB; how many groups are open at a time depends on threads.
        assert 0 < max(held) < 20_000_000


def pieces(table: Table, rows: int) -> Iterator[Table]:
    """A table in blocks, with an empty one at the end."""
    for start in range(0, len(table) + rows, rows):
        block = table[start : start + rows]
        block.meta = {"files": [{"path": "a.csv", "n_rows": len(block), "first_row": min(start, len(table))}]}
        yield block


class TestStore:
    @pytest.mark.parametrize("rows", [1, 2, 7, 8, 23])
    def test_bytes_do_not_depend_on_the_blocks(
        self, rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nor does what is read, with rows without a value in front, between and behind, and text of any length."""
        monkeypatch.setattr(store, "GROUP_ROWS", 5)
        table = example()
        row = np.arange(N_ROWS)
        table["late"] = MaskedColumn(np.where(row > 11, "late", ""), mask=row <= 11)
        table["early"] = MaskedColumn(row.astype(np.float32), mask=row > 3)
        table["never"] = MaskedColumn(np.zeros(N_ROWS), mask=True)
        table["flag"] = MaskedColumn(row % 2 == 0, mask=row == 4)
        write_blocks([*pieces(table, N_ROWS)], tmp_path / "whole.parquet")
        write_blocks(pieces(table, rows), tmp_path / "t.parquet")
        assert (tmp_path / "t.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
        read = read_columns(tmp_path / "t.parquet")
        joined = list(stored_blocks(tmp_path / "t.parquet"))
        assert [len(block) for block in joined] == [5, 5, 5, 5, 3]
        for name in table.colnames:
            assert read[name].tolist() == table[name].tolist()
            assert read[name].unit == table[name].unit
            assert read[name].dtype == table[name].dtype
            assert [cell for block in joined for cell in block[name].tolist()] == table[name].tolist()
            assert {block[name].dtype.kind for block in joined} == {table[name].dtype.kind}
        assert sorted(file.name for file in tmp_path.iterdir()) == ["t.parquet", "whole.parquet"]

    def test_many_rows(self, tmp_path: Path) -> None:
        """Groups of their true size, and pages of which there are several in a group."""
        rng = np.random.default_rng(11)
        n_rows = store.GROUP_ROWS + 100_001
        table = Table({"x": rng.normal(size=n_rows), "y": rng.normal(size=n_rows)}, masked=True)
        table["y"].mask = rng.random(n_rows) < 0.1
        table["n"] = rng.integers(0, 30, n_rows).astype(str)
        contents = []
        for rows in (n_rows, 99_991, 1 << 14):
            write_blocks(pieces(table, rows), tmp_path / "t.parquet")
            contents.append((tmp_path / "t.parquet").read_bytes())
        assert contents[0] == contents[1] == contents[2]
        first, second = stored_blocks(tmp_path / "t.parquet", ["y", "x"])
        assert first.colnames == ["y", "x"]
        np.testing.assert_array_equal(np.concatenate([first["x"].data.data, second["x"].data.data]), table["x"])
        np.testing.assert_array_equal(
            np.concatenate([first["y"].data.data, second["y"].data.data]), table["y"].filled(np.nan)
        )
        assert not first["x"].mask.any()
        # What is masked nowhere is the memory of the file's reader.
        assert not first["x"].data.data.flags.owndata

    def test_types_that_get_wider(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(store, "GROUP_ROWS", 2)
        small = [np.array([2**53 + 1, 2, 3]), np.array([True, False]), np.array([1.5, 2.5], dtype=np.float32)]
        blocks = [Table({"x": values, "n": np.full(len(values), "a")}) for values in small]
        write_blocks(blocks, tmp_path / "t.parquet")
        read = read_columns(tmp_path / "t.parquet")
        # As NumPy has integers beside numbers with fractions: to the precision of these.
        assert read["x"].tolist() == [2.0**53, 2.0, 3.0, 1.0, 0.0, 1.5, 2.5]
        assert read["x"].dtype == np.float64
        wide = [Table({"x": values.astype(np.float64), "n": np.full(len(values), "a")}) for values in small]
        write_blocks(wide, tmp_path / "wide.parquet")
        assert (tmp_path / "t.parquet").read_bytes() == (tmp_path / "wide.parquet").read_bytes()

    def test_files_that_were_stored_apart_have_one_unit_and_kind_too(self, tmp_path: Path) -> None:
        def stored(name: str, values: object, unit: str | None) -> Path:
            table = Table({"x": MaskedColumn(values, unit=unit), "y": np.arange(len(values))})
            table.meta = {"files": [{"path": f"{name}.csv", "n_rows": len(table)}]}
            write_blocks([table], tmp_path / f"{name}.parquet", {f"{name}.csv": {"sha256": "0"}})
            return tmp_path / f"{name}.parquet"

        parts = [stored("a", [1.0], "km"), stored("b", [2.0], "km"), stored("c", [3.0], "m"), stored("d", ["e"], "km")]

        def release(*names: str) -> StoredRelease:
            return StoredRelease(parts, {f"{name}.csv": "0" for name in names}, "release 1")

        assert [float(block["x"][0]) for block in release("a", "b").blocks(["x"])] == [1.0, 2.0]
        with pytest.raises(CatalogError, match=r"'x' has the unit m, in c\.csv, expected km as in a\.csv"):
            list(release("a", "b", "c").blocks(["x"]))
        with pytest.raises(CatalogError, match=r"'x' holds text, in d\.csv, expected numbers as in a\.csv"):
            list(release("a", "d").blocks(["x"]))
        assert len(list(release("a", "c", "d").blocks(["y"]))) == 3

    def test_files_of_a_folder_have_one_unit(self, tmp_path: Path) -> None:
        for name, unit in (("a", "km"), ("b", "m")):
            Table({"x": MaskedColumn([1.0], unit=unit)}).write(tmp_path / f"{name}.parquet")
        with pytest.raises(CatalogError, match=r"'x' has the unit m, in .*b\.parquet, expected km"):
            list(read_blocks(tmp_path))

    def test_what_does_not_fit(self, tmp_path: Path) -> None:
        """Such a column is refused whenever it is read; the others are there."""

        def block(path: str, values: object, unit: str | None = None) -> Table:
            table = Table({"x": MaskedColumn(values, unit=unit), "y": np.arange(len(values))})
            table.meta = {"files": [{"path": path, "n_rows": len(table)}]}
            return table

        first = block("a.csv", [1.0], "mas")
        for second, message in (
            (block("b.csv", ["a"], "mas"), "'x' holds text, in b.csv, expected numbers as in the rows before"),
            (block("b.csv", [1.0], "deg"), "'x' has the unit deg, in b.csv, expected mas as in the rows before"),
            (block("b.csv", [1.0]), "'x' has the unit none, in b.csv, expected mas as in the rows before"),
            (block("b.csv", [[1.0, 2.0]], "mas"), "'x' holds 2 values a row, in b.csv, expected one value a row"),
        ):
            write_blocks([first, second, first], tmp_path / "t.parquet")
            assert read_columns(tmp_path / "t.parquet", ["y"])["y"].tolist() == [0, 0, 0]
            for columns in (["x"], ["y", "x"], None):
                with pytest.raises(CatalogError, match=message):
                    read_columns(tmp_path / "t.parquet", columns)
                with pytest.raises(CatalogError, match=message):
                    list(stored_blocks(tmp_path / "t.parquet", columns))
            (tmp_path / "t.parquet").unlink()
        with pytest.raises(ValueError, match="the same columns"):
            write_blocks([first, Table({"y": [1.0]})], tmp_path / "t.parquet")
        with pytest.raises(ValueError, match="at least one table"):
            write_blocks([], tmp_path / "t.parquet")
        assert not list(tmp_path.iterdir())

    def test_nan_and_blanks_are_null(self, tmp_path: Path) -> None:
        write_blocks([Table({"x": [1.0, np.nan], "n": ["a", " "]})], tmp_path / "t.parquet")
        assert pq.read_table(tmp_path / "t.parquet").to_pydict() == {"x": [1.0, None], "n": ["a", None]}

    def test_files_are_remembered(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(store, "GROUP_ROWS", 4)
        for name, n_rows in (("a", 5), ("b", 0), ("c", 6)):
            (tmp_path / f"{name}.csv").write_text("x\n" + "1.5\n" * n_rows)
        paths = [str(tmp_path / f"{name}.csv") for name in "abc"]
        hashes = {path: {"sha256": path[-5] * 64} for path in paths}
        target = tmp_path / "t.parquet"
        write_blocks((block for path in paths for block in read_blocks(path, ["x"], rows=2)), target, hashes)
        expected = [{"path": path, "n_rows": n, **hashes[path]} for path, n in zip(paths, (5, 0, 6), strict=True)]
        assert stored_files(target) == expected
        assert stored_columns(target) == ("x",)
        assert read_columns(target).meta == {"files": expected}
        found = [
            [(entry["path"][-5], entry["first_row"], entry["n_rows"]) for entry in block.meta["files"]]
            for block in stored_blocks(target)
        ]
        assert found == [[("a", 0, 4)], [("a", 4, 1), ("c", 0, 3)], [("c", 3, 3)]]

    def test_no_rows(self, tmp_path: Path) -> None:
        write_blocks([example()[:0], example()[:0]], tmp_path / "t.parquet")
        (block,) = stored_blocks(tmp_path / "t.parquet", ["mass", "id"])
        assert block.colnames == ["mass", "id"]
        assert len(block) == 0
        assert block["mass"].unit == "solMass"

    def test_somebody_elses_file(self, tmp_path: Path) -> None:
        pq.write_table(pa.table({"x": [1.0]}), tmp_path / "t.parquet")
        with pytest.raises(CatalogError, match="not written by mixpipe"):
            next(stored_blocks(tmp_path / "t.parquet"))
        with pytest.raises(CatalogError, match="not written by mixpipe"):
            stored_files(tmp_path / "t.parquet")
        with pytest.raises(CatalogError, match="no column 'y'"):
            write_blocks([Table({"x": [1.0]})], tmp_path / "t.parquet")
            next(stored_blocks(tmp_path / "t.parquet", ["y"]))

    def test_a_failure_on_the_way_leaves_what_was_there(self, tmp_path: Path) -> None:
        write_blocks([example()], tmp_path / "t.parquet")
        before = (tmp_path / "t.parquet").read_bytes()

        def blocks() -> Iterator[Table]:
            yield example()
            raise OSError("the disk is gone")

        with pytest.raises(OSError, match="gone"):
            write_blocks(blocks(), tmp_path / "t.parquet")
        assert (tmp_path / "t.parquet").read_bytes() == before
        assert [file.name for file in tmp_path.iterdir()] == ["t.parquet"]
