"""What is a gateway's certificate of this CA, and whose word its address is."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import IPv6Address
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import NameOID
from gossip_members import Authority, chain_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crewgate import limits
from crewgate.ca.certificates import CertificateAndKey, CertificateValidity, make_leaf, new_key
from crewgate.core.x509.identity_extension import MAY_REVOKE, Identity, Role
from crewgate.errors import GossipError
from crewgate.gossip.member_verification import CertificateVerifier, SignedMemberRecord

HOST = bytes(10) + b"\xff\xff\x0a\0\0\1"
BIG = bytes(limits.certificate_bytes_max + 1)
SIGNING = Ed25519PrivateKey.generate()


@pytest.fixture
def trust(authority: Authority) -> CertificateVerifier:
    return CertificateVerifier(authority.file)


@pytest.fixture
def good(authority: Authority, tmp_path: Path) -> SignedMemberRecord:
    """Of gateway m0."""
    files = authority.certify(tmp_path / "m0", "m0", SIGNING)
    return SignedMemberRecord(chain_of(files.certificate), HOST, 8446).signed_by(SIGNING.sign, 5)


def with_(good: SignedMemberRecord, **changes: object) -> SignedMemberRecord:
    """The same with its word for what has changed."""
    return msgspec.structs.replace(good, **changes).signed_by(SIGNING.sign, 5)


def test_a_gateway_of_this_ca_is_known(
    trust: CertificateVerifier, good: SignedMemberRecord
) -> None:
    """By name, through all its certificates."""
    known = trust.check(good)
    assert (known.name, known.may_revoke, known.address.port) == ("m0", True, 8446)


def self_signed() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "m0")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(1))
    return made.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


LIES: dict[str, Callable[[SignedMemberRecord], SignedMemberRecord]] = {
    "no chain": lambda good: with_(good, chain=good.chain[:1]),
    "nothing": lambda good: msgspec.structs.replace(good, chain=()),
    "garbage": lambda good: with_(good, chain=(b"garbage", good.chain[1])),
    "garbage above": lambda good: with_(good, chain=(good.chain[0], b"garbage")),
    "self-signed": lambda good: with_(good, chain=(self_signed(),)),
    "under itself": lambda good: with_(good, chain=(good.chain[0], good.chain[0], good.chain[1])),
    "signed by a leaf": lambda good: with_(good, chain=(self_signed(), good.chain[0])),
    "the CA's own": lambda good: with_(good, chain=good.chain[1:]),
    "too many": lambda good: with_(good, chain=good.chain * 5),
    "too long": lambda good: with_(good, chain=(*good.chain, BIG)),
    "short host": lambda good: with_(good, host=HOST[1:]),
    "multicast": lambda good: with_(good, host=bytes(10) + b"\xff\xff\xe0\0\0\1"),
    "multicast 6": lambda good: with_(good, host=IPv6Address("ff02::1").packed),
    "nobody": lambda good: with_(good, host=bytes(10) + b"\xff\xff\0\0\0\0"),
    "nobody 6": lambda good: with_(good, host=bytes(16)),
    "no port": lambda good: with_(good, port=0),
    "another's port": lambda good: msgspec.structs.replace(good, port=1),
    "port beyond": lambda good: msgspec.structs.replace(good, port=2**16),
    "another's host": lambda good: msgspec.structs.replace(good, host=HOST[:-1] + b"\2"),
    "another time": lambda good: msgspec.structs.replace(good, told=6),
    "before time": lambda good: msgspec.structs.replace(good, told=-1),
    "no time": lambda good: msgspec.structs.replace(good, told=2**62),
    "unsigned": lambda good: msgspec.structs.replace(good, signature=b""),
    "another's word": lambda good: good.signed_by(Ed25519PrivateKey.generate().sign, 5),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_what_is_no_member_s(
    trust: CertificateVerifier, good: SignedMemberRecord, lie: str
) -> None:
    """GossipError, and never anything else."""
    with pytest.raises(GossipError):
        trust.check(LIES[lie](good))


def test_a_gateway_certifies_nobody(
    authority: Authority, tmp_path: Path, trust: CertificateVerifier, good: SignedMemberRecord
) -> None:
    """With its own key, which the CA has certified: it would be as many members as it likes."""
    key = load_pem_private_key((tmp_path / "m0" / "leaf.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    forger = CertificateAndKey(x509.load_der_x509_certificate(good.chain[0]), key)
    raw = SIGNING.public_key().public_bytes_raw()
    identity = Identity(Role.GATEWAY, "m1", bytes(16), "", raw, (MAY_REVOKE,))
    validity = CertificateValidity.of(datetime.now(UTC), timedelta(hours=1))
    leaf = make_leaf(forger, new_key().public_key(), identity, "crewgate.test", validity)
    with pytest.raises(GossipError, match="may not sign"):
        trust.check(with_(good, chain=(leaf.public_bytes(Encoding.DER), *good.chain)))


@pytest.mark.parametrize("role", [Role.ORCHESTRATOR, Role.OPERATOR])
def test_other_roles_are_no_members(
    authority: Authority, tmp_path: Path, trust: CertificateVerifier, role: Role
) -> None:
    """Though the same CA has certified them, and whatever key they have."""
    files = authority.certify(tmp_path / "x", "m0", SIGNING, role=role)
    shown = SignedMemberRecord(chain_of(files.certificate), HOST, 8446).signed_by(SIGNING.sign, 5)
    with pytest.raises(GossipError, match="not the certificate of a gateway"):
        trust.check(shown)


def test_another_ca_s_are_no_members(tmp_path: Path, good: SignedMemberRecord) -> None:
    """Of the same name."""
    (tmp_path / "other").mkdir()
    with pytest.raises(GossipError, match="no root has signed it"):
        CertificateVerifier(Authority(tmp_path / "other").file).check(good)
    with pytest.raises(GossipError, match="cannot read root certificates"):
        CertificateVerifier(tmp_path / "nowhere")


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_every_byte_of_a_certificate_counts(
    trust: CertificateVerifier, good: SignedMemberRecord, data: st.DataObject
) -> None:
    """Of the leaf and of who signed it; `cryptography` has errors of its own for some."""
    which = data.draw(st.integers(0, 1))
    raw = bytearray(good.chain[which])
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    chain = (bytes(raw), good.chain[1]) if not which else (good.chain[0], bytes(raw))
    with pytest.raises(GossipError):
        trust.check(with_(good, chain=chain))


def test_a_signature_has_no_bits_that_do_not_count(
    trust: CertificateVerifier, good: SignedMemberRecord
) -> None:
    """Or there would be five certificates that are as good: `cryptography` takes no offence."""
    leaf = good.chain[0]
    at = len(leaf) - len(x509.load_der_x509_certificate(leaf).signature) - 1
    for unused in range(1, 8):
        other = leaf[:at] + bytes((unused,)) + leaf[at + 1 :]
        with pytest.raises(GossipError):
            trust.check(with_(good, chain=(other, good.chain[1])))
