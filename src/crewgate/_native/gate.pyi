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
        loose: bool = False,
    ) -> Permit | Denial:
        """The verdict. `tool` is an index into the policy's tools, -1 for none such. Never raises
        for bad input, never waits. Denial(BUDGET_UNAVAILABLE, retry=True, grant) asks for a draw:
        the branch is unknown to the table, its grant is newer than the agent knows, or its lease
        is too small. `drawn` says that a draw was tried: in observe mode the call then goes on. `price` is this call's
        in micro-credits, if it is not the tool's; `loose` says that it is an upper bound."""
    def counters(self) -> dict[str, int]: ...
