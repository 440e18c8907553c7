"""Holds revocations and decommissions that the CA's disk does not take: full, read-only or gone.

They are in force in this process at once, and the CA's files get them as soon as the disk takes
them. All connections of a process to one register share them. With `keep_in`, a process also keeps
them in a reserved file, from which the next process loads them.
"""

import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from crewgate.ca.decommission_intents import DecommissionIntent
from crewgate.errors import CAError
from crewgate.runtime.durable_files import describe
from crewgate.runtime.reserved_file import ReservedFile

_LOCK = threading.Lock()
_BY_PATH: dict[Path, "UnrecordedRevocations"] = {}
_PREVIOUS = "the previous process could not write them"


class UnrecordedRevocation(msgspec.Struct, frozen=True):
    """A revocation at `when` (seconds since the epoch); `announced`: the agent has applied it."""

    when: int
    reason: str
    announced: bool = False


class ReservedFileContent(msgspec.Struct, frozen=True):
    """The content of the reserved file: what the next process loads."""

    revoked: dict[str, UnrecordedRevocation]
    ends: list[DecommissionIntent]


class UnrecordedRevocations:
    """The unwritten revocations (by serial) and decommissions of the register at one path.

    `crl_number` is the last CRL number, if the register could not store it. `propagated` has the
    serials of revocations that the agent has applied, but that the register does not show as
    announced; `propagated_runs` has the same for steps of decommissions
    (`lifecycle/orchestrator_decommission`). Only this process completes what it started itself:
    `own` has the serials that it revoked and the agent has not applied, and `own_runs` the numbers
    of the runs that it is ending.
    """

    def __init__(self) -> None:
        self.crl_number = 0
        self.propagated: set[str] = set()
        self.propagated_runs: set[tuple[int, str, Sequence[str]]] = set()
        self.own: set[str] = set()
        self.own_runs: set[int] = set()
        self._reason = ""
        self._revoked: dict[str, UnrecordedRevocation] = {}
        self._ends: dict[tuple[str, str], DecommissionIntent] = {}
        # The decommissions that the agent has applied, with their `since`.
        self._propagated_ends: dict[tuple[str, str], int] = {}
        self._file: ReservedFile | None = None
        self._save_error = ""
        self._saving = threading.Lock()

    def __bool__(self) -> bool:
        return bool(self._revoked or self._ends)

    def __contains__(self, serial: object) -> bool:
        return serial in self._revoked

    @property
    def unwritten_reason(self) -> str:
        """Why the disk does not take them, and whether a restart would lose them; "" if none."""
        if not self:
            return ""
        if not self._save_error:
            return self._reason
        return f"{self._reason}; a restart before that would lose them: {self._save_error}"

    def get(self, serial: str) -> UnrecordedRevocation | None:
        """Return the unwritten revocation of a certificate, if there is one."""
        return self._revoked.get(serial)

    def items(self) -> list[tuple[str, UnrecordedRevocation]]:
        """Return a copy of all unwritten revocations, by serial."""
        with _LOCK:
            return list(self._revoked.items())

    def take(self, serials: Iterable[str], when: int, reason: str, trouble: str) -> None:
        """Hold revocations that the register could not store; `trouble` says why."""
        with _LOCK:
            self._reason = trouble
            new = {
                each: UnrecordedRevocation(when, reason)
                for each in serials
                if each not in self._revoked
            }
            self._revoked |= new
        if new:
            self.save()

    def announced(self, serials: Iterable[str]) -> None:
        """Note that the agent has applied these revocations."""
        with _LOCK:
            for serial in serials:
                found = self._revoked.get(serial)
                if found is not None:
                    self._revoked[serial] = msgspec.structs.replace(found, announced=True)

    def written(self, serials: Iterable[str]) -> None:
        """Drop revocations that the register has stored."""
        with _LOCK:
            for serial in serials:
                self._revoked.pop(serial, None)
        self.save()

    def hold(self, intent: DecommissionIntent, trouble: str) -> None:
        """Hold a decommission that the disk could not store; `trouble` says why."""
        with _LOCK:
            self._reason = trouble
            is_new = self._ends.get(_holder(intent)) != intent
            self._ends[_holder(intent)] = intent
        if is_new:
            self.save()

    def let_go(self, intent: DecommissionIntent) -> None:
        """Drop a decommission that the disk has stored."""
        with _LOCK:
            is_held = self._ends.get(_holder(intent)) == intent
            if is_held:
                del self._ends[_holder(intent)]
        if is_held:
            self.save()

    def ends(self) -> list[DecommissionIntent]:
        """Return the unwritten decommissions."""
        with _LOCK:
            return [*self._ends.values()]

    def is_ending(self, crew: str, name: str) -> bool:
        """Return whether an unwritten decommission is of that orchestrator."""
        return (crew, name) in self._ends

    def is_propagated(self, intent: DecommissionIntent) -> bool:
        """Return whether the agent has applied a decommission, written or not."""
        return self._propagated_ends.get(_holder(intent)) == intent.since

    def mark_propagated(self, intent: DecommissionIntent) -> None:
        """Note that the agent has applied a decommission."""
        self._propagated_ends[_holder(intent)] = intent.since

    def forget_propagated(self, intent: DecommissionIntent) -> None:
        """Forget `mark_propagated`: the decommission is complete, or was requested again."""
        self._propagated_ends.pop(_holder(intent), None)

    def keep_in(self, file: ReservedFile) -> None:
        """Load what the previous process left in `file`, and save into it from now on.

        Raises CAError if the file cannot be read.
        """
        if self._file is not None and self._file.path == file.path:
            return
        try:
            text = file.read()
            kept = (
                msgspec.msgpack.decode(text, type=ReservedFileContent)
                if text
                else ReservedFileContent({}, [])
            )
        except OSError as error:
            raise CAError(describe(error, file.path)) from error
        # msgspec's errors are ValueErrors too.
        except ValueError as error:
            raise CAError(
                f"{file.path}: cannot read the revocations that the CA's disk did not take "
                f"({error}); remove the file, and repeat the revocations since the disk failed"
            ) from error
        self._file = file
        self._add(kept, _PREVIOUS)
        try:
            is_new = file.reserve()
        except OSError as error:
            self._save_error = describe(error, file.path)
        else:
            if self and is_new:
                self.save()

    def hand_to(self, other: "UnrecordedRevocations") -> None:
        """Copy everything to `other`, whose register has replaced this one's."""
        if other is not self:
            other.receive(self._state(), self._reason, self._propagated_ends, self._file)

    def receive(
        self,
        kept: ReservedFileContent,
        reason: str,
        propagated_ends: Mapping[tuple[str, str], int],
        file: ReservedFile | None,
    ) -> None:
        """Add what another object held, and save into its file from now on."""
        self._add(kept, reason)
        self._propagated_ends |= propagated_ends
        self._file = file
        self.save()

    def save(self) -> None:
        """Write the state into the file; if that fails, `unwritten_reason` says so."""
        if self._file is None:
            return
        with self._saving:
            try:
                self._file.write(msgspec.msgpack.encode(self._state()))
            except OSError as error:
                self._save_error = describe(error, self._file.path)
            else:
                self._save_error = ""

    def save_again(self) -> None:
        """Write the state again if the last `save` failed."""
        if self and self._save_error:
            self.save()

    def _state(self) -> ReservedFileContent:
        with _LOCK:
            return ReservedFileContent(dict(self._revoked), [*self._ends.values()])

    def _add(self, kept: ReservedFileContent, reason: str) -> None:
        if not kept.revoked and not kept.ends:
            return
        with _LOCK:
            self._reason = self._reason if self else reason
            self._revoked = kept.revoked | self._revoked
            self._ends = {_holder(intent): intent for intent in kept.ends} | self._ends


def unwritten_of(path: Path) -> UnrecordedRevocations:
    """Return the object of this process for the register at `path`."""
    with _LOCK:
        return _BY_PATH.setdefault(path.absolute(), UnrecordedRevocations())


def _holder(intent: DecommissionIntent) -> tuple[str, str]:
    return intent.crew, intent.name
