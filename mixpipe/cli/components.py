"""Options of `mixpipe fit` about single components: what is given, shared or known of them, and where to start."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from mixpipe.base.errors import ConfigError

_PARTS = {"weight": "weights", "mean": "means", "sigma": "sigmas", "shape": "shapes"}


def component_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """The keys `constraints`, `start` and `membership` of a column, from the options that were given.

    Examples
    --------
    >>> component_options({"fix": ["mean=0:2", "sigma=1"], "equal_sigmas": True})
    {'constraints': {'fixed': {'means': [None, 0.0], 'sigmas': [1.0]}, 'equal_sigmas': True}}
    >>> component_options({"known": ["mean=0,sigma=0.1"], "start": "0,1;4,1"})
    {'constraints': {'known': [{'mean': 0.0, 'sigma': 0.1}]}, 'start': {'means': [0.0, 4.0], 'sigmas': [1.0, 1.0]}}
    """
    constraints: dict[str, Any] = {}
    for option, key in (("fix", "fixed"), ("tie", "tied")):
        if option in given:
            constraints[key] = _lists(option, given[option])
    if "known" in given:
        constraints["known"] = [_known(text) for text in given["known"]]
    if given.get("equal_sigmas"):
        constraints["equal_sigmas"] = True
    found: dict[str, Any] = {"constraints": constraints} if constraints else {}
    if "start" in given:
        found["start"] = _start(str(given["start"]))
    if "prior_rows" in given:
        found["prior"] = {"min_rows": given["prior_rows"]}
    if "membership" in given:
        names = [name for text in given["membership"] for name in str(text).split(",")]
        found["membership"] = names[0] if len(names) == 1 else names
    return found


def _lists(option: str, texts: Sequence[str]) -> dict[str, list[float | None]]:
    """``mean=0:2`` is a mean of 0 for the second component."""
    lists: dict[str, list[float | None]] = {}
    for text in texts:
        match = re.fullmatch(r"\s*(weight|mean|sigma|shape)\s*=([^:]+)(?::\s*([1-9]\d*))?\s*", text)
        if match is None:
            raise ConfigError(
                f"found {text}",
                f"in option --{option}",
                "PART=NUMBER:COMPONENT, such as mean=0:2, where PART is weight, mean, sigma or shape",
            )
        numbers, place = lists.setdefault(_PARTS[match[1]], []), int(match[3] or 1)
        numbers += [None] * (place - len(numbers))
        numbers[place - 1] = _number(match[2], option)
    return lists


def _known(text: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part in text.split(","):
        name, sign, value = (piece.strip() for piece in part.partition("="))
        if not sign or name not in ("family", "low", "high", *_PARTS):
            raise ConfigError(
                f"found {text}", "in option --known", "such as mean=0,sigma=0.1, and perhaps family, shape and weight"
            )
        found[name] = value if name == "family" else _number(value, "known")
    return found


def _start(text: str) -> dict[str, list[float]]:
    rows = [[_number(part, "start") for part in row.split(",")] for row in text.split(";")]
    sizes = {len(row) for row in rows}
    if sizes not in ({2}, {3}):
        raise ConfigError(
            f"found {text}", "in option --start", "MEAN,SIGMA or WEIGHT,MEAN,SIGMA for each component, with ; between"
        )
    names = ("means", "sigmas") if sizes == {2} else ("weights", "means", "sigmas")
    return {name: [row[k] for row in rows] for k, name in enumerate(names)}


def _number(text: str, option: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"found {text.strip()!r}", f"in option --{option}", "a number") from None
