"""The command `mixpipe fit --joint`: several columns of one file, as one mixture."""

from __future__ import annotations

import shlex
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mixpipe
from mixpipe.base.errors import ConfigError
from mixpipe.base.files import json_text
from mixpipe.base.presentation import plural
from mixpipe.catalog.files import unchanged
from mixpipe.catalog.joint import JointAccount
from mixpipe.catalog.reading import read_blocks
from mixpipe.catalog.required import required_columns
from mixpipe.cli.init.grouping import safe_name
from mixpipe.cli.options import CATALOG_KEYS, check_idle, given_options, naming_options, option_named, run_settings
from mixpipe.cli.progress import fit_progress
from mixpipe.config.schema import KeyPath, check, with_keywords
from mixpipe.config.settings import CatalogSettings, JointSettings, Settings, parse_config
from mixpipe.pipeline.joint import FittedColumns, fit_columns_of, record_joint, write_joint
from mixpipe.pipeline.plan.texts import JOINT_FILES, JointPlan, effort_of, reading_options
from mixpipe.results.joint_tables import components_frame

# Options that hold for each of the columns, and those of the joint entry.
_COLUMN_KEYS = ("error_kind", "error_scale", "error_floor", "sigma_floor", "transform", "unit", "file_unit")
_JOINT_KEYS = ("weight", "weight_kind", "structure")
_OTHERS = ("joint", "error", "correlation", "n_components", "max_components")
# The joint entry, whose name no column may have.
_ENTRY = "joint"
_RUN_KEYS = ("criterion", "bootstrap", "likelihood_ratio", "seed")
# What other programs rely on.
_FIT_KEYS = ("n_components", "loglik", "bic", "aic", "icl", "converged")
_SELECTION_KEYS = ("n_components", "n_params", "loglik", "bic", "aic", "icl", "converged", "selected")


@dataclass(frozen=True)
class JointRequest:
    """What to fit jointly in one file; the attributes are those of `mixpipe.cli.options.Request`."""

    file: Path
    catalog: CatalogSettings
    joint: JointSettings
    settings: Settings
    n_components: int | None
    given: dict[str, Any]

    @property
    def place(self) -> str:
        """Where an error is, for its message."""
        return f"in {self.file}, columns {', '.join(self.joint.names)}"

    def plan(self, catalog: str = "", sha256: str = "", code: str = "") -> JointPlan:
        """The plan that the pipeline would have, with the hashes of the file and of the code."""
        return JointPlan(
            catalog=catalog,
            release="",
            files=((str(self.file), sha256),),
            reading=reading_options(self.catalog),
            key=self.catalog.key,
            where=self.catalog.where,
            column=self.joint,
            criterion=self.settings.criterion,
            effort=effort_of(self.settings),
            code=code,
        )


def read_joint_request(file: str, options: Mapping[str, Any]) -> JointRequest:
    """Check the options against the schema of the configuration.

    Parameters
    ----------
    file : str
        The catalog file.
    options : mapping
        Values by name, None or empty where an option is not given.

    Raises
    ------
    ConfigError
        For the first option that has a value which cannot be used, or that a joint fit does not have.

    Examples
    --------
    >>> request = read_joint_request("stars.csv", {"joint": "u,v", "error": ["e_u", 0.1], "correlation": ("uv",)})
    >>> request.joint.correlation, [column.error for column in request.joint.columns]
    ((('u', 'v', 'uv'),), ['e_u', 0.1])
    """
    given = given_options(options)
    for name in given:
        if name not in (*CATALOG_KEYS, *_COLUMN_KEYS, *_JOINT_KEYS, *_OTHERS, *_RUN_KEYS):
            other = name.replace("_", "-")
            raise ConfigError(f"--{other} beside --joint", "on the command line", f"--joint without --{other}")
    names = [name.strip() for name in str(given["joint"]).split(",")]
    if len(names) < 2 or not all(names):
        raise ConfigError(
            f"found {given['joint']}", "in option --joint", "two or more columns with commas between: A,B"
        )
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"found {twice!r} twice", "in option --joint", "different columns")
    settings, fixed = run_settings(given, _RUN_KEYS)
    # The names of entries are those of folders, which those of columns need not be.
    taken = {_ENTRY}
    entries = {name: safe_name(name, taken) for name in names}
    joint = {
        "columns": list(entries.values()),
        "correlation": _correlations(given.get("correlation", []), entries),
        **{name: given[name] for name in _JOINT_KEYS if name in given},
    }
    catalog = {name: given[name] for name in CATALOG_KEYS if name in given}
    catalog["releases"] = {"file": file}
    catalog["columns"] = {entry: {"value": name} for name, entry in entries.items()}
    for key in ("error", *(key for key in _COLUMN_KEYS if key in given)):
        values = _errors(given.get(key), names) if key == "error" else _for_each(key, given[key], names)
        for column, value in zip(catalog["columns"].values(), values, strict=True):
            column[key] = value
    catalog["joint"] = {_ENTRY: joint}
    mapping = {"catalogs": {"file": catalog}, "settings": settings}

    def where(path: KeyPath, key: str | None = None) -> str:
        words = [part for part in path if isinstance(part, str)]
        if "correlation" in words or key == "correlation":
            return "in option --correlation"
        return option_named(key or words[-1], fixed=fixed)

    mapping = with_keywords(mapping)
    check(mapping, where)
    try:
        config = parse_config(mapping)
    except ConfigError as error:
        raise ConfigError(error.what, "on the command line", error.expected) from error
    (catalog_settings,) = config.catalogs
    (entry,) = catalog_settings.joints
    called = {column.name: column.value for column in entry.columns}
    entry = replace(
        entry,
        columns=tuple(replace(column, name=column.value) for column in entry.columns),
        correlation=tuple((called[first], called[second], value) for first, second, value in entry.correlation),
    )
    return JointRequest(
        file=Path(file),
        catalog=catalog_settings,
        joint=replace(entry, name=", ".join(names)),
        settings=config.settings,
        n_components=entry.max_components if fixed else None,
        given=given,
    )


