"""Where commands find the agent, also while somebody edits the configuration."""

from pathlib import Path

import pytest

from crewgate.cli.options import state_of, with_program_name
from crewgate.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "folder"),
    [
        ("oops = 1\n", "state"),
        ('state = "elsewhere"\noops = 1\n', "elsewhere"),
        ("[tool.\n", "state"),
        ("state = 7\n", "state"),
    ],
)
def test_a_mistake_does_not_hide_the_agent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, folder: str
) -> None:
    """`revoke` must work in the midst of an edit; the mistake is told all the same."""
    file = tmp_path / "crewgate.toml"
    file.write_text(text)
    (tmp_path / folder).mkdir()
    assert state_of(file) == tmp_path / folder
    assert "crewgate.toml" in capsys.readouterr().err


def test_without_its_folder_a_mistake_is_an_error(tmp_path: Path) -> None:
    """Nothing was ever served from there, or the file is another."""
    file = tmp_path / "crewgate.toml"
    with pytest.raises(ConfigurationError):
        state_of(file)
    file.write_text("oops = 1\n")
    with pytest.raises(ConfigurationError):
        state_of(file)


def test_each_problem_has_the_program_s_name() -> None:
    """Who looks for its lines among those of others finds all of them."""
    assert with_program_name("a: one\na: two") == "crewgate: a: one\ncrewgate: a: two"
