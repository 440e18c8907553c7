"""The token endpoint's form and its errors (RFC 6749, section 5.2; RFC 8693)."""

import json

import msgspec
import pytest
from api_world import BD, GATEWAY, OPERATOR, Desk
from hypothesis import given
from hypothesis import strategies as st
from log_lines import logged

from crewgate.api.backend import TokenRequest
from crewgate.api.problems import response
from crewgate.api.tokens import ACCESS_TYPE, CHILD, FORM, ID_TYPE, NEXT, RUN, TOKEN_TYPE
from crewgate.core.problem_types import INVALID_GRANT, UNAUTHORIZED_CLIENT
from crewgate.core.tokens.claims import Confirmation, ProvenProcess
from crewgate.errors import (
    BranchRevokedError,
    ExtensionRefusedError,
    IssuerError,
    JournalError,
    JournalLockedError,
    ScopeError,
    ServiceConnectionError,
    SubjectTokenError,
)

NEW = {"scope": "search.* embeddings.create", "credits": "2.50", "role": "researcher"}
CHILD_FORM = {
    **NEW,
    "grant_type": CHILD,
    "subject_token": "parent",
    "subject_token_type": TOKEN_TYPE,
}
GRANT = TokenRequest(("search.*", "embeddings.create"), "2.50", "researcher", "pid_7")


async def test_the_three_grants() -> None:
    """A run, a child and a further token, each asked of the office as it was put."""
    desk = Desk()
    forms = [
        {**NEW, "process": "pid_7", "grant_type": RUN},
        {**CHILD_FORM, "process": "pid_7"},
        {"grant_type": NEXT, "refresh_token": "last"},
        {
            "grant_type": NEXT,
            "refresh_token": "last",
            "credits": "3",
            "scope": "search.web",
            "seconds": "60",
            "reason": "more pages",
            "decided_by": "policy",
        },
    ]
    for form in forms:
        answer = await desk.ask(BD, "POST", "/v1/tokens", form=form)
        assert answer.status_code == 200, answer.text
        assert answer.json()["token_type"] == "Bearer"
        assert answer.headers["cache-control"] == "no-store"
    assert desk.office.asked == [
        ("start_run", "bd", "bd-1", GRANT),
        ("spawn", "bd", "bd-1", "parent", GRANT),
        ("refresh", "bd", "bd-1", "last", TokenRequest()),
        (
            "refresh",
            "bd",
            "bd-1",
            "last",
            TokenRequest(
                ("search.web",), "3", seconds=60, reason="more pages", decided_by="policy"
            ),
        ),
    ]


async def test_a_branch_can_be_bound_to_a_key_and_to_a_certificate() -> None:
    desk = Desk()
    next_form = {"grant_type": NEXT, "refresh_token": "x"}
    for form in ({**NEW, "grant_type": RUN}, CHILD_FORM, next_form):
        bound = {**form, "dpop_jkt": "A" * 43, "x5t_s256": "B" * 42 + "A"}
        assert (await desk.ask(BD, "POST", "/v1/tokens", form=bound)).status_code == 200
    bindings = [asked[-1].binding for asked in desk.office.asked]
    assert bindings == [Confirmation(jkt="A" * 43, x5t="B" * 42 + "A")] * 3


@pytest.mark.parametrize(
    ("kind", "token"),
    [(ID_TYPE, "any"), (TOKEN_TYPE, "of-a-provider"), (ACCESS_TYPE, "of-a-provider")],
)
async def test_a_token_of_an_identity_provider_begins_a_run(kind: str, token: str) -> None:
    """And is no parent's: its type says so, or its issuer."""
    desk = Desk()
    form = {**CHILD_FORM, "subject_token_type": kind, "subject_token": token, "process": "pid_7"}
    assert (await desk.ask(BD, "POST", "/v1/tokens", form=form)).status_code == 200
    wanted = msgspec.structs.replace(GRANT, subject_token=token)
    assert desk.office.asked == [("start_run", "bd", "bd-1", wanted)]


