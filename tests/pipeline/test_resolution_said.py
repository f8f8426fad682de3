"""What the values resolve, weights and repeated rows: said before the fit, beside it, and in its files."""

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import yaml
from astropy.table import Table
from click.testing import CliRunner
from scipy.stats import norm

import mixpipe.pipeline.fit as fit_stage
from mixpipe import cli
from mixpipe.assess.effort import Effort
from mixpipe.base.errors import CatalogError
from mixpipe.catalog.columns import name_row, prepare_column
from mixpipe.catalog.reading import read_blocks
from mixpipe.catalog.stream import ColumnStream
from mixpipe.config.settings import ColumnSettings
from mixpipe.model.cells import Cells
from mixpipe.model.resolution import Resolution
from mixpipe.pipeline.account import account_release
from mixpipe.pipeline.estimate import estimate_column
from mixpipe.pipeline.summary import summarise
from mixpipe.results.provenance import code_hash
from mixpipe.results.record import load_record
from mixpipe.results.tables import describe_resolution, read_fit


def run(*args):
    return CliRunner().invoke(cli.main, [str(arg) for arg in args], prog_name="mixpipe")


def configured(tmp_path, files, **column):
    """A configuration with one column x of these files."""
    entry = {"releases": {"a": [str(file) for file in files]}, "columns": {"x": column}}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"results": str(tmp_path / "results"), "catalogs": {"c": entry}}), encoding="utf-8")
    return path


@pytest.fixture
def rounded(tmp_path):
    """Quantiles of a normal rounded to 0.5, errors of 1 in the first seven rows and of 0.01 in the others."""
    x = np.round(2.0 * norm.ppf((np.arange(400) + 0.5) / 400.0)) / 2.0
    err = np.where(np.arange(400) < 7, 1.0, 0.01)
    path = tmp_path / "rounded.csv"
    pd.DataFrame({"x": x, "x_err": err}).to_csv(path, index=False)
    return path


@pytest.fixture
def repeated(tmp_path):
    """Every row of a catalog twice."""
    x = np.random.default_rng(5).standard_normal(200)
    path = tmp_path / "repeated.csv"
    pd.DataFrame({"x": np.tile(x, 2), "x_err": 0.3}).to_csv(path, index=False)
    return path


# 0.6 steps of 0.5, less an error of 0.01 in quadrature; 393 rows have smaller errors, from the eighth on.
FLOOR = math.sqrt(0.3**2 - 0.01**2)
NOTE = (
    "sigmas below 0.3 are not resolved: values are multiples of 0.5 but errors are as small as 0.01 "
    "(smaller than 0.3 in 393 rows, the first is row 8)"
)
REPEATED = "rows that are not independent, or were rounded in ways of their own, make BIC find too many populations"


