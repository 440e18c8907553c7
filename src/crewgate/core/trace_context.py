"""Reads and writes W3C Trace Context (www.w3.org/TR/trace-context-2): `traceparent`, `tracestate`.

The gateway is one span of a trace: the client's span is its parent, and the gateway's own span is
the parent of what the tool does. The audit record has the ids, so that the export process can make
the span later.
"""

import re
from collections.abc import Sequence
from typing import Self

import msgspec

from crewgate import limits
from crewgate.core.http_types import HeaderField

TRACEPARENT, TRACESTATE = b"traceparent", b"tracestate"
NO_PARENT = "0" * 16  # as the parent of a span: the span is the first of its trace

# Section 3.2.2. A later version may have more after a dash (section 4.1); version ff is invalid.
_traceparent = re.compile(
    rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?",
    re.DOTALL,
).fullmatch
_member = re.compile(r"([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{16})-([0-9a-f]{2})").fullmatch
_SAMPLED, _RANDOM = 0x01, 0x02  # the flags that section 3.2.2.5 defines
_MEMBERS_MAX = 32  # of a tracestate (section 3.3.1.1)
_COMMAS_MAX = 2 * _MEMBERS_MAX  # members may be empty; reading thousands would take milliseconds
_LARGE_MEMBER_CHARS = 128  # such members go first (section 3.3.1.5)


class TraceContext(msgspec.Struct, frozen=True, gc=False):
    """The place of one call in a trace.

    `trace_id` has 32 lower-case hexadecimal digits; `parent` and `span` have 16. `parent` is the
    client's span, or `NO_PARENT`, and `span` is the gateway's. `state` is the `tracestate` to send.
    """

    trace_id: str
    parent: str
    span: str
    flags: int
    state: bytes = b""

    @classmethod
    def root(cls, random: bytes) -> Self:
        """Start a trace that is sampled, with ids from 24 random bytes."""
        digits = random.hex()
        return cls(digits[:32], NO_PARENT, digits[32:], _SAMPLED | _RANDOM)

    @property
    def is_sampled(self) -> bool:
        """Whether the client, or this gateway for a trace of its own, records its spans."""
        return bool(self.flags & _SAMPLED)

    @property
    def text(self) -> str:
        """The member `trace` of an audit record: trace id, parent, own span and flags."""
        return f"{self.trace_id}-{self.parent}-{self.span}-{self.flags:02x}"

    def headers(self, token: bytes) -> list[HeaderField]:
        """Return the fields that the tool gets; without a state that has the caller's `token`."""
        value = f"00-{self.trace_id}-{self.span}-{self.flags:02x}".encode()
        if not self.state or (token and token in self.state):
            return [(TRACEPARENT, value)]
        return [(TRACEPARENT, value), (TRACESTATE, self.state)]


def continued(
    parents: Sequence[bytes], states: Sequence[bytes], span: bytes
) -> TraceContext | None:
    """Return the context of a call, from the values of its `traceparent` and `tracestate` fields.

    `span` has the 8 random bytes of the gateway's span. None if there is not exactly one valid
    `traceparent`.
    """
    found = _traceparent(parents[0]) if len(parents) == 1 else None
    if found is None or (found[1] == b"00" and found[5] is not None):
        return None
    flags = int(found[4], 16) & (_SAMPLED | _RANDOM)
    return TraceContext(found[2].decode(), found[3].decode(), span.hex(), flags, _state(states))


def parse(text: str) -> TraceContext | None:
    """Return the context that `TraceContext.text` wrote, without its state; None for other text."""
    found = _member(text)
    if found is None:
        return None
    return TraceContext(found[1], found[2], found[3], int(found[4], 16))


def _state(values: Sequence[bytes]) -> bytes:
    """Return the fields as one, shortened as section 3.3.1.5 describes if it is too long."""
    state = b",".join(values)
    if not state or state.count(b",") > _COMMAS_MAX:
        return b""
    members = [each for each in (part.strip(b" \t") for part in state.split(b",")) if each]
    if len(members) > _MEMBERS_MAX:
        return b""
    if len(state) <= limits.tracestate_chars_max:
        return state
    size = sum(map(len, members)) + len(members) - 1
    for index in sorted(range(len(members)), key=lambda at: (-_is_large(members[at]), -at)):
        if size <= limits.tracestate_chars_max:
            break
        size -= len(members[index]) + 1
        members[index] = b""
    return b",".join(filter(None, members))


def _is_large(member: bytes) -> bool:
    return len(member) > _LARGE_MEMBER_CHARS
