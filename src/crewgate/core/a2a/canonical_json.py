"""Writes JSON in the one form that is signed (RFC 8785, the JSON Canonicalization Scheme)."""

import math
import re
from collections.abc import Mapping, Sequence

import msgspec

# Beyond these, readers differ about a number (RFC 8785, section 3.1).
_INTEGER_MAX = 2**53 - 1
# ECMAScript writes a number with an exponent from 10^21 on, and below 10^-6.
_PLAIN_EXPONENTS = range(-6, 21)

_text = msgspec.json.Encoder().encode
_EXPONENT = re.compile(r"(-?)([0-9])(?:\.([0-9]+))?e([+-][0-9]+)")


def canonical(value: object) -> bytes:
    """Return the canonical text of a value that was read from JSON.

    Raises:
        ValueError: It has a number that not every reader keeps exactly.
    """
    if isinstance(value, Mapping):
        # By UTF-16 code units (section 3.2.3).
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        return b"{%b}" % b",".join(
            b"%b:%b" % (_text(name), canonical(value[name])) for name in names
        )
    if isinstance(value, Sequence) and not isinstance(value, str):
        return b"[%b]" % b",".join(map(canonical, value))
    if isinstance(value, float):
        return _number(value).encode()
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > _INTEGER_MAX:
        raise ValueError(f"{value} is a number that not every reader keeps exactly")
    return _text(value)


def _number(value: float) -> str:
    """Return a number as ECMAScript writes it (ECMA-262, section 6.1.6.1.20)."""
    if not math.isfinite(value):
        raise ValueError("JSON has no such number")
    if value == 0:
        return "0"
    # The shortest digits are those of repr; only their form differs.
    match = _EXPONENT.fullmatch(_scientific(value))
    if match is None:
        raise ValueError(f"{value!r} is not a number")
    sign, first, rest, exponent = match[1], match[2], match[3] or "", int(match[4])
    digits = (first + rest).rstrip("0") or "0"
    if exponent not in _PLAIN_EXPONENTS:
        point = "." + digits[1:] if digits[1:] else ""
        return f"{sign}{digits[0]}{point}e{exponent:+d}"
    if exponent < 0:
        return f"{sign}0.{'0' * (-exponent - 1)}{digits}"
    whole = digits[: exponent + 1].ljust(exponent + 1, "0")
    point = digits[exponent + 1 :]
    return f"{sign}{whole}.{point}" if point else sign + whole


def _scientific(value: float) -> str:
    """Return the shortest digits that stand for a number, with an exponent."""
    for precision in range(17):
        text = f"{value:.{precision}e}"
        if float(text) == value:
            return text
    return f"{value:.16e}"
