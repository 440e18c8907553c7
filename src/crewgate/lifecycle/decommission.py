"""The end of an orchestrator as one transaction: intent, certificates and tokens and key, process.

The intent is on the disk before anything else is done, and every step may be done again: whoever
dies in the midst is followed by whoever calls `complete_intents` next, a start of `crewgate run`,
`crewgate decommission` or the control process. Decides no right. Blocks.
"""

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from crewgate import limits
from crewgate.ca.authority import Authority
from crewgate.ca.certificate_db import CertificateRecord
from crewgate.ca.jwks import remove_keys
from crewgate.ca.propagation import announce
from crewgate.ca.unrecorded_revocations import UnrecordedRevocations, unwritten_of
from crewgate.config import CAConfig, Config
from crewgate.core.ids import KeyKind
from crewgate.core.revocation_kinds import RevocationTarget
from crewgate.errors import (
    AuthorityError,
    ConfigurationError,
    CrewgateError,
    LinkError,
    RefusedError,
)
from crewgate.ipc.admin_messages import RevocationReceipt
from crewgate.lifecycle import socket_dir
from crewgate.lifecycle.liveness_lock import is_held
from crewgate.lifecycle.processes import NOBODY, has_ended_within, is_alive, kill_all, marked, send
from crewgate.lifecycle.runs import Run, RunState, RunStore
from crewgate.policy.loader import crew_keys

_REASON = "cessationOfOperation"
_ENDING, _GONE, _OVER = "ending", "gone", "over"  # what the gateway is told of


class DecommissionResult(msgspec.Struct, frozen=True):
    """What was done to end an orchestrator, so far.

    `complaints` say what is left and how to mend it: while its life is `ending`, its name gets no
    certificate. `told` is None if no gateway heard. `issued` counts all certificates that its name
    was ever given here; only `decommission` looks.
    """

    life: Run
    certificates: int = 0
    keys: tuple[str, ...] = ()
    told: RevocationReceipt | None = None
    complaints: tuple[str, ...] = ()
    issued: int = 0

    @property
    def is_complete(self) -> bool:
        """All is revoked and its processes are gone, whether or not a gateway has heard of it."""
        return self.life.state in {RunState.UNTOLD, RunState.ENDED}

    @property
    def is_doubtful(self) -> bool:
        """No end of it is written down, though it may be due; complaints say what is in the way."""
        return self.life.state is RunState.RUNNING

    def then(self, later: "DecommissionResult") -> "DecommissionResult":
        """This, and what was done after it."""
        return DecommissionResult(
            later.life,
            self.certificates + later.certificates,
            self.keys + later.keys,
            self.told or later.told,
            tuple(dict.fromkeys(later.complaints)),
        )


def authority_of(config: Config) -> CAConfig:
    """The CA of a configuration; ConfigurationError if it has none."""
    if config.ca is None:
        raise ConfigurationError(
            f"{config.path}: there is no [ca]; add the section with its trust_domain"
        )
    return config.ca


def decommission(config: Config, crew: str, name: str) -> DecommissionResult:
    """End an orchestrator, whether `crewgate run` has it or not.

    Where the disk does not take the intent, all that needs no disk is done, and a complaint says
    that it is to be said again. ConfigurationError, AuthorityError.
    """
    config.crew(crew)
    with RunStore(authority_of(config).register) as runs:
        try:
            run, why = runs.request_stop(crew, name, _now()), ""
        except AuthorityError as error:
            run, why = runs.running(crew, name) or _unwritten(crew, name), str(error)
    done = _end_unwritten(config, run, why) if why else complete(config, run)
    with suppress(AuthorityError), Authority(authority_of(config)) as authority:
        issued = authority.register.issued_since(crew, name, 0)
        return msgspec.structs.replace(done, issued=issued)
    return done


def _unwritten(crew: str, name: str) -> Run:
    nobody = NOBODY
    return Run(
        0, crew, name, RunState.ENDING, b"", -1, nobody.pid, nobody.began, nobody.boot, _now()
    )


def _end_unwritten(config: Config, run: Run, why: str) -> DecommissionResult:
    """All tokens, its own keys and its certificates are dead in the gateway, and its process ends.

    What was not written is done when a person says it again: each step may be done twice.
    """
    keys, complaints = _own_keys(config, run)
    unwritten = (f"{run.label}: not written down, so say it again when it can be: {why}",)
    with Authority(authority_of(config)) as authority:
        done = authority.register.revoke_holder(run.crew, run.name, _REASON, _now())
        told, away = _announce(authority, config, run, _ENDING, keys)
        with suppress(AuthorityError):  # the list's disk may be another
            authority.publish(datetime.now(UTC))
    ended = DecommissionResult(run, len(done), keys, told, (*unwritten, *complaints, *away))
    try:
        terminate(config, run)
    except AuthorityError as error:
        return msgspec.structs.replace(ended, complaints=(*ended.complaints, str(error)))
    return ended


