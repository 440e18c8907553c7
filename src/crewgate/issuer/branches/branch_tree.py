"""The tree of an orchestrator's branches, with their newest grants and their revocations.

`apply` takes over each line of the journal, both after a crash and while the orchestrator runs, so
the two states cannot differ. The module reads no clock, asks no gateway and mints nothing.
"""

from collections.abc import Iterator, Mapping

from crewgate import limits
from crewgate.core.credits import format_credits
from crewgate.core.tokens.claims import Claims, PathElement
from crewgate.errors import BranchRevokedError, IssuerError, ScopeError
from crewgate.issuer.journal.journal_entries import (
    BranchRevoked,
    ExtensionRecord,
    ExtensionRefused,
    JournalEntry,
    MintRecord,
)
from crewgate.issuer.mint import check_within


class IssuedBranch:
    """One branch: its newest grant, what extensions have added, its parent and its children.

    Attributes:
        claims: The newest claims.
        ends_at: When it ends unless it gets an extension, in wall-clock seconds; None is no such
            time.
        extensions: The number of its grants after the first one.
        first_exp: When its first token ended, in wall-clock seconds.
        first_quota: The micro-credits of its first token.
        parent: The id of the branch above; None for a run.
        children: The ids of the branches directly below.
        refused_grant: The `jti` of the newest grant whose renewal was refused.
    """

    __slots__ = (
        "children",
        "claims",
        "ends_at",
        "extensions",
        "first_exp",
        "first_quota",
        "parent",
        "refused_grant",
    )

    def __init__(self, claims: Claims, ends_at: int | None = None) -> None:
        self.claims, self.ends_at = claims, ends_at
        self.extensions = 0
        self.first_exp, self.first_quota = claims.exp, claims.credit_quota
        self.parent = claims.branch_path[-1].id if claims.branch_path else None
        self.children: set[str] = set()
        self.refused_grant = ""

    def extend(self, entry: ExtensionRecord) -> None:
        """Take over a further grant. A line of another journal may be older than the newest one."""
        self.extensions += 1
        self.ends_at = entry.ends_at
        if entry.claims.iat >= self.claims.iat:
            self.claims = entry.claims


