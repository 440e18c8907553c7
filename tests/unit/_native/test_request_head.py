"""Heads against the slow model, and what no head may do to the walk."""

from collections.abc import Callable
from typing import Any

import pytest
import slow_heads
from hypothesis import example, given
from hypothesis import strategies as st
from leaks import assert_no_leak

from crewgate import limits
from crewgate._native.request_head import RequestHeadParser
from crewgate.errors import InvalidRequestError
from crewgate.server.request import Request, build, read

Field = tuple[bytes, bytes]


def texts(*words: bytes, alphabet: str) -> st.SearchStrategy[bytes]:
    """The words, texts of an alphabet, and any bytes."""
    made = st.text(alphabet, max_size=8).map(str.encode)
    return st.one_of(st.sampled_from(words), st.sampled_from(words), made, st.binary(max_size=6))


methods = texts(
    b"GET", b"POST", b"OPTIONS", b"CONNECT", b"TRACE", b"x" * 32, b"x" * 33, alphabet="aZ09!#~ "
)
targets = texts(b"/", b"*", b"/a?b?c", b"/?", b"/a#b", b"?", b"https://a/", alphabet='/?*a"#~!\x7f')
authorities = texts(
    b"a", b"A", b"a:1", b"A:1", b"a:12345", b"a:123456", b"[::1]:8", b"[]", alphabet="aF.:[]@1-_~"
)
lengths = texts(b"0", b"5", b"007", b"9" * 18, b"9" * 19, b"67108865", alphabet="0123456789+ ")
names = texts(b"accept", b"Host", b"hos", b"content-lengt", b":x", alphabet=":hostcenl-g")
found_fields = st.lists(
    st.one_of(
        st.tuples(names, st.binary(max_size=4)),
        st.tuples(st.just(b"host"), authorities),
        st.tuples(st.just(b"content-length"), lengths),
    ),
    max_size=4,
)


def outcome(of: Callable[[], Any]) -> Any:
    """What it returns, or the refusal that it raises."""
    try:
        return of()
    except InvalidRequestError as refusal:
        return refusal.status, str(refusal)


@given(methods, targets, st.none() | authorities, found_fields, st.booleans())
@example(b"GET", b"/", b"a", [(b"content-length", b"9" * 18)], True)
@example(b"GET", b"/", b"a", [(b":method", b"POST")], False)
def test_build(
    method: bytes, target: bytes, authority: bytes | None, found: list[Field], streamed: bool
) -> None:
    """Native and slow code make the same request, or refuse with the same words."""
    given_ = {"version": "1.1", "stream": 0, "streamed": streamed}
    expected = outcome(lambda: slow_heads.build(method, target, authority, found, **given_))
    assert outcome(lambda: build(method, target, authority, found, **given_)) == expected


@st.composite
def streams(draw: st.DrawFn) -> list[Field]:
    """Fields of a stream, in any order; a pseudo field may be missing, unknown or there twice."""
    pseudo = {
        b":method": draw(methods),
        b":path": draw(targets),
        b":scheme": draw(st.sampled_from([b"https", b"https", b"https", b"http", b""])),
        b":authority": draw(authorities),
    }
    for name in draw(st.lists(st.sampled_from(list(pseudo)), max_size=1)):
        del pseudo[name]
    late = [(b":path", b"/late"), (b":", b""), (b"", b"")]
    further = draw(st.lists(st.sampled_from(late), max_size=2))
    found = [*pseudo.items(), *draw(found_fields), *further]
    return draw(st.permutations(found)) if draw(st.booleans()) else found


@given(streams(), st.booleans())
def test_read(found: list[Field], streamed: bool) -> None:
    """The same of an HTTP/2 stream's fields."""
    expected = outcome(lambda: slow_heads.read(found, 7, streamed))
    assert outcome(lambda: read(found, 7, streamed)) == expected
    assert outcome(lambda: read(tuple(found), 7, streamed)) == expected


@given(st.binary(max_size=12))
def test_each_byte_of_a_line(text: bytes) -> None:
    """Whatever stands in a method, a target or an authority is judged as the model judges it."""
    for method, target, authority in ((text, b"/", b"a"), (b"A", b"/" + text, b"a")):
        parts = (method, target, authority, [])
        more = {"version": "2", "stream": 1, "streamed": False}
        expected = outcome(lambda parts=parts, more=more: slow_heads.build(*parts, **more))
        assert outcome(lambda parts=parts, more=more: build(*parts, **more)) == expected


def test_every_byte_alone() -> None:
    """All 256 bytes in all three places."""
    for octet in range(256):
        one = bytes([octet])
        for parts in ((one, b"/", b"a", []), (b"A", b"/" + one, b"a", []), (b"A", b"/", one, [])):
            more = {"version": "2", "stream": 1, "streamed": False}
            expected = outcome(lambda parts=parts, more=more: slow_heads.build(*parts, **more))
            assert outcome(lambda parts=parts, more=more: build(*parts, **more)) == expected


@pytest.mark.parametrize(
    "bad",
    [None, 3, [None], [b"ab"], [(b":path",)], [(b":path", "/")], [[b"a", b"b"]], [(1, 2)]],
    ids=repr,
)
def test_other_types(bad: Any) -> None:
    """Whatever is not bytes is a TypeError, in the fields and in the line."""
    with pytest.raises(TypeError):
        read(bad, 1, False)
    for parts in ((b"A", b"/", b"a", bad), (bad, b"/", b"a", []), (b"A", bad, b"a", [])):
        with pytest.raises(TypeError):
            build(*parts, version="2", stream=1, streamed=False)
    with pytest.raises(TypeError):
        build(b"A", b"/", 3, [], version="2", stream=1, streamed=False)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        RequestHeadParser(Request)  # type: ignore[call-arg]


def test_what_the_class_raises() -> None:
    """An error of the class that is made comes out as it is."""

    def make(*parts: object) -> None:
        raise LookupError(*parts)

    with pytest.raises(LookupError) as raised:
        RequestHeadParser(make, ()).build(
            b"A", b"/?b", b"a", [], version="v", stream=2, streamed=True
        )
    assert raised.value.args == (b"A", b"/?b", b"/", b"b", b"a", [], "v", 2, None)


def test_a_bound_is_read_when_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest body is what limits.py says at the time."""
    monkeypatch.setattr(limits, "tool_body_bytes_max", 4)
    fields = [(b"content-length", b"5")]
    with pytest.raises(InvalidRequestError) as raised:
        build(b"A", b"/", b"a", fields, version="2", stream=1, streamed=True)
    assert raised.value.status == 413


def test_nothing_is_kept_or_lost() -> None:
    """After thousands of heads, refused ones too, no reference and no memory is left over."""
    value = b"some value"
    stream: list[Field] = [
        (b":method", b"GET"),
        (b":scheme", b"https"),
        (b":path", b"/a?b"),
        (b"host", b"a"),
        (b"content-length", b"700"),
        (b"x-name", value),
    ]
    refused = [*stream, (b"host", b"b")]

    def walk() -> None:
        for _ in range(2000):
            read(stream, 1, True)
            outcome(lambda: read(refused, 1, True))
            build(b"GET", b"/", None, stream, version="1.1", stream=0, streamed=False)

    assert_no_leak(walk, value, stream[0])
