"""Upstreams under TLS: what is verified, what is shown, and that a refusal costs nothing."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from authority import Authority, Files
from upstream_fleet import Fleet, Front, Server, Standing, fleet, fronted, servers, statuses


def _context(files: Files, clients: Path | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients)
    return context


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def _refused(front: Front, server: Server) -> None:
    """Every call is 503, none reaches the server, none is charged."""
    answers = [await front.client.get("/pages/a"), await front.client.post("/search", content=b"x")]
    assert [answer.status_code for answer in answers] == [503, 503]
    assert all(answer.headers["content-type"] == "application/problem+json" for answer in answers)
    assert server.calls == []
    assert await front.spent_micro() == 0
    calls = [record for record in front.records() if record["kind"] == "call"]
    assert [record.get("cost_micro", 0) for record in calls] == [0, 0]


@asynccontextmanager
async def _server(*names: str, authority: Authority) -> AsyncIterator[Server]:
    async with fleet() as some:
        yield await some.start(context=_context(authority.issue(*names)))


async def test_a_pinned_authority_is_trusted(authority: Authority, standing: Standing) -> None:
    """Calls go under TLS to the server whose certificate it signed, over kept connections."""
    async with _server("127.0.0.1", authority=authority) as server:
        tls = f'url = "{server.url()}"\n[upstream.tools.tls]\nca = "{authority.ca}"'
        async with fronted(standing, tls) as front:
            answers = await front.calls(20)
    assert servers(answers) == {server.name: 20}
    assert server.connections < 5


async def test_another_authority_is_refused(
    authority: Authority, tmp_path: Path, standing: Standing
) -> None:
    """Neither one that is not pinned, nor, without a pin, one that the system does not know."""
    other = Authority(tmp_path, "other")
    async with _server("127.0.0.1", authority=other) as server:
        for pin in (f'[upstream.tools.tls]\nca = "{authority.ca}"', ""):
            async with fronted(standing, f'url = "{server.url()}"\n{pin}') as front:
                await _refused(front, server)


async def test_another_name_is_refused(authority: Authority, standing: Standing) -> None:
    """A certificate of the right authority for somebody else proves nothing."""
    async with _server("tools.example", authority=authority) as server:
        tls = f'url = "{server.url()}"\n[upstream.tools.tls]\nca = "{authority.ca}"'
        async with fronted(standing, tls) as front:
            await _refused(front, server)


async def test_the_name_can_be_told(authority: Authority, standing: Standing) -> None:
    """`server_name` is asked for and verified in place of the endpoint's host; Host is `host`."""
    async with _server("tools.example", authority=authority) as server:
        tls = (
            f'url = "{server.url()}"\nhost = "tools.internal"\n'
            f'[upstream.tools.tls]\nca = "{authority.ca}"\nserver_name = "tools.example"'
        )
        async with fronted(standing, tls) as front:
            answers = await front.calls(3)
    assert statuses(answers) == {200: 3}
    assert {request.fields[b"host"] for request in server.calls} == {b"tools.internal"}


async def test_a_server_without_tls_is_refused(authority: Authority, standing: Standing) -> None:
    """An https upstream is never spoken to in plain."""
    async with fleet() as some:
        server = await some.start()
        url = server.url().replace("http:", "https:")
        async with fronted(standing, f'url = "{url}"\nconnect_seconds = 1') as front:
            answer = await front.client.get("/pages/a")
            assert answer.status_code in {503, 504}  # a server may say nothing to a handshake
            assert await front.spent_micro() == 0
    assert server.calls == []


async def test_a_client_certificate_is_shown(
    authority: Authority, tmp_path: Path, standing: Standing
) -> None:
    """A server that demands one sees ours; who has none gets no answer from it."""
    mine = authority.issue(common="gateway")
    async with fleet() as some:
        server = await _demanding(some, authority)
        tls = f'url = "{server.url()}"\n[upstream.tools.tls]\nca = "{authority.ca}"\n'
        own = f'certificate = "{mine.certificate}"\nkey = "{mine.key}"'
        async with fronted(standing, tls + own) as front:
            assert statuses(await front.calls(3)) == {200: 3}
        assert server.shown[0]["subject"] == ((("commonName", "gateway"),),)
        async with fronted(standing, tls) as front:
            # With TLS 1.3 the refusal may come before or after the call was written.
            assert (await front.client.get("/pages/a")).status_code in {502, 503}
    assert len(server.calls) == 3


async def _demanding(some: Fleet, authority: Authority) -> Server:
    return await some.start(context=_context(authority.issue("127.0.0.1"), authority.ca))


async def test_an_answer_that_was_cut_is_not_whole(
    authority: Authority, standing: Standing
) -> None:
    """Where only the end of the connection ends a body, TLS must say that it is the end.

    Else whoever can cut the connection can shorten answers (RFC 9112 section 9.8).
    """
    async with _server("127.0.0.1", authority=authority) as server:
        server.mood = "torn"
        tls = f'url = "{server.url()}"\n[upstream.tools.tls]\nca = "{authority.ca}"'
        async with fronted(standing, tls) as front:
            with pytest.raises(httpx.RemoteProtocolError):
                await front.client.post("/search", content=b"x")
    assert len(server.calls) == 1


async def test_a_reload_reads_the_files_anew(
    authority: Authority, tmp_path: Path, standing: Standing
) -> None:
    """A bundle that was replaced under the same name is what counts after SIGHUP."""
    other = Authority(tmp_path, "other")
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(authority.ca.read_bytes())
    async with _server("127.0.0.1", authority=other) as server:
        tls = f'url = "{server.url()}"\n[upstream.tools.tls]\nca = "{bundle}"'
        async with fronted(standing, tls) as front:
            assert statuses(await front.calls(1)) == {503: 1}
            bundle.write_bytes(other.ca.read_bytes())
            await front.reload()
            while (await front.client.get("/pages/a")).status_code != 200:
                pass
    assert server.calls
