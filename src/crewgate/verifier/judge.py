"""A gate with the policy that it has loaded, under the names that callers use.

Never changed after it is made: a new policy makes a new judge, so that no thread can pair an old
policy's tool number with a new policy's tools.
"""

from collections.abc import Callable

import msgspec

from crewgate._native.gate import Gate
from crewgate._native.permit import Permit
from crewgate._native.table import Table
from crewgate.core.policy import Policy
from crewgate.core.verdict import Denial

Decide = Callable[[bytes, int], Permit | Denial]
UNKNOWN = -1  # the number of a tool that does not exist; judged last


class Judge(msgspec.Struct, frozen=True):
    """`decide(token, tool number)` is the gate's, bound; `numbers` and `policy` belong to it."""

    gate: Gate
    policy: Policy
    numbers: dict[str, int]
    decide: Decide

    def after_draw(self, token: bytes, tool: int) -> Permit | Denial:
        """The verdict now that a draw was tried: in observe mode the call goes on without it."""
        return self.gate.decide(token, tool, drawn=True)


class Case(msgspec.Struct, frozen=True):
    """One call that is being judged."""

    judge: Judge
    token: bytes
    tool: int

    @property
    def price(self) -> int:
        """Micro-credits; only asked for a tool that exists."""
        return self.judge.policy.tools[self.tool].price


def judge_by(policy: Policy, table: Table) -> Judge:
    """A judge that settles fixed prices at once and holds nothing (an embedder's)."""
    gate = Gate(table, holds=False)
    gate.load(policy)
    numbers = {tool.name: number for number, tool in enumerate(policy.tools)}
    return Judge(gate, policy, numbers, gate.decide)


def needs_credit(verdict: Permit | Denial) -> bool:
    """A draw may turn this refusal into a permit."""
    return type(verdict) is Denial and verdict.retry and verdict.grant is not None
