"""The CA at work: made once, signs what can be, revokes durably, publishes no older list last."""

import subprocess
import sys
import textwrap
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import forged_certificates
import msgspec
import pytest
from ca_folder import ca_in
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from crewgate import limits
from crewgate.ca.authority import Authority, create, new_instance, read_request, request_pem
from crewgate.ca.certificate_db import CertificateRecord
from crewgate.ca.certificates import new_key
from crewgate.ca.key_files import read_certificates
from crewgate.config import CAConfig
from crewgate.core.x509.certificate import read, serial_text
from crewgate.core.x509.identity_extension import Identity, Role
from crewgate.errors import CAError, CRLPublishError


def issue(
    ca: CAConfig, now: datetime, identity: Identity | None = None, **options: object
) -> CertificateRecord:
    with Authority(ca) as authority:
        public = new_key().public_key()
        return authority.issue(identity or forged_certificates.bd(), public, now, **options)  # type: ignore[arg-type]


def listed(ca: CAConfig) -> x509.CertificateRevocationList:
    return x509.load_pem_x509_crl(ca.crl.read_bytes())


def number_of(crl: x509.CertificateRevocationList) -> int:
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def test_a_ca_is_made_once(ca: CAConfig, now: datetime) -> None:
    """Neither its key nor its root is overwritten, even when the keys have been taken away."""
    before = {path: path.read_bytes() for path in (ca.root, ca.root_key, ca.issuing_key)}
    with pytest.raises(CAError, match="a CA exists already"):
        create(ca, now)
    taken = ca.issuing_key.read_bytes()
    ca.issuing_key.unlink()
    with pytest.raises(CAError, match="a CA exists already"):
        create(ca, now)
    ca.issuing_key.write_bytes(taken)
    assert {path: path.read_bytes() for path in before} == before


def test_one_that_was_interrupted_is_made_anew(tmp_path: Path, now: datetime) -> None:
    """Without issuing key and list nothing was ever signed with what stands there."""
    ca = ca_in(tmp_path)
    ca.root_key.write_text("half")
    ca.issuing.write_text("half")
    create(ca, now)
    assert issue(ca, now).status(now.timestamp()) == "valid"


MAKER = textwrap.dedent("""
    import sys
    from datetime import UTC, datetime
    from pathlib import Path
    from crewgate.config import CAConfig
    from crewgate.errors import CAError
    from crewgate.ca.authority import create
    folder = Path(sys.argv[1])
    ca = CAConfig(folder / "ca", folder / "ca.pem", folder / "crl.pem", "x.example")
    try:
        create(ca, datetime.now(UTC))
    except CAError as error:
        sys.exit(str(error))
""")


