"""Populations from nothing: does the choice describe the sky, or the grain of the data?

``python -m benchmarks.resolution [--samples 200] [--lines PATTERN] [--jobs 2] [--out FOLDER]`` prints one line for each
condition and number of rows, and writes resolution.json and resolution.csv. PATTERN is a regular expression that is
searched in ``group population: observation N=rows``.
"""

from __future__ import annotations

import argparse
import csv
import inspect
import json
import math
import multiprocessing
import os
import re
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict, dataclass, fields
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import kstest

import mixpipe
from benchmarks.conditions import BIN_WIDTHS, Condition, Draw, Observed, Population, conditions, to_step
from benchmarks.measure import table
from benchmarks.optimiser import Bins, Rows, loglik, maximise
from mixpipe.assess.simulation import quality_pvalues

TITLE = "Populations from nothing"
N_SAMPLES = 200
# Standards: shares of one population, points that two populations may lose to regular errors, significance.
RIGHT = 0.97
LOSS = 0.02
SIGNIFICANT = 0.01
# From this number of rows on one population has to be one population; below, as often as under regular errors.
MANY = 100
# Samples at large numbers of rows, as a part of those asked for, and of two populations.
PARTS = {1000: 0.5, 10_000: 0.25, 100_000: 0.1}
TWO_PART = 0.5
MAX_COMPONENTS = {30: 4, 60: 4, 100: 4, 300: 4}
# Samples in one task of a process.
CHUNK = 20


@dataclass(frozen=True)
class Line:
    """What was found for one condition and number of rows.

    Parameters
    ----------
    group, name : str
    n_data, n_samples : int
    right : float
        Share of samples with the number of components that generated them.
    reference : float
        The same under regular errors.
    true_components : float
        Share of samples whose fit, with that number, has the components that generated them.
    n_chosen : tuple of int
        Samples with 1, 2, ... components chosen.
    warned : float
        Share with a warning.
    seconds : float
        Mean processor time of a sample.
    note : str
        More, by kind of the line.
    passed : bool
    """

    group: str
    name: str
    n_data: int
    n_samples: int
    right: float
    reference: float
    true_components: float
    n_chosen: tuple[int, ...]
    warned: float
    seconds: float
    note: str
    passed: bool


# Choices


@dataclass(frozen=True)
class Choice:
    """The outcome of one sample."""

    n_components: int
    true_components: bool
    warnings: tuple[str, ...]
    seconds: float


def _options(function: Any, **wanted: Any) -> dict[str, Any]:
    """Those options that a function knows."""
    known = inspect.signature(function).parameters
    return {name: value for name, value in wanted.items() if name in known and value is not None}


def has_components(population: Population, observed: Observed, n: int, mixture: Any) -> bool:
    """Whether each true component has one of the fit near it: a loose rule, which grains of the data fail."""
    shares = population.shares(n)
    means = observed.shift + observed.scale * np.array(population.means)
    sigmas = observed.scale * np.array(population.sigmas)
    near = 0.5 * sigmas + 4.0 * sigmas / np.sqrt(np.maximum(shares * n, 1.0))

    def alike(order: tuple[int, ...]) -> bool:
        fitted = [np.asarray(getattr(mixture, part))[list(order)] for part in ("weights", "means", "sigmas")]
        return bool(
            np.all(np.abs(fitted[1] - means) < near)
            and np.all(fitted[2] < 3.0 * sigmas)
            and np.all(np.abs(np.log(np.maximum(fitted[0], 1e-9) / shares)) < math.log(3.0))
        )

    return mixture.n_components == shares.size and any(map(alike, permutations(range(shares.size))))


def choose(condition: Condition, n: int, sample: int) -> Choice:
    """The choice for one sample."""
    observed = condition.observe(Draw(condition.population, n, sample))
    begun = time.process_time()
    selection = mixpipe.choose_n_components(
        observed.x,
        observed.err,
        weights=observed.weights,
        max_components=MAX_COMPONENTS.get(n, 5),
        n_threads=1,
        **_options(mixpipe.choose_n_components, weight_kind=observed.weight_kind),
    )
    seconds = time.process_time() - begun
    best = selection.best
    alike = has_components(condition.population, observed, n, best.mixture)
    return Choice(best.n_components, alike, tuple(best.warnings), seconds)


