"""Clients that prove the key of their token (RFC 9449): npm's `dpop`, and the hooks."""

import asyncio
import json
import ssl
import subprocess
from pathlib import Path

import httpx
import httpx2
import pytest
import requests
from client_gateway import EVENTS, PAGE, UPLOAD, ClientWorld, received
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from npm_programs import needs_npm, run_module

from crewgate.issuer import ProofKey, aiohttp_auth, httpx2_auth, httpx_auth, requests_auth

NODE = """
import { createPrivateKey, createPublicKey } from "node:crypto";
import { readFileSync } from "node:fs";
import * as DPoP from "dpop";
const { URL_: url, TOKEN: token, KEY: file, KIND: kind } = process.env;
const pem = readFileSync(file);
const algorithm = kind === "ES256" ? { name: "ECDSA", namedCurve: "P-256" } : { name: "Ed25519" };
const pair = {
  privateKey: createPrivateKey(pem).toCryptoKey(algorithm, false, ["sign"]),
  publicKey: createPublicKey(pem).toCryptoKey(algorithm, true, ["verify"]),
};
let nonce;
const statuses = [];
const proof = (path, method) => DPoP.generateProof(pair, url + path, method, nonce, token);
const ask = async (path, method, dpop, body) => {
  const headers = { authorization: `DPoP ${token}`, dpop };
  const answer = await fetch(url + path + "?q=1", { method, headers, body });
  nonce = answer.headers.get("dpop-nonce") ?? nonce;
  statuses.push(answer.status);
  return answer.text();
};
await ask("/page", "GET", await proof("/page", "GET"));
const used = await proof("/page", "GET");
const page = await ask("/page", "GET", used);
const replayed = JSON.parse(await ask("/page", "GET", used)).type;
const wrong = JSON.parse(await ask("/upload", "POST", await proof("/page", "POST"), "x")).type;
const upload = JSON.parse(await ask("/upload", "POST", await proof("/upload", "POST"), "x"));
console.log(JSON.stringify({ page, replayed, wrong, upload, statuses, nonce }));
"""


class BoundWorld:
    """The gateway, and a token that is bound to a key in a file."""

    def __init__(
        self, world: ClientWorld, folder: Path, private: object, tools: str = "client.*"
    ) -> None:
        self.url = world.url
        self.ca = world.ca
        self.key = folder / "client.key"
        form = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        self.key.write_bytes(private.private_bytes(*form))  # type: ignore[attr-defined]
        self.key.chmod(0o600)
        arguments = ("--crew", "article", "--role", "tester", "--tools", tools)
        minted = world.premises.run("mint", *arguments, "--credits", "5", "--key", str(self.key))
        self.token = minted.strip()
        self.file = folder / "token"
        self.file.write_text(self.token)


@pytest.fixture
def bound(world: ClientWorld, tmp_path: Path) -> BoundWorld:
    return BoundWorld(world, tmp_path, Ed25519PrivateKey.generate())


@needs_npm
@pytest.mark.parametrize("kind", ["ES256", "Ed25519"])
def test_an_independent_client(world: ClientWorld, kind: str, tmp_path: Path) -> None:
    """A new table asks for a nonce first; later proofs need none, and are good once."""
    private = generate_private_key(SECP256R1()) if kind == "ES256" else Ed25519PrivateKey.generate()
    bound = BoundWorld(world, tmp_path, private)
    environment = {
        "URL_": bound.url,
        "TOKEN": bound.token,
        "KEY": str(bound.key),
        "KIND": kind,
        "NODE_EXTRA_CA_CERTS": str(bound.ca),
    }
    done = run_module(NODE, folder=tmp_path, environment=environment)
    assert not done.returncode, done.stderr
    found = json.loads(done.stdout)
    assert found["statuses"][0] in {200, 401}  # 401: the table is new, and wants a nonce
    assert (found["statuses"][0] == 401) == ("nonce" in found)
    assert found["statuses"][1:] == [200, 401, 401, 200]
    assert found["page"].encode() == PAGE
    assert found["replayed"].endswith("/proof-replayed")
    assert found["wrong"].endswith("/invalid-proof")
    assert found["upload"] == received(b"x")


