"""W3C Trace Context: which fields continue a trace, and what the tool gets of them."""

import pytest

from crewgate.core import trace_context
from crewgate.core.trace_context import TraceContext, continued, parse

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
VALID = f"00-{TRACE}-{PARENT}-01".encode()
OURS = bytes.fromhex("00f067aa0ba902b7")


@pytest.mark.parametrize(
    "parents",
    [
        [],
        [VALID, VALID],
        [b""],
        [VALID.upper()],
        [VALID[:-1]],
        [VALID + b"0"],
        [VALID + b"-more"],  # version 00 has four parts
        [VALID + b"."],
        [b" " + VALID],
        [b"ff" + VALID[2:]],
        [b"cc" + VALID[2:] + b".more"],
        [VALID.replace(TRACE.encode(), b"0" * 32)],
        [VALID.replace(PARENT.encode(), b"0" * 16)],
        [VALID.replace(b"-", b"_")],
        [VALID.replace(b"0a", b"0g")],
    ],
)
def test_what_continues_no_trace(parents: list[bytes]) -> None:
    assert continued(parents, [b"a=1"], OURS) is None


@pytest.mark.parametrize("value", [VALID, b"cc" + VALID[2:], b"cc" + VALID[2:] + b"-what-follows"])
def test_a_call_is_the_child_of_the_clients_span(value: bytes) -> None:
    """Also in a later version, of which the gateway knows the first four parts."""
    found = continued([value], [], OURS)
    assert found == TraceContext(TRACE, PARENT, OURS.hex(), 1)
    assert found.headers(b"") == [(b"traceparent", f"00-{TRACE}-{OURS.hex()}-01".encode())]
    assert parse(found.text) == found


@pytest.mark.parametrize(("sent", "kept"), [("00", 0), ("01", 1), ("02", 2), ("ff", 3), ("fc", 0)])
def test_flags_without_a_meaning_are_zero(sent: str, kept: int) -> None:
    found = continued([VALID[:-2] + sent.encode()], [], OURS)
    assert found is not None
    assert (found.flags, found.is_sampled) == (kept, kept % 2 == 1)


@pytest.mark.parametrize("text", ["", "x", f"{TRACE}-{PARENT}-{PARENT}", f"{TRACE}-{PARENT}-x-01"])
def test_another_text_is_no_context(text: str) -> None:
    assert parse(text) is None


def test_a_trace_of_our_own_is_sampled_and_has_no_parent() -> None:
    found = TraceContext.root(bytes(range(1, 25)))
    assert (found.parent, found.is_sampled) == (trace_context.NO_PARENT, True)
    assert parse(found.text) == found


def _state(*values: bytes) -> bytes:
    found = continued([VALID], values, OURS)
    assert found is not None
    return found.state


def test_a_state_passes_unchanged() -> None:
    """Of several lines, in their order; up to 512 characters and 32 members."""
    assert _state(b"a=1 ,\tb=2,", b"c=3") == b"a=1 ,\tb=2,,c=3"
    most = b",".join(b"k%02d=%b" % (number, b"v" * 11) for number in range(32))
    assert len(most) == 511
    assert _state(most) == most
    assert _state(most + b",z=1") == b""
    assert _state(b"a=1" + 60_000 * b",") == b"", "reading it would take milliseconds"


def test_a_long_state_loses_large_members_first_and_then_the_last() -> None:
    large, small = b"l=" + b"x" * 250, b"s=" + b"x" * 60
    members = [small + b"1", large + b"1", small + b"2", large + b"2", small + b"3"]
    assert _state(b",".join(members)) == b",".join(members[:3] + members[4:])
    many = [b"%d=" % number + b"x" * 98 for number in range(6)]
    assert _state(b",".join(many)) == b",".join(many[:5])


def test_a_state_does_not_carry_the_callers_token() -> None:
    found = continued([VALID], [b"a=e30.e30.c2ln"], OURS)
    assert found is not None
    assert [name for name, _ in found.headers(b"e30.e30.c2ln")] == [b"traceparent"]
    assert found.headers(b"other")[1] == (b"tracestate", b"a=e30.e30.c2ln")
