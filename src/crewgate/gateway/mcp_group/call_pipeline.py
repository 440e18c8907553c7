"""The way of a call through the gateway, as the requests to a group use it."""

from collections.abc import Callable, Coroutine
from typing import NamedTuple, Protocol

from crewgate._native.permit import Permit
from crewgate.core.problem_types import ProblemType
from crewgate.core.problems import RefusalResponse
from crewgate.core.reasons import Reason
from crewgate.core.verdict import Denial
from crewgate.gateway.call.undecided_call import UndecidedCall


class AskGate(Protocol):
    """Asks the gate about a call."""

    def __call__(
        self, pending: UndecidedCall, *, drawn: bool, price: int | None = None
    ) -> Permit | Denial:
        """Return the verdict; `drawn`: credit has been drawn for this call before."""


class RefuseAfter(Protocol):
    """Refuses a call, but only if the gate finds nothing else against it."""

    def __call__(
        self,
        pending: UndecidedCall,
        reason: Reason,
        answer: ProblemType | RefusalResponse | None = None,
    ) -> None:
        """Refuse a call for `reason` with an answer of its own."""


class CallPipeline(NamedTuple):
    """The functions of one listener that take a call through its steps."""

    ask: AskGate
    forward_or_refuse: Callable[[UndecidedCall, Permit | Denial], None]
    refuse_after: RefuseAfter
    go_on: Callable[[UndecidedCall], Coroutine[None, None, None] | None]
    # Whether the routes have been replaced since a request was read, so that its numbers are old.
    is_outdated: Callable[[UndecidedCall], bool]
