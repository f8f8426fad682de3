"""What is handed out: a wheel with the workflow inside, an sdist that makes the same wheel, and `mixpipe run`."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

from tests.campaign import campaign

OFFLINE = {"PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def call(*command: object, folder: Path, **environment: str) -> subprocess.CompletedProcess:
    """Run a command as a new user would, with nothing of the checkout on the path."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SNAKEMAKE"))}
    return subprocess.run(
        [*map(str, command)],
        cwd=folder,
        env={**inherited, **environment},
        text=True,
        capture_output=True,
        check=False,
        timeout=3600,
    )


def build(source: Path, kind: str, folder: Path) -> Path:
    done = call(sys.executable, "-m", "hatchling", "build", "--target", kind, "--directory", folder, folder=source)
    assert done.returncode == 0, done.stderr
    (made,) = folder.iterdir()
    return made


@pytest.fixture(scope="module")
def sdist(root, tmp_path_factory) -> Path:
    return build(root, "sdist", tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory) -> Path:
    """Made from the sdist, as an installer without a wheel would."""
    folder = tmp_path_factory.mktemp("wheel")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "source", filter="data")
    (source,) = (folder / "source").iterdir()
    return build(source, "wheel", folder / "made")


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The folder of programs of a new environment with the wheel, beside the dependencies of this one."""
    folder = tmp_path_factory.mktemp("environment")
    assert call(sys.executable, "-m", "venv", "--without-pip", folder, folder=folder).returncode == 0
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    python = folder / "bin/python"
    # Not --force-reinstall: that would remove what this environment has.
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--ignore-installed"]
    done = call(*pip, wheel, folder=folder, **OFFLINE)
    assert done.returncode == 0, done.stderr
    return folder / "bin"


@campaign
def test_wheel_has_library_and_workflow_and_nothing_else(wheel, root):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    files = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "mixpipe", "workflow"],
        cwd=root,
        text=True,
        capture_output=True,
        check=True,
    )
    there = [name for name in files.stdout.splitlines() if (root / name).is_file()]
    assert names == {re.sub("^workflow/", "mixpipe/workflow/", name) for name in there}
    data = {"py.typed", "config/config.schema.yaml", "report/templates/report.html.j2", "workflow/Snakefile"}
    assert {f"mixpipe/{name}" for name in data} <= names


@campaign
def test_demo_is_planned_where_the_wheel_is_installed(installed, root, tmp_path):
    shutil.copytree(root / "config", tmp_path / "config")
    home = call(installed / "python", "-c", "import mixpipe; print(mixpipe.__file__)", folder=tmp_path)
    assert Path(home.stdout.strip()).is_relative_to(installed.parent)
    planned = call(installed / "mixpipe", "run", "--dry-run", folder=tmp_path)
    assert planned.returncode == 0, planned.stderr
    jobs = set(re.findall(r"^\[ *\d+/15\] (.+)$", planned.stdout + planned.stderr, re.MULTILINE))
    assert len(jobs) == 15
    assert {"fitting neutron_stars 2018 mass", "writing results/report.html"} <= jobs


@campaign
def test_demo_runs_where_the_wheel_is_installed(installed, root, tmp_path):
    shutil.copytree(root / "config", tmp_path / "config")
    home = call(installed / "python", "-c", "import mixpipe; print(mixpipe.__file__)", folder=tmp_path)
    assert Path(home.stdout.strip()).is_relative_to(installed.parent)
    done = call(installed / "mixpipe", "run", "--cores", 2, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    # A line for each job, below one of Snakemake about its profile.
    numbers = [re.match(r"\[ *(\d+)/15\] \w+ing ", line) for line in done.stderr.splitlines()[1:]]
    assert [int(found[1]) for found in numbers] == list(range(1, 16))
    first, basis, second, _, last = done.stdout.splitlines()
    assert first.startswith("neutron_stars 2018 mass: two populations: 72 ± 9 % at 1.346 ± 0.021 Msun (σ ")
    assert basis.endswith("fit ok: p = 0.3; no warnings")
    assert second.startswith("neutron_stars 2024 mass: two populations, unchanged since 2018: ")
    assert last == "mixpipe: the whole run on one page: results/report.html"
    page = (tmp_path / "results/report.html").read_text(encoding="utf-8")
    # Not on how many cores, for the page does not depend on that.
    assert '<code id="command">mixpipe run --config config/config.yaml</code>' in page
    # Nothing is left to do.
    again = call(installed / "mixpipe", "run", "--dry-run", folder=tmp_path)
    assert "Nothing to be done" in again.stdout + again.stderr


@campaign
def test_workflow_from_elsewhere(installed, root, tmp_path):
    """The Snakefile of a checkout, and what snakedeploy writes: a module with the configuration of the demo."""
    shutil.copytree(root / "config", tmp_path / "config")
    snakemake = [installed / "python", "-P", "-m", "snakemake", "--cores", "1", "--dry-run"]
    direct = call(*snakemake, "--snakefile", root / "workflow/Snakefile", folder=tmp_path)
    assert direct.returncode == 0, direct.stderr
    (tmp_path / "workflow").mkdir()
    (tmp_path / "workflow/Snakefile").write_text(
        'configfile: "config/config.yaml"\n\n'
        f'module mixpipe:\n    snakefile: "{root / "workflow/Snakefile"}"\n    config: config\n\n'
        "use rule * from mixpipe\n",
        encoding="utf-8",
    )
    deployed = call(*snakemake, folder=tmp_path)
    assert deployed.returncode == 0, deployed.stderr
    jobs = [set(re.findall(r"^Job \d+: (.+)$", done.stdout + done.stderr, re.MULTILINE)) for done in (direct, deployed)]
    assert jobs[0] == jobs[1] != set()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "mixpipe: error: cannot read mine.yaml, No such file or directory, expected a YAML file"),
        ("catalogs: 1", "mixpipe: error: found 1, in mine.yaml"),
        (
            "catalogs: {a: {releases: {b: none.csv}, columns: {x: }}}",
            "mixpipe: error: no such file none.csv, in {folder} (catalog a, release b), expected a file that exists",
        ),
    ],
)
def test_mistakes_end_in_one_line_and_status_2(tmp_path, text, message):
    if text is not None:
        (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    program = Path(sys.executable).with_name("mixpipe")
    done = call(program, "run", "--config", "mine.yaml", "--cores", 1, folder=tmp_path)
    assert done.returncode == 2
    # Nothing but the mistake: Snakemake is not begun.
    (line,) = done.stderr.splitlines()
    assert line.startswith(message.format(folder=tmp_path))


def test_conda_has_the_same_dependencies(root):
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    environment = yaml.safe_load((root / "workflow/envs/mixpipe.yaml").read_text(encoding="utf-8"))
    # Packages that conda-forge has without what is not needed.
    names = {"matplotlib-base": "matplotlib", "snakemake-minimal": "snakemake"}
    conda = dict((*each.split(), "")[:2] for each in environment["dependencies"])
    assert conda.pop("python") == project["requires-python"]
    conda.pop("pip")
    wanted = dict(re.fullmatch(r"([a-z0-9-]+)(.*)", each).groups() for each in project["dependencies"])
    assert {names.get(name, name): version for name, version in conda.items()} == wanted


def test_the_oldest_versions_are_the_lower_bounds(root):
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    required = project["dependencies"] + project["optional-dependencies"]["sklearn"]
    bounds = {each.replace(">=", "==") for each in required}
    lines = (root / "requirements/oldest.in").read_text(encoding="utf-8").splitlines()
    assert {line for line in lines if not line.startswith("#")} == bounds


def test_layout_is_that_of_the_workflow_catalog(root):
    """https://snakemake.github.io/snakemake-workflow-catalog, standardised usage."""
    usage = yaml.safe_load((root / ".snakemake-workflow-catalog.yml").read_text(encoding="utf-8"))["usage"]
    assert usage["report"] is True
    assert not usage["software-stack-deployment"]["conda"]
    for path in ("workflow/Snakefile", "config/README.md", "config/config.yaml", "LICENSE"):
        assert (root / path).is_file()
