"""An embedder's attachment against a scripted agent at the other end of a socket pair."""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from crewgate.core.tokens.grant import Grant
from crewgate.errors import ServiceConnectionError
from crewgate.ipc.attach_messages import (
    Attached,
    AttachRequest,
    CreditDrawn,
    DrawCredit,
    Reload,
    RequestFailed,
    RevocationNotice,
    group_asks,
    pack,
    unpack,
)
from crewgate.ipc.embedder_attachment import EmbedderAttachment
from crewgate.ipc.frames import FrameDecoder
from crewgate.ipc.handshake import AttachedConnection

Ends = tuple[socket.socket, socket.socket]
KEY = bytes(range(16))


class Agent:
    """The other end: reads asks one by one, answers with what the test says."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end
        self.decoder = FrameDecoder()
        self.asked: list[AttachRequest] = []

    def next(self) -> AttachRequest:
        while not self.asked:
            data = self.end.recv(65536)
            assert data
            self.asked += [unpack(group_asks, body) for body in self.decoder.feed(data)]
        return self.asked.pop(0)

    def next_draw(self) -> DrawCredit:
        ask = self.next()
        assert isinstance(ask, DrawCredit)
        return ask


@pytest.fixture
def agent(ends: Ends) -> Agent:
    """The scripted agent."""
    return Agent(ends[1])


@pytest.fixture
def attachment(ends: Ends) -> Iterator[EmbedderAttachment]:
    """Attached as number 3, with one push that came along with the answer."""
    attached = Attached(number=3, nonce=7, life=bytes(16), policy_generation=1)
    table = os.open(os.devnull, os.O_RDONLY)
    early = [Reload(generation=2)]
    attachment = EmbedderAttachment(
        AttachedConnection(ends[0], FrameDecoder(), attached, table, early)
    )
    with closing(attachment):
        yield attachment


def test_all_that_arrives_reaches_the_one_who_listens(
    attachment: EmbedderAttachment, agent: Agent, grant: Grant
) -> None:
    """In order: what came with the answer to `Attach`, pushes, and answers to draws."""
    assert attachment.listen(0) == [Reload(generation=2)]
    assert attachment.listen(0) == []
    number = attachment.request_draw(grant, 5)
    assert agent.next_draw().id == number
    sent = [
        RevocationNotice(id=9, keys=[KEY]),
        CreditDrawn(id=number, status="exhausted", used=5),
        RequestFailed(id=number + 1, message="no such crew: nobody"),
    ]
    agent.end.sendall(b"".join(map(pack, sent)))
    assert attachment.listen(5) == sent


def test_many_threads_share_the_connection(
    attachment: EmbedderAttachment, agent: Agent, grant: Grant
) -> None:
    """Eight threads draw at once; each gets an id of its own, and every answer arrives."""
    numbers: dict[int, int] = {}

    def draw(need: int) -> None:
        numbers[need] = attachment.request_draw(grant, need)

    threads = [threading.Thread(target=draw, args=(need,)) for need in range(1, 9)]
    for thread in threads:
        thread.start()
    asks = [agent.next_draw() for _ in threads]
    for thread in threads:
        thread.join()
    assert {ask.need: ask.id for ask in asks} == numbers
    for ask in reversed(asks):
        agent.end.sendall(pack(CreditDrawn(id=ask.id, status="exhausted", used=ask.need * 10)))
    assert attachment.listen(0) == [Reload(generation=2)]
    got: dict[int, int] = {}
    while len(got) < len(asks):
        found = attachment.listen(5)
        got |= {each.id: each.used for each in found if isinstance(each, CreditDrawn)}
    assert got == {number: need * 10 for need, number in numbers.items()}


def test_what_cannot_leave_now_leaves_while_one_listens(
    attachment: EmbedderAttachment, agent: Agent, grant: Grant
) -> None:
    """Also without another draw: the thread that listens sends the rest."""
    attachment.listen(0)
    last = 0
    while number := attachment.request_draw(grant, 1):
        last = number
    assert attachment._unsent
    while agent.next_draw().id != last:
        attachment.listen(0)
    assert not attachment._unsent


def test_request_draw_never_waits(
    attachment: EmbedderAttachment, agent: Agent, grant: Grant
) -> None:
    """With an agent that reads nothing, asking ends in False instead of blocking."""
    asked = 0
    while attachment.request_draw(grant, 1):
        asked += 1
        assert asked < 100_000
    assert asked > 0
    # What was accepted arrives whole, also the frame that was cut in two.
    attachment._connection.shutdown(socket.SHUT_WR)
    received = b"".join(iter(lambda: agent.end.recv(65536), b""))
    draws = list(FrameDecoder().feed(received))
    assert asked - 1 <= len(draws) <= asked


@pytest.mark.parametrize(
    ("last_words", "why"),
    [
        (b"", "^the agent closed the connection$"),
        (b"\0\0\0\0", "^a frame of 0 bytes; expected"),
        (b"\xff\xff\xff\xff", "^a frame of 4294967295 bytes; expected"),
    ],
)
def test_a_lost_agent_is_a_link_error_from_then_on(
    attachment: EmbedderAttachment, agent: Agent, grant: Grant, last_words: bytes, why: str
) -> None:
    """A closed or broken connection is told to every later call, until attached anew."""
    agent.end.sendall(last_words)
    agent.end.close()
    attachment.listen(0)
    for _ in range(2):
        with pytest.raises(ServiceConnectionError, match=why):
            attachment.listen(5)
    with pytest.raises(ServiceConnectionError, match=why):
        attachment.request_draw(grant, 1)


def test_what_nobody_listens_for_stays_with_the_agent(
    attachment: EmbedderAttachment, agent: Agent
) -> None:
    """One call reads one piece, so a flood takes no memory here."""
    attachment.listen(0)
    agent.end.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            agent.end.sendall(pack(RevocationNotice(id=1, keys=[KEY] * 1000)))
    found = attachment.listen(0)
    assert 0 < len(found) <= 4
    assert len(attachment._decoder._buffer) <= 65536


def test_close_wakes_who_listens(attachment: EmbedderAttachment) -> None:
    """A thread that waits for messages gets ServiceConnectionError when another one closes."""
    raised: list[ServiceConnectionError] = []
    attachment.listen(0)

    def listen() -> None:
        try:
            while True:
                attachment.listen(60)
        except ServiceConnectionError as error:
            raised.append(error)

    thread = threading.Thread(target=listen)
    thread.start()
    time.sleep(0.05)
    attachment.close()
    attachment.close()
    thread.join()
    assert len(raised) == 1
