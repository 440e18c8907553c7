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
from crewgate.ca.certificate_db import Entry
from crewgate.ca.jwks import remove_keys
from crewgate.ca.propagation import Announced, announce
from crewgate.ca.unwritten import Unwritten, unwritten_of
from crewgate.config import CA, Config
from crewgate.errors import (
    AuthorityError,
    ConfigurationError,
    CrewgateError,
    LinkError,
    RefusedError,
)
from crewgate.ipc.admin_messages import Name
from crewgate.lifecycle import socket_dir
from crewgate.lifecycle.liveness_lock import beats
from crewgate.lifecycle.processes import NOBODY, has_ended_within, is_alive, kill_all, marked, send
from crewgate.lifecycle.runs import Life, Lives, State
from crewgate.policy.loader import crew_keys

_REASON = "cessationOfOperation"
_ENDING, _GONE, _OVER = "ending", "gone", "over"  # what the gateway is told of


class Ended(msgspec.Struct, frozen=True):
    """What was done to end an orchestrator, so far.

    `complaints` say what is left and how to mend it: while its life is `ending`, its name gets no
    certificate. `told` is None if no gateway heard. `issued` counts all certificates that its name
    was ever given here; only `decommission` looks.
    """

    life: Life
    certificates: int = 0
    keys: tuple[str, ...] = ()
    told: Announced | None = None
    complaints: tuple[str, ...] = ()
    issued: int = 0

    @property
    def is_complete(self) -> bool:
        """All is revoked and its processes are gone, whether or not a gateway has heard of it."""
        return self.life.state in {State.UNTOLD, State.ENDED}

    @property
    def is_doubtful(self) -> bool:
        """No end of it is written down, though it may be due; complaints say what is in the way."""
        return self.life.state is State.RUNNING

    def then(self, later: "Ended") -> "Ended":
        """This, and what was done after it."""
        return Ended(
            later.life,
            self.certificates + later.certificates,
            self.keys + later.keys,
            self.told or later.told,
            tuple(dict.fromkeys(later.complaints)),
        )


def authority_of(config: Config) -> CA:
    """The CA of a configuration; ConfigurationError if it has none."""
    if config.ca is None:
        raise ConfigurationError(
            f"{config.path}: there is no [ca]; add the section with its trust_domain"
        )
    return config.ca


def decommission(config: Config, crew: str, name: str) -> Ended:
    """End an orchestrator, whether `crewgate run` has it or not.

    Where the disk does not take the intent, all that needs no disk is done, and a complaint says
    that it is to be said again. ConfigurationError, AuthorityError.
    """
    config.crew(crew)
    with Lives(authority_of(config).register) as lives:
        try:
            life, why = lives.intend(crew, name, _now()), ""
        except AuthorityError as error:
            life, why = lives.standing(crew, name) or _unwritten(crew, name), str(error)
    done = _end_unwritten(config, life, why) if why else complete(config, life)
    with suppress(AuthorityError), Authority(authority_of(config)) as authority:
        issued = authority.register.issued_since(crew, name, 0)
        return msgspec.structs.replace(done, issued=issued)
    return done


def _unwritten(crew: str, name: str) -> Life:
    nobody = NOBODY
    return Life(0, crew, name, State.ENDING, b"", -1, nobody.pid, nobody.began, nobody.boot, _now())


def _end_unwritten(config: Config, life: Life, why: str) -> Ended:
    """All tokens, its own keys and its certificates are dead in the gateway, and its process ends.

    What was not written is done when a person says it again: each step may be done twice.
    """
    keys, complaints = _own_keys(config, life)
    unwritten = (f"{life.label}: not written down, so say it again when it can be: {why}",)
    with Authority(authority_of(config)) as authority:
        done = authority.register.revoke_holder(life.crew, life.name, _REASON, _now())
        told, away = _announce(authority, config, life, _ENDING, keys)
        with suppress(AuthorityError):  # the list's disk may be another
            authority.publish(datetime.now(UTC))
    ended = Ended(life, len(done), keys, told, (*unwritten, *complaints, *away))
    try:
        terminate(config, life)
    except AuthorityError as error:
        return msgspec.structs.replace(ended, complaints=(*ended.complaints, str(error)))
    return ended


