"""The command `mixpipe check`: what a configuration would fit."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from astropy.table import Table

from mixpipe.base.errors import MixpipeError, merged
from mixpipe.catalog.columns import ColumnData, prepare_column
from mixpipe.catalog.densities import DensityFile
from mixpipe.catalog.doubts import describe_keys, file_doubts
from mixpipe.catalog.files import expand_files
from mixpipe.catalog.joint import JointData, prepare_joint
from mixpipe.catalog.reading import read_catalog
from mixpipe.catalog.required import required_columns
from mixpipe.catalog.store import check_storable
from mixpipe.cli.display import say, show_densities, show_joint, show_release
from mixpipe.cli.place import enter_directory
from mixpipe.config.settings import (
    CatalogSettings,
    ColumnSettings,
    Config,
    DensitySettings,
    JointSettings,
    load_config,
)
from mixpipe.pipeline.densities import Counts, check_grid, read_pieces
from mixpipe.pipeline.estimate import check_estimable, limited
from mixpipe.pipeline.folder import find_obstacles, find_others, tell_others
from mixpipe.pipeline.plan.run import find_idle, find_problems, placed
from mixpipe.pipeline.plan.texts import reading_options


def check_config(path: str, *, directory: str | None = None, results: str | None = None) -> list[MixpipeError]:
    """Print what a run of this configuration would fit.

    Parameters
    ----------
    path : str
        The configuration file.
    directory, results : str or None
        As for `mixpipe.cli.running.run_workflow`.

    Returns
    -------
    list of MixpipeError
        Everything that would stop the run.

    Raises
    ------
    ConfigError
        If the configuration cannot be used.
    """
    with enter_directory(path, directory) as file:
        return _check(load_config(file, results))


def _check(config: Config) -> list[MixpipeError]:
    problems = find_obstacles(config)
    for catalog in config.catalogs:
        for release, patterns in catalog.releases.items():
            only = replace(catalog, releases={release: patterns})
            idle = set(map(str, find_idle(only)))
            found = [each for each in find_problems(replace(config, catalogs=(only,))) if str(each) not in idle]
            problems += found or _check_release(catalog, release)
        problems += find_idle(catalog)
    if not problems:
        n_fits = sum(
            len(catalog.releases) * (len(catalog.columns) + len(catalog.densities) + len(catalog.joints))
            for catalog in config.catalogs
        )
        fits, criterion = f"{n_fits} fit{'s' if n_fits > 1 else ''}", config.settings.criterion.upper()
        say(f"{fits}, the number of components by {criterion}, into the folder {config.results}")
        others = find_others(config)
        if others:
            say(tell_others(others, config.results))
    return merged(problems)


def _check_release(catalog: CatalogSettings, release: str) -> list[MixpipeError]:
    place = f"catalog {catalog.name}, release {release}"
    files = expand_files(catalog.releases[release], Path())
    listed = ", ".join(map(str, files[:3])) + (f" and {len(files) - 3} more" if len(files) > 3 else "")
    problems = _check_values(catalog, release, files, place, listed) if catalog.columns else []
    joint = []
    for entry in catalog.joints:
        try:
            joint.append((entry, _look_at_joint(entry, catalog, release, files)))
        except MixpipeError as error:
            problems.append(placed(error, place))
    if joint:
        show_joint(f"{catalog.name} {release}: joint fits of {listed}", joint)
    shown = []
    for density in catalog.densities:
        try:
            shown.append((density, *_look_at(density, catalog, files, place)))
        except MixpipeError as error:
            problems.append(placed(error, place))
    if shown:
        show_densities(f"{catalog.name} {release}: densities in {listed}", shown)
    return problems


def _check_values(
    catalog: CatalogSettings, release: str, files: Sequence[Path], place: str, listed: str
) -> list[MixpipeError]:
    needed = required_columns(catalog.columns, catalog.where, catalog.key)
    reading = {**reading_options(catalog), "where_from": place}
    table = None
    # What cannot be read as one table may be a column alone.
    with contextlib.suppress(MixpipeError):
        table = read_catalog(files, needed, **reading)
    shown, problems, n_rows = [], [], 0
    for column in catalog.columns:
        try:
            own = table
            if own is None:
                own = read_catalog(files, required_columns([column], catalog.where, catalog.key), **reading)
            shown.append((column, _look_at_values(own, column, catalog, release)))
            n_rows = len(own)
        except MixpipeError as error:
            problems.append(placed(error, place))
    if shown:
        show_release(f"{catalog.name} {release}: {n_rows:,} rows in {listed}", shown)
        for note in file_doubts([] if table is None else table.meta["files"]):
            say(f"note: {note}")
    if table is not None and catalog.key is not None and np.ndim(table[catalog.key]) == 1:
        for note in describe_keys(table[catalog.key], catalog.key):
            say(f"note: {note}")
    return problems


def _look_at_values(table: Table, column: ColumnSettings, catalog: CatalogSettings, release: str) -> ColumnData:
    """What a column has to fit, after all that could stand against it."""
    place = f"in catalog {catalog.name}, release {release}, column {column.name}"
    arrays = (column.value, column.sample_prior) if column.kind == "samples" else ()
    needed = required_columns([column], catalog.where, catalog.key)
    if single := [name for name in needed if name not in arrays]:
        check_storable(table[single])
    data = prepare_column(table, column, where=catalog.where, catalog=catalog.name, release=release)
    data.check_usable(place)
    data.check_floor(column.sigma_floor, place)
    check_estimable(data.cells(), limited(column, len(data)), place)
    return data


def _look_at_joint(entry: JointSettings, catalog: CatalogSettings, release: str, files: Sequence[Path]) -> JointData:
    """What a joint fit has to fit, after all that could stand against it."""
    place = f"catalog {catalog.name}, release {release}"
    needed = required_columns([entry], catalog.where, catalog.key)
    table = read_catalog(files, needed, **reading_options(catalog), where_from=place)
    arrays = entry.covariance if entry.covariance is not None and len(entry.covariance) == 1 else ()
    check_storable(table[[name for name in needed if name not in arrays]])
    data = prepare_joint(table, entry, catalog.where, catalog.name, release)
    data.account.check_usable(f"in {place}, joint fit {entry.name}")
    data.check_floors(f"in {place}, joint fit {entry.name}")
    return data


def _look_at(
    column: DensitySettings, catalog: CatalogSettings, files: Sequence[Path], place: str
) -> tuple[DensityFile, Counts]:
    """The last file with densities, for its grid, and counts of the rows of all."""
    counts = Counts()
    for piece in read_pieces(files, column, reading_options(catalog), catalog.key, catalog.where, place):
        check_grid(piece.file, column)
        counts.look_at(piece)
    counts.check_usable(f"in {place}, column {column.name}")
    return piece.file, counts
