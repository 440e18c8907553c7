"""What a call needs of the gate, of the audit, of the event loop and of background tasks."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from crewgate._native.permit import Permit
from crewgate.core.audit import records as audit
from crewgate.core.problem_types import Reason
from crewgate.core.tokens.grant import Grant
from crewgate.core.verdict import Denial
from crewgate.ipc.attach_messages import CreditDrawn

DrawCallback = Callable[[CreditDrawn | None], None]  # None: the agent did not answer


class RetryCondition(Protocol):
    """Something under way that may change a denial: a draw of credit, or a new policy."""

    async def wait(self) -> bool:
        """Wait until it is over; False if the gate would deny again. The caller sets a deadline."""


class Authorizer(Protocol):
    """The gate, and the draws of credit for it. Amounts are micro-credits."""

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
        """Return the verdict at once. A permit has reserved its price.

        `price` is the call's own price, -1 for the tool's. `is_upper_bound`: most of the price may
        come back. `drawn`: credit has been drawn for this call before.
        """

    def explained(self, denial: Denial) -> Denial:
        """Return the same denial with the allowance window that is spent, if there is one."""

    def relieve(self, denial: Denial, tool: int, price: int = -1) -> RetryCondition:
        """Begin what may change a denial with `retry`: draw credit, or load the policy."""

    async def draw(self, grant: Grant, need: int) -> CreditDrawn | None:
        """Draw at least `need` for a branch; None if the agent did not answer."""


class DecisionSink(Protocol):
    """The audit, as calls use it."""

    def ready(self) -> bool:
        """Return False if calls must be refused because they could not be recorded."""

    def write(self, record: audit.Record) -> object:
        """Write a record."""

    def write_lines(self, lines: Sequence[bytes]) -> object:
        """Write records that are encoded already, one a line."""

    def count(self, listener: str, reason: Reason, network: str) -> None:
        """Count a request that was refused before its token's signature was known to be good."""


class LoopHooks(Protocol):
    """The worker's event loop, as calls use it."""

    def at_end(self, work: Callable[[], None]) -> None:
        """Do `work` once, at the end of this turn of the loop."""

    def when_idle(self, work: Callable[[], None]) -> None:
        """Do `work` once, when no socket is ready, or after two milliseconds."""


class BackgroundTaskRunner(Protocol):
    """Waits for what a call needs, since a call has no task of its own."""

    def draw(self, ask: Callable[[], Awaitable[CreditDrawn | None]], done: DrawCallback) -> None:
        """Await `ask`, then call `done` with its result."""

    def later(self, seconds: float, work: Callable[[], None]) -> Callable[[], None]:
        """Call `work` after `seconds`; the function that is returned cancels that."""

    def overran(self, request: bytes, grant: Grant, amount: int) -> None:
        """Report that call `request` cost `amount` micro-credits more than its bound."""
