"""Scripts that are embedded in the page, from Python packages: Plotly for plots, DataTables for tables."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib.metadata import version
from importlib.resources import files

# itables contains DataTables with jQuery as a module, whose last statement lists its exports.
_EXPORT = re.compile(r"export\s*\{[^}]*?([\w$]+) as jQuery[^}]*\}")


@cache
def plotly_script() -> str:
    """Plotly.js, which defines ``Plotly``."""
    return _inside_html((files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8"))


@cache
def tables_script() -> str:
    """DataTables and jQuery, for a script element of type module; defines ``jQuery``.

    Raises
    ------
    ValueError
        If the package's bundle does not export jQuery.
    """
    bundle = (files("itables") / "html" / "dt_bundle.js").read_text(encoding="utf-8")
    found = _EXPORT.search(bundle)
    if found is None:
        raise ValueError(f"itables {version('itables')} has no bundle with an export of jQuery")
    return _inside_html(f"{bundle[: found.start()]};globalThis.jQuery={found[1]}{bundle[found.end() :]}")


@cache
def script_hash(script: str) -> str:
    """The hash by which a Content-Security-Policy allows a script to run.

    >>> script_hash("")
    "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"
    """
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode('ascii')}'"


def library_versions() -> dict[str, str]:
    """Versions of the Python packages that contain the scripts."""
    return {name: version(name) for name in ("plotly", "itables")}


def _inside_html(script: str) -> str:
    """The script, changed such that it can neither end its element prematurely nor open a comment."""
    return script.replace("</script", r"<\/script").replace("<!--", r"<\!--").replace("\r\n", "\n")
