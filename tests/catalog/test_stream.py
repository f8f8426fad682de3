"""Columns that are not held in memory: read in blocks, from any number of files, to the same bits."""

import itertools
import json
import os
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

import mixpipe.pipeline.fit as fit_stage
import mixpipe.pipeline.plan.run as run_module
from mixpipe.catalog.columns import prepare_column
from mixpipe.catalog.reading import read_blocks, read_catalog
from mixpipe.catalog.stream import ColumnStream
from mixpipe.config.settings import ColumnSettings, parse_config
from mixpipe.pipeline.fit import fit_column
from mixpipe.pipeline.ingest import ingest_release
from mixpipe.pipeline.plan.run import Run
from tests.campaign import campaign

N = 30_000
CSV = ("components.csv", "selection.csv", "intervals.csv", "covariance.csv", "bimodality.csv")


def catalog(n=N, seed=1):
    """Two populations, asymmetric errors, some missing values, names."""
    rng = np.random.default_rng(seed)
    err = 0.3 * np.exp(0.4 * rng.standard_normal(n))
    x = np.where(rng.random(n) < 0.4, -1.0 + 0.5 * rng.standard_normal(n), 2.0 + rng.standard_normal(n))
    x += err * rng.standard_normal(n)
    x[rng.random(n) < 0.02] = np.nan
    return Table(
        {
            "id": np.arange(n),
            "x": x,
            "up": 1.1 * err,
            "lo": -0.9 * err,
            "good": (rng.random(n) < 0.9).astype(np.int16),
        }
    )


def shards(folder: Path, n_shards: int, order=None) -> list[str]:
    """The catalog in so many files, in the order that is asked for."""
    table = catalog()
    cuts = np.linspace(0, len(table), n_shards + 1).astype(int)
    folder.mkdir(exist_ok=True)
    names = []
    for k, (start, stop) in enumerate(itertools.pairwise(cuts)):
        path = folder / f"shard_{k:03d}.fits"
        table[start:stop].write(path, overwrite=True)
        names.append(str(path))
    return [names[k] for k in (range(n_shards) if order is None else order)]


def run_of(files: list[str], results: Path, key: str | None = None, **settings) -> Run:
    # Rows with errors of two sides are held in memory.
    column = {"value": "x", "error": ["up", "lo"], "error_model": "symmetric", "max_components": 3}
    entry = {"releases": {"a": files}, "columns": {"v": column}, "where": "good == 1", **({"key": key} if key else {})}
    return Run(parse_config({"results": str(results), "catalogs": {"stars": entry}, "settings": settings}))


def ingested(run: Run) -> list[str]:
    """The parts of the release; those that are not there are made."""
    parts = run.ingested("stars", "a", "v")
    for part in parts:
        if not Path(part).exists():
            Path(part).parent.mkdir(parents=True, exist_ok=True)
            ingest_release(run.ingest("stars", "a", Path(part).stem), part)
    return parts


def fitted(run: Run, folder: Path, threads: int = 1) -> Path:
    names = ("components", "selection", "estimators", "intervals", "covariance", "bimodality")
    outputs = {name: str(folder / f"{name}.csv") for name in names}
    outputs |= {"members": str(folder / "members.parquet"), "fit": str(folder / "fit.json")}
    folder.mkdir(parents=True, exist_ok=True)
    fit_column(run.fit("stars", "a", "v"), ingested(run), **outputs, threads=threads)
    return folder


@pytest.fixture
def streamed(monkeypatch):
    """A thousand rows are too many for the memory."""
    monkeypatch.setattr(fit_stage, "MEMORY_ROWS", 1000)
    monkeypatch.setattr(run_module, "_BATCH_BYTES", 100_000)


@pytest.mark.parametrize(("n_shards", "threads"), [(2, 1), (7, 2), pytest.param(64, 1, marks=campaign)])
def test_any_number_of_files_gives_the_same_bytes(tmp_path, streamed, n_shards, threads):
    one = fitted(run_of(shards(tmp_path / "one", 1), tmp_path / "r1"), tmp_path / "fit1")
    many = fitted(run_of(shards(tmp_path / "many", n_shards), tmp_path / "r2"), tmp_path / "fit2", threads)
    for name in (*CSV, "members.parquet"):
        assert (one / name).read_bytes() == (many / name).read_bytes(), name
    first, second = (json.loads((folder / "fit.json").read_text(encoding="utf-8")) for folder in (one, many))
    for document in (first, second):
        del document["account"]["files"], document["plan"]
    assert first == second
    assert first["sketch"]["resolved"]


def test_files_in_another_order_give_the_same_tables(tmp_path, streamed):
    order = np.random.default_rng(3).permutation(7)
    one = fitted(run_of(shards(tmp_path / "a", 7), tmp_path / "r1", "id"), tmp_path / "fit1")
    mixed = fitted(run_of(shards(tmp_path / "b", 7, order), tmp_path / "r2", "id"), tmp_path / "fit2")
    for name in CSV:
        assert (one / name).read_bytes() == (mixed / name).read_bytes(), name
    first, second = (Table.read(folder / "members.parquet").to_pandas().sort_values("id") for folder in (one, mixed))
    np.testing.assert_array_equal(first["id"], second["id"])
    # The last digits of sums over components may depend on the place of a row in its block.
    np.testing.assert_allclose(first["true_mean"], second["true_mean"], rtol=1e-13, atol=1e-13)


