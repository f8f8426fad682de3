"""Tolerances of the climbs: the predicted gain of a Newton step, in nats, below which a climb ends."""

# Fits: a hundredth of what could change a choice by BIC.
CONVERGED_GAIN = 1e-3
# Refits to resampled rows: 0.014 standard errors from the maximum.
RESAMPLED_GAIN = 1e-4
# Maxima with one parameter held, and so the points of a profile.
PROFILE_GAIN = 1e-7
