"""The auth hooks of clients: the token that is fresh, a second try, and the client's own errors."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import aiohttp
import httpx
import httpx2
import pytest
import requests
import yarl
from aiohttp import web
from requests.adapters import BaseAdapter

from crewgate.errors import IssuerError
from crewgate.issuer import aiohttp_auth, grpc_auth, httpx2_auth, httpx_auth, requests_auth
from crewgate.issuer.orchestrator import Orchestrator
from crewgate.issuer.token_files.token_file import read_token, write_token

URL = "https://gateway.example/search"
# The challenges of a 401: the gateway refuses the token, or ends a call that was running.
REFUSED = {"www-authenticate": 'Bearer error="invalid_token", error_description="Token expired."'}
ENDED = {"www-authenticate": "Bearer"}
HTTPX = [(httpx, httpx_auth.TokenAuth), (httpx2, httpx2_auth.TokenAuth)]
HOOKS = [
    each.TokenAuth for each in (aiohttp_auth, grpc_auth, httpx2_auth, httpx_auth, requests_auth)
]


class Answers(BaseAdapter):
    """Answers what requests asks by a function, and keeps what was asked."""

    def __init__(
        self,
        answer: Callable[[requests.PreparedRequest], tuple[int, str]],
        fields: dict[str, str] = REFUSED,
    ) -> None:
        super().__init__()
        self.answer = answer
        self.fields = fields
        self.asked: list[requests.PreparedRequest] = []

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        self.asked.append(request)
        response = requests.Response()
        response.status_code, location = self.answer(request)
        response.request, response.url, response._content = request, str(request.url), b""
        response.connection = self
        response.headers.update(self.fields)
        if location:
            response.headers["Location"] = location
        return response

    def close(self) -> None:
        """Nothing is open."""

    @property
    def tokens(self) -> list[str | None]:
        return [request.headers.get("Authorization") for request in self.asked]


def session(answers: Answers, source: Any) -> requests.Session:
    made = requests.Session()
    made.auth = requests_auth.TokenAuth(source)
    made.mount("https://", answers)
    return made


def numbered(*tokens: str) -> Callable[[], str]:
    """A function that gives one token after the other."""
    left: Iterator[str] = iter(tokens)
    return lambda: next(left)


@pytest.fixture(params=HTTPX, ids=["httpx", "httpx2"])
def library(request: pytest.FixtureRequest) -> tuple[ModuleType, type]:
    found: tuple[ModuleType, type] = request.param
    return found


def heard(
    library: tuple[ModuleType, type],
    source: Any,
    status: int = 200,
    fields: dict[str, str] = REFUSED,
) -> tuple[Any, list]:
    """A client with the hook, of a server that answers so, and what that one hears."""
    module, auth = library
    seen: list[str] = []

    def answer(request: Any) -> Any:
        seen.append(request.headers["Authorization"])
        return module.Response(status, headers=fields)

    return module.Client(auth=auth(source), transport=module.MockTransport(answer)), seen


def test_httpx_reads_the_file_for_each_request(
    library: tuple[ModuleType, type], tmp_path: Path
) -> None:
    """A long-lived client presents the token that is there now; none is httpx's own error."""
    path = tmp_path / "token"
    client, seen = heard(library, path)
    with client:
        for token in ("one", "two"):
            write_token(path, token)
            client.get(URL)
        path.unlink()
        with pytest.raises(library[0].TransportError, match="its branch was revoked") as raised:
            client.get(URL)
    assert seen == ["Bearer one", "Bearer two"]
    assert isinstance(raised.value, IssuerError)
    assert str(raised.value.request.url) == URL


def test_httpx_asks_a_handle_or_a_function(
    library: tuple[ModuleType, type], article: Orchestrator, tmp_path: Path
) -> None:
    """In process there is no file in between."""
    agent = article.start_run(credits="1", tools=["search.web"], token_file=tmp_path / "token")
    for source in (agent, agent.token, str(tmp_path / "token")):
        client, seen = heard(library, source)
        with client:
            client.get(URL)
        assert seen == [f"Bearer {agent.token()}"]


