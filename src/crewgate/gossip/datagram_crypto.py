"""Datagrams that only members can read, that nobody can change, and that count once.

    version 1, key's number 3 | nonce: sender 8, boot 8, counter 8 | message, and a tag of 16

XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03) by libsodium. What is authenticated besides is the
head and the receiver, so that a datagram for one member is none for another. `boot` is random at
every start and the counter goes on under every key, so that no nonce comes twice. A key is the
group's: that a datagram has a sender's name shows that a member wrote it, and no more.
"""

import math
from collections.abc import Mapping
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


class UnknownKeyError(GossipError):
    """Sealed with a key that this member has not got, or by nobody at all."""


class ReplayError(GossipError):
    """It has come before, or is too old to tell."""


class AuthenticationError(GossipError):
    """Its seal is broken, or was made for another member."""


class UnknownSenderError(GossipError):
    """It has the name of nobody who is known."""


class DecryptedDatagram(NamedTuple):
    """Who sent a message, by its own word and with the group's key, and the message."""

    sender: bytes
    message: bytes


class KeySet:
    """The group's keys by their numbers: one to seal with, and those that still open."""

    def __init__(self) -> None:
        self._keys: dict[int, bytes] = {}
        self._number = 0

    def __repr__(self) -> str:
        return f"<KeySet {sorted(self._keys)} sealing with {self._number}>"

    @property
    def number(self) -> int:
        """Of the key to seal with; 0 before there is any."""
        return self._number

    def get(self, number: int) -> bytes | None:
        """The key of that number."""
        return self._keys.get(number)

    def use(self, keys: Mapping[int, bytes], number: int) -> None:
        """These are the keys from now on, and no others; ValueError for what are none."""
        if number not in keys or len(keys) > limits.group_keys_max:
            raise ValueError("no such group key to seal with, or too many of them")
        if any(len(key) != KEY_BYTES or not 0 < name < 2**24 for name, key in keys.items()):
            raise ValueError(f"a group key has {KEY_BYTES} bytes, and a number of 1 to 2**24 - 1")
        self._keys = dict(keys)
        self._number = number


def sealed_by(datagram: bytes) -> bytes:
    """Whose name it has, which nobody has proved yet; empty for what is none."""
    is_one = _LEAST_BYTES <= len(datagram) <= limits.gossip_datagram_bytes_max
    if not is_one or datagram[0] != _VERSION:
        return b""
    return datagram[_HEAD_BYTES : _HEAD_BYTES + MEMBER_BYTES]


class Encryptor:
    """Seals what one member sends in one life: `boot` is 8 random bytes that are its own."""

    def __init__(self, me: bytes, boot: bytes, keys: KeySet) -> None:
        self._from = me + boot
        self._keys = keys
        self._counter = 0

    def __repr__(self) -> str:
        return f"<Encryptor {self._from.hex()} sent={self._counter}>"

    def seal(self, receiver: bytes, message: bytes) -> bytes:
        """A datagram for one member; GossipError while there is no key."""
        number = self._keys.number
        key = self._keys.get(number)
        if key is None:
            raise GossipError("no group key yet")
        self._counter += 1
        head = bytes((_VERSION,)) + number.to_bytes(3)
        nonce = self._from + self._counter.to_bytes(8)
        return (
            head
            + nonce
            + bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(
                message, head + receiver, nonce, key
            )
        )


class _Window:
    """Which counters of one life of a sender have come: the last few, and nothing before them."""

    __slots__ = ("highest", "seen", "used_at")

    def __init__(self) -> None:
        self.highest = 0
        self.seen = 0  # bit n: highest - n has come
        self.used_at = -math.inf

    def takes(self, counter: int) -> bool:
        """Whether it is new, and not too old to tell."""
        behind = self.highest - counter
        if behind < 0:
            return True
        return behind < limits.replay_window and not self.seen >> behind & 1

    def add(self, counter: int) -> None:
        """It has come."""
        behind = self.highest - counter
        if behind < 0:
            self.seen = (self.seen << -behind | 1) if -behind < limits.replay_window else 1
            self.seen &= (1 << limits.replay_window) - 1
            self.highest = counter
        else:
            self.seen |= 1 << behind


class Decryptor:
    """Opens what one member is sent. Times are seconds of a clock that is never set."""

    def __init__(self, me: bytes, keys: KeySet) -> None:
        self._me = me
        self._keys = keys
        self._windows: dict[bytes, dict[bytes, _Window]] = {}

    def __repr__(self) -> str:
        return f"<Decryptor senders={len(self._windows)}>"

    def open(self, datagram: bytes, now: float) -> DecryptedDatagram:
        """Its sender and message; GossipError, whatever is wrong, and then nothing has changed."""
        if not _LEAST_BYTES <= len(datagram) <= limits.gossip_datagram_bytes_max:
            raise GossipError("a datagram of no such length")
        head, rest = datagram[:_HEAD_BYTES], datagram[_HEAD_BYTES:]
        nonce, sealed = rest[:_NONCE_BYTES], rest[_NONCE_BYTES:]
        key = self._keys.get(int.from_bytes(head[1:]))
        if head[0] != _VERSION:
            raise GossipError("a datagram of no such version")
        if key is None:
            raise UnknownKeyError("a datagram of no such key")
        sender, boot = nonce[:MEMBER_BYTES], nonce[MEMBER_BYTES : MEMBER_BYTES + BOOT_BYTES]
        counter = int.from_bytes(nonce[MEMBER_BYTES + BOOT_BYTES :])
        window = self._windows.get(sender, {}).get(boot)
        if sender == self._me or (window is not None and not window.takes(counter)):
            raise ReplayError("a datagram that has come before")
        try:
            message = bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(
                sealed, head + self._me, nonce, key
            )
        except CryptoError as error:
            raise AuthenticationError(
                "a datagram that no member has sealed for this one"
            ) from error
        window = window or self._begin(sender, boot)
        window.add(counter)
        window.used_at = now
        return DecryptedDatagram(sender, message)

    def forget(self, sender: bytes) -> None:
        """One who is no member any more."""
        self._windows.pop(sender, None)

    def _begin(self, sender: bytes, boot: bytes) -> _Window:
        """Another life of a sender; the one that was silent for longest goes, if they are many."""
        if sender not in self._windows and len(self._windows) >= limits.gossip_members_max:
            raise GossipError("a datagram of one sender too many")
        windows = self._windows.setdefault(sender, {})
        if len(windows) >= limits.replay_boots_max:
            del windows[min(windows, key=lambda each: windows[each].used_at)]
        windows[boot] = window = _Window()
        return window
