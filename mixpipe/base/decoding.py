"""Values of types from what JSON holds, or the key that is not as it should be."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from mixpipe.base.errors import excerpt


class DecodeError(Exception):
    """A value that is not there, or not of its type: the key, and what is wrong with it."""

    def __init__(self, problem: str, *keys: str) -> None:
        super().__init__(problem)
        self.problem, self.keys = problem, keys

    def inside(self, key: str) -> DecodeError:
        """The same, of a value inside that of a key."""
        return DecodeError(self.problem, key, *self.keys)

    def __str__(self) -> str:
        return f"key {'.'.join(self.keys).replace('.[', '[')} {self.problem}" if self.keys else self.problem


_Reader = Callable[[Any], Any]

# The types of JSON that stand for a type of Python; a Boolean is no number, although Python counts it as one.
_SCALARS: dict[Any, tuple[str, tuple[type, ...]]] = {
    str: ("a text", (str,)),
    bool: ("true or false", (bool,)),
    int: ("a whole number", (int,)),
    float: ("a number", (int, float)),
}


def decode(kind: Any, value: Any) -> Any:
    """A value of a type from what JSON holds.

    Parameters
    ----------
    kind : type
        A frozen dataclass, whose fields without a default have to be there; str, bool, int or float; `Any`; one of
        these or None; a tuple of them, of any or of one length; or a dictionary with texts for keys.
    value
        What `json.loads` gives.

    Raises
    ------
    DecodeError
        For a key that is not there, and for a value of another type.

    Examples
    --------
    >>> decode(dict[str, tuple[float, ...]], {"means": [1.0, 2.5]})
    {'means': (1.0, 2.5)}
    >>> decode(dict[str, tuple[float, ...]], {"means": [1.0, "x"]})
    Traceback (most recent call last):
    mixpipe.base.decoding.DecodeError: key means[1] is "x", not a number
    """
    return _reader(kind)(value)


@cache
def _reader(kind: Any) -> _Reader:
    """What decodes values of a type: its annotations are looked at once."""
    if kind is Any:
        return lambda value: value
    if kind in _SCALARS:
        return _scalar_reader(*_SCALARS[kind])
    if is_dataclass(kind):
        return _part_reader(kind)
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        (some,) = (each for each in inner if each is not NoneType)
        read = _reader(some)
        return lambda value: None if value is None else read(value)
    if origin is tuple:
        return _list_reader(_reader(inner[0]), None if inner[-1] is Ellipsis else len(inner))
    return _object_reader(_reader(inner[1]))


def _scalar_reader(words: str, types: tuple[type, ...]) -> _Reader:
    def read(value: Any) -> Any:
        if type(value) not in types:
            raise DecodeError(f"is {shown(value)}, not {words}")
        return value

    return read


def _list_reader(read_entry: _Reader, length: int | None) -> _Reader:
    def read(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list) or (length is not None and len(value) != length):
            raise DecodeError(f"is {shown(value)}, not a list" + (f" of {length}" if length is not None else ""))
        return tuple(_read_inside(read_entry, entry, f"[{place}]") for place, entry in enumerate(value))

    return read


def _object_reader(read_entry: _Reader) -> _Reader:
    def read(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise DecodeError(f"is {shown(value)}, not an object")
        return {key: _read_inside(read_entry, entry, key) for key, entry in value.items()}

    return read


def _part_reader(kind: Any) -> _Reader:
    hints = get_type_hints(kind)
    readers = {each.name: _reader(hints[each.name]) for each in fields(kind)}
    needed = [each.name for each in fields(kind) if each.default is MISSING]

    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            raise DecodeError(f"is {shown(value)}, not an object")
        for name in needed:
            if name not in value:
                raise DecodeError("is missing", name)
        return kind(**{name: _read_inside(read, value[name], name) for name, read in readers.items() if name in value})

    return read


def _read_inside(read: _Reader, value: Any, key: str) -> Any:
    try:
        return read(value)
    except DecodeError as error:
        raise error.inside(key) from None


def shown(value: Any) -> str:
    """The beginning of a value as JSON has it, for a message."""
    return excerpt(json.dumps(value, ensure_ascii=False), 40)
