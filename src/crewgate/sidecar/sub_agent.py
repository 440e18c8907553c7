"""The sidecar of one sub-agent: holds its key and its token, and runs its process, CMD.

The orchestrator starts it and talks with it over a socket pair
(`issuer/processes/sidecar_messages`). CMD and its descendants, and no others, reach the gateway
through the sidecar's socket. The sidecar ends with CMD, with the branch, or with the orchestrator;
the key ends with it. So a copy of a token is worthless then, even if the gateway never learns of
the end.
"""

import logging
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import msgspec
import trio

from crewgate import limits
from crewgate._datapath.trio_host import TurnClock
from crewgate.errors import CrewgateError, SidecarError
from crewgate.issuer.control_api.gateway_address import PROOF_KEY
from crewgate.issuer.processes import sidecar_messages as messages
from crewgate.issuer.processes.sidecar_messages import (
    CommandEnded,
    CommandHeld,
    CommandRefused,
    ExtensionRequestMessage,
    ExtensionResponseMessage,
    FromSidecar,
    NewToken,
    StartCommand,
    ToSidecar,
)
from crewgate.issuer.proof_key import ProofKey
from crewgate.lifecycle.processes import process_of
from crewgate.runtime.cleanup import lent
from crewgate.runtime.cycle_collection import collect_rarely
from crewgate.runtime.log_format import LogSettings
from crewgate.runtime.memory_protection import SWITCH, is_open
from crewgate.runtime.process_log import ProcessLog
from crewgate.sidecar import user as user_
from crewgate.sidecar.call_credentials import BranchCredentials
from crewgate.sidecar.command_supervisor import (
    CommandSupervisor,
    become_subreaper,
    confine_signals,
    environment,
    name_sidecar_process,
    why_not,
)
from crewgate.sidecar.extension_relay import ExtensionRelay
from crewgate.sidecar.local_proxy import LocalProxy
from crewgate.sidecar.local_socket import LocalSocketServer
from crewgate.sidecar.user import CommandUser

_log = logging.getLogger(__name__)
_END = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


def main(descriptor: int) -> int:
    """Run until CMD has ended, and return 0. `descriptor` is that of the socket pair."""
    collect_rarely()
    become_subreaper()
    name_sidecar_process()
    is_confined = confine_signals()
    with ProcessLog("sidecar", limits.run_log_warnings_max, LogSettings()):
        if not is_confined:
            _log.warning(
                "the kernel has no Landlock domains for signals, so CMD can end or trace other "
                "processes of its user; use Linux 6.12 or later, or a user for each sub-agent"
            )
        connection = socket.socket(fileno=descriptor)
        connection.set_inheritable(False)
        with connection:
            trio.run(SubAgentSidecar(connection, is_confined=is_confined).run, clock=TurnClock())
    return 0


