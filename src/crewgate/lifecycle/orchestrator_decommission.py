"""Decommissions an orchestrator in steps that survive a crash.

1. The intent is in the register (state `ending`); the CA issues no certificate to it any more.
2. Its certificates are revoked in the register and the CRL. The agent revokes them, its tokens and
   its own keys, and the keys leave the JWKS.
3. Its processes are stopped: SIGTERM, then SIGKILL. Nothing can mint for it any more (`untold`).
4. The agent revokes all tokens that it minted until then (`ended`).

Each step may be repeated. After a crash, the next `complete_intents` takes the remaining steps: at
a start of `crewgate run`, in `crewgate decommission`, or in the control process. The caller checks
the right to decommission. All functions block.
"""

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from crewgate import limits
from crewgate.ca.authority import Authority, configured_ca
from crewgate.ca.jwks_key_removal import remove_keys
from crewgate.ca.revocation_propagation import announce
from crewgate.ca.unrecorded_revocations import UnrecordedRevocations, unwritten_of
from crewgate.config import Config
from crewgate.core.ids import EntityKind
from crewgate.core.revocation_kinds import RevocationTarget
from crewgate.errors import (
    CAError,
    ConfigurationError,
    CrewgateError,
    ServiceConnectionError,
    ServiceRefusedError,
)
from crewgate.ipc.admin_messages import RevocationReceipt
from crewgate.lifecycle import orchestrator_socket_dir
from crewgate.lifecycle.liveness_lock import is_held
from crewgate.lifecycle.orchestrator_runs import (
    OrchestratorRunRecord,
    OrchestratorRunState,
    OrchestratorRunStore,
)
from crewgate.lifecycle.processes import has_ended_within, is_alive, kill_all, marked, send
from crewgate.policy.loader import crew_keys

_REASON = "cessationOfOperation"
# The steps that the agent applies: step 2, step 3 if the disk does not take it, and step 4.
_ENDING, _GONE, _OVER = "ending", "gone", "over"


class DecommissionResult(msgspec.Struct, frozen=True):
    """What a decommission has done so far.

    `complaints` say what remains and how to mend it; while the run `life` is `ending`, its name
    gets no certificate. `told` is the agent's receipt, or None if no agent has answered.
    `certificates` and `keys` were revoked. `issued` counts all certificates that this CA ever
    issued to the name; only `decommission` sets it.
    """

    life: OrchestratorRunRecord
    certificates: int = 0
    keys: tuple[str, ...] = ()
    told: RevocationReceipt | None = None
    complaints: tuple[str, ...] = ()
    issued: int = 0

    @property
    def is_complete(self) -> bool:
        """Whether all is revoked and no process is left, even if no agent has applied the end."""
        return self.life.state in {OrchestratorRunState.UNTOLD, OrchestratorRunState.ENDED}

    @property
    def is_doubtful(self) -> bool:
        """Whether no intent is stored although it may be due; `complaints` say why."""
        return self.life.state is OrchestratorRunState.RUNNING

    def then(self, later: "DecommissionResult") -> "DecommissionResult":
        """Return the sum of this result and a later one."""
        return DecommissionResult(
            later.life,
            self.certificates + later.certificates,
            self.keys + later.keys,
            self.told or later.told,
            tuple(dict.fromkeys(later.complaints)),
        )


def decommission(config: Config, crew: str, name: str) -> DecommissionResult:
    """Decommission an orchestrator, whether `crewgate run` started it or not.

    If the disk does not take the intent, this does all that needs no disk, and a complaint says to
    repeat the command. Raises ConfigurationError and CAError.
    """
    config.crew(crew)
    with OrchestratorRunStore(configured_ca(config).register) as runs:
        try:
            run, trouble = runs.request_stop(crew, name, _now()), ""
        except CAError as error:
            unwritten = OrchestratorRunRecord(
                0, crew, name, OrchestratorRunState.ENDING, until=_now()
            )
            run, trouble = runs.running(crew, name) or unwritten, str(error)
    done = _end_unwritten(config, run, trouble) if trouble else complete(config, run)
    with suppress(CAError), Authority(configured_ca(config)) as authority:
        issued = authority.register.issued_since(crew, name, 0)
        return msgspec.structs.replace(done, issued=issued)
    return done


