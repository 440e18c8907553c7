"""`crewgate run`: one orchestrator's process, from before its certificate to after its revocation.

Wires the parts and knows the order: the intent to live is on the disk before a certificate is
signed, and the intent to end before anything is revoked; whatever happens between, the end is
carried out, by this process or by whoever starts next. Holds the private key, and gives CMD a door.
"""

import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

import msgspec
import trio

from crewgate import limits
from crewgate.ca.authority import new_instance
from crewgate.config import CAConfig, Config, load
from crewgate.core.x509.identity_extension import Identity, Role, check
from crewgate.errors import ConfigurationError, CrewgateError, SidecarError
from crewgate.lifecycle.decommission import (
    DecommissionResult,
    authority_of,
    close,
    complete_intents,
    revoke,
)
from crewgate.lifecycle.liveness_lock import LivenessLock
from crewgate.lifecycle.processes import this
from crewgate.lifecycle.runs import Run, RunState, RunStore
from crewgate.runtime.process_log import ProcessLog
from crewgate.sidecar import user as user_
from crewgate.sidecar.command_supervisor import CommandSupervisor, environment, why_not
from crewgate.sidecar.credentials import RenewingCredential
from crewgate.sidecar.gateway_dialer import GatewayDialer, find_gateway
from crewgate.sidecar.hardening import become_subreaper, disable_dumping
from crewgate.sidecar.issuer import LocalCAIssuer
from crewgate.sidecar.local_socket import LocalSocketServer
from crewgate.sidecar.tls import TLSStream
from crewgate.sidecar.tunnel import carry
from crewgate.sidecar.user import CommandUser

_log = logging.getLogger(__name__)
_END = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
_SOFTWARE = 70  # EX_SOFTWARE of sysexits.h: CMD did well, and its end is not complete


class RunOptions(msgspec.Struct, frozen=True):
    """What a person asks for; None where the configuration or `run` itself decides."""

    config: Path
    crew: str
    name: str
    command: tuple[str, ...]
    user: str | None = None
    socket: Path | None = None
    gateway: str | None = None
    trust: Path | None = None
    life_seconds: int | None = None


def run(request: RunOptions) -> int:
    """Run CMD until it ends, or we are told to end it; the exit status.

    CMD's own, or 0 if we were told; 70 if CMD did well and could not be ended as it must be.
    ConfigurationError, AuthorityError or SidecarError before CMD was started.
    """
    config = load(request.config)
    ca = authority_of(config)
    config.crew(request.crew)
    identity = Identity(Role.ORCHESTRATOR, request.name, new_instance(), request.crew)
    try:
        check(identity)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
    with ProcessLog(f"run: {identity.label}", limits.run_log_warnings_max):
        return _supervise(config, ca, request, identity)


def _supervise(config: Config, ca: CAConfig, request: RunOptions, identity: Identity) -> int:
    """Run CMD as `run` does, once it is known whose process this is."""
    way = find_gateway(config, request.crew, request.gateway, request.trust or ca.root)
    disable_dumping()
    become_subreaper()
    for ended in complete_intents(config):
        _warn_of(ended.complaints, identity.label)
    _check_command(request)
    signal.pthread_sigmask(signal.SIG_BLOCK, _END)  # until somebody hears them
    for number in _END:  # and when nobody does any more: who is at its end is told to end, too
        signal.signal(number, _ignore)
    pulse = LivenessLock(ca.register)
    life, user = _begin(config, identity, request.user, pulse)
    if user.is_ours:
        _log.warning(
            "CMD runs as %s, as this supervisor does, who may read the CA's key: what it runs "
            "could have certificates of its own signed; as root, `run` gives it another user",
            user.name,
        )
    issuer = LocalCAIssuer(ca, identity, request.life_seconds)
    try:
        return trio.run(OrchestratorRun(config, request, life, user, issuer, way).run)
    finally:
        pulse.stop()
        for number in _END:
            signal.signal(number, signal.SIG_IGN)  # to the last: the interpreter's end resets ours


def _warn_of(complaints: Iterable[str], label: str) -> None:
    """Log them; each line begins with `label` already."""
    for complaint in complaints:
        _log.warning("%s", complaint.removeprefix(f"{label}: "))


def _ignore(number: int, frame: FrameType | None) -> None:
    """Not SIG_IGN, which CMD would inherit, and which forgets what came while it was blocked."""


def _check_command(request: RunOptions) -> None:
    """SidecarError for a CMD that cannot be run: nothing has begun that need be ended."""
    if request.user is not None:
        user = user_.named(request.user)
        uid, gid = user.uid, user.gid
    elif os.geteuid() == 0:
        uid = gid = limits.run_uid_min  # the own one is not chosen yet; it has no more rights
    else:
        uid, gid = os.geteuid(), os.getegid()
    why = why_not(request.command, uid, gid)
    if why:
        raise SidecarError(
            f"cannot run {request.command[0]}: {why}; give another command, or --user"
        )


