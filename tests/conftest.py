"""Fixtures that all tests share."""

import mixpipe.base.blas  # noqa: F401  # isort: skip  (before NumPy: threads of BLAS delay small matrices)
import compileall
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis.internal.conjecture import providers

# Hypothesis also draws constants of the modules of ours that are loaded: examples would depend on the tests before.
providers._get_local_constants = lambda: providers._local_constants  # type: ignore[attr-defined]

# This needs atheris, and is run by hand.
collect_ignore = ["fuzz/cuts.py"]

ROOT = Path(__file__).resolve().parents[1]


# Modules that run the workflow, or take long for other reasons, longest first.
LONG = (
    "workflow",
    "browser",
    "status",
    "any_number_of_columns",
    "ownership",
    "machines",
    "sklearn",
    "hostile",
    "reproduce",
    "joint_cli",
    "weights",
    "stream_any",
    "security",
    "init",
    "manual",
)


# The same of campaigns, and of studies.
LONG_CAMPAIGNS = (
    "workflow",
    "real_catalogs",
    "readme",
    "faults",
    "manual",
    "packaging",
    "general",
    "verify",
    "densities",
    "joint_run",
    "browser",
    "ownership",
    "hostile",
    "cli",
    "stream_any",
    "contact_sheet",
)
LONG_STUDIES = (
    "family_search",
    "hostile",
    "joint_comparison",
    "machines",
    "workflow",
    "ownership",
    "gallery",
    "window",
    "comparison",
    "faults",
    "constraints",
    "init",
    "benchmarks",
    "manual",
    "constrained",
    "joint_run",
    "stream_any",
)


def pytest_configure(config: pytest.Config) -> None:
    """Compile the package to bytecode once, for the many processes of the tests and for copies of the checkout.

    They would all compile it again where bytecode is not to be written, and otherwise write it while others copy it.
    """
    if not hasattr(config, "workerinput"):
        compileall.compile_dir(ROOT / "mixpipe", quiet=1)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """End with the long modules, the shortest last: by then kernels are compiled, for copies of the code, too.

    A module goes to one process, which makes once what its tests share.
    """
    tier = config.option.markexpr.partition(" ")[0]
    long = {"campaign": LONG_CAMPAIGNS, "study": LONG_STUDIES}.get(tier, LONG)
    order = {f"test_{name}": place for place, name in enumerate(long)}
    items.sort(key=lambda item: order.get(item.path.stem, -1))


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """Commands that run in the process of the tests leave its environment as it was."""
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture(scope="session")
def catalogs() -> Path:
    """Folder of the real catalogs; tests that need it are skipped, visibly, where it is not given."""
    folder = os.environ.get("MIXPIPE_CATALOGS")
    if not folder or not Path(folder).is_dir():
        pytest.skip("MIXPIPE_CATALOGS is unset or no folder: real catalogs are not available")
    return Path(folder)


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT
