"""One request through an ASGI application, without a server, under asyncio or Trio."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import trio

Application = Callable[[Any, Any, Any], Awaitable[None]]
LOOPS = ("asyncio", "trio")


class Play:
    """A scripted server: what it gives the application, and what it was sent."""

    def __init__(
        self,
        loop: str,
        *,
        method: str = "POST",
        path: str = "/search",
        headers: list[tuple[bytes, bytes]] | None = None,
        query: bytes = b"",
        kind: str = "http",
    ) -> None:
        self.loop = loop
        self.scope: dict[str, Any] = {
            "type": kind,
            "method": method,
            "path": path,
            "query_string": query,
            "headers": [(b"host", b"tools.example"), *(headers or [])],
            "scheme": "https",
        }
        self.body = [b""]
        self.received = 0
        self.sent: list[dict[str, Any]] = []
        self.on_send: Callable[[], None] = lambda: None

    def run(self, application: Application) -> "Play":
        """Serve the request to its end; what the application raises is raised."""
        if self.loop == "trio":
            trio.run(application, self.scope, self.receive, self.send)
        else:
            asyncio.run(application(self.scope, self.receive, self.send))  # type: ignore[arg-type]
        return self

    async def sleep(self, seconds: float) -> None:
        if self.loop == "trio":
            await trio.sleep(seconds)
        else:
            await asyncio.sleep(seconds)

    async def receive(self) -> dict[str, Any]:
        if self.received == len(self.body):
            return {"type": "http.disconnect"}
        body = self.body[self.received]
        self.received += 1
        more = self.received < len(self.body)
        return {"type": "http.request", "body": body, "more_body": more}

    async def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)
        self.on_send()

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"])

    @property
    def text(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent[1:])
