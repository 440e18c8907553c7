"""Diagrams: Mermaid's text, drawn as SVG while the documents are built.

A reader needs neither a network nor JavaScript, and a mistake in a diagram ends the build. Mermaid
itself draws, in a JavaScript engine that the package `mermaidx` starts: no browser, no Node.js. Its
labels are SVG's own text, in a font as wide as the one that it measures with.
"""

import atexit
import hashlib
import html
import json
import re
from functools import cache
from pathlib import Path

import mermaidx
from docutils import nodes
from mermaidx.engines.v8_engine import Engine, MermaidRenderError
from sphinx.util.docutils import SphinxDirective

# A diagram takes less than a second, unless the machine is very busy. By default, the engine gives
# up after 8 seconds.
_RENDER_MS_MAX = 60_000
_FONT = "DejaVu Sans, Verdana, sans-serif"
# A label hides the lines that it lies on: without this, lines cross the letters.
_STYLE = """
.edgeLabel rect { opacity: 1 !important; fill: white !important; }
.messageText, .loopText, .loopText tspan, .cluster-label text {
  paint-order: stroke; stroke: white !important; stroke-width: 5px; stroke-linejoin: round;
}
"""
_CONFIGURATION = {
    "fontFamily": _FONT,
    "themeVariables": {"fontFamily": _FONT},
    "themeCSS": _STYLE,
    "htmlLabels": False,
    "flowchart": {
        "htmlLabels": False,
        "wrappingWidth": 420,
        "nodeSpacing": 30,
        "rankSpacing": 40,
        "padding": 10,
    },
}
# A page is so wide: a wider diagram is scaled down, and its letters with it.
_PAGE_PIXELS = 880
_BETWEEN_ACTORS = 25
_ACTOR_PIXELS = 110, 340  # a narrower one breaks words, a wider one makes a line too long to read


class Diagram(SphinxDirective):
    """A fenced block `mermaid`: an image that opens in full size."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Draw it, unless an earlier build has."""
        source = "\n".join(self.content)
        configuration = _configuration(source)
        recipe = json.dumps([mermaidx.__version__, configuration, source])
        name = f"diagram-{hashlib.sha256(recipe.encode()).hexdigest()[:16]}.svg"
        path = Path(self.env.app.outdir, "_images", name)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self._draw(source, configuration), encoding="utf-8")
        place = "../" * self.env.docname.count("/") + f"_images/{name}"
        title = html.escape(self._section())
        picture = f'<img src="{place}" alt="Diagram: {title}" width="{_pixels(path)}">'
        link = f'<p class="diagram"><a href="{place}">{picture}</a></p>'
        return [nodes.raw("", link, format="html")]

    def _draw(self, source: str, configuration: dict[str, object]) -> str:
        try:
            return _engine().render_svg(source, "default", configuration, None)
        except MermaidRenderError as error:
            raise self.error(f"Mermaid cannot draw this diagram: {error}") from error

    def _section(self) -> str:
        """The title of the section that the diagram stands in."""
        node = self.state_machine.node
        while not isinstance(node, nodes.section):
            node = node.parent
        return node[0].astext()


@cache
def _engine() -> Engine:
    """Start Mermaid's engine, which draws all diagrams of a build."""
    engine = Engine(render_timeout_ms=_RENDER_MS_MAX)
    engine.start()
    atexit.register(engine.close)
    return engine


def _configuration(source: str) -> dict[str, object]:
    """Return Mermaid's configuration: the actors of a sequence share the width of a page."""
    actors = max(1, source.count("participant "))
    least, most = _ACTOR_PIXELS
    width = max(least, min(most, _PAGE_PIXELS // actors - _BETWEEN_ACTORS))
    sequence = {"wrap": True, "width": width, "actorMargin": _BETWEEN_ACTORS, "diagramMarginX": 10}
    return _CONFIGURATION | {"sequence": sequence}


def _pixels(drawing: Path) -> int:
    """Return the width at which the letters of a drawing have their size."""
    found = re.search(r'viewBox="\S+ \S+ (\S+) ', drawing.read_text(encoding="utf-8"))
    assert found is not None, drawing
    return round(float(found[1]))
