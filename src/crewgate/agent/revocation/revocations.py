"""Revocation on this machine: whose branch is meant, which key is entered, and for how long.

Enters keys into the table, where every process sees them at once, and into a journal, from which a
new table (another kernel boot) gets them again. Tells nobody: who must cut open calls is the
doors' business. There is no way back: a revocation only ever expires.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import msgspec

from crewgate import limits
from crewgate._native.table_owner import OwnedTable
from crewgate.agent.branch_registry import BranchRegistry
from crewgate.agent.journal import StateJournal
from crewgate.agent.revocation.coarsened import CoarsenedCrews
from crewgate.agent.revocation.quota import EntryKind, RevocationQuota
from crewgate.agent.revocation.types import (
    ClockReading,
    NewRevocation,
    RevocationResult,
    entry_for,
    entry_of,
    key_of,
)
from crewgate.core.cross_crew_account import is_account
from crewgate.core.gossip import capsules
from crewgate.core.ids import KeyKind, crew_key, table_key
from crewgate.core.policy.policy import CrewPolicy, VerificationKey
from crewgate.errors import RefusedError, TableFullError
from crewgate.ipc.admin_messages import RevocationTarget, Target

_KINDS = frozenset(map(int, KeyKind))
_SHARED = {
    KeyKind.BRANCH,
    KeyKind.GRANT,
    KeyKind.PROCESS,
}  # of these a crew has no more than its share


class Revocations:
    """What this machine has revoked, within each crew's share of the table."""

    def __init__(
        self,
        table: OwnedTable,
        journal: StateJournal[NewRevocation],
        registry: BranchRegistry,
        log: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._table = table
        self._journal = journal
        self._registry = registry
        self.coarsened = CoarsenedCrews(log)
        self._entries: dict[str, NewRevocation] = {}
        self._crews: Sequence[CrewPolicy] = ()
        self._keys: dict[bytes, CrewPolicy] = {}
        self._kept_at = -limits.dead_keys_look_seconds  # when it was last looked for dead keys

    def __repr__(self) -> str:
        return f"<Revocations entries={len(self._entries)}>"

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[NewRevocation]:
        return iter(self._entries.values())

    def restore(self, entries: Iterable[NewRevocation], clocks: ClockReading) -> int:
        """Enter again what a journal held; returns how many the table had no room for.

        The wall clock may be wrong at start, so an entry counts as expired only when it is so by
        more than a clock is trusted to be wrong.
        """
        missing = 0
        for entry in entries:
            life = entry.expires + limits.clock_distrust_seconds - clocks.wall
            if life <= 0:
                continue
            try:
                self._enter(entry, life, clocks)
            except TableFullError:
                missing += 1
            if entry.coarsened:
                self.coarsened.restore(entry.crew, entry.expires - limits.revocation_seconds)
        self._journal.rewrite(self._entries.values())
        return missing

    def revoke(
        self,
        name: str,
        crew: str,
        crews: Sequence[CrewPolicy],
        clocks: ClockReading,
        *,
        target: Target = "branch",
        coarsens: bool = True,
    ) -> RevocationResult:
        """End the branch of that name (UUID text) and all below it, or what `target` says.

        RefusedError if it is not plain whose it is. Over the crew's share, all its tokens issued
        before now are dead instead, for which there is a place of its own. What no person has asked
        for never `coarsens` so: it has half of the share, and beyond that a RefusedError.
        """
        crew = self._whose(target, name, crew, crews)
        key = key_of(target, name, crew)
        wish: EntryKind = "branch" if coarsens else "overrun"
        coarsened = target != "crew" and not self._has_space(key, crew, self._shares(crews), wish)
        if coarsened and not coarsens:
            raise RefusedError(f"the share of crew {crew} in the table of revocations is used up")
        wanted = entry_for(target, name, crew, clocks.wall)
        entry = wanted
        if coarsened:
            entry = entry_for("crew", crew, crew, clocks.wall)
            entry = msgspec.structs.replace(entry, coarsened=True)
        try:
            self._enter(entry, limits.revocation_seconds, clocks)
        except TableFullError as error:
            raise RefusedError(
                f"{error}: remove the crew's key from its JWKS, which ends all its tokens, "
                "and raise [table] revocations"
            ) from error
        self._journal.append(entry)
        if coarsened:
            self.coarsened.note(crew, clocks.wall)
        return RevocationResult(
            asked=target,
            name=name,
            crew=crew,
            own_key=key,
            key=bytes.fromhex(entry.key),
            coarsened=coarsened,
            told=(entry, wanted) if coarsened else (entry,),
        )

    def _whose(self, target: Target, name: str, crew: str, crews: Sequence[CrewPolicy]) -> str:
        """Of a token nobody knows by its name alone whose it is, and accounts have none."""
        if target == "branch":
            return self._registry.whose(name, crew, crews)
        named = name if target == "crew" else crew
        names = [each.name for each in crews if not is_account(each.name)]
        if not named:
            raise RefusedError(f"say whose {target} it is: --crew {'|'.join(names)}")
        if named not in names:
            raise RefusedError(
                f"{named[:64]!r} is no crew that has tokens; configured are: {', '.join(names)}"
            )
        return named

    def revoke_names(
        self, names: Sequence[RevocationTarget], crews: Sequence[CrewPolicy], clocks: ClockReading
    ) -> tuple[list[NewRevocation], int]:
        """Revoke certificates, keys, and orchestrators' tokens, and how many had no room.

        RefusedError for a name that is none, and then nothing is revoked; or where the table has no
        room for an orchestrator, of whom nothing else would know: they come first, so that a single
        one is revoked with its certificates or not at all. A certificate without a place is refused
        by CRL and OCSP all the same, and a key leaves its crew's JWKS: no crew is made to suffer.
        """
        names = sorted(names, key=lambda name: name.kind != "orchestrator")
        entries = [(entry_of(name, clocks.wall), name) for name in names]
        known, unlisted, shares = {crew.name for crew in crews}, 0, self._shares(crews)
        for entry, name in entries:
            if name.kind == "orchestrator":
                self._enter_orchestrator(entry, name, clocks)
            else:
                is_bounded = name.kind == "certificate" and entry.crew in known
                if not self._enter_if_free(entry, shares if is_bounded else None, clocks):
                    unlisted += 1
                    continue
            self._journal.append(entry)
        return [entry for entry, _ in entries], unlisted

    def _enter_orchestrator(
        self, entry: NewRevocation, name: RevocationTarget, clocks: ClockReading
    ) -> None:
        try:
            self._enter(entry, entry.expires - clocks.wall, clocks)
        except TableFullError as error:
            raise RefusedError(
                f"there is no room to revoke orchestrator {name.name}: remove its key from the "
                f"JWKS of crew {name.crew}, and raise [table] revocations"
            ) from error

    def _enter_if_free(
        self, entry: NewRevocation, shares: RevocationQuota | None, clocks: ClockReading
    ) -> bool:
        """False for no room; within its crew's share, if it is to be."""
        key = bytes.fromhex(entry.key)
        if shares and not self._has_space(key, entry.crew, shares, "certificate"):
            return False
        try:
            is_new = self._enter(entry, entry.expires - clocks.wall, clocks)
        except TableFullError:
            return False
        if shares and is_new:
            shares.took(crew_key(entry.crew))
        return True

    def apply_remote(
        self,
        entries: Iterable[capsules.RevocationEntry],
        crews: Sequence[CrewPolicy],
        clocks: ClockReading,
        *,
        is_news: bool = True,
    ) -> tuple[list[bytes], bool]:
        """Enter what other machines have revoked; the keys, and False where one had no place.

        Over a crew's share here, all its tokens issued before now are dead instead; of what is no
        news, for it was on our disk, those issued before it was revoked. What is of a kind that a
        later version knows is not for this one. Their disks and ours have it.
        """
        keys, has_room, shares = [], True, self._shares(crews)
        for entry in entries:
            if entry.kind not in _KINDS:
                continue
            is_known = self._table.revoked_before(entry.key) is not None
            is_free = entry.kind not in _SHARED or is_known
            has_place = is_free or shares.has_space(entry.crew, "branch")
            if has_place and self._apply_remote(entry.key, entry, shares, clocks):
                keys.append(entry.key)
                continue
            then = clocks.wall
            if not is_news and entry.kind != KeyKind.CERTIFICATE:
                then = min(then, entry.expires - limits.revocation_seconds)
            coarse = entry._replace(before=then + limits.leeway_seconds)
            if self._apply_remote(entry.crew, coarse, shares, clocks):
                keys.append(entry.crew)
                known = self._keys.get(entry.crew)
                self.coarsened.note(known.name if known else entry.crew.hex(), clocks.wall)
            else:
                has_room = False
        return keys, has_room

    def _apply_remote(
        self,
        key: bytes,
        entry: capsules.RevocationEntry,
        shares: RevocationQuota,
        clocks: ClockReading,
    ) -> bool:
        """False for no room. An origin's clock may be years ahead: nothing is dead for so long."""
        most = _life_max(entry.kind) + limits.clock_distrust_seconds
        life = max(0, min(entry.expires - clocks.wall, most))
        times = (entry.before, life, clocks.wall, clocks.boot_ns)
        try:
            is_new = self._table.revoke(key, entry.crew, *times)
        except TableFullError:
            return False
        if is_new:
            shares.took(entry.crew)
        return True

    def crowded(self, crews: Sequence[CrewPolicy]) -> list[str] | None:
        """Crews whose next revocation ends all their tokens; None if that is so of every crew."""
        shares = self._shares(crews)
        if shares.is_coarse:
            return None
        return [crew.name for crew in crews if not shares.has_space(crew_key(crew.name), "branch")]

    def sync(self) -> None:
        """Wait until the disk has what was entered; to be called in a thread."""
        self._journal.sync()

    def tidy(self, clocks: ClockReading) -> None:
        """Drop what has long expired."""
        for key, entry in list(self._entries.items()):
            if entry.expires + limits.clock_distrust_seconds < clocks.wall:
                del self._entries[key]
        self.coarsened.tidy(clocks.wall)

    def keep(self, keys: Iterable[VerificationKey], clocks: ClockReading) -> list[VerificationKey]:
        """Hold on to the deaths of signing keys that a crew's JWKS still names; those renewed now.

        All else that is revoked has ended by itself before it is forgotten; what such a key signs
        has not. Looks once a minute.
        """
        if abs(clocks.wall - self._kept_at) < limits.dead_keys_look_seconds:
            return []
        self._kept_at, kept = clocks.wall, []
        for key in keys:
            name = table_key(KeyKind.KEY, key.crew, key.kid.encode())
            entry = self._entries.get(name.hex())
            left = 0 if entry is None else entry.expires - clocks.wall
            is_dead = entry is not None or self._table.revoked_before(name) is not None
            if not is_dead or left > limits.revocation_seconds / 2:
                continue
            entry = entry_of(RevocationTarget(kind="key", crew=key.crew, name=key.kid), clocks.wall)
            try:
                self._enter(entry, limits.revocation_seconds, clocks)
            except TableFullError:
                break  # there may be room in a minute
            self._journal.append(entry)
            kept.append(key)
        return kept

    def by_key(self, crews: Sequence[CrewPolicy]) -> Mapping[bytes, CrewPolicy]:
        """The crews of a policy by their keys, which are found out once."""
        if crews is not self._crews:
            self._crews, self._keys = crews, {crew_key(crew.name): crew for crew in crews}
        return self._keys

    def _shares(self, crews: Sequence[CrewPolicy]) -> RevocationQuota:
        return RevocationQuota(self._table, self.by_key(crews))

    def _has_space(self, key: bytes, crew: str, shares: RevocationQuota, what: EntryKind) -> bool:
        return key.hex() in self._entries or shares.has_space(crew_key(crew), what)

    def _enter(self, entry: NewRevocation, life: int, clocks: ClockReading) -> bool:
        """Whether it takes another place; TableFullError."""
        is_new = self._table.revoke(
            bytes.fromhex(entry.key),
            crew_key(entry.crew),
            entry.before,
            life,
            clocks.wall,
            clocks.boot_ns,
        )
        before = self._entries.get(entry.key)
        if before is not None:  # as the table has it: neither shrinks
            entry = msgspec.structs.replace(
                entry,
                before=max(entry.before, before.before),
                expires=max(entry.expires, before.expires),
            )
        self._entries[entry.key] = entry
        return is_new


def _life_max(kind: int) -> int:
    """Seconds that an entry of a kind lives at most, by a clock that is right."""
    if kind == KeyKind.CERTIFICATE:
        return limits.gateway_life_seconds_max
    return limits.revocation_seconds
