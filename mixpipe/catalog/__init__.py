"""Catalog files in, table out: formats, units, masks and shards, whole or in blocks; no statistics."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mixpipe.catalog.reading import read_catalog

__all__ = ["read_catalog"]


def __getattr__(name: str) -> Any:
    """The public name, imported when it is first used: whoever needs one module of this room needs no other."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.reading"), name)
