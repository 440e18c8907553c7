from importlib import import_module

import click
import pytest

from crewgate.cli import COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_exists_and_its_summary_is_its_own(name: str) -> None:
    """The table of names that makes `--help` fast says what the commands themselves say."""
    command = import_module(f"crewgate.cli.commands.{name}").command
    assert isinstance(command, click.Command)
    assert command.name == name
    assert (command.help or "").splitlines()[0] == COMMANDS[name]
