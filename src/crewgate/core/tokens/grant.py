"""A verified token: one grant for one branch.

A `Grant` is made only from claims whose signature, form and ceilings were checked. It does not show
what has been spent or revoked since.
"""

import msgspec

from crewgate.core import cross_crew_call_ids
from crewgate.core.tokens.claims import Claims


class Grant(msgspec.Struct, frozen=True, gc=False):
    """The claims of a token, the crew and key that verified them, and the table keys they name.

    `quota` (micro-credits) is the claimed one, at most the crew's ceiling. `branch_key` has 16
    bytes. `path_keys` are the ancestors' keys, root first, and `path_digest` is their digest.
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
        """The UUID text of the branch."""
        return self.claims.execution_branch_id

    @property
    def orchestrator(self) -> str:
        """The orchestrator that minted the grant, as `<crew>/<name>`."""
        return self.claims.client_id

    @property
    def caller(self) -> str:
        """The crew that calls; `crew` is the account that pays (`cross_crew_call_ids`)."""
        return cross_crew_call_ids.caller(self.crew)

    @property
    def parent(self) -> str | None:
        """The UUID text of the parent branch; None for a root."""
        path = self.claims.branch_path
        return path[-1].id if path else None