def _end_unwritten(config: Config, run: OrchestratorRunRecord, trouble: str) -> DecommissionResult:
    """Revoke its certificates, tokens and keys in the agent, and stop it, without the intent.

    A person must repeat the command later to write what the disk did not take (`trouble`).
    """
    keys, complaints = _own_keys(config, run)
    unwritten = (
        f"{run.label}: the decommission is not on disk; repeat it when the disk works: {trouble}",
    )
    with Authority(configured_ca(config)) as authority:
        done = authority.register.revoke_holder(run.crew, run.name, _REASON, _now())
        receipt, unavailable = _announce(authority, config, run, _ENDING, keys)
        # The CRL may be on another disk, which works.
        with suppress(CAError):
            authority.publish(datetime.now(UTC))
    complaints = (*unwritten, *complaints, *unavailable)
    ended = DecommissionResult(run, len(done), keys, receipt, complaints)
    try:
        terminate(config, run)
    except CAError as error:
        return msgspec.structs.replace(ended, complaints=(*ended.complaints, str(error)))
    return ended


def complete_intents(config: Config, patience: float = 0.0) -> list[DecommissionResult]:
    """Complete all open intents, and decommission the runs whose process has died without one.

    An intent that another process wrote in the last `patience` seconds is left to that process,
    which waits for the receipt. If one decommission fails, its complaints say so, and the others go
    on. Raises CAError if the register cannot be used at all.
    """
    register = configured_ca(config).register
    held = unwritten_of(register)
    with OrchestratorRunStore(register) as runs:
        done = [*_end_held(config, runs, held)]
        open_runs = runs.open()
        open_ids = {run.id for run in open_runs}
        held.own_runs &= open_ids
        now = time.time()
        open_runs = [
            run
            for run in open_runs
            if run.state is not OrchestratorRunState.ENDING
            or run.id in held.own_runs
            or not 0 <= now - run.until < patience
        ]
        _forget_propagated(register, lambda number: number not in open_ids)
        for at, run in enumerate(open_runs):
            try:
                if run.state is OrchestratorRunState.RUNNING and not is_held(runs.path, run.id):
                    open_runs[at] = runs.move(run.id, OrchestratorRunState.ENDING, _now())
            except CAError as error:
                done.append(_failed(run, error))
    for run in open_runs:
        if run.state is not OrchestratorRunState.RUNNING:
            try:
                done.append(complete(config, run))
            except CrewgateError as error:
                done.append(_failed(run, error))
    return done


def _failed(run: OrchestratorRunRecord, error: CrewgateError) -> DecommissionResult:
    return DecommissionResult(run, complaints=(f"{run.label}: {error}",))


def _forget_propagated(register: Path, is_selected: Callable[[int], bool]) -> None:
    """Forget the steps that the agent has applied for the runs with the selected numbers."""
    propagated = unwritten_of(register).propagated_runs
    propagated.difference_update([step for step in propagated if is_selected(step[0])])


def _end_held(
    config: Config, runs: OrchestratorRunStore, held: UnrecordedRevocations
) -> Iterator[DecommissionResult]:
    """Stop the processes of orchestrators whose intent the disk does not take.

    They may have minted since the last announcement, so after each attempt the agent must revoke
    again.
    """
    for intent in held.ends():
        run = runs.running(intent.crew, intent.name)
        if run is None or not (is_alive(run.process) or is_held(runs.path, run.id)):
            continue
        complaints: tuple[str, ...] = ()
        try:
            terminate(config, run)
        except CAError as error:
            complaints = (str(error),)
        held.forget_propagated(intent)
        yield DecommissionResult(run, complaints=complaints)


def complete(config: Config, run: OrchestratorRunRecord) -> DecommissionResult:
    """Take the remaining steps of one intent. Raises CAError and ConfigurationError."""
    if run.state is OrchestratorRunState.UNTOLD:
        return propagate_end(config, run, patience=0.0)
    try:
        done = revoke(config, run)
    # A full disk must not keep a process alive.
    except CrewgateError:
        _terminate(config, run)
        _propagate(config, run)
        raise
    _terminate(config, run)
    return done.then(close(config, run))


def _terminate(config: Config, run: OrchestratorRunRecord) -> None:
    """Stop its processes. If one survives it may mint, so the agent must revoke again each time."""
    try:
        terminate(config, run)
    except CAError:
        _forget_propagated(configured_ca(config).register, lambda number: number == run.id)
        raise


def revoke(config: Config, run: OrchestratorRunRecord) -> DecommissionResult:
    """Revoke its certificates, its tokens and its own keys; the agent applies them in one step.

    The register and the CRL come first, so that no certificate is accepted even if the rest fails.
    """
    ca, now = configured_ca(config), datetime.now(UTC)
    keys, complaints = _own_keys(config, run)
    with Authority(ca) as authority, OrchestratorRunStore(ca.register) as runs:
        try:
            done = authority.revoke(runs.serials_to_revoke(run, int(now.timestamp())), _REASON, now)
        # Have the agent close open calls and connections all the same.
        except CAError:
            _announce(authority, config, run, _ENDING, keys)
            raise
        receipt, unavailable = _announce(authority, config, run, _ENDING, keys)
    complaints += unavailable + _remove_keys(config, run, keys)
    return DecommissionResult(run, len(done), keys, receipt, complaints)


