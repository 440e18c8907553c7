"""On whose behalf a run acts, and what an orchestrator does when that subject is revoked."""

import json
from pathlib import Path

import pytest
from issuer_world import Clock, Make
from issuer_world import FakeGateway as Gateway

from crewgate.errors import BranchRevokedError, IssuerError
from crewgate.issuer import Orchestrator, SubAgent


def start(article: Orchestrator, subject: str) -> SubAgent:
    """A run of ten credits."""
    return article.start_run(credits="10.00", tools=["search.*"], subject=subject)


def test_a_revoked_subject_gets_no_further_token_and_no_run(
    make: Make, gateway: Gateway, clock: Clock, tmp_path: Path
) -> None:
    """Its whole run is marked: it stays ended when the gateways have forgotten the revocation."""
    article = make(gateway=gateway)
    run, other = start(article, "user:ada"), start(article, "user:adam")
    child = article.spawn(parent=run, role="r", tools=["search.web"], credits="1")
    gateway.revoked_subjects.add("user:ada")
    clock.pass_seconds(700)
    with pytest.raises(BranchRevokedError, match="was revoked"):
        child.token()
    with pytest.raises(IssuerError, match="subject 'user:ada' was revoked"):
        start(article, "user:ada")
    assert other.token()
    gateway.revoked_subjects.clear()
    for each in (run, child):
        with pytest.raises(BranchRevokedError):
            each.refresh()
    written = map(json.loads, (tmp_path / "journal.jsonl").read_text().splitlines())
    assert [(line["branch"], line["why"]) for line in written if line["event"] == "revoke"] == [
        (run.branch, "subject user:ada was revoked")
    ]
