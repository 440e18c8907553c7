"""Asks the gate about one call, with a lower price if that helps."""

from crewgate import limits
from crewgate._native.permit import Permit
from crewgate.core.verdict import Denial
from crewgate.gateway.call.authorizer import GateAuthorizer
from crewgate.gateway.call.undecided_call import UndecidedCall


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
        )
        if not isinstance(verdict, Denial) or priced is None or not priced.lower_for(verdict):
            break
    return verdict
