"""What is given of the components of a mixture, what they share, and which rows are known to belong to them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

# The arrays of a mixture, and the names of their elements in a constraint.
PARTS = ("weights", "means", "sigmas", "shapes")
SINGULAR = dict(zip(PARTS, ("weight", "mean", "sigma", "shape"), strict=True))
# Group of the sigmas that are equal for all components.
ALL = "all"


@dataclass(frozen=True)
class Constraint:
    """What is given of one component, what it shares with others, and which rows are known to belong to it.

    Parameters
    ----------
    weight, mean, sigma, shape : float
        Values that are given; nan for those that are fitted.
    ties : tuple of (str, str, float)
        Parts of the mixture that are tied to those of other components: the name of the part, that of the group, and
        the number to which the parameter is proportional within its group.
    members : int
        Column of `Cells.memberships` with the rows that are known to belong to the component; -1 if there is none.
    label : str
        Name of a component that is known to be there: that of its members, or of its family.

    Examples
    --------
    >>> Constraint(mean=0.0).text
    'mean given'
    >>> FREE.text
    ''
    """

    weight: float = math.nan
    mean: float = math.nan
    sigma: float = math.nan
    shape: float = math.nan
    ties: tuple[tuple[str, str, float], ...] = ()
    members: int = -1
    label: str = ""

    def given(self, part: str) -> float:
        """The given value of a part of the mixture; nan if it is fitted."""
        return float(getattr(self, SINGULAR[part]))

    def is_given(self, part: str) -> bool:
        """Whether a part of the mixture is given."""
        return not math.isnan(self.given(part))

    def tie(self, part: str) -> tuple[str, float] | None:
        """Group and number of a part that is tied."""
        return next(((group, ratio) for tied, group, ratio in self.ties if tied == part), None)

    def holding(self, part: str, value: float) -> Constraint:
        """The same, with a part given."""
        given: dict[str, Any] = {SINGULAR[part]: value}
        return replace(self, **given, ties=tuple(tie for tie in self.ties if tie[0] != part))

    @property
    def is_free(self) -> bool:
        """Whether nothing is known of the component."""
        return not (self.ties or self.label or self.members >= 0 or any(map(self.is_given, PARTS)))

    @property
    def text(self) -> str:
        """What constrains the component, for tables."""
        given = [SINGULAR[part] for part in PARTS if self.is_given(part)]
        tied = [SINGULAR[part] for part, _, _ in self.ties]
        parts = [f"{' and '.join(given)} given"] * bool(given) + [f"{' and '.join(tied)} tied"] * bool(tied)
        return ", ".join(parts + [f"members of {self.label}"] * (self.members >= 0))

    def as_dict(self) -> dict[str, Any]:
        """The constraint in plain types, without what is free."""
        found: dict[str, Any] = {SINGULAR[part]: self.given(part) for part in PARTS if self.is_given(part)}
        if self.ties:
            found["ties"] = [list(tie) for tie in self.ties]
        if self.members >= 0:
            found["members"] = self.members
        if self.label:
            found["label"] = self.label
        return found

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Constraint:
        """The constraint that `as_dict` has described."""
        ties = tuple((str(part), str(group), float(ratio)) for part, group, ratio in found.get("ties", ()))
        return cls(**{**found, "ties": ties})


FREE = Constraint()
# That of components all of which have the same sigma.
EQUAL = Constraint(ties=(("sigmas", ALL, 1.0),))


@dataclass(frozen=True)
class Slot:
    """A component that is known to be there, and what constrains it.

    Parameters
    ----------
    family : str or None
        Its family; None for that of the other components.
    constraint : Constraint
    """

    family: str | None
    constraint: Constraint


@dataclass(frozen=True)
class Constraints:
    """What constrains a mixture: the components that are known to be there, and what all components share.

    Parameters
    ----------
    slots : tuple of Slot
        The components that are constrained; there may be others.
    equal_sigmas : bool
        Whether all components have the same sigma, except those whose sigma is given.
    """

    slots: tuple[Slot, ...] = ()
    equal_sigmas: bool = False

    @property
    def of_others(self) -> Constraint:
        """What constrains the components that are not among the slots."""
        return EQUAL if self.equal_sigmas else FREE

    @classmethod
    def of(cls, families: Sequence[str], constraints: Sequence[Constraint]) -> Constraints:
        """The constraints that a mixture of these families satisfies; backgrounds are none of them."""
        slots = [
            Slot(family, rule)
            for family, rule in zip(families, constraints, strict=True)
            if not (rule.is_free or rule == EQUAL)
        ]
        equal = any((rule.tie("sigmas") or ("",))[0] == ALL for rule in constraints)
        return cls(tuple(slots), equal)


NO_CONSTRAINTS = Constraints()


def as_constraints(
    *,
    fixed: Mapping[str, Any] | None = None,
    tied: Mapping[str, Any] | None = None,
    known: Sequence[Mapping[str, Any]] = (),
    equal_sigmas: bool = False,
    labels: Sequence[str] = (),
) -> Constraints:
    """The constraints that users describe by lists.

    Parameters
    ----------
    fixed : mapping of str to list, or None
        For ``weights``, ``means``, ``sigmas`` or ``shapes``: one value for each component, None or nan where it is to
        be fitted.
    tied : mapping of str to list, or None
        For ``weights``, ``means`` or ``sigmas``: numbers to which the parameters of these components are proportional,
        None or nan for those that are not tied.
    known : sequence of mapping
        Components known from elsewhere: ``family``, ``mean``, ``sigma``, ``shape`` and ``weight``, each of which may be
        left out or None where it is to be fitted; for ``uniform`` and ``power_law``, ``low`` and ``high``.
    equal_sigmas : bool
        Give all components the same width.
    labels : sequence of str
        Names of the components to which rows are known to belong, in the order of the columns of
        `Cells.memberships`. They are the first components, in the order of the lists of `fixed` and `tied`.

    Raises
    ------
    ValueError
        For unknown names, lists of different lengths, or values that a parameter cannot have.

    Examples
    --------
    >>> constraints = as_constraints(fixed={"means": [0, None], "weights": [0.3, None]})
    >>> [slot.constraint.text for slot in constraints.slots]
    ['weight and mean given']
    >>> as_constraints(fixed={"mean": [0]})
    Traceback (most recent call last):
    ValueError: fixed: unknown part 'mean', expected weights, means, sigmas or shapes
    """
    given = _lists("fixed", fixed or {}, PARTS)
    shared = _lists("tied", tied or {}, PARTS[:3])
    size = max([len(labels), *map(len, given.values()), *map(len, shared.values())])
    rows: list[Slot] = []
    for j in range(size):
        values: dict[str, Any] = {SINGULAR[part]: _at(numbers, j) for part, numbers in given.items()}
        ties = [(part, part, _at(numbers, j)) for part, numbers in shared.items() if not math.isnan(_at(numbers, j))]
        for part, _, ratio in ties:
            if part != "means" and not ratio > 0.0:
                raise ValueError(f"tied: {part} of component {j + 1} has {ratio:g}, expected a number > 0")
            if ratio == 0.0:
                raise ValueError(f"tied: means of component {j + 1} has 0, expected another number")
            if not math.isnan(values.get(SINGULAR[part], math.nan)):
                raise ValueError(f"the {SINGULAR[part]} of component {j + 1} is both fixed and tied: expected one")
        members: dict[str, Any] = {"members": j, "label": str(labels[j])} if j < len(labels) else {}
        rows.append(Slot(None, Constraint(**values, ties=tuple(ties), **members)))
    rows += [_known(k, entry) for k, entry in enumerate(known, start=1)]
    for part in shared:
        alone = [slot for slot in rows if slot.constraint.tie(part)]
        if len(alone) == 1:
            raise ValueError(f"tied: one of the {part} alone, expected numbers for two components or more")
    slots = [slot for slot in rows if slot.family is not None or not slot.constraint.is_free]
    for k, slot in enumerate(slots, start=1):
        _check(slot.constraint, k)
    if equal_sigmas:
        slots = [replace(slot, constraint=_equal(slot.constraint)) for slot in slots]
    total = sum(slot.constraint.weight for slot in slots if slot.constraint.is_given("weights"))
    if total > 1.0 + 1e-9:
        raise ValueError(f"the given weights sum to {total:g}, expected at most 1")
    return Constraints(tuple(slots), equal_sigmas)


def _equal(constraint: Constraint) -> Constraint:
    if constraint.is_given("sigmas"):
        return constraint
    if constraint.tie("sigmas"):
        raise ValueError("equal_sigmas with tied sigmas: expected one of them")
    return replace(constraint, ties=(*constraint.ties, ("sigmas", ALL, 1.0)))


def _lists(option: str, given: Mapping[str, Any], parts: Sequence[str]) -> dict[str, list[float]]:
    found = {}
    for part, values in given.items():
        if part not in parts:
            raise ValueError(f"{option}: unknown part {part!r}, expected {', '.join(parts[:-1])} or {parts[-1]}")
        try:
            found[part] = [math.nan if value is None else float(value) for value in values]
        except (TypeError, ValueError):
            raise ValueError(
                f"{option}: {part} is {values!r}, expected a list with a number or None for each component"
            ) from None
    return found


def _at(numbers: list[float], index: int) -> float:
    return numbers[index] if index < len(numbers) else math.nan


def _known(number: int, entry: Mapping[str, Any]) -> Slot:
    names = ("family", "mean", "sigma", "shape", "weight", "low", "high")
    for name in entry:
        if name not in names:
            raise ValueError(f"known component {number}: unknown key {name!r}, expected one of {', '.join(names)}")
    values: dict[str, Any] = {name: float(entry[name]) for name in names[1:] if entry.get(name) is not None}
    family = str(entry.get("family") or "gaussian")
    if "low" in values or "high" in values:
        low, high = values.pop("low", math.nan), values.pop("high", math.nan)
        if not low < high or {"mean", "sigma"} & values.keys():
            raise ValueError(f"known component {number}: expected low < high, and then neither mean nor sigma")
        # A range is stated by the mean and standard deviation of the uniform density on it.
        values["mean"], values["sigma"] = 0.5 * (low + high), 0.5 * (high - low) / math.sqrt(3.0)
    return Slot(family, Constraint(**values, label=family))


def _check(constraint: Constraint, number: int) -> None:
    weight, sigma = constraint.weight, constraint.sigma
    if not math.isnan(weight) and not 0.0 <= weight <= 1.0:
        raise ValueError(f"the weight of component {number} is {weight:g}, expected a number from 0 to 1")
    if not math.isnan(sigma) and not 0.0 <= sigma < math.inf:
        raise ValueError(f"the sigma of component {number} is {sigma:g}, expected a number >= 0")
    if math.isinf(constraint.mean):
        raise ValueError(f"the mean of component {number} is {constraint.mean:g}, expected a finite number")


def check_start(given: Mapping[str, Any]) -> None:
    """Refuse lists of ``weights``, ``means`` and ``sigmas`` that no mixture can have.

    Raises
    ------
    ValueError
        For lists of different lengths, negative widths, or weights that do not sum to one.
    """
    means, sigmas = given["means"], given["sigmas"]
    weights = given.get("weights") or [1.0 / max(len(means), 1)] * len(means)
    if not len(means) == len(sigmas) == len(weights) or not len(means):
        raise ValueError("start has lists of different lengths, expected one number for each component")
    if min(sigmas) < 0.0:
        raise ValueError(f"start has a sigma of {min(sigmas):g}, expected numbers >= 0")
    if min(weights) < 0.0 or abs(sum(weights) - 1.0) > 1e-6:
        raise ValueError(f"start has weights that sum to {sum(weights):g}, expected numbers >= 0 that sum to 1")


def satisfied(
    parts: Mapping[str, np.ndarray], constraints: Sequence[Constraint], floor: float, least_weight: float
) -> dict[str, np.ndarray]:
    """The parameters of a mixture, changed as little as the constraints, the floor and the sum of the weights require.

    Parameters
    ----------
    parts : mapping of str to ndarray, shape (n_components,)
        `PARTS` of the mixture.
    constraints : sequence of Constraint
        One for each component.
    floor : float
        Lower bound on the sigmas that are not given.
    least_weight : float
        Lower bound on the weights that are not given.

    Examples
    --------
    >>> parts = {"weights": np.array([0.5, 0.5]), "means": np.array([1.0, 4.0]), "sigmas": np.array([1.0, 3.0])}
    >>> same = ("sigmas", "all", 1.0)
    >>> rules = [Constraint(weight=0.2, ties=(same,)), Constraint(mean=5.0, ties=(same,))]
    >>> satisfied(parts | {"shapes": np.full(2, np.nan)}, rules, 0.0, 0.0)["weights"]
    array([0.2, 0.8])
    """
    found = {name: np.array(values, dtype=np.float64) for name, values in parts.items()}
    found["sigmas"] = np.maximum(found["sigmas"], floor)
    for part in PARTS[:3]:
        ties = [(j, *tie) for j, constraint in enumerate(constraints) if (tie := constraint.tie(part)) is not None]
        for group in sorted({own for _, own, _ in ties}):
            chosen = [j for j, own, _ in ties if own == group]
            ratios = np.array([ratio for _, own, ratio in ties if own == group])
            base = float(np.mean(found[part][chosen] / ratios))
            if part == "sigmas":
                base = max(base, floor / float(ratios.min()))
            found[part][chosen] = base * ratios
    for part in PARTS:
        for j, constraint in enumerate(constraints):
            if constraint.is_given(part):
                found[part][j] = constraint.given(part)
    fitted = np.array([not constraint.is_given("weights") for constraint in constraints])
    weights = found["weights"]
    if fitted.any():
        free = np.maximum(weights[fitted], least_weight)
        weights[fitted] = free * max(1.0 - weights[~fitted].sum(), least_weight) / free.sum()
    found["weights"] = np.maximum(weights, least_weight)
    return found
