"""HDF5 as PyTables, pandas, netCDF and vaex write it: what is read is what they mean, or it is refused in words."""

import pickle

import h5py
import numpy as np
import pytest

from mixpipe.base.errors import CatalogError
from mixpipe.catalog import read_catalog
from mixpipe.catalog.reading import list_columns, read_blocks
from mixpipe.cli import main

X = np.array([9.0, 8.5, 7.25, 6.0, 5.5, 4.75])
N = len(X)


def pandas_table(path, parts, *, group="c", attributes=(), **categories):
    """A table of pandas with these parts: (values, names, type, what it means) of each.

    Names that are a list are pickled, and belong to the columns of a block.
    """
    fields = [("index", "<i8")]
    for part, (values, names, *_) in parts.items():
        block = (len(values),) if isinstance(names, list | bytes) else ()
        fields.append((part, np.asarray(values).dtype, block))
    rows = np.zeros(N, dtype=fields)
    rows["index"] = np.arange(N)
    with h5py.File(path, "a") as file:
        for part, (values, names, *_) in parts.items():
            rows[part] = np.transpose(values) if isinstance(names, list | bytes) else values
        table = file.create_dataset(f"{group}/table", data=rows)
        table.attrs["index_kind"] = np.bytes_(b"integer")
        file[group].attrs.update({"pandas_type": np.bytes_(b"frame_table"), "nan_rep": np.bytes_(b"N.")})
        file[group].attrs.update(dict(attributes))
        for part, (_, names, *said) in parts.items():
            # PyTables writes bytes of pickles as they are, which are no UTF-8.
            pickled = names if isinstance(names, bytes) else pickle.dumps(names, 0)
            table.attrs[f"{part}_kind"] = np.bytes_(pickled)
            for key, text in zip(("dtype", "meta"), said, strict=False):
                table.attrs[f"{part}_{key}"] = np.bytes_(text.encode())
        for part, values in categories.items():
            listed = np.zeros(len(values), dtype=[("index", "<i8"), ("values", np.asarray(values).dtype)])
            listed["values"] = values
            file[f"{group}/meta/{part}/meta/table"] = listed
            file[f"{group}/meta/{part}/meta"].attrs["pandas_type"] = np.bytes_(b"series_table")
    return path


def pandas_fixed(path, blocks, **axes):
    with h5py.File(path, "w") as file:
        file.create_group("c").attrs["pandas_type"] = np.bytes_(b"frame")
        for k, (items, values, *said) in enumerate(blocks):
            if items is not None:
                file[f"c/block{k}_items"] = items
            file[f"c/block{k}_values"] = np.transpose(values)
            if said:
                file[f"c/block{k}_values"].attrs["value_type"] = np.bytes_(said[0].encode())
        for name, values in axes.items():
            file[f"c/{name}"] = values
    return path


def status(args):
    with pytest.raises(SystemExit) as ended:
        main(args)
    return ended.value.code or 0


# Names


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["x", 0, "y"], ["x", "0", "y"]),
        ([0, 1, 2], ["0", "1", "2"]),
        ([1.5, -3, "x"], ["1.5", "-3", "x"]),
        (["\u03c3", "e_\u00e9", "f\nl"], ["\u03c3", "e_\u00e9", "f\nl"]),
        (["V", "a\\b", "index"], ["V", "a\\b", "index"]),
        (b"(lp1\nS'x'\np2\naS'y'\np3\nag2\na.", None),
        (b"(lp1\nS'x'\np2\naS'y'\np3\naI7\na.", ["x", "y", "7"]),
    ],
)
def test_names_of_a_block_belong_to_its_columns(tmp_path, names, expected):
    path = pandas_table(tmp_path / "t.h5", {"values_block_0": ([X, X + 1, X + 2], names, "float64")})
    if expected is None:
        with pytest.raises(CatalogError, match="names column 'x' twice"):
            read_catalog(path)
        return
    table = read_catalog(path)
    assert table.colnames == list(dict.fromkeys(["index", *expected]))
    for k, name in enumerate(expected):
        assert table[name].tolist() == (X + k).tolist()
        assert read_catalog(path, [name])[name].tolist() == (X + k).tolist()


