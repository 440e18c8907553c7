"""What a machine states and signs about the lines of a run that it has found in its audit.

A checkpoint signs whole files, so it proves no line without all others, which may be of other
crews. So the machine compares its files with its checkpoints, and signs what it has found: these
lines stood there, as the named checkpoints have signed them, and no others of this run in this
time. To sign each line while calls are made would take the agent two to three times the
work that a checkpoint takes.
"""

import re
from collections.abc import Iterable
from hashlib import sha256
from typing import NamedTuple

import msgspec

from crewgate.audit.checkpoints import signed_line
from crewgate.audit.checkpoints.signing_key import CheckpointKey
from crewgate.audit.query_results import Moment
from crewgate.audit.replay.question import RunLife, RunNames

_CONTEXT = b"crewgate audit extract 1\0"
_LINE, _LINES = b"\0", b"\1"
# In place of the number of a checkpoint.
UNSIGNED, CHANGED = "unsigned", "changed"
COVER = re.compile(rf"[1-9][0-9]{{0,15}}|{UNSIGNED}|{CHANGED}", re.ASCII)


class CoveringCheckpoint(msgspec.Struct, frozen=True, omit_defaults=True):
    """A checkpoint that covers lines: its number, its time, and the SHA-256 of its line in hex.

    `is_left_out`: the line of the checkpoint is too long to stand beside the statement.
    """

    number: int
    time: Moment
    digest: str
    is_left_out: bool = False


class ExtractStatement(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The lines of a run in the audit of one machine, as the machine states it at `time`.

    Attributes:
        machine: The machine's name, if it has one.
        key: The public key of the signature (32 bytes, base64url).
        crew: The crew of the run; empty if the question named none.
        run: The branch whose lines were sought, with those of all branches below it.
        since: The beginning of the range of time, if it has one.
        until: Its end, if it has one.
        made_by: The version of Crewgate that writes the file; empty if an older one has asked.
        names: What the lines name, on all machines that were asked before, as far as it fits. The
            machine sought what hit these, too.
        life: From when to when the run could call, on these machines: it sought within that time.
        lines: The number of lines.
        digest: The `lines_digest` of the lines, in hexadecimal.
        checkpoints: Those that cover lines, by number.
        newest: The number of the newest checkpoint; 0 if there was none.
        unsigned: The number of lines that no checkpoint covers yet.
        changed: The number of lines that are not as a checkpoint has signed their file.
        left_out: The number of younger lines of the run that did not fit.
        left_out_from: The moment of the first of them.
        unreadable: The number of lines that have the id of the run, but are no record.
    """

    time: Moment
    machine: str = ""
    key: str
    crew: str = ""
    run: str
    since: Moment | None = None
    until: Moment | None = None
    made_by: str = ""
    names: RunNames = {}
    life: RunLife | None = None
    lines: int
    digest: str
    checkpoints: list[CoveringCheckpoint] = []
    newest: int = 0
    unsigned: int = 0
    changed: int = 0
    left_out: int = 0
    left_out_from: Moment | None = None
    unreadable: int = 0


class SignedStatement(NamedTuple):
    """A statement, and whether its key has signed it."""

    statement: ExtractStatement
    is_signed: bool


def sign(statement: ExtractStatement, key: CheckpointKey) -> str:
    """Return the signed line of a statement; its `key` must be the public one."""
    return signed_line.sign(_CONTEXT, msgspec.json.encode(statement), key).decode()


def read(line: str) -> SignedStatement:
    """Read a signed line. Raises ValueError if it is no statement."""
    parts = signed_line.split(line.encode())
    try:
        statement = msgspec.json.decode(parts.body, type=ExtractStatement)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    return SignedStatement(statement, parts.is_signed(_CONTEXT, statement.key))


def line_digest(file: str, offset: int, cover: str, line: bytes) -> bytes:
    """Return the SHA-256 of a line with its place, and the checkpoint that covers it."""
    return sha256(_LINE + f"{file}\n{offset}\n{cover}\n".encode() + line).digest()


def lines_digest(digests: Iterable[bytes]) -> str:
    """Return the SHA-256, in hexadecimal, of the digests of all lines in their order."""
    return sha256(_LINES + b"".join(digests)).hexdigest()
