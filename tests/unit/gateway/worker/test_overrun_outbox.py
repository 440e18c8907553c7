"""Overruns that wait for an agent: none is forgotten, and what finds no room is said."""

import pytest
from grant_builders import grant

from crewgate import limits
from crewgate.gateway.worker.overrun_outbox import OverrunOutbox
from crewgate.ipc.attach_messages import ReportOverrun


def overrun(number: int) -> ReportOverrun:
    return ReportOverrun(id=number.to_bytes(16, "big"), grant=grant(number, 10), amount=1)


def sent(untold: OverrunOutbox) -> list[ReportOverrun]:
    found = []
    while (told := untold.next()) is not None:
        found.append(told)
    return found


def test_each_is_sent_once_a_connection_until_it_is_noted() -> None:
    """In the order in which they came."""
    untold = OverrunOutbox()
    told = [overrun(number) for number in range(3)]
    assert all(map(untold.keep, told))
    assert sent(untold) == []
    untold.put_off(told[2])
    assert sent(untold) == [told[2]]
    for _ in range(2):
        untold.begin_again()
        assert sent(untold) == told
    untold.noted(told[1].id)
    untold.noted(told[1].id)
    untold.begin_again()
    assert sent(untold) == [told[0], told[2]]


def test_what_finds_no_room_is_said_once_and_counted(
    monkeypatch: pytest.MonkeyPatch, log_lines: list[str]
) -> None:
    """When it begins, and with its number when it is over."""
    monkeypatch.setattr(limits, "overruns_kept_max", 2)
    untold = OverrunOutbox()
    for _ in range(2):
        log_lines.clear()
        assert [untold.keep(overrun(number)) for number in range(5)] == [True] * 2 + [False] * 3
        assert len(log_lines) == 1
        assert log_lines[0].startswith(
            "2 overruns wait for the agent, and new ones are not reported"
        )
        for number in range(2):
            untold.noted(overrun(number).id)
        assert log_lines[1:] == [
            "3 overruns were not reported to the agent; new ones are reported again"
        ]