@pytest.mark.parametrize(
    "names",
    [
        [("g", "x"), ("g", "y"), ("r", "x")],
        ["x", "y"],
        ["x", "y", "z", "w"],
        ["x", None, "z"],
        pickle.dumps(["x", np.int64(5), "z"], 0),
        b"(lp0\nVx\np1\naVy\np2",
        b"no pickle",
        b"",
        b"cos\nsystem\n(S'touch ran'\ntR.",
    ],
)
def test_names_that_are_no_plain_text_are_refused(tmp_path, names, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = pandas_table(tmp_path / "t.h5", {"values_block_0": ([X, X + 1, X + 2], names, "float64")})
    for read in (read_catalog, list_columns):
        with pytest.raises(CatalogError, match=r"names of columns in '/c' are no plain text.*t\.h5, .*str\(c\) for c"):
            read(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("items", "expected"),
    [([7, 8], ["7", "8"]), ([0.5, 2.0], ["0.5", "2.0"]), (["\u03c3".encode(), b"x"], ["\u03c3", "x"])],
)
def test_names_of_the_fixed_format(tmp_path, items, expected):
    table = read_catalog(pandas_fixed(tmp_path / "t.h5", [(np.array(items), [X, X + 1])], axis1=np.arange(N)))
    assert table.colnames == expected
    assert table[expected[1]].tolist() == (X + 1).tolist()


@pytest.mark.parametrize("items", [None, np.array([b"x"]), np.array([b"x", b"y", b"z"])])
def test_names_of_the_fixed_format_that_are_refused(tmp_path, items):
    path = pandas_fixed(tmp_path / "t.h5", [(items, [X, X + 1])], block0_items_level0=np.array([b"g"]))
    with pytest.raises(CatalogError, match=r"names of columns in '/c' are no plain text, such as those of several"):
        read_catalog(path)


def test_rows_of_the_fixed_format_may_have_an_index_of_levels(tmp_path):
    path = pandas_fixed(tmp_path / "t.h5", [(np.array([b"x"]), [X])], axis1_level0=np.arange(N), axis1_label0=[0] * N)
    assert read_catalog(path)["x"].tolist() == X.tolist()


def test_a_table_of_the_fixed_format_without_rows(tmp_path):
    path = pandas_fixed(tmp_path / "t.h5", [(np.array([b"x"]), np.zeros((1, 1)))])
    with h5py.File(path, "a") as file:
        file["c/block0_values"].attrs["shape"] = np.bytes_(b"(I1\nI0\ntp0\n.")
    assert len(read_catalog(path)) == 0


# Categories, times and other codes


@pytest.mark.parametrize("block", [True, False])
@pytest.mark.parametrize(
    ("categories", "expected"),
    [
        ([10, 20, 30], [10, 30, None, 20, 10, 10]),
        ([0.5, 1.5, 2.5], [0.5, 2.5, None, 1.5, 0.5, 0.5]),
        ([b"a", b"bb", b"c"], ["a", "c", None, "bb", "a", "a"]),
    ],
)
def test_categories_are_read_for_their_codes(tmp_path, block, categories, expected):
    codes = np.array([0, 2, -1, 1, 0, 0], dtype="i1")
    name = "values_block_1" if block else "kind"
    part = ([codes], ["kind"]) if block else (codes, "kind")
    parts = {"values_block_0": ([X], ["x"], "float64"), name: (*part, "int8", "category")}
    path = pandas_table(tmp_path / "t.h5", parts, **{name: categories})
    for options in ({}, {"path_in_file": "c"}, {"path_in_file": "c/table"}):
        assert read_catalog(path, **options)["kind"].tolist() == expected
    assert [value for part in read_blocks(path, ["kind"], rows=4) for value in part["kind"].tolist()] == expected


def test_codes_without_categories_are_refused_by_name(tmp_path):
    codes = np.array([0, 2, -1, 1, 0, 0], dtype="i1")
    parts = {"values_block_0": ([X], ["x"], "float64"), "values_block_1": ([codes], ["kind"], "int8", "category")}
    path = pandas_table(tmp_path / "t.h5", parts)
    assert read_catalog(path).colnames == ["index", "x"]
    with pytest.raises(CatalogError, match=r"column 'kind' holds codes of categories that are not listed"):
        read_catalog(path, ["x", "kind"])
    few = pandas_table(tmp_path / "few.h5", parts, values_block_1=[10, 20])
    with pytest.raises(CatalogError, match=r"'values_block_1' has the code 2, .*one of its 2 categories"):
        read_catalog(few)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("datetime64[us]", "datetime64[us]"),
        ("datetime64[ns]", "datetime64[ns]"),
        ("datetime64", "datetime64[ns]"),
        ("timedelta64[s]", "timedelta64[s]"),
    ],
)
def test_times_are_no_numbers(tmp_path, said, expected, capsys):
    stamps = np.array([0, 1, np.iinfo("i8").min, 3, 4, 5])
    parts = {"values_block_0": ([X], ["x"], "float64"), "values_block_1": ([stamps], ["t"], said)}
    paths = [
        pandas_table(tmp_path / "table.h5", parts),
        pandas_table(tmp_path / "data_column.h5", {**parts, "values_block_1": (stamps, "t", said)}),
        pandas_fixed(tmp_path / "fixed.h5", [(np.array([b"x"]), [X]), (np.array([b"t"]), [stamps], said)]),
        tmp_path / "series.h5",
        tmp_path / "vaex.hdf5",
    ]
    with h5py.File(paths[3], "w") as file:
        file["s/x"], file["s/t"] = X, stamps
        file["s/t"].attrs["value_type"] = np.bytes_(said.encode())
    with h5py.File(paths[4], "w") as file:
        file["table/columns/x/data"], file["table/columns/t/data"] = X, stamps
        file["table/columns/t/data"].attrs["dtype"] = said
    for path in paths:
        name = "values_block_1" if path == paths[1] else "t"
        times = read_catalog(path)[name]
        assert times.dtype == expected
        assert np.flatnonzero(times.mask).tolist() == [2]
        assert status(["fit", str(path), "--value", name, "--n-components", "1"]) == 2
        assert f"column '{name}' holds {expected}, in" in capsys.readouterr().err


