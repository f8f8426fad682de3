"""Selections of a sample in files: bounds of each row, holes, and probabilities of detection."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from astropy.table import Table
from click.testing import CliRunner

from mixpipe import cli
from mixpipe.base.errors import CatalogError
from mixpipe.catalog.columns import prepare_column
from mixpipe.catalog.required import required_columns
from mixpipe.config.settings import ColumnSettings
from mixpipe.pipeline.compare import read_stored
from mixpipe.pipeline.figures import draw_figures
from mixpipe.pipeline.plan.texts import FitPlan, read_fit_plan, recorded, to_text
from mixpipe.results.provenance import code_hash
from tests.campaign import mostly_campaign

NAN, INF = math.nan, math.inf
TABLE = ((-1.0, 0.0, 2.0), (0.0, 0.2, 1.0))


def run(*args):
    return CliRunner().invoke(cli.main, [str(arg) for arg in args], prog_name="mixpipe")


def prepare(columns, **settings):
    return prepare_column(Table(columns), ColumnSettings("x", "x", **settings))


def counts(data):
    return {reason: count for reason, count in data.dropped.items() if count}


class TestColumns:
    def test_each_row_has_its_bound(self):
        data = prepare({"x": [1.0, 2.0, 3.0, 4.0], "low": [0.5, 2.5, NAN, -INF]}, truncated=("low", INF))
        assert counts(data) == {"missing_bound": 1, "outside": 1}
        assert data.x.tolist() == [1.0, 4.0]
        np.testing.assert_array_equal(data.window.low, [[0.5], [-INF]])
        assert data.cells().window == data.window
        assert required_columns([ColumnSettings("x", "x", truncated=("low", INF))]) == ("x", "low")

    def test_bounds_are_converted_and_transformed(self):
        table = Table({"x": [1.0, 10.0], "low": [100.0, 2000.0]})
        table["x"].unit, table["low"].unit = "m", "cm"
        data = prepare_column(table, ColumnSettings("x", "x", truncated=("low", INF), unit="m", transform="log10"))
        assert counts(data) == {"outside": 1}
        assert data.window.low[0, 0] == pytest.approx(0.0)

    def test_holes(self):
        data = prepare({"x": [1.0, 3.5, 4.0, 5.0, 6.0]}, truncated=((-INF, 3.0), (5.0, INF)))
        assert counts(data) == {"outside": 2}
        assert data.account.truncated == (-INF, INF)

    def test_bounds_in_the_wrong_order_leave_nothing(self):
        data = prepare({"x": [1.0, 1.0], "a": [0.0, 2.0], "b": [2.0, 0.0]}, truncated=("a", "b"))
        assert counts(data) == {"outside": 1}

    def test_rows_where_nothing_is_detected_are_dropped(self):
        data = prepare({"x": [-2.0, -0.5, 1.0]}, detection=TABLE)
        assert counts(data) == {"outside": 1}
        np.testing.assert_allclose(data.window.probability(data.x), [0.1, 0.6])

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"truncated": ("nowhere", INF)}, "no column 'nowhere'"),
            ({"detection": TABLE, "transform": "ln"}, "detection at -1"),
            ({"truncated": (-1.0, INF), "transform": "ln"}, "truncated at -1"),
        ],
    )
    def test_what_cannot_be_is_refused(self, settings, message):
        with pytest.raises(CatalogError, match=message):
            prepare({"x": [1.0, 2.0]}, **settings)

    def test_limits_are_refused_beside_detection(self):
        with pytest.raises(CatalogError, match="1 limits in a sample that is incomplete by `detection`"):
            prepare({"x": ["1", "<2"]}, detection=TABLE)


@pytest.mark.parametrize("truncated", [("low", INF), (0.5, INF), (("low", 3.0), (5.0, "high")), None])
def test_plans_keep_windows(truncated):
    plan = FitPlan(
        catalog="c",
        release="r",
        files=(),
        reading={},
        key=None,
        where=None,
        column=ColumnSettings("x", "x", truncated=truncated, detection=TABLE),
        criterion="bic",
        effort={},
        code="",
    )
    assert read_fit_plan({**recorded(to_text(plan)), "effort": {}}).column == plan.column


@pytest.fixture
def catalog(tmp_path):
    """A normal population of which each row has a flux limit and a probability of detection."""
    rng = np.random.default_rng(2)
    n = 3000
    x, low = rng.normal(1.0, math.hypot(1.0, 0.3), n), rng.normal(0.3, 0.5, n)
    path = tmp_path / "c.csv"
    pd.DataFrame({"m": x, "low": low, "u": rng.random(n)}).to_csv(path, index=False)
    pd.DataFrame({"value": TABLE[0], "probability": TABLE[1]}).to_csv(tmp_path / "table.csv", index=False)
    return path


OPTIONS = {
    "rows": ["--truncated", "low,"],
    "hole": ["--truncated", ",0.5;1.5,"],
    "pairs": ["--detection", "-1:0,0:0.2,2:1"],
    "file": ["--detection", "table.csv"],
}


@pytest.mark.parametrize("kind", mostly_campaign(OPTIONS, "rows"))
def test_a_fit_of_a_selected_sample_and_what_is_made_of_it(catalog, kind):
    folder, table = catalog.parent / "out", pd.read_csv(catalog)
    x = table["m"].to_numpy()
    options = [str(catalog.parent / option) if option == "table.csv" else option for option in OPTIONS[kind]]
    if kind in ("pairs", "file"):
        table[table["u"] < np.interp(x, *TABLE)].to_csv(catalog, index=False)
    whole = ["fit", catalog, "--value", "m", "--error", "0.3", "--n-components", 1, *options, "--seed", 1]
    result = run(*whole, "--json", "--out", folder)
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    (component,) = document["components"]
    assert component["mean"] == pytest.approx(1.0, abs=4.0 * component["mean_unc"])
    assert component["sigma"] == pytest.approx(1.0, abs=4.0 * component["sigma_unc"])
    if kind == "rows":
        assert document["n_dropped"]["outside"] == np.count_nonzero(x < table["low"])
    # The stored fit has the rows and the window; its figures are those of the command line.
    stored = read_stored(folder)
    assert stored.fitted.cells.window is not None and not stored.fitted.cells.window.is_interval
    assert stored.fitted.cells.n_data == document["n_data"]
    names = ("mixture", "selection", "classes", "quality", "estimators")
    pictures = {name: [str(folder / f"again_{name}.svg")] for name in names}
    curves = folder / "curves.json"
    draw_figures(
        code_hash("figures"),
        str(folder / "fit.json"),
        str(folder / "members.parquet"),
        **pictures,
        curves=str(curves),
    )
    assert (folder / "again_mixture.svg").read_bytes() == (folder / "mixture.svg").read_bytes()
    drawn = json.loads(curves.read_text())
    # The residuals of a right fit are standard normal, and the observed density follows the histogram.
    assert np.sqrt(np.mean(np.square(drawn["residual"]))) < 1.6
    assert np.all(np.abs(np.array(drawn["pit"]["ratio"]) - 1.0) < 0.6)
    edges, density = np.array(drawn["edges"]), np.array(drawn["density"])
    observed = np.interp(0.5 * (edges[1:] + edges[:-1]), drawn["x"], drawn["observed"])
    assert np.sum(np.abs(density - observed) * np.diff(edges)) < 0.15 * np.sum(density * np.diff(edges))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--detection", "nowhere.csv"], "no file nowhere.csv"),
        (["--detection", "1:0,2"], "expected V:P,V:P,..., or a file"),
        (["--detection", "1:0,2:7"], "in option --detection"),
        (["--detection", "1:0,nan:1"], "in option --detection"),
        (["--detection", "1:nan,2:1"], "in option --detection"),
        (["--truncated", "nan,"], "in option --truncated"),
        (["--truncated", "3,2"], "two increasing numbers"),
        (["--truncated", "3,4;2,5"], "pairs of increasing numbers"),
        (["--truncated", "flux_limit,"], "no column 'flux_limit'"),
    ],
)
def test_mistakes_end_in_one_line(catalog, options, message):
    result = run("fit", catalog, "--value", "m", *options)
    assert result.exit_code == 2
    assert message in result.stderr and result.stderr.count("\n") == 1
