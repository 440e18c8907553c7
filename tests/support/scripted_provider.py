"""An OpenID provider on loopback that answers what a test wants; its keys are in this process."""

import base64
import hashlib
import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from identity_provider_world import id_token, jwks
from tls_listener import write_certificate

CLIENT = "crewgate"


class ScriptedProvider(ThreadingHTTPServer):
    """Its metadata, ID tokens and answers have the changes that a test makes.

    It answers nothing while `may_answer` is not set. `token` replaces the whole ID token, `answer`
    the answer of the token endpoint. `forms` are what that endpoint got, with the field
    Authorization of each.
    """

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        certificate, key = write_certificate(folder)
        super().__init__(("127.0.0.1", 0), _Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.root = certificate
        self.issuer = f"https://localhost:{self.server_port}"
        self.metadata: dict[str, Any] = {}
        self.claims: dict[str, Any] = {}
        self.header: dict[str, Any] = {}
        self.kid = "rsa-1"
        self.token: str | None = None
        self.answer: tuple[int, bytes] | None = None
        self.redirect = ""
        self.forms: list[tuple[dict[str, str], str]] = []
        self.is_asked, self.may_answer = threading.Event(), threading.Event()
        self.may_answer.set()
        self._asked: dict[str, dict[str, str]] = {}  # by code
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def tables(self) -> str:
        """The tables of a configuration of the page."""
        return (
            f'[ui.login]\nissuer = "{self.issuer}"\nclient_id = "{CLIENT}"\nca = "{self.root}"\n'
            '[ui.access.oncall]\ngroups = ["sre"]\nrights = ["operate"]\n'
            '[ui.access.ada]\npeople = ["ada"]\ncrews = ["article"]\n'
        )

    def consent(self, url: str, **changes: str | None) -> str:
        """The place to which it sends a browser; a change to None leaves a parameter out."""
        query = {name: value for name, (value,) in parse_qs(urlsplit(url).query).items()}
        code = f"code-{len(self._asked)}"
        self._asked[code] = query
        sent = {"code": code, "state": query["state"], "iss": self.issuer, **changes}
        given = {name: value for name, value in sent.items() if value is not None}
        return f"{query['redirect_uri']}?{urlencode(given)}"

    def token_of(self, form: dict[str, str]) -> str:
        """The ID token for a code, if the verifier is that of who has asked (RFC 7636)."""
        asked = self._asked.pop(form["code"])
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        assert (asked["code_challenge_method"], asked["code_challenge"]) == ("S256", challenge)
        assert form["redirect_uri"] == asked["redirect_uri"]
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": CLIENT,
            "iat": now,
            "exp": now + 300,
            "nonce": asked["nonce"],
            **self.claims,
        }
        return self.token or id_token(self.kid, header=self.header, **claims)

    def document(self) -> dict[str, Any]:
        """The metadata."""
        found = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize?tenant=1",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            "code_challenge_methods_supported": ["S256"],
            **self.metadata,
        }
        return {name: value for name, value in found.items() if value is not None}


class _Handler(BaseHTTPRequestHandler):
    server: ScriptedProvider

    def do_GET(self) -> None:
        provider = self.server
        provider.is_asked.set()
        provider.may_answer.wait()
        if provider.redirect:
            self.send_response(302)
            self.send_header("location", provider.redirect)
            self.end_headers()
        elif self.path == "/.well-known/openid-configuration":
            self._send(200, json.dumps(provider.document()).encode())
        else:
            self._send(200, jwks())

    def do_POST(self) -> None:
        provider = self.server
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        form = {name: value for name, (value,) in parse_qs(body, strict_parsing=True).items()}
        provider.forms.append((form, self.headers.get("authorization", "")))
        if provider.answer is not None:
            self._send(*provider.answer)
            return
        answer = {"access_token": "unused", "token_type": "Bearer"}
        self._send(200, json.dumps({**answer, "id_token": provider.token_of(form)}).encode())

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Write no log."""


@contextmanager
def scripted_provider(folder: Path) -> Iterator[ScriptedProvider]:
    """One that serves until the block ends."""
    provider = ScriptedProvider(folder)
    try:
        yield provider
    finally:
        provider.shutdown()
        provider.server_close()
