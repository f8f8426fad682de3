"""How far a fit is, on the terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from astropy.table import Table


@contextmanager
def fit_progress(
    max_components: int | None,
) -> Iterator[tuple[Callable[[Iterable[Table]], Iterator[Table]], Callable[[int], None]]]:
    """A bar on standard error while a file is read and a search runs, if that is a terminal.

    Parameters
    ----------
    max_components : int or None
        Where the bar ends; None if the search does not say how far it is.

    Yields
    ------
    counted, found : callable
        Tables as they are read go through the one; the other is to be called with the number of components that was
        just found.
    """
    if not sys.stderr.isatty():
        yield iter, lambda n_components: None
        return
    # Not worth the wait where nobody looks.
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("searching", total=max_components)

        def counted(tables: Iterable[Table]) -> Iterator[Table]:
            n_rows = 0
            for table in tables:
                yield table
                n_rows += len(table)
                bar.update(task, description=f"{n_rows:,} rows read")

        def found(n_components: int) -> None:
            # The search looks one component further than it was asked to.
            done = min(n_components, max_components or n_components)
            bar.update(task, completed=done, description=f"{done} of {max_components} components")

        yield counted, found
