"""A browser of the live page without a screen: a key, cookies, and proofs, good ones or others."""

import hashlib
import json
import secrets
from typing import Any
from urllib.parse import urlsplit

import httpx
import jwt
import trio
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from tokens import base64url


class BrowserKey:
    """The key of a browser, which makes proofs."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.jwk: dict[str, Any] = ECAlgorithm.to_jwk(self._key.public_key(), as_dict=True)

    def proof(
        self, method: str, url: str, body: bytes, nonce: str, header: Any = None, **changes: Any
    ) -> str:
        """A proof of a request; a change to None leaves a claim out."""
        claims = {
            "jti": secrets.token_urlsafe(16),
            "htm": method,
            "htu": url,
            "iat": 1,
            "nonce": nonce,
            "bh": base64url(hashlib.sha256(body).digest()).decode() if body else None,
            **changes,
        }
        given = {name: value for name, value in claims.items() if value is not None}
        headers = {"typ": "dpop+jwt", "jwk": self.jwk, **(header or {})}
        return jwt.encode(given, self._key, "ES256", headers=headers)


class PageBrowser:
    """Sends requests as the page does, over `client`, whose base URL is that of the page."""

    def __init__(self, client: httpx.AsyncClient, key: BrowserKey | None = None) -> None:
        self.client = client
        self.key = key or BrowserKey()
        self.nonce = "none yet"
        self.url = str(client.base_url).rstrip("/")

    async def ask(self, method: str, path: str, body: Any = None, **how: Any) -> httpx.Response:
        """A request with a proof; after a new nonce it is sent again, as the page does."""
        answer = await self.once(method, path, body, **how)
        if answer.status_code == 401 and "proof" not in how and self._has_new_nonce(answer):
            answer = await self.once(method, path, body, **how)
        return answer

    def _has_new_nonce(self, answer: httpx.Response) -> bool:
        proof = answer.request.headers.get("dpop")
        used = proof and jwt.decode(proof, options={"verify_signature": False})["nonce"]
        return bool(used != self.nonce)

    async def once(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        proof: str | None = "",
        headers: dict[str, str | None] | None = None,
        **options: Any,
    ) -> httpx.Response:
        """A request with this proof, an own one, or none; a header that is None is left out."""
        data = (
            b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        )
        sent: dict[str, str | None] = {"sec-fetch-site": "same-origin"}
        if method != "GET":
            sent["origin"] = self.url
        if data:
            sent["content-type"] = "application/json"
        if proof is not None:
            sent["dpop"] = proof or self.proof(method, path, data)
        sent |= headers or {}
        given = {name: value for name, value in sent.items() if value is not None}
        answer = await self.client.request(method, path, content=data, headers=given, **options)
        self.nonce = answer.headers.get("dpop-nonce", self.nonce)
        return answer

    def proof(self, method: str, path: str, body: bytes = b"", **changes: Any) -> str:
        """A good proof of a request, but for the changes of its claims."""
        url = self.url + path.partition("?")[0]
        return self.key.proof(method, url, body, changes.pop("nonce", self.nonce), **changes)

    async def open_link(self, code: str) -> httpx.Response:
        """Begin a session with the code of a link."""
        return await self.ask("POST", "/api/session", {"key": self.key.jwk, "code": code})

    async def log_in(self, *, patient: bool = False) -> str:
        """Begin a login; the URL of the provider. `patient`: wait for the rate of the network."""
        answer = await self.ask("POST", "/api/login", {"key": self.key.jwk})
        while patient and answer.status_code == 429:
            await trio.sleep(int(answer.headers["retry-after"]))
            answer = await self.ask("POST", "/api/login", {"key": self.key.jwk})
        assert answer.status_code == 200, answer.text
        url: str = answer.json()["url"]
        return url

    async def come_back(self, location: str) -> httpx.Response:
        """Follow the provider's redirect, as a navigation from another site."""
        parts = urlsplit(location)
        headers = {
            "sec-fetch-site": "cross-site",
            "sec-fetch-mode": "navigate",
            "sec-fetch-dest": "document",
        }
        return await self.client.get(f"{parts.path}?{parts.query}", headers=headers)
