"""Several columns jointly: cost of a pass, passes to a maximum, where default fits stop, and time to choose M."""

from __future__ import annotations

from typing import Any

import numpy as np

import mixpipe
from benchmarks import joint_peers as peers
from benchmarks.measure import number, processor_seconds, table
from benchmarks.peers import attempt
from mixpipe.fitting.joint.ascent import ascend, em_step
from mixpipe.fitting.joint.likelihood import Likelihood
from mixpipe.model.joint.blocks import Parameters, Sums
from mixpipe.model.joint.cells import JointCells
from mixpipe.model.joint.mixture import JointMixture
from mixpipe.model.results import Selection

TITLE = "Several columns jointly"
# The peers with errors are timed on fewer rows, since their cost per row does not depend on the number of rows.
PASS_ROWS = {"mixpipe": 100_000, "scikit-learn": 100_000, "pygmmis": 20_000, "astroML": 2_000}
PASS_COMPONENTS = 8
# Least ratio of the times of scikit-learn and mixpipe that is asked for, by the number of columns.
LEAST_RATIOS = {2: 15.0, 3: 10.0, 5: 5.0}
CLIMBS = ((2, 3), (2, 8), (3, 3), (3, 8), (5, 3), (5, 8))
CLIMB_ROWS, CLIMB_SEEDS = 10_000, (1, 2, 3)
MAX_EM = 2_500
# A point is at the maximum within this (nats).
ARRIVED = 1e-3
MEDIAN_PASSES, MOST_PASSES = 75, 240
STOP_ROWS, STOP_COMPONENTS, STOP_STARTS = 2_000, 4, 20
# mixpipe uses no random numbers, and astroML starts from k-means, which hardly depends on them.
STOP_SEEDS = {"mixpipe": (1,), "pygmmis": (1, 2, 3), "astroML": (1,)}
CHOICE_ROWS, CHOICE_DIMS, CHOICE_COMPONENTS, CHOICE_MOST = (100_000, 1_000_000), 3, 4, 6
LARGEST_SHARE = 1.0 / 3.0
# Standard deviations of the means of the simulated components, and of the errors.
_SEPARATION, _ERROR = 1.5, 0.3


def simulated(n_dims: int, n_components: int, n_data: int, seed: int) -> tuple[JointMixture, np.ndarray, np.ndarray]:
    """A random mixture of overlapping components, rows of it with errors, and the covariances of the errors."""
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.full(n_components, 5.0))
    means = rng.normal(size=(n_components, n_dims)) * _SEPARATION
    factors = rng.normal(size=(n_components, n_dims, n_dims)) * 0.6
    truth = JointMixture(weights, means, factors @ factors.transpose(0, 2, 1) + 0.05 * np.eye(n_dims))
    factors = rng.normal(size=(n_data, n_dims, n_dims)) * _ERROR / np.sqrt(n_dims)
    cov = factors @ factors.transpose(0, 2, 1) + 0.01 * np.eye(n_dims)
    errors = np.einsum("nab,nb->na", np.linalg.cholesky(cov), rng.normal(size=(n_data, n_dims)))
    return truth, truth.sample(n_data, rng) + errors, cov


def likelihood_of(x: np.ndarray, cov: np.ndarray) -> Likelihood:
    """The likelihood of rows, on one thread."""
    return Likelihood(JointCells.from_rows(x, cov=cov), n_threads=1)


def random_start(likelihood: Likelihood, n_components: int, rng: np.random.Generator) -> Parameters:
    """Means at random rows, and the covariance of all rows for every component."""
    rows = (likelihood.cells.x - likelihood.scaling.centre) / likelihood.scaling.scale
    means = rows[rng.choice(len(rows), n_components, replace=False)]
    covariances = np.tile(np.cov(rows.T), (n_components, 1, 1))
    return Parameters(np.full(n_components, 1.0 / n_components), means, covariances)


def measure() -> dict[str, Any]:
    """All four comparisons."""
    return {
        "cost": [_shown(pass_cost(n_dims, PASS_COMPONENTS, PASS_ROWS)) for n_dims in LEAST_RATIOS],
        "climbs": [_shown(climb(*size, CLIMB_ROWS, seed)) for size in CLIMBS for seed in CLIMB_SEEDS],
        "stops": [_shown(stop(n_dims, STOP_COMPONENTS, STOP_ROWS, STOP_SEEDS, STOP_STARTS)) for n_dims in LEAST_RATIOS],
        "choices": [_shown(choice(n_data, CHOICE_MOST)) for n_data in CHOICE_ROWS],
    }


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    print(row, flush=True)
    return row


