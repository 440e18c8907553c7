"""One checkpoint, its line in the log, and its Ed25519 signature (RFC 8032).

A checkpoint is a `signed_line`.
"""

from datetime import datetime
from hashlib import sha256
from typing import NamedTuple

import msgspec

from crewgate.audit.checkpoints import signed_line
from crewgate.audit.checkpoints.signing_key import CheckpointKey

_CONTEXT = b"crewgate audit checkpoint 1\0"


class FileMark(msgspec.Struct, frozen=True, omit_defaults=True):
    """The first `bytes` of an audit file have this SHA-256, in hexadecimal.

    `is_finished`: the process that wrote the file had left it, so nothing may follow.
    """

    name: str
    bytes: int
    sha256: str
    is_finished: bool = False


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the audit files of a machine held at a time.

    Attributes:
        number: Counts the checkpoints of a machine, from 1.
        time: When it was made.
        machine: The machine's name, if it has one.
        key: The public key of the signature (32 bytes, base64url).
        before: The SHA-256 of the line of the checkpoint before; empty for the first.
        is_full: It has all files, and not only those that have changed.
        files: The files that have changed.
        gone: Files of earlier checkpoints that are no longer there.
    """

    number: int
    time: datetime
    machine: str = ""
    key: str
    before: str = ""
    is_full: bool = False
    files: list[FileMark] = []
    gone: list[str] = []


class SignedCheckpoint(NamedTuple):
    """A checkpoint with its line, without a newline, and whether its key has signed it."""

    checkpoint: Checkpoint
    line: bytes
    is_signed: bool

    @property
    def digest(self) -> str:
        """The SHA-256 of the line, in hexadecimal, which the next checkpoint has."""
        return sha256(self.line).hexdigest()


def sign(checkpoint: Checkpoint, key: CheckpointKey) -> bytes:
    """Return the line of a checkpoint, without a newline; its `key` must be the public one."""
    return signed_line.sign(_CONTEXT, msgspec.json.encode(checkpoint), key)


def read(line: bytes) -> SignedCheckpoint:
    """Read a line without its newline. Raises ValueError if it is no checkpoint."""
    parts = signed_line.split(line)
    try:
        checkpoint = msgspec.json.decode(parts.body, type=Checkpoint)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    return SignedCheckpoint(checkpoint, line, parts.is_signed(_CONTEXT, checkpoint.key))
