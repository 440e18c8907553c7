"""Observations of a story that held, made up call by call, for tests that break one thing in it."""

from datetime import UTC, datetime, timedelta
from typing import Any

from crewgate import limits
from crewgate.audit.query_results import CallRow
from crewgate.demo.agents import EMBEDDINGS, PUBLISH, SEARCH, SUMMARY, AgentEvent
from crewgate.demo.alerts import SignedAlert
from crewgate.demo.cluster_act import CAST, ClusterObservations
from crewgate.demo.cross_crew_act import (
    BALANCE,
    LEAVING,
    STATEMENT,
    STAYING,
    CrossCrewObservations,
    DecommissionOutput,
)
from crewgate.demo.restart import RestartObservations
from crewgate.demo.story import (
    ROLES,
    CopiedToken,
    Observations,
    RevokeOutput,
    TimedRevokeOutput,
)
from crewgate.demo.tools import ReceivedCall
from crewgate.issuer import ProofKey

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
READ_NS = 5_000_000_000
PAID = 250  # calls at 0.01 that 2.50 credits pay for
THREE = tuple(part.role for part in CAST)
_ALL = {role: f"0199c1d2-0000-7000-8000-{n:012d}" for n, role in enumerate((*ROLES, *THREE))}
BRANCHES = {role: _ALL[role] for role in ROLES}


def said(path: str, status: int = 200, reason: str = "", second: float = 6) -> AgentEvent:
    """An answered or refused call, asked for a millisecond before."""
    at_ns = int(second * 1e9)
    return AgentEvent("call", at_ns, path, status, reason, asked_ns=at_ns - 1_000_000)


def what_was_said() -> dict[str, list[AgentEvent]]:
    """Each role's own account."""
    left = limits.demo_loop_calls - PAID
    same = limits.demo_same_page_calls
    looped = [said(SEARCH)] * 9 + [said(SEARCH, 403, "loop-detected")] * 11
    dead = said(SEARCH, 401, "branch-revoked")
    scrape = said(SEARCH, 403, "tool-not-allowed")
    return {
        "orchestrator": [said(EMBEDDINGS)] * 20,
        "researcher": looped + [said(SEARCH, 401, "branch-revoked")] * (same - len(looped)),
        "collector": [said(SEARCH)] * PAID + [said(SEARCH, 403, "credits-exhausted")] * left,
        "drafter": [said(EMBEDDINGS), scrape] * 20,
        "fact-checker": [
            AgentEvent("opened", READ_NS - 10, SUMMARY, 200),
            AgentEvent("ended", READ_NS + 9_000_000, SUMMARY, 200, "reset", READ_NS + 8_000_000),
            *[dead] * limits.demo_revoked_calls,
        ],
        "style-reviewer": [said(EMBEDDINGS)] * 20,
        "publisher": [said(PUBLISH)] * 20,
    }


def restarted() -> RestartObservations:
    """Everybody has spent after the restart what he had spent before."""
    spent = dict.fromkeys(BRANCHES.values(), 200_000) | {BRANCHES["collector"]: 2_500_000}
    return RestartObservations(spent, spent, said(SEARCH, 403, "credits-exhausted"))


def row(role: str, number: int, **more: Any) -> CallRow:
    """One line of the audit: a call of that role that cost 0.01."""
    fields: dict[str, Any] = {
        "time": NOON, "machine": "one", "request": f"{role}-{number}", "crew": "article",
        "orchestrator": "article/one", "process": "pid_1", "role": role,
        "branch": _ALL[role], "ancestry": [], "grant": "g", "subject": "u",
        "listener": "agents", "peer": "127.0.0.0/24", "tool": "t", "method": "POST",
        "verdict": "permit", "outcome": "done", "reason": "", "would": "", "level": "",
        "cost_micro": 10_000, "remaining_micro": 0, "quota_micro": 0, "status": 200,
        "bytes_in": 0, "bytes_out": 0, "duration_us": 1, "certificate": "",
    }  # fmt: skip
    return CallRow(**(fields | more))


def rows() -> list[CallRow]:
    """What the audit says of the same calls."""
    found = []
    for role, ones in what_was_said().items():
        for number, one in enumerate(ones):
            if one.what == "opened":
                found.append(row(role, number, outcome="revoked"))
            elif one.what == "call":
                refused = {"verdict": "deny", "cost_micro": 0, "outcome": "refused"}
                found.append(row(role, number, **({} if one.admitted else refused)))
    return found


def seen() -> Observations:
    """A story that held."""
    permits = [one for one in rows() if one.verdict == "permit"]
    return Observations(
        branches=BRANCHES,
        events=what_was_said(),
        keys={role: ProofKey.generate() for role in ROLES},
        copied=CopiedToken(*[said(SEARCH, 401, "invalid-proof")] * 2),
        revoked=TimedRevokeOutput(
            RevokeOutput(READ_NS, 5.0),
            300.0,
            NOON + timedelta(seconds=5),
        ),
        received=[ReceivedCall("/t", one.request, one.branch) for one in permits],
        seconds=12.0,
        alert=SignedAlert("rule same-call has ended branch 1", is_signed=True),
        calls=rows(),
    )


def crossed() -> CrossCrewObservations:
    """A second act that held."""
    return CrossCrewObservations(
        events={
            LEAVING: [
                said(BALANCE, second=7),
                AgentEvent("opened", READ_NS + 1, STATEMENT, 200),
                AgentEvent(
                    "ended", READ_NS + 4_000_000, STATEMENT, 200, "reset", READ_NS + 3_000_000
                ),
            ],
            STAYING: [said(BALANCE)] * limits.demo_border_calls,
        },
        copied=said(BALANCE, 401, "invalid-proof"),
        dropped="certificate required",
        decommissioned=DecommissionOutput(READ_NS),
        command_ms=250.0,
        after="certificate revoked",
        token_after=said(BALANCE, 401, "branch-revoked"),
    )


def ended() -> ClusterObservations:
    """A third act that held: the receipt came 7 ms after the agent had read the request."""
    revoked = TimedRevokeOutput(
        RevokeOutput(READ_NS, 0.0, applied_on=3, of=3, ms=7.0),
        300.0,
        NOON + timedelta(seconds=5),
    )
    dead = said(SEARCH, 401, "branch-revoked")
    in_time = [said(SEARCH, second=4), said(SEARCH, second=5.002)]
    calls = [
        row("translator", 0, tool="summary.stream", outcome="revoked"),
        row("translator", 1),
        row("translator", 2, time=NOON + timedelta(seconds=5.001)),
        *(row("editor", number) for number in range(30)),
        *(row("indexer", number) for number in range(30)),
    ]
    return ClusterObservations(
        branches={role: _ALL[role] for role in THREE},
        events={
            "translator": [
                AgentEvent("opened", READ_NS - 10, SUMMARY, 200),
                AgentEvent(
                    "ended", READ_NS + 5_000_000, SUMMARY, 200, "reset", READ_NS + 4_000_000
                ),
                *in_time,
                *[dead] * limits.demo_after_calls,
            ],
            "editor": [said(EMBEDDINGS)] * 30,
            "indexer": [said(EMBEDDINGS)] * 30,
        },
        revoked=revoked,
        machines=3,
        calls=calls,
    )
