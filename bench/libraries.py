"""What others need for the same token: whole JWT libraries, and signatures alone.

The signature alone is the floor of any cold decision: libsodium's C function with both outputs
NULL through PyNaCl's own binding, no copy, no object made (0.2 µs of binding per call included).
"""

import warnings
from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from joserfc import jwt as jose
from joserfc.errors import SecurityWarning
from joserfc.jwk import OKPKey
from nacl import _sodium  # private, and the floor

from bench.sampling import Case
from bench.world import AUDIENCE, ISSUER, World
from crewgate import limits
from crewgate._native import token as native

BARE = "libsodium verify, signature alone"
CRYPTOGRAPHY = "cryptography verify, signature alone"
PYJWT = "PyJWT decode"
JOSERFC = "joserfc decode + claims"


def slices(values: list[Any], size: int) -> Iterator[list[Any]]:
    """Consecutive pieces of `values`, which has a multiple of `size`; from the start at the end."""
    return cycle([values[at : at + size] for at in range(0, len(values), size)])


def repeated(call: Callable[[Any], object], values: list[Any], size: int) -> Callable[[], int]:
    """A batch that calls with the next `size` values."""
    pieces = slices(values, size)

    def batch() -> int:
        for value in next(pieces):
            call(value)
        return size

    return batch


def pyjwt(world: World, tokens: list[bytes]) -> Case:
    """PyJWT with the checks that a careful user turns on."""
    key = world.private.public_key()
    claims = ["exp", "iat", "aud", "iss"]

    def decode(token: bytes) -> object:
        return jwt.decode(
            token,
            key,
            algorithms=["EdDSA"],
            audience=AUDIENCE,
            issuer=ISSUER,
            leeway=limits.leeway_seconds,
            options={"require": claims},
        )

    decode(tokens[0])
    return Case(PYJWT, repeated(decode, tokens, 4))


def joserfc(world: World, tokens: list[bytes]) -> Case:
    """Decode, then the registry's look at issuer, audience and times."""
    key = OKPKey.import_key(world.private.public_key())
    registry = jose.JWTClaimsRegistry(
        iss={"essential": True, "value": ISSUER},
        aud={"essential": True, "value": AUDIENCE},
        exp={"essential": True},
    )

    def decode(token: str) -> None:
        registry.validate(jose.decode(token, key, algorithms=["EdDSA"]).claims)

    # It warns of the name EdDSA, which RFC 9864 deprecates and PyJWT still writes.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    texts = [token.decode() for token in tokens]
    decode(texts[0])
    return Case(JOSERFC, repeated(decode, texts, 4))


def parts(token: bytes) -> tuple[bytes, bytes]:
    """(signature, signing input)."""
    _, signed, _, signature = native.split(token)
    return signature, signed


def bare(world: World, tokens: list[bytes], size: int) -> Case:
    """`crypto_sign_open` on signature ‖ input; its answer is 0 for a good signature."""
    joined = [signature + signed for signature, signed in map(parts, tokens)]
    pieces = slices([(buffer, len(buffer)) for buffer in joined], size)
    function, null, public = _sodium.lib.crypto_sign_open, _sodium.ffi.NULL, world.public

    def batch() -> int:
        for buffer, length in next(pieces):
            function(null, null, buffer, length, public)
        return size

    if any(function(null, null, buffer, len(buffer), public) for buffer in joined):
        raise SystemExit("bench: libsodium refused a good signature")
    return Case(BARE, batch, lambda: function(null, null, joined[0], len(joined[0]), public))


def openssl(world: World, tokens: list[bytes]) -> Case:
    """`cryptography`, whose Ed25519 is OpenSSL's."""
    key = Ed25519PublicKey.from_public_bytes(world.public)

    def verify(pair: tuple[bytes, bytes]) -> None:
        key.verify(*pair)

    return Case(CRYPTOGRAPHY, repeated(verify, [parts(token) for token in tokens], 4))
