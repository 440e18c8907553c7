"""The tasks of a member: datagrams, timers, the disk, and streams to and from the others.

Owns the sockets. What is done in each step is `Gossip`'s; here is only when, and how patiently.
"""

import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import NamedTuple

import trio

from crewgate import limits, openssl
from crewgate.core.gossip.receipts import Receipt
from crewgate.errors import GossipError
from crewgate.peers import conversation
from crewgate.peers.gossip import Gossip
from crewgate.peers.sockets import Sockets, Where, resolve, to_where
from crewgate.peers.stream import Line, context


class Files(NamedTuple):
    """What streams are secured with: PEM files, read anew for each context."""

    certificate: Path
    key: Path
    root: Path


class Service:
    """Runs one member until it is cancelled. `peers` are where others are, as configured."""

    def __init__(
        self, gossip: Gossip, sockets: Sockets, files: Files, peers: Sequence[Where]
    ) -> None:
        self.gossip = gossip
        self.peers = tuple(peers)
        self._sockets = sockets
        self._files = files
        self._work = trio.Event()
        self._write = trio.Event()
        self._turn = trio.Event()
        self._streams = trio.CapacityLimiter(limits.gossip_streams_max)
        self._syncs = trio.CapacityLimiter(limits.gossip_syncs_max)
        self._busy: set[bytes] = set()
        self._receipts: dict[int, trio.Event] = {}
        self._complaint = ""
        gossip.on_work = self._wake
        gossip.on_receipt = self._receipt_changed

    def __repr__(self) -> str:
        return f"<Service {self.gossip!r}>"

    async def run(self) -> None:
        """Serve; says goodbye when it is cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._receive)
                nursery.start_soon(self._tick)
                nursery.start_soon(self._keep)
                nursery.start_soon(self._sync_all, nursery)
                nursery.start_soon(self._serve)
                nursery.start_soon(self._join)
                nursery.start_soon(self._upkeep)
        finally:
            self.gossip.farewell()
            self._sockets.close()

    async def wait(self, receipt: Receipt, is_enough: Callable[[Receipt], bool]) -> None:
        """Until a receipt says enough; the deadline is the caller's."""
        try:
            while not is_enough(receipt):
                event = self._receipts[id(receipt)] = trio.Event()
                self._wake()
                await event.wait()
        finally:
            self._receipts.pop(id(receipt), None)

    # Datagrams, timers, the disk.

    def _wake(self) -> None:
        """There may be something to send sooner than was thought, to sync, or to write."""
        self._turn.set()
        if self.gossip.to_sync:
            self._work.set()
        if self.gossip.unsynced:
            self._write.set()

    def _receipt_changed(self, receipt: Receipt) -> None:
        event = self._receipts.get(id(receipt))
        if event is not None:
            event.set()

    async def _receive(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._sockets.datagrams)
            for datagram in self._sockets.received():
                self.gossip.receive(datagram)
            self._wake()

    async def _tick(self) -> None:
        while True:
            at = self.gossip.due()
            self._turn = trio.Event()
            with trio.move_on_after(max(0.0, at - self.gossip.host.now())):
                await self._turn.wait()
            await trio.lowlevel.checkpoint()

    async def _keep(self) -> None:
        """Have the disk take what was appended, as much as there is at once."""
        while True:
            await self._write.wait()
            self._write = trio.Event()
            raws, self.gossip.unsynced = self.gossip.unsynced, []
            try:
                await trio.to_thread.run_sync(self.gossip.log.sync)
            except OSError as error:
                self.gossip.host.say(f"revocations are not on the disk: {error.strerror}")
                self.gossip.unsynced = raws + self.gossip.unsynced
                await trio.sleep(limits.announce_again_seconds)
                self._write.set()
            else:
                self.gossip.kept(raws)

    async def _upkeep(self) -> None:
        while True:
            await trio.sleep(limits.join_seconds)
            try:
                self.gossip.upkeep()
            except OSError as error:
                self.gossip.host.say(f"old files of gossip stay: {error.strerror}")

    # Streams.

    async def _sync_all(self, nursery: trio.Nursery) -> None:
        while True:
            await self._work.wait()
            self._work = trio.Event()
            while self.gossip.to_sync:
                member = next(iter(self.gossip.to_sync))
                del self.gossip.to_sync[member]
                known = self.gossip.node.members.get(member)
                if known is not None and member not in self._busy:
                    await self._syncs.acquire_on_behalf_of(member)
                    self._busy.add(member)
                    nursery.start_soon(self._sync_with, member, to_where(known.address))

    async def _sync_with(self, member: bytes, where: Where) -> None:
        try:
            await self._reach(where)
            await trio.sleep(limits.sync_pause_seconds)
        except (GossipError, OSError):
            await trio.sleep(limits.compare_seconds)  # SWIM finds out whether it is there
        finally:
            self._busy.discard(member)
            self._syncs.release_on_behalf_of(member)

    async def _reach(self, where: Where) -> None:
        """Sync with whoever is there; GossipError, OSError."""
        made = context(*self._files, is_server=False)
        with _patience(limits.gossip_sync_seconds):
            with _patience(limits.gossip_hello_seconds):
                plain = await trio.open_tcp_stream(*where, happy_eyeballs_delay=None)
            stream = trio.SSLStream(plain, made, https_compatible=True)
            async with _closing(stream):
                with _patience(limits.gossip_hello_seconds):
                    await _shake(stream)
                await conversation.begin(self.gossip, Line(stream))

    async def _serve(self) -> None:
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(self._sockets.streams))
        await trio.serve_listeners(self._answer, [listener])

    async def _answer(self, plain: trio.SocketStream) -> None:
        """Serve one who has come; nothing that is wrong with it is more than its own end."""
        try:
            self._streams.acquire_on_behalf_of_nowait(plain)
        except trio.WouldBlock:
            plain.socket.close()
            return
        try:
            made = context(*self._files, is_server=True)
            stream = trio.SSLStream(plain, made, server_side=True, https_compatible=True)
            with _patience(limits.gossip_sync_seconds):
                with _patience(limits.gossip_hello_seconds):
                    await _shake(stream)
                async with _closing(stream):
                    await conversation.answer(self.gossip, Line(stream))
        except (GossipError, OSError):
            return
        except Exception as error:  # noqa: BLE001 -- one stream must not end the agent
            self.gossip.host.say(f"a fault of ours with a peer: {error!r}")
        finally:
            plain.socket.close()
            self._streams.release_on_behalf_of(plain)

    async def _join(self) -> None:
        """Reach the configured peers: soon while nobody has answered, then now and then."""
        while True:
            await self._try_peers()
            is_alone = not self.gossip.node.freshness.others
            await trio.sleep(limits.join_seconds if is_alone else limits.join_seconds_max)

    async def _try_peers(self) -> None:
        known = {to_where(each.address) for each in self.gossip.company.directory}
        for host, port in self.peers:
            for where in await resolve(host, port):
                if where in known:
                    continue
                try:
                    await self._reach(where)
                except (GossipError, OSError) as error:
                    self._complain(f"peer {host}:{port}: {error}")
                else:
                    self._complain("")

    def _complain(self, why: str) -> None:
        """Once, until it is something else."""
        if why and why != self._complaint:
            self.gossip.host.say(why)
        self._complaint = why


async def _shake(stream: "trio.SSLStream[trio.SocketStream]") -> None:
    try:
        await stream.do_handshake()
    except trio.BrokenResourceError as error:
        openssl.forget_errors()
        cause = error.__cause__
        why = cause.reason if isinstance(cause, ssl.SSLError) else "it hung up"
        raise GossipError(f"no handshake: {why}") from error


@contextmanager
def _patience(seconds: float) -> Iterator[None]:
    """GossipError beyond."""
    try:
        with trio.fail_after(seconds):
            yield
    except trio.TooSlowError as error:
        raise GossipError("no answer in time") from error


@asynccontextmanager
async def _closing(stream: "trio.SSLStream[trio.SocketStream]") -> AsyncIterator[None]:
    """Let it go without waiting for a goodbye."""
    try:
        yield
    finally:
        await trio.aclose_forcefully(stream)
