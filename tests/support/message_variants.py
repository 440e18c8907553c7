"""Messages that parsers frame in different ways: lengths, codings, chunks, versions, hosts, heads.

Each names itself. Nothing here says what must become of it: differential.py does.
"""

from collections.abc import Iterator
from itertools import product

SMUGGLED = b"GET /admin/smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
LENGTHS = (
    b"", b"Content-Length: 5", b"Content-Length: 0", b"Content-Length: +5", b"Content-Length: -5",
    b"Content-Length: 5,5", b"Content-Length: 5, 6", b"Content-Length: 05", b"Content-Length: 0x5",
    b"Content-Length: 5\x00", b"Content-Length: 5 5", b"Content-Length: 5.0", b"Content-Length:",
    b"Content-Length: 5\r\nContent-Length: 5", b"Content-Length: 5\r\nContent-Length: 6",
    b"Content-Length: 18446744073709551621", b"Content-Length : 5", b"Content_Length: 5",
    b"Content-Length:\r\n 5", b"X: y\nContent-Length: 5", b" Content-Length: 5",
)  # fmt: skip
CODINGS = (
    b"", b"Transfer-Encoding: chunked", b"Transfer-Encoding: Chunked", b"transfer-encoding:chunked",
    b"Transfer-Encoding: chunked ", b"Transfer-Encoding:\tchunked", b"Transfer-Encoding: identity",
    b"Transfer-Encoding: chunked, identity", b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: chunked, chunked", b"Transfer-Encoding: chunked;q=1",
    b"Transfer-Encoding: \x0bchunked", b'Transfer-Encoding: "chunked"',
    b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding: chunked\x00", b"Transfer-Encoding:", b"Transfer-Encoding: ,chunked",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", b"Transfer-Encoding : chunked",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", b"Transfer_Encoding: chunked",
    b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", b" Transfer-Encoding: chunked",
    b"X: y\rTransfer-Encoding: chunked", b"X: y\nTransfer-Encoding: chunked",
    b"Transfer-Encoding:\r\n chunked", b"Transfer-Encoding: chun\r\n ked",
    b"TE: chunked", b"Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked",
    b"Connection: Content-Length\r\nContent-Length: 5", b"Upgrade: h2c\r\nConnection: Upgrade",
)  # fmt: skip
CHUNKS = (
    b"5\r\n12345\r\n0\r\n\r\n", b"05\r\n12345\r\n00\r\n\r\n", b"0x5\r\n12345\r\n0\r\n\r\n",
    b"+5\r\n12345\r\n0\r\n\r\n", b"5 \r\n12345\r\n0\r\n\r\n", b" 5\r\n12345\r\n0\r\n\r\n",
    b"5;a=b\r\n12345\r\n0\r\n\r\n", b'5;a="\r\n"\r\n12345\r\n0\r\n\r\n', b"5;\n12345\r\n0\r\n\r\n",
    b"5;a\n12345\r\n0\r\n\r\n", b"5\n12345\n0\n\n", b"5\r\n12345\n0\r\n\r\n",
    b"5\r\n12345\r\n0\n\n",
    b"5\r12345\r\n0\r\n\r\n", b"5\r\n123450\r\n\r\n", b"5\r\n1234567\r\n0\r\n\r\n",
    b"-5\r\n12345\r\n",
    b"5\x00\r\n12345\r\n0\r\n\r\n", b"5,\r\n12345\r\n0\r\n\r\n", b"5_\r\n12345\r\n0\r\n\r\n",
    b"10000000000000005\r\n12345\r\n0\r\n\r\n", b"A\r\n1234567890\r\n0\r\n\r\n",
    b"\r\n5\r\n12345\r\n",
    b"5\r\n12345\r\n0\r\nX-Sum: 1\r\n\r\n", b"5\r\n12345\r\n0\r\n X-Sum: 1\r\n\r\n",
    b"5\r\n12345\r\n0\r\nContent-Length: 9\r\n\r\n",
    b"5\r\n12345\r\n0\r\nTransfer-Encoding: x\r\n\r\n",
    b"5\r\n12345\r\n0\r\nX-Sum\r\n\r\n", b"5\r\n12345\r\n0\r\n: 1\r\n\r\n",
    b"g\r\n12345\r\n0\r\n\r\n",
    b"5\r\n12345\r\n0;a=b\r\n\r\n", b"5;" + b"a" * 20_000 + b"\r\n12345\r\n0\r\n\r\n", b"0\r\n\r\n",
)  # fmt: skip
VERSIONS = (
    b"HTTP/1.0", b"HTTP/0.9", b"HTTP/1.2", b"HTTP/2.0", b"HTTP/1.1 ", b" HTTP/1.1", b"http/1.1",
    b"HTTP/1.10", b"HTTP/01.1", b"HTTP/1,1", b"HTTP/11", b"HTTPS/1.1", b"ICE/1.0", b"RTSP/1.0", b"",
    b"HTTP/1.1\x00", b"HTTP/1.1\r", b"HTTP/1.1\n",
)  # fmt: skip