def complete_intents(config: Config, patience: float = 0.0) -> list[Ended]:
    """Carry out every intent that nobody completed, and end what died without one.

    An intent that another process wrote in the last `patience` seconds is left to it, for its
    receipt. The trouble of one is not in the way of another's end: it is among the complaints.
    AuthorityError if the register cannot be used at all.
    """
    register = authority_of(config).register
    held = unwritten_of(register)
    with Lives(register) as lives:
        done = [*_end_held(config, lives, held)]
        standing = lives.open()
        lasting = {life.id for life in standing}
        held.own_lives &= lasting
        now = time.time()
        standing = [
            life
            for life in standing
            if life.state is not State.ENDING
            or life.id in held.own_lives
            or not 0 <= now - life.until < patience
        ]
        _forget_told(register, lambda number: number not in lasting)
        for at, life in enumerate(standing):
            try:
                if life.state is State.RUNNING and not beats(lives.path, life.id):
                    standing[at] = lives.move(life.id, State.ENDING, _now())
            except AuthorityError as error:
                done.append(_failed(life, error))
    for life in standing:
        if life.state is not State.RUNNING:
            try:
                done.append(complete(config, life))
            except CrewgateError as error:
                done.append(_failed(life, error))
    return done


def _failed(life: Life, error: CrewgateError) -> Ended:
    return Ended(life, complaints=(f"{life.label}: {error}",))


def _forget_told(register: Path, whose: Callable[[int], bool]) -> None:
    """What the gateway was told of the lives with these numbers."""
    told = unwritten_of(register).told_lives
    told.difference_update([each for each in told if whose(each[0])])


def _end_held(config: Config, lives: Lives, held: Unwritten) -> Iterator[Ended]:
    """End the processes of those whose end the disk does not take.

    The gateway is to be told once more then, and each time that one cannot be ended: they have
    minted since.
    """
    for intent in held.ends():
        life = lives.standing(intent.crew, intent.name)
        if life is None or not (is_alive(life.process) or beats(lives.path, life.id)):
            continue
        complaints: tuple[str, ...] = ()
        try:
            terminate(config, life)
        except AuthorityError as error:
            complaints = (str(error),)
        held.forget_told(intent)
        yield Ended(life, complaints=complaints)


def complete(config: Config, life: Life) -> Ended:
    """Carry out one intent from wherever it was left; AuthorityError, ConfigurationError."""
    if life.state is State.UNTOLD:
        return tell(config, life, patience=0.0)
    try:
        done = revoke(config, life)
    except CrewgateError:  # a full disk saves no process
        _terminate(config, life)
        _tell_gone(config, life)
        raise
    _terminate(config, life)
    return done.then(close(config, life))


def _terminate(config: Config, life: Life) -> None:
    """As `terminate`; one that cannot be ended mints on, so the gateway is told again each time."""
    try:
        terminate(config, life)
    except AuthorityError:
        _forget_told(authority_of(config).register, lambda number: number == life.id)
        raise


def revoke(config: Config, life: Life) -> Ended:
    """Revoke certificates, the orchestrator as such and its own keys, in the gateway in one step.

    In the register and the CRL first, so that no certificate passes whatever becomes of the rest.
    """
    ca, now = authority_of(config), datetime.now(UTC)
    keys, complaints = _own_keys(config, life)
    with Authority(ca) as authority, Lives(ca.register) as lives:
        try:
            done = authority.revoke(lives.doomed(life, int(now.timestamp())), _REASON, now)
        except AuthorityError:  # what is open is closed all the same
            _announce(authority, config, life, _ENDING, keys)
            raise
        told, why = _announce(authority, config, life, _ENDING, keys)
    complaints += why + _removed(config, life, keys)
    return Ended(life, len(done), keys, told, complaints)