def test_an_index_of_times_and_other_codes_of_pandas(tmp_path):
    parts = {
        "x": (X, "x", "float64"),
        "ok": ((X > 6).astype("u1"), "ok", "bool"),
        "p": (np.arange(N), "p", "period[D]"),
    }
    path = pandas_table(tmp_path / "t.h5", parts)
    with h5py.File(path, "a") as file:
        file["c/table"].attrs["index_kind"] = np.bytes_(b"datetime64[us]")
    table = read_catalog(path)
    assert table.colnames == ["index", "x", "ok"]
    assert table["index"].dtype == "datetime64[us]"
    assert table["ok"].tolist() == (X > 6).tolist()
    with pytest.raises(CatalogError, match=r"column 'p' holds period\[D\] in the codes of pandas"):
        read_catalog(path, ["p"])


def test_texts_that_stand_for_missing_ones(tmp_path):
    texts = np.array([b"a", b"nan", b"XX", b"b", b"c", b"d"])
    for k, (attributes, own, missing) in enumerate(
        [({}, None, [1]), ({"nan_rep": np.bytes_(b"XX")}, None, [2]), ({"data_col_nan_rep": np.uint8(1)}, b"XX", [2])]
    ):
        path = pandas_table(tmp_path / f"{k}.h5", {"s": (texts, "s", "bytes32", "str")}, attributes=attributes)
        if own:
            with h5py.File(path, "a") as file:
                file["c/table"].attrs["s_nan_rep"] = np.bytes_(own)
        assert np.flatnonzero(read_catalog(path)["s"].mask).tolist() == missing


def with_pickle(path, names, pickled):
    """A table in the fixed format with a column x, and a pickled block."""
    pandas_fixed(path, [(np.array([b"x"]), [X])])
    with h5py.File(path, "a") as file:
        file["c/block1_items"] = np.array([name.encode() for name in names])
        block = file.create_dataset("c/block1_values", (1,), dtype=h5py.vlen_dtype("u1"))
        if pickled is not None:
            block[0] = np.frombuffer(pickled, dtype="u1")
    return path


class Harm:
    def __reduce__(self):
        return open, ("ran", "w")


