"""How Sphinx builds the documents: `make docs` writes them to build/docs, without a network."""

import sys
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from _generate.python_api import MISSING

project = "Crewgate"
release = metadata.version("crewgate")
# Sphinx translates nothing, adds no date and reads nothing but these files.
include_patterns = ["index.md", "tutorials/*", "how-to/*", "reference/*", "explanation/*"]
extensions = ["myst_parser", "sphinx.ext.autodoc", "_generate.extension"]

myst_fence_as_directive = ["mermaid"]
myst_heading_anchors = 4

# Quotes stay straight, so that a reader can copy code out of any text.
smartquotes = False
# The docstrings mark code as Markdown does, `with single marks`.
default_role = "literal"
autodoc_mock_imports = MISSING
autodoc_typehints = "signature"
autodoc_member_order = "bysource"

html_theme = "furo"
html_title = f"Crewgate {release}"
html_copy_source = False
html_css_files = ["crewgate.css"]
html_static_path = ["_static"]
