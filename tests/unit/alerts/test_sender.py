"""How alerts reach a receiver that is away, busy, or refuses some of them."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing
from alert_fakes import NOW, add, alert, receiver

from crewgate import limits
from crewgate.alerts.alert import Alert, Findings
from crewgate.alerts.machine_assignment import MachineAssignment
from crewgate.alerts.outbox import AlertOutbox
from crewgate.alerts.sender import AlertSender
from crewgate.core.alert_kinds import AlertSeverity
from crewgate.core.health import HealthState
from crewgate.errors import (
    AlertOutboxError,
    ConfigurationError,
    ReceiverError,
    ReceiverRefusedError,
)
from crewgate.ipc.cluster_messages import MemberRow
from crewgate.metrics import families
from crewgate.metrics.process_metrics import ProcessMetrics

Answer = Callable[[Alert], None]
ROWS = [
    MemberRow("gw-1", "a", "here", "counts", 0, 99, may_revoke=True),
    MemberRow("gw-2", "b", "alive", "counts", 0, 99, may_revoke=True),
    MemberRow("gw-3", "c", "alive", "counts", 0, 99, may_revoke=True),
]


class FakeChannel:
    """A channel that keeps the texts that its receiver took, and asks `answer` before."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.answer: Answer = lambda _: None
        self.attempts: list[float] = []
        self.is_open = True
        self.secret_trouble = ""

    def check_secret(self) -> None:
        if self.secret_trouble:
            raise ConfigurationError(self.secret_trouble)

    async def send(self, alert: Alert) -> None:
        await trio.lowlevel.checkpoint()
        self.attempts.append(trio.current_time())
        self.answer(alert)
        self.taken.append(alert.text)

    async def close(self) -> None:
        self.is_open = False


class World:
    """An outbox, a receiver, and senders of one process after the other."""

    def __init__(self, outbox: AlertOutbox) -> None:
        self.outbox = outbox
        self.channel = FakeChannel()
        self.metrics = ProcessMetrics.unshared()
        self.start()

    def start(self) -> None:
        self.assignment = MachineAssignment()
        self.sender = AlertSender(
            receiver(),
            self.channel,
            self.outbox,
            self.metrics,
            self.assignment,
            lambda: NOW + trio.current_time(),
        )
        self.ending = trio.Event()

    def add(self, *numbers: int, subject: str = "") -> None:
        for number in numbers:
            made = alert(number, subject or f"s{number}")
            add(self.outbox, made, now=NOW + trio.current_time())
        self.sender.wake()

    async def run(self) -> None:
        await self.sender.run(self.ending)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    async def inline(work: Callable[..., object], *arguments: object) -> object:
        await trio.lowlevel.checkpoint()
        return work(*arguments)

    monkeypatch.setattr(trio.to_thread, "run_sync", inline)
    with AlertOutbox(tmp_path) as outbox:
        yield World(outbox)


def texts(*numbers: int) -> list[str]:
    return [f"number {number}" for number in numbers]


async def test_a_secret_that_cannot_be_used_is_told_before_the_first_alert(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    """And no more once it can."""
    world.channel.secret_trouble = "the secret in oncall.secret cannot be read"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.run)
        await trio.sleep(0.1)
        health = world.sender.health()
        assert (health.state, health.why) == (HealthState.FAILED, world.channel.secret_trouble)
        assert not health.refuses
        world.channel.secret_trouble = ""
        await trio.sleep(3)
        assert world.sender.health().state is HealthState.OK
        world.ending.set()


async def test_alerts_are_sent_as_they_come(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.run)
        world.add(1, 2)
        await trio.sleep(0.1)
        assert world.channel.taken == texts(1, 2)
        assert world.sender.health().state is HealthState.OK
        world.add(3)
        world.ending.set()
    assert world.channel.taken == texts(1, 2, 3)
    assert not world.channel.is_open
    sent = world.metrics.series(families.ALERTS_DELIVERED, "oncall")
    assert sent.value == 3


