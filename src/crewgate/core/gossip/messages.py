"""What one datagram says, once it is opened: a capsule, ids of capsules, a probe, a comparison.

Each message has one form; any other bytes are a GossipError. Who sent it, and that nobody changed
it on its way, is known from the seal (`gossip/`).

    1 capsule | 2 have, 3 want: ids, 20 bytes each
    4 ping, 5 ack: probe 8, digest 8, updates | 6 ask: probe 8, target 8, updates
    7 question: nonce 8, life 8, number 8
    8 answer: nonce 8, life 8, number 8, head 8, members 8, wall 5, counts 1, ids
    9 check: asked 5, ids
    10 kept: asked 5, members 8, counts 1, ids

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
_QUESTION = struct.Struct(">8s8sQ")
_ANSWER = struct.Struct(">8s8sQQ8s5s?")
_KEPT = struct.Struct(">5s8s?")


class MemberState(enum.IntEnum):
    """What is thought of a member; the values are sent, and a higher one wins a tie."""

    ALIVE = 0
    SUSPECT = 1
    DEAD = 2
    LEFT = 3


class MemberAddress(msgspec.Struct, frozen=True, gc=False):
    """Where a member is reached: an IPv6 address, or a mapped IPv4 one, in 16 bytes."""

    host: bytes
    port: int


class MemberUpdate(msgspec.Struct, frozen=True, gc=False):
    """What is thought of one member, as of the `incarnation` that only it counts up."""

    member: bytes
    state: MemberState
    incarnation: int
    address: MemberAddress


class Push(msgspec.Struct, frozen=True, gc=False):
    """A capsule, as its bytes."""

    raw: bytes


class IHave(msgspec.Struct, frozen=True, gc=False):
    """Ids of capsules that the sender has had of late; who lacks one asks for it."""

    ids: tuple[bytes, ...]


class IWant(msgspec.Struct, frozen=True, gc=False):
    """Ids of capsules that the sender lacks."""

    ids: tuple[bytes, ...]


class Ping(msgspec.Struct, frozen=True, gc=False):
    """Are you there? `digest` is of all capsules of the sender (`CapsuleStore.digest`)."""

    probe: int
    digest: bytes
    updates: tuple[MemberUpdate, ...] = ()


class Ack(msgspec.Struct, frozen=True, gc=False):
    """The answer to a ping, by whoever was meant, or through whom was asked."""

    probe: int
    digest: bytes
    updates: tuple[MemberUpdate, ...] = ()


class PingRequest(msgspec.Struct, frozen=True, gc=False):
    """Ping `target` for me, and send me its ack."""

    probe: int
    target: bytes
    updates: tuple[MemberUpdate, ...] = ()


class PullRequest(msgspec.Struct, frozen=True, gc=False):
    """What have you accepted after that `number` of that `life` of yours?"""

    nonce: bytes
    life: bytes
    number: int


class PullResponse(msgspec.Struct, frozen=True, gc=False):
    """What came after `number`: `ids`, in order, of `head` in all. `wall` is whole seconds.

    `members` is `QuorumFreshness.digest`; who does not `count` has not yet all that it once had.
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
    """Say when these are in force with you, and on your disk.

    `asked` is milliseconds of the sender's clock, which nobody else reads anything out of.
    """

    asked: int
    ids: tuple[bytes, ...]


class PersistAck(msgspec.Struct, frozen=True, gc=False):
    """They are: the answer to a check that was `asked` then, or a part of it."""

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
    | PullRequest
    | PullResponse
    | PersistQuery
    | PersistAck
)
OutgoingDatagram = tuple[bytes, bytes]  # to whom, and the message's bytes
_IDS: dict[int, type[IHave | IWant]] = {2: IHave, 3: IWant}
_PROBES: dict[int, type[Ping | Ack | PingRequest]] = {4: Ping, 5: Ack, 6: PingRequest}
_CODES: dict[type[Message], int] = {
    Push: 1,
    PullRequest: 7,
    PullResponse: 8,
    PersistQuery: 9,
    PersistAck: 10,
    **{kind: code for code, kind in (*_IDS.items(), *_PROBES.items())},
}


