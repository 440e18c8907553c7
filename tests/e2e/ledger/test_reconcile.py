"""Ledger and audit agree to the micro-credit, however calls ended."""

import os
import signal
from pathlib import Path

import httpx
import pytest
import trio
from command_process import crewgate
from hang_ups import hang_up_often
from installation import installed, wait_until
from two_crews import TwoCrews, call_together, two_crews


async def test_clients_that_hang_up_lose_nothing(tmp_path: Path) -> None:
    """At any moment of a call: reserved credit returns to zero, and each call is charged once."""
    with installed(tmp_path, price="0.01", delay=0.01) as site:
        calls = [("POST /search", b"{}"), ("GET /stream", b"{}")]
        await hang_up_often(site, ["search.*"], calls, seed=11, whole=0.7, patience=0.03)
        rows = site.ask("ledger", "report", "--by", "tool")["rows"]
        (line,) = site.ask("ledger", "report", "--by", "run")["rows"]
        assert line["spent_micro"] == sum(row["spent_micro"] for row in rows) > 0
        assert line["burned_micro"] == 0


async def test_a_gateway_that_has_ended_has_told_all(tmp_path: Path) -> None:
    """Directly after its calls: what was spent is spent, the rest is back, and the audit agrees."""
    with installed(tmp_path, price="0.01") as site:
        agent = site.orchestrator().start_run(credits="9", tools=["search.*"])
        headers = {"authorization": f"Bearer {agent.token()}"}
        async with site.client() as client:
            for _ in range(20):
                assert (await client.post("/search", json={}, headers=headers)).status_code == 200
        assert await trio.to_thread.run_sync(site.stop) == 0
        (row,) = site.ask("ledger", "report", "--by", "run")["rows"]
        assert (row["spent_micro"], row["leased_micro"], row["burned_micro"]) == (200_000, 0, 0)
        site.run("ledger", "reconcile")


def agrees(site: TwoCrews) -> bool:
    """Whether `reconcile` finds no difference now; the ledger learns of a call within a second."""
    return crewgate("ledger", "reconcile", "-c", site.file).returncode == 0


async def read_until_the_workers_die(client: httpx.AsyncClient, workers: list[int]) -> None:
    """Kill them once the stream has begun: what it has reserved is burned."""
    async with client.stream("GET", "/stream/finance") as stream:
        pieces = stream.aiter_bytes()
        await anext(pieces)
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        async for _ in pieces:
            pass


async def test_calls_on_a_certificate_are_the_same_in_both(tmp_path: Path) -> None:
    """What they spent and what a killed worker burned, while the gateway runs and after its end."""
    with two_crews(tmp_path) as site:
        async with site.crossing_client(site.certificate()) as client:
            assert await call_together([client], "/finance/quote", 3) == {200: 3}
            wait_until(lambda: agrees(site))
            before = site.children("gateway")
            with pytest.raises(httpx.HTTPError):
                await read_until_the_workers_die(client, before)
        wait_until(lambda: len(set(site.children("gateway")) - set(before)) == 2)
        site.run("status", "--wait", "100")
        [account] = [row for row in site.ask("tree")["crews"] if row["crew"] == "bd:finance"]
        assert (account["spent_micro"], account["burned_micro"]) == (3_000_000, 1_000_000)
        wait_until(lambda: agrees(site))
        assert await trio.to_thread.run_sync(site.stop) == 0
        site.run("ledger", "reconcile")
