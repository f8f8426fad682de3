"""Catalogs of tabulated densities: reading in each format, the fits of a column, and the workflow."""

import json
import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from astropy.io import fits
from astropy.table import Table
from click.testing import CliRunner
from scipy.stats import norm

from mixpipe.base.errors import CatalogError, ConfigError
from mixpipe.catalog import densities as reading
from mixpipe.catalog.densities import find_grid, open_densities
from mixpipe.cli import main
from mixpipe.config.settings import parse_config
from mixpipe.pipeline.densities import fit_density_column
from mixpipe.pipeline.plan.run import Run, find_problems
from mixpipe.results.record import load_record
from tests.campaign import campaign, mostly_study, pairs
from tests.workflow.test_workflow import ENDS, Project, rows, write_csv

GRID = np.linspace(0.0, 2.0, 81)
# Weights, means and sigmas of one and of two components, well inside the grid.
ONE = ([1.0], [0.7], [0.1])
TWO = ([0.4, 0.6], [0.5, 1.4], [0.1, 0.15])


def pdf(weights, means, sigmas, grid=GRID):
    return sum(w * norm.pdf(grid, m, s) for w, m, s in zip(weights, means, sigmas, strict=True))


def table(n=30):
    """Densities of one and two components in turn."""
    return np.array([pdf(*(TWO if row % 2 else ONE)) for row in range(n)])


def whole(file):
    return np.concatenate(list(file.blocks()))


def fits_file(path, densities=None, **columns):
    """Densities in HDU 1, their grid in HDU 2."""
    densities = table() if densities is None else densities
    pdfs = fits.Column("PDF", f"{densities.shape[1]}E", array=densities)
    others = [fits.Column(name, "K", array=values) for name, values in columns.items()]
    first = fits.BinTableHDU.from_columns([fits.Column("ID", "J", array=np.arange(len(densities)) + 7), pdfs, *others])
    first.name = "PDFS"
    second = fits.BinTableHDU.from_columns([fits.Column("Z", "D", unit="km", array=GRID)], name="GRID")
    fits.HDUList([fits.PrimaryHDU(), first, second]).writeto(path)
    return path


# Reading


@pytest.fixture(params=[reading.BLOCK_ROWS, 7])
def pieces(request, monkeypatch):
    """Tables in one piece and in several."""
    monkeypatch.setattr(reading, "BLOCK_ROWS", request.param)


@pytest.mark.parametrize("grid", ["GRID:Z", "2:Z"])
def test_fits_with_the_grid_in_another_hdu(tmp_path, pieces, grid):
    file = open_densities(fits_file(tmp_path / "a.fits"), "PDF", grid)
    assert (file.grid.tolist(), file.unit, file.is_one) == (GRID.tolist(), "km", False)
    np.testing.assert_array_equal(whole(file), table().astype(np.float32))
    metres = open_densities(tmp_path / "a.fits", "PDF", grid, unit="m")
    np.testing.assert_allclose(metres.grid, 1000.0 * GRID)
    assert metres.unit == "m"
    with pytest.raises(CatalogError, match="has the unit km, which cannot be converted to s"):
        open_densities(tmp_path / "a.fits", "PDF", grid, unit="s")


@pytest.mark.parametrize("form", ["D", "PD"])
def test_fits_with_the_grid_in_each_row(tmp_path, pieces, form):
    size = "" if form == "PD" else GRID.size
    both = [
        fits.Column(name, f"{size}{form}" + (f"({GRID.size})" if form == "PD" else ""), array=values)
        for name, values in (("p", table()), ("z", np.tile(GRID, (30, 1))))
    ]
    fits.BinTableHDU.from_columns(both).writeto(tmp_path / "a.fits")
    file = open_densities(tmp_path / "a.fits", "p", "z")
    assert file.grid.tolist() == GRID.tolist()
    np.testing.assert_array_equal(whole(file), table())


