"""Says why the file of a secret cannot be read, and never shows what may be the secret itself.

A person may write a secret where the configuration expects the name of its file. Then no file has
this name. So an error shows a name only if the file is there.
"""

import errno
from pathlib import Path
from typing import Final

from crewgate.runtime.durable_files import mend_of, reason_at

# The last two: a secret with a slash behind the name of a file, and a long secret.
_NO_FILE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG})


def unreadable(path: Path, error: OSError) -> str:
    """Return why `path` cannot be read, and what to do. `error` comes from the attempt."""
    why, mend = why_unreadable(path, error)
    return f"{why}; {mend}" if mend else why


def why_unreadable(path: Path, error: OSError) -> tuple[str, str]:
    """Return the two parts of `unreadable`; the second one is empty if nobody knows what to do."""
    if error.errno not in _NO_FILE:
        return reason_at(error, path), mend_of(error)
    why = (
        f"no file below {_nearest_folder(path)} has the configured name, which is not shown: it "
        "may be the secret itself"
    )
    return why, "put the secret into a file, and write the name of the file"


def shown_path(path: Path) -> str:
    """Return the path of a secret's file if there is one; else the nearest folder that exists."""
    try:
        path.stat()
    except OSError as error:
        if error.errno in _NO_FILE:
            return f"a file below {_nearest_folder(path)}"
    return str(path)


def _nearest_folder(path: Path) -> Path:
    for folder in path.parents:
        try:
            if folder.is_dir():
                return folder
        except OSError:
            continue
    return Path("/")
