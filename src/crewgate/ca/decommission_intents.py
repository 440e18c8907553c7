"""Orchestrators that are to be ended, on the disk from before the first step until after the last.

The register knows of certificates alone; that all tokens of an orchestrator are to die would be
forgotten with the process that was told so. A file each, in the CA's folder. Knows no step. Blocks.
"""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from crewgate.ca.key_files import PRIVATE, write_file
from crewgate.errors import AuthorityError
from crewgate.runtime.durable_files import cause, describe, make_folder, remove_file

_FOLDER = "ending"
_SUFFIX = ".json"


class DecommissionIntent(msgspec.Struct, frozen=True):
    """Revoke what `crew`/`name` has; `since` is when that was asked for (seconds, wall clock)."""

    crew: str
    name: str
    reason: str
    since: int


def intent_files(folder: Path) -> list[Path]:
    """Those in `folder`, a CA's, whether or not they can be read. OSError."""
    return sorted((folder / _FOLDER).glob(f"*{_SUFFIX}"))


class DecommissionIntents:
    """Those in `folder`; every method may raise AuthorityError."""

    def __init__(self, folder: Path) -> None:
        self._above = folder
        self._folder = folder / _FOLDER

    def __repr__(self) -> str:
        return f"<Intents in {self._folder}>"

    def note(self, intent: DecommissionIntent) -> None:
        """Write one down, through to the disk."""
        path = self._path(intent)
        try:
            make_folder(self._folder, 0o700)
        except OSError as error:
            raise AuthorityError(f"{path}: cannot be written: {cause(error)}") from error
        write_file(path, msgspec.json.encode(intent), PRIVATE, replace=True)

    def done(self, intent: DecommissionIntent) -> None:
        """All steps were made."""
        try:
            remove_file(self._path(intent))
        except OSError as error:
            raise AuthorityError(describe(error)) from error

    def open(self) -> Iterator[DecommissionIntent]:
        """Those that nobody has completed; then AuthorityError for a file that is none."""
        try:
            paths = intent_files(self._above)
            texts = [path.read_bytes() for path in paths]
        except OSError as error:
            raise AuthorityError(describe(error, self._folder)) from error
        damaged = []
        for path, text in zip(paths, texts, strict=True):
            try:
                intent = msgspec.json.decode(text, type=DecommissionIntent)
            except msgspec.DecodeError:
                damaged.append(str(path))
            else:
                yield intent
        if damaged:
            raise AuthorityError(f"{', '.join(damaged)}: not an intent; look what it is")

    def _path(self, intent: DecommissionIntent) -> Path:
        # Names have no "+" (core/x509/identity).
        return self._folder / f"{intent.crew}+{intent.name}{_SUFFIX}"
