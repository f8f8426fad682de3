"""One column's cells -> the chosen fit, what was found out about it, and the other estimators beside it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mixpipe.assess.assessment import Assessment, assess_fit
from mixpipe.assess.bimodality import bimodality_of
from mixpipe.assess.effort import Effort
from mixpipe.assess.pass_quality import assess_rows
from mixpipe.base.errors import CatalogError, ConfigError
from mixpipe.catalog.stream import ColumnStream
from mixpipe.config.settings import ColumnSettings
from mixpipe.fitting.choose import choose_from_rows, choose_n_components, fit_mixture, with_fit
from mixpipe.fitting.contract import Demands, Fits, SketchUse
from mixpipe.fitting.engine import engine_for
from mixpipe.fitting.methods import ESTIMATORS, choose_by
from mixpipe.fitting.rounded import doubts_of_sample, fitted_as_rounded
from mixpipe.model.bimodality import Bimodality
from mixpipe.model.cell_blocks import CellBlocks
from mixpipe.model.cells import Cells
from mixpipe.model.families import FAMILIES
from mixpipe.model.mixture import Mixture
from mixpipe.model.noise import TwoSided
from mixpipe.model.regimes import CHECKED_ROWS
from mixpipe.model.results import FitResult, Selection
from mixpipe.model.rows import concatenated

# A gain of less than this (nats) is the same maximum.
_BETTER = 1e-3
_NO_POINTS = (
    "no bootstrap and no profiles: {:,} rows of this kind are not held in memory and have no sketch that stands for "
    "them; `where` can select fewer rows"
)


@dataclass(frozen=True, eq=False)
class Estimate:
    """A fit by one of the estimators, and the seconds that it took, the choice of M included."""

    fit: FitResult
    seconds: float


@dataclass(frozen=True, eq=False)
class Start:
    """A mixture to climb from beside the search: the fit of another release.

    Parameters
    ----------
    release : str
        Its name.
    mixture : Mixture or None
        Its fit; None if it has none.
    unit : str or None
        Unit of the mixture.
    transform : str
        Transform of its values.
    """

    release: str
    mixture: Mixture | None
    unit: str | None
    transform: str

    def serves(self, column: ColumnSettings, unit: str | None) -> bool:
        """Whether a column in some unit can be climbed from here.

        A background in the range of the data is another one, and the climb has neither a prior nor scaled errors.
        """
        same = self.unit == unit and self.transform == column.transform
        plain = column.background != "uniform" and column.prior is None and column.error_scale != "fit"
        return same and plain and "em" in column.estimators


@dataclass(frozen=True, eq=False)
class Outcome:
    """All that is known of a column.

    Parameters
    ----------
    selection : Selection
        Fits of the first estimator; `best` is the one that was assessed, with all its warnings.
    assessment : Assessment
        What was found out about it.
    estimates : tuple of Estimate
        With the same number of components by each estimator, that of the selection first.
    sketch : SketchUse or None
        What is known of the sketch that stood for the rows, where they were not in memory.
    gain : float or None
        By how much (nats) the start led above what the search had found for its number of components; None where it
        did not, and all is as without a start.
    first_row : str
        What the first row is called whose error is smaller than the grain of the values; nothing where there is none.
    bimodality : Bimodality or None
        Evidence for two populations, of the best fit with two components; None where there is none.
    """

    selection: Selection
    assessment: Assessment
    estimates: tuple[Estimate, ...]
    sketch: SketchUse | None = None
    gain: float | None = None
    first_row: str = ""
    bimodality: Bimodality | None = None

    @property
    def fit(self) -> FitResult:
        """The chosen fit."""
        return self.assessment.fit

    def with_first_row(self, row: str) -> Outcome:
        """The same, with the name of the first row whose error is smaller than the grain of the values."""
        notes = {self.fit.resolution.note(): self.fit.resolution.note(row)}
        named = tuple(notes.get(text, text) for text in self.fit.warnings)
        return replace(self._with_fit(replace(self.fit, warnings=named)), first_row=row)

    def with_warnings(self, texts: Iterable[str]) -> Outcome:
        """The same, with more warnings."""
        return self._with_fit(replace(self.fit, warnings=(*self.fit.warnings, *texts)))

    def _with_fit(self, fit: FitResult) -> Outcome:
        """The same, with the chosen fit replaced everywhere."""
        old = self.fit
        return replace(
            self,
            selection=replace(self.selection, fits=tuple(fit if each is old else each for each in self.selection.fits)),
            assessment=replace(self.assessment, fit=fit),
            estimates=tuple(replace(each, fit=fit) if each.fit is old else each for each in self.estimates),
        )


def estimate_column(
    cells: Cells,
    column: ColumnSettings,
    criterion: str,
    effort: Effort,
    *,
    place: str,
    start: Start | None = None,
    unit: str | None = None,
    n_components: int | None = None,
    n_threads: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Outcome:
    """Choose the number of components, assess the fit, and put the other estimators beside it.

    Parameters
    ----------
    cells : Cells
        The data.
    column : ColumnSettings
        Families, background, estimators, the largest number of components.
    criterion : str
        What chooses.
    effort : Effort
        What to find out.
    place : str
        Which column this is, for error messages.
    start : Start or None
        To climb from beside the search.
    unit : str or None
        Unit of the cells.
    n_components : int or None
        The number of components, None to choose it.
    n_threads, progress
        As in `choose_n_components`.

    Raises
    ------
    CatalogError
        For data that the families or estimators asked for cannot have.
    ConfigError
        For a background that leaves no component.
    """
    check_estimable(cells, column, place, n_components)
    first = _first(column)
    if cells.edges is not None and column.background == "uniform":
        column = replace(column, background=(float(cells.edges.min()), float(cells.edges.max())))
    began = time.perf_counter()

    def select(cells: Cells) -> tuple[Selection, str]:
        return _select(first, cells, column, criterion, n_components, n_threads, progress), ""

    remarks: tuple[str, ...] = ()
    if first == "em" and column.rounding == "auto" and column.sigma_floor is None:
        cells, selection, remarks = fitted_as_rounded(cells, select, n_threads)
    else:
        selection, _ = select(cells)
    gain = None
    if start is not None and start.mixture is not None and start.serves(column, unit):

        def climb(mixture: Mixture) -> FitResult:
            return fit_mixture(
                cells,
                n_components=mixture.n_components,
                start=mixture,
                sigma_floor=column.sigma_floor,
                n_threads=n_threads,
            )

        begun = start.release, start.mixture
        selection, gain = _started(selection, *begun, lambda _, mixture: climb(mixture), column.max_components)
    seconds = time.perf_counter() - began
    best = chosen = selection.best
    names = [name for name in column.estimators if name != first]
    # The others are for Gaussian components, and values without limits or bounds.
    serve = _serve_all(cells.as_values(), column)
    others = [_estimate(name, cells, best.n_components) for name in names] if serve else []
    if others and first == "em" and len(cells) <= CHECKED_ROWS:
        chosen = _climbed(cells, best, [other.fit for other in others], column.sigma_floor, n_threads)
    cells = cells.with_scaled_errors(chosen.error_scale)
    assessment = assess_fit(cells, chosen, effort, n_threads)
    selection = replace(selection, fits=tuple(assessment.fit if fit is best else fit for fit in selection.fits))
    estimates = (Estimate(assessment.fit, seconds), *others)
    bimodal = bimodality_of(
        selection,
        cells,
        n_draws=effort.likelihood_ratio,
        tested=assessment.likelihood_ratio if assessment.fit.n_components == 1 else None,
        seed=effort.seed,
        n_threads=n_threads,
    )
    outcome = Outcome(selection, assessment, estimates, gain=gain, bimodality=bimodal)
    return outcome.with_warnings([remark for remark in remarks if remark])


def estimate_stream(
    stream: ColumnStream,
    column: ColumnSettings,
    criterion: str,
    effort: Effort,
    *,
    place: str,
    start: Start | None = None,
    n_components: int | None = None,
    n_threads: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Outcome:
    """The same for a column whose rows are not held in memory.

    The other estimators, bootstrap and profiles work on the points of the sketch, the quality on all rows, which are
    read once more.

    Parameters
    ----------
    stream : ColumnStream
        The column.
    column, criterion, effort, place, start, n_components, n_threads, progress
        As in `estimate_column`.

    Raises
    ------
    CatalogError
        For a `sigma_floor` of zero where an error is zero, and data that the families asked for cannot have.
    """
    if demands(column) != (Demands(),) or stream.has_limits:
        return _estimate_any(
            stream,
            column,
            criterion,
            effort,
            place,
            start,
            n_components=n_components,
            n_threads=n_threads,
            progress=progress,
        )
    began = time.perf_counter()
    rows = stream.rows(n_threads)
    selection, found = choose_from_rows(
        rows,
        max_components=column.max_components,
        n_components=n_components,
        criterion=criterion,
        sigma_floor=column.sigma_floor,
        exact=effort.exact,
        progress=progress,
    )
    points = found.points
    if points is None:  # rows that no sketch makes fewer
        points = concatenated(rows.blocks(), rows.weight_kind)
    gain = None
    if start is not None and start.mixture is not None and start.serves(column, stream.account.unit):

        def climb(own: FitResult, mixture: Mixture) -> FitResult:
            fit = fit_mixture(
                points,
                n_components=mixture.n_components,
                start=mixture,
                sigma_floor=column.sigma_floor,
                n_threads=n_threads,
            )
            if not effort.exact:
                return replace(fit, exact=False)
            if found.sketch is None:
                return fit
            # The rows are read again only for what is higher on the points, too.
            higher = fit.loglik > found.points_loglik(own.mixture) + _BETTER
            return found.climb(rows, fit.mixture) if higher else own

        begun = start.release, start.mixture
        selection, gain = _started(selection, *begun, climb, column.max_components, found)
    seconds = time.perf_counter() - began
    first = _first(column)
    if first != "em":
        began = time.perf_counter()
        selection = _select(first, points, column, criterion, n_components, n_threads, progress)
        seconds = time.perf_counter() - began
    best = selection.best
    others = [_estimate(name, points, best.n_components) for name in column.estimators if name != first]
    sample = None if found.survey is None else found.survey.sample
    quality = None if sample is None else assess_rows(best, rows, sample, effort)
    assessment = assess_fit(points, best, effort, n_threads, quality=quality, sample=sample)
    selection = replace(selection, fits=tuple(assessment.fit if fit is best else fit for fit in selection.fits))
    estimates = (Estimate(assessment.fit, seconds), *others)
    # A likelihood ratio is simulated only for rows in memory.
    n_draws = effort.likelihood_ratio if sample is None else 0
    bimodal = bimodality_of(selection, points, sample=sample, n_draws=n_draws, seed=effort.seed, n_threads=n_threads)
    outcome = Outcome(selection, assessment, estimates, found.sketch, gain, bimodality=bimodal)
    outcome = outcome.with_first_row(stream.row_name(assessment.fit.resolution.first))
    if sample is None or first != "em" or column.rounding != "auto" or column.sigma_floor is not None:
        return outcome
    return outcome.with_warnings(doubts_of_sample(sample, outcome.fit))


def _estimate_any(
    stream: ColumnStream,
    column: ColumnSettings,
    criterion: str,
    effort: Effort,
    place: str,
    start: Start | None,
    *,
    n_components: int | None,
    n_threads: int | None,
    progress: Callable[[int], None] | None,
) -> Outcome:
    """As `estimate_stream`, for rows and components of any kind."""
    began = time.perf_counter()
    rows = stream.cells(n_threads, exact=effort.exact)
    check_estimable(rows, column, place, n_components)
    selection = _select("em", rows, column, criterion, n_components, n_threads, progress)
    gain = None
    if start is not None and start.mixture is not None and start.serves(column, stream.account.unit):

        def climb(own: FitResult, mixture: Mixture) -> FitResult:
            # A fit that was left on the points of a sketch is far from being chosen.
            if not own.exact:
                return own
            return fit_mixture(rows, n_components=mixture.n_components, start=mixture, n_threads=n_threads)

        begun = start.release, start.mixture
        selection, gain = _started(selection, *begun, climb, column.max_components)
    seconds = time.perf_counter() - began
    best = selection.best
    sample = rows.survey.sample
    names = [name for name in column.estimators if name != "em"] if _serve_all(rows, column) else []
    others = [_estimate(name, sample, best.n_components, rows) for name in names]
    rows = rows.with_scaled_errors(best.error_scale)
    sample = rows.survey.sample
    quality = assess_rows(best, rows, sample, effort)
    points = engine_for(Demands.of_fit(rows, best)).points_for(rows, best)
    assessment = assess_fit(
        sample if points is None else points,
        best,
        effort if points is not None else replace(effort, bootstrap=0, profile=False),
        n_threads,
        quality=quality,
        sample=sample,
        with_limits=points is not None,
    )
    selection = replace(selection, fits=tuple(assessment.fit if fit is best else fit for fit in selection.fits))
    estimates = (Estimate(assessment.fit, seconds), *others)
    bimodal = bimodality_of(selection, sample, sample=sample, seed=effort.seed, n_threads=n_threads)
    outcome = Outcome(selection, assessment, estimates, None, gain, bimodality=bimodal)
    if points is None and (effort.bootstrap or effort.profile is True):
        outcome = outcome.with_warnings([_NO_POINTS.format(rows.survey.n_rows)])
    return outcome.with_first_row(stream.row_name(assessment.fit.resolution.first))


def check_estimable(
    cells: Cells | CellBlocks, column: ColumnSettings, place: str, n_components: int | None = None
) -> None:
    """Refuse cells that the families or estimators asked for cannot have; see `estimate_column`."""
    first = _first(column)
    if first != "em" and not _serve_all(cells, column):
        raise CatalogError(
            f"estimator {first} with limits, bounds, bins, memberships, constraints, other families or a background",
            place,
            "estimator em for these",
        )
    if first != "em" and column.start is not None:
        raise ConfigError(f"a start for estimator {first}", place, "estimator em, which climbs from it")
    _check_positive(cells, column, place)
    if column.background is not None and (n_components or column.max_components) < 2:
        raise ConfigError("a background and one component", place, "at least two: the background counts as one")


def limited(column: ColumnSettings, n_rows: int) -> ColumnSettings:
    """The entry with at most one component for each row."""
    return replace(column, max_components=min(column.max_components, n_rows))


def demands(column: ColumnSettings) -> tuple[Demands, ...]:
    """What the engines of a column's fits have to be able to do, as far as the settings tell; one for each family."""
    limits = (column.limit_flag, column.upper_limit, column.lower_limit)
    values_only = (
        column.bins is None and not column.is_selected and column.membership is None and limits == (None, None, None)
    )
    background = () if column.background is None else ("uniform",)
    gaussian_errors = column.found_model == "symmetric"
    constrained = (
        column.constraints is not None
        or column.prior is not None
        or len(column.mixed) > 1
        or column.error_scale == "fit"
    )
    return tuple(
        Demands((family, *background), values_only, gaussian_errors, constrained) for family in column.families
    )