def _choices(index: int, n: int, samples: range) -> list[Choice]:
    condition = conditions()[index]
    return [choose(condition, n, sample) for sample in samples]


def _line(condition: Condition, n: int, found: list[Choice], reference: float) -> Line:
    right_m = condition.population.n_components
    warned = [bool(choice.warnings) for choice in found]
    repeats = [any("repeat" in text for text in choice.warnings) for choice in found]
    right = [
        choice.n_components == right_m or (condition.warned_suffices and repeat)
        for choice, repeat in zip(found, repeats, strict=True)
    ]
    share = float(np.mean(right))
    true_components = float(np.mean([choice.true_components for choice in found]))
    reference = share if math.isnan(reference) else reference
    least = RIGHT if right_m == 1 and n >= MANY else reference - LOSS
    counts = np.bincount([choice.n_components for choice in found], minlength=6)[1:]
    return Line(
        condition.group,
        condition.name,
        n,
        len(found),
        share,
        reference,
        true_components,
        tuple(counts.tolist()),
        float(np.mean(warned)),
        float(np.mean([choice.seconds for choice in found])),
        "",
        share >= least - 1e-9,
    )


# Histograms


@dataclass(frozen=True)
class BinnedChoice:
    """A histogram fitted by mixpipe and by the exact likelihood.

    Parameters
    ----------
    n_components, n_exact : int
        Chosen by mixpipe and by BIC of the exact likelihood.
    gap : float
        Nats by which mixpipe's best fit lies below the exact maximum with as many components.
    misstated : float
        Difference of its log-likelihood from that of its parameters.
    distance : float
        Largest difference of a mean or a sigma, in units of the sigma; nan where the parameters are not determined.
    """

    n_components: int
    n_exact: int
    gap: float
    misstated: float
    distance: float
    seconds: float


BINNED = (
    Population("histogram of one", (1.0,), (0.2,), (1.0,)),
    Population("histogram of two", (0.6, 0.4), (0.0, 4.0), (1.0, 0.7)),
)
BINNED_SIZES = (300, 10_000)
# Histograms take this part of the samples.
BINNED_PART = 0.05


def choose_binned(population: Population, width: float, n: int, sample: int) -> BinnedChoice:
    """The choice for one histogram."""
    draw = Draw(population, n, sample)
    x = draw.true_values()
    # The bins begin somewhere else in each sample.
    offset = float(draw.rng(5).random())
    first, last = math.floor(x.min() / width - offset), math.ceil(x.max() / width - offset)
    edges = width * (offset + np.arange(first, last + 1))
    counts, edges = np.histogram(x, edges)
    begun = time.process_time()
    cells = mixpipe.Cells.from_histogram(edges, counts)
    selection = mixpipe.choose_n_components(cells, max_components=3, n_threads=1)
    seconds = time.process_time() - begun
    data = Bins(edges, counts)
    exact = [maximise(data, m, n_starts=16, seed=(n, sample))[0] for m in (1, 2, 3)]
    n_exact = 1 + int(np.argmin([(3 * m - 1) * math.log(n) - 2.0 * exact[m - 1].loglik for m in (1, 2, 3)]))
    fit = selection.best
    m = fit.n_components
    order = np.argsort(fit.mixture.means)
    own = loglik(data, *(np.asarray(getattr(fit.mixture, part)) for part in ("weights", "means", "sigmas")))
    distance = math.nan
    if m == n_exact and np.count_nonzero(counts) > 3 * m + 1:
        best = exact[m - 1]
        away = [np.asarray(getattr(fit.mixture, part))[order] - getattr(best, part) for part in ("means", "sigmas")]
        distance = float(np.max(np.abs(away) / best.sigmas))
    return BinnedChoice(m, n_exact, exact[m - 1].loglik - own, fit.loglik - own, distance, seconds)


def _binned(index: int, width: float, n: int, samples: range) -> list[BinnedChoice]:
    return [choose_binned(BINNED[index], width, n, sample) for sample in samples]


