"""Revocations and ends that the CA's books have not taken: the disk is full, read-only or gone.

They hold in this process from the moment they are asked for, and are written once the disk takes
them. All connections of a process to one register share them. A process that is to start with what
the one before held keeps them in another file too (`keep_in`).
"""

import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from crewgate.ca.decommission_intents import DecommissionIntent
from crewgate.errors import AuthorityError
from crewgate.runtime.durable_files import describe
from crewgate.runtime.reserved_file import ReservedFile

_LOCK = threading.Lock()
_BY_PATH: dict[Path, "UnrecordedRevocations"] = {}
_BEFORE = "the process before could not write them"


class UnrecordedRevocation(msgspec.Struct, frozen=True):
    """When (whole seconds since the epoch) and why; whether the gateway has been told."""

    when: int
    reason: str
    announced: bool = False


class UnrecordedState(msgspec.Struct, frozen=True):
    """What the next process needs."""

    revoked: dict[str, UnrecordedRevocation]
    ends: list[DecommissionIntent]


class UnrecordedRevocations:
    """Of the register at one path: certificates by serial, and ends of orchestrators.

    `told` has the serials that the gateway knows of, though the register could not be told so, and
    `propagated_runs` the same of steps in the end of a life (`lifecycle/decommission`). `own` has
    the serials that this process has revoked and the gateway has not heard of, `own_lives` the
    numbers of the lives whose end this process has begun: no other process is about to complete
    those.
    """

    def __init__(self) -> None:
        self.crl_number = 0  # of the last list, if the register could not keep it
        self.propagated: set[str] = set()
        self.propagated_runs: set[tuple[int, str, Sequence[str]]] = set()
        self.own: set[str] = set()
        self.own_runs: set[int] = set()
        self._why = ""
        self._revoked: dict[str, UnrecordedRevocation] = {}
        self._ends: dict[tuple[str, str], DecommissionIntent] = {}
        self._told_ends: dict[tuple[str, str], int] = {}  # that the gateway knows of: since when
        self._file: ReservedFile | None = None
        self._unkept = ""
        self._saving = threading.Lock()

    def __repr__(self) -> str:
        return f"<Unwritten {len(self._revoked)} {len(self._ends)} {self.unwritten_reason!r}>"

    def __bool__(self) -> bool:
        return bool(self._revoked or self._ends)

    def __contains__(self, serial: object) -> bool:
        return serial in self._revoked

    @property
    def unwritten_reason(self) -> str:
        """Why the books do not take them, and whether a restart would forget them; "" if none."""
        if not self:
            return ""
        lost = f"; a restart before that forgets them: {self._unkept}" if self._unkept else ""
        return f"{self._why}{lost}"

    # Certificates.

    def get(self, serial: str) -> UnrecordedRevocation | None:
        """What is to be written of a certificate."""
        return self._revoked.get(serial)

    def items(self) -> list[tuple[str, UnrecordedRevocation]]:
        """All, as they are now."""
        with _LOCK:
            return list(self._revoked.items())

    def take(self, serials: Iterable[str], when: int, reason: str, trouble: str) -> None:
        """Hold these, which the register refused."""
        with _LOCK:
            self._why = trouble
            new = {
                each: UnrecordedRevocation(when, reason)
                for each in serials
                if each not in self._revoked
            }
            self._revoked |= new
        if new:
            self.save()

    def announced(self, serials: Iterable[str]) -> None:
        """The gateway knows of these."""
        with _LOCK:
            for serial in serials:
                found = self._revoked.get(serial)
                if found is not None:
                    self._revoked[serial] = msgspec.structs.replace(found, announced=True)

    def written(self, serials: Iterable[str]) -> None:
        """The register has these."""
        with _LOCK:
            for serial in serials:
                self._revoked.pop(serial, None)
        self.save()

    # Ends of orchestrators.

    def hold(self, intent: DecommissionIntent, trouble: str) -> None:
        """Hold the end of an orchestrator, which the disk refused."""
        with _LOCK:
            self._why = trouble
            is_new = self._ends.get(_whose(intent)) != intent
            self._ends[_whose(intent)] = intent
        if is_new:
            self.save()

    def let_go(self, intent: DecommissionIntent) -> None:
        """The disk has this one."""
        with _LOCK:
            is_held = self._ends.get(_whose(intent)) == intent
            if is_held:
                del self._ends[_whose(intent)]
        if is_held:
            self.save()

    def ends(self) -> list[DecommissionIntent]:
        """Those that are held."""
        with _LOCK:
            return [*self._ends.values()]

    def is_ending(self, crew: str, name: str) -> bool:
        """Whether the end of that orchestrator is held."""
        return (crew, name) in self._ends

    def is_propagated(self, intent: DecommissionIntent) -> bool:
        """Whether the gateway knows of this end, wherever that is written."""
        return self._told_ends.get(_whose(intent)) == intent.since

    def mark_propagated(self, intent: DecommissionIntent) -> None:
        """The gateway knows."""
        self._told_ends[_whose(intent)] = intent.since

    def forget_propagated(self, intent: DecommissionIntent) -> None:
        """This end is complete, or asked for anew."""
        self._told_ends.pop(_whose(intent), None)

    # For the next process.

    def keep_in(self, file: ReservedFile) -> None:
        """Take up what the process before kept there, and keep it there too; AuthorityError."""
        if self._file is not None and self._file.path == file.path:
            return
        try:
            text = file.read()
            kept = (
                msgspec.msgpack.decode(text, type=UnrecordedState)
                if text
                else UnrecordedState({}, [])
            )
        except OSError as error:
            raise AuthorityError(describe(error, file.path)) from error
        except ValueError as error:  # also msgspec's
            raise AuthorityError(
                f"{file.path}: the revocations that the CA's disk did not take cannot be read "
                f"({error}); remove the file, and revoke again what you revoked meanwhile"
            ) from error
        self._file = file
        self._add(kept, _BEFORE)
        try:
            is_new = file.reserve()
        except OSError as error:
            self._unkept = describe(error, file.path)
        else:
            if self and is_new:
                self.save()

    def hand_to(self, other: "UnrecordedRevocations") -> None:
        """Have another one hold this too, whose register has taken the place of this one's."""
        if other is not self:
            other.receive(self._kept(), self._why, self._told_ends, self._file)

    def receive(
        self,
        kept: UnrecordedState,
        why: str,
        told_ends: Mapping[tuple[str, str], int],
        file: ReservedFile | None,
    ) -> None:
        """Hold what another one held, and keep it in that one's file from now on."""
        self._add(kept, why)
        self._told_ends |= told_ends
        self._file = file
        self.save()

    def save(self) -> None:
        """Have the other file know; `trouble` says so if it does not."""
        if self._file is None:
            return
        with self._saving:
            try:
                self._file.write(msgspec.msgpack.encode(self._kept()))
            except OSError as error:
                self._unkept = describe(error, self._file.path)
            else:
                self._unkept = ""

    def save_again(self) -> None:
        """The same if that failed the last time."""
        if self and self._unkept:
            self.save()

    def _kept(self) -> UnrecordedState:
        with _LOCK:
            return UnrecordedState(dict(self._revoked), [*self._ends.values()])

    def _add(self, kept: UnrecordedState, why: str) -> None:
        if not kept.revoked and not kept.ends:
            return
        with _LOCK:
            self._why = self._why if self else why
            self._revoked = kept.revoked | self._revoked
            self._ends = {_whose(intent): intent for intent in kept.ends} | self._ends


def unwritten_of(path: Path) -> UnrecordedRevocations:
    """Of the register at `path`, in this process."""
    with _LOCK:
        return _BY_PATH.setdefault(path.absolute(), UnrecordedRevocations())


def _whose(intent: DecommissionIntent) -> tuple[str, str]:
    return intent.crew, intent.name
