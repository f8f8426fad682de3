"""Columns of any kind that are not held in memory: limits, windows, other families, errors of two sides, members."""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy.table import Table

import mixpipe.pipeline.fit as fit_stage
from mixpipe.assess.effort import Effort
from mixpipe.base.errors import CatalogError
from mixpipe.catalog.columns import prepare_column
from mixpipe.catalog.reading import read_blocks
from mixpipe.catalog.stream import ColumnStream
from mixpipe.config.settings import ColumnSettings, parse_config
from mixpipe.pipeline.fit import FittedColumn, fit_tables, write_fit
from mixpipe.pipeline.plan.texts import FIT_FILES, FitPlan
from tests.campaign import campaign, mostly_study

N = 9_000
CSV = ("components", "selection", "intervals", "covariance")
TRUTH = {"weights": [0.4, 0.6], "means": [-1.0, 2.0], "sigmas": [0.5, 1.0]}
SAME = "symmetric"
KINDS = {
    "truncated": {"error": "err", "truncated": (-1.0, None)},
    "holes": {"error": "err", "truncated": ((None, 0.0), (0.6, None))},
    "bounds of rows": {"error": "err", "truncated": ("bound", None)},
    "detection": {"error": "err", "detection": {"value": [-3.0, 3.0], "probability": [0.3, 1.0]}},
    "limits": {"value": "seen", "error": "err", "limit_flag": "flag"},
    "limits in texts": {"value": "text", "error": "holed"},
    "laplace": {"error": "err", "families": ["laplace"]},
    "lognormal": {"value": "positive", "error": "err", "families": ["lognormal"]},
    "two families": {"error": "err", "families": ["laplace", "exponential"]},
    "background": {"value": "wide", "error": "err", "background": [-9.0, 9.0]},
    "two sides": {"error": ["up", "lo"]},
    "student_t": {"error": "err", "error_model": "student_t", "error_dof": 4.0},
    "factor": {"error": "err", "error_scale": "fit", "constraints": {"fixed": {"sigmas": [0.5]}}},
    "equal sigmas": {"error": "err", "constraints": {"equal_sigmas": True}},
    "given mean": {"error": "err", "constraints": {"fixed": {"means": [-1.0]}}},
    "members": {"error": "err", "membership": "label"},
    "probable members": {"error": "err", "membership": "chance"},
    "weights": {"error": "err", "weight": "w", "truncated": (-1.0, None)},
    "prior": {"error": "err", "prior": {"min_rows": 2.0}},
}


def catalog(n: int = N, seed: int = 1) -> Table:
    """Two populations with all that the kinds need."""
    rng = np.random.default_rng(seed)
    err = 0.3 * np.exp(0.4 * rng.standard_normal(n))
    first = rng.random(n) < TRUTH["weights"][0]
    true = np.where(first, -1.0 + 0.5 * rng.standard_normal(n), 2.0 + rng.standard_normal(n))
    x = true + err * rng.standard_normal(n)
    above = rng.random(n) < 0.2
    seen = x + np.where(above, np.abs(rng.standard_normal(n)), 0.0)
    known = rng.random(n) < 0.05
    unseen = np.where(rng.random(n) < 0.5, np.nan, err)
    return Table(
        {
            "id": np.arange(n),
            "x": x,
            "err": err,
            "up": 1.2 * err,
            "lo": 0.8 * err,
            "seen": seen,
            "flag": np.where(above, "<", ""),
            "text": np.strings.add(np.where(above, "<", ""), seen.astype(str)),
            "holed": np.where(above, unseen, err),
            "bound": np.where(rng.random(n) < 0.5, -1.0, -1.5),
            "positive": np.exp(0.3 * true) + 5.0 + 0.1 * x,
            "label": np.where(known, np.where(first, "a", "b"), ""),
            "chance": np.where(known, np.where(first, 0.9, 0.1), np.nan),
            "w": rng.integers(1, 4, n),
            "wide": np.where(rng.random(n) < 0.2, rng.uniform(-8.0, 8.0, n), np.clip(x, -8.0, 8.0)),
        }
    )


def written(folder: Path, n_files: int = 1, order=None) -> list[Path]:
    """The catalog in so many files, in the order of rows that is asked for."""
    table = catalog() if order is None else catalog()[order]
    folder.mkdir()
    cuts = np.linspace(0, len(table), n_files + 1).astype(int)
    paths = [folder / f"{k:03d}.fits" for k in range(n_files)]
    for path, (start, stop) in zip(paths, itertools.pairwise(cuts), strict=True):
        table[start:stop].write(path)
    return paths


