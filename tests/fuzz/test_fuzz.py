"""Input that nobody wrote: configurations, cuts, options and damaged files never end in a traceback or without end.

What is drawn is the same in every run of the suite. Longer, and drawn anew:

    MIXPIPE_FUZZ=20000 pytest tests/fuzz/test_fuzz.py --hypothesis-show-statistics
"""

import io
import json
import os
import string
import tempfile
from datetime import timedelta
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from astropy.table import Table
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mixpipe.base.errors import MixpipeError
from mixpipe.catalog.columns import prepare_column
from mixpipe.catalog.expressions import Expression
from mixpipe.catalog.files import expand_files
from mixpipe.catalog.reading import list_columns, read_blocks, read_catalog
from mixpipe.cli.options import read_request
from mixpipe.config.schema import SCHEMA
from mixpipe.config.settings import ColumnSettings, load_config, parse_config
from mixpipe.results.verification import MANIFEST, verify_results

LONGER = os.environ.get("MIXPIPE_FUZZ")
# What takes longer than this counts as without end.
BOUND = timedelta(seconds=20)


def fuzz(share: float = 1.0):
    """Settings of a test: its share of the examples."""
    return settings(
        max_examples=max(20, int(share * int(LONGER or 150))),
        deadline=BOUND,
        derandomize=LONGER is None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def refuses_at_most(function, *arguments, **options):
    """The result, or None where the user is told what to mend."""
    try:
        return function(*arguments, **options)
    except MixpipeError as error:
        assert error.what
        assert error.where
        assert error.expected
        return None


# Files of a few rows in each format.
TABLE = Table({"name": ["a", "b", "c", "d"], "x": [1.0, 2.5, -3.0, 4.0], "n": [1, 2, 3, 4]}, units={"x": "mas"})


def written(kind: str) -> bytes:
    stream = io.BytesIO()
    if kind == "parquet":
        pq.write_table(pa.table({name: TABLE[name].tolist() for name in TABLE.colnames}), stream)
    elif kind == "hdf5":
        with h5py.File(stream, "w") as file:
            for name in TABLE.colnames:
                file[name] = TABLE[name].tolist()
    elif kind == "csv":
        stream.write(b'# made by hand\nname,x,n\na,1,1\n"b, c",2.5,2\nc,nan,3\nd,<4,\n')
    elif kind in ("ecsv", "mrt"):
        lines = io.StringIO()
        TABLE.write(lines, format=f"ascii.{kind}")
        stream.write(lines.getvalue().encode())
    else:
        TABLE.write(stream, format=kind)
    return stream.getvalue()


FILES = {kind: written(kind) for kind in ("fits", "csv", "ecsv", "votable", "mrt", "parquet", "hdf5")}
SUFFIXES = {"votable": "vot", "hdf5": "h5"}


@st.composite
def damaged(draw, content: bytes) -> bytes:
    """The content with bytes changed, put in, taken out, repeated or cut off."""
    result = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(len(result) - 1, 0)))
        size = draw(st.integers(1, 12))
        match draw(st.sampled_from(["change", "digit", "put in", "take out", "repeat", "cut"])):
            case "change":
                result[place : place + size] = draw(st.binary(min_size=size, max_size=size))
            case "digit":
                result[place : place + 1] = draw(st.sampled_from([b"9", b"-", b"0", b"'", b"<", b"\n", b"\0", b"\xff"]))
            case "put in":
                result[place:place] = draw(st.binary(min_size=size, max_size=size))
            case "take out":
                del result[place : place + size]
            case "repeat":
                result[place:place] = result[place : place + 20 * size]
            case "cut":
                del result[place:]
    return bytes(result)


@pytest.mark.parametrize("kind", FILES)
def test_damaged_files(kind):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"t.{SUFFIXES.get(kind, kind)}"

        @fuzz(0.5)
        @given(damaged(FILES[kind]))
        def check(content):
            path.write_bytes(content)
            names = refuses_at_most(list_columns, path)
            table = refuses_at_most(read_catalog, path)
            blocks = refuses_at_most(lambda: [len(block) for block in read_blocks(path, rows=2)])
            if table is not None:
                assert list(names or ()) == table.colnames or kind == "hdf5"
                assert blocks is None or sum(blocks) == len(table)
                if "x" in table.colnames:
                    refuses_at_most(prepare_column, table, ColumnSettings("x", "x", unit="mas"))

        check()


# Text with what readers look for in it.
MARKS = st.sampled_from(
    [",", "\n", "\t", ";", "|", " ", '"', "'", "#", "\r\n", "\r", "nan", "-", "1e999", "<", "x", "\0"]
)


@fuzz()
@given(st.lists(st.one_of(MARKS, MARKS, st.text(max_size=4), st.floats().map(repr)), max_size=60))
def test_text_that_may_be_a_table(parts):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        path.write_bytes("".join(parts).encode(errors="surrogatepass"))
        table = refuses_at_most(read_catalog, path)
        if table is None:
            return
        for name in table.colnames:
            data = refuses_at_most(prepare_column, table, ColumnSettings(name, name, error=name))
            if data is not None:
                assert np.all(np.isfinite(data.x))
                assert np.all(data.err >= 0.0)
                assert len(data) + sum(data.dropped.values()) == data.n_read == len(table)


