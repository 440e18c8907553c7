"""What a document or a comment points to is there."""

import re
from pathlib import Path

import pytest
from documents import ROOT, all_documents, anchors, links

README_LINES_MAX = 200
# A path of a source file or a document, as comments and pages cite it.
PATH = re.compile(
    r"(?<![\w./~<>{}$-])((?:\.\.?/)*[\w.-]+(?:/[\w.-]+)+\.(?:pyx|pyi|pxd|py|h|c|md)|[A-Z]{3,}\.md)\b"
)
# From where such a path leads, besides the folder of the file that cites it.
FROM = ("", "src", "ext", "src/crewgate", "ext/crewgate", "tests", "tests/unit", "tests/e2e")
OF_OTHERS = {"include/linux/posix-timers.h"}  # of Linux
CITING = {".py", ".pyx", ".pxd", ".pyi", ".h", ".c", ".toml", ".md"}


def name(path: Path) -> str:
    """A path as a reader of the failure wants it."""
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("document", all_documents(), ids=name)
def test_every_link_leads_to_a_file_and_a_heading(document: Path) -> None:
    """Links to the network are not followed."""
    broken = []
    for link in links(document.read_text()):
        if re.match(r"https?:|mailto:", link):
            continue
        place, _, anchor = link.partition("#")
        target = document.parent / place if place else document
        is_there = target.exists() and (not anchor or anchor in anchors(target))
        if not is_there:
            broken.append(link)
    assert not broken


def test_no_file_cites_a_path_that_is_not_in_the_project() -> None:
    """Neither a document that was never here, nor a module that has moved."""
    tops = ("src", "ext", "tests", "bench", "fuzz", "docs")
    files = [*ROOT.glob("*"), *(path for top in tops for path in (ROOT / top).rglob("*"))]
    lost = []
    for path in files:
        if path.suffix not in CITING or not path.is_file():
            continue
        bases = [path.parent, *(ROOT / each for each in FROM)]
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            lost += [
                f"{name(path)}:{number}: {cited}"
                for cited in PATH.findall(line)
                if cited not in OF_OTHERS and not any((base / cited).exists() for base in bases)
            ]
    assert not lost


def test_every_test_that_a_document_names_is_there() -> None:
    """A page that proves a promise by a test names one that runs."""
    lost = [
        f"{name(document)}: {file}::{test}"
        for document in all_documents()
        for file, test in re.findall(r"(tests/[\w/.]+\.py)::(\w+)", document.read_text())
        if f"def {test}(" not in (ROOT / file).read_text()
    ]
    assert not lost


def test_the_readme_is_short() -> None:
    """What does not fit is in the documents."""
    assert len((ROOT / "README.md").read_text().splitlines()) <= README_LINES_MAX
