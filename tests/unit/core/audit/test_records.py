"""Records are made from evidence only, and say nothing that was not in it."""

import msgspec
import pytest
from msgspec import structs

from crewgate.core.audit.record_builder import denied, opened, permitted
from crewgate.core.audit.records import (
    AttributedRecord,
    CallEnd,
    CallInfo,
    CallOutcome,
    CallRecord,
    StreamOpened,
    request_text,
    when,
)
from crewgate.core.policy.call_limits import LimitReached
from crewgate.core.reasons import Reason
from crewgate.core.tokens.claims import Claims, PathElement
from crewgate.core.tokens.grant import Grant
from crewgate.core.verdict import Denial, SpentWindow

ROOT = "0199c1d2-0000-7000-8000-000000000001"
PARENT = "0199c1d2-0000-7000-8000-000000000002"
BRANCH = "0199c1d2-0000-7000-8000-000000000003"


@pytest.fixture
def grant() -> Grant:
    """A grandchild's grant, its quota lowered to the crew's ceiling."""
    claims = Claims(
        iss="https://orchestrator.example",
        aud="https://gateway.example",
        sub="user_414",
        client_id="article/article-1",
        iat=1_800_000_000,
        exp=1_800_000_900,
        jti="grant-7",
        crew="article",
        process_id="pid_7729",
        agent_role="researcher",
        execution_branch_id=BRANCH,
        allowed_tools=["search.*"],
        credit_quota=9_000_000,
        branch_path=[PathElement(ROOT, 10_000_000), PathElement(PARENT, 5_000_000)],
    )
    return Grant(claims, "article", "key-1", 2_500_000, b"b" * 16, (b"r" * 16,), b"d" * 16)


@pytest.fixture
def request_() -> CallInfo:
    """A call of `search.web` by some client on the agents' listener."""
    return CallInfo(
        time_ns=1_800_000_000_123_456_789,
        id=bytes(range(1, 17)),
        listener="agents",
        peer="192.0.2.0/24",
        tool="search.web",
        method="POST",
    )


def test_a_call_names_the_certificate_of_its_connection(grant: Grant, request_: CallInfo) -> None:
    """Whether it was let through, refused or streams; without one, a line does not say so."""
    certified = msgspec.structs.replace(request_, certificate="0A1B")
    end, denial = CallEnd(CallOutcome.DONE, 1), Denial(Reason.TOOL_NOT_ALLOWED, grant)
    for made in (
        permitted(certified, grant, end),
        denied(certified, denial),
        opened(certified, grant, 1, status=200),
    ):
        assert made.certificate == "0A1B"
    for made in (
        permitted(request_, grant, end),
        denied(request_, denial),
        opened(request_, grant, 1, status=200),
    ):
        assert b"certificate" not in msgspec.json.encode(made)


def test_who_crosses_is_of_the_crew_that_calls(grant: Grant, request_: CallInfo) -> None:
    """An account is what is charged; a record names the crew."""
    crossed = msgspec.structs.replace(grant, crew="bd:finance")
    assert permitted(request_, crossed, CallEnd(CallOutcome.DONE, 1)).crew == "bd"


def test_a_permitted_call_names_the_thread_and_what_it_cost(
    grant: Grant, request_: CallInfo
) -> None:
    """Crew, ancestry, grant and the quota come from the grant; the rest from how it ended."""
    end = CallEnd(CallOutcome.DONE, 10_000, 200, 12, 345, 678)
    call = permitted(request_, grant, end, remaining_micro=2_490_000)
    assert (call.crew, call.orchestrator, call.process) == (
        "article",
        "article/article-1",
        "pid_7729",
    )
    assert (call.branch, call.ancestry, call.role) == (BRANCH, (ROOT, PARENT), "researcher")
    assert (call.grant, call.subject) == ("grant-7", "user_414")
    assert call.quota_micro == 2_500_000  # lowered to the crew's ceiling, not what was claimed
    assert (call.verdict, call.reason, call.cost_micro) == ("permit", "", 10_000)
    assert call.time.isoformat() == "2027-01-15T08:00:00.123456+00:00"
    assert call.request == "01020304-0506-0708-090a-0b0c0d0e0f10"
    assert call.outcome is CallOutcome.DONE


def test_observe_mode_leaves_its_reason(grant: Grant, request_: CallInfo) -> None:
    """A call that enforcement would have refused is a permit with `would`."""
    end = CallEnd(CallOutcome.DONE, 10_000)
    call = permitted(request_, grant, end, would=Reason.TOOL_NOT_ALLOWED)
    assert (call.verdict, call.would) == ("permit", "tool-not-allowed")


def test_a_refusal_costs_nothing_and_names_the_empty_account(
    grant: Grant, request_: CallInfo
) -> None:
    """The record names the problem that the client got, and which level is empty by how much."""
    denial = Denial(
        Reason.CREDITS_EXHAUSTED, grant, level=PARENT, used_micro=5_000_000, quota_micro=5_000_000
    )
    call = denied(request_, denial)
    assert (call.verdict, call.reason, call.outcome) == (
        "deny",
        "credits-exhausted",
        CallOutcome.REFUSED,
    )
    assert call.cost_micro == 0
    of_the_hour = structs.replace(denial, window=SpentWindow(3600, 1_800_003_600, 120))
    assert denied(request_, of_the_hour).reason == "allowance-exhausted"
    assert (call.level, call.level_used_micro, call.level_quota_micro) == (
        PARENT,
        5_000_000,
        5_000_000,
    )


def test_a_refusal_by_a_limit_names_the_limit(grant: Grant, request_: CallInfo) -> None:
    """There may be several limits on the calls of a tool."""
    denial = Denial(Reason.RATE_LIMITED, grant, limit=LimitReached("slow", "tool", 1, 1, 1, 1))
    call = denied(request_, denial)
    assert (call.reason, call.call_limit, call.cost_micro) == ("rate-limited", "slow", 0)


def test_a_refusal_without_a_grant_has_no_record(request_: CallInfo) -> None:
    """Nobody has proved who that was: such a refusal can only be counted."""
    with pytest.raises(ValueError, match="counted, not recorded"):
        denied(request_, Denial(Reason.INVALID_TOKEN))


def test_a_stream_has_an_opening_record_with_the_same_request(
    grant: Grant, request_: CallInfo
) -> None:
    """Opening and closing records of one stream share request id and thread."""
    first = opened(request_, grant, 10_000, status=200)
    last = permitted(request_, grant, CallEnd(CallOutcome.REVOKED, 10_000))
    assert isinstance(first, StreamOpened)
    assert (first.request, first.branch) == (last.request, last.branch)
    assert first.price_micro == 10_000


def test_no_request_id_is_an_empty_text() -> None:
    """Embedders may have none; it must not look like an id."""
    assert request_text(b"") == ""
    assert request_text(bytes(16)) == ""


def test_times_are_exact_to_the_microsecond() -> None:
    """A float of seconds would lose the last digit; integers do not."""
    assert when(1_799_999_999_999_999_999).microsecond == 999_999


def test_no_record_can_hold_a_credential() -> None:
    """No field of a call is named after anything that carries one, nor free text of a client."""
    names = {
        field.name
        for kind in (CallRecord, StreamOpened, AttributedRecord)
        for field in msgspec.structs.fields(kind)
    }
    assert names.isdisjoint({"token", "authorization", "headers", "path", "query", "url", "body"})
