"""Servers that are left out: by failing calls, by their health; and what clients are told then."""

import time
from pathlib import Path

import httpx
from upstream_fleet import Standing, endpoints, fleet, fronted, servers, statuses, until

HEALTH = """
[upstream.tools.health]
path = "/health?from=gateway"
interval_seconds = 0.5
healthy = 2
unhealthy = 2
"""


def _refused_at_once(answer: httpx.Response) -> bool:
    return answer.status_code == 503 and int(answer.headers["retry-after"]) >= 1


async def test_an_open_circuit_refuses_fast_and_free(standing: Standing) -> None:
    """Nobody listens: 503 with Retry-After, soon at once; nothing is charged."""
    async with fleet() as some:
        server = await some.start()
        await server.die()
        async with fronted(standing, f'url = "{server.url()}"') as front:
            answers = await front.calls(20)
            assert all(map(_refused_at_once, answers))
            assert answers[-1].headers["content-type"] == "application/problem+json"
            assert await front.spent_micro() == 0
            await some.revive(server)
            while (await front.client.get("/pages/a")).status_code != 200:
                pass
            assert await front.spent_micro() == 10_000


async def test_a_silent_server_opens_its_circuit(standing: Standing) -> None:
    """Calls that time out before an answer are 504 and count; then nobody waits any more."""
    async with fleet() as some:
        server = await some.start()
        server.mood = "silent"
        async with fronted(standing, f'url = "{server.url()}"\nfirst_byte_seconds = 0.5') as front:
            answers = await front.calls_at_once(10)
            while answers[-1].status_code != 503:
                begun = time.monotonic()
                answers += await front.calls(1)
            assert set(statuses(answers)) == {503, 504}
            assert _refused_at_once(answers[-1])
            assert time.monotonic() - begun < 0.5


async def test_errors_of_a_tool_leave_nobody_out(standing: Standing) -> None:
    """A server that answers 500 to everything is there: its answers go to the clients."""
    async with fleet() as some:
        server = await some.start()
        server.status = 500
        async with fronted(standing, f'url = "{server.url()}"') as front:
            assert statuses(await front.calls(30)) == {500: 30}
    assert len(server.calls) == 30


async def test_a_sick_server_is_left_out_until_it_is_well(standing: Standing) -> None:
    """Bad answers to health requests take a server out, good ones bring it back; no call fails."""
    async with fleet() as some:
        sick, well = await some.start(), await some.start()
        async with fronted(standing, endpoints(sick, well) + HEALTH) as front:
            answers = await front.calls(10)
            assert len(servers(answers)) == 2
            sick.health = 503
            before = len(sick.checks)
            await until(lambda: len(sick.checks) >= before + 4)
            answers = await front.calls(10)
            assert servers(answers) == {well.name: 10}
            sick.health = 204
            before = len(sick.calls)
            while len(sick.calls) == before:
                answers += await front.calls(2)
    assert set(statuses(answers)) == {200}


async def test_when_all_are_sick_clients_are_told_to_wait(standing: Standing) -> None:
    """No server that is known to be sick gets a call: 503 with Retry-After, nothing charged."""
    async with fleet() as some:
        server = await some.start()
        server.health = 500
        async with fronted(standing, endpoints(server) + HEALTH) as front:
            await until(lambda: len(server.checks) >= 4)
            answers = await front.calls(5)
            assert all(map(_refused_at_once, answers))
            assert await front.spent_micro() == 0
    assert server.calls == []


async def test_a_health_request_tells_no_secret(tmp_path: Path, standing: Standing) -> None:
    """It is a GET of the path, with Host, without credential or anything that calls carry."""
    secret = tmp_path / "secret"
    secret.write_text("s3cret")
    credential = f'\ncredential = {{ header = "x-key", file = "{secret}" }}'
    async with fleet() as some:
        server = await some.start()
        async with fronted(standing, endpoints(server) + credential + HEALTH) as front:
            assert statuses(await front.calls(1)) == {200: 1}
            await until(lambda: server.checks)
    assert server.calls[0].fields[b"x-key"] == b"s3cret"
    check = server.checks[0]
    assert (check.method, check.target) == (b"GET", b"/health?from=gateway")
    assert check.fields[b"host"] == server.name.encode()
    assert b"x-key" not in check.fields
    assert not any(name.startswith(b"x-crewgate-") for name in check.fields)
