"""Answers the usual calls of `Verifier.decide` without a Python frame."""

from collections.abc import Callable
from typing import TypeVar

from crewgate._native.gate import Gate
from crewgate._native.permit import Permit
from crewgate.core.verdict import Denial

_Decide = TypeVar("_Decide", bound=Callable[..., object])

class ToolGate:
    """A gate with the numbers of its tools by name.

    `decide` is the gate's own, or the substitute for it that was given.
    """

    def __init__(
        self,
        gate: Gate,
        numbers: dict[str, int],
        decide: Callable[..., Permit | Denial] | None = None,
    ) -> None: ...
    @property
    def gate(self) -> Gate: ...
    @property
    def numbers(self) -> dict[str, int]: ...
    @property
    def decide(self) -> Callable[..., Permit | Denial]: ...

def with_fast_path(slow: _Decide) -> _Decide:
    """Decorate the method `decide` of a verifier: answer usual calls natively, others with `slow`.

    A call is usual if it has a token, a tool's name and nothing else, and if the `ToolGate` of the
    verifier's source has no substitute. A verdict that is a permit is returned at once if the
    verifier has no sink. The verifier's method `_conclude` gets every other verdict.
    """
