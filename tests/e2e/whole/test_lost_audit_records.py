"""A gateway whose audit lacks lines after a power loss says how much was spent without them."""

import json
from pathlib import Path

import httpx
from installation import Installation, installed
from power_gateway import words_lost

CALLS, LOST = 5, 2


async def _call(site: Installation, token: str) -> None:
    head = {"authorization": f"Bearer {token}"}
    async with site.client() as client:
        for _ in range(CALLS):
            answer: httpx.Response = await client.post("/search", headers=head, json={})
            assert answer.status_code == 200


def _lose(audit: Path) -> None:
    """Take the last calls out of the file that has them."""
    (path,) = [path for path in audit.glob("*.jsonl") if '"search.web"' in path.read_text()]
    lines = path.read_text().splitlines(keepends=True)
    calls = [line for line in lines if json.loads(line).get("tool") == "search.web"]
    assert len(calls) == CALLS
    path.write_text("".join(line for line in lines if line not in calls[-LOST:]))


async def test_what_no_line_tells_of_is_said_at_the_next_start(tmp_path: Path) -> None:
    """By the real comparison: in the log, and as `audit-lost` in the audit."""
    with installed(tmp_path, price="0.01", workers=1) as site:
        await _call(site, site.orchestrator().start_run(credits="1", tools=["search.*"]).token())
        assert site.stop() == 0
        _lose(site.folder / "state" / "audit")
        (site.folder / "state" / "serving").write_text("an earlier boot")
        site.serve()
        assert [*words_lost(site)] == []
        log = (site.folder / "serve.log").read_text()
        assert "by the ledger, 1 branch spent 0.02 credits for which the audit has no line" in log
