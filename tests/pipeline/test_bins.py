"""Columns that are given as histograms, from the configuration to members, figures and comparisons."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from astropy import units as u
from astropy.table import Table
from click.testing import CliRunner
from matplotlib.figure import Figure
from scipy.optimize import minimize
from scipy.stats import norm, truncnorm

from mixpipe import cli
from mixpipe.assess.assessment import assess_fit
from mixpipe.assess.binned import classify_bins
from mixpipe.assess.effort import Effort
from mixpipe.base.errors import CatalogError, ConfigError
from mixpipe.catalog.columns import prepare_column
from mixpipe.catalog.required import required_columns
from mixpipe.config.settings import ColumnSettings, parse_config
from mixpipe.fitting.choose import fit_mixture
from mixpipe.model.cells import Cells
from mixpipe.model.mixture import Mixture
from mixpipe.pipeline.estimate import estimate_column, why_in_memory
from mixpipe.pipeline.figures import draw_figures
from mixpipe.pipeline.plan.texts import FitPlan, read_fit_plan, recorded, to_text
from mixpipe.report.figures import draw_mixture, draw_quality
from mixpipe.report.figures.quality import integral_transform
from mixpipe.report.figures.scene import Scene, spread
from mixpipe.results.provenance import code_hash
from tests.campaign import campaign

BINS = ("lo", "hi", "n")
NAN, INF = math.nan, math.inf


def column(**settings):
    return ColumnSettings("z", "lo", bins=BINS, **settings)


def run(*args):
    return CliRunner().invoke(cli.main, [str(arg) for arg in args], prog_name="mixpipe")


@pytest.fixture
def histogram(tmp_path):
    """Two normals in bins of half a unit, as rows of a file; and their edges and counts."""
    edges = np.arange(-6.0, 9.1, 0.5)
    shares = 0.6 * np.diff(norm.cdf(edges)) + 0.4 * np.diff(norm.cdf(edges, 4.0, 0.7))
    counts = np.round(5000.0 * shares)
    path = tmp_path / "hist.csv"
    pd.DataFrame({"lo": edges[:-1], "hi": edges[1:], "n": counts}).to_csv(path, index=False)
    return path, edges, counts


class TestColumn:
    def test_each_row_is_a_bin(self):
        table = Table({"lo": [0.0, 1.0, 3.0], "hi": [1.0, 3.0, 7.0], "n": [2, 0, 5]})
        data = prepare_column(table, column())
        assert data.x.tolist() == [0.5, 2.0, 5.0]
        assert data.edges.tolist() == [[0.0, 1.0], [1.0, 3.0], [3.0, 7.0]]
        assert len(data) == 3
        assert data.account.n_used == 3 and data.account.total_weight == 7.0 and data.account.are_bins
        cells = data.cells()
        assert cells.n_data == 7.0 and cells.weight_kind == "counts"
        np.testing.assert_array_equal(cells.edges, data.edges)

    def test_what_is_dropped_and_why(self):
        table = Table(
            {
                "lo": [NAN, 0.0, INF, 2.0, 2.0, 0.0, 0.0, 0.0, 1.0],
                "hi": [1.0, NAN, INF, 2.0, 1.0, 1.0, 1.0, 1.0, 2.0],
                "n": [1, 1, 1, 1, 1, NAN, -1, 1, 1],
                "c": [1, 1, 1, 1, 1, 1, 1, 0, 1],
            }
        )
        data = prepare_column(table, column(), where="c == 1")
        found = {reason: number for reason, number in data.dropped.items() if number}
        assert found == {
            "cut": 1, "missing_value": 2, "infinite_value": 1, "empty_bin": 2, "missing_weight": 1, "bad_weight": 1,
        }  # fmt: skip
        assert data.rows.tolist() == [8]
        assert data.edges.tolist() == [[1.0, 2.0]]

    def test_parts_of_rows_are_refused(self):
        table = Table({"lo": [0.0, 1.0, 2.0], "hi": [1.0, 2.0, 3.0], "n": [3.0, 0.25, 0.5]})
        with pytest.raises(CatalogError, match=r"'n' has 2 numbers of rows .* the first is 0\.25 in row 2"):
            prepare_column(table, column())

    def test_units_of_both_edges(self):
        table = Table({"lo": [1.0, 2.0] * u.km, "hi": [2000.0, 3000.0] * u.m, "n": [1, 2], "e": [0.1, 0.1] * u.km})
        data = prepare_column(table, column(error="e", unit="m"))
        np.testing.assert_allclose(data.edges, [[1000.0, 2000.0], [2000.0, 3000.0]], rtol=1e-15)
        np.testing.assert_allclose(data.err, 100.0, rtol=1e-15)
        table["hi"].unit = u.s
        with pytest.raises(CatalogError, match="column 'hi' has the unit s, which cannot be converted to km"):
            prepare_column(table, column())
        table["hi"].unit = None
        with pytest.raises(CatalogError, match="'lo' has the unit km and column 'hi' has None"):
            prepare_column(table, column())

    def test_magnitudes_turn_the_edges_round(self):
        table = Table({"lo": [1.0], "hi": [3.5], "n": [1]})
        table["lo"].unit = table["hi"].unit = "mag"
        data = prepare_column(table, column(unit="dex"))
        np.testing.assert_allclose(data.edges, [[-1.4, -0.4]], rtol=1e-14)

    def test_both_edges_are_transformed(self):
        table = Table({"lo": [1.0, 10.0], "hi": [10.0, 1000.0], "n": [1, 1], "e": [0.55, 101.0]})
        data = prepare_column(table, column(transform="log10", error="e"))
        np.testing.assert_allclose(data.edges, [[0.0, 1.0], [1.0, 3.0]], atol=1e-15)
        np.testing.assert_allclose(data.x, [0.5, 2.0], rtol=1e-15)
        # To first order at the centres in the unit of the file, 5.5 and 505.
        np.testing.assert_allclose(data.err, np.array([0.1, 0.2]) / math.log(10.0), rtol=1e-14)

    def test_bins_without_a_logarithm_are_refused(self):
        table = Table({"lo": [1.0, 0.0, -1.0], "hi": [2.0, 1.0, 0.0], "n": [1, 1, 1]})
        with pytest.raises(CatalogError, match=r"2 bins with edges that are not positive, the first from 0 in row 2"):
            prepare_column(table, column(transform="ln"))
        assert len(prepare_column(table, column(transform="ln"), where="lo > 0")) == 1

    def test_needed_columns(self):
        assert required_columns([column(error="e")]) == ("lo", "hi", "n", "e")
        assert why_in_memory(column()) == "bins"


class TestConfiguration:
    def parsed(self, **keys):
        entry = {
            "releases": {"a": "a.csv"},
            "columns": {"z": {"bins": dict(zip(("low", "high", "count"), BINS, strict=True)), **keys}},
        }
        return parse_config({"catalogs": {"c": entry}}).catalogs[0].columns[0]

    def test_keys(self):
        found = self.parsed(error=0.1, sigma_floor=1)
        assert found.bins == BINS and found.value == "lo" and found.sigma_floor == 1.0

    @pytest.mark.parametrize(
        ("key", "value"),
        [("value", "x"), ("weight", "w"), ("weight_kind", "counts"), ("truncated", [0, 1]), ("limit_flag", "f")],
    )
    def test_what_a_histogram_cannot_have(self, key, value):
        with pytest.raises(ConfigError, match=f"key '{key}' beside `bins`"):
            self.parsed(**{key: value})

    def test_all_three_columns_are_needed(self):
        entry = {"releases": {"a": "a.csv"}, "columns": {"z": {"bins": {"low": "a", "high": "b"}}}}
        with pytest.raises(ConfigError, match="no key 'count'"):
            parse_config({"catalogs": {"c": entry}})

    def test_a_plan_comes_back_from_its_text(self):
        plan = FitPlan("c", "a", (("a.csv", "0"),), {}, None, None, column(sigma_floor=0.5), "bic", Effort(), "code")
        assert read_fit_plan(recorded(to_text(plan))) == plan


class TestMembers:
    def test_a_truncated_normal(self):
        edges = np.array([[-0.3, 0.9], [2.0, 2.5], [-40.0, 40.0], [8.0, 30.0], [1.0, 1.0 + 1e-9]])
        resp, mean, unc = classify_bins(Mixture([1.0], [0.5], [1.3]), edges, np.zeros(len(edges)))
        right = truncnorm(*((edges.T - 0.5) / 1.3), loc=0.5, scale=1.3)
        np.testing.assert_array_equal(resp, 1.0)
        np.testing.assert_allclose(mean[:4], right.mean()[:4], rtol=1e-9)
        np.testing.assert_allclose(unc[:4], right.std()[:4], rtol=1e-6)
        # Uniform to nine digits; SciPy's differences of probabilities have lost theirs.
        assert mean[4] == pytest.approx(1.0 + 0.5e-9, abs=1e-15)
        assert unc[4] == pytest.approx(1e-9 / math.sqrt(12.0), rel=1e-6)

    def test_errors_shrink_the_true_values(self):
        sigma, err, edges = 0.8, 0.6, np.array([[0.2, 1.5], [3.0, 9.0]])
        _, mean, unc = classify_bins(Mixture([1.0], [-0.2], [sigma]), edges, np.full(2, err))
        seen = truncnorm(*((edges.T + 0.2) / 1.0), loc=-0.2, scale=1.0)  # sigma^2 + err^2 = 1
        np.testing.assert_allclose(mean, -0.2 + sigma**2 * (seen.mean() + 0.2), rtol=1e-9)
        np.testing.assert_allclose(unc, np.sqrt(sigma**2 * err**2 + sigma**4 * seen.var()), rtol=1e-8)

    def test_responsibilities_are_integrals(self):
        mixture = Mixture([0.3, 0.7], [0.0, 3.0], [1.0, 0.5])
        edges = np.array([[-1.0, 2.0], [2.0, 2.2], [-9.0, -8.0]])
        resp, mean, unc = classify_bins(mixture, edges, np.zeros(3))
        parts = np.stack(
            [
                w * (norm.cdf(edges[:, 1], m, s) - norm.cdf(edges[:, 0], m, s))
                for w, m, s in ((0.3, 0, 1), (0.7, 3, 0.5))
            ],
            axis=1,
        )
        np.testing.assert_allclose(resp, parts / parts.sum(axis=1, keepdims=True), rtol=1e-9, atol=1e-15)
        each = [classify_bins(Mixture([1.0], [m], [s]), edges, np.zeros(3)) for m, s in ((0.0, 1.0), (3.0, 0.5))]
        means = np.stack([one[1] for one in each], axis=1)
        second = np.stack([one[2] ** 2 + one[1] ** 2 for one in each], axis=1)
        np.testing.assert_allclose(mean, np.sum(resp * means, axis=1), rtol=1e-12)
        np.testing.assert_allclose(unc**2, np.sum(resp * second, axis=1) - mean**2, rtol=1e-9)

    def test_other_families(self):
        # An exponential piece of a Laplace density beyond its mean, of scale 1 / sqrt 2.
        scale, width = math.sqrt(0.5), 2.0
        _, mean, _ = classify_bins(Mixture([1.0], [0.0], [1.0], ("laplace",)), np.array([[0.0, width]]), np.zeros(1))
        assert mean[0] == pytest.approx(scale - width / math.expm1(width / scale), rel=1e-9)
        # Half of a uniform density on [-1, 1].
        flat = Mixture([1.0], [0.0], [1.0 / math.sqrt(3.0)], ("uniform",))
        _, mean, unc = classify_bins(flat, np.array([[0.0, 5.0]]), np.zeros(1))
        assert (mean[0], unc[0]) == (pytest.approx(0.5, rel=1e-9), pytest.approx(1.0 / math.sqrt(12.0), rel=1e-9))

    def test_a_component_without_width(self):
        resp, mean, unc = classify_bins(
            Mixture([0.5, 0.5], [0.0, 10.0], [0.0, 1.0]), np.array([[-1.0, 1.0]]), np.zeros(1)
        )
        assert resp[0, 0] == pytest.approx(1.0) and mean[0] == pytest.approx(0.0, abs=1e-12) and unc[0] < 1e-6


class TestFit:
    def test_the_likelihood_is_the_multinomial_one(self, histogram):
        path, edges, counts = histogram
        result = run("fit", path, "--bins", "lo,hi,n", "--max-components", 3, "--json")
        assert result.exit_code == 0, result.output
        document = json.loads(result.stdout)
        assert document["n_data"] == counts.sum() and document["n_components"] == 2

        def negative(p):
            shares = p[0] * np.diff(norm.cdf(edges, p[1], p[2])) + (1 - p[0]) * np.diff(norm.cdf(edges, p[3], p[4]))
            return -float(counts @ np.log(np.maximum(shares, 1e-300)))

        best = minimize(
            negative,
            [0.6, 0.0, 1.0, 4.0, 0.7],
            method="Nelder-Mead",
            options={"xatol": 1e-8, "fatol": 1e-10, "maxiter": 8000},
        )
        assert document["loglik"] == pytest.approx(-best.fun, abs=1e-5)
        first, second = document["components"]
        found = [first["weight"], first["mean"], first["sigma"], second["mean"], second["sigma"]]
        np.testing.assert_allclose(found, best.x, atol=1e-4)

    def test_all_files_of_a_fit(self, histogram, tmp_path):
        path, edges, counts = histogram
        out = tmp_path / "out"
        result = run("fit", path, "--bins", "lo,hi,n", "--n-components", 2, "--out", out)
        assert result.exit_code == 0, result.output
        assert "goodness of fit: ok" in result.stdout
        members = pd.read_parquet(out / "members.parquet")
        np.testing.assert_array_equal(members["low"], edges[:-1])
        np.testing.assert_array_equal(members["high"], edges[1:])
        np.testing.assert_array_equal(members["weight"], counts)
        assert members["true_mean"].between(members["low"], members["high"]).all()
        document = json.loads((out / "fit.json").read_text(encoding="utf-8"))
        assert document["account"]["value"] == list(BINS)
        assert document["account"]["n_used"] == 30 and document["n_data"] == counts.sum()
        # The largest distance of the counted shares from those of the mixture, at the edges.
        shares = sum(each["weight"] * norm.cdf(edges, each["mean"], each["sigma"]) for each in document["components"])
        counted = np.concatenate([[0.0], np.cumsum(counts) / counts.sum()])
        assert document["quality"]["ks"] == pytest.approx(np.max(np.abs(counted - shares)), abs=1e-9)
        assert document["quality"]["verdict"] == "ok"
        assert (out / "mixture.png").is_file() and (out / "quality.svg").is_file()
        again = run("reproduce", out)
        assert again.exit_code == 0, again.output
        compared = run("compare", out, out, "--json")
        assert compared.exit_code == 0, compared.output
        assert json.loads(compared.stdout)["verdict"] == "unchanged"

    def test_all_that_is_known_of_rows_is_known_of_bins(self):
        cells = Cells.from_histogram([-2.0, -1.0, 0.0, 1.0, 2.0], [5, 20, 22, 6])
        found = assess_fit(
            cells, fit_mixture(cells, n_components=1), Effort(profile=True, likelihood_ratio=9, quality_draws=9)
        )
        # Half of the catalogs drawn from one normal distribution fit it better.
        assert 0.1 < found.quality.ks_pvalue <= 1.0 and 0.1 < found.quality.ad_pvalue <= 1.0
        assert found.likelihood_ratio is not None and found.likelihood_ratio.p_value > 0.1
        assert {row["method"] for row in found.interval_rows} == {"information", "profile"}
        (mean,) = [
            row
            for row in found.interval_rows
            if (row["method"], row["parameter"], row["level"]) == ("profile", "mean", 0.68)
        ]
        # Within the curvature of 53 rows: half a bin's variance adds to that of the mean.
        half = 0.5 * (mean["upper"] - mean["lower"])
        assert half == pytest.approx(found.fit.uncertainties.means[0], rel=0.03)

    def test_bootstrap_of_bins(self):
        edges = np.linspace(-4.0, 4.0, 33)
        cells = Cells.from_histogram(edges, np.round(2000.0 * np.diff(norm.cdf(edges))))
        found = assess_fit(cells, fit_mixture(cells, n_components=1), Effort(bootstrap=100, quality_draws=0))
        # The standard error of a mean of 2000 rows of width 1; that of 100 draws has 7 %.
        assert found.fit.uncertainties.means[0] == pytest.approx(1.0 / math.sqrt(2000.0), rel=0.25)

    def test_the_other_estimators_are_refused(self):
        cells = Cells.from_histogram(np.linspace(-1.0, 1.0, 21), np.r_[np.zeros(9), 40, 60, np.zeros(9)])
        with pytest.raises(CatalogError, match="estimator density with limits, bounds, bins"):
            estimate_column(cells, column(estimators=("density",)), "bic", Effort(), place="here")

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (("--bins", "lo,hi"), "found lo,hi, in option --bins, expected three columns"),
            ((), "no column to fit, on the command line, expected --value COL, or --bins LOW,HIGH,COUNT"),
            (("--bins", "lo,hi,n", "--value", "lo"), "key 'value' beside `bins`, on the command line"),
            (("--bins", "lo,hi,lo"), "column 'lo' has 9 numbers of rows that are no whole numbers"),
            (("--bins", "lo,hi,m"), "no column 'm'"),
        ],
    )
    def test_what_is_refused(self, histogram, options, message):
        result = run("fit", histogram[0], *options)
        assert result.exit_code == 2 and message in result.stderr and result.stderr.count("\n") == 1


class TestFigures:
    def test_rows_are_spread_evenly(self):
        bins = np.array([[0.0, 2.0], [3.0, 4.0], [1.0, 5.0], [2.0, 2.0]])
        found = spread(np.array([4.0, 6.0, 8.0, 1.0]), bins, np.array([0.0, 1.0, 2.0, 3.5, 9.0]))
        np.testing.assert_allclose(found, [2.0, 2.0 + 2.0, 3.0 + 3.0 + 1.0, 3.0 + 3.0], rtol=1e-14)

    def test_the_histogram_is_drawn_as_it_is(self, histogram):
        _, edges, counts = histogram
        cells = Cells.from_histogram(edges, counts)
        fit = fit_mixture(cells, n_components=2)
        scene = Scene.of(fit.mixture, cells.x, cells.err, cells.weights, bins=cells.edges)
        drawn = scene.edges(fit.mixture)
        assert set(drawn) <= set(edges)
        places = np.searchsorted(edges, drawn)
        np.testing.assert_allclose(scene.counts(drawn), counts[places[0] : places[-1]], rtol=1e-12)
        np.testing.assert_allclose(
            scene.histogram(drawn), counts[places[0] : places[-1]] / counts.sum() / 0.5, rtol=1e-12
        )
        transform = integral_transform(fit, scene)
        np.testing.assert_allclose(transform[:, 1], fit.mixture.cdf(scene.bins[:, 1]), rtol=1e-14)
        for draw in (draw_mixture, draw_quality):
            figure = draw(fit, cells.x, cells.err, cells.weights, label="c / r / z", unit=None, bins=cells.edges)
            assert isinstance(figure, Figure)

    @campaign
    def test_figures_of_a_run(self, histogram, tmp_path):
        """From fit.json and members.parquet, as a run draws them."""
        path, edges, counts = histogram
        assert run("fit", path, "--bins", "lo,hi,n", "--n-components", 2, "--out", tmp_path / "out").exit_code == 0
        names = ("mixture", "selection", "classes", "quality", "estimators")
        files = {name: [str(tmp_path / f"{name}.png")] for name in names}
        made = [str(tmp_path / "out" / name) for name in ("fit.json", "members.parquet")]
        draw_figures(code_hash("figures"), *made, **files, curves=str(tmp_path / "curves.json"))
        curves = json.loads((tmp_path / "curves.json").read_text(encoding="utf-8"))
        places = np.searchsorted(edges, curves["edges"])
        np.testing.assert_array_equal(edges[places], curves["edges"])
        np.testing.assert_allclose(curves["counts"], counts[places[0] : places[-1]], atol=1e-9)
        # The counts are those of a right fit, rounded.
        assert np.abs(curves["residual"]).max() < 0.5
        np.testing.assert_allclose(curves["pit"]["ratio"], 1.0, atol=0.1)
