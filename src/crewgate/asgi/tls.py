"""Reads the client certificate from the ASGI TLS extension.

https://asgi.readthedocs.io/en/latest/specs/tls.html. The server must have verified the certificate;
if that failed, it sets `client_cert_error`.
"""

import ssl
from collections.abc import Mapping

from crewgate import limits
from crewgate.core.http_types import Scope

_UNREADABLE = b""  # not a certificate, so every verdict refuses it


def certificate_of(scope: Scope) -> bytes | None:
    """Return the DER of the client's certificate; None if there is none or it was not verified.

    If the server passes something that is not PEM, return bytes that every verdict refuses: the
    client did send a certificate, and it cannot be checked.
    """
    extension = (scope.get("extensions") or {}).get("tls")
    if not isinstance(extension, Mapping) or extension.get("client_cert_error"):
        return None
    leaf = next(iter(extension.get("client_cert_chain") or ()), None)
    if leaf is None:
        return None
    try:
        text = str(leaf)[: 2 * limits.certificate_bytes_max]
        return ssl.PEM_cert_to_DER_cert(text.strip())
    except ValueError:  # binascii.Error is one
        return _UNREADABLE
