"""P-256 keys and signatures of DPoP proofs, by the package cryptography.

The library half works without that package. Then it knows no P-256 key, and takes no such proof.
"""

import logging
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

_log = logging.getLogger(__name__)
_HALF = 32  # bytes of a coordinate, and of each half of a signature


@cache
def is_available() -> bool:
    """Return whether the package is installed; if not, log once what that means."""
    if find_spec("cryptography") is not None:
        return True
    _log.warning(
        "refusing DPoP proofs with P-256 keys (ES256): they need the package cryptography; install "
        "it, or use Ed25519 keys"
    )
    return False


def public_key(x: bytes, y: bytes) -> "EllipticCurvePublicKey":
    """Return the key at a point, whose coordinates have 32 bytes each.

    Raises:
        ValueError: The point is not on the curve, or the package is not installed.
    """
    if not is_available():
        raise ValueError("P-256 needs the package cryptography")
    # The module takes 5 MB, and most processes see no such key.
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + x + y)


def is_signed(key: "EllipticCurvePublicKey", signature: bytes, message: bytes) -> bool:
    """Return whether a signature (RFC 7518, section 3.4: r and s, 64 bytes) is good."""
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec, utils  # noqa: PLC0415
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415

    r, s = (int.from_bytes(half, "big") for half in (signature[:_HALF], signature[_HALF:]))
    try:
        key.verify(utils.encode_dss_signature(r, s), message, ec.ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True