@pytest.mark.parametrize(
    "content",
    [
        np.array([list("abcdef")], dtype=object).T,
        np.array([["a", 1.5, True, None, b"b", ()]], dtype=object).T,
        np.array([["a", Harm(), "b", "c", "d", "e"]], dtype=object).T,
        np.array([list("abcdef"), list("abcdef")], dtype=object).T,
        Harm(),
        ["a"],
        b"no pickle",
        None,
    ],
)
def test_objects_in_the_fixed_format_are_refused_by_name(tmp_path, content, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pickled = content if content is None or isinstance(content, bytes) else pickle.dumps(content)
    path = with_pickle(tmp_path / "t.h5", ["id"], pickled)
    assert read_catalog(path).colnames == ["x"]
    with pytest.raises(CatalogError, match=r"column 'id' holds pickled objects, such as text; .*format='table'"):
        read_catalog(path, ["id"])
    assert not (tmp_path / "ran").exists()


def test_a_table_that_was_not_finished_and_one_of_two(tmp_path):
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file.create_group("c").attrs["pandas_type"] = np.bytes_(b"frame_table")
    with pytest.raises(CatalogError, match="has not finished the table '/c'"):
        read_catalog(tmp_path / "t.h5")
    for group in "ab":
        pandas_table(tmp_path / "two.h5", {"x": (X + (group == "b"), "x", "float64")}, group=group)
    with h5py.File(tmp_path / "two.h5", "a") as file:
        file["a/_i_table/x/sorted"] = np.arange(3)
    with pytest.raises(CatalogError, match=r"the file has 2 tables, .*one of a, b as path"):
        read_catalog(tmp_path / "two.h5")
    assert read_catalog(tmp_path / "two.h5", path_in_file="b")["x"].tolist() == (X + 1).tolist()


# netCDF


@pytest.mark.parametrize("said", ["true", b"True"])
@pytest.mark.parametrize("fill", [np.int16(-1), np.uint16(65535), -1])
def test_unsigned_numbers_of_netcdf(tmp_path, said, fill):
    with h5py.File(tmp_path / "t.nc.h5", "w") as file:
        file["x"] = np.array([50950, 62500, 65535, 40690, 0, 65534], dtype="u2").view("i2")
        file["x"].attrs.update({"_Unsigned": said, "_FillValue": fill, "scale_factor": 0.0001, "add_offset": 1.0})
    column = read_catalog(tmp_path / "t.nc.h5")["x"]
    assert np.flatnonzero(column.mask).tolist() == [2]
    np.testing.assert_allclose(column.compressed(), [6.095, 7.25, 5.069, 1.0, 7.5534])


def test_signed_numbers_that_are_stored_without_sign(tmp_path):
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file["x"] = np.array([0, 5, 200, 255, 128, 127], dtype="u1")
        file["x"].attrs.update({"_Unsigned": "false", "_FillValue": np.uint8(128), "valid_min": np.int8(-10)})
    assert read_catalog(tmp_path / "t.h5")["x"].tolist() == [0, 5, None, -1, None, 127]


@pytest.mark.parametrize(
    ("stored", "attributes", "missing"),
    [
        ([1.0, 2.0, 99.0, -9.0], {"valid_range": [0.0, 50.0]}, [2, 3]),
        ([1.0, 2.0, 99.0, -9.0], {"valid_min": 0.0}, [3]),
        ([1.0, 2.0, 99.0, -9.0], {"valid_max": np.float32(50.0)}, [2]),
        # Bounds of packed numbers are packed, too; with a point, they are not.
        (np.array([1, 20, 99, -9], dtype="i2"), {"valid_range": np.array([0, 50], "i2"), "scale_factor": 0.1}, [2, 3]),
        (np.array([1, 20, 99, -9], dtype="i2"), {"valid_range": [0.0, 5.0], "scale_factor": 0.1}, [2, 3]),
        (np.array([1, 20, 99, -9], dtype="i2"), {"valid_range": [0.0, 50.0]}, [2, 3]),
        (np.array([1, 20, 200, -9], dtype="i2"), {"valid_max": np.int16(50), "_Unsigned": "true"}, [2, 3]),
        ([1.0, 2.0, 99.0, -9.0], {"missing_value": [99.0, -9.0]}, [2, 3]),
        ([1.0, 2.0, 99.0, -9.0], {"missing_value": np.bytes_(b"-9.0")}, [3]),
        ([1.0, 2.0, 99.0, -9.0], {"missing_value": "none"}, []),
        # What cannot be stored marks nothing.
        (np.array([0, 20, 99, -9], dtype="i2"), {"_FillValue": np.nan}, []),
        (np.array([0, 20, 1, -9], dtype="i1"), {"missing_value": [65536, 1.5, 257]}, []),
        ([1.0, 2.0, 9.969209968386869e36, -9.0], {}, [2]),
        (np.array([1.0, 2.0, 9.969209968386869e36, -9.0], dtype="f4"), {"_FillValue": -9.0}, [2, 3]),
        (np.array([1.0, 2.0, 3.0, np.inf], dtype="f2"), {}, []),
        (np.array([b"a", b"b", b"c", b"d"]), {"_FillValue": b"a", "valid_max": 3}, []),
    ],
)
def test_missing_numbers_of_netcdf(tmp_path, stored, attributes, missing):
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file["x"] = stored
        file["x"].attrs.update(attributes)
    column = read_catalog(tmp_path / "t.h5")["x"]
    assert np.flatnonzero(column.mask).tolist() == missing


# Columns that are left out


@pytest.mark.parametrize("kind", ["record", "records", "reference", "opaque"])
def test_columns_that_are_neither_numbers_nor_text_are_left_out(tmp_path, kind, capsys):
    types = {
        "record": ([("ra", "f8"), ("dec", "f8")], "records of ra, dec"),
        "records": (np.dtype(([("ra", "f8")], (2,))), "records of ra"),
        "reference": (h5py.ref_dtype, "references"),
        "opaque": ("V3", "bytes of no known type"),
    }
    rows = np.zeros(N, dtype=[("x", "f8"), ("pos", types[kind][0]), ("id", "S2"), ("pair", "f8", (2,))])
    rows["x"] = X
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file.create_dataset("g/t", data=rows) if kind != "reference" else file.create_dataset("g/t", N, rows.dtype)
        if kind == "reference":
            file["g/t"]["x"] = X
    table = read_catalog(tmp_path / "t.h5")
    assert table.colnames == ["x", "id", "pair"]
    assert table["x"].tolist() == X.tolist()
    with pytest.raises(CatalogError, match=f"column 'pos' holds {types[kind][1]}, in .*expected numbers or text"):
        read_catalog(tmp_path / "t.h5", ["x", "pos"])
    assert status(["init", str(tmp_path / "t.h5")]) == 0
    assert "no numbers or text, or with other rows: pos" in capsys.readouterr().out
    assert status(["init", str(tmp_path / "t.h5"), "--column", "pos"]) == 2
    assert f"column 'pos' holds {types[kind][1]}" in capsys.readouterr().err


@pytest.mark.parametrize("shape", [(N,), (N, 1)])
def test_datasets_of_another_length_are_left_out(tmp_path, shape, capsys):
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file["x"], file["y"], file["bins"] = X.reshape(shape), 2 * X, np.arange(9.0)
        file["edges"] = np.arange(10.0)
    table = read_catalog(tmp_path / "t.h5")
    assert table.colnames == ["x", "y"]
    assert table["y"].tolist() == (2 * X).tolist()
    assert read_catalog(tmp_path / "t.h5", ["bins"])["bins"].tolist() == list(range(9))
    with pytest.raises(CatalogError, match=r"column 'bins' has 9 rows, .*6 as in column 'x'"):
        read_catalog(tmp_path / "t.h5", ["x", "bins"])
    assert status(["init", str(tmp_path / "t.h5"), "--column", "x"]) == 0
    assert "x: " in capsys.readouterr().out
    assert status(["init", str(tmp_path / "t.h5"), "--column", "bins"]) == 2
    assert "column 'bins' has 9 rows" in capsys.readouterr().err


def test_without_a_usual_length_nothing_is_left_out(tmp_path):
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file["x"], file["y"], file["a"], file["b"] = X, X, X[:3], X[:3]
    with pytest.raises(CatalogError, match=r"column 'x' has 6 rows, .*3 as in column 'a'"):
        read_catalog(tmp_path / "t.h5")


# Filters


@pytest.mark.parametrize("number", [511, 400])
def test_a_filter_that_is_not_installed(tmp_path, number):
    with h5py.File(tmp_path / "t.h5", "w") as file:
        settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        settings.set_chunk((N,))
        settings.set_filter(number, h5py.h5z.FLAG_OPTIONAL)
        space = h5py.h5s.create_simple((N,))
        made = h5py.h5d.create(file.id, b"x", h5py.h5t.NATIVE_DOUBLE, space, settings)
        made.write_direct_chunk((0,), X.tobytes())
        file["y"] = X
    assert read_catalog(tmp_path / "t.h5", ["y"])["y"].tolist() == X.tolist()
    with pytest.raises(
        CatalogError, match=f"'x' is compressed by filter {number}, a filter that is not installed, .*ptrepack"
    ):
        read_catalog(tmp_path / "t.h5")