def pass_cost(n_dims: int, n_components: int, n_rows: dict[str, int]) -> dict[str, Any]:
    """Nanoseconds per row and component of one pass of every code, from the truth."""
    truth, x, cov = simulated(n_dims, n_components, max(n_rows.values()), 1)
    likelihood = likelihood_of(x[: n_rows["mixpipe"]], cov[: n_rows["mixpipe"]])
    at = likelihood.scaling.parameters(truth)
    likelihood.sums(at)
    likelihood.curvature(at)
    row: dict[str, Any] = {"n_dims": n_dims, "n_components": n_components}
    seconds: dict[str, float | str] = {}
    with peers.one_thread():
        seconds["mixpipe"] = min(processor_seconds(lambda: likelihood.sums(at)) for _ in range(20))
        hessian = min(processor_seconds(lambda: likelihood.curvature(at)) for _ in range(3))
        row["hessian"] = hessian / (n_rows["mixpipe"] * n_components) * 1e9
        for name, task in peers.PASSES.items():
            rows = slice(n_rows[name])
            seconds[name] = attempt(lambda task=task, rows=rows: task(x[rows], cov[rows], truth, 3))
    for name, time in seconds.items():
        row[name] = time if isinstance(time, str) else time / (n_rows[name] * n_components) * 1e9
    return row


class _Counted(Likelihood):
    """A likelihood that keeps the value of every pass, and the number of passes before every Hessian."""

    def __init__(self, cells: JointCells) -> None:
        super().__init__(cells, n_threads=1)
        self.history: list[float] = []
        self.hessians: list[int] = []

    def sums(self, at: Parameters) -> Sums:
        found = super().sums(at)
        self.history.append(found.loglik)
        return found

    def curvature(self, at: Parameters) -> np.ndarray:
        self.hessians.append(len(self.history))
        return super().curvature(at)


def climb(n_dims: int, n_components: int, n_data: int, seed: int, max_em: int = MAX_EM) -> dict[str, Any]:
    """Passes from a random start to within a thousandth of a nat of the maximum that is reached, ours and of EM."""
    _, x, cov = simulated(n_dims, n_components, n_data, seed)
    likelihood = _Counted(JointCells.from_rows(x, cov=cov))
    start = random_start(likelihood, n_components, np.random.default_rng(seed + 100))
    end = ascend(likelihood, start)
    passes = _arrival(likelihood.history, end.loglik)
    row: dict[str, Any] = {
        "n_dims": n_dims,
        "n_components": n_components,
        "seed": seed,
        "passes": passes,
        "hessians": sum(before < (passes or np.inf) for before in likelihood.hessians),
        "passes_in_all": len(likelihood.history),
        "hessians_in_all": len(likelihood.hessians),
        "converged": end.converged,
        "loglik": end.loglik,
    }
    plain = _Counted(likelihood.cells)
    at, sums = start, plain.sums(start)
    for _ in range(max_em - 1):
        at = em_step(at, sums, "full", plain.floor)
        sums = plain.sums(at)
    # EM may stop on the way to another maximum than that which was reached above.
    top = ascend(likelihood, at, n_em=0).loglik
    return row | {"em": _arrival(plain.history, top), "em_short": top - sums.loglik, "em_loglik": top}


def _arrival(history: list[float], top: float) -> int | None:
    """The pass that first came within a thousandth of a nat of the maximum; None if none did."""
    near = np.flatnonzero(np.asarray(history) > top - ARRIVED)
    return int(near[0]) + 1 if near.size else None


def stop(
    n_dims: int, n_components: int, n_data: int, seeds: dict[str, tuple[int, ...]], n_starts: int
) -> dict[str, Any]:
    """Nats by which default fits fall short of the best that is known, and the seconds that they take.

    The best is that of our fit, of the maxima to which the fits of the peers and the truth lead, and of those reached
    from random starts.
    """
    truth, x, cov = simulated(n_dims, n_components, n_data, 1)
    likelihood = likelihood_of(x, cov)
    fits: dict[str, list[JointMixture | str]] = {}
    seconds: dict[str, float] = {}

    def own(_x: np.ndarray, _cov: np.ndarray, n_components: int, _seed: int) -> JointMixture:
        return mixpipe.fit_mixture(_x, cov=_cov, n_components=n_components, n_threads=1).mixture

    own(x[:200], cov[:200], 2, 0)
    with peers.one_thread():
        for name, fit in {"mixpipe": own, **peers.FITS}.items():
            fits[name], times = [], []
            for seed in seeds[name]:
                times.append(
                    processor_seconds(
                        lambda name=name, fit=fit, seed=seed: fits[name].append(
                            attempt(lambda: fit(x, cov, n_components, seed))
                        )
                    )
                )
            seconds[name] = float(np.median(times))
    starts = [likelihood.scaling.parameters(m) for name in fits for m in fits[name] if not isinstance(m, str)]
    reached = {name: [m if isinstance(m, str) else _loglik(likelihood, m) for m in fits[name]] for name in fits}
    starts.append(likelihood.scaling.parameters(truth))
    rng = np.random.default_rng(1)
    starts += [random_start(likelihood, n_components, rng) for _ in range(n_starts)]
    climbed = [ascend(likelihood, start).loglik for start in starts]
    best = max(climbed + [value for values in reached.values() for value in values if not isinstance(value, str)])
    return {
        "n_dims": n_dims,
        "best": best,
        "from_random": sum(value > best - 0.1 for value in climbed[len(climbed) - n_starts :]),
        "n_starts": n_starts,
        "short": {name: [v if isinstance(v, str) else best - v for v in values] for name, values in reached.items()},
        "seconds": seconds,
    }


