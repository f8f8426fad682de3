"""`mixpipe status`: what a run would do, and why, after each kind of change of a small run."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from mixpipe.cli import main
from mixpipe.pipeline.plan.changes import compare_plans
from mixpipe.results import provenance

CONFIG = {
    "catalogs": {
        "stars": {
            "releases": {"dr1": "data/dr1.csv", "dr2": "data/dr2_*.csv"},
            "columns": {"mass": {"value": "m", "error": "e"}},
        }
    },
    "settings": {"max_components": 1, "estimators": ["em"], "quality_draws": 0, "fits_members": True},
}
COLUMNS = ("stars dr1 mass", "stars dr2 mass")
REPORT = {"writing results/report.html", "writing results/manifest.json"}
ENDS = REPORT | {"writing results/summary.csv"}
COMPARED = "comparing stars dr1_to_dr2"
START = {"taking the fit before stars dr2 mass for a start"}


def write_data(path: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = [f"{value:.3f},{value / 50:.3f}" for value in rng.normal(5.0, 1.0, 12)]
    Path(path).write_text("\n".join(["m,e", *rows]) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The folder of a run."""
    folder = tmp_path_factory.mktemp("status") / "project"
    (folder / "data").mkdir(parents=True)
    for seed, name in enumerate(("dr1", "dr2_1", "dr2_2")):
        write_data(f"{folder}/data/{name}.csv", seed)
    (folder / "mine.yaml").write_text(yaml.safe_dump(CONFIG), encoding="utf-8")
    program = "from mixpipe.cli import main; main()"
    command = [sys.executable, "-c", program, "run", "--config", "mine.yaml", "--cores", "2"]
    done = subprocess.run(command, cwd=folder, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def config(finished, tmp_path, monkeypatch) -> Path:
    """The configuration, in a copy of what the run left that is free to change."""
    shutil.copytree(finished, tmp_path / "project", symlinks=True)
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setenv("MIXPIPE_COMMAND", "")  # the workflow sets it
    return Path("mine.yaml")


def status(config: Path) -> dict[str, list[str]]:
    """Jobs with their reasons."""
    done = CliRunner().invoke(main, ["status", str(config), "--json"])
    assert done.exit_code == 0, done.output
    return {job["job"]: job["reasons"] for job in json.loads(done.output)["jobs"]}


def fitting(*columns: str, reading: bool = False) -> set[str]:
    """All jobs of these columns."""
    result = set(ENDS)
    for column in columns:
        catalog, release, name = column.split()
        result |= {f"fitting {column}", f"drawing {column}", f"counting the rows of {catalog} {release}"}
        result |= {f"tabulating {catalog} {release}"}
        result |= {f"writing results/{catalog}/{release}/{name}/members.fits"}
        result |= {f"reading {catalog} {release}"} if reading else set()
        result |= {COMPARED} if catalog == "stars" else set()
    return result | (START if set(COLUMNS) <= set(columns) else set())


def due(jobs: dict[str, list[str]]) -> dict[str, list[str]]:
    """Jobs that do not only follow."""
    return {job: reasons for job, reasons in jobs.items() if reasons}


def change(config: Path, *path: str, value: object) -> None:
    mapping = yaml.safe_load(config.read_text(encoding="utf-8"))
    *parents, last = path
    section = mapping
    for key in parents:
        section = section.setdefault(key, {})
    section[last] = value
    config.write_text(yaml.safe_dump(mapping, sort_keys=False), encoding="utf-8")


def test_fits_say_by_which_command(finished):
    document = json.loads((finished / "results/stars/dr2/mass/fit.json").read_text(encoding="utf-8"))
    assert document["command"] == "mixpipe run --config mine.yaml"


def test_nothing_to_do(config):
    os.utime("data/dr1.csv", (2e9, 2e9))
    done = CliRunner().invoke(main, ["status", str(config)])
    assert (done.exit_code, done.output) == (0, "jobs that would be done: none\n")


@pytest.mark.parametrize(
    "path, value, reason",
    [
        (("catalogs", "stars", "columns", "mass", "error_scale"), 2, "error_scale changed from 1 to 2"),
        (("catalogs", "stars", "where"), "m > 0", "where changed from none to m > 0"),
        (("settings", "criterion"), "aic", "criterion changed from bic to aic"),
    ],
    ids=["column", "catalog", "all"],
)
def test_settings(config, path, value, reason):
    change(config, *path, value=value)
    jobs = status(config)
    assert jobs.keys() == fitting(*COLUMNS)
    assert due(jobs) == {f"fitting {column}": [reason] for column in COLUMNS}


def test_contents_of_files(config):
    write_data("data/dr2_1.csv", 7)
    Path("data/dr2_2.csv").unlink()
    write_data("data/dr2_3.csv", 8)
    jobs = status(config)
    assert jobs.keys() == fitting("stars dr2 mass", reading=True)
    reasons = [f"catalog file data/dr2_{what}" for what in ("1.csv changed", "3.csv added", "2.csv removed")]
    assert due(jobs) == {"fitting stars dr2 mass": reasons}


def test_new_columns_releases_and_catalogs(config):
    change(config, "catalogs", "stars", "columns", "e", value={})
    change(config, "catalogs", "stars", "releases", "dr3", value="data/dr1.csv")
    change(config, "catalogs", "dwarfs", value={"releases": {"a": "data/dr1.csv"}, "columns": {"m": None}})
    jobs = status(config)
    new = {"stars dr1 e": "column", "stars dr2 e": "column", "dwarfs a m": "catalog"}
    new |= {f"stars dr3 {name}": "release" for name in ("mass", "e")}
    starts = {f"taking the fit before stars {fit} for a start" for fit in ("dr2 e", "dr3 mass", "dr3 e")}
    # The new column has been read, for the errors of the other one.
    reading = {"reading stars dr3", "reading dwarfs a"}
    assert jobs.keys() == fitting(*new) | starts | reading | {"comparing stars dr2_to_dr3"}
    assert due(jobs) == {f"fitting {column}": [f"new {what}"] for column, what in new.items()}


def test_many_columns_in_one_job(config):
    names = [f"c{number:02d}" for number in range(51)]
    rows = [",".join(f"{number + row}" for number in range(51)) for row in range(3)]
    Path("data/wide.csv").write_text("\n".join([",".join(names), *rows]) + "\n", encoding="utf-8")
    columns = {name: None for name in names}
    change(config, "catalogs", "wide", value={"releases": {"a": "data/wide.csv"}, "columns": columns})
    assert due(status(config)) == {
        f"fitting wide a {first} to {last}": ["new catalog"]
        for first, last in (*((f"c{ten}0", f"c{ten}9") for ten in range(5)), ("c50", "c50"))
    }


def test_missing_results(config):
    folder = Path("results/stars/dr1")
    for name in ("mass/mixture.png", "mass/members.fits", "input.csv"):
        (folder / name).unlink()
    jobs = status(config)
    assert due(jobs) == {
        "drawing stars dr1 mass": [f"{folder}/mass/mixture.png missing"],
        f"writing {folder}/mass/members.fits": [f"{folder}/mass/members.fits missing"],
        "counting the rows of stars dr1": [f"{folder}/input.csv missing"],
    }
    assert jobs.keys() - due(jobs).keys() == REPORT
    (folder / "mass/fit.json").unlink()
    assert due(status(config))["fitting stars dr1 mass"] == ["no result is there"]


@pytest.mark.parametrize(
    "stage, edited, follow",
    [
        ("fit", {f"fitting {column}" for column in COLUMNS}, fitting(*COLUMNS)),
        ("figures", {f"drawing {column}" for column in COLUMNS}, REPORT),
        ("compare", {COMPARED}, ENDS),
        ("account", {f"counting the rows of stars {release}" for release in ("dr1", "dr2")}, {min(REPORT)}),
        ("report", {"writing results/report.html"}, {min(REPORT)}),
        ("manifest", {min(REPORT)}, set()),
    ],
)
def test_code(config, monkeypatch, stage, edited, follow):
    known = provenance.code_hash
    for place in ("mixpipe.results.provenance", "mixpipe.pipeline.plan.run", "mixpipe.cli.status"):
        monkeypatch.setattr(f"{place}.code_hash", lambda name: "0" * 64 if name == stage else known(name))
    jobs = status(config)
    assert jobs.keys() == edited | follow
    assert due(jobs) == {job: ["code of the fits changed" if stage == "fit" else "its code changed"] for job in edited}


def test_what_is_shown_of_the_configuration(config):
    change(config, "catalogs", "stars", "columns", "mass", "error_scale", value=1.0)
    jobs = status(config)
    assert jobs.keys() == REPORT
    assert due(jobs) == {"writing results/report.html": ["the configuration or the command changed"]}


def test_without_records_of_snakemake(config):
    """Snakemake would take all that it has no record of for up to date."""
    shutil.rmtree(".snakemake")
    assert status(config) == {}
    change(config, "catalogs", "stars", "columns", "mass", "error_scale", value=2)
    jobs = status(config)
    assert jobs.keys() == fitting(*COLUMNS)
    assert due(jobs) == {f"fitting {column}": ["error_scale changed from 1 to 2"] for column in COLUMNS}


def test_what_only_settings_of_figures_change_is_known_without_records_of_snakemake(config):
    shutil.rmtree(".snakemake")
    change(config, "catalogs", "stars", "columns", "mass", "label", value="$M$")
    jobs = status(config)
    drawn = {f"drawing {column}" for column in COLUMNS} | {COMPARED}
    assert jobs.keys() == drawn | ENDS
    assert due(jobs) == {job: ["the configuration changed"] for job in drawn}


def test_a_run_of_a_part_makes_only_what_it_needs_again(config):
    shutil.rmtree(".snakemake")
    change(config, "catalogs", "stars", "columns", "mass", "label", value="$M$")
    program = "from mixpipe.cli import main; main()"
    for part, expected in (("fits", set()), ("figures", {f"drawing {column}" for column in COLUMNS})):
        command = [sys.executable, "-c", program, "run", "--config", "mine.yaml", part, "--dry-run"]
        done = subprocess.run(command, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        said = (done.stdout + done.stderr).splitlines()
        assert {line.partition("] ")[2] for line in said if line.startswith("[")} == expected


def test_a_column_that_is_removed_is_known_without_records_of_snakemake(config):
    change(config, "catalogs", "stars", "releases", value={"dr1": "data/dr1.csv"})
    shutil.rmtree(".snakemake")
    assert due(status(config)) == {"writing results/summary.csv": ["the configuration changed"]} | {
        "writing results/report.html": ["the configuration changed"]
    }


def test_code_is_known_without_records_of_snakemake(config, monkeypatch):
    shutil.rmtree(".snakemake")
    known = provenance.code_hash
    for place in ("mixpipe.results.provenance", "mixpipe.pipeline.plan.derived"):
        monkeypatch.setattr(f"{place}.code_hash", lambda name: "0" * 64 if name == "account" else known(name))
    edited = {f"counting the rows of stars {release}" for release in ("dr1", "dr2")}
    assert due(status(config)) == {job: ["its code changed"] for job in edited}


def test_a_run_that_came_to_no_end_is_left_to_records_of_snakemake(config):
    Path("results/manifest.json").unlink()
    assert due(status(config)) == {"writing results/manifest.json": ["results/manifest.json missing"]}
    shutil.rmtree(".snakemake")
    again = due(status(config))
    assert again[f"drawing {COLUMNS[0]}"] == ["no record of what it was made with"]
    assert not any(job.startswith("fitting") for job in again)


def test_for_people(config):
    change(config, "catalogs", "stars", "columns", "mass", "error_scale", value=2)
    done = CliRunner().invoke(main, ["status", str(config)])
    assert done.output.splitlines() == [
        "fitting stars dr1 mass: error_scale changed from 1 to 2",
        "fitting stars dr2 mass: error_scale changed from 1 to 2",
        "and with that: taking the fit before stars dr2 mass for a start",
        "and with that: drawing stars dr1 mass, stars dr2 mass",
        "and with that: tabulating stars dr1, stars dr2",
        "and with that: counting the rows of stars dr1, the rows of stars dr2",
        "and with that: comparing stars dr1_to_dr2",
        "and with that: writing results/manifest.json, results/report.html, results/stars/dr1/mass/members.fits, "
        "results/stars/dr2/mass/members.fits, 1 more",
        "jobs that would be done: 15",
    ]


def test_settings_in_the_words_of_the_configuration():
    plan = {"files": [], "code": "x", "key": None, "column": {"error": "e"}, "effort": {"exact": True}}
    other = {"files": [], "code": "x", "key": None, "column": {"error": ["e", "f"]}, "effort": {"exact": False}}
    other["reading"] = {"missing": [-99.0]}
    assert list(compare_plans(plan, other)) == [
        "error changed from e to e, f",
        "missing changed from none to -99",
        "exact_finish changed from True to False",
    ]


def test_settings_of_joint_columns_are_named_one_by_one():
    columns = [{"name": name, "error": "e", "max_components": 10} for name in ("x", "y")]
    plan = {"files": [], "code": "x", "column": {"columns": columns, "missing": "use"}, "reading": {"missing": [-99.0]}}
    other = {**plan, "column": {"columns": [columns[0], {**columns[1], "error": "f"}], "missing": "drop"}}
    assert list(compare_plans(plan, other)) == ["missing changed from use to drop", "y: error changed from e to f"]
    other = {**plan, "column": {**plan["column"], "columns": columns[:1]}}
    assert next(compare_plans(plan, other)) == "columns changed from x, y to x"


def test_mistakes_have_status_2(config):
    change(config, "catalogs", "stars", "columns", "mass", "error", value="nothing")
    done = CliRunner().invoke(main, ["status", str(config)])
    assert done.exit_code == 2
    assert "no column 'nothing'" in done.output
    assert CliRunner().invoke(main, ["status", "elsewhere.yaml"]).exit_code == 2
