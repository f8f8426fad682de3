"""Results against their recorded hashes; the same bytes from every run; the same numbers from every processor."""

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from mixpipe import cli
from mixpipe.base.errors import ConfigError
from mixpipe.config.settings import parse_config
from mixpipe.pipeline.manifest import record_run
from mixpipe.pipeline.plan.derived import derived_plans
from mixpipe.pipeline.plan.run import Run
from mixpipe.results.provenance import code_hash
from mixpipe.results.record import SourceFile
from mixpipe.results.verification import MANIFEST, verify_results
from tests.campaign import campaign, study
from tests.records import ACCOUNT, fit_record


@pytest.fixture
def run(tmp_path, monkeypatch) -> Path:
    """What is left of a small run: a folder with results, and a catalog."""
    monkeypatch.chdir(tmp_path)
    Path("stars.csv").write_text("m\n1\n2\n")
    digest = hashlib.sha256(Path("stars.csv").read_bytes()).hexdigest()
    folder = tmp_path / "results/stars/2024/mass"
    folder.mkdir(parents=True)
    account = replace(ACCOUNT, files=(SourceFile(path="stars.csv", sha256=digest, n_rows=2),))
    fit_record(account=account).write(folder / "fit.json")
    for name in ("results/stars/2024/mass/mixture.svg", "results/summary.csv", "results/stars/2024/input.csv"):
        Path(name).write_text(f"this is {name}")
    # What jobs need and tell is no result.
    for name in ("ingest/a.parquet", "starts/mass.json"):
        Path("results/stars/2024", name).parent.mkdir()
        Path("results/stars/2024", name).touch()
    for name in ("logs/fit.log", "benchmarks/fit.tsv", ".mixpipe/hashes.json", "README.md"):
        Path("results", name).parent.mkdir(exist_ok=True)
        Path("results", name).touch()
    record_run(
        code_hash("manifest"),
        ["results/stars/2024/mass/fit.json"],
        ["results/summary.csv", "results/stars/2024/input.csv"],
        "null",
        "null",
        "results/manifest.json",
    )
    return tmp_path / "results"


