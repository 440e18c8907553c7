"""The development authority, judged by OpenSSL and by `cryptography`, not by its own maker."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import forged_certificates
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from crewgate.ca.certificates import CertificateAndKey, make_issuing, make_root

Chain = tuple[CertificateAndKey, CertificateAndKey, CertificateAndKey]


@pytest.fixture(scope="module")
def chain() -> Chain:
    """Root, issuing CA, and a gateway's certificate for the loopback names."""
    now = datetime.now(UTC)
    root = make_root(now)
    issuing = make_issuing(root, now)
    return root, issuing, forged_certificates.server(issuing, "localhost", "127.0.0.1", "::1")


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1"])
def test_a_strict_tls_client_accepts_each_name(chain: Chain, tmp_path: Path, name: str) -> None:
    """With the root alone trusted, OpenSSL verifies leaf and issuing CA in strict mode."""
    assert handshake(chain, tmp_path, name) == "TLSv1.3"


def test_a_strict_tls_client_refuses_another_name(chain: Chain, tmp_path: Path) -> None:
    """The certificate is good for the loopback names only."""
    with pytest.raises(ssl.SSLCertVerificationError, match="not valid for 'example"):
        handshake(chain, tmp_path, "example.org")


def test_the_chain_verifies_by_another_implementation_until_it_expires(chain: Chain) -> None:
    """The verifier of `cryptography` agrees, and refuses the certificate after its end."""
    root, issuing, server = chain
    builder = PolicyBuilder().store(Store([root.certificate]))
    name = x509.DNSName("localhost")
    path = builder.build_server_verifier(name).verify(server.certificate, [issuing.certificate])
    assert path == [server.certificate, issuing.certificate, root.certificate]
    late = builder.time(server.certificate.not_valid_after_utc + timedelta(seconds=1))
    with pytest.raises(VerificationError):
        late.build_server_verifier(name).verify(server.certificate, [issuing.certificate])


def test_every_key_is_p256_and_no_authority_can_go_deeper(chain: Chain) -> None:
    """The root signs one level, the issuing CA none, and the leaf is no authority."""
    constraints = []
    for issued in chain:
        assert isinstance(issued.key.curve, ec.SECP256R1)
        constraints.append(
            issued.certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        )
    assert [(limit.ca, limit.path_length) for limit in constraints] == [
        (True, 1),
        (True, 0),
        (False, None),
    ]


def test_a_key_does_not_show_in_a_repr(chain: Chain) -> None:
    """What a log might print of a certificate with its key is the subject."""
    assert repr(chain[2]) == "<CertificateAndKey CN=Crewgate gateway>"


def handshake(chain: Chain, folder: Path, name: str) -> str | None:
    """One TLS handshake in memory; the version both agreed on."""
    root, issuing, server = chain
    (folder / "chain.pem").write_bytes(server.certificate_pem + issuing.certificate_pem)
    (folder / "key.pem").write_bytes(server.key_pem)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(folder / "chain.pem", folder / "key.pem")
    asking = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    asking.verify_flags |= ssl.VERIFY_X509_STRICT
    asking.load_verify_locations(cadata=root.certificate_pem.decode())
    return exchange(asking, serving, name)


def exchange(asking: ssl.SSLContext, serving: ssl.SSLContext, name: str) -> str | None:
    """Pump bytes between the two ends until both are done."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = asking.wrap_bio(down, up, server_hostname=name)
    server = serving.wrap_bio(up, down, server_side=True)
    waiting = [client, server]
    while waiting:
        for end in list(waiting):
            try:
                end.do_handshake()
                waiting.remove(end)
            except ssl.SSLWantReadError:
                continue
    return client.version()
