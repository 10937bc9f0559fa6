"""Sphinx configuration."""

import shutil
from importlib import metadata
from pathlib import Path

project = "pixnet-sd"
author = "the pixnet-sd developers"
copyright = f"2026, {author}"
version = release = metadata.version("pixnet-sd")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
exclude_patterns = ["_build", "_scripts", "**.ipynb_checkpoints"]
autosummary_generate = True
autodoc_typehints = "none"
napoleon_google_docstring = False
napoleon_use_rtype = False
nb_execution_mode = "off"
nb_merge_streams = True
myst_enable_extensions = ["colon_fence", "dollarmath", "deflist"]
myst_heading_anchors = 3
html_theme = "sphinx_book_theme"
html_title = "pixnet-sd"
html_theme_options = {"show_toc_level": 2, "home_page_in_toc": True, "navbar_persistent": []}

# Executed notebooks come from `nox -s notebooks`. One that is not there is shown without its outputs.
docs = Path(__file__).parent
(docs / "notebooks").mkdir(exist_ok=True)
for notebook in (docs.parent / "notebooks").glob("*.ipynb"):
    if not (docs / "notebooks" / notebook.name).exists():
        shutil.copy(notebook, docs / "notebooks")


def link_within_docs(_app: object, _name: str, source: list[str]) -> None:
    """Links work in the repository as it is; here, notebooks are in a folder of the docs."""
    source[0] = source[0].replace("](../notebooks/", "](notebooks/").replace("](../docs/", "](../")


def setup(app: object) -> None:
    app.connect("source-read", link_within_docs)
