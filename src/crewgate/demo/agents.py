"""The five sub-agents, each a process of its own: `python -m crewgate.demo.agents ROLE …`.

An agent is a stock HTTP/2 client (httpx) with a token file and a habit. It prints each answer as it
came, one JSON line on standard output, and knows nothing of what the gateway will answer. It begins
at the first byte of standard input and ends with standard input, so it never outlives its
orchestrator.
"""

import argparse
import json
import os
import ssl
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Literal

import httpx
import msgspec
import trio

from crewgate import limits
from crewgate.issuer.httpx_auth import TokenAuth
from crewgate.issuer.proof_key import ProofKey

SEARCH, EMBEDDINGS, PUBLISH, SUMMARY = "/search", "/v1/embeddings", "/publish", "/summary"


class AgentEvent(msgspec.Struct, frozen=True):
    """What an agent saw, and when; times are CLOCK_MONOTONIC, which all processes here share.

    `ready`: the agent waits for the order to begin. `call`: a call from `asked_ns` was answered
    with `status` (0: no answer came), and `reason` is the slug of a refusal. `opened` and `ended`:
    a stream; `last_byte_ns` is when its last byte came, and `reason` how the stream ended.
    """

    what: Literal["ready", "call", "opened", "ended"]
    at_ns: int
    path: str = ""
    status: int = 0
    reason: str = ""
    last_byte_ns: int = 0
    asked_ns: int = 0

    @property
    def admitted(self) -> bool:
        """Whether the tool answered the call."""
        return 200 <= self.status < 300  # noqa: PLR2004 - RFC 9110, section 15.3

    @property
    def answer(self) -> str:
        """The status of the answer, and the reason of a refusal."""
        return f"{self.status} {self.reason}".strip()


EmitEvent = Callable[[AgentEvent], None]


class DemoAgent:
    """A sub-agent: its HTTP client, and the function that reports its events."""

    def __init__(self, client: httpx.AsyncClient, emit: EmitEvent) -> None:
        self._client = client
        self._emit = emit

    async def call(self, path: str, body: object) -> tuple[AgentEvent, dict[str, object]]:
        """Call a tool once; report the event, and return it with the JSON object of the answer."""
        asked = time.monotonic_ns()
        try:
            async with self._post(path, body) as response:
                await response.aread()
        except httpx.HTTPError as error:
            status, reason = 0, type(error).__name__
            answer: dict[str, object] = {}
        else:
            answer = _object(response)
            status, reason = response.status_code, _reason(response, answer)
        event = AgentEvent("call", time.monotonic_ns(), path, status, reason, asked_ns=asked)
        self._emit(event)
        return event, answer

    async def listen(self, path: str, body: object) -> None:
        """Open a stream, and read it until the tool, the gateway or a failure ends it."""
        last, status, tail = 0, 0, b""
        try:
            async with self._post(path, body) as response:
                status = response.status_code
                self._emit(AgentEvent("opened", time.monotonic_ns(), path, status))
                async for chunk in response.aiter_raw():
                    last = time.monotonic_ns()
                    tail = (tail + chunk)[-limits.demo_event_bytes_max :]
            reason = _last_event(tail)
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
        self._emit(AgentEvent("ended", time.monotonic_ns(), path, status, reason, last))

    @asynccontextmanager
    async def _post(self, path: str, body: object) -> AsyncIterator[httpx.Response]:
        """Post a request, and yield the response before its body is read.

        A 503 with Retry-After is retried a few times, as a client of a busy server should (RFC
        9110, section 15.6.4): a disk may be slow.
        """
        for retries_left in reversed(range(limits.demo_again_max + 1)):
            async with self._client.stream("POST", path, json=body) as response:
                delay = response.headers.get("retry-after")
                is_busy = response.status_code == HTTPStatus.SERVICE_UNAVAILABLE
                if not (retries_left and delay and is_busy):
                    yield response
                    return
            await trio.sleep(float(delay))


def _object(response: httpx.Response) -> dict[str, object]:
    try:
        value = response.json()
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _last_event(tail: bytes) -> str:
    """Return how a stream ended that was not reset: `complete`, or its last event's problem."""
    _, error, data = tail.rpartition(b"event: error\ndata: ")
    if not error:
        return "complete"
    try:
        return f"error event {str(json.loads(data)['type']).rpartition('/')[2]}"
    except (ValueError, KeyError, TypeError):
        return "error event"


def _reason(response: httpx.Response, answer: dict[str, object]) -> str:
    """Return the slug of a refusal's problem type (RFC 9457); empty for any other response."""
    if response.headers.get("content-type") != "application/problem+json":
        return ""
    return str(answer.get("type", "")).rpartition("/")[2]


