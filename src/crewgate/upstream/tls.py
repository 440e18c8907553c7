"""The TLS context of an https upstream: chain and name are verified, and no switch turns that off.

The files are read when the context is made; a reload makes a new one. The name that is verified is
`server_hostname` of the handshake (`UpstreamConfig.server_name`); it is not known here.
"""

import hashlib
import ssl

from crewgate.config import UpstreamConfig, UpstreamTLS
from crewgate.errors import ConfigurationError
from crewgate.openssl import show_certificate


def client_context(upstream: UpstreamConfig) -> ssl.SSLContext | None:
    """Return what the servers of `upstream` are verified with; None if it is not https.

    The context offers `upstream.protocol` alone in ALPN. A server may ignore that: whoever wants
    "h2" must see it in `selected_alpn_protocol()`. ConfigurationError if a file cannot be used.
    """
    if not upstream.secure:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # with CERT_REQUIRED and check_hostname
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 9325, section 3.1.1
    context.hostname_checks_common_name = False  # RFC 9525, section 2
    # RFC 9113, section 9.2.1 forbids renegotiation; and a write never wants a read.
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols([upstream.protocol])
    _trust(context, upstream)
    _show(context, upstream.name, upstream.tls)
    return context


def fingerprint(upstream: UpstreamConfig) -> bytes:
    """Return a digest of the files that its context is made of: another one means another context.

    An upstream that keeps its table over a reload may have new files under the old names.
    ConfigurationError if one cannot be read.
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


def _trust(context: ssl.SSLContext, upstream: UpstreamConfig) -> None:
    """Trust the pinned authorities and nobody else, or those of the system."""
    ca = upstream.tls.ca
    if ca is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        return
    # What is pinned is trusted, be it a root, an authority below one, or one server's certificate.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(ca)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigurationError(
            f"upstream {upstream.name}: CA bundle {ca}: {_reason(error)}; "
            "give the PEM certificates of the authorities that its servers' certificates come from"
        ) from error


def _show(context: ssl.SSLContext, name: str, tls: UpstreamTLS) -> None:
    """Have a client certificate for servers that ask for one."""
    if tls.certificate is None or tls.key is None:
        return
    try:
        show_certificate(context, tls.certificate, tls.key)
    except OSError as error:
        raise ConfigurationError(f"upstream {name}: client certificate: {error}") from error


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", "") or error)
