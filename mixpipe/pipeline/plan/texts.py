"""What each job of a run is to do, as one text that changes if and only if the job has to be done again."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mixpipe.assess.effort import Effort
from mixpipe.base.errors import PassingError
from mixpipe.config.settings import CatalogSettings, ColumnSettings, DensitySettings, JointSettings, Settings
from mixpipe.results.provenance import check_code

# What the fit of a column of values leaves, by name; fit.json comes last.
FIT_FILES = {
    "components": "components.csv",
    "selection": "selection.csv",
    "estimators": "estimators.csv",
    "intervals": "intervals.csv",
    "covariance": "covariance.csv",
    "bimodality": "bimodality.csv",
    "members": "members.parquet",
    "fit": "fit.json",
}
# What a joint fit leaves.
JOINT_FILES = {name: file for name, file in FIT_FILES.items() if name not in ("estimators", "bimodality")}
# The figures of each.
FIGURES = ("mixture", "selection", "classes", "quality", "estimators")
JOINT_FIGURES = ("corner", "selection", "quality")


def reading_options(settings: CatalogSettings) -> dict[str, Any]:
    """What `read_catalog` and `list_columns` have to be told of a catalog's files, as plain values for JSON."""
    return {
        "format": settings.format,
        "hdu": settings.hdu,
        "path_in_file": settings.path,
        "comment": settings.comment,
        "delimiter": settings.delimiter,
        "decimal": settings.decimal,
        "missing": list(settings.missing),
    }


@dataclass(frozen=True)
class IngestPlan:
    """How some files of a release are read: the SHA-256 of each, the columns needed, and the `reading_options`.

    The `arrays` are those columns that may have several numbers per row.
    """

    catalog: str
    release: str
    files: dict[str, str]
    columns: tuple[str, ...]
    arrays: tuple[str, ...]
    reading: dict[str, Any]
    code: str


@dataclass(frozen=True)
class _OfRows:
    """What the plans of all fits say of their rows: files with the SHA-256 of each, and how they are read."""

    catalog: str
    release: str
    files: tuple[tuple[str, str], ...]
    reading: dict[str, Any]
    key: str | None
    where: str | None


@dataclass(frozen=True)
class FitPlan(_OfRows):
    """How one column of one release is read, from files with the SHA-256 of each, and fitted."""

    column: ColumnSettings
    criterion: str
    effort: Effort
    code: str


@dataclass(frozen=True)
class DensityPlan(_OfRows):
    """How one column of tabulated densities is read, from files with the SHA-256 of each, and fitted."""

    column: DensitySettings
    code: str


@dataclass(frozen=True)
class JointPlan(_OfRows):
    """How several columns of one release are read, from files with the SHA-256 of each, and fitted jointly."""

    column: JointSettings
    criterion: str
    effort: Effort
    code: str


def effort_of(settings: Settings) -> Effort:
    """What is to be found out about each chosen fit."""
    return Effort(
        bootstrap=settings.bootstrap,
        quality_draws=settings.quality_draws,
        profile=settings.profile,
        likelihood_ratio=settings.likelihood_ratio,
        exact=settings.exact_finish,
        seed=settings.seed,
    )


def to_text(plan: IngestPlan | FitPlan | DensityPlan | JointPlan) -> str:
    """A plan as one line of JSON, the same for equal plans.

    Snakemake keeps it with the results, and does a job again when it differs. Its own report has the text in a script
    element, which nothing in it can end.
    """
    text = json.dumps(asdict(plan), sort_keys=True, separators=(",", ":"))
    return re.sub("[<>&]", lambda letter: f"\\u{ord(letter[0]):04x}", text)


def recorded(plan: str) -> dict[str, Any]:
    """A plan from its text as fit.json has it, where an infinite bound is null."""
    keys: dict[str, Any] = json.loads(plan, parse_constant=lambda _: None)
    return keys


def open_ingest_plan(text: str) -> IngestPlan:
    """The plan from its text, after making sure that the code is still the planned one."""
    keys = _open("ingest", text)
    return IngestPlan(**{**keys, "columns": tuple(keys["columns"]), "arrays": tuple(keys["arrays"])})


def open_fit_plan(text: str) -> FitPlan:
    """The plan from its text, after making sure that the code is still the planned one."""
    return read_fit_plan(_open("fit", text))


def read_fit_plan(keys: Mapping[str, Any]) -> FitPlan:
    """The plan from what JSON keeps of it, in a text or in fit.json, where an infinite bound is null."""
    return FitPlan(
        **{**keys, "files": _pairs(keys), "column": _column(keys["column"]), "effort": Effort(**keys["effort"])}
    )


def _column(keys: Mapping[str, Any]) -> ColumnSettings:
    column: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in keys.items()}
    if column["truncated"] is not None:
        given = column["truncated"]
        column["truncated"] = tuple(map(_pair, given)) if isinstance(given[0], list) else _pair(given)
    # Plans of older files have none.
    if column.get("detection") is not None:
        column["detection"] = tuple(map(tuple, column["detection"]))
    return ColumnSettings(**column)


def _pair(bounds: Any) -> tuple[Any, Any]:
    low, high = bounds
    return -math.inf if low is None else low, math.inf if high is None else high


def open_joint_plan(text: str) -> JointPlan:
    """The plan from its text, after making sure that the code is still the planned one."""
    return read_joint_plan(_open("joint", text))


def read_joint_plan(keys: Mapping[str, Any]) -> JointPlan:
    """The plan from what JSON keeps of it."""
    joint: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in keys["column"].items()
    }
    joint["columns"] = tuple(_column(column) for column in joint["columns"])
    joint["correlation"] = tuple((first, second, given) for first, second, given in joint["correlation"])
    if joint["linear"] is not None:
        joint["linear"] = tuple((name, tuple(coefficients)) for name, coefficients in joint["linear"])
    return JointPlan(
        **{**keys, "files": _pairs(keys), "column": JointSettings(**joint), "effort": Effort(**keys["effort"])}
    )


def open_density_plan(text: str) -> DensityPlan:
    """The plan from its text, after making sure that the code is still the planned one."""
    keys = _open("densities", text)
    column = keys["column"]
    grid = tuple(column["grid"]) if isinstance(column["grid"], list) else column["grid"]
    return DensityPlan(**{**keys, "files": _pairs(keys), "column": DensitySettings(**{**column, "grid": grid})})


def _pairs(keys: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple((path, digest) for path, digest in keys["files"])


def _open(stage: str, text: str) -> dict[str, Any]:
    keys: dict[str, Any] = json.loads(text)
    check_code(stage, keys["code"])
    return keys


def check_data(what: str, found: str, planned: str, where: str | Path) -> None:
    """Refuse data that changed after the plan was made.

    Raises
    ------
    PassingError
        If the hashes differ.
    """
    if found != planned:
        raise PassingError(
            f"{what} changed after this job was planned",
            f"in {where}",
            "files that stay as they are during a run: start the pipeline again",
        )
