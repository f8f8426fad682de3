"""Weights that count rows and weights that do not, in columns that are held in memory and in those that are not."""

import itertools
import json
import math
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from astropy.table import Table
from click.testing import CliRunner

import mixpipe.pipeline.fit as fit_stage
from mixpipe import cli
from mixpipe.base.errors import CatalogError
from mixpipe.catalog.columns import prepare_column
from mixpipe.catalog.reading import read_blocks
from mixpipe.catalog.stream import ColumnStream
from mixpipe.config.settings import ColumnSettings
from mixpipe.model.exact import ExactSum
from mixpipe.pipeline.compare import read_stored
from mixpipe.pipeline.figures import draw_figures
from mixpipe.results.provenance import code_hash
from tests.campaign import campaign, mostly_campaign

N = 30_000
NEEDED = ("x", "e", "w")


def catalog(weights=None):
    """Two populations; the rows of the second are drawn half as often, and weigh twice as much."""
    rng = np.random.default_rng(11)
    second = rng.random(N) < 0.25
    err = rng.uniform(0.2, 0.5, N)
    x = np.where(second, 3.0, -1.0) + 0.6 * rng.standard_normal(N) + err * rng.standard_normal(N)
    shares = np.where(second, 2.0, 1.0) * rng.uniform(0.5, 1.5, N) if weights is None else weights
    shares[rng.random(N) < 0.01] = 0.0
    return Table({"x": x, "e": err, "w": shares})


def stream_of(tables, **settings):
    column = ColumnSettings("x", "x", "e", weight="w", **settings)
    return ColumnStream(lambda: iter(tables), column)


def run(*args):
    return CliRunner().invoke(cli.main, [str(arg) for arg in args], prog_name="mixpipe")


def fitted(path, out, *options):
    result = run(
        "fit", path, "--value", "x", "--error", "e", "--weight", "w", "--max-components", 3, "--out", out, *options
    )
    assert result.exit_code == 0, result.output
    return json.loads((out / "fit.json").read_text(encoding="utf-8"))


class TestExactSum:
    @pytest.mark.parametrize("seed", range(4))
    def test_against_fractions(self, seed):
        rng = np.random.default_rng(seed)
        numbers = np.ldexp(rng.random(500), rng.integers(-1070, 1000, 500))
        numbers[::50] = [0.0, 5e-324, 1.0, 2.0**53, 1e308, 1e-308, 0.1, 3.0, 2.0**-1022, 7e-320]
        total = ExactSum()
        for part in np.split(numbers, [3, 70, 71, 400]):
            total.add(part)
        right = sum(map(Fraction, numbers.tolist()), Fraction(0))
        assert float(total) == float(right) == math.fsum(numbers)

    def test_more_numbers_than_a_block(self, monkeypatch):
        monkeypatch.setattr("mixpipe.model.exact._BLOCK", 7)
        numbers = np.random.default_rng(1).random(100)
        total = ExactSum()
        total.add(numbers)
        assert float(total) == math.fsum(numbers)


class TestStream:
    @pytest.mark.parametrize("cuts", [(), (1, 2, 17_000), tuple(range(500, N, 500))])
    def test_weights_are_those_of_all_rows_in_memory(self, cuts):
        table = catalog()
        bounds = (0, *cuts, N)
        rows = stream_of([table[a:b] for a, b in itertools.pairwise(bounds)]).rows(1)
        weights = np.concatenate([block[2] for block in rows.blocks()])
        whole = prepare_column(table, ColumnSettings("x", "x", "e", weight="w")).cells()
        assert rows.weight_kind == whole.weight_kind == "importance"
        np.testing.assert_array_equal(weights, whole.weights[whole.weights > 0.0])

    def test_the_order_of_files_is_nothing(self):
        table = catalog()
        parts = [table[start : start + 3000] for start in range(0, N, 3000)]
        scales = []
        for order in (range(10), (3, 1, 9, 0, 2, 8, 7, 4, 6, 5)):
            scales.append(stream_of([parts[k] for k in order])._weigh())
        assert scales[0] == scales[1]

    def test_whole_numbers_count_rows(self):
        table = catalog(np.random.default_rng(2).integers(0, 4, N).astype(float))
        rows = stream_of([table[:100], table[100:]]).rows(1)
        assert rows.weight_kind == "counts"
        assert sum(float(block[2].sum()) for block in rows.blocks()) == table["w"].sum()
        assert stream_of([table], weight_kind="importance").rows(1).weight_kind == "importance"

    def test_one_part_of_a_row_makes_them_importance_weights(self):
        """Which no block but the last tells."""
        table = catalog(np.ones(N))
        table["w"][N - 1] = 1.5
        assert stream_of([table[:100], table[100:]]).rows(1).weight_kind == "importance"
        with pytest.raises(CatalogError, match=r"'w' has 1 numbers of rows .* the first is 1\.5 in row"):
            stream_of([table[:100], table[100:]], weight_kind="counts").rows(1)

    def test_weights_whose_squares_are_no_numbers(self):
        with pytest.raises(CatalogError, match="column 'w' has weights up to 1e"):
            prepare_column(catalog(np.full(N, 1e200)), ColumnSettings("x", "x", "e", weight="w"))


