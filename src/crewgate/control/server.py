"""Serves the control API over mutual TLS, and OCSP on a unix socket, with the CA's key.

It keeps the CRL fresh. When the configuration changes, no request fails.
"""

import logging
import math
import socket
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec
import trio
from cryptography import x509

from crewgate import limits
from crewgate._datapath.socket_poller import SocketPoller
from crewgate.api.access import EVERYBODY
from crewgate.api.app import make_app
from crewgate.api.asgi_server import ASGIServer
from crewgate.audit.recorder import AuditRecorder
from crewgate.audit.writer import AuditWriter
from crewgate.ca.machine_cert_renewal import CertificateFiles
from crewgate.config import Config, ControlConfig, file_descriptor_needs
from crewgate.control.ca_client_tasks import CAClientTasks
from crewgate.control.health import ControlHealth
from crewgate.control.ocsp_socket import OCSPSocketServer
from crewgate.control.threaded_backend import ThreadedBackend
from crewgate.core.audit.records import ServiceEvent, when
from crewgate.core.ids import certificate_key
from crewgate.core.x509 import certificate as certificate_
from crewgate.core.x509 import ocsp_result
from crewgate.errors import (
    CAError,
    ConfigurationError,
)
from crewgate.lifecycle.orchestrator_decommission import complete_intents
from crewgate.metrics.process_observer import observe_process
from crewgate.policy.serve_config_checks import following
from crewgate.runtime.cleanup import on_error
from crewgate.runtime.descriptor_limit import raise_to
from crewgate.runtime.file_watch import FileWatch
from crewgate.runtime.listening import ListenAddress, listen, normal
from crewgate.runtime.ticks import sleep_until_tick
from crewgate.server.connection_limit import ConnectionLimiter
from crewgate.server.listener import Listener
from crewgate.server.listener_counters import ListenerCounters
from crewgate.server.peer_authorizer import PeerAuthorizer, PeerRules
from crewgate.server.peer_connections import PeerConnections
from crewgate.server.tls import ClientCertificateTrust, server_context

_log = logging.getLogger(__name__)
NAME = "control"  # the name of the process, and of its listener in the audit


class _Open(NamedTuple):
    """The API's listener, and the section of the configuration that it serves."""

    listener: Listener
    authorizer: PeerAuthorizer
    section: ControlConfig


