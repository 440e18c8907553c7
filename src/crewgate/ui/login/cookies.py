"""The cookies of the live page, and how requests present them.

Over https, their names have the prefix `__Host-`: no other host and no page without TLS can set
them (RFC 6265bis, section 4.1.3). Without TLS, at a loopback address, the port is in the name:
browsers send cookies to all ports of a host.
"""

from collections.abc import Iterator
from typing import Literal
from urllib.parse import urlsplit

from crewgate.config import UIConfig

_SHOWN_MAX = 4  # of one name: other programs at this host can set some too


class Cookie:
    """One cookie of the page at its URL; `same_site` says on which requests browsers send it.

    `path` is `/`, as the prefix demands.
    """

    def __init__(self, name: str, same_site: Literal["Strict", "Lax"], page: UIConfig) -> None:
        port = urlsplit(page.url).port or 80
        self.name = f"__Host-{name}" if page.is_secure else f"{name}-{port}"
        secure = "; Secure" if page.is_secure else ""
        self._attributes = f"Path=/{secure}; HttpOnly; SameSite={same_site}"

    def set(self, value: str, seconds: int) -> str:
        """Return the value of a Set-Cookie field that sets it for this time."""
        return f"{self.name}={value}; Max-Age={seconds}; {self._attributes}"

    def clear(self) -> str:
        """Return the value of a Set-Cookie field that removes it."""
        return self.set("", 0)

    def values(self, fields: list[str]) -> Iterator[str]:
        """Yield the values that a request has, by its Cookie fields."""
        count = 0
        for pair in ";".join(fields).split(";"):
            name, _, value = pair.strip().partition("=")
            if name == self.name and value and count < _SHOWN_MAX:
                count += 1
                yield value


def session_cookie(page: UIConfig) -> Cookie:
    """Return the cookie of a session."""
    return Cookie("crewgate", "Strict", page)


def attempt_cookie(page: UIConfig) -> Cookie:
    """Return the cookie of a login under way; the way back from the provider must carry it."""
    return Cookie("crewgate-login", "Lax", page)
