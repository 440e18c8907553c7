"""The process of a sub-agent, which an orchestrator starts behind a sidecar of its own.

The sidecar holds the token and the key, and adds both to each request; the process has neither.
One thread of the orchestrator serves each process: it renews the token, and revokes the branch when
the process ends.
"""

import logging
import os
import select
import socket
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple, Protocol

from crewgate import limits
from crewgate.core.tokens.claims import Claims, Confirmation, ProvenProcess
from crewgate.errors import CrewgateError, IssuerError
from crewgate.issuer.branches.branch_token_store import renewal
from crewgate.issuer.control_api.gateway_address import GatewayAddress
from crewgate.issuer.extensions.extension_endpoint import ExtensionHandler, answer_extension_request
from crewgate.issuer.processes import sidecar_messages as messages
from crewgate.issuer.processes.sidecar_messages import (
    CommandEnded,
    CommandHeld,
    CommandRefused,
    EndCommand,
    ExtensionRequestMessage,
    ExtensionResponseMessage,
    FromSidecar,
    NewToken,
    StartCommand,
    ToSidecar,
)
from crewgate.runtime.cleanup import lent, on_error
from crewgate.runtime.install_hint import install_hint

_log = logging.getLogger(__name__)
_MODULE = "crewgate.sidecar"
# For a sidecar to end its process: SIGTERM, SIGKILL, and a moment for itself.
_END_SECONDS = limits.run_end_seconds + 2 * limits.run_kill_seconds


class ProcessOwner(ExtensionHandler, Protocol):
    """What a process needs of its branch: an `Orchestrator` has these methods."""

    def token(self, branch: str) -> str:
        """Return the newest token, after a renewal if that is due."""

    def claims(self, branch: str) -> Claims:
        """Return the claims of the newest token."""

    def revoke(self, agent: str, *, reason: str = "") -> object:
        """Revoke the branch everywhere."""


class _Held(NamedTuple):
    """A process, the connection to its sidecar, the sidecar, and the path of its socket."""

    pid: int
    connection: socket.socket
    sidecar: "subprocess.Popen[bytes]"
    path: Path


