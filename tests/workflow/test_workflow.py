"""The workflow end to end, and what it does again when something changes.

One run of a small configuration with a copy of the checkout, and dry runs on copies of what it left. The stages alone
at the end.
"""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from mixpipe.base.errors import CatalogError, MixpipeError
from mixpipe.config.settings import parse_config
from mixpipe.pipeline.fit import fit_column
from mixpipe.pipeline.ingest import ingest_release
from mixpipe.pipeline.plan.run import Run
from mixpipe.pipeline.plan.texts import FIT_FILES
from mixpipe.results.verification import verify_results
from tests.campaign import campaign, mostly_campaign, study
from tests.cluster.slurm import HOUR
from tests.outputs import IMAGES, PAPER, TABLES
from tests.workflow.forks import run_forked

CONFIG = {
    "catalogs": {
        "stars": {
            "releases": {2018: "data/stars_2018.csv", "dr2": "data/stars_dr2_*.csv"},
            "key": "id",
            "columns": {"mass": {"value": "m", "error": "e_m", "unit": "Msun"}},
        },
        "planets": {
            "releases": {"all": "data/planets.csv"},
            "where": "kind == 'rocky'",
            "missing": [-99],
            "columns": {"radius": {"value": "r", "error": ["r_up", "r_lo"]}, "period": {"transform": "log10"}},
        },
    },
    "settings": {"max_components": 2},
}
REPORT = {"writing results/report.html", "writing results/manifest.json"}
ENDS = REPORT | {"writing results/summary.csv"}


