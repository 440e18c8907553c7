"""Serves the live page: the listener, its certificates, and changes of the configuration.

When the configuration changes, sessions stay, and the rights of people change at once.
"""

import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Final, NamedTuple

import trio

from crewgate import limits
from crewgate._datapath.socket_poller import SocketPoller
from crewgate.api.asgi_server import ASGIServer
from crewgate.audit.recorder import AuditRecorder
from crewgate.audit.writer import AuditWriter
from crewgate.config import Config, UIConfig
from crewgate.core.x509.identity_extension import Role
from crewgate.errors import ConfigurationError
from crewgate.policy.serve_config_checks import cannot_bind, following
from crewgate.runtime.cleanup import on_error
from crewgate.runtime.descriptor_limit import raise_to
from crewgate.runtime.file_watch import FileWatch
from crewgate.runtime.listening import listen, taken
from crewgate.runtime.ticks import sleep_until_tick
from crewgate.server.connection_limit import ConnectionLimiter
from crewgate.server.listener import Listener
from crewgate.server.listener_counters import ListenerCounters
from crewgate.server.peer_authorizer import PeerAuthorizer, PeerRules
from crewgate.server.peer_connections import PeerConnections
from crewgate.server.plaintext import PlaintextContext
from crewgate.server.tls import ClientCertificateTrust, server_context
from crewgate.ui.app import make_app
from crewgate.ui.login.login_service import LoginService
from crewgate.ui.operator_revocations import OperatorRevocations
from crewgate.ui.page_state import PageState

_log = logging.getLogger(__name__)
NAME: Final = "ui"  # the name of the process, and of its listener in the audit


class _Open(NamedTuple):
    """The listener, and the section of the configuration that it serves."""

    listener: Listener
    authorizer: PeerAuthorizer
    page: UIConfig