def settings_of(**keys) -> ColumnSettings:
    column = {"value": "x", "max_components": 2, "estimators": ["em"], **keys}
    entry = {"releases": {"a": ["a.fits"]}, "columns": {"v": column}}
    return parse_config({"results": "r", "catalogs": {"stars": entry}}).catalogs[0].columns[0]


def fitted(paths: list[Path], folder: Path, kind: str, threads: int = 1, rows: int = 2_000, **effort) -> FittedColumn:
    """The fit of a kind of column, and its tables in a folder."""
    plan = FitPlan("stars", "a", (), {}, "id", None, settings_of(**KINDS[kind]), "bic", Effort(**effort), "")

    def read():
        return itertools.chain.from_iterable(read_blocks(path, rows=rows) for path in paths)

    found = fit_tables(read, plan, place="here", threads=threads)
    folder.mkdir()
    write_fit({name: folder / name for name in FIT_FILES}, plan, [], found)
    return found


def without_files(found: FittedColumn) -> dict:
    """The account of the rows, apart from the names of files, which one block alone has not."""
    account = found.account
    doubts = {kind: doubt.count for kind, doubt in account.doubts.items()}
    return {**vars(account), "dropped": dict(account.dropped), "doubts": doubts}


@pytest.fixture
def streamed(monkeypatch):
    """A thousand rows are too many for the memory."""
    monkeypatch.setattr(fit_stage, "MEMORY_ROWS", 1000)


# One for each way in which rows differ from a value with an error.
SOME = ("limits in texts", "given mean", "probable members", "two sides")
# Those that take longest.
LONG = ("truncated", "detection", "lognormal", "two families", "student_t", "factor", "prior", "equal sigmas")


@pytest.mark.parametrize("kind", mostly_study(KINDS, *SOME, campaigns=set(KINDS) - {*SOME, *LONG}))
def test_streamed_and_in_memory_are_the_same(tmp_path, monkeypatch, kind):
    paths = written(tmp_path / "files", 3)
    memory = fitted(paths, tmp_path / "memory", kind)
    monkeypatch.setattr(fit_stage, "MEMORY_ROWS", 1000)
    monkeypatch.setattr(fit_stage, "estimate_column", None)  # nothing is held
    stream = fitted(paths, tmp_path / "stream", kind, threads=2)
    assert without_files(stream) == without_files(memory)
    for name in ("components", "selection", "covariance"):
        one, other = (pd.read_csv(tmp_path / folder / name) for folder in ("memory", "stream"))
        if name == "components":
            # Upper limits come from the points of a sketch.
            np.testing.assert_allclose(one.pop("sigma_upper"), other.pop("sigma_upper"), rtol=1e-3)
        if name == "selection" and kind == "background":
            # Up to 20,000 rows in memory, fits without a background have no sketch.
            for number in ("loglik", "bic", "aic", "icl", "delta_bic", "bic_weight"):
                np.testing.assert_allclose(one.pop(number), other.pop(number), rtol=1e-6)
            names = ["gradient_max", "loglik_bound", "bound_sigma"]
            one, other = one.drop(columns=names), other.drop(columns=names)
        pd.testing.assert_frame_equal(one, other, check_exact=True)
    one, other = (fit.outcome.assessment.quality for fit in (memory, stream))
    # Transforms are counted in bins of 2e-5, and one row is a step of 1.1e-4.
    assert one.ks == pytest.approx(other.ks, abs=1.5e-4)
    assert one.ad == pytest.approx(other.ad, rel=2e-2)
    first, second = (Table.read(tmp_path / name / "members", format="parquet") for name in ("memory", "stream"))
    assert first.colnames == second.colnames
    for name in first.colnames:
        assert first[name].tolist() == pytest.approx(second[name].tolist(), rel=1e-12, abs=1e-12), name


@pytest.mark.parametrize("kind", mostly_study(KINDS, campaigns=SOME))
def test_neither_files_nor_order_nor_threads_matter(tmp_path, streamed, kind):
    order = np.random.default_rng(3).permutation(N)
    fitted(written(tmp_path / "one"), tmp_path / "fit1", kind)
    fitted(written(tmp_path / "many", 7, order), tmp_path / "fit2", kind, threads=2, rows=777)
    for name in CSV:
        assert (tmp_path / "fit1" / name).read_bytes() == (tmp_path / "fit2" / name).read_bytes(), name


def table_of(**columns) -> Table:
    return Table(columns)


