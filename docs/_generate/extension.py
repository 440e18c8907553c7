"""The Sphinx extension that puts generated reference and diagrams into the pages.

A page of `reference/` has an introduction and the directive `{generated} MODULE`. In the place of
the directive, Sphinx shows the Markdown that the function `markdown()` of the module returns. Its
headings are of the second level. The function needs no Sphinx, so that the tests can call it too.
"""

from importlib import import_module
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from _generate import docstrings
from _generate.diagrams import Diagram


class Generated(SphinxDirective):
    """The Markdown that a module writes."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Its sections, below the section of the page."""
        module = import_module(self.arguments[0])
        return self.parse_text_to_nodes(module.markdown(), allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, Any]:
    """What Sphinx calls first."""
    app.add_directive("generated", Generated)
    app.add_directive("mermaid", Diagram)
    docstrings.describe_native("crewgate")
    app.connect("autodoc-process-docstring", docstrings.convert)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
