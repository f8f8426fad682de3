"""A run's results and catalogs against the hashes that were recorded when it ended."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mixpipe.base.errors import ConfigError, OutputError
from mixpipe.base.files import sha256, write_file
from mixpipe.catalog.hashes import catalog_hash

MANIFEST = "manifest.json"

# What stands in a folder of results and is no result: at its top, and in the folder of a release.
_NO_RESULTS = {"logs", "benchmarks"}
_FOR_JOBS = {"ingest", "starts"}


@dataclass(frozen=True)
class Verification:
    """What became of the files of a run.

    Parameters
    ----------
    n_files, n_inputs : int
        Recorded results and catalog files.
    missing, changed, extra : tuple of str
        Results that are no longer there, have another content, or were not recorded; relative to the folder.
    missing_inputs, changed_inputs : tuple of str
        The same of the catalog files.
    other_settings : tuple of str
        Results that were made with other settings than the configuration has, and which.
    """

    n_files: int
    n_inputs: int
    missing: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    missing_inputs: tuple[str, ...] = ()
    changed_inputs: tuple[str, ...] = ()
    other_settings: tuple[str, ...] = ()

    @property
    def as_recorded(self) -> bool:
        """Whether all is as it was."""
        others = self.missing_inputs or self.changed_inputs or self.other_settings
        return not (self.missing or self.changed or self.extra or others)


def write_manifest(
    results: Path,
    files: Iterable[Path],
    inputs: Mapping[str, str],
    config: Mapping[str, Any] | None = None,
    plans: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Record the hashes of a run, and its configuration.

    Parameters
    ----------
    results : Path
        The folder of results.
    files : iterable of Path
        Files in it.
    inputs : mapping of str to str
        SHA-256 of each catalog file.
    config : mapping, optional
        The configuration as it was given.
    plans : mapping of str to sequence of str, optional
        What results that are made from fits depend on beside them.
    """
    hashes = {file.relative_to(results).as_posix(): _result_hash(file) for file in files}
    document = {
        "files": dict(sorted(hashes.items())),
        "inputs": dict(sorted(inputs.items())),
        "config": config,
        "plans": plans,
    }
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    write_file(results / MANIFEST, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def verify_results(results: Path, base: Path = Path()) -> Verification:
    """Compare a folder of results, and the catalogs behind it, with the hashes that were recorded.

    Parameters
    ----------
    results : Path
        The folder of results of a run.
    base : Path
        Folder that relative paths of catalog files start from.

    Raises
    ------
    ConfigError
        If the folder has no record of a run.
    """
    files, inputs = _recorded(results)
    missing, changed = _compared({name: results / name for name in files}, files, _result_hash)
    missing_inputs, changed_inputs = _compared({name: base / name for name in inputs}, inputs, catalog_hash)
    extra = (path.relative_to(results).as_posix() for path in _present(results))
    return Verification(
        n_files=len(files),
        n_inputs=len(inputs),
        missing=missing,
        changed=changed,
        extra=tuple(sorted(name for name in extra if name not in files)),
        missing_inputs=missing_inputs,
        changed_inputs=changed_inputs,
    )


def recorded_config(results: Path) -> dict[str, Any] | None:
    """The configuration that the run recorded, as it was given; None if it recorded none.

    Raises
    ------
    ConfigError
        If the folder has no record of a run.
    """
    config = _document(results).get("config")
    return config if isinstance(config, dict) else None


def recorded_plans(results: Path) -> dict[str, list[str]]:
    """What the results that are made from fits were planned with, as the run recorded it; nothing without a record."""
    try:
        plans = _document(results).get("plans")
    except ConfigError:
        return {}
    return plans if isinstance(plans, dict) else {}


def _recorded(results: Path) -> tuple[dict[str, str], dict[str, str]]:
    document = _document(results)
    return document["files"], document["inputs"]


def _document(results: Path) -> dict[str, Any]:
    path = results / MANIFEST
    expected = "the folder of results of a run that came to its end"
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        parts: Sequence[dict[str, str]] = [document["files"], document["inputs"]]
        if not all(isinstance(text, str) for part in parts for text in (*part.keys(), *part.values())):
            raise TypeError
    except OSError as error:
        raise ConfigError(f"cannot read {MANIFEST} ({error.strerror})", f"in {results}", expected) from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(f"{MANIFEST} is damaged", f"in {results}", expected) from error
    return document


def _result_hash(path: Path) -> str:
    """SHA-256 of a result; of estimators.csv without its last column, the seconds, which no two runs share."""
    if path.name != "estimators.csv":
        return sha256(path)
    rows = path.read_bytes().splitlines()
    return hashlib.sha256(b"\n".join(row.rpartition(b",")[0] for row in rows)).hexdigest()


def _compared(
    paths: Mapping[str, Path], recorded: Mapping[str, str], hash_of: Callable[[Path], str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Files that are not there, and files that are not as recorded."""
    missing, changed = [], []
    for name, path in paths.items():
        try:
            if hash_of(path) != recorded[name]:
                changed.append(name)
        except (FileNotFoundError, NotADirectoryError):
            missing.append(name)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise OutputError(
                f"cannot read {name} ({reason})", f"in {path.parent}", "a file that can be read"
            ) from error
    return tuple(sorted(missing)), tuple(sorted(changed))


def _present(folder: Path, depth: int = 0) -> Iterator[Path]:
    """Results that are there."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or (depth == 0 and path.name in {*_NO_RESULTS, MANIFEST, "README.md"}):
            continue
        if path.is_dir() and not path.is_symlink():
            if not (depth == 2 and path.name in _FOR_JOBS):
                yield from _present(path, depth + 1)
        else:
            yield path
