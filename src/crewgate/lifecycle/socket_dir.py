"""The folder of an orchestrator's door, where nobody chose one.

Named by the instance, so that whoever completes the end of a killed supervisor finds it and takes
it away. Refuses to know who may enter.
"""

import os
import tempfile
from contextlib import suppress
from pathlib import Path

DOOR = "gateway.sock"


def socket_dir(instance: bytes) -> Path:
    """Where sockets of a boot live; the name cannot be guessed, and is short."""
    own = Path("/run") if os.geteuid() == 0 else Path(os.environ.get("XDG_RUNTIME_DIR", ""))
    is_usable = own.is_absolute() and os.access(own, os.W_OK | os.X_OK)
    return (own if is_usable else Path(tempfile.gettempdir())) / f"crewgate-{instance.hex()}"


def remove_socket_dir(instance: bytes) -> None:
    """Take it away with its door, if it is there; whatever else is in it stays."""
    folder = socket_dir(instance)
    with suppress(OSError):
        # By its descriptor: it is CMD's user's, who could put a link in its place.
        descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            with suppress(FileNotFoundError):
                os.unlink(DOOR, dir_fd=descriptor)
        finally:
            os.close(descriptor)
        folder.rmdir()
