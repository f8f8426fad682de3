"""Folders in which libraries keep what they make once: compiled kernels, lists of fonts.

They keep it in the user's home. Service accounts and containers may have none that can be written, and it is then
kept in temporary folders, or not at all. This module imports Numba only for those who are about to do so themselves.
"""

from __future__ import annotations

import getpass
import os
import stat
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).parents[1]
_KERNELS = "NUMBA_CACHE_DIR"
_FONTS = "MPLCONFIGDIR"
_SETTINGS = "XDG_CONFIG_HOME", ".config"


def find_home() -> None:
    """Give libraries a temporary home where the user has none that they can look into, before they are imported.

    Astropy, Matplotlib and Snakemake end with errors, or complain, if there is no home, or one of somebody else's, or
    if the system has no name for the user.
    """
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["LOGNAME"] = str(os.geteuid())
    home = os.path.expanduser("~")
    if not (os.path.isabs(home) and os.access(home, os.R_OK | os.X_OK)):
        # The root is no home either, but can be looked into.
        os.environ["HOME"] = str(_private_folder("home") or "/")
    if not os.environ.get(_FONTS) and not (_from_home("XDG_CACHE_HOME", ".cache") and _from_home(*_SETTINGS)):
        folder = _private_folder("matplotlib")
        if folder is not None:
            os.environ[_FONTS] = str(folder)


def user_cache() -> Path | None:
    """The user's cache folder, if it is there or can be made, and stays."""
    folder = _from_home("XDG_CACHE_HOME", ".cache")
    return None if folder is None or folder.is_relative_to(_private_path("home")) else folder


def _from_home(variable: str, name: str) -> Path | None:
    """A folder that a variable names, or one in the home, if it can be written."""
    folder = Path(os.environ.get(variable) or os.path.expanduser(f"~/{name}"))
    # Of users whom the system does not know, `~` stays, and would become the name of a folder.
    if not folder.is_absolute():
        return None
    nearest = next(each for each in (folder, *folder.parents) if os.path.exists(each))
    return folder if os.access(nearest, os.W_OK) else None


@cache
def prepare_kernels() -> None:
    """Do once what has to be done before the first kernel is imported.

    Numba keeps kernels beside the package if it can write there, else in the user's cache folder, and ends with an
    error if it can write in neither.
    """
    given = os.environ.get(_KERNELS)
    # Numba takes an empty variable for the working folder.
    folder = None if os.environ.get("XDG_CACHE_HOME") == "" else user_cache()
    in_cache = folder is not None and _can_write(folder / "numba")
    if not ((given and _can_write(Path(given))) or is_kept_beside_package() or in_cache):
        _keep_elsewhere()
    _listen()


def is_kept_beside_package() -> bool:
    """Whether Numba can keep kernels beside their sources."""
    return all(_can_write(folder / "__pycache__") for folder in _PACKAGE.rglob("kernels"))


def _keep_elsewhere() -> None:
    folder = _private_folder("kernels")
    if folder is not None:
        os.environ[_KERNELS] = str(folder)
        return
    from numba.core.dispatcher import Dispatcher

    Dispatcher.enable_caching = lambda self: None  # type: ignore[method-assign]


def _can_write(folder: Path) -> bool:
    """Whether files can be made in a folder, which is made if need be; permissions alone do not say so."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


def _private_path(purpose: str) -> Path:
    return Path(tempfile.gettempdir()) / f"mixpipe-{purpose}-{os.geteuid()}"


def _private_folder(purpose: str) -> Path | None:
    """A folder among the temporary files that only this user can write: what is loaded from it runs as code."""
    try:
        folder = _private_path(purpose)
        folder.mkdir(mode=0o700, exist_ok=True)
        state = folder.lstat()
    except OSError:
        return None
    of_others = state.st_uid != os.geteuid() or state.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return folder if stat.S_ISDIR(state.st_mode) and not of_others and _can_write(folder) else None


def _listen() -> None:
    """Have a line on the terminal when the first kernel is compiled, since that takes several seconds."""
    from numba.core import event

    class Teller(event.Listener):
        told = False

        def on_start(self, event: Any) -> None:
            if not self.told and event.data["dispatcher"].py_func.__module__.startswith("mixpipe."):
                self.told = True
                _tell("mixpipe: compiling (once after an installation)")

        def on_end(self, event: Any) -> None:
            """There is nothing to be said."""

    event.register("numba:compile", Teller())


def _tell(line: str) -> None:
    """Print a line on the terminal, if there is one; the standard error of a job is its log."""
    for stream in (sys.stderr, sys.__stderr__):
        if stream is not None and stream.isatty():
            print(line, file=stream, flush=True)
            return