def _binned_line(population: Population, width: float, n: int, found: list[BinnedChoice]) -> Line:
    same = float(np.mean([choice.n_components == choice.n_exact for choice in found]))
    exact = float(np.mean([choice.n_exact == population.n_components for choice in found]))
    gap = max(choice.gap for choice in found)
    misstated = max(abs(choice.misstated) for choice in found)
    distances = [choice.distance for choice in found if not math.isnan(choice.distance)]
    distance = max(distances, default=math.nan)
    close = [choice.gap < 0.01 and abs(choice.misstated) < 1e-6 * n for choice in found]
    counts = np.bincount([choice.n_components for choice in found], minlength=6)[1:]
    return Line(
        "histogram",
        f"{population.name}: bins of {width:g}",
        n,
        len(found),
        float(np.mean([choice.n_components == population.n_components for choice in found])),
        exact,
        float(np.mean(close)),
        tuple(counts.tolist()),
        0.0,
        float(np.mean([choice.seconds for choice in found])),
        f"M of the exact likelihood in {100 * same:.0f} %; largest gap {gap:.2g} nats, misstatement {misstated:.2g}, "
        f"distance {distance:.2g} sigma",
        same == 1.0 and all(close) and not distance > 0.01,
    )


# Choices of the exact likelihood


@dataclass(frozen=True)
class ExactChoice:
    """The choice of mixpipe, and that of BIC at the highest maxima that an independent optimiser reaches.

    Parameters
    ----------
    n_components, n_exact : int
        Numbers of components.
    gap : float
        Nats by which mixpipe's maximum with the true number of components lies below that of the optimiser.
    """

    n_components: int
    n_exact: int
    gap: float
    seconds: float


# Lines of two populations in which fewer are found than under regular errors, and these, with the numbers of rows.
EXACT = (
    ("narrow: regular errors", 1000),
    ("narrow: errors lognormal, median .3", 1000),
    ("narrow: step 0.5", 1000),
    ("overlapping: regular errors", 10_000),
    ("overlapping: importance weights, 1 / selection", 10_000),
)
# Samples of these lines, as a part, by number of rows.
EXACT_PARTS = {1000: 1.0, 10_000: 0.3}


def choose_exactly(condition: Condition, n: int, sample: int) -> ExactChoice:
    """Both choices among one to three components for one sample; the optimiser also starts from the true parameters."""
    observed = condition.observe(Draw(condition.population, n, sample))
    x, weights = observed.x, observed.weights
    begun = time.process_time()
    selection = mixpipe.choose_n_components(
        x, observed.err, weights=weights, weight_kind=observed.weight_kind or "auto", max_components=3, n_threads=1
    )
    seconds = time.process_time() - begun
    data: Rows | Bins
    if observed.err is None:
        # Steps are those of the narrowest width.
        step = float(condition.observation.split()[1]) * condition.population.unit
        first, last = round(x.min() / step), round(x.max() / step)
        edges = step * (np.arange(first, last + 2) - 0.5)
        data = Bins(edges, np.histogram(x, edges)[0])
    else:
        counts = None if weights is None else weights * (weights.sum() / (weights @ weights))
        data = Rows(x, observed.err, counts)
    population = condition.population
    truth = population.shares(n), np.array(population.means), np.array(population.sigmas)
    halved = tuple(np.append(part, part[0]) for part in truth)
    halved[0][[0, -1]] *= 0.5
    known = {1: [], 2: [truth], 3: [halved]}
    exact = []
    for m in (1, 2, 3):
        # What mixpipe has found is a start, too: the optimiser has few of its own.
        own = selection.fits[m - 1].mixture
        beside = tuple(np.asarray(getattr(own, part)) for part in ("weights", "means", "sigmas"))
        maxima = maximise(data, m, n_starts=2, seed=(n, sample), known=[*known[m], beside])
        exact.append(next((maximum for maximum in maxima if maximum.admissible), maxima[0]))
    bic = [(3 * m - 1) * math.log(data.n) - 2.0 * exact[m - 1].loglik for m in (1, 2, 3)]
    fit = selection.fits[population.n_components - 1].mixture
    found = (np.asarray(getattr(fit, part)) for part in ("weights", "means", "sigmas"))
    reached = loglik(data, *found)
    gap = exact[population.n_components - 1].loglik - reached
    return ExactChoice(selection.best.n_components, 1 + int(np.argmin(bic)), gap, seconds)


