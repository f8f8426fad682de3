"""Names and texts that are somebody's syntax run through init, check, run, the page and Snakemake's report as they are.

Whatever takes one of them for its own leaves a file called `pwned`, a file outside of the results, or an end with a
traceback.
"""

import contextlib
import csv
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import CliRunner
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from mixpipe import cli
from mixpipe.cli.place import Place
from mixpipe.cli.planning import plan_jobs
from mixpipe.config.settings import load_config
from mixpipe.pipeline.plan.run import Run
from tests.campaign import mostly_campaign, study

BRACES = [
    "M_{bol}", "{}", "{0}", "{x", "x}", "{{x}}", "{wildcards.catalog}", "{config}", "{input:q}", "{x!r:>10}",
    "{x.__class__}", "${HOME}", "{{ 7 * 7 }}", "{% raw %}", "{# comment #}", "<catalog>", "%(asctime)s", "%s%n",
    "{{ ''.__class__.__mro__ }}", "{snakemake}", "{\n}",
]  # fmt: skip
QUOTES = ["'", '"', "''' '''", '"" ""', "it's", 'say "so"', "back\\slash", "\\", "\\n", "a`b", "``", "\\'; --", "\\0"]
MARKUP = [
    "<script>document.title='pwned'</script>", "<img src=x onerror=alert(1)>", "</td></table>", "<!--", "]]>", "<b>",
    "&lt;b&gt;", "&amp;", "&#60;i&#62;", "</script><script>alert(1)</script>", "javascript:alert(1)", "<svg/onload=a>",
    "$x^2$", "$\\frac{1}{2", "_a_ *b* `c`_", "|pwned|", ".. include:: /etc/passwd", "[bold]x[/bold]", "# heading",
    ":ref:`x`",
]  # fmt: skip
SHELL = [
    "$(touch pwned)", "`touch pwned`;", "; touch pwned", "| touch pwned", "&& touch pwned", "x > pwned", "*", "~", "!!",
    "-rf", "--help", "=cmd|' /C calc'!A0", "@os.system", "__import__('os').system('touch pwned')", "$IFS", "#x",
]  # fmt: skip
YAML = [
    "!!python/object/apply:os.system",
    "&anchor",
    "*alias",
    "- x",
    "? x",
    "x: y",
    "null",
    "yes",
    "0x1F",
    "<<",
    "1e3",
]
PATHS = ["../../pwned", "/etc/passwd", "C:\\pwned", "a/b", ".", "..", "CON", "file:///etc/passwd"]
LETTERS = ["\u202egnp.exe", "\u2066x\u2069", "\u200bzero", "\ufeffbom", "e\u0301", "ﬁ", "𝔘", "\x1b[31mred", "\x7f"]
LONG = ["x" * 100_000]
HOSTILE = list(dict.fromkeys([*BRACES, *QUOTES, *MARKUP, *SHELL, *YAML, *PATHS, *LETTERS, *LONG]))


def invoke(*arguments: str) -> tuple[int, str]:
    """A command in this process: its exit status, and all that it says, which has to be safe for a terminal."""
    result = CliRunner().invoke(cli.main, arguments, prog_name="mixpipe", env={"COLUMNS": "200"})
    assert result.exception is None or isinstance(result.exception, SystemExit), (arguments, result.exc_info)
    lines = result.stderr.splitlines()
    assert all(line.startswith("mixpipe: error: ") and len(line) < 5000 for line in lines), lines
    return result.exit_code, safe(result.stdout + result.stderr)


def safe(said: str) -> str:
    assert "Traceback" not in said
    assert all(letter.isprintable() or letter == "\n" for letter in said), ascii(said)
    return said


def write_rows(path: Path, columns: dict[str, object]) -> None:
    pq.write_table(pa.table(columns), path)


def left_behind(folder: Path) -> set[str]:
    """What is there, after a look for what must not be."""
    assert not [path for path in folder.parent.rglob("*") if path.name in ("pwned", "harm")]
    assert not Path("/pwned").exists()
    return {path.name for path in folder.iterdir()}


def test_table_is_long_enough():
    assert len(HOSTILE) >= 80
    assert max(map(len, HOSTILE)) == 100_000


