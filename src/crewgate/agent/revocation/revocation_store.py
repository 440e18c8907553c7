"""Enters revocations into the table and the journal, within each crew's share of the table.

Every process sees the keys in the table at once. A new table, after a reboot, gets them from the
journal. `revocation_notifier` has open calls ended. A revocation cannot be undone: it only expires.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from crewgate import limits
from crewgate._native.table_owner import OwnedTable
from crewgate.agent.branch_registry import BranchRegistry
from crewgate.agent.journal_file import JournalFile
from crewgate.agent.revocation.coarsened_crews import CoarsenedCrews
from crewgate.agent.revocation.crew_table_quota import CrewTableQuota
from crewgate.agent.revocation.types import (
    BY_OWNER,
    ClockReading,
    LocalRevocationResult,
    RevocationCause,
    StoredRevocation,
    coarse_entry,
    entry_for,
)
from crewgate.core.cross_crew_accounts import caller, is_account, may_be_run
from crewgate.core.gossip import capsules
from crewgate.core.ids import EntityKind, crew_key, table_key
from crewgate.core.policy.policy import CrewPolicy, VerificationKey
from crewgate.core.revocation_kinds import KINDS, RevocationTarget, WhenFull
from crewgate.errors import ServiceRefusedError, TableFullError

_CREW = re.compile(r"[a-z0-9][a-z0-9_-]*", re.ASCII)
# In whose name a target of all crews is entered; no token has this key.
_ALL_CREWS = crew_key("")


class RevocationStore:
    """The revocations of this machine; `coarsened` has the crews whose share is full."""

    def __init__(
        self, table: OwnedTable, journal: JournalFile[StoredRevocation], registry: BranchRegistry
    ) -> None:
        self._table = table
        self._journal = journal
        self._registry = registry
        self.coarsened = CoarsenedCrews()
        self._entries: dict[str, StoredRevocation] = {}
        self._crews: Sequence[CrewPolicy] = ()
        # The crews of the policy by key.
        self.by_key: Mapping[bytes, CrewPolicy] = {}
        # When `keep` last checked the signing keys.
        self._kept_at = -limits.revoked_keys_check_seconds

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[StoredRevocation]:
        return iter(self._entries.values())

    def load(self, crews: Sequence[CrewPolicy]) -> None:
        """Use the crews of this policy from now on."""
        self._crews, self.by_key = crews, {crew_key(crew.name): crew for crew in crews}

    def restore(self, entries: Iterable[StoredRevocation], clocks: ClockReading) -> int:
        """Enter the revocations of a journal; return for how many the table has no room.

        The wall clock may be wrong at start, so an entry is dropped only if it expired more than
        `limits.clock_distrust_seconds` ago.
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
        clocks: ClockReading,
        *,
        coarsens: bool = True,
        cause: RevocationCause = BY_OWNER,
    ) -> list[LocalRevocationResult]:
        """Revoke all requested targets, or none.

        If the table has no room for the same branch on a crossing's account, this raises although
        the branch itself is revoked on this machine. To announce it, revoke again with more room.

        If the crew's share of the table is full, revoke all tokens issued to the crew until now
        instead; the table has a place of its own for that. Without `coarsens`, which is for
        revocations that no person has asked for, use only half of the share. A certificate or
        signing key without a place never affects the crew: CRL, OCSP and JWKS exclude it as well.
        The results for targets that were not requested are the last ones.

        Raises ServiceRefusedError if a target's crew is ambiguous, if a name is invalid, or if the
        table has no room for a target that nothing else would stop.
        """
        wanted = []
        for target in targets:
            owned = msgspec.structs.replace(target, crew=self._whose(target))
            wanted.append(LocalRevocationResult(owned, entry_for(owned, clocks.wall, cause)))
        # The target that may be refused goes first, so that all targets are revoked, or none.
        wanted.sort(key=lambda each: each.target.rules.when_full is WhenFull.LEAVE_OUT)
        if any(each.target.rules.when_full is not WhenFull.LEAVE_OUT for each in wanted[1:]):
            raise ServiceRefusedError(
                "one step revokes at most one branch, grant, process, crew or orchestrator, with "
                "any certificates and keys; send a request for each"
            )
        for requested in tuple(wanted):
            wanted += self._on_accounts(requested.target, clocks, cause)
        shares = self._shares()
        return [self._revoke(each, shares, clocks, coarsens=coarsens) for each in wanted]

    def _on_accounts(
        self, target: RevocationTarget, clocks: ClockReading, cause: RevocationCause
    ) -> Iterator[LocalRevocationResult]:
        """Yield the same branch on each account of the calling crew, if it may be one of these.

        The audit names the crew only, and with a new table the agent does not know the account.
        """
        if target.kind is not EntityKind.BRANCH or not may_be_run(target.name):
            return
        if self._registry.get(target.key) is not None:
            return
        for crew in self._crews:
            if is_account(crew.name) and caller(crew.name) == target.crew:
                owned = msgspec.structs.replace(target, crew=crew.name)
                wanted = entry_for(owned, clocks.wall, cause)
                yield LocalRevocationResult(owned, wanted, is_requested=False)

    def _whose(self, target: RevocationTarget) -> str:
        """Return the crew of a target. Raises ServiceRefusedError if it is ambiguous or invalid."""
        rules = target.rules
        if rules.kind is EntityKind.BRANCH:
            return self._registry.whose(target.name, target.crew, self._crews)
        if not target.crew and rules.spans_crews:
            return ""
        if not rules.of_configured_crew:
            if target.crew and not _CREW.fullmatch(target.crew):
                raise ServiceRefusedError(f"{target.crew!r} cannot be the name of a crew")
            return target.crew
        # The name of a grant or process does not tell the crew, and accounts have no tokens.
        named = target.name if rules.kind is EntityKind.CREW else target.crew
        names = [each.name for each in self._crews if not is_account(each.name)]
        if not named:
            owned = "" if rules.kind is EntityKind.CREW else f" of the {rules.label}"
            raise ServiceRefusedError(f"name the crew{owned}: --crew {'|'.join(names)}")
        if named not in names:
            raise ServiceRefusedError(
                f"{named[:64]!r} is no crew that has tokens; configured are: {', '.join(names)}"
            )
        return named

    def _revoke(
        self,
        result: LocalRevocationResult,
        shares: CrewTableQuota,
        clocks: ClockReading,
        *,
        coarsens: bool,
    ) -> LocalRevocationResult:
        target, entry, when_full = result.target, result.wanted, result.target.rules.when_full
        if not self._is_within_share(target, entry.key, shares, is_asked_for=coarsens):
            if when_full is WhenFull.LEAVE_OUT:
                return msgspec.structs.replace(result, is_listed=False)
            if not coarsens:
                raise ServiceRefusedError(
                    f"the share of crew {target.crew} in the table of revocations is full"
                )
            cause = RevocationCause(entry.by, entry.reason)
            entry = coarse_entry(target.crew, clocks.wall, cause)
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
            raise ServiceRefusedError(
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
        self, target: RevocationTarget, key: str, shares: CrewTableQuota, *, is_asked_for: bool
    ) -> bool:
        """Return whether the crew's share has a place; an unknown crew is not limited."""
        share, crew = target.rules.share, crew_key(target.crew)
        if share is None or crew not in self.by_key or key in self._entries:
            return True
        return shares.has_space(crew, share if is_asked_for else "overrun")

    def apply_remote(
        self,
        entries: Iterable[capsules.RevocationEntry],
        clocks: ClockReading,
        *,
        is_news: bool = True,
    ) -> tuple[list[bytes], bool]:
        """Enter revocations of other machines; return the keys, and whether all had a place.

        If a crew's share here is full, revoke all tokens issued to the crew until now instead. An
        entry that is no news was on this machine's disk: then revoke those issued until its own
        time. Kinds of a later version are ignored. The disks of all members keep the entries.
        """
        keys, has_room, shares = [], True, self._shares()
        for entry in entries:
            rules = KINDS.get(entry.kind)
            if rules is None:
                continue
            is_known = self._table.revoked_before(entry.key) is not None
            is_of_all = rules.spans_crews and entry.crew == _ALL_CREWS
            is_free = rules.share != "branch" or is_known or is_of_all
            has_place = is_free or shares.has_space(entry.crew, "branch")
            if has_place and self._apply_remote(entry.key, entry, shares, clocks):
                keys.append(entry.key)
                continue
            # To revoke the tokens of one crew would not do for a target of all crews.
            if is_of_all:
                has_room = False
                continue
            at = clocks.wall
            if not is_news and not rules.has_own_end:
                at = min(at, entry.expires - limits.revocation_seconds)
            coarse = entry._replace(before=at + limits.leeway_seconds)
            if self._apply_remote(entry.crew, coarse, shares, clocks):
                keys.append(entry.crew)
                known = self.by_key.get(entry.crew)
                self.coarsened.note(known.name if known else entry.crew.hex(), clocks.wall)
            else:
                has_room = False
        return keys, has_room

    def _apply_remote(
        self,
        key: bytes,
        entry: capsules.RevocationEntry,
        shares: CrewTableQuota,
        clocks: ClockReading,
    ) -> bool:
        """Enter one key; return False if there is no room.

        The clock of its origin may be years ahead, so the duration has a maximum.
        """
        life_max = KINDS[entry.kind].life_seconds_max + limits.clock_distrust_seconds
        life = max(0, min(entry.expires - clocks.wall, life_max))
        try:
            is_new = self._table.revoke(key, entry.crew, entry.before, life, *clocks)
        except TableFullError:
            return False
        if is_new:
            shares.took(entry.crew)
        return True

    def crowded(self) -> list[str] | None:
        """Return the crews whose next revocation revokes all their tokens; None for every crew."""
        shares = self._shares()
        if shares.is_coarse:
            return None
        crews = self.by_key.items()
        return [crew.name for key, crew in crews if not shares.has_space(key, "branch")]

    def tidy(self, clocks: ClockReading) -> None:
        """Drop entries that expired long ago."""
        for key, entry in list(self._entries.items()):
            if entry.expires + limits.clock_distrust_seconds < clocks.wall:
                del self._entries[key]
        self.coarsened.tidy(clocks.wall)

    def keep(self, keys: Iterable[VerificationKey], clocks: ClockReading) -> list[VerificationKey]:
        """Renew the revocations of signing keys that a JWKS still has; return the renewed keys.

        Anything else has expired before its revocation does, but such a key could sign new tokens.
        It checks the keys once a minute.
        """
        if abs(clocks.wall - self._kept_at) < limits.revoked_keys_check_seconds:
            return []
        self._kept_at, kept = clocks.wall, []
        for key in keys:
            name = table_key(EntityKind.KEY, key.crew, key.kid.encode())
            entry = self._entries.get(name.hex())
            left = 0 if entry is None else entry.expires - clocks.wall
            is_revoked = entry is not None or self._table.revoked_before(name) is not None
            if not is_revoked or left > limits.revocation_seconds / 2:
                continue
            entry = entry_for(RevocationTarget(EntityKind.KEY, key.kid, key.crew), clocks.wall)
            try:
                self._enter(entry, limits.revocation_seconds, clocks)
            except TableFullError:
                # Try again in a minute.
                break
            self._journal.append(entry)
            kept.append(key)
        return kept

    def _shares(self) -> CrewTableQuota:
        return CrewTableQuota(self._table, self.by_key)

    def _enter(self, entry: StoredRevocation, life: int, clocks: ClockReading) -> bool:
        """Return whether the entry takes another place. Raises TableFullError."""
        key, crew = bytes.fromhex(entry.key), crew_key(entry.crew)
        is_new = self._table.revoke(key, crew, entry.before, life, *clocks)
        known = self._entries.get(entry.key)
        # As in the table, neither time moves back. The cause is that of the first order, unless
        # only a later one says why.
        if known is not None:
            first = entry if entry.reason and not known.reason else known
            entry = msgspec.structs.replace(
                entry,
                before=max(entry.before, known.before),
                expires=max(entry.expires, known.expires),
                at=first.at,
                by=first.by,
                reason=first.reason,
            )
        self._entries[entry.key] = entry
        return is_new
