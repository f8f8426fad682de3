"""The table of a run: which files each job reads, and what it is to do."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

from mixpipe.base.errors import CatalogError, ConfigError, MixpipeError, excerpt, merged
from mixpipe.base.files import sha256
from mixpipe.catalog.files import expand_files
from mixpipe.catalog.hashes import FileHashes
from mixpipe.catalog.reading import idle_options, list_columns
from mixpipe.catalog.required import required_columns
from mixpipe.catalog.source import expected_name
from mixpipe.config.settings import CatalogSettings, ColumnSettings, Config, JointSettings, comparison_name
from mixpipe.pipeline.folder import SNAKEMAKE_RECORDS
from mixpipe.pipeline.plan.texts import (
    DensityPlan,
    FitPlan,
    IngestPlan,
    JointPlan,
    effort_of,
    reading_options,
    recorded,
    to_text,
)
from mixpipe.results.provenance import code_hash
from mixpipe.results.record import FailedRecord, FitRecord, find_record

# Options for one format only, under the names that they have in a configuration.
READING_KEYS = {
    "hdu": "hdu",
    "path_in_file": "path",
    "comment": "comment",
    "delimiter": "delimiter",
    "decimal": "decimal",
}

# Files are read in jobs of at least so many bytes, which take some seconds at least.
_BATCH_BYTES = 1 << 29
# Columns of members.parquet, predict.parquet and densities.parquet, which the key stands beside.
_MEMBERS = re.compile("value|err|err_lower|err_upper|limit|weight|component|p_[0-9]+|true_mean|true_unc")
_JOINT = re.compile("(value|err|err_corr|true_mean|true_unc|true_corr|p)_.*|weight|component")
_PREDICTED = re.compile("(mean|unc|corr)_.*|is_given")
_DENSITIES = re.compile("status|n_components|(weight|mean|sigma)_[0-9]+|l2|ks|mass|converged")
# Letters of the longest file in a folder of results, while it is written.
_LONGEST_NAME = 80
# On Linux.
_LONGEST_PATH = 4096
# In catalogs of more columns than this a job is for so many of them.
_MANY_COLUMNS = 50
_BATCH_COLUMNS = 10


@dataclass(frozen=True)
class _Ingested:
    """A file that some files of a release are read into, with the columns in it and the SHA-256 of each file."""

    path: Path
    columns: tuple[str, ...]
    files: dict[str, str]


def _made(path: Path) -> Iterator[_Ingested]:
    """A file that is there; none if it cannot be read."""
    from mixpipe.catalog.store import stored_columns, stored_files

    with contextlib.suppress(MixpipeError):
        files = {entry["path"]: entry["sha256"] for entry in stored_files(path)}
        yield _Ingested(path, stored_columns(path), files)


def _batches(lacking: dict[str, list[str]]) -> Iterator[tuple[list[str], list[str]]]:
    """Files that the same fits lack, in batches of neighbours: the fits, and the files."""
    for names, files in groupby(lacking, key=lambda file: lacking[file]):
        batch: list[str] = []
        n_bytes = 0
        for file in files if names else ():
            batch.append(file)
            n_bytes += Path(file).stat().st_size
            if n_bytes >= _BATCH_BYTES:
                yield names, batch
                batch, n_bytes = [], 0
        if batch:
            yield names, batch


def _digest(value: object) -> str:
    """A short name for some settings, the same for equal ones."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


