"""The documentation as a site: `make docs` builds it into build/docs. Nothing in it is loaded from another host."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

from sphinx.addnodes import pending_xref

ROOT = Path(__file__).parent.parent
project = "bimodal"
author = "The bimodal developers"
project_copyright = author
release = runpy.run_path(str(ROOT / "bimodal" / "__init__.py"))["__version__"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.graphviz"]
exclude_patterns = ["cards/architectures"]
highlight_language = "text"
myst_heading_anchors = 4

graphviz_output_format = "svg"

# Docstrings: Google style, and code in single backticks.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
napoleon_use_ivar = True

html_theme = "pydata_sphinx_theme"
html_title = project
html_favicon = html_logo = "../workers/view/page/icon.svg"
html_show_sourcelink = html_copy_source = False
html_extra_path = ["config.schema.json"]
html_sidebars = {"**": ["pages.html"]}
templates_path = ["_templates"]
html_theme_options = {
    "logo": {"text": project, "alt_text": f"{project}, front page"},
    "navbar_center": [],
    "primary_sidebar_end": [],
    "footer_start": ["copyright"],
    "footer_end": [],
}


def to_pages(app: Any, doctree: Any) -> None:
    """Point links out of docs/, which work in a checkout, at the pages that are symbolic links to the same files."""
    pages = {Path(app.env.doc2path(page)).resolve().with_suffix(""): page for page in app.env.found_docs}
    for link in doctree.findall(pending_xref):
        link["reftarget"] = pages.get(Path(link["reftarget"]), link["reftarget"])


def setup(app: Any) -> None:
    """Register the above."""
    app.connect("doctree-read", to_pages)