class TestBeforeTheFit:
    def test_check_says_what_is_not_resolved(self, tmp_path, rounded):
        result = run("check", configured(tmp_path, [rounded], error="x_err"))
        assert result.exit_code == 0, result.output
        assert f"note: {NOTE}" in result.stdout

    def test_check_names_the_file_of_the_first_row(self, tmp_path, rounded):
        table = pd.read_csv(rounded)
        parts = [tmp_path / "a.csv", tmp_path / "b.csv"]
        table[:5].to_csv(parts[0], index=False)
        table[5:].to_csv(parts[1], index=False)
        result = run("check", configured(tmp_path, parts, error="x_err"))
        assert f"the first is row 3 of {parts[1]})" in result.stdout

    def test_a_floor_that_is_asked_for(self, tmp_path, repeated):
        told = run("check", configured(tmp_path, [repeated], error="x_err", sigma_floor=0.1)).stdout
        assert "sigmas below 0.1 are not resolved: this sigma_floor was asked for" in told
        assert "200 of 400 rows repeat another row exactly" in told
        assert "resolved" not in run("check", configured(tmp_path, [repeated], error="x_err", sigma_floor=0)).stdout
        result = run("check", configured(tmp_path, [repeated], sigma_floor=0))
        assert result.exit_code == 2 and "sigma_floor 0 with an error of zero in row 1" in result.stderr
        result = run("check", configured(tmp_path, [repeated], sigma_floor=1, estimators=["density"]))
        assert result.exit_code == 2 and "a sigma_floor without maximum likelihood" in result.stderr

    def test_rows_that_are_cut_do_not_count(self, tmp_path, rounded):
        """The first seven rows are gone: the row of the file is still its eighth."""
        result = run("fit", rounded, "--value", "x", "--error", "x_err", "--where", "x_err < 0.5", "--n-components", 1)
        assert "smaller than 0.3 in 393 rows, the first is row 8)" in result.stdout

    def test_init_says_it_at_the_entry(self, rounded):
        result = run("init", rounded)
        (entry,) = [line for line in result.stdout.splitlines() if line.strip().startswith("x:")]
        assert entry.endswith(f"; {NOTE}")

    def test_repeated_rows(self, tmp_path, repeated):
        told = f"200 of 400 rows repeat another row exactly: {REPEATED}"
        assert told in run("check", configured(tmp_path, [repeated], error="x_err")).stdout
        assert told in run("init", repeated).stdout

    def test_nothing_is_said_of_sound_rows(self, tmp_path):
        rng = np.random.default_rng(6)
        pd.DataFrame({"x": rng.standard_normal(300), "x_err": rng.uniform(0.2, 0.4, 300)}).to_csv(
            tmp_path / "sound.csv", index=False
        )
        result = run("check", configured(tmp_path, [tmp_path / "sound.csv"], error="x_err"))
        assert "note:" not in result.stdout
        assert "resolved" not in run("init", tmp_path / "sound.csv").stdout

    def test_weights(self, tmp_path):
        x = np.random.default_rng(7).standard_normal(100)
        # Half of the rows weigh 1, half 3: (sum w)^2 / sum w^2 = 200^2 / 500.
        for name, factor in (("whole", 1.0), ("parts", 0.25)):
            table = pd.DataFrame({"x": x, "x_err": 0.3, "w": factor * np.tile([1.0, 3.0], 50)})
            table.to_csv(tmp_path / f"{name}.csv", index=False)
        whole = run("check", configured(tmp_path, [tmp_path / "whole.csv"], error="x_err", weight="w")).stdout
        assert "weights are whole numbers and taken as counts: 100 rows stand for 200" in whole
        parts = run("check", configured(tmp_path, [tmp_path / "parts.csv"], error="x_err", weight="w")).stdout
        assert "importance weights, whose scale means nothing: 100 rows are worth n_eff = 80" in parts
        forced = configured(tmp_path, [tmp_path / "whole.csv"], error="x_err", weight="w", weight_kind="importance")
        assert "100 rows are worth n_eff = 80" in run("check", forced).stdout
        refused = configured(tmp_path, [tmp_path / "parts.csv"], error="x_err", weight="w", weight_kind="counts")
        result = run("check", refused)
        assert result.exit_code == 2
        assert "the first is 0.25 in row 1" in result.stderr and "weight_kind` importance" in result.stderr

    def test_many_rows_are_looked_at_in_part(self, monkeypatch, rounded):
        """Every second row has the same grain; errors are counted over all."""
        monkeypatch.setattr("mixpipe.catalog.columns._LOOKED_AT", 200)
        data = prepare_column(next(read_blocks(rounded, ["x", "x_err"])), ColumnSettings("x", "x", "x_err"))
        found, n_rows = data.resolution()
        assert n_rows == 200
        assert (found.n_rows, found.first, found.smallest_error) == (393.0, 7, 0.01)
        assert found.floor == pytest.approx(FLOOR)


