"""`python -m bench.cluster.restarts`: what a rolling restart of gateways costs their callers.

Callers on kept connections (HTTP/1.1 over TLS) call every gateway at a steady rate, while `crewgate
restart` replaces the processes of one after the other. A call counts as failed at its first try if
it is not answered with 200 then. One that a well-behaved client makes again (it got 503, or could
not be sent) counts as failed in the end only if that does not help either. The exit status is 1 if
a call failed in the end, if too many failed at their first try, or if a gateway gave no answer for
too long.
"""

import asyncio
import ssl
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import click

from bench.cluster.gateways import START_SECONDS, STREAM, _serving, _wait_for_others, tokens_of
from bench.cluster.machines import NAMES, arrange
from bench.hop.client import context
from bench.hop.processes import TOOLS_ABOVE, end, start, wait_for_port
from bench.hop.stage import crewgate
from crewgate.config import Config

CALLERS = 20  # of one gateway, each with a connection of its own
TRIES_MAX = 50  # of one call; a tenth of a second apart
AGAIN_SECONDS = 0.1
ANSWER_SECONDS = 10.0
REST_SECONDS = 2.0  # before the first restart, and between two
FIRST_SHARE_MAX = 0.001  # of all calls; so many may fail at their first try
# Between two answers of one gateway. The old processes answer until the new ones do, so only a
# gateway that stands still is silent for longer; a client that waits for a second loses its call.
GAP_SECONDS_MAX = 1.0
RATE_MIN = 200.0  # calls a second; below that the callers themselves may leave such a gap


@dataclass
class Seen:
    """What the callers of one gateway saw; times are seconds of `time.monotonic`."""

    calls: int = 0
    failed_at_first: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    answered: float = 0.0
    gap: float = 0.0
    slowest: float = 0.0

    def answer(self, seconds: float) -> None:
        """A 200, now."""
        now = time.monotonic()
        if self.answered:
            self.gap = max(self.gap, now - self.answered)
        self.answered, self.slowest = now, max(self.slowest, seconds)


class UnsentError(Exception):
    """The call has not left; it may be made again."""


class Caller:
    """One connection to a gateway, made anew when it has ended."""

    def __init__(self, port: int, tls: ssl.SSLContext, token: str) -> None:
        self._port, self._tls = port, tls
        self._request = (
            f"POST /search HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n"
            "content-length: 2\r\n\r\n{}"
        ).encode()
        self._ends: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def call(self) -> int:
        """The status of one try; UnsentError, OSError, EOFError."""
        reader, writer = await self._connected()
        try:
            writer.write(self._request)
            async with asyncio.timeout(ANSWER_SECONDS):
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length:")[2].split()[0])
                await reader.readexactly(length)
        except BaseException:
            self.close()
            raise
        if b"connection: close" in head:
            self.close()
        return int(head.split()[1])

    def close(self) -> None:
        """Hang up."""
        if self._ends is not None:
            self._ends[1].close()
            self._ends = None

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._ends is not None and (self._ends[0].at_eof() or self._ends[1].is_closing()):
            self.close()
        if self._ends is None:
            try:
                self._ends = await asyncio.open_connection(
                    "127.0.0.1", self._port, ssl=self._tls, server_hostname="localhost"
                )
            except OSError as error:
                raise UnsentError(f"not connected: {type(error).__name__}") from error
        return self._ends


async def call_on(caller: Caller, seen: Seen, every: float, until: asyncio.Event) -> None:
    """One call each `every` seconds, and again where that is what a client does."""
    due = time.monotonic()
    while not until.is_set():
        due = max(due + every, time.monotonic() - 1.0)
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        seen.calls += 1
        began = time.monotonic()
        for attempt in range(TRIES_MAX):
            may_again = True
            try:
                status = await caller.call()
                why = str(status)
                may_again = status == 503
            except UnsentError as error:
                why = str(error)
            except (OSError, EOFError, TimeoutError) as error:
                why, may_again = type(error).__name__, False
            if why == "200":
                seen.answer(time.monotonic() - began)
                break
            if not attempt:
                seen.failed_at_first[why] = seen.failed_at_first.get(why, 0) + 1
            if not may_again or attempt == TRIES_MAX - 1:
                seen.failed[why] = seen.failed.get(why, 0) + 1
                break
            await asyncio.sleep(AGAIN_SECONDS)
    caller.close()


