"""Removes keys from a crew's JWKS file.

The file is replaced atomically, with its owner and mode. Gateways watch it and apply the change
within a second. The caller decides which keys go.
"""

import json
from collections.abc import Collection
from pathlib import Path

from crewgate import limits
from crewgate.ca.key_files import write_file
from crewgate.errors import CAError


def remove_keys(path: Path, kids: Collection[str]) -> None:
    """Remove the keys of these key ids from a file. Blocks.

    Raises CAError, which says what to do by hand.
    """
    # A symbolic link to the file stays a link.
    path = path.resolve()
    try:
        with path.open("rb") as stream:
            data = stream.read(limits.jwks_bytes_max + 1)
        status = path.stat()
        document = json.loads(data)
        document["keys"] = [key for key in document["keys"] if key.get("kid") not in kids]
        text = json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n"
        owner = (status.st_uid, status.st_gid)
        write_file(path, text, status.st_mode & 0o777, replace=True, owner=owner)
    except (OSError, ValueError, TypeError, AttributeError, KeyError, CAError) as error:
        raise CAError(
            f"{path}: cannot remove the keys {', '.join(sorted(kids))} of a decommissioned "
            f"orchestrator ({error}); remove them by hand"
        ) from error
