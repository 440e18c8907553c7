"""Converts credits between decimal text for people, "2.50", and integer micro-credits.

The conversion is exact: a text with more than six decimals is refused, never rounded. The maximum
is the largest amount that every JSON reader keeps exact.
"""

import re

from crewgate import limits

# Fields of responses: the cost or the reservation of a call, and the credits left besides.
CREDITS_USED, CREDITS_RESERVED = b"x-crewgate-credits-used", b"x-crewgate-credits-reserved"
CREDITS_LEFT = b"x-crewgate-credits-left"
MICRO = 1_000_000
_DECIMALS = 6
_TEXT = re.compile(r"([0-9]{1,10})(?:\.([0-9]{1,6}))?", re.ASCII)


def parse_credits(text: str) -> int:
    """Return the micro-credits of a text such as "2.50". ValueError says how to write it."""
    match = _TEXT.fullmatch(text)
    micro = 0
    if match:
        micro = int(match[1]) * MICRO + int((match[2] or "").ljust(_DECIMALS, "0"))
    if not match or micro > limits.quota_micro_max:
        message = (
            f"not an amount of credits: {text[:64]!r}; write digits, and at most six decimals "
            f'after a dot, such as "2.50" or "0.2", up to {format_credits(limits.quota_micro_max)}'
        )
        raise ValueError(message)
    return micro


def format_credits(micro: int) -> str:
    """Return the exact decimal text of micro-credits, with at least two decimals: "2.50"."""
    sign, amount = ("-", -micro) if micro < 0 else ("", micro)
    whole, rest = divmod(amount, MICRO)
    decimals = f"{rest:0{_DECIMALS}d}".rstrip("0").ljust(2, "0")
    return f"{sign}{whole}.{decimals}"
