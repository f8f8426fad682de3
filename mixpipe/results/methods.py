"""How a fit was made, as the paragraph of a paper: with its numbers and with references."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from mixpipe.assess.quality import REJECTED
from mixpipe.base.latex import latex_math, latex_text
from mixpipe.base.presentation import chance, count, describe_dropped, measured, plural
from mixpipe.model.constraints import Constraint
from mixpipe.model.families import FAMILIES
from mixpipe.model.families.noisy import by_quadrature
from mixpipe.model.noise import TwoSided
from mixpipe.model.regimes import SIMULATED_ROWS, SIMULATED_ROWS_QUADRATURE
from mixpipe.model.results import FitResult, Selection
from mixpipe.results.bare import bare_record
from mixpipe.results.latex_units import latex_unit
from mixpipe.results.quoted import preferred_method
from mixpipe.results.record import DensityRecord, FitRecord, JointRecord, ResolutionRecord, SelectionRow
from mixpipe.results.references import REFERENCES, bibliography

MARKUPS = ("text", "latex", "bibtex")

# Names of families, criteria, structures and reasons in a sentence.
_FAMILIES = {
    "gaussian": "Gaussian", "student_t": "Student's t", "laplace": "Laplace", "exponential": "exponential",
    "skew_normal": "skew-normal", "lognormal": "lognormal", "uniform": "uniform", "power_law": "power-law",
}  # fmt: skip
_CRITERIA = {
    "bic": ("Bayesian information criterion", "schwarz1978"),
    "aic": ("Akaike information criterion", "akaike1974"),
    "icl": ("integrated completed likelihood", "biernacki2000"),
}
_STRUCTURES = {
    "full": "unrestricted covariances",
    "diagonal": "covariances without correlations",
    "spherical": "one width for all columns",
    "equal": "a covariance that all components share",
}
_FLOORS = {
    "grid": "which the steps between the values resolve",
    "crowding": "which the distances between the values resolve",
    "given": "which was given",
}
# Beside intervals with two sides.
_SYMMETRIC = "symmetric ones (±) are standard errors"
_LIBRARIES = (
    ("numpy", "NumPy", "harris2020"),
    ("scipy", "SciPy", "virtanen2020"),
    ("numba", "Numba", "lam2015"),
    ("astropy", "Astropy", "astropy2022"),
)

# What stands behind differences of logarithms of values without a unit.
_BARE_LOGARITHMS = {"log10()": "dex", "ln()": None}
# Of the values that were fitted.
_LOGARITHMS = {"log10": "the decimal logarithm of ", "ln": "the natural logarithm of "}


def describe_methods(fit: FitRecord | JointRecord | DensityRecord | FitResult | Selection, markup: str = "text") -> str:
    """How a fit was made, as the paragraph of a paper.

    The paragraph says what was fitted to how many rows, with which likelihood and errors, how the number of components
    was chosen and how clearly, how uncertainties were obtained, how well the mixture describes the data, and with which
    software.

    Parameters
    ----------
    fit : FitRecord, JointRecord, DensityRecord, FitResult or Selection
        The record of a fit, or of the fits to tabulated densities, from `mixpipe.results.record.load_record`. A fit or
        a selection itself does not know the quality of a fit, nor limits, bounds and the number of weighted rows, and
        its values have no name.
    markup : str
        ``text``; ``latex``, with the commands of natbib for citations; or ``bibtex`` for the entries that these cite.

    Returns
    -------
    str
        One paragraph in one line without a line feed, or entries.

    Raises
    ------
    ValueError
        For an unknown markup.

    Examples
    --------
    >>> import mixpipe
    >>> fit = mixpipe.fit_mixture([0.7, 0.9, 1.0, 1.2, 1.3, 4.6, 4.9, 5.1, 5.4], err=0.2, n_components=2)
    >>> describe_methods(fit).partition(".")[0]
    'The distribution of the values was modelled as a mixture of 2 Gaussian components, each convolved with the Gaussian
    measurement error of each row, so that weights, means and widths are those of the true values (Bovy, Hogg & Roweis
    2011)'
    """
    if markup not in MARKUPS:
        raise ValueError(f"markup is {markup!r}, expected one of {', '.join(MARKUPS)}")
    words = _Text() if markup == "text" else _Latex()
    record = bare_record(fit) if isinstance(fit, FitResult | Selection) else fit
    paragraph = " ".join(_sentences(record, words))
    return bibliography(words.cited) if markup == "bibtex" else paragraph


def list_references(record: FitRecord | JointRecord | DensityRecord) -> list[str]:
    """The references that the paragraph cites, a line for each, in the order of their authors."""
    words = _Text()
    list(_sentences(record, words))
    return sorted((REFERENCES[key].text for key in words.cited), key=str.casefold)


class _Markup(Protocol):
    """How citations, formulas and names of the user's are written."""

    cited: list[str]

    def cite(self, *keys: str) -> str: ...

    def math(self, formula: str) -> str: ...

    def name(self, text: str) -> str: ...

    def unit(self, text: str) -> str: ...


