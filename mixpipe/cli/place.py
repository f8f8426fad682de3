"""The folder that a run works in, from which relative paths start and where Snakemake keeps its records."""

from __future__ import annotations

import glob
import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mixpipe.base.caches import user_cache
from mixpipe.base.errors import ConfigError, OutputError
from mixpipe.base.files import write_file
from mixpipe.config.lines import read_yaml
from mixpipe.config.settings import RECORDS, Config, load_config
from mixpipe.pipeline.folder import is_place_for_records
from mixpipe.results.provenance import COMMAND


@dataclass(frozen=True)
class Place:
    """A configuration as it is run, from the working folder.

    Parameters
    ----------
    path : str
        Its file.
    settings : Config
        What it says.
    results : str or None
        Folder of results in place of that in the file.
    """

    path: str
    settings: Config
    results: str | None


@contextmanager
def enter_directory(config: str, directory: str | None) -> Iterator[str]:
    """Change to the folder that relative paths of a configuration start from; yields the configuration as seen there.

    Parameters
    ----------
    config : str
        The configuration file.
    directory : str or None
        The folder; None for the present one.

    Raises
    ------
    ConfigError
        If it is no folder that can be entered.
    """
    if directory is None:
        yield config
        return
    config = os.path.abspath(config)
    try:
        changed = chdir(directory)
        changed.__enter__()
    except (OSError, ValueError) as error:
        what = f"cannot change to {directory} ({getattr(error, 'strerror', None) or error})"
        raise ConfigError(what, "in option --directory", "a folder that is there") from error
    try:
        yield config
    finally:
        changed.__exit__(None, None, None)


@contextmanager
def enter_place(config: str, directory: str | None, results: str | None) -> Iterator[Place]:
    """Change to a folder in which Snakemake can keep its records.

    That is the working folder if it can be written. Otherwise it is one in the results, with a copy of the
    configuration in which all paths are absolute.

    Parameters
    ----------
    config : str
        The configuration file.
    directory : str or None
        The folder that relative paths start from; None for the present one.
    results : str or None
        Folder of results in place of that in the configuration.

    Raises
    ------
    MixpipeError
        If the configuration cannot be used, or no folder can be written.
    """
    options = {"--config": config, "--directory": directory, "--results": results}
    with enter_directory(config, directory) as path:
        settings = load_config(path, results)
        if is_place_for_records(Path()):
            _say_command(options if directory or results else {})
            _find_cache()
            yield Place(path, settings, results)
            return
        copy = _copy_config(path, settings)
        with chdir(copy.parent):
            _say_command(options)
            _find_cache()
            yield Place(copy.name, load_config(copy.name), None)


def _say_command(options: Mapping[str, str | None]) -> None:
    """Let jobs record the command, where Snakemake cannot know it."""
    os.environ.pop(COMMAND, None)
    if options:
        given = [word for name, value in options.items() if value is not None for word in (name, value)]
        os.environ[COMMAND] = shlex.join(["mixpipe", "run", *given])


def _copy_config(path: str, settings: Config) -> Path:
    """The configuration with absolute paths, in a folder of the results that Snakemake is then run in."""
    copy = settings.results.absolute() / RECORDS / "config.yaml"
    given: dict[str, Any] = dict(read_yaml(Path(path))[0])
    catalogs = {
        catalog.name: {
            **entry,
            "releases": {name: [_absolute(file) for file in files] for name, files in catalog.releases.items()},
        }
        for catalog, entry in zip(settings.catalogs, given["catalogs"].values(), strict=True)
    }
    style = settings.settings.style
    if style is not None and Path(style).is_file():
        given["settings"] = {**given["settings"], "style": str(Path(style).absolute())}
    text = yaml.safe_dump(
        {**given, "results": str(settings.results.absolute()), "catalogs": catalogs},
        allow_unicode=True,
        sort_keys=False,
    )
    try:
        write_file(copy, lambda part: part.write_text(text, encoding="utf-8"))
    except OutputError as error:
        what = f"neither the working folder nor the results can be written ({error.what})"
        where = f"in {Path.cwd()} and {settings.results}"
        raise OutputError(what, where, "results in a folder that can be written: --results FOLDER") from error
    return copy


def _absolute(file: Path) -> str:
    """A path, or a pattern, that means the same from everywhere."""
    path = Path(os.path.expanduser(file))
    if path.is_absolute() or path.exists():
        return str(path.absolute())
    return str(Path(glob.escape(str(Path.cwd()))) / path)


def _find_cache() -> None:
    """Let Snakemake keep its sources in the working folder where there is no home that it can write to."""
    if user_cache() is None:
        os.environ["XDG_CACHE_HOME"] = str(Path(".snakemake/cache").resolve())