async def test_a_receiver_that_is_away_for_an_hour_gets_all(
    world: World, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The pauses grow up to a bound; health names the receiver; two lines of log are written."""
    is_away = True

    def answer(_: Alert) -> None:
        if is_away:
            raise ReceiverError("Connection refused")

    world.channel.answer = answer
    with caplog.at_level("INFO"):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.run)
            for minute in range(60):
                world.add(2 * minute, 2 * minute + 1, subject=f"s{minute % 7}")
                await trio.sleep(60)
            fact = world.sender.health()
            assert (fact.state, fact.refuses) == (HealthState.FAILED, False)
            assert fact.why.startswith("http://127.0.0.1:9/in has taken no alert for 36")
            assert "Connection refused; 120 alerts wait" in fact.why
            is_away = False
            await trio.sleep(2 * limits.receiver_backoff_seconds_max)
            assert world.sender.health().state is HealthState.OK
            world.ending.set()
    assert sorted(world.channel.taken) == sorted(texts(*range(120)))
    numbers = [int(text.removeprefix("number ")) for text in world.channel.taken]
    for subject in range(7):
        of_subject = [number for number in numbers if number // 2 % 7 == subject]
        assert of_subject == sorted(of_subject)
    failures = world.channel.attempts[: len(world.channel.attempts) - 120]
    pauses = [after - before for before, after in pairwise(failures)]
    assert pauses[0] >= limits.receiver_backoff_seconds_min
    assert max(pauses) <= 1.3 * limits.receiver_backoff_seconds_max
    assert len(caplog.records) == 2


async def test_after_an_outage_the_most_urgent_alert_is_the_first(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    """It was tried first, when the receiver took nothing; so its attempts say nothing about it."""
    is_away = True

    def answer(_: Alert) -> None:
        if is_away:
            raise ReceiverError("Connection refused")

    world.channel.answer = answer
    urgent = alert(999, "urgent", AlertSeverity.CRITICAL)
    add(world.outbox, urgent, now=NOW)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.run)
        await trio.sleep(1)
        world.add(*range(200))
        await trio.sleep(600)
        is_away = False
        await trio.sleep(2 * limits.receiver_backoff_seconds_max)
        world.ending.set()
    assert len(world.channel.taken) == 201
    assert world.channel.taken.index("number 999") <= 1


async def test_alerts_that_a_receiver_cannot_take_do_not_come_before_all_others(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    """Whatever their number and severity, each other alert waits for few of them."""

    def answer(each: Alert) -> None:
        if each.severity is AlertSeverity.CRITICAL:
            raise ReceiverError("HTTP status 500")

    world.channel.answer = answer
    for number in range(20):
        add(world.outbox, alert(900 + number, f"bad{number}", AlertSeverity.CRITICAL), now=NOW)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.run)
        world.add(*range(30))
        await trio.sleep(3600)
        assert world.channel.taken == texts(*range(30))
        nursery.cancel_scope.cancel()


async def test_a_receiver_says_when_to_come_back(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    def answer(_: Alert) -> None:
        if len(world.channel.attempts) == 1:
            raise ReceiverError("HTTP status 429", 90.0)

    world.channel.answer = answer
    world.add(1)
    world.ending.set()
    await world.run()
    first, second = world.channel.attempts
    assert second - first >= 90.0
    assert world.channel.taken == texts(1)


async def test_a_person_need_not_wait_for_the_pause(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    """`crewgate alerts retry` counts in the outbox."""
    is_away = True

    def answer(_: Alert) -> None:
        if is_away:
            raise ReceiverError("HTTP status 503", 600.0)

    world.channel.answer = answer
    world.add(1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.run)
        await trio.sleep(10)
        is_away = False
        world.outbox.retry("oncall", NOW)
        await trio.sleep(2)
        assert world.channel.taken == texts(1)
        world.ending.set()


async def test_a_refused_alert_is_given_up_and_no_other(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    """After some attempts; the next ones of its subject come then. Health shows it."""

    def answer(sent: Alert) -> None:
        if sent.data["number"] == 1:
            raise ReceiverRefusedError("HTTP status 400")

    world.channel.answer = answer
    world.add(1, 2, subject="s")
    world.add(3)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.run)
        await trio.sleep(120)
        assert world.channel.taken == texts(3, 2)
        assert len(world.channel.attempts) == limits.alert_refusals_max + 2
        fact = world.sender.health()
        assert fact.state is HealthState.DEGRADED
        assert fact.why == "the receiver refused 1 alerts, and 0 waited too long"
        world.ending.set()
    (row,) = world.outbox.rows(state="refused")
    assert row.why == "HTTP status 400"


async def test_a_receiver_that_refuses_everything_loses_nothing(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    """As with a wrong secret: all is sent once it is mended."""
    is_wrong = True

    def answer(_: Alert) -> None:
        if is_wrong:
            raise ReceiverRefusedError("HTTP status 400")

    world.channel.answer = answer
    world.add(1, 2, 3)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.run)
        await trio.sleep(3600)
        assert world.sender.health().state is HealthState.FAILED
        is_wrong = False
        await trio.sleep(2 * limits.receiver_backoff_seconds_max)
        world.ending.set()
    assert sorted(world.channel.taken) == texts(1, 2, 3)


async def test_an_alert_does_not_wait_for_ever(
    world: World, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "alerts_wait_seconds", 600)
    is_away = True

    def answer(_: Alert) -> None:
        if is_away:
            raise ReceiverError("Connection refused")

    world.channel.answer = answer
    world.add(1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.run)
        await trio.sleep(limits.alerts_wait_seconds - 60)
        world.add(2)
        await trio.sleep(120)
        is_away = False
        await trio.sleep(120)
        world.ending.set()
    assert world.channel.taken == texts(2)
    (row,) = world.outbox.rows(state="expired")
    assert (row.alert.text, row.why) == ("number 1", "Connection refused")
    assert world.metrics.series(families.ALERTS_GIVEN_UP, "oncall").value == 1


async def test_an_internal_error_ends_no_sender(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    def answer(_: Alert) -> None:
        if len(world.channel.attempts) < 3:
            raise OverflowError

    world.channel.answer = answer
    world.add(1)
    world.ending.set()
    await world.run()
    assert world.channel.taken == texts(1)


async def test_an_alert_that_cannot_be_noted_as_taken_is_not_sent_again_and_again(
    world: World, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a full disk: the next process sends it once more, with the same id."""
    world.add(1, 2)

    is_full, deliver = True, world.outbox.delivered

    def delivered(name: str, seq: int, now: float) -> None:
        if is_full:
            raise AlertOutboxError("the disk is full")
        deliver(name, seq, now)

    monkeypatch.setattr(world.outbox, "delivered", delivered)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.run)
        await trio.sleep(60)
        assert world.channel.taken == texts(1)
        is_full = False
        await trio.sleep(5)
        assert world.channel.taken == texts(1, 2)
        world.ending.set()


