"""The report in a browser: quiet, without network, sorted, searched, opened and zoomed, in any light and width."""

import io
import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from mixpipe.fitting.choose import choose_n_components
from mixpipe.fitting.moments.fit import fit_moments
from mixpipe.model.estimate import Estimate
from mixpipe.model.mixture import Mixture
from mixpipe.report.entries import ReleaseChange, ReportEntry, Rows
from mixpipe.report.figures import fit_curves
from mixpipe.report.page import write_report
from mixpipe.results.tables import components_table
from tests.campaign import campaign, mostly_campaign, mostly_campaign_pairs, study
from tests.report.test_joint_report import joint_entry

SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="90" height="60"><rect width="90" height="60"/></svg>'
EVIL = '<script>document.title = 1</script>"\'><img src=x onerror="document.title = 2"></script>'
PROVENANCE = {"command": "snakemake", "config": None, "versions": {}, "settings": {"seed": "1"}, "inputs": []}
PLOT = "#fit-1-plots-1"


@pytest.fixture(scope="module")
def chromium():
    """A browser; tests are skipped, visibly, where there is none.

    Its event loop runs until the fixture ends, and Snakemake does not plan beside one.
    """
    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("no chromium or google-chrome on the path: the report is not tested in a browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def fitted(tmp_path_factory):
    """A fit of four components, as the report shows it."""
    rng = np.random.default_rng(5)
    err = rng.uniform(0.05, 0.3, 400)
    x = Mixture([0.3, 0.3, 0.2, 0.2], [0.0, 3.0, 6.0, 9.0], [0.3, 0.5, 0.4, 0.6]).sample(400, rng) + err * rng.normal(
        size=400
    )
    selection = choose_n_components(x, err, max_components=6, n_threads=1)
    fit, other = selection.best, fit_moments(x, err, selection.best.n_components)
    estimates = [
        {"estimator": each.estimator, "component": j + 1, "weight": 0.25, "mean": 1.0, "sigma": 0.5, "loglik": -1.0}
        for each in (fit, other)
        for j in range(fit.n_components)
    ]
    drawn = [Estimate(each.estimator, each.mixture, each.loglik, each.uncertainties.means) for each in (fit, other)]
    numbers = json.loads(json.dumps(fit_curves(fit, drawn, x, err), default=np.ndarray.tolist))
    figure = tmp_path_factory.mktemp("figures") / "mixture.svg"
    figure.write_bytes(SVG)
    intervals = [
        {"method": method, "component": j, "parameter": name, "estimate": 1.0, "level": level, "lower": 0.5, "upper": 2}
        for method in ("information", "bootstrap", "profile")
        for j in range(1, fit.n_components + 1)
        for name in ("weight", "mean", "sigma")
        for level in (0.68, 0.95)
    ]
    return ReportEntry(
        catalog="stars",
        release="dr1",
        column="mass",
        unit="Msun",
        components=components_table(fit, "Msun"),
        selection=selection.table(),
        account=Rows(400, 400, {"missing_value": 0}),
        summary={
            "n_data": 400.0, "n_components": fit.n_components, "criterion": "bic", "loglik": fit.loglik, "bic": fit.bic,
            "converged": True, "ks_pvalue": 0.3, "verdict": "ok",
        },
        figures={"mixture": figure},
        warnings=("two components overlap",),
        estimators=pd.DataFrame(estimates),
        intervals=pd.DataFrame(intervals),
        curves=numbers,
        settings={"error": "mass_err", "max_components": 6, "estimators": "em, moments"},
        answer=("four populations", *(f"25 ± 3 % at {3 * j}.0 ± 0.1 Msun (σ 0.5 ± 0.1)" for j in range(4))),
        evidence=("400 rows", "BIC prefers four to three by 12.0", "fit ok: p = 0.3"),
    )  # fmt: skip


@pytest.fixture(scope="session")
def some(fitted):
    """Five fits: a page that starts folded. N is 400, 90, 1000, 7 and 60; the third has no likelihood."""
    sizes = (400.0, 90.0, 1000.0, 7.0, 60.0)
    entries = [
        replace(fitted, release=f"dr{number}", summary={**fitted.summary, "n_data": size, "bic": -size})
        for number, size in enumerate(sizes, start=1)
    ]
    entries[2].summary.update(loglik=None, bic=None)
    return entries


class Shown:
    """A page in a browser, with what it said and asked for."""

    def __init__(self, chromium, path, forget=None, **options):
        self.context = chromium.new_context(**options)
        if forget:
            self.context.add_init_script(f"delete globalThis.{forget}")
        self.page = self.context.new_page()
        self.said, self.asked = [], []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri(), wait_until="load")

    def column(self, number):
        cells = self.page.locator(f"#fitted tbody tr > :nth-child({number})")
        return [text.strip() for text in cells.all_inner_texts()]


