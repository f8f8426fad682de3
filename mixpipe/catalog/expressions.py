"""The language of row cuts (`where`): comparisons and arithmetic on columns, and nothing that can run code."""

from __future__ import annotations

import ast
import keyword
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mixpipe.base.errors import ConfigError
from mixpipe.catalog.source import expected_name

if TYPE_CHECKING:
    from astropy.table import Table

MAX_LENGTH = 4000
# Expressions written by hand are nested less than ten deep; this bound keeps the recursion far below Python's limit.
MAX_DEPTH = 60

_COMPARISONS: dict[type[ast.cmpop], Callable] = {
    ast.Eq: np.equal,
    ast.NotEq: np.not_equal,
    ast.Lt: np.less,
    ast.LtE: np.less_equal,
    ast.Gt: np.greater,
    ast.GtE: np.greater_equal,
}
_ARITHMETIC: dict[type[ast.operator], Callable] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.Mod: np.mod,
    ast.Pow: np.power,
}
_FUNCTIONS: dict[str, Callable] = {"abs": np.abs, "sqrt": np.sqrt, "log10": np.log10, "ln": np.log, "exp": np.exp}
_KNOWN_FUNCTIONS = (*_FUNCTIONS, "isfinite")
_GRAMMAR = "a condition such as \"mass > 1.4 and kind == 'DNS'\", with column names that are no words in backquotes"

# Operators of other languages, and what to write instead.
_FOREIGN = {
    "&": "and", "&&": "and", "AND": "and", "|": "or", "||": "or", "OR": "or", "!": "not", "NOT": "not", "IN": "in",
    "=": "==", "<>": "!=", "=<": "<=", "=>": ">=", "^": "**", "´": "'", "‘": "'", "’": "'", "“": "'", "”": "'",
}  # fmt: skip
# Python keywords that are not part of the language, but may be names of columns.
_WORDS = frozenset(keyword.kwlist) - {"and", "or", "not", "in", "is", "None", "True", "False"}
_MARK = re.compile(r"[<>=!]{1,2}|&&?|\|\|?|[\^´‘’“”]|\w+")

