"""Serves the control API over mutual TLS and OCSP on a unix socket, with the CA's key.

It keeps the CRL fresh. When the configuration changes, no request fails.
"""

import logging
import math
import ssl
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec
import trio
from cryptography import x509

from crewgate import limits
from crewgate.api.app import make_app
from crewgate.api.asgi_adapter import ASGIAdapter
from crewgate.audit.sink import AuditSink
from crewgate.audit.writer import AuditWriter, RotationPolicy
from crewgate.ca.renewal import CertificateFiles
from crewgate.config import CAConfig, Config, ControlConfig, descriptors
from crewgate.control.backend import ControlBackend
from crewgate.control.ca_client_tasks import CAClientTasks
from crewgate.control.health import ControlHealth
from crewgate.control.ocsp_socket import OCSPSocketServer
from crewgate.core.audit.records import ServiceEvent, when
from crewgate.core.ids import certificate_key
from crewgate.core.x509 import certificate as certificate_
from crewgate.core.x509.identity_extension import Role
from crewgate.core.x509.ocsp_result import (
    CertificateStatus,
    GoodStatus,
    RevokedStatus,
    UndeterminedReason,
    UndeterminedStatus,
    UnknownStatus,
)
from crewgate.errors import AuthorityError, ConfigurationError, LinkError, RefusedError
from crewgate.lifecycle.decommission import complete_intents
from crewgate.policy.startup_checks import following
from crewgate.runtime.descriptor_limit import raise_to
from crewgate.runtime.file_watch import FileWatch
from crewgate.server import ClientCertificateTrust, Listener, SocketPoller, listen, server_context
from crewgate.server.connection_limit import ConnectionLimiter
from crewgate.server.peer_authorizer import PeerAuthorizer, PeerRules
from crewgate.server.peer_connections import PeerConnections

_log = logging.getLogger(__name__)
NAME = "control"  # of the process, and of its listener in the audit


class _Open(NamedTuple):
    """The API's listener, and the section that it was opened or changed for."""

    listener: Listener
    authorizer: PeerAuthorizer
    section: ControlConfig