def complete_intents(config: Config, patience: float = 0.0) -> list[DecommissionResult]:
    """Carry out every intent that nobody completed, and end what died without one.

    An intent that another process wrote in the last `patience` seconds is left to it, for its
    receipt. The trouble of one is not in the way of another's end: it is among the complaints.
    AuthorityError if the register cannot be used at all.
    """
    register = authority_of(config).register
    held = unwritten_of(register)
    with RunStore(register) as runs:
        done = [*_end_held(config, runs, held)]
        standing = runs.open()
        lasting = {run.id for run in standing}
        held.own_runs &= lasting
        now = time.time()
        standing = [
            run
            for run in standing
            if run.state is not RunState.ENDING
            or run.id in held.own_runs
            or not 0 <= now - run.until < patience
        ]
        _forget_propagated(register, lambda number: number not in lasting)
        for at, run in enumerate(standing):
            try:
                if run.state is RunState.RUNNING and not is_held(runs.path, run.id):
                    standing[at] = runs.move(run.id, RunState.ENDING, _now())
            except AuthorityError as error:
                done.append(_failed(run, error))
    for run in standing:
        if run.state is not RunState.RUNNING:
            try:
                done.append(complete(config, run))
            except CrewgateError as error:
                done.append(_failed(run, error))
    return done


def _failed(run: Run, error: CrewgateError) -> DecommissionResult:
    return DecommissionResult(run, complaints=(f"{run.label}: {error}",))


def _forget_propagated(register: Path, whose: Callable[[int], bool]) -> None:
    """What the gateway was told of the lives with these numbers."""
    told = unwritten_of(register).propagated_runs
    told.difference_update([each for each in told if whose(each[0])])


def _end_held(
    config: Config, runs: RunStore, held: UnrecordedRevocations
) -> Iterator[DecommissionResult]:
    """End the processes of those whose end the disk does not take.

    The gateway is to be told once more then, and each time that one cannot be ended: they have
    minted since.
    """
    for intent in held.ends():
        run = runs.running(intent.crew, intent.name)
        if run is None or not (is_alive(run.process) or is_held(runs.path, run.id)):
            continue
        complaints: tuple[str, ...] = ()
        try:
            terminate(config, run)
        except AuthorityError as error:
            complaints = (str(error),)
        held.forget_propagated(intent)
        yield DecommissionResult(run, complaints=complaints)


def complete(config: Config, run: Run) -> DecommissionResult:
    """Carry out one intent from wherever it was left; AuthorityError, ConfigurationError."""
    if run.state is RunState.UNTOLD:
        return propagate_end(config, run, patience=0.0)
    try:
        done = revoke(config, run)
    except CrewgateError:  # a full disk saves no process
        _terminate(config, run)
        _propagate(config, run)
        raise
    _terminate(config, run)
    return done.then(close(config, run))


def _terminate(config: Config, run: Run) -> None:
    """As `terminate`; one that cannot be ended mints on, so the gateway is told again each time."""
    try:
        terminate(config, run)
    except AuthorityError:
        _forget_propagated(authority_of(config).register, lambda number: number == run.id)
        raise


def revoke(config: Config, run: Run) -> DecommissionResult:
    """Revoke certificates, the orchestrator as such and its own keys, in the gateway in one step.

    In the register and the CRL first, so that no certificate passes whatever becomes of the rest.
    """
    ca, now = authority_of(config), datetime.now(UTC)
    keys, complaints = _own_keys(config, run)
    with Authority(ca) as authority, RunStore(ca.register) as runs:
        try:
            done = authority.revoke(runs.serials_to_revoke(run, int(now.timestamp())), _REASON, now)
        except AuthorityError:  # what is open is closed all the same
            _announce(authority, config, run, _ENDING, keys)
            raise
        told, why = _announce(authority, config, run, _ENDING, keys)
    complaints += why + _removed(config, run, keys)
    return DecommissionResult(run, len(done), keys, told, complaints)