def test_of_two_that_make_one_at_once_one_does(tmp_path: Path, now: datetime) -> None:
    """And what stands there belongs together."""
    ca = ca_in(tmp_path)
    makers = [
        subprocess.Popen([sys.executable, "-c", MAKER, str(tmp_path)], stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    said = [maker.communicate(timeout=60)[1] for maker in makers]
    assert sorted(maker.returncode for maker in makers) == [0, 1, 1]
    assert sum(b"a CA exists already" in each for each in said) == 2
    issue(ca, now)
    read_certificates(ca.issuing)[0].verify_directly_issued_by(read_certificates(ca.root)[0])


def test_with_a_passphrase_the_keys_are_encrypted(tmp_path: Path, now: datetime) -> None:
    """The end of the file's line is not part of it; another one opens nothing, and none is said."""
    ca = ca_in(tmp_path, "hunter2\n")
    create(ca, now)
    for path in (ca.root_key, ca.issuing_key):
        assert b"ENCRYPTED PRIVATE KEY" in path.read_bytes()
    issue(ca, now)
    assert ca.passphrase_file is not None
    for text, says in (("other", "the passphrase is wrong"), ("\n", "is empty")):
        ca.passphrase_file.write_text(text)
        with pytest.raises(CAError, match=says) as raised:
            Authority(ca)
        assert "hunter2" not in str(raised.value)
    with pytest.raises(CAError, match="is encrypted, but there is no passphrase"):
        Authority(msgspec.structs.replace(ca, passphrase_file=None))
    ca.passphrase_file.unlink()
    with pytest.raises(CAError, match="passphrase cannot be read"):
        Authority(ca)


def test_another_key_is_not_taken(ca: CAConfig, tmp_path: Path, now: datetime) -> None:
    """A key that is not the certificate's would sign what nobody verifies."""
    (tmp_path / "other").mkdir()
    other = ca_in(tmp_path / "other")
    create(other, now)
    ca.issuing_key.write_bytes(other.issuing_key.read_bytes())
    with pytest.raises(CAError, match="not the key of"):
        Authority(ca)


def test_a_register_that_is_gone_is_not_begun_anew(ca: CAConfig) -> None:
    """An empty one would let through whatever was revoked."""
    ca.register.unlink()
    with pytest.raises(CAError, match="register is missing"):
        Authority(ca)
    assert not ca.register.exists()


def test_a_certificate_says_what_it_was_asked_for(ca: CAConfig, now: datetime) -> None:
    """Identity, SPIFFE ID, four hours and five minutes, and the register knows it."""
    entry = issue(ca, now)
    leaf = x509.load_pem_x509_certificate(entry.pem.encode())
    found = read(leaf.public_bytes(Encoding.DER))
    assert found.speaks_for() == forged_certificates.bd()
    assert found.serial_text == entry.serial
    assert found.not_before == int(now.timestamp()) - limits.certificate_backdate_seconds
    assert found.not_after == int(now.timestamp()) + 4 * 3600 == entry.not_after
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [name.value for name in names] == ["spiffe://x.example/orchestrator/bd/bd-1"]
    with Authority(ca) as authority:
        assert authority.register.find(entry.serial) == entry
        assert authority.chain(entry).count(b"BEGIN CERTIFICATE") == 2


@pytest.mark.parametrize(
    ("identity", "options", "says"),
    [
        (forged_certificates.bd("BD 1"), {}, "the name 'BD 1': expected"),
        (forged_certificates.bd(crew=""), {}, "an orchestrator needs a crew"),
        (Identity(Role.OPERATOR, "ada", bytes(16), "bd"), {}, "no other role may have one"),
        (forged_certificates.bd(), {"life_seconds": 0}, "a lifetime of 0 seconds"),
        (
            forged_certificates.bd(),
            {"life_seconds": limits.certificate_life_seconds_max + 1},
            "expected 1 to",
        ),
        (
            forged_certificates.bd(),
            {"hosts": [x509.DNSName("x")]},
            "only a gateway's certificate has host names",
        ),
    ],
)
def test_what_cannot_be_is_not_signed(
    ca: CAConfig, now: datetime, identity: Identity, options: dict[str, object], says: str
) -> None:
    """And the register stays as it was."""
    with pytest.raises(CAError, match=says):
        issue(ca, now, identity, **options)
    with Authority(ca) as authority:
        assert authority.register.all() == []


def test_the_longest_names_fit(ca: CAConfig, now: datetime) -> None:
    """A common name has 64 characters; what is longer together is named by its name."""
    entry = issue(ca, now, forged_certificates.bd("n" * 64, crew="c" * 64))
    leaf = x509.load_pem_x509_certificate(entry.pem.encode())
    assert leaf.subject.rfc4514_string() == "CN=" + "n" * 64
    assert read(leaf.public_bytes(Encoding.DER)).speaks_for().label == entry.label


def test_nothing_outlives_the_issuing_ca(ca: CAConfig, now: datetime) -> None:
    """Shortly before its end a leaf is short; after it nothing is signed."""
    end = read_certificates(ca.issuing)[0].not_valid_after_utc
    assert issue(ca, end - timedelta(seconds=90)).not_after == int(end.timestamp())
    with pytest.raises(CAError, match="make a new CA"):
        issue(ca, end)


def test_a_renewed_one_has_the_same_key_and_identity(ca: CAConfig, now: datetime) -> None:
    """Hosts of a gateway too; the one before stays good."""
    hosts = [x509.DNSName("gw.example"), x509.IPAddress(ip_address("::1"))]
    before = issue(ca, now, forged_certificates.bd("edge-1", Role.GATEWAY), hosts=hosts)
    with Authority(ca) as authority:
        after = authority.renew(before.serial, now + timedelta(hours=2), life_seconds=600)
        assert authority.register.find(before.serial) == before
    old, new = (x509.load_pem_x509_certificate(each.pem.encode()) for each in (before, after))
    assert old.public_key() == new.public_key()
    for kind in (x509.SubjectAlternativeName, x509.ExtendedKeyUsage):
        assert old.extensions.get_extension_for_class(kind) == (
            new.extensions.get_extension_for_class(kind)
        )
    assert (after.instance, after.serial != before.serial) == (before.instance, True)


def test_what_is_not_good_is_not_renewed(ca: CAConfig, now: datetime) -> None:
    """Revoked, expired, foreign."""
    entry = issue(ca, now)
    with Authority(ca) as authority:
        with pytest.raises(CAError, match="is expired"):
            authority.renew(entry.serial, now + timedelta(hours=5))
        authority.revoke([entry.serial], "superseded", now)
        with pytest.raises(CAError, match="is revoked"):
            authority.renew(entry.serial, now)
        with pytest.raises(CAError, match="was not issued here"):
            authority.renew("AA", now)


def test_a_request_gives_its_key_and_nothing_else() -> None:
    """Whatever name or extension it asks for."""
    key = new_key()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "root")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=9), critical=True)
    request = builder.sign(key, hashes.SHA256())
    assert read_request(request.public_bytes(Encoding.PEM)) == key.public_key()
    assert read_request(request_pem(key)) == key.public_key()


