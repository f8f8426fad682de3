"""Rounded columns, from the configuration to members, figures and comparisons."""

import json
import math

import numpy as np
import pandas as pd
import pytest
import yaml
from astropy import units as u
from astropy.table import Table
from click.testing import CliRunner
from scipy.stats import norm

from mixpipe import cli
from mixpipe.assess.binned import classify_bins
from mixpipe.assess.effort import Effort
from mixpipe.base.arrays import joined_bins
from mixpipe.base.errors import CatalogError, ConfigError
from mixpipe.catalog.columns import prepare_column
from mixpipe.config.settings import ColumnSettings, parse_config
from mixpipe.fitting.general.fit import loglik_of
from mixpipe.model.cells import Cells
from mixpipe.pipeline.compare import read_stored
from mixpipe.pipeline.estimate import estimate_column, why_in_memory


def run(*args):
    return CliRunner().invoke(cli.main, [str(arg) for arg in args], prog_name="mixpipe")


def column(**settings):
    return ColumnSettings("x", "x", **settings)


@pytest.fixture
def digits(tmp_path):
    """5000 quantiles of a normal of mean 10 and width 2, to two digits."""
    values = 10.0 + 2.0 * norm.ppf((np.arange(5000) + 0.5) / 5000.0)
    path = tmp_path / "digits.csv"
    pd.DataFrame({"x": [f"{value:.1e}" for value in values]}).to_csv(path, index=False)
    return path


class TestColumn:
    def test_ends_are_those_of_the_file_in_the_unit_of_the_results(self):
        table = Table({"x": [9.9, 10.0, 11.0] * u.km})
        data = prepare_column(table, column(rounding="2 digits", unit="m"))
        np.testing.assert_allclose(data.intervals, [[9850.0, 9950.0], [9950.0, 10500.0], [10500.0, 11500.0]])
        assert data.edges is None and not data.account.are_bins
        cells = data.cells()
        assert cells.are_rounded and cells.resolution.step == pytest.approx(1000.0)

    def test_a_step_and_digits_are_those_of_the_file(self):
        table = Table({"x": [3.0, 99.0, 100.0, 110.0] * u.km})
        data = prepare_column(table, column(rounding="2 digits, step 1", unit="m"))
        ends = [[2500.0, 3500.0], [98500.0, 99500.0], [99500.0, 105000.0], [105000.0, 115000.0]]
        np.testing.assert_allclose(data.intervals, ends)
        assert data.resolution()[0].note().startswith("values are taken as the intervals, 1e+03 to 1e+04 wide")
        with pytest.raises(CatalogError, match=r"2 of 4 values .* are not rounded to 2 digits with a step of"):
            prepare_column(table, column(rounding="2 digits, step 2"))

    def test_a_factor_below_zero_turns_the_ends_round(self):
        table = Table({"x": [1.0, 2.0] * u.mag})
        data = prepare_column(table, column(rounding=1.0, unit="dex"))
        np.testing.assert_allclose(data.intervals, [[-0.6, -0.2], [-1.0, -0.6]], atol=1e-12)

    def test_both_ends_are_transformed(self):
        table = Table({"x": [1.0, 2.0, -3.0]})
        data = prepare_column(table, column(rounding=1.0, transform="log10"))
        np.testing.assert_allclose(data.intervals, np.log10([[0.5, 1.5], [1.5, 2.5]]))
        assert data.dropped["not_positive"] == 1

    def test_rows_that_are_not_used_need_not_fit(self):
        table = Table({"x": [1.0, 2.3, math.nan, 4.0]})
        data = prepare_column(table, column(rounding=1.0), where="x != 2.3")
        np.testing.assert_allclose(data.intervals, [[0.5, 1.5], [3.5, 4.5]])

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            (
                {"rounding": 0.5},
                "1 of 3 values of column 'x' are not multiples of one step of 0.5, the first is 2.3 in row 3",
            ),
            (
                {"rounding": "1 digit"},
                "1 of 3 values of column 'x' are not rounded to 1 digits, the first is 2.3 in row 3",
            ),
            (
                {"rounding": 0.1, "transform": "ln"},
                "1 values may have been zero or less before they were rounded, the first",
            ),
        ],
    )
    def test_what_is_refused(self, settings, message):
        table = Table({"x": [0.05 if "transform" in settings else 2.0, 0.5, 2.3]})
        if "transform" in settings:
            table["x"][1:] = [0.15, 2.35]
        with pytest.raises(CatalogError, match=message):
            prepare_column(table, column(**settings))

    def test_rows_are_held_in_memory_if_rounding_is_given(self):
        assert why_in_memory(column()) == why_in_memory(column(rounding="none")) == ""
        assert why_in_memory(column(rounding=0.1)) == "rounding"


