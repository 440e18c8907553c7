"""Encodes the attributes of records; what many records share is encoded only once.

Most members of a call are those of its branch, its grant and its tool, so they are the same in many
records. Encoding all of them each time is most of the work of an export.
"""

from collections.abc import Callable
from typing import Any, Final

from crewgate import limits
from crewgate.export.semantic_conventions import attribute_name

# These are no attributes: each has a field of its own in OTLP.
_FIELDS: Final = frozenset({"kind", "time", "trace", "machine"})
# These hardly ever have the same value twice.
_OWN: Final = frozenset({"request", "duration_us", "remaining_micro"})


class AttributeCache:
    """The attributes of records, each as `encode` (name, value) writes it."""

    def __init__(self, encode: Callable[[str, Any], bytes]) -> None:
        self._encode = encode
        self._known: dict[tuple[str, type, object], bytes] = {}

    def of(self, record: dict[str, Any]) -> list[bytes]:
        """Return the encoded attributes of the members of a record, in its order."""
        found = []
        for member, value in record.items():
            if member in _FIELDS or value is None:
                continue
            if member in _OWN:
                found.append(self._encode(attribute_name(member, value), value))
                continue
            key = (member, type(value), tuple(value) if type(value) is list else value)
            encoded = self._known.get(key)
            found.append(self._add(key, value) if encoded is None else encoded)
        return found

    def one(self, name: str, value: str) -> bytes:
        """Return an attribute that has one of a few values."""
        key = (name, str, value)
        encoded = self._known.get(key)
        if encoded is None:
            encoded = self._known[key] = self._encode(name, value)
        return encoded

    def _add(self, key: tuple[str, type, object], value: object) -> bytes:
        if len(self._known) >= limits.export_attributes_max:
            self._known.clear()
        encoded = self._known[key] = self._encode(attribute_name(key[0], value), value)
        return encoded
