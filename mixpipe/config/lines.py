"""YAML files with the line of each key, and errors in plain words."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from mixpipe.base.errors import ConfigError, excerpt
from mixpipe.config.schema import KeyPath

Lines = dict[KeyPath, str]

DEEPEST = 8  # catalogs, its name, columns, its name, error, upper or lower

# A file of this size would take minutes to read; a configuration of ten thousand columns is a tenth as large.
_LARGEST = 10 << 20

_QUOTES = "quotes around all of the text"
# For each message of the parser: its meaning, what was expected, and whether the mistake is where the construct begins.
_MEANINGS: tuple[tuple[str, str, str, bool], ...] = (
    (r"found character '\\t'", "a tab", "blanks to indent with", False),
    (
        "found undefined alias|found character|expected alphabetic|expected a comment or",
        "text that YAML takes for something else",
        _QUOTES,
        False,
    ),
    ("expected <block end>, but found '<(?:scalar|alias|tag)", "text behind the end of quotes", _QUOTES, False),
    (
        "expected <block end>",
        "a line that does not belong to those above",
        "the keys of a section equally far to the right",
        False,
    ),
    (
        "mapping values are not allowed",
        "a second `:`, or a line too far to the right",
        "quotes around text with `: ` in it, and the keys of a section equally far to the right",
        False,
    ),
    ("could not find expected ':'", "a key without `: ` behind it", "`key: value`", True),
    (r"expected ',' or '\]'", "a list that does not end", "`]` behind its last entry", True),
    (r"expected ',' or '\}'", "braces that do not end", "`}` behind the last key", True),
    ("found unexpected end of stream", "quotes that do not end", "a second quote behind the text", True),
    ("but found another document", "a second document", "no line of `---` between keys", False),
)


def read_yaml(path: Path) -> tuple[Any, Lines]:
    """Read a YAML file: its content, and the place of each key, such as ``config.yaml line 3``.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    ConfigError
        For a file that cannot be read, is not valid YAML, or contains a key twice.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise ConfigError(f"more than {_LARGEST >> 20} MB", f"in {path}", "a configuration, not a catalog")
        text = content.decode()
    except OSError as error:
        raise ConfigError(
            f"cannot read {path}", f"{error.strerror}", "a YAML file such as `mixpipe init` writes"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"byte {error.start} is not UTF-8", f"in {path}", "a YAML file in UTF-8") from error
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        lines: Lines = {}
        if node is None:
            return {}, lines
        _collect_lines(loader, node, (), path, lines)
        return loader.construct_document(node), lines
    except yaml.YAMLError as error:
        raise _in_plain_words(error, path, text) from error
    except RecursionError as error:
        what = "lists or sections within each other without end"
        raise ConfigError(what, f"in {path}", f"at most {DEEPEST} levels") from error
    except ValueError as error:  # the 45th of a month
        raise ConfigError(f"a value that cannot be ({error})", f"in {path}", "quotes around text") from error


def _in_plain_words(error: yaml.YAMLError, path: Path, text: str) -> ConfigError:
    problem = str(getattr(error, "problem", None) or error).partition("\n")[0]
    unknown = ("", problem, "YAML (indent with blanks, one `key: value` a line)", False)
    _, what, expected, earlier = next((each for each in _MEANINGS if re.match(each[0], problem)), unknown)
    mark = (earlier and getattr(error, "context_mark", None)) or getattr(error, "problem_mark", None)
    if mark is None:
        return ConfigError(what, f"in {path}", expected)
    line = text.splitlines()[mark.line : mark.line + 1]
    shown = f": {excerpt(line[0].strip())}" if line else ""
    return ConfigError(what, f"in {path} line {mark.line + 1}, column {mark.column + 1}{shown}", expected)


_MERGE = "tag:yaml.org,2002:merge"


def _collect_lines(loader: yaml.SafeLoader, node: yaml.Node, path: KeyPath, file: Path, lines: Lines) -> None:
    if len(path) >= DEEPEST:
        return
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key_node, value_node in node.value:
            is_plain = isinstance(key_node, yaml.ScalarNode) and key_node.tag != _MERGE
            # The keys of a merged mapping have no lines of their own.
            key = loader.construct_object(key_node) if is_plain else key_node.tag
            inner, place = (*path, str(key)), f"{file} line {key_node.start_mark.line + 1}"
            if key in seen:
                section = f" ({'.'.join(map(str, path))})" if path else ""
                raise ConfigError(f"key {key!r} is given twice", f"in {place}{section}", "each key once")
            seen.add(key)
            lines[inner] = place
            _collect_lines(loader, value_node, inner, file, lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, entry in enumerate(node.value):
            lines[(*path, index)] = f"{file} line {entry.start_mark.line + 1}"
            _collect_lines(loader, entry, (*path, index), file, lines)
