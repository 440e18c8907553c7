"""The line of a call, against the record that it stands for."""

from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from leaks import assert_no_leak

from crewgate._native.audit_line import AuditLines, AuditLineTemplate, request_text
from crewgate.core.audit import records
from crewgate.core.audit.digest_texts import call_text, digest_text
from crewgate.core.audit.json_line import decode, encode
from crewgate.core.audit.record_builder import permitted
from crewgate.core.audit.records import CallEnd, CallInfo, CallOutcome
from crewgate.core.reasons import Reason
from crewgate.core.tokens.claims import Claims, PathElement
from crewgate.core.tokens.grant import Grant

BRANCH = "0199c1d2-0000-7000-8000-000000000003"
REQUEST = CallInfo(1_800_000_000_123_456_789, bytes(range(16)), "agents", "::/48", "a.b", "GET")
NOW = REQUEST.time_ns
TRACE = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00f067aa0ba902b7-01"


def grant_of(text: str = "text", path: tuple[str, ...] = (), quota: int = 2_500_000) -> Grant:
    """A grant with a text in every place."""
    claims = Claims(
        iss=text,
        aud=text,
        sub=text,
        client_id=text,
        iat=1,
        exp=2,
        jti=text,
        crew=text,
        process_id=text,
        agent_role=text,
        execution_branch_id=BRANCH,
        allowed_tools=[],
        credit_quota=1,
        branch_path=[PathElement(element, 1) for element in path],
    )
    return Grant(claims, text, "key", quota, b"b" * 16, (), b"d" * 16)


# Whatever a text holds, quotes and members of a line among it.
plain = st.text("abz0189._:/@-", max_size=20)
hostile = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from('\n\x00\x7f\x9b\u2028"\\é😀\ud800{}:,'),
        st.sampled_from(",:"),
    ),
    max_size=20,
)
member = st.sampled_from(
    [
        '"time":"',
        ',"outcome":"',
        'x,"time',
        '","request":"',
        ',"quota_micro":',
        ',"duration_us":',
        "",
    ]
)
texts = st.one_of(plain, plain, hostile, member)
grants = st.builds(
    grant_of, texts, st.lists(texts, max_size=3).map(tuple), st.integers(0, 2**53 - 1)
)
requests = st.builds(
    CallInfo,
    st.integers(-(2**63), 2**63 - 1)
    | st.integers(0, 2**32).map(lambda second: second * 1_000_000_000),
    st.sampled_from([b"", bytes(16), b"\xff" * 16]) | st.binary(min_size=16, max_size=16),
    texts,
    texts,
    texts,
    texts,
    st.just("") | st.text("0123456789ABCDEF", max_size=64),
    st.sampled_from(["", TRACE]),
)
numbers = st.sampled_from([0, 1, 9, 10, 2**53 - 1, 2**63 - 1, -1, -(2**63)]) | st.integers(0, 10**6)
ends = st.builds(CallEnd, st.sampled_from(CallOutcome), numbers, numbers, numbers, numbers, numbers)


@given(requests, grants, ends, st.none() | numbers, st.none() | st.sampled_from(Reason))
@example(REQUEST, grant_of(), CallEnd(CallOutcome.DONE, 1), None, None)
@example(
    msgspec.structs.replace(REQUEST, certificate="0A" * 20, trace=TRACE),
    grant_of(),
    CallEnd(CallOutcome.DONE, 2**63 - 1, 2**63 - 1, 2**63 - 1, 2**63 - 1, 2**63 - 1),
    2**63 - 1,
    Reason.REVOCATION_UNAVAILABLE,
)
@example(
    REQUEST, grant_of("x" * 3000), CallEnd(CallOutcome.DONE, 1), None, None
)  # no line for the stack
@example(REQUEST, grant_of("x,"), CallEnd(CallOutcome.DONE, 1), 0, Reason.CREDITS_EXHAUSTED)
def test_the_line_of_a_call(
    request_: CallInfo, grant: Grant, end: CallEnd, remaining: int | None, would: Reason | None
) -> None:
    """Byte for byte what the record is written as: order, defaults, escapes and times."""
    expected = encode(permitted(request_, grant, end, remaining_micro=remaining, would=would))
    line = AuditLineTemplate(request_, grant).end(
        request_.time_ns,
        request_.id,
        end.outcome,
        end.cost_micro,
        remaining,
        end.duration_us,
        end.status,
        end.bytes_in,
        end.bytes_out,
        would,
        request_.certificate,
        request_.trace,
    )
    assert line == expected


@given(st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**63 - 1))
@example(0, 951_782_400_000_000_000)  # 29 February 2000
@example(-1, 951_868_800_000_000_000)
@example(-(2**63), 2**63 - 1)
def test_times(first: int, second: int) -> None:
    """A line made for one time says any other: only what calls share is kept of the first."""
    line = AuditLineTemplate(REQUEST, grant_of())
    for time_ns in (first, second):
        text = line.end(time_ns, b"", CallOutcome.DONE, 0, None, 0, 0, 0, 0)
        call = decode(text)
        assert isinstance(call, records.CallRecord)
        assert call.time == records.when(time_ns)


def test_every_day_of_six_centuries() -> None:
    """The calendar is the library's, on each day that 64 bits of nanoseconds reach."""
    line = AuditLineTemplate(REQUEST, grant_of())
    head = line.end(0, b"", CallOutcome.DONE, 0, None, 0, 0, 0, 0).index(b"1970-01-01T")
    for day in range(-106_751, 106_751):
        time_ns = day * 86_400_000_000_000
        text = line.end(time_ns, b"", CallOutcome.DONE, 0, None, 0, 0, 0, 0)
        assert text[head : head + 10].decode() == records.when(time_ns).date().isoformat()


