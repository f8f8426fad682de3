"""Fixtures that all tests share."""

import os
from pathlib import Path

import pytest

# Needs atheris, and is run by hand.
collect_ignore = ["fuzz"]

ROOT = Path(__file__).resolve().parents[1]


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
