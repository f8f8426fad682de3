"""Hashes of files and of code: they change when, and only when, what they stand for does."""

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mixpipe.base.errors import MixpipeError
from mixpipe.results import provenance
from mixpipe.results.provenance import (
    STAGES,
    check_code,
    code_hash,
    stage_files,
    versions,
)


def names(stage: str) -> set[str]:
    return {path.relative_to(provenance.PACKAGE).as_posix() for path in stage_files(stage)}


# Modules of the room of catalogs that are about columns, not about files.
COLUMNS = (
    "columns",
    "joint",
    "doubts",
    "expressions",
    "limits",
    "odd_cells",
    "recognition",
    "required",
    "sentinels",
    "stream",
)


def within(folder: str) -> set[str]:
    """The modules that lie in a folder."""
    found = {f"{folder}/{path.name}" for path in (provenance.PACKAGE / folder).glob("*.py")}
    assert found
    return found


def test_stages_depend_on_what_they_use():
    catalog = within("catalog/formats") | within("catalog") - {f"catalog/{name}.py" for name in COLUMNS}
    figures = within("report/figures")
    kernels = within("fitting/kernels") | within("model/kernels")
    # Tabulated densities are read, fitted and drawn by stages of their own.
    densities = {f"{part}.py" for part in ("catalog/densities", "fitting/kernels/grids", "report/figures/densities")}
    overlay = {"report/figures/overlay.py"}
    # So are the figures of joint fits, other than the one that Python draws of any fit.
    joint = {f"report/figures/joint_{name}.py" for name in ("curves", "quality", "overlay")}
    assert catalog - densities <= names("ingest") | {"catalog/release.py"}
    assert catalog - densities - {"catalog/hashes.py"} <= names("fit")
    assert not names("ingest") & (figures | kernels | {"model/cells.py", "catalog/columns.py", "results/tables.py"})
    assert kernels - densities | {
        "catalog/columns.py",
        "fitting/gaussian/likelihood.py",
        "fitting/gaussian/search.py",
        "fitting/choose.py",
        "results/tables.py",
    } <= names("fit")
    assert not names("fit") & (figures | {"report/page.py"})
    assert figures - densities - overlay - joint <= names("figures")
    numerics = {"fitting/kernels/passes.py", "fitting/gaussian/likelihood.py", "fitting/joint/choose.py"}
    assert not joint & names("figures")
    for stage in ("figures", "joint_figures", "report"):
        # The paragraph on the method has units.
        units = {f"catalog/{name}.py" for name in ("__init__", "formats/__init__", "formats/arrays")}
        assert not names(stage) & ((catalog - units) | numerics | {"catalog/columns.py"})
    assert joint | {"report/figures/corner.py"} <= names("joint_figures") | names("joint_compare")
    files = catalog - {"catalog/release.py", "catalog/store.py"}
    assert files | {"fitting/kernels/grids.py", "fitting/tabulated/fit.py"} <= names("densities")
    assert not names("densities") & (figures | {"fitting/gaussian/search.py", "fitting/choose.py"})
    assert "report/figures/densities.py" in names("density_figure")
    assert not names("density_figure") & (catalog | {"fitting/kernels/grids.py", "fitting/tabulated/fit.py"})
    assert not densities & (names("ingest") | names("fit") | names("figures"))
    assert {"assess/comparison/compare.py"} | overlay <= names("compare")
    assert not overlay & (names("fit") | names("figures"))
    assert {"report/page.py", "report/templates/report.html.j2"} <= names("report")
    assert not names("summary") & (catalog | figures | numerics)


# Each stage is a fork of one process, which has imported what takes long and is not ours.
LOADED = """
import json, os, sys
import astropy.table, astropy.units, h5py, jinja2, matplotlib.figure, numba, pandas, pyarrow.parquet, scipy.stats

assert not [name for name in sys.modules if name.startswith("mixpipe")]
for stage, module in json.loads(sys.argv[1]).items():
    if not (child := os.fork()):
        __import__(module)
        names = [module.__file__ for name, module in sys.modules.items() if name.startswith("mixpipe.")]
        print(json.dumps([stage, names]), flush=True)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, stage
"""


