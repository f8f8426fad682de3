"""Catalog files -> catalogs, their releases, and the shards of these, by the names of the files."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mixpipe.config.schema import reserved_names

# What tells a release, the clearest first: dr3, edr3; release_2; v1.0.5, v2a; y3; 2024 and 2024-05-01, but not the
# year of J2000.
_MARKERS = tuple(
    re.compile(form, re.IGNORECASE)
    for form in (
        r"(?<![A-Za-z])[ep]?dr\d+",
        r"(?<![A-Za-z])(?:release|rel)[_-]?\d+",
        r"(?<![A-Za-z0-9])v\d+(?:[._]\d+)*(?:[a-z](?![A-Za-z0-9]))?",
        r"(?<![A-Za-z0-9])y(?:ear)?\d\d?(?![A-Za-z0-9])",
        r"(?<![\dJB])(?:19|20)\d\d(?:[-_.]?[01]\d(?:[-_.]?[0-3]\d)?)?(?!\d)",
    )
)
_ENDING = re.compile(
    r"\.(?:fits?|fts|csv|tsv|txt|dat|ecsv|vot|votable|xml|mrt|cds|parquet|pq|h5|hdf5?)$", re.IGNORECASE
)
_LONGEST = 80


@dataclass(frozen=True)
class Group:
    """A catalog: its name, and its files by release, oldest first.

    `why` says how the files were told apart, and is empty where there was nothing to tell.
    """

    name: str
    releases: Mapping[str, Sequence[Path]]
    why: str = ""


@dataclass(frozen=True)
class _Named:
    """What the name of a file says: the catalog, and the release or None."""

    path: Path
    catalog: str
    release: str | None


def group_files(paths: Sequence[Path], columns: Callable[[Path], tuple[str, ...]]) -> list[Group]:
    """Files whose names differ in a release are releases of one catalog; others with the same columns are one release.

    Parameters
    ----------
    paths : sequence of Path
        The files.
    columns : callable
        Names of the columns of a file.

    Examples
    --------
    >>> files = [Path("stars_dr3.csv"), Path("stars_dr2.csv")]
    >>> [(group.name, dict(group.releases)) for group in group_files(files, lambda path: ("x",))]
    [('stars', {'dr2': [PosixPath('stars_dr2.csv')], 'dr3': [PosixPath('stars_dr3.csv')]})]
    """
    named = [_read(path) for path in paths]
    # tile_2001 beside tile_3001 is a number like any other.
    plain = {_shape(each.path) for each in named if each.release is None}
    named = [replace(each, release=None) if _shape(each.path) in plain else each for each in named]
    marked: dict[str, list[_Named]] = {}
    unmarked: dict[tuple[str, ...], list[Path]] = {}
    for each in named:
        if each.release is None:
            same = tuple(sorted(columns(each.path)))
            # One column that is called x says nothing.
            alike = same if len(same) > 1 else (*same, _shape(each.path))
            unmarked.setdefault(alike, []).append(each.path)
        else:
            marked.setdefault(each.catalog, []).append(each)
    groups = [_releases(files) for files in marked.values()] + [_shards(files) for files in unmarked.values()]
    taken = reserved_names("run", "catalogs")
    return [replace(group, name=safe_name(group.name, taken)) for group in groups]


def safe_name(text: str, taken: set[str]) -> str:
    """A name as the configuration wants it, other than those taken but for capitals, and taken from now on.

    >>> safe_name("[Fe/H]", set()), safe_name("mass", {"mass"})
    ('Fe_H', 'mass_2')
    """
    name = re.sub(r"[^A-Za-z0-9_+-]+", "_", text).strip("_").lstrip("+-")[:_LONGEST] or "column"
    number, unique = 1, name
    while unique.casefold() in taken:
        number += 1
        unique = f"{name[: _LONGEST - 5]}_{number}"
    taken.add(unique.casefold())
    return unique


def _read(path: Path) -> _Named:
    """Look for a release in the file's name, then in that of its folder."""
    stem, folder = _stem(path), path.absolute().parent.name
    for text, other in ((stem, folder), (folder, stem)):
        for marker in _MARKERS:
            found = marker.search(text)
            if found:
                rest = f"{text[: found.start()]} {text[found.end() :]}"
                rest = re.sub(r"\d+", "#", rest if text is stem else f"{rest} {stem}")
                # A file that is called by its release only has its catalog's name from the folder.
                name = re.sub(r"[\s_.#-]+", "_", rest).strip("_") or other
                return _Named(path, name, found[0])
    return _Named(path, stem, None)


def _stem(path: Path) -> str:
    return _ENDING.sub("", path.name.removesuffix(".gz"))


def _shape(path: Path) -> str:
    return re.sub(r"\d+", "#", str(path.with_name(_stem(path))))


def _age(release: str) -> tuple[list[int], bool, str]:
    """Numbers in order; an early release comes before the full one."""
    return [int(number) for number in re.findall(r"\d+", release)], release[0] not in "eE", release


def _releases(files: Sequence[_Named]) -> Group:
    # Folders of results that differ in capitals only are the same to some file systems.
    spellings: dict[str, str] = {}
    for each in files:
        if each.release is not None:
            spellings.setdefault(each.release.casefold(), each.release)
    releases = {
        name: [each.path for each in files if each.release is not None and each.release.casefold() == name.casefold()]
        for name in sorted(spellings.values(), key=_age)
    }
    why = "told apart by the names of the files, oldest first" if len(releases) > 1 else ""
    return Group(files[0].catalog, releases, why)


def _shards(files: Sequence[Path]) -> Group:
    if len(files) == 1:
        return Group(_stem(files[0]), {"1": list(files)})
    # What all names begin with, without a number in which they differ.
    same = itertools.takewhile(lambda letters: len(set(letters)) == 1, zip(*map(_stem, files), strict=False))
    common = "".join(letters[0] for letters in same)
    name = re.sub(r"[\s_.-]*\d*$", "", common) or files[0].absolute().parent.name
    return Group(name, {"1": list(files)}, "the files have the same columns: parts of one release")
