"""Finds what makes two messages to an agent the same, for the rules on branches."""

import msgspec


class _Message(msgspec.Struct):
    parts: msgspec.Raw


class _Params(msgspec.Struct):
    message: _Message


class _Body(msgspec.Struct):
    """A body of JSON-RPC has `params`; one of HTTP+JSON has the message itself."""

    params: _Params | None = None
    message: _Message | None = None


_bodies = msgspec.json.Decoder(_Body)


def compared_parts(body: bytes) -> bytes:
    """Return the parts of the message that a request sends; the whole body if it is not JSON.

    Ids of messages, tasks and contexts differ in two messages that say the same.
    """
    try:
        found = _bodies.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return body
    message = found.message if found.params is None else found.params.message
    return body if message is None else bytes(message.parts)
