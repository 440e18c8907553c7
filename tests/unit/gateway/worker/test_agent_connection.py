"""A worker's link, against an agent that a test plays over a real unix socket."""

import array
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import trio
from crew_world import World

from crewgate import limits
from crewgate.gateway.worker.agent_connection import AgentConnection
from crewgate.ipc.attach_messages import (
    Attach,
    Attached,
    CreditDrawn,
    DrawCredit,
    OverrunNoted,
    Reload,
    ReportOverrun,
    RevocationAck,
    RevocationNotice,
    WorkerReadinessReport,
    group_asks,
    pack,
    unpack,
)
from crewgate.ipc.frames import FrameDecoder
from crewgate.ipc.sockets import AgentSocketKind


class Ears:
    """Remembers what was heard."""

    def __init__(self) -> None:
        self.heard: list = []
        self.attachments = 0

    def attached(self, attached: Attached, table: int) -> None:
        os.close(table)
        self.attachments += 1
        self.heard.append(attached)

    def revoked(self, pushed: RevocationNotice) -> RevocationAck:
        self.heard.append(pushed)
        return RevocationAck(id=pushed.id, last_cut_ns=7, count=1)

    def reload(self, generation: int) -> None:
        self.heard.append(generation)


class FakeAgent:
    """One listening door; `meet` attaches whoever comes next."""

    def __init__(self, listener: trio.SocketListener) -> None:
        self._listener = listener
        self._decoder = FrameDecoder()
        self._asks: list = []
        self.stream: trio.SocketStream | None = None

    async def meet(self, *early: msgspec.Struct) -> Attach:
        self.stream = await self._listener.accept()
        self._decoder, self._asks = FrameDecoder(), []
        ask = await self.next()
        attached = Attached(number=3, nonce=99, life=bytes(16), policy_generation=5)
        table = os.open("/dev/null", os.O_RDONLY)
        body = b"".join(map(pack, (attached, *early)))
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [table]))
        await self.stream.socket.sendmsg([body], [rights])
        os.close(table)
        return ask

    async def next(self) -> object:
        while not self._asks:
            data = await self.stream.receive_some()
            assert data, "the worker has left"
            self._asks += [unpack(group_asks, body) for body in self._decoder.feed(data)]
        return self._asks.pop(0)

    async def say(self, message: msgspec.Struct) -> None:
        await self.stream.send_all(pack(message))


@asynccontextmanager
async def _linked(folder: Path) -> AsyncIterator[tuple[FakeAgent, AgentConnection, Ears]]:
    door = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    await door.bind(str(folder / AgentSocketKind.GROUP.value))
    door.listen(1)
    ears = Ears()
    link = AgentConnection(folder, 1, ears)
    async with trio.SocketListener(door) as listener, trio.open_nursery() as nursery:
        agent = FakeAgent(listener)
        nursery.start_soon(link.run)
        yield agent, link, ears
        nursery.cancel_scope.cancel()
        if agent.stream is not None:
            await agent.stream.aclose()


async def test_attach_draw_and_pushes(tmp_path: Path) -> None:
    """A worker says who it is, draws, answers cuts, and hears what came with the answer too."""
    async with _linked(tmp_path) as (agent, link, ears):
        ask = await agent.meet(Reload(generation=6))
        assert (ask.worker, ask.answers_cuts, ask.previous) == (1, True, -1)
        await agent.say(RevocationNotice(id=4, keys=[bytes(16)]))
        assert await agent.next() == RevocationAck(id=4, last_cut_ns=7, count=1)
        assert [type(each).__name__ for each in ears.heard] == [
            "Attached",
            "int",
            "RevocationNotice",
        ]
        link.send_accepting(5, accepting=True)
        assert await agent.next() == WorkerReadinessReport(accepting=True, policy_generation=5)
        grant = World.make().grant
        answers: list[CreditDrawn | None] = []
        link.ask(grant, 10, answers.append)
        asked = await agent.next()
        assert isinstance(asked, DrawCredit)
        assert (asked.grant, asked.need) == (grant, 10)
        await agent.say(CreditDrawn(id=asked.id + 1, status="granted"))
        await agent.say(CreditDrawn(id=asked.id, status="exhausted"))
        while not answers:
            await trio.lowlevel.checkpoint()
        assert answers == [CreditDrawn(id=asked.id, status="exhausted")]
        assert not link._pending_draws