def why_in_memory(column: ColumnSettings) -> str:
    """What in the settings of a column needs all rows in memory, in words; empty if nothing does."""
    if column.bins is not None:
        return "bins"
    if column.kind == "samples":
        return "samples of posteriors"
    asked = demands(column)
    if column.is_rounded:
        return "rounding"
    if column.start is not None and Demands() in asked:
        return "a start"
    if "em" not in column.estimators and asked != (Demands(),):
        return f"estimator {column.estimators[0]}"
    return ""


def _serve_all(cells: Cells | CellBlocks, column: ColumnSettings) -> bool:
    """Whether the estimators beside maximum likelihood serve, too."""
    return cells.are_values and [replace(each, gaussian_errors=True) for each in demands(column)] == [Demands()]


def _first(column: ColumnSettings) -> str:
    """The estimator that chooses the number of components."""
    return "em" if "em" in column.estimators else column.estimators[0]


def _estimate(name: str, cells: Cells, n_components: int, rows: CellBlocks | None = None) -> Estimate:
    """The estimate by one of the other estimators; from a sample of the rows if all are not in memory."""
    start = time.perf_counter()
    fit = ESTIMATORS[name](cells.as_values(), n_components)
    if isinstance(cells.noise, TwoSided):
        fit = fit.with_warning(f"estimator {name} takes the mean of the lower and the upper errors")
    if cells.noise is not None or cells.are_rounded:
        # The estimators know values with symmetric Gaussian errors only; their likelihoods are to be compared.
        engine = engine_for(Demands.of(cells, fit.mixture))
        fit = replace(fit, loglik=engine.loglik(cells if rows is None else rows, fit.mixture))
    if rows is not None and rows.survey.n_rows > len(cells):
        fit = replace(fit, n_data=rows.n_data)
        fit = fit.with_warning(f"estimator {name} takes a sample of {len(cells):,} rows")
    return Estimate(fit, time.perf_counter() - start)


