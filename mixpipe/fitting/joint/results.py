"""Maxima of the likelihood of several columns as results, in the units of the data."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mixpipe.base.arrays import Array
from mixpipe.base.presentation import plural
from mixpipe.fitting.admissible import ALMOST, NEAR_GRAIN, importance_nats
from mixpipe.fitting.gains import CONVERGED_GAIN
from mixpipe.fitting.joint.ascent import MAX_CURVED, Ascent
from mixpipe.fitting.joint.likelihood import Likelihood
from mixpipe.fitting.joint.stream import StreamLikelihood
from mixpipe.fitting.joint.structure import n_params
from mixpipe.fitting.joint.uncertainty import boundary, covariance_of, null_limits, uncertainties
from mixpipe.model.joint.cells import JointCells
from mixpipe.model.joint.results import JointFit, JointUncertainties
from mixpipe.model.kernels.joint import packed
from mixpipe.model.regimes import JOINT_CURVATURE_ROWS

# The repeated rows of a catalog matter if they are more than this part of all, and more than these.
_REPEATED_SHARE, _REPEATED_ROWS = 0.05, 5


def result_of(likelihood: Likelihood | StreamLikelihood, ascent: Ascent, structure: str) -> JointFit:
    """The fit in the units of the data, with uncertainties and warnings."""
    cells, at, scaling = likelihood.cells, ascent.at, likelihood.scaling
    size, n_dims = at.n_components, at.n_dims
    edge = boundary(at, likelihood.floor, likelihood.noise)
    is_importance = cells.weight_kind == "importance"
    is_curved = n_params(size, n_dims, structure) <= MAX_CURVED
    diagnosis = likelihood.diagnosis(at, with_products=is_importance and is_curved)
    limits = [np.full(len(axes), np.nan) for axes in edge.directions]
    uncs, natural = (
        JointUncertainties.unknown(size, n_dims),
        np.full((size * (1 + n_dims + packed(n_dims)),) * 2, np.nan),
    )
    if is_curved:
        curvature = likelihood.curvature_of_sample(at, JOINT_CURVATURE_ROWS)
        products = diagnosis.products if is_importance else None
        covariance = covariance_of(likelihood, at, ascent.sums, curvature, structure, products)
        uncs, natural = uncertainties(at, covariance, scaling, edge)
        if structure == "full":
            limits = null_limits(likelihood, at, ascent.sums, curvature, edge, structure)
    directions = []
    for j, (axes, variances) in enumerate(zip(edge.directions, limits, strict=True)):
        # A direction v of the columns has the length of v / scale in scaled units.
        own = axes / scaling.scale
        lengths = np.linalg.norm(own, axis=1)
        directions.append(own / lengths[:, None])
        limits[j] = np.sqrt(variances) / lengths
    occam = _occam(cells, at.weights, diagnosis.effective_rows, diagnosis.total_vars * scaling.scale**2)
    if is_importance:
        price = n_params(2, n_dims, structure) - n_params(1, n_dims, structure)
        occam += importance_nats(diagnosis.first, diagnosis.squared, likelihood.n_data, price)
    mixture = scaling.mixture(at, cells.names)
    order = np.lexsort((scaling.centre + scaling.scale * at.means).T[::-1])
    k = 1 + n_dims + packed(n_dims)
    moved = (order[:, None] * k + np.arange(k)).ravel()
    return JointFit(
        mixture=mixture,
        estimator="em",
        loglik=ascent.loglik,
        entropy=diagnosis.entropy,
        n_data=likelihood.n_data,
        n_params=n_params(size, n_dims, structure),
        converged=ascent.converged,
        remaining_gain=ascent.remaining_gain,
        n_passes=likelihood.n_passes,
        boundary=(edge.rank < n_dims)[order],
        effective_rows=diagnosis.effective_rows[order],
        occam=occam,
        warnings=tuple(_remarks(likelihood, ascent, structure, edge.rank[order], diagnosis.effective_rows[order])),
        has_equal_sigmas=structure == "equal",
        uncertainties=uncs.reordered(order),
        structure=structure,
        rank=edge.rank[order],
        null_directions=tuple(directions[j] for j in order),
        null_limits=tuple(limits[j] for j in order),
        n_params_by_rank=n_params(size, n_dims, structure)
        - sum(packed(n_dims) - r * (2 * n_dims - r + 1) // 2 for r in edge.rank.tolist() if structure == "full"),
        covariance=natural[np.ix_(moved, moved)],
        parameter_names=_parameter_names(cells.names, size),
        resolutions=cells.resolutions,
        dropped=cells.dropped,
        weight_kind=cells.weight_kind,
    )


def _parameter_names(names: tuple[str, ...], size: int) -> tuple[str, ...]:
    found = []
    for j in range(1, size + 1):
        found += [f"weight_{j}", *(f"mean_{j}_{name}" for name in names)]
        found += [f"cov_{j}_{names[a]}_{names[b]}" for a in range(len(names)) for b in range(a + 1)]
    return tuple(found)


def _occam(cells: JointCells, weights: Array, rows: Array, total_vars: Array) -> float:
    """Penalty in nats on components that no regular maximum has; see `mixpipe.fitting.admissible`.

    Components on no more rows than they have columns have to gain the part of the range of each column to which they
    are confined, and their price by BIC once more; those that are hardly wider than the grain of a column, the
    information on their location there.
    """
    seen = ~np.isnan(cells.x)
    if cells.projections is not None or not np.all(np.isfinite(total_vars)):
        return 0.0
    share = cells.weights[:, None] * seen
    filled = np.where(seen, cells.x, 0.0)
    total = np.maximum(share.sum(axis=0), 1e-300)
    mean = (share * filled).sum(axis=0) / total
    spread = (share * (filled - mean) ** 2).sum(axis=0) / total
    tiny = np.finfo(np.float64).tiny
    ratios = np.log(np.maximum(spread, tiny)) - np.log(np.maximum(total_vars, tiny))
    n_dims = cells.n_dims
    few = rows < max(3, n_dims + 1) - ALMOST
    price = 0.5 * (1 + n_dims + packed(n_dims)) * math.log(max(cells.n_data, 1.0))
    found = float(np.sum(np.maximum(ratios[few], 0.0)) + price * np.count_nonzero(few))
    grains = np.array([one.grain**2 if one.floor > 0.0 and one.cause != "given" else 0.0 for one in cells.resolutions])
    near = (total_vars < NEAR_GRAIN**2 * grains) & ~few[:, None] & (weights > 0.0)[:, None]
    logs = np.log(np.maximum(weights, tiny))[:, None]
    return found + float(np.sum(np.where(near, np.maximum(0.5 * (ratios + logs), 0.0), 0.0)))


def _remarks(
    likelihood: Likelihood | StreamLikelihood, ascent: Ascent, structure: str, rank: NDArray[np.intp], rows: Array
) -> Iterator[str]:
    cells, at = likelihood.cells, ascent.at
    for reason, number in cells.dropped.items():
        yield f"{plural(number, 'row')} left out: {reason}"
    if not ascent.converged and not ascent.remaining_gain < CONVERGED_GAIN:
        yield f"not converged: {ascent.remaining_gain:.2g} nats remain (converged: {CONVERGED_GAIN:g})"
    for j in np.flatnonzero(rank < at.n_dims):
        yield (
            f"component {j + 1} has no width in {plural(at.n_dims - int(rank[j]), 'direction')} (rank {rank[j]} of "
            f"{at.n_dims}): see null_directions and null_limits"
        )
    for name, resolution in zip(cells.names, cells.resolutions, strict=True):
        if resolution.floor > 0.0 and resolution.cause != "given":
            yield f"{name}: {resolution.note()}"
    n_repeated = cells.n_repeated
    if n_repeated > max(_REPEATED_ROWS, _REPEATED_SHARE * cells.n_data) and cells.weight_kind == "counts":
        yield (
            f"{n_repeated:,} rows repeat another row exactly: rows that are not independent make BIC find too many "
            "populations"
        )
    parameters = n_params(at.n_components, at.n_dims, structure)
    if cells.n_data < parameters:
        yield f"{parameters} parameters for {plural(cells.n_data, 'row')}"
    if parameters > MAX_CURVED:
        yield f"more than {MAX_CURVED} parameters: there are no uncertainties"
    few = rows < max(3, at.n_dims + 1) - ALMOST
    if few.any():
        numbers = ", ".join(str(j + 1) for j in np.flatnonzero(few))
        yield f"component {numbers} rests on no more rows than it has columns"
