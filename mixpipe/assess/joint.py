"""Bootstrap and likelihood-ratio test of fits of several columns."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mixpipe.assess.bootstrap import repeat
from mixpipe.assess.joint_rows import draw_rows
from mixpipe.assess.simulation import SAME_LOGLIK, LikelihoodRatio, p_value
from mixpipe.base.arrays import Array
from mixpipe.fitting.engine import engine_for_columns
from mixpipe.fitting.joint_problem import JointProblem
from mixpipe.model.joint.cells import JointCells
from mixpipe.model.joint.mixture import JointMixture
from mixpipe.model.joint.results import JointFit, JointUncertainties


@dataclass(frozen=True, eq=False)
class JointDraws:
    """Mixtures fitted to resampled rows of several columns.

    Parameters
    ----------
    mixture : JointMixture
        The fit to the original rows.
    mixtures : tuple of JointMixture
        One for each draw.
    order : ndarray of int, shape (n_draws, n_components)
        The component of each draw that continues each component of `mixture`.
    n_unconverged : int
        Number of draws that did not converge; their parameters are included.
    """

    mixture: JointMixture
    mixtures: tuple[JointMixture, ...]
    order: Array
    n_unconverged: int

    def values(self, name: str) -> Array:
        """An attribute of the mixtures, such as ``means``, with the components in the order of `mixture`."""
        return np.stack(
            [getattr(mixture, name)[order] for mixture, order in zip(self.mixtures, self.order, strict=True)]
        )

    def uncertainties(self) -> JointUncertainties:
        """Standard deviations of the draws."""
        names = ("weights", "means", "sigmas", "correlations", "covariances")
        return JointUncertainties(*(np.std(self.values(name), axis=0, ddof=1) for name in names))

    def intervals(self, name: str, level: float = 0.68) -> tuple[Array, Array]:
        """Percentiles of an attribute that enclose a share of the draws.

        Raises
        ------
        ValueError
            For a level that is not between 0 and 1.
        """
        if not 0.0 < level < 1.0:
            raise ValueError(f"level must lie between 0 and 1, found {level}")
        low, high = np.quantile(self.values(name), [0.5 - 0.5 * level, 0.5 + 0.5 * level], axis=0)
        return low, high


def bootstrap_columns(
    cells: JointCells, fit: JointFit, n_draws: int, seed: int, *, n_threads: int | None = None
) -> JointDraws:
    """Refit the mixture to rows that are drawn with replacement (Efron 1979).

    Each draw climbs from the fit. Counts are drawn as if each of their rows were listed; other weights stay with their
    rows.

    Parameters
    ----------
    cells : JointCells
        The rows that were fitted.
    fit : JointFit
    n_draws : int
    seed : int
        Seed of the random streams, one for each draw.
    n_threads : int or None
        Threads; all cores by default. The result does not depend on it.

    Raises
    ------
    ValueError
        If `n_draws` is not positive.

    Examples
    --------
    >>> from mixpipe.fitting.choose import fit_mixture
    >>> x = np.random.default_rng(1).normal(size=(100, 2))
    >>> cells = JointCells.from_rows(x, err=0.1)
    >>> draws = bootstrap_columns(cells, fit_mixture(cells, n_components=1), n_draws=200, seed=2)
    >>> bool(np.all(np.abs(draws.uncertainties().means - x.std(axis=0) / 10.0) < 0.02))
    True
    """
    engine, problem = engine_for_columns(), JointProblem(cells, fit.structure, 1)
    rows = problem.cells
    counted = rows.weight_kind == "counts"
    counts = rows.weights if counted else np.ones(len(rows))
    n_rows, shares = round(float(counts.sum())), counts / counts.sum()

    def draw(rng: np.random.Generator) -> tuple[JointMixture, bool]:
        times = rng.multinomial(n_rows, shares).astype(np.float64)
        return engine.refit(replace(problem, cells=rows.reweighted(times if counted else times * rows.weights)), fit)

    found = repeat(draw, n_draws, seed, n_threads)
    mixtures = tuple(mixture for mixture, _ in found)
    order = np.stack([_continued(fit.mixture, mixture) for mixture in mixtures])
    return JointDraws(fit.mixture, mixtures, order, sum(not converged for _, converged in found))


def _continued(mixture: JointMixture, other: JointMixture) -> Array:
    """The components of a mixture that continue those of another one: the nearest, in units of their widths."""
    from scipy.optimize import linear_sum_assignment

    spread = np.sqrt(np.mean(mixture.sigmas**2, axis=0) + np.var(mixture.means, axis=0))
    spread = np.where(spread > 0.0, spread, 1.0)
    cost = np.sum(((mixture.means[:, None] - other.means) / spread) ** 2, axis=2)
    cost += np.sum(((mixture.sigmas[:, None] - other.sigmas) / spread) ** 2, axis=2)
    cost += (mixture.weights[:, None] - other.weights) ** 2
    return np.asarray(linear_sum_assignment(cost)[1])


def likelihood_ratio_of_columns(
    cells: JointCells,
    n_components: int,
    *,
    structure: str = "full",
    n_draws: int = 99,
    seed: int = 1,
    n_threads: int | None = None,
) -> LikelihoodRatio:
    """Test M components against M + 1 by the parametric bootstrap (McLachlan 1987); see `likelihood_ratio_test`.

    Parameters
    ----------
    cells : JointCells
        Rows. Counts stand for that many rows with the same errors and gaps, which are drawn together.
    n_components : int
        Number of components M.
    structure : str
        Of the intrinsic covariances.
    n_draws, seed, n_threads
        As in `mixpipe.assess.simulation.likelihood_ratio_test`.

    Returns
    -------
    LikelihoodRatio

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> x = np.concatenate([rng.normal(0, 1, (40, 2)), rng.normal(9, 1, (40, 2))])
    >>> likelihood_ratio_of_columns(JointCells.from_rows(x, err=0.2), 1, n_draws=9).p_value
    0.1
    """
    engine = engine_for_columns()

    def gain(catalog: JointCells, n_threads: int | None) -> tuple[JointMixture, float]:
        (mixture, fewer), (_, more) = engine.fits(
            JointProblem(catalog, structure, n_threads), n_components + 1, last=2
        ).maxima
        return mixture, 2.0 * (more - fewer)

    mixture, observed = gain(cells, n_threads)
    simulated = np.array(
        repeat(lambda rng: gain(draw_rows(mixture, cells, rng), 1)[1], n_draws, seed, n_threads), dtype=np.float64
    )
    return LikelihoodRatio(observed, p_value(observed - SAME_LOGLIK, simulated), n_draws)
