"""Why a handshake with a client failed, and which certificate it was about.

Python's `ssl` has no name for the certificate of a handshake that fails, so the client's message is
read on its way, by the one hook that there is (`SSLContext._msg_callback`, documented for
debugging). What is read there is unproven: it is for the audit, never for a verdict.
"""

import ssl
from typing import Any

from crewgate.core.verdict import PeerReason

_CERTIFICATE = 11  # RFC 8446 §4, HandshakeType
_HANDSHAKE = 22  # RFC 8446 §5.1, ContentType
_HEAD = 4  # of a handshake message: type, and three bytes of length


# X509_V_ERR_* of openssl-verify(1), as SSLCertVerificationError.verify_code has them.
_BY_CODE = {
    2: PeerReason.UNKNOWN_AUTHORITY,  # the issuer's certificate is not known
    18: PeerReason.UNKNOWN_AUTHORITY,  # self-signed
    19: PeerReason.UNKNOWN_AUTHORITY,  # self-signed, in the chain
    20: PeerReason.UNKNOWN_AUTHORITY,
    21: PeerReason.UNKNOWN_AUTHORITY,
    7: PeerReason.UNKNOWN_AUTHORITY,  # a signature of another key: forged
    9: PeerReason.NOT_YET_VALID,
    10: PeerReason.EXPIRED,
    3: PeerReason.STALE,  # there is no CRL of its issuer
    8: PeerReason.STALE,  # the CRL is signed by another key: it is ours that is wrong
    11: PeerReason.STALE,  # of the future
    12: PeerReason.STALE,  # past its next update
    15: PeerReason.STALE,  # its times cannot be read
    16: PeerReason.STALE,
    33: PeerReason.STALE,  # who signed it is not known
    35: PeerReason.STALE,  # who signed it may not
    36: PeerReason.STALE,  # a critical extension in it is not understood
    44: PeerReason.STALE,  # it is about other certificates
    54: PeerReason.STALE,
    23: PeerReason.REVOKED,
    26: PeerReason.NO_CLIENT_USAGE,
}


class ClientSocket(ssl.SSLSocket):
    """The socket of a client's connection: `shown` is what it showed, DER, proven or not."""

    shown: bytes = b""

    def forget_context(self) -> None:
        """After the handshake: no more messages are read.

        The hook would otherwise be called for each record of the connection's life. OpenSSL itself
        keeps the context that a connection began with, and so its CRL (10,000 entries: 2 MB, once
        for all connections of that CRL), until they have ended: with their certificates at last.
        """
        if self.context._msg_callback is not None:  # type: ignore[attr-defined]  # noqa: SLF001
            self.context = _BARE


_BARE = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


def watch(context: ssl.SSLContext) -> None:
    """Have the connections of `context` remember which certificate they were shown."""
    if hasattr(context, "_msg_callback"):
        context._msg_callback = _look  # noqa: SLF001 - see above


def failure_of(error: OSError) -> PeerReason:
    """The reason in OpenSSL's error."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _BY_CODE.get(error.verify_code, PeerReason.INVALID)
    if isinstance(error, ssl.SSLError) and error.reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return PeerReason.NO_CERTIFICATE
    return PeerReason.HANDSHAKE


def _look(
    sock: object,
    direction: str,
    version: object,  # noqa: ARG001 - the hook's signature
    content: Any,  # noqa: ANN401 - an enumeration or a number, as Python has a name for it
    message: Any,  # noqa: ANN401 - the same
    data: bytes,
) -> None:
    is_certificate = direction == "read" and content == _HANDSHAKE and message == _CERTIFICATE
    if is_certificate and isinstance(sock, ClientSocket):
        sock.shown = leaf_of(data)


def leaf_of(message: bytes) -> bytes:
    """The first certificate of a Certificate message (RFC 8446 §4.4.2); nothing if it is odd."""
    at = _HEAD + 1 + (message[_HEAD] if len(message) > _HEAD else 0) + 3
    size = int.from_bytes(message[at : at + 3])
    leaf = message[at + 3 : at + 3 + size]
    return leaf if len(leaf) == size else b""
