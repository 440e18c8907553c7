"""The agent asks all members for a command: each within its time, and none holds up the others."""

from collections.abc import Awaitable, Callable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing

from crewgate import limits
from crewgate.agent.cluster.machine_questions import ask_members, members_named, runs_of
from crewgate.core.gossip.messages import MemberState
from crewgate.core.rate_limit import TokenBucket
from crewgate.errors import ServiceRefusedError
from crewgate.ipc.answer_parts import RunsPart
from crewgate.ipc.machine_messages import (
    AskMachines,
    AuditQuestion,
    MachineAnswer,
    MachineQuestion,
    TreeQuestion,
    encode,
    read_question,
)

Talk = Callable[[Callable[[bytes], Awaitable[None]]], Awaitable[str]]
NO_CURSORS: Mapping[str, str] = {}


class Members:
    """A transport whose members answer as a test has it; `m0` is this machine."""

    def __init__(self, **talks: Talk) -> None:
        self.talks = {name.encode(): talk for name, talk in talks.items()}
        self.seconds: dict[bytes, float] = {}
        self.questions: dict[bytes, MachineQuestion] = {}
        self.most = self._now = 0
        self.question_places = trio.CapacityLimiter(limits.members_asked_at_once)
        self.long_question_places = trio.CapacityLimiter(limits.members_asked_at_once)
        self.dead: set[bytes] = set()
        members = [SimpleNamespace(id=each) for each in (b"m0", *self.talks)]
        certificates: Any = type("Store", (list,), {"name": lambda _, member: member.decode()})
        self.gossip = SimpleNamespace(
            membership=SimpleNamespace(
                me=SimpleNamespace(id=b"m0", name="m0"), certificates=certificates(members)
            ),
            node=SimpleNamespace(
                freshness=SimpleNamespace(others={*self.talks}, leaving=set()),
                members=SimpleNamespace(get=self._member),
            ),
        )

    def _member(self, member: bytes) -> SimpleNamespace:
        is_dead = member in self.dead
        return SimpleNamespace(state=MemberState.DEAD if is_dead else MemberState.ALIVE)

    async def question(
        self, member: bytes, body: bytes, take: Callable[[bytes], Awaitable[None]], seconds: float
    ) -> str:
        self.seconds[member], self.questions[member] = seconds, read_question(body)
        self._now += 1
        self.most = max(self.most, self._now)
        try:
            with trio.move_on_after(seconds):
                return await self.talks[member](take)
            return "no answer in time"
        finally:
            self._now -= 1

    async def asked(
        self, question: Any = None, machine: str = "", cursors: Mapping[str, str] = NO_CURSORS
    ) -> list[MachineAnswer]:
        """What a client gets."""
        request = AskMachines(1, question or TreeQuestion(), machine, cursors={**cursors})
        send, receive = trio.open_memory_channel[MachineAnswer](0)
        found: list[MachineAnswer] = []

        async def ask() -> None:
            async with send:
                members = members_named(self, machine)  # type: ignore[arg-type]
                await ask_members(self, request, members, send)  # type: ignore[arg-type]

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            async with receive:
                found += [each async for each in receive]
        return found


def pages(*bodies: bytes) -> Talk:
    async def talk(take: Callable[[bytes], Awaitable[None]]) -> str:
        for body in bodies:
            await take(body)
        return ""

    return talk


async def hang(_: Callable[[bytes], Awaitable[None]]) -> str:
    await trio.sleep_forever()
    raise AssertionError


async def fail(_: Callable[[bytes], Awaitable[None]]) -> str:
    await trio.lowlevel.checkpoint()
    return "it refuses"


async def test_each_machine_answers_or_is_named(autojump_clock: trio.testing.MockClock) -> None:
    """Pages go through as they are; one that hangs costs its own time alone."""
    members = Members(m1=pages(b"a", b"b"), m2=fail, m3=hang)
    found = await members.asked()
    assert {(each.machine, each.what, each.body, each.why) for each in found} == {
        ("m1", "page", b"a", ""), ("m1", "page", b"b", ""), ("m1", "whole", b"", ""),
        ("m2", "failed", b"", "it refuses"), ("m3", "failed", b"", "no answer in time"),
    }  # fmt: skip
    assert trio.current_time() == autojump_clock.current_time()
    assert set(members.seconds.values()) == {limits.member_answer_seconds_max}


