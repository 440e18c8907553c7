"""Where the story plays: a folder, free ports, a gateway and a tool server, as real processes.

Starts and ends them, whatever happens meanwhile, and runs `crewgate` commands as a person would.
Knows nothing of the story.
"""

import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import httpx
import msgspec
import trio

from crewgate import limits
from crewgate.demo.tools import HOST, Received
from crewgate.errors import StoryError

TOOLS_OFFSET = 10  # where `crewgate init` expects the tool server
_OFFSETS = (1, 2, TOOLS_OFFSET)  # what it uses beside the first: crews, control API, tools
_ATTEMPTS_MAX = 50
_LOG_LINES = 20

_SUMMARY = """
[tool."summary.stream"]
method = "POST"
path = "/summary"
upstream = "tools"
price = "0.01"
"""
_CREWS = ("bd", "finance")
# What one of them owns.
_BORDER = """
[tool."finance.balance"]
method = "POST"
path = "/balance"
upstream = "tools"
price = "0.01"
owner = "finance"

[tool."finance.statement"]
method = "POST"
path = "/statement"
upstream = "tools"
price = "0.01"
owner = "finance"
"""
_CEILING = 'tools = ["search.*", "embeddings.*", "publish.*"]'
_WIDER = 'tools = ["search.*", "embeddings.*", "publish.*", "summary.*"]'


class Stage(msgspec.Struct, frozen=True):
    """A configuration in a folder of its own, and the port of its agents' listener."""

    folder: Path
    port: int

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.folder / "gate" / "crewgate.toml"

    @property
    def ca(self) -> Path:
        """The root that clients of the gateway trust."""
        return self.folder / "gate" / "certs" / "ca.pem"

    @property
    def url(self) -> str:
        """Where agents find the gateway."""
        return f"https://{HOST}:{self.port}"

    @property
    def crews_url(self) -> str:
        """Where other crews find it, with their certificates."""
        return f"https://{HOST}:{self.port + 1}"

    @property
    def log(self) -> Path:
        """What the gateway says."""
        return self.folder / "serve.log"

    async def command(self, *arguments: str) -> bytes:
        """Run `crewgate …` on this configuration; its standard output. StoryError if it fails."""
        done = await trio.run_process(
            [sys.executable, "-m", "crewgate.cli", *arguments, "-c", str(self.config)],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
        if done.returncode:
            said = (done.stderr or done.stdout).decode(errors="replace").strip()
            raise StoryError(f"crewgate {arguments[0]} failed ({done.returncode}): {said}")
        return done.stdout

    async def received(self) -> list[Received]:
        """What the tool server received, asked without the gateway."""
        port = self.port + TOOLS_OFFSET
        try:
            async with httpx.AsyncClient() as client:
                answer = await client.post(f"http://{HOST}:{port}/received")
            return msgspec.convert(answer.json()["received"], list[Received])
        except (httpx.HTTPError, ValueError) as error:
            raise StoryError(f"the tool server does not answer: {error}") from error


async def build(folder: Path) -> Stage:
    """`crewgate init` on free ports, and one more tool: a summary that is streamed."""
    stage = Stage(folder, _free_port())
    gate = str(stage.config.parent)
    initialise = [sys.executable, "-m", "crewgate.cli", "init", gate, "--port", str(stage.port)]
    try:
        await trio.run_process(initialise, capture_stdout=True, capture_stderr=True)
    except subprocess.CalledProcessError as error:
        raise StoryError(f"crewgate init failed: {error.stderr.decode().strip()}") from error
    text = stage.config.read_text()
    if _CEILING not in text:
        raise StoryError(f"{stage.config}: `crewgate init` writes another crew than the story's")
    sections = [await stage.command("crew", crew, "--tools", "finance.*") for crew in _CREWS]
    crews = b"".join(sections).decode()
    stage.config.write_text(text.replace(_CEILING, _WIDER) + _SUMMARY + crews + _BORDER)
    return stage


class Gateway:
    """The gateway's process, which can be ended and started again."""

    def __init__(self, stage: Stage, start: Callable[[], Awaitable[trio.Process]]) -> None:
        self._stage = stage
        self._start = start
        self._process: trio.Process | None = None

    async def start(self) -> None:
        """Until it is ready; StoryError."""
        self._process = await self._start()
        await _ready(self._stage)

    async def restart(self) -> None:
        """End it in order, and start it; StoryError."""
        if self._process is not None:
            await end(self._process)
        await self.start()


@asynccontextmanager
async def running(stage: Stage) -> AsyncIterator[Gateway]:
    """The gateway and the tool server, ready; both have ended when this is left."""
    tools = [sys.executable, "-m", "crewgate.demo.tools"]
    tools += ["--seconds", str(limits.demo_seconds_max)]
    serve = [sys.executable, "-m", "crewgate.cli", "serve", "-c", str(stage.config)]
    with stage.log.open("wb") as log:
        async with trio.open_nursery() as nursery:
            start = partial(nursery.start, partial(_run, log=log.fileno()))
            await start([*tools, "--port", str(stage.port + TOOLS_OFFSET)])
            gateway = Gateway(stage, partial(start, serve))
            await gateway.start()
            yield gateway
            nursery.cancel_scope.cancel()


async def _ready(stage: Stage) -> None:
    try:
        await stage.command("status", "--wait", str(limits.demo_start_seconds))
    except StoryError as error:
        last = stage.log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
        raise StoryError("\n".join([f"the gateway does not start: {error}", *last])) from error


async def _run(
    command: list[str],
    log: int,
    task_status: trio.TaskStatus[trio.Process] = trio.TASK_STATUS_IGNORED,
) -> None:
    await trio.run_process(
        [sys.executable, "-m", "crewgate.demo.guard", *command],
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=log,
        check=False,
        deliver_cancel=end,
        task_status=task_status,
        process_group=0,
    )


async def end(process: trio.Process) -> None:
    """End a process that ends with its standard input, and kill one that does not."""
    if process.stdin is not None:
        await process.stdin.aclose()
    with trio.move_on_after(2 * limits.demo_stop_seconds):
        await process.wait()
        return
    with suppress(OSError):
        process.kill()


def _free_port() -> int:
    """A port that is free now, as are those that `init` uses beside it."""
    for _ in range(_ATTEMPTS_MAX):
        with _bound(0) as first:
            port: int = first.getsockname()[1]
            with suppress(OSError, OverflowError), ExitStack() as others:
                for offset in _OFFSETS:
                    others.enter_context(_bound(port + offset))
                return port
    raise StoryError("no free ports beside each other on 127.0.0.1; end what listens there")


def _bound(port: int) -> AbstractContextManager[socket.socket]:
    return socket.create_server((HOST, port))
