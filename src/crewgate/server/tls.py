"""TLS of a listener: version 1.3 and nothing that outlives a handshake.

Tickets are off: a resumed session skips the checks of certificate and revocation (measured). The
files are read when the context is made; a reload makes a new one.
"""

import hashlib
import ssl
from pathlib import Path

import trio

from crewgate.errors import ConfigurationError
from crewgate.openssl import forget_errors

PROTOCOLS = ["h2", "http/1.1"]


def fingerprint(certificate: Path, key: Path) -> bytes:
    """Return a digest of what a listener shows: another one means another certificate or key.

    ConfigurationError if a file cannot be read.
    """
    try:
        return hashlib.sha256(certificate.read_bytes() + b"\0" + key.read_bytes()).digest()
    except OSError as error:
        raise ConfigurationError(
            f"certificate {certificate} with key {key}: {error.strerror}; "
            "give a PEM chain and its unencrypted PEM key"
        ) from error


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return the context of a listener that shows `certificate` (PEM, chain included).

    ConfigurationError if a file is missing or they do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(PROTOCOLS)
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigurationError(
            f"certificate {certificate} with key {key}: {error.strerror or error}; "
            "give a PEM chain and its unencrypted PEM key"
        ) from error
    return context


async def shake_hands(sock: ssl.SSLSocket, turn: trio.CapacityLimiter) -> bool:
    """Shake hands with a client; False if it gave up, or offered what we do not.

    `turn` is held for each step: thousands at once take turns with the rest. The caller bounds the
    wait.
    """
    while True:
        try:
            async with turn:
                sock.do_handshake()
            return True
        except ssl.SSLWantReadError:
            await trio.lowlevel.wait_readable(sock)
        except ssl.SSLWantWriteError:
            await trio.lowlevel.wait_writable(sock)
        except OSError:
            forget_errors()
            return False
