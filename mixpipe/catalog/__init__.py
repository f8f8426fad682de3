"""Reading of catalog files into tables: formats, units, masks and shards, whole or in blocks; no statistics."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mixpipe.catalog.reading import read_catalog

__all__ = ["read_catalog"]


def __getattr__(name: str) -> Any:
    """The public name, imported on first use, so that importing one module of this room does not import the others."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.reading"), name)
