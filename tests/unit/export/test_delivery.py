"""How records reach a receiver that is away, busy, or refuses some of them."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
import trio
import trio.testing

from crewgate import limits
from crewgate.audit.audit_entry import AuditEntry
from crewgate.audit.audit_tail import AuditTail
from crewgate.core.health import HealthState
from crewgate.errors import ReceiverError, ReceiverRefusedError
from crewgate.export.channel import Rejection
from crewgate.export.delivery import Delivery
from crewgate.export.position_file import ExportPosition, PositionFile
from crewgate.metrics import families
from crewgate.metrics.process_metrics import ProcessMetrics

FILE = "worker-0-20261124T120000.000000Z.jsonl"
Answer = Callable[[list[int]], Rejection | None]
COUNTERS = (families.EXPORTED, families.EXPORT_REFUSED)


class FakeChannel:
    """A channel that keeps the numbers that its receiver took, and asks `answer` before."""

    name = "collector"

    def __init__(self, answer: Answer = lambda _: None) -> None:
        self.taken: list[int] = []
        self.answer = answer
        self.attempts: list[float] = []

    def wants(self, entry: AuditEntry) -> bool:
        return "count" in entry.record

    async def send(self, entries: Sequence[AuditEntry]) -> Rejection:
        await trio.lowlevel.checkpoint()
        self.attempts.append(trio.current_time())
        numbers = [entry.record["count"] for entry in entries]
        rejection = self.answer(numbers)
        self.taken += numbers
        return rejection or Rejection()

    async def close(self) -> None:
        pass


class Running:
    """A delivery of a folder's audit over a fake channel."""

    def __init__(self, folder: Path, channel: FakeChannel) -> None:
        self.audit = folder / FILE
        self.file = PositionFile(folder / "export" / "collector.position", ExportPosition)
        self.tail = AuditTail(folder, self.file.load(), trio.current_time)
        self.metrics = ProcessMetrics.unshared()
        self.delivery = Delivery(channel, "http://collector", self.tail, self.file, self.metrics)
        self.ending = trio.Event()

    def write(self, *numbers: int) -> None:
        with self.audit.open("ab") as file:
            for number in numbers:
                count = b',"count":%d' % number if number else b""
                file.write(b'{"kind":"event","time":"2026-11-24T12:00:00Z"%b}\n' % count)

    async def to_the_end(self) -> None:
        self.ending.set()
        await self.delivery.run(self.ending)


@pytest.fixture
def channel() -> FakeChannel:
    return FakeChannel()


async def inline(work: Callable[..., object], *arguments: object) -> object:
    """Run a function here: the clock of these tests does not wait for a thread."""
    await trio.lowlevel.checkpoint()
    return work(*arguments)


@pytest.fixture
def running(tmp_path: Path, channel: FakeChannel, monkeypatch: pytest.MonkeyPatch) -> Running:
    monkeypatch.setattr(trio.to_thread, "run_sync", inline)
    return Running(tmp_path, channel)


