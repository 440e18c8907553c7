"""Bodies over a tool's bound, on a whole gateway: each is answered and recorded.

Only those cost something of which the tool's server may have seen a part.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from command_process import crewgate
from installation import installed, wait_until

from crewgate.issuer import SubAgent

BOUND = 1000


async def _pieces(size: int) -> AsyncIterator[bytes]:
    for _ in range(0, size, 100):
        yield bytes(100)


@pytest.mark.parametrize("http2", [False, True], ids=["http1", "http2"])
async def test_a_large_body_is_recorded_however_it_comes(http2: bool, tmp_path: Path) -> None:
    """With a length or without, before and while the call waits for credit, or is forwarded."""
    with installed(tmp_path, workers=1, price="0.01") as site:
        generation = site.generation()
        site.edit('[tool."search.web"]\n', f'[tool."search.web"]\nbody_bytes_max = {BOUND}\n')
        wait_until(lambda: site.generation() > generation)
        article = site.orchestrator()

        def recorded(answer: Any) -> list[dict[str, Any]]:
            wanted = answer.json()["request_id"]
            return [each for each in site.records() if each.get("request") == wanted]

        async def refused(agent: SubAgent, content: Any) -> dict[str, Any]:
            headers = {"authorization": f"Bearer {agent.token()}"}
            async with site.client(http2=http2) as client:
                answer = await client.post("/search", content=content, headers=headers)
            assert (answer.status_code, answer.json()["branch"]) == (413, agent.branch)
            wait_until(lambda: recorded(answer))
            [record] = recorded(answer)
            assert record["outcome"] == "refused"
            # If the call was permitted, the server may have seen a part of the body, or none.
            assert record["cost_micro"] in ({0, 10_000} if record["verdict"] == "permit" else {0})
            return record

        run = article.start_run(credits="10", tools=["search.*"])
        for size in (2 * BOUND, 1000 * BOUND):
            for is_new in (True, False):
                if is_new:
                    run = article.start_run(credits="10", tools=["search.*"])
                record = await refused(run, bytes(size))
                assert (record["verdict"], record["reason"]) == ("deny", "body-too-large")
                await refused(run, _pieces(size))
        headers = {"authorization": f"Bearer {run.token()}"}
        async with site.client(http2=http2) as client:
            small = await client.post("/search", content=bytes(BOUND), headers=headers)
        assert small.status_code == 200
        wait_until(lambda: crewgate("ledger", "reconcile", "-c", site.file).returncode == 0)
