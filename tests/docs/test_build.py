"""The documents build without a warning, and a browser needs no network to show them."""

import re
import subprocess
import sys
from pathlib import Path

from documents import ROOT, blocks

PARTS = ("tutorials", "how-to", "reference", "explanation")
# What a browser loads by itself: a script, a style, an image, a font. A link is no such thing.
LOADED = re.compile(r"""(?:src|<link[^>]* href)=["']?https?:|(?:url\(|@import )["']?https?:""")


def test_the_documents_build(tmp_path: Path) -> None:
    """As `make docs` builds them."""
    command = ["-m", "sphinx", "-W", "--keep-going", "-q", "-d", tmp_path / "trees"]
    built = subprocess.run(
        [sys.executable, *command, ROOT / "docs", tmp_path / "html"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    pages = [path for part in PARTS for path in (ROOT / "docs" / part).glob("*.md")]
    html = tmp_path / "html"
    built_pages = [html / path.parent.name / f"{path.stem}.html" for path in pages]
    assert all(path.exists() for path in built_pages)
    loading = [*html.rglob("*.html"), *html.rglob("*.css")]
    assert not [path.name for path in loading if LOADED.search(path.read_text())]
    images = sum(path.read_text().count('<img src="../_images/diagram-') for path in built_pages)
    fenced = [block for path in pages for block in blocks(path.read_text())]
    assert images == sum(block.language == "mermaid" for block in fenced)