def encode(message: Message) -> bytes:
    """Its bytes, at most `limits.gossip_message_bytes_max`; ValueError for more than fits."""
    data = bytes((_CODES[type(message)],)) + _body(message)
    if len(data) > limits.gossip_message_bytes_max:
        raise ValueError(f"a message of {len(data)} bytes fits in no datagram")
    return data


def decode(data: bytes) -> Message:
    """A message from its bytes; GossipError. A capsule's own bytes are not looked at."""
    if not data or len(data) > limits.gossip_message_bytes_max:
        raise GossipError("a message of no such length")
    code, body = data[0], data[1:]
    if code == _CODES[Push]:
        return Push(body)
    if code in _IDS:
        return _IDS[code](_ids(body))
    if code in _PROBES:
        return _probe(_PROBES[code], body)
    if code == _CODES[PullRequest]:
        if len(body) != _QUESTION.size:
            raise GossipError("a question of no such length")
        return PullRequest(*_QUESTION.unpack(body))
    if code == _CODES[PullResponse]:
        return _answer(body)
    if code == _CODES[PersistQuery]:
        return PersistQuery(int.from_bytes(body[:TIME_BYTES]), _ids(body[TIME_BYTES:]))
    if code == _CODES[PersistAck]:
        asked, members, counts = _head(_KEPT, body)
        return PersistAck(int.from_bytes(asked), members, counts, _ids(body[_KEPT.size :]))
    raise GossipError("a message of no such kind")


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
        case PullRequest():
            return _QUESTION.pack(message.nonce, message.life, message.number)
        case PullResponse():
            nonce, life, members = message.nonce, message.life, message.members
            wall, counts = message.wall.to_bytes(TIME_BYTES), message.counts
            head = (nonce, life, message.number, message.head, members, wall, counts)
            return _ANSWER.pack(*head) + b"".join(message.ids)
        case PersistAck():
            asked = message.asked.to_bytes(TIME_BYTES)
            return _KEPT.pack(asked, message.members, message.counts) + b"".join(message.ids)


def _probe(kind: type[Ping | Ack | PingRequest], body: bytes) -> Ping | Ack | PingRequest:
    if len(body) < _PROBE.size:
        raise GossipError("a probe that is cut off")
    probe, about = _PROBE.unpack_from(body)
    return kind(probe, about, _updates(body[_PROBE.size :]))


def _answer(body: bytes) -> PullResponse:
    nonce, life, number, head, members, wall, counts = _head(_ANSWER, body)
    rest = body[_ANSWER.size :]
    ids = _ids(rest) if rest else ()
    if not len(ids) <= head - number or (number < head and not ids):
        raise GossipError("an answer with more than there is, or with nothing of it")
    return PullResponse(nonce, life, number, head, members, int.from_bytes(wall), counts, ids)


def _head(form: struct.Struct, body: bytes) -> tuple[Any, ...]:
    """The first fields; the last of them is a flag, which has one form."""
    if len(body) < form.size:
        raise GossipError("a message that is cut off")
    if body[form.size - 1] > 1:
        raise GossipError("a flag that is neither set nor not")
    return form.unpack_from(body)


def _ids(body: bytes) -> tuple[bytes, ...]:
    if not body or len(body) % ID_BYTES:
        raise GossipError("ids that are cut off")
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
        raise GossipError("updates that are cut off")
    try:
        return tuple(
            MemberUpdate(member, MemberState(state), incarnation, MemberAddress(host, port))
            for member, state, incarnation, host, port in _UPDATE.iter_unpack(body)
        )
    except ValueError as error:
        raise GossipError("a state that no member is in") from error