def _loglik(likelihood: Likelihood, mixture: JointMixture) -> float:
    return likelihood.sums(likelihood.scaling.parameters(mixture)).loglik


def choice(n_data: int, max_components: int) -> dict[str, Any]:
    """Seconds to choose the number of components on all rows, with errors, and of scikit-learn without them."""
    _, x, cov = simulated(CHOICE_DIMS, CHOICE_COMPONENTS, n_data, 1)
    mixpipe.choose_n_components(x[:200], cov=cov[:200], max_components=2, n_threads=1)
    chosen: list[Selection] = []
    # The linear algebra of mixpipe's search, too, is that of BLAS.
    with peers.one_thread():
        time = processor_seconds(
            lambda: chosen.append(mixpipe.choose_n_components(x, cov=cov, max_components=max_components, n_threads=1))
        )
        other, peer_time = peers.sklearn_choice(x, max_components)
    return {
        "n_data": n_data,
        "mixpipe": time,
        "scikit-learn": peer_time,
        "choices": [chosen[0].best.n_components, other],
        "converged": all(fit.converged for fit in chosen[0].fits),
    }


def climb_summary(climbs: list[dict[str, Any]]) -> dict[str, float]:
    """Median and largest number of passes; endless if a climb did not arrive."""
    passes = [np.inf if row["passes"] is None else row["passes"] for row in climbs]
    return {"median": float(np.median(passes)), "worst": float(max(passes))}


def page(result: dict[str, Any]) -> str:
    """Markdown."""
    return "\n\n".join(
        [
            "Random mixtures of overlapping components with full covariances, and a random covariance for the errors "
            "of each row (`benchmarks.joint.simulated`). scikit-learn ignores the errors; pygmmis and astroML use "
            "them. All times are processor times on one thread, so that they depend little on what else the machine "
            "does.",
            "![Nanoseconds of a pass by code, and passes to a maximum of mixpipe and of EM](figures/joint.png)",
            *_cost_page(result["cost"]),
            *_climb_page(result["climbs"]),
            *_stop_page(result["stops"]),
            *_choice_page(result["choices"]),
        ]
    )


def _cost_page(rows: list[dict[str, Any]]) -> list[str]:
    def ratio(row: dict[str, Any], peer: str) -> float | None:
        return None if isinstance(row[peer], str) else row[peer] / row["mixpipe"]

    names = list(PASS_ROWS)
    body = [
        [
            row["n_dims"],
            *(number(row[name]) for name in (names[0], "hessian", *names[1:])),
            *(number(ratio(row, name)) for name in names[1:]),
            _verdict(ratio(row, "scikit-learn"), LEAST_RATIOS[row["n_dims"]]),
        ]
        for row in rows
    ]
    sizes = ", ".join(f"{n:,} ({name})" for name, n in PASS_ROWS.items())
    return [
        f"**One pass**: nanoseconds per row and component for M = {PASS_COMPONENTS}, the least of several repeats. A "
        "pass of mixpipe gives the log-likelihood, its gradient and all sums of an EM step; the others are one EM "
        f"iteration from the same start. Rows: {sizes}.",
        table(
            [
                "columns",
                "mixpipe",
                "its Hessian",
                *names[1:],
                *(f"{name} / mixpipe" for name in names[1:]),
                "required of scikit-learn / mixpipe",
            ],
            body,
        ),
    ]


def _verdict(value: float | None, least: float) -> str:
    return f"{least:g} ({'reached' if value is not None and value >= least else 'not reached'})"


