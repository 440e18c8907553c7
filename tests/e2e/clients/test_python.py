"""httpx, httpx2, requests and aiohttp, stock; each presents a token file by its hook."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import httpx2
import pytest
import requests
from client_gateway import EVENTS, PAGE, UPLOAD, ClientWorld, received

from crewgate.errors import IssuerError
from crewgate.issuer import aiohttp_auth, httpx2_auth, httpx_auth, requests_auth


@pytest.fixture
def file(world: ClientWorld, tmp_path: Path) -> Path:
    """The token, where an orchestrator would keep it."""
    path = tmp_path / "token"
    path.write_text(world.token)
    return path


@pytest.mark.parametrize("http2", [False, True], ids=["http1", "http2"])
def test_httpx(world: ClientWorld, http2: bool) -> None:
    """Pages, HEAD, uploads whole and in pieces, and a stream, over one connection."""
    context = ssl.create_default_context(cafile=str(world.ca))

    def pieces() -> Iterator[bytes]:
        for at in range(0, len(UPLOAD), 65_536):
            yield UPLOAD[at : at + 65_536]

    with httpx.Client(
        base_url=world.url,
        verify=context,
        http1=not http2,
        http2=http2,
        headers={"authorization": f"Bearer {world.token}"},
        trust_env=False,
    ) as client:
        page = client.get("/page")
        assert page.content == PAGE
        assert page.headers["content-encoding"] == "gzip"
        assert page.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
        assert client.head("/page").headers["etag"] == '"1"'
        assert client.post("/upload", content=UPLOAD).json() == received(UPLOAD)
        assert client.post("/upload", content=pieces()).json() == received(UPLOAD)
        with client.stream("GET", "/events") as answer:
            assert b"".join(answer.iter_bytes()) == b"".join(EVENTS)
        assert client.get("/nowhere").status_code == 404


def test_aiohttp(world: ClientWorld) -> None:
    """The same with the client that most agents' frameworks have, many at once."""
    aiohttp = pytest.importorskip("aiohttp", reason="aiohttp is not installed")
    context = ssl.create_default_context(cafile=str(world.ca))

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(UPLOAD), 65_536):
            yield UPLOAD[at : at + 65_536]

    async def run() -> None:
        headers = {"authorization": f"Bearer {world.token}"}
        connector = aiohttp.TCPConnector(ssl=context)
        async with aiohttp.ClientSession(
            world.url, connector=connector, headers=headers
        ) as session:

            async def page() -> bytes:
                async with session.get("/page") as answer:
                    return await answer.read()

            assert await asyncio.gather(*[page() for _ in range(10)]) == [PAGE] * 10
            async with session.head("/page") as answer:
                assert answer.headers["etag"] == '"1"'
            async with session.post("/upload", data=UPLOAD, expect100=True) as answer:
                assert await answer.json() == received(UPLOAD)
            async with session.post("/upload", data=pieces()) as answer:
                assert await answer.json() == received(UPLOAD)
            async with session.get("/events") as answer:
                assert [line async for line in answer.content if line.strip()] == [
                    event.rstrip(b"\n") + b"\n" for event in EVENTS
                ]

    asyncio.run(run())


def test_httpx_with_a_token_file(world: ClientWorld, file: Path) -> None:
    """Both of its generations."""
    context = ssl.create_default_context(cafile=str(world.ca))
    with httpx.Client(auth=httpx_auth.TokenAuth(file), verify=context, trust_env=False) as old:
        assert old.get(f"{world.url}/page").content == PAGE
    with httpx2.Client(auth=httpx2_auth.TokenAuth(file), verify=context, trust_env=False) as new:
        assert new.get(f"{world.url}/page").content == PAGE


def test_httpx_with_a_token_function_under_asyncio(world: ClientWorld) -> None:
    """Both of its generations, many at once; the token is asked for with each request."""
    context = ssl.create_default_context(cafile=str(world.ca))
    tokens: list[str] = []

    def token() -> str:
        if not tokens:
            raise IssuerError("its branch was revoked")
        return tokens[-1]

    old = httpx.AsyncClient(auth=httpx_auth.TokenAuth(token), verify=context, trust_env=False)
    new = httpx2.AsyncClient(auth=httpx2_auth.TokenAuth(token), verify=context, trust_env=False)
    failures = (httpx.TransportError, httpx2.TransportError)

    async def run() -> None:
        async with old, new:
            for client in (old, new):
                tokens.append(world.token)
                asked = [client.get(f"{world.url}/page") for _ in range(10)]
                assert [page.content for page in await asyncio.gather(*asked)] == [PAGE] * 10
                answer = await client.post(f"{world.url}/upload", content=UPLOAD)
                assert answer.json() == received(UPLOAD)
                tokens.append("no.good.token")
                assert (await client.get(f"{world.url}/page")).status_code == 401
                tokens.clear()
                with pytest.raises(failures, match="its branch was revoked"):
                    await client.get(f"{world.url}/page")

    asyncio.run(run())


def test_requests_with_a_token_file(world: ClientWorld, file: Path) -> None:
    """A refusal is a status, a missing token the client's own error."""
    with requests.Session() as session:
        session.auth, session.verify = requests_auth.TokenAuth(file), str(world.ca)
        session.trust_env = False
        assert session.get(f"{world.url}/page").content == PAGE
        assert session.post(f"{world.url}/upload", data=UPLOAD).json() == received(UPLOAD)
        file.write_text("no.good.token")
        assert session.get(f"{world.url}/page").status_code == 401
        file.unlink()
        with pytest.raises(requests.RequestException, match="its branch was revoked"):
            session.get(f"{world.url}/page")


def test_aiohttp_with_a_token_file(world: ClientWorld, file: Path) -> None:
    """As one of a session's middlewares."""
    aiohttp = pytest.importorskip("aiohttp", reason="aiohttp is not installed")

    async def run() -> None:
        connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=str(world.ca)))
        auth = aiohttp_auth.TokenAuth(file, world.url)
        async with aiohttp.ClientSession(
            world.url, connector=connector, middlewares=(auth,)
        ) as session:
            async with session.post("/upload", data=UPLOAD) as answer:
                assert await answer.json() == received(UPLOAD)
            file.unlink()  # noqa: ASYNC240 - in memory
            with pytest.raises(aiohttp.ClientError, match="its branch was revoked"):
                await session.get("/page")

    asyncio.run(run())
