"""A verified token: one grant for one branch.

A `Grant` is made only from claims whose signature, form and ceilings were checked. It does not show
what has been spent or revoked since.
"""

import msgspec

from crewgate.core import cross_crew_accounts
from crewgate.core.tokens.claims import Claims


class Grant(msgspec.Struct, frozen=True, gc=False):
    """The claims of a verified token, and what they mean on this machine.

    Attributes:
        claims: The claims of the token.
        crew: The account that pays. This is the crew of the token; for a call with a certificate
            alone, it is `<caller's crew>:<owner of the tool>`.
        kid: The id of the key that signed the token.
        quota: Micro-credits of the branch: as claimed, but at most the crew's maximum.
        branch_key: The key of the branch in the table (16 bytes).
        path_keys: The keys of the ancestors in the table, the root first.
        path_digest: A digest of `path_keys`.
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
        """The name of the crew that calls: the first part of `crew`, if it names two crews."""
        return cross_crew_accounts.caller(self.crew)

    @property
    def parent(self) -> str | None:
        """The UUID text of the parent branch; None for a run, which has no parent."""
        path = self.claims.branch_path
        return path[-1].id if path else None
