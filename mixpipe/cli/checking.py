"""The command `mixpipe check`: what a configuration would fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mixpipe.catalog import expand_files, read_catalog
from mixpipe.cli.display import say, show_release
from mixpipe.columns import prepare_column, required_columns
from mixpipe.config import CatalogSettings, load_config
from mixpipe.errors import MixpipeError
from mixpipe.pipeline.plan import reading_options
from mixpipe.pipeline.run import find_problems, placed


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
    needed = required_columns(catalog.columns, catalog.where, catalog.key)
    try:
        table = read_catalog(files, needed, **reading_options(catalog), where_from=place)
    except MixpipeError as error:
        return [error]
    shown, problems = [], []
    for column in catalog.columns:
        try:
            data = prepare_column(table, column, where=catalog.where, catalog=catalog.name, release=release)
            data.check_usable(f"in {place}, column {column.name}")
            shown.append((column, data))
        except MixpipeError as error:
            problems.append(placed(error, place))
    if shown:
        listed = ", ".join(map(str, files[:3])) + (f" and {len(files) - 3} more" if len(files) > 3 else "")
        show_release(f"{catalog.name} {release}: {len(table):,} rows in {listed}", shown)
    return problems