def test_init_writes_them_as_text_and_check_reads_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(1)
    write_rows(Path("t.parquet"), {name: rng.normal(5.0, 1.0, 30) for name in HOSTILE})
    assert invoke("init", "t.parquet", "--out", "mine.yaml") == (0, "written: mine.yaml\n")
    given = yaml.safe_load(Path("mine.yaml").read_text(encoding="utf-8"))
    columns = next(iter(given["catalogs"].values()))["columns"]
    values = [(entry or {}).get("value", name) for name, entry in columns.items()]
    assert len(values) > 70
    assert set(values) <= set(HOSTILE)
    status, said = invoke("check", "mine.yaml")
    assert (status, said.count(" rows used")) == (0, len(values))
    assert left_behind(tmp_path) == {"t.parquet", "mine.yaml"}


# One of each kind.
SOME = [text for kind in (BRACES, QUOTES, MARKUP, SHELL, YAML, PATHS, LETTERS, LONG) for text in kind[:1]]


@pytest.mark.parametrize("text", mostly_campaign(HOSTILE, *SOME), ids=lambda text: ascii(text)[:40])
def test_each_is_text_in_every_key(text, tmp_path, monkeypatch):
    """What it cannot be is said in one line each."""
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text("x,e\n1,0.1\n2,0.2\n")
    column = {"value": "x", "error": "e"}
    keys = ("value", "error", "weight", "unit", "limit_flag", "upper_limit")
    columns = {key: {"releases": {"a": "t.csv"}, "columns": {"x": {**column, key: text}}} for key in keys}
    catalogs = {
        key: {"releases": {"a": "t.csv"}, "columns": {"x": column}, key: text}
        for key in ("key", "where", "path", "hdu")
    }
    listed = {"releases": {"a": ["t.csv", text]}, "columns": {"x": {**column, "kind": "densities", "grid": text}}}
    del listed["columns"]["x"]["error"]
    Path("mine.yaml").write_text(yaml.safe_dump({"catalogs": {**columns, **catalogs, "listed": listed}}))
    status, said = invoke("check", "mine.yaml")
    assert status == 2
    assert "mixpipe: error: " in said
    Path("mine.yaml").write_text(
        yaml.safe_dump({"results": text, "catalogs": {"c": {"releases": {"a": "t.csv"}, "columns": {"x": column}}}})
    )
    status, said = invoke("check", "mine.yaml")
    assert status in (0, 2)
    for section in ("catalogs", "releases", "columns"):
        good = {"releases": {"a": "t.csv"}, "columns": {"x": column}}
        catalogs = {text: good} if section == "catalogs" else {"c": {**good, section: {text: good[section]}}}
        Path("mine.yaml").write_text(yaml.safe_dump({"catalogs": catalogs}))
        status, said = invoke("check", "mine.yaml")
        assert status in (0, 2)
        # Names of folders, which a few of these can be.
        assert status == 2 or re.fullmatch(r"[\w.+-]+", text)
    assert left_behind(tmp_path) == {"t.csv", "mine.yaml"}


