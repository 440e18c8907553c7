"""Requests whose calls are straight, by name: fields, path, and the pieces of the answer."""

from collections.abc import Sequence

from two_ways import OK

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CROWDED = (
    b"HTTP/1.1 200 OK\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\nX-Crewgate-Crew: liar\r\n"
    b"Keep-Alive: timeout=9\r\nVia: 1.0 old\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n"
    b"Content-Length: 2\r\n\r\nok"
)
PARENT = (b"traceparent", b"00-" + b"ab" * 16 + b"-" + b"cd" * 8 + b"-01")
STRAIGHT: dict[str, tuple[Sequence[tuple[bytes, bytes]], bytes, Sequence[bytes]]] = {
    "plain": ((), b"/summary", (OK,)),
    "query": ((), b"/summary?of=a%20b&x", (OK,)),
    "empty query": ((), b"/summary?", (OK,)),
    "fields": (
        (
            (b"accept", b"*/*"),
            (b"cookie", b"a=b"),
            (b"te", b"trailers"),
            (b"x-odd_name", b"1"),
            (b"x-forwarded-for", b"1.2.3.4"),
            (b"accept", b"text/plain"),
        ),
        b"/summary",
        (OK,),
    ),
    "trace": ((PARENT, (b"tracestate", b"a=1"), (b"tracestate", b"b=2")), b"/summary", (OK,)),
    "bad trace": (((b"traceparent", b"00-x"),), b"/summary", (OK,)),
    "in pieces": ((), b"/summary", (OK[:5], OK[5:30], OK[30:-1], OK[-1:])),
    "chunked": ((), b"/summary", (CHUNKED + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",)),
    "no content": ((), b"/summary", (b"HTTP/1.1 204 No Content\r\n\r\n",)),
    "not modified": ((), b"/summary", (b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n",)),
    "empty": ((), b"/summary", (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",)),
    "an error of the tool": (
        (),
        b"/summary",
        (b"HTTP/1.1 503 Later\r\nRetry-After: 3\r\nContent-Length: 2\r\n\r\nno",),
    ),
    "fields that do not go back": (
        (),
        b"/summary",
        (CROWDED,),
    ),
}