class SubAgentSidecar:
    """The tasks of one sidecar: the proxy, the orchestrator's messages, and the end of CMD.

    `is_confined` is as for `CommandSupervisor`.
    """

    def __init__(self, connection: socket.socket, *, is_confined: bool) -> None:
        self._connection = trio.socket.from_stdlib_socket(connection)
        self._command = CommandSupervisor(is_confined=is_confined)
        self._serving = trio.CancelScope()
        # Room for each request that waits.
        self._asked, self._unsent = trio.open_memory_channel[ExtensionRequestMessage](
            limits.sidecar_extensions_max
        )
        self._extensions = ExtensionRelay(self._asked.send_nowait)

    async def run(self) -> None:
        """Run CMD as the orchestrator says, end whatever happens, and report the end."""
        start = await self._receive()
        if not isinstance(start, StartCommand):
            return
        try:
            # Before SIGCHLD is handled: `reap` would take the exit status of the look.
            user = _user_of(start)
        except CrewgateError as error:
            await self._send(CommandRefused(str(error)))
            return
        with trio.open_signal_receiver(*_END, signal.SIGCHLD) as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._wait_signals, signals)
                try:
                    with self._serving:
                        await self._serve(start, user)
                except CrewgateError as error:
                    await self._send(CommandRefused(str(error)))
                finally:
                    with trio.CancelScope(shield=True):
                        await self._end()
                nursery.cancel_scope.cancel()

    async def _wait_signals(self, signals: AsyncIterator[int]) -> None:
        """Reap children, and end when CMD has ended or a signal asks for it."""
        async for number in signals:
            if number == signal.SIGCHLD:
                self._command.reap()
            if number != signal.SIGCHLD or self._command.status is not None:
                self._serving.cancel()

    async def _serve(self, start: StartCommand, user: CommandUser) -> None:
        key, gateway = ProofKey.generate(), start.gateway
        credentials = BranchCredentials(key, gateway.origin)
        proxy = LocalProxy(gateway, credentials, self._extensions)
        proxy.gateway.use(gateway.context())
        instance = os.urandom(16)
        with LocalSocketServer(None, user, instance) as server:
            # This orchestrator may run under `crewgate run`, which has another key.
            own = {name: value for name, value in os.environ.items() if name != PROOF_KEY}
            variables = environment(user, instance, server.path, gateway.url, own)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(proxy.run)
                nursery.start_soon(self._send_requests)
                nursery.start_soon(server.serve, proxy.serve)
                held, release = os.pipe()
                with lent(release):
                    with lent(held):
                        self._command.start(start.command, user, variables, held)
                    await self._send(
                        CommandHeld(
                            self._command.pid,
                            process_of(self._command.pid).claim,
                            str(key.binding.jkt),
                            str(server.path),
                        )
                    )
                    await self._apply_messages(credentials, release)
                nursery.cancel_scope.cancel()

    async def _apply_messages(self, credentials: BranchCredentials, release: int) -> None:
        """Take each token, and let CMD begin with the first; return at the end of the branch."""
        while isinstance(message := await self._receive(), NewToken | ExtensionResponseMessage):
            if isinstance(message, ExtensionResponseMessage):
                self._extensions.answer(message)
                continue
            is_first = not credentials.token
            credentials.token = message.token
            if is_first:
                os.write(release, b"x")
        credentials.token = ""

    async def _send_requests(self) -> None:
        """Send CMD's requests for an extension to the orchestrator."""
        async for asked in self._unsent:
            await self._send(asked)

    async def _end(self) -> None:
        have_ended = await self._command.end()
        if not have_ended:
            _log.warning("SIGKILL did not end all processes of CMD; find out why they hang")
        self._command.reap()
        if self._command.pid > 0:
            await self._send(CommandEnded(self._command.status or 0))

    async def _receive(self) -> ToSidecar | None:
        """Return the next message; None if the orchestrator has ended."""
        try:
            data = await self._connection.recv(limits.sidecar_message_bytes_max)
            return messages.decode_to_sidecar(data) if data else None
        except OSError:
            return None
        except msgspec.DecodeError as error:
            _log.warning("the orchestrator sent something else than a message: %s", error)
            return None

    async def _send(self, message: FromSidecar) -> None:
        # Without an orchestrator, the sidecar ends soon.
        with suppress(OSError), trio.move_on_after(limits.run_kill_seconds):
            await self._connection.send(messages.encode(message))


def _tracer() -> int:
    """Return the process id of the process that traces this one; 0 for none."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8", errors="replace").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("TracerPid:"))


def _user_of(start: StartCommand) -> CommandUser:
    """Return the user of CMD; raise SidecarError if this user cannot run CMD.

    There is no key yet. A process that has traced this one since before it was undumpable would
    read the key.
    """
    tracer = _tracer()
    if tracer and not is_open():
        raise SidecarError(
            f"process {tracer} traces the sidecar, so it would read its key; end it, or set "
            f"{SWITCH}=1 to debug"
        )
    user = user_.present() if start.user is None else user_.named(start.user)
    why = why_not(start.command, user.uid, user.gid)
    if why:
        raise SidecarError(f"cannot run {start.command[0]}: {why}")
    return user
