"""The directions in which a mixture may change: those that the constraints and the bounds leave."""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from mixpipe.base.arrays import Array
from mixpipe.fitting.general.likelihood import Expansion, GeneralLikelihood, Point, places
from mixpipe.model.constraints import PARTS

# Smallest and largest factor of all errors.
BOUNDS_OF_SCALE = (0.01, 100.0)
# A component whose weight is below this contains no data.
_NO_WEIGHT = 1e-12


def directions(likelihood: GeneralLikelihood, point: Point, here: Expansion) -> Array:
    """Directions in which a mixture may change, as columns over the variables of `GeneralLikelihood.expansion`.

    A variable may not change if its parameter is given, if it is a sigma at the floor that would shrink, a shape or a
    mean at its bound, or belongs to an empty component. Tied parameters change together. Where weights are given, the
    directions keep the sum of the others.

    Returns
    -------
    ndarray, shape (n_variables, n_directions)
    """
    units = likelihood.units(point)
    free = _within_bounds(likelihood, point, units, here)
    if likelihood.fits_scale:
        low, high = BOUNDS_OF_SCALE
        rises = here.gradient[-1] > 0.0
        free[-1] = not ((point.error_scale >= high and rises) or (point.error_scale <= low and not rises))
    if not point.is_constrained:
        return np.eye(free.size)[:, free]
    groups = [
        f"tied {group}"
        for group in sorted({(rule.tie("sigmas") or ("",))[0] for rule in point.constraints} - {""})
        if _is_held(likelihood, point, units, here, group)
    ]
    found = allowed_directions(point, units, free, [("sigmas", name) for name in groups])
    return np.column_stack([found, np.eye(free.size)[:, -1]]) if likelihood.fits_scale and free[-1] else found


def allowed_directions(
    point: Point, units: list[Array], free: NDArray[np.bool_], held: Collection[tuple[str, str]] = ()
) -> Array:
    """The directions that the constraints leave, as columns over the variables in these units.

    Parameters
    ----------
    point : Point
        The mixture.
    units : list of ndarray
        Unit of each variable, for each component.
    free : ndarray of bool
        Variables that no bound keeps from changing.
    held : collection of (str, str)
        Parts and groups that are held.
    """
    starts = places(units)
    columns: dict[tuple[str, str], Array] = {}
    of_weights: dict[tuple[str, str], float] = {}
    for j, unit in enumerate(units):
        for k in range(unit.size):
            part, variable = PARTS[k], starts[j] + k
            tie = point.constraints[j].tie(part)
            name = (part, f"{j + 1}" if tie is None else f"tied {tie[0]}")
            if not free[variable] or point.constraints[j].is_given(part) or name in held:
                continue
            column = columns.setdefault(name, np.zeros(free.size))
            # Tied weights and sigmas change by the same factor, and tied means in proportion.
            column[variable] = tie[1] / unit[k] if tie is not None and part == "means" else 1.0 / unit[k]
            if part == "weights":
                of_weights[name] = of_weights.get(name, 0.0) + float(point.weights[j])
    if not columns:
        return np.zeros((free.size, 0))
    basis = np.stack([column / np.linalg.norm(column) for column in columns.values()], axis=1)
    if not point.weights_given.any() or not of_weights:
        return basis
    # d(sum of weights) = sum over the columns of (weights in it) / norm.
    change = np.array([of_weights.get(name, 0.0) / np.linalg.norm(column) for name, column in columns.items()])
    of_sum = np.flatnonzero(change)
    normal = change[of_sum] / np.linalg.norm(change[of_sum])
    # Orthonormal directions perpendicular to the change of the sum.
    tangent = np.linalg.qr(np.column_stack([normal, np.eye(normal.size)]))[0][:, 1:]
    others = np.setdiff1d(np.arange(change.size), of_sum)
    return np.concatenate([basis[:, others], basis[:, of_sum] @ tangent], axis=1)


def _within_bounds(
    likelihood: GeneralLikelihood, point: Point, units: list[Array], here: Expansion
) -> NDArray[np.bool_]:
    """Variables that no bound keeps from changing."""
    free = np.ones(here.gradient.size, dtype=bool)
    starts = places(units)
    low, high = likelihood.bounds_of_means()
    for j, (start, unit) in enumerate(zip(starts, units, strict=True)):
        constraint = point.constraints[j]
        if point.weights[j] < _NO_WEIGHT:
            free[start : start + unit.size] = False
        elif unit.size > 2:
            if constraint.tie("sigmas") is None:
                at_floor = point.sigmas[j] <= likelihood.floor * (1.0 + 1e-9)
                free[start + 2] = not (at_floor and here.gradient[start + 2] <= 0.0)
            if unit.size > 3:
                lowest, highest = point.families[j].shape_bounds
                rises = here.gradient[start + 3] > 0.0
                at_bound = (point.shapes[j] >= highest and rises) or (point.shapes[j] <= lowest and not rises)
                free[start + 3] = not at_bound
        if math.isfinite(low) and not point.fixed[j]:
            rises = here.gradient[start + 1] > 0.0
            free[start + 1] &= not ((point.means[j] >= high and rises) or (point.means[j] <= low and not rises))
    return free


def _is_held(likelihood: GeneralLikelihood, point: Point, units: list[Array], here: Expansion, group: str) -> bool:
    """Whether the sigmas of a group are at the floor and would shrink."""
    chosen = [j for j, rule in enumerate(point.constraints) if (rule.tie("sigmas") or ("",))[0] == group]
    at_floor = bool(np.any(point.sigmas[chosen] <= likelihood.floor * (1.0 + 1e-9)))
    return at_floor and float(here.gradient[places(units)[chosen] + 2].sum()) <= 0.0
