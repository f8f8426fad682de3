"""Words with a fixed meaning."""

from __future__ import annotations

from typing import TypeVar

Value = TypeVar("Value")


def keyword(value: Value) -> Value:
    """A word from a fixed list, which may be written with capitals; other things as they are.

    >>> keyword("BIC"), keyword("Student_t"), keyword(None)
    ('bic', 'student_t', None)
    """
    return value.lower() if isinstance(value, str) else value  # type: ignore[return-value]