def _climb_page(rows: list[dict[str, Any]]) -> list[str]:
    body = []
    for n_dims, n_components in dict.fromkeys((row["n_dims"], row["n_components"]) for row in rows):
        group = [row for row in rows if (row["n_dims"], row["n_components"]) == (n_dims, n_components)]
        body.append(
            [
                n_dims,
                n_components,
                ", ".join("not" if row["passes"] is None else str(row["passes"]) for row in group),
                ", ".join(str(row["hessians"]) for row in group),
                ", ".join(f"> {MAX_EM:,}" if row["em"] is None else f"{row['em']:,}" for row in group),
                ", ".join("0" if row["em_short"] < ARRIVED else number(row["em_short"], 2) for row in group),
                ", ".join(number(row["loglik"] - row["em_loglik"], 2) if _differ(row) else "0" for row in group),
            ]
        )
    summary = climb_summary(rows)
    arrived = [row["em"] for row in rows if row["em"] is not None]
    n_open = sum(not row["converged"] for row in rows)
    return [
        f"**Passes to a maximum** from a random start, to within {ARRIVED:g} nats of the maximum that the climb "
        f"reaches; {CLIMB_ROWS:,} rows, {len(CLIMB_SEEDS)} seeds for each problem. *Hessians*: how many are "
        "computed before that, each at the cost given above, and not counted as passes. "
        f"EM makes {MAX_EM:,} passes; the maximum that it is on the way to is found by climbing on from its end. *EM "
        "short*: nats that are then left. *Higher*: nats by which the maximum of mixpipe's climb lies above that of "
        "EM from the same start, 0 if they are the same.",
        table(["columns", "M", "mixpipe", "Hessians", "EM", "EM short", "higher"], body),
        f"Median {summary['median']:g} (required: {MEDIAN_PASSES}, "
        f"{'reached' if summary['median'] <= MEDIAN_PASSES else 'not reached'}), worst {summary['worst']:g} (required: "
        f"{MOST_PASSES}, {'reached' if summary['worst'] <= MOST_PASSES else 'not reached'}). EM arrives in "
        f"{len(arrived)} of {len(rows)} climbs"
        + (f", after {min(arrived):,} to {max(arrived):,} passes" if arrived else "")
        + ". "
        + ("All climbs of mixpipe converged." if n_open == 0 else f"{n_open} climbs of mixpipe did not converge."),
    ]


def _differ(row: dict[str, Any]) -> bool:
    return abs(row["loglik"] - row["em_loglik"]) > 2 * ARRIVED


def _stop_page(rows: list[dict[str, Any]]) -> list[str]:
    body = []
    for row in rows:
        for name, values in row["short"].items():
            errors = [value for value in values if isinstance(value, str)]
            short = errors[0] if errors else ", ".join(_nats(value) for value in sorted(values))
            body.append([row["n_dims"], name, short, number(None if errors else row["seconds"][name])])
    random = ", ".join(f"{row['from_random']} of {row['n_starts']} (d = {row['n_dims']})" for row in rows)
    return [
        "**Where default fits stop**: nats of the log-likelihood, with errors, below the best known for the same "
        f"{STOP_ROWS:,} rows and M = {STOP_COMPONENTS}, and seconds for one fit (the median over the seeds). pygmmis "
        f"starts at random, with {len(STOP_SEEDS['pygmmis'])} seeds, and astroML from k-means; mixpipe searches all "
        "numbers of components up to M for the global maximum, and uses no random numbers. The best is that of all "
        f"fits, of the maxima to which they and the truth lead, and of {rows[0]['n_starts']} random starts, of which "
        f"these came within 0.1 nats: {random}.",
        table(["columns", "code", "nats short", "seconds"], body),
    ]


def _nats(value: float) -> str:
    return f"< {ARRIVED:g}" if value < ARRIVED else number(value, 3)


def _choice_page(rows: list[dict[str, Any]]) -> list[str]:
    body = [
        [
            f"{row['n_data']:,}",
            number(row["mixpipe"]),
            number(row["scikit-learn"]),
            number(row["mixpipe"] / row["scikit-learn"]),
            " / ".join(map(str, row["choices"])),
            "yes" if row["converged"] else "no",
        ]
        for row in rows
    ]
    share = rows[-1]["mixpipe"] / rows[-1]["scikit-learn"]
    return [
        f"**Choosing M in 1 … {CHOICE_MOST}** in {CHOICE_DIMS} columns, by BIC, truth M = {CHOICE_COMPONENTS}. mixpipe "
        "uses the errors and finishes its fits on all rows (those that may be chosen, beyond 100,000); scikit-learn "
        "makes one default fit for each M and ignores the errors. One run of each.",
        table(["rows", "mixpipe / s", "scikit-learn / s", "ratio", "M chosen", "all of mixpipe's converged"], body),
        f"At {rows[-1]['n_data']:,} rows mixpipe takes {number(share)} times as long as scikit-learn (required: at "
        f"most a third, {'reached' if share <= LARGEST_SHARE else 'not reached'}).",
    ]
