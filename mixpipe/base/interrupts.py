"""Ctrl-C as an exception that is raised once, and not lost where Python or a library makes another one of it."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_received = _told = False


def mark_told() -> None:
    """Note that the user has been told of a Ctrl-C, which jobs may notice first."""
    global _told
    _told = True


def told() -> bool:
    """Whether the user has been told."""
    return _told


def received() -> bool:
    """Whether there was a Ctrl-C. Compiled code may have turned its `KeyboardInterrupt` into another exception."""
    return _received


@contextmanager
def watch_interrupts() -> Iterator[None]:
    """Take note of a Ctrl-C in this context; another one ends the process at once, without a word.

    Processes that ignore it, as those in the background, go on to do so.
    """
    global _received, _told
    _received = _told = False
    before = signal.getsignal(signal.SIGINT)
    main = threading.current_thread() is threading.main_thread()
    if not main or before not in (signal.default_int_handler, signal.SIG_DFL):
        yield
        return
    hook = sys.unraisablehook
    signal.signal(signal.SIGINT, _interrupt)
    sys.unraisablehook = lambda error: None if _received else hook(error)
    try:
        yield
    finally:
        if not _received:
            signal.signal(signal.SIGINT, before)
            sys.unraisablehook = hook


def _interrupt(number: int, frame: FrameType | None) -> Any:
    global _received
    _received = True
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    raise KeyboardInterrupt
