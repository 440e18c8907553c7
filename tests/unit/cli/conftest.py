"""Commands run in this process, and one folder that `crewgate init` wrote."""

from pathlib import Path

import pytest
from cli_runner import Run
from click.testing import CliRunner, Result

from crewgate.cli import main


@pytest.fixture
def run() -> Run:
    """Runs `crewgate` with arguments (and text on standard input) and gives what came of it."""

    def run_command(*arguments: object, stdin: str | None = None) -> Result:
        return CliRunner().invoke(main, [str(argument) for argument in arguments], input=stdin)

    return run_command


@pytest.fixture
def fresh(tmp_path: Path, run: Run) -> Path:
    """The configuration of a folder that was just made."""
    result = run("init", tmp_path / "crew gate", "--port", 9000)
    assert result.exit_code == 0, result.output
    return tmp_path / "crew gate" / "crewgate.toml"


@pytest.fixture
def mint(fresh: Path, run: Run) -> Run:
    """Mints for the crew of the fresh folder; further options may be given."""

    def mint_token(*options: object) -> Result:
        given = ("-c", fresh, "--crew", "article", "--role", "researcher")
        return run("mint", *given, "--tools", "search.*", "--credits", "2.50", *options)

    return mint_token
