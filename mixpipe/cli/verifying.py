"""The command `mixpipe verify`: are the results of a run what it wrote?"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from mixpipe.cli.display import say
from mixpipe.verification import Verification, verify_results

_WORDS = {
    "missing": "missing",
    "changed": "changed",
    "extra": "not of this run",
    "missing_inputs": "catalog file missing",
    "changed_inputs": "catalog file changed",
}


def verify_folder(results: str, *, as_json: bool) -> bool:
    """Compare a folder of results with what was recorded at the end of the run, and print what differs.

    Parameters
    ----------
    results : str
        The folder.
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
    if as_json:
        # A pipe may not take more than ASCII.
        print(json.dumps({"as_recorded": found.as_recorded, **asdict(found)}))
    else:
        _show(found)
    return found.as_recorded


def _show(found: Verification) -> None:
    for name, word in _WORDS.items():
        for file in getattr(found, name):
            # Relative to the folder that the run was started in.
            lost = name == "missing_inputs" and not Path(file).is_absolute()
            say(f"{word}: {file}" + (f" (looked for in {Path.cwd()})" if lost else ""))
    counts = [f"{len(getattr(found, name))} {word}" for name, word in _WORDS.items() if getattr(found, name)]
    all_in_all = ", ".join(counts) or "all as recorded"
    say(f"{found.n_files:,} results and {found.n_inputs:,} catalog files: {all_in_all}")