def _errors(given: Any, names: Sequence[str]) -> list[Any]:
    """An error for each column: one number may stand for all."""
    if given is None or isinstance(given, int | float):
        return [given] * len(names)
    errors = given if isinstance(given, list) else [given]
    if len(errors) != len(names):
        expected = f"one for each of {', '.join(names)}, with commas between, or one number"
        raise ConfigError(
            f"found {plural(len(errors), 'error')} for {len(names)} columns", "in option --error", expected
        )
    return [_number(error) for error in errors]


def _for_each(key: str, given: Any, names: Sequence[str]) -> list[Any]:
    """A value of an option for each column: one may stand for all."""
    parts = [part.strip() for part in given.split(",")] if isinstance(given, str) else [given]
    if len(parts) == 1:
        return [given] * len(names)
    if len(parts) != len(names):
        expected = f"one for each of {', '.join(names)}, with commas between, or one for all"
        option = f"in option --{key.replace('_', '-')}"
        raise ConfigError(f"found {plural(len(parts), 'value')} for {len(names)} columns", option, expected)
    return [_number(part) for part in parts]


def _correlations(given: Sequence[str], entries: Mapping[str, str]) -> Any:
    """Triples from texts: A,B,COL; COL alone where there is one pair; ``gaia``. Columns are named by their entries."""
    names = list(entries)
    if list(given) == ["gaia"]:
        return "gaia"
    found = []
    for text in given:
        parts = [part.strip() for part in str(text).split(",")]
        if len(parts) == 1 and len(names) == 2:
            parts = [*names, *parts]
        if len(parts) != 3:
            expected = "A,B,COL for columns A and B, or gaia" + ("; or COL" if len(names) == 2 else "")
            raise ConfigError(f"found {text}", "in option --correlation", expected)
        for column in parts[:2]:
            if column not in entries:
                raise ConfigError(
                    f"a correlation of {column!r}", "in option --correlation", f"one of {', '.join(names)}"
                )
        found.append([entries[parts[0]], entries[parts[1]], _number(parts[2])])
    return found


def _number(text: Any) -> Any:
    try:
        return float(text)
    except ValueError:
        return text


def fit_file_jointly(file: str, *, as_json: bool, figure: str | None, out: str | None, **options: Any) -> None:
    """Fit columns jointly, print the result, and write what is asked for; see `mixpipe.cli.fitting.fit_file`."""
    request = read_joint_request(file, options)
    picture, folder = None, None
    if figure is not None or out is not None:
        from mixpipe.cli.outputs import check_folder, check_picture

        picture = check_picture(figure) if figure is not None else None
        folder = check_folder(out, "--out") if out is not None else None
    catalog = request.catalog
    needed = required_columns([request.joint], catalog.where, catalog.key)
    most = request.joint.max_components if request.n_components is None else None
    with naming_options(catalog.where), unchanged(request.file), fit_progress(most) as (counted, found):
        check_idle(request)
        fitted = fit_columns_of(
            lambda: counted(read_blocks(request.file, needed, **reading_options(catalog))),
            request.plan(),
            place=request.place,
            n_components=request.n_components,
            progress=found if most is not None else None,
        )
    written = []
    if picture is not None:
        with tempfile.TemporaryDirectory(prefix="mixpipe-") as place:
            _write(Path(place), request, fitted, {"corner": [str(picture)]})
        written.append(picture)
    if folder is not None:
        from mixpipe.cli.outputs import writing

        with writing(folder, "--out"):
            _write(folder, request, fitted)
        written.append(folder)
    if as_json:
        # A pipe may not take more than ASCII.
        print(json_text(_document(fitted), ensure_ascii=True))
    else:
        _show(request, fitted, written)