def terminate(config: Config, run: OrchestratorRunRecord) -> None:
    """Stop its supervisor, which stops all its descendants; then stop what may be left of them.

    Raises CAError if a process is of another user or container, or survives SIGKILL.
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
        raise CAError(
            f"{run.label}: process {pids} survived SIGKILL; find out why (a blocked disk?), and "
            "decommission it again"
        )
    if is_held(configured_ca(config).register, run.id):
        raise CAError(
            f"{run.label}: its process {process.pid} runs in another container; its certificates "
            "are revoked: stop it there, and decommission it here again"
        )
    orchestrator_socket_dir.remove_socket_dir(run.instance)


def close(config: Config, run: OrchestratorRunRecord) -> DecommissionResult:
    """Take the last steps, after its processes are gone: tokens issued until now are revoked."""
    ca = configured_ca(config)
    keys, complaints = _own_keys(config, run)
    complaints += _remove_keys(config, run, keys)
    if complaints:
        return DecommissionResult(run, complaints=complaints)
    with OrchestratorRunStore(ca.register) as runs:
        try:
            run = runs.move(run.id, OrchestratorRunState.UNTOLD, _now())
        except CAError:
            _propagate(config, run)
            raise
    return propagate_end(config, run, patience=limits.run_announce_seconds)


def _propagate(config: Config, run: OrchestratorRunRecord) -> None:
    """Have the agent revoke all that it minted until now, although no disk takes the state."""
    with Authority(configured_ca(config)) as authority:
        _announce(authority, config, run, _GONE)


def propagate_end(
    config: Config, run: OrchestratorRunRecord, *, patience: float
) -> DecommissionResult:
    """Have the agent apply the last step, and store that the run has ended.

    If the agent is unavailable, try again for `patience` seconds: a restart takes a second.
    """
    ca, deadline = configured_ca(config), time.monotonic() + patience
    with Authority(ca) as authority, OrchestratorRunStore(ca.register) as runs:
        receipt, unavailable = _announce(authority, config, run, _OVER)
        while receipt is None and time.monotonic() < deadline:
            time.sleep(limits.attach_again_seconds)
            receipt, unavailable = _announce(authority, config, run, _OVER)
        if receipt is not None:
            run = runs.move(run.id, OrchestratorRunState.ENDED, _now())
    return DecommissionResult(run, told=receipt, complaints=unavailable)


def _announce(
    authority: Authority,
    config: Config,
    run: OrchestratorRunRecord,
    step: str,
    keys: Sequence[str] = (),
) -> tuple[RevocationReceipt | None, tuple[str, ...]]:
    """Have the agent revoke all targets of a step; return its receipt, or None and a complaint.

    It happens once for each step, although the control process repeats a step each second while
    the disk refuses it.
    """
    propagated = unwritten_of(authority.register.path).propagated_runs
    key, holder = (run.id, step, tuple(keys)), (run.crew, run.name)
    entries = [each for each in authority.register.pending() if (each.crew, each.name) == holder]
    is_known = key in propagated
    if is_known and not entries:
        return RevocationReceipt(), ()
    before = run.until if step is _OVER else 0
    targets = [RevocationTarget(EntityKind.ORCHESTRATOR, run.label, run.crew, before=before)]
    targets += [RevocationTarget(EntityKind.KEY, kid, run.crew) for kid in keys]
    try:
        done = announce(authority.register, config.state, entries, () if is_known else targets)
    except (ServiceConnectionError, ServiceRefusedError) as error:
        return None, (f"{run.label}: the gateway has not applied it yet: {error}",)
    # Without an id the run is not stored, so no later call can recognize it.
    if run.id:
        propagated.add(key)
    return done, ()


def _own_keys(
    config: Config, run: OrchestratorRunRecord
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the key ids that only this orchestrator uses, or the complaint why not."""
    try:
        # Without the crew in the configuration, nobody trusts its keys.
        crews = [crew for crew in config.crews if crew.name == run.crew]
        keys = [key for crew in crews for key in crew_keys(crew)]
    except ConfigurationError as error:
        return (), (f"{run.label}: its own keys, if any, stay valid: {error}",)
    return tuple(key.kid for key in keys if key.orchestrator == run.label), ()


def _remove_keys(
    config: Config, run: OrchestratorRunRecord, keys: Sequence[str]
) -> tuple[str, ...]:
    """Remove its keys from the JWKS, since the table keeps a revoked key for a day only."""
    if not keys:
        return ()
    try:
        remove_keys(config.crew(run.crew).jwks, keys)
    except CAError as error:
        return (str(error),)
    return ()


def _now() -> int:
    return int(datetime.now(UTC).timestamp())
