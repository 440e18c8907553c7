"""What is known of a branch after a restart: gateway and embedded verifier answer the same."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import jwt
import pytest
from installation import Installation, installed

from crewgate import Denial, Reason, Verifier
from crewgate.config import load
from crewgate.core import ids
from crewgate.issuer import SubAgent


def closed(site: Installation, agent: SubAgent) -> str:
    """The branch's own token. Only the ledger knows that the branch is closed."""
    token = agent.token()
    with sqlite3.connect(site.folder / "state" / "ledger.db") as ledger:
        key = ids.branch_key("article", agent.branch)
        ledger.execute("INSERT INTO closed VALUES (?)", (key,))
    ledger.close()
    return token


def moved(site: Installation, agent: SubAgent) -> str:
    """A token of the crew's key that puts the branch below other branches than before."""
    token = agent.token()
    key = load(site.file).crew("article").signing_key
    assert key is not None
    head = jwt.get_unverified_header(token)
    claims = jwt.decode(token, options={"verify_signature": False})
    return jwt.encode(
        {**claims, "branch_path": []}, key.read_bytes(), algorithm="EdDSA", headers=head
    )


@pytest.mark.parametrize(
    ("change", "reason"), [(closed, Reason.BRANCH_REVOKED), (moved, Reason.BINDING_MISMATCH)]
)
async def test_a_token_of_a_branch_that_is_closed_or_elsewhere(
    change: Callable[[Installation, SubAgent], str], reason: Reason, tmp_path: Path
) -> None:
    """401, and not 503: no time that passes makes it good."""
    with installed(tmp_path, workers=1) as site:
        article = site.orchestrator()
        run = article.start_run(credits="90", tools=["search.*"])
        agent = article.spawn(role="researcher", parent=run, tools=["search.*"], credits="10")
        url = "/search"
        async with site.client() as client:
            good = {"authorization": f"Bearer {agent.token()}"}
            assert (await client.post(url, json={}, headers=good)).status_code == 200
        assert site.stop() == 0
        token = change(site, agent)
        site.serve()
        async with site.client() as client:
            for _ in range(2):
                answer = await client.post(
                    url, json={}, headers={"authorization": f"Bearer {token}"}
                )
                assert answer.status_code == 401, answer.text
                assert answer.json()["type"].endswith(f"/{reason.value}")
                assert "retry-after" not in answer.headers
        with Verifier.from_config(site.file) as verifier:
            verdict = await verifier.admit(token, "search.web")
            assert isinstance(verdict, Denial)
            assert verdict.reason is reason
