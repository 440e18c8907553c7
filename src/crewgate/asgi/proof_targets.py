"""Finds out which URL a DPoP proof in an ASGI request must name (RFC 9449, section 4.3)."""

import re
from collections.abc import Collection
from urllib.parse import quote, urlsplit

from crewgate._native.proof import Origin
from crewgate.core.http_types import Scope
from crewgate.errors import ConfigurationError
from crewgate.verifier import DPoPProof

# RFC 9112, section 3.2.1, without a query: printable characters but "#" and "?".
_PATH = re.compile(r"/[!\"$->@-~]*", re.ASCII)


class ProofTargets:
    """The origins of one server, as its clients write them: "https://tools.example".

    A proxy before the server may have ended TLS, so the scope does not say what the client used.

    Raises:
        ConfigurationError: An origin is not a scheme and a host, perhaps with a port.
    """

    def __init__(self, origins: Collection[str], *, nonce_required: bool) -> None:
        self._nonce_required = nonce_required
        self._by_host: dict[bytes, str] = {}
        if isinstance(origins, str):
            raise ConfigurationError(
                f'CrewgateMiddleware: origins must be a list: write ["{origins}"]'
            )
        for text in origins:
            try:
                parts = urlsplit(text)
                origin = Origin(parts.scheme, parts.netloc.encode("ascii")).text.decode()
                is_whole = bool(parts.hostname) and not (parts.path or parts.query)
            except ValueError:
                is_whole = False
            if not is_whole:
                raise ConfigurationError(
                    f'CrewgateMiddleware: origins: "{text}" is no origin: write a scheme and a '
                    'host, such as "https://tools.example"'
                )
            host = origin.partition("://")[2].encode()
            default_port = {"https": b":443", "http": b":80"}[parts.scheme]
            self._by_host |= {host: origin, host + default_port: origin}

    def proof(self, scope: Scope, value: bytes) -> DPoPProof:
        """Return the proof of a request; `value` is that of its header field DPoP."""
        hosts = [bytes(each) for name, each in scope["headers"] if bytes(name) == b"host"]
        origin = self._by_host.get(hosts[0].lower()) if len(hosts) == 1 else None
        path = _path(scope)
        # Some servers pass on a target of another form, which could change the host of the URL.
        url = None if origin is None or not _PATH.fullmatch(path) else origin + path
        return DPoPProof(
            value.decode("latin-1"), scope["method"], url, nonce_required=self._nonce_required
        )


def _path(scope: Scope) -> str:
    raw = scope.get("raw_path")
    return quote(scope["path"], safe="/:@!$&'()*+,;=~") if raw is None else raw.decode("latin-1")
