"""Makes the TLS context of a listener: TLS 1.3 only, without session resumption.

Session tickets are off, because a resumed session skips the checks of certificate and revocation
(measured). The files are read when the context is made; a reload or a new CRL makes a new context.
Client certificates are verified strictly (RFC 5280) against one CA and its CRL. A
`ConnectionAuthorizer` then decides what a verified certificate may do.
"""

import hashlib
import ssl
from pathlib import Path
from typing import NamedTuple

from crewgate.config import Config, ListenerConfig
from crewgate.errors import ConfigurationError
from crewgate.server.handshake_diagnosis import CertificateCapturingSocket, watch
from crewgate.ssl_workarounds import show_certificate

PROTOCOLS = ["h2", "http/1.1"]
# OpenSSL 3.2, SSL_OP_NO_RX_CERTIFICATE_COMPRESSION: clients send their certificates uncompressed.
# So the audit can name a refused certificate, and the server decompresses nothing for a client that
# it does not know.
_NO_COMPRESSED_CERTIFICATES = 1 << 33


class ClientCertificateTrust(NamedTuple):
    """The CA and CRL (PEM) that verify client certificates, and whether one is required."""

    root: Path
    crl: Path
    is_required: bool


def client_trust(config: Config, listener: ListenerConfig) -> ClientCertificateTrust | None:
    """Return what verifies the client certificates of a listener; None if it requests none."""
    if listener.client_certificate == "none" or config.ca is None:
        return None
    is_required = listener.client_certificate == "required"
    return ClientCertificateTrust(config.ca.root, config.ca.crl, is_required)


def fingerprint(
    certificate: Path, key: Path, clients: ClientCertificateTrust | None = None
) -> bytes:
    """Return a digest of the files of a context; if it changes, the context must be made anew.

    The CRL is left out. Raises ConfigurationError if a file cannot be read.
    """
    try:
        parts = [certificate.read_bytes(), key.read_bytes()]
        if clients is not None:
            parts += [clients.root.read_bytes(), bytes((clients.is_required,))]
        return hashlib.sha256(b"\0".join(parts)).digest()
    except OSError as error:
        raise ConfigurationError(
            f"{error.filename}: {error.strerror}; give a PEM chain and its unencrypted PEM key, "
            "and the CA of the clients if the listener asks for certificates"
        ) from error


def server_context(
    certificate: Path, key: Path, clients: ClientCertificateTrust | None = None
) -> ssl.SSLContext:
    """Return the context of a listener that presents `certificate` (PEM, chain included).

    Raises ConfigurationError if a file is missing, or `key` is not the key of `certificate`.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(PROTOCOLS)
    context.sslsocket_class = CertificateCapturingSocket
    try:
        show_certificate(context, certificate, key)
    except OSError as error:
        raise ConfigurationError(str(error)) from error
    if clients is not None:
        _verify_clients(context, clients)
    return context


def _verify_clients(context: ssl.SSLContext, clients: ClientCertificateTrust) -> None:
    """Have client certificates verified by this CA alone and by its current CRL.

    A context never forgets a CRL, and a context with thousands of them gets slow (measured). So
    each CRL has its own context. Without a CRL that is in date, OpenSSL refuses every certificate.
    """
    for path, description, command in (
        (clients.root, "CA of the clients", "crewgate ca init"),
        (clients.crl, "CRL", "crewgate ca crl"),
    ):
        try:
            context.load_verify_locations(path)
        except OSError as error:
            raise ConfigurationError(
                f"{path}: cannot use this file as the {description}: {error.strerror or error}; "
                f"make it with `{command}`"
            ) from error
    context.verify_mode = ssl.CERT_REQUIRED if clients.is_required else ssl.CERT_OPTIONAL
    context.verify_flags = (
        ssl.VERIFY_X509_TRUSTED_FIRST | ssl.VERIFY_X509_STRICT | ssl.VERIFY_CRL_CHECK_LEAF
    )
    context.options |= _NO_COMPRESSED_CERTIFICATES
    watch(context)
