"""The end of a run: the hashes of its results and of its catalogs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from mixpipe.pipeline.plan.texts import FIGURES, FIT_FILES, JOINT_FIGURES, JOINT_FILES
from mixpipe.results.provenance import check_code
from mixpipe.results.record import DensityRecord, FitRecord, JointRecord, load_record
from mixpipe.results.verification import write_manifest


def _files(tables: Iterable[str], figures: Iterable[str]) -> set[str]:
    return {*tables, *(f"{figure}.{ending}" for figure in figures for ending in ("png", "svg", "pdf"))}


# What only some kinds of fits leave.
_OF_KIND: dict[type, set[str]] = {
    FitRecord: _files(FIT_FILES.values(), FIGURES),
    JointRecord: _files(JOINT_FILES.values(), JOINT_FIGURES),
    DensityRecord: _files(["densities.parquet", "fit.json"], ["densities"]),
}
_OF_ALL = {"members.fits", "predict.parquet"}.union(*_OF_KIND.values())


def record_run(code: str, fits: Sequence[str], others: Sequence[str], config: str, plans: str, manifest: str) -> None:
    """Write the manifest of a run, which `mixpipe verify` compares its files with.

    Parameters
    ----------
    code : str
        Hash of the stage's code when the job was planned.
    fits : sequence of str
        fit.json of every fit; all files beside it are results of the fit, except those that a fit of its kind does not
        leave, which another configuration has left.
    others : sequence of str
        All other results, and of those beside fits, what the configuration asks for.
    config : str
        The configuration, as JSON.
    plans : str
        What the results that are made from fits were planned with, as JSON; see `derived_plans`.
    manifest : str
        JSON file to write, in the folder of results.
    """
    check_code("manifest", code)
    inputs: dict[str, str] = {}
    files = set(map(Path, others))
    for fit in map(Path, fits):
        record = load_record(fit)
        inputs |= {file.path: file.sha256 for file in record.account.files}
        left = _OF_ALL - _OF_KIND.get(type(record), _OF_ALL)
        there = (path for path in fit.parent.iterdir() if path.is_file() and not path.name.startswith("."))
        files |= {path for path in there if path.name not in left}
    write_manifest(Path(manifest).parent, sorted(files), inputs, json.loads(config), json.loads(plans))
