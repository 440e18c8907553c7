"""Frames over one connection: whole, bounded, in turn; or a GossipError, and nothing else."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from forged_member import line_to, listening
from gossip_members import Authority
from hypothesis import given, settings
from hypothesis import strategies as st
from socketless_members import StillMember

from crewgate import limits
from crewgate.errors import GossipError
from crewgate.gossip.member_verification import SignedMemberRecord
from crewgate.gossip.stream import (
    CapsuleBatch,
    CertificateBatch,
    EpochDigests,
    HeldRanges,
    Hello,
    SyncStream,
    context,
    credential_pages,
    pages,
)


class Wire:
    """What the other side sends, in pieces, and then no more; or what was said to it."""

    def __init__(self, data: bytes = b"", piece: int = 65_536) -> None:
        self.data, self.piece, self.said = data, piece, b""

    async def receive_some(self, most: int) -> bytes:
        await trio.lowlevel.checkpoint()
        taken, self.data = self.data[: self.piece], self.data[self.piece :]
        return taken

    async def send_all(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self.said += data


def line(wire: Wire) -> SyncStream:
    made: Any = SyncStream.__new__(SyncStream)
    made._stream, made._buffer = wire, bytearray()
    return made


def heard(data: bytes, kind: Any, piece: int = 65_536) -> Any:
    """What a line makes of some bytes."""
    return trio.run(line(Wire(data, piece)).receive, kind)


def frame(body: bytes) -> bytes:
    return len(body).to_bytes(4) + body


def frame_of(words: Any) -> bytes:
    return frame(msgspec.msgpack.encode(words))


@given(st.lists(st.binary(max_size=300), max_size=30), st.booleans(), st.integers(1, 50))
@settings(deadline=None)
def test_what_is_said_is_heard(raws: list[bytes], last: bool, piece: int) -> None:
    """In whatever pieces it comes."""
    wire = Wire()
    said = CapsuleBatch(raws, last)
    trio.run(line(wire).send, said)
    assert heard(wire.said, CapsuleBatch, piece) == said


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_whatever_comes_is_a_word_or_an_error_of_the_peer(body: bytes) -> None:
    """Random bytes are none."""
    for data in (body, frame(body)):
        with pytest.raises(GossipError):
            heard(data, Hello)


def hello(authority: Authority, folder: Path) -> Hello:
    one = StillMember(authority, folder / "m0", "m0")
    return one.membership.hello(one.node)


def test_every_bit_of_a_hello_is_heard_or_refused(authority: Authority, tmp_path: Path) -> None:
    """Turned anywhere, cut anywhere: never another error."""
    body = msgspec.msgpack.encode(hello(authority, tmp_path))
    frames = [body[:end] for end in range(0, len(body), 7)]
    frames += [body[:at] + bytes((body[at] ^ 129,)) + body[at + 1 :] for at in range(len(body))]

    async def hear_all() -> None:
        for each in frames:
            try:
                await line(Wire(frame(each))).receive(Hello)
            except GossipError:
                continue

    trio.run(hear_all)


EIGHT = bytes(8)
BEYOND: dict[str, dict[str, Any]] = {
    "roll": {"roll": [EIGHT] * 70_000},
    "id": {"roll": [bytes(9)]},
    "members": {"members": [EIGHT] * 5000},
    "member": {"members": [b""]},
    "counted": {"counted": [EIGHT] * 5000},
    "gone": {"gone": {number.to_bytes(8): 1 for number in range(5000)}},
    "gone when": {"gone": {EIGHT: -1}},
    "gone for ever": {"gone": {EIGHT: 2**60}},
    "keys": {"keys": [[number, bytes(32), 0] for number in range(9)]},
}


@pytest.mark.parametrize("what", BEYOND)
def test_a_hello_is_bounded(authority: Authority, tmp_path: Path, what: str) -> None:
    """Four megabytes may say a million things."""
    said = msgspec.to_builtins(hello(authority, tmp_path), builtin_types=(bytes,))
    assert heard(frame_of(said), Hello)
    with pytest.raises(GossipError, match="an invalid message"):
        heard(frame_of({**said, **BEYOND[what]}), Hello)


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (CertificateBatch([SignedMemberRecord((), b"", 1)] * 9, last=True), CertificateBatch),
        (EpochDigests({b"short": EIGHT}), EpochDigests),
        (EpochDigests({bytes(16): b""}), EpochDigests),
        (HeldRanges({b"": ()}), HeldRanges),
        (CapsuleBatch([], last=True), HeldRanges),
        ({"type": "capsules"}, CapsuleBatch),
    ],
)
def test_other_words_are_bounded_and_in_turn(words: object, kind: Any) -> None:
    """Names of lines have their length, and pages theirs."""
    with pytest.raises(GossipError):
        heard(frame_of(words), kind)


def test_a_frame_has_an_end() -> None:
    """Nothing is kept for one that is too long, and none is said."""
    with pytest.raises(GossipError, match="invalid length"):
        heard((limits.gossip_frame_bytes_max + 1).to_bytes(4), HeldRanges)
    with pytest.raises(GossipError, match="invalid length"):
        heard(bytes(4), HeldRanges)
    with pytest.raises(GossipError, match="does not fit into a frame"):
        trio.run(line(Wire()).send, CapsuleBatch([bytes(limits.gossip_frame_bytes_max)], last=True))
    with pytest.raises(GossipError, match="has ended"):
        heard(frame_of(CapsuleBatch([], last=True))[:-1], CapsuleBatch)


def test_nesting_has_an_end() -> None:
    """A frame of lists in lists is no word."""
    with pytest.raises(GossipError):
        heard(frame(b"\x91" * 1_000_000), Hello)


@given(st.lists(st.integers(0, limits.gossip_page_bytes), max_size=8))
def test_pages_hold_all_in_order(sizes: list[int]) -> None:
    """The last one alone is the last, and none is over its bound."""
    raws = [bytes(size) for size in sizes]
    made = list(pages(raws))
    assert [raw for page in made for raw in page.raws] == raws
    assert [page.last for page in made] == [False] * (len(made) - 1) + [True]
    assert all(sum(map(len, page.raws)) <= limits.gossip_page_bytes for page in made)


@given(st.integers(0, 40))
def test_pages_of_certificates_hold_all_in_order(count: int) -> None:
    """Of so many each, as they are heard."""
    shown = [SignedMemberRecord((), b"", n) for n in range(count)]
    made = list(credential_pages(shown))
    assert [each for page in made for each in page.credentials] == shown
    assert [page.last for page in made] == [False] * (len(made) - 1) + [True]
    assert max(len(page.credentials) for page in made) <= 8


def spoil(what: str) -> Callable[[Path], None]:
    def spoiled(path: Path) -> None:
        if what == "missing":
            path.unlink()
        else:
            path.write_bytes(os.urandom(100) if what == "garbage" else b"")

    return spoiled


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("what", ["missing", "garbage", "empty"])
def test_files_that_cannot_be_used_are_named(
    authority: Authority, tmp_path: Path, which: int, what: str
) -> None:
    """Certificate, key and root."""
    files = authority.certify(tmp_path / "m0", "m0", Ed25519PrivateKey.generate())
    spoil(what)(files[which])
    for is_server in (False, True):
        with pytest.raises(GossipError, match=re.escape(str(files[which]))):
            context(*files, is_server=is_server)


async def test_a_reset_is_the_end(authority: Authority, tmp_path: Path) -> None:
    """While one says, and while one hears."""
    files = authority.certify(tmp_path / "m0", "m0", Ed25519PrivateKey.generate())

    async def hang_up(there: SyncStream) -> None:
        await there._stream.transport_stream.aclose()

    async with listening(files, hang_up) as where, line_to(where, files) as there:
        assert there.leaf
        with pytest.raises(GossipError, match="ended"):
            await there.receive(Hello)
        with pytest.raises(GossipError, match="ended"):
            await say_for_ever(there)


async def say_for_ever(there: SyncStream) -> None:
    while True:
        await there.send(CapsuleBatch([bytes(100_000)], last=False))


def test_the_most_that_is_told_of_what_is_held_fits_into_a_frame() -> None:
    """Of the most lines, with the most and the longest ranges."""
    held = dict[bytes, tuple[tuple[int, int], ...]]()
    for number in range(limits.capsule_lines_max):
        held[number.to_bytes(16)] = ()
    held[bytes(16)] = ((2**32 - 2, 2**32 - 1),) * limits.held_ranges_max
    assert len(msgspec.msgpack.encode(HeldRanges(held))) <= limits.gossip_frame_bytes_max