class _Text:
    """Plain text."""

    def __init__(self) -> None:
        self.cited: list[str] = []

    def cite(self, *keys: str) -> str:
        self.cited += keys
        return f"({'; '.join(f'{REFERENCES[key].short} {REFERENCES[key].year}' for key in keys)})"

    def math(self, formula: str) -> str:
        return formula

    def name(self, text: str) -> str:
        return text

    def unit(self, text: str) -> str:
        return text


class _Latex:
    """LaTeX with the commands of natbib."""

    def __init__(self) -> None:
        self.cited: list[str] = []

    def cite(self, *keys: str) -> str:
        self.cited += keys
        return rf"\citep{{{','.join(keys)}}}"

    def math(self, formula: str) -> str:
        return latex_math(formula)

    def name(self, text: str) -> str:
        return latex_text(text)

    def unit(self, text: str) -> str:
        return latex_unit(text)


def _sentences(record: FitRecord | JointRecord | DensityRecord, words: _Markup) -> Iterator[str]:
    if isinstance(record, DensityRecord):
        yield from _densities(record, words)
        yield from _software(record, words)
        return
    yield _model(record, words)
    if isinstance(record, JointRecord):
        yield from _joint_data(record, words)
    else:
        yield from _data(record, words)
    yield from _constraints(record, words)
    yield from _choice(record, words)
    yield from _uncertainties(record, words)
    yield from _quality(record, words)
    yield from _software(record, words)


def _model(record: FitRecord | JointRecord, words: _Markup) -> str:
    """What was fitted to what, and by what."""
    place = f" in {words.name(record.catalog)}" if record.catalog else ""
    place += f" (release {words.name(record.release)})" if record.release else ""
    if isinstance(record, JointRecord):
        columns = _setting(record, "columns")
        logarithms = [_LOGARITHMS.get(column.get("transform", ""), "") for column in columns]
        if _setting(record, "linear") or len(columns) != len(record.names):
            logarithms = [""] * len(record.names)
        names = _enumerated(
            [logarithm + words.name(name) for logarithm, name in zip(logarithms, record.names, strict=True)]
        )
        what = f"The joint distribution of {names}{place} was modelled as a mixture of "
        what += f"{plural(record.n_components, 'Gaussian component')} with {_STRUCTURES[record.structure]}"
        has_errors = any(column.get("error") not in (None, 0) or column.get("error_floor") for column in columns)
        if not has_errors and not _setting(record, "covariance"):
            return f"{what}, and the values were taken to have no errors."
        changes = [
            _changed_errors(column, f" of {words.name(str(column.get('name')))}", None, words) for column in columns
        ]
        return (
            f"{what}, each convolved with the Gaussian errors of each row and their covariance, so that weights, means "
            f"and covariances are those of the true values {words.cite('bovy2011')}.{''.join(changes)}"
        )
    name = words.name(record.column)
    if _setting(record, "bins"):
        low, high, _ = _setting(record, "bins")
        name = f"{words.name(low)} to {words.name(high)}" if record.column == low else name
    logarithm = _LOGARITHMS.get(record.transform, "")
    what = f"The distribution of {logarithm}{name}{place} was modelled as a mixture of "
    return f"{what}{_kinds(component.family for component in record.components)}{_errors(record, words)}"


