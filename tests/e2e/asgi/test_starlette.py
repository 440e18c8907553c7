"""The middleware inside a Starlette application, as teams write it, on a real Uvicorn."""

import asyncio
import json
import re
from collections.abc import AsyncIterator

import httpx
from asgi_servers import serving
from crew_world import BRANCH, World
from embedded import standalone
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

from crewgate import StandaloneVerifier
from crewgate.asgi import CrewgateMiddleware


async def search(request: Request) -> Response:
    """A tool that reads its body and knows who is calling."""
    permit = request.state.crewgate
    return JSONResponse({"branch": permit.grant.branch, "bytes": len(await request.body())})


async def summary(request: Request) -> Response:
    """A slow stream of events."""

    async def events() -> AsyncIterator[str]:
        while True:
            yield "data: more\n\n"
            await asyncio.sleep(0.005)

    return StreamingResponse(events(), media_type="text/event-stream")


def application(verifier: StandaloneVerifier) -> Starlette:
    tool = {"POST /search": "search.web", "GET /summary": "search.web"}
    return Starlette(
        routes=[Route("/search", search, methods=["POST"]), Route("/summary", summary)],
        middleware=[Middleware(CrewgateMiddleware, verifier=verifier, tool=tool)],
    )


def test_a_starlette_application_is_guarded() -> None:
    """Called, refused, and cut with a last event; the framework notices nothing."""
    world = World.make()
    headers = {"authorization": f"Bearer {world.token.decode()}"}
    with (
        standalone(world) as verifier,
        serving("uvicorn-h11", application(verifier)) as url,
        httpx.Client(base_url=url, timeout=10) as client,
    ):
        answer = client.post("/search", headers=headers, content=b"query")
        assert answer.json() == {"branch": BRANCH, "bytes": 5}
        assert client.post("/search", content=b"query").status_code == 401
        assert client.get("/none", headers=headers).status_code == 404
        with client.stream("GET", "/summary", headers=headers) as stream:
            received = stream.iter_text()
            assert next(received).startswith("data: more")
            verifier.revoke(BRANCH)
            rest = "".join(received)
        last = rest.rstrip("\n").rpartition("\n\n")[2]
        assert json.loads(last.removeprefix("event: error\ndata: "))["status"] == 401


def test_a_mounted_application_serves_the_document_that_its_challenge_names() -> None:
    """Starlette passes on only requests below the mount path."""
    with (
        standalone(World.make()) as verifier,
        serving("uvicorn-h11", Starlette(routes=[Mount("/api", application(verifier))])) as url,
        httpx.Client(base_url=url, timeout=10) as client,
    ):
        challenge = client.post("/api/search").headers["www-authenticate"]
        found = re.search('resource_metadata="([^"]+)"', challenge)
        assert found is not None
        assert client.get(found[1]).json()["resource"] == verifier.audience