async def measure(machines: list[Config], rate: float) -> list[Seen]:
    """Call all at `rate` a second together while one after the other is restarted."""
    seen = [Seen() for _ in machines]
    done = asyncio.Event()
    every = CALLERS * len(machines) / rate
    async with asyncio.TaskGroup() as group:
        for config, found in zip(machines, seen, strict=True):
            tls = context("http/1.1")
            tokens = await asyncio.to_thread(tokens_of, config, CALLERS)
            for _, token in tokens:
                caller = Caller(config.listeners[0].port, tls, token)
                group.create_task(call_on(caller, found, every, done))
        for config in machines:
            await asyncio.sleep(REST_SECONDS)
            said = await asyncio.to_thread(crewgate, "restart", "-c", str(config.path))
            click.echo(f"{config.path.parent.name}: {said.strip()}")
        await asyncio.sleep(machines[0].drain_seconds + REST_SECONDS)
        done.set()
    return seen


def complaints(seen: list[Seen]) -> list[str]:
    """What a restart without a break would not have done."""
    calls = sum(each.calls for each in seen)
    first = sum(sum(each.failed_at_first.values()) for each in seen)
    lost = sum(sum(each.failed.values()) for each in seen)
    gap = max(each.gap for each in seen)
    found = []
    if lost:
        found.append(f"{lost} calls failed in the end")
    if first >= calls * FIRST_SHARE_MAX:
        found.append(f"{first} of {calls} calls failed at first, {FIRST_SHARE_MAX:.1%} or more")
    if gap > GAP_SECONDS_MAX:
        found.append(f"a gateway gave no answer for {gap:.2f} s, over {GAP_SECONDS_MAX} s")
    return found


@click.command()
@click.option("--machines", "count", type=click.IntRange(1, len(NAMES)), default=len(NAMES))
@click.option("--rate", type=click.FloatRange(RATE_MIN, 1e4), default=500.0, help="calls a second")
def main(count: int, rate: float) -> None:
    """Restart gateways under load; exit status 1 if callers lost what they must not."""
    with tempfile.TemporaryDirectory(prefix="crewgate-") as name, ExitStack() as stack:
        machines = arrange(Path(name), count, more=STREAM)
        for config in machines:
            port = config.listeners[0].port + TOOLS_ABOVE
            command = [sys.executable, "-m", "bench.cluster.tools", str(port)]
            process = start(command, 0, log := Path(name) / "tools.log")
            stack.callback(end, process)
            wait_for_port(process, port, log)
            stack.enter_context(_serving(config))
        for config in machines:
            crewgate("status", "-c", str(config.path), "--wait", str(round(START_SECONDS)))
        for config in machines:
            _wait_for_others(config, count)
        seen = asyncio.run(measure(machines, rate))
    calls = sum(each.calls for each in seen)
    first = sum(sum(each.failed_at_first.values()) for each in seen)
    lost = sum(sum(each.failed.values()) for each in seen)
    for config, each in zip(machines, seen, strict=True):
        click.echo(
            f"{config.path.parent.name}: {each.calls} calls; not answered at first: "
            f"{each.failed_at_first or 'none'}; in the end: {each.failed or 'none'}; longest gap "
            f"{each.gap * 1000:.0f} ms; slowest call {each.slowest * 1000:.0f} ms"
        )
    click.echo(f"of {calls} calls {first} ({first / calls:.3%}) failed at first, {lost} in the end")
    for why in (found := complaints(seen)):
        click.echo(f"not good: {why}")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
