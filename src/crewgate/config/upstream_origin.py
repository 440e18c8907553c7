"""The origin of a server: scheme, host and port of its URL."""

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

Scheme = Literal["http", "https"]
STANDARD_PORTS: Final[Mapping[Scheme, int]] = {"http": 80, "https": 443}


class UpstreamOrigin(msgspec.Struct, frozen=True):
    """Scheme, host and port of a server (RFC 6454); `host` is without brackets."""

    scheme: Scheme
    host: str
    port: int

    @property
    def authority(self) -> str:
        """The value of the Host field of a request to the server (RFC 9110, section 7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == STANDARD_PORTS[self.scheme] else f"{host}:{self.port}"
