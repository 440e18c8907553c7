"""The HTTP client for MCP: an error reaches the one call, and the session stays usable."""

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx2
import jwt
import pytest

from crewgate.errors import BranchRevokedError, ConfigurationError
from crewgate.issuer import ProofKey
from crewgate.mcp import auth, client, http_client

URL = "https://gateway.example/mcp/files"
REFUSED = {"www-authenticate": 'Bearer error="invalid_token"'}
JSON = {"content-type": "application/json"}


def asked(
    answer: Callable[[httpx2.Request], httpx2.Response], source: Any = lambda: "a.b.c"
) -> httpx2.AsyncClient:
    return http_client(source, transport=httpx2.MockTransport(answer))


async def message(http: httpx2.AsyncClient, status: int) -> str:
    """The text of the JSON-RPC error that the client makes of a failure."""
    async with http:
        response = await http.post(URL, json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
    assert response.status_code == status
    assert response.headers["content-type"] == "application/json"
    found = response.json()
    assert (found["jsonrpc"], found["id"], found["error"]["code"]) == ("2.0", 1, -31000 - status)
    return str(found["error"]["message"])


async def test_a_call_without_a_token_is_answered_and_not_sent() -> None:
    """The text says why: the branch was revoked."""

    def revoked() -> str:
        raise BranchRevokedError("branch 7 was revoked: it gets no further token")

    def answer(_: httpx2.Request) -> httpx2.Response:
        pytest.fail("a request without a token was sent")

    text = await message(asked(answer, revoked), 401)
    assert text == (
        "The client did not send the call: branch 7 was revoked: it gets no further token"
    )


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (httpx2.ConnectError("refused"), "did not send the call: it cannot reach the gateway"),
        (httpx2.PoolTimeout(""), "did not send the call: it cannot reach the gateway"),
        (httpx2.ReadTimeout(""), "The tool may have done its work"),
        (httpx2.ReadError("reset"), "The tool may have done its work"),
    ],
)
async def test_a_failed_connection_says_whether_the_tool_may_have_run(
    error: httpx2.RequestError, words: str
) -> None:
    """An agent must know whether it may repeat the call."""

    def answer(_: httpx2.Request) -> httpx2.Response:
        raise error

    assert words in await message(asked(answer), 503)


async def test_a_body_of_json_that_breaks_off_is_an_answer_too() -> None:
    """The SDK would end the session for an error that arises while it reads the body."""

    async def body() -> AsyncIterator[bytes]:
        yield b'{"jsonrpc": "2.0", '
        raise httpx2.ReadError("reset")

    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers=JSON, content=body())

    assert "The tool may have done its work" in await message(asked(answer), 503)


async def test_a_stream_is_not_read_ahead() -> None:
    """The SDK reads the events of a stream as they arrive."""

    async def body() -> AsyncIterator[bytes]:
        yield b"data: 1\n\n"
        pytest.fail("somebody read on")

    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=body())

    async with (
        asked(answer) as http,
        http.stream("POST", URL, content=b"{}") as response,
        aclosing(response.aiter_bytes()) as pieces,
    ):
        assert await anext(pieces) == b"data: 1\n\n"


async def test_a_refused_token_is_replaced_once() -> None:
    """The rule of all hooks: with a newer token, and only if no tool has seen the call."""
    tokens: Iterator[str] = iter(["old", "new", "newest"])
    seen: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request.headers["authorization"])
        return httpx2.Response(401, headers=REFUSED | JSON, json={"error": "no"})

    async with asked(answer, lambda: next(tokens)) as http:
        assert (await http.post(URL, json={})).status_code == 401
    assert seen == ["Bearer old", "Bearer new"]


class Renewing:
    """A holder whose token is fresh after it was renewed; keeps the threads that asked for it."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []

    def token(self) -> str:
        self.threads.append(threading.current_thread())
        return "a.b.c"

    def has_fresh_token(self) -> bool:
        return bool(self.threads)


async def test_a_thread_waits_for_a_renewal_and_not_the_event_loop() -> None:
    """A gateway that does not answer delays the calls of one branch, and of no other."""
    holder = Renewing()
    async with asked(lambda _: httpx2.Response(202), holder) as http:
        for _ in range(2):
            await http.post(URL, json={})
    first, second = holder.threads
    assert first is not threading.current_thread()
    assert second is threading.current_thread()


def test_a_token_in_the_place_of_its_path_is_refused_at_once(tmp_path: Path) -> None:
    """Before anything is opened, and for each of the four functions."""
    for make in (auth, http_client, lambda source: client(source, URL)):
        with pytest.raises(ValueError, match="looks like a token"):
            make("eyJhbGciOiJFZERTQSJ9.e30.c2ln")
    with pytest.raises(ConfigurationError, match="none: cannot read the root certificate"):
        client(tmp_path / "token", URL, ca=tmp_path / "none")


async def test_version_1_of_the_sdk_reads_errors_at_status_200(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It would end the session at another status; a notification has no answer with a body."""
    monkeypatch.setattr("crewgate.mcp.mcp_http_client.IS_VERSION_1", True)
    refusal = {"jsonrpc": "2.0", "id": 7, "error": {"code": -31403, "message": "no"}}

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.path == "/gone":
            raise httpx2.ConnectError("refused")
        return httpx2.Response(403, headers=REFUSED, json=refusal)

    async with asked(answer) as http:
        for url, code in ((URL, -31403), ("https://gateway.example/gone", -31503)):
            response = await http.post(url, json={"jsonrpc": "2.0", "id": 7, "method": "ping"})
            assert (response.status_code, response.json()["id"]) == (200, 7)
            assert response.json()["error"]["code"] == code
            response = await http.post(url, json={"jsonrpc": "2.0", "method": "x"})
            assert (response.status_code, response.content) == (202, b"")


async def test_behind_a_socket_a_proof_names_https(tmp_path: Path) -> None:
    """The process behind it sends requests on over TLS, whatever the URL says."""
    seen: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(200)

    transport = httpx2.MockTransport(answer)
    options = {"socket": tmp_path / "socket", "key": ProofKey.generate()}
    async with http_client(lambda: "a.b.c", **options) as http:  # type: ignore[arg-type]
        http._transport = transport
        await http.get("http://gateway.example:8444/mcp/files")
    proof = jwt.decode(seen[0].headers["dpop"], options={"verify_signature": False})
    assert proof["htu"] == "https://gateway.example:8444/mcp/files"
