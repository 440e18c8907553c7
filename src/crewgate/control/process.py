"""The control process, wired together: the API behind mutual TLS, OCSP on a unix socket, upkeep.

Ends only when it is told to. What it needs and cannot have for a while (the agent, a file that is
being written) it tries again. A configuration that changes is taken up by a process made anew.
"""

import signal
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import trio

from crewgate import limits
from crewgate.api.app import make_app
from crewgate.api.bridge import Bridge
from crewgate.audit.sink import Sink
from crewgate.audit.voice import Voice
from crewgate.config import CA, Config, Control
from crewgate.control.ocsp_door import OCSPDoor
from crewgate.control.office import ControlOffice
from crewgate.core import certificate as certificate_
from crewgate.core.certificate_status import Doubt, Flaw, Good, Revoked, Status, Unknown
from crewgate.core.identity import Role
from crewgate.core.ids import certificate_key
from crewgate.core.record import Event, when
from crewgate.errors import AuthorityError, ConfigurationError, LinkError, RefusedError
from crewgate.pki.ending import complete_intents
from crewgate.server import Clients, Listener, Poller, listen, server_context
from crewgate.server.census import Census
from crewgate.server.doorman import Doorman, Rules
from crewgate.server.guests import Guests
from crewgate.verifier.watch import Watch

LISTENER = "control"  # in the audit


