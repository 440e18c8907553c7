"""Requests on their way over real sockets: http, https, unix; OpenSSL's responder at the end."""

import shutil
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import forged_certificates
import pytest
from ocsp_world import HTTPResponder, UnixResponder, World, der, serving, write_pair
from openssl_responder import openssl_answers

from crewgate import limits
from crewgate.ca.ocsp.client import OCSPClient
from crewgate.ca.ocsp.transport import OCSPTransport
from crewgate.config import OCSPClientConfig
from crewgate.core.x509.ocsp_result import (
    CertificateStatus,
    GoodStatus,
    RevokedStatus,
    UndeterminedReason,
    UndeterminedStatus,
    UnknownStatus,
)
from crewgate.errors import ConfigurationError, OCSPQueryError

NOWHERE = Path("/nonexistent/root.pem")
openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl here")


def now_world() -> World:
    return World(datetime.now(UTC).replace(microsecond=0))


def echo(data: bytes) -> bytes:
    return b"answer to " + data


async def fetched(responder: OCSPClientConfig, root: Path = NOWHERE) -> bytes:
    fetcher = OCSPTransport(responder, root)
    try:
        return await fetcher(b"question")
    finally:
        await fetcher.close()


async def test_a_request_is_posted_and_says_what_it_is() -> None:
    """RFC 6960, appendix A.1; no redirect, proxy or compression."""
    with serving(HTTPResponder(echo)) as server:
        assert await fetched(OCSPClientConfig(server.url)) == b"answer to question"
        path, head = server.heads[0]
    assert path == "/ocsp"
    assert head["content-type"] == "application/ocsp-request"
    assert head["accept-encoding"] == "identity"


async def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who answers is what the configuration says."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with serving(HTTPResponder(echo)) as server:
        assert await fetched(OCSPClientConfig(server.url)) == b"answer to question"


@pytest.mark.parametrize(
    ("status", "kind", "answer", "words"),
    [
        (404, "application/ocsp-response", b"", "HTTP status 404"),
        (302, "application/ocsp-response", b"", "HTTP status 302"),
        (200, "text/html", b"<html>", "not application/ocsp-response"),
        (
            200,
            "application/ocsp-response",
            bytes(limits.ocsp_response_bytes_max + 1),
            f"larger than {limits.ocsp_response_bytes_max} bytes",
        ),
    ],
)
async def test_what_is_no_answer_is_an_error(
    status: int, kind: str, answer: bytes, words: str
) -> None:
    """Wrong status, wrong kind, too many bytes."""
    server = HTTPResponder(lambda _: answer)
    server.status, server.kind = status, kind
    with serving(server), pytest.raises(OCSPQueryError, match=words):
        await fetched(OCSPClientConfig(server.url))


async def test_a_responder_that_is_away_is_an_error(tmp_path: Path) -> None:
    """Nobody listens at the port, nor at the socket."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}/ocsp"
        for responder in (
            OCSPClientConfig(url),
            OCSPClientConfig("http://localhost/ocsp", tmp_path / "none"),
        ):
            with pytest.raises(OCSPQueryError, match="ConnectError"):
                await fetched(responder)


async def test_a_kept_connection_that_ended_is_made_anew() -> None:
    """A responder that was restarted is asked again at once, and only once more."""

    class Hasty(HTTPResponder):
        def finish_request(self, request: object, client_address: object) -> None:
            self.connections = getattr(self, "connections", 0) + 1
            if self.connections > self.dead:
                super().finish_request(request, client_address)  # type: ignore[arg-type]

        dead = 1

    with serving(Hasty(echo)) as server:
        assert await fetched(OCSPClientConfig(server.url)) == b"answer to question"
    with serving(Hasty(echo)) as server:
        server.dead = 2
        with pytest.raises(OCSPQueryError, match=r"RemoteProtocolError|ReadError"):
            await fetched(OCSPClientConfig(server.url))


async def test_over_a_unix_socket(tmp_path: Path) -> None:
    """The way to a control process on the same machine."""
    path = tmp_path / "control.sock"
    with serving(UnixResponder(path, echo)) as server:
        assert (
            await fetched(OCSPClientConfig("http://localhost/ocsp", path)) == b"answer to question"
        )
    assert server.heads[0][0] == "/ocsp"


@contextmanager
def secured(
    folder: Path, world: World, *, asks: bool = False
) -> Iterator[tuple[HTTPResponder, str]]:
    """An https responder with a server certificate of the world's CA."""
    shown = forged_certificates.server(world.issuing, "localhost", "127.0.0.1")
    write_pair(folder, "server", shown)
    write_pair(folder, "root", world.root)
    chain = folder / "chain.pem"
    chain.write_bytes(shown.certificate_pem + world.issuing.certificate_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, folder / "server.key")
    if asks:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(folder / "root.pem")
    server = HTTPResponder(echo)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    with serving(server):
        yield server, server.url.replace("http:", "https:")


