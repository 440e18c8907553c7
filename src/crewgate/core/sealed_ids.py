"""Seals the ids that tools give to work, so that only the branch that got an id can use it.

An MCP server or an A2A agent gives ids to tasks, sessions and contexts, and every client that knows
such an id may use it. So a caller gets a *sealed id* instead: the id, encrypted and bound to crew,
branch, endpoint and kind. All machines with the same keys can open it, and no machine has to store
it.

    version 1, number of the key 4 | nonce 24 | ciphertext, and a tag of 16

Lengths are in bytes, before base64url without padding (RFC 4648, section 5). The cipher is
XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03) of libsodium. The nonce is a keyed BLAKE2b (RFC
7693) of all that the cipher protects, as in SIV (RFC 5297): two equal nonces need two equal inputs.
So the same id of the same branch always has the same sealed id, because clients compare ids.

The caller learns nothing from a text that does not open. There is one error for all such texts, and
each text that has the form of a sealed id takes one decryption, also if its key is unknown.
"""

import enum
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from hashlib import blake2b

import msgspec
from nacl import bindings
from nacl.exceptions import CryptoError

from crewgate import limits
from crewgate.core.ids import KEY_BYTES as BRANCH_KEY_BYTES
from crewgate.errors import UnknownIdError

SEALING_KEY_BYTES = 32
_VERSION = 1
_KEY_NUMBER_BYTES = 4
_HEAD_BYTES = 1 + _KEY_NUMBER_BYTES
_NONCE_BYTES = bindings.crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
_TAG_BYTES = bindings.crypto_aead_xchacha20poly1305_ietf_ABYTES
_OVERHEAD_BYTES = _HEAD_BYTES + _NONCE_BYTES + _TAG_BYTES


class IdKind(enum.IntEnum):
    """The kind of work that an id names. Each sealed id authenticates the value: never renumber."""

    MCP_TASK = 1
    MCP_SESSION = 2
    A2A_TASK = 4
    A2A_CONTEXT = 5
    A2A_PAGE = 6  # where a list of tasks goes on
    # Of contexts that the gateway or a client names, and no agent. The agent gets them sealed.
    A2A_CONTEXT_OF_GATEWAY = 7
    A2A_CONTEXT_OF_CLIENT = 8
    MCP_CURSOR = 9  # where a list goes on
    MCP_EVENT = 10  # where a stream goes on
    MCP_GROUP_SESSION = 11  # the sessions of a client at all servers of a group

    @property
    def bytes_max(self) -> int:
        """How many bytes of UTF-8 an id of this kind may have."""
        if self is IdKind.MCP_CURSOR:
            return limits.sealed_cursor_bytes_max
        if self is IdKind.MCP_GROUP_SESSION:
            return limits.mcp_group_session_bytes_max
        return limits.sealed_id_bytes_max


class IdOwner(msgspec.Struct, frozen=True, gc=False):
    """The branch that may use an id, by its table key `branch_key` (16 bytes), at one endpoint.

    `crew` is the account that pays (`Grant.crew`). `endpoint` is the name in the configuration.
    """

    crew: str
    branch_key: bytes
    endpoint: str


class _SealingKey:
    """A key of the file, as a key for nonces, a key for the cipher, and a number that names it."""

    __slots__ = ("_cipher_key", "_nonce_key", "number")

    def __init__(self, key: bytes) -> None:
        if len(key) != SEALING_KEY_BYTES:
            raise ValueError(f"a sealing key has {SEALING_KEY_BYTES} bytes, not {len(key)}")
        self.number = _derived(key, b"crewgate number")[:_KEY_NUMBER_BYTES]
        self._nonce_key = _derived(key, b"crewgate nonce")
        self._cipher_key = _derived(key, b"crewgate cipher")

    def seal(self, plain: bytes, context: bytes) -> bytes:
        head = bytes((_VERSION,)) + self.number
        bound = head + context
        # `bound` says its own length, so no other context and id hash the same bytes.
        nonce = blake2b(bound + plain, digest_size=_NONCE_BYTES, key=self._nonce_key).digest()
        encrypt = bindings.crypto_aead_xchacha20poly1305_ietf_encrypt
        return head + nonce + encrypt(plain, bound, nonce, self._cipher_key)

    def open(self, sealed: bytes, context: bytes) -> bytes:
        head, rest = sealed[:_HEAD_BYTES], sealed[_HEAD_BYTES:]
        nonce, ciphertext = rest[:_NONCE_BYTES], rest[_NONCE_BYTES:]
        decrypt = bindings.crypto_aead_xchacha20poly1305_ietf_decrypt
        return decrypt(ciphertext, head + context, nonce, self._cipher_key)


