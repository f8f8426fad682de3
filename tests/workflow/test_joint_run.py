"""A run with a joint fit: all files, what is done again and what is not, and what the run says of itself."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import CliRunner, Result

from mixpipe.cli import main
from tests.campaign import campaign, study
from tests.outputs import PAPER

FILES = {
    "components.csv",
    "selection.csv",
    "intervals.csv",
    "covariance.csv",
    "members.parquet",
    "members.fits",
    "predict.parquet",
    "fit.json",
    "curves.json",
    *PAPER,
    *(f"{figure}.{end}" for figure in ("corner", "selection", "quality") for end in ("png", "svg", "pdf")),
}


def write_release(path: Path, seed: int) -> None:
    """Two groups in u and v, with gaps in v and a bad correlation in one row."""
    rng = np.random.default_rng(seed)
    x = np.where(np.arange(120)[:, None] % 2, rng.normal([0, 0], 1.0, (120, 2)), rng.normal([9, 5], 0.5, (120, 2)))
    table = pd.DataFrame(x, columns=["u", "v"]).assign(name=range(120), e_u=0.1, e_v=0.2, c=0.3)
    table.loc[::6, "v"] = np.nan
    table.loc[1, "c"] = 1.5
    table.to_csv(path, index=False)


class Project:
    """A folder with a configuration."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for seed in (1, 2, 3):
            write_release(folder / f"r{seed}.csv", seed)
        joint = {
            "columns": ["u", "v"],
            "error": {"u": "e_u", "v": "e_v"},
            "correlation": [["u", "v", "c"]],
            "predict": {"given": ["u"], "of": ["v"]},
        }
        self.catalog = {"releases": {"r1": "r1.csv", "r2": "r2.csv"}, "key": "name", "joint": {"both": joint}}
        self.write()

    def write(self) -> None:
        settings = {"max_components": 2, "quality_draws": 9, "fits_members": True}
        config = {"catalogs": {"stars": self.catalog}, "settings": settings}
        (self.folder / "mine.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")

    def mixpipe(self, *arguments: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-c", "from mixpipe.cli import main; main()", *arguments]
        root = Path(__file__).resolve().parents[2]
        return subprocess.run(
            command,
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(root)},
            text=True,
            capture_output=True,
            timeout=400,
            check=False,
        )

    def ask(self, *arguments: str) -> Result:
        """Run a command that makes nothing, in this process."""
        with contextlib.chdir(self.folder):
            return CliRunner().invoke(main, arguments)

    def run(self) -> subprocess.CompletedProcess:
        done = self.mixpipe("run", "--config", "mine.yaml", "--cores", "2")
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    def files(self, release: str) -> dict[str, int]:
        """Each file of a release's joint fit, and when it was written."""
        folder = self.folder / "results/stars" / release / "both"
        return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}

    def to_fit(self) -> list[str]:
        """Releases whose joint fit would be made."""
        found = self.ask("status", "mine.yaml", "--json")
        assert found.exit_code == 0, found.stderr
        jobs = [due["job"].split() for due in json.loads(found.stdout)["jobs"]]
        return sorted(words[2] for words in jobs if words[0] == "fitting")


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Project:
    found = Project(tmp_path_factory.mktemp("joint"))
    found.run()
    return found


@campaign
def test_all_is_there_and_agrees(project):
    results = project.folder / "results"
    for release in ("r1", "r2"):
        assert set(project.files(release)) == FILES
        record = json.loads((results / f"stars/{release}/both/fit.json").read_text(encoding="utf-8"))
        assert (record["kind"], record["n_components"], record["n_data"]) == ("joint", 2, 119)
        assert record["account"]["dropped"]["bad_correlation"] == 1
        assert {tuple(each["columns"]): each["n_rows"] for each in record["patterns"]} == {("u", "v"): 99, ("u",): 20}
        members = pq.read_table(results / f"stars/{release}/both/members.parquet").to_pandas()
        assert len(members) == 119
        assert 1 not in set(members["name"])
    summary = pd.read_csv(results / "summary.csv")
    assert summary["kind"].tolist() == ["joint", "joint"]
    rows = pd.read_csv(results / "stars/r1/input.csv")
    assert rows.loc[0, ["n_read", "n_used", "dropped_bad_correlation"]].tolist() == [120, 119, 1]
    comparison = results / "stars/compare/r1_to_r2/joint"
    assert {path.name for path in comparison.iterdir()} == {
        "components.csv",
        "summary.csv",
        "overlay.png",
        "overlay.svg",
        "overlay.pdf",
    }
    assert "both" in (results / "report.html").read_text(encoding="utf-8")
    assert project.ask("verify", "results").exit_code == 0


@campaign
def test_predictions_are_those_of_the_mixture(project):
    folder = project.folder / "results/stars/r1/both"
    predicted = pd.read_parquet(folder / "predict.parquet")
    components = pd.read_csv(folder / "components.csv")
    # The groups are far apart: the prediction is the line of regression of a group, and its scatter.
    for j, one in components.iterrows():
        rows = pd.read_parquet(folder / "members.parquet")
        own = rows["component"] == j + 1
        slope = one["corr_u_v"] * one["sigma_v"] * one["sigma_u"] / (one["sigma_u"] ** 2 + 0.1**2)
        line = one["mean_v"] + slope * (rows.loc[own, "value_u"] - one["mean_u"])
        assert np.allclose(predicted.loc[own, "mean_v"], line, atol=1e-6)
        scatter = np.sqrt(one["sigma_v"] ** 2 - slope * one["corr_u_v"] * one["sigma_v"] * one["sigma_u"])
        assert np.allclose(predicted.loc[own, "unc_v"], scatter, rtol=1e-4)


@study
def test_only_what_changed_is_done_again(project):
    assert project.to_fit() == []
    before = project.files("r1"), project.files("r2")
    project.catalog["releases"]["r3"] = "r3.csv"
    project.write()
    assert project.to_fit() == ["r3"]
    project.run()
    assert (project.files("r1"), project.files("r2")) == before
    assert set(project.files("r3")) == FILES
    # What is predicted does not change the fit.
    project.catalog["joint"]["both"]["predict"] = {"given": ["v"], "of": ["u"]}
    project.write()
    assert project.to_fit() == []
    fitted = project.files("r3")
    project.run()
    again = project.files("r3")
    assert {name for name in again if again[name] != fitted[name]} == {"predict.parquet"}


@campaign
def test_a_joint_fit_without_rows_says_why(tmp_path):
    other = Project(tmp_path)
    other.catalog |= {"releases": {"r1": "r1.csv"}, "where": "u > 1000"}
    other.write()
    done = other.mixpipe("run", "--config", "mine.yaml", "--cores", "2")
    assert done.returncode == 2
    assert "no row of 120 can be used (dropped: 120 cut)" in done.stderr
    assert set(other.files("r1")) == FILES
    record = json.loads((tmp_path / "results/stars/r1/both/fit.json").read_text(encoding="utf-8"))
    assert record["status"] == "failed"
