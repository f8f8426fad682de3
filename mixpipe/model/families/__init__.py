"""Families of components, each convolved with the Gaussian error of every row.

Every function of a family has the same signature, ``(x, err, mean, sigma, shape)``. `mean` and `sigma` are the mean and
the standard deviation of the component's true values; for ``student_t``, whose standard deviation may be infinite, they
are its location and its scale, and for ``uniform`` and ``power_law`` they stand for the range.

========== ==================================================== =========================
name       true values                                          `shape`
========== ==================================================== =========================
gaussian
uniform    between mean -+ sqrt(3) sigma
student_t  location `mean`, scale `sigma`                       degrees of freedom
laplace    both sides fall with a scale of sigma / sqrt(2)
exponential from mean - sigma up, falling with a scale of sigma
skew_normal Azzalini's, of that mean and standard deviation     skewness parameter alpha
lognormal  positive
power_law  between mean -+ sqrt(3) sigma, as uniform; positive  index: density ~ z^-index
========== ==================================================== =========================

Examples
--------
The density of two observed values, one with an error as large as the width of its component and one without error:

>>> import numpy as np
>>> from mixpipe.model.families import FAMILIES
>>> family = FAMILIES["exponential"]
>>> [round(float(p), 6) for p in np.exp(family.logpdf([0.0, 5.0], [1.0, 0.0], mean=1.0, sigma=1.0))]
[0.261578, 0.006738]
>>> true_mean, variance = family.posterior(0.0, 1.0, mean=1.0, sigma=1.0)
>>> round(float(true_mean), 6), round(float(variance), 6)
(0.525135, 0.199098)
"""

from mixpipe.model.families.between import log_between, log_difference, sides
from mixpipe.model.families.exponential import EXPONENTIAL
from mixpipe.model.families.family import Family
from mixpipe.model.families.gaussian import GAUSSIAN
from mixpipe.model.families.laplace import LAPLACE
from mixpipe.model.families.lognormal import LOGNORMAL
from mixpipe.model.families.noisy import with_noise
from mixpipe.model.families.power_law import POWER_LAW
from mixpipe.model.families.skew_normal import SKEW_NORMAL
from mixpipe.model.families.student_t import STUDENT_T
from mixpipe.model.families.uniform import UNIFORM

FAMILIES: dict[str, Family] = {
    family.name: with_noise(family)
    for family in (GAUSSIAN, UNIFORM, STUDENT_T, LAPLACE, EXPONENTIAL, SKEW_NORMAL, LOGNORMAL, POWER_LAW)
}
# Families whose mean and sigma stand for their range, which is given.
RANGED = ("uniform", "power_law")

__all__ = ["FAMILIES", "RANGED", "Family", "log_between", "log_difference", "sides"]
