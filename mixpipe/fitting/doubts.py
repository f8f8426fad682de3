"""Reasons to doubt a choice of the number of components."""

from __future__ import annotations

from dataclasses import replace

from mixpipe.fitting.contract import Fits
from mixpipe.model.results import Selection

# A criterion that is higher by less than this is hardly evidence against a number of components (Kass & Raftery 1995).
_CLOSE_CHOICE = 2.0


def with_doubts(selection: Selection, engine_fits: Fits | None, max_components: int) -> Selection:
    """The selection, with warnings on its best fit about reasons to doubt the choice."""
    best, doubts = selection.best, doubts_about(selection, engine_fits, max_components)
    fits = tuple(replace(fit, warnings=fit.warnings + doubts) if fit is best else fit for fit in selection.fits)
    return replace(selection, fits=fits)


def doubts_about(selection: Selection, engine_fits: Fits | None, max_components: int) -> tuple[str, ...]:
    """Reasons to doubt the choice of the number of components."""
    best, criterion = selection.best, selection.criterion
    doubts = []
    for fit in selection.fits:
        above = selection.judged(fit) - selection.judged(best)
        if fit is not best and above < _CLOSE_CHOICE and best.n_data >= fit.n_params:
            family = f" of family {fit.mixture.family}" if fit.mixture.family != best.mixture.family else ""
            # With different penalties the criterion may itself prefer the other.
            with_nats = "" if fit.occam == best.occam else ", penalties included,"
            which = f"{criterion.upper()} of {fit.n_components} components{family}{with_nats}"
            doubts.append(f"{which} is only {above:.2g} higher")
    if best.n_components == max_components > 1:
        doubts.append(f"the choice is the largest number tried: raise max_components above {best.n_components}")
    if engine_fits is not None and engine_fits.sketch is not None and not engine_fits.sketch.resolved:
        doubts.append(
            f"the narrowest component is not resolved: a sketch finer than {engine_fits.sketch.base:.3g} is wanted"
        )
    if not best.exact:
        doubts.append("parameters and log-likelihood are those of a sketch of the rows")
    return tuple(doubts)
