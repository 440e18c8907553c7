"""Checks what a member shows: certificates of the CA, and its address, which it has signed.

The caller decides whether a certificate is valid now, and whether it is revoked. Times are whole
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
from crewgate.core.x509.identity_extension import MAY_REVOKE, Identity, Role, member_id
from crewgate.core.x509.identity_oids import STANDARD, IdentityOIDs
from crewgate.errors import GossipError

FINGERPRINT_BYTES = 8
HOST_BYTES = 16
_ADDRESS = b"crewgate address 1\0"
# What `cryptography` raises for made-up certificates; not all of these are a ValueError.
_CERTIFICATE_ERRORS = (
    ValueError,
    TypeError,
    InvalidSignature,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
    x509.UnsupportedGeneralNameType,
)


class SignedMemberRecord(msgspec.Struct, frozen=True, array_like=True):
    """What members pass on about a member: certificates in DER, the leaf first, and its address.

    The gateway signs its address, and the time when it stated the address (`told`).
    """

    chain: tuple[bytes, ...]
    host: bytes
    port: int
    told: int = 0
    signature: bytes = b""

    def signed_by(self, sign: Callable[[bytes], bytes], now: int) -> "SignedMemberRecord":
        """Return it with the gateway's signature, so that others cannot change the address."""
        unsigned = msgspec.structs.replace(self, told=now, signature=b"")
        return msgspec.structs.replace(unsigned, signature=sign(unsigned.signed_bytes()))

    def signed_bytes(self) -> bytes:
        """Return the bytes that the gateway signs; OverflowError if port or time is too large."""
        leaf = blake2b(self.chain[0], digest_size=32).digest()
        return _ADDRESS + leaf + self.host + self.port.to_bytes(2) + self.told.to_bytes(5)


class KnownMember(msgspec.Struct, frozen=True):
    """A member by one of its certificates, whose signatures, form and role are checked."""

    credential: SignedMemberRecord
    identity: Identity
    serial: int
    issued: int
    not_before: int
    not_after: int

    @property
    def id(self) -> bytes:
        """8 bytes that are the same for all certificates of the member."""
        return member_id(self.identity.name)

    @property
    def name(self) -> str:
        """The name of the gateway."""
        return self.identity.name

    @property
    def address(self) -> MemberAddress:
        """The address of the member."""
        return MemberAddress(self.credential.host, self.credential.port)

    @property
    def fingerprint(self) -> bytes:
        """8 bytes that differ for other certificates or another address."""
        credential = self.credential
        data = msgspec.msgpack.encode((credential.chain, credential.host, credential.port))
        return blake2b(data, digest_size=FINGERPRINT_BYTES).digest()

    @property
    def may_revoke(self) -> bool:
        """Whether the certificate has the right to revoke, so that others apply its revocations."""
        return MAY_REVOKE in self.identity.rights

    def revocable_by(self) -> tuple[tuple[bytes, int], ...]:
        """Return the keys that revoke the certificate (`core.x509.certificate.revocable_by`)."""
        return certificate_.revocable_by(self.identity, self.serial, self.issued)

    def may_sign(self, created: int) -> bool:
        """Return whether the certificate is good for a capsule with this time of creation.

        The time may be before the certificate was issued: anybody who has the key can write any
        time, and the older certificate may be forgotten, as one of too many.
        """
        return created <= self.not_after + limits.skew_max and self.may_revoke

    def has_signed(self, capsule: Capsule, cluster: bytes) -> bool:
        """Return whether the member's key has signed a capsule, with or without the right to."""
        return verify(self.identity.key, capsule.signed(cluster), capsule.signature)


class CertificateVerifier:
    """Verifies certificates against the roots of the CA whose gateways are members."""

    def __init__(self, root: Path, oids: IdentityOIDs = STANDARD) -> None:
        """Read the roots (PEM). GossipError if they cannot be read.

        `oids` are those of the configuration, under which identities are read.
        """
        self.oids = oids
        try:
            self._roots = x509.load_pem_x509_certificates(root.read_bytes())
        except (OSError, ValueError) as error:
            raise GossipError(f"{root}: cannot read root certificates: {error}") from error

    def check(self, credential: SignedMemberRecord) -> KnownMember:
        """Return the member of a credential; GossipError if it is not valid.

        The certificate may have expired, or begin later: the caller checks this.
        """
        known = self.read(credential)
        signature, key = credential.signature, known.identity.key
        if len(signature) != SIGNATURE_BYTES or not verify(
            key, credential.signed_bytes(), signature
        ):
            raise GossipError(f"{known.identity.label} has not signed its address")
        return known

    def read(self, credential: SignedMemberRecord) -> KnownMember:
        """Do the same as `check`, for a credential whose address is not signed yet."""
        chain = credential.chain
        if not 0 < len(chain) <= limits.chain_certificates_max:
            raise GossipError(
                f"a chain has {len(chain)} certificates; 1 to {limits.chain_certificates_max} "
                "are allowed"
            )
        if (longest := max(map(len, chain))) > limits.certificate_bytes_max:
            raise GossipError(
                f"a certificate has {longest} bytes; {limits.certificate_bytes_max} are allowed"
            )
        _check_address(credential)
        try:
            leaf = certificate_.read(chain[0], self.oids)
            identity = leaf.speaks_for()
            parsed = [x509.load_der_x509_certificate(each) for each in chain]
            self._check_chain(parsed)
        except _CERTIFICATE_ERRORS as error:
            raise GossipError(f"a certificate is not from this CA: {error}") from error
        if identity.role is not Role.GATEWAY or not identity.key or leaf.is_authority:
            raise GossipError(
                f"{identity.label}: not the certificate of a gateway with a signing key"
            )
        return KnownMember(
            credential, identity, leaf.serial, leaf.issued, leaf.not_before, leaf.not_after
        )

    def _check_chain(self, chain: Sequence[x509.Certificate]) -> None:
        """Check that a root has signed the last certificate, and each one the one before it.

        It begins at the root: verifying with a key can be much work, and only a key from the CA is
        worth it.
        """
        if not all(map(_has_whole_signature, chain)):
            raise ValueError("the signature has unused bits")
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


def _has_whole_signature(certificate: x509.Certificate) -> bool:
    """Return whether the signature has no unused bits. X.690 allows them, and no CA writes them.

    With them, anybody could make more valid certificates from one, each with another fingerprint.
    """
    return certificate.public_bytes(Encoding.DER).endswith(b"\0" + certificate.signature)


def _check_address(credential: SignedMemberRecord) -> None:
    """GossipError if the address is not one of a single machine, or its time is not valid."""
    host, is_time = credential.host, 0 <= credential.told <= limits.time_seconds_max
    if len(host) != HOST_BYTES or not 0 < credential.port < 2**16 or not is_time:
        raise GossipError("an address, a port or a time is not valid")
    address = IPv6Address(host)
    plain = address.ipv4_mapped or address
    if plain.is_multicast or plain.is_unspecified:
        raise GossipError(f"{plain} is not the address of one machine")
