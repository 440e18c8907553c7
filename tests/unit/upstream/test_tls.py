"""What an upstream's TLS context accepts and shows, by handshakes in memory."""

import ssl
from pathlib import Path

import pytest
from authority import Authority, Files

from crewgate.config import UpstreamConfig, UpstreamOrigin, UpstreamProtocol, UpstreamTLS
from crewgate.errors import ConfigurationError
from crewgate.upstream.tls import client_context, fingerprint

NAME = "tools.example"


def _upstream(protocol: UpstreamProtocol = "http/1.1", **tls: Path | str | None) -> UpstreamConfig:
    endpoint = UpstreamOrigin("https", NAME, 443)
    return UpstreamConfig("tools", (endpoint,), protocol=protocol, tls=UpstreamTLS(**tls))


def _server(files: Files, *protocols: str, clients: Path | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    context.set_alpn_protocols(list(protocols))
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients)
    return context


def _shake(
    upstream: UpstreamConfig, server: ssl.SSLContext, name: str = NAME
) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Both sides after a handshake; the error of the side that refused."""
    context = client_context(upstream)
    assert context is not None
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = context.wrap_bio(down, up, server_hostname=name)
    theirs = server.wrap_bio(up, down, server_side=True)
    undone = [ours, theirs]
    while undone:
        for side in tuple(undone):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            undone.remove(side)
    return ours, theirs


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_http_has_no_context() -> None:
    """Where nothing can be verified there is nothing that could be mistaken for it."""
    assert client_context(UpstreamConfig("tools", (UpstreamOrigin("http", NAME, 80),))) is None


def test_chain_and_name_are_verified() -> None:
    """Whatever the configuration says: there is no key that turns it off."""
    context = client_context(_upstream())
    assert context is not None
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert set(UpstreamTLS.__struct_fields__) == {"ca", "certificate", "key", "server_name"}


@pytest.mark.parametrize("protocol", ["http/1.1", "h2"])
def test_a_pinned_authority_is_trusted(authority: Authority, protocol: UpstreamProtocol) -> None:
    """A server that it certified is accepted, and only the protocol that is wanted offered."""
    server = _server(authority.issue(NAME), "h2", "http/1.1")
    ours, _ = _shake(_upstream(protocol, ca=authority.ca), server)
    assert ours.selected_alpn_protocol() == protocol
    assert ours.version() == "TLSv1.3"


def test_addresses_are_verified_as_names_are(authority: Authority) -> None:
    """An endpoint that is an IP address must have it in its certificate."""
    server = _server(authority.issue("10.0.0.1", "::1"))
    upstream = _upstream(ca=authority.ca)
    for address in ("10.0.0.1", "::1"):
        _shake(upstream, server, address)
    with pytest.raises(ssl.SSLCertVerificationError, match="IP address mismatch"):
        _shake(upstream, server, "10.0.0.2")


def test_another_authority_is_refused(authority: Authority, tmp_path: Path) -> None:
    """A pinned authority replaces all others: another's certificate is worth nothing."""
    other = Authority(tmp_path, "other")
    with pytest.raises(ssl.SSLCertVerificationError, match="local issuer"):
        _shake(_upstream(ca=authority.ca), _server(other.issue(NAME)))


def test_the_system_knows_no_test_authority(authority: Authority) -> None:
    """Without a pinned bundle the system's authorities are those that are trusted."""
    with pytest.raises(ssl.SSLCertVerificationError):
        _shake(_upstream(), _server(authority.issue(NAME)))


@pytest.mark.parametrize("names", [("other.example",), ("*.tools.example",), ()])
def test_another_name_is_refused(authority: Authority, names: tuple[str, ...]) -> None:
    """Neither a certificate for somebody else, nor one with the name as its subject alone."""
    server = _server(authority.issue(*names, common=NAME))
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        _shake(_upstream(ca=authority.ca), server)


def test_an_ended_certificate_is_refused(authority: Authority) -> None:
    """A certificate that ended yesterday proves nothing today."""
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        _shake(_upstream(ca=authority.ca), _server(authority.issue(NAME, days=-1)))


def test_one_server_may_be_pinned(authority: Authority) -> None:
    """The bundle may hold the server's own certificate: that one alone is accepted."""
    pinned, other = authority.issue(NAME), authority.issue(NAME)
    upstream = _upstream(ca=pinned.certificate)
    _shake(upstream, _server(pinned))
    with pytest.raises(ssl.SSLCertVerificationError):
        _shake(upstream, _server(other))


def test_a_client_certificate_is_shown(authority: Authority) -> None:
    """A server that demands one sees ours; without one it ends the handshake."""
    server = _server(authority.issue(NAME), clients=authority.ca)
    mine = authority.issue(common="gateway")
    _, theirs = _shake(
        _upstream(ca=authority.ca, certificate=mine.certificate, key=mine.key), server
    )
    shown = theirs.getpeercert()
    assert shown is not None
    assert shown["subject"] == ((("commonName", "gateway"),),)
    with pytest.raises(ssl.SSLError, match="did not return a certificate"):
        _shake(_upstream(ca=authority.ca), server)


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_a_bundle_that_cannot_be_used(tmp_path: Path, content: str | None) -> None:
    """A missing or empty bundle is said with the upstream, its path, and how to mend it."""
    bundle = tmp_path / "bundle.pem"
    if content is not None:
        bundle.write_text(content)
    with pytest.raises(ConfigurationError, match=f"upstream tools: CA bundle {bundle}: ") as raised:
        client_context(_upstream(ca=bundle))
    assert str(raised.value).endswith("authorities that signed its servers' certificates")


def test_a_client_certificate_that_cannot_be_used(authority: Authority, tmp_path: Path) -> None:
    """Missing files, another's key and an encrypted key are told; nobody is asked a password."""
    mine, other = authority.issue(), authority.issue()
    locked = authority.issue(password="secret")
    for certificate, key in (
        (tmp_path / "missing.pem", mine.key),
        (mine.certificate, tmp_path / "missing.key"),
        (mine.certificate, other.key),
        (mine.certificate, mine.certificate),
        locked,
    ):
        with pytest.raises(
            ConfigurationError, match="upstream tools: client certificate: "
        ) as raised:
            client_context(_upstream(certificate=certificate, key=key))
        absent = [str(path) for path in (certificate, key) if not path.exists()]
        wrong = absent or [f"certificate {certificate} with key {key}"]
        assert f": {wrong[0]}: " in str(raised.value)
        assert str(raised.value).endswith("give a PEM chain and its unencrypted PEM key")


def test_a_fingerprint_changes_with_any_file(authority: Authority, tmp_path: Path) -> None:
    """New contents under an old name are seen, wherever; the same contents are the same."""
    mine = authority.issue()
    files = {"ca": authority.ca, "certificate": mine.certificate, "key": mine.key}
    upstream = _upstream(**files)
    seen = {fingerprint(upstream), fingerprint(_upstream())}
    assert fingerprint(_upstream(**files)) in seen
    for path in files.values():
        path.write_bytes(path.read_bytes() + b"\n")
        seen.add(fingerprint(upstream))
    assert len(seen) == 5
    with pytest.raises(ConfigurationError, match=f"upstream tools: {tmp_path / 'no'}: No such"):
        fingerprint(_upstream(ca=tmp_path / "no"))
