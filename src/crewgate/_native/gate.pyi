"""Decides a call natively: from a token and a tool to a `Permit` or a `Denial`."""

from collections.abc import Callable

from crewgate._native.permit import GateContext, Permit
from crewgate._native.presenter import Presenter
from crewgate._native.table import Table
from crewgate.core.policy.policy import Policy
from crewgate.core.reasons import Reason
from crewgate.core.rules.rule import StepFinding
from crewgate.core.tokens.grant import Grant
from crewgate.core.verdict import Denial

class Gate:
    holder: GateContext
    def __init__(
        self,
        table: Table,
        attachment: int = 0,
        *,
        holds: bool = True,
        note_grant: Callable[[Grant], bool] | None = None,
        note_step: Callable[[Grant, StepFinding, bytes, str, bool], object] | None = None,
    ) -> None:
        """With `holds`, a permit reserves its price and is settled later (gateway). Otherwise
        `decide` settles a fixed price itself (embedded).

        `note_grant` writes a grant into the audit, and returns whether it could. The gate calls it
        for a permit whose grant no process of this machine has written yet.

        `note_step` gets the steps of rules on branches: the grant of the caller, the finding, the
        id of the request, the name of the tool, and whether the step is new. It gets a step once until the branch makes
        progress, but the end of a branch with each call that is refused for it."""
    # For tests: (wall ns, boot ns) instead of the real clocks.
    clock: tuple[int, int] | None
    def load(self, policy: Policy) -> None:
        """Decide by `policy` from now on. Tokens of keys that it no longer has are refused at once,
        also if they are cached."""
    def decide(
        self,
        token: bytes,
        tool: int,
        *,
        request: bytes = b"",
        presenter: Presenter | None = None,
        observe: bool = False,
        drawn: bool = False,
        price: int = -1,
        is_upper_bound: bool = False,
        name: str | None = None,
        call: int = 0,
        counts: bool = True,
    ) -> Permit | Denial:
        """Return the verdict. Never waits.

        `tool` is the number of the tool in the policy, or -1 for an unknown tool. `price` is the
        price of this call in micro-credits, or -1 for the tool's price. `is_upper_bound` says that
        the call may cost less. `name` is what the call uses at an endpoint, if the number is that of the
        endpoint: the token is compared with it. Denial(BUDGET_UNAVAILABLE, retry=True, grant) asks the caller for a
        draw: the table does not know the branch, its grant is newer than the agent knows, or its
        lease is too small. `call` is the digest of the call for the rules on branches
        (`CallDigester`): 0 if it has none, 1 if it may be repeated. `drawn` says that a draw was tried; then a call in observe mode goes on
        without credit. With `counts`, a permit counts in the limits on calls of the policy, and a denial
        counts in none.

        Raises:
            ValueError: `price` is above the largest possible price.
            TableError: The table is closed.
        """
    def grant_for(
        self, token: bytes, tool: int, *, presenter: Presenter | None = None
    ) -> Grant | None:
        """Return the grant of a token if a free call of the tool would be permitted.

        None if `decide` would refuse the call, would ask for a draw, or would permit it in observe
        mode only. Nothing is reserved. Raises TableError if the table is closed.
        """
    def note_refusal(
        self,
        token: bytes,
        tool: int,
        reason: Reason,
        request: bytes = b"",
        call: int = 0,
        *,
        level: int = 0,
        observe: bool = False,
    ) -> bool:
        """Count a call that was refused, for the rules on branches.

        Return False if the branch has no record in the table, so that nothing is counted.

        If the reason is LOOP_DETECTED, the call is one more equal call, up to the branch whose count
        reached the limit: `level` levels above that of the call. For another reason, it is one
        more refused call in a row. Nothing is counted for a token that the gate does not know.
        `observe`: the rules only say what they would do."""
    def counters(self) -> dict[str, int]: ...
