"""Encodes and decodes the messages of datagrams; each datagram has one, after its decryption.

A message has one encoding only; `decode` refuses other bytes with a GossipError. The decryption
gives its sender, and shows that it is unchanged (`gossip/datagram_crypto.py`). The first byte is
the code of the message; the parts follow, with their lengths in bytes:

    1 Push: capsule | 2 IHave, 3 IWant: ids, 20 each
    4 Ping, 5 Ack: probe 8, digest 8, updates | 6 PingRequest: probe 8, target 8, updates
    7 AcceptLogRequest: nonce 8, life 8, number 8
    8 AcceptLogResponse: nonce 8, life 8, number 8, head 8, members 8, wall 5, counts 1, ids
    9 PersistQuery: asked 5, ids
    10 PersistAck: asked 5, members 8, counts 1, ids

An update is member 8, state 1, incarnation 8, address 16 (IPv4 mapped, RFC 4291 §2.5.5.2), port 2.
"""

import enum
import struct
from collections.abc import Sequence
from typing import Any

import msgspec

from crewgate import limits
from crewgate.core.gossip.capsules import ID_BYTES, TIME_BYTES
from crewgate.errors import GossipError

_PROBE = struct.Struct(">Q8s")
_UPDATE = struct.Struct(">8sBQ16sH")
_PULL_REQUEST = struct.Struct(">8s8sQ")
_PULL_RESPONSE = struct.Struct(">8s8sQQ8s5s?")
_PERSIST_ACK = struct.Struct(">5s8s?")


class MemberState(enum.IntEnum):
    """The state of a member. Messages have the value; with equal incarnations a higher one wins."""

    ALIVE = 0
    SUSPECT = 1
    DEAD = 2
    LEFT = 3


class MemberAddress(msgspec.Struct, frozen=True, gc=False):
    """The address of a member: `host` is an IPv6 or mapped IPv4 address in 16 bytes."""

    host: bytes
    port: int


class MemberUpdate(msgspec.Struct, frozen=True, gc=False):
    """The state of one member, as of an `incarnation` that only this member raises."""

    member: bytes
    state: MemberState
    incarnation: int
    address: MemberAddress


class Push(msgspec.Struct, frozen=True, gc=False):
    """An encoded capsule."""

    raw: bytes


class _Ids(msgspec.Struct, frozen=True, gc=False):
    ids: tuple[bytes, ...]


class IHave(_Ids, frozen=True, gc=False):
    """Ids of capsules that are new to the sender; a receiver that lacks one asks for it."""


class IWant(_Ids, frozen=True, gc=False):
    """Ids of capsules that the sender lacks and asks for."""


class _Probe(msgspec.Struct, frozen=True, gc=False):
    probe: int
    digest: bytes  # of all capsules of the sender (`CapsuleStore.digest`)
    updates: tuple[MemberUpdate, ...] = ()


class Ping(_Probe, frozen=True, gc=False):
    """Asks for an `Ack`."""


class Ack(_Probe, frozen=True, gc=False):
    """The answer to a `Ping`, or to a `PingRequest` when the target has answered."""


class PingRequest(msgspec.Struct, frozen=True, gc=False):
    """Asks the receiver to ping `target`, and to pass the answer on to the sender."""

    probe: int
    target: bytes
    updates: tuple[MemberUpdate, ...] = ()


class AcceptLogRequest(msgspec.Struct, frozen=True, gc=False):
    """Asks what the receiver has accepted after `number` in its run `life`."""

    nonce: bytes
    life: bytes
    number: int


class AcceptLogResponse(msgspec.Struct, frozen=True, gc=False):
    """What the sender has accepted in its run `life`: `ids`, in order, follow `number`.

    `head` is its last number, `members` the digest of its view (`QuorumFreshness.digest`), and
    `wall` its wall clock in whole seconds. Unless it `counts`, it may lack what it acknowledged.
    """

    nonce: bytes
    life: bytes
    number: int
    head: int
    members: bytes
    wall: int
    counts: bool
    ids: tuple[bytes, ...] = ()


class PersistQuery(msgspec.Struct, frozen=True, gc=False):
    """Asks for a `PersistAck` of these capsules when they are in force and on the receiver's disk.

    `asked` is milliseconds of the sender's clock. The receiver only returns it.
    """

    asked: int
    ids: tuple[bytes, ...]


class PersistAck(msgspec.Struct, frozen=True, gc=False):
    """Acknowledges that these capsules are in force and on the sender's disk.

    `asked` is from the query that it answers, or answers in part. `members` is the digest of the
    sender's view, `counts` whether the sender counts.
    """

    asked: int
    members: bytes
    counts: bool
    ids: tuple[bytes, ...]


Message = (
    Push
    | IHave
    | IWant
    | Ping
    | Ack
    | PingRequest
    | AcceptLogRequest
    | AcceptLogResponse
    | PersistQuery
    | PersistAck
)
OutgoingDatagram = tuple[bytes, bytes]  # the member that receives it, and the encoded message
_IDS: dict[int, type[IHave | IWant]] = {2: IHave, 3: IWant}
_PROBES: dict[int, type[Ping | Ack | PingRequest]] = {4: Ping, 5: Ack, 6: PingRequest}
_CODES: dict[type[Message], int] = {
    Push: 1,
    AcceptLogRequest: 7,
    AcceptLogResponse: 8,
    PersistQuery: 9,
    PersistAck: 10,
    **{kind: code for code, kind in (*_IDS.items(), *_PROBES.items())},
}


