"""The registry of problem types: complete, without contradictions, and in words for people."""

import re

import pytest
from msgspec import structs

from crewgate.core.grpc_status import Code
from crewgate.core.problem_types import (
    BUSY,
    BY_STATUS,
    PROBLEMS,
    ProblemType,
    RefusingComponent,
    _add,
)
from crewgate.core.reasons import Reason

# RFC 6750, section 3: what an error_description may hold.
DESCRIPTION = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]+")
# What clients and their libraries act upon: HTTP status, error code of the challenge, gRPC status,
# and seconds of `Retry-After`. 403 is never 429, because clients retry that.
CONTRACT = {
    "invalid-request": (400, "invalid_request", Code.INVALID_ARGUMENT, 0),
    "missing-token": (401, "", Code.UNAUTHENTICATED, 0),
    "invalid-token": (401, "invalid_token", Code.UNAUTHENTICATED, 0),
    "token-expired": (401, "invalid_token", Code.UNAUTHENTICATED, 0),
    "token-not-yet-valid": (401, "invalid_token", Code.UNAUTHENTICATED, 0),
    "token-lifetime": (401, "invalid_token", Code.UNAUTHENTICATED, 0),
    "token-ceiling": (401, "invalid_token", Code.UNAUTHENTICATED, 0),
    "role-not-allowed": (401, "invalid_token", Code.UNAUTHENTICATED, 0),
    "wrong-audience": (401, "invalid_token", Code.UNAUTHENTICATED, 0),
    "wrong-issuer": (401, "invalid_token", Code.UNAUTHENTICATED, 0),
    "branch-revoked": (401, "invalid_token", Code.UNAUTHENTICATED, 0),
    "binding-mismatch": (401, "invalid_token", Code.UNAUTHENTICATED, 0),
    "token-unbound": (401, "invalid_token", Code.UNAUTHENTICATED, 0),
    "invalid-proof": (401, "invalid_dpop_proof", Code.UNAUTHENTICATED, 0),
    "proof-replayed": (401, "invalid_dpop_proof", Code.UNAUTHENTICATED, 0),
    "use-dpop-nonce": (401, "use_dpop_nonce", Code.UNAUTHENTICATED, 0),
    "proofs-full": (503, "", Code.UNAVAILABLE, 1),
    "unknown-tool": (404, "", Code.UNIMPLEMENTED, 0),
    "tool-not-allowed": (403, "insufficient_scope", Code.PERMISSION_DENIED, 0),
    "loop-detected": (403, "", Code.PERMISSION_DENIED, 0),
    "credits-exhausted": (403, "", Code.RESOURCE_EXHAUSTED, 0),
    "budget-unavailable": (503, "", Code.UNAVAILABLE, 1),
    "table-full": (503, "", Code.UNAVAILABLE, 10),
    "orchestrator-held": (503, "", Code.UNAVAILABLE, 10),
    "revocation-unavailable": (503, "", Code.UNAVAILABLE, 1),
    "rate-limited": (429, "", Code.RESOURCE_EXHAUSTED, 1),
    "too-many-concurrent-calls": (429, "", Code.RESOURCE_EXHAUSTED, 1),
    "unpriced": (422, "", Code.INVALID_ARGUMENT, 0),
    "tool-changed": (403, "", Code.PERMISSION_DENIED, 0),
    "tool-not-approved": (403, "", Code.PERMISSION_DENIED, 0),
    "pins-unavailable": (503, "", Code.UNAVAILABLE, 1),
    "upgrade-unsupported": (501, "", Code.UNIMPLEMENTED, 0),
    "arguments-not-allowed": (403, "", Code.PERMISSION_DENIED, 0),
    "allowance-exhausted": (429, "", Code.RESOURCE_EXHAUSTED, 0),
    "audit-unavailable": (503, "", Code.UNAVAILABLE, 1),
    "busy": (503, "", Code.UNAVAILABLE, 1),
    "misdirected": (421, "", Code.UNIMPLEMENTED, 0),
    "upstream-failed": (502, "", Code.UNAVAILABLE, 0),
    "upstream-timeout": (504, "", Code.DEADLINE_EXCEEDED, 0),
    "upstream-unavailable": (503, "", Code.UNAVAILABLE, 1),
    "no-stream": (405, "", Code.UNIMPLEMENTED, 0),
    "origin-not-allowed": (403, "", Code.PERMISSION_DENIED, 0),
    "body-too-large": (413, "", Code.RESOURCE_EXHAUSTED, 0),
    "internal-error": (500, "", Code.INTERNAL, 0),
    "malformed": (400, "", Code.INVALID_ARGUMENT, 0),
    "too-slow": (408, "", Code.DEADLINE_EXCEEDED, 0),
    "too-many-at-once": (429, "", Code.RESOURCE_EXHAUSTED, 0),
    "head-too-large": (431, "", Code.RESOURCE_EXHAUSTED, 0),
    "not-implemented": (501, "", Code.UNIMPLEMENTED, 0),
    "unknown-version": (505, "", Code.UNIMPLEMENTED, 0),
    "certificate-not-valid": (401, "", Code.UNAUTHENTICATED, 0),
    "not-permitted": (403, "", Code.PERMISSION_DENIED, 0),
    "not-found": (404, "", Code.UNIMPLEMENTED, 0),
    "no-such-method": (405, "", Code.UNIMPLEMENTED, 0),
    "refused": (409, "", Code.UNKNOWN, 0),
    "journal-locked": (409, "", Code.UNKNOWN, 0),
    "unsupported-media-type": (415, "", Code.UNKNOWN, 0),
    "too-many-requests": (429, "", Code.RESOURCE_EXHAUSTED, 1),
    "too-many-certificates": (429, "", Code.RESOURCE_EXHAUSTED, 1),
    "agent-unavailable": (503, "", Code.UNAVAILABLE, 1),
    "authority-unavailable": (503, "", Code.UNAVAILABLE, 1),
    "configuration-unusable": (503, "", Code.UNAVAILABLE, 1),
    "journal-unavailable": (503, "", Code.UNAVAILABLE, 1),
    "temporarily-unavailable": (503, "", Code.UNAVAILABLE, 1),
    "invalid-scope": (400, "", Code.INVALID_ARGUMENT, 0),
    "invalid-grant": (400, "", Code.INVALID_ARGUMENT, 0),
    "extension-refused": (400, "", Code.INVALID_ARGUMENT, 0),
    "no-further-token": (400, "", Code.INVALID_ARGUMENT, 0),
    "unauthorized-client": (400, "", Code.INVALID_ARGUMENT, 0),
    "unsupported-grant-type": (400, "", Code.INVALID_ARGUMENT, 0),
    "no-session": (401, "", Code.UNAUTHENTICATED, 0),
    "login-unavailable": (503, "", Code.UNAVAILABLE, 1),
    "slow-down": (429, "", Code.RESOURCE_EXHAUSTED, 1),
}
every = pytest.mark.parametrize("problem", PROBLEMS.values(), ids=lambda problem: problem.slug)


