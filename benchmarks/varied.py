"""A thousand varied problems against an independent optimiser.

``python -m benchmarks varied`` fits each by `fit_mixture` and by `choose_n_components`, recomputes the log-likelihoods,
and compares them with the best admissible maximum that the optimiser of `benchmarks.optimiser` finds, under the same
floor on the sigmas. A problem is remade from its number: ``python -m benchmarks.varied --first 40 --problems 1``.
"""

from __future__ import annotations

import argparse
import csv
import math
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import softmax

import mixpipe
from benchmarks.conditions import to_digits, to_step
from benchmarks.optimiser import (
    MIN_ROWS,
    Intervals,
    Maximum,
    Rows,
    loglik,
    maximise,
    polished,
    remaining,
    scaled_point,
    size_of_terms,
)

TITLE = "A thousand varied problems"
N_PROBLEMS, N_STARTS = 1000, 40
# Nats: a fit within this of the best admissible maximum has arrived; two routes to one fit are as close as this.
ARRIVED = 0.01
SAME = 1e-3
# Relative to the sum of the absolute terms.
EXACT = 1e-9
STANDARD = 0.995
# A second derivative above this, where one of -1 belongs to a parameter that the data determine, is no maximum.
CURVED = 1e-3

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class Problem:
    """A column, the number of components to fit, and what it is like."""

    x: Array
    err: Array | None
    counts: Array | None
    n_components: int
    description: str


def _errors(kind: str, rng: np.random.Generator, width: float, z: Array) -> Array:
    """Errors in the unit of the widths."""
    n = z.size
    level = width * math.exp(rng.uniform(math.log(0.03), math.log(1.0)))
    match kind:
        case "equal":
            return np.full(n, level)
        case "lognormal":
            return level * np.exp(0.5 * rng.standard_normal(n))
        case "log-uniform":
            low = rng.uniform(-8.0, -2.0)
            return width * 10.0 ** rng.uniform(low, 0.0, n)
        case "large":
            return width * np.exp(rng.uniform(math.log(0.5), math.log(4.0), n))
        case "tiny":
            return np.full(n, width * 10.0 ** rng.uniform(-9.0, -3.0))
        case "two kinds":
            return np.where(rng.random(n) < rng.uniform(0.1, 0.9), 0.003 * width, 0.5 * width)
        case "proportional":
            return 0.02 * width + rng.uniform(0.02, 0.3) * np.abs(z)
        case "some exact":
            err = np.full(n, level)
            err[rng.choice(n, min(n, int(rng.integers(1, 6))), replace=False)] = 0.0
            return err
        case "many exact":
            return np.where(rng.random(n) < rng.uniform(0.05, 0.8), 0.0, level)
        case "exact":
            return np.zeros(n)
    raise ValueError(kind)


ERRORS = (
    "equal",
    "lognormal",
    "log-uniform",
    "large",
    "tiny",
    "two kinds",
    "proportional",
    "some exact",
    "many exact",
    "exact",
)
TIES = ("none", "none", "none", "none", "steps", "steps", "digits", "repeated", "few values", "mixed steps")
OUTLIERS = ("none", "none", "none", "none", "near", "one far", "Cauchy", "both sides")
OFFSETS = (0.0, 0.0, 0.0, 0.0, 2459000.5, -1e4)
SCALES = (1.0, 1.0, 1.0, 1e-12, 1e-6, 1e-3, 1e3, 1e6, 1e12)


