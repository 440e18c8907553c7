"""The doors before every endpoint, and how errors are told."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from api_world import BD, BOTH, FORM, GATEWAY, OPERATOR, Desk, FakeOffice

from crewgate import limits
from crewgate.api.app import make_app
from crewgate.api.branch_tree_snapshot import BranchTreeSnapshot
from crewgate.api.schemas import BranchResponse
from crewgate.core.problem_types import CERTIFICATE_NOT_VALID
from crewgate.errors import (
    CAError,
    ConfigurationError,
    IssuerError,
    ServiceConnectionError,
    ServiceRefusedError,
    TableError,
)
from crewgate.server.request import ClientInfo


async def test_the_certificate_is_judged_anew_with_each_request() -> None:
    """A connection outlives a revocation: whoever is revoked meanwhile gets nothing any more."""
    desk = Desk()
    assert (await desk.ask(BD, "GET", "/v1/tree")).status_code == 200
    desk.office.refusal = CERTIFICATE_NOT_VALID.error("it is revoked")
    answer = await desk.ask(BD, "POST", "/v1/certificates", json={"request": "csr"})
    assert (answer.status_code, answer.json()["detail"]) == (401, "it is revoked")
    assert desk.office.asked == [("tree",)]
    assert desk.office.checked == ["0B", "0B"]


async def test_a_body_that_takes_its_time_wins_none() -> None:
    """Revoked between the head of a request and the end of its body is revoked."""
    desk = Desk()

    async def slow() -> AsyncIterator[bytes]:
        yield b'{"orchestrator": '
        desk.office.refusal = CERTIFICATE_NOT_VALID.error("it is revoked")
        yield b'"bd/bd-2"}'

    headers = {"content-type": "application/json"}
    answer = await desk.ask(BD, "POST", "/v1/revocations", content=slow(), headers=headers)
    assert (answer.status_code, desk.office.asked) == (401, [])


async def test_a_page_of_a_browser_gets_nothing() -> None:
    """A request with an Origin was made by a page, with the certificate of whoever looks at it."""
    desk = Desk()
    form = {"grant_type": "client_credentials"}
    headers = {"origin": "https://evil.example"}
    answer = await desk.ask(BD, "POST", "/v1/tokens", form=form, headers=headers)
    assert (answer.status_code, desk.office.asked) == (403, [])


@pytest.mark.parametrize(
    ("error", "status", "slug"),
    [
        (ServiceRefusedError("two crews have it"), 409, "refused"),
        (IssuerError("no"), 409, "refused"),
        (ServiceConnectionError("/secret/path"), 503, "agent-unavailable"),
        (TableError("/secret/path"), 503, "agent-unavailable"),
        (CAError("/secret/path"), 503, "authority-unavailable"),
        (ConfigurationError("/secret/path"), 503, "configuration-unusable"),
        (ValueError("/secret/path"), 500, "internal-error"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
async def test_an_error_of_the_office_becomes_a_problem(
    error: Exception, status: int, slug: str, log_lines: list[str]
) -> None:
    """Ours are told without a path of the machine, and complained about; the caller's are not."""
    desk = Desk()
    desk.office.error = error
    answer = await desk.ask(OPERATOR, "GET", "/crl")
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert document["type"].endswith(f"/{slug}")
    assert document["status"] == status
    assert "/secret" not in answer.text
    assert len(log_lines) == (status >= 500)
    assert (answer.headers.get("retry-after") == "1") is (status == 503)


async def test_what_was_sent_is_in_no_line_of_the_log(log_lines: list[str]) -> None:
    """An error that nobody expected is told by its kind and place alone."""
    desk = Desk()
    desk.office.error = KeyError("eyJ.secret.token")
    answer = await desk.ask(BD, "POST", "/v1/introspect", form={"token": "eyJ.secret.token"})
    assert answer.status_code == 500
    assert "KeyError at api_world.py" in log_lines[0]
    assert "secret" not in log_lines[0] + answer.text


