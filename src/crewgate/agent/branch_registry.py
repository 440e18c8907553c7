"""Stores the identity of each branch: crew, orchestrator, role, process, parent and newest grant.

It learns from verified grants. Spent credit and revocations are in the table. The registry has the
capacity of the table. A journal keeps it, so a restarted agent still knows to which branch and
agent a reservation belonged.
"""

from collections.abc import Iterator, Sequence

import msgspec

from crewgate.agent.journal_file import JournalFile
from crewgate.core.audit.record_builder import IdentityFields
from crewgate.core.cross_crew_accounts import caller
from crewgate.core.ids import branch_key, uuid_bytes
from crewgate.core.policy.policy import CrewPolicy
from crewgate.core.tokens.grant import Grant
from crewgate.errors import ServiceRefusedError


class BranchEntry(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One branch; of an ancestor that never called, only its place, subject and quota are known.

    `grant` is the `jti` of the newest grant. The last line of a reclaimed branch is `forgotten`.
    """

    crew: str
    branch: str
    parent: str = ""
    orchestrator: str = ""
    role: str = ""
    process: str = ""
    grant: str = ""
    subject: str = ""
    quota: int = 0
    iat: int = 0
    exp: int = 0
    forgotten: bool = False


class BranchRegistry:
    """The branches of this machine's table by key; at most `entries_max`."""

    def __init__(self, journal: JournalFile[BranchEntry], entries_max: int) -> None:
        self._journal = journal
        self._entries_max = entries_max
        self._entries: dict[bytes, BranchEntry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[BranchEntry]:
        return iter(self._entries.values())

    def restore(self) -> None:
        """Load the journal of the last agent. Raises OSError."""
        for entry in self._journal.read():
            try:
                key = branch_key(entry.crew, entry.branch)
            except ValueError:
                # The line is damaged.
                continue
            if entry.forgotten:
                self._entries.pop(key, None)
            elif key in self._entries or len(self._entries) < self._entries_max:
                self._entries[key] = entry
        self._journal.rewrite(self)

    def get(self, key: bytes) -> BranchEntry | None:
        """Return the branch of a key; None if this machine has never seen it."""
        return self._entries.get(key)

    def whose(self, branch: str, crew: str, crews: Sequence[CrewPolicy]) -> str:
        """Return the crew of a branch. Raises ServiceRefusedError if that is ambiguous or unknown.

        Calls on another crew's tools have an account of their own (`core/cross_crew_accounts`).
        `crew` may be the name of that account or, once the branch was seen, of the calling crew.
        """
        try:
            uuid_bytes(branch)
        except ValueError as error:
            raise ServiceRefusedError(f"not a branch id: {error}") from error
        names = [each.name for each in crews]
        if crew:
            if crew not in names:
                raise ServiceRefusedError(f"no crew {crew!r}; configured are: {', '.join(names)}")
            own = [crew, *(name for name in names if name != crew and caller(name) == crew)]
            seen = [name for name in own if branch_key(name, branch) in self._entries]
            return seen[0] if seen else crew
        seen = [name for name in names if branch_key(name, branch) in self._entries]
        if not seen:
            raise ServiceRefusedError(
                f"this machine has never seen branch {branch}; if the id is right, name its crew: "
                f"--crew {'|'.join(names)}"
            )
        if len(seen) > 1:
            raise ServiceRefusedError(
                f"several crews have a branch {branch}; name one: --crew {'|'.join(seen)}"
            )
        return seen[0]

    def who(self, key: bytes) -> IdentityFields:
        """Return the audit fields of a branch, by its newest grant; empty ones if it is unknown."""
        entry = self._entries.get(key) or BranchEntry(crew="", branch="")
        return IdentityFields(
            crew=caller(entry.crew),
            orchestrator=entry.orchestrator,
            process=entry.process,
            role=entry.role,
            branch=entry.branch,
            ancestry=self.ancestry(entry),
            grant=entry.grant,
            subject=entry.subject,
        )

    def snapshot(self) -> dict[bytes, BranchEntry]:
        """Return a copy for another thread."""
        return dict(self._entries)

    def ancestry(self, entry: BranchEntry) -> tuple[str, ...]:
        """Return the UUIDs of the known ancestors of `entry`, root first."""
        above: list[str] = []
        while entry.parent and entry.parent not in above:
            above.append(entry.parent)
            parent = self._entries.get(branch_key(entry.crew, entry.parent))
            if parent is None:
                break
            entry = parent
        return tuple(reversed(above))

    def learn(self, grant: Grant) -> None:
        """Store the branch of a verified grant, and the ancestors that it names."""
        parent = ""
        for key, element in zip(grant.path_keys, grant.claims.branch_path, strict=True):
            if key not in self._entries:
                # All branches of a run have one subject.
                subject, quota = grant.claims.sub, element.credit_quota
                above = BranchEntry(grant.crew, element.id, parent, subject=subject, quota=quota)
                self._put(key, above)
            parent = element.id
        known = self._entries.get(grant.branch_key)
        # If two grants have the same iat, the lower quota governs, as in the ledger.
        if known is None or (known.iat, -known.quota) < (grant.claims.iat, -grant.quota):
            self._put(grant.branch_key, _entry(grant, parent))

    def forget(self, key: bytes) -> None:
        """Remove a branch that the table has reclaimed."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._journal.append(msgspec.structs.replace(entry, forgotten=True))

    def _put(self, key: bytes, entry: BranchEntry) -> None:
        if key in self._entries or len(self._entries) < self._entries_max:
            self._entries[key] = entry
            self._journal.append(entry)


def _entry(grant: Grant, parent: str) -> BranchEntry:
    claims = grant.claims
    return BranchEntry(
        crew=grant.crew,
        branch=grant.branch,
        parent=parent,
        orchestrator=claims.client_id,
        role=claims.agent_role,
        process=claims.process_id,
        grant=claims.jti,
        subject=claims.sub,
        quota=grant.quota,
        iat=claims.iat,
        exp=claims.exp,
    )
