"""Encodes and decodes capsules: up to 24 revocations that one origin has signed together.

A capsule has one encoding only. Keys, clocks and the right to sign are not checked here. The parts
of a capsule, with their lengths in bytes:

    id: origin 8, epoch 8, number 4 | created 5 | previous 16 | entries 43 each | signature 64

`previous` is the digest of the capsule before this one in its line, and zero in the first capsule
(`capsule_verification`). An entry is kind 1, key 16, crew 16, before 5, expires 5. Numbers are
big-endian, times whole seconds since 1970. The length of the capsule gives the number of entries.
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
# To pass off another capsule as one that is named takes a second preimage, 2**128 tries. Only the
# signer can make two capsules that collide, and the signer may sign both anyway.
PREVIOUS_BYTES = 16
NONE = bytes(PREVIOUS_BYTES)  # what the first capsule of a line names
# Kinds of entries besides `core.ids.EntityKind`: about the orchestrator of `key`, as of `before`.
QUARANTINE = 128  # by a person: members admit no new grants of it until the entry expires
LIFT = 129  # ends a quarantine from before
SUSPICION = 130  # a quarantine by a watch, for crews that are watched in that mode
_CREATED_BYTES = ID_BYTES + TIME_BYTES
_HEAD_BYTES = _CREATED_BYTES + PREVIOUS_BYTES
_ENTRY = struct.Struct(">B16s16s5s5s")
ENTRY_BYTES = _ENTRY.size
LEAST_BYTES = _HEAD_BYTES + SIGNATURE_BYTES  # without entries; each capsule has one or more
_CONTEXT = b"crewgate capsule 1\0"


class RevocationEntry(NamedTuple):
    """One revocation: what was issued by `before` under `key` is revoked until `expires`.

    `kind` is a `core.ids.EntityKind`, QUARANTINE, LIFT or SUSPICION. Members pass on a kind of a
    later version, and do not apply it. `crew` is the key of the crew in whose share of the table it
    is.
    """

    kind: int
    key: bytes
    crew: bytes
    before: int
    expires: int


class Capsule(msgspec.Struct, frozen=True, gc=False):
    """A decoded capsule. `raw` is the whole capsule; all other fields are read from it.

    `line` is the origin and the epoch. In a line, `number` counts from 1 without a gap.
    """

    raw: bytes
    created: int
    entries: tuple[RevocationEntry, ...]

    @property
    def id(self) -> bytes:
        """20 bytes. If two different capsules have the same id, it is a conflict."""
        return self.raw[:ID_BYTES]

    @property
    def origin(self) -> bytes:
        """The member that has signed the capsule (8 bytes)."""
        return self.raw[:MEMBER_BYTES]

    @property
    def line(self) -> bytes:
        """The origin and the epoch (16 bytes)."""
        return self.raw[:LINE_BYTES]

    @property
    def number(self) -> int:
        """The position of the capsule in its line, from 1."""
        return number_of(self.raw)

    @property
    def signature(self) -> bytes:
        """The Ed25519 signature (RFC 8032) over `signed`."""
        return self.raw[-SIGNATURE_BYTES:]

    @property
    def expires(self) -> int:
        """When the last entry of the capsule expires."""
        return max(entry.expires for entry in self.entries)

    def signed(self, cluster: bytes) -> bytes:
        """Return the bytes that the origin signs, with the id of its cluster (16 bytes).

        So a capsule of one cluster is not valid in another.
        """
        return _CONTEXT + cluster + self.raw[:-SIGNATURE_BYTES]


def number_of(raw: bytes) -> int:
    """Return the number in an id, or in a capsule, which begins with its id."""
    return int.from_bytes(raw[ID_BYTES - 4 : ID_BYTES])


def digest_of(raw: bytes) -> bytes:
    """Return the BLAKE2b digest (RFC 7693) by which the next capsule of the line names this one."""
    return blake2b(raw, digest_size=PREVIOUS_BYTES).digest()


def previous_of(raw: bytes) -> bytes:
    """Return what a capsule names: `digest_of` the capsule before it, or `NONE`."""
    return raw[_CREATED_BYTES:_HEAD_BYTES]


def expires_of(raw: bytes) -> int:
    """Return when the last entry of a capsule expires, without decoding the capsule."""
    ends = range(_HEAD_BYTES + ENTRY_BYTES, len(raw) - SIGNATURE_BYTES + 1, ENTRY_BYTES)
    return int.from_bytes(max(raw[end - TIME_BYTES : end] for end in ends))


def capsule_id(line: bytes, number: int) -> bytes:
    """Return the id of the capsule with this number in a line (16 bytes)."""
    return line + number.to_bytes(4)


def unsigned(
    line: bytes,
    number: int,
    created: int,
    entries: Sequence[RevocationEntry],
    previous: bytes = NONE,
) -> Capsule:
    """Return a capsule whose signature is zero, for `seal`.

    ValueError if a value does not fit, or if there are no entries or too many.
    """
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
    """Return the capsule with this signature (64 bytes)."""
    raw = capsule.raw[:-SIGNATURE_BYTES] + signature
    return msgspec.structs.replace(capsule, raw=raw)


def decode(raw: bytes) -> Capsule:
    """Return the capsule of these bytes; GossipError if they are none. Does not verify it."""
    length = len(raw) - _HEAD_BYTES - SIGNATURE_BYTES
    if length <= 0 or length % _ENTRY.size or length > limits.capsule_entries_max * _ENTRY.size:
        raise GossipError(f"no capsule has a length of {len(raw)} bytes")
    if not number_of(raw):
        raise GossipError("a capsule has the number 0; numbers begin at 1")
    created = int.from_bytes(raw[ID_BYTES:_CREATED_BYTES])
    packed = _ENTRY.iter_unpack(raw[_HEAD_BYTES:-SIGNATURE_BYTES])
    entries = tuple(
        RevocationEntry(kind, key, crew, int.from_bytes(before), int.from_bytes(expires))
        for kind, key, crew, before, expires in packed
    )
    latest = limits.time_seconds_max
    for kind, _, _, before, expires in entries:
        if not kind or before > latest or expires > latest or created > latest:
            raise GossipError("a capsule has the kind 0, or a time beyond the largest one")
    return Capsule(raw, created, entries)


def _time(seconds: int) -> bytes:
    if not 0 <= seconds <= limits.time_seconds_max:
        raise ValueError(f"a time must be 0 to {limits.time_seconds_max} seconds, not {seconds}")
    return seconds.to_bytes(TIME_BYTES)
