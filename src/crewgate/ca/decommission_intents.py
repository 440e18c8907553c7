"""Records on disk which orchestrators must be decommissioned, until all steps are done.

The register records only certificates. Without these files, a crash would lose the order to revoke
all tokens of an orchestrator. Each intent is one file in the CA's folder. All methods block.
"""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from crewgate.ca.key_files import PRIVATE, write_file
from crewgate.errors import CAError
from crewgate.runtime.durable_files import cause, describe, make_folder, remove_file

_FOLDER = "ending"
_SUFFIX = ".json"


class DecommissionIntent(msgspec.Struct, frozen=True):
    """The order, given at `since` (seconds since the epoch), to decommission `crew`/`name`."""

    crew: str
    name: str
    reason: str
    since: int


def intent_files(folder: Path) -> list[Path]:
    """Return the files of the intents in a CA's `folder`, also unreadable ones. Raises OSError."""
    return sorted((folder / _FOLDER).glob(f"*{_SUFFIX}"))


class DecommissionIntents:
    """The intents in a CA's `folder`. Each method may raise CAError."""

    def __init__(self, folder: Path) -> None:
        self._ca_folder = folder
        self._folder = folder / _FOLDER

    def note(self, intent: DecommissionIntent) -> None:
        """Write an intent durably, or replace the orchestrator's earlier one."""
        path = self._path(intent)
        try:
            make_folder(self._folder, 0o700)
        except OSError as error:
            raise CAError(f"{path}: cannot be written: {cause(error)}") from error
        write_file(path, msgspec.json.encode(intent), PRIVATE, replace=True)

    def done(self, intent: DecommissionIntent) -> None:
        """Remove an intent after its last step."""
        try:
            remove_file(self._path(intent))
        except OSError as error:
            raise CAError(describe(error)) from error

    def open(self) -> Iterator[DecommissionIntent]:
        """Yield the intents; at the end, raise CAError if a file is not an intent."""
        try:
            paths = intent_files(self._ca_folder)
            texts = [path.read_bytes() for path in paths]
        except OSError as error:
            raise CAError(describe(error, self._folder)) from error
        damaged = []
        for path, text in zip(paths, texts, strict=True):
            try:
                intent = msgspec.json.decode(text, type=DecommissionIntent)
            except msgspec.DecodeError:
                damaged.append(str(path))
            else:
                yield intent
        if damaged:
            raise CAError(
                f"{', '.join(damaged)}: not a decommission intent; decommission the orchestrator "
                "in the file name (CREW+NAME) again, or remove the file"
            )

    def _path(self, intent: DecommissionIntent) -> Path:
        # Names of crews and orchestrators have no "+" (core/x509/identity_extension).
        return self._folder / f"{intent.crew}+{intent.name}{_SUFFIX}"