async def test_https_is_verified_by_the_root_and_nothing_else(tmp_path: Path) -> None:
    """A responder of another root is not believed, whatever it would say."""
    world, other = now_world(), now_world()
    (tmp_path / "other.pem").write_bytes(other.root.certificate_pem)
    with secured(tmp_path, world) as (_, url):
        assert await fetched(OCSPClientConfig(url), tmp_path / "root.pem") == b"answer to question"
        with pytest.raises(OCSPQueryError, match="unable to get local issuer"):
            await fetched(OCSPClientConfig(url), tmp_path / "other.pem")


async def test_a_client_certificate_is_shown_where_one_is_configured(tmp_path: Path) -> None:
    """A responder that asks for one lets in who has one."""
    world = now_world()
    write_pair(tmp_path, "leaf", world.leaf)
    shown = tmp_path / "client.pem"
    shown.write_bytes(world.leaf.certificate_pem + world.issuing.certificate_pem)
    with secured(tmp_path, world, asks=True) as (_, url):
        responder = OCSPClientConfig(url, certificate=shown, key=tmp_path / "leaf.key")
        assert await fetched(responder, tmp_path / "root.pem") == b"answer to question"
        with pytest.raises(OCSPQueryError):
            await fetched(OCSPClientConfig(url), tmp_path / "root.pem")


def test_files_that_tls_cannot_use_are_named(tmp_path: Path) -> None:
    """The root, or the client's certificate with its key."""
    with pytest.raises(ConfigurationError, match=r"/nonexistent/root\.pem"):
        OCSPTransport(OCSPClientConfig("https://localhost/ocsp"), NOWHERE)
    write_pair(tmp_path, "root", now_world().root)
    wrong = OCSPClientConfig("https://localhost/ocsp", None, tmp_path / "root.pem", NOWHERE)
    with pytest.raises(ConfigurationError, match="ocsp_key"):
        OCSPTransport(wrong, tmp_path / "root.pem")


async def status_of(
    world: World, answer: Callable[[bytes], bytes], index: int = 0
) -> CertificateStatus:
    """What our checker makes of a responder behind HTTP."""
    leaf = (world.leaf, world.sibling)[index]
    with serving(HTTPResponder(answer)) as server:
        fetcher = OCSPTransport(OCSPClientConfig(server.url), NOWHERE)
        try:
            return await OCSPClient(world.issuer, fetcher).check(b"", der(leaf.certificate))
        finally:
            await fetcher.close()


@openssl
async def test_openssl_as_a_responder_is_believed(tmp_path: Path) -> None:
    """Good, revoked and unknown, nonce included, by the delegate or by the issuer itself."""
    world = now_world()
    for signer in ("ocsp", "issuing"):
        answer = openssl_answers(tmp_path, world, world.leaf, revoked=world.sibling, signer=signer)
        assert isinstance(await status_of(world, answer), GoodStatus)
        status = await status_of(world, answer, 1)
        assert isinstance(status, RevokedStatus)
        assert status.reason == "keyCompromise"
    assert (
        await status_of(world, openssl_answers(tmp_path, world, world.leaf), 1) == UnknownStatus()
    )


@openssl
async def test_openssl_as_a_responder_without_the_right_is_not(tmp_path: Path) -> None:
    """A certificate of the same CA without the OCSP-signing usage signs in vain."""
    world = now_world()
    write_pair(tmp_path, "leaf", world.leaf)
    answer = openssl_answers(tmp_path, world, world.leaf, signer="leaf")
    status = await status_of(world, answer)
    assert isinstance(status, UndeterminedStatus)
    assert status.flaw is UndeterminedReason.SIGNER


@openssl
async def test_a_replay_of_openssls_answer_is_refused(tmp_path: Path) -> None:
    """Its nonce is that of another question."""
    world = now_world()
    answer = openssl_answers(tmp_path, world, world.leaf)
    kept = answer(world.issuer.request(world.leaf.certificate, bytes(32)))
    status = await status_of(world, lambda _: kept)
    assert isinstance(status, UndeterminedStatus)
    assert status.flaw is UndeterminedReason.NONCE


async def test_a_host_that_is_no_name_is_an_error() -> None:
    """Whatever a resolver or its codec thinks of it."""
    with pytest.raises(OCSPQueryError):
        await fetched(OCSPClientConfig(f"http://{'x' * 64}.invalid/ocsp"))
    with pytest.raises(ConfigurationError, match=r"\[ca\] ocsp"):
        OCSPTransport(OCSPClientConfig("http://[:::]/"), NOWHERE)
