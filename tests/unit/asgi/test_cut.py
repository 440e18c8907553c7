"""A call whose branch dies, or whose token ends, is cut: in whatever way is still open."""

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgi_play import LOOPS, Play
from crew_world import BRANCH, PARENT, World
from embedded import standalone

from crewgate import StandaloneVerifier
from crewgate.asgi import CrewgateMiddleware, middleware
from crewgate.errors import StreamTerminatedError

EVENTS = [(b"content-type", b"text/event-stream; charset=utf-8")]
SIBLING = "0199c1d2-0000-7000-8000-0000000000aa"
Script = list[tuple[str, Any]]


@pytest.fixture
def world() -> World:
    return World.make()


@pytest.fixture
def verifier(world: World) -> Iterator[StandaloneVerifier]:
    with standalone(world) as verifier:
        yield verifier


class Tool:
    """An application that does what its script says, one step after the other, then waits."""

    def __init__(self, play: Play, steps: Script) -> None:
        self.play = play
        self.steps = steps
        self.ended = ""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            for what, argument in self.steps:
                if what == "start":
                    start = {"type": "http.response.start", "status": 200, "headers": argument}
                    await send(start)
                elif what == "body":
                    body = {"type": "http.response.body", "body": argument, "more_body": True}
                    await send(body)
                elif what == "end":
                    await send({"type": "http.response.body", "body": argument})
                else:
                    argument()
            await self.play.sleep(60)
        except BaseException as error:
            self.ended = type(error).__name__
            raise


@pytest.fixture(params=LOOPS)
def play(request: pytest.FixtureRequest, world: World) -> Play:
    return Play(request.param, headers=[(b"authorization", b"Bearer " + world.token)])


def run(play: Play, verifier: StandaloneVerifier, steps: Callable[[], Script] | Script) -> Tool:
    tool = Tool(play, steps() if callable(steps) else steps)
    play.run(CrewgateMiddleware(tool, verifier=verifier, tool="search.web"))
    return tool


def test_a_tool_that_has_not_answered(play: Play, verifier: StandaloneVerifier) -> None:
    """It is cancelled while it waits, and the client gets the 401 of a dead branch."""
    tool = run(play, verifier, [("call", lambda: verifier.revoke(PARENT))])
    assert tool.ended in {"CancelledError", "Cancelled"}
    assert play.status == 401
    problem = json.loads(play.text)
    assert problem["type"].endswith("/branch-revoked")
    assert problem["branch"]
    # With an error code, the hooks of clients would repeat the call.
    assert b"error=" not in play.headers[b"www-authenticate"]
    assert "the tool may have done its work" in problem["detail"]


def test_a_stream_between_two_events(play: Play, verifier: StandaloneVerifier) -> None:
    """A last event says why, and the stream ends properly."""
    revoke = ("call", lambda: verifier.revoke(BRANCH))
    tool = run(play, verifier, [("start", EVENTS), ("body", b"data: 1\n\n"), revoke])
    assert tool.ended in {"CancelledError", "Cancelled"}
    last = play.sent[-1]
    assert last["body"].startswith(b"event: error\ndata: {")
    assert not last["more_body"]


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (EVENTS, b"data: 1\n"),
        ([*EVENTS, (b"content-encoding", b"br")], b"data: 1\n\n"),
        ([(b"content-type", b"application/json")], b"[1\n\n"),
        ([], b""),
    ],
)
def test_what_cannot_be_ended_properly_is_torn_off(
    play: Play, verifier: StandaloneVerifier, headers: Any, body: bytes
) -> None:
    """Raised to the server, which closes; nothing is sent that could look like an end."""
    revoke = ("call", lambda: verifier.revoke(BRANCH))
    said = rf"^Branch revoked: .* response to request [0-9a-f-]+ of branch {BRANCH}$"
    with pytest.raises(StreamTerminatedError, match=said):
        run(play, verifier, [("start", headers), ("body", body), revoke])
    assert all(message.get("more_body", True) for message in play.sent)


