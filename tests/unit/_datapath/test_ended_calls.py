"""The end of a turn for the calls that ended in it."""

from collections.abc import Callable, Sequence

import pytest
from gateway_world import FakePermit, grant_of
from limit_worlds import limited, places

from crewgate._datapath.ended_calls import EndedCallQueue
from crewgate._native.metrics import BATCH_CALLS_MAX, CallBatch, CallSeries
from crewgate.core.verdict import Denial


class LoopHooks:
    def __init__(self) -> None:
        self.due: list[Callable[[], None]] = []

    def at_end(self, work: Callable[[], None]) -> None:
        self.due.append(work)

    when_idle = at_end


class Sink:
    """Keeps lines, and how the permits were when they came."""

    def __init__(self, permits: Sequence[FakePermit]) -> None:
        self.lines: list[bytes] = []
        self.ended: list[str] = []
        self._permits = permits
        self.calls = 0  # how many the metrics count with the lines

    def write_lines(self, lines: Sequence[bytes], calls: CallBatch) -> None:
        assert len(calls) == self.calls
        self.lines.extend(lines)
        self.ended.extend(permit.ended for permit in self._permits)


def test_a_turn_s_calls_are_recorded_together_and_then_settled() -> None:
    """One write for all, before the first is settled; the next turn begins anew."""
    permits = [FakePermit(grant_of(), 0) for _ in range(3)]
    turns, sink = LoopHooks(), Sink(permits)
    books = EndedCallQueue(sink, turns)
    books.add(b"a\n", permits[0], 10)
    books.add(b"b\n", permits[1], 0)
    (close,) = turns.due
    close()
    assert sink.lines == [b"a\n", b"b\n"]
    assert sink.ended == [""] * 3
    assert [permit.ended for permit in permits] == ["settled", "released", ""]
    books.add(b"c\n", permits[2], 10)
    assert len(turns.due) == 2
    turns.due[1]()
    assert sink.lines[2:] == [b"c\n"]
    assert permits[2].ended == "settled"


def test_no_line_waits_for_more_calls_than_a_batch_has() -> None:
    """The full batch is written with its lines before the next call is taken."""
    turns, sink, call = LoopHooks(), Sink([]), CallSeries((), ())
    books = EndedCallQueue(sink, turns)
    for number in range(BATCH_CALLS_MAX + 1):
        sink.calls = BATCH_CALLS_MAX
        books.add(b"%d\n" % number, FakePermit(grant_of(), 0), 0)
        books.calls.add(call, 1, 0, 0, 0, 0, 0, 0)
    assert len(sink.lines) == BATCH_CALLS_MAX
    sink.calls = 1
    turns.due[0]()
    assert sink.lines[BATCH_CALLS_MAX:] == [b"%d\n" % BATCH_CALLS_MAX]


def test_a_reservation_that_was_burned_meanwhile_stops_no_other_call() -> None:
    """Its line is written, and the calls after it are settled."""
    burned, other = FakePermit(grant_of(), 0), FakePermit(grant_of(), 0)
    burned.ended = "burned"
    turns = LoopHooks()
    books = EndedCallQueue(Sink([]), turns)
    books.add(b"a\n", burned, 10)
    books.add(b"b\n", other, 10)
    turns.due[0]()
    assert (burned.ended, other.ended) == ("burned", "settled")


def test_an_error_of_the_audit_keeps_no_price() -> None:
    """Whatever happens while lines are written, each permit is ended as it was to be."""

    class Broken(Sink):
        def write_lines(self, lines: Sequence[bytes], calls: CallBatch) -> None:
            raise ZeroDivisionError

    permits = [FakePermit(grant_of(), 0) for _ in range(2)]
    turns = LoopHooks()
    books = EndedCallQueue(Broken(permits), turns)
    books.add(b"a\n", permits[0], 10)
    books.add(b"b\n", permits[1], 0)
    with pytest.raises(ZeroDivisionError):
        turns.due[0]()
    assert [permit.ended for permit in permits] == ["settled", "released"]


def test_a_call_that_has_ended_makes_room_before_it_is_settled() -> None:
    """Its client may have the answer by now, and call again through another worker."""
    house = limited(places(1))
    permit, turns = house.permit(house.world.token), LoopHooks()
    books = EndedCallQueue(Sink([]), turns)
    books.add(b"a\n", permit, permit.price_micro)
    other = house.permit(house.world.token)
    assert isinstance(house.judge(house.world.token), Denial)
    turns.due[0]()
    assert isinstance(house.judge(house.world.token), Denial)
    other.settle()
    assert house.record().settled == 20
