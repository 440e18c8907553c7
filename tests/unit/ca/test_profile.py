"""Every certificate that the CA makes, judged by OpenSSL's strict verification and by RFC 5280."""

import shutil
import subprocess
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

import forged_certificates
import pytest
from ca_folder import ca_in
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from crewgate.ca.authority import Authority, create
from crewgate.ca.certificates import make_responder, new_key, pem
from crewgate.config import CAConfig
from crewgate.core.x509.identity_extension import Role, decode
from crewgate.core.x509.identity_oids import DEFAULT

OPENSSL = shutil.which("openssl")
KINDS = ["orchestrator", "gateway", "operator", "agent", "responder"]
CLIENT, SERVER = "sslclient", "sslserver"
PURPOSES = {
    "orchestrator": [CLIENT],
    "gateway": [CLIENT, SERVER],
    "operator": [CLIENT],
    "agent": [CLIENT],
    "responder": ["ocsphelper"],
}


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> CAConfig:
    """A CA of today: OpenSSL looks at the clock."""
    ca = ca_in(tmp_path_factory.mktemp("ca"))
    create(ca, datetime.now(UTC))
    return ca


@pytest.fixture(scope="module")
def leaves(ca: CAConfig) -> dict[str, x509.Certificate]:
    """One of each kind."""
    now = datetime.now(UTC)
    hosts = [x509.DNSName("gw.example"), x509.IPAddress(ip_address("127.0.0.1"))]
    found = {}
    with Authority(ca) as authority:
        for role in Role:
            public = new_key().public_key()
            names = hosts if role is Role.GATEWAY else []
            until = int(now.timestamp()) + 60 if role is Role.AGENT else None
            who = forged_certificates.bd("one", role)
            entry = authority.issue(who, public, now, hosts=names, until=until)
            found[role.value] = x509.load_pem_x509_certificate(entry.pem.encode())
        issuing = authority.issuing
    found["responder"] = make_responder(issuing, now).certificate
    return found


def _openssl(*arguments: object) -> subprocess.CompletedProcess[str]:
    assert OPENSSL
    return subprocess.run(
        [OPENSSL, *map(str, arguments)], capture_output=True, text=True, check=False
    )


def _verify(ca: CAConfig, leaf: x509.Certificate, folder: Path, *more: object) -> str:
    (folder / "leaf.pem").write_bytes(pem(leaf))
    done = _openssl(
        "verify", "-x509_strict", "-CAfile", ca.root, "-untrusted", ca.issuing, *more,
        folder / "leaf.pem",
    )  # fmt: skip
    return "OK" if done.returncode == 0 else done.stderr


@pytest.mark.skipif(OPENSSL is None, reason="needs the openssl command")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("purpose", [CLIENT, SERVER, "ocsphelper"])
def test_openssl_accepts_each_for_its_purposes_only(
    ca: CAConfig, leaves: dict[str, x509.Certificate], tmp_path: Path, kind: str, purpose: str
) -> None:
    """`openssl verify -x509_strict -purpose …`, with the list of the revoked checked as well."""
    said = _verify(
        ca, leaves[kind], tmp_path, "-purpose", purpose, "-crl_check", "-CRLfile", ca.crl
    )
    if purpose in PURPOSES[kind]:
        assert said == "OK"
    elif purpose != "ocsphelper":  # OpenSSL asks a responder for no usage here
        assert "unsuitable certificate purpose" in said


@pytest.mark.skipif(OPENSSL is None, reason="needs the openssl command")
@pytest.mark.parametrize("kind", KINDS)
def test_openssl_shows_each(leaves: dict[str, x509.Certificate], tmp_path: Path, kind: str) -> None:
    """`openssl x509 -text` reads it to its end, the identity extension too."""
    (tmp_path / "leaf.pem").write_bytes(pem(leaves[kind]))
    done = _openssl("x509", "-in", tmp_path / "leaf.pem", "-noout", "-text")
    assert done.returncode == 0, done.stderr
    assert (DEFAULT in done.stdout) is (kind in {role.value for role in Role})


@pytest.mark.parametrize("kind", KINDS)
def test_the_profile_of_a_leaf(
    ca: CAConfig, leaves: dict[str, x509.Certificate], kind: str
) -> None:
    """RFC 5280, section 4.2: what is there, what is critical, and who signed it."""
    leaf = leaves[kind]
    issuing = x509.load_pem_x509_certificate(ca.issuing.read_bytes())
    leaf.verify_directly_issued_by(issuing)
    assert leaf.version is x509.Version.v3
    assert leaf.serial_number.bit_length() == 79  # §4.1.2.2: positive, at most 20 bytes
    key = leaf.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert isinstance(key.curve, ec.SECP256R1)
    found = {extension.oid: extension for extension in leaf.extensions}
    critical = {extension.value.oid for extension in leaf.extensions if extension.critical}
    assert critical == {x509.BasicConstraints.oid, x509.KeyUsage.oid}
    assert found[x509.AuthorityKeyIdentifier.oid].value.key_identifier == (
        issuing.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    )
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert not any((usage.key_cert_sign, usage.crl_sign, usage.key_encipherment))
    (common,) = leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert 1 <= len(str(common.value)) <= 64


@pytest.mark.parametrize(
    ("kind", "usages"),
    [
        ("orchestrator", [ExtendedKeyUsageOID.CLIENT_AUTH]),
        ("operator", [ExtendedKeyUsageOID.CLIENT_AUTH]),
        ("agent", [ExtendedKeyUsageOID.CLIENT_AUTH]),
        ("gateway", [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
        ("responder", [ExtendedKeyUsageOID.OCSP_SIGNING]),
    ],
)
def test_each_has_its_usages(
    leaves: dict[str, x509.Certificate], kind: str, usages: list[x509.ObjectIdentifier]
) -> None:
    """And those with an identity say it twice: in the extension and as a SPIFFE ID."""
    extensions = leaves[kind].extensions
    assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == usages
    if kind in {role.value for role in Role}:
        identity = decode(extensions.get_extension_for_oid(forged_certificates.OID).value.value)
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        assert uris == [identity.spiffe_id("x.example")]


def test_the_profile_of_the_authorities(ca: CAConfig) -> None:
    """Both may sign certificates and lists and nothing else; the root names itself."""
    for path, length in ((ca.root, 1), (ca.issuing, 0)):
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        extensions = certificate.extensions
        constraints = extensions.get_extension_for_class(x509.BasicConstraints)
        assert (constraints.critical, constraints.value.path_length) == (True, length)
        usage = extensions.get_extension_for_class(x509.KeyUsage).value
        assert (usage.key_cert_sign, usage.crl_sign, usage.digital_signature) == (
            True, True, False,
        )  # fmt: skip