TOKENS = st.sampled_from(
    [
        "x", "n", "name", "`a b`", "y", "and", "or", "not", "in", "==", "!=", "<", "<=", ">", "(", ")", "[", "]", ",",
        "+", "-", "*", "/", "%", "**", "1", "2.5", "1e308", "'a'", '"b"', "True", "abs(", "sqrt(", "isfinite(", "ln(",
        "exp(", ".", "__class__", "lambda", "import", "if", "else", ":", "=", "`", "'", "\\", "#", "@", "None", "é",
    ]
)  # fmt: skip
CUTS = Table({"x": [1.0, np.nan, -3.0], "n": [1, 2, 3], "name": ["a", "", "c"], "a b": [True, False, True]})


@fuzz(3)
@given(st.one_of(st.lists(TOKENS, max_size=20).map(" ".join), st.lists(TOKENS, max_size=9).map("".join), st.text()))
def test_cuts(text):
    cut = refuses_at_most(Expression.parse, text)
    if cut is not None:
        rows = refuses_at_most(cut.evaluate, CUTS)
        assert rows is None or (rows.dtype == bool and rows.shape == (3,))


def known_keys() -> list[str]:
    sections = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))["$defs"].values()
    return sorted({key for section in sections for key in section.get("properties", {})})


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 12),
    st.floats(),
    st.text(max_size=8),
    st.dates(),
    st.sampled_from(["t.csv", "*.csv", "none", "uniform", "log10", "em", "gaussian", "densities", "bic", 10**400, -1]),
)
KEYS = st.one_of(st.sampled_from(known_keys()), st.text(max_size=5), st.integers(0, 3000))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=12,
)
COLUMN = st.one_of(st.none(), VALUES, st.dictionaries(st.sampled_from(known_keys()), VALUES, max_size=5))
NAMES = st.one_of(st.sampled_from(["a", "2018", "logs", "ingest", "compare"]), KEYS)
CATALOG = st.fixed_dictionaries(
    {"releases": st.dictionaries(NAMES, VALUES, max_size=2), "columns": st.dictionaries(NAMES, COLUMN, max_size=2)},
    optional={
        key: VALUES for key in ("key", "format", "hdu", "path", "comment", "delimiter", "missing", "where", "no")
    },
)
CONFIGS = st.one_of(
    VALUES,
    st.fixed_dictionaries({"catalogs": st.dictionaries(NAMES, CATALOG, max_size=2)}, optional={"settings": VALUES}),
)


@fuzz(2)
@given(CONFIGS)
def test_configurations(mapping):
    config = refuses_at_most(parse_config, mapping)
    if config is not None:
        for catalog in config.catalogs:
            for patterns in catalog.releases.values():
                refuses_at_most(expand_files, patterns, Path("/nowhere"))
            if catalog.where is not None:
                refuses_at_most(Expression.parse, catalog.where)


YAML = b"""\
results: out
catalogs:
  stars:
    releases: {2018: a.csv, dr2: [b.csv, "c*.csv"]}
    key: id
    where: "kind == 'x' and mass > 1"
    columns:
      mass: {value: m, error: [up, lo], unit: Msun}
      other: &anchor
        transform: log10
      third: *anchor
settings:
  max_components: 3
"""
TAGS = st.sampled_from(
    [
        b"!!python/object/apply:os.system [ls]",
        b"!!python/name:os.system",
        b"&a [*a]",
        b"<<: *anchor",
        b"? ",
        b"!!binary x",
    ]
)


@fuzz(2)
@given(
    st.one_of(
        damaged(YAML), st.tuples(TAGS, st.integers(0, len(YAML))).map(lambda t: YAML[: t[1]] + t[0] + YAML[t[1] :])
    )
)
def test_configuration_files(content):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mine.yaml"
        path.write_bytes(content)
        refuses_at_most(load_config, path)


OPTIONS = (
    "value", "error", "error_kind", "error_scale", "error_floor", "weight", "where", "transform", "unit", "missing",
    "n_components", "max_components", "criterion", "estimator", "families", "background", "limit_flag", "upper_limit",
    "truncated", "detection", "bootstrap", "likelihood_ratio", "seed", "format", "hdu", "path", "comment", "delimiter",
)  # fmt: skip
GIVEN = st.one_of(
    st.integers(),
    st.floats(),
    st.text(alphabet=string.printable, max_size=8),
    st.lists(st.text(max_size=3), max_size=3),
)


@fuzz(2)
@given(st.dictionaries(st.sampled_from(OPTIONS), GIVEN, max_size=4))
def test_options(options):
    refuses_at_most(read_request, "t.csv", {"value": "x", **options})


@fuzz()
@given(
    st.one_of(damaged(json.dumps({"files": {"a": "0" * 64}, "inputs": {"b": "1"}}).encode()), st.binary(max_size=20))
)
def test_manifests(content):
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / MANIFEST).write_bytes(content)
        refuses_at_most(verify_results, Path(folder), Path(folder))