class Run:
    """What a configuration means for the catalogs as they are now.

    Nothing is read before a file or a plan is asked for, and each file is hashed once.

    Parameters
    ----------
    config : Config
        The configuration.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self._files: dict[tuple[str, str], dict[str, str]] = {}
        self._made: dict[tuple[str, str], dict[str, list[_Ingested]]] = {}
        self._fitted: dict[tuple[str, str, str], FitRecord | FailedRecord | None] = {}

    @cached_property
    def _hashes(self) -> FileHashes:
        return FileHashes(self.config.results)

    def releases(self) -> list[tuple[str, str]]:
        """All pairs of catalog and release, in the order of the configuration."""
        return [(catalog.name, release) for catalog in self.config.catalogs for release in catalog.releases]

    def columns(self, catalog: str) -> list[str]:
        """Names of the columns of values that are fitted in a catalog."""
        return [column.name for column in self.config.catalog(catalog).columns]

    def jobs(self, catalog: str) -> list[list[str]]:
        """The columns of values that each job of a catalog is for: one, or several where a catalog has many.

        The start of a job takes longer than many a fit. Jobs follow the order of the configuration, so that a column
        that is added behind the others touches one of them.
        """
        names = self.columns(catalog)
        size = 1 if len(names) <= _MANY_COLUMNS else _BATCH_COLUMNS
        return [names[start : start + size] for start in range(0, len(names), size)]

    def job_names(self) -> set[str]:
        """What the files that belong to a whole job are called."""
        return set(self._job_names.values())

    @cached_property
    def _job_names(self) -> dict[tuple[str, str], str]:
        """The name of the job of each catalog and column: a column that has a job of its own gives it its name."""
        return {
            (catalog.name, column): f"batch_{number:03d}" if len(catalog.columns) > _MANY_COLUMNS else column
            for catalog in self.config.catalogs
            for number, job in enumerate(self.jobs(catalog.name))
            for column in job
        }

    def densities(self, catalog: str) -> list[str]:
        """Names of the columns of tabulated densities that are fitted in a catalog."""
        return [column.name for column in self.config.catalog(catalog).densities]

    def joints(self, catalog: str) -> list[str]:
        """Names of the groups of columns that are fitted jointly in a catalog."""
        return [joint.name for joint in self.config.catalog(catalog).joints]

    def columns_of(self, catalog: str, joint: str) -> list[str]:
        """Those columns of a joint fit that are also fitted one by one."""
        return [name for name in self.config.catalog(catalog).joint(joint).names if name in self.columns(catalog)]

    def fits(self, catalog: str) -> list[str]:
        """Names of all fits of a catalog, of columns and of groups of them."""
        return [*self.columns(catalog), *self.densities(catalog), *self.joints(catalog)]

    def files(self, catalog: str, release: str) -> dict[str, str]:
        """The files of a release, each with the SHA-256 of its content.

        Raises
        ------
        CatalogError
            If there is none, or one cannot be read.
        """
        if (catalog, release) not in self._files:
            paths = expand_files(self.config.catalog(catalog).releases[release], Path())
            self._files[catalog, release] = {path.as_posix(): self._hashes(path) for path in paths}
        return self._files[catalog, release]

    def ingested(self, catalog: str, release: str, column: str) -> list[str]:
        """The Parquet files that hold the columns of a fit; they may have to be made first.

        Each file of a release is read once, for all its fits, in jobs of several files. What was made earlier stays in
        use: a file that is added to the release, a fit that is added, or one that needs another column reads what is
        missing and leaves all else alone.
        """
        return [part.path.as_posix() for part in self._ingested(catalog, release)[column]]

    def ingested_names(self, catalog: str, release: str) -> list[str]:
        """Names of the Parquet files that the fits of a release need."""
        return sorted({part.path.name for parts in self._ingested(catalog, release).values() for part in parts})

    def ingest_files(self, catalog: str, release: str, content: str) -> list[str]:
        """The files that an ingest job reads."""
        return list(self._part(catalog, release, content).files)

    def ingest(self, catalog: str, release: str, content: str) -> str:
        """The plan of the ingest job that makes a file, as text."""
        part = self._part(catalog, release, content)
        return to_text(
            IngestPlan(
                catalog=catalog,
                release=release,
                files=part.files,
                columns=part.columns,
                arrays=tuple(sorted(self._arrays(catalog) & set(part.columns))),
                reading=reading_options(self.config.catalog(catalog)),
                code=code_hash("ingest"),
            )
        )

    def _arrays(self, catalog: str) -> set[str]:
        """Columns of a catalog's files that have several numbers per row: covariances and samples."""
        settings = self.config.catalog(catalog)
        given = [joint.covariance for joint in settings.joints]
        covariances = {names[0] for names in given if names is not None and len(names) == 1}
        sampled = [column for column in settings.columns if column.kind == "samples"]
        names = {name for column in sampled for name in (column.value, column.sample_prior)}
        return covariances | {name for name in names if name is not None}

    def _part(self, catalog: str, release: str, content: str) -> _Ingested:
        parts = (part for parts in self._ingested(catalog, release).values() for part in parts)
        return next(part for part in parts if part.path.stem == content)

    def _ingested(self, catalog: str, release: str) -> dict[str, list[_Ingested]]:
        """The parts for each fit of a release: those that are there and of use, and new ones for what is missing."""
        if (catalog, release) not in self._made:
            settings = self.config.catalog(catalog)
            files = self.files(catalog, release)
            how = _digest([reading_options(settings), code_hash("ingest")])
            folder = self.config.results / catalog / release / "ingest"
            there = [part for path in sorted(folder.glob(f"{how}-*.parquet")) for part in _made(path)]
            entries: tuple[ColumnSettings | JointSettings, ...] = (*settings.columns, *settings.joints)
            needed = {entry.name: required_columns([entry], settings.where, settings.key) for entry in entries}
            parts: dict[str, dict[Path, _Ingested]] = {name: {} for name in needed}
            lacking: dict[str, list[str]] = {file: [] for file in files}
            for name, columns in needed.items():
                useful = [part for part in there if set(columns) <= set(part.columns)]
                for file, digest in files.items():
                    part = next((part for part in useful if part.files.get(file) == digest), None)
                    if part is None:
                        lacking[file].append(name)
                    else:
                        parts[name][part.path] = part
            for names, batch in _batches(lacking):
                columns = tuple(sorted({column for name in names for column in needed[name]}))
                content = {file: files[file] for file in batch}
                name = f"{how}-{_digest(list(content.items()))}-{_digest(columns)}"
                part = _Ingested(folder / f"{name}.parquet", columns, content)
                for fit in names:
                    parts[fit][part.path] = part
            self._made[catalog, release] = {name: list(made.values()) for name, made in parts.items()}
        return self._made[catalog, release]

    def fit(self, catalog: str, release: str, column: str) -> str:
        """The plan of a fit, as text."""
        return to_text(self.fit_plan(catalog, release, column, self.files(catalog, release)))

    def _rows(self, catalog: str, release: str, files: Mapping[str, str]) -> dict[str, Any]:
        """What the plans of all fits say of the rows of a release."""
        settings = self.config.catalog(catalog)
        return {
            "catalog": catalog,
            "release": release,
            "files": tuple(files.items()),
            "reading": reading_options(settings),
            "key": settings.key,
            "where": settings.where,
        }

    def fit_plan(self, catalog: str, release: str, column: str, files: Mapping[str, str]) -> FitPlan:
        """The plan of a fit to files with the SHA-256 of each."""
        return FitPlan(
            **self._rows(catalog, release, files),
            column=self.config.catalog(catalog).column(column),
            criterion=self.config.settings.criterion,
            effort=effort_of(self.config.settings),
            code=code_hash("fit"),
        )

    def start(self, catalog: str, release: str, column: str) -> list[str]:
        """The file that a fit is climbed from beside the search: none for the first release.

        A fit that is there and as planned keeps what it had, wherever its release stands in the list now.
        """
        fitted = self._up_to_date(catalog, release, column)
        started = self._before(catalog, release) if fitted is None else fitted.start
        return [] if started is None else [self.start_file(catalog, release, column).as_posix()]

    def start_sources(self, catalog: str, release: str, job: str) -> list[str]:
        """Each fit.json that the start of a job is made from; none if its fits are there and keep the one they had.

        With it the job waits for the fits of the release before, and only if it has something to do itself.
        """
        before = self._before(catalog, release)
        columns = [column for column in self.columns(catalog) if self._job_names[catalog, column] == job]
        if before is None or all(self._up_to_date(catalog, release, column) is not None for column in columns):
            return []
        return [self.fit_file(catalog, before, column).as_posix() for column in columns]

    def fit_file(self, catalog: str, release: str, column: str) -> Path:
        """The fit.json of a fit."""
        return self.config.results / catalog / release / column / "fit.json"

    def start_file(self, catalog: str, release: str, column: str) -> Path:
        """What a fit was climbed from: each fit.json of the release before, as it was then, of the columns of a job."""
        return self.config.results / catalog / release / "starts" / f"{self._job_names[catalog, column]}.json"

    def _before(self, catalog: str, release: str) -> str | None:
        """The release before this one."""
        releases = list(self.config.catalog(catalog).releases)
        place = releases.index(release)
        return releases[place - 1] if place else None

    def _up_to_date(self, catalog: str, release: str, column: str) -> FitRecord | FailedRecord | None:
        """The record of a fit that is as planned, its start still there."""
        place = (catalog, release, column)
        if place not in self._fitted:
            record = find_record(self.fit_file(*place))
            self._fitted[place] = None
            if isinstance(record, FitRecord | FailedRecord) and record.plan == recorded(self.fit(*place)):
                kept = record.start is None or self.start_file(*place).is_file()
                self._fitted[place] = record if kept else None
        return self._fitted[place]

    def density_fit(self, catalog: str, release: str, column: str) -> str:
        """The plan of the fits to a column of tabulated densities, as text."""
        return to_text(self.density_plan(catalog, release, column, self.files(catalog, release)))

    def density_plan(self, catalog: str, release: str, column: str, files: Mapping[str, str]) -> DensityPlan:
        """The plan of the fits to a column of tabulated densities, in files with the SHA-256 of each."""
        return DensityPlan(
            **self._rows(catalog, release, files),
            column=self.config.catalog(catalog).density(column),
            code=code_hash("densities"),
        )

    def joint_fit(self, catalog: str, release: str, column: str) -> str:
        """The plan of a joint fit, as text."""
        return to_text(self.joint_plan(catalog, release, column, self.files(catalog, release)))

    def look(self, catalog: str, column: str) -> str:
        """What is set for the figures of a column, as text; see `mixpipe.report.figures.look.read_look`."""
        return _text({**self._style, **self.config.catalog(catalog).looks.get(column, {})})

    def looks(self, catalog: str) -> str:
        """The same for all columns of a catalog, by name."""
        return _text({"style": self._style, "columns": self.config.catalog(catalog).looks})

    def predictions(self, catalog: str, joint: str) -> str:
        """What is to be predicted from a joint fit, as text."""
        settings = self.config.catalog(catalog).joint(joint)
        return json.dumps({"given": settings.given, "of": settings.predicted})

    @cached_property
    def _style(self) -> dict[str, Any]:
        """The style of the figures; one from a file with the SHA-256 of it."""
        style = self.config.settings.style
        if style is None:
            return {}
        return {"style": style} | ({"style_sha256": sha256(Path(style))} if Path(style).is_file() else {})

    def joint_plan(self, catalog: str, release: str, column: str, files: Mapping[str, str]) -> JointPlan:
        """The plan of a joint fit to files with the SHA-256 of each."""
        return JointPlan(
            **self._rows(catalog, release, files),
            # What is predicted does not change the fit.
            column=replace(self.config.catalog(catalog).joint(column), given=(), predicted=()),
            criterion=self.config.settings.criterion,
            effort=effort_of(self.config.settings),
            code=code_hash("joint"),
        )


