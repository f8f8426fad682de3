"""Uses of the schema of the configuration: defaults, checks, and the tables of config/README.md.

The meaning, default and range of every key are defined only in ``config.schema.yaml``, next to this module.
"""

from __future__ import annotations

import difflib
import math
import re
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Protocol, cast

import yaml
from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend

from mixpipe.base.errors import ConfigError, excerpt
from mixpipe.base.words import keyword

SCHEMA = Path(__file__).with_name("config.schema.yaml")
SECTIONS = ("run", "settings", "catalog", "column", "joint")

KeyPath = tuple[str | int, ...]


class Where(Protocol):
    """A function that describes in words the place of a section, or of one of its keys, in the configuration."""

    def __call__(self, path: KeyPath, key: str | None = None) -> str: ...  # noqa: D102


_TYPE_WORDS = {
    "boolean": "true or false",
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "array": "a list",
    "object": "a mapping of keys",
    "null": "nothing",
}


def defaults(section: str) -> dict[str, Any]:
    """The defaults of the keys of a section.

    Parameters
    ----------
    section : str
        One of `SECTIONS`.

    Examples
    --------
    >>> defaults("settings")["criterion"]
    'bic'
    """
    keys = _schema()["$defs"][section]["properties"]
    return {key: schema["default"] for key, schema in keys.items() if "default" in schema}


def reserved_names(section: str, key: str) -> set[str]:
    """The names that no entry of a mapping may have, since the folders of results have them for something else.

    Parameters
    ----------
    section : str
        One of `SECTIONS`.
    key : str
        A key of it whose value is a mapping by names.

    Examples
    --------
    >>> sorted(reserved_names("catalog", "columns"))
    ['ingest', 'starts']
    """
    names = _schema()["$defs"][section]["properties"][key]["propertyNames"]
    return {name for part in names["allOf"] for name in part.get("not", {}).get("enum", ())}


def check(mapping: object, where: Where) -> None:
    """Check a configuration against the schema.

    Parameters
    ----------
    mapping : object
        The configuration as loaded.
    where : callable
        Describes in words the place of a section, or of one of its keys, in the configuration.

    Raises
    ------
    ConfigError
        For the first mistake.
    """
    error = next(_validator().iter_errors(mapping), None)
    if error is not None:
        raise _config_error(error, where)


def with_keywords(mapping: Any) -> Any:
    """A configuration in which words from fixed lists are in small letters, as the schema has them.

    >>> with_keywords({"settings": {"criterion": "BIC"}, "results": "Out"})
    {'settings': {'criterion': 'bic'}, 'results': 'Out'}
    """
    return _with_keywords(mapping, _schema())


def _with_keywords(value: Any, given: Mapping[str, Any]) -> Any:
    schema = {**_resolve(given), **given}
    if isinstance(value, str):
        small = keyword(value)
        return small if small in _words(schema) else value
    if isinstance(value, Mapping):
        known, others = schema.get("properties", {}), schema.get("additionalProperties")
        others = others if isinstance(others, Mapping) else {}
        return {key: _with_keywords(entry, known.get(key, others)) for key, entry in value.items()}
    if isinstance(value, list):
        return [_with_keywords(entry, schema.get("items", {})) for entry in value]
    return value


def _words(schema: Mapping[str, Any]) -> set[object]:
    """The words that a key accepts beside other things."""
    words = {*schema.get("enum", ()), schema.get("const")}
    if re.fullmatch(r"\^[a-z]+\$", schema.get("pattern", "")):
        words.add(schema["pattern"][1:-1])
    return words.union(*map(_words, schema.get("anyOf", ())))


