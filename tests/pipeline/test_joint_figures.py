"""Figures and tables of a run's joint fits, from their files."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mixpipe.pipeline.account import account_release
from mixpipe.pipeline.joint_figures import draw_joint_figures
from mixpipe.pipeline.report import joint_settings, render_report
from mixpipe.pipeline.summary import summarise
from mixpipe.results.provenance import code_hash
from mixpipe.results.record import EstimateRow
from tests.records import failed_record, fit_record, joint_record

FIGURES = ("corner", "selection", "quality")


def write_members(path, record, n_rows=200):
    """Rows of the mixture of a record, 20 of which lack the second column."""
    rng = np.random.default_rng(5)
    first = np.arange(n_rows) < 0.6 * n_rows
    a = np.where(first, rng.normal(0.0, 1.0, n_rows), 6.0) + 0.5 * rng.normal(size=n_rows)
    b = np.where(first, rng.normal(1.0, 2.0, n_rows), rng.normal(-4.0, 1.0, n_rows)) + 0.5 * rng.normal(size=n_rows)
    gap = np.arange(n_rows) % 10 == 0
    one, other = record.names
    table = {
        f"value_{one}": a,
        f"err_{one}": np.full(n_rows, 0.5),
        f"value_{other}": pa.array(b, mask=gap),
        f"err_{other}": pa.array(np.full(n_rows, 0.5), mask=gap),
        f"err_corr_{one}_{other}": np.zeros(n_rows),
    }
    # Groups of rows are as long as no step between rows that are drawn.
    pq.write_table(pa.table(table), path, row_group_size=64)
    return a, np.where(gap, np.nan, b)


def draw(folder, record, columns=(), **settings):
    record.write(folder / "fit.json")
    paths = {name: [str(folder / f"{name}.{kind}") for kind in ("png", "svg")] for name in FIGURES}
    draw_joint_figures(
        code_hash("joint_figures"),
        str(folder / "fit.json"),
        str(folder / "members.parquet"),
        columns,
        **paths,
        curves=str(folder / "curves.json"),
        **settings,
    )
    return json.loads((folder / "curves.json").read_text())


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a joint fit with its figures, and that of one of its columns that is fitted alone."""
    folder = tmp_path_factory.mktemp("run")
    for name in ("both", "pm_b"):
        (folder / name).mkdir()
    estimate = EstimateRow(estimator="em", component=1, weight=1.0, mean=1.5, sigma=0.5, loglik=-1.0)
    fit_record(column="pm_b", selection=joint_record().selection, estimators=(estimate,)).write(
        folder / "pm_b/fit.json"
    )
    write_members(folder / "both/members.parquet", joint_record())
    draw(folder / "both", joint_record(), [str(folder / "pm_b/fit.json")])
    return folder


