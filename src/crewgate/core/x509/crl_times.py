"""Reads the two times of a CRL (RFC 5280, section 5) from its first bytes.

A CRL may have a million entries, and its times are before them. OpenSSL verifies the CRL, not this.
"""

import binascii
from typing import NamedTuple

from crewgate.core.x509 import der
from crewgate.core.x509.certificate import time_of

# PEM bytes to read: version, algorithm, the CA's name and both times take some 200.
HEAD_BYTES = 4096
_BEGIN = b"-----BEGIN X509 CRL-----"
_LONG = 0x80


class CRLTimes(NamedTuple):
    """When a CRL was made, and when it expires (seconds since the epoch)."""

    begin: int
    end: int


def read_times(pem: bytes) -> CRLTimes:
    """Read the times from at least the first `HEAD_BYTES` of a PEM file. Raises ValueError."""
    _, begin, text = pem[:HEAD_BYTES].partition(_BEGIN)
    if not begin:
        raise ValueError("not a CRL in PEM")
    text = b"".join(text.partition(b"-----END")[0].split())
    try:
        data = binascii.a2b_base64(text[: len(text) // 4 * 4])
    except binascii.Error as error:
        raise ValueError(f"not PEM: {error}") from error
    reader = der.DERReader(_inside(_inside(data)))
    if reader.tag == der.INTEGER:
        reader.take_any()  # version
    reader.take(der.SEQUENCE)  # signature algorithm
    reader.take(der.SEQUENCE)  # issuer
    return CRLTimes(time_of(reader), time_of(reader))


def _inside(data: bytes) -> bytes:
    """Return the available content of a sequence whose end may be missing."""
    if data[:1] != bytes((der.SEQUENCE,)) or len(data) < 2:  # noqa: PLR2004 - tag and length
        raise ValueError("DER: not a sequence")
    size = data[1]
    return data[2 + (size & 0x7F if size >= _LONG else 0) :]
