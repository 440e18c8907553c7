"""A gate with the policy that it has loaded, under the names that callers use.

Never changed after it is made: a new policy makes a new judge, so that no thread can pair an old
policy's tool number with a new policy's tools.
"""

from typing import Protocol

import msgspec

from crewgate._native.gate import Gate
from crewgate._native.permit import Permit
from crewgate._native.table import Table
from crewgate.core.policy.policy import Policy
from crewgate.core.problem_types import Reason
from crewgate.core.verdict import DRAW_REASONS, FINAL_REASONS, Denial
from crewgate.leases.branch_opening import DrawResult
from crewgate.policy import certificate_tokens
from crewgate.policy.certificate_tokens import CertificateTokens

_CLOSED = Denial(Reason.REVOCATION_UNAVAILABLE)
UNKNOWN = -1  # the number of a tool that does not exist; judged last


class Decide(Protocol):
    """The gate's `decide`, or what stands in for it."""

    def __call__(
        self, token: bytes, tool: int, *, peer_crew: str | None = None, price: int = -1
    ) -> Permit | Denial:
        """The verdict on a token, for the tool of this number, at its price or the one given."""


class LoadedPolicy(msgspec.Struct, frozen=True):
    """`decide(token, tool number)` is the gate's, bound; all the others belong to it."""

    gate: Gate
    policy: Policy
    numbers: dict[str, int]
    decide: Decide
    table: Table
    crossings: CertificateTokens

    def closed(self) -> "LoadedPolicy":
        """The same, but every call is refused: its verifier was closed."""
        return msgspec.structs.replace(self, decide=_refuse)


class DecisionRequest(msgspec.Struct, frozen=True):
    """One call that is being judged; `crew` is whose certificate its connection has, if any.

    `cost` is what it may cost, in micro-credits, if that is not the tool's price.
    """

    judge: LoadedPolicy
    token: bytes
    tool: int
    crew: str | None = None
    cost: int = -1

    def ask(self) -> Permit | Denial:
        """The verdict."""
        return self.judge.decide(self.token, self.tool, peer_crew=self.crew, price=self.cost)

    def after_draw(self, denial: Denial, drawn: DrawResult | None = None) -> Permit | Denial:
        """The verdict on a call that was denied for lack of credit, now that a draw was tried.

        `drawn` is how the draw ended, None if it has not. In observe mode the call goes on without
        credit, unless the draw found out that its token is not good.
        """
        why = DRAW_REASONS.get(drawn.value) if drawn is not None else None
        if why in FINAL_REASONS:
            return Denial(why, denial.grant)
        verdict = self.judge.gate.decide(
            self.token, self.tool, peer_crew=self.crew, drawn=True, price=self.cost
        )
        if why is None or not isinstance(verdict, Denial):
            return verdict
        lacks_credit = verdict.reason is Reason.BUDGET_UNAVAILABLE
        return msgspec.structs.replace(verdict, reason=why) if lacks_credit else verdict

    @property
    def price(self) -> int:
        """Micro-credits; only asked for a tool that exists."""
        return self.cost if self.cost >= 0 else self.judge.policy.tools[self.tool].price


def judge_by(
    policy: Policy, table: Table, crossings: CertificateTokens = certificate_tokens.NONE
) -> LoadedPolicy:
    """A judge that settles fixed prices at once and holds nothing (an embedder's)."""
    gate = Gate(table, holds=False)
    gate.load(policy)
    numbers = {tool.name: number for number, tool in enumerate(policy.tools)}
    return LoadedPolicy(gate, policy, numbers, gate.decide, table, crossings)


def _refuse(
    token: bytes,  # noqa: ARG001 - as a gate is asked
    tool: int,  # noqa: ARG001 - the same
    *,
    peer_crew: str | None = None,  # noqa: ARG001 - the same
    price: int = -1,  # noqa: ARG001 - the same
) -> Denial:
    return _CLOSED


def needs_credit(verdict: Permit | Denial) -> bool:
    """A draw may turn this refusal into a permit."""
    return type(verdict) is Denial and verdict.retry and verdict.grant is not None