async def test_one_holder_cannot_take_all_turns() -> None:
    """The request over the share is refused at once, and others are served meanwhile."""
    most = limits.control_calls_of_one_max
    go_on = trio.Event()

    class Slow(FakeOffice):
        async def crl(self) -> bytes:
            await go_on.wait()
            return await super().crl()

    desk, statuses = Desk(Slow()), []

    async def ask() -> None:
        statuses.append((await desk.ask(BD, "GET", "/crl")).status_code)

    async with trio.open_nursery() as nursery:
        for _ in range(most):
            nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        answer = await desk.ask(BD, "GET", "/healthz")
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
        assert (await desk.ask(OPERATOR, "GET", "/healthz")).status_code == 200
        go_on.set()
    assert statuses == [200] * most
    assert (await desk.ask(BD, "GET", "/healthz")).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v1/tree/", 404),
        ("GET", "/v1//tree", 404),
        ("PUT", "/v1/tree", 405),
        ("PUT", "/v1/revocations", 405),
        ("HEAD", "/v1/tree", 200),
        ("GET", "/v1/tree?crwe=bd", 400),
        ("GET", "/v1/tree?crew=bd&crew=finance", 400),
        ("GET", "/v1/tree?crew=%FF", 400),
        ("GET", "/healthz?x", 400),
        ("GET", "/v1/branches/NOT-A-UUID", 400),
        ("GET", "/v1/branches?limit=0", 400),
        ("GET", "/v1/branches?limit=1001", 400),
        ("GET", "/v1/branches?limit=0000000019999", 400),
        ("GET", "/v1/branches?limit=1" + 5000 * "0", 400),
        ("GET", "/v1/branches?limit=%C2%B2", 400),
        ("GET", "/v1/branches?after=x", 400),
        ("GET", "/v1/branches?after=0199c1d2-0000-7000-8000-00000000dead", 404),
    ],
)
async def test_paths_methods_and_queries(method: str, path: str, status: int) -> None:
    """What is not in the table is not there, and a parameter that nobody reads is a mistake."""
    answer = await Desk().ask(OPERATOR, method, path)
    assert answer.status_code == status, answer.text
    if status == 405:
        assert answer.headers["allow"]
    if status >= 400:
        assert answer.json()["status"] == status


@pytest.mark.parametrize(
    ("how", "status"),
    [
        ({"content": b"{}"}, 415),
        ({"content": b"{}", "headers": {"content-type": "text/plain"}}, 415),
        ({"json": []}, 400),
        ({"json": {}}, 400),
        ({"json": {"branch": BOTH, "certificate": "0B"}}, 400),
        ({"json": {"grant": "g", "process": "p", "crew": "bd"}}, 400),
        ({"json": {"crew": "bd"}}, 400),
        ({"json": {"grant": "g"}}, 400),
        ({"json": {"process": "p"}}, 400),
        ({"json": {"process": "p p", "crew": "bd"}}, 400),
        ({"json": {"all_tokens_of": "bd", "crew": "bd"}}, 400),
        ({"json": {"all_tokens_of": 70 * "b"}}, 400),
        ({"json": {"branch": "x"}}, 400),
        ({"json": {"brnach": BOTH}}, 400),
        ({"json": {"orchestrator": "bd"}}, 400),
        ({"json": {"orchestrator": "bd/../../etc"}}, 400),
        ({"json": {"certificate": "0B", "reason": "because"}}, 400),
        ({"json": {"branch": 200 * "b"}}, 400),
        ({"content": b"[" * 60_000, "headers": {"content-type": "application/json"}}, 400),
        ({"content": b'{"branch": "\xff"}', "headers": {"content-type": "application/json"}}, 400),
    ],
)
async def test_bodies_that_cannot_be_read(how: dict[str, Any], status: int) -> None:
    """Each is refused with a sentence, and nothing is revoked."""
    desk = Desk()
    answer = await desk.ask(OPERATOR, "POST", "/v1/revocations", **how)
    assert (answer.status_code, desk.office.asked) == (status, [])
    assert len(answer.json()["detail"]) <= 256


