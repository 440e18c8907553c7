"""Asks the gate about one call, with a lower price if that helps, and tells it of refusals."""

from crewgate import limits
from crewgate._native.permit import Permit
from crewgate.core.reasons import REFUSED_FOR_TOOL, Reason
from crewgate.core.verdict import Denial
from crewgate.gateway.call.authorizer import GateAuthorizer
from crewgate.gateway.call.undecided_call import UndecidedCall
from crewgate.gateway.tool_route import ToolRoute
from crewgate.server.exchange import Exchange

# Refusals that rules on branches count.
_COUNTED = REFUSED_FOR_TOOL | {Reason.LOOP_DETECTED}


def needs_body(authorizer: GateAuthorizer, exchange: Exchange, entry: ToolRoute) -> bool:
    """Return whether a call is judged with its body, or compared by it (rules on branches)."""
    return entry.reads_body or authorizer.digests.awaits_body(entry, exchange)


def note_refusal(
    authorizer: GateAuthorizer, pending: UndecidedCall, denial: Denial, *, observe: bool
) -> None:
    """Have the rules on branches count a call that is refused.

    `observe`: the listener is in observe mode, so the rules only say what they would do.
    """
    if denial.reason in _COUNTED and authorizer.policy.loops.rules:
        has_record = authorizer.gate.note_refusal(
            pending.token,
            pending.tool,
            denial.reason,
            pending.described.id,
            denial.call_digest,
            level=0 if denial.finding is None else denial.finding.level,
            observe=observe,
        )
        if not has_record and denial.grant is not None:
            authorizer.note_uncounted(denial.grant)


def ask_gate(
    authorizer: GateAuthorizer,
    pending: UndecidedCall,
    *,
    observe: bool,
    drawn: bool,
    price: int | None = None,
    counts: bool = True,
) -> Permit | Denial:
    """Ask the gate; ask again with a lower bound if the call can be limited to what is left.

    `price`: ask with this price instead of the call's own. The other arguments are those of
    `GateAuthorizer.decide`.
    """
    priced = pending.priced
    call = authorizer.digests.of(authorizer.table, pending)
    for _ in range(limits.price_lowerings_max):
        verdict = authorizer.decide(
            pending.token,
            pending.tool,
            request=pending.described.id,
            presenter=pending.presenter,
            observe=observe,
            drawn=drawn,
            price=pending.price if price is None else price,
            is_upper_bound=priced is not None and priced.is_upper_bound,
            name=pending.tool_id,
            counts=counts,
            call=call,
        )
        if not isinstance(verdict, Denial) or priced is None or not priced.lower_for(verdict):
            break
    return verdict
