"""Revocation on this machine: whose target is meant, and whether the table has room for it.

Enters keys into the table, where every process sees them at once, and into a journal, from which a
new table (another kernel boot) gets them again. Tells nobody: who must cut open calls is the
doors' business. There is no way back: a revocation only ever expires.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from crewgate import limits
from crewgate._native.table_owner import OwnedTable
from crewgate.agent.branch_registry import BranchRegistry
from crewgate.agent.journal_file import JournalFile
from crewgate.agent.revocation.coarsened_crews import CoarsenedCrews
from crewgate.agent.revocation.quota import RevocationQuota
from crewgate.agent.revocation.types import (
    ClockReading,
    LocalRevocationResult,
    StoredRevocation,
    coarse_entry,
    entry_for,
)
from crewgate.core.cross_crew_ids import is_account
from crewgate.core.gossip import capsules
from crewgate.core.ids import EntityKind, crew_key, table_key
from crewgate.core.policy.policy import CrewPolicy, VerificationKey
from crewgate.core.revocation_kinds import KINDS, RevocationTarget, WhenFull
from crewgate.errors import RefusedError, TableFullError

_CREW = re.compile(r"[a-z0-9][a-z0-9_-]*", re.ASCII)


class RevocationStore:
    """What this machine has revoked, within each crew's share of the table."""

    def __init__(
        self,
        table: OwnedTable,
        journal: JournalFile[StoredRevocation],
        registry: BranchRegistry,
    ) -> None:
        self._table = table
        self._journal = journal
        self._registry = registry
        self.coarsened = CoarsenedCrews()
        self._entries: dict[str, StoredRevocation] = {}
        self._crews: Sequence[CrewPolicy] = ()
        self._keys: dict[bytes, CrewPolicy] = {}
        self._kept_at = -limits.dead_keys_look_seconds  # when it was last looked for dead keys

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[StoredRevocation]:
        return iter(self._entries.values())

    def restore(self, entries: Iterable[StoredRevocation], clocks: ClockReading) -> int:
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
        targets: Sequence[RevocationTarget],
        crews: Sequence[CrewPolicy],
        clocks: ClockReading,
        *,
        coarsens: bool = True,
    ) -> list[LocalRevocationResult]:
        """Revoke all targets, or none: RefusedError.

        It is refused if it is not plain whose a target is, if a name is none, or if the table has
        no room for the one target that nothing else would keep out. Over the crew's share, all
        tokens of the crew issued before now are dead instead, for which there is a place of its
        own. What no person has asked for never `coarsens` so: it has half of the share, and beyond
        that a RefusedError. A certificate without a place is refused by CRL and OCSP all the same,
        and a key leaves its crew's JWKS: no crew is made to suffer for them.
        """
        wanted = [self._wanted(target, crews, clocks.wall) for target in targets]
        # The one that may be refused goes first, so that it is revoked with all others or not.
        wanted.sort(key=lambda each: each.target.rules.when_full is WhenFull.LEAVE_OUT)
        if any(each.target.rules.when_full is not WhenFull.LEAVE_OUT for each in wanted[1:]):
            raise RefusedError(
                "one step revokes at most one branch, grant, process, crew or orchestrator, with "
                "any certificates and keys; send a request for each"
            )
        shares = self._shares(crews)
        return [self._revoke(each, shares, clocks, coarsens=coarsens) for each in wanted]

    def _wanted(
        self, target: RevocationTarget, crews: Sequence[CrewPolicy], wall: int
    ) -> LocalRevocationResult:
        target = msgspec.structs.replace(target, crew=self._whose(target, crews))
        return LocalRevocationResult(target, entry_for(target, wall))

    def _whose(self, target: RevocationTarget, crews: Sequence[CrewPolicy]) -> str:
        """The crew of a target; RefusedError if that is not plain, or cannot be one."""
        rules = target.rules
        if rules.kind is EntityKind.BRANCH:
            return self._registry.whose(target.name, target.crew, crews)
        if not rules.of_configured_crew:
            if target.crew and not _CREW.fullmatch(target.crew):
                raise RefusedError(f"{target.crew!r} cannot be the name of a crew")
            return target.crew
        # Nobody knows by the name of a token's part whose it is, and accounts have no tokens.
        named = target.name if rules.kind is EntityKind.CREW else target.crew
        names = [each.name for each in crews if not is_account(each.name)]
        if not named:
            raise RefusedError(f"say whose {rules.label} it is: --crew {'|'.join(names)}")
        if named not in names:
            raise RefusedError(
                f"{named[:64]!r} is no crew that has tokens; configured are: {', '.join(names)}"
            )
        return named

    def _revoke(
        self,
        result: LocalRevocationResult,
        shares: RevocationQuota,
        clocks: ClockReading,
        *,
        coarsens: bool,
    ) -> LocalRevocationResult:
        target, entry, when_full = result.target, result.wanted, result.target.rules.when_full
        if not self._is_within_share(target, entry.key, shares, is_asked_for=coarsens):
            if when_full is WhenFull.LEAVE_OUT:
                return msgspec.structs.replace(result, is_listed=False)
            if not coarsens:
                raise RefusedError(
                    f"the share of crew {target.crew} in the table of revocations is used up"
                )
            entry = coarse_entry(target.crew, clocks.wall)
            result = msgspec.structs.replace(result, coarse=entry)
        try:
            is_new = self._enter(entry, entry.expires - clocks.wall, clocks)
        except TableFullError as error:
            if when_full is WhenFull.LEAVE_OUT:
                return msgspec.structs.replace(result, is_listed=False)
            mend = (
                f"remove the key that signs for it from the JWKS of crew {target.crew}, which ends "
                "all tokens of that key, and "
            )
            raise RefusedError(
                f"{error}, so {target.rules.label} {target.name} is not revoked: "
                f"{mend if target.crew else ''}raise [table] revocations"
            ) from error
        if is_new:
            shares.took(crew_key(entry.crew))
        self._journal.append(entry)
        if entry.coarsened:
            self.coarsened.note(target.crew, clocks.wall)
        return result

    def _is_within_share(
        self, target: RevocationTarget, key: str, shares: RevocationQuota, *, is_asked_for: bool
    ) -> bool:
        """Whether its crew has a place left for it; a crew that is not configured has no share."""
        share, crew = target.rules.share, crew_key(target.crew)
        if share is None or crew not in self._keys or key in self._entries:
            return True
        return shares.has_space(crew, share if is_asked_for else "overrun")

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
            rules = KINDS.get(entry.kind)
            if rules is None:
                continue
            is_known = self._table.revoked_before(entry.key) is not None
            is_free = rules.share != "branch" or is_known
            has_place = is_free or shares.has_space(entry.crew, "branch")
            if has_place and self._apply_remote(entry.key, entry, shares, clocks):
                keys.append(entry.key)
                continue
            then = clocks.wall
            if not is_news and not rules.has_own_end:
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
        most = KINDS[entry.kind].life_seconds_max + limits.clock_distrust_seconds
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
            name = table_key(EntityKind.KEY, key.crew, key.kid.encode())
            entry = self._entries.get(name.hex())
            left = 0 if entry is None else entry.expires - clocks.wall
            is_dead = entry is not None or self._table.revoked_before(name) is not None
            if not is_dead or left > limits.revocation_seconds / 2:
                continue
            entry = entry_for(RevocationTarget(EntityKind.KEY, key.kid, key.crew), clocks.wall)
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

    def _enter(self, entry: StoredRevocation, life: int, clocks: ClockReading) -> bool:
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