class ControlProcess:
    """Serves one configuration until SIGTERM or SIGINT."""

    def __init__(self, config: Config, ca: CA, sink: Sink, voice: Voice) -> None:
        """Open the CA; AuthorityError, ConfigurationError."""
        self._config = config
        self._ca = ca
        self._sink = sink
        self._voice = voice
        self._office = ControlOffice(config, ca, voice.say)
        self._guests = Guests()
        self._poller = Poller()

    async def run(self) -> None:
        """Serve; ConfigurationError if the port cannot be had."""
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            try:
                # Without a fresh list every client would be refused at first.
                await self._publish()
                # What cannot be had is told as itself, not in a nursery's group.
                door = OCSPDoor(self._config.state, self._office.door.answer)
                listener = self._open()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._poller.run)
                    nursery.start_soon(self._keep_list)
                    nursery.start_soon(self._complete)
                    nursery.start_soon(self._end_orchestrators)
                    nursery.start_soon(self._tick)
                    nursery.start_soon(door.serve)
                    if listener is not None:
                        nursery.start_soon(self._follow_files, listener)
                        nursery.start_soon(listener.run)
                    async for _ in signals:
                        break
                    if listener is not None:
                        await listener.drain(limits.control_drain_seconds)
                    nursery.cancel_scope.cancel()
            finally:
                self._poller.close()
                self._office.close()

    # The API's listener.

    def _open(self) -> Listener | None:
        control = self._config.control
        if control is None:
            return None
        where = f"{self._config.path}: [control]"
        sock = listen(control.address, control.port, where=where)
        app = make_app(self._office, self._voice.say, self._note)
        application = Bridge(app, limits.control_body_bytes_max)
        crews = frozenset(crew.name for crew in self._config.crews)
        rules = Rules(LISTENER, crews, frozenset(Role), ocsp="required")
        doorman = Doorman(rules, self._guests, _Nothing, self._sink, self._check)
        context = self._context(control)
        listener = Listener(sock, context, application.accept, self._poller, doorman)
        listener.census = Census(
            limits.control_connections_max,
            limits.control_connections_of_one_max,
            listener.counters,
        )
        self._voice.tell(f"control API at https://{control.address}:{control.port}")
        return listener

    def _note(self, deed: str) -> None:
        """Who did what by the API, into the audit; a refusal changes nothing and is not there."""
        self._sink.write(Event(time=when(time.time_ns()), event=LISTENER, detail=deed))

    def _context(self, control: Control) -> ssl.SSLContext:
        clients = Clients(self._ca.root, self._ca.crl, is_required=True)
        return server_context(control.certificate, control.key, clients)

    async def _check(self, key: bytes, certificate: bytes) -> Status:  # noqa: ARG002 - by serial
        """The register's word, which is the CA's own: no OCSP is asked here."""
        serial = certificate_.read(certificate).serial_text
        try:
            entry = await self._office.entry(serial)
        except AuthorityError as error:
            return Doubt(Flaw.UNREACHABLE, str(error))
        if entry is None:
            return Unknown()
        if entry.revoked is not None:
            return Revoked(entry.revoked, entry.reason, entry.not_after)
        return Good(entry.not_after)

    async def _follow_files(self, listener: Listener) -> None:
        """Show another certificate, refuse by another list, end whose certificate is revoked."""
        control = self._config.control
        if control is None:
            return
        shown, lists = Watch(self._shown(control)), Watch((self._ca.crl,))
        is_renewed = is_listed = False
        while True:
            await trio.sleep(limits.crl_look_seconds)
            is_renewed = bool(shown.changed()) or is_renewed
            is_listed = bool(lists.changed()) or is_listed
            if not is_renewed and not is_listed:
                continue
            try:
                # Whoever is revoked goes, whatever the state of our own certificate.
                await self._expel()
                context = await trio.to_thread.run_sync(self._context, control)
            except (ConfigurationError, AuthorityError) as error:
                self._voice.say(f"the certificate and list before stay for now: {error}")
                continue
            if is_renewed:
                listener.renew(context)
            listener.context = context
            is_renewed = is_listed = False

    def _shown(self, control: Control) -> Iterator[Path]:
        yield control.certificate
        yield control.key
        yield self._ca.root

    async def _expel(self) -> None:
        for entry in await self._office.dead():
            key = certificate_key(entry.crew, int(entry.serial, 16))
            for guest in self._guests.doomed([key]):
                guest.abort()

    # Upkeep.

    async def _keep_list(self) -> None:
        """Sign the list of revoked certificates long before it is stale."""
        is_fresh = True  # `run` has signed one, or will be told why not
        while True:
            again = limits.crl_renew_seconds if is_fresh else limits.announce_again_seconds
            await trio.sleep(again)
            is_fresh = await self._publish()

    async def _publish(self) -> bool:
        try:
            await self._office.publish()
        except AuthorityError as error:
            self._voice.say(f"the list of revoked certificates is not renewed: {error}")
            return False
        return True

    async def _complete(self) -> None:
        """Complete what a crash, or an agent that was away, has left half done."""
        while True:
            try:
                await self._office.complete()
            except (LinkError, RefusedError, AuthorityError) as error:
                self._voice.say(f"revocations are not announced yet: {error}")
            await trio.sleep(limits.announce_again_seconds)

    async def _end_orchestrators(self) -> None:
        """Complete the ends of orchestrators whose supervisors died, or that nobody heard of.

        A loop of its own: a process that is told to end has seconds for it.
        """
        while True:
            try:
                ended = await trio.to_thread.run_sync(complete_intents, self._config)
            except (AuthorityError, ConfigurationError) as error:
                self._voice.say(f"orchestrators that are to end do not yet: {error}")
            else:
                for each in ended:
                    if each.is_complete and each.told is not None:
                        self._note(f"completed the end of {each.life.label}")
                    for complaint in each.complaints:
                        self._voice.say(complaint)
            await trio.sleep(limits.announce_again_seconds)

    async def _tick(self) -> None:
        while True:
            await trio.sleep(limits.sweep_seconds)
            self._sink.tick()
            for guest in self._guests.drain_ended(time.time()):
                guest.abort()


class _Nothing:
    """A table with nothing in it: here the register decides."""

    def is_revoked(self, key: bytes, issued_at: int = 0) -> bool:  # noqa: ARG002 - the table's face
        """Never by this."""
        return False