class Page(HTMLParser):
    """Elements, and all that is shown."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.shown: list[str] = []
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_endtag(self, tag):
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data):
        if not {"script", "style"} & set(self._open[-1:]):
            self.shown.append(data)


KEY = "<script>key</script>"
CONFIG = "M_{bol} <i>; $(touch harm) {x.__class__}.yaml"
CATALOG = "it's $(touch harm) & [b].csv"
UNITS = ["<b>{unit}</b>", "$\\frac{1}{2", "\u202etinu" + "u" * 100_000]


def project(folder: Path, root: Path) -> dict:
    """A copy of the checkout in which jobs share columns, catalogs, and a configuration with every text."""
    for part in ("workflow", "mixpipe"):
        shutil.copytree(root / part, folder / "checkout" / part)
    module = folder / "checkout/mixpipe/pipeline/plan/run.py"
    module.write_text(module.read_text(encoding="utf-8").replace("_MANY_COLUMNS = 50", "_MANY_COLUMNS = 2"))
    work = folder / "work"
    work.mkdir()
    rng, n = np.random.default_rng(1), 8
    texts = [text for text in HOSTILE if text != KEY]
    # Every one of them in one of these keys.
    parts = ("value", "upper", "lower", "weight", "limit_flag", "upper_limit", "lower_limit")
    texts += [f"filling {number}" for number in range(-len(texts) % len(parts))]
    rows = {text: rng.uniform(0.5, 1.5, n) for text in texts}
    grid = np.linspace(0.0, 1.0, 20)
    density = [np.exp(-0.5 * ((grid - 0.4 - 0.02 * i) / 0.1) ** 2).tolist() for i in range(n)]
    labels = [f"{text[:50]} {i}" for i, text in enumerate(MARKUP[:n])]
    few = {"max_components": 1, "estimators": ["em"]}
    columns = {}
    for number, names in enumerate(zip(*[iter(texts)] * len(parts), strict=True)):
        column = dict(zip(parts, names, strict=True))
        error = [column.pop("upper"), column.pop("lower")]
        columns[f"x{number}"] = {**column, "error": error, **few}
    rows |= {column["limit_flag"]: np.zeros(n) for column in columns.values()}
    write_rows(work / "t.parquet", {KEY: labels, **rows, "{pdf}": density})
    names = ["a{a}", "<b>", "c\u202e"]
    with (work / "t.ecsv").open("w", encoding="utf-8") as stream:
        kinds = [{"name": name, "unit": unit, "datatype": "float64"} for name, unit in zip(names, UNITS, strict=True)]
        header = yaml.safe_dump({"datatype": kinds, "delimiter": ","}, width=10**6)
        stream.write("\n".join(["# %ECSV 1.0", "# ---", *(f"# {line}" for line in header.splitlines()), ""]))
        csv.writer(stream, lineterminator="\n").writerows([names, *rng.normal(5.0, 1.0, (n, 3)).round(3).tolist()])
    (work / CATALOG).write_text("%{c} comment\nv{v},t\n" + "".join(f"{value},a{{b}}\n" for value in (1, 2, 4, 5)))
    cut = " and ".join(
        f"`{KEY}` != '{text}'" for text in (MARKUP + BRACES)[:30] if "'" not in text and "\n" not in text
    )
    given = {
        "catalogs": {
            "c": {"releases": {"a": "t.parquet"}, "key": KEY, "where": cut, "missing": HOSTILE, "columns": columns},
            "pdf": {
                "releases": {"a": "t.parquet"},
                "key": KEY,
                "columns": {"z": {"value": "{pdf}", "kind": "densities", "grid": [0, 1], "n_components": 1}},
            },
            "u": {
                "releases": {"a": "t.ecsv"},
                "columns": {f"u{place}": {"value": name, **few} for place, name in enumerate(names)},
            },
            "f": {
                "releases": {"a": CATALOG, "b": CATALOG},
                "comment": "%{c}",
                "where": "t == 'a{b}'",
                "columns": {"v": {"value": "v{v}", **few}},
            },
        },
        "settings": {"quality_draws": 0},
    }
    (work / CONFIG).write_text(yaml.safe_dump(given, allow_unicode=True), encoding="utf-8")
    return given


@study
def test_all_of_them_from_the_catalog_to_both_reports(tmp_path, root):
    given = project(tmp_path, root)
    work = tmp_path / "work"

    def run(*arguments: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-c", "from mixpipe.cli import main; main(prog_name='mixpipe')", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(tmp_path / "checkout"), "HOME": str(tmp_path)}
        return subprocess.run(command, cwd=work, env=environment, text=True, capture_output=True, check=False)

    checked = run("check", CONFIG)
    assert (checked.returncode, safe(checked.stderr)) == (0, "")
    safe(checked.stdout)
    done = run("run", "--config", CONFIG, "--cores", "2")
    assert done.returncode == 0, done.stderr
    safe(done.stdout + done.stderr)
    results = work / "results"
    assert left_behind(work) == {"t.parquet", "t.ecsv", CATALOG, CONFIG, "results", ".snakemake"}
    assert not any("Traceback" in log.read_text(encoding="utf-8") for log in (results / "logs").rglob("*.log"))
    with (results / "summary.csv").open(encoding="utf-8", newline="") as stream:
        assert {row["status"] for row in csv.DictReader(stream)} == {"fitted"}

    page = Page((results / "report.html").read_text(encoding="utf-8"))
    shown = "".join(page.shown)
    for text in [*HOSTILE, *UNITS, CATALOG, CONFIG]:
        assert text.strip() in shown, ascii(text)
    harmless(page)
    for picture in results.rglob("*.svg"):
        tags = {element.tag.rpartition("}")[2] for element in ElementTree.parse(picture).iter()}
        assert not tags & {"script", "foreignObject", "image", "a"}, picture
    # What the files say is what the configuration says.
    for name, column in given["catalogs"]["c"]["columns"].items():
        document = json.loads((results / f"c/a/{name}/fit.json").read_text(encoding="utf-8"))
        assert {key: document["plan"]["column"][key] for key in column} == column

    again = run("run", "--config", CONFIG, "--dry-run")
    assert "Nothing to be done" in again.stdout + again.stderr
    reported = run("run", "--config", CONFIG, "--report", "snakemake.html")
    assert reported.returncode == 0, reported.stderr
    safe(reported.stdout + reported.stderr)
    own = (work / "snakemake.html").read_text(encoding="utf-8")
    harmless(Page(own), scripts=True)
    # Short ones it has itself.
    assert not [text for text in MARKUP if "<" in text and len(text) > 10 and text in own]
    assert left_behind(work) == {
        "t.parquet", "t.ecsv", CATALOG, CONFIG, "results", ".snakemake", "snakemake.html",
    }  # fmt: skip


def harmless(page: Page, *, scripts: bool = False) -> None:
    """No element or attribute that none of the templates has."""
    tags = [tag for tag, _ in page.elements]
    assert tags.count("title") == 1
    assert not {"iframe", "object", "embed", "base", "i", "form"} & set(tags)
    for tag, attributes in page.elements:
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
        for name in ("src", "href"):
            link = attributes.get(name) or "#"
            assert scripts or link.startswith(("#", "data:image/")), link[:80]
            assert not link.startswith("javascript:")


PIECES = st.sampled_from(
    ["{", "}", "{x}", "{{", "{wildcards.catalog}", "<x>", "'", '"', "`", "\\", "%s", "$(x)", "\u202e"]
)
PRINTABLE = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=8)
TEXTS = st.lists(st.one_of(PIECES, PRINTABLE), min_size=1, max_size=4).map("".join).filter(str.strip)


@settings(max_examples=15, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(TEXTS, min_size=4, max_size=4, unique=True), TEXTS, TEXTS)
def test_any_printable_text_is_planned_as_it_stands(names, literal, file):
    """What `check` takes Snakemake takes, and the plan of a job has the text letter by letter."""
    value, error, weight, key = names
    quote = "'" if "'" not in literal else '"'
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        rows = {name: [1.0, 2.0, 3.0] for name in (value, error, weight)}
        write_rows(Path("t.parquet"), {**rows, key: ["a", "b", "c"], "text": ["d", "e", "f"]})
        column = {"value": value, "error": error, "weight": weight}
        catalog = {"releases": {"a": "t.parquet"}, "key": key, "missing": [literal], "columns": {"x": column}}
        if quote not in literal:
            catalog["where"] = f"text != {quote}{literal}{quote}"
        path = file.replace("/", "_").strip()[:40].lstrip("-.") + ".yaml"
        Path(path).write_text(yaml.safe_dump({"catalogs": {"c": catalog}}), encoding="utf-8")
        status, _ = invoke("check", path)
        assume(status == 0)
        jobs = plan_jobs(Place(path, load_config(path), None), [])
        assert {job.message for job in jobs} >= {"fitting c a x", "drawing c a x", "writing results/report.html"}
        plan = json.loads(Run(load_config(path)).fit("c", "a", "x"))
        assert [plan["column"][name] for name in column] == [value, error, weight]
        assert (plan["key"], plan["reading"]["missing"]) == (key, [literal])
