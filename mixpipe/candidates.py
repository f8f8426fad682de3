"""Components that might be added to a mixture: where the gradient function is looked at."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mixpipe.likelihood import Likelihood
from mixpipe.model import Array

# Candidate widths: from twice the overall width down by factors of two, and the lower bound.
_N_WIDTHS = 9
# Rows with the smallest errors that are candidates themselves.
_N_SHARP = 500


@dataclass(frozen=True, eq=False)
class Candidates:
    """Components to try, in scaled units: for each width, means half a total width apart where there are data.

    Parameters
    ----------
    means, variances, steps : ndarray, shape (n_candidates,)
        Sorted by width and then by mean; `steps` is the distance to the next mean.
    sizes : tuple of int
        How many there are of each width.
    """

    means: Array
    variances: Array
    steps: Array
    sizes: tuple[int, ...]

    def peaks(self, values: Array) -> list[int]:
        """Indices of the positive values that beat their neighbours of the same width, highest first."""
        found: list[int] = []
        start = 0
        for size in self.sizes:
            level = np.concatenate([[-np.inf], values[start : start + size], [-np.inf]])
            top = (level[1:-1] > level[:-2]) & (level[1:-1] >= level[2:]) & (level[1:-1] > 0.0)
            found.extend((start + np.flatnonzero(top)).tolist())
            start += size
        return sorted(found, key=lambda index: (-values[index], index))


def candidates(likelihood: Likelihood, floor: float) -> Candidates:
    """The candidates for some data and a lower bound on the variances."""
    x, var = likelihood.x, likelihood.var
    counts = likelihood.counts / likelihood.n_data
    error = math.sqrt(float(np.median(var)))
    spread = math.sqrt(float(counts @ (x - counts @ x) ** 2) + error**2)
    lowest = math.sqrt(floor)
    # Rows with the smallest errors can hold up a component narrower than the steps between candidates.
    sharp = np.argsort(var, kind="stable")[:_N_SHARP]
    means, variances, steps = [], [], []
    for level in range(_N_WIDTHS):
        sigma = max(2.0 ** (1 - level) * spread, lowest) if level < _N_WIDTHS - 1 else lowest
        step = 0.5 * max(math.hypot(sigma, 0.5 * error), 2.0 ** (-_N_WIDTHS) * spread) or 1.0
        own = x[sharp[sigma**2 + var[sharp] < step**2]]
        centres = np.unique(np.concatenate([np.rint(x / step) * step, own]))
        means.append(centres)
        variances.append(np.full(centres.size, sigma**2))
        steps.append(np.full(centres.size, step))
    return Candidates(
        np.concatenate(means), np.concatenate(variances), np.concatenate(steps), tuple(part.size for part in means)
    )
