"""What people may set for the figures of a column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
        """The look from plain values, as a job gets them.

        >>> Look.of({"label": "$M$", "range": [0, 3]})
        Look(label='$M$', range=(0.0, 3.0), bins=None, log_counts=False)
        """
        ends = given.get("range")
        return cls(**{**given, "range": None if ends is None else (float(ends[0]), float(ends[1]))})


DEFAULT = Look()
