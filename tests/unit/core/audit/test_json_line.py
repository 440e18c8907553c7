"""A record is exactly one line of printable ASCII, whatever its texts hold."""

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewgate.core.audit.json_line import decode, encode
from crewgate.core.audit.records import CallOutcome, CallRecord, ServiceEvent

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
# Without surrogates: what UTF-8 can carry.
texts = st.text(st.characters(codec="utf-8"), max_size=40)
hostile = st.text(st.sampled_from('\n\r\x00\x1b[31m\x7f\x9b\u2028\u2029\u202e\u200b"\\é😀\ud800{}'))


def call(text: str) -> CallRecord:
    """A record with the text wherever a text can stand."""
    return CallRecord(
        crew=text,
        orchestrator=text,
        process=text,
        role=text,
        branch=text,
        ancestry=(text, text),
        time=NOON,
        request=text,
        listener=text,
        peer=text,
        tool=text,
        method=text,
        verdict="deny",
        outcome=CallOutcome.REFUSED,
        cost_micro=0,
        quota_micro=2**53 - 1,
        duration_us=1,
        reason=text,
    )


@given(texts)
def test_any_text_comes_back_from_one_line(text: str) -> None:
    """No text can end a line early, start another, or change on its way."""
    record = call(text)
    line = encode(record)
    assert line.endswith(b"\n")
    assert decode(line[:-1]) == record


@given(texts | hostile)
def test_a_line_is_printable_ascii(text: str) -> None:
    """Even `tail -f` on the file shows no control, no C1, no bidirectional override."""
    line = encode(call(text))
    assert all(0x20 <= byte < 0x7F for byte in line[:-1])
    assert line[-1:] == b"\n"


@given(hostile)
def test_a_lone_surrogate_neither_raises_nor_stays(text: str) -> None:
    """What UTF-8 cannot carry becomes U+FFFD; the rest of the record is untouched."""
    assert decode(encode(call(text))) == call(text.replace("\ud800", "\ufffd"))


def test_the_line_says_its_kind_and_leaves_out_what_is_not_there() -> None:
    """Defaults are absent, so that a line is short and `null` never means two things."""
    assert encode(ServiceEvent(time=NOON, event="start")) == (
        b'{"kind":"event","time":"2026-11-24T12:00:00Z","event":"start"}\n'
    )


@pytest.mark.parametrize("line", [b"", b"{", b'{"kind":"call"}', b'{"kind":"other"}', b"\x00\x00"])
def test_a_torn_or_foreign_line_is_an_error(line: bytes) -> None:
    """A reader can tell a line that a power loss cut from a record."""
    with pytest.raises(msgspec.DecodeError):
        decode(line)
