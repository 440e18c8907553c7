"""Who each branch is: crew, orchestrator, role, process, parent, newest grant and its credits.

Learns from grants that were verified; knows nothing of credit spent or of revocations, which are
in the table. Bounded like the table, and kept in a journal, so that a restarted agent still knows
whom a reservation belonged to.
"""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from crewgate.agent.journal_file import JournalFile
from crewgate.core.audit.record_builder import IdentityFields
from crewgate.core.cross_crew_ids import caller
from crewgate.core.ids import branch_key, uuid_bytes
from crewgate.core.policy.policy import CrewPolicy
from crewgate.core.tokens.grant import Grant
from crewgate.errors import RefusedError


class BranchEntry(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One branch. Of an ancestor that never called, only its place and quota are known."""

    crew: str
    branch: str
    parent: str = ""
    orchestrator: str = ""
    role: str = ""
    process: str = ""
    grant: str = ""  # jti of the newest grant
    subject: str = ""
    quota: int = 0
    iat: int = 0
    exp: int = 0
    forgotten: bool = False  # the last line of a branch that the table has reclaimed


class BranchRegistry:
    """The branches of this machine's table by their keys; at most `entries_max`."""

    def __init__(self, journal: JournalFile[BranchEntry], entries_max: int) -> None:
        self._journal = journal
        self._entries_max = entries_max
        self._entries: dict[bytes, BranchEntry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[BranchEntry]:
        return iter(self._entries.values())

    def restore(self, entries: Iterable[BranchEntry]) -> None:
        """Begin with what a journal held, oldest first."""
        for entry in entries:
            try:
                key = branch_key(entry.crew, entry.branch)
            except ValueError:  # a damaged line
                continue
            if entry.forgotten:
                self._entries.pop(key, None)
            elif key in self._entries or len(self._entries) < self._entries_max:
                self._entries[key] = entry

    def get(self, key: bytes) -> BranchEntry | None:
        """The branch of this key, if it was ever seen here."""
        return self._entries.get(key)

    def whose(self, branch: str, crew: str, crews: Sequence[CrewPolicy]) -> str:
        """The crew whose `branch` is meant; RefusedError if that is not plain.

        A crew's run on another's tools is charged to an account of its own
        (`core/cross_crew_ids`): it is found by that name or, once it was seen, by the
        crew's.
        """
        try:
            uuid_bytes(branch)
        except ValueError as error:
            raise RefusedError(f"not a branch id: {error}") from error
        names = [each.name for each in crews]
        if crew:
            if crew not in names:
                raise RefusedError(f"no crew {crew!r}; configured are: {', '.join(names)}")
            own = [crew, *(name for name in names if name != crew and caller(name) == crew)]
            seen = [name for name in own if branch_key(name, branch) in self._entries]
            return seen[0] if seen else crew
        seen = [name for name in names if branch_key(name, branch) in self._entries]
        if not seen:
            raise RefusedError(
                f"no branch {branch} was seen on this machine; to revoke it unseen, "
                f"say whose it is: --crew {'|'.join(names)}"
            )
        if len(seen) > 1:
            raise RefusedError(
                f"several crews have a branch {branch}; say which: --crew {'|'.join(seen)}"
            )
        return seen[0]

    def who(self, key: bytes) -> IdentityFields:
        """What the audit says of a branch, by its newest grant; all empty if it was never seen."""
        entry = self._entries.get(key)
        if entry is None:
            return IdentityFields(
                crew="", orchestrator="", process="", role="", branch="", ancestry=(), grant="",
                subject="",
            )  # fmt: skip
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
        """A copy for another thread."""
        return dict(self._entries)

    def ancestry(self, entry: BranchEntry) -> tuple[str, ...]:
        """UUIDs above `entry`, root first, as far as they are known."""
        above: list[str] = []
        while entry.parent and entry.parent not in above:
            above.append(entry.parent)
            parent = self._entries.get(branch_key(entry.crew, entry.parent))
            if parent is None:
                break
            entry = parent
        return tuple(reversed(above))

    def learn(self, grant: Grant) -> None:
        """Remember the branch of a verified grant, and the ancestors that it names."""
        parent = ""
        for key, element in zip(grant.path_keys, grant.claims.branch_path, strict=True):
            if key not in self._entries:
                self._put(
                    key,
                    BranchEntry(
                        crew=grant.crew,
                        branch=element.id,
                        parent=parent,
                        quota=element.credit_quota,
                    ),
                )
            parent = element.id
        known = self._entries.get(grant.branch_key)
        # At equal iat the lower quota governs, like in the ledger.
        if known is None or (known.iat, -known.quota) < (grant.claims.iat, -grant.quota):
            self._put(grant.branch_key, _entry(grant, parent))

    def forget(self, key: bytes) -> None:
        """The table has reclaimed this branch."""
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
