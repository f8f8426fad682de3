"""The command `mixpipe verify`: are the results of a run what it wrote?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path

from mixpipe.base.errors import ConfigError
from mixpipe.cli.display import say
from mixpipe.config.settings import load_config, parse_config
from mixpipe.pipeline.plan.changes import find_other_settings, find_others_derived
from mixpipe.results.verification import MANIFEST, Verification, recorded_config, verify_results

_WORDS = {
    "missing": "missing",
    "changed": "changed",
    "extra": "not of this run",
    "missing_inputs": "catalog file missing",
    "changed_inputs": "catalog file changed",
    "other_settings": "not as configured",
}


def verify_folder(results: str, *, config: str | None, as_json: bool) -> bool:
    """Compare a folder of results with what was recorded at the end of the run, and print what differs.

    Parameters
    ----------
    results : str
        The folder.
    config : str or None
        A configuration to compare the settings of all results with, instead of that which the run recorded.
    as_json : bool
        Print one JSON object instead of lines for people.

    Returns
    -------
    bool
        Whether all is as recorded.

    Raises
    ------
    MixpipeError
        If there is no record of a run, or a file cannot be read.
    """
    found = verify_results(Path(results))
    found = replace(found, other_settings=tuple(_other_settings(Path(results), config)))
    if as_json:
        # A pipe may not take more than ASCII.
        print(json.dumps({"as_recorded": found.as_recorded, **asdict(found)}))
    else:
        _show(found)
    return found.as_recorded


def _other_settings(results: Path, path: str | None) -> Iterator[str]:
    """Results with other settings than the configuration has."""
    if path is not None:
        given_now = load_config(path)
        return chain(find_other_settings(given_now, results), find_others_derived(given_now, results))
    given = recorded_config(results)
    if given is None:
        return iter(())
    try:
        # Where the results were written does not matter now.
        config = parse_config({key: value for key, value in given.items() if key != "results"})
        return find_other_settings(config, results)
    except ConfigError as error:
        where = f"in the configuration in {results / MANIFEST}"
        raise ConfigError(error.what, where, f"{error.expected}; or the configuration by --config") from error


def _show(found: Verification) -> None:
    for name, word in _WORDS.items():
        for file in getattr(found, name):
            # Relative to the folder that the run was started in.
            lost = name == "missing_inputs" and not Path(file).is_absolute()
            say(f"{word}: {file}" + (f" (looked for in {Path.cwd()})" if lost else ""))
    counts = [f"{len(getattr(found, name))} {word}" for name, word in _WORDS.items() if getattr(found, name)]
    all_in_all = ", ".join(counts) or "all as recorded"
    say(f"{found.n_files:,} results and {found.n_inputs:,} catalog files: {all_in_all}")