async def researcher(agent: DemoAgent) -> None:
    """Ask for the same page as long as it is partial; retry what fails.

    This is the loop of the incident. The loop knows nothing of money, and a refusal does not end
    it. Only the number of its attempts is bounded, so that the demo ends.
    """
    for _ in range(limits.demo_same_page_calls):
        await agent.call(SEARCH, {"query": "agent loops", "cursor": 0})


async def collector(agent: DemoAgent) -> None:
    """Ask for the next page as long as a page is partial, so that no two calls are equal.

    No rule takes that for a loop. Its credits end it.
    """
    cursor: object = 0
    for _ in range(limits.demo_loop_calls):
        _event, page = await agent.call(SEARCH, {"query": "agent loops", "cursor": cursor})
        cursor = page.get("cursor", cursor)


async def drafter(agent: DemoAgent) -> None:
    """Embed paragraphs; now and then try to scrape, which its token does not allow."""
    for number in range(limits.demo_sibling_calls):
        await agent.call(EMBEDDINGS, {"input": f"paragraph {number}"})
        if number % limits.demo_scrape_every == 0:
            await agent.call(SEARCH, {"query": "scrape this"})
        await trio.sleep(limits.demo_pace_seconds)


async def fact_checker(agent: DemoAgent) -> None:
    """Read a long summary; when the stream ends, try to continue working."""
    await agent.listen(SUMMARY, {"of": "the draft"})
    for number in range(limits.demo_revoked_calls):
        await agent.call(SEARCH, {"query": f"fact {number}"})


async def repeat(agent: DemoAgent, path: str, body: Callable[[int], object]) -> None:
    """Call a tool as often as each agent does that the incident must not affect."""
    for number in range(limits.demo_sibling_calls):
        await agent.call(path, body(number))
        await trio.sleep(limits.demo_pace_seconds)


async def style_reviewer(agent: DemoAgent) -> None:
    """Compare the style of paragraphs."""
    await repeat(agent, EMBEDDINGS, lambda number: {"input": f"style of paragraph {number}"})


async def publisher(agent: DemoAgent) -> None:
    """Publish section after section."""
    await repeat(agent, PUBLISH, lambda number: {"title": f"section {number}"})


ROLES: dict[str, Callable[[DemoAgent], Awaitable[None]]] = {
    "researcher": researcher,
    "collector": collector,
    "drafter": drafter,
    "fact-checker": fact_checker,
    "style-reviewer": style_reviewer,
    "publisher": publisher,
}


async def call_once(url: str, ca: Path, auth: httpx.Auth, path: str, body: object) -> AgentEvent:
    """Call a tool once with a new client, and return how it was answered."""
    async with client(url, ca, auth) as http:
        event, _ = await DemoAgent(http, lambda _: None).call(path, body)
    return event


def client(
    url: str,
    ca: Path,
    auth: httpx.Auth,
    certificate: Path | None = None,
    *,
    http2: bool = True,
) -> httpx.AsyncClient:
    """Return a stock client that trusts only the gateway's root.

    `certificate` is the PREFIX of a client certificate (PREFIX.pem) and its key, if any.
    """
    context = ssl.create_default_context(cafile=str(ca))
    if certificate is not None:
        context.load_cert_chain(f"{certificate}.pem", f"{certificate}.key")
    return httpx.AsyncClient(
        base_url=url, verify=context, http2=http2, auth=auth, timeout=limits.demo_answer_seconds
    )


async def work(role: str, url: str, ca: Path, token_file: Path, key: ProofKey) -> None:
    """Run as `role` from the first byte of standard input until the work, or the input, ends."""
    async with (
        trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as orchestrator,
        client(url, ca, TokenAuth(token_file, key=key)) as http,
        trio.open_nursery() as nursery,
    ):
        _emit(AgentEvent("ready", time.monotonic_ns()))
        if await orchestrator.receive_some(1):
            nursery.start_soon(_end_with, orchestrator, nursery.cancel_scope)
            await ROLES[role](DemoAgent(http, _emit))
            nursery.cancel_scope.cancel()


def _emit(event: AgentEvent) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(event) + b"\n")
    sys.stdout.buffer.flush()


async def _end_with(orchestrator: trio.abc.ReceiveStream, scope: trio.CancelScope) -> None:
    while await orchestrator.receive_some(1):
        pass
    scope.cancel()


def main() -> None:
    """Read the command line, and run one sub-agent."""
    parser = argparse.ArgumentParser(description="Run one sub-agent of the demo.")
    parser.add_argument("role", choices=ROLES)
    parser.add_argument("--url", required=True)
    parser.add_argument("--ca", type=Path, required=True)
    parser.add_argument("--token-file", type=Path, required=True)
    parser.add_argument("--key-file", type=Path, required=True)
    options = parser.parse_args()
    key = ProofKey.load(options.key_file)
    options.key_file.unlink()  # from now on, only the memory of this process has the key
    trio.run(partial(work, options.role, options.url, options.ca, options.token_file, key))


if __name__ == "__main__":
    main()
