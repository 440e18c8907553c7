"""Which keys of an identity provider are in use, and what a provider that misbehaves costs."""

import http.server
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from identity_provider_world import NOW, id_token, jwk, jwks, provider
from jwt.algorithms import RSAAlgorithm
from tls_listener import write_certificate

from crewgate import limits
from crewgate.errors import ConfigurationError, ServiceConnectionError, SubjectTokenError
from crewgate.identity_provider.key_sets import DownloadedKeySet
from crewgate.identity_provider.provider_keys import find_keys, parse_provider_jwks
from crewgate.identity_provider.provider_request import ProviderRequest, provider_context
from crewgate.identity_provider.subject_tokens import SubjectTokenVerifier
from crewgate.runtime.fault_transition_logger import FaultTransitionLogger


def kids(data: bytes, *pinned: str) -> list[str]:
    """The keys of a JWKS that are used."""
    return [key.kid for key in parse_provider_jwks(data, pinned, "corp.jwks")]


def test_keys_for_other_uses_are_left_out() -> None:
    """And weak ones, private ones, other types, and what is no key at all."""
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    others: list[Any] = [
        jwk("rsa-1", use="enc"),
        jwk("rsa-1", key_ops=["encrypt"]),
        jwk("rsa-1", key_ops=7),
        jwk("ec-1", alg="ES384"),
        jwk("ec-1", crv="P-999"),
        jwk("ed-1", d="AAAA"),
        jwk("ed-1", x=[]),
        {**RSAAlgorithm.to_jwk(weak.public_key(), as_dict=True), "kid": "weak"},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "rsa-1"},
        {"kty": ["RSA"]},
        "key",
    ]
    assert kids(jwks(*others, jwk("ec-1"), jwk("ed-1", alg="EdDSA"))) == ["ec-1", "ed-1"]
    with pytest.raises(ConfigurationError, match=r"^corp\.jwks: none of 11 keys can be used"):
        kids(jwks(*others))


@pytest.mark.parametrize("data", [b"", b"[]", b'{"keys": {}}', b'{"keys":' * 9999, b" " * 262_145])
def test_no_jwks_is_an_error(data: bytes) -> None:
    """In one line that names the place."""
    with pytest.raises(ConfigurationError, match=r"^corp\.jwks: [^\n]+\Z"):
        kids(data)


