"""How the manual is built: `make docs`."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import mixpipe  # noqa: E402
from mixpipe.config.schema import with_key_tables  # noqa: E402

project = "mixpipe"
author = "The mixpipe developers"
project_copyright = "The mixpipe developers"
version = release = mixpipe.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_click"]
exclude_patterns = ["_build"]

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
# A link to a file of the repository that is no chapter.
myst_url_schemes = ["http", "https", "mailto"]

napoleon_google_docstring = False
napoleon_use_ivar = True
autodoc_typehints = "none"
autodoc_member_order = "bysource"
add_module_names = False
# Shapes in docstrings name dimensions such as n_components, which are attributes of more than one class.
suppress_warnings = ["ref.python"]

html_theme = "furo"
html_title = f"mixpipe {version}"
html_show_copyright = False
html_copy_source = False


def _fill_key_tables(app: object, docname: str, source: list[str]) -> None:
    """The tables of keys are made from the schema, here as in config/README.md."""
    source[0] = with_key_tables(source[0])


def setup(app):  # noqa: D103
    app.connect("source-read", _fill_key_tables)
