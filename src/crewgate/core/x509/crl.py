"""When a list of revoked certificates (RFC 5280 §5) was made and ends, from its first bytes.

A list may have a million entries; its times stand before them. Verifies nothing: OpenSSL does.
"""

import binascii
from typing import NamedTuple

from crewgate.core.x509 import der
from crewgate.core.x509.certificate import time_of

HEAD_BYTES = 4096  # of PEM: version, algorithm, the CA's name and both times take some 200
_BEGIN = b"-----BEGIN X509 CRL-----"
_LONG = 0x80


class CRLTimes(NamedTuple):
    """Seconds since 1970: when the list was made, and until when it is good."""

    begin: int
    end: int


def read_times(pem: bytes) -> CRLTimes:
    """From the first `HEAD_BYTES` of a PEM file, or more of it; ValueError for what is no list."""
    _, begin, text = pem[:HEAD_BYTES].partition(_BEGIN)
    if not begin:
        raise ValueError("not a PEM file with a list of revoked certificates")
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
    """What is there of the content of a sequence whose end may be missing."""
    if data[:1] != bytes((der.SEQUENCE,)) or len(data) < 2:  # noqa: PLR2004 - tag and length
        raise ValueError("DER: not a sequence")
    size = data[1]
    return data[2 + (size & 0x7F if size >= _LONG else 0) :]
