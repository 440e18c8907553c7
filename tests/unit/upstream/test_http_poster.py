"""What an HTTP receiver gets, and what its answers mean."""

import contextlib
import ssl
from email.utils import formatdate
from functools import partial
from pathlib import Path

import pytest
import trio
from authority import Authority
from scripted_server import read_request, scripted

from crewgate.config import CredentialConfig, ReceiverURL, UpstreamTLS
from crewgate.errors import ReceiverError, ReceiverRefusedError
from crewgate.upstream.http_poster import HTTPPoster

Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]


class Receiver:
    """A server that gives these answers, one for each request, and keeps the requests."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.seen: list[bytes] = []

    async def __call__(self, stream: Stream, number: int) -> None:
        while request := await read_request(stream):
            self.seen.append(request)
            await stream.send_all(self.answers.pop(0))


def answer(status: str, *fields: str, body: bytes = b"{}") -> bytes:
    head = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", *fields, "", ""]
    return "\r\n".join(head).encode() + body


async def post(receiver: Receiver, credential: CredentialConfig | None = None) -> bytes:
    """The body of the answer; or the error, as it was raised."""
    failure: ReceiverError | None = None
    found = b""
    async with scripted(receiver) as origin:
        url = ReceiverURL("http", origin.host, origin.port, "/in").below("/v1/logs")
        poster = HTTPPoster(
            "export collector", url, b"application/json", tls=UpstreamTLS(), credential=credential
        )
        try:
            found = await poster.post(b'{"a":1}')
        except ReceiverError as error:
            failure = error
        await poster.close()
    if failure is not None:
        raise failure
    return found


async def test_a_request_has_the_path_the_media_type_and_the_credential(tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("s3cret\n")
    receiver = Receiver(answer("200 OK", body=b'{"x":2}'))
    credential = CredentialConfig("authorization", "Bearer ", file=secret)
    assert await post(receiver, credential) == b'{"x":2}'
    (request,) = receiver.seen
    head, _, body = request.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /in/v1/logs HTTP/1.1\r\n")
    assert b"content-type: application/json" in head
    assert b"authorization: Bearer s3cret" in head
    assert body == b'{"a":1}'


async def test_a_wrong_scheme_is_named() -> None:
    """TLS to a server without TLS, and an answer that is not HTTP."""

    async def talk(stream: trio.SocketStream, number: int) -> None:
        # All of a request: an end with unread data would reset the connection.
        await (read_request(stream) if number else stream.receive_some())
        with contextlib.suppress(trio.BrokenResourceError):
            await stream.send_all(b"220 mail.example ESMTP\r\n")

    async with scripted(talk) as origin:
        for scheme, why in (("https", "it does not speak TLS"), ("http", "is not HTTP/1.1")):
            url = ReceiverURL(scheme, origin.host, origin.port, "")
            poster = HTTPPoster("alert a", url, b"text/plain", tls=UpstreamTLS())
            with pytest.raises(ReceiverError, match=f"{why}.*check scheme and port of `url`"):
                await poster.post(b"x")


@pytest.mark.parametrize(
    ("status", "fields", "seconds"),
    [
        ("429 Too Many Requests", ["retry-after: 7"], 7),
        ("503 Service Unavailable", ["Retry-After: 99999"], 600),
        ("503 Service Unavailable", [f"retry-after: {formatdate(0, usegmt=True)}"], 0),
        ("503 Service Unavailable", ["retry-after: soon"], None),
        ("503 Service Unavailable", ["retry-after: Mon, 1 Jan 99999999999 0:0:0 GMT"], None),
        ("502 Bad Gateway", [], None),
        ("404 Not Found", [], None),
        ("401 Unauthorized", [], None),
        ("302 Found", ["location: http://127.0.0.1/"], None),
    ],
)
async def test_what_may_pass_is_tried_again(
    status: str, fields: list[str], seconds: float | None
) -> None:
    with pytest.raises(ReceiverError) as found:
        await post(Receiver(answer(status, *fields)))
    assert not isinstance(found.value, ReceiverRefusedError)
    assert found.value.retry_seconds == seconds
    assert str(found.value).startswith(f"HTTP status {status[:3]}")


@pytest.mark.parametrize("status", ["400 Bad Request", "413 Content Too Large", "422 Odd"])
async def test_what_the_records_cause_is_refused(status: str) -> None:
    """Its text is for the log: on one line, short, and without control characters."""
    with pytest.raises(ReceiverRefusedError) as found:
        await post(Receiver(answer(status, body=b"bad\x1b[2Jrecord\n" + b"x" * 1000)))
    assert str(found.value).isprintable()
    assert len(str(found.value)) < 200


async def test_a_receiver_that_is_away_has_a_reason(tmp_path: Path) -> None:
    async def hang_up(stream: trio.SocketStream, number: int) -> None:
        await stream.aclose()

    async with scripted(hang_up) as origin:
        url = ReceiverURL("http", origin.host, origin.port, "")
    for place in (url, ReceiverURL("https", "127.0.0.1", url.port, "")):
        poster = HTTPPoster("export c", place, b"text/plain", tls=UpstreamTLS())
        with pytest.raises(ReceiverError, match=r"^Connection refused$"):
            await poster.post(b"")
    missing = CredentialConfig("authorization", file=tmp_path / "missing")
    with pytest.raises(
        ReceiverError, match="export collector: the credential cannot be read: no file"
    ):
        await post(Receiver(), missing)


@pytest.mark.parametrize("status", ["200 OK", "400 Bad Request"])
async def test_no_answer_shows_the_credential(tmp_path: Path, status: str) -> None:
    """Some receivers repeat a request in their answer; the log has a part of the answer."""
    secret = tmp_path / "token"
    secret.write_text("s3cret")
    receiver = Receiver(answer(status, body=b"no such token: Bearer s3cret"))
    try:
        shown = await post(receiver, CredentialConfig("authorization", "Bearer ", file=secret))
    except ReceiverRefusedError as error:
        shown = str(error).encode()
    assert b"no such token: Bearer ******" in shown


async def test_the_certificate_must_be_for_the_name_of_the_receiver(tmp_path: Path) -> None:
    """`server_name` is the name if it is given; else the host of the URL."""
    authority = Authority(tmp_path)
    files = authority.issue("collector.example")
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(*files)

    async def serve(stream: trio.SSLStream[trio.SocketStream]) -> None:
        try:
            await Receiver(answer("200 OK"))(stream, 0)
        except trio.BrokenResourceError:
            return

    async with trio.open_nursery() as nursery:
        serving = partial(trio.serve_ssl_over_tcp, serve, 0, server, host="127.0.0.1")
        listeners = await nursery.start(serving)
        port = listeners[0].transport_listener.socket.getsockname()[1]
        url = ReceiverURL("https", "127.0.0.1", port, "")
        named, unnamed = (
            HTTPPoster(
                "export c",
                url,
                b"application/json",
                tls=UpstreamTLS(ca=authority.ca, server_name=name),
            )
            for name in ("collector.example", None)
        )
        assert await named.post(b"") == b"{}"
        with pytest.raises(ReceiverError, match="IP address mismatch"):
            await unnamed.post(b"")
        await named.close()
        nursery.cancel_scope.cancel()
