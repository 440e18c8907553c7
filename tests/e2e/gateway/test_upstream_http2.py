"""Upstreams that speak HTTP/2: many calls on one connection, plain and under TLS."""

import ssl
from pathlib import Path

import httpx
import pytest
import trio
from authority import Authority, Files
from raw_http import http1_bytes
from upstream_fleet import Standing, endpoints, fleet, fronted, servers, statuses, until
from upstream_fleet_http2 import HTTP2Server

H2 = '\nprotocol = "h2"'


def _context(files: Files, *protocols: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


async def test_calls_share_a_connection(standing: Standing) -> None:
    """Thirty calls at once are streams of very few connections; none waits for another."""
    async with fleet() as some:
        server = await some.start(HTTP2Server)
        server.gate = trio.Event()
        answers = []
        async with fronted(standing, f'url = "{server.url()}"{H2}') as front:

            async def call() -> None:
                answers.append(await front.client.get("/pages/a?b=c"))

            async with trio.open_nursery() as nursery:
                for _ in range(30):
                    nursery.start_soon(call)
                await until(lambda: server.under_way == 30)
                server.gate.set()
            answers.append(await front.client.post("/search", content=b"otters"))
    assert statuses(answers) == {200: 31}
    assert server.connections <= 3
    *gets, post = server.calls
    assert {(call.method, call.target) for call in gets} == {(b"GET", b"/pages/a?b=c")}
    assert (post.method, post.body) == (b"POST", b"otters")
    assert post.fields[b":authority"] == server.name.encode()
    assert post.fields[b"x-crewgate-tool"] == b"search.web"
    assert not {b"host", b"connection", b"transfer-encoding", b"authorization"} & set(post.fields)


async def test_http2_under_tls_is_agreed_on(tmp_path: Path, standing: Standing) -> None:
    """A server with a pinned authority's certificate that chooses h2 gets the calls."""
    authority = Authority(tmp_path)
    async with fleet() as some:
        context = _context(authority.issue("127.0.0.1"), "h2")
        server = await some.start(HTTP2Server, context=context)
        tls = f'url = "{server.url()}"{H2}\n[upstream.tools.tls]\nca = "{authority.ca}"'
        async with fronted(standing, tls) as front:
            answers = await front.calls_at_once(20)
    assert servers(answers) == {server.name: 20}


@pytest.mark.parametrize("protocols", [(), ("http/1.1",)])
async def test_a_server_that_does_not_choose_http2_is_refused(
    protocols: tuple[str, ...], tmp_path: Path, standing: Standing
) -> None:
    """503, nothing sent, nothing charged: no guessing of what a server may understand."""
    authority = Authority(tmp_path)
    async with fleet() as some:
        context = _context(authority.issue("127.0.0.1"), *protocols)
        server = await some.start(context=context)
        tls = f'url = "{server.url()}"{H2}\n[upstream.tools.tls]\nca = "{authority.ca}"'
        async with fronted(standing, tls) as front:
            answer = await front.client.get("/pages/a")
            assert answer.status_code == 503
            assert await front.spent_micro() == 0
    assert server.calls == []


async def test_no_client_sees_a_server_die(standing: Standing) -> None:
    """Two servers, one dies between and below calls: idempotent calls are all answered."""
    async with fleet() as some:
        dying, other = await some.start(HTTP2Server), await some.start(HTTP2Server)
        async with fronted(standing, endpoints(dying, other) + H2) as front:
            answers = await front.calls_at_once(20)
            assert len(servers(answers)) == 2
            await dying.die()
            answers += await front.calls(10)
            answers += await front.calls_at_once(20)
    assert statuses(answers) == {200: 50}


async def test_a_refused_stream_is_tried_again(standing: Standing) -> None:
    """REFUSED_STREAM says that nothing was done (RFC 9113 section 8.7): also a POST goes again.

    The client sends head and body at once: the gateway does not keep a body that arrives later.
    """
    async with fleet() as some:
        server = await some.start(HTTP2Server)
        server.refuses = 1
        async with fronted(standing, f'url = "{server.url()}"{H2}') as front:
            token = front.client.headers["authorization"]
            request = (
                f"POST /search HTTP/1.1\r\nHost: 127.0.0.1:{front.site.port}\r\n"
                f"Authorization: {token}\r\nConnection: close\r\nContent-Length: 6\r\n\r\notters"
            ).encode()
            context = ssl.create_default_context(cafile=front.site.folder / "certs" / "ca.pem")
            found = await trio.to_thread.run_sync(http1_bytes, front.site.port, context, request)
    assert found.startswith(b"HTTP/1.1 200 ")
    assert [call.body for call in server.calls] == [b"otters"]


async def test_calls_under_way_survive_the_death_of_their_server(standing: Standing) -> None:
    """Idempotent calls whose kept connection ends before an answer go to another server."""
    async with fleet() as some:
        dying, other = await some.start(HTTP2Server), await some.start(HTTP2Server)
        answers: list[httpx.Response] = []
        async with fronted(standing, endpoints(dying, other) + H2) as front:
            answers += await front.calls(4)
            dying.gate = other.gate = trio.Event()

            async def call() -> None:
                answers.append(await front.client.get("/pages/a"))

            async with trio.open_nursery() as nursery:
                for _ in range(12):
                    nursery.start_soon(call)
                await until(lambda: dying.under_way + other.under_way == 12)
                assert dying.under_way == 6
                await dying.die()
                other.gate.set()
    assert statuses(answers) == {200: 16}


async def test_a_connection_that_breaks_is_one_failure(standing: Standing) -> None:
    """However many calls were on it: a server that is back at once is called at once."""
    async with fleet() as some:
        server = await some.start(HTTP2Server)
        async with fronted(standing, f'url = "{server.url()}"{H2}') as front:
            server.gate = trio.Event()
            answers: list[httpx.Response] = []

            async def call() -> None:
                answers.append(await front.client.post("/search", content=b"x"))

            async with trio.open_nursery() as nursery:
                for _ in range(12):
                    nursery.start_soon(call)
                await until(lambda: server.under_way == 12)
                await server.die()
                server.gate = None
                await some.revive(server)
            assert set(statuses(answers)) <= {200, 502, 503}
            assert statuses(await front.calls(5)) == {200: 5}
