"""What `mixpipe init` has found in a catalog."""

from __future__ import annotations

from dataclasses import dataclass

from mixpipe.cli.init.grouping import Group
from mixpipe.cli.init.suggestions import Suggestion


@dataclass(frozen=True)
class Findings:
    """What there is to say about a catalog.

    Parameters
    ----------
    group : Group
        Its name and files.
    lines : list of str
        Keys of the catalog other than `releases` and `columns`, as lines of YAML.
    note : str
        What is to be known of all that is fitted, or nothing.
    fitted : list of Suggestion
        What is to be fitted.
    correlated, customary : list of Suggestion
        What is to be fitted jointly, since correlations of the errors are given, and what might be.
    left_out : dict
        Other entries, by the reason why they are left out.
    not_fitted : dict
        Columns that cannot be fitted, by the reason, as text for a comment.
    """

    group: Group
    lines: list[str]
    note: str
    fitted: list[Suggestion]
    correlated: list[Suggestion]
    customary: list[Suggestion]
    left_out: dict[str, list[Suggestion]]
    not_fitted: dict[str, str]
