"""The verdict: one native call from (token, tool) to `Permit` or `Denial`."""

from crewgate._native.permit import GateContext, Permit
from crewgate._native.table import Table
from crewgate.core.policy.policy import Policy
from crewgate.core.verdict import Denial

class Gate:
    holder: GateContext
    def __init__(self, table: Table, attachment: int = 0, *, holds: bool = True) -> None:
        """`holds`: a permit reserves and is settled later (gateway); otherwise a fixed price is
        settled in `decide` itself (embedded)."""
    clock: tuple[int, int] | None  # tests: (wall ns, boot ns) instead of the real clocks
    def load(self, policy: Policy) -> None:
        """Judge by `policy` from now on; cached tokens of keys that are gone are dead at once."""
    def decide(
        self,
        token: bytes,
        tool: int,
        *,
        request: bytes = b"",
        peer_crew: str | None = None,
        observe: bool = False,
        drawn: bool = False,
        price: int = -1,
        is_upper_bound: bool = False,
    ) -> Permit | Denial:
        """The verdict; never waits.

        `tool` is a number in the policy's tools, -1 for none such. `price` is the price of this
        call in micro-credits, -1 for the tool's; `is_upper_bound`: most of it may come back.
        Denial(BUDGET_UNAVAILABLE, retry=True, grant) asks for a draw: the branch is unknown to the
        table, its grant is newer than the agent knows, or its lease is too small. `drawn`: a draw
        was tried, so that the call goes on without credit in observe mode.

        Raises:
            ValueError: `price` is above the largest possible price.
            TableError: The table is closed.
        """
    def counters(self) -> dict[str, int]: ...
