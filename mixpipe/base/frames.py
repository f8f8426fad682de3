"""Room for the frames of functions."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

# In words; the frames of some thousand functions fit into what is left of the next power of two.
_LARGE = 33_000


def _call(function: Callable[[], Any]) -> Any:
    return function()


# Python keeps frames in pieces of memory of 16 KB, and gives each back to the system when it is empty. A loop that
# calls functions across the end of a piece would take a new one for each call: a hundred thousand while kernels are
# compiled, for a sixth of the time. A piece that has to hold one large frame has room for all further ones.
_call_with_large_frame = FunctionType(_call.__code__.replace(co_stacksize=_LARGE), globals())


def call_in_one_piece(function: Callable[[], Any]) -> Any:
    """Call a function with the frames of all that it calls in one piece of memory.

    >>> call_in_one_piece(lambda: sum(range(4)))
    6
    """
    return _call_with_large_frame(function)