def test_figures_and_their_numbers_are_written(run, tmp_path):
    a, b = write_members(tmp_path / "again.parquet", joint_record())
    curves = json.loads((run / "both/curves.json").read_text())
    for name in FIGURES:
        assert (run / f"both/{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (run / f"both/{name}.svg").read_bytes().startswith(b"<?xml")
    points = np.array(curves["points"], dtype=np.float64)
    np.testing.assert_allclose(points, [a, b])
    assert [sum(column["counts"]) for column in curves["columns"]] == [200, 180]
    # The fit of pm_b alone is one component at 1.5 of width 0.5; errors are 0.5.
    alone = curves["columns"][1]
    x = np.array(alone["x"])
    expected = np.exp(-0.5 * (x - 1.5) ** 2 / 0.5) / np.sqrt(np.pi)
    np.testing.assert_allclose(alone["own"], expected, atol=1e-4)
    assert curves["columns"][0]["own"] is None
    ellipse = np.array(curves["ellipses"][0]["observed"][1])
    np.testing.assert_allclose(ellipse.max(axis=1), [6.5, -4.0 + np.hypot(1.0, 0.5)], rtol=2e-3)


def test_labels_of_columns_are_among_the_numbers(tmp_path):
    write_members(tmp_path / "members.parquet", joint_record())
    looks = '{"style": {}, "columns": {"pm_b": {"label": "proper motion"}}}'
    curves = draw(tmp_path, joint_record(), looks=looks)
    assert [column["label"] for column in curves["columns"]] == [None, "proper motion"]


def test_of_more_rows_evenly_spaced_ones_are_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr("mixpipe.pipeline.joint_figures._MOST_ROWS", 90)
    a, _ = write_members(tmp_path / "members.parquet", joint_record())
    curves = draw(tmp_path, joint_record())
    np.testing.assert_allclose(curves["points"][0], a[::3])
    assert "67 of 200 rows drawn" in curves["note"]


def test_a_failed_joint_fit_has_figures_that_say_so(tmp_path):
    curves = draw(tmp_path, failed_record(kind="joint", column="both"))
    assert curves == {}
    assert all((tmp_path / f"{name}.{kind}").stat().st_size > 0 for name in FIGURES for kind in ("png", "svg"))


def test_the_page_of_a_run_has_the_joint_fit_beside_the_fits_of_its_columns(run, tmp_path):
    folders = [run / "pm_b", run / "both"]
    render_report(
        code_hash("report"),
        "snakemake",
        "{}",
        [str(folder / "fit.json") for folder in folders],
        [str(run / f"both/{name}.svg") for name in FIGURES],
        [str(run / "both/curves.json")],
        [],
        str(tmp_path / "report.html"),
    )
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    # Of the mixture: mean 0.6 * 1 - 0.4 * 4 = -1, variance 0.6 * (4 + 4) + 0.4 * (1 + 9) = 8.8.
    row = "<td>−1.000</td><td>1.500</td><td>2.966</td><td>0.500</td><td>2</td><td>1</td>"
    assert row in page
    assert "Columns fitted jointly and alone" in page and "A ± e_A" in page


def test_tables_of_the_run_have_the_joint_fit(tmp_path):
    joint_record().write(tmp_path / "joint.json")
    fit_record().write(tmp_path / "one.json")
    fits = [str(tmp_path / "one.json"), str(tmp_path / "joint.json")]
    summarise(code_hash("summary"), fits, [], str(tmp_path / "summary.csv"))
    row = pd.read_csv(tmp_path / "summary.csv", keep_default_na=False).iloc[1]
    # KS of the column where it is largest; the verdict is by the lowest p-value, that of the principal axis.
    expected = {"kind": "joint", "column": "both", "unit": "mas; ", "n_components": 2, "quality": "rejected"}
    assert {name: row[name] for name in expected} == expected
    assert [float(row[name]) for name in ("loglik", "bic", "ks", "ks_pvalue")] == [-700.0, 1458.0, 0.05, 0.2]
    account_release(code_hash("account"), fits, str(tmp_path / "input.csv"), str(tmp_path / "ingest"), [])
    row = pd.read_csv(tmp_path / "input.csv", keep_default_na=False).iloc[1]
    expected = {
        "column": "both", "n_read": 210, "n_used": 200, "dropped_cut": 10, "unit": "mas; ",
        "value": "A; pm_b", "error": "e_A; lo/up",
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected


def test_settings_of_a_joint_fit_are_said_in_words():
    entry = joint_record().plan["column"]
    assert joint_settings(entry) == {
        "columns": "a: A ± e_A; pm_b: pm_b ± lo / up (error_floor 0.01)",
        "correlation of the errors": "a and pm_b: rho",
        "missing values": "rows with some of the columns are used",
        "structure of the covariances": "full",
        "max_components": 2,
    }
    others = {
        "linear": [["sum", [1.0, 1.0]], ["difference", [0.5, -2.0]]], "covariance": ["c"], "correlation": [],
        "missing": "drop", "weight": "w",
    }  # fmt: skip
    words = joint_settings({**entry, **others})
    assert words["combinations"] == "sum = 1 × a +1 × pm_b; difference = 0.5 × a −2 × pm_b"
    assert words["covariance of the errors"] == "c" and words["weight"] == "w"
    assert "left out" in words["missing values"]
