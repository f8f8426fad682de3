"""The end of a run: the hashes of its results and of its catalogs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from mixpipe.results.provenance import check_code
from mixpipe.results.record import load_record
from mixpipe.results.verification import write_manifest


def record_run(code: str, fits: Sequence[str], others: Sequence[str], config: str, manifest: str) -> None:
    """Write the manifest of a run, which `mixpipe verify` compares its files with.

    Parameters
    ----------
    code : str
        Hash of the stage's code when the job was planned.
    fits : sequence of str
        fit.json of every fit; all files beside it are results of the fit.
    others : sequence of str
        All other results.
    config : str
        The configuration, as JSON.
    manifest : str
        JSON file to write, in the folder of results.
    """
    check_code("manifest", code)
    inputs: dict[str, str] = {}
    files = set(map(Path, others))
    for fit in map(Path, fits):
        inputs |= {file.path: file.sha256 for file in load_record(fit).account.files}
        files |= {path for path in fit.parent.iterdir() if path.is_file() and not path.name.startswith(".")}
    write_manifest(Path(manifest).parent, sorted(files), inputs, json.loads(config))
