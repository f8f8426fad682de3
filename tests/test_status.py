"""`mixpipe status`: which fits a run would do, and why. The fits are stood for by what fit.json says of their plans."""

import json
import os
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from mixpipe.cli import main
from mixpipe.config import load_config
from mixpipe.pipeline.run import Run

CONFIG = {
    "catalogs": {
        "stars": {
            "releases": {"dr1": "data/dr1.csv", "dr2": "data/dr2_*.csv"},
            "columns": {"mass": {"value": "m", "error": "e"}, "age": {"truncated": [0, None]}},
        }
    },
}
OUTPUTS = ("components.csv", "selection.csv", "estimators.csv", "intervals.csv", "members.parquet")


@pytest.fixture
def config(tmp_path, monkeypatch) -> Path:
    """A configuration whose fits are all there."""
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    for name in ("dr1", "dr2_1", "dr2_2"):
        Path(f"data/{name}.csv").write_text(f"m,e,age\n1,0.1,{len(name)}\n", encoding="utf-8")
    path = Path("mine.yaml")
    path.write_text(yaml.safe_dump(CONFIG), encoding="utf-8")
    finish(path)
    return path


def finish(config: Path) -> None:
    """Leave what a run leaves, as far as status looks at it."""
    run = Run(load_config(config))
    for catalog, release in run.releases():
        for column in run.columns(catalog):
            fit = run.fit_file(catalog, release, column)
            fit.parent.mkdir(parents=True, exist_ok=True)
            for name in OUTPUTS:
                (fit.parent / name).touch()
            plan = json.loads(run.fit(catalog, release, column).replace("Infinity", "null"))
            start = {"release": "dr1", "won": False} if release == "dr2" else None
            if start is not None:
                file = run.start_file(catalog, release, column)
                file.parent.mkdir(exist_ok=True)
                file.touch()
            fit.write_text(json.dumps({"plan": plan, "start": start}), encoding="utf-8")
    for compared in ("dr1_to_dr2",):
        table = Path("results/stars/compare", compared, "summary.csv")
        table.parent.mkdir(parents=True, exist_ok=True)
        table.touch()


def status(config: Path, *options: str) -> list[str]:
    """What the command says, without the last line, which counts."""
    done = CliRunner().invoke(main, ["status", str(config), *options])
    assert done.exit_code == 0, done.output
    return done.output.replace("\n", " \n").splitlines()


def said(config: Path) -> list[str]:
    return [line.strip() for line in status(config)[:-1]]


def change(config: Path, *path: str, value: object) -> None:
    mapping = yaml.safe_load(config.read_text(encoding="utf-8"))
    *parents, last = path
    section = mapping
    for key in parents:
        section = section.setdefault(key, {})
    section[last] = value
    config.write_text(yaml.safe_dump(mapping, sort_keys=False), encoding="utf-8")


COMPARED = "stars: dr1 and dr2 would be compared"


def test_nothing_to_do(config):
    assert said(config) == []
    os.utime("data/dr1.csv", (2e9, 2e9))
    assert said(config) == []


@pytest.mark.parametrize(
    "path, value, reason",
    [
        (("error_scale",), 2, "error_scale changed from 1 to 2"),
        (("error",), "age", "error changed from e to age"),
        (("error",), ["e", "age"], "error changed from e to e, age"),
        (("transform",), "log10", "transform changed from none to log10"),
        (("max_components",), 3, "max_components changed from 10 to 3"),
    ],
)
def test_setting_of_a_column(config, path, value, reason):
    change(config, "catalogs", "stars", "columns", "mass", *path, value=value)
    assert said(config) == [f"stars dr1 mass: {reason}", f"stars dr2 mass: {reason}", COMPARED]


@pytest.mark.parametrize(
    "path, value, reason",
    [
        (("settings", "exact_finish"), False, "exact_finish changed from True to False"),
        (("settings", "criterion"), "aic", "criterion changed from bic to aic"),
        (("catalogs", "stars", "where"), "m > 0", "where changed from none to m > 0"),
        (("catalogs", "stars", "missing"), [-99], "missing changed from none to -99"),
    ],
)
def test_setting_of_all(config, path, value, reason):
    change(config, *path, value=value)
    assert [line.split(": ")[1] for line in said(config)[:-1]] == [reason] * 4


def test_contents_of_files(config):
    Path("data/dr2_1.csv").write_text("m,e,age\n2,0.1,3\n", encoding="utf-8")
    Path("data/dr2_2.csv").unlink()
    Path("data/dr2_3.csv").write_text("m,e,age\n2,0.1,3\n", encoding="utf-8")
    reasons = [
        "catalog file data/dr2_1.csv changed",
        "catalog file data/dr2_3.csv added",
        "catalog file data/dr2_2.csv removed",
    ]
    assert said(config) == [f"stars dr2 {name}: {reason}" for name in ("age", "mass") for reason in reasons] + [
        COMPARED
    ]


def test_new_and_missing(config):
    change(config, "catalogs", "stars", "columns", "e", value={})
    change(config, "catalogs", "stars", "releases", "dr3", value="data/dr1.csv")
    change(config, "catalogs", "dwarfs", value={"releases": {"a": "data/dr1.csv"}, "columns": {"m": None}})
    Path("results/stars/dr1/mass/fit.json").unlink()
    Path("results/stars/dr1/age/members.parquet").unlink()
    assert said(config) == [
        "stars dr1 age: results/stars/dr1/age/members.parquet is missing",
        "stars dr1 mass: no result is there",
        "stars dr1 e: new column",
        "stars dr2 e: new column",
        *(f"stars dr3 {name}: new release" for name in ("age", "mass", "e")),
        "dwarfs a m: new catalog",
        COMPARED,
        "stars: dr2 and dr3 would be compared",
    ]


def test_code(config):
    path = Path("results/stars/dr2/mass/fit.json")
    document = json.loads(path.read_text(encoding="utf-8"))
    document["plan"]["code"] = "0" * 64
    path.write_text(json.dumps(document), encoding="utf-8")
    assert said(config) == ["stars dr2 mass: code of the fits changed", COMPARED]


def test_json(config):
    change(config, "catalogs", "stars", "columns", "mass", "error_scale", value=2)
    document = json.loads(" ".join(status(config, "--json")))
    assert document["n_fits"] == 4
    assert document["fits"][0] == {
        "catalog": "stars",
        "release": "dr1",
        "column": "mass",
        "reasons": ["error_scale changed from 1 to 2"],
    }
    assert document["comparisons"] == [{"catalog": "stars", "old": "dr1", "new": "dr2"}]


def test_mistakes_have_status_2(config):
    change(config, "catalogs", "stars", "columns", "mass", "error", value="nothing")
    done = CliRunner().invoke(main, ["status", str(config)])
    assert done.exit_code == 2
    assert "no column 'nothing'" in done.output
    assert CliRunner().invoke(main, ["status", "elsewhere.yaml"]).exit_code == 2