async def test_a_run_s_subject_can_be_stated() -> None:
    """By the orchestrator; the issuer refuses a text that only a provider proves."""
    desk = Desk()
    form = {**NEW, "grant_type": RUN, "subject": "customer:7", "process": "pid_7"}
    assert (await desk.ask(BD, "POST", "/v1/tokens", form=form)).status_code == 200
    wanted = msgspec.structs.replace(GRANT, subject="customer:7")
    assert desk.office.asked == [("start_run", "bd", "bd-1", wanted)]


async def test_a_process_is_stated_or_proven() -> None:
    """As the orchestrator says: it has asked the kernel, or not."""
    desk = Desk()
    proven = {**CHILD_FORM, "process": "pid_7", "process_proven": "true"}
    for form in (proven, without("process_proven", proven)):
        assert (await desk.ask(BD, "POST", "/v1/tokens", form=form)).status_code == 200
    named = [asked[-1].process for asked in desk.office.asked]
    assert named == [ProvenProcess("pid_7"), "pid_7"]


def without(name: str, form: dict[str, str] = CHILD_FORM) -> dict[str, str]:
    return {key: value for key, value in form.items() if key != name}


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({}, "invalid_request"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        (without("scope"), "invalid_request"),
        (without("credits"), "invalid_request"),
        (without("role"), "invalid_request"),
        (without("subject_token"), "invalid_request"),
        (without("subject_token_type"), "invalid_request"),
        ({**CHILD_FORM, "subject_token_type": "saml"}, "invalid_request"),
        ({**CHILD_FORM, "actor_token": "x"}, "invalid_request"),
        ({**CHILD_FORM, "subject": "customer:7"}, "invalid_request"),
        ({**NEW, "grant_type": RUN, "subject": "a b"}, "invalid_request"),
        ({**CHILD_FORM, "refresh_token": "x"}, "invalid_request"),
        ({**NEW, "grant_type": RUN, "subject_token": "x"}, "invalid_request"),
        ({"grant_type": NEXT}, "invalid_request"),
        ({"grant_type": NEXT, "refresh_token": "x", "role": "other"}, "invalid_request"),
        ({**CHILD_FORM, "credits": "a lot"}, "invalid_request"),
        ({**CHILD_FORM, "credits": "-1"}, "invalid_request"),
        ({**CHILD_FORM, "role": "a b"}, "invalid_request"),
        ({**CHILD_FORM, "dpop_jkt": "A" * 42}, "invalid_request"),
        ({**CHILD_FORM, "x5t_s256": "A" * 42 + "B"}, "invalid_request"),
        ({"grant_type": NEXT, "refresh_token": "x", "dpop_jkt": "A" * 42}, "invalid_request"),
        ({**CHILD_FORM, "process": "a\nb"}, "invalid_request"),
        ({**CHILD_FORM, "process": "p", "process_proven": "yes"}, "invalid_request"),
        (
            {**without("process", {**CHILD_FORM, "process": ""}), "process_proven": "true"},
            "invalid_request",
        ),
        ({**CHILD_FORM, "seconds": "0"}, "invalid_request"),
        ({**CHILD_FORM, "seconds": "+1"}, "invalid_request"),
        ({**CHILD_FORM, "reason": "x" * 501}, "invalid_request"),
        ({**CHILD_FORM, "decided_by": "policy"}, "invalid_request"),
        ({"grant_type": NEXT, "refresh_token": "x", "decided_by": "me"}, "invalid_request"),
        ({**CHILD_FORM, "scope": "se*arch"}, "invalid_scope"),
    ],
)
async def test_forms_that_are_refused(form: dict[str, str], code: str) -> None:
    """With the code of RFC 6749 §5.2 and status 400; the office is not asked."""
    desk = Desk()
    answer = await desk.ask(BD, "POST", "/v1/tokens", form=form)
    assert (answer.status_code, answer.json()["error"], desk.office.asked) == (400, code, [])
    assert answer.headers["content-type"] == "application/json"


