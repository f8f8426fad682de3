"""The number of threads to use, and work that is shared among them."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")


def available_threads() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def over_all(task: Callable[[S], T], pieces: Iterable[S], n_threads: int) -> Iterator[T]:
    """Apply a task to each piece, on some threads, with only a few pieces in memory at a time.

    Results come in the order of the pieces.

    >>> list(over_all(abs, iter([-1, 2, -3]), n_threads=2))
    [1, 2, 3]
    """
    if n_threads == 1:
        yield from map(task, pieces)
        return
    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(n_threads) as pool:
        for piece in pieces:
            waiting.append(pool.submit(task, piece))
            if len(waiting) > 2 * n_threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
