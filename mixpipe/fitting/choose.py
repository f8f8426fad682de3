"""The public functions: fit a mixture with a given number of components, and choose that number."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from mixpipe.base.arrays import Array
from mixpipe.base.words import keyword
from mixpipe.fitting.contract import Demands, Fits, Problem, StreamFits
from mixpipe.fitting.determined import with_determined, with_undetermined
from mixpipe.fitting.doubts import doubts_about, with_doubts
from mixpipe.fitting.engine import engine_for
from mixpipe.fitting.gaussian.em import EM_STEPS
from mixpipe.fitting.rounded import fitted_as_rounded
from mixpipe.model.cell_blocks import CellBlocks
from mixpipe.model.cells import Cells
from mixpipe.model.constraints import Constraints, as_constraints
from mixpipe.model.criteria import CRITERIA
from mixpipe.model.families import RANGED
from mixpipe.model.inputs import Result, as_cells, check_count, finished, plain_option, unit_of, without_missing
from mixpipe.model.joint.inputs import has_columns
from mixpipe.model.memberships import as_memberships
from mixpipe.model.mixture import Mixture
from mixpipe.model.resolution import Resolution
from mixpipe.model.results import FitResult, Selection
from mixpipe.model.rows import Rows
from mixpipe.model.starts import as_start, size_of_start


def fit_mixture(
    x: Any,
    err: Any = None,
    n_components: int | None = None,
    *,
    weights: Any = None,
    weight_kind: str = "auto",
    error_model: str | None = None,
    error_dof: float | None = None,
    limits: Any = None,
    truncated: Any = None,
    detection: Any = None,
    family: str = "gaussian",
    background: str | tuple[float, float] | None = None,
    start: Any = None,
    algorithm: str = "newton",
    fixed: Mapping[str, Any] | None = None,
    tied: Mapping[str, Any] | None = None,
    known: Sequence[Mapping[str, Any]] = (),
    equal_sigmas: bool = False,
    membership: Any = None,
    mixed: Sequence[str] = (),
    error_scale: float | str = 1.0,
    prior: Mapping[str, float] | None = None,
    sigma_floor: Any = None,
    rounding: Any = "auto",
    n_threads: int | None = None,
    cov: Any = None,
    structure: str = "full",
    projections: Any = None,
    missing: str = "error",
) -> FitResult:
    """Fit a mixture to values with per-row errors by maximum likelihood.

    Parameters
    ----------
    x : array_like, shape (n_data,), Cells or CellBlocks
        Values. For several columns jointly: an array of shape (n_data, n_dims), a pandas.DataFrame, an
        astropy.table.Table or `JointCells`, with nan where a value is missing; the result is a `JointFit`.
    err : array_like, shape (n_data,) or (2, n_data), float or None
        One-sigma errors in the unit of `x`; a scalar means equal errors, None no errors. Two rows are the lower and the
        upper errors, as for error bars of Matplotlib. For several columns of shape (n_data, n_dims), or columns in the
        order of those of `x`.
    n_components : int
        Number of components, M; it has to be given, unless it is that of `start`.
    weights : array_like, shape (n_data,), or None
        Row weights.
    weight_kind : str
        ``counts``, ``importance`` or ``auto``; see `mixpipe.model.cells.Cells.from_rows`.
    error_model : str or None
        ``two_sided``, the default for lower and upper errors, ``symmetric``, or ``student_t``; see
        `mixpipe.model.cells.Cells.from_rows`.
    error_dof : float or None
        Degrees of freedom of the errors, for ``student_t`` only.
    limits : array_like of int, shape (n_data,), or None
        -1 where `x` is an upper limit, 1 where it is a lower limit, 0 where it is a value: the reverse of a file's
        `limit_flag`.
    truncated : tuple, list of tuple, or None
        Bounds between which an observed value had to lie to enter the sample: two numbers, or arrays with one for each
        row, None on an open side; or a list of such pairs, between which are holes.
    detection : tuple of (array_like, array_like), callable or None
        Values, and the probability that a value there is detected, linear between them and constant beyond; or a
        function of an array, which is tabulated.
    family : str
        Family of the components, one of `mixpipe.model.families.FAMILIES`.
    background : tuple of (float, float), "uniform" or None
        Range of a uniform component, which counts as one of the components; ``"uniform"`` means the range of the
        values.
    start : Mixture, mapping, array_like, JointMixture or None
        Climb from this mixture instead of searching for the global maximum. Its families and the ranges of its uniform
        components are kept. A mapping has lists of ``weights``, ``means`` and ``sigmas``, and may have ``families`` and
        ``shapes``. An array has a label for each row, from 0 to `n_components` - 1, or the probability of each
        component, and starts from the moments of the rows so divided.
    algorithm : str
        ``newton``, or plain EM from `start` with the M-step ``exact``, ``fixed_point`` or ``xd``. Plain EM is for
        Gaussian components without constraints and values without limits.
    fixed : mapping of str to list, or None
        Given values of ``weights``, ``means``, ``sigmas`` or ``shapes``: one for each of the first components, None or
        nan where it is fitted.
    tied : mapping of str to list, or None
        For ``weights``, ``means`` or ``sigmas``: numbers to which the parameters of the first components are
        proportional, None or nan for those that are not tied.
    known : sequence of mapping
        Components that are known from elsewhere, beside those of `fixed` and `tied`: ``family``, ``mean``, ``sigma``,
        ``shape`` and ``weight``, each of which is fitted where it is left out or None. They are among the
        `n_components`.
    equal_sigmas : bool
        Give all components the same width, except those whose sigma is given.
    membership : array_like, shape (n_data,) or (n_data, n_known), or None
        The component to which each row is known to belong: labels, blank where nothing is known, or prior
        probabilities; see `mixpipe.model.memberships.as_memberships`. Components with known members are the first of
        the lists of `fixed` and `tied`, in the order of the sorted labels.
    mixed : sequence of str
        Families among which each component is chosen, by BIC, instead of one `family` of all. Of a ``power_law``, which
        has the range of the values, there is at most one.
    error_scale : float or "fit"
        Factor of all errors. If it is to be fitted, the result has it as `error_scale`.
    prior : mapping or None
        ``{"min_rows": 5}`` gives each component that many rows beforehand, which scatter as the data would if they were
        divided evenly among the components. This keeps weights and sigmas away from zero; a warning says what it
        changes.
    sigma_floor : float or None
        Lower bound on the sigmas, in the unit of `x`; one for each column or for all if there are several. By default,
        that of `mixpipe.model.resolution.find_resolution`, which is 0 if every error is larger than the grain of the
        values.
    rounding : float or str
        How values were rounded: a step, ``2 digits`` for significant ones, or the coarser of both, ``2 digits, step
        1``. Their likelihood is then the integral over the intervals from which they were rounded. ``auto``: so if the
        step of every value is found and a fit that knows of it by its floor only would be displaced; ``none``: never.
        Cells say themselves what they are.
    n_threads : int or None
        Number of threads; all cores by default. The result does not depend on it.
    cov : array_like, shape (n_data, n_dims, n_dims), or None
        Covariances of the errors of several columns, instead of `err`.
    structure : str
        Of the intrinsic covariances of several columns: ``full``, ``diagonal``, ``spherical``, or ``equal`` for full
        ones that are the same for all components.
    projections : array_like, shape (n_data, n_values, n_dims), or None
        The matrix that projects the true values of each row onto the `n_values` values in `x`; by default, the columns
        themselves were observed.
    missing : str
        Of one column, ``error`` refuses values, errors or weights that are missing (nan, or masked); ``drop`` leaves
        out their rows, and counts them in `FitResult.dropped`.

    Returns
    -------
    FitResult
        A `mixpipe.model.joint.results.JointFit` for several columns.

    Raises
    ------
    TypeError
        Without a number of components.
    ValueError
        For values that are not finite, negative errors, or options that contradict each other.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.special import ndtri
    >>> quantiles = ndtri((np.arange(500) + 0.5) / 500)  # of a standard normal
    >>> x = np.concatenate([quantiles, 9.0 + quantiles])
    >>> fit_mixture(x, 0.6, n_components=2).mixture
    Mixture(weights=[0.5 0.5], means=[0. 9.], sigmas=[0.798 0.798])
    """
    if n_components is None:
        if start is None:
            raise TypeError("fit_mixture needs n_components, a number of components; choose_n_components chooses it")
        n_components = size_of_start(start)
    n_components = check_count("n_components", n_components)
    n_threads = None if n_threads is None else check_count("n_threads", n_threads)
    family, algorithm, structure, weight_kind = map(keyword, (family, algorithm, structure, weight_kind))
    error_model, background, error_scale = keyword(error_model), keyword(background), keyword(error_scale)
    mixed = tuple(map(keyword, mixed))
    if has_columns(x):
        _check_joint(
            missing=missing,
            limits=limits,
            truncated=truncated,
            detection=detection,
            background=background,
            family=family,
            algorithm=algorithm,
            equal_sigmas=equal_sigmas,
            fixed=fixed,
            tied=tied,
            known=known,
            membership=membership,
            mixed=mixed,
            error_scale=error_scale,
            prior=prior,
            error_model=error_model,
            error_dof=error_dof,
            rounding=rounding,
        )
        from mixpipe.fitting.joint.choose import fit_columns

        return fit_columns(
            x,
            err,
            cov,
            n_components,
            weights=weights,
            weight_kind=weight_kind,
            sigma_floor=sigma_floor,
            projections=projections,
            structure=structure,
            start=start,
            n_threads=n_threads,
        )
    _check_single(cov, structure, projections)
    rows = {"limits": limits, "membership": membership, "start": start}
    (x, err, weights, rows, truncated), dropped = _complete(missing, x, err, weights, rows, truncated)
    limits, membership, start = rows["limits"], rows["membership"], rows["start"]
    sigma_floor, background, start, fixed, known = _without_units(
        x, sigma_floor=sigma_floor, background=background, start=start, fixed=fixed, known=known
    )
    cells, fits_scale, rules = _of_options(
        (x, err, weights, limits, truncated, weight_kind),
        (error_model, error_dof, detection),
        error_scale,
        sigma_floor,
        membership,
        rounding,
        fixed=fixed,
        tied=tied,
        known=known,
        equal_sigmas=equal_sigmas,
    )
    if start is None and algorithm != "newton":
        raise ValueError(_ALGORITHMS.format(algorithm))

    def fitted(cells: Cells | CellBlocks) -> tuple[FitResult, str]:
        constraints, raised = _resolved(rules, cells.resolution)
        background_range = _range_of(background, cells)
        kinds = tuple(mixed)
        problem = Problem(
            cells, family, background_range, constraints, kinds, fits_scale, _prior_rows(prior), n_threads
        )
        if start is not None:
            climbed = _climbed(problem, as_start(start, cells, n_components), n_components, algorithm)
            return with_determined([climbed], cells)[0], raised
        fits = [
            engine_for(each.demands).fits(each, n_components, last=1).results()[-1]
            for each in _with_power_law(problem, n_components)
        ]
        best = min(fits, key=lambda fit: fit.bic + 2.0 * fit.occam)
        return with_determined([best], cells)[0], raised

    if isinstance(cells, Cells) and _may_integrate(x, rounding, sigma_floor) and algorithm == "newton":
        cells, fit, remarks = fitted_as_rounded(cells, fitted, n_threads)
    else:
        fit, remark = fitted(cells)
        remarks = (remark,)
    return _with_given_scale(finished(x, cells, fit, *remarks, dropped=dropped), error_scale)


def _complete(
    missing: str, x: Any, err: Any, weights: Any, rows: dict[str, Any], bounds: Any
) -> tuple[tuple[Any, Any, Any, dict[str, Any], Any], dict[str, int]]:
    """The rows that are fitted, and the numbers of those that are left out for what they lack, if that is asked for."""
    missing = keyword(missing)
    if missing not in ("error", "drop"):
        raise ValueError(f"missing is {missing!r}, expected error or drop")
    if missing == "error" or isinstance(x, Cells):
        return (x, err, weights, rows, bounds), {}
    return without_missing(x, err, weights, rows, bounds)


def _without_units(x: Any, **options: Any) -> Iterator[Any]:
    """Options that may have a unit, in that of the values."""
    return (plain_option(given, unit_of(x), name) for name, given in options.items())


def _with_given_scale(result: Result, error_scale: float | str) -> Result:
    """The result with the factor of the errors, if it was given; a fitted one is known already."""
    return result if isinstance(error_scale, str) else result.with_rows(error_scale=float(error_scale))


def _of_options(
    data: tuple[Any, Any, Any, Any, Any, str],
    models: tuple[str | None, float | None, Any],
    error_scale: float | str,
    sigma_floor: float | None,
    membership: Any,
    rounding: Any,
    **constraints: Any,
) -> tuple[Cells | CellBlocks, bool, Constraints]:
    """The data of one column, whether a factor of their errors is fitted, and the constraints."""
    memberships: Array | None = None
    labels: tuple[str, ...] = ()
    if membership is not None:
        memberships, labels = as_memberships(membership, len(data[0]))
    error_model, error_dof, detection = models
    cells: Cells | CellBlocks
    if isinstance(data[0], CellBlocks):
        cells = data[0].floored(sigma_floor)
    else:
        cells = as_cells(*data, error_model, error_dof, memberships, labels, detection)
        if not (isinstance(rounding, str) and rounding in ("auto", "none")):
            cells = cells.rounded(rounding)
        cells = with_floor(cells, sigma_floor)
    rules = as_constraints(**constraints, labels=cells.labels)
    return *_with_error_scale(cells, error_scale), rules


def _may_integrate(x: Any, rounding: Any, sigma_floor: Any) -> bool:
    """Whether rounding is looked for in the values: not in cells, or where the user has said what they resolve."""
    return isinstance(rounding, str) and rounding == "auto" and sigma_floor is None and not isinstance(x, Cells)


def _resolved(constraints: Constraints, resolution: Resolution) -> tuple[Constraints, str]:
    """The constraints with given sigmas no smaller than the values resolve, and a remark on those that were raised.

    A component whose mean is given, too, lies near a few rows by chance no more often than its width says, but values
    on a grid may meet it in any case. A floor that the user asked for applies to fitted sigmas only.
    """
    if resolution.floor == 0.0 or resolution.cause in ("given", "rounding"):
        return constraints, ""
    slots, small = [], []
    for slot in constraints.slots:
        rule = slot.constraint
        exposed = resolution.cause == "grid" or not rule.is_given("means")
        if rule.sigma < resolution.floor and exposed and slot.family not in RANGED:
            small.append(rule.sigma)
            slot = replace(slot, constraint=rule.holding("sigmas", resolution.floor))
        slots.append(slot)
    if not small:
        return constraints, ""
    listed = ", ".join(f"{sigma:.3g}" for sigma in small)
    what = f"the given sigma {listed} is" if len(small) == 1 else f"{len(small)} given sigmas, {listed}, are"
    return replace(constraints, slots=tuple(slots)), (
        f"{what} smaller than the values resolve, and fitted as {resolution.floor:.3g}: a narrower component would "
        f"describe the grain of the values; a sigma_floor of {min(small):.3g} keeps what was given"
        + (", and so does `rounding` with the step, which integrates over it" if resolution.cause == "grid" else "")
    )


def _with_power_law(problem: Problem, most: int) -> list[Problem]:
    """The problem; if a power law is among its families, without it, and with one over the range of the values."""
    if "power_law" not in problem.mixed:
        return [problem]
    others = tuple(name for name in problem.mixed if name != "power_law")
    plain = replace(problem, family=others[0] if others else "gaussian", mixed=others)
    lowest, highest = _positive_range(problem.cells)
    if not lowest < highest:
        raise ValueError(
            "a power law of values that are not positive: expected values > 0, or a known one with a range"
        )
    law = as_constraints(known=[{"family": "power_law", "low": lowest, "high": highest}])
    slots = (*problem.constraints.slots, *law.slots)
    beside = replace(plain, constraints=replace(problem.constraints, slots=slots))
    room = most - (problem.background is not None) - len(slots)
    return ([plain] if others else []) + ([beside] if room >= 0 else [])


def _positive_range(cells: Cells | CellBlocks) -> tuple[float, float]:
    """The lowest and the highest positive value; the first is not below the second where there are none."""
    if isinstance(cells, CellBlocks):
        return cells.survey.lowest_positive, cells.survey.high
    positive = cells.x[(cells.x > 0.0) & (cells.weights > 0.0)]
    return float(positive.min(initial=math.inf)), float(positive.max(initial=-math.inf))


def _prior_rows(prior: Mapping[str, float] | None) -> float:
    """The number of rows that a prior gives to each component."""
    if prior is None:
        return 0.0
    if set(prior) != {"min_rows"} or not 0.0 <= float(prior["min_rows"]) < math.inf:
        raise ValueError(f"prior is {dict(prior)}, expected min_rows and a number >= 0")
    return float(prior["min_rows"])


def _with_error_scale(cells: Cells | CellBlocks, error_scale: float | str) -> tuple[Cells | CellBlocks, bool]:
    """The cells with their errors multiplied by the factor, and whether it is to be fitted."""
    if error_scale == "fit":
        if not cells.has_errors:
            raise ValueError("error_scale 'fit' without errors: expected at least one error > 0")
        return cells, True
    if isinstance(error_scale, str) or not 0.0 < error_scale < math.inf:
        raise ValueError(f"error_scale is {error_scale!r}, expected a number > 0 or 'fit'")
    return cells.with_scaled_errors(float(error_scale)), False


_ALGORITHMS = (
    f"algorithm {{!r}}: expected 'newton', or one of {', '.join(EM_STEPS)} with a start and without constraints, for "
    "Gaussian components of values without limits"
)


def _climbed(problem: Problem, start: Mixture, n_components: int, algorithm: str = "newton") -> FitResult:
    """The maximum that is reached from a start."""
    if start.n_components != n_components:
        raise ValueError(f"start has {start.n_components} components, n_components is {n_components}")
    if problem.family not in ("gaussian", *start.families):
        raise ValueError(
            f"family {problem.family!r} with a start of {', '.join(dict.fromkeys(start.families))}: expected the same"
        )
    if problem.background is not None and "uniform" not in start.families:
        raise ValueError("background with a start without a uniform component: expected one among those of the start")
    others = set(start.families) - {"uniform", *problem.mixed}
    if problem.mixed and others:
        raise ValueError(
            f"mixed: a start of {', '.join(sorted(others))}; expected its families among {', '.join(problem.mixed)}"
        )
    demands = Demands.of(problem.cells, start)
    demands = replace(demands, constrained=demands.constrained or problem.demands.constrained)
    engine = engine_for(demands)
    if algorithm != "newton" and algorithm not in engine.algorithms:
        raise ValueError(_ALGORITHMS.format(algorithm))
    return engine.climb(problem, start, algorithm)


def choose_n_components(
    x: Any,
    err: Any = None,
    *,
    weights: Any = None,
    weight_kind: str = "auto",
    error_model: str | None = None,
    error_dof: float | None = None,
    limits: Any = None,
    truncated: Any = None,
    detection: Any = None,
    families: Sequence[str] = ("gaussian",),
    background: str | tuple[float, float] | None = None,
    fixed: Mapping[str, Any] | None = None,
    tied: Mapping[str, Any] | None = None,
    known: Sequence[Mapping[str, Any]] = (),
    equal_sigmas: bool = False,
    membership: Any = None,
    mixed: Sequence[str] = (),
    error_scale: float | str = 1.0,
    prior: Mapping[str, float] | None = None,
    start: Any = None,
    max_components: int = 10,
    criterion: str = "bic",
    sigma_floor: Any = None,
    rounding: Any = "auto",
    n_threads: int | None = None,
    progress: Callable[[int], None] | None = None,
    cov: Any = None,
    structure: str = "full",
    projections: Any = None,
    missing: str = "error",
) -> Selection:
    """Fit 1, 2, ... components and choose their number by an information criterion.

    Parameters
    ----------
    x, err, weights, weight_kind, error_model, error_dof, limits, truncated, detection, background
        As in `fit_mixture`.
    sigma_floor, rounding, n_threads, cov, structure, projections, missing
        As in `fit_mixture`.
    fixed, tied, known, equal_sigmas, membership, error_scale, prior
        As in `fit_mixture`. The components so described are in every fit, beside others whose number is chosen.
    mixed : sequence of str
        Families among which each component is chosen, as another choice beside mixtures of one of the `families`; these
        are left out if only `mixed` is given.
    start : Mixture or mapping, or None
        A mixture from which to climb, too, as in `fit_mixture`, for its number of components.
    families : sequence of str
        Families among which to choose; all components of a mixture are of the same family. The criterion compares all
        fits, and with a background also those without it.
    max_components : int
        Largest number of components to try.
    criterion : str
        ``bic``, ``aic`` or ``icl``.
    progress : callable or None
        Called with the number of components whenever a fit has been found.

    Returns
    -------
    Selection

    Raises
    ------
    ValueError
        As `fit_mixture`, and for an unknown criterion.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.concatenate([np.linspace(-1, 1, 50) ** 3, 8 + np.linspace(-1, 1, 50) ** 3])
    >>> choose_n_components(x, 0.2, max_components=3).best.n_components
    2
    """
    max_components = check_count("max_components", max_components)
    n_threads = None if n_threads is None else check_count("n_threads", n_threads)
    criterion, structure, weight_kind = map(keyword, (criterion, structure, weight_kind))
    error_model, background, error_scale = keyword(error_model), keyword(background), keyword(error_scale)
    families, mixed = (tuple(map(keyword, names)) for names in (families, mixed))
    if criterion not in CRITERIA:
        raise ValueError(f"unknown criterion {criterion!r}: expected one of {', '.join(CRITERIA)}")
    if not families:
        raise ValueError("families: expected at least one")
    if has_columns(x):
        _check_joint(
            missing=missing,
            limits=limits,
            truncated=truncated,
            detection=detection,
            background=background,
            family=next(iter(families)) if len(families) == 1 else tuple(families),
            fixed=fixed,
            tied=tied,
            known=known,
            equal_sigmas=equal_sigmas,
            membership=membership,
            mixed=mixed,
            error_scale=error_scale,
            prior=prior,
            start=start,
            error_model=error_model,
            error_dof=error_dof,
            rounding=rounding,
        )
        from mixpipe.fitting.joint.choose import choose_columns

        return choose_columns(
            x,
            err,
            cov,
            max_components,
            weights=weights,
            weight_kind=weight_kind,
            sigma_floor=sigma_floor,
            projections=projections,
            structure=structure,
            criterion=criterion,
            n_threads=n_threads,
            progress=progress,
        )
    _check_single(cov, structure, projections)
    rows = {"limits": limits, "membership": membership}
    (x, err, weights, rows, truncated), dropped = _complete(missing, x, err, weights, rows, truncated)
    limits, membership = rows["limits"], rows["membership"]
    sigma_floor, background, start, fixed, known = _without_units(
        x, sigma_floor=sigma_floor, background=background, start=start, fixed=fixed, known=known
    )
    cells, fits_scale, rules = _of_options(
        (x, err, weights, limits, truncated, weight_kind),
        (error_model, error_dof, detection),
        error_scale,
        sigma_floor,
        membership,
        rounding,
        fixed=fixed,
        tied=tied,
        known=known,
        equal_sigmas=equal_sigmas,
    )
    kinds: list[tuple[str, tuple[str, ...]]] = [(family, ()) for family in dict.fromkeys(families)]
    if mixed:
        kinds = [kind for kind in kinds if kind[0] not in mixed and tuple(families) != ("gaussian",)]
        kinds.append((mixed[0], tuple(dict.fromkeys(mixed))))

    def chosen(cells: Cells | CellBlocks) -> tuple[Selection, str]:
        constraints, raised = _resolved(rules, cells.resolution)
        fits: list[FitResult] = []
        certified: Fits | None = None
        # Fits without the background show whether it is needed.
        backgrounds = (None,) if background is None else (None, _range_of(background, cells))
        for (family, pool), beside in product(kinds, backgrounds):
            problem = Problem(cells, family, beside, constraints, pool, fits_scale, _prior_rows(prior), n_threads)
            for each in _with_power_law(problem, max_components):
                engine = engine_for(each.demands)
                family_fits = engine.fits(each, max_components, criterion=criterion, progress=progress)
                fits += family_fits.results()
                if family_fits.sketch is not None or not math.isnan(family_fits.loglik_bound):
                    certified = family_fits
        selection = select(with_determined(fits, cells), certified, criterion, max_components)
        selection = with_undetermined(selection, cells)
        if start is None:
            return selection, raised
        mixture = as_start(start, cells)
        problem = Problem(cells, mixture.families[0], None, constraints, (), fits_scale, _prior_rows(prior), n_threads)
        climbed = with_determined([_climbed(problem, mixture, mixture.n_components)], cells)[0]
        return _with_start(selection, climbed, max_components, certified), raised

    if isinstance(cells, Cells) and _may_integrate(x, rounding, sigma_floor):
        cells, selection, remarks = fitted_as_rounded(cells, chosen, n_threads)
    else:
        selection, remark = chosen(cells)
        remarks = (remark,)
    return _with_given_scale(finished(x, cells, selection, *remarks, dropped=dropped), error_scale)


def _with_start(selection: Selection, fit: FitResult, max_components: int, found: Fits | None) -> Selection:
    """The selection with the maximum that a start leads to, if it is higher or of families that were not searched."""
    kind = (fit.n_components, fit.mixture.family)
    own = [other for other in selection.fits if (other.n_components, other.mixture.family) == kind]
    if not own:
        fits = sorted([*_bare(selection, max_components, found), fit], key=lambda each: each.n_components)
        return select(fits, found, selection.criterion, max_components)
    here, there = (each.loglik + each.log_prior - each.occam for each in (fit, own[0]))
    if here <= there + _BETTER:
        return selection
    text = "the search has missed this maximum: it was found from the given start"
    return with_fit(selection, fit.with_warning(text), max_components, found)


# A gain of less than this (nats) is the same maximum.
_BETTER = 1e-3

# Options of one column, and their values where they ask for nothing.
_OF_ONE_COLUMN = {
    "limits": None,
    "truncated": None,
    "detection": None,
    "background": None,
    "family": "gaussian",
    "algorithm": "newton",
    "equal_sigmas": False,
    "fixed": None,
    "tied": None,
    "known": (),
    "membership": None,
    "mixed": (),
    "error_scale": 1.0,
    "prior": None,
    "start": None,
    "error_model": None,
    "error_dof": None,
    "missing": "error",
    "rounding": "auto",
}


def _check_joint(**options: Any) -> None:
    """Refuse options that several columns do not have."""
    for name, value in options.items():
        default = _OF_ONE_COLUMN[name]
        # Arrays are given whatever they hold.
        none = isinstance(value, str | bool | int | float | tuple) and value == default
        if not (value is default or none or (isinstance(value, list | tuple | dict) and not value)):
            instead = "; use structure='equal'" if name == "equal_sigmas" else ""
            raise ValueError(f"{name} is for one column, but x has several; expected {default!r}{instead}")


def _check_single(cov: Any, structure: str, projections: Any) -> None:
    """Refuse options of several columns for one."""
    for name, is_given in (
        ("cov", cov is not None),
        ("structure", structure != "full"),
        ("projections", projections is not None),
    ):
        if is_given:
            raise ValueError(f"{name} is for several columns, but x has one; expected x of shape (n_data, n_dims)")


def choose_from_rows(
    rows: Rows,
    *,
    max_components: int = 10,
    n_components: int | None = None,
    criterion: str = "bic",
    sigma_floor: float | None = None,
    exact: bool = True,
    progress: Callable[[int], None] | None = None,
) -> tuple[Selection, StreamFits]:
    """Choose the number of Gaussian components for rows that need not fit into memory.

    Parameters
    ----------
    rows : Rows
        The data: more than a few thousand rows.
    max_components, criterion, sigma_floor, progress
        As in `choose_n_components`.
    n_components : int or None
        Fit this number of components only.
    exact : bool
        Whether to finish the fits on the rows; otherwise all results are those of a sketch, and a warning says so.

    Returns
    -------
    Selection, StreamFits
        The selection, and the fits with what is known of the sketch.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.special import ndtri
    >>> quantiles = ndtri((np.arange(20_000) + 0.5) / 20_000)  # of a standard normal
    >>> x = np.concatenate([quantiles, 9.0 + quantiles])
    >>> selection, found = choose_from_rows(Rows.of(Cells.from_rows(x, 0.6)), max_components=3)
    >>> selection.best.n_components, found.sketch.n_points < 1000
    (2, True)
    """
    size = check_count("max_components", max_components if n_components is None else n_components)
    stream_fits = engine_for(Demands()).fits_of_rows(
        rows,
        size,
        last=0 if n_components is None else 1,
        sigma_floor=sigma_floor,
        criterion=criterion,
        exact=exact,
        progress=progress,
    )
    fits = stream_fits.results()
    sample = None if stream_fits.survey is None else stream_fits.survey.sample
    fits = fits if sample is None else with_determined(fits, sample)
    if n_components is not None:
        return Selection((fits[-1],), criterion), stream_fits
    selection = select(fits, stream_fits, criterion, max_components)
    return selection if sample is None else with_undetermined(selection, sample), stream_fits


def with_fit(selection: Selection, fit: FitResult, max_components: int, found: Fits | None = None) -> Selection:
    """Replace the fit of the same size and families in a selection by a better one, and choose again.

    Parameters
    ----------
    selection : Selection
        Result of `choose_n_components` or `choose_from_rows`.
    fit : FitResult
        The better fit.
    max_components : int
        Largest number of components that was tried.
    found : Fits or None
        The fits that `choose_from_rows` returned.
    """
    fits = _bare(selection, max_components, found)
    kind = (fit.n_components, fit.mixture.family)
    fits = [fit if (other.n_components, other.mixture.family) == kind else other for other in fits]
    return with_doubts(replace(selection, fits=tuple(fits)), found, max_components)


def _bare(selection: Selection, max_components: int, found: Fits | None) -> list[FitResult]:
    """The fits of a selection without the doubts about the choice among them."""
    doubts = doubts_about(selection, found, max_components)
    bare = replace(selection.best, warnings=tuple(text for text in selection.best.warnings if text not in doubts))
    return [bare if other is selection.best else other for other in selection.fits]


def select(fits: list[FitResult], engine_fits: Fits | None, criterion: str, max_components: int) -> Selection:
    """The selection, with warnings on its best fit about reasons to doubt the choice."""
    bounds = (math.nan, math.nan) if engine_fits is None else (engine_fits.loglik_bound, engine_fits.bound_sigma)
    return with_doubts(Selection(tuple(fits), criterion, *bounds), engine_fits, max_components)


def _range_of(background: str | tuple[float, float] | None, cells: Cells | CellBlocks) -> tuple[float, float] | None:
    """The range of a background, which is that of the values if it is given as 'uniform'."""
    if not isinstance(background, str):
        return background
    if background != "uniform":
        raise ValueError(f"background {background!r}: expected 'uniform' or two bounds")
    return cells.extremes


def with_floor(cells: Cells, sigma_floor: float | None) -> Cells:
    """The cells with the lower bound on the sigmas that the user requested, if any.

    Raises
    ------
    ValueError
        For a bound that is negative, not finite, or zero where the error of a value is zero.
    """
    if sigma_floor is None:
        return cells
    exact = (cells.err == 0.0) & (cells.weights > 0.0) & (True if cells.limits is None else cells.limits == 0)
    if not (
        math.isfinite(sigma_floor)
        and sigma_floor >= 0.0
        and (sigma_floor > 0.0 or cells.edges is not None or not exact.any())
    ):
        raise ValueError(f"sigma_floor must be finite and >= 0, and > 0 where an error is zero, found {sigma_floor}")
    return replace(cells, resolution=cells.resolution.floored(float(sigma_floor)))
