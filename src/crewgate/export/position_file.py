"""Keeps on disk how far the records of the audit were sent, one file for each channel."""

import logging
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from crewgate.runtime.durable_files import describe, make_folder, write_file

_log = logging.getLogger(__name__)
_Count = Annotated[int, Meta(ge=0)]


class FilePosition(msgspec.Struct):
    """Of one audit file: the bytes that a receiver has, and the bytes that were last seen."""

    offset: _Count = 0
    size: _Count = 0


class ExportPosition(msgspec.Struct):
    """Of one channel: the position in each audit file by its name, and what was never sent.

    `lost_files` files were deleted before all was sent; `lost_bytes` counts at least what they had.
    The receiver refused `refused` records.
    """

    files: dict[str, FilePosition] = {}
    lost_bytes: _Count = 0
    lost_files: _Count = 0
    refused: _Count = 0


class PositionFile:
    """The file of one channel. Blocks."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> ExportPosition:
        """Return the saved position; without a usable file, the beginning of the audit."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=ExportPosition)
        except FileNotFoundError:
            return ExportPosition()
        except OSError as error:
            why = describe(error, self._path)
        except (msgspec.DecodeError, RecursionError) as error:
            why = f"{self._path}: {error}"
        _log.warning("the position is lost, so the whole audit is sent again: %s", why)
        return ExportPosition()

    def save(self, position: ExportPosition) -> None:
        """Replace the saved position durably. Raises OSError."""
        make_folder(self._path.parent, 0o700, parents=True)
        write_file(self._path, msgspec.json.encode(position), 0o600)
