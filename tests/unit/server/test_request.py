"""Which heads become requests, and which are refused."""

import pytest

from crewgate import limits
from crewgate.errors import InvalidRequestError
from crewgate.server.request import Request, build


def _build(**changes: object) -> Request:
    parts: dict = {
        "method": b"GET",
        "target": b"/a/b?c=d?e",
        "authority": b"example.com",
        "fields": [(b"accept", b"*/*")],
        "version": "2",
        "stream": 1,
        "streamed": False,
    }
    return build(**{**parts, **changes})


def test_parts() -> None:
    """Path and query are cut at the first question mark; nothing is decoded."""
    request = _build(target=b"/a%2Fb?c=d?e")
    assert (request.path, request.query) == (b"/a%2Fb", b"c=d?e")
    assert request.target == b"/a%2Fb?c=d?e"


@pytest.mark.parametrize(
    ("length", "streamed", "expected"),
    [(b"5", True, 5), (b"5", False, 5), (None, True, None), (None, False, 0), (b"0", True, 0)],
)
def test_length(length: bytes | None, streamed: bool, expected: int | None) -> None:
    """A declared length is known; without one a body is of unknown size, or none."""
    fields = [(b"content-length", length)] if length is not None else []
    assert _build(fields=fields, streamed=streamed).length == expected


def test_host_is_the_authority() -> None:
    """Host is taken where the request line names nobody, must agree where it does, and is gone."""
    host = [(b"host", b"Example.com:8443")]
    assert _build(authority=None, fields=host).authority == b"Example.com:8443"
    agreed = _build(authority=b"example.com:8443", fields=host)
    assert agreed.authority == b"example.com:8443"
    assert agreed.headers == []
    assert _build(authority=b"[::1]:8443").authority == b"[::1]:8443"


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"method": b""}, 400),
        ({"method": b"G T"}, 400),
        ({"method": b"G\xc3T"}, 400),
        ({"method": b"CONNECT"}, 501),
        ({"method": b"TRACE"}, 501),
        ({"target": b""}, 400),
        ({"target": b"/\xc3\xa4"}, 400),
        ({"target": b"/a b"}, 400),
        ({"target": b"/a#b"}, 400),
        ({"target": b"a"}, 400),
        ({"target": b"http://example.com/"}, 400),
        ({"target": b"*"}, 400),
        ({"target": b"*x", "method": b"OPTIONS"}, 400),
        ({"target": b"/a\x00"}, 400),
        ({"authority": None}, 400),
        ({"authority": b""}, 400),
        ({"authority": b"a/b"}, 400),
        ({"authority": b"user@a"}, 400),
        ({"authority": b'a"b'}, 400),
        ({"authority": b"a:123456"}, 400),
        ({"fields": [(b"host", b"other.example")]}, 400),
        ({"fields": [(b"host", b"example.com"), (b"host", b"example.com")]}, 400),
        ({"fields": [(b"content-length", b"1"), (b"content-length", b"1")]}, 400),
        ({"fields": [(b"content-length", b"+1")]}, 400),
        ({"fields": [(b"content-length", b"1" * 19)]}, 400),
        ({"fields": [(b"content-length", b"%d" % (limits.tool_body_bytes_max + 1))]}, 413),
    ],
)
def test_refused(changes: dict, status: int) -> None:
    """What two parsers could read in two ways, or is over a bound, is refused with its status."""
    with pytest.raises(InvalidRequestError) as raised:
        _build(**changes)
    assert raised.value.status == status


def test_options_of_the_server() -> None:
    """`*` is a target of OPTIONS alone (RFC 9112 §3.2.4), and no path of any tool."""
    request = _build(method=b"OPTIONS", target=b"*")
    assert (request.target, request.path, request.query) == (b"*", b"*", b"")


def test_nothing_secret_in_a_repr() -> None:
    """Fields and query may hold a token: neither is shown."""
    request = _build(target=b"/a?access_token=t0k", fields=[(b"authorization", b"Bearer t0k")])
    assert "t0k" not in repr(request)


def test_a_method_has_a_bound() -> None:
    """A method stands in every audit record: a long one is refused."""
    assert _build(method=b"A" * limits.method_bytes_max).method
    with pytest.raises(InvalidRequestError):
        _build(method=b"A" * (limits.method_bytes_max + 1))


def test_an_authority_has_a_bound() -> None:
    """What a worker keeps of an authority for its next calls is bounded in number and in bytes."""
    longest = b"a" * (limits.authority_bytes_max - 6) + b":65535"
    assert _build(authority=longest).authority == longest
    for authority in (b"a" + longest, b"a" * 30_000):
        with pytest.raises(InvalidRequestError):
            _build(authority=authority)
