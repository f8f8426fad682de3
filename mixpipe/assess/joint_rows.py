"""Simulated catalogs of several columns. What draws them does not depend on how mixtures are fitted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mixpipe.model.joint.cells import JointCells
from mixpipe.model.joint.mixture import JointMixture, factors


def draw_rows(mixture: JointMixture, like: JointCells, rng: np.random.Generator) -> JointCells:
    """A simulated catalog with the errors, gaps, projections and weights of another one.

    Parameters
    ----------
    mixture : JointMixture
        Of the true values.
    like : JointCells
    rng : numpy.random.Generator
    """
    true = mixture.sample(len(like), rng)
    x = true if like.projections is None else np.einsum("nvd,nd->nv", like.projections, true)
    noise = np.einsum("nab,nb->na", factors(like.cov), rng.standard_normal(x.shape))
    return replace(like, x=np.where(np.isnan(like.x), np.nan, x + noise))
