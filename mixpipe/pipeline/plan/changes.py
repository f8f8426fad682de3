"""Which results are not as a configuration plans them, and why, in its own words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mixpipe.base.errors import CatalogError
from mixpipe.config.settings import Config
from mixpipe.pipeline.folder import is_recorded
from mixpipe.pipeline.plan.derived import derived_plans
from mixpipe.pipeline.plan.run import Run
from mixpipe.pipeline.plan.texts import FIT_FILES, JOINT_FILES, recorded, to_text
from mixpipe.results.record import FailedRecord, FitRecord, LaterRecordError, RecordError, load_record
from mixpipe.results.verification import MANIFEST, recorded_plans

# Keys of a plan that the configuration has under another name.
_NAMES = {"path_in_file": "path", "exact": "exact_finish"}
# Files of a fit, by the kind of column.
_VALUES = tuple(FIT_FILES.values())
_DENSITIES = ("densities.parquet", FIT_FILES["fit"])
_JOINT = tuple(JOINT_FILES.values())


def find_changed(config: Config) -> Iterator[tuple[str, list[str]]]:
    """The fits that are not there, or were planned otherwise than they would be now: each fit.json, and why."""
    run = Run(config)
    for catalog, release in run.releases():
        columns = dict.fromkeys(run.columns(catalog), (_VALUES, run.fit))
        columns |= dict.fromkeys(run.densities(catalog), (_DENSITIES, run.density_fit))
        columns |= dict.fromkeys(run.joints(catalog), (_JOINT, run.joint_fit))
        for column, (names, planned) in columns.items():
            file = run.fit_file(catalog, release, column)
            try:
                record = load_record(file)
            except RecordError as error:
                reasons = [error.what]
            except CatalogError:
                reasons = [_why_missing(file.parent)]
            else:
                reasons = list(compare_plans(record.plan, recorded(planned(catalog, release, column))))
                files = [file.with_name(name) for name in names]
                if isinstance(record, FitRecord | FailedRecord) and record.start is not None:
                    files.append(run.start_file(catalog, release, column))
                reasons += [f"{path} is missing" for path in files if not path.is_file()]
            if reasons:
                yield file.as_posix(), reasons


def find_outdated(config: Config) -> Iterator[tuple[str, list[str]]]:
    """The results made from fits that are there and that a run would make otherwise: a file of each job, and why.

    The last run that came to its end has recorded what they were planned with. Of what was made since, or by a run that
    came to no end, Snakemake knows as much, if its records are there.
    """
    manifest = config.results / MANIFEST
    ended = manifest.stat().st_mtime if manifest.is_file() else -math.inf
    known = recorded_plans(config.results)
    for name, planned in derived_plans(Run(config)).items():
        file = config.results / name
        if known.get(name) == planned or not file.is_file():
            continue
        if is_recorded(file) and file.stat().st_mtime > ended:
            continue
        yield file.as_posix(), list(_compare_derived(known.get(name), planned))


def _compare_derived(old: Sequence[str] | None, new: Sequence[str]) -> Iterator[str]:
    if old is None:
        yield "no record of what it was made with"
        return
    for before, after, what in zip(old, new, ("its code changed", "the configuration changed"), strict=True):
        if before != after:
            yield what


def find_other_settings(config: Config, results: Path) -> Iterator[str]:
    """The columns in a folder of results that were fitted with other settings than a configuration has, and which.

    Nothing but the results is read: that catalogs or code changed is another question.

    Parameters
    ----------
    config : Config
        The configuration; its own folder of results does not matter.
    results : Path
        The folder.

    Raises
    ------
    LaterRecordError
        For a fit of a later version, whose settings are not known here.
    """
    run = Run(replace(config, results=results))
    for catalog, release in run.releases():
        plans: dict[str, Any] = dict.fromkeys(run.columns(catalog), run.fit_plan)
        plans |= dict.fromkeys(run.densities(catalog), run.density_plan)
        plans |= dict.fromkeys(run.joints(catalog), run.joint_plan)
        for column, plan in plans.items():
            try:
                record = load_record(run.fit_file(catalog, release, column))
            except LaterRecordError:
                raise
            except CatalogError:  # its hash tells that it is missing or has changed
                continue
            planned = recorded(to_text(plan(catalog, release, column, {})))
            changes = list(compare_settings(record.plan, planned))
            if changes:
                yield f"{catalog} {release} {column}: {'; '.join(changes)}"


def find_others_derived(config: Config, results: Path) -> Iterator[str]:
    """As `find_other_settings`, the results made from fits, by what the run recorded of them."""
    known = recorded_plans(results)
    for name, (_, settings) in derived_plans(Run(config)).items():
        if name in known and known[name][1] != settings:
            yield f"{name}: made for another configuration"


def compare_plans(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """How two plans of a fit differ, in the words of the configuration.

    Examples
    --------
    >>> old = {"files": [["a.csv", "1"], ["b.csv", "2"]], "column": {"error_scale": 1.0}, "key": None, "code": "x"}
    >>> new = {"files": [["a.csv", "3"]], "column": {"error_scale": 2.0}, "key": "name", "code": "x"}
    >>> list(compare_plans(old, new))
    ['catalog file a.csv changed', 'catalog file b.csv removed', 'key changed from none to name',
     'error_scale changed from 1 to 2']
    """
    before, after = dict(old.get("files", [])), dict(new["files"])
    for file in [*after, *(file for file in before if file not in after)]:
        if before.get(file) != after.get(file):
            what = "added" if file not in before else "removed" if file not in after else "changed"
            yield f"catalog file {file} {what}"
    if before == after and list(before) != list(after):
        yield "catalog files in another order"
    yield from compare_settings(old, new)
    if old.get("code") != new["code"]:
        yield "code of the fits changed"


def compare_settings(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """How the settings of two plans of a fit differ, in the words of the configuration."""
    was, now = _settings(old), _settings(new)
    for key in now | was:
        if was.get(key) != now.get(key):
            *place, name = key[1:]
            where = f"{place[0]}: " if place else ""
            yield f"{where}{_NAMES.get(name, name)} changed from {_shown(was.get(key))} to {_shown(now.get(key))}"


def _settings(plan: Mapping[str, Any]) -> dict[tuple[str, ...], Any]:
    """Settings of a column, of its catalog and of the run, by section and name; those of joint columns by these, too.

    A column and the reading of a catalog both have a setting `missing`.
    """
    settings: dict[tuple[str, ...], Any] = {
        ("", key): plan[key] for key in ("key", "where", "criterion") if key in plan
    }
    for section in ("column", "reading", "effort"):
        settings |= {(section, key): value for key, value in plan.get(section, {}).items()}
    joint = settings.get(("column", "columns"), [])
    if all(isinstance(column, dict) and "name" in column for column in joint):
        settings[("column", "columns")] = [column["name"] for column in joint]
        settings |= {("column", column["name"], key): column[key] for column in joint for key in column}
    return settings


def _shown(value: object) -> str:
    """A setting as people write it."""
    if value is None or value == []:
        return "none"
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _why_missing(folder: Path) -> str:
    """Why a fit is not there, from the folders that are."""
    places = {"catalog": folder.parents[1], "release": folder.parent, "column": folder}
    return next((f"new {name}" for name, place in places.items() if not place.exists()), "no result is there")
