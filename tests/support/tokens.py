"""Tokens for tests, made by hand: the example of the design, and whatever hostile form is wanted.

Not the issuer's code: what refuses a token is not tested with what mints it.
"""

import base64
import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw()

HEADER: dict[str, Any] = {"alg": "EdDSA", "typ": "at+jwt", "kid": "article-1"}
ROOT = "0199c1d2-0000-7000-8000-000000000001"
PARENT = "0199c1d2-0000-7000-8000-000000000002"
BRANCH = "0199c1d2-0000-7000-8000-000000000003"
CLAIMS: dict[str, Any] = {
    "iss": "https://orchestrator.example",
    "aud": "https://gateway.example",
    "sub": "user_414",
    "client_id": "article/article-1",
    "iat": 1_800_000_000,
    "exp": 1_800_000_900,
    "jti": "0199c1d2-aaaa-7000-8000-00000000000a",
    "crew": "article",
    "process_id": "pid_7729",
    "agent_role": "researcher",
    "execution_branch_id": BRANCH,
    "allowed_tools": ["search.*", "embeddings.create"],
    "credit_quota": 2_500_000,
    "branch_path": [
        {"id": ROOT, "credit_quota": 10_000_000, "iat": 1_800_000_000},
        {"id": PARENT, "credit_quota": 5_000_000, "iat": 1_800_000_000},
    ],
}


def base64url(data: bytes) -> bytes:
    """Canonical base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def compact(value: object) -> bytes:
    """JSON as an encoder of JWTs writes it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def payload(**changes: object) -> bytes:
    """The example's payload with some claims changed; `...` leaves one out."""
    claims = {**CLAIMS, **changes}
    return compact({name: value for name, value in claims.items() if value is not ...})


def with_raw(name: str, raw: str) -> bytes:
    """The example's payload with one claim as raw JSON text, first of all members."""
    rest = compact({key: value for key, value in CLAIMS.items() if key != name})
    return b'{"' + name.encode() + b'":' + raw.encode() + b"," + rest[1:]


def sign(header: bytes, body: bytes, *, key: Ed25519PrivateKey = KEY) -> bytes:
    """A compact JWS over any two byte strings."""
    signing_input = base64url(header) + b"." + base64url(body)
    return signing_input + b"." + base64url(key.sign(signing_input))


def token(header: dict[str, Any] | None = None, **changes: object) -> bytes:
    """The example token, with another header or some claims changed."""
    return sign(compact(HEADER if header is None else header), payload(**changes))