def _exactly(name: str, n: int, samples: range) -> list[ExactChoice]:
    condition = next(each for each in conditions() if each.name == name)
    return [choose_exactly(condition, n, sample) for sample in samples]


def _exact_line(name: str, n: int, found: list[ExactChoice]) -> Line:
    right = [float(np.mean([number == 2 for number in numbers])) for numbers in _numbers(found)]
    same = float(np.mean([choice.n_components == choice.n_exact for choice in found]))
    gap = max(choice.gap for choice in found)
    counts = np.bincount([choice.n_components for choice in found], minlength=6)[1:]
    return Line(
        "exact",
        name,
        n,
        len(found),
        right[0],
        right[1],
        same,
        tuple(counts.tolist()),
        0.0,
        float(np.mean([choice.seconds for choice in found])),
        f"{100 * right[1]:.1f} % by the exact likelihood, the same in {100 * same:.1f} %; largest gap {gap:.2g} nats",
        right[0] >= right[1] - LOSS - 1e-9,
    )


def _numbers(found: list[ExactChoice]) -> tuple[list[int], list[int]]:
    return [choice.n_components for choice in found], [choice.n_exact for choice in found]


# p-values


P_VALUES = ("none", "counts", "importance", "counts of rounded values")
# Catalogs for p-values, as a multiple of the samples.
P_FACTOR = 2.5
P_ROWS = 60
P_TRUTH = Population("p-values", (0.6, 0.4), (0.0, 6.0), (1.0, 1.0))


def p_value_catalog(kind: str, sample: int) -> Observed:
    """60 rows of two separated populations with regular errors and weights of a kind."""
    draw = Draw(P_TRUTH, P_ROWS, sample)
    x = draw.true_values() + draw.noise(0.3)
    err = np.full(P_ROWS, 0.3)
    if kind == "counts":
        return Observed(x, err, draw.rng(5).integers(1, 4, P_ROWS).astype(float), "counts")
    if kind == "importance":
        return Observed(x, err, np.exp(0.7 * draw.normal()), "importance")
    if kind == "counts of rounded values":
        draw = Draw(P_TRUTH, 3 * P_ROWS, sample)
        # Fine steps: the statistics of a continuous law notice coarse ones.
        distinct, counts = np.unique(to_step(draw.true_values() + draw.noise(0.3), 0.02), return_counts=True)
        return Observed(distinct, np.full(distinct.size, 0.3), counts.astype(float), "counts")
    return Observed(x, err)


def p_values(kind: str, sample: int, n_draws: int) -> tuple[float, float, float]:
    """p-values of the quality of a fit with the right number of components, and seconds."""
    observed = p_value_catalog(kind, sample)
    kinds = _options(mixpipe.Cells.from_rows, weight_kind=observed.weight_kind)
    begun = time.process_time()
    cells = mixpipe.Cells.from_rows(observed.x, observed.err, observed.weights, **kinds)
    fit = mixpipe.fit_mixture(cells, n_components=2, n_threads=1)
    ks, ad = quality_pvalues(fit, cells, n_draws=n_draws, seed=sample, n_threads=1)
    return ks, ad, time.process_time() - begun


def _p_values(kind: str, samples: range, n_draws: int) -> list[tuple[float, float, float]]:
    return [p_values(kind, sample, n_draws) for sample in samples]


def _p_line(kind: str, found: list[tuple[float, float, float]]) -> Line:
    ks, ad, seconds = np.array(found).T
    # A share of (n + 1) equal steps: the test of the continuous law errs by a step, which is small beside its noise.
    uniform = [float(kstest(values, "uniform").pvalue) for values in (ks, ad)]
    small = [100.0 * float(np.mean(values <= 0.05)) for values in (ks, ad)]
    return Line(
        "p-values",
        f"p-values: weights {kind}",
        P_ROWS,
        len(found),
        min(uniform),
        math.nan,
        math.nan,
        (),
        0.0,
        float(seconds.mean()),
        f"uniform by KS with p = {uniform[0]:.2g} (KS), {uniform[1]:.2g} (AD); p <= .05 in {small[0]:.1f} % and "
        f"{small[1]:.1f} %",
        min(uniform) > SIGNIFICANT,
    )


