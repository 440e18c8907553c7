"""What the tests of the native engines of HTTP/2 share: frames, and what an engine did."""

from collections.abc import Callable

import ngh2
from hypothesis import strategies as st

END_STREAM, END_HEADERS, PADDED, PRIORITY = 0x1, 0x4, 0x8, 0x20
DATA, HEADERS, RST_STREAM, SETTINGS_FRAME, PUSH_PROMISE, PING, GOAWAY = 0, 1, 3, 4, 5, 6, 7
WINDOW_UPDATE, CONTINUATION = 8, 9


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One frame as it stands on the wire (RFC 9113 §4.1)."""
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


def numbers(size: int) -> st.SearchStrategy[bytes]:
    """A number that fills `size` bytes: a small one, or the highest."""
    return st.sampled_from([0, 1, 8, 300, 256**size - 1]).map(
        lambda number: (number % 256**size).to_bytes(size)
    )


def values(event: ngh2.Event) -> tuple[object, ...]:
    """What an event says; two events are never equal themselves."""
    names: tuple[str, ...] = event.__match_args__
    shown = [getattr(event, name) for name in names]
    if isinstance(event, ngh2.RequestReceived):
        shown += [type(field) for field in event.headers]
    return type(event), *(repr(one) if isinstance(one, Exception) else one for one in shown)


def outcome(work: Callable[[], object]) -> object:
    """What a call returned, or which exception it raised."""
    try:
        return work()
    except Exception as error:  # noqa: BLE001 - it is what is compared
        return type(error), str(error)
