"""Tries an installed Crewgate on the machine for which its wheel was built.

The library half is enough, and no other file of the project is needed. It makes a key and a token
with PyNaCl, spends the credits of the token, and revokes its branch.
"""

import base64
import json
import platform
import sysconfig
import time
import uuid

from nacl.signing import SigningKey

import crewgate
from crewgate import Denial, Permit, Reason, Verifier
from crewgate._native import gate

AUDIENCE = "https://tools.example"
ISSUER = "https://orchestrator.example"


def base64url(data: bytes) -> str:
    """Return base64url without padding, as a JWT has it."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def mint(key: SigningKey, *, quota: int) -> str:
    """Return the token of a new branch, which may spend `quota` micro-credits."""
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "article/test-1",
        "client_id": "article/test-1",
        "iat": now,
        "exp": now + 900,
        "jti": str(uuid.uuid4()),
        "crew": "article",
        "process_id": "test",
        "agent_role": "tester",
        "execution_branch_id": str(uuid.uuid4()),
        "allowed_tools": ["search.*"],
        "credit_quota": quota,
        "branch_path": [],
    }
    header = {"alg": "EdDSA", "typ": "at+jwt", "kid": "test-1"}
    signed = ".".join(base64url(json.dumps(part).encode()) for part in (header, claims))
    return f"{signed}.{base64url(key.sign(signed.encode()).signature)}"


def main() -> None:
    """Expect two permits and a denial of a token that pays for two calls, and a revocation."""
    key = SigningKey.generate()
    public = {"kty": "OKP", "crv": "Ed25519", "kid": "test-1", "alg": "EdDSA", "use": "sig"}
    public["x"] = base64url(bytes(key.verify_key))
    crew = {"issuer": ISSUER, "keys": {"keys": [public]}, "tools": ["search.*"]}
    with Verifier.standalone(
        audience=AUDIENCE, tools={"search.web": "0.01"}, crews={"article": crew}
    ) as verifier:
        token = mint(key, quota=20_000)
        verdicts = [verifier.decide(token, "search.web") for _ in range(3)]
        assert [type(verdict) for verdict in verdicts] == [Permit, Permit, Denial], verdicts
        assert verdicts[2].reason is Reason.CREDITS_EXHAUSTED
        other = mint(key, quota=20_000)
        permit = verifier.decide(other, "search.web")
        verifier.revoke(permit.grant.branch)
        assert permit.revoked
        denial = verifier.decide(other, "search.web")
        assert isinstance(denial, Denial), denial
    print(
        f"crewgate {crewgate.__version__} works with Python {platform.python_version()} "
        f"on {sysconfig.get_platform()}, from {gate.__file__}"
    )


if __name__ == "__main__":
    main()
