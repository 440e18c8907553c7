"""Makes the 16-byte keys that identify crews, branches, grants and the like everywhere inside.

A key hashes the crew too, so nothing that one crew signs can name another crew's branch. The same
key identifies a branch in the table, the ledger, reservations and gossip. Branch ids are 16 bytes
inside, and lower-case UUID text (RFC 9562) outside.
"""

import enum
from hashlib import blake2b
from uuid import UUID

KEY_BYTES = 16
_CLUSTER = b"crewgate cluster\0"


class EntityKind(enum.IntEnum):
    """The kind of object that a key identifies.

    Its value is the first byte of the hashed data, and is stored: never renumber.
    """

    BRANCH = 1
    GRANT = 2
    PROCESS = 3
    ORCHESTRATOR = 4
    CREW = 5
    KEY = 6
    CERTIFICATE = 7
    SUBJECT = 8

    @property
    def label(self) -> str:
        """The name of the kind in messages, records and the API."""
        return self.name.lower()


def table_key(kind: EntityKind, crew: str, identifier: bytes) -> bytes:
    """Return BLAKE2b-128 of kind, crew and id; `crew` is the one whose key verified the token.

    The length of the crew's name is hashed before it, so no two pairs of crew and id hash the same
    bytes.
    """
    name = crew.encode()
    data = bytes((kind, len(name))) + name + identifier
    return blake2b(data, digest_size=KEY_BYTES).digest()


def branch_key(crew: str, branch: str) -> bytes:
    """Return the key of a branch, from its UUID text."""
    return table_key(EntityKind.BRANCH, crew, uuid_bytes(branch))


def crew_key(crew: str) -> bytes:
    """Return the key of a crew, the topmost ancestor of each of its branches."""
    return table_key(EntityKind.CREW, crew, b"")


def certificate_key(crew: str, serial: int) -> bytes:
    """Return the key of a certificate; `crew` is its holder's, empty if the holder has none."""
    return table_key(EntityKind.CERTIFICATE, crew, serial_bytes(serial))


def orchestrator_key(crew: str, client_id: str) -> bytes:
    """Return the key of an orchestrator; `client_id` is `<crew>/<name>`."""
    return table_key(EntityKind.ORCHESTRATOR, crew, client_id.encode())


def cluster_id(trust_domain: str) -> bytes:
    """Return the 16-byte id of the cluster of a trust domain, whose machines gossip.

    It separates two trust domains on one network, and catches a mistyped address of a peer.
    """
    return blake2b(_CLUSTER + trust_domain.encode(), digest_size=16).digest()


def path_digest(keys: tuple[bytes, ...]) -> bytes:
    """Return the 16-byte digest of the ancestors' keys, root first; all zeros for a root."""
    return blake2b(b"".join(keys), digest_size=16).digest() if keys else bytes(16)


def serial_bytes(serial: int) -> bytes:
    """Return a serial as `certificate_key` hashes it: big-endian, no leading zeros."""
    return serial.to_bytes((serial.bit_length() + 7) // 8)


def uuid_bytes(text: str) -> bytes:
    """Return the 16 bytes of a lower-case hyphenated UUID that is not nil. Raises ValueError."""
    try:
        value = UUID(text)
    except ValueError:
        value = UUID(int=0)
    if str(value) != text or not value.int:
        raise ValueError(
            f"{text[:64]!r}: expected a UUID in lower case with hyphens, and not the nil UUID"
        )
    return value.bytes


def uuid_text(value: bytes) -> str:
    """Return the lower-case hyphenated UUID text of 16 bytes."""
    return str(UUID(bytes=value))