async def test_an_id_that_two_crews_have_is_not_guessed() -> None:
    """Crews choose their ids: an operator who means one of two must say which."""
    desk = Desk()
    answer = await desk.ask(OPERATOR, "DELETE", f"/v1/branches/{BOTH}")
    assert (answer.status_code, desk.office.asked) == (409, [("tree",)])
    await desk.ask(OPERATOR, "DELETE", f"/v1/branches/{BOTH}?crew=finance")
    await desk.ask(BD, "DELETE", f"/v1/branches/{BOTH}")
    did = [each for each in desk.office.asked if each[0] != "tree"]
    assert did == [("revoke_branch", BOTH, "finance"), ("revoke_branch", BOTH, "bd")]


async def test_pages_go_on_where_the_last_one_ended() -> None:
    """All branches once each, whatever ids the crews have chosen."""
    desk, seen, path = Desk(), [], "/v1/branches?limit=1"
    while True:
        page = (await desk.ask(OPERATOR, "GET", path)).json()
        seen += [(row["crew"], row["branch"]) for row in page["branches"]]
        if not page["more"]:
            break
        path = f"/v1/branches?limit=1&after={page['next']}"
    assert seen == [(row.crew, row.branch) for row in desk.office.snapshot.of("") if row.branch]


async def test_a_large_tree_goes_out_in_pieces_and_whole() -> None:
    """An answer over one buffer is the same bytes as a small one would be."""
    desk = Desk()
    row = BranchResponse(crew="bd", branch=BOTH, state="live")
    desk.office.snapshot = BranchTreeSnapshot([row] * 3000)
    answer = await desk.ask(BD, "GET", "/v1/tree")
    assert len(answer.content) > 2 * limits.buffer_bytes_max
    assert len(answer.json()["branches"]) == 3000


async def test_the_path_of_an_ocsp_question_arrives_as_it_was_sent() -> None:
    """Slashes, signs and escapes of base64 are the responder's to read."""
    desk = Desk()
    for tail in ("MEI%3D", "a/b//c+d=", "a%2Fb"):
        await desk.ask(GATEWAY, "GET", f"/ocsp/{tail}")
    assert [each[1] for each in desk.office.asked] == ["MEI%3D", "a/b//c+d=", "a%2Fb"]
    answer = await desk.ask(GATEWAY, "POST", "/ocsp", content=b"x")
    assert answer.status_code == 415


async def test_a_certificate_must_be_good_once_all_of_a_request_is_there() -> None:
    """One that ends, or is revoked, while its holder sends a body bit by bit gets nothing."""
    office = FakeOffice()
    app = make_app(office)

    async def receive() -> dict[str, Any]:
        office.refusal = CERTIFICATE_NOT_VALID.error("it has ended")
        return {"type": "http.request", "body": form, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    form = b"grant_type=client_credentials&scope=x.y&credits=1&role=r"
    sent: list[dict[str, Any]] = []
    scope = {
        "type": "http", "method": "POST", "path": "/v1/tokens", "raw_path": b"/v1/tokens",
        "query_string": b"", "headers": [(b"content-type", FORM["content-type"].encode())],
        "state": {"peer": ClientInfo("192.0.2.1", 1, identity=BD, serial=0x0B)},
    }  # fmt: skip
    await app(scope, receive, send)
    assert sent[0]["status"] == 401
    assert office.asked == []


async def test_who_changed_what_is_told_and_no_token_with_it() -> None:
    """A line for each deed, with the certificate that it was done by; none for a refusal."""
    desk = Desk()
    await desk.ask(BD, "GET", "/v1/tree")
    await desk.ask(OPERATOR, "POST", "/v1/revocations", json={"orchestrator": "bd/bd-1"})
    await desk.ask(BD, "POST", "/v1/certificates", json={"request": "csr"})
    form = {"grant_type": "client_credentials", "scope": "x.y", "credits": "1", "role": "r"}
    await desk.ask(BD, "POST", "/v1/tokens", form=form)
    await desk.ask(GATEWAY, "POST", "/v1/tokens", form=form)
    assert [deed.split(": ")[0] for deed in desk.deeds] == [
        "operator/ada, certificate 0B",
        "bd/bd-1, certificate 0B",
        "bd/bd-1, certificate 0B",
    ]
    assert "revoked orchestrator bd/bd-1" in desk.deeds[0]
    assert "a.b.c" not in str(desk.deeds)
