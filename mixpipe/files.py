"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from mixpipe.errors import OutputError


def write_file(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it into place.

    Parameters
    ----------
    path : Path
        Where the file belongs; its folder is made.
    write : callable
        Takes the path of the temporary file. If it raises, nothing is left and an older file stays.

    Raises
    ------
    OutputError
        For a folder that cannot be written, and a disk that is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Few letters of the name: with all of them it might be too long.
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:50]}.", suffix=path.suffix)
    except OSError as error:
        raise _refused(path, error) from error
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        # Temporary files are private; a result is as readable as any other file of this user.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    except OSError as error:
        # Without a number it is none of the system's.
        if error.errno is None:
            raise
        raise _refused(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def _refused(path: Path, error: OSError) -> OutputError:
    reason = error.strerror or str(error) or type(error).__name__
    return OutputError(
        f"cannot write {path.name} ({reason})", f"in {path.parent}", "a folder that can be written, on a disk with room"
    )
