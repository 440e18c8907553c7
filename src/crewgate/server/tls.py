"""TLS of a listener: version 1.3 and nothing that outlives a handshake.

Tickets are off: a resumed session skips the checks of certificate and revocation (measured). The
files are read when the context is made; a reload, or a new list of revoked certificates, makes a
new one. Clients' certificates are verified against one CA and its list, strictly (RFC 5280); what
they say is for a `ConnectionAuthorizer` to judge.
"""

import hashlib
import ssl
from pathlib import Path
from typing import NamedTuple

from crewgate.errors import ConfigurationError
from crewgate.openssl import show_certificate
from crewgate.server.tls_failure import ClientSocket, watch

PROTOCOLS = ["h2", "http/1.1"]
# OpenSSL 3.2, SSL_OP_NO_RX_CERTIFICATE_COMPRESSION: a client's certificate comes as it is, so that
# a refused one can be named, and nothing is unpacked for strangers.
_NO_COMPRESSED_CERTIFICATES = 1 << 33


class ClientCertificateTrust(NamedTuple):
    """Whose certificates a listener accepts: a CA (PEM), its CRL (PEM), and whether one must be."""

    root: Path
    crl: Path
    is_required: bool


def fingerprint(
    certificate: Path, key: Path, clients: ClientCertificateTrust | None = None
) -> bytes:
    """Return a digest of what a context is made of: another one wants another context.

    ConfigurationError if a file cannot be read.
    """
    try:
        parts = [certificate.read_bytes(), key.read_bytes()]
        if clients is not None:
            parts += [clients.root.read_bytes(), bytes((clients.is_required,))]
        return hashlib.sha256(b"\0".join(parts)).digest()
    except OSError as error:
        raise ConfigurationError(
            f"{error.filename}: {error.strerror}; give a PEM chain and its unencrypted PEM key, "
            "and the CA of clients where there is one"
        ) from error


def server_context(
    certificate: Path, key: Path, clients: ClientCertificateTrust | None = None
) -> ssl.SSLContext:
    """Return the context of a listener that shows `certificate` (PEM, chain included).

    ConfigurationError if a file is missing or they do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(PROTOCOLS)
    context.sslsocket_class = ClientSocket
    try:
        show_certificate(context, certificate, key)
    except OSError as error:
        raise ConfigurationError(str(error)) from error
    if clients is not None:
        _verify(context, clients)
    return context


def _verify(context: ssl.SSLContext, clients: ClientCertificateTrust) -> None:
    """Have clients' certificates verified, by this CA alone and by its present CRL.

    A context never forgets a CRL, and a live one gets slow with thousands (measured): each list
    has a context of its own. Without a list that is fresh, OpenSSL refuses everybody.
    """
    for path, what in ((clients.root, "CA of clients"), (clients.crl, "list of the revoked")):
        try:
            context.load_verify_locations(path)
        except OSError as error:
            raise ConfigurationError(
                f"{path}: the {what} cannot be used: {error.strerror or error}; "
                "make them with `crewgate ca init` and `crewgate ca crl`"
            ) from error
    context.verify_mode = ssl.CERT_REQUIRED if clients.is_required else ssl.CERT_OPTIONAL
    context.verify_flags = (
        ssl.VERIFY_X509_TRUSTED_FIRST | ssl.VERIFY_X509_STRICT | ssl.VERIFY_CRL_CHECK_LEAF
    )
    context.options |= _NO_COMPRESSED_CERTIFICATES
    watch(context)
