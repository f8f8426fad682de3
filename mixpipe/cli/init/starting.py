"""The command `mixpipe init`: a configuration for catalog files, by what their columns are called and hold."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table

from mixpipe.base.errors import CatalogError, ConfigError, excerpt
from mixpipe.base.files import write_file
from mixpipe.catalog.doubts import file_doubts
from mixpipe.catalog.expressions import Expression
from mixpipe.catalog.formats.arrays import is_missing_word, is_number, mask_sentinels
from mixpipe.catalog.limits import split_limits
from mixpipe.catalog.odd_cells import numbers_expected
from mixpipe.catalog.reading import list_columns
from mixpipe.catalog.recognition import Measurement, find_measurements, is_count, is_identifier
from mixpipe.catalog.source import expected_name
from mixpipe.cli.init.findings import Findings
from mixpipe.cli.init.grouping import Group, group_files, safe_name
from mixpipe.cli.init.joints import suggest_joints
from mixpipe.cli.init.samples import (
    FitsTables,
    Numbers,
    as_numbers,
    describe_text,
    find_densities,
    find_tables,
    first_rows,
)
from mixpipe.cli.init.sentinels import common_sentinels, forget_sentinels
from mixpipe.cli.init.suggestions import (
    COORDINATE,
    FEWEST_ROWS,
    FIT,
    IDENTIFIER,
    NO_ERRORS,
    PROBLEM,
    REASONS,
    WHOLE,
    Suggestion,
    Suggestions,
    short_keys,
)
from mixpipe.cli.init.yaml_text import config_text, one_line, remark
from mixpipe.config.schema import reserved_names
from mixpipe.pipeline.plan.run import check_file_name

# Share of rows without a name of their own that may be mistakes.
_ALMOST_NONE = 0.5

# Names in a comment.
_MOST_NAMES = 12


def start_config(
    files: Sequence[str],
    *,
    out: str | None = None,
    force: bool = False,
    results: str = "results",
    column: Sequence[str] = (),
    where: str | None = None,
    **reading: Any,
) -> str | None:
    """A configuration that fits the columns of some files, with comments that say why.

    Parameters
    ----------
    files : sequence of str
        The catalog files.
    out : str, optional
        Where to write it.
    force : bool
        Whether a file that is there may be written over.
    results : str
        The folder for results.
    column : sequence of str
        The columns to fit; by default all that have errors, or all if none has.
    where : str, optional
        Row cut.
    **reading
        How the files are read, under the names of the keys of a catalog: format, hdu, path, delimiter, decimal,
        missing.

    Returns
    -------
    str or None
        The text, None if it was written to a file.

    Raises
    ------
    MixpipeError
        For files that cannot be read or have nothing to fit, and an `out` that exists.
    """
    target = Path(out) if out is not None else None
    if target is not None and target.exists() and not force:
        raise ConfigError(f"{target} exists", "in option --out", "a new name, or --force to write over it")
    paths = [Path(file) for file in files]
    twice = next((path for path in paths if paths.count(path) > 1), None)
    if twice is not None:
        raise ConfigError(f"{twice} is given twice", "on the command line", "each file once")
    given = {name: value for name, value in {**reading, "where": where}.items() if value not in (None, ())}
    options = {"path_in_file" if name == "path" else name: value for name, value in given.items() if name != "where"}
    for path in paths:
        check_file_name(path)
    groups = group_files(paths, lambda path: tuple(list_columns(path, **options)))
    catalogs = [_Catalog(group, column, given, options).findings() for group in groups]
    text = config_text(catalogs, results)
    if target is None:
        return text
    try:
        write_file(target, lambda path: path.write_text(text, encoding="utf-8"))
    except OSError as error:
        what = f"cannot write {target} ({error.strerror or error})"
        raise ConfigError(what, "in option --out", "a place that can be written") from error
    return None


class _Catalog:
    """Looks at the files of one catalog."""

    def __init__(
        self, group: Group, asked: Sequence[str], given: Mapping[str, Any], options: Mapping[str, Any]
    ) -> None:
        self.group, self.asked, self.given = group, asked, given
        self.first = next(iter(group.releases.values()))[0]
        self.hdus = find_tables(self.first) if "hdu" not in given else FitsTables(given["hdu"], (), {})
        reading = {**options, "hdu": self.hdus.hdu}
        headers = [list(list_columns(file, **reading)) for files in group.releases.values() for file in files]
        # Parquet has columns without a name, too.
        every = dict.fromkeys(name for header in headers for name in header if name)
        self.names = [name for name in every if all(name in header for header in headers)]
        self.partial = [name for name in every if name not in self.names]
        self.tables = {
            release: _cut(first_rows(files[0], **reading), given.get("where"))
            for release, files in group.releases.items()
        }
        repeated = {name for table in self.tables.values() for name in _repeated(table)}
        for name in asked:
            if name in repeated:
                raise self._error(f"the header names column {excerpt(name)!r} twice", "each column name once")
            if name not in self.names:
                raise self._error(f"no column {name!r}", expected_name(name, self.names))
        self.taken = reserved_names("catalog", "columns") | reserved_names("catalog", "joint")
        # In HDF5, what is neither numbers nor text, or has other rows, is read only by name, or refused.
        self.other = [name for name in self.names if any(name not in table.colnames for table in self.tables.values())]
        self.names = [name for name in self.names if name not in self.other]
        for name in set(asked).intersection(self.other):
            first_rows(self.first, columns=[*self.names[:1], name], **reading)
            raise self._error(f"column {name!r} is left out in one of the files", expected_name(name, self.names))

    def findings(self) -> Findings:
        """What there is to say.

        Raises
        ------
        CatalogError
            If nothing can be fitted, or not what was asked for.
        """
        spoilt = self._spoilt()
        numbers = {name: self._numbers(name, with_text=name in spoilt) for name in self.names}
        sentinels = forget_sentinels(numbers)
        # What is about columns that are left out is no value.
        left_out = dict.fromkeys(name for table in self.tables.values() for name in _repeated(table))
        found, others = find_measurements(numbers | left_out)
        used = [name for entry in found if not is_identifier(entry.value) for name in _columns_of(entry)]
        missing = common_sentinels(sentinels, {name: numbers[name] for name in used})
        for table in self.tables.values():
            for column in table.itercols():
                mask_sentinels(column, list(missing))

        entries: dict[str, list[Suggestion]] = {reason: [] for reason in REASONS}
        densities = dict(self._densities())
        if any(suggestion.keys.get("grid") in self.names for suggestion in densities.values()):
            # The rows are bins, and no column is a sample.
            found = []
        entries[FIT] += densities.values()
        suggestions = Suggestions(self.first, self.tables, self.taken)
        for entry in self._wanted(found, densities):
            suggestion, reason = suggestions.suggest(entry)
            if self.asked and reason == PROBLEM:
                raise self._error(f"column {entry.value!r} cannot be fitted: {suggestion.why}", "a column with values")
            entries[FIT if self.asked else reason].append(suggestion)
        fitted = entries.pop(FIT)
        note = "" if fitted else NO_ERRORS
        fitted = fitted or entries.pop(NO_ERRORS) or entries.pop(WHOLE)
        if not fitted:
            texts = _first([f"{name} has {what}" for name, what in spoilt.items()])
            problems = "" if texts else _first([f"{entry.name}: {entry.why}" for entry in entries[PROBLEM]])
            texts = texts or problems or _first(list(self._texts()))
            has_text = bool(texts) and not problems and " holds " not in texts
            named = [f"{entry.name}: {reason}" for reason in (COORDINATE, IDENTIFIER) for entry in entries[reason]]
            texts = ", ".join(filter(None, (texts, _first(named))))
            what = f"no column that can be fitted{': ' if texts else ''}{texts}"
            expected = dict.fromkeys(map(numbers_expected, self._odd_cells())) if has_text else ()
            way_out = "".join(f"; {text}" for text in expected)
            raise self._error(what, f"a column with {FEWEST_ROWS} different numbers or more{way_out}")
        correlated, customary = suggest_joints(fitted, self.names, self.taken)
        return Findings(
            group=self.group,
            lines=[
                *self._doubts(),
                *self._counts(fitted, numbers),
                *self._reading(),
                *self._key(),
                *self._missing(missing),
            ],
            note=note,
            fitted=fitted,
            correlated=correlated,
            customary=customary,
            left_out={reason: listed for reason, listed in entries.items() if listed},
            not_fitted={} if self.asked else self._rest(found, [*others.items()], numbers, densities, spoilt),
        )

    def _error(self, what: str, expected: str) -> CatalogError:
        return CatalogError(what, f"in {self.first}", expected)

    def _wanted(self, found: Sequence[Measurement], densities: Collection[str]) -> list[Measurement]:
        """What was found, or what was asked for, be it the error of something."""
        if not self.asked:
            return list(found)
        known = {entry.value: entry for entry in found}
        return [known.get(name, Measurement(name)) for name in dict.fromkeys(self.asked) if name not in densities]

    def _densities(self) -> Iterator[tuple[str, Suggestion]]:
        """Columns with a tabulated density a row."""
        for name, grid, file in find_densities(self.first, next(iter(self.tables.values())), self.hdus):
            if name in self.names and (not self.asked or name in self.asked):
                entry = safe_name(name, self.taken)
                keys = {"kind": "densities", "value": name, "grid": grid}
                rows = "one density" if file.is_one else "a density a row"
                places = "points" if file.edges is None else "bins"
                why = f"{rows} in {file.grid.size} {places} from {file.grid[0]:.3g} to {file.grid[-1]:.3g}"
                yield name, Suggestion(entry, short_keys(entry, keys), why)

    def _doubts(self) -> Iterator[str]:
        for table in self.tables.values():
            for text in file_doubts(table.meta.get("files", ())):
                yield f"# {excerpt(text, 200)}"

    def _reading(self) -> Iterator[str]:
        for name, value in self.given.items():
            if name != "missing":
                yield f"{name}: {one_line(value)}"
        if self.hdus.hdu is not None and "hdu" not in self.given:
            others = ", ".join(map(str, self.hdus.others))
            yield f"hdu: {one_line(self.hdus.hdu)}{remark(f'the table with the most columns; others: {others}')}"

    def _numbers(self, name: str, with_text: bool) -> Numbers | None:
        """The sampled numbers of all releases, NaN where one is missing; None for a column of anything else."""
        parts = [as_numbers(table[name], with_text=with_text) for table in self.tables.values()]
        known = [part for part in parts if part is not None]
        return np.concatenate(known) if len(known) == len(parts) else None

    def _key(self) -> Iterator[str]:
        """The first column with a name for each row, and those in front of it that have one twice."""
        for name in filter(is_identifier, self.names):
            columns = [table[name] for table in self.tables.values()]
            if any(column.ndim > 1 or column.dtype.kind not in "iuU" for column in columns):
                continue
            spare = sum(len(column) - len(np.unique(column.compressed())) for column in columns)
            if not spare:
                yield f"key: {one_line(name)} # no two rows have the same"
                return
            if spare <= _ALMOST_NONE * sum(map(len, columns)):
                yield f"# key: {one_line(name)} # missing or repeated in {spare:,} row{'s' if spare > 1 else ''}"

    def _counts(self, fitted: Sequence[Suggestion], numbers: Mapping[str, Numbers | None]) -> Iterator[str]:
        """Say which column may be the number of times that each value of another one occurs."""
        shown = [entry.keys.get("value", entry.name) for entry in fitted if "error" not in entry.keys]
        for name in filter(is_count, self.names):
            counts = numbers[name]
            if counts is None or not np.all((counts >= 0.0) & (counts % 1.0 == 0.0)):
                continue
            for value in shown:
                values = numbers.get(value)
                if value != name and values is not None and np.all(np.diff(values) > 0.0):
                    what = f"{name} may be the number of times that each {value} occurs: then it is its `weight`"
                    yield remark(what).lstrip()

    def _missing(self, missing: Mapping[float, Sequence[str]]) -> Iterator[str]:
        given = list(self.given.get("missing", ()))
        values = [int(value) if value.is_integer() and abs(value) < 1e9 else value for value in missing]
        columns = list(dict.fromkeys(name for names in missing.values() for name in names))
        if given or values:
            said = remark(f"far from all other values of {_first(columns)}") if columns else ""
            yield f"missing: {one_line([*given, *values])}{said}"

    def _texts(self) -> Iterator[str]:
        """What else may be why no column can be fitted: doubts about the file, or columns of text."""
        yield from (text.removeprefix("# ") for text in self._doubts())
        for name in self.names:
            cells = np.ma.asarray(next(iter(self.tables.values()))[name])
            if cells.dtype.kind == "U" and cells.ndim == 1 and cells.count() and not is_identifier(name):
                yield f"{name} is text, such as {excerpt(str(cells.compressed()[0]))!r}"
            elif cells.ndim > 1 or cells.dtype.kind not in "Uiuf":
                yield f"{name} holds {_held(cells)}"

    def _odd_cells(self) -> Iterator[list[str]]:
        """The cells that are no numbers, of each column of text."""
        for name in self.names:
            cells = np.ma.asarray(next(iter(self.tables.values()))[name])
            if cells.dtype.kind == "U" and cells.ndim == 1 and not is_identifier(name):
                texts = cells.compressed()
                odd = [text.strip() for text in split_limits(texts[~is_missing_word(texts)])[0].tolist()]
                yield from filter(None, [[text for text in odd if not is_number(text)]])

    def _spoilt(self) -> dict[str, str]:
        """Columns of numbers with text among them, and what it is."""
        found = {}
        for name in self.names:
            texts = (describe_text(table[name]) for table in self.tables.values())
            text = None if is_identifier(name) else next((text for text in texts if text is not None), None)
            if text is not None:
                found[name] = text
        return found

    def _rest(
        self,
        found: Sequence[Measurement],
        others: Sequence[tuple[str, str]],
        numbers: Mapping[str, Numbers | None],
        densities: Collection[str],
        spoilt: Mapping[str, str],
    ) -> dict[str, str]:
        """Columns that no entry mentions, by the reason."""
        used = {name for entry in found for name in _columns_of(entry)} | set(densities)
        about = {name: what for name, what in others if name not in used}
        text = [name for name in self.names if numbers[name] is None and name not in {*used, *about, *spoilt}]
        rest = {
            "text among numbers": [f"{one_line(name)} ({what})" for name, what in spoilt.items() if name not in used],
            "about other columns": [f"{one_line(name)} ({what})" for name, what in about.items()],
            "text, or more than one number a row": [one_line(name) for name in text],
            "not in each of the files": [one_line(name) for name in self.partial],
            "no numbers or text, or with other rows": [one_line(name) for name in self.other],
        }
        return {reason: _first(names) for reason, names in rest.items() if names}


def _cut(table: Table, where: str | None) -> Table:
    """The rows that a cut keeps."""
    return table if where is None else table[Expression.parse(where).evaluate(table)]


def _repeated(table: Table) -> list[str]:
    """The names of several columns of a file, which are left out."""
    return [name for file in table.meta.get("files", ()) for name in file.get("repeated", ())]


def _held(cells: np.ma.MaskedArray) -> str:
    """What a column holds that is neither numbers nor text."""
    if cells.ndim > 1 or cells.dtype.kind == "O":
        return "several values a row"
    return "truth values" if cells.dtype.kind == "b" else str(cells.dtype)


def _first(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more


def _columns_of(entry: Measurement) -> list[str]:
    errors = [entry.error] if isinstance(entry.error, str) else list(entry.error or ())
    return [entry.value, *errors, *filter(None, (entry.flag, entry.upper_limit, entry.lower_limit))]
