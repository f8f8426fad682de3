"""Runs of the workflow in a folder of their own, which can be killed, and what they leave."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import yaml

from tests.cluster.slurm import HOUR, wait_for

ROOT = Path(__file__).resolve().parents[2]
# Imported by each Python process. The job of a rule waits in front of its work until its file is gone, and fails where
# there is one that says so; each once.
FAULTS = """
import os, pathlib, sys, time
script = sys.argv[0] if hasattr(sys, "argv") else ""
rule = script.rsplit(".", 2)[-2] if script.endswith(".py") and "/.snakemake/scripts/" in script else ""
folder = pathlib.Path(os.environ["MIXPIPE_FAULTS"])
if rule and (folder / f"{rule}.fail").exists():
    (folder / f"{rule}.fail").unlink()
    sys.exit("failing once")
while rule and (folder / f"{rule}.wait").exists():
    time.sleep(0.1)
"""


class Project:
    """A folder with a configuration in `mine.yaml`.

    Parameters
    ----------
    folder : Path
        Is made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.faults = folder / "faults"
        self.output = folder / "output.txt"
        self.faults.mkdir(parents=True)
        (self.faults / "sitecustomize.py").write_text(FAULTS, encoding="utf-8")
        # Jobs refuse code that was edited after they were planned: what is tested stays as it is.
        self.checkout = folder / "checkout"
        for part in ("workflow", "mixpipe"):
            shutil.copytree(ROOT / part, self.checkout / part)

    def start(self, profile: str, *arguments: str) -> subprocess.Popen:
        """Start the documented command; what it says is in `output`."""
        return self._start(*self.command(profile)[1:], *arguments)

    def command(self, profile: str) -> list[str]:
        """The documented command."""
        places = {"--snakefile": self.checkout / "workflow/Snakefile", "--configfile": "mine.yaml"}
        places["--workflow-profile"] = self.profile(profile)
        return [sys.executable, "-m", "snakemake", *(str(word) for pair in places.items() for word in pair)]

    def profile(self, name: str) -> Path:
        return self.checkout / "workflow/profiles" / name

    def start_mixpipe(self, *arguments: str, **environment: str) -> subprocess.Popen:
        """Start `mixpipe`; what it says is in `output`."""
        begin = "from mixpipe.cli import main; main(prog_name='mixpipe')"
        return self._start("-c", begin, *arguments, **environment)

    def _start(self, *command: str, **environment: str) -> subprocess.Popen:
        with self.output.open("w", encoding="utf-8") as output:
            return subprocess.Popen(
                [sys.executable, *command],
                cwd=self.folder,
                env={**self.environment, **environment},
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def environment(self) -> dict[str, str]:
        """Variables with which processes run the copy of the checkout, and its faults."""
        path = os.pathsep.join(map(str, (self.faults, self.checkout)))
        kept = {name: value for name, value in os.environ.items() if name != "SNAKEMAKE_PROFILE"}
        return {**kept, "PYTHONPATH": path, "MIXPIPE_FAULTS": str(self.faults)}

    def finish(self, run: subprocess.Popen, seconds: float = HOUR) -> None:
        """Wait for a run, which has to succeed."""
        try:
            run.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            kill(run)
        assert run.returncode == 0, self.said()

    def said(self) -> str:
        return self.output.read_text(encoding="utf-8")

    def wait_until_said(self, text: str, run: subprocess.Popen, seconds: float = HOUR) -> None:
        wait_for(lambda: text in self.said() or run.poll() is not None, text, seconds)
        assert text in self.said(), self.said()

    def results(self) -> dict[str, bytes]:
        """All results by path, without logs, times and the command on the page."""
        results = self.folder / "results"
        files = {path.relative_to(results): path for path in results.rglob("*") if path.is_file()}
        kept = {path: file for path, file in files.items() if path.parts[0] not in {"logs", "benchmarks", ".mixpipe"}}
        return {path.as_posix(): without_times(file) for path, file in kept.items()}


def without_times(path: Path) -> bytes:
    content = path.read_bytes()
    if path.name == "report.html":
        return re.sub(rb'<code id="command">.*?</code>', b"", content, flags=re.DOTALL)
    if path.name == "manifest.json":
        listed = json.loads(content)
        listed["files"].pop("report.html", None)
        return json.dumps(listed).encode()
    if path.name != "estimators.csv":
        return content
    rows = list(csv.DictReader(io.StringIO(content.decode())))
    return repr([{key: value for key, value in row.items() if key != "seconds"} for row in rows]).encode()


def kill(run: subprocess.Popen) -> None:
    """Kill -9, with all processes that it has started."""
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()


def demo(folder: Path) -> Project:
    """The demo of the checkout."""
    project = Project(folder)
    shutil.copytree(ROOT / "config", folder / "config")
    shutil.copy(ROOT / "config/config.yaml", folder / "mine.yaml")
    return project


def survey(folder: Path, n_shards: int, n_columns: int, n_rows: int = 25, max_components: int = 2) -> Project:
    """A release of many small files with some columns of two populations each."""
    project = Project(folder)
    rng = np.random.default_rng(5)
    names = [f"v{number}" for number in range(n_columns)]
    header = ",".join(["id", *names, *(f"e_{name}" for name in names)])
    for shard in range(n_shards):
        values = rng.normal(6.0 * (np.arange(n_rows) % 2)[:, None], 1.0, (n_rows, n_columns))
        table = np.column_stack([shard * n_rows + np.arange(n_rows), values, rng.uniform(0.1, 0.3, values.shape)])
        form = ["%d", *["%.4f"] * (2 * n_columns)]
        np.savetxt(folder / f"shard_{shard:02d}.csv", table, form, delimiter=",", header=header, comments="")
    catalog = {
        "releases": {"dr1": "shard_*.csv"},
        "key": "id",
        "columns": {name: {"error": f"e_{name}"} for name in names},
    }
    configuration = {"catalogs": {"survey": catalog}, "settings": {"max_components": max_components}}
    (folder / "mine.yaml").write_text(yaml.safe_dump(configuration, sort_keys=False), encoding="utf-8")
    return project
