"""The manual: it builds without a warning, and what it shows works."""

import csv
import doctest
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml

from mixpipe.cli import main
from mixpipe.config.schema import SCHEMA, SECTIONS
from mixpipe.results.references import REFERENCES, bibliography
from tests.campaign import campaign, mostly_campaign, study

DOCS = Path(__file__).resolve().parents[2] / "docs"
EXAMPLES = sorted(path.name for path in DOCS.glob("*.md") if ">>>" in path.read_text(encoding="utf-8"))
STARS = "config/demo/neutron_stars_2018.csv"


@pytest.fixture(scope="module")
def manual(tmp_path_factory) -> Path:
    """The manual as a folder of pages."""
    folder = tmp_path_factory.mktemp("manual")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "-d", str(folder / "doctrees")]
    done = subprocess.run(
        [*command, str(DOCS), str(folder / "html")], text=True, capture_output=True, check=False, cwd=folder
    )
    assert done.returncode == 0, done.stderr
    return folder / "html"


@pytest.fixture
def folder(root, tmp_path, monkeypatch) -> Path:
    """A new user's folder with a catalog, and what a checkout has beside."""
    shutil.copy(root / STARS, tmp_path / "stars.csv")
    (tmp_path / "config").symlink_to(root / "config")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@campaign
def test_every_key_and_every_command_is_in_it(manual):
    keys = (manual / "configuration.html").read_text(encoding="utf-8")
    schema = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))["$defs"]
    for section in SECTIONS:
        for key in schema[section]["properties"]:
            assert f'<span class="pre">{key}</span>' in keys, key
    commands = (manual / "cli.html").read_text(encoding="utf-8")
    for name in main.commands:
        assert f'id="mixpipe-{name}"' in commands
    assert "components.csv" in (manual / "results.html").read_text(encoding="utf-8")


@campaign
def test_links_to_the_glossary_lead_to_terms(manual):
    terms = set(re.findall(r'id="(term-[^"]+)"', (manual / "glossary.html").read_text(encoding="utf-8")))
    assert {"term-M", "term-floor", "term-PIT", "term-verdict"} <= terms
    links = re.findall(r'href="glossary.html#(term-[^"]+)"', (manual / "faq.html").read_text(encoding="utf-8"))
    assert set(links) <= terms
    assert {"term-BIC", "term-hints"} <= set(links)


def shown(output: dict) -> str:
    """What a cell of a notebook shows as text, without what differs between versions of libraries."""
    text = "".join(output.get("text") or output["data"]["text/plain"])
    return " ".join(re.sub(r"\d+(\.\d+){2,}", "VERSION", text).split())


@campaign
def test_tutorial_shows_what_its_cells_compute(manual):
    path = DOCS / "tutorial.ipynb"
    nbformat.validate(nbformat.reads(path.read_text(encoding="utf-8"), as_version=4))
    cells = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    run = runpy.run_path(str(DOCS / "notebooks.py"))["run_notebook"](path)
    computed = [cell for cell in run if cell["cell_type"] == "code"]
    assert len(cells) == len(computed) > 8
    for stored, now in zip(cells, computed, strict=True):
        assert stored["execution_count"] == now["execution_count"]
        assert [shown(output) for output in stored["outputs"]] == [shown(output) for output in now["outputs"]]
        kinds = [[sorted(output.get("data", {})) for output in cell["outputs"]] for cell in (stored, now)]
        assert kinds[0] == kinds[1]
    page = (manual / "tutorial.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 2
    assert "0.720 ± 0.090" in page


def test_references_are_those_of_the_paragraph_on_the_method():
    assert (DOCS / "references.bib").read_text(encoding="utf-8") == bibliography(REFERENCES)
    page = (DOCS / "citing.md").read_text(encoding="utf-8")
    table = page.partition("| if you used |")[2]
    assert set(re.findall(r"`(\w+\d{4})`", table)) == set(REFERENCES)
    for reference in REFERENCES.values():
        assert re.search(rf"{re.escape(reference.short)}[\d, ]* {reference.year}", table), reference.short
    entry = dict(re.findall(r"^  (\w+) = \{+([^}]*)\}", page, re.MULTILINE))
    citation = yaml.safe_load((DOCS.parent / "CITATION.cff").read_text(encoding="utf-8"))
    assert (entry["title"], entry["version"], entry["license"], entry["author"]) == (
        citation["title"], citation["version"], citation["license"], citation["authors"][0]["name"]
    )  # fmt: skip


@pytest.mark.parametrize("page", mostly_campaign(EXAMPLES, *(set(EXAMPLES) - {"recipes.md", "joint.md"})))
def test_examples_in_python(page, folder, request):
    text = (DOCS / page).read_text(encoding="utf-8")
    if "MIXPIPE_CATALOGS" in text:
        request.getfixturevalue("catalogs")
    examples = doctest.DocTestParser().get_doctest(text, {}, page, page, 0)
    flags = doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL
    assert doctest.DocTestRunner(optionflags=flags).run(examples).failed == 0


@study
def test_figure_of_several_columns_shows_what_the_chapter_computes(folder):
    script = runpy.run_path(str(DOCS / "figures" / "two_clusters.py"))
    found = script["examples"](DOCS / "joint.md")
    panels = script["draw"](found).axes
    assert [panel.get_xlabel().split()[0] for panel in panels] == ["pmRA", "parallax"]
    drawn = sum(len(points.get_offsets()) for points in panels[0].collections[1:])
    assert drawn == len(found["stars"])


@campaign
def test_quick_start_in_an_empty_folder(folder):
    text = (DOCS / "quickstart.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines()]
    assert len(commands) > 6
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for command in commands:
        done = subprocess.run(
            ["bash", "-euc", command], cwd=folder, env=environment, text=True, capture_output=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    assert (folder / "mass.png").stat().st_size > 10_000
    assert (folder / "results/report.html").is_file()
    (fit,) = csv.DictReader((folder / "results/summary.csv").open(encoding="utf-8"))
    assert (fit["catalog"], fit["column"], fit["n_data"]) == ("stars", "mass", "57")


@study
def test_commands_of_the_recipes(folder):
    text = (DOCS / "recipes.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```(?:\n\n```text\n(.*?)^```)?", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for commands, output in blocks:
        done = subprocess.run(
            ["bash", "-euc", commands], cwd=folder, env=environment, text=True, capture_output=True, check=False
        )
        assert done.returncode == 0, f"{commands}\n{done.stdout}\n{done.stderr}"
        assert " ".join(output.split()) in " ".join(done.stdout.split())
    # The last commands: the fits alone, which have no page yet, and then everything.
    assert [line for line in done.stdout.splitlines() if line.startswith("mixpipe: ")] == [
        "mixpipe: the results are in results",
        "mixpipe: the whole run on one page: results/report.html",
    ]
    assert len(list(csv.DictReader((folder / "heavy.csv").open(encoding="utf-8")))) == 9
    assert (folder / "results/report.html").is_file()


def test_configuration_example_is_valid():
    from mixpipe.config.settings import parse_config

    text = (DOCS / "configuration.md").read_text(encoding="utf-8")
    example, joint = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    stars = {"releases": {"dr3": "gaia.fits"}, **yaml.safe_load(joint)}
    assert len(parse_config({"catalogs": {"gaia": stars}}).catalogs[0].joints[0].correlation) == 3
    (catalog,) = parse_config(yaml.safe_load(example)).catalogs
    assert list(catalog.releases) == ["2018", "2024"]
