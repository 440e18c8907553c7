"""Makes audit records of the revocations by other machines: what has ended, and by which machine.

Each revocation has one record, up to a number per second; further ones are only counted. If this
machine has never seen a branch, the record has the branch's key instead of its name.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

from crewgate import limits
from crewgate.agent.branch_registry import BranchRegistry
from crewgate.core import cross_crew_accounts
from crewgate.core.actors import ActorKind
from crewgate.core.audit.records import Record, RevocationRecord, ServiceEvent, when
from crewgate.core.gossip.capsules import RevocationEntry
from crewgate.core.ids import EntityKind
from crewgate.core.policy.policy import CrewPolicy
from crewgate.core.revocation_kinds import KINDS


class RemoteRevocationAudit:
    """Makes the records. `name_of` returns the name of a member."""

    def __init__(self, registry: BranchRegistry, name_of: Callable[[bytes], str]) -> None:
        self._registry = registry
        self._name_of = name_of
        self._second = 0
        # The records in that second, and the revocations without a record.
        self._written = 0
        self._more = 0

    def records(
        self,
        entries: Sequence[RevocationEntry],
        origins: Sequence[bytes],
        crews: Mapping[bytes, CrewPolicy],
        wall_ns: int,
    ) -> Iterator[Record]:
        """Yield the records of `entries`; `origins` has the member of each."""
        yield from self.rest(wall_ns)
        for entry, origin in zip(entries, origins, strict=True):
            if entry.kind not in KINDS:
                continue
            if self._written >= limits.foreign_records_per_second:
                self._more += 1
                continue
            self._written += 1
            named = entry.key if entry.kind == EntityKind.CREW else entry.crew
            yield self._record(entry, origin, crews.get(named), wall_ns)

    def rest(self, wall_ns: int) -> Iterator[ServiceEvent]:
        """Yield how many revocations had no record in earlier seconds, if any; call it often."""
        if wall_ns // 10**9 == self._second:
            return
        self._second, self._written = wall_ns // 10**9, 0
        more, self._more = self._more, 0
        if more:
            text = "revocations by other machines, without a record of each"
            yield ServiceEvent(time=when(wall_ns), event="revocations", detail=text, count=more)

    def _record(
        self, entry: RevocationEntry, origin: bytes, crew: CrewPolicy | None, wall_ns: int
    ) -> RevocationRecord:
        who = self._registry.who(entry.key if entry.kind == EntityKind.BRANCH else b"")
        who["crew"] = cross_crew_accounts.caller(crew.name) if crew else ""
        whole = crew.name if crew and entry.kind == EntityKind.CREW else ""
        return RevocationRecord(
            **who,
            time=when(wall_ns),
            target=KINDS[entry.kind].label,
            id=who["branch"] or whole or entry.key.hex(),
            by=ActorKind.GATEWAY.named(self._name_of(origin)),
        )
