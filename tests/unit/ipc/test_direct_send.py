"""Frames past the queue: whole or not at all, and never waiting."""

import os
import socket
from collections.abc import Iterator

import pytest

from crewgate import limits
from crewgate.ipc import direct_send
from crewgate.ipc.attach_messages import (
    CreditDrawn,
    RequestFailed,
    RevocationNotice,
    group_answers,
    unpack,
)
from crewgate.ipc.frames import FrameDecoder


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a local connection, neither of which blocks."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        yield ours, theirs


def received(end: socket.socket) -> list[object]:
    """All messages that have come."""
    decoder, found = FrameDecoder(), []
    while True:
        try:
            data = end.recv(65_536)
        except BlockingIOError:
            break
        found += [unpack(group_answers, body) for body in decoder.feed(data)]
    assert not decoder._buffer
    return found


def test_frames_arrive_whole_until_there_is_no_room(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    """Of one that finds none, nothing is sent; later there is room again."""
    ours, theirs = pair
    message = RequestFailed(id=7, message="x" * 3000)
    count = 0
    while direct_send.send(ours.fileno(), message):
        count += 1
    assert count > 10
    assert received(theirs) == [message] * count
    assert direct_send.send(ours.fileno(), CreditDrawn(id=8, status="granted"))
    assert received(theirs) == [CreditDrawn(id=8, status="granted")]


def test_what_is_large_or_cannot_be_sent_is_for_the_queue(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    """A frame over the bound, a connection that the other side has ended, one that is closed."""
    ours, theirs = pair
    keys = [os.urandom(16) for _ in range(limits.ipc_direct_send_bytes_max // 16)]
    assert not direct_send.send(ours.fileno(), RevocationNotice(id=1, keys=keys))
    assert received(theirs) == []
    theirs.close()
    assert not direct_send.send(ours.fileno(), CreditDrawn(id=8, status="granted"))
    assert not direct_send.send(-1, CreditDrawn(id=8, status="granted"))
