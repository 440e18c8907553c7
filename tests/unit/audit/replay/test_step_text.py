"""What a step is called, for each kind of record."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from audit_records import NOON, ROOT, burned, deny, grant, opening, permit, rule_step

from crewgate.audit.replay.run_record import read
from crewgate.audit.replay.step_text import describe, mark, plural
from crewgate.core.audit.json_line import encode
from crewgate.core.audit.records import (
    CallOutcome,
    ConnectionRecord,
    Record,
    RevocationRecord,
    WatchRecord,
)

REVOKED: dict[str, Any] = {
    "crew": "article", "orchestrator": "", "process": "", "role": "", "branch": "", "time": NOON,
    "target": "subject", "id": "user_1", "by": "operator/ada",
}  # fmt: skip
WATCH: dict[str, Any] = {
    "time": NOON, "crew": "article", "orchestrator": "article/one", "step": "set", "was": "observe",
    "level": "quarantine", "in_force": "quarantine",
}  # fmt: skip


@pytest.mark.parametrize(
    ("record", "said", "marked"),
    [
        (permit(1, ROOT, "w", "search.web", 10_000, status=200),
         "search.web: done 200, 0.01 credits, 2 ms", "call"),
        (permit(1, ROOT, "w", "search.web", 0, outcome=CallOutcome.CLIENT_GONE),
         "search.web: client-gone, 0.00 credits, 2 ms", "call"),
        (permit(1, ROOT, "w", "", 0, would="tool-not-allowed"),
         "(no tool): done, 0.00 credits, 2 ms (would: tool-not-allowed)", "call"),
        (deny(1, ROOT, "w", "search.web", "rate-limited"),
         "search.web: refused, rate-limited", "refused"),
        (grant(ROOT, "w", 0), "grant of 2.50 credits for search.*, until 12:15:00", "grant"),
        (opening(1, ROOT, "w", "search.stream", "r"), "search.stream: stream began", "open"),
        (burned(1, ROOT, "w", "search.web", "r"),
         "search.web: reservation of 0.01 credits burned (owner-died)", "burned"),
        (rule_step(1, ROOT, "w", "loops", "end", 20),
         "rule loops ended the branch at 20 (limit 20)", "rule"),
        (rule_step(1, ROOT, "w", "loops", "refuse", 9, mode="observe"),
         "rule loops would have refused at 9 (limit 9)", "rule"),
        (rule_step(1, ROOT, "w", "loops", "warn", 9, mode="observe"),
         "rule loops warned at 9 (limit 9)", "rule"),
        (rule_step(1, ROOT, "w", "pace", "warn", 2_000_000, rule_kind="credits-per-minute"),
         "rule pace warned at 2.00 (limit 2.00)", "rule"),
        (RevocationRecord(**REVOKED), "subject user_1 revoked by operator/ada", "revocation"),
        (RevocationRecord(**REVOKED, reason="loops", cuts=1),
         "subject user_1 revoked by operator/ada: loops; 1 call ended", "revocation"),
        (WatchRecord(**WATCH, by="owner"),
         "minting watch of article/one: set, observe to quarantine, by owner", "watch"),
        (WatchRecord(**WATCH, by="watch", measure="grants", value=9, limit=5),
         "minting watch of article/one: set, observe to quarantine; grants 9 over 5", "watch"),
        (ConnectionRecord(time=NOON, listener="agents", peer="-", verdict="expelled",
                          reason="revoked", branch=ROOT),
         "connection with a certificate of the branch expelled: revoked", "connection"),
    ],
)  # fmt: skip
def test_a_step_says_what_happened(record: Record, said: str, marked: str) -> None:
    found = read(encode(record).rstrip(b"\n"))
    assert found is not None
    assert (describe(found), mark(found)) == (said, marked)


def test_counts_have_their_nouns() -> None:
    assert [plural(count, "line") for count in (0, 1, 1200)] == ["0 lines", "1 line", "1,200 lines"]


def test_a_call_counts_when_it_has_ended() -> None:
    long = msgspec.structs.replace(permit(1, ROOT, "w", "a", 5), duration_us=2 * 10**6)
    found = read(encode(long).rstrip(b"\n"))
    assert found is not None
    assert found.moment_us - found.begin_us == 2 * 10**6
    assert found.begin_us == round((NOON + timedelta(seconds=1)).timestamp() * 1e6)
