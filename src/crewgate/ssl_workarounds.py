"""How Crewgate uses CPython's ssl, in two places where that has a trap.

OpenSSL keeps a queue of errors for each thread. CPython (3.13, and the newest of older versions)
leaves a failed system call in it, a reset for example: the next operation on any other connection
of the thread that would have to wait is told of that reset instead, and so is every one after it
(CPython issue 148594; measured with 3.13.5). One client could so end everybody's connections.
"""

import ssl
from pathlib import Path

_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


def forget_errors() -> None:
    """Empty the queue of this thread, as making a connection's object does; takes 8 µs.

    To be called after every OSError of a TLS socket but those that say to wait.
    """
    _context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True)


def show_certificate(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """Have `context` show `certificate` (PEM, chain included) with its `key` (PEM).

    Raises:
        OSError: Its text says which file cannot be used, why, and what to give. An encrypted key
            is refused: OpenSSL itself would ask the terminal for its password.
    """
    try:
        for path in (certificate, key):
            with path.open("rb"):  # unlike ssl, this says which of the two is not there
                pass
        context.load_cert_chain(certificate, key, password=_refuse_password)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        name = getattr(error, "filename", None) or f"certificate {certificate} with key {key}"
        reason = getattr(error, "strerror", None) or error
        text = f"{name}: {reason}; give a PEM chain and its unencrypted PEM key"
        raise OSError(text) from error


def _refuse_password() -> str:
    """Take the place of the question for a password, which OpenSSL asks on the terminal."""
    raise ValueError("the key is encrypted")
