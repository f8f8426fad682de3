"""The command `mixpipe status`: which fits a run would do again, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import mixpipe
from mixpipe.cli.display import say
from mixpipe.config import Config, load_config
from mixpipe.errors import MixpipeError
from mixpipe.pipeline.run import Run, find_problems, read_document, recorded
from mixpipe.tables import json_text

# Keys of a plan that the configuration has under another name.
_NAMES = {"path_in_file": "path", "exact": "exact_finish"}
# What stands beside fit.json, by the kind of column.
_VALUES = ("components.csv", "selection.csv", "estimators.csv", "intervals.csv", "members.parquet")
_DENSITIES = ("densities.parquet",)


@dataclass(frozen=True)
class Due:
    """A fit that a run would do, and why."""

    catalog: str
    release: str
    column: str
    reasons: tuple[str, ...]


def show_status(path: str, *, as_json: bool) -> Sequence[MixpipeError]:
    """Print which fits a run of a configuration would do, and why.

    Parameters
    ----------
    path : str
        The configuration file.
    as_json : bool
        Print one JSON object instead of text for people.

    Returns
    -------
    sequence of MixpipeError
        Everything that would stop the run; nothing is printed then.

    Raises
    ------
    MixpipeError
        If the configuration, or a file, cannot be read.
    """
    config = load_config(path)
    problems = find_problems(config)
    if problems:
        return problems
    due, n_fits = list(find_due(config)), _count(config)
    compared = list(_comparisons(config, due))
    if as_json:
        document = {
            "n_fits": n_fits,
            "fits": [vars(each) for each in due],
            "comparisons": [dict(zip(("catalog", "old", "new"), each, strict=True)) for each in compared],
            "version": mixpipe.__version__,
        }
        # A pipe may not take more than ASCII.
        print(json_text(document, ensure_ascii=True))
        return []
    for each in due:
        for reason in each.reasons:
            say(f"{each.catalog} {each.release} {each.column}: {reason}")
    for catalog, old, new in compared:
        say(f"{catalog}: {old} and {new} would be compared")
    what = f"{len(due)} of {n_fits}" if due else "none"
    follow = "; figures, tables and report follow them" if due or compared else ""
    say(f"fits that would be done: {what}{follow}. All jobs: mixpipe run --config CONFIG -n")
    return []


def find_due(config: Config) -> Iterator[Due]:
    """The fits that are not there, or were planned otherwise than they would be now."""
    run = Run(config)
    for catalog in config.catalogs:
        columns = dict.fromkeys(run.columns(catalog.name), _VALUES) | dict.fromkeys(
            run.densities(catalog.name), _DENSITIES
        )
        made = {
            (release, column): read_document(run.fit_file(catalog.name, release, column))
            for release in catalog.releases
            for column in columns
        }
        for (release, column), document in made.items():
            if document is None:
                reasons = [_why_missing(release, column, made)]
            else:
                planned = run.fit if columns[column] is _VALUES else run.density_fit
                reasons = list(compare_plans(document["plan"], recorded(planned(catalog.name, release, column))))
                folder = run.fit_file(catalog.name, release, column).parent
                files = [folder / name for name in columns[column]]
                if document.get("start") is not None:
                    files.append(run.start_file(catalog.name, release, column))
                reasons += [f"{file} is missing" for file in files if not file.is_file()]
            if reasons:
                yield Due(catalog.name, release, column, tuple(reasons))


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
    was, now = _settings(old), _settings(new)
    for key in now | was:
        if was.get(key) != now.get(key):
            yield f"{_NAMES.get(key, key)} changed from {_shown(was.get(key))} to {_shown(now.get(key))}"
    if old.get("code") != new["code"]:
        yield "code of the fits changed"


def _settings(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a column, of its catalog and of the run; their names differ."""
    settings = {key: plan[key] for key in ("key", "where", "criterion") if key in plan}
    for section in ("column", "reading", "effort"):
        settings |= plan.get(section, {})
    return settings


def _shown(value: object) -> str:
    """A setting as people write it."""
    if value is None or value == []:
        return "none"
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _why_missing(release: str, column: str, made: Mapping[tuple[str, str], object | None]) -> str:
    there = [place for place, document in made.items() if document is not None]
    if not there:
        return "new catalog"
    if all(place[0] != release for place in there):
        return "new release"
    return "new column" if all(place[1] != column for place in there) else "no result is there"


def _comparisons(config: Config, due: Sequence[Due]) -> Iterator[tuple[str, str, str]]:
    """Comparisons of which one fit would be done, or that are not there."""
    again = {(each.catalog, each.release, each.column) for each in due}
    for catalog in config.catalogs:
        for old, new in pairwise(catalog.releases) if catalog.columns else ():
            places = {(catalog.name, release, column.name) for release in (old, new) for column in catalog.columns}
            table = config.results / catalog.name / "compare" / f"{old}_to_{new}" / "summary.csv"
            if places & again or not table.is_file():
                yield catalog.name, old, new


def _count(config: Config) -> int:
    return sum(len(catalog.releases) * (len(catalog.columns) + len(catalog.densities)) for catalog in config.catalogs)
