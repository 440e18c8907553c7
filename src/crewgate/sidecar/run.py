"""`crewgate run`: runs an orchestrator's process and decommissions the orchestrator afterwards.

The order makes it safe against crashes:

1. Store the run in the register.
2. Get a certificate, open the local socket, and start CMD.
3. When CMD ends or a signal comes, store the intent to decommission.
4. Revoke everything, and end all processes.

After a crash, the control process, or the next `crewgate run` or `decommission`, completes the end.
"""

import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import FrameType

import msgspec
import trio

from crewgate import limits
from crewgate._datapath.trio_host import TurnClock
from crewgate.ca.authority import configured_ca, new_instance
from crewgate.config import CAConfig, Config, load
from crewgate.core.x509.identity_extension import Identity, Role, check
from crewgate.errors import ConfigurationError, CrewgateError, SidecarError
from crewgate.issuer.control_api.gateway_address import (
    PROOF_KEY,
    GatewayAddress,
    find_gateway_for_certificates,
)
from crewgate.issuer.proof_key import ProofKey
from crewgate.lifecycle.liveness_lock import LivenessLock
from crewgate.lifecycle.orchestrator_decommission import (
    DecommissionResult,
    close,
    complete_intents,
    revoke,
)
from crewgate.lifecycle.orchestrator_runs import (
    OrchestratorRunRecord,
    OrchestratorRunState,
    OrchestratorRunStore,
)
from crewgate.lifecycle.processes import this
from crewgate.runtime.log_format import LogSettings
from crewgate.runtime.memory_protection import disable_dumping
from crewgate.runtime.process_log import ProcessLog
from crewgate.sidecar import user as user_
from crewgate.sidecar.call_credentials import ProofCredentials
from crewgate.sidecar.command_supervisor import (
    CommandSupervisor,
    become_subreaper,
    environment,
    why_not,
)
from crewgate.sidecar.credentials import RenewingCredential, issue
from crewgate.sidecar.local_proxy import LocalProxy
from crewgate.sidecar.local_socket import LocalSocketServer
from crewgate.sidecar.user import CommandUser

_log = logging.getLogger(__name__)
_END = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
_SOFTWARE = 70  # EX_SOFTWARE of sysexits.h, instead of 0: the decommission is incomplete


class RunOptions(msgspec.Struct, frozen=True):
    """The options of `crewgate run`; None: the configuration or `run` itself decides."""

    config: Path
    crew: str
    name: str
    command: tuple[str, ...]
    user: str | None = None
    socket: Path | None = None
    gateway: str | None = None
    trust: Path | None = None
    life_seconds: int | None = None
    log: LogSettings = LogSettings()


def run(options: RunOptions) -> int:
    """Run CMD until it ends or this process gets a signal, and return the exit status.

    The status is CMD's own, or 0 after a signal or a `crewgate decommission`. If it would be 0, but
    the decommission is incomplete, the status is 70.
    Raises ConfigurationError, CAError, SidecarError or OSError if CMD cannot be started.
    """
    config = load(options.config)
    ca = configured_ca(config)
    config.crew(options.crew)
    identity = Identity(Role.ORCHESTRATOR, options.name, new_instance(), options.crew)
    try:
        check(identity)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
    with ProcessLog(f"run: {identity.label}", limits.run_log_warnings_max, options.log):
        return _supervise(config, ca, options, identity)


def _supervise(config: Config, ca: CAConfig, options: RunOptions, identity: Identity) -> int:
    gateway = find_gateway_for_certificates(
        config, options.crew, options.gateway, options.trust or ca.root
    )
    # No switch turns this off: it protects the sidecar from CMD, which may have the same user.
    disable_dumping()
    become_subreaper()
    for ended in complete_intents(config):
        _log_complaints(ended.complaints, identity.label)
    # If root runs this and names no user, CMD gets a uid of its own.
    user = None if os.geteuid() == 0 else user_.present()
    if options.user is not None:
        user = user_.named(options.user)
    _check_command(options.command, user)
    # Block the signals until the event loop handles them.
    signal.pthread_sigmask(signal.SIG_BLOCK, _END)
    # After the loop has ended, a signal must not end this process: it is ending already.
    for number in _END:
        signal.signal(number, _ignore)
    liveness = LivenessLock(ca.register)
    record, user = _begin(config, identity, user, liveness)
    if user.is_ours:
        _log.warning(
            "CMD runs as %s, the user of `crewgate run`, who may read the CA's key, so CMD could "
            "sign certificates; %s to give CMD another user",
            user.name,
            "leave out --user" if os.geteuid() == 0 else "start `crewgate run` as root",
        )
    sign = partial(issue, ca, identity, options.life_seconds)
    credential = RenewingCredential(sign, gateway)
    try:
        orchestrator = OrchestratorRun(config, options, record, user, credential, gateway)
        return trio.run(orchestrator.run, clock=TurnClock())
    finally:
        liveness.stop()
        # When the interpreter ends, it resets Python handlers, but not SIG_IGN.
        for number in _END:
            signal.signal(number, signal.SIG_IGN)


def _log_complaints(complaints: Iterable[str], label: str) -> None:
    """Log them without `label`, which each log line has already."""
    for complaint in complaints:
        _log.warning("%s", complaint.removeprefix(f"{label}: "))


def _ignore(number: int, frame: FrameType | None) -> None:
    """Do nothing. CMD would inherit SIG_IGN, and SIG_IGN drops signals that are blocked."""