class TestWhatNoBlockShows:
    """Blocks of two rows are prepared as the whole table is."""

    def together(self, table: Table, **keys) -> tuple:
        settings = settings_of(**keys)
        whole = prepare_column(table, settings)
        stream = ColumnStream(lambda: (table[start : start + 2] for start in range(0, len(table), 2)), settings)
        return whole, [data for _, data, _ in stream.blocks()], stream

    @pytest.mark.parametrize("n", [7, 8])
    def test_the_median_error_of_limits(self, n):
        err = np.random.default_rng(4).lognormal(0.0, 3.0, n)
        table = table_of(x=["<1", *map(str, range(2, n + 1))], e=[np.nan, *err[1:]])
        whole, parts, stream = self.together(table, value="x", error="e")
        assert parts[0].err[0] == whole.err[0] == np.median(err[1:])
        assert stream.has_limits

    def test_labels_of_members(self):
        table = table_of(x=np.arange(6.0), label=["", "", "b", "", "", "a"])
        whole, parts, _ = self.together(table, membership="label")
        assert all(part.labels == whole.labels == ("a", "b") for part in parts)
        np.testing.assert_array_equal(np.concatenate([part.memberships for part in parts]), whole.memberships)

    def test_probabilities_that_are_whole_numbers_in_some_blocks(self):
        table = table_of(x=np.arange(6.0), p=[0.0, 1.0, 0.3, np.nan, 1.0, np.nan])
        whole, parts, _ = self.together(table, membership="p")
        np.testing.assert_array_equal(np.concatenate([part.memberships for part in parts]), whole.memberships)

    def test_sides_that_are_equal_in_some_blocks(self):
        table = table_of(x=np.arange(4.0), up=[0.1, 0.2, 0.3, 0.4], lo=[0.1, 0.2, 0.3, 0.5])
        whole, parts, _ = self.together(table, error=["up", "lo"])
        np.testing.assert_array_equal(np.concatenate([part.sides for part in parts], axis=1), whole.sides)

    def test_sides_that_are_equal_everywhere(self):
        table = table_of(x=np.arange(4.0), up=[0.1, 0.2, 0.3, 0.4], lo=[0.1, 0.2, 0.3, 0.4])
        whole, parts, _ = self.together(table, error=["up", "lo"])
        assert whole.sides is None
        assert all(part.sides is None for part in parts)

    def test_no_label_at_all(self):
        with pytest.raises(CatalogError, match=r"label: membership has no label at all, here, expected text or whole"):
            stream = ColumnStream(
                lambda: iter([table_of(x=np.arange(2.0), label=["", ""])]),
                settings_of(membership="label"),
                place="here",
            )
            list(stream.blocks())

    def test_bounds_of_rows_differ_between_blocks(self):
        table = table_of(x=np.arange(6.0), b=[-1.0, -2.0, -3.0, 0.0, -9.0, 1.0])
        whole, _, stream = self.together(table, truncated=("b", None))
        assert stream.account.truncated == whole.account.truncated == (-9.0, np.inf)


class TestMessages:
    def test_families_of_positive_values(self, tmp_path, streamed, monkeypatch):
        monkeypatch.setitem(KINDS, "not positive", {"value": "x", "families": ["lognormal"]})
        paths = written(tmp_path / "files", 2)
        x = np.concatenate([Table.read(path)["x"] for path in paths])
        first = f"{x[x <= 0.0][0]:g}"
        with pytest.raises(CatalogError, match=f"{np.sum(x <= 0.0)} values that are not positive .* first is {first}"):
            fitted(paths, tmp_path / "out", "not positive")

    def test_no_bootstrap_without_a_sketch(self, tmp_path, streamed):
        found = fitted(written(tmp_path / "files"), tmp_path / "out", "two sides", bootstrap=20)
        assert any("no bootstrap and no profiles: 9,000 rows" in text for text in found.outcome.fit.warnings)
        assert "bootstrap" not in {row["method"] for row in found.outcome.assessment.interval_rows}

    @campaign
    def test_a_sketch_is_said(self, tmp_path, streamed):
        found = fitted(written(tmp_path / "files"), tmp_path / "out", "truncated", exact=False)
        assert not found.outcome.fit.exact
        assert "parameters and log-likelihood are those of a sketch of the rows" in found.outcome.fit.warnings

    def test_what_is_held_in_memory_is_said(self, tmp_path, streamed, monkeypatch):
        start = {"means": [-1.0, 2.0], "sigmas": [0.5, 1.0]}
        monkeypatch.setitem(KINDS, "start", {"error": "err", "start": start})
        found = fitted(written(tmp_path / "files"), tmp_path / "out", "start")
        text = "all 9,000 rows were held in memory: a start cannot be read in blocks"
        assert any(text in warning for warning in found.outcome.fit.warnings)
