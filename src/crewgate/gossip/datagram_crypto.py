"""Encrypts and decrypts datagrams, and refuses one that arrives a second time.

    version 1, number of the key 3 | nonce: sender 8, boot 8, counter 8 | message, and a tag of 16

The cipher is XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03) of libsodium; lengths are in bytes.
The tag also covers the head and the receiver, so a datagram for one member is not valid for another
one. `boot` is random at each start, and the counter goes on when the key changes, so no nonce is
used twice. All members share the group keys. So a datagram proves that some member wrote it, and
not that its `sender` did.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from nacl import bindings
from nacl.exceptions import CryptoError

from crewgate import limits
from crewgate.core.gossip.capsules import MEMBER_BYTES
from crewgate.errors import GossipError

KEY_BYTES = bindings.crypto_aead_xchacha20poly1305_ietf_KEYBYTES
BOOT_BYTES = 8
_VERSION = 1
_HEAD_BYTES = 4
_NONCE_BYTES = bindings.crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
_TAG_BYTES = bindings.crypto_aead_xchacha20poly1305_ietf_ABYTES
_LEAST_BYTES = _HEAD_BYTES + _NONCE_BYTES + _TAG_BYTES


class DatagramError(GossipError):
    """The datagram is invalid; `reason` is the name under which such datagrams are counted."""

    reason = "malformed"


class UnknownKeyError(DatagramError):
    """The datagram names a key that this member does not have, or is made up."""

    reason = "unknown key"


class ReplayError(DatagramError):
    """The datagram has arrived before, or is too old to know."""

    reason = "replayed"


class AuthenticationError(DatagramError):
    """The tag is wrong: the datagram was changed, or is for another member."""

    reason = "not authentic"


class UnknownSenderError(DatagramError):
    """The sender is not a known member."""

    reason = "unknown sender"


class DecryptedDatagram(NamedTuple):
    """A message, and the member that its datagram names as the sender."""

    sender: bytes
    message: bytes


class KeySet:
    """The group keys by their numbers: one to encrypt with, and all that still decrypt."""

    def __init__(self) -> None:
        self._keys: dict[int, bytes] = {}
        self.number = 0  # of the key to encrypt with; 0 if there is none yet

    def get(self, number: int) -> bytes | None:
        """Return the key with this number, or None."""
        return self._keys.get(number)

    def use(self, keys: Mapping[int, bytes], number: int) -> None:
        """Replace all keys by `keys`, and encrypt with the key `number`.

        ValueError if `number` is not among them, if there are too many, or if one is not valid.
        """
        if number not in keys or len(keys) > limits.group_keys_max:
            raise ValueError(
                f"group key {number} is not among the keys, or these are more than "
                f"{limits.group_keys_max}"
            )
        if any(len(key) != KEY_BYTES or not 0 < name < 2**24 for name, key in keys.items()):
            raise ValueError(f"a group key has {KEY_BYTES} bytes, and a number of 1 to 2**24 - 1")
        self._keys = dict(keys)
        self.number = number


def sealed_by(datagram: bytes) -> bytes:
    """Return the sender that a datagram names, without proof; empty if it is not a datagram."""
    has_size = _LEAST_BYTES <= len(datagram) <= limits.gossip_datagram_bytes_max
    if not has_size or datagram[0] != _VERSION:
        return b""
    return datagram[_HEAD_BYTES : _HEAD_BYTES + MEMBER_BYTES]


class Encryptor:
    """Encrypts what the member `me` sends in one run, for which `boot` is 8 random bytes."""

    def __init__(self, me: bytes, boot: bytes, keys: KeySet) -> None:
        self._nonce_prefix = me + boot
        self._keys = keys
        self._counter = 0

    def seal(self, receiver: bytes, message: bytes) -> bytes:
        """Return a datagram for one member; GossipError if there is no key yet."""
        number = self._keys.number
        key = self._keys.get(number)
        if key is None:
            raise GossipError("there is no group key yet")
        self._counter += 1
        head = bytes((_VERSION,)) + number.to_bytes(3)
        nonce = self._nonce_prefix + self._counter.to_bytes(8)
        encrypt = bindings.crypto_aead_xchacha20poly1305_ietf_encrypt
        return head + nonce + encrypt(message, head + receiver, nonce, key)


@dataclass(slots=True, eq=False)
class _Window:
    """The counters that have arrived in one run of a sender, as far back as `replay_window`."""

    highest: int = 0
    seen: int = 0  # bit n says that the counter `highest - n` has arrived
    used_at: float = -math.inf

    def takes(self, counter: int) -> bool:
        """Return whether a counter is certainly new."""
        behind = self.highest - counter
        if behind < 0:
            return True
        return behind < limits.replay_window and not self.seen >> behind & 1

    def add(self, counter: int) -> None:
        """Enter a counter that has arrived."""
        behind = self.highest - counter
        if behind < 0:
            self.seen = (self.seen << -behind | 1) if -behind < limits.replay_window else 1
            self.seen &= (1 << limits.replay_window) - 1
            self.highest = counter
        else:
            self.seen |= 1 << behind


class Decryptor:
    """Decrypts what the member `me` receives. Times are seconds of a monotonic clock."""

    def __init__(self, me: bytes, keys: KeySet) -> None:
        self._me = me
        self._keys = keys
        self._windows: dict[bytes, dict[bytes, _Window]] = {}

    def open(self, datagram: bytes, now: float) -> DecryptedDatagram:
        """Return the sender and the message.

        An invalid datagram raises a DatagramError, and changes nothing.
        """
        if not _LEAST_BYTES <= len(datagram) <= limits.gossip_datagram_bytes_max:
            raise DatagramError(f"no datagram has a length of {len(datagram)} bytes")
        head, rest = datagram[:_HEAD_BYTES], datagram[_HEAD_BYTES:]
        nonce, sealed = rest[:_NONCE_BYTES], rest[_NONCE_BYTES:]
        key = self._keys.get(int.from_bytes(head[1:]))
        if head[0] != _VERSION:
            raise DatagramError(f"a datagram has version {head[0]} instead of {_VERSION}")
        if key is None:
            raise UnknownKeyError("a datagram names an unknown group key")
        sender, boot = nonce[:MEMBER_BYTES], nonce[MEMBER_BYTES : MEMBER_BYTES + BOOT_BYTES]
        counter = int.from_bytes(nonce[MEMBER_BYTES + BOOT_BYTES :])
        window = self._windows.get(sender, {}).get(boot)
        if sender == self._me or (window is not None and not window.takes(counter)):
            raise ReplayError("a datagram has arrived before, or is too old to know")
        try:
            decrypt = bindings.crypto_aead_xchacha20poly1305_ietf_decrypt
            message = decrypt(sealed, head + self._me, nonce, key)
        except CryptoError as error:
            raise AuthenticationError("no member has encrypted a datagram for this one") from error
        window = window or self._add_window(sender, boot)
        window.add(counter)
        window.used_at = now
        return DecryptedDatagram(sender, message)

    def forget(self, sender: bytes) -> None:
        """Forget a sender that is no longer a member."""
        self._windows.pop(sender, None)

    def _add_window(self, sender: bytes, boot: bytes) -> _Window:
        """Return a window for a new run of a sender, instead of the least recent of too many."""
        if sender not in self._windows and len(self._windows) >= limits.gossip_members_max:
            raise DatagramError(f"datagrams come from over {limits.gossip_members_max} senders")
        windows = self._windows.setdefault(sender, {})
        if len(windows) >= limits.replay_boots_max:
            del windows[min(windows, key=lambda each: windows[each].used_at)]
        windows[boot] = window = _Window()
        return window
