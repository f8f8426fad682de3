"""Starts that users give: mixtures, lists of parameters, or memberships."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mixpipe.model.cell_blocks import CellBlocks
from mixpipe.model.cells import Cells
from mixpipe.model.mixture import Mixture

_KEYS = ("weights", "means", "sigmas", "families", "shapes")


def as_start(start: Any, cells: Cells | CellBlocks, n_components: int | None = None) -> Mixture:
    """The mixture from which to climb.

    Parameters
    ----------
    start : Mixture, mapping or array_like
        A mixture; a mapping with its ``weights``, ``means`` and ``sigmas``, and perhaps ``families`` and ``shapes``;
        or, for each row, a label from 0 to n_components - 1 or the probability of each component.
    cells : Cells or CellBlocks
        The data.
    n_components : int or None
        Number of components; None if it is that of the start.

    Raises
    ------
    ValueError
        For lists that are not those of a mixture, or memberships that leave a component without rows.

    Examples
    --------
    >>> cells = Cells.from_rows([0.0, 1.0, 9.0, 10.0], 0.1)
    >>> as_start([0, 0, 1, 1], cells).means
    array([0.5, 9.5])
    """
    if isinstance(start, Mixture):
        return start
    if isinstance(start, Mapping):
        return start_from(start)
    shares = np.asarray(start)
    if isinstance(cells, CellBlocks) or shares.ndim not in (1, 2) or len(shares) != len(cells):
        raise ValueError(
            f"start of shape {shares.shape}: expected a Mixture, a mapping with means and sigmas, or a label or the "
            f"probabilities of the components for each of {len(cells)} rows"
        )
    if shares.ndim == 1:
        if shares.dtype.kind not in "iu" or shares.min() < 0:
            raise ValueError("start: expected labels that are whole numbers from 0")
        shares = shares[:, None] == np.arange(n_components or int(shares.max()) + 1)
    shares = shares.astype(np.float64) * cells.weights[:, None]
    n_rows = shares.sum(axis=0)
    if not np.all(n_rows > 0.0):
        raise ValueError(f"start: component {int(np.argmin(n_rows > 0.0)) + 1} has no rows")
    means = cells.x @ shares / n_rows
    variances = np.einsum("ij,ij->j", shares, (cells.x[:, None] - means) ** 2 - cells.err[:, None] ** 2) / n_rows
    # Rows whose scatter is that of their errors still have room to move.
    least = 0.1 * np.einsum("ij,ij->j", shares, (cells.x[:, None] - means) ** 2) / n_rows
    return Mixture(n_rows / n_rows.sum(), means, np.sqrt(np.maximum(variances, least)))


def size_of_start(start: Any) -> int:
    """Number of components of a start.

    Raises
    ------
    ValueError
        For a start that is none of those of `as_start`.

    Examples
    --------
    >>> size_of_start({"means": [0, 4], "sigmas": [1, 1]}), size_of_start([0, 0, 1, 2, 2])
    (2, 3)
    """
    if hasattr(start, "n_components"):
        return int(start.n_components)
    if isinstance(start, Mapping):
        return len(np.atleast_1d(start["means"])) if "means" in start else start_from(start).n_components
    shares = np.asarray(start)
    if shares.ndim == 2:
        return shares.shape[1]
    if shares.ndim != 1 or not shares.size or shares.dtype.kind not in "iu":
        raise ValueError("start: expected a Mixture, a mapping with means and sigmas, labels or probabilities")
    return int(shares.max()) + 1


def start_from(given: Mapping[str, Any]) -> Mixture:
    """The mixture with these parameters; see `as_start`.

    Examples
    --------
    >>> start_from({"means": [0, 4], "sigmas": [1, 1]})
    Mixture(weights=[0.5 0.5], means=[0. 4.], sigmas=[1. 1.])
    """
    unknown = [name for name in given if name not in _KEYS]
    if unknown:
        raise ValueError(f"start: unknown key {unknown[0]!r}, expected {', '.join(_KEYS)}")
    parts = {name: value for name, value in given.items() if value is not None}
    if "means" not in parts or "sigmas" not in parts:
        raise ValueError("start without means and sigmas, expected both, and weights unless these are equal")
    size = np.size(parts["means"])
    if any(np.size(value) != size for value in parts.values()):
        raise ValueError("start has lists of different lengths, expected one number for each component")
    return Mixture(**{"weights": np.full(size, 1.0 / max(size, 1)), **parts})