@pytest.mark.parametrize("http2", [False, True], ids=["http1", "http2"])
def test_httpx(bound: BoundWorld, http2: bool) -> None:
    """The hook gets the nonce that a new table wants, and each request has a proof of its own."""
    context = ssl.create_default_context(cafile=str(bound.ca))
    auth = httpx_auth.TokenAuth(bound.file, key=ProofKey.load(bound.key))
    with httpx.Client(
        base_url=bound.url, verify=context, http2=http2, auth=auth, trust_env=False
    ) as client:
        assert client.get("/page?q=a b&c=%20d").content == PAGE
        assert client.post("/upload", content=UPLOAD).json() == received(UPLOAD)
        with client.stream("GET", "/events") as answer:
            assert b"".join(answer.iter_bytes()) == b"".join(EVENTS)
        client.auth = httpx_auth.TokenAuth(bound.file, key=ProofKey.generate())
        assert client.get("/page").status_code == 401
        client.auth = httpx_auth.TokenAuth(bound.file)
        assert client.get("/page").json()["type"].endswith("/invalid-proof")


def test_httpx2_and_requests(bound: BoundWorld) -> None:
    key = ProofKey.load(bound.key)
    context = ssl.create_default_context(cafile=str(bound.ca))
    hook = httpx2_auth.TokenAuth(bound.file, key=key)
    with httpx2.Client(base_url=bound.url, verify=context, auth=hook, trust_env=False) as client:
        assert client.get("/page").content == PAGE
    with requests.Session() as session:
        session.auth = requests_auth.TokenAuth(bound.file, key=key)
        session.verify, session.trust_env = str(bound.ca), False
        for _ in range(3):
            assert session.get(f"{bound.url}/page").content == PAGE
        assert session.post(f"{bound.url}/upload", data=UPLOAD).json() == received(UPLOAD)


def test_the_client_for_mcp(world: ClientWorld, otters: str, tmp_path: Path) -> None:
    """Each request of a session has a proof of its own."""
    pytest.importorskip("mcp", reason="mcp is not installed")
    from crewgate.mcp import client  # noqa: PLC0415 - it takes a second

    bound = BoundWorld(world, tmp_path, Ed25519PrivateKey.generate(), tools="otters.*")

    async def run() -> None:
        key = ProofKey.load(bound.key)
        async with client(bound.file, otters, ca=world.ca, key=key) as session:
            answer = await session.call_tool("count", {"things": "otters", "to": 3})
            assert answer.content[0].text == "3 otters"

    asyncio.run(run())


def test_aiohttp(bound: BoundWorld) -> None:
    aiohttp = pytest.importorskip("aiohttp", reason="aiohttp is not installed")

    async def run() -> None:
        hook = aiohttp_auth.TokenAuth(bound.file, key=ProofKey.load(bound.key))
        connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=str(bound.ca)))
        async with aiohttp.ClientSession(
            bound.url, connector=connector, middlewares=(hook,)
        ) as session:

            async def page() -> bytes:
                async with session.get("/page") as answer:
                    return await answer.read()

            assert await asyncio.gather(*[page() for _ in range(10)]) == [PAGE] * 10
            async with session.post("/upload", data=UPLOAD) as answer:
                assert await answer.json() == received(UPLOAD)

    asyncio.run(run())


def test_a_public_key_is_enough(world: ClientWorld, bound: BoundWorld, tmp_path: Path) -> None:
    """The orchestrator needs no private key of the client to bind a token."""
    public = tmp_path / "public.pem"
    command = ["openssl", "pkey", "-in", bound.key, "-pubout", "-out", public]
    subprocess.run(command, check=True)
    arguments = ("--crew", "article", "--role", "tester", "--tools", "client.*", "--credits", "1")
    token = world.premises.run("mint", *arguments, "--key", str(public)).strip()
    context = ssl.create_default_context(cafile=str(bound.ca))
    auth = httpx_auth.TokenAuth(lambda: token, key=ProofKey.load(bound.key))
    with httpx.Client(base_url=bound.url, verify=context, auth=auth, trust_env=False) as client:
        assert client.get("/page").content == PAGE
