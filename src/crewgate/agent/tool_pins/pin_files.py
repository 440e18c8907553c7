"""The files with the pins: one JSON document for each MCP endpoint, in the state folder.

A file is as it was before a write or as it is after, also after a power loss. If a file is damaged,
the agent must not trust the server's present tools in its place: `read` raises an error.
"""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from crewgate import limits
from crewgate.core.mcp.pins import endpoint_pins
from crewgate.core.mcp.pins.endpoint_pins import SavedPins
from crewgate.errors import PinFileError
from crewgate.runtime.durable_files import describe, make_folder, write_files

_decode = msgspec.json.Decoder(SavedPins).decode
_encode = msgspec.json.Encoder().encode


class PinFiles:
    """The files in `folder`; the name of each is that of its endpoint."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, endpoint: str) -> Path:
        """Return the path of the file of an endpoint."""
        return self._folder / f"{endpoint}.json"

    def read(self, endpoint: str) -> SavedPins | None:
        """Return what the file has; None if there is no file. Raises PinFileError."""
        path = self.path(endpoint)
        try:
            with path.open("rb") as file:
                text = file.read(limits.mcp_pins_file_bytes_max + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise PinFileError(describe(error, path)) from error
        if len(text) > limits.mcp_pins_file_bytes_max:
            raise PinFileError(f"{path}: more than {limits.mcp_pins_file_bytes_max} bytes")
        try:
            saved = _decode(text)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise PinFileError(f"{path}: damaged: {error}") from error
        if saved.version != endpoint_pins.VERSION:
            raise PinFileError(f"{path}: written by another version of Crewgate")
        return saved

    def encode(self, saved: Mapping[str, SavedPins]) -> dict[Path, bytes]:
        """Return the content of the files of some endpoints."""
        return {self.path(endpoint): _encode(pins) for endpoint, pins in saved.items()}

    def write(self, contents: Mapping[Path, bytes]) -> None:
        """Write the files that `encode` returned; call it in a thread. Raises OSError."""
        make_folder(self._folder, 0o700)
        write_files(contents, 0o600)
