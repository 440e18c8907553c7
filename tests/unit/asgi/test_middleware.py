"""What the middleware gives an application, takes from none, and answers in its place."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgi_play import LOOPS, Play
from crew_world import AUDIENCE, BRANCH, ISSUER, World
from embedded import permitted, standalone

from crewgate import Permit, Reason, Verifier
from crewgate.asgi import CrewgateMiddleware
from crewgate.errors import ConfigurationError

SIBLING = "0199c1d2-0000-7000-8000-0000000000aa"
Make = Callable[..., Play]


@pytest.fixture
def world() -> World:
    return World.make()


@pytest.fixture
def verifier(world: World) -> Iterator[Verifier]:
    with standalone(world) as verifier:
        yield verifier


@pytest.fixture(params=LOOPS)
def make(request: pytest.FixtureRequest, world: World) -> Make:
    """A request, with a good token unless the test gives headers of its own."""

    def request_(**options: Any) -> Play:
        good = [(b"authorization", b"Bearer " + world.token)]
        return Play(request.param, **{"headers": good, **options})

    return request_


def guarded(verifier: Verifier, app: Any = None, **options: Any) -> CrewgateMiddleware:
    return CrewgateMiddleware(
        app or answering, verifier=verifier, **{"tool": "search.web", **options}
    )


async def answering(scope: Any, receive: Any, send: Any) -> None:
    """A tool that answers with the branch that called it."""
    permit = scope["crewgate"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": permit.grant.branch.encode()})


async def never(scope: Any, receive: Any, send: Any) -> None:
    """A tool that must not be reached."""
    raise AssertionError("the application was called")


def settled(verifier: Verifier) -> int:
    """What the branch has spent."""
    table = verifier._source._table  # type: ignore[attr-defined]
    records = table.scan(0, table.geometry.branches)
    return sum(record.settled for record in records)


def test_the_application_finds_the_permit_in_its_scope(verifier: Verifier, make: Make) -> None:
    """As `scope["crewgate"]` and in the state; all else is as the server gave it."""
    seen: dict[str, Any] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.update(scope)
        assert await receive() == {"type": "http.request", "body": b"", "more_body": False}
        await answering(scope, receive, send)

    play = make(headers=None)
    play.scope["headers"].append((b"Cookie".lower(), b"kept=1"))
    play.scope["headers"].append((b"authorization", make().scope["headers"][1][1]))
    play.scope["state"] = {"server": "kept"}
    play.run(guarded(verifier, app))
    permit = seen.pop("crewgate")
    assert isinstance(permit, Permit)
    assert seen.pop("state") == {"server": "kept", "crewgate": permit}
    assert play.scope.pop("state") == {"server": "kept"}
    assert seen == play.scope
    assert (play.status, play.text) == (200, BRANCH.encode())


def test_a_call_is_charged_its_price_once(verifier: Verifier, make: Make) -> None:
    """The price stands when the application says nothing."""
    make().run(guarded(verifier))
    assert settled(verifier) == 10


@pytest.mark.parametrize(("end", "cost"), [("release", 0), ("settle", 10)])
def test_the_application_may_end_the_permit_itself(
    verifier: Verifier, make: Make, end: str, cost: int
) -> None:
    """Released or settled by the tool, it is not ended a second time."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        getattr(scope["crewgate"], end)()
        await answering(scope, receive, send)

    make().run(guarded(verifier, app))
    assert settled(verifier) == cost


def test_an_error_of_the_application_is_the_server_s(verifier: Verifier, make: Make) -> None:
    """As itself, not in a group and not changed; the call has reached the tool and is charged."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        make().run(guarded(verifier, app))
    assert settled(verifier) == 10


def test_a_timeout_of_the_application_s_own_is_its_own(verifier: Verifier, make: Make) -> None:
    """A TimeoutError that it raises is not mistaken for a cut."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise TimeoutError("mine")

    with pytest.raises(TimeoutError, match="mine"):
        make().run(guarded(verifier, app))


def test_a_crew_whose_hour_is_spent_is_told_when_it_ends(world: World, make: Make) -> None:
    """429 with Retry-After, unlike a branch's own credits."""
    with standalone(world, credits_per_hour="0.00001") as verifier:
        plays = [make().run(guarded(verifier)) for _ in range(3)]  # an hour may end once meanwhile
    assert plays[0].status == 200
    assert plays[-1].status == 429
    assert 1 <= int(plays[-1].headers[b"retry-after"]) <= 3601
    assert json.loads(plays[-1].text)["window"] == "hour"


def test_a_branch_that_cannot_pay_is_told_what_the_call_needs(
    verifier: Verifier, make: Make, world: World
) -> None:
    """With the same members as at the gateway."""
    bearer = b"Bearer " + world.mint(credit_quota=4)
    problem = json.loads(
        make(headers=[(b"authorization", bearer)]).run(guarded(verifier, never)).text
    )
    assert (problem["left_credits"], problem["needed_credits"]) == ("0.000004", "0.00001")


