"""Makes the edge cases of Ed25519 that the start-up self-test holds libsodium to.

Plain integer arithmetic after RFC 8032, section 5.1, with no code of a library under test. Run it
to write `ed25519_edges.json` beside it and the header that is compiled into the extension. The
answers are those of a strict, cofactorless verifier ("Taming the many EdDSAs", Chalkias, Garillot,
Nikolaenko 2020): canonical A, R and S; A and R not of small order; S B = R + h A exactly.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
MESSAGE = b"crewgate"

HERE = Path(__file__).parent
JSON_FILE = HERE / "ed25519_edges.json"
HEADER_FILE = HERE.parents[1] / "ext/crewgate/_native/ed25519_test_vectors.h"


class Signature(NamedTuple):
    """One signature and whether it is good."""

    name: str
    public: bytes
    signature: bytes
    message: bytes
    good: bool


class Encoding(NamedTuple):
    """One encoded point and whether it may be a public key."""

    name: str
    public: bytes
    good: bool


Point = tuple[int, int]
IDENTITY: Point = (0, 1)


def add(p: Point, q: Point) -> Point:
    """Affine addition; complete, since D is not a square."""
    (x1, y1), (x2, y2) = p, q
    t = D * x1 * x2 * y1 * y2
    x = (x1 * y2 + x2 * y1) * pow(1 + t, -1, P)
    y = (y1 * y2 + x1 * x2) * pow(1 - t, -1, P)
    return x % P, y % P


def multiply(k: int, p: Point) -> Point:
    """K times `p`, by doubling and adding."""
    result = IDENTITY
    while k:
        if k & 1:
            result = add(result, p)
        p = add(p, p)
        k >>= 1
    return result


def recover(y: int, sign: int) -> Point | None:
    """The point with this `y` and parity of x; None if there is none (RFC 8032, 5.1.3)."""
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * pow(2, (P - 1) // 4, P) % P
    if x * x % P != square:
        return None
    return (x if x & 1 == sign else -x % P), y


def encode(p: Point) -> bytes:
    """32 bytes, canonical."""
    return raw(p[1], p[0] & 1)


def raw(y: int, sign: int) -> bytes:
    """32 bytes of any `y` below 2^255, canonical or not."""
    return (y | sign << 255).to_bytes(32, "little")


def challenge(r: bytes, a: bytes, message: bytes) -> int:
    """The hash h of RFC 8032, over the encodings as sent."""
    return int.from_bytes(hashlib.sha512(r + a + message).digest(), "little") % L


def scalar(s: int) -> bytes:
    """32 bytes of a scalar, reduced or not."""
    return s.to_bytes(32, "little")


BASE = recover(4 * pow(5, -1, P) % P, 0)
assert BASE is not None


def order_eight() -> Point:
    """A point of order exactly 8: a point of the curve times L that 4 does not kill."""
    for y in range(2, 100):
        point = recover(y, 0)
        if point is not None:
            torsion = multiply(L, point)
            if multiply(4, torsion) != IDENTITY:
                return torsion
    raise AssertionError


SECRET = int.from_bytes(hashlib.sha512(b"crewgate edge cases").digest(), "little") % L
NONCE = int.from_bytes(hashlib.sha512(b"crewgate edge nonce").digest(), "little") % L
EIGHT = order_eight()
TWO = multiply(4, EIGHT)
A = multiply(SECRET, BASE)
R = multiply(NONCE, BASE)


def signed(
    name: str, a: bytes, r: bytes, s: int, *, good: bool, message: bytes = MESSAGE
) -> Signature:
    """A case from its three parts."""
    return Signature(name, a, r + scalar(s), message, good)


def honest(a: bytes, r: bytes, message: bytes = MESSAGE) -> int:
    """S for the honest secret and nonce, whatever A and R were sent."""
    return (NONCE + challenge(r, a, message) * SECRET) % L


def mixed(*, exact: bool) -> Signature:
    """A and R with a part of order 8, that meets the equation exactly or only times 8."""
    a = encode(add(A, EIGHT))
    for count in range(1000):
        message = MESSAGE + count.to_bytes(2, "big")
        r = encode(add(R, multiply(7, EIGHT)))
        h = challenge(r, a, message)
        # Exact: the torsion parts cancel, 7 + h = 0 modulo 8. libsodium accepts that as a
        # signature; `is_valid_point` refuses such a key when it is loaded.
        if (h % 8 == 1) == exact:
            name = "mixed order, exact" if exact else "mixed order, only with the cofactor"
            return signed(name, a, r, honest(a, r, message), good=exact, message=message)
    raise AssertionError


def signatures() -> Iterator[Signature]:
    """All signature cases."""
    a, r = encode(A), encode(R)
    s = honest(a, r)
    yield signed("good", a, r, s, good=True)
    empty = honest(a, r, b"")
    yield signed("good, empty message", a, r, empty, good=True, message=b"")
    yield signed("another message", a, r, s, good=False, message=b"Crewgate")
    yield signed("another key", encode(multiply(2, A)), r, s, good=False)
    yield signed("S + L", a, r, s + L, good=False)
    yield signed("S with a high bit", a, r, s | 1 << 255, good=False)
    yield mixed(exact=True)
    yield mixed(exact=False)
    yield signed("A is the identity", encode(IDENTITY), r, NONCE, good=False)
    yield signed("A is a non-canonical identity", raw(P + 1, 0), r, NONCE, good=False)
    yield signed("A is the identity with a sign", raw(1, 1), r, NONCE, good=False)
    yield low_order_a()
    for name, encoded in (
        ("R is the identity", encode(IDENTITY)),
        ("R is a non-canonical identity", raw(P + 1, 0)),
    ):
        h = challenge(encoded, a, MESSAGE)
        yield signed(name, a, encoded, h * SECRET % L, good=False)
    yield signed(
        "A and R are the identity, S is 0", encode(IDENTITY), encode(IDENTITY), 0, good=False
    )
    yield signed("A is off the curve", off_curve(), r, s, good=False)


def low_order_a() -> Signature:
    """A of order 8 and h a multiple of 8: the equation holds without any secret."""
    a, r = encode(EIGHT), encode(R)
    for count in range(1000):
        message = MESSAGE + count.to_bytes(2, "big")
        if challenge(r, a, message) % 8 == 0:
            return signed("A has order 8", a, r, NONCE, good=False, message=message)
    raise AssertionError


def off_curve() -> bytes:
    """An encoding that is no point."""
    return raw(next(y for y in range(2, 100) if recover(y, 0) is None), 0)


def points() -> Iterator[Encoding]:
    """All key cases."""
    yield Encoding("key: good", encode(A), good=True)
    yield Encoding("key: identity", encode(IDENTITY), good=False)
    yield Encoding("key: non-canonical identity", raw(P + 1, 0), good=False)
    yield Encoding("key: order 8", encode(EIGHT), good=False)
    yield Encoding("key: mixed order", encode(add(A, EIGHT)), good=False)
    # libsodium before 1.0.20-stable of December 2025 accepts it (CVE-2025-69277).
    yield Encoding("key: mixed order, with a part of order 2", encode(add(A, TWO)), good=False)
    yield Encoding("key: off the curve", off_curve(), good=False)
    yield Encoding("key: non-canonical", non_canonical(), good=False)


def non_canonical() -> bytes:
    """The encoding of y + p for a point that is not of small order."""
    for y in range(2, 19):
        point = recover(y, 0)
        if point is not None and multiply(8, point) != IDENTITY:
            return raw(y + P, 0)
    raise AssertionError


def as_json() -> str:
    """The readable list of cases and expected answers."""
    cases = {
        "signatures": [
            {
                "name": c.name,
                "public": c.public.hex(),
                "signature": c.signature.hex(),
                "message": c.message.hex(),
                "good": c.good,
            }
            for c in signatures()
        ],
        "points": [{"name": c.name, "public": c.public.hex(), "good": c.good} for c in points()],
    }
    return json.dumps(cases, indent=1) + "\n"


def as_header() -> str:
    """The same cases as C."""
    lines = [
        "/* Generated by tests/vectors/ed25519_edges.py: do not edit. */",
        "#ifndef CREWGATE_ED25519_EDGES_H",
        "#define CREWGATE_ED25519_EDGES_H",
        "",
        "#include <stddef.h>",
        "",
        "typedef struct {",
        "    const char *name;",
        "    const unsigned char *public, *joined;",
        "    size_t size;",
        "    int good;",
        "} edge_signature;",
        "",
        "typedef struct {",
        "    const char *name;",
        "    const unsigned char *public;",
        "    int good;",
        "} edge_point;",
        "",
        "static const edge_signature EDGE_SIGNATURES[] = {",
    ]
    for case in signatures():
        joined = case.signature + case.message
        lines += [
            f'    {{"{case.name}",',
            *literal(case.public),
            *literal(joined),
            f"     {len(joined)}, {int(case.good)}}},",
        ]
    lines += ["};", "", "static const edge_point EDGE_POINTS[] = {"]
    for point in points():
        lines += [f'    {{"{point.name}",', *literal(point.public), f"     {int(point.good)}}},"]
    lines += [
        "};",
        "",
        "#define EDGE_SIGNATURE_COUNT (sizeof(EDGE_SIGNATURES) / sizeof(EDGE_SIGNATURES[0]))",
        "#define EDGE_POINT_COUNT (sizeof(EDGE_POINTS) / sizeof(EDGE_POINTS[0]))",
        "",
        "#endif",
    ]
    return "\n".join(lines) + "\n"


def literal(data: bytes) -> list[str]:
    """Lines of a C string literal; every byte escaped, so that none runs into the next."""
    pieces = [data[i : i + 16] for i in range(0, len(data), 16)]
    lines = ["".join(f"\\{byte:03o}" for byte in piece) for piece in pieces]
    lines = [f'         "{line}"' for line in lines]
    return ["     (const unsigned char *)", *lines[:-1], lines[-1] + ","]


if __name__ == "__main__":
    JSON_FILE.write_text(as_json())
    HEADER_FILE.write_text(as_header())
