"""Each refusal has the same status, challenge and words wherever it is sent."""

import base64
import json

import pytest
from grant_builders import grant
from msgspec import structs

from crewgate.core import problems
from crewgate.core.policy.call_limits import LimitReached
from crewgate.core.problem_types import PROBLEM_TYPES
from crewgate.core.reasons import Reason
from crewgate.core.verdict import Denial, SpentWindow, problem_type

METADATA = b"https://tools.example/.well-known/oauth-protected-resource"


def test_the_challenge_of_a_refused_scope_names_what_would_do() -> None:
    """RFC 6750, section 3.1, and the parameter of RFC 9728, section 5.1."""
    headers = dict(
        problems.fields(PROBLEM_TYPES[Reason.TOOL_NOT_ALLOWED], METADATA, scope="publish.post")
    )
    challenge = headers[b"www-authenticate"]
    assert challenge.startswith(b'Bearer resource_metadata="' + METADATA + b'", error=')
    assert challenge.endswith(b'scope="publish.post"')
    assert headers[b"content-type"] == b"application/problem+json"
    assert headers[b"cache-control"] == b"no-store"


def test_a_missing_token_is_challenged_without_an_error() -> None:
    """RFC 6750, section 3.1: a request without credentials gets no error code."""
    headers = dict(problems.fields(PROBLEM_TYPES[Reason.MISSING_TOKEN], b""))
    assert headers[b"www-authenticate"] == b"Bearer"


@pytest.mark.parametrize("reason", [Reason.UNKNOWN_TOOL, Reason.BUDGET_UNAVAILABLE])
def test_only_refused_credentials_are_challenged(reason: Reason) -> None:
    """404 and 503 ask for no other token; 503 says when to try again."""
    headers = dict(problems.fields(PROBLEM_TYPES[reason], METADATA))
    assert b"www-authenticate" not in headers
    assert (b"retry-after" in headers) == (reason is Reason.BUDGET_UNAVAILABLE)


def test_the_document_names_the_empty_level_in_credits() -> None:
    """Whoever is out of credit reads which account is empty, and by how much."""
    denial = Denial(
        Reason.CREDITS_EXHAUSTED,
        grant(1, 50),
        level="article",
        used_micro=2_500_000,
        quota_micro=2_500_000,
    )
    document = json.loads(
        problems.document(PROBLEM_TYPES[denial.reason], bytes(15) + b"\1", denial)
    )
    assert document["type"] == "https://crewgate.dev/problems/credits-exhausted"
    assert document["branch"] == denial.grant.branch if denial.grant else None
    assert (document["level"], document["used_credits"]) == ("article", "2.50")
    assert document["request_id"] == "00000000-0000-0000-0000-000000000001"


def test_credits_that_are_left_but_too_few_are_not_said_to_be_spent() -> None:
    """Whoever asks for less may have it: how much is needed and left is said, also to models."""
    few = Denial(
        Reason.CREDITS_EXHAUSTED, grant(1, 50), level="a",
        used_micro=500_000, quota_micro=2_500_000, need_micro=3_000_000,
    )  # fmt: skip
    kind = PROBLEM_TYPES[few.reason]
    said = json.loads(problems.document(kind, bytes(16), few, for_models=True))
    assert (said["left_credits"], said["needed_credits"]) == ("2.00", "3.00")
    assert said["detail"] == (
        "a has 2.00 credits left, but this call must reserve 3.00. Ask for less (of a model, by a "
        "lower max_tokens), or for more credits; do not retry it as it is."
    )
    assert said["error"]["message"] == f"{said['title']}. {said['detail']}"
    event = problems.event(kind, bytes(16), few, for_models=True)
    assert json.loads(event.partition(b"data: ")[2]) == said
    for used, need in ((2_500_000, 10_000), (2_600_000, 0)):
        none = structs.replace(few, used_micro=used, need_micro=need)
        said = json.loads(problems.document(kind, bytes(16), none))
        assert (said["left_credits"], "needed_credits" in said) == ("0.00", bool(need))
        assert said["detail"] == "The credits are spent. Do not retry; ask for more credits."


