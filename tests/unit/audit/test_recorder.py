"""A gateway hands its verdicts over and learns whether it may go on."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from audit_fakes import Clock, Disk, at_once, make_event, opening

from crewgate.audit.recorder import AuditRecorder
from crewgate.audit.writer import AuditWriter
from crewgate.core.audit.json_line import decode, encode
from crewgate.core.audit.records import RefusalsRecord
from crewgate.core.reasons import Reason


@pytest.fixture
def writer(tmp_path: Path, clock: Clock, disk: Disk) -> AuditWriter:
    """A writer on the fake disk."""
    made = AuditWriter(tmp_path, "w", reserved_bytes=0, now_ns=clock, write=disk)
    return opening(made, at_once)


@pytest.fixture
def make(writer: AuditWriter, clock: Clock) -> Callable[..., AuditRecorder]:
    """Make a sink on it."""
    return partial(AuditRecorder, writer, now_ns=clock)


def summaries(writer: AuditWriter) -> list[RefusalsRecord]:
    """The summaries in the writer's file."""
    assert writer.path is not None
    records = [decode(line) for line in writer.path.read_bytes().splitlines()]
    return [record for record in records if isinstance(record, RefusalsRecord)]


@pytest.mark.parametrize(("refuses", "ready"), [(True, False), (False, True)])
def test_a_full_disk_stops_calls_where_the_policy_says_so(
    make: Callable[..., AuditRecorder], disk: Disk, refuses: bool, ready: bool
) -> None:
    """`refuse` refuses from the first failed write until it recovers; `continue` never does."""
    sink = make(refuses_when_full=refuses)
    assert sink.ready()
    disk.room = 0
    assert not sink.write_lines([encode(make_event("lost"))])
    assert sink.ready() is ready
    disk.room = None
    sink.tick()
    assert sink.ready()


def test_strangers_are_summed_up_once_an_interval(
    make: Callable[..., AuditRecorder], writer: AuditWriter, clock: Clock
) -> None:
    """A thousand refusals are one line a minute."""
    sink = make()
    for _ in range(1000):
        sink.count("agents", Reason.INVALID_TOKEN, "192.0.2.0/24")
    clock.forward(59)
    sink.tick()
    assert summaries(writer) == []
    clock.forward(1)
    sink.tick()
    sink.tick()
    assert [line.count for line in summaries(writer)] == [1000]


def test_the_last_summaries_are_written_at_the_end(
    make: Callable[..., AuditRecorder], writer: AuditWriter
) -> None:
    """A gateway that ends has told of every stranger."""
    sink = make()
    sink.count("agents", Reason.MISSING_TOKEN, "192.0.2.0/24")
    sink.close()
    assert [line.count for line in summaries(writer)] == [1]


def test_counting_goes_on_while_the_disk_is_full(
    make: Callable[..., AuditRecorder], writer: AuditWriter, clock: Clock, disk: Disk
) -> None:
    """Nothing of it is lost: it is summed up after the recovery."""
    sink = make()
    disk.room = 0
    sink.write(make_event("lost"))
    sink.count("agents", Reason.INVALID_TOKEN, "-")
    clock.forward(61)
    sink.tick()
    sink.count("agents", Reason.INVALID_TOKEN, "-")
    disk.room = None
    clock.forward(1)
    sink.tick()
    assert [line.count for line in summaries(writer)] == [2]


def test_calls_are_admitted_by_the_present_writer_and_policy(tmp_path: Path) -> None:
    """If the writer cannot write, the policy decides. A reload replaces both."""
    first, second = AuditWriter(tmp_path / "first", "worker"), AuditWriter(tmp_path / "second", "w")
    recorder = AuditRecorder(first)
    assert recorder.ready()
    first.state.writable = False
    assert not recorder.ready()
    assert recorder.move(second, refuses_when_full=True) is first
    assert recorder.ready()
    second.state.writable = False
    assert not recorder.ready()
    recorder.move(second, refuses_when_full=False)
    assert recorder.ready()
    first.close()
    recorder.close()
