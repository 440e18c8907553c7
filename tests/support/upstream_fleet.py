"""Tools' servers that a test kills, revives, makes slow or sick; and a gateway before them.

Each speaks HTTP/1.1 on a loopback socket of its own and tells who it is, and remembers what it was
asked. The gateway is a whole one: what it is told is its configuration file, and nothing else.
"""

import json
import signal
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import httpx
import trio
from installation import Premises
from scripted_server import read_request

from crewgate.issuer import SubAgent

# Answers; says nothing; closes without an answer; closes in the middle of one, without TLS's end;
# falls silent in the middle of one.
Mood = Literal["well", "silent", "curt", "torn", "stuck"]
HEALTH = b"/health"
PATIENCE_SECONDS = 120  # of one gateway: what waits in vain ends, and its processes with it

TOOLS = """
[tool."search.page"]
method = "GET"
path = "/pages/*"
upstream = "tools"
price = "0.01"
"""


class Request(NamedTuple):
    """What a server was asked."""

    method: bytes
    target: bytes
    fields: dict[bytes, bytes]
    body: bytes


def parsed(data: bytes) -> Request:
    """A request of HTTP/1.1."""
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    method, target, _ = first.split(b" ")
    pairs = (line.partition(b": ") for line in lines)
    return Request(method, target, {name.lower(): value for name, _, value in pairs}, body)


class Server:
    """One server. `calls` and `checks` are what came, `shown` the subjects of client certificates.

    While `health` is not 200 it still answers calls.
    """

    def __init__(
        self, host: str = "127.0.0.1", port: int = 0, context: ssl.SSLContext | None = None
    ) -> None:
        self.host = host
        self.port = port
        self.mood: Mood = "well"
        self.status = 200
        self.lines = b""  # further fields of answers
        self.health = 200
        self.gate: trio.Event | None = None  # answers wait for it
        self.calls: list[Request] = []
        self.checks: list[Request] = []
        self.shown: list[Any] = []
        self.connections = 0
        self.under_way = 0
        self._context = context
        self._scope: trio.CancelScope | None = None
        self._ended = trio.Event()

    @property
    def name(self) -> str:
        return f"{self.host}:{self.port}"

    def url(self, host: str | None = None) -> str:
        return f"{'https' if self._context else 'http'}://{host or self.host}:{self.port}"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen until `die`; then all connections are gone, and nobody listens."""
        self._ended = trio.Event()
        with trio.CancelScope() as self._scope:
            async with trio.open_nursery() as nursery:
                serving = partial(trio.serve_tcp, self._serve, self.port, host=self.host)
                (listener,) = await nursery.start(serving)
                self.port = listener.socket.getsockname()[1]
                task_status.started()
        self._ended.set()

    async def die(self) -> None:
        """End at once, in the middle of whatever it does."""
        assert self._scope is not None
        self._scope.cancel()
        await self._ended.wait()

    # Inside.

    async def _serve(self, plain: trio.SocketStream) -> None:
        self.connections += 1
        stream: Any = plain
        if self._context is not None:
            stream = trio.SSLStream(plain, self._context, server_side=True, https_compatible=True)
        with suppress(trio.BrokenResourceError):
            if self._context is not None:
                await stream.do_handshake()
                self.shown.append(stream.getpeercert())
            await self._talk(stream)

    async def _talk(self, stream: trio.abc.Stream) -> None:
        while b"\r\n\r\n" in (data := await read_request(stream)):
            request = parsed(data)
            if not await self._consider(request):
                return
            status, body = self._answer(request)
            if self.mood == "torn":
                await stream.send_all(b"HTTP/1.1 200 x\r\n\r\nhalf of")
                return
            head = b"HTTP/1.1 %d x\r\n%bcontent-length: %d\r\n\r\n"
            answer = head % (status, self.lines, len(body)) + body
            if self.mood == "stuck":
                await stream.send_all(answer[:-1])
                await trio.sleep_forever()
            await stream.send_all(answer)

    async def _consider(self, request: Request) -> bool:
        """Count a request and take as long as a test wants; False to close without an answer."""
        if request.target.startswith(HEALTH):
            self.checks.append(request)
            return True
        self.calls.append(request)
        self.under_way += 1
        try:
            if self.mood == "silent":
                await trio.sleep_forever()
            if self.gate is not None:
                await self.gate.wait()
        finally:
            self.under_way -= 1
        return self.mood != "curt"

    def _answer(self, request: Request) -> tuple[int, bytes]:
        if request.target.startswith(HEALTH):
            return self.health, b""
        return self.status, json.dumps({"server": self.name}).encode()


class Fleet:
    """Servers that run in the test's own process."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery

    async def start(self, kind: type[Server] = Server, **how: Any) -> Server:
        server = kind(**how)
        await self.revive(server)
        return server

    async def revive(self, server: Server) -> None:
        await self._nursery.start(server.run)


@asynccontextmanager
async def fleet() -> AsyncIterator[Fleet]:
    """Servers that end with the block."""
    async with trio.open_nursery() as nursery:
        yield Fleet(nursery)
        nursery.cancel_scope.cancel()


