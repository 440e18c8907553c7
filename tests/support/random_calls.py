"""Random requests, and random answers of a tool's server; both are mostly such as calls have."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from hypothesis import strategies as st
from two_ways import Body

Field = tuple[bytes, bytes]
TOKEN = b"TOKEN"  # in a value: stands for the token of the way that carries the request
_LINES = ((b"GET", b"/summary"), (b"POST", b"/search"), (b"PUT", b"/notes"), (b"DELETE", b"/notes"))
_ODD_METHODS = (b"GET", b"POST", b"PUT", b"DELETE", b"HEAD", b"OPTIONS", b"BREW")
_ODD_PATHS = (
    *(b"/summary", b"/search", b"/small", b"/pages/a", b"/none", b"/%73earch", b"/search/", b"*"),
    *(b"//search", b"/summary#", b"/.well-known/oauth-protected-resource", b"/v1/embeddings"),
    b"/mcp/files",
)
_QUERIES = (b"", b"", b"?", b"?a=b", b"?a=%20b&c", b"?x?y")
_ODD_QUERIES = (
    b"?a b",
    b"?\xe9",
    b"?access_token=1",
    b"?a=\x7f",
    b"?t=" + TOKEN,
    b"?" + b"q" * 900,
)
_ODD_AUTHORITIES = (b"GATEWAY.example:8443", b"gateway.example", b"a.example", b"")
_BEARER = (b"authorization", b"Bearer " + TOKEN)
_ODD_CREDENTIALS: tuple[tuple[Field, ...], ...] = (
    (),
    (_BEARER, _BEARER),
    (_BEARER, (b"x-copy", b"a " + TOKEN)),
    ((b"authorization", b"bearer  " + TOKEN),),
    ((b"authorization", b"Bearer " + TOKEN + b"x"),),
    ((b"authorization", b"Basic YTpi"),),
    ((b"x-api-key", TOKEN),),
)
_NAMES = (
    *(b"accept", b"cookie", b"content-type", b"user-agent", b"x-a", b"x-b", b"via", b"range"),
    *(b"if-match", b"forwarded", b"x-forwarded-for", b"x_y", b"x-real-ip", b"priority", b"x.y"),
    *(b"x-original-url", b"traceparent", b"tracestate", b"proxy-authorization", b"trailer"),
)
_ODD_NAMES = (b"x-crewgate-crew", b"x_crewgate_crew", b"te", b"connection", b"host", b"expect")
_ANSWER_NAMES = (
    *(b"Content-Type", b"Set-Cookie", b"X-A", b"ETag", b"Vary", b"x-b", b"CACHE-CONTROL") * 2,
    *(b"Date", b"Via", b"Keep-Alive", b"Trailer", b"Server", b"X-Crewgate-Crew", b"Upgrade"),
    *(b"x-crewgate-credits-left", b"Proxy-Authenticate", b"Location", b"X_Y", b"Retry-After"),
)
# Values that these fields usually have.
_GOOD_VALUES = {
    b"traceparent": b"00-" + b"ab" * 16 + b"-" + b"cd" * 8 + b"-01",
    b"tracestate": b"a=1,b=2",
    b"te": b"trailers",
    b"expect": b"100-continue",
}
_USUAL_VALUES = (
    *(b"", b"a", b"text/plain", b"trailers", b"timeout=5", b"a, b", b"\xe4\xff", b"x-a", b"close"),
    *(b"100-continue", b"a=1,b=2", b"a \tb", b"y" * 3000),
)
_VALUES = st.one_of(
    st.sampled_from(_USUAL_VALUES),
    st.binary(max_size=12).map(lambda value: bytes(max(each, 33) for each in value if each != 127)),
)
_PIECES = st.lists(
    st.one_of(st.binary(max_size=20), st.integers(0, 6000).map(lambda size: b"z" * size)),
    min_size=1,
    max_size=4,
)
_STATUSES = (200, 201, 204, 205, 206, 301, 304, 404, 429, 500, 503, 599)
_PARTS = ("line", "query", "authority", "credentials", "names", "body", "answer")


class RandomCall(NamedTuple):
    """A request, with `TOKEN` for the token, and the pieces of the answer."""

    fields: list[Field]
    body: Body | None
    answer: list[bytes]


def _cut(draw: st.DrawFn, wire: bytes) -> list[bytes]:
    """The bytes in up to four pieces."""
    cuts = sorted(set(draw(st.lists(st.integers(1, max(1, len(wire) - 1)), max_size=3))))
    return [wire[a:b] for a, b in zip([0, *cuts], [*cuts, len(wire)], strict=True) if a < b]


@st.composite
def _answers(draw: st.DrawFn, *, is_odd: bool) -> list[bytes]:
    """A good answer, or one that fails before its head is whole."""
    status = draw(st.sampled_from(_STATUSES))
    has_body = status not in {204, 205, 304}
    names = draw(st.lists(st.sampled_from(_ANSWER_NAMES), max_size=6))
    blank = draw(st.sampled_from([b"", b" ", b"\t "]))
    lines = [name + b":" + blank + draw(_VALUES) + b"\r\n" for name in names]
    body = b"".join(draw(_PIECES)) if has_body else b""
    how = draw(st.sampled_from(["hints", "end", "broken", "chunks"] if is_odd else ["length"]))
    if how == "chunks" and has_body:
        lines.append(b"Transfer-Encoding: chunked\r\n")
        chunks = [b"%x\r\n%b\r\n" % (len(each), each) for each in _cut(draw, body)]
        body = b"".join(chunks) + b"0\r\n\r\n"
    elif how == "end":
        lines.append(b"Connection: close\r\n")
    elif status not in {204, 304}:
        length = b"Content-Length: %d\r\n" % len(body)
        lines.insert(draw(st.integers(0, len(lines))), length)
    head = b"HTTP/1.1 %d Reason\r\n" % status + b"".join(lines) + b"\r\n"
    if how == "broken":
        return [head.replace(b"HTTP/1.1", b"HTTP/9", 1) + b"Connection: close"]
    if how == "hints":
        head = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + head
    return _cut(draw, head + body)


@st.composite
def _bodies(draw: st.DrawFn, fields: list[Field], *, is_odd: bool) -> Body | None:
    """A body, or None; adds its length, which may be wrong."""
    kinds = ["cut", "trailers", "wrong"] if is_odd else ["none", "whole", "whole"]
    kind = draw(st.sampled_from(kinds))
    if kind == "none":
        if draw(st.booleans()):
            fields.append((b"content-length", b"0"))
        return None
    pieces = draw(_PIECES)
    size = sum(map(len, pieces))
    if kind == "wrong":
        size += draw(st.sampled_from([1, 5]))
    if is_odd or draw(st.booleans()):
        fields.append((b"content-length", b"%d" % size))
    if kind == "cut":
        return Body(pieces, cuts=draw(st.lists(st.integers(-40, -1), min_size=1, max_size=3)))
    return Body(pieces, ((b"x-sum", b"1"),)) if kind == "trailers" else Body(pieces)


@st.composite
def calls(draw: st.DrawFn) -> RandomCall:
    """A call that compiled code carries, or one with one or two parts for which it may not."""
    odd = draw(st.sets(st.sampled_from(_PARTS), max_size=2))

    def pick(part: str, usual: Sequence[Any], unusual: Sequence[Any]) -> Any:
        return draw(st.sampled_from(unusual if part in odd else usual))

    method, path = draw(st.sampled_from(_LINES))
    if "line" in odd:
        method, path = draw(st.sampled_from(_ODD_METHODS)), draw(st.sampled_from(_ODD_PATHS))
    names = draw(st.lists(st.sampled_from(_NAMES), max_size=5))
    if "names" in odd:
        names.append(draw(st.sampled_from(_ODD_NAMES)))
    more = [
        (
            name,
            _GOOD_VALUES[name] if name in _GOOD_VALUES and draw(st.booleans()) else draw(_VALUES),
        )
        for name in names
    ]
    fields = [
        (b":method", method),
        (b":scheme", b"https"),
        (b":path", path + pick("query", _QUERIES, _ODD_QUERIES)),
        (b":authority", pick("authority", (b"gateway.example:8443",), _ODD_AUTHORITIES)),
        *draw(st.permutations([*pick("credentials", ((_BEARER,),), _ODD_CREDENTIALS), *more])),
    ]
    body = draw(_bodies(fields, is_odd="body" in odd))
    return RandomCall(fields, body, draw(_answers(is_odd="answer" in odd)))
