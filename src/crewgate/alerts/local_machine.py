"""The machine whose alerts this process sends, and the commands that its alerts name."""

from pathlib import Path
from shlex import quote

import msgspec


class LocalMachine(msgspec.Struct, frozen=True):
    """This machine. `path` is its configuration file, and `state` its state folder."""

    name: str
    path: Path
    state: Path

    def command(self, name: str, *arguments: str) -> str:
        """Return a command line, such as `crewgate tree -c FILE` for the name "tree"."""
        return " ".join(["crewgate", name, "-c", *map(quote, (str(self.path), *arguments))])
