"""What is worth computing about a chosen fit."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Effort:
    """See the keys of these names in the `settings` of a configuration.

    Parameters
    ----------
    bootstrap : int
        Draws for bootstrap uncertainties and intervals.
    quality_draws : int
        Simulated catalogs for the p-values of the quality.
    profile : bool
        Profile-likelihood intervals.
    likelihood_ratio : int
        Simulated catalogs for the test against one component more.
    exact : bool
        Finish fits on all rows; otherwise numbers of more rows than fit into memory are those of a sketch.
    seed : int
        Seed of everything that is drawn.
    """

    bootstrap: int = 0
    quality_draws: int = 0
    profile: bool = False
    likelihood_ratio: int = 0
    exact: bool = True
    seed: int = 1
