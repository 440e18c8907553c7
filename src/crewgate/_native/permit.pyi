"""Evidence that one call may go on, with what it reserved."""

from types import TracebackType
from typing import Self

from crewgate.core.policy.policy import Policy
from crewgate.core.tokens.grant import Grant
from crewgate.core.verdict import Reason

class GateContext:
    """A gate as its permits know it; lives as long as the last of them."""

    def load(self, policy: Policy) -> None:
        """The policy by which permits hear that their key is gone, and by which the gate judges."""

class Permit:
    """Evidence that one call may go on, with what it reserved. Ended exactly once."""

    grant: Grant
    tool: int
    price: int  # micro-credits charged or reserved
    would: Reason | None  # observe mode: why it would have been refused
    observed: bool  # its crew, tool or listener is only observed
    remaining: int  # available to the branch on this machine, as this call left it
    @property
    def revocable(self) -> tuple[bytes, ...]:
        """The keys that the gate looks up among revocations: of the grant, its branch and what is
        above it, its process, orchestrator, crew and signing key."""
    @property
    def revoked(self) -> bool:
        """A long call must end: the grant, its branch or anything above it has been revoked since,
        its key is gone from the policy that the gate has loaded, or the table was retired."""
    @property
    def left(self) -> int:
        """Micro-credits that the branch can still spend: what this machine has leased for it and
        nothing has reserved, and what the ledger could grant besides when it was last asked. On
        other machines, and of its ancestors, something may have been spent since."""
    @property
    def vouched(self) -> bool:
        """Such a call would be admitted now: somebody vouches for the table, and this machine
        knows what a majority of members knows, or the tool goes on without."""
    @property
    def held(self) -> bool:
        """A reservation is still in force: neither ended here nor burned by the agent."""
    def settle(self, cost_micro: int | None = None) -> None:
        """Charge `cost_micro` (default: the price; more than the price charges the price) and end.

        AlreadySettledError if it was ended before, or burned by the agent after its deadline. Of a
        price that was settled at once (embedded) the rest is given back.
        """
    def grow(self, more: int) -> bool:
        """Reserve `more` micro-credits besides, which raises `price`; False if the lease has not as
        much now, the price would be over its bound, nothing is held (any more), or the permit is
        not `vouched`."""
    def release(self) -> None:
        """End without charge: no byte of the call reached the tool. For a permit that holds
        nothing, gives the price back (once). AlreadySettledError as for `settle`."""
    def extend(self, until_boot_ns: int) -> bool:
        """Move the reservation's deadline; False if it was burned meanwhile."""
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Settle at the price if neither settled nor released (also on an exception)."""

def arm_fault(stores: int) -> bool:
    """Tests: SIGKILL this process just before its `stores`-th store to a table from now on.

    False in every build but the fault-injection one (CREWGATE_FAULTS=1): nothing happens then.
    """
