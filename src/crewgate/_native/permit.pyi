"""Permits: the evidence that a call may go on, with its reservation."""

from types import TracebackType
from typing import Self

from crewgate.core.policy.policy import Policy
from crewgate.core.reasons import Reason
from crewgate.core.rules.rule import StepFinding
from crewgate.core.tokens.grant import Grant

class GateContext:
    """The part of a gate that its permits need; it lives as long as the last of them."""

    def load(self, policy: Policy) -> None:
        """Use `policy` from now on, in the gate and for the keys that its permits check."""

class Permit:
    """Evidence that one call may go on. Only a gate makes permits. Safe to read from any thread.

    A verifier charges the price together with the verdict. You need not end the permit: without
    `settle` or `release`, the branch pays the price. To charge less, call one of the two once, at
    any time, also after `Verifier.close`. `with permit:` ends the permit at the end of the block,
    also after an exception: a later `settle` or `release` raises AlreadySettledError. Only the
    process that made a permit can end it: in a child that this process forked later, `settle` and
    `release` raise ForkedError, and the end of `with permit:` does nothing.

    In the gateway, a permit reserves its price instead. The gateway ends each permit exactly once,
    with `settle`, `release`, or at the end of `with permit:`. If a permit does not end before its
    deadline, the agent charges ("burns") the whole reservation. Only the gateway uses `grow`,
    `extend`, `has_reservation` and `lease_remaining_micro`. After the gateway has closed its table,
    `settle`, `release`, `grow`, `extend`, `revoked` and `branch_unspent_micro` raise TableError. A
    verifier never closes its table.

    Attributes:
        grant: What the call's token grants.
        tool: The number of the tool. Its name is `verifier.tools[permit.tool]`, unless the
            configuration has changed since the verdict.
        price_micro: Micro-credits that the verdict charged (a verifier) or reserved (the gateway).
            `settle` does not change this number.
        lease_remaining_micro: Micro-credits that this machine's lease for the branch had left right
            after this call took its price. Only `grow` changes this number later. It can be 0 for a
            call with an `observed_reason`.
        in_observe_mode: Whether the call's crew, tool or listener is in observe mode: the gate then
            permits calls that it would refuse otherwise.
        observed_reason: Why the gate or the gateway would have refused the call outside observe
            mode; None if both would have permitted the call.
        finding: What a rule on branches warns of, or would refuse outside observe mode; None if no
            rule has a step for the call.
    """

    grant: Grant
    tool: int
    price_micro: int
    lease_remaining_micro: int
    in_observe_mode: bool
    observed_reason: Reason | None
    finding: StepFinding | None
    @property
    def branch_unspent_micro(self) -> int:
        """Micro-credits that the branch can still spend: the rest of this machine's lease, plus the
        credits that the ledger had free when the agent last asked. The number can be too high: other
        machines, and other branches below the same ancestors, can have spent credits since then. It
        is 0 until a call with a price has made the agent ask the ledger for credits."""
    @property
    def revocable(self) -> tuple[bytes, ...]:
        """The table keys (16 bytes each) whose revocation ends this call: those of the token, of
        its branch and all branches above, of the process, orchestrator, crew and signing key."""
    def allows(self, name: str) -> bool:
        """Whether the token and its crew allow the tool `name`, which may be a part of an endpoint,
        such as "files.delete". Always true in observe mode."""
    @property
    def call_digest(self) -> int:
        """The digest of the call for the rules on branches; 0 if it has none, 1 if it may be
        repeated."""
    @property
    def answer_digest(self) -> int:
        """The digest of the answer, after `note_answer`; 0 if it has none."""
    def note_answer(
        self,
        answer: int = 0,
        *,
        status: int = 0,
        is_failed: bool = False,
        retry_seconds: int = 0,
        cost_micro: int | None = None,
    ) -> None:
        """Count the call for the rules on branches, once; a second time does nothing.

        `answer` is the digest of the answer (`CallDigester.answer`), 0 if it has none; `status` its
        HTTP status. `is_failed`: it is an error in spite of its status. `retry_seconds`: after how
        long it asks to call again (RFC 9110, section 10.2.3). `cost_micro`: what the call costs;
        None is its price."""
    def note_observed(self, reason: Reason) -> None:
        """Set `observed_reason` to why the gateway would have refused the call after the gate; the
        first reason stays. Raises ValueError outside observe mode."""
    @property
    def revoked(self) -> bool:
        """Whether a long call must end now: a key in `revocable` has been revoked, the policy no
        longer has the token's key, or the agent has replaced the table, so that later revocations
        do not reach this permit. The end of the token does not change this: also compare
        `grant.claims.exp` with the clock. While `is_current` is False, a revocation may be missing."""
    @property
    def is_current(self) -> bool:
        """Whether the table has recent revocations, without which the gate would refuse a call of
        this tool now. The agent must have refreshed the table within the last 5 s. Unless the tool
        has `when_stale = "open"`, this machine must also have compared its revocations with a
        majority of the machines within `max_staleness_seconds`."""
    @property
    def has_reservation(self) -> bool:
        """Whether a reservation of this call is in force: the gateway has not ended the permit, and
        the agent has not burned the reservation. Always False for a permit of a verifier."""
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
        """Reserve `more_micro` further micro-credits, and add them to `price_micro` (gateway only).

        Return False and change nothing if the lease has fewer micro-credits now, if the price would
        exceed the largest possible price, if `is_current` is False, or if `has_reservation` is
        False.

        Raises:
            TypeError: `more_micro` is not an integer.
            OverflowError: `more_micro` is negative, or above 2**64 - 1.
        """
    def release(self) -> None:
        """End the permit and return the whole price: no byte of the call reached the tool.

        Raises:
            AlreadySettledError, ForkedError: As for `settle`.
        """
    def extend(self, until_boot_ns: int) -> bool:
        """Move the deadline of the reservation to `until_boot_ns` (nanoseconds of CLOCK_BOOTTIME).
        Return False if `has_reservation` is False (gateway only)."""
    def __bool__(self) -> bool:
        """Raise TypeError: a verdict has no truth value. Use `isinstance(verdict, Permit)`."""
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