def verify(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(cli.main, ["verify", *arguments], prog_name="mixpipe", env={"COLUMNS": "200"})
    return result.exit_code, result.stdout, result.stderr


def test_what_another_configuration_has_left_is_no_result(run):
    folder = run / "stars/2024/mass"
    for name in ("members.fits", "corner.png", "densities.parquet", "components.csv", "curves.json"):
        (folder / name).touch()
    fit = ["results/stars/2024/mass/fit.json"]
    record_run(code_hash("manifest"), fit, ["results/summary.csv"], "null", "null", "results/manifest.json")
    found = set(json.loads((run / MANIFEST).read_text())["files"])
    assert {"stars/2024/mass/components.csv", "stars/2024/mass/curves.json", "stars/2024/mass/mixture.svg"} <= found
    status, told, _ = verify("results")
    assert status == 1
    for name in ("members.fits", "corner.png", "densities.parquet"):
        assert f"stars/2024/mass/{name}" in told
        assert f"stars/2024/mass/{name}" not in found
    asked = ["results/summary.csv", "results/stars/2024/mass/members.fits"]
    record_run(code_hash("manifest"), fit, asked, "null", "null", "results/manifest.json")
    assert "stars/2024/mass/members.fits" in json.loads((run / MANIFEST).read_text())["files"]


def test_what_a_run_wrote_is_as_recorded(run):
    assert verify("results") == (0, "4 results and 1 catalog files: all as recorded\n", "")
    document = json.loads((run / MANIFEST).read_text())
    assert set(document["files"]) == {
        "stars/2024/input.csv",
        "stars/2024/mass/fit.json",
        "stars/2024/mass/mixture.svg",
        "summary.csv",
    }
    # By another program.
    digest = subprocess.run(["sha256sum", "results/summary.csv"], text=True, capture_output=True, check=True).stdout
    assert document["files"]["summary.csv"] == digest.split()[0]


def test_what_differs_is_named(run):
    (run / "summary.csv").write_text("edited")
    (run / "stars/2024/input.csv").unlink()
    (run / "stars/2024/mass/old.png").touch()
    (run / "stars/2023/mass").mkdir(parents=True)
    (run / "stars/2023/mass/fit.json").touch()
    Path("stars.csv").write_text("m\n1\n3\n")
    status, output, _ = verify("results")
    assert status == 1
    assert output.splitlines() == [
        "missing: stars/2024/input.csv",
        "changed: summary.csv",
        "not of this run: stars/2023/mass/fit.json",
        "not of this run: stars/2024/mass/old.png",
        "catalog file changed: stars.csv",
        "4 results and 1 catalog files: 1 missing, 1 changed, 2 not of this run, 1 catalog file changed",
    ]
    status, output, _ = verify("results", "--json")
    assert status == 1
    assert json.loads(output) == {
        "as_recorded": False,
        "n_files": 4,
        "n_inputs": 1,
        "missing": ["stars/2024/input.csv"],
        "changed": ["summary.csv"],
        "extra": ["stars/2023/mass/fit.json", "stars/2024/mass/old.png"],
        "missing_inputs": [],
        "changed_inputs": ["stars.csv"],
        "other_settings": [],
    }


def test_one_flipped_bit_is_found_whatever_the_date(run):
    path = run / "stars/2024/mass/mixture.svg"
    state = path.stat()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert verify_results(run).changed == ("stars/2024/mass/mixture.svg",)


def test_catalogs_are_looked_for_where_the_run_did(run, monkeypatch):
    monkeypatch.chdir(run)
    assert verify_results(run).missing_inputs == ("stars.csv",)
    assert verify_results(run, base=run.parent).as_recorded


def test_columns_of_other_settings_than_those_of_the_configuration(tmp_path, monkeypatch):
    """As two runs leave them that wrote into one folder: all files are as the last one recorded them."""
    monkeypatch.chdir(tmp_path)
    Path("stars.csv").write_text("m,r\n1,1\n2,2\n")
    column = {"max_components": 2}
    catalog = {"releases": {"a": "stars.csv"}, "where": "m > 0 and r < 3", "columns": {"m": column, "r": column}}
    given = {"catalogs": {"stars": catalog}, "settings": {"seed": 3}}
    other = {"catalogs": {"stars": {**catalog, "where": "m > 1"}}, "settings": {"seed": 4}}
    Path("other.yaml").write_text(yaml.safe_dump(other))

    def record(**configs: dict) -> None:
        fits = []
        for name, config in configs.items():
            fit = Path(f"results/stars/a/{name}/fit.json")
            fit.parent.mkdir(parents=True, exist_ok=True)
            plan = json.loads(Run(parse_config(config)).fit("stars", "a", name))
            fit_record(plan=plan, account=replace(ACCOUNT, files=())).write(fit)
            fits.append(str(fit))
        plans = json.dumps(derived_plans(Run(parse_config(given))))
        record_run(code_hash("manifest"), fits, [], json.dumps(given), plans, "results/manifest.json")

    record(m=given, r=given)
    assert verify("results") == (0, "2 results and 0 catalog files: all as recorded\n", "")
    differs = "where changed from m > 0 and r < 3 to m > 1; seed changed from 3 to 4"
    status, output, _ = verify("results", "--config", "other.yaml")
    assert (status, output.splitlines()[:2]) == (
        1,
        [f"not as configured: stars a {name}: {differs}" for name in ("m", "r")],
    )
    label = {"columns": {"m": {**column, "label": "mass"}, "r": column}}
    Path("label.yaml").write_text(yaml.safe_dump({**given, "catalogs": {"stars": {**catalog, **label}}}))
    status, output, _ = verify("results", "--config", "label.yaml")
    changed = ("stars/a/m/curves.json", "report.html", "manifest.json")
    assert (status, output.splitlines()[:3]) == (
        1,
        [f"not as configured: {name}: made for another configuration" for name in changed],
    )
    record(m=given, r=other)
    status, output, _ = verify("results")
    assert (status, output.splitlines()) == (
        1,
        [
            "not as configured: stars a r: where changed from m > 1 to m > 0 and r < 3; seed changed from 4 to 3",
            "2 results and 0 catalog files: 1 not as configured",
        ],
    )
    # From any other folder.
    monkeypatch.chdir("results")
    assert verify(".")[0] == 1


DAMAGED = [None, "", "{", "[]", '{"files": {}}', '{"files": {"a": 1}, "inputs": {}}', "\udcff"]


@pytest.mark.parametrize("content", DAMAGED)
def test_no_record_or_a_damaged_one(run, content):
    (run / MANIFEST).unlink()
    if content is not None:
        (run / MANIFEST).write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(ConfigError, match=r"manifest\.json.*a run that came to its end"):
        verify_results(run)
    status, _, message = verify("results")
    assert status == 2
    assert message.startswith("mixpipe: error: ")


CONFIG = {
    "catalogs": {
        "stars": {
            "releases": {2018: "stars.csv"},
            "key": "id",
            "columns": {"mass": {"value": "m", "error": "e_m", "unit": "Msun"}},
        }
    },
    "settings": {"max_components": 2, "quality_draws": 20, "bootstrap": 10, "likelihood_ratio": 5, "profile": True},
}


def snakemake(root: Path, folder: Path, cores: int) -> None:
    folder.mkdir()
    rng = np.random.default_rng(1)
    values = np.where(np.arange(40) < 20, 1.0, 4.0) + rng.normal(0, 0.3, 40)
    rows = [f"star {i},{value!r},0.15" for i, value in enumerate(values.tolist())]
    (folder / "stars.csv").write_text("\n".join(["id,m,e_m", *rows, ""]))
    (folder / "mine.yaml").write_text(yaml.safe_dump(CONFIG))
    files = ["--snakefile", root / "workflow/Snakefile", "--configfile", "mine.yaml"]
    environment = {**os.environ, "PYTHONPATH": str(root), "NUMBA_NUM_THREADS": str(cores)}
    command = [sys.executable, "-m", "snakemake", *files, "--cores", str(cores)]
    done = subprocess.run(command, cwd=folder, env=environment, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


@campaign
def test_two_runs_are_the_same_bytes_with_one_core_and_with_two(root, tmp_path):
    """Tables, figures and the page; with everything that is drawn at random."""
    first, second = tmp_path / "first", tmp_path / "second"
    snakemake(root, first, 1)
    snakemake(root, second, 2)
    recorded = json.loads((first / "results" / MANIFEST).read_text())
    assert json.loads((second / "results" / MANIFEST).read_text()) == recorded
    kinds = {Path(name).suffix for name in recorded["files"]}
    assert {".csv", ".json", ".parquet", ".png", ".svg", ".html"} <= kinds
    for folder in (first, second):
        assert verify_results(folder / "results", base=folder).as_recorded


# Three groups with errors, at the size of a small catalog, and without errors, where kernels take other paths.
_FIT = """
import json, sys
import numpy as np
import mixpipe
rng = np.random.default_rng(5)
x = np.concatenate([rng.normal(m, s, n) for m, s, n in ((0, 1, 300), (4, 0.5, 200), (9, 2, 100))])
err = rng.uniform(0.1, 0.6, x.size)
numbers = []
for given in (err, None):
    for size in (2, 3):
        fit = mixpipe.fit_mixture(x + (rng.normal(0, err) if given is not None else 0), given, size)
        unc = fit.uncertainties
        parts = (fit.mixture.weights, fit.mixture.means, fit.mixture.sigmas, unc.weights, unc.means, unc.sigmas)
        numbers += [fit.loglik, *(float(value) for part in parts for value in part)]
json.dump(numbers, sys.stdout)
"""


@study
def test_plain_instructions_give_the_same_numbers(tmp_path, root):
    """Kernels for this processor against kernels for any of the last twenty years."""
    found = {}
    for cpu in ("", "generic"):
        environment = {**os.environ, "PYTHONPATH": str(root)}
        if cpu:
            environment |= {"NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": "+sse2", "NUMBA_CACHE_DIR": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-c", _FIT], cwd=tmp_path, env=environment, text=True, capture_output=True, check=True
        )
        found[cpu] = np.array(json.loads(done.stdout))
    assert found[""].size == found["generic"].size > 50
    # Sums in another order differ in their last digits, and so does the last step of a climb: by 1e-8 where components
    # overlap, a millionth of an uncertainty.
    np.testing.assert_allclose(found["generic"], found[""], rtol=3e-8)
