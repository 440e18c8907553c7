"""Finds out why a handshake with a client failed, and which certificate the client offered.

Python's `ssl` does not return the certificate of a failed handshake. So this module reads the
client's message in transit, by the only hook that exists (`SSLContext._msg_callback`, documented
for debugging). The client has not proved that it holds the key of such a certificate: it serves the
audit, never a decision.
"""

import ssl
from typing import Any

from crewgate.core.verdict import ConnectionRefusalReason

_CERTIFICATE = 11  # RFC 8446 §4, HandshakeType
_HANDSHAKE = 22  # RFC 8446 §5.1, ContentType
_HEAD_BYTES = 4  # a handshake message begins with its type and three bytes of length


# The reasons by X509_V_ERR_* of openssl-verify(1), which SSLCertVerificationError.verify_code
# holds. STALE: the certificate may be good, but this server's CRL cannot be used.
_BY_CODE = {
    2: ConnectionRefusalReason.UNKNOWN_AUTHORITY,  # the issuer's certificate is not known
    18: ConnectionRefusalReason.UNKNOWN_AUTHORITY,  # the certificate is self-signed
    19: ConnectionRefusalReason.UNKNOWN_AUTHORITY,  # a certificate of the chain is self-signed
    20: ConnectionRefusalReason.UNKNOWN_AUTHORITY,
    21: ConnectionRefusalReason.UNKNOWN_AUTHORITY,
    7: ConnectionRefusalReason.UNKNOWN_AUTHORITY,  # another key signed the certificate: a forgery
    9: ConnectionRefusalReason.NOT_YET_VALID,
    10: ConnectionRefusalReason.EXPIRED,
    3: ConnectionRefusalReason.STALE,  # there is no CRL of the certificate's issuer
    8: ConnectionRefusalReason.STALE,  # another key signed the CRL
    11: ConnectionRefusalReason.STALE,  # the CRL is dated in the future
    12: ConnectionRefusalReason.STALE,  # the CRL is past its next update
    15: ConnectionRefusalReason.STALE,  # the CRL's last update cannot be parsed
    16: ConnectionRefusalReason.STALE,  # the CRL's next update cannot be parsed
    33: ConnectionRefusalReason.STALE,  # the signer of the CRL is not known
    35: ConnectionRefusalReason.STALE,  # the signer of the CRL has no right to sign CRLs
    36: ConnectionRefusalReason.STALE,  # the CRL has an unknown critical extension
    44: ConnectionRefusalReason.STALE,  # the CRL covers other certificates
    54: ConnectionRefusalReason.STALE,  # the path of the CRL could not be validated
    23: ConnectionRefusalReason.REVOKED,
    26: ConnectionRefusalReason.NO_CLIENT_USAGE,
}


class CertificateCapturingSocket(ssl.SSLSocket):
    """The socket of a client's connection.

    `offered_certificate` is the certificate (DER) that the client sent, proven or not; it is empty
    if the client sent none.
    """

    offered_certificate: bytes = b""

    def forget_context(self) -> None:
        """Stop reading TLS messages; call this after the handshake.

        Otherwise OpenSSL would call the hook for each record of the connection. OpenSSL itself
        keeps the context with which a connection began, and so its CRL (10,000 entries: 2 MB, once
        for all connections of that CRL), until those connections end, with their certificates at
        the latest.
        """
        if self.context._msg_callback is not None:  # type: ignore[attr-defined]  # noqa: SLF001
            self.context = _PLAIN_CONTEXT


_PLAIN_CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


def watch(context: ssl.SSLContext) -> None:
    """Have the connections of `context` keep the certificate that the client offers."""
    if hasattr(context, "_msg_callback"):
        context._msg_callback = _on_tls_message  # noqa: SLF001 - the module's docstring says why


def failure_of(error: Exception | None) -> ConnectionRefusalReason:
    """Return the reason for a failed handshake, by OpenSSL's error; HANDSHAKE without one."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _BY_CODE.get(error.verify_code, ConnectionRefusalReason.INVALID)
    if isinstance(error, ssl.SSLError) and error.reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return ConnectionRefusalReason.NO_CERTIFICATE
    return ConnectionRefusalReason.HANDSHAKE


def _on_tls_message(
    sock: object,
    direction: str,
    version: object,  # noqa: ARG001 - the hook's signature
    content: Any,  # noqa: ANN401 - an enumeration's member, or a number without one
    message: Any,  # noqa: ANN401 - as `content`
    data: bytes,
) -> None:
    is_certificate = direction == "read" and content == _HANDSHAKE and message == _CERTIFICATE
    if is_certificate and isinstance(sock, CertificateCapturingSocket):
        sock.offered_certificate = leaf_of(data)


def leaf_of(message: bytes) -> bytes:
    """Return the first certificate of a Certificate message (RFC 8446 §4.4.2); b"" if malformed."""
    start = _HEAD_BYTES + 1 + (message[_HEAD_BYTES] if len(message) > _HEAD_BYTES else 0) + 3
    size = int.from_bytes(message[start : start + 3])
    leaf = message[start + 3 : start + 3 + size]
    return leaf if len(leaf) == size else b""
