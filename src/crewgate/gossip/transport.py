"""The tasks of a member: datagrams, timers, the disk, and streams to and from the others.

Owns the sockets. What is done in each step is `GossipNode`'s; here is only when, and how patiently.
"""

import math
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import trio

from crewgate import limits, openssl
from crewgate.core.gossip.acknowledgements import AckState
from crewgate.errors import GossipError
from crewgate.gossip import sync_session
from crewgate.gossip.membership_state import SelfConnectionError
from crewgate.gossip.node import GossipNode
from crewgate.gossip.peer_errors import PeerErrors, reason
from crewgate.gossip.sockets import GossipSockets, Where, resolve, to_where
from crewgate.gossip.stream import AskNameSeen, SyncStream, context
from crewgate.gossip.stream_limits import StreamLimiter
from crewgate.runtime.durable_files import cause


class TLSFiles(NamedTuple):
    """What streams are secured with: PEM files, read anew when the certificate is renewed."""

    certificate: Path
    key: Path
    root: Path


class GossipTransport:
    """Runs one member until it is cancelled. `peers` are where others are, as configured."""

    def __init__(
        self, gossip: GossipNode, sockets: GossipSockets, files: TLSFiles, peers: Sequence[Where]
    ) -> None:
        self.gossip = gossip
        self.peers = tuple(peers)
        self._sockets = sockets
        self._files = files
        self._work = trio.Event()
        self._write = trio.Event()
        self._turn = trio.Event()
        self._callers = StreamLimiter()
        self._contexts: dict[bool, ssl.SSLContext] = {}
        self._shown = b""  # the leaf that they show
        self._syncs = trio.CapacityLimiter(limits.gossip_syncs_max)
        self._exchange = trio.Lock()  # one of those that we begin
        self._busy: set[bytes] = set()
        self._receipts: dict[int, trio.Event] = {}
        self._peer_errors = PeerErrors(gossip.host.log)
        gossip.on_work = self._wake
        gossip.on_receipt = self._receipt_changed

    def __repr__(self) -> str:
        return f"<GossipTransport {self.gossip!r}>"

    async def run(self) -> None:
        """Serve; says goodbye when it is cancelled."""
        with suppress(GossipError):  # before the files are renewed; what is wrong is said later
            self._context(is_server=True)
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

    @property
    def unreached(self) -> list[str]:
        """The configured peers where nobody was found the last time, each with why."""
        return self._peer_errors.of(self.peers)

    async def wait(self, receipt: AckState, is_enough: Callable[[AckState], bool]) -> None:
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

    def _receipt_changed(self, receipt: AckState) -> None:
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
        """Have the disk take what was appended, as much as there is at once.

        What it has refused once is appended anew: a second sync would find nothing to write
        (Rebello et al. 2020, "Can Applications Recover from fsync Failures?").
        """
        while True:
            await self._write.wait()
            self._write = trio.Event()
            raws, self.gossip.unsynced = self.gossip.unsynced, []
            try:
                await trio.to_thread.run_sync(self.gossip.log.sync)
            except OSError as error:
                # Of what was appended meanwhile nobody knows whether the disk has it.
                raws, self.gossip.unsynced = raws + self.gossip.unsynced, []
                self.gossip.log.lose(raws, cause(error))
            else:
                self.gossip.log.synced()
                self.gossip.kept(raws)

    async def _upkeep(self) -> None:
        while True:
            await trio.sleep(limits.join_seconds)
            try:
                self.gossip.upkeep()
            except OSError as error:
                self.gossip.host.log(f"old files of gossip stay: {error.strerror}")

    # Streams.

    async def _sync_all(self, nursery: trio.Nursery) -> None:
        while True:
            await self._work.wait()
            self._work = trio.Event()
            for member in [each for each in self.gossip.to_sync if each not in self._busy]:
                await self._syncs.acquire_on_behalf_of(member)
                self.gossip.to_sync.pop(member, None)
                self._busy.add(member)
                nursery.start_soon(self._sync_with, member)

    async def _sync_with(self, member: bytes) -> None:
        try:
            known = self.gossip.company.directory.get(member)
            if known is not None and member in self.gossip.company.directory:
                await self._reach(to_where(known.address))
            await trio.sleep(limits.sync_pause_seconds)
        except (GossipError, OSError):
            await trio.sleep(limits.compare_seconds)  # SWIM finds out whether it is there
        finally:
            self._busy.discard(member)
            self._syncs.release_on_behalf_of(member)
            self._work.set()  # somebody may have asked for another meanwhile

    async def _reach(self, where: Where) -> None:
        """Sync with whoever is there; GossipError, OSError."""
        with self._guarded(), _patience(limits.gossip_sync_seconds):
            async with self._line_to(where) as line:
                await sync_session.initiate(self.gossip, line, self._exchange)

    @asynccontextmanager
    async def _line_to(self, where: Where) -> AsyncIterator[SyncStream]:
        made = self._context(is_server=False)
        with _patience(limits.gossip_hello_seconds):
            plain = await trio.open_tcp_stream(*where, happy_eyeballs_delay=None)
        stream = trio.SSLStream(plain, made, https_compatible=True)
        async with _closing(stream):
            with _patience(limits.gossip_hello_seconds):
                await _shake(stream)
            yield SyncStream(stream)

    async def ask(self, question: AskNameSeen) -> list[bool]:
        """What other members answer in time, each once; no more are asked once one says yes."""
        answers: list[bool] = []
        places = trio.CapacityLimiter(limits.seen_asked_at_once)

        async def ask_one(member: bytes) -> None:
            async with places:
                with suppress(GossipError, OSError):
                    answers.append(await self._ask(member, question))
                    if answers[-1]:
                        nursery.cancel_scope.cancel()

        with trio.move_on_after(limits.seen_answer_seconds_max):
            async with trio.open_nursery() as nursery:
                others = self.gossip.node.freshness.others
                for member in sorted(others)[: limits.seen_members_max]:
                    nursery.start_soon(ask_one, member)
        return answers

    async def _ask(self, member: bytes, question: AskNameSeen) -> bool:
        known = self.gossip.company.directory.get(member)
        if known is None:
            raise GossipError("a member whose certificate has not come")
        with self._guarded():
            async with self._line_to(to_where(known.address)) as line:
                return await sync_session.ask(self.gossip, line, member, question)

    async def _serve(self) -> None:
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(self._sockets.streams))
        await trio.serve_listeners(self._answer, [listener])

    async def _answer(self, plain: trio.SocketStream) -> None:
        """Serve one who has come; nothing that is wrong with it is more than its own end."""
        with suppress(GossipError, OSError):
            try:
                made = self._context(is_server=True)
                stream = trio.SSLStream(plain, made, server_side=True, https_compatible=True)
                address = str(plain.socket.getpeername()[0])
                asked_at = self.gossip.host.now()
                with self._guarded(), _patience(limits.gossip_sync_seconds):
                    with self._callers.shaking(address), _patience(limits.gossip_hello_seconds):
                        await _shake(stream)
                    line = SyncStream(stream)
                    with self._callers.talking(line.leaf):
                        async with _closing(stream):
                            await sync_session.respond(self.gossip, line, asked_at)
            finally:
                plain.socket.close()

    def _context(self, *, is_server: bool) -> ssl.SSLContext:
        """For the certificate that we say is ours: files may be renewed before we are told."""
        leaf = self.gossip.company.me.credential.chain[0]
        if leaf != self._shown:
            self._contexts = {side: context(*self._files, is_server=side) for side in (False, True)}
            self._shown = leaf
        return self._contexts[is_server]

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """One stream must not end the agent: GossipError for what nobody has foreseen."""
        try:
            yield
        except (GossipError, OSError):
            raise
        except Exception as error:
            self.gossip.host.log(f"a fault of ours with a peer: {error!r}")
            raise GossipError("a fault of ours") from error

    async def _join(self) -> None:
        """Reach the configured peers: soon while nobody is there, then now and then.

        Who has begun while it could reach nobody has no key to say a word with, and whoever knew
        it has given it up: as long as nobody is there, it dials all members that it knows.
        """
        members, membership = self.gossip.node.members, self.gossip.company
        tried_at = -math.inf
        while True:
            now = self.gossip.host.now()
            if not members.reachable:
                self.gossip.sync_soon(
                    each.id for each in membership.directory if each != membership.me
                )
            if not members.reachable or now - tried_at >= limits.join_seconds_max:
                tried_at = now
                await self._try_peers()
            await trio.sleep(limits.join_seconds)

    async def _try_peers(self) -> None:
        members = self.gossip.node.members
        there = (members.get(each) for each in members.reachable)
        known = {to_where(each.address) for each in there if each is not None}
        for peer in self.peers:
            found = await resolve(*peer)
            failures = [await self._why_not(where) for where in found if where not in known]
            is_found = len(failures) < len(found) or not all(failures)
            why = "" if is_found else [*failures, "its name has no address"][0]
            self._peer_errors.note(peer, why)

    async def _why_not(self, where: Where) -> str:
        """Reach one, who may be this machine: all may have the same configuration."""
        try:
            await self._reach(where)
        except SelfConnectionError:
            return ""
        except (GossipError, OSError) as error:
            return reason(error)
        return ""


async def _shake(stream: "trio.SSLStream[trio.SocketStream]") -> None:
    try:
        await stream.do_handshake()
    except trio.BrokenResourceError as error:
        openssl.forget_errors()
        cause = error.__cause__
        why = cause.reason if isinstance(cause, ssl.SSLError) else "it hung up"
        if why == "CERTIFICATE_VERIFY_FAILED":
            why = "its certificate is of another CA, or over; `crewgate init --from` makes one"
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
