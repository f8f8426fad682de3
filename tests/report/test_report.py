"""The report: one page that holds everything, shows every fit, and runs nothing that it was given."""

import base64
import json
import math
import re
import zlib
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from mixpipe.model.bimodality import Bimodality
from mixpipe.model.estimate import Estimate
from mixpipe.model.mixture import Mixture
from mixpipe.model.results import FitResult, Selection, Uncertainties
from mixpipe.pipeline.summary import summarise
from mixpipe.report.entries import DensityEntry, ReleaseChange, ReportEntry, Rows
from mixpipe.report.figures import fit_curves
from mixpipe.report.libraries import script_hash
from mixpipe.report.page import write_report
from mixpipe.report.plots import density_plots, fit_plots
from mixpipe.report.traces import simplified
from mixpipe.results.provenance import code_hash
from mixpipe.results.tables import components_table
from tests.records import fit_record

VOID = {"meta", "img", "br", "hr", "link", "input"}
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'
PROVENANCE = {
    "command": "snakemake --configfile config/config.yaml --cores all",
    "config": None,
    "versions": {"mixpipe": "0.1.0", "python": "3.11.2"},
    "settings": {"criterion": "bic", "estimators": ("em", "moments")},
    "inputs": [{"path": "config/demo/a.csv", "sha256": "0f" * 32}],
}


