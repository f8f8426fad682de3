"""The numbers behind the figures of a joint fit, for the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mixpipe.assess.joint_transforms import Transforms
from mixpipe.model.mixture import Mixture
from mixpipe.model.results import Array
from mixpipe.report.figures.joint_scene import JointScene
from mixpipe.report.figures.look import DEFAULT, NONE_SET, Look

# Rows that are drawn for each pair of columns, and points at which differences of distribution functions are given.
_POINTS, _PLACES = 1000, 128


def joint_curves(
    scene: JointScene,
    transforms: Transforms,
    own: Mapping[str, Mixture] | None = None,
    note: str = "",
    looks: Mapping[str, Look] = NONE_SET,
) -> dict[str, Any]:
    """The content of the figures of a joint fit, as arrays.

    Parameters
    ----------
    scene : JointScene
        The fit and its rows.
    transforms : Transforms
        Integral transforms of these rows.
    own : mapping of str to Mixture, or None
        The mixtures that were fitted to single columns, by the names of these.
    note : str
        N, M, and what is not shown.
    looks : mapping of str to Look
        Those of columns whose `label` names their axes, by the names of these.

    Returns
    -------
    dict
        ``note``; ``columns``, for each column its ``name``, its ``label`` if one is set, ``range`` and whether its axis
        is logarithmic, ``log``;
        ``edges``, ``counts`` and ``density`` of the histogram; ``x``, and for each of these points ``observed`` and
        ``intrinsic``, the density of the mixture as observed and with the errors removed, and ``own``, that of the
        column's own fit as observed (None without); ``points``, the values of some rows in the range of all columns
        that they have, evenly spaced in the catalog; ``ellipses``, for each pair of columns the coordinates of the
        ellipse of 1 sigma of each component, ``intrinsic`` and ``observed``; ``uniformity``, for each projection the
        difference ``excess`` of the distribution function of its transform from a uniform one, at the places ``u``.
    """
    places = np.linspace(0.0, 1.0, _PLACES + 1)
    return {
        "note": note,
        "columns": [
            {"name": name, "label": looks.get(name, DEFAULT).label, **_column(scene, a, (own or {}).get(name))}
            for a, name in enumerate(scene.mixture.names)
        ],
        "points": _points(scene).T,
        "ellipses": [
            {
                "columns": [b, a],
                "intrinsic": _ellipses(scene, b, a, observed=False),
                "observed": _ellipses(scene, b, a, observed=True) if scene.has_errors else None,
            }
            for a in range(scene.n_dims)
            for b in range(a)
        ],
        "uniformity": {
            "u": places,
            "excess": {
                name: _excess(counts, places) for name, counts in zip(transforms.names, transforms.counts, strict=True)
            },
        },
    }


def _excess(counts: Array, places: Array) -> Array:
    """The distribution function of a transform minus the uniform one; zero without rows."""
    sums = np.append(0.0, np.cumsum(counts.reshape(places.size - 1, -1).sum(axis=1)))
    return sums / sums[-1] - places if sums[-1] > 0.0 else np.zeros_like(places)


def _column(scene: JointScene, a: int, own: Mixture | None) -> dict[str, Any]:
    column, marginal = scene.columns[a], scene.marginal(a)
    edges, grid = column.edges(marginal), column.grid(marginal)
    broad = marginal.sigmas > column.finest(marginal.means)
    return {
        "range": [column.low, column.high],
        "log": column.log,
        "edges": edges,
        "counts": column.counts(edges),
        "density": column.histogram(edges),
        "x": grid,
        "observed": column.observed(marginal, grid).sum(axis=0),
        "intrinsic": column.intrinsic(marginal, grid)[broad].sum(axis=0),
        "own": None if own is None else column.observed(own, grid).sum(axis=0),
    }


def _points(scene: JointScene) -> Array:
    low, high = (np.array([getattr(column, end) for column in scene.columns]) for end in ("low", "high"))
    x = scene.cells.x
    inside = x[~((x < low) | (x > high)).any(axis=1)]
    return inside[:: -(-len(inside) // _POINTS) or 1]


def _ellipses(scene: JointScene, a: int, b: int, *, observed: bool) -> list[tuple[Array, Array]]:
    return [scene.ellipse(j, a, b, 1.0, observed=observed) for j in range(scene.mixture.n_components)]
