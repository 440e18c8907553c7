"""The extension of A2A by which an agent learns what its caller may still spend.

An agent that calls others for its caller can plan with it. Its URI is `URI`. The gateway adds the
URI to `A2A-Extensions` of each request, and one header field, which is metadata in gRPC:

    x-crewgate-credits-left: 12.50

These are the credits that the branch of the caller has left after the price of this call, as a
decimal number. They are a hint: other calls of the branch spend from the same credits. The card of
the gateway names the extension, which no client has to support. Each response to a client has the
same field.

Where an endpoint says so, responses also have the field `AAuth-Budget`
(draft-hardt-aauth-budgets-00, section "AAuth-Budget Response Header"): a dictionary of RFC 9651
with integers in micro-credits.
"""

from crewgate.core.credits import format_credits
from crewgate.core.http_types import HeaderField

URI = "https://crewgate.dev/a2a/budget/v1"
CREDITS_LEFT = b"x-crewgate-credits-left"
AAUTH_BUDGET = b"aauth-budget"
CARD_EXTENSION = {
    "uri": URI,
    "description": "The gateway says in x-crewgate-credits-left what the caller may still spend.",
}
_DECIMALS = 6  # of a micro-credit
_INTEGER_MAX = 999_999_999_999_999  # RFC 9651, section 3.3.1


def request_fields(left_micro: int) -> list[HeaderField]:
    """Return the field that tells the agent what its caller has left."""
    return [(CREDITS_LEFT, format_credits(left_micro).encode())]


def aauth_budget(left_micro: int, cost_micro: int) -> HeaderField:
    """Return the field `AAuth-Budget` of a response; `cost_micro` is what the call costs."""
    members = f"remaining={_bounded(left_micro)}, cost={_bounded(cost_micro)}"
    return (AAUTH_BUDGET, f'{members}, unit="credit", decimals={_DECIMALS}'.encode())


def aauth_refusal(left_micro: int, required_micro: int) -> HeaderField:
    """Return the field of a refusal for want of credits; `required_micro` is 0 if it is unknown."""
    required = f", required={_bounded(required_micro)}" if required_micro else ""
    left = f"remaining={_bounded(left_micro)}{required}"
    return (AAUTH_BUDGET, f'{left}, unit="credit", decimals={_DECIMALS}'.encode())


def _bounded(micro: int) -> int:
    return max(0, min(micro, _INTEGER_MAX))
