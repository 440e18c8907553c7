"""Runs the processes of the demo: gateways and a tool server, in a folder, on free ports.

The module starts and ends them, whatever happens meanwhile, and runs `crewgate` commands as a
person would. It knows nothing of the story, or of the content of a configuration (`gateway_setup`).
"""

import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Container
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import httpx
import msgspec
import trio

from crewgate import limits
from crewgate.demo.alerts import ReceivedAlert
from crewgate.demo.ports import HOST, PORTS_PER_BLOCK
from crewgate.demo.tools import ReceivedCall
from crewgate.errors import DemoError

# `crewgate init` expects the tool server so many ports above the agents' listener.
TOOLS_OFFSET = 10
# The ports of the further gateways are so far above those of the first one.
FURTHER = (PORTS_PER_BLOCK, 2 * PORTS_PER_BLOCK)
_LOG_LINES = 20


class DemoGatewaySpec(msgspec.Struct, frozen=True):
    """One gateway: the folder of its configuration, and the port of its agents' listener."""

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
        """The URL of the agents' listener."""
        return f"https://{HOST}:{self.port}"

    @property
    def crews_url(self) -> str:
        """The URL of the crews' listener, which requires a client certificate."""
        return f"https://{HOST}:{self.port + 1}"

    @property
    def peer(self) -> str:
        """The address for other gateways, as HOST:PORT."""
        return f"{HOST}:{self.port + 3}"

    @property
    def further(self) -> "tuple[DemoGatewaySpec, ...]":
        """The further gateways of the trust domain, which `gateways` creates."""
        return tuple(
            DemoGatewaySpec(self.folder / f"gateway-{number}", self.port + offset)
            for number, offset in enumerate(FURTHER, 2)
        )

    @property
    def tools_url(self) -> str:
        """The URL of the tool server."""
        return f"http://{HOST}:{self.port + TOOLS_OFFSET}"

    @property
    def alert_secret(self) -> Path:
        """The file with the secret that signs alerts."""
        return self.folder / "oncall.secret"

    @property
    def log(self) -> Path:
        """The file with the log of the gateway."""
        return self.folder / "serve.log"

    async def command(self, *arguments: str, good: Container[int] = (0,)) -> bytes:
        """Run `crewgate …` on this configuration, and return its standard output.

        Raises DemoError if its exit status is not among `good`.
        """
        done = await trio.run_process(
            [sys.executable, "-m", "crewgate.cli", *arguments, "-c", str(self.config)],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
        if done.returncode not in good:
            output = (done.stderr or done.stdout).decode(errors="replace").strip()
            raise DemoError(f"crewgate {arguments[0]} failed ({done.returncode}): {output}")
        return done.stdout

    async def received(self) -> list[ReceivedCall]:
        """Ask the tool server directly for the calls that it received; DemoError."""
        return msgspec.convert(await self._asked("/received", "received"), list[ReceivedCall])

    async def alerts(self) -> list[ReceivedAlert]:
        """Ask the tool server for the alerts that it received; DemoError."""
        return msgspec.convert(await self._asked("/alerts/received", "alerts"), list[ReceivedAlert])

    async def _asked(self, path: str, member: str) -> object:
        try:
            async with httpx.AsyncClient() as client:
                answer = await client.post(f"{self.tools_url}{path}")
            return answer.json()[member]
        except (httpx.HTTPError, ValueError) as error:
            raise DemoError(f"the tool server does not answer: {error}") from error


Start = Callable[[list[str], Path], Awaitable[trio.Process]]


class GatewayProcess:
    """A gateway's process, which can be restarted."""

    def __init__(self, stage: DemoGatewaySpec, start: Start) -> None:
        self.stage = stage
        self._start = start
        self._process: trio.Process | None = None

    def for_stage(self, stage: DemoGatewaySpec) -> "GatewayProcess":
        """Return another gateway's process, which ends when this one does."""
        return GatewayProcess(stage, self._start)

    async def start(self) -> None:
        """Start it, and wait until it is ready; DemoError if it does not start."""
        serve = [sys.executable, "-m", "crewgate.cli", "serve", "-c", str(self.stage.config)]
        self._process = await self._start(serve, self.stage.log)
        try:
            await self.stage.command("status", "--wait", str(limits.demo_start_seconds))
        except DemoError as error:
            last = self.stage.log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
            raise DemoError("\n".join([f"the gateway does not start: {error}", *last])) from error

    async def restart(self) -> None:
        """End it, and start it again; DemoError if it does not start."""
        if self._process is not None:
            await end(self._process)
        await self.start()


@asynccontextmanager
async def running(stage: DemoGatewaySpec) -> AsyncIterator[GatewayProcess]:
    """Run the tool server and the gateway, ready; end all processes at the exit of the `with`."""
    tools = [sys.executable, "-m", "crewgate.demo.tools"]
    tools += ["--seconds", str(limits.demo_seconds_max)]
    async with trio.open_nursery() as nursery:
        start = partial(nursery.start, _run)
        await start([*tools, "--port", str(stage.port + TOOLS_OFFSET)], stage.log)
        gateway = GatewayProcess(stage, start)
        await gateway.start()
        yield gateway
        nursery.cancel_scope.cancel()


async def _run(
    command: list[str],
    log: Path,
    task_status: trio.TaskStatus[trio.Process] = trio.TASK_STATUS_IGNORED,
) -> None:
    with log.open("ab") as file:
        await trio.run_process(
            [sys.executable, "-m", "crewgate.demo.exit_with_parent", *command],
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=file,
            check=False,
            deliver_cancel=end,
            task_status=task_status,
            process_group=0,
        )


async def end(process: trio.Process) -> None:
    """Close the standard input of a process, and kill the process if it does not end."""
    if process.stdin is not None:
        await process.stdin.aclose()
    with trio.move_on_after(2 * limits.demo_stop_seconds):
        await process.wait()
        return
    with suppress(OSError):
        process.kill()