def _check_command(command: Sequence[str], user: CommandUser | None) -> None:
    """Raise SidecarError for a CMD that cannot run, before there is anything to decommission."""
    # CMD's own uid is chosen later; this one has the same rights.
    probe = user or user_.own(limits.run_uid_min)
    why = why_not(command, probe.uid, probe.gid)
    if why:
        raise SidecarError(f"cannot run {command[0]}: {why}; give another command, or --user")


def _begin(
    config: Config, identity: Identity, user: CommandUser | None, liveness: LivenessLock
) -> tuple[OrchestratorRunRecord, CommandUser]:
    """Store the run; choose a uid with it if `user` is None."""

    def choose(taken: frozenset[int]) -> int:
        return -1 if user else user_.spare(identity.label, taken, user_.is_used)

    with OrchestratorRunStore(configured_ca(config).register) as runs:
        record = runs.begin(
            identity.crew, identity.name, this(), identity.instance, liveness.acquire, choose
        )
    return record, user or user_.own(record.uid)


class OrchestratorRun:
    """The tasks of one run: renewal, the local socket, CMD, and the decommission at the end."""

    def __init__(
        self,
        config: Config,
        options: RunOptions,
        record: OrchestratorRunRecord,
        user: CommandUser,
        credential: RenewingCredential,
        gateway: GatewayAddress,
    ) -> None:
        self._config = config
        self._options = options
        self._record = record
        self._user = user
        self._gateway = gateway
        self._credentials = credential
        self._command = CommandSupervisor()
        self._serving = trio.CancelScope()
        self._is_stopped = False  # by a signal or by a decommission, not by CMD
        self._failure: CrewgateError | None = None

    async def run(self) -> int:
        """Run CMD, decommission whatever happens, and return the exit status."""
        with trio.open_signal_receiver(*_END, signal.SIGCHLD) as signals:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _END)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._wait_signals, signals)
                try:
                    with self._serving:
                        await self._serve()
                except CrewgateError as error:
                    # Raise it after the nursery, which would wrap it in an exception group.
                    self._failure = error
                finally:
                    with trio.CancelScope(shield=True):
                        is_complete = await self._end()
                nursery.cancel_scope.cancel()
        if self._failure is not None:
            raise self._failure
        status = 0 if self._is_stopped else self._command.status or 0
        return status if is_complete else status or _SOFTWARE

    async def _wait_signals(self, signals: AsyncIterator[int]) -> None:
        """Reap children, and end the run when CMD has ended or a signal asks for it."""
        async for number in signals:
            if number == signal.SIGCHLD:
                self._command.reap()
            elif self._command.status is None:
                # After CMD has ended, a signal does not change the exit status.
                self._is_stopped = True
            if self._is_stopped or self._command.status is not None:
                self._serving.cancel()

    async def _serve(self) -> None:
        await self._wait_for_previous_run()
        key = ProofKey.generate()
        proxy = LocalProxy(self._gateway, ProofCredentials(key, self._gateway.origin))
        self._credentials.on_renewal = proxy.gateway.use
        await self._credentials.obtain()
        options, instance = self._options, self._record.instance
        with LocalSocketServer(options.socket, self._user, instance) as server:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(proxy.run)
                nursery.start_soon(server.serve, proxy.serve)
                nursery.start_soon(self._credentials.renew_for_ever)
                variables = environment(
                    self._user, instance, server.path, self._gateway.url, os.environ
                )
                variables[PROOF_KEY] = str(key.binding.jkt)
                try:
                    self._command.start(options.command, self._user, variables)
                except SidecarError as error:
                    self._failure = error
                    self._serving.cancel()
                    return
                _log.info("process %d runs as %s", self._command.pid, self._user.name)
                await trio.sleep_forever()

    async def _wait_for_previous_run(self) -> None:
        """Wait until new tokens are later than the revocation of the previous run's tokens."""
        with OrchestratorRunStore(configured_ca(self._config).register) as runs:
            until = runs.until(self._record.crew, self._record.name)
        left = until + limits.leeway_seconds + 1 - time.time()
        if left > 0:
            await trio.sleep(min(left, limits.leeway_seconds + 1))

    async def _end(self) -> bool:
        """Take each step of the decommission; return whether it is complete."""
        done = await self._step(self._intend_and_revoke)
        have_ended = await self._command.end()
        if not have_ended:
            _log.warning("SIGKILL did not end all processes of CMD; find out why they hang")
        if done is None or not have_ended:
            return False
        # Revoke what the processes minted after the first step.
        last = await self._step(lambda: close(self._config, self._record))
        _log_complaints(last.complaints if last else (), self._record.label)
        return last is not None and last.is_complete

    async def _step(self, step: Callable[[], DecommissionResult]) -> DecommissionResult | None:
        """Run a blocking step; if it fails, log that and return None: others complete the end."""
        try:
            return await trio.to_thread.run_sync(step)
        except CrewgateError as error:
            _log.warning(
                "the decommission is incomplete; `crewgate decommission` completes it: %s", error
            )
            return None

    def _intend_and_revoke(self) -> DecommissionResult:
        now = int(datetime.now(UTC).timestamp())
        with OrchestratorRunStore(configured_ca(self._config).register) as runs:
            # Another process may have decommissioned the run. It closes connections first, and CMD
            # may have ended because of that, before a signal came.
            states = {each.id: each.state for each in runs.open()}
            if states.get(self._record.id) is not OrchestratorRunState.RUNNING:
                self._is_stopped = True
            self._record = runs.request_stop(self._record.crew, self._record.name, now)
        return revoke(self._config, self._record)