# Quoted text is matched first, so that only backquotes and marks outside of it count.
_QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|`([^`]+)`|#")


@dataclass(frozen=True)
class _Number:
    """Numbers, one per row or one for all, and flags of missing ones."""

    values: NDArray | float | int
    missing: NDArray[np.bool_] | bool = False


@dataclass(frozen=True)
class _Text:
    """Texts, one per row or one for all, and flags of missing ones."""

    values: NDArray | str
    missing: NDArray[np.bool_] | bool = False


@dataclass(frozen=True)
class _Truth:
    """Three-valued truth: rows for which a condition holds, and rows for which it does not; other rows are unknown."""

    true: NDArray[np.bool_] | bool
    false: NDArray[np.bool_] | bool


_Value = _Number | _Text | _Truth
_Step = Callable[["Table"], _Value]


@dataclass(frozen=True)
class Expression:
    """A row cut; make one with `Expression.parse`.

    Parameters
    ----------
    text : str
        The condition as written.
    names : tuple of str
        Columns that it uses, in order of appearance.
    unquoted : mapping of str to str
        Names that may be text without quotes, each with the comparison as it would be with quotes.
    """

    text: str
    names: tuple[str, ...]
    unquoted: Mapping[str, str] = field(compare=False)
    _step: Callable[[Table], _Truth] = field(repr=False, compare=False)

    @classmethod
    def parse(cls, text: str) -> Expression:
        """Check the text of a condition and compile it.

        Comparisons (also chained, also of text), ``and``, ``or``, ``not``, ``in`` a literal list, ``+ - * / % **``,
        parentheses, numbers, text in quotes, True and False, column names (in backquotes if they are not identifiers:
        ```[Fe/H]` > -1``), and the functions abs, sqrt, log10, ln, exp, isfinite.

        Parameters
        ----------
        text : str
            The condition.

        Raises
        ------
        ConfigError
            For anything else; the message contains what was found, at which position, and what was expected.

        Examples
        --------
        >>> Expression.parse("mass > 1.4 and `[Fe/H]` < 0").names
        ('mass', '[Fe/H]')
        """
        return _Parser(text).parse()

    def evaluate(self, table: Table) -> NDArray[np.bool_]:
        """Rows for which the condition is true.

        A comparison with a missing value (masked, NaN or blank) is unknown, and so is its ``not``, as in SQL; rows
        for which the condition is unknown are not selected. ``isfinite`` alone is false for a missing value.

        Parameters
        ----------
        table : astropy.table.Table
            Table with all columns in `names`.

        Returns
        -------
        ndarray of bool, shape (len(table),)

        Raises
        ------
        ConfigError
            For a column that does not exist, numbers where text is expected, or text where numbers are expected.

        Examples
        --------
        >>> from astropy.table import Table
        >>> Expression.parse("not x > 1").evaluate(Table({"x": [0.0, 2.0, float("nan")]})).tolist()
        [True, False, False]
        """
        with np.errstate(all="ignore"):
            truth = self._step(table)
        return np.array(np.broadcast_to(truth.true, len(table)))


class _Parser:
    """A compiler from the syntax tree, of which only known nodes are accepted, to steps that operate on a table."""

    def __init__(self, text: str) -> None:
        self.text = text.strip()
        # A placeholder of the same length preserves all positions; the name is looked up by position.
        self.backquoted: dict[int, str] = {}
        self.names: dict[str, None] = {}
        self.unquoted: dict[str, str] = {}

    def parse(self) -> Expression:
        if not self.text or len(self.text) > MAX_LENGTH:
            found = f"of {len(self.text)} characters" if self.text else "is empty"
            raise ConfigError(f"the condition {found}", "in where", f"1 to {MAX_LENGTH} characters: {_GRAMMAR}")
        # Conditions may extend over several lines.
        self.source = re.sub(r"[\r\n\t\f\v]", " ", _QUOTED.sub(self._hide, self.text))
        try:
            with warnings.catch_warnings(action="ignore"):  # on escapes in text that Python does not know
                tree = ast.parse(self.source, mode="eval")
        except SyntaxError as error:
            # Python gives no position for an unexpected end.
            position = error.offset - 1 if error.offset else len(self.text)
            why = "" if str(error.msg).startswith("invalid syntax") else f" ({error.msg})"
            word = re.match(r"\w+", self.source[position:])
            if word and word[0] in _WORDS:
                why = f" ({word[0]} is a word of the language; the column is `{word[0]}`, in backquotes)"
            raise self._error_at(position, f"not understood{why}", self._expected()) from None
        # Python's parser raises these for nesting beyond its limits, and for NUL bytes.
        except (ValueError, MemoryError, RecursionError):
            raise self._error_at(0, "not understood", _GRAMMAR) from None
        step = self._condition(tree.body, 0)
        return Expression(self.text, tuple(self.names), self.unquoted, step)

    def _hide(self, match: re.Match[str]) -> str:
        # Python would take the rest as a comment, so that part of the cut would be lost silently.
        if match.group() == "#":
            raise self._error_at(match.start(), "found #", _GRAMMAR)
        if match.group(1) is None:
            return match.group()
        self.backquoted[match.start()] = match.group(1)
        return "_" * len(match.group())

    def _position(self, offset: int) -> int:
        """Position of a character in the text, since Python counts in bytes."""
        return len(self.source.encode()[:offset].decode(errors="replace"))

    def _error_at(self, position: int, what: str, expected: str) -> ConfigError:
        return ConfigError(what, f"at character {position + 1} of where: {_excerpt(self.text)}", expected)

    def _error(self, node: ast.expr, what: str, expected: str) -> ConfigError:
        return self._error_at(self._position(node.col_offset), what, expected)

    def _condition(self, node: ast.expr, depth: int) -> Callable[[Table], _Truth]:
        """A step whose result is a truth, not a number or text."""
        step = self._step(node, depth)

        def run(table: Table) -> _Truth:
            truth = _as_truth(step(table))
            if truth is None:
                raise self._error(node, "a value stands alone", "a comparison, such as `x > 0`")
            return truth

        return run

    def _operand(self, node: ast.expr, depth: int) -> Callable[[Table], _Number]:
        """A step whose result is a number."""
        step = self._step(node, depth)

        def run(table: Table) -> _Number:
            value = step(table)
            if not isinstance(value, _Number):
                raise self._error(node, f"found {_kind(value)}", "a number or a column of numbers")
            return value

        return run

    def _step(self, node: ast.expr, depth: int) -> _Step:
        if depth > MAX_DEPTH:
            raise self._error(node, "nested too deeply", f"at most {MAX_DEPTH} levels")
        match node:
            case ast.BoolOp():
                return self._logic(node, depth)
            case ast.UnaryOp(op=ast.Not()):
                condition = self._condition(node.operand, depth + 1)
                return lambda table: _negated(condition(table))
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int(value))) if not isinstance(value, bool):
                # The sign and a long integer are combined into one number, which stays exact.
                constant = self._constant(ast.copy_location(ast.Constant(-value), node))
                return lambda table: constant
            case ast.UnaryOp(op=ast.USub() | ast.UAdd()):
                sign = -1 if isinstance(node.op, ast.USub) else 1
                operand = self._operand(node.operand, depth + 1)
                return lambda table: _calculated(np.multiply, operand(table), _Number(sign))
            case ast.BinOp() if type(node.op) in _ARITHMETIC:
                left, right = self._operand(node.left, depth + 1), self._operand(node.right, depth + 1)
                operator = _ARITHMETIC[type(node.op)]
                return lambda table: _calculated(operator, left(table), right(table))
            case ast.Compare(ops=[ast.In() | ast.NotIn()]):
                return self._membership(node, depth)
            case ast.Compare():
                return self._comparison(node, depth)
            case ast.Call():
                return self._call(node, depth)
            case ast.Name():
                return self._column(node)
            case ast.Constant():
                constant = self._constant(node)
                return lambda table: constant
        raise self._error(node, f"{_described(node)} is not part of the language", self._expected())

    def _expected(self) -> str:
        """What to write instead of an operator of another language, if there is one outside of quotes."""
        marks = _MARK.findall(_QUOTED.sub("_", self.source))
        foreign = next((mark for mark in marks if mark in _FOREIGN), None)
        return f"`{_FOREIGN[foreign]}` in place of `{foreign}`" if foreign else _GRAMMAR

    def _logic(self, node: ast.BoolOp, depth: int) -> _Step:
        conditions = [self._condition(value, depth + 1) for value in node.values]
        is_and = isinstance(node.op, ast.And)

        def run(table: Table) -> _Truth:
            result = conditions[0](table)
            for condition in conditions[1:]:
                other = condition(table)
                result = _both(result, other) if is_and else _negated(_both(_negated(result), _negated(other)))
            return result

        return run

    def _comparison(self, node: ast.Compare, depth: int) -> _Step:
        """A chain such as ``0 < x <= 1`` is the ``and`` of its parts."""
        for operator, right in zip(node.ops, node.comparators, strict=True):
            if type(operator) not in _COMPARISONS:
                raise self._error(right, "no comparison in front of this", "one of == != < <= > >= or a single in")
        operators = [_COMPARISONS[type(operator)] for operator in node.ops]
        operands = [node.left, *node.comparators]
        if len(operands) == 2:
            self._note_unquoted(node)
        steps = [self._step(operand, depth + 1) for operand in operands]

        def run(table: Table) -> _Truth:
            values = [step(table) for step in steps]
            result = _Truth(True, False)
            for k, operator in enumerate(operators):
                part = self._compared(operator, values[k], values[k + 1], operands[k], operands[k + 1])
                result = _both(result, part)
            return result

        return run

    def _note_unquoted(self, node: ast.Compare) -> None:
        """Note names that may be unquoted text: in ``kind == NS-WD`` there may be no columns NS and WD."""
        names = [part for part in ast.walk(node.comparators[0]) if isinstance(part, ast.Name)]
        if isinstance(node.left, ast.Name) and isinstance(node.ops[0], ast.Eq | ast.NotEq) and names:
            right = node.comparators[0]
            first, start, stop = map(self._position, (node.col_offset, right.col_offset, right.end_col_offset or 0))
            quoted = f"{self.text[first:start]}{self.text[start:stop]!r}"
            self.unquoted |= {self._name(part): quoted for part in names}

    def _membership(self, node: ast.Compare, depth: int) -> _Step:
        """``x in [a, b]`` is the ``or`` of ``x == a`` and ``x == b``."""
        choices = node.comparators[0]
        if not isinstance(choices, ast.List | ast.Tuple) or not choices.elts:
            raise self._error(choices, "no list after `in`", "a list of numbers or texts, such as ['DNS', 'NS-WD']")
        for choice in choices.elts:
            literal = choice.operand if isinstance(choice, ast.UnaryOp) else choice
            if not isinstance(literal, ast.Constant):
                raise self._error(choice, f"{_described(literal)} in a list", "numbers or texts only")
        step = self._step(node.left, depth + 1)
        choice_steps = [self._step(choice, depth + 1) for choice in choices.elts]

        def run(table: Table) -> _Truth:
            value = step(table)
            outside = _Truth(True, False)
            for choice, node_of_choice in zip(choice_steps, choices.elts, strict=True):
                equal = self._compared(np.equal, value, choice(table), node.left, node_of_choice)
                outside = _both(outside, _negated(equal))
            return outside if isinstance(node.ops[0], ast.NotIn) else _negated(outside)

        return run

    def _compared(self, operator: Callable, a: _Value, b: _Value, left: ast.expr, right: ast.expr) -> _Truth:
        if isinstance(a, _Truth) or isinstance(b, _Truth):
            raise self._error(left if isinstance(a, _Truth) else right, "a comparison is compared", "numbers or text")
        unknown = np.logical_or(a.missing, b.missing)
        if type(a) is not type(b):
            # A column without any values may be of any kind.
            if np.all(unknown):
                return _Truth(False, False)
            raise self._error(left, f"{_kind(a)} is compared with {_kind(b)}", "numbers on both sides, or text")
        return _truth(operator(a.values, b.values), unknown)

    def _call(self, node: ast.Call, depth: int) -> _Step:
        name = node.func.id if isinstance(node.func, ast.Name) else None
        if name not in _KNOWN_FUNCTIONS:
            what = f"unknown function {name!r}" if name else "a call of something that is no function"
            raise self._error(node, what, f"one of {', '.join(_KNOWN_FUNCTIONS)}")
        if len(node.args) != 1 or node.keywords:
            raise self._error(node, f"{name} with {len(node.args) + len(node.keywords)} arguments", "one argument")
        operand = self._operand(node.args[0], depth + 1)
        if name == "isfinite":
            return lambda table: _finite(operand(table))
        function = _FUNCTIONS[name]
        return lambda table: _calculated(function, operand(table))

    def _name(self, node: ast.Name) -> str:
        """The name as written in the text, since Python normalises some letters of identifiers."""
        start = self._position(node.col_offset)
        return self.backquoted.get(start, self.text[start : start + len(node.id)])

    def _column(self, node: ast.Name) -> _Step:
        name = self._name(node)
        self.names[name] = None

        def run(table: Table) -> _Value:
            if name not in table.colnames:
                hint = f"; text needs quotes, {self.unquoted[name]}" if name in self.unquoted else ""
                raise self._error(node, f"no column {name!r}", expected_name(name, table.colnames) + hint)
            column = table[name]
            values, missing = np.asarray(np.ma.getdata(column)), np.ma.getmaskarray(column)
            if values.ndim == 1 and values.dtype.kind in "biuf":
                return _Number(values, missing | np.isnan(values))
            if values.ndim == 1 and values.dtype.kind in "US":
                texts = np.strings.rstrip(values.astype(np.str_))
                return _Text(texts, missing | (np.strings.strip(texts) == ""))
            held = "several values a row" if values.ndim > 1 else str(values.dtype)
            raise self._error(node, f"column {name!r} holds {held}", "one number or text a row")

        return run

    def _constant(self, node: ast.Constant) -> _Number | _Text:
        if isinstance(node.value, str):
            return _Text(node.value.rstrip())
        if isinstance(node.value, bool | float):
            return _Number(node.value)
        if isinstance(node.value, int):
            # Long integers stay exact as far as columns can represent them.
            try:
                return _Number(node.value if -(2**63) <= node.value < 2**64 else float(node.value))
            except OverflowError:
                raise self._error(node, "a number too large", "at most 1.8e308") from None
        raise self._error(node, f"{node.value!r} is not part of the language", "a number or text in quotes")


def _as_truth(value: _Value) -> _Truth | None:
    """The truth value of a comparison or of a column of truth values; None for anything else."""
    if isinstance(value, _Truth):
        return value
    if isinstance(value, _Number) and np.asarray(value.values).dtype == bool:
        return _truth(value.values, value.missing)
    return None


def _truth(holds: NDArray | float | bool, unknown: NDArray[np.bool_] | bool) -> _Truth:
    return _Truth(np.logical_and(holds, np.logical_not(unknown)), np.logical_not(np.logical_or(holds, unknown)))


def _negated(truth: _Truth) -> _Truth:
    return _Truth(truth.false, truth.true)


def _both(a: _Truth, b: _Truth) -> _Truth:
    return _Truth(np.logical_and(a.true, b.true), np.logical_or(a.false, b.false))


def _calculated(function: Callable, *operands: _Number) -> _Number:
    """Apply a function in double precision; undefined results, such as sqrt(-1), are missing."""
    values = function(*(np.asarray(operand.values, dtype=np.float64) for operand in operands))
    missing = np.logical_or.reduce([np.broadcast_to(operand.missing, values.shape) for operand in operands])
    # A plain number is compared in the precision of the column, whereas an array with one number is not.
    return _Number(values if values.ndim else float(values), missing | np.isnan(values))


def _finite(number: _Number) -> _Truth:
    """Whether numbers are finite, the only question about a missing value that has an answer."""
    holds = np.logical_and(np.isfinite(number.values), np.logical_not(number.missing))
    return _Truth(holds, np.logical_not(holds))


def _kind(value: _Value) -> str:
    return {_Number: "a number", _Text: "text", _Truth: "a comparison"}[type(value)]


def _excerpt(text: str, most: int = 300) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."


def _described(node: ast.expr) -> str:
    names: Mapping[type[ast.expr], str] = {
        ast.Attribute: "an attribute (a dot in a name)",
        ast.Subscript: "an index",
        ast.Lambda: "lambda",
        ast.IfExp: "if-else",
        ast.JoinedStr: "an f-string",
        ast.List: "a list",
        ast.Tuple: "a tuple",
        ast.BinOp: "an operator",
        ast.UnaryOp: "an operator",
        ast.Name: "a name",
    }
    return names.get(type(node), type(node).__name__)
