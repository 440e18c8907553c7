"""The OIDs (X.660) of the identity extension: the one that the CA writes, and those that are read.

An organisation may write its identities under an OID of its own arc. The default and the former OID
are always read as well, so certificates from before the change are good until they end.
"""

import re
from collections.abc import Iterable

import msgspec

from crewgate import limits
from crewgate.core.x509 import der

# Both have the random UUID c8525eec-88a3-4ccc-8389-d9993c6360f2. Microsoft lets everybody add the
# parts of a UUID to its arc, and each number fits 32 bits. Of the former OID (ITU-T X.667, section
# 6), the last number has 128 bits: Go's crypto/x509 and others refuse certificates with it.
DEFAULT = "1.2.840.113556.1.8000.2554.51282.24300.34979.19660.33673.14260540.6512882"
FORMER = "2.25.266273292786019505986471385047834517746"

SYNTAX = re.compile(r"[0-2](?:\.(?:0|[1-9][0-9]{0,9})){2,62}", re.ASCII)
_NUMBER_MAX = 2**31 - 1
_JOINT = 2
# Of the arcs below 0 and 1 (X.660, section 7.6): the first two numbers share a byte.
_SECOND_MAX = 39
# Certificates have extensions of these arcs with another meaning (RFC 5280, section 4.2).
_TAKEN = ("2.5.29.", "1.3.6.1.5.5.7.")


class IdentityOIDs(msgspec.Struct, frozen=True):
    """The OID under which the CA writes identities, and those under which a machine reads them.

    `written` is dotted text; `readable` are the contents of DER values (X.690, section 8.19).
    """

    written: str
    readable: frozenset[bytes]

    @classmethod
    def of(cls, written: str, accepted: Iterable[str] = ()) -> "IdentityOIDs":
        """Return those of a configuration; the default and the former OID are read as well."""
        texts = (written, *accepted, DEFAULT, FORMER)
        return cls(written, frozenset(map(der.identifier, texts)))


STANDARD = IdentityOIDs.of(DEFAULT)


def check_oid(text: str) -> None:
    """Raise ValueError, with a text for a person, if no identity may be under this OID.

    Go's crypto/x509 and others refuse certificates with a number of more than 31 bits, and the
    library that signs refuses OIDs of more than 63 bytes.
    """
    if not SYNTAX.fullmatch(text):
        raise ValueError('write 3 to 63 numbers with dots between them, such as "1.3.6.1.4.1.1.1"')
    first, second, *_ = numbers = [int(number) for number in text.split(".")]
    if first < _JOINT and second > _SECOND_MAX:
        raise ValueError(f"below {first} the second number is at most {_SECOND_MAX}")
    if max(*numbers, 40 * first + second) > _NUMBER_MAX:
        raise ValueError(
            "each number must be below 2^31, because some libraries refuse larger ones"
        )
    if len(der.identifier(text)) > limits.identity_oid_bytes_max:
        raise ValueError(f"longer than {limits.identity_oid_bytes_max} bytes in a certificate")
    if text.startswith(_TAKEN):
        raise ValueError("X.509 uses this arc for other extensions; use an arc of your own")