@pytest.fixture(scope="module")
def loaded() -> dict[str, list[str]]:
    """The files of ours that each stage has loaded."""
    command = [sys.executable, "-c", LOADED, json.dumps(STAGES)]
    done = subprocess.run(command, text=True, capture_output=True, check=True)
    return dict(map(json.loads, done.stdout.splitlines()))


@pytest.mark.parametrize("stage", STAGES)
def test_no_stage_loads_a_module_that_its_hash_leaves_out(stage, loaded):
    assert loaded[stage]
    assert {Path(name) for name in loaded[stage]} <= set(stage_files(stage))


def test_imports_are_written_so_that_the_hash_sees_them():
    public = (provenance.PACKAGE / "__init__.py").read_text(encoding="utf-8")
    for path in provenance.PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: relative import"
                if node.module == "mixpipe":
                    hidden = [alias.name for alias in node.names if f'"{alias.name}":' in public]
                    assert not hidden, f"{path}: import {hidden} from the module where it lives"


@pytest.fixture
def package(tmp_path, monkeypatch) -> Path:
    """A copy of the package that is hashed in its place."""
    copy = tmp_path / "mixpipe"
    shutil.copytree(provenance.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(provenance, "PACKAGE", copy)
    code_hash.cache_clear()
    yield copy
    code_hash.cache_clear()


@pytest.mark.parametrize(
    ("edited", "stages"),
    [
        ("catalog/formats/fits.py", {"ingest", "fit", "densities", "joint"}),
        ("fitting/gaussian/search.py", {"fit", "joint", "compare", "joint_compare"}),
        ("fitting/kernels/grids.py", {"densities"}),
        ("report/figures/mixture.py", {"figures", "joint_figures", "density_figure", "compare", "joint_compare"}),
        ("report/figures/densities.py", {"density_figure"}),
        ("report/templates/report.html.j2", {"report"}),
        ("pipeline/account.py", {"account"}),
        ("pipeline/summary.py", {"summary"}),
        ("pipeline/plan/run.py", set()),
        ("config/config.schema.yaml", set()),
        ("base/errors.py", set(STAGES)),
    ],
)
def test_an_edit_changes_the_hash_of_the_stages_behind_it(package, edited, stages):
    before = {stage: code_hash(stage) for stage in STAGES}
    code_hash.cache_clear()
    with (package / edited).open("a", encoding="utf-8") as stream:
        stream.write("# edited\n")
    assert {stage for stage in STAGES if code_hash(stage) != before[stage]} == stages


def test_imports_for_annotations_do_not_count(package):
    path = package / "pipeline" / "summary.py"
    source = path.read_text(encoding="utf-8")
    before = set(stage_files("summary"))
    path.write_text(f"{source}\nif TYPE_CHECKING:\n    from mixpipe import kernels\n", encoding="utf-8")
    assert set(stage_files("summary")) == before
    path.write_text(f"{source}\ndef late():\n    import mixpipe.pipeline.job\n", encoding="utf-8")
    assert set(stage_files("summary")) - before == {
        package / "pipeline" / "job.py",
        package / "base" / "frames.py",
        package / "base" / "interrupts.py",
    }


def test_a_job_refuses_other_code_than_planned(package):
    planned = code_hash("figures")
    check_code("figures", planned)
    code_hash.cache_clear()
    (package / "report/figures/style.py").write_text("", encoding="utf-8")
    with pytest.raises(MixpipeError, match="the code of stage 'figures' changed after this job was planned"):
        check_code("figures", planned)


def test_versions_name_the_libraries():
    import numpy as np

    found = versions()
    assert found["numpy"] == np.__version__
    assert set(found) == {"python", "mixpipe", "numpy", "scipy", "numba", "astropy", "pandas", "pyarrow"}
