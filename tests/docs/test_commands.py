"""Each command of the README, of the tutorials and of two how-to pages does what it says."""

import re
from pathlib import Path

import document_session
import pytest
from document_session import Step, shows, steps
from documents import ROOT, all_documents, blocks

TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
README = ROOT / "README.md"
HOW_TO = [
    ROOT / "docs" / "how-to" / name for name in ("embed-behind-hypercorn.md", "test-your-code.md")
]
# A `sleep` that is not the whole body of a loop.
TIMED = re.compile(r"(?<!; do )\bsleep\b|\bsleep\b(?! [\d.]+; done$)", re.MULTILINE)
# Commands that take long, with the test that runs them.
ELSEWHERE = {"make demo": ROOT / "tests" / "e2e" / "demo" / "test_demo.py"}


@pytest.mark.parametrize("document", [README, *TUTORIALS, *HOW_TO], ids=lambda path: path.name)
def test_the_commands_of_a_document_do_what_it_shows(document: Path, tmp_path: Path) -> None:
    """All of them, in their order, in one shell, against a gateway that the document starts."""
    assert document_session.run(document, tmp_path, frozenset(ELSEWHERE))


@pytest.mark.parametrize("document", all_documents(), ids=lambda path: path.name)
def test_no_command_waits_for_a_time(document: Path) -> None:
    """A busy machine needs longer than any `sleep`; a command can wait for a state instead.

    A loop that waits for a state may pause between two looks.
    """
    commands = [each for each in blocks(document.read_text()) if each.language in {"console", "sh"}]
    assert not [each.line for each in commands if TIMED.search(each.content)]


def test_what_is_left_out_is_tested_elsewhere() -> None:
    """A command that no test runs is not left out."""
    assert all(path.exists() for path in ELSEWHERE.values())


def test_commands_are_found_with_what_they_print() -> None:
    """Blocks of other languages are no commands, unless they are saved."""
    text = (
        "```console\n$ one \\\n>   more\n1\n2\n$ two\n```\n```toml\nx = 1\n```\n```sh\na\nb\n```\n"
        "Save it as `x.py`:\n\n```python\nprint()\n```\n```python\nother()\n```\n"
    )
    assert list(steps(text)) == [
        Step(2, "one \\\n  more\n", "1\n2\n"),
        Step(6, "two\n", ""),
        Step(11, "set -e\na\nb\nset +e", None),
        Step(17, "cat > x.py <<'EOF'\nprint()\nEOF", ""),
    ]


@pytest.mark.parametrize(
    ("output", "printed", "is_shown"),
    [
        ("", "", True),
        ("", "surprise", False),
        ("…", "", True),
        ("a … c\n", "a b c\n", True),
        ("a …\n", "a b\nc\n", False),
        ("a\n…\nd\n", "a\nb\nc\nd\n", True),
        ("a\n…\nd\n", "a\nb\nc\n", False),
        ("x  y\n", "x     y  \n", True),
        ("8443: 200\n", "8443: 401\n", False),
        ('{"a.b":"…"}\n', '{"a.b":"c"}', True),
        ('{"a.b":"…"}\n', '{"aXb":"c"}', False),
    ],
)
def test_what_is_printed_is_compared(output: str, printed: str, is_shown: bool) -> None:
    """`…` stands for what differs; all else but blanks must be as shown."""
    assert shows(output, printed) is is_shown


def test_another_output_fails_and_so_does_a_failed_command(tmp_path: Path) -> None:
    """Else the tests above would prove nothing."""
    for number, (content, message) in enumerate(
        {
            "$ echo 1\n2\n": "shows\n2\n\nand prints\n1",
            "$ false\n": "status 1",
            "$ X=3\n$ echo $X\n3\n$ exit 4\n": "ends or stops the shell",
        }.items()
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        document = folder / "page.md"
        document.write_text(f"```console\n{content}```\n")
        with pytest.raises(AssertionError, match=message):
            document_session.run(document, folder)
