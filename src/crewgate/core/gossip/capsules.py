"""Capsules: up to 24 revocations that one origin signed together, in one form and no other.

Knows how they are written and read, and what is signed. Keys, clocks, and who may originate are
others' business.

    id: origin 8, epoch 8, number 4 | created 5 | previous 16 | entries 43 each | signature 64

`previous` is a digest of the capsule before it in its line, and zero in the first
(`capsule_verification`). An entry is kind 1, key 16, crew 16, before 5, expires 5. Numbers are
big-endian, times whole seconds since 1970. How many entries there are is told by the length.
"""

import struct
from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from crewgate import limits
from crewgate.errors import GossipError

ID_BYTES = 20
MEMBER_BYTES = EPOCH_BYTES = 8
LINE_BYTES = MEMBER_BYTES + EPOCH_BYTES
SIGNATURE_BYTES = 64
TIME_BYTES = 5
# To have another capsule taken for one that is named takes a second preimage, 2**128 tries: whoever
# signs could make two that collide, and may sign both anyway.
PREVIOUS_BYTES = 16
NONE = bytes(PREVIOUS_BYTES)  # before the first
# Kinds of entries that are no `core.ids.Kind`: of an orchestrator, by its key, as of `before`.
QUARANTINE = 128  # a person has it: no new grants of it are admitted until the entry expires
LIFT = 129  # a quarantine of before is over
SUSPICION = 130  # the same as a quarantine by a watch, for crews that are watched in that mode
_CREATED_BYTES = ID_BYTES + TIME_BYTES
_HEAD_BYTES = _CREATED_BYTES + PREVIOUS_BYTES
_ENTRY = struct.Struct(">B16s16s5s5s")
ENTRY_BYTES = _ENTRY.size
LEAST_BYTES = _HEAD_BYTES + SIGNATURE_BYTES  # of a capsule without entries, which is none
_CONTEXT = b"crewgate capsule 1\0"


class RevocationEntry(NamedTuple):
    """One revocation: what was issued by `before` under `key` is dead until `expires`.

    `kind` is a `core.ids.Kind`, QUARANTINE, LIFT or SUSPICION, or one of a later version, which is
    passed on and not applied.
    `crew` is the key of the crew whose share of the table it takes.
    """

    kind: int
    key: bytes
    crew: bytes
    before: int
    expires: int


class Capsule(msgspec.Struct, frozen=True, gc=False):
    """A capsule as it was signed: `raw` is all of it, and the rest is read out of it.

    `line` is origin and epoch together, in which `number` counts from 1 without a gap.
    """

    raw: bytes
    created: int
    entries: tuple[RevocationEntry, ...]

    @property
    def id(self) -> bytes:
        """20 bytes; two capsules of one id are equal, or their origin lies."""
        return self.raw[:ID_BYTES]

    @property
    def origin(self) -> bytes:
        """The member that signed it, 8 bytes."""
        return self.raw[:MEMBER_BYTES]

    @property
    def line(self) -> bytes:
        """Origin and epoch, 16 bytes."""
        return self.raw[:LINE_BYTES]

    @property
    def number(self) -> int:
        """Its place in its line, from 1."""
        return number_of(self.raw)

    @property
    def signature(self) -> bytes:
        """Ed25519 (RFC 8032), of `signed`."""
        return self.raw[-SIGNATURE_BYTES:]

    @property
    def expires(self) -> int:
        """When the last of its entries does."""
        return max(entry.expires for entry in self.entries)

    def signed(self, cluster: bytes) -> bytes:
        """What the origin signs: a capsule of one cluster (16 bytes) is none of another."""
        return _CONTEXT + cluster + self.raw[:-SIGNATURE_BYTES]


def number_of(raw: bytes) -> int:
    """The number in an id, or in what begins with one."""
    return int.from_bytes(raw[ID_BYTES - 4 : ID_BYTES])


def digest_of(raw: bytes) -> bytes:
    """What the next capsule of the line names it by, BLAKE2b (RFC 7693)."""
    return blake2b(raw, digest_size=PREVIOUS_BYTES).digest()


def previous_of(raw: bytes) -> bytes:
    """What a capsule names: `digest_of` the one before it, or `NONE`."""
    return raw[_CREATED_BYTES:_HEAD_BYTES]


def expires_of(raw: bytes) -> int:
    """When the last entry of a capsule expires, by its bytes."""
    ends = range(_HEAD_BYTES + ENTRY_BYTES, len(raw) - SIGNATURE_BYTES + 1, ENTRY_BYTES)
    return int.from_bytes(max(raw[end - TIME_BYTES : end] for end in ends))


def capsule_id(line: bytes, number: int) -> bytes:
    """The id of one capsule of a line."""
    return line + number.to_bytes(4)


def unsigned(
    line: bytes,
    number: int,
    created: int,
    entries: Sequence[RevocationEntry],
    previous: bytes = NONE,
) -> Capsule:
    """A capsule whose signature is all zero, to be `seal`ed; ValueError for what is none."""
    body = b"".join(
        _ENTRY.pack(each.kind, each.key, each.crew, _time(each.before), _time(each.expires))
        for each in entries
    )
    head = capsule_id(line, number) + _time(created) + previous
    raw = head + body + bytes(SIGNATURE_BYTES)
    try:
        return decode(raw)
    except GossipError as error:
        raise ValueError(str(error)) from error


def seal(capsule: Capsule, signature: bytes) -> Capsule:
    """The same with its signature."""
    raw = capsule.raw[:-SIGNATURE_BYTES] + signature
    return msgspec.structs.replace(capsule, raw=raw)


def decode(raw: bytes) -> Capsule:
    """A capsule from its bytes; GossipError for any others. The signature is not looked at."""
    length = len(raw) - _HEAD_BYTES - SIGNATURE_BYTES
    if length <= 0 or length % _ENTRY.size or length > limits.capsule_entries_max * _ENTRY.size:
        raise GossipError("a capsule of no such length")
    if not number_of(raw):
        raise GossipError("a capsule without a number")
    created = int.from_bytes(raw[ID_BYTES:_CREATED_BYTES])
    packed = _ENTRY.iter_unpack(raw[_HEAD_BYTES:-SIGNATURE_BYTES])
    entries = tuple(
        RevocationEntry(kind, key, crew, int.from_bytes(before), int.from_bytes(expires))
        for kind, key, crew, before, expires in packed
    )
    most = limits.time_seconds_max
    for kind, _, _, before, expires in entries:
        if not kind or before > most or expires > most or created > most:
            raise GossipError("a capsule with a time or a kind that cannot be")
    return Capsule(raw, created, entries)


def _time(seconds: int) -> bytes:
    if not 0 <= seconds <= limits.time_seconds_max:
        raise ValueError(f"a time of 0 to {limits.time_seconds_max} seconds: {seconds}")
    return seconds.to_bytes(TIME_BYTES)