def _text(look: Mapping[str, Any]) -> str:
    return json.dumps(look, sort_keys=True)


def find_problems(config: Config) -> list[MixpipeError]:
    """Everything that would stop a run of this configuration and shows without reading a row.

    Results that cannot be written where they are to be, keys with names that are taken, files that do
    not exist or cannot be read, columns that a file does not have, and row cuts that cannot be used.

    Parameters
    ----------
    config : Config
        The configuration.
    """
    problems: list[MixpipeError] = [*_place_problems(config), *_style_problems(config)]
    for catalog in config.catalogs:
        problems.extend(_key_problems(catalog))
        try:
            needed = _needed(catalog)
        except MixpipeError as error:
            problems.append(placed(error, f"catalog {catalog.name}"))
            continue
        for release, patterns in catalog.releases.items():
            place = f"catalog {catalog.name}, release {release}"
            problems.extend(placed(error, place) for error in _release_problems(patterns, catalog, needed))
        problems.extend(find_idle(catalog))
    return merged(problems)


def find_failure(config: Config) -> CatalogError | None:
    """What there is to say at the end of a run of columns that nothing could be fitted to; None if there are none."""
    run = Run(config)
    columns = [(catalog, release, column) for catalog, release in run.releases() for column in run.fits(catalog)]
    found = {" ".join(column): find_record(run.fit_file(*column)) for column in columns}
    failures = {name: record.failure for name, record in found.items() if isinstance(record, FailedRecord)}
    if not failures:
        return None
    name, first = next(iter(failures.items()))
    what = f"{len(failures)} of {len(columns)} columns failed, all else is done; the first, {name}: {first.what}"
    return CatalogError(what, first.where, first.expected)