def _densities(record: DensityRecord, words: _Markup) -> Iterator[str]:
    """How tabulated densities were fitted, one by one."""
    place = f" in {words.name(record.catalog)}" if record.catalog else ""
    place += f" (release {words.name(record.release)})" if record.release else ""
    yield (
        f"Each tabulated density of {words.name(record.column)}{place} was represented by a mixture of Gaussian "
        "components, truncated at the ends of its grid and with the mean of the table, which minimises the integrated "
        f"squared difference by variable projection {words.cite('golub1973')}."
    )
    yield _rows_used(record, words)
    given, most = _setting(record, "n_components"), _setting(record, "max_components")
    if given is not None:
        yield f"The number of components, {words.math(f'M = {given}')}, was given."
    else:
        tolerance = words.math(f"{_setting(record, 'tolerance'):g}")
        sizes = [f"{words.math(size)} in {plural(number, 'row')}" for size, number in record.n_rows.items() if number]
        yield (
            f"The number of components of each is the smallest, up to {words.math(str(most))}, with which the "
            f"cumulative distribution is nowhere off by more than {tolerance}: {_enumerated(sizes or ['none'])}."
        )
    if record.ks.median is not None and record.ks.largest is not None:
        median, largest = (words.math(f"{value:.2g}") for value in (record.ks.median, record.ks.largest))
        yield f"The largest difference of the distributions is {median} in the median, and at most {largest}."
    if record.n_not_converged:
        yield f"{plural(record.n_not_converged, 'fit')} did not converge."


def _kinds(families: Iterable[str]) -> str:
    """Components by their families.

    >>> _kinds(["gaussian", "gaussian", "uniform"])
    '2 Gaussian components and 1 uniform component'
    """
    counted = Counter(families)
    return _enumerated([plural(number, f"{_FAMILIES[family]} component") for family, number in counted.items()])


