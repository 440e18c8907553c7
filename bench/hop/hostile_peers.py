"""`python -m bench.hop.hostile_peers`: peers that hold on to what a gateway gives them.

Slow-loris connections send a byte of a head a second; slow readers ask for 16 MiB and read a
kilobyte a second; an uploader sends a gigabit a second, and again. Half of the slow ones speak
HTTP/1.1, half HTTP/2. A plan comes as a line on standard input; `ready` is said when all have
begun. After another line the upload under way is brought to its end, and what came of it is told.
"""

import asyncio
import json
import os
import ssl
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial

from bench.hop import frames
from bench.hop.client import connect, context
from bench.hop.limits import raise_descriptors

NICENESS = 15  # on the core that they share with the normal traffic: they stand for other machines
PAUSE_SECONDS = 1.0
SETTLING_SECONDS = 1.0  # until the slow readers' own buffers are full
SIP_BYTES = 1024
CHUNK = b"u" * 65_536
UPLOAD_BYTES_A_SECOND = 125_000_000  # a network of a gigabit, where loopback has no bound
HELD_UP_SECONDS = 0.01  # what its queue makes up for
LIMIT_BYTES = 16_384  # what a slow reader's own process buffers
ANSWER_SECONDS = 60.0  # for the answer to an upload, or for room to send more of it


@dataclass(frozen=True)
class Plan:
    """Whom to bother, and how much."""

    port: int
    token: str
    huge: str  # the path of a large answer
    swallow: str  # the path of an upload
    upload_bytes: int
    loris: int
    readers: int


@dataclass
class Toll:
    """What came of it. `cut`: slow connections that the gateway has ended; others took their place.

    `refused`: first lines of answers to uploads that were not 200.
    """

    cut: int = 0
    uploads: int = 0
    uploaded_bytes: int = 0
    seconds: float = 0.0  # that the uploads took
    refused: tuple[str, ...] = ()


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Hostile:
    """All of them, until `over`."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.toll = Toll()
        self.over = asyncio.Event()
        self.all_begun = asyncio.Event()
        self.waited_for = plan.loris + plan.readers + 1
        self.tls = {name: context(name) for name in ("http/1.1", "h2")}

    async def connect(self, protocol: str) -> Streams:
        """After the handshake; once for each of them, `all_begun` waits for it."""
        tls = self.tls[protocol]
        streams = await asyncio.open_connection(
            "127.0.0.1", self.plan.port, ssl=tls, limit=LIMIT_BYTES
        )
        self.count()
        return streams

    def count(self) -> None:
        """One more has begun."""
        self.waited_for -= 1
        if self.waited_for <= 0:
            self.all_begun.set()

    async def again(self, once: Callable[[], Awaitable[None]]) -> None:
        """Be cut, and come back."""
        while not self.over.is_set():
            with suppress(OSError, ssl.SSLError, asyncio.IncompleteReadError):
                await once()
            self.toll.cut += not self.over.is_set()

    async def drip(self, protocol: str) -> None:
        """A head that never ends, a byte a second."""
        reader, writer = await self.connect(protocol)
        try:
            if protocol == "h2":
                head = frames.head("GET", "localhost", self.plan.huge, self.plan.token)
                whole = frames.frame(frames.HEADERS, frames.END_HEADERS, 1, head)
                writer.write(frames.PREFACE + frames.settings({}) + whole[:20])
                rest = whole[20:-1]
            else:
                writer.write(f"GET {self.plan.huge} HTTP/1.1\r\nhost: localhost\r\nx: ".encode())
                rest = b"y" * 4096
            for byte in rest:
                if await self.pause(reader):
                    return
                writer.write(bytes([byte]))
                await writer.drain()
        finally:
            writer.close()

    async def pause(self, reader: asyncio.StreamReader) -> bool:
        """Wait; True once the peer has closed, or all is over."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.over.wait(), PAUSE_SECONDS)
        return self.over.is_set() or reader.at_eof()

    async def sip(self, protocol: str) -> None:
        """A large answer, read a kilobyte a second."""
        reader, writer = await self.connect(protocol)
        plan = self.plan
        try:
            if protocol == "h2":
                head = frames.head("GET", f"127.0.0.1:{plan.port}", plan.huge, plan.token)
                flags = frames.END_HEADERS | frames.END_STREAM
                asked = frames.frame(frames.HEADERS, flags, 1, head)
                writer.write(frames.PREFACE + frames.settings({}) + asked)
            else:
                lines = f"GET {plan.huge} HTTP/1.1\r\nhost: localhost\r\n"
                writer.write(f"{lines}authorization: Bearer {plan.token}\r\n\r\n".encode())
            while await reader.read(SIP_BYTES):
                if await self.pause(reader):
                    return
                if protocol == "h2":
                    writer.write(frames.window_update(0, SIP_BYTES))
                    writer.write(frames.window_update(1, SIP_BYTES))
        finally:
            writer.close()

    def upload(self, begun: Callable[[], object]) -> None:
        """One after the other, in a thread; the last one to its end."""
        began = time.monotonic()
        while not self.over.is_set():
            try:
                line = self.upload_one(begun)
            except OSError as error:
                line = str(error)
            self.toll.seconds = time.monotonic() - began
            if line.split()[1:2] == ["200"]:
                self.toll.uploads += 1
            else:
                self.toll.refused += (line.strip() or "hung up",)
                time.sleep(PAUSE_SECONDS)

    def upload_one(self, begun: Callable[[], object]) -> str:
        """The first line of its answer; OSError as it comes."""
        plan = self.plan
        with connect(plan.port, self.tls["http/1.1"]) as sock:
            begun()
            sock.settimeout(ANSWER_SECONDS)
            head = (
                f"POST {plan.swallow} HTTP/1.1\r\nhost: localhost\r\n"
                f"authorization: Bearer {plan.token}\r\n"
                f"content-length: {plan.upload_bytes}\r\n\r\n"
            )
            sock.sendall(head.encode())
            due, left = time.monotonic(), plan.upload_bytes
            while left:
                sent = sock.send(CHUNK[:left])
                left -= sent
                # A network that was held up does not bring more a second afterwards.
                due = max(due, time.monotonic() - HELD_UP_SECONDS) + sent / UPLOAD_BYTES_A_SECOND
                time.sleep(max(0.0, due - time.monotonic()))
            self.toll.uploaded_bytes += plan.upload_bytes
            return sock.recv(SIP_BYTES).partition(b"\r\n")[0].decode("latin-1")

    async def run(self) -> None:
        """All at once."""
        plan, loop = self.plan, asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            for act, count in ((self.drip, plan.loris), (self.sip, plan.readers)):
                for place in range(count):
                    protocol = ("http/1.1", "h2")[place % 2]
                    group.create_task(self.again(partial(act, protocol)))
            counted = partial(loop.call_soon_threadsafe, self.count)
            group.create_task(asyncio.to_thread(self.upload, counted))
            await self.all_begun.wait()
            await asyncio.sleep(SETTLING_SECONDS)
            print("ready", flush=True)
            await loop.run_in_executor(None, sys.stdin.readline)
            self.over.set()


def main() -> None:
    """Read the plan, do it, tell."""
    plan = Plan(**json.loads(sys.stdin.readline()))
    os.nice(NICENESS)
    raise_descriptors(plan.loris + plan.readers)
    hostile = Hostile(plan)
    asyncio.run(hostile.run())
    print(json.dumps(asdict(hostile.toll)), flush=True)


if __name__ == "__main__":
    main()
