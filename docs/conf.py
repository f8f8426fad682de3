"""How the manual is built: `make docs`."""

import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]

from notebooks import to_markdown  # noqa: E402

import mixpipe  # noqa: E402
from mixpipe.config.schema import with_key_tables  # noqa: E402

project = "mixpipe"
author = "The mixpipe developers"
project_copyright = "The mixpipe developers"
version = release = mixpipe.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_click"]
exclude_patterns = ["_build", "**.ipynb_checkpoints"]
source_suffix = {".md": "markdown", ".ipynb": "markdown"}

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


def _complete(app: Any, docname: str, source: list[str]) -> None:
    """What a page says in Markdown for every reader, in the words of Sphinx.

    Notebooks become pages, the tables of keys are made from the schema, here as in config/README.md, and links to
    an entry of the glossary, such as ``glossary.md#effective-rows``, become links to its term.
    """
    text = source[0]
    if Path(app.env.doc2path(docname)).suffix == ".ipynb":
        text = to_markdown(text, Path(app.env.doc2path(docname)).name)
    source[0] = _LINK_TO_TERM.sub(_term, with_key_tables(text))


_LINK_TO_TERM = re.compile(r"\[([^\]]+)\]\(glossary\.md#([\w-]+)\)")


def _term(link: re.Match[str]) -> str:
    return f"{{term}}`{' '.join(link[1].split())} <{link[2].replace('-', ' ')}>`"


def setup(app):  # noqa: D103
    app.connect("source-read", _complete)