@every
def test_a_problem_can_be_sent_by_all_its_senders(problem: ProblemType) -> None:
    """Its texts are sentences for people, and fit into a challenge; its codes are known."""
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", problem.slug)
    assert problem.uri == f"https://crewgate.dev/problems/{problem.slug}"
    assert problem.senders
    assert problem.title[0].isupper()
    assert problem.title[-1].isalnum()
    assert problem.detail.endswith(".")
    assert DESCRIPTION.fullmatch(problem.detail)
    if problem.senders & (RefusingComponent.GATEWAY | RefusingComponent.SERVER):
        assert problem.grpc_code is not Code.UNKNOWN
    if problem.status == 503:
        assert problem.retry_seconds


@every
def test_what_clients_act_upon_stays(problem: ProblemType) -> None:
    """A slug keeps its codes, whatever its texts become; 401 is UNAUTHENTICATED, and 401 alone."""
    codes = problem.status, problem.token_error, problem.grpc_code, problem.retry_seconds
    assert CONTRACT[problem.slug] == codes
    assert (problem.status == 401) == (problem.grpc_code is Code.UNAUTHENTICATED)


def test_no_problem_that_clients_know_is_gone() -> None:
    """A slug that is sent no more is a change that they must hear of."""
    assert CONTRACT.keys() == PROBLEMS.keys()


def test_each_reason_has_a_problem_of_calls() -> None:
    """A verdict that could not be answered would end a call with 500."""
    for reason in Reason:
        assert RefusingComponent.GATEWAY in PROBLEMS[reason.value].senders


def test_the_server_has_one_problem_for_a_status() -> None:
    """It refuses by status alone."""
    of_server = [each for each in PROBLEMS.values() if RefusingComponent.SERVER in each.senders]
    assert list(BY_STATUS.values()) == of_server


def test_a_slug_is_taken_once() -> None:
    """Two types with one URI could not be told apart."""
    with pytest.raises(ValueError, match="two problem types with the slug busy"):
        _add(structs.replace(BUSY, title="Another"))
    assert PROBLEMS["busy"] is BUSY


def test_an_error_of_the_control_api_says_what_it_knows() -> None:
    """Its own detail where it has one, else that of the type."""
    error = BUSY.error("try the other one")
    assert (error.status, error.slug, str(error)) == (503, "busy", "try the other one")
    assert str(BUSY.error()) == BUSY.detail
