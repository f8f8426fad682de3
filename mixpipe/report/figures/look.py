"""What people may set for the figures of a column."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class Look:
    """How the figures of a column are to look; None leaves it to the data.

    Parameters
    ----------
    label : str or None
        Name of the values on the axes, which may contain TeX between dollar signs.
    range : tuple of float or None
        First and last value of the axis.
    bins : int or None
        Number of bins of the histogram in this range.
    log_counts : bool
        Whether the axis of the densities is logarithmic.
    """

    label: str | None = None
    range: tuple[float, float] | None = None
    bins: int | None = None
    log_counts: bool = False

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Look:
        """The look from plain values, as a configuration has them.

        >>> Look.of({"label": "$M$", "range": [0, 3]})
        Look(label='$M$', range=(0.0, 3.0), bins=None, log_counts=False)
        """
        ends = given.get("range")
        return cls(**{**given, "range": None if ends is None else (float(ends[0]), float(ends[1]))})


DEFAULT = Look()
# The looks of columns for which nothing is set, and the same as text.
NONE_SET: Mapping[str, Look] = MappingProxyType({})
NO_LOOKS = '{"style": {}, "columns": {}}'


def read_look(text: str) -> tuple[Look, str | None]:
    """The look of a column, and the style of all figures, from the text that a job is planned with.

    >>> read_look('{"bins": 20, "style": "paper.mplstyle", "style_sha256": "0123"}')
    (Look(label=None, range=None, bins=20, log_counts=False), 'paper.mplstyle')
    """
    given = json.loads(text)
    style = given.pop("style", None)
    given.pop("style_sha256", None)
    return Look.of(given), style


def read_looks(text: str) -> tuple[dict[str, Look], str | None]:
    """The looks of the columns of a catalog by name, and the style of all figures.

    >>> read_looks('{"style": {}, "columns": {"mass": {"label": "$M$"}}}')
    ({'mass': Look(label='$M$', range=None, bins=None, log_counts=False)}, None)
    """
    given = json.loads(text)
    return {name: Look.of(look) for name, look in given["columns"].items()}, given["style"].get("style")
