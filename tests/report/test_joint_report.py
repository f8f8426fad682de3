"""The page of a run with a joint fit."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from mixpipe.assess.joint_transforms import JointQuality, Transforms
from mixpipe.model.joint.cells import JointCells
from mixpipe.model.mixture import Mixture
from mixpipe.report.entries import JointEntry, ReleaseChange, Rows
from mixpipe.report.figures.joint_curves import joint_curves
from mixpipe.report.figures.joint_scene import JointScene
from mixpipe.report.joint_plots import joint_plots
from mixpipe.results.joint_tables import read_joint_fit
from mixpipe.results.tables import records_table
from tests.records import joint_record
from tests.report.test_report import SVG, Page, written

EVIL = "<script>document.title = 1</script>"


def joint_entry(folder, names=("a", "pm_b")):
    """The entry of a record, with numbers of figures, which are made of some rows."""
    record = joint_record(names=names)
    fit = read_joint_fit(record)
    rng = np.random.default_rng(4)
    x = fit.mixture.sample(150, rng) + 0.5 * rng.normal(size=(150, 2))
    x[::10, 1] = np.nan
    cells = JointCells.from_rows(x, err=0.5, names=names)
    transforms = Transforms(fit.mixture)
    transforms.add(cells.x, cells.cov, cells.weights)
    own = {names[1]: Mixture([1.0], [0.0], [3.0])}
    curves = joint_curves(JointScene.of(fit.mixture, cells), transforms, own, "N = 150")
    figures = {}
    for name in ("corner", "quality"):
        figures[name] = folder / f"{name}.svg"
        figures[name].write_bytes(SVG)
    intervals = [
        {"method": "information", "component": 1, "parameter": name, "estimate": 1.0, "level": 0.68, "lower": 0.5,
         "upper": 2.0}
        for name in ("weight", f"mean_{names[0]}")
    ]  # fmt: skip
    return JointEntry(
        catalog="stars",
        release="dr1",
        column="both",
        unit=None,
        account=Rows(210, 200, {"cut": 10}),
        summary={
            "n_data": 200.0, "n_components": 2, "criterion": "bic", "loglik": -700.0, "bic": 1458.0, "converged": True,
            "ks": 0.05, "ks_pvalue": 0.2, "verdict": "rejected", "pvalue_floor": 0.005,
        },
        figures=figures,
        selection=records_table(record.selection),
        intervals=pd.DataFrame(intervals),
        curves=json.loads(json.dumps(curves, default=np.ndarray.tolist).replace("NaN", "null")),
        fit=fit,
        units=record.units,
        quality=tuple(
            JointQuality(one.name, one.n_rows, one.ks, np.nan if one.ks_pvalue is None else one.ks_pvalue)
            for one in record.quality
        ),
        patterns=tuple((one.columns, one.n_rows) for one in record.patterns),
        unusable=record.unusable,
        alone=({
            "name": names[1], "unit": None, "n_components": 2, "mean": -1.0, "width": 2.966, "n_components_alone": 1,
            "mean_alone": 1.5, "width_alone": 0.5,
        },),
    )  # fmt: skip


@pytest.fixture
def entry(tmp_path):
    return joint_entry(tmp_path)


def test_the_overview_has_the_verdict_and_the_table_the_lowest_p_value(tmp_path, entry):
    page = Page(written(tmp_path, [entry]))
    assert ["", "bothstars / dr1", "", "200", "2", "rejected", "none"] in page.cells
    assert any(row[:1] == ["principal axis"] and "≤ 0.0050" in row for row in page.cells)
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    named = [attrs["aria-labelledby"] for _, attrs in page.elements if "aria-labelledby" in attrs]
    assert all(name in ids for name in named)


def test_components_have_every_column_with_correlations_and_what_has_no_width(tmp_path, entry):
    page = Page(written(tmp_path, [entry]))
    assert ["1", "0.600 ± 0.035", "a[mas]", "0.00 ± 0.10", "1.000 ± 0.050", ""] in page.cells
    assert ["pm_b", "1.00 ± 0.20", "2.000 ± 0.060", "0.50 ± 0.10"] in page.cells
    assert ["2", "0.400 ± 0.035", "a[mas]", "6.00 ± 0.10", "0.000 ± 0.050", ""] in page.cells
    assert ["", "no width resolved in 1 of 2 directions: along a, σ < 0.250 mas (95 %)"] in page.cells


def test_a_direction_between_columns_is_told_with_its_parts(entry):
    directions = (np.empty((0, 2)), np.array([[0.6, -0.8]]))
    fit = replace(entry.fit, null_directions=directions, null_limits=(np.empty(0), np.array([np.nan])))
    assert replace(entry, fit=fit).components()[1]["remark"] == (
        "no width resolved in 1 of 2 directions: along −0.600 a + 0.800 pm_b"
    )


def test_quality_is_told_in_words_and_gaps_and_own_fits_in_tables(tmp_path, entry):
    page = Page(written(tmp_path, [entry]))
    for row in (
        ["a", "200", "0.0400", "0.30", "ok, off by at most 4 % of the rows: as much as by chance"],
        ["principal axis", "180", "0.090", "≤ 0.0050", "rejected, off by at most 9 % of the rows: clear"],
        ["distance", "200", "0.0300", "–", "untested, off by at most 3 % of the rows: clear"],
        ["pm_b", "−1.000", "1.500", "2.966", "0.500", "2", "1"],
        ["all columns", "180"],
        ["a", "20"],
        ["pm_b: missing value", "17"],
        ["pm_b: bad error", "3"],
        ["Dropped: cut", "10"],
        ["Used", "200"],
        ["2", "11", "−700.00", "1,458.00", "1,422.00", "1,460.00", "0.00", "1.0", "chosen"],
        ["1", "mean_a[mas]", "1.00", "0.50 to 2.00"],
    ):
        assert row in page.cells, row


def test_plots_are_those_of_the_figures(tmp_path, entry):
    pair, a, b, selection, uniformity = (plot["figure"] for plot in joint_plots(entry))
    points, *ellipses, numbers = pair["data"]
    assert numbers["text"] == ["<b>1</b>", "<b>2</b>"] and numbers["x"] == [0.0, 6.0] and numbers["y"] == [1.0, -4.0]
    # Fifteen rows of 150 lack one of the columns.
    assert len(points["x"]) == 135 and pair["layout"]["xaxis"]["title"]["text"] == "a [mas]"
    assert [each["line"]["dash"] for each in ellipses] == ["solid", "dash"] * 2
    # 1 sigma and 2 sigma of the first component, one after the other.
    place = ellipses[0]["x"].index(None)
    assert max(ellipses[0]["x"][:place]) == pytest.approx(1.0, abs=2e-3)
    assert max(ellipses[0]["x"][place + 1 :]) == pytest.approx(2.0, abs=4e-3)
    names = [trace["name"] for trace in b["data"]]
    assert names == ["data", "mixture, as observed", "mixture, errors removed", "column fitted alone"]
    assert "column fitted alone" not in [trace["name"] for trace in a["data"]]
    assert sum(trace for trace in b["data"][0]["customdata"]) == 135
    assert [trace["name"] for trace in selection["data"]] == ["BIC", "AIC", "ICL"]
    assert [trace["name"] for trace in uniformity["data"]] == ["a", "pm_b", "principal axis", "distance"]
    assert [plot["lead"] for plot in joint_plots(entry)] == [True, False, False, False, False]
    page = Page(written(tmp_path, [entry]))
    assert len([attrs for attrs in page.all("div") if attrs.get("class") == "plot"]) == 5
    # The corner figure is shown at once, the others are folded.
    assert [attrs["alt"].split(":")[0] for attrs in page.all("img")] == ["a, pm_b", "Quality of the fit"]


def test_a_fit_without_curves_has_the_selection_alone(entry):
    assert len(joint_plots(replace(entry, curves=None))) == 1


def test_axes_have_the_labels_that_are_set(entry):
    first, second = entry.curves["columns"]
    curves = entry.curves | {"columns": [first | {"label": "spin"}, second | {"label": "$\\mu$"}]}
    pair, *columns = joint_plots(replace(entry, curves=curves))[:3]
    axes = pair["figure"]["layout"]
    # What is set in TeX stays the name of the column.
    assert (axes["xaxis"]["title"]["text"], axes["yaxis"]["title"]["text"]) == ("spin [mas]", "pm_b")
    assert [plot["figure"]["layout"]["xaxis"]["title"]["text"] for plot in columns] == ["spin [mas]", "pm_b"]


def test_logarithmic_columns_have_logarithmic_axes(entry):
    for column in entry.curves["columns"]:
        even = {name: np.geomspace(0.01, 100.0, len(column[name])).tolist() for name in ("x", "edges")}
        column |= {"log": True, "range": [0.01, 100.0], **even}
    pair, *_ = (plot["figure"] for plot in joint_plots(entry))
    assert [pair["layout"][axis]["type"] for axis in ("xaxis", "yaxis")] == ["log", "log"]
    assert pair["layout"]["yaxis"]["range"] == [-2.0, 2.0] and pair["layout"]["yaxis"]["title"]["text"] == "pm_b"
    assert all(value is None or value > 0.0 for trace in pair["data"] for value in trace["y"])


def test_names_of_columns_stay_words(tmp_path):
    entry = joint_entry(tmp_path, (EVIL, "b"))
    text = written(tmp_path, [entry])
    assert EVIL not in text and any(EVIL in "".join(row) for row in Page(text).cells)
    plots = "".join(json.dumps(plot["figure"]) for plot in joint_plots(entry))
    assert "<script>" not in plots and "&lt;script" in plots


def test_a_comparison_of_joint_fits_stands_beside_that_of_columns(tmp_path, entry):
    row = {
        "catalog": "stars", "old": "dr0", "new": "dr1", "column": "both", "verdict": "shifted", "shifted": "mean_a 1",
        "evidence": "p = 0.001", "threshold": "0.05", "hints": "", "n_components_old": 2, "n_components_new": 2,
        "n_old": 200, "n_new": 200, "n_common": 0.0, "n_revised": 0.0, "distance": 0.3, "significance": 6.0, "note": "",
        "delta_bic": np.nan,
    }  # fmt: skip
    difference = {
        "column": "both", "status": "matched", "component_old": 1, "component_new": 1, "parameter": "mean_a",
        "old": 1.0, "old_unc": 0.1, "new": 1.8, "new_unc": 0.1, "difference": 0.8, "joint_unc": 0.14,
        "significance": 5.7, "finding": "shifted",
    }  # fmt: skip
    columns = pd.DataFrame([{**row, "column": "a", "verdict": "unchanged", "shifted": ""}])
    overlay = entry.figures["quality"]
    changes = [
        ReleaseChange("stars", "dr0", "dr1", columns, pd.DataFrame([{**difference, "column": "a"}]), overlay),
        ReleaseChange("stars", "dr0", "dr1", pd.DataFrame([row]), pd.DataFrame([difference]), overlay, of_joints=True),
    ]
    page = Page(written(tmp_path, [entry], changes=changes))
    words = [word.strip() for word in page.words]
    assert "stars: dr0 → dr1" in words and "stars: dr0 → dr1, joint fits" in words
    assert ["1 → 1", "mean_a[mas]", "1.00 ± 0.10", "1.80 ± 0.10", "0.80 ± 0.14", "5.7", "shifted"] in page.cells
