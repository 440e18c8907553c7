"""Works around two traps in CPython's `ssl`: stale OpenSSL errors, and password prompts.

OpenSSL keeps a queue of errors for each thread. CPython (3.13, and the newest of older versions)
leaves a failed system call in that queue, for example a connection reset. The next operation on any
other connection of the thread that would have to wait then reports that reset, and so does every
later one (CPython issue 148594; measured with 3.13.5). One client could end all connections so.
"""

import os
import ssl
from pathlib import Path

_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


def forget_errors() -> None:
    """Empty this thread's queue of errors by making a connection object; takes 8 µs.

    Call it after every OSError of a TLS socket, except those that mean "wait".
    """
    _context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True)


def show_certificate(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """Make `context` present `certificate` (PEM, chain included) with its `key` (PEM).

    Raises:
        OSError: A file cannot be used; the text says which, why, and what to give. An encrypted key
            is refused: OpenSSL would ask for its password on the terminal.
    """
    try:
        for path in (certificate, key):
            # Unlike ssl, this says which of the two files is missing.
            with path.open("rb"):
                pass
        context.load_cert_chain(certificate, key, password=_refuse_password)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        name = getattr(error, "filename", None) or f"certificate {certificate} with key {key}"
        reason = getattr(error, "strerror", None) or error
        if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
            reason = "the key does not belong to the certificate"
        mend = "give a PEM chain and its unencrypted PEM key"
        if isinstance(error, PermissionError):
            mend = f"give user {os.geteuid()} the right to it and to the folders above it"
        text = f"{name}: {reason}; {mend}"
        raise OSError(text) from error


def _refuse_password() -> str:
    """Replace OpenSSL's password prompt on the terminal."""
    raise ValueError("the key is encrypted")
