"""Several columns: is the best maximum found, the right number chosen, the truth within its errors?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import mixpipe
from benchmarks.measure import memory, seconds, table
from mixpipe.fitting.joint.ascent import ascend
from mixpipe.fitting.joint.choose import choose_from_blocks
from mixpipe.fitting.joint.engine import JointEngine
from mixpipe.fitting.joint_problem import JointProblem
from mixpipe.model.joint.blocks import Parameters
from mixpipe.model.joint.cells import JointCells
from mixpipe.model.joint.mixture import JointMixture

TITLE = "Several columns: maxima, choices, coverage, clusters"
# Problems and random starts; catalogs; problems for the choice by number of rows.
N_HARD, N_STARTS, N_CATALOGS = 40, 40, 500
CHOICES = {10_000: 20, 100_000: 4}
N_BLOCK_ROWS, BLOCK_ROWS = 10_000_000, 250_000
SAME = 0.01
# A part of the normal distribution within so many standard deviations is 68 %.
SIGMAS_68 = 0.99446
CLUSTERS = (("UBC_317", "UBC_668"), ("Gulliver_50", "Ruprecht_100"), ("Gulliver_15", "NGC_6561"))
COLUMNS = ("Plx", "pmRA", "pmDE")

Array = np.ndarray


def noisy(mixture: JointMixture, n: int, err: float, least: float, rng: np.random.Generator) -> tuple[Array, Array]:
    """Rows with errors of random size and correlation, and their covariances."""
    n_dims = mixture.n_dims
    halves = rng.normal(size=(n, n_dims, n_dims)) * err / np.sqrt(n_dims)
    cov = halves @ halves.transpose(0, 2, 1) + least * np.eye(n_dims)
    noise = np.einsum("nab,nb->na", np.linalg.cholesky(cov), rng.normal(size=(n, n_dims)))
    return mixture.sample(n, rng) + noise, cov


def random_mixture(n_dims: int, n_components: int, spread: float, rng: np.random.Generator) -> JointMixture:
    """Components of random shapes."""
    halves = rng.normal(size=(n_components, n_dims, n_dims)) * 0.7
    sizes = rng.uniform(0.2, 1.5, n_components)[:, None, None] / np.sqrt(n_dims)
    covs = halves @ halves.transpose(0, 2, 1) * sizes + 0.01 * np.eye(n_dims)
    means = rng.normal(size=(n_components, n_dims)) * spread
    return JointMixture(rng.dirichlet(np.full(n_components, 3.0)), means, covs)


def hard(number: int, n_starts: int) -> dict[str, Any]:
    """One problem that is hard to search: nats by which the best of many random starts lies above the search."""
    rng = np.random.default_rng([20, number])
    n_dims, n_true = (2, 3, 5)[number % 3], int(rng.integers(2, 6))
    n_rows = int(rng.choice([200, 500, 1000]))
    mixture = random_mixture(n_dims, n_true, rng.uniform(0.8, 2.5), rng)
    x, cov = noisy(mixture, n_rows, rng.uniform(0.1, 0.6), 0.003, rng)
    if number % 2:
        x[rng.random(x.shape) < 0.1] = np.nan
    n_fitted = int(rng.integers(max(1, n_true - 1), n_true + 2))
    cells = JointCells.from_rows(x, cov=cov, sigma_floor=0.0)
    found = JointEngine().fits(JointProblem(cells, n_threads=1), n_fitted, last=1)
    likelihood = found.likelihood
    scaled = likelihood.scaling.rows(likelihood.cells)[0]
    complete = scaled[~np.isnan(scaled).any(axis=1)]
    spread = np.diag(np.nanvar(scaled, axis=0))
    best = -np.inf
    for start in range(n_starts):
        draw = np.random.default_rng([number, start])
        means = complete[draw.choice(len(complete), n_fitted, replace=False)]
        covs = np.tile(spread * draw.choice([0.05, 0.2, 0.6]), (n_fitted, 1, 1))
        end = ascend(likelihood, Parameters(np.full(n_fitted, 1.0 / n_fitted), means, covs), n_steps=400)
        if end.loglik > best - 0.5:
            end = ascend(likelihood, end.at, n_em=0)
        best = max(best, end.loglik)
    short = float(best - found.maxima[-1][1])
    return {"n_dims": n_dims, "n_true": n_true, "n_fitted": n_fitted, "n_rows": n_rows, "short": short}


def coverage(n_dims: int, n_rows: int, missing: float, n_catalogs: int) -> dict[str, Any]:
    """Per cent of the parameters of simulated catalogs within their 68 % intervals."""
    means = np.zeros((2, n_dims))
    means[1] = 3.5
    others = 1.0 - np.eye(n_dims)
    truth = JointMixture(
        [0.6, 0.4], means, np.stack([np.eye(n_dims) + 0.4 * others, 0.6 * np.eye(n_dims) - 0.2 * others])
    )
    inside: dict[str, list[float]] = {name: [] for name in ("weights", "means", "sigmas", "correlations")}
    lower = np.tril_indices(n_dims, -1)
    for number in range(n_catalogs):
        rng = np.random.default_rng([7, n_dims, number])
        x, cov = noisy(truth, n_rows, 0.4, 0.02, rng)
        x[rng.random(x.shape) < missing] = np.nan
        fit = JointEngine().climb(JointProblem(JointCells.from_rows(x, cov=cov), n_threads=1), truth)
        for name, shares in inside.items():
            found, true, unc = (getattr(part, name) for part in (fit.mixture, truth, fit.uncertainties))
            within = np.abs(found - true) < SIGMAS_68 * unc
            shares.append(float(within[:, lower[0], lower[1]].mean() if name == "correlations" else within.mean()))
    shares_of = {name: 100.0 * float(np.mean(shares)) for name, shares in inside.items()}
    return {"n_dims": n_dims, "n_rows": n_rows, "missing": missing, "n_catalogs": n_catalogs, **shares_of}


def chosen(n_dims: int, n_rows: int, n_problems: int) -> dict[str, Any]:
    """Problems of separated components for which BIC chooses as many as there are."""
    right = 0
    for number in range(n_problems):
        rng = np.random.default_rng([9, n_dims, number])
        n_components = 2 + number % 4
        means = 6.0 * np.stack([np.roll(np.arange(n_components), k) for k in range(n_dims)], axis=1)
        halves = rng.normal(size=(n_components, n_dims, n_dims)) * 0.5
        covs = halves @ halves.transpose(0, 2, 1) + 0.1 * np.eye(n_dims)
        truth = JointMixture(np.full(n_components, 1.0 / n_components), means, covs)
        x, cov = noisy(truth, n_rows, 0.5, 0.02, rng)
        selection = mixpipe.choose_n_components(x, cov=cov, max_components=n_components + 2, n_threads=1)
        right += selection.best.n_components == n_components
    return {"n_dims": n_dims, "n_rows": n_rows, "n_problems": n_problems, "right": int(right)}


def clusters() -> Iterator[dict[str, Any]]:
    """Pairs of open clusters on one line of sight, told apart by parallax and proper motions alone."""
    folder = os.environ.get("MIXPIPE_CATALOGS")
    if not folder:
        print("MIXPIPE_CATALOGS is not set: no open clusters", file=sys.stderr)
        return
    from astropy.table import Table

    stars = Table.read(Path(folder) / "open_clusters" / "gaia_edr3_members.fits")
    names = np.char.strip(np.asarray(stars["Cluster"]).astype(str))
    for pair in CLUSTERS:
        rows = np.isin(names, pair)
        x, err = (
            np.column_stack([np.asarray(stars[prefix + name][rows], dtype=float) for name in COLUMNS])
            for prefix in ("", "e_")
        )
        selection = mixpipe.choose_n_components(x, err, max_components=5)
        second = selection.fits[1].mixture.responsibilities(x, err).argmax(axis=1) == 1
        same = float(np.mean(second == (names[rows] == pair[1])))
        yield {
            "pair": " and ".join(pair).replace("_", " "),
            "n_rows": int(rows.sum()),
            "n_chosen": selection.best.n_components,
            "delta_bic": selection.fits[1].bic - selection.best.bic,
            "right": 100.0 * max(same, 1.0 - same),
        }


def blocks(n_rows: int) -> dict[str, Any]:
    """Peak memory and time of a fit of rows in a file, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows"
        truth = JointMixture([0.5, 0.3, 0.2], [[0, 0, 0], [4, 1, 0], [0, 5, 2]], np.tile(np.eye(3), (3, 1, 1)))
        with path.open("wb") as file:
            for first in range(0, n_rows, BLOCK_ROWS):
                rng = np.random.default_rng(first)
                err = rng.uniform(0.1, 0.6, (min(BLOCK_ROWS, n_rows - first), 3))
                np.hstack([truth.sample(len(err), rng) + err * rng.normal(size=err.shape), err]).tofile(file)
        command = [sys.executable, "-m", "benchmarks.joint_studies", str(path)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1])
        return {"n_rows": n_rows, "file": path.stat().st_size / 1e6, **json.loads(done.stdout)}


