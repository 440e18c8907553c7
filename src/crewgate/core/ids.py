"""Names become 16-byte keys here, so that nothing one crew signs can name another crew's branch.

The same key names a branch in the table, the ledger, reservations and gossip. Ids are 16-byte
`bytes` inside and lower-case UUID text (RFC 9562) outside.
"""

import enum
from hashlib import blake2b
from uuid import UUID

KEY_BYTES = 16
_CLUSTER = b"crewgate cluster\0"


class KeyKind(enum.IntEnum):
    """What a key names; the first byte that is hashed. The values are stored: never renumber."""

    BRANCH = 1
    GRANT = 2
    PROCESS = 3
    ORCHESTRATOR = 4
    CREW = 5
    KEY = 6
    CERTIFICATE = 7

    @property
    def label(self) -> str:
        """The word for it in messages, records and the API."""
        return self.name.lower()


def table_key(kind: KeyKind, crew: str, identifier: bytes) -> bytes:
    """BLAKE2b-128 of (kind, crew, id); the crew is the one whose key verified the token.

    The crew's length goes first, so that no two (crew, id) pairs hash the same bytes.
    """
    name = crew.encode()
    named = bytes((kind, len(name))) + name + identifier
    return blake2b(named, digest_size=KEY_BYTES).digest()


def branch_key(crew: str, branch: str) -> bytes:
    """The key of a branch, from its UUID text."""
    return table_key(KeyKind.BRANCH, crew, uuid_bytes(branch))


def crew_key(crew: str) -> bytes:
    """The key of a crew, topmost ancestor of each of its branches."""
    return table_key(KeyKind.CREW, crew, b"")


def certificate_key(crew: str, serial: int) -> bytes:
    """The key of a certificate; the crew is the one that it speaks for, empty for the others'."""
    return table_key(KeyKind.CERTIFICATE, crew, serial_bytes(serial))


def orchestrator_key(crew: str, client_id: str) -> bytes:
    """The key of an orchestrator as such, `<crew>/<name>`."""
    return table_key(KeyKind.ORCHESTRATOR, crew, client_id.encode())


def cluster_id(trust_domain: str) -> bytes:
    """16 bytes that stand for the machines of one trust domain, which gossip with one another.

    Two domains on one network, or a peer's address that was mistyped, are told apart by it.
    """
    return blake2b(_CLUSTER + trust_domain.encode(), digest_size=16).digest()


def path_digest(keys: tuple[bytes, ...]) -> bytes:
    """16 bytes that stand for a whole ancestry, root first; all zero for a root."""
    return blake2b(b"".join(keys), digest_size=16).digest() if keys else bytes(16)


def serial_bytes(serial: int) -> bytes:
    """A certificate's serial as its key hashes it: big-endian, no leading zeros."""
    return serial.to_bytes((serial.bit_length() + 7) // 8)


def uuid_bytes(text: str) -> bytes:
    """16 bytes of a lower-case hyphenated UUID that is not nil; ValueError otherwise."""
    try:
        value = UUID(text)
    except ValueError:
        value = UUID(int=0)
    if str(value) != text or not value.int:
        raise ValueError(f"{text[:64]!r} is no lower-case hyphenated UUID other than nil")
    return value.bytes


def uuid_text(value: bytes) -> str:
    """Lower-case hyphenated text of 16 bytes."""
    return str(UUID(bytes=value))
