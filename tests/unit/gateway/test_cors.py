"""Preflights that are answered, those that are judged, and what a page may read."""

import pytest

from crewgate.config import CORSConfig
from crewgate.core.http_types import HeaderField
from crewgate.gateway import cors
from crewgate.server.request import Request

APP = b"https://app.example"
CORS = CORSConfig(("https://app.example", "http://localhost:3000"), ("authorization", "x-a"), 60)


class Tool:
    def __init__(self, cors: CORSConfig | None) -> None:
        self.cors = cors


def _request(*fields: HeaderField, method: bytes = b"OPTIONS", path: bytes = b"/search") -> Request:
    return Request(method, path, path, b"", b"a", list(fields), "2", 1, 0)


def _find(method: bytes, path: bytes, authority: bytes) -> Tool | None:
    tools = {(b"POST", b"/search"): Tool(CORS), (b"POST", b"/plain"): Tool(None)}
    return tools.get((method, path))


def _asks(origin: bytes = APP, method: bytes = b"POST") -> list[HeaderField]:
    return [(b"origin", origin), (b"access-control-request-method", method)]


def test_a_preflight_of_a_listed_page_is_answered() -> None:
    """It hears its origin, the method, the fields that it may set, and for how long."""
    assert cors.preflight(_request(*_asks()), _find) == [
        (b"access-control-allow-origin", APP),
        (b"access-control-allow-methods", b"POST"),
        (b"access-control-allow-headers", b"authorization, x-a"),
        (b"access-control-max-age", b"60"),
        (b"vary", b"origin, access-control-request-method, access-control-request-headers"),
    ]


@pytest.mark.parametrize(
    "request_",
    [
        _request(*_asks(), method=b"POST"),
        _request(*_asks(), path=b"/plain"),
        _request(*_asks(), path=b"/nowhere"),
        _request(*_asks(method=b"GET")),
        _request(*_asks(b"https://other.example")),
        _request(*_asks(b"https://APP.example")),
        _request(*_asks(b"https://app.example.evil.example")),
        _request(*_asks(b"null")),
        _request(*_asks(b"\xff")),
        _request(*_asks(), (b"origin", APP)),
        _request((b"origin", APP)),
        _request((b"access-control-request-method", b"POST")),
        _request(),
    ],
    ids=lambda request: f"{request.method.decode()} {request.path.decode()} {request.headers}",
)
def test_every_other_one_is_judged(request_: Request) -> None:
    """A tool without CORS, a page that is not listed, or no preflight at all: a token is needed."""
    assert cors.preflight(request_, _find) is None


def test_any_page_if_so_configured() -> None:
    """`*` lists every origin; the answer names the one that asked, so no cache mixes them up."""
    tool = Tool(CORSConfig(("*",)))
    fields = cors.preflight(_request(*_asks(b"https://any.example")), lambda *_: tool)
    assert fields is not None
    assert dict(fields)[b"access-control-allow-origin"] == b"https://any.example"


def test_an_answer_is_shared_with_listed_pages_only() -> None:
    """What the tool's server says of CORS is replaced; caches are told that origins differ."""
    theirs = [(b"access-control-allow-origin", b"*"), (b"vary", b"accept"), (b"x-tool", b"1")]
    shared = cors.shared(CORS, _request((b"origin", APP), method=b"POST"), theirs)
    assert shared == [
        (b"vary", b"accept"),
        (b"x-tool", b"1"),
        (b"vary", b"origin"),
        (b"access-control-allow-origin", APP),
        (b"access-control-expose-headers", b"*"),
    ]
    for fields in ([(b"origin", b"https://other.example")], []):
        shared = cors.shared(CORS, _request(*fields, method=b"POST"), theirs)
        assert shared == [(b"vary", b"accept"), (b"x-tool", b"1"), (b"vary", b"origin")]


def test_a_refusal_is_shared_where_the_answer_would_be() -> None:
    """A page may read why its call was refused; other tools' refusals are as they were."""
    problem = [(b"content-type", b"application/problem+json")]
    asked = _request((b"origin", APP), method=b"POST")
    assert (b"access-control-allow-origin", APP) in cors.shared_refusal(asked, _find, problem)
    plain = _request((b"origin", APP), method=b"POST", path=b"/plain")
    assert cors.shared_refusal(plain, _find, problem) == problem
    assert cors.shared_refusal(_request(method=b"POST"), _find, problem) == problem


def test_credentials_mode_is_never_allowed() -> None:
    """The gateway knows no cookies; a browser that sends some may not read the answer."""
    fields = cors.preflight(_request(*_asks()), _find) or []
    fields += cors.shared(
        CORS, _request(*_asks()), [(b"access-control-allow-credentials", b"true")]
    )
    assert b"access-control-allow-credentials" not in dict(fields)
