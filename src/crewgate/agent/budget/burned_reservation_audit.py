"""Makes audit records of burned reservations, with the identity of their branches and agents."""

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Literal

from crewgate import limits
from crewgate._native.records import BurnedReservation
from crewgate.agent.branch_registry import BranchRegistry
from crewgate.core import cross_crew_accounts
from crewgate.core.audit.records import BurnedReservationRecord, request_text, when
from crewgate.core.ids import EntityKind, table_key
from crewgate.core.policy.policy import Policy

# States of a reservation whose owner died (`BurnedReservation.state`).
_CLAIMED, _INTENT, _SETTLING = 1, 2, 4
Cause = Literal["owner-died", "deadline"]


class BurnedReservationAudit:
    """Makes audit records of the reservations that the table has burned.

    A reservation holds the number of its tool under the policy of its time, so this object keeps
    the tool names of the last few policies.
    """

    def __init__(self, registry: BranchRegistry) -> None:
        self._registry = registry
        self._tools: deque[tuple[int, tuple[str, ...]]] = deque(maxlen=limits.policies_kept)

    def load(self, policy: Policy, now_ns: int) -> None:
        """Use the tool numbers of this policy for calls that begin after `now_ns` (wall clock)."""
        self._tools.appendleft((now_ns, tuple(tool.name for tool in policy.tools)))

    def records(
        self,
        burned: Iterable[BurnedReservation],
        cause: Cause,
        now_ns: int,
        recorded: Mapping[str, int],
    ) -> list[BurnedReservationRecord]:
        """Return a record for each reservation that has, or may have, taken credit.

        `recorded` has the costs in the records of calls, by request. The record of such a call's
        reservation has only the credit beyond that. If there is none, the reservation gets no
        record.
        """
        found = []
        for each in burned:
            if each.state == _CLAIMED:
                continue
            cost = each.cost if each.state == _SETTLING else each.amount
            request = request_text(each.request)
            if request not in recorded:
                found.append(self._record(each, cause, now_ns, cost))
            elif cost > recorded[request]:
                found.append(self._record(each, cause, now_ns, cost - recorded[request]))
        return found

    def _record(
        self, burned: BurnedReservation, cause: Cause, now_ns: int, cost: int
    ) -> BurnedReservationRecord:
        entry = self._registry.get(burned.branch_key)
        who = self._registry.who(burned.branch_key)
        # The registry has only the newest grant. The record of an older one has only its key.
        if entry and table_key(EntityKind.GRANT, entry.crew, entry.grant.encode()) != burned.grant:
            who["grant"] = ""
        return BurnedReservationRecord(
            **who,
            time=when(now_ns),
            started=when(burned.started_ns),
            request=request_text(burned.request),
            tool=self._tool(burned),
            cost_micro=cost,
            cause=cause,
            branch_key=burned.branch_key.hex(),
            grant_key=burned.grant.hex(),
            owner=burned.owner,
            intent=burned.state == _INTENT,
            certificate=cross_crew_accounts.certificate(entry.crew, who["grant"]) if entry else "",
        )

    def _tool(self, burned: BurnedReservation) -> str:
        # If the call began before this agent, the oldest known policy is the likeliest.
        oldest = self._tools[-1][1] if self._tools else ()
        policies = (names for since, names in self._tools if since <= burned.started_ns)
        names = next(policies, oldest)
        return names[burned.tool] if burned.tool < len(names) else ""
