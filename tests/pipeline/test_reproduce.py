"""`mixpipe reproduce`: numbers are the same, or how far apart, for fits of a run and of the command line."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from mixpipe.cli import main
from mixpipe.config.settings import parse_config
from mixpipe.pipeline.fit import fit_column
from mixpipe.pipeline.ingest import ingest_release
from mixpipe.pipeline.plan.run import Run
from tests.campaign import campaign

NAMES = ("components", "selection", "estimators", "intervals", "covariance", "bimodality", "members", "fit")


def write_stars(path: Path, seed: int, n: int = 60) -> None:
    rng = np.random.default_rng(seed)
    mass = np.where(np.arange(n) < n // 2, 1.0, 4.0) + rng.normal(0, 0.3, n)
    rows = [f"{name},{value:.4f},{value / 10:.3f}" for name, value in enumerate(mass)]
    path.write_text("\n".join(["id,m,e", *rows]) + "\n", encoding="utf-8")


def do_release(run: Run, release: str, start: str | None = None) -> Path:
    """Ingest and fit the column of one release, as the workflow does; the folder of the fit."""
    (part,) = run.ingested("stars", release, "m")
    ingest_release(run.ingest("stars", release, Path(part).stem), part)
    folder = run.fit_file("stars", release, "m").parent
    outputs = {name: str(folder / f"{name}.out") for name in NAMES[:-1]} | {"fit": str(folder / "fit.json")}
    fit_column(run.fit("stars", release, "m"), [part], **outputs, start=[start] if start else [])
    return folder


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Two files as one release, fitted by the stages of the workflow."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MIXPIPE_COMMAND", "mixpipe run --config mine.yaml")
    write_stars(Path("a.csv"), 1)
    write_stars(Path("b.csv"), 2)
    column = {"error": "e", "max_components": 3, "estimators": ["em", "moments"]}
    catalog = {"releases": {"dr1": ["a.csv", "b.csv"]}, "key": "id", "where": "m > 0.2", "columns": {"m": column}}
    return do_release(Run(parse_config({"catalogs": {"stars": catalog}})), "dr1")


def reproduce(path: Path, *options: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["reproduce", str(path), *options])
    return done.exit_code, " ".join(done.output.split())


def edit(path: Path, change) -> None:
    document = json.loads(path.read_text(encoding="utf-8"))
    change(document)
    path.write_text(json.dumps(document), encoding="utf-8")


def test_fit_says_by_which_command(folder, monkeypatch):
    """Of a run what the workflow says, else the command line as it can be typed again; numbers do not depend on it."""
    document = json.loads((folder / "fit.json").read_text(encoding="utf-8"))
    assert document["command"] == "mixpipe run --config mine.yaml"
    assert document["command"] not in json.dumps(document["plan"])
    words = ["fit", "a.csv", "--value", "m", "--n-components", "1", "--where", "m > 0.3", "--out", "out"]
    monkeypatch.setattr("sys.argv", ["/somewhere/bin/mixpipe", *words])
    assert CliRunner().invoke(main, words).exit_code == 0
    document = json.loads(Path("out/fit.json").read_text(encoding="utf-8"))
    assert document["command"] == "mixpipe fit a.csv --value m --n-components 1 --where 'm > 0.3' --out out"
    edit(Path("out/fit.json"), lambda document: document.update(command="another"))
    assert reproduce(Path("out"))[0] == 0


def test_fit_of_a_run_is_the_same(folder):
    assert reproduce(folder) == (0, "stars dr1 m: the same numbers, to the last bit")
    status, text = reproduce(folder / "fit.json", "--json")
    document = json.loads(text)
    assert (status, document["same"], document["differs"], document["versions"]) == (0, True, [], {})
    assert document["same_code"]


@pytest.mark.parametrize(
    "options",
    [
        ["--n-components", "2", "--error", "e"],
        pytest.param(
            ["--max-components", "2", "--error", "e,e", "--truncated", "0,", "--bootstrap", "3", "--seed", "4"],
            marks=campaign,
        ),
        pytest.param(
            ["--max-components", "2", "--error", "e", "--estimator", "moments", "--where", "m > 0.3"],
            marks=campaign,
        ),
        ["--max-components", "2", "--error", "e", "--transform", "log10", "--missing", "1"],
    ],
    ids=["one size", "truncated", "moments", "transformed"],
)
def test_fit_of_the_command_line_is_the_same(tmp_path, monkeypatch, options):
    monkeypatch.chdir(tmp_path)
    write_stars(Path("a.csv"), 1)
    made = CliRunner().invoke(main, ["fit", "a.csv", "--value", "m", *options, "--out", "out"])
    assert made.exit_code == 0, made.output
    assert reproduce(Path("out")) == (0, "a.csv m: the same numbers, to the last bit")


def test_other_numbers_are_measured(folder):
    """A mean that is half a standard error off, and another version: what differs, by how much, and why maybe."""

    def shift(document):
        document["components"][1]["mean"] += 0.5 * document["components"][1]["mean_unc"]
        document["versions"]["numpy"] = "0.1"
        document["plan"]["code"] = "0" * 64

    edit(folder / "fit.json", shift)
    status, text = reproduce(folder)
    assert status == 1
    assert "at most by 0.5 standard errors (mean of component 2)" in text
    assert "what differs in fit.json: components" in text
    assert f"numpy: 0.1 then, {np.__version__} now" in text
    assert "the code of the fits is another than then" in text
    document = json.loads(reproduce(folder, "--json")[1])
    assert document["largest_difference"] == pytest.approx(0.5, rel=1e-9)
    assert document["parameter"] == "mean of component 2"


def test_another_number_of_components(folder):
    edit(folder / "fit.json", lambda document: document["components"].pop())
    status, text = reproduce(folder)
    assert status == 1
    assert "1 components then, 2 now" in text


def test_the_last_bit_counts(folder):
    def nudge(document):
        document["loglik"] = float(np.nextafter(document["loglik"], 0.0))

    edit(folder / "fit.json", nudge)
    status, text = reproduce(folder)
    assert status == 1
    assert "other numbers, though not of the parameters" in text
    assert "what differs in fit.json: loglik" in text


def test_what_the_user_can_mend(folder, monkeypatch):
    content = Path("b.csv").read_text(encoding="utf-8")
    Path("b.csv").write_text(content.replace("1.", "1.1", 1), encoding="utf-8")
    status, text = reproduce(folder)
    assert status == 2
    assert text.startswith("mixpipe: error: b.csv has changed since: its SHA-256 is ")
    assert "Traceback" not in text
    Path("b.csv").unlink()
    status, text = reproduce(folder)
    assert (status, text.startswith("mixpipe: error: cannot read b.csv (No such file or directory)")) == (2, True)
    for content in ("{", "[]", "{}", '{"plan": {}}'):
        Path("fit.json").write_text(content, encoding="utf-8")
        assert reproduce(Path("fit.json"))[0] == 2
    assert reproduce(Path("nowhere"))[0] == 2


def test_densities_are_refused(tmp_path):
    path = tmp_path / "fit.json"
    path.write_text(json.dumps({"kind": "densities", "plan": {"files": []}}), encoding="utf-8")
    status, text = reproduce(path)
    assert status == 2
    assert "expected the fit.json of a fit to a column of values" in text