def terminate(config: Config, run: Run) -> None:
    """End its supervisor, which ends all below it; then what a killed one left behind.

    AuthorityError if a process is another user's or another container's, or survives SIGKILL.
    """
    process = run.process
    if is_alive(process) and send(process, signal.SIGTERM):
        if not has_ended_within(process, limits.run_farewell_seconds):
            send(process, signal.SIGKILL)
        has_ended_within(process, limits.run_kill_seconds)
    if not run.instance:
        return
    left = kill_all(lambda: marked(run.instance, run.uid), limits.run_kill_seconds)
    if left or is_alive(process):
        pids = ", ".join(str(each.pid) for each in left) or str(process.pid)
        raise AuthorityError(f"{run.label}: SIGKILL did not end process {pids}; look why")
    if is_held(authority_of(config).register, run.id):
        raise AuthorityError(
            f"{run.label}: runs in another container, as process {process.pid} there; its "
            "certificates are revoked: end it there, and then here again"
        )
    socket_dir.remove_socket_dir(run.instance)


def close(config: Config, run: Run) -> DecommissionResult:
    """Its processes are gone: nothing is minted any more, so what was until now is dead too."""
    ca = authority_of(config)
    keys, complaints = _own_keys(config, run)
    complaints += _removed(config, run, keys)
    if complaints:
        return DecommissionResult(run, complaints=complaints)
    with RunStore(ca.register) as runs:
        try:
            run = runs.move(run.id, RunState.UNTOLD, _now())
        except AuthorityError:
            _propagate(config, run)
            raise
    return propagate_end(config, run, patience=limits.run_tell_seconds)


def _propagate(config: Config, run: Run) -> None:
    """Its process is gone, and no disk takes that: what it minted until now is dead meanwhile."""
    with Authority(authority_of(config)) as authority:
        _announce(authority, config, run, _GONE)


def propagate_end(config: Config, run: Run, *, patience: float) -> DecommissionResult:
    """Have the gateway know of an end that is complete but for that.

    An agent that was killed is back within a second, so it is waited for: `patience` seconds.
    """
    ca, deadline = authority_of(config), time.monotonic() + patience
    with Authority(ca) as authority, RunStore(ca.register) as runs:
        told, why = _announce(authority, config, run, _OVER)
        while told is None and time.monotonic() < deadline:
            time.sleep(limits.attach_again_seconds)
            told, why = _announce(authority, config, run, _OVER)
        if told is not None:
            run = runs.move(run.id, RunState.ENDED, _now())
    return DecommissionResult(run, told=told, complaints=why)


def _announce(
    authority: Authority, config: Config, run: Run, step: str, keys: Sequence[str] = ()
) -> tuple[RevocationReceipt | None, tuple[str, ...]]:
    """Tell the gateway, once for each step: what the disk refuses is tried again every second."""
    told = unwritten_of(authority.register.path).propagated_runs
    this, entries = (run.id, step, tuple(keys)), _pending(authority, run)
    if this in told and not entries:
        return RevocationReceipt(), ()
    before = run.until if step is _OVER else 0
    targets = [RevocationTarget(KeyKind.ORCHESTRATOR, run.label, run.crew, before=before)]
    targets += [RevocationTarget(KeyKind.KEY, kid, run.crew) for kid in keys]
    try:
        done = announce(authority.register, config.state, entries, () if this in told else targets)
    except (LinkError, RefusedError) as error:
        return None, (f"{run.label}: the gateway does not know yet: {error}",)
    if run.id:  # else it is not written down, and no later look knows it again
        told.add(this)
    return done, ()


def _pending(authority: Authority, run: Run) -> list[CertificateRecord]:
    named = (run.crew, run.name)
    return [each for each in authority.register.pending() if (each.crew, each.name) == named]


def _own_keys(config: Config, run: Run) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The kids that speak for this orchestrator alone, and why they cannot be known."""
    try:
        keys = crew_keys(config.crew(run.crew)) if _has(config, run.crew) else ()
    except ConfigurationError as error:
        return (), (f"{run.label}: its keys, if it has any, stay: {error}",)
    return tuple(key.kid for key in keys if key.orchestrator == run.label), ()


def _removed(config: Config, run: Run, keys: Sequence[str]) -> tuple[str, ...]:
    """Take its keys out of the JWKS for good: the table remembers a key for a day."""
    if not keys:
        return ()
    try:
        remove_keys(config.crew(run.crew).jwks, keys)
    except AuthorityError as error:
        return (str(error),)
    return ()


def _has(config: Config, crew: str) -> bool:
    """A crew that has left the configuration has no key that anybody trusts."""
    return any(each.name == crew for each in config.crews)


def _now() -> int:
    return int(datetime.now(UTC).timestamp())
