"""The origin of a server: scheme, host and port of its URL."""

from typing import Literal

import msgspec

Scheme = Literal["http", "https"]


class UpstreamOrigin(msgspec.Struct, frozen=True):
    """Scheme, host and port of a server (RFC 6454)."""

    scheme: Scheme
    host: str  # a name or an IP address, without brackets
    port: int

    @property
    def authority(self) -> str:
        """What the Host field of a request to it says (RFC 9110, section 7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        standard = {"http": 80, "https": 443}[self.scheme]
        return host if self.port == standard else f"{host}:{self.port}"
