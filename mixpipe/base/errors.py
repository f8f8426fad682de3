"""Errors that a user can mend: a base class, and a class each for data, settings and output."""

from collections.abc import Iterable

# Longest error message on the terminal and in logs, in characters: names may be of any length.
_LONGEST = 4000


class MixpipeError(Exception):
    """A mistake that the user can mend; the text says what, where and what was expected.

    Parameters
    ----------
    what : str
        What is wrong, in one clause.
    where : str
        The file, catalog, column, row or key where it was found.
    expected : str
        What was expected instead.

    Examples
    --------
    >>> print(MixpipeError("no column 'mas'", "in config/demo/neutron_stars_2018.csv", "one of name, kind, mass"))
    no column 'mas', in config/demo/neutron_stars_2018.csv, expected one of name, kind, mass
    """

    def __init__(self, what: str, where: str, expected: str) -> None:
        super().__init__(what, where, expected)
        self.what, self.where, self.expected = what, where, expected

    def __str__(self) -> str:
        return f"{self.what}, {self.where}, expected {self.expected}"


def merged(problems: Iterable[MixpipeError]) -> list[MixpipeError]:
    """Merge errors that differ only in their place into one, which names the first place and counts the others.

    >>> places = ["in a.csv", "in b.csv", "in c.csv"]
    >>> for problem in merged(MixpipeError("no column 'x'", place, "one of y, z") for place in places):
    ...     print(problem)
    no column 'x', in a.csv and 2 more, expected one of y, z
    """
    first: dict[str, MixpipeError] = {}
    places: dict[str, set[str]] = {}
    for problem in problems:
        first.setdefault(problem.what, problem)
        places.setdefault(problem.what, set()).add(problem.where)
    return [
        type(problem)(what, f"{problem.where} and {len(places[what]) - 1} more", problem.expected)
        if len(places[what]) > 1
        else problem
        for what, problem in first.items()
    ]


def excerpt(text: str, most: int = 60) -> str:
    """The beginning of a long text, for a message.

    >>> excerpt("0123456789", 6)
    '012...'
    """
    return text if len(text) <= most else text[: most - 3] + "..."


class CatalogError(MixpipeError):
    """A catalog that cannot be used as it is."""


class PassingError(CatalogError):
    """An error that may not recur in another attempt, such as files that changed or that cannot be read at present."""


class ConfigError(MixpipeError):
    """A setting, command-line option or `where` expression that cannot be used as it is."""


class OutputError(MixpipeError):
    """A file that cannot be written."""


def is_lasting(error: MixpipeError) -> bool:
    """Whether the same data and settings will always end in this error, whatever the state of the system.

    >>> is_lasting(CatalogError("no row of 3 can be used", "in a.csv", "at least one row"))
    True
    >>> is_lasting(PassingError("a.csv changed", "in release a", "files that stay as they are"))
    False
    """
    causes: list[BaseException] = [error]
    while causes[-1].__cause__ is not None:
        causes.append(causes[-1].__cause__)
    return not any(isinstance(cause, PassingError | OutputError | OSError | MemoryError) for cause in causes)


def on_one_line(error: MixpipeError) -> str:
    r"""The error as a single line, in which no name from a catalog can control the terminal.

    >>> on_one_line(MixpipeError("no column 'a\x1b[2J'", "in a.csv", "one of x, y"))
    "mixpipe: error: no column 'a\\x1b[2J', in a.csv, expected one of x, y"
    """
    text = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in str(error))
    return f"mixpipe: error: {excerpt(text, _LONGEST)}"
