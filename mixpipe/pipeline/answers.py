"""What a run found, for the terminal: the sentence of each column, from the summary."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mixpipe.assess.comparison.verdict import UNCHANGED
from mixpipe.base.presentation import count, plural

# Of more columns than these only those are told that need to be looked at first.
_MOST = 20


def tell_answers(summary: str | Path, fits: Sequence[str | Path] = ()) -> Iterator[str]:
    """Lines with what was found in each column; of many columns, those that need to be looked at come first.

    Parameters
    ----------
    summary : path
        The summary.csv of the run.
    fits : sequence of path
        The fits of the run: nothing is told by a summary that is older than one of them, or not there.

    Yields
    ------
    str
        Two lines for each column: the answer, and what it rests on.
    """
    path = Path(summary)
    if not path.is_file() or any(_is_newer(Path(fit), path) for fit in fits):
        return
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    shown = rows
    if len(rows) > _MOST:
        yield f"{count(len(rows))} columns: {', '.join(_counts(rows))}"
        urgent = [row for row in rows if _urgency(row)]
        shown = sorted(urgent, key=_urgency, reverse=True)[:_MOST]
    for row in shown:
        yield _plain(f"{row['catalog']} {row['release']} {row['column']}: {row['answer']}")
        yield _plain(f"    {row['basis']}")
    if len(shown) < len(rows):
        yield f"all {count(len(rows))} columns: {path}"


def _plain(text: str) -> str:
    """A text without anything that would steer the terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _is_newer(file: Path, than: Path) -> bool:
    return not file.is_file() or file.stat().st_mtime > than.stat().st_mtime


def _counts(rows: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """How many columns there are of each kind."""
    verdicts = [row["quality"] if row["status"] == "fitted" else row["status"] for row in rows]
    for word in ("failed", "rejected", "ok", "untested"):
        if word in verdicts:
            yield f"{count(verdicts.count(word))} {word}"
    changed = [row["verdict"] for row in rows if row["verdict"] not in ("", UNCHANGED)]
    for word in dict.fromkeys(changed):
        yield f"{count(changed.count(word))} {word}"
    warned = sum(bool(row["warnings"]) for row in rows)
    if warned:
        yield f"{plural(warned, 'column')} with warnings"


def _urgency(row: Mapping[str, str]) -> int:
    """Failures come first, then changes, then fits that are rejected; 0 of what can wait."""
    if row["status"] != "fitted":
        return 3
    if row["verdict"] not in ("", UNCHANGED):
        return 2
    return int(row["quality"] == "rejected")
