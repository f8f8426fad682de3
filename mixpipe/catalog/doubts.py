"""What a referee would ask about the rows of a column, counted so that it can be said before and beside a fit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mixpipe.base.errors import excerpt
from mixpipe.base.presentation import count

# Two errors of a value that differ by more than this factor, and errors above this fraction of a value, are doubtful.
UNEVEN, RELATIVE = 2.0, 0.3
# Doubts about a smaller fraction of the rows are not worth a word. Bounds in place of errors enclose almost all values,
# while a single mark of a missing value spoils a fit.
_LEAST_SHARE = {"bounds": 0.9, "poisson_errors": 0.9, "sentinels": 0.0}
_LEAST_SHARE_ELSE = 0.02
# Words in the name of errors that are fractions of the values.
RELATIVE_NAME = re.compile(
    r"(?i)(?:^|[\W_])(?:pct|perc|percent|percentage|rel|relative|frac|fractional)(?:$|[\W_])|(?:pct|percent|%)[\])]?$|(?:rel|frac)err"
)

_SAID = {
    "uneven_errors": (
        f"the upper and the lower error differ by more than a factor of {UNEVEN:g}",
        "their mean stands for both, although the centre of so skewed an error lies half an error off the value; "
        "`error_model` two_sided fits both sides",
    ),
    "large_relative_errors": (
        f"errors are above {100 * RELATIVE:.0f} % of the value",
        "the logarithm of such a value is biased and its error skewed; fit the values themselves, as with family "
        "lognormal, or cut these rows",
    ),
    "sentinels": (
        "numbers that may stand for missing ones",
        "they lie far from all others, and repeat or are written with nines; if they are no values, `missing` leaves "
        "them out",
    ),
    "bounds": (
        "the value lies between the lower and the upper error",
        "these may be bounds of an interval rather than errors; errors are distances from the value",
    ),
    "relative_errors": (
        "the errors are called relative or per cent, and are used as they are",
        "if they are fractions of the values, they have to be multiplied by these first",
    ),
    "variance_errors": (
        "the errors are called variances, and are not used as such",
        "`error_kind` variance takes their roots",
    ),
    "ivar_errors": (
        "the errors are called inverse variances or weights, and are not used as such",
        "`error_kind` ivar takes the roots of their inverses",
    ),
    "poisson_errors": (
        "the errors are the square roots of the values, as those of counts",
        "low counts have the smallest errors, which draws means down and may part one population in two; errors of the "
        "expected counts avoid it",
    ),
    "swapped_errors": (
        "the first error is called the lower, the second the upper one",
        "the order of a pair is upper, lower",
    ),
}


@dataclass(frozen=True)
class Doubt:
    """Number of doubtful rows, and the name of the first."""

    count: int = 0
    first: str = ""

    def __add__(self, other: Doubt) -> Doubt:
        """The doubt about the rows of both operands."""
        return Doubt(self.count + other.count, self.first or other.first)


def describe_doubts(doubts: Mapping[str, Doubt], n_rows: int) -> Iterator[str]:
    """Doubts about a column, in words.

    >>> list(describe_doubts({"large_relative_errors": Doubt(321, "row 7")}, 2037))[0][:75]
    'errors are above 30 % of the value in 321 of 2,037 rows, the first is row 7'
    """
    for kind, doubt in doubts.items():
        if doubt.count > _LEAST_SHARE.get(kind, _LEAST_SHARE_ELSE) * n_rows:
            what, so = _SAID[kind]
            yield f"{what} in {count(doubt.count)} of {count(n_rows)} rows, the first is {doubt.first}: {so}"


def file_doubts(files: Iterable[Mapping[str, Any]]) -> list[str]:
    """What was found in files while they were read; `files` as in ``meta["files"]`` of a table."""
    return list(dict.fromkeys(text for file in files for text in file.get("doubts", ())))


def with_files(
    known: Mapping[str, Mapping[str, Any]], files: Iterable[Mapping[str, Any]]
) -> dict[str, Mapping[str, Any]]:
    """Files by their path, with those of another block; what is doubtful of a file may show in any block of it.

    >>> blocks = [{"path": "a"}], [{"path": "a", "doubts": ["odd"]}, {"path": "b"}], [{"path": "a"}]
    >>> found = {}
    >>> for block in blocks:
    ...     found = with_files(found, block)
    >>> list(found), file_doubts(found.values())
    (['a', 'b'], ['odd'])
    """
    found = dict(known)
    for file in files:
        before = found.setdefault(file["path"], file)
        if len(file.get("doubts", ())) > len(before.get("doubts", ())):
            found[file["path"]] = file
    return found


def repeated_keys(blocks: Iterable[tuple[Any, Any]], key: str | None) -> Iterator[str]:
    """What is wrong with the names of rows of some tables; nothing if they have none.

    Parameters
    ----------
    blocks : iterable of (Table, ndarray of int)
        Tables, each with the positions of the rows that were used.
    key : str or None
        The column with the names.
    """
    if key is None:
        return
    parts = [np.ma.asarray(table[key])[rows] for table, rows in blocks]
    if parts and parts[0].ndim == 1:
        yield from describe_keys(np.ma.concatenate(parts), key)


def describe_keys(keys: Any, name: str) -> Iterator[str]:
    """What is wrong with the names of rows: the same one for several rows, or none.

    >>> list(describe_keys(["a", "b", "a"], "id"))[0][:68]
    "key 'id' is the same in several rows: 2 of 3 rows, the first is 'a':"
    """
    keys = np.ma.asarray(keys)
    names, counts = np.unique(keys.compressed(), return_counts=True)
    repeated = counts > 1
    if repeated.any():
        first = excerpt(repr(names[repeated][0].item()))
        rows = f"{counts[repeated].sum():,} of {len(keys):,} rows"
        yield (
            f"key {name!r} is the same in several rows: {rows}, the first is {first}: an object that is counted twice "
            "makes uncertainties too small"
        )
    if keys.size > keys.count():
        yield f"key {name!r} is missing in {keys.size - keys.count():,} of {len(keys):,} rows"
