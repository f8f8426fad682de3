"""Components that might be added to a mixture: where the gradient function is looked at."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mixpipe.fitting.gaussian.likelihood import Likelihood
from mixpipe.model.results import Array

# Candidate widths: from twice the overall width down by factors of two, so many times beyond the width of the bulk,
# and the lower bound.
_N_OCTAVES = 8
# Narrow groups that are candidates, and rows that are sorted to find them.
_N_CROWDS = 20
_MAX_SORTED = 1 << 17
# A group is so many times denser than its surroundings: less is the shape of a smooth density.
_CONTRAST = 3.0
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

    def apart(self, indices: list[int], n_kept: int) -> list[int]:
        """The first of these candidates, without those that are next to an earlier one in mean and width."""
        kept: list[int] = []
        for index in indices:
            if len(kept) == n_kept:
                break
            near = np.abs(self.means[kept] - self.means[index]) <= 1.5 * np.maximum(self.steps[kept], self.steps[index])
            ratio = (self.steps[kept] / self.steps[index]) if kept else np.empty(0)
            if not np.any(near & (ratio <= 2.1) & (ratio >= 1 / 2.1)):
                kept.append(index)
        return kept


def candidates(likelihood: Likelihood, floor: float, crowds: tuple[Array, Array] | None = None) -> Candidates:
    """The candidates for some data and a lower bound on the variances.

    Parameters
    ----------
    likelihood : Likelihood
        The data.
    floor : float
        Lower bound on the variances, in scaled units.
    crowds : tuple of ndarray or None
        Means and sigmas of narrow groups, in scaled units; looked for in the data by default.
    """
    x, var = likelihood.x, likelihood.var
    counts = likelihood.counts / likelihood.n_data
    error = math.sqrt(float(np.median(var)))
    mean = float(np.sum(counts * x))
    widest = 2.0 * math.sqrt(float(np.sum(counts * (x - mean) ** 2)) + error**2)
    low, high = np.quantile(x, (0.1, 0.9))
    # Half of the central 80 % is more than one sigma; a far outlier does not count.
    core = min(math.hypot(0.5 * float(high - low), error), widest) or widest
    lowest = math.sqrt(floor)
    # Rows with the smallest errors can hold up a component narrower than the steps between candidates.
    sharp = np.argsort(var, kind="stable")[:_N_SHARP]
    n_octaves = math.ceil(math.log2(widest / core)) + _N_OCTAVES if core > 0.0 else 1
    sigmas = [max(widest * 2.0**-level, lowest) for level in range(n_octaves)]
    means, variances, steps = [], [], []
    for sigma in (*sigmas, lowest):
        step = 0.5 * max(math.hypot(sigma, 0.5 * error), 0.5 * sigmas[-1]) or 1.0
        own = x[sharp[sigma**2 + var[sharp] < step**2]]
        centres = np.unique(np.concatenate([np.rint(x / step) * step, own]))
        means.append(centres)
        variances.append(np.full(centres.size, sigma**2))
        steps.append(np.full(centres.size, step))
    groups = find_crowds(x, likelihood.counts) if crowds is None else crowds
    for centre, width in zip(*groups, strict=True):
        # Each a width of its own, so that it is a peak wherever it helps.
        means.append(np.array([centre]))
        variances.append(np.array([max(width**2, floor)]))
        steps.append(np.array([max(width, lowest)]))
    return Candidates(
        np.concatenate(means), np.concatenate(variances), np.concatenate(steps), tuple(part.size for part in means)
    )


def find_crowds(x: Array, counts: Array) -> tuple[Array, Array]:
    """Groups of values that lie closer together than their surroundings make likely.

    For groups of 4, 8, 16, ... values the density of each is compared with that on either side, as likelihood ratio
    of Poisson counts. Groups that are three times denser and beat one component's price in BIC twice are returned.

    Parameters
    ----------
    x, counts : ndarray, shape (n_cells,)

    Returns
    -------
    means, sigmas : ndarray, shape (n_groups,)
        Most significant first, at most `_N_CROWDS`.
    """
    if x.size > _MAX_SORTED:
        stride = -(-x.size // _MAX_SORTED)
        x, counts = x[::stride], counts[::stride]
    order = np.argsort(x, kind="stable")
    values, cumulative = x[order], np.concatenate([[0.0], np.cumsum(counts[order])])
    if values[0] == values[-1]:
        return np.empty(0), np.empty(0)
    # Ties have a density, too: that of the rounding of doubles.
    tiny = 4.0 * np.finfo(np.float64).eps * max(abs(values[0]), abs(values[-1]))
    price = 1.5 * math.log(cumulative[-1] + 1.0)
    found: list[tuple[float, float, float]] = []
    size = 4
    while 17 * size <= values.size:
        # Groups with eight times as many values on either side; the denser side counts, so that a slope is no group.
        first = np.arange(8 * size, values.size - 9 * size)
        last = first + size - 1
        span = values[last] - values[first] + tiny
        held = cumulative[last + 1] - cumulative[first]
        left = (cumulative[first] - cumulative[first - 8 * size]) / (values[first] - values[first - 8 * size] + tiny)
        right = (cumulative[last + 1 + 8 * size] - cumulative[last + 1]) / (
            values[last + 8 * size] - values[last] + tiny
        )
        expected = span * np.maximum(left, right)
        gain = held * np.log(np.maximum(held / expected, 1.0)) - np.maximum(held - expected, 0.0)
        significant = np.flatnonzero((gain > 2.0 * price) & (held > _CONTRAST * expected))
        for best in significant[np.argsort(-gain[significant], kind="stable")][: 4 * _N_CROWDS]:
            centre = 0.5 * float(values[best] + values[best + size - 1])
            if all(abs(centre - other) > span[best] for _, other, _ in found[-_N_CROWDS:]):
                found.append((float(gain[best]), centre, float(span[best]) / math.sqrt(12.0)))
        size *= 2
    found = sorted(found, reverse=True)[:_N_CROWDS]
    return np.array([centre for _, centre, _ in found]), np.array([sigma for _, _, sigma in found])
