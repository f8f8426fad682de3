"""Tables and files: full precision, whole or not at all, and back again."""

import csv
import itertools
import json
import math
import os
import stat
from dataclasses import asdict, replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import mixpipe
from mixpipe.assess.quality import Quality, assess
from mixpipe.base import files
from mixpipe.model.cells import Cells
from mixpipe.model.mixture import Mixture
from mixpipe.results import tables
from mixpipe.results.record import BimodalityRecord, load_record
from tests.records import around


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(1)
    err = rng.uniform(0.1, 0.5, 120)
    x = Mixture([0.6, 0.4], [0.0, 5.0], [0.0, 0.7]).sample(120, rng) + err * rng.standard_normal(120)
    cells = Cells.from_rows(x, err)
    selection = mixpipe.choose_n_components(cells, max_components=3)
    return SimpleNamespace(cells=cells, selection=selection, fit=selection.best)


def litter(folder):
    return sorted(entry.name for entry in folder.iterdir())


def test_csv_keeps_every_bit(tmp_path):
    values = np.array([1 / 3, 1e-308, 5e-324, 1.7976931348623157e308, -0.1, 2459000.5 + 2**-30, 1e22, math.pi])
    frame = pd.DataFrame({"number": values, "count": np.arange(8), "flag": [True, False] * 4, "text": ["a,b"] * 8})
    tables.write_csv(frame, tmp_path / "t.csv")
    with open(tmp_path / "t.csv", newline="", encoding="utf-8") as file:
        back = list(csv.DictReader(file))
    assert np.array([float(row["number"]) for row in back]).tobytes() == values.tobytes()
    assert [row["count"] for row in back] == list("01234567")
    assert [row["flag"] for row in back] == ["True", "False"] * 4
    assert [row["text"] for row in back] == ["a,b"] * 8


def test_csv_says_nan_and_is_plain_utf8(tmp_path):
    tables.write_csv(pd.DataFrame({"a": [1.5, math.nan], "b": ["M☉", None]}), tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_bytes() == "a,b\n1.5,M☉\nnan,nan\n".encode()


def test_same_table_same_bytes(fitted, tmp_path):
    for name in ("one.csv", "two.csv"):
        tables.write_csv(tables.components_table(fitted.fit, "km/s"), tmp_path / name)
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()


def test_file_is_made_with_its_folder_and_the_usual_mode(tmp_path):
    path = tmp_path / "deep" / "er" / "t.txt"
    before = os.umask(0o027)
    try:
        tables.write_file(path, lambda temporary: temporary.write_text("new"))
    finally:
        os.umask(before)
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert litter(path.parent) == ["t.txt"]


@pytest.mark.parametrize("existed", [True, False])
def test_a_write_that_fails_leaves_what_was_there(tmp_path, existed):
    path = tmp_path / "t.txt"
    if existed:
        path.write_text("old")

    def fail(temporary):
        temporary.write_text("half a fi")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        tables.write_file(path, fail)
    assert litter(tmp_path) == (["t.txt"] if existed else [])
    if existed:
        assert path.read_text() == "old"


def test_the_temporary_file_is_on_the_same_disk_and_has_the_same_suffix(tmp_path):
    seen = []

    def write(temporary):
        seen.append(temporary)
        temporary.write_text("x")

    tables.write_file(tmp_path / "t.parquet", write)
    assert seen[0].parent == tmp_path
    assert seen[0].suffix == ".parquet"
    assert seen[0] != tmp_path / "t.parquet"


def test_json_is_strict(tmp_path):
    document = {
        "nan": math.nan,
        "list": [math.inf, np.float64(-math.inf), np.float64(0.1)],
        "array": np.array([1.0, math.nan]),
        "integer": np.int64(3),
        "flag": np.bool_(True),
        "path": tmp_path,
        2018: ("é", None),
    }
    files.write_json(document, tmp_path / "t.json")

    def refuse(constant):
        raise AssertionError(constant)

    text = (tmp_path / "t.json").read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=refuse) == {
        "nan": None,
        "list": [None, None, 0.1],
        "array": [1.0, None],
        "integer": 3,
        "flag": True,
        "path": str(tmp_path),
        "2018": ["é", None],
    }
    assert text.endswith("}\n")
    assert text == files.json_text(document) + "\n"
    short = files.json_text(document, ensure_ascii=True)
    assert short.isascii()
    assert json.loads(short, parse_constant=refuse) == json.loads(text)


