"""Simulated columns of one and two populations, observed under every kind of errors, roundings and weights.

A `Condition` is a population and the way it is observed. The same true values, noise and errors serve all conditions
with the same number of rows and sample number, so that shares are compared on the same draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.special import ndtr

SIZES = (30, 60, 100, 300, 1000, 10_000, 100_000)
STEPS = (0.01, 0.05, 0.1, 0.2, 0.25, 0.5)
BIN_WIDTHS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 3.0)
# Errors that hide nothing and resolve nothing, in units of the narrowest width.
REGULAR = 0.3

Array = np.ndarray


@dataclass(frozen=True)
class Population:
    """True values of one kind or of several.

    Parameters
    ----------
    name : str
    weights, means, sigmas : tuple of float
        Of the mixture. A weight of nan stands for ``3 ln N`` rows, the other for the rest.
    draw : callable or None
        ``draw(rng, n)`` where the values are not those of the mixture.
    """

    name: str
    weights: tuple[float, ...]
    means: tuple[float, ...]
    sigmas: tuple[float, ...]
    draw: Callable[[np.random.Generator, int], Array] | None = None

    @property
    def n_components(self) -> int:
        return len(self.weights)

    @property
    def unit(self) -> float:
        """The narrowest width, in which errors and steps are given."""
        return min(self.sigmas)

    def shares(self, n: int) -> Array:
        """Weights of the components among `n` rows."""
        weights = np.array(self.weights)
        few = np.isnan(weights)
        weights[few] = round(3.0 * math.log(n)) / n
        weights[~few] *= 1.0 - weights[few].sum()
        return weights

    def sample(self, rng: np.random.Generator, n: int) -> Array:
        """True values of `n` rows."""
        if self.draw is not None:
            return self.draw(rng, n)
        weights = self.shares(n)
        if np.isnan(self.weights).any():
            counts = np.round(weights * n).astype(int)
            component = rng.permutation(np.repeat(np.arange(weights.size), counts))
        else:
            component = rng.choice(weights.size, n, p=weights)
        return np.array(self.means)[component] + np.array(self.sigmas)[component] * rng.standard_normal(n)


@dataclass(frozen=True, eq=False)
class Draw:
    """The random numbers of one sample: each property has its own stream, whatever else is drawn."""

    population: Population
    n: int
    sample: int

    def rng(self, purpose: int) -> np.random.Generator:
        return np.random.default_rng([30 + purpose, self.n, self.sample])

    @property
    def unit(self) -> float:
        return self.population.unit

    def true_values(self, n: int | None = None) -> Array:
        return self.population.sample(self.rng(1), n or self.n)

    def noise(self, err: Array | float) -> Array:
        return err * self.rng(2).standard_normal(self.n)

    def uniform(self) -> Array:
        """For the errors."""
        return self.rng(3).random(self.n)

    def normal(self) -> Array:
        """For the errors."""
        return self.rng(4).standard_normal(self.n)


@dataclass(frozen=True, eq=False)
class Observed:
    """A column: values are ``shift + scale * (true value)`` but for errors and rounding."""

    x: Array
    err: Array | None
    weights: Array | None = None
    weight_kind: str | None = None
    shift: float = 0.0
    scale: float = 1.0


@dataclass(frozen=True)
class Condition:
    """A line of the study: a population, how it is observed, and for which numbers of rows.

    Parameters
    ----------
    group : str
    population : Population
    observation : str
        What differs from regular errors.
    observe : callable
        ``observe(draw)`` gives the column.
    sizes : tuple of int
        Numbers of rows.
    warned_suffices : bool
        Whether a warning of repeated rows is as good as the right number of components.
    """

    group: str
    population: Population
    observation: str
    observe: Callable[[Draw], Observed]
    sizes: tuple[int, ...] = SIZES
    warned_suffices: bool = False

    @property
    def name(self) -> str:
        return f"{self.population.name}: {self.observation}"


# Errors


def equal(level: float, draw: Draw) -> Observed:
    err = np.full(draw.n, level * draw.unit)
    return Observed(draw.true_values() + draw.noise(err), err)


def lognormal(median: float, draw: Draw) -> Observed:
    err = median * draw.unit * np.exp(0.5 * draw.normal())
    return Observed(draw.true_values() + draw.noise(err), err)


def log_uniform(low: float, high: float, draw: Draw) -> Observed:
    """Exponents of ten between two bounds."""
    err = draw.unit * 10.0 ** (low + (high - low) * draw.uniform())
    return Observed(draw.true_values() + draw.noise(err), err)


def some_zero(n_zero: int | float, draw: Draw) -> Observed:
    """A number of exact rows, or a share of them if it is a fraction."""
    err = np.full(draw.n, REGULAR * draw.unit)
    count = n_zero if isinstance(n_zero, int) else round(n_zero * draw.n)
    err[np.argsort(draw.uniform())[:count]] = 0.0
    return Observed(draw.true_values() + draw.noise(err), err)


def all_zero(draw: Draw) -> Observed:
    return Observed(draw.true_values(), np.zeros(draw.n))


# Rounding


def to_step(values: Array, step: float) -> Array:
    """Multiples of a step, as the doubles that a catalog in decimals would give."""
    return np.round(np.round(values / step) * step, 12)


def to_digits(values: Array, digits: int) -> Array:
    """Significant digits."""
    return np.array([float(f"{value:.{digits - 1}e}") for value in values])


def rounded(step: float, draw: Draw) -> Observed:
    return Observed(to_step(draw.true_values(), step * draw.unit), None)


def rounded_with_errors(step: float, level: float, draw: Draw) -> Observed:
    """Measured with errors of a part of the step, then rounded."""
    err = np.full(draw.n, level * step * draw.unit)
    return Observed(to_step(draw.true_values() + draw.noise(err), step * draw.unit), err)


def rounded_with_floor(step: float, draw: Draw) -> Observed:
    """Exact, then rounded, and given the standard deviation of rounding as errors."""
    err = np.full(draw.n, step * draw.unit / math.sqrt(12.0))
    return Observed(to_step(draw.true_values(), step * draw.unit), err)


def log10_of_whole(draw: Draw) -> Observed:
    """log10 of numbers of some 30 that were rounded to whole ones."""
    shift, scale = 1.5, 0.4 / draw.unit
    whole = np.maximum(np.round(10.0 ** (shift + scale * draw.true_values())), 1.0)
    return Observed(np.log10(whole), None, shift=shift, scale=scale)


def two_digits(shift: float, scale: float, draw: Draw) -> Observed:
    return Observed(to_digits(shift + scale * draw.true_values(), 2), None, shift=shift, scale=scale)


def mixed_precision(level: float, draw: Draw) -> Observed:
    """70 % in steps of .1, the rest of .001; with errors of so many coarse steps."""
    err = np.full(draw.n, level * 0.1 * draw.unit)
    values = draw.true_values() + draw.noise(err)
    coarse = draw.uniform() < 0.7
    x = np.where(coarse, to_step(values, 0.1 * draw.unit), to_step(values, 0.001 * draw.unit))
    return Observed(x, err if level else None)


def two_steps(share: float, coarse: float, fine: float, draw: Draw) -> Observed:
    """This share in coarse steps, the rest in fine ones, which need not divide them."""
    values = draw.true_values()
    rounded_far = draw.uniform() < share
    return Observed(np.where(rounded_far, to_step(values, coarse * draw.unit), to_step(values, fine * draw.unit)), None)


def whole_numbers(draw: Draw) -> Observed:
    """Whole numbers, four to the width, with errors of .3."""
    scale = 4.0 / draw.unit
    x = np.round(20.0 + scale * draw.true_values())
    return Observed(x, np.full(draw.n, 0.3), shift=20.0, scale=scale)


def counts_as_they_are(draw: Draw) -> Observed:
    return Observed(draw.true_values(), np.full(draw.n, 0.3))


def counts_blurred(draw: Draw) -> Observed:
    """The same counts under regular errors."""
    err = np.full(draw.n, REGULAR * draw.unit)
    return Observed(draw.true_values() + draw.noise(err), err)


# Weights


def importance_lognormal(factor: float, draw: Draw) -> Observed:
    """Weights that have nothing to do with the values."""
    regular = equal(REGULAR, draw)
    return Observed(regular.x, regular.err, factor * np.exp(0.7 * draw.normal()), "importance")


def importance_selection(factor: float, draw: Draw) -> Observed:
    """Weights that undo a selection by the true value."""
    candidates = draw.true_values(8 * draw.n)
    probability = 0.1 + 0.9 * ndtr(candidates / draw.unit)
    chosen = np.flatnonzero(draw.rng(5).random(candidates.size) < probability)[: draw.n]
    if chosen.size < draw.n:
        raise RuntimeError("too few candidates")
    err = np.full(draw.n, REGULAR * draw.unit)
    return Observed(candidates[chosen] + draw.noise(err), err, factor / probability[chosen], "importance")


def counts_as_weights(step: float, draw: Draw) -> Observed:
    """Rounded values, each once, with the number of its rows."""
    x, counts = np.unique(to_step(draw.true_values(), step * draw.unit), return_counts=True)
    return Observed(x, None, counts.astype(float), "counts")


def each_row_twice(draw: Draw) -> Observed:
    half = Draw(draw.population, draw.n // 2, draw.sample)
    regular = equal(REGULAR, half)
    return Observed(np.repeat(regular.x, 2), np.repeat(regular.err, 2))


# Table

ONE = Population("one", (1.0,), (0.0,), (1.0,))
SEPARATED = Population("separated", (0.6, 0.4), (0.0, 4.0), (1.0, 1.0))
OVERLAPPING = Population("overlapping", (0.5, 0.5), (0.0, 2.5), (1.0, 0.5))
NARROW = Population("narrow", (1.0, math.nan), (0.0, 0.5), (1.0, 0.01))


def _poisson(mean: float) -> Population:
    return Population(
        f"Poisson {mean:g}",
        (1.0,),
        (mean,),
        (math.sqrt(mean),),
        lambda rng, n: rng.poisson(mean, n).astype(float),
    )


_ERRORS: list[tuple[str, Callable[[Draw], Observed]]] = [
    ("errors lognormal, median .3", partial(lognormal, REGULAR)),
    ("errors 1e-8..1", partial(log_uniform, -8.0, 0.0)),
    ("errors 1e-7..1e-1", partial(log_uniform, -7.0, -1.0)),
    ("10 % exact among .3", partial(some_zero, 0.1)),
    ("1 row exact among .3", partial(some_zero, 1)),
    ("4 rows exact among .3", partial(some_zero, 4)),
    ("all exact", all_zero),
    ("errors 1e-6", partial(equal, 1e-6)),
]
_ROUNDED: list[tuple[str, Callable[[Draw], Observed]]] = [
    (f"step {step:g}{suffix}", make(step))
    for suffix, make in (
        ("", lambda step: partial(rounded, step)),
        (", errors step / 10", lambda step: partial(rounded_with_errors, step, 0.1)),
        (", errors step / sqrt 12", lambda step: partial(rounded_with_floor, step)),
    )
    for step in STEPS
]
_DIGITS: list[tuple[str, Callable[[Draw], Observed]]] = [
    ("log10 of whole numbers", log10_of_whole),
    ("two significant digits", partial(two_digits, 0.0, 1.0)),
    ("two significant digits about 10", partial(two_digits, 10.0, 2.0)),
    ("half in .25, half in .1", partial(two_steps, 0.5, 0.25, 0.1)),
    ("20 % in .5, 80 % in .01", partial(two_steps, 0.2, 0.5, 0.01)),
    ("20 % in 1, 80 % in .1", partial(two_steps, 0.2, 1.0, 0.1)),
    ("30 % in thirds, 70 % in .1", partial(two_steps, 0.3, 1.0 / 3.0, 0.1)),
    ("70 % in .1, 30 % in .001", partial(mixed_precision, 0.0)),
    ("70 % in .1, 30 % in .001, errors .01", partial(mixed_precision, 0.1)),
    ("whole numbers, width 4, errors .3", whole_numbers),
]
_WEIGHTS: list[tuple[str, Callable[[Draw], Observed]]] = [
    ("importance weights, lognormal", partial(importance_lognormal, 1.0)),
    ("importance weights, lognormal, / 1000", partial(importance_lognormal, 1e-3)),
    ("importance weights, 1 / selection", partial(importance_selection, 1.0)),
    ("importance weights, 1 / selection, / 1000", partial(importance_selection, 1e-3)),
    ("step .1, counts as weights", partial(counts_as_weights, 0.1)),
]
_REGULAR = ("regular errors", partial(equal, REGULAR))
# Two populations: fewer kinds and sizes, since each is one of those above.
_TWO_SIZES = (100, 300, 1000, 10_000, 100_000)
_TWO = [
    *_ERRORS,
    *(line for line in _ROUNDED if line[0].split(",")[0] in ("step 0.01", "step 0.1", "step 0.25", "step 0.5")),
]


def conditions() -> list[Condition]:
    """All lines; the first line of a population, under regular errors, is what the others are compared with."""
    found = [Condition("one", ONE, *line) for line in (_REGULAR, *_ERRORS, *_ROUNDED, *_DIGITS, *_WEIGHTS)]
    found.append(Condition("one", ONE, "each row twice", each_row_twice, SIZES, warned_suffices=True))
    for mean, sizes in ((100.0, (30, 60, 100, 300, 1000)), (10.0, (30, 60, 100, 300))):
        population = _poisson(mean)
        found.append(Condition("one", population, _REGULAR[0], counts_blurred, sizes))
        found.append(Condition("one", population, "errors .3", counts_as_they_are, sizes))
    for population in (SEPARATED, OVERLAPPING, NARROW):
        found += [Condition("two", population, *line, _TWO_SIZES) for line in (_REGULAR, *_TWO)]
        if population is not NARROW:
            found += [Condition("two", population, *line, _TWO_SIZES) for line in (*_DIGITS[-3:], *_WEIGHTS)]
    return found