def test_httpx_repeats_a_refused_request_once(library: tuple[ModuleType, type]) -> None:
    """With a newer token, never a third time; not with the same, nor what streams."""
    for source, body, tokens in (
        (numbered("old", "new", "newer"), b"x", ["old", "new"]),
        (lambda: "same", b"x", ["same"]),
        (numbered("one", "two"), iter([b"x"]), ["one"]),
    ):
        client, seen = heard(library, source, 401)
        with client:
            assert client.post(URL, content=body).status_code == 401
        assert seen == [f"Bearer {token}" for token in tokens]


@pytest.mark.parametrize("fields", [ENDED, {}])
def test_httpx_repeats_no_call_that_a_tool_may_have_seen(
    library: tuple[ModuleType, type], fields: dict[str, str]
) -> None:
    """A 401 that ends a running call, or the tool's own: a second call would be paid for twice."""
    client, seen = heard(library, numbered("old", "new"), 401, fields)
    with client:
        assert client.post(URL, content=b"x").status_code == 401
    assert seen == ["Bearer old"]


def test_a_refusal_stands_where_the_token_has_gone(
    library: tuple[ModuleType, type], tmp_path: Path
) -> None:
    """Who was revoked hears 401, and not that a file is missing."""
    path = tmp_path / "token"
    write_token(path, "old")

    def read() -> str:
        token = path.read_text() if path.exists() else ""
        if not token:
            raise IssuerError("no token")
        path.unlink()
        return token

    client, _ = heard(library, read, 401)
    with client:
        assert client.get(URL).status_code == 401


def test_requests_presents_and_repeats_once() -> None:
    """As httpx does."""
    answers = Answers(lambda _: (401, ""))
    assert session(answers, numbered("old", "new", "newer")).post(URL, data=b"x").history
    assert answers.tokens == ["Bearer old", "Bearer new"]
    answers = Answers(lambda _: (401, ""))
    session(answers, numbered("one", "two")).post(URL, data=iter([b"x"]))
    session(answers, lambda: "same").get(URL)
    assert answers.tokens == ["Bearer one", "Bearer same"]
    answers = Answers(lambda _: (401, ""), ENDED)
    assert session(answers, numbered("old", "new")).post(URL, data=b"x").status_code == 401
    assert answers.tokens == ["Bearer old"]


def test_requests_takes_no_token_to_another_host() -> None:
    """Not on a redirection, and not when the other one refuses it."""
    elsewhere = "https://elsewhere.example/"
    answers = Answers(lambda request: (401, "") if request.url == elsewhere else (302, elsewhere))
    assert session(answers, numbered("one", "two", "three")).get(URL).status_code == 401
    assert answers.tokens == ["Bearer one", None]


def test_requests_raises_its_own_error(tmp_path: Path) -> None:
    """Its users catch RequestException, and try again after a ConnectionError."""
    with pytest.raises(requests.ConnectionError, match="cannot read the token file") as raised:
        session(Answers(lambda _: (200, "")), tmp_path / "none").get(URL)
    assert isinstance(raised.value, IssuerError)


async def _urls(runners: Sequence[web.AppRunner]) -> list[str]:
    """Of each of them, begun."""
    urls = []
    for runner in runners:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        urls.append(f"http://127.0.0.1:{runner.addresses[0][1]}")
    return urls


def test_aiohttp_presents_repeats_and_stays_at_its_origin(tmp_path: Path) -> None:
    """As the others; its middlewares see redirections too, which must not take a token along."""
    seen: list[tuple[str, str | None]] = []
    urls: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append((request.path, request.headers.get("Authorization")))
        if request.path == "/away":
            raise web.HTTPFound(f"{urls[1]}/other")
        if request.path == "/slow":
            return web.Response(status=401, headers=ENDED)
        if request.headers.get("Authorization") == "Bearer old":
            return web.Response(status=401, headers=REFUSED)
        return web.Response(body=await request.read())

    def runner() -> web.AppRunner:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", answer)
        return web.AppRunner(app)

    async def run() -> None:
        runners = [runner(), runner()]
        urls.extend(await _urls(runners))
        try:
            auth = aiohttp_auth.TokenAuth(numbered("old", "new", "last", "slow", "no"), urls[0])
            async with aiohttp.ClientSession(urls[0], middlewares=(auth,)) as client:
                async with client.post("/search", data=b"x") as response:
                    assert (response.status, await response.read()) == (200, b"x")
                async with client.get("/away") as response:
                    assert response.status == 200
                async with client.get("/slow") as response:
                    assert response.status == 401
            gone = aiohttp_auth.TokenAuth(tmp_path / "none")
            async with aiohttp.ClientSession(urls[0], middlewares=(gone,)) as client:
                with pytest.raises(
                    aiohttp.ClientError, match="cannot read the token file"
                ) as raised:
                    await client.get("/search")
            assert isinstance(raised.value, IssuerError)
        finally:
            for each in runners:
                await each.cleanup()

    asyncio.run(run())
    assert seen == [
        ("/search", "Bearer old"),
        ("/search", "Bearer new"),
        ("/away", "Bearer last"),
        ("/other", None),
        ("/slow", "Bearer slow"),
    ]