def test_components_table_is_the_interface(fitted):
    table = tables.components_table(fitted.fit, "Msun")
    assert table.columns.tolist() == [
        "component",
        "weight",
        "weight_unc",
        "mean",
        "mean_unc",
        "sigma",
        "sigma_unc",
        "boundary",
        "unit",
        "sigma_upper",
        "family",
        "shape",
        "shape_unc",
    ]
    assert table.component.tolist() == [1, 2]
    np.testing.assert_array_equal(table["mean"], fitted.fit.mixture.means)
    np.testing.assert_array_equal(table.sigma_unc, fitted.fit.uncertainties.sigmas)
    assert table.unit.tolist() == ["Msun", "Msun"]


def test_covariance_table_names_its_rows_and_columns(fitted, tmp_path):
    tables.write_csv(tables.covariance_table(fitted.fit), tmp_path / "covariance.csv")
    back = pd.read_csv(tmp_path / "covariance.csv", index_col="parameter")
    names = ["weight_1", "weight_2", "mean_1", "mean_2", "sigma_1", "sigma_2"]
    assert back.index.tolist() == back.columns.tolist() == names
    # The sigma of the first component is at zero.
    assert fitted.fit.boundary.tolist() == [True, False]
    np.testing.assert_array_equal(back.to_numpy(), fitted.fit.covariance)


def test_bimodality_and_back_through_its_table_and_record(fitted, tmp_path):
    found = mixpipe.bimodality(fitted.selection, fitted.cells)
    (row,) = tables.bimodality_table(found).to_dict("records")
    assert row["separation"] == found.separation and math.isnan(row["likelihood_ratio_pvalue"])
    none = tables.bimodality_table(None)
    assert none.columns.tolist() == list(row) and none.empty
    quality = Quality(0.1, math.nan, 0.2)
    for known in (found, None):
        bimodality = None if known is None else BimodalityRecord(**asdict(known))
        record = tables.make_fit_record(fitted.selection, quality, **around(bimodality=bimodality))
        record.write(tmp_path / "fit.json")
        assert repr(tables.read_bimodality(load_record(tmp_path / "fit.json"))) == repr(known)


def test_estimators_table_has_a_row_for_each_estimator_and_component(fitted):
    other = Mixture([0.2, 0.3, 0.5], [0.0, 1.0, 2.0], [0.1, 0.2, 0.3])
    moments = SimpleNamespace(estimator="moments", mixture=other, n_components=3)
    table = tables.estimators_table([(fitted.fit, -12.5, 0.25), (moments, -13.5, 0.5)])
    assert table.columns.tolist() == ["estimator", "component", "weight", "mean", "sigma", "loglik", "seconds"]
    assert table.estimator.tolist() == ["em"] * 2 + ["moments"] * 3
    assert table.component.tolist() == [1, 2, 1, 2, 3]
    assert table.loglik.tolist() == [-12.5] * 2 + [-13.5] * 3
    assert table.sigma.tolist()[2:] == [0.1, 0.2, 0.3]


def test_fit_and_back_through_its_record(fitted, tmp_path):
    quality = assess(fitted.fit.mixture, fitted.cells)
    tables.make_fit_record(fitted.selection, quality, **around()).write(tmp_path / "fit.json")
    read = json.loads((tmp_path / "fit.json").read_text(encoding="utf-8"))
    # What the command line promises.
    assert {"n_data", "estimator", "criterion", "n_components", "loglik", "bic", "aic", "icl", "converged"} <= set(read)
    assert {"components", "selection", "quality", "warnings"} <= set(read)
    assert set(read["components"][0]) == {
        "weight",
        "weight_unc",
        "mean",
        "mean_unc",
        "sigma",
        "sigma_unc",
        "boundary",
        "sigma_upper",
        "family",
        "shape",
        "shape_unc",
        "effective_rows",
    }
    assert [row["n_components"] for row in read["selection"]] == [1, 2, 3]
    assert sum(row["selected"] for row in read["selection"]) == 1
    assert read["quality"]["ks"] == quality.ks
    back, fit = tables.read_fit(load_record(tmp_path / "fit.json")), fitted.fit
    for name in ("loglik", "entropy", "n_data", "n_params", "converged", "estimator", "sigma_floor", "warnings"):
        assert getattr(back, name) == getattr(fit, name)
    assert (back.bic, back.aic, back.icl) == (fit.bic, fit.aic, fit.icl)
    np.testing.assert_array_equal(back.covariance, fit.covariance)
    assert back.n_passes == fit.n_passes
    assert back.remaining_gain == fit.remaining_gain
    np.testing.assert_array_equal(back.boundary, fit.boundary)
    assert back.boundary.dtype == bool
    for part in ("weights", "means", "sigmas"):
        # Weights are normalised again: the last bit may change.
        np.testing.assert_allclose(getattr(back.mixture, part), getattr(fit.mixture, part), rtol=4e-16)
        np.testing.assert_array_equal(getattr(back.uncertainties, part), getattr(fit.uncertainties, part))


