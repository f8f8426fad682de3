"""What `make test` leaves to `make test-all`, and what both leave to `make studies`."""

import itertools
from collections.abc import Iterable

import pytest

campaign = pytest.mark.campaign
study = pytest.mark.study


def mostly(values: Iterable, kept: Iterable, mark: pytest.MarkDecorator, campaigns: Iterable = ()) -> list:
    """Parameters: those that are kept have no mark, some are campaigns, and the others have this mark."""
    kept, campaigns = list(kept), list(campaigns)
    return [
        value if value in kept else pytest.param(value, marks=campaign if value in campaigns else mark)
        for value in values
    ]


def mostly_campaign(values: Iterable, *kept: object) -> list:
    """Parameters of which `make test` has those that are kept, and `make test-all` the others."""
    return mostly(values, kept, campaign)


def mostly_study(values: Iterable, *kept: object, campaigns: Iterable = ()) -> list:
    """The same with some for `make test-all`, and the others for `make studies`."""
    return mostly(values, kept, study, campaigns)


def pairs(parameters: list) -> list:
    """All of the above for two parameters, of which each value is a pair."""
    return [pytest.param(*each.values[0], marks=each.marks) if hasattr(each, "marks") else each for each in parameters]


def mostly_campaign_pairs(first: Iterable, second: Iterable, kept: Iterable[tuple]) -> list:
    """Like `mostly_campaign`, for all pairs of two parameters."""
    return pairs(mostly_campaign(itertools.product(first, second), *kept))


def mostly_study_pairs(first: Iterable, second: Iterable, kept: Iterable[tuple], campaigns: Iterable[tuple]) -> list:
    """Like `mostly_study`, for all pairs of two parameters."""
    return pairs(mostly_study(itertools.product(first, second), *kept, campaigns=campaigns))
