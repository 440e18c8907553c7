"""Keeps on disk how far the records of the audit were sent, one file for each channel."""

import logging
from pathlib import Path
from typing import Annotated, Generic, TypeVar

import msgspec
from msgspec import Meta

from crewgate.audit.file_progress import AuditPosition
from crewgate.runtime.durable_files import describe, make_folder, write_file

_log = logging.getLogger(__name__)


class ExportPosition(AuditPosition):
    """Of one channel: what its receiver has, and how many records the receiver refused."""

    refused: Annotated[int, Meta(ge=0)] = 0


Position = TypeVar("Position", bound=AuditPosition)


class PositionFile(Generic[Position]):
    """The file of one channel, which has a position of one type. Blocks.

    `effect` is what follows if it is lost, for the log.
    """

    def __init__(
        self, path: Path, kind: type[Position], effect: str = "the whole audit is sent again"
    ) -> None:
        self._path = path
        self._kind = kind
        self._effect = effect

    def load(self) -> Position:
        """Return the saved position; without a usable file, the beginning of the audit."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=self._kind)
        except FileNotFoundError:
            return self._kind()
        except OSError as error:
            why = describe(error, self._path)
        except (msgspec.DecodeError, RecursionError) as error:
            why = f"{self._path}: {error}"
        _log.warning("the position is lost, so %s: %s", self._effect, why)
        return self._kind()

    def save(self, position: Position) -> None:
        """Replace the saved position durably. Raises OSError."""
        make_folder(self._path.parent, 0o700, parents=True)
        write_file(self._path, msgspec.json.encode(position), 0o600)