class TestBesideTheFit:
    def document(self, path, tmp_path, *options):
        result = run(
            "fit", path, "--value", "x", "--error", "x_err", "--max-components", 2, "--out", tmp_path / "out", *options
        )
        assert result.exit_code == 0, result.output
        return result.stdout, json.loads((tmp_path / "out/fit.json").read_text(encoding="utf-8"))

    def test_the_floor_its_cause_and_its_rows(self, tmp_path, rounded):
        printed, document = self.document(rounded, tmp_path)
        assert f"warning: {NOTE}" in printed and printed.count("not resolved") == 1
        assert NOTE in document["warnings"]
        found = document["resolution"]
        assert (found["cause"], found["n_rows"], found["first_row"]) == ("grid", 393.0, "row 8")
        assert (found["step"], found["grain"], found["smallest_error"]) == (0.5, pytest.approx(0.3), 0.01)
        assert found["floor"] == document["sigma_floor"] == pytest.approx(FLOOR)
        assert found["n_repeated"] == 0.0 and "first" not in found
        assert describe_resolution(load_record(tmp_path / "out/fit.json")) == NOTE
        # All rows but seven with an error of 0.01 under a width of 1: nearly all of them.
        assert document["components"][0]["effective_rows"] == pytest.approx(400.0, rel=0.02)

    def test_it_comes_back(self, tmp_path, rounded):
        _, document = self.document(rounded, tmp_path)
        fit = read_fit(load_record(tmp_path / "out/fit.json"))
        assert fit.resolution == Resolution(document["sigma_floor"], "grid", 0.6 * 0.5, 0.5, 0.01, 393.0)
        np.testing.assert_array_equal(fit.effective_rows, [row["effective_rows"] for row in document["components"]])
        # A file of an earlier version.
        del document["resolution"]
        for row in document["components"]:
            del row["effective_rows"]
        (tmp_path / "old.json").write_text(json.dumps(document), encoding="utf-8")
        record = load_record(tmp_path / "old.json")
        old = read_fit(record)
        assert old.resolution.floor == old.sigma_floor == document["sigma_floor"]
        assert np.isnan(old.effective_rows).all() and describe_resolution(record) == ""

    def test_repeated_rows_are_a_warning(self, tmp_path, repeated):
        printed, document = self.document(repeated, tmp_path)
        assert f"warning: 200 rows repeat another row exactly: {REPEATED}" in printed
        assert document["resolution"]["n_repeated"] == 200.0

    def test_tables_of_the_run(self, tmp_path, rounded):
        self.document(rounded, tmp_path)
        fits = [str(tmp_path / "out/fit.json")]
        summarise(code_hash("summary"), fits, [], str(tmp_path / "summary.csv"))
        row = pd.read_csv(tmp_path / "summary.csv").iloc[0]
        assert list(row.index[-6:]) == ["sigma_floor", "floor_cause", "status", "reason", "answer", "basis"]
        assert row["sigma_floor"] == pytest.approx(FLOOR) and row["floor_cause"] == "grid"
        (tmp_path / "ingest").mkdir()
        account_release(code_hash("account"), fits, str(tmp_path / "input.csv"), str(tmp_path / "ingest"), [])
        row = pd.read_csv(tmp_path / "input.csv").iloc[0]
        assert (row["n_below_grain"], row["first_below_grain"], row["n_repeated"]) == (393, "row 8", 0)

    def test_a_floor_without_harm_is_told_below_the_components(self, tmp_path):
        """No errors, and a width far above the floor: no warning, but the floor is a fact of the fit."""
        x = norm.ppf((np.arange(300) + 0.5) / 300.0)
        pd.DataFrame({"x": x}).to_csv(tmp_path / "x.csv", index=False)
        result = run("fit", tmp_path / "x.csv", "--value", "x", "--max-components", 1)
        assert "resolution: sigmas below" in result.stdout and "errors are zero" in result.stdout
        assert "warning: sigmas below" not in result.stdout


