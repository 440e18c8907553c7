"""A real OpenID provider on loopback, a process of its own, and a person who signs in there.

The provider is the package oidc-provider-mock: Authlib's authorization code flow over https.
"""

import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

import httpx
from tls_listener import write_certificate

CLIENT = "crew-app"
_CALLBACK = "https://app.example/callback"


class Provider(NamedTuple):
    """A running provider: its issuer, and the file of the root that signed its certificate."""

    issuer: str
    root: Path

    @property
    def table(self) -> str:
        """The provider `corp` of a configuration, by the metadata that it publishes."""
        with self._client() as client:
            found = client.get("/.well-known/openid-configuration").json()
        assert found["issuer"] == self.issuer
        return (
            f'[identity_provider.corp]\nissuer = "{self.issuer}"\naudience = ["{CLIENT}"]\n'
            f'jwks_url = "{found["jwks_uri"]}"\nca = "{self.root}"\n'
        )

    def sign_in(self, person: str, client_id: str = CLIENT) -> str:
        """The ID token of a person who signs in to an application by the code flow."""
        asked = {
            "client_id": client_id,
            "redirect_uri": _CALLBACK,
            "response_type": "code",
            "scope": "openid",
        }
        with self._client() as client:
            answer = client.post("/oauth2/authorize", params=asked, data={"sub": person})
            code = parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]
            form = {"grant_type": "authorization_code", "code": code, "redirect_uri": _CALLBACK}
            answer = client.post("/oauth2/token", data=form, auth=(client_id, "secret"))
        assert answer.status_code == 200, answer.text
        token: str = answer.json()["id_token"]
        return token

    def know(self, person: str, **claims: object) -> None:
        """Let the provider say this of a person."""
        with self._client() as client:
            answer = client.put(f"/users/{person}", json=claims)
        assert answer.status_code == 204, answer.text

    def consent(self, url: str, person: str, action: str = "allow") -> str:
        """The place to which the provider sends the browser of a person, from the URL to log in."""
        with self._client() as client:
            answer = client.post(url, data={"sub": person, "action": action})
        assert answer.status_code == 302, answer.text
        return str(answer.headers["location"])

    def _client(self) -> httpx.Client:
        context = ssl.create_default_context(cafile=self.root)
        return httpx.Client(verify=context, base_url=self.issuer, timeout=30, trust_env=False)


@contextmanager
def provider(folder: Path) -> Iterator[Provider]:
    """Run one until the block ends; its certificate is in the folder."""
    certificate, key = write_certificate(folder)
    # The package uses modules of Authlib that warn of a later version.
    command = [sys.executable, "-W", "ignore", __file__, str(certificate), str(key)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            yield Provider(f"https://localhost:{port}", certificate)
        finally:
            process.kill()


def _serve(certificate: str, key: str) -> None:
    # Authlib warns when it is imported, and warnings of a test are errors.
    import oidc_provider_mock  # noqa: PLC0415 - see above
    from werkzeug.serving import make_server  # noqa: PLC0415 - see above

    app = oidc_provider_mock.app()
    server = make_server("127.0.0.1", 0, app, threaded=True, ssl_context=(certificate, key))
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    _serve(*sys.argv[1:])