def test_a_line_is_shared_by_certificates() -> None:
    """Connections of one token have one line, made for whichever came first; each says its own."""
    certified = msgspec.structs.replace(REQUEST, certificate="0A")
    for line in (AuditLineTemplate(certified, grant_of()), AuditLineTemplate(REQUEST, grant_of())):
        for serial in ("", "0B" * 20, "0A"):
            call = decode(
                line.end(NOW, b"", CallOutcome.DONE, 0, None, 0, 0, 0, 0, certificate=serial)
            )
            assert isinstance(call, records.CallRecord)
            assert call.certificate == serial


@given(st.just(b"") | st.binary(min_size=16, max_size=16))
@example(bytes(16))
def test_request_ids(identifier: bytes) -> None:
    """UUID text, as core/audit/records writes it."""
    assert request_text(identifier) == records.request_text(identifier).encode()


@pytest.mark.parametrize(
    ("place", "value", "error"),
    [
        (0, "1", TypeError),
        (0, 2**63, OverflowError),
        (1, None, TypeError),
        (1, "0" * 16, TypeError),
        (1, b"short", ValueError),
        (2, "done", TypeError),
        (2, None, TypeError),
        (3, None, TypeError),
        (3, 2**63, OverflowError),
        (4, "1", TypeError),
        (5, 1.5, TypeError),
        (8, -(2**63) - 1, OverflowError),
        (9, "unknown-tool", TypeError),
        (10, None, TypeError),
        (10, b"0A", TypeError),
        (10, "0a", ValueError),
        (10, '0A","x":"', ValueError),
        (10, "0A\n", ValueError),
        (10, "é", ValueError),
        (11, None, TypeError),
        (11, b"0a", TypeError),
        (11, "0A", ValueError),
        (11, '0a","x":"', ValueError),
    ],
)
def test_what_cannot_be_written(place: int, value: Any, error: type[Exception]) -> None:
    """A value of another kind is an error, never a line that says something else."""
    parts: list[Any] = [
        NOW,
        bytes(16),
        CallOutcome.DONE,
        1,
        2,
        3,
        4,
        5,
        6,
        Reason.UNKNOWN_TOOL,
        "0A",
        "0a-",
    ]
    line = AuditLineTemplate(REQUEST, grant_of())
    assert line.end(*parts)
    parts[place] = value
    with pytest.raises(error):
        line.end(*parts)


def test_lines_of_grants_never_mix() -> None:
    """Every grant and kind of call has its own line, however many came and went there."""
    lines = AuditLines(8)
    for number in range(300):
        grant = grant_of(str(number))
        for tool in ("a", "b"):
            request = CallInfo(NOW, b"", "agents", "::/48", tool, "GET")
            expected = encode(permitted(request, grant, CallEnd(CallOutcome.DONE, 0)))
            for _ in range(2):
                line = lines.line(request, grant)
                assert line.end(NOW, b"", CallOutcome.DONE, 0, None, 0, 0, 0, 0) == expected
        del grant
        assert len(lines) <= 8


def test_lines_are_kept() -> None:
    """The same kind of call finds the same line; another method, network or listener does not."""
    lines, grant = AuditLines(8), grant_of()
    first = lines.line(REQUEST, grant)
    assert lines.line(CallInfo(1, b"", "agents", "::/48", "a.b", "GET"), grant) is first
    for other in (
        CallInfo(NOW, b"", "others", "::/48", "a.b", "GET"),
        CallInfo(NOW, b"", "agents", "::1/48", "a.b", "GET"),
        CallInfo(NOW, b"", "agents", "::/48", "a.c", "GET"),
        CallInfo(NOW, b"", "agents", "::/48", "a.b", "PUT"),
    ):
        assert lines.line(other, grant) is not first
    assert lines.line(REQUEST, grant_of()) is not first
    assert len(lines) == 6
    with pytest.raises(ValueError, match="at least one"):
        AuditLines(0)


def test_nothing_is_kept_or_lost() -> None:
    """After thousands of lines, refused ones too, no reference and no memory is left over."""
    lines, grant, identifier = AuditLines(2), grant_of(), bytes(16)
    tools = [CallInfo(NOW, b"", "agents", "::/48", name, "GET") for name in ("a", "b", "c")]

    def walk() -> None:
        for _ in range(500):
            for request in tools:
                line = lines.line(request, grant)
                line.end(
                    NOW, identifier, CallOutcome.DONE, 1, None, 2, 3, 4, 5, Reason.UNKNOWN_TOOL
                )
                with pytest.raises(TypeError):
                    line.end(NOW, identifier, CallOutcome.DONE, 1, "x", 2, 3, 4, 5)  # type: ignore[arg-type]

    assert_no_leak(walk, grant, identifier)


@pytest.mark.parametrize("call", [0, 1, 2, 2**64 - 1])
@pytest.mark.parametrize(("answer", "retry", "failed"), [(0, 0, False), (2**63, 86_400, True)])
def test_the_line_of_a_call_that_rules_compare(
    call: int, answer: int, retry: int, failed: bool
) -> None:
    """Digests, what the answer asks for, and that it is an error, as in the record."""
    end = CallEnd(
        CallOutcome.DONE,
        1,
        call_digest=call_text(call),
        answer_digest=digest_text(answer),
        retry_seconds=retry,
        failed=failed,
    )
    line = AuditLineTemplate(REQUEST, grant_of()).end(
        NOW, REQUEST.id, end.outcome, 1, None, 0, 0, 0, 0, None, "", "", call, answer, retry, failed
    )
    assert line == encode(permitted(REQUEST, grant_of(), end))
