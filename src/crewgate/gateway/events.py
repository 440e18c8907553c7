"""Server-sent events (the HTML standard, §9.2), as far as ending such a stream in order takes."""

from collections.abc import Mapping

ENDS = (b"\n\n", b"\r\n\r\n", b"\r\r")  # of an event: the next one may be ours


def is_stream(fields: Mapping[bytes, bytes]) -> bool:
    """Return whether an answer with these fields streams events that can be read in passing."""
    kind = fields.get(b"content-type", b"").lower()
    return kind.startswith(b"text/event-stream") and b"content-encoding" not in fields
