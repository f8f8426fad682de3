"""How far a search is, on the terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def search_progress(max_components: int | None) -> Iterator[Callable[[int], None]]:
    """A bar on standard error while a search runs, if that is a terminal.

    Parameters
    ----------
    max_components : int or None
        Where the bar ends; None if the search does not say how far it is.

    Yields
    ------
    callable
        To be called with the number of components that was just found.
    """
    if not sys.stderr.isatty():
        yield lambda n_components: None
        return
    # Not worth the wait where nobody looks.
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("searching", total=max_components)

        def found(n_components: int) -> None:
            # The search looks one component further than it was asked to.
            done = min(n_components, max_components or n_components)
            bar.update(task, completed=done, description=f"{done} of {max_components} components")

        yield found
