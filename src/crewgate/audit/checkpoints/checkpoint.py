"""One checkpoint, its line in the log, and its Ed25519 signature (RFC 8032).

A line is a JSON object whose last member is the signature of all before it. It is signed as it
stands there, so that no reader has to encode it in the same way.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime
from hashlib import sha256
from typing import NamedTuple

import msgspec
from nacl.bindings import crypto_sign, crypto_sign_BYTES, crypto_sign_open
from nacl.exceptions import BadSignatureError

from crewgate.audit.checkpoints.signing_key import CheckpointKey

_CONTEXT = b"crewgate audit checkpoint 1\0"
_MEMBER = b',"signature":"'
_SIGNATURE = re.compile(rb"[A-Za-z0-9_-]{86}", re.ASCII)


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
    body = msgspec.json.encode(checkpoint)
    signature = crypto_sign(_CONTEXT + body, key.signing)[:crypto_sign_BYTES]
    return body[:-1] + _MEMBER + urlsafe_b64encode(signature).rstrip(b"=") + b'"}'


def read(line: bytes) -> SignedCheckpoint:
    """Read a line without its newline. Raises ValueError if it is no checkpoint."""
    body, found, rest = line.rpartition(_MEMBER)
    signature = rest.removesuffix(b'"}')
    if not found or len(rest) - len(signature) != len(b'"}') or not _SIGNATURE.fullmatch(signature):
        raise ValueError("it has no signature")
    try:
        checkpoint = msgspec.json.decode(body + b"}", type=Checkpoint)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    return SignedCheckpoint(checkpoint, line, _is_signed(body + b"}", signature, checkpoint.key))


def _is_signed(body: bytes, signature: bytes, key: str) -> bool:
    try:
        public = urlsafe_b64decode(key + "=")
        crypto_sign_open(urlsafe_b64decode(signature + b"==") + _CONTEXT + body, public)
    except (BadSignatureError, ValueError):
        return False
    return True
