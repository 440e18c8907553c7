"""What one datagram says, once it is opened: a capsule, ids of capsules, or a probe.

Each message has one form; any other bytes are a GossipError. Who sent it, and that nobody changed
it on its way, is known from the seal (`peers/`).

    1 capsule | 2 have, 3 want: ids, 20 bytes each
    4 ping, 5 ack: probe 8, digest 8, updates | 6 ask: probe 8, target 8, updates

An update is member 8, state 1, incarnation 8, address 16 (IPv4 mapped, RFC 4291 §2.5.5.2), port 2.
"""

import enum
import struct
from collections.abc import Sequence

import msgspec

from crewgate import limits
from crewgate.core.gossip.capsules import ID_BYTES
from crewgate.errors import GossipError

_PROBE = struct.Struct(">Q8s")
_UPDATE = struct.Struct(">8sBQ16sH")


class State(enum.IntEnum):
    """What is thought of a member; the values are sent, and a higher one wins a tie."""

    ALIVE = 0
    SUSPECT = 1
    DEAD = 2
    LEFT = 3


class Address(msgspec.Struct, frozen=True, gc=False):
    """Where a member is reached: an IPv6 address, or a mapped IPv4 one, in 16 bytes."""

    host: bytes
    port: int


class Update(msgspec.Struct, frozen=True, gc=False):
    """What is thought of one member, as of the `incarnation` that only it counts up."""

    member: bytes
    state: State
    incarnation: int
    address: Address


class Carry(msgspec.Struct, frozen=True, gc=False):
    """A capsule, as its bytes."""

    raw: bytes


class Have(msgspec.Struct, frozen=True, gc=False):
    """Ids of capsules that the sender has had of late; who lacks one asks for it."""

    ids: tuple[bytes, ...]


class Want(msgspec.Struct, frozen=True, gc=False):
    """Ids of capsules that the sender lacks."""

    ids: tuple[bytes, ...]


class Ping(msgspec.Struct, frozen=True, gc=False):
    """Are you there? `digest` is of all capsules of the sender (`Archive.digest`)."""

    probe: int
    digest: bytes
    updates: tuple[Update, ...] = ()


class Ack(msgspec.Struct, frozen=True, gc=False):
    """The answer to a ping, by whoever was meant, or through whom was asked."""

    probe: int
    digest: bytes
    updates: tuple[Update, ...] = ()


class Ask(msgspec.Struct, frozen=True, gc=False):
    """Ping `target` for me, and send me its ack."""

    probe: int
    target: bytes
    updates: tuple[Update, ...] = ()


Message = Carry | Have | Want | Ping | Ack | Ask
Send = tuple[bytes, bytes]  # to whom, and the message's bytes
_IDS: dict[int, type[Have | Want]] = {2: Have, 3: Want}
_PROBES: dict[int, type[Ping | Ack | Ask]] = {4: Ping, 5: Ack, 6: Ask}
_CODES: dict[type[Message], int] = {
    Carry: 1,
    **{kind: code for code, kind in (*_IDS.items(), *_PROBES.items())},
}


def encode(message: Message) -> bytes:
    """Its bytes, at most `limits.gossip_message_bytes_max`; ValueError for more than fits."""
    code = bytes((_CODES[type(message)],))
    if isinstance(message, Carry):
        data = code + message.raw
    elif isinstance(message, (Have, Want)):
        data = code + b"".join(message.ids)
    else:
        about = message.target if isinstance(message, Ask) else message.digest
        data = code + _PROBE.pack(message.probe, about) + _pack(message.updates)
    if len(data) > limits.gossip_message_bytes_max:
        raise ValueError(f"a message of {len(data)} bytes fits in no datagram")
    return data


def decode(data: bytes) -> Message:
    """A message from its bytes; GossipError. A capsule's own bytes are not looked at."""
    if not data or len(data) > limits.gossip_message_bytes_max:
        raise GossipError("a message of no such length")
    code, body = data[0], data[1:]
    if code == 1:
        return Carry(body)
    if code in _IDS:
        return _IDS[code](_ids(body))
    if code in _PROBES:
        if len(body) < _PROBE.size:
            raise GossipError("a probe that is cut off")
        probe, about = _PROBE.unpack_from(body)
        return _PROBES[code](probe, about, _updates(body[_PROBE.size :]))
    raise GossipError("a message of no such kind")


def _ids(body: bytes) -> tuple[bytes, ...]:
    if not body or len(body) % ID_BYTES:
        raise GossipError("ids that are cut off")
    return tuple(body[at : at + ID_BYTES] for at in range(0, len(body), ID_BYTES))


def _pack(updates: Sequence[Update]) -> bytes:
    return b"".join(
        _UPDATE.pack(
            each.member, each.state, each.incarnation, each.address.host, each.address.port
        )
        for each in updates
    )


def _updates(body: bytes) -> tuple[Update, ...]:
    if len(body) % _UPDATE.size:
        raise GossipError("updates that are cut off")
    try:
        return tuple(
            Update(member, State(state), incarnation, Address(host, port))
            for member, state, incarnation, host, port in _UPDATE.iter_unpack(body)
        )
    except ValueError as error:
        raise GossipError("a state that no member is in") from error
