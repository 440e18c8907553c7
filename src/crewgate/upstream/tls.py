"""Makes the TLS context of an https client; it always verifies the server's chain and name.

The files are read when the context is made; a reload makes a new context. The verified name is the
`server_hostname` of the handshake (`UpstreamConfig.server_name`), which this module does not know.
"""

import hashlib
import ssl
from pathlib import Path

from crewgate.config import UpstreamConfig, UpstreamTLS
from crewgate.errors import ConfigurationError
from crewgate.ssl_workarounds import show_certificate


def client_context(upstream: UpstreamConfig) -> ssl.SSLContext | None:
    """Return the context that verifies the servers of `upstream`; None if it is not https.

    The context offers only `upstream.protocol` in ALPN. A server may ignore that, so the caller
    must check `selected_alpn_protocol()` for "h2". Raises ConfigurationError if a file cannot be
    used.
    """
    if not upstream.secure:
        return None
    return verifying_context(f"upstream {upstream.name}", upstream.tls, upstream.protocol)


def verifying_context(owner: str, tls: UpstreamTLS, protocol: str) -> ssl.SSLContext:
    """Return the context of `owner`, such as `upstream search`, which offers only `protocol`.

    Raises ConfigurationError if a file cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # with CERT_REQUIRED and check_hostname
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 9325, section 3.1.1
    context.hostname_checks_common_name = False  # RFC 9525, section 2
    # RFC 9113, section 9.2.1 forbids renegotiation. Without it, a write never needs a read.
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols([protocol])
    _load_trust(context, owner, tls.ca)
    _present_certificate(context, owner, tls)
    return context


def fingerprint(upstream: UpstreamConfig) -> bytes:
    """Return a digest of the files of a context; if it changes, the context must be made anew.

    A reload may find new files under unchanged names. Raises ConfigurationError if one cannot be
    read.
    """
    digest = hashlib.sha256()
    tls = upstream.tls
    for path in (tls.ca, tls.certificate, tls.key):
        if path is None:
            continue
        try:
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        except OSError as error:
            raise ConfigurationError(
                f"upstream {upstream.name}: {path}: {_reason(error)}; let the gateway read it"
            ) from error
    return digest.digest()


def _load_trust(context: ssl.SSLContext, owner: str, ca: Path | None) -> None:
    """Trust only the configured authorities, or those of the system if there are none."""
    if ca is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        return
    # Every configured certificate is trusted: a root, an intermediate, or one server's own.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(ca)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigurationError(
            f"{owner}: CA bundle {ca}: {_reason(error)}; give the PEM certificates of the "
            "authorities that signed its servers' certificates"
        ) from error


def _present_certificate(context: ssl.SSLContext, owner: str, tls: UpstreamTLS) -> None:
    """Present the configured client certificate to servers that ask for one."""
    if tls.certificate is None or tls.key is None:
        return
    try:
        show_certificate(context, tls.certificate, tls.key)
    except OSError as error:
        raise ConfigurationError(f"{owner}: client certificate: {error}") from error


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", "") or error)