class Front:
    """A serving gateway of one worker, an agent, and a client that shows the agent's token."""

    def __init__(self, site: Premises, agent: SubAgent, client: httpx.AsyncClient) -> None:
        self.site = site
        self.client = client
        self._agent = agent
        client.headers["authorization"] = f"Bearer {agent.token()}"

    async def calls(self, number: int) -> list[httpx.Response]:
        """So many answers, one after the other."""
        return [await self.client.get("/pages/a") for _ in range(number)]

    async def calls_at_once(self, number: int) -> list[httpx.Response]:
        """So many answers to calls that are made together."""
        answers: list[httpx.Response] = []

        async def call() -> None:
            answers.append(await self.client.get("/pages/a"))

        async with trio.open_nursery() as nursery:
            for _ in range(number):
                nursery.start_soon(call)
        return answers

    async def reload(self) -> None:
        """SIGHUP, and wait until the worker serves what its configuration says now."""
        await _reload(self.site, _loads(self.site))

    def records(self) -> list[dict[str, Any]]:
        """What the audit says of the agent's calls."""
        return [each for each in self.site.records() if each.get("branch") == self._agent.branch]

    async def spent_micro(self) -> int:
        """What `crewgate tree` says that the branch has spent."""
        tree = await trio.to_thread.run_sync(self.site.ask, "tree")
        (row,) = [line for line in tree["branches"] if line["branch"] == self._agent.branch]
        return int(row["spent_micro"])


class Standing:
    """The gateway that tests share, one after the other; each has it take up its own upstream."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._site: Premises | None = None
        self._text = ""  # of its configuration, as `init` wrote it

    async def serve(self, upstream: str, environment: dict[str, str] | None = None) -> Premises:
        """Start it, or have it load another configuration."""
        if self._site is None:
            self._site = site = await trio.to_thread.run_sync(Premises, self._folder)
            self._text = site.file.read_text().replace("workers = 2", "workers = 1")
            self._write(site, upstream)
            await trio.to_thread.run_sync(site.serve, environment)
        else:
            before = _loads(self._site)  # it may notice the new file by itself
            if self._write(self._site, upstream):
                await _reload(self._site, before)
        return self._site

    def end(self) -> None:
        """End it, if it was needed."""
        if self._site is not None:
            self._site.end()

    def _write(self, site: Premises, upstream: str) -> bool:
        """Return whether that is something new."""
        begin, end = (self._text.index(each) for each in ("[upstream.", '[tool."search.web"]'))
        new = f"{self._text[:begin]}[upstream.tools]\n{upstream}\n\n{self._text[end:]}{TOOLS}"
        old = site.file.read_text()
        beside = site.file.with_suffix(".new")
        beside.write_text(new)
        beside.replace(site.file)
        return new != old


@asynccontextmanager
async def fronted(
    standing: Standing, upstream: str, *, environment: dict[str, str] | None = None
) -> AsyncIterator[Front]:
    """A gateway whose tools' upstream is configured by `upstream`: tables of TOML.

    With an `environment`, it must not have been started yet. What blocks is done in threads: the
    servers behind it go on answering.
    """
    site = await standing.serve(upstream, environment)
    article = await trio.to_thread.run_sync(site.orchestrator)
    try:
        agent = article.start_run(credits="100", tools=["search.*"])
        # HTTP/1.1: with HTTP/2, httpcore lets a call that waits hold up those behind it.
        async with site.client(http2=False) as client:
            with trio.fail_after(PATIENCE_SECONDS):
                yield Front(site, agent, client)
    finally:
        article.close()


def _loads(site: Premises) -> int:
    return (site.folder / "serve.log").read_text().count("serving configuration")


async def _reload(site: Premises, before: int) -> None:
    assert site.serving is not None
    site.serving.send_signal(signal.SIGHUP)
    await until(lambda: _loads(site) > before)


def endpoints(*servers: Server) -> str:
    """The key of that name."""
    return f"endpoints = {json.dumps([server.url() for server in servers])}"


def statuses(answers: list[httpx.Response]) -> Counter[int]:
    return Counter(answer.status_code for answer in answers)


def servers(answers: list[httpx.Response]) -> Counter[str]:
    """Which servers gave the good ones."""
    return Counter(answer.json()["server"] for answer in answers if answer.status_code == 200)


FAKE_NAMES = """\
import json, os, socket, time
real = socket.getaddrinfo
def getaddrinfo(host, port, *args, **how):
    with open(os.environ["TEST_NAMES"]) as file:
        names = json.load(file)
    if host not in names:
        return real(host, port, *args, **how)
    if names[host] == ["hang"]:
        time.sleep(600)
    if not names[host]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in names[host]]
socket.getaddrinfo = getaddrinfo
"""


class Names:
    """A resolver for the processes of a gateway, read from a file at each question."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "names.json"
        self._code = folder / "names"
        self._code.mkdir()
        (self._code / "sitecustomize.py").write_text(FAKE_NAMES)
        self.tell({})

    @property
    def environment(self) -> dict[str, str]:
        return {"PYTHONPATH": str(self._code), "TEST_NAMES": str(self._file)}

    def tell(self, names: dict[str, list[str]]) -> None:
        """From now on these are the names; one without addresses does not exist, ["hang"] hangs."""
        beside = self._file.with_suffix(".new")
        beside.write_text(json.dumps(names))
        beside.replace(self._file)


async def until(true: Any) -> None:
    """Look again and again; the patience of `fronted` bounds it."""
    while not true():  # noqa: ASYNC110 - other processes set no events
        await trio.sleep(0.02)
