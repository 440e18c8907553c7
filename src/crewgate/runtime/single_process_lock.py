"""A lock that lets one process at a time work with a folder."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crewgate.errors import ConfigurationError
from crewgate.runtime.cleanup import lent
from crewgate.runtime.durable_files import make_folder, open_to_append


@contextmanager
def only_one(folder: Path, name: str) -> Iterator[None]:
    """Hold the lock of the process `name` in a folder, which is made. Raises ConfigurationError."""
    make_folder(folder, 0o700, parents=True)
    path = folder / f"{name}.lock"
    with lent(open_to_append(path, 0o600)) as descriptor:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigurationError(
                f"{path}: another {name} process of this gateway runs, perhaps that of "
                "`crewgate serve`; end it first"
            ) from error
        yield