class TestFit:
    @pytest.mark.parametrize("most", mostly_campaign([10**6, 1000], 1000))
    def test_the_scale_of_importance_weights_is_nothing(self, tmp_path, monkeypatch, most):
        """Powers of two, so that not a bit is rounded."""
        monkeypatch.setattr(fit_stage, "MEMORY_ROWS", most)
        table = catalog()
        documents = []
        for name, factor in (("one", 1.0), ("small", 2.0**-30)):
            scaled = table.copy()
            scaled["w"] *= factor
            scaled.write(tmp_path / f"{name}.fits")
            documents.append(fitted(tmp_path / f"{name}.fits", tmp_path / name))
        for name in ("components.csv", "selection.csv", "intervals.csv"):
            assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "small" / name).read_bytes(), name
        first, second = documents
        assert first["quality"] == second["quality"]
        weights = np.asarray(table["w"])
        worth = weights.sum() ** 2 / np.sum(weights**2)
        # Sketches have weights in units of 2^-30.
        assert first["n_data"] == pytest.approx(worth, rel=1e-9)
        assert first["account"]["weight_kind"] == "importance"
        assert first["account"]["n_effective"] == first["n_data"]
        # Three rows in four are of the first population, which has 3 / 5 of the weight.
        assert first["components"][0]["weight"] == pytest.approx(0.6, abs=0.02)

    @campaign
    def test_streamed_and_in_memory_agree(self, tmp_path, monkeypatch):
        catalog().write(tmp_path / "a.fits")
        fitted(tmp_path / "a.fits", tmp_path / "memory")
        monkeypatch.setattr(fit_stage, "MEMORY_ROWS", 1000)
        fitted(tmp_path / "a.fits", tmp_path / "stream")
        for name in ("components.csv", "selection.csv", "members.parquet"):
            assert (tmp_path / "memory" / name).read_bytes() == (tmp_path / "stream" / name).read_bytes(), name

    def test_members_keep_the_weights_of_the_catalog(self, tmp_path):
        table = catalog()[:500]
        table["w"] *= 1e-3
        table.write(tmp_path / "a.fits")
        document = fitted(tmp_path / "a.fits", tmp_path / "out")
        members = pd.read_parquet(tmp_path / "out/members.parquet")
        np.testing.assert_array_equal(members["weight"], np.asarray(table["w"]))
        names = ("mixture", "selection", "classes", "quality", "estimators")
        files = {name: [str(tmp_path / f"{name}.png")] for name in names}
        made = [str(tmp_path / "out" / name) for name in ("fit.json", "members.parquet")]
        draw_figures(code_hash("figures"), *made, **files, curves=str(tmp_path / "curves.json"))
        curves = json.loads((tmp_path / "curves.json").read_text(encoding="utf-8"))
        # All but the rows outside the picture; in rows that they are worth, not in a sum of weights below one.
        assert sum(curves["counts"]) == pytest.approx(document["n_data"], rel=0.02)
        stored = read_stored(tmp_path / "out")
        assert stored.fitted.cells.weight_kind == "importance"
        assert stored.fitted.cells.n_data == pytest.approx(document["n_data"], rel=1e-12)

    def test_whole_numbers_as_importance_weights_come_back_as_such(self, tmp_path):
        table = catalog(np.random.default_rng(2).integers(0, 4, N).astype(float))[:500]
        table.write(tmp_path / "a.fits")
        document = fitted(tmp_path / "a.fits", tmp_path / "out", "--weight-kind", "importance")
        weights = np.asarray(table["w"])
        assert document["n_data"] == pytest.approx(weights.sum() ** 2 / np.sum(weights**2), rel=1e-12)
        assert read_stored(tmp_path / "out").fitted.cells.weight_kind == "importance"

    def test_blocks_of_a_file(self, tmp_path):
        """Any size of the blocks gives the same rows."""
        catalog()[:1000].write(tmp_path / "a.fits")
        settings = ColumnSettings("x", "x", "e", weight="w")
        found = []
        for size in (17, 1000):
            stream = ColumnStream(lambda size=size: read_blocks(tmp_path / "a.fits", NEEDED, rows=size), settings)
            found.append(np.concatenate([block[2] for block in stream.rows(1).blocks()]))
        np.testing.assert_array_equal(*found)