def find_idle(catalog: CatalogSettings) -> list[MixpipeError]:
    """Settings on reading that are for another format than that of any file of a catalog."""
    options = reading_options(catalog)
    if not any(options[name] is not None for name in READING_KEYS):
        return []
    idle: list[dict[str, str]] = []
    for patterns in catalog.releases.values():
        with contextlib.suppress(MixpipeError):  # said elsewhere
            idle += [idle_options(file, **options) for file in expand_files(patterns, Path())]
    return [
        ConfigError(
            f"{READING_KEYS[name]} {options[name]!r} for files in another format",
            f"in catalog {catalog.name}",
            f"a file in {only} format",
        )
        for name, only in (idle[0].items() if idle else ())
        if all(name in each for each in idle)
    ]


def _style_problems(config: Config) -> Iterator[MixpipeError]:
    """A style that cannot be used for the figures."""
    if config.settings.style is not None:
        from mixpipe.report.figures.style import load_style

        try:
            load_style(config.settings.style)
        except MixpipeError as error:
            yield error


def _place_problems(config: Config) -> Iterator[MixpipeError]:
    """What is wrong with the place of the results: a file is in the way, or paths are too long."""
    run, folders = Run(config), []
    for catalog, release in run.releases():
        folders += [Path(catalog, release, name) for name in run.fits(catalog)]
    for settings in config.catalogs:
        pairs = pairwise(settings.releases)
        folders += [Path(settings.name, "compare", comparison_name(*pair)) for pair in pairs]
    longest = max((config.results / folder / ("x" * _LONGEST_NAME) for folder in folders), key=_length)
    where = f"in results: {excerpt(str(config.results))}"
    try:
        os.lstat(longest.absolute())
    except NotADirectoryError:
        yield ConfigError("a file where a folder is to be", where, "a folder, or a name that is free")
        return
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            yield ConfigError("paths of results that are too long for the file system", where, "shorter names")
            return
    # Snakemake has a record of each result, which is named by its path in base 64.
    if _length(Path.cwd() / SNAKEMAKE_RECORDS) + 2 * _length(longest) >= _LONGEST_PATH:
        yield ConfigError("paths of results that are too long for Snakemake", where, "shorter names")


