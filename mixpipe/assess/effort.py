"""The diagnostics to compute for a chosen fit."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Effort:
    """The diagnostics to compute for a chosen fit; see the keys of the same names in the `settings` of a configuration.

    Parameters
    ----------
    bootstrap : int
        Number of draws for bootstrap uncertainties and intervals.
    quality_draws : int
        Number of simulated catalogs for the p-values of the quality.
    profile : bool or str
        Whether to compute profile-likelihood intervals; ``auto`` computes them if a component rests on few rows.
    likelihood_ratio : int
        Number of simulated catalogs for the test against one more component.
    exact : bool
        Whether to finish fits on all rows; otherwise results for more rows than fit into memory are those of a sketch.
    seed : int
        Seed of all random draws.
    """

    bootstrap: int = 0
    quality_draws: int = 0
    profile: bool | str = "auto"
    likelihood_ratio: int = 0
    exact: bool = True
    seed: int = 1
