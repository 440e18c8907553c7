"""Guests: a number for as long as they are connected, and never more in memory than a bound."""

import pytest
import trio
import trio.testing
from grant_builders import BOOT_NS

from crewgate import limits
from crewgate._native.table_owner import OwnedTable
from crewgate.agent.ipc_server.attachments import AttachedProcess, AttachedProcesses
from crewgate.agent.revocation.disconnect_acks import DisconnectAcks
from crewgate.errors import TableFullError
from crewgate.ipc.attach_messages import (
    VERSION,
    Attach,
    Reload,
    RequestFailed,
    RevocationAck,
    RevocationNotice,
    group_answers,
    pack,
    unpack,
)
from crewgate.ipc.frames import FrameDecoder

ASK = Attach(version=VERSION)


def _back(guest: AttachedProcess, table: OwnedTable) -> Attach:
    """What the process of `guest` asks the next agent for."""
    return Attach(version=VERSION, previous=guest.number, nonce=guest.nonce, life=table.life)


def test_a_number_is_free_again_when_its_guest_has_left(table: OwnedTable) -> None:
    """Eight places: the ninth guest is refused until one leaves."""
    guests = AttachedProcesses(table)
    inside = [guests.enter(ASK) for _ in range(8)]
    assert len({guest.number for guest in inside}) == 8
    with pytest.raises(TableFullError):
        guests.enter(ASK)
    assert guests.leave(inside[3]) == []
    assert guests.enter(ASK).number == inside[3].number


def test_who_comes_back_to_the_next_agent_keeps_its_number(table: OwnedTable) -> None:
    """A restarted agent gives the same number to the process that can name its nonce."""
    old = AttachedProcesses(table)
    first, second = old.enter(ASK), old.enter(ASK)
    new = AttachedProcesses(table)
    new.wait_for_inherited(BOOT_NS)
    assert new.enter(_back(second, table)).number == second.number
    assert first.number in table.attachments()
    new.drop_inherited(BOOT_NS - 1)
    assert first.number in table.attachments()
    new.drop_inherited(BOOT_NS)
    assert table.attachments() == [second.number]


@pytest.mark.parametrize("lie", ["nonce", "life", "living", "dropped"])
def test_nobody_gets_anothers_number(table: OwnedTable, lie: str) -> None:
    """A wrong nonce, another table, a guest that is connected, one that was dropped: a new one."""
    old = AttachedProcesses(table)
    guest = old.enter(ASK)
    new = AttachedProcesses(table)
    ask = _back(guest, table)
    if lie == "nonce":
        ask = Attach(version=VERSION, previous=guest.number, nonce=guest.nonce + 1, life=table.life)
    elif lie == "life":
        ask = Attach(version=VERSION, previous=guest.number, nonce=guest.nonce, life=bytes(16))
    elif lie == "living":
        new.enter(ask)
    else:
        new.wait_for_inherited(0)
        new.drop_inherited(0)
        new.enter(ASK)
    assert new.enter(ask).number != guest.number


def test_a_guest_that_does_not_read_loses_messages_only(table: OwnedTable) -> None:
    """The queue is bounded; its place in the table stays."""
    guests = AttachedProcesses(table)
    guest = guests.enter(ASK)
    room = limits.ipc_push_frames_max
    taken = [guest.send(Reload(generation=n)) for n in range(room + 5)]
    assert taken == [True] * room + [False] * 5
    assert table.attachments() == [guest.number]
    guests.leave(guest)
    assert not guest.send(Reload(generation=0))


def test_the_newest_process_is_the_worker(table: OwnedTable) -> None:
    """While a killed worker has not been noticed, its successor counts."""
    guests = AttachedProcesses(table)
    ask = Attach(version=VERSION, worker=1)
    old, new = guests.enter(ask), guests.enter(ask)
    assert guests.worker(1) is new
    guests.leave(new)
    assert guests.worker(1) is old
    assert guests.worker(0) is None


async def test_a_receipt_waits_for_all_who_promised(table: OwnedTable) -> None:
    """Answers are added up; the last cut is the latest; who leaves has answered."""
    guests, cuts = AttachedProcesses(table), DisconnectAcks()
    first, second, third = (guests.enter(ASK) for _ in range(3))
    number, pending = cuts.begin({first.number, second.number, third.number})
    cuts.answer(first, RevocationAck(id=number, last_cut_ns=50, count=2))
    cuts.answer(first, RevocationAck(id=number, last_cut_ns=90, count=9))
    cuts.answer(second, RevocationAck(id=number + 1, last_cut_ns=99, count=9))
    assert pending.waiting == {second.number, third.number}
    cuts.left(third)
    cuts.answer(second, RevocationAck(id=number, last_cut_ns=40, count=1))
    await pending.wait()
    assert (pending.last_cut_ns, pending.count) == (50, 3)
    cuts.end(number)
    cuts.answer(first, RevocationAck(id=number, last_cut_ns=99, count=9))
    assert pending.count == 3


async def test_a_receipt_for_nobody_waits_for_nobody() -> None:
    """Without guests that answer, a revocation is done at once."""
    _, pending = DisconnectAcks().begin(set())
    await pending.wait()


async def test_what_is_told_keeps_its_order(table: OwnedTable, nursery: trio.Nursery) -> None:
    """Straight where nothing is before it, else through the queue: no message passes another."""
    guest = AttachedProcesses(table).enter(ASK)
    ours, theirs = trio.socket.socketpair()
    with ours, theirs:
        guest.descriptor = ours.fileno()
        sent: list[int] = []

        async def write() -> None:
            async for message in guest.outbox:
                assert isinstance(message, Reload)
                sent.append(message.generation)
                await trio.lowlevel.checkpoint()
                await ours.send(pack(message))

        for number in range(3):
            assert guest.send(Reload(generation=number))  # nobody waits for the queue yet
        nursery.start_soon(write)
        await trio.testing.wait_all_tasks_blocked()
        assert sent == [0, 1, 2]
        for number in range(3, 6):
            assert guest.send(Reload(generation=number))
        assert sent == [0, 1, 2]  # straight
        decoder = FrameDecoder()
        heard = [unpack(group_answers, body) for body in decoder.feed(await theirs.recv(65_536))]
        assert heard == [Reload(generation=number) for number in range(6)]
        guest.leave()
        assert not guest.send(Reload(generation=6))


def test_pushes_leave_room_for_answers(table: OwnedTable) -> None:
    """A storm of revocations while a guest reads nothing: what it waits for is still queued."""
    guest = AttachedProcesses(table).enter(ASK)
    pushed = [guest.send(RevocationNotice(id=n, keys=[bytes(16)])) for n in range(5000)]
    assert sum(pushed) == limits.ipc_push_frames_max
    answered = [guest.send(RequestFailed(id=n, message="")) for n in range(limits.ipc_draws_max)]
    assert all(answered)
