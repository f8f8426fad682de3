"""Every command and every example of the README, as a new user would run them."""

import doctest
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from mixpipe.config.settings import parse_config
from tests.campaign import campaign

MAKE = "make run"


@pytest.fixture(scope="module")
def text(root) -> str:
    return (root / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def checkout(root, tmp_path_factory) -> Path:
    """A copy of what a clone would hold, with the environment that is there."""
    folder = tmp_path_factory.mktemp("readme") / "mixpipe"
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        text=True,
        capture_output=True,
        check=True,
    )
    for name in names.stdout.splitlines():
        if (root / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / name, folder / name, follow_symlinks=False)
    (folder / ".venv").symlink_to(root / ".venv")
    return folder


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def test_examples_in_python(text, root, monkeypatch):
    monkeypatch.chdir(root)
    examples = doctest.DocTestParser().get_doctest(text, {}, "README.md", "README.md", 0)
    assert len(examples.examples) > 5
    results = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(examples)
    assert results.failed == 0


@campaign
def test_commands(text, checkout, root):
    """All but `make test`, which is running, and the set-up of the environment, which it began with."""
    if not (root / ".venv/bin/mixpipe").exists():
        pytest.skip("no .venv: the commands of the README need the environment that `make test` sets up")
    commands = [line for block in blocks(text, "sh") for line in block.splitlines() if line != "make test"]
    assert MAKE in commands
    # Not what `make test` was told.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MAKE") and name != "ARGS"}
    for command in commands:
        # The environment is up to date: the copied requirements only look newer than it.
        settled = command.replace(MAKE, f"{MAKE} -o requirements/run.txt -o requirements/build.txt -o pyproject.toml")
        done = subprocess.run(
            ["bash", "-euc", f". .venv/bin/activate; {settled}"],
            cwd=checkout,
            env=clean,
            text=True,
            capture_output=True,
            check=False,
        )
        assert "setting up" not in done.stdout  # it is that of all tests
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    assert (checkout / "mass.png").stat().st_size > 10_000
    assert (checkout / "results/report.html").is_file()
    assert (checkout / "results/summary.csv").is_file()


def test_configuration_is_valid(text):
    (example,) = blocks(text, "yaml")
    config = parse_config(yaml.safe_load(example))
    assert [column.name for column in config.catalogs[0].columns] == ["parallax", "pmRA"]


def test_links_lead_somewhere(text, root):
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert len(links) > 5
    for link in links:
        assert (root / link).is_file(), link
