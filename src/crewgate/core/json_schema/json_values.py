"""JSON values with exact numbers: how they are read, and how a sentence shows them.

A number without fraction and exponent is an int, any other a Decimal. Python compares the two
exactly. A bool is never a number here.
"""

import json
import math
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, TypeGuard

import msgspec

from crewgate import limits
from crewgate.core.terminal_text import printable

# None, bool, int, Decimal, str, list or dict, as JSON has them.
JSONValue = Any
Number = int | Decimal

WORDS: Mapping[bool | None, str] = {None: "null", True: "true", False: "false"}


def decode(text: bytes) -> JSONValue:
    """Return the value of a JSON text without duplicate members, which the caller has checked.

    Raises:
        ValueError: The text is not JSON, or a number in it is too long.
    """
    try:
        return _decoder.decode(text)
    except msgspec.ValidationError as error:  # of `_decimal`, or of an int with thousands of digits
        raise ValueError(str(error).partition(" - at ")[0]) from None
    except RecursionError:
        raise ValueError("nested too deeply") from None


def decode_document(text: bytes) -> JSONValue:
    """Return the value of a JSON text that a person wrote.

    Raises:
        ValueError: The text is not JSON, has a member twice, or has a number that is too long.
    """
    try:
        return json.loads(
            text.decode(),
            object_pairs_hook=_unique,
            parse_float=_decimal,
            parse_constant=_no_constant,
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None


def from_toml(value: object) -> JSONValue:
    """Return a value that TOML holds as the JSON value that a person means.

    A float is the shortest decimal that reads as that float: 0.1 is exactly 0.1.

    Raises:
        ValueError: JSON has no such value: a date, a time, an infinity, or NaN.
    """
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"JSON has no {value}")
        return Decimal(repr(value))
    if isinstance(value, Mapping):
        return {name: from_toml(below) for name, below in value.items()}
    if isinstance(value, list):
        return [from_toml(item) for item in value]
    if value is None or isinstance(value, str | int):
        return value
    raise ValueError("JSON has no dates and times; write a text")


def is_number(value: JSONValue) -> TypeGuard[Number]:
    """Return whether a value is a number."""
    return isinstance(value, int | Decimal) and not isinstance(value, bool)


def is_integer(value: JSONValue) -> bool:
    """Return whether a value is a number without a fraction, however it is written."""
    if isinstance(value, Decimal):
        return value == value.to_integral_value()
    return isinstance(value, int) and not isinstance(value, bool)


def shown(value: JSONValue) -> str:
    """Return a value as a sentence may quote it: short, escaped, on one line."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return f"an array with {len(value)} items"
    if isinstance(value, str):
        return f'"{shown_text(value)}"'
    if value is None or isinstance(value, bool):
        return WORDS[value]
    return _shortened(str(value))


def shown_text(text: str) -> str:
    """Return a text as a sentence may quote it, without the quotation marks."""
    return printable(_shortened(text)).replace('"', '\\"')


def choices(values: Iterable[JSONValue]) -> str:
    """Return the first of several values for a sentence: `"a", "b" or "c"`."""
    texts = [shown(value) for value in values]
    most = limits.argument_choices_shown_max
    if len(texts) > most:
        return f"{', '.join(texts[:most])} or {len(texts) - most} more"
    return " or ".join(filter(None, (", ".join(texts[:-1]), texts[-1])))


def _shortened(text: str) -> str:
    most = limits.argument_shown_chars_max
    return text if len(text) <= most else f"{text[:most]}…"


def _decimal(text: str) -> Decimal:
    exponent = text.lower().partition("e")[2]
    if (
        len(text) > limits.argument_number_chars_max
        or abs(int(exponent or 0)) > limits.argument_exponent_max
    ):
        raise ValueError("a number is too long")
    return Decimal(text)


def _unique(members: list[tuple[str, JSONValue]]) -> dict[str, JSONValue]:
    found = dict(members)
    if len(found) != len(members):
        names = [name for name, _ in members]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f'the member "{twice}" occurs twice in one object')
    return found


def _no_constant(text: str) -> JSONValue:
    raise ValueError(f"JSON has no {text}")


_decoder: msgspec.json.Decoder[JSONValue] = msgspec.json.Decoder(float_hook=_decimal)