@pytest.fixture
def show(chromium, tmp_path):
    pages = []

    def make(entries, changes=(), **options):
        path = tmp_path / f"report_{len(pages)}.html"
        write_report(path, entries, PROVENANCE, changes)
        pages.append(Shown(chromium, path, **options))
        return pages[-1]

    yield make
    for each in pages:
        each.context.close()


def luminance(colour):
    """Relative luminance of an opaque CSS colour (WCAG 2.2)."""
    parts = [float(part) / 255 for part in re.findall(r"[\d.]+", colour)[:3]]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first, second):
    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(
    ("width", "scheme"), mostly_campaign_pairs([1400, 390], ["light", "dark"], [(1400, "light"), (390, "dark")])
)
def test_it_opens_quietly_within_its_width_and_can_be_read(show, fitted, width, scheme):
    shown = show([fitted], viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = shown.page
    page.wait_for_selector(f"{PLOT} .main-svg")
    page.wait_for_selector(".dt-search input")
    assert shown.said == [] and shown.asked == [page.url]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator(".plot .main-svg").count() >= 5
    style = "(element, name) => getComputedStyle(element)[name]"
    ground = page.locator("body").evaluate(style, "backgroundColor")
    assert (luminance(ground) < 0.5) == (scheme == "dark")
    for selector, name in [
        ("body", "color"),
        (".quiet", "color"),
        ("#fitted a", "color"),
        (".mark", "color"),
        ("#fitted .answer strong", "color"),
        ("button.copy", "color"),
        ("svg.thumb .line", "stroke"),
        (f"{PLOT} .xtick text", "fill"),
        (f"{PLOT} .legendtext", "fill"),
        (f"{PLOT} .xtitle", "fill"),
    ]:
        colour = page.locator(selector).first.evaluate(style, name)
        assert contrast(colour, ground) >= 4.5, f"{selector} {colour} on {ground}"
    # The line of the mixture is ink, which a dark page has to lighten.
    lines = page.locator(f"{PLOT} .scatterlayer .js-line").all()
    assert all(contrast(line.evaluate(style, "stroke"), ground) >= 2.0 for line in lines)


@pytest.mark.parametrize("width", mostly_campaign([1400, 390], 390))
def test_a_joint_fit_is_drawn_within_its_width_and_its_names_stay_words(show, tmp_path, width):
    shown = show([joint_entry(tmp_path, (EVIL, "b"))], viewport={"width": width, "height": 900})
    page = shown.page
    page.wait_for_selector("#fit-1-plots-5 .main-svg")
    assert shown.said == [] and page.title() == "mixpipe report"
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator(f"{PLOT} .xtitle").text_content().startswith(EVIL[:20])
    assert page.locator(f"{PLOT} .legendtext").all_text_contents() == ["data", "1: weight 0.6", "2: weight 0.4"]
    # Ellipses of 1 and of 2 sigma, solid and dashed, of two components.
    assert page.locator(f"{PLOT} .scatterlayer .js-line").count() == 8


def test_names_from_catalogs_stay_words(show, fitted):
    shown = show([replace(fitted, catalog=EVIL, column=EVIL, unit=EVIL, curves={**fitted.curves, "note": EVIL})])
    shown.page.wait_for_selector(f"{PLOT} .main-svg")
    assert shown.page.title() == "mixpipe report" and shown.said == [] and shown.asked == [shown.page.url]
    assert shown.page.locator(f"{PLOT} .xtitle").text_content().startswith(EVIL[:20])
    assert EVIL in shown.page.locator("#fitted tbody").text_content()


def test_the_overview_is_sorted_by_numbers_with_mouse_and_keyboard(show, some):
    shown = show(some)
    assert shown.column(4) == ["400", "90", "1,000", "7", "60"]
    head = shown.page.locator("#fitted thead th", has_text=re.compile("^N"))
    head.click()
    shown.page.wait_for_selector("#fitted thead th[aria-sort='ascending']")
    assert shown.column(4) == ["7", "60", "90", "400", "1,000"]
    head.locator("[tabindex='0']").press("Enter")
    shown.page.wait_for_selector("#fitted thead th[aria-sort='descending']")
    assert shown.column(4) == ["1,000", "400", "90", "60", "7"]


def test_the_overview_is_searched_and_the_sections_follow(show, some):
    shown = show(some)
    search = shown.page.get_by_label("Search")
    search.fill("dr3")
    assert shown.column(2) == ["mass\nstars / dr3"]
    assert visible_sections(shown.page) == ["fit-3"]
    assert shown.page.locator("#left-out").inner_text() == "1 of 5 fits: those chosen in the overview."
    search.fill("stars")
    assert len(shown.column(2)) == 5 and len(visible_sections(shown.page)) == 5
    assert not shown.page.locator("#left-out").is_visible()
    # Words of warnings are found, too, which the table counts only.
    search.fill("overlap")
    assert len(shown.column(2)) == 5
    search.fill("nothing of this name")
    assert "No matching records" in shown.page.locator("#fitted tbody").inner_text()
    assert visible_sections(shown.page) == []


def visible_sections(page):
    return [each.get_attribute("id") for each in page.locator("details.section:not([hidden]) > .fit").all()]


def test_the_overview_is_filtered_by_verdict_change_and_warning(show, some, tmp_path):
    first, second, third, fourth, fifth = some
    entries = [
        replace(first, summary={**first.summary, "verdict": "rejected"}, warnings=()),
        replace(second, warnings=("3 of 90 rows are alike", "two components overlap")),
        replace(third, warnings=("12 of 1,000 rows are alike",)),
        replace(fourth, summary={**fourth.summary, "verdict": "rejected", "converged": False}, warnings=()),
        replace(fifth, warnings=()),
    ]
    overlay = tmp_path / "overlay.svg"
    overlay.write_bytes(SVG)
    numbers = ("n_components_old", "n_components_new", "delta_bic", "distance", "significance")
    counts = ("n_old", "n_new", "n_common", "n_revised")
    texts = dict.fromkeys(("note", "evidence", "threshold", "shifted", "hints"), "")
    summary = {**texts, "column": "mass", "verdict": "shifted"}
    table = pd.DataFrame([summary]).assign(**dict.fromkeys(numbers + counts, 1.0))
    components = pd.DataFrame({"column": []})
    shown = show(entries, [ReleaseChange("stars", "dr1", "dr2", table, components, overlay)])
    page = shown.page
    fit, change, warnings = (page.get_by_role("combobox", name=name) for name in ("Fit", "Change", "Warnings"))

    def options(choice):
        return choice.locator("option").all_inner_texts()

    assert options(fit) == ["any", "rejected (2)", "ok (3)"] and options(change) == ["any", "shifted (1)"]
    kinds = ["… of … rows are alike (2)", "two components overlap (1)", "The chosen fit did not converge. (1)"]
    assert options(warnings) == ["any", "with warnings (3)", "without warnings (2)", *kinds]
    fit.select_option(label="rejected (2)")
    assert visible_sections(page) == ["fit-1", "fit-4"] and len(shown.column(2)) == 2
    warnings.select_option(label="with warnings (3)")
    assert visible_sections(page) == ["fit-4"]
    fit.select_option(label="any")
    warnings.select_option(label="… of … rows are alike (2)")
    assert visible_sections(page) == ["fit-2", "fit-3"]
    change.select_option(label="shifted (1)")
    assert visible_sections(page) == ["fit-2"]
    warnings.select_option(label="without warnings (2)")
    assert visible_sections(page) == [] and shown.said == []
    # A link from elsewhere shows what is not chosen.
    page.locator("table a[href='#fit-2']").last.click()
    page.wait_for_selector("#fit-2-plots-1 .main-svg")


@pytest.mark.parametrize("scheme", mostly_campaign(["light", "dark"], "light"))
def test_a_phone_shows_the_whole_answer(show, some, scheme):
    shown = show(some, viewport={"width": 390, "height": 844}, color_scheme=scheme)
    page = shown.page
    page.wait_for_selector(".dt-search input")
    region, row = page.locator(".dt-layout-table, .scroll").first, page.locator("#fitted tbody tr").first
    assert region.evaluate("element => element.scrollWidth <= element.clientWidth")
    for cell in row.locator("td, th").all():
        box = cell.bounding_box()
        assert box is None or (box["x"] >= 0 and box["x"] + box["width"] <= 390), cell.inner_text()
    text = row.inner_text()
    assert all(word in text for word in ("Four populations:", "at 0.0", "400 rows", "stars / dr1"))
    labels = row.locator("td[data-label]").all()
    before = "(element) => getComputedStyle(element, '::before').content"
    assert [label.evaluate(before).strip('" ') for label in labels] == ["N", "M", "Fit", "Warnings"]
    picture = row.locator("svg.thumb").bounding_box()
    assert picture["width"] > 150 and picture["height"] > 40


def test_a_picture_of_each_column_shows_its_components(show, fitted):
    page = show([fitted]).page
    assert page.locator("#fitted svg.thumb .part").count() == 4
    line = page.locator("#fitted svg.thumb .line").bounding_box()
    data = page.locator("#fitted svg.thumb .data").bounding_box()
    assert line["width"] > 60 and abs(line["height"] - data["height"]) < 0.6 * line["height"]


@campaign
def test_texts_are_copied(show, fitted):
    methods = {"text": "Masses were modelled as a mixture.", "LaTeX": "Masses <were> \\citep{a}"}
    shown = show([replace(fitted, methods=methods)])
    page = shown.page
    shown.context.grant_permissions(["clipboard-read", "clipboard-write"])
    section, pasted = page.locator("#fit-1"), "navigator.clipboard.readText()"
    section.get_by_role("button", name="Copy", exact=True).click()
    page.wait_for_selector("button:has-text('Copied')")
    assert page.evaluate(pasted) == methods["text"]
    section.get_by_role("button", name="Copy as LaTeX").click()
    page.wait_for_function(f"{pasted}.then((text) => text === {json.dumps(methods['LaTeX'])})")
    page.get_by_role("button", name="Copy the command").click()
    page.wait_for_function(f"{pasted}.then((text) => text === 'snakemake')")
    assert shown.said == []
    page.wait_for_selector("button:has-text('Copied')", state="detached")
    assert page.get_by_role("button", name="Copy the command").is_visible()
    page.emulate_media(media="print")
    assert not page.get_by_role("button", name="Copy the command").is_visible()


def test_sections_open_by_keyboard_and_draw_then(show, some):
    shown = show(some)
    page = shown.page
    page.wait_for_selector(".dt-search input")
    assert page.locator(".main-svg").count() == 0
    second = page.locator("details.section > summary").nth(1)
    second.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#fit-2-plots-1 .main-svg")
    assert page.locator("#fit-1-plots-1 .main-svg").count() == 0
    page.keyboard.press("Enter")
    assert not page.locator("#fit-2").is_visible()


def test_links_of_the_overview_open_their_section(show, some):
    shown = show(some)
    shown.page.locator("#fitted tbody a").last.click()
    shown.page.wait_for_selector("#fit-5-plots-1 .main-svg")
    assert shown.page.locator("#fit-5").is_visible() and not shown.page.locator("#fit-1").is_visible()


def test_plots_tell_values_and_can_be_zoomed(show, fitted):
    page = show([fitted], viewport={"width": 1400, "height": 900}).page
    plot = page.locator(PLOT)
    page.wait_for_selector(f"{PLOT} .main-svg")
    plot.scroll_into_view_if_needed()
    box = page.locator(f"{PLOT} .nsewdrag").first.bounding_box()
    x, y = box["x"] + 0.5 * box["width"], box["y"] + 0.97 * box["height"]
    page.mouse.move(x, y)
    page.wait_for_selector(f"{PLOT} .hovertext")
    before = plot.evaluate("element => element.layout.xaxis.range")
    page.mouse.move(box["x"] + 0.4 * box["width"], y)
    page.mouse.down()
    page.mouse.move(x, box["y"] + 0.5 * box["height"], steps=4)
    page.mouse.up()
    page.wait_for_function(f"document.querySelector('{PLOT}').layout.xaxis.range[0] > {before[0]}")
    after = plot.evaluate("element => element.layout.xaxis.range")
    # A tenth of the width, to a pixel or two.
    assert after[1] - after[0] == pytest.approx(0.1 * (before[1] - before[0]), rel=0.05)


def test_every_figure_has_words_and_every_table_a_name(show, fitted):
    page = show([fitted]).page
    assert all(each.get_attribute("aria-label") for each in page.locator(".plot").all())
    assert all(each.get_attribute("alt") for each in page.locator("img").all())
    for region in page.locator("[role=region]").all():
        assert page.locator(f"#{region.get_attribute('aria-labelledby')}").count() == 1


def test_without_scripts_there_are_figures_instead_of_plots(show, some):
    page = show(some, java_script_enabled=False).page
    page.locator("details.section > summary").first.click()
    assert page.locator("#fit-1 table").first.is_visible() and not page.locator(PLOT).is_visible()
    page.locator("#fit-1 details.static > summary").click()
    assert page.locator("#fit-1 img").first.is_visible()


def test_a_browser_that_cannot_unpack_shows_figures_instead_of_plots(show, fitted):
    page = show([fitted], forget="DecompressionStream").page
    page.wait_for_selector(".dt-search input")
    assert not page.locator(PLOT).is_visible() and page.locator(".main-svg").count() == 0
    page.locator("#fit-1 details.static > summary").click()
    assert page.locator("#fit-1 img").first.is_visible()


@pytest.mark.parametrize("scheme", mostly_campaign(["light", "dark"], "light"))
def test_a_table_that_is_cut_has_a_shadow_at_its_edge(show, fitted, scheme):
    page = show([fitted], viewport={"width": 390, "height": 900}, color_scheme=scheme).page
    page.wait_for_selector(f"{PLOT} .main-svg")
    region = page.locator("[aria-labelledby=fit-1-selection]")

    def edges():
        """How far a row of the table is from the ground beside it, at either edge."""
        picture = imread(io.BytesIO(region.screenshot()))[..., :3].mean(axis=2)
        row = picture[-12]
        ground = np.median(picture[-12:-2])
        return abs(row[1] - ground), abs(row[-2] - ground)

    left, right = edges()
    assert left < 0.02 < 0.1 < right
    region.evaluate("element => { element.scrollLeft = element.scrollWidth }")
    left, right = edges()
    assert right < 0.02 < 0.1 < left


def test_it_prints_on_white_with_figures_for_plots(show, some, tmp_path):
    shown = show(some, color_scheme="dark")
    page = shown.page
    page.wait_for_selector(".dt-search input")
    page.emulate_media(media="print")
    assert page.locator("#fit-3 table").first.is_visible() and page.locator("#fit-3 img").first.is_visible()
    assert not page.locator("#fit-3 .plots").is_visible() and not page.locator(".dt-search").is_visible()
    assert page.locator("body").evaluate("element => getComputedStyle(element).backgroundColor") == "rgb(255, 255, 255)"
    assert page.pdf().startswith(b"%PDF") and shown.said == []


def test_paper_has_the_answers_as_a_list_and_no_holes(show, some):
    # The width of A4 between its margins.
    shown = show(some, viewport={"width": 718, "height": 1000})
    page = shown.page
    page.wait_for_selector(".dt-search input")
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") <= 718
    answers = page.locator("#fitted .answer").all()
    assert len(answers) == 5 and all("Four populations:" in answer.inner_text() for answer in answers)
    assert all(answer.bounding_box()["width"] > 450 for answer in answers)
    assert page.locator("#fitted svg.thumb").first.is_visible() and not page.locator(".filters").is_visible()
    # The heading of plots is not printed without them, nor what a section says folded.
    assert not page.get_by_role("heading", name="Figures").first.is_visible()
    assert not page.locator("#fit-1").locator("xpath=..").locator(".folded").is_visible()
    # A grid of figures would go to the next page as a whole, and leave a hole.
    style = "element => getComputedStyle(element).display"
    assert {each.evaluate(style) for each in page.locator(".static .pictures").all()} == {"block"}
    assert page.locator("#fit-1 img").first.bounding_box()["height"] <= 8 / 2.54 * 96 + 20


@study
def test_five_hundred_columns_are_a_page_below_15_megabytes(show, fitted, tmp_path, record_property):
    # Figures of the size that they have: 2500 of them are left out.
    fitted.figures["mixture"].with_name("large.svg").write_bytes(SVG + b" " * 80_000)
    figures = {"mixture": fitted.figures["mixture"].with_name("large.svg")}
    entries = [replace(fitted, column=f"column_{number}", figures=figures) for number in range(500)]
    rows = [{"column": f"column_{number}", "verdict": "unchanged", "note": ""} for number in range(500)]
    numbers = ("n_components_old", "n_components_new", "delta_bic", "distance", "significance")
    words = {"evidence": "p = 0.3 (0.6 over 500 columns)", "threshold": "0.05", "shifted": "", "hints": ""}
    counts = ("n_old", "n_new", "n_common", "n_revised")
    summary = pd.DataFrame(rows).assign(**dict.fromkeys((*numbers, *counts), 2.0), **words)
    differences = [
        {"column": f"column_{number}", "status": "matched", "component_old": j, "component_new": j, "parameter": name}
        for number in range(500)
        for j in range(1, 5)
        for name in ("weight", "mean", "sigma")
    ]
    values = ("old", "old_unc", "new", "new_unc", "difference", "joint_unc", "significance")
    changed = pd.DataFrame(differences).assign(**dict.fromkeys(values, 0.123456), finding="")
    change = ReleaseChange("stars", "dr0", "dr1", summary, changed, fitted.figures["mixture"])
    shown = show(entries, [change], viewport={"width": 1400, "height": 900})
    size = (tmp_path / "report_0.html").stat().st_size
    paint = shown.page.evaluate("performance.getEntriesByType('paint')[0].startTime")
    ready = shown.page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
    record_property("bytes", size)
    record_property("first_paint_ms", paint)
    print(f"500 columns: {size / 1e6:.1f} MB, first paint after {paint / 1000:.2f} s, ready after {ready / 1000:.2f} s")
    assert size < 15_000_000 and shown.page.locator("#fitted svg.thumb").count() == 500
    assert shown.said == [] and "too large" in shown.page.locator("#fits + p").inner_text()
    shown.page.get_by_label("Search").fill("column_499")
    assert shown.column(2) == ["column_499\nstars / dr1"] and visible_sections(shown.page) == ["fit-500"]
    shown.page.locator("#fitted tbody a").first.click()
    shown.page.wait_for_selector("#fit-500-plots-1 .main-svg")
