"""The certificate that a client has shown to an ASGI server, as the TLS extension tells it.

https://asgi.readthedocs.io/en/latest/specs/tls.html. Decides nothing about it: the server must have
verified it, and says so by `client_cert_error`.
"""

import ssl
from collections.abc import Mapping

from crewgate import limits
from crewgate.core.http import Scope

_NONE_AT_ALL = b""  # reads as no certificate, and so is refused


def certificate_of(scope: Scope) -> bytes | None:
    """The leaf's DER; None where the server tells of none, or could not verify it.

    What it tells and is no PEM comes back as no certificate at all, which every verdict refuses:
    something was shown, and nobody knows what.
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
        return _NONE_AT_ALL