@pytest.mark.parametrize("compound", [False, True])
def test_hdf5_with_the_grid_elsewhere(tmp_path, pieces, compound):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        if compound:
            rows = np.zeros(30, dtype=[("id", int), ("yvals", float, GRID.size)])
            rows["yvals"] = table()
            file["data"] = rows
        else:
            file["data/yvals"] = table()
            file["data/id"] = np.arange(30)
        file["meta/xvals"] = GRID[None]
        file["meta/xvals"].attrs["unit"] = "kpc"
    for grid in ("/meta/xvals", "meta/xvals"):
        found = open_densities(tmp_path / "a.h5", "yvals", grid, path_in_file="/data")
        assert (found.grid.tolist(), found.unit) == (GRID.tolist(), "kpc")
        np.testing.assert_array_equal(whole(found), table())


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.float64()), pa.large_list(pa.float32()), pa.list_(pa.float32(), GRID.size)]
)
def test_parquet_lists_with_missing_ones(tmp_path, pieces, kind):
    expected = table().astype(np.float32)
    lists = [list(row) for row in expected]
    for row in (0, 8, 21):
        lists[row] = None
    lists[3][5] = None
    grids = pa.array([GRID.tolist()] * 30, pa.list_(pa.float64()))
    pq.write_table(pa.table({"p": pa.array(lists, kind), "z": grids}), tmp_path / "a.parquet")
    file = open_densities(tmp_path / "a.parquet", "p", "z")
    expected[[0, 8, 21]] = np.nan
    expected[3, 5] = np.nan
    np.testing.assert_array_equal(whole(file), expected)
    assert file.grid.tolist() == GRID.tolist()


@pytest.mark.parametrize("format", ["votable", "ascii.ecsv"])
def test_formats_that_are_read_whole(tmp_path, pieces, format):
    path = tmp_path / ("a.vot" if format == "votable" else "a.ecsv")
    Table({"p": table(), "id": np.arange(30)}).write(path, format=format)
    file = open_densities(path, "p", [0.0, 2.0])
    np.testing.assert_allclose(file.grid, GRID, rtol=0, atol=1e-15)  # rounding of the even steps
    np.testing.assert_array_equal(whole(file), table())


def test_text_with_two_columns_is_one_density(tmp_path, pieces):
    write_csv(tmp_path / "a.csv", z=GRID, p=table()[1])
    file = open_densities(tmp_path / "a.csv", "p", "z")
    assert (file.grid.tolist(), file.is_one) == (GRID.tolist(), True)
    np.testing.assert_array_equal(whole(file), table()[1:2])


def test_sentinels_are_missing(tmp_path):
    densities = table()
    densities[4] = -9.99
    file = open_densities(fits_file(tmp_path / "a.fits", densities), "PDF", GRID.tolist(), missing=(-9.99,))
    assert np.flatnonzero(np.isnan(whole(file)).any(axis=1)).tolist() == [4]
    assert np.isnan(whole(file)[4]).all()


@pytest.mark.parametrize(
    ("value", "grid", "what"),
    [
        ("PDF", "Q", r"no column 'Q' with the grid, in .*a\.fits, expected one of ID, PDF, or HDU:COLUMN"),
        ("PDF", "GRID:Q", r"no column 'GRID:Q' with the grid, in .*a\.fits, expected one of Z"),
        ("PDF", "LOST:Z", r"no HDU LOST, in .*a\.fits, expected one of 1 \(PDFS\), 2 \(GRID\)"),
        ("Q", "GRID:Z", r"no column 'Q', in .*a\.fits, expected one of ID, PDF"),
        ("PDF", [0.0, 1.0, 2.0], r"the grid has 3 points, and column 'PDF' 81 values .*a\.fits, expected a value for"),
        ("PDF", "ID", r"the grid has 30 points, and column 'PDF' 81 values"),
        ("ID", "GRID:Z", r"column 'ID' holds one number a row, in .*a\.fits, expected an array in each row"),
        ("ID", [0.0, 1.0], "column 'ID' holds one number a row"),
    ],
)
def test_columns_and_grids_that_do_not_fit(tmp_path, value, grid, what):
    with pytest.raises(CatalogError, match=what):
        open_densities(fits_file(tmp_path / "a.fits"), value, grid)


@pytest.mark.parametrize(
    ("place", "value", "what"),
    [
        (5, GRID[4], r"the grid does not increase: point 6 is 0\.1, the one before 0\.1, in .*, expected increasing"),
        (5, -1.0, r"the grid does not increase: point 6 is -1\.0, the one before 0\.1"),
        (80, np.inf, "point 81 of the grid is no number"),
        (0, np.nan, "point 1 of the grid is no number"),
    ],
)
def test_grids_that_are_none(tmp_path, place, value, what):
    grid = GRID.copy()
    grid[place] = value
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["p"], file["z"] = table(), grid
    with pytest.raises(CatalogError, match=what):
        open_densities(tmp_path / "a.h5", "p", "z")


