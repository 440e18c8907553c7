"""What a member shows: certificates, checked against the CA, and where it says that it is reached.

Whether a certificate is valid now, and what is revoked, is for the caller to say. Times are whole
seconds of the wall clock.
"""

from collections.abc import Callable, Sequence
from hashlib import blake2b
from ipaddress import IPv6Address
from itertools import pairwise
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding

from crewgate import limits
from crewgate._native.signature import verify
from crewgate.core.gossip.capsules import SIGNATURE_BYTES, Capsule
from crewgate.core.gossip.messages import MemberAddress
from crewgate.core.x509 import certificate as certificate_
from crewgate.core.x509.identity import MAY_REVOKE, Identity, Role, member_id
from crewgate.errors import GossipError

FINGERPRINT_BYTES = 8
HOST_BYTES = 16
_ADDRESS = b"crewgate address 1\0"
# What `cryptography` raises for certificates that somebody has made up; four are no ValueError.
_NO_CERTIFICATE = (
    ValueError,
    TypeError,
    InvalidSignature,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
    x509.UnsupportedGeneralNameType,
)


class MemberCredential(msgspec.Struct, frozen=True, array_like=True):
    """As it is handed on: certificates in DER, the leaf first, and where the member is reached.

    Where that is, and when it said so (whole seconds), the gateway has signed: `signed_by`.
    """

    chain: tuple[bytes, ...]
    host: bytes
    port: int
    told: int = 0
    signature: bytes = b""

    def signed_by(self, sign: Callable[[bytes], bytes], now: int) -> "MemberCredential":
        """The same by the word of its gateway; else whoever hands it on could move it."""
        told = msgspec.structs.replace(self, told=now, signature=b"")
        return msgspec.structs.replace(told, signature=sign(told.signed_bytes()))

    def signed_bytes(self) -> bytes:
        """What its gateway signs; OverflowError for what it cannot have."""
        leaf = blake2b(self.chain[0], digest_size=32).digest()
        return _ADDRESS + leaf + self.host + self.port.to_bytes(2) + self.told.to_bytes(5)


class KnownMember(msgspec.Struct, frozen=True):
    """A member by one of its certificates, which is good by signature, form and role."""

    credential: MemberCredential
    identity: Identity
    serial: int
    issued: int
    not_before: int
    not_after: int

    @property
    def id(self) -> bytes:
        """8 bytes, through all its certificates."""
        return member_id(self.identity.name)

    @property
    def name(self) -> str:
        """For people."""
        return self.identity.name

    @property
    def address(self) -> MemberAddress:
        """Where it is reached."""
        return MemberAddress(self.credential.host, self.credential.port)

    @property
    def fingerprint(self) -> bytes:
        """8 bytes that no other certificate or address has."""
        shown = self.credential
        data = msgspec.msgpack.encode((shown.chain, shown.host, shown.port))
        return blake2b(data, digest_size=FINGERPRINT_BYTES).digest()

    @property
    def may_revoke(self) -> bool:
        """Whether others obey what it signs."""
        return MAY_REVOKE in self.identity.rights

    def revocable_by(self) -> tuple[tuple[bytes, int], ...]:
        """See `core.certificate.revocable_by`."""
        return certificate_.revocable_by(self.identity, self.serial, self.issued)

    def may_sign(self, created: int) -> bool:
        """Whether a capsule of that time is good if it has signed it.

        Also one from before it was issued: whoever has the key can write any time into it, and the
        certificate of that time may be forgotten by now, as one of too many.
        """
        return created <= self.not_after + limits.skew_max and self.may_revoke

    def has_signed(self, capsule: Capsule, cluster: bytes) -> bool:
        """Whether it has, whether or not it may."""
        return verify(self.identity.key, capsule.signed(cluster), capsule.signature)


class CertificateVerifier:
    """The CA whose gateways are members."""

    def __init__(self, root: Path) -> None:
        """GossipError if `root` (PEM) cannot be read."""
        try:
            self._roots = x509.load_pem_x509_certificates(root.read_bytes())
        except (OSError, ValueError) as error:
            raise GossipError(f"{root}: no root certificates: {error}") from error

    def __repr__(self) -> str:
        return f"<CertificateVerifier in {len(self._roots)} roots>"

    def check(self, credential: MemberCredential) -> KnownMember:
        """Who that is; GossipError. Whether it is valid now is asked where that counts."""
        known = self.read(credential)
        signature, key = credential.signature, known.identity.key
        if len(signature) != SIGNATURE_BYTES or not verify(
            key, credential.signed_bytes(), signature
        ):
            raise GossipError(f"{known.identity.label}: an address that it has not signed")
        return known

    def read(self, credential: MemberCredential) -> KnownMember:
        """The same, whoever says where it is reached: for what is not yet signed."""
        chain = credential.chain
        if not 0 < len(chain) <= limits.chain_certificates_max:
            raise GossipError("a chain of no such length")
        if max(map(len, chain)) > limits.certificate_bytes_max:
            raise GossipError("a certificate over its bound")
        _check_address(credential)
        try:
            leaf = certificate_.read(chain[0])
            identity = leaf.speaks_for()
            parsed = [x509.load_der_x509_certificate(each) for each in chain]
            self._check_chain(parsed)
        except _NO_CERTIFICATE as error:
            raise GossipError(f"a certificate that is not of this CA: {error}") from error
        if identity.role is not Role.GATEWAY or not identity.key or leaf.is_authority:
            raise GossipError(f"{identity.label}: not the certificate of a gateway that gossips")
        return KnownMember(
            credential, identity, leaf.serial, leaf.issued, leaf.not_before, leaf.not_after
        )

    def _check_chain(self, chain: Sequence[x509.Certificate]) -> None:
        """The last is signed by a root, and each by the next, which may sign.

        From the top: only what the CA has made is worth the work that its keys may be.
        """
        if not all(map(_is_whole, chain)):
            raise ValueError("a signature that is not whole bytes")
        last = chain[-1]
        if not any(last == root or self._is_issued(last, root) for root in self._roots):
            raise ValueError("no root has signed it")
        for lower, upper in reversed([*pairwise(chain)]):
            constraints = upper.extensions.get_extension_for_class(x509.BasicConstraints).value
            if not constraints.ca:
                raise ValueError("signed by a certificate that may not sign")
            lower.verify_directly_issued_by(upper)

    def _is_issued(self, lower: x509.Certificate, root: x509.Certificate) -> bool:
        try:
            lower.verify_directly_issued_by(root)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
            return False
        return True


def _is_whole(certificate: x509.Certificate) -> bool:
    """Whether its signature has no unused bits, which X.690 allows and nobody signs.

    Of one certificate there would be others that are as good, each with a fingerprint of its own.
    """
    return certificate.public_bytes(Encoding.DER).endswith(b"\0" + certificate.signature)


def _check_address(credential: MemberCredential) -> None:
    """That of one machine, told at a time that there is."""
    host, is_time = credential.host, 0 <= credential.told <= limits.time_seconds_max
    if len(host) != HOST_BYTES or not 0 < credential.port < 2**16 or not is_time:
        raise GossipError("an address that is none")
    address = IPv6Address(host)
    where = address.ipv4_mapped or address
    if where.is_multicast or where.is_unspecified:
        raise GossipError("an address of nobody, or of many")