def _length(path: Path) -> int:
    return len(os.fsencode(path))


def _key_problems(catalog: CatalogSettings) -> Iterator[MixpipeError]:
    """A key with the name of another column of the table that has it."""
    for columns, name, taken in (
        (catalog.columns, "members.parquet", _MEMBERS),
        (catalog.densities, "densities.parquet", _DENSITIES),
        (catalog.joints, "members.parquet", _JOINT),
        ([joint for joint in catalog.joints if joint.predicted], "predict.parquet", _PREDICTED),
    ):
        if columns and catalog.key is not None and taken.fullmatch(catalog.key):
            what = f"the key {catalog.key!r} has the name of a column of {name}"
            yield ConfigError(what, f"in catalog {catalog.name}", "a key of another name")


def check_file_name(file: Path) -> None:
    """Refuse a catalog file with a name that Snakemake cannot have.

    Raises
    ------
    ConfigError
        For what are wildcards or variables of paths to it, and for bytes that are no text.
    """
    expected = "a file or a link of another name"
    if re.search(r"[{}]|<[^<>]*>", str(file)):
        raise ConfigError("{ } or < > in the name of a file", f"in {file}", expected)
    try:
        str(file).encode()
    except UnicodeEncodeError as error:
        raise ConfigError("a name of a file that is not in UTF-8", f"in {str(file)!r}", expected) from error


def placed(error: MixpipeError, place: str) -> MixpipeError:
    """The error, its place said as the configuration has it: what is wrong with a cut is said without the catalog."""
    return error if place in error.where else type(error)(error.what, f"{error.where} ({place})", error.expected)


def _release_problems(
    patterns: tuple[Path, ...], catalog: CatalogSettings, needed: dict[str, str]
) -> Iterator[MixpipeError]:
    try:
        for file in expand_files(patterns, Path()):
            check_file_name(file)
            present = tuple(list_columns(file, **reading_options(catalog)))
            missing = [name for name in needed if name not in present]
            for name in missing:
                what = f"no column {name!r} ({needed[name]})"
                yield CatalogError(what, f"in {file}", expected_name(name, present))
            if missing:  # as likely as not in all files alike
                return
            for column in catalog.densities:
                from mixpipe.catalog.densities import find_grid

                for grid in (column.grid,) if isinstance(column.grid, str) else column.grid:
                    if isinstance(grid, str):
                        find_grid(file, grid, **reading_options(catalog))
    except MixpipeError as error:
        yield error


def _needed(catalog: CatalogSettings) -> dict[str, str]:
    """The columns of the files that a catalog's fits need, and what for."""
    from mixpipe.catalog.expressions import Expression

    uses = {
        "to know rows by": required_columns([], key=catalog.key),
        "for the cut": required_columns([], catalog.where),
    }
    uses |= {f"for column {column.name}": required_columns([column]) for column in catalog.columns}
    uses |= {f"for column {column.name}": (column.value,) for column in catalog.densities}
    uses |= {f"for joint fit {joint.name}": required_columns([joint]) for joint in catalog.joints}
    needed = {name: use for use, names in reversed(uses.items()) for name in names}
    for name, quoted in Expression.parse(catalog.where).unquoted.items() if catalog.where else ():
        if needed[name] == "for the cut":
            needed[name] += f"; text needs quotes, {quoted}"
    return needed