async def test_agent_that_goes_away(tmp_path: Path, log_lines: list[str]) -> None:
    """The worker comes back for the number that it had, and asks the next agent what is open."""
    async with _linked(tmp_path) as (agent, link, ears):
        await agent.meet()
        while not ears.attachments:
            await trio.lowlevel.checkpoint()
        grant = World.make().grant
        answers: list[CreditDrawn | None] = []
        link.ask(grant, 10, answers.append)
        asked = await agent.next()
        await agent.stream.aclose()
        while "the agent has ended the connection" not in log_lines:
            await trio.lowlevel.checkpoint()
        link.ask(grant, 11, answers.append)  # while there is no agent
        ask = await agent.meet()
        assert await agent.next() == asked
        later = await agent.next()
        assert isinstance(later, DrawCredit)
        assert (later.need, answers) == (11, [])
        await agent.say(CreditDrawn(id=asked.id, status="granted"))
        while not answers:
            await trio.lowlevel.checkpoint()
        assert answers == [CreditDrawn(id=asked.id, status="granted")]
        assert (ask.previous, ask.nonce, ask.life) == (3, 99, bytes(16))
        while ears.attachments < 2:
            await trio.lowlevel.checkpoint()
        assert log_lines == ["the agent has ended the connection"]


async def test_an_agent_that_does_not_come_back_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was asked is answered with nothing once the wait is over, and then at once."""
    monkeypatch.setattr(limits, "agent_unavailable_seconds", 0.05)
    async with _linked(tmp_path) as (agent, link, ears):
        await agent.meet()
        while not ears.attachments:
            await trio.lowlevel.checkpoint()
        answers: list[CreditDrawn | None] = []
        link.ask(World.make().grant, 10, answers.append)
        await agent._listener.aclose()
        await agent.stream.aclose()
        while not answers:
            await trio.lowlevel.checkpoint()
        link.ask(World.make().grant, 10, answers.append)
        assert answers == [None, None]


async def test_nothing_is_asked_of_an_absent_agent(tmp_path: Path) -> None:
    """Without a connection a draw is answered at once, with nothing."""
    link = AgentConnection(tmp_path, 0, Ears())
    answers: list[CreditDrawn | None] = []
    link.ask(World.make().grant, 10, answers.append)
    assert answers == [None]
    link.send_accepting(1, accepting=True)


async def _overrun(agent: FakeAgent) -> ReportOverrun:
    """The next one that the agent hears of, whatever else it hears."""
    while not isinstance(ask := await agent.next(), ReportOverrun):
        pass
    return ask


async def test_an_overrun_is_told_until_it_is_noted(tmp_path: Path) -> None:
    """An agent that is killed before it has read or answered hears it again; later ones do not."""
    grant = World.make().grant
    async with _linked(tmp_path) as (agent, link, ears):
        link.send_overrun(bytes([1]) * 16, grant, 5)  # before there is any agent
        await agent.meet()
        told = await _overrun(agent)
        assert told == ReportOverrun(id=bytes([1]) * 16, grant=grant, amount=5)
        link.send_overrun(bytes([2]) * 16, grant, 6)
        await agent.stream.aclose()
        await agent.meet()
        assert {(await _overrun(agent)).amount for _ in range(2)} == {5, 6}
        await agent.say(OverrunNoted(id=bytes([1]) * 16))
        await agent.say(RevocationNotice(id=1, keys=[]))
        while not isinstance(await agent.next(), RevocationAck):
            pass
        await agent.stream.aclose()
        await agent.meet()
        assert (await _overrun(agent)).amount == 6
        await agent.say(OverrunNoted(id=bytes([2]) * 16))
        await agent.say(Reload(generation=9))
        while 9 not in ears.heard:
            await trio.lowlevel.checkpoint()
        outbox = link._pending_overruns
        assert (outbox.next(), outbox._kept, outbox._lost) == (None, {}, 0)


async def test_an_overrun_behind_a_full_queue_is_told_when_there_is_room(tmp_path: Path) -> None:
    """Not only when the agent comes back, which may be in a month."""
    async with _linked(tmp_path) as (agent, link, ears):
        await agent.meet()
        while not ears.attachments:
            await trio.lowlevel.checkpoint()
        for _ in range(limits.ipc_draws_max + 1):
            link.send_accepting(1, accepting=True)
        link.send_overrun(bytes(16), World.make().grant, 5)
        with trio.fail_after(10):
            assert (await _overrun(agent)).amount == 5


async def test_garbage_ends_the_connection_not_the_worker(tmp_path: Path) -> None:
    """An agent that talks nonsense is left, and looked for again."""
    async with _linked(tmp_path) as (agent, _, ears):
        await agent.meet()
        await agent.stream.send_all(b"\x00\x00\x00\x02{}")
        assert await agent.stream.receive_some() == b""
        await agent.stream.aclose()
        await agent.meet()
        while ears.attachments < 2:
            await trio.lowlevel.checkpoint()
