"""What waits for each receiver: durable, in order, bounded, and told once."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from alert_fakes import NOW, add, alert
from hypothesis import given
from hypothesis import strategies as st

from crewgate import limits
from crewgate.alerts.alert import Alert, Findings
from crewgate.alerts.outbox import EXPIRED, REFUSED, AlertOutbox
from crewgate.audit.file_progress import AuditPosition, FilePosition
from crewgate.core.alert_kinds import AlertSeverity
from crewgate.errors import AlertOutboxError


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[AlertOutbox]:
    with AlertOutbox(tmp_path) as found:
        yield found


def drain(outbox: AlertOutbox, name: str = "oncall") -> list[str]:
    """The texts of all that wait, in the order in which a receiver takes them."""
    texts = []
    while (found := outbox.next(name, NOW)) is not None:
        texts.append(found.alert.text)
        outbox.delivered(name, found.seq, NOW)
    return texts


def test_an_alert_is_kept_whole(outbox: AlertOutbox, tmp_path: Path) -> None:
    """Beyond the process; only the user of the gateway can read it."""
    sent = alert(1)
    assert add(outbox, sent) == 1
    with AlertOutbox(tmp_path) as again:
        found = again.next("oncall", NOW)
        assert found is not None
        assert found.alert == sent
    assert (tmp_path / "alerts").stat().st_mode & 0o777 == 0o700
    assert outbox.path.stat().st_mode & 0o777 == 0o600


def test_an_id_is_told_once(outbox: AlertOutbox) -> None:
    """Also after a receiver has it."""
    assert add(outbox, alert(1), alert(1)) == 1
    assert add(outbox, alert(1)) == 0
    assert drain(outbox) == ["number 1"]
    assert add(outbox, alert(1)) == 0


def test_each_receiver_has_its_own(outbox: AlertOutbox) -> None:
    first, second = alert(1), alert(2)
    outbox.add("test", Findings([first, second], {}), {"a": [first], "b": [first, second]}, NOW)
    assert drain(outbox, "a") == ["number 1"]
    assert drain(outbox, "b") == ["number 1", "number 2"]
    assert drain(outbox, "c") == []


def test_an_alert_that_nobody_wants_is_not_kept(outbox: AlertOutbox) -> None:
    assert outbox.add("test", Findings([alert(1)], {}), {"a": []}, NOW) == 0
    assert outbox.rows() == []


def test_the_urgent_ones_go_first_but_not_before_earlier_ones_of_their_subject(
    outbox: AlertOutbox,
) -> None:
    critical = AlertSeverity.CRITICAL
    add(outbox, alert(1, "a"), alert(2, "b"), alert(3, "b", critical), alert(4, "c", critical))
    assert drain(outbox) == ["number 4", "number 1", "number 2", "number 3"]


def test_one_that_fails_lets_other_subjects_go(outbox: AlertOutbox) -> None:
    """But none of its own subject."""
    add(outbox, alert(1, "a"), alert(2, "a"), alert(3, "b"))
    found = outbox.next("oncall", NOW)
    assert found is not None
    outbox.failed("oncall", found.seq, "HTTP status 500", is_refusal=False)
    assert drain(outbox) == ["number 3", "number 1", "number 2"]


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from([*AlertSeverity]), st.booleans()), max_size=40
    )
)
def test_each_subject_is_in_order_whatever_fails(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, AlertSeverity, bool]]
) -> None:
    """Against a list: each is taken once, and those of a subject as they came."""
    with AlertOutbox(tmp_path_factory.mktemp("outbox")) as outbox:
        taken: list[Alert] = []
        for number, (subject, severity, fails) in enumerate(steps):
            add(outbox, alert(number, f"s{subject}", severity))
            found = outbox.next("oncall", NOW)
            assert found is not None
            if fails:
                outbox.failed("oncall", found.seq, "no", is_refusal=False)
            else:
                taken.append(found.alert)
                outbox.delivered("oncall", found.seq, NOW)
        while (found := outbox.next("oncall", NOW)) is not None:
            taken.append(found.alert)
            outbox.delivered("oncall", found.seq, NOW)
    assert sorted(each.data["number"] for each in taken) == [*range(len(steps))]
    for subject in range(4):
        numbers = [each.data["number"] for each in taken if each.subject == f"s{subject}"]
        assert numbers == sorted(numbers)


def test_the_least_urgent_ones_go_if_there_is_no_room(
    outbox: AlertOutbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest of them first, and they are counted."""
    monkeypatch.setattr(limits, "alerts_waiting_max", 3)
    info, critical = AlertSeverity.INFO, AlertSeverity.CRITICAL
    add(outbox, alert(1, "a", critical), alert(2, "b", info), alert(3, "c", info))
    add(outbox, alert(4, "d"), alert(5, "e"))
    assert sorted(drain(outbox)) == ["number 1", "number 4", "number 5"]
    counts = outbox.counts("oncall")
    assert (counts.dropped, counts.dropped_at) == (2, NOW)


