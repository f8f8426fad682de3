"""Numbers that stand for a missing value in the columns of a catalog."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mixpipe.catalog.sentinels import Numbers, are_sentinels, find_sentinels


def forget_sentinels(columns: Mapping[str, Numbers | None]) -> dict[str, list[float]]:
    """Set the sentinels of each column to NaN, in place.

    Returns
    -------
    dict
        The sentinels of each column that has some.
    """
    sentinels = {}
    for name, numbers in columns.items():
        found = find_sentinels(numbers) if numbers is not None else []
        if numbers is not None and found:
            numbers[are_sentinels(numbers, found)] = np.nan
            sentinels[name] = found
    return sentinels


def common_sentinels(
    sentinels: Mapping[str, list[float]], columns: Mapping[str, Numbers | None]
) -> dict[float, list[str]]:
    """Sentinels of these columns, with the columns that have them, if no other column has them as a value.

    Parameters
    ----------
    sentinels : mapping
        As `forget_sentinels` returns it.
    columns : mapping
        The columns to which the sentinels are to apply, without their own.
    """
    found: dict[float, list[str]] = {}
    for name in columns:
        for value in sentinels.get(name, ()):
            found.setdefault(value, []).append(name)
    return {
        value: names
        for value, names in found.items()
        if not any(_is_value(value, numbers) for numbers in columns.values())
    }


def _is_value(value: float, numbers: Numbers | None) -> bool:
    """Whether a number occurs among others, and not at their end."""
    if numbers is None or not are_sentinels(numbers, [value]).any():
        return False
    rest = numbers[np.isfinite(numbers) & ~are_sentinels(numbers, [value])]
    return bool(rest.size) and bool(rest.min() < value < rest.max())
