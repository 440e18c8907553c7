"""Ledger and audit agree to the micro-credit, however calls ended."""

from pathlib import Path

import trio
from hang_ups import hang_up_often
from installation import installed


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