def _enumerated(parts: Sequence[str]) -> str:
    """Parts with commas, and with "and" before the last.

    >>> _enumerated(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))


def _setting(record: FitRecord | JointRecord | DensityRecord, name: str, default: Any = None) -> Any:
    """How a column was read and fitted; plans of older files lack some settings."""
    return record.plan["column"].get(name, default)


def _error_model(record: FitRecord) -> str:
    """How errors were distributed; as `mixpipe.config.settings.ColumnSettings.found_model`, or ``none``."""
    error = _setting(record, "error")
    if _setting(record, "kind") == "samples":
        return "samples"
    if error is None or error == 0:
        return "none"
    pair = isinstance(error, list | tuple) and not _setting(record, "bins")
    return str(_setting(record, "error_model") or ("two_sided" if pair else "symmetric"))


def _fitted_scale(record: FitRecord, words: _Markup) -> str:
    """The sentence about a factor of the errors that was fitted; empty if there is none."""
    if _setting(record, "error_scale", 1.0) != "fit" or record.error_scale is None:
        return ""
    unc = math.nan if record.error_scale_unc is None else record.error_scale_unc
    factor = words.math(measured(record.error_scale, unc))
    return f" All errors were multiplied by a common factor, which was fitted, too: {factor}."


def _errors(record: FitRecord, words: _Markup) -> str:
    """The end of the sentence about the model, and those about the errors."""
    model = _error_model(record)
    if model == "none":
        floor = _setting(record, "error_floor", 0.0)
        if not floor:
            return ", and the values were taken to have no errors."
        size = _floor_of_errors(record.plan["column"], record.unit, words).rstrip(",")
        return f", each convolved with a Gaussian error of {size}." + _fitted_scale(record, words)
    if model == "samples":
        return (
            ", and the likelihood of each row is the mean of the mixture over the samples of its posterior, divided by "
            f"their prior {words.cite('hogg2010')}."
        )
    shape = "" if model in ("two_sided", "student_t") else "Gaussian "
    text = f", each convolved with the {shape}measurement error of each row, so that weights, means and widths are "
    text += f"those of the true values {words.cite('bovy2011')}."
    if model == "two_sided":
        text += (
            " For unequal upper and lower errors, the likelihood of the true value falls like a Gaussian of one width "
            "above the measured value and of another below it."
        )
    elif model == "student_t":
        dof = words.math(f"{record.error_dof:g}")
        text += f" The errors are distributed as Student's t with {dof} degrees of freedom, scaled by the stated error."
    # A fitted factor is that of the errors with the floor, a given one that of the errors alone.
    return text + _changed_errors(record.plan["column"], "", record.unit, words) + _fitted_scale(record, words)


def _changed_errors(column: Mapping[str, Any], of: str, unit: str | None, words: _Markup) -> str:
    """Sentences about a factor of the errors of a column that was given, and an error that was added to them."""
    scale, text = column.get("error_scale", 1.0), ""
    if scale not in ("fit", 1.0):
        text += f" All errors{of} were multiplied by {words.math(f'{scale:g}')}."
    if column.get("error_floor"):
        text += (
            f" An error of {_floor_of_errors(column, unit, words)} was added in quadrature{' to those' * bool(of)}{of}."
        )
    return text


def _floor_of_errors(column: Mapping[str, Any], unit: str | None, words: _Markup) -> str:
    """The error that is added to those of a column, in the unit of the values before a logarithm."""
    is_logarithm = column.get("transform", "none") in _LOGARITHMS
    if is_logarithm or unit is None:
        inner = re.fullmatch(r"(?:dex|log10|ln)\((.+)\)", unit or "")
        unit = column.get("unit") or (inner[1] if inner else None)
    text = f"{words.math(format(column['error_floor'], 'g'))}{_after(unit, words)}"
    return f"{text}, before the logarithm was taken," if is_logarithm else text


def _unit(record: FitRecord, words: _Markup) -> str:
    return _after(record.unit, words)


def _after(unit: str | None, words: _Markup) -> str:
    unit = _BARE_LOGARITHMS.get(unit or "", unit)
    return f" {words.unit(unit)}" if unit else ""


def _data(record: FitRecord, words: _Markup) -> Iterator[str]:
    """The rows: how many, and what they are."""
    account = record.account
    yield _rows_used(record, words)
    if _setting(record, "bins"):
        number = words.math(f"N = {count(record.n_data)}")
        yield f"They are a histogram of {number} values, whose likelihood consists of the integrals over the bins."
    yield from _weights(record, words)
    limits = [("upper", account.n_upper_limits), ("lower", account.n_lower_limits)]
    found = _enumerated([plural(number, f"{side} limit") for side, number in limits if number] or [""])
    if found:
        yield f"Among them are {found}, whose likelihood is the probability of a value beyond the limit."
    if _setting(record, "detection"):
        yield (
            "The likelihood of each value is conditional on its detection, whose probability as a function of the "
            "value was given."
        )
    elif _setting(record, "truncated"):
        bounds = record.bounds
        inside = "" if record.window is not None or bounds is None else _range(bounds, _unit(record, words), words)
        yield f"The sample is truncated: the likelihood of each value is conditional on being within bounds{inside}."
    prior = _setting(record, "prior")
    if prior:
        yield (
            f"A prior gives each component {words.math(format(prior['min_rows'], 'g'))} rows beforehand "
            f"{words.cite('fraley2007')}."
        )


def _range(bounds: tuple[float, float], unit: str, words: _Markup) -> str:
    low, high = bounds
    ends = [f"above {words.math(f'{low:.15g}')}{unit}"] * (low > -math.inf)
    ends += [f"below {words.math(f'{high:.15g}')}{unit}"] * (high < math.inf)
    return f" ({' and '.join(ends)})" if ends else ""


def _rows_used(record: FitRecord | JointRecord | DensityRecord, words: _Markup) -> str:
    account = record.account
    if not account.files:
        left_out = f"; left out were {describe_dropped(account.dropped)}" if account.n_dropped else ""
        number = f"{words.math(f'N = {count(record.n_data)}')} rows" if account.weight_kind is None else "weighted rows"
        return f"The fit is to {number}{left_out}."
    noun = "bins" if _setting(record, "bins") else "rows"
    where = record.plan.get("where")
    cut = f" for which {words.name(' '.join(str(where).split()))}" if where else ""
    if account.n_used == account.n_read:
        return f"All {words.math(count(account.n_used))} {noun}{cut} were used."
    reasons = [
        f"{words.math(count(number))} ({reason.replace('_', ' ')})"
        for reason, number in account.dropped.items()
        if number
    ]
    left_out = f"; left out were {_enumerated(reasons)}" if reasons else ""
    used, read = words.math(count(account.n_used)), words.math(count(account.n_read))
    return f"Of {read} {noun}, {used}{cut} were used{left_out}."


def _weights(record: FitRecord | JointRecord, words: _Markup) -> Iterator[str]:
    kind = record.account.weight_kind
    number = words.math(f"N = {count(record.n_data)}")
    if kind == "importance":
        yield f"Rows have importance weights, and are worth {number} rows of equal weight {words.cite('kish1965')}."
    elif kind == "counts" and not _setting(record, "bins"):
        yield f"Rows are weighted by the number of objects that they stand for, {number} in all."


def _joint_data(record: JointRecord, words: _Markup) -> Iterator[str]:
    yield _rows_used(record, words)
    complete = [pattern for pattern in record.patterns if len(pattern.columns) == len(record.names)]
    n_complete = sum(pattern.n_rows for pattern in complete)
    if record.patterns and n_complete < record.account.n_used:
        yield (
            f"Of these, {words.math(count(n_complete))} have a value in all columns; what others lack is integrated "
            "out of the likelihood."
        )
    yield from _weights(record, words)


def _constraints(record: FitRecord | JointRecord, words: _Markup) -> Iterator[str]:
    """What was given of the components, and the lower bound on their widths."""
    if isinstance(record, JointRecord):
        for name, unit, found in zip(record.names, record.units, record.resolutions, strict=True):
            yield from _floor(found, f" in {words.name(name)}", unit, words)
        return
    texts = []
    for number, component in enumerate(record.components, start=1):
        text = Constraint.from_dict(component.constraint or {}).text
        texts += [f"component {number}: {words.name(text)}"] * bool(text)
    if texts:
        yield f"The fit is constrained ({'; '.join(texts)})."
    if record.resolution is not None:
        yield from _floor(record.resolution, "", record.unit, words)


def _floor(found: ResolutionRecord, where: str, unit: str | None, words: _Markup) -> Iterator[str]:
    """The lower bound on the widths, if there is one."""
    if found.floor > 0.0 and found.cause in _FLOORS:
        floor = words.math(f"{found.floor:.2g}") + _after(unit, words)
        yield f"No width{where} was allowed below {floor}, {_FLOORS[found.cause]}."


def _choice(record: FitRecord | JointRecord, words: _Markup) -> Iterator[str]:
    """How the parameters were estimated, and the number of components chosen."""
    estimator = record.estimator if isinstance(record, FitRecord) else "em"
    if estimator == "moments":
        yield f"The parameters were estimated from moments of the true values {words.cite('pearson1894', 'wu2020')}."
    elif estimator == "density":
        yield f"The parameters were estimated from the shares of the rows in bins {words.cite('freedman1981')}."
    else:
        has_prior = isinstance(record, FitRecord) and bool(_setting(record, "prior"))
        yield f"The parameters are those of maximum likelihood{' with this prior' if has_prior else ''}."
    sketch = record.sketch if isinstance(record, FitRecord) else None
    if sketch is not None:
        points = words.math(count(sketch["n_points"]))
        exact = all(row.exact for row in record.selection if row.selected)
        ending = "and the fit was finished on all rows" if exact else "and all numbers are those of the sketch"
        yield f"The search worked on a sketch of {points} points, {ending}."
    if not record.converged:
        yield "The fit has not converged."
    yield _number_of_components(record, words)


def _judged(row: SelectionRow, criterion: str) -> float:
    """The number by which fits are compared; infinite for one that has none."""
    value = getattr(row, criterion)
    return math.inf if value is None or row.occam is None else value + 2.0 * row.occam


def _number_of_components(record: FitRecord | JointRecord, words: _Markup) -> str:
    symbol, n_params = words.math(f"M = {record.n_components}"), words.math(str(record.n_params))
    loglik = words.math(f"ln L = {_shown(record.loglik)}")
    numbers = f"{n_params} free parameters, {loglik}"
    tried = sorted({row.n_components for row in record.selection})
    if record.n_asked is not None or len(record.selection) < 2:
        return f"The number of components, {symbol}, was given ({numbers})."
    name, key = _CRITERIA[record.criterion]
    short = record.criterion.upper()
    families = dict.fromkeys(row.family for row in record.selection)
    among = words.math(f"M = {tried[0]}") + (f" to {words.math(str(tried[-1]))}" if len(tried) > 1 else "")
    if len(families) > 1:
        among += f" components of the families {_enumerated([_family(name) for name in families])}"
    value = words.math(f"{short} = {_shown(getattr(record, record.criterion))}")
    text = f"The number of components was chosen among {among} by the lowest {name} ({short}) {words.cite(key)}: "
    text += f"{symbol} ({numbers}, {value})"
    best = next((row for row in record.selection if row.selected), None)
    others = [row for row in record.selection if not row.selected and _judged(row, record.criterion) < math.inf]
    if best is not None and others:
        second = min(others, key=lambda row: _judged(row, record.criterion))
        gap = _judged(second, record.criterion) - _judged(best, record.criterion)
        family = "" if second.family == best.family else f", {_family(second.family)}"
        text += f" is preferred to the next best, {words.math(f'M = {second.n_components}')}{family}, by "
        text += words.math(f"Δ{short} = {gap:.1f}")
        if second.occam or best.occam:
            text += ", which includes a penalty on components that rest on few rows"
            weighted = isinstance(record, FitRecord) and record.account.weight_kind == "importance"
            text += ", have rows with large weights," if weighted else ""
            text += " or are as narrow as the values resolve"
    if record.n_components == tried[-1] and len(tried) > 1:
        text += "; it is the largest number that was tried"
    return text + "."


def _family(name: str) -> str:
    """The families of a mixture, with a background or several of them."""
    return " + ".join(_FAMILIES.get(part, part) for part in name.split("+"))


def _shown(value: float | None) -> str:
    return "nan" if value is None else f"{value:,.2f}"


def _uncertainties(record: FitRecord | JointRecord, words: _Markup) -> Iterator[str]:
    method = preferred_method(record)
    level = words.math("68 %")
    if method == "profile":
        yield f"Uncertainties are {level} intervals of the profile likelihood, calibrated for few rows; {_SYMMETRIC}."
    elif method == "bootstrap":
        draws = words.math(count(record.effort.get("bootstrap", 0)))
        if isinstance(record, JointRecord):
            kind, sources = f"{level} percentile", ["efron1979"]
        else:
            kind, sources = f"bias-corrected {level}", ["efron1979", "efron1981"]
        text = f"Uncertainties are {kind} intervals from {draws} bootstrap samples of the rows {words.cite(*sources)}"
        yield f"{text}; {_SYMMETRIC}."
    elif isinstance(record, FitRecord) and record.estimator != "em":
        yield "Uncertainties are standard errors that follow from the sampling covariance of these by the delta method."
    elif record.account.weight_kind == "importance":
        sandwich = f"the sandwich of information and scores {words.cite('huber1967')}"
        yield f"Uncertainties are standard errors from {sandwich}."
    else:
        yield "Uncertainties are standard errors from the observed information."
    if isinstance(record, FitRecord) and any(part.sigma_upper is not None for part in record.components):
        limits = f"from the profile likelihood {words.cite('self1987')}"
        yield f"Upper limits of widths are at {words.math('95 %')}, {limits}."


def _quality(record: FitRecord | JointRecord, words: _Markup) -> Iterator[str]:
    """How well the mixture describes the data, and the test of one component more."""
    draws = record.quality_draws
    if isinstance(record, JointRecord):
        yield from _joint_quality(record, words)
    elif record.quality.ks is not None:
        found = record.quality
        tests = [
            ("Kolmogorov-Smirnov D", found.ks, found.ks_pvalue),
            ("Anderson-Darling A²", found.ad, found.ad_pvalue),
        ]
        parts = [
            f"{name.partition(' ')[0]} statistic {words.math(f'{value:.3g}')}{_chance(pvalue, draws, words)}"
            for name, value, pvalue in tests
            if value is not None
        ]
        verdict = {"ok": "is consistent with", "rejected": "does not describe", "untested": "is compared with"}
        text = f"The mixture {verdict[found.verdict]} the data ({_enumerated(parts)})"
        if found.verdict != "untested":
            text += f"; the p-values come from {_source(record, words)}"
        yield f"{text}."
    ratio = record.likelihood_ratio
    if ratio is not None:
        p_value = words.math(f"p {chance(ratio['p_value'], ratio['n_draws'])}")
        yield (
            f"The likelihood ratio of {words.math(f'M = {record.n_components + 1}')} and of the chosen number has "
            f"{p_value} among {words.math(count(ratio['n_draws']))} catalogs simulated from the fit "
            f"{words.cite('mclachlan1987')}."
        )


def _chance(pvalue: float | None, n_draws: int, words: _Markup) -> str:
    return "" if pvalue is None else f", {words.math(f'p {chance(pvalue, n_draws)}')}"


def _source(record: FitRecord, words: _Markup) -> str:
    """Where p-values come from."""
    draws = words.math(count(record.quality_draws))
    errors = TwoSided(np.ones(1), np.ones(1)) if _error_model(record) == "two_sided" else np.ones(1)
    quadrature = any(by_quadrature(FAMILIES[part.family], errors) for part in record.components)
    if record.account.n_used <= (SIMULATED_ROWS_QUADRATURE if quadrature else SIMULATED_ROWS):
        return f"{draws} catalogs simulated from the fit and fitted again"
    return f"{draws} draws from the limit of such catalogs for many rows {words.cite('durbin1973')}"


def _joint_quality(record: JointRecord, words: _Markup) -> Iterator[str]:
    worst = record.worst_column
    if worst is None or worst.ks is None:
        return
    lowest = record.lowest_pvalue
    statistic = words.math(f"{worst.ks:.3g}")
    if math.isnan(lowest):
        name = words.name(worst.name)
        yield f"The largest Kolmogorov-Smirnov statistic of a column is {statistic}, of {name}."
        return
    p_value = words.math(f"p {chance(lowest, record.quality_draws)}")
    verdict = "does not describe" if lowest <= REJECTED else "is consistent with"
    yield (
        f"The mixture {verdict} the data: of the projections that were tested, the one that is described least well "
        f"has {p_value}, from {words.math(count(record.quality_draws))} catalogs simulated from the fit and fitted "
        f"again, and the largest Kolmogorov-Smirnov statistic of a column is {statistic}."
    )


def _software(record: FitRecord | JointRecord | DensityRecord, words: _Markup) -> Iterator[str]:
    versions: Mapping[str, str] = record.versions
    used = [
        f"{name} {words.name(versions[library])} {words.cite(key)}"
        for library, name, key in _LIBRARIES
        if library in versions
    ]
    name = " ".join(filter(None, ["mixpipe", words.name(versions.get("mixpipe", ""))]))
    yield f"The fit was made with {_enumerated([name, *used])}."