async def test_a_field_that_stands_there_twice_is_refused() -> None:
    """RFC 6749, section 3.1: which of the two is meant?"""
    form = [("grant_type", NEXT), ("refresh_token", "a"), ("refresh_token", "b")]
    answer = await Desk().ask(BD, "POST", "/v1/tokens", form=form)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    ("error", "status", "code", "slug"),
    [
        (ScopeError("'x' is outside"), 400, "invalid_scope", "invalid-scope"),
        (SubjectTokenError("it has expired"), 400, "invalid_request", "invalid-request"),
        (IssuerError("it was revoked"), 400, "invalid_grant", "invalid-grant"),
        (BranchRevokedError("it was revoked"), 400, "invalid_grant", "no-further-token"),
        (ExtensionRefusedError("no more"), 400, "invalid_grant", "extension-refused"),
        (JournalLockedError("/state/x.jsonl"), 409, "temporarily_unavailable", "journal-locked"),
        (UNAUTHORIZED_CLIENT.error("no key"), 400, "unauthorized_client", "unauthorized-client"),
    ],
)
async def test_what_the_issuer_will_not_do(
    error: Exception, status: int, code: str, slug: str
) -> None:
    """As OAuth calls it, with the type of the problem, and without a path of the machine."""
    desk = Desk()
    desk.office.error = error
    answer = await desk.ask(BD, "POST", "/v1/tokens", form=CHILD_FORM)
    assert (answer.status_code, answer.json()["error"]) == (status, code)
    assert answer.json()["type"] == f"https://crewgate.dev/problems/{slug}"
    assert "/state" not in answer.text


@pytest.mark.parametrize(
    "error", [JournalError("/state/full"), ServiceConnectionError("/state/agent")]
)
async def test_what_the_gateway_cannot_do_now(error: Exception) -> None:
    """Is a problem of ours with 503, not one of the client's grant: it is not to throw it away."""
    desk = Desk()
    desk.office.error = error
    answer = await desk.ask(BD, "POST", "/v1/tokens", form=CHILD_FORM)
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    assert "/state" not in answer.text


async def test_an_operator_says_for_whom() -> None:
    """And cannot name what no file should be called after."""
    desk = Desk()
    for named in ("", "bd", "bd/", "/x", "bd/../x", "bd/" + "x" * 65, "bd/X"):
        form = {**NEW, "grant_type": RUN, "orchestrator": named}
        answer = await desk.ask(OPERATOR, "POST", "/v1/tokens", form=form)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    assert not desk.office.asked


async def test_refusals_of_a_role_speak_oauth_too() -> None:
    """A gateway gets no tokens, and hears it in the words of the endpoint."""
    answer = await Desk().ask(GATEWAY, "POST", "/v1/tokens", form=CHILD_FORM)
    assert (answer.status_code, answer.json()["error"]) == (403, "unauthorized_client")


@given(st.text(max_size=80))
async def test_a_description_has_the_characters_that_are_allowed(detail: str) -> None:
    """RFC 6749, section 5.2: %x20-21 / %x23-5B / %x5D-7E, whatever a message says."""
    answer = response("/v1/tokens", INVALID_GRANT.error(detail))
    text = json.loads(bytes(answer.body))["error_description"]
    assert all(" " <= each <= "~" and each not in '"\\' for each in text)


@given(st.dictionaries(st.sampled_from([*FORM, "x"]), st.text(max_size=20)))
async def test_no_form_breaks_the_endpoint(form: dict[str, str]) -> None:
    """Whatever stands in the fields, the answer is a token or a refusal in OAuth's words."""
    desk = Desk()
    with logged() as lines:
        answer = await desk.ask(BD, "POST", "/v1/tokens", form=form)
    assert answer.status_code in {200, 400, 403}
    assert ("error" in answer.json()) is (answer.status_code != 200)
    assert not lines


@pytest.mark.parametrize("form", [{}, {"token": ""}, {"token": "t", "scope": "x"}])
async def test_introspection_needs_a_token_and_nothing_else(form: dict[str, str]) -> None:
    """RFC 7662, section 2.1."""
    answer = await Desk().ask(BD, "POST", "/v1/introspect", form=form)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
