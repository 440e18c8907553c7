"""An orchestrator whose requests come by the control API."""

from crewgate.api.backend import TokenRequest
from crewgate.issuer.branches.branch_issuer import GrantChange
from crewgate.issuer.journal.journal_entries import ORCHESTRATOR, GrantWay
from crewgate.issuer.orchestrator import Orchestrator
from crewgate.issuer.parameters import amount


class APIOrchestrator(Orchestrator):
    """An orchestrator of the token endpoint; its journal says that each request came by the API."""

    _way = GrantWay.API

    def extend(self, branch: str, grant: TokenRequest) -> str:
        """Mint the next grant of a branch, as `refresh` does, and return its token.

        Suppose that the client asks for one of its sub-agents, and that its code has not decided.
        Then `grant.decided_by` is "policy", and the limits of the crew decide alone.
        """
        change = GrantChange(
            quota=amount(grant.credits) if grant.credits else None,
            tools=[*grant.tools] if grant.tools else None,
            seconds=grant.seconds,
            binding=grant.binding,
            reason=grant.reason,
            way=self._way,
            decided_by=grant.decided_by or ORCHESTRATOR,
        )
        return self._issuer.extend(branch, change)
