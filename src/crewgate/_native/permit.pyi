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
    """Evidence that one call may go on. Only a gate makes permits. Safe to read from any thread.

    A verifier charges the price together with its verdict. You need not end such a permit: call
    `settle` or `release` once, at any time, to pay less than the price. `with permit:` ends it at
    the price, unless the block calls one of them. `Verifier.close` does not end a permit. Only the
    process that made a permit can end it: in a child that it forked later, `settle` and `release`
    raise ForkedError, and the end of `with permit:` does nothing.

    In the gateway, a permit reserves its price instead. The gateway ends each permit exactly once,
    with `settle`, `release`, or at the end of `with permit:`. Its agent charges ("burns") the whole
    reservation if that does not happen before a deadline. Only the gateway uses `grow`, `extend`,
    `has_reservation`, `is_current` and `lease_remaining_micro`. There, TableError means that the
    process has closed its table; a verifier never closes it.

    Attributes:
        grant: What the call's token grants.
        tool: The number of the tool: its name is `verifier.tools[permit.tool]`, unless the
            configuration has changed since.
        price_micro: Micro-credits that the call was charged (a verifier) or reserved (the gateway).
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
        other branches below the same ancestors, may have spent some of that since."""
    @property
    def revocable(self) -> tuple[bytes, ...]:
        """The keys (16 bytes each) that the gate looks up among revocations: of the grant, its
        branch and all branches above it, its process, orchestrator, crew and signing key."""
    @property
    def revoked(self) -> bool:
        """Whether a long call must end now. It must if anything in `revocable` has been revoked, if
        the policy no longer has the token's key, or if the agent has replaced the table, so that
        later revocations do not reach this permit."""
    @property
    def is_current(self) -> bool:
        """Whether the gate would admit a call of this tool now: the agent keeps the table fresh, and this
        machine knows the revocations that a majority of machines knows, or the call's tool goes on
        without (`when_stale = "open"`)."""
    @property
    def has_reservation(self) -> bool:
        """Whether a reservation of this call is in force: the gateway made one, did not end the
        permit, and the agent did not burn it. Always False for a verifier's permit."""
    def settle(self, cost_micro: int | None = None) -> None:
        """Charge `cost_micro` micro-credits, return the rest of the price, and end the permit.

        None charges the price; so does every cost above the price. 12,000 are 0.012 credits.

        Raises:
            TypeError: `cost_micro` is not an integer; nothing was charged or ended.
            ValueError: `cost_micro` is negative; nothing was charged or ended.
            AlreadySettledError: The permit was settled or released before, or the agent burned the
                reservation after its deadline.
            ForkedError: Another process made the permit, before it forked; nothing was charged or
                ended.
        """
    def grow(self, more_micro: int) -> bool:
        """Reserve `more_micro` micro-credits besides, which raises `price_micro` (gateway only).

        False, and nothing changes, if the lease has less than that now, the price would exceed the
        largest possible price, the permit is not `is_current`, or it has no reservation, like every
        permit of a verifier.

        Raises:
            TypeError: `more_micro` is not an integer.
            OverflowError: `more_micro` is negative, or above 2**64 - 1.
        """
    def release(self) -> None:
        """End the permit without a charge: no byte of the call reached the tool.

        Raises:
            AlreadySettledError, ForkedError: As for `settle`.
        """
    def extend(self, until_boot_ns: int) -> bool:
        """Move the reservation's deadline to `until_boot_ns` (nanoseconds of CLOCK_BOOTTIME). False
        if the agent burned it meanwhile, or there is none, as in every permit of a verifier."""
    def __bool__(self) -> bool:
        """Raise TypeError, as for a denial: use `isinstance(verdict, Permit)`."""
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
        """

def arm_fault(stores: int) -> bool:
    """Tests: SIGKILL this process just before its `stores`-th store to a table from now on.

    False in every build but the fault-injection one (CREWGATE_FAULTS=1): nothing happens then.
    """
