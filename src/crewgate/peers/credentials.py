"""Who the members are: their certificates, checked against the CA, and kept as long as their words.

A member is a gateway by the name in its certificates. A capsule is judged by the certificate that
its origin had when it signed: the origin's key stays over renewals. What is revoked is for the
caller to say. Times are whole seconds of the wall clock.
"""

from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature

from crewgate import limits
from crewgate._native.signature import verify
from crewgate.core import certificate as certificate_
from crewgate.core.gossip.capsules import Capsule
from crewgate.core.gossip.messages import Address
from crewgate.core.identity import MAY_REVOKE, Identity, Role, member_id
from crewgate.errors import GossipError

FINGERPRINT_BYTES = 8
HOST_BYTES = 16


class Credential(msgspec.Struct, frozen=True, array_like=True):
    """As it is handed on: certificates in DER, the leaf first, and where the member is reached."""

    chain: tuple[bytes, ...]
    host: bytes
    port: int


class Known(msgspec.Struct, frozen=True):
    """A member by one of its certificates, which is good by signature, form and role."""

    credential: Credential
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
    def address(self) -> Address:
        """Where it is reached."""
        return Address(self.credential.host, self.credential.port)

    @property
    def fingerprint(self) -> bytes:
        """8 bytes that no other credential has."""
        return blake2b(
            msgspec.msgpack.encode(self.credential), digest_size=FINGERPRINT_BYTES
        ).digest()

    @property
    def may_revoke(self) -> bool:
        """Whether others obey what it signs."""
        return MAY_REVOKE in self.identity.rights

    def revocable_by(self) -> tuple[tuple[bytes, int], ...]:
        """See `core.certificate.revocable_by`."""
        return certificate_.revocable_by(self.identity, self.serial, self.issued)

    def has_signed(self, capsule: Capsule, cluster: bytes) -> bool:
        """Whether it could, and did."""
        skew = limits.skew_max
        return (
            self.not_before - skew <= capsule.created <= self.not_after + skew
            and self.may_revoke
            and verify(self.identity.key, capsule.signed(cluster), capsule.signature)
        )


class Trust:
    """The CA whose gateways are members."""

    def __init__(self, root: Path) -> None:
        """GossipError if `root` (PEM) cannot be read."""
        try:
            self._roots = x509.load_pem_x509_certificates(root.read_bytes())
        except (OSError, ValueError) as error:
            raise GossipError(f"{root}: no root certificates: {error}") from error

    def __repr__(self) -> str:
        return f"<Trust in {len(self._roots)} roots>"

    def check(self, credential: Credential) -> Known:
        """Who that is; GossipError. Whether it is valid now is asked where that counts."""
        chain = credential.chain
        if not 0 < len(chain) <= limits.chain_certificates_max:
            raise GossipError("a chain of no such length")
        if len(credential.host) != HOST_BYTES or not 0 < credential.port < 2**16:
            raise GossipError("an address that is none")
        try:
            leaf = certificate_.read(chain[0])
            identity = leaf.speaks_for()
            parsed = [x509.load_der_x509_certificate(each) for each in chain]
            self._check_chain(parsed)
        except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound) as error:
            raise GossipError(f"a certificate that is not of this CA: {error}") from error
        if identity.role is not Role.GATEWAY or not identity.key or leaf.is_authority:
            raise GossipError(f"{identity.label}: not the certificate of a gateway that gossips")
        return Known(
            credential, identity, leaf.serial, leaf.issued, leaf.not_before, leaf.not_after
        )

    def _check_chain(self, chain: Sequence[x509.Certificate]) -> None:
        """Each is signed by the next, which may sign, and the last by a root."""
        for lower, upper in pairwise(chain):
            constraints = upper.extensions.get_extension_for_class(x509.BasicConstraints).value
            if not constraints.ca:
                raise ValueError("signed by a certificate that may not sign")
            lower.verify_directly_issued_by(upper)
        for root in self._roots:
            if chain[-1] == root or self._is_issued(chain[-1], root):
                return
        raise ValueError("no root has signed it")

    def _is_issued(self, lower: x509.Certificate, root: x509.Certificate) -> bool:
        try:
            lower.verify_directly_issued_by(root)
        except (ValueError, TypeError, InvalidSignature):
            return False
        return True


