"""The likelihood of rows of several columns that need not fit into memory: they are read again for each pass."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from mixpipe.base.arrays import Array
from mixpipe.fitting.joint.likelihood import Diagnosis, Likelihood, Scaling
from mixpipe.model.joint.blocks import Parameters, Sums
from mixpipe.model.joint.cells import JointCells, content_hash

_T = TypeVar("_T")


def _exact_sum(parts: list[Array]) -> Array:
    """The sum of arrays, correctly rounded, so that it does not depend on their order."""
    table = np.stack([part.ravel() for part in parts], axis=1)
    return np.array([math.fsum(row) for row in table]).reshape(parts[0].shape)


class StreamLikelihood:
    """Log-likelihood and sums over blocks of rows; see `mixpipe.fitting.joint.likelihood.Passes`.

    Blocks are the same in each pass, such as the files of a release or parts of them; no number depends on their order.
    The curvature is that of a sample of the rows, which their contents choose.

    Parameters
    ----------
    read : callable
        Returns the blocks as `JointCells`, from the first, each time that it is called.
    most : int
        Number of rows of the sample.
    n_threads : int or None
        Number of threads; all cores by default. No number depends on it.
    common : bool
        Whether all columns have one scale and one floor, as spheres need.

    Raises
    ------
    ValueError
        For blocks of different columns or given floors, with weights that are not counts, or with other numbers of
        rows when they are read again.
    """

    def __init__(
        self, read: Callable[[], Iterable[JointCells]], most: int, n_threads: int | None = None, *, common: bool = False
    ) -> None:
        self._read, self._n_threads = read, n_threads
        sample: list[tuple[NDArray[np.uint64], JointCells]] = []
        self.n_data, self.n_rows = 0.0, 0
        dropped: dict[str, int] = {}
        names: tuple[str, ...] | None = None
        floors: list[float | None] | None = None
        for block in read():
            names = names or block.names
            if block.names != names:
                raise ValueError(f"a block has the columns {', '.join(block.names)}; expected {', '.join(names)}")
            if block.weight_kind != "counts":
                raise ValueError("blocks of rows with importance weights; expected counts")
            given = [one.floor if one.cause == "given" else None for one in block.resolutions]
            floors = given if floors is None else floors
            if given != floors:
                raise ValueError("blocks have different values of sigma_floor; expected the same, or none, in each")
            state = content_hash(block.x, block.cov, block.weights, block.projections)
            sample = _smallest([*sample, (state, block)], most)
            self.n_data += block.n_data
            self.n_rows += len(block)
            for reason, number in block.dropped.items():
                dropped[reason] = dropped.get(reason, 0) + number
        if names is None:
            raise ValueError("no rows")
        # The grain is that of the sample, in which fewer rows are closer together than in all.
        cells = _joined([block for _, block in sample]).ordered()
        self.cells = replace(cells, n_data=self.n_data, dropped=dropped, n_repeated=0)
        if common:
            cells = cells.with_common_floor()
        self.sample = Likelihood(cells, Scaling.of(cells, common=common), n_threads)
        self.scaling: Scaling = self.sample.scaling
        self.floor, self.noise = self.sample.floor, self.sample.noise
        self.n_passes = 0

    def over_blocks(self, task: Callable[[Likelihood], _T]) -> Iterator[_T]:
        """One pass: what a task finds in each block."""
        self.n_passes += 1
        n_rows = 0
        for block in self._read():
            n_rows += len(block)
            yield task(Likelihood(block, self.scaling, self._n_threads))
        if n_rows != self.n_rows:
            raise ValueError(
                f"read gave blocks of {self.n_rows:,} rows the first time and of {n_rows:,} rows later; expected the "
                "same from the first each time"
            )

    def sums(self, at: Parameters) -> Sums:
        """One pass over all blocks."""
        return joined_sums(list(self.over_blocks(lambda block: block.sums(at))))

    def curvature(self, at: Parameters) -> Array:
        """The Hessian of the sample, for as many rows as all; see `Likelihood.curvature`."""
        return self.sample.curvature(at) * (self.n_data / self.sample.n_data)

    def curvature_of_sample(self, at: Parameters, most: int) -> Array:
        """As `curvature`: the sample is fixed."""
        del most
        return self.curvature(at)

    def diagnosis(self, at: Parameters, *, with_products: bool = False) -> Diagnosis:
        """Entropy and effective rows, in one pass over all blocks."""
        return joined_diagnosis(list(self.over_blocks(lambda block: block.diagnosis(at, with_products=with_products))))


class _Shared:
    """The rows as one of several climbs sees them: its questions are answered with those of the others."""

    def __init__(self, rows: StreamLikelihood, ask: Callable[[Callable[[Likelihood], Any]], list[Any]]) -> None:
        self._rows, self._ask = rows, ask
        self.n_data, self.floor, self.noise = rows.n_data, rows.floor, rows.noise
        self.cells, self.scaling = rows.cells, rows.scaling

    @property
    def n_passes(self) -> int:
        return self._rows.n_passes

    def sums(self, at: Parameters) -> Sums:
        return joined_sums(self._ask(lambda block: block.sums(at)))

    def curvature(self, at: Parameters) -> Array:
        return self._rows.curvature(at)

    def curvature_of_sample(self, at: Parameters, most: int) -> Array:
        return self._rows.curvature_of_sample(at, most)

    def diagnosis(self, at: Parameters, *, with_products: bool = False) -> Diagnosis:
        return joined_diagnosis(self._ask(lambda block: block.diagnosis(at, with_products=with_products)))


def together(rows: StreamLikelihood, tasks: Sequence[Callable[[Any], _T]]) -> list[_T]:
    """The results of several tasks on the same rows, which share the passes over them.

    Each task runs in a thread of its own until it asks for a pass; when all that are still at work have asked, one pass
    answers them. No result depends on the others.

    Parameters
    ----------
    rows : StreamLikelihood
    tasks : sequence of callable
        Each takes what an ascent needs of the rows.
    """
    changed = threading.Condition()
    waiting: dict[int, Callable[[Likelihood], Any]] = {}
    answers: dict[int, list[Any] | BaseException] = {}
    n_active = len(tasks)

    def run(place: int) -> _T:
        nonlocal n_active

        def ask(question: Callable[[Likelihood], Any]) -> list[Any]:
            with changed:
                waiting[place] = question
                changed.notify_all()
                changed.wait_for(lambda: place in answers)
                answer = answers.pop(place)
            if isinstance(answer, BaseException):
                raise answer
            return answer

        try:
            return tasks[place](_Shared(rows, ask))
        finally:
            with changed:
                n_active -= 1
                changed.notify_all()

    with ThreadPoolExecutor(max(len(tasks), 1)) as pool:
        futures = [pool.submit(run, place) for place in range(len(tasks))]
        while True:
            with changed:
                changed.wait_for(lambda: len(waiting) == n_active)
                if not n_active:
                    break
                asked = dict(waiting)
                waiting.clear()
            found: dict[int, list[Any] | BaseException]
            try:
                parts = list(rows.over_blocks(partial(_answers, list(asked.values()))))
                found = {place: [part[k] for part in parts] for k, place in enumerate(asked)}
            except BaseException as error:  # each of the tasks ends with it, and then this one
                found = dict.fromkeys(asked, error)
            with changed:
                answers.update(found)
                changed.notify_all()
        return [future.result() for future in futures]


def _answers(questions: list[Callable[[Likelihood], Any]], block: Likelihood) -> list[Any]:
    return [question(block) for question in questions]


def joined_sums(parts: list[Sums]) -> Sums:
    """The sums of all blocks."""
    return Sums(
        math.fsum(part.loglik for part in parts),
        *(_exact_sum([getattr(part, name) for part in parts]) for name in ("q", "slopes", "curls")),
    )


def joined_diagnosis(parts: list[Diagnosis]) -> Diagnosis:
    """The diagnosis of all blocks."""
    first, second, squared, precision, seen = (
        _exact_sum([getattr(part, name) for part in parts])
        for name in ("first", "second", "squared", "precision", "seen")
    )
    entropy = math.fsum(part.entropy for part in parts)
    return Diagnosis(entropy, first, second, squared, precision, seen, parts[0].products)


def _smallest(
    parts: list[tuple[NDArray[np.uint64], JointCells]], most: int
) -> list[tuple[NDArray[np.uint64], JointCells]]:
    """The rows with the smallest hashes."""
    states = np.concatenate([state for state, _ in parts])
    if states.size <= most:
        return parts
    limit = np.partition(states, most - 1)[most - 1]
    kept = []
    for state, block in parts:
        rows = np.flatnonzero(state <= limit)
        if rows.size:
            kept.append((state[rows], block.subset(rows)))
    return kept


def _joined(blocks: list[JointCells]) -> JointCells:
    """All rows of some blocks."""
    first = blocks[0]
    projections = None if first.projections is None else np.concatenate([block.projections for block in blocks])
    return JointCells.from_rows(
        np.concatenate([block.x for block in blocks]),
        cov=np.concatenate([block.cov for block in blocks]),
        weights=np.concatenate([block.weights for block in blocks]),
        weight_kind="counts",
        names=first.names,
        projections=projections,
        sigma_floor=[one.floor if one.cause == "given" else math.nan for one in first.resolutions],
    )
