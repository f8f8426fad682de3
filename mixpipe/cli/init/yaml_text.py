"""The configuration that `mixpipe init` found, as YAML for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import yaml

from mixpipe.config.schema import defaults

if TYPE_CHECKING:
    from mixpipe.cli.init.findings import Findings
    from mixpipe.cli.init.suggestions import Suggestion

_STEP = "  "


class _OneLine(yaml.SafeDumper):
    """YAML on one line, whatever a catalog has for names."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = None if text.isprintable() else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_OneLine.add_representer(str, _text)


def one_line(value: Any) -> str:
    """A value as YAML in one line, quoted where it has to be.

    >>> one_line("mass"), one_line(["a, b", "no"]), one_line({"error": "e # x"})
    ('mass', "['a, b', 'no']", "{error: 'e # x'}")
    """
    # Inside a list any text is written so that it may stand anywhere.
    listed = yaml.dump(
        [value], Dumper=_OneLine, default_flow_style=True, width=2**31, sort_keys=False, allow_unicode=True
    )
    return listed.strip()[1:-1]


def config_text(catalogs: Sequence[Findings], results: str) -> str:
    """The whole file.

    Parameters
    ----------
    catalogs : sequence of Findings
        What there is to say about each catalog.
    results : str
        The folder for results.
    """
    lines = [
        "# Written by `mixpipe init`: look it over, see what it would do with `mixpipe check`, and run it with",
        "# `mixpipe run --config` and the name of this file. All keys: config/README.md of mixpipe.",
        "# Numbers in comments are those of the first rows of large files, and of the first file of each release.",
        f"results: {one_line(results)}",
        "catalogs:",
    ]
    for catalog in catalogs:
        lines += (_STEP + line for line in _catalog(catalog))
    settings = defaults("settings")
    lines += [
        "settings:",
        f"{_STEP}max_components: {settings['max_components']} # the largest number of components that is tried",
        f"{_STEP}criterion: {settings['criterion']} # what chooses the number of components: bic, aic or icl",
    ]
    return "\n".join(lines) + "\n"


def _catalog(catalog: Findings) -> Iterator[str]:
    group = catalog.group
    yield f"{one_line(group.name)}:"
    yield f"{_STEP}releases:{remark(group.why)}"
    for release, files in group.releases.items():
        paths = [file.as_posix() for file in files]
        # The name of a release is text, also where it is a number.
        yield f"{_STEP * 2}{one_line(release)}: {one_line(paths[0] if len(paths) == 1 else paths)}"
    for line in catalog.lines:
        yield _STEP + line
    yield f"{_STEP}columns:{remark(catalog.note)}"
    for entry in catalog.fitted:
        yield f"{_STEP * 2}{_entry(entry)}"
    if catalog.left_out:
        yield f"{_STEP * 2}# Left out. Take away the `# ` in front of an entry to fit it, too."
    for reason, entries in catalog.left_out.items():
        yield f"{_STEP * 2}# -- {reason}"
        for entry in entries:
            yield f"{_STEP * 2}# {_entry(entry)}"
    for reason, names in catalog.not_fitted.items():
        yield f"{_STEP * 2}# -- {reason}: {names}"
    yield from _joints(catalog)


def _joints(catalog: Findings) -> Iterator[str]:
    if catalog.correlated:
        yield f"{_STEP}joint: # several columns as one mixture"
        for entry in catalog.correlated:
            yield f"{_STEP * 2}{_entry(entry)}"
        for entry in catalog.customary:
            yield f"{_STEP * 2}# {_entry(entry)}"
    elif catalog.customary:
        yield f"{_STEP}# joint: # take away the `# ` of these lines to fit several columns as one mixture, too"
        for entry in catalog.customary:
            yield f"{_STEP}# {_STEP}{_entry(entry)}"


def _entry(entry: Suggestion) -> str:
    return f"{one_line(entry.name)}: {one_line(entry.keys)}{remark(entry.why)}"


def remark(text: str) -> str:
    r"""A comment behind something, empty without a text; a name from a catalog must not end the line.

    >>> remark("two\nlines"), remark("")
    (' # two\\nlines', '')
    """
    shown = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
    return f" # {shown}" if shown else ""