# The study


def _chunks(n_samples: int) -> list[range]:
    return [range(first, min(first + CHUNK, n_samples)) for first in range(0, n_samples, CHUNK)]


def _wanted(pattern: str, group: str, name: str, n: int) -> bool:
    return re.search(pattern, f"{group} {name} N={n}") is not None


def study(n_samples: int, pattern: str, jobs: int, parts: dict[int, float] = PARTS) -> Iterator[Line]:
    """Lines in the order of the table of conditions, as they are finished.

    Parameters
    ----------
    n_samples : int
        Samples of each line.
    pattern : str
        Regular expression for the lines.
    jobs : int
        Processes.
    parts : dict
        Part of the samples at some numbers of rows; empty for as many of every line.
    """
    table_of_conditions = conditions()
    references = {
        (condition.population.name, n): (index, n)
        for index, condition in enumerate(table_of_conditions)
        for n in condition.sizes
        if condition.observation == "regular errors"
    }
    wanted = [
        (index, n)
        for index, condition in enumerate(table_of_conditions)
        for n in condition.sizes
        if _wanted(pattern, condition.group, condition.name, n)
    ]
    needed = [references[table_of_conditions[index].population.name, n] for index, n in wanted]
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        # Submitted in the order in which they are printed.
        tasks: dict[tuple[int, int], list[Future[list[Choice]]]] = {}
        for key in [key for pair in zip(needed, wanted, strict=True) for key in pair]:
            if key not in tasks:
                index, n = key
                # The same for the reference as for its lines.
                part = parts.get(n, 1.0)
                if parts and table_of_conditions[index].group == "two":
                    part *= TWO_PART
                number = max(1, round(n_samples * part))
                tasks[key] = [pool.submit(_choices, index, n, some) for some in _chunks(number)]
        binned = {
            (index, width, n): [
                pool.submit(_binned, index, width, n, some) for some in _chunks(max(1, round(n_samples * BINNED_PART)))
            ]
            for index, population in enumerate(BINNED)
            for width in BIN_WIDTHS
            for n in BINNED_SIZES
            if _wanted(pattern, "histogram", f"{population.name}: bins of {width:g}", n)
        }
        exactly = {
            (name, n): [
                pool.submit(_exactly, name, n, some) for some in _chunks(max(1, round(n_samples * EXACT_PARTS[n])))
            ]
            for name, n in EXACT
            if _wanted(pattern, "exact", name, n)
        }
        tested = {
            kind: [pool.submit(_p_values, kind, some, 99) for some in _chunks(max(2, round(n_samples * P_FACTOR)))]
            for kind in P_VALUES
            if _wanted(pattern, "p-values", f"p-values: weights {kind}", P_ROWS)
        }
        shares: dict[tuple[int, int], float] = {}
        for key, reference in zip(wanted, needed, strict=True):
            index, n = key
            if reference not in shares:
                found = [choice for task in tasks[reference] for choice in task.result()]
                line = _line(table_of_conditions[reference[0]], n, found, math.nan)
                shares[reference] = line.right
            found = [choice for task in tasks[key] for choice in task.result()]
            yield _line(table_of_conditions[index], n, found, shares[reference])
        for (index, width, n), parts_found in binned.items():
            histograms = [choice for task in parts_found for choice in task.result()]
            yield _binned_line(BINNED[index], width, n, histograms)
        for (name, n), parts_chosen in exactly.items():
            yield _exact_line(name, n, [choice for task in parts_chosen for choice in task.result()])
        for kind, parts_tested in tested.items():
            yield _p_line(kind, [values for task in parts_tested for values in task.result()])


def text(line: Line) -> str:
    """One line for a terminal."""
    chosen = " ".join(f"{count:d}" for count in line.n_chosen)
    share = f"{100 * line.right:5.1f} %" if line.n_chosen else f"p {line.right:.3f}"
    compared = "" if math.isnan(line.reference) else f"(reference {100 * line.reference:5.1f} %)"
    components = "" if math.isnan(line.true_components) else f"true {100 * line.true_components:3.0f} %"
    return (
        f"{'ok  ' if line.passed else 'FAIL'} {line.name:58s} N={line.n_data:<6d} {share} {compared} {components} "
        f"M: {chosen:18s} {1e3 * line.seconds:6.0f} ms {line.note}"
    ).rstrip()