async def test_all_is_sent_once_and_the_position_is_saved(
    running: Running, autojump_clock: trio.testing.MockClock, channel: FakeChannel
) -> None:
    """What the receiver does not want moves the position too."""
    running.write(1, 2, 0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(running.delivery.run, running.ending)
        await trio.sleep(5)
        running.write(3)
        await trio.sleep(5.5)  # the last look is half a second old
        assert channel.taken == [1, 2, 3]
        assert running.delivery.health().state is HealthState.OK
        running.write(4)
        running.ending.set()
    assert channel.taken == [1, 2, 3, 4]
    assert running.file.load().files[FILE].offset == running.audit.stat().st_size


async def test_a_receiver_that_is_away_gets_all_later(
    running: Running,
    autojump_clock: trio.testing.MockClock,
    channel: FakeChannel,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The pauses grow up to a bound; health names the receiver; two lines of log are written."""
    is_away = True

    def answer(_: list[int]) -> None:
        if is_away:
            raise ReceiverError("Connection refused")

    channel.answer = answer
    running.write(1)
    with caplog.at_level("INFO"):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(running.delivery.run, running.ending)
            await trio.sleep(600)
            fact = running.delivery.health()
            assert (fact.state, fact.refuses) == (HealthState.FAILED, False)
            assert "http://collector has taken no records for " in fact.why
            running.write(2)
            is_away = False
            await trio.sleep(2 * limits.receiver_backoff_seconds_max)
            assert channel.taken == [1, 2]
            assert running.delivery.health().state is HealthState.OK
            running.ending.set()
    pauses = [after - before for before, after in pairwise(channel.attempts)]
    assert pauses[0] >= limits.receiver_backoff_seconds_min
    assert max(pauses[:-1]) <= 1.3 * limits.receiver_backoff_seconds_max
    assert len(caplog.records) == 2


async def test_a_receiver_says_when_to_come_back(
    running: Running, autojump_clock: trio.testing.MockClock, channel: FakeChannel
) -> None:
    def answer(_: list[int]) -> None:
        if len(channel.attempts) == 1:
            raise ReceiverError("HTTP status 429", 90.0)

    channel.answer = answer
    running.write(1)
    await running.to_the_end()
    first, second = channel.attempts
    assert second - first >= 90.0
    assert channel.taken == [1]


async def test_a_refused_record_is_given_up_and_no_other(
    running: Running, autojump_clock: trio.testing.MockClock, channel: FakeChannel
) -> None:
    """Whichever it is; the loss shows in health, and the count is saved."""

    def answer(numbers: list[int]) -> None:
        if 3 in numbers:
            raise ReceiverRefusedError("HTTP status 400")

    channel.answer = answer
    running.write(*range(1, 9))
    await running.to_the_end()
    assert channel.taken == [1, 2, 4, 5, 6, 7, 8]
    fact = running.delivery.health()
    assert fact.state is HealthState.DEGRADED
    assert "refused 1 records" in fact.why
    assert running.file.load().refused == 1


async def test_a_batch_goes_on_where_a_failure_has_stopped_it(
    running: Running, autojump_clock: trio.testing.MockClock, channel: FakeChannel
) -> None:
    """Else a receiver that takes few requests in a minute may get the same records for ever."""

    def answer(numbers: list[int]) -> None:
        if len(channel.attempts) % 5 == 0:
            raise ReceiverError("HTTP status 429")
        if 3 in numbers or 8 in numbers:
            raise ReceiverRefusedError("HTTP status 400")

    channel.answer = answer
    running.write(*range(1, 9))
    await running.to_the_end()
    assert channel.taken == [1, 2, 4, 5, 6, 7]
    assert running.file.load().refused == 2
    assert running.metrics.series(families.EXPORTED, "collector").value == 6


async def test_a_slow_receiver_gets_as_many_records_as_it_takes_in_time(
    running: Running, autojump_clock: trio.testing.MockClock, channel: FakeChannel
) -> None:
    """Else it would get the beginning of the same batch for ever."""

    def answer(numbers: list[int]) -> None:
        if len(numbers) > 10:
            raise ReceiverError("no answer within 30 s")

    channel.answer = answer
    running.write(*range(1, 201))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(running.delivery.run, running.ending)
        await trio.sleep(3600)
        assert channel.taken == list(range(1, 201))
        channel.answer = lambda _: None
        running.write(*range(201, 401))
        await trio.sleep(5)
        running.ending.set()
    assert channel.taken == list(range(1, 401))


@pytest.mark.parametrize("count", [1, 3, 200])
async def test_a_receiver_that_refuses_everything_loses_nothing(
    running: Running, autojump_clock: trio.testing.MockClock, channel: FakeChannel, count: int
) -> None:
    """As with a wrong URL: all is sent once it is mended, after a bounded number of attempts."""
    is_wrong = True

    def answer(_: list[int]) -> None:
        if is_wrong:
            raise ReceiverRefusedError("HTTP status 400")

    channel.answer = answer
    running.write(*range(1, count + 1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(running.delivery.run, running.ending)
        await trio.sleep(0.3)
        assert len(channel.attempts) <= limits.export_refusals_max + 1
        await trio.sleep(60)
        assert running.delivery.health().state is HealthState.FAILED
        is_wrong = False
        await trio.sleep(2 * limits.receiver_backoff_seconds_max)
        running.ending.set()
    assert channel.taken == list(range(1, count + 1))
    assert running.file.load().refused == 0


async def test_a_receiver_that_fails_each_second_time_fills_no_log(
    running: Running,
    autojump_clock: trio.testing.MockClock,
    channel: FakeChannel,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """`RepetitionFilter` limits the warnings by their subject, but no line of a lower level."""
    monkeypatch.setattr(limits, "audit_batch_records_max", 1)

    def answer(_: list[int]) -> None:
        if len(channel.attempts) % 2:
            raise ReceiverError("HTTP status 503")

    channel.answer = answer
    running.write(1, 2, 3)
    with caplog.at_level("INFO"):
        await running.to_the_end()
    assert channel.taken == [1, 2, 3]
    returns = [record for record in caplog.records if record.levelname == "INFO"]
    assert len(returns) == 1
    others = [record.__dict__.get("subject") for record in caplog.records if record not in returns]
    assert others == ["export to collector"] * 3


async def test_a_delivery_that_is_stuck_shows(
    running: Running,
    autojump_clock: trio.testing.MockClock,
    channel: FakeChannel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As in a file system whose server has gone; a long pause of a failing one is no such state."""

    async def send(_: Sequence[AuditEntry]) -> Rejection:
        if not channel.attempts:
            channel.attempts.append(trio.current_time())
            raise ReceiverError("HTTP status 503", 500.0)
        await trio.sleep_forever()
        return Rejection()

    monkeypatch.setattr(channel, "send", send)
    running.write(1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(running.delivery.run, running.ending)
        await trio.sleep(400)
        assert "has taken no records" in running.delivery.health().why
        await trio.sleep(400)
        fact = running.delivery.health()
        assert fact.state is HealthState.FAILED
        assert "a file system has not answered for" in fact.why
        nursery.cancel_scope.cancel()


async def test_an_internal_error_ends_no_delivery(
    running: Running, autojump_clock: trio.testing.MockClock, channel: FakeChannel
) -> None:
    """The other receivers get their records, and this one gets them when the cause has gone."""

    def answer(_: list[int]) -> None:
        if len(channel.attempts) < 3:
            raise OverflowError

    channel.answer = answer
    running.write(1)
    await running.to_the_end()
    assert channel.taken == [1]


async def test_a_partial_success_is_counted(
    running: Running,
    autojump_clock: trio.testing.MockClock,
    channel: FakeChannel,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """And not sent again (OTLP: a client must not)."""
    channel.answer = lambda _: Rejection(2, "too old")
    running.write(1, 2, 3)
    await running.to_the_end()
    assert channel.taken == [1, 2, 3]
    assert running.file.load().refused == 2
    counts = [running.metrics.series(each, "collector") for each in COUNTERS]
    assert [series.value for series in counts] == [1, 2]
    assert "http://collector refused 2 records: too old" in caplog.text


async def test_a_loss_during_a_long_pause_is_counted(
    running: Running, autojump_clock: trio.testing.MockClock, channel: FakeChannel
) -> None:
    """Also of a file that was made after the pause began."""

    def answer(_: list[int]) -> None:
        raise ReceiverError("HTTP status 503", 500.0)

    channel.answer = answer
    running.write(1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(running.delivery.run, running.ending)
        await trio.sleep(10)
        late = running.audit.with_name("worker-1-20261124T120000.000000Z.jsonl")
        late.write_bytes(running.audit.read_bytes())
        await trio.sleep(10)
        late.unlink()
        await trio.sleep(10)
        assert len(channel.attempts) == 1
        assert running.tail.position.lost_bytes == 57
        nursery.cancel_scope.cancel()


async def test_a_deleted_file_is_a_loss_that_is_named(
    running: Running,
    autojump_clock: trio.testing.MockClock,
    channel: FakeChannel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "audit_batch_records_max", 1)
    running.write(1, 2, 3)

    def answer(_: list[int]) -> None:
        if running.audit.exists():
            running.audit.unlink()
            raise ReceiverError("Connection refused")

    channel.answer = answer
    async with trio.open_nursery() as nursery:
        nursery.start_soon(running.delivery.run, running.ending)
        await trio.sleep(5)
        running.ending.set()
    assert channel.taken == [1]
    fact = running.delivery.health()
    assert fact.state is HealthState.DEGRADED
    assert "bytes of 1 audit files were deleted" in fact.why
    assert running.file.load() == ExportPosition({}, lost_bytes=2 * 57, lost_files=1)
