"""One session of a person in one browser, and what is stored of it."""

import hashlib
import hmac
from typing import Final

import msgspec

from crewgate import limits
from crewgate.ui.endpoint import SessionEnd
from crewgate.ui.login.browser_key import UsedProofs
from crewgate.ui.person import LoginWay


def digest_of(secret: str) -> str:
    """Return the SHA-256 of a random secret in hexadecimal: all that is kept of it."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


class ProvenPerson(msgspec.Struct, frozen=True):
    """A person who has proved who it is, and how.

    `name` is that of `Person`. `source` is the provider that says so, with its claim. `groups` are
    those that it says. `certificate` is the SHA-256 of the operator's certificate in hexadecimal.
    """

    name: str
    way: LoginWay
    source: str = ""
    groups: tuple[str, ...] = ()
    certificate: str = ""


class StoredSession(msgspec.Struct, frozen=True):
    """A session as the file has it: without the rights, which the configuration has.

    `digest` is that of the id, `key` the thumbprint of the browser's key in hexadecimal. Times are
    in seconds since the epoch; `used` is the last use that was stored.
    """

    digest: str
    key: str
    person: ProvenPerson
    begun: int
    used: int


class Session:
    """A session. `end` says why it has ended; None: it goes on.

    `used` is the time of its last request, in seconds since the epoch. `pages` counts the pages
    that are open: while there is one, the session is in use.
    """

    def __init__(self, stored: StoredSession) -> None:
        self.digest: Final = stored.digest
        self.person: Final = stored.person
        self.begun: Final = stored.begun
        self.used = stored.used
        self.pages = 0
        self.end: SessionEnd | None = None
        self.proofs: Final = UsedProofs()
        self._key = stored.key

    @property
    def key(self) -> bytes:
        """The thumbprint of the browser's key."""
        return bytes.fromhex(self._key)

    def stored(self) -> StoredSession:
        """Return what the file has of it."""
        return StoredSession(self.digest, self._key, self.person, self.begun, self.used)

    def is_of_connection(self, certificate_digest: bytes | None) -> bool:
        """Return whether a connection with this client certificate may use the session."""
        if self.person.way != "certificate":
            return True
        given = b"" if certificate_digest is None else certificate_digest
        return hmac.compare_digest(given, bytes.fromhex(self.person.certificate))

    def is_over(self, now: int, seconds: int, idle_seconds: int) -> bool:
        """Return whether its time has come; a clock that was set far back ends it as well."""
        if not self.begun - limits.ui_clock_seconds <= now < self.begun + seconds:
            return True
        return not self.pages and now >= self.used + idle_seconds
