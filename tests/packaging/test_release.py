"""What a release shows: one version everywhere, and a workflow whose parts do not change."""

import re
from pathlib import Path

import pytest

import crewgate

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


@pytest.mark.parametrize(
    ("page", "shown"),
    [
        ("README.md", "This is version {}:"),
        ("docs/tutorials/first-gateway.md", "crewgate, version {}\n"),
        ("CHANGELOG.md", "\n## [{}] - 20"),
    ],
)
def test_a_page_shows_the_version_of_the_code(page: str, shown: str) -> None:
    """pyproject.toml reads the version from the package; these pages are written by hand."""
    assert shown.format(crewgate.__version__) in (ROOT / page).read_text()


def test_each_action_is_one_commit() -> None:
    """A workflow that publishes runs the code of others, and they can move a tag."""
    used = [
        action
        for workflow in WORKFLOWS
        for action in re.findall(r"uses: (.+)", workflow.read_text())
    ]
    assert used
    pinned = re.compile(r"\S+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
    assert not [action for action in used if not pinned.fullmatch(action)]


@pytest.mark.parametrize("folder", ["wheels", "release"])
def test_the_tools_of_a_release_are_known_byte_for_byte(folder: str) -> None:
    """A file that is added to a version on PyPI later is not installed."""
    asked, made = (
        (ROOT / "deploy" / folder / f"requirements.{end}").read_text() for end in ("in", "txt")
    )
    names = re.compile(r"^([A-Za-z0-9_-]+==\S+)", re.MULTILINE)
    found = {each.lower().replace("_", "-") for each in names.findall(made)}
    assert {each.lower().replace("_", "-") for each in names.findall(asked)} <= found
    assert len(re.findall(r"^\S+==\S+ \\\n    --hash=sha256:[0-9a-f]{64}", made, re.MULTILINE)) == (
        len(found)
    )
