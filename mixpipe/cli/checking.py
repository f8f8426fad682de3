"""The command `mixpipe check`: what a configuration would fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mixpipe.catalog import expand_files
from mixpipe.cli.display import say, show_release
from mixpipe.cli.reading import read_files, usable_rows
from mixpipe.config import CatalogSettings, load_config
from mixpipe.errors import MixpipeError
from mixpipe.pipeline.run import find_problems


def check_config(path: str) -> list[MixpipeError]:
    """Print what a run of this configuration would fit.

    Parameters
    ----------
    path : str
        The configuration file.

    Returns
    -------
    list of MixpipeError
        Everything that would stop the run.

    Raises
    ------
    ConfigError
        If the configuration cannot be used.
    """
    config = load_config(path)
    problems: list[MixpipeError] = []
    for catalog in config.catalogs:
        for release, patterns in catalog.releases.items():
            only = replace(catalog, releases={release: patterns})
            found = find_problems(replace(config, catalogs=(only,)))
            problems += found or _check_release(catalog, release)
    if not problems:
        n_fits = sum(len(catalog.releases) * len(catalog.columns) for catalog in config.catalogs)
        fits = f"{n_fits} fit{'s' if n_fits > 1 else ''}"
        say(f"{fits}, components chosen by {config.settings.criterion.upper()}, results to {config.results}")
    # What is wrong with a catalog as a whole is found once for each of its releases.
    return list({str(problem): problem for problem in problems}.values())


def _check_release(catalog: CatalogSettings, release: str) -> list[MixpipeError]:
    place = f"catalog {catalog.name}, release {release}"
    files = expand_files(catalog.releases[release], Path())
    try:
        table = read_files(files, catalog, catalog.columns, place)
    except MixpipeError as error:
        return [error]
    shown, problems = [], []
    for column in catalog.columns:
        try:
            data = usable_rows(table, column, catalog, f"in {place}, column {column.name}", catalog.name, release)
            shown.append((column, data))
        except MixpipeError as error:
            # What is wrong with a cut is said without the catalog that it is for.
            where = error.where if place in error.where else f"{error.where} ({place})"
            problems.append(type(error)(error.what, where, error.expected))
    if shown:
        listed = ", ".join(map(str, files[:3])) + (f" and {len(files) - 3} more" if len(files) > 3 else "")
        show_release(f"{catalog.name} {release}: {len(table):,} rows in {listed}", shown)
    return problems