def _write(
    folder: Path, request: JointRequest, fitted: FittedColumns, pictures: Mapping[str, Sequence[str]] | None = None
) -> None:
    """Write what the pipeline writes, under the same names; some pictures elsewhere."""
    from mixpipe.cli.outputs import digest_of
    from mixpipe.pipeline.joint_figures import draw_joint_figures
    from mixpipe.report.figures.look import NO_LOOKS
    from mixpipe.results.paper import write_paper_beside
    from mixpipe.results.provenance import code_hash
    from mixpipe.results.record import SourceFile

    digest = digest_of(request.file)
    file = SourceFile(path=str(request.file), n_rows=fitted.account.n_read, sha256=digest)
    paths = {name: folder / path for name, path in JOINT_FILES.items()}
    plan = request.plan(request.file.name, digest, code_hash("joint"))
    write_joint(paths, plan, [file], fitted, shlex.join(["mixpipe", *sys.argv[1:]]), request.given)
    write_paper_beside(paths["fit"])
    figures = {
        name: [str(folder / f"{name}.{end}") for end in ("png", "svg", "pdf")]
        for name in ("corner", "selection", "quality")
    }
    draw_joint_figures(
        code=code_hash("joint_figures"),
        fit=str(paths["fit"]),
        members=str(paths["members"]),
        columns=[],
        curves=str(folder / "curves.json"),
        looks=NO_LOOKS,
        **{**figures, **(pictures or {})},
    )


def _document(fitted: FittedColumns) -> dict[str, Any]:
    fit = fitted.fit
    rows = components_frame(fit, fitted.account.units).drop(columns="component").to_dict("records")
    return {
        "names": fit.names,
        "n_data": fit.n_data,
        "n_dropped": dict(fitted.account.dropped),
        "patterns": [{"columns": names, "n_rows": number} for names, number in fitted.account.patterns.items()],
        "criterion": fitted.selection.criterion,
        "structure": fit.structure,
        **{key: getattr(fit, key) for key in _FIT_KEYS},
        "components": rows,
        "selection": [{key: row[key] for key in _SELECTION_KEYS} for row in fitted.selection.records()],
        "quality": {one.name: {"ks": one.ks, "ks_pvalue": one.ks_pvalue} for one in fitted.quality},
        "warnings": fit.warnings,
        "version": mixpipe.__version__,
    }


def _show(request: JointRequest, fitted: FittedColumns, written: Sequence[Path]) -> None:
    """Print a fit: rows, components, the choice of their number, quality, warnings, and files."""
    from mixpipe.assess.quality import REJECTED, describe_distance
    from mixpipe.base.presentation import as_text, chance
    from mixpipe.cli.display import say, selection_table, show_answer, with_options
    from mixpipe.results.answer import answer

    fit, account, selection = fitted.fit, fitted.account, fitted.selection
    say(f"{request.file}: {', '.join(_named(fit.names, account.units))}", "bold")
    say(f"{plural(account.n_read, 'row')} read, {account.n_used:,} used, dropped: {account.dropped_counts()}")
    for line in describe_patterns(account):
        say(line)
    asked = "as asked for" if request.n_components is not None else f"chosen by {selection.criterion.upper()}"
    say("")
    state = "converged" if fit.converged else "NOT CONVERGED"
    say(f"{plural(fit.n_components, 'component')} ({asked}), {state}", "bold")
    _, table, _ = replace(fit, units=account.units).presented()
    for line in as_text("", table).splitlines()[1:]:
        say(line)
    say("")
    chosen = f", of which the lowest {selection.criterion.upper()} chooses" if len(selection.fits) > 1 else ""
    say(f"fits with M components{chosen}:")
    selection_table(selection)
    say("")
    say("goodness of fit (Kolmogorov-Smirnov):")
    for one in fitted.quality:
        tested = one.ks_pvalue == one.ks_pvalue
        verdict = "untested" if not tested else "rejected" if one.ks_pvalue <= REJECTED else "ok"
        p_value = f", p {chance(one.ks_pvalue, request.settings.quality_draws)}: {verdict}" if tested else ""
        say(f"  {one.name}: {one.ks:.4f}{p_value}; {describe_distance(one.ks, verdict)}")
    ratio = fitted.likelihood_ratio
    if ratio is not None:
        found = f"2 ln(likelihood ratio) {ratio.statistic:.4g}, p {chance(ratio.p_value, ratio.n_draws)}"
        say(f"one component more: {found}; called for up to p = {REJECTED:g}")
    for warning in fit.warnings:
        say(f"warning: {with_options(warning)}", "yellow")
    show_answer(answer(record_joint(request.plan(), (), fitted, options=request.given)))
    for path in written:
        say(f"written: {path}")


def _named(names: Sequence[str], units: Sequence[str | None]) -> list[str]:
    return [name + (f" [{unit}]" if unit else "") for name, unit in zip(names, units, strict=True)]


def describe_patterns(account: JointAccount) -> list[str]:
    """Rows by the columns that they have, where some lack any.

    Returns
    -------
    list of str
        A line for each pattern; none if all rows have all columns.
    """
    if len(account.patterns) == 1 and account.names in account.patterns:
        return []
    return [f"  {plural(number, 'row')} with {', '.join(names)}" for names, number in account.patterns.items()]
