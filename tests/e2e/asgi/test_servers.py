"""The middleware on real servers and sockets: refused, served, and cut in the middle."""

import json
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from asgi_servers import SERVERS, serving
from crew_world import BRANCH, World
from embedded import standalone
from installation import wait_until

from crewgate import Permit, StandaloneVerifier
from crewgate.asgi import CrewgateMiddleware

ROUTES = {
    "POST /search": "search.web",
    "GET /events": "search.web",
    "GET /half-event": "search.web",
    "GET /bytes": "search.web",
    "GET /silent": "search.web",
    "GET /free": "free.ping",
}
SIBLING = "0199c1d2-0000-7000-8000-0000000000aa"


class Tools:
    """A tool server; counts calls that run, whatever the event loop."""

    def __init__(self) -> None:
        self.running = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        self.running += 1
        try:
            await self._serve(scope, receive, send)
        finally:
            self.running -= 1

    async def _serve(self, scope: Any, receive: Any, send: Any) -> None:
        permit = scope["crewgate"]
        assert isinstance(permit, Permit)
        assert scope["state"]["crewgate"] is permit
        if scope["path"] == "/silent":
            await _sleep(60)
        # A server closes the connection of a request whose body it has not seen the end of.
        while scope["method"] == "POST" and (await receive()).get("more_body"):
            pass
        events = scope["path"] in {"/events", "/half-event"}
        kind = b"text/event-stream" if events else b"text/plain"
        start = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]}
        await send(start)
        while scope["path"] in {"/events", "/half-event", "/bytes"}:
            body = b"data: x\n\n" if scope["path"] == "/events" else b"data: x\n"
            await send({"type": "http.response.body", "body": body, "more_body": True})
            await _sleep(0.005)
        body = permit.grant.branch.encode()
        await send({"type": "http.response.body", "body": body})


async def _sleep(seconds: float) -> None:
    """Under whichever loop the server runs."""
    trio = sys.modules["trio"]
    if trio.lowlevel.in_trio_task():
        await trio.sleep(seconds)
    else:
        await sys.modules["asyncio"].sleep(seconds)


class Site:
    """A world, its verifier, its tools behind the middleware, and a client."""

    def __init__(self, url: str, world: World, verifier: StandaloneVerifier, tools: Tools) -> None:
        self.world, self.verifier, self.tools = world, verifier, tools
        self.url = url
        self.client = httpx.Client(base_url=url, timeout=10)

    def headers(self, token: bytes | None = None) -> dict[str, str]:
        return {"authorization": f"Bearer {(token or self.world.token).decode()}"}

    def revoke_soon(self) -> None:
        """Once the call runs, from another thread."""

        def revoke() -> None:
            wait_until(lambda: self.tools.running)
            time.sleep(0.05)
            self.verifier.revoke(BRANCH)

        threading.Thread(target=revoke).start()


@pytest.fixture(params=SERVERS)
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    world, tools = World.make(), Tools()
    with standalone(world) as verifier:
        guarded = CrewgateMiddleware(tools, verifier=verifier, tool=ROUTES)
        with serving(request.param, guarded) as url:
            site = Site(url, world, verifier, tools)
            with site.client:
                yield site


def test_a_good_token_is_served(site: Site) -> None:
    """The application sees the permit, and the client its answer."""
    for _ in range(3):
        answer = site.client.post("/search", headers=site.headers(), content=b"query")
        assert (answer.status_code, answer.text) == (200, BRANCH)


@pytest.mark.parametrize(
    ("request_", "status", "slug"),
    [
        (("POST", "/search", {}), 401, "missing-token"),
        (("POST", "/search", {"authorization": "Bearer a.b.c"}), 401, "invalid-token"),
        (("GET", "/nothing", {"authorization": "Bearer a.b.c"}), 401, "invalid-token"),
        (("GET", "/nothing", None), 404, "unknown-tool"),
        (("POST", "/search?access_token=x", None), 400, "invalid-request"),
    ],
)
def test_refusals_are_the_gateway_s(
    site: Site, request_: tuple[str, str, dict[str, str] | None], status: int, slug: str
) -> None:
    """A problem document (RFC 9457), a challenge (RFC 6750), and the application never runs."""
    method, path, headers = request_
    headers = site.headers() if headers is None else headers
    answer = site.client.request(method, path, headers=headers)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == f"https://crewgate.dev/problems/{slug}"
    if status in {400, 401}:
        metadata = f"{site.url}/.well-known/oauth-protected-resource"
        assert f'resource_metadata="{metadata}"' in answer.headers["www-authenticate"]
        assert site.client.get(metadata).json()["authorization_servers"]


def test_a_spent_branch_is_refused_and_its_sibling_is_not(site: Site) -> None:
    """The loop ends at its credit; others go on."""
    token = site.world.mint(credit_quota=30)
    sibling = site.world.mint(execution_branch_id=SIBLING)
    codes = [
        site.client.post("/search", headers=site.headers(each)).status_code
        for _ in range(5)
        for each in (token, sibling)
    ]
    assert codes[::2] == [200, 200, 200, 403, 403]
    assert codes[1::2] == [200] * 5


def test_a_stream_of_events_ends_with_one_that_says_why(site: Site) -> None:
    """Revoked in the middle: a terminal event, a proper end, and the application is cancelled."""
    site.revoke_soon()
    with site.client.stream("GET", "/events", headers=site.headers()) as answer:
        text = b"".join(answer.iter_raw())
    *events, last, end = text.split(b"\n\n")
    assert events
    assert set(events) == {b"data: x"}
    kind, _, data = last.partition(b"\ndata: ")
    assert (kind, end) == (b"event: error", b"")
    assert json.loads(data)["type"] == "https://crewgate.dev/problems/branch-revoked"
    wait_until(lambda: not site.tools.running)


@pytest.mark.parametrize("path", ["/half-event", "/bytes"])
def test_another_stream_is_torn_off(site: Site, path: str) -> None:
    """What cannot be ended properly must not look as if it had been."""
    site.revoke_soon()
    with (
        site.client.stream("GET", path, headers=site.headers()) as answer,
        pytest.raises(httpx.RemoteProtocolError, match="incomplete"),
    ):
        for _ in answer.iter_raw():
            pass
    wait_until(lambda: not site.tools.running)


def test_a_call_that_has_not_answered_is_refused(site: Site) -> None:
    """Revoked while the tool thinks: the same 401 as before the call."""
    site.revoke_soon()
    answer = site.client.get("/silent", headers=site.headers())
    assert answer.status_code == 401
    assert answer.json()["type"] == "https://crewgate.dev/problems/branch-revoked"
    wait_until(lambda: not site.tools.running)


def test_a_sibling_s_stream_goes_on(site: Site) -> None:
    """Surgical: the cut of one branch is not seen by another's stream."""
    sibling = site.world.mint(execution_branch_id=SIBLING)
    with site.client.stream("GET", "/events", headers=site.headers(sibling)) as answer:
        received = answer.iter_raw()
        next(received)
        site.verifier.revoke(BRANCH)
        until = time.monotonic() + 0.2
        while time.monotonic() < until:
            assert b"error" not in next(received)
    assert site.client.get("/free", headers=site.headers()).status_code == 401
