"""The key of a browser, and the proofs of it (RFC 9449, with the digest of the body).

A browser makes the key and cannot export it, so a proof of it shows that a request comes from this
browser. A proof is good for one request, once. It has a nonce of this process, so it is good for
two minutes at most, and no proof from before a restart is good; the clock of the browser does not
matter.
"""

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from typing import Annotated, Final, Literal, NamedTuple

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePublicKey,
    EllipticCurvePublicNumbers,
)
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from msgspec import UNSET, Meta, UnsetType

from crewgate import limits
from crewgate.core import problem_types
from crewgate.core.tokens.claims import Digest
from crewgate.core.tokens.proof import P256Key, thumbprint

_HALF_BYTES: Final = 32  # of a signature with P-256 (RFC 7518, section 3.4)
_DIGEST_BYTES: Final = 16  # of `jti`: no two of a browser's have the same


class InvalidProofError(Exception):
    """A proof, or the public key of a browser, is not good."""


class ProvenRequest(NamedTuple):
    """What a proof must be about; `url` has no query."""

    method: str
    url: str
    body: bytes


class _Header(msgspec.Struct, frozen=True):
    typ: Literal["dpop+jwt"]
    alg: Literal["ES256"]
    jwk: P256Key
    crit: UnsetType = UNSET


class _Claims(msgspec.Struct, frozen=True):
    jti: Annotated[str, Meta(min_length=1, max_length=limits.ui_proof_id_chars_max)]
    htm: str
    htu: str
    nonce: str
    bh: Digest | UnsetType = UNSET


_decode_header = msgspec.json.Decoder(_Header).decode
_decode_claims = msgspec.json.Decoder(_Claims).decode


def key_thumbprint(key: P256Key) -> bytes:
    """Return the thumbprint of a browser's key (RFC 7638). Raises InvalidProofError."""
    _public(key)
    return thumbprint(key)


class UsedProofs:
    """The ids of one session's proofs, while such a proof would still be good."""

    def __init__(self) -> None:
        self._by_window: dict[int, set[bytes]] = {}

    def add(self, window: int, proof_id: str, current: int) -> bool:
        """Note a proof of a window; return False if it was noted before.

        Raises ControlError 429 if the session has sent too many.
        """
        for old in [each for each in self._by_window if each < current - 1]:
            del self._by_window[old]
        known = self._by_window.setdefault(window, set())
        digest = hashlib.sha256(proof_id.encode()).digest()[:_DIGEST_BYTES]
        if digest in known:
            return False
        if len(known) >= limits.ui_proofs_of_one_max:
            raise problem_types.TOO_MANY_REQUESTS.error()
        known.add(digest)
        return True


class ProofVerifier:
    """Verifies proofs, and makes the nonces that they need. `clock` returns monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._secret = secrets.token_bytes(32)

    @property
    def nonce(self) -> str:
        """The nonce for new proofs."""
        return self._nonce(self._window)

    def verify(self, proof: str, request: ProvenRequest, key: bytes, used: UsedProofs) -> None:
        """Verify the proof of a request, by the key with this thumbprint, and note it as used.

        Raises:
            InvalidProofError: It is not good; the error does not say why.
            ControlError: The session has sent too many (429).
        """
        claims = _verified(proof, key)
        current = self._window
        window = self._window_of(claims.nonce, current)
        is_about = (claims.htm, claims.htu) == (request.method, request.url)
        if window is None or not is_about or not _is_digest_of(claims.bh, request.body):
            raise InvalidProofError
        if not used.add(window, claims.jti, current):
            raise InvalidProofError

    @property
    def _window(self) -> int:
        return int(self._clock() // limits.ui_nonce_seconds)

    def _window_of(self, nonce: str, current: int) -> int | None:
        """Return the window of a nonce that is still good."""
        given = nonce.encode()
        for window in (current, current - 1):
            if hmac.compare_digest(self._nonce(window).encode(), given):
                return window
        return None

    def _nonce(self, window: int) -> str:
        digest = hmac.digest(self._secret, window.to_bytes(8, signed=True), "sha256")
        return base64.urlsafe_b64encode(digest[:18]).decode()


def _verified(proof: str, key: bytes) -> _Claims:
    """Return the claims of a proof that the key with this thumbprint has signed."""
    if len(proof) > limits.ui_proof_bytes_max or proof.count(".") != 2:  # noqa: PLR2004 - 3 parts
        raise InvalidProofError
    signed, _, signature_text = proof.rpartition(".")
    try:
        header_data, claims_data, signature = (
            _base64url(text) for text in (*signed.split("."), signature_text)
        )
        header = _decode_header(header_data)
        claims = _decode_claims(claims_data)
    except (ValueError, RecursionError):  # msgspec.DecodeError is a ValueError
        raise InvalidProofError from None
    if not hmac.compare_digest(thumbprint(header.jwk), key):
        raise InvalidProofError
    if len(signature) != 2 * _HALF_BYTES:
        raise InvalidProofError
    r, s = (int.from_bytes(half) for half in (signature[:_HALF_BYTES], signature[_HALF_BYTES:]))
    try:
        _public(header.jwk).verify(encode_dss_signature(r, s), signed.encode(), ECDSA(SHA256()))
    except InvalidSignature:
        raise InvalidProofError from None
    return claims


def _is_digest_of(digest: str | UnsetType, body: bytes) -> bool:
    if not body:
        return digest is UNSET
    wanted = base64.urlsafe_b64encode(hashlib.sha256(body).digest()).rstrip(b"=")
    return digest is not UNSET and hmac.compare_digest(digest.encode(), wanted)


def _public(key: P256Key) -> EllipticCurvePublicKey:
    x, y = (int.from_bytes(_base64url(each)) for each in (key.x, key.y))
    try:
        return EllipticCurvePublicNumbers(x, y, SECP256R1()).public_key()
    except ValueError:  # the point is not on the curve
        raise InvalidProofError from None


def _base64url(text: str) -> bytes:
    return base64.b64decode(f"{text}{'=' * (-len(text) % 4)}", altchars=b"-_", validate=True)