def test_what_was_given_up_can_be_sent_again(outbox: AlertOutbox) -> None:
    add(outbox, alert(1, "a"), alert(2, "b"), alert(3, "c"))
    for state in (REFUSED, EXPIRED):
        found = outbox.next("oncall", NOW)
        assert found is not None
        outbox.give_up("oncall", found.seq, state, NOW, "HTTP status 400")
    counts = outbox.counts("oncall")
    assert (counts.waiting, counts.refused, counts.expired) == (1, 1, 1)
    assert outbox.tried("oncall") == 0
    assert outbox.retry("oncall", NOW) == 3
    assert outbox.tried("oncall") == 1
    assert drain(outbox) == ["number 1", "number 2", "number 3"]
    assert outbox.retry("oncall", NOW) == 0


def test_the_list_has_the_newest_first(outbox: AlertOutbox) -> None:
    add(outbox, alert(1), alert(2))
    add(outbox, alert(3), name="other")
    found = outbox.next("oncall", NOW)
    assert found is not None
    outbox.delivered("oncall", found.seq, NOW + 5)
    rows = [(row.receiver, row.state, row.since, row.alert.text) for row in outbox.rows()]
    assert rows == [
        ("other", "waiting", NOW, "number 3"),
        ("oncall", "waiting", NOW, "number 2"),
        ("oncall", "delivered", NOW + 5, "number 1"),
    ]
    assert len(outbox.rows("oncall", "waiting")) == 1
    assert len(outbox.rows(count=2)) == 2


def test_old_ones_and_receivers_that_are_gone_are_removed(
    outbox: AlertOutbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "alerts_done_max", 2)
    add(outbox, *(alert(number, f"s{number}") for number in range(5)))
    add(outbox, alert(9), name="gone")
    for number in range(4):
        found = outbox.next("oncall", NOW)
        assert found is not None
        outbox.delivered("oncall", found.seq, NOW + number)
    assert outbox.tidy(["oncall"], NOW) == 1
    assert [row.alert.text for row in outbox.rows()] == ["number 4", "number 3", "number 2"]
    assert outbox.tidy(["oncall"], NOW + limits.alerts_done_seconds + 10) == 0
    assert [row.state for row in outbox.rows()] == ["waiting"]


def test_notes_and_position_are_stored_with_the_alerts(outbox: AlertOutbox) -> None:
    """All of it or nothing."""
    assert outbox.position() is None
    position = AuditPosition({"a.jsonl": FilePosition(3, 5)})
    outbox.add("health", Findings([], {"ledger": "failed", "old": "x"}), {}, NOW, position)
    outbox.add("health", Findings([], {"old": None}), {}, NOW)
    assert outbox.notes("health") == {"ledger": "failed"}
    assert outbox.notes("other") == {}
    assert outbox.position() == position
    bad = Findings([], {"ledger": "ok", "broken": object()})  # type: ignore[dict-item]
    with pytest.raises(AlertOutboxError):
        outbox.add("health", bad, {}, NOW)
    assert outbox.notes("health") == {"ledger": "failed"}


def test_a_file_of_another_version_is_refused(outbox: AlertOutbox, tmp_path: Path) -> None:
    with closing(sqlite3.connect(outbox.path)) as database:
        database.execute("PRAGMA user_version = 9")
    with pytest.raises(AlertOutboxError, match="version 9, but this Crewgate reads version 1"):
        AlertOutbox(tmp_path)


WRITER = """
import sys
from pathlib import Path
from alert_fakes import add, alert
from crewgate.alerts.outbox import AlertOutbox
first = int(sys.argv[2])
with AlertOutbox(Path(sys.argv[1])) as outbox:
    for number in range(first, first + 16):
        add(outbox, alert(number, f"s{number}"))
        print(number, flush=True)
    sys.stdin.read()  # until it is killed
"""


def test_sigkill_loses_nothing_that_was_stored(outbox: AlertOutbox, tmp_path: Path) -> None:
    """While another process takes alerts from the same file."""
    support = Path(__file__).parents[2] / "support"
    environment = os.environ | {"PYTHONPATH": str(support)}
    stored: set[str] = set()
    taken: list[str] = []
    for round_ in range(4):
        arguments = [sys.executable, "-c", WRITER, str(tmp_path), str(round_ * 10_000)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with subprocess.Popen(arguments, **pipes, env=environment) as writer:  # type: ignore[call-overload]
            assert writer.stdout is not None
            for line in writer.stdout:
                stored.add(f"number {int(line)}")
                if int(line) % 10_000 == 3:
                    found = outbox.next("oncall", NOW)
                    assert found is not None
                    outbox.delivered("oncall", found.seq, NOW)
                    taken.append(found.alert.text)
                if int(line) % 10_000 == 10 + round_:
                    break
            writer.send_signal(signal.SIGKILL)
            for line in writer.stdout:
                stored.add(f"number {int(line)}")
    taken += drain(outbox)
    assert stored <= {*taken}
    assert len(taken) == len({*taken})