async def test_a_process_that_dies_at_any_moment_repeats_at_most_one(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    """Each alert arrives, those of a subject in order, whenever the process is killed."""
    for round_ in range(20):
        world.add(3 * round_, 3 * round_ + 1, 3 * round_ + 2, subject="s")
        world.start()
        with trio.CancelScope() as killed:

            def answer(_: Alert, killed: trio.CancelScope = killed, n: int = round_ % 4) -> None:
                if len(world.channel.attempts) % 4 == n:
                    killed.cancel()

            world.channel.answer = answer
            world.ending.set()
            await world.run()
    world.channel.answer = lambda _: None
    world.start()
    world.ending.set()
    await world.run()
    assert [*dict.fromkeys(world.channel.taken)] == texts(*range(60))
    assert world.channel.taken.count("number 0") <= 2


async def test_alerts_without_room_show(
    world: World, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "alerts_waiting_max", 2)
    world.add(1, 2, 3)
    world.ending.set()
    await world.run()
    fact = world.sender.health()
    assert fact.state is HealthState.DEGRADED
    assert fact.why == (
        "in all, 1 alerts found no room among the 2 that may wait, the last 0.0 hours ago"
    )


async def test_another_machine_tells_it_unless_it_is_away(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    """Then this one does, a minute later; what it alone sees waits for nothing."""
    others = {("oncall", alert(1).id): "gw-2", ("oncall", alert(2).id): "gw-3"}
    both = [alert(1, "s"), alert(2, "s")]
    world.outbox.add("test", Findings(both, {}), {"oncall": both}, NOW, None, others)
    world.add(3, subject="s")
    world.assignment.update(ROWS[:2])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.run)
        await trio.sleep(limits.alert_takeover_seconds - 1)
        assert world.channel.taken == texts(3)
        await trio.sleep(5)
        assert world.channel.taken == texts(3, 2)
        world.ending.set()
    (row,) = world.outbox.rows(state="elsewhere")
    assert (row.alert.text, row.why) == ("number 1", "machine gw-2 sends it")


def test_one_machine_tells_what_all_of_them_see() -> None:
    """Each machine chooses the same one, and each is chosen; other formats know ids."""
    chat, oncall = receiver("chat", format="slack"), receiver()
    shared = [alert(number, is_shared=True) for number in range(90)]
    counts = dict.fromkeys(("gw-1", "gw-2", "gw-3"), 0)
    for name in counts:
        assignment = MachineAssignment()
        assert not assignment.assigned_elsewhere([chat], shared)
        here = [
            msgspec.structs.replace(row, state="here" if row.name == name else "alive")
            for row in ROWS
        ]
        assignment.update(here)
        others = assignment.assigned_elsewhere([chat, oncall], [*shared, alert(91)])
        assert {receiver for receiver, _ in others} == {"chat"}
        own = [each for each in shared if ("chat", each.id) not in others]
        counts[name] = len(own)
    assert sum(counts.values()) == 90
    assert all(count > 10 for count in counts.values())
    far = assignment.assigned_elsewhere([oncall], [alert(91, is_shared=True, origin="gw-2")])
    assert far == {("oncall", alert(91).id): "gw-2"}
    away = [msgspec.structs.replace(row, state="dead") for row in ROWS[1:]]
    assignment = MachineAssignment()
    assignment.update([ROWS[0], *away])
    assert not assignment.assigned_elsewhere([chat], shared)
    assert not assignment.reaches("gw-2")


@pytest.mark.parametrize("away", ["", "gw-1", "gw-2", "gw-3"])
def test_some_machine_tells_a_revocation_at_once(away: str) -> None:
    """The one where it was; if that is away, one of the others."""
    machines = [row.name for row in ROWS if row.name != away]
    for number in range(20):
        telling = []
        for name in machines:
            assignment = MachineAssignment()
            assignment.update(
                msgspec.structs.replace(
                    row,
                    state="here" if row.name == name else "dead" if row.name == away else "alive",
                )
                for row in ROWS
            )
            is_own = name == "gw-1"
            noted = alert(number, is_shared=not is_own, origin="" if is_own else "gw-1")
            if not assignment.assigned_elsewhere([receiver("chat", format="slack")], [noted]):
                telling.append(name)
        assert len(telling) == 1
        assert telling == ["gw-1"] or away == "gw-1"
