"""The definition of a fit of several columns."""

from __future__ import annotations

from dataclasses import dataclass

from mixpipe.model.joint.cells import JointCells

STRUCTURES = ("full", "diagonal", "spherical", "equal")


def check_structure(structure: str) -> None:
    """Check the name of a structure.

    Raises
    ------
    ValueError
        For an unknown one.
    """
    if structure not in STRUCTURES:
        raise ValueError(f"unknown structure {structure!r}: expected one of {', '.join(STRUCTURES)}")


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