@pytest.mark.parametrize("hook", HOOKS)
def test_a_token_in_the_place_of_its_path_is_in_no_error(
    hook: type, article: Orchestrator, tmp_path: Path
) -> None:
    """Errors go into logs, which more people read than may call."""
    token = article.start_run(credits="1", tools=["search.web"]).token()
    for source in (token, Path(token), f"Bearer {token}", "eyJhbGciOiJFZERTQSJ9.e30.c2ln"):
        with pytest.raises(ValueError, match="looks like a token") as raised:
            hook(source)
        assert token[-9:] not in str(raised.value)
        assert "eyJ" not in str(raised.value)
    with pytest.raises(IssuerError, match="cannot read the token file") as missing:
        read_token(tmp_path / token)
    assert token[-9:] not in str(missing.value)


def sent(hook: type, source: Any) -> Any:
    """The Authorization field that a hook sends for a source, or the error that it raises."""
    auth = hook(source)
    if hook is grpc_auth.TokenAuth:
        told: list[tuple[Any, Exception | None]] = []
        auth(None, lambda metadata, error: told.append((metadata, error)))
        ((metadata, error),) = told
        if error is not None:
            raise error
        return metadata[0][1]
    if hook is requests_auth.TokenAuth:
        return auth(requests.Request("GET", URL).prepare()).headers["Authorization"]
    if hook is not aiohttp_auth.TokenAuth:
        request = (httpx2 if hook is httpx2_auth.TokenAuth else httpx).Request("GET", URL)
        return next(auth.auth_flow(request)).headers["Authorization"]

    async def call() -> Any:
        request = SimpleNamespace(method="GET", url=yarl.URL(URL), headers={}, body=None)
        await auth(request, respond)
        return request.headers["Authorization"]

    async def respond(_: Any) -> Any:
        return SimpleNamespace(status=200, headers={})

    return asyncio.run(call())


@pytest.mark.parametrize("hook", HOOKS)
def test_a_function_returns_a_token_as_text_or_none(hook: type) -> None:
    """Nothing else is sent, and no error shows what it was."""
    assert sent(hook, lambda: "a.b.c") == sent(hook, lambda: " a.b.c\n") == "Bearer a.b.c"
    for nothing in (None, "", "\n"):
        with pytest.raises(IssuerError, match="there is no token"):
            sent(hook, iter([nothing]).__next__)
    for other in (b"a.b.c", 7, Path("a.b.c")):
        with pytest.raises(TypeError, match=f"a token as str, or None, not {type(other).__name__}"):
            sent(hook, iter([other]).__next__)
    with pytest.raises(IssuerError, match="not a token") as raised:
        sent(hook, lambda: "a.b.c\nX-Other: 1")
    assert "a.b.c" not in str(raised.value)
    for source in (None, 7, b"a.b.c"):
        with pytest.raises(TypeError, match=f"TokenAuth takes .*, not {type(source).__name__}"):
            hook(source)


def test_grpc_is_given_the_token_or_the_reason(tmp_path: Path) -> None:
    """What it makes of an error is a status of its own."""
    path = tmp_path / "token"
    told: list[tuple[Any, Exception | None]] = []
    auth = grpc_auth.TokenAuth(path)
    auth(None, lambda metadata, error: told.append((metadata, error)))
    write_token(path, "one")
    auth(None, lambda metadata, error: told.append((metadata, error)))
    (nothing, error), given = told
    assert nothing == ()
    assert isinstance(error, IssuerError)
    assert given == ((("authorization", "Bearer one"),), None)