def test_a_call_of_grpc_is_refused_in_its_words(verifier: Verifier, make: Make) -> None:
    """As at the gateway: HTTP 200, and the status in the head."""
    play = make(headers=[(b"content-type", b"application/grpc")]).run(guarded(verifier, never))
    assert (play.status, play.text) == (200, b"")
    assert play.headers[b"grpc-status"] == b"16"


@pytest.mark.parametrize(
    ("headers", "query", "status", "reason"),
    [
        ([], b"", 401, Reason.MISSING_TOKEN),
        ([(b"authorization", b"Basic YTpi")], b"", 401, Reason.MISSING_TOKEN),
        ([(b"authorization", b"Bearer a.b.c")], b"", 401, Reason.INVALID_TOKEN),
        ([(b"authorization", b"Bearer a")] * 2, b"", 400, Reason.INVALID_REQUEST),
        ([(b"authorization", b"Bearer a")], b"access_token=a", 400, Reason.INVALID_REQUEST),
        ([(b"x-crewgate-branch", b"x")], b"", 400, Reason.INVALID_REQUEST),
        ([(b"x_crewgate.branch", b"x")], b"", 400, Reason.INVALID_REQUEST),
    ],
)
def test_a_request_that_cannot_be_judged_is_refused(
    verifier: Verifier, make: Make, headers: Any, query: bytes, status: int, reason: Reason
) -> None:
    """Like at the gateway: problem document, challenge, and a field of ours is a lie."""
    play = make(headers=headers, query=query).run(guarded(verifier, never))
    assert (play.status, json.loads(play.text)["type"]) == (
        status,
        f"https://crewgate.dev/problems/{reason.value}",
    )
    challenge = play.headers[b"www-authenticate"]
    assert b'"https://tools.example/.well-known/oauth-protected-resource"' in challenge
    assert play.headers[b"content-length"] == str(len(play.text)).encode()


def test_a_scope_that_is_too_small_is_told(verifier: Verifier, make: Make, world: World) -> None:
    """403 insufficient_scope, with the scope that would do."""
    token = world.mint(allowed_tools=["embeddings.create"])
    play = make(headers=[(b"authorization", b"Bearer " + token)]).run(guarded(verifier, never))
    assert play.status == 403
    assert b'error="insufficient_scope"' in play.headers[b"www-authenticate"]
    assert play.headers[b"www-authenticate"].endswith(b'scope="search.web"')


@pytest.mark.parametrize("host", [b'a"b', b"a b", b"", b"a/b", b"a,b"])
def test_a_host_that_is_none_does_not_reach_the_challenge(
    verifier: Verifier, make: Make, host: bytes
) -> None:
    """Nothing that a client sends is quoted unchecked."""
    play = make(headers=[])
    play.scope["headers"] = [(b"host", host)]
    play.run(guarded(verifier, never))
    assert play.headers[b"www-authenticate"] == b"Bearer"


def test_a_refusal_of_head_has_no_body(verifier: Verifier, make: Make) -> None:
    """But the length that it would have had (RFC 9110, section 9.3.2)."""
    play = make(method="HEAD", headers=[]).run(guarded(verifier, never))
    assert (play.status, play.text) == (401, b"")
    assert int(play.headers[b"content-length"]) > 0


def test_a_refused_body_is_read_so_that_the_answer_arrives(verifier: Verifier, make: Make) -> None:
    """A server that closes on an unread body resets the connection, and the answer with it."""
    play = make(headers=[])
    play.body = [b"x" * 1000] * 5
    play.run(guarded(verifier, never))
    assert (play.received, play.status) == (5, 401)
    expecting = make(headers=[(b"expect", b"100-continue")])
    expecting.run(guarded(verifier, never))
    assert (expecting.received, expecting.status) == (0, 401)


def test_a_token_in_another_carrier(verifier: Verifier, make: Make, world: World) -> None:
    """Only where it is configured."""
    headers = [(b"x-api-key", world.token)]
    assert make(headers=headers).run(guarded(verifier, never)).status == 401
    carriers = ["authorization", "X-API-Key"]
    assert make(headers=headers).run(guarded(verifier, carriers=carriers)).status == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/search", 200),
        ("GET", "/items/7", 200),
        ("HEAD", "/items/7", 200),
        ("GET", "/search", 404),
        ("POST", "/search/", 404),
        ("POST", "/items/../search", 404),
        ("GET", "/caf\u00e9", 404),
        ("GET", "/items/\udc80", 404),
        ("POST", "/%73earch", 404),  # sent as /%2573earch, and served as something else
    ],
)
def test_tools_by_route(
    verifier: Verifier, make: Make, method: str, path: str, status: int
) -> None:
    """As in a configuration file; what is no tool's is 404 with a good token, else 401."""
    tool = {"POST /search": "search.web", "GET /items/{id}": "free.ping"}
    play = make(method=method, path=path).run(guarded(verifier, tool=tool))
    assert play.status == status
    stranger = make(method=method, path=path, headers=[])
    assert stranger.run(guarded(verifier, never, tool=tool)).status == 401


