"""The uncertainties to quote of a fit: standard errors, or intervals with two sides."""

from __future__ import annotations

import math

from mixpipe.results.record import FitRecord, JointRecord

# The level of the intervals that stand for uncertainties.
LEVEL = 0.68
# Both sides of the interval of a parameter, by component and parameter.
Sides = dict[tuple[int, str], tuple[float, float]]


def preferred_method(record: FitRecord | JointRecord) -> str:
    """The method of the intervals to quote; ``information`` for standard errors.

    Those of the likelihood belong to its maximum, and not to what other estimators find.
    """
    if isinstance(record, FitRecord) and record.estimator != "em":
        return "information"
    return next((row.method for row in record.intervals if row.preferred), "information")


def quoted_sides(record: FitRecord | JointRecord) -> Sides:
    """Distances of the ends of the intervals to quote from the estimates; none where these are standard errors.

    A bias-corrected interval may not contain the estimate, which then has its standard error.
    """
    if preferred_method(record) == "information":
        return {}
    return {
        (row.component, row.parameter): (row.estimate - row.lower, row.upper - row.estimate)
        for row in record.intervals
        if row.preferred and math.isclose(row.level, LEVEL)
        if row.estimate is not None and row.lower is not None and row.upper is not None
        if row.lower <= row.estimate <= row.upper
    }
