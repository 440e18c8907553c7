"""The default folder of an orchestrator's socket.

Its name has the instance, so that a process that completes the decommission after a supervisor was
killed can find and remove it.
"""

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from crewgate.runtime.cleanup import lent

DOOR = "gateway.sock"


def socket_dir(instance: bytes) -> Path:
    """Return the path of the folder of an instance; it is short, and nobody can guess it."""
    own = Path("/run") if os.geteuid() == 0 else Path(os.environ.get("XDG_RUNTIME_DIR", ""))
    is_usable = own.is_absolute() and os.access(own, os.W_OK | os.X_OK)
    return (own if is_usable else Path(tempfile.gettempdir())) / f"crewgate-{instance.hex()}"


def remove_socket_dir(instance: bytes) -> None:
    """Remove the folder and its socket, if they exist; keep the folder if it has other files."""
    folder = socket_dir(instance)
    with suppress(OSError):
        # Use its descriptor: the folder belongs to the user of CMD, who could replace it by a link.
        flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        with lent(os.open(folder, flags)) as descriptor, suppress(FileNotFoundError):
            os.unlink(DOOR, dir_fd=descriptor)
        folder.rmdir()
