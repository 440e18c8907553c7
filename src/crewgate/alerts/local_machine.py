"""The machine whose alerts this process sends, and the commands that its alerts name."""

import socket
from pathlib import Path
from shlex import quote

import msgspec

from crewgate.config import Config
from crewgate.core.cross_crew_accounts import caller


class LocalMachine(msgspec.Struct, frozen=True):
    """This machine. `path` is its configuration file, and `state` its state folder.

    `page` is the URL of its live page; empty without one.
    """

    name: str
    path: Path
    state: Path
    page: str = ""

    def command(self, name: str, *arguments: str) -> str:
        """Return a command line, such as `crewgate tree -c FILE` for the name "tree"."""
        return " ".join(["crewgate", name, "-c", *map(quote, (str(self.path), *arguments))])

    def revoke_command(self, branch: str, crew: str) -> str:
        """Return the command that ends a branch: of this crew, since others can have its id."""
        of_crew = ("--crew", caller(crew)) if crew else ()
        return self.command("revoke", *of_crew, branch)


def local_machine(config: Config) -> LocalMachine:
    """Return this machine as its alerts name it."""
    page = config.ui.url if config.ui is not None else ""
    return LocalMachine(config.name or socket.gethostname(), config.path, config.state, page)
