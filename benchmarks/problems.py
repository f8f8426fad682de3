"""Random hard problems for the global search, and the best of many random restarts on each.

``python -m benchmarks.problems`` runs an independent optimiser (the slow twin of the tests: L-BFGS-B on softmax
weights, means and log sigmas) from 100 random starts for each problem and number of components, and stores the best in
benchmarks/restarts.csv: the highest log-likelihood less what components on a row or two owe, by which maxima are
compared. It takes half an hour; finished problems are not repeated.
"""

from __future__ import annotations

import csv
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

N_PROBLEMS = 300
N_STARTS = 100
MAX_COMPONENTS = 6
RESTARTS = Path(__file__).with_name("restarts.csv")
FIELDS = ("problem", "n_data", "n_true", "n_components", "score")


@dataclass(frozen=True, eq=False)
class Problem:
    """A simulated column with the mixture that generated it."""

    x: np.ndarray
    err: np.ndarray
    weights: np.ndarray
    means: np.ndarray
    sigmas: np.ndarray


def hard_problem(index: int) -> Problem:
    """Overlapping components of unequal widths and weights, errors 0.1 to 3 times the widths, 50 to 2000 rows."""
    rng = np.random.default_rng([20, index])
    n_components = 2 + index % 4
    n_data = round(np.exp(rng.uniform(np.log(50), np.log(2000))))
    weights = rng.dirichlet(np.full(n_components, 2.0))
    sigmas = np.exp(rng.uniform(np.log(0.3), np.log(2.0), n_components))
    means = np.cumsum(rng.uniform(0.3, 3.0, n_components))
    component = rng.choice(n_components, n_data, p=weights)
    err = sigmas[component] * np.exp(rng.uniform(np.log(0.1), np.log(3.0), n_data))
    x = means[component] + np.hypot(sigmas[component], err) * rng.standard_normal(n_data)
    return Problem(x, err, weights, means, sigmas)


def largest_m(n_true: int) -> int:
    """Numbers of components to fit: two more than the truth."""
    return min(n_true + 2, MAX_COMPONENTS)


def read_restarts() -> dict[tuple[int, int], float]:
    """Best score of the restarts by (problem, number of components)."""
    with RESTARTS.open(newline="") as file:
        return {(int(row["problem"]), int(row["n_components"])): float(row["score"]) for row in csv.DictReader(file)}


def main() -> None:
    """Run the restarts that are not stored yet."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from tests import reference

    done = read_restarts() if RESTARTS.exists() else {}
    with RESTARTS.open("a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if not done:
            writer.writerow(FIELDS)
        for index in range(N_PROBLEMS):
            problem = hard_problem(index)
            for n_components in range(1, largest_m(problem.means.size) + 1):
                if (index, n_components) in done:
                    continue
                rng = np.random.default_rng([21, index, n_components])
                starts = N_STARTS if n_components > 1 else 5
                score, _ = reference.maximise(problem.x, problem.err, n_components, starts, rng, regular=True)
                writer.writerow((index, problem.x.size, problem.means.size, n_components, score))
                file.flush()
            print(f"problem {index + 1} of {N_PROBLEMS}", flush=True)


if __name__ == "__main__":
    main()