class HeldProcess:
    """A process that is there, but waits for its token.

    Attributes:
        process: Its name, as the kernel knows it.
        binding: The key of its sidecar.

    Raises:
        IssuerError: The command cannot be started.
    """

    def __init__(
        self, command: Sequence[str], gateway: GatewayAddress, user: str | None = None
    ) -> None:
        if sys.platform != "linux":
            raise IssuerError("command: only Linux has what a sidecar needs; leave it out")
        if find_spec("trio") is None:
            raise IssuerError(install_hint("command", "gateway"))
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._connection = ours
        with on_error(ours.close), theirs:
            ours.settimeout(limits.sidecar_start_seconds_max)
            try:
                self._sidecar = subprocess.Popen(
                    [sys.executable, "-P", "-m", _MODULE, str(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    process_group=0,  # Ctrl-C in a terminal reaches only the orchestrator
                )
            except OSError as error:
                raise IssuerError(f"{sys.executable}: cannot be run: {error.strerror}") from error
        with on_error(self.give_up):
            self._send(StartCommand(list(command), gateway, user))
            held = self._receive()
            if isinstance(held, CommandRefused):
                raise IssuerError(f"command: {held.reason}")
            if not isinstance(held, CommandHeld):
                raise IssuerError(
                    "the sidecar ended before it started the command; its messages say why"
                )
        self._socket = Path(held.socket)
        self.pid = held.pid
        self.process = ProvenProcess(held.process)
        self.binding = Confirmation(jkt=held.jkt)

    def begin(self, branch: str, owner: ProcessOwner) -> "ServedProcess":
        """Give the process the token of its branch, and let it begin."""
        with on_error(self.give_up):
            self._send(NewToken(owner.token(branch)))
        held = _Held(self.pid, self._connection, self._sidecar, self._socket)
        return ServedProcess(held, branch, owner)

    def give_up(self) -> None:
        """End the process, which has never begun."""
        self._connection.close()
        _reap(self._sidecar)

    def _send(self, message: ToSidecar) -> None:
        try:
            self._connection.sendall(messages.encode(message))
        except OSError as error:
            raise IssuerError(f"the sidecar does not answer: {error}") from error

    def _receive(self) -> FromSidecar | None:
        try:
            return received(self._connection)
        except OSError as error:
            raise IssuerError(f"the sidecar does not answer: {error}") from error


class SubAgentProcess(ABC):
    """The process of a sub-agent; `SubAgent.process` is this handle. Threads may share it.

    When the process ends, its branch is revoked. When the branch or the orchestrator ends, the
    sidecar closes the connections of the process at once, and sends SIGTERM to the process and all
    its descendants, and SIGKILL after five seconds.

    Attributes:
        pid: The process id.
    """

    pid: int

    @property
    @abstractmethod
    def returncode(self) -> int | None:
        """The exit status, or 128 plus the signal that ended the process; None while it runs."""

    @abstractmethod
    def wait(self, timeout: float | None = None) -> int:
        """Wait until the process has ended and its branch is revoked; return its `returncode`.

        Raises:
            TimeoutError: The process has not ended within `timeout` seconds.
        """

    @abstractmethod
    def end(self) -> None:
        """End the access of the process at once, then the process; `wait` waits for that."""


class ServedProcess(SubAgentProcess):
    """A process, and the thread that serves it."""

    def __init__(self, held: _Held, branch: str, owner: ProcessOwner) -> None:
        self.pid, self._connection, self._sidecar, self._socket = held
        self._branch = branch
        self._owner = owner
        self._status: int | None = None
        self._ended = threading.Event()
        # It kills a sidecar that hangs; the kernel then kills the process.
        self._killer = threading.Timer(_END_SECONDS, self._sidecar.kill)
        self._killer.daemon = True
        name = f"crewgate-process-{self.pid}"
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return f"<SubAgentProcess {self.pid} status={self._status}>"

    @property
    def returncode(self) -> int | None:
        """See `SubAgentProcess`."""
        return self._status if self._ended.is_set() else None

    def wait(self, timeout: float | None = None) -> int:
        """See `SubAgentProcess`."""
        if not self._ended.wait(timeout):
            raise TimeoutError(f"process {self.pid} has not ended within {timeout} s")
        return self._status or 0

    def end(self) -> None:
        """See `SubAgentProcess`."""
        self._send(EndCommand())
        with suppress(RuntimeError):  # it runs already
            self._killer.start()

    def use(self, token: str) -> None:
        """Give the sidecar a newer token of the branch; does not wait."""
        self._send(NewToken(token))

    def _send(self, message: ToSidecar) -> None:
        try:
            self._connection.send(messages.encode(message), socket.MSG_DONTWAIT)
        except OSError:  # the sidecar has ended, or hangs
            with suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)

    # The thread.

    def _serve(self) -> None:
        reason = f"its process {self.pid} ended"
        try:
            while True:
                wait = self._renew()
                if self._has_message(wait):
                    message = received(self._connection)
                    if isinstance(message, ExtensionRequestMessage):
                        self._decide(message)
                        continue
                    if isinstance(message, CommandEnded):
                        self._status = message.status
                        break
                    if message is None:
                        reason = f"the sidecar of process {self.pid} ended"
                        break
        except OSError as error:
            reason = f"the sidecar of process {self.pid} does not answer: {error.strerror}"
        except Exception:  # noqa: BLE001 - the branch is revoked all the same
            _log.exception("branch %s: its process is no longer served", self._branch)
        finally:
            self._finish(reason)

    def _decide(self, asked: ExtensionRequestMessage) -> None:
        """Decide in a thread of its own, because a callback may wait for a person.

        The sidecar lets `limits.sidecar_extensions_max` requests wait at once.
        """

        def decide() -> None:
            answer = answer_extension_request(self._owner, self._branch, asked.body)
            self._send(ExtensionResponseMessage(asked.id, *answer))

        threading.Thread(target=decide, name="crewgate-extension", daemon=True).start()

    def _renew(self) -> float:
        """Renew the token if that is due; return the seconds until the next look."""
        try:
            self._owner.token(self._branch)  # the store gives a new one to `use`
            seconds = renewal(self._owner.claims(self._branch)) - time.time()
        except CrewgateError as error:
            _log.warning("branch %s: its process gets no further token: %s", self._branch, error)
            self.end()
            seconds = limits.token_file_look_seconds_max
        least, most = limits.token_file_retry_seconds, limits.token_file_look_seconds_max
        return min(max(seconds, least), most)

    def _has_message(self, seconds: float) -> bool:
        """Wait for a message, or for the time; return whether there is a message."""
        poll = select.poll()
        poll.register(self._connection, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def _finish(self, reason: str) -> None:
        try:
            self._owner.revoke(self._branch, reason=reason)
        except CrewgateError as error:
            _log.warning("branch %s: %s, but it is not revoked: %s", self._branch, reason, error)
        self._connection.close()
        status = _reap(self._sidecar)
        self._killer.cancel()
        if status:
            _remove(self._socket)  # a sidecar that was killed has left it
        if self._status is None:
            self._status = 128 - status if status < 0 else status
        self._ended.set()


def _reap(sidecar: "subprocess.Popen[bytes]") -> int:
    """Wait for a sidecar, which ends because its connection is closed; return its status."""
    try:
        return sidecar.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        sidecar.kill()
        return sidecar.wait()


def _remove(path: Path) -> None:
    """Remove a socket and its folder, which belongs to the user of the process."""
    with suppress(OSError):
        # By its descriptor: that user could replace the folder by a link.
        flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        with lent(os.open(path.parent, flags)) as folder, suppress(FileNotFoundError):
            os.unlink(path.name, dir_fd=folder)
        path.parent.rmdir()


def received(connection: socket.socket) -> FromSidecar | None:
    """Return the next message; None after the last one."""
    data = connection.recv(limits.sidecar_message_bytes_max)
    return messages.decode_from_sidecar(data) if data else None
