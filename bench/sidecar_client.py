"""`python -m bench.sidecar_client CONTROL`: a client behind a sidecar, for another process.

The other process sends one line of JSON to the socket CONTROL, and then a line for each batch: a
kind of call, and how many. The client answers each batch with one byte.
"""

import json
import os
import socket
import ssl
import sys
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench.hop.client import connect, context
from bench.hop.upstream import BODY
from bench.sidecar import BEARER, PROVEN, SIDECAR
from crewgate.issuer import ProofKey
from crewgate.issuer.token_schemes import DPoPScheme

HEAD = (
    "POST /search HTTP/1.1\r\nhost: {}\r\n{}content-type: application/json\r\n"
    "content-length: 2\r\n\r\n{{}}"
)
RECEIVE_BYTES = 65_536
Fields = Callable[[], str]


class Caller:
    """Makes calls of one kind over one connection."""

    def __init__(
        self, connection: socket.socket | ssl.SSLSocket, host: str, fields: Fields
    ) -> None:
        connection.settimeout(10)
        self._connection = connection
        self._host = host
        self._fields = fields

    def call(self) -> bytes:
        """Make one call, and return the answer."""
        self._connection.sendall(HEAD.format(self._host, self._fields()).encode())
        answer = self._connection.recv(RECEIVE_BYTES)
        if not answer.startswith(b"HTTP/1.1 200 "):
            return answer
        while not answer.endswith(BODY):
            answer += self._connection.recv(RECEIVE_BYTES)
        return answer


def callers(setting: dict[str, object]) -> dict[str, Caller]:
    """Connect once for each kind of call."""
    port, tokens = int(str(setting["port"])), setting["tokens"]
    assert isinstance(tokens, dict)
    private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(str(setting["seed"])))
    scheme = DPoPScheme(ProofKey(private))

    def proven() -> str:
        shown = scheme.fields(tokens[PROVEN], "POST", f"https://localhost:{port}/search")
        return "".join(f"{name}: {value}\r\n" for name, value in shown.items())

    host = f"localhost:{port}"
    local = socket.socket(socket.AF_UNIX)
    local.connect(os.environ["CREWGATE_SOCKET"])
    found = {
        BEARER: Caller(
            connect(port, context("http/1.1")),
            host,
            lambda: f"authorization: Bearer {tokens[BEARER]}\r\n",
        ),
        PROVEN: Caller(connect(port, context("http/1.1")), host, proven),
        SIDECAR: Caller(local, host, lambda: ""),
    }
    _take_nonce(found[PROVEN], scheme, f"https://localhost:{port}/search")
    return found


def _take_nonce(caller: Caller, scheme: DPoPScheme, url: str) -> None:
    """Call once: the gateway may want a nonce."""
    head = caller.call().partition(b"\r\n\r\n")[0].decode()
    lines = [line.partition(": ") for line in head.split("\r\n")[1:]]
    names = {"dpop-nonce": "DPoP-Nonce", "www-authenticate": "WWW-Authenticate"}
    fields = {names.get(name, name): value for name, _, value in lines}
    scheme.take_nonce(url, int(head.split()[1]), fields)


def main(path: str) -> None:
    """Make batches of calls until the other side closes."""
    with socket.socket(socket.AF_UNIX) as control:
        control.connect(path)
        lines = control.makefile()
        found = callers(json.loads(lines.readline()))
        for line in lines:
            kind, _, count = line.rpartition(" ")
            for _ in range(int(count)):
                answer = found[kind].call()
                if not answer.startswith(b"HTTP/1.1 200 "):
                    sys.exit(f"bench: about to measure a refusal: {answer[-300:]!r}")
            control.sendall(b"+")


if __name__ == "__main__":
    main(sys.argv[1])
