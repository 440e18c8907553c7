"""The documents of the project, as the tests read them: links, headings and fenced blocks."""

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^(`{3,})([^`\n]*)\n(.*?)^\1$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`]+`")
_LINK = re.compile(r"(?<!\\)\[[^\]]*\]\(([^)\s]+)\)", re.DOTALL)
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
_GENERATED = re.compile(r"^```\{generated\} ([\w.]+)$", re.MULTILINE)


class Block(NamedTuple):
    """A fenced block: its language, its content, the line it begins at, and the prose before it."""

    language: str
    content: str
    line: int
    before: str


def all_documents() -> list[Path]:
    """Every document of the project."""
    below = ("docs", "bench", ".github")
    return sorted(
        [*ROOT.glob("*.md"), *(path for each in below for path in (ROOT / each).rglob("*.md"))]
    )


def blocks(text: str) -> Iterator[Block]:
    """The fenced blocks, from the first to the last."""
    end = 0
    for match in _FENCE.finditer(text):
        info, content = match[2].strip(), match[3]
        yield Block(
            info, content, text.count("\n", 0, match.start()) + 1, text[end : match.start()]
        )
        end = match.end()


def links(text: str) -> list[str]:
    """Where the links of a document lead that are written inline."""
    return _LINK.findall(_CODE.sub("", _FENCE.sub("", text)))


def anchors(path: Path) -> set[str]:
    """The anchors of a document's headings, those of its generated parts included."""
    text = path.read_text(encoding="utf-8")
    generated = [import_module(name).markdown() for name in _GENERATED.findall(text)]
    prose = _FENCE.sub("", "\n".join([text, *generated]))
    found: dict[str, int] = {}
    for title in _HEADING.findall(prose):
        slug = (
            re.sub(r"[^\w\- ]", "", re.sub(r"\\(.)", r"\1", title).lower())
            .strip()
            .replace(" ", "-")
        )
        found[slug] = found.get(slug, -1) + 1
        if found[slug]:
            found[f"{slug}-{found[slug]}"] = 0
    return set(found)
