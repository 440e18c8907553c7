"""The handle of one branch, which the code of a sub-agent holds.

The orchestrator holds the token of the branch and renews it. Threads may share a handle.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from crewgate.core.tokens.claims import Claims, Confirmation
from crewgate.issuer.parameters import branch_id

if TYPE_CHECKING:
    from crewgate.issuer.branches.local_gateway import RevocationReceipt
    from crewgate.issuer.extensions.extension_decider import ExtensionResult
    from crewgate.issuer.orchestrator import Orchestrator
    from crewgate.issuer.processes.sub_agent_process import SubAgentProcess
    from crewgate.issuer.processes.sub_agent_processes import SubAgentCommand


class SubAgent:
    """The handle of one branch: a run of the crew, or a sub-agent of a run.

    Attributes:
        branch: The id of the branch, as UUID text.
        role: A word for what the agent does.
    """

    __slots__ = ("_orchestrator", "branch", "role")

    def __init__(self, orchestrator: "Orchestrator", branch: str, role: str) -> None:
        self._orchestrator = orchestrator
        self.branch = branch
        self.role = role

    def __repr__(self) -> str:
        return f"<SubAgent {self.role} {self.branch}>"

    @property
    def claims(self) -> Claims:
        """The claims of the newest token of the branch.

        Raises:
            BranchRevokedError: The branch was revoked.
            IssuerError: The orchestrator does not know the branch.
        """
        return self._orchestrator.claims(self.branch)

    def token(self) -> str:
        """Return the newest token of the branch, or mint a new one if that token ends soon.

        A token ends soon if both less than 300 s and less than a third of its lifetime are left.
        If the orchestrator cannot mint a new token, this method returns the last token until that
        has expired.

        Raises:
            BranchRevokedError: This orchestrator has revoked the branch, or has learned that the
                branch is revoked. The orchestrator asks the gateway only when it mints; until then
                this method returns a token that gateways refuse.
            ServiceConnectionError: The gateway that signs cannot be reached
                (`remote_orchestrator`), and the last token has expired.
            IssuerError: The orchestrator cannot mint a new token, and the last one has expired.
        """
        return self._orchestrator.token(self.branch)

    def has_fresh_token(self) -> bool:
        """Return whether `token` returns or raises at once: it needs no new token."""
        return self._orchestrator.has_fresh_token(self.branch)

    def refresh(
        self,
        *,
        credits: str | None = None,  # noqa: A002 - the field's word
        tools: Sequence[str] | None = None,
        seconds: int | None = None,
        binding: Confirmation | None = None,
        overcommit: bool = False,
        reason: str = "",
    ) -> str:
        """Mint a new token now, as `Orchestrator.refresh` does for this branch."""
        return self._orchestrator.refresh(
            self,
            credits=credits,
            tools=tools,
            seconds=seconds,
            binding=binding,
            overcommit=overcommit,
            reason=reason,
        )

    def request_extension(
        self,
        *,
        more_seconds: int | None = None,
        more_credits: str = "0",
        more_tools: Sequence[str] = (),
        reason: str = "",
    ) -> "ExtensionResult":
        """Ask for more time, credits or tools; the result says whether the branch has got it.

        The callback `decide` of the orchestrator decides, within `extensions_max`,
        `extension_seconds_max` and `extension_credits_max` of the crew. Without a callback, these
        limits decide alone: then they must be set, and no tools are added. The journal gets a line
        with the request and the decision. A sub-agent that asks too often is refused.

        Args:
            more_seconds: Seconds by which the branch is to end later.
            more_credits: Credits to add, as decimal text.
            more_tools: Names and patterns of tools to add.
            reason: Why, for the one who decides and for the journal: 500 characters.

        Raises:
            BranchRevokedError: The branch, or one above it, was revoked.
            JournalError: The journal cannot be written; nothing was granted.
            ServiceConnectionError: The gateway cannot be reached.
            IssuerError: A parameter is malformed, or the orchestrator does not know the branch.
        """
        return self._orchestrator.request_extension(
            self,
            more_seconds=more_seconds,
            more_credits=more_credits,
            more_tools=more_tools,
            reason=reason,
        )

    def spawn(
        self,
        *,
        role: str,
        tools: Sequence[str],
        credits: str,  # noqa: A002 - the field's word
        binding: Confirmation | None = None,
        overcommit: bool = False,
        seconds: int | None = None,
        command: "Sequence[str] | SubAgentCommand | None" = None,
        reason: str = "",
    ) -> "SubAgent":
        """Mint a new branch below this one, as `Orchestrator.spawn` does."""
        return self._orchestrator.spawn(
            role=role,
            parent=self,
            tools=tools,
            credits=credits,
            binding=binding,
            overcommit=overcommit,
            seconds=seconds,
            command=command,
            reason=reason,
        )

    @property
    def process(self) -> "SubAgentProcess | None":
        """The process that was started for this branch (`command`); None without one."""
        return self._orchestrator.process(self)

    def revoke(self, *, reason: str = "") -> "RevocationReceipt | None":
        """Revoke this branch and all below it, as `Orchestrator.revoke` does."""
        return self._orchestrator.revoke(self, reason=reason)

    def write_token_file(self, path: Path | str, *, seconds: int | None = None) -> None:
        """Keep a fresh token in a file (0600), as `Orchestrator.write_token_file` does."""
        self._orchestrator.write_token_file(self, path, seconds=seconds)


def branch_of(agent: SubAgent | str) -> str:
    """Return the id of a handle's branch, or the given id.

    Raises:
        IssuerError: The text is not a UUID.
    """
    return agent.branch if isinstance(agent, SubAgent) else branch_id(agent)
