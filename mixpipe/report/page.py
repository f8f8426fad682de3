"""The HTML page of the report."""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from mixpipe.assess.comparison.verdict import NOT_COMPARED, VERDICTS, basis
from mixpipe.assess.quality import REJECTED, describe_distance, verdict_of
from mixpipe.base.files import write_file
from mixpipe.report.drawing import COMPONENT_COLOURS
from mixpipe.report.entries import DensityEntry, Entry, FailedEntry, JointEntry, ReleaseChange, ReportEntry
from mixpipe.report.joint_plots import joint_captions, joint_plots
from mixpipe.report.libraries import library_versions, plotly_script, script_hash, tables_script
from mixpipe.report.numbers import decimal, missing, pvalue, rows, significant, with_unc
from mixpipe.report.plots import density_plots, fit_plots
from mixpipe.report.thumbnail import thumbnail
from mixpipe.report.traces import CONFIG, TEMPLATE

_TYPES = {".svg": "image/svg+xml", ".png": "image/png"}

# Order and captions of the known figures; others follow, with their names as captions.
_CAPTIONS = {
    "corner": "Pairs of columns with the components",
    "mixture": "Data, the mixture as observed, and its components with the measurement errors removed",
    "quality": "Quality of the fit: integral transform, its quantiles, and the residual of the histogram",
    "selection": "Information criteria against the number of components",
    "classes": "Probability of each component against the value",
    "densities": "Tabulated densities and their mixtures: the best, the median and the worst fit",
    "estimators": "The estimators side by side, with the chosen number of components",
}
# How fits went, those that need to be looked at first.
_STATES = ("failed", "rejected", "untested", "ok")
_CHANGES = (*VERDICTS, NOT_COMPARED)
# Of more kinds of warnings only the most frequent can be chosen.
_KINDS = 40
# Up to this many fits are unfolded when the page opens; on a longer page all are folded.
_OPEN = 3
# Limit on the bytes of embedded figures, which keeps the page below 20 MB.
_PICTURES = 8_000_000


def write_report(
    path: str | Path,
    entries: Iterable[Entry],
    provenance: Mapping[str, Any],
    changes: Iterable[ReleaseChange] = (),
) -> None:
    """Write the report of a run.

    Parameters
    ----------
    path : path
        HTML file to write, which contains everything that it shows.
    entries : iterable of ReportEntry, JointEntry, DensityEntry or FailedEntry
        The fits, in the order of the page.
    provenance : mapping
        The inputs of the run: ``command``, which repeats it; ``config``, the text of its configuration, or None;
        ``versions`` and ``settings``, names and values; ``inputs``, the catalog files as dictionaries with ``path`` and
        ``sha256``.
    changes : iterable of ReleaseChange
        Comparisons of releases.
    """
    entries, changes = tuple(entries), tuple(changes)
    fits: list[dict[str, Any]] = [
        {"id": f"fit-{number}", "entry": entry, "change": _change_of(entry, changes)}
        for number, entry in enumerate(entries, start=1)
    ]
    filters = _filters(fits)
    pictures = [figure for entry in entries for figure in entry.figures.values()]
    pictures += [change.overlay for change in changes]
    environment = _environment()
    page = environment.get_template("report.html.j2").render(
        fits=fits,
        ids={(fit["entry"].catalog, fit["entry"].release, fit["entry"].column): fit["id"] for fit in fits},
        changes=changes,
        filters=filters,
        unfolded=len(entries) <= _OPEN,
        small=sum(figure.stat().st_size for figure in pictures) <= _PICTURES,
        plotly=plotly_script(),
        packed_plotly=_packed_once(plotly_script()),
        scripts=[tables_script(), environment.get_template("report.js").render()],
        provenance={**provenance, "versions": {**provenance["versions"], **library_versions()}},
    )
    write_file(Path(path), partial(Path.write_text, data=page, encoding="utf-8", newline="\n"))


@cache
def _environment() -> jinja2.Environment:
    """The templates, with the functions that they call."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mixpipe.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        significant=significant,
        with_unc=with_unc,
        decimal=decimal,
        pvalue=pvalue,
        distance=describe_distance,
        rows=rows,
        sentence=_sentence,
        compact=compact_json,
        packed=packed,
        script_hash=script_hash,
        data_uri=data_uri,
    )
    environment.tests["missing"] = missing
    environment.globals.update(
        basis=basis,
        remark=_remark,
        verdict_of=verdict_of,
        rejected=REJECTED,
        images=images,
        thumbnail=thumbnail,
        fit_plots=fit_plots,
        density_plots=density_plots,
        joint_plots=joint_plots,
        plotting={"template": TEMPLATE, "config": CONFIG},
        colours=COMPONENT_COLOURS,
    )
    return environment


def images(entry: ReportEntry | DensityEntry | JointEntry) -> list[dict[str, str]]:
    """Name, caption, alternative text and data URI of each figure."""
    captions = _CAPTIONS | (joint_captions(entry.names) if isinstance(entry, JointEntry) else {})
    return [
        {
            "name": name,
            "caption": (caption := captions.get(name, name)),
            "alt": f"{caption}: {entry.shown}",
            "uri": data_uri(entry.figures[name]),
        }
        for name in sorted(entry.figures, key=lambda name: [*_CAPTIONS, name].index(name))
    ]


def data_uri(path: Path) -> str:
    """A picture as a data URI.

    Raises
    ------
    ValueError
        For a file that is neither SVG nor PNG.
    """
    if path.suffix not in _TYPES:
        raise ValueError(f"cannot show {path}: expected one of {', '.join(_TYPES)}")
    return f"data:{_TYPES[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"


def compact_json(value: object) -> Markup:
    r"""JSON for a script element, which nothing in it can end.

    >>> print(compact_json({"name": "</script>"}))
    {"name":"\u003c/script\u003e"}
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704  # the characters that HTML could read are gone