def terminate(config: Config, life: Life) -> None:
    """End its supervisor, which ends all below it; then what a killed one left behind.

    AuthorityError if a process is another user's or another container's, or survives SIGKILL.
    """
    process = life.process
    if is_alive(process) and send(process, signal.SIGTERM):
        if not has_ended_within(process, limits.run_farewell_seconds):
            send(process, signal.SIGKILL)
        has_ended_within(process, limits.run_kill_seconds)
    if not life.instance:
        return
    left = kill_all(lambda: marked(life.instance, life.uid), limits.run_kill_seconds)
    if left or is_alive(process):
        pids = ", ".join(str(each.pid) for each in left) or str(process.pid)
        raise AuthorityError(f"{life.label}: SIGKILL did not end process {pids}; look why")
    if beats(authority_of(config).register, life.id):
        raise AuthorityError(
            f"{life.label}: runs in another container, as process {process.pid} there; its "
            "certificates are revoked: end it there, and then here again"
        )
    socket_dir.clear(life.instance)


def close(config: Config, life: Life) -> Ended:
    """Its processes are gone: nothing is minted any more, so what was until now is dead too."""
    ca = authority_of(config)
    keys, complaints = _own_keys(config, life)
    complaints += _removed(config, life, keys)
    if complaints:
        return Ended(life, complaints=complaints)
    with Lives(ca.register) as lives:
        try:
            life = lives.move(life.id, State.UNTOLD, _now())
        except AuthorityError:
            _tell_gone(config, life)
            raise
    return tell(config, life, patience=limits.run_tell_seconds)


def _tell_gone(config: Config, life: Life) -> None:
    """Its process is gone, and no disk takes that: what it minted until now is dead meanwhile."""
    with Authority(authority_of(config)) as authority:
        _announce(authority, config, life, _GONE)


def tell(config: Config, life: Life, *, patience: float) -> Ended:
    """Have the gateway know of an end that is complete but for that.

    An agent that was killed is back within a second, so it is waited for: `patience` seconds.
    """
    ca, deadline = authority_of(config), time.monotonic() + patience
    with Authority(ca) as authority, Lives(ca.register) as lives:
        told, why = _announce(authority, config, life, _OVER)
        while told is None and time.monotonic() < deadline:
            time.sleep(limits.attach_again_seconds)
            told, why = _announce(authority, config, life, _OVER)
        if told is not None:
            life = lives.move(life.id, State.ENDED, _now())
    return Ended(life, told=told, complaints=why)


def _announce(
    authority: Authority, config: Config, life: Life, step: str, keys: Sequence[str] = ()
) -> tuple[Announced | None, tuple[str, ...]]:
    """Tell the gateway, once for each step: what the disk refuses is tried again every second."""
    told = unwritten_of(authority.register.path).told_lives
    this, entries = (life.id, step, tuple(keys)), _pending(authority, life)
    if this in told and not entries:
        return Announced(), ()
    before = life.until if step is _OVER else 0
    names = [Name(kind="orchestrator", crew=life.crew, name=life.label, before=before)]
    names += [Name(kind="key", crew=life.crew, name=kid) for kid in keys]
    try:
        done = announce(authority.register, config.state, entries, () if this in told else names)
    except (LinkError, RefusedError) as error:
        return None, (f"{life.label}: the gateway does not know yet: {error}",)
    if life.id:  # else it is not written down, and no later look knows it again
        told.add(this)
    return done, ()


def _pending(authority: Authority, life: Life) -> list[Entry]:
    named = (life.crew, life.name)
    return [each for each in authority.register.pending() if (each.crew, each.name) == named]


def _own_keys(config: Config, life: Life) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The kids that speak for this orchestrator alone, and why they cannot be known."""
    try:
        keys = crew_keys(config.crew(life.crew)) if _has(config, life.crew) else ()
    except ConfigurationError as error:
        return (), (f"{life.label}: its keys, if it has any, stay: {error}",)
    return tuple(key.kid for key in keys if key.orchestrator == life.label), ()


def _removed(config: Config, life: Life, keys: Sequence[str]) -> tuple[str, ...]:
    """Take its keys out of the JWKS for good: the table remembers a key for a day."""
    if not keys:
        return ()
    try:
        remove_keys(config.crew(life.crew).jwks, keys)
    except AuthorityError as error:
        return (str(error),)
    return ()


def _has(config: Config, crew: str) -> bool:
    """A crew that has left the configuration has no key that anybody trusts."""
    return any(each.name == crew for each in config.crews)


def _now() -> int:
    return int(datetime.now(UTC).timestamp())