def messages() -> Iterator[tuple[str, bytes, bytes]]:
    """(name, what follows the request's line and usual fields, version): bodies framed oddly."""
    for length, coding in product(LENGTHS, CODINGS):
        lines = b"".join([line + b"\r\n" for line in (length, coding) if line])
        chunked = b"hunked" in coding
        body = CHUNKS[0] if chunked and (not length or len(coding) % 2) else b"12345"
        yield f"{length!r} and {coding!r}", lines + b"\r\n" + body + SMUGGLED, b"HTTP/1.1"
    for chunks in CHUNKS:
        lines = b"Transfer-Encoding: chunked\r\n\r\n" + chunks
        yield f"chunks {chunks[:60]!r}", lines + SMUGGLED, b"HTTP/1.1"
    for version in VERSIONS:
        for lines in (b"", b"Connection: keep-alive\r\n", b"Transfer-Encoding: chunked\r\n"):
            yield f"{version!r} with {lines!r}", lines + b"\r\n0\r\n\r\n", version


HOSTS = (
    (), (b"a",), (b"A",), (b"b",), (b"a", b"a"), (b"a", b"b"), (b"",), (b"a:443",), (b"a:0443",),
    (b"a:",), (b"a:x",), (b"a/x",), (b"a@b",), (b"a b",), (b"a,b",), (b"a\x00",), (b"\xc3\xa4",),
    (b"[::1]",),
    (b"[::1",), (b"a#b",), (b"a?b",), (b"a\\b",), (b"a%2eb",), (b"a;b",), (b"*",), (b"a" * 300,),
    (b"a.",),
)  # fmt: skip


def heads() -> Iterator[tuple[str, list[tuple[bytes, bytes]]]]:
    """(name, all fields of an HTTP/2 request), with odd pseudo fields and hosts."""
    usual = [
        (b":method", b"POST"), (b":scheme", b"https"), (b":path", b"/search"), (b":authority", b"a")
    ]  # fmt: skip
    for at, field in enumerate(usual):
        yield f"without {field[0].decode()}", usual[:at] + usual[at + 1 :]
        yield f"{field[0].decode()} twice", [*usual, field]
        yield f"{field[0].decode()} last", [*usual[:at], *usual[at + 1 :], (b"x-b", b"1"), field]
        for value in (
            b"",
            b" " + field[1],
            field[1] + b" ",
            field[1] + b"\r\nx: y",
            field[1] + b"\x00",
        ):
            yield f"{field[0].decode()} is {value!r}", [
                *usual[:at], (field[0], value), *usual[at + 1 :]
            ]  # fmt: skip
    for more in (
        (b":status", b"200"), (b":protocol", b"websocket"), (b":new", b"1"), (b"connection",
        b"close"),
        (b"te", b"trailers"), (b"te", b"gzip"), (b"transfer-encoding", b"chunked"), (b"upgrade",
        b"h2c"),
        (b"keep-alive", b"1"), (b"proxy-connection", b"close"), (b"content-length", b"0"),
        (b"content-length", b"9"), (b"content-length", b"-0"), (b"X-B", b"1"), (b"x b", b"1"),
        (b"x:b", b"1"),
        (b":Path", b"/items/7"), (b"priority", b"u=1"),
    ):  # fmt: skip
        yield f"with {more!r}", [*usual, more]
    yield "an extended CONNECT", [
        (b":method", b"CONNECT"), (b":protocol", b"websocket"), *usual[1:]
    ]  # fmt: skip
    yield "a plain CONNECT", [(b":method", b"CONNECT"), (b":authority", b"a:443")]
    for scheme in (b"http", b"HTTPS", b"ftp", b"https:", b"x"):
        yield f"scheme {scheme!r}", [usual[0], (b":scheme", scheme), *usual[2:]]
    for authority, hosts in product((None, b"a", b"b", b""), HOSTS):
        named = [] if authority is None else [(b":authority", authority)]
        yield f"authority {authority!r}, hosts {hosts!r}", [
            *usual[:3], *named, *[(b"host", host) for host in hosts]
        ]  # fmt: skip
