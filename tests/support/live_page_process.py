"""The live page of a gateway, in processes of its own."""

import re
import signal
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from installation import COMMAND, Installation, Premises, wait_until
from oidc_provider import Provider

from crewgate.demo.ports import reserve

_LOGIN = """
[ui]
port = {port}
[ui.login]
issuer = "{issuer}"
client_id = "crewgate"
client_secret = "ui.secret"
ca = "{root}"
"""


def serve_page(site: Installation, identity: Provider, rest: str) -> str:
    """Give a gateway that serves a page at which people log in; the URL of the page.

    `rest` follows the keys of `[ui.login]` in the configuration.
    """
    port = reserve()
    secret = site.folder / "ui.secret"
    secret.write_text("secret\n")
    secret.chmod(0o600)
    with site.file.open("a") as file:
        file.write(_LOGIN.format(port=port, issuer=identity.issuer, root=identity.root) + rest)
    url = f"http://127.0.0.1:{port}"
    wait_until(lambda: answers(url))
    return url


@contextmanager
def foreground(site: Premises, *more: str) -> Iterator[tuple[str, str]]:
    """`crewgate ui` while the block runs: the URL of the page, and a code."""
    command = [*COMMAND, "ui", "-c", str(site.file), *more]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            process.stdout.readline()
            found = re.fullmatch(rb"(http://\S+)/#/code/(\S+)\n", process.stdout.readline())
            assert found, process.stderr and process.stderr.read()
            yield found[1].decode(), found[2].decode()
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
            assert process.stderr is not None
            assert found is None or found[2] not in process.stderr.read()


def answers(url: str, context: ssl.SSLContext | None = None) -> bool:
    """Whether a page answers at a URL, to a client with this TLS context."""
    try:
        answer = httpx.get(f"{url}/api/ways", verify=context or True, trust_env=False)
    except httpx.TransportError:
        return False
    return answer.status_code == 200
