"""The logins under way: what each browser must bring back from the provider."""

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from typing import NamedTuple

from crewgate import limits
from crewgate.server.connection_limit import client_network
from crewgate.ui.login.session import digest_of

_SECRET_BYTES = 32


class LoginAttempt(NamedTuple):
    """A login under way; its cookie and its state are kept as digests.

    `nonce` must be in the ID token, `verifier` proves to the provider who has begun (RFC 7636).
    `key` is the thumbprint of the browser's key. `ends` is in monotonic seconds.
    """

    cookie_digest: str
    nonce: str
    verifier: str
    key: bytes
    network: str
    ends: float

    @property
    def challenge(self) -> str:
        """The S256 challenge of the verifier (RFC 7636, section 4.2)."""
        digest = hashlib.sha256(self.verifier.encode()).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


class BegunAttempt(NamedTuple):
    """A new attempt, the value of its cookie, and its state, which both are secrets."""

    attempt: LoginAttempt
    cookie: str
    state: str


class LoginAttempts:
    """At most `limits.ui_attempts_max` attempts; `clock` returns monotonic seconds.

    If there are too many, of one network or of all, the oldest ends.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._attempts: dict[str, LoginAttempt] = {}  # by the digest of the state, the oldest first

    def __len__(self) -> int:
        return len(self._attempts)

    def begin(self, key: bytes, address: str) -> BegunAttempt:
        """Begin the login of a browser with this key."""
        cookie, state, nonce, verifier = (secrets.token_urlsafe(_SECRET_BYTES) for _ in range(4))
        network = client_network(address)
        own = [name for name, each in self._attempts.items() if each.network == network]
        if len(own) >= limits.ui_attempts_of_one_max:
            del self._attempts[own[0]]
        elif len(self._attempts) >= limits.ui_attempts_max:
            del self._attempts[next(iter(self._attempts))]
        ends = self._clock() + limits.ui_attempt_seconds
        attempt = LoginAttempt(digest_of(cookie), nonce, verifier, key, network, ends)
        self._attempts[digest_of(state)] = attempt
        return BegunAttempt(attempt, cookie, state)

    def take(self, state: str, cookies: list[str]) -> LoginAttempt | None:
        """Return the attempt with this state once; None if it is over or of another browser.

        `cookies` are the values that the browser has presented.
        """
        name = digest_of(state)
        attempt = self._attempts.get(name)
        if attempt is None:
            return None
        digests = [digest_of(each) for each in cookies]
        if not any(hmac.compare_digest(each, attempt.cookie_digest) for each in digests):
            return None
        del self._attempts[name]
        return attempt if self._clock() < attempt.ends else None
