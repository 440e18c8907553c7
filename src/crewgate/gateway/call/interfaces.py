"""What the way of a request needs of others: a judge, a sink for records, a draw under way."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from crewgate._native.permit import Permit
from crewgate.core.audit import records as audit
from crewgate.core.tokens.grant import Grant
from crewgate.core.verdict import Denial, Reason
from crewgate.ipc.attach_messages import CreditDrawn

DrawCallback = Callable[[CreditDrawn | None], None]


class RetryCondition(Protocol):
    """What may change a judge's mind, begun already; nothing is lost if nobody waits for it."""

    async def wait(self) -> bool:
        """Until it is over, which the caller bounds; False if asking again at once is in vain."""


class Authorizer(Protocol):
    """The gate, and how credit is fetched for it. Prices are in micro-credits."""

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
        """Return the verdict, without waiting; `price` is the call's own, a bound if `loose`."""

    def explained(self, denial: Denial) -> Denial:
        """Return the same with the window that is spent, if credits come back by themselves."""

    def relieve(self, denial: Denial, tool: int, price: int = -1) -> RetryCondition:
        """Begin to work on what a denial with `retry` is about."""

    async def draw(self, grant: Grant, need: int) -> CreditDrawn | None:
        """Have at least `need` leased for a branch: how that ended, None if nobody said."""


class DecisionSink(Protocol):
    """Where records go."""

    def ready(self) -> bool:
        """Return False if calls must be refused because they could not be recorded."""

    def write(self, record: audit.Record) -> object:
        """Take a record."""

    def write_lines(self, lines: Sequence[bytes]) -> object:
        """Take records, each as its line."""

    def count(self, listener: str, reason: Reason, network: str) -> None:
        """Count a refusal before a good signature."""


class BackgroundTaskRunner(Protocol):
    """Who waits for what a call in flight needs, which has no task of its own."""

    def draw(self, ask: Callable[[], Awaitable[CreditDrawn | None]], done: DrawCallback) -> None:
        """Have `ask` answered; `done` is called with the answer, in plain code."""

    def later(self, seconds: float, work: Callable[[], None]) -> Callable[[], None]:
        """Call `work` after so long; what is returned takes that back."""

    def overran(self, request: bytes, grant: Grant, amount: int) -> None:
        """Say that the answer of call `request` stated so many micro-credits beyond its bound."""
