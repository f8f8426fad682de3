"""Catalog files in, table out: formats, units, masks and shards, whole or in blocks; no statistics."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mixpipe.catalog.files import expand_files, unchanged
from mixpipe.catalog.reading import BLOCK_ROWS, idle_options, list_columns, read_blocks, read_catalog
from mixpipe.catalog.release import StoredRelease, joined
from mixpipe.catalog.source import FORMATS, expected_name

if TYPE_CHECKING:
    from mixpipe.catalog.store import read_columns, stored_blocks, stored_columns, stored_files, write_blocks

__all__ = [
    "BLOCK_ROWS",
    "FORMATS",
    "StoredRelease",
    "expand_files",
    "expected_name",
    "idle_options",
    "joined",
    "list_columns",
    "read_blocks",
    "read_catalog",
    "read_columns",
    "stored_blocks",
    "stored_columns",
    "stored_files",
    "unchanged",
    "write_blocks",
]


def __getattr__(name: str) -> Any:
    """What needs PyArrow is imported when first used."""
    if name not in __all__:
        raise AttributeError(f"module 'mixpipe.catalog' has no attribute {name!r}")
    return getattr(import_module("mixpipe.catalog.store"), name)
