"""One browser without a screen: it opens the page of a link, and reads the stream in a thread."""

import hashlib
import secrets
import threading
import time
from contextlib import suppress
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

SECONDS = 60.0  # without any byte of the page
TREE = b"event: tree\n"


class Browser:
    """Counts the events of the tree, and all bytes of the stream."""

    def __init__(self, url: str, code: str) -> None:
        self.updates = self.bytes = 0
        self.trouble = ""
        self._url, self._nonce = url, ""
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._jwk: dict[str, Any] = ECAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        self._client = httpx.Client(base_url=url, timeout=SECONDS, trust_env=False)
        body = httpx.Request("POST", url, json={"key": self._jwk, "code": code}).content
        fields = {"origin": url, "content-type": "application/json"}
        while (answer := self._ask(fields, body)).status_code != httpx.codes.OK:
            if answer.headers.get("dpop-nonce") == self._nonce:
                why = f"bench: the page refuses the code: {answer.text}; start the bench again"
                raise SystemExit(why)
            self._nonce = answer.headers["dpop-nonce"]
        self._nonce = answer.headers["dpop-nonce"]
        threading.Thread(target=self._read, daemon=True).start()

    def _ask(self, fields: dict[str, str], body: bytes) -> httpx.Response:
        proof = self._proof("POST", "/api/session", body)
        return self._client.post("/api/session", content=body, headers={**fields, "dpop": proof})

    def _proof(self, method: str, path: str, body: bytes = b"") -> str:
        claims = {
            "jti": secrets.token_urlsafe(), "htm": method, "htu": self._url + path,
            "iat": int(time.time()), "nonce": self._nonce,
        }  # fmt: skip
        if body:
            digest = hashlib.sha256(body).digest()
            claims["bh"] = jwt.utils.base64url_encode(digest).decode()
        headers = {"typ": "dpop+jwt", "jwk": self._jwk}
        return jwt.encode(claims, self._key, "ES256", headers=headers)

    def _read(self) -> None:
        headers = {"dpop": self._proof("GET", "/api/live")}
        # The page ends before the browser.
        with (
            suppress(httpx.TransportError),
            self._client.stream("GET", "/api/live", headers=headers) as stream,
        ):
            if stream.status_code != httpx.codes.OK:
                self.trouble = f"it answers {stream.status_code}: {stream.read()!r}"
                return
            last = b""
            for data in stream.iter_raw():
                self.bytes += len(data)
                self.updates += (last + data).count(TREE) - last.count(TREE)
                last = data[-len(TREE) :]