class IdSealer:
    """Seals ids with the first of its keys, and opens those that any of its keys has sealed."""

    def __init__(self, keys: Iterable[bytes]) -> None:
        """Take 1 to `limits.sealing_keys_max` keys of 32 bytes, each once; else ValueError."""
        found = [_SealingKey(key) for key in keys]
        self._keys = {key.number: key for key in found}
        if not 0 < len(found) <= limits.sealing_keys_max or len(self._keys) != len(found):
            raise ValueError(f"expected 1 to {limits.sealing_keys_max} sealing keys, each once")
        self._first = found[0]

    def seal(self, plain: str, kind: IdKind, owner: IdOwner) -> str:
        """Return the sealed id: visible ASCII, which a header field can carry.

        Raises:
            ValueError: The id is empty, too long for its kind, or not text that UTF-8 can encode.
        """
        encoded = plain.encode()
        if not 0 < len(encoded) <= kind.bytes_max:
            raise ValueError(
                f"{kind.name} has an id of {len(encoded)} bytes; expected 1 to {kind.bytes_max}"
            )
        return _text(self._first.seal(encoded, _context(kind, owner)))

    def open(self, sealed: str, kind: IdKind, owner: IdOwner) -> str:
        """Return the id that `seal` got for the same kind and owner.

        Raises:
            UnknownIdError: It was sealed for another kind, branch, crew or endpoint, with a key
                that is no longer here, or not at all. The error does not show which.
        """
        raw = _raw(sealed, kind.bytes_max + _OVERHEAD_BYTES)
        key = self._keys.get(raw[1:_HEAD_BYTES])
        try:
            # An unknown key takes as long as a known one: its text does not open either.
            plain = (key or self._first).open(raw, _context(kind, owner))
        except CryptoError as error:
            raise UnknownIdError("no tool gave this id to this branch") from error
        return plain.decode()


class CallIds(msgspec.Struct):
    """The ids of one call: it opens those of the request, and seals those of the response.

    If the response has an id of the request, the caller gets the text that it sent. So an id stays
    the same while another key begins to seal, for as long as the client uses that id.
    """

    _sealer: IdSealer
    _owner: IdOwner
    _sent: dict[tuple[IdKind, str], str] = {}

    def open(self, sealed: str, kind: IdKind) -> str:
        """Return the tool's id; raise UnknownIdError as `IdSealer.open` does."""
        plain = self._sealer.open(sealed, kind, self._owner)
        self._sent[kind, plain] = sealed
        return plain

    def seal(self, plain: str, kind: IdKind) -> str:
        """Return the id for the caller; raise ValueError as `IdSealer.seal` does."""
        return self._sent.get((kind, plain)) or self._sealer.seal(plain, kind, self._owner)


def _derived(key: bytes, purpose: bytes) -> bytes:
    return blake2b(key=key, person=purpose, digest_size=SEALING_KEY_BYTES).digest()


def _context(kind: IdKind, owner: IdOwner) -> bytes:
    """Return what an id is bound to; no two contexts are equal, or begin with one another."""
    crew, endpoint = owner.crew.encode(), owner.endpoint.encode()
    if len(owner.branch_key) != BRANCH_KEY_BYTES:
        raise ValueError(f"a branch key has {BRANCH_KEY_BYTES} bytes")
    return bytes((kind, len(crew), len(endpoint))) + crew + endpoint + owner.branch_key


def _text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def _raw(sealed: str, bytes_max: int) -> bytes:
    """Return the bytes of a text in the form of a sealed id; UnknownIdError if it has another."""
    # Four characters stand for three bytes; a text without end must not be decoded.
    if len(sealed) <= bytes_max * 4 // 3 + 1 and sealed.isascii():
        try:
            raw = urlsafe_b64decode(sealed + "=" * (-len(sealed) % 4))
        except ValueError:
            raw = b""
        # The decoder skips some characters and bits, so only `_text` says how the id is spelled.
        if len(raw) > _OVERHEAD_BYTES and raw[0] == _VERSION and _text(raw) == sealed:
            return raw
    raise UnknownIdError("no tool gave this id to this branch")
