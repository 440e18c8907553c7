"""An embedder's attachment against a scripted agent at the other end of a socket pair."""

import os
import socket
import threading
from collections.abc import Iterator

import pytest

from crewgate import limits
from crewgate.core.tokens.grant import Grant
from crewgate.errors import LinkError
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
from crewgate.ipc.attachment import Attachment
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
def attachment(ends: Ends) -> Iterator[Attachment]:
    """Attached as number 3, with one push that came along with the answer."""
    attached = Attached(number=3, nonce=7, life=bytes(16), policy_generation=1)
    table = os.open(os.devnull, os.O_RDONLY)
    early = [Reload(generation=2)]
    with Attachment(
        AttachedConnection(ends[0], FrameDecoder(), attached, table, early)
    ) as attachment:
        yield attachment


def test_a_draw_waits_for_its_own_answer(
    attachment: Attachment, agent: Agent, grant: Grant
) -> None:
    """Answers to others and pushes in between are not mistaken for it, and pushes are kept."""

    def answer() -> None:
        ask = agent.next_draw()
        revoked = pack(RevocationNotice(id=9, keys=[KEY]))
        other = pack(CreditDrawn(id=ask.id + 1, status="full"))
        mine = pack(CreditDrawn(id=ask.id, status="exhausted", used=5))
        agent.end.sendall(revoked + other + mine)

    thread = threading.Thread(target=answer)
    thread.start()
    drawn = attachment.draw(grant, 5, seconds=5)
    thread.join()
    assert drawn is not None
    assert (drawn.status, drawn.used) == ("exhausted", 5)
    assert attachment.poll() == [Reload(generation=2), RevocationNotice(id=9, keys=[KEY])]
    assert attachment.poll() == []


def test_many_threads_share_the_connection(
    attachment: Attachment, agent: Agent, grant: Grant
) -> None:
    """Eight threads draw at once; each gets the answer to its own need, answered backwards."""
    got: dict[int, int] = {}

    def draw(need: int) -> None:
        drawn = attachment.draw(grant, need, seconds=5)
        assert drawn is not None
        got[need] = drawn.used

    threads = [threading.Thread(target=draw, args=(need,)) for need in range(1, 9)]
    for thread in threads:
        thread.start()
    asks = [agent.next_draw() for _ in threads]
    for ask in reversed(asks):
        agent.end.sendall(pack(CreditDrawn(id=ask.id, status="exhausted", used=ask.need * 10)))
    for thread in threads:
        thread.join()
    assert got == {need: need * 10 for need in range(1, 9)}


def test_a_draw_without_an_answer_ends(attachment: Attachment, grant: Grant) -> None:
    """No answer within the wait is None, and the attachment lives on."""
    assert attachment.draw(grant, 1, seconds=0) is None
    assert attachment.alive


def test_a_refused_draw_is_a_link_error(attachment: Attachment, agent: Agent, grant: Grant) -> None:
    """The agent's sentence reaches whoever asked."""
    agent.end.sendall(pack(RequestFailed(id=1, message="no such crew: nobody")))
    with pytest.raises(LinkError, match="no such crew"):
        attachment.draw(grant, 1, seconds=5)


def test_request_draw_never_waits(attachment: Attachment, agent: Agent, grant: Grant) -> None:
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


@pytest.mark.parametrize("last_words", [b"", b"\0\0\0\0", b"\xff\xff\xff\xff"])
def test_a_lost_agent_is_a_link_error_from_then_on(
    attachment: Attachment, agent: Agent, grant: Grant, last_words: bytes
) -> None:
    """A closed or broken connection is told to every later call, until attached anew."""
    agent.end.sendall(last_words)
    agent.end.close()
    for _ in range(2):
        with pytest.raises(LinkError, match="not attached"):
            attachment.draw(grant, 1, seconds=5)
    assert not attachment.alive


def test_unread_pushes_are_bounded(attachment: Attachment, agent: Agent) -> None:
    """Pushes are hints; what nobody polls does not pile up."""
    for number in range(limits.link_push_frames_max + 10):
        agent.end.sendall(pack(Reload(generation=number)))
        attachment._read()
    assert len(attachment.poll()) == limits.link_push_frames_max


def test_close_wakes_who_waits(attachment: Attachment, agent: Agent, grant: Grant) -> None:
    """A thread that waits for credit ends with a LinkError when another one closes."""
    raised: list[LinkError] = []

    def draw() -> None:
        try:
            attachment.draw(grant, 1, seconds=60)
        except LinkError as error:
            raised.append(error)

    thread = threading.Thread(target=draw)
    thread.start()
    agent.next_draw()
    attachment.close()
    attachment.close()
    thread.join()
    assert len(raised) == 1
