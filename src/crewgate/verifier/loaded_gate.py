"""A gate with the policy that it has loaded, and the numbers of the tools in that policy.

A `LoadedGate` never changes: a new policy makes a new one, so that no thread can use a tool
number of an old policy with the tools of a new one.
"""

from typing import Protocol

import msgspec

from crewgate._native.gate import Gate
from crewgate._native.permit import Permit
from crewgate._native.presenter import Presenter
from crewgate._native.table import Table
from crewgate._native.tool_gate import ToolGate
from crewgate.core.policy.policy import Policy
from crewgate.core.reasons import Reason
from crewgate.core.verdict import DRAW_REASONS, FINAL_REASONS, Denial
from crewgate.core.x509.identity_oids import STANDARD, IdentityOIDs
from crewgate.leases.branch_opening import DrawResult
from crewgate.policy import certificate_token_signer
from crewgate.policy.certificate_token_signer import CertificateTokenSigner
from crewgate.verifier.peer_certificate_cache import PeerCertificateCache

_CLOSED = Denial(Reason.REVOCATION_UNAVAILABLE)
UNKNOWN = -1  # the number of a tool that does not exist; the gate checks the token first


class DecideFunction(Protocol):
    """The gate's `decide`, or a substitute for it."""

    def __call__(
        self, token: bytes, tool: int, *, presenter: Presenter | None = None, price: int = -1
    ) -> Permit | Denial:
        """Return the verdict on a token for a tool, at the tool's price or at `price`."""


class LoadedGate(ToolGate):
    """A gate, the policy that it has loaded, its table, and the crossings of the policy.

    `peers` are the client certificates that it has read.
    """

    __slots__ = ("crossings", "peers", "policy", "table")

    def __init__(
        self,
        gate: Gate,
        policy: Policy,
        numbers: dict[str, int],
        table: Table,
        crossings: CertificateTokenSigner,
        peers: PeerCertificateCache,
        decide: DecideFunction | None = None,
    ) -> None:
        """`numbers` are the tool numbers by name. `decide` replaces the gate's own method."""
        super().__init__(gate, numbers, decide)
        self.policy = policy
        self.table = table
        self.crossings = crossings
        self.peers = peers

    def deciding_by(self, decide: DecideFunction) -> "LoadedGate":
        """Return the same gate and policy with a substitute for the gate's `decide`."""
        fixed = self.gate, self.policy, self.numbers, self.table, self.crossings, self.peers
        return LoadedGate(*fixed, decide)

    def closed(self) -> "LoadedGate":
        """Return the same policy, but refusing every call, for a verifier that was closed."""
        return self.deciding_by(_refuse)


class GateRequest(msgspec.Struct, frozen=True):
    """One call to decide.

    `presenter` has what the caller shows beside the token, if anything. `cost` is what it may
    cost, in micro-credits; -1 for the tool's price.
    """

    judge: LoadedGate
    token: bytes
    tool: int
    presenter: Presenter | None = None
    cost: int = -1

    def __repr__(self) -> str:
        """Return a text without the token."""
        return f"<GateRequest for tool {self.tool}>"

    def ask(self) -> Permit | Denial:
        """Return the gate's verdict."""
        return self.judge.decide(self.token, self.tool, presenter=self.presenter, price=self.cost)

    def after_draw(self, denial: Denial, drawn: DrawResult | None = None) -> Permit | Denial:
        """Return the verdict on a call that was denied for lack of credit, after a draw was tried.

        `drawn` is how the draw ended; None if it has not. In observe mode the call goes on without
        credit, unless the draw could not open its branch.
        """
        why = DRAW_REASONS.get(drawn.value) if drawn is not None else None
        if why is not None:
            return Denial(why, denial.grant, retry=why not in FINAL_REASONS)
        return self.judge.gate.decide(
            self.token, self.tool, presenter=self.presenter, drawn=True, price=self.cost
        )

    @property
    def price(self) -> int:
        """The micro-credits that the call may cost; its tool must exist."""
        return self.cost if self.cost >= 0 else self.judge.policy.tools[self.tool].price


def judge_by(
    policy: Policy,
    table: Table,
    crossings: CertificateTokenSigner = certificate_token_signer.NONE,
    oids: IdentityOIDs = STANDARD,
) -> LoadedGate:
    """Make a gate for an application: it charges at once and holds no reservations.

    `oids` are those of the configuration, under which identities are read.
    """
    gate = Gate(table, holds=False)
    gate.load(policy)
    numbers = {tool.name: number for number, tool in enumerate(policy.tools)}
    return LoadedGate(gate, policy, numbers, table, crossings, PeerCertificateCache(oids))


def _refuse(*_: object, **__: object) -> Denial:
    return _CLOSED


def needs_credit(verdict: Permit | Denial) -> bool:
    """Return whether a draw may turn this verdict into a permit."""
    return type(verdict) is Denial and verdict.retry and verdict.grant is not None