def _started(
    selection: Selection,
    release: str,
    start: Mixture,
    climb: Callable[[FitResult, Mixture], FitResult],
    max_components: int,
    found: Fits | None = None,
) -> tuple[Selection, float | None]:
    """The selection with the maximum that a start leads to, if it is a better one, and the gain.

    `climb` is given the fit of the search beside which it climbs.
    """
    wanted = (start.n_components, start.family)
    own = next((fit for fit in selection.fits if (fit.n_components, fit.mixture.family) == wanted), None)
    if own is None:
        return selection, None
    fit = climb(own, start)
    gain = fit.loglik - own.loglik
    if not gain > _BETTER:
        return selection, None
    missed = f"the search has missed this maximum: it was found from the fit of release {release}"
    selection = with_fit(selection, replace(fit, warnings=(*fit.warnings, missed)), max_components, found)
    # More components cannot be worse.
    for larger in selection.fits:
        if larger.mixture.family == fit.mixture.family and larger.n_components == fit.n_components + 1:
            if larger.loglik >= fit.loglik:
                break
            fit = climb(larger, fit.mixture.doubled())
            selection = with_fit(selection, fit, max_components, found)
    return selection, gain


def _climbed(
    cells: Cells, best: FitResult, others: list[FitResult], sigma_floor: float | None, n_threads: int | None
) -> FitResult:
    """The maximum that the other estimates lead to, where the search has missed it."""
    for other in others:
        if other.n_components != best.n_components:
            continue
        fit = fit_mixture(
            cells,
            n_components=best.n_components,
            start=other.mixture,
            sigma_floor=sigma_floor,
            n_threads=n_threads,
        )
        if fit.loglik > best.loglik + _BETTER:
            found = f"the search has missed this maximum: it was found from the estimate by {other.estimator}"
            best = replace(fit, warnings=(*fit.warnings, found))
    return best


