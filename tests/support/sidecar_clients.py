"""Run behind a sidecar: calls the gateway with each client, and prints the results.

No client has a credential. The results are one JSON object: for each client a text or a number.
"""

import asyncio
import json
import os
import sys
from typing import Any

import httpx
import requests
import urllib3
from client_gateway import EVENTS, PAGE, UPLOAD, received
from requests.adapters import HTTPAdapter

SOCKET, URL = os.environ["CREWGATE_SOCKET"], os.environ["CREWGATE_GATEWAY"]


def of_httpx(*, http2: bool) -> object:
    transport = httpx.HTTPTransport(uds=SOCKET, http1=not http2, http2=http2)
    with httpx.Client(transport=transport, base_url=URL, timeout=30) as client:
        assert client.get("/page").content == PAGE
        assert client.head("/page").headers["etag"] == '"1"'
        pieces = (UPLOAD[at : at + 65_536] for at in range(0, len(UPLOAD), 65_536))
        assert client.post("/upload", content=pieces).json() == received(UPLOAD)
        with client.stream("GET", "/events") as answer:
            assert b"".join(answer.iter_bytes()) == b"".join(EVENTS)
        # Whatever a program sends as a credential is replaced.
        mine = {"authorization": "Bearer mine", "dpop": "mine", "x-api-key": "mine"}
        page = client.get("/page", headers=mine)
        return f"{page.http_version} {page.status_code}"


async def of_httpx2() -> object:
    import httpx2  # noqa: PLC0415 - each client on its own

    transport = httpx2.AsyncHTTPTransport(uds=SOCKET)
    async with httpx2.AsyncClient(transport=transport, base_url=URL, timeout=30) as client:
        pages = await asyncio.gather(*[client.get("/page") for _ in range(20)])
        assert {page.content for page in pages} == {PAGE}
        return (await client.post("/upload", content=UPLOAD)).json()["bytes"]


async def of_aiohttp() -> object:
    import aiohttp  # noqa: PLC0415 - each client on its own

    connector = aiohttp.UnixConnector(SOCKET)
    async with aiohttp.ClientSession(URL, connector=connector) as session:
        async with session.get("/page") as answer:
            assert await answer.read() == PAGE
        async with session.post("/upload", data=UPLOAD, expect100=True) as answer:
            return (await answer.json())["bytes"]


class _Connection(urllib3.connection.HTTPConnection):
    def connect(self) -> None:
        import socket  # noqa: PLC0415 - the only use

        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(SOCKET)


class _Pool(urllib3.connectionpool.HTTPConnectionPool):
    ConnectionCls = _Connection


class _Adapter(HTTPAdapter):
    def get_connection_with_tls_context(self, *_: Any, **__: Any) -> _Pool:
        return _Pool("localhost")


def of_requests() -> object:
    with requests.Session() as session:
        session.mount("http://", _Adapter())
        assert session.get(f"{URL}/page", timeout=30).content == PAGE
        return session.post(f"{URL}/upload", data=UPLOAD, timeout=30).json()["bytes"]


def of_sdk(name: str, kind: str) -> object:
    """OpenAI's or Anthropic's: each sends a key of its own, which is replaced."""
    import httpx2  # noqa: PLC0415 - each client on its own

    module = __import__(name)
    http = httpx2.Client(transport=httpx2.HTTPTransport(uds=SOCKET), timeout=30)
    with getattr(module, kind)(api_key="none", base_url=URL, http_client=http) as client:
        return sorted(client.post("/upload", body={"model": "m"}, cast_to=object))


async def of_mcp() -> object:
    from crewgate.mcp import client  # noqa: PLC0415 - each client on its own

    async with client(lambda: "a.b.c", f"{URL}/mcp/otters", socket=SOCKET) as session:
        answer = await session.call_tool("count", {"things": "otters", "to": 1})
        return answer.content[0].text


def of_grpc() -> object:
    import grpc  # noqa: PLC0415 - each client on its own

    with grpc.insecure_channel(f"unix:{SOCKET}") as channel:
        answer, call = channel.unary_unary("/echo.Echo/Unary").with_call(b"hello", timeout=30)
        assert answer == b"hello"
        several = channel.stream_stream("/echo.Echo/Chat")(iter([b"a", b"b"]), timeout=30)
        assert list(several) == [b"a", b"b"]
        return dict(call.trailing_metadata())["x-role"]


CLIENTS = {
    "httpx over HTTP/1.1": lambda: of_httpx(http2=False),
    "httpx over HTTP/2": lambda: of_httpx(http2=True),
    "httpx2": lambda: asyncio.run(of_httpx2()),
    "aiohttp": lambda: asyncio.run(of_aiohttp()),
    "requests": of_requests,
    "openai": lambda: of_sdk("openai", "OpenAI"),
    "anthropic": lambda: of_sdk("anthropic", "Anthropic"),
    "mcp": lambda: asyncio.run(of_mcp()),
    "grpc": of_grpc,
}


def main() -> None:
    """Call with each of them; an error is a result too."""
    results: dict[str, object] = {}
    for name, call in CLIENTS.items():
        try:
            results[name] = call()
        except Exception as error:  # noqa: BLE001 - the test shows it
            results[name] = f"{type(error).__name__}: {error}"
    sys.stdout.write(json.dumps(results))


if __name__ == "__main__":
    main()