def write_csv(path: Path, **columns) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def stars(seed: int, n: int = 40) -> dict:
    rng = np.random.default_rng(seed)
    mass = np.where(np.arange(n) < n // 2, 1.0, 4.0) + rng.normal(0, 0.3, n)
    return {"id": [f"star {seed} {i}" for i in range(n)], "m": mass.round(4), "e_m": rng.uniform(0.1, 0.2, n)}


def planets() -> dict:
    rng = np.random.default_rng(3)
    n = 40
    radius = rng.normal(1.0, 0.2, n).round(3)
    radius[:2] = -99
    return {
        "kind": ["rocky"] * 35 + ["gas"] * 5,
        "r": radius,
        "r_up": [0.1] * n,
        "r_lo": [-0.2] * n,
        "period": np.exp(rng.normal(2.0, 1.0, n)),
        "spare": rng.uniform(0.1, 0.2, n),
    }


class Project:
    """A folder with a copy of the checkout, a configuration and catalogs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "mine.yaml"
        self.results = folder / "results"

    def snakemake(self, *arguments: str, snakefile: str = "checkout/workflow/Snakefile") -> subprocess.CompletedProcess:
        profile = ["--workflow-profile", "checkout/workflow/profiles/test"]
        options = ["--snakefile", snakefile, *profile, *arguments]
        environment = {**os.environ, "PYTHONPATH": str(self.folder / "checkout")}
        environment.pop("SNAKEMAKE_PROFILE", None)
        if "--dry-run" in arguments:
            return run_forked(options, self.folder, environment)
        command = [sys.executable, "-m", "snakemake", *options]
        return subprocess.run(
            command, cwd=self.folder, env=environment, text=True, capture_output=True, timeout=HOUR, check=False
        )

    def planned(self) -> set[str]:
        """What a dry run says would be done."""
        done = self.snakemake("--configfile", self.config.name, "--dry-run")
        assert done.returncode == 0, done.stderr + done.stdout
        return set(re.findall(r"^Job \d+: (.+)$", done.stdout + done.stderr, flags=re.MULTILINE))

    def change(self, *path: object, value: object) -> None:
        config = yaml.safe_load(self.config.read_text(encoding="utf-8"))
        *parents, last = path
        section = config
        for key in parents:
            section = section[key]
        section[last] = value
        self.config.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")

    def edit(self, module: str) -> None:
        path = self.folder / "checkout" / "mixpipe" / module
        path.write_text(f"{path.read_text(encoding='utf-8')}# edited\n", encoding="utf-8")

    def errors(self) -> list[str]:
        """The last lines of a run that must fail before its first job."""
        failed = self.snakemake("--configfile", self.config.name)
        assert failed.returncode == 2
        assert "Job stats" not in failed.stdout + failed.stderr
        assert "Traceback" not in failed.stderr
        return [line for line in failed.stderr.strip().splitlines()[-5:] if line.startswith("mixpipe: ")]


def jobs(*columns: str, reading: bool = True) -> set[str]:
    """All jobs of these columns, from the catalog to the report."""
    result = set()
    for column in columns:
        catalog, release, _ = column.split()
        result |= {f"fitting {column}", f"drawing {column}", f"counting the rows of {catalog} {release}"}
        result |= {f"tabulating {catalog} {release}"}
        result |= {f"reading {catalog} {release}"} if reading else set()
        # The only catalog with two releases.
        result |= {"comparing stars 2018_to_dr2"} if catalog == "stars" else set()
    return result | ENDS


COLUMNS = ("stars 2018 mass", "stars dr2 mass", "planets all radius", "planets all period")
# The second release is climbed from the first one, too.
START = {"taking the fit before stars dr2 mass for a start"}
ALL = jobs(*COLUMNS) | START
FITS = jobs(*COLUMNS, reading=False) | START
FIGURES = {f"drawing {column}" for column in COLUMNS}


@pytest.fixture(scope="module")
def finished(tmp_path_factory, root) -> Project:
    """A project after a whole run."""
    folder = tmp_path_factory.mktemp("workflow") / "project"
    for part in ("workflow", "mixpipe"):
        shutil.copytree(root / part, folder / "checkout" / part)
    data = folder / "data"
    data.mkdir()
    write_csv(data / "stars_2018.csv", **stars(1))
    write_csv(data / "stars_dr2_1.csv", **stars(2))
    write_csv(data / "stars_dr2_2.csv", **stars(4, 20))
    write_csv(data / "planets.csv", **planets())
    project = Project(folder)
    project.config.write_text(yaml.safe_dump(CONFIG, sort_keys=False), encoding="utf-8")
    done = project.snakemake("--configfile", project.config.name)
    assert done.returncode == 0, done.stderr
    return project


@pytest.fixture
def project(finished, tmp_path) -> Project:
    """A copy of the finished project, free to change."""
    shutil.copytree(finished.folder, tmp_path / "project", symlinks=True)
    return Project(tmp_path / "project")


def rows(path: Path) -> list[dict]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_results_are_complete(finished):
    for column in ("stars/2018/mass", "stars/dr2/mass", "planets/all/radius", "planets/all/period"):
        folder = finished.results / column
        names = TABLES | PAPER | IMAGES | {"curves.json"}
        assert {path.name for path in folder.iterdir()} == names
        assert all(path.stat().st_size > 0 for path in folder.iterdir())
    page = (finished.results / "report.html").read_text(encoding="utf-8")
    given = "--snakefile checkout/workflow/Snakefile --workflow-profile checkout/workflow/profiles/test --configfile"
    assert f'<code id="command">snakemake {given} mine.yaml' in page


def test_summary_has_a_row_per_fit_in_order(finished):
    summary = rows(finished.results / "summary.csv")
    assert [(row["catalog"], row["release"], row["column"]) for row in summary] == [
        ("stars", "2018", "mass"),
        ("stars", "dr2", "mass"),
        ("planets", "all", "radius"),
        ("planets", "all", "period"),
    ]
    assert [int(row["n_data"]) for row in summary] == [40, 60, 33, 35]
    assert [int(row["n_dropped"]) for row in summary] == [0, 0, 7, 5]
    assert [int(row["n_components"]) for row in summary[:2]] == [2, 2]
    assert list(summary[0]) == [
        "catalog",
        "release",
        "column",
        "kind",
        "unit",
        "n_data",
        "n_dropped",
        "n_components",
        "criterion",
        "loglik",
        "bic",
        "converged",
        "ks",
        "ks_pvalue",
        "ad",
        "ad_pvalue",
        "quality",
        "verdict",
        "warnings",
        "sigma_floor",
        "floor_cause",
        "status",
        "reason",
        "answer",
        "basis",
    ]


def test_account_names_reasons_and_files(finished):
    radius, period = rows(finished.results / "planets/all/input.csv")
    assert (radius["column"], radius["n_read"], radius["n_used"]) == ("radius", "40", "33")
    dropped = {name: int(count) for name, count in radius.items() if name.startswith("dropped_") and int(count)}
    assert dropped == {"dropped_cut": 5, "dropped_missing_value": 2}
    assert (radius["value"], radius["error"], period["error"]) == ("r", "r_up; r_lo", "none")
    (dr2,) = rows(finished.results / "stars/dr2/input.csv")
    assert dr2["files"] == "data/stars_dr2_1.csv; data/stars_dr2_2.csv"
    expected = subprocess.run(
        ["sha256sum", "data/stars_dr2_1.csv", "data/stars_dr2_2.csv"],
        cwd=finished.folder,
        text=True,
        capture_output=True,
        check=True,
    )
    assert dr2["sha256"].split("; ") == [line.split()[0] for line in expected.stdout.splitlines()]


def test_a_release_is_read_once_and_only_what_is_needed(finished):
    (path,) = (finished.results / "planets/all/ingest").iterdir()
    assert sorted(pq.read_schema(path).names) == ["kind", "period", "r", "r_lo", "r_up"]


def test_fit_says_what_it_was_made_from(finished):
    document = json.loads((finished.results / "stars/2018/mass/fit.json").read_text(encoding="utf-8"))
    assert (document["plan"]["column"]["value"], document["plan"]["key"]) == ("m", "id")
    planets = json.loads((finished.results / "planets/all/radius/fit.json").read_text(encoding="utf-8"))
    assert planets["plan"]["reading"] == {
        "format": "auto",
        "hdu": None,
        "path_in_file": None,
        "comment": None,
        "delimiter": None,
        "decimal": None,
        "missing": [-99.0],
    }
    assert {"mixpipe", "numpy", "python"} <= set(document["versions"])
    means = [component["mean"] for component in document["components"]]
    # Two groups of 20 with a scatter of 0.3 around 1 and 4: five standard errors.
    assert np.abs(np.array(means) - [1.0, 4.0]).max() < 5 * 0.35 / np.sqrt(20)
    members = pq.read_table(finished.results / "stars/2018/mass/members.parquet").to_pandas()
    assert members["id"].tolist() == [f"star 1 {i}" for i in range(40)]


def touch(project: Project) -> None:
    for path in (project.folder / "data").iterdir():
        os.utime(path, (time.time() + 5, time.time() + 5))


def reorder_keys(project: Project) -> None:
    """Everything but the catalogs and their columns, whose order is that of the tables."""
    config = yaml.safe_load(project.config.read_text(encoding="utf-8"))
    catalogs = {name: dict(reversed(entry.items())) for name, entry in config["catalogs"].items()}
    config = {"settings": config["settings"], "catalogs": catalogs}
    project.config.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")


def reorder_columns(project: Project) -> None:
    columns = CONFIG["catalogs"]["planets"]["columns"]
    project.change("catalogs", "planets", "columns", value=dict(reversed(columns.items())))


def rename_a_star(project: Project, age: float) -> None:
    """New content of a file that is as old as before, or older: as from an archive, or by cp -p."""
    path = project.folder / "data/stars_2018.csv"
    before = path.stat().st_mtime
    path.write_text(path.read_text(encoding="utf-8").replace("star 1 0", "star 1 x"), encoding="utf-8")
    os.utime(path, (before - age, before - age))


def revise_planets(project: Project) -> None:
    table = planets()
    table["r"][5] = 1.5
    write_csv(project.folder / "data/planets.csv", **table)


def add_release(project: Project) -> None:
    write_csv(project.folder / "data/stars_dr3.csv", **stars(6))
    project.change("catalogs", "stars", "releases", "dr3", value="data/stars_dr3.csv")


def set_column(*path: object, value: object) -> Callable[[Project], None]:
    return lambda project: project.change("catalogs", "planets", "columns", *path, value=value)


# What each kind of change does again. The changes of a block have nothing to do with each other: one dry run shows what
# all of them together do, and that none keeps Snakemake from looking at the jobs of another.
TABLE = [
    {
        "nothing": (lambda project: None, set()),
        "touched files": (touch, set()),
    },
    {
        "catalog of other content, older": (lambda project: rename_a_star(project, 1e6), jobs("stars 2018 mass")),
        "catalog of other content, newer": (revise_planets, jobs("planets all radius", "planets all period")),
    },
    {
        "catalog of other content, same date": (lambda project: rename_a_star(project, 0), jobs("stars 2018 mass")),
        "edited figures": (
            lambda project: project.edit("report/figures/mixture.py"),
            FIGURES | REPORT,
        ),
        "another error column, which was not read": (
            set_column("radius", "error", value="spare"),
            jobs("planets all radius"),
        ),
    },
    {
        "file added to a release": (
            lambda project: write_csv(project.folder / "data/stars_dr2_3.csv", **stars(5)),
            jobs("stars dr2 mass"),
        ),
        "setting of a column": (
            set_column("radius", "error_scale", value=2),
            jobs("planets all radius", reading=False),
        ),
        "column added": (set_column("spare", value={}), jobs("planets all spare")),
    },
    {
        "file removed from a release": (
            lambda project: (project.folder / "data/stars_dr2_2.csv").unlink(),
            jobs("stars dr2 mass", reading=False),
        ),
        "column removed": (
            set_column(value={"period": {"transform": "log10"}}),
            {"counting the rows of planets all", "tabulating planets all"} | ENDS,
        ),
    },
    {
        "release added": (
            add_release,
            jobs("stars dr3 mass") - {"comparing stars 2018_to_dr2"}
            | {"comparing stars dr2_to_dr3", "taking the fit before stars dr3 mass for a start"},
        ),
        "row cut": (
            lambda project: project.change("catalogs", "planets", "where", value="kind == 'gas'"),
            jobs("planets all radius", "planets all period", reading=False),
        ),
    },
    {
        "release removed": (
            lambda project: project.change("catalogs", "stars", "releases", value={"dr2": "data/stars_dr2_*.csv"}),
            ENDS,
        ),
        "columns in another order": (reorder_columns, {"counting the rows of planets all"} | ENDS),
    },
    {
        "another error column, which was read": (
            set_column("radius", "error", value="r_up"),
            jobs("planets all radius", reading=False),
        ),
        "edited comparison": (
            lambda project: project.edit("assess/comparison/influence.py"),
            {"comparing stars 2018_to_dr2"} | ENDS,
        ),
    },
    {
        # The report shows the configuration.
        "keys in another order": (reorder_keys, REPORT),
        "equal setting, written otherwise": (set_column("radius", "error_scale", value=1.0), REPORT),
        "the default, written out": (set_column("period", "max_components", value=2), REPORT),
    },
    {
        "name and axis of a column in figures": (
            lambda project: (
                set_column("radius", "label", value="$R$")(project),
                set_column("radius", "figure", value={"range": [0, 9], "bins": 9})(project),
            ),
            {"drawing planets all radius"} | REPORT,
        ),
    },
    {
        "style of figures": (
            lambda project: project.change("settings", "style", value="grayscale"),
            FIGURES | {"comparing stars 2018_to_dr2"} | ENDS,
        )
    },
    {"setting of all fits": (lambda project: project.change("settings", "seed", value=2), FITS)},
    {"edited numerics": (lambda project: project.edit("fitting/gaussian/likelihood.py"), FITS)},
    {"edited report": (lambda project: project.edit("report/templates/report.html.j2"), REPORT)},
]


@pytest.mark.parametrize("changes", mostly_campaign(TABLE, *TABLE[:4], TABLE[-2]), ids=" + ".join)
def test_what_is_done_again(project, changes):
    expected: set[str] = set()
    for change, again in changes.values():
        change(project)
        expected |= again
    assert project.planned() == expected


@study
def test_many_columns_share_jobs_and_only_what_changed_is_fitted(tmp_path, root):
    for part in ("workflow", "mixpipe"):
        shutil.copytree(root / part, tmp_path / "checkout" / part)
    # As if these were many.
    module = tmp_path / "checkout/mixpipe/pipeline/plan/run.py"
    few = module.read_text(encoding="utf-8").replace("_MANY_COLUMNS = 50", "_MANY_COLUMNS = 2")
    module.write_text(few.replace("_BATCH_COLUMNS = 10", "_BATCH_COLUMNS = 2"), encoding="utf-8")
    project = Project(tmp_path)
    names = ("a", "b", "c")
    rng = np.random.default_rng(8)
    for release in ("r1", "r2"):
        write_csv(tmp_path / f"{release}.csv", **{name: rng.normal(-5.0, 1.0, 20) for name in names})
    columns = {name: {"max_components": 1} for name in names}
    catalogs = {"wide": {"releases": {"r1": "r1.csv", "r2": "r2.csv"}, "columns": columns}}
    project.config.write_text(yaml.safe_dump({"catalogs": catalogs}, sort_keys=False), encoding="utf-8")
    ends = {f"{doing} wide r{k}" for doing in ("counting the rows of", "tabulating") for k in (1, 2)}
    ends |= {"comparing wide r1_to_r2"} | ENDS
    first = {f"{doing} wide r{release} a to b" for doing in ("fitting", "drawing") for release in (1, 2)}
    last = {f"drawing wide r{release} c to c" for release in (1, 2)}
    starts = [f"taking the fit before wide r2 batch_00{number} for a start" for number in (0, 1)]
    everything = first | last | {line.replace("drawing", "fitting") for line in last} | set(starts) | ends
    assert project.planned() == everything | {"reading wide r1", "reading wide r2"}

    folders = [project.results / "wide" / release for release in ("r1", "r2")]
    targets = [f"results/wide/r{release}/{name}/fit.json" for release in (1, 2) for name in names]
    done = project.snakemake(*targets, "--configfile", "mine.yaml")
    assert done.returncode == 0, done.stderr
    before = [{name: contents(folder / name) for name in names} for folder in folders]
    assert all(len(files) == 8 for fits in before for files in fits.values())
    # Each has climbed from the fit of its own column.
    assert [json.loads(before[1][name]["fit.json"])["start"]["release"] for name in names] == ["r1"] * 3
    with (folders[1] / "starts/batch_000.json").open(encoding="utf-8") as taken:
        assert taken.read() == "".join(before[0][name]["fit.json"].decode() for name in ("a", "b"))

    project.change("catalogs", "wide", "columns", "b", "error_floor", value=0.1)
    assert project.planned() == first | last | {starts[0]} | ends
    done = project.snakemake(*targets, "--configfile", "mine.yaml")
    assert done.returncode == 0, done.stderr
    for release, folder in enumerate(folders):
        logs = project.results / f"logs/fit/wide/r{release + 1}"
        said = {name: (logs / f"{name}.log").read_text(encoding="utf-8") for name in ("a", "b")}
        assert f"results/wide/r{release + 1}/a/fit.json: as planned" in said["a"]
        assert "column b: 20 rows read" in said["b"] and "column" not in said["a"] and "a/fit.json" not in said["b"]
        # Also the seconds of a fit, which are never the same twice.
        assert contents(folder / "a") == before[release]["a"] and contents(folder / "c") == before[release]["c"]
        assert contents(folder / "b") != before[release]["b"]
    again = project.snakemake(*targets, "--configfile", "mine.yaml", "--dry-run")
    assert again.returncode == 0 and "fitting wide" not in again.stdout + again.stderr

    # A table that is lost.
    lost = folders[0] / "b/selection.csv"
    held = lost.read_bytes()
    lost.unlink()
    again = project.planned()
    assert "fitting wide r1 a to b" in again and not again & {"fitting wide r1 c to c", "fitting wide r2 a to b"}
    lost.write_bytes(held)

    # In Snakemake's own report each is shown as what it is.
    page = project.folder / "snakemake.html"
    shown = project.snakemake(*targets, "--configfile", "mine.yaml", "--report", page.name)
    assert shown.returncode == 0, shown.stderr
    labels = re.findall(
        r'"results/wide/r1/(\w)/components\.csv".{0,600}?"labels": \{"column": "(\w)"',
        page.read_text(),
        flags=re.DOTALL,
    )
    assert sorted(labels) == [("a", "a"), ("b", "b"), ("c", "c")]

    # The release before changes: the fits behind it have had their start.
    as_it_was = (tmp_path / "r1.csv").read_bytes()
    write_csv(tmp_path / "r1.csv", **{name: rng.normal(-5.0, 1.0, 20) for name in names})
    again = project.snakemake(*targets, "--configfile", "mine.yaml", "--dry-run")
    said = again.stdout + again.stderr
    assert "fitting wide r1 a to b" in said and "fitting wide r2" not in said

    # A column that cannot be fitted: what was there of the others stays, and the next release climbs from nothing.
    (tmp_path / "r1.csv").write_bytes(as_it_was)
    project.change("catalogs", "wide", "columns", "b", "transform", value="log10")
    failed = project.snakemake(*targets, "--configfile", "mine.yaml")
    assert failed.returncode == 2
    last = failed.stderr.strip().splitlines()[-1]
    assert last.startswith(
        "mixpipe: error: 2 of 6 columns failed, all else is done; the first, wide r1 b: no row of 20 can be used "
        "(dropped: 20 not_positive), in catalog wide, release r1, column b, expected at least one row"
    )
    assert "Traceback" not in failed.stderr
    assert contents(folders[0] / "a") == before[0]["a"]
    assert json.loads((folders[1] / "b/fit.json").read_text())["start"] == {"release": "r1", "won": False}
    again = project.snakemake(*targets, "--configfile", "mine.yaml", "--dry-run")
    assert again.returncode == 0 and "fitting wide" not in again.stdout + again.stderr


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_only_the_added_file_is_read(project):
    write_csv(project.folder / "data/stars_dr2_3.csv", **stars(5))
    ask = (
        "from pathlib import Path\n"
        "from mixpipe.config.settings import load_config; from mixpipe.pipeline.plan.run import Run\n"
        "run = Run(load_config('mine.yaml'))\n"
        "for file in run.ingested('stars', 'dr2', 'mass'):\n"
        "    print(Path(file).is_file(), *run.ingest_files('stars', 'dr2', Path(file).stem))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", ask],
        cwd=project.folder,
        env={**os.environ, "PYTHONPATH": "checkout"},
        text=True,
        capture_output=True,
        check=True,
    )
    assert answer.stdout.splitlines() == [
        "True data/stars_dr2_1.csv data/stars_dr2_2.csv",
        "False data/stars_dr2_3.csv",
    ]


@study
def test_what_is_not_read_for_any_fit_goes(project):
    project.change("catalogs", "planets", "columns", "spare", value={})
    account = ("results/planets/all/input.csv", "--configfile", "mine.yaml")
    assert project.snakemake(*account).returncode == 0
    first, second = sorted((project.results / "planets/all/ingest").iterdir(), key=lambda path: path.stat().st_mtime)
    assert sorted(pq.read_schema(second).names) == ["kind", "spare"]
    # New contents are read once for all fits again.
    revise_planets(project)
    assert project.snakemake(*account).returncode == 0
    (only,) = (project.results / "planets/all/ingest").iterdir()
    assert only not in (first, second)
    assert sorted(pq.read_schema(only).names) == ["kind", "period", "r", "r_lo", "r_up", "spare"]


def test_mistakes_stop_before_the_first_job(project):
    (project.folder / "data/planets.csv").unlink()
    project.change("catalogs", "stars", "columns", "mass", "error", value="e")
    assert project.errors() == [
        # The same in both releases.
        "mixpipe: error: no column 'e' (for column mass), in data/stars_2018.csv (catalog stars, release 2018) "
        "and 1 more, expected one of id, m, e_m",
        f"mixpipe: error: no such file planets.csv, in {project.folder}/data (catalog planets, release all), "
        "expected a file that exists",
    ]
    project.change("catalogs", "stars", "colums", value={})
    line = project.config.read_text(encoding="utf-8").splitlines().index("    colums: {}") + 1
    (message,) = project.errors()
    assert message.startswith(
        f"mixpipe: error: unknown key 'colums', in mine.yaml line {line} (catalogs.stars), expected one of releases,"
    )
    assert not list(project.folder.glob(".snakemake/locks/*"))


@campaign
def test_fit_without_rows_says_why_in_log_and_terminal(project):
    project.change("catalogs", "planets", "where", value="r > 1000")
    target = "results/planets/all/radius/fit.json"
    failed = project.snakemake(target, "--configfile", "mine.yaml")
    assert failed.returncode == 2
    reason = (
        "no row of 40 can be used (dropped: 40 cut), in catalog planets, release all, column radius, "
        "expected at least one row"
    )
    message = f"mixpipe: error: 1 of 4 columns failed, all else is done; the first, planets all radius: {reason}"
    assert failed.stderr.splitlines().count(message) == 1
    assert "Traceback" not in failed.stderr
    log = (project.results / "logs/fit/planets/all/radius.log").read_text(encoding="utf-8")
    assert log.splitlines()[-1] == f"mixpipe: error: {reason}"


@campaign
def test_failed_columns_have_rows_of_their_own_and_all_else_is_done(project):
    """Of one there are no rows, of another text in the place of numbers; and both mended."""
    table = stars(2)
    lines = (project.folder / "data/stars_dr2_1.csv").read_text(encoding="utf-8")
    write_csv(project.folder / "data/stars_dr2_1.csv", **{**table, "m": ["nan"] * 39 + ["word"]})
    before = contents(project.results / "planets/all/period"), contents(project.results / "stars/2018/mass")
    project.change("catalogs", "planets", "columns", "radius", "truncated", value=[1e6, None])
    failed = project.snakemake("--configfile", "mine.yaml")
    assert failed.returncode == 2
    assert failed.stderr.strip().splitlines()[-1].startswith("mixpipe: error: 2 of 4 columns failed, all else is done")
    told = [line for line in failed.stdout.splitlines() if not line.startswith(" ")]
    assert told[0].startswith("stars 2018 mass: ") and " at " in told[0]
    assert told[1].startswith("stars dr2 mass: nothing could be fitted: column 'm' holds numbers")
    assert told[4:] == ["mixpipe: the whole run on one page: results/report.html"]
    assert "Traceback" not in failed.stderr

    summary = rows(project.results / "summary.csv")
    assert [row["status"] for row in summary] == ["fitted", "failed", "failed", "fitted"]
    text, outside = (row["reason"] for row in summary[1:3])
    assert text == "column 'm' holds numbers, in data/stars_dr2_2.csv, expected text as in data/stars_dr2_1.csv"
    assert outside.startswith("no row of 40 can be used (dropped: 5 cut, 2 missing_value, 33 outside), in catalog ")
    assert [row["n_data"] + row["n_components"] for row in summary[1:3]] == ["00", "00"]
    assert [row["n_dropped"] for row in summary[1:3]] == ["60", "40"]
    radius, period = rows(project.results / "planets/all/input.csv")
    names = ("n_used", "dropped_outside", "status", "reason")
    assert [radius[name] for name in names] == ["0", "33", "failed", outside]
    assert [period[name] for name in names] == ["35", "0", "fitted", ""]
    (compared,) = rows(project.results / "stars/compare/2018_to_dr2/summary.csv")
    assert compared["verdict"] == summary[1]["verdict"] == "not compared"
    assert "the column failed: column 'm' holds numbers" in compared["note"]
    page = (project.results / "report.html").read_text(encoding="utf-8")
    assert '<span class="mark">2 of 4 columns failed</span>' in page
    assert f"Nothing could be fitted: {outside}." in page
    for folder in ("stars/dr2/mass", "planets/all/radius"):
        assert {path.name for path in (project.results / folder).iterdir()} == set(before[0])
        assert rows(project.results / folder / "components.csv") == []
        assert pq.read_table(project.results / folder / "members.parquet").num_rows == 0
    assert contents(project.results / "planets/all/period") == before[0]
    assert contents(project.results / "stars/2018/mass") == before[1]
    assert verify_results(project.results, base=project.folder).as_recorded
    assert project.planned() == set()

    (project.folder / "data/stars_dr2_1.csv").write_text(lines, encoding="utf-8")
    project.change("catalogs", "planets", "columns", "radius", "truncated", value=None)
    mended = project.snakemake("--configfile", "mine.yaml")
    assert mended.returncode == 0, mended.stderr
    assert {row["status"] for row in rows(project.results / "summary.csv")} == {"fitted"}


def test_as_a_module_and_without_the_demo(project):
    (project.folder / "Snakefile").write_text(
        "configfile: 'outer.yaml'\n"
        "module mixpipe:\n    snakefile: 'checkout/workflow/Snakefile'\n    config: config['mixpipe']\n"
        "use rule * from mixpipe as mixpipe_*\n",
        encoding="utf-8",
    )
    outer = {"mixpipe": {**CONFIG, "results": "other"}}
    (project.folder / "outer.yaml").write_text(yaml.safe_dump(outer), encoding="utf-8")
    done = project.snakemake("--dry-run", snakefile="Snakefile")
    assert done.returncode == 0, done.stderr
    found = re.findall(r"^Job \d+: (.+)$", done.stdout + done.stderr, flags=re.MULTILINE)
    assert {job.replace("other/", "results/") for job in found} == ALL


@pytest.fixture
def run(tmp_path, monkeypatch) -> Run:
    """A run of one column of one small catalog."""
    monkeypatch.chdir(tmp_path)
    write_csv(tmp_path / "stars.csv", **stars(1))
    catalog = {"releases": {"a": "stars.csv"}, "columns": {"m": {"error": "e_m", "max_components": 1}}}
    return Run(parse_config({"catalogs": {"stars": catalog}}))


def ingest_plan(run: Run) -> str:
    (part,) = run.ingested("stars", "a", "m")
    return run.ingest("stars", "a", Path(part).stem)


def test_catalog_changed_after_planning_is_refused(run):
    plan = ingest_plan(run)
    write_csv(Path("stars.csv"), **stars(2))
    with pytest.raises(CatalogError, match=r"changed after this job was planned, in stars\.csv"):
        ingest_release(plan, "columns.parquet")
    assert not Path("columns.parquet").exists()


def test_fit_of_other_data_than_planned_is_refused(run):
    ingest_release(ingest_plan(run), "columns.parquet")
    write_csv(Path("stars.csv"), **stars(2))
    plan = Run(run.config).fit("stars", "a", "m")
    outputs = {name: f"out/{name}" for name in FIT_FILES}
    with pytest.raises(CatalogError, match=r"1 of 1 files changed after this job was planned, the first is stars\.csv"):
        fit_column(plan, ["columns.parquet"], **outputs)
    assert not Path("out").exists()


def test_job_of_other_code_than_planned_is_refused(run):
    plan = json.loads(ingest_plan(run))
    plan["code"] = "0" * 64
    with pytest.raises(MixpipeError, match="the code of stage 'ingest' changed after this job was planned"):
        ingest_release(json.dumps(plan), "columns.parquet")


def test_one_component_of_equal_errors_has_the_closed_form(run):
    """Mean and sigma of one component with equal errors: sample mean, and sample variance less the error's."""
    table = stars(1)
    write_csv(Path("stars.csv"), m=table["m"], e_m=[0.25] * 40)
    run = Run(run.config)
    ingest_release(ingest_plan(run), "columns.parquet")
    outputs = {name: f"out/{name}" for name in FIT_FILES}
    fit_column(run.fit("stars", "a", "m"), ["columns.parquet"], **outputs)
    (row,) = rows(Path("out/components"))
    assert float(row["mean"]) == pytest.approx(np.mean(table["m"]), rel=1e-9)
    assert float(row["sigma"]) == pytest.approx(np.sqrt(np.var(table["m"]) - 0.25**2), rel=1e-6)
