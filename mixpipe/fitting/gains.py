"""How far a log-likelihood is climbed: until a Newton step promises less than so many nats."""

# A fit is converged: a hundredth of what could change a choice by BIC.
CONVERGED_GAIN = 1e-3
# Resampled rows: 0.014 standard errors from the maximum.
RESAMPLED_GAIN = 1e-4
# A parameter is held: the maximum of a profile is known to so much.
PROFILE_GAIN = 1e-7