def varied_problem(index: int) -> Problem:
    """Problem by number: each of its traits is drawn by itself, and the kinds of errors follow each other."""
    rng = np.random.default_rng([40, index])
    n = round(math.exp(rng.uniform(math.log(5.0), math.log(5000.0))))
    m = int(rng.integers(1, 7))
    weights = rng.dirichlet(np.full(m, rng.choice([1.0, 3.0])))
    sigmas = np.exp(rng.uniform(math.log(0.2), math.log(2.0), m))
    if rng.random() < 0.15:
        sigmas[rng.integers(m)] = 10.0 ** rng.uniform(-3.0, -1.0)
    if rng.random() < 0.1:
        sigmas[:] = 0.0
    means = np.cumsum(rng.uniform(0.0, rng.choice([1.5, 4.0, 8.0]), m))
    component = rng.choice(m, n, p=weights)
    z = means[component] + sigmas[component] * rng.standard_normal(n)

    outliers = str(rng.choice(OUTLIERS))
    few = rng.choice(n, max(1, n // 100), replace=False)
    if outliers == "near":
        z[few] += rng.choice([-1.0, 1.0], few.size) * rng.uniform(5.0, 30.0, few.size)
    elif outliers == "one far":
        z[few[0]] += 10.0 ** rng.uniform(2.0, 6.0)
    elif outliers == "both sides":
        z[few] += 10.0 ** rng.uniform(1.0, 4.0, few.size) * rng.choice([-1.0, 1.0], few.size)
    elif outliers == "Cauchy":
        z += 0.1 * rng.standard_cauchy(n)

    kind = ERRORS[index % len(ERRORS)]
    width = float(np.median(sigmas)) or 1.0
    err = _errors(kind, rng, width, z)
    x = z + err * rng.standard_normal(n)

    ties = str(rng.choice(TIES))
    step = float(rng.choice([0.01, 0.05, 0.1, 0.25, 0.5]))
    if ties == "steps":
        x = to_step(x, step)
    elif ties == "digits":
        x = to_digits(x, 2)
    elif ties == "few values":
        x = to_step(x, float(np.ptp(x) or 1.0) / int(rng.integers(2, 12)))
    elif ties == "mixed steps":
        x = np.where(rng.random(n) < 0.7, to_step(x, step), to_step(x, 0.01 * step))
    elif ties == "repeated":
        again = rng.choice(n, n // 5, replace=False)
        source = rng.choice(n, n // 5)
        x[again], err[again] = x[source], err[source]

    counts = rng.integers(1, 4, n).astype(float) if rng.random() < 0.08 else None
    offset, scale = float(rng.choice(OFFSETS)), float(rng.choice(SCALES))
    x, err = scale * (x + offset), scale * err
    n_components = int(np.clip(m + rng.choice([-1, 0, 0, 0, 1]), 1, min(6, max(1, n // 3))))
    description = f"N {n}, M {m}, errors {kind}, ties {ties}, outliers {outliers}, offset {offset:g}, scale {scale:g}"
    description += "" if counts is None else ", counts"
    return Problem(x, None if kind == "exact" and index % 20 < 10 else err, counts, n_components, description)


@dataclass(frozen=True)
class Verdict:
    """What was found for one problem; log-likelihoods are recomputed ones.

    Parameters
    ----------
    problem, n_data, n_components : int
    floor : float
        Of the fit.
    intervals : bool
        Whether the fit is that of the intervals from which the values were rounded; the optimiser takes the same.
    fitted, chosen : float
        Log-likelihoods of `fit_mixture` and of `choose_n_components`; nan for the latter if only one of them has taken
        intervals.
    best : float
        The highest admissible maximum that is known, or the highest of all if none is admissible.
    any_best : float
        The highest of all.
    gap, gap_chosen : float
        Nats by which the two lie below `best`.
    misstated : float
        Largest difference of a reported log-likelihood from the recomputed one, relative to the sum of the absolute
        terms.
    rows : float
        Fewest effective rows of a component of the fit, and in `rows_best` of the best.
    price : float
        Nats that components of the fit on less than three effective rows have to gain by the rule of the method.
    admissible : bool
        Whether an admissible maximum is known.
    curved : float
        Largest second derivative at the best admissible maximum, which has none above zero.
    moved : float
        Nats that the optimiser gains from the fit itself.
    error : str
        What was raised, if anything.
    """

    problem: int
    n_data: int
    n_components: int
    description: str
    floor: float = math.nan
    floor_chosen: float = math.nan
    intervals: bool = False
    fitted: float = math.nan
    chosen: float = math.nan
    best: float = math.nan
    any_best: float = math.nan
    gap: float = math.nan
    gap_chosen: float = math.nan
    misstated: float = math.nan
    rows: float = math.nan
    rows_best: float = math.nan
    price: float = math.nan
    admissible: bool = False
    curved: float = math.nan
    moved: float = math.nan
    converged: bool = False
    warned: bool = False
    seconds: float = math.nan
    seconds_chosen: float = math.nan
    seconds_optimiser: float = math.nan
    error: str = ""

    @property
    def outcome(self) -> str:
        """What became of `fit_mixture`.

        ``arrived``: at the best admissible maximum, or none is known. ``outlier``: above it, with a component on less
        than three rows that gains more than twice its price in BIC. ``spike``: with one that gains less. ``short``: any
        other.
        """
        if self.error:
            return "error"
        if not self.admissible:
            return "arrived"
        if self.rows < MIN_ROWS:
            return "outlier" if -self.gap > 3.0 * math.log(self.n_data) else "spike"
        return "arrived" if self.gap <= ARRIVED else "short"

    @property
    def pays(self) -> bool:
        """Whether a spike is right by the rule of the method: worth its Occam factor."""
        return self.outcome == "spike" and -self.gap > self.price - ARRIVED

    @property
    def agrees(self) -> bool:
        return math.isnan(self.chosen) or abs(self.fitted - self.chosen) <= SAME + 1e-11 * abs(self.fitted)


def _parts(mixture: Any) -> tuple[Array, Array, Array]:
    return np.asarray(mixture.weights), np.asarray(mixture.means), np.asarray(mixture.sigmas)


def judge(index: int, n_starts: int = N_STARTS) -> Verdict:
    """Fit one problem in all ways."""
    problem = varied_problem(index)
    m = problem.n_components
    known: dict[str, Any] = {
        "problem": index,
        "n_data": problem.x.size,
        "n_components": m,
        "description": problem.description,
    }
    options = {} if problem.counts is None else {"weights": problem.counts}
    try:
        begun = time.process_time()
        fit = mixpipe.fit_mixture(problem.x, problem.err, m, n_threads=1, **options)
        known["seconds"] = time.process_time() - begun
        begun = time.process_time()
        selection = mixpipe.choose_n_components(problem.x, problem.err, max_components=m + 1, n_threads=1, **options)
        known["seconds_chosen"] = time.process_time() - begun
        other = next((item for item in selection.fits if item.n_components == m), None)
        if other is None:
            return Verdict(**known, error="choose_n_components has no fit with this M")
    except Exception as error:  # Whatever is raised is the finding.
        return Verdict(**known, error=f"{type(error).__name__}: {error}")
    # Each route says whether it took the values or the intervals from which they were rounded.
    columns = [_data(problem, item) for item in (fit, other)]
    data, floor = columns[0], fit.sigma_floor
    if isinstance(data, Rows) and floor <= 0.0 and np.any(data.e2 == 0.0):
        return Verdict(**{**known, "error": f"sigma_floor {floor:g} with rows of error 0"})

    both = [_parts(item.mixture) for item in (fit, other)]
    own = [loglik(own_data, *parts) for own_data, parts in zip(columns, both, strict=True)]
    misstated = max(
        abs(item.loglik - value) / size_of_terms(own_data, *parts)
        for item, value, own_data, parts in zip((fit, other), own, columns, both, strict=True)
    )
    alike = type(columns[0]) is type(columns[1])
    begun = time.process_time()
    maxima = maximise(
        data,
        m,
        floor,
        n_starts=n_starts,
        seed=(1, index),
        known=both,
    )
    known["seconds_optimiser"] = time.process_time() - begun
    # Where the log-likelihood still rises is no maximum.
    found, curved = _best_admissible(data, maxima, floor)
    rows = _effective_rows(data, fit.mixture)
    # An admissible fit may itself be the best that is known.
    top = max(found.loglik, own[0]) if float(rows.min()) >= MIN_ROWS and found.admissible else found.loglik
    return Verdict(
        **known,
        floor=floor,
        floor_chosen=other.sigma_floor,
        intervals=isinstance(data, Intervals),
        fitted=own[0],
        chosen=own[1] if alike else math.nan,
        best=top,
        any_best=max(maxima[0].loglik, own[0]),
        gap=top - own[0],
        gap_chosen=top - own[1] if alike else math.nan,
        misstated=misstated,
        rows=float(rows.min()),
        rows_best=float(found.n_rows.min()),
        price=_price(data, fit.mixture),
        admissible=found.admissible,
        curved=curved,
        moved=_moved(data, fit, floor, own[0]),
        converged=bool(fit.converged),
        warned=bool(fit.warnings),
    )


def _data(problem: Problem, fit: Any) -> Rows | Intervals:
    """The data of the likelihood that a fit says it has: the values, or the intervals that were found for them."""
    if fit.resolution.cause != "rounding":
        return Rows(problem.x, problem.err, problem.counts)
    cells = mixpipe.Cells.from_rows(problem.x, problem.err, problem.counts).rounded()
    return Intervals(*cells.edges.T, cells.err, cells.weights)


def _best_admissible(data: Rows | Intervals, maxima: list[Maximum], floor: float) -> tuple[Maximum, float]:
    """The highest admissible maximum and its curvature, or the highest of all."""
    for item in maxima:
        if item.admissible and (curved := remaining(data, item, floor)) < CURVED:
            return item, curved
    return maxima[0], math.nan


def _effective_rows(data: Rows | Intervals, mixture: Any) -> Array:
    weights, means, sigmas = _parts(mixture)
    return data.effective_rows(weights, (means - data.shift) / data.scale, (sigmas / data.scale) ** 2)


def _price(data: Rows | Intervals, mixture: Any) -> float:
    """For each component on less than three rows, ln(R^2 / T) and what BIC takes for three parameters."""
    weights, means, sigmas = _parts(mixture)
    variances = (sigmas / data.scale) ** 2
    few = data.effective_rows(weights, (means - data.shift) / data.scale, variances) < MIN_ROWS
    share = data.counts / data.n
    spread = float(share @ ((data.z - share @ data.z) ** 2 + data.e2))
    terms = data.log_terms(weights, (means - data.shift) / data.scale, variances)
    total = variances[:, None] + data.e2
    a = data.counts * softmax(terms, axis=0) / total
    typical = (a * total).sum(axis=1) / a.sum(axis=1)
    with np.errstate(divide="ignore"):
        nats = np.maximum(np.log(spread / typical), 0.0) + 1.5 * math.log(data.n)
    return float(nats[few].sum())


def _moved(data: Rows | Intervals, fit: Any, floor: float, own: float) -> float:
    """Nats that a local climb gains from the fit."""
    _, value = polished(data, scaled_point(data, *_parts(fit.mixture), floor), floor / data.scale)
    return value + data.constant - own


def _judged(n_starts: int, index: int) -> Verdict:
    return judge(index, n_starts)


def study(indices: Iterable[int], jobs: int, n_starts: int) -> Iterator[Verdict]:
    """Verdicts in order."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(partial(_judged, n_starts), indices)


def summary(verdicts: list[Verdict]) -> list[str]:
    """Counts in sentences."""
    fine = [verdict for verdict in verdicts if not verdict.error]
    n = len(verdicts)
    exact = sum(verdict.misstated <= EXACT for verdict in fine)
    outcomes = Counter(verdict.outcome for verdict in verdicts)
    right = outcomes["arrived"] + outcomes["outlier"]
    reached = sum(not verdict.admissible or verdict.gap <= ARRIVED for verdict in fine)
    silent = sum(verdict.outcome == "spike" and not verdict.warned for verdict in fine)
    both = [verdict for verdict in fine if not math.isnan(verdict.chosen)]
    same = sum(verdict.agrees for verdict in both)
    floors = sum(verdict.floor == verdict.floor_chosen for verdict in both)
    intervals = sum(verdict.intervals for verdict in fine)
    climbing = [verdict for verdict in fine if verdict.moved > ARRIVED]
    return [
        f"{n} problems, of which {outcomes['error']} raised or could not be compared",
        f"{exact} of {len(fine)} log-likelihoods equal to {EXACT:g} relative",
        f"{reached} of {n} fits no more than {ARRIVED:g} nats below the best admissible maximum "
        f"({100 * reached / n:.1f} %)",
        f"{right} of {n} fits within {ARRIVED:g} nats of the best admissible maximum, or above it by an outlier's "
        f"component that gains 3 ln N nats ({100 * right / n:.1f} %; the standard is {100 * STANDARD:g} %)",
        f"{outcomes['spike']} above it with a component on less than three effective rows that gains less, {silent} of "
        f"them without a warning; {sum(verdict.pays for verdict in fine)} of them are right by the rule of the method, "
        "with which the share is "
        f"{100 * (right + sum(verdict.pays for verdict in fine)) / n:.1f} %",
        f"{outcomes['short']} fall short",
        f"{intervals} fits of the intervals from which values were rounded",
        f"{same} of {len(both)} with one log-likelihood by both routes (to {SAME:g}), {floors} with one floor; "
        f"{len(fine) - len(both)} others took the values by one route and the intervals by the other",
        f"{len(climbing)} fits climb by more than {ARRIVED:g} nats, {sum(item.converged for item in climbing)} of them "
        "said to be converged",
    ]


def measure(n_problems: int = N_PROBLEMS, jobs: int | None = None) -> dict[str, list[str]]:
    """The summary, and lines on the problems that fall short."""
    verdicts = []
    for verdict in study(range(n_problems), jobs or os.cpu_count() or 1, N_STARTS):
        verdicts.append(verdict)
        if told := _told(verdict):
            print(told, flush=True)
    return {"summary": summary(verdicts), "short": [told for verdict in verdicts if (told := _told(verdict))]}


def page(result: dict[str, list[str]]) -> str:
    """Markdown."""
    blocks = [
        "Columns of 5 to 5000 rows with one to six populations, ten kinds of errors, ties, outliers, offsets and "
        "scales. The number of components of the fit is the true one, or one more or less.",
        "\n".join(f"- {line}" for line in result["summary"]),
    ]
    if result["short"]:
        blocks += ["Those that fall short:", "\n".join(f"- {line}" for line in result["short"])]
    return "\n\n".join(blocks)


def _told(verdict: Verdict) -> str:
    """A line on a problem that falls short; empty for the others."""
    faults = []
    if verdict.error:
        faults.append(verdict.error)
    else:
        if verdict.outcome not in ("arrived", "outlier"):
            silent = "" if verdict.warned else ", not warned of"
            faults.append(f"{verdict.outcome}{silent}, gap {verdict.gap:.4g}, rests on {verdict.rows:.2f} rows")
        if verdict.misstated > EXACT:
            faults.append(f"misstated by {verdict.misstated:.2g}")
        if not verdict.agrees:
            faults.append(f"fit_mixture - choose_n_components = {verdict.fitted - verdict.chosen:.4g}")
        if verdict.floor != verdict.floor_chosen and not math.isnan(verdict.chosen):
            faults.append(f"floors {verdict.floor:.6g}, {verdict.floor_chosen:.6g}")
        if verdict.moved > ARRIVED:
            faults.append(f"climbs by {verdict.moved:.4g}")
    if not faults:
        return ""
    return f"{verdict.problem}: M = {verdict.n_components}; {'; '.join(faults)} [{verdict.description}]"


def write(verdicts: list[Verdict], path: Path) -> None:
    """All verdicts as CSV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*(item.name for item in fields(Verdict)), "outcome"], lineterminator="\n")
        writer.writeheader()
        writer.writerows({**asdict(verdict), "outcome": verdict.outcome} for verdict in verdicts)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.varied", description=__doc__.splitlines()[0])
    parser.add_argument("--problems", type=int, default=N_PROBLEMS, help="how many (%(default)s)")
    parser.add_argument("--first", type=int, default=0, help="number of the first (%(default)s)")
    parser.add_argument("--starts", type=int, default=N_STARTS, help="random starts of the optimiser (%(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("."), metavar="FOLDER", help="for varied.csv")
    args = parser.parse_args()
    begun = time.perf_counter()
    verdicts = []
    for verdict in study(range(args.first, args.first + args.problems), args.jobs, args.starts):
        verdicts.append(verdict)
        if told := _told(verdict):
            print(told, flush=True)
        if len(verdicts) % 20 == 0:
            write(verdicts, args.out / "varied.csv")
    write(verdicts, args.out / "varied.csv")
    print("\n".join([*summary(verdicts), f"{time.perf_counter() - begun:.0f} s"]))
    right = np.mean([verdict.outcome in ("arrived", "outlier") for verdict in verdicts])
    sys.exit(0 if right >= STANDARD else 1)


if __name__ == "__main__":
    main()
