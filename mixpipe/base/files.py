"""Files that are written whole or not at all, and strict JSON."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mixpipe.base.errors import OutputError

# In the folder of results: what a run keeps for itself, beside the results.
OWN = ".mixpipe"
# Key in the footer of each Parquet file into which a release is read.
MARK_IN_PARQUET = "mixpipe"
# Prefix of the name of each temporary file. Its digits were drawn at random, so that no other program uses the same
# prefix.
_MARK = ".mixpipe-part-c41d7e90-"
_TEMPORARY = re.compile(rf"{re.escape(_MARK)}[a-z0-9_]{{8}}(\.[^.]*)?")


def is_temporary(path: Path) -> bool:
    """Whether a file is a leftover of a `write_file` that was killed.

    >>> is_temporary(Path("results/.mixpipe-part-c41d7e90-ab12cd34.csv")), is_temporary(Path(".bashrc.original"))
    (True, False)
    """
    return _TEMPORARY.fullmatch(path.name) is not None


def write_file(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it into place.

    Parameters
    ----------
    path : Path
        Destination of the file; its folder is created if necessary.
    write : callable
        Function that takes the path of the temporary file and fills it. If it raises, the temporary file is removed and
        an older file at `path` stays.

    Raises
    ------
    OutputError
        If the folder cannot be written to or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=_MARK, suffix=path.suffix)
    except OSError as error:
        raise _refused(path, error) from error
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        # Temporary files are private; a result should be as readable as any other file of this user.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    except OSError as error:
        # An error without a number does not come from the operating system.
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


def json_text(document: dict[str, Any], *, ensure_ascii: bool = False) -> str:
    """A document as strict JSON: what is not finite becomes null.

    >>> print(json_text({"bic": math.nan, "means": (1.0, 2.5)}))
    {
      "bic": null,
      "means": [
        1.0,
        2.5
      ]
    }
    """
    return json.dumps(strict(document), indent=2, ensure_ascii=ensure_ascii, allow_nan=False)


def write_json(document: dict[str, Any], path: Path) -> None:
    """Write a JSON file, with the `json_text` of the document."""
    text = json_text(document) + "\n"
    # Bytes in the name of a file that are no UTF-8 become the escapes that JSON has.
    write_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8", errors="backslashreplace"))


def strict(value: Any) -> Any:
    """A value as JSON can hold it: None for what is not finite, lists for tuples and arrays.

    >>> strict({1: (math.inf, 0.5), "file": Path("a.csv")})
    {'1': [None, 0.5], 'file': 'a.csv'}
    """
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, dict):
        return {str(key): strict(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [strict(entry) for entry in value]
    if isinstance(value, float):
        # A number of NumPy may be a float, too, and is written as one of Python.
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    # Arrays and numbers of NumPy, which this module need not import.
    return strict(value.tolist()) if hasattr(value, "tolist") else value


def sha256(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
