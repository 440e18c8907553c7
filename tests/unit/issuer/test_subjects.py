"""On whose behalf a run acts, and what an orchestrator does when that subject is revoked."""

import json
from pathlib import Path
from typing import Any

import pytest
from identity_provider_world import NOW, id_token, provider
from issuer_world import Clock, Make
from issuer_world import FakeGateway as Gateway

from crewgate.core.tokens.subjects import ProvenSubject
from crewgate.errors import BranchRevokedError, IssuerError, SubjectTokenError
from crewgate.identity_provider.subject_tokens import SubjectTokenVerifier
from crewgate.issuer import Minter, Orchestrator, SubAgent, read_claims
from crewgate.issuer.mint import MintedToken
from crewgate.issuer.remote import RemoteOrchestrator


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


def test_an_orchestrator_ends_all_runs_of_a_subject(make: Make, gateway: Gateway) -> None:
    """Its own at once, also where no gateway answers; those of others at the gateway."""
    article = make(gateway=gateway)
    runs = [start(article, each) for each in ("user:ada", "user:ada", "user:adam")]
    child = article.spawn(parent=runs[1], role="r", tools=["search.web"], credits="1")
    assert article.revoke_subject("user:ada", reason="left") == gateway.receipt
    assert gateway.revoked_subjects == {"user:ada"}
    gateway.revoked_subjects.clear()
    for each in (*runs[:2], child):
        with pytest.raises(BranchRevokedError):
            each.token()
    assert runs[2].refresh()
    with pytest.raises(IssuerError, match="cannot have this subject"):
        article.revoke_subject("two words")


def test_a_token_of_a_provider_says_the_subject(make: Make, minter: Minter, tmp_path: Path) -> None:
    """It is verified when the run begins; no orchestrator can state what only the token proves."""
    verifier = SubjectTokenVerifier([provider(tmp_path)])
    known = Minter(minter.crew, minter.audience, minter.key, identity_providers=["corp"])
    article = make(minter=known, clock=lambda: NOW, verifier=verifier)
    ask: Any = {"credits": "1", "tools": ["search.*"]}
    run = article.start_run(**ask, subject_token=id_token())
    child = article.spawn(parent=run, role="r", **ask)
    claims = read_claims(child.token())
    assert claims.sub == "corp:ada"
    assert claims.act is not None
    assert claims.act.names == ["article/article-1", "r"]
    with pytest.raises(SubjectTokenError, match="another application"):
        article.start_run(**ask, subject_token=id_token(aud="x"))
    with pytest.raises(IssuerError, match="leave out `subject`"):
        article.start_run(**ask, subject_token=id_token(), subject="user:ada")
    for imitation in ("corp:ada", "Corp:ada", "corp:"):
        with pytest.raises(IssuerError, match="only a token of identity provider corp proves"):
            start(article, imitation)
    assert read_claims(start(article, "corporation:ada").token()).sub == "corporation:ada"


def test_an_orchestrator_without_providers_says_so(article: Orchestrator) -> None:
    """The token is not taken for a text."""
    with pytest.raises(IssuerError, match="knows no identity provider"):
        article.start_run(credits="1", tools=["search.*"], subject_token=id_token())


def test_a_remote_orchestrator_sends_the_token(minter: Minter) -> None:
    """As RFC 8693 has it; a stated subject goes in its own field."""
    forms: list[dict[str, str]] = []
    ended: list[tuple[str, str]] = []

    class API:
        def token(self, form: dict[str, str]) -> MintedToken:
            forms.append(form)
            subject = form.get("subject")
            return minter.root(
                role="r", tools=["search.*"], quota=1, process="p", now=NOW, subject=subject
            )

        def revoke_subject(self, subject: str, crew: str, reason: str) -> None:
            assert reason == ""
            ended.append((subject, crew))

    remote = RemoteOrchestrator(API(), clock=lambda: NOW)  # type: ignore[arg-type]
    ask: Any = {"credits": "1", "tools": ["search.*"], "role": "r"}
    remote.start_run(**ask, subject_token="a.b.c")
    remote.start_run(**ask, subject="user:ada")
    with pytest.raises(IssuerError, match="pass the token as subject_token"):
        remote.start_run(**ask, subject=ProvenSubject("corp:ada"))
    for subject in ("user:ada", "user:eve"):
        remote.revoke_subject(subject)
    assert ended == [("user:ada", "article"), ("user:eve", "")]
    new = {"scope": "search.*", "credits": "1.00", "role": "r"}
    assert forms == [
        {
            **new,
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "subject_token": "a.b.c",
            "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
        },
        {**new, "grant_type": "client_credentials", "subject": "user:ada"},
    ]