def test_grid_of_two_points(tmp_path):
    Table({"p": np.ones((4, 2))}).write(tmp_path / "a.fits")
    with pytest.raises(CatalogError, match=r"the grid has 2 points, in .*, expected at least 3"):
        open_densities(tmp_path / "a.fits", "p", [0.0, 1.0])


def test_another_grid_in_a_row(tmp_path, pieces):
    grids = np.tile(GRID, (30, 1))
    grids[17] += 1.0
    Table({"p": table(), "z": grids}).write(tmp_path / "a.fits")
    with pytest.raises(CatalogError, match=r"the grid in column 'z' is another in row 18, .*one grid for all rows"):
        open_densities(tmp_path / "a.fits", "p", "z")


def test_ragged_lists(tmp_path, pieces):
    lists = [row.tolist() for row in table()]
    lists[18] = lists[18][:-3]
    pq.write_table(pa.table({"p": lists}), tmp_path / "a.parquet")
    with pytest.raises(CatalogError, match=r"different lengths, 81 values and, first in row 19, 78, in .*parquet"):
        whole(open_densities(tmp_path / "a.parquet", "p", [0.0, 2.0]))


def test_lists_of_another_length_from_some_row_on(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "BLOCK_ROWS", 10)
    lists = [row.tolist()[: 81 if i < 20 else 70] for i, row in enumerate(table())]
    pq.write_table(pa.table({"p": lists}), tmp_path / "a.parquet")
    with pytest.raises(CatalogError, match=r"arrays of 70 values, the first in row 21, .*expected arrays of 81 values"):
        whole(open_densities(tmp_path / "a.parquet", "p", [0.0, 2.0]))


def test_columns_of_text_and_of_more_dimensions(tmp_path):
    pq.write_table(pa.table({"p": ["a", "b"]}), tmp_path / "a.parquet")
    with pytest.raises(CatalogError, match=r"column 'p' holds text, .*an array of numbers in each row"):
        open_densities(tmp_path / "a.parquet", "p", [0.0, 2.0])
    Table({"p": np.ones((5, 4, 3))}).write(tmp_path / "a.fits")
    with pytest.raises(CatalogError, match="column 'p' holds arrays of 2 dimensions"):
        open_densities(tmp_path / "a.fits", "p", [0.0, 2.0])