class TestKeys:
    def parsed(self, **keys):
        given = {"catalogs": {"c": {"releases": {"a": "a.csv"}, "columns": {"x": keys}}}}
        return parse_config(given).catalogs[0].columns[0]

    def test_keys(self):
        assert self.parsed().rounding == "auto" and not self.parsed().is_rounded
        assert self.parsed(rounding=1).rounding == 1.0
        assert self.parsed(rounding="2 digits").is_rounded and self.parsed(rounding="2 digits, step 0.5").is_rounded
        assert self.parsed(rounding=0.1, error=["u", "l"], error_model="symmetric").rounding == 0.1

    @pytest.mark.parametrize(
        ("keys", "what"),
        [
            ({"truncated": [0, None]}, "key 'truncated' beside `rounding`"),
            ({"limit_flag": "l"}, "key 'limit_flag' beside `rounding`"),
            ({"error": ["u", "l"]}, "errors that are not symmetric Gaussians beside `rounding`"),
            ({"estimators": ["moments"]}, "rounding without maximum likelihood"),
            ({"kind": "samples"}, "key 'rounding' with kind samples"),
        ],
    )
    def test_what_rounded_values_cannot_have(self, keys, what):
        with pytest.raises(ConfigError) as found:
            self.parsed(rounding=0.1, **keys)
        assert found.value.what == what

    @pytest.mark.parametrize("given", ["2 digit s", "0 digits", "-1", "coarse", "2 digits, step 0", "2 digits, step"])
    def test_what_is_no_rounding(self, tmp_path, digits, given):
        result = run("fit", digits, "--value", "x", "--rounding", given)
        assert result.exit_code == 2
        assert f"found {given}, in option --rounding, expected auto, none, a number > 0, or a text" in result.stderr


class TestSeveralSteps:
    def test_all_files_of_a_fit(self, tmp_path):
        """Hundredths of which a fifth are halves: what was found is said, and the fit is made again from its files."""
        rng = np.random.default_rng(1)
        before = rng.normal(10.0, 1.0, 800)
        x = np.where(rng.random(800) < 0.2, 0.5 * np.round(before / 0.5), np.round(before, 2))
        pd.DataFrame({"x": [f"{value:.2f}" for value in x]}).to_csv(tmp_path / "x.csv", index=False)
        out = tmp_path / "out"
        result = run("fit", tmp_path / "x.csv", "--value", "x", "--max-components", 3, "--out", out)
        assert result.exit_code == 0, result.output
        assert "values are taken as the intervals, 0.01 to 0.5 wide, from which they were rounded" in result.stdout
        assert "repeat" not in result.output
        document = json.loads((out / "fit.json").read_text(encoding="utf-8"))
        (component,) = document["components"]
        assert abs(component["mean"] - 10.0) < 4.0 / math.sqrt(800)
        assert abs(component["sigma"] - 1.0) < 4.0 / math.sqrt(1600)
        assert document["resolution"]["finest"] == pytest.approx(0.01)
        assert document["resolution"]["step"] == pytest.approx(0.5)
        assert document["quality"]["verdict"] == "ok"
        members = pd.read_parquet(out / "members.parquet")
        # A fifth of the rows, and no row between the halves.
        wide = np.isclose(members["high"] - members["low"], 0.5)
        assert abs(wide.mean() - 0.2) < 4.0 * math.sqrt(0.16 / 800) and np.all(members["value"][wide] % 0.5 == 0.0)
        again = run("reproduce", out)
        assert again.exit_code == 0, again.output

    def test_what_was_given_as_a_step_and_digits(self, tmp_path):
        before = np.random.default_rng(2).normal(60.0, 30.0, 2000).clip(0.6)
        x = [float(f"{np.round(value):.1e}") for value in before]
        pd.DataFrame({"x": x}).to_csv(tmp_path / "x.csv", index=False)
        given = run("fit", tmp_path / "x.csv", "--value", "x", "--rounding", "2 digits, step 1", "--n-components", 1)
        assert given.exit_code == 0, given.output
        assert "values are taken as the intervals, 1 to 10 wide" in given.stdout


class TestFewBins:
    def test_too_few_bins_are_said(self, tmp_path):
        path = tmp_path / "bins.csv"
        pd.DataFrame({"low": [0.0, 1.0], "high": [1.0, 2.0], "n": [50, 50]}).to_csv(path, index=False)
        out = tmp_path / "out"
        result = run("fit", path, "--bins", "low,high,n", "--max-components", 3, "--out", out)
        assert result.exit_code == 0, result.output
        words = "2 filled bins determine 1 number, but 1 component has 2 free parameters: others fit as well"
        assert words in " ".join(result.output.split())
        document = json.loads((out / "fit.json").read_text(encoding="utf-8"))
        assert document["n_components"] == 1 and any(words in text for text in document["warnings"])
        assert all(row["occam"] == 0.0 for row in document["selection"])


