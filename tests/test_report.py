"""The report: one page that holds everything, shows every fit, and runs nothing that it was given."""

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from mixpipe.model import FitResult, Mixture, Selection, Uncertainties
from mixpipe.report import ReportEntry, write_report
from mixpipe.tables import components_table

VOID = {"meta", "img", "br", "hr", "link", "input"}
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'
PROVENANCE = {
    "command": "snakemake --configfile config/config.yaml --cores all",
    "versions": {"mixpipe": "0.1.0", "python": "3.11.2"},
    "settings": {"criterion": "bic", "estimators": ("em", "moments")},
    "inputs": [{"path": "config/demo/a.csv", "sha256": "0f" * 32}],
}


class Page(HTMLParser):
    """Elements, attributes and words of a page; complains of elements that are not closed in order."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.open, self.cells, self.words = [], [], [], []
        self.feed(text)
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
        if "style" in self.open:
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
        account={"n_read": 12345, "n_used": 12338, "dropped": {"missing value": 4, "no error": 3}},
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
    )


def written(tmp_path, entries, provenance=PROVENANCE):
    write_report(tmp_path / "report.html", entries, provenance)
    return (tmp_path / "report.html").read_text(encoding="utf-8")


def test_overview_has_a_row_for_each_fit_and_links_that_lead_somewhere(tmp_path, entry):
    page = Page(written(tmp_path, [entry, replace(entry, release="2024")]))
    shown = ["12,338", "7", "2", "−5.25", "1,234.57", "rejectedp 0.004", "none"]
    assert ["neutron_stars", "2018", "mass", *shown] in page.cells
    assert ["neutron_stars", "2024"] in [row[:2] for row in page.cells]
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
    assert "Mean and σ in Msun." in " ".join(page.words)


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
    assert not {"script", "link", "iframe", "object", "base", "form"} & {tag for tag, _ in page.elements}
    assert not re.search(r"https?://|@import|url\(", text)
    assert not [name for _, attrs in page.elements for name in attrs if name.startswith("on")]


EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{ 7 * 7 }}"


def test_names_from_catalogs_and_settings_are_only_text(tmp_path, entry):
    clean = Page(written(tmp_path, [replace(entry, warnings=("w",))]))
    account = entry.account | {"dropped": {EVIL: 1, "no error": 3}}
    bad = replace(
        entry, catalog=EVIL, release=EVIL, column=EVIL, unit=EVIL, warnings=(EVIL,), account=account,
        summary=entry.summary | {"criterion": EVIL},
    )  # fmt: skip
    provenance = {
        "command": EVIL,
        "versions": {EVIL: EVIL, "python": EVIL},
        "settings": {EVIL: (EVIL, EVIL), "b": EVIL},
        "inputs": [{"path": EVIL, "sha256": EVIL}],
    }
    text = written(tmp_path, [bad], provenance)
    page = Page(text)
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in clean.elements]
    assert [sorted(attrs) for _, attrs in page.elements] == [sorted(attrs) for _, attrs in clean.elements]
    assert "<script" not in text and "49" not in "".join(page.words)
    assert EVIL in "".join(page.words)


def test_warnings_and_missing_numbers_are_told(tmp_path, entry):
    summary = entry.summary | {"converged": False, "loglik": None, "bic": float("nan")}
    del summary["ks_pvalue"], summary["ad_pvalue"], summary["verdict"]
    page = Page(written(tmp_path, [replace(entry, summary=summary, warnings=("two components overlap",))]))
    row = next(row for row in page.cells if row[:3] == ["neutron_stars", "2018", "mass"])
    assert row[6:9] == ["–", "–", "untested"] and row[9].startswith("not converged") and "1 warning" in row[9]
    assert "two components overlap" in page.words and "The chosen fit did not converge." in page.words


def test_many_fits_are_folded_and_few_are_open(tmp_path, entry):
    assert all("open" in attrs for attrs in Page(written(tmp_path, [entry])).all("details"))
    folded = Page(written(tmp_path, [entry] * 5)).all("details")
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
    assert "in the unit of the column" in " ".join(page.words)