class ControlServer:
    """Serves until a signal comes, and then closes `backend`; `watch` is older than `config`."""

    def __init__(
        self,
        config: Config,
        watch: FileWatch,
        backend: ThreadedBackend,
        sink: AuditRecorder,
        health: ControlHealth,
        given: Mapping[ListenAddress, socket.socket] | None = None,
    ) -> None:
        """`given` are listening sockets of a service manager, by address."""
        self._given = given or {}
        self._config = config
        self._watch = watch
        self._backend = backend
        self._sink = sink
        self._health = health
        self._connections = PeerConnections()
        self._poller = SocketPoller()
        self._open: _Open | None = None
        self._has_runs = trio.Event()
        self._signed = -math.inf  # when the CRL was signed (wall clock, seconds)
        app = make_app(backend, self._note)
        self._application = ASGIServer(app, limits.control_body_bytes_max)

    async def run(self, signals: AsyncIterator[int]) -> None:
        """Serve until a signal comes; ConfigurationError if the port is not free."""
        tasks = CAClientTasks(lambda: self._config, self._health, self._next_chain)
        try:
            # Without a fresh CRL, the listener would refuse every client at first.
            await self._publish()
            # Outside the nursery, which would wrap an error in an exception group.
            ocsp_socket = OCSPSocketServer(self._config.state, self._backend.local_ocsp)
            if self._config.control is not None:
                self._open = self._listen(self._config.control)
            async with trio.open_nursery() as nursery:
                for task in (
                    self._poller.run, self._keep_up, tasks.renew,
                    self._end_orchestrators, self._tick, ocsp_socket.serve, self._follow_files,
                    self._follow_identity_providers,
                ):  # fmt: skip
                    nursery.start_soon(task)
                if self._sink.metrics is not None:
                    nursery.start_soon(observe_process, self._sink.metrics, NAME)
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
        """Apply each changed configuration that the agent can use; the agent reports bad ones.

        After a failure, try again: a key may be there by then, or a port free.
        """
        while True:
            await sleep_until_tick(limits.control_look_seconds)
            if not self._watch.is_due():
                continue
            try:
                config = await trio.to_thread.run_sync(following, self._config)
            except ConfigurationError:
                self._watch.retry_later()
                continue
            try:
                await self._apply(config, nursery)
            except (CAError, ConfigurationError) as error:
                _log.warning("keeping the active configuration: %s", error)
                self._watch.retry_later()

    async def _apply(self, config: Config, nursery: trio.Nursery) -> None:
        """Use another configuration; CAError, ConfigurationError.

        Without a [ca], the supervisor ends this process. Another `state` needs a new start.
        """
        before, opened = self._config, self._open
        if config.ca is None or config.state != before.state:
            return
        is_open = config.control == (opened and opened.section)
        if is_open and _ours(config) == _ours(before):
            return
        await self._backend.load(config, config.ca)
        self._health.disk.folder = config.ca.folder
        self._config = msgspec.structs.replace(config, audit=before.audit)
        if config.audit != before.audit:
            await self._move_audit(config)
            self._config = config
        if config.ca != before.ca:
            await self._publish()
        self._fit_listener(config.control, nursery)
        _log.info("the new configuration is active")

    async def _move_audit(self, config: Config) -> None:
        """Move the audit to the configured folder; after ConfigurationError it stays."""
        writer = await trio.to_thread.run_sync(AuditWriter.of, config, NAME, self._sink.metrics)
        before = self._sink.move(writer, refuses_when_full=config.audit.on_full == "refuse")
        await trio.to_thread.run_sync(before.close)

    def _fit_listener(self, section: ControlConfig | None, nursery: trio.Nursery) -> None:
        """Move the API to the configured address; after ConfigurationError it stays."""
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
        given = self._given.get(normal(section.address, section.port))
        # Of the one that is given, keep a copy: a later configuration may come back to its address.
        sock = given.dup() if given else listen(section.address, section.port, where=where)
        with on_error(sock.close):
            context = self._context(section)
        authorizer = PeerAuthorizer(
            self._rules(), self._connections, _EmptyTable, self._sink, self._check
        )
        listener = Listener(
            sock,
            context,
            self._application.accept,
            self._poller,
            authorizer,
            ListenerCounters(NAME, self._sink.metrics),
        )
        descriptors_max = raise_to(file_descriptor_needs.control(self._config).wanted)
        open_max = file_descriptor_needs.control_connections(self._config, descriptors_max)
        each_max = limits.control_connections_of_one_max
        listener.census = ConnectionLimiter(open_max, each_max, listener.counters)
        _log.info("control API at https://%s:%d", section.address, section.port)
        return _Open(listener, authorizer, section)

    def _rules(self) -> PeerRules:
        crews = frozenset(crew.name for crew in self._config.crews)
        oids = self._config.identity_oids
        return PeerRules(NAME, crews, EVERYBODY, ocsp="required", oids=oids)

    def _context(self, section: ControlConfig) -> ssl.SSLContext:
        ca = self._backend.ca
        clients = ClientCertificateTrust(ca.root, ca.crl, is_required=True)
        return server_context(section.certificate, section.key, clients)

    def _note(self, deed: str) -> None:
        """Record a client's change in the audit; a refusal changes nothing and is not recorded."""
        self._sink.write(ServiceEvent(time=when(time.time_ns()), event=NAME, detail=deed))

    async def _check(self, key: bytes, certificate: bytes) -> ocsp_result.CertificateStatus:  # noqa: ARG002 - by serial
        """Return a certificate's status from the CA's own register, without an OCSP request."""
        serial = certificate_.read(certificate).serial_text
        try:
            entry = await self._backend.entry(serial)
        except CAError as error:
            return ocsp_result.UndeterminedStatus(
                ocsp_result.UndeterminedReason.UNREACHABLE, str(error)
            )
        if entry is None:
            return ocsp_result.UnknownStatus()
        if entry.revoked is not None:
            return ocsp_result.RevokedStatus(entry.revoked, entry.reason, entry.not_after)
        return ocsp_result.GoodStatus(entry.not_after)

    async def _follow_files(self) -> None:
        """Apply changed certificates and CRLs, and close connections with revoked certificates."""
        files = self._files()
        watch = FileWatch(files)
        # The listener read the files before the watch was made, so the CRL may have changed.
        changed = {files[0]}
        while True:
            await sleep_until_tick(limits.crl_look_seconds)
            changed |= {*watch.changed()}
            if files != self._files():
                files = self._files()
                watch, changed = FileWatch(files), {*files}
            if not changed:
                continue
            try:
                # Close revoked connections first, even if our own certificate cannot be used.
                await self._disconnect()
                await self._show(is_renewed=changed != {files[0]})
            except (ConfigurationError, CAError) as error:
                _log.warning("keeping the previous certificate and CRL: %s", error)
                continue
            changed = set()

    def _files(self) -> tuple[Path, ...]:
        """Return the CRL, and then the files of the listener's certificate, if it is open."""
        section, ca = self._config.control, self._backend.ca
        return (ca.crl,) if section is None else (ca.crl, section.certificate, section.key, ca.root)

    async def _show(self, *, is_renewed: bool) -> None:
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
            for connection in self._connections.close_set([key]):
                connection.abort()

    def _next_chain(self, leaf: x509.Certificate, _files: CertificateFiles) -> bytes:
        """Return the next certificate after `leaf`; one of Trio's threads calls this."""
        chain: bytes = trio.from_thread.run(self._backend.next_chain, leaf)
        return chain

    async def _keep_up(self) -> None:
        """Complete revocations and the CRL, and sign a new CRL long before it expires.

        The CRL expires by the wall clock, which can be set, and the machine can sleep. It lacks a
        revocation if its disk was full or a revoking command was killed. So check both often.
        """
        while True:
            if not 0 <= time.time() - self._signed < limits.crl_renew_seconds:
                await self._publish()
            state = await self._backend.keep_up(limits.announce_patience_seconds)
            if self._signed > -math.inf:
                why = f"it lacks revocations that the register has: {state.crl_lacks}"
                self._report("CRL", why if state.crl_lacks else "")
            why = f"the agent lacks some revocations: {state.agent_lacks}"
            self._report("announcements", why if state.agent_lacks else "")
            why = f"revocations in force are not written down: {self._backend.unwritten_reason}"
            self._report("register", why if self._backend.unwritten_reason else "")
            if state.has_runs:
                self._has_runs.set()
            await sleep_until_tick(limits.announce_again_seconds, limits.upkeep_after_seconds)

    async def _publish(self) -> None:
        try:
            await self._backend.publish()
        except CAError as error:
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

    async def _end_orchestrators(self) -> None:
        """Complete decommissions whose sidecar died or that the agent has not applied.

        This is a separate loop, since a process gets some seconds to end. It waits for a run in the
        register. Now and then it looks without one: somebody may have restored another register.
        """
        while True:
            try:
                patience = limits.announce_patience_seconds
                ended = await trio.to_thread.run_sync(complete_intents, self._config, patience)
            except (CAError, ConfigurationError) as error:
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
            with trio.move_on_after(limits.runs_look_seconds):
                await self._has_runs.wait()
            self._has_runs = trio.Event()

    async def _follow_identity_providers(self) -> None:
        """Keep the keys of identity providers new, so that runs wait for no download."""
        known: set[str] = set()
        while True:
            problems = await self._backend.identity_provider_problems()
            for name in known | problems.keys():
                self._health.note(f"identity provider {name}", problems.get(name, ""))
            known = {*problems}
            await sleep_until_tick(limits.identity_provider_look_seconds)

    async def _tick(self) -> None:
        while True:
            await sleep_until_tick(limits.sweep_seconds)
            self._sink.tick()
            for connection in self._connections.drain_expired(time.time()):
                connection.abort()


class _EmptyTable:
    """A table without revocations: here the register decides."""

    def is_revoked(self, key: bytes, issued_at: int = 0) -> bool:  # noqa: ARG002 - as the table
        """Return False."""
        return False


def _ours(config: Config) -> tuple[object, ...]:
    own = config.ca, config.control, config.crews, config.audience, config.audit
    return *own, config.identity_providers


def _place(section: ControlConfig) -> tuple[str, int]:
    return section.address, section.port