def _fit_file(path: Path) -> dict[str, Any]:
    """A fit with three components in this process, and its memory in megabytes."""

    def read() -> Iterator[JointCells]:
        step = 6 * 8 * BLOCK_ROWS
        for offset in range(0, path.stat().st_size, step):
            rows = np.fromfile(path, count=6 * BLOCK_ROWS, offset=offset).reshape(-1, 6)
            yield JointCells.from_rows(rows[:, :3], rows[:, 3:], sigma_floor=0)

    found: list[Any] = []
    time = seconds(lambda: found.append(choose_from_blocks(read, n_components=3).best))
    return {"peak": memory("VmHWM"), "seconds": time, "converged": found[0].converged, "n_passes": found[0].n_passes}


def measure() -> dict[str, Any]:
    """All studies."""
    return {
        "coverage": [coverage(2, 600, 0.0, N_CATALOGS), coverage(3, 800, 0.15, N_CATALOGS)],
        "clusters": list(clusters()),
        "hard": [hard(number, N_STARTS) for number in range(N_HARD)],
        "n_starts": N_STARTS,
        "blocks": blocks(N_BLOCK_ROWS),
        "chosen": [chosen(d, n_rows, problems) for n_rows, problems in CHOICES.items() for d in (2, 3)],
    }


def page(result: dict[str, Any]) -> str:
    """Markdown."""
    short = np.array([problem["short"] for problem in result["hard"]])
    missed = [problem for problem in result["hard"] if problem["short"] > SAME]
    parts = [
        f"The search against the best of {result['n_starts']} random starts, each climbed to its maximum: "
        f"{len(short)} problems of 200 to 1,000 rows in 2, 3 and 5 columns with 2 to 5 overlapping components and "
        f"errors, half of them with a tenth of the values missing, fitted with one component fewer to one more than "
        f"there are. "
        f"The search comes within {SAME:g} nats of the best of the starts in {100 * np.mean(short <= SAME):.0f} %, and "
        f"above it in {100 * np.mean(short < -SAME):.0f} %."
    ]
    if missed:
        body = [
            [
                problem["n_dims"],
                problem["n_true"],
                problem["n_fitted"],
                f"{problem['n_rows']:,}",
                f"{problem['short']:.2f}",
            ]
            for problem in missed
        ]
        parts += ["Those that it misses:", table(["d", "M true", "M fitted", "N", "nats short"], body)]
    body = [
        [line["n_dims"], f"{line['n_rows']:,}", f"{100 * line['missing']:.0f} %", line["n_catalogs"]]
        + [f"{line[name]:.1f}" for name in ("weights", "means", "sigmas", "correlations")]
        for line in result["coverage"]
    ]
    parts += [
        "Per cent of the parameters within their 68 % intervals, from the curvature:",
        table(["d", "N", "missing", "catalogs", "weights", "means", "sigmas", "correlations"], body),
    ]
    if result["chosen"]:
        body = [
            [line["n_dims"], f"{line['n_rows']:,}", f"{line['right']} of {line['n_problems']}"]
            for line in result["chosen"]
        ]
        parts += [
            "Separated components, 2 to 5 of them, for which BIC chooses as many as there are among up to two more:",
            table(["d", "N", "right"], body),
        ]
    if "blocks" in result:
        run = result["blocks"]
        parts += [
            f"{run['n_rows']:,} rows of three columns in a file of {run['file']:.0f} MB, read in blocks of "
            f"{BLOCK_ROWS:,}: three components in {run['seconds']:.0f} s and {run['n_passes']} passes over the file, "
            f"with a peak of {run['peak']:.0f} MB of memory."
        ]
    if result["clusters"]:
        body = [
            [line["pair"], line["n_rows"], line["n_chosen"], f"{line['delta_bic']:.1f}", f"{line['right']:.1f}"]
            for line in result["clusters"]
        ]
        parts += [
            "Two open clusters on one line of sight (Gaia EDR3 members, compilation by Almeida et al.), by parallax "
            "and proper motions alone: M chosen by BIC, BIC of two components above that, and per cent of the stars "
            "that two "
            "components assign as the lists of members do:",
            table(["clusters", "stars", "M", "BIC of two", "right"], body),
        ]
    return "\n\n".join(parts)


if __name__ == "__main__":
    print(json.dumps(_fit_file(Path(sys.argv[1]))))