def packed(text: str) -> str:
    """A text for a script element, compressed and then encoded as letters."""
    return base64.b64encode(zlib.compress(text.encode("utf-8"), 9)).decode("ascii")


_packed_once = cache(packed)


def _change_of(entry: Entry, changes: Iterable[ReleaseChange]) -> dict[str, Any] | None:
    """The changes of a fit since the previous release."""
    # Columns and joint fits are compared separately.
    found = (
        each.of_column(entry.column) for each in changes if (each.catalog, each.new) == (entry.catalog, entry.release)
    )
    return next((row for row in found if row is not None), None)


def _remark(row: Mapping[str, Any], ends: Mapping[str, tuple[float, float]]) -> str:
    """Remarks about a component in addition to its numbers, and its intervals."""
    words = []
    family = row.get("family", "gaussian")
    if family != "gaussian":
        third = "" if missing(row["shape"]) else f", shape {with_unc(row['shape'], row['shape_unc'])}"
        words.append(family.replace("_", " ") + third)
    if row.get("constraint"):
        words.append(row["constraint"])
    limit = row.get("sigma_upper")
    if not missing(limit):
        words.append(f"σ < {significant(limit, None)} (95 %)")
    elif row["boundary"]:
        words.append("σ at its lower bound: no width is resolved")
    if ends:
        symbols = {"mean": "mean", "sigma": "σ"}
        unc = min((0.5 * (high - low) for low, high in ends.values() if high > low), default=0.0)
        said = (
            f"{symbols[name]} {significant(low, unc)} to {significant(high, unc)}" for name, (low, high) in ends.items()
        )
        words.append(f"{', '.join(said)} (95 %)")
    return "; ".join(words)


def _sentence(text: str, end: str = ".") -> str:
    r"""A text as a sentence of its own, in which no line ends within a number and its uncertainty.

    >>> _sentence("one population at 3 ± 1")
    'One population at 3\xa0±\xa01.'
    """
    whole = re.sub(r" (?=[±%<=≤])|(?<=[±σ<=≤]) ", "\N{NO-BREAK SPACE}", text)
    return f"{whole[:1].upper()}{whole[1:].removesuffix('.')}{end}"


def _filters(fits: Sequence[dict[str, Any]]) -> dict[str, list[tuple[str, str]]]:
    """What the columns of the overview can be chosen by: values with labels, which say how many there are.

    Each fit is also given the ``kinds`` of its warnings: their numbers in the choice among warnings, and ``none``.
    """
    entries = [fit["entry"] for fit in fits]
    states = ["failed" if isinstance(entry, FailedEntry) else _verdict(entry) for entry in entries]
    verdicts = [fit["change"]["verdict"] for fit in fits if fit["change"] is not None]
    kinds = Counter(kind for entry in entries for kind in dict.fromkeys(map(_kind, entry.all_warnings)))
    numbers = {kind: str(number) for number, (kind, _) in enumerate(kinds.most_common())}
    for fit in fits:
        found = dict.fromkeys(map(_kind, fit["entry"].all_warnings))
        fit["kinds"] = ["some", *(numbers[kind] for kind in found)] if found else ["none"]
    n_warned = sum(bool(entry.all_warnings) for entry in entries)
    warned = [("some", f"with warnings ({n_warned})"), ("none", f"without warnings ({len(fits) - n_warned})")]
    most = kinds.most_common(_KINDS)
    return {
        "fit": [(word, f"{word} ({states.count(word)})") for word in _STATES if word in states],
        "change": [
            (word, f"{word} ({verdicts.count(word)})") for word in (*VERDICTS, NOT_COMPARED) if word in verdicts
        ],
        "warnings": [*(warned if n_warned else ()), *((numbers[kind], f"{_cut(kind)} ({n})") for kind, n in most)],
    }


def _verdict(entry: Entry) -> str:
    return str(entry.summary.get("verdict", "untested"))


def _kind(warning: str) -> str:
    """A warning without its numbers, so that those of many columns are of one kind.

    >>> _kind("12 of 57 rows repeat another row exactly")
    '… of … rows repeat another row exactly'
    """
    return re.sub(r"\d[\d,.]*(e[+-]?\d+)?(?<=\w)", "…", warning)


def _cut(text: str, size: int = 70) -> str:
    return text if len(text) <= size else f"{text[: size - 1]}…"