class PageServer:
    """Serves the page of `state`; `machine` is the name of this machine.

    `watch` was made before the configuration was read. `fitted` turns a configuration of the file
    into that of the page. `given` is the listening socket, if the caller has opened it already.
    """

    def __init__(
        self,
        state: PageState,
        login: LoginService,
        sink: AuditRecorder,
        watch: FileWatch,
        machine: str,
        *,
        fitted: Callable[[Config], Config] = lambda config: config,
        given: socket.socket | None = None,
    ) -> None:
        self._state = state
        self._login = login
        self._sink = sink
        self._watch = watch
        self._fitted = fitted
        self._given = given
        self._connections = PeerConnections()
        self._revocations = OperatorRevocations(
            state.folder, NAME, self._connections, sink, lambda: state.page.asks_certificates
        )
        self._poller = SocketPoller()
        app = make_app(state, login, machine)
        self._application = ASGIServer(app, limits.ui_body_bytes_max)

    async def run(self, signals: AsyncIterator[int]) -> None:
        """Serve until a signal comes. Raises ConfigurationError if the port is not free."""
        try:
            # Outside the nursery, which would wrap an error in an exception group.
            self._open = self._listen(self._state.config)
            async with trio.open_nursery() as nursery:
                for task in (
                    self._poller.run, self._open.listener.run, self._state.run,
                    self._login.sessions.keep_saved, self._login.follow_provider,
                    self._end_sessions, self._revocations.follow,
                    self._follow_files, self._tick,
                ):  # fmt: skip
                    nursery.start_soon(task)
                nursery.start_soon(self._follow_configuration, nursery)
                _log.info("the live page is at %s", self._state.page.url)
                async for _ in signals:
                    break
                await self._open.listener.drain(limits.ui_drain_seconds)
                nursery.cancel_scope.cancel()
        finally:
            self._poller.close()

    async def _follow_configuration(self, nursery: trio.Nursery) -> None:
        """Apply each changed configuration that the agent can use; the agent reports bad ones."""
        while True:
            await sleep_until_tick(limits.ui_look_seconds)
            if not self._watch.is_due():
                continue
            try:
                config = await trio.to_thread.run_sync(following, self._state.config)
            except ConfigurationError:
                self._watch.retry_later()
                continue
            try:
                await self._apply(self._fitted(config), nursery)
            except ConfigurationError as error:
                _log.warning("keeping the active configuration: %s", error)
                self._watch.retry_later()

    async def _apply(self, config: Config, nursery: trio.Nursery) -> None:
        """Use another configuration. Raises ConfigurationError.

        Without [ui], the supervisor ends this process.
        """
        before, page = self._state.config, config.ui
        if page is None or config == before:
            return
        # First what may fail again and again: each move of the audit makes a file.
        self._fit_listener(config, page, nursery)
        if config.audit != before.audit:
            writer = await trio.to_thread.run_sync(AuditWriter.of, config, NAME, self._sink.metrics)
            refuses = config.audit.on_full == "refuse"
            old = self._sink.move(writer, refuses_when_full=refuses)
            await trio.to_thread.run_sync(old.close)
        self._state.config = config
        _log.info("the new configuration is active")

    def _fit_listener(self, config: Config, page: UIConfig, nursery: trio.Nursery) -> None:
        """Move the listener to the configured address, or have it use other certificates."""
        opened = self._open
        if (page.address, page.port) != (opened.page.address, opened.page.port):
            self._open = self._listen(config)
            nursery.start_soon(self._open.listener.run)
            nursery.start_soon(opened.listener.drain, limits.ui_drain_seconds)
            return
        if _identity(config) != _identity(self._state.config):
            opened.listener.renew(_context(config))
        opened.authorizer.change(_rules(config))
        self._open = opened._replace(page=page)

    def _listen(self, config: Config) -> _Open:
        page = self._state.page if config.ui is None else config.ui
        context = _context(config)
        sock = self._given or _listening(config.path, page)
        self._given = None
        authorizer = PeerAuthorizer(
            _rules(config), self._connections, self._revocations.table, self._sink
        )
        with on_error(sock.close):
            counters = ListenerCounters(NAME, self._sink.metrics)
            listener = Listener(
                sock, context, self._application.accept, self._poller, authorizer, counters
            )
            raise_to(limits.ui_connections_max + limits.descriptors_spare)
        # At a loopback address, a proxy may carry the connections of all people.
        is_local = ip_address(page.address).is_loopback
        each = limits.ui_connections_max if is_local else limits.ui_connections_of_one_max
        listener.census = ConnectionLimiter(limits.ui_connections_max, each, counters)
        return _Open(listener, authorizer, page)

    async def _follow_files(self) -> None:
        """Apply changed certificates and CRLs, and close connections with revoked certificates."""
        watched, watch = _files(self._state.config), FileWatch(_files(self._state.config))
        changed = {*watched}
        while True:
            if changed:
                changed = await self._use_files(changed)
            await sleep_until_tick(limits.ui_look_seconds)
            changed |= {*watch.changed()}
            if watched != _files(self._state.config):
                watched = _files(self._state.config)
                watch, changed = FileWatch(watched), {*watched}

    async def _use_files(self, changed: set[Path]) -> set[Path]:
        """Use changed files; return those that must be tried again."""
        config, listener = self._state.config, self._open.listener
        crl = config.ca.crl if config.ca is not None else None
        try:
            # Close revoked connections first, even if our own certificate cannot be used.
            if crl in changed and crl is not None:
                await self._revocations.apply_crl(crl)
            context = await trio.to_thread.run_sync(_context, config)
        except (ConfigurationError, OSError, ValueError) as error:
            _log.warning("keeping the previous certificate and CRL: %s", error)
            return changed
        if changed == {crl}:
            listener.context = context
        else:
            listener.renew(context)
        return set()

    async def _end_sessions(self) -> None:
        while True:
            page = self._state.page
            self._login.sessions.end_all_over(page.session_seconds, page.idle_seconds)
            await sleep_until_tick(limits.ui_look_seconds)

    async def _tick(self) -> None:
        while True:
            await sleep_until_tick(limits.sweep_seconds)
            self._sink.tick()


def _listening(path: Path, page: UIConfig) -> socket.socket:
    """Return a listening socket. Raises ConfigurationError if another program has the port."""
    error = taken(page.address, page.port)
    if error is not None:
        raise cannot_bind(f"{path}: [ui]", page.address, page.port, error) from error
    return listen(page.address, page.port, where=f"{path}: [ui]")


def _context(config: Config) -> ssl.SSLContext | PlaintextContext:
    page, ca = config.ui, config.ca
    if page is None or page.certificate is None or page.key is None:
        return PlaintextContext()
    clients = None
    if page.asks_certificates and ca is not None:
        clients = ClientCertificateTrust(ca.root, ca.crl, is_required=False)
    return server_context(page.certificate, page.key, clients)


def _rules(config: Config) -> PeerRules:
    roles = (Role.OPERATOR,)
    return PeerRules(NAME, frozenset(), roles, is_required=False, oids=config.identity_oids)


def _identity(config: Config) -> tuple[object, ...]:
    """Return what the TLS context is made of."""
    page = config.ui
    own = () if page is None else (page.certificate, page.key, page.client_certificate)
    return *own, config.ca


def _files(config: Config) -> tuple[Path, ...]:
    """Return the files of the TLS context."""
    page, ca = config.ui, config.ca
    if page is None or page.certificate is None or page.key is None:
        return ()
    asked = (ca.crl, ca.root) if page.asks_certificates and ca is not None else ()
    return page.certificate, page.key, *asked
