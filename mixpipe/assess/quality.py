"""The agreement of a mixture with the data: statistics of the probability integral transform."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from mixpipe.model.cells import Cells
from mixpipe.model.mixture import Mixture
from mixpipe.model.resolution import rounded_from
from mixpipe.model.results import Array

_BLOCK = 1 << 16
# Above this transform, the probability above a value is computed directly, since one minus that below has lost its
# digits.
_UPPER_TAIL = 0.999
# Intervals of the transform that are narrower than this count as steps; and the logits at which the integral is
# truncated.
_STEP_WIDTH = 1e-9
_LOGITS = np.linspace(-25.0, 25.0, 201)
# Sizes of the largest difference of the distribution functions, in words.
_SIZES = ((0.01, "tiny"), (0.03, "small"), (0.1, "clear"), (math.inf, "large"))
# A fit is rejected if the probability that a catalog drawn from it deviates as much is at most this.
REJECTED = 0.01


@dataclass(frozen=True)
class Quality:
    """Distance between data and model.

    Parameters
    ----------
    ks : float
        Kolmogorov-Smirnov statistic of the probability integral transform: 0 is perfect, 1 the worst.
    ks_pvalue : float
        Probability of at least this value under the fitted model; nan if it was not computed. The textbook p-value is
        not valid here, since the parameters were fitted to the same data.
    ad : float
        Anderson-Darling statistic of the transform, which is more sensitive in the tails.
    ad_pvalue : float
        As `ks_pvalue`.
    """

    ks: float
    ks_pvalue: float
    ad: float
    ad_pvalue: float = math.nan

    @property
    def verdict(self) -> str:
        """``ok`` or ``rejected`` according to the p-values, or ``untested`` if there are none.

        >>> Quality(0.02, 0.4, 0.3, 0.002).verdict
        'rejected'
        """
        return verdict_of(min(self.ks_pvalue, self.ad_pvalue))


def verdict_of(p_value: float) -> str:
    """``ok`` or ``rejected`` according to the lowest p-value of a fit, or ``untested`` if that is nan.

    >>> verdict_of(0.002), verdict_of(0.3), verdict_of(math.nan)
    ('rejected', 'ok', 'untested')
    """
    return "untested" if math.isnan(p_value) else "rejected" if p_value <= REJECTED else "ok"


def describe_distance(ks: float, verdict: str) -> str:
    """How wrong a mixture is, other than how surely it is wrong: the Kolmogorov-Smirnov statistic in words.

    >>> describe_distance(0.0182, "rejected")
    'off by at most 1.8 % of the rows: small'
    >>> describe_distance(0.0182, "ok")
    'off by at most 1.8 % of the rows: as much as by chance'
    >>> describe_distance(0.9951, "ok")
    'off by at most 100 % of the rows: as much as by chance'
    """
    size = "as much as by chance" if verdict == "ok" else next(name for end, name in _SIZES if ks < end)
    # Two digits would be 1e+02.
    percent = f"{100.0 * ks:.2g}" if ks < 0.995 else "100"
    return f"off by at most {percent} % of the rows: {size}"


def pit(mixture: Mixture, cells: Cells) -> Array:
    """Probability integral transform: the probability, under the model, of a value below each one, given its error.

    The transform is uniform between 0 and 1 if the model is correct. In a sample with a window, it is conditional
    on the value being seen.

    Examples
    --------
    >>> pit(Mixture([1.0], [0.0], [1.0]), Cells.from_rows([0.0], 0.5))
    array([0.5])
    """
    return _transforms(mixture, cells, cells.x)


def _transforms(mixture: Mixture, cells: Cells, x: Array) -> Array:
    """The transforms of other values, in place of those of the cells."""
    if cells.window is None:
        return np.concatenate(
            [mixture.cdf(x[part], cells.errors[part], _priors(cells, part)) for part in _parts(cells)]
        )
    window = cells.window
    return np.concatenate(
        [window[part].below(mixture, x[part], cells.errors[part], _priors(cells, part)) for part in _parts(cells)]
    )


def _above(mixture: Mixture, cells: Cells, x: Array) -> Array:
    """Probabilities above some values, in blocks, since intermediate arrays have an axis of components."""
    return np.concatenate([mixture.sf(x[part], cells.errors[part], _priors(cells, part)) for part in _parts(cells)])


def _parts(cells: Cells) -> list[slice]:
    return [slice(start, start + _BLOCK) for start in range(0, len(cells), _BLOCK)]


def _priors(cells: Cells, part: slice) -> Array | None:
    return None if cells.memberships is None else cells.memberships[part]


def assess(mixture: Mixture, cells: Cells) -> Quality:
    """Kolmogorov-Smirnov and Anderson-Darling statistics of the weighted probability integral transform.

    With sorted values u_k and cumulative weight fractions F_k, KS is the largest distance of F from u, and AD is
    ``N integral (F - u)^2 / (u (1 - u)) du`` (Anderson & Darling 1954), which is integrated exactly between the steps.
    Values that were rounded to a grid, bins and limits represent intervals; F is then the mean over the rows of the
    distribution functions that are uniform between the transforms of both ends (Czado, Gneiting & Held 2009).

    Examples
    --------
    >>> assess(Mixture([1.0], [0.0], [1.0]), Cells.from_rows([0.0], 0.5)).ks
    0.5
    """
    if cells.limits is not None or cells.edges is not None or cells.resolution.step > 0.0:
        return _assess_intervals(mixture, cells)
    u = pit(mixture, cells)
    tail = u > (_UPPER_TAIL if cells.window is None else 1.0)
    upper = _above(mixture, cells[tail], cells.x[tail]) if tail.any() else np.empty(0)
    weights, n_data = cells.weights, cells.n_data
    if np.all(weights == weights[0]):
        # The arrays may be sorted independently, which is much faster than sorting rows.
        u, upper = np.sort(u), np.sort(upper)[::-1]
    else:
        below, last = np.argsort(u[~tail], kind="stable"), np.lexsort((-upper, u[tail]))
        u, weights = (np.concatenate([array[~tail][below], array[tail][last]]) for array in (u, weights))
        upper = upper[last]
    # The probability above stays accurate in the upper tail.
    above = 1.0 - u
    above[u.size - upper.size :] = upper
    after = np.minimum(np.cumsum(weights) / n_data, 1.0)
    ks, area, tiny = 0.0, [], np.finfo(np.float64).tiny
    for start in range(0, u.size, _BLOCK):
        part = slice(start, start + _BLOCK)
        high = after[part]
        low = np.append(after[start - 1] if start else 0.0, high[:-1])
        ks = max(ks, float(np.max(high - u[part])), float(np.max(u[part] - low)))
        log_below, log_above = (np.log(np.maximum(side[part], tiny)) for side in (u, above))
        logs = (high + low) * log_below + (2.0 - high - low) * log_above
        area.append(float(np.sum((high - low) * logs)))
    # Between steps F is constant, and the integrand has the antiderivative F^2 ln u - (1 - F)^2 ln(1 - u) - u.
    ad = n_data * (-math.fsum(area) - 1.0)
    return Quality(ks, float("nan"), ad)


def interval_transforms(mixture: Mixture, cells: Cells) -> tuple[Array, Array]:
    """The transforms of both ends of the interval in which each value is known to lie; almost equal if it is known."""
    low = high = cells.x
    if cells.edges is not None:
        low, high = cells.edges.T
    elif cells.resolution.step > 0.0:
        distinct, inverse = np.unique(cells.x, return_inverse=True)
        low, high = (side[inverse] for side in rounded_from(distinct, cells.resolution.step))
    below, above = (_transforms(mixture, cells, side) for side in (low, high))
    if cells.limits is not None:
        below = np.where(cells.limits < 0, 0.0, below)
        above = np.where(cells.limits > 0, 1.0, above)
    # Intervals that are narrower than this are treated as steps.
    return below, np.maximum(above, below + _STEP_WIDTH)


def sides_of(mixture: Mixture, cells: Cells, half_step: float = 0.0) -> Array:
    """Probabilities below and above both ends of the interval in which each value is known to lie, shape (4, n_cells).

    Each is accurate in its own tail. A value that was rounded is known to `half_step` on either side.
    """

    def both(x: Array) -> tuple[Array, Array]:
        below = _transforms(mixture, cells, x)
        if cells.window is not None:
            return below, 1.0 - below
        return below, _above(mixture, cells, x)

    lower = both(cells.x - half_step) if half_step > 0.0 else both(cells.x)
    upper = both(cells.x + half_step) if half_step > 0.0 else lower
    ends = np.stack([*lower, *upper])
    if cells.limits is not None:
        ends[:2, cells.limits < 0] = [[0.0], [1.0]]
        ends[2:, cells.limits > 0] = [[1.0], [0.0]]
    return ends


def _assess_intervals(mixture: Mixture, cells: Cells) -> Quality:
    """The statistics of values each of which is known to lie in an interval."""
    cells = cells[cells.weights > 0.0]
    below, above = interval_transforms(mixture, cells)
    pairs, inverse = np.unique(np.stack([below, above], axis=1), axis=0, return_inverse=True)
    shares = np.bincount(inverse.ravel(), cells.weights) / cells.n_data
    slopes = shares / (pairs[:, 1] - pairs[:, 0])
    order = np.argsort(pairs.T.ravel(), kind="stable")
    u = pairs.T.ravel()[order]
    slope = np.cumsum(np.concatenate([slopes, -slopes])[order])
    cumulative = np.concatenate([[0.0], np.cumsum(slope[:-1] * np.diff(u))])
    ks = float(np.max(np.abs(cumulative - np.minimum(u, 1.0))))
    # The Anderson-Darling integral over ln(u / (1 - u)), in which the integrand is (F - u)^2, between the ends of the
    # intervals.
    ends = np.unique(np.concatenate([_LOGITS, logit(u[(u > expit(_LOGITS[0])) & (u < expit(_LOGITS[-1]))])]))
    nodes, weights = np.polynomial.legendre.leggauss(4)
    half = 0.5 * np.diff(ends)
    at = expit(0.5 * (ends[1:] + ends[:-1])[:, None] + half[:, None] * nodes)
    distance = np.interp(at, u, cumulative, left=0.0, right=1.0) - at
    return Quality(ks, math.nan, cells.n_data * float(np.sum(half[:, None] * weights * distance**2)))
