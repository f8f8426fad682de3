"""Candidate components to add to a mixture, at which the gradient function is evaluated."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mixpipe.fitting.gaussian.likelihood import Likelihood
from mixpipe.model.results import Array

# The candidate widths go from twice the overall width down by factors of two, continue for this many octaves below the
# width of the bulk, and include the lower bound.
_N_OCTAVES = 8
# Largest number of narrow groups that become candidates, and of rows that are sorted to find them.
_N_CROWDS = 20
_MAX_SORTED = 1 << 17
# A group must be this many times denser than its surroundings; a smaller contrast occurs in smooth densities.
_CONTRAST = 3.0
# Number of rows with the smallest errors that are themselves candidates.
_N_SHARP = 500


@dataclass(frozen=True, eq=False)
class Candidates:
    """Components to try, in scaled units: for each width, a grid of means half a total width apart where there are
    data.

    Parameters
    ----------
    means, variances, steps : ndarray, shape (n_candidates,)
        Candidates sorted by width and then by mean; `steps` is the distance to the next mean.
    sizes : tuple of int
        Number of candidates of each width.
    """

    means: Array
    variances: Array
    steps: Array
    sizes: tuple[int, ...]

    def peaks(self, values: Array) -> list[int]:
        """Indices of the positive values that exceed those of their neighbours of the same width, highest first."""
        indices: list[int] = []
        start = 0
        for size in self.sizes:
            level = np.concatenate([[-np.inf], values[start : start + size], [-np.inf]])
            top = (level[1:-1] > level[:-2]) & (level[1:-1] >= level[2:]) & (level[1:-1] > 0.0)
            indices.extend((start + np.flatnonzero(top)).tolist())
            start += size
        return sorted(indices, key=lambda index: (-values[index], index))

    def apart(self, indices: list[int], n_kept: int) -> list[int]:
        """The first `n_kept` of these candidates, skipping those that are next to an earlier one in mean and width."""
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
    """The candidates for given data and a given lower bound on the variances.

    Parameters
    ----------
    likelihood : Likelihood
        The data.
    floor : float
        Lower bound on the variances, in scaled units.
    crowds : tuple of ndarray or None
        Means and sigmas of narrow groups, in scaled units; by default they are searched for in the data.
    """
    x, var = likelihood.x, likelihood.var
    counts = likelihood.counts / likelihood.n_data
    error = math.sqrt(float(np.median(var)))
    mean = float(np.sum(counts * x))
    widest = 2.0 * math.sqrt(float(np.sum(counts * (x - mean) ** 2)) + error**2)
    low, high = np.quantile(x, (0.1, 0.9))
    # Half of the range of the central 80 % exceeds one sigma and is not affected by a far outlier.
    core = min(math.hypot(0.5 * float(high - low), error), widest) or widest
    lowest = math.sqrt(floor)
    # Rows with the smallest errors can support a component that is narrower than the steps between candidates.
    sharp = np.argsort(var, kind="stable")[:_N_SHARP]
    n_octaves = math.ceil(math.log2(widest / core)) + _N_OCTAVES if core > 0.0 else 1
    sigmas = [max(widest * 2.0**-level, lowest) for level in range(n_octaves)]
    means, variances, steps = [], [], []
    for sigma in (*sigmas, lowest):
        step = 0.5 * max(math.hypot(sigma, 0.5 * error), 0.5 * sigmas[-1]) or 1.0
        sharp_means = x[sharp[sigma**2 + var[sharp] < step**2]]
        centres = np.unique(np.concatenate([np.rint(x / step) * step, sharp_means]))
        means.append(centres)
        variances.append(np.full(centres.size, sigma**2))
        steps.append(np.full(centres.size, step))
    groups = find_crowds(x, likelihood.counts) if crowds is None else crowds
    for centre, width in zip(*groups, strict=True):
        # Each gets a separate width, so that it is a peak wherever it raises the likelihood.
        means.append(np.array([centre]))
        variances.append(np.array([max(width**2, floor)]))
        steps.append(np.array([max(width, lowest)]))
    return Candidates(
        np.concatenate(means), np.concatenate(variances), np.concatenate(steps), tuple(part.size for part in means)
    )


def find_crowds(x: Array, counts: Array) -> tuple[Array, Array]:
    """Find groups of values that lie closer together than the density of their surroundings makes likely.

    The density of each group of 4, 8, 16, ... values is compared with that on either side by the likelihood ratio of
    Poisson counts. Those groups are returned that are three times denser and whose likelihood ratio exceeds twice the
    BIC penalty of a component.

    Parameters
    ----------
    x, counts : ndarray, shape (n_cells,)

    Returns
    -------
    means, sigmas : ndarray, shape (n_groups,)
        At most `_N_CROWDS` groups, the most significant first.
    """
    if x.size > _MAX_SORTED:
        stride = -(-x.size // _MAX_SORTED)
        x, counts = x[::stride], counts[::stride]
    order = np.argsort(x, kind="stable")
    values, cumulative = x[order], np.concatenate([[0.0], np.cumsum(counts[order])])
    if values[0] == values[-1]:
        return np.empty(0), np.empty(0)
    # Tied values get a finite density, which is set by the rounding of doubles.
    tiny = 4.0 * np.finfo(np.float64).eps * max(abs(values[0]), abs(values[-1]))
    price = 1.5 * math.log(cumulative[-1] + 1.0)
    groups: list[tuple[float, float, float]] = []
    size = 4
    while 17 * size <= values.size:
        # The surroundings are eight times as many values on either side; the denser side is used, so that a slope does
        # not count as a group.
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
            if all(abs(centre - other) > span[best] for _, other, _ in groups[-_N_CROWDS:]):
                groups.append((float(gain[best]), centre, float(span[best]) / math.sqrt(12.0)))
        size *= 2
    groups = sorted(groups, reverse=True)[:_N_CROWDS]
    return np.array([centre for _, centre, _ in groups]), np.array([sigma for _, _, sigma in groups])
