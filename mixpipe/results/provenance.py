"""What a result was made from: hashes of catalog files and of the code, versions of the libraries."""

from __future__ import annotations

import argparse
import ast
import hashlib
import platform
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

from mixpipe.base.errors import MixpipeError

PACKAGE = Path(__file__).parents[1]

# Each stage of the workflow, and the module that it enters the package by.
_STAGES = (
    "ingest",
    "fit",
    "densities",
    "joint",
    "predict",
    "account",
    "members",
    "paper",
    "figures",
    "density_figure",
    "joint_figures",
    "compare",
    "joint_compare",
    "summary",
    "report",
    "manifest",
)
STAGES = {stage: f"mixpipe.pipeline.{stage}" for stage in _STAGES}
# Folders of files that a module reads as data. (Not the schema: what it says of a job is in the job's plan.)
DATA = {"report/page.py": "report/templates"}

# Variable of the environment by which the jobs of a run know its command. Not a setting of theirs: what they make is
# the same, however it was asked for.
COMMAND = "MIXPIPE_COMMAND"
# The same as it was given, with all its options but that for cores, for the report that the run writes.
GIVEN = "MIXPIPE_GIVEN"

LIBRARIES = ("mixpipe", "numpy", "scipy", "numba", "astropy", "pandas", "pyarrow")

# Where Python's syntax trees have statements, and texts that may name a module of mixpipe.
_PARTS = ("body", "orelse", "handlers", "finalbody", "cases")
_TEXT = re.compile(r"""["'](mixpipe\.[\w.]+)["']""")


def without_cores(words: Sequence[str]) -> list[str]:
    """The words of a command without its number of cores: the same page is written with any.

    Parameters
    ----------
    words : sequence of str
        Words of a command line of Snakemake.

    Returns
    -------
    list of str
        Those that say nothing about cores.

    Examples
    --------
    >>> without_cores(["--cores", "4", "-j2", "--configfile", "mine.yaml", "-c", "all"])
    ['--configfile', 'mine.yaml']
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--cores", "-c", "--jobs", "-j", nargs="?")
    return parser.parse_known_args(words)[1]


class CodeChanged(MixpipeError):
    """The package was edited between the planning of a job and its start."""


@cache
def code_hash(stage: str) -> str:
    """Hash of all code that a stage depends on: `stage_files`, names and contents.

    Parameters
    ----------
    stage : str
        One of `STAGES`.
    """
    return _hash_files(stage_files(stage))


def kernels_hash() -> str:
    """Short hash of the sources of the compiled functions, which names the folder that they are kept in."""
    return _hash_files(sorted(PACKAGE.rglob("kernels/*.py")))[:12]


def _hash_files(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        content = path.read_bytes()
        digest.update(f"{path.relative_to(PACKAGE).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def check_code(stage: str, planned: str) -> None:
    """Refuse to run a stage with other code than it was planned with.

    Raises
    ------
    CodeChanged
        If the hash of the stage's code is not the planned one.
    """
    if code_hash(stage) != planned:
        raise CodeChanged(
            f"the code of stage {stage!r} changed after this job was planned",
            f"in {PACKAGE}",
            "the same code for planning and running: start the pipeline again",
        )


def stage_files(stage: str) -> tuple[Path, ...]:
    """The package's files that a stage depends on, sorted.

    The module of the stage and, from the sources, everything of mixpipe that it imports directly or indirectly,
    inside functions and by a name in a text too. Not `mixpipe/__init__.py`, which only says where the public names
    live, and nothing that is imported for annotations alone.
    """
    modules: set[str] = set()
    waiting = list(_with_packages(STAGES[stage]))
    while waiting:
        module = waiting.pop()
        if module not in modules:
            modules.add(module)
            waiting.extend(_imports(module))
    files = {_source(module) for module in modules}
    for source in set(DATA) & {path.relative_to(PACKAGE).as_posix() for path in files}:
        files.update(path for path in (PACKAGE / DATA[source]).rglob("*") if path.is_file())
    return tuple(sorted(files))


def _source(module: str) -> Path:
    path = PACKAGE.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _is_module(name: str) -> bool:
    top, *inner = name.split(".")
    return top == "mixpipe" and inner != [] and all(map(str.isidentifier, inner)) and _source(name).is_file()


def _with_packages(name: str) -> Iterator[str]:
    """The module and the packages it is in, as far as they are mixpipe's."""
    parts = name.split(".")
    return filter(_is_module, (".".join(parts[:size]) for size in range(2, len(parts) + 1)))


def _imports(module: str) -> tuple[str, ...]:
    """The modules of mixpipe that a module imports."""
    return _imported(_source(module).read_text(encoding="utf-8"))


@cache
def _imported(source: str) -> tuple[str, ...]:
    """The modules of mixpipe that a source text imports."""
    imported, texts = _names(source)
    names = (*imported, *filter(_is_module, texts))
    return tuple(dict.fromkeys(module for name in names for module in _with_packages(name)))


def _names(source: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What a source text imports, and its texts that begin like a module of mixpipe."""
    imported: list[str] = []
    for node in _statements(ast.parse(source)):
        if isinstance(node, ast.Import):
            imported += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(imported), tuple(_TEXT.findall(source))


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """A node and all statements in it but those under ``if TYPE_CHECKING:``."""
    yield node
    annotations = isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    for part in ("orelse",) if annotations else _PARTS:
        for child in getattr(node, part, ()):
            yield from _statements(child)


def versions() -> dict[str, str]:
    """Versions of mixpipe, of the libraries that numbers depend on, and of Python."""
    from importlib.metadata import version  # loads the parser of e-mails, which only this needs

    return {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}}