class BranchTree:
    """All branches that one orchestrator knows. Ids are UUID texts; amounts are micro-credits."""

    def __init__(self) -> None:
        self._branches: dict[str, IssuedBranch] = {}
        self._revoked: set[str] = set()

    def __len__(self) -> int:
        return len(self._branches)

    def apply(self, entry: JournalEntry) -> list[str]:
        """Take over a line of the journal; return the branches that it revoked, parents first."""
        if isinstance(entry, BranchRevoked):
            return self._revoke(entry.branch)
        if isinstance(entry, ExtensionRefused):
            known = self._branches.get(entry.branch)
            if known is not None and entry.is_renewal:
                known.refused_grant = entry.grant
            return []
        known = self._branches.get(entry.claims.execution_branch_id)
        if known is None:
            self._add(entry)
        elif isinstance(entry, ExtensionRecord):
            known.extend(entry)
        return []

    def _add(self, entry: MintRecord | ExtensionRecord) -> None:
        claims = entry.claims
        branch, name = IssuedBranch(claims, entry.ends_at), claims.execution_branch_id
        if isinstance(entry, ExtensionRecord):  # its first grant is in no journal of this machine
            branch.extensions = 1
            branch.first_exp -= entry.seconds
            branch.first_quota -= entry.credits
        self._branches[name] = branch
        if branch.parent in self._branches:
            self._branches[branch.parent].children.add(name)
        if any(element.id in self._revoked for element in claims.branch_path):
            self._revoked.add(name)

    def knows(self, branch: str) -> bool:
        """Whether the branch was minted here and is not forgotten; it may be revoked."""
        return branch in self._branches

    def crew_of(self, branch: str) -> str:
        """Return the crew of a branch, revoked or not; empty if it was not minted here."""
        known = self._branches.get(branch)
        return known.claims.crew if known is not None else ""

    def runs_of(self, subject: str) -> list[Claims]:
        """Return the newest claims of the runs that act on behalf of `subject`, revoked or not."""
        runs = [each.claims for each in self._branches.values() if each.parent is None]
        return [claims for claims in runs if claims.sub == subject]

    def is_revoked(self, branch: str) -> bool:
        """Whether the branch was revoked here, by itself or with an ancestor."""
        return branch in self._revoked

    def living(self, branch: str) -> IssuedBranch:
        """Return the branch with an id.

        Raises:
            BranchRevokedError: The branch was revoked.
            IssuerError: The branch was not minted here.
        """
        if branch in self._revoked:
            raise BranchRevokedError(
                f"branch {branch} was revoked: it gets no further token; start or spawn another"
            )
        known = self._branches.get(branch)
        if known is None:
            raise IssuerError(f"branch {branch} is not known to this orchestrator")
        return known

    def path_of(self, claims: Claims) -> list[PathElement]:
        """Return the ancestors of a branch, each with its newest grant."""
        return [self._newest(element) for element in claims.branch_path]

    def live_children(self, branch: str, now: float) -> list[str]:
        """Return the children that can still spend, or have a branch below that can."""
        return [child for child in self._branches[branch].children if self.can_spend(child, now)]

    def relatives(self, branch: str, now: float) -> set[str]:
        """Return a branch that is not revoked, its ancestors, its live children and siblings."""
        known = self.living(branch)
        found = {branch, *(element.id for element in known.claims.branch_path)}
        found.update(self.live_children(branch, now))
        if known.parent in self._branches:
            found.update(self.live_children(known.parent, now))
        return found

    def can_spend(self, branch: str, now: float) -> bool:
        """Whether the branch, or one below it, has a token that gateways may still accept."""
        known = self._branches[branch]
        if branch in self._revoked:
            return False
        return known.claims.exp + limits.leeway_seconds >= now or any(
            self.can_spend(child, now) for child in known.children
        )

    def check_credits_fit(
        self, parent: Claims, wanted: Mapping[str, int], spent: Mapping[str, int], now: float
    ) -> None:
        """Refuse new or changed children that together hold more credits than `parent` has left.

        `wanted` has the credits of these children. `spent` is as for `_commitments`.

        Raises:
            ScopeError: The credits of the live and the wanted children do not fit.
        """
        branch, quota = parent.execution_branch_id, parent.credit_quota
        held, own = self._commitments(branch, wanted, spent, now)
        if held + own > quota:
            raise ScopeError(
                f"branch {branch} has {format_credits(quota)} credits: its live children would "
                f"hold {format_credits(held)}, and the branch itself and its ended children have "
                f"spent {format_credits(own)}; ask for less, or revoke a child"
            )

    def _check_reduction(self, reduced: Claims, spent: Mapping[str, int], now: float) -> None:
        """Refuse to give a branch fewer credits than it has spent and its live children hold.

        Raises:
            ScopeError: The claims `reduced` have fewer credits.
        """
        branch, quota = reduced.execution_branch_id, reduced.credit_quota
        held, own = self._commitments(branch, {}, spent, now)
        if held + own > quota:
            raise ScopeError(
                f"branch {branch} cannot have only {format_credits(quota)} credits: its live "
                f"children hold {format_credits(held)}, and the branch itself and its ended "
                f"children have spent {format_credits(own)}; give it at least "
                f"{format_credits(held + own)}" + (", or revoke a child" if held else "")
            )

    def _commitments(
        self, branch: str, wanted: Mapping[str, int], spent: Mapping[str, int], now: float
    ) -> tuple[int, int]:
        """Return the credits that the live and wanted children hold, and those that are spent.

        `spent` has what each branch and all below it have spent; a missing branch has spent
        nothing. The spending of a live child is within its own credits, so only the rest of the
        branch's spending counts on its own: that of the branch itself and of ended children.
        """
        children = {
            child: self._branches[child].claims.credit_quota
            for child in self.live_children(branch, now)
        }
        own = max(spent.get(branch, 0) - sum(spent.get(child, 0) for child in children), 0)
        return sum({**children, **wanted}.values()), own

    def check_extension(
        self, claims: Claims, spent: Mapping[str, int], now: float, *, overcommit: bool
    ) -> None:
        """Refuse a further grant whose `claims` are not within the parent's, or do not fit.

        Raises:
            ScopeError: The parent does not allow the tools or credits, or they do not fit.
            IssuerError: The parent is not known here.
        """
        branch, quota = claims.execution_branch_id, claims.credit_quota
        before = self.living(branch).claims.credit_quota
        if claims.branch_path:
            parent = self.living(claims.branch_path[-1].id).claims
            check_within(parent, claims.allowed_tools, quota)
            if not overcommit and (quota > before or not self.can_spend(branch, now)):
                self.check_credits_fit(parent, {branch: quota}, spent, now)
        if not overcommit and quota < before:
            self._check_reduction(claims, spent, now)

    def forget_ended(self, now: float) -> None:
        """If there are too many branches, forget those that cannot spend any more.

        Raises:
            IssuerError: The orchestrator has as many live branches as it may have.
        """
        if len(self._branches) < limits.issuer_branches_max:
            return
        for branch in [*self._branches]:
            if not self.can_spend(branch, now):
                self._forget(branch)
        if len(self._branches) >= limits.issuer_branches_max:
            raise IssuerError(
                f"{limits.issuer_branches_max} branches are live, and an orchestrator may have no "
                "more; wait until some expire, or revoke some"
            )

    def _newest(self, element: PathElement) -> PathElement:
        known = self._branches.get(element.id)
        if known is None:
            return element
        return PathElement(element.id, known.claims.credit_quota, known.claims.iat)

    def _revoke(self, branch: str) -> list[str]:
        revoked = [each for each in self._below(branch) if each not in self._revoked]
        self._revoked.update(revoked)
        return revoked

    def _below(self, branch: str) -> Iterator[str]:
        yield branch
        known = self._branches.get(branch)
        for child in known.children if known else ():
            yield from self._below(child)

    def _forget(self, branch: str) -> None:
        # A forgotten branch is unknown, and so gets no token, like a revoked one.
        known = self._branches.pop(branch)
        self._revoked.discard(branch)
        if known.parent in self._branches:
            self._branches[known.parent].children.discard(branch)
