"""Reads one level of a JSON text: the values in an object or an array stay as they are written.

The caller knows that the text has no member twice, or does not mind: the last one counts.
"""

from typing import Final

import msgspec

# The errors of a text that is no such object or array.
UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_Members = dict[str, msgspec.Raw]
_Items = list[msgspec.Raw]

members = msgspec.json.Decoder(_Members).decode
items = msgspec.json.Decoder(_Items).decode
