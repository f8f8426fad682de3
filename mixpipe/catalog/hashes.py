"""SHA-256 of catalog files, which say whether a catalog has changed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from pathlib import Path

from mixpipe.base.errors import CatalogError
from mixpipe.base.files import OWN, sha256, write_file
from mixpipe.catalog.source import Source

_MEMO = f"{OWN}/hashes.json"
# A file written this recently may change again within the same tick of its time stamp.
_SETTLED_NS = 2_000_000_000


class FileHashes:
    """SHA-256 of files, remembered in the results folder for files whose size, times and inode stay the same.

    Parameters
    ----------
    results : Path
        The results folder.
    """

    def __init__(self, results: Path) -> None:
        self._path = results / _MEMO
        self._known: dict[str, list[int | str]] = {}
        with contextlib.suppress(OSError, ValueError, TypeError):
            self._known = dict(json.loads(self._path.read_text(encoding="utf-8")))

    def __call__(self, path: Path) -> str:
        """The hash of a catalog file; see `catalog_hash`.

        Raises
        ------
        CatalogError
            For a file that cannot be read.
        """
        try:
            state = path.stat()
            stamp = [state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino]
            key = str(path.resolve())
            *known, digest = self._known.get(key, [""])
            if known == stamp:
                return _with_description(path, str(digest))
            digest = sha256(path)
        except OSError as error:
            raise CatalogError(f"{error.strerror}", f"in {path}", "a file that can be read") from error
        if time.time_ns() - max(state.st_mtime_ns, state.st_ctime_ns) > _SETTLED_NS:
            self._known[key] = [*stamp, digest]
            self._save()
        return _with_description(path, digest)

    def _save(self) -> None:
        text = json.dumps(self._known, indent=0, sort_keys=True)
        write_file(self._path, lambda part: part.write_text(text, encoding="utf-8"))


def catalog_hash(path: Path) -> str:
    """SHA-256 of a catalog file; together with the description of its columns, where this is in a ReadMe beside it.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    return _with_description(path, sha256(path))


def _with_description(path: Path, digest: str) -> str:
    description = Source(path).readme()
    if description is None:
        return digest
    with contextlib.suppress(CatalogError):
        if Source(path).resolved().format == "mrt":
            return hashlib.sha256(f"{digest}\n{description}".encode()).hexdigest()
    return digest