async def test_each_machine_gets_its_own_cursor_and_no_other() -> None:
    """A cursor of another one could be used to have it leave something out."""
    members = Members(m1=pages(), m2=pages())
    await members.asked(TreeQuestion(since=""), cursors={"m0": "x-1", "m1": "y-2"})
    assert members.questions == {b"m1": TreeQuestion(since="y-2"), b"m2": TreeQuestion(since="")}
    await members.asked(TreeQuestion("a"), cursors={"m1": "y-2"})
    assert members.questions == {b"m1": TreeQuestion("a"), b"m2": TreeQuestion("a")}


async def test_a_dead_machine_gets_less_time_and_an_audit_more(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A person waits for it."""
    members = Members(m1=hang, m2=pages())
    members.dead.add(b"m1")
    began = autojump_clock.current_time()
    assert {each.why for each in await members.asked()} == {"", "no answer in time"}
    assert autojump_clock.current_time() - began == limits.member_absent_seconds_max
    await members.asked(AuditQuestion("calls", b"{}"))
    assert members.seconds == {
        b"m1": limits.member_absent_seconds_max,
        b"m2": limits.member_audit_seconds_max,
    }


async def test_many_machines_are_asked_a_few_at_a_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """All together have a time; those that were not asked by then are named."""
    number = 3 * limits.members_asked_at_once
    members = Members(**{f"m{n + 1:02}": hang for n in range(number)})
    began = autojump_clock.current_time()
    found = await members.asked()
    assert autojump_clock.current_time() - began == limits.members_answer_seconds_max
    assert members.most == limits.members_asked_at_once
    assert sorted({each.machine for each in found}) == sorted(
        each.decode() for each in members.talks
    )
    assert {each.what for each in found} == {"failed"}
    assert "too many machines" in found[-1].why


async def test_many_commands_share_the_places(autojump_clock: trio.testing.MockClock) -> None:
    """However many people ask; one that reads audits delays only others that do."""
    members = Members(**{f"m{n + 1:02}": hang for n in range(limits.members_asked_at_once)})
    began = autojump_clock.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(members.asked, AuditQuestion("calls", b"{}"))
        await members.asked()
        assert autojump_clock.current_time() - began == limits.member_answer_seconds_max
        nursery.cancel_scope.cancel()
    assert members.most == 2 * limits.members_asked_at_once


async def test_one_machine_is_asked_by_its_name() -> None:
    """This machine is no other; a name that no member has is refused."""
    members = Members(m1=pages(b"a"), m2=pages(b"b"))
    assert {each.machine for each in await members.asked(machine="m2")} == {"m2"}
    assert await members.asked(machine="m0") == []
    with pytest.raises(ServiceRefusedError, match="no machine 'm9'"):
        members_named(members, "m9")  # type: ignore[arg-type]


async def test_runs_that_several_have_seen_are_counted_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """And the machines that did not say are counted, while a revocation waits."""
    one, other = bytes(16), bytes(range(16))
    members = Members(
        m1=pages(encode(RunsPart([one]))), m2=pages(encode(RunsPart([one, other]))), m3=hang,
        m4=pages(b"\xc1"),
    )  # fmt: skip
    rate = TokenBucket(1, 1)
    runs, unasked = await runs_of(members, "user:ada", "", rate)  # type: ignore[arg-type]
    assert (runs, unasked) == ({one, other}, 2)
    assert autojump_clock.current_time() <= limits.revocation_answer_seconds_max


async def test_many_revoked_subjects_use_up_no_answers_of_members(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A receipt then says that the machines were not asked."""
    run, rate = bytes(16), TokenBucket(1, 3)
    members = Members(m1=pages(encode(RunsPart([run]))), m2=pages(encode(RunsPart([]))))
    found = [
        await runs_of(members, f"user:{number}", "", rate)  # type: ignore[arg-type]
        for number in range(5)
    ]
    assert found == [({run}, 0)] * 3 + [(set(), 2)] * 2