def encode(message: Message) -> bytes:
    """Return the bytes of a message; ValueError if they do not fit into a datagram."""
    data = bytes((_CODES[type(message)],)) + _body(message)
    if len(data) > limits.gossip_message_bytes_max:
        raise ValueError(f"a message of {len(data)} bytes does not fit into a datagram")
    return data


def decode(data: bytes) -> Message:
    """Return the message of these bytes; GossipError if they are none. A capsule stays encoded."""
    if not data or len(data) > limits.gossip_message_bytes_max:
        raise GossipError(f"no message has a length of {len(data)} bytes")
    code, body = data[0], data[1:]
    if code == _CODES[Push]:
        return Push(body)
    if code in _IDS:
        return _IDS[code](_ids(body))
    if code in _PROBES:
        return _probe(_PROBES[code], body)
    if code == _CODES[AcceptLogRequest]:
        if len(body) != _PULL_REQUEST.size:
            raise GossipError(f"no AcceptLogRequest has a length of {len(data)} bytes")
        return AcceptLogRequest(*_PULL_REQUEST.unpack(body))
    if code == _CODES[AcceptLogResponse]:
        return _pull_response(body)
    if code == _CODES[PersistQuery]:
        return PersistQuery(int.from_bytes(body[:TIME_BYTES]), _ids(body[TIME_BYTES:]))
    if code == _CODES[PersistAck]:
        asked, members, counts = _head(_PERSIST_ACK, body)
        return PersistAck(int.from_bytes(asked), members, counts, _ids(body[_PERSIST_ACK.size :]))
    raise GossipError(f"a message has the unknown code {code}")


def _body(message: Message) -> bytes:
    match message:
        case Push():
            return message.raw
        case IHave() | IWant():
            return b"".join(message.ids)
        case PersistQuery():
            return message.asked.to_bytes(TIME_BYTES) + b"".join(message.ids)
        case Ping() | Ack():
            return _PROBE.pack(message.probe, message.digest) + _pack(message.updates)
        case PingRequest():
            return _PROBE.pack(message.probe, message.target) + _pack(message.updates)
        case AcceptLogRequest():
            return _PULL_REQUEST.pack(message.nonce, message.life, message.number)
        case AcceptLogResponse():
            nonce, life, members = message.nonce, message.life, message.members
            wall, counts = message.wall.to_bytes(TIME_BYTES), message.counts
            head = (nonce, life, message.number, message.head, members, wall, counts)
            return _PULL_RESPONSE.pack(*head) + b"".join(message.ids)
        case PersistAck():
            asked = message.asked.to_bytes(TIME_BYTES)
            return _PERSIST_ACK.pack(asked, message.members, message.counts) + b"".join(message.ids)


def _probe(kind: type[Ping | Ack | PingRequest], body: bytes) -> Ping | Ack | PingRequest:
    if len(body) < _PROBE.size:
        raise GossipError("a probe is too short")
    probe, about = _PROBE.unpack_from(body)
    return kind(probe, about, _updates(body[_PROBE.size :]))


def _pull_response(body: bytes) -> AcceptLogResponse:
    nonce, life, number, head, members, wall, counts = _head(_PULL_RESPONSE, body)
    rest = body[_PULL_RESPONSE.size :]
    ids = _ids(rest) if rest else ()
    if not len(ids) <= head - number or (number < head and not ids):
        raise GossipError(f"an AcceptLogResponse from {number} to {head} has {len(ids)} ids")
    return AcceptLogResponse(nonce, life, number, head, members, int.from_bytes(wall), counts, ids)


def _head(form: struct.Struct, body: bytes) -> tuple[Any, ...]:
    """Return the first fields. The last one is a flag, which must be 0 or 1."""
    if len(body) < form.size:
        raise GossipError("a message is too short")
    if body[form.size - 1] > 1:
        raise GossipError("a message has a flag that is neither 0 nor 1")
    return form.unpack_from(body)


def _ids(body: bytes) -> tuple[bytes, ...]:
    if not body or len(body) % ID_BYTES:
        raise GossipError(f"a message has {len(body)} bytes of ids, and an id has {ID_BYTES}")
    return tuple(body[at : at + ID_BYTES] for at in range(0, len(body), ID_BYTES))


def _pack(updates: Sequence[MemberUpdate]) -> bytes:
    return b"".join(
        _UPDATE.pack(
            each.member, each.state, each.incarnation, each.address.host, each.address.port
        )
        for each in updates
    )


def _updates(body: bytes) -> tuple[MemberUpdate, ...]:
    if len(body) % _UPDATE.size:
        raise GossipError(f"a probe has {len(body)} bytes of updates; each has {_UPDATE.size}")
    try:
        return tuple(
            MemberUpdate(member, MemberState(state), incarnation, MemberAddress(host, port))
            for member, state, incarnation, host, port in _UPDATE.iter_unpack(body)
        )
    except ValueError as error:
        raise GossipError("an update has an unknown state") from error