def accepted(schema: Mapping[str, Any]) -> str:
    """Describe in words the values that a key accepts.

    Examples
    --------
    >>> accepted({"type": ["integer", "null"], "minimum": 1})
    'a whole number >= 1, or nothing'
    """
    if "title" in schema:
        return str(schema["title"])
    if "enum" in schema:
        return " or ".join(", ".join(map(str, schema["enum"])).rsplit(", ", 1))
    types = schema.get("type", [])
    words = [_TYPE_WORDS[name] for name in ([types] if isinstance(types, str) else types)]
    bounds = {"minimum": ">=", "exclusiveMinimum": ">"}
    limits = [f"{sign} {schema[name]}" for name, sign in bounds.items() if name in schema]
    words = [" ".join([word, *limits]) if word.endswith("number") else word for word in words]
    return ", or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def key_table(section: str) -> str:
    """The keys of a section as a Markdown table.

    Parameters
    ----------
    section : str
        One of `SECTIONS`.
    """
    part = _schema()["$defs"][section]
    lines = ["| key | accepts | default | meaning |", "|---|---|---|---|"]
    for key, given in part["properties"].items():
        schema = {**_resolve(given), **given}
        default = f"`{_as_yaml(schema['default'])}`" if "default" in schema else "(required)"
        lines.append(f"| `{key}` | {accepted(schema)} | {default} | {schema['description'].strip()} |")
    return "\n".join(lines)


def with_key_tables(text: str) -> str:
    """A Markdown text with the tables between ``<!-- keys: SECTION -->`` and ``<!-- end -->`` updated."""

    def table(match: re.Match[str]) -> str:
        return f"{match[1]}\n\n{key_table(match[2])}\n\n{match[3]}"

    return re.sub(r"(<!-- keys: (\w+) -->).*?(<!-- end -->)", table, text, flags=re.DOTALL)


@cache
def _schema() -> dict[str, Any]:
    # The fast C loader is not part of every PyYAML; the other one takes as long as everything else in this module.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return loader(SCHEMA.read_text(encoding="utf-8")).get_single_data()


@cache
def _validator() -> Draft202012Validator:
    # Unlike JSON, YAML has NaN and infinity.
    standard = Draft202012Validator.TYPE_CHECKER
    finite = standard.redefine(
        "number", lambda checker, value: standard.is_type(value, "number") and math.isfinite(value)
    )
    return extend(Draft202012Validator, type_checker=finite)(_schema())


def _resolve(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema to which a ``$ref`` points."""
    return _schema()["$defs"][schema["$ref"].rsplit("/", 1)[-1]] if "$ref" in schema else schema


def _config_error(error: ValidationError, where: Where) -> ConfigError:
    path: KeyPath = tuple(error.absolute_path)
    schema, found = cast(dict[str, Any], error.schema), cast(Any, error.instance)
    if error.validator == "additionalProperties":
        known = list(schema["properties"])
        key = next(key for key in found if key not in known)
        near = difflib.get_close_matches(key, known, n=1)
        homes = {
            "settings": "`settings`",
            "catalog": "a catalog",
            "column": "an entry of `columns`",
            "joint": "an entry of `joint`",
        }
        home = next((words for section, words in homes.items() if key in _schema()["$defs"][section]["properties"]), "")
        hint = f" ({key!r} is a key of {home})" if home else f" (did you mean {near[0]!r}?)" if near else ""
        return ConfigError(f"unknown key {key!r}", where(path, key), f"one of {', '.join(known)}{hint}")
    if error.validator == "required":
        key = next(key for key in schema["required"] if key not in found)
        meaning = schema["properties"][key]["description"]
        return ConfigError(f"no key {key!r}", where(path), f"{key}: {meaning}")
    if "propertyNames" in error.absolute_schema_path:
        return ConfigError(f"{found!r} cannot be the name of a folder", where(path, found), accepted(schema))
    return ConfigError(f"found {excerpt(_as_yaml(found))}", where(path), accepted(schema))


def _as_yaml(value: object) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=math.inf, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")


if __name__ == "__main__":
    readme = Path(sys.argv[1])
    readme.write_text(with_key_tables(readme.read_text(encoding="utf-8")), encoding="utf-8")
