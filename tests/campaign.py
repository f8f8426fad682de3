"""What `make test` leaves to `make test-all`."""

import itertools
from collections.abc import Iterable

import pytest

campaign = pytest.mark.campaign


def mostly_campaign(values: Iterable, *kept: object) -> list:
    """Parameters of which `make test` has those that are kept, and `make test-all` the others."""
    return [value if value in kept else pytest.param(value, marks=campaign) for value in values]


def mostly_campaign_pairs(first: Iterable, second: Iterable, kept: Iterable[tuple]) -> list:
    """Like `mostly_campaign`, for all pairs of two parameters."""
    kept = list(kept)
    return [
        values if values in kept else pytest.param(*values, marks=campaign)
        for values in itertools.product(first, second)
    ]
