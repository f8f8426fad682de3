"""The definition of a fit of several columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mixpipe.model.joint.cells import JointCells

STRUCTURES = ("full", "diagonal", "spherical", "equal")
# Part of the sum of squares of projections below which a direction is seen by none.
_UNSEEN = 1e-14


def check_structure(structure: str) -> None:
    """Check the name of a structure.

    Raises
    ------
    ValueError
        For an unknown one.
    """
    if structure not in STRUCTURES:
        raise ValueError(f"unknown structure {structure!r}: expected one of {', '.join(STRUCTURES)}")


def check_observed(cells: JointCells) -> None:
    """Check that the rows say something of each column.

    Raises
    ------
    ValueError
        For a column without any value, or projections that leave something of the columns out in all rows.
    """
    if cells.projections is None:
        for name, values in zip(cells.names, cells.x.T, strict=True):
            if np.isnan(values).all():
                raise ValueError(f"column {name} has no value in any of the rows that can be used; leave it out")
        return
    normal = np.einsum("nka,nkb->ab", cells.projections, cells.projections)
    scale = np.sqrt(np.diagonal(normal))
    for name, length in zip(cells.names, scale, strict=True):
        if length == 0.0:
            raise ValueError(f"projections are zero for column {name} in all rows; leave it out")
    if np.linalg.eigvalsh(normal / (scale[:, None] * scale))[0] < _UNSEEN:
        raise ValueError("projections of all rows leave out the same combination of columns; expected all to be seen")


@dataclass(frozen=True, eq=False)
class JointProblem:
    """The rows and the kind of mixture to be fitted.

    Parameters
    ----------
    cells : JointCells
    structure : str
        Of the intrinsic covariances: ``full``, ``diagonal``, ``spherical``, or ``equal`` (full, the same for all).
    n_threads : int or None
        Number of threads; all cores by default. No result depends on it.
    """

    cells: JointCells
    structure: str = "full"
    n_threads: int | None = None

    def __post_init__(self) -> None:
        check_structure(self.structure)
        object.__setattr__(self, "cells", self.cells.ordered())
        if self.structure == "spherical":
            # One width for all columns respects the largest of their floors.
            object.__setattr__(self, "cells", self.cells.with_common_floor())
