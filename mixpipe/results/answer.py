"""What was found in a column, in one sentence with its evidence: the beginning of the report, and the end of a run."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mixpipe.assess.comparison.verdict import CONCLUSION_CHANGED, NOT_COMPARED, SHIFTED, basis
from mixpipe.assess.quality import REJECTED, describe_distance, verdict_of
from mixpipe.base.presentation import chance, count, measured, plural, rounded, typeset
from mixpipe.model.constraints import Constraint
from mixpipe.model.families import FAMILIES, RANGED
from mixpipe.results.record import ComponentRecord, DensityRecord, FailedRecord, FitRecord, JointRecord, Record

_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
# Of more components than these only the heaviest are told, and of a joint fit to more columns only the weights.
_MOST, _MOST_COLUMNS = 6, 3
# Of more shifts than these only the first are told.
_MOST_SHIFTS = 3
# Units of logarithmic values: of a transform, and those of files.
_LOGARITHMIC = re.compile(r"(?:(?:log10|dex)\((?P<decimal>.*)\)|ln\((?P<natural>.*)\)|(?P<bare>dex))")
# Larger numbers of either sign have no power that a float could hold.
_LARGEST_LOG = 700.0
# Percentages have no decimals if their uncertainty is at least this large.
_WHOLE = 2.95


@dataclass(frozen=True)
class Answer:
    """What was found in a column.

    Parameters
    ----------
    head : str
        How many populations there are, and what has changed since the release before; of one also where it is.
    parts : tuple of str
        If there are several: where each of them is, how wide, and how large its share.
    evidence : tuple of str
        What this rests on: the rows, the choice of the number, the goodness of fit, the comparison.
    warnings : int
        Number of warnings, one of which may be that the fit did not converge.
    """

    head: str
    parts: tuple[str, ...]
    evidence: tuple[str, ...]
    warnings: int

    @property
    def sentence(self) -> str:
        """Head and parts as one sentence.

        >>> Answer("two populations", ("60 % at 1", "40 % at 2"), (), 0).sentence
        'two populations: 60 % at 1; 40 % at 2'
        """
        return f"{self.head}: {'; '.join(self.parts)}" if self.parts else self.head

    @property
    def basis(self) -> str:
        """The evidence and the number of warnings on one line.

        >>> Answer("one population", (), ("10 rows",), 1).basis
        '10 rows; 1 warning'
        """
        return "; ".join([*self.evidence, plural(self.warnings, "warning") if self.warnings else "no warnings"])


def answer(record: Record, change: Mapping[str, Any] | None = None) -> Answer:
    """Say what was found in a column.

    Parameters
    ----------
    record : Record
        Its record.
    change : mapping, optional
        Its comparison with the release before, from `read_changes`.

    Examples
    --------
    >>> from mixpipe.results.record import load_record
    >>> found = answer(load_record("results/neutron_stars/2018/mass/fit.json"))  # doctest: +SKIP
    >>> found.evidence  # doctest: +SKIP
    ('57 rows', 'BIC prefers two to one by 8.1 and to three by 14.1', 'fit ok: p = 0.3')
    """
    warnings = len(record.warnings)
    if isinstance(record, FailedRecord):
        return Answer(f"nothing could be fitted: {record.failure.what}", (), _rows(record), warnings)
    if isinstance(record, DensityRecord):
        return _joined(*_densities(record), _of_densities(record), warnings)
    head = _head(record) + ("" if change is None else _changed(change, record))
    evidence = [*_rows(record), *_choice(record), _goodness(record)]
    if change is not None:
        evidence += _of_change(change)
    parts, found = (tuple(map(typeset, texts)) for texts in (_parts(record), evidence))
    return _joined(typeset(head), parts, found, warnings + (not record.converged))


def _joined(head: str, parts: tuple[str, ...], evidence: tuple[str, ...], warnings: int) -> Answer:
    """An answer whose only part is in its head."""
    if len(parts) == 1:
        between = " " if parts[0].startswith("at ") and "," not in head else ": "
        head, parts = f"{head}{between}{parts[0]}", ()
    return Answer(head, parts, evidence, warnings)


def read_changes(paths: Iterable[str | Path]) -> dict[tuple[str, str, str], dict[str, Any]]:
    """The comparisons with the release before, by catalog, new release and column.

    Parameters
    ----------
    paths : iterable of path
        The summary.csv of each comparison of two releases; components.csv lies beside it.

    Returns
    -------
    dict
        Rows of the summaries, each with its rows of components.csv as ``differences``.
    """
    # It imports pandas.
    from mixpipe.results.tables import read_comparison

    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for path in paths:
        summary, components = read_comparison(path)
        differences: dict[str, list[dict[str, Any]]] = {}
        for row in components.to_dict("records"):
            differences.setdefault(row["column"], []).append({str(name): value for name, value in row.items()})
        for row in summary.to_dict("records"):
            key = row["catalog"], row["new"], row["column"]
            found[key] = {str(name): value for name, value in row.items()}
            found[key]["differences"] = differences.get(row["column"], [])
    return found


# ----- the sentence


def _head(record: FitRecord | JointRecord) -> str:
    """How many populations there are, and of which kind."""
    levels = 0
    if isinstance(record, FitRecord):
        levels = sum(component.family == "uniform" for component in record.components)
    number = record.n_components - levels
    # What does not describe the data is no population.
    rejected = _verdict(record) == "rejected"
    words = f"{_number(number)} {'component' if rejected else 'population'}{'' if number == 1 else 's'}"
    if levels:
        words += " and a uniform background"
    if isinstance(record, JointRecord):
        words += f" in {', '.join(record.names)}"
    return words + f", which {'does' if number + levels == 1 else 'do'} not describe the rows" * rejected


def _parts(record: FitRecord | JointRecord) -> Iterator[str]:
    """The components, in order of their means; of many the heaviest."""
    components = record.components
    heaviest = sorted(range(len(components)), key=lambda j: -components[j].weight)
    told = sorted(heaviest[:_MOST]) if len(components) > _MOST + 1 else range(len(components))
    for j in told:
        if isinstance(record, JointRecord):
            yield _joint_part(record, j)
        else:
            yield _part(record.components[j], record.unit, alone=len(components) == 1)
    left = len(components) - len(told)
    if left:
        rest = sum(components[j].weight for j in heaviest[_MOST:])
        yield f"and {left} more with {_percent(rest)} together"


def _part(component: ComponentRecord, unit: str | None, *, alone: bool) -> str:
    """A component: its weight, its mean, and its width."""
    return describe_component(
        None if alone else component.weight,
        component.weight_unc,
        component.mean,
        component.mean_unc,
        component.sigma,
        component.sigma_unc,
        unit,
        sigma_upper=component.sigma_upper,
        boundary=component.boundary,
        family=component.family,
        shape=(component.shape, component.shape_unc),
        remark=Constraint.from_dict(component.constraint or {}).text,
    )


def describe_component(
    weight: float | None,
    weight_unc: float | None,
    mean: float,
    mean_unc: float | None,
    sigma: float,
    sigma_unc: float | None,
    unit: str | None = None,
    *,
    sigma_upper: float | None = None,
    boundary: bool = False,
    family: str = "gaussian",
    shape: tuple[float | None, float | None] = (None, None),
    remark: str = "",
) -> str:
    """A component in words; values of logarithms are converted back, too.

    Parameters
    ----------
    weight, weight_unc, mean, mean_unc, sigma, sigma_unc : float or None
        The parameters with their uncertainties; without a weight it is not told.
    unit : str or None
        Unit of the column.
    sigma_upper : float or None
        Upper limit of the sigma at 95 %.
    boundary : bool
        Whether no width is resolved.
    family : str
        Family of the component.
    shape : tuple of float or None
        Its third parameter, with the uncertainty.
    remark : str
        What else is to be said.

    Examples
    --------
    >>> describe_component(None, None, 1.5, 0.02, 0.3, 0.01, "log10(d)")
    'at 1.500 ± 0.020 in log10(d), that is 31.6 d, uncertain by a factor of 1.047 (σ 0.300 ± 0.010, a factor of 1.995)'
    >>> describe_component(None, None, 1.0, 0.02, 0.3, 0.01, "ln()")
    'at 1.000 ± 0.020 in ln, that is 2.718, uncertain by a factor of 1.020 (σ 0.300 ± 0.010, a factor of 1.350)'
    >>> describe_component(None, None, 1.5, 0.02, 0.0, None, "mag", sigma_upper=0.043, boundary=True)
    'at 1.500 ± 0.020 mag (σ < 0.043 at 95 %)'
    """
    share = "" if weight is None else f"{_percent(weight, weight_unc)} "
    if family in RANGED:
        half = math.sqrt(3.0) * sigma
        kind = "evenly spread" if family == "uniform" else f"as a power law{_shape(family, *shape)}"
        ends = (rounded(end, 0.02 * half) for end in (mean - half, mean + half))
        return f"{share}{kind} from {' to '.join(ends)}{_with(unit)}{f' ({remark})' if remark else ''}"
    place, factor = f"at {_measured(mean, mean_unc)}{_with(unit)}", ""
    log = _LOGARITHMIC.fullmatch(unit or "")
    if log is not None:
        rate = 1.0 if log["natural"] is not None else math.log(10.0)
        if log["decimal"] or log["natural"]:
            place = place if (unit or "").startswith("dex") else f"at {_measured(mean, mean_unc)} in {unit}"
        if abs(rate * mean) < _LARGEST_LOG:
            place += _converted(rate, mean, mean_unc, log["decimal"] or log["natural"])
        if not boundary and sigma_upper is None and rate * sigma < _LARGEST_LOG:
            times = math.exp(rate * sigma)
            factor = f", a factor of {rounded(times, times * rate * (sigma_unc or 0.1 * sigma))}"
    if sigma_upper is not None:
        width = f"σ < {sigma_upper:.2g} at 95 %"
    elif boundary:
        width = "no width resolved"
    else:
        width = f"σ {_measured(sigma, sigma_unc)}{factor}"
    words = [] if family == "gaussian" else [f"{family.replace('_', ' ')}{_shape(family, *shape)}"]
    return f"{share}{place} ({'; '.join([*words, width, *filter(None, [remark])])})"


def _converted(rate: float, mean: float, unc: float | None, unit: str | None) -> str:
    """The value of a logarithm, with the factor by which it is uncertain."""
    value = math.exp(rate * mean)
    if not unc or rate * unc > _LARGEST_LOG:
        return f", that is {value:.3g}{_with(unit)}"
    times = math.exp(rate * unc)
    return (
        f", that is {rounded(value, value * (times - 1.0))}{_with(unit)}, "
        f"uncertain by a factor of {rounded(times, times - 1.0)}"
    )


def _joint_part(record: JointRecord, j: int) -> str:
    component = record.components[j]
    share = "" if record.n_components == 1 else f"{_percent(component.weight, component.weight_unc)} "
    if len(record.names) > _MOST_COLUMNS:
        return share.strip() or "its means and widths are in the table"
    places = (
        f"{name} = {_measured(mean, mean_unc)}{_with(unit)} "
        f"({f'σ {_measured(sigma, sigma_unc)}' if sigma > 0.0 else 'no width resolved'})"
        for name, unit, mean, mean_unc, sigma, sigma_unc in zip(
            record.names,
            record.units,
            component.means,
            component.means_unc,
            component.sigmas,
            component.sigmas_unc,
            strict=True,
        )
    )
    return f"{share}at {', '.join(places)}"


def _densities(record: DensityRecord) -> tuple[str, tuple[str, ...]]:
    between = ""
    if record.truncated is not None:
        of = f" of {record.abscissa}" if record.abscissa else ""
        between = f"{of} between {' and '.join(_spread(*record.truncated))}{_with(record.unit)}"
    parts = [
        f"{_percent(rows / record.n_data)} with {_number(int(number))} component{'' if int(number) == 1 else 's'}"
        for number, rows in sorted(record.n_rows.items(), key=lambda pair: int(pair[0]))
        if rows
    ]
    if record.means is not None:
        low, middle, high = _spread(*record.means)
        parts.append(f"the heaviest component at {middle} in the median, in 90 % between {low} and {high}")
    return typeset(f"a mixture for each of {count(record.n_data)} densities{between}"), tuple(map(typeset, parts))


def _changed(change: Mapping[str, Any], record: FitRecord | JointRecord) -> str:
    """What has changed since the release before."""
    verdict, old = change["verdict"], change["old"]
    if verdict == NOT_COMPARED:
        return f", not compared with {old}"
    number = change["n_components_old"]
    before = f" ({_number(int(number))} before)" if math.isfinite(number) and number != record.n_components else ""
    if verdict == CONCLUSION_CHANGED:
        return f", the conclusion has changed since {old}{before or _appeared(change)}"
    shifts = ", ".join(_shifts(change, record)) if verdict == SHIFTED else ""
    return f", {verdict} since {old}{before}{f' ({shifts})' if shifts else ''}"


def _appeared(change: Mapping[str, Any]) -> str:
    """Components without a counterpart, where their number is the same."""
    found = [row["status"] for row in change["differences"] if row["parameter"] == "weight"]
    words = [f"{found.count(word)} {word}" for word in ("appeared", "vanished") if word in found]
    return f" ({', '.join(words)})" if words else ""


def _shifts(change: Mapping[str, Any], record: FitRecord | JointRecord) -> Iterator[str]:
    """The parameters that are shifted, from where to where."""
    units = {"mean": record.unit, "sigma": record.unit}
    if isinstance(record, JointRecord):
        units = {
            f"{word}_{name}": unit for word in units for name, unit in zip(record.names, record.units, strict=True)
        }
    found = [row for row in change["differences"] if row["finding"] == SHIFTED]
    for row in found[:_MOST_SHIFTS]:
        ends = (_measured(row[when], row[f"{when}_unc"]) for when in ("old", "new"))
        which = f" of component {int(row['component_new'])}" if record.n_components > 1 else ""
        yield f"{row['parameter']}{which} from {' to '.join(ends)}{_with(units.get(row['parameter']))}"
    if len(found) > _MOST_SHIFTS:
        yield f"{len(found) - _MOST_SHIFTS} more"


# ----- the evidence


def _rows(record: Record) -> tuple[str, ...]:
    account = record.account
    notes = [
        plural(number, f"{kind} limit")
        for kind, number in (("upper", account.n_upper_limits), ("lower", account.n_lower_limits))
        if number
    ]
    notes += [f"{count(account.n_dropped)} dropped"] if account.n_dropped else []
    n_data = account.n_used if isinstance(record, FailedRecord) else record.n_data
    if isinstance(account.value, tuple) and record.kind == "values":
        words = f"{plural(n_data, 'row')} in {plural(account.n_used, 'bin')}"
    elif account.weight_kind is not None:
        words = f"{plural(account.n_used, 'row')} worth {count(n_data)}"
    else:
        words = plural(account.n_used, "row")
    return (f"{words} ({', '.join(notes)})" if notes else words,)


def _choice(record: FitRecord | JointRecord) -> Iterator[str]:
    """By how much the chosen number of components is better than fewer and than more."""
    chosen = next((row for row in record.selection if row.selected), None)
    if record.n_asked is not None:
        yield f"{_number(record.n_components)} as asked for"
    if chosen is None:
        return
    judged = {id(row): _judged(row, record.criterion) for row in record.selection}
    best, found = judged[id(chosen)], []
    for side in (-1, 1):
        others = [row for row in record.selection if side * (row.n_components - chosen.n_components) > 0]
        other = min(others, key=lambda row: judged[id(row)], default=None)
        if other is not None and math.isfinite(best) and math.isfinite(judged[id(other)]):
            above = judged[id(other)] - best
            found.append(f"{_number(other.n_components)} by {above:,.{0 if abs(above) >= 100.0 else 1}f}")
    if found:
        yield f"{record.criterion.upper()} prefers {_number(chosen.n_components)} to {' and to '.join(found)}"


def _judged(row: Any, criterion: str) -> float:
    """The number by which fits are compared; see `mixpipe.model.results.Selection.judged`."""
    value = getattr(row, criterion)
    # A fit that is no maximum is never chosen, and None where JSON cannot hold the infinity.
    return math.inf if value is None or row.occam is None else value + 2.0 * row.occam


def _verdict(record: FitRecord | JointRecord) -> str:
    return record.quality.verdict if isinstance(record, FitRecord) else verdict_of(record.lowest_pvalue)


def _goodness(record: FitRecord | JointRecord) -> str:
    """The verdict on the fit with its p-value, and how wrong a fit is that is rejected."""
    verdict = _verdict(record)
    if isinstance(record, FitRecord):
        known = [p for p in (record.quality.ks_pvalue, record.quality.ad_pvalue) if p is not None]
        pvalue, ks = min(known, default=math.nan), record.quality.ks
    else:
        worst = min(record.quality, key=lambda one: 2.0 if one.ks_pvalue is None else one.ks_pvalue, default=None)
        pvalue, ks = record.lowest_pvalue, None if worst is None else worst.ks
    if verdict == "untested":
        far = "" if ks is None else f", {describe_distance(ks, verdict)}"
        return f"fit untested{far}"
    told = f"fit {verdict}: p {chance(pvalue, record.quality_draws)}"
    if verdict == "rejected":
        return f"{told}, at most {REJECTED:g}" + ("" if ks is None else f"; {describe_distance(ks, verdict)}")
    return told


def _of_change(change: Mapping[str, Any]) -> Iterator[str]:
    """What the verdict on a change rests on."""
    found = basis(change["evidence"], change["threshold"])
    if found:
        yield f"since {change['old']}: {found}"
    elif change["note"]:
        yield change["note"]


def _of_densities(record: DensityRecord) -> tuple[str, ...]:
    named = (("median", record.ks.median), ("largest", record.ks.largest))
    numbers = (f"{name} {value:.2g}" for name, value in named if value is not None)
    said = [*_rows(record), f"Kolmogorov-Smirnov distance {', '.join(numbers)}"]
    if record.n_not_converged:
        said.append(f"{count(record.n_not_converged)} not converged")
    return tuple(said)


# ----- numbers


def _number(value: int) -> str:
    """A small number as a word."""
    return _NUMBERS[value] if value < len(_NUMBERS) else count(value)


def _percent(share: float, unc: float | None = None) -> str:
    """A share in per cent, with as many digits as its uncertainty has.

    >>> _percent(0.72, 0.09), _percent(0.5, 0.0213), _percent(0.12345)
    ('72 ± 9 %', '50.0 ± 2.1 %', '12.3 %')
    """
    value, error = 100.0 * share, 100.0 * (unc or 0.0)
    if not (math.isfinite(error) and error > 0.0):
        return f"{value:.3g} %"
    return f"{value:.0f} ± {error:.0f} %" if error >= _WHOLE else f"{measured(value, error)} %"


def _measured(value: float, unc: float | None) -> str:
    return measured(value, math.nan if unc is None else unc)


def _spread(*values: float) -> list[str]:
    """Numbers with three digits or so of their range.

    >>> _spread(0.0, 3.0), _spread(2459000.25, 2459003.75), _spread(0.5, 0.71234, 1.5)
    (['0', '3'], ['2459000.25', '2459003.75'], ['0.5', '0.712', '1.5'])
    """
    return [f"{float(rounded(value, 0.01 * (max(values) - min(values)))):.15g}" for value in values]


def _shape(family: str, shape: float | None, unc: float | None) -> str:
    name = FAMILIES[family].shape_name
    return "" if name is None or shape is None else f", {name} {_measured(shape, unc)}"


def _with(unit: str | None) -> str:
    """A unit behind a number; of a logarithm of values without a unit, which logarithm it is.

    >>> _with("mag"), _with("log10()"), _with(None)
    (' mag', ' in log10', '')
    """
    if unit and unit.endswith("()"):
        return f" in {unit.removesuffix('()')}"
    return f" {unit}" if unit else ""