def test_hdf5_grid_that_is_not_there(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data/p"], file["meta/z"] = table(), GRID
    with pytest.raises(CatalogError, match=r"no column 'meta/q' with the grid, .*expected one of z"):
        find_grid(tmp_path / "a.h5", "meta/q", path_in_file="data")
    with pytest.raises(CatalogError, match=r"nothing at 'lost', .*expected one of data, meta"):
        find_grid(tmp_path / "a.h5", "lost/z", path_in_file="data")


# Histograms

EDGES = np.linspace(0.0, 1.5, 151)


def redshifts():
    """A redshift distribution that is cut at zero, as densities in bins, and its parameters."""
    weights, means, sigmas = [0.3, 0.7], [0.1, 0.6], [0.15, 0.2]
    shares = np.diff(sum(w * norm.cdf(EDGES, m, s) for w, m, s in zip(weights, means, sigmas, strict=True)))
    return shares / shares.sum() / np.diff(EDGES), (weights, means, sigmas)


def bins_file(path, **changes):
    columns = {
        "Z_LOW": EDGES[:-1],
        "Z_MID": 0.5 * (EDGES[1:] + EDGES[:-1]),
        "Z_HIGH": EDGES[1:],
        "BIN1": redshifts()[0],
    }
    if path.suffix == ".csv":
        write_csv(path, **columns | changes)
    else:
        Table(columns | changes).write(path)
    return path


@pytest.mark.parametrize("name", ["nz.fits", "nz.csv"])
@pytest.mark.parametrize("grid", ["Z_MID", "Z_LOW", ["Z_LOW", "Z_HIGH"]])
def test_columns_with_edges_make_a_histogram(tmp_path, pieces, name, grid):
    file = open_densities(bins_file(tmp_path / name), "BIN1", grid)
    np.testing.assert_allclose(file.edges, EDGES, rtol=0, atol=1e-15)
    np.testing.assert_allclose(file.grid, 0.5 * (EDGES[1:] + EDGES[:-1]))
    assert file.is_one and file.abscissae.shape == (150, 2)
    np.testing.assert_array_equal(whole(file), redshifts()[0][None])


def test_a_list_with_a_number_more_than_values_has_edges(tmp_path):
    file = open_densities(fits_file(tmp_path / "a.fits"), "PDF", np.linspace(0.0, 1.0, 82).tolist())
    np.testing.assert_allclose(file.edges, np.linspace(0.0, 1.0, 82))
    assert len(file.grid) == 81 and not file.is_one


def test_columns_without_the_other_edge_are_points(tmp_path):
    file = open_densities(
        bins_file(tmp_path / "a.fits", Z_HIGH=["x"] * 150, Z_TOP=EDGES[1:]), "BIN1", ["Z_LOW", "Z_TOP"]
    )
    np.testing.assert_allclose(file.edges, EDGES)
    write_csv(tmp_path / "b.csv", Z_MID=GRID, Z_LOW=GRID, p=table()[0])
    assert open_densities(tmp_path / "b.csv", "p", "Z_MID").edges is None


def test_edges_that_differ_by_rounding_and_bins_with_a_gap(tmp_path):
    rounded = bins_file(tmp_path / "a.csv", Z_HIGH=np.round(EDGES[1:] + 1e-5, 5))
    np.testing.assert_allclose(open_densities(rounded, "BIN1", "Z_MID").edges[:-1], EDGES[:-1])
    high = EDGES[1:].copy()
    high[7] -= 0.002
    with pytest.raises(
        CatalogError, match=r"the edges do not form a histogram: bins must be adjacent, found an upper "
    ):
        open_densities(bins_file(tmp_path / "b.csv", Z_HIGH=high), "BIN1", "Z_MID")


def test_a_histogram_is_fitted_by_its_integrals(tmp_path, monkeypatch):
    bins_file(tmp_path / "nz.fits")
    found, document = fit_of(run_of(monkeypatch, tmp_path, "nz.fits", value="BIN1", grid="Z_MID", n_components=2))
    row = found.iloc[0]
    assert (row["status"], row["low"], row["high"]) == ("ok", 0.0, 1.5)
    for name, values in zip(("weight", "mean", "sigma"), redshifts()[1], strict=True):
        # The mean that the table has, whose bins are taken as flat, is off by width^2 / 12 times the density at zero,
        # which is 2e-5 standard deviations.
        np.testing.assert_allclose([row[f"{name}_1"], row[f"{name}_2"]], values, rtol=1e-3)
    assert row["mass"] == pytest.approx(1.0 / (0.3 * norm.cdf(0.1 / 0.15) + 0.7 * norm.cdf(0.6 / 0.2)), rel=1e-3)
    (example,) = document["examples"]
    np.testing.assert_allclose(example["edges"], EDGES, atol=1e-15)


def test_a_list_of_names_and_numbers_is_no_grid(tmp_path, monkeypatch):
    for grid in (["Z_LOW", 1.0], ["Z_LOW", "Z_MID", "Z_HIGH"]):
        with pytest.raises(ConfigError, match="a grid that is no list of numbers"):
            run_of(monkeypatch, tmp_path, "nz.fits", value="BIN1", grid=grid)


# One column


def run_of(monkeypatch, folder, files, **settings):
    monkeypatch.chdir(folder)
    catalog = {"releases": {"a": files}, **settings.pop("catalog", {})}
    catalog["columns"] = {"z": {"kind": "densities", **settings}}
    return Run(parse_config({"catalogs": {"pdfs": catalog}}))


def fit_of(run):
    """The rows and fit.json of the column."""
    fit_density_column(run.density_fit("pdfs", "a", "z"), "out/densities.parquet", "out/fit.json")
    document = json.loads(Path("out/fit.json").read_text(encoding="utf-8"))
    return pq.read_table("out/densities.parquet").to_pandas(), document


def test_each_row_gets_its_mixture(tmp_path, monkeypatch, pieces):
    fits_file(tmp_path / "a.fits")
    run = run_of(monkeypatch, tmp_path, "a.fits", value="PDF", grid="GRID:Z", max_components=3, tolerance=0.005)
    found, document = fit_of(run)
    numbers = [f"{name}_{j}" for name in ("weight", "mean", "sigma") for j in (1, 2, 3)]
    assert list(found) == ["row", "status", "n_components", *numbers, "low", "high", "l2", "ks", "mass", "converged"]
    assert (set(found["low"]), set(found["high"]), document["truncated"]) == ({0.0}, {2.0}, [0.0, 2.0])
    assert found["row"].tolist() == list(range(30))
    assert set(found["status"]) == {"ok"}
    # The cumulative distribution by the trapezium rule is off by step^2 / 12 times the slope, 0.0013 at most.
    for start, truth in ((0, ONE), (1, TWO)):
        part, size = found[start::2], len(truth[0])
        assert set(part["n_components"]) == {size}
        for name, values in zip(("weight", "mean", "sigma"), truth, strict=True):
            for j in range(3):
                if j < size:
                    # Densities in single precision.
                    np.testing.assert_allclose(part[f"{name}_{j + 1}"], values[j], rtol=1e-4)
                else:
                    assert part[f"{name}_{j + 1}"].isna().all()
    for name in ("mean_1", "sigma_2", "low", "high"):
        assert pq.read_schema("out/densities.parquet").field(name).metadata == {b"unit": b"km"}
    assert (document["n_data"], document["n_rows"], document["n_components"]) == (30, {"1": 15, "2": 15}, 2)
    assert (document["unit"], document["normalisation"]) == ("km", "integral")
    assert document["ks"]["median"] == np.median(found["ks"])
    heaviest = [row[f"mean_{1 + np.nanargmax([row[f'weight_{j}'] for j in (1, 2, 3)])}"] for _, row in found.iterrows()]
    assert document["means"] == np.sort(heaviest)[[1, 14, 28]].tolist()
    assert document["plan"]["files"] == [["a.fits", document["account"]["files"][0]["sha256"]]]
    assert document["account"]["files"][0]["n_rows"] == 30


def test_pieces_and_threads_do_not_show(tmp_path, monkeypatch):
    fits_file(tmp_path / "a.fits")
    run = run_of(monkeypatch, tmp_path, "a.fits", value="PDF", grid="GRID:Z", max_components=3)
    one = fit_of(run)
    monkeypatch.setattr(reading, "BLOCK_ROWS", 4)
    several = fit_of(run)
    pd.testing.assert_frame_equal(one[0], several[0], check_exact=True)
    assert one[1] == several[1]


def test_rows_without_a_mixture_are_listed_and_counted(tmp_path, monkeypatch, pieces):
    densities = table()
    densities[3] = np.nan
    densities[5, 7] = np.nan
    densities[[11, 12]] = 0.0
    densities[20, 2] = -0.5
    fits_file(tmp_path / "a.fits", densities)
    run = run_of(
        monkeypatch, tmp_path, "a.fits", value="PDF", grid="GRID:Z",
        catalog={"key": "ID", "where": "ID != 8 and ID != 36"}, n_components=2,
    )  # fmt: skip
    found, document = fit_of(run)
    assert found["ID"].tolist() == [row + 7 for row in range(30) if row not in (1, 29)]
    rejected = found[found["status"] != "ok"]
    assert dict(zip(rejected["ID"] - 7, rejected["status"], strict=True)) == {
        3: "missing_value",
        5: "not_finite",
        11: "all_zero",
        12: "all_zero",
        20: "negative",
    }
    assert (rejected["n_components"] == 0).all()
    assert rejected[["weight_1", "mean_2", "sigma_1", "ks", "l2"]].isna().all(axis=None)
    account = document["account"]
    assert (account["n_read"], account["n_used"]) == (30, 23)
    assert account["dropped"] == {"cut": 2, "missing_value": 1, "negative": 1, "all_zero": 2, "not_finite": 1}
    assert document["criterion"] == "given"


def test_examples_are_the_extremes_with_their_densities(tmp_path, monkeypatch):
    rng = np.random.default_rng(1)
    densities = table() * (1.0 + 0.05 * rng.random((30, GRID.size)))
    fits_file(tmp_path / "a.fits", densities)
    monkeypatch.setattr(reading, "BLOCK_ROWS", 8)
    found, document = fit_of(run_of(monkeypatch, tmp_path, "a.fits", value="PDF", grid="GRID:Z", n_components=1))
    order = np.argsort(found["ks"].to_numpy())
    assert [(entry["which"], entry["row"]) for entry in document["examples"]] == [
        ("best", order[0]),
        ("median", order[15]),
        ("worst", order[-1]),
    ]
    for entry in document["examples"]:
        np.testing.assert_array_equal(entry["density"], densities[entry["row"]].astype(np.float32))
        assert entry["means"] == [found["mean_1"][entry["row"]]]
        # The largest difference of the cumulative distributions, again.
        data = np.array(entry["density"]) / np.trapezoid(entry["density"], GRID)
        steps = 0.5 * np.diff(GRID) * (data[1:] + data[:-1])
        below = norm.cdf(GRID, entry["means"][0], entry["sigmas"][0])
        model = (below - below[0]) / (below[-1] - below[0])
        assert (entry["truncated"], entry["edges"]) == ([0.0, 2.0], None)
        assert np.abs(model - np.append(0.0, np.cumsum(steps))).max() == pytest.approx(entry["ks"], abs=1e-9)


def test_a_density_a_file(tmp_path, monkeypatch):
    for name, truth, n_grid in (("p1", ONE, 81), ("p2", TWO, 101), ("p10", ONE, 61)):
        grid = np.linspace(0.0, 2.0, n_grid)
        write_csv(tmp_path / f"{name}.csv", z=grid, p=10.0 * pdf(*truth, grid))
    run = run_of(monkeypatch, tmp_path, "p*.csv", value="p", grid="z")
    found, document = fit_of(run)
    assert found["row"].tolist() == [0, 1, 2]
    assert found["n_components"].tolist() == [1, 2, 1]
    assert [file["path"] for file in document["account"]["files"]] == ["p1.csv", "p2.csv", "p10.csv"]
    assert (document["account"]["n_read"], document["normalisation"]) == (3, "neither")
    keyed = run_of(monkeypatch, tmp_path, "p*.csv", value="p", grid="z", catalog={"key": "z"})
    found, document = fit_of(keyed)
    assert len(found) == 0
    assert document["status"] == "failed"
    assert document["failure"]["what"] == "a key, and one density in the file"
    assert re.search(r"in catalog pdfs, .*p1\.csv", document["failure"]["where"])


def test_shards_are_joined(tmp_path, monkeypatch):
    for shard in (1, 2, 10):
        fits_file(tmp_path / f"s_{shard}.fits", shard * table(4))
    found, document = fit_of(run_of(monkeypatch, tmp_path, "s_*.fits", value="PDF", grid="GRID:Z"))
    assert found["row"].tolist() == list(range(12))
    assert [file["n_rows"] for file in document["account"]["files"]] == [4, 4, 4]


@pytest.mark.parametrize(
    ("settings", "densities", "what"),
    [
        (
            {},
            0.0 * table(),
            r"no density of 30 can be used \(dropped: 30 all_zero\), in catalog pdfs, release a",
        ),
        ({"n_components": 28}, table(), "28 components on a grid of 81 points, .*expected at most 27"),
        ({}, -table(), r"no density of 30 can be used \(dropped: 30 negative\), in catalog pdfs, release a"),
    ],
)
def test_columns_that_cannot_be_fitted(tmp_path, monkeypatch, settings, densities, what):
    fits_file(tmp_path / "a.fits", densities, ks=np.arange(30))
    run = run_of(monkeypatch, tmp_path, "a.fits", value="PDF", grid="GRID:Z", **settings)
    found, document = fit_of(run)
    assert len(found) == 0
    assert re.match(what, str(load_record("out/fit.json").error))
    account = document["account"]
    assert (account["n_used"], sum(account["dropped"].values())) == (0, account["n_read"])
    # Before the run, too.
    column = {"kind": "densities", "value": "PDF", "grid": "GRID:Z", **settings}
    catalog = {"releases": {"a": "a.fits"}, "columns": {"z": column}}
    Path("mine.yaml").write_text(yaml.safe_dump({"catalogs": {"pdfs": catalog}}), encoding="utf-8")
    done = CliRunner().invoke(main, ["check", "mine.yaml"])
    assert done.exit_code == 2
    assert re.match(f"mixpipe: error: {what}", done.stderr)


def test_key_with_the_name_of_a_result_is_refused(tmp_path, monkeypatch):
    fits_file(tmp_path / "a.fits", ks=np.arange(30))
    run = run_of(monkeypatch, tmp_path, "a.fits", value="PDF", grid="GRID:Z", catalog={"key": "ks"})
    (problem,) = find_problems(run.config)
    assert problem.what == "the key 'ks' has the name of a column of densities.parquet"


def test_files_changed_after_planning_are_refused(tmp_path, monkeypatch):
    fits_file(tmp_path / "a.fits")
    plan = run_of(monkeypatch, tmp_path, "a.fits", value="PDF", grid="GRID:Z").density_fit("pdfs", "a", "z")
    (tmp_path / "a.fits").unlink()
    fits_file(tmp_path / "a.fits", 2.0 * table())
    with pytest.raises(CatalogError, match=r"the file changed after this job was planned, in a\.fits"):
        fit_density_column(plan, "out/densities.parquet", "out/fit.json")
    assert not list(Path("out").iterdir())


def test_problems_are_found_without_reading(tmp_path, monkeypatch):
    fits_file(tmp_path / "a.fits")
    for value, grid, what in (("P", "GRID:Z", "no column 'P' (for column z)"), ("PDF", "GRID:Q", "no column 'GRID:Q'")):
        (problem,) = find_problems(run_of(monkeypatch, tmp_path, "a.fits", value=value, grid=grid).config)
        assert what in str(problem)
        assert "(catalog pdfs, release a)" in str(problem)


def test_check_describes_densities(tmp_path, monkeypatch):
    fits_file(tmp_path / "a.fits")
    column = {"kind": "densities", "value": "PDF", "grid": "GRID:Z", "max_components": 4}
    catalog = {"releases": {"a": "a.fits"}, "where": "ID > 10", "columns": {"z": column}}
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(yaml.safe_dump({"catalogs": {"pdfs": catalog}}), encoding="utf-8")
    done = CliRunner().invoke(main, ["check", "mine.yaml"])
    assert (done.exit_code, done.stderr) == (0, "")
    assert "pdfs a: densities in a.fits\n  z: PDF, on 81 points at GRID:Z, 0 to 2 [km]\n" in done.stdout
    assert "    30 rows read, dropped before fitting: 4 cut; 1 to 4 components, KS < 0.02\n" in done.stdout
    assert "1 fit," in done.stdout
    column["grid"] = list(range(80))
    Path("mine.yaml").write_text(yaml.safe_dump({"catalogs": {"pdfs": catalog}}), encoding="utf-8")
    done = CliRunner().invoke(main, ["check", "mine.yaml"])
    assert done.exit_code == 2
    assert done.stderr.startswith("mixpipe: error: the grid has 80 points, and column 'PDF' 81 values for them, in ")
    assert "Traceback" not in done.stderr


# The workflow


def config(pdfs) -> dict:
    return {
        "catalogs": {
            "cfhtlens": {
                "releases": {"dr1": str(pdfs)},
                "hdu": "PDF",
                "key": "ID",
                "columns": {"z": {"kind": "densities", "value": "PDF", "grid": "GRID:Z"}, "number": {"value": "ID"}},
            },
            # A column of the same name with values.
            "stars": {"releases": {"a": "data/stars.csv"}, "columns": {"z": {"value": "m"}}},
        },
        "settings": {"max_components": 2, "quality_draws": 0, "estimators": ["em"]},
    }


@pytest.fixture(scope="module")
def finished(catalogs, root, tmp_path_factory) -> Project:
    """A project with values and densities after a whole run."""
    folder = tmp_path_factory.mktemp("densities") / "project"
    for part in ("workflow", "mixpipe"):
        shutil.copytree(root / part, folder / "checkout" / part)
    (folder / "data").mkdir()
    write_csv(folder / "data/stars.csv", m=np.random.default_rng(1).normal(size=20))
    project = Project(folder)
    pdfs = (catalogs / "photoz/cfhtlens_pdfs.fits").resolve()
    project.config.write_text(yaml.safe_dump(config(pdfs), sort_keys=False), encoding="utf-8")
    done = project.snakemake("--configfile", project.config.name)
    assert done.returncode == 0, done.stderr
    return project


@pytest.fixture
def project(finished, tmp_path) -> Project:
    """A copy of the finished project, free to change."""
    shutil.copytree(finished.folder, tmp_path / "project", symlinks=True)
    return Project(tmp_path / "project")


@campaign
def test_photometric_redshifts_are_fitted_well(finished, catalogs):
    folder = finished.results / "cfhtlens/dr1/z"
    assert {path.name for path in folder.iterdir()} == {
        "densities.parquet",
        "densities.png",
        "densities.svg",
        "densities.pdf",
        "fit.json",
        "methods.txt",
        "methods.tex",
        "references.bib",
    }
    found = pq.read_table(folder / "densities.parquet").to_pandas()
    with fits.open(catalogs / "photoz/cfhtlens_pdfs.fits") as hdus:
        grid, densities = np.array(hdus["GRID"].data["Z"]), np.array(hdus["PDF"].data["PDF"])
        assert found["ID"].tolist() == hdus["PDF"].data["ID"].tolist()
    distances = []
    for density, row in zip(densities, found.to_dict("records"), strict=True):
        steps = 0.5 * np.diff(grid) * (density[1:] + density[:-1])
        size = row["n_components"]
        below = sum(
            row[f"weight_{j}"] * norm.cdf(grid, row[f"mean_{j}"], row[f"sigma_{j}"]) for j in range(1, size + 1)
        )
        model = (below - below[0]) / (below[-1] - below[0])
        distances.append(np.abs(model - np.append(0.0, np.cumsum(steps)) / steps.sum()).max())
    np.testing.assert_allclose(found["ks"], distances, atol=1e-9)
    # At most two components are allowed, and the status says where they are not enough.
    assert found["status"].tolist() == ["ok" if distance < 0.02 else "tolerance" for distance in distances]
    assert np.median(distances) < 0.02


@campaign
def test_tables_and_report_have_both_kinds(finished):
    summary = rows(finished.results / "summary.csv")
    assert [(row["catalog"], row["column"], row["kind"]) for row in summary] == [
        ("cfhtlens", "number", "values"),
        ("cfhtlens", "z", "densities"),
        ("stars", "z", "values"),
    ]
    redshift = summary[1]
    assert (redshift["n_data"], redshift["n_dropped"], redshift["n_components"]) == ("100", "0", "2")
    assert (redshift["bic"], redshift["criterion"]) == ("nan", "ks < 0.02")
    assert float(redshift["ks"]) < 0.02
    account = {row["column"]: row for row in rows(finished.results / "cfhtlens/dr1/input.csv")}
    # The file's densities sum to one.
    assert (account["z"]["n_used"], account["z"]["normalisation"], account["number"]["normalisation"]) == (
        "100",
        "sum",
        "",
    )
    page = (finished.results / "report.html").read_text(encoding="utf-8")
    assert page.count("cfhtlens / dr1 / z</h3>") == page.count("stars / a / z</h3>") == 1
    assert "median KS" in page
    assert (finished.results / "stars/a/z/members.parquet").is_file()


def densities_jobs() -> set[str]:
    return {f"{word} cfhtlens dr1 z" for word in ("fitting", "drawing", "tabulating")} | {
        "counting the rows of cfhtlens dr1",
        *ENDS,
    }


@campaign
def test_second_run_does_nothing(project):
    assert project.planned() == set()


@pytest.mark.parametrize(
    ("key", "value"),
    pairs(
        mostly_study(
            [("tolerance", 0.05), ("n_components", 1), ("grid", [0.001, 2.189005])], campaigns=[("tolerance", 0.05)]
        )
    ),
)
def test_a_changed_setting_reruns_its_column(project, key, value):
    project.change("catalogs", "cfhtlens", "columns", "z", key, value=value)
    assert project.planned() == densities_jobs()


@campaign
def test_a_changed_setting_of_values_leaves_densities_alone(project):
    project.change("catalogs", "cfhtlens", "columns", "number", "error", value=1.0)
    assert not {job for job in project.planned() if job.endswith("dr1 z")}


@campaign
def test_edited_code_reruns_what_it_made(project):
    project.edit("fitting/kernels/grids.py")
    assert project.planned() == densities_jobs()
    project.edit("report/figures/densities.py")
    assert project.planned() == densities_jobs()


@campaign
def test_edited_figure_is_drawn_again(project):
    project.edit("report/figures/densities.py")
    assert project.planned() == {
        "drawing cfhtlens dr1 z",
        "writing results/report.html",
        "writing results/manifest.json",
    }


@campaign
def test_mistakes_stop_before_the_first_job(project):
    project.change("catalogs", "cfhtlens", "columns", "z", "grid", value="GRID:REDSHIFT")
    (message,) = project.errors()
    assert re.search(
        r"no column 'GRID:REDSHIFT' with the grid, in .*\(catalog cfhtlens, release dr1\), expected", message
    )
