"""The handle of one branch that an orchestrator minted; what a sub-agent's code holds.

Holds no token itself: the orchestrator does, and renews it. Safe to share between threads.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from crewgate.core.tokens.claims import Claims
from crewgate.issuer.parameters import branch_id

if TYPE_CHECKING:
    from crewgate.issuer.gateway import RevocationReceipt
    from crewgate.issuer.orchestrator import Orchestrator


class SubAgent:
    """One branch: a pipeline run or a sub-agent below it. `branch` is its UUID text."""

    __slots__ = ("_orchestrator", "branch", "role")

    def __init__(self, orchestrator: "Orchestrator", branch: str, role: str) -> None:
        self._orchestrator = orchestrator
        self.branch = branch
        self.role = role

    def __repr__(self) -> str:
        return f"<SubAgent {self.role} {self.branch}>"

    @property
    def claims(self) -> Claims:
        """What its newest token says.

        Raises:
            BranchRevokedError: The branch was revoked.
            IssuerError: The branch is not known to the orchestrator.
        """
        return self._orchestrator.claims(self.branch)

    def token(self) -> str:
        """A token that is good for minutes: the last one, or a new one before that expires.

        Each new one is journalled. If a new one cannot be had, the last one is returned as long as
        it lives.

        Raises:
            BranchRevokedError: The branch was revoked.
            LinkError: The gateway that signs cannot be asked (`Orchestrator.remote`).
            IssuerError: No new one can be had, and the last one has ended.
        """
        return self._orchestrator.token(self.branch)

    def refresh(
        self,
        *,
        credits: str | None = None,  # noqa: A002 - the field's word
        tools: Sequence[str] | None = None,
        overcommit: bool = False,
        reason: str = "",
    ) -> str:
        """A new token now, perhaps with other credits or tools; all as `Orchestrator.refresh`."""
        return self._orchestrator.refresh(
            self, credits=credits, tools=tools, overcommit=overcommit, reason=reason
        )

    def revoke(self, *, reason: str = "") -> "RevocationReceipt | None":
        """Revoke this branch and all below it; all as `Orchestrator.revoke`."""
        return self._orchestrator.revoke(self, reason=reason)

    def write_token_file(self, path: Path | str) -> None:
        """Keep a fresh token in a file (0600); all as `Orchestrator.write_token_file`."""
        self._orchestrator.write_token_file(self, path)


def branch_of(agent: SubAgent | str) -> str:
    """The UUID text of a handle's branch, or the text itself.

    Raises:
        IssuerError: The text is no UUID.
    """
    return agent.branch if isinstance(agent, SubAgent) else branch_id(agent)