class Directory:
    """All gateways that were ever seen here, by their certificates; each also a file of `folder`.

    Members are those that nobody has sent away since their newest certificate was issued; the
    certificates of the others are kept for what they have signed.
    """

    def __init__(self, folder: Path, trust: Trust, cluster: bytes) -> None:
        """Make the folder, if it is not there; OSError."""
        folder.mkdir(mode=0o700, exist_ok=True)
        self.gone: dict[bytes, int] = {}  # members, and until when issued certificates are none's
        self._folder = folder
        self._trust = trust
        self._cluster = cluster
        self._known: dict[bytes, list[Known]] = {}  # the newest last

    def __repr__(self) -> str:
        return f"<Directory gateways={len(self._known)} gone={len(self.gone)}>"

    def __iter__(self) -> Iterator[Known]:
        """Each member by its newest certificate."""
        return (known[-1] for member, known in self._known.items() if member in self)

    def __contains__(self, member: object) -> bool:
        known = self._known.get(member) if isinstance(member, bytes) else None
        return known is not None and known[-1].issued > self.gone.get(known[-1].id, -1)

    def get(self, member: bytes) -> Known | None:
        """A gateway by its newest certificate, member or not."""
        known = self._known.get(member)
        return known[-1] if known else None

    def name(self, member: bytes) -> str:
        """For people; its id where that is all that is known."""
        known = self.get(member)
        return known.name if known else member.hex()

    def restore(self, now: int) -> None:
        """Read what the folder has; what has long expired goes."""
        for path in sorted(self._folder.glob("*.gone")):
            try:
                self.gone[bytes.fromhex(path.stem)] = int(path.read_text())
            except (OSError, ValueError):
                continue
        for path in sorted(self._folder.glob("*.member")):
            try:
                credential = msgspec.msgpack.decode(path.read_bytes(), type=Credential)
                known = self._trust.check(credential)
            except (OSError, msgspec.DecodeError, GossipError):
                continue  # another CA's, or torn: whoever it is shows it again
            is_old = known.not_after + limits.clock_distrust_seconds < now
            if is_old and known.id in self.gone:
                path.unlink(missing_ok=True)
            else:
                self._add(known)
        for member in self.gone.keys() - self._known.keys():
            del self.gone[member]
            self._gone_path(member).unlink(missing_ok=True)

    def check(self, credential: Credential) -> Known:
        """Who that is; GossipError."""
        return self._trust.check(credential)

    def admit(self, credential: Credential) -> Known:
        """One that is shown, or handed on; GossipError. OSError if it cannot be kept."""
        known = self._trust.check(credential)
        if known.id not in self._known and len(self._known) >= limits.gossip_members_max:
            raise GossipError(f"{known.name} is one gateway too many")
        if self._add(known):
            _write(self._path(known), msgspec.msgpack.encode(credential))
        return known

    def send_away(self, member: bytes, before: int) -> bool:
        """No certificate issued until then is a member's; whether that was news. OSError."""
        if before <= self.gone.get(member, -1) or len(self.gone) >= limits.gossip_members_max:
            return False
        self.gone[member] = before
        _write(self._gone_path(member), str(before).encode())
        return True

    def roll(self) -> list[bytes]:
        """Fingerprints of what is here, to be compared."""
        return [known.fingerprint for known in self._all()]

    def beyond(self, roll: Iterable[bytes]) -> list[Credential]:
        """What somebody has not got who has these."""
        theirs = set(roll)
        return [known.credential for known in self._all() if known.fingerprint not in theirs]

    def signer(self, capsule: Capsule) -> Known | None:
        """Who has signed a capsule, by a certificate of its time."""
        for known in reversed(self._known.get(capsule.origin, ())):
            if known.has_signed(capsule, self._cluster):
                return known
        return None

    def _all(self) -> Iterator[Known]:
        """Each gateway by all its certificates: what it signed under an older one is good."""
        for known in self._known.values():
            yield from known

    def _add(self, known: Known) -> bool:
        """False if it was there."""
        gateway = self._known.setdefault(known.id, [])
        if any(each.credential == known.credential for each in gateway):
            return False
        gateway.append(known)
        gateway.sort(key=lambda each: (each.not_before, each.fingerprint))
        for old in gateway[: -limits.member_certificates_max]:
            self._path(old).unlink(missing_ok=True)
        del gateway[: -limits.member_certificates_max]
        return True

    def _path(self, known: Known) -> Path:
        return self._folder / f"{known.id.hex()}-{known.fingerprint.hex()}.member"

    def _gone_path(self, member: bytes) -> Path:
        return self._folder / f"{member.hex()}.gone"


def _write(path: Path, data: bytes) -> None:
    """Whole, or as it was before."""
    beside = path.with_name(path.name + ".new")
    beside.write_bytes(data)
    beside.replace(path)