def _select(
    estimator: str,
    cells: Cells | CellBlocks,
    column: ColumnSettings,
    criterion: str,
    n_components: int | None,
    n_threads: int | None,
    progress: Callable[[int], None] | None,
) -> Selection:
    if estimator != "em" and isinstance(cells, Cells):
        if n_components is not None:
            return Selection((ESTIMATORS[estimator](cells, n_components),), criterion)
        return choose_by(estimator, cells, column.max_components, criterion)
    shared: dict[str, Any] = {
        "background": column.background,
        "sigma_floor": column.sigma_floor,
        "n_threads": n_threads,
        "error_scale": "fit" if column.error_scale == "fit" else 1.0,
        "prior": column.prior,
        **(column.constraints or {}),
    }
    if n_components is not None:
        kinds: list[dict[str, Any]] = [{"mixed": column.mixed}] if column.mixed else []
        if not column.mixed or column.families != ("gaussian",):
            kinds += [{"family": family} for family in column.families]
        fits = [fit_mixture(cells, n_components=n_components, **kind, **shared) for kind in kinds]
        if column.start is not None and len(column.start["means"]) == n_components:
            started = fit_mixture(cells, n_components=n_components, start=column.start, **shared)
            fits = [*fits, started] if started.loglik > max(fit.loglik for fit in fits) + _BETTER else fits
        return Selection(tuple(fits), criterion)
    return choose_n_components(
        cells,
        max_components=column.max_components,
        criterion=criterion,
        families=column.families,
        mixed=column.mixed,
        start=column.start,
        progress=progress,
        **shared,
    )


def _check_positive(cells: Cells | CellBlocks, column: ColumnSettings, place: str) -> None:
    name = next((name for name in column.families if FAMILIES[name].positive), None)
    if name is None or (isinstance(cells, CellBlocks) and not cells.survey.n_impossible):
        return
    n_bad, first = 0, math.nan
    for part in [cells] if isinstance(cells, Cells) else cells.pieces():
        highest = part.x if part.edges is None else part.edges[:, 1]
        impossible = (highest <= 0.0) & (part.err == 0.0) & (part.weights > 0.0)
        if part.limits is not None:
            impossible &= part.limits <= 0
        bad = np.flatnonzero(impossible)
        if bad.size and not n_bad:
            first = part.x[bad[0]]
        n_bad += bad.size
    if n_bad:
        raise CatalogError(
            f"family {name} with {n_bad} values that are not positive and have no error, the first is {first:g}",
            place,
            "positive values, or errors",
        )
