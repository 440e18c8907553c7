"""Checks whether the state folder can be created or written, and leaves nothing behind."""

from collections.abc import Iterator
from tempfile import TemporaryDirectory

from crewgate.config import Config


def state_folder_errors(config: Config) -> Iterator[str]:
    """Yield why this user cannot create the state folder, or cannot write to it.

    Some file systems, such as /proc, refuse new files to root as well, so only an attempt shows it.
    """
    state, verb = config.state, "create"
    try:
        folder = next(each for each in (state, *state.parents) if each.exists())
        verb = "write to" if folder == state else "create"
        with TemporaryDirectory(prefix=".crewgate-check-", dir=folder):
            pass
    except OSError as error:
        yield (
            f"state: {state}: this user cannot {verb} this folder ({error.strerror}); allow it, or "
            "name another folder"
        )
