"""An MCP client for the conformance suite: it gets a token for its key, and uses `crewgate.mcp`.

Only tests need the first half, which is OAuth (RFC 8414, RFC 7591, RFC 7636, RFC 9449, RFC 9728):
an orchestrator mints the tokens of Crewgate. The suite calls this file with the URL of its server.
"""

import hashlib
import re
import secrets
import sys
import time
import uuid
from urllib.parse import parse_qs, urlsplit

import anyio
import httpx
import jwt

from crewgate.issuer import ProofKey
from crewgate.issuer.bindings import base64url
from crewgate.mcp import client

REDIRECT = "http://localhost:9/callback"


def token_for(url: str, key: ProofKey) -> str:
    """Return an access token that is bound to the key."""
    with httpx.Client(trust_env=False) as http:
        challenge = http.post(url, json={}).headers["www-authenticate"]
        found = re.search(r'resource_metadata="([^"]+)"', challenge)
        assert found, challenge
        resource = http.get(found[1]).json()
        issuer = urlsplit(resource["authorization_servers"][0])
        well_known = f"/.well-known/oauth-authorization-server{issuer.path.rstrip('/')}"
        server = http.get(issuer._replace(path=well_known).geturl()).json()
        assert "ES256" in server["dpop_signing_alg_values_supported"]
        asked = {"redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none"}
        own = http.post(server["registration_endpoint"], json=asked).json()
        verifier = secrets.token_urlsafe(32)
        query = {
            "response_type": "code",
            "client_id": own["client_id"],
            "redirect_uri": REDIRECT,
            "code_challenge": base64url(hashlib.sha256(verifier.encode()).digest()),
            "code_challenge_method": "S256",
            "resource": resource["resource"],
            "state": "s",
        }
        moved = http.get(server["authorization_endpoint"], params=query).headers["location"]
        form = {
            "grant_type": "authorization_code",
            "code": parse_qs(urlsplit(moved).query)["code"][0],
            "client_id": own["client_id"],
            "redirect_uri": REDIRECT,
            "code_verifier": verifier,
            "resource": resource["resource"],
        }
        endpoint, nonce = server["token_endpoint"], ""
        while True:
            headers = {"dpop": _proof(key, endpoint, nonce)}
            answer = http.post(endpoint, data=form, headers=headers)
            if nonce or answer.json().get("error") != "use_dpop_nonce":
                break
            nonce = answer.headers["dpop-nonce"]
        assert answer.json()["token_type"] == "DPoP", answer.text
        return str(answer.json()["access_token"])


def _proof(key: ProofKey, endpoint: str, nonce: str) -> str:
    """A proof for a request without a token (RFC 9449, section 5), which `ProofKey` never makes."""
    claims = {"jti": str(uuid.uuid4()), "htm": "POST", "htu": endpoint, "iat": int(time.time())}
    if nonce:
        claims["nonce"] = nonce
    x = base64url(key._private.public_key().public_bytes_raw())
    headers = {"typ": "dpop+jwt", "jwk": {"kty": "OKP", "crv": "Ed25519", "x": x}}
    return jwt.encode(claims, key._private, algorithm="EdDSA", headers=headers)


async def main(url: str) -> None:
    """Use the server, with a proof for each request."""
    key = ProofKey.generate()
    token = token_for(url, key)
    async with client(lambda: token, url, key=key) as session:
        await session.list_tools()


if __name__ == "__main__":
    anyio.run(main, sys.argv[1])