@pytest.mark.parametrize(("name", "status"), [("search.web", 200), (None, 404), ("nope", 404)])
def test_tools_by_the_application_s_own_function(
    verifier: Verifier, make: Make, name: str | None, status: int
) -> None:
    """It sees the scope; None is no tool."""
    seen = []
    tool = lambda scope: seen.append(scope["path"]) or name  # noqa: E731
    assert make().run(guarded(verifier, tool=tool)).status == status
    assert seen == ["/search"]


@pytest.mark.parametrize("line", ["/search", "post /search", "POST search", "POST /a/*/b"])
def test_a_route_that_is_none_is_refused_at_once(verifier: Verifier, line: str) -> None:
    """When the application is made, not when the first request comes."""
    with pytest.raises(ConfigurationError, match="CrewgateMiddleware: tool"):
        guarded(verifier, tool={line: "search.web"})


@pytest.mark.parametrize(
    "tool", ["nope.tool", {"POST /search": "nope.tool", "GET /items/{id}": "free.ping"}]
)
def test_a_name_that_is_no_tool_is_refused_at_once(verifier: Verifier, tool: Any) -> None:
    """Else each call would be refused as if its path were wrong."""
    with pytest.raises(ConfigurationError, match=r"tool 'nope\.tool'.*free\.ping, search\.web"):
        guarded(verifier, tool=tool)


def test_one_text_is_no_list_of_carriers(verifier: Verifier) -> None:
    """Python would take it for a sequence of letters, and no token would be found."""
    with pytest.raises(ConfigurationError, match=r'carriers.*write \["x-api-key"\]'):
        guarded(verifier, carriers="x-api-key")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"tool": None}, "tool must be .*not NoneType"),
        ({"tool": ["search.web"]}, "tool must be .*not list"),
        ({"tool": {}}, "tool has no route"),
        ({"carriers": ()}, "carriers must name a header field"),
    ],
)
def test_what_would_refuse_all_calls_is_refused_at_once(
    verifier: Verifier, options: Any, match: str
) -> None:
    """Else the first request fails, or each, as if its path or token were wrong."""
    with pytest.raises(ConfigurationError, match=f"CrewgateMiddleware: {match}"):
        guarded(verifier, **options)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_public_document_names_the_issuers(verifier: Verifier, make: Make, method: str) -> None:
    """RFC 9728: the one path without a token."""
    path = "/.well-known/oauth-protected-resource"
    play = make(method=method, path=path, headers=[]).run(guarded(verifier, never))
    assert play.status == 200
    if method == "GET":
        document = json.loads(play.text)
        assert (document["resource"], document["authorization_servers"]) == (AUDIENCE, [ISSUER])


@pytest.mark.parametrize(
    ("mounted", "path", "url"),
    [
        ("/api", "/api/.well-known/oauth-protected-resource", b"/api/.well-known/"),
        ("/api", "/.well-known/oauth-protected-resource", b"/api/.well-known/"),  # Hypercorn
        ("/", "/.well-known/oauth-protected-resource", b"/.well-known/"),
        (
            '/a"\r\n/\u00e9',
            '/a"\r\n/\u00e9/.well-known/oauth-protected-resource',
            b"/a%22%0D%0A/%C3%A9/",
        ),
    ],
)
def test_the_public_document_of_a_mounted_application(
    verifier: Verifier, make: Make, mounted: str, path: str, url: bytes
) -> None:
    """The challenge names a URL below the mount path, and that URL has the document."""
    play = make(method="GET", path=path, headers=[])
    play.scope["root_path"] = mounted
    assert play.run(guarded(verifier, never)).status == 200
    play = make(path=f"{mounted}/search", headers=[])
    play.scope["root_path"] = mounted
    challenge = play.run(guarded(verifier, never)).headers[b"www-authenticate"]
    assert b'resource_metadata="https://tools.example' + url in challenge


def test_lifespan_is_the_application_s(verifier: Verifier, make: Make) -> None:
    """Passed on untouched, with whatever it raises."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert "crewgate" not in scope
        raise NotImplementedError("no lifespan")

    with pytest.raises(NotImplementedError, match="no lifespan"):
        make(kind="lifespan").run(guarded(verifier, app))


def test_websockets_and_strangers_are_refused(verifier: Verifier, make: Make) -> None:
    """What cannot be judged does not reach the application."""
    play = make(kind="websocket").run(guarded(verifier, never))
    assert play.sent == [{"type": "websocket.close", "code": 1008}]
    with pytest.raises(NotImplementedError, match="type 'carrier-pigeon'; serve it beside"):
        make(kind="carrier-pigeon").run(guarded(verifier, never))


def test_a_repr_shows_no_secret(verifier: Verifier, world: World) -> None:
    """What a log shows of it."""
    permitted(verifier.decide(world.token, "search.web"))
    assert world.token.decode() not in repr(guarded(verifier))