def test_what_comes_back_by_itself_says_when() -> None:
    """A crew's hour: 429 with Retry-After, and the end of the window; no word against trying."""
    spent = Denial(
        Reason.CREDITS_EXHAUSTED, grant(1, 50), level="article",
        used_micro=9, quota_micro=10, need_micro=5,
        window=SpentWindow(3600, 1_800_003_600, 120),
    )  # fmt: skip
    kind = problem_type(spent)
    assert (kind.slug, kind.status) == ("allowance-exhausted", 429)
    status, headers, body = problems.refusal(kind, bytes(16), spent, asked=(), for_models=True)
    assert (status, dict(headers)[b"retry-after"]) == (429, b"121")
    said = json.loads(body)
    assert (said["window"], said["window_ends"]) == ("hour", "2027-01-15T09:00:00Z")
    assert (
        said["detail"]
        == "The crew has spent its credits of this hour or day. Retry when that window has ended."
    )
    assert said["error"]["type"] == "rate_limit_error"
    grpc = [(b"content-type", b"application/grpc")]
    fields = dict(problems.refusal(kind, bytes(16), spent, asked=grpc).fields)
    assert fields[b"grpc-status"] == b"8"
    assert b"RetryInfo" in base64.b64decode(fields[b"grpc-status-details-bin"] + b"==")


def test_a_limit_on_calls_says_which_it_is_and_when_there_is_room() -> None:
    """The seconds are in Retry-After, in the fields of the IETF's draft, in words and for gRPC."""
    limit = LimitReached("slow", "tool", 60, 30, 60, 7)
    denial = Denial(Reason.RATE_LIMITED, grant(1, 50), limit=limit)
    kind = problem_type(denial)
    status, headers, body = problems.refusal(kind, bytes(16), denial, asked=(), for_models=True)
    assert (status, headers[-3:]) == (429, [(b"retry-after", b"7"), *limit.fields])
    said = json.loads(body)
    assert (said["limit"], said["detail"]) == ("slow", limit.detail)
    assert said["error"] == {
        "type": "rate_limit_error",
        "code": "rate-limited",
        "message": f"Too many calls in this time. {limit.detail}",
    }
    grpc = [(b"content-type", b"application/grpc")]
    fields = dict(problems.refusal(kind, bytes(16), denial, asked=grpc).fields)
    assert fields[b"grpc-status"] == b"8"
    details = base64.b64decode(fields[b"grpc-status-details-bin"] + b"==")
    assert b"RATE_LIMITED" in details
    assert b"RetryInfo" in details


def test_a_branch_that_has_spent_its_own_is_never_asked_to_come_back() -> None:
    """403, and nothing that says when."""
    spent = Denial(
        Reason.CREDITS_EXHAUSTED,
        grant(1, 50),
        level="a",
        used_micro=10,
        quota_micro=10,
        need_micro=5,
    )
    kind = problem_type(spent)
    assert (kind.slug, kind.status) == ("credits-exhausted", 403)
    assert b"retry-after" not in dict(problems.fields(kind, b"", spent))


def test_a_document_ends_its_line() -> None:
    """A shell's prompt does not stick to it; within there is no other line's end."""
    text = problems.document(PROBLEM_TYPES[Reason.UNKNOWN_TOOL], bytes(16))
    assert text.splitlines(keepends=True) == [text]
    assert text.endswith(b"}\n")


def test_a_stream_is_ended_by_an_event_of_its_own() -> None:
    """The last event of a cut stream carries the same document."""
    event = problems.event(PROBLEM_TYPES[Reason.BRANCH_REVOKED], bytes(16))
    head, data, *rest = event.split(b"\n")
    assert (head, rest) == (b"event: error", [b"", b""])
    assert json.loads(data.removeprefix(b"data: "))["status"] == 401


@pytest.mark.parametrize("content_type", [b"application/json", b"application/grpc"])
def test_a_refusal_for_the_nonce_has_it(content_type: bytes) -> None:
    """Over gRPC too, where a client finds it in the metadata."""
    denial = Denial(Reason.USE_NONCE, grant(1, 50), nonce=b"n" * 24)
    asked = [(b"content-type", content_type)]
    kind = PROBLEM_TYPES[Reason.USE_NONCE]
    fields = dict(problems.refusal(kind, bytes(16), denial, asked=asked).fields)
    assert fields[b"dpop-nonce"] == b"n" * 24
