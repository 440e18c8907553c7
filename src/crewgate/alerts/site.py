"""Where the alerts of a process come from: the machine, and the configuration for commands."""

from pathlib import Path
from shlex import quote

import msgspec


class Site(msgspec.Struct, frozen=True):
    """One machine. `path` is its configuration file, and `state` its state folder."""

    machine: str
    path: Path
    state: Path

    def command(self, name: str, *arguments: str) -> str:
        """Return a command line, such as `crewgate tree -c FILE` for the name "tree"."""
        return " ".join(["crewgate", name, "-c", *map(quote, (str(self.path), *arguments))])
