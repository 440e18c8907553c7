"""Runs the tasks of a member: datagrams, timers, the disk, and streams to and from other members.

It owns the sockets, and decides when each step runs and how long it may take. `GossipNode` decides
what the step does.
"""

import math
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import trio

from crewgate import limits, ssl_workarounds
from crewgate.core.gossip.acknowledgements import AckState
from crewgate.errors import GossipError
from crewgate.gossip import member_questions, sync_session
from crewgate.gossip.member_admission import SelfConnectionError
from crewgate.gossip.node import GossipNode
from crewgate.gossip.peer_errors import PeerErrors, reason
from crewgate.gossip.sockets import GossipSockets, Where, resolve, to_where
from crewgate.gossip.stream import SyncStream, TargetExistenceQuery, context
from crewgate.gossip.stream_limits import StreamLimiter
from crewgate.runtime.durable_files import cause, describe
from crewgate.runtime.ticks import sleep_until_tick


class TLSFiles(NamedTuple):
    """The PEM files for streams. They are read again when the certificate is renewed."""

    certificate: Path
    key: Path
    root: Path


class GossipTransport:
    """Runs one member until it is cancelled. `peers` are the addresses in the configuration."""

    def __init__(
        self, gossip: GossipNode, sockets: GossipSockets, files: TLSFiles, peers: Sequence[Where]
    ) -> None:
        self.gossip = gossip
        self.peers = tuple(peers)
        self._sockets = sockets
        self._files = files
        self._has_sync = trio.Event()
        self._has_write = trio.Event()
        self._has_timer = trio.Event()
        self._handshakes = StreamLimiter(limits.gossip_handshakes_each_max)  # by address
        # By leaf certificate.
        self._conversations = StreamLimiter(limits.gossip_streams_each_max)
        self._contexts: dict[bool, ssl.SSLContext] = {}  # by whether it is for the server's side
        self._contexts_leaf = b""  # the leaf certificate of `_contexts`
        self._syncs = trio.CapacityLimiter(limits.gossip_syncs_max)
        # Held by the sync that exchanges capsules, of those that this machine has begun.
        self._exchange_lock = trio.Lock()
        self._busy: set[bytes] = set()  # members with which this machine has begun a sync
        self._receipts: dict[int, trio.Event] = {}
        self._questions: dict[bytes, trio.CapacityLimiter] = {}  # under way, by member
        # For the questions of all commands at once; those that take long must not delay the others.
        self.question_places = trio.CapacityLimiter(limits.members_asked_at_once)
        self.long_question_places = trio.CapacityLimiter(limits.members_asked_at_once)
        self._peer_errors = PeerErrors(gossip.host.log)
        gossip.on_work = self._wake
        gossip.on_receipt = self._receipt_changed

    async def run(self) -> None:
        """Run all tasks. When it is cancelled, it tells other members that this member ends."""
        # Read the files before somebody renews them. The first stream reports what is wrong.
        with suppress(GossipError):
            self._context(is_server=True)
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(self._sockets.streams))
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._receive)
                nursery.start_soon(self._run_timers)
                nursery.start_soon(self._sync_log)
                nursery.start_soon(self._start_syncs, nursery)
                nursery.start_soon(trio.serve_listeners, self._serve_connection, [listener])
                nursery.start_soon(self._join)
                nursery.start_soon(self._upkeep)
        finally:
            self.gossip.farewell()
            self._sockets.close()

    @property
    def unreached(self) -> list[str]:
        """The configured peers that could not be reached the last time, each with the reason."""
        return self._peer_errors.of(self.peers)

    async def wait(self, receipt: AckState, is_enough: Callable[[AckState], bool]) -> None:
        """Wait until `is_enough` is true for a receipt. The caller sets a deadline."""
        try:
            while not is_enough(receipt):
                event = self._receipts[id(receipt)] = trio.Event()
                self._wake()
                await event.wait()
        finally:
            self._receipts.pop(id(receipt), None)

    def _wake(self) -> None:
        """Wake the tasks: a timer may be due earlier than it was, or there is a sync or a write."""
        self._has_timer.set()
        if self.gossip.to_sync:
            self._has_sync.set()
        if self.gossip.unsynced:
            self._has_write.set()

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

    async def _run_timers(self) -> None:
        while True:
            at = self.gossip.due()
            self._has_timer = trio.Event()
            with trio.move_on_after(max(0.0, at - self.gossip.host.now())):
                await self._has_timer.wait()
            await trio.lowlevel.checkpoint()

    async def _sync_log(self) -> None:
        """Sync the log, each time all that was appended by then.

        Capsules that the disk has refused are appended again: a second sync would find nothing to
        write (Rebello et al. 2020, "Can Applications Recover from fsync Failures?").
        """
        while True:
            await self._has_write.wait()
            self._has_write = trio.Event()
            raws, self.gossip.unsynced = self.gossip.unsynced, []
            try:
                await trio.to_thread.run_sync(self.gossip.log.sync)
            except OSError as error:
                # Capsules that were appended meanwhile may or may not be on the disk.
                raws, self.gossip.unsynced = raws + self.gossip.unsynced, []
                self.gossip.log.lose(raws, cause(error))
            else:
                self.gossip.log.synced()
                self.gossip.kept(raws)

    async def _upkeep(self) -> None:
        while True:
            await sleep_until_tick(limits.join_seconds)
            try:
                self.gossip.upkeep()
            except OSError as error:
                self.gossip.host.log(f"cannot delete old files of the gossip: {describe(error)}")

    async def _start_syncs(self, nursery: trio.Nursery) -> None:
        while True:
            await self._has_sync.wait()
            self._has_sync = trio.Event()
            for member in [each for each in self.gossip.to_sync if each not in self._busy]:
                await self._syncs.acquire_on_behalf_of(member)
                self.gossip.to_sync.pop(member, None)
                self._busy.add(member)
                nursery.start_soon(self._sync_with, member)

    async def _sync_with(self, member: bytes) -> None:
        try:
            known = self.gossip.membership.certificates.get(member)
            if known is not None and member in self.gossip.membership.certificates:
                await self._reach(to_where(known.address))
            await trio.sleep(limits.sync_pause_seconds)
        except (GossipError, OSError):
            await trio.sleep(limits.compare_seconds)  # SWIM finds out whether it is reachable
        finally:
            self._busy.discard(member)
            self._syncs.release_on_behalf_of(member)
            # Meanwhile, the member may be in `to_sync` again.
            self._has_sync.set()

    async def _reach(self, where: Where) -> None:
        with self._guarded(), _deadline(limits.gossip_sync_seconds):
            async with self._connected(where) as stream:
                await sync_session.initiate(self.gossip, stream, self._exchange_lock)

    @asynccontextmanager
    async def _connected(self, where: Where) -> AsyncIterator[SyncStream]:
        tls_context = self._context(is_server=False)
        with _deadline(limits.gossip_hello_seconds):
            plain = await trio.open_tcp_stream(*where, happy_eyeballs_delay=None)
        tls = trio.SSLStream(plain, tls_context, https_compatible=True)
        async with _closing(tls):
            with _deadline(limits.gossip_hello_seconds):
                await _handshake(tls)
            yield SyncStream(tls)

    async def ask(self, question: TargetExistenceQuery) -> list[bool]:
        """Return the answers of other members that arrive in time; after a yes, ask no more."""
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

    async def _ask(self, member: bytes, question: TargetExistenceQuery) -> bool:
        known = self.gossip.membership.certificates.get(member)
        if known is None:
            raise GossipError("there is no certificate of the member here")
        with self._guarded():
            async with self._connected(to_where(known.address)) as stream:
                return await sync_session.ask(self.gossip, stream, member, question)

    async def question(
        self, member: bytes, question: bytes, take: member_questions.TakePage, seconds: float
    ) -> str:
        """Pass the pages of a member's answer to `take`; return why it is not whole, or ""."""
        known = self.gossip.membership.certificates.get(member)
        if known is None:
            return "this machine has no certificate of it, and so no address"
        limiter = self._questions.setdefault(
            member, trio.CapacityLimiter(limits.member_questions_each_max)
        )
        try:
            with _deadline(seconds), self._guarded():
                async with limiter, self._connected(to_where(known.address)) as stream:
                    await member_questions.ask(self.gossip, stream, member, question, take)
        except (GossipError, OSError) as error:
            return reason(error)
        finally:
            if not limiter.borrowed_tokens and not limiter.statistics().tasks_waiting:
                self._questions.pop(member, None)
        return ""

    async def _serve_connection(self, plain: trio.SocketStream) -> None:
        """Serve a connection from another machine. An error ends only this connection."""
        with suppress(GossipError, OSError):
            try:
                tls_context = self._context(is_server=True)
                tls = trio.SSLStream(plain, tls_context, server_side=True, https_compatible=True)
                address = str(plain.socket.getpeername()[0])
                asked_at = self.gossip.host.now()
                with self._guarded(), _deadline(limits.gossip_sync_seconds):
                    with self._handshakes.counted(address), _deadline(limits.gossip_hello_seconds):
                        await _handshake(tls)
                    stream = SyncStream(tls)
                    with self._conversations.counted(stream.leaf):
                        async with _closing(tls):
                            await sync_session.respond(self.gossip, stream, asked_at)
            finally:
                plain.socket.close()

    def _context(self, *, is_server: bool) -> ssl.SSLContext:
        """Return a context with the certificate that this member shows in its hello.

        The files may have a newer certificate before the agent hears of it, so the contexts change
        only when the hello does.
        """
        leaf = self.gossip.membership.me.credential.chain[0]
        if leaf != self._contexts_leaf:
            self._contexts = {side: context(*self._files, is_server=side) for side in (False, True)}
            self._contexts_leaf = leaf
        return self._contexts[is_server]

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Turn an unexpected exception into a GossipError: one stream must not end the agent."""
        try:
            yield
        except (GossipError, OSError):
            raise
        except Exception as error:
            self.gossip.host.log(f"internal error in a stream with a peer: {error!r}")
            raise GossipError("internal error of this machine; see its log") from error
        finally:
            # The first member may have come: then the timers did not expect a probe.
            self._wake()

    async def _join(self) -> None:
        """Reach the configured peers: often while no member is reachable, and then now and then.

        A machine that could reach no member at its start has no key for datagrams, and the others
        take it for dead. So while no member is reachable, it syncs with all members that it knows.
        """
        members, membership = self.gossip.node.members, self.gossip.membership
        tried_at = -math.inf
        while True:
            now = self.gossip.host.now()
            if not members.reachable:
                self.gossip.sync_soon(
                    each.id for each in membership.certificates if each != membership.me
                )
            if not members.reachable or now - tried_at >= limits.join_seconds_max:
                tried_at = now
                await self._try_peers()
            await sleep_until_tick(limits.join_seconds)

    async def _try_peers(self) -> None:
        members = self.gossip.node.members
        reachable = (members.get(each) for each in members.reachable)
        known = {to_where(each.address) for each in reachable if each is not None}
        for peer in self.peers:
            found = await resolve(*peer)
            failures = [await self._try(where) for where in found if where not in known]
            is_found = len(failures) < len(found) or not all(failures)
            why = "" if is_found else [*failures, "its name has no address"][0]
            self._peer_errors.note(peer, why)

    async def _try(self, where: Where) -> str:
        """Sync with the member at an address; return why that failed, or an empty text.

        The member may be this machine: all machines may have the same configuration.
        """
        try:
            await self._reach(where)
        except SelfConnectionError:
            return ""
        except (GossipError, OSError) as error:
            return reason(error)
        return ""


async def _handshake(stream: "trio.SSLStream[trio.SocketStream]") -> None:
    try:
        await stream.do_handshake()
    except trio.BrokenResourceError as error:
        ssl_workarounds.forget_errors()
        cause = error.__cause__
        why = cause.reason if isinstance(cause, ssl.SSLError) else "it closed the connection"
        if why == "CERTIFICATE_VERIFY_FAILED":
            why = (
                "its certificate is from another CA or has expired; `crewgate init --from` makes a "
                "new one"
            )
        raise GossipError(f"TLS handshake failed: {why}") from error


@contextmanager
def _deadline(seconds: float) -> Iterator[None]:
    try:
        with trio.fail_after(seconds):
            yield
    except trio.TooSlowError as error:
        raise GossipError("no answer in time") from error


@asynccontextmanager
async def _closing(stream: "trio.SSLStream[trio.SocketStream]") -> AsyncIterator[None]:
    """Close the connection at the end, without waiting for the other side's close_notify."""
    try:
        yield
    finally:
        await trio.aclose_forcefully(stream)