def test_streamed_and_in_memory_agree(tmp_path, monkeypatch):
    files = shards(tmp_path / "a", 3)
    memory = fitted(run_of(files, tmp_path / "r1"), tmp_path / "fit1")
    monkeypatch.setattr(fit_stage, "MEMORY_ROWS", 1000)
    stream = fitted(run_of(files, tmp_path / "r2"), tmp_path / "fit2")
    for name in ("components.csv", "selection.csv"):
        assert (memory / name).read_bytes() == (stream / name).read_bytes(), name
    first, second = (json.loads((folder / "fit.json").read_text(encoding="utf-8")) for folder in (memory, stream))
    assert first["account"] == second["account"]
    assert first["account"]["dropped"]["cut"] > 2000
    # Transforms are counted in bins of 2e-5, and one row is a step of 4e-5.
    assert first["quality"]["ks"] == pytest.approx(second["quality"]["ks"], abs=6e-5)
    one, other = (Table.read(folder / "estimators.csv") for folder in (memory, stream))
    for estimator in ("moments", "density"):
        a, b = (table[table["estimator"] == estimator] for table in (one, other))
        # Points have the moments of their cells to the second; 0.02 is half a standard error of the means.
        np.testing.assert_allclose(a["mean"], b["mean"], atol=0.02)


def test_another_file_is_read_alone(tmp_path, streamed):
    files = shards(tmp_path / "a", 5)
    before = ingested(run_of(files[:4], tmp_path / "r"))
    stamps = {part: os.stat(part).st_mtime_ns for part in before}
    after = run_of(files, tmp_path / "r")
    parts = after.ingested("stars", "a", "v")
    assert set(before) < set(parts)
    (new,) = set(parts) - set(before)
    assert list(after.ingest_files("stars", "a", Path(new).stem)) == files[4:]
    grown = fitted(after, tmp_path / "grown")
    assert {part: os.stat(part).st_mtime_ns for part in before} == stamps
    whole = fitted(run_of(files, tmp_path / "fresh"), tmp_path / "whole")
    for name in (*CSV, "members.parquet"):
        assert (grown / name).read_bytes() == (whole / name).read_bytes(), name


def test_a_changed_file_is_read_alone(tmp_path, streamed):
    files = shards(tmp_path / "a", 5)
    before = set(ingested(run_of(files, tmp_path / "r")))
    table = Table.read(files[2])
    table["x"] += 0.5
    table.write(files[2], overwrite=True)
    run = run_of(files, tmp_path / "r")
    (new,) = set(run.ingested("stars", "a", "v")) - before
    assert run.ingest_files("stars", "a", Path(new).stem) == [files[2]]
    changed = fitted(run, tmp_path / "changed")
    fresh = fitted(run_of(files, tmp_path / "fresh"), tmp_path / "fit")
    for name in (*CSV, "members.parquet"):
        assert (changed / name).read_bytes() == (fresh / name).read_bytes(), name


def test_a_sketch_is_enough_where_it_is_asked_for(tmp_path, streamed):
    files = shards(tmp_path / "a", 1)
    folder = fitted(run_of(files, tmp_path / "r", exact_finish=False), tmp_path / "fit")
    document = json.loads((folder / "fit.json").read_text(encoding="utf-8"))
    assert any("sketch" in warning for warning in document["warnings"])
    assert not any(row["exact"] for row in document["selection"])
    exact = fitted(run_of(files, tmp_path / "r"), tmp_path / "exact")
    document = json.loads((exact / "fit.json").read_text(encoding="utf-8"))
    assert all(row["exact"] for row in document["selection"] if row["selected"])
    assert not any("sketch" in warning for warning in document["warnings"])


def test_negative_errors_are_told_from_wrong_ones_over_all_blocks(tmp_path):
    """A column of lower errors that is negative throughout but for one block."""
    table = Table({"x": np.arange(100.0), "up": np.full(100, 0.2), "lo": np.full(100, -0.1)})
    table["lo"][10:20] = 0.1
    table.write(tmp_path / "a.fits")
    settings = ColumnSettings("x", "x", ("up", "lo"))
    whole = prepare_column(read_catalog(tmp_path / "a.fits"), settings)
    stream = ColumnStream(lambda: read_blocks(tmp_path / "a.fits", ["x", "up", "lo"], rows=10), settings)
    parts = [data for _, data, _ in stream.blocks()]
    np.testing.assert_array_equal(np.concatenate([part.err for part in parts]), whole.err)
    assert stream.account.dropped == dict(whole.dropped)
    assert stream.account.dropped["bad_error"] == 10


def test_a_column_without_a_usable_row_fails(tmp_path, streamed):
    run = run_of(shards(tmp_path / "a", 2), tmp_path / "r")
    catalog = run.config.catalogs[0]
    object.__setattr__(catalog, "where", "good == 7")
    fitted(Run(run.config), tmp_path / "fit")
    document = json.loads((tmp_path / "fit/fit.json").read_text())
    assert document["failure"]["what"] == "no row of 30000 can be used (dropped: 30000 cut)"
    assert (document["account"]["n_read"], document["account"]["dropped"]["cut"]) == (30000, 30000)