def write(lines: list[Line], folder: Path) -> None:
    """All lines as JSON and CSV."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "resolution.json").write_text(json.dumps([asdict(line) for line in lines], indent=1) + "\n")
    with (folder / "resolution.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        names = [item.name for item in fields(Line)]
        writer.writerow(names)
        for line in lines:
            row = asdict(line)
            row["n_chosen"] = " ".join(map(str, line.n_chosen))
            writer.writerow(row[name] for name in names)


def measure(
    n_samples: int = N_SAMPLES, pattern: str = "", jobs: int | None = None, parts: dict[int, float] = PARTS
) -> list[dict[str, Any]]:
    """All lines, printed as they come."""
    lines = []
    for line in study(n_samples, pattern, jobs or os.cpu_count() or 1, parts):
        print(text(line), flush=True)
        lines.append(line)
    return [asdict(line) for line in lines]


def page(result: list[dict[str, Any]]) -> str:
    """Markdown: a row for each condition, a column for each number of rows."""
    blocks = [
        f"Per cent of the simulated columns for which the number of components that generated them is chosen. One "
        f"population has to be one in {100 * RIGHT:.0f} % from {MANY} rows on, and as often as under regular errors "
        f"(.3 of the width, first row) below; two populations as often as under regular errors but for "
        f"{100 * LOSS:.0f} points. Errors and steps are in units of the narrowest width."
    ]
    for group in ("one", "two"):
        lines = [line for line in result if line["group"] == group]
        sizes = sorted({line["n_data"] for line in lines})
        shares = {(line["name"], line["n_data"]): line for line in lines}
        body = [
            [name, *(_share(shares.get((name, n))) for n in sizes)]
            for name in dict.fromkeys(line["name"] for line in lines)
        ]
        if body:
            blocks.append(table(["condition", *(f"N = {n:,}" for n in sizes)], body))
    for group, heading in (("histogram", "right"), ("exact", "right"), ("p-values", "uniform: p")):
        body = [
            [line["name"], f"{line['n_data']:,}", line["n_samples"], f"{line['right']:.2g}", line["note"]]
            for line in result
            if line["group"] == group
        ]
        if body and group == "exact":
            blocks.append(
                "What BIC finds at the highest maxima: the same samples are fitted by an independent optimiser that "
                "starts from the true parameters and from the fits of mixpipe, by the integrals over the steps for "
                f"rounded values. mixpipe has to find as many as this does but for {100 * LOSS:.0f} points."
            )
        if body:
            blocks.append(table(["", "N", "samples", heading, ""], body))
    failed = sum(not line["passed"] for line in result)
    samples = sorted({line["n_samples"] for line in result})
    blocks.append(
        f"{len(result) - failed} of {len(result)} lines reach the standard; the others are in bold. {samples[0]} to "
        f"{samples[-1]} samples a line."
    )
    return "\n\n".join(blocks)


def _share(line: dict[str, Any] | None) -> str:
    if line is None:
        return "–"
    share = f"{100 * line['right']:.1f}"
    return share if line["passed"] else f"**{share}**"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.resolution", description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=N_SAMPLES, help="columns a line (%(default)s)")
    parser.add_argument("--lines", default="", metavar="PATTERN", help="regular expression; all by default")
    parser.add_argument("--jobs", type=int, default=2, help="processes (%(default)s)")
    parser.add_argument(
        "--full", action="store_true", help="as many samples with many rows, and of two populations, as elsewhere"
    )
    parser.add_argument("--out", type=Path, default=Path("."), metavar="FOLDER", help="for resolution.json and .csv")
    args = parser.parse_args()
    begun = time.perf_counter()
    lines = []
    for line in study(args.samples, args.lines, args.jobs, {} if args.full else PARTS):
        print(text(line), flush=True)
        lines.append(line)
        write(lines, args.out)
    failed = sum(not line.passed for line in lines)
    print(f"{len(lines)} lines, {failed} below the standard, {time.perf_counter() - begun:.0f} s")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
