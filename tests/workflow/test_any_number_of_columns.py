"""The same names, settings and places for catalogs of few columns, one a job, and of many, which share jobs."""

import json
import os
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.campaign import mostly_study
from tests.outputs import PAPER
from tests.workflow.forks import run_forked

RELEASES = ("r1", "r2")
FITTED = (
    "bimodality.csv",
    "components.csv",
    "covariance.csv",
    "estimators.csv",
    "fit.json",
    "intervals.csv",
    "members.parquet",
    "selection.csv",
)
DRAWN = ("classes", "estimators", "mixture", "quality", "selection")
# Fifty columns are the most that have a job each; of more, ten share one.
N_FITS = {1: 2, 50: 100, 51: 12}


# Snakemake with a line of JSON for each job that it plans.
PLAN = """
import json, sys
from types import SimpleNamespace
from snakemake.cli import main
from mixpipe.cli import jobs, planning

class LogHandler(planning.LogHandler):
    def emit(self, record):
        entry = record.__dict__
        if entry.get("event") == planning.LogEvent.JOB_INFO:
            names = ("rule_name", "output", "log", "threads")
            print(json.dumps({**{name: entry[name] for name in names}, "resources": dict(entry["resources"].items())}))

module = SimpleNamespace(LogHandler=LogHandler)
main([*sys.argv[1:], f"--logger={jobs.register('plan', module)}"])
"""


@dataclass(frozen=True)
class Planned:
    """A job of a dry run."""

    rule: str
    output: tuple[str, ...]
    log: tuple[str, ...]
    threads: int
    resources: dict[str, object]


class Wide:
    """A catalog of so many columns in two releases, of which nothing is fitted."""

    def __init__(self, folder: Path, root: Path, n_columns: int) -> None:
        self.folder, self.root, self.n_columns = folder, root, n_columns
        self.names = [f"c{number:02d}" for number in range(n_columns)]
        for place, release in enumerate(RELEASES):
            rows = [",".join(str(number + row + place) for number in range(n_columns)) for row in range(3)]
            (folder / f"{release}.csv").write_text("\n".join([",".join(self.names), *rows, ""]), encoding="utf-8")
        releases = {release: f"{release}.csv" for release in RELEASES}
        catalog = {"releases": releases, "columns": {name: {"max_components": 1} for name in self.names}}
        given = {"catalogs": {"wide": catalog}, "settings": {"fits_members": True}}
        (folder / "mine.yaml").write_text(yaml.safe_dump(given), encoding="utf-8")

    def snakemake(self, *arguments: str) -> subprocess.CompletedProcess:
        options = ["--snakefile", str(self.root / "workflow/Snakefile"), "--cores", "2", "--configfile", "mine.yaml"]
        kept = {name: value for name, value in os.environ.items() if name != "SNAKEMAKE_PROFILE"}
        environment = {**kept, "PYTHONPATH": str(self.root)}
        return run_forked([*options, "--dry-run", *arguments], self.folder, environment, PLAN)

    def plan(self, *arguments: str) -> list[Planned]:
        """The jobs that would be done; those that only ask for others are none."""
        done = self.snakemake(*arguments)
        assert done.returncode == 0, done.stderr
        jobs = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        return [
            Planned(
                job["rule_name"],
                tuple(name.removesuffix(" (update)") for name in job["output"]),
                tuple(job["log"]),
                job["threads"],
                job["resources"],
            )
            for job in jobs
            if job["output"]
        ]

    def files(self, *names: str) -> list[str]:
        """Files of these names of each column."""
        folders = [f"results/wide/{release}/{column}" for release in RELEASES for column in self.names]
        return sorted(f"{folder}/{name}" for folder in folders for name in names)


@pytest.fixture(scope="module", params=mostly_study([1, 50, 51], 51))
def wide(request, tmp_path_factory, root) -> Wide:
    return Wide(tmp_path_factory.mktemp("wide"), root, request.param)


def made(jobs: list[Planned], rule: str) -> list[str]:
    return sorted(file for job in jobs if job.rule == rule for file in job.output)


def numbers(jobs: list[Planned]) -> Counter:
    """How many jobs of each rule; beside those that come before the fits."""
    return Counter(job.rule for job in jobs if job.rule not in ("ingest", "start"))


def test_what_can_be_asked_for_is_the_same(wide):
    n_fits = N_FITS[wide.n_columns]
    pictures = [f"{figure}.{kind}" for figure in DRAWN for kind in ("png", "svg", "pdf")]
    fits = wide.plan("fits")
    assert numbers(fits) == {"fit": n_fits}
    assert made(fits, "fit") == wide.files(*FITTED)
    figures = wide.plan("figures")
    assert numbers(figures) == {"fit": n_fits, "draw": n_fits}
    assert made(figures, "draw") == wide.files(*pictures, "curves.json")
    members = wide.plan("members")
    assert numbers(members) == {"fit": n_fits, "export": n_fits}
    assert made(members, "export") == wide.files("members.fits")
    papers = wide.plan("papers")
    # All columns of a release share a job.
    assert numbers(papers) == {"fit": n_fits, "paper": len(RELEASES)}
    assert made(papers, "paper") == wide.files(*sorted(PAPER))
    assert numbers(wide.plan("comparisons")) == {"fit": n_fits, "compare": 1}


def test_settings_reach_all_fits(wide):
    jobs = wide.plan("--until", "fit")
    # Snakemake ends in front of what follows on a fit, and that is also the fit of the next release.
    assert numbers(jobs) == {"fit": N_FITS[wide.n_columns] // 2}
    assert made(jobs, "fit") == [file for file in wide.files(*FITTED) if "/r1/" in file]
    jobs = wide.plan("fits", "--set-threads", "fit=2", "--set-resources", "fit:mem_mb=1234", "fit:runtime=56")
    assert numbers(jobs) == {"fit": N_FITS[wide.n_columns]}
    for job in jobs:
        if job.rule == "fit":
            assert job.threads == 2
            assert (job.resources["mem_mb"], job.resources["runtime"]) == (1234, 56)


def test_a_column_has_its_log_where_the_manual_says(wide):
    jobs = wide.plan()
    for rule, folder in {"fit": "fit", "draw": "figures", "export": "members", "paper": "paper"}.items():
        logs = sorted(log for job in jobs if job.rule == rule for log in job.log)
        assert logs == [
            f"results/logs/{folder}/wide/{release}/{name}.log" for release in RELEASES for name in wide.names
        ]


def test_one_file_is_asked_for_by_its_name(wide):
    last = wide.names[-1]
    jobs = wide.plan(f"results/wide/r1/{last}/mixture.png")
    assert Counter(job.rule for job in jobs) == {"ingest": 1, "fit": 1, "draw": 1}
    assert f"results/wide/r1/{last}/fit.json" in made(jobs, "fit")
    nothing = wide.snakemake("results/wide/r1/other/fit.json")
    assert (nothing.returncode, nothing.stdout) == (1, "")