def _begin(
    config: Config, identity: Identity, asked: str | None, pulse: LivenessLock
) -> tuple[Run, CommandUser]:
    """Write the life down, and choose whose process CMD is."""
    own = asked is None and os.geteuid() == 0
    user = user_.named(asked) if asked is not None else user_.present()

    def choose(taken: frozenset[int]) -> int:
        return user_.spare(identity.label, taken, user_.is_used) if own else -1

    with RunStore(authority_of(config).register) as runs:
        life = runs.begin(
            identity.crew, identity.name, this(), identity.instance, pulse.acquire, choose
        )
    return life, user_.own(life.uid) if own else user


class OrchestratorRun:
    """One life, as tasks; `issuer` may be anybody who signs."""

    def __init__(
        self,
        config: Config,
        request: RunOptions,
        life: Run,
        user: CommandUser,
        issuer: LocalCAIssuer,
        way: GatewayDialer,
    ) -> None:
        self._config = config
        self._request = request
        self._life = life
        self._user = user
        self._way = way
        self._credentials = RenewingCredential(issuer, way.trust)
        self._offspring = CommandSupervisor()
        self._living = trio.CancelScope()
        self._told = False
        self._failure: CrewgateError | None = None

    async def run(self) -> int:
        """Live, and end whatever comes; the exit status."""
        with trio.open_signal_receiver(*_END, signal.SIGCHLD) as signals:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _END)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._wait_signals, signals)
                try:
                    with self._living:
                        await self._live()
                except CrewgateError as error:
                    self._failure = error  # carried out by hand, so that it arrives as itself
                finally:
                    with trio.CancelScope(shield=True):
                        is_complete = await self._end()
                nursery.cancel_scope.cancel()
        if self._failure is not None:
            raise self._failure
        status = 0 if self._told else self._offspring.status or 0
        return status if is_complete else status or _SOFTWARE

    async def _wait_signals(self, signals: AsyncIterator[int]) -> None:
        """Reap, and end the life when CMD has ended or we are told."""
        async for number in signals:
            if number == signal.SIGCHLD:
                self._offspring.reap()
            elif self._offspring.status is None:  # else CMD's status counts, whoever tells us now
                self._told = True
            if self._told or self._offspring.status is not None:
                self._living.cancel()

    async def _live(self) -> None:
        """Until cancelled."""
        await self._wait_for_the_last_life()
        await self._credentials.obtain()
        with LocalSocketServer(self._request.socket, self._user, self._life.instance) as door:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(door.serve, self._proxy)
                nursery.start_soon(self._credentials.renew_for_ever)
                variables = environment(
                    self._user, self._life.instance, door.path, self._way.url, os.environ
                )
                try:
                    self._offspring.start(self._request.command, self._user, variables)
                except SidecarError as error:
                    self._failure = error
                    self._living.cancel()
                    return
                _log.info("process %d runs as %s", self._offspring.pid, self._user.name)
                await trio.sleep_forever()

    async def _wait_for_the_last_life(self) -> None:
        """Tokens dated up to so long after its end are dead with it; ours shall not be."""
        with RunStore(authority_of(self._config).register) as runs:
            until = runs.until(self._life.crew, self._life.name)
        left = until + limits.leeway_seconds + 1 - time.time()
        if left > 0:
            await trio.sleep(min(left, limits.leeway_seconds + 1))

    async def _proxy(self, stream: trio.SocketStream) -> None:
        await carry(stream, self._dial)

    async def _dial(self, protocol: str) -> TLSStream:
        return await self._way.dial(self._credentials.present, protocol)

    async def _end(self) -> bool:
        """Intent, revocation, termination, and what was minted meanwhile; whether all was done."""
        done = await self._step(self._intend_and_revoke)
        have_ended = await self._offspring.end()
        if not have_ended:
            _log.warning("SIGKILL did not end all processes; look why")
        if done is None or not have_ended:
            return False
        last = await self._step(self._close)
        _warn_of(last.complaints if last else (), self._life.label)
        return last is not None and last.is_complete

    async def _step(self, step: Callable[[], DecommissionResult]) -> DecommissionResult | None:
        """A blocking step of the end; None, and said, if it failed: others complete it."""
        try:
            return await trio.to_thread.run_sync(step)
        except CrewgateError as error:
            _log.warning("its end is not complete, `crewgate decommission` goes on: %s", error)
            return None

    def _intend_and_revoke(self) -> DecommissionResult:
        now = int(datetime.now(UTC).timestamp())
        with RunStore(authority_of(self._config).register) as runs:
            # Whoever ended it closes its connections first: CMD may have died of that, untold.
            standing = {each.id: each.state for each in runs.open()}
            self._told = self._told or standing.get(self._life.id) is not RunState.RUNNING
            self._life = runs.request_stop(self._life.crew, self._life.name, now)
        return revoke(self._config, self._life)

    def _close(self) -> DecommissionResult:
        return close(self._config, self._life)
