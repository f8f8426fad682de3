"""What in a folder of results is mixpipe's: the names that a run writes, its lock, and what must not be touched.

A run writes below a few names at the top of the folder, and keeps what it needs for itself in `.mixpipe` there. All
else belongs to the user, and is left as it is.
"""

from __future__ import annotations

import fcntl
import os
import socket
import sys
from base64 import urlsafe_b64encode
from collections.abc import Collection, Iterator
from pathlib import Path

from mixpipe.base.errors import ConfigError, MixpipeError, OutputError
from mixpipe.base.files import OWN
from mixpipe.config.settings import Config
from mixpipe.results.verification import MANIFEST

# Where Snakemake has a record of each result, in the working folder.
SNAKEMAKE_RECORDS = ".snakemake/metadata"
# At the top of the folder, beside those of the catalogs.
_NAMES = ("summary.csv", "report.html", MANIFEST, "logs", "benchmarks", OWN)
# The page about the results that comes with a checkout.
_PAGE = "README.md"
_LOCK = "lock"
_SHOWN = 3

# Locks that this process holds: the planning and the run are in one process, and ask for the same one.
_held: set[Path] = set()


class BusyError(MixpipeError):
    """Another run, or what is left of one, is at work."""


def own_names(config: Config) -> set[str]:
    """Names at the top of the folder of results that a run of a configuration writes below."""
    return {*_NAMES, *(catalog.name for catalog in config.catalogs)}


def find_obstacles(config: Config) -> list[MixpipeError]:
    """What is in the way of a run in its folder of results: things of the user's, and links that lead out of it.

    Parameters
    ----------
    config : Config
        The configuration.
    """
    results, names = config.results, own_names(config)
    links = list(_find_links(results, names))
    if links or _is_of_runs(config):
        return links
    return [
        ConfigError(
            f"{name} is there, and no run has made it", f"in {results}", "another folder for `results`, or it moved"
        )
        for name in sorted(names & _present(results) - {OWN})
    ]


def check_working_folder(folder: Path) -> None:
    """Refuse a working folder that Snakemake cannot keep its records in.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    if not is_place_for_records(folder):
        expected = "a place for the records of Snakemake: --directory, or `mixpipe run`, which finds one in the results"
        raise OutputError("the working folder cannot be written", f"in {folder.resolve()}", expected)


def is_place_for_records(folder: Path) -> bool:
    """Whether Snakemake can keep its records in a folder."""
    records = folder / ".snakemake"
    return os.access(records if records.exists() else folder, os.W_OK)


def is_recorded(file: Path) -> bool:
    """Whether Snakemake has a record in the working folder of how a result was made."""
    name = urlsafe_b64encode(file.as_posix().encode()).decode()
    # As Snakemake does it: names that are too long for a file are folders, and a file in the last one.
    size = os.pathconf(".", "PC_NAME_MAX") - 1
    parts = [name[start : start + size] for start in range(0, len(name), size)]
    return Path(SNAKEMAKE_RECORDS, *(f"@{part}" for part in parts[:-1]), parts[-1]).is_file()


def find_others(config: Config) -> list[str]:
    """What stands in the folder of results before its first run, and is left alone by it."""
    if _is_of_runs(config):
        return []
    return sorted(_present(config.results) - own_names(config) - {_PAGE})


def tell_others(names: list[str], results: Path) -> str:
    """A line about them.

    >>> tell_others(["a.txt", "b.txt", "c.txt", "d.txt"], Path("results"))
    'note: results holds what no run has made, and what is left as it is: a.txt, b.txt, c.txt and 1 more'
    """
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"note: {results} holds what no run has made, and what is left as it is: {', '.join(names[:_SHOWN])}{more}"


def _present(results: Path) -> set[str]:
    try:
        return {path.name for path in results.iterdir()}
    except OSError:  # not there, or no folder that can be read: said when it is written
        return set()


def _is_of_runs(config: Config) -> bool:
    """Whether there was a run in this folder, or in the one that it was copied from, perhaps without hidden files."""
    folders = (config.results / catalog.name for catalog in config.catalogs)
    fits = (fit for folder in folders for fit in folder.glob("*/*/fit.json"))
    try:
        return (config.results / OWN / _LOCK).is_file() or next(fits, None) is not None
    except OSError:  # no folder can have such a name
        return False


def _find_links(results: Path, names: Collection[str]) -> Iterator[MixpipeError]:
    """The first thing that is neither file nor folder: what is written to it would go elsewhere, or wait for ever."""
    for entry in _walk(results, names):
        if not (entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False)):
            what = f"a link, to {os.readlink(entry)}" if entry.is_symlink() else "neither a file nor a folder"
            name = Path(entry).relative_to(results)
            yield ConfigError(f"{name} is {what}", f"in {results}", "files and folders below what a run writes")
            return


def _walk(folder: str | Path, names: Collection[str] = ()) -> Iterator[os.DirEntry[str]]:
    """All that is in a folder, or below some names in it; no link is followed."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:  # not there, or not to be read: said when it is written
        return
    for entry in entries:
        if not names or entry.name in names:
            yield entry
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(entry.path)


def own_files(config: Config) -> Iterator[Path]:
    """All files below the names that a run writes."""
    for entry in _walk(config.results, own_names(config)):
        if entry.is_file(follow_symlinks=False):
            yield Path(entry)


def lock_results(results: Path) -> None:
    """Make sure that this run is the only one that writes to a folder of results, wherever it was started.

    Unlike those of Snakemake the lock goes with the process that holds it, however that ends.

    Parameters
    ----------
    results : Path
        The folder; is made.

    Raises
    ------
    BusyError
        If another run is at work in it.
    OutputError
        If it cannot be written.
    """
    path = lock_file(results)
    if path.resolve() in _held:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Open until the process ends.
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        what = f"cannot write {path.name} ({error.strerror})"
        raise OutputError(what, f"in {path.parent}", "a folder for `results` that can be written") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.read(handle, 1000).decode(errors="replace").strip()
        os.close(handle)
        raise BusyError("another run is at work", f"in {results.resolve()} ({holder})", "one run at a time") from error
    except OSError:
        print("mixpipe: this file system has no locks: do not start two runs in one folder", file=sys.stderr)
    os.ftruncate(handle, 0)
    os.write(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
    _held.add(path.resolve())


def lock_file(results: Path) -> Path:
    """The file of the lock; it is as old as the run."""
    return results / OWN / _LOCK


def identity(results: Path) -> str:
    """What tells a folder of results from its copies: what was noted in the other one does not hold in these."""
    return f"{(results / OWN).stat().st_ino:x}"