class TestAskedFor:
    """Twelve equal errors of 0.2 about values that scatter less: the likeliest width is zero."""

    X = np.array([1.0, 1.1, 0.9, 1.05, 0.95, 1.0, 1.1, 0.9, 1.02, 0.98, 1.0, 1.0])

    @pytest.fixture
    def narrow(self, tmp_path):
        path = tmp_path / "narrow.csv"
        pd.DataFrame({"x": self.X, "x_err": 0.2}).to_csv(path, index=False)
        return path

    def fitted(self, path, *options):
        result = run("fit", path, "--value", "x", "--error", "x_err", "--n-components", 1, "--json", *options)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def test_sigmas_end_at_the_floor(self, narrow):
        document = self.fitted(narrow, "--sigma-floor", 0.3)
        (component,) = document["components"]
        assert component["sigma"] == pytest.approx(0.3, rel=1e-12) and component["boundary"]
        right = norm.logpdf(self.X, self.X.mean(), math.hypot(0.3, 0.2)).sum()
        assert document["loglik"] == pytest.approx(right, rel=1e-12)
        assert "sigmas below 0.3 are not resolved: this sigma_floor was asked for" in document["warnings"]

    def test_no_floor(self, narrow):
        document = self.fitted(narrow, "--sigma-floor", 0)
        assert document["components"][0]["sigma"] == 0.0
        assert document["loglik"] == pytest.approx(norm.logpdf(self.X, self.X.mean(), 0.2).sum(), rel=1e-12)

    @pytest.mark.parametrize(
        "options", [("--families", "laplace"), ("--truncated", "-9,9"), ("--upper-limit", "x_err")]
    )
    def test_other_likelihoods_have_it_too(self, narrow, options):
        (component,) = self.fitted(narrow, "--sigma-floor", 0.3, *options)["components"]
        assert component["sigma"] == pytest.approx(0.3, rel=1e-6) and component["boundary"]

    def test_an_error_of_zero_needs_one(self, tmp_path, narrow, monkeypatch):
        table = pd.read_csv(narrow)
        table.loc[4, "x_err"] = 0.0
        table.to_csv(narrow, index=False)
        command = ("fit", narrow, "--value", "x", "--error", "x_err", "--sigma-floor", 0)
        for most in (10**6, 5):
            monkeypatch.setattr(fit_stage, "MEMORY_ROWS", most)
            result = run(*command)
            assert result.exit_code == 2 and result.stderr.count("\n") == 1
            assert f"sigma_floor 0 with an error of zero in row 5 of {narrow}" in result.stderr
            assert "errors > 0 in every row, or a sigma_floor > 0" in result.stderr

    def test_not_without_maximum_likelihood(self, narrow):
        result = run("fit", narrow, "--value", "x", "--error", "x_err", "--sigma-floor", 0.3, "--estimator", "density")
        assert (
            result.exit_code == 2 and "a sigma_floor without maximum likelihood, on the command line" in result.stderr
        )

    def test_many_rows(self, tmp_path, monkeypatch):
        """Above 20,000 rows, in memory and not."""
        x = 0.1 * norm.ppf((np.arange(24_000) + 0.5) / 24_000.0)
        path = tmp_path / "many.csv"
        pd.DataFrame({"x": x, "x_err": 0.2}).to_csv(path, index=False)
        right = norm.logpdf(x, 0.0, math.hypot(0.3, 0.2)).sum()
        for most in (10**6, 1000):
            monkeypatch.setattr(fit_stage, "MEMORY_ROWS", most)
            document = self.fitted(path, "--sigma-floor", 0.3)
            assert document["components"][0]["sigma"] == pytest.approx(0.3, rel=1e-9)
            assert document["loglik"] == pytest.approx(right, rel=1e-9)

    @pytest.mark.parametrize("value", ["-1", "nan", "wide"])
    def test_what_is_no_floor(self, narrow, value):
        result = run("fit", narrow, "--value", "x", "--sigma-floor", value)
        assert result.exit_code == 2 and "in option --sigma-floor, expected a number >= 0" in result.stderr

    def test_other_estimates_do_not_lead_below_it(self):
        """The likelihood is climbed from the estimate of the density, too."""
        cells = Cells.from_rows(self.X, 0.2)
        cells = replace(cells, resolution=replace(cells.resolution, floor=0.3, cause="given"))
        settings = ColumnSettings("x", "x", sigma_floor=0.3, estimators=("em", "density"), max_components=1)
        outcome = estimate_column(cells, settings, "bic", Effort(quality_draws=0), place="here")
        assert outcome.fit.mixture.sigmas[0] == pytest.approx(0.3, rel=1e-12)


class TestRows:
    def test_a_block_that_begins_later(self):
        files = [{"path": "a.csv", "n_rows": 2, "first_row": 40}, {"path": "b.csv", "n_rows": 9, "first_row": 0}]
        assert name_row(files, 1) == "row 42 of a.csv"
        assert name_row(files, 2) == "row 1 of b.csv"
        assert name_row(files[:1], 1) == "row 42"
        assert name_row(files[:1], 1, several=True) == "row 42 of a.csv"

    def test_a_mistake_in_a_later_block(self):
        table = Table({"x": ["1", "2", "many"]})
        table.meta["files"] = [{"path": "a.csv", "n_rows": 3, "first_row": 30}]
        with pytest.raises(CatalogError, match="the first is 'many' in row 33"):
            prepare_column(table, ColumnSettings("x", "x"))

    def test_a_row_of_a_column_that_is_not_in_memory(self, rounded, tmp_path):
        settings = ColumnSettings("x", "x", "x_err")
        stream = ColumnStream(lambda: read_blocks(rounded, ["x", "x_err"], rows=3), settings, where="x_err < 0.5")
        # Seven rows are cut.
        assert [stream.row_name(position) for position in (-1, 0, 5)] == ["", "row 8", "row 13"]

    def test_the_first_row_of_a_column_that_is_not_in_memory(self, rounded, tmp_path, monkeypatch):
        """Above 20,000 rows, which have a sketch; in the second of two blocks."""
        monkeypatch.setattr(fit_stage, "MEMORY_ROWS", 1000)
        x = np.round(2.0 * norm.ppf((np.arange(24_000) + 0.5) / 24_000.0)) / 2.0
        err = np.where(np.arange(24_000) < 23_990, 1.0, 0.01)
        pd.DataFrame({"x": x, "x_err": err}).to_csv(tmp_path / "many.csv", index=False)
        result = run("fit", tmp_path / "many.csv", "--value", "x", "--error", "x_err", "--n-components", 1)
        assert "errors are as small as 0.01 (smaller than 0.3 in 10 rows, the first is row 23991)" in result.stdout