class Page(HTMLParser):
    """Elements, attributes and words of a page; complains of elements that are not closed in order."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.open, self.cells, self.words = [], [], [], []
        # Scripts are long, and nothing to read.
        self.feed(re.sub(r'(<script(?: type="module")?>).*?(?=</script>)', r"\1", text, flags=re.DOTALL))
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.cells.append([])
        if tag in ("td", "th"):
            self.cells[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if {"style", "script"} & set(self.open):
            return
        self.words.append(data)
        if {"td", "th"} & set(self.open):
            self.cells[-1][-1] += data.strip()

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


@pytest.fixture
def entry(tmp_path):
    mixtures = [Mixture(np.full(m, 1 / m), 1.0 + np.arange(m), np.ones(m)) for m in (1, 2, 3)]
    fits = tuple(
        FitResult(each, "em", -10.0 / m, 0.0, 50, 3 * m - 1, converged=m < 3)
        for m, each in enumerate(mixtures, start=1)
    )
    mixture = Mixture([0.72, 0.28], [1.3456, 1.782], [0.0784, 0.0])
    unc = Uncertainties([0.11, 0.11], [0.0123, 0.034], [0.011, np.nan])
    fit = replace(fits[1], mixture=mixture, uncertainties=unc, boundary=[False, True])
    figures = {}
    for name in ("classes", "mixture"):
        figures[name] = tmp_path / f"{name}.svg"
        figures[name].write_bytes(SVG)
    return ReportEntry(
        catalog="neutron_stars",
        release="2018",
        column="mass",
        unit="Msun",
        components=components_table(fit, "Msun"),
        selection=Selection(fits).table(),
        account=Rows(12345, 12338, {"missing value": 4, "no error": 3}),
        summary={
            "n_data": 12338.0,
            "n_components": 2,
            "criterion": "bic",
            "loglik": -5.25,
            "bic": 1234.567,
            "converged": True,
            "ks": 0.05,
            "ks_pvalue": 0.314,
            "ad_pvalue": 0.004,
            "verdict": "rejected",
        },
        figures=figures,
        answer=("two populations", "72 ± 11 % at 1.346 ± 0.012 Msun"),
        evidence=("12,338 rows (7 dropped)", "fit rejected: p = 0.004"),
    )


def unpacked(letters):
    return zlib.decompress(base64.b64decode(letters)).decode("utf-8")


def written(tmp_path, entries, provenance=PROVENANCE, changes=()):
    write_report(tmp_path / "report.html", entries, provenance, changes)
    return (tmp_path / "report.html").read_text(encoding="utf-8")


def test_overview_has_a_row_for_each_fit_and_links_that_lead_somewhere(tmp_path, entry):
    page = Page(written(tmp_path, [entry, replace(entry, release="2024")]))
    answer = "Two populations:72 ± 11 % at 1.346 ± 0.012 Msun12,338 rows (7 dropped); fit rejected: p = 0.004."
    rows = [[cell.replace("\N{NO-BREAK SPACE}", " ") for cell in row] for row in page.cells]
    assert ["", "massneutron_stars / 2018", answer, "12,338", "2", "rejected", "none"] in rows
    assert ["", "massneutron_stars / 2024"] in [row[:2] for row in rows]
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    targets = [attrs["href"] for attrs in page.all("a")]
    assert len(targets) >= 3 and all(target[1:] in ids for target in targets)
    named = [attrs["aria-labelledby"] for _, attrs in page.elements if "aria-labelledby" in attrs]
    assert all(name in ids for name in named)


def test_components_have_uncertainties_and_the_unit(tmp_path, entry):
    page = Page(written(tmp_path, [entry]))
    assert ["1", "0.72 ± 0.11", "1.346 ± 0.012", "0.078 ± 0.011", ""] in page.cells
    second = next(row for row in page.cells if row[:2] == ["2", "0.28 ± 0.11"])
    assert second[2:4] == ["1.782 ± 0.034", "0"] and "lower bound" in second[4]
    assert ["Component", "Weight", "Mean[Msun]", "σ[Msun]", "Remark"] in page.cells


def test_selection_and_rows_are_shown(tmp_path, entry):
    page = Page(written(tmp_path, [entry]))
    # BIC by hand: n_params ln 50 - 2 loglik.
    table = {row[0]: row for row in page.cells if len(row) == 9}
    assert table["1"][3] == f"{2 * np.log(50) + 20:.2f}" and table["2"][3] == f"{5 * np.log(50) + 10:.2f}"
    chosen = [row for row in page.cells if len(row) == 9 and "chosen" in row[8]]
    assert [row[0] for row in chosen] == ["1"]
    assert "not converged" in table["3"][8] and table["2"][8] == ""
    for row in (["Read", "12,345"], ["Dropped: missing value", "4"], ["Dropped: no error", "3"], ["Used", "12,338"]):
        assert row in page.cells


def test_figures_are_inside_the_page_with_alternative_texts(tmp_path, entry):
    page = Page(written(tmp_path, [entry]))
    images = page.all("img")
    assert len(images) == 2
    for image in images:
        kind, content = image["src"].split(",")
        assert kind == "data:image/svg+xml;base64" and base64.b64decode(content) == SVG
        assert "neutron_stars / 2018 / mass, 2 components at 1.3456, 1.782 Msun." in image["alt"]
    assert images[0]["alt"].startswith("Data") and images[1]["alt"].startswith("Probability")


def test_nothing_comes_from_elsewhere(tmp_path, entry):
    text = written(tmp_path, [entry])
    page = Page(text)
    assert not {"link", "iframe", "object", "base", "form"} & {tag for tag, _ in page.elements}
    assert not any("src" in attrs for attrs in page.all("script"))
    assert not [name for _, attrs in page.elements for name in attrs if name.startswith("on")]
    outside = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert not re.search(r"https?://|@import|url\(", outside)


def test_only_the_scripts_of_the_page_may_run(tmp_path, entry):
    text = written(tmp_path, [entry])
    policy = next(attrs["content"] for attrs in Page(text).all("meta") if "http-equiv" in attrs)
    allowed = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    scripts = re.findall(r"<script(?: type=\"module\")?>(.*?)</script>", text, flags=re.DOTALL)
    plotly = unpacked(re.search(r'<script type="text/plain" id="plotly">(.*?)</script>', text)[1])
    assert allowed["default-src"] == "'none'" and len(scripts) == 2 and "Plotly" in plotly
    assert allowed["script-src"].split() == [script_hash(script) for script in (plotly, *scripts)]


EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{ 7 * 7 }}"


def test_names_from_catalogs_and_settings_are_only_text(tmp_path, entry):
    clean = Page(written(tmp_path, [replace(entry, warnings=("w",))], {**PROVENANCE, "config": "c"}))
    account = replace(entry.account, dropped={EVIL: 1, "no error": 3})
    bad = replace(
        entry, catalog=EVIL, release=EVIL, column=EVIL, unit=EVIL, warnings=(EVIL,), account=account,
        summary=entry.summary | {"criterion": EVIL},
    )  # fmt: skip
    provenance = {
        "command": EVIL,
        "config": EVIL,
        "versions": {EVIL: EVIL, "python": EVIL},
        "settings": {EVIL: (EVIL, EVIL), "b": EVIL},
        "inputs": [{"path": EVIL, "sha256": EVIL}],
    }
    text = written(tmp_path, [bad], provenance)
    page = Page(text)
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in clean.elements]
    assert [sorted(attrs) for _, attrs in page.elements] == [sorted(attrs) for _, attrs in clean.elements]
    assert "<script>alert" not in text and "49" not in "".join(page.words)
    assert EVIL in "".join(page.words)


def test_warnings_and_missing_numbers_are_told(tmp_path, entry):
    summary = entry.summary | {"converged": False, "loglik": None, "bic": float("nan")}
    del summary["ks_pvalue"], summary["ad_pvalue"], summary["verdict"]
    page = Page(written(tmp_path, [replace(entry, summary=summary, warnings=("two components overlap",))]))
    row = next(row for row in page.cells if row[1:2] == ["massneutron_stars / 2018"])
    assert row[4:] == ["2", "untested", "2"]
    assert "two components overlap" in page.words and "The chosen fit did not converge." in page.words


def test_many_fits_are_folded_and_few_are_open(tmp_path, entry):
    def sections(page):
        return [attrs for attrs in page.all("details") if attrs["class"] == "section"]

    assert all("open" in attrs for attrs in sections(Page(written(tmp_path, [entry]))))
    folded = sections(Page(written(tmp_path, [entry] * 5)))
    assert len(folded) == 5 and not any("open" in attrs for attrs in folded)


def test_provenance_tells_how_to_repeat_the_run(tmp_path, entry):
    page = Page(written(tmp_path, [entry]))
    assert PROVENANCE["command"] in page.words
    assert ["config/demo/a.csv", "0f" * 32] in page.cells
    assert ["estimators", "em, moments"] in page.cells and ["mixpipe", "0.1.0"] in page.cells


def test_a_run_without_fits_is_a_page_too(tmp_path):
    assert "No column was fitted." in Page(written(tmp_path, [])).words


def test_bytes_repeat(tmp_path, entry):
    assert written(tmp_path, [entry]) == written(tmp_path, iter([entry]))


def test_a_failure_leaves_the_old_page(tmp_path, entry):
    page = tmp_path / "report.html"
    page.write_text("old")
    for figure in ("gone.svg", "figure.pdf"):
        broken = replace(entry, figures={"mixture": tmp_path / figure})
        with pytest.raises((OSError, ValueError), match=figure):
            write_report(page, [entry, broken], PROVENANCE)
        assert page.read_text() == "old"


def test_components_without_known_uncertainty_and_without_unit(tmp_path, entry):
    components = pd.DataFrame(entry.components).assign(weight_unc=np.nan, mean_unc=None)
    page = Page(written(tmp_path, [replace(entry, components=components, unit=None)]))
    assert next(row for row in page.cells if row[:3] == ["1", "0.72", "1.3456"])[3] == "0.078 ± 0.011"
    assert ["Component", "Weight", "Mean", "σ", "Remark"] in page.cells


# ----- certificate, intervals, comparison


def test_the_certificate_is_told(tmp_path, entry):
    selection = entry.selection.assign(
        gradient_max=[12.5, 0.25, 0.0], loglik_bound=[-3.0, -3.125, -3.0], bound_sigma=0.01, exact=[True, True, False]
    )
    page = Page(written(tmp_path, [replace(entry, selection=selection)]))
    told = " ".join(page.words)
    assert "σ of at least 0.01 Msun, has ln L above −3.12" in told  # the lowest of the bounds is one for all
    table = {row[0]: row for row in page.cells if len(row) == 10}
    assert [table[m][8] for m in "123"] == ["12.5", "0.25", "0"]
    assert "from a sketch" in table["3"][9] and "sketch" not in table["2"][9]


def test_fits_of_each_family_say_which_and_how_they_went(tmp_path, entry):
    selection = entry.selection.assign(family=["gaussian", "student_t", "student_t"])
    page = Page(written(tmp_path, [replace(entry, selection=selection)]))
    remarks = {row[0]: row[8] for row in page.cells if len(row) == 9 and row[0] in ("1", "2", "3")}
    assert remarks == {"1": "gaussian, chosen", "2": "student t", "3": "student t,not converged"}


def test_intervals_are_side_by_side(tmp_path, entry):
    intervals = pd.DataFrame(
        {
            "method": ["profile"] * 2,
            "component": [1] * 2,
            "parameter": ["mean"] * 2,
            "estimate": [1.5] * 2,
            "level": [0.68, 0.95],
            "lower": [1.25, 1.0],
            "upper": [1.75, np.nan],
        }
    )
    page = Page(written(tmp_path, [replace(entry, intervals=intervals)]))
    assert ["Component", "Parameter", "Estimate", "profile, 68 %", "profile, 95 %"] in page.cells
    # Two digits of half the width of the shortest interval, 0.25.
    assert ["1", "mean[Msun]", "1.50", "1.25 to 1.75", "1.00 to –"] in page.cells


def test_evidence_for_two_populations_is_a_table(tmp_path, entry):
    found = Bimodality(
        n_selected=3, family="gaussian", separation=3.25, separation_unc=0.5, likelihood_ratio=20.5,
        likelihood_ratio_pvalue=0.01, n_draws=99, dip=0.0625, dip_pvalue=0.25, kurtosis=-0.5,
        kurtosis_intrinsic=math.nan, n_values=57,
    )  # fmt: skip
    page = Page(written(tmp_path, [replace(entry, bimodality=found)]))
    assert ["separation (Ashman's D)", "3.25 ± 0.50", "", "above 2: clearly separated"] in page.cells
    assert ["2 ln(likelihood ratio)", "20.5", "≤ 0.01", "two components against one"] in page.cells
    assert ["dip", "0.0625", "0.25", "of 57 observed values: consistent with one mode"] in page.cells
    assert ["kurtosis", "−0.5", "", "of the observed values"] in page.cells
    assert ["kurtosis, errors removed", "–", "", "of the mixture"] in page.cells
    assert "two components (chosen: 3)" in "".join(page.words)
    doubtful = Page(written(tmp_path, [replace(entry, bimodality=replace(found, separation=2.4, dip_pvalue=0.01))]))
    assert ["separation (Ashman's D)", "2.40 ± 0.50", "", "above 2 by less than its uncertainty"] in doubtful.cells
    assert ["dip", "0.0625", "0.01", "of 57 observed values: more than one mode"] in doubtful.cells
    assert "Ashman" not in "".join(Page(written(tmp_path, [entry])).words)


@pytest.fixture
def change(tmp_path):
    overlay = tmp_path / "overlay.svg"
    overlay.write_bytes(SVG)
    summary = {
        "catalog": "neutron_stars", "old": "2016", "new": "2018", "column": "mass", "unit": "Msun",
        "verdict": "conclusion changed", "evidence": "p = 0.003; evidence 12.5 in BIC", "threshold": "0.05; 6",
        "shifted": "mean 1 (+3.1σ)", "hints": "sigma 1 (-2.2σ)",
        "n_components_old": 1.0, "n_components_new": 2.0, "delta_bic": 12.5,
        "distance": 0.25, "significance": 4.0, "n_old": 40.0, "n_new": 57.0, "n_common": np.nan, "n_revised": np.nan,
        "note": "taken for independent",
    }  # fmt: skip
    differences = {
        "column": ["mass", "mass", "other"], "status": ["matched", "appeared", "matched"],
        "component_old": [1, None, 7], "component_new": [1, 2, 7], "parameter": ["mean"] * 3,
        "old": [1.25, np.nan, 7.0], "old_unc": [0.125, np.nan, 7.0],
        "new": [1.5, 1.75, 7.0], "new_unc": [0.25, 0.25, 7.0],
        "difference": [0.25, np.nan, 7.0], "joint_unc": [0.25, np.nan, 7.0], "significance": [1.0, np.nan, 7.0],
        "finding": ["hint", "", "shifted"],
    }  # fmt: skip
    components = pd.DataFrame(differences).astype({"component_old": "Int64", "component_new": "Int64"})
    return ReleaseChange("neutron_stars", "2016", "2018", pd.DataFrame([summary]), components, overlay)


def test_what_changed_between_releases_is_told_three_times(tmp_path, entry, change):
    page = Page(written(tmp_path, [entry, replace(entry, column="other")], changes=[change]))
    rows = [row for row in page.cells if row[1:] and row[1].endswith("neutron_stars / 2018")]
    overview = {row[1].removesuffix("neutron_stars / 2018"): row[6] for row in rows}
    basis = "p = 0.003, threshold 0.05; evidence 12.5 in BIC, threshold 6"
    assert overview == {"mass": "conclusion changed", "other": "–"}
    assert [
        "mass",
        "conclusion changed: mean 1 (+3.1σ)",
        basis,
        "sigma 1 (-2.2σ)",
        "1 → 2",
        "40 → 57",
        "–",
        "–",
        "0.250",
        "4.0",
        "taken for independent",
    ] in page.cells
    assert ["1 → 1", "mean[Msun]", "1.25 ± 0.12", "1.50 ± 0.25", "0.25 ± 0.25", "1.0", "hint"] in page.cells
    assert ["2appeared", "mean[Msun]", "–", "1.75 ± 0.25", "–", "–", ""] in page.cells
    assert not any("7 → 7" in row for row in page.cells)
    told = " ".join(" ".join(page.words).split())
    assert "Since 2016: conclusion changed" in told and "which BIC prefers by 12.5" in told
    assert f"Evidence: {basis}." in told
    assert "Shifted: mean 1 (+3.1σ). Hints: sigma 1 (-2.2σ)." in told
    assert [attrs["src"] for attrs in page.all("img") if "2016 → 2018" in attrs["alt"]]
    unknown = replace(change, summary=change.summary.assign(delta_bic=np.nan, evidence="", threshold=""))
    told = " ".join(" ".join(Page(written(tmp_path, [entry], changes=[unknown])).words).split())
    assert "M was 1 and is 2." in told and "Note: taken for independent." in told


def test_a_comparison_is_open_when_something_changed_and_marked_in_the_overview(tmp_path, entry, change):
    def compared(verdict, **more):
        summary = change.summary.assign(verdict=verdict)
        changes = [ReleaseChange("neutron_stars", "2016", "2018", summary, change.components, change.overlay)]
        text = written(tmp_path, [entry] * 5, changes=changes)
        opened = ["open" in attrs for attrs in Page(text).all("details") if "class" not in attrs]
        return opened, text.count(f'<span class="mark">{verdict}</span>'), f">1 {verdict}<" in text

    assert compared("conclusion changed") == ([True], 2 + 4, True)
    assert compared("sharpened") == ([True], 2 + 4, True)
    assert compared("unchanged") == ([False], 0, True)


def test_a_large_page_leaves_figures_out_and_says_so(tmp_path, entry):
    entry.figures["mixture"].write_bytes(SVG + b" " * 8_000_000)
    page = Page(written(tmp_path, [entry]))
    assert not page.all("img")
    assert any("lie beside the tables: classes.svg, mixture.svg." in word for word in page.words)


# ----- plots


def curves(entry):
    """Those of a histogram of three bins."""
    x = np.linspace(0.0, 4.0, 401)
    first, second = (w * np.exp(-0.5 * ((x - m) / 0.5) ** 2) / np.sqrt(np.pi / 2) for w, m in ((0.5, 1), (0.5, 2)))
    return {
        "note": "N = 6", "range": [0.0, 4.0], "edges": [0.5, 1.5, 2.5, 3.5], "counts": [1, 3, 2],
        "density": [0.2, 0.5, 0.3], "x": x, "observed": first + second, "intrinsic": first + second,
        "parts": [first, None], "median_err": 0.1, "classes": [first, second],
        "estimators": {"moments": first}, "pit": {"edges": [0.0, 0.5, 1.0], "ratio": [0.8, 1.2], "band": [0.5, 1.5]},
        "residual": [-1.0, 2.0, None], "log": False,
    }  # fmt: skip


def test_the_plot_shows_bins_components_and_other_estimators(entry):
    plots = fit_plots(replace(entry, curves=curves(entry)))
    assert len(plots) == 5 and all(entry.shown in plot["alt"] for plot in plots)
    bars, first, arrow, *_, other = plots[0]["figure"]["data"]
    assert (bars["x"], bars["y"], bars["width"]) == ([1.0, 2.0, 3.0], [0.2, 0.5, 0.3], 1.0)
    assert bars["customdata"] == [1, 3, 2]
    assert first["name"] == "1: weight 0.72 ± 0.11, mean 1.346 ± 0.012, σ 0.078 ± 0.011 M☉"
    # Linear between its points, the curve is that of the component to what a picture can show.
    x = np.linspace(0.0, 2.0, 50)
    exact = 0.5 * np.exp(-0.5 * ((x - 1) / 0.5) ** 2) / np.sqrt(np.pi / 2)
    assert np.abs(np.interp(x, first["x"], first["y"]) - exact).max() < 0.005
    assert len(first["x"]) < 60
    assert arrow["x"] == [1.782, 1.782] and other["visible"] == "legendonly"
    assert plots[4]["figure"]["data"][0]["y"] == [-1.0, 2.0, None]


def test_the_plot_of_wide_bins_has_what_the_mixture_has_in_each(entry):
    known = curves(entry) | {"in_bins": [0.22, 0.48, 0.3]}
    traces = {trace["name"]: trace for trace in fit_plots(replace(entry, curves=known))[0]["figure"]["data"]}
    dots = traces["mixture, in each bin"]
    assert (dots["x"], dots["y"], dots["mode"]) == ([1.0, 2.0, 3.0], [0.22, 0.48, 0.3], "markers")


def test_a_plot_of_the_criteria_counts_from_the_best(entry):
    traces = {trace["name"]: trace for trace in fit_plots(entry)[0]["figure"]["data"]}
    # By hand, as above: BIC of 1 and 2 components.
    above = (5 * np.log(50) + 10) - (2 * np.log(50) + 20)
    assert traces["BIC"]["x"] == [1, 2, 3] and traces["BIC"]["y"][:2] == [0.0, pytest.approx(above, rel=1e-3)]


def test_large_differences_of_criteria_stay_in_the_plot(entry):
    above = [5e8, 0.0, 20.0]
    selection = entry.selection.assign(bic=above, aic=above, icl=[0.0, 5.0, 1000.0])
    figure = fit_plots(replace(entry, selection=selection))[0]["figure"]
    axis, traces = figure["layout"]["yaxis"], {trace["name"]: trace for trace in figure["data"]}
    low, high = axis["range"]
    assert all(low <= value <= high for trace in traces.values() for value in trace["y"])
    assert traces["BIC"]["customdata"] == [5e8, 0.0, 20.0] and traces["ICL"]["y"][:2] == [0.0, 5.0]
    marks = dict(zip(axis["ticktext"], axis["tickvals"], strict=True))
    assert (marks["0"], marks["5"], marks["10"]) == (0.0, 5.0, 10.0)
    assert marks["1,000"] == pytest.approx(traces["ICL"]["y"][2], abs=1e-3)
    assert min(np.diff(axis["tickvals"])) > 0.05 * (high - low)


def test_a_plot_of_decades_has_a_logarithmic_axis(entry):
    x = np.geomspace(0.1, 1000.0, 401)
    first = np.exp(-0.5 * (np.log(x) - 2.0) ** 2)
    found = {
        **curves(entry), "log": True, "range": [0.1, 1000.0], "edges": [0.1, 1.0, 10.0, 100.0], "x": x,
        "parts": [first, None], "observed": first, "intrinsic": first, "classes": [first, first],
    }  # fmt: skip
    figure = fit_plots(replace(entry, curves=found))[0]["figure"]
    assert figure["layout"]["xaxis"]["type"] == "log" and figure["layout"]["xaxis"]["range"] == [-1.0, 3.0]
    assert figure["layout"]["yaxis"]["title"]["text"] == "density per decade"
    bars, line = figure["data"][0], figure["data"][1]
    assert np.subtract(bars["x"], np.divide(bars["width"], 2)).tolist() == pytest.approx([0.1, 1.0, 10.0])
    near = np.interp(np.log(x), np.log(line["x"]), line["y"])
    assert np.abs(near - first)[first > 0.01].max() < 0.01


def test_names_in_plots_are_no_markup(entry):
    figure = fit_plots(replace(entry, column="<b>x</b>", unit="<i>", curves=curves(entry)))[0]["figure"]
    assert figure["layout"]["xaxis"]["title"]["text"] == "&lt;b&gt;x&lt;/b&gt; [&lt;i&gt;]"


def test_data_of_plots_cannot_end_their_element(tmp_path, entry):
    bad = replace(entry, unit="</script><b>", curves={**curves(entry), "note": "</script>"})
    text = written(tmp_path, [bad])
    inside = re.search(r'<script type="text/plain" class="figures"[^>]*>(.*?)</script>', text)[1]
    assert "&lt;/script&gt;" in json.loads(unpacked(inside))[0]["layout"]["xaxis"]["title"]["text"]
    assert re.fullmatch(r"[\w+/=]+", inside) and "b" not in [tag for tag, _ in Page(text).elements]


@pytest.mark.parametrize("tolerance", [0.1, 0.001])
def test_simplified_curves_are_as_close_as_promised(tolerance):
    x = np.linspace(0.0, 20.0, 1000)
    y = np.sin(x) * np.exp(-0.1 * x)
    few = simplified(x, y, tolerance)
    assert np.abs(np.interp(x, x[few], y[few]) - y).max() <= tolerance
    assert few[0] == 0 and few[-1] == 999 and few.size < 300


def test_densities_have_a_section_of_their_own(tmp_path):
    grid = np.linspace(0.0, 1.0, 11)
    entry = DensityEntry(
        catalog="photo_z",
        release="dr1",
        column="pdf",
        unit=None,
        n_rows={1: 30, 2: 12},
        account=Rows(50, 42, {"missing": 8}, normalisation="sum"),
        summary={
            "n_data": 42, "n_components": 2, "criterion": "tolerance",
            "ks": {"median": 0.01, "largest": 0.2}, "l2": {"median": 0.001, "largest": 0.02},
        },
        figures={},
        examples=({"which": "best", "row": "row 3", "grid": grid, "density": grid, "fine": grid, "mixture": 1 - grid},),
    )  # fmt: skip
    page = Page(written(tmp_path, [entry]))
    for row in (["2", "12"], ["KS", "0.01", "0.2"], ["Dropped: missing", "8"], ["Normalised to", "sum 1"]):
        assert row in page.cells
    (plot,) = density_plots(entry)
    assert plot["caption"] == "The best fit, of row 3"
    assert [(trace["x"][-1], trace["y"][0]) for trace in plot["figure"]["data"]] == [(1.0, 0.0), (1.0, 1.0)]


# ----- what the page and the summary are made from


def test_curves_are_those_of_the_mixture():
    rng = np.random.default_rng(2)
    mixture = Mixture([0.5, 0.5], [0.0, 10.0], [1.0, 0.001])
    err = np.full(300, 0.5)
    x = mixture.sample(300, rng) + err * rng.normal(size=300)
    fit = FitResult(mixture, "em", -1.0, 0.0, 300, 5, converged=True)
    found = fit_curves(
        fit, [Estimate("em", mixture, -1.0), Estimate("moments", Mixture([1.0], [5.0], [5.0]), -2.0)], x, err
    )
    assert found["counts"].sum() == np.sum((x >= found["edges"][0]) & (x <= found["edges"][-1]))
    # Bins add up to the rows in the picture, curves to one: by the trapezium rule on a fine grid, up to the tails.
    assert np.sum(found["density"] * np.diff(found["edges"])) == pytest.approx(found["counts"].sum() / 300)
    np.testing.assert_allclose(np.trapezoid(found["observed"], found["x"]), 1.0, atol=0.02)
    np.testing.assert_allclose(found["parts"][0], 0.5 * np.exp(-0.5 * found["x"] ** 2) / np.sqrt(2 * np.pi))
    assert found["parts"][1] is None and list(found["estimators"]) == ["moments"]
    np.testing.assert_allclose(found["classes"].sum(axis=0), 1.0)
    assert np.mean(found["pit"]["ratio"]) == pytest.approx(1.0)


def test_the_summary_has_the_verdict_of_the_comparison(tmp_path):
    fits = []
    for catalog, release in (("stars", "dr1"), ("stars", "dr2"), ("other", "dr2")):
        fits.append(tmp_path / f"{catalog}_{release}.json")
        fit_record(catalog=catalog, release=release).write(fits[-1])
    table = tmp_path / "summary.csv"
    compared = {"catalog": "stars", "old": "dr1", "new": "dr2", "column": "mass", "unit": "", "verdict": "shifted"}
    compared |= {"n_components_old": 1.0, "evidence": "p = 0.01", "threshold": "0.05", "note": ""}
    pd.DataFrame([compared]).to_csv(table, index=False)
    table.with_name("components.csv").write_text("column,status,component_old,component_new,parameter,unit,finding\n")
    summarise(code_hash("summary"), fits, [table], tmp_path / "all.csv")
    found = pd.read_csv(tmp_path / "all.csv", keep_default_na=False)
    assert found["verdict"].tolist() == ["", "shifted", ""]
    assert found["answer"].tolist() == [
        "one population at 1.50 ± 0.10 Msun (σ 0.5)",
        "one population, shifted since dr1: at 1.50 ± 0.10 Msun (σ 0.5)",
        "one population at 1.50 ± 0.10 Msun (σ 0.5)",
    ]
    assert found["basis"][1] == "10 rows; fit untested, off by at most 10 % of the rows: large; " + (
        "since dr1: p = 0.01, threshold 0.05; no warnings"
    )
