"""The third act waits for what it must, and for no longer."""

import httpx
import trio
from demo_observations import ended, said
from trio.testing import MockClock

from crewgate import limits
from crewgate.demo.agents import EMBEDDINGS, SEARCH, SUMMARY, AgentEvent, DemoAgent
from crewgate.demo.cluster_act import ClusterActState, receipt_of


def test_it_begins_when_everybody_was_heard() -> None:
    """Admitted or not: a stream that nobody opens is a broken promise, and no story without end."""
    heard: list[str] = []
    act = ClusterActState(lambda role, _one: heard.append(role))
    act.note("translator", 3, said(SEARCH))
    act.note("editor", 2, said(EMBEDDINGS, 503))
    act.note("indexer", 3, said(EMBEDDINGS))
    assert not act.begun.is_set()
    act.note("translator", 2, AgentEvent("ended", 1, SUMMARY, 0, "ConnectError"))
    assert act.begun.is_set()
    assert heard[-1] == "translator at gateway 2"
    assert [one.path for one in act.events["translator"]] == [SEARCH, SUMMARY]


async def test_calls_go_on_until_so_often_after_the_receipt(autojump_clock: MockClock) -> None:
    """However long the receipt takes."""
    act = ClusterActState(lambda _role, _one: None)
    heard: list[AgentEvent] = []
    transport = httpx.MockTransport(lambda _request: httpx.Response(200, json={}))
    client = httpx.AsyncClient(transport=transport, base_url="https://gateway")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(act.call, DemoAgent(client, heard.append), SEARCH)
        await trio.sleep(60)
        before = len(heard)
        assert before > limits.demo_after_calls
        act.on_receipt()
    assert len(heard) == before + limits.demo_after_calls


async def test_a_gateway_that_is_down_does_not_hold_up_the_end(autojump_clock: MockClock) -> None:
    """Each call is told to come again; then what was refused is told, and not that time was up."""
    act = ClusterActState(lambda _role, _one: None)
    heard: list[AgentEvent] = []
    busy = httpx.Response(503, headers={"retry-after": "1"})
    transport = httpx.MockTransport(lambda _request: busy)
    client = httpx.AsyncClient(transport=transport, base_url="https://gateway")
    act.on_receipt()
    await act.call(DemoAgent(client, heard.append), SEARCH)
    assert 0 < len(heard) < limits.demo_after_calls
    assert trio.current_time() < limits.demo_after_seconds + 2 * limits.demo_again_max


def test_the_receipt_is_told_as_revoke_tells_it() -> None:
    """How many of how many, and after how long."""
    assert receipt_of(ended().revoked) == (
        "the receipt: on the disks of 3 of 3 machines after 7.0 ms"
    )
