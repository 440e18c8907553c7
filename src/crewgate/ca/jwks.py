"""Keys leave a crew's JWKS: the file is replaced in one step, and keeps its owner and mode.

Decides nothing about which keys those are. Gateways watch the file and follow within a second.
"""

import json
from collections.abc import Collection
from pathlib import Path

from crewgate import limits
from crewgate.ca.key_files import write_file
from crewgate.errors import AuthorityError


def remove_keys(path: Path, kids: Collection[str]) -> None:
    """Take the keys of these names out; AuthorityError, with what to do by hand. Blocks."""
    path = path.resolve()  # a link to the file stays one
    try:
        with path.open("rb") as stream:
            data = stream.read(limits.jwks_bytes_max + 1)
        status = path.stat()
        document = json.loads(data)
        document["keys"] = [key for key in document["keys"] if key.get("kid") not in kids]
        text = json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n"
        owner = (status.st_uid, status.st_gid)
        write_file(path, text, status.st_mode & 0o777, replace=True, owner=owner)
    except (OSError, ValueError, TypeError, AttributeError, KeyError, AuthorityError) as error:
        raise AuthorityError(
            f"{path}: the keys {', '.join(sorted(kids))} of an orchestrator that has ended cannot "
            f"be taken out ({error}); take them out by hand"
        ) from error
