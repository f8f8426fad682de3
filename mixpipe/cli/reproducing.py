"""The command `mixpipe reproduce`: a fit done again from its fit.json."""

from __future__ import annotations

import math

import mixpipe
from mixpipe.base.files import json_text
from mixpipe.cli.display import say
from mixpipe.pipeline.reproduce import Reproduction, reproduce_fit


def reproduce(path: str, *, as_json: bool) -> bool:
    """Fit again, and print whether the numbers are the same.

    Parameters
    ----------
    path : str
        A fit.json, or the folder that holds it.
    as_json : bool
        Print one JSON object instead of text for people.

    Returns
    -------
    bool
        Whether they are.

    Raises
    ------
    MixpipeError
        For what the user can mend.
    """
    found = reproduce_fit(path)
    if as_json:
        # A pipe may not take more than ASCII.
        print(json_text(_document(found), ensure_ascii=True))
    else:
        _show(found)
    return found.same


def _document(found: Reproduction) -> dict[str, object]:
    return {
        "fit": found.place,
        "same": found.same,
        "differs": found.differs,
        "n_components": found.n_components,
        "largest_difference": found.largest,
        "parameter": found.parameter or None,
        "same_code": found.same_code,
        "versions": found.versions,
        "version": mixpipe.__version__,
    }


def _show(found: Reproduction) -> None:
    before, after = found.n_components
    if found.same:
        say(f"{found.place}: the same numbers, to the last bit")
    elif before != after:
        say(f"{found.place}: {before} components then, {after} now")
    elif math.isnan(found.largest) or found.largest == 0.0:
        say(f"{found.place}: other numbers, though not of the parameters")
    else:
        say(f"{found.place}: other numbers, at most by {found.largest:.2g} standard errors ({found.parameter})")
    if found.differs:
        say(f"what differs in fit.json: {', '.join(found.differs)}")
    for name, (then, now) in found.versions.items():
        say(f"{name}: {then or 'not there'} then, {now or 'not there'} now")
    if not found.same_code:
        say("the code of the fits is another than then")
