"""Catalog files in, table out: formats, units, masks and shards; no statistics."""

from mixpipe.catalog.files import expand_files
from mixpipe.catalog.reading import list_columns, read_catalog
from mixpipe.catalog.source import FORMATS, expected_name
from mixpipe.catalog.store import read_columns, stored_columns, write_columns

__all__ = [
    "FORMATS",
    "expand_files",
    "expected_name",
    "list_columns",
    "read_catalog",
    "read_columns",
    "stored_columns",
    "write_columns",
]