class TestFit:
    def test_all_files_of_a_fit(self, digits, tmp_path):
        out = tmp_path / "out"
        result = run("fit", digits, "--value", "x", "--n-components", 1, "--out", out)
        assert result.exit_code == 0, result.output
        assert (
            "resolution: values are taken as the intervals, 0.1 to 1 wide, from which they were rounded"
            in result.stdout
        )
        assert "goodness of fit: ok" in result.stdout
        document = json.loads((out / "fit.json").read_text(encoding="utf-8"))
        (component,) = document["components"]
        # Quantiles have the parameters of their normal; without the intervals they are off by .0084 and .036.
        assert component["mean"] == pytest.approx(10.0, abs=0.003)
        assert component["sigma"] == pytest.approx(2.0, abs=0.003)
        assert document["resolution"]["cause"] == "rounding" and document["sigma_floor"] == 0.0
        members = pd.read_parquet(out / "members.parquet")
        assert len(members) == 5000
        ten = members[members["value"] == 10.0].iloc[0]
        assert (ten["low"], ten["high"]) == (pytest.approx(9.95), pytest.approx(10.5))
        assert members["true_mean"].between(members["low"], members["high"]).all()
        again = run("reproduce", out)
        assert again.exit_code == 0, again.output
        compared = run("compare", out, out, "--json")
        assert compared.exit_code == 0, compared.output
        assert json.loads(compared.stdout)["verdict"] == "unchanged"
        stored = read_stored(out)
        cells = stored.fitted.cells
        assert cells.are_rounded and loglik_of(stored.fitted.fit.mixture, cells) == pytest.approx(document["loglik"])

    def test_rounding_that_is_given_and_refused(self, digits):
        given = run("fit", digits, "--value", "x", "--rounding", "2 digits", "--n-components", 1, "--json")
        found = run("fit", digits, "--value", "x", "--n-components", 1, "--json")
        none = run("fit", digits, "--value", "x", "--n-components", 1, "--json", "--rounding", "none")
        one, other, without = (json.loads(result.stdout) for result in (given, found, none))
        assert one["loglik"] == other["loglik"] != without["loglik"]
        wrong = run("fit", digits, "--value", "x", "--rounding", 0.3)
        assert wrong.exit_code == 2 and wrong.stderr.count("\n") == 1
        assert "values of column 'x' are not multiples of one step of 0.3, the first is" in wrong.stderr
        assert "expected the --rounding of all values, or auto" in wrong.stderr

    def test_check_says_it_before_the_fit(self, digits, tmp_path):
        path = tmp_path / "config.yaml"
        entry = {"releases": {"a": str(digits)}, "columns": {"x": {"rounding": "2 digits"}}}
        path.write_text(yaml.safe_dump({"catalogs": {"c": entry}}), encoding="utf-8")
        result = run("check", path)
        assert result.exit_code == 0, result.output
        assert "values are taken as the intervals, 0.1 to 1 wide" in " ".join(result.output.split())

    def test_other_estimators_are_compared_by_the_same_likelihood(self, digits):
        x = pd.read_csv(digits)["x"].to_numpy()
        cells = Cells.from_rows(x)
        found = estimate_column(
            cells, column(estimators=("em", "moments"), max_components=1), "bic", Effort(quality_draws=0), place="here"
        )
        em, moments = found.estimates
        assert em.fit.resolution.cause == "rounding"
        # Moments of the values themselves, of which the likelihood is that of the intervals.
        assert moments.fit.mixture.means[0] == pytest.approx(x.mean(), rel=1e-9)
        assert em.fit.loglik - 40.0 < moments.fit.loglik < em.fit.loglik
        # The mean density of the intervals is about that at the values.
        assert em.fit.loglik == pytest.approx(em.fit.mixture.logpdf(x).sum(), abs=40.0)

    def test_rows_that_are_equal_are_classified_alike(self):
        cells = Cells.from_rows([0.0, 0.0, 1.0]).rounded(1.0)
        fit = estimate_column(cells, column(max_components=1), "bic", Effort(quality_draws=0), place="here").fit
        _, mean, unc = classify_bins(fit.mixture, cells.edges, cells.err)
        assert mean[0] == mean[1] < 0.5 < mean[2] and unc[0] == unc[1]


def test_bins_of_a_picture_contain_whole_intervals():
    rng = np.random.default_rng(1)
    cells = Cells.from_rows(np.array([float(f"{v:.1e}") for v in 10.0 + 2.0 * rng.standard_normal(3000)])).rounded()
    bins = joined_bins(cells.edges, cells.weights)
    assert np.all(bins[:, 0] <= cells.edges[:, 0] + 1e-9) and np.all(bins[:, 1] >= cells.edges[:, 1] - 1e-9)
    widths = np.diff(np.unique(bins))
    # Half the rule of Freedman and Diaconis: the quartiles are 1.349 widths apart.
    assert widths.min() > 0.8 * 1.349 * 2.0 / 3000.0 ** (1.0 / 3.0)
    assert 15 < widths.size < 80
