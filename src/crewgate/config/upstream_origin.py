"""The origin of a server: scheme, host and port of its URL."""

from typing import Literal

import msgspec

Scheme = Literal["http", "https"]


class UpstreamOrigin(msgspec.Struct, frozen=True):
    """Scheme, host and port of a server (RFC 6454); `host` is without brackets."""

    scheme: Scheme
    host: str
    port: int

    @property
    def authority(self) -> str:
        """The value of the Host field of a request to the server (RFC 9110, section 7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        standard = {"http": 80, "https": 443}[self.scheme]
        return host if self.port == standard else f"{host}:{self.port}"
