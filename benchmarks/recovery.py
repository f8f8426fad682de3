"""How often BIC chooses the number of components that generated the data."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import mixpipe
from benchmarks.measure import processes, table
from benchmarks.simulate import separated
from mixpipe.model.mixture import Mixture

TITLE = "The number of components that generated the data"
N_PROBLEMS = {"a + b": 100, "2 max(a, b)": 100, "2 (a + b)": 200}
MAX_COMPONENTS = 6


def choice(separation: str, index: int) -> tuple[int, int, float]:
    """Generating and chosen numbers of components, and the nats by which the fit is above the generating mixture."""
    problem = separated(index, separation)
    selection = mixpipe.choose_n_components(problem.x, problem.err, max_components=MAX_COMPONENTS, n_threads=1)
    truth = Mixture(problem.weights, problem.means, problem.sigmas)
    above = selection.fits[truth.n_components - 1].loglik - float(truth.logpdf(problem.x, problem.err).sum())
    return truth.n_components, selection.best.n_components, above


def choices(indices: Iterable[int], separation: str) -> list[tuple[int, int, float]]:
    """`choice` of some problems."""
    return [choice(separation, index) for index in indices]


def measure() -> dict[str, Any]:
    """Choices for each separation."""
    with processes() as pool:
        return {name: list(pool.map(partial(choice, name), range(n), chunksize=4)) for name, n in N_PROBLEMS.items()}


def page(result: dict[str, Any]) -> str:
    """Markdown."""
    body = []
    for separation, found in result.items():
        right = sum(true == chosen for true, chosen, _ in found)
        body.append(
            [
                f"`{separation}`",
                *(
                    f"{sum(t == c == m for t, c, _ in found)} of {sum(t == m for t, _, _ in found)}"
                    for m in range(2, 6)
                ),
                f"{right} of {len(found)}, {100 * right / len(found):.1f} %",
                sum(chosen < true for true, chosen, _ in found),
                sum(chosen > true for true, chosen, _ in found),
                sum(above < 0 for _, _, above in found),
            ]
        )
    return "\n\n".join(
        [
            f"Simulated columns of 2000 rows (`benchmarks.simulate.separated`): 2 to 5 "
            f"components, weights of 0.1 plus a uniform share of the rest, widths log-uniform in 0.5 to 2, lognormal "
            f"errors (0.5 in ln err) with a median of 0.2 to 1 widths, log-uniform and different for each component. "
            f"Neighbours with the observed widths a and b (root of squared width plus mean squared error) lie apart by "
            f"the distance in the first column. `Separated by twice the observed widths` can be read as any of the "
            f"three: twice their mean, twice the larger, or twice both. Fitted with 1 to {MAX_COMPONENTS} components; "
            f"the standard is 95 %. The last column counts fits with the generating number of components that are less "
            f"likely than the generating mixture, which a search that arrives never gives.",
            table(
                ["distance", "M = 2", "M = 3", "M = 4", "M = 5", "right", "too few", "too many", "below truth"], body
            ),
        ]
    )
