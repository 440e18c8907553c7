"""Upstreams by name: their addresses are asked for again, and an outage of the DNS is survived."""

from pathlib import Path

from upstream_fleet import Names, Standing, fleet, fronted, servers, statuses


async def test_a_name_s_new_address_is_picked_up(tmp_path: Path, own: Standing) -> None:
    """Calls move to the new address within the time between two questions; none fails meanwhile."""
    names = Names(tmp_path)
    async with fleet() as some:
        old = await some.start(host="127.0.0.2")
        new = await some.start(host="127.0.0.3", port=old.port)
        names.tell({"tools.example": ["127.0.0.2"]})
        url = f'url = "{old.url("tools.example")}"'
        async with fronted(own, url, environment=names.environment) as front:
            answers = await front.calls(10)
            assert servers(answers) == {old.name: 10}
            names.tell({"tools.example": ["127.0.0.3"]})
            while not new.calls:
                answers += await front.calls(5)
            more = await front.calls(10)
            assert servers(more) == {new.name: 10}
    assert set(statuses(answers)) == {200}
    assert {request.fields[b"host"] for request in new.calls} == {
        f"tools.example:{old.port}".encode()
    }


async def test_all_addresses_of_a_name_are_used(tmp_path: Path, own: Standing) -> None:
    """A name with two addresses is two servers; one that is dead is noticed by no client."""
    names = Names(tmp_path)
    async with fleet() as some:
        one = await some.start(host="127.0.0.2")
        two = await some.start(host="127.0.0.3", port=one.port)
        names.tell({"tools.example": ["127.0.0.2", "127.0.0.3", "127.0.0.4"]})
        url = f'url = "{one.url("tools.example")}"'
        async with fronted(own, url, environment=names.environment) as front:
            answers = await front.calls_at_once(30)
    assert statuses(answers) == {200: 30}
    assert set(servers(answers)) == {one.name, two.name}


async def test_an_outage_of_the_dns_stops_no_call(tmp_path: Path, own: Standing) -> None:
    """A name that can no longer be asked for keeps its addresses; one that never could is 503."""
    names = Names(tmp_path)
    async with fleet() as some:
        server = await some.start(host="127.0.0.2")
        url = f'url = "{server.url("tools.example")}"'
        names.tell({"tools.example": []})
        async with fronted(own, url, environment=names.environment) as front:
            answer = await front.client.get("/pages/a")
            assert (answer.status_code, await front.spent_micro()) == (503, 0)
            names.tell({"tools.example": ["127.0.0.2"]})
            while (await front.client.get("/pages/a")).status_code != 200:
                pass
            names.tell({"tools.example": []})
            asked = len(server.calls)
            while len(server.calls) < asked + 100:
                assert set(statuses(await front.calls(10))) == {200}
