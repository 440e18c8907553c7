"""Where commands find the agent, also while somebody edits the configuration."""

from pathlib import Path

import pytest
from cli_runner import Run

from crewgate.cli.options import state_of, with_program_name
from crewgate.config import load
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
    lines = capsys.readouterr().err.splitlines()
    assert "crewgate.toml" in lines[0]
    assert lines[-1] == (
        "crewgate: the configuration has mistakes; asking the running gateway in "
        f"{tmp_path / folder} all the same"
    )


def test_without_its_folder_a_mistake_is_an_error(tmp_path: Path) -> None:
    """Nothing was ever served from there, or the file is another."""
    file = tmp_path / "crewgate.toml"
    with pytest.raises(ConfigurationError):
        state_of(file)
    file.write_text("oops = 1\n")
    with pytest.raises(ConfigurationError):
        state_of(file)


@pytest.mark.parametrize("command", ["status", "revoke"])
def test_a_file_that_is_not_there_is_an_error(run: Run, fresh: Path, command: str) -> None:
    """Its name may be mistyped: the state folder beside it is of another file."""
    load(fresh).state.mkdir(exist_ok=True)
    file = fresh.with_name("nothing.toml")
    branch = ["0199c1d2-0000-7000-8000-000000000001"] if command == "revoke" else []
    result = run(command, "-c", file, *branch)
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"crewgate: {file}: cannot be read (No such file or directory)")


def test_each_problem_has_the_program_s_name() -> None:
    """Who looks for its lines among those of others finds all of them."""
    assert with_program_name("a: one\na: two") == "crewgate: a: one\ncrewgate: a: two"
