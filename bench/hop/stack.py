"""The gateway that a team would write today: an ASGI app with PyJWT and aiohttp.

Run by granian under uvloop in an environment of its own, settings from STACK_... variables. Bare
ASGI, no framework: less work than most would have. It checks signature, times, issuer, audience,
the tool in `allowed_tools` and a count of calls; it keeps no credits, revocations or audit.
"""

import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import jwt
from aiohttp import ClientSession, TCPConnector  # type: ignore[import-not-found,unused-ignore]

ISSUER, AUDIENCE, UPSTREAM = (
    os.environ.get(f"STACK_{name}", "") for name in ("ISSUER", "AUDIENCE", "UPSTREAM")
)
TOOLS: dict[str, str] = json.loads(os.environ.get("STACK_TOOLS", "{}"))  # names by path
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
CALLS_MAX = 1_000_000_000
DROPPED = {b"authorization", b"host", b"connection"}


def read_keys(path: str) -> dict[str, Any]:
    """The crew's public keys by their ids."""
    keys = json.loads(Path(path).read_text(encoding="utf-8"))["keys"] if path else []
    return {key["kid"]: jwt.PyJWK(key).key for key in keys}


class Stack:
    """The app; its client session begins with the first request, inside the loop."""

    def __init__(self) -> None:
        self.keys = read_keys(os.environ.get("STACK_JWKS", ""))
        self.session: Any = None
        self.calls = 0

    def allowed(self, headers: dict[bytes, bytes], path: str) -> bool:
        """Whether token, tool and count let the request through."""
        token = headers.get(b"authorization", b"").removeprefix(b"Bearer ")
        try:
            key = self.keys[jwt.get_unverified_header(token)["kid"]]
            claims = jwt.decode(token, key, ["EdDSA"], audience=AUDIENCE, issuer=ISSUER)
        except (jwt.PyJWTError, KeyError):
            return False
        self.calls += 1
        return TOOLS.get(path) in claims["allowed_tools"] and self.calls < CALLS_MAX

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; its body goes on as it comes, and so does an answer without a length."""
        if scope["type"] != "http":
            return
        headers = dict(scope["headers"])
        if not self.allowed(headers, scope["path"]):
            await send({"type": "http.response.start", "status": 401, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        if self.session is None:
            self.session = ClientSession(connector=TCPConnector(limit=256))
        kept = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in headers.items()
            if name not in DROPPED
        }
        body = None if scope["method"] == "GET" else pieces(receive)
        url = UPSTREAM + scope["path"]
        async with self.session.request(scope["method"], url, headers=kept, data=body) as answer:
            fields = [(b"content-type", answer.content_type.encode("latin-1"))]
            start = {"type": "http.response.start", "status": answer.status, "headers": fields}
            if answer.content_length is None:
                await send(start)
                async for piece in answer.content.iter_any():
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
                return
            whole = await answer.read()
        await send(start)
        await send({"type": "http.response.body", "body": whole})


async def pieces(receive: Receive) -> AsyncIterator[bytes]:
    """The body of a request, as it comes."""
    more = True
    while more:
        message = await receive()
        more = message.get("more_body", False)
        yield message.get("body", b"")


app = Stack()
