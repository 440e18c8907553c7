"""A machine that went down says so at its next start, and what its audit lacks."""

import json
import subprocess
from pathlib import Path

import msgspec
import pytest
import trio
from machines import Start

from crewgate.agent import lost_lines
from crewgate.core.record import Event, Record


def test_only_a_boot_without_an_end_between_is_a_machine_that_went_down(tmp_path: Path) -> None:
    """A killed agent is followed by another of the same boot; an end takes the mark away."""
    boots = [tmp_path / name for name in ("one", "two")]
    for path in boots:
        path.write_text(path.name)
    one, two = boots
    assert [lost_lines.began(tmp_path, boot) for boot in (one, one, two, two)] == [
        False, False, True, False,
    ]  # fmt: skip
    lost_lines.ended(tmp_path)
    assert not lost_lines.began(tmp_path, one)
    (tmp_path / "serving").write_bytes(b"")  # as a disk leaves it that lost its power
    assert lost_lines.began(tmp_path, one)


def test_what_may_be_lost_is_what_the_configuration_says(start: Start) -> None:
    """A person reads how much, and what loses nothing."""
    audit = start().inforce.config.audit
    said = {
        sync: lost_lines.promise(msgspec.structs.replace(audit, sync=sync))
        for sync in ("second", "each", "never")
    }
    assert "its last second" in said["second"]
    assert "no line of a call that was answered is lost" in said["each"]
    assert "half a minute" in said["never"]


def answer(monkeypatch: pytest.MonkeyPatch, text: str) -> list[list[str]]:
    """What the comparing command says; and how it was asked."""
    asked: list[list[str]] = []

    async def run(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        asked.append(command)
        return subprocess.CompletedProcess(command, 1, text.encode(), b"")

    monkeypatch.setattr(trio, "run_process", run)
    return asked


def row(ledger: int, audit: int) -> dict[str, object]:
    return {"crew": "article", "branch": "b", "ledger_spent_micro": ledger,
            "audit_spent_micro": audit, "leased_micro": 0}  # fmt: skip


async def test_the_ledger_says_what_no_line_tells_of(
    start: Start, monkeypatch: pytest.MonkeyPatch, said: list[str], written: list[Record]
) -> None:
    """What the audit has more is a call that the ledger has not heard of yet: no loss."""
    machine = start()
    rows = [row(3_000_000, 1_000_000), row(500_000, 0), row(0, 9)]
    asked = answer(monkeypatch, json.dumps({"ok": False, "differences": rows}))
    await lost_lines.tell(machine)
    assert asked[0][-1] == str(machine.inforce.config.path)
    assert "2.50 credits spent by 2 branches of which no line of the audit tells" in said[-1]
    event = written[-1]
    assert isinstance(event, Event)
    assert (event.event, event.count) == ("audit-lost", 2)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (json.dumps({"ok": True, "differences": []}), "the audit tells of all"),
        ("crewgate: broken", "could not be compared"),
    ],
)
async def test_nothing_is_claimed_that_is_not_known(
    start: Start, monkeypatch: pytest.MonkeyPatch, said: list[str], text: str, says: str
) -> None:
    """A command that fails is no proof of a loss."""
    answer(monkeypatch, text)
    assert await lost_lines.compare(start().inforce.config, said.append) == 0
    assert says in said[-1]


async def test_an_audit_that_is_not_whole_is_compared_by_a_person(
    start: Start, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    """Its oldest files went, so the ledger has more in any case."""
    asked = answer(monkeypatch, "")
    config = start().inforce.config
    kept = msgspec.structs.replace(
        config, audit=msgspec.structs.replace(config.audit, keep_bytes=10**9)
    )
    assert await lost_lines.compare(kept, said.append) == 0
    assert (asked, "ledger reconcile" in said[-1]) == ([], True)