def _request(key: object) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, digest).public_bytes(Encoding.PEM)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: b"", "not a certificate request"),
        (lambda: b"nonsense", "not a certificate request"),
        (lambda: bytes(limits.request_pem_bytes_max + 1), "request is larger than"),
        (lambda: _request(ec.generate_private_key(ec.SECP384R1())), "not ECDSA P-256"),
        (lambda: _request(rsa.generate_private_key(65537, 2048)), "not ECDSA P-256"),
        (lambda: _request(ed25519.Ed25519PrivateKey.generate()), "not ECDSA P-256"),
    ],
)
def test_other_requests_are_refused(make, says: str) -> None:  # noqa: ANN001 - a lambda
    """Nonsense, too much, other kinds of keys."""
    with pytest.raises(CAError, match=says):
        read_request(make())


def test_a_request_must_prove_its_key() -> None:
    """Someone else's public key under one's own signature is no request."""
    mine, other = new_key(), new_key()
    data = x509.load_pem_x509_csr(request_pem(mine)).public_bytes(Encoding.DER)
    numbers = [key.public_key().public_numbers() for key in (mine, other)]
    raw = [n.x.to_bytes(32) + n.y.to_bytes(32) for n in numbers]
    assert data.count(raw[0]) == 1
    forged = x509.load_der_x509_csr(data.replace(raw[0], raw[1])).public_bytes(Encoding.PEM)
    with pytest.raises(CAError, match="not signed with its own key"):
        read_request(forged)


def test_a_revoked_one_is_in_the_list(ca: CAConfig, now: datetime) -> None:
    """And pending until somebody says that it is known; again it changes nothing but the number."""
    first, second = issue(ca, now), issue(ca, now)
    before = number_of(listed(ca))
    with Authority(ca) as authority:
        done = authority.revoke([first.serial, second.serial], "keyCompromise", now)
        assert {each.serial for each in done} == {first.serial, second.serial}
        assert authority.revoke([first.serial], "superseded", now) == []
        assert {each.serial for each in authority.register.pending()} == {
            first.serial, second.serial,
        }  # fmt: skip
    crl = listed(ca)
    assert number_of(crl) >= before + 2
    assert {serial_text(each.serial_number) for each in crl} == {
        first.serial, second.serial,
    }  # fmt: skip
    assert crl.is_signature_valid(read_certificates(ca.issuing)[0].public_key())  # type: ignore[arg-type]
    assert crl.next_update_utc == now + timedelta(seconds=limits.crl_seconds)


def test_what_a_crash_kept_from_the_list_is_listed_by_the_next_one(
    ca: CAConfig, now: datetime
) -> None:
    """The intent is durable, whoever asks again."""
    entry = issue(ca, now)
    with Authority(ca) as authority:
        authority.register.revoke([entry.serial], "unspecified", int(now.timestamp()))
        assert len(listed(ca)) == 0
        assert authority.revoke([entry.serial], "unspecified", now) == []
    assert len(listed(ca)) == 1


def test_a_list_that_cannot_be_written_is_told_apart(ca: CAConfig, now: datetime) -> None:
    """It is revoked all the same, so that whoever asked goes on to close what is open."""
    entry = issue(ca, now)
    ca.crl.unlink()
    ca.crl.mkdir()
    with Authority(ca) as authority:
        with pytest.raises(CRLPublishError, match="cannot be written"):
            authority.revoke([entry.serial], "unspecified", now)
        assert [each.serial for each in authority.register.pending()] == [entry.serial]
        with pytest.raises(CAError, match="revocation reason 'because'; expected one of"):
            authority.revoke([entry.serial], "because", now)


PUBLISHER = textwrap.dedent("""
    import sys
    from datetime import UTC, datetime
    from pathlib import Path
    from crewgate.config import CAConfig
    from crewgate.ca.authority import Authority, new_instance
    from crewgate.ca.certificates import new_key
    from crewgate.core.x509.identity_extension import Identity, Role
    folder = Path(sys.argv[1])
    ca = CAConfig(folder / "ca", folder / "ca.pem", folder / "crl.pem", "x.example")
    with Authority(ca) as authority:
        key = new_key().public_key()
        for _ in range(25):
            identity = Identity(Role.ORCHESTRATOR, "n", new_instance(), "bd")
            entry = authority.issue(identity, key, datetime.now(UTC))
            authority.revoke([entry.serial], "unspecified", datetime.now(UTC))
""")


def test_of_many_lists_at_once_the_newest_stays(tmp_path: Path) -> None:
    """Numbers that a reader sees only grow, and the last list has everything."""
    ca = ca_in(tmp_path)
    create(ca, forged_certificates.now())
    first = number_of(listed(ca))
    publishers = [
        subprocess.Popen([sys.executable, "-c", PUBLISHER, str(tmp_path)]) for _ in range(3)
    ]
    seen = []
    while any(publisher.poll() is None for publisher in publishers):
        crl = listed(ca)  # never half of one
        seen.append((number_of(crl), len(crl)))
    assert [publisher.returncode for publisher in publishers] == [0, 0, 0]
    assert seen == sorted(seen)
    assert number_of(listed(ca)) >= first + 75
    assert len(listed(ca)) == 75


def test_a_key_shows_nowhere(ca: CAConfig) -> None:
    """What a log might print of a CA is its name."""
    with Authority(ca) as authority:
        assert repr(authority.issuing) == "<CertificateAndKey CN=Crewgate issuing CA>"
    assert len(new_instance()) == 16