def test_a_message_of_a_dead_branch_is_not_passed_on(
    play: Play, verifier: StandaloneVerifier
) -> None:
    """At the very next `send`, without waiting for the watcher."""
    revoke = ("call", lambda: verifier.revoke(BRANCH))
    steps = [("start", EVENTS), ("body", b"data: 1\n\n"), revoke, ("body", b"data: secret\n\n")]
    tool = run(play, verifier, steps)
    assert tool.ended == "ConnectionAbortedError"
    assert b"secret" not in play.text
    assert b"event: error" in play.text


def test_an_answer_that_was_complete_stays_so(play: Play, verifier: StandaloneVerifier) -> None:
    """A revocation afterwards only ends what the tool still does."""
    revoke = ("call", lambda: verifier.revoke(BRANCH))
    tool = run(play, verifier, [("start", []), ("end", b"done"), revoke])
    assert tool.ended in {"CancelledError", "Cancelled"}
    assert play.text == b"done"


def test_a_tool_that_swallows_its_end_gets_nothing_more_out(
    play: Play, verifier: StandaloneVerifier
) -> None:
    """Whatever it does with the error, the client hears only why it was cut."""

    async def stubborn(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": EVENTS})
        verifier.revoke(BRANCH)
        for _ in range(3):
            try:
                body = {"type": "http.response.body", "body": b"x", "more_body": True}
                await send(body)
            except ConnectionAbortedError:
                continue

    play.run(CrewgateMiddleware(stubborn, verifier=verifier, tool="search.web"))
    assert play.text.startswith(b"event: error")
    assert len(play.sent) == 2


def test_an_end_of_the_server_is_not_a_cut(verifier: StandaloneVerifier, world: World) -> None:
    """A server that cancels the request gets its own cancellation back."""
    play = Play("asyncio", headers=[(b"authorization", b"Bearer " + world.token)])
    begun = asyncio.Event()
    tool = Tool(play, [("call", begun.set)])
    guarded = CrewgateMiddleware(tool, verifier=verifier, tool="search.web")

    async def serve() -> None:
        task = asyncio.ensure_future(guarded(play.scope, play.receive, play.send))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(serve())
    assert tool.ended == "CancelledError"
    assert play.sent == []


def test_a_token_s_end_is_the_call_s_end(
    play: Play, verifier: StandaloneVerifier, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream ends at `exp` like one whose branch is revoked."""
    steps: Script = [
        ("start", EVENTS),
        ("call", lambda: monkeypatch.setattr(middleware.time, "time", lambda: world.now + 900)),
    ]
    run(play, verifier, steps)
    assert b"token-expired" in play.text


def test_a_refresh_of_the_branch_extends_its_calls(
    play: Play, verifier: StandaloneVerifier, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A newer token that was presented meanwhile carries the older call on."""
    monkeypatch.setattr(middleware.time, "time", lambda: float(clock[0]))
    clock = [world.now]
    newer = world.mint(iat=world.now + 4, exp=world.now + 904)
    order: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/newer":
            order.append("newer began")
            clock[0] = world.now + 902
            await play.sleep(0.1)
            clock[0] = world.now + 904
            await play.sleep(60)
        await send({"type": "http.response.start", "status": 200, "headers": EVENTS})
        other = Play(play.loop, path="/newer", headers=[(b"authorization", b"Bearer " + newer)])
        try:
            await guarded(other.scope, other.receive, other.send)
        finally:
            order.append(f"newer ended {other.status if other.sent else ''}".strip())
        await play.sleep(60)  # whichever of the two is seen to be over first

    guarded = CrewgateMiddleware(app, verifier=verifier, tool="search.web")
    play.run(guarded)
    assert order[0] == "newer began"
    assert b"token-expired" in play.text
    assert guarded._ends == {}
