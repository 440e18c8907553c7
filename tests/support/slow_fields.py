"""The slow, obvious model of `_native/fields`: which fields go on, and how they are written."""

from collections.abc import Collection, Sequence

from crewgate.core.bearer import OURS, PLAIN, is_ours
from crewgate.errors import InvalidRequestError

Field = tuple[bytes, bytes]


def written(fields: Sequence[Field]) -> bytes:
    """Fields as HTTP/1.1 writes them."""
    return b"".join([b"%b: %b\r\n" % field for field in fields])


def passed(
    headers: Sequence[Field],
    dropped: Collection[bytes],
    refused: Collection[bytes],
    allowed: Collection[bytes],
    token: bytes = b"",
) -> list[Field]:
    """The client's fields that go upstream; InvalidRequestError for one like ours."""
    named = connection_options(headers)
    fields = []
    for field in headers:
        name = field[0]
        if name in dropped:
            continue
        plain = name.translate(PLAIN)
        if plain.startswith(OURS) or plain in refused:
            raise InvalidRequestError(400, f"the field {name.decode('latin-1')} is the gateway's")
        if plain != name and name not in allowed:
            continue
        if name not in named and not (token and token in field[1]):
            fields.append(field)
    return fields


def answered(headers: Sequence[Field], dropped: Collection[bytes]) -> list[Field]:
    """The fields of an answer that go to the client."""
    named = connection_options(headers)
    return [
        field
        for field in headers
        if field[0] not in dropped and field[0] not in named and not is_ours(field[0])
    ]


def connection_options(headers: Sequence[Field]) -> set[bytes]:
    """The fields that Connection names as hop-by-hop."""
    named: set[bytes] = set()
    for name, value in headers:
        if name == b"connection":
            named.update(option.strip().lower() for option in value.split(b","))
    return named
