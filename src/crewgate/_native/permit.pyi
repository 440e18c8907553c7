"""Permits: the evidence that a call may go on, with its reservation."""

from types import TracebackType
from typing import Self

from crewgate.core.policy.policy import Policy
from crewgate.core.problem_types import Reason
from crewgate.core.tokens.grant import Grant

class GateContext:
    """The part of a gate that its permits need; it lives as long as the last of them."""

    def load(self, policy: Policy) -> None:
        """Use `policy` from now on, in the gate and for the keys that its permits check."""

class Permit:
    """Evidence that one call may go on, with the micro-credits that it reserved or was charged.

    A call ends its permit exactly once: with `settle`, `release`, or by leaving `with permit:`. A
    verifier's permit is settled at its price from the beginning, so that its caller need not end
    it. Safe to read from any thread.

    Attributes:
        grant: What the call's token grants.
        tool: The number of the tool in the policy, 0 for its first tool.
        price_micro: Micro-credits that are reserved for the call, or charged.
        lease_remaining_micro: Micro-credits that this machine's lease for the branch had left right
            after this call took its price; only `grow` changes it later. It may be 0 for a call with
            an `observed_reason`.
        in_observe_mode: Whether the call's crew, tool or listener is in observe mode, in which the
            gate lets calls go on that it would refuse.
        observed_reason: Why the gate would have refused the call outside observe mode; None for a
            call that it would have permitted.
    """

    grant: Grant
    tool: int
    price_micro: int
    lease_remaining_micro: int
    in_observe_mode: bool
    observed_reason: Reason | None
    @property
    def branch_unspent_micro(self) -> int:
        """Micro-credits that the branch can still spend, now: what this machine's lease for it has
        left, and what the ledger could grant besides when the agent last asked. Other machines, and
        other branches below the same ancestors, may have spent some of that since.

        Raises:
            TableError: The table is closed.
        """
    @property
    def revocable(self) -> tuple[bytes, ...]:
        """The keys (16 bytes each) that the gate looks up among revocations: of the grant, its
        branch and all branches above it, its process, orchestrator, crew and signing key."""
    @property
    def revoked(self) -> bool:
        """Whether a long call must end now. It must if anything in `revocable` has been revoked, if
        the policy no longer has the token's key, or if the table was retired.

        Raises:
            TableError: The table is closed.
        """
    @property
    def is_current(self) -> bool:
        """Whether the gate would admit such a call now: the agent keeps the table fresh, and this
        machine knows the revocations that a majority of machines knows, or the call's tool goes on
        without (`when_stale = "open"`)."""
    @property
    def has_reservation(self) -> bool:
        """Whether a reservation of this call is in force: the gate made one, nobody ended the
        permit, and the agent did not burn it. A verifier's permit never has one."""
    def settle(self, cost_micro: int | None = None) -> None:
        """Charge `cost_micro` micro-credits, return the rest of the price, and end the permit.

        None charges the price; so does every cost above the price.

        Raises:
            AlreadySettledError: The permit was ended before, or the agent burned the reservation
                after its deadline.
            ValueError: `cost_micro` is negative.
            TableError: The table is closed.
        """
    def grow(self, more_micro: int) -> bool:
        """Reserve `more_micro` micro-credits besides, which raises `price_micro`.

        False, and nothing changes, if the lease has less than that now, the price would exceed the
        largest possible price, the permit has no reservation, or it is not `is_current`.

        Raises:
            OverflowError: `more_micro` is negative.
            TableError: The table is closed.
        """
    def release(self) -> None:
        """End the permit without a charge: no byte of the call reached the tool.

        Raises:
            AlreadySettledError: As for `settle`.
            TableError: The table is closed.
        """
    def extend(self, until_boot_ns: int) -> bool:
        """Move the reservation's deadline to `until_boot_ns` (nanoseconds of CLOCK_BOOTTIME); False
        if there is none, or the agent burned it meanwhile.

        Raises:
            TableError: The table is closed.
        """
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Settle at the price if the permit was not ended yet, also on an exception.

        Raises:
            AlreadySettledError: The agent burned the reservation after its deadline.
            TableError: The table is closed.
        """

def arm_fault(stores: int) -> bool:
    """Tests: SIGKILL this process just before its `stores`-th store to a table from now on.

    False in every build but the fault-injection one (CREWGATE_FAULTS=1): nothing happens then.
    """