def test_nan_survives_json(fitted, tmp_path):
    record = tables.make_fit_record(fitted.selection, Quality(0.1, math.nan, 0.2), **around())
    components = (replace(record.components[0], sigma_unc=math.nan), *record.components[1:])
    replace(record, components=components, remaining_gain=math.nan).write(tmp_path / "fit.json")
    back = tables.read_fit(load_record(tmp_path / "fit.json"))
    assert math.isnan(back.uncertainties.sigmas[0])
    assert math.isnan(back.remaining_gain)


@pytest.mark.parametrize("block", [7, 40, 120, 1000])
def test_members_are_those_of_the_mixture_in_blocks_of_any_size(fitted, tmp_path, monkeypatch, block):
    monkeypatch.setattr(tables, "_BLOCK", block)
    names = np.array([f"star {i}" for i in range(120)])
    tables.write_members(tmp_path / "members.parquet", fitted.fit.mixture, "name", [(names, fitted.cells)])
    table = pq.read_table(tmp_path / "members.parquet").to_pandas()
    assert table.columns.tolist() == [
        "name",
        "value",
        "err",
        "component",
        "p_1",
        "p_2",
        "true_mean",
        "true_unc",
    ]
    x, err, mixture = fitted.cells.x, fitted.cells.err, fitted.fit.mixture
    assert table.name.tolist() == names.tolist()
    np.testing.assert_array_equal(table.value, x)
    np.testing.assert_array_equal(table.err, err)
    resp = mixture.responsibilities(x, err)
    # Sums over the components may be vectorised differently in blocks of different size.
    np.testing.assert_allclose(table[["p_1", "p_2"]], resp, rtol=1e-13, atol=1e-300)
    np.testing.assert_array_equal(table.component, 1 + resp.argmax(axis=1))
    mean, unc = mixture.posterior(x, err)
    np.testing.assert_allclose(table.true_mean, mean, rtol=1e-12)
    np.testing.assert_allclose(table.true_unc, unc, rtol=1e-12)
    assert litter(tmp_path) == ["members.parquet"]


def test_members_with_numbered_rows_keep_their_type(fitted, tmp_path):
    labels = np.arange(10**12, 10**12 + 120)
    tables.write_members(tmp_path / "m.parquet", fitted.fit.mixture, "row", [(labels, fitted.cells)])
    table = pq.read_table(tmp_path / "m.parquet").to_pandas()
    assert table.row.dtype == np.int64
    assert table.row.iloc[-1] == 10**12 + 119


def test_members_do_not_depend_on_the_blocks_that_rows_come_in(fitted, tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "_BLOCK", 50)
    labels = np.arange(120)
    for name, cuts in (("a", [120]), ("b", [1, 49, 51, 119]), ("c", [50, 100]), ("d", range(1, 120))):
        blocks = [
            (labels[start:stop], fitted.cells[start:stop])
            for start, stop in itertools.pairwise([0, *cuts, 120])
            if start < stop
        ]
        tables.write_members(tmp_path / name, fitted.fit.mixture, "row", blocks)
    assert len({(tmp_path / name).read_bytes() for name in "abcd"}) == 1


def test_members_that_fail_half_way_leave_nothing(fitted, tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "_BLOCK", 50)
    with pytest.raises(ValueError, match=r".+"):
        # The labels run out in the second block.
        tables.write_members(tmp_path / "m.parquet", fitted.fit.mixture, "row", [(np.arange(60), fitted.cells)])
    assert litter(tmp_path) == []
