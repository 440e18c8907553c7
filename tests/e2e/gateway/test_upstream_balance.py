"""Several servers behind one upstream: load spreads, and no client sees one of them die."""

import trio
from upstream_fleet import Standing, endpoints, fleet, fronted, servers, statuses, until


async def test_calls_spread_over_the_servers(standing: Standing) -> None:
    """One call after the other goes to all servers alike, and all of them answer."""
    async with fleet() as some:
        three = [await some.start() for _ in range(3)]
        async with fronted(standing, endpoints(*three)) as front:
            answers = await front.calls(60)
    assert statuses(answers) == {200: 60}
    spread = servers(answers)
    assert set(spread) == {server.name for server in three}
    assert min(spread.values()) >= 15


async def test_a_slow_server_gets_fewer_calls(standing: Standing) -> None:
    """The server with the fewest calls under way gets the next: a stuck one gets no more."""
    async with fleet() as some:
        slow, quick = await some.start(), await some.start()
        slow.gate = trio.Event()
        async with (
            fronted(standing, endpoints(slow, quick)) as front,
            trio.open_nursery() as nursery,
        ):
            for _ in range(8):
                nursery.start_soon(front.client.get, "/pages/stuck")
            await until(lambda: slow.under_way)
            await until(lambda: len(slow.calls) + len(quick.calls) == 8)
            stuck = len(slow.calls)
            answers = await front.calls(20)
            assert len(slow.calls) == stuck
            slow.gate.set()
    assert servers(answers) == {quick.name: 20}


async def test_no_client_sees_a_server_die(standing: Standing) -> None:
    """Idle or under load, killed in the middle: every call that may be repeated is answered."""
    async with fleet() as some:
        three = [await some.start() for _ in range(3)]
        async with fronted(standing, endpoints(*three)) as front:
            answers = await front.calls_at_once(30)
            await three[0].die()
            answers += await front.calls(30)
            await three[1].die()
            answers += await front.calls_at_once(30)
            assert statuses(answers) == {200: 90}
            assert set(servers(answers[60:])) == {three[2].name}
            await until(lambda: len(front.records()) >= 90)  # the last ones follow their answers
            assert await front.spent_micro() == 90 * 10_000


async def test_calls_under_way_survive_the_death_of_their_server(standing: Standing) -> None:
    """An idempotent call whose kept connection dies before an answer goes to another server."""
    async with fleet() as some:
        dying, other = await some.start(), await some.start()
        async with fronted(standing, endpoints(dying, other)) as front:
            assert statuses(await front.calls(6)) == {200: 6}
            dying.gate = trio.Event()
            answers = []

            async def call() -> None:
                answers.append(await front.client.get("/pages/a"))

            async with trio.open_nursery() as nursery:
                for _ in range(2):
                    nursery.start_soon(call)
                await until(lambda: dying.under_way)
                await dying.die()
    assert statuses(answers) == {200: 2}
    assert set(servers(answers)) == {other.name}


async def test_what_never_reached_a_server_goes_to_another(standing: Standing) -> None:
    """Nobody listens at one endpoint: also a POST, with its body, is answered by the other."""
    async with fleet() as some:
        dead, alive = await some.start(), await some.start()
        await dead.die()
        async with fronted(standing, endpoints(dead, alive)) as front:
            answers = [await front.client.post("/search", content=b"otters") for _ in range(10)]
    assert statuses(answers) == {200: 10}
    assert {request.body for request in alive.calls} == {b"otters"}


async def test_a_post_that_reached_a_server_is_sent_once(standing: Standing) -> None:
    """A server that takes a POST and closes: 502, and no other server sees it again."""
    async with fleet() as some:
        curt, other = await some.start(), await some.start()
        curt.mood = other.mood = "curt"
        async with fronted(standing, endpoints(curt, other)) as front:
            answer = await front.client.post("/search", content=b"otters")
    assert answer.status_code == 502
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(curt.calls) + len(other.calls) == 1


async def test_a_server_that_comes_back_is_used_again(standing: Standing) -> None:
    """Its circuit closes with a probe, without a call that fails for it."""
    async with fleet() as some:
        dying, other = await some.start(), await some.start()
        async with fronted(standing, endpoints(dying, other)) as front:
            await dying.die()
            answers = await front.calls_at_once(40)
            await some.revive(dying)
            before = len(dying.calls)
            while len(dying.calls) == before:
                answers += await front.calls(4)
    assert set(statuses(answers)) == {200}


async def test_without_retries_a_dead_server_is_seen(standing: Standing) -> None:
    """`retry = false`: what fails on one server is told, and tried on no other."""
    async with fleet() as some:
        dead, alive = await some.start(), await some.start()
        await dead.die()
        async with fronted(standing, f"{endpoints(dead, alive)}\nretry = false") as front:
            answers = await front.calls(4)
            assert await front.spent_micro() == statuses(answers)[200] * 10_000
    assert 503 in statuses(answers)
    assert 200 in statuses(answers)