def test_a_pinned_key_is_the_only_one() -> None:
    """By its thumbprint: the example of RFC 7638, section 3.1."""
    example = {
        "kty": "RSA",
        "n": (
            "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tS"
            "oc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65Y"
            "GjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdk"
            "t-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqD"
            "Kgw"
        ),
        "e": "AQAB",
        "alg": "RS256",
        "kid": "2011-04-29",
    }
    data = jwks(jwk("rsa-1"), example)
    assert kids(data, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs") == ["2011-04-29"]
    with pytest.raises(ConfigurationError, match="none of 2 keys has a thumbprint of pinned_keys"):
        kids(data, "A" * 43)


def test_a_key_without_a_kid_must_be_the_only_one_that_fits() -> None:
    """Else the header would not say whose signature it is."""
    keys = parse_provider_jwks(jwks(jwk("rsa-1"), jwk("ec-1")), (), "corp.jwks")
    assert [key.kid for key in find_keys(keys, "", "RS256")] == ["rsa-1"]
    assert find_keys((*keys, keys[0]), "", "RS256") == []
    assert find_keys(keys, "ec-1", "RS256") == []


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    """A damaged one leaves the keys as they were, and the problem is said."""
    corp = provider(tmp_path)
    verifier = SubjectTokenVerifier([corp])
    assert verifier.verify(id_token(), "article", NOW)
    assert corp.jwks is not None
    corp.jwks.write_bytes(b"{")
    assert verifier.verify(id_token(), "article", NOW)
    assert "not JSON" in verifier.refresh()["corp"]
    corp.jwks.write_bytes(jwks(jwk("ec-1")))
    with pytest.raises(SubjectTokenError, match="no key with this `kid`"):
        verifier.verify(id_token(), "article", NOW)
    assert verifier.refresh() == {"corp": ""}
    corp.jwks.unlink()
    with pytest.raises(ServiceConnectionError, match="the keys cannot be read: No such file"):
        SubjectTokenVerifier([corp]).verify(id_token(), "article", NOW)


class Downloads:
    """What the provider answers; `at` is the time."""

    def __init__(self) -> None:
        self.at, self.count, self.is_running = 0.0, 0, False
        self.answer: bytes | str = jwks(jwk("rsa-1"))
        self.lines: list[str] = []
        log = FaultTransitionLogger(self.lines.append, recovered="new again")
        self.keys = DownloadedKeySet("https://id", (), self.begin, log, lambda: self.at)

    def begin(self) -> Any:
        self.count += 1
        return self

    def result(self) -> bytes:
        if isinstance(self.answer, str):
            raise ServiceConnectionError(self.answer)
        return self.answer

    def found(self, kid: str) -> bool:
        return bool(self.keys.find(kid, "RS256"))


def test_downloaded_keys_are_new_and_asked_for_seldom() -> None:
    """However many tokens name unknown keys; and a removed key ends with the next download."""
    site = Downloads()
    for _ in range(5):
        assert site.found("rsa-1")
        assert not site.found("rsa-2")
    assert site.count == 1
    site.at += limits.jwks_pause_seconds + 1
    site.answer = jwks(jwk("rsa-1"), {**jwk("rsa-1"), "kid": "rsa-2"})
    assert site.found("rsa-2")
    site.answer = jwks({**jwk("rsa-1"), "kid": "rsa-2"})
    assert site.found("rsa-1")
    site.at += limits.jwks_refresh_seconds + 1
    assert not site.found("rsa-1")
    assert site.count == 3
    assert not site.lines


def test_the_last_good_keys_have_an_end() -> None:
    """A provider that is away for an hour stops nobody; after hours its keys may be stolen."""
    site = Downloads()
    assert site.found("rsa-1")
    site.answer = "no answer"
    site.at = limits.jwks_age_seconds_max - 1
    assert site.found("rsa-1")
    assert site.keys.problem == "no answer"
    site.answer = b"{}"
    site.at += 2
    site.is_running = True  # what has begun hangs, so nothing else begins
    with pytest.raises(ServiceConnectionError, match="no answer"):
        site.found("rsa-1")
    assert site.count == 2
    site.is_running = False
    site.at += limits.jwks_pause_seconds
    with pytest.raises(ServiceConnectionError, match="expected"):
        site.found("rsa-1")
    site.at += limits.jwks_pause_seconds + 1
    site.answer = jwks(jwk("rsa-1"))
    assert site.found("rsa-1")
    assert (site.lines[0], site.lines[-1], len(site.lines)) == ("no answer", "new again", 3)


Serve = Callable[[http.server.BaseHTTPRequestHandler], None]


class Server(http.server.ThreadingHTTPServer):
    """It sets `over` when it ends, so that no thread of it goes on."""

    daemon_threads = True

    def __init__(self, handler: type[http.server.BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.over = threading.Event()


@contextmanager
def server(folder: Path, serve: Serve) -> Iterator[str]:
    """An https server that answers each request in its own way; its URL."""
    certificate, key = write_certificate(folder)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            serve(self)

        def log_message(self, *_: object) -> None:
            pass

    found = Server(Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    found.socket = context.wrap_socket(found.socket, server_side=True)
    thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"https://localhost:{found.server_address[1]}/jwks"
    finally:
        found.over.set()
        found.shutdown()
        thread.join()
        found.server_close()


def answering(status: int, body: bytes, **fields: str) -> Serve:
    """Send this answer."""

    def serve(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in fields.items():
            request.send_header(name.replace("_", "-"), value)
        request.send_header("content-length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    return serve


def dripping(request: http.server.BaseHTTPRequestHandler) -> None:
    """Send a byte of the head now and then: no read ever waits for long."""
    assert isinstance(request.server, Server)
    with suppress(OSError):
        while not request.server.over.wait(0.05):
            request.wfile.write(b"x")


def test_a_url_s_keys_are_downloaded(tmp_path: Path) -> None:
    """Over TLS with the provider's own roots; with others, nothing is."""
    with server(tmp_path, answering(200, jwks())) as url:
        corp = provider(tmp_path, jwks=None, jwks_url=url, ca=tmp_path / "server.pem")
        verifier = SubjectTokenVerifier([corp])
        assert verifier.verify(id_token(), "article", NOW).text == "corp:ada"
        with pytest.raises(ServiceConnectionError, match=r"verify failed.*name its root in `ca`"):
            ProviderRequest(url, provider_context(None)).result()


@pytest.mark.parametrize(
    ("serve", "why"),
    [
        (answering(302, b"", location="https://localhost/other"), "the answer has status 302"),
        (answering(404, b"{}"), "the answer has status 404"),
        (answering(200, b"x" * 300_000), "more than 262144 bytes"),
        (answering(200, b"x", content_encoding="gzip"), "the answer is compressed"),
        (dripping, "no answer within 0.3 s"),
    ],
)
def test_a_bad_answer_costs_little(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serve: Serve, why: str
) -> None:
    """It is no set of keys, however large it is and however long it takes."""
    monkeypatch.setattr(limits, "provider_seconds_max", 0.3 if serve is dripping else 20.0)
    with server(tmp_path, serve) as url:
        download = ProviderRequest(url, provider_context(tmp_path / "server.pem"))
        with pytest.raises(ServiceConnectionError) as raised:
            download.result()
        assert why in str(raised.value)
        assert download.is_running is (serve is dripping)
