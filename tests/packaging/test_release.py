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
        ("README.md", "This is version {}."),
        ("docs/tutorials/first-gateway.md", "crewgate, version {}\n"),
        ("CHANGELOG.md", "\n## [{}] - 20"),
    ],
)
def test_a_page_shows_the_version_of_the_code(page: str, shown: str) -> None:
    """pyproject.toml reads the version from the package; these pages are written by hand."""
    assert shown.format(crewgate.__version__) in (ROOT / page).read_text()


def test_each_action_is_of_one_release() -> None:
    """A workflow that publishes runs the code of others in the versions that it names."""
    used = [
        action
        for workflow in WORKFLOWS
        for action in re.findall(r"uses: (\S+)", workflow.read_text())
    ]
    assert used
    assert not [action for action in used if not re.fullmatch(r"\S+@v\d+\.\d+\.\d+", action)]
