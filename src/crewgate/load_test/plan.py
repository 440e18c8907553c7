"""The plan of a load test: the target, the request that the client repeats, and the steps."""

from typing import Self
from urllib.parse import urlsplit

import msgspec

from crewgate.errors import ConfigurationError

Field = tuple[bytes, bytes]


class Target(msgspec.Struct, frozen=True):
    """The parts of a URL: host and port of the server, authority and path of its requests."""

    host: str
    port: int
    authority: str
    path: str

    @classmethod
    def of(cls, url: str) -> Self:
        """Return the target of an https URL. Raises ConfigurationError for any other text."""
        try:
            parts = urlsplit(url)
            port = parts.port or 443
        except ValueError as error:
            raise ConfigurationError(f"{url}: not a URL ({error})") from error
        if parts.scheme != "https" or not parts.hostname or parts.username is not None:
            raise ConfigurationError(f"{url}: write https://HOST[:PORT]/PATH, without a password")
        if not url.isascii() or any(letter <= " " for letter in url):
            raise ConfigurationError(f"{url!r}: percent-encode blanks and letters outside ASCII")
        path = parts.path or "/"
        return cls(
            parts.hostname, port, parts.netloc, f"{path}?{parts.query}" if parts.query else path
        )

    @property
    def url(self) -> str:
        """The URL without a fragment."""
        return f"https://{self.authority}{self.path}"


class Request(msgspec.Struct, frozen=True):
    """The request that the client repeats. Names of `fields` are in lower case."""

    target: Target
    method: str
    fields: tuple[Field, ...]
    body: bytes = b""

    @property
    def head(self) -> list[Field]:
        """All fields, the pseudo-fields first (RFC 9113, section 8.3.1)."""
        pseudo = {
            b":method": self.method,
            b":scheme": "https",
            b":authority": self.target.authority,
            b":path": self.target.path,
        }
        return [*((name, text.encode("ascii")) for name, text in pseudo.items()), *self.fields]


class Shape(msgspec.Struct, frozen=True):
    """The number of connections of a client, and the most requests that it has open on each."""

    connections: int
    streams: int

    @property
    def total(self) -> int:
        """Requests that can be open at once."""
        return self.connections * self.streams


class Step(msgspec.Struct, frozen=True):
    """A load of `seconds` at a fixed `rate` of requests a second.

    With a rate of 0, the client sends the next request as soon as an answer is there. The step then
    also ends after `requests`, if that is not 0.
    """

    name: str
    seconds: float
    rate: float = 0.0
    requests: int = 0
