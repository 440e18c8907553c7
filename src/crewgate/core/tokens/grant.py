"""A verified token as the rest of the system sees it: one grant for one branch.

Made only from claims whose signature, form and ceilings were checked; `quota` is already lowered
to the crew's ceiling. Says nothing about what was spent or revoked since.
"""

import msgspec

from crewgate.core import cross_crew_account
from crewgate.core.tokens.claims import Claims


class Grant(msgspec.Struct, frozen=True, gc=False):
    """One grant: the claims, the crew and key that verified them, and the 16-byte keys they name.

    `path_keys` are the ancestors' keys, root first; `path_digest` stands for all of them.
    """

    claims: Claims
    crew: str
    kid: str
    quota: int
    branch_key: bytes
    path_keys: tuple[bytes, ...]
    path_digest: bytes

    @property
    def branch(self) -> str:
        """UUID text of the branch."""
        return self.claims.execution_branch_id

    @property
    def orchestrator(self) -> str:
        """`<crew>/<name>` of the orchestrator that minted the grant."""
        return self.claims.client_id

    @property
    def caller(self) -> str:
        """The crew that calls; `crew` is the one that is charged (`cross_crew_account`)."""
        return cross_crew_account.caller(self.crew)

    @property
    def parent(self) -> str | None:
        """UUID text of the parent branch; None for a root."""
        path = self.claims.branch_path
        return path[-1].id if path else None