class ControlServer:
    """Serves with `office`, which it closes, until a signal comes.

    `watch` of the configuration's file is older than `config`, which was read from it.
    """

    def __init__(
        self,
        config: Config,
        watch: FileWatch,
        backend: ControlBackend,
        sink: AuditSink,
        health: ControlHealth,
    ) -> None:
        self._config = config
        self._ca = _ca_of(config)
        self._watch = watch
        self._backend = backend
        self._sink = sink
        self._health = health
        self._connections = PeerConnections()
        self._poller = SocketPoller()
        self._open: _Open | None = None
        self._signed = -math.inf  # when the list was (wall clock, seconds)
        app = make_app(backend, self._note)
        self._application = ASGIAdapter(app, limits.control_body_bytes_max)

    async def run(self, signals: AsyncIterator[int]) -> None:
        """Serve; ConfigurationError if the port cannot be had."""
        upkeep = CAClientTasks(lambda: self._config, self._health, _LocalCA(self._backend))
        try:
            # Without a fresh list every client would be refused at first.
            await self._publish()
            # Outside the nursery: else the error would come in an exception group.
            ocsp_socket = OCSPSocketServer(self._config.state, self._backend.local_ocsp)
            if self._config.control is not None:
                self._open = self._listen(self._config.control)
            async with trio.open_nursery() as nursery:
                for task in (
                    self._poller.run, self._keep_list, upkeep.renew, self._complete,
                    self._end_orchestrators, self._tick, ocsp_socket.serve, self._follow_files,
                ):  # fmt: skip
                    nursery.start_soon(task)
                nursery.start_soon(self._follow_configuration, nursery)
                if self._open is not None:
                    nursery.start_soon(self._open.listener.run)
                self._health.is_serving = True
                async for _ in signals:
                    break
                if self._open is not None:
                    await self._open.listener.drain(limits.control_drain_seconds)
                nursery.cancel_scope.cancel()
        finally:
            self._poller.close()
            self._backend.close()

    async def _follow_configuration(self, nursery: trio.Nursery) -> None:
        """Put what the file says in force if the agent does; what is wrong with it, the agent says.

        What failed is tried again: by then a key may be there, or a port free.
        """
        again = math.inf
        while True:
            await trio.sleep(limits.crl_look_seconds)
            if not self._watch.changed() and trio.current_time() < again:
                continue
            again = math.inf
            try:
                config = await trio.to_thread.run_sync(partial(following, self._config))
            except ConfigurationError:
                again = trio.current_time() + limits.reload_refused_seconds
                continue
            try:
                await self._adopt(config, nursery)
            except (AuthorityError, ConfigurationError) as error:
                _log.warning("the configuration before stays: %s", error)
                again = trio.current_time() + limits.reload_refused_seconds

    async def _adopt(self, config: Config, nursery: trio.Nursery) -> None:
        """Work by another configuration; AuthorityError, ConfigurationError.

        One without a [ca] has the supervisor end this process; another `state` is for a new start.
        """
        before, opened = self._config, self._open
        if config.ca is None or config.state != before.state:
            return
        is_open = config.control == (opened and opened.section)
        if is_open and _ours(config) == _ours(before):
            return
        await self._backend.load(config, config.ca)
        self._health.disk.folder = config.ca.folder
        self._config, self._ca = msgspec.structs.replace(config, audit=before.audit), config.ca
        if config.audit != before.audit:
            await self._move_audit(config)
            self._config = config
        if config.ca != before.ca:
            await self._publish()
        self._fit(config.control, nursery)
        _log.info("another configuration is in force")

    async def _move_audit(self, config: Config) -> None:
        """Record where the configuration says; ConfigurationError, and it stays where it was."""
        make = partial(AuditWriter, config.audit.folder, NAME, RotationPolicy.of(config.audit))
        writer = await trio.to_thread.run_sync(partial(make, machine=config.name))
        before = self._sink.move(writer, refuses_when_full=config.audit.on_full == "refuse")
        await trio.to_thread.run_sync(before.close)

    def _fit(self, section: ControlConfig | None, nursery: trio.Nursery) -> None:
        """Have the API where the configuration says; ConfigurationError, and it stays as it was."""
        before = self._open
        if section is not None and before is not None and _place(section) == _place(before.section):
            before.authorizer.change(self._rules())
            self._open = _Open(before.listener, before.authorizer, section)
            return
        self._open = None if section is None else self._listen(section)
        if self._open is not None:
            nursery.start_soon(self._open.listener.run)
        if before is not None:
            nursery.start_soon(before.listener.drain, limits.control_drain_seconds)

    def _listen(self, section: ControlConfig) -> _Open:
        where = f"{self._config.path}: [control]"
        sock = listen(section.address, section.port, where=where)
        try:
            context = self._context(section)
        except ConfigurationError:
            sock.close()
            raise
        guard = PeerAuthorizer(self._rules(), self._connections, _Nothing, self._sink, self._check)
        listener = Listener(sock, context, self._application.accept, self._poller, guard)
        room = descriptors.control_connections(
            self._config, raise_to(descriptors.control(self._config).wanted)
        )
        listener.census = ConnectionLimiter(
            room, limits.control_connections_of_one_max, listener.counters
        )
        _log.info("control API at https://%s:%d", section.address, section.port)
        return _Open(listener, guard, section)

    def _rules(self) -> PeerRules:
        crews = frozenset(crew.name for crew in self._config.crews)
        return PeerRules(NAME, crews, frozenset(Role), ocsp="required")

    def _context(self, section: ControlConfig) -> ssl.SSLContext:
        clients = ClientCertificateTrust(self._ca.root, self._ca.crl, is_required=True)
        return server_context(section.certificate, section.key, clients)

    def _note(self, deed: str) -> None:
        """Who did what by the API, into the audit; a refusal changes nothing and is not there."""
        self._sink.write(ServiceEvent(time=when(time.time_ns()), event=NAME, detail=deed))

    async def _check(self, key: bytes, certificate: bytes) -> CertificateStatus:  # noqa: ARG002 - by serial
        """The register's word, which is the CA's own: no OCSP is asked here."""
        serial = certificate_.read(certificate).serial_text
        try:
            entry = await self._backend.entry(serial)
        except AuthorityError as error:
            return UndeterminedStatus(UndeterminedReason.UNREACHABLE, str(error))
        if entry is None:
            return UnknownStatus()
        if entry.revoked is not None:
            return RevokedStatus(entry.revoked, entry.reason, entry.not_after)
        return GoodStatus(entry.not_after)

    async def _follow_files(self) -> None:
        """Show another certificate, refuse by another list, end whose certificate is revoked."""
        crl, shown = self._ca.crl, self._shown()
        watch = FileWatch({crl, *shown})
        is_behind, is_renewed = True, False  # the context was made before the watch
        while True:
            await trio.sleep(limits.crl_look_seconds)
            changed = watch.changed()
            if (crl, shown) != (self._ca.crl, self._shown()):
                is_behind, is_renewed = True, is_renewed or shown != self._shown()
                crl, shown = self._ca.crl, self._shown()
                watch = FileWatch({crl, *shown})
            is_behind = is_behind or bool(changed)
            is_renewed = is_renewed or any(path in shown for path in changed)
            if not is_behind:
                continue
            try:
                # First close what is revoked, whatever the state of our own certificate.
                await self._disconnect()
                await self._show(is_renewed=is_renewed)
            except (ConfigurationError, AuthorityError) as error:
                _log.warning("keeping the previous certificate and CRL: %s", error)
                continue
            is_behind = is_renewed = False

    def _shown(self) -> tuple[Path, ...]:
        section = self._config.control
        return () if section is None else (section.certificate, section.key, self._ca.root)

    async def _show(self, *, is_renewed: bool) -> None:
        """Have the listener use its files as they are now."""
        opened = self._open
        if opened is None:
            return
        context = await trio.to_thread.run_sync(self._context, opened.section)
        if is_renewed:
            opened.listener.renew(context)
        opened.listener.context = context

    async def _disconnect(self) -> None:
        for entry in await self._backend.dead():
            key = certificate_key(entry.crew, int(entry.serial, 16))
            for guest in self._connections.close_set([key]):
                guest.abort()

    async def _keep_list(self) -> None:
        """Sign the list of revoked certificates anew if it lacks one, and long before it ends.

        It ends by the wall clock, which may have been set, and the machine may have slept; it lacks
        one if its disk was full, or a command that revokes was killed. So both are looked at often.
        """
        while True:
            await trio.sleep(limits.announce_again_seconds)
            age = time.time() - self._signed
            if not 0 <= age < limits.crl_renew_seconds:
                await self._publish()
                continue
            try:
                await self._backend.catch_up()
            except AuthorityError as error:
                self._report("CRL", f"it lacks revocations that the register has: {error}")
            else:
                self._report("CRL")

    async def _publish(self) -> None:
        try:
            await self._backend.publish()
        except AuthorityError as error:
            self._signed = -math.inf
            self._report("CRL", f"it is not renewed: {error}")
        else:
            self._signed = time.time()
            self._report("CRL")

    def _report(self, component: str, why: str = "") -> None:
        """Report the health of a component; `why` says what is wrong and is empty if it is well."""
        if why:
            _log.warning("%s: %s", component, why)
        self._health.note(component, why)

    async def _complete(self) -> None:
        """Complete what a crash, or an agent that was away, has left half done."""
        while True:
            try:
                await self._backend.complete(limits.announce_patience_seconds)
            except (LinkError, RefusedError, AuthorityError) as error:
                self._report("announcements", f"the agent lacks some revocations: {error}")
            else:
                self._report("announcements")
            why = self._backend.unwritten_reason
            self._report(
                "register", f"revocations in force are not written down: {why}" if why else ""
            )
            await trio.sleep(limits.announce_again_seconds)

    async def _end_orchestrators(self) -> None:
        """Complete the ends of orchestrators whose supervisors died, or that no machine heard of.

        A loop of its own: a process that is asked to end has some seconds for that.
        """
        while True:
            try:
                patience = limits.announce_patience_seconds
                ended = await trio.to_thread.run_sync(complete_intents, self._config, patience)
            except (AuthorityError, ConfigurationError) as error:
                self._report("decommissions", f"they are not complete: {error}")
            else:
                doubts = [why for each in ended if each.is_doubtful for why in each.complaints]
                why = f"they are not complete: {doubts[0]}" if doubts else ""
                self._health.note("decommissions", why)
                for each in ended:
                    if each.is_complete and each.told is not None:
                        self._note(f"completed the end of {each.life.label}")
                    for complaint in each.complaints:
                        _log.warning("%s", complaint)
            await trio.sleep(limits.announce_again_seconds)

    async def _tick(self) -> None:
        while True:
            await trio.sleep(limits.sweep_seconds)
            self._sink.tick()
            for guest in self._connections.drain_expired(time.time()):
                guest.abort()


class _LocalCA:
    """A `CertificateSource` that signs with the CA's key on this machine, from Trio's threads."""

    def __init__(self, backend: ControlBackend) -> None:
        self._backend = backend

    def next_chain(
        self, leaf: x509.Certificate, pair: CertificateFiles, *, is_server: bool
    ) -> bytes:
        """See `CertificateSource`."""
        del pair, is_server  # the register names both
        chain: bytes = trio.from_thread.run(self._backend.next_chain, leaf)
        return chain


class _Nothing:
    """A table with nothing in it: here the register decides."""

    def is_revoked(self, key: bytes, issued_at: int = 0) -> bool:  # noqa: ARG002 - the table's face
        """Never by this."""
        return False


def _ours(config: Config) -> tuple[object, ...]:
    """Return the sections of a configuration that this process uses."""
    return config.ca, config.control, config.crews, config.audience, config.audit


def _place(section: ControlConfig) -> tuple[str, int]:
    return section.address, section.port


def _ca_of(config: Config) -> CAConfig:
    if config.ca is None:
        raise AssertionError("the CA was opened by this configuration")
    return config.ca
